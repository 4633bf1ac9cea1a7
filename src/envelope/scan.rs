//! One pass over a text: is it JSON as RFC 8259 defines it, and where are its values.
//!
//! A state machine without recursion. Between strings it goes byte by byte, inside them eight and thirty-two bytes at a
//! time, since most of a message is the inside of strings. It notes each value and each name in the order of the text;
//! numbers and escapes are checked by their grammar and not decoded.
//!
//! What is accepted is exactly the grammar, up to a depth and a run of blanks: integers of any length, `1e400` and lone
//! surrogates are JSON, though no Rust value holds them. Deliberately absent: UTF-8, which a `str` is already, and what
//! is wrong with a text that is not accepted.

use super::tree::Nodes;
use crate::limits;

/// Finds the nodes of a text. Whether it is JSON and nests no deeper than `depth_max`, in as few blanks as programs
/// write; if not, the nodes mean nothing.
pub(super) fn scan(text: &str, depth_max: usize, nodes: &mut Nodes) -> bool {
    nodes.clear();
    Scan { bytes: text.as_bytes(), at: 0, room: depth_max, nodes }.text().is_some()
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How much deeper it may go.
    room: usize,
    nodes: &'a mut Nodes,
}

impl Scan<'_> {
    fn text(&mut self) -> Option<()> {
        let mut first = self.token()?;
        loop {
            match first {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    self.enter()?;
                    let next = self.token()?;
                    if next != first + CLOSING {
                        first = if first == b'{' { self.name(next)? } else { next };
                        continue;
                    }
                    self.leave()?;
                }
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                _ => self.number()?,
            }
            match self.behind()? {
                Next::Value(next) => first = next,
                Next::End => return Some(()),
            }
        }
    }

    /// What follows a value: containers that end, and then another value or the end of the text.
    #[inline(always)]
    fn behind(&mut self) -> Option<Next> {
        while !self.nodes.are_closed() {
            let byte = self.token()?;
            let opening = *self.bytes.get(self.nodes.open_start()?)?;
            if byte == b',' {
                self.at += 1;
                let next = self.token()?;
                return Some(Next::Value(if opening == b'{' { self.name(next)? } else { next }));
            }
            if byte != opening + CLOSING {
                return None;
            }
            self.leave()?;
        }
        if self.at < self.bytes.len() {
            self.blanks();
        }
        (self.at == self.bytes.len()).then_some(Next::End)
    }

    /// The first byte that is no blank, which is not passed.
    #[inline(always)]
    fn token(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        if byte > b' ' {
            return Some(byte);
        }
        self.blanks();
        self.bytes.get(self.at).copied()
    }

    /// Passes blanks. RFC 8259 section 2: these four and no others are.
    #[inline(never)]
    fn blanks(&mut self) {
        let ahead = self.bytes.get(self.at..).unwrap_or_default().iter().take(limits::JSON_BLANKS_MAX);
        self.at += ahead.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    /// A member's name and its colon. Returns the first byte of the value.
    #[inline(always)]
    fn name(&mut self, first: u8) -> Option<u8> {
        if first != b'"' {
            return None;
        }
        self.string()?;
        if self.token()? != b':' {
            return None;
        }
        self.at += 1;
        self.token()
    }

    #[inline(always)]
    fn enter(&mut self) -> Option<()> {
        self.room = self.room.checked_sub(1)?;
        self.nodes.enter(self.at)?;
        self.at += 1;
        Some(())
    }

    #[inline(always)]
    fn leave(&mut self) -> Option<()> {
        self.room += 1;
        self.at += 1;
        self.nodes.leave(self.at)
    }

    /// A node from here to `end`, behind which the scan goes on.
    #[inline(always)]
    fn leaf(&mut self, end: usize) -> Option<()> {
        self.nodes.leaf(self.at, end)?;
        self.at = end;
        Some(())
    }

    #[inline(always)]
    fn string(&mut self) -> Option<()> {
        let end = string_end(self.bytes, self.at + 1)?;
        self.leaf(end)
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        let end = self.at + word.len();
        if self.bytes.get(self.at..end)? != word {
            return None;
        }
        self.leaf(end)
    }

    fn number(&mut self) -> Option<()> {
        let end = number_end(self.bytes, self.at)?;
        self.leaf(end)
    }
}

enum Next {
    /// Begins with this byte, at which the scan is.
    Value(u8),
    End,
}

/// In ASCII a closing bracket or brace stands so far behind its opening one.
const CLOSING: u8 = b'}' - b'{';
const _: () = assert!(b']' - b'[' == CLOSING);

/// One past the closing quote of a string of which `at` is the first byte inside.
#[inline(always)]
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = stop(bytes, at)?;
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = escape_end(bytes, at)?,
            // RFC 8259 section 7: control characters must be escaped.
            _ => return None,
        }
    }
}

/// The first byte from `at` on that does not just stand for itself inside a string.
#[inline(always)]
fn stop(bytes: &[u8], at: usize) -> Option<usize> {
    let mut rest = bytes.get(at..)?;
    // Names and short texts end in the first eight bytes.
    if let Some((word, behind)) = rest.split_first_chunk() {
        if let Some(found) = stop_in(word) {
            return Some(at + found);
        }
        rest = behind;
        while let Some((chunk, behind)) = rest.split_first_chunk()
            && has_no_stop(chunk)
        {
            rest = behind;
        }
        while let Some((word, behind)) = rest.split_first_chunk() {
            if let Some(found) = stop_in(word) {
                return Some(bytes.len() - rest.len() + found);
            }
            rest = behind;
        }
    }
    let found = rest.iter().position(|&byte| is_stop(byte))?;
    Some(bytes.len() - rest.len() + found)
}

/// Which of eight bytes is the first that stops, if one does.
#[inline(always)]
fn stop_in(word: &[u8; 8]) -> Option<usize> {
    let stops = stops(u64::from_le_bytes(*word));
    (stops != 0).then(|| stops.trailing_zeros() as usize / 8)
}

/// Without its bit of 2 the quote is a blank, and what is below the blank stays below it.
const fn is_stop(byte: u8) -> bool {
    (byte ^ 2 <= b' ') | (byte == b'\\')
}

/// Sets the top bit of the lowest byte that stops; above that the bits mean nothing.
///
/// Subtracting from a byte that is smaller borrows from its top bit, which was clear in it; a borrow disturbs only the
/// bytes above.
const fn stops(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let control_or_quote = (word ^ (ONES * 2)).wrapping_sub(ONES * (b' ' as u64 + 1));
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control_or_quote | backslash) & !word & (ONES << 7)
}

/// Without a branch between the bytes, so that the compiler looks at sixteen at once.
#[inline(always)]
fn has_no_stop(bytes: &[u8; 32]) -> bool {
    !bytes.iter().fold(false, |found, &byte| found | is_stop(byte))
}

/// One past the escape that begins at `at`. A surrogate may stand alone: that is grammar, if no character.
#[inline(never)]
fn escape_end(bytes: &[u8], at: usize) -> Option<usize> {
    match *bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit).then_some(at + 6),
        _ => None,
    }
}

/// One past the number that begins at `at`. RFC 8259 section 6: no leading zeros, and digits on both sides of a point.
fn number_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits_end(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits_end(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits_end(bytes, at)?;
    }
    Some(at)
}

/// One past the digits from `at` on, of which there must be one.
fn digits_end(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then_some(at + digits)
}
