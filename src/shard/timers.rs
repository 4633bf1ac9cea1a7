//! What the shard's wheel fires.

use super::Shard;
use super::connection::{Due, Probe, Stage};
use super::effect::{Closing, Effects};
use super::rooms::{Role, RoomId};
use super::walks::Walk;
use crate::code::CloseCode;
use crate::envelope::{Encoding, notice};
use crate::ids::ConnId;
use crate::limits::{
    CHANNEL_IDLE_MS, CHANNEL_SWEEP_COUNT, EVENT_STREAM_BEAT_MS, LOOK_PLACES_MAX, PROBE_MS, RETAIN_EVENTS_PER_TURN,
    STUCK_MS, TIMERS_PER_TURN_MAX,
};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::payload::Payload;
use crate::request::Ticket;
use crate::session::endpoint::Door;
use crate::session::liveness::{Quality, Verdict};
use crate::time::{Millis, Moment, Now};
use crate::wire::encoder::ping_frame;
use crate::wire::event_stream;

/// A purpose for which somebody is looked at later. Each owner has at most one of each in the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The request head has to be there.
    Head(ConnId),
    /// A place may have become free.
    Gate(ConnId),
    /// The token has to be there.
    Auth(ConnId),
    /// Ping, heartbeat, or give up.
    Live(ConnId),
    /// The client has to have shown that it lives.
    Probe(ConnId),
    /// The token ends.
    Expiry(ConnId),
    /// The socket has to have taken something.
    Stuck(ConnId),
    /// The rate has recovered.
    Resume(ConnId),
    /// The last frame has to be written.
    Close(ConnId),
    /// The other shards have to have answered.
    Asking(ConnId),
    /// Something in the channel runs out or may be forgotten.
    Room(RoomId),
    /// A wave of the drain.
    Wave(u64),
    /// A request has to be answered.
    Request(Ticket),
    /// A consumer of a group has to have acknowledged.
    Shares(RoomId),
    /// Shards have had the time to say who is in a channel.
    RollCall,
    /// Forget what is too old.
    Sweep,
}

/// How often channels are swept.
const SWEEP_EVERY_MS: u64 = 1000;

impl Shard {
    /// Fires what is due, as far as a turn goes.
    pub fn on_time(&mut self, now: Now, effects: &mut Effects) {
        self.latest = now;
        self.wheel.expire(now.millis(), &mut self.due);
        for _ in 0..TIMERS_PER_TURN_MAX {
            let Some(timer) = self.due.pop_front() else { break };
            self.fire(now, timer, effects);
        }
        self.on_soon(now, effects);
        self.end_late_partings(now, effects);
        self.walk(now, effects);
        if self.keeping.is_some() {
            self.ask_pages(effects);
            self.ask_store(effects);
        }
    }

    /// When `on_time` wants to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        // A walk that is under way goes on in the next turn. So do timers that this one had no time for, and what was found
        // to lie behind a history while connections were written to.
        let goes_on = !self.walks.is_empty() || !self.due.is_empty() || self.wants_pages();
        let walk = goes_on.then(|| self.latest.millis());
        let soon = self.soon.front().map(|(at, _)| *at);
        let parting = self.partings.front().map(|(at, _)| *at);
        self.wheel.next_deadline().into_iter().chain(soon).chain(parting).chain(walk).min()
    }

    fn fire(&mut self, now: Now, timer: Timer, effects: &mut Effects) {
        match timer {
            Timer::Head(id) => self.on_head_deadline(now, id, effects),
            Timer::Gate(id) => self.on_gate_timer(now, id, effects),
            Timer::Auth(id) => self.on_auth_deadline(now, id, effects),
            Timer::Live(id) => self.on_live(now, id, effects),
            Timer::Probe(id) => self.on_probe_deadline(now, id, effects),
            Timer::Expiry(id) => self.on_expiry(now, id, effects),
            Timer::Stuck(id) => self.on_stuck(now, id, effects),
            Timer::Resume(id) => self.on_resume(now, id, effects),
            Timer::Close(id) => {
                if self.slots.find(id).is_some() {
                    self.forget(id, Closing::Abort, Metric::ClosedGone, effects);
                }
            }
            Timer::Asking(id) => self.on_asking_deadline(now, id, effects),
            Timer::Room(id) => self.on_room_timer(now, id),
            Timer::Wave(wave) => self.begin_walk(Walk::Wave(wave, 0)),
            Timer::Request(ticket) => self.on_request_deadline(now, ticket, effects),
            Timer::Shares(room) => self.on_shares_due(now, room, effects),
            Timer::RollCall => self.on_roll_call(now, effects),
            Timer::Sweep => {
                self.begin_sweep();
                self.retry_orphans();
                self.pay_debts(now);
                self.begin_to_end_quiet();
                self.busy.on_second();
                self.look_at_store(now, effects);
                self.wheel.insert(now.millis().after(SWEEP_EVERY_MS), Timer::Sweep);
            }
        }
    }

    fn on_live(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        self.watch_expiry(now, id);
        let Some(conn) = self.slots.find_mut(id).filter(|conn| conn.is_upgraded()) else { return };
        if conn.door == Door::EventStream {
            // Its silence is its nature. One that is gone does not take these, and is stuck in the end.
            self.wheel.insert(now.millis().after(EVENT_STREAM_BEAT_MS), Timer::Live(id));
            return self.queue_bytes(now, id, Lane::Low, Payload::copy_of(event_stream::COMMENT), effects);
        }
        if conn.paused.is_some() {
            // Its silence is our doing: the idle timer waits with it (protocol.md, section 10).
            conn.live.on_heard(now.millis());
        }
        match conn.live.look(now.millis()) {
            Verdict::Fine(again) => self.wheel.insert(again, Timer::Live(id)),
            Verdict::Dead => self.close(now, id, CloseCode::IDLE, "nothing was heard for too long", effects),
            Verdict::Speak { ping, again } => {
                let flat = conn.door.is_flat();
                conn.outbox.give_back();
                self.wheel.insert(again, Timer::Live(id));
                if !flat {
                    let beat = self.heartbeat(now);
                    self.queue(now, id, Lane::Low, beat, effects);
                }
                if ping {
                    self.return_loan(now, id, effects);
                    self.queue(now, id, Lane::Low, ping_frame(&[]), effects);
                }
            }
        }
    }

    /// Somebody waits for the place of one who may be dead: a ping, which every client that lives answers.
    pub(super) fn on_probe(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id).filter(|conn| matches!(conn.stage, Stage::Open)) else { return };
        if conn.door == Door::EventStream || conn.probe != Probe::None {
            return;
        }
        conn.probe = Probe::Asked;
        self.wheel.insert(now.millis().after(PROBE_MS), Timer::Probe(id));
        self.queue(now, id, Lane::Critical, ping_frame(&[]), effects);
    }

    fn on_probe_deadline(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id).filter(|conn| conn.is_upgraded()) else { return };
        if conn.due == Due::Turn {
            // It is behind, and was not asked yet.
            return self.wheel.insert(now.millis().after(PROBE_MS), Timer::Probe(id));
        }
        let probe = std::mem::replace(&mut conn.probe, Probe::None);
        // Whom we do not read we do not hear.
        let is_read = conn.paused.is_none() && !conn.choked;
        if is_read && probe == Probe::Asked {
            self.close(now, id, CloseCode::IDLE, "no sign of life while another waited for the place", effects);
        }
    }

    /// The mean round trip of a connection in milliseconds, if one was measured, and how well it does.
    #[must_use]
    pub fn quality(&self, id: ConnId) -> Option<(Option<u16>, Quality)> {
        self.slots.find(id).map(|conn| (conn.live.round_trip_ms(), conn.live.quality()))
    }

    /// The heartbeat of this turn: all connections that are due get the same one, encoded once.
    fn heartbeat(&mut self, now: Now) -> crate::payload::Payload {
        match &self.beat {
            Some((at, beat)) if *at == now.unix_ms => beat.clone(),
            _ => {
                let beat = self.pen.notice(now, Encoding::TRIPSAGE, notice::write_connection_heartbeat);
                self.beat = Some((now.unix_ms, beat.clone()));
                beat
            }
        }
    }

    fn on_stuck(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        match conn.blocked.map(Moment::millis) {
            Some(since) if now.millis().since(since) >= STUCK_MS => self.cut(now, id, effects),
            Some(since) => self.wheel.insert(since.after(STUCK_MS), Timer::Stuck(id)),
            None => conn.stuck_timer = false,
        }
    }

    /// Forgets events and operation ids that are too old, and channels that nobody needs, among the next channels: up
    /// to so many, and not many with large crowds or much to forget. Returns how many are done.
    pub(super) fn sweep(&mut self, now: Now, count: usize) -> usize {
        let all = usize::try_from(self.rooms.places()).unwrap_or(usize::MAX);
        let (mut members, mut events) = (0, RETAIN_EVENTS_PER_TURN);
        for swept in 0..count.min(all) {
            if members >= LOOK_PLACES_MAX {
                return swept;
            }
            for id in self.rooms.sweep(1) {
                members += self.sweep_room(now, id, &mut events);
            }
            if events == 0 {
                // Of the last one there may be more.
                self.rooms.sweep_again();
                return swept;
            }
        }
        count
    }

    /// The same for one channel, of which so many events may go. Returns how many members were looked at.
    fn sweep_room(&mut self, now: Now, id: RoomId, events: &mut usize) -> usize {
        let Some(room) = self.rooms.at_mut(id) else { return 0 };
        let keep = self.extents.of(room);
        let mut looked_at = 0;
        if !room.queued && room.members.places() <= LOOK_PLACES_MAX {
            // A visit notes what a member needs before it is written to; here the writing is done.
            room.needed = room.members.needed(room.history.next());
            room.needed_now = room.needed;
            room.joined = None;
            looked_at = room.members.places();
        }
        let behind = !room.queued && room.needed < room.history.next();
        if let Some(past) = room.stored.as_mut().and_then(|stored| stored.past.as_mut()) {
            past.rest();
        }
        let held = room.history.len();
        let freed = room.history.trim(&keep, (room.needed, room.unstored()), now.unix_ms, *events);
        *events -= held - room.history.len();
        self.metrics.subtract(Metric::HistoryBytes, freed as u64);
        let mut unneeded = room.is_deserted() && room.history.is_empty() && !room.queued;
        if let Role::Home { dedup, .. } = &mut room.role {
            dedup.take_if(|dedup| {
                dedup.expire(now.millis());
                dedup.is_empty()
            });
            unneeded &= dedup.is_none();
        }
        if room.holds_more() {
            room.count_bytes(&self.metrics);
        }
        if self.keeping.is_some() {
            self.open_again(now, id);
            self.note_replay(id);
        }
        let Some(room) = self.rooms.at(id) else { return looked_at };
        if unneeded && room.idle_ms(now.millis()) >= CHANNEL_IDLE_MS {
            self.drop_room(id);
        } else if looked_at == 0 && behind {
            // What a crowd needs is noted by visits, which take their turns.
            self.line_up(id);
        }
        looked_at
    }

    /// Makes place for a channel by forgetting a deserted one, rather one without events: whoever opens channels
    /// by the thousand should not make the chats of others go. Returns whether there was one.
    pub(super) fn evict_one(&mut self) -> bool {
        let mut found = None;
        for id in self.rooms.sweep(CHANNEL_SWEEP_COUNT) {
            let Some(room) = self.rooms.at(id).filter(|room| room.is_deserted() && !room.queued) else { continue };
            if room.history.is_empty() {
                found = Some(id);
                break;
            }
            found.get_or_insert(id);
        }
        let Some(id) = found else { return false };
        self.metrics.count(Metric::ChannelsEvicted);
        self.drop_room(id);
        true
    }
}
