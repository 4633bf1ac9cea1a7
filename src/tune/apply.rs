//! Files of this machine that `tune` writes and takes back.
//!
//! A file of ours begins with a line that says so. What stood in its place before, unless it was ours, is kept beside it. Whatever is
//! written is written whole or not at all, and below the root that was given: no link leads out of it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::render::{limits, sysctl};
use super::{Host, Plan};

/// The first line of what is ours.
pub(super) const MARK: &str = "# Written by `waystation tune apply`; `waystation tune revert` takes it back.";
/// What is put behind the name of a file that was there before.
const BEFORE: &str = ".before-waystation";
/// What is put behind the name of a file that is being written. None of the readers takes it for one of theirs.
const NEW: &str = ".new-waystation";
const NAME: &str = "60-waystation.conf";
const SYSCTL: &str = "etc/sysctl.d";
const LIMITS: &str = "etc/security/limits.d";

/// What becomes, or would become, of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is as it should be.
    Same,
    /// It is written; what was there and is not ours is kept.
    Written {
        /// Whether something was kept.
        kept: bool,
    },
    /// It is removed.
    Removed,
    /// What was there before is put back.
    Restored,
    /// It is not ours.
    NotOurs,
    /// It is not there.
    Absent,
}

impl Change {
    /// In words.
    #[must_use]
    pub const fn told(&self) -> &'static str {
        match self {
            Self::Same => "is as it should be",
            Self::Written { kept: false } => "written",
            Self::Written { kept: true } => "written; what was there is kept beside it, .before-waystation",
            Self::Removed => "removed",
            Self::Restored => "what was there before is back",
            Self::NotOurs => "left alone: it is not ours",
            Self::Absent => "not there",
        }
    }
}

/// A file and what becomes of it.
#[derive(Clone, Debug)]
pub struct Done {
    /// From the machine's root.
    pub path: String,
    /// What becomes of it.
    pub change: Change,
    /// Its new text, if it is written.
    pub text: String,
}

/// Whether to do it or only to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Do it.
    Really,
    /// Say what would be done.
    Dry,
}

/// The files for this plan on this machine: directory and text.
pub(super) fn wanted(host: &Host, plan: &Plan) -> [(&'static str, String); 2] {
    let told =
        format!("{} connections, {} shards, {} bytes of memory", plan.connections, plan.shards, plan.memory_bytes);
    let head = format!("For {told}. Do not change it here: put what is yours into a file that sorts behind it.");
    let settings = sysctl(plan, &|setting| host.sysctl(setting.key), &head);
    let head = "For sessions of the user waystation; systemd does not read it.";
    [(SYSCTL, format!("{MARK}\n{settings}")), (LIMITS, format!("{MARK}\n{}", limits(plan, head)))]
}

/// Writes what this plan needs.
///
/// # Errors
/// A file that cannot be written, with its path.
pub fn apply(host: &Host, plan: &Plan, how: How) -> io::Result<Vec<Done>> {
    let write = |(directory, text): (&str, String)| {
        let path = format!("/{directory}/{NAME}");
        let now = host.read_whole(&path);
        let ours = now.as_deref().is_some_and(is_ours);
        let change = if now.as_deref() == Some(text.as_str()) {
            Change::Same
        } else {
            Change::Written { kept: now.is_some() && !ours }
        };
        if how == How::Really && change != Change::Same {
            replace(host, directory, &text, change == Change::Written { kept: true })
                .map_err(|error| at(&path, &error))?;
        }
        Ok(Done { path, change, text })
    };
    wanted(host, plan).into_iter().map(write).collect()
}

/// Takes back what was written.
///
/// # Errors
/// A file that cannot be removed or put back, with its path.
pub fn revert(host: &Host, how: How) -> io::Result<Vec<Done>> {
    let take_back = |directory: &str| {
        let path = format!("/{directory}/{NAME}");
        let change = match host.read_whole(&path) {
            None => Change::Absent,
            Some(text) if !is_ours(&text) => Change::NotOurs,
            Some(_) if host.has(&format!("{path}{BEFORE}")) => Change::Restored,
            Some(_) => Change::Removed,
        };
        if how == How::Really {
            put_back(host, directory, &change).map_err(|error| at(&path, &error))?;
        }
        Ok(Done { path, change, text: String::new() })
    };
    [SYSCTL, LIMITS].into_iter().map(take_back).collect()
}

fn is_ours(text: &str) -> bool {
    text.lines().next() == Some(MARK)
}

fn at(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// Opens a directory of the machine, made if it is not there.
fn directory(host: &Host, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut done = String::new();
    for part in path.split('/') {
        let parent = host.open(&format!("/{done}"), flags)?;
        match mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let _infallible = write!(done, "{}{part}", if done.is_empty() { "" } else { "/" });
    }
    host.open(&format!("/{path}"), flags)
}

fn replace(host: &Host, path: &str, text: &str, keep: bool) -> io::Result<()> {
    let directory = directory(host, path)?;
    let (new, before) = (format!("{NAME}{NEW}"), format!("{NAME}{BEFORE}"));
    // What a run that was cut short has left.
    let _not_there = unlinkat(&directory, &*new, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&directory, &*new, flags, Mode::from_raw_mode(0o644))?);
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    if keep {
        renameat(&directory, NAME, &directory, &*before)?;
    }
    renameat(&directory, &*new, &directory, NAME)?;
    Ok(rustix::fs::fsync(directory.as_fd())?)
}

fn put_back(host: &Host, path: &str, change: &Change) -> io::Result<()> {
    let directory = match change {
        Change::Removed | Change::Restored => host.open(&format!("/{path}"), OFlags::RDONLY | OFlags::DIRECTORY)?,
        _ => return Ok(()),
    };
    if *change == Change::Restored {
        renameat(&directory, &*format!("{NAME}{BEFORE}"), &directory, NAME)?;
    } else {
        unlinkat(&directory, NAME, AtFlags::empty())?;
    }
    Ok(rustix::fs::fsync(directory.as_fd())?)
}
