//! Storms that members come back from to where they were, as results tell them: who is recovered and when, and live
//! delivery before, while and after that.

use serde::{Deserialize, Serialize};

use crate::engine::{Live, Moment, Recovery};
use crate::stats::{Latency, Names, Percentiles, rounded, rounded_fine};

/// One storm.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecoveryReport {
    /// Members that went.
    pub wanted: u64,
    /// Those that have had all that they missed.
    pub recovered: u64,
    /// From the first connect to the last event that one had missed, in seconds.
    pub took_s: f64,
    /// Events that one missed: the fewest.
    pub missed_min: u64,
    /// The most.
    pub missed_max: u64,
    /// Those of all together.
    pub missed_sum: u64,
    /// From a member's connect to the last event that it had missed.
    pub latency: Percentiles,
    /// Those that are not recovered, by what they were told or what became of them.
    pub unrecovered: Names,
}

/// Live delivery in one moment of the storms, from the intended send.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveReport {
    /// `before`, `away`, `during` or `after`.
    pub moment: String,
    /// To members that stayed.
    pub stayed: Percentiles,
    /// To those that went, while they were there.
    pub went: Percentiles,
}

impl RecoveryReport {
    pub(super) fn new(recovery: &Recovery) -> Self {
        let (least, most, sum) = recovery.missed;
        Self {
            wanted: recovery.wanted,
            recovered: recovery.recovered,
            took_s: rounded_fine(recovery.took_ns as f64 / 1e9),
            missed_min: if least == u64::MAX { 0 } else { least },
            missed_max: most,
            missed_sum: sum,
            latency: recovery.latency.percentiles(),
            unrecovered: recovery.unrecovered.clone(),
        }
    }

    /// Takes another part of the same storm in.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.wanted += other.wanted;
        self.recovered += other.recovered;
        self.took_s = self.took_s.max(other.took_s);
        self.missed_min = match (self.missed_max, other.missed_max) {
            (0, _) => other.missed_min,
            (_, 0) => self.missed_min,
            _ => self.missed_min.min(other.missed_min),
        };
        self.missed_max = self.missed_max.max(other.missed_max);
        self.missed_sum += other.missed_sum;
        self.latency = together(&self.latency, &other.latency);
        self.unrecovered.merge(&other.unrecovered);
    }

    /// Events that one missed, in the middle.
    #[must_use]
    pub fn missed_mean(&self) -> f64 {
        let back = self.recovered + self.unrecovered.count("not all in time");
        rounded(self.missed_sum as f64 / back.max(1) as f64)
    }
}

impl LiveReport {
    pub(super) fn all(live: &[Live; 4]) -> Vec<Self> {
        let moments = Moment::ALL.iter().zip(live).map(|((_, name), live)| Self {
            moment: (*name).to_owned(),
            stayed: live.stayed.percentiles(),
            went: live.went.percentiles(),
        });
        moments.collect()
    }

    /// Takes the same moment of another part in.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.stayed = together(&self.stayed, &other.stayed);
        self.went = together(&self.went, &other.went);
    }
}

/// A percentile of a moment beside the one before the storms; none if either has no deliveries.
#[must_use]
pub fn ratio(before: &Percentiles, then: &Percentiles, of: fn(&Percentiles) -> f64) -> Option<f64> {
    let measured = before.count > 0 && then.count > 0 && of(before) > 0.0;
    measured.then(|| rounded(of(then) / of(before)))
}

fn together(one: &Percentiles, other: &Percentiles) -> Percentiles {
    let mut sum = Latency::new();
    for part in [one, other].into_iter().filter(|part| part.count > 0) {
        sum.merge(&part.histogram);
    }
    sum.percentiles()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::latencies;

    #[test]
    fn parts_of_a_storm_are_the_storm() {
        let mut one = RecoveryReport {
            wanted: 10,
            recovered: 9,
            took_s: 1.5,
            missed_min: 20,
            missed_max: 30,
            missed_sum: 240,
            latency: latencies(9),
            unrecovered: Names::default(),
        };
        one.unrecovered.add("not all in time");
        assert!((one.missed_mean() - 24.0).abs() < 1e-9);
        let mut none = RecoveryReport::default();
        let other = RecoveryReport { missed_min: 18, took_s: 2.5, ..one.clone() };
        one.merge(&other);
        none.merge(&one);
        one.merge(&RecoveryReport::default());
        assert_eq!((one.wanted, one.recovered, one.latency.count, one.unrecovered.sum()), (20, 18, 18, 2));
        assert_eq!((one.missed_min, one.missed_max, one.missed_sum), (18, 30, 480));
        assert!((one.took_s - 2.5).abs() < 1e-9);
        assert_eq!(none, one);
    }

    #[test]
    fn a_ratio_needs_both_sides() {
        let p99 = |of: &Percentiles| of.p99_us;
        let (one, two) = (latencies(100), latencies(200));
        assert!((ratio(&one, &two, p99).unwrap() - 2.0).abs() < 0.01);
        assert_eq!(ratio(&one, &Percentiles::default(), p99), None);
        assert_eq!(ratio(&Percentiles::default(), &one, p99), None);
    }
}
