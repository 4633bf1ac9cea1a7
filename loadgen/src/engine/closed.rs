//! Bounds on what is outstanding. In the closed loop a publisher sends the next when one of its publishes has reached the
//! whole room. In the open loop with a bound the clock says when, and what may not leave yet waits; its latency counts
//! from the time that was intended, and the wait is the server's, not the generator's lateness.
//!
//! Who leaves a room is no longer waited for; who comes back begins anew.

use crate::connection::{Connection, Phase};
use crate::engine::{Engine, index};
use crate::limits::WAITING_COUNT_MAX;
use crate::scenario::Mode;

/// When a publish is to leave.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// When there is room for it, which is now.
    Now,
    /// At this time.
    At(u64),
    /// At this time, but it had to wait for others to arrive.
    Held(u64),
}

/// One outstanding publish.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lacking {
    /// The publisher's number of it.
    seq: u32,
    /// Members that have not had it.
    members: u32,
}

impl Engine<'_> {
    /// A publisher that just joined, or all of them when traffic begins, gets what it may have outstanding.
    pub(super) fn start_closed(&mut self, number: usize) {
        let Connection { room, member, phase, .. } = self.connections[number];
        let room = &self.rooms[index(room)];
        let group = &self.scenario.group[room.group];
        if !self.publishing || group.mode != Mode::Closed || member >= room.shape.publishers || phase != Phase::Ready {
            return;
        }
        let from = room.lacking_at + index(member * group.outstanding);
        self.lacking[from..from + index(group.outstanding)].fill(Lacking::default());
        let held = if group.stagger { group.outstanding / 2 } else { 0 };
        self.connections[number].publishes_held = held;
        self.connections[number].publishes_owed = 0;
        self.owe(number, group.outstanding - held);
    }

    /// A publish left: so many members are to get it.
    pub(super) fn expect(&mut self, number: usize, seq: u32) {
        let Connection { room, member, .. } = self.connections[number];
        let members = self.checker.receivers(room, member);
        let Some(slot) = self.slot(room, member, seq) else { return };
        self.lacking[slot] = Lacking { seq, members };
        // What nobody is to get is not waited for.
        self.connections[number].in_flight += u32::from(members > 0);
    }

    /// Keeps a publish that may not leave yet; whether it does.
    pub(super) fn waits(&mut self, number: usize, intended_ns: u64) -> bool {
        let connection = &mut self.connections[number];
        let group_index = self.rooms[index(connection.room)].group;
        let Some(most) = self.scenario.group[group_index].outstanding_max else { return false };
        if connection.phase != Phase::Ready || (connection.in_flight < most && connection.waiting.is_empty()) {
            return false;
        }
        if connection.waiting.len() < WAITING_COUNT_MAX {
            connection.waiting.push_back(intended_ns);
        } else {
            self.groups[group_index].blocked += 1;
        }
        true
    }

    /// So many publishes of a publisher have reached all; as many more may leave.
    fn set_free(&mut self, number: usize, whole: u32) {
        let connection = &mut self.connections[number];
        connection.in_flight = connection.in_flight.saturating_sub(whole);
        let closed = self.scenario.group[self.rooms[index(connection.room)].group].mode == Mode::Closed;
        let waiting = u32::try_from(connection.waiting.len()).unwrap_or(u32::MAX);
        let held = std::mem::take(&mut connection.publishes_held);
        let more = if closed { whole + held } else { whole.min(waiting) };
        if more > 0 {
            self.owe(number, more);
        }
    }

    /// A member got a publish; the last one to get it sets the next one free.
    pub(super) fn arrived(&mut self, room: u32, publisher: u32, seq: u32) {
        let Some(slot) = self.slot(room, publisher, seq) else { return };
        let lacking = &mut self.lacking[slot];
        let mut whole = 0;
        if lacking.seq == seq && lacking.members > 0 {
            lacking.members -= 1;
            whole = u32::from(lacking.members == 0);
        }
        self.set_free(self.rooms[index(room)].first + index(publisher), whole);
    }

    /// A member leaves: what it lacks is waited for no more, and nobody waits for what it published.
    pub(super) fn stop_waiting(&mut self, room: u32, member: u32) {
        let place = &self.rooms[index(room)];
        let Some(limit) = self.scenario.group[place.group].limit() else { return };
        let (first, publishers, group) = (place.first, place.shape.publishers, place.group);
        for publisher in 0..publishers {
            let had = self.checker.had(room, member, publisher);
            let from = self.rooms[index(room)].lacking_at + index(publisher * limit);
            let mut whole = 0;
            for lacking in &mut self.lacking[from..from + index(limit)] {
                if publisher == member {
                    *lacking = Lacking::default();
                } else if lacking.seq > had && lacking.members > 0 {
                    lacking.members -= 1;
                    whole += u32::from(lacking.members == 0);
                }
            }
            if whole > 0 {
                self.set_free(first + index(publisher), whole);
            }
        }
        let connection = &mut self.connections[first + index(member)];
        self.groups[group].absent += u64::try_from(connection.waiting.len()).unwrap_or(0);
        connection.waiting.clear();
        connection.in_flight = 0;
    }

    fn slot(&self, room: u32, publisher: u32, seq: u32) -> Option<usize> {
        let room = &self.rooms[index(room)];
        let limit = self.scenario.group[room.group].limit()?;
        Some(room.lacking_at + index(publisher * limit + seq % limit))
    }

    fn owe(&mut self, number: usize, publishes: u32) {
        let owed = &mut self.connections[number].publishes_owed;
        if *owed == 0 {
            self.owing.push(number);
        }
        *owed += publishes;
    }

    /// One send for everything a connection may publish now.
    pub(super) fn send_owed(&mut self) {
        if self.owing.is_empty() {
            return;
        }
        let mut owing = std::mem::take(&mut self.owing);
        for number in owing.drain(..) {
            let publishes = std::mem::take(&mut self.connections[number].publishes_owed);
            let group = self.rooms[index(self.connections[number].room)].group;
            let closed = self.scenario.group[group].mode == Mode::Closed;
            if !self.publishing || (closed && self.clock.now_ns() >= self.end_ns) {
                continue;
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            for _ in 0..publishes {
                let due = match self.connections[number].waiting.pop_front() {
                    Some(intended_ns) => Due::Held(intended_ns),
                    None if closed => Due::Now,
                    None => break,
                };
                self.publish(number, due, &mut scratch);
            }
            self.send(number, &scratch);
            self.scratch = scratch;
        }
        self.owing = owing;
    }
}
