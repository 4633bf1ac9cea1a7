//! A side of a pair runs in slices: at the end of each it hands over, waits, and goes on as if no time had passed.
//!
//! The run's clock stands still while the side waits, so that schedules, latencies, lateness and the length of a phase
//! are of running time alone; a thread that has no core while it should run is still late. What is on its way when a
//! slice ends stays in the kernel's buffers and comes in the next one.

use std::io;

use crate::baton::{Baton, Taken};
use crate::engine::Engine;
use crate::process::ThreadTimes;

/// Where the side is.
#[derive(Debug)]
pub(crate) struct Slices<'a> {
    baton: Option<&'a Baton>,
    /// When the present slice ends on the run's clock; never while the baton is not handed over.
    ends_ns: u64,
    /// Slices so far.
    pub(crate) count: u64,
    /// What handing over to this side took.
    pub(crate) handover_ns: u64,
    /// Of the time that stood still, what this thread waited for its core.
    pub(crate) delayed_ns: u64,
}

impl<'a> Slices<'a> {
    /// One slice without an end, until they begin.
    pub(super) fn new(baton: Option<&'a Baton>) -> Self {
        Self { baton, ends_ns: u64::MAX, count: 0, handover_ns: 0, delayed_ns: 0 }
    }

    /// Whether somebody waits for slices to end.
    pub(crate) fn wanted(&self) -> bool {
        self.baton.is_some()
    }

    pub(super) fn ends_ns(&self) -> u64 {
        self.ends_ns
    }
}

impl Engine<'_> {
    /// Lets the other side do what is not done in slices; then they begin.
    pub(crate) fn begin_slices(&mut self) -> io::Result<()> {
        match self.slices.count {
            0 => self.hand_over(),
            _ => Ok(()),
        }
    }

    /// Keeps the baton from now on.
    pub(crate) fn end_slices(&mut self) {
        self.slices.ends_ns = u64::MAX;
    }

    /// Lets the other side run, and begins the next slice when it is over.
    pub(super) fn hand_over(&mut self) -> io::Result<()> {
        let Some(baton) = self.slices.baton else { return Ok(()) };
        let from_ns = self.clock.now_ns();
        baton.pass().map_err(io::Error::other)?;
        let before = ThreadTimes::now();
        let taken = baton.take().map_err(io::Error::other)?;
        self.slices.delayed_ns += ThreadTimes::now().delayed_ns.saturating_sub(before.delayed_ns);
        self.clock.stand_still(self.clock.now_ns().saturating_sub(from_ns));
        self.slices.count += 1;
        self.slices.ends_ns = match taken {
            Taken::After(took_ns) => {
                self.slices.handover_ns += took_ns;
                from_ns.saturating_add(baton.slice_ns())
            }
            Taken::ForGood => u64::MAX,
        };
        Ok(())
    }
}
