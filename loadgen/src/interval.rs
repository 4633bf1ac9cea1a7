//! How sure a figure from a few repeats is: medians, their bootstrap intervals, and the sign test.
//!
//! Repeats are drawn anew with replacement, by a seed, so that the same samples always give the same interval. The
//! figure is the median: one run that met a busy machine does not move it, and with five repeats its interval reaches
//! from the smallest to the largest, which covers 94 % as it should; an interval of the mean would cover 85 %. Fewer
//! than five cannot give 95 %, whatever the method, so none is given.

use serde::Serialize;

use crate::limits::{BOOTSTRAP_DRAWS_COUNT, REPEATS_COUNT_MIN};

/// The seed of every interval of a report.
pub const SEED: u64 = 0x5eed;

/// Where a figure lies with 95 % certainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether the interval reaches over this value.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// A figure as it came out in each draw, ascending; never empty.
#[derive(Debug)]
pub struct Draws {
    sorted: Vec<f64>,
}

impl Draws {
    /// The median of samples. `None` for fewer than five.
    #[must_use]
    pub fn of_median(samples: &[f64], seed: u64) -> Option<Self> {
        Self::new(&[samples], seed, BOOTSTRAP_DRAWS_COUNT, |medians| medians[0])
    }

    /// A figure made of the medians of two independent sets of samples. `None` if one has fewer than five.
    #[must_use]
    pub fn of_both(a: &[f64], b: &[f64], seed: u64, figure: impl Fn(f64, f64) -> f64) -> Option<Self> {
        Self::new(&[a, b], seed, BOOTSTRAP_DRAWS_COUNT, |medians| figure(medians[0], medians[1]))
    }

    fn new(sets: &[&[f64]], seed: u64, count: usize, figure: impl Fn(&[f64]) -> f64) -> Option<Self> {
        if sets.iter().any(|set| set.len() < REPEATS_COUNT_MIN) {
            return None;
        }
        // Samples that are all the same are so in every draw.
        let same = |set: &&[f64]| set.iter().all(|value| *value == set[0]);
        let count = if sets.iter().all(same) { 1 } else { count };
        let mut random = fastrand::Rng::with_seed(seed);
        let mut medians = vec![0.0; sets.len()];
        let mut drawn = Vec::new();
        let draws = (0..count).map(|_| {
            for (median, set) in medians.iter_mut().zip(sets) {
                drawn.clear();
                drawn.extend((0..set.len()).map(|_| set[random.usize(..set.len())]));
                *median = self::median(&mut drawn);
            }
            figure(&medians)
        });
        let mut sorted: Vec<f64> = draws.collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self { sorted })
    }

    /// The middle 95 %.
    #[must_use]
    pub fn interval(&self) -> Interval {
        Interval { low: quantile(&self.sorted, 0.025), high: quantile(&self.sorted, 0.975) }
    }

    /// The figure lies at or below this with 95 % certainty.
    #[must_use]
    pub fn upper(&self) -> f64 {
        quantile(&self.sorted, 0.95)
    }
}

/// The median; sorts the samples. No number for none.
pub fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    quantile(samples, 0.5)
}

/// The quantile of ascending values, between neighbours in proportion; no number for none.
#[must_use]
pub fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = quantile.clamp(0.0, 1.0) * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the last index")]
    let below = place as usize;
    let above = (below + 1).min(last);
    // Neighbours that are the same need no proportion, which for infinite ones would be no number.
    if sorted[below] == sorted[above] {
        return sorted[below];
    }
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// How likely it is that so many or more of the values lie on one side of `middle` if their median is there: the
/// two-sided sign test. Values that are just there say nothing and are left out.
#[must_use]
pub fn sign_test(values: &[f64], middle: f64) -> f64 {
    let above = values.iter().filter(|&&value| value > middle).count();
    let below = values.iter().filter(|&&value| value < middle).count();
    let (count, fewer) = (above + below, above.min(below));
    // Terms of the binomial distribution, each from the one before: none overflows for the repeats a run may have.
    let (mut term, mut sum) = (0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX)), 0.0);
    for successes in 0..=fewer {
        sum += term;
        term *= (count - successes) as f64 / (successes + 1) as f64;
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests;
