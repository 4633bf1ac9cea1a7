//! How the store's thread sleeps, and its clocks.

use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::mesh::Bell;

/// Sleeps until the bell rings or the time is over. Who wants to be woken announces it first.
pub(super) fn sleep(bell: &Bell, at_most: Duration) {
    let timeout = Timespec::try_from(at_most).ok();
    let mut descriptors = [PollFd::new(bell, PollFlags::IN)];
    // A signal ends it early, which is no harm: whoever sleeps looks for work again.
    let rung = poll(&mut descriptors, timeout.as_ref()).unwrap_or(0);
    if rung > 0 {
        let _emptied = rustix::io::read(bell.as_fd(), &mut [0_u8; 8]).map_err(io::Error::from);
    }
}

/// Sleeps for a while, or until a signal.
pub(super) fn pause(at_most: Duration) {
    let _no_descriptors = poll(&mut [], Timespec::try_from(at_most).ok().as_ref());
}

#[expect(clippy::disallowed_methods, reason = "the store's thread is a host and keeps the window by the clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the store's thread is a host and hands the wall clock to the ledger")]
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
