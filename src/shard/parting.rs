//! Who is closed while answers to it are under way: it is in no channel any more, nothing more is read of it, and its last
//! frame follows the last answer, or is not kept back any longer.
//!
//! An answer that names a position says that its reader has everything up to there: a client resumes from it. Who is
//! closed, or leaves a channel, is sent no more of its events, so what it had not been sent by then is answered without a
//! position. That is known of each channel that a connection leaves while answers to it are under way, until it has all.

use std::sync::Arc;

use super::Shard;
use super::connection::{HeldAnswer, Membership, Stage};
use super::effect::Effects;
use crate::envelope::{Encoding, notice};
use crate::ids::{ConnId, Seq};
use crate::limits::{ANSWERS_HELD_MAX, LAST_ANSWERS_MS, WALK_SLOTS_PER_TURN_MAX};
use crate::metrics::Metric;
use crate::payload::Payload;
use crate::time::Now;

/// How far a connection had got in a channel when it left.
#[derive(Debug)]
pub(super) struct Reached {
    channel: Arc<str>,
    /// How the channel's events were encoded for it: answers go on to call the channel by the same name.
    pub(super) encoding: Encoding,
    /// The first event that it was not sent; 0 if it had not started.
    next: Seq,
}

/// How far a connection had got in the channels that it has left while answers to it were under way.
#[derive(Debug, Default)]
pub(super) struct Left {
    reached: Vec<Reached>,
    /// It has left more channels than are remembered: of those it may have had anything.
    more: bool,
}

impl Left {
    /// What is known of a channel.
    pub(super) fn of(&self, channel: &str) -> Option<&Reached> {
        self.reached.iter().find(|reached| *reached.channel == *channel)
    }

    /// Whether it may be that an event of a channel was not sent before the connection left it.
    pub(super) fn lacks(&self, channel: &str, seq: Seq) -> bool {
        self.of(channel).map_or(self.more, |reached| reached.next <= seq)
    }

    /// Who has left a channel twice may lack what lies between.
    fn note(&mut self, channel: &Arc<str>, encoding: Encoding, next: Seq) {
        if let Some(known) = self.reached.iter_mut().find(|reached| *reached.channel == **channel) {
            (known.encoding, known.next) = (encoding, known.next.min(next));
        } else if self.reached.len() < ANSWERS_HELD_MAX {
            self.reached.push(Reached { channel: Arc::clone(channel), encoding, next });
        } else {
            self.more = true;
        }
    }
}

impl Shard {
    /// Its last frame waits for answers, but not for long.
    pub(super) fn part_later(&mut self, now: Now, id: ConnId, last: Payload, effects: &mut Effects) {
        self.lasts.insert(id, last);
        self.partings.push_back((now.millis().after(LAST_ANSWERS_MS), id));
        self.mark(id, effects);
    }

    /// Those who have waited for their time are closed, some in a turn: a wave of a drain parts at once.
    pub(super) fn end_late_partings(&mut self, now: Now, effects: &mut Effects) {
        for _ in 0..WALK_SLOTS_PER_TURN_MAX {
            let Some((_, id)) = self.partings.pop_front_if(|(at, _)| *at <= now.millis()) else { return };
            self.end_parting(now, id, effects);
        }
    }

    /// A connection may have been answered all: one that parts is sent its last frame behind the last answer.
    pub(super) fn part_if_answered(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let nobody = self.lasts.is_empty() && self.left.is_empty();
        if !nobody && self.slots.find(id).is_some_and(|conn| conn.unanswered == 0) {
            self.left.remove(&id);
            self.end_parting(now, id, effects);
        }
    }

    /// A connection that parts waits no longer.
    pub(super) fn end_parting(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let parting = self.slots.find_mut(id).filter(|conn| matches!(conn.stage, Stage::Parting));
        if let (Some(conn), Some(last)) = (parting, self.lasts.remove(&id)) {
            conn.stage = Stage::Ending;
            self.queue_last(now, id, last, effects);
        }
    }

    /// A connection is about to leave a channel: how far it has got there, if answers to it are under way.
    pub(super) fn note_reached(&mut self, id: ConnId, at: Membership) {
        if self.slots.find(id).is_none_or(|conn| conn.unanswered == 0) {
            return;
        }
        let Some(room) = self.rooms.at(at.room) else { return };
        let Some(member) = room.members.at(at.place) else { return };
        let next = if member.start.is_none() { member.next } else { Seq(0) };
        self.left.entry(id).or_default().note(&room.name, member.encoding, next);
    }

    /// What waited for events that will not be sent goes without them, whatever is queued already.
    pub(super) fn give_last_answers(&mut self, id: ConnId, held: impl Iterator<Item = HeldAnswer>) {
        for answer in held {
            let frame = self.answer_to_leaver(answer);
            let Some(conn) = self.slots.find_mut(id) else { return };
            let before = conn.outbox.bytes();
            conn.outbox.push_over(frame);
            self.metrics.add(Metric::OutboxBytes, (conn.outbox.bytes() - before) as u64);
        }
    }

    /// An answer that waited for events, to somebody who is about to leave the channel.
    pub(super) fn answer_to_leaver(&mut self, held: HeldAnswer) -> Payload {
        let room = self.rooms.at(held.room);
        let Some((room, member)) = room.and_then(|room| Some((room, room.members.at(held.place)?))) else {
            return held.frame;
        };
        if member.has_passed(held.seq) {
            return held.frame;
        }
        let (name, operation) = (Arc::clone(&room.name), held.id.as_deref().unwrap_or(""));
        let write = |stamp, out: &mut Vec<u8>| notice::write_ack(stamp, operation, &name, None, held.answered, out);
        self.pen.notice(self.latest, member.encoding, write)
    }
}
