//! What a publish costs a shard, station by station: rooms of three, four publishes in flight in each.
//!
//! The messages are those of the load generator's `rooms-closed`. No socket is touched and no clock read between
//! stations, so what is counted is this program's own work:
//!
//! - `cargo bench --bench publish` says nanoseconds for each station; `ROOMS`, `MEMBERS` and `ROUNDS` may be set;
//! - `benches/instructions` says instructions for each station and allocations, the same in every run. For it the
//!   stations are functions of their own here: `publish`, `visit`, `deliver`, and `parse`, which is a part of `publish`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on should stop, and prints")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use waystation::auth::token::{Key, Keys, TokenRequest, Verifier, mint};
use waystation::envelope::Parser;
use waystation::ids::{ConnId, ShardId};
use waystation::metrics::Metrics;
use waystation::shard::effect::{Batch, Effect, Effects};
use waystation::shard::{Input, Options, Shard};
use waystation::time::Now;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IN_FLIGHT: usize = 4;
const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const START_UNIX_MS: u64 = 1_795_271_185_000;
const BODY_BYTES: usize = 128;

struct World {
    shard: Shard,
    effects: Effects,
    now: Now,
    /// Members of a room side by side; the first publishes.
    members: Vec<ConnId>,
    batch: Batch,
    owed: Vec<ConnId>,
}

impl World {
    fn new(rooms: usize, members: usize) -> Self {
        let now = Now { micros: 0, unix_ms: START_UNIX_MS };
        let mut world = Self {
            shard: Shard::new(ShardId(0), options(), Metrics::shared(), now),
            effects: Effects::new(1),
            now,
            members: Vec::new(),
            batch: Batch::default(),
            owed: Vec::new(),
        };
        let key = Key::hs256(None, SECRET);
        let request = TokenRequest { user: "load-0001", ttl_s: 86_400, role: None, caps: None };
        let token = mint(&key, &request, now.unix_seconds()).unwrap();
        for room in 0..rooms {
            for _ in 0..members {
                let member = world.enter(room, &token);
                world.members.push(member);
            }
        }
        world.settle();
        world
    }

    fn enter(&mut self, room: usize, token: &str) -> ConnId {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let conn = self.shard.on_accept(self.now, peer, &mut self.effects).unwrap();
        let mut head = format!(
            "GET /ws/trips/closed-{room}/collab HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .into_bytes();
        self.shard.handle(self.now, Input::Bytes(conn, &mut head), &mut self.effects);
        let mut auth = masked(&format!(r#"{{"type":"auth","token":"{token}","client":{{"name":"loadgen"}}}}"#));
        self.shard.handle(self.now, Input::Bytes(conn, &mut auth), &mut self.effects);
        self.settle();
        conn
    }

    /// Writes whatever is owed, into nothing.
    fn settle(&mut self) -> usize {
        let mut sends = 0;
        loop {
            visit(self);
            if self.owed.is_empty() {
                return sends;
            }
            for conn in std::mem::take(&mut self.owed) {
                sends += deliver(self, conn);
            }
        }
    }
}

fn options() -> Options {
    let keys = Keys::new(vec![Key::hs256(None, SECRET)]).unwrap();
    let verifier = Verifier { keys, ..Verifier::default() };
    Options { echo: true, unlimited: true, ..Options::embedded([5; 16], verifier) }
}

fn message() -> String {
    let body: String = ('a'..='z').cycle().take(BODY_BYTES).collect();
    format!(r#"{{"type":"trip_update","payload":{{"field":"name","value":"{body}"}}}}"#)
}

/// A text frame as a client sends it.
fn masked(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [0x9d, 1, 0x5c, 0xf0];
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&MASK);
    frame.extend(text.bytes().zip(MASK.into_iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Stations 2 to 7: what one receive brought becomes events.
#[inline(never)]
fn publish(world: &mut World, conn: ConnId, bytes: &mut [u8]) {
    world.shard.handle(world.now, Input::Bytes(conn, bytes), &mut world.effects);
}

/// Station 8: members that are owed something are found.
#[inline(never)]
fn visit(world: &mut World) {
    while world.shard.fan_out(world.now, false, &mut world.effects) {}
    world.owed.extend(world.effects.list.drain(..).filter_map(|effect| match effect {
        Effect::Write(conn) => Some(conn),
        _ => None,
    }));
}

/// Stations 9 and 10 up to the system call.
#[inline(never)]
fn deliver(world: &mut World, conn: ConnId) -> usize {
    world.shard.fill(world.now, conn, &mut world.batch);
    let bytes = world.batch.bytes();
    for part in world.batch.slices() {
        black_box(part.as_ptr());
    }
    world.shard.written(world.now, conn, &mut world.batch, bytes, &mut world.effects);
    1
}

/// Station 3 alone.
#[inline(never)]
fn parse(parser: &mut Parser, text: &str) -> bool {
    black_box(parser.parse(black_box(text))).is_ok()
}

fn asked(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock itself")]
fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    *total += began.elapsed();
    done
}

fn main() {
    let (rooms, members, rounds) = (asked("ROOMS", 3333), asked("MEMBERS", 3), asked("ROUNDS", 300));
    let mut world = World::new(rooms, members);
    let frames = masked(&message()).repeat(IN_FLIGHT);
    let mut bytes = vec![frames.clone(); rooms];
    let [mut publishing, mut visiting, mut delivering] = [Duration::ZERO; 3];
    let mut sends = 0;
    for _ in 0..rounds {
        world.now.micros += 1000;
        world.now.unix_ms += 1;
        for received in &mut bytes {
            received.copy_from_slice(&frames);
        }
        timed(&mut publishing, || {
            for (room, received) in bytes.iter_mut().enumerate() {
                let publisher = world.members[room * members];
                publish(&mut world, publisher, received);
            }
        });
        timed(&mut visiting, || visit(&mut world));
        timed(&mut delivering, || {
            for conn in std::mem::take(&mut world.owed) {
                sends += deliver(&mut world, conn);
            }
        });
    }
    assert_eq!(sends, rounds * rooms * members, "each member is written to once a round");

    let (mut parser, text, mut parsing) = (Parser::default(), message(), Duration::ZERO);
    let publishes = rounds * rooms * IN_FLIGHT;
    timed(&mut parsing, || assert!((0..publishes).all(|_| parse(&mut parser, &text))));
    println!("publishes {publishes}");
    for (station, took) in [("publish", publishing), ("visit", visiting), ("deliver", delivering), ("parse", parsing)] {
        println!("{station:<8} {:>7.1} ns a publish", took.as_nanos() as f64 / publishes as f64);
    }
}
