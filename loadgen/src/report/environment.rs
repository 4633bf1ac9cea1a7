//! The machine a run was made on, and what about it makes figures worse or less repeatable.
//!
//! What is not to be had on a machine (a virtual one has no governor) is left out, not guessed. Nothing is changed.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::limits::SOURCE_ADDRESSES_COUNT;
use crate::report::doctor::Doctor;
use crate::stats::rounded_fine;

/// The machine.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Where the server was looked for.
    pub url: String,
    /// When the run began, by UTC.
    pub started: String,
    /// Name of the machine.
    pub host: String,
    /// Version of this program.
    pub loadgen: String,
    /// Kernel release.
    pub kernel: String,
    /// Name of the processor.
    pub processor: String,
    /// Cores of the machine.
    pub cores_count: usize,
    /// How the cores' frequency is chosen.
    pub governor: Option<String>,
    /// Whether cores may run above their base frequency.
    pub turbo: Option<bool>,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// What of it was to be had.
    pub memory_available_bytes: u64,
    /// Descriptors that this program may have; `None` for any number.
    pub descriptors_max: Option<u64>,
    /// Processes that wanted to run, averaged over the last 1, 5 and 15 minutes before the run.
    pub load_average: Option<[f64; 3]>,
    /// Share of the run's processor time that the hypervisor gave to others.
    pub steal: Option<f64>,
    /// Settings of the kernel that a run depends on.
    pub sysctls: BTreeMap<String, String>,
    /// What the working directory is a checkout of.
    pub revision: Option<Revision>,
    /// What should be mended before the figures are relied on.
    pub warnings: Vec<String>,
    /// What the gateway's doctor says, if it was asked.
    pub doctor: Option<Doctor>,
}

/// A state of a git repository.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The commit.
    pub commit: String,
    /// Whether tracked files differ from it.
    pub dirty: bool,
}

/// Processor time of the whole machine since it started, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MachineTicks {
    all: u64,
    steal: u64,
}

const SYSCTLS: [&str; 13] = [
    "fs.file-max",
    "fs.nr_open",
    "net.core.busy_poll",
    "net.core.netdev_max_backlog",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
    "vm.overcommit_memory",
];
/// A shorter accept queue drops connects of a storm, which the kernel then repeats after a second.
const SOMAXCONN_MIN: u64 = 4096;
/// More than this share of a core that others use or take shows in the tail of latencies.
const SHARE_MAX: f64 = 0.02;

/// The time of day, to a thousandth of a second.
fn now() -> String {
    humantime::format_rfc3339_millis(Clock::today()).to_string()
}

impl Environment {
    /// The machine as it is now, before a run with so many connections.
    #[must_use]
    pub fn new(url: &str, connections: usize) -> Self {
        let uname = rustix::system::uname();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let sysctls = SYSCTLS.iter().filter_map(|&name| {
            let text = line_of(&format!("/proc/sys/{}", name.replace('.', "/")))?;
            Some((name.to_owned(), text.split_whitespace().collect::<Vec<_>>().join(" ")))
        });
        let mut environment = Self {
            url: url.to_owned(),
            started: now(),
            host: uname.nodename().to_string_lossy().into_owned(),
            loadgen: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            processor: name.map_or("unknown", |(_, name)| name).to_owned(),
            cores_count: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            governor: line_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            turbo: turbo(),
            memory_bytes: meminfo_bytes(&meminfo, "MemTotal:"),
            memory_available_bytes: meminfo_bytes(&meminfo, "MemAvailable:"),
            descriptors_max: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
            load_average: line_of("/proc/loadavg").as_deref().and_then(load_average),
            steal: None,
            sysctls: sysctls.collect(),
            revision: revision(),
            warnings: Vec::new(),
            doctor: None,
        };
        environment.warnings = environment.complaints(connections);
        environment
    }

    /// Notes that the run begins now: the time that its timeline counts from.
    pub(crate) fn note_start(&mut self) {
        self.started = now();
    }

    /// Notes what the hypervisor took in the run, which began at `before`.
    pub(crate) fn note_steal(&mut self, before: Option<MachineTicks>) {
        let share = before.zip(MachineTicks::now()).and_then(|(before, after)| after.steal_since(before));
        self.steal = share;
        if let Some(share) = share.filter(|&share| share > SHARE_MAX) {
            let percent = 100.0 * share;
            self.warnings.push(format!("{percent:.1} % of the processor time went to other guests of the host"));
        }
    }

    /// What is wrong with the machine for a run with so many connections.
    fn complaints(&self, connections: usize) -> Vec<String> {
        let mut complaints = Vec::new();
        let number = |name: &str| self.sysctls.get(name)?.parse::<u64>().ok();
        if let Some(governor) = self.governor.as_deref().filter(|&governor| governor != "performance") {
            complaints
                .push(format!("the governor is {governor}: set it to performance, or short runs measure its mood"));
        }
        if self.turbo == Some(true) {
            complaints.push("turbo is on: the frequency depends on what ran before".to_owned());
        }
        if let Some(queue) = number("net.core.somaxconn").filter(|&queue| queue < SOMAXCONN_MIN) {
            complaints
                .push(format!("net.core.somaxconn is {queue}: at least {SOMAXCONN_MIN}, or a storm is cut short"));
        }
        let range = self.sysctls.get("net.ipv4.ip_local_port_range").and_then(|range| ports(range));
        let ports = range.map(|ports| ports.saturating_mul(usize::from(SOURCE_ADDRESSES_COUNT)));
        if let Some(ports) = ports.filter(|&ports| ports < connections) {
            complaints.push(format!("{ports} ports for {connections} connections: widen net.ipv4.ip_local_port_range"));
        }
        if self.cores_count < 2 {
            complaints.push("one core: server and generator take it from each other".to_owned());
        }
        if let Some([load, ..]) = self.load_average.filter(|[load, ..]| *load > 0.5) {
            complaints.push(format!("load average {load:.2} before the run: something else is at work"));
        }
        complaints
    }
}

impl MachineTicks {
    /// Until now.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&line_of("/proc/stat")?)
    }

    fn parse(line: &str) -> Option<Self> {
        // proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guest time after that is in user already.
        let fields: Vec<u64> = line.strip_prefix("cpu ")?.split_whitespace().map_while(|f| f.parse().ok()).collect();
        Some(Self { all: fields.get(..8)?.iter().sum(), steal: *fields.get(7)? })
    }

    fn steal_since(self, before: Self) -> Option<f64> {
        let all = self.all.saturating_sub(before.all);
        (all > 0).then(|| rounded_fine(self.steal.saturating_sub(before.steal) as f64 / all as f64))
    }
}

/// The first line of a small file.
fn line_of(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.lines().next()?.trim().to_owned())
}

fn turbo() -> Option<bool> {
    let flag = |path| line_of(path).map(|flag| flag == "1");
    let off = flag("/sys/devices/system/cpu/intel_pstate/no_turbo").map(|off| !off);
    off.or_else(|| flag("/sys/devices/system/cpu/cpufreq/boost"))
}

fn meminfo_bytes(meminfo: &str, key: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn load_average(line: &str) -> Option<[f64; 3]> {
    let mut fields = line.split_whitespace().map_while(|field| field.parse().ok());
    Some([fields.next()?, fields.next()?, fields.next()?])
}

/// How many ports a range such as `32768 60999` has.
fn ports(range: &str) -> Option<usize> {
    let (from, to) = range.split_once(' ')?;
    to.parse::<usize>().ok()?.checked_sub(from.parse::<usize>().ok()?)?.checked_add(1)
}

/// The state of the repository that the working directory lies in; `None` without one, or without git.
fn revision() -> Option<Revision> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(Revision { commit, dirty: !dirty.is_empty() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let environment = Environment::new("127.0.0.1:1", 1);
        assert!(environment.cores_count > 0 && environment.memory_bytes > environment.memory_available_bytes);
        assert!(environment.kernel.contains('.') && !environment.host.is_empty());
        assert!(environment.sysctls.contains_key("net.core.somaxconn"), "{:?}", environment.sysctls);
        assert!(humantime::parse_rfc3339(&environment.started).is_ok(), "{}", environment.started);
        let text = serde_json::to_string(&environment).unwrap();
        assert_eq!(serde_json::from_str::<Environment>(&text).unwrap(), environment);
    }

    #[test]
    fn what_makes_figures_worse_is_named() {
        let quiet = || Environment { cores_count: 2, load_average: Some([0.5, 9.0, 9.0]), ..Environment::default() };
        let check = |environment: Environment, connections, expected: &[&str]| {
            let complaints = environment.complaints(connections);
            assert_eq!(complaints.len(), expected.len(), "{complaints:?}");
            for (complaint, word) in complaints.iter().zip(expected) {
                assert!(complaint.contains(word), "{complaint}");
            }
        };
        let with = |name: &str, value: &str| Environment {
            sysctls: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..quiet()
        };
        check(quiet(), 18_000, &[]);
        check(Environment { governor: Some("performance".to_owned()), turbo: Some(false), ..quiet() }, 1, &[]);
        check(Environment { governor: Some("powersave".to_owned()), ..quiet() }, 1, &["governor is powersave"]);
        check(Environment { turbo: Some(true), ..quiet() }, 1, &["turbo"]);
        check(with("net.core.somaxconn", "4095"), 1, &["somaxconn is 4095"]);
        check(with("net.core.somaxconn", "4096"), 1, &[]);
        check(with("net.ipv4.ip_local_port_range", "1000 1999"), 4000, &[]);
        check(with("net.ipv4.ip_local_port_range", "1000 1999"), 4001, &["4000 ports for 4001 connections"]);
        check(with("net.ipv4.ip_local_port_range", "nonsense"), 4001, &[]);
        check(Environment { cores_count: 1, ..quiet() }, 1, &["one core"]);
        check(Environment { load_average: Some([0.51, 0.0, 0.0]), ..quiet() }, 1, &["load average 0.51"]);
    }

    #[test]
    fn what_the_hypervisor_took_is_seen() {
        let ticks = |line| MachineTicks::parse(line);
        let before = ticks("cpu  100 0 50 800 0 0 10 40 7 7").unwrap();
        assert_eq!(before, MachineTicks { all: 1000, steal: 40 });
        let after = ticks("cpu  200 0 50 1600 0 0 10 140 7 7").unwrap();
        assert_eq!(after.steal_since(before), Some(0.1));
        assert_eq!((before.steal_since(before), ticks("cpu  1 2 3"), ticks("intr 1")), (None, None, None));
        let mut environment = Environment::default();
        environment.note_steal(MachineTicks::now());
        assert!(environment.steal.is_none_or(|share| (0.0..=1.0).contains(&share)));
    }
}
