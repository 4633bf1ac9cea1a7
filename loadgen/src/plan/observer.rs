//! What is looked at from outside while a run goes on: the server's processor time and memory, a thread's own time.

use std::collections::BTreeMap;

use crate::course::{Step, StepKind, Weigh};
use crate::engine::Engine;
use crate::process::{self, CpuTimes, Process, ThreadTimes};
use crate::report::{OpeningCost, Report, RestCost, ServerReport};
use crate::stats::{rounded, rounded_fine};

/// The server, seen by the first thread at the edges of steps.
#[derive(Debug)]
pub(super) struct Observer {
    server: Option<Process>,
    report: ServerReport,
    /// Of the waves, in order.
    costs: Vec<CpuTimes>,
    /// Of the phases, in order, and whether each was measured.
    phases: Vec<(CpuTimes, bool)>,
    /// While all were idle.
    rest: Option<CpuTimes>,
    at_begin: Option<CpuTimes>,
    /// Of the server's threads, by name: at the begin of a step, and what was used in the steps that are measured.
    threads_at_begin: BTreeMap<String, u64>,
    threads: BTreeMap<String, u64>,
}

impl Observer {
    pub(super) fn new(server: Option<Process>) -> Self {
        let weight_before = server.and_then(|server| server.weight());
        let report = ServerReport { weight_before, ..ServerReport::default() };
        let (threads_at_begin, threads) = (BTreeMap::new(), BTreeMap::new());
        let (costs, phases, rest, at_begin) = (Vec::new(), Vec::new(), None, None);
        Self { server, report, costs, phases, rest, at_begin, threads_at_begin, threads }
    }

    pub(super) fn begin(&mut self) {
        self.at_begin = self.server.and_then(|server| server.cpu_times());
        self.threads_at_begin = self.server.map(|server| server.cpu_ns_by_thread()).unwrap_or_default();
    }

    /// Weighs the server now, with so many connections.
    pub(super) fn weigh(&mut self, what: Weigh, connections: usize) {
        let weight = || self.server.and_then(|server| server.weight());
        match what {
            Weigh::Connected => self.report.weight_connected = weight(),
            Weigh::Step => self.report.steps.extend(weight().map(|weight| (connections, weight))),
            Weigh::Rest => {}
        }
    }

    pub(super) fn end(&mut self, step: &Step) {
        let now = self.server.and_then(|server| server.cpu_times());
        let Some((begin, end)) = self.at_begin.zip(now) else { return };
        let used = end.since(begin);
        if step.weigh == Some(Weigh::Rest) {
            self.rest = Some(used);
        }
        match step.kind {
            StepKind::Ramp { more: true, .. } => {
                if let Some(last) = self.costs.last_mut() {
                    *last = last.plus(used);
                }
            }
            StepKind::Ramp { .. } | StepKind::Storm { .. } => self.costs.push(used),
            StepKind::Hold { .. } | StepKind::Close => {}
        }
        if let Some(phase) = &step.phase {
            self.phases.push((used, phase.measured));
            if phase.measured {
                self.add_threads();
            }
        }
    }

    fn add_threads(&mut self) {
        for (name, now_ns) in self.server.map(|server| server.cpu_ns_by_thread()).unwrap_or_default() {
            let before_ns = self.threads_at_begin.get(&name).copied().unwrap_or(0);
            *self.threads.entry(name).or_default() += now_ns.saturating_sub(before_ns);
        }
    }

    /// Puts what was seen into the report of all threads.
    pub(super) fn tell(mut self, report: &mut Report) {
        if self.server.is_none() {
            return;
        }
        // Waves that opened nothing are not told.
        let waves = self.costs.into_iter().zip(&mut report.openings);
        waves.for_each(|(times, opening)| opening.cost = Some(OpeningCost::new(opening.total.count, times)));
        if let Some(rest) = &mut report.rest {
            rest.cost = self.rest.map(RestCost::new);
        }
        let (mut times, mut window_s, mut deliveries) = (CpuTimes::default(), 0.0, 0);
        for ((used, measured), phase) in self.phases.into_iter().zip(&mut report.phases) {
            phase.server_cpu_s = Some(rounded_fine(used.sum_ns as f64 / 1e9));
            if measured {
                times = times.plus(used);
                window_s += phase.end_s - phase.from_s;
                deliveries += phase.delivered;
            }
        }
        if window_s > 0.0 {
            let cpu_ns = times.sum_ns as f64;
            self.report.cpu_s = rounded_fine(cpu_ns / 1e9);
            self.report.user_s = rounded_fine(times.user_ns as f64 / 1e9);
            self.report.system_s = rounded_fine(times.system_ns as f64 / 1e9);
            self.report.busy = rounded_fine(cpu_ns / 1e9 / window_s);
            let a_delivery = |cpu_ns: f64| rounded_fine(cpu_ns / 1e3 / deliveries.max(1) as f64);
            self.report.cpu_us_per_delivery = a_delivery(cpu_ns);
            let threads = std::mem::take(&mut self.threads).into_iter();
            self.report.threads = threads.map(|(name, cpu_ns)| (name, a_delivery(cpu_ns as f64))).collect();
        }
        let points: Vec<(f64, f64)> =
            self.report.steps.iter().map(|(count, weight)| (*count as f64, weight.anonymous_bytes as f64)).collect();
        self.report.bytes_per_connection = process::slope(&points).map(rounded);
        self.report.weight_after = self.server.and_then(|server| server.weight());
        report.server = Some(self.report);
    }
}

/// A thread's own time, summed over what is measured.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// The time, idle time, the thread's times; slices, what handing over took, and waits in it.
    from: Option<(u64, u64, ThreadTimes, [u64; 3])>,
    /// Time that was measured.
    pub(crate) window_ns: u64,
    /// Of it, time spent waiting for something to do.
    pub(crate) idle_ns: u64,
    /// Of it, time on a core, and time in which the thread could have run and had none.
    pub(crate) times: ThreadTimes,
    /// Slices that began in it.
    pub(crate) slices: u64,
    /// What handing over to this side took; not of the time that was measured.
    pub(crate) handover_ns: u64,
}

impl Own {
    /// Share of the measured time in which the thread could have run and had no core. In slices it also waits for one
    /// while it hands over and the time stands still, which the kernel counts with the rest: all of the time is the most.
    pub(crate) fn starved(&self) -> f64 {
        rounded_fine(self.times.delayed_ns as f64 / self.window_ns.max(1) as f64).min(1.0)
    }

    pub(super) fn begin(&mut self, engine: &Engine<'_>) {
        let slices = [engine.slices.count, engine.slices.handover_ns, engine.slices.delayed_ns];
        self.from = Some((engine.clock.now_ns(), engine.idle_ns, ThreadTimes::now(), slices));
    }

    pub(super) fn end(&mut self, engine: &Engine<'_>, measured: bool) {
        if let Some((from_ns, idle_ns, times, slices)) = self.from.take().filter(|_| measured) {
            self.window_ns += engine.clock.now_ns().saturating_sub(from_ns);
            self.idle_ns += engine.idle_ns.saturating_sub(idle_ns);
            let now = ThreadTimes::now();
            self.times.cpu_ns += now.cpu_ns.saturating_sub(times.cpu_ns);
            // A wait while the time stood still is none of the measured time.
            let aside_ns = engine.slices.delayed_ns.saturating_sub(slices[2]);
            self.times.delayed_ns += now.delayed_ns.saturating_sub(times.delayed_ns).saturating_sub(aside_ns);
            self.slices += engine.slices.count.saturating_sub(slices[0]);
            self.handover_ns += engine.slices.handover_ns.saturating_sub(slices[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_without_a_core_for_all_of_the_time_at_most() {
        for (window_ns, delayed_ns, expected) in
            [(100, 0, 0.0), (100, 25, 0.25), (100, 100, 1.0), (100, 234, 1.0), (0, 0, 0.0)]
        {
            let times = ThreadTimes { delayed_ns, ..ThreadTimes::default() };
            let own = Own { window_ns, times, ..Own::default() };
            assert_eq!(own.starved(), expected, "{delayed_ns} of {window_ns}");
        }
    }
}
