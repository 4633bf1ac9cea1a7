//! Each call: what it changes below the directory, and what the log then says.

use core::ffi::{CStr, c_long};
use std::os::fd::AsRawFd;

use rustix::fs::{CWD, OFlags, fcntl_getfl};

use super::kernel::{self, Answer, fd, int, pass};
use super::place::{self, Entry};
use super::{Held, ROOT, die, hold};
use crate::fail::{Call, LINE_BYTES_MAX, verdict};
use crate::record::Kind;

const APPEND: u64 = libc::RWF_APPEND.unsigned_abs() as u64;
const DURABLE: u64 = (libc::RWF_DSYNC | libc::RWF_SYNC).unsigned_abs() as u64;
const PLACES: u64 = (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE).unsigned_abs() as u64;
/// Milliseconds between two looks at whether the disk still hangs.
const HANG_LOOK_MS: u64 = 2;
const KEEP_SIZE: u64 = libc::FALLOC_FL_KEEP_SIZE.unsigned_abs() as u64;

/// Carries out a call of the program, and records it if it changes what is watched.
pub(super) fn serve(number: c_long, args: [u64; 6]) -> Answer {
    let (number, args) = super::trap::newer(number, args);
    match number {
        libc::SYS_write
        | libc::SYS_pwrite64
        | libc::SYS_writev
        | libc::SYS_pwritev
        | libc::SYS_pwritev2
        | libc::SYS_sendfile => write(number, args, int(args[0])),
        libc::SYS_splice | libc::SYS_copy_file_range => write(number, args, int(args[2])),
        libc::SYS_ftruncate => truncate(number, args, int(args[0])),
        libc::SYS_truncate => truncate_path(args),
        libc::SYS_fallocate => allocate(args),
        libc::SYS_openat => open(args),
        libc::SYS_renameat2 => rename(args),
        libc::SYS_unlinkat => unlink(args),
        libc::SYS_mkdirat => make(number, args, int(args[0]), args[1], Kind::MakeDirectory),
        libc::SYS_linkat => make(number, args, int(args[2]), args[3], Kind::Link),
        libc::SYS_symlinkat => refuse(number, args, entry(int(args[1]), args[2]), "a symbolic link is not supported"),
        libc::SYS_mknodat => refuse(number, args, entry(int(args[0]), args[1]), "a special file is not supported"),
        libc::SYS_mmap => {
            let what = "a writable shared mapping of a file is not supported: what is written to it cannot be seen";
            refuse(number, args, place::inode(int(args[4])), what)
        }
        libc::SYS_fsync | libc::SYS_fdatasync => {
            sync(number, args, place::inode(int(args[0])).map(|inode| inode.number))
        }
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 => {
            failing(Call::Read, || place::watched(int(args[0])))?;
            pass(number, args)
        }
        // Inode 0 is all of them.
        libc::SYS_sync => sync(number, args, Some(0)),
        libc::SYS_syncfs => sync(number, args, place::beside(int(args[0])).then_some(0)),
        _ => pass(number, args),
    }
}

/// The entry that a path of the program means.
fn entry(from: i32, path: u64) -> Option<Entry> {
    Entry::find(from, kernel::text(path)?)
}

/// Lets a call through unless it is about what is watched.
fn refuse<T>(number: c_long, args: [u64; 6], watched: Option<T>, what: &str) -> Answer {
    if watched.is_some() {
        hold().unsupported(what);
    }
    pass(number, args)
}

/// A change between its two records: the second is what `record` appends, or that nothing has changed.
fn change(begun: (u64, &[&[u8]]), call: (c_long, [u64; 6]), record: impl FnOnce(&mut Held, u64)) -> Answer {
    let mut held = hold();
    held.append(Kind::Begin, begun.0, 0, 0, begun.1);
    let result = pass(call.0, call.1);
    match result {
        Ok(value) => record(&mut held, value),
        Err(_) => held.append(Kind::Nothing, 0, 0, 0, &[]),
    }
    result
}

/// The error that a call on what is watched is to fail with, if it is; the path is only asked for if some are.
fn failing(call: Call, path: impl FnOnce() -> Option<place::Path>) -> Result<(), i32> {
    let Some(fail) = ROOT.get().and_then(|root| CStr::from_bytes_until_nul(root.fail.bytes()).ok()) else {
        return Ok(());
    };
    let mut line = [0; LINE_BYTES_MAX];
    let Ok(len) = kernel::read_file(fail, &mut line) else { return Ok(()) };
    let Some(error) = path().and_then(|path| verdict(&line[..len], call, path.bytes())) else { return Ok(()) };
    // Whoever ended it meanwhile counts no more.
    if let Ok(fd) = kernel::open_to_append(fail) {
        if kernel::append(fd, b"*").is_err() {
            die("what fails cannot be said");
        }
        kernel::close(fd);
    }
    Err(error)
}

fn write(number: c_long, args: [u64; 6], fd: i32) -> Answer {
    let Some(inode) = place::inode(fd) else { return pass(number, args) };
    failing(Call::Write, || place::watched(fd))?;
    change((inode.number, &[]), (number, args), |held, count| {
        let Some(at) = written_at(number, args, fd, count) else {
            held.unsupported("it is not known what was written")
        };
        let durable = opened_with(fd, libc::O_DSYNC) || number == libc::SYS_pwritev2 && args[5] & DURABLE != 0;
        held.append_written(inode.number, at, count, durable, fd);
    })
}

/// Whether a file was opened with this flag.
fn opened_with(number: i32, flag: i32) -> bool {
    // As bits: the library takes `O_DSYNC` for `O_SYNC`, of which it is a part.
    let flags = fd(number).and_then(|fd| fcntl_getfl(fd).ok());
    flags.is_some_and(|flags| flags.bits() & flag.cast_unsigned() != 0)
}

/// Where a call has written that many bytes.
fn written_at(number: c_long, args: [u64; 6], fd: i32, count: u64) -> Option<u64> {
    if opened_with(fd, libc::O_APPEND) || number == libc::SYS_pwritev2 && args[5] & APPEND != 0 {
        return place::inode(fd)?.bytes.checked_sub(count);
    }
    let current = || rustix::fs::tell(self::fd(fd)?).ok()?.checked_sub(count);
    match number {
        libc::SYS_pwrite64 | libc::SYS_pwritev => Some(args[3]),
        libc::SYS_pwritev2 if args[3] != u64::MAX => Some(args[3]),
        libc::SYS_splice | libc::SYS_copy_file_range if args[3] != 0 => kernel::offset(args[3])?.checked_sub(count),
        _ => current(),
    }
}

fn truncate(number: c_long, args: [u64; 6], fd: i32) -> Answer {
    let Some(inode) = place::inode(fd) else { return pass(number, args) };
    change((inode.number, &[]), (number, args), |held, _| {
        held.append(Kind::Resize, inode.number, args[1], 0, &[]);
    })
}

fn truncate_path(args: [u64; 6]) -> Answer {
    match kernel::text(args[0]).and_then(|path| place::open(CWD, path, OFlags::empty())) {
        Some(file) => truncate(libc::SYS_truncate, args, file.as_raw_fd()),
        None => pass(libc::SYS_truncate, args),
    }
}

fn allocate(args: [u64; 6]) -> Answer {
    let (fd, mode, at, len) = (int(args[0]), args[1] & u64::from(u32::MAX), args[2], args[3]);
    let Some(inode) = place::inode(fd) else { return pass(libc::SYS_fallocate, args) };
    if mode & !(PLACES | KEEP_SIZE) != 0 {
        hold().unsupported("fallocate that moves a file's content is not supported");
    }
    failing(Call::Write, || place::watched(fd))?;
    change((inode.number, &[]), (libc::SYS_fallocate, args), |held, _| match (mode & PLACES, mode & KEEP_SIZE) {
        (0, 0) => held.append(Kind::Reach, inode.number, at + len, 0, &[]),
        (0, _) => held.append(Kind::Nothing, 0, 0, 0, &[]),
        (_, keeps) => {
            // Two records of one change: what is kept of them is decided one by one, as the kernel might.
            held.append(Kind::Zero, inode.number, at, len, &[]);
            if keeps == 0 {
                held.append(Kind::Reach, inode.number, at + len, 0, &[]);
            }
        }
    })
}

fn open(args: [u64; 6]) -> Answer {
    let flags = int(args[2]);
    if flags & libc::O_TMPFILE == libc::O_TMPFILE {
        let folder = kernel::text(args[1]).zip(fd(int(args[0])));
        let folder = folder.and_then(|(path, from)| place::open(from, path, OFlags::empty()));
        let watched = folder.is_some_and(|folder| place::inode(folder.as_raw_fd()).is_some());
        // As file systems answer that cannot do it: the caller creates a file with a name instead.
        return if watched { Err(libc::EOPNOTSUPP) } else { pass(libc::SYS_openat, args) };
    }
    let Some(entry) = entry(int(args[0]), args[1]) else { return pass(libc::SYS_openat, args) };
    if flags & libc::O_CREAT != 0 && entry.stat().is_none() {
        failing(Call::Create, || Some(entry.whole().clone()))?;
    }
    let mut held = hold();
    let before = entry.stat();
    if before.is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFLNK) {
        held.unsupported("a symbolic link is not supported");
    }
    held.append(Kind::Begin, before.map_or(0, |stat| stat.st_ino), 0, 0, &[entry.path()]);
    let result = pass(libc::SYS_openat, args);
    let now = result.ok().and_then(|number| rustix::fs::fstat(fd(int(number))?).ok());
    match (now, before) {
        (Some(now), None) => held.append(Kind::Create, now.st_ino, now.st_mode.into(), 0, &[entry.path()]),
        (Some(now), Some(before)) if flags & libc::O_TRUNC != 0 && before.st_size > 0 => {
            held.append(Kind::Resize, now.st_ino, 0, 0, &[]);
        }
        _ => held.append(Kind::Nothing, 0, 0, 0, &[]),
    }
    result
}

fn rename(args: [u64; 6]) -> Answer {
    let call = (libc::SYS_renameat2, args);
    let (from, to) = match (entry(int(args[0]), args[1]), entry(int(args[2]), args[3])) {
        (None, None) => return pass(call.0, call.1),
        (Some(from), Some(to)) => (from, to),
        _ => hold().unsupported("a rename into the directory or out of it is not supported"),
    };
    if args[4] & !u64::from(libc::RENAME_NOREPLACE) != 0 {
        hold().unsupported("a rename that exchanges is not supported");
    }
    let paths: [&[u8]; 3] = [from.path(), b"\0", to.path()];
    let replaced = to.stat().map(|stat| stat.st_ino);
    change((0, &paths), call, |held, _| match to.stat() {
        // Two names of one inode stay as they are.
        Some(now) if replaced == Some(now.st_ino) => held.append(Kind::Nothing, 0, 0, 0, &[]),
        Some(now) => held.append(Kind::Rename, now.st_ino, 0, 0, &paths),
        None => held.unsupported("a renamed file is gone"),
    })
}

fn unlink(args: [u64; 6]) -> Answer {
    let call = (libc::SYS_unlinkat, args);
    let Some(entry) = entry(int(args[0]), args[1]) else { return pass(call.0, call.1) };
    change((0, &[entry.path()]), call, |held, _| held.append(Kind::Unlink, 0, 0, 0, &[entry.path()]))
}

fn make(number: c_long, args: [u64; 6], from: i32, path: u64, kind: Kind) -> Answer {
    let Some(entry) = entry(from, path) else { return pass(number, args) };
    failing(Call::Create, || Some(entry.whole().clone()))?;
    change((0, &[entry.path()]), (number, args), |held, _| match entry.stat() {
        Some(now) => held.append(kind, now.st_ino, now.st_mode.into(), 0, &[entry.path()]),
        None => held.unsupported("what was made is gone"),
    })
}

/// What the log says so far of this inode is durable once the call has succeeded. What comes to it meanwhile is not:
/// the kernel may have passed it by. Nothing is held meanwhile, so that nobody waits for this disk but who asked for it.
fn sync(number: c_long, args: [u64; 6], inode: Option<u64>) -> Answer {
    let Some(inode) = inode else { return pass(number, args) };
    let start = hold().log.count;
    hang();
    let fd = int(args[0]);
    if let Err(error) = failing(Call::Sync, || if inode == 0 { Some(place::Path::EMPTY) } else { place::watched(fd) }) {
        hold().append(Kind::Spoil, inode, start, 0, &[]);
        return Err(error);
    }
    let result = pass(number, args);
    if result.is_ok() {
        let kind = if inode == 0 { Kind::SyncAll } else { Kind::Sync };
        hold().append(kind, inode, start, 0, &[]);
    }
    result
}

/// Waits while somebody has the disk hang, and says there that a call does.
fn hang() {
    let Some(stall) = ROOT.get().and_then(|root| CStr::from_bytes_until_nul(root.stall.bytes()).ok()) else { return };
    let Ok(fd) = kernel::open_to_append(stall) else { return };
    if kernel::append(fd, b"*").is_err() {
        die("what hangs cannot be said");
    }
    kernel::close(fd);
    while kernel::is_there(stall) {
        kernel::rest(HANG_LOOK_MS);
    }
}
