//! A copy of a store as it is written: under a name that says that it is not whole, until it is.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind::InvalidInput;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread::park_timeout;
use std::time::Duration;

use rustix::fs::statvfs;

use super::directory::{Directory, sync_directory, sync_tree};
use super::fault::{LogFault, StartFault};
use super::tables::Tables;
use crate::ledger::copy::batch_of;
use crate::limits::{STORE_CACHE_BYTES_MIN, STORE_JOURNALS_BYTES, STORE_LOOK_MS};

/// A copy that is being written. It is gone when this is dropped before its end.
#[derive(Debug)]
pub struct Copy {
    /// Where it is to be.
    to: PathBuf,
    /// Where it is until then.
    unfinished: PathBuf,
    /// `None` once it is closed.
    open: Option<(Tables, Directory)>,
}

impl Copy {
    /// Begins a copy of the store `id`, which has about so many bytes.
    ///
    /// # Errors
    /// There is something already, too little space, or the system refuses.
    pub fn begin(to: &Path, id: u128, bytes: u64) -> Result<Self, StartFault> {
        let failed = |error: std::io::Error| StartFault::unreadable(to, &error);
        let Some(name) = to.file_name() else { return Err(failed(InvalidInput.into())) };
        let unfinished = to.with_file_name([name, ".unfinished".as_ref()].join("".as_ref()));
        for path in [to, &unfinished] {
            if path.symlink_metadata().is_ok() {
                return Err(StartFault::Taken { path: path.to_owned() });
            }
        }
        let above = statvfs(above(to)).map_err(|error| failed(error.into()))?;
        let (needed, free) =
            (bytes.saturating_add(STORE_JOURNALS_BYTES), above.f_bavail.saturating_mul(above.f_frsize));
        if free < needed {
            return Err(StartFault::Room { path: to.to_owned(), needed, free });
        }
        DirBuilder::new().mode(0o700).create(&unfinished).map_err(failed)?;
        let mut copy = Self { to: to.to_owned(), unfinished, open: None };
        let directory = Directory::found(&copy.unfinished, id)?;
        let tables = Tables::open(&directory.log(), STORE_CACHE_BYTES_MIN).map_err(|fault| copy.failed(fault))?;
        copy.open = Some((tables, directory));
        Ok(copy)
    }

    /// Writes what is in a page.
    ///
    /// # Errors
    /// It is no page, the disk is full or fails.
    pub fn take(&mut self, page: &[u8]) -> Result<(), StartFault> {
        let Some((tables, _)) = &self.open else { return Ok(()) };
        let written = || {
            let batch = batch_of(page).ok_or_else(|| LogFault::damaged("it did not arrive as it was sent"))?;
            while tables.is_backed_up() {
                tables.check()?;
                park_timeout(Duration::from_millis(STORE_LOOK_MS));
            }
            tables.commit(&batch)
        };
        written().map_err(|fault| self.failed(fault))
    }

    /// Has everything written down, and gives the copy its name.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn finish(mut self) -> Result<(), StartFault> {
        let Some((tables, directory)) = self.open.take() else { return Ok(()) };
        tables.check().map_err(|fault| self.failed(fault))?;
        drop(tables);
        let settled = sync_files(&directory.log())
            .and_then(|()| directory.note_begun())
            .and_then(|()| sync_directory(&self.unfinished))
            .and_then(|()| fs::rename(&self.unfinished, &self.to))
            .and_then(|()| sync_directory(above(&self.to)));
        settled.map_err(|error| StartFault::unreadable(&self.to, &error))
    }

    /// A fault where the copy was to be: it is nobody's loss.
    fn failed(&self, fault: LogFault) -> StartFault {
        StartFault::Unreadable { path: self.to.clone(), what: fault.what, passing: true }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Closed before it goes; what has its name already is whole.
        drop(self.open.take());
        let _gone_or_named = fs::remove_dir_all(&self.unfinished);
    }
}

/// The directory that a path is in.
fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Has the system write down every file of a log. The library does so for most, each in its time; here it costs once.
fn sync_files(log: &Path) -> std::io::Result<()> {
    for directory in sync_tree(log)? {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                File::open(entry.path())?.sync_all()?;
            }
        }
    }
    Ok(())
}
