//! Connections that are up and say nothing: what the server's pings, and whatever else it does for them, take.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::metrics::Unit;
use crate::process::CpuTimes;
use crate::stats::rounded_fine;
use crate::words::counted;

/// The time in which all were idle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RestReport {
    /// Connections that were up at its end.
    pub connections: usize,
    /// Its length in seconds.
    pub took_s: f64,
    /// Pings of the server in it; each was answered.
    pub pings: u64,
    /// What it cost the server, if its process is known.
    pub cost: Option<RestCost>,
}

/// Processor time of the server while all were idle. What it takes for itself, without any connection, is in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RestCost {
    /// Seconds in all.
    pub cpu_s: f64,
    /// Seconds in the program; this and the next are counted in ticks of 10 ms.
    pub user_s: f64,
    /// Seconds in the kernel.
    pub system_s: f64,
}

impl RestCost {
    pub(crate) fn new(times: CpuTimes) -> Self {
        let seconds = |ns: u64| rounded_fine(ns as f64 / 1e9);
        Self { cpu_s: seconds(times.sum_ns), user_s: seconds(times.user_ns), system_s: seconds(times.system_ns) }
    }
}

impl RestReport {
    pub(crate) fn new(connections: usize, took_ns: u64, pings: u64) -> Self {
        Self { connections, took_s: rounded_fine(took_ns as f64 / 1e9), pings, cost: None }
    }

    /// Both at the same time, of other connections; the server is weighed by one of the two, for both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            took_s: self.took_s.max(other.took_s),
            pings: self.pings + other.pings,
            cost: self.cost.or(other.cost),
        }
    }

    /// Pings that each connection had, on average.
    #[must_use]
    pub fn pings_per_connection(&self) -> Option<f64> {
        (self.connections > 0).then(|| self.pings as f64 / self.connections as f64)
    }

    /// Microseconds of a part of the cost for each connection and second.
    #[must_use]
    pub fn us_per_connection_s(&self, of: fn(&RestCost) -> f64) -> Option<f64> {
        let connection_s = self.connections as f64 * self.took_s;
        let cost = self.cost.as_ref().filter(|_| connection_s > 0.0)?;
        Some(of(cost) * 1e6 / connection_s)
    }
}

impl fmt::Display for RestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, took_s, .. } = self;
        let pings = self.pings_per_connection().unwrap_or_default();
        write!(f, "{} idle for {took_s:.1} s, {pings:.2} pings each", counted(connections, "connection"))?;
        let [cpu, user, system] = [(|of| of.cpu_s) as fn(&RestCost) -> f64, |of| of.user_s, |of| of.system_s]
            .map(|of| self.us_per_connection_s(of).map(|us| Unit::Microseconds.show(us)));
        match (cpu, user, system) {
            (Some(cpu), Some(user), Some(system)) => {
                write!(f, ": {cpu} of the server's CPU a second for each, user {user}, system {system}")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(connections: usize, took_ns: u64, pings: u64, times: Option<CpuTimes>) -> RestReport {
        RestReport { cost: times.map(RestCost::new), ..RestReport::new(connections, took_ns, pings) }
    }

    const MINUTE_NS: u64 = 60_000_000_000;
    const TIMES: CpuTimes = CpuTimes { sum_ns: 480_000_000, user_ns: 120_000_000, system_ns: 360_000_000 };

    #[test]
    fn a_connection_has_its_share_of_the_time_and_of_the_pings() {
        let all = rest(10_000, MINUTE_NS, 30_000, Some(TIMES));
        let text = "10000 connections idle for 60.0 s, 3.00 pings each: 800.0 ns of the server's CPU a second for each, \
                    user 200.0 ns, system 600.0 ns";
        assert_eq!(all.to_string(), text);
        let unseen = rest(10_000, MINUTE_NS, 15_000, None);
        assert_eq!(unseen.to_string(), "10000 connections idle for 60.0 s, 1.50 pings each");
    }

    #[test]
    fn shares_of_a_run_have_one_server() {
        let (one, other) = (rest(4000, MINUTE_NS, 12_000, None), rest(6000, MINUTE_NS + 1, 18_000, Some(TIMES)));
        let expected = rest(10_000, MINUTE_NS, 30_000, Some(TIMES));
        assert_eq!((one.plus(other), other.plus(one)), (expected, expected));
    }

    #[test]
    fn of_no_connection_and_of_no_time_nothing_is_said() {
        let none = rest(0, MINUTE_NS, 0, Some(TIMES));
        assert_eq!((none.pings_per_connection(), none.us_per_connection_s(|of| of.cpu_s)), (None, None));
        assert_eq!(rest(10, 0, 0, Some(TIMES)).us_per_connection_s(|of| of.cpu_s), None);
    }
}
