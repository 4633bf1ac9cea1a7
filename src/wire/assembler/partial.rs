//! What the assembler keeps while a frame or a message is not whole.
//!
//! Exists only then: the box is dropped once nothing is pending. Text is kept as a `String` and a cut-off
//! character of at most three bytes, so that it is checked once, as it comes.

use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::wire::assembler::{Frame, Violation, checked_text};

/// RFC 6455 section 5.2: the longest header that a client can send.
const CLIENT_HEADER_BYTES_MAX: usize = 14;

/// The pieces of what is not whole, and what was handed out last.
#[derive(Debug, Default)]
pub(super) struct Partial {
    header: [u8; CLIENT_HEADER_BYTES_MAX],
    /// `<= CLIENT_HEADER_BYTES_MAX`
    header_len: usize,
    /// The frame whose payload is on its way.
    pub(super) frame: Option<Frame>,
    /// The message whose fragments are on their way.
    pub(super) message: Option<Message>,
    /// The payload of a control frame that came in pieces.
    pub(super) control: Vec<u8>,
    /// Whether `control` is whole: it was handed out.
    pub(super) control_is_whole: bool,
}

impl Partial {
    /// Drops what was handed out; true if nothing is left to keep.
    pub(super) fn forget_handed_out(&mut self) -> bool {
        if self.control_is_whole {
            self.control = Vec::new();
            self.control_is_whole = false;
        }
        if self.message.as_ref().is_some_and(|message| message.is_whole) {
            self.message = None;
        }
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// The bytes of a header that is not whole yet.
    pub(super) fn header(&self) -> &[u8] {
        &self.header[..self.header_len]
    }

    /// Adds as many bytes as a header can take, and returns all that are there.
    pub(super) fn extend_header(&mut self, fresh: &[u8]) -> &[u8] {
        let room = &mut self.header[self.header_len..];
        let len = room.len().min(fresh.len());
        room[..len].copy_from_slice(&fresh[..len]);
        self.header_len += len;
        self.header()
    }

    pub(super) const fn clear_header(&mut self) {
        self.header_len = 0;
    }

    pub(super) fn held_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| match &message.body {
            Body::Text(text) => text.whole.capacity(),
            Body::Binary(whole) => whole.capacity(),
        });
        size_of::<Self>() + self.control.capacity() + message
    }
}

/// A data message of which some came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) body: Body,
    /// Frames whose header has come.
    pub(super) frames_count: u32,
    /// Bytes of payload that these headers announced; within the limit.
    pub(super) announced_bytes: usize,
    /// Its last byte came, and it was handed out.
    is_whole: bool,
}

/// The payload that came.
#[derive(Debug)]
pub(super) enum Body {
    Text(Text),
    Binary(Vec<u8>),
}

impl Message {
    pub(super) fn new(opcode: OpCode) -> Self {
        let is_text = opcode == OpCode::Data(Data::Text);
        let body = if is_text { Body::Text(Text::default()) } else { Body::Binary(Vec::new()) };
        Self { body, frames_count: 0, announced_bytes: 0, is_whole: false }
    }

    /// Counts a frame of which the header has come.
    pub(super) const fn announce(&mut self, bytes: usize) {
        self.frames_count = self.frames_count.saturating_add(1);
        self.announced_bytes = self.announced_bytes.saturating_add(bytes);
    }

    /// Appends payload. Memory doubles with the bytes that came, up to `bytes_max`.
    pub(super) fn push(&mut self, chunk: &[u8], bytes_max: usize) -> Result<(), Violation> {
        match &mut self.body {
            Body::Text(text) => {
                let whole = &mut text.whole;
                whole.reserve_exact(room_to_add(whole.len(), whole.capacity(), chunk.len(), bytes_max));
                text.push(chunk)
            }
            Body::Binary(whole) => {
                whole.reserve_exact(room_to_add(whole.len(), whole.capacity(), chunk.len(), bytes_max));
                whole.extend_from_slice(chunk);
                Ok(())
            }
        }
    }

    /// Ends the message.
    pub(super) fn complete(&mut self) -> Result<(), Violation> {
        self.is_whole = true;
        match &self.body {
            // RFC 6455 section 8.1, and section 5.6: a whole message is valid UTF-8, a fragment need not be.
            Body::Text(text) if text.cut_len > 0 => Err(Violation::NOT_UTF8),
            _ => Ok(()),
        }
    }
}

/// What to reserve beyond `len` so that `more` fit: doubling, but never over `bytes_max` without need.
fn room_to_add(len: usize, capacity: usize, more: usize, bytes_max: usize) -> usize {
    let needed = len + more;
    if needed <= capacity { more } else { needed.max(capacity.saturating_mul(2).min(bytes_max)) - len }
}

/// Text of which some came: valid characters, then at most the beginning of one.
#[derive(Debug, Default)]
pub(super) struct Text {
    whole: String,
    cut: [u8; 4],
    /// `< 4` between calls: four bytes are a character or an error.
    cut_len: usize,
}

impl Text {
    pub(super) fn whole(&self) -> &str {
        &self.whole
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Violation> {
        let chunk = self.complete_cut(chunk)?;
        let (valid, cut) = chunk.split_at(chunk.len() - cut_off_len(chunk));
        self.whole.push_str(checked_text(valid)?);
        self.extend_cut(cut)
    }

    /// Gives the cut-off character its missing bytes; returns the bytes after it.
    fn complete_cut<'a>(&mut self, mut chunk: &'a [u8]) -> Result<&'a [u8], Violation> {
        while self.cut_len > 0
            && let Some((byte, rest)) = chunk.split_first()
        {
            self.extend_cut(std::slice::from_ref(byte))?;
            chunk = rest;
        }
        Ok(chunk)
    }

    /// Adds to the cut-off character. RFC 6455 section 8.1: what can no longer become one fails at once.
    fn extend_cut(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        for byte in bytes {
            self.cut[self.cut_len] = *byte;
            self.cut_len += 1;
        }
        match std::str::from_utf8(&self.cut[..self.cut_len]) {
            Ok(character) => {
                self.whole.push_str(character);
                self.cut_len = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(Violation::NOT_UTF8),
        }
    }
}

/// Bytes at the end (three at most) that begin a character whose rest is not there.
fn cut_off_len(chunk: &[u8]) -> usize {
    let tail = &chunk[chunk.len().saturating_sub(3)..];
    let lead = tail.iter().rev().position(|byte| *byte & 0xc0 != 0x80);
    let Some(behind) = lead else { return 0 };
    let wanted = match tail[tail.len() - 1 - behind] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 1,
    };
    if behind + 1 < wanted { behind + 1 } else { 0 }
}
