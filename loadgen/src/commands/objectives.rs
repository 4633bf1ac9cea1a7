//! The objectives of a run on the command line.

use clap::Args;
use loadgen::metrics::definitions;
use loadgen::scenario::Scenario;
use loadgen::slo::{Objectives, Written};

/// What a run must reach; the scenario's own objectives are held too.
#[derive(Debug, Args)]
pub(crate) struct Slos {
    /// What the run must reach, as in 'delivery.p99<100ms'; exit with 99 if it does not. `loadgen metrics` names what
    /// can be asked for.
    #[arg(long = "slo", value_name = "EXPRESSION")]
    expect: Vec<String>,
    /// File of objectives, or the name of one that comes with the program.
    #[arg(long = "slo-file", value_name = "FILE")]
    files: Vec<String>,
    /// End the run once an objective is broken for so many seconds.
    #[arg(long = "slo-abort", value_name = "SECONDS")]
    abort_after_s: Option<f64>,
}

impl Slos {
    /// All objectives of a run of this scenario.
    pub(crate) fn of(&self, scenario: &Scenario) -> Result<Objectives, String> {
        let flags = Written { expect: self.expect.clone(), abort_after_s: self.abort_after_s };
        let files = self.files.iter().map(|file| Written::load(file));
        let files: Vec<Written> = files.collect::<Result<_, String>>()?;
        let mut sources = vec![("scenario's slo", &scenario.slo)];
        sources.extend(self.files.iter().map(String::as_str).zip(&files));
        sources.push(("--slo", &flags));
        Objectives::new(scenario, &sources)
    }
}

/// The names that objectives and comparisons are about.
pub(crate) fn names() -> String {
    let mut text = String::new();
    for definition in definitions(&["<group>"]) {
        text += &format!("{:<34}{:<7}{}\n", definition.name, definition.unit.name(), definition.meaning);
    }
    text
}
