//! The host of the durable log: one thread that writes, a few that read, and a directory that is theirs alone.
//!
//! [`start`] takes the directory, mends what an unclean stop left behind, says on the disk that the log runs, and only
//! then gives out a [`StoreLink`] for each shard. A shard puts requests into its link and takes answers from it; it is woken as
//! the mesh wakes it. The thread `store` collects requests for a while (the window), writes them as one batch with one
//! `fdatasync`, and answers; threads `store-read` look things up meanwhile, so that neither a shard nor a commit waits for
//! them; `store-backup` gives a copy of everything. The thread ends when all links are dropped, with a last commit that says the stop was clean.
//!
//! When a commit fails, nothing is lost: the shards are told, the log is closed, cut back to the last commit that was
//! acknowledged, opened again, and the same batch is written under the same keys, until it succeeds. The journal is cut
//! back because a page whose write failed may be in the page cache and not on the disk: what is written behind it would
//! be acknowledged and gone after a power cut. Until the next try the log that failed stays open: what is committed is
//! read from it, and channels of which nothing waits to be written are opened.
//!
//! Invariants: an answer never overtakes the `fdatasync` it stands for; every queue has room for each answer that is owed,
//! since who has no place left is refused beforehand. Absent: what the records mean, which is `ledger`; any decision about
//! channels.

mod backup;
mod commit;
mod copying;
mod desk;
mod directory;
mod fault;
pub mod journal;
mod manifest;
mod offline;
mod pulse;
mod reader;
mod sleep;
mod tables;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, bounded};

use crate::ids::ShardId;
use crate::ledger::{Bounds, Ledger, State};
use crate::limits::{STORE_JOBS_MAX, STORE_READERS_MAX, STORE_WINDOW_MS_MAX, STORE_WINDOW_MS_MIN};
use crate::mesh::{Bell, StoreLink, store_links};
use crate::metrics::store::StoreNumbers;

pub use self::backup::{Backups, Given, Head};
pub use self::copying::Copy;
pub use self::directory::{Directory, id_of, look};
pub use self::fault::{StartFault, Stopped};
pub use self::offline::Offline;
pub use self::tables::Tables;

/// How the store is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; it is made if it is not there.
    pub directory: PathBuf,
    /// How long requests are collected before they are written together.
    pub window: Duration,
    /// Memory for blocks that were read.
    pub cache_bytes: u64,
    /// Threads that read.
    pub readers: usize,
    /// How many shards there are.
    pub shards: u16,
    /// How much is retained of which channel.
    pub bounds: Bounds,
}

/// Wakes a shard that was given an answer.
pub type Wake = Arc<dyn Fn(ShardId) + Send + Sync>;

/// The store while it runs.
#[derive(Debug)]
pub struct Store {
    /// What the log knew of itself at the start; the key that operations are hashed with among it.
    pub state: State,
    /// For each shard its own.
    pub links: Vec<StoreLink>,
    /// What it counts.
    pub numbers: Arc<StoreNumbers>,
    /// Where backups are asked for.
    pub backups: Backups,
    /// Where other bounds are put.
    pub retaining: Retaining,
    thread: JoinHandle<Result<(), Stopped>>,
}

impl Store {
    /// Takes the links out, and what waits for the end of the store: after all links were dropped.
    #[must_use]
    pub fn split(self) -> (Vec<StoreLink>, Ending) {
        (self.links, Ending(self.thread))
    }
}

/// The way for other bounds to the store that runs.
#[derive(Clone, Debug)]
pub struct Retaining {
    queue: Sender<Bounds>,
    bell: Arc<Bell>,
}

impl Retaining {
    /// Puts how much is retained from now on: what is over it goes soon, of channels that nobody opens too.
    ///
    /// # Errors
    /// What was put before is not taken yet. A store that has ended takes nothing, and needs nothing.
    pub fn try_put(&self, bounds: Bounds) -> Result<(), Bounds> {
        match self.queue.try_send(bounds) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(bounds)) => return Err(bounds),
        }
        self.bell.ring_if_asleep();
        Ok(())
    }
}

/// The end of the store's thread.
#[derive(Debug)]
pub struct Ending(JoinHandle<Result<(), Stopped>>);

impl Ending {
    /// Waits until everything is written and the directory is closed. All links must have been dropped.
    ///
    /// # Errors
    /// Not everything could be written: the next start treats this as an unclean stop, as it must.
    pub fn wait(self) -> Result<(), Stopped> {
        self.0.join().unwrap_or(Err(Stopped::Panicked))
    }
}

/// Opens the log and starts its threads. When this returns, the disk says that the log runs.
///
/// # Errors
/// The directory is in use, of another version, damaged, or cannot be written.
pub fn start(options: &Options, wake: Wake) -> Result<Store, StartFault> {
    let directory = Directory::take(&options.directory)?;
    let failed = |what: String| StartFault::Unreadable { path: options.directory.clone(), what, passing: true };
    journal::mend(&directory.log(), directory.id(), None).map_err(|fault| fault.at(&options.directory))?;
    let tables = Tables::open(&directory.log(), options.cache_bytes).map_err(|fault| fault.at(&options.directory))?;
    let mut fresh = State { generation: 0, stopped: None, key: [0; 16], id: directory.id() };
    getrandom::fill(&mut fresh.key).map_err(|error| failed(error.to_string()))?;
    let mut ledger = Ledger::start(&tables, fresh, options.bounds.clone())
        .map_err(|fault| StartFault::of_disk(&options.directory, &fault))?;
    if ledger.state().id != directory.id() {
        return Err(StartFault::damaged(&options.directory, "its log belongs to another directory"));
    }
    let begun = directory.has_begun().map_err(|error| StartFault::unreadable(&options.directory, &error))?;
    if begun && ledger.commit() == 0 {
        return Err(StartFault::damaged(&options.directory, directory::NO_LOG));
    }
    if let Some(batch) = ledger.seal() {
        tables.commit(batch).map_err(|fault| fault.at(&options.directory))?;
    }
    ledger.on_committed();
    directory.note_begun().map_err(|error| StartFault::unreadable(&options.directory, &error))?;
    let state = *ledger.state();
    let bell = Arc::new(Bell::new().map_err(|error| failed(error.to_string()))?);
    let (links, ends, asked) = store_links(options.shards, &bell);
    let (jobs, to_do) = bounded(STORE_JOBS_MAX);
    let (results, done) = bounded(STORE_JOBS_MAX);
    let (tables, pulse) = (Arc::new(tables), Arc::new(pulse::Pulse::new()));
    let mut readers = Vec::new();
    for number in 0..options.readers.clamp(1, STORE_READERS_MAX) {
        let (jobs, asked) = (to_do.clone(), asked.clone());
        let answers = ends.iter().map(|end| end.answers.clone()).collect();
        let lines = reader::Lines { jobs, asked, results: results.clone(), answers };
        readers.push(
            reader::spawn(number, lines, (&tables, &pulse), (&wake, &bell))
                .map_err(|error| failed(error.to_string()))?,
        );
    }
    let (backups, reader) = backup::spawn(directory.id(), &tables).map_err(|error| failed(error.to_string()))?;
    readers.push(reader);
    let numbers = StoreNumbers::shared();
    let (queue, news) = bounded(1);
    let retaining = Retaining { queue, bell: Arc::clone(&bell) };
    let writer = writer::Writer::new(
        desk::Desk::new(ledger, (ends, jobs, done, news), (bell, wake, Arc::clone(&numbers))),
        (tables, directory, readers),
        (Arc::clone(&numbers), pulse),
        (within_bounds(options.window), options.cache_bytes),
    );
    let thread = writer.spawn().map_err(|error| failed(error.to_string()))?;
    Ok(Store { state, links, numbers, backups, retaining, thread })
}

/// A window as it may be.
fn within_bounds(window: Duration) -> Duration {
    window.clamp(Duration::from_millis(STORE_WINDOW_MS_MIN), Duration::from_millis(STORE_WINDOW_MS_MAX))
}

#[cfg(test)]
mod tests;
