//! How often each row of the benches asks the allocator for memory once everything has the size that it keeps.
//!
//! None where a message only passes through; one for each event that is published, which is the frame that history
//! keeps and all members share. A row that asks more often than is written here fails; one that asks less often wants
//! its number lowered.
#![expect(clippy::print_stdout, reason = "the report of continuous integration reads the table")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[path = "../../benches/world/mod.rs"]
mod world;

use world::rows::Row;

/// Counts requests, each thread its own: what runs the tests says after a minute that one of them is slow.
struct Counting;

thread_local! {
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
}

fn asked() {
    REQUESTS.set(REQUESTS.get() + 1);
}

#[expect(unsafe_code, reason = "an allocator is written in no other way")]
// JUSTIFICATION: requests cannot be counted from outside.
// SAFETY: everything is the system's allocator's, whose answers are passed on as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        asked();
        // SAFETY: the caller's promises are the ones that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above; it came from there.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        asked();
        // SAFETY: as above; it came from there.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs of which the one that asks most often counts.
const RUNS: usize = 8;

/// By row, requests of a whole run.
const BOUNDS: [(&str, usize); Row::ALL.len()] = [
    ("upgrade", 368),
    ("verify", 80),
    ("join", 547),
    ("join_crowd", 489),
    ("presence", 691),
    ("resume", 540),
    ("assemble", 0),
    ("assemble_16k", 0),
    ("parse", 0),
    ("authorise", 0),
    ("room", 0),
    ("encode", 64),
    ("publish", 64),
    ("publish_acked", 320),
    ("publish_durable", 704),
    ("publish_coalesced", 64),
    ("visit", 0),
    ("visit_coalesced", 0),
    ("visit_big_room", 0),
    ("deliver", 0),
    ("deliver_acked", 0),
    ("deliver_coalesced", 0),
    ("deliver_big_room", 0),
    ("deliver_big_room_coalesced", 2),
    ("commit_durable", 64),
    ("turn", 64),
    ("turn_big_room", 1),
    ("echo", 64),
    ("echo_coalesced", 4),
    ("close", 649),
    ("idle", 14_266),
];

fn requests_of(row: Row) -> usize {
    let mut work = row.ready();
    let counted = (0..RUNS).map(|_| {
        let before = REQUESTS.get();
        work.run();
        let after = REQUESTS.get();
        work.prepare();
        after - before
    });
    counted.max().unwrap_or(0)
}

#[test]
fn no_row_asks_the_allocator_more_often_than_is_recorded() {
    let mut over = Vec::new();
    for (row, (name, bound)) in Row::ALL.iter().zip(BOUNDS) {
        assert_eq!(row.name, name, "rows and bounds are in one order");
        let requests = requests_of(*row);
        println!("allocations {name} {requests} in {} units of a {}", row.units, row.unit);
        if requests > bound {
            over.push(format!("{name}: {requests} in a run, recorded are {bound}"));
        }
    }
    assert!(over.is_empty(), "\n{}", over.join("\n"));
}
