//! `loadgen crash`: a server is killed again and again, and what it acknowledged must be there.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use loadgen::adapter::Adapter;
use loadgen::crash::{CrashReport, Moment, Trial};
use loadgen::engine::Target;
use loadgen::live::Stop;
use loadgen::report::{RunDirectory, without_secrets};

use crate::commands::gateway::Gateway;

/// Bounds of the history under which nothing is trimmed that a usual trial writes.
const UNTRIMMED: &str = "--set history.events=100000 --set history.bytes=268435456";

/// What is said where there is nothing to kill.
const NO_SERVER: &str =
    "name --gateway or --server-command, or an adapter with open.start: a trial starts its server itself";

/// Kills the server that it started, again and again under load, and holds what is kept against what was acknowledged;
/// exit with 1 if anything is lost, doubled, out of order or given another's number.
#[derive(Debug, Args)]
#[command(after_help = "loadgen crash --gateway target/release/waystation --kills 100 --acked 100000\n\
    loadgen crash --server-command 'waystation serve -c w.toml --limits unlimited' --tokens tokens\n\
    loadgen crash --gateway target/release/waystation --data /disk/d --power-cut 'forget /disk/d' --kills 50")]
pub(crate) struct Crash {
    /// The gateway's program: it makes its own tokens, starts without message rates, and keeps 100,000 events a
    /// channel.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server_command", "tokens", "service_token"])]
    gateway: Option<PathBuf>,
    /// Further arguments for it.
    #[arg(long, value_name = "ARGUMENTS", requires = "gateway", default_value = "")]
    gateway_arguments: String,
    /// Its data directory, which stays; one that is gone with the trial if left out.
    #[arg(long, value_name = "DIR", requires = "gateway")]
    data: Option<PathBuf>,
    /// Command that starts the server on the url's address, each time on the same data; the adapter's own if left out.
    #[arg(long, value_name = "COMMAND")]
    server_command: Option<String>,
    /// The server.
    #[arg(long, default_value = "ws://127.0.0.1:8000")]
    url: String,
    /// How it is reached: an adapter's name or file.
    #[arg(long, default_value = "waystation")]
    adapter: String,
    /// File with one token per line: publishers, readers, and one more; each may publish to and read `chat:*`.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// File with the token of a service; every other restart then reads histories by GET.
    #[arg(long, value_name = "FILE")]
    service_token: Option<PathBuf>,
    /// Command that is run between each kill and the next start, with the kill's number in LOADGEN_KILL.
    #[arg(long, value_name = "COMMAND")]
    power_cut: Option<String>,
    /// Kills.
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Operations to be acknowledged in all, spread over the kills.
    #[arg(long, default_value_t = 100_000)]
    acked: u64,
    /// Connections that publish.
    #[arg(long, default_value_t = 8)]
    publishers: usize,
    /// Connections that read everything, and come back after each kill.
    #[arg(long, default_value_t = 2)]
    readers: usize,
    /// Channels.
    #[arg(long, default_value_t = 4)]
    channels: usize,
    /// Publishes a second, of each publisher.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Publishes of one publisher without an answer.
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// Bytes of what is published.
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// Shortest time from a round's last wanted acknowledgement to its kill.
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = humantime::parse_duration)]
    kill_from: Duration,
    /// Longest time of that.
    #[arg(long, value_name = "TIME", default_value = "800ms", value_parser = humantime::parse_duration)]
    kill_to: Duration,
    /// Kill when everything has its answer, instead of under load.
    #[arg(long)]
    idle: bool,
    /// What chance begins with; another one each time if left out.
    #[arg(long)]
    seed: Option<u64>,
    /// Core for the server.
    #[arg(long)]
    server_cpu: Option<usize>,
    /// Core for the trial.
    #[arg(long)]
    cpu: Option<usize>,
    /// Directory for the result; `auto` for one in `runs`, named by the time.
    #[arg(long, value_name = "DIR")]
    out: Option<String>,
    /// Write over a result that the directory has.
    #[arg(long, requires = "out")]
    force: bool,
    /// Write the result as JSON; `-` for standard output, which then has nothing else.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the result as markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Crash {
    pub(crate) fn execute(&self) -> Result<u8, String> {
        let target = Target::parse(&self.url)?;
        let gateway = match (&self.gateway, &self.data) {
            (Some(_), Some(data)) => Some(Gateway::within(data)),
            (Some(_), None) => Some(Gateway::new("crash")?),
            (None, _) => None,
        };
        let mut trial = self.trial(target)?;
        trial.check()?;
        if let (Some(program), Some(gateway)) = (&self.gateway, &gateway) {
            trial.tokens = gateway.tokens(program, trial.connections_count())?;
            trial.service_token = Some(gateway.service_token(program)?);
            let more = format!("{UNTRIMMED} {}", self.gateway_arguments);
            trial.command = gateway.serve(program, &trial.target.host, &more);
        }
        if let Some(cpu) = self.cpu {
            loadgen::socket::pin(cpu)?;
        }
        // A directory that cannot be had is said before the trial, not after.
        let out = self.out.as_deref().map(|out| RunDirectory::prepare(out, "crash", self.force)).transpose()?;
        let mut report = trial.run(&mut std::io::stderr())?;
        report.flags = without_secrets(std::env::args().skip(1));
        self.tell(&report, out.as_ref())?;
        Ok(report.exit_code())
    }

    fn trial(&self, target: Target) -> Result<Trial, String> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let service = crate::tokens(self.service_token.as_ref())?;
        let adapter = Adapter::load(&self.adapter)?;
        let command = self.server_command.clone().or_else(|| adapter.start().map(str::to_owned));
        let command = match (&command, &self.gateway) {
            (Some(command), _) => command.as_str(),
            // It is made when its directory is known.
            (None, Some(_)) => "",
            (None, None) => return Err(NO_SERVER.to_owned()),
        };
        Ok(Trial {
            adapter,
            cpu: self.server_cpu,
            power_cut: self.power_cut.clone(),
            tokens: crate::tokens(self.tokens.as_ref())?,
            service_token: service.into_iter().next(),
            kills: self.kills,
            acked: self.acked,
            publishers: self.publishers,
            readers: self.readers,
            channels: self.channels,
            rate: self.rate,
            window: self.window,
            content_bytes: self.bytes,
            chance: (self.kill_from, self.kill_to),
            moment: if self.idle { Moment::Idle } else { Moment::Loaded },
            stop: Stop::on_signals().map_err(|error| format!("cannot watch for signals: {error}"))?,
            ..Trial::new(target, command, seed)
        })
    }

    fn tell(&self, report: &CrashReport, out: Option<&RunDirectory>) -> Result<(), String> {
        let to_stdout = self.json.as_deref() == Some(Path::new("-"));
        let json = report.to_json()? + "\n";
        let (out_text, aside) =
            if to_stdout { (json.clone(), report.to_string()) } else { (report.to_string(), String::new()) };
        let written = std::io::stdout().write_all(out_text.as_bytes());
        written.map_err(|error| format!("cannot write the result: {error}"))?;
        eprint!("{aside}");
        let save = |path: &Path, text: &str| {
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        if let Some(path) = self.json.as_deref().filter(|_| !to_stdout) {
            save(path, &json)?;
        }
        if let Some(path) = &self.markdown {
            save(path, &report.markdown())?;
        }
        if let Some(directory) = out {
            directory.write_crash(report)?;
            eprintln!("result in {}", directory.path().display());
        }
        Ok(())
    }
}
