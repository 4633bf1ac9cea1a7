//! What came out of a run, for people and for programs.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::checker::Faults;
use crate::engine::{Engine, Opening};
use crate::process::{CpuTimes, Weight};
use crate::scenario::Scenario;
use crate::stats::{Names, Percentiles};

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub scenario: Scenario,
    /// Where it ran.
    pub environment: Environment,
    /// Waves of openings.
    pub openings: Vec<OpeningReport>,
    /// Traffic by group.
    pub groups: Vec<GroupReport>,
    /// What the checker found.
    pub faults: Faults,
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
}

/// The machine.
#[derive(Debug, Serialize)]
pub struct Environment {
    /// Kernel release.
    pub kernel: String,
    /// Name of the processor.
    pub processor: String,
    /// Cores of the machine.
    pub cores_count: usize,
    /// Where the server was looked for.
    pub url: String,
}

/// One wave of openings.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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
            cpu_s,
            user_s: times.user_ns as f64 / 1e9,
            system_s: times.system_ns as f64 / 1e9,
            joined_per_cpu_s: (times.sum_ns > 0).then(|| joined as f64 / cpu_s),
        }
    }
}

impl fmt::Display for OpeningCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_s, user_s, system_s, joined_per_cpu_s } = self;
        match joined_per_cpu_s {
            Some(rate) => write!(f, "{rate:.0} joined per second of server CPU  {cpu_s:.3} s")?,
            None => write!(f, "server CPU too short to be seen")?,
        }
        write!(f, "  user {user_s:.2} s  system {system_s:.2} s")
    }
}

/// One group's traffic.
#[derive(Debug, Serialize)]
pub struct GroupReport {
    /// Name of the group.
    pub name: String,
    /// Publishes of the whole run.
    pub published: u64,
    /// Deliveries of the whole run.
    pub delivered: u64,
    /// Mean bytes of a delivered message: two servers are comparable only if they send the same.
    pub bytes_per_delivery: f64,
    /// Publishes not sent, because the connection could not take them.
    pub blocked: u64,
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
}

/// The server as seen from outside.
#[derive(Debug, Default, Serialize)]
pub struct ServerReport {
    /// Processor seconds in the measured time.
    pub cpu_s: f64,
    /// Share of one core in the measured time.
    pub busy: f64,
    /// Processor microseconds per delivery in the measured time.
    pub cpu_us_per_delivery: f64,
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
    pub(crate) fn new(wanted: usize, opening: &Opening, cpu: Option<CpuTimes>) -> Self {
        let total = opening.total.percentiles();
        Self {
            wanted,
            ready: opening.ready,
            took_s: opening.took_ns as f64 / 1e9,
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
    /// Collects what the engine knows; `window_s` is the measured time that really passed.
    pub(crate) fn new(engine: Engine<'_>, window_s: f64) -> Self {
        let scenario = engine.scenario.clone();
        let per_s = |count: u64| if window_s > 0.0 { count as f64 / window_s } else { 0.0 };
        let groups = scenario.group.iter().zip(&engine.groups).map(|(group, traffic)| GroupReport {
            name: group.name.clone(),
            published: traffic.published,
            delivered: traffic.delivered,
            bytes_per_delivery: traffic.delivered_bytes as f64 / traffic.delivered.max(1) as f64,
            blocked: traffic.blocked,
            published_per_s: per_s(traffic.window_published),
            delivered_per_s: per_s(traffic.window_delivered),
            latency: traffic.corrected.percentiles(),
            latency_uncorrected: traffic.uncorrected.percentiles(),
            lateness: traffic.lateness.percentiles(),
        });
        let groups: Vec<GroupReport> = groups.collect();
        let refusals = scenario.group.iter().filter(|group| group.expect_close.is_some());
        let refusals: usize = refusals.map(crate::scenario::Group::connections_count).sum();
        let bound_us = scenario.lateness_p99_max_us as f64;
        let late = groups.iter().find(|group| group.lateness.p99_us > bound_us);
        let invalid =
            late.map(|group| format!("group {}: sends {:.0} us late at p99", group.name, group.lateness.p99_us));
        Self {
            environment: Environment::new(&engine.target.host),
            openings: Vec::new(),
            groups,
            faults: engine.checker.finish(),
            events: engine.events,
            closes: engine.closes,
            closes_expected: (engine.closes_expected, u64::try_from(refusals).unwrap_or(u64::MAX)),
            refusals: engine.refusals,
            protocol_faults: engine.protocol_faults,
            server: None,
            own_busy: 0.0,
            own_cpu: 0.0,
            invalid,
            scenario,
        }
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
        for (wave, opening) in (1..).zip(&self.openings) {
            if opening.ready < opening.wanted {
                objections.push(format!("wave {wave}: {} of {} connections joined", opening.ready, opening.wanted));
            }
        }
        let (came, wanted) = self.closes_expected;
        if came != wanted {
            objections.push(format!("{came} of {wanted} refusals came"));
        }
        let blocked: u64 = self.groups.iter().map(|group| group.blocked).sum();
        if blocked > 0 && wanted == 0 {
            objections.push(format!("{blocked} publishes could not be sent"));
        }
        // A message that must be refused is announced as an error too.
        for kind in ["gap", "connection_error", "nack"] {
            let allowed = if kind == "connection_error" { wanted } else { 0 };
            if self.events.count(kind) > allowed {
                objections.push(format!("{} events {kind}", self.events.count(kind)));
            }
        }
        if self.closes.sum() > 0 {
            objections.push(format!("{} connections ended unasked", self.closes.sum()));
        }
        if self.protocol_faults.sum() > 0 {
            objections.push(format!("{} protocol faults", self.protocol_faults.sum()));
        }
        objections
    }

    /// The exit code: 0 passed, 1 a check failed, 3 the generator was too late for the figures to mean anything.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.objections().is_empty(), &self.invalid) {
            (false, _) => 1,
            (true, Some(_)) => 3,
            (true, None) => 0,
        }
    }
}

impl Environment {
    fn new(url: &str) -> Self {
        let uname = rustix::system::uname();
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            processor: name.map_or("unknown", |(_, name)| name).to_owned(),
            cores_count: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            url: url.to_owned(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Environment { kernel, processor, cores_count, url } = &self.environment;
        writeln!(f, "scenario  {}  on {url}", self.scenario.name)?;
        writeln!(f, "machine   {processor}, {cores_count} cores, Linux {kernel}")?;
        write!(f, "\n{:<22}{:>9}", "microseconds", "count")?;
        for title in ["mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"] {
            write!(f, "{title:>11}")?;
        }
        writeln!(f)?;
        for (wave, opening) in (1..).zip(&self.openings) {
            row(f, &format!("connect (wave {wave})"), &opening.connect)?;
            row(f, "upgrade", &opening.upgrade)?;
            row(f, "auth and join", &opening.join)?;
            row(f, "opening in all", &opening.total)?;
        }
        for group in &self.groups {
            row(f, &format!("{}: latency", group.name), &group.latency)?;
            row(f, "  from actual send", &group.latency_uncorrected)?;
            row(f, "  lateness of sends", &group.lateness)?;
        }
        writeln!(f)?;
        for (wave, opening) in (1..).zip(&self.openings) {
            let OpeningReport { wanted, ready, took_s, failures, cost, .. } = opening;
            writeln!(
                f,
                "wave {wave}    {ready} of {wanted} joined in {took_s:.2} s{}",
                listed(", failed: ", failures)
            )?;
            if let Some(cost) = cost {
                writeln!(f, "          {cost}")?;
            }
        }
        for group in &self.groups {
            let GroupReport { name, published, delivered, published_per_s, delivered_per_s, blocked, .. } = group;
            let bytes = group.bytes_per_delivery;
            writeln!(
                f,
                "{name:<9} published {published} ({published_per_s:.0}/s)  delivered {delivered} \
                 ({delivered_per_s:.0}/s, {bytes:.1} bytes each)  blocked {blocked}"
            )?;
        }
        let Faults { lost, duplicated, out_of_order, corrupted, wrong_room, seq_gaps, json, .. } = self.faults;
        writeln!(
            f,
            "checks    lost {lost}  duplicated {duplicated}  out of order {out_of_order}  corrupted {corrupted}  wrong \
             room {wrong_room}  seq gaps {seq_gaps}  bad JSON {json}"
        )?;
        let Faults { order_unchecked, owed_to_closed, .. } = self.faults;
        writeln!(f, "          order unchecked {order_unchecked}  owed to ended connections {owed_to_closed}")?;
        writeln!(f, "events    {}", listed("", &self.events))?;
        writeln!(f, "ended     {}", listed("unasked: ", &self.closes))?;
        for refusal in &self.refusals {
            writeln!(f, "          {}", refusal.trim_end().replace("\r\n", " | "))?;
        }
        self.write_server(f)?;
        if self.own_cpu > 0.0 {
            let (busy, cpu) = (100.0 * self.own_busy, 100.0 * self.own_cpu);
            writeln!(f, "own core  {busy:.1} % not waiting, {cpu:.1} % had")?;
        }
        let objections = self.objections();
        if !objections.is_empty() {
            return writeln!(f, "FAILED    {}", objections.join("; "));
        }
        match &self.invalid {
            Some(reason) => writeln!(f, "INVALID   {reason}: the figures say nothing about the server"),
            None => writeln!(f, "passed"),
        }
    }
}

impl Report {
    fn write_server(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(server) = &self.server else { return Ok(()) };
        let ServerReport { cpu_s, busy, cpu_us_per_delivery, .. } = server;
        if *cpu_s > 0.0 {
            let busy = 100.0 * busy;
            writeln!(f, "server    {cpu_us_per_delivery:.3} us CPU per delivery  {cpu_s:.2} s  {busy:.1} % of a core")?;
        }
        for (name, weight) in
            [("before", server.weight_before), ("connected", server.weight_connected), ("after", server.weight_after)]
        {
            if let Some(weight) = weight {
                writeln!(f, "          {name:<10}{}", weighed(weight))?;
            }
        }
        for (connections, weight) in &server.steps {
            writeln!(f, "          {connections:>6} idle {}", weighed(*weight))?;
        }
        if let Some(bytes) = server.bytes_per_connection {
            writeln!(f, "          {bytes:.0} anonymous bytes per connection")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, of: &Percentiles) -> fmt::Result {
    if of.count == 0 {
        return Ok(());
    }
    write!(f, "{name:<22}{:>9}", of.count)?;
    for value in [of.mean_us, of.p50_us, of.p90_us, of.p99_us, of.p99_9_us, of.p99_99_us, of.max_us] {
        write!(f, "{value:>11.1}")?;
    }
    writeln!(f)
}

fn weighed(weight: Weight) -> String {
    let mebi = |bytes: u64| bytes as f64 / 1_048_576.0;
    let (rss, anonymous) = (mebi(weight.rss_bytes), mebi(weight.anonymous_bytes));
    format!("rss {rss:.1} MiB  anonymous {anonymous:.1} MiB  descriptors {}", weight.descriptors)
}

fn listed(before: &str, names: &Names) -> String {
    let mut text = String::new();
    for (name, count) in names.iter() {
        let _ = write!(text, "{}{name} {count}", if text.is_empty() { before } else { ", " });
    }
    text
}
