//! `loadgen prove`: the promises of the gateway's documents, run and judged.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use loadgen::process::Process;
use loadgen::prove::{Extent, Host, SHIPPED, Suite};
use loadgen::report::{Report, RunDirectory, without_secrets};

use crate::Wanted;
use crate::commands::gateway::Gateway;

/// Runs the suite of promises against a server; exit with 99 if one is missed.
#[derive(Debug, Args)]
#[command(after_help = "loadgen prove --gateway target/release/waystation\n\
    loadgen prove --start 'waystation serve --limits unlimited' --tokens tokens --short\n\
    loadgen prove --url ws://10.0.0.7:8000 --tokens tokens")]
pub(crate) struct Prove {
    /// The gateway's program: it makes its own tokens and starts with a directory of its own.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["start", "pid", "tokens"])]
    gateway: Option<PathBuf>,
    /// Command that starts a server on the url's address, anew for each run.
    #[arg(long, value_name = "COMMAND", conflicts_with = "pid")]
    start: Option<String>,
    /// Core for a server that is started.
    #[arg(long)]
    server_cpu: Option<usize>,
    /// The process of a server that runs already, to measure its processor time and memory.
    #[arg(long)]
    pid: Option<u32>,
    /// The gateway's program, whose doctor is asked about this machine; that of --gateway if left out.
    #[arg(long, value_name = "FILE")]
    doctor: Option<PathBuf>,
    /// A tenth of the connections and less time; the table says what that scales.
    #[arg(long)]
    short: bool,
    /// Another suite than the one that comes with the program.
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,
    /// Directory for the results: the table, its page, and of each run all forms and its own page.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the table as markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write a page for people.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
}

impl Prove {
    pub(crate) fn execute(&self, out: &mut dyn Write) -> Result<u8, String> {
        let suite = match &self.suite {
            Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
            None => SHIPPED.to_owned(),
        };
        let extent = if self.short { Extent::Short } else { Extent::Full };
        let prepared = Suite::parse(&suite)?.prepare(extent, &self.wanted.changes())?;
        let mut setting = self.wanted.setting()?;
        setting.server = self.pid.map(Process::new).transpose()?;
        setting.doctor = self.doctor.clone().or_else(|| self.gateway.clone());
        let own = self.gateway.as_ref().map(|_| Gateway::new("prove")).transpose()?;
        let mut command = self.start.clone();
        if let (Some(program), Some(own)) = (&self.gateway, &own) {
            setting.tokens = own.tokens(program, prepared.connections_max())?;
            command = Some(own.serve(program, &setting.target.host, ""));
        }
        let host = command.as_deref().map_or(Host::Running, |command| Host::Started(command, self.server_cpu));
        let mut proof = prepared.prove(host, &mut setting, out, &mut |name, report| self.keep(name, report))?;
        proof.flags = without_secrets(std::env::args().skip(1));
        write!(out, "\n{proof}").map_err(|error| format!("cannot write the result: {error}"))?;
        self.wanted.write_json(&proof)?;
        let beside = |name: &str| self.out.as_ref().map(|out| out.join(name));
        let files = [
            (self.markdown.clone(), proof.markdown()),
            (beside("proof.md"), proof.markdown()),
            (self.html.clone(), proof.html(false)),
            (beside("proof.html"), proof.html(true)),
        ];
        for (path, text) in files {
            let Some(path) = path else { continue };
            std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(proof.exit_code())
    }

    /// Writes a run's directory, if results are wanted.
    fn keep(&self, name: &str, report: &Report) -> Result<(), String> {
        let Some(out) = &self.out else { return Ok(()) };
        RunDirectory::prepare(&out.join(name).display().to_string(), &report.scenario.name, true)?.write(report)
    }
}
