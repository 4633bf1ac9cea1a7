//! Storms after which members come back to where they were: who has all that it missed, when, and what that does to
//! those that did not go.
//!
//! A member that is back is behind until it has had everything that was published before it was let in again; then it
//! is recovered. What is published later is live for it, though it stands in the same row. Latencies of live deliveries
//! are kept by what the storm was doing when they were intended, and apart for those that stay in every storm: the same
//! members before, during and after, so that the three compare.

use crate::connection::Connection;
use crate::engine::{Engine, index};
use crate::socket::{Poll, Readiness};
use crate::stats::{Latency, Names};

/// What a storm is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// None has been yet.
    Before,
    /// Members are away.
    Away,
    /// They come back.
    During,
    /// All that came are recovered.
    After,
}

impl Moment {
    /// In the order of a storm, with what results call them.
    pub(crate) const ALL: [(Self, &'static str); 4] =
        [(Self::Before, "before"), (Self::Away, "away"), (Self::During, "during"), (Self::After, "after")];
}

/// Latencies of live deliveries, from the intended send.
#[derive(Debug)]
pub(crate) struct Live {
    /// To members that stay in every storm.
    pub(crate) stayed: Latency,
    /// To the others, while they are there.
    pub(crate) went: Latency,
}

/// One storm.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// Members that went.
    pub(crate) wanted: u64,
    /// Those of them that have had all that they missed.
    pub(crate) recovered: u64,
    /// From a member's connect to the last event that it had missed.
    pub(crate) latency: Latency,
    /// From the first connect to the last such event.
    pub(crate) took_ns: u64,
    /// Events that one missed: the fewest, the most, and those of all together.
    pub(crate) missed: (u64, u64, u64),
    /// Those that are not recovered, by what they were told or what became of them.
    pub(crate) unrecovered: Names,
    /// When the first may come back.
    from_ns: u64,
}

/// All storms of a run.
#[derive(Debug)]
pub(crate) struct Storms {
    /// In order.
    pub(crate) all: Vec<Recovery>,
    /// By moment, in its order.
    pub(crate) live: [Live; 4],
    /// Since when which moment is.
    moments: Vec<(u64, Moment)>,
    /// Members that are back and behind.
    behind: usize,
    /// The poll of members that stay, if there are storms: they are read between the others, so that what they get is
    /// not late because we read what those that are back had missed.
    pub(super) steady: Option<Poll>,
    pub(super) steady_ready: Vec<Readiness>,
}

impl Storms {
    pub(super) fn new(steady: Option<Poll>) -> Self {
        let live = || Live { stayed: Latency::new(), went: Latency::new() };
        Self {
            all: Vec::new(),
            live: [(); 4].map(|()| live()),
            moments: vec![(0, Moment::Before)],
            behind: 0,
            steady,
            steady_ready: Vec::new(),
        }
    }

    /// A storm cuts so many members, who come back from `from_ns` on.
    pub(super) fn begin(&mut self, now_ns: u64, from_ns: u64, wanted: usize) {
        self.moments.extend([(now_ns, Moment::Away), (from_ns, Moment::During)]);
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        self.all.push(Recovery { wanted, from_ns, missed: (u64::MAX, 0, 0), ..Recovery::default() });
    }

    /// The step of a storm is over.
    pub(super) fn end(&mut self, at_ns: u64) {
        if self.moments.last().is_some_and(|(_, moment)| *moment == Moment::During) {
            self.moments.push((at_ns, Moment::After));
        }
    }

    /// Whether members are still behind.
    pub(super) fn goes_on(&self) -> bool {
        self.behind > 0
    }

    /// Members that are recovered or will not be: what moves while a storm goes on.
    pub(super) fn progress(&self) -> usize {
        let settled = self.all.last().map_or(0, |storm| storm.recovered + storm.unrecovered.sum());
        usize::try_from(settled).unwrap_or(usize::MAX)
    }

    /// A live delivery.
    fn on_live(&mut self, intended_ns: u64, stays: bool, latency_ns: u64) {
        let found = self.moments.iter().rev().find(|(from_ns, _)| *from_ns <= intended_ns);
        let moment = found.map_or(Moment::Before, |(_, moment)| *moment);
        let place = Moment::ALL.iter().position(|(other, _)| *other == moment).unwrap_or(0);
        let live = &mut self.live[place];
        if stays { live.stayed.record(latency_ns) } else { live.went.record(latency_ns) }
    }

    fn recovered(&mut self, opened_ns: u64, now_ns: u64) {
        let Some(storm) = self.all.last_mut() else { return };
        storm.recovered += 1;
        storm.latency.record(now_ns.saturating_sub(opened_ns));
        storm.took_ns = now_ns.saturating_sub(storm.from_ns);
    }

    fn unrecovered(&mut self, reason: &str) {
        if let Some(storm) = self.all.last_mut() {
            storm.unrecovered.add(reason);
        }
    }
}

impl Engine<'_> {
    /// Whether a member stays in storms that others come back from.
    pub(super) fn stays(&self, room: u32, member: u32) -> bool {
        member < self.scenario.group[self.rooms[index(room)].group].stays_count()
    }

    /// A member is back and let in: what it lacks now is what it missed.
    pub(super) fn on_returned(&mut self, number: usize, now: u64) {
        let connection = &mut self.connections[number];
        connection.joined_ns = now;
        let (room, member, opened_ns) = (connection.room, connection.member, connection.opened_ns);
        let missed = self.checker.lacks(room, member);
        connection.behind = missed;
        if let Some(storm) = self.storms.all.last_mut() {
            let (least, most, sum) = storm.missed;
            storm.missed = (least.min(missed), most.max(missed), sum + missed);
        }
        if missed == 0 { self.storms.recovered(opened_ns, now) } else { self.storms.behind += 1 }
    }

    /// A member cannot come back to where it was, or did not get all of it.
    pub(super) fn on_unrecovered(&mut self, number: usize, reason: &str) {
        if std::mem::take(&mut self.connections[number].behind) > 0 {
            self.storms.behind -= 1;
        }
        self.storms.unrecovered(reason);
    }

    /// A delivery of what every member gets: whether it is what the member had missed.
    pub(super) fn is_replay(&mut self, number: usize, actual_ns: u64, now: u64) -> bool {
        let connection = &mut self.connections[number];
        let Connection { returning, joined_ns, opened_ns, .. } = *connection;
        // While it is not let in, all that comes was missed.
        if !returning || (joined_ns > 0 && actual_ns >= joined_ns) {
            return false;
        }
        if connection.behind > 0 {
            connection.behind -= 1;
            if connection.behind == 0 {
                self.storms.behind -= 1;
                self.storms.recovered(opened_ns, now);
            }
        }
        true
    }

    /// A live delivery in a measured phase, if there are storms to hold it against.
    pub(super) fn on_live(&mut self, number: usize, intended_ns: u64, latency_ns: u64) {
        if self.resumes {
            let Connection { room, member, .. } = self.connections[number];
            let stays = self.stays(room, member);
            self.storms.on_live(intended_ns, stays, latency_ns);
        }
    }

    /// Those that are behind and were waited for long enough are not recovered.
    pub(super) fn give_up_on_those_behind(&mut self) {
        for number in 0..self.connections.len() {
            if self.connections[number].behind > 0 {
                self.on_unrecovered(number, "not all in time");
            }
        }
    }
}
