use super::*;
use crate::checker::Faults;
use crate::report::tests::{latencies, sample};
use crate::report::{GroupReport, LiveReport, OpeningReport, RecoveryReport};

#[test]
fn values_are_shown_as_people_read_them() {
    let check = |unit: Unit, value: f64, expected: &str| assert_eq!(unit.show(value).to_string(), expected);
    check(Unit::Microseconds, 0.5, "500.0 ns");
    check(Unit::Microseconds, 999.94, "999.9 us");
    check(Unit::Microseconds, 1000.0, "1.00 ms");
    check(Unit::Microseconds, 12_340.0, "12.3 ms");
    check(Unit::Microseconds, 1_500_000.0, "1.50 s");
    check(Unit::Microseconds, 0.0, "0.00 us");
    check(Unit::Bytes, 955.0, "955.0 B");
    check(Unit::Bytes, 65_536.0, "64.0 KiB");
    check(Unit::Bytes, 419_430_400.0, "400.0 MiB");
    check(Unit::Bytes, 2_147_483_648.0, "2.00 GiB");
    check(Unit::PerSecond, 7500.4, "7500/s");
    check(Unit::Count, 10_000.0, "10000");
    check(Unit::Count, 0.0, "0");
    check(Unit::Share, 0.335, "33.5 %");
    assert_eq!(format!("[{:>9}]", Unit::Share.show(0.5)), "[   50.0 %]");
}

fn value(report: &Report, name: &str) -> Option<f64> {
    Metrics::new(report).find(name).unwrap_or_else(|| panic!("{name}")).value
}

#[test]
fn each_figure_is_found_under_its_name() {
    let mut report = sample();
    report.faults = Faults { lost: 3, duplicated: 2, out_of_order: 1, wrong_room: 4, ..Faults::default() };
    report.closes.add("close 1011");
    let recovery =
        RecoveryReport { wanted: 9, recovered: 9, took_s: 1.5, latency: latencies(300), ..Default::default() };
    report.recoveries = vec![recovery];
    let stayed = |count| LiveReport { stayed: latencies(count), ..LiveReport::default() };
    report.live = vec![stayed(100), stayed(50), stayed(170), stayed(110)];
    report.openings.push(OpeningReport { ready: 9_990, ..report.openings[0].clone() });
    // Latencies of the sample are one microsecond upwards by one.
    for (name, expected) in [
        ("delivery.p50", 10_000.0),
        ("delivery.p99", 19_800.0),
        ("delivery.max", 20_000.0),
        ("delivery.mean", 10_000.5),
        ("trips.delivery.p90", 18_000.0),
        ("uncorrected.p99", 14_850.0),
        ("trips.uncorrected.p99", 14_850.0),
        ("connect.p99", 99.0),
        ("opening.p99", 396.0),
        ("lateness.p50", 25.0),
        ("recovery.p99", 297.0),
        ("live.before.p99", 99.0),
        ("live.during.max", 170.0),
        ("live.after.p50", 55.0),
        ("recovery.took", 1_500_000.0),
        ("recovery.failed", 0.0),
        ("live.p50_ratio", 1.7),
        ("live.p99_ratio", 169.0 / 99.0),
        ("published.rate", 10_000.0),
        ("delivered.rate", 30_000.0),
        ("trips.delivered.rate", 30_000.0),
        ("delivered.bytes", 412.125),
        ("connections", 9_990.0),
        ("refused", 0.0),
        ("lost", 3.0),
        ("duplicated", 2.0),
        ("out_of_order", 1.0),
        // Ten faults, ten connections, one end.
        ("errors", 21.0),
        ("own.busy", 0.25),
        ("joined_per_cpu_s", 800.0),
        ("server.cpu_us_per_delivery", 10.25),
        ("server.busy", 0.3),
        ("server.rss", 60_000_000.0),
        ("server.rss_peak", 70_000_000.0),
        ("server.anonymous", 50_000_000.0),
        ("server.descriptors", 10_050.0),
        ("server.bytes_per_connection", 4123.5),
        ("server.cpu_us_per_connection_s", 0.8),
        ("server.user_us_per_connection_s", 0.2),
        ("server.system_us_per_connection_s", 0.6),
        ("rest.pings", 3.0),
    ] {
        let found = value(&report, name).unwrap_or_else(|| panic!("{name} was not measured"));
        // Histograms keep three digits.
        assert!((found - expected).abs() <= 0.001 * expected, "{name}: {found} instead of {expected}");
    }
}

#[test]
fn latencies_of_groups_are_put_together_by_value() {
    let mut report = sample();
    let slow = GroupReport { name: "slow".to_owned(), latency: latencies(40_000), ..report.groups[0].clone() };
    report.groups.push(slow);
    // 20,000 values up to 20 ms and 40,000 up to 40 ms: half of them are at or below 15 ms.
    for (name, expected) in
        [("delivery.p50", 15_000.0), ("trips.delivery.p50", 10_000.0), ("slow.delivery.p50", 20_000.0)]
    {
        let found = value(&report, name).unwrap();
        assert!((found / expected - 1.0).abs() < 0.001, "{name}: {found}");
    }
    assert_eq!(value(&report, "delivered.rate"), Some(60_000.0));
}

#[test]
fn what_was_not_measured_has_no_value() {
    let mut report = sample();
    report.server = None;
    report.rest = None;
    report.openings.clear();
    let group = &mut report.groups[0];
    (group.latency, group.published, group.delivered) = (latencies(0), 0, 0);
    for name in [
        "delivery.p99",
        "trips.delivery.max",
        "connect.p50",
        "published.rate",
        "trips.delivered.rate",
        "delivered.bytes",
        "recovery.p99",
        "recovery.took",
        "recovery.failed",
        "live.p99_ratio",
        "connections",
        "joined_per_cpu_s",
        "server.cpu_us_per_delivery",
        "server.rss",
        "server.bytes_per_connection",
        "server.cpu_us_per_connection_s",
        "rest.pings",
    ] {
        assert_eq!(value(&report, name), None, "{name}");
    }
    assert_eq!((value(&report, "errors"), value(&report, "lost")), (Some(0.0), Some(0.0)));
}

#[test]
fn there_is_an_error_for_each_thing_that_a_run_objects_to_and_for_nothing_else() {
    let check = |change: &dyn Fn(&mut Report), expected: f64| {
        let mut report = sample();
        change(&mut report);
        assert_eq!(value(&report, "errors"), Some(expected), "{:?}", report.objections());
        assert_eq!(report.objections().is_empty(), expected == 0.0, "{:?}", report.objections());
    };
    check(&|_| {}, 0.0);
    check(&|report| report.faults.corrupted = 2, 2.0);
    check(&|report| report.faults.order_unchecked = 2, 0.0);
    check(&|report| report.closes_expected = (3, 5), 2.0);
    check(&|report| report.closes_expected = (5, 5), 0.0);
    check(&|report| report.groups[0].blocked = 7, 7.0);
    check(&|report| report.events.add("nack"), 1.0);
    check(&|report| report.protocol_faults.add("binary"), 1.0);
}

#[test]
fn names_stand_once_and_are_documented() {
    let all = definitions(&["<group>"]);
    for (at, definition) in all.iter().enumerate() {
        assert!(!all[..at].iter().any(|earlier| earlier.name == definition.name), "{}", definition.name);
    }
    let page = include_str!("../../../docs/LOADGEN.md");
    let (begin, end) = ("<!-- metrics: begin -->\n", "<!-- metrics: end -->");
    let shown = page.split(begin).nth(1).and_then(|rest| rest.split(end).next()).unwrap();
    assert_eq!(shown, table(&all), "put this between the markers:\n{}", table(&all));
}

/// The page's table: one row for all statistics of a latency.
fn table(all: &[Definition]) -> String {
    let mut table = "| name | unit | better | meaning |\n|---|---|---|---|\n".to_owned();
    for definition in all {
        let Definition { name, unit, better, meaning } = definition;
        let (name, meaning) = match (name.strip_suffix(".p50"), *unit) {
            (Some(family), _) => (format!("{family}.*"), meaning.split(": ").next().unwrap()),
            (None, Unit::Microseconds) if meaning.contains(": ") => continue,
            (None, _) => (name.clone(), meaning.as_str()),
        };
        let better = format!("{better:?}").to_lowercase();
        table += &format!("| `{name}` | {} | {better} | {meaning} |\n", unit.name());
    }
    table
}
