//! One sample as it goes to who watches: the payload of a `system_stats` event.
//!
//! Rates are for a second, over the time since the sample before. A number that is not known is left out, never zero.

use serde::Serialize;

use super::reading::{OfShard, Reading};
use super::spread::Spread;
use super::{Known, answers};
use crate::limits::{BUSY_CHANNELS_TOLD, FINDINGS_TOLD_MAX, REASONS_TOLD_MAX};
use crate::metrics::{Metric, Timing};
use crate::shard::message::outside::Busiest;

/// What the doctor found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of its row.
    pub id: String,
    /// `error`, `warning` or `note`.
    pub severity: &'static str,
    /// What is the matter.
    pub title: String,
    /// What to do about it.
    pub remedy: String,
}

/// One sample.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample<'a> {
    at_ms: u64,
    interval_ms: u64,
    version: &'static str,
    uptime_s: u64,
    state: &'static str,
    totals: Totals,
    delivery: Latency,
    handshake: Latency,
    shards: Vec<Shard>,
    mesh: Mesh,
    slow: Slow,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<Store>,
    refusals: Vec<Refusal>,
    closes: Vec<Close>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_channels: Option<Vec<Channel<'a>>>,
    findings: &'a [Finding],
}

#[derive(Clone, Debug, Serialize)]
struct Totals {
    connections: u64,
    sockets: u64,
    channels: u64,
    memberships: u64,
    received: u64,
    sent: u64,
    received_per_s: f64,
    sent_per_s: f64,
    received_bytes_per_s: f64,
    sent_bytes_per_s: f64,
    history_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_bytes: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_cores: Option<f64>,
}

/// Times of one interval. Without observations there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Latency {
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p90_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p999_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_us: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct Shard {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<usize>,
    connections: u64,
    channels: u64,
    received_per_s: f64,
    sent_per_s: f64,
    busy: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_max_us: Option<u64>,
    parks_per_s: f64,
    history_bytes: u64,
    owed_bytes: u64,
    answering: bool,
}

/// Between every two shards, by the one that puts and then the one that takes; absent if there are very many.
#[derive(Clone, Debug, Serialize)]
struct Mesh {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages_per_s: Vec<Vec<f64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depth: Vec<Vec<u64>>,
    full_per_s: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Slow {
    gaps_per_s: f64,
    paused: u64,
    closed: u64,
}

/// What becomes of durable channels; absent without a store.
#[derive(Clone, Debug, Serialize)]
struct Store {
    trouble: bool,
    queue: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_p99_ms: Option<f64>,
    disk_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Refusal {
    reason: &'static str,
    total: u64,
    per_s: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Close {
    code: u16,
    total: u64,
    per_s: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Channel<'a> {
    channel: &'a str,
    members: u64,
    per_s: u64,
}

/// Two readings, the time between them, and the wall clock at the second.
struct Between<'a> {
    before: &'a Reading,
    after: &'a Reading,
    micros: u64,
}

impl<'a> Sample<'a> {
    /// What happened between two readings, and how it is at the second, at `unix_ms`.
    pub(super) fn between(
        (before, after): (&Reading, &Reading),
        unix_ms: u64,
        known: &'a Known,
        busiest: Option<&'a [Busiest]>,
    ) -> Self {
        let between = Between { before, after, micros: after.micros.saturating_sub(before.micros).max(1) };
        let draining = after.sum(Metric::Draining) > 0;
        let channel = |row: &'a Busiest| Channel { channel: &row.channel, members: row.members, per_s: row.per_s };
        Self {
            at_ms: unix_ms,
            interval_ms: between.micros / 1000,
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: after.micros / 1_000_000,
            state: if draining { "draining" } else { "serving" },
            totals: between.totals(),
            delivery: between.latency(Timing::Delivery),
            handshake: between.latency(Timing::Handshake),
            shards: between.shards(&known.cpus),
            mesh: between.mesh(),
            slow: Slow {
                gaps_per_s: between.rate(Metric::Gaps),
                paused: after.sum(Metric::Blocked),
                closed: after.sum(Metric::ClosedSlow),
            },
            store: between.store(),
            refusals: between.refusals(),
            closes: between.closes(),
            top_channels: busiest.map(|rows| rows.iter().take(BUSY_CHANNELS_TOLD).map(channel).collect()),
            findings: &known.findings[..known.findings.len().min(FINDINGS_TOLD_MAX)],
        }
    }

    /// As JSON.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Numbers, texts and lists of these: there is nothing that could not be written.
        serde_json::to_vec(self).unwrap_or_else(|_| b"{}".to_vec())
    }
}

impl Between<'_> {
    fn totals(&self) -> Totals {
        let now = |metric| self.after.sum(metric);
        let cpu = self.after.cpu_s.zip(self.before.cpu_s);
        Totals {
            connections: now(Metric::Connections),
            sockets: now(Metric::Sockets),
            channels: now(Metric::Channels),
            memberships: now(Metric::Memberships),
            received: now(Metric::MessagesIn),
            sent: now(Metric::Delivered),
            received_per_s: self.rate(Metric::MessagesIn),
            sent_per_s: self.rate(Metric::Delivered),
            received_bytes_per_s: self.rate(Metric::BytesIn),
            sent_bytes_per_s: self.rate(Metric::BytesOut),
            history_bytes: now(Metric::HistoryBytes),
            rss_bytes: self.after.rss_bytes,
            cpu_cores: cpu.map(|(after, before)| rounded((after - before) * 1e6 / float(self.micros), 1000.0)),
        }
    }

    /// Of all shards together.
    fn rate(&self, metric: Metric) -> f64 {
        self.per_s(self.after.sum(metric).saturating_sub(self.before.sum(metric)))
    }

    fn per_s(&self, count: u64) -> f64 {
        rounded(float(count) * 1e6 / float(self.micros), 10.0)
    }

    fn latency(&self, timing: Timing) -> Latency {
        Latency::of(&self.after.spread(timing).since(&self.before.spread(timing)))
    }

    fn shards(&self, cpus: &[Option<usize>]) -> Vec<Shard> {
        let pairs = self.before.shards.iter().zip(&self.after.shards).enumerate();
        pairs.map(|(index, pair)| self.shard(pair, cpus.get(index).copied().flatten())).collect()
    }

    fn shard(&self, (before, after): (&OfShard, &OfShard), cpu: Option<usize>) -> Shard {
        let rate = |metric| self.per_s(after.value(metric).saturating_sub(before.value(metric)));
        let turns = after.timing(Timing::Turn).since(before.timing(Timing::Turn));
        let busy = float(after.busy_micros.saturating_sub(before.busy_micros)) / float(self.micros);
        Shard {
            cpu,
            connections: after.value(Metric::Connections),
            channels: after.value(Metric::Channels),
            received_per_s: rate(Metric::MessagesIn),
            sent_per_s: rate(Metric::Delivered),
            busy: rounded(busy.min(1.0), 1000.0),
            turn_max_us: turns.quantile(1000),
            parks_per_s: rate(Metric::Parks),
            history_bytes: after.value(Metric::HistoryBytes),
            owed_bytes: after.value(Metric::OutboxBytes),
            answering: answers(after.value(Metric::TickedAt), self.after.micros),
        }
    }

    fn mesh(&self) -> Mesh {
        let rows = self.before.mesh.iter().zip(&self.after.mesh);
        let rate = |((before, _), (after, _)): (&(u64, u64), &(u64, u64))| self.per_s(after.saturating_sub(*before));
        Mesh {
            messages_per_s: rows.map(|(before, after)| before.iter().zip(after).map(rate).collect()).collect(),
            depth: self.after.mesh.iter().map(|row| row.iter().map(|(_, depth)| *depth).collect()).collect(),
            full_per_s: self.rate(Metric::MeshFull),
        }
    }

    fn store(&self) -> Option<Store> {
        let (before, after) = (self.before.store.as_ref()?, self.after.store.as_ref()?);
        let p99_us = after.commit.since(&before.commit).quantile(990);
        Some(Store {
            trouble: self.after.sum(Metric::StoreTrouble) > 0,
            queue: after.queue,
            commit_p99_ms: p99_us.map(|micros| rounded(float(micros) / 1000.0, 1000.0)),
            disk_bytes: after.disk_bytes,
        })
    }

    /// By the code of the close frame; what clients make up is not among them.
    fn closes(&self) -> Vec<Close> {
        let rows = Metric::ALL.iter().filter(|metric| metric.describe().family == "waystation_close_codes_total");
        let row = |&metric: &Metric| {
            let code = metric.describe().label_value().parse().ok()?;
            Some(Close { code, total: self.after.sum(metric), per_s: self.rate(metric) })
        };
        rows.filter_map(row).filter(|close| close.total > 0).collect()
    }

    fn refusals(&self) -> Vec<Refusal> {
        let rows = Metric::ALL.iter().filter(|metric| metric.describe().family == "waystation_refused_total");
        let row = |&metric: &Metric| Refusal {
            reason: metric.describe().label_value(),
            total: self.after.sum(metric),
            per_s: self.rate(metric),
        };
        let mut refusals: Vec<Refusal> = rows.map(row).filter(|refusal| refusal.total > 0).collect();
        refusals.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.reason.cmp(b.reason)));
        refusals.truncate(REASONS_TOLD_MAX);
        refusals
    }
}

impl Latency {
    fn of(spread: &Spread) -> Self {
        Self {
            count: spread.count(),
            p50_us: spread.quantile(500),
            p90_us: spread.quantile(900),
            p99_us: spread.quantile(990),
            p999_us: spread.quantile(999),
            max_us: spread.quantile(1000),
        }
    }
}

/// To so many parts of one.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// As JSON's readers count: above 2^53 the last digits are lost.
#[expect(clippy::cast_precision_loss, reason = "as the format has it")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
