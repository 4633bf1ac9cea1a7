//! The load generator's own truth: against a server that does wrong by a known amount it reports that amount, neither
//! more nor less; and when it is starved itself, it says so instead of blaming the server.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]

#[path = "support/server.rs"]
mod server;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loadgen::checker::Faults;
use loadgen::engine::Target;
use loadgen::plan::{self, Setting};
use loadgen::report::Report;
use loadgen::scenario::Scenario;
use server::{Server, Tally, Wrongs};

const ROOMS: &str = "name = 'truth'\nlateness_p99_max_us = 10000000\nstarved_max = 1.0\ndrain_s = 1.0\n\n[[group]]\nname \
                     = 'rooms'\nendpoint = '/ws/trips/truth-{room}/collab'\nkind = 'trip_update'\n";

fn run(server: &Server, changes: &[&str]) -> Report {
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    let scenario = Scenario::parse(ROOMS, &changes).unwrap();
    plan::run(&scenario, &Setting::new(Target::parse(&server.url).unwrap())).unwrap()
}

fn check(wrongs: Wrongs, changes: &[&str]) -> (Report, Tally) {
    let server = Server::start(wrongs);
    let report = run(&server, changes);
    (report, server.end())
}

/// What the server did wrong is what the report says, to the piece.
fn check_told(wrongs: Wrongs, changes: &[&str]) -> (Report, Tally) {
    let (report, tally) = check(wrongs, changes);
    let Tally { dropped, doubled, swapped, .. } = tally;
    assert!(dropped + doubled + swapped >= 8, "{tally:?}");
    let Faults { order_unchecked, .. } = report.faults;
    let expected =
        Faults { lost: dropped, duplicated: doubled, out_of_order: swapped, order_unchecked, ..Faults::default() };
    assert_eq!(report.faults, expected, "{tally:?} {report}");
    (report, tally)
}

/// Deliveries that took so long or longer, counted from the intended send.
fn at_least(report: &Report, latency: Duration) -> u64 {
    let from = u64::try_from(latency.as_nanos()).unwrap();
    report.groups[0].latency.histogram.histogram().count_between(from, 60_000_000_000)
}

/// Six rooms of three with one publisher each, 40 publishes of each: 720 deliveries.
const SIX: [&str; 6] = ["rooms=6", "members=3", "publishers=1", "rate=40", "messages=40", "duration_s=1.2"];

#[test]
fn a_server_that_does_nothing_wrong_is_told_so() {
    let (report, tally) = check(Wrongs::default(), &SIX);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert_eq!((report.groups[0].delivered, tally.delivered), (720, 720));
}

#[test]
fn pings_to_idle_connections_are_counted_to_the_piece_and_answered() {
    // All joined and weighed long before, and the pings long over when the rest ends.
    let pings = Wrongs { pings: 3, pings_after: Duration::from_millis(1500), ..Wrongs::default() };
    let idle = ["plan=idle", "rooms=3", "members=3", "hold_s=0.05", "steps=[9]", "rest_s=4"];
    let (report, tally) = check(pings, &idle);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    let rest = report.rest.unwrap();
    assert_eq!((rest.connections, rest.pings, tally.pinged, tally.answered), (9, 27, 27, 27), "{report}");
    assert!(rest.cost.is_none() && rest.took_s >= 4.0, "{report}");
}

#[test]
fn what_is_dropped_doubled_and_turned_around_is_reported_to_the_piece() {
    for wrongs in [
        Wrongs { drop_every: 50, ..Wrongs::default() },
        Wrongs { double_every: 70, ..Wrongs::default() },
        Wrongs { swap_every: 83, ..Wrongs::default() },
        Wrongs { drop_every: 31, double_every: 47, swap_every: 53, ..Wrongs::default() },
    ] {
        let (report, _) = check_told(wrongs, &SIX);
        assert_eq!(report.exit_code(), 1);
    }
}

#[test]
fn with_several_publishers_in_a_room_the_same_is_found_and_named() {
    // Two rooms of four in which all publish: 4 x 40 publishes to 4 members, twice.
    let crowd = ["rooms=2", "members=4", "publishers=4", "rate=40", "messages=40", "duration_s=1.2"];
    for wrongs in [
        Wrongs { drop_every: 101, ..Wrongs::default() },
        Wrongs { double_every: 103, ..Wrongs::default() },
        Wrongs { swap_every: 107, ..Wrongs::default() },
        Wrongs { drop_every: 211, double_every: 223, swap_every: 227, ..Wrongs::default() },
    ] {
        let (report, Tally { dropped, doubled, swapped, .. }) = check_told(wrongs, &crowd);
        let text = report.to_string();
        for (count, word) in [(dropped, "never got publish"), (doubled, " again\n"), (swapped, " after ")] {
            let named =
                text.lines().filter(|line| format!("{line}\n").contains(word) && line.contains("rooms: member"));
            assert_eq!(named.count() > 0, count > 0, "{word}: {text}");
        }
        assert!(report.findings.iter().all(|found| found.path.starts_with("/ws/trips/truth-0000")), "{text}");
    }
}

#[test]
fn a_known_delay_of_a_known_share_is_in_the_percentiles() {
    // Publishes of a room are half a second apart, so that what is held is not overtaken.
    let delay = Duration::from_millis(200);
    let wrongs = Wrongs { delay_every: 10, delay, ..Wrongs::default() };
    let (report, tally) = check(wrongs, &["rooms=100", "rate=2", "messages=4", "duration_s=2.1"]);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert_eq!((tally.delivered, tally.delayed, report.groups[0].latency.count), (400, 40, 400));
    // A core that others use may hold up a few more, never fewer.
    let delayed = at_least(&report, delay);
    assert!((40..=80).contains(&delayed), "{delayed} {report}");
    let latency = &report.groups[0].latency;
    assert!(latency.p50_us < 200_000.0 && (200_000.0..400_000.0).contains(&latency.p99_us), "{report}");
}

#[test]
fn a_server_that_stops_is_seen_from_the_intended_times_and_not_from_the_actual_ones() {
    // A caller that waits for its answers sends nothing while the server stands still: 400 ms at a publish each 5 ms are
    // 80 that should have left, half of which wait for 200 ms and more. Counted from the actual send, one is slow.
    let (stall, half) = (Duration::from_millis(400), Duration::from_millis(200));
    let wrongs = Wrongs { stall_at: 100, stall, ..Wrongs::default() };
    let (report, tally) = check(wrongs, &["rate=200", "outstanding_max=1", "messages=300", "duration_s=1.6"]);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    let group = &report.groups[0];
    assert_eq!((tally.delivered, group.delivered, group.latency.count), (300, 300, 300));
    let corrected = at_least(&report, half);
    assert!((40..=70).contains(&corrected), "{corrected} {report}");
    let from = u64::try_from(half.as_nanos()).unwrap();
    let uncorrected = group.latency_uncorrected.histogram.histogram().count_between(from, 60_000_000_000);
    assert_eq!(uncorrected, 1, "{report}");
    assert!(group.latency.max_us >= 400_000.0 && group.latency_uncorrected.max_us >= 400_000.0, "{report}");
    // The wait is the server's: the generator was late with none of them.
    assert!(group.lateness.p99_us < 100_000.0, "{report}");
}

#[test]
fn a_generator_that_is_starved_says_so_and_not_that_the_server_is_slow() {
    let server = Server::start(Wrongs::default());
    let stop = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        // Three that never rest on the generator's core: it gets a quarter of it, in slices.
        for _ in 0..3 {
            scope.spawn(|| {
                loadgen::socket::pin(0).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let changes =
            ["rooms=1", "rate=1000", "duration_s=1.5", "spin=true", "lateness_p99_max_us=1000", "starved_max=1"];
        let changes = changes.map(str::to_owned);
        let scenario = Scenario::parse(ROOMS, &changes).unwrap();
        let setting = Setting { cpus: vec![0], ..Setting::new(Target::parse(&server.url).unwrap()) };
        let report = plan::run(&scenario, &setting).unwrap();
        stop.store(true, Ordering::Relaxed);
        report
    });
    server.end();
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert_eq!(report.exit_code(), 3, "{report}");
    assert!(report.invalid.as_deref().unwrap().contains("us late at p99"), "{report}");
    let thread = &report.threads[0];
    assert!(thread.starved > 0.3 && thread.had < 0.7, "{thread:?}");
    // It is counted from the time that was intended: what the generator did wrong is not hidden.
    assert!(report.groups[0].latency.p99_us >= report.groups[0].lateness.p99_us * 0.9, "{report}");
}

#[test]
fn a_thread_without_a_core_makes_the_run_invalid_by_itself() {
    let server = Server::start(Wrongs::default());
    let report = run(&server, &["rooms=2", "rate=10", "duration_s=0.3", "starved_max=0"]);
    // Even a quiet machine lets a thread wait for some microseconds.
    assert_eq!(report.exit_code(), 3, "{report}");
    assert!(report.invalid.as_deref().unwrap().contains("had no core"), "{report}");
    server.end();
}
