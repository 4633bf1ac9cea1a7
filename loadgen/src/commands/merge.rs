//! `loadgen merge`: results of several processes or hosts as one.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use loadgen::merge;
use loadgen::metrics::Metrics;
use loadgen::report::{Report, RunDirectory};

use crate::commands::Slos;

/// Puts results of several processes or hosts together, each of which drove a part of one run.
#[derive(Debug, Args)]
#[command(after_help = "loadgen run --scenario trips-10k --part 1/2 --out part1   (on one host)\n\
    loadgen run --scenario trips-10k --part 2/2 --out part2   (on another)\n\
    loadgen merge part1 part2 --out both --slo 'delivery.p99<100ms'")]
pub(crate) struct Merge {
    /// Run directories or summary.json files, one of each part.
    #[arg(required = true, value_name = "DIR")]
    results: Vec<PathBuf>,
    /// Directory for the result.
    #[arg(long, value_name = "DIR")]
    out: String,
    /// Write over a result that the directory has.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    slos: Slos,
}

impl Merge {
    pub(crate) fn execute(&self, out: &mut dyn Write) -> Result<u8, String> {
        let results = self.results.iter().map(|path| Ok((path.display().to_string(), Report::load(path)?)));
        let mut report = merge::results(results.collect::<Result<_, String>>()?)?;
        report.slos = self.slos.of(&report.scenario)?.judge(&Metrics::new(&report));
        report.flags = loadgen::report::without_secrets(std::env::args().skip(1));
        write!(out, "{report}").map_err(|error| format!("cannot write the result: {error}"))?;
        RunDirectory::prepare(&self.out, &report.scenario.name, self.force)?.write(&report)?;
        Ok(report.exit_code())
    }
}
