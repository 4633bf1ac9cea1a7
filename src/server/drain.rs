//! From the first signal to the exit code.
//!
//! SIGHUP makes the configuration to be read and the audit's file to be opened again and SIGUSR1 the recorder to be written, and neither ends anything.
//! SIGTERM and SIGINT mean the same: every shard says good-bye to its connections and ends, and the exit
//! code is 0. A second signal is an operator who will not wait. A thread that ends unasked takes the rest
//! down in order, and the exit code says so. Whatever hangs, the process ends a little after the drain's window.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, after, bounded, never, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::engine::{Awaited, Engine, Member};
use super::logs::Log;
use super::notify;
use crate::config::StartError;
use crate::limits::{DRAIN_LATEST_MS, DRAIN_WINDOW_MS};

/// Catches the signals that the server knows. Called before any thread starts, so that none is missed.
pub(super) fn signals() -> Result<Signals, StartError> {
    Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map_err(|error| refused(&error))
}

fn refused(error: &io::Error) -> StartError {
    StartError::new(format!("signals cannot be caught: {error}"), "the system", "see whether descriptors are left")
}

/// Waits for a signal, drains, waits for the threads. The exit code is 0 after a drain.
pub(super) fn wait(mut signals: Signals, engine: Engine, log: &Log) -> ExitCode {
    let Engine { members, drain, reload } = engine;
    let (handle, asked) = (signals.handle(), Arc::new(AtomicBool::new(false)));
    let (begin, begun) = bounded(1);
    let ends = thread::spawn({
        let asked = Arc::clone(&asked);
        move || {
            let failures = join_all(members, &asked, (&begun, Duration::from_millis(DRAIN_LATEST_MS)));
            handle.close();
            failures
        }
    });
    let mut drain = Some((drain, reload));
    for signal in signals.forever() {
        if signal == SIGUSR1 {
            log.write_flight_aside();
            continue;
        }
        if signal == SIGHUP {
            log.reopen();
            // Full: it is about to be read again anyway. Draining: it is too late for it.
            let _waits_already = drain.as_ref().map(|(_, reload)| reload.try_send(()));
            continue;
        }
        let Some((drain, reload)) = drain.take() else {
            tracing::warn!(signal, "second signal: ending without a drain");
            log.flush();
            // The shell's convention for a process that a signal ended.
            std::process::exit(128 + signal);
        };
        asked.store(true, SeqCst);
        tracing::info!(signal, window_ms = DRAIN_WINDOW_MS, "draining");
        drop(reload);
        notify::stopping();
        drain(DRAIN_WINDOW_MS);
        // Taken by who waits for the threads, or they have ended already.
        let _all_ended = begin.try_send(());
    }
    let code = match ends.join() {
        Ok(0) => {
            tracing::info!("drained");
            ExitCode::SUCCESS
        }
        failures => {
            tracing::error!(failures = failures.unwrap_or(1), "did not end cleanly");
            ExitCode::FAILURE
        }
    };
    log.flush();
    code
}

/// Waits for every thread and counts those that failed or ended before they were asked to. The first that ends unasked
/// starts the drain of the others, by the signal that an operator would send. From when the drain has `begun` they are
/// waited for so long: what goes on then ends with the process, and counts as failed if it is to be awaited.
fn join_all(members: Vec<Member>, asked: &AtomicBool, (begun, latest): (&Receiver<()>, Duration)) -> usize {
    let (sender, ended) = bounded(members.len());
    let mut left: Vec<(String, Awaited)> = Vec::new();
    for Member { name, join, awaited } in members {
        left.push((name.clone(), awaited));
        let sender = sender.clone();
        // Detached: it ends with its member, and the loop below waits for every one.
        drop(thread::spawn(move || sender.send((name, join()))));
    }
    let (mut failures, mut late) = (0, never());
    while !left.is_empty() {
        let (name, outcome) = select! {
            recv(ended) -> one => match one {
                Ok(one) => one,
                Err(_) => break,
            },
            recv(begun) -> _ => {
                late = after(latest);
                continue;
            }
            recv(late) -> _ => return failures + left.iter().filter(|one| is_missed(one)).count(),
        };
        left.retain(|(known, _)| *known != name);
        let unasked = !asked.swap(true, SeqCst);
        if let Err(error) = &outcome {
            tracing::error!(member = name, error, "thread failed");
        } else if unasked {
            tracing::error!(member = name, "thread ended without being asked to");
        }
        failures += usize::from(unasked || outcome.is_err());
        if unasked && let Err(error) = signal_hook::low_level::raise(SIGTERM) {
            tracing::error!(%error, "the others cannot be told to drain");
            break;
        }
    }
    failures
}

/// Tells of a thread that has not ended in time. Whether that is a failure.
fn is_missed((name, awaited): &(String, Awaited)) -> bool {
    match awaited {
        Awaited::ToTheEnd => tracing::error!(member = name, "thread does not end"),
        Awaited::InTime => tracing::warn!(member = name, "answers that nobody takes are cut"),
    }
    *awaited == Awaited::ToTheEnd
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that ends once the sender is dropped.
    fn member(name: &str, awaited: Awaited, outcome: Result<(), String>) -> (Member, crossbeam_channel::Sender<()>) {
        let (end, until) = bounded::<()>(0);
        let join = Box::new(move || until.recv().map_or(outcome, |()| Ok(())));
        (Member { name: name.to_owned(), join, awaited }, end)
    }

    /// Failures where the first `ended` of a shard, another that fails, and the administration end, and the others hang.
    fn failures(ended: usize) -> usize {
        let (begin, begun) = bounded(1);
        begin.send(()).unwrap();
        let (members, mut ends): (Vec<_>, Vec<_>) = [
            member("shard-0", Awaited::ToTheEnd, Ok(())),
            member("shard-1", Awaited::ToTheEnd, Err("it panicked".to_owned())),
            member("admin", Awaited::InTime, Ok(())),
        ]
        .into_iter()
        .unzip();
        drop(ends.drain(..ended));
        join_all(members, &AtomicBool::new(true), (&begun, Duration::from_millis(300)))
    }

    #[test]
    fn a_thread_that_does_not_end_keeps_the_process_for_a_bounded_time_only() {
        for (ended, expected) in [(0, 2), (1, 1), (2, 1), (3, 1)] {
            assert_eq!(failures(ended), expected, "{ended} of 3 have ended");
        }
    }
}
