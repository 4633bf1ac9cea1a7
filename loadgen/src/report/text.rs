//! The report as a terminal shows it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::checker::Faults;
use crate::engine::SlowTraffic;
use crate::metrics::Unit;
use crate::process::Weight;
use crate::report::{
    Environment, GroupReport, KindReport, LiveReport, OpeningCost, OpeningReport, PhaseReport, RecoveryReport, Report,
    ServerReport, SloReport, ThreadReport, ratio,
};
use crate::stats::{Names, Percentiles};
use crate::words::counted;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_slos(f)?;
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
            for kind in &group.kinds {
                row(f, &format!("  {}", kind.kind), &kind.latency)?;
            }
        }
        // A run with a warm-up and a measured time has its figures above.
        for phase in self.phases.iter().filter(|_| !self.scenario.phase.is_empty()) {
            row(f, &format!("phase {}", phase.name), &phase.latency)?;
        }
        for (storm, recovery) in (1..).zip(&self.recoveries) {
            row(f, &format!("recovery (storm {storm})"), &recovery.latency)?;
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
        self.write_storms(f)?;
        for group in &self.groups {
            let GroupReport { name, published, delivered, published_per_s, delivered_per_s, blocked, .. } = group;
            let bytes = group.bytes_per_delivery;
            writeln!(
                f,
                "{name:<9} published {published} ({published_per_s:.0}/s)  delivered {delivered} \
                 ({delivered_per_s:.0}/s, {bytes:.1} bytes each)  blocked {blocked}"
            )?;
            for kind in &group.kinds {
                let KindReport { kind, published, delivered, answers, .. } = kind;
                let came = if *answers { "answered" } else { "delivered" };
                writeln!(f, "          {kind:<14}published {published}  {came} {delivered}")?;
            }
        }
        self.write_phases(f)?;
        self.write_checks(f)?;
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
        self.write_end(f)
    }
}

impl Report {
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Environment { kernel, processor, cores_count, url, .. } = &self.environment;
        writeln!(f, "scenario  {}  on {url}", self.scenario.name)?;
        writeln!(f, "adapter   {}", self.spoken_to())?;
        writeln!(f, "machine   {processor}, {}, Linux {kernel}", counted(cores_count, "core"))?;
        let Some(doctor) = &self.environment.doctor else { return Ok(()) };
        writeln!(f, "doctor    {doctor}")?;
        doctor.findings().iter().try_for_each(|finding| writeln!(f, "          {finding}"))
    }

    fn write_slos(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.slos.iter().map(|slo| slo.slo.chars().count()).max().unwrap_or(0);
        for SloReport { slo, measured, unit, met, .. } in &self.slos {
            let measured = measured.map_or_else(|| "not measured".to_owned(), |value| shown(unit, value));
            writeln!(f, "{} {slo:<width$}  {measured}", if *met { '✓' } else { '✗' })?;
        }
        Ok(())
    }

    fn write_checks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Faults { lost, duplicated, out_of_order, corrupted, wrong_room, seq_gaps, json, .. } = self.faults;
        writeln!(
            f,
            "checks    lost {lost}  duplicated {duplicated}  out of order {out_of_order}  corrupted {corrupted}  wrong \
             room {wrong_room}  seq gaps {seq_gaps}  bad JSON {json}"
        )?;
        let Faults { order_unchecked, owed_to_closed, .. } = self.faults;
        writeln!(f, "          order unchecked {order_unchecked}  owed to ended connections {owed_to_closed}")?;
        for finding in &self.findings {
            writeln!(f, "          {finding}")?;
        }
        Ok(())
    }

    fn write_end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objections = self.objections();
        if !objections.is_empty() {
            return writeln!(f, "FAILED    {}", objections.join("; "));
        }
        let missed = self.slos.iter().filter(|slo| !slo.met).count();
        match &self.invalid {
            Some(reason) => writeln!(f, "INVALID   {reason}: the figures say nothing about the server"),
            None if missed > 0 => writeln!(f, "MISSED    {missed} of {}", counted(self.slos.len(), "objective")),
            None => writeln!(f, "passed"),
        }
    }

    fn write_phases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for phase in self.phases.iter().filter(|_| !self.scenario.phase.is_empty()) {
            let PhaseReport { name, from_s, end_s, published_per_s, delivered_per_s, .. } = phase;
            writeln!(
                f,
                "{name:<9} {from_s:.1} to {end_s:.1} s  published {published_per_s:.0}/s  delivered \
                 {delivered_per_s:.0}/s"
            )?;
        }
        let absent: u64 = self.groups.iter().map(|group| group.absent).sum();
        if absent > 0 {
            writeln!(f, "absent    {} fell to connections that were not up", counted(absent, "publish"))?;
        }
        let replayed: u64 = self.groups.iter().map(|group| group.replayed).sum();
        if replayed > 0 {
            writeln!(f, "replayed  {replayed} of the deliveries came to members that had missed them")?;
        }
        let SlowTraffic { connections, delivered, events, closes } = &self.slow;
        if *connections > 0 {
            let (events, closes) = (listed(", told: ", events), listed(", ended: ", closes));
            let readers = counted(connections, "reader");
            writeln!(f, "slow      {readers} had {delivered} deliveries{events}{closes}")?;
        }
        if let [part] = self.parts.as_slice()
            && part.of > 1
        {
            writeln!(f, "part      {} of {}: merge it with the others", part.number, part.of)?;
        }
        for thread in self.threads.iter().filter(|_| self.threads.len() > 1) {
            let ThreadReport { thread, connections, busy, had, starved, lateness_p99_us, .. } = thread;
            let [busy, had, starved] = [busy, had, starved].map(|share| 100.0 * share);
            writeln!(
                f,
                "thread {thread}  {}  {busy:.1} % not waiting, {had:.1} % had, {starved:.1} % \
                 without a core  sends {lateness_p99_us:.0} us late at p99",
                counted(connections, "connection")
            )?;
        }
        Ok(())
    }

    fn write_storms(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (storm, recovery) in (1..).zip(&self.recoveries) {
            let RecoveryReport { wanted, recovered, took_s, missed_min, missed_max, unrecovered, .. } = recovery;
            writeln!(
                f,
                "storm {storm}   {recovered} of {wanted} recovered in {took_s:.2} s  missed {missed_min} to {missed_max}, \
                 mean {:.1}{}",
                recovery.missed_mean(),
                listed(", not recovered: ", unrecovered)
            )?;
        }
        let Some(before) = self.live.first() else { return Ok(()) };
        writeln!(f, "live      {:<8}{:>9}{:>11}{:>11}{:>9}{:>9}", "us", "count", "p50", "p99", "p50 x", "p99 x")?;
        for (who, of) in
            [("stayed", (|live| &live.stayed) as fn(&LiveReport) -> &Percentiles), ("went", |live| &live.went)]
        {
            for live in self.live.iter().filter(|live| of(live).count > 0) {
                let Percentiles { count, p50_us, p99_us, .. } = of(live);
                let times = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
                let [p50, p99] = [(|of| of.p50_us) as fn(&Percentiles) -> f64, |of| of.p99_us]
                    .map(|percentile| times(ratio(of(before), of(live), percentile)));
                let name = format!("{who} {}", live.moment);
                writeln!(f, "  {name:<16}{count:>9}{p50_us:>11.1}{p99_us:>11.1}{p50:>9}{p99:>9}")?;
            }
        }
        Ok(())
    }

    fn write_server(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rest) = &self.rest {
            writeln!(f, "rest      {rest}")?;
        }
        let Some(server) = &self.server else { return Ok(()) };
        let ServerReport { cpu_s, busy, cpu_us_per_delivery, .. } = server;
        if *cpu_s > 0.0 {
            let busy = 100.0 * busy;
            writeln!(f, "server    {cpu_us_per_delivery:.3} us CPU per delivery  {cpu_s:.2} s  {busy:.1} % of a core")?;
            if let Some(threads) = by_thread(&server.threads) {
                writeln!(f, "          {threads}")?;
            }
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

/// Microseconds a delivery of each thread, the largest first, if there is more than one that matters: a hundredth.
pub(crate) fn by_thread(threads: &BTreeMap<String, f64>) -> Option<String> {
    let all: f64 = threads.values().sum();
    let mut most: Vec<(&String, &f64)> = threads.iter().filter(|(_, share)| **share > all / 100.0).collect();
    most.sort_by(|one, other| other.1.total_cmp(one.1));
    let told = most.iter().map(|(name, share)| format!("{name} {share:.3} us"));
    (most.len() > 1).then(|| told.collect::<Vec<_>>().join("  "))
}

/// A figure with its unit; a unit of a later version stands as it is.
fn shown(unit: &str, value: f64) -> String {
    Unit::of_name(unit).map_or_else(|| format!("{value} {unit}"), |unit| unit.show(value).to_string())
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
