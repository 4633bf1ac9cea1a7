//! `report.html`: a run for people, with its plots.

mod plots;
mod tables;

use std::fmt::Write as _;

use crate::metrics::Unit;
use crate::page::{Page, Script, Verdict, write_machine};
use crate::report::Report;

const PLOTS: &str = include_str!("plots.js");
const UPLOT: &str = include_str!("../../../vendor/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../../vendor/uplot/uPlot.min.css");

/// The whole page.
pub(super) fn page(report: &Report) -> Result<String, String> {
    let environment = &report.environment;
    let mut sections = String::new();
    tables::write_slos(&mut sections, report);
    write_tiles(&mut sections, report);
    plots::write_figures(&mut sections, report);
    tables::write_figures(&mut sections, report);
    tables::write_checks(&mut sections, report);
    write_machine(&mut sections, environment, Some(&report.spoken_to()));
    tables::write_configuration(&mut sections, report)?;
    let loadgen = &environment.loadgen;
    let reasons: Vec<String> = report.objections().into_iter().chain(report.invalid.clone()).collect();
    let page = Page {
        outcome: report.outcome(),
        name: &report.scenario.name,
        kicker: &format!("loadgen {loadgen}, {}", environment.started),
        verdict: verdict(report, &reasons),
        sections: &sections,
        origin: &format!("Made by loadgen {loadgen} from summary.json. Plots by uPlot, MIT license, Leon Sorokin."),
        script: Some(Script { style: UPLOT_STYLE, data: &plots::data(report)?, code: &[UPLOT, PLOTS] }),
    };
    Ok(page.html())
}

fn verdict<'a>(report: &Report, reasons: &'a [String]) -> Verdict<'a> {
    let (class, word, meaning) = match report.outcome() {
        "passed" => ("good", "Passed", "Every check and every objective was met."),
        "missed" => ("bad", "Missed", "Every check was met, but not every objective."),
        "failed" => ("bad", "Failed", "The server did not do what it must:"),
        _ => ("warn", "Invalid", "The figures say nothing about the server:"),
    };
    Verdict { class, word, meaning, reasons }
}

/// The few figures that are asked for first.
fn write_tiles(out: &mut String, report: &Report) {
    let (latency, openings) = (report.latency(), report.latency_of_openings());
    let mut tiles: Vec<(&str, String)> = Vec::new();
    let time = |us: f64| Unit::Microseconds.show(us).to_string();
    if latency.count() > 0 {
        tiles.push(("delivery, p50", time(latency.quantile_us(0.5))));
        tiles.push(("delivery, p99", time(latency.quantile_us(0.99))));
        tiles.push(("delivery, p99.9", time(latency.quantile_us(0.999))));
        let delivered: f64 = report.groups.iter().map(|group| group.delivered_per_s).sum();
        tiles.push(("delivered a second", grouped(delivered)));
    }
    let ready = report.openings.iter().map(|opening| opening.ready).max().unwrap_or(0);
    tiles.push(("connections", grouped(ready as f64)));
    if openings.count() > 0 {
        tiles.push(("connect to joined, p99", time(openings.quantile_us(0.99))));
    }
    if let Some(server) = report.server.as_ref().filter(|server| server.cpu_s > 0.0) {
        tiles.push(("server CPU a delivery", time(server.cpu_us_per_delivery)));
    }
    if let Some(rest) = &report.rest {
        if let Some(us) = rest.us_per_connection_s(|cost| cost.cpu_s) {
            tiles.push(("server CPU a second, idle connection", time(us)));
        }
        tiles.extend(rest.pings_per_connection().map(|pings| ("pings each, idle", format!("{pings:.2}"))));
    }
    *out += "<dl class=\"tiles\">";
    for (name, value) in tiles {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    *out += "</dl>";
}

/// A count with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digit.is_ascii_digit() {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
