//! What an idle joined connection keeps in memory, counted by the allocator, without sockets, clock or scheduler.
//!
//! Clients that told their name join trips of three, as the load generator's `idle` has them. Once everybody was told
//! who is there and everything that is only for a moment is forgotten, the bytes that are still held are divided by
//! their number. Sizes count as the server's allocator rounds them. The host's part (the socket, its buffers) is not in.
//! So is what the store's rules keep of an open durable channel, whatever lies on its disk.
//! One test at a time: another would be counted in.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on should stop, and prints")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use waystation::auth::token::{Key, Keys, TokenRequest, Verifier, mint};
use waystation::ids::{ConnId, Epoch, ShardId};
use waystation::ledger::{Append, Event, Keep, Memory, Model, Notice, Open, Past, Request, State, Ticket, write_body};
use waystation::metrics::{Metric, Metrics};
use waystation::payload::Payload;
use waystation::shard::effect::{Batch, Effect, Effects};
use waystation::shard::{Input, Options, Shard};
use waystation::time::Now;

/// Counts what is held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// A request as mimalloc rounds it: to whole pairs of words up to 64 bytes, then to one of four steps to the next power
/// of two.
const fn rounded(bytes: usize) -> usize {
    match bytes {
        0..=8 => 8,
        9..=64 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(bytes.next_power_of_two() / 8),
    }
}

/// Who counts, alone.
struct Alone;

static COUNTS: AtomicBool = AtomicBool::new(false);

impl Alone {
    fn wait() -> Self {
        while COUNTS.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        Self
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        COUNTS.store(false, Ordering::Release);
    }
}

fn took(bytes: usize) {
    HELD.fetch_add(rounded(bytes), Ordering::Relaxed);
}

fn gave(bytes: usize) {
    HELD.fetch_sub(rounded(bytes), Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "an allocator is written in no other way")]
// JUSTIFICATION: what is held cannot be counted from outside to the byte.
// SAFETY: everything is the system's allocator's, whose answers are passed on as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promises are the ones that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: as above; it came from there.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        gave(layout.size());
        took(size);
        // SAFETY: as above; it came from there.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MEMBERS: usize = 3;
const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const START_UNIX_MS: u64 = 1_795_271_185_000;

struct World {
    shard: Shard,
    effects: Effects,
    now: Now,
    batch: Batch,
}

impl World {
    fn new() -> Self {
        let now = Now { micros: 0, unix_ms: START_UNIX_MS };
        let shard = Shard::new(ShardId(0), options(), Metrics::shared(), now);
        Self { shard, effects: Effects::new(1), now, batch: Batch::default() }
    }

    fn enter(&mut self, trip: usize, token: &str) {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let conn = self.shard.on_accept(self.now, peer, &mut self.effects).unwrap();
        let mut head = format!(
            "GET /ws/trips/load-{trip}/collab HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .into_bytes();
        self.shard.handle(self.now, Input::Bytes(conn, &mut head), &mut self.effects);
        self.pass(0);
        let mut auth = masked(&format!(r#"{{"type":"auth","token":"{token}","client":{{"name":"loadgen"}}}}"#));
        self.shard.handle(self.now, Input::Bytes(conn, &mut auth), &mut self.effects);
        self.pass(1);
    }

    /// Time goes on, and whatever is owed is written, into nothing.
    fn pass(&mut self, ms: u64) {
        self.now.micros += ms * 1000;
        self.now.unix_ms += ms;
        self.shard.on_time(self.now, &mut self.effects);
        loop {
            while self.shard.fan_out(self.now, false, &mut self.effects) {}
            let list = std::mem::take(&mut self.effects.list);
            if list.is_empty() && !self.shard.has_behind() {
                // A turn fires so many timers, and the next one comes at once.
                if self.shard.next_deadline().is_none_or(|at| at > self.now.millis()) {
                    break;
                }
                self.shard.on_time(self.now, &mut self.effects);
            }
            for effect in list {
                if let Effect::Write(conn) = effect {
                    self.write(conn);
                }
            }
            while let Some(conn) = self.shard.next_behind() {
                self.write(conn);
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        (0..seconds * 10).for_each(|_| self.pass(100));
    }

    fn write(&mut self, conn: ConnId) {
        self.shard.fill(self.now, conn, &mut self.batch);
        let bytes = self.batch.bytes();
        self.shard.written(self.now, conn, &mut self.batch, bytes, &mut self.effects);
    }
}

fn options() -> Options {
    let keys = Keys::new(vec![Key::hs256(None, SECRET)]).unwrap();
    Options::embedded([5; 16], Verifier { keys, ..Verifier::default() })
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

/// Bytes of the allocator for a connection beyond the first trips, for so many seconds after the last has joined: while
/// what opened it still has deadlines, and from then on.
const BOUNDS: [(u64, usize); 2] = [(3, 960), (20, 820)];

#[test]
fn an_idle_joined_connection_keeps_less_than_its_share() {
    const TRIPS: usize = 3333;
    const FIRST_TRIPS: usize = 333;
    let _alone = Alone::wait();
    let key = Key::hs256(None, SECRET);
    let token = |number: usize| {
        let user = format!("load-{number:05}");
        let request = TokenRequest { user: &user, ttl_s: 21_600, role: None, caps: None };
        mint(&key, &request, START_UNIX_MS / 1000).unwrap()
    };
    let tokens: Vec<String> = (0..TRIPS * MEMBERS).map(token).collect();
    let (first, others) = tokens.split_at(FIRST_TRIPS * MEMBERS);
    let mut world = World::new();
    for (number, token) in first.iter().enumerate() {
        world.enter(number / MEMBERS, token);
    }
    world.wait(3);
    let before = HELD.load(Ordering::Relaxed);
    for (number, token) in others.iter().enumerate() {
        world.enter(FIRST_TRIPS + number / MEMBERS, token);
    }
    assert_eq!(world.shard.metrics().read(Metric::Memberships), tokens.len() as u64);
    let mut waited = 0;
    for (seconds, bound) in BOUNDS {
        world.wait(seconds - waited);
        waited = seconds;
        let each = (HELD.load(Ordering::Relaxed) - before) / others.len();
        println!("{seconds} s after the last join: {each} bytes a connection");
        assert!(each <= bound, "{seconds} s after the last join: {each} bytes a connection, not {bound}");
    }
}

/// A log with channels of so many events each, all of them open.
struct Log {
    model: Model,
    ticket: u64,
}

impl Log {
    fn ask(&mut self, request: Request) -> Vec<(ShardId, Notice)> {
        self.ticket += 1;
        self.model.ask(ShardId(0), Ticket(self.ticket), request);
        self.model.commit(1, START_UNIX_MS)
    }

    fn open(&mut self, name: &str) -> Past {
        let open = Open { channel: Arc::from(name), fresh: Epoch(9), tail_bytes: 0, tail_count: 0 };
        let mut notices = self.ask(Request::Open(open));
        loop {
            for (_, notice) in notices.drain(..) {
                if let Notice::Opened(_, past) = notice {
                    return *past.unwrap();
                }
            }
            notices = self.model.commit(0, START_UNIX_MS);
        }
    }

    fn append(&mut self, past: &Past, count: u64) {
        let mut seq = past.start.next;
        for _ in 0..count {
            let (user, op_id, kind, payload) = ("ann", "", "note", &[b'x'; 128][..]);
            let event = Event { unix_ms: START_UNIX_MS, id: 1, operation: None, user, op_id, kind, payload };
            let mut body = Vec::new();
            write_body(&event, &mut body);
            let (channel, epoch, body) = (past.channel, past.start.epoch, Payload::copy_of(&body));
            self.ask(Request::Append(Append { channel, epoch, seq, unix_ms: START_UNIX_MS, body }));
            seq = seq.next();
        }
    }
}

/// Bytes of the allocator that the rules of the log keep of an open channel: its line, its name, its place in two tables.
const CHANNEL_BOUND: usize = 640;

#[test]
fn an_open_durable_channel_costs_the_log_the_same_however_much_is_stored() {
    const CHANNELS: usize = 10_000;
    let _alone = Alone::wait();
    let each = [1, 10].map(|events| {
        let fresh = State { generation: 0, stopped: None, key: [7; 16], id: 42 };
        let keep = Keep { count: 100, bytes: 1 << 20, age_ms: 86_400_000 };
        let mut log = Log { model: Model::start(Memory::default(), fresh, keep).unwrap(), ticket: 0 };
        for number in 0..CHANNELS {
            let past = log.open(&format!("chat:room-{number:08}"));
            log.append(&past, events);
        }
        let before = HELD.load(Ordering::Relaxed);
        // What is left is the disk.
        let disk = log.model.crash();
        let each = (before - HELD.load(Ordering::Relaxed)) / CHANNELS;
        assert_eq!(disk.records().count(), CHANNELS * (2 + usize::try_from(events).unwrap()) + 2);
        println!("{events} events: {each} bytes an open channel");
        assert!(each <= CHANNEL_BOUND, "{events} events: {each} bytes an open channel, not {CHANNEL_BOUND}");
        each
    });
    assert!(each[1] <= each[0], "{each:?}: an event costs nothing once it is on the disk");
}
