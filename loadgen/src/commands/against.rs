//! `loadgen against`: one scenario, several servers, one table.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use loadgen::against::{Against as Plan, Entrant};
use loadgen::scenario::Scenario;

/// Runs one scenario against several servers in turn and puts them side by side.
#[derive(Debug, Args)]
pub(crate) struct Against {
    /// A scenario's name or file.
    #[arg(long, default_value = "beside")]
    scenario: String,
    /// A server: name=adapter@ws://host:port, with ,pid=N or ,start='COMMAND' behind it.
    #[arg(long = "target", required = true)]
    targets: Vec<String>,
    /// Runs of each; with fewer than 5 there are no intervals, and no differences are shown.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// File with one token per line, for those that ask for one.
    #[arg(long)]
    tokens: Option<PathBuf>,
    /// Write the table as markdown.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Write a page for people.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write all runs as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Change the scenario: key=value for it or all its groups, group.N.key=value or phase.N.key=value for one.
    #[arg(long = "set")]
    changes: Vec<String>,
    /// Core for the generator.
    #[arg(long)]
    cpu: Option<usize>,
    /// Core for the servers that are started.
    #[arg(long)]
    server_cpu: Option<usize>,
}

impl Against {
    pub(crate) fn execute(&self, out: &mut dyn Write) -> Result<u8, String> {
        let scenario = Scenario::load(&self.scenario, &self.changes)?;
        let tokens = crate::tokens(self.tokens.as_ref())?;
        let entrants =
            self.targets.iter().map(|target| Entrant::parse(target, &tokens)).collect::<Result<Vec<_>, _>>()?;
        let plan = Plan { entrants, repeats: self.repeats, server_cpu: self.server_cpu };
        plan.check()?;
        if let Some(cpu) = self.cpu {
            loadgen::socket::pin(cpu)?;
        }
        let outcome = plan.run(&scenario, out)?;
        write!(out, "\n{outcome}").map_err(|error| format!("cannot write the result: {error}"))?;
        let save = |path: &PathBuf, text: String| {
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        if let Some(path) = &self.markdown {
            save(path, outcome.to_string())?;
        }
        if let Some(path) = &self.html {
            save(path, outcome.html())?;
        }
        if let Some(path) = &self.json {
            let text =
                serde_json::to_string_pretty(&outcome).map_err(|error| format!("{}: {error}", path.display()))?;
            save(path, text + "\n")?;
        }
        Ok(outcome.exit_code())
    }
}
