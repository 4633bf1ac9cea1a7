//! Erasure of what a user has left, as the ledger does it: a portion is planned alone, without openings and trimmings
//! beside it, so that none of these brings back what it takes away.

use super::Ledger;
use crate::ids::{Seq, ShardId};
use crate::ledger::contract::{ChannelNumber, Forget, Notice, Refusal, Ticket};
use crate::ledger::disk::{DiskFault, Space};
use crate::ledger::forget::Portion;
use crate::ledger::key;

/// What the ledger knows of an erasure.
#[derive(Debug, Default)]
pub(super) struct Forgets {
    /// The portion that waits to be planned.
    waiting: Option<(ShardId, Ticket, Forget)>,
    /// Who waits for the one that is planned.
    planned: Option<(ShardId, Ticket)>,
    /// What is told when the batch is committed.
    pub(super) told: Vec<(ShardId, Notice)>,
    /// Openings and trimmings that were given out and have not come back.
    pub(super) beside: usize,
}

impl Forgets {
    /// Whether nothing else may be planned now.
    pub(super) const fn holds(&self) -> bool {
        self.waiting.is_some() || self.planned.is_some()
    }
}

impl Ledger {
    pub(super) fn forget(&mut self, asked: (ShardId, Ticket), forget: Forget) {
        if self.forgets.holds() {
            let busy = Refusal::Failed("somebody else is being erased".to_owned());
            // Something is under way, so a batch is to come.
            self.writes += 1;
            return self.forgets.told.push((asked.0, Notice::Forgotten(asked.1, Err(busy))));
        }
        self.forgets.waiting = Some((asked.0, asked.1, forget));
    }

    /// The portion to be planned now.
    pub fn take_forget_job(&mut self) -> Option<Forget> {
        if self.forgets.beside > 0 || self.forgets.planned.is_some() {
            return None;
        }
        let (shard, ticket, forget) = self.forgets.waiting.take()?;
        self.forgets.planned = Some((shard, ticket));
        Some(forget)
    }

    /// What goes of a user joins the batch. Not while a sealed batch waits for its commit. Says whom to tell that nothing
    /// has to.
    pub fn on_forgetting(&mut self, planned: Result<Portion, DiskFault>) -> Option<(ShardId, Notice)> {
        debug_assert!(!self.sealed, "a sealed batch stays as it is");
        let (shard, ticket) = self.forgets.planned.take()?;
        let Portion { changes, forgotten } = match planned {
            Ok(portion) => portion,
            Err(fault) => return Some((shard, Notice::Forgotten(ticket, Err(fault.into())))),
        };
        if changes.is_empty() {
            return Some((shard, Notice::Forgotten(ticket, Ok(forgotten))));
        }
        for (place, value) in changes {
            // What was trimmed meanwhile does not come back as a tombstone.
            let is_gone = place.0 == Space::Events && key::of_event(&place.1).is_some_and(|at| self.is_trimmed(at));
            let value = value.filter(|_| !is_gone);
            self.bytes += value.as_ref().map_or(0, |value| value.len());
            self.batch.insert(place, value);
        }
        self.writes += 1;
        self.forgets.told.push((shard, Notice::Forgotten(ticket, Ok(forgotten))));
        None
    }

    fn is_trimmed(&self, (channel, seq): (ChannelNumber, Seq)) -> bool {
        let line = self.channels.get(&channel).map(|state| &state.line);
        line.is_some_and(|line| line.oldest.is_none_or(|oldest| seq < oldest.seq))
    }
}
