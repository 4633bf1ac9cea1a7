//! A trial as a terminal shows it, and as markdown.

use std::fmt::{self, Write as _};

use super::report::{CrashReport, RoundReport};
use crate::metrics::Unit;
use crate::report::escaped;
use crate::stats::Names;
use crate::words::counted;

impl fmt::Display for RoundReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, unanswered, kept, restart_s, events, faults } = self;
        write!(
            f,
            "{acked} acknowledged, {unanswered} without an answer of which {kept} are kept, back in {restart_s:.2} s, \
             {} read, {} so far",
            counted(events, "event"),
            counted(faults, "fault")
        )
    }
}

impl CrashReport {
    /// What it comes to, by name.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let time = |value_us: f64| Unit::Microseconds.show(value_us).to_string();
        let Self { restart, ack_latency: ack, faults, .. } = self;
        let of = |count: u64, wanted: u64| format!("{count} of at least {wanted}");
        vec![
            ("kills", format!("{} of {}", self.kills, self.kills_wanted)),
            ("acknowledged", of(self.acked, self.acked_wanted)),
            ("lost", faults.lost.to_string()),
            ("doubled", faults.doubled.to_string()),
            ("reordered", faults.reordered.to_string()),
            ("numbers reused", faults.reused.to_string()),
            ("without an answer at a kill", self.unanswered.to_string()),
            ("of those kept", self.unacked_kept.to_string()),
            ("sent again", self.sent_again.to_string()),
            ("answered as duplicates", self.duplicates.to_string()),
            ("refused", self.refused.sum().to_string()),
            ("events read back", self.events_read.to_string()),
            ("restart, half", time(restart.p50_us)),
            ("restart, longest", time(restart.max_us)),
            ("acknowledgement, half", time(ack.p50_us)),
            ("acknowledgement, 99 of 100", time(ack.p99_us)),
        ]
    }

    /// The other faults, if there are any.
    fn other_faults(&self) -> String {
        let shown = ["lost", "doubled", "reordered", "numbers reused"];
        let others = self.faults.named().into_iter().filter(|(name, count)| *count > 0 && !shown.contains(name));
        others.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }

    fn cut(&self) -> &'static str {
        if self.power_cut { "each followed by a power cut" } else { "by SIGKILL" }
    }

    /// The trial as markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("## loadgen: crash {}\n\n", self.outcome);
        for objection in &self.objections {
            let _ = writeln!(text, "- {}", escaped(objection));
        }
        for finding in &self.findings {
            let _ = writeln!(text, "  - {}", escaped(&finding.to_string()));
        }
        text += "\n| | |\n|---|---:|\n";
        for (name, value) in self.rows() {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        let others = self.other_faults();
        if !others.is_empty() {
            let _ = writeln!(text, "| other faults | {others} |");
        }
        let environment = &self.environment;
        let _ = writeln!(
            text,
            "\n{}; kills {}; seed {}; {:.0} s.\n\n{}, {}, Linux {}, {}.",
            self.parties(),
            self.cut(),
            self.seed,
            self.took_s,
            escaped(&environment.processor),
            counted(environment.cores_count, "core"),
            escaped(&environment.kernel),
            escaped(&environment.started)
        );
        if let Some(version) = &self.server_version {
            let _ = writeln!(text, "\nThe server says it is {}.", escaped(version));
        }
        text
    }
}

impl CrashReport {
    /// Who took part.
    fn parties(&self) -> String {
        let (publishers, readers) = (counted(self.publishers, "publisher"), counted(self.readers, "reader"));
        format!("{publishers}, {readers}, {}", counted(self.channels, "channel"))
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "crash     {}, kills {}", self.parties(), self.cut())?;
        writeln!(f, "          on {}, seed {}, {:.1} s", self.environment.url, self.seed, self.took_s)?;
        if let Some(version) = &self.server_version {
            writeln!(f, "          the server says it is {version}")?;
        }
        for (name, value) in self.rows() {
            writeln!(f, "{name:<28}{value}")?;
        }
        let others = self.other_faults();
        if !others.is_empty() {
            writeln!(f, "{:<28}{others}", "other faults")?;
        }
        for (before, names) in [("refused", &self.refused), ("objected to", &self.errors), ("ended", &self.closes)] {
            write_names(f, before, names)?;
        }
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
        }
        match self.outcome.as_str() {
            "failed" => writeln!(f, "FAILED    {}", self.objections.join("; ")),
            "invalid" => writeln!(f, "INVALID   ended early"),
            _ => writeln!(f, "passed"),
        }
    }
}

fn write_names(f: &mut fmt::Formatter<'_>, before: &str, names: &Names) -> fmt::Result {
    for (name, count) in names.iter() {
        writeln!(f, "{before:<28}{name} {count}")?;
    }
    Ok(())
}
