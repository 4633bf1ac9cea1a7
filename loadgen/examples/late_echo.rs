//! An echo that is late by a known amount, and says at its end by how much it was: what the generator and another tool
//! are held against.
//!
//! A thread for each connection reads, sleeps and answers, on an independent WebSocket implementation. A connection has
//! one message on the way; a second would wait for the first.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports to its terminal")]

use std::error::Error;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use loadgen::limits::{LATENCY_DIGITS, LATENCY_NS_MAX};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Echoes every message after a delay; at SIGTERM it prints what the delays were.
#[derive(Debug, Clone, Copy, Parser)]
struct Flags {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8002")]
    listen: SocketAddr,
    /// Time for which a message is held.
    #[arg(long, default_value_t = 0)]
    delay_us: u64,
    /// Every how manieth message of a connection is held for longer; 0 for none.
    #[arg(long, default_value_t = 0)]
    every: u64,
    /// For how long.
    #[arg(long, default_value_t = 0)]
    long_us: u64,
}

fn main() -> ExitCode {
    match serve(Flags::parse()) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("late_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(flags: Flags) -> Result<String, Box<dyn Error>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let listener = TcpListener::bind(flags.listen)?;
    let (tell, told) = channel();
    std::thread::spawn(move || {
        // It ends with the program.
        for stream in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || echo(stream, flags, &tell));
        }
    });
    let _ = signals.forever().next();
    let mut held = empty()?;
    for of_connection in told.try_iter() {
        held.add(&of_connection)?;
    }
    let us = |ns: u64| ns as f64 / 1000.0;
    let at = |quantile| us(held.value_at_quantile(quantile));
    Ok(format!(
        "{{\"count\":{},\"mean_us\":{:.1},\"p50_us\":{:.1},\"p90_us\":{:.1},\"p99_us\":{:.1},\"max_us\":{:.1}}}",
        held.len(),
        held.mean() / 1000.0,
        at(0.5),
        at(0.9),
        at(0.99),
        us(held.max())
    ))
}

/// Times in nanoseconds, as the generator keeps them.
fn empty() -> Result<Histogram<u64>, Box<dyn Error>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS)?)
}

/// Serves one connection until it ends, and hands in how long its messages were held.
#[expect(clippy::disallowed_methods, reason = "a server that is late on purpose reads the clock and sleeps")]
fn echo(stream: TcpStream, flags: Flags, tell: &Sender<Histogram<u64>>) {
    let Ok(mut held) = empty() else { return };
    // Without it an answer might wait for an acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    let mut count: u64 = 0;
    while let Ok(message) = socket.read() {
        let came = Instant::now();
        if !(message.is_text() || message.is_binary()) {
            continue;
        }
        count += 1;
        let long = flags.every > 0 && count.is_multiple_of(flags.every);
        let delay_us = if long { flags.long_us } else { flags.delay_us };
        if delay_us > 0 {
            std::thread::sleep(Duration::from_micros(delay_us));
        }
        held.saturating_record(u64::try_from(came.elapsed().as_nanos()).unwrap_or(u64::MAX));
        if socket.send(message).is_err() {
            break;
        }
    }
    // Nobody asks any more once the program ends.
    let _ = tell.send(held);
}
