//! Latencies and counts by name.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::limits::{LATENCY_DIGITS, LATENCY_NS_MAX, NAMES_COUNT_MAX};

/// Latencies of one kind, from 1 ns to a minute.
#[derive(Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

/// What a histogram says, in microseconds.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Percentiles {
    /// Values recorded.
    pub count: u64,
    /// Smallest.
    pub min_us: f64,
    /// Average.
    pub mean_us: f64,
    /// Median.
    pub p50_us: f64,
    /// Nine of ten are at or below.
    pub p90_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p99_9_us: f64,
    /// 9,999 of 10,000.
    pub p99_99_us: f64,
    /// Largest.
    pub max_us: f64,
}

impl Latency {
    /// An empty one.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram accepts, as a test shows.
    #[must_use]
    #[expect(clippy::expect_used, reason = "constants, and a test makes one")]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS);
        Self { histogram: histogram.expect("bounds of a histogram") }
    }

    /// One value; what is longer than the longest counts as that.
    pub fn record(&mut self, latency_ns: u64) {
        self.histogram.saturating_record(latency_ns);
    }

    /// What it says.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        if self.histogram.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile| microseconds(self.histogram.value_at_quantile(quantile));
        Percentiles {
            count: self.histogram.len(),
            min_us: microseconds(self.histogram.min()),
            mean_us: self.histogram.mean() / 1000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: microseconds(self.histogram.max()),
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// Counts by name, bounded: names over the bound are counted together.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Names {
    counts: BTreeMap<String, u64>,
}

impl Names {
    /// One more of `name`.
    pub fn add(&mut self, name: &str) {
        if let Some(count) = self.counts.get_mut(name) {
            *count += 1;
            return;
        }
        let name = if self.counts.len() < NAMES_COUNT_MAX { name } else { "other" };
        *self.counts.entry(name.to_owned()).or_default() += 1;
    }

    /// How many of `name`.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// How many in all.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.counts.values().sum()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(name, &count)| (name.as_str(), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut latency = Latency::new();
        for value in 1..=100_000u64 {
            latency.record(value * 1000);
        }
        let found = latency.percentiles();
        assert_eq!(found.count, 100_000);
        for (value, expected) in [
            (found.min_us, 1.0),
            (found.p50_us, 50_000.0),
            (found.p90_us, 90_000.0),
            (found.p99_us, 99_000.0),
            (found.p99_9_us, 99_900.0),
            (found.max_us, 100_000.0),
            (found.mean_us, 50_000.5),
        ] {
            assert!((value / expected - 1.0).abs() < 0.001, "{value} {expected}");
        }
    }

    #[test]
    fn values_out_of_range_are_kept_at_the_edge() {
        let mut latency = Latency::new();
        latency.record(0);
        latency.record(u64::MAX);
        assert_eq!(latency.percentiles().count, 2);
        assert_eq!(Latency::new().percentiles(), Percentiles::default());
    }

    #[test]
    fn names_are_bounded() {
        let mut names = Names::default();
        for number in 0..NAMES_COUNT_MAX + 5 {
            names.add(&number.to_string());
        }
        assert_eq!((names.count("0"), names.count("other")), (1, 5));
        assert_eq!(names.sum(), 69);
        assert_eq!(names.iter().count(), NAMES_COUNT_MAX + 1);
    }
}
