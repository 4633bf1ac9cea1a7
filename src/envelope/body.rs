//! Payloads of sequenced events: a chat message, a change of trip fields.
//!
//! Built at the home shard, once, before the event has its sequence number; [`super::write_event`] wraps
//! them. What a client wrote goes through as raw JSON.

use std::ops::Range;

use super::command::{Change, Chat, Metadata};
use super::event::{write_field, write_instant, write_key, write_string, write_text};

/// What the server adds to a chat message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// The message's id.
    pub id: &'a str,
    /// In whose role it is said: `user` unless the sender may produce streams.
    pub role: &'a str,
    /// The chat session.
    pub session_id: &'a str,
    /// The authenticated sender.
    pub user_id: &'a str,
    /// When it was said.
    pub unix_ms: u64,
}

/// Appends the payload of a `chat_message`. Returns where in `out` the metadata lies, which is all that the
/// client wrote beyond content, role and attachments.
pub fn write_chat_message(said: &Said<'_>, chat: &Chat<'_>, out: &mut Vec<u8>) -> Range<usize> {
    let write_content = |out: &mut Vec<u8>| {
        write_key("content", out);
        out.extend_from_slice(chat.content.as_bytes());
    };
    out.extend_from_slice(b"{\"message\":{\"id\":");
    write_string(said.id, out);
    write_field("role", said.role, out);
    write_content(out);
    write_field("session_id", said.session_id, out);
    write_field("user_id", said.user_id, out);
    write_key("timestamp", out);
    write_instant(said.unix_ms, out);
    if let Some(attachments) = chat.attachments {
        write_key("attachments", out);
        out.extend_from_slice(attachments.as_bytes());
    }
    let metadata = out.len();
    write_metadata(&chat.metadata, out);
    let metadata = metadata..out.len();
    out.push(b'}');
    // The fields again beside the message: the older hooks read them there.
    write_field("session_id", said.session_id, out);
    write_content(out);
    write_field("role", said.role, out);
    out.push(b'}');
    metadata
}

fn write_metadata(metadata: &Metadata<'_>, out: &mut Vec<u8>) {
    let mut members = metadata.members().peekable();
    if members.peek().is_none() {
        return;
    }
    write_key("metadata", out);
    let mut before = b'{';
    for (name, value) in members {
        out.push(before);
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
        before = b',';
    }
    out.push(b'}');
}

/// Appends the payload of a `trip_update_broadcast`.
pub fn write_trip_update(trip_id: &str, updated_by: &str, changes: &[Change<'_>], out: &mut Vec<u8>) {
    write_text(b"{\"trip_id\":\"", trip_id, "", out);
    write_text(b",\"updated_by\":\"", updated_by, "", out);
    out.extend_from_slice(b",\"update_type\":\"field_change\",\"changes\":{");
    for (index, change) in changes.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(change.field.as_bytes());
        out.extend_from_slice(b":{\"new_value\":");
        out.extend_from_slice(change.value.as_bytes());
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests;
