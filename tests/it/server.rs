//! A server of a test's own: a process on a free port with a data directory that goes with it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes on a busy machine; reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory of a test's own, gone with it.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        let name = format!("waystation-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a temporary directory that can be written to");
        Self(path)
    }

    /// The data directory in it, made by the server.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.0);
    }
}

/// The command with nothing of this process's environment that changes what it does. The binary is the one
/// built beside this test, or `WAYSTATION_BINARY` where the tests were moved to another place.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_waystation"));
    let binary = std::env::var_os("WAYSTATION_BINARY").map_or(built, PathBuf::from);
    let mut command = Command::new(binary);
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// `address:port`.
    pub(crate) address: String,
    /// What it printed before and with its greeting.
    pub(crate) greeting: String,
}

impl Server {
    /// Starts one on a free port and waits until it says where it listens.
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().expect("a path in UTF-8");
        let mut child = command(&["serve", "--listen", "127.0.0.1:0", "--data", data])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a binary that runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut greeting = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("ended at its start: {}", rest(&mut child)) };
            greeting += &format!("{line}\n");
            if let Some((_, address)) = line.split_once(" listens on http://") {
                break address.to_owned();
            }
        };
        // The greeting ends with an empty line after the last hint; the rest is read for what it says.
        for line in lines.map_while(Result::ok) {
            greeting += &format!("{line}\n");
            if line.starts_with("  waystation token") {
                break;
            }
        }
        Self { child, address, greeting }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a process of ours");
    }

    /// Waits for its end: the status and all that it logged.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let pid = Pid::from_child(&self.child);
        let (done, ended) = mpsc::channel::<()>();
        let watch = thread::spawn(move || {
            if ended.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _already_gone = kill_process(pid, Signal::KILL);
            }
        });
        let log = rest(&mut self.child);
        let status = self.child.wait().expect("a child of ours");
        drop(done);
        watch.join().expect("a watch that only waits");
        (status, log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _already_waited_for = self.child.wait();
    }
}

/// Everything on standard error until it ends.
fn rest(child: &mut Child) -> String {
    let mut log = String::new();
    if let Some(stderr) = &mut child.stderr {
        let stderr: &mut ChildStderr = stderr;
        stderr.read_to_string(&mut log).expect("UTF-8");
    }
    log
}
