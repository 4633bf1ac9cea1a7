//! A comparison as a terminal shows it, and as markdown.

use std::fmt::{self, Write as _};

use crate::compare::{Comparison, Row, Verdict};
use crate::limits::REPEATS_COUNT_MIN;
use crate::words::counted;

/// Figures that are shown; a file has all of them.
const SHOWN: [&str; 15] = [
    "delivery.p50",
    "delivery.p90",
    "delivery.p99",
    "delivery.p99.9",
    "delivery.max",
    "uncorrected.p99",
    "opening.p99",
    "published.rate",
    "delivered.rate",
    "delivered.bytes",
    "errors",
    "server.cpu_us_per_delivery",
    "server.rss",
    "server.bytes_per_connection",
    "server.cpu_us_per_connection_s",
];

impl Comparison {
    /// Figures worth a line: the usual ones, and all that are judged or worse.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Row> {
        let worse = |row: &&Row| matches!(row.verdict, Verdict::Regression);
        self.rows.iter().filter(move |row| row.judged || SHOWN.contains(&row.name.as_str()) || worse(row))
    }

    /// What it comes to, in one line.
    #[must_use]
    pub fn conclusion(&self) -> String {
        let [a, b] = [self.sources[0].len(), self.sources[1].len()];
        if !self.objections.is_empty() {
            return format!("FAILED: {} objections to the runs themselves", self.objections.len());
        }
        let regressions: Vec<String> =
            self.regressions().map(|row| format!("{} {}", row.name, row.shown_change())).collect();
        if !regressions.is_empty() {
            return format!("REGRESSION: {}", regressions.join(", "));
        }
        if a.min(b) < REPEATS_COUNT_MIN {
            return format!(
                "no interval can be given, so no difference is shown: it takes {REPEATS_COUNT_MIN} runs of each, there \
                 are {a} and {b}"
            );
        }
        let judged = || self.rows.iter().filter(|row| row.judged);
        let of = |verdict: Verdict| {
            let names: Vec<&str> = judged().filter(|row| row.verdict == verdict).map(|row| row.name.as_str()).collect();
            names.join(", ")
        };
        let parts = [("better", of(Verdict::Better)), ("worse, but perhaps within the tolerance", of(Verdict::Worse))];
        let parts: Vec<String> =
            parts.iter().filter(|(_, names)| !names.is_empty()).map(|(how, names)| format!("{how}: {names}")).collect();
        if parts.is_empty() {
            return format!("no difference in any of the {} judged figures", judged().count());
        }
        format!("no regression; {}", parts.join("; "))
    }

    /// The table as markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n", self.conclusion());
        text += "| figure | a | b | change | 95 % interval | |\n|---|--:|--:|--:|--:|---|\n";
        for row in self.shown() {
            let [a, b] = row.medians.map(|value| row.unit.show(value));
            let name = if row.judged { format!("**{}**", row.name) } else { row.name.clone() };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {name} | {a} | {b} | {} | {} | {} |",
                row.shown_change(),
                row.shown_interval(),
                row.verdict
            );
        }
        for warning in &self.warnings {
            let _ = write!(text, "\n- warning: {warning}");
        }
        for objection in &self.objections {
            let _ = write!(text, "\n- objection: {objection}");
        }
        text
    }
}

impl Row {
    pub(super) fn shown_change(&self) -> String {
        self.signed(self.change)
    }

    pub(super) fn shown_interval(&self) -> String {
        self.interval.map_or_else(String::new, |interval| {
            format!("{} to {}", self.signed(interval.low), self.signed(interval.high))
        })
    }

    fn signed(&self, change: f64) -> String {
        if self.relative {
            return format!("{:+.1} %", 100.0 * change);
        }
        let sign = if change < 0.0 { '-' } else { '+' };
        format!("{sign}{}", self.unit.show(change.abs()))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoDifference => "no difference",
            Self::Better => "better",
            Self::Worse => "worse, perhaps within the tolerance",
            Self::Regression => "REGRESSION",
            Self::Other => "other",
            Self::Unknown => "no interval",
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "scenario  {}  tolerance {:.1} %", self.scenario, 100.0 * self.tolerance)?;
        for (name, sources) in ["a", "b"].into_iter().zip(&self.sources) {
            let runs = format!("{}:", counted(sources.len(), "run"));
            writeln!(f, "{name:<10}{runs:<7} {}", sources.join(" "))?;
        }
        for warning in &self.warnings {
            writeln!(f, "WARNING   {warning}")?;
        }
        let width = self.shown().map(|row| row.name.chars().count()).max().unwrap_or(0);
        writeln!(f, "\n  {:<width$}{:>12}{:>12}{:>11}  {:<22}", "median", "a", "b", "change", "95 % interval")?;
        for row in self.shown() {
            let [a, b] = row.medians.map(|value| row.unit.show(value));
            let mark = if row.judged { '*' } else { ' ' };
            let (change, interval) = (row.shown_change(), row.shown_interval());
            writeln!(f, "{mark} {:<width$}{a:>12}{b:>12}{change:>11}  {interval:<22}{}", row.name, row.verdict)?;
        }
        for objection in &self.objections {
            writeln!(f, "OBJECTION {objection}")?;
        }
        writeln!(f, "\n{}", self.conclusion())
    }
}
