//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::words::{counted, grouped, size, wrapped};
use super::{Answer, Examined, Finding, Row, Severity, TABLE};

/// Columns before the text of a finding's lines.
const INDENT: usize = 10;

/// Colours for a terminal, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Plain text.
    Plain,
    /// ANSI colours.
    Colour,
}

impl Ink {
    fn paint(self, text: &str, severity: Option<Severity>) -> String {
        let code = match severity {
            None => 32,
            Some(Severity::Note) => 36,
            Some(Severity::Warning) => 33,
            Some(Severity::Error) => 31,
        };
        if self == Self::Plain { text.to_owned() } else { format!("\u{1b}[{code}m{text}\u{1b}[0m") }
    }
}

/// The findings in lines of 80 columns: first what is wrong, the worst first, then what is well, in a line each.
#[must_use]
pub fn text(examined: &Examined, ink: Ink) -> String {
    let plan = examined.plan;
    let connections = counted(grouped(plan.connections), "connection");
    let (shards, memory) = (counted(plan.shards, "shard"), size(plan.memory_bytes));
    let mut out = format!("For {connections}, {shards}, {memory} of memory\n\n");
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        for finding in &examined.findings {
            let Some(answer) = finding.answer.as_ref() else { continue };
            let Some((found, fix)) = &answer.fault else { continue };
            if *found == severity {
                let word = ink.paint(&format!("{:<INDENT$}", severity.word()), Some(severity));
                out.push_str(&format!("{word}{}\n{}\n", finding.row.name, details(finding.row, answer, fix)));
            }
        }
    }
    for finding in &examined.findings {
        let Some(answer) = finding.answer.as_ref().filter(|answer| answer.fault.is_none()) else { continue };
        let line = labelled("ok", &format!("{} {}", finding.row.name, answer.seen));
        out.push_str(&line.replacen("ok", &ink.paint("ok", None), 1));
    }
    let absent: Vec<&str> = absent(&examined.findings).collect();
    if !absent.is_empty() {
        out.push_str(&labelled("not here", &absent.join(", ")));
    }
    let counts = [Severity::Error, Severity::Warning, Severity::Note].map(|severity| {
        let count = examined.count(severity);
        format!("{count} {}{}", severity.word(), if count == 1 { "" } else { "s" })
    });
    let _infallible = writeln!(out, "\n{}", counts.join(", "));
    out
}

fn details(row: &Row, answer: &Answer, fix: &str) -> String {
    let seen = format!("{} ({})", answer.seen, answer.place);
    [("  read", seen.as_str()), ("  wanted", &answer.wanted), ("  why", row.why), ("  fix", fix)]
        .map(|(label, text)| labelled(label, text))
        .concat()
}

/// A label and its text beside it, over as many lines as it takes.
fn labelled(label: &str, text: &str) -> String {
    let mut out = String::new();
    for (index, line) in wrapped(text, INDENT).into_iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        let _infallible = writeln!(out, "{label:<INDENT$}{line}");
    }
    out
}

fn absent(findings: &[Finding]) -> impl Iterator<Item = &'static str> {
    findings.iter().filter(|finding| finding.answer.is_none()).map(|finding| finding.row.name)
}

/// The findings as one JSON object.
#[must_use]
pub fn json(examined: &Examined) -> Value {
    let checks = examined.findings.iter().filter_map(|finding| {
        let answer = finding.answer.as_ref()?;
        let fault = answer.fault.as_ref();
        Some(json!({
            "name": finding.row.name,
            "severity": fault.map_or("ok", |(severity, _)| severity.word()),
            "place": answer.place,
            "seen": answer.seen,
            "wanted": answer.wanted,
            "why": finding.row.why,
            "fix": fault.map(|(_, fix)| fix),
        }))
    });
    let plan = examined.plan;
    json!({
        "plan": { "connections": plan.connections, "shards": plan.shards, "memory_bytes": plan.memory_bytes },
        "errors": examined.count(Severity::Error),
        "warnings": examined.count(Severity::Warning),
        "notes": examined.count(Severity::Note),
        "checks": checks.collect::<Vec<_>>(),
        "absent": absent(&examined.findings).collect::<Vec<_>>(),
    })
}

/// The table's rows, one a line.
#[must_use]
pub fn list() -> String {
    let mut out = String::new();
    for row in TABLE.iter().copied().flatten() {
        let applied = if row.setting.is_some() { "applied" } else { "" };
        let _infallible = writeln!(out, "{:<36} {:<8} {applied}", row.name, row.severity.word());
    }
    out
}

/// Everything that the table says of one row.
#[must_use]
pub fn explain(row: &Row) -> String {
    let set = row.setting.map_or("not by tune apply", |_| "by tune apply, in sysctl.d");
    let lines = [
        ("reads", row.reads),
        ("wanted", row.wanted),
        ("worst", row.severity.word()),
        ("why", row.why),
        ("costs", row.cost),
        ("set", set),
        ("undo", row.undo),
    ];
    format!("{}\n{}", row.name, lines.map(|(label, text)| labelled(&format!("  {label}"), text)).concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::words::COLUMNS;

    #[test]
    fn what_is_explained_and_listed_fits_a_terminal() {
        for row in TABLE.iter().copied().flatten() {
            let text = explain(row);
            assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
            assert!(text.contains(row.name) && text.lines().count() >= 8, "{text}");
        }
        assert!(list().lines().all(|line| line.len() <= COLUMNS));
        assert_eq!(list().lines().count(), TABLE.iter().map(|rows| rows.len()).sum::<usize>());
    }

    #[test]
    fn colour_is_only_where_it_is_asked_for() {
        assert_eq!(Ink::Plain.paint("x", Some(Severity::Error)), "x");
        assert_eq!(Ink::Colour.paint("x", Some(Severity::Error)), "\u{1b}[31mx\u{1b}[0m");
    }
}
