use super::*;
use crate::metrics::Unit;
use crate::report::{Point, Slice};

/// A small scenario with this behind it.
fn scenario(more: &str) -> Result<Scenario, String> {
    let (_, text) = crate::scenario::SHIPPED.iter().find(|(name, _)| *name == "smoke").unwrap();
    Scenario::parse(&format!("{text}\n{more}"), &[])
}

fn known() -> Vec<Definition> {
    definitions(&["open", "closed loop"])
}

fn refused(text: &str, expected: &str) {
    let fault = Slo::parse(text, &known()).unwrap_err().to_string();
    assert_eq!(fault, expected, "{text}");
}

#[test]
fn a_good_expression_holds_up_to_its_bound_and_not_beyond() {
    // Expression, and a value that keeps to it and one that does not, in what the figure is counted in.
    for (text, good, bad) in [
        ("delivery.p99<100ms", 99_999.0, 100_000.0),
        ("delivery.p99 <= 100 ms", 100_000.0, 100_000.1),
        ("  delivery.p99.9 < 1.5s ", 1_499_999.0, 1_500_000.0),
        ("delivery.max<=900ns", 0.9, 0.901),
        ("delivery.mean<=900us", 900.0, 901.0),
        ("delivery.mean<=900µs", 900.0, 901.0),
        ("open.delivery.p50<1ms", 999.0, 1000.0),
        ("closed loop.delivery.p50<1ms", 999.0, 1000.0),
        ("errors==0", 0.0, 1.0),
        ("connections>=10_000", 10_000.0, 9_999.0),
        ("connections == 3", 3.0, 4.0),
        ("published.rate>=7500/s", 7500.0, 7499.9),
        ("published.rate>7500", 7500.1, 7500.0),
        ("server.rss<400MB", 399_999_999.0, 400e6),
        ("server.rss<400MiB", 419_430_399.0, 419_430_400.0),
        ("server.rss<=1GiB", 1_073_741_824.0, 1_073_741_825.0),
        ("server.rss<=1GB", 1e9, 1e9 + 1.0),
        ("server.rss<=1KiB", 1024.0, 1025.0),
        ("server.rss<=1KB", 1000.0, 1001.0),
        ("server.bytes_per_connection<=1500", 1500.0, 1501.0),
        ("server.bytes_per_connection<=1500B", 1500.0, 1501.0),
        ("server.cpu_us_per_delivery<1.2", 1.19, 1.2),
        ("server.cpu_us_per_delivery<1200ns", 1.19, 1.2),
        ("own.busy<80%", 0.79, 0.8),
        ("joined_per_cpu_s>=15_000/s", 15_000.0, 14_999.0),
    ] {
        let slo = Slo::parse(text, &known()).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert!(slo.holds(good) && !slo.holds(bad), "{text}");
    }
}

#[test]
fn a_name_that_is_none_is_refused_with_the_nearest() {
    refused("delivery.p9<1ms", "character 1: no figure is called \"delivery.p9\": did you mean \"delivery.p99\"?");
    refused("  delivry.p99<1ms", "character 3: no figure is called \"delivry.p99\": did you mean \"delivery.p99\"?");
    refused("error==0", "character 1: no figure is called \"error\": did you mean \"errors\"?");
    refused(
        "opn.delivery.p99<1ms",
        "character 1: no figure is called \"opn.delivery.p99\": did you mean \"open.delivery.p99\"?",
    );
    refused("xyz<1ms", "character 1: no figure is called \"xyz\": `loadgen metrics` names them");
    refused("", "character 1: a name is missing");
    refused("<1ms", "character 1: a name is missing");
    refused("delivery.p99 < 1ms <", "character 17: \"ms <\" is no unit here: delivery.p99 takes ns, us, µs, ms, s");
}

#[test]
fn an_operator_that_is_none_is_refused() {
    let signs = "must be one of < <= > >= ==";
    refused("errors", &format!("character 7: an operator is missing: {signs}"));
    refused("errors = 0", &format!("character 8: \"=\" is no operator: {signs}"));
    refused("errors=<0", &format!("character 7: \"=<\" is no operator: {signs}"));
    refused("errors!=0", &format!("character 7: \"!=\" is no operator: {signs}"));
    refused("errors<<0", &format!("character 7: \"<<\" is no operator: {signs}"));
}

#[test]
fn a_number_that_is_none_is_refused() {
    refused("errors==", "character 9: a number is missing");
    refused("delivery.p99<ms", "character 14: a number is missing");
    refused("delivery.p99<1.2.3ms", "character 14: 1.2.3 is no number");
    refused("errors== -1", "character 10: -1 is below 0, which no figure is");
    refused("errors==.", "character 9: . is no number");
}

#[test]
fn a_unit_that_does_not_fit_is_refused_with_those_that_do() {
    let times = "delivery.p99 takes ns, us, µs, ms, s";
    refused("delivery.p99<100", &format!("character 17: a unit is missing: {times}"));
    refused("delivery.p99<100MB", &format!("character 17: \"MB\" is no unit here: {times}"));
    refused("delivery.p99<100 min", &format!("character 18: \"min\" is no unit here: {times}"));
    refused("errors==0ms", "character 10: \"ms\" is no unit here: errors takes a bare number");
    refused("own.busy<0.8", "character 13: a unit is missing: own.busy takes %");
    refused("published.rate>1ms", "character 17: \"ms\" is no unit here: published.rate takes /s, or none");
    refused("server.rss<400", "character 15: a unit is missing: server.rss takes B, KB, KiB, MB, MiB, GB, GiB");
    refused("own.busy<µ", "character 10: a number is missing");
}

fn metrics(values: &[(&str, f64)]) -> Metrics {
    Metrics::from_values(values.iter().map(|&(name, value)| (name, Unit::Microseconds, Some(value))))
}

fn written(expect: &[&str], abort_after_s: Option<f64>) -> Written {
    Written { expect: expect.iter().map(|&text| text.to_owned()).collect(), abort_after_s }
}

fn objectives(expect: &[&str], abort_after_s: Option<f64>) -> Result<Objectives, String> {
    Objectives::new(&scenario("").unwrap(), &[("--slo", &written(expect, abort_after_s))])
}

#[test]
fn what_was_not_measured_is_not_met() {
    let objectives = objectives(&["delivery.p99<1ms", "opening.p99<1ms"], None).unwrap();
    let judged = objectives.judge(&metrics(&[("delivery.p99", 999.0)]));
    assert!(judged[0].met && judged[0].measured == Some(999.0) && judged[0].unit == "us", "{judged:?}");
    assert!(!judged[1].met && judged[1].measured.is_none(), "{judged:?}");
}

#[test]
fn all_sources_count_and_what_is_wrong_names_its_own() {
    let scenario = scenario("[slo]\nexpect = [\"errors==0\"]\nabort_after_s = 3.0").unwrap();
    assert_eq!(scenario.slo, written(&["errors==0"], Some(3.0)));
    let more = written(&["open.delivery.p99<1s"], None);
    let all = Objectives::new(&scenario, &[("scenario", &scenario.slo), ("--slo", &more)]).unwrap();
    assert_eq!((all.slos.len(), all.abort_after_s), (2, Some(3.0)));
    let wrong = written(&["errors==0", "nobody.delivery.p99<1s"], None);
    let error = Objectives::new(&scenario, &[("scenario", &scenario.slo), ("limits.toml", &wrong)]).unwrap_err();
    assert!(error.starts_with("limits.toml \"nobody.delivery.p99<1s\", character 1: no figure"), "{error}");
}

#[test]
fn objectives_are_bounded_in_count_and_in_time() {
    let many = |count: usize| objectives(&vec!["errors==0"; count], None);
    assert!(many(SLOS_COUNT_MAX).is_ok());
    assert!(many(SLOS_COUNT_MAX + 1).unwrap_err().contains("more than 64"));
    for (after_s, good) in
        [(0.1, true), (86_400.0, true), (86_401.0, false), (0.0, false), (-1.0, false), (f64::NAN, false)]
    {
        assert_eq!(objectives(&["errors==0"], Some(after_s)).is_ok(), good, "{after_s}");
    }
}

#[test]
fn a_scenario_with_a_wrong_objective_is_refused() {
    let error = scenario("[slo]\nexpect = [\"errors=0\"]").unwrap_err();
    assert!(error.contains("slo") && error.contains("character 7"), "{error}");
    assert!(scenario("[slo]\nexpects = []").unwrap_err().contains("expects"));
}

#[test]
fn shipped_files_are_understood() {
    for (name, _) in SHIPPED {
        let written = Written::load(name).unwrap();
        assert!(!Objectives::new(&scenario("").unwrap(), &[(name, &written)]).unwrap().is_empty(), "{name}");
    }
    assert!(Written::load("/nowhere.toml").unwrap_err().starts_with("/nowhere.toml: "));
}

fn second(p99_us: f64, delivered: u64) -> Point {
    Point { span_s: 1.0, measured: true, delivered, latency: Slice { p99_us, ..Slice::default() }, ..Point::default() }
}

/// After how many of these seconds the run is ended, if it is.
fn ended(seconds: &[Point], after_s: f64) -> Option<usize> {
    let mut watch = Watch::new(&objectives(&["delivery.p99<1ms", "lost==0"], Some(after_s)).unwrap()).unwrap();
    seconds.iter().position(|point| watch.look(point).is_some()).map(|at| at + 1)
}

#[test]
fn a_run_is_ended_when_one_objective_was_broken_for_so_long_without_a_pause() {
    let (good, bad, silent) = (second(999.0, 1), second(1000.0, 1), second(0.0, 0));
    let unmeasured = Point { measured: false, ..bad.clone() };
    let seconds = |of: [&Point; 5]| of.map(Clone::clone);
    assert_eq!(ended(&seconds([&good, &bad, &bad, &bad, &good]), 3.0), Some(4));
    assert_eq!(ended(&seconds([&bad, &bad, &good, &bad, &bad]), 3.0), None);
    assert_eq!(ended(&seconds([&bad, &silent, &bad, &silent, &bad]), 3.0), Some(5));
    assert_eq!(ended(&seconds([&unmeasured, &unmeasured, &unmeasured, &bad, &bad]), 3.0), None);
    assert_eq!(ended(&seconds([&good, &bad, &good, &good, &good]), 0.5), Some(2));
    assert!(Watch::new(&objectives(&["delivery.p99<1ms"], None).unwrap()).is_none());
    let mut watch = Watch::new(&objectives(&["delivery.p99<1ms"], Some(1.0)).unwrap()).unwrap();
    let broken = watch.look(&bad).unwrap();
    assert_eq!(
        (broken.slo.as_str(), broken.measured, broken.met),
        ("delivery.p99<1ms within 1 s", Some(1000.0), false)
    );
    let drain = Point { stage: "drain".to_owned(), ..bad };
    assert!(watch.look(&drain).is_none());
}
