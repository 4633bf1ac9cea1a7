//! The one place on a shard's thread that reads a clock.
#![expect(clippy::disallowed_methods, reason = "the host reads the clock for the rules, which are given its value")]

use std::time::{Instant, SystemTime};

use crate::time::Now;

/// Both clocks, counted from the start of the process so that all shards agree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    pub(super) const fn new(started: Instant) -> Self {
        Self { started }
    }

    pub(super) fn now(self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { micros: self.micros(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Monotonic microseconds alone, for a spin.
    pub(super) fn micros(self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
