//! Those who come and go: so many a turn, the others in line, behind whatever is live.
//!
//! What a stranger sends costs a hundred times an event's delivery: an upgrade, a token, a join and all that was missed.
//! When ten thousand come back at once, their turns must not be those of whoever is there. So the host lets some of them
//! in each turn ([`TURN_ARRIVALS_MIN`], and more in a turn that takes long anyway); of the others it keeps what came with
//! their sockets, and nothing more is read of them. Who goes stands in the same line, so that a place is free before its
//! next owner asks for it. A single newcomer never waits.
//!
//! Only what was dear takes a place: who dribbles a head, or says anything else that decides nothing, keeps nobody
//! waiting. Probes have a line of their own: who asks whether the server is well gives up within seconds, and would take
//! a crowd for a fault.
//!
//! Who was let in at one shard and lives at another is dear there: a hand-over with a token stands in line again.
//!
//! Invariants: a connection is in line exactly while its socket holds something, and once; the order of its bytes stays.
//! What is handed over is either in line or in a slot, and a drain waits for both.

use std::collections::VecDeque;

use super::turn::Host;
use crate::ids::ConnId;
use crate::limits::{
    ADOPTIONS_HELD_MAX, TURN_ARRIVALS_MAX, TURN_ARRIVALS_MIN, TURN_ARRIVALS_SHARE, TURN_LINE_LOOKS_MAX, TURN_PROBES_MAX,
};
use crate::mesh::Transport;
use crate::metrics::Metric;
use crate::shard::Input;
use crate::shard::arrivals::{Wanted, Weight};
use crate::shard::message::Passport;

/// The lines, and how many have passed in this turn. With those who were closed meanwhile a line has at most twice as many
/// as there are sockets.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    line: VecDeque<Waiting>,
    /// How many of the line another shard has handed over.
    adoptions: usize,
    passed: usize,
    /// Who was refused in this turn by what came before its head was whole. Such work is bounded with the others', and
    /// takes nobody's place in line.
    refused: usize,
    probes: VecDeque<ConnId>,
    /// Probes that have passed in this turn.
    probed: usize,
}

/// Who waits in line.
#[derive(Debug)]
enum Waiting {
    /// Of whom the socket holds something.
    Here(ConnId),
    /// Whom another shard hands over with a token. Nothing of it is here before its turn: neither a slot nor a deadline.
    Adopted(Box<Passport>, Transport),
}

impl Crowd {
    /// How many wait that another shard has handed over.
    pub(super) const fn adoptions(&self) -> usize {
        self.adoptions
    }

    /// Whether what somebody sent may be handled at once, before anybody knows how long the turn takes.
    pub(super) fn admits(&self, weight: Weight) -> bool {
        match weight {
            Weight::Live | Weight::Part => true,
            Weight::Probe => self.probes.is_empty() && self.probed < TURN_PROBES_MAX,
            Weight::Dear => self.line.is_empty() && self.may_pass(0, 0),
        }
    }

    /// Somebody has passed.
    pub(super) fn note(&mut self, weight: Weight) {
        match weight {
            Weight::Probe => self.probed += 1,
            Weight::Part => self.refused += 1,
            Weight::Live | Weight::Dear => self.passed += 1,
        }
    }

    /// Whether one more may pass in this turn, when those before it took so long behind the rest of it.
    const fn may_pass(&self, took_us: u64, rest_us: u64) -> bool {
        let all = self.passed + self.refused;
        self.passed < TURN_ARRIVALS_MIN
            || all < TURN_ARRIVALS_MAX && took_us.saturating_mul(TURN_ARRIVALS_SHARE) < rest_us
    }

    /// The turn is over. Returns whether anybody wants another one: who waits, and what those have set going who passed,
    /// since the turn's events were out before they came.
    fn rest(&mut self) -> bool {
        let came =
            std::mem::take(&mut self.passed) + std::mem::take(&mut self.refused) + std::mem::take(&mut self.probed);
        came > 0 || !(self.line.is_empty() && self.probes.is_empty())
    }
}

impl Host {
    /// A connection's peer is gone, as a receive or a write has told. The shard hears of it now, or when those before it
    /// in line are through.
    pub(super) fn part(&mut self, conn: ConnId) {
        if !self.waits_to_go(conn) {
            self.lose(conn);
        } else if self.sockets.hold_end(conn) {
            self.line_up(conn, Weight::Dear);
        }
    }

    /// Whether a connection's end has to wait for a later turn. Of one that is closed already nobody is told, and one
    /// that asked for nothing yet is soon forgotten.
    fn waits_to_go(&mut self, conn: ConnId) -> bool {
        if self.sockets.is_held(conn) {
            return true;
        }
        let dear = self.sockets.is_live(conn) && self.shard.wanted(conn) != Some(Wanted::Head);
        let waits = dear && !self.crowd.admits(Weight::Dear);
        self.crowd.passed += usize::from(dear && !waits);
        waits
    }

    /// Puts a connection in its line whose socket holds something now and did not before.
    pub(super) fn line_up(&mut self, conn: ConnId, weight: Weight) {
        self.metrics.count(Metric::ArrivalsHeld);
        self.shard.enter_line(conn);
        let (most, Crowd { line, probes, adoptions, .. }) = (2 * self.sockets.open(), &mut self.crowd);
        if weight == Weight::Probe {
            probes.push_back(conn);
            if probes.len() > most {
                probes.retain(|conn| self.sockets.is_held(*conn));
            }
            return;
        }
        line.push_back(Waiting::Here(conn));
        if line.len() > most + *adoptions {
            line.retain(|waiting| match waiting {
                Waiting::Here(conn) => self.sockets.is_held(*conn),
                Waiting::Adopted(..) => true,
            });
        }
    }

    /// Takes a connection that another shard hands over. With a token it is as dear as who shows one here, and waits like
    /// that; its socket is not read meanwhile.
    pub(super) fn take_over(&mut self, passport: Box<Passport>, transport: Transport) {
        let dear = passport.claims.is_some();
        if dear && !self.crowd.admits(Weight::Dear) && self.crowd.adoptions < ADOPTIONS_HELD_MAX {
            self.metrics.count(Metric::ArrivalsHeld);
            self.crowd.adoptions += 1;
            return self.crowd.line.push_back(Waiting::Adopted(passport, transport));
        }
        self.adopt(passport, transport);
        self.crowd.passed += usize::from(dear);
    }

    fn adopt(&mut self, passport: Box<Passport>, transport: Transport) {
        match self.shard.on_adopt(self.now, passport, &mut self.effects) {
            Ok(conn) => {
                self.sockets.insert(conn, transport);
                self.apply();
                self.settle(conn);
            }
            Err(_passport) => transport.refuse(),
        }
        self.apply();
    }

    /// Lets as many pass as this turn still may, which began at a time in microseconds. Returns whether the next turn has
    /// to come at once.
    pub(super) fn on_crowd(&mut self, began: u64) -> bool {
        while self.crowd.probed < TURN_PROBES_MAX {
            let Some(conn) = self.crowd.probes.pop_front() else { break };
            self.let_pass(conn);
            self.crowd.probed += 1;
        }
        let since = if self.crowd.line.is_empty() { began } else { self.clock.micros() };
        for _ in 0..TURN_LINE_LOOKS_MAX {
            let early = self.crowd.passed < TURN_ARRIVALS_MIN;
            let took = if early { 0 } else { self.clock.micros().saturating_sub(since) };
            if !self.crowd.may_pass(took, since.saturating_sub(began)) {
                break;
            }
            let Some(waiting) = self.crowd.line.pop_front() else { break };
            let dear = match waiting {
                Waiting::Here(conn) => self.let_pass(conn),
                Waiting::Adopted(passport, transport) => {
                    self.crowd.adoptions -= 1;
                    let dirty = self.sockets.dirty.len();
                    self.adopt(passport, transport);
                    self.flush_since(dirty);
                    true
                }
            };
            self.crowd.passed += usize::from(dear);
        }
        self.crowd.rest()
    }

    /// Handles what was held of a connection. Returns whether that was dear.
    fn let_pass(&mut self, conn: ConnId) -> bool {
        // Who was closed meanwhile holds nothing any more.
        let Some(mut held) = self.sockets.take_held(conn) else { return false };
        self.shard.leave_line(conn);
        let (wanted, dirty) = (self.shard.wanted(conn), self.sockets.dirty.len());
        if !held.bytes.is_empty() && self.sockets.is_live(conn) {
            self.shard.handle(self.now, Input::Bytes(conn, &mut held.bytes), &mut self.effects);
            self.apply();
            // Its answer goes before the end of its bytes is seen, which would forget it.
            self.flush_since(dirty);
        }
        let mut dear = self.shard.wanted(conn) != wanted;
        if held.ended {
            dear |= self.sockets.is_live(conn) && self.shard.wanted(conn) != Some(Wanted::Head);
            self.lose(conn);
        }
        self.apply();
        self.settle(conn);
        dear
    }
}

#[cfg(test)]
mod tests;
