//! A store that no server runs: looked at, compacted, read out. It is had alone meanwhile.

use std::path::Path;

use super::directory::Directory;
use super::fault::StartFault;
use super::journal;
use super::tables::Tables;

/// A directory and its log, open without saying there that it runs.
#[derive(Debug)]
pub struct Offline {
    // Closed before the directory is given back.
    tables: Tables,
    directory: Directory,
}

impl Offline {
    /// Takes the directory and opens its log, as a start would: what an unclean stop left behind is mended.
    ///
    /// # Errors
    /// There is none, a server has it, or as a start would.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, StartFault> {
        if !Directory::is_one(path) {
            return Err(StartFault::Absent { path: path.to_owned() });
        }
        let directory = Directory::take(path)?;
        journal::mend(&directory.log(), directory.id(), None).map_err(|fault| fault.at(path))?;
        let tables = Tables::open(&directory.log(), cache_bytes).map_err(|fault| fault.at(path))?;
        Ok(Self { tables, directory })
    }

    /// What lies there.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What tells the store from all others.
    #[must_use]
    pub const fn id(&self) -> u128 {
        self.directory.id()
    }

    /// Bytes on the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn disk_bytes(&self) -> Result<u64, StartFault> {
        self.tables.disk_bytes().map_err(|fault| fault.at(self.directory.root()))
    }

    /// Writes everything anew, without what was removed.
    ///
    /// # Errors
    /// The disk is full or fails; everything is there still.
    pub fn compact(&self) -> Result<(), StartFault> {
        self.tables.compact().map_err(|fault| fault.at(self.directory.root()))
    }
}
