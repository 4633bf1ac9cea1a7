//! The nodes of a text that something else found to be valid, by its marks.
//!
//! Marks are the offsets of `{ } [ ] : ,` outside strings and of the first byte of every string, number and literal, in
//! order: what `simd-json` leaves behind of its first stage, and what [`mark`] finds one byte at a time.

use super::scan::scan;
use super::tree::Nodes;

/// Finds the nodes of a valid text by its marks. `None` if they are not the text's.
pub(super) fn settle(text: &str, marks: &[u32], nodes: &mut Nodes) -> Option<()> {
    nodes.clear();
    for (index, &mark) in marks.iter().enumerate() {
        let start = mark as usize;
        match *text.as_bytes().get(start)? {
            b',' | b':' => {}
            b'{' | b'[' => nodes.enter(start)?,
            b'}' | b']' => nodes.leave(start + 1)?,
            _ => nodes
                .leaf(start, trimmed(text, start, marks.get(index + 1).map_or(text.len(), |&next| next as usize)))?,
        }
    }
    nodes.are_closed().then_some(())
}

/// Finds the nodes of a text that is known to be valid, however deep it nests.
pub(super) fn settle_valid(text: &str, nodes: &mut Nodes) -> Option<()> {
    if scan(text, usize::MAX, nodes) {
        return Some(());
    }
    let mut marks = Vec::new();
    mark(text, &mut marks);
    settle(text, &marks, nodes)
}

/// Where a value ends that was found between two marks. RFC 8259 section 2: these four and no others are blanks.
fn trimmed(text: &str, start: usize, mut end: usize) -> usize {
    let bytes = text.as_bytes();
    while end > start && matches!(bytes.get(end - 1), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        end -= 1;
    }
    end
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
