//! Events to frames: the bytes around a message on its way out.
//!
//! A frame is encoded once and frozen as a [`Payload`], whatever the number of its readers. Server frames
//! are whole and unmasked (RFC 6455 sections 5.1 and 5.4), and their length is in the shortest form.
//! Absent: fragmenting, compression.

use std::io;

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::code::CloseCode;
use crate::limits::FRAME_BUFFER_BYTES_KEPT_MAX;
use crate::payload::Payload;

/// Bytes of the longest header of a server's frame.
pub const HEADER_BYTES_MAX: usize = 10;

/// RFC 6455 section 5.5: the longest payload of a control frame.
pub const CONTROL_BYTES_MAX: usize = 125;

/// Bytes of a close frame's reason: its payload begins with the code.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A message in UTF-8.
    Text,
    /// A message of bytes.
    Binary,
    /// The end.
    Close,
    /// A question for life.
    Ping,
    /// Its answer.
    Pong,
}

impl From<Opcode> for OpCode {
    fn from(opcode: Opcode) -> Self {
        match opcode {
            Opcode::Text => Self::Data(Data::Text),
            Opcode::Binary => Self::Data(Data::Binary),
            Opcode::Close => Self::Control(Control::Close),
            Opcode::Ping => Self::Control(Control::Ping),
            Opcode::Pong => Self::Control(Control::Pong),
        }
    }
}

/// Appends the header of a frame with `len` bytes of payload.
pub fn write_header(opcode: Opcode, len: usize, out: &mut Vec<u8>) {
    let (header, len) = header(opcode, len);
    out.extend_from_slice(&header[HEADER_BYTES_MAX - len..]);
}

/// The header of a final frame without a mask (RFC 6455 section 5.2), at the end of the bytes, and how many it has.
/// Written here and not by the codec, which writes it field by field: this is done for every event.
fn header(opcode: Opcode, len: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    const FINAL: u8 = 0x80;
    let first = FINAL | u8::from(OpCode::from(opcode));
    let [a, b, c, d, e, f, g, h] = (len as u64).to_be_bytes();
    match len {
        0..126 => ([0, 0, 0, 0, 0, 0, 0, 0, first, h], 2),
        126..65_536 => ([0, 0, 0, 0, 0, 0, first, 126, g, h], 4),
        _ => ([first, 127, a, b, c, d, e, f, g, h], HEADER_BYTES_MAX),
    }
}

/// A whole frame.
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8]) -> Payload {
    let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
    write_header(opcode, payload.len(), &mut bytes);
    bytes.extend_from_slice(payload);
    Payload::copy_of(&bytes)
}

/// The payload of a whole frame of ours, which has no mask.
#[must_use]
pub fn payload_of(frame: &[u8]) -> &[u8] {
    let header = match frame.get(1) {
        Some(126) => 4,
        Some(127) => HEADER_BYTES_MAX,
        _ => 2,
    };
    frame.get(header..).unwrap_or_default()
}

/// A ping. A payload over [`CONTROL_BYTES_MAX`] is cut to it.
#[must_use]
pub fn ping_frame(payload: &[u8]) -> Payload {
    frame(Opcode::Ping, &payload[..payload.len().min(CONTROL_BYTES_MAX)])
}

/// A pong. RFC 6455 section 5.5.3: with the payload of the ping that it answers.
#[must_use]
pub fn pong_frame(payload: &[u8]) -> Payload {
    frame(Opcode::Pong, &payload[..payload.len().min(CONTROL_BYTES_MAX)])
}

/// A close frame. The reason is cut to [`CLOSE_REASON_BYTES_MAX`], between characters.
#[must_use]
pub fn close_frame(code: CloseCode, reason: &str) -> Payload {
    let reason = &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    frame(Opcode::Close, &[code.0.to_be_bytes().as_slice(), reason.as_bytes()].concat())
}

/// Where an event's text is put together: room for the header is kept in front, so that header and body
/// lie side by side when the length is known. Reused from event to event.
#[derive(Debug)]
pub struct FrameBuffer {
    /// Begins with [`HEADER_BYTES_MAX`] bytes that are the header's.
    bytes: Vec<u8>,
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self { bytes: vec![0; HEADER_BYTES_MAX] }
    }
}

impl FrameBuffer {
    /// The end of the body, to append to. What is there already must stay.
    pub const fn body(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends to the body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The body so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES_MAX..).unwrap_or_default()
    }

    /// Drops the body.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(FRAME_BUFFER_BYTES_KEPT_MAX);
        self.bytes.resize(HEADER_BYTES_MAX, 0);
    }

    /// Freezes the body as one frame and makes room for the next. The freeze is the only copy.
    #[must_use]
    pub fn finish(&mut self, opcode: Opcode) -> Payload {
        debug_assert!(self.bytes.len() >= HEADER_BYTES_MAX, "the header's room was cut away");
        let len = self.written().len();
        let (header, header_len) = header(opcode, len);
        self.bytes[..HEADER_BYTES_MAX].copy_from_slice(&header);
        let payload = Payload::copy_of(&self.bytes[HEADER_BYTES_MAX - header_len..]);
        self.clear();
        payload
    }
}

impl io::Write for FrameBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_header_takes_the_shortest_form_at_every_boundary() {
        let check = |len: usize, expected: &[u8]| {
            let mut header = Vec::new();
            write_header(Opcode::Text, len, &mut header);
            assert_eq!(header, expected, "{len}");
        };
        check(0, &[0x81, 0]);
        check(124, &[0x81, 124]);
        check(125, &[0x81, 125]);
        check(126, &[0x81, 126, 0, 126]);
        check(65_534, &[0x81, 126, 0xff, 0xfe]);
        check(65_535, &[0x81, 126, 0xff, 0xff]);
        check(65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        check(65_537, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn opcodes_are_those_of_rfc_6455_section_11_8() {
        let opcodes = [Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
        assert_eq!(opcodes.map(|opcode| frame(opcode, b"x")[0]), [0x81, 0x82, 0x88, 0x89, 0x8a]);
    }

    #[test]
    fn a_buffer_freezes_what_a_plain_frame_would_be_and_is_reused() {
        let mut buffer = FrameBuffer::default();
        for len in [0, 1, 125, 126, 65_535, 65_536, 3] {
            let body = vec![b'a'; len];
            buffer.write_all(&body[..len / 2]).unwrap();
            buffer.body().extend_from_slice(&body[len / 2..]);
            assert_eq!(buffer.written(), body);
            assert_eq!(buffer.finish(Opcode::Text), frame(Opcode::Text, &body), "{len}");
            assert!(buffer.written().is_empty());
        }
    }

    #[test]
    fn a_buffer_keeps_its_room_up_to_the_bound() {
        let check = |len: usize, kept: bool| {
            let mut buffer = FrameBuffer::default();
            buffer.body().reserve_exact(len - HEADER_BYTES_MAX);
            let room = buffer.bytes.capacity();
            buffer.clear();
            assert_eq!(buffer.bytes.capacity() == room, kept, "{len}");
        };
        check(FRAME_BUFFER_BYTES_KEPT_MAX - 1, true);
        check(FRAME_BUFFER_BYTES_KEPT_MAX, true);
        check(FRAME_BUFFER_BYTES_KEPT_MAX + 1, false);
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let check = |reason: &str, expected: &str| {
            let frame = close_frame(CloseCode::TOKEN, reason);
            assert_eq!(frame[..4], [0x88, u8::try_from(2 + expected.len()).unwrap(), 0x0f, 0xa1]);
            assert_eq!(&frame[4..], expected.as_bytes());
        };
        check("", "");
        for len in [CLOSE_REASON_BYTES_MAX - 1, CLOSE_REASON_BYTES_MAX] {
            check(&"a".repeat(len), &"a".repeat(len));
        }
        check(&"a".repeat(CLOSE_REASON_BYTES_MAX + 1), &"a".repeat(CLOSE_REASON_BYTES_MAX));
        check(&"ä".repeat(62), &"ä".repeat(61));
        check(&format!("{}€", "a".repeat(120)), &format!("{}€", "a".repeat(120)));
        check(&format!("{}€", "a".repeat(121)), &"a".repeat(121));
    }

    #[test]
    fn a_control_frame_is_never_longer_than_it_may_be() {
        for (len, sent) in [(0, 0), (124, 124), (125, 125), (126, 125)] {
            assert_eq!(ping_frame(&vec![7; len]), frame(Opcode::Ping, &vec![7; sent]));
            assert_eq!(pong_frame(&vec![7; len]), frame(Opcode::Pong, &vec![7; sent]));
        }
    }
}
