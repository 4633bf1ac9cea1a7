//! Pairs of real processes: what is proved is that both sides of a pair in slices get their own time and nothing is found
//! wrong with them, and that whatever ends early leaves nothing behind, neither running nor stopped.
//!
//! No claim about speed: these run beside other tests.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loadgen::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};

/// A contest with addresses of its own, by which its processes are found.
struct Trial {
    addresses: [String; 2],
}

/// A process of a trial, as the kernel tells.
#[derive(Debug)]
struct Found {
    pid: Pid,
    /// The kernel's letter: T is stopped.
    state: char,
    command: String,
}

/// How a contest ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    errors: String,
}

impl Trial {
    fn new() -> Self {
        // Both are held until both are known, so that they differ.
        let held = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        Self { addresses: held.map(|listener| listener.local_addr().unwrap().to_string()) }
    }

    /// The command of the bare server at one of the addresses.
    fn bare(&self, which: usize) -> String {
        let tests = std::env::current_exe().unwrap();
        let bare = tests.parent().unwrap().parent().unwrap().join("examples/bare");
        assert!(bare.exists(), "{}: built by cargo test -p loadgen", bare.display());
        format!("{} {}", bare.display(), self.addresses[which])
    }

    /// Starts a contest of two servers with further flags.
    fn start(&self, [a, b]: [&str; 2], flags: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.args(["pair", "--scenario", "echo", "--set", "rooms=20", "--set", "outstanding=1"]);
        // Test processes share cores with others: punctuality is not what is proved here.
        command.args(["--set", "starved_max=1", "--set", "warmup_s=0.1", "--pairs", "2", "--a", a, "--b", b]);
        command.args(["--url", &format!("ws://{}", self.addresses[0])]).args(flags);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The same with an address for each.
    fn start_sliced(&self, commands: [&str; 2], flags: &[&str]) -> Child {
        let url_b = format!("ws://{}", self.addresses[1]);
        self.start(commands, &[&["--url-b", &url_b], flags].concat())
    }

    /// What there is of it, the contest itself left out.
    fn processes(&self) -> Vec<Found> {
        let pids =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        let found = pids.filter_map(|pid| {
            // A process may end between the listing and the reading.
            let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?.replace('\0', " ");
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let state = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
            Some(Found { pid: Pid::from_raw(pid.parse().ok()?)?, state, command })
        });
        let ours = |found: &Found| self.addresses.iter().any(|address| found.command.contains(address.as_str()));
        found.filter(|found| ours(found) && !found.command.contains(" pair ")).collect()
    }

    /// Waits until a process with this in its command is there, and gives it.
    fn until_there(&self, part: &str) -> Pid {
        let clock = Clock::start();
        while clock.now_ns() < 20_000_000_000 {
            if let Some(found) = self.processes().iter().find(|found| found.command.contains(part)) {
                return found.pid;
            }
            Clock::sleep(Duration::from_millis(10));
        }
        panic!("no process with {part}");
    }

    /// Waits until slices have begun: both generators are there, and either server has been stopped after it ran.
    fn until_sliced(&self) {
        self.until_there("--place first");
        self.until_there("--place second");
        let clock = Clock::start();
        let mut seen = [false; 2];
        while clock.now_ns() < 20_000_000_000 && seen != [true; 2] {
            for found in self.processes().iter().filter(|found| !found.command.contains("--place")) {
                let which = usize::from(found.command.contains(&self.addresses[1]));
                // The first server runs first, so it has been stopped only once the second's turn came.
                seen[which] |= if which == 0 { found.state == 'T' && seen[1] } else { found.state != 'T' };
            }
        }
        assert_eq!(seen, [true; 2]);
    }

    /// Nothing of it is left, or will be soon.
    fn check_gone(&self) {
        let clock = Clock::start();
        while clock.now_ns() < 20_000_000_000 && !self.processes().is_empty() {
            Clock::sleep(Duration::from_millis(10));
        }
        assert!(self.processes().is_empty(), "{:?}", self.processes());
    }
}

fn end(mut contest: Child) -> Ended {
    let (mut out, mut errors) = (String::new(), String::new());
    contest.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    contest.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    Ended { code: contest.wait().unwrap().code(), out, errors }
}

fn signal(contest: &Child, signal: Signal) {
    kill_process(Pid::from_child(contest), signal).unwrap();
}

#[test]
fn both_sides_of_a_pair_in_slices_have_their_own_time() {
    let trial = Trial::new();
    let result = std::env::temp_dir().join(format!("pairs-{}.json", std::process::id()));
    let (a, b) = (trial.bare(0), trial.bare(1));
    let flags = ["--set", "duration_s=0.5", "--slice", "20ms", "--json", result.to_str().unwrap()];
    let ended = end(trial.start_sliced([&a, &b], &flags));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    trial.check_gone();
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&result).unwrap()).unwrap();
    std::fs::remove_file(&result).unwrap();
    assert_eq!(json["objections"].as_array().unwrap().len(), 0, "{json}");
    let numbers = |key: &str| {
        let pairs = json[key].as_array().unwrap().iter();
        pairs.flat_map(|pair| pair.as_array().unwrap()).map(|n| n.as_f64().unwrap()).collect::<Vec<f64>>()
    };
    // Two pairs of two. A slice may be longer than asked for where cores are shared, but there is more than one.
    assert_eq!(numbers("running_s"), [0.5; 4]);
    assert!(numbers("slices").len() == 4 && numbers("slices").iter().all(|&count| (2.0..=26.0).contains(&count)));
    for key in ["delivered_per_s", "cpu_us_per_delivery", "busy"] {
        assert!(numbers(key).len() == 4 && numbers(key).iter().all(|&value| value > 0.0), "{json}");
    }
    let handover: Vec<f64> = json["handover"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    assert!(handover.len() == 2 && handover.iter().all(|share| (0.0..1.0).contains(share)), "{json}");
    let cpu = numbers("cpu_us_per_delivery");
    for (which, parts) in json["parts_us_per_delivery"].as_array().unwrap().iter().enumerate() {
        // Of both pairs, unless one had less than a tick.
        let sum = parts["user"].as_f64().unwrap() + parts["system"].as_f64().unwrap();
        let mean = (cpu[which] + cpu[2 + which]) / 2.0;
        assert!(0.0 < sum && sum < 1.001 * mean, "{json}");
    }
    assert!(ended.out.contains(" slices") && ended.out.contains("handing over"), "{ended:?}");
}

#[test]
fn with_one_address_one_runs_after_the_other_and_that_is_said() {
    let trial = Trial::new();
    let bare = trial.bare(0);
    let ended = end(trial.start([&bare, &bare], &["--set", "duration_s=0.2"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("--url-b") && !ended.out.contains(" slices "), "{ended:?}");
    trial.check_gone();
    let refused = end(trial.start([&bare, &bare], &["--slice", "50ms"]));
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.errors.contains("--url-b must name another address"), "{refused:?}");
    let whole = end(trial.start_sliced([&bare, &trial.bare(1)], &["--set", "duration_s=0.2", "--slice", "0"]));
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert!(!whole.out.contains("--url-b") && !whole.out.contains(" slices "), "{whole:?}");
    trial.check_gone();
}

#[test]
fn a_server_that_does_not_come_or_does_not_stay_is_named_and_nothing_is_left() {
    let trial = Trial::new();
    let ended = end(trial.start_sliced([&trial.bare(0), "false"], &[]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.errors.contains("server b: ended at once"), "{ended:?}");
    trial.check_gone();
    let short = format!("timeout 2 {}", trial.bare(1));
    let ended = end(trial.start_sliced([&trial.bare(0), &short], &["--set", "duration_s=60"]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.errors.contains("server b: "), "{ended:?}");
    trial.check_gone();
}

#[test]
fn a_generator_that_dies_ends_the_contest_and_nothing_is_left() {
    let trial = Trial::new();
    let contest = trial.start_sliced([&trial.bare(0), &trial.bare(1)], &["--set", "duration_s=60"]);
    trial.until_sliced();
    kill_process(trial.until_there("--place second"), Signal::KILL).unwrap();
    let ended = end(contest);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.errors.contains("server b: its generator failed"), "{ended:?}");
    trial.check_gone();
}

#[test]
fn a_contest_that_is_ended_or_killed_leaves_nothing() {
    for how in [Signal::INT, Signal::TERM, Signal::KILL] {
        let trial = Trial::new();
        let contest = trial.start_sliced([&trial.bare(0), &trial.bare(1)], &["--set", "duration_s=60"]);
        trial.until_sliced();
        signal(&contest, how);
        let ended = end(contest);
        let (code, word) = if how == Signal::KILL { (None, "") } else { (Some(2), "ended early") };
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.errors.contains(word), "{ended:?}");
        trial.check_gone();
    }
}
