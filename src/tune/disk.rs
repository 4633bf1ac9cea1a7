//! What only a disk itself tells: how much it has left, and how long it takes to sync.
//!
//! A disk that hangs, or a server of files that is gone, must not hold up who asks: a thread of its own asks, and is
//! left behind if it gets no answer. What it writes has no name and is gone with it.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use rustix::fs::{CWD, Mode, OFlags, fdatasync, openat, statvfs};
use rustix::io::pwrite;

use crate::limits::{DISK_SYNC_TRIES, DISK_SYNC_WAIT_MS};

/// What a disk told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that it has left for a plain user; nothing if it did not tell.
    pub free_bytes: Option<u64>,
    /// How long a sync takes; nothing where nothing can be written by who asks.
    pub sync: Option<Sync>,
}

/// How long a sync takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// So long, the middle one of some.
    Took(Duration),
    /// Longer than anybody waited.
    Late,
}

impl Disk {
    /// Asks the disk that a directory is on. Takes a bounded time.
    #[must_use]
    pub fn ask(directory: &Path) -> Self {
        let (free, told) = bounded(1);
        let (synced, took) = bounded(1);
        let directory = directory.to_owned();
        let asking = thread::Builder::new().name("disk".to_owned()).spawn(move || tell(&directory, &free, &synced));
        let wait = Duration::from_millis(DISK_SYNC_WAIT_MS);
        let free = asking.map_or(Err(RecvTimeoutError::Disconnected), |_detached| told.recv_timeout(wait));
        // Who does not even tell that will not tell more.
        let took = match free {
            Err(RecvTimeoutError::Timeout) => Err(RecvTimeoutError::Timeout),
            _ => took.recv_timeout(wait),
        };
        let sync = match took {
            Ok(took) => Some(Sync::Took(took)),
            Err(RecvTimeoutError::Timeout) => Some(Sync::Late),
            Err(RecvTimeoutError::Disconnected) => None,
        };
        let free_bytes = free.ok();
        Self { free_bytes, sync }
    }
}

fn tell(directory: &Path, free: &Sender<u64>, synced: &Sender<Duration>) {
    if let Ok(found) = statvfs(directory) {
        let _nobody_waits = free.send(found.f_bavail.saturating_mul(found.f_frsize));
    }
    if let Ok(took) = sync(directory) {
        let _nobody_waits = synced.send(took);
    }
}

/// Writes a block into a file without a name, so that it has its place on the disk, then syncs it some times.
#[expect(clippy::disallowed_methods, reason = "how long a disk takes is told by a clock")]
fn sync(directory: &Path) -> io::Result<Duration> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR)?;
    let write = |byte: u8| -> io::Result<()> {
        pwrite(&file, &[byte; 4096], 0)?;
        Ok(fdatasync(&file)?)
    };
    write(0)?;
    let mut took = [Duration::ZERO; DISK_SYNC_TRIES];
    for (byte, took) in (1..).zip(&mut took) {
        let begun = Instant::now();
        write(byte)?;
        *took = begun.elapsed();
    }
    took.sort_unstable();
    Ok(took[took.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_tells_what_it_has_left_and_how_long_a_sync_takes_and_keeps_nothing() {
        let place = std::env::temp_dir().join(format!("waystation-disk-{}", std::process::id()));
        std::fs::create_dir(&place).unwrap();
        let disk = Disk::ask(&place);
        let left = std::fs::read_dir(&place).unwrap().count();
        std::fs::remove_dir(&place).unwrap();
        assert_eq!(left, 0);
        assert!(disk.free_bytes.is_some_and(|bytes| bytes > 0), "{disk:?}");
        assert!(disk.sync.is_some(), "{disk:?}");
        assert_eq!(Disk::ask(Path::new("/proc/nothing")), Disk { free_bytes: None, sync: None });
        assert_eq!(Disk::ask(Path::new("/proc")).sync, None, "nothing can be written there");
        const { assert!(DISK_SYNC_TRIES % 2 == 1 && DISK_SYNC_WAIT_MS >= 1000, "there is a middle one, and time for it") };
    }
}
