//! What one thread's engine knows, as a report of its share of the run.

use serde::{Deserialize, Serialize};

use crate::adapter::Outgoing;
use crate::engine::{Engine, Found, GroupTraffic, KindTraffic, PhaseTraffic, Subject};
use crate::plan::Own;
use crate::report::{
    Environment, FindingReport, GroupReport, KindReport, LiveReport, OpeningReport, RecoveryReport, Report, Timeline,
};
use crate::scenario::{Group, Scenario, Share};
use crate::stats::{Latency, Percentiles, rounded, rounded_fine};

/// One phase of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Its name.
    pub name: String,
    /// Whether its latencies are in the groups' ones.
    pub measured: bool,
    /// Its beginning, since the first thread was ready to begin.
    pub from_s: f64,
    /// Its end.
    pub end_s: f64,
    /// Publishes sent while it went on.
    pub published: u64,
    /// Deliveries had while it went on.
    pub delivered: u64,
    /// The same a second.
    pub published_per_s: f64,
    /// The same a second.
    pub delivered_per_s: f64,
    /// Latency of what was intended in it, from the intended send, all groups together.
    pub latency: Percentiles,
    /// The same from the actual send.
    pub latency_uncorrected: Percentiles,
    /// Actual minus intended send.
    pub lateness: Percentiles,
    /// Processor seconds of the server, if its process is known.
    pub server_cpu_s: Option<f64>,
}

/// One thread of the generator, in the measured time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreadReport {
    /// Its number in its process.
    pub thread: usize,
    /// Its core, if it was bound to one.
    pub cpu: Option<usize>,
    /// Connections it drove.
    pub connections: usize,
    /// Share of the time in which it was not waiting; being pushed off its core counts as busy.
    pub busy: f64,
    /// Share of the time in which it had a core.
    pub had: f64,
    /// Share of the time in which it could have run and had none.
    pub starved: f64,
    /// Lateness of its sends that 99 of 100 do not exceed, of the group and phase where it was largest.
    pub lateness_p99_us: f64,
}

/// Turns that the generator took with another one, in the measured time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SlicesReport {
    /// Slices that began in it.
    pub count: u64,
    /// Time in which the generator and its server ran.
    pub running_s: f64,
    /// Time from the end of the other's slices until the own server ran; nobody's running time.
    pub handover_s: f64,
}

impl PhaseReport {
    fn new(phase: &PhaseTraffic, zero_ns: u64) -> Self {
        let all = |of: fn(&crate::engine::Traffic) -> &Latency| {
            let mut sum = Latency::new();
            phase.groups.iter().for_each(|group| sum.merge(of(group)));
            sum.percentiles()
        };
        let since_s = |at_ns: u64| rounded_fine(at_ns.saturating_sub(zero_ns) as f64 / 1e9);
        let (from_s, end_s) = (since_s(phase.from_ns), since_s(phase.end_ns));
        let per_s = |count: u64| rounded(count as f64 / (end_s - from_s).max(1e-9));
        let published = phase.groups.iter().map(|group| group.published).sum();
        let delivered = phase.groups.iter().map(|group| group.delivered).sum();
        Self {
            name: phase.name.clone(),
            measured: phase.measured,
            from_s,
            end_s,
            published,
            delivered,
            published_per_s: per_s(published),
            delivered_per_s: per_s(delivered),
            latency: all(|group| &group.corrected),
            latency_uncorrected: all(|group| &group.uncorrected),
            lateness: all(|group| &group.lateness),
            server_cpu_s: None,
        }
    }
}

impl Report {
    /// Collects what one thread's engine knows.
    pub(crate) fn new(mut engine: Engine<'_>, thread: usize, cpu: Option<usize>, own: &Own) -> Self {
        engine.finish_recording();
        let scenario = engine.scenario.clone();
        let zero_ns = engine.phases.first().map_or(0, |phase| phase.from_ns);
        let worst = worst_lateness(&engine);
        let share = |part_ns: u64| rounded_fine(part_ns as f64 / own.window_ns.max(1) as f64);
        let busy = if own.window_ns > 0 { 1.0 - share(own.idle_ns) } else { 0.0 };
        let threads = vec![ThreadReport {
            thread,
            cpu,
            connections: engine.connections_count(),
            busy: rounded_fine(busy),
            had: share(own.times.cpu_ns),
            starved: own.starved(),
            lateness_p99_us: worst.as_ref().map_or(0.0, |(late_us, _)| *late_us),
        }];
        let slices = engine.slices.wanted().then(|| SlicesReport {
            count: own.slices,
            running_s: rounded_fine(own.window_ns as f64 / 1e9),
            handover_s: rounded_fine(own.handover_ns as f64 / 1e9),
        });
        let (faults, findings) = engine.close_checker();
        let findings = named(&scenario, findings);
        let mut report = Self {
            slices,
            adapter: engine.adapter.name.clone(),
            server_version: engine.server_version.take(),
            flags: Vec::new(),
            seed: engine.seed,
            environment: Environment::default(),
            slos: Vec::new(),
            openings: engine.openings.iter().map(|opening| OpeningReport::new(opening, None)).collect(),
            groups: groups(&engine),
            phases: engine.phases.iter().map(|phase| PhaseReport::new(phase, zero_ns)).collect(),
            recoveries: engine.storms.all.iter().map(RecoveryReport::new).collect(),
            rest: engine.idle.rest,
            live: if engine.storms.all.is_empty() { Vec::new() } else { LiveReport::all(&engine.storms.live) },
            slow: std::mem::take(&mut engine.slow),
            parts: Vec::new(),
            closes_expected: (engine.closes_expected, engine.refusals_expected()),
            faults,
            findings,
            events: engine.events,
            closes: engine.closes,
            refusals: engine.refusals,
            protocol_faults: engine.protocol_faults,
            server: None,
            own_busy: threads[0].busy,
            own_cpu: threads[0].had,
            threads,
            invalid: None,
            timeline: Timeline::default(),
            scenario,
        };
        report.invalid = report.why_invalid(worst.map(|(_, name)| name));
        report
    }

    /// Why one thread's figures say nothing, if they do not; `where_late` is where its sends were latest.
    fn why_invalid(&self, where_late: Option<String>) -> Option<String> {
        let own = self.threads.first()?;
        if own.lateness_p99_us > self.scenario.lateness_p99_max_us as f64 {
            let place = where_late.unwrap_or_default();
            return Some(format!("{place}: sends {:.0} us late at p99", own.lateness_p99_us));
        }
        let (starved, most) = (100.0 * own.starved, 100.0 * self.scenario.starved_max);
        (starved > most).then(|| format!("thread {}: had no core for {starved:.0} % of the time", own.thread))
    }
}

/// The faults with the names of their rooms.
fn named(scenario: &Scenario, findings: Vec<Found>) -> Vec<FindingReport> {
    let named = findings.into_iter().map(|Found { group, number, subject, finding }| {
        let group = &scenario.group[group];
        let of = if subject == Subject::Answer { " (answers)" } else { "" };
        FindingReport { group: group.name.clone(), path: format!("{}{of}", group.path(number)), finding }
    });
    named.collect()
}

/// Of all measured phases and groups the one whose sends were latest, at the 99th percentile.
fn worst_lateness(engine: &Engine<'_>) -> Option<(f64, String)> {
    let mut worst: Option<(f64, String)> = None;
    for phase in engine.phases.iter().filter(|phase| phase.measured) {
        for (group, traffic) in engine.scenario.group.iter().zip(&phase.groups) {
            let late_us = traffic.lateness.quantile_us(0.99);
            if late_us > worst.as_ref().map_or(0.0, |(late_us, _)| *late_us) {
                worst = Some((late_us, format!("group {} in phase {}", group.name, phase.name)));
            }
        }
    }
    worst
}

fn kinds(group: &Group, traffic: &GroupTraffic<'_>) -> Vec<KindReport> {
    let told = group.shares().into_iter().zip(&traffic.kinds).zip(&traffic.outgoing);
    let report = |((share, traffic), outgoing): ((Share, &KindTraffic), &Outgoing<'_>)| KindReport {
        kind: share.kind,
        published: traffic.published,
        delivered: traffic.delivered,
        answers: outgoing.book.is_some(),
        latency: traffic.corrected.percentiles(),
    };
    told.map(report).collect()
}

fn groups(engine: &Engine<'_>) -> Vec<GroupReport> {
    let measured: Vec<&PhaseTraffic> = engine.phases.iter().filter(|phase| phase.measured).collect();
    let window_ns: u64 = measured.iter().map(|phase| phase.end_ns.saturating_sub(phase.from_ns)).sum();
    let per_s = |count: u64| if window_ns > 0 { rounded(count as f64 * 1e9 / window_ns as f64) } else { 0.0 };
    let groups = engine.scenario.group.iter().zip(&engine.groups).enumerate();
    let groups = groups.map(|(number, (group, traffic))| {
        let of = || measured.iter().filter_map(|phase| phase.groups.get(number));
        let (mut latency, mut uncorrected, mut lateness) = (Latency::new(), Latency::new(), Latency::new());
        for phase in of() {
            latency.merge(&phase.corrected);
            uncorrected.merge(&phase.uncorrected);
            lateness.merge(&phase.lateness);
        }
        GroupReport {
            name: group.name.clone(),
            published: traffic.published,
            delivered: traffic.delivered,
            replayed: traffic.replayed,
            bytes_per_delivery: rounded(traffic.delivered_bytes as f64 / traffic.delivered.max(1) as f64),
            kinds: kinds(group, traffic),
            blocked: traffic.blocked,
            absent: traffic.absent,
            published_per_s: per_s(of().map(|phase| phase.published).sum()),
            delivered_per_s: per_s(of().map(|phase| phase.delivered).sum()),
            latency: latency.percentiles(),
            latency_uncorrected: uncorrected.percentiles(),
            lateness: lateness.percentiles(),
        }
    });
    groups.collect()
}
