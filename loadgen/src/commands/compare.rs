//! `loadgen compare`: results of runs that were made, or runs made here in turn.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use loadgen::compare::{Comparison, JUDGED, Run};
use loadgen::pair::Contest;
use loadgen::report::Report;

use crate::Wanted;

/// Compares two results, or two sets of them; exit with 3 if the second is worse.
#[derive(Debug, Args)]
#[command(after_help = "loadgen compare before/ after/\n\
    loadgen compare --a run1 run3 run5 run7 run9 --b run2 run4 run6 run8 run10\n\
    loadgen compare --scenario trips-10k --a-start 'old/waystation serve' --b-start 'new/waystation serve'")]
pub(crate) struct Compare {
    /// Two run directories or summary.json files.
    #[arg(num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["a", "b", "scenario"])]
    results: Vec<PathBuf>,
    /// Several of the first side.
    #[arg(long, num_args = 1.., requires = "b", conflicts_with = "scenario")]
    a: Vec<PathBuf>,
    /// Several of the second side.
    #[arg(long, num_args = 1.., requires = "a")]
    b: Vec<PathBuf>,
    /// A scenario's name or file, to be run here in turn: a b, b a, a b and so on.
    #[arg(long, requires_all = ["a_start", "b_start"])]
    scenario: Option<String>,
    /// Command that starts the first server.
    #[arg(long, value_name = "COMMAND")]
    a_start: Option<String>,
    /// Command that starts the second server, on the same address.
    #[arg(long, value_name = "COMMAND")]
    b_start: Option<String>,
    /// Runs of each; an interval takes five.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Core for the servers.
    #[arg(long)]
    server_cpu: Option<usize>,
    /// A change within this share is no difference.
    #[arg(long, default_value_t = 0.05)]
    tolerance: f64,
    /// Figure that decides the exit code, instead of the usual ones.
    #[arg(long = "judge", value_name = "NAME")]
    judged: Vec<String>,
    /// Write the table as markdown.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Write a page for people.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
}

impl Compare {
    pub(crate) fn execute(&self, out: &mut dyn Write) -> Result<u8, String> {
        let [a, b] = match (&self.scenario, self.results.as_slice()) {
            (Some(scenario), _) => self.run(scenario, out)?,
            (None, [a, b]) => [load(std::slice::from_ref(a))?, load(std::slice::from_ref(b))?],
            (None, _) if !self.a.is_empty() => [load(&self.a)?, load(&self.b)?],
            (None, _) => return Err("name two results, or --a and --b, or --scenario and the servers".to_owned()),
        };
        let judged: Vec<&str> = self.judged.iter().map(String::as_str).collect();
        let judged = if judged.is_empty() { &JUDGED[..] } else { &judged };
        let comparison = Comparison::new([&a, &b], self.tolerance, judged)?;
        write!(out, "{comparison}").map_err(|error| format!("cannot write the result: {error}"))?;
        self.wanted.write_json(&comparison)?;
        for (path, text) in [(&self.markdown, comparison.markdown()), (&self.html, comparison.html())] {
            let Some(path) = path else { continue };
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(comparison.exit_code())
    }

    fn run(&self, scenario: &str, out: &mut dyn Write) -> Result<[Vec<Run>; 2], String> {
        let commands = [&self.a_start, &self.b_start].map(|command| command.as_deref().unwrap_or_default());
        let contest = Contest { commands, pairs: self.repeats, cpu: self.server_cpu, slicing: None };
        let scenario = self.wanted.scenario(scenario)?;
        let mut settings = [self.wanted.setting()?, self.wanted.setting()?];
        let mut sides = [Vec::new(), Vec::new()];
        contest.each_pair(&scenario, &mut settings, &mut |pair, reports| {
            for ((side, report), name) in sides.iter_mut().zip(&reports).zip(["a", "b"]) {
                side.push(Run::new(&format!("{name}{}", pair + 1), report));
            }
            // Progress that cannot be written is no reason to stop.
            let _ = writeln!(out, "pair {} of {} is run", pair + 1, self.repeats);
            Ok(())
        })?;
        Ok(sides)
    }
}

fn load(paths: &[PathBuf]) -> Result<Vec<Run>, String> {
    paths.iter().map(|path| Ok(Run::new(&path.display().to_string(), &Report::load(path)?))).collect()
}
