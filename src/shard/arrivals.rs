//! Who comes, as the host sees it: which bytes are dear to handle, and which a line must not hold up.
//!
//! The host lets so many in a turn and keeps what the others sent. Only the shard knows which bytes decide on somebody:
//! a whole head, or a token. While it lies there, its sender is not late. Absent: how many, and in which order.

use super::Shard;
use super::connection::{Connection, Stage};
use super::timers::Timer;
use crate::ids::ConnId;
use crate::limits::LINE_LOOK_MS;
use crate::session::endpoint::{Place, place};
use crate::time::Now;
use crate::wire::http::ends_head;
use crate::wire::proxy::read_proxy_header;

/// What the bytes of a connection weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Of somebody who was let in, or whom others judge.
    Live,
    /// A part of a head: it is kept until there is more.
    Part,
    /// The whole request of a probe, which asks how the server is and is answered at once.
    Probe,
    /// What may decide on somebody: with it a head is whole, or it is from somebody who has yet to send a token.
    Dear,
}

/// What somebody who comes has still to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The request's head.
    Head,
    /// The token.
    Token,
}

impl Shard {
    /// What a connection has still to send before it is in. A change of it is what was dear.
    #[must_use]
    pub fn wanted(&self, id: ConnId) -> Option<Wanted> {
        match self.slots.find(id)?.stage {
            Stage::Head => Some(Wanted::Head),
            Stage::Auth => Some(Wanted::Token),
            _ => None,
        }
    }

    /// What bytes of a connection weigh that have not been handled yet.
    #[must_use]
    pub fn weigh(&self, id: ConnId, bytes: &[u8]) -> Weight {
        let Some(conn) = self.slots.find(id) else { return Weight::Live };
        match conn.stage {
            Stage::Head => weight_of_head(conn, bytes),
            Stage::Auth => Weight::Dear,
            _ => Weight::Live,
        }
    }

    /// The host keeps what a connection sent until it is its turn.
    pub fn enter_line(&mut self, id: ConnId) {
        if let Some(conn) = self.slots.find_mut(id) {
            conn.in_line = true;
        }
    }

    /// Its turn has come.
    pub fn leave_line(&mut self, id: ConnId) {
        if let Some(conn) = self.slots.find_mut(id) {
            conn.in_line = false;
        }
    }

    /// Whether a deadline of somebody who comes is looked at again later: what it is about may lie in the host's line.
    pub(super) fn waits_on(&mut self, now: Now, id: ConnId, timer: Timer) -> bool {
        let in_line = self.slots.find(id).is_some_and(|conn| conn.in_line);
        if in_line {
            self.wheel.insert(now.millis().after(LINE_LOOK_MS), timer);
        }
        in_line
    }
}

fn weight_of_head(conn: &Connection, bytes: &[u8]) -> Weight {
    let before = conn.opening.as_ref().map_or(&[][..], |opening| &opening.head);
    if !ends_head(before, bytes) {
        Weight::Part
    } else if before.is_empty() && is_probe(conn.proxied, bytes) {
        Weight::Probe
    } else {
        Weight::Dear
    }
}

/// Whether a whole head asks how the server is. A probe is short and comes in one piece; one that does not is anybody.
fn is_probe(proxied: bool, bytes: &[u8]) -> bool {
    let behind = match proxied.then(|| read_proxy_header(bytes)) {
        None => Some(bytes),
        Some(Ok(Some((_, used)))) => bytes.get(used..),
        Some(_) => None,
    };
    let target = behind.and_then(|head| head.strip_prefix(b"GET ").or_else(|| head.strip_prefix(b"HEAD ")));
    let path = target.and_then(|target| target.split(|byte| matches!(byte, b' ' | b'?' | b'\r')).next());
    let place = path.and_then(|path| std::str::from_utf8(path).ok()).map(place);
    matches!(place, Some(Ok(Place::Health | Place::Ready | Place::Alive)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_a_whole_request_that_asks_how_the_server_is() {
        for (proxied, head, expected) in [
            (false, "GET /readyz HTTP/1.1\r\n\r\n", true),
            (false, "HEAD /healthz HTTP/1.1\r\n\r\n", true),
            (false, "GET /api/health?at=1 HTTP/1.1\r\n\r\n", true),
            (true, "PROXY UNKNOWN\r\nGET /readyz HTTP/1.1\r\n\r\n", true),
            (true, "GET /readyz HTTP/1.1\r\n\r\n", false),
            (true, "PROXY UNKNOWN\r\nGET /ws HTTP/1.1\r\n\r\n", false),
            (false, "POST /readyz HTTP/1.1\r\n\r\n", false),
            (false, "GET /readyzz HTTP/1.1\r\n\r\n", false),
            (false, "GET /ws/chat/readyz HTTP/1.1\r\n\r\n", false),
            (false, "GET /metrics HTTP/1.1\r\n\r\n", false),
        ] {
            assert_eq!(is_probe(proxied, head.as_bytes()), expected, "{proxied} {head}");
        }
    }
}
