//! Where a call would change something: the inode behind a descriptor, or the entry that a path means.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};

use super::kernel::{self, fd};
use super::{ROOT, die};

const PATH_BYTES_MAX: usize = 4096;

/// A path on the stack.
#[derive(Clone)]
pub(super) struct Path {
    bytes: [u8; PATH_BYTES_MAX],
    len: usize,
}

impl Path {
    pub(super) const EMPTY: Self = Self { bytes: [0; PATH_BYTES_MAX], len: 0 };

    /// The path that the kernel has for a descriptor.
    pub(super) fn of(fd: BorrowedFd<'_>) -> Option<Self> {
        let mut path = Self::EMPTY;
        path.len = kernel::path_of(fd, &mut path.bytes)?;
        Some(path)
    }

    pub(super) fn push(&mut self, more: &[u8]) {
        let Some(room) = self.bytes.get_mut(self.len..self.len + more.len()) else { die("a path is too long") };
        room.copy_from_slice(more);
        self.len += more.len();
    }

    /// Takes the last byte off.
    pub(super) fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What a descriptor below the directory is open on.
#[derive(Clone, Copy)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) bytes: u64,
}

/// The inode of a file or directory that is watched; nothing for everything else.
pub(super) fn inode(number: i32) -> Option<Inode> {
    let fd = fd(number)?;
    let (root, stat) = (ROOT.get()?, rustix::fs::fstat(fd).ok()?);
    if !matches!(stat.st_mode & libc::S_IFMT, libc::S_IFDIR | libc::S_IFREG) || stat.st_dev != root.device {
        return None;
    }
    root.below(Path::of(fd)?.bytes())?;
    Some(Inode { number: stat.st_ino, bytes: stat.st_size.cast_unsigned() })
}

/// The path below the directory of what a descriptor is open on; nothing for everything else.
pub(super) fn watched(number: i32) -> Option<Path> {
    inode(number)?;
    let whole = Path::of(fd(number)?)?;
    let mut path = Path::EMPTY;
    path.push(ROOT.get()?.below(whole.bytes())?);
    Some(path)
}

/// Opens what is there, to ask about it.
pub(super) fn open(from: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Option<OwnedFd> {
    rustix::fs::openat(from, path, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Whether a descriptor is open on something of the same file system.
pub(super) fn beside(number: i32) -> bool {
    let stat = fd(number).and_then(|fd| rustix::fs::fstat(fd).ok());
    ROOT.get().zip(stat).is_some_and(|(root, stat)| stat.st_dev == root.device)
}

/// A name in a directory that is watched, whether there is something of that name or not.
pub(super) struct Entry {
    parent: OwnedFd,
    /// From the root, with a zero byte at its end.
    path: Path,
    name_at: usize,
}

impl Entry {
    /// The entry that a path means, if it is below the directory. A path whose folders are not there means none; the
    /// kernel will say so.
    pub(super) fn find(from: i32, path: &CStr) -> Option<Self> {
        let path = path.to_bytes();
        let trimmed = path.iter().rposition(|&byte| byte != b'/').map_or(&path[..0], |last| &path[..=last]);
        let name_at = trimmed.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (folder, name) = trimmed.split_at(name_at);
        if name.is_empty() || name == b"." || name == b".." {
            return None;
        }
        let mut text = Path::EMPTY;
        text.push(if folder.is_empty() { b"." } else { folder });
        text.push(b"\0");
        let folder = CStr::from_bytes_until_nul(text.bytes()).ok()?;
        let parent = open(fd(from)?, folder, OFlags::DIRECTORY)?;
        let whole = Path::of(parent.as_fd())?;
        let below = ROOT.get()?.below(whole.bytes())?;
        let mut path = Path::EMPTY;
        if !below.is_empty() {
            path.push(below);
            path.push(b"/");
        }
        let name_at = path.len;
        path.push(name);
        path.push(b"\0");
        Some(Self { parent, path, name_at })
    }

    /// The same, with the zero byte at its end.
    pub(super) const fn whole(&self) -> &Path {
        &self.path
    }

    /// Relative to the directory.
    pub(super) fn path(&self) -> &[u8] {
        &self.path.bytes()[..self.path.len - 1]
    }

    /// What is there under that name, without following a link.
    pub(super) fn stat(&self) -> Option<Stat> {
        let name = CStr::from_bytes_until_nul(&self.path.bytes()[self.name_at..]).ok()?;
        rustix::fs::statat(&self.parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }
}
