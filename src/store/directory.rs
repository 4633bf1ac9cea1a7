//! The data directory: whose it is, of which version, and that nobody else has it.
//!
//! `format` says version and id, `lock` is held while a process has the directory, `log` is the log itself, `begun` is there
//! once something was committed to it, and `damaged` only if the log once lacked what had been acknowledged.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind::{InvalidInput, NotFound, PermissionDenied, ReadOnlyFilesystem};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::fault::StartFault;
use crate::limits::{STORE_DIRECTORIES_MAX, STORE_FORMAT_BYTES_MAX};

/// The version of the directory that this release writes and reads.
pub(super) const VERSION: &str = "1";
const FORMAT: &str = "format";
const LOCK: &str = "lock";
const LOG: &str = "log";
const BEGUN: &str = "begun";
const DAMAGED: &str = "damaged";

/// A directory that this process has.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    id: u128,
    /// Held as long as this lives.
    _lock: File,
}

impl Directory {
    /// Takes a directory, and makes it if it is not there.
    ///
    /// # Errors
    /// Somebody else has it or may look into it, it is not ours or of another version, or the system refuses.
    pub fn take(root: &Path) -> Result<Self, StartFault> {
        let failed = |error: std::io::Error| StartFault::unreadable(root, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
        let is_new = !root.join(FORMAT).try_exists().map_err(failed)?;
        // Before its modes: whose directory it is not must not be told to change them.
        if is_new && !is_ours_or_empty(root).map_err(failed)? {
            return Err(StartFault::Foreign { path: root.to_owned() });
        }
        check_access(root, geteuid().as_raw())?;
        let lock = lock(root)?;
        if !root.join(FORMAT).try_exists().map_err(failed)? {
            sync_above(root).map_err(failed)?;
            let mut id = [0; 16];
            getrandom::fill(&mut id).map_err(|error| failed(std::io::Error::other(error)))?;
            write_format(root, u128::from_le_bytes(id)).map_err(failed)?;
        }
        let id = id_of(root)?;
        if let Some(what) = read_mark(root).map_err(failed)? {
            return Err(StartFault::damaged(root, what));
        }
        let directory = Self { root: root.to_owned(), id, _lock: lock };
        if directory.has_begun().map_err(failed)? && !has_any(&directory.log()).map_err(failed)? {
            return Err(StartFault::damaged(root, NO_LOG));
        }
        Ok(directory)
    }

    /// Takes an empty directory for a copy of the store `id`: under any other id the copy's own state would be damage.
    pub(super) fn found(root: &Path, id: u128) -> Result<Self, StartFault> {
        let lock = lock(root)?;
        write_format(root, id).map_err(|error| StartFault::unreadable(root, &error))?;
        Ok(Self { root: root.to_owned(), id, _lock: lock })
    }

    /// Whether there is a store.
    pub(super) fn is_one(root: &Path) -> bool {
        root.join(FORMAT).exists()
    }

    /// Tells this directory from all others.
    #[must_use]
    pub const fn id(&self) -> u128 {
        self.id
    }

    /// Where the directory is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the log is.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join(LOG)
    }

    /// Whether something was committed to the log: one that has nothing has lost it.
    ///
    /// # Errors
    /// The system does not say.
    pub(super) fn has_begun(&self) -> std::io::Result<bool> {
        self.root.join(BEGUN).try_exists()
    }

    /// Writes down that something was committed to the log. Before that a start that was cut short leaves none, and another
    /// begins it; afterwards one that is gone was taken away, and a start on an empty one would give its numbers out again.
    ///
    /// # Errors
    /// It is not on the disk, or nobody knows.
    pub(super) fn note_begun(&self) -> std::io::Result<()> {
        if self.has_begun()? {
            return Ok(());
        }
        File::create(self.root.join(BEGUN))?;
        sync_directory(&self.root)
    }

    /// Writes down that the log lacks what was acknowledged: no start may pass over that.
    ///
    /// # Errors
    /// The mark is not on the disk, or nobody knows.
    pub(super) fn mark_damaged(&self, what: &str) -> std::io::Result<()> {
        let mut mark = OpenOptions::new().create(true).truncate(false).write(true).open(self.root.join(DAMAGED))?;
        sync_directory(&self.root)?;
        // It counts by being there. What it says needs space, which may be what is missing.
        let said = mark.write_all(what.as_bytes()).and_then(|()| mark.sync_all());
        if let Err(error) = said {
            tracing::warn!(%error, "the mark of damage does not say what is wrong");
        }
        Ok(())
    }
}

fn check_exposed(root: &Path) -> Result<(), StartFault> {
    let mode = fs::metadata(root).map_err(|error| StartFault::unreadable(root, &error))?.mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(StartFault::Exposed { path: root.to_owned(), mode }) }
}

/// A store is its owner's alone. Its files get no modes of their own, and those that another user makes, root above all,
/// its owner cannot open any more.
pub(super) fn check_access(root: &Path, user: u32) -> Result<(), StartFault> {
    check_exposed(root)?;
    match fs::metadata(root.join(FORMAT)) {
        Ok(format) if format.uid() != user => {
            Err(StartFault::Owned { path: root.to_owned(), owner: format.uid(), user })
        }
        _ => Ok(()),
    }
}

/// Whether a start could take a directory, as far as its outside says and without changing anything: it is a store of this
/// version or an empty directory, and its owner's alone. Nothing at all is well too. What this user may not read is not
/// judged.
///
/// # Errors
/// Why not.
pub fn look(root: &Path) -> Result<(), StartFault> {
    let Ok(is_one) = fs::metadata(root).and_then(|_| root.join(FORMAT).try_exists()) else { return Ok(()) };
    if !is_one {
        return match is_ours_or_empty(root) {
            Ok(false) => Err(StartFault::Foreign { path: root.to_owned() }),
            _ => check_exposed(root),
        };
    }
    check_exposed(root)?;
    if let Err(fault @ (StartFault::Version { .. } | StartFault::Damaged { .. })) = id_of(root) {
        return Err(fault);
    }
    match read_mark(root) {
        Ok(Some(what)) => Err(StartFault::damaged(root, what)),
        _ => Ok(()),
    }
}

/// What the mark of damage says, if there is one. Only that there is no such file means that there is none.
fn read_mark(root: &Path) -> std::io::Result<Option<String>> {
    let file = match File::open(root.join(DAMAGED)) {
        Err(error) if error.kind() == NotFound => return Ok(None),
        file => file?,
    };
    let mut what = Vec::new();
    file.take(STORE_FORMAT_BYTES_MAX).read_to_end(&mut what)?;
    let what = String::from_utf8_lossy(&what).trim().to_owned();
    Ok(Some(if what.is_empty() { "it is marked so, and the mark does not say why".to_owned() } else { what }))
}

/// What is wrong where there was a log.
pub(super) const NO_LOG: &str = "its log is gone: what was committed there is not there any more";

/// Whether there is anything in a directory.
fn has_any(path: &Path) -> std::io::Result<bool> {
    match fs::read_dir(path) {
        Err(error) if error.kind() == NotFound => Ok(false),
        entries => Ok(entries?.next().transpose()?.is_some()),
    }
}

/// Whether nothing is there, or only what a start that was cut short left.
fn is_ours_or_empty(root: &Path) -> std::io::Result<bool> {
    let unfinished = [LOCK.to_owned(), unfinished_format()];
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        // What every new file system has.
        let known = name == "lost+found" || unfinished.iter().any(|ours| name == ours.as_str());
        if !known {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(root: &Path) -> Result<File, StartFault> {
    let failed = |error: std::io::Error| StartFault::unreadable(root, &error);
    let mut lock =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(root.join(LOCK)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut by = String::new();
            let _told_or_not = (&lock).take(STORE_FORMAT_BYTES_MAX).read_to_string(&mut by);
            let by = if by.is_empty() { "another process".to_owned() } else { format!("process {}", by.trim()) };
            return Err(StartFault::InUse { path: root.to_owned(), by });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // Whose it is helps whoever finds it locked; the lock does not depend on it.
    let told = lock.set_len(0).and_then(|()| lock.rewind());
    let _full_disk_or_not = told.and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(lock)
}

fn unfinished_format() -> String {
    format!("{FORMAT}.new")
}

/// Whole or not there.
fn write_format(root: &Path, id: u128) -> std::io::Result<()> {
    let unfinished = root.join(unfinished_format());
    let mut file = File::create(&unfinished)?;
    writeln!(file, "waystation store\nversion {VERSION}\nid {id:032x}")?;
    file.sync_all()?;
    fs::rename(&unfinished, root.join(FORMAT))?;
    sync_directory(root)
}

/// What tells a directory from all others.
///
/// # Errors
/// There is none, it is of another version, or cannot be read.
pub fn id_of(root: &Path) -> Result<u128, StartFault> {
    let mut text = String::new();
    let file = File::open(root.join(FORMAT)).map_err(|error| StartFault::unreadable(root, &error))?;
    let read = file.take(STORE_FORMAT_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| StartFault::damaged(root, format!("its file {FORMAT}: {error}")))?;
    let mut lines = text.lines();
    let (title, version) = (lines.next(), lines.next().and_then(|line| line.strip_prefix("version ")));
    let unknown = || StartFault::damaged(root, format!("its file {FORMAT} does not say what it is"));
    let version = version.filter(|_| title == Some("waystation store")).ok_or_else(unknown)?;
    if version != VERSION {
        return Err(StartFault::Version { path: root.to_owned(), version: version.to_owned() });
    }
    let id = lines
        .next()
        .and_then(|line| line.strip_prefix("id "))
        .filter(|id| id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()));
    id.and_then(|id| u128::from_str_radix(id, 16).ok()).ok_or_else(unknown)
}

/// Has the system write down which directories lead to one. Those that this process may not read were there before it.
fn sync_above(root: &Path) -> std::io::Result<()> {
    for above in root.canonicalize()?.ancestors().skip(1) {
        match sync_directory(above) {
            Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | ReadOnlyFilesystem) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Has the system write down what is in a directory and in all below it. The library does so for each file that it makes,
/// and not for the directories of its trees: without this a power cut could take a whole tree away.
pub(super) fn sync_tree(top: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = vec![top.to_owned()];
    let mut synced = 0;
    while let Some(directory) = found.get(synced).cloned() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
        if found.len() > STORE_DIRECTORIES_MAX {
            return Err(std::io::Error::other(format!("more than {STORE_DIRECTORIES_MAX} directories of the log")));
        }
        sync_directory(&directory)?;
        synced += 1;
    }
    Ok(found)
}

pub(super) fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}
