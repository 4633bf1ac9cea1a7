//! Objectives: what a run must reach, as expressions over the names of `metrics`, and what came of them.
//!
//! `delivery.p99<100ms`: a name, an operator, a number with a unit. What is wrong in one is found before the run, with
//! the place. An objective about a figure that was not measured is not met. `expression` reads one, `watch` ends a run
//! that is broken for long.

mod expression;
mod watch;

use serde::{Deserialize, Serialize};

use crate::limits::{SLO_ABORT_S_MAX, SLOS_COUNT_MAX};
use crate::metrics::{Definition, Metrics, definitions};
use crate::report::SloReport;
use crate::scenario::Scenario;

pub use expression::{Operator, Slo};
pub use watch::Watch;

/// The files of objectives that come with the program, by name.
pub const SHIPPED: [(&str, &str); 2] =
    [("seeds", include_str!("../slo/seeds.toml")), ("faultless", include_str!("../slo/faultless.toml"))];

/// Objectives as a scenario's `[slo]` or a file has them.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Expressions.
    #[serde(default)]
    pub expect: Vec<String>,
    /// End the run once one of them is broken for so many seconds.
    #[serde(default)]
    pub abort_after_s: Option<f64>,
}

/// Objectives of a run, all of them understood.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Objectives {
    slos: Vec<Slo>,
    abort_after_s: Option<f64>,
}

impl Written {
    /// Reads a file, or one of those that come with the program by its name.
    ///
    /// # Errors
    /// There is no such file, or it is no file of objectives.
    pub fn load(name: &str) -> Result<Self, String> {
        let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
        let text = match shipped {
            Some((_, text)) => (*text).to_owned(),
            None => std::fs::read_to_string(name).map_err(|error| format!("{name}: {error}"))?,
        };
        toml::from_str(&text).map_err(|error| format!("{name}: {error}"))
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Objectives {
    /// Understands objectives from several sources, each with its name; for the time to abort the last source that
    /// has one counts.
    ///
    /// # Errors
    /// Says where, what is wrong and what it must be.
    pub fn new(scenario: &Scenario, sources: &[(&str, &Written)]) -> Result<Self, String> {
        let groups: Vec<&str> = scenario.group.iter().map(|group| group.name.as_str()).collect();
        let known = definitions(&groups);
        let mut objectives = Self::default();
        for (source, written) in sources {
            objectives.add(source, written, &known)?;
        }
        Ok(objectives)
    }

    fn add(&mut self, source: &str, written: &Written, known: &[Definition]) -> Result<(), String> {
        for text in &written.expect {
            if self.slos.len() == SLOS_COUNT_MAX {
                return Err(format!("{source}: more than {SLOS_COUNT_MAX} objectives"));
            }
            let slo = Slo::parse(text, known);
            self.slos.push(slo.map_err(|fault| format!("{source} {text:?}, {fault}"))?);
        }
        if let Some(after_s) = written.abort_after_s {
            if !(after_s > 0.0 && after_s <= SLO_ABORT_S_MAX) {
                return Err(format!("{source}: abort_after_s {after_s} must be above 0 and at most {SLO_ABORT_S_MAX}"));
            }
            self.abort_after_s = written.abort_after_s;
        }
        Ok(())
    }

    /// Whether each was met.
    #[must_use]
    pub fn judge(&self, metrics: &Metrics) -> Vec<SloReport> {
        self.slos.iter().map(|slo| slo.judge(metrics)).collect()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slos.is_empty()
    }
}

#[cfg(test)]
mod tests;
