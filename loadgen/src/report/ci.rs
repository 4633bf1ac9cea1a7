//! Figures for the programs that keep them over time: Bencher, and github-action-benchmark.
//!
//! Only figures that have a better and a worse are given, and none of an invalid run: those say nothing about the
//! server, and a history is not to be spoiled by them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metrics::{Better, Metric, Metrics, Unit};
use crate::report::Report;

/// Bencher's format: benchmark, measure, value.
type Bencher = BTreeMap<String, BTreeMap<&'static str, Measured>>;

#[derive(Debug, Serialize)]
struct Measured {
    value: f64,
}

/// An entry of github-action-benchmark.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    unit: &'static str,
    value: f64,
    extra: String,
}

/// `bmf.json`, Bencher Metric Format. Its built-in measures are used where they fit: `latency` is in nanoseconds,
/// `throughput` in operations a second.
pub(super) fn bencher(report: &Report) -> Result<String, String> {
    let mut all = Bencher::new();
    for (metric, value) in figures(report, &[Better::Lower, Better::Higher]) {
        let (measure, value) = match metric.unit {
            Unit::Microseconds => ("latency", value * 1000.0),
            Unit::PerSecond => ("throughput", value),
            Unit::Bytes => ("bytes", value),
            Unit::Count => ("count", value),
            Unit::Share => ("share", value),
        };
        let benchmark = all.entry(format!("{}/{}", report.scenario.name, metric.name)).or_default();
        benchmark.insert(measure, Measured { value });
    }
    written("bmf.json", &all)
}

/// `gab.json`, for the tool `customSmallerIsBetter`.
pub(super) fn smaller_is_better(report: &Report) -> Result<String, String> {
    written("gab.json", &entries(report, Better::Lower))
}

/// `gab-bigger.json`, for the tool `customBiggerIsBetter`.
pub(super) fn bigger_is_better(report: &Report) -> Result<String, String> {
    written("gab-bigger.json", &entries(report, Better::Higher))
}

fn entries(report: &Report, better: Better) -> Vec<Entry> {
    let environment = &report.environment;
    let extra = format!("{}, {} cores, Linux {}", environment.processor, environment.cores_count, environment.kernel);
    let entry = |(metric, value): (Metric, f64)| Entry {
        name: format!("{}/{}", report.scenario.name, metric.name),
        unit: metric.unit.name(),
        value,
        extra: extra.clone(),
    };
    figures(report, &[better]).map(entry).collect()
}

fn figures<'a>(report: &Report, wanted: &'a [Better]) -> impl Iterator<Item = (Metric, f64)> + use<'a> {
    let metrics = if report.invalid.is_some() { Metrics::default() } else { Metrics::new(report) };
    let all: Vec<Metric> = metrics.iter().cloned().collect();
    all.into_iter().filter(|metric| wanted.contains(&metric.better)).filter_map(|metric| {
        let value = metric.value.filter(|value| value.is_finite())?;
        Some((metric, value))
    })
}

fn written(name: &str, value: &impl Serialize) -> Result<String, String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| format!("{name}: {error}"))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use serde_json::Value;

    fn parsed(text: Result<String, String>) -> Value {
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    #[test]
    fn bencher_gets_benchmarks_of_measures_of_values() {
        let found = parsed(bencher(&sample()));
        let benchmarks = found.as_object().unwrap();
        for (name, measures) in benchmarks {
            let measures = measures.as_object().unwrap();
            assert_eq!(measures.len(), 1, "{name}");
            for (measure, value) in measures {
                assert!(["latency", "throughput", "bytes", "count", "share"].contains(&measure.as_str()), "{measure}");
                assert!(value["value"].is_number() && value.as_object().unwrap().len() == 1, "{value}");
            }
        }
        let name = sample().scenario.name;
        for (metric, measure, expected) in [
            ("delivery.max", "latency", sample().groups[0].latency.max_us * 1000.0),
            ("published.rate", "throughput", 10_000.0),
            ("lost", "count", 0.0),
            ("server.busy", "share", 0.3),
            ("server.bytes_per_connection", "bytes", 4123.5),
        ] {
            assert_eq!(found[format!("{name}/{metric}")][measure]["value"], expected, "{metric}");
        }
        // The scenario decides how long a message is: no better, no worse.
        assert!(!benchmarks.contains_key(&format!("{name}/delivered.bytes")));
    }

    #[test]
    fn github_action_benchmark_gets_names_units_and_values_apart_by_what_is_better() {
        for (found, has, has_not) in [
            (parsed(smaller_is_better(&sample())), "delivery.p99", "delivered.rate"),
            (parsed(bigger_is_better(&sample())), "delivered.rate", "delivery.p99"),
        ] {
            let names: Vec<&str> =
                found.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
            let scenario = sample().scenario.name;
            assert!(names.contains(&format!("{scenario}/{has}").as_str()), "{names:?}");
            assert!(!names.contains(&format!("{scenario}/{has_not}").as_str()), "{names:?}");
            for entry in found.as_array().unwrap() {
                let keys: Vec<&String> = entry.as_object().unwrap().keys().collect();
                assert_eq!(keys, ["extra", "name", "unit", "value"]);
                assert!(entry["value"].is_number() && entry["unit"].is_string() && entry["extra"].is_string());
            }
        }
    }

    #[test]
    fn an_invalid_run_spoils_no_history() {
        let report = Report { invalid: Some("late".to_owned()), ..sample() };
        assert_eq!(parsed(bencher(&report)), serde_json::json!({}));
        assert_eq!(parsed(smaller_is_better(&report)), serde_json::json!([]));
        assert_eq!(parsed(bigger_is_better(&report)), serde_json::json!([]));
    }
}
