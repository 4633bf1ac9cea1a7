//! `loadgen run`: one scenario against one server, seen while it goes on, and its result.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use loadgen::baton::{Baton, Place};
use loadgen::deal::Part;
use loadgen::live::{Stop, View};
use loadgen::metrics::Metrics;
use loadgen::pair::Slicing;
use loadgen::plan::{self, Setting};
use loadgen::process::Process;
use loadgen::report::{Report, RunDirectory, append_step_summary, without_secrets};
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
    /// The gateway's program: what its doctor says of this machine goes into the result.
    #[arg(long, value_name = "FILE")]
    doctor: Option<PathBuf>,
    /// Drive only the I-th of N shares of the rooms: I/N; the others are driven by other processes or hosts.
    #[arg(long, value_parser = Part::parse, default_value = "1/1")]
    part: Part,
    /// Begin at this second of the day's clock, since 1970, so that several processes begin together.
    #[arg(long)]
    start_at: Option<u64>,
    #[command(flatten)]
    slos: Slos,
    /// Directory for the result, all its forms and the page; `auto` for one in `runs`, named by scenario and time.
    #[arg(long, value_name = "DIR")]
    out: Option<String>,
    /// Write over a result that the directory has.
    #[arg(long, requires = "out")]
    force: bool,
    /// Show lines while it runs, on a terminal too.
    #[arg(long)]
    no_tui: bool,
    /// Show nothing while it runs.
    #[arg(long, conflicts_with = "no_tui")]
    quiet: bool,
    /// Run in slices, in turn with another generator behind standard input, as the first or the second of the two: how
    /// `pair` runs both sides. --pid is then a process group, which is stopped between slices.
    #[arg(long, hide = true, value_parser = Place::parse, requires_all = ["slice", "pid"])]
    place: Option<Place>,
    /// Length of a slice.
    #[arg(long, hide = true, value_parser = Slicing::parse, requires = "place")]
    slice: Option<Duration>,
}

impl Run {
    pub(crate) fn execute(&self) -> Result<u8, String> {
        let scenario = self.wanted.scenario(&self.scenario)?;
        let objectives = self.slos.of(&scenario)?;
        let stop = Stop::on_signals().map_err(|error| format!("cannot watch for signals: {error}"))?;
        let view = match (self.quiet, self.no_tui) {
            (true, _) => View::Nothing,
            (false, true) => View::Lines,
            (false, false) => View::of_terminal(),
        };
        let server = self.pid.map(Process::new).transpose()?;
        let (watch, part, start_at) = (Watch::new(&objectives), self.part, self.start_at);
        let baton = match (self.place, self.slice, self.pid) {
            (Some(place), Some(slice), Some(pid)) => Some(Baton::from_stdin(place, pid, slice)?),
            _ => None,
        };
        let doctor = self.doctor.clone();
        let setting = Setting { server, view, stop, watch, part, start_at, doctor, baton, ..self.wanted.setting()? };
        // A directory that cannot be had is said before the run, not after.
        let out = self.out.as_deref().map(|out| RunDirectory::prepare(out, &scenario.name, self.force)).transpose()?;
        let mut report = plan::run(&scenario, &setting)?;
        let judged = objectives.judge(&Metrics::new(&report));
        report.slos.extend(judged);
        report.flags = without_secrets(std::env::args().skip(1));
        if self.wanted.json_to_stdout() {
            eprintln!("{report}");
        } else {
            println!("{report}");
        }
        self.wanted.write_text(|| report.to_json())?;
        if let Some(directory) = out {
            directory.write(&report)?;
            eprintln!("result in {}", directory.path().display());
            let step = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
            append_step_summary(&report, step.as_deref().map(Path::new))?;
        }
        Ok(report.exit_code())
    }
}

/// Makes the files of a result again from its summary.json.
#[derive(Debug, Args)]
pub(crate) struct Again {
    /// Directory of the result.
    directory: PathBuf,
}

impl Again {
    pub(crate) fn execute(&self) -> Result<u8, String> {
        let directory = RunDirectory::open(&self.directory)?;
        let report = Report::load(&self.directory)?;
        directory.write_derived(&report)?;
        println!("{report}");
        Ok(0)
    }
}
