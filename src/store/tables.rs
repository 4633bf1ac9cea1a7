//! The two spaces of the ledger as trees of `fjall`.

use std::io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;
use std::time::Duration;

use fjall::{Database, Error, Guard, Iter, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, Readable as _};

use super::directory::{sync_directory, sync_tree};
use super::fault::LogFault;
use super::manifest;
use super::sleep::{now, pause};
use crate::ledger::disk::{Order, Visit};
use crate::ledger::{Batch, Disk, DiskFault, Space, Trouble};
use crate::limits::{
    STORE_FILES_OPEN_MAX, STORE_JOURNALS_BYTES, STORE_L0_TABLES_MAX, STORE_LOOK_MS, STORE_MEMTABLE_BYTES,
    STORE_SEALED_MEMTABLES_MAX, STORE_TABLE_MS_MAX,
};

/// The log, open.
pub struct Tables {
    events: Keyspace,
    rows: Keyspace,
    log: Database,
}

impl Tables {
    /// Opens the log, and makes it if it is not there.
    ///
    /// # Errors
    /// The library's: damage, or what the system says.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, LogFault> {
        manifest::check(path)?;
        let log = Database::builder(path)
            .cache_size(cache_bytes)
            .max_cached_files(Some(STORE_FILES_OPEN_MAX))
            .max_journaling_size(STORE_JOURNALS_BYTES)
            // One: with more, one of them spins while another compacts.
            .worker_threads(1)
            .open()
            .map_err(|error| fault_of(&error))?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(STORE_MEMTABLE_BYTES);
        let events = log.keyspace("events", options).map_err(|error| fault_of(&error))?;
        let rows = log.keyspace("rows", options).map_err(|error| fault_of(&error))?;
        // Before anything is written that somebody is told of.
        let mut synced = sync_tree(path)?;
        if let Some(above) = path.parent() {
            sync_directory(above)?;
            synced.push(above.to_owned());
        }
        tracing::debug!(directories = synced.len(), "the log is open");
        Ok(Self { events, rows, log })
    }

    /// Writes a batch, whole or not at all, and returns when it is on the disk.
    ///
    /// # Errors
    /// It is not on the disk, or nobody knows. The log takes nothing any more and has to be opened anew.
    pub fn commit(&self, batch: &Batch) -> Result<(), LogFault> {
        let mut writes = fjall::OwnedWriteBatch::with_capacity(self.log.clone(), batch.len())
            .durability(Some(PersistMode::SyncData));
        for ((space, key), value) in batch {
            let tree = self.tree(*space);
            match value {
                Some(value) => writes.insert(tree, &**key, &**value),
                None => writes.remove(tree, &**key),
            }
        }
        writes.commit().map_err(|error| fault_of(&error))
    }

    /// Whether the log can take no more for now: what is in memory has to be written to tables first. The library would
    /// wait for that inside a commit, without end if its own thread has failed meanwhile.
    pub fn is_backed_up(&self) -> bool {
        [&self.events, &self.rows].iter().any(|tree| {
            tree.sealed_memtable_count() >= STORE_SEALED_MEMTABLES_MAX || tree.l0_table_count() >= STORE_L0_TABLES_MAX
        })
    }

    /// Whether the log still takes writes.
    ///
    /// # Errors
    /// An earlier failure, maybe of the library's own thread.
    pub fn check(&self) -> Result<(), LogFault> {
        self.log.persist(PersistMode::Buffer).map_err(|error| fault_of(&error))
    }

    /// Writes all trees anew, without what was removed.
    ///
    /// # Errors
    /// The library's; the disk is full, fails or does not get on.
    pub fn compact(&self) -> Result<(), LogFault> {
        for tree in [&self.events, &self.rows] {
            tree.rotate_memtable().map_err(|error| fault_of(&error))?;
            self.wait_for_tables(tree)?;
            tree.major_compact().map_err(|error| fault_of(&error))?;
        }
        Ok(())
    }

    /// Waits until what a tree has in memory was written to tables. The library would wait for that without end if its own
    /// thread has failed.
    fn wait_for_tables(&self, tree: &Keyspace) -> Result<(), LogFault> {
        let (mut waiting, mut since) = (usize::MAX, now());
        loop {
            let left = tree.sealed_memtable_count();
            if left == 0 {
                return Ok(());
            }
            self.check()?;
            if left < waiting {
                (waiting, since) = (left, now());
            } else if since.elapsed() > Duration::from_millis(STORE_TABLE_MS_MAX) {
                return Err(LogFault::stalled(format!("no table was written for {STORE_TABLE_MS_MAX} ms")));
            }
            pause(Duration::from_millis(STORE_LOOK_MS));
        }
    }

    /// Bytes on the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn disk_bytes(&self) -> Result<u64, LogFault> {
        self.log.disk_space().map_err(|error| fault_of(&error))
    }

    /// What is committed now.
    pub(super) fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { tables: self, at: self.log.snapshot() }
    }

    const fn tree(&self, space: Space) -> &Keyspace {
        match space {
            Space::Events => &self.events,
            Space::Rows => &self.rows,
        }
    }
}

impl Disk for Tables {
    fn get(&self, space: Space, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<(), DiskFault> {
        let found = self.tree(space).get(key).map_err(|error| disk_fault_of(&error))?;
        if let Some(value) = found {
            read(&value);
        }
        Ok(())
    }

    fn scan(
        &self,
        space: Space,
        range: RangeInclusive<&[u8]>,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), DiskFault> {
        if range.start() > range.end() {
            return Ok(());
        }
        walk(self.tree(space).range(range), order, visit)
    }
}

fn walk(mut found: Iter, order: Order, visit: Visit<'_>) -> Result<(), DiskFault> {
    let mut visit = |guard: Guard| -> Result<ControlFlow<()>, DiskFault> {
        let (key, value) = guard.into_inner().map_err(|error| disk_fault_of(&error))?;
        Ok(visit(&key, &value))
    };
    while let Some(guard) = match order {
        Order::Forward => found.next(),
        Order::Backward => found.next_back(),
    } {
        if visit(guard)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// What was committed at one moment, over both spaces. Until it is dropped the log keeps what is removed meanwhile.
pub(super) struct Snapshot<'a> {
    tables: &'a Tables,
    at: fjall::Snapshot,
}

impl Disk for Snapshot<'_> {
    fn get(&self, space: Space, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<(), DiskFault> {
        let found = self.at.get(self.tables.tree(space), key).map_err(|error| disk_fault_of(&error))?;
        if let Some(value) = found {
            read(&value);
        }
        Ok(())
    }

    fn scan(
        &self,
        space: Space,
        range: RangeInclusive<&[u8]>,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), DiskFault> {
        if range.start() > range.end() {
            return Ok(());
        }
        walk(self.at.range(self.tables.tree(space), range), order, visit)
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("journals", &self.log.journal_count()).finish_non_exhaustive()
    }
}

/// Which kind of fault the library's error is.
fn fault_of(error: &Error) -> LogFault {
    match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => {
            // A file that is gone or too short, or a place in it where there can be nothing: what was written says no such
            // thing, and says it again at the next try.
            let damaged = matches!(error.kind(), InvalidData | InvalidInput | NotFound | UnexpectedEof);
            LogFault { damaged, ..LogFault::from(error) }
        }
        // Whatever failed before it, maybe in the library's own thread, was said in the log.
        Error::Poisoned => failing("an earlier write has failed"),
        Error::Locked => failing("another process has it open"),
        _ => LogFault::damaged(format!("{error:?}")),
    }
}

fn failing(what: &str) -> LogFault {
    LogFault { trouble: Trouble::Failing, damaged: false, what: what.to_owned() }
}

fn disk_fault_of(error: &Error) -> DiskFault {
    let LogFault { damaged, what, .. } = fault_of(error);
    if damaged { DiskFault::Damaged(what) } else { DiskFault::Failed(what) }
}
