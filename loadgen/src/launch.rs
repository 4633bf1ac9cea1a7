//! A server that the program starts itself, and ends: by SIGTERM first, by SIGKILL when that is not heard.
//!
//! Only a server started here is ever signalled. One that is dropped while it runs is killed, so that a run that fails
//! leaves nothing behind. One that is started apart is a process group of its own, which can be stopped as a whole, and
//! which the terminal's keys do not reach: who started it ends it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock::Clock;
use crate::limits::{ADDRESS_FREE_NS, SERVER_END_NS, SERVER_START_NS};

/// Time between two looks at a server that starts or ends.
const LOOK: Duration = Duration::from_millis(20);

/// A running server.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    /// Whether it is a process group of its own.
    apart: bool,
}

impl Launched {
    /// Starts `command` by the shell, on one core if asked, and waits until `address` accepts.
    ///
    /// # Errors
    /// It does not start, ends at once, or does not accept in time; then nothing of it is left.
    pub fn start(command: &str, cpu: Option<usize>, address: SocketAddr) -> Result<Self, String> {
        wait_until_free(address)?;
        Self { child: spawn(&mut shell(command, cpu))?, apart: false }.wait_for(address)
    }

    /// The same in a process group of its own.
    ///
    /// # Errors
    /// As for `start`.
    pub fn start_apart(command: &str, cpu: Option<usize>, address: SocketAddr) -> Result<Self, String> {
        wait_until_free(address)?;
        Self { child: spawn(shell(command, cpu).process_group(0))?, apart: true }.wait_for(address)
    }

    /// Stops its group, if it was started apart, until its end or until somebody lets it go on.
    ///
    /// # Errors
    /// The kernel does not let us.
    pub fn stop(&self) -> Result<(), String> {
        let stopped = if self.apart { self.signal(Signal::STOP) } else { Ok(()) };
        stopped.map_err(|error| format!("cannot stop process {}: {error}", self.child.id()))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and waits for that.
    ///
    /// # Errors
    /// The kernel does not let us.
    pub fn end(mut self) -> Result<(), String> {
        self.try_end().map_err(|error| format!("cannot end process {}: {error}", self.child.id()))
    }

    fn wait_for(mut self, address: SocketAddr) -> Result<Self, String> {
        let clock = Clock::start();
        while clock.now_ns() < SERVER_START_NS {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended at once: {status}"));
            }
            if TcpStream::connect(address).is_ok() {
                return Ok(self);
            }
            Clock::sleep(LOOK);
        }
        Err(format!("does not accept connections on {address}"))
    }

    fn try_end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            self.signal(Signal::TERM)?;
            if self.apart {
                // What is stopped hears nothing else before this.
                self.signal(Signal::CONT)?;
            }
        }
        let clock = Clock::start();
        while clock.now_ns() < SERVER_END_NS {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            Clock::sleep(LOOK);
        }
        self.signal(Signal::KILL)?;
        self.child.wait().map(drop)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(if self.apart { rustix::process::kill_process_group(pid, signal) } else { kill_process(pid, signal) }?)
    }
}

fn shell(command: &str, cpu: Option<usize>) -> Command {
    // `exec` keeps the shell out of the way: the child's id is the server's.
    let command = match cpu {
        Some(cpu) => format!("exec taskset -c {cpu} {command}"),
        None => format!("exec {command}"),
    };
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null());
    shell
}

fn spawn(command: &mut Command) -> Result<Child, String> {
    command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))
}

/// A ring's listener may outlive its process for some milliseconds: the kernel closes it behind the program's back.
fn wait_until_free(address: SocketAddr) -> Result<(), String> {
    let clock = Clock::start();
    while TcpStream::connect(address).is_ok() {
        if clock.now_ns() >= ADDRESS_FREE_NS {
            return Err(format!("{address} is in use by another server: end it, or choose another port"));
        }
        Clock::sleep(LOOK);
    }
    Ok(())
}

impl Drop for Launched {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // A process that cannot be killed is no longer ours to end.
            let _ = self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_address() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn check(command: &str, word: &str) {
        let error = Launched::start(command, None, free_address()).unwrap_err();
        assert!(error.contains(word), "{command}: {error}");
    }

    #[test]
    fn a_command_that_ends_or_does_not_exist_is_refused_with_its_status() {
        check("true", "exit status: 0");
        check("/nowhere/to/be/found", "127");
    }

    #[test]
    fn an_address_in_use_is_refused_before_anything_starts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Launched::start("true", None, listener.local_addr().unwrap()).unwrap_err();
        assert!(error.contains("in use"), "{error}");
    }

    #[test]
    fn an_address_that_becomes_free_soon_is_waited_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let closer = std::thread::spawn(move || {
            Clock::sleep(LOOK * 3);
            drop(listener);
        });
        assert_eq!(wait_until_free(address), Ok(()));
        closer.join().unwrap();
    }
}
