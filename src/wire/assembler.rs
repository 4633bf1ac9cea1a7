//! Frames to messages: station 2 of the walk.
//!
//! Works on the borrowed receive buffer. A message that lies in it whole is unmasked in place and handed
//! out as a slice of it. Only what a buffer's end cuts off, and fragments, are copied, into memory that
//! grows with the bytes that came (never with the bytes that were announced) and is given back as soon
//! as the message has been handed out. An idle connection holds one null pointer.
//!
//! Invariants: no more than the message limit and one control frame is ever held; text is checked as its
//! bytes come, so a bad byte is told in the call that brings it; every byte is looked at once.
//! Absent: extensions, the client's side, and going on after a [`Violation`] or a close.

mod partial;

use std::io::Cursor;
use std::ops::Range;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode as StandardCode, Control, Data, OpCode};

use crate::code::CloseCode;
use crate::wire::assembler::partial::{Body, Message, Partial};
use crate::wire::encoder::{CONTROL_BYTES_MAX, Opcode};

/// What an endpoint takes.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Bytes of a message after reassembly; over it: 1009.
    pub message_bytes_max: usize,
    /// Frames of one message; over it: 1002.
    pub fragments_max: Option<u32>,
    /// Whether binary messages are taken; if not: 1003.
    pub binary: bool,
}

/// What came in: a message or a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// The answer to a ping, or nobody's question.
    Pong(&'a [u8]),
    /// The peer ends the connection, with its reason if it gave one. The last thing to be taken from it.
    Close(Option<(CloseCode, &'a str)>),
}

/// Why the connection is to be failed (RFC 6455 section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The code of the close frame: 1002, 1003, 1007 or 1009.
    pub close: CloseCode,
    /// Its text.
    pub reason: &'static str,
}

impl Violation {
    const NOT_UTF8: Self = Self { close: CloseCode::INVALID_UTF8, reason: "text is not UTF-8" };

    const fn protocol(reason: &'static str) -> Self {
        Self { close: CloseCode::PROTOCOL, reason }
    }
}

/// The state of one connection's incoming side. Pointer-sized; points to nothing between messages.
#[derive(Debug, Default)]
pub struct Assembler {
    partial: Option<Box<Partial>>,
}

/// A frame whose header has been checked.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    /// Turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
    /// Bytes of the payload that are still to come.
    left: usize,
}

/// Where the next thing to hand out lies.
enum Found {
    InBuffer(Opcode, Range<usize>),
    StoredControl(Opcode),
    StoredMessage,
}

impl Assembler {
    /// Takes bytes from `bytes[*at..]`, moving `*at` on, until there is something to hand out. `None` says
    /// that all bytes are taken. To be called until then; what was handed out is gone with the next call.
    ///
    /// # Errors
    /// The first [`Violation`]; nothing may be taken from the connection after it.
    pub fn next<'a>(
        &'a mut self,
        rules: &Rules,
        bytes: &'a mut [u8],
        at: &mut usize,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        if self.partial.is_none() {
            if *at == bytes.len() {
                return Ok(None);
            }
            if let Some((opcode, range)) = take_whole(rules, bytes, at) {
                return present(opcode, &bytes[range]).map(Some);
            }
        }
        self.next_by_parts(rules, bytes, at)
    }

    /// The same for whatever is not one whole message in one frame.
    #[inline(never)]
    fn next_by_parts<'a>(
        &'a mut self,
        rules: &Rules,
        bytes: &'a mut [u8],
        at: &mut usize,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        self.forget_handed_out();
        let Some(found) = self.find(rules, bytes, at)? else { return Ok(None) };
        match (found, self.partial.as_deref()) {
            (Found::InBuffer(opcode, range), _) => present(opcode, &bytes[range]).map(Some),
            (Found::StoredControl(opcode), Some(partial)) => present(opcode, &partial.control).map(Some),
            (Found::StoredMessage, Some(Partial { message: Some(message), .. })) => Ok(Some(match &message.body {
                Body::Text(text) => Incoming::Text(text.whole()),
                Body::Binary(whole) => Incoming::Binary(whole),
            })),
            (Found::StoredControl(_) | Found::StoredMessage, _) => {
                debug_assert!(false, "what was stored is there until the next call");
                Ok(None)
            }
        }
    }

    /// Bytes of memory that are held beyond the assembler itself.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.as_deref().map_or(0, Partial::held_bytes)
    }

    fn forget_handed_out(&mut self) {
        if let Some(partial) = &mut self.partial
            && partial.forget_handed_out()
        {
            self.partial = None;
        }
    }

    fn find(&mut self, rules: &Rules, bytes: &mut [u8], at: &mut usize) -> Result<Option<Found>, Violation> {
        loop {
            let begun = self.partial.as_mut().and_then(|partial| partial.frame.take());
            let is_new = begun.is_none();
            let frame = match begun {
                Some(frame) => frame,
                None => match self.take_header(rules, bytes, at)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let range = *at..*at + frame.left.min(bytes.len() - *at);
            *at = range.end;
            unmask(&mut bytes[range.clone()], frame.mask);
            let is_whole = is_new && range.len() == frame.left;
            match whole_opcode(frame) {
                Some(opcode) if is_whole => return Ok(Some(Found::InBuffer(opcode, range))),
                _ => {}
            }
            let chunk = &bytes[range];
            if let Some(found) = self.store(rules, frame, is_new, chunk)? {
                return Ok(Some(found));
            }
            if chunk.len() < frame.left {
                return Ok(None);
            }
        }
    }

    /// The next frame's header, if it is there whole; if not, its bytes are kept.
    fn take_header(&mut self, rules: &Rules, bytes: &[u8], at: &mut usize) -> Result<Option<Frame>, Violation> {
        let fresh = &bytes[*at..];
        let earlier = self.partial.as_ref().map_or(0, |partial| partial.header().len());
        let parsed = match &mut self.partial {
            Some(partial) if earlier > 0 => partial.extend_header(fresh),
            _ if fresh.is_empty() => return Ok(None),
            _ => fresh,
        };
        let mut cursor = Cursor::new(parsed);
        // RFC 6455 section 5.2: an unknown opcode fails the connection; the codec knows no other error.
        let header = FrameHeader::parse(&mut cursor).map_err(|_| Violation::protocol("reserved opcode"))?;
        let Some((header, len)) = header else {
            let is_begun = earlier > 0;
            *at = bytes.len();
            if !is_begun {
                self.partial.get_or_insert_default().extend_header(fresh);
            }
            return Ok(None);
        };
        let taken = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let frame = self.check_header(rules, &header, len, taken)?;
        *at += taken - earlier;
        if let Some(partial) = &mut self.partial {
            partial.clear_header();
        }
        Ok(Some(frame))
    }

    /// RFC 6455 section 5: what a client's frame may be, here and now. `taken` is the length of its header.
    fn check_header(&self, rules: &Rules, header: &FrameHeader, len: u64, taken: usize) -> Result<Frame, Violation> {
        // Section 5.2: reserved bits are zero unless an extension was agreed on; none is.
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::protocol("reserved bit is set"));
        }
        // Section 5.1: a server closes on a frame that is not masked.
        let Some(mask) = header.mask else { return Err(Violation::protocol("frame is not masked")) };
        // Section 5.2: the most significant bit of a 64-bit length is zero.
        if len > u64::MAX / 2 {
            return Err(Violation::protocol("length has its top bit set"));
        }
        // Section 5.2: the shortest form of a length is the only one.
        if taken != header.len(len) {
            return Err(Violation::protocol("length is not in its shortest form"));
        }
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        match (header.opcode, message) {
            (OpCode::Control(_), _) => {
                // Section 5.5: control frames have at most 125 bytes and are not fragmented.
                if len > CONTROL_BYTES_MAX as u64 {
                    return Err(Violation::protocol("control frame is longer than 125 bytes"));
                }
                if !header.is_final {
                    return Err(Violation::protocol("control frame is fragmented"));
                }
            }
            // Section 5.4: a continuation continues something, and nothing else comes between fragments.
            (OpCode::Data(Data::Continue), None) => return Err(Violation::protocol("nothing is there to continue")),
            (OpCode::Data(Data::Text | Data::Binary), Some(_)) => {
                return Err(Violation::protocol("new message inside a fragmented one"));
            }
            // Section 7.4.1: 1003 for a type of data that is not accepted.
            (OpCode::Data(Data::Binary), None) if !rules.binary => {
                return Err(Violation { close: CloseCode::UNSUPPORTED, reason: "binary messages are not taken here" });
            }
            (OpCode::Data(_), message) => check_size(rules, message, len)?,
        }
        let left = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(Frame { opcode: header.opcode, is_final: header.is_final, mask, left })
    }

    /// Copies out what cannot be handed out in place, and says whether it completes something.
    fn store(&mut self, rules: &Rules, frame: Frame, is_new: bool, chunk: &[u8]) -> Result<Option<Found>, Violation> {
        let partial = self.partial.get_or_insert_default();
        let is_control = matches!(frame.opcode, OpCode::Control(_));
        if is_control {
            partial.control.extend_from_slice(chunk);
        } else {
            let message = partial.message.get_or_insert_with(|| Message::new(frame.opcode));
            if is_new {
                message.announce(frame.left);
            }
            message.push(chunk, rules.message_bytes_max)?;
        }
        if chunk.len() < frame.left {
            let mut mask = frame.mask;
            mask.rotate_left(chunk.len() % 4);
            partial.frame = Some(Frame { mask, left: frame.left - chunk.len(), ..frame });
            return Ok(None);
        }
        match (whole_opcode(frame), &mut partial.message) {
            (Some(opcode), _) if is_control => {
                partial.control_is_whole = true;
                Ok(Some(Found::StoredControl(opcode)))
            }
            (_, Some(message)) if frame.is_final => message.complete().map(|()| Some(Found::StoredMessage)),
            _ => Ok(None),
        }
    }
}

/// An unfragmented message that lies in the buffer whole and breaks no rule, which is what clients nearly always send:
/// told by its first bytes (RFC 6455 section 5.2), with nothing kept of it. Whatever else stands there is left as it is,
/// to be looked at frame by frame.
fn take_whole(rules: &Rules, bytes: &mut [u8], at: &mut usize) -> Option<(Opcode, Range<usize>)> {
    const FINAL_TEXT: u8 = 0x81;
    const FINAL_BINARY: u8 = 0x82;
    const MASKED: u8 = 0x80;
    let (&[first, second], rest) = bytes.get(*at..)?.split_first_chunk()?;
    let opcode = match first {
        FINAL_TEXT => Opcode::Text,
        FINAL_BINARY if rules.binary => Opcode::Binary,
        _ => return None,
    };
    let (len, rest, header) = match second.checked_sub(MASKED)? {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*len)), rest, 8)
        }
        127 => return None,
        len => (usize::from(len), rest, 6),
    };
    let is_shortest = len >= 126 || header == 6;
    if !is_shortest || len > rules.message_bytes_max || rules.fragments_max == Some(0) {
        return None;
    }
    let mask = *rest.first_chunk()?;
    let range = *at + header..*at + header + len;
    unmask(bytes.get_mut(range.clone())?, mask);
    *at = range.end;
    Some((opcode, range))
}

/// What a frame is that needs no other: a control frame or an unfragmented message.
const fn whole_opcode(frame: Frame) -> Option<Opcode> {
    match frame.opcode {
        OpCode::Data(Data::Text) if frame.is_final => Some(Opcode::Text),
        OpCode::Data(Data::Binary) if frame.is_final => Some(Opcode::Binary),
        OpCode::Control(Control::Close) => Some(Opcode::Close),
        OpCode::Control(Control::Ping) => Some(Opcode::Ping),
        OpCode::Control(Control::Pong) => Some(Opcode::Pong),
        _ => None,
    }
}

/// RFC 6455 section 10.4: sizes are limited before the bytes come. An empty frame counts as one.
fn check_size(rules: &Rules, message: Option<&Message>, len: u64) -> Result<(), Violation> {
    let (frames, bytes) = message.map_or((0, 0), |message| (message.frames_count, message.announced_bytes));
    if rules.fragments_max.is_some_and(|max| frames >= max) {
        return Err(Violation::protocol("message has too many fragments"));
    }
    if usize::try_from(len).is_ok_and(|len| len <= rules.message_bytes_max.saturating_sub(bytes)) {
        return Ok(());
    }
    // Section 7.4.1: 1009 for a message that is too big.
    Err(Violation { close: CloseCode::TOO_LARGE, reason: "message is too large" })
}

fn present(opcode: Opcode, payload: &[u8]) -> Result<Incoming<'_>, Violation> {
    Ok(match opcode {
        Opcode::Text => Incoming::Text(checked_text(payload)?),
        Opcode::Binary => Incoming::Binary(payload),
        Opcode::Ping => Incoming::Ping(payload),
        Opcode::Pong => Incoming::Pong(payload),
        Opcode::Close => Incoming::Close(read_close(payload)?),
    })
}

/// RFC 6455 section 5.5.1: nothing, or a code of two bytes and a reason in UTF-8.
fn read_close(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::protocol("close frame has half a code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    // RFC 6455 section 7.4: some codes are never sent, others are not defined. 1014 came to the registry of
    // section 11.7 after the codec's table was made.
    if !StandardCode::from(code).is_allowed() && code != 1014 {
        return Err(Violation::protocol("close code may not be sent"));
    }
    Ok(Some((CloseCode(code), checked_text(reason)?)))
}

/// RFC 6455 section 8.1: text that is not UTF-8 fails the connection.
fn checked_text(bytes: &[u8]) -> Result<&str, Violation> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Violation::NOT_UTF8)
}

/// RFC 6455 section 5.3, eight bytes at a time.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
