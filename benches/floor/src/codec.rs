//! Bytes of the floor: the opening, frame heads, the envelope it wraps around a body.
//!
//! Only what a well-behaved client needs; a refused opening or frame ends the connection. The envelope has the
//! form and the length of the gateway's `trip_update_broadcast`, with everything but the sequence number fixed.

use std::io::Write as _;

use memchr::memmem;

/// Bytes of a message to a room; over it close 1009, as the gateway does.
pub(crate) const ROOM_MESSAGE_BYTES_MAX: usize = 65_536;
/// Bytes of a message on `/echo`; over it close 1009, as the gateway does.
pub(crate) const ECHO_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a request head; over it the connection is dropped.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;

pub(crate) const OPCODE_TEXT: u8 = 0x1;
pub(crate) const OPCODE_BINARY: u8 = 0x2;
pub(crate) const OPCODE_CLOSE: u8 = 0x8;
pub(crate) const OPCODE_PING: u8 = 0x9;
pub(crate) const OPCODE_PONG: u8 = 0xA;

/// A request head that asks for an upgrade.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opening<'a> {
    /// Path without the query.
    pub(crate) path: &'a str,
    pub(crate) key: &'a str,
    /// A token came in the query or in a header, so there will be no authentication frame.
    pub(crate) early_token: bool,
    /// Events that the room is to keep for those who come back.
    pub(crate) keep: usize,
}

/// Reads a whole head (up to and with the empty line); `None` if it is no upgrade.
pub(crate) fn decode_opening(head: &[u8]) -> Option<Opening<'_>> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let target = lines.next()?.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut key = None;
    let mut early_token = query.contains("token=");
    let keep = query.split('&').find_map(|pair| pair.strip_prefix("keep=")).map_or(Ok(0), str::parse).ok()?;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("sec-websocket-key") {
            key = Some(value.trim());
        } else if name.eq_ignore_ascii_case("authorization") {
            early_token = true;
        }
    }
    Some(Opening { path, key: key?, early_token, keep })
}

/// A frame's head and where its parts lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) mask: [u8; 4],
    pub(crate) head_bytes: usize,
    pub(crate) payload_bytes: usize,
}

/// Reads one client frame's head; `Ok(None)` if it is not whole, `Err` if it is not masked or not a length.
pub(crate) fn decode_frame_head(bytes: &[u8]) -> Result<Option<FrameHead>, ()> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    // RFC 6455 section 5.1: a client masks every frame.
    if second & 0x80 == 0 {
        return Err(());
    }
    let (length_bytes, payload_bytes) = match second & 0x7f {
        126 => {
            let Some(raw) = bytes.get(2..4).and_then(|raw| <[u8; 2]>::try_from(raw).ok()) else { return Ok(None) };
            (2, usize::from(u16::from_be_bytes(raw)))
        }
        127 => {
            let Some(raw) = bytes.get(2..10).and_then(|raw| <[u8; 8]>::try_from(raw).ok()) else { return Ok(None) };
            (8, usize::try_from(u64::from_be_bytes(raw)).map_err(drop)?)
        }
        short => (0, usize::from(short)),
    };
    let mask_at = 2 + length_bytes;
    let Some(mask) = bytes.get(mask_at..mask_at + 4).and_then(|raw| <[u8; 4]>::try_from(raw).ok()) else {
        return Ok(None);
    };
    let head_bytes = mask_at + 4;
    Ok(Some(FrameHead { fin: first & 0x80 != 0, opcode: first & 0x0f, mask, head_bytes, payload_bytes }))
}

/// Undoes the mask, eight bytes at a time.
pub(crate) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
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

/// Appends a server frame's head.
pub(crate) fn encode_frame_head(opcode: u8, payload_bytes: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    if let Ok(short @ 0..=125) = u8::try_from(payload_bytes) {
        out.push(short);
    } else if let Ok(medium) = u16::try_from(payload_bytes) {
        out.push(126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&u64::try_from(payload_bytes).unwrap_or(u64::MAX).to_be_bytes());
    }
}

/// Appends a whole server frame.
pub(crate) fn encode_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    encode_frame_head(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// The value a client published: what stands in the string after `"value":"` (or `"content":"`). The load's bodies
/// hold no escapes, so the string ends at the next quote.
pub(crate) fn published_body(text: &[u8]) -> Option<&[u8]> {
    let key: &[u8] = b"\"value\":\"";
    let from = match memmem::find(text, key) {
        Some(at) => at + key.len(),
        None => memmem::find(text, b"\"content\":\"")? + b"\"content\":\"".len(),
    };
    let body = text.get(from..)?;
    body.get(..memchr::memchr(b'"', body)?)
}

/// The operation id of a client's frame, which the gateway hands back as `op_id`.
pub(crate) fn operation_id(text: &[u8]) -> Option<&[u8]> {
    let key: &[u8] = b"\"id\":\"";
    let from = memmem::find(text, key)? + key.len();
    let id = text.get(from..)?;
    id.get(..memchr::memchr(b'"', id)?)
}

/// The last event that a client had when it went, which its authentication frame says when it comes back.
pub(crate) fn resumed_from(text: &[u8]) -> Option<u64> {
    let rest = text.get(memmem::find(text, b"\"resume\":[{")?..)?;
    let key: &[u8] = b"\"seq\":";
    let digits = rest.get(memmem::find(rest, key)? + key.len()..)?;
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&digits[..count]).ok()?.parse().ok()
}

/// The fixed parts of one room's envelope.
#[derive(Debug)]
pub(crate) struct Envelope {
    before_seq: Vec<u8>,
    before_op_id: &'static [u8],
    before_body: Vec<u8>,
}

const FIXED_ID: &str = "01930000-0000-7000-8000-000000000000";
const FIXED_TIMESTAMP: &str = "2026-11-21T00:00:00.000Z";
const FIXED_EPOCH: &str = "0123456789abcdef";
const AFTER_BODY: &[u8] = b"\"}}}}";

impl Envelope {
    /// The envelope of the room behind `path`; `user` stands in for the authenticated sender.
    pub(crate) fn new(path: &str, user: &str) -> Self {
        let room = room_of(path);
        let before_seq = format!(
            "{{\"id\":\"{FIXED_ID}\",\"type\":\"trip_update_broadcast\",\"timestamp\":\"{FIXED_TIMESTAMP}\",\
             \"channel\":\"trip:{room}\",\"seq\":"
        );
        let before_body = format!(
            ",\"user_id\":\"{user}\",\"payload\":{{\"trip_id\":\"{room}\",\"updated_by\":\"{user}\",\
             \"update_type\":\"field_change\",\"changes\":{{\"name\":{{\"new_value\":\""
        );
        Self {
            before_seq: before_seq.into_bytes(),
            before_op_id: b",\"epoch\":\"0123456789abcdef\"",
            before_body: before_body.into_bytes(),
        }
    }

    /// Appends one delivered event as a frame.
    pub(crate) fn encode(&self, seq: u64, op_id: Option<&[u8]>, body: &[u8], out: &mut Vec<u8>) {
        const OP_ID: &[u8] = b",\"op_id\":\"";
        let op_id_bytes = op_id.map_or(0, |id| OP_ID.len() + id.len() + 1);
        let seq_bytes = usize::try_from(seq.max(1).ilog10()).unwrap_or(0) + 1;
        let payload_bytes = self.before_seq.len()
            + seq_bytes
            + self.before_op_id.len()
            + op_id_bytes
            + self.before_body.len()
            + body.len()
            + AFTER_BODY.len();
        encode_frame_head(OPCODE_TEXT, payload_bytes, out);
        out.extend_from_slice(&self.before_seq);
        // Writing to a vector cannot fail.
        let _ = write!(out, "{seq}");
        out.extend_from_slice(self.before_op_id);
        if let Some(id) = op_id {
            out.extend_from_slice(OP_ID);
            out.extend_from_slice(id);
            out.push(b'"');
        }
        out.extend_from_slice(&self.before_body);
        out.extend_from_slice(body);
        out.extend_from_slice(AFTER_BODY);
    }
}

/// The resource id in a path: the third part of `/ws/trips/{id}/collab`, else the last.
fn room_of(path: &str) -> &str {
    let path = path.strip_prefix("/api").unwrap_or(path);
    let mut parts = path.split('/').skip(3);
    parts.next().unwrap_or_else(|| path.rsplit('/').next().unwrap_or(path))
}

/// Appends what the gateway says to a client it admitted: the reply to an authentication frame, if there was one,
/// `connection_established`, and `subscribed` at the room's present position, with whether what was missed follows.
pub(crate) fn encode_admission(
    path: &str,
    user: &str,
    (seq, recovered): (u64, Option<bool>),
    answer_frame: bool,
    out: &mut Vec<u8>,
) {
    let channel = format!("trip:{}", room_of(path));
    if answer_frame {
        let reply = format!(
            "{{\"success\":true,\"connection_id\":\"c-0\",\"connectionId\":\"c-0\",\"user_id\":\"{user}\",\
             \"userId\":\"{user}\",\"available_channels\":[],\"availableChannels\":[],\"permissions\":[\"read\",\
             \"write\"],\"heartbeat_ms\":20000,\"protocol_version\":1,\"server_version\":\"floor\"}}"
        );
        encode_frame(OPCODE_TEXT, reply.as_bytes(), out);
    }
    let recovered = recovered.map_or_else(String::new, |recovered| format!(",\"recovered\":{recovered}"));
    let established = format!(
        "{{\"id\":\"{FIXED_ID}\",\"type\":\"connection_established\",\"timestamp\":\"{FIXED_TIMESTAMP}\",\
         \"user_id\":\"{user}\",\"payload\":{{\"connection_id\":\"c-0\"}}}}"
    );
    encode_frame(OPCODE_TEXT, established.as_bytes(), out);
    let subscribed = format!(
        "{{\"id\":\"{FIXED_ID}\",\"type\":\"subscribed\",\"timestamp\":\"{FIXED_TIMESTAMP}\",\"payload\":\
         {{\"channel\":\"{channel}\",\"epoch\":\"{FIXED_EPOCH}\",\"seq\":{seq},\"oldest_seq\":1{recovered}}}}}"
    );
    encode_frame(OPCODE_TEXT, subscribed.as_bytes(), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_read_only_when_whole() {
        let mut frame = vec![0x81, 0xfe];
        frame.extend_from_slice(&300u16.to_be_bytes());
        frame.extend_from_slice(&[1, 2, 3, 4]);
        for split in 0..frame.len() {
            assert_eq!(decode_frame_head(&frame[..split]), Ok(None), "{split}");
        }
        let head = decode_frame_head(&frame).unwrap().unwrap();
        assert_eq!((head.head_bytes, head.payload_bytes, head.opcode, head.fin), (8, 300, 1, true));
    }

    #[test]
    fn unmasked_frame_is_refused() {
        assert_eq!(decode_frame_head(&[0x81, 0x05]), Err(()));
    }

    #[test]
    fn mask_is_undone_at_every_length() {
        for length in 0..40usize {
            let plain: Vec<u8> = (0..length).map(|index| u8::try_from(index).unwrap()).collect();
            let mut masked = plain.clone();
            for (index, byte) in masked.iter_mut().enumerate() {
                *byte ^= [9, 8, 7, 6][index % 4];
            }
            unmask(&mut masked, [9, 8, 7, 6]);
            assert_eq!(masked, plain);
        }
    }

    #[test]
    fn envelope_is_one_frame_of_its_stated_length() {
        for seq in [1, 9, 10, 99, 100, 12_345] {
            let mut out = Vec::new();
            Envelope::new("/ws/trips/t1/collab", "u1").encode(seq, Some(b"op"), b"hello", &mut out);
            let text = &out[4..];
            assert_eq!(usize::from(u16::from_be_bytes([out[2], out[3]])), text.len());
            let text = std::str::from_utf8(text).unwrap();
            assert!(text.contains(&format!("\"channel\":\"trip:t1\",\"seq\":{seq},\"epoch\":")));
            assert!(text.ends_with("{\"name\":{\"new_value\":\"hello\"}}}}"), "{text}");
        }
    }

    #[test]
    fn resource_id_is_found_in_every_form_of_path() {
        for (path, id) in [
            ("/ws/trips/a/collab", "a"),
            ("/api/ws/trips/b/collab", "b"),
            ("/ws/chat/s", "s"),
            ("/ws", "ws"),
            ("/x/y", "y"),
        ] {
            assert_eq!(room_of(path), id);
        }
    }

    #[test]
    fn opening_carries_path_key_and_early_token() {
        let head = b"GET /ws/trips/a/collab?token=x HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: k==\r\n\r\n";
        let opening = decode_opening(head).unwrap();
        assert_eq!(opening, Opening { path: "/ws/trips/a/collab", key: "k==", early_token: true, keep: 0 });
        let keeping = |count| format!("GET /ws/trips/a/collab?keep={count} HTTP/1.1\r\nSec-WebSocket-Key: k==\r\n\r\n");
        assert_eq!(decode_opening(keeping("100").as_bytes()).map(|opening| opening.keep), Some(100));
        assert!(decode_opening(keeping("-1").as_bytes()).is_none());
        assert!(decode_opening(b"POST / HTTP/1.1\r\n\r\n").is_none());
    }

    #[test]
    fn who_comes_back_says_where_it_was() {
        let check = |text: &str, expected| assert_eq!(resumed_from(text.as_bytes()), expected, "{text}");
        check(r#"{"token":"t","resume":[{"channel":"trip:a","epoch":"e","seq":17}]}"#, Some(17));
        check(r#"{"token":"t","resume":[{"channel":"trip:a","epoch":"e","seq":x}]}"#, None);
        check(r#"{"token":"t","resume":[]}"#, None);
        check(r#"{"token":"t","seq":17}"#, None);
    }
}
