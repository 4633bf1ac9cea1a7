//! The bare loop of `benches/floor` as a program of this package: what `loadgen pair` is tried and tested with.
//!
//! `cargo run -p loadgen --example bare -- 127.0.0.1:8001` serves until a signal ends it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8001".to_owned());
    let address = address.parse().map_err(std::io::Error::other)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    floor::Floor::bind(address, "user-00000")?.run(&stop).map(drop)
}
