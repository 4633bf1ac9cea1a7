//! Where readers stand in durable channels, beyond this process: cursors of users, positions of groups.

use std::sync::Arc;

use super::Stage;
use crate::ids::Seq;
use crate::ledger::Request;
use crate::room::group::{GroupId, Share};
use crate::shard::Shard;
use crate::shard::rooms::{Room, RoomId};

impl Shard {
    /// A user has everything up to an event, which outlives the process too.
    pub(in crate::shard) fn keep_cursor(&mut self, id: RoomId, user: &Arc<str>, seq: Seq) {
        let Some(kept) = self.rooms.at(id).and_then(Room::kept) else { return };
        if let (Stage::Open(channel), Some(keeping)) = (&kept.stage, &mut self.keeping) {
            keeping.ask(Request::Cursor { channel: *channel, user: Arc::clone(user), seq: Some(seq) });
        }
    }

    /// A group has everything up to an event, which outlives the process too.
    pub(in crate::shard) fn keep_position(&mut self, id: RoomId, group: GroupId, seq: Seq) {
        let Some(kept) = self.rooms.at(id).and_then(Room::kept) else { return };
        if let (Stage::Open(channel), Some(keeping), Some(label)) =
            (&kept.stage, &mut self.keeping, self.patterns.label(group))
        {
            keeping.ask(Request::Position { channel: *channel, group: label, seq: Some(seq) });
        }
    }

    /// Groups of which the store has a position, and for which somebody has subscribed here, go on from there.
    pub(in crate::shard) fn claim_positions(&mut self, id: RoomId) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Some(kept) = room.stored.as_deref_mut().and_then(|stored| stored.kept.as_mut()) else { return };
        if kept.positions.is_empty() {
            return;
        }
        let patterns = &self.patterns;
        let claimed = kept.positions.extract_if(.., |(label, _)| patterns.labelled(label).is_some());
        let service = room.service.get_or_insert_default();
        for (label, seq) in claimed {
            if let Some(group) = patterns.labelled(&label)
                && !service.shares.iter().any(|(one, _)| *one == group)
            {
                service.shares.push((group, Share::new(seq)));
            }
        }
    }

    /// Somebody may have subscribed for a group that has a position in a channel.
    pub(in crate::shard) fn serve_claimants(&mut self, id: RoomId) {
        let kept = self.rooms.at(id).and_then(Room::kept);
        if kept.is_some_and(|kept| kept.positions.iter().any(|(label, _)| self.patterns.labelled(label).is_some())) {
            self.claim_positions(id);
            self.wait_for_consumer(id);
        }
    }
}
