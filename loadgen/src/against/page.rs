//! The servers side by side as a page: what it comes to, each judged figure on one axis, the tables, the machine.

use std::fmt::Write as _;

use crate::against::figures::{Column, OF_GROUP, OF_SERVER};
use crate::against::table::{Differences, rooms};
use crate::against::{Figure, Outcome, ServerOutcome};
use crate::interval::Interval;
use crate::metrics::Unit;
use crate::page::{Axis, Forest, Page, Shape, Spot, Verdict, begin, begin_text, end, escaped, short, write_machine};
use crate::words::counted;

impl Outcome {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut sections = String::new();
        let first = self.servers.first().and_then(|server| server.runs.first());
        let (mut loadgen, mut started) = (env!("CARGO_PKG_VERSION"), "");
        if let Some(first) = first {
            (loadgen, started) = (&first.environment.loadgen, &first.environment.started);
            self.write_plots(&mut sections);
            self.write_tables(&mut sections);
            self.write_servers(&mut sections);
            write_machine(&mut sections, &first.environment, None);
        }
        let (class, word, meaning) = match self.exit_code() {
            0 => ("good", "All passed", "Every check of every run was met."),
            1 => ("bad", "Failed", "A server did not do what it must:"),
            _ => ("warn", "Invalid", "Some figures say nothing:"),
        };
        let of_server = |server: &ServerOutcome| -> Vec<String> {
            server.complaints().iter().map(|complaint| format!("{}: {complaint}", server.name)).collect()
        };
        let reasons: Vec<String> = self.servers.iter().flat_map(of_server).collect();
        let page = Page {
            outcome: word,
            name: &format!("{}, side by side", self.scenario),
            kicker: &format!("loadgen {loadgen} against, {started}, {} of each in turn", counted(self.repeats, "run")),
            verdict: Verdict { class, word, meaning, reasons: &reasons },
            sections: &sections,
            origin: &format!("Made by loadgen {loadgen}."),
            script: None,
        };
        page.html()
    }

    /// Each figure that servers are told apart by.
    fn write_plots(&self, out: &mut String) {
        let Some(first) = self.servers.first().and_then(|server| server.runs.first()) else { return };
        *out += "<h2>Plots</h2><div class=\"plots\">";
        for group in &first.groups {
            for column in OF_GROUP.iter().filter(|column| column.judged) {
                let title = format!("{}: delivery after the intended send, {}", group.name, column.title);
                self.write_plot(out, &title, Some(&group.name), column.name);
            }
        }
        for column in OF_SERVER.iter().filter(|column| column.judged) {
            self.write_plot(out, of_server(column), None, column.name);
        }
        *out += "</div>";
    }

    fn write_plot(&self, out: &mut String, title: &str, group: Option<&str>, name: &'static str) {
        let figures: Vec<(&ServerOutcome, &Figure)> =
            self.servers.iter().filter_map(|server| Some((server, server.figure(group, name)?))).collect();
        let Some(unit) = figures.first().map(|(_, figure)| figure.unit) else { return };
        let show = |value: f64| unit.show(value).to_string();
        let ends = |figure: &Figure| figure.interval.unwrap_or(figure.range);
        let values = figures.iter().flat_map(|(_, figure)| {
            let Interval { low, high } = ends(figure);
            [low, figure.median, high]
        });
        // Round numbers of bytes are no round numbers of what they are told in.
        let (mark, scale): (&dyn Fn(f64) -> String, f64) = match unit {
            Unit::Bytes => (&|value| format!("{value} KiB"), 1024.0),
            _ => (&|value| short(unit, value), 1.0),
        };
        let spot = |(server, figure): &(&ServerOutcome, &Figure)| {
            let Interval { low, high } = ends(figure);
            let told = match low < high {
                true => format!("{} ({} to {})", show(figure.median), show(low), show(high)),
                false => show(figure.median),
            };
            Spot {
                name: server.name.clone(),
                told,
                class: "plain",
                shape: Shape::Spot(figure.median / scale, Some([low / scale, high / scale])),
            }
        };
        let axis = Axis::around(values.map(|value| value / scale), mark);
        let note = match (self.repeats, axis.logarithmic) {
            (0 | 1, true) => "One run of each; the axis is logarithmic.",
            (0 | 1, false) => "One run of each.",
            (_, true) => "Medians and what stands in brackets; the axis is logarithmic.",
            (_, false) => "Medians and what stands in brackets.",
        };
        let spots = figures.iter().map(spot).collect();
        Forest { title, note, axis, mark: None, band: None, spots }.write(out);
    }

    fn write_tables(&self, out: &mut String) {
        let Some(first) = self.servers.first().and_then(|server| server.runs.first()) else { return };
        for (index, group) in first.groups.iter().enumerate() {
            let head: Vec<&str> = std::iter::once("server").chain(OF_GROUP.iter().map(|column| column.title)).collect();
            let title = format!("Group {}{}", group.name, rooms(first, index));
            let note = format!("Delivery after the intended send, in milliseconds. {}", self.brackets());
            write_rows(out, &title, &note, &head, self.servers.iter().map(|server| server.group_row(&group.name)));
        }
        let titles = OF_SERVER.iter().map(|column| column.title);
        let head: Vec<&str> =
            ["server", "version"].into_iter().chain(titles).chain(["lost", "other faults", "outcome"]).collect();
        write_rows(out, "The servers", self.brackets(), &head, self.servers.iter().map(ServerOutcome::own_row));
        match self.differences(&first.groups) {
            Differences::Pointless => {}
            Differences::Unknown(reason) => {
                let _ = write!(out, "<p class=\"note\">{}</p>", escaped(&reason));
            }
            Differences::Known { head, rows } => {
                let head: Vec<&str> = head.iter().map(String::as_str).collect();
                write_rows(out, "No difference to", "Since the intervals overlap.", &head, rows.into_iter());
            }
        }
    }

    /// How each was spoken to and started, and what it does not promise.
    fn write_servers(&self, out: &mut String) {
        let columns = ["server", "adapter", "started by", "does not promise"];
        begin_text(out, "How they were run", &columns, &[1, 2, 3]);
        for server in &self.servers {
            let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escaped(&server.name));
            let command = server.command.as_deref().unwrap_or("ran already");
            let without = if server.without.is_empty() { "-".to_owned() } else { server.without.join("; ") };
            for text in [&server.adapter, command, &without] {
                let _ = write!(out, "<td class=\"text\">{}</td>", escaped(text));
            }
            *out += "</tr>";
        }
        end(out);
    }
}

/// A column of the servers' own figures, with its unit on the axis instead of in the title.
fn of_server<T>(column: &Column<T>) -> &'static str {
    match column.name {
        "server.cpu_us_per_delivery" => "The server's CPU for a delivery",
        "memory_per_connection" => "Memory of the server for a connection",
        "opening.p99" => "Connect to joined, p99",
        other => other,
    }
}

fn write_rows(out: &mut String, title: &str, note: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    begin(out, title, head);
    for row in rows {
        *out += "<tr>";
        for (column, cell) in row.iter().enumerate() {
            let cell = escaped(cell);
            let _ = match column {
                0 => write!(out, "<th scope=\"row\">{cell}</th>"),
                _ => write!(out, "<td>{cell}</td>"),
            };
        }
        *out += "</tr>";
    }
    end(out);
    let _ = write!(out, "<p class=\"note\">{}</p>", escaped(note));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::against::figures::{tell_apart, tests::server};
    use crate::page::tests::{EVIL, check};

    fn outcome(ours: &[f64], theirs: &[f64]) -> Outcome {
        let mut servers = vec![server("ours", ours), server("theirs", theirs)];
        tell_apart(&mut servers);
        Outcome { scenario: "beside".to_owned(), repeats: ours.len(), servers }
    }

    const OURS: [f64; 5] = [1000.0, 1100.0, 1200.0, 1300.0, 1400.0];
    const THEIRS: [f64; 5] = [1500.0, 1600.0, 1700.0, 1800.0, 1900.0];

    #[test]
    fn each_judged_figure_is_drawn_and_stands_in_a_table() {
        let text = outcome(&OURS, &THEIRS).html();
        check(&text);
        assert_eq!(text.matches("<figure class=\"forest\">").count(), 5, "p50, p99, CPU, memory, opening");
        assert!(text.contains("role=\"img\" aria-label=\"ours: 1.20 ms (1.00 ms to 1.40 ms)\""), "{text}");
        assert!(text.contains("<th scope=\"row\">ours</th><td>1.20 (1.00 to 1.40)</td>"), "{text}");
        assert!(
            text.contains("<h2>No difference to</h2>") && text.contains("<th scope=\"row\">theirs</th><td>none</td>")
        );
        assert!(text.contains("class=\"verdict good\"") && text.contains("<h2>Environment</h2>"));
    }

    #[test]
    fn one_run_of_each_has_no_interval_and_that_is_said() {
        let text = outcome(&[1000.0], &[20_000.0]).html();
        check(&text);
        assert!(text.contains("aria-label=\"ours: 1.00 ms\"") && text.contains("the axis is logarithmic"), "{text}");
        assert!(text.contains("No interval can be given") && !text.contains("<h2>No difference to</h2>"));
    }

    #[test]
    fn what_went_wrong_stands_first_with_the_servers_name() {
        let mut failed = outcome(&OURS, &THEIRS);
        failed.servers[1].runs[0].faults.lost = 3;
        let text = failed.html();
        assert!(
            text.contains(
                "<strong>Failed</strong>A server did not do what it must:<ul><li>theirs: deliveries are faulty"
            )
        );
        let mut late = outcome(&OURS, &THEIRS);
        late.servers[0].runs[0].invalid = Some("late".to_owned());
        assert!(late.html().contains("class=\"verdict warn\""));
    }

    #[test]
    fn nothing_from_outside_is_taken_for_markup() {
        let mut hostile = outcome(&OURS, &THEIRS);
        hostile.scenario = EVIL.to_owned();
        for server in &mut hostile.servers {
            server.name = EVIL.to_owned();
            server.adapter = EVIL.to_owned();
            (server.version, server.command) = (Some(EVIL.to_owned()), Some(EVIL.to_owned()));
            server.without = vec![EVIL.to_owned()];
            for run in &mut server.runs {
                run.groups[0].name = EVIL.to_owned();
                run.invalid = Some(EVIL.to_owned());
                run.environment.loadgen = EVIL.to_owned();
            }
            for figure in &mut server.figures {
                figure.group = figure.group.as_ref().map(|_| EVIL.to_owned());
                figure.no_difference_to = Some(vec![EVIL.to_owned()]);
            }
        }
        check(&hostile.html());
    }

    #[test]
    fn nothing_run_is_an_empty_page() {
        check(&Outcome { scenario: "beside".to_owned(), repeats: 5, servers: Vec::new() }.html());
    }
}
