//! The types of messages that clients send: one row for each, with its other names.
//!
//! A row says what is asked for, what it costs and where its body may stand. Which verb it needs is for
//! `session::duty` to say, because verbs belong to a higher floor. The rows stand in the order in which they
//! are looked for, the frequent ones first.

use crate::metrics::Metric;

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
    /// Where it is counted.
    pub received: Metric,
}

const fn row(ask: Ask, received: Metric, name: &'static str, aliases: &'static [&'static str]) -> Row {
    let cost = match ask {
        Ask::Heartbeat | Ask::Ping | Ask::Pong | Ask::Ack | Ask::Response => Cost::Free,
        Ask::Batch => Cost::PerTen,
        _ => Cost::One,
    };
    let form = if matches!(ask, Ask::Publish | Ask::Batch) { Form::Wrapped } else { Form::Any };
    Row { name, aliases, ask, cost, form, received }
}

/// Every type of message that this server knows.
pub const ROWS: &[Row] = &[
    row(Ask::Chat, Metric::ReceivedChatMessage, "chat_message", &["user_message"]),
    row(Ask::Publish, Metric::ReceivedPublish, "publish", &[]),
    row(Ask::TripUpdate, Metric::ReceivedTripUpdate, "trip_update", &[]),
    row(Ask::Heartbeat, Metric::ReceivedHeartbeat, "heartbeat", &["connection_heartbeat"]),
    row(Ask::Ping, Metric::ReceivedPing, "ping", &[]),
    row(Ask::Pong, Metric::ReceivedPong, "pong", &[]),
    row(Ask::Auth, Metric::ReceivedAuth, "auth", &["authentication", "authenticate"]),
    row(Ask::Ack, Metric::ReceivedAck, "ack", &[]),
    row(Ask::Batch, Metric::ReceivedBatch, "batch", &[]),
    row(Ask::Cursor, Metric::ReceivedCursorUpdate, "cursor_update", &[]),
    row(Ask::Typing, Metric::ReceivedChatTypingStart, "chat_typing_start", &["user_typing", "typing", "typing_start"]),
    row(Ask::TypingStop, Metric::ReceivedChatTypingStop, "chat_typing_stop", &["user_stop_typing", "typing_stop"]),
    row(Ask::Report, Metric::ReceivedAgentStatusUpdate, "agent_status_update", &["status_update"]),
    row(Ask::Report, Metric::ReceivedAgentTaskStart, "agent_task_start", &["task_start"]),
    row(Ask::Report, Metric::ReceivedAgentTaskProgress, "agent_task_progress", &["task_progress"]),
    row(Ask::Report, Metric::ReceivedAgentTaskComplete, "agent_task_complete", &["task_complete"]),
    row(Ask::Report, Metric::ReceivedAgentError, "agent_error", &[]),
    row(Ask::Report, Metric::ReceivedToolCallStart, "tool_call_start", &[]),
    row(Ask::Report, Metric::ReceivedToolCallProgress, "tool_call_progress", &[]),
    row(Ask::Report, Metric::ReceivedToolCallComplete, "tool_call_complete", &[]),
    row(Ask::Report, Metric::ReceivedToolCallError, "tool_call_error", &[]),
    row(Ask::Subscribe, Metric::ReceivedSubscribe, "subscribe", &[]),
    row(Ask::Unsubscribe, Metric::ReceivedUnsubscribe, "unsubscribe", &[]),
    row(Ask::Request, Metric::ReceivedRequest, "request", &[]),
    row(Ask::Response, Metric::ReceivedResponse, "response", &[]),
    row(Ask::Register, Metric::ReceivedRegister, "register", &[]),
    row(Ask::Cancel, Metric::ReceivedCancel, "cancel", &[]),
    row(Ask::Call, Metric::ReceivedStartAgent, "start_agent", &[]),
    row(Ask::Call, Metric::ReceivedStopAgent, "stop_agent", &[]),
    row(Ask::Call, Metric::ReceivedResourceUsage, "resource_usage", &[]),
    row(Ask::Relay, Metric::ReceivedTripFieldEditingStart, "trip_field_editing_start", &["field_editing_start"]),
    row(Ask::Relay, Metric::ReceivedTripFieldEditingStop, "trip_field_editing_stop", &["field_editing_stop"]),
    row(Ask::Relay, Metric::ReceivedTripCollaborationJoin, "trip_collaboration_join", &["collaboration_join"]),
    row(Ask::Relay, Metric::ReceivedTripCollaborationLeave, "trip_collaboration_leave", &["collaboration_leave"]),
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
            assert_eq!(row.received.describe().label_value(), row.name, "it is counted under its first name");
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
