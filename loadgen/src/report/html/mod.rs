//! `report.html`: one file with everything in it, that asks nothing of the network.
//!
//! Whatever comes from outside (names, versions, answers of a server) passes `escaped` or, for the plots, a JSON text in
//! which no tag can begin. The page's own script and style are the only ones its policy lets run, each by its hash.

mod plots;
mod tables;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::metrics::Unit;
use crate::report::Report;
use crate::report::junit::escaped;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const PLOTS: &str = include_str!("plots.js");
const UPLOT: &str = include_str!("../../../vendor/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../../vendor/uplot/uPlot.min.css");

/// The whole page.
pub(super) fn page(report: &Report) -> Result<String, String> {
    let style = format!("{UPLOT_STYLE}\n{STYLE}");
    let environment = &report.environment;
    let mut sections = String::new();
    tables::write_slos(&mut sections, report);
    write_tiles(&mut sections, report);
    plots::write_figures(&mut sections, report);
    tables::write_figures(&mut sections, report);
    tables::write_checks(&mut sections, report);
    tables::write_environment(&mut sections, report);
    tables::write_configuration(&mut sections, report)?;
    let name = escaped(&report.scenario.name);
    Ok(filled(&[
        ("csp", &policy(&style)),
        ("title", &format!("{name}: {}", report.outcome())),
        ("name", &name),
        ("version", &escaped(&environment.loadgen)),
        ("started", &escaped(&environment.started)),
        ("verdict", &verdict(report)),
        ("sections", &sections),
        ("style", &style),
        ("data", &plots::data(report)?),
        ("uplot", UPLOT),
        ("plots", PLOTS),
    ]))
}

/// The page with its places filled. What is filled in is not looked at again, so that no text can name a place.
fn filled(places: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(PAGE.len() + places.iter().map(|(_, text)| text.len()).sum::<usize>());
    let mut rest = PAGE;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(b, rest)| Some((b, rest.split_once("}}")?)))
    {
        out += before;
        out += places.iter().find(|(place, _)| *place == name).map_or("", |(_, text)| text);
        rest = after;
    }
    out + rest
}

/// Nothing from anywhere, and of what stands in the page only this style and these scripts.
fn policy(style: &str) -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    format!(
        "default-src 'none'; script-src {} {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash(UPLOT),
        hash(PLOTS),
        hash(style)
    )
}

fn verdict(report: &Report) -> String {
    let (class, word, meaning) = match report.outcome() {
        "passed" => ("good", "Passed", "Every check and every objective was met."),
        "missed" => ("bad", "Missed", "Every check was met, but not every objective."),
        "failed" => ("bad", "Failed", "The server did not do what it must:"),
        _ => ("warn", "Invalid", "The figures say nothing about the server:"),
    };
    let mut text = format!("<div class=\"verdict {class}\" role=\"status\"><strong>{word}</strong>{meaning}");
    let reasons: Vec<String> = report.objections().into_iter().chain(report.invalid.clone()).collect();
    if !reasons.is_empty() {
        text += "<ul>";
        for reason in reasons {
            let _ = write!(text, "<li>{}</li>", escaped(&reason));
        }
        text += "</ul>";
    }
    text + "</div>"
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
