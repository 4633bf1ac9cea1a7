//! The server seen from outside: what the kernel says about its processor time and memory.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::limits::FAMILY_COUNT_MAX;

/// The kernel's tick as it shows it to programs: 100 a second on every machine that Linux runs on.
const TICK_NS: u64 = 10_000_000;

/// A process that is watched.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    pid: u32,
}

/// Memory and descriptors at one time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Resident bytes.
    pub rss_bytes: u64,
    /// Resident bytes, the most since the process began, as the kernel kept it.
    #[serde(default)]
    pub rss_peak_bytes: u64,
    /// Bytes of its own that no file backs.
    pub anonymous_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Bytes that it shares with others and no file backs, its part of them.
    #[serde(default)]
    pub shared_bytes: u64,
}

impl Weight {
    /// What it keeps for itself, alone or shared between its own processes.
    #[must_use]
    pub fn own_bytes(&self) -> u64 {
        self.anonymous_bytes + self.shared_bytes
    }
}

/// Processor time at one moment, or between two.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CpuTimes {
    /// All of it, in the scheduler's own nanoseconds.
    pub sum_ns: u64,
    /// In the program, by the kernel's ticks.
    pub user_ns: u64,
    /// In the kernel on the program's behalf, by the kernel's ticks.
    pub system_ns: u64,
}

impl CpuTimes {
    /// What was used since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            sum_ns: self.sum_ns.saturating_sub(before.sum_ns),
            user_ns: self.user_ns.saturating_sub(before.user_ns),
            system_ns: self.system_ns.saturating_sub(before.system_ns),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            sum_ns: self.sum_ns + other.sum_ns,
            user_ns: self.user_ns + other.user_ns,
            system_ns: self.system_ns + other.system_ns,
        }
    }
}

impl Process {
    /// Watches `pid`.
    ///
    /// # Errors
    /// There is no such process, or it may not be seen.
    pub fn new(pid: u32) -> Result<Self, String> {
        let process = Self { pid };
        process.cpu_ns().map(|_| process).ok_or_else(|| format!("cannot read the processor time of process {pid}"))
    }

    /// Our own process.
    #[must_use]
    pub fn own() -> Self {
        Self { pid: std::process::id() }
    }

    /// It and the processes that it started, for servers that work in children; no more than `FAMILY_COUNT_MAX`.
    pub(crate) fn family(&self) -> Vec<u32> {
        let mut family = vec![self.pid];
        let mut at = 0;
        while let Some(&pid) = family.get(at) {
            at += 1;
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.filter_map(Result::ok) {
                let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                let room = FAMILY_COUNT_MAX - family.len();
                family.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()).take(room));
            }
        }
        family
    }

    /// Processor time of all its living threads and its children's, user and system. The scheduler's own nanoseconds,
    /// since the ticks of `stat` are 10 ms; a thread that ends between two calls takes its time with it.
    #[must_use]
    pub fn cpu_ns(&self) -> Option<u64> {
        let mut sum = own_cpu_ns(self.pid)?;
        for pid in self.family().into_iter().skip(1) {
            // A child may end between the listing and the reading.
            sum += own_cpu_ns(pid).unwrap_or(0);
        }
        Some(sum)
    }

    /// The same with its two parts, which the kernel tells apart only in ticks of 10 ms: they need not add up to the
    /// sum, and say little below a tenth of a second.
    #[must_use]
    pub fn cpu_times(&self) -> Option<CpuTimes> {
        let (user_ns, system_ns) = parts(&fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?)?;
        Some(CpuTimes { sum_ns: self.cpu_ns()?, user_ns, system_ns })
    }

    /// Processor time of its living threads by name, in nanoseconds; those that differ by a number at the end are one.
    #[must_use]
    pub fn cpu_ns_by_thread(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().filter_map(Result::ok) {
            // A thread may end between the listing and the reading.
            let Ok(name) = fs::read_to_string(task.path().join("comm")) else { continue };
            let times = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let name = name.trim_end().trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
            *all.entry(name.to_owned()).or_default() += first_number(&times).unwrap_or(0);
        }
        all
    }

    /// Bytes of its own that no file backs, as `status` says it: quick, so that it may be asked while measuring, and
    /// some pages off, since the kernel counts them by core.
    #[must_use]
    pub fn anonymous_bytes(&self) -> Option<u64> {
        kibibytes(&fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?, "RssAnon:")
    }

    /// Memory and descriptors. Slow for a large process: not while measuring.
    #[must_use]
    pub fn weight(&self) -> Option<Weight> {
        let mut sum = own_weight(self.pid)?;
        for weight in self.family().into_iter().skip(1).filter_map(own_weight) {
            sum.rss_bytes += weight.rss_bytes;
            sum.rss_peak_bytes += weight.rss_peak_bytes;
            sum.anonymous_bytes += weight.anonymous_bytes;
            sum.shared_bytes += weight.shared_bytes;
            sum.descriptors += weight.descriptors;
        }
        Some(sum)
    }
}

/// Times of the calling thread since it began, as the scheduler counts them; 0 where the kernel does not say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ThreadTimes {
    /// On a core.
    pub cpu_ns: u64,
    /// Ready to run, and no core was had.
    pub delayed_ns: u64,
}

impl ThreadTimes {
    /// The times now.
    #[must_use]
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap_or(0));
        Self { cpu_ns: numbers.next().unwrap_or(0), delayed_ns: numbers.next().unwrap_or(0) }
    }
}

fn own_cpu_ns(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end between the listing and the reading.
        let text = task.ok().and_then(|task| fs::read_to_string(task.path().join("schedstat")).ok());
        sum += text.as_deref().and_then(first_number).unwrap_or(0);
    }
    Some(sum)
}

fn own_weight(pid: u32) -> Option<Weight> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Some(Weight {
        rss_bytes: kibibytes(&rollup, "Rss:")?,
        rss_peak_bytes: kibibytes(&status, "VmHWM:")?,
        anonymous_bytes: kibibytes(&rollup, "Anonymous:")?,
        shared_bytes: kibibytes(&rollup, "Pss_Shmem:").unwrap_or(0),
        descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX),
    })
}

/// Whether this process was told to ignore a signal, `SigIgn` of proc(5); not if that cannot be read.
pub(crate) fn ignores(signal: i32) -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_ignored(&status, signal))
}

/// Signal 1 is the lowest bit of the mask.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).is_some_and(|rest| rest & 1 == 1))
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// User and system time of a line of `/proc/<pid>/stat`, in nanoseconds.
fn parts(stat: &str) -> Option<(u64, u64)> {
    // proc(5): fields 14 and 15; the second, the program's name, may itself hold blanks and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next_ns = || fields.next()?.parse::<u64>().ok()?.checked_mul(TICK_NS);
    Some((next_ns()?, next_ns()?))
}

fn kibibytes(rollup: &str, key: &str) -> Option<u64> {
    rollup.lines().find_map(|line| line.strip_prefix(key)).and_then(first_number).map(|kib| kib * 1024)
}

/// The slope of a straight line through the points, by least squares; `None` for fewer than two.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = f64::from(u32::try_from(points.len()).ok().filter(|&count| count >= 2)?);
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|point| (point.0 - mean_x).powi(2)).sum();
    let joint: f64 = points.iter().map(|point| (point.0 - mean_x) * (point.1 - mean_y)).sum();
    (spread > 0.0).then_some(joint / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_rises_and_own_weight_is_there() {
        let own = Process::own();
        let before = own.cpu_ns().unwrap();
        // The kernel brings the figure up to date at its ticks, so work goes on until one has come.
        let risen = (0..1000).any(|_| {
            let sum: u64 = (0..1_000_000_u64).map(std::hint::black_box).sum();
            std::hint::black_box(sum);
            own.cpu_ns().unwrap() > before
        });
        assert!(risen);
        let weight = own.weight().unwrap();
        assert!(weight.rss_bytes >= weight.anonymous_bytes && weight.descriptors > 0);
        // The kernel counts by core and brings the peak up to date now and then: some pages off.
        assert!(weight.rss_peak_bytes + 4 * 1024 * 1024 > weight.rss_bytes);
        assert!(own.anonymous_bytes().unwrap() > 0);
    }

    #[test]
    fn threads_of_one_name_are_one_whatever_their_number() {
        let waiting = ["some-1", "some-27", "other"].map(|name| {
            let (sender, ended) = std::sync::mpsc::channel::<()>();
            let (told, started) = std::sync::mpsc::channel::<()>();
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                told.send(()).unwrap();
                ended.recv().is_err()
            });
            // A thread names itself before it runs what it was given.
            started.recv().unwrap();
            (sender, thread.unwrap())
        });
        let sum = Process::own().cpu_ns_by_thread();
        assert!(sum.contains_key("some") && sum.contains_key("other") && !sum.contains_key("some-1"), "{sum:?}");
        for (sender, thread) in waiting {
            drop(sender);
            assert!(thread.join().unwrap());
        }
        assert_eq!(Process { pid: u32::MAX }.cpu_ns_by_thread(), BTreeMap::new());
    }

    #[test]
    fn what_is_ignored_stands_in_the_mask() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t8000000000001001\nSigCgt:\t0000000000000002\n";
        for (signal, expected) in [(1, true), (2, false), (13, true), (64, true), (65, false), (0, false), (-1, false)]
        {
            assert_eq!(is_ignored(status, signal), expected, "{signal}");
        }
        assert!(!is_ignored("SigIgn:\tnonsense\n", 1) && !is_ignored("", 1));
    }

    #[test]
    fn user_and_system_time_are_told_apart() {
        let check = |stat: &str, expected| assert_eq!(parts(stat), expected, "{stat}");
        let tail = "S 1 2 3 0 -1 4194560 100 0 5 0 17 4 99 99 20 0 3 0 12345 1 2";
        check(&format!("7 (waystation) {tail}"), Some((170_000_000, 40_000_000)));
        check(&format!("7 (a name) 1 2 (of sorts)) {tail}"), Some((170_000_000, 40_000_000)));
        check("7 (waystation) S 1 2 3 0 -1 4194560 100 0 5 0 17", None);
        check("7 (waystation) S 1 2 3 0 -1 4194560 100 0 5 0 x 4", None);
        check(&format!("7 (waystation) S 1 2 3 0 -1 4194560 100 0 5 0 {} 4", u64::MAX), None);
        check("", None);
        assert!(Process::own().cpu_times().is_some());
        assert_eq!(Process { pid: u32::MAX }.cpu_times(), None);
    }

    #[test]
    fn times_are_taken_from_one_another_and_added() {
        let times = |sum_ns, user_ns, system_ns| CpuTimes { sum_ns, user_ns, system_ns };
        assert_eq!(times(9, 5, 3).since(times(4, 3, 2)), times(5, 2, 1));
        // A thread that ended took its time with it.
        assert_eq!(times(1, 5, 3).since(times(4, 3, 2)), times(0, 2, 1));
        assert_eq!(times(9, 5, 3).plus(times(4, 3, 2)), times(13, 8, 5));
    }

    #[test]
    fn slope_of_a_line_is_found() {
        assert_eq!(slope(&[(0.0, 5.0)]), None);
        assert_eq!(slope(&[(1.0, 5.0), (1.0, 6.0)]), None);
        assert!((slope(&[(0.0, 5.0), (10.0, 25.0), (20.0, 45.0)]).unwrap() - 2.0).abs() < 1e-9);
    }
}
