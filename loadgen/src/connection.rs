//! One connection: how it opens, and what a control frame of the server means to it.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;

use memchr::memmem;

use crate::scenario::Auth;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not begun.
    Waiting,
    /// The connect is under way.
    Connecting,
    /// The request is sent, the response not whole.
    Upgrading,
    /// Upgraded; the server has not said that the room is joined.
    Joining,
    /// May publish and be delivered to.
    Ready,
    /// A close frame was sent.
    Leaving,
    /// Ended or failed.
    Closed,
}

/// One connection of the run.
#[derive(Debug)]
pub struct Connection {
    pub(crate) fd: Option<OwnedFd>,
    pub(crate) phase: Phase,
    /// The run's number of its room.
    pub(crate) room: u32,
    /// Number in the room.
    pub(crate) member: u32,
    /// Start of a head or frame that is not whole.
    pub(crate) partial: Vec<u8>,
    /// What the socket did not take.
    pub(crate) unsent: Vec<u8>,
    /// When the present step of the opening began.
    pub(crate) since_ns: u64,
    /// When its connect began.
    pub(crate) opened_ns: u64,
    /// Publishes of the closed loop to be sent in this turn.
    pub(crate) publishes_owed: u32,
    /// Publishes of the closed loop that wait for the first delivery.
    pub(crate) publishes_held: u32,
}

impl Connection {
    pub(crate) fn new(room: u32, member: u32) -> Self {
        Self {
            fd: None,
            phase: Phase::Waiting,
            room,
            member,
            partial: Vec::new(),
            unsent: Vec::new(),
            since_ns: 0,
            opened_ns: 0,
            publishes_owed: 0,
            publishes_held: 0,
        }
    }

    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Upgrading | Phase::Joining)
    }
}

/// The nonce of RFC 6455 section 1.3, whose answer is known without a hash; a nonce protects from caches, which
/// a load does not have in its way.
const NONCE: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const NONCE_ANSWER: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The upgrade request.
#[must_use]
pub fn request(host: &str, path: &str, auth: Auth, token: &str) -> String {
    let mut request = format!("GET {path}");
    if auth == Auth::Query {
        let _ = write!(request, "?token={token}");
    }
    let _ = write!(
        request,
        " HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {NONCE}\r\n\
         Sec-WebSocket-Version: 13\r\n"
    );
    if auth == Auth::Header {
        let _ = write!(request, "Authorization: Bearer {token}\r\n");
    }
    request.push_str("\r\n");
    request
}

/// Judges a whole response head.
///
/// # Errors
/// The name under which the failure is counted.
pub fn check_response(head: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(head).map_err(|_| "response is no text".to_owned())?;
    let status = text.split(' ').nth(1).unwrap_or("");
    if status != "101" {
        return Err(format!("http {status}"));
    }
    let accept = text
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-accept").then(|| value.trim()));
    if accept == Some(NONCE_ANSWER) { Ok(()) } else { Err("wrong Sec-WebSocket-Accept".to_owned()) }
}

/// The authentication frame.
#[must_use]
pub fn auth_frame(token: &str, channels: &[String]) -> String {
    let channels: Vec<String> = channels.iter().map(|channel| format!("\"{channel}\"")).collect();
    let channels = channels.join(",");
    format!(
        "{{\"token\":\"{token}\",\"channels\":[{channels}],\"client\":{{\"name\":\"loadgen\",\"version\":\"0.1.0\"}}}}"
    )
}

/// A text frame without a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control<'a> {
    /// The authentication was good.
    AuthGood,
    /// It was not.
    AuthBad,
    /// The room is joined, at this position if one is named.
    Subscribed(Option<u64>),
    /// Anything else, by its type.
    Event(&'a str),
}

/// What a text frame without a marker says.
#[must_use]
pub fn decode_control(text: &[u8]) -> Control<'_> {
    const TYPE: &[u8] = b"\"type\":\"";
    let kind = memmem::find(text, TYPE).map(|at| &text[at + TYPE.len()..]);
    let kind = kind.and_then(|rest| std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok());
    match kind {
        Some("subscribed") => Control::Subscribed(subscribed_seq(text)),
        Some(kind) => Control::Event(kind),
        None if memmem::find(text, b"\"success\":true").is_some() => Control::AuthGood,
        None if memmem::find(text, b"\"success\":false").is_some() => Control::AuthBad,
        None => Control::Event("(no type)"),
    }
}

fn subscribed_seq(text: &[u8]) -> Option<u64> {
    number_at(&text[memmem::find(text, SEQ_KEY)? + SEQ_KEY.len()..])
}

/// The sequence number in an envelope's head, before its payload. `hint` is where its key stood last time: heads of
/// a room's events are alike, and a search costs more than all the rest of a delivery.
#[must_use]
pub fn envelope_seq(text: &[u8], hint: &mut usize) -> Option<u64> {
    if !text.get(*hint..).is_some_and(|rest| rest.starts_with(SEQ_KEY)) {
        let head = &text[..memmem::find(text, b"\"payload\":").unwrap_or(text.len())];
        *hint = memmem::find(head, SEQ_KEY)?;
    }
    number_at(&text[*hint + SEQ_KEY.len()..])
}

const SEQ_KEY: &[u8] = b"\"seq\":";

fn number_at(text: &[u8]) -> Option<u64> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = text[..count].iter().map(|byte| u64::from(byte - b'0'));
    if count == 0 {
        None
    } else {
        digits.into_iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(digit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_carries_the_token_where_it_is_wanted() {
        let has = |auth, part: &str| request("h:1", "/ws/x", auth, "tok").contains(part);
        assert!(has(Auth::Query, "GET /ws/x?token=tok HTTP/1.1\r\n"));
        assert!(has(Auth::Header, "GET /ws/x HTTP/1.1\r\n") && has(Auth::Header, "Authorization: Bearer tok\r\n\r\n"));
        for auth in [Auth::Frame, Auth::None] {
            assert!(!has(auth, "tok"));
        }
    }

    #[test]
    fn response_is_judged_by_status_and_answer() {
        let response = |status: &str, answer: &str| {
            check_response(format!("HTTP/1.1 {status}\r\nSec-Websocket-accept: {answer}\r\n\r\n").as_bytes())
        };
        assert_eq!(response("101 Switching Protocols", NONCE_ANSWER), Ok(()));
        assert_eq!(response("503 Busy", ""), Err("http 503".to_owned()));
        assert_eq!(response("101 Switching Protocols", "x"), Err("wrong Sec-WebSocket-Accept".to_owned()));
    }

    #[test]
    fn control_frames_are_told_apart() {
        for (text, expected) in [
            (r#"{"success":true,"connection_id":"c"}"#, Control::AuthGood),
            (r#"{"success":false,"error":"x"}"#, Control::AuthBad),
            (r#"{"id":"i","type":"subscribed","payload":{"epoch":"e","seq":17}}"#, Control::Subscribed(Some(17))),
            (r#"{"id":"i","type":"subscribed","payload":{}}"#, Control::Subscribed(None)),
            (r#"{"type":"subscribe_response","payload":{"success":true}}"#, Control::Event("subscribe_response")),
            ("nonsense", Control::Event("(no type)")),
        ] {
            assert_eq!(decode_control(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn envelope_seq_is_not_taken_from_the_payload() {
        for first_hint in [0, 5, 11, 12, 1000] {
            let mut hint = first_hint;
            let mut check = |text: &str, expected| assert_eq!(envelope_seq(text.as_bytes(), &mut hint), expected);
            check(r#"{"type":"x","seq":42,"payload":{"seq":7}}"#, Some(42));
            check(r#"{"type":"y","seq":43,"payload":{}}"#, Some(43));
            check(r#"{"type":"longer","seq":18446744073709551615,"payload":{}}"#, Some(u64::MAX));
            check(r#"{"type":"x","payload":{"seq":7}}"#, None);
            check(r#"{"type":"x","seq":18446744073709551616}"#, None);
            check(r#"{"type":"x","seq":"#, None);
            check("", None);
        }
    }

    #[test]
    fn auth_frame_is_json() {
        let frame: serde_json::Value = serde_json::from_str(&auth_frame("t", &["a".into(), "b".into()])).unwrap();
        assert_eq!(frame["token"], "t");
        assert_eq!(frame["channels"][1], "b");
        assert_eq!(frame["client"]["name"], "loadgen");
    }
}
