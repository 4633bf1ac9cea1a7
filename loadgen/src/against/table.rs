//! The comparison as tables that read well in a terminal and are markdown.
//!
//! A figure is the median of a server's runs; where runs differ much it helps to see by how much, so the tail and the
//! processor's share show the smallest and the largest run too.

use std::fmt::{self, Write as _};

use crate::against::{Outcome, ServerOutcome};
use crate::interval::median;
use crate::report::{GroupReport, Report, ServerReport};
use crate::stats::Percentiles;

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
            "Scenario {}, {} runs of each in turn, started {}.",
            self.scenario, self.repeats, environment.started
        )?;
        let (processor, cores, kernel) = (&environment.processor, environment.cores_count, &environment.kernel);
        writeln!(
            f,
            "{processor}, {cores} cores, Linux {kernel}. Medians; in brackets the smallest and the largest run."
        )?;
        for (index, group) in first.groups.iter().enumerate() {
            let rooms = first.scenario.group.get(index).map_or_else(String::new, |group| {
                format!(
                    ": {} rooms of {}, {} connections",
                    group.sizes().len(),
                    group.members,
                    group.connections_count()
                )
            });
            writeln!(f, "\nGroup {}{rooms}. Delivery after the intended send, in milliseconds:\n", group.name)?;
            let head = ["server", "p50", "p90", "p99", "p99.9", "deliveries/s", "bytes each"];
            write_table(f, &head, self.servers.iter().map(|server| server.group_row(index)))?;
        }
        writeln!(f, "\nThe server itself:\n")?;
        let head = [
            "server",
            "version",
            "CPU us per delivery",
            "core",
            "KiB per connection",
            "opening p99 ms",
            "lost",
            "other faults",
            "outcome",
        ];
        write_table(f, &head, self.servers.iter().map(ServerOutcome::own_row))?;
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

impl ServerOutcome {
    fn group_row(&self, index: usize) -> Vec<String> {
        let of = |figure: fn(&GroupReport) -> f64| self.figures(|run| run.groups.get(index).map(figure));
        let latency = |figure: fn(&Percentiles) -> f64| {
            self.figures(|run| run.groups.get(index).map(|group| figure(&group.latency)))
        };
        let mut row = vec![self.name.clone()];
        for figure in [|of: &Percentiles| of.p50_us, |of: &Percentiles| of.p90_us] {
            row.push(shown(latency(figure), milliseconds));
        }
        row.push(spread(latency(|of| of.p99_us), milliseconds));
        row.push(shown(latency(|of| of.p99_9_us), milliseconds));
        row.push(shown(of(|group| group.delivered_per_s), |value| format!("{value:.0}")));
        row.push(shown(of(|group| group.bytes_per_delivery), |value| format!("{value:.0}")));
        row
    }

    fn own_row(&self) -> Vec<String> {
        let server = |figure: fn(&ServerReport) -> f64| self.figures(|run| run.server.as_ref().map(figure));
        let faults = |run: &Report| {
            let faults = run.faults;
            faults.duplicated
                + faults.out_of_order
                + faults.corrupted
                + faults.wrong_room
                + faults.seq_gaps
                + faults.json
        };
        let sum = |count: &dyn Fn(&Report) -> u64| self.runs.iter().map(count).sum::<u64>().to_string();
        let mut outcomes: Vec<&str> = self.runs.iter().map(Report::outcome).collect();
        outcomes.sort_unstable();
        outcomes.dedup();
        vec![
            self.name.clone(),
            self.version.clone().unwrap_or_else(|| "not told".to_owned()),
            spread(server(|server| server.cpu_us_per_delivery), |value| format!("{value:.2}")),
            shown(server(|server| server.busy), |value| format!("{:.1} %", 100.0 * value)),
            shown(self.figures(memory_per_connection), |value| format!("{:.1}", value / 1024.0)),
            shown(self.figures(|run| Some(run.openings.first()?.total.p99_us)), milliseconds),
            sum(&|run| run.faults.lost),
            sum(&faults),
            outcomes.join(", "),
        ]
    }

    fn figures(&self, figure: impl Fn(&Report) -> Option<f64>) -> Vec<f64> {
        self.runs.iter().filter_map(figure).collect()
    }

    /// What its runs object to, each once.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for complaint in self.runs.iter().flat_map(|run| run.objections().into_iter().chain(run.invalid.clone())) {
            if !complaints.contains(&complaint) {
                complaints.push(complaint);
            }
        }
        complaints
    }
}

/// Memory of the server that its connections take; what the kernel keeps for their sockets is not in it.
fn memory_per_connection(run: &Report) -> Option<f64> {
    let server = run.server.as_ref()?;
    let (before, after) = (server.weight_before?, server.weight_connected?);
    let ready = run.openings.first()?.ready;
    let bytes = after.own_bytes().saturating_sub(before.own_bytes());
    (ready > 0).then(|| bytes as f64 / ready as f64)
}

fn milliseconds(microseconds: f64) -> String {
    format!("{:.2}", microseconds / 1000.0)
}

fn shown(mut values: Vec<f64>, show: impl Fn(f64) -> String) -> String {
    if values.is_empty() { "-".to_owned() } else { show(median(&mut values)) }
}

fn spread(values: Vec<f64>, show: impl Fn(f64) -> String) -> String {
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &value| (low.min(value), high.max(value)));
    let middle = shown(values.clone(), &show);
    if values.len() < 2 { middle } else { format!("{middle} ({} to {})", show(low), show(high)) }
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
