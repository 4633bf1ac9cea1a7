//! Whole shards under a fake clock and fake sockets: every rule at its bound, as a client sees it.
//!
//! The driver below stands in for the host: it does what effects ask, takes of each write what a socket has
//! room for, and reads back the frames that went out.

mod announcing;
mod backlog;
mod channel_rates;
mod company;
mod consumers;
mod deadlines;
mod debts;
mod ending;
mod erasing;
mod erasures;
mod event_stream;
mod expiry;
mod fanout;
mod flat;
mod forgetting;
mod history;
mod keeping;
mod lanes;
mod messages;
mod named;
mod opening;
mod outside;
mod parting;
mod places;
mod providers;
mod recorded;
mod replay;
mod retaining;
mod returning;
mod rooms;
mod rules;
mod service;
mod talking;
mod tracing;
mod vectors;
mod waiting;

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::effect::{Batch, Closing, Effect};
use super::message::MeshMessage;
use super::message::outside::Answered;
use super::*;
use crate::auth::token::{Key, Keys};
use crate::ledger::{Keep, Memory, Model, State};
use crate::limits::WHEEL_SLOT_MS;
use crate::metrics::Metric;
use crate::time::Millis;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const START_UNIX_S: u64 = 1_795_271_185;
/// No event or close in a test is further away than that.
const LATER_S: u64 = 1_000_000;

/// A client's socket, by the order of the accepts.
type Who = usize;

struct Socket {
    id: ConnId,
    /// What was written and not yet looked at.
    taken: Vec<u8>,
    /// Bytes that it takes before it is full.
    room: usize,
    full: bool,
    reads: bool,
    end: Option<Closing>,
}

struct World {
    hosts: Vec<(Shard, Effects)>,
    sockets: Vec<Socket>,
    owners: HashMap<ConnId, Who>,
    now: Now,
    /// Where the next socket comes from.
    peer: SocketAddr,
    /// Parts and bytes of each write, in order.
    writes: Vec<(Who, usize, usize)>,
    /// Events in each tail that went between shards.
    tails: Vec<usize>,
    /// What was answered to questions from outside.
    answered: Vec<Answered>,
    /// The store, if there is one.
    store: Option<Model>,
    /// Whether it commits.
    commits: bool,
    /// Whether it reads.
    reads: bool,
    /// What it cannot read.
    damaged: Option<(crate::ids::Seq, crate::ids::Seq)>,
}

pub(super) fn options() -> Options {
    let keys = Keys::new(vec![Key::hs256(None, SECRET)]).unwrap();
    let verifier = Verifier { keys, ..Verifier::default() };
    Options { echo: true, unlimited: true, ..Options::embedded([5; 16], verifier) }
}

/// A token that says what `more` says and is good for `ttl_s`.
fn token_with(user: &str, ttl_s: u64, more: Value) -> String {
    let mut claims = json!({ "sub": user, "exp": START_UNIX_S + ttl_s });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn token(user: &str) -> String {
    token_with(user, LATER_S, json!({}))
}

/// The head that asks for an upgrade.
fn head_of(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A frame as a client sends it.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x9d, 1, 0x5c, 0xf0];
    let mut frame = vec![0x80 | opcode];
    if let Some(len) = u8::try_from(payload.len()).ok().filter(|len| *len < 126) {
        frame.push(0x80 | len);
    } else if let Ok(len) = u16::try_from(payload.len()) {
        frame.push(0x80 | 126);
        frame.extend_from_slice(&len.to_be_bytes());
    } else {
        frame.push(0x80 | 127);
        frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn text(text: &str) -> Vec<u8> {
    masked(1, text.as_bytes())
}

/// A `publish` whose payload makes the message exactly `len` bytes long.
fn publish_of(channel: &str, len: usize) -> String {
    let bare =
        json!({ "type": "publish", "payload": { "channel": channel, "type": "note", "payload": { "pad": "" } } });
    let bare = bare.to_string();
    bare.replace(r#""pad":"""#, &format!(r#""pad":"{}""#, "x".repeat(len - bare.len())))
}

fn publish(channel: &str, id: &str, payload: &Value) -> String {
    let body = json!({ "channel": channel, "type": "note", "payload": payload });
    json!({ "type": "publish", "id": id, "ack": true, "payload": body }).to_string()
}

fn subscribe(channels: &[String]) -> String {
    json!({ "type": "subscribe", "channels": channels }).to_string()
}

/// The first frame of what a socket took, and how long it is.
fn frame_of(bytes: &[u8]) -> Option<(Value, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (len, at) = match second {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()).into(), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap(), 10),
        len => (len.into(), 2),
    };
    let payload = bytes.get(at..at + len)?;
    let value = match first & 0x0f {
        1 => serde_json::from_slice(payload).unwrap_or_else(|_| json!({ "type": "text", "bytes": len })),
        2 => json!({ "type": "binary", "bytes": len }),
        8 => {
            let code = u16::from_be_bytes(payload.get(..2).unwrap().try_into().unwrap());
            json!({ "type": "close", "code": code })
        }
        9 => json!({ "type": "ping frame" }),
        10 => json!({ "type": "pong frame" }),
        opcode => panic!("opcode {opcode}"),
    };
    Some((value, at + len))
}

/// A frame in a word or two: its type, and the code if it says one.
fn word(frame: &Value) -> String {
    let kind = match (frame["type"].as_str(), frame["success"].as_bool()) {
        (Some(kind), _) => kind,
        (None, Some(true)) => "welcome",
        (None, Some(false)) => "unwelcome",
        (None, None) => "?",
    };
    let payload = frame.get("payload").unwrap_or(frame);
    match &payload["code"] {
        Value::String(code) => format!("{kind} {code}"),
        Value::Number(code) => format!("{kind} {code}"),
        _ => kind.to_owned(),
    }
}

fn words(frames: &[Value]) -> Vec<String> {
    frames.iter().map(word).collect()
}

/// The frames of one type.
fn of_type<'a>(frames: &'a [Value], kind: &str) -> Vec<&'a Value> {
    frames.iter().filter(|frame| frame["type"] == kind).collect()
}

fn seqs(frames: &[Value], kind: &str) -> Vec<u64> {
    of_type(frames, kind).iter().filter_map(|frame| frame["seq"].as_u64()).collect()
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = options();
        change(&mut options);
        let now = Now { micros: 0, unix_ms: START_UNIX_S * 1000 };
        let shard = |id| Shard::new(ShardId(id), options.clone(), Metrics::shared(), now);
        let hosts = (0..options.shards).map(|id| (shard(id), Effects::new(options.shards.into()))).collect();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        Self {
            hosts,
            sockets: Vec::new(),
            owners: HashMap::new(),
            now,
            peer,
            writes: Vec::new(),
            tails: Vec::new(),
            answered: Vec::new(),
            store: None,
            commits: true,
            reads: true,
            damaged: None,
        }
    }

    fn try_accept(&mut self, host: usize) -> Option<Who> {
        let (shard, effects) = &mut self.hosts[host];
        let id = shard.on_accept(self.now, self.peer, effects)?;
        let socket = Socket { id, taken: Vec::new(), room: usize::MAX, full: false, reads: true, end: None };
        self.sockets.push(socket);
        self.owners.insert(id, self.sockets.len() - 1);
        Some(self.sockets.len() - 1)
    }

    /// Accepts a socket and asks for an upgrade there.
    fn upgrade_on(&mut self, host: usize, target: &str) -> Who {
        let who = self.try_accept(host).unwrap();
        self.send(who, head_of(target).as_bytes());
        who
    }

    fn upgrade(&mut self, path: &str) -> Who {
        let who = self.upgrade_on(0, path);
        assert_eq!(self.status(who), 101);
        who
    }

    /// A legacy client that is in; what it heard until then is dropped.
    fn legacy(&mut self, path: &str, user: &str) -> Who {
        let who = self.upgrade(&format!("{path}?token={}", token(user)));
        self.heard(who);
        who
    }

    /// A client that tells its name.
    fn known(&mut self, path: &str, user: &str) -> Who {
        let who = self.upgrade(path);
        let client = json!({ "name": "test", "version": "1" });
        self.say(who, &json!({ "type": "auth", "token": token(user), "client": client }).to_string());
        self.heard(who);
        who
    }

    /// A client whose socket another shard accepted.
    fn client_on(&mut self, host: usize, known: bool, path: &str, user: &str) -> Who {
        let who = self.upgrade_on(host, path);
        let mut auth = json!({ "type": "auth", "token": token(user) });
        if known {
            auth["client"] = json!({ "name": "test", "version": "1" });
        }
        self.say(who, &auth.to_string());
        self.heard(who);
        who
    }

    fn client(&mut self, known: bool, path: &str, user: &str) -> Who {
        if known { self.known(path, user) } else { self.legacy(path, user) }
    }

    /// Hands bytes to the shard, and does nothing of what follows.
    fn put(&mut self, who: Who, bytes: &[u8]) {
        let (id, mut bytes) = (self.sockets[who].id, bytes.to_vec());
        let (shard, effects) = &mut self.hosts[id.shard.index()];
        shard.handle(self.now, Input::Bytes(id, &mut bytes), effects);
    }

    fn send(&mut self, who: Who, bytes: &[u8]) {
        self.put(who, bytes);
        self.run();
    }

    fn say(&mut self, who: Who, message: &str) {
        self.send(who, &text(message));
    }

    /// Turns of all hosts until nothing is left to do.
    fn run(&mut self) {
        let mut busy = true;
        while busy {
            busy = false;
            for host in 0..self.hosts.len() {
                let (shard, effects) = &mut self.hosts[host];
                busy |= shard.fan_out(self.now, false, effects) || !effects.list.is_empty() || shard.has_behind();
                self.apply(host);
                busy |= self.hosts[host].0.has_behind();
            }
            busy |= self.turn_of_the_store();
        }
    }

    /// The store reads, and commits if it does. Returns whether it told anybody anything.
    fn turn_of_the_store(&mut self) -> bool {
        let Some(store) = &mut self.store else { return false };
        let mut notices = if self.reads { store.serve() } else { Vec::new() };
        if self.commits {
            // What goes of a channel goes in several batches.
            for _ in 0..4 {
                notices.extend(store.commit(usize::MAX, self.now.unix_ms));
            }
        }
        let told = !notices.is_empty();
        for (shard, notice) in notices {
            let notice = match self.damaged {
                Some(damaged) => erasing::damage(notice, damaged),
                None => notice,
            };
            self.handle(shard.index(), Input::Store(notice));
        }
        told
    }

    fn apply(&mut self, host: usize) {
        self.perform_all(host);
        while let Some(id) = self.hosts[host].0.next_behind() {
            self.write(host, id);
            self.perform_all(host);
        }
    }

    fn perform_all(&mut self, host: usize) {
        while !self.hosts[host].1.list.is_empty() {
            for effect in std::mem::take(&mut self.hosts[host].1.list) {
                self.perform(host, effect);
            }
        }
    }

    fn perform(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Write(id) => self.write(host, id),
            Effect::Stream(id) | Effect::Resume(id) => self.socket(id).reads = true,
            Effect::Pause(id) => self.socket(id).reads = false,
            Effect::Close(id, closing) => {
                self.socket(id).end = Some(closing);
                self.handle(host, Input::Released(id));
            }
            Effect::HandOver(id, to, passport) => {
                self.handle(host, Input::Released(id));
                let (shard, effects) = &mut self.hosts[to.index()];
                let adopted = shard.on_adopt(self.now, passport, effects).unwrap();
                let who = self.owners[&id];
                self.owners.insert(adopted, who);
                self.sockets[who].id = adopted;
            }
            Effect::Admin(..) => panic!("no test asks the administration"),
            Effect::Answer(answered) => self.answered.push(*answered),
            Effect::Store(ticket, request) => {
                let from = self.hosts[host].0.id;
                self.store.as_mut().unwrap().ask(from, ticket, *request);
            }
            Effect::Read(ticket, read) => {
                let from = self.hosts[host].0.id;
                self.store.as_mut().unwrap().read(from, ticket, *read);
            }
            Effect::Mesh(to, message) => {
                if let MeshMessage::Tail(tail) = &message {
                    self.tails.push(tail.events.len());
                }
                let from = self.hosts[host].0.id;
                self.handle(to.index(), Input::Mesh(from, message));
            }
        }
    }

    fn handle(&mut self, host: usize, input: Input<'_>) {
        let (shard, effects) = &mut self.hosts[host];
        shard.handle(self.now, input, effects);
    }

    fn socket(&mut self, id: ConnId) -> &mut Socket {
        &mut self.sockets[self.owners[&id]]
    }

    fn write(&mut self, host: usize, id: ConnId) {
        let mut batch = Batch::default();
        let (shard, effects) = &mut self.hosts[host];
        shard.fill(self.now, id, &mut batch);
        if batch.is_empty() {
            return;
        }
        let who = self.owners[&id];
        let socket = &mut self.sockets[who];
        let bytes = batch.bytes().min(socket.room);
        self.writes.push((who, batch.slices().count(), batch.bytes()));
        socket.full = bytes < batch.bytes();
        socket.room -= if socket.room == usize::MAX { 0 } else { bytes };
        socket.taken.extend_from_slice(&batch.slices().collect::<Vec<_>>().concat()[..bytes]);
        shard.written(self.now, id, &mut batch, bytes, effects);
        assert!(batch.is_empty(), "the shard takes back what was not written");
    }

    /// From now on the socket takes `room` bytes.
    fn open(&mut self, who: Who, room: usize) {
        let id = self.sockets[who].id;
        self.sockets[who].room = room;
        if std::mem::take(&mut self.sockets[who].full) {
            self.handle(id.shard.index(), Input::Writable(id));
        }
        self.run();
    }

    /// The frames that a client got since it was last asked.
    fn heard(&mut self, who: Who) -> Vec<Value> {
        let mut taken = std::mem::take(&mut self.sockets[who].taken);
        if taken.starts_with(b"HTTP/") {
            let end = taken.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
            taken.drain(..end + 4);
        }
        let (mut frames, mut at) = (Vec::new(), 0);
        while let Some((frame, len)) = frame_of(&taken[at..]) {
            frames.push(frame);
            at += len;
        }
        self.sockets[who].taken = taken.split_off(at);
        frames
    }

    fn heard_words(&mut self, who: Who) -> Vec<String> {
        words(&self.heard(who))
    }

    /// The status of the HTTP response that a client got.
    fn status(&self, who: Who) -> u16 {
        let line = self.sockets[who].taken.get(9..12).unwrap();
        std::str::from_utf8(line).unwrap().parse().unwrap()
    }

    fn is_open(&self, who: Who) -> bool {
        let id = self.sockets[who].id;
        self.hosts[id.shard.index()].0.slots.find(id).is_some_and(super::connection::Connection::is_upgraded)
    }

    /// Lets time pass as hosts notice it: in steps of a slot.
    fn wait(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(WHEEL_SLOT_MS);
            self.jump(step);
            left -= step;
        }
    }

    /// Lets time pass at once.
    fn jump(&mut self, ms: u64) {
        self.now.micros += ms * 1000;
        self.now.unix_ms += ms;
        for host in 0..self.hosts.len() {
            let (shard, effects) = &mut self.hosts[host];
            shard.on_time(self.now, effects);
            while !shard.due.is_empty() {
                shard.on_time(self.now, effects);
            }
        }
        self.run();
    }

    fn read(&self, metric: Metric) -> u64 {
        self.hosts.iter().map(|(shard, _)| shard.metrics.read(metric)).sum()
    }
}

/// A channel with this prefix that is at home on a shard.
fn at_home(prefix: &str, home: u16, shards: u16) -> String {
    let names = (0..).map(|index| format!("{prefix}{index}"));
    let mut there = names.filter(|name| crate::route::home(&options().key, name, shards) == ShardId(home));
    there.next().unwrap()
}
