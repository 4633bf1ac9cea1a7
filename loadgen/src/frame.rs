//! WebSocket frames from the client's side: writes masked ones, reads the heads of unmasked ones.
//!
//! Own code instead of a library's, because the load must not allocate or copy per message and the gateway's codec
//! should not be tested by itself.

/// A text message.
pub const OPCODE_TEXT: u8 = 0x1;
/// A binary message.
pub const OPCODE_BINARY: u8 = 0x2;
/// The closing handshake.
pub const OPCODE_CLOSE: u8 = 0x8;
/// A ping.
pub const OPCODE_PING: u8 = 0x9;
/// A pong.
pub const OPCODE_PONG: u8 = 0xA;

/// What a server's frame head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Kind of frame.
    pub opcode: u8,
    /// Bytes of the head itself.
    pub head_bytes: usize,
    /// Bytes that follow.
    pub payload_bytes: usize,
}

/// Why a server's frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFault {
    /// RFC 6455 section 5.1: a server does not mask.
    Masked,
    /// A fragment, a reserved bit or an unknown opcode: nothing the gateway should send uncompressed.
    Unexpected,
    /// Longer than the receive buffer, or not in the shortest form.
    Length,
}

/// Reads one frame head; `None` if it is not whole.
///
/// # Errors
/// The server broke the protocol or sent what is not understood here.
pub fn decode_head(bytes: &[u8]) -> Result<Option<FrameHead>, FrameFault> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err(FrameFault::Masked);
    }
    let opcode = first & 0x0f;
    if first & 0xf0 != 0x80 || !matches!(opcode, OPCODE_TEXT | OPCODE_BINARY | OPCODE_CLOSE..=OPCODE_PONG) {
        return Err(FrameFault::Unexpected);
    }
    let (head_bytes, payload_bytes) = match second {
        126 => {
            let Some(raw) = bytes.get(2..4).and_then(|raw| <[u8; 2]>::try_from(raw).ok()) else { return Ok(None) };
            (4, usize::from(u16::from_be_bytes(raw)))
        }
        127 => {
            let Some(raw) = bytes.get(2..10).and_then(|raw| <[u8; 8]>::try_from(raw).ok()) else { return Ok(None) };
            (10, usize::try_from(u64::from_be_bytes(raw)).map_err(|_| FrameFault::Length)?)
        }
        short => (2, usize::from(short)),
    };
    // RFC 6455 section 5.2: the length is written in the fewest bytes.
    let shortest = match payload_bytes {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    };
    if head_bytes != shortest || payload_bytes > crate::limits::RECEIVE_BYTES - 16 {
        return Err(FrameFault::Length);
    }
    Ok(Some(FrameHead { opcode, head_bytes, payload_bytes }))
}

/// Appends a masked frame whose payload `fill` appends; `payload_bytes` is what `fill` will append.
pub fn encode(opcode: u8, payload_bytes: usize, mask: [u8; 4], out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(0x80 | opcode);
    if let Ok(short @ 0..=125) = u8::try_from(payload_bytes) {
        out.push(0x80 | short);
    } else if let Ok(medium) = u16::try_from(payload_bytes) {
        out.push(0x80 | 126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(0x80 | 127);
        out.extend_from_slice(&u64::try_from(payload_bytes).unwrap_or(u64::MAX).to_be_bytes());
    }
    out.extend_from_slice(&mask);
    let from = out.len();
    fill(out);
    debug_assert_eq!(out.len() - from, payload_bytes, "the payload has the length its head says");
    if let Some(payload) = out.get_mut(from..) {
        apply_mask(payload, mask);
    }
}

/// Masks or unmasks in place, eight bytes at a time.
pub fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

/// Mask keys: a small generator, since a load has no proxy to protect (RFC 6455 section 10.3).
#[derive(Debug)]
pub struct Masks {
    state: u64,
}

impl Masks {
    /// The same seed gives the same keys.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed | 1 }
    }

    /// The next key.
    pub fn next_key(&mut self) -> [u8; 4] {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let [a, b, c, d, ..] = self.state.to_le_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<Option<FrameHead>, FrameFault>) {
        assert_eq!(decode_head(bytes), expected, "{bytes:02x?}");
    }

    #[test]
    fn heads_of_a_server_are_read() {
        let head = |opcode, head_bytes, payload_bytes| Ok(Some(FrameHead { opcode, head_bytes, payload_bytes }));
        check(&[0x81, 0], head(1, 2, 0));
        check(&[0x81, 125], head(1, 2, 125));
        check(&[0x81, 126, 0, 126], head(1, 4, 126));
        check(&[0x82, 126, 0xff, 0xff], head(2, 4, 65_535));
        check(&[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0], head(1, 10, 65_536));
        check(&[0x88, 2], head(8, 2, 2));
    }

    #[test]
    fn faults_of_a_server_are_seen() {
        check(&[0x81, 0x80], Err(FrameFault::Masked));
        check(&[0x01, 5], Err(FrameFault::Unexpected));
        check(&[0x80, 5], Err(FrameFault::Unexpected));
        check(&[0xc1, 5], Err(FrameFault::Unexpected));
        check(&[0x83, 5], Err(FrameFault::Unexpected));
        check(&[0x81, 126, 0, 125], Err(FrameFault::Length));
        check(&[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Err(FrameFault::Length));
        check(&[0x81, 127, 0xff, 0, 0, 0, 0, 0, 0, 0], Err(FrameFault::Length));
    }

    #[test]
    fn a_head_is_not_guessed_before_it_is_whole() {
        let whole = [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        for split in 0..whole.len() {
            check(&whole[..split], Ok(None));
        }
    }

    #[test]
    fn frame_is_masked_and_has_its_length_in_every_form() {
        for length in [0usize, 1, 7, 8, 9, 125, 126, 65_535, 65_536] {
            let mut out = Vec::new();
            encode(OPCODE_TEXT, length, [1, 2, 3, 4], &mut out, |out| out.resize(out.len() + length, b'x'));
            let head_bytes = out.len() - length;
            assert_eq!(head_bytes, 4 + [2, 4, 10][usize::from(length > 125) + usize::from(length > 65_535)]);
            assert_ne!(out[1] & 0x80, 0);
            apply_mask(&mut out[head_bytes..], [1, 2, 3, 4]);
            assert!(out[head_bytes..].iter().all(|&byte| byte == b'x'));
        }
    }

    #[test]
    fn keys_differ() {
        let mut masks = Masks::new(7);
        assert_ne!(masks.next_key(), masks.next_key());
    }
}
