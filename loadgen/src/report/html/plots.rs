//! The plots: their places in the page, the data the script draws from, and the tables behind them.

use std::fmt::Write as _;

use serde::Serialize;

use crate::limits::PERCENTILE_STEPS_PER_DECADE;
use crate::metrics::Unit;
use crate::page::escaped;
use crate::report::{Point, Report};
use crate::stats::{Latency, rounded};

#[derive(Debug, Default, Serialize)]
struct Drawn {
    percentiles: Percentiles,
    time: Course,
}

#[derive(Debug, Default, Serialize)]
struct Percentiles {
    /// 1/(1-quantile).
    x: Vec<f64>,
    corrected: Vec<Option<f64>>,
    uncorrected: Vec<Option<f64>>,
}

/// Columns over time, in milliseconds, percent and MiB. Each point stands at its middle.
#[derive(Debug, Default, Serialize)]
struct Course {
    at: Vec<f64>,
    p50: Vec<Option<f64>>,
    p99: Vec<Option<f64>>,
    max: Vec<Option<f64>>,
    uncorrected_p99: Vec<Option<f64>>,
    lateness: Vec<Option<f64>>,
    delivered: Vec<Option<f64>>,
    published: Vec<Option<f64>>,
    open: Vec<u64>,
    connecting: Vec<u64>,
    busy: Vec<Option<f64>>,
    memory: Vec<Option<f64>>,
    /// Beginnings and ends of what was measured.
    measured: Vec<[f64; 2]>,
}

/// The places of all plots that have something to show, and their tables.
pub(super) fn write_figures(out: &mut String, report: &Report) {
    let points = &report.timeline.points;
    let (latency, server) = (report.latency(), points.iter().any(|point| point.server_busy.is_some()));
    if latency.count() == 0 && points.is_empty() {
        return;
    }
    *out += "<h2>Plots</h2><div class=\"plots\">";
    if latency.count() > 0 {
        figure(
            out,
            ("percentiles", "wide"),
            "Latency by percentile",
            "Both axes are logarithmic. From the intended send counts what waited for a late send; from the actual send \
             does not.",
        );
        write_percentiles(out, report);
        *out += "</figure>";
    }
    let over_time = [
        ("latency", "Latency over time", "Logarithmic. The measured time is shaded.", latency.count() > 0),
        ("throughput", "Throughput over time", "Messages a second.", latency.count() > 0),
        ("connections", "Connections over time", "At the end of each second.", true),
        ("server", "Server over time", "Share of one core, and memory that no file backs.", server),
        ("lateness", "The generator's own lateness", "How late sends left, 99 % of each second.", latency.count() > 0),
    ];
    for (name, title, note, _) in over_time.iter().filter(|(_, _, _, shown)| *shown && !points.is_empty()) {
        figure(out, (name, ""), title, note);
        *out += "</figure>";
    }
    *out += "</div>";
    if !points.is_empty() {
        write_course(out, points);
    }
}

fn figure(out: &mut String, (name, class): (&str, &str), title: &str, note: &str) {
    let _ = write!(
        out,
        "<figure class=\"{class}\"><figcaption>{title}<span>{note}</span></figcaption><div class=\"plot\" \
         data-plot=\"{name}\" role=\"img\" aria-label=\"{title}. Its figures stand in a table below.\"></div>"
    );
}

fn write_percentiles(out: &mut String, report: &Report) {
    let (corrected, uncorrected) = (report.latency(), report.latency_uncorrected());
    *out += "<details><summary>Table: latency by percentile</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
             aria-label=\"Latency by percentile\"><table><thead><tr><th scope=\"col\">percentile</th><th \
             scope=\"col\">from intended send</th><th scope=\"col\">from actual send</th></tr></thead><tbody>";
    for percent in ["0", "25", "50", "75", "90", "95", "99", "99.5", "99.9", "99.95", "99.99", "99.999", "100"] {
        let quantile = percent.parse::<f64>().unwrap_or(0.0) / 100.0;
        let cell = |latency: &Latency| match latency.count() {
            0 => "-".to_owned(),
            _ => Unit::Microseconds.show(latency.quantile_us(quantile)).to_string(),
        };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{percent} %</th><td>{}</td><td>{}</td></tr>",
            cell(&corrected),
            cell(&uncorrected)
        );
    }
    *out += "</tbody></table></div></details>";
}

fn write_course(out: &mut String, points: &[Point]) {
    *out += "<details><summary>Table: the course of the run</summary><div class=\"scroll tall\" tabindex=\"0\" \
             role=\"region\" aria-label=\"The course of the run\"><table><thead><tr>";
    for title in [
        "from, s",
        "stage",
        "open",
        "connecting",
        "published/s",
        "delivered/s",
        "p50",
        "p99",
        "max",
        "late p99",
        "faults",
        "server CPU",
        "memory",
    ] {
        let _ = write!(out, "<th scope=\"col\">{title}</th>");
    }
    *out += "</tr></thead><tbody>";
    let time = |us: f64| if us > 0.0 { Unit::Microseconds.show(us).to_string() } else { "-".to_owned() };
    for point in points {
        let busy = point.server_busy.map_or_else(|| "-".to_owned(), |busy| Unit::Share.show(busy).to_string());
        let memory = point.server_anonymous_bytes.map(|bytes| Unit::Bytes.show(bytes as f64).to_string());
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{:.1}</th><td>{}</td><td>{}</td><td>{}</td><td>{:.0}</td><td>{:.0}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{busy}</td><td>{}</td></tr>",
            point.at_s,
            escaped(&point.stage),
            point.open,
            point.connecting,
            point.published_per_s(),
            point.delivered_per_s(),
            time(point.latency.p50_us),
            time(point.latency.p99_us),
            time(point.latency.max_us),
            time(point.lateness_p99_us),
            point.faults,
            memory.as_deref().unwrap_or("-"),
        );
    }
    *out += "</tbody></table></div></details>";
}

/// What the script draws from, as JSON in which no tag can begin.
pub(super) fn data(report: &Report) -> Result<String, String> {
    let data = Drawn { percentiles: percentiles(report), time: course(&report.timeline.points) };
    let text = serde_json::to_string(&data).map_err(|error| format!("report.html: {error}"))?;
    Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

fn percentiles(report: &Report) -> Percentiles {
    let (corrected, uncorrected) = (report.latency(), report.latency_uncorrected());
    let mut found = Percentiles::default();
    let most = corrected.count().max(1) as f64;
    let at = |latency: &Latency, x: f64| {
        (latency.count() > 0).then(|| rounded(latency.quantile_us(1.0 - 1.0 / x) / 1000.0).max(0.001))
    };
    for step in 0..=12 * PERCENTILE_STEPS_PER_DECADE {
        let x = 10f64.powf(f64::from(step) / f64::from(PERCENTILE_STEPS_PER_DECADE));
        found.x.push(x.min(most));
        found.corrected.push(at(&corrected, x.min(most)));
        found.uncorrected.push(at(&uncorrected, x.min(most)));
        if x >= most {
            break;
        }
    }
    found
}

fn course(points: &[Point]) -> Course {
    let mut found = Course::default();
    // What is 0 has no place on a logarithmic axis.
    let milli = |us: f64| (us > 0.0).then(|| rounded(us / 1000.0).max(0.001));
    for point in points {
        found.at.push(rounded(point.at_s + point.span_s / 2.0));
        found.p50.push(milli(point.latency.p50_us));
        found.p99.push(milli(point.latency.p99_us));
        found.max.push(milli(point.latency.max_us));
        found.uncorrected_p99.push(milli(point.latency_uncorrected.p99_us));
        found.lateness.push((point.published > 0).then(|| rounded(point.lateness_p99_us / 1000.0)));
        // A rate over the last few milliseconds of a stage is chance.
        let lasted = point.span_s >= 0.1;
        found.delivered.push(lasted.then(|| point.delivered_per_s()));
        found.published.push(lasted.then(|| point.published_per_s()));
        found.open.push(point.open);
        found.connecting.push(point.connecting);
        found.busy.push(point.server_busy.map(|share| rounded(100.0 * share)));
        found.memory.push(point.server_anonymous_bytes.map(|bytes| rounded(bytes as f64 / 1_048_576.0)));
        let end = rounded(point.at_s + point.span_s);
        match found.measured.last_mut().filter(|last| point.measured && (last[1] - point.at_s).abs() < 0.01) {
            Some(last) => last[1] = end,
            None if point.measured => found.measured.push([point.at_s, end]),
            None => {}
        }
    }
    found
}
