//! A suite as written, and as it can be run.

use serde::{Deserialize, Serialize};

use crate::limits::SUITE_ROWS_COUNT_MAX;
use crate::scenario::Scenario;
use crate::slo::{Objectives, Written};

/// A suite as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// What is run.
    pub run: Vec<Run>,
    /// What is to be shown.
    pub target: Vec<Target>,
}

/// One run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its name in this file.
    pub name: String,
    /// A scenario's name or file.
    pub scenario: String,
    /// Changes to it, as `--set` takes them.
    #[serde(default)]
    pub set: Vec<String>,
    /// Further changes for the short form.
    #[serde(default)]
    pub short: Vec<String>,
}

/// One target.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What it is, for people.
    pub what: String,
    /// Where the figure stands.
    pub documents: String,
    /// Names of the runs that show it.
    pub runs: Vec<String>,
    /// Objectives that each of them must meet.
    pub expect: Vec<String>,
    /// Those of the short form, if it asks for less.
    #[serde(default)]
    pub short: Option<Vec<String>>,
}

/// How much of a suite is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    /// All.
    Full,
    /// The short form.
    Short,
}

/// A suite that was understood.
#[derive(Debug)]
pub struct Prepared {
    pub(super) extent: Extent,
    pub(super) runs: Vec<PreparedRun>,
    pub(super) targets: Vec<PreparedTarget>,
}

#[derive(Debug)]
pub(super) struct PreparedRun {
    pub(super) name: String,
    pub(super) scenario: Scenario,
}

#[derive(Debug)]
pub(super) struct PreparedTarget {
    pub(super) what: String,
    pub(super) documents: String,
    pub(super) scaled: bool,
    /// By the name of the run.
    pub(super) objectives: Vec<(String, Objectives)>,
}

impl Suite {
    /// Reads a suite.
    ///
    /// # Errors
    /// Says which key is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let suite: Self = toml::from_str(text).map_err(|error| format!("suite: {error}"))?;
        for (kind, count) in [("runs", suite.run.len()), ("targets", suite.target.len())] {
            if count == 0 || count > SUITE_ROWS_COUNT_MAX {
                return Err(format!("suite: {count} {kind}: must be 1 to {SUITE_ROWS_COUNT_MAX}"));
            }
        }
        Ok(suite)
    }

    /// Understands everything in it, with `changes` on top of each run's own.
    ///
    /// # Errors
    /// Says which run or target is wrong, and what it must be.
    pub fn prepare(&self, extent: Extent, changes: &[String]) -> Result<Prepared, String> {
        let mut runs: Vec<PreparedRun> = Vec::new();
        for run in &self.run {
            if run.name.is_empty() || runs.iter().any(|earlier| earlier.name == run.name) {
                return Err(format!("suite: run {:?} must have a name of its own", run.name));
            }
            let short = if extent == Extent::Short { &run.short[..] } else { &[] };
            let all: Vec<String> = run.set.iter().chain(short).chain(changes).cloned().collect();
            let scenario = Scenario::load(&run.scenario, &all);
            let scenario = scenario.map_err(|error| format!("suite: run {:?}: {error}", run.name))?;
            runs.push(PreparedRun { name: run.name.clone(), scenario });
        }
        let targets = self.target.iter().map(|target| {
            target.prepare(extent, &runs).map_err(|error| format!("suite: target {:?}: {error}", target.what))
        });
        let targets: Vec<PreparedTarget> = targets.collect::<Result<_, String>>()?;
        Ok(Prepared { extent, runs, targets })
    }
}

impl Prepared {
    /// Connections of the largest run.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.runs.iter().map(|run| run.scenario.connections_count()).max().unwrap_or(0)
    }
}

impl Target {
    fn prepare(&self, extent: Extent, runs: &[PreparedRun]) -> Result<PreparedTarget, String> {
        let scaled = extent == Extent::Short && self.short.is_some();
        let expect = self.short.as_ref().filter(|_| scaled).unwrap_or(&self.expect);
        if self.runs.is_empty() || expect.is_empty() {
            return Err("runs and expect must not be empty".to_owned());
        }
        let written = Written { expect: expect.clone(), abort_after_s: None };
        let objectives = self.runs.iter().map(|name| {
            let run = runs.iter().find(|run| run.name == *name).ok_or_else(|| format!("there is no run {name:?}"))?;
            Ok((name.clone(), Objectives::new(&run.scenario, &[("expect", &written)])?))
        });
        Ok(PreparedTarget {
            what: self.what.clone(),
            documents: self.documents.clone(),
            scaled,
            objectives: objectives.collect::<Result<_, String>>()?,
        })
    }
}
