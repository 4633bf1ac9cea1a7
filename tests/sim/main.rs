//! The seeded simulator: whole shards under fake time, with everything around them going wrong.
//!
//! One thread drives two to four real shards as a host does. Links between them deliver in order each but
//! not among each other, and fill up; sockets take parts of writes; clients are slow, leave, come back and
//! resume, and check what they are sent as a client sees it. The same seed gives the same trace.
//!
//! `WAYSTATION_SIM_SEEDS=1000` runs that many seeds, `WAYSTATION_SIM_SEED=n` replays one.

#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod backend;
mod client;
mod company;
mod counts;
mod invariants;
mod network;
mod replays;
mod retention;
mod rng;
mod storage;
mod wire;
mod workload;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use counts::Counts;
use world::World;

/// Seeds of a default run.
const SEEDS: u64 = 140;
/// How often each kind of event has to occur in a default run.
const LEAST: u64 = 100;

fn run(seed: u64) -> (Counts, u64) {
    let mut world = World::new(seed);
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(()) => (world.counts, world.trace.0),
        Err(panic) => {
            let step = world.now.micros;
            report(&format!("seed {seed} fails at {step} us: WAYSTATION_SIM_SEED={seed} replays it"));
            resume_unwind(panic)
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test tells its seed and its table")]
fn report(text: &str) {
    eprintln!("{text}");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn what_clients_see_holds_whatever_goes_wrong() {
    if let Some(seed) = number("WAYSTATION_SIM_SEED") {
        return report(&run(seed).0.to_string());
    }
    let seeds = number("WAYSTATION_SIM_SEEDS").unwrap_or(SEEDS);
    let mut all = Counts::default();
    for seed in 0..seeds {
        all.join(&run(seed).0);
    }
    report(&all.to_string());
    let rare = all.rarer_than(LEAST);
    assert!(seeds < SEEDS || rare.is_empty(), "these hardly occurred: {rare:?}");
}

/// Seeds within which a planted fault has to be found.
#[cfg(feature = "planted-faults")]
const FAULT_SEEDS: u64 = 2000;

#[cfg(feature = "planted-faults")]
#[test]
fn every_planted_fault_is_found() {
    use waystation::shard::fault::{Fault, plant};
    for fault in Fault::ALL {
        plant(Some(fault));
        let found = (0..FAULT_SEEDS).find(|seed| catch_unwind(|| run(*seed)).is_err());
        plant(None);
        report(&format!("{fault:?} is found by seed {found:?}"));
        assert!(found.is_some(), "{fault:?} is not found");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(run(7).1, run(7).1);
    assert_ne!(run(7).1, run(8).1);
}
