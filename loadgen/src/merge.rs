//! Results put together: of the threads of a process, and of processes that drove parts of one run.
//!
//! Counts are summed, histograms added, and what the generator says of itself is that of its worst thread: a run in
//! which one thread was late is late. Rates are summed too, since all parts go on at the same time. `results` puts
//! together what stands in files, and `align` its timelines.

mod align;
mod results;

use crate::report::{GroupReport, OpeningCost, OpeningReport, PhaseReport, Report, ServerReport, merge_findings};
use crate::stats::{Percentiles, rounded};

pub use results::results;

/// Puts the threads of one process together.
pub(crate) fn threads(reports: Vec<Report>) -> Result<Report, String> {
    reports
        .into_iter()
        .map(Ok)
        .reduce(|one, other| merge(one?, other?))
        .unwrap_or_else(|| Err("no thread ran".to_owned()))
}

/// Puts the results of several processes together, each of another part of the same run.
///
/// # Errors
/// They are of different scenarios, a part is there twice, or one is missing.
pub fn parts(reports: Vec<Report>) -> Result<Report, String> {
    let mut parts: Vec<_> = reports.iter().flat_map(|report| &report.parts).copied().collect();
    parts.sort_unstable_by_key(|part| (part.of, part.number));
    let of = parts.first().map_or(0, |part| part.of);
    if let Some(other) = parts.iter().find(|part| part.of != of) {
        return Err(format!("part {}/{} and a part of {of}: must be parts of one run", other.number, other.of));
    }
    for (wanted, part) in (1..).zip(&parts) {
        if part.number != wanted {
            let (which, fault) =
                if part.number < wanted { (part.number, "is there twice") } else { (wanted, "is missing") };
            return Err(format!("part {which}/{of} {fault}"));
        }
    }
    if u32::try_from(parts.len()).unwrap_or(u32::MAX) < of {
        return Err(format!("part {}/{of} is missing", parts.len() + 1));
    }
    threads(reports)
}

fn merge(mut one: Report, other: Report) -> Result<Report, String> {
    let names = |report: &Report| report.groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>();
    let phases = |report: &Report| report.phases.iter().map(|phase| phase.name.clone()).collect::<Vec<_>>();
    if one.scenario.name != other.scenario.name || names(&one) != names(&other) || phases(&one) != phases(&other) {
        let (one, other) = (&one.scenario.name, &other.scenario.name);
        return Err(format!("{one} and {other}: must be of one scenario, with the same groups and phases"));
    }
    if one.openings.len() != other.openings.len() {
        return Err(format!(
            "{}: {} and {} waves of openings",
            one.scenario.name,
            one.openings.len(),
            other.openings.len()
        ));
    }
    one.openings.iter_mut().zip(&other.openings).for_each(|(one, other)| opening(one, other));
    one.groups.iter_mut().zip(&other.groups).for_each(|(one, other)| group(one, other));
    one.phases.iter_mut().zip(&other.phases).for_each(|(one, other)| phase(one, other));
    one.recoveries.iter_mut().zip(&other.recoveries).for_each(|(one, other)| one.merge(other));
    one.live.iter_mut().zip(&other.live).for_each(|(one, other)| one.merge(other));
    one.rest = match (one.rest, other.rest) {
        (Some(one), Some(other)) => Some(one.plus(other)),
        (one, other) => one.or(other),
    };
    one.server_version = one.server_version.or(other.server_version);
    one.slow.merge(&other.slow);
    one.threads.extend(other.threads);
    one.parts.extend(other.parts);
    one.parts.sort_unstable();
    one.parts.dedup();
    one.faults = one.faults.plus(other.faults);
    merge_findings(&mut one.findings, other.findings);
    one.events.merge(&other.events);
    one.closes.merge(&other.closes);
    one.protocol_faults.merge(&other.protocol_faults);
    one.closes_expected.0 += other.closes_expected.0;
    one.closes_expected.1 += other.closes_expected.1;
    one.refusals.extend(other.refusals);
    one.refusals.truncate(crate::limits::REFUSALS_COUNT_MAX);
    one.own_busy = one.own_busy.max(other.own_busy);
    one.own_cpu = one.own_cpu.max(other.own_cpu);
    one.invalid = one.invalid.or(other.invalid);
    one.server = server(one.server, other.server, &one.groups);
    Ok(one)
}

fn opening(one: &mut OpeningReport, other: &OpeningReport) {
    one.wanted += other.wanted;
    one.ready += other.ready;
    one.took_s = one.took_s.max(other.took_s);
    one.failures.merge(&other.failures);
    percentiles(&mut one.connect, &other.connect);
    percentiles(&mut one.upgrade, &other.upgrade);
    percentiles(&mut one.join, &other.join);
    percentiles(&mut one.total, &other.total);
    // The server is weighed by one of the processes, for all of them.
    one.cost = one.cost.or(other.cost).map(|cost| {
        let joined = one.total.count as f64;
        OpeningCost { joined_per_cpu_s: (cost.cpu_s > 0.0).then(|| rounded(joined / cost.cpu_s)), ..cost }
    });
}

fn group(one: &mut GroupReport, other: &GroupReport) {
    let bytes = one.bytes_per_delivery * one.delivered as f64 + other.bytes_per_delivery * other.delivered as f64;
    one.published += other.published;
    one.delivered += other.delivered;
    one.replayed += other.replayed;
    one.bytes_per_delivery = rounded(bytes / one.delivered.max(1) as f64);
    one.blocked += other.blocked;
    one.absent += other.absent;
    one.published_per_s = rounded(one.published_per_s + other.published_per_s);
    one.delivered_per_s = rounded(one.delivered_per_s + other.delivered_per_s);
    percentiles(&mut one.latency, &other.latency);
    percentiles(&mut one.latency_uncorrected, &other.latency_uncorrected);
    percentiles(&mut one.lateness, &other.lateness);
    for (one, other) in one.kinds.iter_mut().zip(&other.kinds) {
        one.published += other.published;
        one.delivered += other.delivered;
        percentiles(&mut one.latency, &other.latency);
    }
}

fn phase(one: &mut PhaseReport, other: &PhaseReport) {
    one.from_s = one.from_s.min(other.from_s);
    one.end_s = one.end_s.max(other.end_s);
    one.published += other.published;
    one.delivered += other.delivered;
    one.published_per_s = rounded(one.published_per_s + other.published_per_s);
    one.delivered_per_s = rounded(one.delivered_per_s + other.delivered_per_s);
    percentiles(&mut one.latency, &other.latency);
    percentiles(&mut one.latency_uncorrected, &other.latency_uncorrected);
    percentiles(&mut one.lateness, &other.lateness);
    one.server_cpu_s = one.server_cpu_s.or(other.server_cpu_s);
}

fn percentiles(one: &mut Percentiles, other: &Percentiles) {
    let mut sum = one.histogram.clone();
    sum.merge(&other.histogram);
    *one = sum.percentiles();
}

/// What one of them saw of the server, with the deliveries of all.
fn server(one: Option<ServerReport>, other: Option<ServerReport>, groups: &[GroupReport]) -> Option<ServerReport> {
    let server = one.or(other)?;
    let per_s: f64 = groups.iter().map(|group| group.delivered_per_s).sum();
    let cpu_us_per_delivery = if per_s > 0.0 { rounded(server.busy * 1e6 / per_s) } else { server.cpu_us_per_delivery };
    // Its threads' times stay in the proportion that they had.
    let share = if server.cpu_us_per_delivery > 0.0 { cpu_us_per_delivery / server.cpu_us_per_delivery } else { 1.0 };
    let threads = server.threads.iter().map(|(name, us)| (name.clone(), rounded(us * share))).collect();
    Some(ServerReport { cpu_us_per_delivery, threads, ..server })
}
