//! What came out of a run, for people and for programs.
//!
//! A `Report` has everything that is known of a run, and stands whole in `summary.json`: every other file, and every
//! comparison, is made from it alone. `text` is what a terminal shows, `environment` the machine, `timeline` the course
//! of the run by the second, `summary` the file, `directory` all files of a run; the other modules are one file each.

mod ci;
mod collect;
mod directory;
mod doctor;
mod environment;
mod findings;
mod flags;
mod html;
mod intervals;
mod junit;
mod markdown;
mod percentiles;
mod rest;
mod rows;
mod storms;
mod summary;
mod text;
mod timeline;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checker::Faults;
use crate::deal::Part;
use crate::engine::{Opening, SlowTraffic};
use crate::plan::ENDED_EARLY;
use crate::process::{CpuTimes, Weight};
use crate::scenario::Scenario;
use crate::stats::{Latency, Names, Percentiles, rounded, rounded_fine};
use crate::words::counted;

pub use collect::{PhaseReport, SlicesReport, ThreadReport};
pub use directory::{RunDirectory, append_step_summary};
pub use doctor::{Ailment, Doctor};
pub(crate) use environment::MachineTicks;
pub use environment::{Environment, Revision};
pub use findings::FindingReport;
pub(crate) use findings::merge as merge_findings;
pub use flags::without_secrets;
pub(crate) use markdown::{escaped, shown};
pub use rest::{RestCost, RestReport};
pub use storms::{LiveReport, RecoveryReport, ratio};
pub use summary::SCHEMA;
pub(crate) use text::by_thread;
pub use timeline::{Growing, Point, Slice, Timeline, slice_histogram};

/// A whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// What was asked for.
    pub scenario: Scenario,
    /// What the command line said besides, without its secrets.
    #[serde(default)]
    pub flags: Vec<String>,
    /// What the run's chance began with: the same gives the same frames.
    pub seed: u64,
    /// Where it ran.
    pub environment: Environment,
    /// Name of the adapter that the server was spoken to with; empty in results of before it was noted.
    #[serde(default)]
    pub adapter: String,
    /// What the server says it is.
    #[serde(default)]
    pub server_version: Option<String>,
    /// Objectives that the run was to meet, if it had any.
    #[serde(default)]
    pub slos: Vec<SloReport>,
    /// Waves of openings.
    pub openings: Vec<OpeningReport>,
    /// Traffic by group.
    pub groups: Vec<GroupReport>,
    /// The phases, in order.
    #[serde(default)]
    pub phases: Vec<PhaseReport>,
    /// Storms that members came back from to where they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recoveries: Vec<RecoveryReport>,
    /// Live delivery before, in and after those, in this order; empty if there were none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<LiveReport>,
    /// What idle connections took, if they were held for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<RestReport>,
    /// What concerns connections that read slowly on purpose.
    #[serde(default)]
    pub slow: SlowTraffic,
    /// The generator's threads.
    #[serde(default)]
    pub threads: Vec<ThreadReport>,
    /// Turns with another generator, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<SlicesReport>,
    /// Which parts of the run are in it.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// What the checker found.
    pub faults: Faults,
    /// The first faults of each kind by name; `faults` counts all of them.
    #[serde(default)]
    pub findings: Vec<FindingReport>,
    /// Events other than deliveries, by type.
    pub events: Names,
    /// Ends that were not asked for, by reason.
    pub closes: Names,
    /// Ends that were asked for, and how many were.
    pub closes_expected: (u64, u64),
    /// The first refusals, as the server worded them.
    pub refusals: Vec<String>,
    /// Frames that break the protocol.
    pub protocol_faults: Names,
    /// The server, if its process is known.
    pub server: Option<ServerReport>,
    /// Share of the measured time in which the generator was not waiting; being pushed off its core counts as busy.
    pub own_busy: f64,
    /// Processor time the generator got, as a share of the measured time; all of it when it spins.
    pub own_cpu: f64,
    /// Why the run says nothing, if it does not.
    pub invalid: Option<String>,
    /// The course of the run.
    #[serde(default)]
    pub timeline: Timeline,
}

/// One objective and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloReport {
    /// As it was asked for.
    pub slo: String,
    /// What was measured; `None` if the run did not measure it, which does not meet the objective.
    pub measured: Option<f64>,
    /// What `measured` is counted in.
    pub unit: String,
    /// Whether it was met.
    pub met: bool,
    /// How much of the bound was used, of 1, where that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<f64>,
}

/// One wave of openings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpeningReport {
    /// Connections wanted.
    pub wanted: usize,
    /// Connections joined.
    pub ready: usize,
    /// First connect to last joined, in seconds.
    pub took_s: f64,
    /// The others, by reason.
    pub failures: Names,
    /// Connect to connected.
    pub connect: Percentiles,
    /// Request to response.
    pub upgrade: Percentiles,
    /// Response to joined.
    pub join: Percentiles,
    /// Connect to joined.
    pub total: Percentiles,
    /// What it cost the server, if its process is known.
    pub cost: Option<OpeningCost>,
}

/// Processor time of the server, from before a wave's first connect to after its last join; what lies between steps is
/// not in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OpeningCost {
    /// Seconds in all.
    pub cpu_s: f64,
    /// Seconds in the program; this and the next are counted in ticks of 10 ms.
    pub user_s: f64,
    /// Seconds in the kernel.
    pub system_s: f64,
    /// Connections accepted, authenticated and joined in one such second; those that failed have their cost in it.
    /// `None` if the time is too short to be seen.
    pub joined_per_cpu_s: Option<f64>,
}

impl OpeningCost {
    pub(crate) fn new(joined: u64, times: CpuTimes) -> Self {
        let cpu_s = times.sum_ns as f64 / 1e9;
        Self {
            cpu_s: rounded_fine(cpu_s),
            user_s: rounded_fine(times.user_ns as f64 / 1e9),
            system_s: rounded_fine(times.system_ns as f64 / 1e9),
            joined_per_cpu_s: (times.sum_ns > 0).then(|| rounded(joined as f64 / cpu_s)),
        }
    }
}

/// One group's traffic.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupReport {
    /// Name of the group.
    pub name: String,
    /// Publishes of the whole run.
    pub published: u64,
    /// Deliveries of the whole run.
    pub delivered: u64,
    /// Those of them that a member had missed and got when it came back; they have no latency.
    #[serde(default)]
    pub replayed: u64,
    /// Mean bytes of a delivered message: two servers are comparable only if they send the same.
    pub bytes_per_delivery: f64,
    /// Publishes not sent, because the connection could not take them.
    pub blocked: u64,
    /// Publishes not sent, because a phase had not opened the publisher yet, or had cut it.
    #[serde(default)]
    pub absent: u64,
    /// Publishes a second in the measured time.
    pub published_per_s: f64,
    /// Deliveries a second in the measured time.
    pub delivered_per_s: f64,
    /// Latency from the intended send.
    pub latency: Percentiles,
    /// Latency from the actual send.
    pub latency_uncorrected: Percentiles,
    /// Actual minus intended send.
    pub lateness: Percentiles,
    /// The kinds of a mix, and of questions.
    #[serde(default)]
    pub kinds: Vec<KindReport>,
}

/// One kind of messages in a group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KindReport {
    /// The kind.
    pub kind: String,
    /// Publishes of the whole run.
    pub published: u64,
    /// Deliveries of the whole run that could be told, or answers; of some kinds none can.
    pub delivered: u64,
    /// Whether they are answers to who asked; the group's own figures have none of them.
    #[serde(default)]
    pub answers: bool,
    /// Latency from the intended send.
    pub latency: Percentiles,
}

/// The server as seen from outside.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct ServerReport {
    /// Processor seconds in the measured time.
    pub cpu_s: f64,
    /// Of these, seconds in the program; this and the next are counted in ticks of 10 ms.
    #[serde(default)]
    pub user_s: f64,
    /// Seconds in the kernel.
    #[serde(default)]
    pub system_s: f64,
    /// Share of one core in the measured time.
    pub busy: f64,
    /// Processor microseconds per delivery in the measured time.
    pub cpu_us_per_delivery: f64,
    /// Of that, by the name of the thread; those that differ by a number at the end are one.
    #[serde(default)]
    pub threads: BTreeMap<String, f64>,
    /// Before the first connection.
    pub weight_before: Option<Weight>,
    /// With all connections up.
    pub weight_connected: Option<Weight>,
    /// After the last connection ended.
    pub weight_after: Option<Weight>,
    /// Anonymous bytes by number of connections.
    pub steps: Vec<(usize, Weight)>,
    /// Anonymous bytes per connection, the slope over the steps.
    pub bytes_per_connection: Option<f64>,
}

impl OpeningReport {
    pub(crate) fn new(opening: &Opening, cpu: Option<CpuTimes>) -> Self {
        let total = opening.total.percentiles();
        Self {
            wanted: opening.wanted,
            ready: opening.ready,
            took_s: rounded_fine(opening.took_ns as f64 / 1e9),
            failures: opening.failures.clone(),
            connect: opening.connect.percentiles(),
            upgrade: opening.upgrade.percentiles(),
            join: opening.join.percentiles(),
            cost: cpu.map(|times| OpeningCost::new(total.count, times)),
            total,
        }
    }
}

impl Report {
    /// Latencies from the intended send, of all groups together.
    #[must_use]
    pub fn latency(&self) -> Latency {
        together(self.groups.iter().map(|group| &group.latency))
    }

    /// Latencies from the actual send, of all groups together.
    #[must_use]
    pub fn latency_uncorrected(&self) -> Latency {
        together(self.groups.iter().map(|group| &group.latency_uncorrected))
    }

    /// Times from connect to joined, of all waves together.
    #[must_use]
    pub fn latency_of_openings(&self) -> Latency {
        together(self.openings.iter().map(|opening| &opening.total))
    }

    /// How the server was spoken to, and what it says it is.
    #[must_use]
    pub fn spoken_to(&self) -> String {
        let adapter = if self.adapter.is_empty() { "not noted" } else { &self.adapter };
        let version = self.server_version.as_ref().map(|version| format!(", the server says it is {version}"));
        format!("{adapter}{}", version.unwrap_or_default())
    }

    /// Mean bytes of a delivered message over all groups.
    #[must_use]
    pub fn bytes_per_delivery(&self) -> f64 {
        let delivered: u64 = self.groups.iter().map(|group| group.delivered).sum();
        let bytes: f64 = self.groups.iter().map(|group| group.bytes_per_delivery * group.delivered as f64).sum();
        bytes / delivered.max(1) as f64
    }

    /// What the checks object to; empty for a run that passes.
    #[must_use]
    pub fn objections(&self) -> Vec<String> {
        let mut objections = Vec::new();
        if !self.faults.none() {
            objections.push("deliveries are faulty".to_owned());
        }
        // What was not waited for is not missing.
        let whole = self.invalid.as_deref() != Some(ENDED_EARLY);
        for (wave, opening) in (1..).zip(&self.openings).filter(|_| whole) {
            if opening.ready < opening.wanted {
                objections.push(format!(
                    "wave {wave}: {} of {} joined",
                    opening.ready,
                    counted(opening.wanted, "connection")
                ));
            }
        }
        for (storm, recovery) in (1..).zip(&self.recoveries).filter(|_| whole) {
            let RecoveryReport { wanted, recovered, .. } = recovery;
            if recovered < wanted {
                objections.push(format!("storm {storm}: {recovered} of {wanted} members are recovered"));
            }
        }
        let (came, wanted) = self.closes_expected;
        if came != wanted && whole {
            objections.push(format!("{came} of {wanted} refusals came"));
        }
        let blocked: u64 = self.groups.iter().map(|group| group.blocked).sum();
        if blocked > 0 && wanted == 0 {
            objections.push(format!("{} could not be sent", counted(blocked, "publish")));
        }
        // A message that must be refused is announced as an error too.
        for kind in ["gap", "connection_error", "nack"] {
            let allowed = if kind == "connection_error" { wanted } else { 0 };
            if self.events.count(kind) > allowed {
                objections.push(format!("{} events {kind}", self.events.count(kind)));
            }
        }
        if self.closes.sum() > 0 {
            objections.push(format!("{} ended unasked", counted(self.closes.sum(), "connection")));
        }
        if self.protocol_faults.sum() > 0 {
            objections.push(counted(self.protocol_faults.sum(), "protocol fault"));
        }
        objections
    }

    /// The exit code: 0 passed, 1 a check failed, 3 the generator was too late for the figures to mean anything, 99 an
    /// objective was not met.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.objections().is_empty(), &self.invalid) {
            (false, _) => 1,
            (true, Some(_)) => 3,
            (true, None) if self.slos.iter().any(|slo| !slo.met) => 99,
            (true, None) => 0,
        }
    }
}

fn together<'a>(all: impl Iterator<Item = &'a Percentiles>) -> Latency {
    let mut sum = Latency::new();
    for of in all {
        sum.merge(&of.histogram);
    }
    sum
}

#[cfg(test)]
pub(crate) mod tests;
