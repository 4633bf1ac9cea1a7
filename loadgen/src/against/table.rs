//! The comparison as tables that read well in a terminal and are markdown.
//!
//! A figure is the median of a server's runs. Those that servers are told apart by have their 95 % interval beside them,
//! and a table below says which servers they do not tell apart.

use std::fmt::{self, Write as _};

use crate::against::figures::{Column, Figure, OF_GROUP, OF_SERVER};
use crate::against::{Outcome, ServerOutcome};
use crate::interval::Interval;
use crate::limits::REPEATS_COUNT_MIN;
use crate::metrics::Unit;
use crate::report::{GroupReport, Report};
use crate::words::counted;

/// One run in one line.
pub(super) fn line(report: &Report) -> String {
    let mut line = String::new();
    for group in &report.groups {
        let (p50, p99) = (milliseconds(group.latency.p50_us), milliseconds(group.latency.p99_us));
        // Writing to a string cannot fail.
        let _ = write!(line, "{}: p50 {p50}  p99 {p99}  {:.0}/s   ", group.name, group.delivered_per_s);
    }
    if let Some(server) = &report.server {
        let _ = write!(line, "{:.2} us CPU per delivery   ", server.cpu_us_per_delivery);
    }
    line + report.outcome()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.servers.first().and_then(|server| server.runs.first()) else { return Ok(()) };
        let environment = &first.environment;
        writeln!(
            f,
            "Scenario {}, {} of each in turn, started {}.",
            self.scenario,
            counted(self.repeats, "run"),
            environment.started
        )?;
        let (processor, cores, kernel) = (&environment.processor, environment.cores_count, &environment.kernel);
        writeln!(f, "{processor}, {}, Linux {kernel}. {}", counted(cores, "core"), self.brackets())?;
        for (index, group) in first.groups.iter().enumerate() {
            let rooms = rooms(first, index);
            writeln!(f, "\nGroup {}{rooms}. Delivery after the intended send, in milliseconds:\n", group.name)?;
            let head: Vec<&str> = std::iter::once("server").chain(OF_GROUP.iter().map(|column| column.title)).collect();
            write_table(f, &head, self.servers.iter().map(|server| server.group_row(&group.name)))?;
        }
        writeln!(f, "\nThe server itself:\n")?;
        let titles = OF_SERVER.iter().map(|column| column.title);
        let head: Vec<&str> =
            ["server", "version"].into_iter().chain(titles).chain(["lost", "other faults", "outcome"]).collect();
        write_table(f, &head, self.servers.iter().map(ServerOutcome::own_row))?;
        self.write_differences(f, &first.groups)?;
        writeln!(f)?;
        for server in &self.servers {
            let mut said = server.without.clone();
            said.extend(server.complaints());
            if !said.is_empty() {
                writeln!(f, "- {}: {}.", server.name, said.join("; "))?;
            }
        }
        Ok(())
    }
}

impl Outcome {
    /// What stands in brackets.
    pub(super) fn brackets(&self) -> &'static str {
        match self.repeats {
            0 | 1 => "One run of each.",
            2..REPEATS_COUNT_MIN => "Medians; in brackets the smallest and the largest run.",
            _ => "Medians; in brackets where they lie with 95 % certainty.",
        }
    }

    fn write_differences(&self, f: &mut fmt::Formatter<'_>, groups: &[GroupReport]) -> fmt::Result {
        match self.differences(groups) {
            Differences::Pointless => Ok(()),
            Differences::Unknown(reason) => writeln!(f, "\n{reason}"),
            Differences::Known { head, rows } => {
                writeln!(f, "\nNo difference to, since the intervals overlap:\n")?;
                write_table(f, &head.iter().map(String::as_str).collect::<Vec<_>>(), rows.into_iter())
            }
        }
    }

    /// What no figure tells apart.
    pub(super) fn differences(&self, groups: &[GroupReport]) -> Differences {
        if self.servers.len() < 2 {
            return Differences::Pointless;
        }
        if self.repeats < REPEATS_COUNT_MIN {
            return Differences::Unknown(format!(
                "No interval can be given, so nothing is called a difference: it takes {REPEATS_COUNT_MIN} runs of each, \
                 there are {}.",
                self.repeats
            ));
        }
        let judged = OF_GROUP.iter().filter(|column| column.judged);
        let of_groups = groups.iter().flat_map(|group| {
            let name = group.name.as_str();
            judged.clone().map(move |column| (Some(name), column.name, format!("{name} {}", column.title)))
        });
        let own = OF_SERVER.iter().filter(|column| column.judged);
        let columns: Vec<_> = of_groups.chain(own.map(|column| (None, column.name, column.title.to_owned()))).collect();
        let row = |server: &ServerOutcome| {
            let cell = |(group, name, _): &(Option<&str>, &'static str, String)| {
                let same = server.figure(*group, name).and_then(|figure| figure.no_difference_to.as_ref());
                match same.map(Vec::as_slice) {
                    None => "-".to_owned(),
                    Some([]) => "none".to_owned(),
                    Some(names) => names.join(", "),
                }
            };
            std::iter::once(server.name.clone()).chain(columns.iter().map(cell)).collect()
        };
        let rows = self.servers.iter().map(row).collect();
        let head = std::iter::once("server".to_owned()).chain(columns.into_iter().map(|column| column.2)).collect();
        Differences::Known { head, rows }
    }
}

/// What is known of the differences between the servers.
#[derive(Debug)]
pub(super) enum Differences {
    /// There is one server.
    Pointless,
    /// There are too few runs, which is said.
    Unknown(String),
    /// From which others each server cannot be told, by figure.
    Known { head: Vec<String>, rows: Vec<Vec<String>> },
}

/// The rooms of a group, for its heading.
pub(super) fn rooms(run: &Report, group: usize) -> String {
    run.scenario.group.get(group).map_or_else(String::new, |group| {
        let (rooms, members, connections) = (group.sizes().len(), &group.members, group.connections_count());
        format!(": {} of {members}, {}", counted(rooms, "room"), counted(connections, "connection"))
    })
}

impl ServerOutcome {
    pub(super) fn group_row(&self, group: &str) -> Vec<String> {
        let cell = |column: &Column<GroupReport>| self.cell(Some(group), column.name, column.judged);
        std::iter::once(self.name.clone()).chain(OF_GROUP.iter().map(cell)).collect()
    }

    pub(super) fn own_row(&self) -> Vec<String> {
        let faults = |run: &Report| run.faults.sum() - run.faults.lost;
        let sum = |count: &dyn Fn(&Report) -> u64| self.runs.iter().map(count).sum::<u64>().to_string();
        let mut outcomes: Vec<&str> = self.runs.iter().map(Report::outcome).collect();
        outcomes.sort_unstable();
        outcomes.dedup();
        let version = self.version.clone().unwrap_or_else(|| "not told".to_owned());
        let figures = OF_SERVER.iter().map(|column| self.cell(None, column.name, column.judged));
        let counts = [sum(&|run| run.faults.lost), sum(&faults), outcomes.join(", ")];
        [self.name.clone(), version].into_iter().chain(figures).chain(counts).collect()
    }

    /// The median; where servers are told apart by the figure, with its interval, or with the smallest and the largest of
    /// fewer runs.
    pub(super) fn cell(&self, group: Option<&str>, name: &str, judged: bool) -> String {
        let Some(figure) = self.figure(group, name) else { return "-".to_owned() };
        let middle = shown(figure, figure.median);
        if !judged || self.runs.len() < 2 {
            return middle;
        }
        let Interval { low, high } = figure.interval.unwrap_or(figure.range);
        format!("{middle} ({} to {})", shown(figure, low), shown(figure, high))
    }

    /// What its runs object to, each once.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for complaint in self.runs.iter().flat_map(|run| run.objections().into_iter().chain(run.invalid.clone())) {
            if !complaints.contains(&complaint) {
                complaints.push(complaint);
            }
        }
        complaints
    }
}

fn milliseconds(microseconds: f64) -> String {
    format!("{:.2}", microseconds / 1000.0)
}

/// A value as its column's title says.
fn shown(figure: &Figure, value: f64) -> String {
    match (figure.name, figure.unit) {
        ("server.cpu_us_per_delivery", _) => format!("{value:.2}"),
        ("memory_per_connection", _) => format!("{:.1}", value / 1024.0),
        (_, Unit::Microseconds) => milliseconds(value),
        (_, Unit::Share) => format!("{:.1} %", 100.0 * value),
        _ => format!("{value:.0}"),
    }
}

fn write_table(f: &mut fmt::Formatter<'_>, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> fmt::Result {
    let rows: Vec<Vec<String>> = rows.collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|title| title.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut write_row = |cells: &[&str]| {
        for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
            if column == 0 {
                write!(f, "| {cell:<width$} |")?;
            } else {
                write!(f, " {cell:>width$} |")?;
            }
        }
        writeln!(f)
    };
    write_row(head)?;
    let rules: Vec<String> = (0..).zip(&widths).map(|(column, &width)| rule(column, width)).collect();
    write_row(&rules.iter().map(String::as_str).collect::<Vec<_>>())?;
    for row in &rows {
        write_row(&row.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// The line under the head; figures stand to the right.
fn rule(column: usize, width: usize) -> String {
    if column == 0 { "-".repeat(width) } else { format!("{}:", "-".repeat(width.saturating_sub(1))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::against::figures::{tell_apart, tests::server};

    /// The text of two servers with these medians in microseconds.
    fn text(ours: &[f64], theirs: &[f64]) -> String {
        let mut servers = vec![server("ours", ours), server("theirs", theirs)];
        tell_apart(&mut servers);
        Outcome { scenario: "beside".to_owned(), repeats: ours.len(), servers }.to_string()
    }

    fn rows<'a>(text: &'a str, name: &str) -> Vec<Vec<&'a str>> {
        let rows = text.lines().filter(|line| line.starts_with(&format!("| {name} ")));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
    }

    #[test]
    fn five_runs_have_intervals_and_servers_are_told_apart_by_them() {
        let text = text(&[1000.0, 1100.0, 1200.0, 1300.0, 1400.0], &[1500.0, 1600.0, 1700.0, 1800.0, 1900.0]);
        assert!(text.contains("in brackets where they lie with 95 % certainty"), "{text}");
        let ours = rows(&text, "ours");
        assert_eq!(ours[0][1..3], ["1.20 (1.00 to 1.40)", "18.01"], "{text}");
        // Server, version, processor time, share of a core, memory, opening, losses, faults, outcome.
        assert_eq!(ours[1].len(), 9, "{text}");
        assert_eq!(ours[1][2..4], ["10.25 (10.25 to 10.25)", "30.0 %"], "{text}");
        assert!(
            text.contains("| server | trips p50 | trips p99 | CPU us per delivery | KiB per connection |"),
            "{text}"
        );
        assert_eq!(ours[2], ["ours", "none", "theirs", "theirs", "theirs", "theirs"], "{text}");
        assert_eq!(rows(&text, "theirs")[2], ["theirs", "none", "ours", "ours", "ours", "ours"], "{text}");
    }

    #[test]
    fn servers_whose_intervals_meet_show_no_difference() {
        let text = text(&[1000.0, 1100.0, 1200.0, 1300.0, 1600.0], &[1500.0, 1600.0, 1700.0, 1800.0, 1900.0]);
        assert_eq!(rows(&text, "ours")[2][1], "theirs", "{text}");
    }

    #[test]
    fn fewer_runs_have_a_range_and_no_difference_is_shown() {
        let four = text(&[1000.0, 1100.0, 1200.0, 1300.0], &[1500.0; 4]);
        assert!(four.contains("in brackets the smallest and the largest run"), "{four}");
        assert!(four.contains("nothing is called a difference: it takes 5 runs of each, there are 4"), "{four}");
        assert_eq!((rows(&four, "ours").len(), rows(&four, "ours")[0][1]), (2, "1.15 (1.00 to 1.30)"), "{four}");
        let one = text(&[1000.0], &[1500.0]);
        assert!(one.contains("One run of each.") && rows(&one, "ours")[0][1] == "1.00", "{one}");
    }
}
