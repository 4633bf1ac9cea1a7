//! One connection: where it stands, and its upgrade.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::adapter::{Open, Values, Whereabouts};
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
    /// Upgraded; the adapter's hello is not over.
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
    /// When it was let in again, if it came back to where it was.
    pub(crate) joined_ns: u64,
    /// Events that it had missed then and has not had since.
    pub(crate) behind: u64,
    /// Step of the adapter's hello that is waited for.
    pub(crate) hello_step: usize,
    /// Messages that came while it was.
    pub(crate) hello_waited: u32,
    /// Publishes sent, of every kind; those of one frame are one.
    pub(crate) sent: u32,
    /// Publishes that it has had since it last said how far it has read.
    pub(crate) unacknowledged: u32,
    /// Belongs to the wave that is being opened.
    pub(crate) awaited: bool,
    /// Reads slowly on purpose.
    pub(crate) slow: bool,
    /// Comes back to where it was, and is owed what it missed.
    pub(crate) returning: bool,
    /// Where it is, if it may have to come back to it.
    pub(crate) whereabouts: Option<Box<Whereabouts>>,
    /// Slow reader: when it is read next.
    pub(crate) read_at_ns: u64,
    /// Open loop with a bound: publishes on their way.
    pub(crate) in_flight: u32,
    /// Open loop with a bound: when those were to leave that wait.
    pub(crate) waiting: VecDeque<u64>,
    /// Publishes of the closed loop, or of those that wait, to be sent in this turn.
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
            joined_ns: 0,
            behind: 0,
            hello_step: 0,
            hello_waited: 0,
            sent: 0,
            unacknowledged: 0,
            awaited: false,
            slow: false,
            returning: false,
            whereabouts: None,
            read_at_ns: 0,
            in_flight: 0,
            waiting: VecDeque::new(),
            publishes_owed: 0,
            publishes_held: 0,
        }
    }

    /// The same connection before it is opened once more.
    pub(crate) fn afresh(&self) -> Self {
        Self { slow: self.slow, sent: self.sent, ..Self::new(self.room, self.member) }
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
pub(crate) fn request(open: &Open, host: &str, auth: Auth, values: &Values<'_>) -> String {
    let mut path = open.path.text(values);
    let token = open.token_query.as_ref().filter(|_| auth == Auth::Query);
    for query in open.query.iter().chain(token) {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(&query.text(values));
    }
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {NONCE}\r\nSec-WebSocket-Version: 13\r\n"
    );
    let token = open.token_header.as_ref().filter(|_| auth == Auth::Header);
    for header in open.headers.iter().chain(token) {
        request.push_str(&header.text(values));
        request.push_str("\r\n");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_carries_what_the_adapter_says_and_the_token_where_it_is_wanted() {
        let adapter = |open: &str| {
            let text = format!("name = \"x\"\n{open}\n[publish.k]\ntext = \"{{body}}\"");
            crate::adapter::Adapter::parse(&text, "x").unwrap()
        };
        let token = "[token]\nquery = \"token={token}\"\nheader = \"Authorization: Bearer {token}\"";
        let full = "query = \"EIO=4&r={room}\"\nsubprotocol = \"p.v1\"\nheaders = { X-Room = \"{room}\" }";
        let check = |open: &str, auth, line: &str, lines: &[&str]| {
            let values = Values { endpoint: "/ws/x", room: "room-7", token: "tok", ..Values::default() };
            let request = request(&adapter(open).open, "h:1", auth, &values);
            let mut expected = format!(
                "GET {line} HTTP/1.1\r\nHost: h:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: {NONCE}\r\nSec-WebSocket-Version: 13\r\n"
            );
            for line in lines.iter().chain(&[""]) {
                expected.push_str(&format!("{line}\r\n"));
            }
            assert_eq!(request, expected, "{open} {auth:?}");
        };
        let plain = format!("[open]\npath = \"{{endpoint}}\"\n{token}");
        check(&plain, Auth::Query, "/ws/x?token=tok", &[]);
        check(&plain, Auth::Header, "/ws/x", &["Authorization: Bearer tok"]);
        check(&plain, Auth::Frame, "/ws/x", &[]);
        check(&plain, Auth::None, "/ws/x", &[]);
        let all = format!("[open]\npath = \"/p/{{room}}\"\n{full}\n{token}");
        let headers = ["X-Room: room-7", "Sec-WebSocket-Protocol: p.v1"];
        check(&all, Auth::Query, "/p/room-7?EIO=4&r=room-7&token=tok", &headers);
        check("[open]\npath = \"/a?b=c\"\nquery = \"d\"", Auth::Query, "/a?b=c&d", &[]);
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
}
