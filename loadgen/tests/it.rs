//! A whole run against the floor: what is proved is that the two understand each other, that nothing is found where
//! nothing is wrong, and that a wrong expectation is.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]

#[path = "support/floor.rs"]
mod support;

use std::sync::Arc;

use loadgen::deal::Part;
use loadgen::engine::Target;
use loadgen::merge;
use loadgen::metrics::Metrics;
use loadgen::plan::{self, Setting};
use loadgen::process::Process;
use loadgen::report::Report;
use loadgen::scenario::{SHIPPED, Scenario};
use support::Server;

impl Server {
    fn run(&self, name: &str, changes: &[&str]) -> Report {
        self.run_split(name, changes, 1, Part::WHOLE)
    }

    fn run_split(&self, name: &str, changes: &[&str], threads: usize, part: Part) -> Report {
        let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == name).unwrap();
        // Test processes share cores with others: punctuality is not what is proved here.
        let lax = ["lateness_p99_max_us=10000000", "starved_max=1"];
        let changes: Vec<String> = lax.iter().chain(changes).map(|&change| change.to_owned()).collect();
        let scenario = Scenario::parse(text, &changes).unwrap();
        let setting = Setting::new(Target::parse(&self.url).unwrap());
        plan::run(&scenario, &Setting { server: Some(Process::own()), threads, part, ..setting }).unwrap()
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

/// What idle connections took is the server's time by them and by the seconds, in an objective too.
fn check_rest(report: &Report, connections: usize) {
    let rest = report.rest.unwrap();
    assert_eq!((rest.connections, rest.pings), (connections, 0), "the floor does not ping");
    // Threads wait for one another at the end.
    assert!((0.2..20.0).contains(&rest.took_s), "{rest}");
    let cpu_s = rest.cost.unwrap().cpu_s;
    let found = Metrics::new(report).find("server.cpu_us_per_connection_s").and_then(|metric| metric.value).unwrap();
    // Told in whole microseconds. The server is a thread of this process: when another one ends, its time goes with it,
    // and the sum may be less than before, which counts as none.
    let told = cpu_s * 1e6 / connections as f64 / rest.took_s;
    assert!((found - told).abs() <= 1.0 / connections as f64 / rest.took_s, "{found} {rest:?}");
    assert!(report.to_string().contains(&format!("\nrest      {connections} connections idle for ")), "{report}");
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
    let changes = ["duration_s=600.0", "lateness_p99_max_us=10000000", "starved_max=1"].map(str::to_owned);
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
    let report = server.run("smoke", &["group.0.messages=10"]);
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
        let changes = ["duration_s=0.1", "warmup_s=0.0", &format!("auth={auth}")];
        let report = server.run("smoke", &changes);
        assert_eq!(report.objections(), Vec::<String>::new(), "{auth}: {report}");
        server.end();
    }
}

#[test]
fn the_largest_message_passes_and_one_byte_more_is_refused() {
    let server = Server::start();
    let report = server.run("big-64k", &["duration_s=1.1"]);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert_eq!((report.closes_expected, report.groups[0].delivered), ((1, 1), 2));
    server.end();
}

#[test]
fn a_refusal_that_does_not_come_fails_the_run() {
    let server = Server::start();
    let changes = ["group.1.total_bytes=65536", "drain_s=0.2", "duration_s=1.1"];
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
    let report = server.run("idle", &["rooms=20", "hold_s=0.05", "rest_s=0.2", "steps=[20, 61]"]);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    check_costs(&report, &[61]);
    check_rest(&report, 61);
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

#[test]
fn threads_drive_whole_rooms_in_step_and_find_the_same() {
    let server = Server::start();
    let report = server.run_split("smoke", &["group.0.messages=10"], 3, Part::WHOLE);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    let open = &report.groups[0];
    assert_eq!((open.published, open.delivered), (10 * 31, 10 * (9 * 9 + 4 * 4)));
    assert_eq!(open.latency.count, open.latency_uncorrected.count);
    assert_eq!(report.threads.iter().map(|thread| thread.connections).sum::<usize>(), 56);
    assert!(report.threads.iter().all(|thread| thread.connections >= 17), "{:?}", report.threads);
    assert_eq!(report.phases.iter().map(|phase| phase.name.as_str()).collect::<Vec<_>>(), ["warm-up", "measure"]);
    let points = report.timeline.points.iter().map(|point| point.delivered).sum::<u64>();
    assert_eq!(points, report.groups.iter().map(|group| group.delivered).sum::<u64>());
    assert!((report.phases[1].end_s - report.phases[1].from_s - 1.0).abs() < 1e-6);
    check_costs(&report, &[56]);
    let delivered: u64 = report.groups.iter().map(|group| group.delivered).sum();
    assert_eq!(server.end().deliveries, delivered);
}

#[test]
fn threads_go_through_storms_and_steps_together() {
    let server = Server::start();
    let report = server.run_split("storm", &["rooms=20", "hold_s=0.05"], 2, Part::WHOLE);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    check_costs(&report, &[61, 61]);
    let changes = ["rooms=20", "hold_s=0.05", "rest_s=0.2", "steps=[20, 61]"];
    let report = server.run_split("idle", &changes, 2, Part::WHOLE);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    check_costs(&report, &[61]);
    check_rest(&report, 61);
    let steps = report.server.unwrap().steps;
    assert_eq!(steps.iter().map(|step| step.0).collect::<Vec<_>>(), [20, 61]);
    server.end();
}

#[test]
fn parts_of_a_run_put_together_are_the_run() {
    let server = Server::start();
    let part = |number| server.run_split("smoke", &["group.0.messages=10"], 1, Part { number, of: 2 });
    let (one, two) = std::thread::scope(|scope| {
        let other = scope.spawn(|| part(2));
        (part(1), other.join().unwrap())
    });
    let whole = merge::parts(vec![two.clone(), one.clone()]).unwrap();
    assert_eq!(whole.objections(), Vec::<String>::new(), "{whole}");
    assert_eq!((whole.groups[0].published, whole.groups[0].delivered), (10 * 31, 10 * (9 * 9 + 4 * 4)));
    assert_eq!(whole.openings[0].ready, 56);
    assert_eq!(whole.parts, [Part { number: 1, of: 2 }, Part { number: 2, of: 2 }]);
    let count = |report: &Report| report.groups.iter().map(|group| group.latency.count).sum::<u64>();
    assert_eq!(count(&whole), count(&one) + count(&two));
    for (reports, word) in [(vec![one.clone()], "2/2 is missing"), (vec![two.clone(), two.clone()], "1/2 is missing")] {
        let error = merge::parts(reports).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    let error = merge::parts(vec![one.clone(), one.clone(), two]).unwrap_err();
    assert!(error.contains("1/2 is there twice"), "{error}");
    server.end();
}

#[test]
fn phases_follow_one_another_while_traffic_goes_on() {
    let server = Server::start();
    let phases = "phase=[{kind='ramp', to=20}, {kind='hold', duration_s=0.5}, {kind='ramp', name='rest', to=56, \
                  per_s=200}, {kind='burst', duration_s=0.5, rate_factor=4}, {kind='storm', share=0.5, over_s=0.2}, \
                  {kind='hold', name='after', duration_s=0.5}]";
    for threads in [1, 2] {
        let report = server.run_split("smoke", &["warmup_s=0", "duration_s=0", phases], threads, Part::WHOLE);
        assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
        let names: Vec<&str> = report.phases.iter().map(|phase| phase.name.as_str()).collect();
        assert_eq!(names, ["ramp", "hold", "rest", "burst", "storm", "after"]);
        // The first ramp takes no longer than its connections need.
        assert!(report.phases[1..].iter().all(|phase| phase.delivered > 0 && phase.latency.count > 0), "{report}");
        assert!(report.phases.iter().zip(&report.phases[1..]).all(|(one, next)| one.end_s == next.from_s));
        let waves: Vec<(usize, usize)> = report.openings.iter().map(|wave| (wave.wanted, wave.ready)).collect();
        assert_eq!(waves[..2], [(20, 20), (36, 36)]);
        assert!(waves[2].0 == waves[2].1 && waves[2].0.abs_diff(28) < threads, "{waves:?}");
        let measured: u64 = report.phases.iter().filter(|phase| phase.measured).map(|phase| phase.latency.count).sum();
        assert_eq!(measured, report.groups.iter().map(|group| group.latency.count).sum::<u64>());
        assert!(report.groups[0].absent > 0, "those that were not up did not publish");
    }
    server.end();
}

#[test]
fn members_that_come_back_to_where_they_were_get_what_they_missed() {
    let server = Server::start();
    let small = ["rooms=3", "members=5", "rate=50", "warmup_s=0.3", "away_s=0.3"];
    for threads in [1, 2] {
        let changes = [&small[..], &["duration_s=0.6"]].concat();
        let report = server.run_split("resume", &changes, threads, Part::WHOLE);
        assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
        let group = &report.groups[0];
        // Each publish reaches all five, now or later, but for those before the first of them joined.
        assert_eq!((group.delivered, report.faults.owed_to_closed), (5 * group.published, 0), "{report}");
        let waves: Vec<usize> = report.openings.iter().map(|wave| wave.ready).collect();
        assert_eq!(waves, [15, 12, 12]);
        // Twice a dozen were away while each room had fifteen publishes, and what was late.
        assert!(group.replayed >= 2 * 12 * 15, "{report}");
        assert_eq!(group.latency.count + group.replayed, of_measured(&report, group.delivered), "{report}");
        assert!(report.to_string().contains(&format!("replayed  {} of the deliveries", group.replayed)), "{report}");
    }
    server.end();
}

#[test]
fn a_storm_tells_who_is_recovered_and_what_those_that_stay_see_of_it() {
    let server = Server::start();
    // So many rooms that somebody publishes in each of the few milliseconds that the return takes.
    let small = ["rooms=16", "members=9", "stay=3", "rate=40", "phase.0.to=144", "phase.1.duration_s=0.5"];
    let short = ["phase.2.away_s=0.5", "phase.3.duration_s=0.5"];
    for threads in [1, 2] {
        let report = server.run_split("resume-storm", &[&small[..], &short].concat(), threads, Part::WHOLE);
        assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
        let [recovery] = &report.recoveries[..] else { panic!("{report}") };
        // Six of nine go, and half a second is twenty events.
        assert_eq!((recovery.wanted, recovery.recovered, recovery.latency.count), (96, 96, 96), "{report}");
        assert!(recovery.missed_min >= 19 && recovery.missed_max >= recovery.missed_min, "{report}");
        assert_eq!((recovery.missed_sum, recovery.unrecovered.sum()), (report.groups[0].replayed, 0), "{report}");
        assert!(recovery.took_s > 0.0 && recovery.took_s * 1e6 + 1.0 >= recovery.latency.max_us * 0.999, "{report}");
        let live: Vec<(&str, u64, u64)> =
            report.live.iter().map(|live| (live.moment.as_str(), live.stayed.count, live.went.count)).collect();
        assert_eq!(live.iter().map(|live| live.0).collect::<Vec<_>>(), ["before", "away", "during", "after"]);
        // Those that stay have all, those that went what is not replayed.
        let counted: u64 = live.iter().map(|live| live.1 + live.2).sum();
        assert_eq!(counted, report.groups[0].latency.count, "{report}");
        assert!(live[0].1 >= 3 * 16 * 19 && live[0].2 > live[0].1 && live[1].2 == 0, "{live:?}");
        assert!(live[1].1 >= 3 * 16 * 19 && live[2].1 > 0 && live[3].2 > 0, "{live:?}");
        let text = report.to_string();
        assert!(text.contains("storm 1   96 of 96 recovered in ") && text.contains("  stayed during "), "{text}");
        let metrics = Metrics::new(&report);
        let value = |name: &str| metrics.find(name).unwrap().value.unwrap();
        assert!(value("live.p99_ratio") > 0.0 && value("recovery.took") > 0.0, "{report}");
        assert!(value("recovery.failed").abs() < 1e-9 && value("live.before.p99") > 0.0, "{report}");
    }
    server.end();
}

/// Deliveries of so many that are not of the warm-up.
fn of_measured(report: &Report, delivered: u64) -> u64 {
    delivered - report.phases.iter().filter(|phase| !phase.measured).map(|phase| phase.latency.count).sum::<u64>()
}

#[test]
fn a_position_that_is_refused_fails_the_run_and_nothing_is_called_lost() {
    let server = Server::start();
    let kept = "endpoint=/ws/trips/forgetful-{room}/collab?keep=3";
    let changes = [kept, "rooms=2", "members=4", "rate=50", "warmup_s=0.2", "away_s=0.3", "duration_s=0.3"];
    let report = server.run("resume", &changes);
    assert_eq!(report.objections(), ["storm 1: 0 of 6 members are recovered", "6 protocol faults"], "{report}");
    assert_eq!((report.protocol_faults.count("not resumed"), report.groups[0].replayed), (6, 0), "{report}");
    assert_eq!((report.recoveries[0].wanted, report.recoveries[0].unrecovered.count("no reason told")), (6, 6));
    assert!(report.faults.none() && report.faults.owed_to_closed >= 6 * 15, "{report}");
    server.end();
}

#[test]
fn an_open_loop_sends_a_burst_at_its_factor() {
    let server = Server::start();
    let phases = "phase=[{kind='ramp', to=31}, {kind='hold', duration_s=1}, {kind='burst', duration_s=1, \
                  rate_factor=3}, {kind='hold', name='quiet', duration_s=0.3, rate_factor=0}]";
    let report = server.run("trips-10k", &["warmup_s=0", "duration_s=0", "rooms=10", "rate=10", "spin=false", phases]);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    let intended = report.phases.iter().map(|phase| phase.lateness.count).collect::<Vec<_>>();
    // A third of a tenth of a second is no whole number of nanoseconds: one publisher may come once more.
    assert!(intended[1] == 310 && (930..=931).contains(&intended[2]) && intended[3] == 0, "{intended:?}");
    server.end();
}

#[test]
fn rooms_and_bodies_of_many_sizes_are_delivered_whole() {
    let server = Server::start();
    let sizes = "payload_bytes=[{bytes=74, weight=5}, {bytes=500, weight=3}, {bytes=9000, weight=1}]";
    for sizes in [sizes, "payload_bytes={min=100, max=4000}"] {
        let changes =
            ["group.0.rooms=1", "group.0.spare=0", "group.0.members={zipf={max=12, exponent=1, total=40}}", sizes];
        let report = server.run("smoke", &changes);
        assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
        assert_eq!(report.openings[0].ready, 40 + 20 + 5);
        assert!(report.groups[2].bytes_per_delivery > 200.0, "{report}");
    }
    server.end();
}

#[test]
fn slow_readers_are_counted_apart() {
    let server = Server::start();
    let slow = ["group.0.slow_readers=0.2", "group.0.slow_bytes_per_s=2000", "group.0.rate=50", "drain_s=1"];
    let report = server.run("smoke", &slow);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert_eq!(report.slow.connections, 6);
    // A slow one reads about five of the 170 deliveries a second that the others get.
    let slow = report.slow.delivered;
    assert!(slow > 0 && slow * 10 < report.groups[0].delivered, "{slow} {report}");
    server.end();
}
