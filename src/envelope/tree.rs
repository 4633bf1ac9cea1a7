//! A walk over a JSON text that is already known to be valid.
//!
//! The text comes with its marks: the offsets of `{ } [ ] : ,` outside strings and of the first byte of
//! every string, number and literal, in order. A value is a slice of the text and of the marks, so finding
//! the raw span of a payload costs a step per mark, not per byte, and nothing is decoded that nobody reads.
//!
//! Deliberately absent: validation (that is `json`), and any tree in memory.

use super::plain::is_plain;

/// A value inside a valid JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    text: &'a str,
    /// Never empty; the first is the value's first byte.
    marks: &'a [u32],
    /// One past the value's last byte.
    end: usize,
}

/// What a value is, as its first byte tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`
    Null,
}

impl<'a> Value<'a> {
    /// The value that a valid text holds, or `None` if there are no marks.
    #[must_use]
    pub fn root(text: &'a str, marks: &'a [u32]) -> Option<Self> {
        let (count, end) = match byte_at(text, *marks.first()?)? {
            // The last mark of a valid text is the bracket that ends it.
            b'{' | b'[' => (marks.len(), *marks.last()? as usize + 1),
            _ => extent(text, marks)?,
        };
        Some(Self { text, marks: marks.get(..count)?, end })
    }

    /// The bytes of the value as they stand in the text.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.marks.first().and_then(|&start| self.text.get(start as usize..self.end)).unwrap_or("")
    }

    /// What the value is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.marks.first().and_then(|&start| byte_at(self.text, start)) {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Whether the value is `null`.
    fn is_null(&self) -> bool {
        self.marks.first().and_then(|&start| byte_at(self.text, start)) == Some(b'n')
    }

    /// The value as an object, if it is one.
    #[must_use]
    pub fn object(self) -> Option<Object<'a>> {
        (self.kind() == Kind::Object).then_some(Object(self))
    }

    /// The elements, if the value is an array.
    #[must_use]
    pub fn elements(self) -> Option<Elements<'a>> {
        (self.kind() == Kind::Array).then(|| Elements { text: self.text, marks: self.marks.get(1..).unwrap_or(&[]) })
    }

    /// The characters between the quotes, escapes untouched, if the value is a string.
    #[must_use]
    pub fn escaped(&self) -> Option<&'a str> {
        self.raw().strip_prefix('"')?.strip_suffix('"')
    }

    /// The value as a whole number written in digits alone, if it is one and fits.
    #[must_use]
    pub fn whole(&self) -> Option<u64> {
        let raw = self.raw();
        if raw.bytes().all(|byte| byte.is_ascii_digit()) { raw.parse().ok() } else { None }
    }
}

/// An object inside a valid JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a>(Value<'a>);

impl<'a> Object<'a> {
    /// The bytes of the object as they stand in the text.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.0.raw()
    }

    /// The members in the text's order, duplicates included.
    #[must_use]
    pub fn members(&self) -> Members<'a> {
        Members { text: self.0.text, marks: self.0.marks.get(1..).unwrap_or(&[]) }
    }

    /// For each row of names, the value of the last member with one of them. `null` counts as absent:
    /// clients write it for what they leave out.
    #[must_use]
    pub fn find<const N: usize>(&self, rows: [&[&str]; N]) -> [Option<Value<'a>>; N] {
        self.find_by(|name| rows.iter().position(|names| names.contains(&name)))
    }

    /// The same where a function tells a name's row: for frequent messages, of which a `match` knows the names at
    /// compile time.
    #[must_use]
    #[inline]
    pub fn find_by<const N: usize>(&self, row_of: impl Fn(&str) -> Option<usize>) -> [Option<Value<'a>>; N] {
        let mut found = [None; N];
        for (key, value) in self.members() {
            // No name that is looked for has an escape, so most keys are told as they stand.
            let row = row_of(key.inner()).or_else(|| row_of(key.unescaped(&mut [0; KEY_BYTES_MAX])?));
            if let Some(slot) = row.and_then(|row| found.get_mut(row)) {
                *slot = (!value.is_null()).then_some(value);
            }
        }
        found
    }

    /// Whether a member has this name, be its value `null`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members().any(|(key, _)| key.name(&mut [0; KEY_BYTES_MAX]) == name)
    }
}

/// The name of a member, as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a>(&'a str);

/// Longer than any name that is looked for; a longer key with escapes is none of them.
pub const KEY_BYTES_MAX: usize = 32;

impl<'a> Key<'a> {
    /// The key with its quotes and escapes.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        self.0
    }

    /// The key with its escapes undone in `scratch`; empty if it is longer than any known name.
    #[must_use]
    pub fn name<'b>(&self, scratch: &'b mut [u8; KEY_BYTES_MAX]) -> &'b str
    where
        'a: 'b,
    {
        self.unescaped(scratch).unwrap_or_else(|| self.inner())
    }

    /// The key without its quotes.
    fn inner(&self) -> &'a str {
        self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or("")
    }

    /// What [`Key::name`] says of a key that has escapes; `None` of any other.
    #[cold]
    fn unescaped<'b>(&self, scratch: &'b mut [u8; KEY_BYTES_MAX]) -> Option<&'b str> {
        let inner = self.inner();
        if is_plain(inner) || !has_escape(inner) {
            return None;
        }
        let len = unescape(inner, scratch).unwrap_or(0);
        Some(std::str::from_utf8(scratch.get(..len).unwrap_or(&[])).unwrap_or(""))
    }
}

/// Iterates over the members of an object.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    text: &'a str,
    marks: &'a [u32],
}

impl<'a> Iterator for Members<'a> {
    type Item = (Key<'a>, Value<'a>);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let marks = match self.marks {
            [comma, rest @ ..] if byte_at(self.text, *comma) == Some(b',') => rest,
            marks => marks,
        };
        // Key, colon, value; an object that ends here has `}` alone.
        let [key, colon, value @ ..] = marks else { return None };
        let key = *key as usize;
        let key = self.text.get(key..trimmed(self.text, key, *colon as usize))?;
        let (count, end) = extent(self.text, value)?;
        let (marks, rest) = value.split_at_checked(count)?;
        self.marks = rest;
        Some((Key(key), Value { text: self.text, marks, end }))
    }
}

/// Iterates over the elements of an array.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    text: &'a str,
    marks: &'a [u32],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        match byte_at(self.text, *self.marks.first()?)? {
            b',' => self.marks = self.marks.get(1..)?,
            b']' => return None,
            _ => {}
        }
        let (count, end) = extent(self.text, self.marks)?;
        let (marks, rest) = self.marks.split_at_checked(count)?;
        self.marks = rest;
        Some(Value { text: self.text, marks, end })
    }
}

/// Where a scalar ends that was found between two marks. RFC 8259 section 2: these four and no others are
/// insignificant.
#[inline]
fn trimmed(text: &str, start: usize, mut end: usize) -> usize {
    let bytes = text.as_bytes();
    while end > start && matches!(bytes.get(end - 1), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        end -= 1;
    }
    end
}

fn byte_at(text: &str, mark: u32) -> Option<u8> {
    text.as_bytes().get(mark as usize).copied()
}

/// How many marks the value at the front has, and where it ends in the text.
#[inline]
fn extent(text: &str, marks: &[u32]) -> Option<(usize, usize)> {
    let first = *marks.first()?;
    if !matches!(byte_at(text, first)?, b'{' | b'[') {
        let next = marks.get(1).map_or(text.len(), |&next| next as usize);
        return Some((1, trimmed(text, first as usize, next)));
    }
    extent_of_brackets(text, marks)
}

/// The same for an object or an array: as far as the bracket that ends it.
fn extent_of_brackets(text: &str, marks: &[u32]) -> Option<(usize, usize)> {
    let mut depth = 0_u32;
    for (index, &mark) in marks.iter().enumerate() {
        // Of what marks stand at, this bit makes braces of brackets and nothing else a brace.
        let byte = byte_at(text, mark)? | 0x20;
        depth = depth.wrapping_add(u32::from(byte == b'{')).wrapping_sub(u32::from(byte == b'}'));
        if depth == 0 {
            return Some((index + 1, mark as usize + 1));
        }
    }
    None
}

/// Whether a JSON string's inside has escapes. A plain loop: such strings are short.
pub(super) fn has_escape(inner: &str) -> bool {
    inner.bytes().fold(false, |found, byte| found | (byte == b'\\'))
}

/// Undoes the escapes of a valid JSON string's inside. Returns the bytes written, or `None` if the room is
/// too small or a surrogate stands alone, which no Rust string can hold.
pub(super) fn unescape(inner: &str, out: &mut [u8]) -> Option<usize> {
    let (mut rest, mut len) = (inner, 0);
    while let Some(at) = rest.find('\\') {
        len = put(out, len, rest.get(..at)?)?;
        let escape = *rest.as_bytes().get(at + 1)?;
        rest = rest.get(at + 2..)?;
        let plain = match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (decoded, used) = code_point(rest)?;
                rest = rest.get(used..)?;
                decoded
            }
            other => char::from(other),
        };
        len = put(out, len, plain.encode_utf8(&mut [0; 4]))?;
    }
    put(out, len, rest)
}

fn put(out: &mut [u8], len: usize, piece: &str) -> Option<usize> {
    let end = len + piece.len();
    out.get_mut(len..end)?.copy_from_slice(piece.as_bytes());
    Some(end)
}

/// The character after a `\u` and how many bytes name it: four digits, or a pair of surrogates.
fn code_point(digits: &str) -> Option<(char, usize)> {
    let high = u32::from_str_radix(digits.get(..4)?, 16).ok()?;
    if let Some(char) = char::from_u32(high) {
        return Some((char, 4));
    }
    // RFC 8259 section 7: a character outside the basic plane is a high and a low surrogate.
    let low = u32::from_str_radix(digits.get(4..)?.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
    if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).map(|char| (char, 10))
}

/// Finds the marks of a valid text one byte at a time, and how deep it nests.
pub(super) fn mark(text: &str, marks: &mut Vec<u32>) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped, mut in_scalar) = (false, false, false);
    marks.clear();
    for (at, byte) in (0_u32..).zip(text.bytes()) {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        let structural = matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',' | b'"');
        let blank = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        if structural || !(blank || in_scalar) {
            marks.push(at);
        }
        in_string = byte == b'"';
        in_scalar = !(structural || blank);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Undone in room that is just enough; in one byte less it does not fit.
    fn check(inner: &str, expected: Option<&str>) {
        let mut room = [0; 64];
        let undone = unescape(inner, &mut room).map(|len| std::str::from_utf8(&room[..len]).unwrap().to_owned());
        assert_eq!(undone.as_deref(), expected, "{inner}");
        let judge = serde_json::from_str::<String>(&format!("\"{inner}\"")).ok();
        assert_eq!(undone, judge, "{inner}");
        let Some(len) = expected.map(str::len) else { return };
        assert_eq!(unescape(inner, &mut vec![0; len]), Some(len), "{inner}");
        assert!(len == 0 || unescape(inner, &mut vec![0; len - 1]).is_none(), "{inner}");
    }

    #[test]
    fn escapes_are_undone_as_rfc_8259_section_7_says() {
        check("", Some(""));
        check("plain", Some("plain"));
        check(r#"\"\\\/\b\f\n\r\t"#, Some("\"\\/\u{8}\u{c}\n\r\t"));
        check(r"a\u0041b\u00e9c\u20AC", Some("aAb\u{e9}c\u{20ac}"));
        check(r"\ud83d\ude00\udbff\udfff", Some("\u{1f600}\u{10ffff}"));
        for alone in [r"\ud83d", r"\ude00", r"\ud83dx", r"\ud83d\n", r"\ud83d\u0041", r"\ud83d\ud83d", r"\ude00\ud83d"]
        {
            check(alone, None);
        }
    }

    #[test]
    fn a_key_with_escapes_is_read_up_to_the_longest_known_name() {
        for (len, read) in [(KEY_BYTES_MAX - 1, true), (KEY_BYTES_MAX, true), (KEY_BYTES_MAX + 1, false)] {
            let key = format!("\"\\u0061{}\"", "b".repeat(len - 1));
            let expected = if read { format!("a{}", "b".repeat(len - 1)) } else { String::new() };
            assert_eq!(Key(&key).name(&mut [0; KEY_BYTES_MAX]), expected, "{len} bytes");
        }
    }
}
