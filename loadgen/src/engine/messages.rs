//! What came: a frame's payload is one message or several, a message holds deliveries or is about something else.

use crate::adapter::{Control, Step};
use crate::connection::{Connection, Phase};
use crate::engine::{Engine, index};
use crate::frame;
use crate::limits::HELLO_MESSAGES_MAX;
use crate::marker::{MARKER_BYTES, SENTINEL};

impl Engine<'_> {
    /// The payload of a text or binary frame.
    pub(super) fn on_messages(&mut self, number: usize, opcode: u8, payload: &[u8], now: u64) {
        let adapter = self.groups[self.rooms[index(self.connections[number].room)].group].adapter;
        if opcode == frame::OPCODE_BINARY && !adapter.deliver.binary {
            return self.protocol_faults.add("binary");
        }
        let Some(separator) = &adapter.deliver.separator else {
            return self.on_message(number, opcode, payload, now);
        };
        let mut from = 0;
        for end in separator.find_iter(payload).chain(std::iter::once(payload.len())) {
            // A message may end the connection; what stands behind it is not looked at.
            if end > from && self.connections[number].fd.is_some() {
                self.on_message(number, opcode, &payload[from..end], now);
            }
            from = end + separator.needle().len();
        }
    }

    fn on_message(&mut self, number: usize, opcode: u8, text: &[u8], now: u64) {
        // Messages of a room have heads of one length, so the marker mostly stands where it stood last.
        let group = &mut self.groups[self.rooms[index(self.connections[number].room)].group];
        let asks = group.outgoing.iter().any(|kind| kind.book.is_some());
        // An answer may hold publishes behind its own body, and one of them may stand there by chance.
        let first = if !asks && text.get(group.marker_at..).is_some_and(|rest| rest.starts_with(SENTINEL)) {
            Some(group.marker_at)
        } else {
            self.finder.find(text).inspect(|&at| group.marker_at = at)
        };
        let Some(mut at) = first else { return self.on_control(number, opcode, text, now) };
        if asks && self.on_answer(number, text, at, now) {
            return;
        }
        let (mut from, mut before) = (0, None);
        loop {
            from = self.on_delivery(number, text, from..at, &mut before, now);
            if text.len() - from < MARKER_BYTES {
                return;
            }
            let Some(next) = self.finder.find(&text[from..]) else { return };
            at = from + next;
        }
    }

    /// A message that is no delivery.
    fn on_control(&mut self, number: usize, opcode: u8, text: &[u8], now: u64) {
        let Connection { room, member, phase, slow, .. } = self.connections[number];
        let adapter = self.groups[self.rooms[index(room)].group].adapter;
        if let Some(asked) = adapter.keepalive.iter().find(|asked| asked.text == text) {
            return self.send_frame(number, opcode, &asked.answer);
        }
        let start = adapter.seq.as_ref().and_then(|seq| seq.read_start(text));
        if let Some(seq) = start {
            self.on_entered(number, text, seq);
        }
        let awaited = phase == Phase::Joining && self.on_hello(number, text, now);
        if awaited || start.is_some() || self.connections[number].fd.is_none() {
            return;
        }
        match adapter.events.name(text) {
            Control::Ignored => {}
            Control::Refused => {
                self.keep_refusal(text);
                if phase == Phase::Joining {
                    self.on_gone(number, "refused");
                } else {
                    self.protocol_faults.add("refused");
                }
            }
            Control::Event(kind) if slow => self.slow.events.add(kind),
            Control::Event(kind) => {
                self.events.add(kind);
                if adapter.events.keep.iter().any(|kept| kept == kind) {
                    self.keep_refusal(text);
                }
                if let Some(seq) = adapter.seq.as_ref().and_then(|pattern| pattern.read(text, &mut 0)) {
                    self.checker.on_server_seq(room, member, seq);
                }
            }
        }
    }

    /// The server said where a room is entered, or that what was missed follows.
    fn on_entered(&mut self, number: usize, text: &[u8], seq: Option<u64>) {
        let connection = &mut self.connections[number];
        let Connection { room, member, returning, .. } = *connection;
        let adapter = self.groups[self.rooms[index(room)].group].adapter;
        let kept = self.resumes || self.groups[self.rooms[index(room)].group].names_channel;
        if let Some(resume) = adapter.resume.as_ref().filter(|_| kept) {
            connection.whereabouts = Some(Box::new(resume.read(text)));
            if returning && resume.is_resumed(text) {
                return;
            }
        }
        if returning {
            connection.returning = false;
            self.protocol_faults.add("not resumed");
            let reason = adapter.resume.as_ref().map(|resume| resume.why_not(text)).unwrap_or_default();
            self.on_unrecovered(number, if reason.is_empty() { "no reason told" } else { &reason });
            // What it missed is gone; from here on it is owed what comes.
            self.checker.on_closed(room, member);
        }
        if let Some(seq) = seq {
            self.checker.on_subscribed(room, member, seq);
        }
    }

    /// Goes on with the hello if this is what it waits for.
    fn on_hello(&mut self, number: usize, text: &[u8], now: u64) -> bool {
        self.read_version(number, text);
        let connection = &mut self.connections[number];
        let adapter = self.groups[self.rooms[index(connection.room)].group].adapter;
        let Some(Step::Wait(fragment)) = adapter.hello.get(connection.hello_step) else { return false };
        if fragment.find(text).is_some() {
            (connection.hello_step, connection.hello_waited) = (connection.hello_step + 1, 0);
            self.step_hello(number, now);
            return true;
        }
        connection.hello_waited += 1;
        if connection.hello_waited > HELLO_MESSAGES_MAX {
            let step = connection.hello_step + 1;
            self.on_gone(number, &format!("hello step {step} never came"));
        }
        false
    }

    /// Looks for the server's version, once.
    pub(super) fn read_version(&mut self, number: usize, text: &[u8]) {
        let adapter = self.groups[self.rooms[index(self.connections[number].room)].group].adapter;
        if self.server_version.is_none()
            && let Some(pattern) = &adapter.version
        {
            self.server_version = pattern.read(text);
        }
    }
}
