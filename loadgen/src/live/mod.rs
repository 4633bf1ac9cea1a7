//! What is seen of a run while it goes on, and the record of its course.
//!
//! The engine fills a `recorder` and hands its seconds to a thread of their own, the `watcher`, which makes the timeline
//! of them and shows it: `lines` on a terminal that only scrolls or a file, `screen` with what `painting` puts there and the
//! `keys` that are pressed there on one that can be drawn on. The engine takes no lock and waits for nothing; the watcher runs at the lowest priority and off
//! the engine's core. Everything is shown on standard error: standard output is the report's.
//!
//! The terminal is given back by whoever ends the run or the program: the watcher, the thread of the signals, or the hook
//! of a panic.

mod keys;
mod lines;
mod painting;
mod recorder;
mod screen;
mod show;
mod watcher;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use crate::process;
pub(crate) use recorder::{Gauges, Recorder};
pub(crate) use watcher::{Scene, Watcher};

/// How a run is shown.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Not at all.
    #[default]
    Nothing,
    /// A line a second.
    Lines,
    /// A screen that is drawn on, if the terminal can be; else as `Lines`.
    Screen,
}

impl View {
    /// The best that the terminal can show.
    #[must_use]
    pub fn of_terminal() -> Self {
        if screen::is_possible() { Self::Screen } else { Self::Lines }
    }
}

/// The wish to end a run early, shared by all who may have it.
#[derive(Debug, Default, Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
}

impl Stop {
    /// One that the signals to end set: the first ends the run early, with a report; the second ends the program. The
    /// signal to stop finds the terminal given back. A run that was started to outlive its terminal (`nohup`) does.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGTSTP])?;
        if !process::ignores(SIGHUP) {
            signals.add_signal(SIGHUP)?;
        }
        let wish = stop.clone();
        // A thread and no handler: it may be the one that gives the terminal back.
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                if signal == SIGTSTP {
                    suspend();
                    continue;
                }
                if wish.requested() {
                    screen::give_back();
                    signal_hook::low_level::exit(128 + signal);
                }
                wish.request();
            }
        })?;
        Ok(stop)
    }

    /// The same without the second, and without a terminal to give back: for a program that has others to end before itself, however often it is asked.
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

/// Stops the program as the terminal's user wished, on a terminal that was given back. As the kernel has it, nothing happens
/// where no shell could continue it.
fn suspend() {
    if screen::is_job() {
        screen::give_back();
        // A signal that cannot be raised leaves the run as it is.
        let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
    }
}
