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
    /// There is none.
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// There are files in it, and it is none of ours.
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// A copy is to be made where there is something already.
    Taken {
        /// What is there.
        path: PathBuf,
    },
    /// There is less space than a copy takes.
    Room {
        /// Where.
        path: PathBuf,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that there are.
        free: u64,
    },
    /// Others may look into it.
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is another user's.
    Owned {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this is.
        user: u32,
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
        /// Whether that may pass by itself.
        passing: bool,
    },
}

impl StartFault {
    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{AlreadyExists, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
        // Something else is in its place, or this user has no right to it: so it will be at the next start.
        let lasting = [AlreadyExists, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem];
        let passing = !lasting.contains(&error.kind());
        Self::Unreadable { path: path.to_owned(), what: error.to_string(), passing }
    }

    pub(super) fn of_disk(path: &Path, fault: &DiskFault) -> Self {
        match fault {
            DiskFault::Damaged(what) => Self::damaged(path, what),
            DiskFault::Failed(what) => Self::Unreadable { path: path.to_owned(), what: what.clone(), passing: true },
        }
    }

    /// What is wrong, where, and what to do about it.
    #[must_use]
    pub fn parts(&self) -> (String, String, String) {
        let by_its_owner;
        let another = "restore it from a backup, or give another as store.directory";
        let (what, path, remedy) = match self {
            Self::Owned { path, owner, user } => {
                by_its_owner = format!(
                    "do it as that user: of the unit, once it is stopped, with systemd-run --pipe --wait -p DynamicUser=yes \
                     -p User=waystation -p StateDirectory=waystation waystation …; of any other, with setpriv --reuid \
                     {owner} --regid {owner} --clear-groups waystation …; or give the directory to this one, as with \
                     chown -R {user}"
                );
                (format!("the store is that of user {owner}, and this is user {user}"), path, by_its_owner.as_str())
            }
            Self::Taken { path } => (
                "there is something already where a backup is to be made".to_owned(),
                path,
                "give a directory that does not exist; one that ends in .unfinished is of a backup that was cut short: \
                 remove it",
            ),
            Self::Room { path, needed, free } => (
                format!("a backup takes up to {needed} bytes, and {free} are free"),
                path,
                "make space, or give a directory on another disk",
            ),
            Self::Exposed { path, mode } => (
                format!("others can look into the store (mode {mode:04o})"),
                path,
                "chmod 700 it, or give another as store.directory",
            ),
            Self::InUse { path, by } => (
                format!("the store is in use by {by}"),
                path,
                "stop that one, or give this one a store.directory of its own",
            ),
            Self::Version { path, version } => (
                format!(
                    "the store is of version {version}, and this release reads version {}",
                    super::directory::VERSION
                ),
                path,
                "run the release that wrote it, or give another as store.directory",
            ),
            Self::Absent { path } => (
                "there is no store".to_owned(),
                path,
                "give the directory as the gateway has it, with --data or as store.directory",
            ),
            Self::Foreign { path } => (
                "there are files that are not the store's".to_owned(),
                path,
                "give an empty directory, or one that does not exist, as store.directory",
            ),
            Self::Damaged { path, what } => (format!("the store is damaged: {what}"), path, another),
            Self::Unreadable { path, what, .. } => (
                format!("the store cannot be used: {what}"),
                path,
                "see that the disk has space and that this user may write there, or give another as store.directory",
            ),
        };
        (what, path.display().to_string(), remedy.to_owned())
    }

    /// Whether it may pass by itself, so that another start is worth a try.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::InUse { .. } | Self::Unreadable { passing: true, .. } | Self::Room { .. })
    }
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, place, remedy) = self.parts();
        write!(f, "{what} ({place}): {remedy}")
    }
}

/// Why a store ended without everything being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The disk did not take the last commits in time.
    Unwritten(Trouble),
    /// The log lacks what was acknowledged.
    Lost {
        /// Why the directory does not say so, if it does not: then the next start could not tell.
        unmarked: Option<String>,
    },
    /// A shard ended with events that it had numbered and not handed over.
    Unfinished,
    /// A mistake of ours.
    Panicked,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritten(trouble) => write!(f, "the last events could not be written: {trouble:?}"),
            Self::Unfinished => f.write_str("a shard ended before everything was handed over"),
            Self::Lost { unmarked: None } => f.write_str("the log lacks what was acknowledged"),
            Self::Lost { unmarked: Some(why) } => write!(
                f,
                "the log lacks what was acknowledged, and the directory could not be marked ({why}): a start on it would \
                 not tell; restore it from a backup"
            ),
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

    pub(super) fn stalled(what: impl Into<String>) -> Self {
        Self { trouble: Trouble::Stalled, damaged: false, what: what.into() }
    }

    pub(super) fn at(self, path: &Path) -> StartFault {
        let path = path.to_owned();
        if self.damaged {
            StartFault::Damaged { path, what: self.what }
        } else {
            StartFault::Unreadable { path, what: self.what, passing: true }
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
