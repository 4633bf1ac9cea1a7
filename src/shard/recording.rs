//! What the flight recorder is told: one line for each thing that happens to a connection or a channel.
//!
//! Written as it happens, by number: names are asked for when somebody reads.

use super::Shard;
use super::connection::Awaits;
use super::rooms::RoomId;
use crate::audit::Entry;
use crate::code::{CloseCode, ErrorCode};
use crate::envelope::{Command, Inbound};
use crate::ids::ConnId;
use crate::metrics::Metric;
use crate::recorder::{Kind, Recorder, Ring};
use crate::route;
use crate::time::Now;
use std::sync::Arc;

/// The types of messages as records number them, from 0: one for each that is acted on in its own way.
pub const MESSAGES: [&str; 22] = [
    "unreadable",
    "auth",
    "subscribe",
    "unsubscribe",
    "chat_message",
    "trip_update",
    "publish",
    "heartbeat",
    "ping",
    "pong",
    "agent_report",
    "batch",
    "request",
    "response",
    "register",
    "cancel",
    "ack",
    "typing",
    "cursor_update",
    "relayed",
    "unknown",
    "flat",
];

/// What a connection that is paused waits for, as records number it.
pub const AWAITED: [&str; 3] = ["its rate", "its user's rate", "its answers being read"];

/// The type of flat frames, whatever they say.
const FLAT: u64 = 21;

/// The number of a message's type.
const fn type_of(command: &Command<'_>) -> u64 {
    match command {
        Command::Auth(_) => 1,
        Command::Subscribe { .. } => 2,
        Command::Unsubscribe { .. } => 3,
        Command::Chat(_) => 4,
        Command::TripUpdate { .. } => 5,
        Command::Publish(_) => 6,
        Command::Heartbeat => 7,
        Command::Ping { .. } => 8,
        Command::Pong => 9,
        Command::Report { .. } => 10,
        Command::Batch(_) => 11,
        Command::Request(_) => 12,
        Command::Response(_) => 13,
        Command::Register { .. } => 14,
        Command::Cancel { .. } => 15,
        Command::Ack { .. } => 16,
        Command::Typing(_) => 17,
        Command::Cursor { .. } => 18,
        Command::Relay { .. } => 19,
        Command::Unknown { .. } => 20,
    }
}

/// What stands for a name in a record.
#[must_use]
pub fn hash_of(key: &route::HashKey, name: &str) -> u64 {
    (route::digest(key, name) >> 64) as u64
}

impl Shard {
    /// Writes what happens into a ring from now on.
    pub fn set_recorder(&mut self, ring: Option<Arc<Ring>>) {
        self.recorder = Recorder::new(ring);
    }

    pub(super) fn saw_opened(&mut self, now: Now, id: ConnId) {
        self.recorder.note(now.micros, Kind::Opened, id, 0, 0);
        self.keep(now, id, "connected", None, "");
    }

    pub(super) fn saw_user(&mut self, now: Now, id: ConnId, user: &str) {
        let hash = hash_of(&self.options.key, user);
        self.recorder.note(now.micros, Kind::Authenticated, id, 0, hash);
        if self.audit.is_on() {
            let user = Some(Arc::from(user));
            let entry = self.entry(now, id, "authenticated", None, "");
            self.audit.push(Entry { user, ..entry });
        }
    }

    pub(super) fn saw_channel(&mut self, now: Now, room: RoomId, name: &str) {
        self.recorder.note_channel(now.micros, room.number(), hash_of(&self.options.key, name));
    }

    pub(super) fn saw_membership(&mut self, kind: Kind, id: ConnId, room: RoomId) {
        self.recorder.note(self.latest.micros, kind, id, 0, u64::from(room.number()));
    }

    #[inline]
    pub(super) fn saw_message(&mut self, now: Now, id: ConnId, inbound: Option<&Inbound<'_>>, bytes: usize) {
        let kind = inbound.map_or(0, |inbound| type_of(&inbound.command));
        self.recorder.note(now.micros, Kind::Received, id, kind, bytes as u64);
    }

    pub(super) fn saw_flat(&mut self, now: Now, id: ConnId, bytes: usize) {
        self.recorder.note(now.micros, Kind::Received, id, FLAT, bytes as u64);
    }

    pub(super) fn saw_pause(&mut self, id: ConnId, awaits: Awaits) {
        self.recorder.note(self.latest.micros, Kind::Paused, id, awaits as u64, 0);
    }

    pub(super) fn saw_refused(&mut self, now: Now, id: ConnId, code: ErrorCode) {
        self.recorder.note(now.micros, Kind::Refused, id, code as u64, 0);
        self.keep(now, id, "refused", None, code.name());
    }

    pub(super) fn saw_status(&mut self, now: Now, id: ConnId, status: u16, metric: Metric) {
        self.recorder.note(now.micros, Kind::Refused, id, u64::from(status), metric as u64);
        self.keep(now, id, "refused", Some(status), metric.describe().label_value());
    }

    pub(super) fn saw_end(&mut self, id: ConnId, code: CloseCode, metric: Metric) {
        self.recorder.note(self.latest.micros, Kind::Closed, id, u64::from(code.0), metric as u64);
        self.keep(self.latest, id, "closed", Some(code.0), metric.describe().label_value());
    }

    /// Keeps what happened to a connection, if that is wanted.
    fn keep(&mut self, now: Now, id: ConnId, act: &'static str, code: Option<u16>, reason: &str) {
        if self.audit.is_on() {
            let entry = self.entry(now, id, act, code, reason);
            self.audit.push(entry);
        }
    }

    fn entry(&self, now: Now, id: ConnId, act: &'static str, code: Option<u16>, reason: &str) -> Entry {
        let conn = self.slots.find(id);
        let (connection, peer) = (conn.map(|conn| conn.name), conn.map(|conn| conn.peer));
        let user = conn.and_then(|conn| conn.user()).cloned();
        Entry { connection, user, peer, code, ..Entry::new(now.unix_ms, act, reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Parser;

    #[test]
    fn every_type_of_message_has_its_name() {
        let mut parser = Parser::default();
        let texts = [
            ("auth", r#"{"type":"auth","token":"t"}"#),
            ("subscribe", r#"{"type":"subscribe","payload":{"channels":["chat:a"]}}"#),
            ("unsubscribe", r#"{"type":"unsubscribe","payload":{"channels":["chat:a"]}}"#),
            ("chat_message", r#"{"type":"chat_message","payload":{"content":"a"}}"#),
            ("trip_update", r#"{"type":"trip_update","payload":{"field":"name","value":"a"}}"#),
            ("publish", r#"{"type":"publish","payload":{"channel":"chat:a","type":"note","payload":{}}}"#),
            ("heartbeat", r#"{"type":"heartbeat"}"#),
            ("ping", r#"{"type":"ping"}"#),
            ("pong", r#"{"type":"pong"}"#),
            ("agent_report", r#"{"type":"tool_call_start","payload":{"tool":"a"}}"#),
            ("batch", r#"{"type":"batch","payload":{"messages":[{"type":"ping"}]}}"#),
            ("request", r#"{"type":"request","payload":{"id":"1","method":"time"}}"#),
            ("response", r#"{"type":"response","payload":{"id":"1","result":1}}"#),
            ("register", r#"{"type":"register","payload":{"methods":["plan"]}}"#),
            ("cancel", r#"{"type":"cancel","payload":{"id":"1"}}"#),
            ("ack", r#"{"type":"ack","payload":{"channel":"chat:a","epoch":"e","seq":1}}"#),
            ("typing", r#"{"type":"chat_typing_start"}"#),
            ("cursor_update", r#"{"type":"cursor_update","payload":{"x":1,"y":2}}"#),
            ("relayed", r#"{"type":"trip_field_editing_start","payload":{"field":"name"}}"#),
            ("unknown", r#"{"type":"x"}"#),
        ];
        for (name, text) in texts {
            let inbound = parser.parse(text).unwrap_or_else(|rejected| panic!("{text}: {rejected:?}"));
            assert_eq!(MESSAGES[usize::try_from(type_of(&inbound.command)).unwrap()], name, "{text}");
        }
        let mut named: Vec<&str> = texts.iter().map(|(name, _)| *name).collect();
        named.insert(0, "unreadable");
        named.push(MESSAGES[usize::try_from(FLAT).unwrap()]);
        assert_eq!(named, MESSAGES, "all of them");
    }
}
