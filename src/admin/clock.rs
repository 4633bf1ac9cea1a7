//! The clocks, read in one place for all that is no shard: what is answered, logged, and kept has its time.

use std::time::{Duration, Instant, SystemTime};

/// Since the beginning of 1970.
#[expect(clippy::disallowed_methods, reason = "a host tells the time, and who logs the time of what it says")]
#[must_use]
pub fn unix() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The same in milliseconds.
#[must_use]
pub fn unix_ms() -> u64 {
    millis(unix())
}

/// A time that never goes back, to measure from.
#[expect(clippy::disallowed_methods, reason = "a host tells the time")]
pub(super) fn monotonic() -> Instant {
    Instant::now()
}

/// Whole milliseconds of it.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
