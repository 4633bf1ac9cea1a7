//! The part that is preloaded: it sees every call that changes what is below the directory, carries it out and appends
//! what it was to the log. It decides nothing about durability; `replay` does, afterwards and at leisure.
//!
//! It keeps no table of descriptors or files: what a descriptor is open on it asks the kernel each time, so nothing can
//! be out of step. It allocates nothing, starts no thread, and runs in the handler of `SIGSYS` on the thread that made
//! the call, with all signals held back while it has the log.

use core::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{MutexGuard, OnceLock, PoisonError};

use rustix::fs::{CWD, OFlags};
use rustix::process::{Pid, getpid};

use crate::record::{Head, Kind};
use kernel::Undisturbed;
use place::Path;

mod calls;
mod kernel;
mod place;
mod trap;

/// The directory that is watched, and where the log goes.
struct Root {
    path: Path,
    log: Path,
    stall: Path,
    fail: Path,
    device: u64,
}

static ROOT: OnceLock<Root> = OnceLock::new();

/// The log as this process writes it.
struct Log {
    /// Open once something is to be said.
    fd: Option<i32>,
    /// How many records there are.
    count: u64,
    /// The process that opened it.
    process: Option<Pid>,
}

#[expect(clippy::disallowed_types, reason = "the threads of whatever program is watched meet here")]
static LOG: std::sync::Mutex<Log> = std::sync::Mutex::new(Log { fd: None, count: 0, process: None });

/// The log, for one change at a time. The fields are given up in this order.
struct Held {
    log: MutexGuard<'static, Log>,
    _undisturbed: Undisturbed,
}

/// Begins to watch a directory that `begin` has prepared.
fn watch(directory: &CStr) {
    let fd = place::open(CWD, directory, OFlags::DIRECTORY);
    let Some((path, stat)) = fd.and_then(|fd| Some((Path::of(fd.as_fd())?, rustix::fs::fstat(&fd).ok()?))) else {
        die("POWERCUT_DIR is no directory")
    };
    let mut log = path.clone();
    log.push(b".powercut\0");
    let beside =
        CStr::from_bytes_until_nul(log.bytes()).ok().and_then(|path| place::open(CWD, path, OFlags::DIRECTORY));
    if beside.is_none() {
        die("POWERCUT_DIR was not prepared: run `powercut begin` on it");
    }
    log.pop();
    let (mut stall, mut fail) = (log.clone(), log.clone());
    log.push(b"/log\0");
    stall.push(b"/stall\0");
    fail.push(b"/fail\0");
    if ROOT.set(Root { path, log, stall, fail, device: stat.st_dev }).is_err() {
        die("it is loaded twice");
    }
}

impl Root {
    /// The path below the directory, without a slash before it; empty for the directory itself.
    fn below<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        match path.strip_prefix(self.path.bytes())? {
            [] => Some(&[]),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }
}

fn hold() -> Held {
    let undisturbed = Undisturbed::begin();
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    let process = Some(getpid());
    if log.fd.is_none() {
        let path = ROOT.get().and_then(|root| CStr::from_bytes_until_nul(root.log.bytes()).ok());
        match path.map(kernel::create) {
            Some(Ok(fd)) => *log = Log { fd: Some(fd), count: 0, process },
            Some(Err(libc::EEXIST)) => die("the log of another process is there: run `powercut apply` first"),
            _ => die("the log cannot be created"),
        }
    }
    if log.process != process {
        die("a forked process changes the directory, which is not supported");
    }
    Held { log, _undisturbed: undisturbed }
}

impl Held {
    fn append(&mut self, kind: Kind, inode: u64, a: u64, b: u64, text: &[&[u8]]) {
        let len = text.iter().map(|part| part.len() as u64).sum();
        let head = Head { kind, inode, a, b, len }.encode();
        for part in core::iter::once(&head[..]).chain(text.iter().copied()) {
            if self.log.fd.is_none_or(|fd| kernel::append(fd, part).is_err()) {
                die("the log cannot be written");
            }
        }
        self.log.count += 1;
    }

    /// Appends what stands in a file now.
    fn append_written(&mut self, inode: u64, at: u64, len: u64, durable: bool, file: i32) {
        let head = Head { kind: Kind::Write, inode, a: at, b: durable.into(), len }.encode();
        let Some(file) = kernel::fd(file).and_then(kernel::reopen) else {
            die("a file cannot be read that was written")
        };
        let Some(fd) = self.log.fd else { die("there is no log") };
        if kernel::append(fd, &head).and_then(|()| kernel::append_from(fd, file.as_raw_fd(), at, len)).is_err() {
            die("the log cannot be written");
        }
        self.log.count += 1;
    }

    /// Says that the program did what cannot be followed, and ends it.
    fn unsupported(&mut self, what: &str) -> ! {
        self.append(Kind::Unsupported, 0, 0, 0, &[what.as_bytes()]);
        die(what)
    }
}

/// Ends the program with a word to whoever runs it: a run that was not seen whole proves nothing.
fn die(what: &str) -> ! {
    for part in ["powercut: ", what, "\n"] {
        // The end follows in any case.
        let _: Result<(), i32> = kernel::append(2, part.as_bytes());
    }
    kernel::abort()
}
