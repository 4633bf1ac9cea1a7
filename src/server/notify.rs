//! What the service manager is told: that every shard listens, that every shard still turns, that the end has begun.
//!
//! By datagrams to `NOTIFY_SOCKET`, as sd_notify(3) says; without that variable nothing is sent and nothing is
//! watched. The watchdog is fed only when every shard has turned since it was fed before: an idle shard turns at
//! least once in `PARK_MS_MAX`, so one that did not is stuck, and the manager restarts the whole. Absent: reloading.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use sd_notify::NotifyState;

use crate::config::StartError;
use crate::limits::{WATCHDOG_LOOKS, WATCHDOG_MS_MIN};
use crate::metrics::{Metric, Metrics};

/// How often the service manager wants to hear that all is well; `None` if it does not ask.
pub(super) fn watchdog() -> Result<Option<Duration>, StartError> {
    sd_notify::watchdog_enabled().map_or(Ok(None), |period| checked(period).map(Some))
}

/// A period in which an idle shard is sure to turn more than once.
fn checked(period: Duration) -> Result<Duration, StartError> {
    if period >= Duration::from_millis(WATCHDOG_MS_MIN) {
        return Ok(period);
    }
    let what = format!("a watchdog of {} ms takes a shard that sleeps for one that is stuck", period.as_millis());
    Err(StartError::new(what, "WATCHDOG_USEC", format!("set WatchdogSec={}s or more", WATCHDOG_MS_MIN / 1000)))
}

/// Every shard listens.
pub(super) fn ready(shards: usize, connections: u64) {
    let status = format!("{shards} shards listen, room for {connections} connections");
    send(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The end has begun.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// A manager that does not listen is no reason to end.
fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Feeds the watchdog from a thread of its own until what it returns first is dropped.
pub(super) fn watch(period: Duration, shards: Vec<Arc<Metrics>>) -> io::Result<(Sender<()>, JoinHandle<()>)> {
    let (keep_watching, end) = bounded::<()>(0);
    let mut watch = Watch::new(shards);
    let run = move || {
        while end.recv_timeout(period / WATCHDOG_LOOKS) == Err(RecvTimeoutError::Timeout) {
            if watch.all_turned() {
                let status = format!("{} connections", watch.connections());
                send(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
            }
        }
    };
    Ok((keep_watching, thread::Builder::new().name("watchdog".to_owned()).spawn(run)?))
}

/// Which shards have turned since the watchdog was fed.
#[derive(Debug)]
struct Watch {
    /// Each shard's numbers, its turns when the watchdog was fed, and whether it has turned since.
    shards: Vec<(Arc<Metrics>, u64, bool)>,
}

impl Watch {
    fn new(shards: Vec<Arc<Metrics>>) -> Self {
        Self { shards: shards.into_iter().map(|metrics| (metrics, 0, false)).collect() }
    }

    /// Whether every shard has turned since this was last true.
    fn all_turned(&mut self) -> bool {
        for (metrics, before, turned) in &mut self.shards {
            *turned |= metrics.read(Metric::Turns) != *before;
        }
        let all = self.shards.iter().all(|(_, _, turned)| *turned);
        if all {
            for (metrics, before, turned) in &mut self.shards {
                (*before, *turned) = (metrics.read(Metric::Turns), false);
            }
        }
        all
    }

    fn connections(&self) -> u64 {
        self.shards.iter().map(|(metrics, ..)| metrics.read(Metric::Connections)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_shorter_than_an_idle_shards_sleep_allows_is_refused() {
        for (ms, good) in [(WATCHDOG_MS_MIN - 1, false), (WATCHDOG_MS_MIN, true), (WATCHDOG_MS_MIN + 1, true)] {
            assert_eq!(checked(Duration::from_millis(ms)).is_ok(), good, "{ms}");
        }
    }

    #[test]
    fn one_shard_that_stands_still_keeps_the_watchdog_hungry() {
        let shards: Vec<Arc<Metrics>> = (0..3).map(|_| Metrics::shared()).collect();
        let turn = |shard: usize| shards[shard].count(Metric::Turns);
        let mut watch = Watch::new(shards.clone());
        assert!(!watch.all_turned(), "none has turned yet");
        turn(0);
        turn(1);
        assert!(!watch.all_turned(), "the third has not");
        turn(2);
        assert!(watch.all_turned(), "looks add up until it is fed");
        assert!(!watch.all_turned(), "fed, all have to turn again");
        for _ in 0..5 {
            turn(0);
            turn(2);
            assert!(!watch.all_turned(), "the second is stuck");
        }
        turn(1);
        assert!(watch.all_turned(), "it goes on");
    }
}
