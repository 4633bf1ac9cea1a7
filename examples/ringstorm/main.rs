//! A storm against the real server: every byte must come back to the connection that sent it.
//!
//! The program starts itself once more as the server, the library's own with all its threads, and with
//! `--tiny` gives that rings so small that receive buffers run out and completion queues overflow all the
//! time. Threads with blocking sockets then open, crowd, fill, cut, reset, half-close and close
//! connections at random, or have the server close them. Half go to `/echo`, the others each to a chat
//! room of their own, and with two shards half of those are handed from the shard that accepted them to
//! another. Signals interrupt the server a thousand times a second. After 25 s of it come five without.
//! In both, quiet connections on every shard, and across them, measure wakes, less what the machine adds.
//!
//! What is sent is a function of connection and place, so that a byte that comes to the wrong connection,
//! or to the wrong place in the right one, is seen. Exit code 1: a byte was wrong, a connection failed that
//! should not have, a wake took too long, something was left behind, or what was to be provoked did not occur.
//!
//! ```text
//! cargo run --release --example ringstorm -- --seconds 600 --tiny
//! ```
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a tool for the terminal that measures time")]

mod client;
mod counts;
mod gateway;
mod lives;
mod quiet;
mod tagged;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use client::{Field, Trouble};
use counts::{Counts, Row};
use gateway::{Gateway, Metrics};
use quiet::Quiet;
use tagged::{Random, mix};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// How long: whole storms, each with its calm.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(30..))]
    seconds: u64,
    /// Give the server rings that run out.
    #[arg(long)]
    tiny: bool,
    /// Shards of the server.
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// Threads that storm.
    #[arg(long, default_value_t = 8)]
    threads: u64,
    /// Connections that one thread opens at once to exhaust the pools.
    #[arg(long, default_value_t = 60)]
    crowd: u64,
    /// Signals a second.
    #[arg(long, default_value_t = 1000)]
    signal_hz: u64,
    /// Longest allowed wake, in milliseconds.
    #[arg(long, default_value_t = 50)]
    wake_ms: u64,
    /// Seed of the random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(gateway::SERVE) {
        return gateway::serve(words.next(), words);
    }
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(trouble) => {
            println!("the storm itself failed: {}", trouble.text);
            ExitCode::FAILURE
        }
    }
}

/// Storms and says whether all was well.
fn run(args: &Args) -> Result<bool, Trouble> {
    let mut gateway = Gateway::start(args.tiny, args.shards)?;
    let (mint, counts) = (gateway.mint()?, Counts::default());
    let descriptors = gateway.descriptors()?;
    let mut field =
        Field { address: gateway.address, mint: &mint, counts: &counts, crowd: args.crowd, began: Instant::now() };
    let quiet = quiet::open(&field, &gateway)?;
    field.began = Instant::now();
    storm(args, &field, &gateway, quiet);
    let metrics = gateway.metrics()?;
    let left = left_behind(&gateway, descriptors)?;
    let in_order = gateway.end()?;
    Ok(report(args, &counts, &metrics, &left, in_order))
}

fn storm(args: &Args, field: &Field<'_>, gateway: &Gateway, quiet: Vec<Quiet>) {
    let until = field.began + Duration::from_secs(args.seconds);
    let failed = &|who: &str, trouble: &Trouble| {
        field.counts.failed.fetch_add(1, Relaxed);
        println!("{who}: {}", trouble.text);
    };
    thread::scope(|scope| {
        for thread in 0..args.threads {
            let random = Random(mix(args.seed) ^ thread);
            scope.spawn(move || lives::storm(field, random, until));
        }
        scope.spawn(|| quiet::watch(field.counts, until));
        scope.spawn(|| {
            if let Err(error) = quiet::interrupt(field, gateway, args.signal_hz, until) {
                failed("the signals", &error.into());
            }
        });
        let count = quiet.len() as u128;
        for (turn, quiet) in (0..).zip(quiet) {
            scope.spawn(move || {
                if let Err(trouble) = quiet::ping(field, gateway, quiet, (turn, count), args.wake_ms, until) {
                    failed("a quiet connection", &trouble);
                }
            });
        }
    });
}

/// What should be gone when everybody has left, and is not: sockets and descriptors. Waits for the last closes
/// to be noticed and for what lingers.
fn left_behind(gateway: &Gateway, descriptors: usize) -> Result<Vec<String>, Trouble> {
    // Those of the request that asks, and files that the start had not opened yet.
    const OWN: usize = 2;
    let mut left = Vec::new();
    for _ in 0..200 {
        let metrics = gateway.metrics()?;
        let sockets = metrics.sum("waystation_sockets");
        let (connections, memberships) = (metrics.sum("waystation_connections"), metrics.sum("waystation_memberships"));
        let now = gateway.descriptors()?;
        left.clear();
        if sockets > 1 || connections > 0 || memberships > 0 {
            left.push(format!("{sockets} sockets, {connections} connections, {memberships} memberships"));
        }
        if now > descriptors + OWN {
            left.push(format!("{now} descriptors, {descriptors} before"));
        }
        if left.is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(left)
}

/// Prints everything and judges it.
fn report(args: &Args, counts: &Counts, metrics: &Metrics, left: &[String], in_order: bool) -> bool {
    let mut rows = counts::rows(counts, args.signal_hz);
    // A ring of the usual size need not run out.
    let tiny = |per_minute| args.tiny.then_some(per_minute);
    let moves = (args.shards > 1).then_some(200);
    for (name, metric, per_minute) in [
        ("hand-overs", "waystation_handed_over_total", moves),
        ("receives without a buffer", "waystation_buffers_exhausted_total", tiny(1000)),
        ("completion queue overflows", "waystation_ring_overflows_total", tiny(100)),
        ("short writes", "waystation_short_writes_total", Some(50)),
        ("sleeps of a shard", "waystation_parks_total", Some(1000)),
        ("hand-overs and events that found an inbox full", "waystation_mesh_full_total", None),
        ("accepts that failed", "waystation_accept_failures_total", None),
    ] {
        rows.push(Row { name, count: metrics.sum(metric), per_minute });
    }
    println!("{} s, {} shards, {} rings", args.seconds, args.shards, if args.tiny { "tiny" } else { "usual" });
    let mut good = true;
    for row in rows {
        let least = row.per_minute.map_or(0, |least| least * args.seconds / 60);
        let enough = row.count >= least;
        good &= enough;
        let verdict = if enough { "" } else { "  TOO FEW" };
        println!("{:>12} {} (at least {least}){verdict}", row.count, row.name);
    }
    let read = |count: &AtomicU64| count.load(Relaxed);
    let (worst, raw, stall) = (read(&counts.worst_us), read(&counts.worst_raw_us), read(&counts.worst_stall_us));
    println!("worst wake {worst} us of the server's own; with holds and waits for a core {raw} us");
    println!("worst lateness of a thread that does nothing {stall} us; held by stops {} us", read(&counts.held_us));
    for (name, count) in [
        ("misdelivered", read(&counts.misdelivered)),
        ("failed", read(&counts.failed)),
        ("wakes that took too long", read(&counts.slow)),
    ] {
        good &= count == 0;
        println!("{count:>12} {name} (none allowed)");
    }
    for what in left {
        println!("left behind: {what}");
    }
    if !in_order {
        println!("the server did not end in order");
    }
    good && left.is_empty() && in_order
}
