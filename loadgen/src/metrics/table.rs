//! The names, and how each figure comes from a report.

use crate::metrics::{Better, Definition, Unit};
use crate::process::Weight;
use crate::report::{GroupReport, OpeningReport, Report, ServerReport, ratio};
use crate::stats::{Latency, Percentiles};
use Better::{Higher, Lower, Neither};
use Unit::{Bytes, Count, Microseconds, PerSecond, Share};

/// A figure and how it comes from a `T`, a run or one of its groups.
struct Figure<T> {
    name: &'static str,
    unit: Unit,
    better: Better,
    value: fn(&T) -> Option<f64>,
    meaning: &'static str,
}

/// A latency, of which there are several statistics, and how it comes from a `T`.
struct Family<T> {
    name: &'static str,
    latency: fn(&T) -> Percentiles,
    meaning: &'static str,
}

/// One statistic of a latency.
struct Statistic {
    name: &'static str,
    value: fn(&Percentiles) -> f64,
    meaning: &'static str,
}

const fn figure<T>(
    name: &'static str,
    unit: Unit,
    better: Better,
    value: fn(&T) -> Option<f64>,
    meaning: &'static str,
) -> Figure<T> {
    Figure { name, unit, better, value, meaning }
}

const STATISTICS: [Statistic; 8] = [
    Statistic { name: "p50", value: |of| of.p50_us, meaning: "half are at or below" },
    Statistic { name: "p90", value: |of| of.p90_us, meaning: "9 of 10 are at or below" },
    Statistic { name: "p95", value: |of| of.p95_us, meaning: "19 of 20" },
    Statistic { name: "p99", value: |of| of.p99_us, meaning: "99 of 100" },
    Statistic { name: "p99.9", value: |of| of.p99_9_us, meaning: "999 of 1,000" },
    Statistic { name: "p99.99", value: |of| of.p99_99_us, meaning: "9,999 of 10,000" },
    Statistic { name: "max", value: |of| of.max_us, meaning: "the longest" },
    Statistic { name: "mean", value: |of| of.mean_us, meaning: "the average" },
];

const FAMILIES: [Family<Report>; 10] = [
    Family {
        name: "delivery",
        latency: |report| of_groups(report, |group| &group.latency),
        meaning: "delivery, from the intended send, all groups together",
    },
    Family {
        name: "uncorrected",
        latency: |report| of_groups(report, |group| &group.latency_uncorrected),
        meaning: "delivery, from the actual send",
    },
    Family {
        name: "answer",
        latency: |report| together(report.groups.iter().flat_map(answers)),
        meaning: "answer to who asked, from the intended send, all groups together",
    },
    Family {
        name: "connect",
        latency: |report| of_openings(report, |opening| &opening.connect),
        meaning: "connect to connected, all waves together",
    },
    Family {
        name: "opening",
        latency: |report| of_openings(report, |opening| &opening.total),
        meaning: "connect to joined, all waves together",
    },
    Family {
        name: "lateness",
        latency: |report| of_groups(report, |group| &group.lateness),
        meaning: "how late the generator itself sent",
    },
    Family {
        name: "recovery",
        latency: |report| together(report.recoveries.iter().map(|recovery| &recovery.latency)),
        meaning: "connect to the last event that was missed, all storms with resume together",
    },
    Family {
        name: "live.before",
        latency: |report| live(report, 0),
        meaning: "delivery to members that stay in storms, before the first",
    },
    Family {
        name: "live.during",
        latency: |report| live(report, 2),
        meaning: "the same, while others come back and get what they missed",
    },
    Family { name: "live.after", latency: |report| live(report, 3), meaning: "the same, once those are recovered" },
];

const GROUP_FAMILIES: [Family<GroupReport>; 3] = [
    Family { name: "delivery", latency: |group| group.latency.clone(), meaning: "delivery in one group" },
    Family {
        name: "uncorrected",
        latency: |group| group.latency_uncorrected.clone(),
        meaning: "delivery in one group, from the actual send",
    },
    Family { name: "answer", latency: |group| together(answers(group)), meaning: "answer in one group" },
];

const FIGURES: [Figure<Report>; 27] = [
    figure("published.rate", PerSecond, Higher, published_rate, "publishes in the measured time"),
    figure("delivered.rate", PerSecond, Higher, delivered_rate, "deliveries in the measured time"),
    figure("delivered.bytes", Bytes, Neither, delivered_bytes, "mean length of a delivered message"),
    figure("replayed", Count, Neither, replayed, "deliveries of what a member had missed and got when it came back"),
    figure(
        "recovery.took",
        Microseconds,
        Lower,
        recovery_took,
        "first connect to last missed event, of the slowest storm",
    ),
    figure("recovery.failed", Count, Lower, recovery_failed, "members that did not get all that they missed"),
    figure("live.p50_ratio", Share, Lower, |run| live_ratio(run, |of| of.p50_us), "live.during.p50 of live.before.p50"),
    figure("live.p99_ratio", Share, Lower, |run| live_ratio(run, |of| of.p99_us), "live.during.p99 of live.before.p99"),
    figure("connections", Count, Neither, connections, "joined and held at once; of several waves the smallest"),
    figure("refused", Count, Neither, |run| Some(count(run.closes_expected.0)), "ends that a group expects"),
    figure("lost", Count, Lower, |run| Some(count(run.faults.lost)), "deliveries that never came"),
    figure("duplicated", Count, Lower, |run| Some(count(run.faults.duplicated)), "deliveries that came again"),
    figure("out_of_order", Count, Lower, |run| Some(count(run.faults.out_of_order)), "deliveries after a later one"),
    figure("errors", Count, Lower, |run| Some(errors(run)), "all that the run's checks object to, these three too"),
    figure("own.busy", Share, Lower, own_busy, "share of the measured time in which the generator did not wait"),
    figure("joined_per_cpu_s", PerSecond, Higher, joined_per_cpu_s, "joined in a second of the server's CPU"),
    figure("server.cpu_us_per_delivery", Microseconds, Lower, cpu_us_per_delivery, "the server's CPU for a delivery"),
    figure("server.busy", Share, Lower, server_busy, "the server's share of one core in the measured time"),
    figure(
        "server.rss",
        Bytes,
        Lower,
        |run| heaviest(run, |at| at.rss_bytes),
        "resident memory, the most that was seen",
    ),
    figure(
        "server.rss_peak",
        Bytes,
        Lower,
        |run| heaviest(run, |at| at.rss_peak_bytes),
        "resident memory, the most since the server's start as the kernel kept it",
    ),
    figure(
        "server.anonymous",
        Bytes,
        Lower,
        |run| heaviest(run, |at| at.anonymous_bytes),
        "memory of its own that no file backs, the most that was seen",
    ),
    figure("server.descriptors", Count, Lower, |run| heaviest(run, |at| at.descriptors), "open descriptors"),
    figure(
        "server.bytes_per_connection",
        Bytes,
        Lower,
        |run| run.server.as_ref()?.bytes_per_connection,
        "anonymous memory, the slope over the steps of an idle plan",
    ),
    figure(
        "server.cpu_us_per_connection_s",
        Microseconds,
        Lower,
        |run| run.rest?.us_per_connection_s(|cost| cost.cpu_s),
        "the server's CPU in a second of an idle connection, pings and all",
    ),
    figure(
        "server.user_us_per_connection_s",
        Microseconds,
        Lower,
        |run| run.rest?.us_per_connection_s(|cost| cost.user_s),
        "of that, in the program",
    ),
    figure(
        "server.system_us_per_connection_s",
        Microseconds,
        Lower,
        |run| run.rest?.us_per_connection_s(|cost| cost.system_s),
        "of that, in the kernel",
    ),
    figure(
        "rest.pings",
        Count,
        Neither,
        |run| run.rest?.pings_per_connection(),
        "pings of the server to each connection, on average, while all were idle",
    ),
];

const GROUP_FIGURES: [Figure<GroupReport>; 2] = [
    figure("published.rate", PerSecond, Higher, |group| sent(group, group.published_per_s), "publishes in one group"),
    figure("delivered.rate", PerSecond, Higher, |group| sent(group, group.delivered_per_s), "deliveries in one group"),
];

/// All names that a run with these groups has, in the table's order.
#[must_use]
pub fn definitions(groups: &[&str]) -> Vec<Definition> {
    let mut all = defined("", &FAMILIES, &FIGURES);
    for group in groups {
        all.extend(defined(&format!("{group}."), &GROUP_FAMILIES, &GROUP_FIGURES));
    }
    all
}

fn defined<T>(before: &str, families: &[Family<T>], figures: &[Figure<T>]) -> Vec<Definition> {
    let of_family = |family: &Family<T>| {
        let Family { name, meaning, .. } = *family;
        STATISTICS.iter().map(move |statistic| Definition {
            name: format!("{before}{name}.{}", statistic.name),
            unit: Microseconds,
            better: Lower,
            meaning: format!("{meaning}: {}", statistic.meaning),
        })
    };
    let of_figure = |&Figure { name, unit, better, meaning, .. }: &Figure<T>| Definition {
        name: format!("{before}{name}"),
        unit,
        better,
        meaning: meaning.to_owned(),
    };
    families.iter().flat_map(of_family).chain(figures.iter().map(of_figure)).collect()
}

/// The figures of a run, in the same order.
pub(super) fn values(report: &Report) -> Vec<Option<f64>> {
    let mut all = valued(report, &FAMILIES, &FIGURES);
    for group in &report.groups {
        all.extend(valued(group, &GROUP_FAMILIES, &GROUP_FIGURES));
    }
    all
}

fn valued<T>(of: &T, families: &[Family<T>], figures: &[Figure<T>]) -> Vec<Option<f64>> {
    let of_family = |family: &Family<T>| {
        let latency = (family.latency)(of);
        STATISTICS.iter().map(move |statistic| (latency.count > 0).then(|| (statistic.value)(&latency)))
    };
    families.iter().flat_map(of_family).chain(figures.iter().map(|figure| (figure.value)(of))).collect()
}

fn of_groups(report: &Report, of: fn(&GroupReport) -> &Percentiles) -> Percentiles {
    together(report.groups.iter().map(of))
}

fn answers(group: &GroupReport) -> impl Iterator<Item = &Percentiles> {
    group.kinds.iter().filter(|kind| kind.answers).map(|kind| &kind.latency)
}

fn of_openings(report: &Report, of: fn(&OpeningReport) -> &Percentiles) -> Percentiles {
    together(report.openings.iter().map(of))
}

fn together<'a>(all: impl Iterator<Item = &'a Percentiles>) -> Percentiles {
    let mut sum = Latency::new();
    for latency in all.filter(|latency| latency.count > 0) {
        sum.merge(&latency.histogram);
    }
    sum.percentiles()
}

fn count(count: u64) -> f64 {
    count as f64
}

/// A rate of a group that was to publish; a run without traffic has none.
fn sent(group: &GroupReport, rate: f64) -> Option<f64> {
    (group.published > 0 || group.blocked > 0).then_some(rate)
}

fn published_rate(report: &Report) -> Option<f64> {
    report.groups.iter().filter_map(|group| sent(group, group.published_per_s)).reduce(|sum, rate| sum + rate)
}

fn delivered_rate(report: &Report) -> Option<f64> {
    report.groups.iter().filter_map(|group| sent(group, group.delivered_per_s)).reduce(|sum, rate| sum + rate)
}

fn delivered_bytes(report: &Report) -> Option<f64> {
    report.groups.iter().any(|group| group.delivered > 0).then(|| report.bytes_per_delivery())
}

fn replayed(report: &Report) -> Option<f64> {
    Some(count(report.groups.iter().map(|group| group.replayed).sum()))
}

/// Live delivery to members that stay, in one of the four moments of storms.
fn live(report: &Report, moment: usize) -> Percentiles {
    report.live.get(moment).map(|live| live.stayed.clone()).unwrap_or_default()
}

fn live_ratio(report: &Report, of: fn(&Percentiles) -> f64) -> Option<f64> {
    ratio(&live(report, 0), &live(report, 2), of)
}

fn recovery_took(report: &Report) -> Option<f64> {
    report.recoveries.iter().map(|recovery| recovery.took_s * 1e6).reduce(f64::max)
}

fn recovery_failed(report: &Report) -> Option<f64> {
    let failed = report.recoveries.iter().map(|recovery| recovery.wanted.saturating_sub(recovery.recovered));
    failed.reduce(|sum, more| sum + more).map(count)
}

fn connections(report: &Report) -> Option<f64> {
    report.openings.iter().map(|opening| opening.ready as f64).reduce(f64::min)
}

fn own_busy(report: &Report) -> Option<f64> {
    (report.own_cpu > 0.0).then_some(report.own_busy)
}

fn joined_per_cpu_s(report: &Report) -> Option<f64> {
    let costs = report.openings.iter().filter_map(|opening| Some((count(opening.total.count), opening.cost?.cpu_s)));
    let (joined, cpu_s) = costs.reduce(|sum, wave| (sum.0 + wave.0, sum.1 + wave.1))?;
    (cpu_s > 0.0).then(|| joined / cpu_s)
}

/// The server, if its measured time was seen.
fn measured(report: &Report) -> Option<&ServerReport> {
    report.server.as_ref().filter(|server| server.cpu_s > 0.0)
}

fn cpu_us_per_delivery(report: &Report) -> Option<f64> {
    measured(report).map(|server| server.cpu_us_per_delivery)
}

fn server_busy(report: &Report) -> Option<f64> {
    measured(report).map(|server| server.busy)
}

fn heaviest(report: &Report, of: fn(&Weight) -> u64) -> Option<f64> {
    let server = report.server.as_ref()?;
    let weights = [server.weight_before, server.weight_connected, server.weight_after].into_iter().flatten();
    weights.chain(server.steps.iter().map(|step| step.1)).map(|weight| of(&weight)).max().map(count)
}

/// How many things the run's checks object to; at least one for each objection.
fn errors(report: &Report) -> f64 {
    let faults = &report.faults;
    let deliveries = faults.lost
        + faults.duplicated
        + faults.out_of_order
        + faults.corrupted
        + faults.wrong_room
        + faults.seq_gaps
        + faults.json;
    let (came, wanted) = report.closes_expected;
    let joins: usize = report.openings.iter().map(|opening| opening.wanted.saturating_sub(opening.ready)).sum();
    let blocked: u64 = report.groups.iter().map(|group| group.blocked).sum();
    let blocked = if wanted == 0 { blocked } else { 0 };
    let ends = report.closes.sum() + report.protocol_faults.sum();
    let sum = deliveries + came.abs_diff(wanted) + blocked + ends;
    (count(sum) + joins as f64).max(report.objections().len() as f64)
}
