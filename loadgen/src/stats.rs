//! Latencies and counts by name, as they are recorded and as they stand in a file.
//!
//! A file has each histogram whole, in HdrHistogram's own form (V2, deflated, base64): results can be merged and
//! compared from it alone, by any program that knows HdrHistogram.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use crate::limits::{HISTOGRAM_TEXT_BYTES_MAX, LATENCY_DIGITS, LATENCY_NS_MAX, NAMES_COUNT_MAX};

/// Latencies of one kind, from 1 ns to a minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    histogram: Histogram<u64>,
}

/// What a histogram says, in microseconds, and the histogram.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
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
    /// 19 of 20.
    pub p95_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p99_9_us: f64,
    /// 9,999 of 10,000.
    pub p99_99_us: f64,
    /// Largest.
    pub max_us: f64,
    /// All of it.
    pub histogram: Latency,
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

    /// Takes another's values in.
    ///
    /// # Panics
    /// Never: all have the same bounds, as `new` and `decode` are the only ways to one.
    #[expect(clippy::expect_used, reason = "bounds are alike by construction")]
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("histograms of the same bounds");
    }

    /// Values recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency that this share of all values do not exceed, in microseconds; 0 if there is none.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        if self.histogram.is_empty() { 0.0 } else { microseconds(self.histogram.value_at_quantile(quantile)) }
    }

    /// The histogram itself.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// What it says.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        if self.histogram.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile| self.quantile_us(quantile);
        Percentiles {
            count: self.histogram.len(),
            min_us: microseconds(self.histogram.min()),
            mean_us: rounded(self.histogram.mean() / 1000.0),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: microseconds(self.histogram.max()),
            histogram: self.clone(),
        }
    }

    /// As text: HdrHistogram's V2 form, deflated, in base64.
    ///
    /// # Errors
    /// The histogram cannot be written.
    pub fn encode(&self) -> Result<String, String> {
        encode(&self.histogram)
    }

    /// From that text.
    ///
    /// # Errors
    /// It is no histogram, or one with values that none of ours can have.
    pub fn decode(text: &str) -> Result<Self, String> {
        let mut latency = Self::new();
        let fault = |error: &dyn std::fmt::Display| format!("histogram: {error}");
        latency.histogram.add(decode(text)?).map_err(|error| fault(&error))?;
        Ok(latency)
    }
}

/// A histogram as text.
pub(crate) fn encode<T: hdrhistogram::Counter>(histogram: &Histogram<T>) -> Result<String, String> {
    let mut bytes = Vec::new();
    let written = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    written.map_err(|error| format!("histogram: {error}"))?;
    Ok(STANDARD.encode(bytes))
}

/// A histogram from its text.
pub(crate) fn decode<T: hdrhistogram::Counter>(text: &str) -> Result<Histogram<T>, String> {
    if text.len() > HISTOGRAM_TEXT_BYTES_MAX {
        return Err(format!("histogram: {} characters: must be at most {HISTOGRAM_TEXT_BYTES_MAX}", text.len()));
    }
    let bytes = STANDARD.decode(text).map_err(|error| format!("histogram: must be base64: {error}"))?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| format!("histogram: {error}"))
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Serialize for Latency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode().map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::decode(&text).map_err(serde::de::Error::custom)
    }
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// A figure to a thousandth: nothing measured is finer, and so few digits are read back exactly as they were written.
pub(crate) fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 1000.0).round() / 1000.0 } else { 0.0 }
}

/// A share or a time in seconds, to a millionth.
pub(crate) fn rounded_fine(value: f64) -> f64 {
    if value.is_finite() { (value * 1e6).round() / 1e6 } else { 0.0 }
}

/// Counts by name, bounded: names over the bound are counted together.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names {
    counts: BTreeMap<String, u64>,
}

impl Names {
    /// One more of `name`.
    pub fn add(&mut self, name: &str) {
        self.add_count(name, 1);
    }

    /// So many more of `name`.
    pub fn add_count(&mut self, name: &str, more: u64) {
        if let Some(count) = self.counts.get_mut(name) {
            *count += more;
            return;
        }
        let name = if self.counts.len() < NAMES_COUNT_MAX { name } else { "other" };
        *self.counts.entry(name.to_owned()).or_default() += more;
    }

    /// Takes another's counts in.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in other.iter() {
            self.add_count(name, count);
        }
    }

    /// How many of `name`.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// How many of all names.
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
            (found.p95_us, 95_000.0),
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

    #[test]
    fn names_are_merged_by_name() {
        let (mut names, mut other) = (Names::default(), Names::default());
        names.add_count("a", 2);
        other.add_count("a", 3);
        other.add("b");
        names.merge(&other);
        assert_eq!(names.iter().collect::<Vec<_>>(), [("a", 5), ("b", 1)]);
    }

    #[test]
    fn a_histogram_is_the_same_read_back_and_two_merged_are_as_one() {
        let (mut all, mut odd, mut even) = (Latency::new(), Latency::new(), Latency::new());
        for value in (0..5000u64).map(|number| number * number * 1234) {
            all.record(value);
            if value % 2 == 0 { even.record(value) } else { odd.record(value) }
        }
        let read = Latency::decode(&all.encode().unwrap()).unwrap();
        assert_eq!(read, all);
        assert_eq!(read.percentiles(), all.percentiles());
        odd.merge(&even);
        assert_eq!(odd.percentiles(), all.percentiles());
        assert_eq!(Latency::decode(&Latency::new().encode().unwrap()), Ok(Latency::new()));
    }

    #[test]
    fn what_is_no_histogram_of_ours_is_refused() {
        let check = |text: &str, word: &str| {
            let error = Latency::decode(text).unwrap_err();
            assert!(error.starts_with("histogram: ") && error.contains(word), "{error}");
        };
        check("?", "base64");
        check("", "i/o");
        check("AAAAAAAA", "cookie");
        check(&"A".repeat(HISTOGRAM_TEXT_BYTES_MAX + 4), "at most 524288");
        check(&"A".repeat(HISTOGRAM_TEXT_BYTES_MAX), "cookie");
        let mut longer = Histogram::<u64>::new_with_bounds(1, LATENCY_NS_MAX * 4, LATENCY_DIGITS).unwrap();
        longer.record(LATENCY_NS_MAX * 3).unwrap();
        check(&encode(&longer).unwrap(), "");
    }

    #[test]
    fn rounded_figures_survive_json() {
        for value in [0.0, 0.1234567, 1.0 / 3.0, 123_456_789.987_654, 59_999_999.999] {
            for value in [rounded(value), rounded_fine(value)] {
                let text = serde_json::to_string(&value).unwrap();
                assert_eq!(serde_json::from_str::<f64>(&text).unwrap().to_bits(), value.to_bits(), "{text}");
            }
        }
        assert_eq!((rounded(f64::NAN), rounded_fine(f64::INFINITY)), (0.0, 0.0));
    }
}
