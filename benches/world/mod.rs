//! One shard with clients in rooms and nothing around it: no socket, no clock, no thread.
//!
//! What the stations of a message's walk cost is asked in three ways, which share this shard and the [`rows`] over it:
//! instructions (`benches/gate.rs`), time (`benches/stations.rs`) and allocations (`tests/allocations`). What clients
//! send is made before anything is counted, and what is written goes nowhere.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]

mod closings;
mod openings;
pub(crate) mod pure;
pub(crate) mod rows;
pub(crate) mod traffic;

use std::hint::black_box;
use std::net::SocketAddr;

use waystation::auth::token::{Key, Keys, TokenRequest, Verifier, mint};
use waystation::ids::{ConnId, ShardId};
use waystation::ledger::{Keep, Memory, Model, Notice, State};
use waystation::metrics::Metrics;
use waystation::shard::effect::{Batch, Effect, Effects};
use waystation::shard::{Input, Options, Shard};
use waystation::time::Now;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
pub(crate) const START_UNIX_MS: u64 = 1_795_271_185_000;
const DAY_S: u64 = 86_400;
/// Less than the server waits for a sign of life.
const PONG_EVERY_MS: u64 = 20_000;
const STEP_MS: u64 = 100;

/// One shard, and its host as far as it has one.
struct World {
    shard: Shard,
    effects: Effects,
    now: Now,
    batch: Batch,
    /// Whom something is to be written to.
    owed: Vec<ConnId>,
    /// Who stays, room by room; they answer pings.
    members: Vec<ConnId>,
    next_pong_ms: u64,
    /// What was written to somebody who is listened to.
    heard: Option<(ConnId, Vec<u8>)>,
    /// Where durable channels are kept, if they are: the store's rules over a disk in memory.
    store: Option<Model>,
}

/// What a store retains of a channel: more than any row publishes.
const KEEP: Keep = Keep { count: 1000, bytes: 1 << 20, age_ms: 1 << 40 };

impl World {
    fn new() -> Self {
        Self::of(options())
    }

    /// One whose durable channels outlive it.
    fn with_store() -> Self {
        let fresh = State { generation: 0, stopped: None, key: [3; 16], id: 42 };
        let store = Model::start(Memory::default(), fresh, KEEP).unwrap();
        let options = Options { stores: true, operations: store.key(), ..options() };
        Self { store: Some(store), ..Self::of(options) }
    }

    fn of(options: Options) -> Self {
        let now = Now { micros: 0, unix_ms: START_UNIX_MS };
        Self {
            shard: Shard::new(ShardId(0), options, Metrics::shared(), now),
            effects: Effects::new(1),
            now,
            batch: Batch::default(),
            owed: Vec::new(),
            members: Vec::new(),
            next_pong_ms: PONG_EVERY_MS,
            heard: None,
            store: None,
        }
    }

    /// Rooms with so many members each, who were told of each other.
    fn with_rooms(rooms: usize, members: usize) -> Self {
        Self::new().with_members(rooms, members)
    }

    fn with_members(mut self, rooms: usize, members: usize) -> Self {
        let world = &mut self;
        for room in 0..rooms {
            for member in 0..members {
                let conn = world.connect(room);
                world.say(conn, &mut text_frame(&auth(&token(&format!("load-{room:04}-{member:05}")))));
                world.settle();
                world.members.push(conn);
            }
        }
        world.wait(3000);
        self
    }

    /// Accepts a client that asks for the upgrade to a room.
    fn connect(&mut self, room: usize) -> ConnId {
        let conn = self.accept();
        self.say(conn, head(&format!("/ws/trips/bench-{room}/collab")).as_mut_slice());
        self.settle();
        conn
    }

    fn accept(&mut self) -> ConnId {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        self.shard.on_accept(self.now, peer, &mut self.effects).unwrap()
    }

    /// Stations 2 to 7: what one receive brought is acted on.
    fn say(&mut self, conn: ConnId, bytes: &mut [u8]) {
        self.shard.handle(self.now, Input::Bytes(conn, bytes), &mut self.effects);
    }

    /// Station 8: those who are owed something are found.
    fn visit(&mut self) {
        while self.shard.fan_out(self.now, false, &mut self.effects) {}
        let store = &mut self.store;
        self.owed.extend(self.effects.list.drain(..).filter_map(|effect| match (effect, &mut *store) {
            (Effect::Write(conn), _) => Some(conn),
            (Effect::Store(ticket, request), Some(store)) => {
                store.ask(ShardId(0), ticket, *request);
                None
            }
            (Effect::Read(ticket, read), Some(store)) => {
                store.read(ShardId(0), ticket, *read);
                None
            }
            _ => None,
        }));
    }

    /// Stations 9 and 10 up to the system call, for all of them.
    fn deliver(&mut self) {
        let mut owed = std::mem::take(&mut self.owed);
        for conn in owed.drain(..) {
            self.write(conn);
        }
        self.owed = owed;
        while let Some(conn) = self.shard.next_behind() {
            self.write(conn);
        }
    }

    fn write(&mut self, conn: ConnId) {
        self.shard.fill(self.now, conn, &mut self.batch);
        for part in self.batch.slices() {
            black_box(part.as_ptr());
        }
        if let Some((_, heard)) = self.heard.as_mut().filter(|(listener, _)| *listener == conn) {
            heard.extend(self.batch.slices().flatten());
        }
        let bytes = self.batch.bytes();
        self.shard.written(self.now, conn, &mut self.batch, bytes, &mut self.effects);
    }

    /// The store does all that it was asked, and has this to say.
    fn committed(&mut self) -> Vec<Notice> {
        let Some(store) = &mut self.store else { return Vec::new() };
        let mut notices = store.serve();
        notices.extend(store.commit(usize::MAX, self.now.unix_ms));
        notices.into_iter().map(|(_, notice)| notice).collect()
    }

    /// The store tells something.
    fn tell(&mut self, notices: &mut Vec<Notice>) {
        for notice in notices.drain(..) {
            self.shard.handle(self.now, Input::Store(notice), &mut self.effects);
        }
    }

    /// Writes until nobody is owed anything. Returns how many writes that took, those to who is behind aside.
    fn settle(&mut self) -> usize {
        let mut writes = 0;
        loop {
            self.visit();
            let mut notices = if self.owed.is_empty() { self.committed() } else { Vec::new() };
            if self.owed.is_empty() && notices.is_empty() && !self.shard.has_behind() {
                return writes;
            }
            self.tell(&mut notices);
            writes += self.owed.len();
            self.deliver();
        }
    }

    /// Time goes on without anything else.
    fn tick(&mut self, ms: u64) {
        self.now.micros += ms * 1000;
        self.now.unix_ms += ms;
    }

    /// Time goes on, step by step; what becomes due is done, and whoever stays says now and then that it is there.
    fn wait(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(STEP_MS) {
            self.tick(STEP_MS);
            self.shard.on_time(self.now, &mut self.effects);
            self.settle();
            if self.now.micros / 1000 >= self.next_pong_ms {
                self.next_pong_ms += PONG_EVERY_MS;
                for index in 0..self.members.len() {
                    let mut pong = [0x8a, 0x80, 0, 0, 0, 0];
                    self.say(self.members[index], &mut pong);
                }
            }
        }
    }

    /// Connections go, and their slots are free again.
    fn part(&mut self, conns: &[ConnId]) {
        for &conn in conns {
            self.shard.handle(self.now, Input::Gone(conn), &mut self.effects);
            self.shard.handle(self.now, Input::Released(conn), &mut self.effects);
        }
        self.settle();
    }
}

fn key() -> Key {
    Key::hs256(None, SECRET)
}

fn verifier() -> Verifier {
    Verifier { keys: Keys::new(vec![key()]).unwrap(), ..Verifier::default() }
}

pub(crate) fn options() -> Options {
    Options { echo: true, unlimited: true, ..Options::embedded([5; 16], verifier()) }
}

pub(crate) fn token(user: &str) -> String {
    mint(&key(), &TokenRequest { user, ttl_s: DAY_S, role: None, caps: None }, START_UNIX_MS / 1000).unwrap()
}

/// The head that asks for an upgrade.
pub(crate) fn head(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// The first message of a client that tells its name.
fn auth(token: &str) -> String {
    format!(r#"{{"type":"auth","token":"{token}","client":{{"name":"bench"}}}}"#)
}

/// The load generator's update of a trip, with so many bytes in it.
pub(crate) fn update(bytes: usize) -> String {
    let body: String = ('a'..='z').cycle().take(bytes).collect();
    format!(r#"{{"type":"trip_update","payload":{{"field":"name","value":"{body}"}}}}"#)
}

/// A text frame as a client sends it.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [0x9d, 1, 0x5c, 0xf0];
    let mut frame = vec![0x81];
    if let Ok(len) = u16::try_from(text.len()) {
        frame.push(0x80 | 126);
        frame.extend_from_slice(&len.to_be_bytes());
    } else {
        frame.push(0x80 | 127);
        frame.extend_from_slice(&(text.len() as u64).to_be_bytes());
    }
    frame.extend_from_slice(&MASK);
    frame.extend(text.bytes().zip(MASK.into_iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}
