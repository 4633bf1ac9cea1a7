//! What the ratios of all pairs say together, and whether a bound is kept.

use std::fmt;

use serde::Serialize;

use crate::interval::{Draws, Interval, SEED, quantile, sign_test};

/// Ratios and the bound they are held to.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Median ratio.
    pub median: f64,
    /// A quarter of the ratios is at or below the first, a quarter at or above the second.
    pub quartiles: [f64; 2],
    /// The median's 95 % interval, if there are pairs enough for one.
    pub interval: Option<Interval>,
    /// The median lies at or below this with 95 % certainty.
    pub upper: Option<f64>,
    /// How likely such ratios are if neither server costs more: the two-sided sign test.
    pub sign_p: f64,
    /// What the upper bound must not exceed.
    pub bound: Option<f64>,
}

impl Verdict {
    /// Judges ascending ratios.
    #[must_use]
    pub fn new(ratios: &[f64], bound: Option<f64>) -> Self {
        let draws = Draws::of_median(ratios, SEED);
        Self {
            median: quantile(ratios, 0.5),
            quartiles: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
            interval: draws.as_ref().map(Draws::interval),
            upper: draws.as_ref().map(Draws::upper),
            sign_p: sign_test(ratios, 1.0),
            bound,
        }
    }

    /// Whether there is a bound that is not shown to be kept. Too few pairs show nothing, nor do ratios of nothing.
    #[must_use]
    pub fn exceeds(&self) -> bool {
        self.bound.is_some_and(|bound| !self.upper.is_some_and(|upper| upper <= bound))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.quartiles;
        write!(f, "median {:.3}  quartiles {low:.3} {high:.3}", self.median)?;
        match (self.interval, self.upper) {
            (Some(interval), Some(upper)) => {
                write!(f, "  95 % {:.3} to {:.3}  upper bound {upper:.3}", interval.low, interval.high)?;
            }
            _ => write!(f, "  no interval: it takes five pairs")?,
        }
        write!(f, "  sign test p {:.3}", self.sign_p)?;
        let Some(bound) = self.bound else { return Ok(()) };
        write!(f, "  {} {bound}", if self.exceeds() { "EXCEEDS" } else { "within" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ratios: &[f64], bound: Option<f64>, exceeds: bool) {
        let verdict = Verdict::new(ratios, bound);
        assert_eq!(verdict.exceeds(), exceeds, "{verdict}");
    }

    #[test]
    fn a_bound_is_kept_only_if_the_upper_bound_is_at_or_below_it() {
        check(&[1.1; 5], Some(1.1), false);
        check(&[1.1; 5], Some(1.099), true);
        // Of five the upper bound is the largest, of fifteen the fifth largest.
        check(&[1.0, 1.0, 1.0, 1.0, 1.2], Some(1.19), true);
        let mut fifteen = [1.0; 15];
        fifteen[11..].fill(1.5);
        check(&fifteen, Some(1.1), false);
        fifteen[10] = 1.5;
        check(&fifteen, Some(1.1), true);
        check(&[1.5; 5], None, false);
    }

    #[test]
    fn too_few_pairs_and_ratios_of_nothing_keep_no_bound() {
        check(&[1.0; 4], Some(2.0), true);
        check(&[], Some(2.0), true);
        check(&[1.0, 1.0, 1.0, f64::NAN, f64::NAN], Some(2.0), true);
        check(&[1.0, 1.0, f64::INFINITY, f64::INFINITY, f64::INFINITY], Some(2.0), true);
    }

    #[test]
    fn the_verdict_says_what_it_knows() {
        let text = Verdict::new(&[1.0, 1.1, 1.2, 1.3, 1.4], Some(1.3)).to_string();
        let expected = "median 1.200  quartiles 1.100 1.300  95 % 1.000 to 1.400  upper bound 1.400  sign test p 0.125  \
                        EXCEEDS 1.3";
        assert_eq!(text, expected);
        let text = Verdict::new(&[1.2], None).to_string();
        assert_eq!(text, "median 1.200  quartiles 1.200 1.200  no interval: it takes five pairs  sign test p 1.000");
    }
}
