//! The gateway's own channel, `system:stats`: its home publishes what the administration puts together of all shards'
//! numbers, and every shard says which of its channels are the busiest.
//!
//! Which these are is found by chance: of the deliveries every so-manieth is looked at, so that a channel is met as
//! often as it is busy, and a shard with a hundred thousand quiet ones goes through none of them. That is done only
//! while somebody watches. And whether every shard ticks, as each can tell by the others' numbers. Absent: what the numbers mean, and the clock by which they are taken.

use std::sync::Arc;

use super::Shard;
use super::effect::Effects;
use super::home::Proposal;
use super::message::outside::{Busiest, Reply};
use super::rooms::{Room, RoomId};
use crate::auth::is_system;
use crate::code::ErrorCode;
use crate::ids::{ConnId, Seq};
use crate::limits::{
    BUSY_CHANNELS_MAX, BUSY_CHANNELS_TOLD, BUSY_LOOKS, SAMPLES_BYTES_MAX, SAMPLES_KEPT, SHARD_SILENT_MS,
};
use crate::metrics::{Metric, Metrics};
use crate::room::history::Retention;
use crate::time::Now;
use crate::wire::http::Response;

/// Where the gateway tells its numbers.
pub const STATS_CHANNEL: &str = "system:stats";
/// The type of these events.
const STATS_KIND: &str = "system_stats";
/// Who sends them. Nobody else can send there, whatever the name.
const STATS_USER: &str = "waystation";

/// What is kept of them, but for their age.
pub(super) const SAMPLES: Retention = Retention { count: SAMPLES_KEPT, bytes: SAMPLES_BYTES_MAX, age_ms: u64::MAX };

/// The channels that were met most often lately.
#[derive(Debug, Default)]
pub(super) struct Busy {
    met: Vec<Met>,
    /// Deliveries until the next look.
    left: u64,
    /// Deliveries between two looks; 0 while nobody watches.
    every: u64,
    /// Deliveries that the shard had told when it was asked last.
    delivered: u64,
    /// Seconds after which nobody seems to watch any more.
    seconds: u8,
}

/// A channel that was met.
#[derive(Debug)]
struct Met {
    room: RoomId,
    /// Tells it from another that took its place in the table.
    name: Arc<str>,
    times: u64,
    /// The next event's position, and the time, when it was first met or last told of.
    since: (Seq, u64),
}

/// How long the shard looks after it was asked last.
const WATCHED_SECONDS: u8 = 3;

impl Busy {
    /// Members of a channel were visited, so many of them with something for them.
    pub(super) fn note(&mut self, deliveries: u64, now: Now, id: RoomId, room: &Room) {
        if self.every == 0 {
            return;
        }
        self.left = self.left.saturating_sub(deliveries);
        if self.left == 0 {
            self.left = self.every;
            self.meet(now, id, room);
        }
    }

    fn meet(&mut self, now: Now, id: RoomId, room: &Room) {
        if let Some(met) = self.met.iter_mut().find(|met| met.room == id && Arc::ptr_eq(&met.name, &room.name)) {
            met.times += 1;
            return;
        }
        if is_system(&room.name) {
            return;
        }
        // Its latest event is what it was met for.
        let since = (room.history.last(), now.micros);
        let met = Met { room: id, name: Arc::clone(&room.name), times: 1, since };
        if self.met.len() < BUSY_CHANNELS_MAX {
            self.met.push(met);
        } else if let Some(least) = self.met.iter_mut().min_by_key(|met| met.times) {
            *least = met;
        }
    }

    /// A second is over.
    pub(super) fn on_second(&mut self) {
        self.seconds = self.seconds.saturating_sub(1);
        if self.seconds == 0 && self.every > 0 {
            *self = Self::default();
        }
    }

    /// Channels in view.
    #[cfg(test)]
    pub(super) fn in_view(&self) -> usize {
        self.met.len()
    }

    /// Adapts to how busy the shard was since it was asked before: about as many looks whatever the traffic.
    fn pace(&mut self, delivered: u64) {
        let lately = delivered.saturating_sub(self.delivered);
        let first = self.every == 0;
        (self.delivered, self.seconds) = (delivered, WATCHED_SECONDS);
        self.every = if first { 1 } else { (lately / BUSY_LOOKS).max(1) };
        self.left = self.left.clamp(1, self.every);
    }
}

impl Shard {
    /// Whether every shard has turned lately, and which have not. This one does as it answers.
    pub(super) fn alive(&self, now: Now) -> Response {
        let ticked = |metrics: &Metrics| metrics.read(Metric::TickedAt);
        let silent = |metrics: &Metrics| now.micros.saturating_sub(ticked(metrics)) > SHARD_SILENT_MS * 1000;
        let others = self.peers.iter().enumerate().filter(|(index, _)| *index != self.id.index());
        let silent: Vec<String> =
            others.filter(|(_, metrics)| silent(metrics)).map(|(index, _)| index.to_string()).collect();
        let shards = self.options.shards;
        if silent.is_empty() {
            return Response::json(200, format!(r#"{{"status":"healthy","shards":{shards}}}"#));
        }
        let silent = silent.join(",");
        Response::json(503, format!(r#"{{"status":"unhealthy","shards":{shards},"silent":[{silent}]}}"#))
    }

    /// Publishes what the gateway says of itself, at its channel's home. Says whether anybody watches.
    pub(super) fn announce(&mut self, now: Now, payload: &[u8], effects: &mut Effects) -> Result<Reply, ErrorCode> {
        let room = self.open_room(now, STATS_CHANNEL)?;
        let watched = self.rooms.at(room).is_some_and(|room| !room.is_deserted());
        let proposal = Proposal {
            author: ConnId::outside(0),
            channel: &Arc::from(STATS_CHANNEL),
            user: STATS_USER,
            kind: STATS_KIND,
            payload,
            id: None,
            traceparent: None,
            operation: None,
            wants_ack: false,
            excluded: None,
        };
        self.propose_in(now, room, &proposal, effects);
        Ok(Reply::Announced { watched })
    }

    /// The busiest channels here since this was asked before, and from now on what they are is looked at.
    pub(super) fn busiest(&mut self, now: Now) -> Reply {
        self.busy.pace(self.metrics.read(Metric::Delivered));
        let rooms = &self.rooms;
        let mut found = Vec::new();
        self.busy.met.retain_mut(|met| {
            let Some(room) = rooms.at(met.room).filter(|room| Arc::ptr_eq(&room.name, &met.name)) else { return false };
            let (seq, at) = std::mem::replace(&mut met.since, (room.history.next(), now.micros));
            let events = room.history.next().0.saturating_sub(seq.0);
            met.times = 0;
            let members = room.members.len() as u64;
            // Over a second at least: one event is no rate.
            let micros = now.micros.saturating_sub(at).max(1_000_000);
            let deliveries = events * members * 1_000_000;
            if deliveries > 0 {
                found.push(Busiest { channel: Arc::clone(&met.name), members, per_s: deliveries.div_ceil(micros) });
            }
            deliveries > 0
        });
        found.sort_by(|a, b| b.per_s.cmp(&a.per_s).then_with(|| a.channel.cmp(&b.channel)));
        found.truncate(BUSY_CHANNELS_TOLD);
        Reply::Busiest(found)
    }
}
