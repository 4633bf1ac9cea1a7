//! Bodies that are asked with and answered over HTTP.
#![expect(dead_code, reason = "the types describe bodies; none is ever made of them")]

use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use waystation::code::ErrorCode;
use waystation::limits::{
    ADMIN_BATCH_MAX, ADMIN_LIST_MAX, ADMIN_MEMBERS_MAX, CHANNEL_NAME_BYTES_MAX, EVENT_TYPE_BYTES_MAX,
    OPERATION_ID_BYTES_MAX, SEQ_MAX, USER_ID_BYTES_MAX,
};

/// An event to be published.
#[derive(JsonSchema)]
pub(super) struct Publish {
    #[schemars(length(min = 1, max = CHANNEL_NAME_BYTES_MAX))]
    channel: String,
    #[schemars(flatten)]
    event: Event,
}

/// What is said of an event wherever it goes.
#[derive(JsonSchema)]
struct Event {
    #[schemars(rename = "type", length(min = 1, max = EVENT_TYPE_BYTES_MAX))]
    kind: String,
    payload: Map<String, Value>,
    /// The operation's id: the same again is answered as the first.
    #[schemars(length(min = 1, max = OPERATION_ID_BYTES_MAX))]
    id: Option<String>,
    /// A connection that does not get it.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{32}$"))]
    exclude: Option<String>,
    /// For events without a number: the lane.
    #[schemars(extend("enum" = [json!(1), json!(2), json!(3), json!("critical"), json!("high"), json!("normal"), json!("medium"), json!("low")]))]
    priority: Option<Value>,
    /// W3C Trace Context.
    traceparent: Option<String>,
    /// Changes nothing: an answer comes in any case.
    ack: Option<bool>,
}

#[derive(JsonSchema)]
pub(super) struct Broadcast {
    #[schemars(length(min = 1, max = ADMIN_BATCH_MAX))]
    channels: Vec<String>,
    #[schemars(flatten)]
    event: Event,
}

#[derive(JsonSchema)]
pub(super) struct Batch {
    #[schemars(length(min = 1, max = ADMIN_BATCH_MAX))]
    messages: Vec<Publish>,
}

/// Where an event stands; without epoch and seq where it went to connections.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Published {
    channel: String,
    #[schemars(regex(pattern = "^[0-9a-f]{16}$"))]
    epoch: Option<String>,
    #[schemars(range(min = 1, max = SEQ_MAX))]
    seq: Option<u64>,
    id: Option<String>,
    /// It was sequenced before.
    duplicate: Option<bool>,
}

/// What became of each message, in their order.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Results {
    results: Vec<Outcome>,
}

/// Where a message's event stands, or why it was refused.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Outcome {
    status: u16,
    channel: Option<String>,
    #[schemars(regex(pattern = "^[0-9a-f]{16}$"))]
    epoch: Option<String>,
    #[schemars(range(min = 1, max = SEQ_MAX))]
    seq: Option<u64>,
    id: Option<String>,
    duplicate: Option<bool>,
    #[schemars(extend("enum" = codes()))]
    code: Option<String>,
    message: Option<String>,
    retryable: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct History {
    channel: String,
    #[schemars(regex(pattern = "^[0-9a-f]{16}$"))]
    epoch: Option<String>,
    /// The channel's last event; none of these where the channel is not known.
    seq: Option<u64>,
    /// The oldest that is retained.
    oldest_seq: Option<u64>,
    /// Whether the bounds left something out.
    more: bool,
    /// What cannot be read.
    lost: Option<Vec<Stretch>>,
    /// As members get them.
    events: Vec<Map<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Stretch {
    from_seq: u64,
    to_seq: u64,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Erased {
    channel: String,
    #[schemars(extend("const" = true))]
    erased: bool,
}

/// What a user had left, beside its own channels.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ErasedUser {
    user_id: String,
    /// False where something cannot be read that may be the user's.
    erased: bool,
    /// The user's own, which are erased whole.
    channels: Vec<String>,
    events: u64,
    operations: u64,
    cursors: u64,
    /// In so many places.
    unreadable: Option<u64>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Presence {
    channel: String,
    /// Of all.
    count: u64,
    #[schemars(length(max = ADMIN_MEMBERS_MAX))]
    members: Vec<Member>,
    truncated: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Member {
    user_id: String,
    connection_id: String,
}

/// Either a user's connections or one.
#[derive(JsonSchema)]
pub(super) struct Disconnect {
    #[schemars(length(min = 1, max = USER_ID_BYTES_MAX))]
    user_id: Option<String>,
    connection_id: Option<String>,
    /// 1000, 1001, 1008, 1011, 1012, 1013 or 3000 to 4999.
    code: Option<u16>,
}

/// Either a user's connections or one.
#[derive(JsonSchema)]
pub(super) struct Unsubscribe {
    #[schemars(length(min = 1, max = USER_ID_BYTES_MAX))]
    user_id: Option<String>,
    connection_id: Option<String>,
    #[schemars(length(min = 1, max = ADMIN_BATCH_MAX))]
    channels: Vec<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Disconnected {
    disconnected: u64,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Unsubscribed {
    unsubscribed: u64,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Connections {
    #[schemars(length(max = ADMIN_LIST_MAX))]
    connections: Vec<Connection>,
    total_count: u64,
    /// Where the next page begins, if there is one.
    next_cursor: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Connection {
    connection_id: String,
    connected_at: String,
    last_heartbeat: String,
    client_ip: String,
    status: String,
    state: String,
    quality: String,
    subscribed_channels: Vec<String>,
    round_trip_ms: Option<u16>,
    user_id: Option<String>,
    session_id: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Closed {
    message: String,
    connection_id: String,
}

/// Names of the seeds' servers.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Health {
    status: String,
    websocket_manager_running: bool,
    connection_stats: Counts,
    timestamp: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Counts {
    total_connections: u64,
    unique_users: Option<u64>,
    active_sessions: Option<u64>,
    subscribed_channels: Option<u64>,
    health_distribution: Option<Map<String, Value>>,
}

/// Names of the seeds' servers.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Numbers {
    connections: Map<String, Value>,
    messages: Map<String, Value>,
    active_connections: u64,
    connections_by_status: Map<String, Value>,
    total_messages_sent: u64,
    total_messages_received: u64,
    total_bytes_sent: u64,
    total_bytes_received: u64,
    message_queue_size: u64,
    average_bytes_per_connection: u64,
    average_messages_per_connection: u64,
    rate_limit_hits: u64,
    backpressure_events: u64,
    avg_latency_ms: f64,
    p95_latency_ms: f64,
    p99_latency_ms: f64,
    timestamp: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Status {
    status: String,
    /// Shards that have not turned lately.
    silent: Option<Vec<u16>>,
    shards: Option<u16>,
}

/// A refusal, by RFC 9457.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Problem {
    #[schemars(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: String,
    #[schemars(extend("enum" = codes()))]
    code: Option<String>,
    retryable: Option<bool>,
}

fn codes() -> Vec<&'static str> {
    ErrorCode::ALL.iter().map(|code| code.name()).collect()
}
