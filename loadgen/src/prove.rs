//! What the gateway promises, shown in one go: a suite of runs, and targets that their figures must reach.
//!
//! A suite is a file; the one that comes with the program has the figures of the gateway's documents. Everything in it
//! is understood before the first run. Each run has a server of its own if the program starts it, so that a run's
//! memory is that run's. `suite` reads the file, `text` and `page` show the outcome.

mod page;
mod suite;
mod text;

use std::io::Write;

use serde::Serialize;

use crate::launch::Launched;
use crate::metrics::Metrics;
use crate::plan::{self, Setting};
use crate::process::Process;
use crate::report::{Environment, Report, SloReport};
use crate::scenario::Scenario;
use crate::words::counted;

pub use suite::{Extent, Prepared, Suite, Target};

/// The suite that comes with the program.
pub const SHIPPED: &str = include_str!("../slo/prove.toml");

/// The server that is to prove itself.
#[derive(Debug, Clone, Copy)]
pub enum Host<'a> {
    /// One that runs, as the setting says.
    Running,
    /// Started for each run by this command, on this core if any.
    Started(&'a str, Option<usize>),
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Proof {
    /// How much of the suite was run.
    pub extent: Extent,
    /// Targets, in the suite's order.
    pub targets: Vec<TargetReport>,
    /// The runs, by name.
    pub runs: Vec<RunReport>,
    /// The machine, as it was before the first run.
    pub environment: Option<Environment>,
    /// What the command line said, without its secrets.
    pub flags: Vec<String>,
}

/// One target and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetReport {
    /// What it is, for people.
    pub what: String,
    /// Where the figure stands.
    pub documents: String,
    /// Whether the short form asks for less.
    pub scaled: bool,
    /// Each objective in each of its runs.
    pub slos: Vec<(String, SloReport)>,
    /// What they say together.
    pub verdict: Verdict,
}

/// What a target's objectives say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All are met.
    Met,
    /// One is not.
    Missed,
    /// A run of it was invalid: its figures say nothing.
    Invalid,
}

/// One run, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// Its name in the suite.
    pub name: String,
    /// The scenario's name.
    pub scenario: String,
    /// What the checks objected to.
    pub objections: Vec<String>,
    /// Why it says nothing, if it does not.
    pub invalid: Option<String>,
    /// What of the machine makes figures worse.
    pub warnings: Vec<String>,
}

impl Prepared {
    /// Makes all runs and judges all targets, telling `progress` of each run and giving each report to `on_report`.
    ///
    /// # Errors
    /// A server did not start, a run could not be made, or `on_report` refuses.
    pub fn prove(
        &self,
        host: Host<'_>,
        setting: &mut Setting,
        progress: &mut dyn Write,
        on_report: &mut dyn FnMut(&str, &Report) -> Result<(), String>,
    ) -> Result<Proof, String> {
        let (mut runs, mut environment) = (Vec::new(), None);
        let mut judged: Vec<Vec<(String, SloReport)>> = vec![Vec::new(); self.targets.len()];
        for run in &self.runs {
            let (name, scenario) = (&run.name, &run.scenario);
            // Progress that cannot be written is no reason to stop.
            let connections = counted(scenario.connections_count(), "connection");
            let _ = writeln!(progress, "run {name}: {}, {connections}", scenario.name);
            let mut report = host.run(scenario, setting).map_err(|error| format!("run {name}: {error}"))?;
            let metrics = Metrics::new(&report);
            for (target, judged) in self.targets.iter().zip(&mut judged) {
                let slos = target.objectives.iter().filter(|(of, _)| of == name);
                let met: Vec<SloReport> = slos.flat_map(|(_, objectives)| objectives.judge(&metrics)).collect();
                report.slos.extend(met.iter().filter(|slo| !report.slos.contains(slo)).cloned().collect::<Vec<_>>());
                judged.extend(met.into_iter().map(|slo| (name.clone(), slo)));
            }
            on_report(name, &report)?;
            runs.push(RunReport {
                name: name.clone(),
                scenario: scenario.name.clone(),
                objections: report.objections(),
                invalid: report.invalid.clone(),
                warnings: report.environment.warnings.clone(),
            });
            environment.get_or_insert(report.environment);
        }
        let targets = self.targets.iter().zip(judged).map(|(target, slos)| TargetReport {
            what: target.what.clone(),
            documents: target.documents.clone(),
            scaled: target.scaled,
            verdict: Verdict::new(&slos, &runs),
            slos,
        });
        let targets = targets.collect();
        Ok(Proof { extent: self.extent, targets, runs, environment, flags: Vec::new() })
    }
}

impl Verdict {
    fn new(slos: &[(String, SloReport)], runs: &[RunReport]) -> Self {
        let valid = |name: &str| runs.iter().any(|run| run.name == name && run.invalid.is_none());
        if slos.iter().any(|(run, slo)| valid(run) && !slo.met) {
            Self::Missed
        } else if slos.is_empty() || slos.iter().any(|(run, _)| !valid(run)) {
            Self::Invalid
        } else {
            Self::Met
        }
    }
}

impl Host<'_> {
    fn run(self, scenario: &Scenario, setting: &mut Setting) -> Result<Report, String> {
        let Host::Started(command, cpu) = self else { return plan::run(scenario, setting) };
        let server = Launched::start(command, cpu, setting.door())?;
        setting.server = Some(Process::new(server.id())?);
        let report = plan::run(scenario, setting)?;
        server.end()?;
        Ok(report)
    }
}

impl Proof {
    /// 0 all targets are met, 99 one is missed, 3 none is missed but a run was invalid.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let any = |verdict: Verdict| self.targets.iter().any(|target| target.verdict == verdict);
        if any(Verdict::Missed) {
            99
        } else if any(Verdict::Invalid) {
            3
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests;
