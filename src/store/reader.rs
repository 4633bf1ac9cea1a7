//! Threads that read: pages for shards, and what the writer must know before it goes on with a channel.
//!
//! Each holds the log only while it is open: before the writer closes it, every reader is asked to let go. What comes until
//! the log is open again waits; where it could not be opened, it is answered with a fault.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::Wake;
use super::pulse::{Look, Pulse};
use super::sleep::{now, unix_ms};
use super::tables::Tables;
use crate::ledger::books::{Opening, TrimJob};
use crate::ledger::forget::{self, Portion};
use crate::ledger::past::{Found, find_past, line_of};
use crate::ledger::trim::{Trimming, plan_job, sweep};
use crate::ledger::{Bounds, ChannelNumber, DiskFault, Forget, Notice, Page, Read, Refusal, page};
use crate::mesh::Bell;
use crate::mesh::store::Asked;

/// What the writer has looked up.
#[derive(Debug)]
pub(super) enum Job {
    Open(Opening),
    Trim(TrimJob),
    /// What a user has left.
    Forget(Forget),
    /// Channels whose events are too old, behind this one.
    Sweep(ChannelNumber, Bounds),
}

/// What was found.
#[derive(Debug)]
pub(super) enum Done {
    Opened(Opening, Result<Option<Found>, DiskFault>),
    Trimmed(TrimJob, Result<Trimming, DiskFault>),
    Forgotten(Result<Portion, DiskFault>),
    Swept(Result<(Vec<Box<str>>, Option<ChannelNumber>), DiskFault>),
}

/// What a reader takes from and puts into.
pub(super) struct Lines {
    pub(super) jobs: Receiver<Job>,
    pub(super) asked: Receiver<Asked>,
    pub(super) results: Sender<Done>,
    /// By shard.
    pub(super) answers: Vec<Sender<Notice>>,
}

/// A reader, as the writer has it.
#[derive(Debug)]
pub(super) struct Reader {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

pub(super) enum Order {
    /// Let go of the log, and say so.
    Release(Sender<()>),
    /// Here is the log.
    Use(Arc<Tables>),
    /// There is none.
    Refuse,
}

impl Order {
    /// Does it.
    pub(super) fn follow(self, tables: &mut Option<Arc<Tables>>) {
        match self {
            Self::Release(released) => {
                *tables = None;
                let _waits_or_gone = released.send(());
            }
            Self::Use(given) => *tables = Some(given),
            Self::Refuse => *tables = None,
        }
    }
}

impl Reader {
    pub(super) const fn new(orders: Sender<Order>, thread: JoinHandle<()>) -> Self {
        Self { orders, thread }
    }

    /// Has the reader let go of the log, and wait for another. Returns when it has.
    pub(super) fn release(&self) {
        let (released, done) = bounded(1);
        if self.orders.send(Order::Release(released)).is_ok() {
            // Its present job is bounded; a reader that is gone has let go too.
            let _released_or_gone = done.recv();
        }
    }

    pub(super) fn give(&self, tables: &Arc<Tables>) {
        let _taken_or_gone = self.orders.send(Order::Use(Arc::clone(tables)));
    }

    /// There is no log for now: what comes is answered with a fault.
    pub(super) fn refuse(&self) {
        let _taken_or_gone = self.orders.send(Order::Refuse);
    }

    /// Ends the reader.
    pub(super) fn end(self) {
        drop(self.orders);
        let _ended_or_panicked = self.thread.join();
    }
}

pub(super) fn spawn(
    number: usize,
    lines: Lines,
    (tables, pulse): (&Arc<Tables>, &Arc<Pulse>),
    (wake, bell): (&Wake, &Arc<Bell>),
) -> io::Result<Reader> {
    let (orders, ordered) = bounded(2);
    let (wake, bell) = (Arc::clone(wake), Arc::clone(bell));
    // One of them is enough to look after the writer.
    let pulse = (number == 0).then(|| Arc::clone(pulse));
    let mut state = State { lines, tables: Some(Arc::clone(tables)), waits: false, wake, bell };
    let thread = std::thread::Builder::new()
        .name(format!("store-read-{number}"))
        .spawn(move || state.run(&ordered, pulse.as_deref()))?;
    Ok(Reader::new(orders, thread))
}

struct State {
    lines: Lines,
    tables: Option<Arc<Tables>>,
    /// The log is being opened again: whoever asks waits for that.
    waits: bool,
    wake: Wake,
    bell: Arc<Bell>,
}

impl State {
    fn run(&mut self, ordered: &Receiver<Order>, pulse: Option<&Pulse>) {
        let mut look = pulse.map(Look::at);
        let every = if pulse.is_some() { Look::EVERY } else { Duration::MAX };
        let (jobs, asked) = (self.lines.jobs.clone(), self.lines.asked.clone());
        let (mut jobs, mut asked) = (Some(jobs), Some(asked));
        let never = (crossbeam_channel::never(), crossbeam_channel::never());
        loop {
            if let Some(ms) = look.as_mut().and_then(|look| look.look(now())) {
                tracing::warn!(ms, "the disk takes nothing: a commit does not come to its end");
            }
            // Orders come first, so that the writer waits for one job at most.
            if let Ok(order) = ordered.try_recv() {
                self.on_order(order);
                continue;
            }
            if self.waits {
                match ordered.recv() {
                    Ok(order) => self.on_order(order),
                    Err(_) => return,
                }
                continue;
            }
            select! {
                recv(ordered) -> order => match order {
                    Ok(order) => self.on_order(order),
                    Err(_) => return,
                },
                recv(jobs.as_ref().unwrap_or(&never.0)) -> job => match job {
                    Ok(job) => self.on_job(job),
                    Err(_) => jobs = None,
                },
                recv(asked.as_ref().unwrap_or(&never.1)) -> read => match read {
                    Ok(read) => self.on_read(&read),
                    Err(_) => asked = None,
                },
                default(every) => {}
            }
        }
    }

    fn on_order(&mut self, order: Order) {
        self.waits = matches!(order, Order::Release(_));
        order.follow(&mut self.tables);
    }

    fn on_job(&self, job: Job) {
        let unix_ms = unix_ms();
        let tables = self.tables.as_deref().ok_or_else(closed);
        let done = match job {
            Job::Open(opening) => {
                let open = &opening.open;
                let tail = (open.tail_count, open.tail_bytes);
                let found = tables.and_then(|tables| find_past(tables, &open.channel, tail, unix_ms));
                Done::Opened(opening, found)
            }
            Job::Trim(job) => {
                let planned = tables.and_then(|tables| plan_job(tables, &job, unix_ms));
                Done::Trimmed(job, planned)
            }
            Job::Forget(job) => Done::Forgotten(tables.and_then(|tables| forget::plan(tables, &job))),
            Job::Sweep(after, bounds) => Done::Swept(tables.and_then(|tables| sweep(tables, after, &bounds, unix_ms))),
        };
        // There is a place for each job that was given out; at the end nobody takes it.
        let _taken_or_gone = self.lines.results.send(done);
        self.bell.ring_if_asleep();
    }

    fn on_read(&self, asked: &Asked) {
        let page = self.tables.as_deref().ok_or_else(closed).and_then(|tables| read_page(tables, &asked.read));
        let notice = Notice::Page(asked.ticket, page.map(Box::new).map_err(Refusal::from));
        if let Some(answers) = self.lines.answers.get(asked.shard.index()) {
            let _placed_or_gone = answers.try_send(notice);
            (self.wake)(asked.shard);
        }
    }
}

fn read_page(tables: &Tables, read: &Read) -> Result<Page, DiskFault> {
    let line = line_of(tables, read.channel)?;
    page::read_page(tables, &line, read)
}

fn closed() -> DiskFault {
    DiskFault::Failed("the log is being opened again".to_owned())
}
