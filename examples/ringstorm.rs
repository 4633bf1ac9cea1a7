//! A storm against a running server's echo: every byte must come back to the connection that sent it.
//!
//! Threads with blocking sockets open, hand over, fill, drop and half-open connections at random, while
//! one quiet connection measures how long a wake takes and a signal storm interrupts the server. Byte `i`
//! of connection `c` is a function of both, so a byte that goes to the wrong connection, or to the wrong
//! place in the right one, is seen. Exit code 1: a byte was wrong, or a wake took too long.
//!
//! ```text
//! waystation serve --echo &
//! cargo run --example ringstorm -- --address 127.0.0.1:8080 --seconds 300 --pid $! --signal-hz 1000
//! ```
//! Small pools make exhaustion and overflow frequent: start the server with few receive buffers and a
//! short completion queue. The client speaks just enough RFC 6455 by hand to share no code with the server.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a tool for the terminal that measures time")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};

#[derive(Parser)]
struct Args {
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: SocketAddr,
    /// Path to open; `{id}` becomes the connection's number, to spread connections over home shards.
    #[arg(long, default_value = "/echo")]
    path: String,
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Threads that storm.
    #[arg(long, default_value_t = 8)]
    threads: u64,
    /// Connections that one thread opens at once to exhaust the pools.
    #[arg(long, default_value_t = 60)]
    crowd: u64,
    /// The server's process, for the signal storm.
    #[arg(long)]
    pid: Option<i32>,
    /// Stop-and-continue pairs a second: they interrupt every wait and need no handler.
    #[arg(long, default_value_t = 1000)]
    signal_hz: u64,
    /// Longest allowed wake, in milliseconds.
    #[arg(long, default_value_t = 50)]
    wake_ms: u64,
    /// Seed of the random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Default)]
struct Totals {
    next_id: AtomicU64,
    opened: AtomicU64,
    bytes: AtomicU64,
    misdelivered: AtomicU64,
    /// Connections that the server ended, or that timed out, where it should not have.
    failed: AtomicU64,
    pings: AtomicU64,
    slow_pings: AtomicU64,
    worst_us: AtomicU64,
    signals: AtomicU64,
    /// How long the storm itself kept the server stopped, which is no fault of the server.
    held_us: AtomicU64,
    /// The longest that a thread of this program overslept: what the machine adds to any wake.
    worst_stall_us: AtomicU64,
}

/// How one connection's life came to an early end.
struct Trouble {
    /// A byte was wrong, which no connection's end excuses.
    misdelivered: bool,
    text: String,
}

impl Trouble {
    const fn new(text: String) -> Self {
        Self { misdelivered: false, text }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Byte `position` of connection `id`.
fn tag(id: u64, position: u64) -> u8 {
    mix(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ position).to_le_bytes()[3]
}

/// The finaliser of splitmix64.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

struct Random(u64);

impl Random {
    const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % bound
    }
}

/// A client connection and how far its two tagged streams have come.
struct Client {
    socket: TcpStream,
    id: u64,
    sent: u64,
    received: u64,
    /// Read and not yet parsed.
    pending: Vec<u8>,
}

impl Client {
    fn connect(args: &Args, totals: &Totals) -> Result<(Self, Vec<u8>), Trouble> {
        let id = totals.next_id.fetch_add(1, Relaxed);
        let socket = TcpStream::connect(args.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.set_write_timeout(Some(Duration::from_secs(10)))?;
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            args.path.replace("{id}", &id.to_string()),
            args.address
        );
        Ok((Self { socket, id, sent: 0, received: 0, pending: Vec::new() }, head.into_bytes()))
    }

    fn open(args: &Args, totals: &Totals) -> Result<Self, Trouble> {
        let (mut client, head) = Self::connect(args, totals)?;
        client.socket.write_all(&head)?;
        client.finish_opening(totals)?;
        Ok(client)
    }

    fn finish_opening(&mut self, totals: &Totals) -> Result<(), Trouble> {
        let end = loop {
            if let Some(end) = self.pending.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read()?;
        };
        let head = String::from_utf8_lossy(&self.pending[..end]).into_owned();
        self.pending.drain(..end);
        if !head.starts_with("HTTP/1.1 101") {
            return Err(Trouble::new(head));
        }
        totals.opened.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Sends one masked binary message of the next `len` bytes of this connection's stream.
    fn send(&mut self, len: u64) -> io::Result<()> {
        let frame = frame(self.id, self.sent, len);
        self.sent += len;
        self.socket.write_all(&frame)
    }

    /// Receives until as many bytes came back as were sent, and checks each.
    fn receive(&mut self, until: u64, totals: &Totals) -> Result<(), Trouble> {
        while self.received < until {
            match parse(&self.pending) {
                Some((opcode, payload, len)) => {
                    self.pending.drain(..len);
                    self.check(opcode, &payload, totals)?;
                }
                None => self.read()?,
            }
        }
        Ok(())
    }

    fn check(&mut self, opcode: u8, payload: &[u8], totals: &Totals) -> Result<(), Trouble> {
        match opcode {
            0x0 | 0x2 => {}
            0x9 | 0xa => return Ok(()),
            other => return Err(Trouble::new(format!("opcode {other:x}: {payload:?}"))),
        }
        for byte in payload {
            if *byte != tag(self.id, self.received) {
                totals.misdelivered.fetch_add(1, Relaxed);
                let text = format!("connection {} got byte {byte} at {}", self.id, self.received);
                return Err(Trouble { misdelivered: true, text });
            }
            self.received += 1;
        }
        totals.bytes.fetch_add(payload.len() as u64, Relaxed);
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16_384];
        match self.socket.read(&mut buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            len => {
                self.pending.extend_from_slice(&buffer[..len]);
                Ok(())
            }
        }
    }
}

/// A masked binary frame (RFC 6455 section 5.2) of bytes `from..from + len` of connection `id`.
fn frame(id: u64, from: u64, len: u64) -> Vec<u8> {
    let mask = mix(id ^ from).to_le_bytes();
    let mut frame = vec![0x82];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 => frame.push(0x80 | len),
        (_, Ok(len)) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(len.to_be_bytes());
        }
    }
    frame.extend(&mask[..4]);
    frame.extend((from..from + len).zip(mask[..4].iter().cycle()).map(|(at, mask)| tag(id, at) ^ mask));
    frame
}

/// Opcode, payload and whole length of the first frame in `bytes`, if it is there. Masked or not, so that
/// a server that only reflects bytes can be stormed too.
fn parse(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (len, mut at) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        len => (u64::from(len), 2),
    };
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        mask = bytes.get(at..at + 4)?.try_into().ok()?;
        at += 4;
    }
    let end = at + usize::try_from(len).ok()?;
    let payload = bytes.get(at..end)?.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((first & 0xf, payload, end))
}

/// Talks, with up to a few messages on their way.
fn talk(args: &Args, totals: &Totals, random: &mut Random) -> Result<(), Trouble> {
    let mut client = Client::open(args, totals)?;
    for _ in 0..=random.below(20) {
        for _ in 0..=random.below(4) {
            let len = 1 + random.below(2000);
            client.send(len)?;
        }
        client.receive(client.sent, totals)?;
    }
    Ok(())
}

/// Sends far more than the socket buffers hold while another thread reads, so that writes fall short.
fn pour(args: &Args, totals: &Totals, random: &mut Random) -> Result<(), Trouble> {
    let mut client = Client::open(args, totals)?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&client.socket, 128 * 1024).map_err(io::Error::from)?;
    let mut writer = client.socket.try_clone()?;
    let (id, messages, len) = (client.id, 20 + random.below(200), 1 + random.below(60_000));
    thread::scope(|scope| {
        let written = scope.spawn(move || -> io::Result<()> {
            for message in 0..messages {
                writer.write_all(&frame(id, message * len, len))?;
            }
            Ok(())
        });
        thread::sleep(Duration::from_millis(random.below(400)));
        let received = client.receive(messages * len, totals);
        // Frees the writer if the reader gave up.
        let _gone_already = client.socket.shutdown(std::net::Shutdown::Both);
        let written = written.join().map_err(|_| Trouble::new("the writer panicked".into()))?;
        received?;
        written.map_err(Trouble::from)
    })
}

/// Opens many at once, all of which send before any reads.
fn crowd(args: &Args, totals: &Totals, random: &mut Random) -> Result<(), Trouble> {
    let mut clients = Vec::new();
    for _ in 0..args.crowd {
        clients.push(Client::open(args, totals)?);
    }
    for _ in 0..=random.below(4) {
        for client in &mut clients {
            client.send(1 + random.below(9000))?;
        }
        for client in &mut clients {
            client.receive(client.sent, totals)?;
        }
        let stay = random.below(clients.len() as u64 + 1);
        clients.truncate(usize::try_from(stay).unwrap_or(0).max(1));
    }
    Ok(())
}

/// Sends the head in pieces, the last together with the first message, and perhaps not all of it.
fn dribble(args: &Args, totals: &Totals, random: &mut Random) -> Result<(), Trouble> {
    let (mut client, mut bytes) = Client::connect(args, totals)?;
    let len = 1 + random.below(3000);
    bytes.extend(frame(client.id, 0, len));
    let give_up = random.below(3) == 0;
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let piece = usize::try_from(1 + random.below(200)).unwrap_or(1).min(rest.len());
        client.socket.write_all(&rest[..piece])?;
        rest = &rest[piece..];
        if random.below(4) == 0 {
            thread::sleep(Duration::from_micros(random.below(500)));
        }
        if give_up && random.below(6) == 0 {
            return Ok(());
        }
    }
    client.finish_opening(totals)?;
    client.receive(len, totals)
}

/// Sends and goes without reading, half of the time with a reset.
fn vanish(args: &Args, totals: &Totals, random: &mut Random) -> Result<(), Trouble> {
    let mut client = Client::open(args, totals)?;
    for _ in 0..random.below(30) {
        client.send(1 + random.below(8000))?;
    }
    if random.below(2) == 0 {
        rustix::net::sockopt::set_socket_linger(&client.socket, Some(Duration::ZERO)).map_err(io::Error::from)?;
    }
    Ok(())
}

fn storm(args: &Args, totals: &Totals, mut random: Random, until: Instant) {
    while Instant::now() < until {
        let (life, polite): (fn(&_, &_, &mut _) -> _, _) = match random.below(10) {
            0..=2 => (talk, true),
            3 => (pour, true),
            4 => (crowd, true),
            5..=6 => (dribble, true),
            _ => (vanish, false),
        };
        match life(args, totals, &mut random) {
            Ok(()) => {}
            Err(trouble) if trouble.misdelivered => println!("{}", trouble.text),
            Err(trouble) if polite && totals.failed.fetch_add(1, Relaxed) < 20 => println!("{}", trouble.text),
            Err(_) => {}
        }
    }
}

/// One small message at a time on a connection that is quiet in between.
fn probe(args: &Args, totals: &Totals, until: Instant) -> Result<(), Trouble> {
    let mut client = Client::open(args, totals)?;
    client.socket.set_nodelay(true)?;
    while Instant::now() < until {
        thread::sleep(Duration::from_millis(7));
        let (sent, held) = (Instant::now(), totals.held_us.load(Relaxed));
        client.send(32)?;
        client.receive(client.sent, totals)?;
        let held = totals.held_us.load(Relaxed) - held;
        let micros = micros_since(sent).saturating_sub(held);
        totals.pings.fetch_add(1, Relaxed);
        totals.worst_us.fetch_max(micros, Relaxed);
        totals.slow_pings.fetch_add(u64::from(micros > args.wake_ms * 1000), Relaxed);
    }
    Ok(())
}

fn interrupt(args: &Args, totals: &Totals, until: Instant) {
    let Some(pid) = args.pid.and_then(Pid::from_raw) else { return };
    let pause = Duration::from_micros(1_000_000 / args.signal_hz.max(1));
    while Instant::now() < until {
        thread::sleep(pause);
        let stopped = Instant::now();
        if kill_process(pid, Signal::STOP).and_then(|()| kill_process(pid, Signal::CONT)).is_err() {
            return;
        }
        totals.held_us.fetch_add(micros_since(stopped), Relaxed);
        totals.signals.fetch_add(2, Relaxed);
    }
}

/// Measures how late this machine wakes a thread that sleeps for a millisecond.
fn watch(totals: &Totals, until: Instant) {
    const NAP: Duration = Duration::from_millis(1);
    while Instant::now() < until {
        let began = Instant::now();
        thread::sleep(NAP);
        totals.worst_stall_us.fetch_max(micros_since(began).saturating_sub(1000), Relaxed);
    }
}

fn micros_since(instant: Instant) -> u64 {
    u64::try_from(instant.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let totals = Totals::default();
    let until = Instant::now() + Duration::from_secs(args.seconds);
    thread::scope(|scope| {
        for thread in 0..args.threads {
            let random = Random(mix(args.seed) ^ thread);
            scope.spawn(|| storm(&args, &totals, random, until));
        }
        scope.spawn(|| interrupt(&args, &totals, until));
        scope.spawn(|| watch(&totals, until));
        scope.spawn(|| {
            if let Err(trouble) = probe(&args, &totals, until) {
                totals.failed.fetch_add(1, Relaxed);
                println!("the quiet connection: {}", trouble.text);
            }
        });
    });
    let read = |total: &AtomicU64| total.load(Relaxed);
    let (wrong, slow) = (read(&totals.misdelivered), read(&totals.slow_pings));
    println!(
        "opened {} echoed bytes {} misdelivered {wrong} failed {} pings {} over {} ms {slow} worst {} us signals {} \
         machine's worst stall {} us",
        read(&totals.opened),
        read(&totals.bytes),
        read(&totals.failed),
        read(&totals.pings),
        args.wake_ms,
        read(&totals.worst_us),
        read(&totals.signals),
        read(&totals.worst_stall_us),
    );
    let good = wrong == 0 && slow == 0 && read(&totals.failed) == 0;
    if good { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
