//! Whether a commit gets on, seen from beside: a thread that hangs in a call cannot say so itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::sleep::now;
use crate::limits::STORE_STALLED_MS;

/// When the commit began that is under way.
#[derive(Debug)]
pub(super) struct Pulse {
    zero: Instant,
    /// Milliseconds from `zero` to one before it; 0 while there is none.
    began: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { zero: now(), began: AtomicU64::new(0) }
    }

    /// A commit begins.
    pub(super) fn begin(&self) {
        self.began.store(1 + self.ms(now()), Relaxed);
    }

    /// It has come to its end.
    pub(super) fn end(&self) {
        self.began.store(0, Relaxed);
    }

    /// For how long a commit has been under way at a time, if for too long.
    fn late(&self, at: Instant) -> Option<u64> {
        let began = self.began.load(Relaxed).checked_sub(1)?;
        Some(self.ms(at).saturating_sub(began)).filter(|ms| *ms >= STORE_STALLED_MS)
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.zero).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Who looks now and then, and tells each time that it is too late once.
#[derive(Debug)]
pub(super) struct Look<'a> {
    pulse: &'a Pulse,
    is_told: bool,
}

impl<'a> Look<'a> {
    /// How often.
    pub(super) const EVERY: Duration = Duration::from_millis(STORE_STALLED_MS);

    pub(super) const fn at(pulse: &'a Pulse) -> Self {
        Self { pulse, is_told: false }
    }

    /// For how long a commit has been under way, to be told now.
    pub(super) fn look(&mut self, at: Instant) -> Option<u64> {
        let late = self.pulse.late(at);
        let was_told = std::mem::replace(&mut self.is_told, late.is_some());
        late.filter(|_| !was_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_hangs_is_told_once_after_its_time() {
        let pulse = Pulse::new();
        let mut look = Look::at(&pulse);
        let at = |ms| now() + Duration::from_millis(ms);
        assert_eq!(look.look(at(10 * STORE_STALLED_MS)), None, "there is none");
        for _ in 0..2 {
            pulse.begin();
            assert_eq!(look.look(now()), None);
            let told = look.look(at(STORE_STALLED_MS + 1));
            assert!(told.is_some_and(|ms| ms >= STORE_STALLED_MS), "{told:?}");
            assert_eq!(look.look(at(3 * STORE_STALLED_MS)), None, "it was told");
            pulse.end();
            assert_eq!(look.look(at(4 * STORE_STALLED_MS)), None);
        }
    }
}
