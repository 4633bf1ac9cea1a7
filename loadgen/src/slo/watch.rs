//! Ends a run that is broken for long: what is measured after that tells nothing new.
//!
//! Looks at each second of the measured time by itself, so that a bad beginning is not averaged away and a good one
//! does not hide what follows. Only figures that a second has are watched; the others are judged at the end.

use crate::metrics::{Metrics, Unit};
use crate::report::{Point, SloReport};
use crate::slo::{Objectives, Slo};

/// Objectives under watch.
#[derive(Debug, Clone)]
pub struct Watch {
    after_s: f64,
    slos: Vec<Slo>,
    /// For how long each has been broken without a pause.
    broken_s: Vec<f64>,
}

impl Watch {
    /// Watches these objectives; `None` if they do not ask for it.
    #[must_use]
    pub fn new(objectives: &Objectives) -> Option<Self> {
        let after_s = objectives.abort_after_s?;
        Some(Self { after_s, slos: objectives.slos.clone(), broken_s: vec![0.0; objectives.slos.len()] })
    }

    /// Looks at one more second; returns what was broken for so long that the run should end.
    pub fn look(&mut self, point: &Point) -> Option<SloReport> {
        // While a run waits for its last deliveries nothing is published, which is nobody's fault.
        if !point.measured || point.stage == "drain" {
            return None;
        }
        let metrics = of_point(point);
        for (slo, broken_s) in self.slos.iter().zip(&mut self.broken_s) {
            let value = metrics.find(slo.name()).and_then(|metric| metric.value);
            *broken_s = match value {
                Some(value) if !slo.holds(value) => *broken_s + point.span_s,
                Some(_) => 0.0,
                // A second without deliveries says nothing of their latency, for good or bad.
                None => *broken_s,
            };
            if *broken_s >= self.after_s {
                let judged = slo.judge(&metrics);
                return Some(SloReport { slo: format!("{} within {:.0} s", judged.slo, self.after_s), ..judged });
            }
        }
        None
    }
}

/// The figures that one second has.
fn of_point(point: &Point) -> Metrics {
    let any = point.delivered > 0;
    let bytes = point.server_anonymous_bytes.map(|bytes| bytes as f64);
    let late = (point.published > 0).then_some(point.lateness_p99_us);
    Metrics::from_values([
        ("delivery.p50", Unit::Microseconds, any.then_some(point.latency.p50_us)),
        ("delivery.p99", Unit::Microseconds, any.then_some(point.latency.p99_us)),
        ("delivery.max", Unit::Microseconds, any.then_some(point.latency.max_us)),
        ("uncorrected.p50", Unit::Microseconds, any.then_some(point.latency_uncorrected.p50_us)),
        ("uncorrected.p99", Unit::Microseconds, any.then_some(point.latency_uncorrected.p99_us)),
        ("uncorrected.max", Unit::Microseconds, any.then_some(point.latency_uncorrected.max_us)),
        ("lateness.p99", Unit::Microseconds, late),
        ("published.rate", Unit::PerSecond, Some(point.published_per_s())),
        ("delivered.rate", Unit::PerSecond, Some(point.delivered_per_s())),
        ("connections", Unit::Count, Some(point.open as f64)),
        ("errors", Unit::Count, Some(point.faults as f64)),
        ("server.busy", Unit::Share, point.server_busy),
        ("server.anonymous", Unit::Bytes, bytes),
    ])
}
