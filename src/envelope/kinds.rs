//! The types of messages that clients send: one row for each, with its other names.
//!
//! A row says what is asked for, what it costs and where its body may stand. Which verb it needs is for
//! `session::duty` to say, because verbs belong to a higher floor. The rows stand in the order in which they
//! are looked for, the frequent ones first.

/// What a message from a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Authentication or its refresh.
    Auth,
    /// Join channels, and leave others.
    Subscribe,
    /// Leave channels.
    Unsubscribe,
    /// A chat message.
    Chat,
    /// Fields of a trip.
    TripUpdate,
    /// Any event.
    Publish,
    /// Somebody writes, or has stopped; the body may say which of the two.
    Typing,
    /// Somebody has stopped writing.
    TypingStop,
    /// Where somebody's cursor is.
    Cursor,
    /// What the others in a trip are told as it is.
    Relay,
    /// What an agent is doing.
    Report,
    /// An answer from the gateway or from a service.
    Request,
    /// The same under a name of its own, where nobody may be there to answer.
    Call,
    /// An answer to such a request.
    Response,
    /// Offers to answer requests.
    Register,
    /// Takes a request back.
    Cancel,
    /// Says how far a channel was read.
    Ack,
    /// Several messages at once.
    Batch,
    /// Asks for a `connection_heartbeat`.
    Heartbeat,
    /// Asks for a `pong`.
    Ping,
    /// Only a sign of life.
    Pong,
}

/// What a message takes from its sender's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nothing: it keeps the connection alive, or lets the server forget.
    Free,
    /// One token.
    One,
    /// One token for ten messages that it holds, begun ones included.
    PerTen,
}

/// Where the body of a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Under `payload`, under `data`, or beside the envelope's own fields.
    Any,
    /// Under `payload` or `data`: it has fields of the envelope's names.
    Wrapped,
}

/// One type of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its first name, under which others hear of it if they do.
    pub name: &'static str,
    /// Its other names.
    pub aliases: &'static [&'static str],
    /// What it asks for.
    pub ask: Ask,
    /// What it costs.
    pub cost: Cost,
    /// Where its body stands.
    pub form: Form,
}

const fn row(ask: Ask, name: &'static str, aliases: &'static [&'static str]) -> Row {
    let cost = match ask {
        Ask::Heartbeat | Ask::Ping | Ask::Pong | Ask::Ack | Ask::Response => Cost::Free,
        Ask::Batch => Cost::PerTen,
        _ => Cost::One,
    };
    let form = if matches!(ask, Ask::Publish | Ask::Batch) { Form::Wrapped } else { Form::Any };
    Row { name, aliases, ask, cost, form }
}

/// Every type of message that this server knows.
pub const ROWS: &[Row] = &[
    row(Ask::Chat, "chat_message", &["user_message"]),
    row(Ask::Publish, "publish", &[]),
    row(Ask::TripUpdate, "trip_update", &[]),
    row(Ask::Heartbeat, "heartbeat", &["connection_heartbeat"]),
    row(Ask::Ping, "ping", &[]),
    row(Ask::Pong, "pong", &[]),
    row(Ask::Auth, "auth", &["authentication", "authenticate"]),
    row(Ask::Ack, "ack", &[]),
    row(Ask::Batch, "batch", &[]),
    row(Ask::Cursor, "cursor_update", &[]),
    row(Ask::Typing, "chat_typing_start", &["user_typing", "typing", "typing_start"]),
    row(Ask::TypingStop, "chat_typing_stop", &["user_stop_typing", "typing_stop"]),
    row(Ask::Report, "agent_status_update", &["status_update"]),
    row(Ask::Report, "agent_task_start", &["task_start"]),
    row(Ask::Report, "agent_task_progress", &["task_progress"]),
    row(Ask::Report, "agent_task_complete", &["task_complete"]),
    row(Ask::Report, "agent_error", &[]),
    row(Ask::Report, "tool_call_start", &[]),
    row(Ask::Report, "tool_call_progress", &[]),
    row(Ask::Report, "tool_call_complete", &[]),
    row(Ask::Report, "tool_call_error", &[]),
    row(Ask::Subscribe, "subscribe", &[]),
    row(Ask::Unsubscribe, "unsubscribe", &[]),
    row(Ask::Request, "request", &[]),
    row(Ask::Response, "response", &[]),
    row(Ask::Register, "register", &[]),
    row(Ask::Cancel, "cancel", &[]),
    row(Ask::Call, "start_agent", &[]),
    row(Ask::Call, "stop_agent", &[]),
    row(Ask::Call, "resource_usage", &[]),
    row(Ask::Relay, "trip_field_editing_start", &["field_editing_start"]),
    row(Ask::Relay, "trip_field_editing_stop", &["field_editing_stop"]),
    row(Ask::Relay, "trip_collaboration_join", &["collaboration_join"]),
    row(Ask::Relay, "trip_collaboration_leave", &["collaboration_leave"]),
];

/// The row of a message type; `None` if this server does not know it.
#[must_use]
pub fn find(kind: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == kind || row.aliases.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::EVENT_TYPE_BYTES_MAX;
    use std::collections::HashSet;

    #[test]
    fn every_name_stands_once_and_is_found() {
        let mut seen = HashSet::new();
        for row in ROWS {
            for name in std::iter::once(&row.name).chain(row.aliases) {
                assert!(seen.insert(*name) && name.len() <= EVENT_TYPE_BYTES_MAX, "{name}");
                assert_eq!(find(name), Some(row));
            }
        }
        for name in ["", "Auth", "chat", "stream_start", "publish "] {
            assert_eq!(find(name), None, "{name}");
        }
    }

    #[test]
    fn what_costs_nothing_and_what_is_never_flat() {
        let named = |chosen: fn(&Row) -> bool| -> Vec<&str> {
            ROWS.iter().filter(|row| chosen(row)).map(|row| row.name).collect()
        };
        assert_eq!(named(|row| row.cost == Cost::Free), ["heartbeat", "ping", "pong", "ack", "response"]);
        assert_eq!(named(|row| row.cost == Cost::PerTen), ["batch"]);
        assert_eq!(named(|row| row.form == Form::Wrapped), ["publish", "batch"]);
    }
}
