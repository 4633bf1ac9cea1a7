//! The server: the library in a process of its own, with rings of a chosen size.

use std::fs;
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use waystation::auth::token::{Key, TokenRequest, mint};
use waystation::config::{self, Environment, Machine, Wanted};
use waystation::runtime::ring::RingSizes;
use waystation::server;

/// First argument of the process that serves; the ring's form follows, then what `waystation` would be told.
pub(crate) const SERVE: &str = "--as-the-server";

/// Sizes that run out in ordinary traffic: one crowd needs more buffers, and one entry into the kernel makes
/// more completions, than there are.
const TINY: RingSizes = RingSizes { submissions: 16, completions: 16, buffers: 16, offered: 4, buffer_bytes: 256 };

/// Runs the server in this process.
pub(crate) fn serve(form: Option<String>, rest: impl Iterator<Item = String>) -> ExitCode {
    // A storm that is killed takes its server with it.
    let _only_tidiness = set_parent_process_death_signal(Some(Signal::KILL));
    // So that the signal interrupts instead of ending the process.
    if signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::new(AtomicBool::new(false))).is_err() {
        return ExitCode::FAILURE;
    }
    let args = std::iter::once("waystation".to_owned()).chain(rest).map(Into::into);
    match config::read(args, &Environment::here(), &Machine::here()) {
        Ok(Wanted::Serve(mut wanted)) => {
            if form.as_deref() == Some("tiny") {
                wanted.ring = TINY;
            }
            server::run(Wanted::Serve(wanted))
        }
        Ok(_) => ExitCode::FAILURE,
        Err(refusal) => server::refuse(&refusal),
    }
}

/// Makes tokens that the server accepts.
pub(crate) struct Mint(Key);

impl Mint {
    pub(crate) fn token(&self, user: &str) -> Result<String, String> {
        self.with_caps(user, None)
    }

    /// Who may read the numbers.
    fn operator(&self) -> Result<String, String> {
        self.with_caps("operator", Some(r#"{"*":["admin"]}"#))
    }

    fn with_caps(&self, user: &str, caps: Option<&str>) -> Result<String, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        mint(&self.0, &TokenRequest { user, ttl_s: 3600, role: None, caps }, now)
    }
}

/// A running server, gone with this value.
pub(crate) struct Gateway {
    child: Child,
    directory: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    /// Starts it and waits until it listens.
    pub(crate) fn start(tiny: bool, shards: u16) -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("ringstorm-{}", std::process::id()));
        let form = if tiny { "tiny" } else { "normal" };
        let mut command = Command::new(std::env::current_exe()?);
        command.args([SERVE, form, "serve", "--listen", "127.0.0.1:0", "--echo", "--limits", "unlimited", "--data"]);
        command
            .env("WAYSTATION_LOG", "error")
            .arg(&directory)
            .args(["--shards", &shards.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let greeting = child.stdout.take().map(BufReader::new);
        let mut gateway = Self { child, directory, address: SocketAddr::from(([0, 0, 0, 0], 0)) };
        let lines = greeting.into_iter().flat_map(io::BufRead::lines).map_while(Result::ok);
        let address = lines.filter_map(|line| line.split_once(" listens on http://")?.1.parse().ok()).next();
        gateway.address = address.ok_or_else(|| io::Error::other("the server does not say where it listens"))?;
        Ok(gateway)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// The thread of each shard, in the shards' order.
    pub(crate) fn shard_threads(&self) -> io::Result<Vec<i32>> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let entry = entry?;
            let called = fs::read_to_string(entry.path().join("comm"))?;
            let shard = called.trim().strip_prefix("shard-").and_then(|shard| shard.parse::<u16>().ok());
            let thread = entry.file_name().to_str().and_then(|thread| thread.parse().ok());
            threads.extend(shard.zip(thread));
        }
        threads.sort_unstable();
        // A thread that the executor starts inherits the name; the shard's own is the first.
        threads.dedup_by_key(|(shard, _)| *shard);
        Ok(threads.into_iter().map(|(_, thread)| thread).collect())
    }

    pub(crate) fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count())
    }

    /// What tokens are signed with.
    pub(crate) fn mint(&self) -> io::Result<Mint> {
        let text = fs::read_to_string(self.directory.join("development.key"))?;
        let secret = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).map_err(io::Error::other)?;
        Ok(Mint(Key::hs256(None, &secret)))
    }

    /// All numbers, as text.
    pub(crate) fn metrics(&self) -> io::Result<Metrics> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let token = self.mint()?.operator().map_err(io::Error::other)?;
        let (address, bearer) = (self.address, format!("Authorization: Bearer {token}"));
        write!(socket, "GET /metrics HTTP/1.1\r\nHost: {address}\r\n{bearer}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        BufReader::new(socket).read_to_string(&mut text)?;
        Ok(Metrics(text))
    }

    /// Asks it to end, and says whether it did so in order.
    pub(crate) fn end(&mut self) -> io::Result<bool> {
        self.signal(Signal::TERM)?;
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
        let _only_tidiness = fs::remove_dir_all(&self.directory);
    }
}

/// The answer to `/metrics`.
pub(crate) struct Metrics(String);

impl Metrics {
    /// A number, by shard.
    pub(crate) fn by_shard(&self, name: &str) -> Vec<u64> {
        let lines = self.0.lines().filter(|line| line.starts_with(name) && line[name.len()..].starts_with('{'));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect()
    }

    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.by_shard(name).iter().sum()
    }
}
