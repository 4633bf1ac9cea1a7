//! `loadgen run`: one scenario against one server, seen while it goes on, and its result.

use clap::Args;
use loadgen::live::{Stop, View};
use loadgen::metrics::Metrics;
use loadgen::plan::{self, Setting};
use loadgen::process::Process;
use loadgen::report::without_secrets;
use loadgen::slo::Watch;

use crate::Wanted;
use crate::commands::Slos;

/// Runs one scenario.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A scenario's name or file.
    #[arg(long)]
    scenario: String,
    #[command(flatten)]
    wanted: Wanted,
    /// The server's process, to measure its processor time and memory.
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    slos: Slos,
    /// Show nothing while it runs.
    #[arg(long)]
    quiet: bool,
}

impl Run {
    pub(crate) fn execute(&self) -> Result<u8, String> {
        let scenario = self.wanted.scenario(&self.scenario)?;
        let objectives = self.slos.of(&scenario)?;
        let stop = Stop::on_signals().map_err(|error| format!("cannot watch for signals: {error}"))?;
        let view = if self.quiet { View::Nothing } else { View::Lines };
        let server = self.pid.map(Process::new).transpose()?;
        let setting = Setting { server, view, stop, watch: Watch::new(&objectives), ..self.wanted.setting()? };
        let mut report = plan::run(&scenario, &setting)?;
        let judged = objectives.judge(&Metrics::new(&report));
        report.slos.extend(judged);
        report.flags = without_secrets(std::env::args().skip(1));
        println!("{report}");
        self.wanted.write_text(|| report.to_json())?;
        Ok(report.exit_code())
    }
}
