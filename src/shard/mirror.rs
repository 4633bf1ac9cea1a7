//! A channel whose home is another shard: its history is fed in order, and members here read from it as if
//! it were at home.

use super::Shard;
use super::effect::Effects;
use super::joining::{fallback, settle};
use super::keeping::Stored;
use super::message::Tail;
use super::rooms::{Role, Room, RoomId};
use crate::code::ErrorCode;
use crate::envelope::event::kind_of;
use crate::ids::Seq;
use crate::metrics::Metric;
use crate::time::Now;
use crate::wire::encoder::payload_of;

impl Shard {
    /// The channel's home has no place for it, or cannot read it: whoever is in it here is told, and may try again.
    pub(super) fn on_no_place(
        &mut self,
        now: Now,
        channel: &str,
        (attachment, code): (u32, ErrorCode),
        effects: &mut Effects,
    ) {
        let Some(id) = self.rooms.find(channel) else { return };
        let Some(room) = self.rooms.at(id) else { return };
        if !matches!(&room.role, Role::Mirror { attachment: ours, .. } if *ours == attachment) {
            return;
        }
        self.put_out_all(now, id, code, effects);
    }

    /// All members here are told why they are in a channel no longer.
    pub(super) fn put_out_all(&mut self, now: Now, id: RoomId, code: ErrorCode, effects: &mut Effects) {
        let reason = if code == ErrorCode::StoreUnavailable { "store_unavailable" } else { "overloaded" };
        let Some(room) = self.rooms.at(id) else { return };
        let slots: Vec<u32> = room.members.iter().map(|member| member.slot).collect();
        for slot in slots {
            let Some((conn, _)) = self.slots.tenant_mut(slot) else { continue };
            if let Some(index) = self.membership_in(conn, id) {
                self.leave_with_notice(now, conn, index, Some(reason), effects);
            }
        }
    }

    /// Events from the channel's home.
    pub(super) fn on_tail(&mut self, now: Now, tail: Tail, effects: &mut Effects) {
        let Some(id) = self.rooms.find(&tail.channel) else { return };
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Role::Mirror { attachment, goal, first_goal, answers, .. } = &mut room.role else { return };
        if *attachment != tail.attachment {
            return; // Sent before the home knew that the members here had left.
        }
        room.until_acked = tail.until_acked;
        if let Some(answered) = tail.goal {
            *goal = answered;
            *first_goal = answered.min(*first_goal);
            *answers += 1;
            if let Some(known) = tail.past.filter(|_| room.stored.is_none()) {
                room.stored = Some(Box::new(Stored::elsewhere(*known)));
            }
            if let Some(cursors) = tail.cursors {
                room.service.get_or_insert_default().cursors = *cursors;
            }
        }
        // Up to there it is what was before anybody here was a member.
        let live_after = *first_goal;
        if tail.epoch != room.history.epoch() || tail.first != room.history.next() {
            // The first tail gives the position to start from. A later jump says that this shard fell off
            // the home's history: members that needed what lies between find out by their positions.
            let freed = room.history.restart(tail.epoch, tail.first);
            self.metrics.subtract(Metric::HistoryBytes, freed as u64);
        }
        if let Some(through) = tail.erased {
            self.drop_events(id, through);
        }
        if let Some(past) = self.rooms.at_mut(id).and_then(Room::past_mut) {
            tail.excluded.into_iter().for_each(|(seq, author)| past.exclude(seq, author));
        }
        for event in tail.events {
            if event.seq > live_after {
                let (_, deliveries) = Metric::of_event(kind_of(payload_of(event.plain())));
                self.count_deliveries(id, deliveries, event.excluded);
            }
            self.append(now, id, event);
        }
        self.settle_members(id, effects);
        self.line_up(id);
    }

    /// Once the mirror holds what the channel held when its home answered, everybody who joined meanwhile
    /// starts from there: what came after is live to them. Who names a position beyond waits for an answer
    /// that was asked for after it joined.
    pub(super) fn settle_members(&mut self, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id).filter(|room| room.is_live()) else { return };
        if matches!(room.role, Role::Home { .. }) {
            return self.settle_at_home(id);
        }
        let Room { history, members, name, service, stored, .. } = room;
        let cursors = service.as_deref().map(|service| &service.cursors);
        let until_acked = room.until_acked;
        let Role::Mirror { goal, answers, unsettled, .. } = &mut room.role else { return };
        if !std::mem::replace(unsettled, false) {
            return;
        }
        let fallback = fallback(name);
        let mut asks = false;
        for member in members.iter_mut() {
            let Some(pending) = member.start.as_deref() else { continue };
            // What its user has acknowledged meanwhile is known to the home as well.
            let by_cursor = until_acked && pending.position.is_none();
            let behind = pending.position.is_some_and(|position| history.is_behind(position));
            if (behind || by_cursor) && *answers <= pending.after {
                (*unsettled, asks) = (true, true);
                continue;
            }
            let seen = pending.position.map_or(Seq(0), |position| position.seq).min(history.last());
            settle(history, seen.max(*goal), fallback, (stored, member));
            // It waits for the store.
            *unsettled |= member.start.is_some();
            if by_cursor && let Some(user) = self.slots.tenant(member.slot).and_then(|conn| conn.user()) {
                let cursor = cursors.map_or(Seq(0), |cursors| cursors.of(user));
                member.next = cursor.next().min(member.next);
            }
        }
        if asks {
            room.ask_home(effects);
        }
        self.note_replay(id);
    }

    /// The same where the channel is at home: members wait there for the store to open it, or to read a stretch.
    fn settle_at_home(&mut self, id: RoomId) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Room { history, members, name, service, stored, until_acked, .. } = room;
        let fallback = fallback(name);
        for member in members.iter_mut() {
            let Some(pending) = member.start.as_deref() else { continue };
            let by_cursor = *until_acked && pending.position.is_none();
            settle(history, history.last(), fallback, (stored, member));
            if by_cursor && let Some(user) = self.slots.tenant(member.slot).and_then(|conn| conn.user()) {
                let cursor = service.as_deref().map_or(Seq(0), |service| service.cursors.of(user));
                member.next = cursor.next().min(member.next);
            }
        }
        self.note_replay(id);
    }
}
