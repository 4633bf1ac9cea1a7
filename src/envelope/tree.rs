//! A walk over a JSON text that is already known to be valid.
//!
//! The text comes with its nodes, one for each value and for each member's name, in the order of the text; a node says
//! where its value stands and how many of the following nodes lie inside it. So a value is a slice of the text and of
//! the nodes, finding the raw span of a payload costs a step, and nothing is decoded that nobody reads.
//!
//! Deliberately absent: validation and finding the nodes (that is `scan` and `marks`), and any tree in memory.

use super::plain::is_plain;

/// Where a value stands in its text, or a member's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its first byte.
    start: u32,
    /// One past its last byte.
    end: u32,
    /// How many of the nodes behind this one lie inside the value. As long as the value is open: the node around it.
    inside: u32,
}

/// The nodes of a text, while they are found and when all are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Nodes {
    list: Vec<Node>,
    /// The innermost object or array that has not ended; [`NOTHING`] if all have.
    open: u32,
}

/// No node.
const NOTHING: u32 = u32::MAX;

impl Nodes {
    /// Forgets the text before.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.open = NOTHING;
    }

    /// A name, or a value with nothing inside.
    #[inline(always)]
    pub(super) fn leaf(&mut self, start: usize, end: usize) -> Option<()> {
        self.list.push(Node { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()?, inside: 0 });
        Some(())
    }

    /// An object or array begins.
    #[inline(always)]
    pub(super) fn enter(&mut self, start: usize) -> Option<()> {
        let start = u32::try_from(start).ok()?;
        let around = self.open;
        self.open = u32::try_from(self.list.len()).ok()?;
        self.list.push(Node { start, end: start, inside: around });
        Some(())
    }

    /// The innermost that is open ends.
    #[inline(always)]
    pub(super) fn leave(&mut self, end: usize) -> Option<()> {
        let behind = u32::try_from(self.list.len()).ok()?;
        let node = self.list.get_mut(self.open as usize)?;
        let inside = behind.checked_sub(self.open)?.checked_sub(1)?;
        self.open = node.inside;
        node.inside = inside;
        node.end = u32::try_from(end).ok()?;
        Some(())
    }

    /// Where the innermost that is open begins.
    #[inline(always)]
    pub(super) fn open_start(&self) -> Option<usize> {
        self.list.get(self.open as usize).map(|node| node.start as usize)
    }

    /// Whether all that began has ended.
    #[inline(always)]
    pub(super) const fn are_closed(&self) -> bool {
        self.open == NOTHING
    }

    /// The value that a text holds of which these are the nodes, or `None` if there are none.
    pub(super) fn root<'a>(&'a self, text: &'a str) -> Option<Value<'a>> {
        Value::first(text, &self.list).map(|(value, _)| value)
    }
}

/// A value inside a valid JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    text: &'a str,
    node: Node,
    /// The nodes inside the value.
    inside: &'a [Node],
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
    /// The value to which the first node belongs, and the nodes behind it.
    #[inline(always)]
    fn first(text: &'a str, nodes: &'a [Node]) -> Option<(Self, &'a [Node])> {
        let (&node, behind) = nodes.split_first()?;
        let (inside, behind) = behind.split_at_checked(node.inside as usize)?;
        Some((Self { text, node, inside }, behind))
    }

    /// The bytes of the value as they stand in the text.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.text.get(self.node.start as usize..self.node.end as usize).unwrap_or("")
    }

    fn first_byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.node.start as usize).copied()
    }

    /// What the value is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.first_byte() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// The value as an object, if it is one.
    #[must_use]
    pub fn object(self) -> Option<Object<'a>> {
        (self.first_byte() == Some(b'{')).then_some(Object(self))
    }

    /// The elements, if the value is an array.
    #[must_use]
    pub fn elements(self) -> Option<Elements<'a>> {
        (self.first_byte() == Some(b'[')).then_some(Elements { text: self.text, nodes: self.inside })
    }

    /// The characters between the quotes, escapes untouched, if the value is a string.
    #[must_use]
    pub fn escaped(&self) -> Option<&'a str> {
        if self.first_byte() != Some(b'"') {
            return None;
        }
        self.text.get(self.node.start as usize + 1..(self.node.end as usize).checked_sub(1)?)
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
        Members { text: self.0.text, nodes: self.0.inside }
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
    #[inline(always)]
    pub fn find_by<const N: usize>(&self, row_of: impl Fn(&str) -> Option<usize>) -> [Option<Value<'a>>; N] {
        let (text, nodes) = (self.0.text, self.0.inside);
        // Where among the nodes; at the first of them is a name, so nought is nowhere.
        let mut found = [0; N];
        let mut at = 0;
        while let Some([name, value]) = nodes.get(at..).and_then(<[Node]>::first_chunk) {
            let inner = text.get(name.start as usize + 1..(name.end as usize).saturating_sub(1)).unwrap_or_default();
            // No name that is looked for has an escape, so most are told as they stand.
            let row = row_of(inner).or_else(|| row_of(unescaped(inner, &mut [0; KEY_BYTES_MAX])?));
            if let Some(slot) = row.and_then(|row| found.get_mut(row)) {
                let is_null = text.as_bytes().get(value.start as usize) == Some(&b'n');
                *slot = if is_null { 0 } else { at + 1 };
            }
            at += 2 + value.inside as usize;
        }
        found.map(|at| if at == 0 { None } else { Value::first(text, nodes.get(at..)?).map(|(value, _)| value) })
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
        let inner = self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or("");
        unescaped(inner, scratch).unwrap_or(inner)
    }
}

/// What [`Key::name`] says of a key that has escapes; `None` of any other.
#[cold]
fn unescaped<'b>(inner: &str, scratch: &'b mut [u8; KEY_BYTES_MAX]) -> Option<&'b str> {
    if is_plain(inner) || !has_escape(inner) {
        return None;
    }
    let len = unescape(inner, scratch).unwrap_or(0);
    Some(std::str::from_utf8(scratch.get(..len).unwrap_or(&[])).unwrap_or(""))
}

/// Iterates over the members of an object.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    text: &'a str,
    nodes: &'a [Node],
}

impl<'a> Iterator for Members<'a> {
    type Item = (Key<'a>, Value<'a>);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.nodes.split_first()?;
        let (value, rest) = Value::first(self.text, rest)?;
        self.nodes = rest;
        Some((Key(self.text.get(name.start as usize..name.end as usize)?), value))
    }
}

/// Iterates over the elements of an array.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    text: &'a str,
    nodes: &'a [Node],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (value, rest) = Value::first(self.text, self.nodes)?;
        self.nodes = rest;
        Some(value)
    }
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
