//! What the store counts. Only its thread writes; whoever shows it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Description, Histogram, Kind, add};

/// Which number of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum StoreNumber {
    /// Commits.
    Commits,
    /// Writes in them.
    Writes,
    /// Bytes of events in them.
    Bytes,
    /// Commits that failed.
    Failures,
    /// Writes that wait.
    Queued,
    /// Channels that are open.
    Channels,
    /// Bytes on the disk.
    DiskBytes,
    /// Bytes that the file system has left.
    FreeBytes,
}

impl StoreNumber {
    /// Every number, in the order in which they are shown.
    pub const ALL: &'static [Self] = &[
        Self::Commits,
        Self::Writes,
        Self::Bytes,
        Self::Failures,
        Self::Queued,
        Self::Channels,
        Self::DiskBytes,
        Self::FreeBytes,
    ];

    /// Its family.
    #[must_use]
    pub const fn describe(self) -> Description {
        let (family, kind, help) = match self {
            Self::Commits => {
                ("waystation_store_commits_total", Kind::Counter, "Commits to the disk, one fdatasync each")
            }
            Self::Writes => ("waystation_store_writes_total", Kind::Counter, "Events and positions in these commits"),
            Self::Bytes => ("waystation_store_bytes_total", Kind::Counter, "Bytes of events in these commits"),
            Self::Failures => {
                ("waystation_store_failures_total", Kind::Counter, "Commits that failed and were tried again")
            }
            Self::Queued => ("waystation_store_queue_depth", Kind::Gauge, "Writes that wait for their commit"),
            Self::Channels => ("waystation_store_channels", Kind::Gauge, "Channels that the store has open"),
            Self::DiskBytes => ("waystation_store_disk_bytes", Kind::Gauge, "Bytes of the store on the disk"),
            Self::FreeBytes => {
                ("waystation_store_free_bytes", Kind::Gauge, "Bytes that the store's file system has left for it")
            }
        };
        Description { family, labels: "", kind, help }
    }
}

/// Family and help of the histogram of commits.
pub const STORE_COMMIT: (&str, &str) =
    ("waystation_store_commit_seconds", "Duration of a commit, however often it had to be tried");

/// All numbers of the store.
#[derive(Debug)]
pub struct StoreNumbers {
    values: [AtomicU64; StoreNumber::ALL.len()],
    commit: Histogram,
}

impl Default for StoreNumbers {
    fn default() -> Self {
        Self { values: [const { AtomicU64::new(0) }; StoreNumber::ALL.len()], commit: Histogram::new() }
    }
}

impl StoreNumbers {
    /// Numbers at zero, to be shared between the store and its readers.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        Arc::default()
    }

    /// Reads a number.
    #[must_use]
    pub fn read(&self, number: StoreNumber) -> u64 {
        self.values[number as usize].load(Relaxed)
    }

    /// Adds to a number. Only the store's thread calls this, as with the other writes.
    pub fn add(&self, number: StoreNumber, amount: u64) {
        add(&self.values[number as usize], amount);
    }

    /// Sets a gauge.
    pub fn set(&self, number: StoreNumber, value: u64) {
        self.values[number as usize].store(value, Relaxed);
    }

    /// How long commits take, in microseconds.
    pub const fn commit(&self) -> &Histogram {
        &self.commit
    }
}
