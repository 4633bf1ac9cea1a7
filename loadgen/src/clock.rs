//! The one place that reads a clock: nanoseconds since the program's start, never backwards but by what is not to count.

use std::time::{Duration, Instant, SystemTime};

/// A monotonic clock with its own zero.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    zero: Instant,
}

impl Clock {
    /// A clock that reads 0 now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a load generator is a host: it measures time")]
    pub fn start() -> Self {
        Self { zero: Instant::now() }
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        nanoseconds(self.zero.elapsed())
    }

    /// Time that passed and is not to count: the clock reads so much less from now on.
    pub fn stand_still(&mut self, ns: u64) {
        self.zero += Duration::from_nanos(ns);
    }

    /// Nanoseconds of the kernel's clock that only goes forward: the same for all processes of a machine.
    #[must_use]
    pub fn of_machine_ns() -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
    }

    /// The time of day, for what a result is called and said to be from; never for a measurement.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a result says when it was made")]
    pub fn today() -> SystemTime {
        SystemTime::now()
    }

    /// Sleeps; only for waits outside a measurement.
    #[expect(clippy::disallowed_methods, reason = "this thread is no shard")]
    pub fn sleep(duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A duration in nanoseconds; 584 years at most.
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds as a scenario states them in nanoseconds; what is negative or no number is 0.
#[must_use]
pub fn seconds(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds).map_or(0, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_to_count_is_taken_off() {
        let (running, mut stopped) = (Clock::start(), Clock::start());
        Clock::sleep(Duration::from_millis(20));
        let aside_ns = stopped.now_ns() / 2;
        stopped.stand_still(aside_ns);
        // Both clocks are read one after the other, the one that is to be ahead last.
        let stopped_ns = stopped.now_ns();
        assert!(stopped_ns + aside_ns <= running.now_ns() && stopped_ns >= aside_ns);
        let first_ns = Clock::of_machine_ns();
        assert!(first_ns > 0 && Clock::of_machine_ns() >= first_ns);
    }
}
