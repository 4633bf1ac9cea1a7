//! Many seeds, on as many threads as asked for. Each world ends with its seed, so that memory does not grow with them.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::counts::Counts;
use super::world::World;

/// Seeds that fail on one thread before it goes no further.
const FAILED_MAX: usize = 10;

/// What came of a range.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) seeds: u64,
    pub(crate) failed: Vec<u64>,
}

impl Outcome {
    fn join(&mut self, other: Self) {
        self.counts.join(&other.counts);
        self.seeds += other.seeds;
        self.failed.extend(other.failed);
        self.failed.sort_unstable();
    }
}

/// Seeds by their number: `140` is those before it, `1000..2000` is those within.
pub(crate) fn read_range(text: &str) -> Option<Range<u64>> {
    let (from, to) = text.split_once("..").unwrap_or(("0", text));
    Some(from.parse().ok()?..to.parse().ok()?)
}

/// Runs one seed. `None` if it fails, which it has told by then.
pub(crate) fn run(seed: u64) -> Option<(Counts, u64)> {
    let mut world = World::new(seed);
    let done = catch_unwind(AssertUnwindSafe(|| world.run()));
    if done.is_err() {
        let step = world.now.micros;
        super::report(&format!("seed {seed} fails at {step} us: WAYSTATION_SIM_SEED={seed} replays it"));
    }
    done.ok().map(|()| (world.counts, world.trace.0))
}

/// Runs a range, the next seed on whichever thread is free.
pub(crate) fn run_range(range: Range<u64>, threads: usize) -> Outcome {
    let next = AtomicU64::new(range.start);
    let work = || {
        let mut outcome = Outcome::default();
        while outcome.failed.len() < FAILED_MAX {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= range.end {
                break;
            }
            outcome.seeds += 1;
            match run(seed) {
                Some((counts, _)) => outcome.counts.join(&counts),
                None => outcome.failed.push(seed),
            }
        }
        outcome
    };
    let mut all = Outcome::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            all.join(thread.join().expect("a thread that runs seeds"));
        }
    });
    all
}
