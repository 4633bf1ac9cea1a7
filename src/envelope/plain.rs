//! Whether a text needs a second look: nearly none does, so it is told eight bytes at a time.
//!
//! Plain are the printable characters of ASCII without the quote and the backslash. Plain text is the same inside
//! a JSON string and outside, and has no control characters.

/// Whether all of a text is plain.
pub(super) fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (words, _) = bytes.as_chunks::<8>();
    if let Some(last) = bytes.last_chunk::<8>() {
        // The last word overlaps the one before it instead of leaving a rest.
        words.iter().chain([last]).all(|word| is_plain_word(u64::from_le_bytes(*word)))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        is_plain_word(u64::from(first) | u64::from(last) << 32)
    } else {
        bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
    }
}

/// The same for eight bytes at once. Subtracting from a byte that is smaller borrows from its top bit, which is
/// clear in all bytes if none is outside ASCII; what a borrow does to the next byte no longer matters.
const fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let control = word.wrapping_sub(ONES * b' ' as u64);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let delete = (word ^ (ONES * 0x7f)).wrapping_sub(ONES);
    (word | control | quote | backslash | delete) & TOPS == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_plain_exactly_if_each_of_its_characters_is() {
        for len in 0..=33 {
            let plain = "~ a!#[]z{}0"[..].chars().cycle().take(len).collect::<String>();
            assert!(is_plain(&plain), "{plain:?}");
            for (at, char) in (0..len).flat_map(|at| ('\0'..='\u{ff}').map(move |char| (at, char))) {
                let text: String = plain.chars().enumerate().map(|(i, old)| if i == at { char } else { old }).collect();
                let expected = matches!(char, ' '..='~') && !matches!(char, '"' | '\\');
                assert_eq!(is_plain(&text), expected, "{text:?}");
            }
        }
    }
}
