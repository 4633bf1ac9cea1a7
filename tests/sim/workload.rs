//! What clients do, by chance.

use waystation::auth::token::{Key, TokenRequest, mint};
use waystation::limits::MESSAGE_BYTES_MAX;

use super::client::{Ask, Phase, own_name};
use super::counts::Kind;
use super::invariants::{Ledger, Op, Place};
use super::wire::{write_frame, write_text};
use super::world::World;

impl World {
    /// A few clients do something.
    pub(crate) fn work(&mut self) {
        let many = if self.config.crowd { 8 } else { 3 };
        for _ in 0..self.rng.within(0..=many) {
            let client = self.rng.below(self.clients.len());
            match self.clients[client].phase {
                Phase::Away if self.clients[client].wake_micros <= self.now.micros => self.arrive(client),
                Phase::Open => self.act(client),
                Phase::Opening | Phase::Upgraded if self.rng.chance(2) => self.drop_connection(client),
                _ => {}
            }
        }
    }

    /// A token; on a connection that was narrowed another narrow one.
    fn token(&mut self, client: usize) -> String {
        let ttl_s = self.rng.pick(&[3, 20, 3600, 3600, 3600, 3600]);
        self.clients[client].expires_ms = (self.now.unix_seconds() + ttl_s) * 1000;
        let user = self.clients[client].user.clone();
        let bad = !self.clients[client].narrow && self.rng.chance(3);
        let role = (client == 0 || self.clients[client].backend.is_some()).then_some("service");
        let caps = self.clients[client].narrow.then_some(NARROW);
        let request = TokenRequest { user: &user, ttl_s, role, caps };
        let other = Key::hs256(None, b"another secret that nobody configured here");
        mint(if bad { &other } else { &self.key }, &request, self.now.unix_seconds()).expect("a token")
    }

    /// Connects: the request, and with it or after it the token.
    fn arrive(&mut self, index: usize) {
        let Some(socket) = self.connect(index) else { return };
        let token = self.token(index);
        self.serials += 1;
        let service = self.clients[index].backend.is_some();
        let (path, own) = if service { ("/ws".to_owned(), None) } else { self.door() };
        let early = self.rng.chance(45);
        let way = self.rng.below(3);
        let client = &mut self.clients[index];
        (client.socket, client.phase, client.serial) = (Some(socket), Phase::Opening, self.serials);
        client.own.clone_from(&own);
        let query = if early && way == 0 { format!("?token={token}") } else { String::new() };
        let header = match (early, way) {
            (true, 1) => format!("Authorization: Bearer {token}\r\n"),
            (true, 2) => format!("Sec-WebSocket-Protocol: bearer.{token}, waystation.v1.json\r\n"),
            _ => String::new(),
        };
        let head = format!(
            "GET {path}{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
        );
        self.sockets[socket].to_server.extend(head.as_bytes());
        if let Some(own) = own {
            self.clients[index].part(&own).ask = Some(Ask { position: None, truthful: true, after_leave: false });
        }
        if early {
            self.counts.count(Kind::EarlyToken);
        } else {
            self.counts.count(Kind::FirstFrame);
            self.authenticate(index, &token);
        }
    }

    fn door(&mut self) -> (String, Option<String>) {
        let prefix = if self.rng.chance(30) { "/api" } else { "" };
        let number = if self.config.crowd { 0 } else { self.rng.below(4) };
        match self.rng.below(if self.config.crowd { 6 } else { 20 }) {
            0..=3 => (format!("{prefix}/ws/chat/c{number}"), Some(format!("chat:c{number}"))),
            6..=10 => (format!("{prefix}/ws/chat/c{number}"), Some(format!("chat:c{number}"))),
            11..=14 => (format!("{prefix}/ws/trips/t{number}/collab"), Some(format!("trip:t{number}"))),
            19 => ("/status".to_owned(), None),
            _ => (format!("{prefix}/ws"), None),
        }
    }

    /// The first frame: the token, perhaps channels, perhaps where the client was in them.
    fn authenticate(&mut self, index: usize, token: &str) {
        let mut channels: Vec<String> = Vec::new();
        let most = if self.clients[index].backend.is_some() { 1 } else { 3 };
        for _ in 0..self.rng.below(most) {
            let name = self.channel_name(index, true);
            let full = own_name(&name, &self.clients[index].user);
            if !channels.iter().any(|other| own_name(other, &self.clients[index].user) == full) {
                channels.push(name);
            }
        }
        if let Some(own) = self.clients[index].own.clone()
            && self.rng.chance(50)
        {
            channels.retain(|name| own_name(name, &self.clients[index].user) != own);
            channels.push(own);
        }
        let mut resume = Vec::new();
        for name in &channels {
            let full = own_name(name, &self.clients[index].user);
            let (position, truthful) = self.position(index, &full);
            if let Some((epoch, seq)) = &position {
                resume.push(format!(r#"{{"channel":"{name}","epoch":"{epoch}","seq":{seq}}}"#));
            }
            self.clients[index].part(&full).ask = Some(Ask { position, truthful, after_leave: false });
        }
        self.clients[index].named = self.clients[index].known;
        let known = if self.clients[index].known { r#","client":{"name":"sim","version":"1"}"# } else { "" };
        let names: Vec<String> = channels.iter().map(|name| format!("\"{name}\"")).collect();
        let text = format!(
            r#"{{"type":"auth","token":"{token}","channels":[{}],"resume":[{}]{known}}}"#,
            names.join(","),
            resume.join(",")
        );
        self.say(index, &text);
    }

    /// A channel that the client may join, under one of its names.
    fn channel_name(&mut self, index: usize, joinable: bool) -> String {
        let number = self.rng.below(4);
        let user = self.clients[index].user.clone();
        match self.rng.below(if self.config.crowd { 4 } else { 12 }) {
            0 | 1 if self.config.crowd => "chat:c0".to_owned(),
            0 | 1 => format!("session:c{number}"),
            2..=4 => format!("chat:c{number}"),
            5..=7 => format!("trip:t{number}"),
            8 => "general".to_owned(),
            9 if joinable => "notifications".to_owned(),
            10 if joinable => format!("agent_status:{user}"),
            _ => format!("chat:c{number}"),
        }
    }

    /// Where the client says that it was in a channel, and whether that is so.
    fn position(&mut self, index: usize, channel: &str) -> (Option<Place>, bool) {
        let remembered = self.clients[index].memory.get(channel).cloned();
        match (remembered, self.rng.below(10)) {
            (Some(place), 0..=5) => (Some(place), true),
            (Some((epoch, seq)), 6) => (Some((epoch, seq + 1000)), false),
            (Some((epoch, seq)), 7) => (Some((epoch, seq / 2)), true),
            (Some((_, seq)), 8) => (Some(("00000000000000aa".to_owned(), seq)), false),
            _ => (None, true),
        }
    }

    /// Puts a text on the way to the gateway.
    fn say(&mut self, index: usize, text: &str) {
        let Some(socket) = self.clients[index].socket else { return };
        let mut bytes = Vec::new();
        if write_text(text, &mut self.rng, &mut bytes) {
            self.counts.count(Kind::Fragmented);
        }
        self.sockets[socket].to_server.extend(bytes);
    }

    fn act(&mut self, index: usize) {
        let socket = self.clients[index].socket.expect("an open client has a socket");
        if self.sockets[socket].to_server.len() > 40_000 || self.sockets[socket].closed {
            return;
        }
        if self.clients[index].backend.is_some() {
            return self.act_as_service(index);
        }
        // A known client's joins may be refused for its rate, of which it is not always told.
        let may_join = self.config.unlimited || !self.clients[index].known;
        match self.rng.below(100) {
            56..=74 if !may_join => {}
            0..=49 => self.publish(index),
            50..=55 => self.send_again(index),
            56..=66 => self.join(index),
            67..=70 => self.leave(index, false),
            71..=74 => self.leave(index, true),
            75..=76 => {
                self.clients[index].pings.beat();
                self.say(index, r#"{"type":"heartbeat"}"#);
            }
            77 => self.say_ping(index),
            78 => self.ping(index, b"are you there"),
            79..=80 => self.say_nonsense(index),
            81 => self.say(index, r#"{"type":"publish","payload":{"channel":"user:x","type":"a","payload":{}}}"#),
            82..=83 => self.refresh(index),
            84 => self.burst(index),
            85..=87 => {
                self.counts.count(Kind::SlowReader);
                self.clients[index].asleep_until = self.now.micros + self.rng.below(8_000_000) as u64;
            }
            88 => {
                self.counts.count(Kind::SlowReader);
                self.clients[index].never_reads = true;
            }
            89..=90 => {
                self.note_churn();
                self.counts.count(Kind::Dropped);
                self.drop_connection(index);
            }
            91 => {
                self.counts.count(Kind::PoliteClose);
                let mut bytes = Vec::new();
                write_frame(0x88, &1000_u16.to_be_bytes(), &mut self.rng, &mut bytes);
                self.sockets[socket].to_server.extend(bytes);
                self.sockets[socket].closed = self.rng.chance(30);
            }
            94..=96 if may_join => self.ask(index),
            92 => (0..self.rng.within(5..=40)).for_each(|_| self.publish(index)),
            93 => self.batch(index),
            94..=96 => self.gesture(index),
            97 if self.config.unlimited => self.pile_up(index),
            _ if self.config.crowd && may_join => self.leave(index, true),
            _ => {}
        }
    }

    /// Asks a service to repeat something, or the gateway for what it knows.
    fn ask(&mut self, index: usize) {
        self.counts.count(Kind::Asked);
        self.serials += 1;
        let id = format!("ask-{}", self.serials);
        let (method, params, expected) = match self.rng.below(6) {
            0 => ("time", String::new(), String::new()),
            1 => {
                let reverse = self.serials.is_multiple_of(2);
                ("history", format!(r#""channel":"chat:c1","limit":30,"reverse":{reverse}"#), String::new())
            }
            _ => ("echo", format!(r#""echo":"{id}""#), id.clone()),
        };
        self.clients[index].asked.insert(id.clone(), expected);
        let request = format!(r#""id":"{id}","method":"{method}","params":{{{params}}}"#);
        self.say(index, &format!(r#"{{"type":"request","payload":{{{request}}}}}"#));
        if self.rng.chance(5) {
            self.say(index, &format!(r#"{{"type":"cancel","payload":{{"id":"{id}"}}}}"#));
        }
    }

    /// What a service does: it subscribes, acknowledges, answers, publishes, and goes away.
    fn act_as_service(&mut self, index: usize) {
        let serial = self.clients[index].serial;
        let backend = self.clients[index].backend.as_mut().expect("a service");
        if !std::mem::replace(&mut backend.subscribed, true) {
            let group = backend.group.map_or_else(String::new, |group| format!(r#","group":"{group}""#));
            self.say(index, &format!(r#"{{"type":"subscribe","payload":{{"channels":["chat:*"]{group}}}}}"#));
            return self.say(index, r#"{"type":"register","payload":{"methods":["echo"]}}"#);
        }
        match self.rng.below(100) {
            0..=44 => {
                let pick = self.rng.below(8);
                let backend = self.clients[index].backend.as_mut().expect("a service");
                if let Some(ack) = backend.ack(pick, serial, &mut self.ledger) {
                    self.counts.count(Kind::PatternAck);
                    self.say(index, &ack);
                }
            }
            45..=74 => {
                let backend = self.clients[index].backend.as_mut().expect("a service");
                if let Some((id, echo)) = backend.work.pop() {
                    self.say(index, &response_text(&id, &echo));
                }
            }
            75..=84 => self.notify(index),
            85..=87 => {
                self.serials += 1;
                let payload =
                    format!(r#"{{"channel":"*","type":"sim_direct","payload":{{"number":{}}}}}"#, self.serials);
                self.say(index, &format!(r#"{{"type":"publish","payload":{payload}}}"#));
            }
            88..=89 => {
                self.counts.count(Kind::SlowReader);
                self.clients[index].asleep_until = self.now.micros + self.rng.below(40_000_000) as u64;
            }
            90..=92 => {
                self.counts.count(Kind::Dropped);
                self.drop_connection(index);
            }
            93..=95 => self.clients[index].backend.as_mut().expect("a service").forget(),
            _ => {}
        }
    }

    /// A service notifies a user.
    fn notify(&mut self, index: usize) {
        let (user, serial) = (self.clients[index].user.clone(), self.clients[index].serial);
        let channel = format!("notifications:u{}", self.rng.below(4));
        let number = self.ledger.add(Op::new(&user, &channel, None, false, serial, self.now.micros));
        let text = Ledger::text(number, "");
        let message = publish_text(r#""ack":false"#, &channel, &text);
        self.ledger.ops[number].message.clone_from(&message);
        self.say(index, &message);
    }

    fn say_ping(&mut self, index: usize) {
        let dropped = self.sum(waystation::metrics::Metric::OutboxDropped);
        let number = self.clients[index].pings.send(dropped);
        self.say(index, &format!(r#"{{"type":"ping","timestamp":{number}}}"#));
    }

    /// More errors than a few writes take, and then what is answered in the lowest lane.
    fn pile_up(&mut self, index: usize) {
        if self.clients[index].known {
            return;
        }
        (0..350).for_each(|_| self.say(index, "{"));
        self.say_ping(index);
    }

    /// Writes, edits or points somewhere, or stops.
    fn gesture(&mut self, index: usize) {
        let own = self.clients[index].own.clone();
        let name = match own {
            Some(own) if self.rng.chance(80) => own,
            _ => self.channel_name(index, false),
        };
        if name == "general" {
            return;
        }
        self.counts.count(Kind::Gesture);
        let kinds: &[&str] = if name.starts_with("trip:") {
            &["typing_start", "typing_stop", "trip_field_editing_start", "trip_field_editing_stop", "cursor_update"]
        } else {
            &["chat_typing_start", "chat_typing_stop", "typing"]
        };
        let kind = self.rng.pick(kinds);
        let field = self.rng.pick(&["a", "b"]);
        let again = self.rng.within(1..=3);
        for _ in 0..again {
            self.say(
                index,
                &format!(r#"{{"type":"{kind}","channel":"{name}","payload":{{"field":"{field}","user_id":"eve"}}}}"#),
            );
        }
    }

    fn ping(&mut self, index: usize, payload: &[u8]) {
        let mut bytes = Vec::new();
        write_frame(0x89, payload, &mut self.rng, &mut bytes);
        let socket = self.clients[index].socket.expect("an open client has a socket");
        self.sockets[socket].to_server.extend(bytes);
    }

    fn say_nonsense(&mut self, index: usize) {
        let text = self.rng.pick(&[
            "{",
            "7",
            r#"{"type":7}"#,
            r#"{"type":"no_such_thing"}"#,
            r#"{"type":"subscribe","channels":7}"#,
        ]);
        self.say(index, text);
    }

    /// Many errors to be told, or pings to be answered, and a leave and a join behind them; from clients that may not be
    /// reading. Who does not take its errors is read later; pongs are more than it may leave lying.
    fn burst(&mut self, index: usize) {
        if self.clients[index].known {
            return;
        }
        self.counts.count(Kind::BurstOfErrors);
        // Where rates hold, errors cost as much as anything else, and more than a few would be read for minutes.
        let many = match (self.config.unlimited, self.rng.chance(45)) {
            (true, true) => 1500,
            (true, false) => 90,
            (false, _) => 25,
        };
        if many > 90 || self.rng.chance(30) {
            self.clients[index].asleep_until = self.now.micros + 30_000_000;
        }
        if many > 90 && self.rng.chance(85) {
            (0..2 * many).for_each(|_| self.ping(index, &[b'x'; 125]));
        } else {
            (0..many).for_each(|_| self.say(index, "{"));
        }
        self.leave(index, true);
    }

    fn refresh(&mut self, index: usize) {
        let before = self.clients[index].expires_ms;
        // Where rates hold, one may be refused for its rate, and its client cannot tell which.
        if self.config.unlimited && !self.clients[index].narrow && self.rng.chance(95) {
            self.counts.count(Kind::TokenNarrowed);
            self.clients[index].narrow = true;
        }
        let token = self.token(index);
        // One that lives shorter takes over too; what is checked is that none lives longer than the longer.
        self.clients[index].expires_ms = self.clients[index].expires_ms.max(before);
        self.clients[index].refreshed = true;
        self.counts.count(Kind::TokenRefreshed);
        self.say(index, &format!(r#"{{"type":"auth","token":"{token}"}}"#));
    }

    fn pad(&mut self) -> String {
        let len = match self.rng.below(100) {
            0..=1 => self.rng.within(1_000..=6_000),
            2 if self.rng.chance(10) => self.rng.within(20_000..=60_000),
            _ => self.rng.below(300),
        };
        "x".repeat(len)
    }

    /// Several events in one message, and something among them that is none.
    fn batch(&mut self, index: usize) {
        let mut messages: Vec<String> = (0..self.rng.within(1..=12)).filter_map(|_| self.event(index)).collect();
        messages.insert(self.rng.below(messages.len() + 1), "7".to_owned());
        let text = format!(r#"{{"type":"batch","payload":{{"messages":[{}]}}}}"#, messages.join(","));
        if text.len() > MESSAGE_BYTES_MAX {
            return messages.iter().for_each(|message| self.say(index, message));
        }
        self.counts.count(Kind::Batch);
        self.say(index, &text);
    }

    fn publish(&mut self, index: usize) {
        if let Some(message) = self.event(index) {
            self.say(index, &message);
        }
    }

    /// An event for a channel, in one of the three forms.
    fn event(&mut self, index: usize) -> Option<String> {
        let client = &self.clients[index];
        let (user, serial, own) = (client.user.clone(), client.serial, client.own.clone());
        let name = match own {
            Some(own) if self.rng.chance(70) => own,
            _ => self.channel_name(index, false),
        };
        let channel = own_name(&name, &user);
        let may = !(channel == "general" && index != 0);
        if channel == "general" && !(may || self.rng.chance(20)) {
            return None;
        }
        let ids_left = self.ledger.ids(&channel) < 400;
        let id = (may && ids_left && self.rng.chance(60)).then(|| format!("op-{}-{}", index, self.ledger.ops.len()));
        let exclude = id.is_some() && self.rng.chance(15);
        let ack = exclude || self.rng.chance(60);
        let pad = self.pad();
        let number = self.ledger.add(Op::new(&user, &channel, id.clone(), exclude, serial, self.now.micros));
        let text = Ledger::text(number, &pad);
        let id_field = id.as_ref().map_or_else(String::new, |id| format!(r#""id":"{id}","#));
        let exclude_field = if exclude { r#""exclude_sender":true,"# } else { "" };
        let head = format!(r#"{id_field}{exclude_field}"ack":{ack}"#);
        let form = if self.rng.chance(40) { 2 } else { usize::from(channel.starts_with("trip:")) };
        let message = match form {
            _ if channel == "general" => publish_text(&head, &name, &text),
            0 => format!(r#"{{"type":"chat_message",{head},"channel":"{name}","content":"{text}"}}"#),
            1 => format!(
                r#"{{"type":"trip_update",{head},"channel":"{name}","payload":{{"field":"budget.total","value":"{text}"}}}}"#
            ),
            _ => publish_text(&head, &name, &text),
        };
        self.counts.count([Kind::Chat, Kind::TripUpdate, Kind::Publish][if channel == "general" { 2 } else { form }]);
        self.counts.add(Kind::Excluded, u64::from(exclude));
        self.ledger.ops[number].message.clone_from(&message);
        if let Some(id) = id.filter(|_| ack) {
            *self.clients[index].awaited.entry(id).or_default() += 1;
        }
        Some(message)
    }

    /// An operation of the same user once more, or its id with another content.
    fn send_again(&mut self, index: usize) {
        let (user, serial) = (self.clients[index].user.clone(), self.clients[index].serial);
        let now = self.now.micros;
        let recent = |op: &Op| op.user == user && op.id.is_some() && now - op.sent_micros < 200_000_000;
        let candidates: Vec<usize> =
            (0..self.ledger.ops.len()).rev().filter(|number| recent(&self.ledger.ops[*number])).take(20).collect();
        if candidates.is_empty() {
            return;
        }
        let number = self.rng.pick(&candidates);
        let reuse = self.rng.chance(25);
        let op = &mut self.ledger.ops[number];
        let (id, mut message) = (op.id.clone().unwrap_or_default(), op.message.clone());
        if reuse {
            let mut other = Op::new(&op.user, &op.channel, op.id.clone(), op.exclude, serial, now);
            let old = message_text(&message).to_owned();
            let text = Ledger::text(self.ledger.ops.len(), "reused");
            message = message.replace(&old, &text);
            other.message.clone_from(&message);
            self.ledger.add(other);
        } else if !op.serials.contains(&serial) {
            op.serials.push(serial);
        }
        if message.contains(r#""ack":true"#) {
            *self.clients[index].awaited.entry(id).or_default() += 1;
        }
        self.say(index, &message);
    }

    fn note_churn(&mut self) {
        if self.hosts.iter().any(|host| host.busy) {
            self.counts.count(Kind::ChurnInPass);
        }
    }

    fn join(&mut self, index: usize) {
        let name = if self.rng.chance(8) { "user:somebody-else".to_owned() } else { self.channel_name(index, true) };
        let channel = own_name(&name, &self.clients[index].user);
        if self.clients[index].part(&channel).ask.is_some() {
            return;
        }
        self.note_churn();
        let (position, truthful) = self.position(index, &channel);
        let text = subscribe_text(&name, None, position.as_ref());
        let after_leave = self.clients[index].part(&channel).leaving;
        self.clients[index].part(&channel).ask = Some(Ask { position, truthful, after_leave });
        self.clients[index].requests.push_back(vec![channel]);
        self.say(index, &text);
    }

    /// Leaves a channel; with a join right behind it if `again`.
    fn leave(&mut self, index: usize, again: bool) {
        let client = &self.clients[index];
        let joined =
            client.parts.iter().filter(|(_, part)| part.joined.is_some() && part.ask.is_none() && !part.leaving);
        let names: Vec<String> = joined.map(|(channel, _)| channel.clone()).collect();
        if names.is_empty() {
            return;
        }
        self.note_churn();
        let channel = names[self.rng.below(names.len())].clone();
        self.clients[index].part(&channel).leaving = true;
        if !again {
            // It is answered too, and names nothing that could be joined.
            self.clients[index].requests.push_back(Vec::new());
            return self.say(index, &format!(r#"{{"type":"unsubscribe","channels":["{channel}"]}}"#));
        }
        self.counts.count(Kind::LeaveAndJoin);
        let (position, truthful) = self.position(index, &channel);
        let text = subscribe_text(&channel, Some(&channel), position.as_ref());
        self.clients[index].part(&channel).ask = Some(Ask { position, truthful, after_leave: true });
        self.clients[index].requests.push_back(vec![channel]);
        self.say(index, &text);
    }
}

/// Capabilities that leave out every trip.
const NARROW: &str = r#"{"chat:*":["subscribe","publish","presence","history"],"notifications:*":["subscribe"],"agent:*":["subscribe"],"general":["subscribe","publish"]}"#;

/// What a service answers.
pub(crate) fn response_text(id: &str, echo: &str) -> String {
    format!(r#"{{"type":"response","payload":{{"id":"{id}","result":"{echo}"}}}}"#)
}

fn publish_text(head: &str, name: &str, text: &str) -> String {
    format!(
        r#"{{"type":"publish",{head},"payload":{{"channel":"{name}","type":"sim_note","payload":{{"text":"{text}"}}}}}}"#
    )
}

/// The text of an operation's message: the last string that has two colons.
fn message_text(message: &str) -> &str {
    message
        .split('"')
        .rev()
        .find(|part| part.matches(':').count() == 2 && part.as_bytes()[0].is_ascii_digit())
        .unwrap_or("")
}

fn subscribe_text(name: &str, leave: Option<&str>, position: Option<&Place>) -> String {
    let leave = leave.map_or_else(String::new, |leave| format!(r#","unsubscribe_channels":["{leave}"]"#));
    let since = position
        .map_or_else(String::new, |(epoch, seq)| format!(r#","since":{{"{name}":{{"epoch":"{epoch}","seq":{seq}}}}}"#));
    format!(r#"{{"type":"subscribe","channels":["{name}"]{leave}{since}}}"#)
}
