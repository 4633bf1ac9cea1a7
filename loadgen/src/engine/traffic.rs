//! Publishes go out, deliveries come in and are booked.

use std::collections::VecDeque;
use std::ops::Range;

use crate::adapter::{self, Adapter, Batch, Delivered, Outgoing, Values};
use crate::checker::{Promise, Verdict};
use crate::clock::seconds;
use crate::connection::{Connection, Phase};
use crate::course::StepPhase;
use crate::engine::closed::Due;
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
    /// Publishes sent, whenever.
    pub published: u64,
    /// Deliveries had, whenever.
    pub delivered: u64,
    /// Those of them that a member had missed and got when it came back.
    pub replayed: u64,
    /// Bytes of the messages of those deliveries, frame heads not counted.
    pub delivered_bytes: u64,
    /// Publishes not sent, because the socket was full for too long or not open.
    pub blocked: u64,
    /// Publishes not sent, because the phase had not opened the publisher or had cut it.
    pub absent: u64,
    /// Where the marker stood in the group's last delivery.
    pub(super) marker_at: usize,
    /// Where the key of the sequence number stood in it.
    seq_at: usize,
    /// The present phase's times, behind those of phases that are over and not all sent.
    schedules: VecDeque<Schedule>,
    /// Who speaks this group's kinds.
    pub(super) adapter: &'a Adapter,
    /// What is published, by kind.
    pub(crate) outgoing: Vec<Outgoing<'a>>,
    /// The same for each kind of a mix, and of questions; empty for a group of one kind that is delivered.
    pub kinds: Vec<KindTraffic>,
    /// Where those stand among the kinds of all groups.
    pub(super) kinds_at: usize,
    /// Whether what a connection says names the channel, or how far it has read there.
    pub(super) names_channel: bool,
}

/// What one kind of a mix came to.
#[derive(Debug, Default)]
pub struct KindTraffic {
    /// Publishes sent, whenever.
    pub published: u64,
    /// Deliveries had, or answers, whenever.
    pub delivered: u64,
    /// Delivery or answer minus intended send, of publishes intended in measured phases.
    pub corrected: Latency,
}

/// What one group sent and got in one phase.
#[derive(Debug)]
pub struct Traffic {
    /// Delivery minus intended send, of publishes intended in the phase.
    pub corrected: Latency,
    /// Delivery minus actual send, of the same.
    pub uncorrected: Latency,
    /// Actual minus intended send, of the same.
    pub lateness: Latency,
    /// Publishes sent while the phase went on.
    pub published: u64,
    /// Deliveries had while it went on.
    pub delivered: u64,
}

/// One phase.
#[derive(Debug)]
pub struct PhaseTraffic {
    /// Its name.
    pub name: String,
    /// Whether it counts for the groups' latencies.
    pub measured: bool,
    /// Its beginning on the run's clock.
    pub from_ns: u64,
    /// Its end; far away while nobody knows it.
    pub end_ns: u64,
    /// By group.
    pub groups: Vec<Traffic>,
}

impl<'a> GroupTraffic<'a> {
    pub(super) fn new(group: &Group, adapter: &'a Adapter, kinds_at: usize) -> Result<Self, String> {
        let adapter = adapter.of(group)?;
        let outgoing = adapter.outgoing(group)?;
        let apart = !group.mix.is_empty() || outgoing.iter().any(|kind| kind.book.is_some());
        let kinds = outgoing.iter().filter(|_| apart).map(|_| KindTraffic::default()).collect();
        let named = outgoing.iter().any(|kind| kind.template.has_channel());
        Ok(Self {
            published: 0,
            delivered: 0,
            replayed: 0,
            delivered_bytes: 0,
            blocked: 0,
            absent: 0,
            marker_at: 0,
            seq_at: 0,
            schedules: VecDeque::new(),
            adapter,
            outgoing,
            kinds,
            kinds_at,
            names_channel: named || group.acknowledge_every > 0,
        })
    }

    /// What the server promises of these rooms.
    pub(super) fn promise(&self) -> Promise {
        let to_sender = |kind: &Outgoing<'_>| kind.delivered != Delivered::Every || kind.to_sender;
        Promise { to_sender: self.outgoing.iter().all(to_sender), order: self.adapter.deliver.order }
    }
}

impl Traffic {
    fn new() -> Self {
        let (corrected, uncorrected, lateness) = (Latency::new(), Latency::new(), Latency::new());
        Self { corrected, uncorrected, lateness, published: 0, delivered: 0 }
    }
}

impl Engine<'_> {
    /// A phase begins at `from_ns`, and with it ends the one before.
    pub(crate) fn begin_phase(&mut self, phase: &StepPhase, (from_ns, end_ns): (u64, u64)) {
        let StepPhase { ref name, measured, factor, intends_ns } = *phase;
        self.end_phase(from_ns);
        self.storms.end(from_ns);
        let groups = std::iter::repeat_with(Traffic::new).take(self.groups.len()).collect();
        self.phases.push(PhaseTraffic { name: name.clone(), measured, from_ns, end_ns, groups });
        let first = !std::mem::replace(&mut self.publishing, true);
        self.end_ns = u64::MAX;
        for group_index in 0..self.groups.len() {
            let group = &self.scenario.group[group_index];
            let rate = group.rate * factor;
            let publishers = self.publishers(group_index);
            if group.mode == Mode::Open && rate > 0.0 {
                let interval_ns = seconds(1.0 / rate).max(1);
                let rounds_max = group.messages.unwrap_or(u64::MAX);
                let until_ns = end_ns.min(from_ns.saturating_add(intends_ns));
                let schedule = Schedule::new(&publishers, interval_ns, from_ns, until_ns, rounds_max);
                self.groups[group_index].schedules.push_back(schedule);
            } else if first {
                publishers.into_iter().for_each(|publisher| self.start_closed(index(publisher)));
            }
        }
    }

    /// Nothing more is intended from `end_ns` on; what was, and has not left, still does.
    fn end_phase(&mut self, end_ns: u64) {
        if let Some(last) = self.phases.last_mut() {
            last.end_ns = last.end_ns.min(end_ns);
        }
        for group in &mut self.groups {
            group.schedules.iter_mut().for_each(|schedule| schedule.end_at(end_ns));
            group.schedules.retain(|schedule| schedule.next_ns().is_some());
        }
    }

    /// Ends publishing at `end_ns`.
    pub fn stop_traffic(&mut self, end_ns: u64) {
        self.end_phase(end_ns);
        self.storms.end(end_ns);
        self.end_ns = end_ns;
    }

    /// Whether the last phase was measured; `None` if there was none.
    pub(crate) fn last_phase_measured(&self) -> Option<bool> {
        self.phases.last().map(|phase| phase.measured)
    }

    /// The phase that goes on now.
    fn phase(&mut self, now: u64) -> Option<&mut PhaseTraffic> {
        self.phases.last_mut().filter(|phase| now < phase.end_ns)
    }

    /// The phase that a publish was intended in.
    pub(super) fn phase_of(&mut self, intended_ns: u64) -> Option<&mut PhaseTraffic> {
        let last = self.phases.iter_mut().rev().find(|phase| phase.from_ns <= intended_ns);
        last.filter(|phase| intended_ns < phase.end_ns)
    }

    /// Whether deliveries or refusals are still to come.
    #[must_use]
    pub fn unsettled(&self) -> bool {
        let owed = self.checker.pending() + self.answers.pending();
        owed > 0 || self.closes_expected < self.refusals_expected() || self.next_due_ns().is_some()
    }

    /// Connections that the server must refuse.
    pub(crate) fn refusals_expected(&self) -> u64 {
        let refused = self.rooms.iter().filter(|room| self.scenario.group[room.group].expect_close.is_some());
        refused.map(|room| u64::from(room.shape.members)).sum()
    }

    fn publishers(&self, group: usize) -> Vec<u32> {
        let rooms = self.rooms.iter().filter(|room| room.group == group);
        let numbers = rooms.flat_map(|room| room.first..room.first + index(room.shape.publishers));
        numbers.map(|number| u32::try_from(number).unwrap_or(u32::MAX)).collect()
    }

    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.groups.iter().flat_map(|group| group.schedules.iter().find_map(Schedule::next_ns)).min()
    }

    pub(super) fn send_due(&mut self) {
        if !self.publishing {
            return;
        }
        for group in 0..self.groups.len() {
            for _ in 0..SENDS_PER_TURN {
                let now = self.clock.now_ns();
                let due = self.groups[group].schedules.iter_mut().find_map(|schedule| schedule.take_due(now));
                let Some((publisher, intended_ns)) = due else { break };
                if self.waits(index(publisher), intended_ns) {
                    continue;
                }
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                self.publish(index(publisher), Due::At(intended_ns), &mut scratch);
                self.send(index(publisher), &scratch);
                self.scratch = scratch;
            }
        }
    }

    /// Appends one publish to `out`.
    pub(super) fn publish(&mut self, number: usize, due: Due, out: &mut Vec<u8>) {
        let publisher = self.global(number);
        let connection = &mut self.connections[number];
        let room_number = connection.room;
        let group_index = self.rooms[index(room_number)].group;
        let group = &self.scenario.group[group_index];
        let traffic = &mut self.groups[group_index];
        match connection.phase {
            Phase::Ready if connection.unsent.len() <= UNSENT_BYTES_MAX => {}
            Phase::Ready | Phase::Leaving | Phase::Closed => return traffic.blocked += 1,
            _ => return traffic.absent += 1,
        }
        if group.messages.is_some_and(|most| u64::from(connection.sent) >= most) {
            return;
        }
        connection.sent += 1;
        let sent = connection.sent;
        let kind = adapter::pick(&traffic.outgoing, self.seed, publisher, sent);
        let actual_ns = self.clock.now_ns();
        let (intended_ns, lateness_ns) = match due {
            Due::Now => (actual_ns, None),
            Due::At(at_ns) => (at_ns, Some(actual_ns.saturating_sub(at_ns))),
            Due::Held(at_ns) => (at_ns, None),
        };
        let count = traffic.outgoing[kind].batch.map_or(1, |batch| batch.count);
        traffic.published += u64::from(count);
        if let Some(traffic) = traffic.kinds.get_mut(kind) {
            traffic.published += u64::from(count);
        }
        if let Some(phase) = self.phase(actual_ns) {
            phase.groups[group_index].published += u64::from(count);
        }
        if let Some((lateness_ns, phase)) = lateness_ns.zip(self.phase_of(intended_ns)) {
            phase.groups[group_index].lateness.record(lateness_ns);
        }
        let mut first = None;
        for _ in 0..count {
            self.recorder.on_publish(lateness_ns);
            let seq = self.number_of(number, kind);
            first.get_or_insert(seq);
        }
        let seq = first.unwrap_or(0);
        if self.scenario.group[group_index].limit().is_some() {
            self.expect(number, seq);
        }
        let kind_digit = u8::try_from(kind).unwrap_or(u8::MAX);
        let id = self.rooms[index(room_number)].id;
        let marker = Marker { kind: kind_digit, room: id, publisher, seq, intended_ns, actual_ns };
        self.write_publish(number, kind, &marker, out);
    }

    /// The number of a connection's next publish of a kind, booked as owed to whom it goes to.
    fn number_of(&mut self, number: usize, kind: usize) -> u32 {
        let Connection { room, member, sent, .. } = self.connections[number];
        let group = self.rooms[index(room)].group;
        let kind = &self.groups[group].outgoing[kind];
        match (kind.delivered, kind.book) {
            // A publish that the server must refuse is owed to nobody.
            _ if self.scenario.group[group].expect_close.is_some() => 1,
            (Delivered::Every, _) => self.checker.publish(room, member),
            (Delivered::Some, _) => self.checker.publish_loose(room, member),
            (Delivered::Sender, Some(book)) => self.answers.ask(book, number),
            (Delivered::Sender | Delivered::None, _) => sent,
        }
    }

    /// Appends the frame of a publish, or of several whose numbers follow `marker`'s.
    fn write_publish(&mut self, number: usize, kind: usize, marker: &Marker, out: &mut Vec<u8>) {
        let Connection { room, sent, ref whereabouts, .. } = self.connections[number];
        let room = &self.rooms[index(room)];
        let Outgoing { template, opcode, sizes, batch, .. } = &self.groups[room.group].outgoing[kind];
        let body_bytes = sizes.of(marker.publisher, sent);
        let channel = whereabouts.as_ref().map_or("", |whereabouts| whereabouts.channel.as_str());
        let publisher = marker.publisher;
        let values = |seq| Values { room: &room.name, channel, publisher, seq, body_bytes, ..Values::default() };
        let key = self.masks.next_key();
        let Some(Batch { count, before, between, after }) = batch else {
            let values = values(marker.seq);
            return frame::encode(*opcode, template.bytes(&values), key, out, |out| {
                template.fill(&values, out, |body| marker.encode(body));
            });
        };
        let numbers = marker.seq..marker.seq.saturating_add(*count);
        let around = before.len() + after.len() + between.len() * index(count.saturating_sub(1));
        let bytes = around + numbers.clone().map(|seq| template.bytes(&values(seq))).sum::<usize>();
        frame::encode(*opcode, bytes, key, out, |out| {
            out.extend_from_slice(before);
            for seq in numbers {
                if seq > marker.seq {
                    out.extend_from_slice(between);
                }
                template.fill(&values(seq), out, |body| Marker { seq, ..*marker }.encode(body));
            }
            out.extend_from_slice(after);
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
            self.checker.on_corrupt(room_number, member);
            return at + SENTINEL.len();
        };
        let end = at + bytes;
        if before.replace(marker) == Some(marker) && adapter.deliver.repeats {
            return end;
        }
        if self.is_sampled() && adapter.deliver.json && !is_json_with(text, &text[at..end]) {
            self.checker.on_bad_json(room_number, member);
        }
        self.book(number, &marker, text.len(), now);
        end
    }

    /// Whether what came is among those that a JSON parser reads as well.
    pub(super) fn is_sampled(&mut self) -> bool {
        self.deliveries_count += 1;
        self.deliveries_count.is_multiple_of(JSON_SAMPLE_EVERY)
    }

    /// A member that acknowledges has had one publish more.
    fn acknowledge(&mut self, number: usize) {
        let Connection { room: room_number, member, phase, .. } = self.connections[number];
        let room = &self.rooms[index(room_number)];
        let every = self.scenario.group[room.group].acknowledge_every;
        let connection = &mut self.connections[number];
        connection.unacknowledged += 1;
        if phase != Phase::Ready || connection.unacknowledged < every {
            return;
        }
        connection.unacknowledged = 0;
        let known = self.groups[room.group].adapter.acknowledge.as_ref().zip(connection.whereabouts.as_ref());
        let Some(((template, whereabouts), last)) = known.zip(self.checker.server_seq(room_number, member)) else {
            return self.protocol_faults.add("nothing to acknowledge by");
        };
        let (channel, epoch) = (whereabouts.channel.as_str(), whereabouts.epoch.as_str());
        let text = template.text(&Values { room: &room.name, channel, epoch, last, ..Values::default() });
        self.send_frame(number, frame::OPCODE_TEXT, text.as_bytes());
    }

    /// Books a publish that came whole, in a message of so many bytes.
    fn book(&mut self, number: usize, marker: &Marker, message_bytes: usize, now: u64) {
        let Connection { room: room_number, member, slow, .. } = self.connections[number];
        let room = &self.rooms[index(room_number)];
        let (group_index, group) = (room.group, &self.scenario.group[room.group]);
        let publisher = marker.publisher.wrapping_sub(room.first_of_run);
        if marker.room != room.id || publisher >= room.shape.publishers {
            return self.checker.on_wrong_room(room_number, member, marker.publisher, marker.seq);
        }
        let kind = usize::from(marker.kind);
        let verdict = match self.groups[room.group].outgoing.get(kind).map(|kind| kind.delivered) {
            Some(Delivered::Every) => self.checker.deliver(room_number, member, publisher, marker.seq),
            Some(Delivered::Some) => self.checker.deliver_loose(room_number, member, publisher, marker.seq),
            Some(Delivered::None) => return self.protocol_faults.add("delivery of what is delivered to nobody"),
            // The hash was right, so it is somebody's, but not of this run; an answer is told before.
            Some(Delivered::Sender) | None => return self.checker.on_corrupt(room_number, member),
        };
        if verdict == Verdict::Faulty {
            return;
        }
        if group.acknowledge_every > 0 {
            self.acknowledge(number);
        }
        if slow {
            // What it reads when all is over says nothing.
            self.slow.delivered += u64::from(self.connections[number].phase == Phase::Ready);
            return;
        }
        let traffic = &mut self.groups[group_index];
        traffic.delivered += 1;
        if let Some(kind) = traffic.kinds.get_mut(kind) {
            kind.delivered += 1;
        }
        traffic.delivered_bytes += u64::try_from(message_bytes).unwrap_or(0);
        if let Some(phase) = self.phase(now) {
            phase.groups[group_index].delivered += 1;
        }
        if self.is_replay(number, marker.actual_ns, now) {
            // How long it was away is no latency.
            self.groups[group_index].replayed += 1;
            return self.recorder.on_replay(message_bytes);
        }
        let latency_ns = now.saturating_sub(marker.intended_ns);
        // In the closed loop what is sent was intended then.
        let uncorrected_ns = (group.mode == Mode::Open).then(|| now.saturating_sub(marker.actual_ns));
        let mut measured = false;
        if let Some(phase) = self.phase_of(marker.intended_ns) {
            measured = phase.measured;
            let traffic = &mut phase.groups[group_index];
            traffic.corrected.record(latency_ns);
            if let Some(uncorrected_ns) = uncorrected_ns {
                traffic.uncorrected.record(uncorrected_ns);
            }
        }
        let traffic = &mut self.groups[group_index];
        if let Some(of_kind) = traffic.kinds.get_mut(kind) {
            self.recorder.on_kind(traffic.kinds_at + kind, latency_ns);
            if measured {
                of_kind.corrected.record(latency_ns);
            }
        }
        if measured {
            self.on_live(number, marker.intended_ns, latency_ns);
        }
        self.recorder.on_delivery(message_bytes, measured, latency_ns, uncorrected_ns);
        if group.limit().is_some() {
            self.arrived(room_number, publisher, marker.seq);
        }
    }
}

/// Whether a message is JSON and holds exactly this body as a string.
pub(super) fn is_json_with(text: &[u8], body: &[u8]) -> bool {
    serde_json::from_slice(text).is_ok_and(|value| holds_string(&value, body))
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
