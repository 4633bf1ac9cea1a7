//! What a turn gives to those who are behind, as a host sees it: in the bytes that it is handed.
//!
//! A host writes first what is live and then, one by one, to those whose turn it is. So whatever a first write holds must
//! not lie before the moment at which its reader joined, and no write of the second kind begins once a turn's bytes are
//! spent. The frames are read here once more, by nothing but what the gateway has said in them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::wire::take_frame;
use waystation::limits::{BATCH_BYTES_MAX, MESSAGE_BYTES_MAX, OUTBOX_BYTES_MAX};

/// By channel: its epoch and its last event when a client joined.
type Joined = BTreeMap<String, (String, u64)>;

/// How far what is written to a socket has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Head,
    Frames,
    /// It was answered with something else than 101.
    Refused,
}

/// What was written to one socket: where its client stands in the channels that it has joined.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    stage: Stage,
    /// Bytes of what is not whole yet.
    begun: Vec<u8>,
    joined: Joined,
    /// Bytes since what a short write left over was written before its turn, which is for who is closed alone.
    closed: Option<usize>,
}

impl Reader {
    /// A write of what is live, of which the socket takes some bytes.
    pub(crate) fn live(&mut self, all: &[u8], taken: usize) {
        if self.closed.is_some() {
            return self.last(&all[..taken]);
        }
        assert!(self.begun.is_empty(), "what a short write left over is known of");
        let look = |joined: &Joined, event: &Value| {
            let (channel, epoch, seq) = (&event["channel"], &event["epoch"], event["seq"].as_u64());
            let (Some(channel), Some(epoch), Some(seq)) = (channel.as_str(), epoch.as_str(), seq) else { return };
            let missed = joined.get(channel).is_some_and(|(at, last)| at == epoch && seq <= *last);
            assert!(!missed, "what was missed waits for its turn: {event}");
        };
        if taken == all.len() {
            return self.read(all, look);
        }
        self.clone().read(all, look);
        self.read(&all[..taken], |_, _| {});
    }

    /// What a short write left over waits for its turn, but for who is closed: it is owed what is queued and a close frame.
    pub(crate) fn last(&mut self, taken: &[u8]) {
        let closed = self.closed.get_or_insert(0);
        *closed += taken.len();
        assert!(
            *closed <= OUTBOX_BYTES_MAX + BATCH_BYTES_MAX + MESSAGE_BYTES_MAX,
            "more than was queued when it was closed"
        );
        self.read(taken, |_, _| {});
    }

    /// Bytes that the socket takes of a write to who is behind.
    pub(crate) fn behind(&mut self, taken: &[u8]) {
        assert!(self.closed.is_none(), "who was not closed was written to before its turn");
        self.read(taken, |_, _| {});
    }

    fn read(&mut self, bytes: &[u8], look: impl Fn(&Joined, &Value)) {
        self.begun.extend_from_slice(bytes);
        if self.stage == Stage::Head {
            let Some(end) = self.begun.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            let is_open = self.begun.starts_with(b"HTTP/1.1 101 ");
            self.stage = if is_open { Stage::Frames } else { Stage::Refused };
            self.begun.drain(..end + 4);
        }
        if self.stage == Stage::Refused {
            return self.begun.clear();
        }
        while let Some(frame) = take_frame(&mut self.begun) {
            let text = std::str::from_utf8(&frame.payload).unwrap_or("");
            if self.joined.is_empty() && !text.contains(r#""type":"subscribed""#) {
                continue;
            }
            let Ok(value) = serde_json::from_str::<Value>(text) else { continue };
            let one = std::slice::from_ref(&value);
            for event in value["events"].as_array().map_or(one, Vec::as_slice) {
                look(&self.joined, event);
                let told = &event["payload"];
                let (channel, epoch, last) = (&told["channel"], &told["epoch"], told["seq"].as_u64());
                if event["type"] == "subscribed"
                    && let (Some(channel), Some(epoch), Some(last)) = (channel.as_str(), epoch.as_str(), last)
                {
                    self.joined.insert(channel.to_owned(), (epoch.to_owned(), last));
                }
            }
        }
    }
}

/// What a turn has spent on those who are behind.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    bytes: usize,
    writes: usize,
}

impl Spent {
    /// A write to one of them begins.
    pub(crate) fn write(&mut self, bytes: usize, (bytes_max, writes_max): (usize, usize)) {
        assert!(self.bytes < bytes_max, "{} bytes were spent in this turn", self.bytes);
        assert!(self.writes < writes_max, "{} were written to in this turn", self.writes);
        self.bytes += bytes;
        self.writes += 1;
    }
}
