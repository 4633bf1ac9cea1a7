//! Results that stand in files: what must be the same in them, and what is put together besides the counts.

use std::time::SystemTime;

use crate::compare::differences;
use crate::limits::RESULTS_COUNT_MAX;
use crate::merge::align::align;
use crate::merge::parts;
use crate::report::{Environment, Report};

/// Puts the results of several processes or hosts together, each with where it came from, as one result of one run.
///
/// # Errors
/// They are too few or too many, of other scenarios or versions, not parts of one run, or not of one time; the text
/// names the sources.
pub fn results(all: Vec<(String, Report)>) -> Result<Report, String> {
    if all.len() < 2 || all.len() > RESULTS_COUNT_MAX {
        return Err(format!("{} results: must be 2 to {RESULTS_COUNT_MAX}", all.len()));
    }
    if let Some((name, _)) = all.iter().find(|(_, report)| report.parts.is_empty()) {
        return Err(format!("{name}: does not say which part of a run it is"));
    }
    let (first_name, first) = &all[0];
    for (name, report) in &all[1..] {
        if let Some((place, here, there)) = differences(&first.scenario, &report.scenario).into_iter().next() {
            return Err(format!("scenario: {place} is {here} in {first_name} and {there} in {name}: must be the same"));
        }
        for (what, of) in [("loadgen", loadgen as fn(&Report) -> &str), ("the adapter", adapter)] {
            let (here, there) = (of(first), of(report));
            if here != there {
                return Err(format!("{what} is {here:?} in {first_name} and {there:?} in {name}: must be the same"));
            }
        }
    }
    let began = all.iter().map(|(name, report)| began_s(report).map_err(|error| format!("{name}: {error}")));
    let began: Vec<f64> = began.collect::<Result<_, String>>()?;
    check_times(&all, &began)?;
    let lines: Vec<_> = began.iter().copied().zip(all.iter().map(|(_, report)| &report.timeline)).collect();
    let timeline = align(&lines);
    let environment = together(all.iter().map(|(_, report)| &report.environment));
    let merged = parts(all.into_iter().map(|(_, report)| report).collect())?;
    // Objectives of a part say nothing of the whole; they are judged anew.
    Ok(Report { timeline, environment, slos: Vec::new(), ..merged })
}

fn loadgen(report: &Report) -> &str {
    &report.environment.loadgen
}

fn adapter(report: &Report) -> &str {
    &report.adapter
}

/// When the run began, in seconds of the wall clock.
fn began_s(report: &Report) -> Result<f64, String> {
    let started = &report.environment.started;
    let time = humantime::parse_rfc3339(started).map_err(|error| format!("started {started:?}: {error}"))?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|error| format!("started {started:?}: {error}"))?;
    Ok(since.as_secs_f64())
}

/// Parts of one run go on at the same time: rates that are added up must be of one time.
fn check_times(all: &[(String, Report)], began: &[f64]) -> Result<(), String> {
    let ended = |report: &Report| report.timeline.points.last().map_or(0.0, |point| point.at_s + point.span_s);
    let ends = all.iter().zip(began).map(|((name, report), began_s)| (name, began_s + ended(report)));
    let first_end = ends.min_by(|one, other| one.1.total_cmp(&other.1));
    let last_begin = all.iter().zip(began).max_by(|one, other| one.1.total_cmp(other.1));
    if let (Some((early, end_s)), Some(((late, _), begin_s))) = (first_end, last_begin)
        && *begin_s > end_s
    {
        let gap_s = begin_s - end_s;
        return Err(format!("{late} began {gap_s:.0} s after {early} had ended: must be parts of one run at one time"));
    }
    Ok(())
}

/// The machines as one: the first, with the names of all and everything that speaks against any.
fn together<'a>(all: impl Iterator<Item = &'a Environment>) -> Environment {
    let mut sum: Option<Environment> = None;
    for environment in all {
        let warned = environment.warnings.iter().map(|warning| format!("{}: {warning}", environment.host));
        match &mut sum {
            None => sum = Some(Environment { warnings: warned.collect(), ..environment.clone() }),
            Some(sum) => {
                if !sum.host.split(", ").any(|host| host == environment.host) {
                    sum.host = format!("{}, {}", sum.host, environment.host);
                }
                sum.doctor = sum.doctor.take().or_else(|| environment.doctor.clone());
                sum.started = environment.started.clone().min(std::mem::take(&mut sum.started));
                sum.warnings.extend(warned);
                sum.warnings.dedup();
            }
        }
    }
    sum.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Faults;
    use crate::deal::Part;
    use crate::report::tests::sample;
    use crate::stats::{Latency, Percentiles};

    fn latency(values: impl Iterator<Item = u64>) -> Percentiles {
        let mut latency = Latency::new();
        values.for_each(|value| latency.record(value * 1000));
        latency.percentiles()
    }

    /// A run's result as one process has it, with these latencies.
    fn part(number: u32, of: u32, values: impl Iterator<Item = u64>) -> (String, Report) {
        let mut report = sample();
        report.parts = vec![Part { number, of }];
        report.groups[0].latency = latency(values);
        report.environment.started = "2026-11-22T01:00:00.250Z".to_owned();
        report.environment.host = format!("host-{number}");
        report.environment.warnings = vec!["busy".to_owned()];
        (format!("part{number}"), report)
    }

    #[test]
    fn halves_together_are_as_the_whole() {
        let whole = latency((1..=10_000).map(|number| number * number));
        let odd = part(1, 2, (1..=10_000).map(|number| number * number).filter(|value| value % 2 == 1));
        let even = part(2, 2, (1..=10_000).map(|number| number * number).filter(|value| value % 2 == 0));
        let merged = results(vec![even, odd]).unwrap();
        assert_eq!(merged.groups[0].latency, whole);
        let single = sample();
        assert_eq!(merged.groups[0].delivered, 2 * single.groups[0].delivered);
        assert!((merged.groups[0].delivered_per_s / single.groups[0].delivered_per_s - 2.0).abs() < 1e-9);
        assert_eq!(merged.openings[0].ready, 2 * single.openings[0].ready);
        assert_eq!(merged.parts, [Part { number: 1, of: 2 }, Part { number: 2, of: 2 }]);
        assert_eq!(merged.timeline.points.len(), single.timeline.points.len());
        let delivered = |report: &Report| report.timeline.points.iter().map(|point| point.delivered).sum::<u64>();
        assert_eq!(delivered(&merged), 2 * delivered(&single));
        let counted = |report: &Report| {
            let slices = report.timeline.points.iter().map(|point| point.latency.decode().unwrap().unwrap().len());
            slices.sum::<u64>()
        };
        assert_eq!(counted(&merged), 2 * counted(&single));
        assert!(merged.environment.host.contains("host-1") && merged.environment.host.contains("host-2"));
        assert_eq!(merged.environment.warnings.len(), 2);
        assert!(merged.slos.is_empty());
        // It is a result like any other.
        assert_eq!(Report::from_json(&merged.to_json().unwrap()).unwrap().timeline, merged.timeline);
    }

    #[test]
    fn one_bad_part_makes_the_whole_bad() {
        let (good, mut bad) = (part(1, 2, 1..10), part(2, 2, 1..10));
        bad.1.faults = Faults { lost: 3, ..Faults::default() };
        assert_eq!(results(vec![good.clone(), bad]).unwrap().exit_code(), 1);
        let mut late = part(2, 2, 1..10);
        late.1.invalid = Some("late".to_owned());
        assert_eq!(results(vec![good, late]).unwrap().exit_code(), 3);
    }

    #[test]
    fn what_is_no_whole_run_is_refused_with_the_reason() {
        let check = |all: Vec<(String, Report)>, word: &str| {
            let error = results(all).unwrap_err();
            assert!(error.contains(word), "{error}");
        };
        let changed = |change: &dyn Fn(&mut Report)| {
            let (name, mut report) = part(2, 2, 1..10);
            change(&mut report);
            (name, report)
        };
        let one = || part(1, 2, 1..10);
        check(vec![one()], "1 results: must be 2 to 64");
        check(vec![one(); RESULTS_COUNT_MAX + 1], "65 results");
        check(vec![one(), one()], "part 1/2 is there twice");
        check(vec![part(1, 3, 1..10), part(3, 3, 1..10)], "part 2/3 is missing");
        check(vec![part(1, 3, 1..10), part(2, 3, 1..10)], "part 3/3 is missing");
        check(vec![one(), part(2, 3, 1..10)], "parts of one run");
        check(vec![one(), changed(&|report| report.parts.clear())], "part2: does not say which part");
        check(
            vec![one(), changed(&|report| report.scenario.warmup_s = 9.0)],
            "warmup_s is 5.0 in part1 and 9.0 in part2",
        );
        check(vec![one(), changed(&|report| report.environment.loadgen = "9.9".to_owned())], "\"9.9\" in part2");
        check(
            vec![one(), changed(&|report| report.adapter = "ws".to_owned())],
            "the adapter is \"waystation\" in part1",
        );
        check(
            vec![one(), changed(&|report| report.environment.started = "noon".to_owned())],
            "part2: started \"noon\"",
        );
        let later = "2026-11-22T01:00:06.250Z";
        check(
            vec![one(), changed(&|report| report.environment.started = later.to_owned())],
            "part2 began 1 s after part1",
        );
    }
}
