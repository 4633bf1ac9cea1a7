//! A commit, however often it has to be tried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Directory;
use super::fault::{LogFault, Stopped};
use super::journal;
use super::reader::Reader;
use super::sleep::now;
use super::tables::Tables;
use crate::ledger::Batch;
use crate::ledger::{Disk as _, Space, Trouble, commit_of};
use crate::limits::{STORE_BACKOFF_MS_MAX, STORE_BACKOFF_MS_MIN, STORE_FAREWELL_MS, STORE_LOOK_MS, STORE_STALLED_MS};
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

/// Who is told what while a commit does not succeed, and goes on meanwhile with what needs none.
pub(super) trait Witness {
    /// Commits have stopped.
    fn on_trouble(&mut self, trouble: Trouble);
    /// Whether nobody is left who could wait for more.
    fn is_alone(&self) -> bool;
    /// Does what it can without a commit, and sleeps so long at most.
    fn attend(&mut self, at_most: Duration);
}

/// How long a disk that fails is tried when nobody is left.
#[derive(Debug, Default)]
struct Farewell {
    until: Option<Instant>,
}

impl Farewell {
    /// Whether it has had its time.
    fn is_over(&mut self, witness: &impl Witness) -> bool {
        if !witness.is_alone() {
            self.until = None;
            return false;
        }
        let until = *self.until.get_or_insert_with(|| now() + Duration::from_millis(STORE_FAREWELL_MS));
        now() >= until
    }

    /// Waits until the next try; whoever ends tries more often in the little time that is left. Returns whether there is to
    /// be one.
    fn wait(&mut self, pause: u64, witness: &mut impl Witness) -> bool {
        let begun = now();
        loop {
            if self.is_over(witness) {
                return false;
            }
            let pause = if self.until.is_some() { pause.min(STORE_BACKOFF_MS_MIN) } else { pause };
            let left = Duration::from_millis(pause).saturating_sub(begun.elapsed());
            if left.is_zero() {
                return true;
            }
            witness.attend(left);
        }
    }
}

impl Log {
    /// Writes a batch. Returns when it is on the disk, and whether there was trouble meanwhile.
    ///
    /// Between two tries the log stays open as it is: it takes nothing any more, and reads what is committed.
    ///
    /// # Errors
    /// Everybody has left and the disk still does not take it, or the log lacks what was acknowledged.
    pub(super) fn commit(
        &mut self,
        (batch, number): (&Batch, u64),
        readers: &[Reader],
        witness: &mut impl Witness,
        numbers: &StoreNumbers,
    ) -> Result<bool, Stopped> {
        let (mut trouble, mut pause, mut farewell) = (None, STORE_BACKOFF_MS_MIN, Farewell::default());
        loop {
            match self.try_commit(batch, witness, &mut trouble, &mut farewell) {
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
            loop {
                if !farewell.wait(pause, witness) {
                    return Err(Stopped::Unwritten(trouble.unwrap_or(Trouble::Failing)));
                }
                pause = (pause * 2).min(STORE_BACKOFF_MS_MAX);
                match self.open_again(readers) {
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
        farewell: &mut Farewell,
    ) -> Result<(), LogFault> {
        let Some(tables) = &self.tables else { return Err(LogFault::damaged("the log is closed")) };
        let begun = now();
        while tables.is_backed_up() {
            tables.check()?;
            if trouble.is_none() && begun.elapsed() > Duration::from_millis(STORE_STALLED_MS) {
                *trouble = Some(Trouble::Stalled);
                witness.on_trouble(Trouble::Stalled);
            }
            if farewell.is_over(witness) {
                return Err(LogFault::stalled("the log still has tables to write"));
            }
            witness.attend(Duration::from_millis(STORE_LOOK_MS));
        }
        tables.commit(batch)
    }

    /// Has the readers let go of the log, and opens it anew. If that fails they are told to refuse what they are asked.
    fn open_again(&mut self, readers: &[Reader]) -> Result<(), Reopening> {
        self.close(readers);
        let opened = self.open(readers);
        if opened.is_err() {
            for reader in readers {
                reader.refuse();
            }
        }
        opened
    }

    /// Lets go of the log. Every reader has done so when this returns, and waits for another.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Who ends after a number of looks, and what it was told to sleep.
    struct Leaving {
        left: usize,
        slept: Vec<Duration>,
    }

    impl Witness for Leaving {
        fn on_trouble(&mut self, _trouble: Trouble) {}

        fn is_alone(&self) -> bool {
            self.left == 0
        }

        fn attend(&mut self, at_most: Duration) {
            self.left = self.left.saturating_sub(1);
            self.slept.push(at_most);
            crate::store::sleep::pause(at_most.min(Duration::from_millis(STORE_BACKOFF_MS_MIN)));
        }
    }

    #[test]
    fn who_ends_waits_for_a_disk_that_fails_no_longer_than_its_time() {
        let mut leaving = Leaving { left: 1, slept: Vec::new() };
        let (mut farewell, begun) = (Farewell::default(), now());
        let mut tries: u64 = 0;
        while farewell.wait(STORE_BACKOFF_MS_MAX, &mut leaving) {
            tries += 1;
        }
        // Whoever is there waits for the whole pause; then, nobody being left, it is short.
        let (first, rest) = leaving.slept.split_first().unwrap();
        assert!(*first > Duration::from_millis(STORE_BACKOFF_MS_MAX / 2), "{first:?}");
        assert!(rest.iter().all(|slept| *slept <= Duration::from_millis(STORE_BACKOFF_MS_MIN)), "{rest:?}");
        assert!((1..=STORE_FAREWELL_MS / STORE_BACKOFF_MS_MIN).contains(&tries), "{tries}");
        assert!(begun.elapsed() >= Duration::from_millis(STORE_FAREWELL_MS));
    }
}
