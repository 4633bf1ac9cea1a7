//! Two shards driven by whatever bytes come: no panic, and the gauges come back to nothing.
//!
//! The input is a list of instructions: bytes for a connection, a close, a passing of time, a mesh message
//! that moves on, a short write. The shape of heads and frames comes from the fuzzer's bytes or from a few
//! good ones, so that it reaches the rooms without having to guess a handshake.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use waystation::auth::token::{Key, Keys, TokenRequest, Verifier, mint};
use waystation::census::limits::Limits;
use waystation::ids::{ConnId, ShardId};
use waystation::metrics::{Metric, Metrics};
use waystation::room::history::Retention;
use waystation::shard::effect::{Batch, Effect, Effects};
use waystation::shard::message::{MeshMessage, Passport};
use waystation::shard::{Input, Options, Shard};
use waystation::time::Now;

const SECRET: &[u8] = b"a secret of the fuzzer, which has 32 bytes or more";
const UNIX_MS: u64 = 1_795_000_000_000;
/// Connections beyond which none is accepted: inputs are short.
const CONNECTIONS_MAX: usize = 12;

/// What waits between the shards.
enum Waits {
    Adopt(Box<Passport>),
    Message(MeshMessage),
}

struct World {
    now: Now,
    shards: [Shard; 2],
    effects: [Effects; 2],
    links: [VecDeque<Waits>; 2],
    /// Connections that a shard has, with whether their socket is blocked.
    open: BTreeMap<(u16, u32, u32), (ConnId, bool)>,
    released: Vec<ConnId>,
    writes: Vec<ConnId>,
    token: String,
    accepted: usize,
}

impl World {
    fn new() -> Self {
        let key = Key::hs256(None, SECRET);
        let request = TokenRequest { user: "ann", ttl_s: 60, role: None, caps: None };
        let token = mint(&key, &request, UNIX_MS / 1000).unwrap_or_default();
        let verifier = Verifier { keys: Keys::new(vec![key]).unwrap_or_default(), ..Verifier::default() };
        let now = Now { micros: 0, unix_ms: UNIX_MS };
        let options = Options {
            shards: 2,
            echo: true,
            limits: Limits { connections_per_address: 9, connections_per_user: 4, ..Limits::default() },
            connections_max: CONNECTIONS_MAX - 2,
            sockets_max: CONNECTIONS_MAX,
            channels_max: 1 << 10,
            retention: Retention { count: 4, bytes: 1 << 16, age_ms: 5000 },
            history_bytes_max: 1 << 15,
            hot_members: 2,
            ..Options::embedded([7; 16], verifier)
        };
        let shard = |index| Shard::new(ShardId(index), options.clone(), Metrics::shared(), now);
        Self {
            now,
            shards: [shard(0), shard(1)],
            effects: [Effects::new(2), Effects::new(2)],
            links: [VecDeque::new(), VecDeque::new()],
            open: BTreeMap::new(),
            released: Vec::new(),
            writes: Vec::new(),
            token,
            accepted: 0,
        }
    }

    fn accept(&mut self, at: usize) {
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        self.accepted += 1;
        if let Some(id) = self.shards[at].on_accept(self.now, peer, &mut self.effects[at]) {
            self.open.insert(key(id), (id, false));
        }
        self.apply(at);
    }

    fn pick(&self, number: u8) -> Option<ConnId> {
        self.open.values().nth(usize::from(number) % self.open.len().max(1)).map(|(id, _)| *id)
    }

    fn input(&mut self, at: usize, input: Input<'_>) {
        self.shards[at].handle(self.now, input, &mut self.effects[at]);
        self.apply(at);
    }

    fn bytes(&mut self, id: ConnId, bytes: &mut [u8]) {
        self.input(id.shard.index(), Input::Bytes(id, bytes));
    }

    fn apply(&mut self, at: usize) {
        for effect in std::mem::take(&mut self.effects[at].list) {
            match effect {
                Effect::Write(id) => self.writes.push(id),
                Effect::Stream(id) | Effect::Pause(id) | Effect::Resume(id) => {
                    assert!(self.open.contains_key(&key(id)), "an effect for a socket that is here");
                }
                Effect::Close(id, _) | Effect::Admin(id, _) => {
                    assert!(self.open.remove(&key(id)).is_some(), "closed once");
                    self.released.push(id);
                }
                Effect::HandOver(id, _, passport) => {
                    assert!(self.open.remove(&key(id)).is_some(), "handed over once");
                    self.released.push(id);
                    self.links[at].push_back(Waits::Adopt(passport));
                }
                Effect::Answer(_) => unreachable!("nobody asks from outside"),
                Effect::Store(..) | Effect::Read(..) => unreachable!("there is no store"),
                Effect::Mesh(_, message) => self.links[at].push_back(Waits::Message(message)),
            }
        }
    }

    /// Moves one message from `from` to the other shard.
    fn carry(&mut self, from: usize) {
        let to = 1 - from;
        match self.links[from].pop_front() {
            None => {}
            Some(Waits::Message(message)) => {
                let from = ShardId(u16::try_from(from).unwrap_or(0));
                self.input(to, Input::Mesh(from, message));
            }
            Some(Waits::Adopt(passport)) => {
                if let Ok(id) = self.shards[to].on_adopt(self.now, passport, &mut self.effects[to]) {
                    self.open.insert(key(id), (id, false));
                }
                self.apply(to);
            }
        }
    }

    /// A turn of both shards; sockets take the share of a write that `share` says.
    fn turn(&mut self, share: u8) {
        for at in 0..2 {
            self.shards[at].fan_out(self.now, share & 1 == 1, &mut self.effects[at]);
            self.apply(at);
        }
        for id in std::mem::take(&mut self.writes) {
            self.write(id, share);
        }
        for at in 0..2 {
            while let Some(id) = self.shards[at].next_behind() {
                self.write(id, share);
            }
            self.apply(at);
        }
    }

    fn write(&mut self, id: ConnId, share: u8) {
        let (at, mut batch) = (id.shard.index(), Batch::default());
        let Some((_, blocked)) = self.open.get_mut(&key(id)) else { return };
        self.shards[at].fill(self.now, id, &mut batch);
        if batch.is_empty() {
            return;
        }
        assert!(!*blocked, "a blocked socket is not written to");
        let take = if share < 200 { batch.bytes() } else { batch.bytes() * usize::from(share - 200) / 64 };
        *blocked = take < batch.bytes();
        self.shards[at].written(self.now, id, &mut batch, take, &mut self.effects[at]);
    }

    fn pass(&mut self, ms: u64) {
        self.now.micros += ms * 1000;
        self.now.unix_ms += ms;
        for at in 0..2 {
            self.shards[at].on_time(self.now, &mut self.effects[at]);
            self.apply(at);
        }
    }

    fn writable(&mut self) {
        let blocked: Vec<ConnId> = self.open.values().filter(|(_, blocked)| *blocked).map(|(id, _)| *id).collect();
        for id in blocked {
            if let Some((_, blocked)) = self.open.get_mut(&key(id)) {
                *blocked = false;
                self.input(id.shard.index(), Input::Writable(id));
            }
        }
    }

    fn release(&mut self) {
        for id in std::mem::take(&mut self.released) {
            self.input(id.shard.index(), Input::Released(id));
        }
    }

    /// Everybody leaves; nothing may be left.
    fn end(mut self) {
        for _ in 0..64 {
            self.writable();
            let all: Vec<ConnId> = self.open.values().map(|(id, _)| *id).collect();
            all.into_iter().for_each(|id| self.input(id.shard.index(), Input::Gone(id)));
            while !(self.links[0].is_empty() && self.links[1].is_empty()) {
                self.carry(0);
                self.carry(1);
            }
            self.turn(0);
            self.release();
            self.pass(500);
        }
        for shard in &self.shards {
            assert_eq!(shard.sockets(), 0, "no socket is left");
            for gauge in [Metric::Connections, Metric::Sockets, Metric::Memberships, Metric::OutboxBytes] {
                assert_eq!(shard.metrics().read(gauge), 0, "{gauge:?} is back at nothing");
            }
        }
    }
}

fn key(id: ConnId) -> (u16, u32, u32) {
    (id.shard.0, id.slot, id.generation)
}

/// A masked frame; the mask is zero, which the rules cannot tell from another.
fn frame(opcode: u8, text: &[u8]) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut bytes = vec![0x80 | opcode, 0x80 | 126];
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&text[..usize::from(len)]);
    bytes
}

fn head(which: u8, token: &str) -> Vec<u8> {
    let paths =
        ["/ws", "/ws/chat/a", "/ws/chat/b", "/ws/trips/a/collab", "/echo", "/api/ws/chat/c", "/status", "/readyz"];
    let path = paths[usize::from(which) % paths.len()];
    let query = if which >= 128 { format!("?token={token}") } else { String::new() };
    format!(
        "GET {path}{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A message that reaches the rooms.
fn message(which: u8, token: &str) -> String {
    let id = which / 16;
    match which % 12 {
        0 => format!(r#"{{"type":"auth","token":"{token}","channels":["session:a","trip:a","general"]}}"#),
        1 => format!(r#"{{"type":"auth","token":"{token}","client":{{"name":"f","version":"1"}}}}"#),
        2 => format!(r#"{{"type":"chat_message","id":"{id}","ack":true,"content":"hello","channel":"chat:a"}}"#),
        3 => format!(r#"{{"type":"chat_message","id":"{id}","ack":true,"exclude_sender":true,"content":"hello"}}"#),
        4 => r#"{"type":"trip_update","field":"a.b","value":1,"channel":"trip:a"}"#.to_owned(),
        5 => r#"{"type":"publish","payload":{"channel":"chat:b","type":"note","payload":{"a":1}}}"#.to_owned(),
        6 => r#"{"type":"subscribe","channels":["chat:a","chat:b","session:c","trip:a"]}"#.to_owned(),
        7 => format!(
            r#"{{"type":"subscribe","channels":["chat:a"],"since":{{"chat:a":{{"epoch":"{id:016x}","seq":{id}}}}}}}"#
        ),
        8 => r#"{"type":"unsubscribe","channels":["chat:a","session:b"]}"#.to_owned(),
        9 => r#"{"type":"subscribe","channels":["chat:a"],"unsubscribe_channels":["chat:a","trip:a"]}"#.to_owned(),
        10 => r#"{"type":"heartbeat"}"#.to_owned(),
        _ => r#"{"type":"ping","timestamp":1}"#.to_owned(),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    let mut rest = data;
    while let [what, number, tail @ ..] = rest {
        rest = tail;
        let (what, number) = (*what, *number);
        match what % 16 {
            0 if world.accepted < 64 => world.accept(usize::from(number & 1)),
            1 | 2 => {
                let Some((&len, tail)) = rest.split_first() else { break };
                let (bytes, tail) = tail.split_at(tail.len().min(usize::from(len)));
                rest = tail;
                if let Some(id) = world.pick(number) {
                    let mut bytes = if what % 16 == 1 { bytes.to_vec() } else { frame(1, bytes) };
                    world.bytes(id, &mut bytes);
                }
            }
            3 | 4 => {
                let Some((&which, tail)) = rest.split_first() else { break };
                rest = tail;
                if let Some(id) = world.pick(number) {
                    let mut bytes = head(which, &world.token);
                    world.bytes(id, &mut bytes);
                }
            }
            5..=8 => {
                let Some((&which, tail)) = rest.split_first() else { break };
                rest = tail;
                if let Some(id) = world.pick(number) {
                    let mut bytes = frame(1, message(which, &world.token).as_bytes());
                    world.bytes(id, &mut bytes);
                }
            }
            9 => {
                if let Some(id) = world.pick(number) {
                    world.input(id.shard.index(), Input::Gone(id));
                }
            }
            10 => world.writable(),
            11 => world.carry(usize::from(number & 1)),
            12 => world.turn(number),
            13 => world.pass(u64::from(number) * u64::from(number)),
            14 => world.release(),
            15 if number == 255 => (0..2).for_each(|at| world.input(at, Input::Drain(1000))),
            15 => {
                let (from, to) = (usize::from(number & 1), ShardId(u16::from(number & 1 ^ 1)));
                world.effects[from].set_congested(to, number & 2 == 2);
            }
            _ => {}
        }
    }
    world.end();
});
