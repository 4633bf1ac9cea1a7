//! Why a store does not start, and how it may end.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::ledger::{DiskFault, Trouble};

/// Why the store does not start: what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFault {
    /// Another process has the directory.
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, as far as it said so.
        by: String,
    },
    /// Another release wrote it.
    Version {
        /// The directory.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// There are files in it, and it is none of ours.
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// What lies there is not what was written.
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It cannot be read or written.
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        what: String,
    },
}

impl StartFault {
    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), what: error.to_string() }
    }

    pub(super) fn of_disk(path: &Path, fault: &DiskFault) -> Self {
        match fault {
            DiskFault::Damaged(what) => Self::damaged(path, what),
            DiskFault::Failed(what) => Self::Unreadable { path: path.to_owned(), what: what.clone() },
        }
    }
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path, by } => write!(
                f,
                "data directory {} is in use by {by}: stop that, or give this server a directory of its own",
                path.display()
            ),
            Self::Version { path, version } => write!(
                f,
                "data directory {} is of version {version}, and this release reads version {}: run the release that wrote \
                 it, or give this server another directory",
                path.display(),
                super::directory::VERSION
            ),
            Self::Foreign { path } => write!(
                f,
                "data directory {} has files in it that are not this server's: give it an empty directory",
                path.display()
            ),
            Self::Damaged { path, what } => write!(
                f,
                "data directory {} is damaged: {what}; restore it from a backup, or give this server another directory",
                path.display()
            ),
            Self::Unreadable { path, what } => {
                write!(f, "data directory {} cannot be used: {what}", path.display())
            }
        }
    }
}

/// Why a store ended without everything being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The disk did not take the last commits in time.
    Unwritten(Trouble),
    /// The log lacks what was acknowledged.
    Lost,
    /// A mistake of ours.
    Panicked,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritten(trouble) => write!(f, "the last events could not be written: {trouble:?}"),
            Self::Lost => f.write_str("the log lacks what was acknowledged"),
            Self::Panicked => f.write_str("the store's thread panicked"),
        }
    }
}

/// Why the log was not read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFault {
    /// What shards are told.
    pub trouble: Trouble,
    /// Whether what lies there is not what was written.
    pub damaged: bool,
    /// What was said.
    pub what: String,
}

impl LogFault {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self { trouble: Trouble::Failing, damaged: true, what: what.into() }
    }

    pub(super) fn at(self, path: &Path) -> StartFault {
        let path = path.to_owned();
        if self.damaged {
            StartFault::Damaged { path, what: self.what }
        } else {
            StartFault::Unreadable { path, what: self.what }
        }
    }
}

impl From<&std::io::Error> for LogFault {
    fn from(error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let full = matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge);
        let trouble = if full { Trouble::Full } else { Trouble::Failing };
        Self { trouble, damaged: false, what: error.to_string() }
    }
}

impl From<std::io::Error> for LogFault {
    fn from(error: std::io::Error) -> Self {
        Self::from(&error)
    }
}
