//! Erasure of a channel's history: out of memory on every shard, and out of the store.
//!
//! Whoever asks is answered when nothing of it is left to be read, on the disk neither. In memory it goes at once, and
//! members that had not got all of it are told what is lost. The numbers are not used again. What is kept of it: who wrote
//! which operation, as hashes, until that no longer counts, so that a retry does not bring an erased event back.

use std::sync::Arc;

use super::Shard;
use super::effect::Effects;
use super::keeping::Stage;
use super::message::outside::Reply;
use super::outside::reply;
use super::rooms::{Role, Room, RoomId};
use crate::code::ErrorCode;
use crate::ids::{Seq, ShardId};
use crate::ledger::{Refusal, Request, Ticket};
use crate::limits::BROWSES_PER_SHARD_MAX;
use crate::metrics::Metric;
use crate::time::Now;

/// An erasure that the store was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Erasure {
    room: RoomId,
    /// Who asked.
    ticket: u64,
    /// The last event that goes.
    through: Seq,
}

impl Shard {
    /// Erases a channel at home here; answers when that is done.
    pub(super) fn erase(&mut self, now: Now, ticket: u64, channel: &str, effects: &mut Effects) {
        let id = match self.rooms.find(channel) {
            // A channel that nobody is in may have a past.
            None if self.is_durable(channel) => match self.open_room(now, channel) {
                Ok(id) => Some(id),
                Err(code) => return reply(ticket, Err(code), effects),
            },
            known => known,
        };
        let Some(id) = id else { return reply(ticket, Ok(Reply::Erased), effects) };
        self.reopen(now, id);
        let busy = self.keeping.as_ref().is_some_and(|keeping| keeping.browsing >= BROWSES_PER_SHARD_MAX);
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Some(kept) = room.kept_mut() else {
            self.forget_events(id, effects);
            return self.reply_erased(id, ticket, effects);
        };
        match &kept.stage {
            Stage::Refused(_) => reply(ticket, Err(ErrorCode::StoreUnavailable), effects),
            _ if busy || kept.erasing => reply(ticket, Err(ErrorCode::Overloaded), effects),
            Stage::Opening => {
                kept.erasures.push(ticket);
                self.count_reader();
            }
            Stage::Open(channel) => {
                let channel = *channel;
                kept.erasing = true;
                let through = room.history.last();
                self.forget_events(id, effects);
                self.count_reader();
                if let Some(keeping) = &mut self.keeping {
                    let asked = keeping.ask(Request::Erase { channel, through });
                    keeping.erasures.insert(asked, Erasure { room: id, ticket, through });
                }
            }
        }
    }

    /// The store has opened a channel, or has not: who waited to erase it has a turn.
    pub(super) fn let_in_erasers(&mut self, now: Now, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let name = Arc::clone(&room.name);
        let Some(kept) = room.kept_mut() else { return };
        let tickets = std::mem::take(&mut kept.erasures);
        if let Some(keeping) = &mut self.keeping {
            keeping.browsing -= tickets.len();
        }
        for ticket in tickets {
            self.erase(now, ticket, &name, effects);
        }
    }

    /// The store has erased a channel, or could not.
    pub(super) fn on_erased(&mut self, asked: Ticket, outcome: &Result<(), Refusal>, effects: &mut Effects) {
        let Some(keeping) = &mut self.keeping else { return };
        let Some(Erasure { room, ticket, through }) = keeping.erasures.remove(&asked) else { return };
        keeping.browsing -= 1;
        let kept = self.rooms.at_mut(room).and_then(Room::kept_mut);
        if outcome.is_err() {
            if let Some(kept) = kept {
                kept.erasing = false;
            }
            self.metrics.count(Metric::StoreRefused);
            return reply(ticket, Err(ErrorCode::StoreUnavailable), effects);
        }
        // Nobody is owed what has gone, and the store has noted that with it.
        if let Some(kept) = kept {
            kept.erasing = false;
            kept.owe_nothing(through);
        }
        self.reply_erased(room, ticket, effects);
    }

    /// It is erased here, and where the channel is followed once that has come.
    fn reply_erased(&mut self, id: RoomId, ticket: u64, effects: &mut Effects) {
        let shards = self.followers_of(id);
        self.reply_behind(&shards, ticket, Reply::Erased, effects);
    }

    fn followers_of(&self, id: RoomId) -> Vec<ShardId> {
        let Some(Room { role: Role::Home { followers, .. }, .. }) = self.rooms.at(id) else { return Vec::new() };
        followers.iter().map(|follower| follower.shard).collect()
    }

    /// What is in memory of a channel's events goes, on shards that follow, too.
    fn forget_events(&mut self, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let last = room.history.last();
        if room.until_acked {
            room.service.get_or_insert_default().cursors.begin_after(last);
        }
        self.drop_events(id, last);
        for shard in self.followers_of(id) {
            self.tell_erased(id, shard, effects);
        }
    }

    /// Nothing up to an event can be read here any more.
    pub(super) fn drop_events(&mut self, id: RoomId, through: Seq) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let (epoch, next) = (room.history.epoch(), room.history.next());
        let freed = room.history.restart(epoch, next);
        room.joined = None;
        if let Some(past) = room.past_mut() {
            past.forget(through);
        }
        room.count_bytes(&self.metrics);
        self.metrics.subtract(Metric::HistoryBytes, freed as u64);
        self.line_up(id);
    }
}
