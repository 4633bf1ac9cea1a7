//! Connections come up and go down: connect, upgrade, authenticate, join; and every way to end.

use std::io;

use crate::adapter::{Step, Values};
use crate::clock::seconds;
use crate::connection::{self, Connection, Phase};
use crate::engine::{Engine, index};
use crate::frame;
use crate::limits::{CLOSING_DEADLINE_NS, REFUSAL_BYTES_MAX, REFUSALS_COUNT_MAX, RESPONSE_HEAD_BYTES_MAX, WAIT_NS_MAX};
use crate::scenario::Auth;
use crate::socket::{self, Interest};
use crate::stats::{Latency, Names};

/// The openings of one wave.
#[derive(Debug, Default)]
pub struct Opening {
    /// From connect to connected.
    pub connect: Latency,
    /// From the request to the response.
    pub upgrade: Latency,
    /// From the response to joined.
    pub join: Latency,
    /// From connect to joined.
    pub total: Latency,
    /// Connections ready.
    pub ready: usize,
    /// Those that failed, by reason.
    pub failures: Names,
    /// From the first connect to the last joined.
    pub took_ns: u64,
    wanted: usize,
    started: usize,
    in_flight: usize,
    ramp_from_ns: u64,
    ramp_started: usize,
}

impl Opening {
    /// Connections that are to be up in the end.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Connections on the way there.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }
}

impl Engine<'_> {
    /// Opens connections until the first `wanted` are up or have failed.
    ///
    /// # Errors
    /// The poll failed.
    pub fn open(&mut self, wanted: usize) -> io::Result<()> {
        let from = self.clock.now_ns();
        self.opening.wanted = wanted;
        self.opening.ramp_from_ns = from;
        self.opening.ramp_started = self.opening.started;
        let patience_ns = seconds(self.scenario.opening_s);
        let (mut progress, mut deadline) = (0, from + patience_ns);
        while (self.opening.started < wanted || self.opening.in_flight > 0) && !self.stopped() {
            let now = self.clock.now_ns();
            if self.opening.ready + self.opening.started > progress {
                progress = self.opening.ready + self.opening.started;
                deadline = now + patience_ns;
            }
            if now > deadline {
                for number in 0..self.connections.len() {
                    if self.connections[number].is_opening() {
                        let reason = format!("timed out {:?}", self.connections[number].phase).to_lowercase();
                        self.on_gone(number, &reason);
                    }
                }
                break;
            }
            self.turn(now + WAIT_NS_MAX / 10)?;
        }
        self.opening.took_ns = self.clock.now_ns().saturating_sub(from);
        Ok(())
    }

    /// Closes everything with a closing handshake; what does not end in time is cut.
    ///
    /// # Errors
    /// The poll failed.
    pub fn close_all(&mut self) -> io::Result<()> {
        self.publishing = false;
        for number in 0..self.connections.len() {
            if self.connections[number].fd.is_some() {
                self.connections[number].phase = Phase::Leaving;
                self.send_frame(number, frame::OPCODE_CLOSE, &1000u16.to_be_bytes());
            }
        }
        let deadline = self.clock.now_ns() + CLOSING_DEADLINE_NS;
        while self.connections.iter().any(|connection| connection.fd.is_some()) {
            let now = self.clock.now_ns();
            if now >= deadline {
                break;
            }
            self.turn((now + WAIT_NS_MAX).min(deadline))?;
        }
        for number in 0..self.connections.len() {
            if let Some(fd) = self.connections[number].fd.take() {
                socket::cut(fd);
            }
        }
        Ok(())
    }

    /// Forgets the ended connections, so that `open` brings up a second wave; returns the first one's record.
    pub fn reset(&mut self) -> Opening {
        for connection in &mut self.connections {
            *connection = Connection::new(connection.room, connection.member);
        }
        std::mem::take(&mut self.opening)
    }

    pub(super) fn step_opening(&mut self, now: u64) {
        let Opening { wanted, ramp_from_ns, ramp_started, .. } = self.opening;
        if self.opening.started >= wanted {
            return;
        }
        let since = now.saturating_sub(ramp_from_ns);
        let allowed = u128::from(since) * u128::from(self.scenario.ramp_per_s) / u128::from(seconds(1.0)) + 1;
        let allowed = ramp_started.saturating_add(usize::try_from(allowed).unwrap_or(usize::MAX));
        while self.opening.started < wanted.min(allowed) && self.opening.in_flight < self.scenario.connecting_max {
            let number = self.opening.started;
            self.opening.started += 1;
            self.opening.in_flight += 1;
            let connection = &mut self.connections[number];
            connection.phase = Phase::Connecting;
            connection.since_ns = self.clock.now_ns();
            connection.opened_ns = connection.since_ns;
            let fd = socket::connect(self.target.address, number)
                .and_then(|fd| self.poll.add(&fd, number, Interest::ReadWrite).map(|()| fd));
            match fd {
                Ok(fd) => connection.fd = Some(fd),
                Err(error) => self.on_gone(number, &error.kind().to_string()),
            }
        }
    }

    pub(super) fn on_connected(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        let Some(fd) = &connection.fd else { return };
        if let Err(error) = socket::connected(fd) {
            return self.on_gone(number, &error.kind().to_string());
        }
        if self.poll.change(fd, number, Interest::Read).is_err() {
            return self.on_gone(number, "poll error");
        }
        let now = self.clock.now_ns();
        self.opening.connect.record(now.saturating_sub(connection.since_ns));
        connection.since_ns = now;
        connection.phase = Phase::Upgrading;
        let adapter = self.groups[self.rooms[index(connection.room)].group].adapter;
        let request = self.with_values(number, |values| {
            connection::request(&adapter.open, &self.target.host, self.scenario.auth, values)
        });
        self.send(number, request.as_bytes());
    }

    /// Hands over what an adapter may name while a connection opens.
    fn with_values<T>(&self, number: usize, fill: impl FnOnce(&Values<'_>) -> T) -> T {
        let room = &self.rooms[index(self.connections[number].room)];
        let group = &self.scenario.group[room.group];
        let number_in_group = format!("{:05}", room.number);
        let channels: Vec<String> = group
            .channels
            .iter()
            .map(|channel| format!("\"{}\"", channel.replace("{room}", &number_in_group)))
            .collect();
        fill(&Values {
            room: &room.name,
            endpoint: &group.endpoint.replace("{room}", &number_in_group),
            token: self.token(number),
            channels: &channels.join(","),
            ..Values::default()
        })
    }

    /// Returns the bytes of the response's head once it is whole and good.
    pub(super) fn on_response(&mut self, number: usize, bytes: &[u8], now: u64) -> Option<usize> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n").map(|end| end + 4) else {
            if bytes.len() > RESPONSE_HEAD_BYTES_MAX {
                self.on_gone(number, "response head too long");
            }
            return None;
        };
        if let Err(reason) = connection::check_response(&bytes[..end]) {
            self.keep_refusal(bytes);
            self.on_gone(number, &reason);
            return None;
        }
        let connection = &mut self.connections[number];
        self.opening.upgrade.record(now.saturating_sub(connection.since_ns));
        connection.since_ns = now;
        connection.phase = Phase::Joining;
        self.read_version(number, &bytes[..end]);
        self.step_hello(number, now);
        Some(end)
    }

    /// Takes every step of the hello up to the next one that waits.
    pub(super) fn step_hello(&mut self, number: usize, now: u64) {
        let adapter = self.groups[self.rooms[index(self.connections[number].room)].group].adapter;
        loop {
            let connection = &mut self.connections[number];
            if connection.phase != Phase::Joining {
                return;
            }
            let Some(step) = adapter.hello.get(connection.hello_step) else { return self.on_joined(number, now) };
            let Step::Send { opcode, template } = step else { return };
            connection.hello_step += 1;
            if self.scenario.auth == Auth::Frame || !step.needs_token() {
                let text = self.with_values(number, |values| template.text(values));
                self.send_frame(number, *opcode, text.as_bytes());
            }
        }
    }

    pub(super) fn keep_refusal(&mut self, text: &[u8]) {
        if self.refusals.len() < REFUSALS_COUNT_MAX {
            let kept = &text[..text.len().min(REFUSAL_BYTES_MAX)];
            self.refusals.push(String::from_utf8_lossy(kept).into_owned());
        }
    }

    fn on_joined(&mut self, number: usize, now: u64) {
        let connection = &mut self.connections[number];
        self.opening.join.record(now.saturating_sub(connection.since_ns));
        self.opening.total.record(now.saturating_sub(connection.opened_ns));
        connection.phase = Phase::Ready;
        let (room, member) = (connection.room, connection.member);
        self.checker.on_joined(room, member);
        self.opening.in_flight -= 1;
        self.opening.ready += 1;
    }

    pub(super) fn on_close(&mut self, number: usize, code: Option<u16>) {
        let phase = self.connections[number].phase;
        if phase == Phase::Ready {
            let group = &self.scenario.group[self.rooms[index(self.connections[number].room)].group];
            if group.expect_close.is_some() && group.expect_close == code {
                self.closes_expected += 1;
                self.connections[number].phase = Phase::Leaving;
            }
        }
        // RFC 6455 section 5.5.1: a close is answered by a close; the server then ends the stream.
        if phase != Phase::Leaving {
            self.send_frame(number, frame::OPCODE_CLOSE, &code.unwrap_or(1000).to_be_bytes());
            let reason = code.map_or_else(|| "close without a code".to_owned(), |code| format!("close {code}"));
            self.on_gone(number, &reason);
        }
    }

    /// The connection is over; what that means depends on where it stood.
    pub(super) fn on_gone(&mut self, number: usize, reason: &str) {
        let connection = &mut self.connections[number];
        let phase = std::mem::replace(&mut connection.phase, Phase::Closed);
        if let Some(fd) = connection.fd.take() {
            socket::cut(fd);
        }
        connection.unsent = Vec::new();
        connection.partial = Vec::new();
        let (room, member) = (connection.room, connection.member);
        match phase {
            Phase::Connecting | Phase::Upgrading | Phase::Joining => {
                self.opening.in_flight -= 1;
                self.opening.failures.add(reason);
                self.checker.on_closed(room, member);
            }
            Phase::Ready => {
                self.opening.ready -= 1;
                self.closes.add(reason);
                self.checker.on_closed(room, member);
            }
            Phase::Waiting | Phase::Leaving | Phase::Closed => {}
        }
    }

    fn token(&self, number: usize) -> &str {
        self.tokens.get(number % self.tokens.len().max(1)).map_or("none", String::as_str)
    }
}
