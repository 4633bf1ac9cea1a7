//! Texts from clients: is it JSON, where are its values, what does it ask for.
//!
//! Station 3 of the walk. `simd-json` checks a copy, because it undoes escapes in place; the values are
//! then sliced from the untouched text along the marks that its first stage left behind. What it refuses
//! although RFC 8259 allows it (integers over 64 bits, `1e400`, a lone `\ud83d`) gets a second, grammar-only
//! check by `serde_json`, and the same walk. So a text means the same whichever of the two accepted it.
//!
//! Invariants: a refused text leaves the parser as good as new; nothing is allocated once the scratch has
//! grown to the longest text; of a name that occurs twice in an object the last occurrence counts.

use super::command::{self, Inbound, Rejected};
use super::field::Fault;
use super::tree::{self, Value};
use crate::code::ErrorCode;
use crate::limits;
use simd_json::{Buffers, INPUT_PADDING, Tape};
use std::fmt;

/// Reads one text after another, with scratch that is kept between them.
pub struct Parser {
    /// The copy that `simd-json` writes to, then the room for strings whose escapes are undone.
    copy: Vec<u8>,
    buffers: Buffers,
    /// Empty between texts; only its memory is kept.
    tape: Tape<'static>,
    /// The marks of a text that only the second check accepted.
    marks: Vec<u32>,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            copy: Vec::new(),
            buffers: Buffers::with_max_depth(0, limits::JSON_DEPTH_MAX),
            tape: Tape(Vec::new()),
            marks: Vec::new(),
        }
    }
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").field("copy_bytes", &self.copy.capacity()).finish_non_exhaustive()
    }
}

impl Parser {
    /// Reads what a client's text asks for.
    ///
    /// # Errors
    ///
    /// The text is no JSON or too deep, or JSON but no message of this dialect.
    pub fn parse<'a>(&'a mut self, text: &'a str) -> Result<Inbound<'a>, Rejected<'a>> {
        let (copy, root) = self.read(text).map_err(Rejected::bare)?;
        match root.object() {
            Some(root) => command::read(root, text.len(), copy),
            None => Err(Rejected::bare((ErrorCode::InvalidMessageFormat, "a message must be a JSON object"))),
        }
    }

    /// Checks the text. Returns its value, and scratch that is as long as the text.
    pub(super) fn read<'a>(&'a mut self, text: &'a str) -> Result<(&'a mut [u8], Value<'a>), Fault> {
        const NO_JSON: Fault = (ErrorCode::InvalidJson, "the text is not JSON as RFC 8259 defines it");
        if text.len() > limits::MESSAGE_BYTES_MAX {
            return Err((ErrorCode::MessageTooLarge, "a message may have 65536 bytes"));
        }
        self.copy.clear();
        self.copy.extend_from_slice(text.as_bytes());
        self.copy.extend_from_slice(&[0; INPUT_PADDING]);
        let marks = if self.check(text.len()) {
            self.buffers.structural_indexes()
        } else {
            // Only the grammar decides here: a raw value is skipped over, never made into a number or a string.
            serde_json::from_str::<&serde_json::value::RawValue>(text).map_err(|_| NO_JSON)?;
            if tree::mark(text, &mut self.marks) > limits::JSON_DEPTH_MAX {
                return Err((ErrorCode::InvalidJson, "the text nests deeper than 32"));
            }
            &self.marks
        };
        let root = Value::root(text, marks).ok_or(NO_JSON)?;
        Ok((self.copy.get_mut(..text.len()).unwrap_or_default(), root))
    }

    /// Whether `simd-json` accepts the copy. The tape is dropped again: only the marks are of use.
    fn check(&mut self, len: usize) -> bool {
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let accepted = simd_json::fill_tape_padded(&mut self.copy, len, &mut self.buffers, &mut tape).is_ok();
        self.tape = tape.reset();
        accepted
    }
}

#[cfg(test)]
mod tests;
