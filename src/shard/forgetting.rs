//! Erasure of a user: what a shard has of one in memory, some channels at a time, and what the store has, a portion at a
//! time.
//!
//! An event of the user keeps its number and its time and says nothing else: a reader passes over it as over any other,
//! so that nobody is told of a gap. Operations and cursors go; the user's own channels are erased as channels are
//! (`erasing`). Whoever asks goes through all shards, then through the store, then through the shards again, for what was
//! read from the store meanwhile. Nothing of it is remembered: who was interrupted begins anew.
//!
//! What the user publishes or acknowledges behind the first round is not of the erasure: the store is told which channels
//! that has gone through, in the order of their events, and takes nothing of them that came later, whether they are
//! forgotten here meanwhile or not. The last round takes only what the store had read of the time before; of a channel that
//! is being opened then, as soon as it is open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Shard;
use super::effect::{Effect, Effects};
use super::keeping::{Keeping, Kept, Stage};
use super::message::MeshMessage;
use super::message::outside::{Reply, Round, Traces};
use super::outside::reply;
use super::pen::Pen;
use super::rooms::{Role, Room, RoomId};
use crate::code::ErrorCode;
use crate::envelope::event::{id_of, is_sent_by, sender_field};
use crate::envelope::{Encoding, EventHead, write_event};
use crate::ids::{Epoch, Seq, ShardId};
use crate::ledger::forget::ERASED_KIND;
use crate::ledger::{ChannelNumber, Forget, Forgotten, Refusal, Request, Spot, Ticket};
use crate::limits::{BROWSES_PER_SHARD_MAX, FORGET_EVENTS_PER_TURN, SWEEP_SLOTS_MAX};
use crate::metrics::Metric;
use crate::room::dedup::author_of;
use crate::room::history::Event;
use crate::time::Now;
use crate::wire::encoder::payload_of;

/// An answer that is true once everything up to a ticket is committed.
#[derive(Debug)]
pub(super) struct Barrier {
    pub(super) after: Ticket,
    /// Who asked.
    ticket: u64,
    traces: Traces,
    next: Option<u32>,
    /// Shards that were told to forget, too.
    told: Vec<ShardId>,
}

/// A user of whom the last round has taken what was here, while channels were being opened: what is read there may be
/// older than what the store has taken.
#[derive(Debug)]
pub(super) struct Late {
    user: Arc<str>,
    author: u64,
    /// The latest of those channels.
    through: Ticket,
}

impl Keeping {
    /// Those whose channels are open by now need no more.
    fn end_late(&mut self) {
        let oldest = self.opening.first_key_value().map(|(ticket, _)| *ticket);
        self.late.retain(|late| oldest.is_some_and(|oldest| oldest <= late.through));
    }

    /// A user was gone through for the last time.
    fn note_late(&mut self, user: &Arc<str>, author: u64) {
        let Some((through, _)) = self.opening.last_key_value() else { return };
        self.late.retain(|late| late.author != author);
        self.late.push(Late { user: Arc::clone(user), author, through: *through });
    }
}

/// Channels at home here that one portion has gone through.
#[derive(Debug, Default)]
struct Passed {
    /// Those that the store has open.
    stored: Vec<ChannelNumber>,
    /// By shard those that others follow: one message tells a shard of all of them.
    followed: BTreeMap<ShardId, Vec<Arc<str>>>,
}

impl Passed {
    fn note(&mut self, room: Option<&Room>) {
        let Some(room) = room else { return };
        self.stored.extend(room.kept().and_then(Kept::number));
        let Role::Home { followers, .. } = &room.role else { return };
        for follower in followers {
            self.followed.entry(follower.shard).or_default().push(Arc::clone(&room.name));
        }
    }
}

impl Shard {
    /// Erases what channels here have of a user, from a place of the table of channels on. Answers once what is sequenced
    /// here is committed, so that the store has all of it, and shards that follow have forgotten it.
    pub(super) fn forget_user(
        &mut self,
        now: Now,
        ticket: u64,
        (user, from, round): (&Arc<str>, u32, Round),
        effects: &mut Effects,
    ) {
        if let Some(keeping) = &mut self.keeping {
            if keeping.is_in_trouble(now) {
                return reply(ticket, Err(ErrorCode::StoreUnavailable), effects);
            }
            keeping.end_late();
            if keeping.barriers.len() >= BROWSES_PER_SHARD_MAX || keeping.late.len() >= BROWSES_PER_SHARD_MAX {
                return reply(ticket, Err(ErrorCode::Overloaded), effects);
            }
        }
        let (author, field) = (author_of(&self.options.operations, user), sender_field(user));
        let mut traces = Traces::default();
        if from == 0 && round == Round::First {
            traces.operations += self.direct.forget_author(author, ALL) as u64;
            traces.cursors += self.forget_in_debts(user);
        }
        let end = from.saturating_add(SWEEP_SLOTS_MAX).min(self.rooms.places());
        let (mut place, mut looked, mut passed) = (from, 0, Passed::default());
        while place < end && looked < FORGET_EVENTS_PER_TURN {
            let id = RoomId::of(place);
            match round {
                Round::First => {
                    looked += self.rooms.at(id).map_or(0, |room| room.history.len());
                    traces.add(self.forget_in(id, (user, author, &field)));
                    passed.note(self.rooms.at(id));
                }
                #[cfg(feature = "planted-faults")]
                Round::Last if super::fault::is(super::fault::Fault::ErasureReadBefore) => {}
                Round::Last => {
                    looked += self.rooms.at_mut(id).and_then(Room::past_mut).map_or(0, |past| past.held());
                    traces.add(self.forget_read(id, (user, author, &field)));
                }
            }
            place += 1;
        }
        #[cfg(feature = "planted-faults")]
        if super::fault::is(super::fault::Fault::ErasureUnfollowed) {
            passed.followed.clear();
        }
        // In order behind the events that were sent before.
        let told = passed.followed.keys().copied().collect::<Vec<_>>();
        for (shard, channels) in passed.followed {
            effects.list.push(Effect::Mesh(shard, MeshMessage::Forget(Box::new((Arc::clone(user), channels)))));
        }
        let next = (place < self.rooms.places()).then_some(place);
        let Some(keeping) = &mut self.keeping else {
            return self.reply_behind(&told, ticket, Reply::Forgotten { traces, next }, effects);
        };
        let begins = from == 0 && round == Round::First;
        if begins || !passed.stored.is_empty() {
            let ticket = keeping.ask(Request::Passed { begins, channels: passed.stored.into() });
            keeping.note_write(ticket);
        }
        if round == Round::Last {
            keeping.note_late(user, author);
        }
        let after = keeping.last_write();
        keeping.barriers.push_back(Barrier { after, ticket, traces, next, told });
        self.lift_barriers(effects);
    }

    /// Answers whose writes are committed by now.
    pub(super) fn lift_barriers(&mut self, effects: &mut Effects) {
        while let Some(keeping) = &mut self.keeping {
            let committed = keeping.committed();
            let lifted = keeping.barriers.pop_front_if(|barrier| barrier.after <= committed);
            let Some(Barrier { ticket, traces, next, told, .. }) = lifted else { return };
            self.reply_behind(&told, ticket, Reply::Forgotten { traces, next }, effects);
        }
    }

    /// What one channel at home here has of a user goes. Shards that follow are told by their home, in order with the
    /// events: what is there may be newer than what the home has gone through, and has to stay as it does at home.
    fn forget_in(&mut self, id: RoomId, (user, author, field): (&Arc<str>, u64, &[u8])) -> Traces {
        let mut traces = Traces::default();
        let is_home = |room: &Room| matches!(room.role, Role::Home { .. });
        if !self.rooms.at(id).is_some_and(is_home) {
            return traces;
        }
        let events = self.forget_events_of(id, field);
        let Some(room) = self.rooms.at_mut(id) else { return traces };
        if let Some(kept) = room.kept_mut().filter(|kept| matches!(kept.stage, Stage::Opening)) {
            kept.overtaken = true;
        }
        let had_cursor = room.service.as_mut().is_some_and(|service| service.cursors.forget(user, ALL));
        let is_stored = room.stored.is_some();
        if let Role::Home { dedup, .. } = &mut room.role {
            let operations = dedup.as_mut().map_or(0, |dedup| dedup.forget_author(author, ALL)) as u64;
            traces.cursors += u64::from(had_cursor);
            // What a durable channel has of these the store counts.
            if !is_stored {
                traces.events += events;
                traces.operations += operations;
            }
        }
        room.count_bytes(&self.metrics);
        if had_cursor {
            self.drop_cursor(id, user);
        }
        traces
    }

    /// A channel is open that may have been read before the store had erased somebody.
    pub(super) fn forget_late(&mut self, opened: Ticket, id: RoomId) {
        let Some(keeping) = self.keeping.as_mut().filter(|keeping| !keeping.late.is_empty()) else { return };
        let late = keeping.late.iter().filter(|late| opened <= late.through);
        let users: Vec<(Arc<str>, u64)> = late.map(|late| (Arc::clone(&late.user), late.author)).collect();
        keeping.end_late();
        for (user, author) in users {
            self.forget_read(id, (&user, author, &sender_field(&user)));
        }
    }

    /// What was read of a user from the store before that had erased it goes: what an opening found, and stretches.
    /// Nothing that came behind the first round, or since the channel was opened.
    fn forget_read(&mut self, id: RoomId, (user, author, field): (&Arc<str>, u64, &[u8])) -> Traces {
        let mut traces = Traces::default();
        let Some(room) = self.rooms.at_mut(id) else { return traces };
        let Some(past) = room.past_mut() else { return traces };
        let (opened, is_dropped) = (past.first(), past.let_go_if(|event| is_sent_by(payload_of(event.plain()), field)));
        let first = room.kept().map_or(opened, |kept| kept.passed.next());
        let had_cursor = room.service.as_mut().is_some_and(|service| service.cursors.forget(user, first));
        if let Role::Home { dedup: Some(dedup), .. } = &mut room.role {
            dedup.forget_author(author, first);
            traces.cursors += u64::from(had_cursor);
        }
        room.count_bytes(&self.metrics);
        if let Some(keeping) = &mut self.keeping {
            // What is being read now may have been read before the store had erased it.
            let stale = keeping.reads.iter().filter(|(_, reading)| reading.room == id).map(|(ticket, _)| *ticket);
            keeping.stale.extend(stale);
        }
        if is_dropped {
            self.line_up(id);
        }
        if had_cursor {
            self.drop_cursor(id, user);
        }
        traces
    }

    /// The store forgets how far a user is in a channel.
    fn drop_cursor(&mut self, id: RoomId, user: &Arc<str>) {
        let number = self.rooms.at(id).and_then(Room::kept).and_then(Kept::number);
        if let (Some(channel), Some(keeping)) = (number, &mut self.keeping) {
            let ticket = keeping.ask(Request::Cursor { channel, user: Arc::clone(user), seq: None });
            keeping.note_write(ticket);
        }
    }

    /// The home of channels that are followed here has erased a user.
    pub(super) fn on_forget(&mut self, user: &str, channels: &[Arc<str>]) {
        let field = sender_field(user);
        for channel in channels {
            let Some(id) = self.rooms.find(channel) else { continue };
            self.forget_events_of(id, &field);
            if let Some(service) = self.rooms.at_mut(id).and_then(|room| room.service.as_mut()) {
                service.cursors.forget(user, ALL);
            }
        }
    }

    /// Puts empty events in the place of a user's. Returns how many.
    fn forget_events_of(&mut self, id: RoomId, field: &[u8]) -> u64 {
        let Some(room) = self.rooms.at_mut(id) else { return 0 };
        let (epoch, pen, name) = (room.history.epoch(), &mut self.pen, &room.name);
        let before = room.history.bytes() as u64;
        let count = room
            .history
            .replace(|event| is_sent_by(payload_of(event.plain()), field).then(|| tombstone(pen, name, epoch, event)));
        if count == 0 {
            return 0;
        }
        room.joined = None;
        // What stays of a small event may be larger than it was.
        self.metrics.add(Metric::HistoryBytes, room.history.bytes() as u64);
        self.metrics.subtract(Metric::HistoryBytes, before);
        room.count_bytes(&self.metrics);
        self.line_up(id);
        count
    }

    /// Has the store look through a portion of what it has for what a user has left there.
    pub(super) fn forget_stored(
        &mut self,
        now: Now,
        ticket: u64,
        (user, from): (Arc<str>, Spot),
        effects: &mut Effects,
    ) {
        let author = author_of(&self.options.operations, &user);
        let Some(keeping) = &mut self.keeping else {
            return reply(ticket, Ok(Reply::ForgottenStored(Forgotten::default())), effects);
        };
        if keeping.is_in_trouble(now) {
            return reply(ticket, Err(ErrorCode::StoreUnavailable), effects);
        }
        if keeping.forgets.len() >= BROWSES_PER_SHARD_MAX {
            return reply(ticket, Err(ErrorCode::Overloaded), effects);
        }
        #[cfg(feature = "planted-faults")]
        if super::fault::is(super::fault::Fault::ErasureUnstored) {
            return reply(ticket, Ok(Reply::ForgottenStored(Forgotten::default())), effects);
        }
        let asked = keeping.ask(Request::Forget(Box::new(Forget { user, author, from })));
        keeping.forgets.insert(asked, ticket);
    }

    /// The store has looked through a portion, or could not.
    pub(super) fn on_forgotten(&mut self, asked: Ticket, outcome: Result<Forgotten, Refusal>, effects: &mut Effects) {
        let Some(ticket) = self.keeping.as_mut().and_then(|keeping| keeping.forgets.remove(&asked)) else { return };
        if outcome.is_err() {
            self.metrics.count(Metric::StoreRefused);
        }
        let outcome = outcome.map(Reply::ForgottenStored).map_err(|_| ErrorCode::StoreUnavailable);
        reply(ticket, outcome, effects);
    }
}

/// Before no position in particular.
const ALL: Seq = Seq(u64::MAX);

/// What stays of an event of the history.
fn tombstone(pen: &mut Pen, channel: &Arc<str>, epoch: Epoch, event: &Event) -> Event {
    let head = EventHead {
        id: id_of(payload_of(event.plain())),
        kind: ERASED_KIND,
        unix_ms: event.unix_ms,
        channel: Some(channel),
        seq: Some(event.seq),
        epoch: Some(epoch),
        session_id: channel.strip_prefix("chat:"),
        encoding: Encoding::TRIPSAGE,
        ..EventHead::default()
    };
    let frame = pen.text(|out| {
        write_event(&head, b"{}", out);
    });
    Event::new(event.seq, event.unix_ms, event.micros, event.excluded, frame, Vec::new())
}
