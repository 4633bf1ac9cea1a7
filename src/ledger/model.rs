//! A store without threads and files, for simulators and tests: the rules over a disk in memory, one step at a time.

use std::collections::VecDeque;

use crate::ids::{Epoch, ShardId};

use super::contract::{Bounds, ChannelNumber, Notice, Open, Read, Request, Ticket};
use super::disk::DiskFault;
use super::memory::Memory;
use super::past::{find_past, line_of};
use super::rows::State;
use super::{Ledger, Opening, forget, page, trim};

/// Openings and trimmings in one step.
const JOBS_PER_STEP: usize = 64;

/// What shards have asked, and what they are told.
#[derive(Debug)]
pub struct Model {
    disk: Memory,
    ledger: Ledger,
    asked: VecDeque<(ShardId, Ticket, Request)>,
    reads: VecDeque<(ShardId, Ticket, Read)>,
    /// Whether the disk does not answer.
    fails: bool,
}

impl Model {
    /// Starts on what a crash left, or on nothing. What it begins with is committed.
    ///
    /// # Errors
    /// What lies on the disk is not what was written.
    pub fn start(mut disk: Memory, fresh: State, bounds: impl Into<Bounds>) -> Result<Self, DiskFault> {
        let mut ledger = Ledger::start(&disk, fresh, bounds.into())?;
        if let Some(batch) = ledger.seal() {
            disk.commit(batch);
            ledger.on_committed();
        }
        Ok(Self { disk, ledger, asked: VecDeque::new(), reads: VecDeque::new(), fails: false })
    }

    /// The key that operations are hashed with, as long as the disk lives.
    #[must_use]
    pub const fn key(&self) -> [u8; 16] {
        self.ledger.state().key
    }

    /// A shard asks for a write or an opening.
    pub fn ask(&mut self, from: ShardId, ticket: Ticket, request: Request) {
        self.asked.push_back((from, ticket, request));
    }

    /// A shard asks for a stretch of events.
    pub fn read(&mut self, from: ShardId, ticket: Ticket, read: Read) {
        self.reads.push_back((from, ticket, read));
    }

    /// From now on the disk answers, or not.
    pub const fn set_failing(&mut self, fails: bool) {
        self.fails = fails;
    }

    /// Whether anything waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.reads.is_empty()
    }

    /// Reads what was asked for, from what is committed.
    pub fn serve(&mut self) -> Vec<(ShardId, Notice)> {
        if self.fails {
            return Vec::new();
        }
        let mut notices = Vec::new();
        while let Some((shard, ticket, read)) = self.reads.pop_front() {
            let page = line_of(&self.disk, read.channel).and_then(|line| page::read_page(&self.disk, &line, &read));
            notices.push((shard, Notice::Page(ticket, page.map(Box::new).map_err(Into::into))));
        }
        notices
    }

    /// Takes up to `count` of what was asked into one batch, commits it, and does what waited for that.
    pub fn commit(&mut self, count: usize, unix_ms: u64) -> Vec<(ShardId, Notice)> {
        if self.fails {
            return Vec::new();
        }
        for _ in 0..count {
            let Some((shard, ticket, request)) = self.asked.pop_front() else { break };
            self.ledger.take(shard, ticket, request, unix_ms);
        }
        let mut notices = Vec::new();
        if let Some(batch) = self.ledger.seal() {
            self.disk.commit(batch);
            notices.extend(self.ledger.on_committed());
        }
        for opening in self.ledger.take_openings(JOBS_PER_STEP) {
            let wanted = (opening.open.tail_count, opening.open.tail_bytes);
            let found = find_past(&self.disk, &opening.open.channel, wanted, unix_ms);
            notices.extend(self.ledger.on_opened(&opening, found));
        }
        for job in self.ledger.take_trim_jobs(JOBS_PER_STEP) {
            let planned = trim::plan_job(&self.disk, &job, unix_ms);
            notices.extend(self.ledger.on_trimming(&job, planned));
        }
        if let Some(job) = self.ledger.take_forget_job() {
            let planned = forget::plan(&self.disk, &job);
            notices.extend(self.ledger.on_forgetting(planned));
        }
        notices
    }

    /// What is retained from now on.
    pub fn set_bounds(&mut self, bounds: impl Into<Bounds>) {
        self.ledger.set_bounds(bounds.into());
    }

    /// Looks at all channels, open or not, for those that are over their bounds, if the disk answers. What goes of them
    /// goes with the next commits.
    ///
    /// # Errors
    /// What lies on the disk is not what was written.
    pub fn sweep(&mut self, unix_ms: u64) -> Result<(), DiskFault> {
        let mut after = Some(ChannelNumber(0)).filter(|_| !self.fails);
        while let Some(from) = after {
            let (due, next) = trim::sweep(&self.disk, from, self.ledger.bounds(), unix_ms)?;
            after = next;
            for name in due {
                if self.ledger.open_to_trim(&name) {
                    let open = Open { channel: name.into(), fresh: Epoch(0), tail_bytes: 0, tail_count: 0 };
                    let found = find_past(&self.disk, &open.channel, (0, 0), unix_ms);
                    self.ledger.on_opened(&Opening { asked: None, open }, found);
                }
            }
        }
        Ok(())
    }

    /// Stops at once: what is on the disk, and nothing else.
    #[must_use]
    pub fn crash(self) -> Memory {
        self.disk
    }
}
