//! A commit, however often it has to be tried.

use std::sync::Arc;
use std::time::Duration;

use super::Directory;
use super::fault::{LogFault, Stopped};
use super::journal;
use super::reader::Reader;
use super::sleep::{now, sleep};
use super::tables::Tables;
use crate::ledger::Batch;
use crate::ledger::{Disk as _, Space, Trouble, commit_of};
use crate::limits::{STORE_BACKOFF_MS_MAX, STORE_BACKOFF_MS_MIN, STORE_FAREWELL_MS, STORE_LOOK_MS, STORE_STALLED_MS};
use crate::mesh::Bell;
use crate::metrics::store::{StoreNumber, StoreNumbers};

/// The log, open or to be opened again.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) directory: Directory,
    pub(super) tables: Option<Arc<Tables>>,
    pub(super) cache_bytes: u64,
    /// The last commit that is on the disk for sure.
    pub(super) committed: u64,
}

/// Who is told what while a commit does not succeed.
pub(super) trait Witness {
    /// Commits have stopped.
    fn on_trouble(&mut self, trouble: Trouble);
    /// Whether nobody is left who could wait for more.
    fn is_alone(&self) -> bool;
}

impl Log {
    /// Writes a batch. Returns when it is on the disk, and whether there was trouble meanwhile.
    ///
    /// # Errors
    /// Everybody has left and the disk still does not take it, or the log lacks what was acknowledged.
    pub(super) fn commit(
        &mut self,
        (batch, number): (&Batch, u64),
        readers: &[Reader],
        witness: &mut impl Witness,
        (bell, numbers): (&Bell, &StoreNumbers),
    ) -> Result<bool, Stopped> {
        let (mut trouble, mut pause, mut farewell) = (None, STORE_BACKOFF_MS_MIN, None);
        loop {
            match self.try_commit(batch, witness, &mut trouble, bell) {
                Ok(()) => {
                    self.committed = number;
                    return Ok(trouble.is_some());
                }
                Err(fault) => {
                    tracing::error!(error = fault.what, "a commit failed; the log is opened again");
                    numbers.add(StoreNumber::Failures, 1);
                    if trouble != Some(fault.trouble) {
                        witness.on_trouble(fault.trouble);
                    }
                    trouble = Some(fault.trouble);
                }
            }
            self.close(readers);
            loop {
                let until = *farewell.get_or_insert_with(|| now() + Duration::from_millis(STORE_FAREWELL_MS));
                if !witness.is_alone() {
                    farewell = None;
                } else if now() >= until {
                    return Err(Stopped::Unwritten(trouble.unwrap_or(Trouble::Failing)));
                }
                sleep(bell, Duration::from_millis(pause));
                pause = (pause * 2).min(STORE_BACKOFF_MS_MAX);
                match self.open(readers) {
                    Ok(()) => break,
                    Err(Reopening::Failed(fault)) => tracing::warn!(error = fault.what, "the log cannot be opened yet"),
                    Err(Reopening::Lost(what)) => {
                        tracing::error!(what, "the log lacks what was acknowledged: the store writes no more");
                        let unmarked = self.directory.mark_damaged(&what).err().map(|error| error.to_string());
                        return Err(Stopped::Lost { unmarked });
                    }
                }
            }
        }
    }

    fn try_commit(
        &self,
        batch: &Batch,
        witness: &mut impl Witness,
        trouble: &mut Option<Trouble>,
        bell: &Bell,
    ) -> Result<(), LogFault> {
        let Some(tables) = &self.tables else { return Err(LogFault::damaged("the log is closed")) };
        let begun = now();
        while tables.is_backed_up() {
            tables.check()?;
            if trouble.is_none() && begun.elapsed() > Duration::from_millis(STORE_STALLED_MS) {
                *trouble = Some(Trouble::Stalled);
                witness.on_trouble(Trouble::Stalled);
            }
            sleep(bell, Duration::from_millis(STORE_LOOK_MS));
        }
        tables.commit(batch)
    }

    /// Lets go of the log. Every reader has done so when this returns.
    pub(super) fn close(&mut self, readers: &[Reader]) {
        for reader in readers {
            reader.release();
        }
        drop(self.tables.take());
    }

    /// Opens the log as it was after the last commit that was acknowledged.
    fn open(&mut self, readers: &[Reader]) -> Result<(), Reopening> {
        let path = self.directory.log();
        let mended = journal::mend(&path, self.directory.id(), Some(self.committed))?;
        let tables = Arc::new(Tables::open(&path, self.cache_bytes)?);
        let mut found = None;
        let id = self.directory.id();
        let read = tables.get(Space::Rows, crate::ledger::COMMIT_KEY, &mut |value| {
            found = commit_of(id, crate::ledger::COMMIT_KEY, value);
        });
        read.map_err(|fault| LogFault::damaged(fault.to_string()))?;
        if found != Some(self.committed) {
            let known = found.map_or_else(|| "none".to_owned(), |commit| commit.to_string());
            return Err(Reopening::Lost(format!(
                "commit {} was acknowledged, and the last one found is {known}",
                self.committed
            )));
        }
        tracing::info!(cut_bytes = mended.cut_bytes, "the log is open again");
        for reader in readers {
            reader.give(&tables);
        }
        self.tables = Some(tables);
        Ok(())
    }
}

enum Reopening {
    Failed(LogFault),
    Lost(String),
}

impl<T: Into<LogFault>> From<T> for Reopening {
    fn from(fault: T) -> Self {
        Self::Failed(fault.into())
    }
}
