//! The tables of the page: objectives, figures, checks, the machine, what was asked for.

use std::fmt::Write as _;

use crate::checker::Faults;
use crate::metrics::Unit;
use crate::page::{begin, begin_text, end, escaped};
use crate::report::Report;
use crate::report::markdown::shown;
use crate::stats::{Names, Percentiles};

/// The objectives and what came of them.
pub(super) fn write_slos(out: &mut String, report: &Report) {
    if report.slos.is_empty() {
        return;
    }
    begin(out, "Objectives", &["objective", "measured", "verdict"]);
    for slo in &report.slos {
        let measured = slo.measured.map_or_else(|| "not measured".to_owned(), |value| shown(value, &slo.unit));
        let verdict = if slo.met { "<td class=\"met\">met</td>" } else { "<td class=\"missed\">missed</td>" };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td>{verdict}</tr>",
            escaped(&slo.slo),
            escaped(&measured)
        );
    }
    end(out);
}

/// Latencies and rates.
pub(super) fn write_figures(out: &mut String, report: &Report) {
    begin(out, "Latencies", &["", "count", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    for (wave, opening) in (1..).zip(&report.openings) {
        latency(out, &format!("connect, wave {wave}"), &opening.connect);
        latency(out, "upgrade", &opening.upgrade);
        latency(out, "authenticate and join", &opening.join);
        latency(out, "opening in all", &opening.total);
    }
    for group in &report.groups {
        latency(out, &format!("{}: from intended send", group.name), &group.latency);
        latency(out, &format!("{}: from actual send", group.name), &group.latency_uncorrected);
        latency(out, &format!("{}: lateness of sends", group.name), &group.lateness);
        for kind in &group.kinds {
            let of = if kind.answers { "answer to" } else { "delivery of" };
            latency(out, &format!("{}: {of} {}", group.name, kind.kind), &kind.latency);
        }
    }
    end(out);
    let titles = ["group", "published", "delivered", "published/s", "delivered/s", "bytes each", "not sent"];
    begin(out, "Traffic", &titles);
    for group in &report.groups {
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{:.0}</td><td>{:.0}</td><td>{:.1}</td><td>{}</td></tr>",
            escaped(&group.name),
            group.published,
            group.delivered,
            group.published_per_s,
            group.delivered_per_s,
            group.bytes_per_delivery,
            group.blocked
        );
    }
    end(out);
    write_kinds(out, report);
}

/// What was published and came of each kind, if kinds are told apart.
fn write_kinds(out: &mut String, report: &Report) {
    if report.groups.iter().all(|group| group.kinds.is_empty()) {
        return;
    }
    begin_text(out, "Kinds of messages", &["group", "kind", "published", "delivered", "answered"], &[1]);
    for (group, kind) in report.groups.iter().flat_map(|group| group.kinds.iter().map(move |kind| (group, kind))) {
        let came = |wanted: bool| if kind.answers == wanted { kind.delivered.to_string() } else { "–".to_owned() };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&group.name),
            escaped(&kind.kind),
            kind.published,
            came(false),
            came(true)
        );
    }
    end(out);
}

fn latency(out: &mut String, name: &str, of: &Percentiles) {
    if of.count == 0 {
        return;
    }
    let _ = write!(out, "<tr><th scope=\"row\">{}</th><td>{}</td>", escaped(name), of.count);
    for value in [of.mean_us, of.p50_us, of.p90_us, of.p99_us, of.p99_9_us, of.p99_99_us, of.max_us] {
        let _ = write!(out, "<td>{}</td>", Unit::Microseconds.show(value));
    }
    *out += "</tr>";
}

/// Faults, ends, events and the first refusals.
pub(super) fn write_checks(out: &mut String, report: &Report) {
    let Faults { lost, duplicated, out_of_order, corrupted, wrong_room, seq_gaps, json, .. } = report.faults;
    let Faults { order_unchecked, owed_to_closed, .. } = report.faults;
    begin(out, "Checks", &["", "count"]);
    for (name, count) in [
        ("lost", lost),
        ("duplicated", duplicated),
        ("out of order", out_of_order),
        ("corrupted", corrupted),
        ("in the wrong room", wrong_room),
        ("gaps of sequence numbers", seq_gaps),
        ("no JSON", json),
        ("order not checked, no fault", order_unchecked),
        ("owed to ended connections, no fault", owed_to_closed),
    ] {
        let class = if count > 0 && !name.ends_with("no fault") { " class=\"missed\"" } else { "" };
        let _ = write!(out, "<tr><th scope=\"row\">{name}</th><td{class}>{count}</td></tr>");
    }
    let wanted: [(&str, &Names); 3] =
        [("ended unasked: ", &report.closes), ("protocol: ", &report.protocol_faults), ("event: ", &report.events)];
    for (before, names) in wanted {
        for (name, count) in names.iter() {
            let _ = write!(out, "<tr><th scope=\"row\">{before}{}</th><td>{count}</td></tr>", escaped(name));
        }
    }
    end(out);
    if !report.findings.is_empty() {
        *out += "<h3>The first faults of each kind</h3><ul>";
        for finding in &report.findings {
            let _ = write!(out, "<li>{}</li>", escaped(&finding.to_string()));
        }
        *out += "</ul>";
    }
    if !report.refusals.is_empty() {
        *out += "<h3>The first refusals</h3><pre tabindex=\"0\">";
        for refusal in &report.refusals {
            let _ = writeln!(out, "{}", escaped(refusal.trim_end()));
        }
        *out += "</pre>";
    }
}

/// What was asked for.
pub(super) fn write_configuration(out: &mut String, report: &Report) -> Result<(), String> {
    let scenario = toml::to_string(&report.scenario).map_err(|error| format!("report.html: {error}"))?;
    let flags = report.flags.join(" ");
    *out += "<h2>Configuration</h2>";
    if !flags.is_empty() {
        let _ = write!(out, "<p class=\"note\">loadgen {}</p>", escaped(&flags));
    }
    let _ = write!(out, "<p class=\"note\">seed {}</p>", report.seed);
    let _ = write!(
        out,
        "<details><summary>The scenario, with every value</summary><pre tabindex=\"0\">{}</pre></details>",
        escaped(&scenario)
    );
    Ok(())
}
