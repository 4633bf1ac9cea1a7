//! `loadgen pair`: one contest of two servers, or a file of them.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use loadgen::engine::Target;
use loadgen::limits::SLICE_MS;
use loadgen::live::Stop;
use loadgen::pair::{Contest, Slicing, Suite};
use loadgen::plan::Setting;
use loadgen::scenario::Scenario;

use crate::Wanted;

/// Runs one scenario against two servers in turn and compares their processor time per delivery: in slices of some
/// milliseconds if each has an address of its own, else one as a whole after the other.
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
    /// Command that starts the second server.
    #[arg(long)]
    b: String,
    /// The second server's address, if it has one of its own; both then run in slices.
    #[arg(long, value_name = "URL")]
    url_b: Option<String>,
    /// Tokens for the second server, if they are others.
    #[arg(long, value_name = "FILE")]
    tokens_b: Option<PathBuf>,
    /// Length of a slice, 500ms by default; 0 runs one server as a whole after the other.
    #[arg(long, value_parser = Slicing::parse)]
    slice: Option<Duration>,
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
        let mut settings = self.settings()?;
        let slicing = self.slicing(&settings)?;
        let contest =
            Contest { commands: [&self.a, &self.b], pairs, cpu: Some(self.server_cpu), slicing: slicing.as_ref() };
        if slicing.is_none() && self.url_b.is_none() {
            // Advice that cannot be written is no reason to stop.
            let _ = writeln!(out, "{WHOLE}");
        }
        let told = |error: std::io::Error| format!("cannot write the result: {error}");
        if let Some(path) = &self.suite {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let mut suite = Suite::parse(&text)?;
            suite.pairs = self.pairs.unwrap_or(suite.pairs);
            let result = suite.run(contest, &self.wanted.changes(), &mut settings, out)?;
            write!(out, "\n{result}").map_err(told)?;
            self.wanted.write_json(&result)?;
            if let Some(path) = &self.markdown {
                std::fs::write(path, result.markdown()).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            return Ok(result.exit_code());
        }
        let scenario: Scenario = self.wanted.scenario(self.scenario.as_deref().unwrap_or_default())?;
        let comparison = contest.run(&scenario, &mut settings, self.bound, out)?;
        writeln!(out, "{comparison}").map_err(told)?;
        self.wanted.write_json(&comparison)?;
        Ok(comparison.exit_code())
    }

    /// What both runs of a pair need; they end together.
    fn settings(&self) -> Result<[Setting; 2], String> {
        let stop = Stop::on_every_signal().map_err(|error| format!("cannot watch for signals: {error}"))?;
        let a = Setting { stop: stop.clone(), ..self.wanted.setting()? };
        let mut b = Setting { stop, ..self.wanted.setting()? };
        if let Some(url) = &self.url_b {
            b.target = Target::parse(url)?;
        }
        if self.tokens_b.is_some() {
            b.tokens = crate::tokens(self.tokens_b.as_ref())?;
        }
        Ok([a, b])
    }

    /// How both run in slices, if they do.
    fn slicing(&self, settings: &[Setting; 2]) -> Result<Option<Slicing>, String> {
        let apart = settings[0].target.address != settings[1].target.address;
        let usual = Duration::from_millis(if apart { SLICE_MS } else { 0 });
        let slice = self.slice.unwrap_or(usual);
        if slice.is_zero() {
            return Ok(None);
        }
        if !apart {
            let address = settings[0].target.address;
            return Err(format!("both servers are to be at {address}: for slices --url-b must name another address"));
        }
        if settings[0].threads > 1 {
            return Err(format!("{} threads: must be 1 for slices; --slice 0 does without", settings[0].threads));
        }
        let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let url_b = self.url_b.as_ref().unwrap_or(&self.wanted.url);
        let tokens_b = self.tokens_b.as_ref().or(self.wanted.tokens.as_ref());
        let flags = [
            self.wanted.handed_on(&self.wanted.url, self.wanted.tokens.as_ref()),
            self.wanted.handed_on(url_b, tokens_b),
        ];
        Ok(Some(Slicing { program, slice, flags }))
    }
}

/// What is said when slices could be had and are not.
const WHOLE: &str = "both servers have one address, so one runs as a whole after the other and the machine's drift is in \
                     each ratio; with --url-b they run in slices";
