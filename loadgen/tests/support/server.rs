//! A server of ours that does wrong by a known amount, on an independent WebSocket implementation: what it did is
//! counted, so that a report can be held against it.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};

/// What it does wrong: each to every so manieth delivery or answer, 0 for never.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Wrongs {
    /// Deliveries that are held for `delay`.
    pub(crate) delay_every: u64,
    /// How long.
    pub(crate) delay: Duration,
    /// Deliveries that are not sent.
    pub(crate) drop_every: u64,
    /// Deliveries that are sent twice.
    pub(crate) double_every: u64,
    /// Deliveries that are sent behind the member's next.
    pub(crate) swap_every: u64,
    /// Answers that go to another connection of the room.
    pub(crate) misroute_every: u64,
    /// Answers that have a publish of another room in them.
    pub(crate) leak_every: u64,
    /// Answers that are refusals.
    pub(crate) refuse_every: u64,
    /// At this message it stops for `stall`.
    pub(crate) stall_at: u64,
    /// How long.
    pub(crate) stall: Duration,
    /// Pings to each member, which is no wrong.
    pub(crate) pings: u64,
    /// How long after it joined.
    pub(crate) pings_after: Duration,
}

/// What it did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    pub(crate) delayed: u64,
    pub(crate) dropped: u64,
    pub(crate) doubled: u64,
    pub(crate) swapped: u64,
    pub(crate) misrouted: u64,
    pub(crate) leaked: u64,
    pub(crate) refused: u64,
    /// Times that a member said how far it has read.
    pub(crate) acknowledged: u64,
    /// Members that said last that they have read everything.
    pub(crate) up_to_date: u64,
    pub(crate) pinged: u64,
    /// Pongs with what the pings carried.
    pub(crate) answered: u64,
}

enum Event {
    Open(usize, TcpStream, String),
    Text(usize, String),
    Pong,
    Gone(usize),
    Stop,
}

struct Member {
    stream: TcpStream,
    room: String,
    joined: bool,
    /// Its deliveries are numbered as they leave, so that a number tells nothing of what is wrong.
    seq: u64,
    /// The number that it acknowledged last.
    read: u64,
    held: Option<String>,
}

/// What stands in a message for the number that it gets when it leaves.
const NUMBER: &str = "#";

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    events: Sender<Event>,
    hub: JoinHandle<Tally>,
}

impl Server {
    pub(crate) fn start(wrongs: Wrongs) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (events, told) = channel();
        let opened = events.clone();
        // It ends with the test's process: nobody connects once a run is over.
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (stream, events) = (stream.unwrap(), opened.clone());
                std::thread::spawn(move || read(number, stream, &events));
            }
        });
        let hub = std::thread::spawn(move || Hub::new(wrongs).run(&told));
        Self { url, events, hub }
    }

    pub(crate) fn end(self) -> Tally {
        self.events.send(Event::Stop).unwrap();
        self.hub.join().unwrap()
    }
}

fn read(number: usize, stream: TcpStream, events: &Sender<Event>) {
    stream.set_nodelay(true).unwrap();
    let mut room = String::new();
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let keep_path = |request: &Request, response: Response| {
        room = request.uri().path().to_owned();
        Ok(response)
    };
    let Ok(mut socket) = tungstenite::accept_hdr(stream, keep_path) else { return };
    let writer = socket.get_ref().try_clone().unwrap();
    let tell = |event| events.send(event).is_ok();
    let mut on = tell(Event::Open(number, writer, room));
    while on {
        on = match socket.read() {
            Ok(Message::Text(text)) => tell(Event::Text(number, text.as_str().to_owned())),
            Ok(Message::Pong(carried)) if carried.as_ref() == b"hi" => tell(Event::Pong),
            Ok(_) => true,
            Err(_) => false,
        };
    }
    tell(Event::Gone(number));
}

struct Hub {
    wrongs: Wrongs,
    tally: Tally,
    members: BTreeMap<usize, Member>,
    /// By time, the soonest first; what comes at the same time in the order it was put there.
    later: BinaryHeap<std::cmp::Reverse<(Instant, u64, usize, String)>>,
    /// Members that are to be pinged, the soonest first.
    to_ping: VecDeque<(Instant, usize)>,
    deliveries: u64,
    messages: u64,
    /// The last publish of each room.
    last: BTreeMap<String, String>,
}

impl Hub {
    fn new(wrongs: Wrongs) -> Self {
        let (members, later, to_ping) = (BTreeMap::new(), BinaryHeap::new(), VecDeque::new());
        let last = BTreeMap::new();
        Self { wrongs, tally: Tally::default(), members, later, to_ping, deliveries: 0, messages: 0, last }
    }

    #[expect(clippy::disallowed_methods, reason = "a server that is late on purpose reads the clock")]
    fn run(mut self, told: &Receiver<Event>) -> Tally {
        loop {
            let now = Instant::now();
            while let Some(std::cmp::Reverse((due, ..))) = self.later.peek()
                && *due <= now
                && let Some(std::cmp::Reverse((_, _, number, text))) = self.later.pop()
            {
                self.send(number, &text);
            }
            while let Some((_, number)) = self.to_ping.pop_front_if(|(due, _)| *due <= now) {
                self.ping(number);
            }
            let wait =
                self.later.peek().map_or(Duration::from_millis(50), |next| next.0.0.saturating_duration_since(now));
            match told.recv_timeout(wait) {
                Ok(Event::Open(number, stream, room)) => {
                    let member = Member { stream, room, joined: false, seq: 0, read: 0, held: None };
                    self.members.insert(number, member);
                }
                Ok(Event::Gone(number)) => self.on_gone(number),
                Ok(Event::Text(number, text)) => self.on_text(number, &text),
                Ok(Event::Pong) => self.tally.answered += 1,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    // The ends of the last may not have been heard of yet.
                    while let Some((&number, _)) = self.members.first_key_value() {
                        self.on_gone(number);
                    }
                    return self.tally;
                }
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a server that stands still on purpose, and pings by the clock")]
    fn on_text(&mut self, number: usize, text: &str) {
        let Some(member) = self.members.get_mut(&number) else { return };
        if text.contains("\"token\"") {
            member.joined = true;
            for answer in ["{\"success\":true}", "{\"type\":\"subscribed\",\"payload\":{\"seq\":0}}"] {
                write(&mut member.stream, answer);
            }
            if self.wrongs.pings > 0 {
                self.to_ping.push_back((Instant::now() + self.wrongs.pings_after, number));
            }
            return;
        }
        if let Some((_, read)) = text.split_once("{\"type\":\"ack\"").and_then(|ack| ack.1.split_once("\"seq\":")) {
            let read = read.trim_end_matches('}').parse().unwrap();
            assert!(member.read < read && read <= member.seq, "{} after {} of {}", read, member.read, member.seq);
            member.read = read;
            self.tally.acknowledged += 1;
            return;
        }
        self.messages += 1;
        if self.messages == self.wrongs.stall_at {
            std::thread::sleep(self.wrongs.stall);
        }
        let room = member.room.clone();
        let bodies: Vec<&str> =
            text.match_indices("~WL~").map(|(at, _)| text[at..].split('"').next().unwrap()).collect();
        if text.starts_with("{\"type\":\"request\"") {
            return self.answer(number, &room, bodies[0]);
        }
        for body in bodies {
            self.last.insert(room.clone(), body.to_owned());
            for number in self.others(&room, usize::MAX) {
                self.deliver(
                    number,
                    &format!("{{\"type\":\"x\",\"seq\":{NUMBER},\"payload\":{{\"value\":\"{body}\"}}}}"),
                );
            }
        }
    }

    fn on_gone(&mut self, number: usize) {
        let Some(gone) = self.members.remove(&number) else { return };
        self.tally.up_to_date += u64::from(gone.seq > 0 && gone.read == gone.seq);
    }

    /// Members of a room but for one.
    fn others(&self, room: &str, but: usize) -> Vec<usize> {
        let of_room = self.members.iter().filter(|(_, member)| member.joined && member.room == room);
        of_room.map(|(&number, _)| number).filter(|&number| number != but).collect()
    }

    /// Answers with what the room's last publish was, as a page of its history.
    fn answer(&mut self, number: usize, room: &str, body: &str) {
        let count = self.deliveries + 1;
        let hits = |every: u64| every > 0 && count.is_multiple_of(every);
        let mut to = number;
        if hits(self.wrongs.misroute_every) {
            self.tally.misrouted += 1;
            to = *self.others(room, number).first().unwrap();
        }
        let leaks = hits(self.wrongs.leak_every);
        let mut page = self.last.iter().filter(|(of, _)| (*of == room) != leaks).map(|(_, body)| body.as_str());
        let page = page.next().unwrap_or("nothing");
        self.tally.leaked += u64::from(leaks && page != "nothing");
        let outcome = if hits(self.wrongs.refuse_every) { "error" } else { "result" };
        self.tally.refused += u64::from(outcome == "error");
        self.deliver(to, &format!("{{\"type\":\"answer\",\"id\":\"{body}\",\"{outcome}\":[\"{page}\"]}}"));
    }

    #[expect(clippy::disallowed_methods, reason = "a server that is late on purpose reads the clock")]
    fn deliver(&mut self, number: usize, text: &str) {
        self.deliveries += 1;
        let count = self.deliveries;
        let hits = |every: u64| every > 0 && count.is_multiple_of(every);
        let Wrongs { delay_every, delay, drop_every, double_every, swap_every, .. } = self.wrongs;
        let Some(member) = self.members.get_mut(&number) else { return };
        if hits(drop_every) {
            self.tally.dropped += 1;
        } else if hits(delay_every) {
            self.tally.delayed += 1;
            self.later.push(std::cmp::Reverse((Instant::now() + delay, count, number, text.to_owned())));
        } else if hits(swap_every) && member.held.is_none() {
            self.tally.swapped += 1;
            member.held = Some(text.to_owned());
        } else {
            self.send(number, text);
            if hits(double_every) {
                self.tally.doubled += 1;
                self.send(number, text);
            }
            let held = self.members.get_mut(&number).and_then(|member| member.held.take());
            if let Some(held) = held {
                self.send(number, &held);
            }
        }
    }

    fn ping(&mut self, number: usize) {
        let Some(member) = self.members.get_mut(&number) else { return };
        for _ in 0..self.wrongs.pings {
            self.tally.pinged += 1;
            let _gone = member.stream.write_all(&[0x89, 2, b'h', b'i']);
        }
    }

    fn send(&mut self, number: usize, text: &str) {
        let Some(member) = self.members.get_mut(&number) else { return };
        member.seq += u64::from(text.contains(NUMBER));
        self.tally.delivered += 1;
        write(&mut member.stream, &text.replacen(NUMBER, &member.seq.to_string(), 1));
    }
}

/// One unmasked text frame; a client that is gone is no fault here.
fn write(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(short @ 0..=125) => frame.push(short),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    let _gone = stream.write_all(&frame);
}
