//! A server's figures over its runs: each the median with its 95 % interval, and from which other servers it cannot be
//! told.
//!
//! Two servers differ in a figure where their intervals do not meet; where they do, nothing is called a difference. That
//! is stricter than an interval of the difference, and can be seen in the table. With fewer than five runs there is no
//! interval, and nothing is said.

use serde::Serialize;

use crate::against::ServerOutcome;
use crate::interval::{Draws, Interval, SEED, median};
use crate::metrics::Unit;
use crate::report::{GroupReport, Report};

/// One figure of one server over its runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Group of the scenario; none for what is the server's as a whole.
    pub group: Option<String>,
    /// Its name.
    pub name: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// Median of the runs that measured it.
    pub median: f64,
    /// The smallest and the largest run.
    pub range: Interval,
    /// Where the median lies with 95 % certainty, if there are runs enough.
    pub interval: Option<Interval>,
    /// Servers whose interval meets this one, by name; none where there is no interval.
    pub no_difference_to: Option<Vec<String>>,
}

/// A figure and how it comes from a `T`, a run or one of its groups.
pub(super) struct Column<T> {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    unit: Unit,
    value: fn(&T) -> Option<f64>,
    /// Whether its interval is shown, and servers are told apart by it.
    pub(super) judged: bool,
}

const fn judged<T>(name: &'static str, title: &'static str, unit: Unit, value: fn(&T) -> Option<f64>) -> Column<T> {
    Column { name, title, unit, value, judged: true }
}

const fn beside<T>(name: &'static str, title: &'static str, unit: Unit, value: fn(&T) -> Option<f64>) -> Column<T> {
    Column { name, title, unit, value, judged: false }
}

/// Columns of a group's table.
pub(super) const OF_GROUP: [Column<GroupReport>; 6] = [
    judged("delivery.p50", "p50", Unit::Microseconds, |group| latency(group, group.latency.p50_us)),
    beside("delivery.p90", "p90", Unit::Microseconds, |group| latency(group, group.latency.p90_us)),
    judged("delivery.p99", "p99", Unit::Microseconds, |group| latency(group, group.latency.p99_us)),
    beside("delivery.p99.9", "p99.9", Unit::Microseconds, |group| latency(group, group.latency.p99_9_us)),
    beside("delivered.rate", "deliveries/s", Unit::PerSecond, |group| Some(group.delivered_per_s)),
    beside("delivered.bytes", "bytes each", Unit::Bytes, |group| Some(group.bytes_per_delivery)),
];

/// Columns of the servers' own table.
pub(super) const OF_SERVER: [Column<Report>; 4] = [
    judged("server.cpu_us_per_delivery", "CPU us per delivery", Unit::Microseconds, |run| {
        run.server.as_ref().map(|server| server.cpu_us_per_delivery)
    }),
    beside("server.busy", "core", Unit::Share, |run| run.server.as_ref().map(|server| server.busy)),
    judged("memory_per_connection", "KiB per connection", Unit::Bytes, memory_per_connection),
    judged("opening.p99", "opening p99 ms", Unit::Microseconds, |run| Some(run.openings.first()?.total.p99_us)),
];

fn latency(group: &GroupReport, figure: f64) -> Option<f64> {
    (group.latency.count > 0).then_some(figure)
}

/// Memory of the server that its connections take; what the kernel keeps for their sockets is not in it.
fn memory_per_connection(run: &Report) -> Option<f64> {
    let server = run.server.as_ref()?;
    let (before, after) = (server.weight_before?, server.weight_connected?);
    let ready = run.openings.first()?.ready;
    let bytes = after.own_bytes().saturating_sub(before.own_bytes());
    (ready > 0).then(|| bytes as f64 / ready as f64)
}

impl Interval {
    /// Whether both have a value in common.
    fn meets(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

impl<T> Column<T> {
    fn figure(&self, group: Option<&str>, values: impl Iterator<Item = Option<f64>>) -> Option<Figure> {
        let mut values: Vec<f64> = values.flatten().collect();
        let interval = Draws::of_median(&values, SEED).map(|draws| draws.interval());
        let range = values.iter().copied().map(|value| Interval { low: value, high: value });
        let range = range.reduce(|one, other| Interval { low: one.low.min(other.low), high: one.high.max(other.high) });
        Some(Figure {
            group: group.map(str::to_owned),
            name: self.name,
            unit: self.unit,
            range: range?,
            median: median(&mut values),
            interval,
            no_difference_to: None,
        })
    }
}

/// All figures of one server's runs; one that no run measured is left out.
pub(super) fn of_runs(runs: &[Report]) -> Vec<Figure> {
    let groups: &[GroupReport] = runs.first().map_or(&[], |run| &run.groups);
    let of_groups = groups.iter().enumerate().flat_map(|(index, group)| {
        OF_GROUP.iter().filter_map(move |column| {
            let values = runs.iter().map(|run| (column.value)(run.groups.get(index)?));
            column.figure(Some(&group.name), values)
        })
    });
    let of_server = OF_SERVER.iter().filter_map(|column| column.figure(None, runs.iter().map(column.value)));
    of_groups.chain(of_server).collect()
}

/// Notes for each figure of each server from which others it cannot be told.
pub(super) fn tell_apart(servers: &mut [ServerOutcome]) {
    for one in 0..servers.len() {
        for number in 0..servers[one].figures.len() {
            let figure = &servers[one].figures[number];
            let Some(interval) = figure.interval else { continue };
            let meets = |other: &&ServerOutcome| {
                let same = other.figure(figure.group.as_deref(), figure.name);
                same.and_then(|same| same.interval).is_some_and(|other| interval.meets(&other))
            };
            let others = servers.iter().enumerate().filter(|(number, _)| *number != one).map(|(_, other)| other);
            let names = others.filter(meets).map(|other| other.name.clone()).collect();
            servers[one].figures[number].no_difference_to = Some(names);
        }
    }
}

impl ServerOutcome {
    /// The figure of this name.
    #[must_use]
    pub fn figure(&self, group: Option<&str>, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.group.as_deref() == group && figure.name == name)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::tests::sample;

    /// A server whose runs have these medians and nothing else of their own.
    pub(in crate::against) fn server(name: &str, p50s_us: &[f64]) -> ServerOutcome {
        let runs = p50s_us.iter().map(|&p50_us| {
            let mut run = sample();
            run.groups[0].latency.p50_us = p50_us;
            run
        });
        ServerOutcome::new(name.to_owned(), "waystation".to_owned(), None, Vec::new(), runs.collect())
    }

    fn p50(server: &ServerOutcome) -> &Figure {
        server.figure(Some("trips"), "delivery.p50").unwrap()
    }

    #[test]
    fn five_runs_have_an_interval_and_four_only_a_range() {
        let five = server("a", &[3.0, 1.0, 2.0, 5.0, 4.0]);
        assert_eq!(p50(&five).median, 3.0);
        assert_eq!(p50(&five).interval, Some(Interval { low: 1.0, high: 5.0 }));
        let four = server("a", &[3.0, 1.0, 2.0, 5.0]);
        let Figure { median, range, interval, .. } = p50(&four);
        assert_eq!((*median, *range, *interval), (2.5, Interval { low: 1.0, high: 5.0 }, None));
        // What is the same in every run is certain.
        let same = five.figure(None, "server.busy").unwrap();
        assert_eq!(same.interval, Some(Interval { low: 0.3, high: 0.3 }));
    }

    #[test]
    fn servers_whose_intervals_meet_are_not_told_apart() {
        let check = |b: &[f64; 5], expected: &[&str]| {
            let mut servers = [server("a", &[1.0, 2.0, 3.0, 4.0, 5.0]), server("b", b)];
            tell_apart(&mut servers);
            let names = p50(&servers[0]).no_difference_to.as_ref().unwrap();
            assert_eq!(names, expected, "{b:?}");
            let names = p50(&servers[1]).no_difference_to.as_ref().unwrap();
            assert_eq!(names.len(), expected.len(), "{b:?}: both say the same");
        };
        check(&[5.0, 6.0, 7.0, 8.0, 9.0], &["b"]);
        check(&[5.1, 6.0, 7.0, 8.0, 9.0], &[]);
        check(&[0.1, 0.2, 0.3, 0.4, 0.9], &[]);
        check(&[0.1, 0.2, 0.3, 0.4, 1.0], &["b"]);
        check(&[2.0, 2.5, 3.0, 3.5, 4.0], &["b"]);
    }

    #[test]
    fn too_few_runs_tell_nothing_apart() {
        let mut servers = [server("a", &[1.0; 4]), server("b", &[2.0; 5])];
        tell_apart(&mut servers);
        assert_eq!(p50(&servers[0]).no_difference_to, None);
        assert_eq!(p50(&servers[1]).no_difference_to, Some(Vec::new()));
    }

    #[test]
    fn what_no_run_measured_is_no_figure() {
        let mut bare = sample();
        (bare.server, bare.openings) = (None, Vec::new());
        bare.groups[0].latency = crate::stats::Latency::new().percentiles();
        let names: Vec<&str> = of_runs(&[bare]).iter().map(|figure| figure.name).collect();
        assert_eq!(names, ["delivered.rate", "delivered.bytes"]);
        assert!(of_runs(&[]).is_empty());
    }
}
