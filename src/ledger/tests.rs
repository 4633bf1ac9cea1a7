//! A log over a disk in memory, driven by one shard.

mod books;
mod copies;
mod lines;
mod pages;
mod records;
mod surveys;
mod trims;

mod forgets;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::contract::{Append, Bounds, ChannelNumber, Keep, Notice, Open, Past, Read, Refusal, Request, Ticket};
use super::disk::{Batch, Disk, DiskFault, Order, Space};
use super::event::{Event, Operation, write_body};
use super::memory::Memory;
use super::past::{find_past, line_of};
use super::rows::State;
use super::{Ledger, key, page, trim};
use crate::ids::{Epoch, Seq, ShardId};
use crate::payload::Payload;

const SHARD: ShardId = ShardId(3);
const KEEP: Keep = Keep { count: 100, bytes: 1 << 20, age_ms: 1_000_000 };

/// A state that no store has yet.
fn fresh() -> State {
    State { generation: 0, stopped: None, key: [7; 16], id: 42 }
}

/// One shard's log.
struct Log {
    disk: Memory,
    ledger: Ledger,
    ticket: u64,
    unix_ms: u64,
    /// What is not as [`KEEP`] says.
    keeps: BTreeMap<String, Keep>,
}

impl Log {
    fn on(disk: Memory) -> Self {
        let ledger = Ledger::start(&disk, fresh(), KEEP.into()).unwrap();
        let mut log = Self { disk, ledger, ticket: 0, unix_ms: 1_000_000, keeps: BTreeMap::new() };
        assert_eq!(log.commit(), []);
        log
    }

    fn new() -> Self {
        Self::on(Memory::default())
    }

    fn take(&mut self, request: Request) -> Ticket {
        self.ticket += 1;
        self.ledger.take(SHARD, Ticket(self.ticket), request, self.unix_ms);
        Ticket(self.ticket)
    }

    /// Commits the batch, and does what waited for it.
    fn commit(&mut self) -> Vec<Notice> {
        let Some(batch) = self.ledger.seal() else { return Vec::new() };
        self.disk.commit(batch);
        let notices = self.ledger.on_committed();
        notices.into_iter().map(|(shard, notice)| (shard == SHARD).then_some(notice).unwrap()).collect()
    }

    /// Commits until nothing is left to be trimmed.
    fn settle(&mut self) -> Vec<Notice> {
        let mut notices = self.commit();
        loop {
            let jobs = self.ledger.take_trim_jobs(10);
            if jobs.is_empty() {
                return notices;
            }
            for job in jobs {
                let planned = trim::plan_job(&self.disk, &job, self.unix_ms);
                assert_eq!(self.ledger.on_trimming(&job, planned), None);
            }
            notices.extend(self.commit());
        }
    }

    /// Other bounds for one channel from now on.
    fn keep(&mut self, channel: &str, keep: Keep) {
        self.keeps.insert(channel.to_owned(), keep);
        let keeps = self.keeps.clone();
        self.ledger.set_bounds(Bounds::new(move |channel| keeps.get(channel).copied().unwrap_or(KEEP)));
    }

    /// Opens a channel of which so much is retained.
    fn try_open(&mut self, channel: &str, keep: Keep) -> Result<Past, Refusal> {
        if self.keeps.get(channel).copied().unwrap_or(KEEP) != keep {
            self.keep(channel, keep);
        }
        self.settle();
        let fresh = Epoch(1000 + self.ledger.commit());
        let open = Open { channel: Arc::from(channel), fresh, tail_bytes: 1 << 20, tail_count: 10 };
        self.take(Request::Open(open));
        let [opening] = &self.ledger.take_openings(5)[..] else { panic!("one was asked for") };
        let found = find_past(&self.disk, channel, (10, 1 << 20), self.unix_ms);
        match self.ledger.on_opened(opening, found) {
            Some((SHARD, Notice::Opened(_, past))) => past.map(|past| *past),
            other => panic!("{other:?}"),
        }
    }

    fn open(&mut self, channel: &str) -> Past {
        self.try_open(channel, KEEP).unwrap()
    }

    /// Appends the events of `seqs`.
    fn append(&mut self, past: &Past, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            self.append_one(past, seq, None);
        }
    }

    fn append_one(&mut self, past: &Past, seq: u64, operation: Option<u128>) -> Ticket {
        let body = body(self.unix_ms, seq, operation);
        let (channel, epoch) = (past.channel, past.start.epoch);
        self.take(Request::Append(Append { channel, epoch, seq: Seq(seq), unix_ms: self.unix_ms, body }))
    }

    /// What is on the disk of a channel, through the eyes of a reader.
    fn seqs(&self, past: &Past) -> Vec<u64> {
        let line = line_of(&self.disk, past.channel).unwrap();
        let all = Read { count: 10_000, bytes: 1 << 30, ..everything(past.channel) };
        let page = page::read_page(&self.disk, &line, &all).unwrap();
        assert_eq!((page.damaged, page.more), (vec![], false));
        page.records.iter().map(|(seq, _)| seq.0).collect()
    }

    /// Stops uncleanly: what was not committed is gone.
    fn crash(self) -> Self {
        let mut log = Self { unix_ms: self.unix_ms, ..Self::on(self.disk) };
        self.keeps.into_iter().for_each(|(channel, keep)| log.keep(&channel, keep));
        log
    }

    fn stop(mut self) -> Self {
        self.settle();
        self.ledger.stop();
        self.commit();
        let mut log = Self { unix_ms: self.unix_ms, ..Self::on(self.disk) };
        self.keeps.into_iter().for_each(|(channel, keep)| log.keep(&channel, keep));
        log
    }
}

fn everything(channel: ChannelNumber) -> Read {
    Read { channel, after: Seq(0), through: Seq(u64::MAX - 1), order: Order::Forward, count: 1000, bytes: 1 << 20 }
}

fn operation(identity: u128) -> Operation {
    Operation { identity, content: 5, author: 6 }
}

fn body(unix_ms: u64, seq: u64, id: Option<u128>) -> Payload {
    let payload = format!("{{\"n\":{seq}}}");
    let event = Event {
        unix_ms,
        id: u128::from(seq),
        operation: id.map(operation),
        user: "ann",
        op_id: if id.is_some() { "op" } else { "" },
        kind: "note",
        payload: payload.as_bytes(),
    };
    let mut out = Vec::new();
    write_body(&event, &mut out);
    Payload::copy_of(&out)
}
