//! Two servers against each other: the same scenario, ratio of processor time per delivery.
//!
//! Pairs are interleaved, and the order within a pair alternates, so that a machine that drifts weighs on both alike.
//! `sliced` goes further: within a pair both servers are up and run in turn, a slice each; else one is run as a whole
//! after the other. What is judged is the upper bound of the median ratio, not the median: a bound that is kept is kept with 95 %
//! certainty. `suite` runs several such contests from one file.

mod sliced;
mod suite;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use serde::Serialize;

use crate::launch::Launched;
use crate::limits::REPEATS_COUNT_MAX;
use crate::plan::{self, ENDED_EARLY, Setting};
use crate::process::Process;
use crate::report::{Report, ServerReport, by_thread};
use crate::scenario::Scenario;

pub use sliced::Slicing;
pub use suite::{Row, Suite, SuiteResult};
pub use verdict::Verdict;

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub struct Contest<'a> {
    /// Commands of the two servers, for a shell.
    pub commands: [&'a str; 2],
    /// How often each is run.
    pub pairs: usize,
    /// Core for the servers.
    pub cpu: Option<usize>,
    /// How both run in slices; without it one runs after the other.
    pub slicing: Option<&'a Slicing>,
}

/// Processor microseconds per delivery, by who spent them. The kernel tells both apart by where its ticks find a thread:
/// the sum is exact, the parts are samples.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub struct Parts {
    /// In the program.
    pub user: f64,
    /// In the kernel on its behalf.
    pub system: f64,
}

/// What came out.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    /// Processor microseconds per delivery of both, by pair.
    pub cpu_us_per_delivery: Vec<[f64; 2]>,
    /// The same in the program and in the kernel, the mean of all pairs.
    pub parts_us_per_delivery: [Parts; 2],
    /// The same by the name of the server's thread, the mean of all pairs.
    pub threads_us_per_delivery: [BTreeMap<String, f64>; 2],
    /// Share of a core of both, by pair.
    pub busy: Vec<[f64; 2]>,
    /// Deliveries a second of both, by pair.
    pub delivered_per_s: Vec<[f64; 2]>,
    /// Mean bytes of a delivered message of both, by pair; unequal ones make the ratio unfair.
    pub bytes_per_delivery: Vec<[f64; 2]>,
    /// Seconds that were measured of both, by pair.
    pub running_s: Vec<[f64; 2]>,
    /// Slices in them, by pair; 0 for what is run as a whole.
    pub slices: Vec<[u64; 2]>,
    /// Share of the measured time that handing over took of both together, by pair.
    pub handover: Vec<f64>,
    /// First over second, by pair, in order of time.
    pub ratios_by_pair: Vec<f64>,
    /// First over second, by pair, ascending.
    pub ratios: Vec<f64>,
    /// What the ratios say together.
    pub verdict: Verdict,
    /// Runs that failed or were invalid, with the reason.
    pub objections: Vec<String>,
}

impl Contest<'_> {
    /// Runs all pairs and compares what a delivery costs, telling `progress` about each.
    ///
    /// # Errors
    /// A server did not start, or a run could not be made.
    pub fn run(
        &self,
        scenario: &Scenario,
        settings: &mut [Setting; 2],
        bound: Option<f64>,
        progress: &mut dyn Write,
    ) -> Result<Comparison, String> {
        let mut comparison = Comparison::default();
        self.each_pair(scenario, settings, &mut |pair, reports| comparison.add(pair, reports, progress))?;
        comparison.ratios.sort_by(f64::total_cmp);
        let pairs = comparison.ratios.len().max(1) as f64;
        comparison.threads_us_per_delivery.iter_mut().flat_map(BTreeMap::values_mut).for_each(|us| *us /= pairs);
        for parts in &mut comparison.parts_us_per_delivery {
            (parts.user, parts.system) = (parts.user / pairs, parts.system / pairs);
        }
        comparison.verdict = Verdict::new(&comparison.ratios, bound);
        Ok(comparison)
    }

    /// Runs all pairs, the first server first in the even ones and second in the odd ones.
    ///
    /// # Errors
    /// A server did not start, a run could not be made, or `on_pair` refuses.
    pub fn each_pair(
        &self,
        scenario: &Scenario,
        settings: &mut [Setting; 2],
        on_pair: &mut dyn FnMut(usize, [Report; 2]) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.pairs == 0 || self.pairs > REPEATS_COUNT_MAX {
            return Err(format!("{} pairs: must be 1 to {REPEATS_COUNT_MAX}", self.pairs));
        }
        for pair in 0..self.pairs {
            let first = pair % 2;
            let reports = match self.slicing {
                Some(slicing) => slicing.run(self, first, scenario, settings)?,
                None if first == 0 => {
                    let a = self.run_one(0, scenario, settings)?;
                    [a, self.run_one(1, scenario, settings)?]
                }
                None => {
                    let b = self.run_one(1, scenario, settings)?;
                    [self.run_one(0, scenario, settings)?, b]
                }
            };
            on_pair(pair, reports)?;
        }
        Ok(())
    }

    fn run_one(&self, which: usize, scenario: &Scenario, settings: &mut [Setting; 2]) -> Result<Report, String> {
        let setting = &mut settings[which];
        let of_server = |error| format!("server {}: {error}", name(which));
        let server = Launched::start(self.commands[which], self.cpu, setting.door()).map_err(of_server)?;
        setting.server = Some(Process::new(server.id())?);
        let report = plan::run(scenario, setting).map_err(of_server)?;
        server.end().map_err(of_server)?;
        match setting.stop.requested() {
            true => Err(ENDED_EARLY.to_owned()),
            false => Ok(report),
        }
    }
}

impl Comparison {
    fn add(&mut self, pair: usize, reports: [Report; 2], progress: &mut dyn Write) -> Result<(), String> {
        let (mut cpu, mut busy, mut rate, mut bytes) = ([0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]);
        for (which, report) in reports.iter().enumerate() {
            let server = report.server.as_ref().ok_or("the server's processor time is unknown")?;
            (cpu[which], busy[which]) = (server.cpu_us_per_delivery, server.busy);
            self.parts_us_per_delivery[which].add(server);
            for (name, us) in &server.threads {
                *self.threads_us_per_delivery[which].entry(name.clone()).or_default() += us;
            }
            rate[which] = report.groups.iter().map(|group| group.delivered_per_s).sum();
            bytes[which] = report.bytes_per_delivery();
            let reasons = report.objections().into_iter().chain(report.invalid.clone());
            self.objections.extend(reasons.map(|reason| format!("pair {pair}, {}: {reason}", name(which))));
        }
        let (running, slices, handover) = times(&reports);
        let ratio = cpu[0] / cpu[1];
        // The last word is the comparison's; a progress line that cannot be written is no reason to stop.
        let side = |which: usize| {
            let (busy, sliced) = (100.0 * busy[which], slices[which] > 0);
            let slices = if sliced { format!("  {} slices", slices[which]) } else { String::new() };
            format!("{:.3} us  {busy:.1} %  {:.0}/s  {:.2} s{slices}", cpu[which], rate[which], running[which])
        };
        let lost = if handover > 0.0 { format!("  handing over {:.2} %", 100.0 * handover) } else { String::new() };
        let _ = writeln!(progress, "pair {pair:>2}  a {}   b {}   ratio {ratio:.3}{lost}", side(0), side(1));
        self.cpu_us_per_delivery.push(cpu);
        self.busy.push(busy);
        self.delivered_per_s.push(rate);
        self.bytes_per_delivery.push(bytes);
        self.running_s.push(running);
        self.slices.push(slices);
        self.handover.push(handover);
        self.ratios_by_pair.push(ratio);
        self.ratios.push(ratio);
        Ok(())
    }

    /// What the programs take themselves and what the kernel does for them; of servers that work in several threads, what
    /// each of these takes.
    pub(crate) fn write_parts(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        let [a, b] = self.parts_us_per_delivery;
        if a != Parts::default() && b != Parts::default() {
            let more = (a.user - b.user, a.system - b.system);
            writeln!(
                f,
                "CPU per delivery in the program and in the kernel: a {:.3} + {:.3} us  b {:.3} + {:.3} us  a - b {:+.3} {:+.3} us",
                a.user, a.system, b.user, b.system, more.0, more.1,
            )?;
        }
        for (which, threads) in self.threads_us_per_delivery.iter().enumerate() {
            if let Some(threads) = by_thread(threads) {
                writeln!(f, "CPU per delivery of {}, by thread: {threads}", name(which))?;
            }
        }
        Ok(())
    }

    /// The verdict in a word.
    pub(crate) fn word(&self) -> &'static str {
        match self.exit_code() {
            0 => "within",
            3 if self.verdict.upper.is_none() => "too few pairs",
            3 => "EXCEEDS",
            _ => "failed",
        }
    }

    /// 0 good, 1 a run failed or was invalid, 3 the bound is not shown to be kept.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.objections.is_empty(), self.verdict.exceeds()) {
            (false, _) => 1,
            (true, true) => 3,
            (true, false) => 0,
        }
    }
}

/// Measured seconds and slices of both, and the share that handing over took of both together.
fn times(reports: &[Report; 2]) -> ([f64; 2], [u64; 2], f64) {
    let measured = |report: &Report| {
        let phases = report.phases.iter().filter(|phase| phase.measured);
        phases.map(|phase| phase.end_s - phase.from_s).sum::<f64>()
    };
    let running = [measured(&reports[0]), measured(&reports[1])];
    let slices = [&reports[0], &reports[1]].map(|report| report.slices.map_or(0, |slices| slices.count));
    let handover_s: f64 = reports.iter().filter_map(|report| report.slices).map(|slices| slices.handover_s).sum();
    (running, slices, handover_s / (running[0] + running[1] + handover_s).max(f64::MIN_POSITIVE))
}

impl Parts {
    /// Adds what one run took.
    fn add(&mut self, server: &ServerReport) {
        let seen_s = server.user_s + server.system_s;
        if seen_s > 0.0 {
            self.user += server.cpu_us_per_delivery * server.user_s / seen_s;
            self.system += server.cpu_us_per_delivery * server.system_s / seen_s;
        }
    }
}

fn name(which: usize) -> &'static str {
    ["a", "b"][which]
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ratio a/b of CPU per delivery: {}  ({} pairs)", self.verdict, self.ratios.len())?;
        let last = self.bytes_per_delivery.last().copied().unwrap_or_default();
        writeln!(f, "bytes per delivery: a {:.1}  b {:.1}", last[0], last[1])?;
        self.write_parts(f)?;
        for objection in &self.objections {
            writeln!(f, "OBJECTION {objection}")?;
        }
        Ok(())
    }
}
