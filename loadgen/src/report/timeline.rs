//! The course of a run: a point for each second, or for two, four and so on of a long one.
//!
//! Bounded: over `TIMELINE_POINTS_MAX` points, neighbours become one, and what comes later is put together as widely.
//! A point never lies in two stages, so that what was measured can be told from what was not.

use hdrhistogram::{Counter, Histogram};
use serde::{Deserialize, Serialize};

use crate::limits::{LATENCY_NS_MAX, SLICE_DIGITS, TIMELINE_POINTS_MAX};
use crate::stats::{self, rounded, rounded_fine};

/// All points, in order.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline {
    /// First to last.
    pub points: Vec<Point>,
}

/// What happened in one second.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its beginning, since the run's.
    pub at_s: f64,
    /// Its length.
    pub span_s: f64,
    /// What the run was doing.
    pub stage: String,
    /// Whether its latencies are in the groups' ones.
    pub measured: bool,
    /// Connections that may publish and be delivered to, at its end.
    pub open: u64,
    /// Connections on the way there, at its end.
    pub connecting: u64,
    /// Publishes sent in it.
    pub published: u64,
    /// Deliveries had in it.
    pub delivered: u64,
    /// Bytes of those deliveries.
    pub bytes: u64,
    /// Latency from the intended send.
    pub latency: Slice,
    /// Latency from the actual send.
    pub latency_uncorrected: Slice,
    /// Actual minus intended send; of two points put together the larger.
    pub lateness_p99_us: f64,
    /// Faults of deliveries, ends unasked and protocol faults since the run's beginning.
    pub faults: u64,
    /// Share of one core that the server had, if its process is known.
    pub server_busy: Option<f64>,
    /// The server's anonymous memory at the end of it.
    pub server_anonymous_bytes: Option<u64>,
}

/// Latencies of one point, in microseconds; what is finer than a hundredth is not kept.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Median.
    pub p50_us: f64,
    /// 99 of 100 are at or below.
    pub p99_us: f64,
    /// Largest.
    pub max_us: f64,
    /// All of them, as an HdrHistogram; empty if there was none.
    pub histogram: String,
}

/// A timeline that grows.
#[derive(Debug)]
pub struct Growing {
    points: Vec<Point>,
    /// How long a point may be: a second, and twice as much each time that there were too many.
    width_s: f64,
}

impl Growing {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { points: Vec::new(), width_s: 1.0 }
    }

    /// One point more.
    pub fn push(&mut self, point: Point) {
        place(&mut self.points, point, self.width_s);
        while self.points.len() > TIMELINE_POINTS_MAX {
            self.width_s *= 2.0;
            let points = std::mem::take(&mut self.points);
            for point in points {
                place(&mut self.points, point, self.width_s);
            }
        }
    }

    /// All of it so far.
    #[must_use]
    pub fn finish(self) -> Timeline {
        Timeline { points: self.points }
    }
}

impl Default for Growing {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts a point behind the others, or into the last one if both are of one stage and together not too long.
fn place(points: &mut Vec<Point>, point: Point, width_s: f64) {
    // A second ends with the turn that sees its end, so it is a little longer than one.
    let longest_s = width_s * 1.1;
    // A run of ever so many stages would else not get shorter.
    let any_stage = width_s > STAGE_WIDTH_MAX_S;
    let fits = |last: &&mut Point| {
        last.span_s + point.span_s <= longest_s
            && (any_stage || (last.stage == point.stage && last.measured == point.measured))
    };
    match points.last_mut().filter(fits) {
        Some(last) => last.merge(&point),
        None => points.push(point),
    }
}

/// Above this width points of different stages are put together as well.
const STAGE_WIDTH_MAX_S: f64 = 3600.0;

impl Point {
    /// Takes in what another process did at the same time.
    pub(crate) fn add(&mut self, beside: &Self) {
        self.open += beside.open;
        self.connecting += beside.connecting;
        self.published += beside.published;
        self.delivered += beside.delivered;
        self.bytes += beside.bytes;
        self.latency.merge(&beside.latency);
        self.latency_uncorrected.merge(&beside.latency_uncorrected);
        self.lateness_p99_us = self.lateness_p99_us.max(beside.lateness_p99_us);
        self.faults += beside.faults;
        // They look at the same server.
        self.server_busy = self.server_busy.or(beside.server_busy);
        self.server_anonymous_bytes = self.server_anonymous_bytes.max(beside.server_anonymous_bytes);
    }

    /// Takes in the point that follows.
    pub(crate) fn merge(&mut self, next: &Self) {
        let weigh = |share: Option<f64>, span_s: f64| share.map(|share| share * span_s);
        let span_s = self.span_s + next.span_s;
        let busy = weigh(self.server_busy, self.span_s).zip(weigh(next.server_busy, next.span_s));
        self.server_busy = busy.map(|(one, other)| rounded_fine((one + other) / span_s)).or(self.server_busy);
        self.span_s = rounded_fine(span_s);
        (self.open, self.connecting, self.faults) = (next.open, next.connecting, next.faults);
        self.published += next.published;
        self.delivered += next.delivered;
        self.bytes += next.bytes;
        self.latency.merge(&next.latency);
        self.latency_uncorrected.merge(&next.latency_uncorrected);
        self.lateness_p99_us = self.lateness_p99_us.max(next.lateness_p99_us);
        self.server_anonymous_bytes = next.server_anonymous_bytes.or(self.server_anonymous_bytes);
    }

    /// Deliveries a second.
    #[must_use]
    pub fn delivered_per_s(&self) -> f64 {
        per_s(self.delivered, self.span_s)
    }

    /// Publishes a second.
    #[must_use]
    pub fn published_per_s(&self) -> f64 {
        per_s(self.published, self.span_s)
    }
}

fn per_s(count: u64, span_s: f64) -> f64 {
    if span_s > 0.0 { rounded(count as f64 / span_s) } else { 0.0 }
}

impl Slice {
    /// What such a histogram says.
    #[must_use]
    pub fn new<T: Counter>(histogram: &Histogram<T>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| rounded(histogram.value_at_quantile(quantile) as f64 / 1000.0);
        let max_us = rounded(histogram.max() as f64 / 1000.0);
        // Counts of a second are far from what the form cannot hold; without its text a point still has its figures.
        Self { p50_us: at(0.5), p99_us: at(0.99), max_us, histogram: stats::encode(histogram).unwrap_or_default() }
    }

    /// The histogram; `None` if there was no value.
    ///
    /// # Errors
    /// The text is no histogram.
    pub fn decode(&self) -> Result<Option<Histogram<u64>>, String> {
        if self.histogram.is_empty() { Ok(None) } else { stats::decode(&self.histogram).map(Some) }
    }

    fn merge(&mut self, next: &Self) {
        let (Ok(own), Ok(Some(mut sum))) = (self.decode(), next.decode()) else { return };
        // Both have the same bounds, since `slice_histogram` makes all of them.
        if own.is_none_or(|own| sum.add(&own).is_ok()) {
            *self = Self::new(&sum);
        }
    }
}

/// An empty histogram for the latencies of one second.
///
/// # Panics
/// Never: the bounds are constants that the histogram accepts, as a test shows.
#[expect(clippy::expect_used, reason = "constants, and a test makes one")]
#[must_use]
pub fn slice_histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, SLICE_DIGITS).expect("bounds of a histogram")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at_s: f64, stage: &str, latency_us: u64) -> Point {
        let mut histogram = slice_histogram();
        histogram.record(latency_us * 1000).unwrap();
        Point {
            at_s,
            span_s: 1.0,
            stage: stage.to_owned(),
            open: latency_us,
            published: 1,
            delivered: 2,
            bytes: 3,
            faults: latency_us,
            lateness_p99_us: latency_us as f64,
            latency: Slice::new(&histogram),
            server_busy: Some(0.5),
            ..Point::default()
        }
    }

    fn grow(count: u64, stage: impl Fn(u64) -> &'static str) -> Vec<Point> {
        let mut growing = Growing::new();
        let second = point(0.0, "", 1);
        for number in 0..count {
            growing.push(Point { at_s: number as f64, stage: stage(number).to_owned(), ..second.clone() });
            assert!(growing.points.len() <= TIMELINE_POINTS_MAX);
        }
        growing.finish().points
    }

    fn limit() -> u64 {
        u64::try_from(TIMELINE_POINTS_MAX).unwrap()
    }

    #[test]
    fn up_to_the_bound_each_second_is_a_point_and_one_over_it_neighbours_are_one() {
        for (count, points, span_s) in
            [(limit() - 1, limit() - 1, 1.0), (limit(), limit(), 1.0), (limit() + 1, limit() / 2 + 1, 2.0)]
        {
            let grown = grow(count, |_| "steady");
            assert_eq!((u64::try_from(grown.len()).unwrap(), grown[0].span_s), (points, span_s), "{count}");
        }
    }

    #[test]
    fn nothing_is_lost_however_long_a_run_is() {
        let count = limit() * 5;
        let grown = grow(count, |number| if number < 10 { "warm-up" } else { "steady" });
        assert_eq!(grown.iter().map(|point| point.delivered).sum::<u64>(), 2 * count);
        let decoded = grown.iter().map(|point| point.latency.decode().unwrap().unwrap().len());
        assert_eq!(decoded.sum::<u64>(), count);
        assert!(grown.is_sorted_by(|a, b| (a.at_s + a.span_s - b.at_s).abs() < 1e-9), "without holes");
        assert_eq!(grown.iter().filter(|point| point.stage == "warm-up").map(|point| point.span_s).sum::<f64>(), 10.0);
    }

    #[test]
    fn a_run_of_many_stages_is_bounded_too() {
        let grown = grow(limit() * 3, |number| if number % 2 == 0 { "odd" } else { "even" });
        assert_eq!(grown.iter().map(|point| point.published).sum::<u64>(), limit() * 3);
    }

    #[test]
    fn points_put_together_have_the_figures_of_both() {
        let mut first = point(0.0, "steady", 100);
        first.merge(&Point { server_busy: Some(1.0), span_s: 3.0, ..point(1.0, "steady", 900) });
        assert_eq!((first.span_s, first.open, first.faults, first.bytes), (4.0, 900, 900, 6));
        assert_eq!((first.server_busy, first.lateness_p99_us), (Some(0.875), 900.0));
        // Two digits: within a hundredth.
        assert!((first.latency.p50_us / 100.0 - 1.0).abs() < 0.01 && (first.latency.max_us / 900.0 - 1.0).abs() < 0.01);
        assert_eq!(first.latency.decode().unwrap().unwrap().len(), 2);
        let empty = Slice::default();
        let mut slice = empty.clone();
        slice.merge(&first.latency);
        slice.merge(&empty);
        assert_eq!(slice, first.latency);
        assert_eq!(empty.decode(), Ok(None));
        assert_eq!((first.delivered_per_s(), Point::default().published_per_s()), (1.0, 0.0));
    }
}
