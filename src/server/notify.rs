//! What the service manager is told: that a start needs its time, that every shard listens, that every shard still turns,
//! that the configuration is read again and was, that the end has begun and how long it may take.
//!
//! By datagrams to `NOTIFY_SOCKET`, as sd_notify(3) says; without that variable nothing is sent and nothing is
//! watched. The watchdog is fed only when every shard has turned since it was fed before: an idle shard turns at
//! least once in `PARK_MS_MAX`, so one that did not is stuck, and the manager restarts the whole. A reload is told as
//! both `Type=notify` and `Type=notify-reload` want to hear it. A start that mends is bounded: one that hangs is ended
//! by the manager after all.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use sd_notify::NotifyState;

use crate::config::StartError;
use crate::limits::{
    DRAIN_LATEST_MS, LOG_FLUSH_MS, START_EXTEND_LOOK_MS, START_EXTENDED_MS, START_EXTENSIONS_MAX, STOP_SPARE_MS,
    WATCHDOG_LOOKS, WATCHDOG_MS_MIN,
};
use crate::metrics::{Metric, Metrics};
use crate::tune::counted;

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

/// A start that takes longer than the manager may know of; it is asked to wait on until this is dropped.
#[derive(Debug)]
pub(super) struct Mending {
    /// The thread that asks, and its end.
    asking: Option<(Sender<()>, JoinHandle<()>)>,
}

/// The store is opened, and maybe mended first: journals of a gibibyte are read through twice.
pub(super) fn mending() -> io::Result<Mending> {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return Ok(Mending { asking: None });
    }
    let (keep_asking, end) = bounded::<()>(0);
    let pause = Duration::from_millis(START_EXTEND_LOOK_MS);
    let ask = || {
        let wait = NotifyState::ExtendTimeoutUsec(micros(START_EXTENDED_MS));
        send(&[wait, NotifyState::Status("opening the store")]);
    };
    let run = move || repeat(&end, (pause, START_EXTENSIONS_MAX), ask);
    let thread = thread::Builder::new().name("starting".to_owned()).spawn(run)?;
    Ok(Mending { asking: Some((keep_asking, thread)) })
}

impl Drop for Mending {
    fn drop(&mut self) {
        if let Some((keep_asking, thread)) = self.asking.take() {
            drop(keep_asking);
            // What is told next comes after what it said last.
            let _cannot_panic = thread.join();
        }
    }
}

/// Does it at once and after each pause until the other end is dropped, so many times at most.
fn repeat(end: &Receiver<()>, (pause, most): (Duration, u32), mut act: impl FnMut()) {
    for _ in 0..most {
        act();
        if end.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Milliseconds as the manager reads them. No limit of ours is beyond an hour.
fn micros(ms: u64) -> u32 {
    u32::try_from(ms.saturating_mul(1000)).unwrap_or(u32::MAX)
}

/// Every shard listens.
pub(super) fn ready(shards: usize, connections: u64) {
    let listen = if shards == 1 { "listens" } else { "listen" };
    let (shards, connections) = (counted(shards, "shard"), counted(connections, "connection"));
    let status = format!("{shards} {listen}, room for {connections}");
    send(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The configuration is read again from now on. The manager wants to know when, to tell it from an earlier time.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the time cannot be told: a reload is not announced"),
    }
}

/// It was read, and every shard was told; or it is refused, and what held before does.
pub(super) fn reloaded(outcome: Outcome) {
    let status = match outcome {
        Outcome::Applied => "the configuration was read again",
        Outcome::Refused => "the configuration is refused, the one before it holds: waystation config check",
    };
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What became of a configuration that was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It holds.
    Applied,
    /// It does not.
    Refused,
}

/// The end has begun. It comes within a bounded time, whatever the manager would grant by itself.
pub(super) fn stopping() {
    let latest = NotifyState::ExtendTimeoutUsec(micros(DRAIN_LATEST_MS + LOG_FLUSH_MS + STOP_SPARE_MS));
    send(&[NotifyState::Stopping, latest, NotifyState::Status("draining")]);
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
                let status = counted(watch.connections(), "connection");
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
    fn a_start_asks_for_time_at_once_and_again_until_it_is_over_and_so_many_times_at_most() {
        let (keep_asking, end) = bounded::<()>(0);
        let mut asked = 0;
        repeat(&end, (Duration::from_millis(1), 3), || asked += 1);
        assert_eq!(asked, 3, "the bound");
        let mut keep_asking = Some(keep_asking);
        let mut asked = 0;
        repeat(&end, (Duration::from_secs(60), START_EXTENSIONS_MAX), || {
            asked += 1;
            drop(keep_asking.take());
        });
        assert_eq!(asked, 1, "it is over");
        const { assert!(START_EXTENDED_MS >= 3 * START_EXTEND_LOOK_MS, "one that is lost is made good") };
        assert_eq!(micros(START_EXTENDED_MS), 30_000_000);
        assert!(micros(DRAIN_LATEST_MS + LOG_FLUSH_MS + STOP_SPARE_MS) < u32::MAX);
    }

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
