//! How observations are spread over a histogram's buckets, between two readings of it.

use crate::metrics::Histogram;

/// Counts of a histogram's buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spread(Vec<u64>);

impl Default for Spread {
    fn default() -> Self {
        Self(vec![0; Histogram::BUCKETS])
    }
}

impl Spread {
    pub(super) fn of(histogram: &Histogram) -> Self {
        Self(histogram.counts().collect())
    }

    /// Adds another's counts.
    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(all, more)| *all += more);
    }

    /// What came since an earlier reading.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self(self.0.iter().zip(&earlier.0).map(|(now, then)| now.saturating_sub(*then)).collect())
    }

    /// Observations.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The value that so many of a thousand observations do not exceed, as far as buckets tell it: no less than it
    /// was, and at most a quarter more. `None` without observations.
    pub(super) fn quantile(&self, per_mille: u64) -> Option<u64> {
        let count = self.count();
        let mut before = 0;
        let reached = self.0.iter().position(|more| {
            before += more;
            *more > 0 && before.saturating_mul(1000) >= per_mille.saturating_mul(count)
        });
        reached.map(Histogram::upper_bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, Timing};

    /// What quantiles are after `after` was recorded on top of `before`.
    fn check(before: &[u64], after: &[u64], per_mille: u64, expected: Option<u64>) {
        let metrics = Metrics::default();
        let histogram = metrics.timing(Timing::Turn);
        before.iter().for_each(|micros| histogram.record(*micros));
        let earlier = Spread::of(histogram);
        after.iter().for_each(|micros| histogram.record(*micros));
        let spread = Spread::of(histogram).since(&earlier);
        assert_eq!(spread.count(), after.len() as u64);
        assert_eq!(spread.quantile(per_mille), expected, "{after:?} {per_mille}");
    }

    #[test]
    fn a_quantile_is_of_what_came_between_two_readings() {
        let slow = [1_000_000; 50];
        check(&slow, &[], 500, None);
        check(&slow, &[3], 500, Some(3));
        check(&slow, &[3], 1000, Some(3));
        check(&[], &[1, 2, 3, 0], 500, Some(1));
        check(&slow, &[1, 1, 1, 100], 750, Some(1));
        check(&slow, &[1, 1, 1, 100], 751, Some(111));
        check(&slow, &[1, 1, 1, 100], 1000, Some(111));
        check(&slow, &[0; 1000], 999, Some(0));
        let mut one_late = vec![10; 999];
        one_late.push(5000);
        check(&slow, &one_late, 999, Some(11));
        check(&slow, &one_late, 1000, Some(5119));
    }

    #[test]
    fn what_is_told_is_at_most_a_quarter_more_than_what_was() {
        for micros in (0..2000).chain([12_345, 999_999, 60_000_000]) {
            let metrics = Metrics::default();
            metrics.timing(Timing::Turn).record(micros);
            let told = Spread::of(metrics.timing(Timing::Turn)).quantile(500).unwrap();
            assert!(told >= micros && told <= micros + micros / 4, "{micros}: {told}");
        }
    }

    #[test]
    fn readings_of_several_shards_are_added() {
        let shards = [Metrics::default(), Metrics::default()];
        shards[0].timing(Timing::Turn).record(7);
        (0..3).for_each(|_| shards[1].timing(Timing::Turn).record(900));
        let mut all = Spread::default();
        shards.iter().for_each(|metrics| all.add(&Spread::of(metrics.timing(Timing::Turn))));
        assert_eq!((all.count(), all.quantile(250), all.quantile(251)), (4, Some(7), Some(1023)));
    }
}
