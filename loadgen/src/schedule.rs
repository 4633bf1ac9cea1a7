//! When an open loop sends: each publisher at its rate, spread over the interval by its number alone.
//!
//! The times are fixed by the start, not by what was sent before: a late send does not delay the next, and the
//! latency of what was late counts from the time it should have left.

/// The times of all publishers of one group.
#[derive(Debug)]
pub struct Schedule {
    start_ns: u64,
    end_ns: u64,
    interval_ns: u64,
    /// Offset in the interval and publisher, by offset.
    phases: Vec<(u64, u32)>,
    /// Next entry of `phases`; below its length unless that is 0.
    next: usize,
    round: u64,
    rounds_max: u64,
}

impl Schedule {
    /// Publishers send every `interval_ns` from `start_ns` until before `end_ns`, at most `rounds_max` times each.
    #[must_use]
    pub fn new(publishers: &[u32], interval_ns: u64, start_ns: u64, end_ns: u64, rounds_max: u64) -> Self {
        let mut phases: Vec<(u64, u32)> =
            (0u64..).zip(publishers).map(|(index, &publisher)| (phase_ns(index, interval_ns), publisher)).collect();
        phases.sort_unstable();
        Self { start_ns, end_ns, interval_ns, phases, next: 0, round: 0, rounds_max }
    }

    /// When the next send is intended; `None` after the last.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        let (phase_ns, _) = self.phases.get(self.next)?;
        let at = self.start_ns + self.round * self.interval_ns + phase_ns;
        (at < self.end_ns && self.round < self.rounds_max).then_some(at)
    }

    /// Ends it at `end_ns`, if it would go on longer.
    pub fn end_at(&mut self, end_ns: u64) {
        self.end_ns = self.end_ns.min(end_ns);
    }

    /// The next publisher whose time has come, and that time.
    pub fn take_due(&mut self, now_ns: u64) -> Option<(u32, u64)> {
        let at = self.next_ns().filter(|&at| at <= now_ns)?;
        let (_, publisher) = *self.phases.get(self.next)?;
        self.next += 1;
        if self.next == self.phases.len() {
            self.next = 0;
            self.round += 1;
        }
        Some((publisher, at))
    }
}

/// Multiples of the golden ratio fill an interval evenly whatever their count, and set neighbours far apart.
fn phase_ns(index: u64, interval_ns: u64) -> u64 {
    let turn = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u64::try_from((u128::from(turn) * u128::from(interval_ns)) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(schedule: &mut Schedule, now_ns: u64) -> Vec<(u32, u64)> {
        std::iter::from_fn(|| schedule.take_due(now_ns)).collect()
    }

    #[test]
    fn each_publisher_sends_once_per_interval_at_its_own_time() {
        let publishers: Vec<u32> = (0..100).collect();
        let mut schedule = Schedule::new(&publishers, 1000, 5000, 8000, u64::MAX);
        let sends = drain(&mut schedule, u64::MAX);
        assert_eq!(sends.len(), 300);
        for publisher in 0..100 {
            let times: Vec<u64> = sends.iter().filter(|send| send.0 == publisher).map(|send| send.1).collect();
            assert_eq!(times, [times[0], times[0] + 1000, times[0] + 2000]);
        }
        assert!(sends.is_sorted_by_key(|send| send.1));
        // Spread: no tenth of the interval holds less than nine or more than eleven of a hundred.
        for tenth in 0..10 {
            let count = sends[..100].iter().filter(|send| (send.1 - 5000) / 100 == tenth).count();
            assert!((9..=11).contains(&count), "{tenth}: {count}");
        }
    }

    #[test]
    fn nothing_is_due_before_its_time_and_lateness_delays_nothing() {
        let mut schedule = Schedule::new(&[4], 1000, 5000, u64::MAX, u64::MAX);
        assert_eq!(schedule.take_due(4999), None);
        assert_eq!(schedule.take_due(5000), Some((4, 5000)));
        assert_eq!(schedule.take_due(5999), None);
        assert_eq!(drain(&mut schedule, 8500), [(4, 6000), (4, 7000), (4, 8000)]);
    }

    #[test]
    fn ends_at_its_end_and_at_its_count() {
        assert_eq!(drain(&mut Schedule::new(&[1], 1000, 0, 2000, u64::MAX), u64::MAX), [(1, 0), (1, 1000)]);
        assert_eq!(drain(&mut Schedule::new(&[1], 1000, 0, u64::MAX, 1), u64::MAX), [(1, 0)]);
        assert_eq!(Schedule::new(&[], 1000, 0, 2000, 1).next_ns(), None);
    }

    #[test]
    fn the_same_publishers_get_the_same_times() {
        let publishers: Vec<u32> = (0..1000).collect();
        let sends = || drain(&mut Schedule::new(&publishers, 1_000_000_000, 0, 1_000_000_000, 1), u64::MAX);
        assert_eq!(sends(), sends());
    }
}
