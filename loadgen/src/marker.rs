//! The marker inside every published body: who published what and when, and a hash over all of it.
//!
//! A receiver finds it by its sentinel in whatever frame the server made of the publish, without parsing JSON. Only
//! letters, digits and `~ . -` occur in a body, so no server has a reason to escape or change a byte of it.
//!
//! Layout, in bytes: sentinel 4, size of the body 5, kind 1, room 6, publisher 6, seq 8, intended 14, actual 14 (all
//! hexadecimal), hash 16, then padding up to the body's size.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// What a body starts with; occurs nowhere else in a frame.
pub const SENTINEL: &[u8; 4] = b"~WL~";
/// Bytes of a body without padding; the smallest one possible.
pub const MARKER_BYTES: usize = HASH_AT + 16;

const HASH_AT: usize = 4 + 5 + 1 + 6 + 6 + 8 + 14 + 14;
const HEX: &[u8; 16] = b"0123456789abcdef";
const PADDING: &[u8; 128] = b"abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ.0123456789\
abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ.0123456789";

/// One publish, as its body tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Number of the message's kind in its group, below 16.
    pub kind: u8,
    /// The run's number of the room.
    pub room: u32,
    /// The run's number of the publishing connection.
    pub publisher: u32,
    /// The publisher's own count, from 1.
    pub seq: u32,
    /// When the schedule wanted it sent, on the run's clock.
    pub intended_ns: u64,
    /// When it was sent.
    pub actual_ns: u64,
}

/// The body is not what was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

impl Marker {
    /// Fills `body`, which is at least `MARKER_BYTES` long.
    pub fn encode(&self, body: &mut [u8]) {
        debug_assert!(body.len() >= MARKER_BYTES, "a body has room for its marker");
        let Some((head, padding)) = body.split_at_mut_checked(MARKER_BYTES) else { return };
        let bytes = u64::try_from(MARKER_BYTES + padding.len()).unwrap_or(u64::MAX);
        let fields = [
            (bytes, 5),
            (u64::from(self.kind), 1),
            (u64::from(self.room), 6),
            (u64::from(self.publisher), 6),
            (u64::from(self.seq), 8),
            (self.intended_ns, 14),
            (self.actual_ns, 14),
        ];
        head[..SENTINEL.len()].copy_from_slice(SENTINEL);
        let mut at = SENTINEL.len();
        for (value, digits) in fields {
            encode_hex(value, &mut head[at..at + digits]);
            at += digits;
        }
        // Neighbouring publishes are padded differently, so that a mix-up cannot go unseen.
        let turn = usize::try_from(self.seq % 64).unwrap_or(0);
        for chunk in padding.chunks_mut(64) {
            chunk.copy_from_slice(&PADDING[turn..turn + chunk.len()]);
        }
        let hash = hash(&head[..HASH_AT], padding);
        encode_hex(hash, &mut head[HASH_AT..]);
    }

    /// Reads the body that `text` begins with; returns its size too.
    ///
    /// # Errors
    /// A byte of it is not what was published.
    pub fn decode(text: &[u8]) -> Result<(Self, usize), Corrupt> {
        let bytes = usize::try_from(decode_hex(text.get(4..9).ok_or(Corrupt)?)?).map_err(|_| Corrupt)?;
        let (head, padding) = text.get(..bytes).and_then(|body| body.split_at_checked(MARKER_BYTES)).ok_or(Corrupt)?;
        if !head.starts_with(SENTINEL) || decode_hex(&head[HASH_AT..])? != hash(&head[..HASH_AT], padding) {
            return Err(Corrupt);
        }
        let marker = Self {
            kind: u8::try_from(decode_hex(&head[9..10])?).map_err(|_| Corrupt)?,
            room: decode_hex_u32(&head[10..16])?,
            publisher: decode_hex_u32(&head[16..22])?,
            seq: decode_hex_u32(&head[22..30])?,
            intended_ns: decode_hex(&head[30..44])?,
            actual_ns: decode_hex(&head[44..58])?,
        };
        Ok((marker, bytes))
    }
}

fn hash(head: &[u8], padding: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(head);
    hasher.write(padding);
    hasher.finish()
}

fn encode_hex(value: u64, place: &mut [u8]) {
    let mut rest = value;
    for digit in place.iter_mut().rev() {
        *digit = HEX[usize::try_from(rest & 15).unwrap_or(0)];
        rest >>= 4;
    }
}

/// The value of each hexadecimal digit, 255 for what is none: one look per digit, checked once per field.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [255; 256];
    let mut value: u8 = 0;
    while value < 16 {
        nibbles[HEX[value as usize] as usize] = value;
        value += 1;
    }
    nibbles
};

fn decode_hex(place: &[u8]) -> Result<u64, Corrupt> {
    let (mut value, mut seen) = (0, 0);
    for &digit in place {
        let nibble = NIBBLES[usize::from(digit)];
        seen |= nibble;
        value = value << 4 | u64::from(nibble & 15);
    }
    if seen > 15 { Err(Corrupt) } else { Ok(value) }
}

fn decode_hex_u32(place: &[u8]) -> Result<u32, Corrupt> {
    u32::try_from(decode_hex(place)?).map_err(|_| Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker = Marker {
        kind: 15,
        room: 3332,
        publisher: 9999,
        seq: 61,
        intended_ns: 60_000_000_000,
        actual_ns: 60_000_000_123,
    };

    #[test]
    fn marker_survives_every_size_of_body() {
        for bytes in [MARKER_BYTES, MARKER_BYTES + 1, 131, 132, 133, 200, 1024, 65_000] {
            let mut body = vec![0; bytes];
            MARKER.encode(&mut body);
            assert_eq!(Marker::decode(&body), Ok((MARKER, bytes)));
            body.extend_from_slice(b"\"}}");
            assert_eq!(Marker::decode(&body), Ok((MARKER, bytes)));
            body.truncate(bytes);
            assert!(body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"~.-".contains(byte)));
        }
    }

    #[test]
    fn any_changed_byte_is_corruption() {
        let mut body = vec![0; 200];
        MARKER.encode(&mut body);
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert_eq!(Marker::decode(&changed), Err(Corrupt), "{at}");
        }
    }

    #[test]
    fn a_shortened_body_is_corruption() {
        let mut body = vec![0; 200];
        MARKER.encode(&mut body);
        for bytes in 0..body.len() {
            assert_eq!(Marker::decode(&body[..bytes]), Err(Corrupt), "{bytes}");
        }
    }
}
