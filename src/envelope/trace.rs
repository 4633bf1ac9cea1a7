//! The trace that a message belongs to: the `traceparent` of W3C Trace Context (level 1).
//!
//! It is read in one form and written in one, that of version 00; who breaks the form has no trace, and no message
//! fails for it. The gateway takes no part in a trace: it makes no ids of its own, so what comes in goes out.
//! Absent: `tracestate`.

/// How long it is: version, trace, parent and flags in hexadecimal digits, with a hyphen between each two.
pub const BYTES: usize = 55;

/// Reads a `traceparent`, as version 00 would write it; `None` for what has no such form.
#[must_use]
pub fn read(text: &str) -> Option<[u8; BYTES]> {
    let (head, rest) = text.as_bytes().split_first_chunk::<BYTES>()?;
    let hyphens = [2, 35, 52].map(|at| head[at]) == [b'-'; 3];
    let [version, trace, parent, flags] = [&head[..2], &head[3..35], &head[36..52], &head[53..]];
    let lower_hex = |digits: &[u8]| digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |digits: &[u8]| digits.iter().all(|digit| *digit == b'0');
    if !hyphens || ![version, trace, parent, flags].into_iter().all(lower_hex) || is_zero(trace) || is_zero(parent) {
        return None;
    }
    match (version, rest) {
        (b"00", []) => Some(*head),
        // Section 3.2.2.1: version ff is invalid, and version 00 ends with the flags.
        (b"00" | b"ff", _) => None,
        // Section 3.2.4: of a later version count the parts that this one has, if the flags end there or a hyphen
        // follows, and of the flags only `sampled`. They are written as the version that is known here.
        (_, [] | [b'-', ..]) => {
            let mut known = *head;
            known[..2].copy_from_slice(b"00");
            known[53..].copy_from_slice(if is_odd(flags) { b"01" } else { b"00" });
            Some(known)
        }
        _ => None,
    }
}

/// Whether the lowest bit is set: the digits from `0` to `9` and from `a` to `f` have it where their last bit says so,
/// or, for letters, where it does not.
const fn is_odd(digits: &[u8]) -> bool {
    match digits {
        [.., last @ b'0'..=b'9'] => *last % 2 == 1,
        [.., last] => *last % 2 == 0,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(read(text).as_ref().map(|known| std::str::from_utf8(known).unwrap()), expected, "{text}");
    }

    #[test]
    fn a_trace_is_read_in_its_form_and_in_no_other() {
        for flags in ["00", "01", "02", "ff"] {
            let text = format!("00-{TRACE}-{PARENT}-{flags}");
            check(&text, Some(&text));
        }
        let (no_trace, no_parent) = ("0".repeat(32), "0".repeat(16));
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{no_trace}-{PARENT}-01"),
            format!("00-{TRACE}-{no_parent}-01"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("ff-{TRACE}-{PARENT}-01-more"),
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("00-{TRACE}-{PARENT}-0"),
            format!("00-{TRACE}-{PARENT}-011"),
            format!("00-{TRACE}-{PARENT}-0x"),
            format!("0-{TRACE}-{PARENT}-01"),
            format!("0x-{TRACE}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", PARENT.to_uppercase()),
            format!("00-{TRACE}-{PARENT}-0A"),
            format!("00-{}g-{PARENT}-01", &TRACE[1..]),
            format!("00-{}-{PARENT}-01", &TRACE[1..]),
            format!("00-{TRACE}0-{}-01", &PARENT[1..]),
            format!("00_{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}_{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}_01"),
            format!(" 00-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-01 "),
            format!("00-{}ä-{PARENT}-01", &TRACE[2..]),
            format!("00-{TRACE}-{PARENT}-\u{e4}"),
        ] {
            check(&text, None);
        }
    }

    #[test]
    fn of_a_later_version_counts_what_this_one_knows() {
        let known = |flags: &str| format!("00-{TRACE}-{PARENT}-{flags}");
        for (version, flags, more, sampled) in [
            ("01", "01", "", "01"),
            ("cc", "00", "", "00"),
            ("fe", "03", "-what-the-future-brings", "01"),
            ("01", "fe", "-", "00"),
            ("01", "0a", "", "00"),
            ("01", "0b", "", "01"),
            ("01", "a9", "-\u{e4}", "01"),
            ("01", "f8", "", "00"),
        ] {
            check(&format!("{version}-{TRACE}-{PARENT}-{flags}{more}"), Some(&known(sampled)));
        }
        let long = format!("01-{TRACE}-{PARENT}-01-{}", "x".repeat(4096));
        check(&long, Some(&known("01")));
        for text in [
            format!("01-{TRACE}-{PARENT}-01x"),
            format!("01-{TRACE}-{PARENT}-01.more"),
            format!("01-{TRACE}-{PARENT}-0"),
            format!("01-{}-{PARENT}-01", "0".repeat(32)),
            format!("01-{TRACE}-{}-01-more", "0".repeat(16)),
        ] {
            check(&text, None);
        }
    }
}
