//! Where the threads of a run wait for one another: between two steps of which nobody knows how long they take.
//!
//! A thread at a gate goes on with its turns, so that its connections are read; the last one to arrive says when all
//! go on. Counters only, no locks; a thread that failed opens every gate, so that nobody waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::limits::GATE_NS;

/// The gates of one run.
#[derive(Debug)]
pub struct Gates {
    threads: usize,
    gates: Vec<Gate>,
    failed: AtomicBool,
}

#[derive(Debug, Default)]
struct Gate {
    arrived: AtomicUsize,
    /// Connections that are up, of those threads that arrived.
    joined: AtomicUsize,
    /// When all go on, on the run's clock; 0 until the last arrived.
    opens_ns: AtomicU64,
}

impl Gates {
    /// Gates for so many threads.
    #[must_use]
    pub fn new(threads: usize, count: usize) -> Self {
        let gates = std::iter::repeat_with(Gate::default).take(count).collect();
        Self { threads, gates, failed: AtomicBool::new(false) }
    }

    /// A thread is there with so many connections up, and none may go on before `not_before_ns`.
    pub fn arrive(&self, gate: usize, now_ns: u64, not_before_ns: u64, joined: usize) {
        let Some(gate) = self.gates.get(gate) else { return };
        gate.joined.fetch_add(joined, Ordering::AcqRel);
        if gate.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            // One thread alone has nobody to tell.
            let told_ns = if self.threads > 1 { GATE_NS } else { 0 };
            gate.opens_ns.store((now_ns + told_ns).max(not_before_ns).max(1), Ordering::Release);
        }
    }

    /// When all go on, once that is known.
    #[must_use]
    pub fn opens_ns(&self, gate: usize) -> Option<u64> {
        let opens_ns = self.gates.get(gate)?.opens_ns.load(Ordering::Acquire);
        (opens_ns > 0).then_some(opens_ns)
    }

    /// Connections that were up at a gate, of all threads that arrived.
    #[must_use]
    pub fn joined(&self, gate: usize) -> usize {
        self.gates.get(gate).map_or(0, |gate| gate.joined.load(Ordering::Acquire))
    }

    /// This thread ends: the others must not wait for it.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Whether a thread ended.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_for_all_when_the_last_arrived() {
        let gates = Gates::new(3, 2);
        gates.arrive(0, 10, 0, 1);
        gates.arrive(0, 20, 0, 2);
        assert_eq!(gates.opens_ns(0), None);
        gates.arrive(0, 30, 0, 4);
        assert_eq!((gates.joined(0), gates.joined(1)), (7, 0));
        assert_eq!((gates.opens_ns(0), gates.opens_ns(1), gates.opens_ns(2)), (Some(30 + GATE_NS), None, None));
    }

    #[test]
    fn a_lone_thread_goes_on_at_once_but_not_before_it_may() {
        let gates = Gates::new(1, 2);
        gates.arrive(0, 10, 0, 0);
        gates.arrive(1, 10, 500, 0);
        assert_eq!((gates.opens_ns(0), gates.opens_ns(1)), (Some(10), Some(500)));
    }

    #[test]
    fn a_failure_is_seen_by_all() {
        let gates = Gates::new(2, 1);
        assert!(!gates.failed());
        gates.fail();
        assert!(gates.failed());
    }
}
