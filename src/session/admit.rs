//! Station 4: a token bucket per connection, and what the connection was lent of its user's messages.

use crate::limits::LEASE_MESSAGES_LOW;
pub use crate::rate::Rate;
use crate::time::Millis;

/// What is left of a rate. Counted in 1/60,000 of a message, which is what a rate of one a minute earns
/// in a millisecond.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// Parts of a message left.
    parts: u64,
    /// When the parts were counted.
    counted: Millis,
}

/// Parts that one message costs.
const MESSAGE_PARTS: u64 = 60_000;

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn full(rate: Rate, now: Millis) -> Self {
        Self { parts: rate.burst as u64 * MESSAGE_PARTS, counted: now }
    }

    /// Takes one message out.
    ///
    /// # Errors
    /// The milliseconds after which there is one.
    pub fn try_take(&mut self, rate: Rate, now: Millis) -> Result<(), u64> {
        self.try_take_many(rate, 1, now)
    }

    /// Takes several messages out at once, or none. More than come at once cost as much as these: otherwise
    /// they would never be affordable.
    ///
    /// # Errors
    /// The milliseconds after which there are as many.
    pub fn try_take_many(&mut self, rate: Rate, count: u32, now: Millis) -> Result<(), u64> {
        if rate.per_minute == 0 {
            return Ok(());
        }
        let burst = rate.burst.max(1);
        let earned = now.since(self.counted).saturating_mul(u64::from(rate.per_minute));
        self.parts = self.parts.saturating_add(earned).min(u64::from(burst) * MESSAGE_PARTS);
        self.counted = now;
        let cost = u64::from(count.min(burst)) * MESSAGE_PARTS;
        match self.parts.checked_sub(cost) {
            Some(left) => {
                self.parts = left;
                Ok(())
            }
            None => Err((cost - self.parts).div_ceil(u64::from(rate.per_minute))),
        }
    }
}

/// What a connection was lent of the messages that its user may send over all connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lease {
    /// Messages left.
    pub left: u16,
    /// The user's shard was asked for more and has not answered.
    pub asked: bool,
    /// The user's shard is another, so that an answer takes a hop.
    pub remote: bool,
    /// The user is near the limit: what is not needed at once may be another connection's.
    pub scarce: bool,
    /// Before that there is no use in asking.
    pub none_before: Millis,
}

impl Lease {
    /// Whether to ask for more ahead of need.
    #[must_use]
    pub const fn runs_low(&self) -> bool {
        self.remote && !self.scarce && !self.asked && self.left < LEASE_MESSAGES_LOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_minute: 300, burst: 50 };

    #[test]
    fn the_burst_passes_and_one_more_waits_exactly_as_long_as_it_is_told() {
        let mut bucket = Bucket::full(RATE, Millis(1000));
        for taken in 0..50 {
            assert_eq!(bucket.try_take(RATE, Millis(1000)), Ok(()), "{taken}");
        }
        assert_eq!(bucket.try_take(RATE, Millis(1000)), Err(200));
        assert_eq!(bucket.try_take(RATE, Millis(1199)), Err(1));
        assert_eq!(bucket.try_take(RATE, Millis(1200)), Ok(()));
        assert_eq!(bucket.try_take(RATE, Millis(1200)), Err(200));
    }

    #[test]
    fn over_a_long_time_the_rate_passes_and_idle_time_saves_no_more_than_the_burst() {
        let mut bucket = Bucket::full(RATE, Millis(0));
        let passed = (0..600_000).filter(|now| bucket.try_take(RATE, Millis(*now)).is_ok()).count();
        assert_eq!(passed, 3000 + 49);
        let mut idle = Bucket::full(RATE, Millis(0));
        let passed = (0..100).filter(|_| idle.try_take(RATE, Millis(3_600_000)).is_ok()).count();
        assert_eq!(passed, 50);
    }

    #[test]
    fn several_are_taken_at_once_or_none_and_more_than_the_burst_cost_the_burst() {
        let mut bucket = Bucket::full(RATE, Millis(0));
        assert_eq!(bucket.try_take_many(RATE, 49, Millis(0)), Ok(()));
        assert_eq!(bucket.try_take_many(RATE, 2, Millis(0)), Err(200));
        assert_eq!(bucket.try_take(RATE, Millis(0)), Ok(()));
        for count in [50, 51, 1000] {
            let mut bucket = Bucket::full(RATE, Millis(0));
            assert_eq!(bucket.try_take_many(RATE, count, Millis(0)), Ok(()), "{count}");
            assert_eq!(bucket.try_take(RATE, Millis(0)), Err(200));
            assert_eq!(bucket.try_take_many(RATE, count, Millis(0)), Err(50 * 200), "{count}");
        }
    }

    #[test]
    fn no_limit_takes_everything() {
        let mut bucket = Bucket::full(Rate::UNLIMITED, Millis(0));
        assert!((0..100_000).all(|_| bucket.try_take(Rate::UNLIMITED, Millis(0)).is_ok()));
    }
}
