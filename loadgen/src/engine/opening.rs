//! A connection comes up and goes down: connected, upgraded, authenticated, joined; and every way to end.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::adapter::{Step, Values};
use crate::connection::{self, Connection, Phase};
use crate::engine::{Engine, index};
use crate::frame;
use crate::limits::{REFUSAL_BYTES_MAX, REFUSALS_COUNT_MAX, RESPONSE_HEAD_BYTES_MAX, SLOW_READ_NS, SLOW_RETURN_NS};
use crate::scenario::Auth;
use crate::socket;

impl Engine<'_> {
    pub(super) fn on_connected(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        let Some(fd) = &connection.fd else { return };
        if let Err(error) = socket::connected(fd) {
            return self.on_gone(number, &error.kind().to_string());
        }
        let now = self.clock.now_ns();
        self.opening.connect.record(now.saturating_sub(connection.since_ns));
        connection.since_ns = now;
        connection.phase = Phase::Upgrading;
        self.watch(number);
        let adapter = self.groups[self.rooms[index(self.connections[number].room)].group].adapter;
        let request = self.with_values(number, |values| {
            connection::request(&adapter.open, &self.target.host, adapter.auth(self.scenario.auth), values)
        });
        self.send(number, request.as_bytes());
    }

    /// Hands over what an adapter may name while a connection opens.
    fn with_values<T>(&self, number: usize, fill: impl FnOnce(&Values<'_>) -> T) -> T {
        let room = &self.rooms[index(self.connections[number].room)];
        let group = &self.scenario.group[room.group];
        let token = self.token(number);
        let user = user_of(token);
        let channels = group.channels_of(room.number, &user);
        let channels: Vec<String> = channels.iter().map(|channel| format!("\"{channel}\"")).collect();
        let resume = self.resume_text(number, &room.name);
        fill(&Values {
            resume: &resume,
            room: &room.name,
            endpoint: &group.path_of(room.number, &user),
            user: &user,
            token,
            channels: &channels.join(","),
            ..Values::default()
        })
    }

    /// Where a connection that comes back was.
    fn resume_text(&self, number: usize, name: &str) -> String {
        let Connection { room, member, returning, whereabouts, .. } = &self.connections[number];
        let adapter = self.groups[self.rooms[index(*room)].group].adapter;
        let known = adapter.resume.as_ref().zip(whereabouts.as_ref()).filter(|_| *returning);
        let Some((resume, whereabouts)) = known else { return String::new() };
        let last = self.checker.server_seq(*room, *member).unwrap_or(0);
        let (channel, epoch) = (&whereabouts.channel, &whereabouts.epoch);
        resume.template.text(&Values { room: name, channel, epoch, last, ..Values::default() })
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
        let wave = self.is_opened(number);
        self.opening.ready += usize::from(wave);
        self.joined += 1;
        let connection = &mut self.connections[number];
        self.opening.join.record(now.saturating_sub(connection.since_ns));
        self.opening.total.record(now.saturating_sub(connection.opened_ns));
        connection.phase = Phase::Ready;
        let (room, member) = (connection.room, connection.member);
        if connection.returning {
            self.on_returned(number, now);
        }
        self.checker.on_joined(room, member);
        self.answers.on_joined(number);
        let connection = &mut self.connections[number];
        if connection.slow {
            connection.read_at_ns = now + SLOW_READ_NS;
            self.slow_reads.push_back((connection.read_at_ns, number));
            self.watch(number);
        }
        self.start_closed(number);
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
        match phase {
            Phase::Connecting | Phase::Upgrading | Phase::Joining => {
                self.is_opened(number);
                self.opening.failures.add(reason);
                if std::mem::take(&mut self.connections[number].returning) {
                    self.on_unrecovered(number, reason);
                    // That it did not come back is told once.
                    let Connection { room, member, .. } = self.connections[number];
                    self.checker.on_closed(room, member);
                }
            }
            Phase::Ready => {
                self.joined -= 1;
                if self.connections[number].behind > 0 {
                    self.on_unrecovered(number, reason);
                }
                self.leave_room(number);
                if self.connections[number].slow {
                    self.slow.closes.add(reason);
                    self.come_back(number, self.clock.now_ns() + SLOW_RETURN_NS);
                } else {
                    self.closes.add(reason);
                }
            }
            Phase::Waiting | Phase::Leaving | Phase::Closed => {}
        }
    }

    /// Nothing more is owed to a member, and nobody waits for it.
    pub(super) fn leave_room(&mut self, number: usize) {
        let Connection { room, member, .. } = self.connections[number];
        self.stop_waiting(room, member);
        self.checker.on_closed(room, member);
        self.answers.on_closed(number);
    }

    fn token(&self, number: usize) -> &str {
        let room = &self.rooms[index(self.connections[number].room)];
        let of = if self.scenario.group[room.group].one_user { room.first_of_run } else { self.global(number) };
        self.tokens.get(index(of) % self.tokens.len().max(1)).map_or("none", String::as_str)
    }
}

/// The user that a JSON Web Token names; of anything else the whole of it, as a server without tokens would take it.
fn user_of(token: &str) -> String {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = claims.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let user = claims.as_ref().and_then(|claims| claims.get("sub")?.as_str());
    user.unwrap_or(token).to_owned()
}

#[cfg(test)]
mod tests {
    use super::user_of;

    #[test]
    fn the_user_is_whom_the_token_names() {
        // {"sub":"load-17","exp":1}, between two parts that are not looked at.
        assert_eq!(user_of("e30.eyJzdWIiOiJsb2FkLTE3IiwiZXhwIjoxfQ.x"), "load-17");
        for token in ["none", "a.b", "a.!!.c", "e30.e30.x", "e30.eyJzdWIiOjF9.x"] {
            assert_eq!(user_of(token), token);
        }
    }
}
