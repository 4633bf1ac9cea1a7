//! The seeded simulator: whole shards under fake time, with everything around them going wrong.
//!
//! One thread drives two to four real shards as a host does. Links between them deliver in order each but
//! not among each other, and fill up; sockets take parts of writes; clients are slow, leave, come back and
//! resume, and check what they are sent as a client sees it. The same seed gives the same trace.
//!
//! `WAYSTATION_SIM_SEEDS=1000` runs that many seeds, `WAYSTATION_SIM_SEEDS=1000..2000` those within; `WAYSTATION_SIM_THREADS=2`
//! runs two at a time. `WAYSTATION_SIM_SEED=n` replays one.

#![expect(clippy::expect_used, reason = "a test fails by a panic")]

mod backend;
mod client;
mod company;
mod counts;
mod erasures;
mod invariants;
mod network;
mod operator;
mod replays;
mod retention;
mod rng;
mod seeds;
mod storage;
mod wire;
mod workload;
mod world;

use seeds::{read_range, run, run_range};

/// Seeds of a default run.
const SEEDS: u64 = 140;
/// How often each kind of event has to occur in a default run.
const LEAST: u64 = 100;

#[expect(clippy::print_stderr, reason = "a test tells its seed and its table")]
fn report(text: &str) {
    eprintln!("{text}");
}

fn asked<T>(name: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(read(&text).unwrap_or_else(|| panic!("{name} is {text}")))
}

#[test]
fn what_clients_see_holds_whatever_goes_wrong() {
    if let Some(seed) = asked("WAYSTATION_SIM_SEED", |text| text.parse().ok()) {
        return report(&run(seed).expect("a seed that holds").0.to_string());
    }
    let range = asked("WAYSTATION_SIM_SEEDS", read_range).unwrap_or(0..SEEDS);
    let threads = asked("WAYSTATION_SIM_THREADS", |text| text.parse().ok()).unwrap_or(1);
    let all = run_range(range.clone(), threads);
    report(&format!("{}seeds {range:?}: {} were run, {} failed", all.counts, all.seeds, all.failed.len()));
    assert!(all.failed.is_empty(), "these seeds fail: {:?}", all.failed);
    let rare = all.counts.rarer_than(LEAST);
    assert!(all.seeds < SEEDS || rare.is_empty(), "these hardly occurred: {rare:?}");
}

/// Seeds within which a planted fault has to be found.
#[cfg(feature = "planted-faults")]
const FAULT_SEEDS: u64 = 2000;

#[cfg(feature = "planted-faults")]
fn look_for(fault: waystation::shard::fault::Fault) {
    use waystation::shard::fault::plant;
    // In the shards of this thread.
    plant(Some(fault));
    let found = (0..FAULT_SEEDS).find(|seed| run(*seed).is_none());
    plant(None);
    let found = found.unwrap_or_else(|| panic!("{fault:?} is not found"));
    report(&format!("{fault:?} is found by seed {found}"));
    assert!(run(found).is_some(), "seed {found} fails without {fault:?}");
}

#[cfg(feature = "planted-faults")]
#[test]
fn every_planted_fault_is_found() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use waystation::shard::fault::Fault;
    let only = std::env::var("WAYSTATION_SIM_FAULT").ok();
    let is_asked = |fault: &Fault| only.as_ref().is_none_or(|only| *only == format!("{fault:?}"));
    let faults: Vec<Fault> = Fault::ALL.into_iter().filter(is_asked).collect();
    assert!(!faults.is_empty(), "no fault is called {only:?}");
    let threads = asked("WAYSTATION_SIM_THREADS", |text| text.parse().ok()).unwrap_or(1);
    let next = AtomicUsize::new(0);
    let look = || {
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            look_for(*fault);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(look)).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("every fault is found"));
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| run(seed).expect("a seed that holds").1;
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
