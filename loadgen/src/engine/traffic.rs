//! Publishes go out, deliveries come in and are booked.

use std::ops::Range;

use crate::adapter::{self, Adapter, Delivered, Outgoing, Values};
use crate::checker::{Promise, Verdict};
use crate::clock::seconds;
use crate::connection::{Connection, Phase};
use crate::engine::{Engine, index};
use crate::frame;
use crate::limits::{JSON_SAMPLE_EVERY, SENDS_PER_TURN, UNSENT_BYTES_MAX};
use crate::marker::{Marker, SENTINEL};
use crate::scenario::{Group, Mode};
use crate::schedule::Schedule;
use crate::stats::Latency;

/// What one group sent and got.
#[derive(Debug)]
pub struct GroupTraffic<'a> {
    /// Delivery minus intended send, of publishes intended in the measured time.
    pub corrected: Latency,
    /// Delivery minus actual send.
    pub uncorrected: Latency,
    /// Actual minus intended send.
    pub lateness: Latency,
    /// Publishes sent, warm-up included.
    pub published: u64,
    /// Deliveries had, warm-up included.
    pub delivered: u64,
    /// Bytes of the messages of those deliveries, frame heads not counted.
    pub delivered_bytes: u64,
    /// Publishes sent in the measured time.
    pub window_published: u64,
    /// Deliveries had in the measured time.
    pub window_delivered: u64,
    /// Publishes not sent, because the socket was full for too long or not open.
    pub blocked: u64,
    /// Where the marker stood in the group's last delivery.
    pub(super) marker_at: usize,
    /// Where the key of the sequence number stood in it.
    seq_at: usize,
    schedule: Option<Schedule>,
    /// Who speaks this group's kinds.
    pub(super) adapter: &'a Adapter,
    /// What is published, by kind.
    pub(super) outgoing: Vec<Outgoing<'a>>,
    /// The same for each kind of a mix; empty for a group of one kind.
    pub kinds: Vec<KindTraffic>,
}

/// What one kind of a mix came to.
#[derive(Debug, Default)]
pub struct KindTraffic {
    /// Publishes sent, warm-up included.
    pub published: u64,
    /// Deliveries had, warm-up included.
    pub delivered: u64,
    /// Delivery minus intended send, of publishes intended in the measured time.
    pub corrected: Latency,
}

impl<'a> GroupTraffic<'a> {
    pub(super) fn new(group: &Group, adapter: &'a Adapter) -> Result<Self, String> {
        let adapter = adapter.of(group)?;
        Ok(Self {
            corrected: Latency::new(),
            uncorrected: Latency::new(),
            lateness: Latency::new(),
            published: 0,
            delivered: 0,
            delivered_bytes: 0,
            window_published: 0,
            window_delivered: 0,
            blocked: 0,
            marker_at: 0,
            seq_at: 0,
            schedule: None,
            adapter,
            outgoing: adapter.outgoing(group)?,
            kinds: group.mix.iter().map(|_| KindTraffic::default()).collect(),
        })
    }

    /// What the server promises of these rooms.
    pub(super) fn promise(&self) -> Promise {
        let to_sender = |kind: &Outgoing<'_>| kind.delivered != Delivered::Every || kind.to_sender;
        Promise { to_sender: self.outgoing.iter().all(to_sender), order: self.adapter.deliver.order }
    }
}

impl Engine<'_> {
    /// Starts publishing at `start_ns`; what is intended in `window_ns` is measured; ends with the window.
    pub fn start_traffic(&mut self, start_ns: u64, window_ns: (u64, u64)) {
        self.publishing = true;
        self.window_ns = window_ns;
        self.end_ns = window_ns.1;
        for group_index in 0..self.groups.len() {
            let group = &self.scenario.group[group_index];
            let publishers = self.publishers(group_index);
            match group.mode {
                Mode::Open if group.rate > 0.0 => {
                    let interval_ns = seconds(1.0 / group.rate).max(1);
                    let rounds_max = group.messages.unwrap_or(u64::MAX);
                    let schedule = Schedule::new(&publishers, interval_ns, start_ns, self.end_ns, rounds_max);
                    self.groups[group_index].schedule = Some(schedule);
                }
                Mode::Open => {}
                Mode::Closed => {
                    let held = if group.stagger { group.outstanding / 2 } else { 0 };
                    for publisher in publishers {
                        self.owe(index(publisher), group.outstanding - held);
                        self.connections[index(publisher)].publishes_held = held;
                    }
                }
            }
        }
    }

    /// Opens or shuts the measured time; returns deliveries in it so far.
    pub fn set_window(&mut self, open: bool) -> u64 {
        self.window_open = open;
        self.groups.iter().map(|group| group.window_delivered).sum()
    }

    /// Ends publishing, whatever is still due.
    pub fn stop_traffic(&mut self) {
        self.publishing = false;
        for group in &mut self.groups {
            group.schedule = None;
        }
    }

    /// Whether deliveries or refusals are still to come.
    #[must_use]
    pub fn unsettled(&self) -> bool {
        let refusals = self.scenario.group.iter().filter(|group| group.expect_close.is_some());
        let refusals: usize = refusals.map(Group::connections_count).sum();
        self.checker.pending() > 0 || self.closes_expected < u64::try_from(refusals).unwrap_or(0)
    }

    fn publishers(&self, group: usize) -> Vec<u32> {
        let rooms = self.rooms.iter().filter(|room| room.group == group);
        let numbers = rooms.flat_map(|room| room.first..room.first + index(room.shape.publishers));
        numbers.map(|number| u32::try_from(number).unwrap_or(u32::MAX)).collect()
    }

    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.groups.iter().filter_map(|group| group.schedule.as_ref()?.next_ns()).min()
    }

    pub(super) fn send_due(&mut self) {
        if !self.publishing {
            return;
        }
        for group in 0..self.groups.len() {
            for _ in 0..SENDS_PER_TURN {
                let now = self.clock.now_ns();
                let due = self.groups[group].schedule.as_mut().and_then(|schedule| schedule.take_due(now));
                let Some((publisher, intended_ns)) = due else { break };
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                self.publish(index(publisher), Some(intended_ns), &mut scratch);
                self.send(index(publisher), &scratch);
                self.scratch = scratch;
            }
        }
    }

    fn owe(&mut self, number: usize, publishes: u32) {
        let owed = &mut self.connections[number].publishes_owed;
        if *owed == 0 {
            self.owing.push(number);
        }
        *owed += publishes;
    }

    /// Closed loop: one send for everything a connection may publish now.
    pub(super) fn send_owed(&mut self) {
        if self.owing.is_empty() {
            return;
        }
        let mut owing = std::mem::take(&mut self.owing);
        for number in owing.drain(..) {
            let publishes = std::mem::take(&mut self.connections[number].publishes_owed);
            if !self.publishing || self.clock.now_ns() >= self.end_ns {
                continue;
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            for _ in 0..publishes {
                self.publish(number, None, &mut scratch);
            }
            self.send(number, &scratch);
            self.scratch = scratch;
        }
        self.owing = owing;
    }

    /// Appends one publish to `out`. Without an intended time it is now.
    fn publish(&mut self, number: usize, intended_ns: Option<u64>, out: &mut Vec<u8>) {
        let connection = &mut self.connections[number];
        let (room_number, member) = (connection.room, connection.member);
        let room = &self.rooms[index(room_number)];
        let group = &self.scenario.group[room.group];
        let traffic = &mut self.groups[room.group];
        if connection.phase != Phase::Ready || connection.unsent.len() > UNSENT_BYTES_MAX {
            traffic.blocked += 1;
            return;
        }
        if group.mode == Mode::Closed && group.messages.is_some_and(|most| u64::from(connection.sent) >= most) {
            return;
        }
        connection.sent += 1;
        let publisher = u32::try_from(number).unwrap_or(u32::MAX);
        let kind = adapter::pick(&traffic.outgoing, self.seed, publisher, connection.sent);
        let Outgoing { template, opcode, body_bytes, delivered, .. } = traffic.outgoing[kind];
        let seq = match delivered {
            // A publish that the server must refuse is owed to nobody.
            _ if group.expect_close.is_some() => 1,
            Delivered::Every => self.checker.publish(room_number, member),
            Delivered::Some => self.checker.publish_loose(room_number, member),
            Delivered::None => connection.sent,
        };
        let actual_ns = self.clock.now_ns();
        let intended_ns = intended_ns.unwrap_or(actual_ns);
        traffic.published += 1;
        traffic.window_published += u64::from(self.window_open);
        if let Some(traffic) = traffic.kinds.get_mut(kind) {
            traffic.published += 1;
        }
        let lateness_ns = (group.mode == Mode::Open).then(|| actual_ns.saturating_sub(intended_ns));
        self.recorder.on_publish(lateness_ns);
        if let Some(lateness_ns) = lateness_ns
            && (self.window_ns.0..self.window_ns.1).contains(&intended_ns)
        {
            traffic.lateness.record(lateness_ns);
        }
        if group.mode == Mode::Closed {
            let slot = room.lacking_at + index(member * group.outstanding + seq % group.outstanding);
            self.lacking[slot] = self.checker.receivers(room_number, member);
        }
        let kind_digit = u8::try_from(kind).unwrap_or(u8::MAX);
        let marker = Marker { kind: kind_digit, room: room_number, publisher, seq, intended_ns, actual_ns };
        let values = Values { room: &room.name, publisher, seq, body_bytes, ..Values::default() };
        frame::encode(opcode, template.bytes(&values), self.masks.next_key(), out, |out| {
            template.fill(&values, out, |body| marker.encode(body));
        });
    }

    /// Books the delivery whose body begins at the end of `head`, a part of `text`, behind `before` in the same message;
    /// returns the body's end.
    pub(super) fn on_delivery(
        &mut self,
        number: usize,
        text: &[u8],
        head: Range<usize>,
        before: &mut Option<Marker>,
        now: u64,
    ) -> usize {
        let Connection { room: room_number, member, .. } = self.connections[number];
        let room = &self.rooms[index(room_number)];
        let traffic = &mut self.groups[room.group];
        let adapter = traffic.adapter;
        let at = head.end;
        // The number counts whatever became of the body, so that one fault has one name.
        if let Some(seq) = adapter.seq.as_ref().and_then(|pattern| pattern.read(&text[head], &mut traffic.seq_at)) {
            self.checker.on_server_seq(room_number, member, seq);
        }
        let marker = Marker::decode(&text[at..]).ok();
        let Some((marker, bytes)) = marker.filter(|(_, bytes)| adapter.deliver.is_end(text, at, at + bytes)) else {
            self.checker.on_corrupt();
            return at + SENTINEL.len();
        };
        let end = at + bytes;
        if before.replace(marker) == Some(marker) && adapter.deliver.repeats {
            return end;
        }
        self.deliveries_count += 1;
        if self.deliveries_count.is_multiple_of(JSON_SAMPLE_EVERY)
            && adapter.deliver.json
            && !serde_json::from_slice(text).is_ok_and(|value| holds_string(&value, &text[at..end]))
        {
            self.checker.on_bad_json();
        }
        self.book(number, &marker, text.len(), now);
        end
    }

    /// Books a publish that came whole, in a message of so many bytes.
    fn book(&mut self, number: usize, marker: &Marker, message_bytes: usize, now: u64) {
        let Connection { room: room_number, member, .. } = self.connections[number];
        let room = &self.rooms[index(room_number)];
        let group = &self.scenario.group[room.group];
        let first = u32::try_from(room.first).unwrap_or(u32::MAX);
        let publisher = marker.publisher.wrapping_sub(first);
        if marker.room != room_number || publisher >= room.shape.publishers {
            return self.checker.on_wrong_room();
        }
        let kind = usize::from(marker.kind);
        let verdict = match self.groups[room.group].outgoing.get(kind).map(|kind| kind.delivered) {
            Some(Delivered::Every) => self.checker.deliver(room_number, member, publisher, marker.seq),
            Some(Delivered::Some) => self.checker.deliver_loose(room_number, member, publisher, marker.seq),
            Some(Delivered::None) => return self.protocol_faults.add("delivery of what is delivered to nobody"),
            // The hash was right, so it is somebody's, but not of this run.
            None => return self.checker.on_corrupt(),
        };
        if verdict == Verdict::Faulty {
            return;
        }
        let traffic = &mut self.groups[room.group];
        traffic.delivered += 1;
        if let Some(kind) = traffic.kinds.get_mut(kind) {
            kind.delivered += 1;
        }
        traffic.delivered_bytes += u64::try_from(message_bytes).unwrap_or(0);
        traffic.window_delivered += u64::from(self.window_open);
        let measured = (self.window_ns.0..self.window_ns.1).contains(&marker.intended_ns);
        let latency_ns = now.saturating_sub(marker.intended_ns);
        // In the closed loop what is sent was intended then.
        let uncorrected_ns = (group.mode == Mode::Open).then(|| now.saturating_sub(marker.actual_ns));
        self.recorder.on_delivery(message_bytes, measured, latency_ns, uncorrected_ns);
        if measured {
            traffic.corrected.record(latency_ns);
            if let Some(kind) = traffic.kinds.get_mut(kind) {
                kind.corrected.record(latency_ns);
            }
            if let Some(uncorrected_ns) = uncorrected_ns {
                traffic.uncorrected.record(uncorrected_ns);
            }
        }
        if group.mode == Mode::Closed {
            let slot = room.lacking_at + index(publisher * group.outstanding + marker.seq % group.outstanding);
            self.lacking[slot] = self.lacking[slot].saturating_sub(1);
            let whole = u32::from(self.lacking[slot] == 0);
            let held = std::mem::take(&mut self.connections[index(marker.publisher)].publishes_held);
            if whole + held > 0 {
                self.owe(index(marker.publisher), whole + held);
            }
        }
    }
}

/// Whether a JSON value holds exactly this string somewhere.
fn holds_string(value: &serde_json::Value, body: &[u8]) -> bool {
    match value {
        serde_json::Value::String(text) => text.as_bytes() == body,
        serde_json::Value::Array(items) => items.iter().any(|item| holds_string(item, body)),
        serde_json::Value::Object(fields) => fields.values().any(|item| holds_string(item, body)),
        _ => false,
    }
}
