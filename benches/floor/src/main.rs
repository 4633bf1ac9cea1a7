//! `floor`: listens, serves until SIGTERM or SIGINT, prints what it did.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports to its terminal")]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;

/// A bare epoll WebSocket server: echo at /echo, a room at any other path.
#[derive(Debug, Parser)]
struct Flags {
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0:8001")]
    listen: SocketAddr,
    /// Core to run on; default: wherever the kernel likes.
    #[arg(long)]
    cpu: Option<usize>,
    /// Name that stands for every sender in the envelopes; give it the length the gateway's users have.
    #[arg(long, default_value = "user-00000")]
    user: String,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match serve(&flags) {
        Ok(counts) => {
            println!("{counts}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(flags: &Flags) -> std::io::Result<floor::Counts> {
    if let Some(cpu) = flags.cpu {
        floor::pin(cpu)?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut floor = floor::Floor::bind(flags.listen, &flags.user)?;
    println!("floor: listening on {}", floor.local_addr()?);
    floor.run(&stop)
}
