//! A report to test with, and what a file of it must keep.

use super::*;
use crate::scenario::SHIPPED;
use crate::stats::Latency;

/// Latencies of so many values, from one microsecond upwards by one.
pub(crate) fn latencies(count: u64) -> Percentiles {
    let mut latency = Latency::new();
    for number in 1..=count {
        latency.record(number * 1000);
    }
    latency.percentiles()
}

fn trips() -> GroupReport {
    GroupReport {
        kinds: Vec::new(),
        name: "trips".to_owned(),
        published: 50_000,
        delivered: 150_000,
        replayed: 0,
        bytes_per_delivery: 412.125,
        blocked: 0,
        absent: 0,
        published_per_s: 10_000.0,
        delivered_per_s: 30_000.0,
        latency: latencies(20_000),
        latency_uncorrected: latencies(15_000),
        lateness: latencies(50),
    }
}

/// A run of five seconds that has a bit of everything.
pub(crate) fn sample() -> Report {
    let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == "trips-10k").unwrap();
    let scenario = Scenario::parse(text, &["name=a <script> & \"more\"".to_owned()]).unwrap();
    let mut names = Names::default();
    names.add_count("user_left", 7);
    let opening = OpeningReport {
        wanted: 10_000,
        ready: 10_000,
        took_s: 5.123_456,
        failures: Names::default(),
        connect: latencies(100),
        upgrade: latencies(200),
        join: latencies(300),
        total: latencies(400),
        cost: Some(OpeningCost { cpu_s: 0.5, user_s: 0.2, system_s: 0.3, joined_per_cpu_s: Some(20_000.0) }),
    };
    let weight = weight();
    let mut timeline = Growing::new();
    for (second, stage) in ["connect", "warm-up", "measure", "measure", "drain"].into_iter().enumerate() {
        timeline.push(point(second, stage));
    }
    Report {
        slices: None,
        adapter: "waystation".to_owned(),
        server_version: Some("1.0.0".to_owned()),
        scenario,
        flags: vec!["run".to_owned(), "--spin".to_owned()],
        seed: 0x5eed,
        environment: environment(),
        slos: vec![slo()],
        openings: vec![opening],
        groups: vec![trips()],
        phases: Vec::new(),
        recoveries: Vec::new(),
        live: Vec::new(),
        rest: Some(rest()),
        slow: SlowTraffic::default(),
        threads: Vec::new(),
        parts: vec![Part::WHOLE],
        faults: Faults::default(),
        findings: Vec::new(),
        events: names,
        closes: Names::default(),
        closes_expected: (0, 0),
        refusals: vec![],
        protocol_faults: Names::default(),
        server: Some(ServerReport {
            cpu_s: 1.5,
            user_s: 0.5,
            system_s: 1.0,
            busy: 0.3,
            cpu_us_per_delivery: 10.25,
            threads: [("shard", 8.0), ("store", 2.24), ("log", 0.01)].map(|(name, us)| (name.to_owned(), us)).into(),
            weight_before: Some(weight),
            weight_connected: Some(weight),
            weight_after: None,
            steps: vec![(100, weight)],
            bytes_per_connection: Some(4123.5),
        }),
        own_busy: 0.25,
        own_cpu: 1.0,
        invalid: None,
        timeline: timeline.finish(),
    }
}

fn slo() -> SloReport {
    let (slo, unit) = ("delivery.p99<100ms".to_owned(), "ms".to_owned());
    SloReport { slo, measured: Some(19.8), unit, met: true, used: Some(0.198) }
}

fn rest() -> RestReport {
    let cost = RestCost { cpu_s: 0.48, user_s: 0.12, system_s: 0.36 };
    RestReport { connections: 10_000, took_s: 60.0, pings: 30_000, cost: Some(cost) }
}

fn weight() -> Weight {
    Weight {
        rss_bytes: 60_000_000,
        rss_peak_bytes: 70_000_000,
        anonymous_bytes: 50_000_000,
        descriptors: 10_050,
        shared_bytes: 0,
    }
}

/// A machine that does not depend on the one that tests.
fn environment() -> Environment {
    Environment {
        url: "127.0.0.1:8000".to_owned(),
        started: "2026-11-22T01:02:03Z".to_owned(),
        host: "machine".to_owned(),
        loadgen: "0.1.0".to_owned(),
        kernel: "6.18.0".to_owned(),
        processor: "a processor".to_owned(),
        cores_count: 2,
        governor: Some("powersave".to_owned()),
        turbo: Some(true),
        memory_bytes: 8 << 30,
        memory_available_bytes: 7 << 30,
        descriptors_max: Some(20_000),
        load_average: Some([0.25, 0.5, 1.0]),
        steal: Some(0.001),
        sysctls: std::collections::BTreeMap::from([("net.core.somaxconn".to_owned(), "4096".to_owned())]),
        revision: Some(Revision { commit: "0123abcd".to_owned(), dirty: true }),
        warnings: vec!["turbo is on".to_owned()],
        doctor: Some(doctor::tests::heard("somaxconn")),
    }
}

fn point(second: usize, stage: &str) -> Point {
    let mut histogram = slice_histogram();
    for number in 1..=1000u64 * (second as u64 + 1) {
        histogram.record(number * 1000).unwrap();
    }
    Point {
        at_s: second as f64,
        span_s: 1.0,
        stage: stage.to_owned(),
        measured: second > 1,
        open: 2000 * (second as u64 + 1),
        connecting: 200,
        published: 10_000,
        delivered: 30_000,
        bytes: 12_360_000,
        latency: Slice::new(&histogram),
        latency_uncorrected: Slice::new(&histogram),
        lateness_p99_us: 50.5,
        faults: 0,
        server_busy: Some(0.333_333),
        server_anonymous_bytes: Some(50_000_000 + second as u64),
    }
}

#[test]
fn a_summary_is_the_same_read_back() {
    let report = sample();
    let text = report.to_json().unwrap();
    let read = Report::from_json(&text).unwrap();
    assert_eq!(read.to_json().unwrap(), text);
    assert_eq!(read.groups[0].latency, report.groups[0].latency);
    assert_eq!(read.timeline, report.timeline);
    assert_eq!((read.environment, read.slos), (report.environment, report.slos));
}

#[test]
fn a_summary_says_its_form_and_what_it_amounts_to() {
    let json: serde_json::Value = serde_json::from_str(&sample().to_json().unwrap()).unwrap();
    assert_eq!((json["schema"].as_u64(), json["outcome"].as_str()), (Some(u64::from(SCHEMA)), Some("passed")));
    let mut failed = sample();
    failed.faults.lost = 1;
    let json: serde_json::Value = serde_json::from_str(&failed.to_json().unwrap()).unwrap();
    assert_eq!(json["outcome"], "failed");
    assert_eq!(json["objections"][0], "deliveries are faulty");
    let late = Report { invalid: Some("late".to_owned()), ..sample() };
    assert_eq!((late.outcome(), late.exit_code()), ("invalid", 3));
}

#[test]
fn a_failed_check_goes_before_lateness_and_that_before_a_missed_objective() {
    let mut report = sample();
    assert_eq!((report.exit_code(), report.outcome()), (0, "passed"));
    report.slos[0].met = false;
    assert_eq!((report.exit_code(), report.outcome()), (99, "missed"));
    assert!(report.to_string().contains("\n✗ delivery.p99<100ms  ") && report.to_string().contains("MISSED    1 of 1"));
    report.invalid = Some("late".to_owned());
    assert_eq!((report.exit_code(), report.outcome()), (3, "invalid"));
    report.faults.lost = 1;
    assert_eq!((report.exit_code(), report.outcome()), (1, "failed"));
}

#[test]
fn a_summary_of_another_form_is_refused_with_both_numbers() {
    let text = sample().to_json().unwrap();
    let check = |text: &str, words: &[&str]| {
        let error = Report::from_json(text).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    check(&text.replacen("\"schema\": 1", "\"schema\": 0", 1), &["schema 0", "must be 1"]);
    check(&text.replacen("\"schema\": 1", "\"schema\": 2", 1), &["schema 2", "must be 1"]);
    check("{\"groups\": []}", &["no schema"]);
    check("{\"schema\": 1}", &["missing field"]);
    check("not JSON", &["summary.json"]);
    let (_, histogram) = text.split_once("\"histogram\": \"").unwrap();
    check(&text.replacen(&histogram[..20], "AAAAAAAAAAAAAAAAAAAA", 1), &["histogram"]);
}

#[test]
fn the_adapter_is_told_and_a_result_without_one_is_still_read() {
    let text = sample().to_json().unwrap();
    assert!(text.contains("\"adapter\": \"waystation\",\n  \"server_version\": \"1.0.0\""), "{text}");
    assert!(sample().to_string().contains("\nadapter   waystation, the server says it is 1.0.0\n"));
    let older = text.replacen("\"adapter\": \"waystation\",\n  \"server_version\": \"1.0.0\",", "", 1);
    let older = Report::from_json(&older).unwrap();
    assert_eq!((older.adapter.as_str(), older.server_version.as_deref()), ("", None));
    assert!(older.to_string().contains("\nadapter   not noted\n"));
}

#[test]
fn a_field_of_a_later_version_is_no_obstacle() {
    let text = sample().to_json().unwrap().replacen("\"seed\"", "\"later\": {\"a\": 1}, \"seed\"", 1);
    assert!(Report::from_json(&text).is_ok());
}

#[test]
fn runs_add_up_by_their_histograms() {
    let (one, other) = (sample(), sample());
    let mut sum = one.groups[0].latency.histogram.clone();
    sum.merge(&other.groups[0].latency.histogram);
    let sum = sum.percentiles();
    assert_eq!((sum.count, sum.p99_us), (40_000, one.groups[0].latency.p99_us));
}
