//! Two sets of runs against each other: what differs, by how much, and how sure that is.
//!
//! A figure of a side is its median over the side's runs; the change from one to the other has a bootstrap interval.
//! What the interval does not rule out is not called a difference, and one run of each rules out nothing. Only the
//! judged figures decide the exit code: of a hundred figures some are always beyond their interval by chance. `text`
//! and `page` show it.

mod page;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::interval::{Draws, Interval, SEED, median};
use crate::limits::REPEATS_COUNT_MAX;
use crate::metrics::{Better, Metrics, Unit};
use crate::report::{Environment, Report};
use crate::scenario::Scenario;

/// Figures that decide the exit code unless others are asked for.
pub const JUDGED: [&str; 9] = [
    "delivery.p50",
    "delivery.p99",
    "delivered.rate",
    "errors",
    "opening.p99",
    "joined_per_cpu_s",
    "server.cpu_us_per_delivery",
    "server.rss",
    "server.bytes_per_connection",
];

/// What a comparison needs of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where it came from.
    pub source: String,
    /// Its figures.
    pub metrics: Metrics,
    scenario: Scenario,
    environment: Environment,
    adapter: String,
    objections: Vec<String>,
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Where the runs came from, by side.
    pub sources: [Vec<String>; 2],
    /// The scenario's name.
    pub scenario: String,
    /// A change within this share is no difference.
    pub tolerance: f64,
    /// All figures that both sides have.
    pub rows: Vec<Row>,
    /// What makes the sides less comparable.
    pub warnings: Vec<String>,
    /// Runs that failed or were invalid, with the reason.
    pub objections: Vec<String>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it is counted in.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// Whether it decides the exit code.
    pub judged: bool,
    /// Medians of both sides.
    pub medians: [f64; 2],
    /// Whether the change is a share of the first; else it is counted as the figure is.
    pub relative: bool,
    /// From the first side to the second.
    pub change: f64,
    /// The change's 95 % interval, if there are runs enough for one.
    pub interval: Option<Interval>,
    /// What that says.
    pub verdict: Verdict,
}

/// What a change with its interval says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The interval holds 0, or lies within the tolerance.
    NoDifference,
    /// Better, and not by chance.
    Better,
    /// Worse, and not by chance, but perhaps within the tolerance.
    Worse,
    /// Worse by more than the tolerance, and not by chance.
    Regression,
    /// Other, and not by chance, where neither way is better.
    Other,
    /// Too few runs for an interval.
    Unknown,
}

impl Run {
    /// Of a report that came from `source`.
    #[must_use]
    pub fn new(source: &str, report: &Report) -> Self {
        Self {
            source: source.to_owned(),
            metrics: Metrics::new(report),
            scenario: report.scenario.clone(),
            environment: report.environment.clone(),
            adapter: report.adapter.clone(),
            objections: report.objections().into_iter().chain(report.invalid.clone()).collect(),
        }
    }
}

impl Comparison {
    /// Compares the first side with the second; `judged` are the figures that decide the exit code.
    ///
    /// # Errors
    /// A side has no run or too many, the tolerance is none, or a judged figure is in neither side.
    pub fn new(sides: [&[Run]; 2], tolerance: f64, judged: &[&str]) -> Result<Self, String> {
        let [a, b] = sides;
        if sides.iter().any(|side| side.is_empty() || side.len() > REPEATS_COUNT_MAX) {
            return Err(format!("{} runs and {} runs: must be 1 to {REPEATS_COUNT_MAX} of each", a.len(), b.len()));
        }
        if !(0.0..1.0).contains(&tolerance) {
            return Err(format!("tolerance {tolerance} must be 0 to below 1, a share"));
        }
        let samples = sides.map(samples);
        let names = a.iter().chain(b).max_by_key(|run| run.metrics.iter().count());
        let metrics = names.map(|run| run.metrics.iter()).into_iter().flatten();
        let rows = metrics.filter_map(|metric| {
            let (of_a, of_b) = (samples[0].get(metric.name.as_str())?, samples[1].get(metric.name.as_str())?);
            let judged = judged.contains(&metric.name.as_str());
            Some(Row::new(metric.name.clone(), (metric.unit, metric.better), judged, [of_a, of_b], tolerance))
        });
        let rows: Vec<Row> = rows.collect();
        let asked = judged.iter().filter(|name| !JUDGED.contains(*name));
        if let Some(missing) = asked.into_iter().find(|name| !rows.iter().any(|row| row.name == **name)) {
            return Err(format!("{missing:?} is no figure that both sides measured: `loadgen metrics` names them"));
        }
        Ok(Self {
            sources: sides.map(|side| side.iter().map(|run| run.source.clone()).collect()),
            scenario: a[0].scenario.name.clone(),
            tolerance,
            rows,
            warnings: warnings(a, b),
            objections: objections(sides),
        })
    }

    /// 0 nothing is worse, 1 a run failed or was invalid, 3 a judged figure is worse by more than the tolerance.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.objections.is_empty(), self.regressions().next()) {
            (false, _) => 1,
            (true, Some(_)) => 3,
            (true, None) => 0,
        }
    }

    /// Judged figures that are worse by more than the tolerance.
    pub fn regressions(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.judged && row.verdict == Verdict::Regression)
    }
}

impl Row {
    fn new(name: String, kind: (Unit, Better), judged: bool, samples: [&Vec<f64>; 2], tolerance: f64) -> Self {
        let (unit, better) = kind;
        let [a, b] = samples;
        // Of a share of nothing nothing can be said: what may be 0 is compared by its difference.
        let relative = a.iter().all(|value| *value > 0.0);
        let change = |a: f64, b: f64| if relative { b / a - 1.0 } else { b - a };
        let medians = samples.map(|side| median(&mut side.clone()));
        let interval = Draws::of_both(a, b, SEED, change).map(|draws| draws.interval());
        let tolerance = if relative { tolerance } else { 0.0 };
        Self {
            name,
            unit,
            better,
            judged,
            medians,
            relative,
            change: change(medians[0], medians[1]),
            interval,
            verdict: interval.map_or(Verdict::Unknown, |interval| Verdict::new(interval, better, tolerance)),
        }
    }
}

impl Verdict {
    fn new(Interval { low, high }: Interval, better: Better, tolerance: f64) -> Self {
        // Upwards is worse from here on.
        let (low, high) = if better == Better::Higher { (-high, -low) } else { (low, high) };
        let unclear = low <= 0.0 && high >= 0.0;
        let small = low >= -tolerance && high <= tolerance;
        match better {
            _ if unclear || small => Self::NoDifference,
            Better::Neither => Self::Other,
            _ if high < 0.0 => Self::Better,
            _ if low > tolerance => Self::Regression,
            _ => Self::Worse,
        }
    }
}

/// The values of each figure over the runs of a side, by name.
fn samples(side: &[Run]) -> BTreeMap<&str, Vec<f64>> {
    let mut samples: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for metric in side.iter().flat_map(|run| run.metrics.iter()) {
        if let Some(value) = metric.value {
            samples.entry(&metric.name).or_default().push(value);
        }
    }
    samples
}

fn objections(sides: [&[Run]; 2]) -> Vec<String> {
    let of_side = |(name, side): (&'static str, &[Run])| -> Vec<String> {
        let all = side.iter().flat_map(|run| run.objections.iter().map(move |what| (run, what)));
        all.map(|(run, what)| format!("{name} {}: {what}", run.source)).collect()
    };
    ["a", "b"].into_iter().zip(sides).flat_map(of_side).collect()
}

/// What differs between the runs besides what is to be compared.
fn warnings(a: &[Run], b: &[Run]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let first = &a[0];
    for (side, run) in a.iter().map(|run| ("a", run)).chain(b.iter().map(|run| ("b", run))) {
        let mut tell = |what: String| {
            if !found.contains(&what) {
                found.push(what);
            }
        };
        for (place, here, there) in differences(&first.scenario, &run.scenario) {
            tell(format!("scenarios differ: {place} is {here} in a and {there} in {side}"));
        }
        let (here, there) = (&first.adapter, &run.adapter);
        if here != there {
            tell(format!("adapters differ: {here:?} in a and {there:?} in {side}"));
        }
        for (place, here, there) in differences(&told(&first.environment), &told(&run.environment)) {
            tell(format!("machines differ: {place} is {here} in a and {there} in {side}"));
        }
        for warning in &run.environment.warnings {
            tell(format!("{side}: {warning}"));
        }
    }
    found
}

/// What of a machine makes two runs comparable; the rest differs from run to run.
fn told(environment: &Environment) -> Environment {
    let Environment { host, loadgen, kernel, processor, cores_count, governor, turbo, memory_bytes, sysctls, .. } =
        environment.clone();
    Environment {
        host,
        loadgen,
        kernel,
        processor,
        cores_count,
        governor,
        turbo,
        memory_bytes,
        sysctls,
        ..Environment::default()
    }
}

/// Places in which two values differ, with what stands there.
pub(crate) fn differences(a: &impl Serialize, b: &impl Serialize) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    if let (Ok(a), Ok(b)) = (serde_json::to_value(a), serde_json::to_value(b)) {
        differ("", &a, &b, &mut found);
    }
    found
}

fn differ(place: &str, a: &serde_json::Value, b: &serde_json::Value, found: &mut Vec<(String, String, String)>) {
    use serde_json::Value;
    let inner = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            for name in names {
                let of = |side: &serde_json::Map<String, Value>| side.get(name).cloned().unwrap_or_default();
                differ(&inner(name), &of(a), &of(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (number, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&inner(&number.to_string()), a, b, found);
            }
        }
        _ if a != b => found.push((place.to_owned(), a.to_string(), b.to_string())),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
