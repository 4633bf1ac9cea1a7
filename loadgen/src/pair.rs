//! Two servers against each other: started in turn, the same scenario, ratio of processor time per delivery.
//!
//! Pairs are interleaved, and the order within a pair alternates, so that a machine that drifts weighs on both alike.
//! What is judged is the upper bound of the median ratio, not the median: a bound that is kept is kept with 95 %
//! certainty. `suite` runs several such contests from one file.

mod suite;

use std::fmt;
use std::io::Write;

use serde::Serialize;

use crate::interval::{Draws, Interval, SEED, quantile, sign_test};
use crate::launch::Launched;
use crate::limits::REPEATS_COUNT_MAX;
use crate::plan::{self, Setting};
use crate::process::Process;
use crate::report::Report;
use crate::scenario::Scenario;

pub use suite::{Row, Suite, SuiteResult};

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub struct Contest<'a> {
    /// Commands of the two servers, for a shell.
    pub commands: [&'a str; 2],
    /// How often each is run.
    pub pairs: usize,
    /// Core for the servers.
    pub cpu: Option<usize>,
}

/// What came out.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    /// Processor microseconds per delivery of both, by pair.
    pub cpu_us_per_delivery: Vec<[f64; 2]>,
    /// Share of a core of both, by pair.
    pub busy: Vec<[f64; 2]>,
    /// Deliveries a second of both, by pair.
    pub delivered_per_s: Vec<[f64; 2]>,
    /// Mean bytes of a delivered message of both, by pair; unequal ones make the ratio unfair.
    pub bytes_per_delivery: Vec<[f64; 2]>,
    /// First over second, by pair, ascending.
    pub ratios: Vec<f64>,
    /// What the ratios say together.
    pub verdict: Verdict,
    /// Runs that failed or were invalid, with the reason.
    pub objections: Vec<String>,
}

/// Ratios and the bound they are held to.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Median ratio.
    pub median: f64,
    /// A quarter of the ratios is at or below the first, a quarter at or above the second.
    pub quartiles: [f64; 2],
    /// The median's 95 % interval, if there are pairs enough for one.
    pub interval: Option<Interval>,
    /// The median lies at or below this with 95 % certainty.
    pub upper: Option<f64>,
    /// How likely such ratios are if neither server costs more: the two-sided sign test.
    pub sign_p: f64,
    /// What the upper bound must not exceed.
    pub bound: Option<f64>,
}

impl Verdict {
    /// Judges ascending ratios.
    #[must_use]
    pub fn new(ratios: &[f64], bound: Option<f64>) -> Self {
        let draws = Draws::of_median(ratios, SEED);
        Self {
            median: quantile(ratios, 0.5),
            quartiles: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
            interval: draws.as_ref().map(Draws::interval),
            upper: draws.as_ref().map(Draws::upper),
            sign_p: sign_test(ratios, 1.0),
            bound,
        }
    }

    /// Whether there is a bound that is not shown to be kept. Too few pairs show nothing, nor do ratios of nothing.
    #[must_use]
    pub fn exceeds(&self) -> bool {
        self.bound.is_some_and(|bound| !self.upper.is_some_and(|upper| upper <= bound))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.quartiles;
        write!(f, "median {:.3}  quartiles {low:.3} {high:.3}", self.median)?;
        match (self.interval, self.upper) {
            (Some(interval), Some(upper)) => {
                write!(f, "  95 % {:.3} to {:.3}  upper bound {upper:.3}", interval.low, interval.high)?;
            }
            _ => write!(f, "  no interval: it takes five pairs")?,
        }
        write!(f, "  sign test p {:.3}", self.sign_p)?;
        let Some(bound) = self.bound else { return Ok(()) };
        write!(f, "  {} {bound}", if self.exceeds() { "EXCEEDS" } else { "within" })
    }
}

impl Contest<'_> {
    /// Runs all pairs and compares what a delivery costs, telling `progress` about each.
    ///
    /// # Errors
    /// A server did not start, or a run could not be made.
    pub fn run(
        &self,
        scenario: &Scenario,
        setting: &mut Setting,
        bound: Option<f64>,
        progress: &mut dyn Write,
    ) -> Result<Comparison, String> {
        let mut comparison = Comparison::default();
        self.each_pair(scenario, setting, &mut |pair, reports| comparison.add(pair, reports, progress))?;
        comparison.ratios.sort_by(f64::total_cmp);
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
        setting: &mut Setting,
        on_pair: &mut dyn FnMut(usize, [Report; 2]) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.pairs == 0 || self.pairs > REPEATS_COUNT_MAX {
            return Err(format!("{} pairs: must be 1 to {REPEATS_COUNT_MAX}", self.pairs));
        }
        for pair in 0..self.pairs {
            let reports = if pair % 2 == 0 {
                let a = self.run_one(0, scenario, setting)?;
                [a, self.run_one(1, scenario, setting)?]
            } else {
                let b = self.run_one(1, scenario, setting)?;
                [self.run_one(0, scenario, setting)?, b]
            };
            on_pair(pair, reports)?;
        }
        Ok(())
    }

    fn run_one(&self, which: usize, scenario: &Scenario, setting: &mut Setting) -> Result<Report, String> {
        let of_server = |error| format!("server {}: {error}", name(which));
        let server = Launched::start(self.commands[which], self.cpu, setting.target.address).map_err(of_server)?;
        setting.server = Some(Process::new(server.id())?);
        let report = plan::run(scenario, setting).map_err(of_server)?;
        server.end().map_err(of_server)?;
        Ok(report)
    }
}

impl Comparison {
    fn add(&mut self, pair: usize, reports: [Report; 2], progress: &mut dyn Write) -> Result<(), String> {
        let (mut cpu, mut busy, mut rate, mut bytes) = ([0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]);
        for (which, report) in reports.iter().enumerate() {
            let server = report.server.as_ref().ok_or("the server's processor time is unknown")?;
            (cpu[which], busy[which]) = (server.cpu_us_per_delivery, server.busy);
            rate[which] = report.groups.iter().map(|group| group.delivered_per_s).sum();
            bytes[which] = report.bytes_per_delivery();
            let reasons = report.objections().into_iter().chain(report.invalid.clone());
            self.objections.extend(reasons.map(|reason| format!("pair {pair}, {}: {reason}", name(which))));
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
        self.cpu_us_per_delivery.push(cpu);
        self.busy.push(busy);
        self.delivered_per_s.push(rate);
        self.bytes_per_delivery.push(bytes);
        self.ratios.push(ratio);
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

fn name(which: usize) -> &'static str {
    ["a", "b"][which]
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ratio a/b of CPU per delivery: {}  ({} pairs)", self.verdict, self.ratios.len())?;
        let last = self.bytes_per_delivery.last().copied().unwrap_or_default();
        writeln!(f, "bytes per delivery: a {:.1}  b {:.1}", last[0], last[1])?;
        for objection in &self.objections {
            writeln!(f, "OBJECTION {objection}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ratios: &[f64], bound: Option<f64>, exceeds: bool) {
        let verdict = Verdict::new(ratios, bound);
        assert_eq!(verdict.exceeds(), exceeds, "{verdict}");
    }

    #[test]
    fn a_bound_is_kept_only_if_the_upper_bound_is_at_or_below_it() {
        check(&[1.1; 5], Some(1.1), false);
        check(&[1.1; 5], Some(1.099), true);
        // Of five the upper bound is the largest, of fifteen the fifth largest.
        check(&[1.0, 1.0, 1.0, 1.0, 1.2], Some(1.19), true);
        let mut fifteen = [1.0; 15];
        fifteen[11..].fill(1.5);
        check(&fifteen, Some(1.1), false);
        fifteen[10] = 1.5;
        check(&fifteen, Some(1.1), true);
        check(&[1.5; 5], None, false);
    }

    #[test]
    fn too_few_pairs_and_ratios_of_nothing_keep_no_bound() {
        check(&[1.0; 4], Some(2.0), true);
        check(&[], Some(2.0), true);
        check(&[1.0, 1.0, 1.0, f64::NAN, f64::NAN], Some(2.0), true);
        check(&[1.0, 1.0, f64::INFINITY, f64::INFINITY, f64::INFINITY], Some(2.0), true);
    }

    #[test]
    fn the_verdict_says_what_it_knows() {
        let text = Verdict::new(&[1.0, 1.1, 1.2, 1.3, 1.4], Some(1.3)).to_string();
        let expected = "median 1.200  quartiles 1.100 1.300  95 % 1.000 to 1.400  upper bound 1.400  sign test p 0.125  \
                        EXCEEDS 1.3";
        assert_eq!(text, expected);
        let text = Verdict::new(&[1.2], None).to_string();
        assert_eq!(text, "median 1.200  quartiles 1.200 1.200  no interval: it takes five pairs  sign test p 1.000");
    }
}
