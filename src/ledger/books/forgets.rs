//! Erasure of what a user has left, as the ledger does it: a portion is planned alone, without openings and trimmings
//! beside it, so that none of these brings back what it takes away.
//!
//! It takes what shards have erased in their memory, and nothing that came later: a number must not say one thing in
//! memory and another on the disk. Which events these are, each open channel knows by its last one when a shard had gone
//! through it, or when it was opened. One that is closed with more than that behind it is remembered until its shard begins
//! with another erasure: a shard forgets channels whenever it needs the place, and that must cost nobody's events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Channel, Ledger};
use crate::ids::{Seq, ShardId};
use crate::ledger::contract::{ChannelNumber, Forget, Notice, Refusal, Ticket};
use crate::ledger::disk::{DiskFault, Space};
use crate::ledger::forget::{Change, Portion};
use crate::ledger::key;
use crate::limits::LINES_OPEN_MAX;

/// Which shard's memory is gone through for which erasure, by one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pass(u64);

/// What the ledger knows of an erasure.
#[derive(Debug, Default)]
pub(super) struct Forgets {
    /// The latest number given.
    last: Pass,
    /// The one that each shard is at; none before its first.
    passes: BTreeMap<ShardId, Pass>,
    /// Channels that were closed since they were passed, or opened, in a pass that is not over: up to where they were.
    closed: HashMap<ChannelNumber, (Pass, Seq)>,
    /// The portion that waits to be planned.
    waiting: Option<(ShardId, Ticket, Forget)>,
    /// Who waits for the one that is planned, and whom it is about.
    planned: Option<(ShardId, Ticket, Arc<str>)>,
    /// The user's cursors that were written since: they stay.
    moved: BTreeSet<Box<[u8]>>,
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

    /// A shard has begun with an erasure: what it has closed before goes whole.
    fn begin(&mut self, shard: ShardId) {
        self.last = Pass(self.last.0 + 1);
        if let Some(over) = self.passes.insert(shard, self.last) {
            self.closed.retain(|_, (pass, _)| *pass != over);
        }
    }

    /// The pass that a shard is at.
    fn pass_of(&self, shard: ShardId) -> Option<Pass> {
        self.passes.get(&shard).copied()
    }

    /// A shard opens a channel: what is stored there was there before, but for what the same shard has stored behind the
    /// pass that it is at.
    pub(super) fn note_opened(&self, shard: ShardId, channel: &mut Channel) {
        let pass = self.pass_of(shard);
        if pass.is_none() || channel.pass != pass {
            (channel.pass, channel.passed) = (pass, channel.line.last());
        }
    }

    /// A channel is forgotten. Over the bound it is as if nothing were known of it, so that all of it goes.
    pub(super) fn note_closed(&mut self, number: ChannelNumber, channel: &Channel) {
        let Some(pass) = channel.pass.filter(|pass| self.passes.values().any(|current| current == pass)) else {
            return;
        };
        // Where nothing came behind it everything goes.
        if channel.line.last() > channel.passed && self.closed.len() < LINES_OPEN_MAX {
            self.closed.insert(number, (pass, channel.passed));
        }
    }

    /// A channel is known again.
    pub(super) fn take_closed(&mut self, number: ChannelNumber) -> Option<(Pass, Seq)> {
        self.closed.remove(&number)
    }

    /// A cursor is written.
    pub(super) fn note_cursor(&mut self, place: &[u8]) {
        if self.planned.as_ref().is_some_and(|(_, _, user)| key::suffix(place) == Some(&**user)) {
            self.moved.insert(place.into());
        }
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

    /// A shard has erased a user in these channels as far as they go.
    pub(super) fn pass(&mut self, shard: ShardId, begins: bool, channels: &[ChannelNumber]) {
        if begins {
            self.forgets.begin(shard);
        }
        let pass = self.forgets.pass_of(shard);
        for channel in channels {
            if let Some(state) = self.channels.get_mut(channel) {
                (state.pass, state.passed) = (pass, state.line.last());
            }
        }
    }

    /// The portion to be planned now.
    pub fn take_forget_job(&mut self) -> Option<Forget> {
        if self.forgets.beside > 0 || self.forgets.planned.is_some() {
            return None;
        }
        let (shard, ticket, forget) = self.forgets.waiting.take()?;
        self.forgets.planned = Some((shard, ticket, Arc::clone(&forget.user)));
        self.forgets.moved.clear();
        Some(forget)
    }

    /// No commit succeeds now, and a portion that waits keeps all channels closed: whoever asked may ask again.
    pub fn refuse_waiting(&mut self) -> Option<(ShardId, Notice)> {
        let (shard, ticket, _) = self.forgets.waiting.take()?;
        Some((shard, not_now(ticket)))
    }

    /// The same for one that was planned meanwhile, and would join the batch that stays as it is.
    pub fn refuse_planned(&mut self) -> Option<(ShardId, Notice)> {
        let (shard, ticket, _) = self.forgets.planned.take()?;
        Some((shard, not_now(ticket)))
    }

    /// What goes of a user joins the batch. Not while a sealed batch waits for its commit. Says whom to tell that nothing
    /// has to.
    pub fn on_forgetting(&mut self, planned: Result<Portion, DiskFault>) -> Option<(ShardId, Notice)> {
        debug_assert!(!self.sealed, "a sealed batch stays as it is");
        let (shard, ticket, _) = self.forgets.planned.take()?;
        let Portion { changes, mut forgotten } = match planned {
            Ok(portion) => portion,
            Err(fault) => return Some((shard, Notice::Forgotten(ticket, Err(fault.into())))),
        };
        let mut any = false;
        for Change { place, value, at, counts } in changes {
            if self.is_later(at) || self.forgets.moved.contains(&place.1) {
                continue;
            }
            any = true;
            forgotten.add(&counts);
            // What was trimmed meanwhile does not come back as a tombstone.
            let value = value.filter(|_| place.0 != Space::Events || !self.is_trimmed(at));
            self.bytes += value.as_ref().map_or(0, |value| value.len());
            self.batch.insert(place, value);
        }
        if !any {
            return Some((shard, Notice::Forgotten(ticket, Ok(forgotten))));
        }
        self.writes += 1;
        self.forgets.told.push((shard, Notice::Forgotten(ticket, Ok(forgotten))));
        None
    }

    /// Whether it came after the shard had gone through its channel.
    fn is_later(&self, (channel, seq): (ChannelNumber, Seq)) -> bool {
        let passed = self.channels.get(&channel).map(|state| state.passed);
        let passed = passed.or_else(|| self.forgets.closed.get(&channel).map(|(_, passed)| *passed));
        passed.is_some_and(|passed| seq > passed)
    }

    fn is_trimmed(&self, (channel, seq): (ChannelNumber, Seq)) -> bool {
        let line = self.channels.get(&channel).map(|state| &state.line);
        line.is_some_and(|line| line.oldest.is_none_or(|oldest| seq < oldest.seq))
    }
}

fn not_now(ticket: Ticket) -> Notice {
    Notice::Forgotten(ticket, Err(Refusal::Failed("nothing can be written now".to_owned())))
}
