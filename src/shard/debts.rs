//! What channels that were forgotten still owe to groups.
//!
//! A channel that nobody is a member of is forgotten in the end, with its history. A group that had not acknowledged
//! all of it is to hear that. So its run of positions and how far the group was are kept here, and the channel goes on
//! from there when it is opened again: by an event, or because somebody consumes for the group. Who does is told what
//! is lost as in any other channel whose history does not reach back so far.
//! Absent: the events.

use super::Shard;
use super::patterns::RoomService;
use super::rooms::{Role, Room};
use crate::ids::{Epoch, Seq};
use crate::limits::{ENLIST_ROOMS_PER_TURN, GROUP_DEBTS_MAX};
use crate::metrics::Metric;
use crate::room::cursors::Cursors;
use crate::time::Now;

/// What is kept of a channel.
#[derive(Debug)]
pub(super) struct Debt {
    pub(super) epoch: Epoch,
    pub(super) last: Seq,
    /// Whether it delivered until it was acknowledged.
    pub(super) until_acked: bool,
    pub(super) service: Box<RoomService>,
}

impl Shard {
    /// A channel is forgotten: what it owes is not.
    pub(super) fn keep_debt(&mut self, room: &mut Room) {
        let (epoch, last) = (room.history.epoch(), room.history.last());
        let Some(mut service) = room.service.take().filter(|_| matches!(room.role, Role::Home { .. })) else { return };
        if !service.settle_up(last, &self.patterns) {
            return;
        }
        if room.stored.is_some() {
            // The store has them, and says so when the channel is opened again.
            service.cursors = Cursors::default();
        }
        if self.debts.len() >= GROUP_DEBTS_MAX {
            return self.metrics.count(Metric::GroupDebtsForgotten);
        }
        self.debts.insert(room.name.clone(), Debt { epoch, last, until_acked: room.until_acked, service });
    }

    /// How far a user was in channels that were forgotten goes. Returns in how many that was known.
    pub(super) fn forget_in_debts(&mut self, user: &str) -> u64 {
        let cursors = self.debts.values_mut().map(|debt| &mut debt.service.cursors);
        cursors.map(|cursors| u64::from(cursors.forget(user, Seq(u64::MAX)))).sum()
    }

    /// Opens some of the channels that owe something to a group which has a consumer again.
    pub(super) fn pay_debts(&mut self, now: Now) {
        self.debts.retain(|_, debt| debt.service.owes(&self.patterns));
        let due = self.debts.iter().filter(|(_, debt)| debt.service.could_pay(&self.patterns));
        let names: Vec<_> = due.map(|(name, _)| name.clone()).take(ENLIST_ROOMS_PER_TURN).collect();
        for name in names {
            if let Ok(id) = self.open_room(now, &name) {
                self.wait_for_consumer(id);
            }
        }
    }
}
