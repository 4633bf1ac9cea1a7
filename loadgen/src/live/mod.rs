//! What is seen of a run while it goes on, and the record of its course.
//!
//! The engine fills a `recorder` and hands its seconds to a thread of their own, the `watcher`, which makes the timeline
//! of them and shows it: `lines` on a terminal that only scrolls or a file, `screen` on one that can be drawn on. The
//! engine takes no lock and waits for nothing; the watcher runs at the lowest priority and off the engine's cores.
//! Everything is shown on standard error: standard output is the report's.

mod lines;
mod recorder;
mod watcher;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

pub(crate) use recorder::{Gauges, Recorder};
pub(crate) use watcher::Watcher;

/// How a run is shown.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Not at all.
    #[default]
    Nothing,
    /// A line a second.
    Lines,
}

/// The wish to end a run early, shared by all who may have it.
#[derive(Debug, Default, Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
}

impl Stop {
    /// One that the signals to end set: the first ends the run early, with a report; the second ends the program.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: at the first signal the flag is not yet set.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop.flag))?;
            signal_hook::flag::register(signal, Arc::clone(&stop.flag))?;
        }
        Ok(stop)
    }

    /// The same without the second: for a program that has others to end before itself, however often it is asked.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn on_every_signal() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop.flag))?;
        }
        Ok(stop)
    }

    /// Ends the run early.
    pub fn request(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether the run should end.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}
