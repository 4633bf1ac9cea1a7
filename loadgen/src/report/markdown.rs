//! `report.md`: the run on one screen, for the summary of a job and for pull requests.

use std::fmt::Write as _;

use crate::metrics::Unit;
use crate::report::{Doctor, LiveReport, RecoveryReport, Report, ratio};
use crate::stats::Percentiles;
use crate::words::counted;

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut text = format!("## loadgen: {} {}\n\n", escaped(&report.scenario.name), report.outcome());
    if let Some(reason) = &report.invalid {
        let _ = writeln!(text, "**Invalid:** {}. The figures say nothing about the server.\n", escaped(reason));
    }
    for objection in report.objections() {
        let _ = writeln!(text, "- {}", escaped(&objection));
    }
    for finding in &report.findings {
        let _ = writeln!(text, "  - {}", escaped(&finding.to_string()));
    }
    write_slos(&mut text, report);
    write_latencies(&mut text, report);
    write_storms(&mut text, report);
    write_rates(&mut text, report);
    let environment = &report.environment;
    let revision = environment.revision.as_ref().map(|revision| {
        format!(", revision {}{}", escaped(&revision.commit), if revision.dirty { " with changes" } else { "" })
    });
    let _ = writeln!(
        text,
        "\n{}, {}, Linux {}, {}{}.",
        escaped(&environment.processor),
        counted(environment.cores_count, "core"),
        escaped(&environment.kernel),
        escaped(&environment.started),
        revision.unwrap_or_default()
    );
    let _ = writeln!(text, "\nAdapter: {}.", escaped(&report.spoken_to()));
    for warning in &environment.warnings {
        let _ = writeln!(text, "\n> {}", escaped(warning));
    }
    let doctor = environment.doctor.as_ref();
    let said = doctor.map_or_else(|| "not asked".to_owned(), ToString::to_string);
    let _ = writeln!(text, "\nDoctor: {}.", escaped(&said));
    for finding in doctor.into_iter().flat_map(Doctor::findings) {
        let _ = writeln!(text, "- {}", escaped(&finding.to_string()));
    }
    text
}

fn write_slos(text: &mut String, report: &Report) {
    if report.slos.is_empty() {
        return;
    }
    *text += "\n| objective | measured | verdict |\n|---|---:|---|\n";
    for slo in &report.slos {
        let measured = slo.measured.map_or_else(|| "not measured".to_owned(), |value| shown(value, &slo.unit));
        let _ =
            writeln!(text, "| {} | {measured} | {} |", escaped(&slo.slo), if slo.met { "met" } else { "**missed**" });
    }
}

fn write_latencies(text: &mut String, report: &Report) {
    let mut rows: Vec<(String, &Percentiles)> = Vec::new();
    for (wave, opening) in (1..).zip(&report.openings) {
        rows.push((format!("connect to joined, wave {wave}"), &opening.total));
    }
    for (storm, recovery) in (1..).zip(&report.recoveries) {
        rows.push((format!("connect to recovered, storm {storm}"), &recovery.latency));
    }
    for group in &report.groups {
        rows.push((format!("{}: delivery", group.name), &group.latency));
        rows.push((format!("{}: from actual send", group.name), &group.latency_uncorrected));
        rows.push((format!("{}: lateness of sends", group.name), &group.lateness));
        for kind in &group.kinds {
            let of = if kind.answers { "answer to" } else { "delivery of" };
            rows.push((format!("{}: {of} {}", group.name, kind.kind), &kind.latency));
        }
    }
    rows.retain(|(_, of)| of.count > 0);
    if rows.is_empty() {
        return;
    }
    *text += "\n| latency | count | p50 | p90 | p99 | p99.9 | max |\n|---|---:|---:|---:|---:|---:|---:|\n";
    for (name, of) in rows {
        let _ = write!(text, "| {} | {}", escaped(&name), of.count);
        for value in [of.p50_us, of.p90_us, of.p99_us, of.p99_9_us, of.max_us] {
            let _ = write!(text, " | {}", Unit::Microseconds.show(value));
        }
        *text += " |\n";
    }
}

fn write_storms(text: &mut String, report: &Report) {
    for (storm, recovery) in (1..).zip(&report.recoveries) {
        let RecoveryReport { wanted, recovered, took_s, missed_min, missed_max, unrecovered, .. } = recovery;
        let _ = writeln!(
            text,
            "\nStorm {storm}: {recovered} of {wanted} recovered in {took_s:.2} s; each had missed {missed_min} to \
             {missed_max} events."
        );
        for (reason, count) in unrecovered.iter() {
            let _ = writeln!(text, "- not recovered: {count} {}", escaped(reason));
        }
    }
    let Some(before) = report.live.first() else { return };
    *text += "\n| live delivery | count | p50 | p99 | p50, times before | p99, times before |\n";
    *text += "|---|---:|---:|---:|---:|---:|\n";
    for (who, of) in [("stayed", (|live| &live.stayed) as fn(&LiveReport) -> &Percentiles), ("went", |live| &live.went)]
    {
        for live in report.live.iter().filter(|live| of(live).count > 0) {
            let (found, moment) = (of(live), &live.moment);
            let time = |value: f64| Unit::Microseconds.show(value);
            let (p50, p99) = (time(found.p50_us), time(found.p99_us));
            let _ = write!(text, "| {who}, {} | {} | {p50} | {p99}", escaped(moment), found.count);
            for percentile in [(|of| of.p50_us) as fn(&Percentiles) -> f64, |of| of.p99_us] {
                let times = ratio(of(before), found, percentile);
                let _ = write!(text, " | {}", times.map_or_else(String::new, |times| format!("{times:.2}")));
            }
            *text += " |\n";
        }
    }
}

fn write_rates(text: &mut String, report: &Report) {
    let groups = report.groups.iter().filter(|group| group.published > 0);
    let rows: Vec<String> = groups
        .map(|group| {
            let (published, delivered) = (group.published_per_s, group.delivered_per_s);
            format!(
                "| {} | {published:.0}/s | {delivered:.0}/s | {:.1} |",
                escaped(&group.name),
                group.bytes_per_delivery
            )
        })
        .collect();
    if !rows.is_empty() {
        *text += "\n| traffic | published | delivered | bytes each |\n|---|---:|---:|---:|\n";
        let _ = writeln!(text, "{}", rows.join("\n"));
    }
    if let Some(rest) = &report.rest {
        let _ = writeln!(text, "\nRest: {rest}.");
    }
    if let Some(server) = report.server.as_ref().filter(|server| server.cpu_s > 0.0) {
        let (cost, busy) = (server.cpu_us_per_delivery, 100.0 * server.busy);
        let _ = writeln!(text, "\nThe server took {cost:.3} us of CPU per delivery, {busy:.1} % of a core.");
    }
}

/// A value as people read it, if its unit is one of ours.
pub(crate) fn shown(value: f64, unit: &str) -> String {
    Unit::of_name(unit).map_or_else(|| format!("{value} {unit}"), |unit| unit.show(value).to_string())
}

/// Text that is only text: nothing of it is markdown or HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' | '(' | ')' => {
                out.push('\\');
                out.push(c);
            }
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Mentions and links are made of bare text too.
            '@' => out.push_str("&#64;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn a_page_has_the_verdict_the_objectives_and_the_figures() {
        let text = page(&sample());
        assert!(text.starts_with("## loadgen: a &lt;script&gt; &amp; \"more\" passed\n"), "{text}");
        assert!(text.contains("| delivery.p99&lt;100ms |") && text.contains("| met |"));
        assert!(text.contains("| trips: delivery | 20000 |") && text.contains("10000/s | 30000/s | 412.1"));
        assert!(text.contains("\n\nRest: 10000 connections idle for 60.0 s, 3.00 pings each: 800.0 ns of"), "{text}");
        assert!(!text.contains("<script"));
        assert!(text.contains("\n\nAdapter: waystation, the server says it is 1.0.0.\n"), "{text}");
        let doctor = "\n\nDoctor: 1 error, 1 warning, 1 note, 7 as wanted, 1 not here, for 100 connections, says somaxconn.\n\
                      - error: error somaxconn is somaxconn, wanted somaxconn\n- warning: ";
        assert!(text.contains(doctor), "{text}");
        let mut unasked = sample();
        unasked.environment.doctor = None;
        assert!(page(&unasked).contains("\n\nDoctor: not asked.\n"));
        let late = Report { invalid: Some("ended early".to_owned()), ..sample() };
        assert!(page(&late).contains("**Invalid:** ended early."));
    }

    #[test]
    fn a_name_cannot_write_markdown() {
        for (text, expected) in [
            ("a|b\nc", "a\\|b c"),
            ("[x](http://y)", "\\[x\\]\\(http://y\\)"),
            ("@all `rm` *b*", "&#64;all \\`rm\\` \\*b\\*"),
            ("<img src=x>", "&lt;img src=x&gt;"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }
}
