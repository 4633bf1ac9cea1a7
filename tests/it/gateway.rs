//! The program under test: started, watched, told to end, and gone with the test whatever happens.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};

use crate::raw;

/// How long anything may take that should happen at once. Long, because the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A token for everything.
pub(crate) const ALL_CAPS: &str =
    r#"{"*":["subscribe","publish","presence","history","edit","stream","register","admin"]}"#;

/// For tests that are about a history in memory, or about a start without a store, also where all others have one: what is
/// kept exactly, what a restart forgets, what is at hand at once, and two servers on one directory.
pub(crate) const IN_MEMORY: [&str; 2] = ["--set", "store.directory=none"];

/// A directory of a test's own, gone with it.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("waystation-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Arc::new(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The server's data directory in it; the server makes it.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _already_gone = fs::remove_dir_all(&self.0);
    }
}

/// The program: the one built beside this test, or `WAYSTATION_BINARY` where the tests were moved to another
/// place.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("WAYSTATION_BINARY").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_waystation")), PathBuf::from)
}

/// The program with arguments, and with nothing of this process's environment that changes what it does.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_clear().stdin(Stdio::null());
    // Where a build that records which lines it reaches leaves its record, and not in the current directory.
    command.envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)));
    command
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it printed when it listened.
    pub(crate) greeting: String,
    /// The directory with its data and its log; another server may be started in it.
    pub(crate) directory: Arc<Directory>,
    /// A token for everything, made when it is first needed.
    operator: OnceLock<String>,
}

impl Gateway {
    /// A server with one shard.
    pub(crate) fn start() -> Self {
        Self::with(&["--shards", "1"])
    }

    /// A server with one shard and no message rates.
    pub(crate) fn unlimited() -> Self {
        Self::with(&["--shards", "1", "--limits", "unlimited"])
    }

    /// A server that has no store, with these further arguments.
    pub(crate) fn in_memory(args: &[&str]) -> Self {
        Self::with(&[args, &IN_MEMORY].concat())
    }

    /// A server with these further arguments.
    pub(crate) fn with(args: &[&str]) -> Self {
        Self::launch(&Directory::new(), command(&[]), args)
    }

    /// A server that keeps its key in `directory`.
    pub(crate) fn within(directory: &Arc<Directory>, args: &[&str]) -> Self {
        Self::launch(directory, command(&[]), args)
    }

    /// A server that may have `count` descriptors, of which it inherits `taken` that it knows nothing of. The
    /// shell sets the limit and becomes the server.
    pub(crate) fn with_descriptors(count: u32, taken: usize, args: &[&str]) -> Self {
        let inherited: Vec<File> = (0..taken).map(|_| File::open("/dev/null").unwrap()).collect();
        for file in &inherited {
            fcntl_setfd(file, FdFlags::empty()).unwrap();
        }
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {count} && exec \"$@\""), "sh"]);
        command.arg(binary()).stdin(Stdio::null());
        Self::launch(&Directory::new(), command, args)
    }

    /// A server whose standard error is a file that is there already, as a pipe with a name.
    pub(crate) fn with_standard_error(file: &Path, args: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 2>>\"$STANDARD_ERROR\"", "sh"]).env("STANDARD_ERROR", file);
        command.arg(binary()).stdin(Stdio::null());
        Self::launch(&Directory::new(), command, args)
    }

    /// An address of the test's own in 127.0.0.0/8, at which a server can be started again: nobody else gets it meanwhile,
    /// as happens to ports that the kernel gives out.
    pub(crate) fn own_address() -> String {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        format!("127.{}.{high}.{low}:18000", 1 + NEXT.fetch_add(1, Relaxed) % 250)
    }

    /// A server at an address, with the key that is in the directory; the address may be that of one that has ended.
    pub(crate) fn at(address: &str, directory: &Arc<Directory>, args: &[&str]) -> Self {
        Self::launch_at(address, directory, command(&[]), args)
    }

    pub(crate) fn launch(directory: &Arc<Directory>, command: Command, args: &[&str]) -> Self {
        Self::launch_at("127.0.0.1:0", directory, command, args)
    }

    fn launch_at(address: &str, directory: &Arc<Directory>, mut command: Command, args: &[&str]) -> Self {
        let log = File::create(directory.path().join("log")).unwrap();
        command.args(["serve", "--listen", address, "--data"]).arg(directory.data()).args(args);
        // Most tests are about other things, and some take for granted that channels begin anew with each server.
        // `WAYSTATION_IT_STORE=1` runs all of them with a store.
        if !args.iter().any(|arg| arg.starts_with("store.")) && std::env::var_os("WAYSTATION_IT_STORE").is_none() {
            command.args(["--set", "store.directory=none"]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, greeting) = mpsc::channel();
        thread::spawn(move || {
            let mut greeting = String::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                writeln!(greeting, "{line}").unwrap();
                // The greeting's last line, with the development key and without.
                if line.starts_with("  waystation token") || line.contains(" configured key") {
                    let _test_is_over = sender.send(std::mem::take(&mut greeting));
                }
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let directory = Arc::clone(directory);
        let mut gateway =
            Self { child, address: nowhere, greeting: String::new(), directory, operator: OnceLock::new() };
        let Ok(greeting) = greeting.recv_timeout(SOON) else {
            panic!("the server does not say where it listens: {}", gateway.log());
        };
        let (_, address) = greeting.split_once(" listens on http://").unwrap();
        let address = address.lines().next().unwrap();
        gateway.address = address.parse().unwrap();
        gateway.greeting = greeting;
        gateway
    }

    /// What it has written to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Waits until it has logged something. It is written by a thread of its own, soon after it is said.
    pub(crate) fn until_logged(&self, text: &str) {
        until(text, SOON, || self.log().contains(text));
    }

    /// A token of a user for an hour, under the default policy.
    pub(crate) fn token(&self, user: &str) -> String {
        self.token_with(user, &[])
    }

    /// A token for everything.
    pub(crate) fn master_token(&self, user: &str) -> String {
        self.token_with(user, &["--caps", ALL_CAPS])
    }

    /// A token as the command line makes it.
    pub(crate) fn token_with(&self, user: &str, args: &[&str]) -> String {
        let mut tokens = self.tokens(user, args);
        assert_eq!(tokens.len(), 1, "one token and nothing else");
        tokens.remove(0)
    }

    /// Tokens of the users `name-1` to `name-count`.
    pub(crate) fn token_row(&self, name: &str, count: usize) -> Vec<String> {
        let tokens = self.tokens(name, &["--count", &count.to_string()]);
        assert_eq!(tokens.len(), count);
        tokens
    }

    fn tokens(&self, user: &str, args: &[&str]) -> Vec<String> {
        let mut command = command(&[]);
        command.args(["token", "--user", user, "--data"]).arg(self.directory.data()).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// All numbers as the server shows them to operators.
    pub(crate) fn metrics(&self) -> raw::Answer {
        if !self.greeting.contains("token=") {
            // The keys are the test's own; it has to let this machine ask.
            return raw::get(self, "GET", "/metrics");
        }
        let operator = self.operator.get_or_init(|| self.master_token("ops"));
        let bearer = format!("Authorization: Bearer {operator}\r\n");
        raw::ask(self, &format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n{bearer}\r\n", self.address))
    }

    /// The sum of a metric's lines, over all shards.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> u64 {
        let text = self.metrics().body;
        let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(labels));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    /// A number that is the whole process's and has no labels.
    pub(crate) fn number(&self, name: &str) -> f64 {
        let text = self.metrics().body;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    /// Anonymous memory in KiB.
    pub(crate) fn anonymous_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Processor time used so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // proc(5): in clock ticks, of which Linux shows 100 a second to every program.
        Duration::from_millis(10 * ticks)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        let mut status = None;
        until("the server ends", within, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
        if thread::panicking() {
            let mut text = String::from("the server's log:\n");
            let _infallible = write!(text, "{}", self.log());
            let _nobody_listens = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        }
    }
}

/// Asks again and again until `is_so`, up to a deadline: for what a process only shows when it is asked.
pub(crate) fn until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}
