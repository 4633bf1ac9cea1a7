//! What each row costs in instructions, the same in every run: what CI holds a change against.
//!
//! `cargo bench -p benches --bench gate` needs valgrind and the `gungraun-runner` of the same version as the crate;
//! `.ci/report` installs that and compares. What comes after `--` picks rows: `-- '*visit*'`.
#![expect(missing_docs, reason = "the macros make public items of their own")]

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};

#[expect(dead_code, reason = "what a row is for one of is of no use here")]
mod world;

use world::rows::{Row, Work};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn ready(name: &str) -> Box<dyn Work> {
    Row::ALL.iter().find(|row| row.name == name).map(|row| row.ready()).unwrap_or_else(|| panic!("no row {name}"))
}

// Hands the work back, so that its end is not counted.
#[library_benchmark(setup = ready)]
#[bench::upgrade("upgrade")]
#[bench::verify("verify")]
#[bench::join("join")]
#[bench::join_crowd("join_crowd")]
#[bench::presence("presence")]
#[bench::resume("resume")]
#[bench::assemble("assemble")]
#[bench::assemble_16k("assemble_16k")]
#[bench::parse("parse")]
#[bench::authorise("authorise")]
#[bench::room("room")]
#[bench::encode("encode")]
#[bench::publish("publish")]
#[bench::publish_acked("publish_acked")]
#[bench::publish_durable("publish_durable")]
#[bench::publish_coalesced("publish_coalesced")]
#[bench::visit("visit")]
#[bench::visit_coalesced("visit_coalesced")]
#[bench::visit_big_room("visit_big_room")]
#[bench::deliver("deliver")]
#[bench::deliver_acked("deliver_acked")]
#[bench::deliver_coalesced("deliver_coalesced")]
#[bench::deliver_big_room("deliver_big_room")]
#[bench::deliver_big_room_coalesced("deliver_big_room_coalesced")]
#[bench::commit_durable("commit_durable")]
#[bench::turn("turn")]
#[bench::turn_big_room("turn_big_room")]
#[bench::echo("echo")]
#[bench::echo_coalesced("echo_coalesced")]
#[bench::close("close")]
#[bench::idle("idle")]
fn row(mut work: Box<dyn Work>) -> Box<dyn Work> {
    work.run();
    work
}

library_benchmark_group!(name = walk, benchmarks = row);

main!(
    // Misses are those of a cache of a fixed size, and branches are foretold by valgrind's own table, so that both are the
    // same on every machine.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args([
        "--I1=32768,8,64",
        "--D1=32768,8,64",
        "--LL=4194304,16,64",
        "--branch-sim=yes"
    ])),
    library_benchmark_groups = walk
);
