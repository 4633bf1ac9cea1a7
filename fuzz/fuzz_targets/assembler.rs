//! The assembler against a plain decoder: one that has the whole stream, copies everything and knows no
//! buffers. Both must see the same messages and the same failure, however the stream is cut.
//!
//! Input: a byte of rules, eight lengths of pieces, then the stream: raw bytes, or a list of frames (first
//! byte, length, payload) that are sent well masked, so that most inputs get past the header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use waystation::wire::assembler::{Assembler, Incoming, Rules};

#[derive(Debug, PartialEq)]
enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, Vec<u8>)>),
    Failed(u16),
}

fuzz_target!(|data: &[u8]| {
    let Some(([flags, lengths @ ..], rest)) = data.split_first_chunk::<9>() else { return };
    let rules = Rules {
        message_bytes_max: if flags & 2 == 0 { 300 } else { 70_000 },
        fragments_max: (flags & 4 == 0).then_some(3),
        binary: flags & 8 == 0,
    };
    let stream = if flags & 1 == 0 { frames(rest) } else { rest.to_vec() };
    let expected = plain(&rules, &stream);
    assert_eq!(cut(&rules, &stream, &[usize::MAX]), expected, "in one piece");
    let lengths: Vec<usize> = lengths.iter().map(|length| 1 + usize::from(*length)).collect();
    assert_eq!(cut(&rules, &stream, &lengths), expected, "in pieces of {lengths:?}");
});

/// Masked frames with lengths in their shortest form.
fn frames(mut list: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let Some(([first, len], rest)) = list.split_first_chunk() {
        let (payload, after) = rest.split_at(usize::from(*len).min(rest.len()));
        let mask = [*first, *len, 0x5a, 0xc3];
        match payload.len() {
            len @ 0..126 => stream.extend([*first, 0x80 | len as u8]),
            len => stream.extend([*first, 0xfe, (len >> 8) as u8, len as u8]),
        }
        stream.extend(mask);
        stream.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        list = after;
    }
    stream
}

/// What the assembler sees of the stream in pieces of these lengths, over and over.
fn cut(rules: &Rules, mut stream: &[u8], lengths: &[usize]) -> Vec<Seen> {
    let mut assembler = Assembler::default();
    let mut seen = Vec::new();
    for length in lengths.iter().cycle() {
        let (piece, rest) = stream.split_at(stream.len().min(*length));
        let mut buffer = piece.to_vec();
        let mut at = 0;
        loop {
            match assembler.next(rules, &mut buffer, &mut at) {
                Ok(Some(incoming)) => seen.push(see(incoming)),
                Ok(None) => break,
                Err(violation) => {
                    seen.push(Seen::Failed(violation.close.0));
                    return seen;
                }
            }
        }
        assert_eq!(at, piece.len());
        assert!(assembler.held_bytes() <= rules.message_bytes_max + 1024);
        stream = rest;
        if stream.is_empty() {
            break;
        }
    }
    seen
}

fn see(incoming: Incoming<'_>) -> Seen {
    match incoming {
        Incoming::Text(text) => Seen::Text(text.as_bytes().to_vec()),
        Incoming::Binary(bytes) => Seen::Binary(bytes.to_vec()),
        Incoming::Ping(bytes) => Seen::Ping(bytes.to_vec()),
        Incoming::Pong(bytes) => Seen::Pong(bytes.to_vec()),
        Incoming::Close(close) => Seen::Close(close.map(|(code, reason)| (code.0, reason.as_bytes().to_vec()))),
    }
}

/// The plain decoder.
fn plain(rules: &Rules, stream: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    if let Err(close) = decode(rules, stream, &mut seen) {
        seen.push(Seen::Failed(close));
    }
    seen
}

fn decode(rules: &Rules, mut stream: &[u8], seen: &mut Vec<Seen>) -> Result<(), u16> {
    // Whether it is text, its bytes and its frames.
    let mut message: Option<(bool, Vec<u8>, u32)> = None;
    while let Some((first, masked, len, header_len)) = header(stream) {
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let shortest = match len {
            0..126 => 2,
            126..65_536 => 4,
            _ => 10,
        };
        let bad = first & 0x70 != 0
            || !masked
            || len >> 63 != 0
            || header_len != shortest + 4
            || matches!(opcode, 3..=7 | 11..=15)
            || (opcode >= 8 && (len > 125 || !fin))
            || (opcode == 0 && message.is_none())
            || (matches!(opcode, 1 | 2) && message.is_some());
        if bad {
            return Err(1002);
        }
        let mask: [u8; 4] = stream[header_len - 4..header_len].try_into().expect("four bytes");
        let there = usize::try_from(len).unwrap_or(usize::MAX).min(stream.len() - header_len);
        let is_whole = there as u64 == len;
        let bytes = stream[header_len..header_len + there].iter().zip(mask.iter().cycle());
        let payload: Vec<u8> = bytes.map(|(byte, key)| byte ^ key).collect();
        stream = &stream[header_len + there..];
        if opcode >= 8 {
            if is_whole {
                seen.push(control(opcode, payload)?);
            }
            continue;
        }
        if opcode == 2 && !rules.binary {
            return Err(1003);
        }
        let (is_text, whole, count) = message.get_or_insert((opcode == 1, Vec::new(), 0));
        *count += 1;
        if rules.fragments_max.is_some_and(|max| *count > max) {
            return Err(1002);
        }
        if whole.len() as u64 + len > rules.message_bytes_max as u64 {
            return Err(1009);
        }
        whole.extend(payload);
        let is_complete = fin && is_whole;
        let bad_text = |error: std::str::Utf8Error| is_complete || error.error_len().is_some();
        if *is_text && std::str::from_utf8(whole).is_err_and(bad_text) {
            return Err(1007);
        }
        if is_complete && let Some((is_text, whole, _)) = message.take() {
            seen.push(if is_text { Seen::Text(whole) } else { Seen::Binary(whole) });
        }
    }
    Ok(())
}

/// First byte, whether masked, length of the payload, length of the header; `None` if it is not whole.
fn header(stream: &[u8]) -> Option<(u8, bool, u64, usize)> {
    let (first, second) = (*stream.first()?, *stream.get(1)?);
    let (len, after_len) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(stream.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(stream.get(2..10)?.try_into().ok()?), 10),
        len => (u64::from(len), 2),
    };
    let masked = second & 0x80 != 0;
    let header_len = after_len + if masked { 4 } else { 0 };
    (stream.len() >= header_len).then_some((first, masked, len, header_len))
}

fn control(opcode: u8, payload: Vec<u8>) -> Result<Seen, u16> {
    match (opcode, payload.as_slice()) {
        (9, _) => Ok(Seen::Ping(payload)),
        (10, _) => Ok(Seen::Pong(payload)),
        (_, []) => Ok(Seen::Close(None)),
        (_, [_]) => Err(1002),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(1002);
            }
            std::str::from_utf8(reason).map_err(|_| 1007_u16)?;
            Ok(Seen::Close(Some((code, reason.to_vec()))))
        }
    }
}
