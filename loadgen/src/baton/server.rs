//! The server of one side, as a process group that is stopped and goes on.
//!
//! A signal to a process is taken by one of its threads, usually the first one. If that sleeps and has to wait for the
//! core on which another one works, the process goes on working for as long: a whole slice where both are of one
//! real-time priority. So the thread that worked most is signalled first, which is on the core and takes it at once;
//! and the server counts as stopped when none of it runs.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::clock::Clock;
use crate::limits::SERVER_STOP_NS;
use crate::process::Process;

/// A server in a process group of its own.
#[derive(Debug)]
pub(super) struct Server {
    group: Pid,
    process: Process,
}

/// A thread of it.
#[derive(Debug, Clone)]
struct Thread {
    id: Pid,
    /// Its directory.
    path: String,
}

impl Server {
    pub(super) fn new(id: u32) -> Result<Self, String> {
        let group = i32::try_from(id).ok().and_then(Pid::from_raw);
        let group = group.ok_or("a server's process id must be above 0")?;
        Ok(Self { group, process: Process::new(id)? })
    }

    /// Stops it, and waits until none of it runs.
    pub(super) fn stop(&self) -> Result<(), String> {
        let family = self.process.family();
        let busiest: Vec<Thread> = family.iter().filter_map(|&id| threads(id).max_by_key(Thread::cpu_ns)).collect();
        for thread in &busiest {
            // One that has just ended has nothing to stop; the group is signalled all the same.
            let _ = kill_process(thread.id, Signal::STOP);
        }
        self.signal(Signal::STOP)?;
        // The thread that took the signal wakes the others, so that they stop too, before it stops itself.
        let stands = || busiest.iter().all(|thread| matches!(thread.state(), Some('T' | 't' | 'Z' | 'X') | None));
        let runs = || family.iter().flat_map(|&id| threads(id)).any(|thread| thread.state() == Some('R'));
        let clock = Clock::start();
        while !stands() || runs() {
            if clock.now_ns() > SERVER_STOP_NS {
                return Err(format!("server process {}: does not stop", self.group.as_raw_nonzero()));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Lets it go on.
    pub(super) fn go_on(&self) -> Result<(), String> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end, whether it is stopped or not.
    pub(super) fn end(&self) -> Result<(), String> {
        self.signal(Signal::TERM)?;
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        let sent = kill_process_group(self.group, signal);
        sent.map_err(|error| format!("server process {}: {error}", self.group.as_raw_nonzero()))
    }
}

impl Thread {
    /// The kernel's letter for what it does: R runs or would like to, T is stopped.
    fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("{}/stat", self.path)).ok()?;
        // proc(5): the third field, behind the name, which may itself hold blanks and brackets.
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    }

    /// Processor time so far, by the scheduler's count.
    fn cpu_ns(&self) -> u64 {
        let text = fs::read_to_string(format!("{}/schedstat", self.path)).unwrap_or_default();
        text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

/// The threads of a process; none of one that has ended.
fn threads(process: u32) -> impl Iterator<Item = Thread> {
    let folder = format!("/proc/{process}/task");
    let entries = fs::read_dir(&folder).ok().into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(move |entry| {
        let id = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        Some(Thread { id, path: format!("{folder}/{}", id.as_raw_nonzero()) })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use std::time::Duration;

    use super::*;

    /// A shell and a child of it that work without a pause.
    struct Busy(Child);

    impl Busy {
        fn start() -> Self {
            let mut shell = Command::new("sh");
            Self(shell.args(["-c", "(while :; do :; done) & while :; do :; done"]).process_group(0).spawn().unwrap())
        }

        /// Waits until both are there and have worked.
        fn until_working(&self, process: Process) -> Vec<u32> {
            let clock = Clock::start();
            while clock.now_ns() < 10_000_000_000 {
                let family = process.family();
                if family.len() == 2 && family.iter().all(|&id| threads(id).any(|thread| thread.cpu_ns() > 0)) {
                    return family;
                }
                Clock::sleep(Duration::from_millis(1));
            }
            panic!("no child");
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            let group = Pid::from_child(&self.0);
            kill_process_group(group, Signal::KILL).unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn none_of_a_busy_server_runs_once_it_is_stopped_and_all_of_it_goes_on() {
        let busy = Busy::start();
        let server = Server::new(busy.0.id()).unwrap();
        let family = busy.until_working(server.process);
        let states = || family.iter().flat_map(|&id| threads(id)).map(|thread| thread.state()).collect::<Vec<_>>();
        for _ in 0..3 {
            server.stop().unwrap();
            // At once: nobody has to wait for it.
            assert_eq!(states(), [Some('T'); 2]);
            let before = server.process.cpu_ns();
            Clock::sleep(Duration::from_millis(20));
            assert_eq!(server.process.cpu_ns(), before);
            server.go_on().unwrap();
            let clock = Clock::start();
            while states() != [Some('R'); 2] {
                assert!(clock.now_ns() < 10_000_000_000, "{:?}", states());
            }
        }
    }
}
