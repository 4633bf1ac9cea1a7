//! The thread `store`: collects requests, commits them, answers.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::commit::{Log, Witness};
use super::fault::Stopped;
use super::reader::{Done, Job, Reader};
use super::sleep::{now, sleep, unix_ms};
use super::{Directory, Tables, Wake};
use crate::ids::{Epoch, ShardId};
use crate::ledger::{ChannelNumber, Keep, Ledger, Notice, Open, Opening, Trouble};
use crate::limits::{
    STORE_COMMIT_BYTES_MAX, STORE_COMMIT_EARLY, STORE_COMMIT_WRITES_MAX, STORE_JOBS_MAX, STORE_LOOK_MS, STORE_SWEEP_MS,
};
use crate::mesh::Bell;
use crate::mesh::store::StoreEnd;
use crate::metrics::store::{StoreNumber, StoreNumbers};

/// Whether so many writes of so many bytes are committed now: at the end of their window, or as soon as they are enough.
pub(super) fn is_worth_it((writes, bytes): (usize, usize), window_is_over: bool) -> bool {
    writes > 0 && (window_is_over || writes >= STORE_COMMIT_EARLY || bytes >= STORE_COMMIT_BYTES_MAX)
}

/// What the thread has.
pub(super) struct Writer {
    ledger: Ledger,
    log: Log,
    told: Told,
    jobs: Sender<Job>,
    done: Receiver<Done>,
    readers: Vec<Reader>,
    /// Jobs that were given out and whose results were not taken.
    jobs_open: usize,
    /// Channels to be trimmed that wait to be opened.
    old: VecDeque<Box<str>>,
    sweep: Sweep,
    bell: Arc<Bell>,
    numbers: Arc<StoreNumbers>,
    window: Duration,
    /// When the first write of the batch came.
    since: Option<Instant>,
}

/// Where the search for old events is.
#[derive(Clone, Copy, Debug)]
enum Sweep {
    /// It goes on behind this channel, from then on.
    From(ChannelNumber, Instant),
    /// A reader is at it.
    Running,
}

/// The other ends of the links.
struct Told {
    ends: Vec<StoreEnd>,
    /// Shards that ended.
    gone: Vec<bool>,
    wake: Wake,
    /// Whether commits go on, for those who have not taken it yet.
    owed: Vec<Option<Notice>>,
}

impl Told {
    fn tell(&mut self, shard: ShardId, notice: Notice) {
        let Some(end) = self.ends.get(shard.index()) else { return };
        let placed = end.answers.try_send(notice);
        debug_assert!(!placed.is_err_and(|error| error.is_full()), "every answer that is owed has its place");
        (self.wake)(shard);
    }

    /// Tells all shards how commits go. Who has no place now is told the latest later.
    fn tell_all(&mut self, notice: &Notice) {
        self.owed.fill(Some(notice.clone()));
        self.tell_owed();
    }

    fn tell_owed(&mut self) {
        for (index, owed) in self.owed.iter_mut().enumerate() {
            let Some(notice) = owed.take() else { continue };
            let spare = self.ends[index].answers.capacity().is_some_and(|all| self.ends[index].answers.len() < all / 2);
            if !spare || self.ends[index].answers.try_send(notice.clone()).is_err_and(|error| error.is_full()) {
                *owed = Some(notice);
            } else if let Ok(shard) = u16::try_from(index) {
                (self.wake)(ShardId(shard));
            }
        }
    }
}

impl Witness for Told {
    fn on_trouble(&mut self, trouble: Trouble) {
        self.tell_all(&Notice::Trouble(trouble));
    }

    fn is_alone(&self) -> bool {
        self.ends.iter().all(StoreEnd::is_abandoned)
    }
}

impl Writer {
    pub(super) fn new(
        (ledger, tables, directory): (Ledger, Arc<Tables>, Directory),
        (ends, jobs, done, readers): (Vec<StoreEnd>, Sender<Job>, Receiver<Done>, Vec<Reader>),
        (bell, wake, numbers): (Arc<Bell>, Wake, Arc<StoreNumbers>),
        (window, cache_bytes): (Duration, u64),
    ) -> Self {
        let (gone, owed) = (vec![false; ends.len()], vec![None; ends.len()]);
        let log = Log { directory, tables: Some(tables), cache_bytes, committed: ledger.commit() };
        Self {
            ledger,
            log,
            told: Told { ends, gone, wake, owed },
            jobs,
            done,
            readers,
            jobs_open: 0,
            old: VecDeque::new(),
            sweep: Sweep::From(ChannelNumber(0), now() + Duration::from_millis(STORE_SWEEP_MS)),
            bell,
            numbers,
            window,
            since: None,
        }
    }

    pub(super) fn spawn(self) -> io::Result<JoinHandle<Result<(), Stopped>>> {
        std::thread::Builder::new().name("store".to_owned()).spawn(move || self.run())
    }

    /// Works until all links are dropped and everything is written.
    fn run(mut self) -> Result<(), Stopped> {
        self.count_space();
        loop {
            let any = self.collect();
            self.dispatch();
            self.told.tell_owed();
            let over = self.told.gone.iter().all(|gone| *gone);
            if self.is_due(over) {
                self.commit()?;
            } else if over && self.jobs_open == 0 {
                break;
            } else if !any {
                self.rest();
            }
        }
        // Numbers that were given out and are not known here must not be used again: then it is an unclean stop.
        let unfinished = self.told.ends.iter().any(StoreEnd::is_unfinished);
        if !unfinished {
            self.ledger.stop();
            self.commit()?;
        }
        for reader in &self.readers {
            reader.release();
        }
        for reader in self.readers.drain(..) {
            reader.end();
        }
        self.log.close(&[]);
        if unfinished { Err(Stopped::Unfinished) } else { Ok(()) }
    }

    /// Takes what shards and readers have put, as far as it fits the batch. Returns whether anything came.
    fn collect(&mut self) -> bool {
        let mut any = false;
        while let Ok(done) = self.done.try_recv() {
            any = true;
            self.jobs_open -= 1;
            self.on_done(done);
        }
        let unix_ms = unix_ms();
        for (index, end) in self.told.ends.iter().enumerate() {
            let Ok(shard) = u16::try_from(index).map(ShardId) else { continue };
            // An equal share of the batch, so that no shard fills it alone.
            for _ in 0..STORE_COMMIT_WRITES_MAX / self.told.ends.len() {
                if self.ledger.weight().1 >= STORE_COMMIT_BYTES_MAX {
                    break;
                }
                match end.requests.try_recv() {
                    Ok((ticket, request)) => {
                        any = true;
                        self.ledger.take(shard, ticket, request, unix_ms);
                    }
                    Err(TryRecvError::Disconnected) => {
                        self.told.gone[index] = true;
                        break;
                    }
                    Err(TryRecvError::Empty) => break,
                }
            }
        }
        if self.ledger.weight().0 > 0 && self.since.is_none() {
            self.since = Some(now());
        }
        any
    }

    /// Writes that wait, in the batch or before it.
    fn count_queue(&self) {
        let waiting: usize = self.told.ends.iter().map(|end| end.requests.len()).sum();
        self.numbers.set(StoreNumber::Queued, (self.ledger.weight().0 + waiting) as u64);
    }

    /// What the store takes of its disk, and what is left there. A question that is not answered leaves what was known.
    fn count_space(&self) {
        if let Some(Ok(bytes)) = self.log.tables.as_deref().map(Tables::disk_bytes) {
            self.numbers.set(StoreNumber::DiskBytes, bytes);
        }
        if let Ok(found) = rustix::fs::statvfs(self.log.directory.root()) {
            self.numbers.set(StoreNumber::FreeBytes, found.f_bavail.saturating_mul(found.f_frsize));
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Opened(opening, found) => {
                if let Some((shard, notice)) = self.ledger.on_opened(&opening, found) {
                    self.told.tell(shard, notice);
                }
            }
            Done::Trimmed(job, planned) => {
                if let Err(fault) = &planned {
                    tracing::warn!(channel = &*job.line.name, %fault, "events over the bounds cannot be removed");
                }
                if let Some((shard, notice)) = self.ledger.on_trimming(&job, planned) {
                    self.told.tell(shard, notice);
                }
            }
            Done::Swept(found) => {
                let next = found.as_ref().ok().and_then(|(_, next)| *next);
                // A look that found its end begins again after a while, one that did not goes on at once.
                let pause = if next.is_some() { STORE_LOOK_MS } else { STORE_SWEEP_MS };
                self.sweep = Sweep::From(next.unwrap_or(ChannelNumber(0)), now() + Duration::from_millis(pause));
                self.old.extend(found.map(|(due, _)| due).unwrap_or_default());
                self.count_space();
            }
        }
    }

    /// Gives readers what is to be looked up, as far as there is room.
    fn dispatch(&mut self) {
        let room = STORE_JOBS_MAX - self.jobs_open;
        let mut jobs: Vec<Job> = self.ledger.take_openings(room).into_iter().map(Job::Open).collect();
        let room = (room - jobs.len()) / 2;
        jobs.extend(self.ledger.take_trim_jobs(room).into_iter().map(Job::Trim));
        for name in self.old.drain(..room.min(self.old.len())) {
            if self.ledger.open_to_trim(&name) {
                let keep = Keep { count: 0, bytes: 0, age_ms: 0 };
                let open = Open { channel: name.into(), keep, fresh: Epoch(0), tail_bytes: 0, tail_count: 0 };
                jobs.push(Job::Open(Opening { asked: None, open }));
            }
        }
        if let Sweep::From(after, at) = self.sweep
            && room > 0
            && self.old.is_empty()
            && now() >= at
        {
            self.sweep = Sweep::Running;
            jobs.push(Job::Sweep(after));
        }
        self.jobs_open += jobs.len();
        for job in jobs {
            let placed = self.jobs.try_send(job);
            debug_assert!(placed.is_ok(), "there is a place for each job");
        }
    }

    /// Whether the batch is to be written now.
    fn is_due(&self, over: bool) -> bool {
        let waited = self.since.is_none_or(|since| since.elapsed() >= self.window);
        is_worth_it(self.ledger.weight(), over || waited)
    }

    fn commit(&mut self) -> Result<(), Stopped> {
        let (writes, bytes) = self.ledger.weight();
        self.count_queue();
        let number = self.ledger.commit() + 1;
        let Some(batch) = self.ledger.seal() else { return Ok(()) };
        let begun = now();
        let trouble = self.log.commit((batch, number), &self.readers, &mut self.told, (&self.bell, &self.numbers))?;
        self.since = None;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.numbers.commit().record(micros);
        self.numbers.add(StoreNumber::Commits, 1);
        self.numbers.add(StoreNumber::Writes, writes as u64);
        self.numbers.add(StoreNumber::Bytes, bytes as u64);
        let notices = self.ledger.on_committed();
        self.numbers.set(StoreNumber::Channels, self.ledger.open_channels() as u64);
        self.count_queue();
        for (shard, notice) in notices {
            self.told.tell(shard, notice);
        }
        if trouble {
            tracing::info!("the store works again");
            self.told.tell_all(&Notice::Working);
        }
        // What waited for the batch goes before the next one begins: under steady writes there is always a next one.
        self.dispatch();
        Ok(())
    }

    /// Sleeps: within a window for a part of it, else until somebody puts something.
    fn rest(&self) {
        if let Some(since) = self.since {
            let left = self.window.saturating_sub(since.elapsed());
            return sleep(&self.bell, left.min(Duration::from_millis(STORE_LOOK_MS)));
        }
        let until = match self.sweep {
            Sweep::From(_, at) => at.saturating_duration_since(now()),
            Sweep::Running => Duration::from_millis(STORE_SWEEP_MS),
        };
        self.bell.announce();
        let mut ends = self.told.ends.iter().zip(&self.told.gone);
        let quiet = |(end, gone): (&StoreEnd, &bool)| end.requests.is_empty() && (*gone || !end.is_abandoned());
        if self.done.is_empty() && ends.all(quiet) {
            sleep(&self.bell, until.min(Duration::from_millis(STORE_SWEEP_MS)));
        }
        self.bell.rise();
    }
}
