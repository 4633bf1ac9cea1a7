//! A server that keeps what it acknowledges in a file, or does one thing wrong with it: what `loadgen crash` is tested
//! with.
//!
//! `cargo run -p loadgen --example keeper -- 127.0.0.1:8001 DIRECTORY [FAULT]` serves until it is killed. It speaks as
//! much of the gateway's protocol as a trial does, on an independent WebSocket implementation. Events are delivered at
//! once and acknowledged when they are written; a kill loses those that are not.

#![expect(clippy::unwrap_used, reason = "a program for tests: a panic is its report")]

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use loadgen::clock::Clock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::Role;

/// What it does wrong, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It forgets everything at a start.
    Memory,
    /// It answers before it writes.
    AckEarly,
    /// At a start the last five events of the first channel are gone.
    LoseLast,
    /// At a start the last event of the first channel is there twice.
    Double,
    /// Once after a start two operations of a publisher change places.
    Reorder,
    /// After a start the last three numbers of the first channel are given once more.
    Reuse,
    /// At a start it forgets which operations it had.
    Forget,
    /// It does not say that a duplicate is one.
    Unflagged,
}

const FAULTS: [(&str, Fault); 9] = [
    ("none", Fault::None),
    ("memory", Fault::Memory),
    ("ack-early", Fault::AckEarly),
    ("lose-last", Fault::LoseLast),
    ("double", Fault::Double),
    ("reorder", Fault::Reorder),
    ("reuse", Fault::Reuse),
    ("forget", Fault::Forget),
    ("unflagged", Fault::Unflagged),
];

/// Events that wait to be written together.
const BATCH: usize = 32;
/// How far above the last stored event a start's numbers begin: more than can have been delivered and not stored.
const LEAP: u64 = 65_536;
/// Events of a page; fewer than a trial asks for, so that there is more than one.
const PAGE: usize = 100;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Event {
    channel: String,
    epoch: String,
    seq: u64,
    id: String,
    kind: String,
    payload: Value,
}

enum Came {
    Open(usize, TcpStream),
    Text(usize, String),
    Get(String, Sender<String>),
    Gone(usize),
}

#[derive(Default)]
struct Channel {
    events: BTreeMap<u64, Event>,
    last: u64,
    members: Vec<usize>,
}

struct Keeper {
    fault: Fault,
    epoch: String,
    log: File,
    channels: HashMap<String, Channel>,
    places: HashMap<String, (String, u64)>,
    writers: HashMap<usize, TcpStream>,
    /// Delivered and not written: the event, and who is to be answered.
    pending: Vec<(Event, usize)>,
    /// What waits for its publisher's next, to be put behind it.
    held: Option<(usize, Value)>,
    reordered: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (address, directory) = (&arguments[1], Path::new(&arguments[2]));
    let word = arguments.get(3).map_or("none", String::as_str);
    let fault = FAULTS.iter().find(|(name, _)| *name == word).unwrap().1;
    let (tell, told) = channel();
    let keeper = Keeper::open(directory, fault);
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || serve(number, stream, &tell));
        }
    });
    keeper.run(&told);
}

/// One connection: a GET, or a WebSocket.
fn serve(number: usize, mut stream: TcpStream, tell: &Sender<Came>) {
    stream.set_nodelay(true).unwrap();
    let mut head = [0; 4096];
    let text = loop {
        let Ok(count @ 1..) = stream.peek(&mut head) else { return };
        let text = String::from_utf8_lossy(&head[..count]).into_owned();
        if text.contains("\r\n\r\n") {
            break text;
        }
        Clock::sleep(Duration::from_millis(1));
    };
    let path = text.split(' ').nth(1).unwrap().to_owned();
    if !text.contains("websocket") {
        stream.read_exact(&mut vec![0; text.len()]).unwrap();
        let (answer, answered) = channel();
        tell.send(Came::Get(path, answer)).unwrap();
        let body = answered.recv().unwrap();
        let _gone = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        return;
    }
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    tell.send(Came::Open(number, socket.get_ref().try_clone().unwrap())).unwrap();
    while let Ok(message) = socket.read() {
        if let Message::Text(text) = message {
            tell.send(Came::Text(number, text.to_string())).unwrap();
        }
    }
    tell.send(Came::Gone(number)).unwrap();
}

impl Keeper {
    fn open(directory: &Path, fault: Fault) -> Self {
        let (log, starts) = (directory.join("log"), directory.join("starts"));
        let count: u64 = std::fs::read_to_string(&starts).map_or(0, |text| text.parse().unwrap());
        std::fs::write(&starts, (count + 1).to_string()).unwrap();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        // A kill may cut the last line short.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut events: Vec<Event> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let first = |event: &Event| event.channel.ends_with("-0");
        match fault {
            Fault::Memory => events.clear(),
            Fault::LoseLast => {
                for _ in 0..5 {
                    let Some(at) = events.iter().rposition(first) else { break };
                    events.remove(at);
                }
            }
            Fault::Double => {
                let last = events.iter().rfind(|event| first(event)).cloned();
                events.extend(last.map(|event| Event { seq: event.seq + 1, ..event }));
            }
            _ => {}
        }
        let mut keeper = Self {
            fault,
            epoch: format!("epoch-{count}"),
            log: OpenOptions::new().create(true).write(true).truncate(true).open(&log).unwrap(),
            channels: HashMap::new(),
            places: HashMap::new(),
            writers: HashMap::new(),
            pending: Vec::new(),
            held: None,
            reordered: false,
        };
        // Written anew, so that what is gone stays gone.
        events.iter().for_each(|event| keeper.write(event));
        for event in events {
            keeper.places.entry(event.id.clone()).or_insert_with(|| (event.epoch.clone(), event.seq));
            let channel = keeper.channels.entry(event.channel.clone()).or_default();
            channel.last = channel.last.max(event.seq);
            channel.events.insert(event.seq, event);
        }
        if fault == Fault::Forget {
            keeper.places.clear();
        }
        for (name, channel) in &mut keeper.channels {
            let reused = fault == Fault::Reuse && name.ends_with("-0");
            channel.last = if reused { channel.last - 3 } else { channel.last + LEAP };
        }
        keeper
    }

    fn write(&mut self, event: &Event) {
        writeln!(self.log, "{}", serde_json::to_string(event).unwrap()).unwrap();
    }

    fn run(mut self, told: &Receiver<Came>) {
        while let Ok(came) = told.recv() {
            self.on_came(came);
            // All that came together is written together.
            while self.pending.len() < BATCH {
                let Ok(came) = told.try_recv() else { break };
                self.on_came(came);
            }
            self.commit();
        }
    }

    /// Writes and answers; who answers early writes only when a batch is full.
    fn commit(&mut self) {
        let early = self.fault == Fault::AckEarly;
        if early && self.pending.len() < BATCH {
            return;
        }
        for (event, author) in std::mem::take(&mut self.pending) {
            self.write(&event);
            if !early {
                self.ack(author, &event.id, &event.channel, &(event.epoch, event.seq), false);
            }
        }
    }

    fn on_came(&mut self, came: Came) {
        match came {
            Came::Open(number, stream) => {
                self.writers.insert(number, stream);
                let payload = json!({ "status": "connected", "server_version": "keeper 1" });
                self.send(number, &json!({ "type": "connection_established", "payload": payload }));
            }
            Came::Gone(number) => {
                self.writers.remove(&number);
                self.channels.values_mut().for_each(|channel| channel.members.retain(|&member| member != number));
            }
            Came::Get(path, answer) => {
                let query = |key: &str| path.split(['?', '&']).find_map(|part| part.strip_prefix(key)?.parse().ok());
                let name = path.strip_prefix("/api/history/").map(|rest| rest.split('?').next().unwrap());
                let body = name.map_or_else(|| json!({}), |name| self.page(name, query("since_seq=").unwrap_or(0)));
                answer.send(body.to_string()).unwrap();
            }
            Came::Text(number, text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                match message["type"].as_str().unwrap() {
                    "subscribe" => self.subscribe(number, &message["payload"]),
                    "publish" => self.on_publish(number, message),
                    _ => {
                        let params = &message["payload"]["params"];
                        let page =
                            self.page(params["channel"].as_str().unwrap(), params["since"].as_u64().unwrap_or(0));
                        let payload = json!({ "id": message["id"], "result": page });
                        self.send(number, &json!({ "type": "response", "payload": payload }));
                    }
                }
            }
        }
    }

    fn page(&mut self, name: &str, since: u64) -> Value {
        let Some(channel) = self.channels.get(name) else { return json!({ "channel": name, "events": [] }) };
        let written =
            |event: &&Event| !self.pending.iter().any(|(waits, _)| waits.seq == event.seq && waits.channel == name);
        let after: Vec<Value> =
            channel.events.range(since + 1..).map(|(_, event)| event).filter(written).map(frame).collect();
        json!({ "channel": name, "epoch": self.epoch, "more": after.len() > PAGE, "events": after[..after.len().min(PAGE)] })
    }

    fn subscribe(&mut self, number: usize, payload: &Value) {
        self.send(number, &json!({ "type": "subscribe_response", "payload": { "success": true } }));
        for name in payload["channels"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let channel = self.channels.entry(name.to_owned()).or_default();
            channel.members.push(number);
            let mut told = json!({ "channel": name, "epoch": self.epoch, "seq": channel.last });
            let (since, mut after) = (&payload["since"][name], u64::MAX);
            if let Some(seq) = since["seq"].as_u64() {
                let known = seq == 0 || channel.events.get(&seq).is_some_and(|event| event.epoch == since["epoch"]);
                told["recovered"] = known.into();
                after = if known { seq } else { 0 };
                if !known {
                    told["reason"] = "epoch_changed".into();
                }
            }
            let missed = channel.events.range(after.saturating_add(1)..).filter(|_| after < u64::MAX);
            let missed: Vec<Value> = missed.map(|(_, event)| frame(event)).collect();
            self.send(number, &json!({ "type": "subscribed", "payload": told }));
            missed.iter().for_each(|event| self.send(number, event));
        }
    }

    /// Publishes, unless it waits to change places with the next.
    fn on_publish(&mut self, number: usize, message: Value) {
        let channel = |message: &Value| message["payload"]["channel"].as_str().unwrap().to_owned();
        let fresh = !self.places.contains_key(message["id"].as_str().unwrap());
        if self.fault == Fault::Reorder && !self.reordered && fresh {
            match self.held.take() {
                None if channel(&message).ends_with("-0") => return self.held = Some((number, message)),
                None => {}
                Some((author, first)) if author == number && channel(&first) == channel(&message) => {
                    self.reordered = true;
                    self.publish(number, &message);
                    return self.publish(author, &first);
                }
                held => self.held = held,
            }
        }
        self.publish(number, &message);
    }

    fn publish(&mut self, number: usize, message: &Value) {
        let (id, payload) = (message["id"].as_str().unwrap().to_owned(), &message["payload"]);
        let name = payload["channel"].as_str().unwrap().to_owned();
        if let Some(place) = self.places.get(&id).cloned() {
            let flagged = self.fault != Fault::Unflagged;
            return self.ack(number, &id, &name, &place, flagged);
        }
        let epoch = self.epoch.clone();
        let channel = self.channels.entry(name.clone()).or_default();
        channel.last += 1;
        let kind = payload["type"].as_str().unwrap().to_owned();
        let event = Event {
            channel: name.clone(),
            epoch,
            seq: channel.last,
            id: id.clone(),
            kind,
            payload: payload["payload"].clone(),
        };
        channel.events.insert(event.seq, event.clone());
        let members = channel.members.clone();
        self.places.insert(id.clone(), (event.epoch.clone(), event.seq));
        members.into_iter().for_each(|member| self.send(member, &frame(&event)));
        if self.fault == Fault::AckEarly {
            self.ack(number, &id, &name, &(event.epoch.clone(), event.seq), false);
        }
        self.pending.push((event, number));
    }

    fn ack(&self, number: usize, id: &str, channel: &str, (epoch, seq): &(String, u64), duplicate: bool) {
        let mut payload = json!({ "id": id, "channel": channel, "epoch": epoch, "seq": seq });
        if duplicate {
            payload["duplicate"] = true.into();
        }
        self.send(number, &json!({ "type": "ack", "payload": payload }));
    }

    fn send(&self, number: usize, message: &Value) {
        let Some(stream) = self.writers.get(&number) else { return };
        let mut socket = tungstenite::WebSocket::from_raw_socket(stream, Role::Server, None);
        let _gone = socket.send(Message::text(message.to_string()));
    }
}

fn frame(event: &Event) -> Value {
    let Event { channel, epoch, seq, id, kind, payload } = event;
    json!({ "type": kind, "channel": channel, "epoch": epoch, "seq": seq, "op_id": id, "payload": payload })
}
