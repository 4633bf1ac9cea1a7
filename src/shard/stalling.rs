//! Station 7 and a disk that takes nothing and does not say so: a call that hangs raises no trouble.
//!
//! Who has waited for the store longest tells. While that is too long, nothing new is sequenced in durable channels, and
//! who waits for a channel to be opened is refused; what was sequenced stays unanswered until it is committed. It is over
//! when the store answers. A channel that the store cannot read is not waited for. Absent: trouble that the store tells of (`keeping`).

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::Shard;
use super::effect::{Effect, Effects};
use super::home::Proposal;
use super::keeping::Keeping;
use super::message::MeshMessage;
use super::outside::reply;
use super::rooms::{Role, Room, RoomId};
use crate::code::ErrorCode;
use crate::ledger::Ticket;
use crate::limits::{LATE_OPENINGS_PER_LOOK, STORE_STALLED_MS};
use crate::metrics::Metric;
use crate::time::Now;

impl Keeping {
    /// Whether nothing new is to be written now.
    pub(super) fn is_in_trouble(&self, now: Now) -> bool {
        // What is committed and not yet told says nothing of the disk.
        let oldest = self.writes.front().filter(|write| write.ticket > self.committed);
        self.trouble.is_some() || oldest.is_some_and(|write| now.millis() >= write.at.after(STORE_STALLED_MS))
    }

    /// Rooms of which the store has not said for too long whether they are open: some of them, others the next time.
    fn late_openings(&mut self, now: Now) -> Vec<RoomId> {
        let behind = self.opening.range((Excluded(self.looked), Unbounded));
        let late = behind.take_while(|(_, (_, at))| now.millis() >= at.after(STORE_STALLED_MS));
        let (mut rooms, mut last) = (Vec::new(), Ticket(0));
        for (ticket, (room, _)) in late.take(LATE_OPENINGS_PER_LOOK) {
            rooms.push(*room);
            last = *ticket;
        }
        self.looked = if rooms.len() < LATE_OPENINGS_PER_LOOK { Ticket(0) } else { last };
        rooms
    }
}

impl Shard {
    /// Once a second: whether the store answers.
    pub(super) fn look_at_store(&mut self, now: Now, effects: &mut Effects) {
        self.show_trouble(now);
        let Some(keeping) = &mut self.keeping else { return };
        for room in keeping.late_openings(now) {
            self.refuse_waiting(now, room, effects);
        }
    }

    pub(super) fn show_trouble(&self, now: Now) {
        if let Some(keeping) = &self.keeping {
            self.metrics.set(Metric::StoreTrouble, u64::from(keeping.is_in_trouble(now)));
        }
    }

    /// Refuses what waits for a channel to be open. The store may open it later: nothing of this was sequenced.
    fn refuse_waiting(&mut self, now: Now, id: RoomId, effects: &mut Effects) {
        let Some(kept) = self.rooms.at_mut(id).and_then(Room::kept_mut) else { return };
        kept.waiting_bytes = 0;
        let waiting = std::mem::take(&mut kept.waiting);
        let (readers, erasures) = (std::mem::take(&mut kept.readers), std::mem::take(&mut kept.erasures));
        if let Some(keeping) = &mut self.keeping {
            keeping.browsing -= readers.len() + erasures.len();
        }
        for publication in waiting {
            self.end_wait(&publication);
            self.answer(now, &Proposal::of(&publication), Err(ErrorCode::StoreUnavailable), effects);
        }
        for browse in readers {
            self.give_page(now, browse.reader, Err(ErrorCode::StoreUnavailable), effects);
        }
        for ticket in erasures {
            reply(ticket, Err(ErrorCode::StoreUnavailable), effects);
        }
    }

    /// What is stored of a channel is damaged where it says how it goes on. Nobody can be told where it stands, and that
    /// does not pass by itself: who waits for it is told instead, on shards that follow, too.
    pub(super) fn turn_away(&mut self, now: Now, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at(id) else { return };
        let Role::Home { followers, .. } = &room.role else { return };
        let code = ErrorCode::StoreUnavailable;
        for follower in followers {
            let (channel, attachment) = (Arc::clone(&room.name), follower.attachment);
            let refusal = MeshMessage::NoPlace { channel, attachment, code };
            effects.list.push(Effect::Mesh(follower.shard, refusal));
        }
        self.put_out_all(now, id, code, effects);
    }
}
