//! Rates, and what is left of one: the tool behind every limit of so many a minute.
//!
//! A [`Pace`] is one number, so that a table may hold one for each user and address. It never wakes up: what
//! was earned is worked out when somebody takes. Absent: whose rate it is, and what happens over it.

use crate::time::Millis;

/// A rate: how many a minute, and how many may come at once. 0 a minute is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many a minute.
    pub per_minute: u32,
    /// How many at once.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { per_minute: 0, burst: 0 };

    /// A rate of which a whole minute's worth may come at once.
    #[must_use]
    pub const fn a_minute(count: u32) -> Self {
        Self { per_minute: count, burst: count }
    }

    /// Whether there is no limit.
    #[must_use]
    pub const fn is_unlimited(self) -> bool {
        self.per_minute == 0
    }

    /// Milliseconds in which all of the burst is earned anew.
    #[must_use]
    pub fn refill_ms(self) -> u64 {
        self.nanos_each().saturating_mul(u64::from(self.burst.max(1))).div_ceil(NANOS_PER_MS)
    }

    /// Nanoseconds in which one is earned.
    fn nanos_each(self) -> u64 {
        60_000 * NANOS_PER_MS / u64::from(self.per_minute.max(1))
    }
}

/// What is left of a rate, kept as the instant at which nothing of it will be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// In nanoseconds since the host started; in the past if nothing is missing now.
    whole_at: u64,
}

const NANOS_PER_MS: u64 = 1_000_000;

impl Pace {
    /// How many may be taken now.
    #[must_use]
    pub fn left(self, rate: Rate, now: Millis) -> u32 {
        if rate.is_unlimited() {
            return u32::MAX;
        }
        u32::try_from(self.room(rate, now) / rate.nanos_each()).unwrap_or(u32::MAX)
    }

    /// Takes up to `wanted`. Returns how many, at least one.
    ///
    /// # Errors
    /// The milliseconds after which there is one.
    pub fn try_take(&mut self, rate: Rate, now: Millis, wanted: u32) -> Result<u32, u64> {
        if rate.is_unlimited() {
            return Ok(wanted);
        }
        let each = rate.nanos_each();
        let taken = self.left(rate, now).min(wanted);
        if taken == 0 {
            return Err(each.saturating_sub(self.room(rate, now)).div_ceil(NANOS_PER_MS));
        }
        self.whole_at = self.whole_at.max(nanos(now)).saturating_add(each.saturating_mul(taken.into()));
        Ok(taken)
    }

    /// Puts back what was taken and not used.
    pub fn give_back(&mut self, rate: Rate, count: u32) {
        self.whole_at = self.whole_at.saturating_sub(rate.nanos_each().saturating_mul(count.into()));
    }

    /// Whether nothing is missing, so that it need not be kept.
    #[must_use]
    pub const fn is_whole(self, now: Millis) -> bool {
        self.whole_at <= nanos(now)
    }

    /// Time's worth that may be taken now.
    fn room(self, rate: Rate, now: Millis) -> u64 {
        let span = rate.nanos_each().saturating_mul(u64::from(rate.burst.max(1)));
        span.saturating_sub(self.whole_at.saturating_sub(nanos(now)))
    }
}

const fn nanos(at: Millis) -> u64 {
    at.0.saturating_mul(NANOS_PER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_minute: 300, burst: 50 };

    #[test]
    fn the_burst_passes_and_one_more_waits_exactly_as_long_as_it_is_told() {
        let mut pace = Pace::default();
        for taken in 0..50 {
            assert_eq!(pace.try_take(RATE, Millis(1000), 1), Ok(1), "{taken}");
        }
        assert_eq!(pace.try_take(RATE, Millis(1000), 1), Err(200));
        assert_eq!(pace.try_take(RATE, Millis(1199), 1), Err(1));
        assert_eq!(pace.try_take(RATE, Millis(1200), 1), Ok(1));
        assert_eq!(pace.try_take(RATE, Millis(1200), 1), Err(200));
    }

    #[test]
    fn blocks_are_cut_to_what_is_left_and_unused_ones_come_back() {
        let (mut pace, now) = (Pace::default(), Millis(7));
        for (wanted, expected, left) in [(49, Ok(49), 1), (2, Ok(1), 0), (1, Err(200), 0)] {
            assert_eq!((pace.try_take(RATE, now, wanted), pace.left(RATE, now)), (expected, left));
        }
        pace.give_back(RATE, 50);
        assert!(pace.is_whole(now));
        pace.give_back(RATE, 1000);
        assert_eq!(pace.left(RATE, now), 50, "more than was taken adds nothing");
    }

    #[test]
    fn over_a_long_time_the_rate_passes_and_idle_time_saves_no_more_than_the_burst() {
        let mut pace = Pace::default();
        let passed = (0..600_000).filter(|now| pace.try_take(RATE, Millis(*now), 1).is_ok()).count();
        assert_eq!(passed, 3000 + 49);
        assert!(!pace.is_whole(Millis(600_000 + RATE.refill_ms() - 201)));
        assert!(pace.is_whole(Millis(600_000 + RATE.refill_ms())));
        assert_eq!(pace.left(RATE, Millis(3_600_000)), 50);
    }

    #[test]
    fn no_limit_takes_everything_and_extremes_do_not_overflow() {
        let mut pace = Pace::default();
        assert!((0..1000).all(|_| pace.try_take(Rate::UNLIMITED, Millis(0), 9) == Ok(9)));
        assert_eq!(pace, Pace::default());
        let huge = Rate { per_minute: u32::MAX, burst: u32::MAX };
        let slow = Rate { per_minute: 1, burst: u32::MAX };
        for rate in [huge, slow] {
            let mut pace = Pace::default();
            assert!(pace.try_take(rate, Millis(u64::MAX), u32::MAX).is_ok());
            pace.give_back(rate, u32::MAX);
        }
    }
}
