//! Two servers against each other: started in turn, the same scenario, ratio of processor time per delivery.
//!
//! Pairs are interleaved, and the order within a pair alternates, so that a machine that drifts weighs on both alike.

use std::io::{self, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::Serialize;

use crate::clock::Clock;
use crate::limits::{SERVER_END_NS, SERVER_START_NS};
use crate::plan::{self, Setting};
use crate::process::Process;
use crate::report::Report;
use crate::scenario::Scenario;

/// What is compared.
#[derive(Debug)]
pub struct Contest<'a> {
    /// Commands of the two servers, for a shell.
    pub commands: [&'a str; 2],
    /// How often each is run.
    pub pairs: u32,
    /// Core for the servers.
    pub cpu: usize,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Processor microseconds per delivery of both, by pair.
    pub cpu_us_per_delivery: Vec<[f64; 2]>,
    /// Share of a core of both, by pair.
    pub busy: Vec<[f64; 2]>,
    /// Deliveries a second of both, by pair.
    pub delivered_per_s: Vec<[f64; 2]>,
    /// Mean bytes of a delivered message of both, by pair; unequal ones make the ratio unfair.
    pub bytes_per_delivery: Vec<[f64; 2]>,
    /// First over second, by pair, sorted.
    pub ratios: Vec<f64>,
    /// Runs that failed or were invalid, with the reason.
    pub objections: Vec<String>,
}

impl Contest<'_> {
    /// Runs all pairs, telling `progress` about each.
    ///
    /// # Errors
    /// A server did not start, or a run could not be made.
    pub fn run(
        &self,
        scenario: &Scenario,
        setting: &mut Setting,
        progress: &mut dyn Write,
    ) -> Result<Comparison, String> {
        let mut comparison = Comparison {
            cpu_us_per_delivery: Vec::new(),
            busy: Vec::new(),
            delivered_per_s: Vec::new(),
            bytes_per_delivery: Vec::new(),
            ratios: Vec::new(),
            objections: Vec::new(),
        };
        for pair in 0..self.pairs {
            let (mut cpu, mut busy, mut rate, mut bytes) = ([0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]);
            for turn in 0..2usize {
                let which = if pair % 2 == 0 { turn } else { 1 - turn };
                let report = self.run_one(which, scenario, setting)?;
                let server = report.server.as_ref().ok_or("the server's processor time is unknown")?;
                (cpu[which], busy[which]) = (server.cpu_us_per_delivery, server.busy);
                rate[which] = report.groups.iter().map(|group| group.delivered_per_s).sum();
                bytes[which] = report.bytes_per_delivery();
                let reasons = report.objections().into_iter().chain(report.invalid.clone());
                comparison.objections.extend(reasons.map(|reason| format!("pair {pair}, {}: {reason}", name(which))));
            }
            let ratio = cpu[0] / cpu[1];
            // The last word is the comparison's; a progress line that cannot be written is no reason to stop.
            let _ = writeln!(
                progress,
                "pair {pair:>2}  a {:.3} us  {:.1} %  {:.0}/s   b {:.3} us  {:.1} %  {:.0}/s   ratio {ratio:.3}",
                cpu[0],
                100.0 * busy[0],
                rate[0],
                cpu[1],
                100.0 * busy[1],
                rate[1],
            );
            comparison.cpu_us_per_delivery.push(cpu);
            comparison.busy.push(busy);
            comparison.delivered_per_s.push(rate);
            comparison.bytes_per_delivery.push(bytes);
            comparison.ratios.push(ratio);
        }
        comparison.ratios.sort_by(f64::total_cmp);
        Ok(comparison)
    }

    fn run_one(&self, which: usize, scenario: &Scenario, setting: &mut Setting) -> Result<Report, String> {
        let mut child = self.start(which)?;
        let outcome = wait_for(&mut child, setting).and_then(|()| {
            setting.server = Some(Process::new(child.id())?);
            plan::run(scenario, setting)
        });
        end(&mut child).map_err(|error| format!("cannot end server {}: {error}", name(which)))?;
        outcome.map_err(|error| format!("server {}: {error}", name(which)))
    }

    /// `exec` keeps the shell out of the way: the child's id is the server's.
    fn start(&self, which: usize) -> Result<Child, String> {
        let command = format!("exec taskset -c {} {}", self.cpu, self.commands[which]);
        let child = Command::new("sh").arg("-c").arg(&command).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        child.map_err(|error| format!("cannot start {command}: {error}"))
    }
}

fn wait_for(child: &mut Child, setting: &Setting) -> Result<(), String> {
    let clock = Clock::start();
    while clock.now_ns() < SERVER_START_NS {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("ended at once: {status}"));
        }
        if TcpStream::connect(setting.target.address).is_ok() {
            return Ok(());
        }
        Clock::sleep(Duration::from_millis(20));
    }
    Err("does not accept connections".to_owned())
}

fn end(child: &mut Child) -> io::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Some(pid), None) = (pid, child.try_wait()?) {
        rustix::process::kill_process(pid, Signal::TERM)?;
    }
    let clock = Clock::start();
    while clock.now_ns() < SERVER_END_NS {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        Clock::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait().map(drop)
}

fn name(which: usize) -> &'static str {
    ["a", "b"][which]
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |quantile| quantile_of(&self.ratios, quantile);
        writeln!(
            f,
            "ratio a/b of CPU per delivery: median {:.3}  min {:.3}  quartiles {:.3} {:.3}  max {:.3}  ({} pairs)",
            of(0.5),
            of(0.0),
            of(0.25),
            of(0.75),
            of(1.0),
            self.ratios.len()
        )?;
        let last = self.bytes_per_delivery.last().copied().unwrap_or_default();
        writeln!(f, "bytes per delivery: a {:.1}  b {:.1}", last[0], last[1])?;
        for objection in &self.objections {
            writeln!(f, "OBJECTION {objection}")?;
        }
        Ok(())
    }
}

/// The quantile of sorted values, between neighbours in proportion.
fn quantile_of(sorted: &[f64], quantile: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = quantile * last as f64;
    let mut below = 0;
    while below < last && ((below + 1) as f64) <= place {
        below += 1;
    }
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        for (sorted, quantile, expected) in [
            (&[3.0][..], 0.5, 3.0),
            (&[1.0, 2.0], 0.5, 1.5),
            (&[1.0, 2.0, 4.0], 0.5, 2.0),
            (&[1.0, 2.0, 4.0], 0.75, 3.0),
            (&[1.0, 2.0, 4.0], 1.0, 4.0),
            (&[1.0, 2.0, 4.0], 0.0, 1.0),
        ] {
            assert!((quantile_of(sorted, quantile) - expected).abs() < 1e-12, "{sorted:?} {quantile}");
        }
        assert!(quantile_of(&[], 0.5).is_nan());
    }
}
