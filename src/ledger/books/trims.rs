//! Trimming as the ledger does it: what is over its bounds is planned from the disk while nothing is written, some channels
//! at a time, and goes with a later batch. What was appended meanwhile stays.

use super::{Ledger, TrimJob};
use crate::ids::ShardId;
use crate::ledger::contract::{ChannelNumber, Notice};
use crate::ledger::disk::{DiskFault, Space};
use crate::ledger::key;
use crate::ledger::line::{Line, Oldest};
use crate::ledger::rows;
use crate::ledger::trim::{Trimming, is_over};
use crate::limits::{PLACES_SLACK, TRIM_EVENTS_MAX, TRIM_EVENTS_PER_BATCH};

impl Ledger {
    /// Trimmings to be planned now, at most so many. Those of few channels take more at once: one that is written alone
    /// fills whole batches.
    pub fn take_trim_jobs(&mut self, count: usize) -> Vec<TrimJob> {
        if self.sealed || !self.batch.is_empty() || self.forgets.holds() {
            return Vec::new();
        }
        let count = count.min(self.jobs.len());
        let events_max = (TRIM_EVENTS_PER_BATCH / count.max(1)).max(TRIM_EVENTS_MAX);
        let (channels, bounds) = (&mut self.channels, &self.bounds);
        let job = |channel| {
            let state = channels.get_mut(&channel)?;
            state.rebind(bounds.of(&state.line.name));
            let places = std::mem::take(&mut state.places) > PLACES_SLACK;
            state.moved = Vec::new();
            let erase = state.erase.map(|(_, _, through)| through);
            Some(TrimJob { channel, line: state.line.clone(), erase, places, events_max })
        };
        let jobs: Vec<TrimJob> = self.jobs.drain(..count).filter_map(job).collect();
        self.forgets.beside += jobs.len();
        jobs
    }

    /// A channel that is over its bounds is opened to be trimmed, unless it is open.
    pub fn open_to_trim(&mut self, name: &str) -> bool {
        match self.names.get(name) {
            Some(channel) => {
                let channel = *channel;
                if self.channels.get(&channel).is_some_and(|state| !state.trimming) {
                    self.plan(channel);
                }
                false
            }
            None => true,
        }
    }

    /// What goes of a channel joins the batch. Not while a sealed batch waits for its commit. Says whom to tell that
    /// nothing goes.
    pub fn on_trimming(&mut self, job: &TrimJob, planned: Result<Trimming, DiskFault>) -> Option<(ShardId, Notice)> {
        debug_assert!(!self.sealed, "a sealed batch stays as it is");
        self.forgets.beside = self.forgets.beside.saturating_sub(1);
        let state = self.channels.get_mut(&job.channel)?;
        let trimming = match planned {
            Ok(trimming) => trimming,
            Err(fault) => {
                // It stays as it is, and is tried again when more is over its bounds.
                state.trimming = false;
                let asked = state.erase.take();
                self.forget_unheld(job.channel);
                return asked.map(|(shard, ticket, _)| (shard, Notice::Erased(ticket, Err(fault.into()))));
            }
        };
        // What was appended since is behind everything that was looked at.
        let oldest = trimming.oldest.or_else(|| state.line.oldest.filter(|oldest| oldest.seq > job.line.last()));
        let oldest = oldest.or_else(|| appended_since(&state.line, &job.line));
        state.line.retain_from(oldest);
        for (seq, stub) in trimming.events {
            self.batch.insert((Space::Events, key::event(job.channel, seq).into()), stub);
        }
        let moved = std::mem::take(&mut state.moved);
        let again = moved.len() > PLACES_SLACK && !trimming.rows.is_empty();
        let changes = trimming.rows.iter().filter(|(row, _)| !again && !moved.iter().any(|moved| **moved == **row));
        for (row, says) in changes {
            match *says {
                Some((kind, seq, told)) if state.is_known => rows::put_place(&mut self.batch, row, kind, seq, told),
                Some(_) => {}
                None => rows::remove(&mut self.batch, row),
            }
        }
        // A channel of which nothing is stored has no line yet, and gets none.
        if state.is_known {
            state.rebound = false;
            rows::put_line(&mut self.batch, job.channel, &state.line);
        }
        self.touched.insert(job.channel);
        self.writes += 1;
        let more = trimming.more || again;
        // Whatever came since is over them with the next event at the earliest, and there may be none.
        let over = state.line.last() > job.line.last() && is_over(&state.line);
        self.trimmed.push((job.channel, more || over));
        if !more
            && job.erase.is_some()
            && let Some((shard, ticket, _)) = state.erase.take_if(|(_, _, through)| Some(*through) == job.erase)
        {
            self.erased.push((shard, ticket));
        }
        None
    }

    pub(super) fn after_trimming(&mut self, channel: ChannelNumber, more: bool) {
        let Some(state) = self.channels.get_mut(&channel) else { return };
        state.trimming = false;
        if state.erase.is_some() || more {
            self.plan(channel);
        } else {
            self.forget_unheld(channel);
        }
    }
}

/// The oldest event of those that were appended after a trimming was planned, if all that it saw goes.
fn appended_since(now: &Line, planned: &Line) -> Option<Oldest> {
    let seq = now.following(planned.last())?;
    let unix_ms = now.oldest.map_or(0, |oldest| oldest.unix_ms);
    Some(Oldest { seq, offset: planned.end, unix_ms })
}
