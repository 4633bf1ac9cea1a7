//! Station 7: the channel at home. The only place where events get their position.
//!
//! Sequencing is a proposal and a commit. In this process the home commits at once; a broker or a disk
//! would answer later with the same [`Committed`], and nothing above could tell.

use std::sync::Arc;

use super::Shard;
use super::effect::{Effect, Effects};
use super::message::outside::Reply;
use super::message::{Answer, Committed, MeshMessage, Publication, Tail};
use super::outside::reply;
use super::replay::Past;
use super::rooms::{Follower, Role, Room, RoomId};
use crate::code::ErrorCode;
use crate::envelope::globetrotter::shown::{Facts, write_shown};
use crate::envelope::{Encoding, EncodingSet, EventHead, write_event};
use crate::ids::{ConnId, Seq, ShardId};
use crate::limits::TAIL_EVENTS_MAX;
use crate::metrics::Metric;
use crate::payload::Payload;
use crate::room::dedup::{Known, Operation};
use crate::room::history::{Event, others};
use crate::time::Now;

/// An event that asks for a position.
#[derive(Debug)]
pub(super) struct Proposal<'a> {
    pub(super) author: ConnId,
    pub(super) channel: &'a Arc<str>,
    pub(super) user: &'a str,
    pub(super) kind: &'a str,
    /// Raw JSON object.
    pub(super) payload: &'a [u8],
    pub(super) id: Option<&'a str>,
    pub(super) traceparent: Option<&'a str>,
    pub(super) operation: Option<Operation>,
    pub(super) wants_ack: bool,
    pub(super) excluded: Option<ConnId>,
}

impl<'a> Proposal<'a> {
    pub(super) fn of(publication: &'a Publication) -> Self {
        Self {
            author: publication.author,
            channel: &publication.channel,
            user: &publication.user,
            kind: &publication.kind,
            payload: &publication.payload,
            id: publication.id.as_deref(),
            traceparent: publication.traceparent.as_deref(),
            operation: publication.operation,
            wants_ack: publication.wants_ack,
            excluded: publication.excluded,
        }
    }

    /// The same, to be proposed later.
    pub(super) fn owned(&self) -> Publication {
        Publication {
            author: self.author,
            channel: Arc::clone(self.channel),
            user: Arc::from(self.user),
            kind: Box::from(self.kind),
            payload: Box::from(self.payload),
            id: self.id.map(Box::from),
            traceparent: self.traceparent.map(Box::from),
            operation: self.operation,
            wants_ack: self.wants_ack,
            excluded: self.excluded,
        }
    }
}

fn answer_of(proposal: &Proposal<'_>, outcome: Result<Committed, ErrorCode>) -> Answer {
    Answer {
        to: proposal.author,
        channel: Arc::clone(proposal.channel),
        id: proposal.id.map(Box::from),
        wants_ack: proposal.wants_ack,
        outcome,
    }
}

impl Shard {
    /// Another shard's connection sends to a channel at home here.
    pub(super) fn on_publication(&mut self, now: Now, publication: &Publication, effects: &mut Effects) {
        self.propose(now, &Proposal::of(publication), effects);
    }

    /// Asks for a position. An operation that has one already is only answered.
    pub(super) fn propose(&mut self, now: Now, proposal: &Proposal<'_>, effects: &mut Effects) {
        let room = match self.open_room(now, proposal.channel) {
            Ok(room) => room,
            Err(code) => return self.answer(now, proposal, Err(code), effects),
        };
        self.propose_in(now, room, proposal, effects);
    }

    /// The same for a room that is known.
    pub(super) fn propose_in(&mut self, now: Now, room: RoomId, proposal: &Proposal<'_>, effects: &mut Effects) {
        let operation = proposal.operation;
        let Some(state) = self.rooms.at_mut(room) else { return };
        debug_assert!(matches!(state.role, Role::Home { .. }), "a proposal comes to the channel's home");
        if state.stored.is_some() {
            self.reopen(now, room);
            match self.admit_write(now, room, proposal.payload.len()) {
                Ok(true) => {}
                Ok(false) => return self.wait_to_open(room, proposal.owned()),
                Err(code) if !self.is_retry(now, room, proposal) => {
                    return self.answer(now, proposal, Err(code), effects);
                }
                Err(_) => {}
            }
        }
        let Some(state) = self.rooms.at_mut(room) else { return };
        let Role::Home { dedup, .. } = &mut state.role else { return };
        let epoch = state.history.epoch();
        #[cfg(feature = "planted-faults")]
        let operation = operation.filter(|_| !super::fault::is(super::fault::Fault::DedupDropped));
        match operation.zip(dedup.as_mut()).map_or(Known::New, |(operation, dedup)| dedup.find(now.millis(), operation))
        {
            Known::Done(seq) => {
                self.metrics.count(Metric::Duplicates);
                let epoch = state.stored.as_ref().and_then(|stored| stored.epoch_of(seq)).unwrap_or(epoch);
                return self.answer_again(now, room, proposal, Committed { epoch, seq, duplicate: true }, effects);
            }
            Known::Reused => return self.answer(now, proposal, Err(ErrorCode::IdReused), effects),
            Known::New => {}
        }
        let Some(state) = self.rooms.at_mut(room) else { return };
        let Role::Home { dedup, .. } = &mut state.role else { return };
        let committed = Committed { epoch, seq: state.history.next(), duplicate: false };
        if let Some(operation) = operation {
            dedup.get_or_insert_default().insert(now.millis(), operation, committed.seq);
        }
        self.on_committed(now, room, proposal, committed, effects);
    }

    /// An event has its position: it becomes history, is owed to everybody, and its author is answered.
    fn on_committed(
        &mut self,
        now: Now,
        id: RoomId,
        proposal: &Proposal<'_>,
        committed: Committed,
        effects: &mut Effects,
    ) {
        let Some(room) = self.rooms.at(id) else { return };
        let encodings = room.encodings();
        let is_kept = room.kept().is_some();
        let (event_id, instant) = (self.pen.event_id(now), self.pen.instant(now));
        let head = EventHead {
            id: event_id,
            kind: proposal.kind,
            unix_ms: now.unix_ms,
            instant: Some(&instant),
            channel: Some(proposal.channel),
            seq: Some(committed.seq),
            epoch: Some(committed.epoch),
            op_id: proposal.id,
            user_id: Some(proposal.user),
            session_id: proposal.channel.strip_prefix("chat:"),
            traceparent: None,
            encoding: Encoding::TRIPSAGE,
        };
        let frame = self.encode(&head, proposal.payload);
        let mut more = Vec::new();
        if encodings.has_others() {
            let encode = |encoding| (encoding, self.encode_in(encoding, &head, proposal.payload));
            // Readers of event streams are known clients: where there is a trace, they get the traced form.
            let is_read = |it: &Encoding| proposal.traceparent.is_none() || *it != Encoding::EVENT_STREAM;
            more = others(encodings).filter(is_read).map(encode).collect();
        }
        if proposal.traceparent.is_some() {
            let traced = EventHead { traceparent: proposal.traceparent, ..head };
            self.encode_traced(encodings, &traced, proposal.payload, &mut more);
        }
        let event = Event::new(committed.seq, now.unix_ms, now.micros, proposal.excluded, frame, more);
        self.metrics.count(Metric::Published);
        let (sequenced, deliveries) = Metric::of_event(proposal.kind);
        self.metrics.count(sequenced);
        self.count_deliveries(id, deliveries, proposal.excluded);
        self.recorder.note_sequenced(now.micros, id.number(), proposal.author, committed.seq.0);
        self.append(now, id, event);
        self.line_up(id);
        if self.patterns.version() > 0 {
            self.serve_patterns(now, id, effects);
        }
        #[cfg(feature = "planted-faults")]
        let early = super::fault::is(super::fault::Fault::AckBeforeCommit);
        #[cfg(not(feature = "planted-faults"))]
        let early = false;
        let waits = is_kept && proposal.wants_ack && !early;
        if is_kept {
            let answer = waits.then(|| answer_of(proposal, Ok(committed)));
            self.store(now, id, proposal, (event_id, committed), answer);
        }
        if !waits {
            self.answer(now, proposal, Ok(committed), effects);
        }
    }

    /// A retry gets its first's answer, once the first is as safe as an answer says.
    fn answer_again(
        &mut self,
        now: Now,
        room: RoomId,
        proposal: &Proposal<'_>,
        committed: Committed,
        effects: &mut Effects,
    ) {
        #[cfg(feature = "planted-faults")]
        let early = super::fault::is(super::fault::Fault::DuplicateEarly);
        #[cfg(not(feature = "planted-faults"))]
        let early = false;
        if !proposal.wants_ack || early || !self.waits_for_first(room, committed.seq) {
            self.answer(now, proposal, Ok(committed), effects);
        } else if self.may_retry() {
            self.answer_with_the_last(now, answer_of(proposal, Ok(committed)));
        } else {
            self.answer(now, proposal, Err(ErrorCode::Overloaded), effects);
        }
    }

    /// An event comes to the members here. Counted at once for all of them, which costs the same whatever their number:
    /// in the visits it would cost each of them something.
    pub(super) fn count_deliveries(&self, id: RoomId, deliveries: Metric, excluded: Option<ConnId>) {
        let Some(room) = self.rooms.at(id) else { return };
        // Who excludes itself need not be a member.
        let is_member = |author: ConnId| author.shard == self.id && self.membership_in(author, id).is_some();
        let author = usize::from(excluded.is_some_and(is_member));
        self.metrics.add(deliveries, room.members.len().saturating_sub(author) as u64);
    }

    /// Station 8, first half: an event is encoded once for each encoding in use.
    fn encode(&mut self, head: &EventHead<'_>, payload: &[u8]) -> Payload {
        self.pen.text(|out| {
            write_event(head, payload, out);
        })
    }

    fn encode_in(&mut self, encoding: Encoding, head: &EventHead<'_>, payload: &[u8]) -> Payload {
        if encoding == Encoding::GLOBETROTTER {
            let (channel, user) = (head.channel.unwrap_or(""), head.user_id.unwrap_or(""));
            let facts = Facts { kind: head.kind, channel, user, unix_ms: head.unix_ms };
            return self.pen.text_if(|out| write_shown(&facts, payload, out));
        }
        if encoding == Encoding::EVENT_STREAM {
            return self.pen.streamed(head.epoch.zip(head.seq), |out| {
                write_event(&EventHead { encoding, ..*head }, payload, out);
            });
        }
        self.encode(&EventHead { encoding, ..*head }, payload)
    }

    /// The same once more for known clients, which are told of the trace; what older ones get stays as it was.
    fn encode_traced(
        &mut self,
        encodings: EncodingSet,
        head: &EventHead<'_>,
        payload: &[u8],
        more: &mut Vec<(Encoding, Payload)>,
    ) {
        for encoding in encodings.with(Encoding::TRIPSAGE).iter() {
            // Who speaks flat frames has no keys beside those that its own pages know.
            if encoding != Encoding::GLOBETROTTER {
                more.push((encoding.traced(), self.encode_in(encoding, head, payload)));
            }
        }
    }

    /// Adds an event to a history here, and forgets what its bounds no longer allow.
    pub(super) fn append(&mut self, now: Now, id: RoomId, event: Event) {
        // Before the event joins: the older ones make place, and it is there for those who keep up.
        let held = self.metrics.read(Metric::HistoryBytes) + self.metrics.read(Metric::RoomBytes);
        if held + event.bytes() as u64 > self.options.history_bytes_max as u64 {
            self.shed_history();
        }
        let Some(room) = self.rooms.at_mut(id) else { return };
        let keep = self.extents.of(room);
        let (before, most) = (room.history.bytes(), event.displaces());
        room.joined = None;
        room.members.note_trace(event.is_traced());
        if let (Some(author), Some(past)) = (event.excluded, room.past_mut()) {
            past.exclude(event.seq, author);
        }
        room.history.push(event);
        room.history.trim(&keep, (room.needed.min(room.needed_now), room.unstored()), now.unix_ms, most);
        room.count_bytes(&self.metrics);
        let after = room.history.bytes();
        if after >= before {
            self.metrics.add(Metric::HistoryBytes, (after - before) as u64);
        } else {
            self.metrics.subtract(Metric::HistoryBytes, (before - after) as u64);
        }
    }

    /// Whether an operation was sequenced before.
    fn is_retry(&mut self, now: Now, room: RoomId, proposal: &Proposal<'_>) -> bool {
        let Some(Room { role: Role::Home { dedup: Some(dedup), .. }, .. }) = self.rooms.at_mut(room) else {
            return false;
        };
        let known = proposal.operation.map(|operation| dedup.find(now.millis(), operation));
        known.is_some_and(|known| known != Known::New)
    }

    pub(super) fn answer(
        &mut self,
        now: Now,
        proposal: &Proposal<'_>,
        outcome: Result<Committed, ErrorCode>,
        effects: &mut Effects,
    ) {
        if outcome.is_ok() && !proposal.wants_ack {
            return;
        }
        if matches!(outcome, Err(ErrorCode::Overloaded)) {
            self.metrics.count(Metric::RefusedOverload);
        }
        if let Some(ticket) = proposal.author.ticket() {
            return reply(ticket, outcome.map(Reply::Sequenced), effects);
        }
        self.give_answer(now, answer_of(proposal, outcome), effects);
    }

    /// Answers an author, wherever it is.
    pub(super) fn give_answer(&mut self, now: Now, answer: Answer, effects: &mut Effects) {
        if let Some(ticket) = answer.to.ticket() {
            reply(ticket, answer.outcome.map(Reply::Sequenced), effects);
        } else if answer.to.shard == self.id {
            self.on_answer(now, answer, effects);
        } else {
            // An answer is never refused for congestion: its operation has happened.
            effects.list.push(Effect::Mesh(answer.to.shard, MeshMessage::Answer(Box::new(answer))));
        }
    }

    /// Another shard has members of a channel at home here from now on, or asks where the channel is.
    pub(super) fn on_attach(
        &mut self,
        now: Now,
        from: ShardId,
        channel: &Arc<str>,
        (attachment, encodings): (u32, EncodingSet),
        effects: &mut Effects,
    ) {
        let Ok(id) = self.open_room(now, channel) else {
            let refusal =
                MeshMessage::NoPlace { channel: Arc::clone(channel), attachment, code: ErrorCode::Overloaded };
            return effects.list.push(Effect::Mesh(from, refusal));
        };
        let Some(room) = self.rooms.at_mut(id) else { return };
        let next = room.history.oldest();
        let Role::Home { followers, .. } = &mut room.role else {
            debug_assert!(false, "an attachment comes to the channel's home");
            return;
        };
        let known = followers.iter_mut().find(|follower| (follower.shard, follower.attachment) == (from, attachment));
        let is_new = known.is_none();
        if let Some(follower) = known {
            // It asks where the channel is; what it is owed it gets as before.
            follower.encodings = encodings;
        } else {
            followers.retain(|follower| follower.shard != from);
            let (told, watches, whole) = (0, false, false);
            followers.push(Follower { shard: from, attachment, next, encodings, told, watches, whole });
        }
        // A channel that the store has yet to open has no place; its followers are told once it has.
        if room.is_live() {
            self.tell_place(id, from, effects);
        }
        if is_new {
            self.call_follower(id, from, attachment, effects);
        }
        self.feed(id, effects);
    }

    /// Tells a following shard where a channel at home here is.
    fn tell_place(&mut self, id: RoomId, to: ShardId, effects: &mut Effects) {
        let Some(room) = self.rooms.at(id) else { return };
        let Role::Home { followers, .. } = &room.role else { return };
        let Some(follower) = followers.iter().find(|follower| follower.shard == to) else { return };
        let cursors = || room.service.as_ref().map(|service| service.cursors.clone()).unwrap_or_default();
        let past = room.stored.as_ref().and_then(|stored| stored.past.as_ref());
        let before = (Seq(0)..follower.next, to);
        let tail = Tail {
            until_acked: room.until_acked,
            channel: Arc::clone(&room.name),
            attachment: follower.attachment,
            epoch: room.history.epoch(),
            first: follower.next,
            goal: Some(room.history.last()),
            events: Vec::new(),
            excluded: past.map_or_else(Vec::new, |past| past.excluded_within(before)),
            erased: None,
            past: past.map(Past::known),
            cursors: room.until_acked.then(|| Box::new(cursors())),
        };
        effects.list.push(Effect::Mesh(to, MeshMessage::Tail(Box::new(tail))));
    }

    /// Tells a following shard that everything up to now is erased.
    pub(super) fn tell_erased(&mut self, id: RoomId, to: ShardId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Room { name, history, role: Role::Home { followers, .. }, until_acked, .. } = room else { return };
        let Some(follower) = followers.iter_mut().find(|follower| follower.shard == to) else { return };
        follower.next = history.next();
        let tail = Tail {
            until_acked: *until_acked,
            channel: Arc::clone(name),
            attachment: follower.attachment,
            epoch: history.epoch(),
            first: history.next(),
            goal: None,
            events: Vec::new(),
            excluded: Vec::new(),
            erased: Some(history.last()),
            past: None,
            cursors: None,
        };
        effects.list.push(Effect::Mesh(to, MeshMessage::Tail(Box::new(tail))));
    }

    /// The store has opened a channel: the shards that attached meanwhile are told where it is.
    pub(super) fn answer_followers(&mut self, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let next = room.history.oldest();
        let Role::Home { followers, .. } = &mut room.role else { return };
        followers.iter_mut().for_each(|follower| follower.next = next);
        let shards: Vec<ShardId> = followers.iter().map(|follower| follower.shard).collect();
        for shard in shards {
            self.tell_place(id, shard, effects);
        }
    }

    pub(super) fn on_interest(&mut self, from: ShardId, channel: &str, (attachment, wanted): (u32, EncodingSet)) {
        if let Some(follower) = self.follower_mut(from, channel, attachment) {
            follower.encodings = wanted;
        }
    }

    pub(super) fn on_detach(&mut self, now: Now, from: ShardId, channel: &str, attachment: u32, effects: &mut Effects) {
        let Some(id) = self.rooms.find(channel) else { return };
        let Some(room) = self.rooms.at_mut(id) else { return };
        if let Role::Home { followers, .. } = &mut room.role {
            followers.retain(|follower| (follower.shard, follower.attachment) != (from, attachment));
        }
        room.note_idle(now.millis());
        self.release_follower(now, id, from, effects);
    }

    pub(super) fn follower_mut(&mut self, from: ShardId, channel: &str, attachment: u32) -> Option<&mut Follower> {
        let id = self.rooms.find(channel)?;
        let Role::Home { followers, .. } = &mut self.rooms.at_mut(id)?.role else { return None };
        followers.iter_mut().find(|follower| (follower.shard, follower.attachment) == (from, attachment))
    }

    /// Sends the following shards what they are owed, as far as the mesh takes it. A shard whose inbox is
    /// full is a slow reader like any other: it is owed, and falls off the history if it stays slow.
    #[inline]
    pub(super) fn feed(&mut self, id: RoomId, effects: &mut Effects) {
        // Nearly every channel has members at its home alone.
        if self.rooms.at(id).is_some_and(Room::is_followed) {
            self.feed_followers(id, effects);
        }
    }

    fn feed_followers(&mut self, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let (history, Role::Home { followers, .. }) = (&room.history, &mut room.role) else { return };
        let past = room.stored.as_ref().and_then(|stored| stored.past.as_ref());
        let mut behind = false;
        let notes = room.fleeting.is_some();
        for follower in followers.iter_mut() {
            while follower.next < history.next() {
                if effects.congested(follower.shard) {
                    behind = true;
                    break;
                }
                let first = follower.next.max(history.oldest());
                let seqs = (first.0..history.next().0).take(TAIL_EVENTS_MAX).map(Seq);
                let events: Vec<Event> = seqs.filter_map(|seq| history.event(seq).cloned()).collect();
                // Members there read from the store what is left out here.
                let left_out = (follower.next..first, follower.shard);
                let excluded = past.map_or_else(Vec::new, |past| past.excluded_within(left_out));
                follower.next = Seq(first.0 + events.len() as u64);
                let tail = Tail {
                    until_acked: room.until_acked,
                    channel: Arc::clone(&room.name),
                    attachment: follower.attachment,
                    epoch: history.epoch(),
                    first,
                    goal: None,
                    events,
                    excluded,
                    erased: None,
                    past: None,
                    cursors: None,
                };
                effects.list.push(Effect::Mesh(follower.shard, MeshMessage::Tail(Box::new(tail))));
            }
        }
        if notes {
            behind |= self.feed_notes(id, effects);
        }
        let Some(room) = self.rooms.at_mut(id).filter(|_| behind) else { return };
        if let Role::Home { behind, .. } = &mut room.role
            && !std::mem::replace(behind, true)
        {
            self.metrics.count(Metric::MeshFull);
            self.behind.push(id);
        }
    }
}
