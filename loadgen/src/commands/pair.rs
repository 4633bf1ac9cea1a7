//! `loadgen pair`: one contest of two servers, or a file of them.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use loadgen::pair::{Contest, Suite};
use loadgen::scenario::Scenario;

use crate::Wanted;

/// Runs one scenario against two servers in turn and compares their processor time per delivery.
#[derive(Debug, Args)]
pub(crate) struct Pair {
    /// A scenario's name or file.
    #[arg(long, required_unless_present = "suite")]
    scenario: Option<String>,
    /// File of scenarios, each with its bound.
    #[arg(long, conflicts_with_all = ["scenario", "bound"])]
    suite: Option<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
    /// Command that starts the first server.
    #[arg(long)]
    a: String,
    /// Command that starts the second server, on the same address.
    #[arg(long)]
    b: String,
    /// Runs of each, 10 by default; with a suite, instead of what it says.
    #[arg(long)]
    pairs: Option<usize>,
    /// Exit with 3 if the upper 95 % bound of the median ratio is above this.
    #[arg(long)]
    bound: Option<f64>,
    /// Core for the servers.
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// Write the table as markdown.
    #[arg(long, requires = "suite")]
    markdown: Option<PathBuf>,
}

impl Pair {
    pub(crate) fn execute(&self, out: &mut dyn Write) -> Result<u8, String> {
        let pairs = self.pairs.unwrap_or(10);
        let contest = Contest { commands: [&self.a, &self.b], pairs, cpu: Some(self.server_cpu) };
        let mut setting = self.wanted.setting()?;
        let told = |error: std::io::Error| format!("cannot write the result: {error}");
        if let Some(path) = &self.suite {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let mut suite = Suite::parse(&text)?;
            suite.pairs = self.pairs.unwrap_or(suite.pairs);
            let result = suite.run(contest, &self.wanted.changes(), &mut setting, out)?;
            write!(out, "\n{result}").map_err(told)?;
            self.wanted.write_json(&result)?;
            if let Some(path) = &self.markdown {
                std::fs::write(path, result.markdown()).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            return Ok(result.exit_code());
        }
        let scenario: Scenario = self.wanted.scenario(self.scenario.as_deref().unwrap_or_default())?;
        let comparison = contest.run(&scenario, &mut setting, self.bound, out)?;
        writeln!(out, "{comparison}").map_err(told)?;
        self.wanted.write_json(&comparison)?;
        Ok(comparison.exit_code())
    }
}
