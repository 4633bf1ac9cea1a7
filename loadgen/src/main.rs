//! `loadgen run` and `loadgen pair`: argv, the run, the report, the exit code.
//!
//! Exit codes: 0 passed, 1 a check failed, 2 bad usage or a machine that refuses, 3 the generator itself was too late or a
//! comparison came out worse than allowed, 99 an objective was not met.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports to its terminal")]

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use loadgen::adapter::{self, Adapter};
use loadgen::engine::Target;
use loadgen::plan::Setting;
use loadgen::scenario::{SHIPPED, Scenario};
use serde::Serialize;

/// Drives WebSocket connections against a server and checks every delivery.
#[derive(Debug, Parser)]
struct Flags {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Run(commands::Run),
    Compare(commands::Compare),
    Crash(commands::Crash),
    Merge(commands::Merge),
    Pair(commands::Pair),
    Against(commands::Against),
    Prove(commands::Prove),
    Report(commands::Again),
    /// Names the scenarios and adapters that come with the program.
    List,
    /// Names the figures that objectives and comparisons are about.
    Metrics,
}

#[derive(Debug, Args)]
struct Wanted {
    /// The server.
    #[arg(long, default_value = "ws://127.0.0.1:8000")]
    url: String,
    /// How the server is spoken to: an adapter's name or file.
    #[arg(long, default_value = "waystation")]
    adapter: String,
    /// File with one token per line, given out by connection number.
    #[arg(long)]
    tokens: Option<PathBuf>,
    /// Write the whole report as JSON; `-` for standard output, which then has nothing else.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Change the scenario: key=value for it or all its groups, group.N.key=value or phase.N.key=value for one.
    #[arg(long = "set")]
    changes: Vec<String>,
    /// Threads, each with rooms of its own; as many as --cpus names if that is given.
    #[arg(long)]
    threads: Option<usize>,
    /// Cores for the threads, in turn: 1,2,3.
    #[arg(long, visible_alias = "cpu", value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Poll without sleeping, so that sends are punctual.
    #[arg(long)]
    spin: bool,
}

fn main() -> ExitCode {
    match execute(Flags::parse().task) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("loadgen: {error}");
            ExitCode::from(2)
        }
    }
}

fn execute(task: Task) -> Result<u8, String> {
    match task {
        Task::Run(run) => run.execute(),
        Task::Metrics => {
            print!("{}", commands::names());
            Ok(0)
        }
        Task::Compare(compare) => compare.execute(&mut std::io::stdout()),
        Task::Crash(crash) => crash.execute(),
        Task::Report(again) => again.execute(),
        Task::Merge(merge) => merge.execute(&mut std::io::stdout()),
        Task::Pair(pair) => pair.execute(&mut std::io::stdout()),
        Task::Against(against) => against.execute(&mut std::io::stdout()),
        Task::Prove(prove) => prove.execute(&mut std::io::stdout()),
        Task::List => {
            for (title, shipped) in [("scenarios", &SHIPPED[..]), ("adapters", &adapter::SHIPPED[..])] {
                println!("{title}");
                for (name, text) in shipped {
                    println!("  {name:<14}{}", text.lines().next().unwrap_or("").trim_start_matches("# "));
                }
            }
            Ok(0)
        }
    }
}

impl Wanted {
    fn scenario(&self, name: &str) -> Result<Scenario, String> {
        Scenario::load(name, &self.changes())
    }

    /// What is changed in a scenario.
    fn changes(&self) -> Vec<String> {
        let spin = self.spin.then(|| "spin=true".to_owned());
        self.changes.iter().cloned().chain(spin).collect()
    }

    /// Everything but the server's process and the part of the run.
    fn setting(&self) -> Result<Setting, String> {
        let tokens = tokens(self.tokens.as_ref())?;
        let (target, adapter) = (Target::parse(&self.url)?, Adapter::load(&self.adapter)?);
        let threads = self.threads.unwrap_or_else(|| self.cpus.len().max(1));
        Ok(Setting { adapter, tokens, threads, cpus: self.cpus.clone(), ..Setting::new(target) })
    }

    /// The flags by which another process of this program does the same to a server at `url`, but for the scenario.
    fn handed_on(&self, url: &str, tokens: Option<&PathBuf>) -> Vec<String> {
        let mut flags = vec!["--url".to_owned(), url.to_owned(), "--adapter".to_owned(), self.adapter.clone()];
        if let Some(tokens) = tokens {
            flags.extend(["--tokens".to_owned(), tokens.display().to_string()]);
        }
        if !self.cpus.is_empty() {
            let cpus: Vec<String> = self.cpus.iter().map(usize::to_string).collect();
            flags.extend(["--threads".to_owned(), "1".to_owned(), "--cpus".to_owned(), cpus.join(",")]);
        }
        flags
    }

    fn write_json(&self, value: &impl Serialize) -> Result<(), String> {
        self.write_text(|| serde_json::to_string_pretty(value).map_err(|error| error.to_string()))
    }

    /// Whether standard output is for JSON alone.
    fn json_to_stdout(&self) -> bool {
        self.json.as_deref().is_some_and(|path| path == std::path::Path::new("-"))
    }

    fn write_text(&self, text: impl FnOnce() -> Result<String, String>) -> Result<(), String> {
        let Some(path) = &self.json else { return Ok(()) };
        if self.json_to_stdout() {
            println!("{}", text()?);
            return Ok(());
        }
        std::fs::write(path, text()? + "\n").map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// The lines of a file of tokens.
fn tokens(path: Option<&PathBuf>) -> Result<Vec<String>, String> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
