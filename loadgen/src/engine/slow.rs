//! Connections that read slowly on purpose: so many bytes at each step of a clock, whatever has come.
//!
//! What the server does with them is its business: a gap, an end, or patience. They come back when they were closed, so
//! that there are always so many of them.

use serde::{Deserialize, Serialize};

use crate::connection::Phase;
use crate::engine::{Engine, index};
use crate::limits::SLOW_READ_NS;
use crate::stats::Names;

/// What slow readers got.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowTraffic {
    /// How many there are.
    pub connections: usize,
    /// Deliveries they read.
    pub delivered: u64,
    /// Other events they were told, by type.
    pub events: Names,
    /// Ends of their connections, by code or reason; each came back.
    pub closes: Names,
}

impl SlowTraffic {
    /// Takes in what others got.
    pub fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.delivered += other.delivered;
        self.events.merge(&other.events);
        self.closes.merge(&other.closes);
    }
}

impl Engine<'_> {
    pub(super) fn next_slow_ns(&self) -> Option<u64> {
        self.slow_reads.front().map(|&(at_ns, _)| at_ns)
    }

    /// Reads from those whose time has come.
    pub(super) fn read_slow(&mut self, now: u64) {
        while let Some(&(at_ns, number)) = self.slow_reads.front()
            && at_ns <= now
        {
            self.slow_reads.pop_front();
            let connection = &self.connections[number];
            // One that ended meanwhile has a place of its own once it is back.
            if connection.phase != Phase::Ready || connection.read_at_ns != at_ns {
                continue;
            }
            let group = &self.scenario.group[self.rooms[index(connection.room)].group];
            let bytes = u64::from(group.slow_bytes_per_s) * SLOW_READ_NS / 1_000_000_000;
            // All steps are alike, so the queue stays in the order of time.
            let next_ns = now + SLOW_READ_NS;
            self.connections[number].read_at_ns = next_ns;
            self.slow_reads.push_back((next_ns, number));
            self.read(number, usize::try_from(bytes).unwrap_or(usize::MAX).max(1));
        }
    }
}
