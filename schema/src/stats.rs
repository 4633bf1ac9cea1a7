//! What the gateway says of itself in `system:stats`: the payload of `system_stats`.
//!
//! The server writes it from types of its own (`admin/stats/sample`), which no other message shares; that both say the
//! same is held by a sample with every field in `tests/vectors/stats.json` and by samples of the running server.
#![expect(dead_code, reason = "the types describe a payload; none is ever made of them")]

use schemars::JsonSchema;
use waystation::limits::{
    BUSY_CHANNELS_TOLD, FINDINGS_TOLD_MAX, MATRIX_SHARDS_MAX, REASONS_TOLD_MAX, SHARDS_COUNT_MAX,
};

/// One sample. Rates are for a second, over the interval. What is not known is absent.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct SystemStats {
    /// When it was taken, in milliseconds of Unix time.
    at_ms: u64,
    /// Since the sample before.
    interval_ms: u64,
    version: String,
    uptime_s: u64,
    #[schemars(extend("enum" = ["serving", "draining"]))]
    state: String,
    totals: Totals,
    /// From an event's sequencing to the end of the turn that wrote it, for each member.
    delivery: Latency,
    /// From accept to the switch of protocols.
    handshake: Latency,
    #[schemars(length(min = 1, max = SHARDS_COUNT_MAX))]
    shards: Vec<Shard>,
    mesh: Mesh,
    slow: Slow,
    /// What becomes of durable channels; absent without a store.
    store: Option<Store>,
    /// The most frequent first; none that never happened.
    #[schemars(length(max = REASONS_TOLD_MAX))]
    refusals: Vec<Refusal>,
    /// By the code of the close frame; none that never happened.
    closes: Vec<Close>,
    /// The busiest by deliveries a second; absent while nobody watches.
    #[schemars(length(max = BUSY_CHANNELS_TOLD))]
    top_channels: Option<Vec<Channel>>,
    /// What the doctor found at the start.
    #[schemars(length(max = FINDINGS_TOLD_MAX))]
    findings: Vec<Finding>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Totals {
    connections: u64,
    sockets: u64,
    channels: u64,
    memberships: u64,
    /// Messages since the start.
    received: u64,
    /// Messages since the start.
    sent: u64,
    received_per_s: Rate,
    sent_per_s: Rate,
    received_bytes_per_s: Rate,
    sent_bytes_per_s: Rate,
    history_bytes: u64,
    rss_bytes: Option<Rate>,
    cpu_cores: Option<Rate>,
}

/// Of the interval, in microseconds: no less than they were, and at most a quarter more. Without observations there are
/// none.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Latency {
    count: u64,
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p99_us: Option<u64>,
    p999_us: Option<u64>,
    max_us: Option<u64>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Shard {
    /// The processor that it is pinned to, if it is.
    cpu: Option<u64>,
    connections: u64,
    channels: u64,
    received_per_s: Rate,
    sent_per_s: Rate,
    /// The part of the interval that its turns took.
    #[schemars(range(min = 0.0, max = 1.0))]
    busy: f64,
    turn_max_us: Option<u64>,
    parks_per_s: Rate,
    history_bytes: u64,
    owed_bytes: u64,
    answering: bool,
}

/// Between every two shards: a row for each that puts, in it a number for each that takes. Absent if there are very many.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Mesh {
    #[schemars(length(min = 1, max = MATRIX_SHARDS_MAX))]
    messages_per_s: Option<Vec<Vec<Rate>>>,
    #[schemars(length(min = 1, max = MATRIX_SHARDS_MAX))]
    depth: Option<Vec<Vec<u64>>>,
    full_per_s: Rate,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Slow {
    gaps_per_s: Rate,
    /// Connections whose socket takes nothing now.
    paused: u64,
    /// Since the start, for not reading.
    closed: u64,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Store {
    /// Whether nothing can be written: durable channels refuse what is new.
    trouble: bool,
    /// Writes that wait for their commit.
    queue: u64,
    /// Of the interval, with its fdatasync; absent if there was no commit.
    commit_p99_ms: Option<Rate>,
    disk_bytes: u64,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Refusal {
    reason: String,
    #[schemars(range(min = 1))]
    total: u64,
    per_s: Rate,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Close {
    /// 1005 without a code, 1006 without a frame.
    #[schemars(range(min = 1000, max = 4999))]
    code: u16,
    #[schemars(range(min = 1))]
    total: u64,
    per_s: Rate,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Channel {
    channel: String,
    members: u64,
    /// Deliveries.
    per_s: u64,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Finding {
    id: String,
    #[schemars(extend("enum" = ["error", "warning", "note"]))]
    severity: String,
    title: String,
    remedy: String,
}

/// A number that is not negative.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Rate(#[schemars(range(min = 0.0))] f64);
