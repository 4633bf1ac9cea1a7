//! Server-sent events (the WHATWG HTML standard, section 9.2): for readers without WebSocket.
//!
//! A stream is the rest of an HTTP response whose end is the connection's. Each event has the text of a frame in its
//! `data`, and an `id` if it is one to resume after; what has none leaves the reader's `Last-Event-ID` as it was.
//! There is no `event` line, so a reader needs one listener. Absent: reading of streams.

use crate::ids::{Epoch, Position, Seq};
use crate::limits::SEQ_MAX;
use crate::payload::Payload;

/// A sign of life that no reader sees.
pub const COMMENT: &[u8] = b":\n\n";

/// The head of the response, with further header lines.
pub fn head<'a>(more: impl Iterator<Item = (&'static str, &'a str)>) -> Vec<u8> {
    let mut head = Vec::from(
        &b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
          X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"[..],
    );
    for (name, value) in more {
        for part in [name, ": ", value, "\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Appends how long a reader should wait before it comes back.
pub fn write_retry(ms: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("retry: {ms}\n\n").as_bytes());
}

/// Appends an event. Where the text has line ends, between the tokens of its JSON, so has the data.
pub fn write_event(place: Option<(Epoch, Seq)>, text: &[u8], out: &mut Vec<u8>) {
    if let Some((epoch, seq)) = place {
        out.extend_from_slice(format!("id: {epoch}:{seq}\n").as_bytes());
    }
    // Section 9.2.5: a line ends with CR LF, LF or CR.
    let mut rest = text;
    loop {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        match rest.get(end..) {
            Some([b'\r', b'\n', after @ ..] | [_, after @ ..]) => rest = after,
            _ => break,
        }
    }
    out.push(b'\n');
}

/// Frames as events, one after another; `None` if none of them is a text, for others say nothing to a reader.
#[must_use]
pub fn events_of(mut frames: &[u8]) -> Option<Payload> {
    let mut events = Vec::with_capacity(frames.len() + 16);
    while let Some(first) = frames.first() {
        let (payload, rest) = split_first(frames)?;
        // RFC 6455 section 5.2: the opcode is in the lower half of the first byte, 1 is text.
        if first & 0x0f == 1 {
            write_event(None, payload, &mut events);
        }
        frames = rest;
    }
    (!events.is_empty()).then(|| Payload::copy_of(&events))
}

/// The payload of the first of several frames of ours, and the frames after it.
fn split_first(frames: &[u8]) -> Option<(&[u8], &[u8])> {
    // RFC 6455 section 5.2: 126 and 127 say that the length is in the two or eight bytes that follow.
    let (len, at) = match *frames.get(1)? {
        126 => (u64::from(u16::from_be_bytes(frames.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(frames.get(2..10)?.try_into().ok()?), 10),
        len => (u64::from(len), 2),
    };
    frames.get(at..)?.split_at_checked(usize::try_from(len).ok()?)
}

/// The position that a reader names. What was never given out is one of an unknown epoch, so that the reader hears
/// that it is lost.
#[must_use]
pub fn position(last_event_id: &str) -> Position {
    let parsed = last_event_id.split_once(':').and_then(|(epoch, seq)| {
        let digits = seq.bytes().all(|byte| byte.is_ascii_digit());
        let seq = seq.parse().ok().filter(|seq| digits && *seq <= SEQ_MAX)?;
        Some(Position { epoch: Some(Epoch::parse(epoch)?), seq: Seq(seq) })
    });
    parsed.unwrap_or(Position { epoch: None, seq: Seq(0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encoder::{Opcode, close_frame, frame, ping_frame};

    fn check(text: &str, expected: &str) {
        let mut out = Vec::new();
        write_event(None, text.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_event_has_a_line_for_each_of_its_text_and_ends_with_an_empty_one() {
        check("{}", "data: {}\n\n");
        check("", "data: \n\n");
        check("{\n\"a\":1}", "data: {\ndata: \"a\":1}\n\n");
        check("{\r\n\"a\":\r1}", "data: {\ndata: \"a\":\ndata: 1}\n\n");
        check("{}\n", "data: {}\ndata: \n\n");
        let mut out = Vec::new();
        write_event(Some((Epoch(7), Seq(9))), b"{}", &mut out);
        assert_eq!(out, b"id: 0000000000000007:9\ndata: {}\n\n");
        out.clear();
        write_retry(1500, &mut out);
        assert_eq!(out, b"retry: 1500\n\n");
    }

    #[test]
    fn texts_of_every_length_become_events_and_other_frames_nothing() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let text = "x".repeat(len);
            let event = events_of(&frame(Opcode::Text, text.as_bytes())).unwrap();
            assert_eq!(&*event, format!("data: {text}\n\n").as_bytes());
        }
        for other in [ping_frame(&[]), close_frame(crate::code::CloseCode::NORMAL, ""), frame(Opcode::Binary, b"x")] {
            assert!(events_of(&other).is_none());
        }
        assert!(events_of(&[]).is_none());
        let several = [&*frame(Opcode::Text, b"a"), &*ping_frame(b"p"), &*frame(Opcode::Text, b"b")].concat();
        assert_eq!(events_of(&several).as_deref(), Some(&b"data: a\n\ndata: b\n\n"[..]));
        assert!(events_of(&several[..several.len() - 1]).is_none(), "what is cut is none of ours");
    }

    #[test]
    fn a_position_is_read_back_and_what_was_never_given_out_is_lost() {
        let given = Position { epoch: Some(Epoch(7)), seq: Seq(9) };
        assert_eq!(position("0000000000000007:9"), given);
        let lost = Position { epoch: None, seq: Seq(0) };
        for text in [
            "",
            "7:9",
            "0000000000000007",
            "0000000000000007:",
            "0000000000000007:+9",
            "0000000000000007:9007199254740992",
        ] {
            assert_eq!(position(text), lost, "{text}");
        }
    }

    #[test]
    fn the_head_ends_and_tells_proxies_not_to_wait() {
        let head = String::from_utf8(head([("Vary", "Origin")].into_iter())).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"));
        assert!(head.contains("\r\nX-Accel-Buffering: no\r\n") && head.ends_with("\r\nVary: Origin\r\n\r\n"));
        assert!(!head.contains("Content-Length"));
    }
}
