//! What the gateway itself tells one client: answers, errors, the life of its connection and channels.
//!
//! Each is an event with the envelope of [`super::event`] and no sequence number of its own, except the two
//! answers to an authentication frame, which the shipped clients know by their top-level `success`.

pub mod service;

use super::encoding::Encoding;
use super::event::{
    EventHead, close_event, open_event, write_channel, write_epoch_field, write_field, write_hex, write_instant,
    write_key, write_number, write_number_field, write_optional_field, write_string,
};
use crate::code::{CloseCode, ErrorCode};
use crate::ids::{ConnectionName, Epoch, Seq};

/// The version of the protocol that the authentication reply announces.
pub const PROTOCOL_VERSION: u64 = 1;

/// What every notice has, and how channels are named to this client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The event's id: see [`super::event::event_id`].
    pub id: u128,
    /// When it was made.
    pub unix_ms: u64,
    /// How channels are named.
    pub encoding: Encoding,
}

impl Stamp {
    pub(super) fn head<'a>(&self, kind: &'a str) -> EventHead<'a> {
        EventHead { id: self.id, kind, unix_ms: self.unix_ms, encoding: self.encoding, ..EventHead::default() }
    }

    /// Appends a notice whose payload is `{` then what `fields` appends. Every field is written with a comma
    /// before it, so the first comma is taken out again.
    fn write(&self, kind: &str, out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
        write_as(&self.head(kind), out, fields);
    }
}

fn write_as(head: &EventHead<'_>, out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = open_event(head, out);
    write_object(start, out, fields);
    close_event(out);
}

/// Appends an object at `start`, the end of `out`, from fields that each begin with a comma.
pub(super) fn write_object(start: usize, out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
    fields(out);
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// Who a connection turned out to be.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    /// The connection's public name.
    pub connection: ConnectionName,
    /// The authenticated user.
    pub user_id: &'a str,
    /// The chat session, on a chat endpoint.
    pub session_id: Option<&'a str>,
    /// The user's own channels and those that were asked for and granted, in the client's names.
    pub available_channels: &'a [&'a str],
    /// When the token ends.
    pub expires_at_ms: Option<u64>,
    /// How often the server sends a sign of life.
    pub heartbeat_ms: u64,
    /// This server's version.
    pub server_version: &'a str,
}

/// Appends the answer to a good authentication frame, in both casings.
pub fn write_auth_success(admitted: &Admitted<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"success\":true");
    for key in ["connection_id", "connectionId"] {
        write_connection(key, admitted.connection, out);
    }
    for key in ["user_id", "userId"] {
        write_field(key, admitted.user_id, out);
    }
    for key in ["session_id", "sessionId"] {
        write_optional_field(key, admitted.session_id, out);
    }
    for key in ["available_channels", "availableChannels"] {
        write_strings(key, admitted.available_channels, out);
    }
    write_strings("permissions", &["read", "write"], out);
    if let Some(expires_at_ms) = admitted.expires_at_ms {
        write_key("expires_at", out);
        write_instant(expires_at_ms, out);
    }
    write_number_field("heartbeat_ms", admitted.heartbeat_ms, out);
    write_number_field("protocol_version", PROTOCOL_VERSION, out);
    write_field("server_version", admitted.server_version, out);
    out.push(b'}');
}

/// Appends the answer to a bad authentication frame; a close follows it.
pub fn write_auth_failure(code: ErrorCode, error: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"success\":false,\"connection_id\":\"\"");
    write_field("error", error, out);
    write_field("code", code.name(), out);
    out.push(b'}');
}

/// Appends `connection_established`.
pub fn write_connection_established(stamp: Stamp, admitted: &Admitted<'_>, out: &mut Vec<u8>) {
    let head = EventHead {
        user_id: Some(admitted.user_id),
        session_id: admitted.session_id,
        ..stamp.head("connection_established")
    };
    write_as(&head, out, |out| {
        write_field("status", "connected", out);
        write_connection("connection_id", admitted.connection, out);
        write_field("user_id", admitted.user_id, out);
        write_optional_field("session_id", admitted.session_id, out);
        write_strings("available_channels", admitted.available_channels, out);
        write_field("server_version", admitted.server_version, out);
    });
}

/// Appends `connection_heartbeat`.
pub fn write_connection_heartbeat(stamp: Stamp, out: &mut Vec<u8>) {
    stamp.write("connection_heartbeat", out, |out| {
        write_key("timestamp", out);
        write_instant(stamp.unix_ms, out);
    });
}

/// Appends `pong`; `timestamp` is raw JSON and repeated as it came.
pub fn write_pong(stamp: Stamp, timestamp: Option<&str>, out: &mut Vec<u8>) {
    stamp.write("pong", out, |out| {
        if let Some(timestamp) = timestamp {
            write_key("timestamp", out);
            out.extend_from_slice(timestamp.as_bytes());
        }
    });
}

/// Appends `connection_error`; `details` is a raw JSON object, empty if there is nothing to say.
pub fn write_connection_error(stamp: Stamp, code: ErrorCode, message: &str, details: Option<&str>, out: &mut Vec<u8>) {
    stamp.write("connection_error", out, |out| {
        for [code_key, message_key] in [["code", "message"], ["error_code", "error_message"]] {
            write_field(code_key, code.name(), out);
            write_field(message_key, message, out);
        }
        write_key("details", out);
        match (details, code.retry_after_ms()) {
            (None, Some(ms)) => write_object(out.len(), out, |out| {
                write_number_field("retry_after", ms.div_ceil(1000), out);
            }),
            (details, _) => out.extend_from_slice(details.unwrap_or("{}").as_bytes()),
        }
    });
}

/// Appends `connection_close`, which goes before a close frame.
pub fn write_connection_close(
    stamp: Stamp,
    code: CloseCode,
    reason: &str,
    reconnect_after_s: Option<u64>,
    out: &mut Vec<u8>,
) {
    stamp.write("connection_close", out, |out| {
        write_field("reason", reason, out);
        write_number_field("code", u64::from(code.0), out);
        if let Some(seconds) = reconnect_after_s {
            write_number_field("reconnect_after", seconds, out);
        }
    });
}

/// A channel's name as the client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// One that a channel can have.
    Plain(&'a str),
    /// A raw JSON string, which may stand for no text at all.
    Raw(&'a str),
}

impl Name<'_> {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(name) => write_string(name, out),
            Self::Raw(name) => out.extend_from_slice(name.as_bytes()),
        }
    }
}

/// Appends `subscribe_response`. Names are the client's own.
pub fn write_subscribe_response(stamp: Stamp, joined: &[&str], failed: &[(Name<'_>, ErrorCode)], out: &mut Vec<u8>) {
    stamp.write("subscribe_response", out, |out| {
        write_key("success", out);
        out.extend_from_slice(if failed.is_empty() { b"true" } else { b"false" });
        write_strings("subscribed_channels", joined, out);
        write_list("failed_channels", failed, out, |(channel, _), out| channel.write(out));
        write_list("failures", failed, out, |(channel, code), out| {
            out.extend_from_slice(b"{\"channel\":");
            channel.write(out);
            write_field("code", code.name(), out);
            out.push(b'}');
        });
    });
}

/// How a join went, for a client that said where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// All that was missed follows.
    Recovered,
    /// It does not; why: `epoch_changed`, `trimmed` or `too_far`. The present state follows.
    Lost(&'static str),
}

/// Appends `subscribed`.
pub fn write_subscribed(
    stamp: Stamp,
    channel: &str,
    (epoch, seq): (Epoch, Seq),
    oldest: Seq,
    recovery: Option<Recovery>,
    out: &mut Vec<u8>,
) {
    stamp.write("subscribed", out, |out| {
        write_place(stamp, channel, (epoch, seq), out);
        write_number_field("oldest_seq", oldest.0, out);
        match recovery {
            None => {}
            Some(Recovery::Recovered) => out.extend_from_slice(b",\"recovered\":true"),
            Some(Recovery::Lost(reason)) => {
                out.extend_from_slice(b",\"recovered\":false");
                write_field("reason", reason, out);
            }
        }
    });
}

/// Appends `unsubscribed`; a reason is given when the client did not ask for it.
pub fn write_unsubscribed(stamp: Stamp, channel: &str, reason: Option<&str>, out: &mut Vec<u8>) {
    stamp.write("unsubscribed", out, |out| {
        write_channel_field(stamp, channel, out);
        write_optional_field("reason", reason, out);
    });
}

/// Whether an operation is answered for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// This message did it.
    First,
    /// An earlier one with the same id did.
    Duplicate,
}

/// Appends `ack`. Without a place it says that the operation has happened, and not how far its author has been sent
/// events.
pub fn write_ack(
    stamp: Stamp,
    id: &str,
    channel: &str,
    place: Option<(Epoch, Seq)>,
    answered: Answered,
    out: &mut Vec<u8>,
) {
    stamp.write("ack", out, |out| {
        write_field("id", id, out);
        match place {
            Some(place) => write_place(stamp, channel, place, out),
            None => write_channel_field(stamp, channel, out),
        }
        if answered == Answered::Duplicate {
            out.extend_from_slice(b",\"duplicate\":true");
        }
    });
}

/// Appends `nack`.
pub fn write_nack(
    stamp: Stamp,
    id: &str,
    code: ErrorCode,
    message: &str,
    retry_after_ms: Option<u64>,
    out: &mut Vec<u8>,
) {
    stamp.write("nack", out, |out| {
        write_field("id", id, out);
        write_field("code", code.name(), out);
        write_field("message", message, out);
        write_key("retryable", out);
        out.extend_from_slice(if code.retryable() { b"true" } else { b"false" });
        if let Some(ms) = retry_after_ms.or_else(|| code.retry_after_ms()) {
            write_number_field("retry_after_ms", ms, out);
        }
    });
}

/// Whether the events of a gap can still be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// They follow.
    Refilled,
    /// History no longer holds them.
    Lost,
}

/// Appends `gap`: the events `from` to `to`, both included, were not sent in their place.
pub fn write_gap(stamp: Stamp, channel: &str, (from, to): (Seq, Seq), reason: &str, missed: Missed, out: &mut Vec<u8>) {
    stamp.write("gap", out, |out| {
        write_channel_field(stamp, channel, out);
        write_number_field("from_seq", from.0, out);
        write_number_field("to_seq", to.0, out);
        write_field("reason", reason, out);
        if missed == Missed::Lost {
            out.extend_from_slice(b",\"lost\":true");
        }
    });
}

/// Appends `draining`: this instance is about to close the connection.
pub fn write_draining(stamp: Stamp, reconnect_after_ms: u64, out: &mut Vec<u8>) {
    stamp.write("draining", out, |out| write_number_field("reconnect_after_ms", reconnect_after_ms, out));
}

/// Appends `token_expiring`.
pub fn write_token_expiring(stamp: Stamp, expires_in_ms: u64, out: &mut Vec<u8>) {
    stamp.write("token_expiring", out, |out| write_number_field("expires_in_ms", expires_in_ms, out));
}

/// Appends the `details` of a `RATE_LIMIT_EXCEEDED`; times are whole seconds.
pub fn write_rate_details(limit: u64, retry_after_s: u64, window_s: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"limit\":");
    write_number(limit, out);
    write_number_field("remaining", 0, out);
    write_number_field("retry_after", retry_after_s, out);
    write_number_field("window_seconds", window_s, out);
    out.push(b'}');
}

fn write_connection(key: &str, connection: ConnectionName, out: &mut Vec<u8>) {
    write_key(key, out);
    out.push(b'"');
    write_hex::<32>(connection.0, out);
    out.push(b'"');
}

pub(super) fn write_channel_field(stamp: Stamp, channel: &str, out: &mut Vec<u8>) {
    write_key("channel", out);
    write_channel(stamp.encoding, channel, out);
}

fn write_place(stamp: Stamp, channel: &str, (epoch, seq): (Epoch, Seq), out: &mut Vec<u8>) {
    write_channel_field(stamp, channel, out);
    write_epoch_field(epoch, out);
    write_number_field("seq", seq.0, out);
}

fn write_strings(key: &str, items: &[&str], out: &mut Vec<u8>) {
    write_list(key, items, out, |item, out| write_string(item, out));
}

pub(super) fn write_list<T>(key: &str, items: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    write_key(key, out);
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests;
