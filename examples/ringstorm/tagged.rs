//! What each connection sends, and how it is known again: every byte is a function of connection and place.
//!
//! Frames are written and read by hand, to share no code with the server.

use serde_json::Value;

/// Longest filler of a chat message.
const FILLER_MAX: u64 = 2000;

/// Which endpoint a connection goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// `/echo`: binary, and it stays on the shard that accepted it.
    Echo,
    /// `/ws/chat/{own id}`: text, and it moves to its room's home.
    Chat,
    /// `/ws`: it stays on the shard that accepted it, and its room may be at home on another.
    Open,
}

/// The finaliser of splitmix64.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Random numbers from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % bound
    }

    pub(crate) const fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// The user and the session of connection `id`.
pub(crate) fn name(id: u64) -> String {
    format!("storm-{id}.")
}

/// The room of connection `id`.
pub(crate) fn channel(id: u64) -> String {
    format!("chat:{}", name(id))
}

/// Byte `position` of connection `id`.
pub(crate) fn tag(id: u64, position: u64) -> u8 {
    mix(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ position).to_le_bytes()[3]
}

/// Content of message `number` of connection `id`.
fn content(id: u64, number: u64) -> String {
    let length = mix(id ^ (number << 32)) % FILLER_MAX;
    let filler = (0..length).map(|at| char::from(b'a' + tag(id, (number << 16) | at) % 26));
    format!("{}{number}:{}", name(id), filler.collect::<String>())
}

/// What a connection sends next: for an echo `len` bytes from its place in the stream on, for a chat the
/// message of that number, whose length is its own.
pub(crate) fn message(door: Door, id: u64, from: u64, len: u64) -> Vec<u8> {
    match door {
        Door::Echo => frame(0x2, id ^ from, &(from..from + len).map(|at| tag(id, at)).collect::<Vec<_>>()),
        Door::Chat | Door::Open => {
            let mut body = serde_json::json!({ "type": "chat_message", "payload": { "content": content(id, from) } });
            if door == Door::Open {
                body["channel"] = channel(id).into();
            }
            frame(0x1, id ^ from, body.to_string().as_bytes())
        }
    }
}

/// A masked frame, alone in its message (RFC 6455 section 5.2).
pub(crate) fn frame(opcode: u8, mask: u64, payload: &[u8]) -> Vec<u8> {
    let mask = &mix(mask).to_le_bytes()[..4];
    let len = payload.len();
    let mut frame = vec![0x80 | opcode];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 => frame.push(0x80 | len),
        (_, Ok(len)) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Opcode, payload and whole length of the first frame in `bytes`, if it is there. A server masks nothing.
pub(crate) fn parse(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (len, at) = match second {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        len => (u64::from(len), 2),
    };
    let end = usize::try_from(len).ok()?.checked_add(at)?;
    Some((first & 0xf, bytes.get(at..end)?, end))
}

/// What a text event is to the connection that got it.
pub(crate) enum Heard {
    /// The answer to the token.
    Admitted,
    /// The room's position: from here on messages come.
    Subscribed,
    /// The next message.
    Message,
    /// Something that the server says now and then.
    Aside,
}

/// Whether this is what the server says before it closes for a message that is too long.
pub(crate) fn is_error(text: &[u8]) -> bool {
    serde_json::from_slice::<Value>(text).is_ok_and(|event| event["type"] == "connection_error")
}

/// Judges a text event that connection `id` got when it waits for message `number`.
///
/// # Errors
/// What is wrong with it, and whether it bears the mark of another connection or place.
pub(crate) fn hear(id: u64, number: u64, text: &[u8]) -> Result<Heard, (bool, String)> {
    let wrong = |foreign| Err((foreign, format!("connection {id} got {}", String::from_utf8_lossy(text))));
    let Ok(text) = std::str::from_utf8(text) else { return wrong(true) };
    let own = name(id);
    if text.match_indices("storm-").any(|(at, _)| !text[at..].starts_with(&own)) {
        return wrong(true);
    }
    let Ok(event) = serde_json::from_str::<Value>(text) else { return wrong(true) };
    if event["success"] == true {
        return Ok(Heard::Admitted);
    }
    let channel = channel(id);
    match event["type"].as_str() {
        Some("connection_established" | "connection_heartbeat" | "subscribe_response") => Ok(Heard::Aside),
        Some("subscribed") if event["payload"]["channel"] == channel => Ok(Heard::Subscribed),
        Some("chat_message") => {
            let expected = event["channel"] == channel
                && event["user_id"] == own
                && event["seq"] == number + 1
                && event["payload"]["content"] == content(id, number);
            if expected { Ok(Heard::Message) } else { wrong(true) }
        }
        _ => wrong(false),
    }
}
