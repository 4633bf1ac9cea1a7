use super::*;
use crate::report::tests::sample;
use crate::stats::{Latency, Percentiles};

/// Runs that differ as runs do: each has its own level within two in a hundred, around `factor` times the usual.
pub(super) fn side(name: &str, count: usize, seed: u64, factor: f64) -> Vec<Run> {
    let mut random = fastrand::Rng::with_seed(seed);
    let usual = sample();
    let report = |_| {
        let level = factor * (0.98 + 0.04 * random.f64());
        let mut report = usual.clone();
        report.groups[0].latency = latency(level);
        if let Some(server) = &mut report.server {
            server.cpu_us_per_delivery = level;
        }
        report
    };
    let reports: Vec<Report> = (0..count).map(report).collect();
    reports.iter().zip(1..).map(|(report, number)| Run::new(&format!("{name}{number}"), report)).collect()
}

fn latency(level: f64) -> Percentiles {
    let mut latency = Latency::new();
    for number in 1..=1000u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some microseconds")]
        latency.record((f64::from(number) * level * 1000.0) as u64);
    }
    latency.percentiles()
}

pub(super) fn compare(a: &[Run], b: &[Run]) -> Comparison {
    Comparison::new([a, b], 0.05, &JUDGED).unwrap()
}

fn row<'a>(comparison: &'a Comparison, name: &str) -> &'a Row {
    comparison.rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn the_same_runs_show_no_difference_and_say_so() {
    for seed in 0..5 {
        let comparison = compare(&side("a", 5, 2 * seed, 1.0), &side("b", 5, 2 * seed + 1, 1.0));
        assert_eq!(comparison.exit_code(), 0, "{comparison}");
        assert!(comparison.regressions().next().is_none(), "{comparison}");
    }
    let text = compare(&side("a", 5, 1, 1.0), &side("b", 5, 2, 1.0)).to_string();
    assert!(text.ends_with("\nno difference in any of the 9 judged figures\n"), "{text}");
    assert!(text.contains("* delivery.p99"), "{text}");
}

#[test]
fn a_tenth_slower_is_a_regression_in_every_case() {
    for seed in 0..5 {
        let comparison = compare(&side("a", 5, 2 * seed, 1.0), &side("b", 5, 2 * seed + 1, 1.1));
        assert_eq!(comparison.exit_code(), 3, "{comparison}");
        for name in ["delivery.p50", "delivery.p99", "server.cpu_us_per_delivery"] {
            let Row { verdict, change, interval, .. } = row(&comparison, name);
            assert_eq!(*verdict, Verdict::Regression, "{name}: {comparison}");
            assert!((0.04..0.16).contains(change) && interval.unwrap().holds(*change), "{name}: {comparison}");
        }
        assert!(comparison.conclusion().starts_with("REGRESSION: delivery.p50 +"), "{comparison}");
    }
}

#[test]
fn a_tenth_faster_is_better_and_no_regression() {
    let comparison = compare(&side("a", 5, 1, 1.0), &side("b", 5, 2, 0.9));
    assert_eq!(comparison.exit_code(), 0);
    assert_eq!(row(&comparison, "delivery.p99").verdict, Verdict::Better);
    assert!(comparison.conclusion().starts_with("no regression; better: delivery.p50, delivery.p99"), "{comparison}");
}

#[test]
fn one_run_of_each_gives_no_interval_and_no_verdict() {
    for (a, b) in [(1, 1), (4, 5), (5, 4)] {
        let comparison = compare(&side("a", a, 1, 1.0), &side("b", b, 2, 2.0));
        assert_eq!(comparison.exit_code(), 0, "{comparison}");
        assert!(comparison.rows.iter().all(|row| row.interval.is_none() && row.verdict == Verdict::Unknown));
        let expected = format!("it takes 5 runs of each, there are {a} and {b}\n");
        assert!(comparison.to_string().ends_with(&expected), "{comparison}");
    }
}

#[test]
fn the_verdict_follows_the_interval_the_tolerance_and_the_direction() {
    let check = |low: f64, high: f64, better: Better, expected: Verdict| {
        assert_eq!(Verdict::new(Interval { low, high }, better, 0.05), expected, "{low} {high} {better:?}");
    };
    use Better::{Higher, Lower, Neither};
    check(-0.2, 0.3, Lower, Verdict::NoDifference);
    check(0.0, 0.3, Lower, Verdict::NoDifference);
    check(0.01, 0.05, Lower, Verdict::NoDifference);
    check(-0.05, -0.01, Higher, Verdict::NoDifference);
    check(0.01, 0.051, Lower, Verdict::Worse);
    check(0.05, 0.2, Lower, Verdict::Worse);
    check(0.051, 0.2, Lower, Verdict::Regression);
    check(-0.2, -0.051, Lower, Verdict::Better);
    check(0.051, 0.2, Higher, Verdict::Better);
    check(-0.2, -0.051, Higher, Verdict::Regression);
    check(-0.2, -0.05, Higher, Verdict::Worse);
    check(0.051, 0.2, Neither, Verdict::Other);
    check(-0.2, -0.051, Neither, Verdict::Other);
    check(0.0, 0.0, Lower, Verdict::NoDifference);
}

#[test]
fn what_is_usually_nothing_is_compared_by_its_difference() {
    let with_errors = |count: u64| -> Vec<Run> {
        let mut report = sample();
        report.faults.lost = count;
        // The runs' own failures are not what is looked at here.
        (0..5).map(|_| Run { objections: Vec::new(), ..Run::new("x", &report) }).collect()
    };
    let comparison = compare(&with_errors(0), &with_errors(2));
    let errors = row(&comparison, "errors");
    assert!(!errors.relative && errors.change == 2.0 && errors.verdict == Verdict::Regression, "{comparison}");
    assert_eq!(comparison.exit_code(), 3);
    assert!(comparison.to_string().contains("+2 to +2"), "{comparison}");
    assert_eq!(compare(&with_errors(0), &with_errors(0)).exit_code(), 0);
    assert_eq!(row(&compare(&with_errors(2), &with_errors(0)), "lost").verdict, Verdict::Better);
}

#[test]
fn runs_that_failed_or_were_invalid_fail_the_comparison() {
    let (a, mut b) = (side("a", 5, 1, 1.0), side("b", 5, 2, 1.0));
    let mut report = sample();
    report.invalid = Some("sends 9 ms late".to_owned());
    b[2] = Run::new("b3", &report);
    let comparison = compare(&a, &b);
    assert_eq!((comparison.exit_code(), comparison.objections.clone()), (1, vec!["b b3: sends 9 ms late".to_owned()]));
}

#[test]
fn other_scenarios_and_machines_are_named() {
    let a = side("a", 5, 1, 1.0);
    assert_eq!(
        compare(&a, &a).warnings,
        a[0].environment
            .warnings
            .iter()
            .map(|w| format!("a: {w}"))
            .collect::<Vec<_>>()
            .into_iter()
            .chain(a[0].environment.warnings.iter().map(|w| format!("b: {w}")))
            .collect::<Vec<_>>()
    );
    let mut report = sample();
    report.scenario.group[0].payload_bytes = crate::scenario::Sizes::Fixed(129);
    report.environment.processor = "an abacus".to_owned();
    report.environment.url = "elsewhere:1".to_owned();
    report.adapter = "ws".to_owned();
    let b: Vec<Run> = (0..5).map(|_| Run::new("b", &report)).collect();
    let warnings = compare(&a, &b).warnings.join("\n");
    assert!(warnings.contains("scenarios differ: group.0.payload_bytes is 128 in a and 129 in b"), "{warnings}");
    assert!(
        warnings.contains("machines differ: processor is") && warnings.contains("\"an abacus\" in b"),
        "{warnings}"
    );
    assert!(!warnings.contains("elsewhere"), "{warnings}");
    assert!(warnings.contains("adapters differ: \"waystation\" in a and \"ws\" in b"), "{warnings}");
    assert_eq!(warnings.matches("payload_bytes").count(), 1, "{warnings}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let runs = side("a", 1, 1, 1.0);
    let check = |a: &[Run], b: &[Run], tolerance: f64, judged: &[&str], word: &str| {
        let error = Comparison::new([a, b], tolerance, judged).unwrap_err();
        assert!(error.contains(word), "{error}");
    };
    check(&runs, &[], 0.05, &JUDGED, "1 runs and 0 runs");
    check(&runs, &vec![runs[0].clone(); REPEATS_COUNT_MAX + 1], 0.05, &JUDGED, "1001 runs");
    check(&runs, &runs, 1.0, &JUDGED, "tolerance 1");
    check(&runs, &runs, -0.1, &JUDGED, "tolerance -0.1");
    check(&runs, &runs, f64::NAN, &JUDGED, "tolerance NaN");
    check(&runs, &runs, 0.05, &["delivery.p98"], "\"delivery.p98\" is no figure");
    let mut silent = sample();
    silent.server = None;
    let silent = [Run::new("silent", &silent)];
    check(&silent, &silent, 0.05, &["server.busy"], "\"server.busy\"");
    assert!(Comparison::new([&silent, &silent], 0.0, &JUDGED).is_ok());
}

#[test]
fn the_comparison_is_written_for_programs_and_as_markdown() {
    let comparison = compare(&side("a", 5, 1, 1.0), &side("b", 5, 2, 1.2));
    let json = serde_json::to_value(&comparison).unwrap();
    let first = &json["rows"][0];
    assert_eq!((first["name"].as_str(), first["verdict"].as_str()), (Some("delivery.p50"), Some("regression")));
    assert!(first["interval"]["low"].as_f64().unwrap() > 0.05);
    let markdown = comparison.markdown();
    assert!(markdown.starts_with("**REGRESSION: delivery.p50 +"), "{markdown}");
    assert!(markdown.contains("| **delivery.p99** | ") && markdown.contains("| REGRESSION |"), "{markdown}");
    assert!(markdown.contains("| delivery.p90 | "), "{markdown}");
}
