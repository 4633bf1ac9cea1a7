//! Health, numbers and connections in the field names of the seeds' servers.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use glommio::sync::Semaphore;
use serde_json::{Value, json};

use super::api::{self, NO_CONNECTION, json_response};
use super::asking::Asker;
use super::clock::unix_ms;
use super::refusal::Refusal;
use crate::code::{CloseCode, ErrorCode};
use crate::ids::{ConnectionName, ShardId};
use crate::limits::{ADMIN_LIST_DEFAULT, ADMIN_LIST_MAX, ADMIN_LIST_PORTION, ADMIN_TALLY_MS};
use crate::metrics::{Histogram, Metric, Metrics, Timing};
use crate::session::liveness::Quality;
use crate::shard::message::outside::{Act, Ask, Reply, Row, Whose};
use crate::time::rfc3339;
use crate::wire::http::{Response, query_value};

/// Every shard's numbers.
type All = [Arc<Metrics>];

/// How many users, sessions and channels there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    users: usize,
    sessions: usize,
    channels: u64,
    qualities: [u64; Quality::ALL.len()],
    queued: u64,
}

/// The latest count, which serves all who ask for a while.
#[derive(Debug)]
pub(super) struct Tally {
    latest: RefCell<Option<(u64, Counts)>>,
    /// One counts, the others wait for it.
    counting: Semaphore,
}

impl Default for Tally {
    fn default() -> Self {
        Self { latest: RefCell::default(), counting: Semaphore::new(1) }
    }
}

impl Tally {
    async fn counts(&self, asker: &Asker) -> Result<Counts, ErrorCode> {
        let _permit = self.counting.acquire_permit(1).await.map_err(|_| ErrorCode::Overloaded)?;
        if let Some((at, counts)) = *self.latest.borrow()
            && unix_ms().saturating_sub(at) < ADMIN_TALLY_MS
        {
            return Ok(counts);
        }
        let (mut users, mut sessions) = (HashSet::new(), HashSet::new());
        let (mut channels, mut queued, mut qualities) = (0, 0, [0; Quality::ALL.len()]);
        let mut open: Vec<(ShardId, u32)> = asker.shards().map(|shard| (shard, 0)).collect();
        while !open.is_empty() {
            let questions = open.iter().map(|(shard, from)| (*shard, Ask::Tally { from: *from }));
            let outcomes = asker.ask(questions.collect()).await;
            let mut left = Vec::new();
            for ((shard, _), outcome) in open.into_iter().zip(outcomes) {
                let Reply::Tally(tally, next) = outcome? else { continue };
                users.extend(tally.users);
                sessions.extend(tally.sessions);
                channels += tally.channels;
                queued += tally.queued;
                qualities.iter_mut().zip(tally.qualities).for_each(|(all, more)| *all += more);
                left.extend(next.map(|next| (shard, next)));
            }
            open = left;
        }
        let counts = Counts { users: users.len(), sessions: sessions.len(), channels, qualities, queued };
        *self.latest.borrow_mut() = Some((unix_ms(), counts));
        Ok(counts)
    }
}

fn instant(unix_ms: u64) -> String {
    String::from_utf8_lossy(&rfc3339(unix_ms)).into_owned()
}

fn sum(all: &All, metric: Metric) -> u64 {
    all.iter().map(|metrics| metrics.read(metric)).sum()
}

/// `GET /api/ws/health`. Shards that do not answer are not well.
///
/// # Cancel safety
/// Nothing is changed, here and below but for [`disconnect`].
pub(super) async fn health(asker: &Asker, tally: &Tally, all: &All) -> Response {
    let counts = tally.counts(asker).await;
    let draining = sum(all, Metric::Draining) > 0;
    let status = match counts {
        Err(_) => "unhealthy",
        Ok(_) if draining => "draining",
        Ok(_) => "healthy",
    };
    let mut stats = json!({ "total_connections": sum(all, Metric::Connections) });
    if let Ok(counts) = counts {
        stats["unique_users"] = json!(counts.users);
        stats["active_sessions"] = json!(counts.sessions);
        stats["subscribed_channels"] = json!(counts.channels);
        let qualities = Quality::ALL.map(Quality::name).into_iter().zip(counts.qualities);
        stats["health_distribution"] = qualities.map(|(name, count)| (name.to_owned(), json!(count))).collect();
    }
    let answer = json!({
        "status": status,
        "websocket_manager_running": counts.is_ok(),
        "connection_stats": stats,
        "timestamp": instant(unix_ms()),
    });
    Response::json(if counts.is_ok() { 200 } else { 503 }, answer.to_string())
}

/// `GET /api/ws/metrics`.
pub(super) async fn numbers(asker: &Asker, tally: &Tally, all: &All) -> Result<Response, Refusal> {
    let counts = tally.counts(asker).await?;
    let total = |metric| sum(all, metric);
    let connections = total(Metric::Connections);
    let (sent, bytes) = (total(Metric::Delivered), total(Metric::BytesOut));
    let each = |number: u64| number.checked_div(total(Metric::Upgraded)).unwrap_or(0);
    let latency = Latency::of(all, Timing::Delivery);
    Ok(json_response(&json!({
        "connections": { "total": connections, "users": counts.users, "sessions": counts.sessions },
        "messages": {
            "sent": sent,
            "received": total(Metric::MessagesIn),
            "queued": counts.queued,
            "queued_bytes": total(Metric::OutboxBytes),
        },
        "active_connections": connections,
        "connections_by_status": { "connected": connections },
        "total_messages_sent": sent,
        "total_messages_received": total(Metric::MessagesIn),
        "total_bytes_sent": bytes,
        "total_bytes_received": total(Metric::BytesIn),
        "message_queue_size": counts.queued,
        "average_bytes_per_connection": each(bytes),
        "average_messages_per_connection": each(sent),
        "rate_limit_hits": total(Metric::RefusedRate),
        "backpressure_events": total(Metric::Gaps) + total(Metric::OutboxDropped) + total(Metric::ClosedSlow),
        "avg_latency_ms": latency.average,
        "p95_latency_ms": latency.p95,
        "p99_latency_ms": latency.p99,
        "timestamp": instant(unix_ms()),
    })))
}

/// Times in milliseconds since the start.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Latency {
    average: f64,
    p95: f64,
    p99: f64,
}

impl Latency {
    fn of(all: &All, timing: Timing) -> Self {
        let (mut counts, mut sum) = (vec![0; Histogram::BUCKETS], 0);
        for histogram in all.iter().map(|metrics| metrics.timing(timing)) {
            counts.iter_mut().zip(histogram.counts()).for_each(|(all, one)| *all += one);
            sum += histogram.sum();
        }
        let count: u64 = counts.iter().sum();
        let quantile = |per_cent: u64| {
            let mut before = 0;
            let reached = counts.iter().position(|more| {
                before += more;
                before * 100 >= per_cent * count
            });
            if count == 0 { 0.0 } else { millis(reached.map_or(0, Histogram::upper_bound)) }
        };
        Self { average: millis(sum.checked_div(count).unwrap_or(0)), p95: quantile(95), p99: quantile(99) }
    }
}

fn millis(micros: u64) -> f64 {
    f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0
}

/// `GET /api/ws/connections`: a page, and where the next one begins.
pub(super) async fn connections(asker: &Asker, query: &str, all: &All) -> Result<Response, Refusal> {
    let (limit, (mut shard, mut from)) = page(query)?;
    let count = u16::try_from(asker.shards().count()).unwrap_or(u16::MAX);
    let mut rows: Vec<Value> = Vec::new();
    while shard < count && rows.len() < limit {
        let ask = Ask::Connections { from, limit: ADMIN_LIST_PORTION.min(limit - rows.len()) };
        let Reply::Connections { rows: more, next } = asker.ask_one(ShardId(shard), ask).await? else {
            return Err(Refusal::from(ErrorCode::ServerError));
        };
        rows.extend(more.iter().map(described));
        (shard, from) = next.map_or((shard + 1, 0), |next| (shard, next));
    }
    let mut answer = json!({ "connections": rows, "total_count": sum(all, Metric::Connections) });
    if shard < count {
        answer["next_cursor"] = json!(format!("{shard}-{from}"));
    }
    Ok(json_response(&answer))
}

/// How many connections a listing wants, and where it begins.
fn page(query: &str) -> Result<(usize, (u16, u32)), Refusal> {
    let limit = match query_value(query, "limit")?.map(|text| text.parse::<usize>()) {
        None => ADMIN_LIST_DEFAULT,
        Some(Ok(limit)) if limit > 0 => limit.min(ADMIN_LIST_MAX),
        Some(_) => return Err(Refusal::malformed("limit must be a whole number above 0")),
    };
    let begin = match query_value(query, "cursor")? {
        None => (0, 0),
        Some(text) => cursor(&text).ok_or(Refusal::malformed("cursor must be the next_cursor of a page before"))?,
    };
    Ok((limit, begin))
}

fn cursor(text: &str) -> Option<(u16, u32)> {
    let (shard, from) = text.split_once('-')?;
    Some((shard.parse().ok()?, from.parse().ok()?))
}

fn described(row: &Row) -> Value {
    let channels: Vec<&str> = row.channels.iter().map(|name| &**name).collect();
    let mut described = json!({
        "connection_id": row.name.to_string(),
        "connected_at": instant(row.connected_ms),
        "last_heartbeat": instant(row.heard_ms),
        "client_ip": row.peer.to_string(),
        "status": row.state,
        "state": row.state,
        "quality": row.quality,
        "subscribed_channels": channels,
    });
    if let Some(ms) = row.round_trip_ms {
        described["round_trip_ms"] = json!(ms);
    }
    if let Some(user) = &row.user {
        described["user_id"] = json!(&**user);
    }
    if let Some(session) = row.own.as_deref().and_then(|own| own.strip_prefix("chat:")) {
        described["session_id"] = json!(session);
    }
    described
}

/// `DELETE /api/ws/connections/{id}`.
///
/// # Cancel safety
/// The connection may be closed all the same.
pub(super) async fn disconnect(asker: &Asker, written: &str) -> Result<Response, Refusal> {
    let name = ConnectionName::parse(written).ok_or(NO_CONNECTION)?;
    let count = api::sweep(asker, &Whose::Connection(name), &Act::Close(CloseCode::RESTART)).await?;
    if count == 0 {
        return Err(NO_CONNECTION);
    }
    let message = format!("Connection {written} disconnected successfully");
    Ok(json_response(&json!({ "message": message, "connection_id": written })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_long_as_it_may_be_and_begins_where_the_last_ended() {
        for (query, expected) in [
            ("", Some((ADMIN_LIST_DEFAULT, (0, 0)))),
            ("limit=1&cursor=3-77", Some((1, (3, 77)))),
            (&*format!("limit={}", ADMIN_LIST_MAX - 1), Some((ADMIN_LIST_MAX - 1, (0, 0)))),
            (&*format!("limit={ADMIN_LIST_MAX}"), Some((ADMIN_LIST_MAX, (0, 0)))),
            (&*format!("limit={}", ADMIN_LIST_MAX + 1), Some((ADMIN_LIST_MAX, (0, 0)))),
            ("limit=0", None),
            ("limit=-1", None),
            ("cursor=3", None),
            ("cursor=x-1", None),
            ("cursor=1-", None),
        ] {
            assert_eq!(page(query).ok(), expected, "{query}");
        }
    }

    #[test]
    fn latencies_are_those_of_all_shards() {
        let all = [Metrics::shared(), Metrics::shared()];
        assert_eq!(Latency::of(&all, Timing::Delivery), Latency { average: 0.0, p95: 0.0, p99: 0.0 });
        (0..98).for_each(|_| all[0].timing(Timing::Delivery).record(1000));
        (0..2).for_each(|_| all[1].timing(Timing::Delivery).record(100_000));
        let Latency { average, p95, p99 } = Latency::of(&all, Timing::Delivery);
        assert!((2.9..3.1).contains(&average) && (1.0..1.3).contains(&p95) && (100.0..130.0).contains(&p99));
    }
}
