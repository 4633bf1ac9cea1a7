//! How much is kept of which channel: as the policy's rows say, and of a channel that is stored only so much in memory
//! as is held there; what lies before that is read from the store.
//!
//! What holds in a channel is settled when it is opened, and anew when other rules come: at its next event or when a walk
//! reaches it, whichever is first. So an event finds its bounds in a short list and looks no pattern up. What is retained in
//! the store the store asks for itself, by [`retention_of`]: it knows channels that nobody has opened. Absent: trimming,
//! which is the history's.

use std::sync::Arc;

use super::announcing::{SAMPLES, STATS_CHANNEL};
use super::rooms::{Room, RoomId};
use super::walks::Walk;
use super::{Options, Shard};
use crate::auth::{Extent, Policy};
use crate::ledger::{Bounds, Keep};
use crate::limits::{DELIVER_LOOKS_PER_TURN, POLICY_ROWS_MAX, RETAIN_EVENTS_PER_TURN};
use crate::metrics::Metric;
use crate::room::history::{Held, Retention};
use crate::time::Now;

/// Which of a shard's bounds hold in a channel, and whether they are those of the present rules: a byte of every room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(u8);

/// Changes with the rules. What has another value was settled by the rules before: others come only when all channels
/// have been settled by these.
const TURN: u8 = 1 << 7;
const USUAL: u8 = 0;
const STATS: u8 = 1;
const FIRST: u8 = 2;

const _: () = assert!(POLICY_ROWS_MAX + FIRST as usize <= TURN as usize, "there is a place for every row");

/// All bounds that there are: those of a channel that no row names, those of the gateway's own, then each row's.
#[derive(Debug)]
pub(super) struct Extents {
    policy: Arc<Policy>,
    usual: Retention,
    held: Held,
    turn: u8,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// What is kept.
    all: Retention,
    /// What of it is in memory if the rest can be read.
    held: Retention,
}

impl Extents {
    pub(super) fn new(options: &Options) -> Self {
        let Options { retention: usual, held, policy, .. } = options;
        let samples = Retention { age_ms: usual.age_ms, ..SAMPLES };
        let all = [*usual, samples].into_iter().chain(policy.extents().map(|extent| within(extent, *usual)));
        let rows = all.map(|all| Row { all, held: all.held(held) }).collect();
        Self { policy: Arc::clone(policy), usual: *usual, held: *held, turn: 0, rows }
    }

    /// Whether they are what the options say.
    pub(super) fn are_of(&self, options: &Options) -> bool {
        let same = (self.usual, self.held) == (options.retention, options.held);
        same && self.policy.has_extents_of(&options.policy)
    }

    /// What holds in a channel.
    pub(super) fn find(&self, channel: &str) -> Place {
        let row = if channel == STATS_CHANNEL {
            STATS
        } else {
            let place = self.policy.extent(channel).and_then(|(place, _)| u8::try_from(place).ok());
            place.map_or(USUAL, |place| FIRST + place)
        };
        Place(self.turn | row)
    }

    /// What of a channel is kept here.
    pub(super) fn of(&self, room: &mut Room) -> Retention {
        if room.extent.0 & TURN != self.turn {
            room.extent = self.find(&room.name);
        }
        let row = &self.rows[usize::from(room.extent.0 & !TURN)];
        if room.stored.is_some() { row.held } else { row.all }
    }
}

/// What an extent says, where `usual` holds for what it does not.
fn within(extent: Extent, usual: Retention) -> Retention {
    Retention {
        count: extent.count.unwrap_or(usual.count),
        bytes: extent.bytes.unwrap_or(usual.bytes),
        age_ms: extent.age_ms.unwrap_or(usual.age_ms),
    }
}

/// How much is kept of a channel by a policy, where `usual` holds for what no row says.
#[must_use]
pub fn retention_of(policy: &Policy, usual: Retention, channel: &str) -> Retention {
    policy.extent(channel).map_or(usual, |(_, extent)| within(extent, usual))
}

/// The same for the store. What is over it goes there some at a time, and is shown until then: `ledger::trim::is_due`
/// says how much.
#[must_use]
pub fn bounds_of(policy: Arc<Policy>, usual: Retention) -> Bounds {
    let whole = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Bounds::new(move |channel| {
        let Retention { count, bytes, age_ms } = retention_of(&policy, usual, channel);
        Keep { count: whole(count), bytes: whole(bytes), age_ms }
    })
}

impl Shard {
    /// Begins to keep what the rules say now. While that is under way for earlier ones, these wait for its end.
    pub(super) fn begin_to_retain_anew(&mut self) {
        if !self.is_retaining_anew() && self.renew_extents() {
            self.begin_walk(Walk::Retain(0));
        }
    }

    /// Takes what the options say by now. Returns whether that is something else.
    fn renew_extents(&mut self) -> bool {
        if self.extents.are_of(&self.options) {
            return false;
        }
        self.extents = Extents { turn: self.extents.turn ^ TURN, ..Extents::new(&self.options) };
        true
    }

    /// Settles how much is kept of the channels from a place on, and forgets what that no longer allows: a turn's part.
    /// Returns where to go on, if there is more.
    pub(super) fn retain_anew(&mut self, now: Now, from: u32) -> Option<u32> {
        let to = from.saturating_add(DELIVER_LOOKS_PER_TURN).min(self.rooms.places());
        let mut left = RETAIN_EVENTS_PER_TURN;
        for place in from..to {
            let Some(room) = self.rooms.at_mut(RoomId::of(place)) else { continue };
            let keep = self.extents.of(room);
            let events = room.history.len();
            let needed = (room.needed.min(room.needed_now), room.unstored());
            let freed = room.history.trim(&keep, needed, now.unix_ms, left);
            left -= events - room.history.len();
            self.metrics.subtract(Metric::HistoryBytes, freed as u64);
            if left == 0 {
                // Of this one there may be more.
                return Some(place);
            }
        }
        if to < self.rooms.places() { Some(to) } else { self.renew_extents().then_some(0) }
    }
}
