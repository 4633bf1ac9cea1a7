//! How the cost of a message grows with members, rooms, messages before a visit, connections and shards, in instructions
//! and in misses of a model's cache: what PERFORMANCE fits its model to. No gate: `cargo bench -p benches --bench growth`
//! takes minutes, and needs what `benches/gate.rs` needs.
#![expect(
    missing_docs,
    clippy::unwrap_used,
    reason = "macros make public items; a bench that cannot go on should stop"
)]

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};

mod mirrored;
#[expect(dead_code, reason = "the rows of the gate are not counted here")]
#[path = "../world/mod.rs"]
mod world;

use mirrored::Mirrored;
use world::rows::Work;
use world::traffic::{Idling, Rooms, Station, Traffic};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn turns(count: u32, members: u32, in_flight: u32) -> Box<dyn Work> {
    ready(Traffic::boxed(Rooms { count, members, in_flight }, Station::Turn))
}

fn idling(count: u32) -> Box<dyn Work> {
    ready(Box::new(Idling::new(count, 3)))
}

fn mirrored(shards: u16) -> Box<dyn Work> {
    ready(Box::new(Mirrored::new(shards)))
}

fn ready(mut work: Box<dyn Work>) -> Box<dyn Work> {
    work.prepare();
    work
}

// Publishes, visits and deliveries of one turn: rooms, members of each, publishes in each.
#[library_benchmark(setup = turns)]
#[bench::members_1(1, 1, 1)]
#[bench::members_3(1, 3, 1)]
#[bench::members_10(1, 10, 1)]
#[bench::members_30(1, 30, 1)]
#[bench::members_100(1, 100, 1)]
#[bench::members_300(1, 300, 1)]
#[bench::members_1000(1, 1000, 1)]
#[bench::members_3000(1, 3000, 1)]
#[bench::members_10000(1, 10_000, 1)]
#[bench::rooms_1(1, 3, 1)]
#[bench::rooms_16(16, 3, 1)]
#[bench::rooms_64(64, 3, 1)]
#[bench::rooms_256(256, 3, 1)]
#[bench::rooms_1024(1024, 3, 1)]
#[bench::rooms_3333(3333, 3, 1)]
#[bench::inflight_1(64, 3, 1)]
#[bench::inflight_2(64, 3, 2)]
#[bench::inflight_4(64, 3, 4)]
#[bench::inflight_8(64, 3, 8)]
#[bench::inflight_16(64, 3, 16)]
fn turn(mut work: Box<dyn Work>) -> Box<dyn Work> {
    work.run();
    work
}

// Twenty seconds of so many idle connections.
#[library_benchmark(setup = idling)]
#[bench::connections_30(30)]
#[bench::connections_300(300)]
#[bench::connections_3000(3000)]
#[bench::connections_9999(9999)]
fn idle(mut work: Box<dyn Work>) -> Box<dyn Work> {
    work.run();
    work
}

// One publish into a channel that has a member on each of so many shards.
#[library_benchmark(setup = mirrored)]
#[bench::shards_1(1)]
#[bench::shards_2(2)]
#[bench::shards_4(4)]
#[bench::shards_8(8)]
#[bench::shards_16(16)]
#[bench::shards_32(32)]
fn shards(mut work: Box<dyn Work>) -> Box<dyn Work> {
    work.run();
    work
}

library_benchmark_group!(name = growth, benchmarks = [turn, idle, shards]);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args([
        "--I1=32768,8,64",
        "--D1=32768,8,64",
        "--LL=4194304,16,64"
    ])),
    library_benchmark_groups = growth
);
