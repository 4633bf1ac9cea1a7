//! One file of ours: what stands in its place, and how that is exchanged.
//!
//! At every moment the operator's file is there under one of its two names, and so whatever a stop of the machine leaves is
//! finished by the next `apply` and taken back by the next `revert`: our text is written and synced under a third name, the
//! operator's file gets its second name as a link, and ours takes the first at one stroke.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fsync, linkat, mkdirat, openat, renameat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::Change;
use crate::limits::HOST_FILE_BYTES_MAX;
use crate::tune::Host;

/// The first line of what is ours.
pub(in crate::tune) const MARK: &str = "# Written by `waystation tune apply`; `waystation tune revert` takes it back.";
/// The beginning of the second.
pub(in crate::tune) const SUM: &str = "# sha256 of what follows: ";
/// What is put behind the name of a file that was there before.
const BEFORE: &str = ".before-waystation";
/// What is put behind the name of a file that is being written. None of the readers takes it for one of theirs.
const NEW: &str = ".new-waystation";

/// Where a file of ours stands, from the root.
#[derive(Clone, Copy, Debug)]
pub(in crate::tune) struct Place {
    /// Its directory, without a slash at either end.
    pub(in crate::tune) directory: &'static str,
    /// Its name.
    pub(in crate::tune) name: &'static str,
}

/// What stands in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Absent,
    /// As we have written it.
    Ours,
    /// Written by us and changed by somebody.
    Changed,
    /// A file that is not ours, or of which nobody can tell.
    Foreign,
    /// A link, a directory, a device.
    NoFile,
}

/// What is kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Nothing,
    /// The very file that stands there.
    ThisOne,
    Another,
}

/// What was found in a place.
#[derive(Debug)]
pub(super) struct Seen {
    directory: Option<OwnedFd>,
    pub(super) standing: Standing,
    pub(super) kept: Kept,
    /// The beginning of what stands there.
    pub(super) bytes: Vec<u8>,
}

/// A text of ours with the lines before it that say so.
pub(in crate::tune) fn marked(text: &str) -> String {
    format!("{MARK}\n{SUM}{}\n{text}", HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref()))
}

fn standing_of(bytes: &[u8]) -> Standing {
    let Some(rest) = bytes.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"\n")) else {
        return Standing::Foreign;
    };
    let text = rest.iter().position(|&byte| byte == b'\n').map(|end| &rest[end + 1..]);
    match text.and_then(|text| std::str::from_utf8(text).ok()) {
        Some(text) if marked(text).as_bytes() == bytes => Standing::Ours,
        _ => Standing::Changed,
    }
}

impl Place {
    /// From the machine's root.
    pub(super) fn path(&self) -> String {
        format!("/{}/{}", self.directory, self.name)
    }

    /// What is there.
    pub(super) fn look(&self, host: &Host) -> io::Result<Seen> {
        let nothing = Seen { directory: None, standing: Standing::Absent, kept: Kept::Nothing, bytes: Vec::new() };
        let directory = match host.open(&format!("/{}", self.directory), OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(nothing),
            other => other?,
        };
        let kept = self.kept(&directory)?;
        let bytes = beginning(&directory, self.name).unwrap_or_default();
        let standing = match stat(&directory, self.name)?.map(|there| FileType::from_raw_mode(there.st_mode)) {
            None => Standing::Absent,
            Some(FileType::RegularFile) => standing_of(&bytes),
            Some(_) => Standing::NoFile,
        };
        Ok(Seen { directory: Some(directory), standing, kept, bytes })
    }

    /// What is kept beside what stands there.
    fn kept(&self, directory: &OwnedFd) -> io::Result<Kept> {
        let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
        let there = stat(directory, self.name)?.map(identity);
        Ok(match stat(directory, &self.before())?.map(identity) {
            None => Kept::Nothing,
            before if before == there => Kept::ThisOne,
            _ => Kept::Another,
        })
    }

    /// Puts `text` there; with `keep` what is there gets its second name first.
    pub(super) fn write(&self, host: &Host, text: &str, keep: bool) -> io::Result<()> {
        let directory = made(host, self.directory)?;
        let new = self.new_name();
        clear(&directory, &new)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&directory, &*new, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(text.as_bytes())?;
        // Whatever the mask of who runs this: the readers are other users.
        fchmod(&file, Mode::from_raw_mode(0o644))?;
        file.sync_all()?;
        if keep {
            match linkat(&directory, self.name, &directory, &*self.before(), AtFlags::empty()) {
                Ok(()) => fsync(directory.as_fd())?,
                // By a run that was cut short.
                Err(Errno::EXIST) if self.kept(&directory)? == Kept::ThisOne => {}
                Err(error) => return Err(error.into()),
            }
        }
        renameat(&directory, &*new, &directory, self.name)?;
        Ok(fsync(directory.as_fd())?)
    }

    /// Does what was decided on `seen`.
    pub(super) fn put_back(&self, seen: &Seen, change: Change) -> io::Result<()> {
        let Some(directory) = &seen.directory else { return Ok(()) };
        // What is not of ours is in nobody's way here.
        let _not_ours = clear(directory, &self.new_name());
        let before = self.before();
        match (change, seen.standing) {
            (Change::Removed, _) => unlinkat(directory, self.name, AtFlags::empty())?,
            (Change::Restored, Standing::Ours) => renameat(directory, &*before, directory, self.name)?,
            (Change::Restored, Standing::Absent) => {
                renameat_with(directory, &*before, directory, self.name, RenameFlags::NOREPLACE)?;
            }
            (Change::Restored, _) => unlinkat(directory, &*before, AtFlags::empty())?,
            _ => return Ok(()),
        }
        Ok(fsync(directory.as_fd())?)
    }

    fn before(&self) -> String {
        format!("{}{BEFORE}", self.name)
    }

    fn new_name(&self) -> String {
        format!("{}{NEW}", self.name)
    }
}

/// What has this name, links not followed.
fn stat(directory: &OwnedFd, name: &str) -> io::Result<Option<Stat>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The beginning of a file; nothing of what cannot be read.
fn beginning(directory: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(HOST_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes what a run that was cut short has left under the name of new files, and nothing else.
fn clear(directory: &OwnedFd, new: &str) -> io::Result<()> {
    if stat(directory, new)?.is_none() {
        return Ok(());
    }
    let begun = beginning(directory, new)
        .is_ok_and(|bytes| bytes.starts_with(MARK.as_bytes()) || MARK.as_bytes().starts_with(&bytes));
    if !begun {
        return Err(io::Error::other(format!("{new} is in the way: move it away")));
    }
    Ok(unlinkat(directory, new, AtFlags::empty())?)
}

/// Opens a directory of the machine, made if it is not there.
fn made(host: &Host, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut done = String::new();
    for part in path.split('/') {
        let parent = host.open(&format!("/{done}"), flags)?;
        match mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
            Ok(()) => fsync(parent.as_fd())?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let _infallible = write!(done, "{}{part}", if done.is_empty() { "" } else { "/" });
    }
    host.open(&format!("/{path}"), flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_ours_is_told_from_one_that_was_changed_and_from_others() {
        let ours = marked("a = 1\n");
        let long = marked(&"x".repeat(usize::try_from(HOST_FILE_BYTES_MAX).unwrap()));
        for (bytes, expected) in [
            (ours.as_bytes(), Standing::Ours),
            (marked("").as_bytes(), Standing::Ours),
            (ours.replace("a = 1", "a = 2").as_bytes(), Standing::Changed),
            (format!("{ours}b = 1\n").as_bytes(), Standing::Changed),
            (ours.trim_end().as_bytes(), Standing::Changed),
            (&[ours.as_bytes(), &[0xff]].concat(), Standing::Changed),
            (&long.as_bytes()[..long.len() - 1], Standing::Changed),
            (format!("{MARK}\na = 1\n").as_bytes(), Standing::Changed),
            (format!("{MARK}\n").as_bytes(), Standing::Changed),
            (MARK.as_bytes(), Standing::Foreign),
            (format!("{MARK} \n").as_bytes(), Standing::Foreign),
            (b"", Standing::Foreign),
            (b"a = 1\n", Standing::Foreign),
        ] {
            assert_eq!(standing_of(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
