//! Texts from clients: is it JSON, where are its values, what does it ask for.
//!
//! Station 3 of the walk. A message as programs write it is checked, and its values are found, by one pass of our own
//! (`envelope::scan`). What that does not accept is for two others to judge, so nothing is refused by one reader alone:
//! `simd-json`, which passes 64 bytes at a time over the blanks of a text that is laid out for people, and, since it
//! refuses integers over 64 bits, `1e400` and a lone `\ud83d` although RFC 8259 allows them, the grammar of `serde_json`.
//! Values are sliced from the untouched text, so it means the same whichever of the three accepted it.
//!
//! Invariants: a refused text leaves the parser as good as new; nothing is allocated once the scratch has
//! grown to the longest text; of a name that occurs twice in an object the last occurrence counts.

use super::command::{self, Inbound, Rejected};
use super::field::Fault;
use super::marks::{mark, settle};
use super::scan::scan;
use super::tree::{Nodes, Value};
use crate::code::ErrorCode;
use crate::limits;
use simd_json::{Buffers, INPUT_PADDING, Tape};
use std::fmt;

/// Reads one text after another, with scratch that is kept between them.
pub struct Parser {
    /// The nodes of the text that is looked at.
    nodes: Nodes,
    /// Room for strings whose escapes are undone; before that the copy that `simd-json` writes to, which undoes escapes
    /// in place.
    copy: Vec<u8>,
    buffers: Buffers,
    /// Empty between texts; only its memory is kept.
    tape: Tape<'static>,
    /// The marks of a text that only the last check accepted.
    marks: Vec<u32>,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            nodes: Nodes::default(),
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
        if text.len() > limits::MESSAGE_BYTES_MAX {
            return Err((ErrorCode::MessageTooLarge, "a message may have 65536 bytes"));
        }
        if !scan(text, limits::JSON_DEPTH_MAX, &mut self.nodes) {
            self.read_otherwise(text)?;
        }
        if self.copy.len() < text.len() {
            self.copy.resize(text.len(), 0);
        }
        let root = self.nodes.root(text).ok_or(NO_JSON)?;
        Ok((self.copy.get_mut(..text.len()).unwrap_or_default(), root))
    }

    /// Finds the nodes of a text that the scan did not accept, if another check does.
    #[cold]
    pub(super) fn read_otherwise(&mut self, text: &str) -> Result<(), Fault> {
        self.copy.clear();
        self.copy.extend_from_slice(text.as_bytes());
        self.copy.extend_from_slice(&[0; INPUT_PADDING]);
        let marks = if self.check(text.len()) {
            self.buffers.structural_indexes()
        } else {
            // Only the grammar decides here: a raw value is skipped over, never made into a number or a string.
            serde_json::from_str::<&serde_json::value::RawValue>(text).map_err(|_| NO_JSON)?;
            if mark(text, &mut self.marks) > limits::JSON_DEPTH_MAX {
                return Err((ErrorCode::InvalidJson, "the text nests deeper than 32"));
            }
            &self.marks
        };
        settle(text, marks, &mut self.nodes).ok_or(NO_JSON)
    }

    /// Whether `simd-json` accepts the copy. The tape is dropped again: only the marks are of use.
    fn check(&mut self, len: usize) -> bool {
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let accepted = simd_json::fill_tape_padded(&mut self.copy, len, &mut self.buffers, &mut tape).is_ok();
        self.tape = tape.reset();
        accepted
    }
}

const NO_JSON: Fault = (ErrorCode::InvalidJson, "the text is not JSON as RFC 8259 defines it");

#[cfg(test)]
mod tests;
