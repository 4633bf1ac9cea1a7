//! A whole run against the floor: what is proved is that the two understand each other, that nothing is found where
//! nothing is wrong, and that a wrong expectation is.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use loadgen::engine::Target;
use loadgen::plan::{self, Setting};
use loadgen::process::Process;
use loadgen::report::Report;
use loadgen::scenario::{SHIPPED, Scenario};

struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<floor::Counts>>,
    url: String,
}

impl Server {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let (tell, told) = std::sync::mpsc::channel();
        // The floor is made where it runs: it does not move between threads.
        let thread = std::thread::spawn(move || {
            let mut floor = floor::Floor::bind("127.0.0.1:0".parse().unwrap(), "user-00000").unwrap();
            tell.send(floor.local_addr().unwrap().port()).unwrap();
            floor.run(&seen).unwrap()
        });
        let url = format!("ws://127.0.0.1:{}", told.recv().unwrap());
        Self { stop, thread: Some(thread), url }
    }

    fn end(mut self) -> floor::Counts {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }

    fn run(&self, name: &str, changes: &[&str]) -> Report {
        let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == name).unwrap();
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        let scenario = Scenario::parse(text, &changes).unwrap();
        let setting = Setting { server: Some(Process::own()), ..Setting::new(Target::parse(&self.url).unwrap()) };
        plan::run(&scenario, &setting).unwrap()
    }
}

/// Each wave's rate is its joins by the server's time, in the text and in the JSON.
fn check_costs(report: &Report, joined: &[u64]) {
    let json = serde_json::to_value(report).unwrap();
    assert_eq!(report.openings.len(), joined.len());
    for (wave, (opening, &joined)) in report.openings.iter().zip(joined).enumerate() {
        let cost = opening.cost.unwrap();
        let rate = cost.joined_per_cpu_s.unwrap();
        assert!((rate * cost.cpu_s - joined as f64).abs() < 0.01, "{cost:?}");
        let written = &json["openings"][wave]["cost"];
        assert_eq!(written["joined_per_cpu_s"].as_f64(), Some(rate));
        assert!(written["user_s"].is_number() && written["system_s"].is_number());
        let line = format!("{rate:.0} joined per second of server CPU  {:.3} s  user ", cost.cpu_s);
        assert!(report.to_string().contains(&line), "{report}");
    }
}

/// The seconds add up to the run: deliveries to all of it, latencies to what was measured, without a hole between them.
fn check_course(report: &Report) {
    let points = &report.timeline.points;
    let sum = |of: &dyn Fn(&loadgen::report::Point) -> u64| points.iter().map(of).sum::<u64>();
    let of_groups = |of: &dyn Fn(&loadgen::report::GroupReport) -> u64| report.groups.iter().map(of).sum::<u64>();
    assert_eq!(sum(&|point| point.delivered), of_groups(&|group| group.delivered));
    assert_eq!(sum(&|point| point.published), of_groups(&|group| group.published));
    let count = |slice: &loadgen::report::Slice| slice.decode().unwrap().map_or(0, |histogram| histogram.len());
    let measured = |point: &loadgen::report::Point| if point.measured { count(&point.latency) } else { 0 };
    assert_eq!(sum(&measured), of_groups(&|group| group.latency.count));
    let uncorrected =
        |point: &loadgen::report::Point| if point.measured { count(&point.latency_uncorrected) } else { 0 };
    assert_eq!(sum(&uncorrected), of_groups(&|group| group.latency_uncorrected.count));
    assert!(points.is_sorted_by(|a, b| (a.at_s + a.span_s - b.at_s).abs() < 1e-3), "{points:?}");
    let stages: Vec<&str> = points.iter().map(|point| point.stage.as_str()).collect();
    assert!(stages.starts_with(&["connect"]) && stages.ends_with(&["close"]) && stages.contains(&"measure"));
    assert!(points.iter().all(|point| point.server_anonymous_bytes.is_some_and(|bytes| bytes > 0)));
    let json = report.to_json().unwrap();
    assert_eq!(Report::from_json(&json).unwrap().to_json().unwrap(), json);
}

#[test]
fn a_run_that_is_ended_early_is_invalid_and_nothing_is_called_lost() {
    let server = Server::start();
    let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == "smoke").unwrap();
    let changes = ["duration_s=600.0", "lateness_p99_max_us=10000000"].map(str::to_owned);
    let scenario = Scenario::parse(text, &changes).unwrap();
    let setting = Setting::new(Target::parse(&server.url).unwrap());
    let stop = setting.stop.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::park_timeout(std::time::Duration::from_millis(1500));
        stop.request();
    });
    let report = plan::run(&scenario, &setting).unwrap();
    stopper.join().unwrap();
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert_eq!((report.invalid.as_deref(), report.exit_code()), (Some("ended early"), 3));
    assert!(report.to_string().contains("INVALID   ended early"));
    server.end();
}

#[test]
fn a_faultless_server_passes_in_open_and_closed_loop() {
    let server = Server::start();
    // Two test processes may share a core with others: lateness is not what is proved here.
    let report = server.run("smoke", &["lateness_p99_max_us=10000000", "group.0.messages=10"]);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert_eq!(report.exit_code(), 0);
    let delivered: u64 = report.groups.iter().map(|group| group.delivered).sum();
    let open = &report.groups[0];
    // Ten rounds of 31 publishers: nine rooms of three and one of four.
    assert_eq!((open.published, open.delivered), (10 * 31, 10 * (9 * 9 + 4 * 4)));
    assert!(report.groups.iter().all(|group| group.latency.count > 0), "{report}");
    assert!(report.server.as_ref().is_some_and(|server| server.cpu_us_per_delivery > 0.0));
    check_costs(&report, &[56]);
    // An echo is its body; a delivered trip update is the body in an envelope of fixed length but for the number.
    assert!((report.groups[2].bytes_per_delivery - 128.0).abs() < 1e-9 && open.bytes_per_delivery > 400.0);
    check_course(&report);
    assert_eq!(server.end().deliveries, delivered);
}

#[test]
fn each_way_to_authenticate_joins() {
    for auth in ["frame", "query", "header"] {
        let server = Server::start();
        let changes = ["duration_s=0.1", "warmup_s=0.0", "lateness_p99_max_us=10000000", &format!("auth={auth}")];
        let report = server.run("smoke", &changes);
        assert_eq!(report.objections(), Vec::<String>::new(), "{auth}: {report}");
        server.end();
    }
}

#[test]
fn the_largest_message_passes_and_one_byte_more_is_refused() {
    let server = Server::start();
    let report = server.run("big-64k", &["duration_s=1.1", "lateness_p99_max_us=10000000"]);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert_eq!((report.closes_expected, report.groups[0].delivered), ((1, 1), 2));
    server.end();
}

#[test]
fn a_refusal_that_does_not_come_fails_the_run() {
    let server = Server::start();
    let changes = ["group.1.total_bytes=65536", "drain_s=0.2", "duration_s=1.1", "lateness_p99_max_us=10000000"];
    let report = server.run("big-64k", &changes);
    assert_eq!(report.exit_code(), 1, "{report}");
    server.end();
}

#[test]
fn lateness_over_the_bound_makes_the_run_invalid() {
    let server = Server::start();
    let report = server.run("smoke", &["lateness_p99_max_us=0", "duration_s=0.2"]);
    assert_eq!(report.exit_code(), 3, "{report}");
    server.end();
}

#[test]
fn a_storm_comes_twice_and_idle_connections_are_weighed() {
    let server = Server::start();
    let small = ["rooms=20", "hold_s=0.05"];
    let report = server.run("storm", &small);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert_eq!(report.openings.iter().map(|wave| wave.ready).collect::<Vec<_>>(), [61, 61]);
    check_costs(&report, &[61, 61]);
    let report = server.run("idle", &["rooms=20", "hold_s=0.05", "steps=[20, 61]"]);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    check_costs(&report, &[61]);
    let weighed = report.server.unwrap();
    assert_eq!(weighed.steps.iter().map(|step| step.0).collect::<Vec<_>>(), [20, 61]);
    assert!(weighed.bytes_per_connection.is_some());
    server.end();
}

#[test]
fn a_server_whose_process_is_unknown_has_no_costs() {
    let server = Server::start();
    let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == "storm").unwrap();
    let scenario = Scenario::parse(text, &["rooms=2".to_owned(), "hold_s=0.05".to_owned()]).unwrap();
    let setting = Setting::new(Target::parse(&server.url).unwrap());
    let report = plan::run(&scenario, &setting).unwrap();
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert!(report.openings.iter().all(|wave| wave.ready == 7 && wave.cost.is_none()));
    assert!(!report.to_string().contains("server CPU"), "{report}");
    server.end();
}

#[test]
fn nobody_there_is_a_failure_with_its_reason() {
    let server = Server::start();
    let url = server.url.clone();
    server.end();
    let gone = Server { stop: Arc::default(), thread: None, url };
    let report = gone.run("smoke", &["duration_s=0.1", "warmup_s=0.0", "drain_s=0.1"]);
    assert_eq!(report.exit_code(), 1);
    assert_eq!(report.openings[0].failures.count("connection refused"), 56, "{report}");
}
