//! From the first signal to the exit code.
//!
//! SIGHUP makes the configuration to be read again, and ends nothing.
//! SIGTERM and SIGINT mean the same: every shard says good-bye to its connections and ends, and the exit
//! code is 0. A second signal is an operator who will not wait. A thread that ends unasked takes the rest
//! down in order, and the exit code says so.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use crossbeam_channel::bounded;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::engine::{Engine, Member};
use super::notify;
use crate::config::StartError;
use crate::limits::DRAIN_WINDOW_MS;

/// Catches the signals that the server knows. Called before any thread starts, so that none is missed.
pub(super) fn signals() -> Result<Signals, StartError> {
    Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| refused(&error))
}

fn refused(error: &io::Error) -> StartError {
    StartError::new(format!("signals cannot be caught: {error}"), "the system", "see whether descriptors are left")
}

/// Waits for a signal, drains, waits for the threads. The exit code is 0 after a drain.
pub(super) fn wait(mut signals: Signals, engine: Engine) -> ExitCode {
    let Engine { members, drain, reload } = engine;
    let (handle, asked) = (signals.handle(), Arc::new(AtomicBool::new(false)));
    let ends = thread::spawn({
        let asked = Arc::clone(&asked);
        move || join_all(members, &asked, &handle)
    });
    let mut drain = Some((drain, reload));
    for signal in signals.forever() {
        if signal == SIGHUP {
            // Full: it is about to be read again anyway. Draining: it is too late for it.
            let _waits_already = drain.as_ref().map(|(_, reload)| reload.try_send(()));
            continue;
        }
        let Some((drain, reload)) = drain.take() else {
            tracing::warn!(signal, "second signal: ending without a drain");
            // The shell's convention for a process that a signal ended.
            std::process::exit(128 + signal);
        };
        asked.store(true, SeqCst);
        tracing::info!(signal, window_ms = DRAIN_WINDOW_MS, "draining");
        drop(reload);
        notify::stopping();
        drain(DRAIN_WINDOW_MS);
    }
    match ends.join() {
        Ok(0) => {
            tracing::info!("drained");
            ExitCode::SUCCESS
        }
        failures => {
            tracing::error!(failures = failures.unwrap_or(1), "did not end cleanly");
            ExitCode::FAILURE
        }
    }
}

/// Waits for every thread and counts those that failed or ended before they were asked to; then ends the
/// wait for signals. The first that ends unasked starts the drain of the others, by the signal that an
/// operator would send.
fn join_all(members: Vec<Member>, asked: &AtomicBool, signals: &Handle) -> usize {
    let (sender, ended) = bounded(members.len());
    for Member { name, join } in members {
        let sender = sender.clone();
        // Detached: it ends with its member, and the loop below waits for every one.
        drop(thread::spawn(move || sender.send((name, join()))));
    }
    drop(sender);
    let mut failures = 0;
    for (name, outcome) in ended {
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
    signals.close();
    failures
}
