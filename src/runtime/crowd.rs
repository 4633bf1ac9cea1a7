//! Those who come and go: so many a turn, the others in line, behind whatever is live.
//!
//! What a stranger sends costs a hundred times an event's delivery: an upgrade, a token, a join and all that was missed.
//! When ten thousand come back at once, their turns must not be those of whoever is there. So the host lets some of them
//! in each turn ([`TURN_ARRIVALS_MAX`]); of the others it keeps what came with their sockets, and nothing more is read of
//! them. Who goes stands in the same line, so that a place is free before its next owner asks for it. A single newcomer
//! never waits.
//!
//! Invariants: a connection is in line exactly while its socket holds something, and once; the order of its bytes stays.

use std::collections::VecDeque;

use super::turn::Host;
use crate::ids::ConnId;
use crate::limits::TURN_ARRIVALS_MAX;
use crate::metrics::Metric;
use crate::shard::Input;

/// The line, and how many may still pass in this turn.
#[derive(Debug)]
pub(super) struct Crowd {
    line: VecDeque<ConnId>,
    left: usize,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { line: VecDeque::new(), left: TURN_ARRIVALS_MAX }
    }
}

impl Crowd {
    /// Whether one more may pass now, who then has.
    fn pass(&mut self) -> bool {
        let may = self.line.is_empty() && self.left > 0;
        self.left -= usize::from(may);
        may
    }
}

impl Host {
    /// Whether what a connection sent has to wait for a later turn.
    pub(super) fn waits_to_come(&mut self, conn: ConnId) -> bool {
        self.sockets.is_held(conn) || self.shard.is_newcomer(conn) && !self.crowd.pass()
    }

    /// Whether its end has to. Of one that is closed already nobody is told.
    pub(super) fn waits_to_go(&mut self, conn: ConnId) -> bool {
        self.sockets.is_held(conn) || self.sockets.is_live(conn) && !self.crowd.pass()
    }

    /// Puts a connection in line whose socket holds something now and did not before.
    pub(super) fn line_up(&mut self, conn: ConnId) {
        self.metrics.count(Metric::ArrivalsHeld);
        self.crowd.line.push_back(conn);
    }

    /// Lets as many pass as this turn still may. Returns whether more wait.
    pub(super) fn on_crowd(&mut self) -> bool {
        for _ in 0..self.crowd.left {
            let Some(conn) = self.crowd.line.pop_front() else { break };
            // Who was closed meanwhile holds nothing any more.
            let Some(mut held) = self.sockets.take_held(conn) else { continue };
            if !held.bytes.is_empty() && self.sockets.is_live(conn) {
                self.shard.handle(self.now, Input::Bytes(conn, &mut held.bytes), &mut self.effects);
                self.apply();
            }
            if held.ended {
                self.lose(conn);
            }
            self.apply();
            self.settle(conn);
        }
        self.crowd.left = TURN_ARRIVALS_MAX;
        !self.crowd.line.is_empty()
    }
}

#[cfg(test)]
mod tests;
