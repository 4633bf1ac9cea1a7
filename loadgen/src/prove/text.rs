//! The table of targets, for a terminal and as markdown.

use std::fmt::{self, Write as _};

use crate::metrics::Unit;
use crate::prove::{Extent, Proof, TargetReport, Verdict};
use crate::report::{Environment, escaped};

impl TargetReport {
    /// What is asked for, each objective once.
    pub(super) fn asked(&self) -> String {
        distinct(self.slos.iter().map(|(_, slo)| slo.slo.clone())).join(", ")
    }

    /// What was measured, for each objective the values of its runs.
    pub(super) fn measured(&self) -> String {
        let of = |asked: &String| {
            let values = self.slos.iter().filter(|(_, slo)| slo.slo == *asked).map(|(_, slo)| {
                let unit = Unit::of_name(&slo.unit).unwrap_or(Unit::Count);
                slo.measured.map_or_else(|| "not measured".to_owned(), |value| unit.show(value).to_string())
            });
            distinct(values).join(" and ")
        };
        distinct(self.slos.iter().map(|(_, slo)| slo.slo.clone())).iter().map(of).collect::<Vec<_>>().join(", ")
    }
}

fn distinct(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for one in all {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

impl Proof {
    /// The table as markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = "| | target | documents | held to | measured |\n|---|---|---|---|---|\n".to_owned();
        for target in &self.targets {
            let TargetReport { what, documents, verdict, .. } = target;
            let scaled = if target.scaled { " (scaled)" } else { "" };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {verdict} | {what} | {documents} | `{}`{scaled} | {} |",
                target.asked().replace(", ", "` `"),
                target.measured()
            );
        }
        for line in self.remarks() {
            let _ = write!(text, "\n- {line}");
        }
        let _ = writeln!(text, "\n\n**{}**", self.conclusion());
        if let Some(Environment { processor, cores_count, kernel, started, .. }) = &self.environment {
            let (processor, kernel) = (escaped(processor), escaped(kernel));
            let command = self.flags.join(" ").replace('`', "'");
            let _ =
                writeln!(text, "\n`loadgen {command}`, {processor}, {cores_count} cores, Linux {kernel}, {started}.");
        }
        text
    }

    /// What it comes to, in one line.
    #[must_use]
    pub fn conclusion(&self) -> String {
        let count = |verdict: Verdict| self.targets.iter().filter(|target| target.verdict == verdict).count();
        let (met, missed, invalid) = (count(Verdict::Met), count(Verdict::Missed), count(Verdict::Invalid));
        let mut text = format!("{met} of {} targets met", self.targets.len());
        if missed > 0 {
            let _ = write!(text, ", {missed} MISSED");
        }
        if invalid > 0 {
            let _ = write!(text, ", {invalid} not judged, since a run was invalid");
        }
        text
    }

    /// What the table does not say.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.extent == Extent::Short {
            let scaled: Vec<&str> =
                self.targets.iter().filter(|target| target.scaled).map(|of| of.what.as_str()).collect();
            remarks.push(format!("the short form: fewer connections and less time; scaled: {}", scaled.join(", ")));
        }
        for run in &self.runs {
            for objection in &run.objections {
                remarks.push(format!("run {}: {objection}", run.name));
            }
            if let Some(reason) = &run.invalid {
                remarks.push(format!("run {} is invalid: {reason}", run.name));
            }
            remarks.extend(run.warnings.iter().map(|warning| format!("run {}: {warning}", run.name)));
        }
        remarks
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "✓",
            Self::Missed => "✗",
            Self::Invalid => "?",
        })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[String; 3]> = self
            .targets
            .iter()
            .map(|target| {
                let scaled = if target.scaled { " (scaled)" } else { "" };
                [target.what.clone(), format!("{}{scaled}", target.asked()), target.measured()]
            })
            .collect();
        let title = ["target", "held to", "measured"].map(str::to_owned);
        let width =
            |column: usize| rows.iter().chain([&title]).map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (what, asked) = (width(0), width(1));
        writeln!(f, "  {:<what$}  {:<asked$}  {}", title[0], title[1], title[2])?;
        for (target, [name, held, measured]) in self.targets.iter().zip(&rows) {
            writeln!(f, "{} {name:<what$}  {held:<asked$}  {measured}", target.verdict)?;
            writeln!(f, "  {:<what$}  {}", "", target.documents)?;
        }
        for line in self.remarks() {
            writeln!(f, "- {line}")?;
        }
        writeln!(f, "{}", self.conclusion())
    }
}
