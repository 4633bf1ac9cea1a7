//! The thread `store`: collects requests, commits them, answers.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::commit::Log;
use super::desk::Desk;
use super::fault::Stopped;
use super::pulse::Pulse;
use super::reader::Reader;
use super::sleep::now;
use super::{Directory, Tables};
use crate::ledger::Notice;
use crate::limits::{STORE_COMMIT_BYTES_MAX, STORE_COMMIT_EARLY, STORE_STALLED_MS};
use crate::metrics::store::{StoreNumber, StoreNumbers};

/// Whether so many writes of so many bytes are committed now: at the end of their window, or as soon as they are enough.
pub(super) fn is_worth_it((writes, bytes): (usize, usize), window_is_over: bool) -> bool {
    writes > 0 && (window_is_over || writes >= STORE_COMMIT_EARLY || bytes >= STORE_COMMIT_BYTES_MAX)
}

/// What the thread has.
pub(super) struct Writer {
    desk: Desk,
    log: Log,
    readers: Vec<Reader>,
    numbers: Arc<StoreNumbers>,
    pulse: Arc<Pulse>,
    window: Duration,
    /// When the first write of the batch came.
    since: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        desk: Desk,
        (tables, directory, readers): (Arc<Tables>, Directory, Vec<Reader>),
        (numbers, pulse): (Arc<StoreNumbers>, Arc<Pulse>),
        (window, cache_bytes): (Duration, u64),
    ) -> Self {
        let log = Log { directory, tables: Some(tables), cache_bytes, committed: desk.ledger.commit() };
        Self { desk, log, readers, numbers, pulse, window, since: None }
    }

    pub(super) fn spawn(self) -> io::Result<JoinHandle<Result<(), Stopped>>> {
        std::thread::Builder::new().name("store".to_owned()).spawn(move || self.run())
    }

    /// Works until all links are dropped and everything is written.
    fn run(mut self) -> Result<(), Stopped> {
        self.count_space();
        loop {
            let any = self.desk.collect();
            if self.desk.take_swept() {
                self.count_space();
            }
            if self.desk.ledger.weight().0 > 0 && self.since.is_none() {
                self.since = Some(now());
            }
            self.desk.dispatch();
            self.desk.told.tell_owed();
            let over = self.desk.is_over();
            if self.is_due(over) {
                self.commit()?;
            } else if over && self.desk.is_idle() {
                break;
            } else if !any {
                self.rest();
            }
        }
        // Numbers that were given out and are not known here must not be used again: then it is an unclean stop.
        let unfinished = self.desk.is_unfinished();
        if !unfinished {
            self.desk.ledger.stop();
            self.commit()?;
        }
        self.log.close(&self.readers);
        for reader in self.readers.drain(..) {
            reader.end();
        }
        if unfinished { Err(Stopped::Unfinished) } else { Ok(()) }
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

    /// Whether the batch is to be written now.
    fn is_due(&self, over: bool) -> bool {
        let waited = self.since.is_none_or(|since| since.elapsed() >= self.window);
        is_worth_it(self.desk.ledger.weight(), over || waited)
    }

    fn commit(&mut self) -> Result<(), Stopped> {
        let desk = &mut self.desk;
        let (writes, bytes) = desk.ledger.weight();
        desk.count_queue();
        let number = desk.ledger.commit() + 1;
        if desk.ledger.seal().is_none() {
            return Ok(());
        }
        let (batch, begun) = (desk.ledger.take_sealed(), now());
        self.pulse.begin();
        let trouble = self.log.commit((&batch, number), &self.readers, desk, &self.numbers)?;
        self.pulse.end();
        self.since = None;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        if micros >= STORE_STALLED_MS * 1000 {
            tracing::warn!(ms = micros / 1000, "a commit took long");
        }
        self.numbers.commit().record(micros);
        self.numbers.add(StoreNumber::Commits, 1);
        self.numbers.add(StoreNumber::Writes, writes as u64);
        self.numbers.add(StoreNumber::Bytes, bytes as u64);
        let notices = desk.ledger.on_committed();
        self.numbers.set(StoreNumber::Channels, desk.ledger.open_channels() as u64);
        desk.count_queue();
        for (shard, notice) in notices {
            desk.told.tell(shard, notice);
        }
        if trouble {
            tracing::info!("the store works again");
            desk.told.tell_all(&Notice::Working);
        }
        // What waited for the batch goes before the next one begins: under steady writes there is always a next one.
        desk.dispatch();
        Ok(())
    }

    /// Sleeps: within a window for a part of it, else until somebody puts something.
    fn rest(&self) {
        match self.since {
            Some(since) => self.desk.nap(self.window.saturating_sub(since.elapsed())),
            None => self.desk.rest(),
        }
    }
}
