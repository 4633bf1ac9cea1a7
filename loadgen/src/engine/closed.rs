//! The closed loop: a publisher sends the next when one of its outstanding publishes has reached the whole room.
//!
//! Who leaves a room is no longer waited for; who comes back begins anew.

use crate::connection::{Connection, Phase};
use crate::engine::{Engine, index};
use crate::scenario::Mode;

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
    pub(super) fn expect(&mut self, room: u32, member: u32, seq: u32) {
        let members = self.checker.receivers(room, member);
        let slot = self.slot(room, member, seq);
        self.lacking[slot] = Lacking { seq, members };
    }

    /// A member got a publish; the last one to get it sets the next one free.
    pub(super) fn arrived(&mut self, room: u32, publisher: u32, seq: u32) {
        let slot = self.slot(room, publisher, seq);
        let lacking = &mut self.lacking[slot];
        let mut whole = 0;
        if lacking.seq == seq && lacking.members > 0 {
            lacking.members -= 1;
            whole = u32::from(lacking.members == 0);
        }
        let number = self.rooms[index(room)].first + index(publisher);
        let held = std::mem::take(&mut self.connections[number].publishes_held);
        if whole + held > 0 {
            self.owe(number, whole + held);
        }
    }

    /// A member leaves: what it lacks is waited for no more.
    pub(super) fn stop_closed(&mut self, room: u32, member: u32) {
        let place = &self.rooms[index(room)];
        let group = &self.scenario.group[place.group];
        if group.mode != Mode::Closed {
            return;
        }
        let (first, publishers, lacking_at) = (place.first, place.shape.publishers, place.lacking_at);
        let outstanding = index(group.outstanding);
        for publisher in 0..publishers {
            let had = self.checker.had(room, member, publisher);
            let from = lacking_at + index(publisher) * outstanding;
            let mut whole = 0;
            for lacking in &mut self.lacking[from..from + outstanding] {
                if lacking.seq > had && lacking.members > 0 {
                    lacking.members -= 1;
                    whole += u32::from(lacking.members == 0);
                }
            }
            if whole > 0 {
                self.owe(first + index(publisher), whole);
            }
        }
    }

    fn slot(&self, room: u32, publisher: u32, seq: u32) -> usize {
        let room = &self.rooms[index(room)];
        let outstanding = self.scenario.group[room.group].outstanding;
        room.lacking_at + index(publisher * outstanding + seq % outstanding)
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
            if !self.publishing || self.clock.now_ns() >= self.end_ns {
                continue;
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            for _ in 0..publishes {
                self.publish(number, None, &mut scratch);
            }
            self.send(number, &scratch);
            self.scratch = scratch;
        }
        self.owing = owing;
    }
}
