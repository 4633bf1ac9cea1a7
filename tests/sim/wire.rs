//! The client's half of RFC 6455, written apart from the gateway's.

use super::rng::Rng;

/// A frame from the gateway.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// Takes the first whole frame out of `input`.
pub(crate) fn take_frame(input: &mut Vec<u8>) -> Option<Frame> {
    let (first, second) = (*input.first()?, *input.get(1)?);
    assert_eq!(first & 0xf0, 0x80, "a server frame is whole and has no reserved bit");
    assert_eq!(second & 0x80, 0, "a server frame is not masked");
    let (len, at) = match second {
        126 => (usize::from(u16::from_be_bytes([*input.get(2)?, *input.get(3)?])), 4),
        127 => {
            let bytes: [u8; 8] = input.get(2..10)?.try_into().ok()?;
            (usize::try_from(u64::from_be_bytes(bytes)).expect("a length that fits"), 10)
        }
        len => (usize::from(len), 2),
    };
    if input.len() < at + len {
        return None;
    }
    let payload = input[at..at + len].to_vec();
    input.drain(..at + len);
    Some(Frame { opcode: first & 0xf, payload })
}

/// Appends a masked frame.
pub(crate) fn write_frame(first: u8, payload: &[u8], rng: &mut Rng, out: &mut Vec<u8>) {
    out.push(first);
    match u16::try_from(payload.len()) {
        Ok(len) if len < 126 => out.push(0x80 | len.to_be_bytes()[1]),
        Ok(len) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let key = rng.next().to_le_bytes();
    out.extend_from_slice(&key[..4]);
    out.extend(payload.iter().zip(key[..4].iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Appends a text, in several frames now and then. Returns whether it was fragmented.
pub(crate) fn write_text(text: &str, rng: &mut Rng, out: &mut Vec<u8>) -> bool {
    if text.len() < 2 || !rng.chance(8) {
        write_frame(0x81, text.as_bytes(), rng, out);
        return false;
    }
    let (head, tail) = text.as_bytes().split_at(rng.below(text.len()));
    write_frame(0x01, head, rng, out);
    if rng.chance(50) {
        write_frame(0x89, b"between", rng, out);
    }
    write_frame(0x80, tail, rng, out);
    true
}
