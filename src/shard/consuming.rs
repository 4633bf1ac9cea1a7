//! Subscriptions to patterns, from the side of the connection that subscribes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Shard;
use super::connection::{Membership, Stage};
use super::effect::Effects;
use super::joining::Start;
use super::message::service::{PatternMessage, Refused};
use super::rooms::RoomId;
use crate::auth::caps::Verb;
use crate::code::ErrorCode;
use crate::envelope::{Encoding, notice};
use crate::ids::{ConnId, Position, Seq, ShardId};
use crate::limits::{
    AUTOMATIC_IDLE_MS, AUTOMATIC_PER_CONNECTION_MAX, CHANNEL_NAME_BYTES_MAX, PATTERNS_PER_CONNECTION_MAX,
    QUIET_LOOKS_PER_TURN,
};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::room::group::{Consumer, Subscription};
use crate::room::members::Watch;
use crate::shard::service::Pattern;
use crate::time::{Millis, Now};

/// What keeps a connection out of a channel of its pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeptOut {
    /// Its token does not permit that channel.
    ByToken,
    /// It has too many, or its shard has.
    ByBound,
}

/// A look at an automatic membership: it ends if nothing has come for long.
#[derive(Debug)]
pub(super) struct IdleLook {
    at: Millis,
    conn: ConnId,
    room: RoomId,
}

impl Shard {
    /// Subscribes a service to all channels that begin with what stands before the star.
    pub(super) fn subscribe_pattern(
        &mut self,
        now: Now,
        id: ConnId,
        pattern: &str,
        group: Option<&str>,
        effects: &mut Effects,
    ) -> Result<(), ErrorCode> {
        let prefix = pattern.strip_suffix('*').ok_or(ErrorCode::InvalidMessageFormat)?;
        let conn = self.slots.find(id).ok_or(ErrorCode::ServerError)?;
        let service = conn.claims.as_ref().is_some_and(|claims| claims.service);
        if !service || !self.may(id, pattern, Verb::Subscribe) {
            self.metrics.count(Metric::RefusedPermission);
            return Err(ErrorCode::PermissionDenied);
        }
        if prefix.contains('*') || pattern.len() > CHANNEL_NAME_BYTES_MAX {
            return Err(ErrorCode::ChannelNotFound);
        }
        let conn = self.slots.find_mut(id).ok_or(ErrorCode::ServerError)?;
        let service = conn.service.get_or_insert_default();
        // A channel belongs to one pattern of a connection, so that it is clear for whom it acknowledges.
        let overlaps = |other: &Pattern| other.prefix.starts_with(prefix) || prefix.starts_with(&*other.prefix);
        if service.patterns.iter().any(overlaps) {
            return Err(ErrorCode::InvalidMessageFormat);
        }
        if service.patterns.len() >= PATTERNS_PER_CONNECTION_MAX {
            return Err(ErrorCode::ConnectionLimitExceeded);
        }
        if !service.is_crowded() {
            service.ready.extend(conn.memberships.iter());
        }
        service.last_number += 1;
        let number = service.last_number;
        service.patterns.push(Pattern { number, prefix: Box::from(prefix) });
        let subscription = Subscription {
            consumer: Consumer { conn: id, number },
            prefix: Box::from(prefix),
            group: group.map(Box::from),
        };
        for shard in (0..self.options.shards).map(ShardId) {
            self.send_pattern(now, shard, PatternMessage::Subscribe(subscription.clone()), effects);
        }
        Ok(())
    }

    /// Ends a subscription to a pattern, and the memberships that it brought. Returns whether there was one.
    pub(super) fn unsubscribe_pattern(
        &mut self,
        now: Now,
        id: ConnId,
        pattern: &str,
        reason: Option<&str>,
        effects: &mut Effects,
    ) -> bool {
        let Some(prefix) = pattern.strip_suffix('*') else { return false };
        let Some(service) = self.slots.find_mut(id).and_then(|conn| conn.service.as_mut()) else { return false };
        let Some(index) = service.patterns.iter().position(|one| *one.prefix == *prefix) else { return false };
        let number = service.patterns.remove(index).number;
        let rooms: BTreeSet<RoomId> =
            service.automatic.extract_if(.., |_, owner| *owner == number).map(|(room, _)| room).collect();
        // There may be thousands: nothing is looked through for each of them. What takes the place of one that is
        // left was looked at before.
        service.ready.retain(|membership| !rooms.contains(&membership.room));
        for index in (0..self.slots.find(id).map_or(0, |conn| conn.memberships.len())).rev() {
            let membership = self.slots.find(id).and_then(|conn| conn.memberships.at(index));
            if membership.is_some_and(|membership| rooms.contains(&membership.room)) {
                self.leave(now.millis(), id, index, effects);
            }
        }
        let write = |stamp, out: &mut Vec<u8>| notice::write_unsubscribed(stamp, pattern, reason, out);
        let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
        self.queue(now, id, Lane::Critical, frame, effects);
        self.tell_unsubscribed(now, Consumer { conn: id, number }, effects);
        true
    }

    /// Ends the subscriptions to patterns that a refreshed token no longer permits.
    pub(super) fn end_forbidden_patterns(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find(id) else { return };
        let Some((claims, kept)) = conn.claims.as_ref().zip(conn.service.as_deref()) else { return };
        let patterns = kept.patterns.iter().map(|pattern| format!("{}*", pattern.prefix));
        let may = |pattern: &String| claims.service && self.permits(claims, pattern, Verb::Subscribe);
        let forbidden: Vec<String> = patterns.filter(|pattern| !may(pattern)).collect();
        for pattern in forbidden {
            self.unsubscribe_pattern(now, id, &pattern, Some("permission_denied"), effects);
        }
    }

    pub(super) fn tell_unsubscribed(&mut self, now: Now, consumer: Consumer, effects: &mut Effects) {
        for shard in (0..self.options.shards).map(ShardId) {
            self.send_pattern(now, shard, PatternMessage::Unsubscribe(consumer), effects);
        }
    }

    /// Some shard has no place for a subscription: it would get some channels only, so it ends.
    pub(super) fn on_pattern_full(&mut self, now: Now, consumer: Consumer, effects: &mut Effects) {
        let service = self.slots.find(consumer.conn).and_then(|conn| conn.service.as_deref());
        let pattern = service.and_then(|service| service.patterns.iter().find(|one| one.number == consumer.number));
        if let Some(pattern) = pattern.map(|pattern| format!("{}*", pattern.prefix)) {
            self.unsubscribe_pattern(now, consumer.conn, &pattern, Some("overloaded"), effects);
        }
    }

    /// A channel's home has found that a connection here is to be a member.
    pub(super) fn on_enlist(
        &mut self,
        now: Now,
        home: ShardId,
        consumer: Consumer,
        (channel, position, told): (&Arc<str>, Position, bool),
        effects: &mut Effects,
    ) {
        if let Err(kept_out) = self.try_enlist(now, consumer, (channel, position), effects) {
            if kept_out == KeptOut::ByBound && !told {
                self.tell_kept_out(now, consumer.conn, channel, effects);
            }
            let message = PatternMessage::Left(consumer, Arc::clone(channel), Err(Refused(position.seq)));
            self.send_pattern(now, home, message, effects);
        }
    }

    fn try_enlist(
        &mut self,
        now: Now,
        consumer: Consumer,
        (channel, position): (&Arc<str>, Position),
        effects: &mut Effects,
    ) -> Result<(), KeptOut> {
        let id = consumer.conn;
        // A connection that is gone, or no longer wants it, has said so to all homes already.
        let Some(conn) = self.slots.find(id).filter(|conn| matches!(conn.stage, Stage::Open)) else { return Ok(()) };
        let service = conn.service.as_deref();
        if service.and_then(|service| service.pattern_of(channel)) != Some(consumer.number) {
            return Ok(());
        }
        let claims = conn.claims.as_ref().ok_or(KeptOut::ByToken)?;
        if !self.permits(claims, channel, Verb::Subscribe) {
            self.metrics.count(Metric::RefusedPermission);
            return Err(KeptOut::ByToken);
        }
        let count = conn.memberships.len();
        let room = match self.rooms.find(channel) {
            Some(room) => room,
            None if count >= AUTOMATIC_PER_CONNECTION_MAX => return Err(KeptOut::ByBound),
            None => match self.open_room(now, channel) {
                Ok(room) => room,
                Err(_) => return Err(KeptOut::ByBound),
            },
        };
        let membership = match self.membership_in(id, room).and_then(|index| self.slots.find(id)?.memberships.at(index))
        {
            Some(membership) => {
                if let Some(service) = self.slots.find_mut(id).and_then(|conn| conn.service.as_mut())
                    && !service.automatic.contains_key(&room)
                {
                    service.doubly.insert(room);
                }
                if self.will_have(membership, position) {
                    return Ok(());
                }
                membership
            }
            None if count >= AUTOMATIC_PER_CONNECTION_MAX => return Err(KeptOut::ByBound),
            None => {
                let membership = self.enter(id, room, Watch::Apart);
                if let Some(service) = self.slots.find_mut(id).and_then(|conn| conn.service.as_mut()) {
                    service.automatic.insert(room, consumer.number);
                }
                let at = now.millis().after(AUTOMATIC_IDLE_MS);
                self.idle_looks.push_back(IdleLook { at, conn: id, room });
                membership
            }
        };
        self.place(room, membership.place, Encoding::TRIPSAGE, Start::At(Some(position)), effects);
        self.tell_interest(room, effects);
        self.hold_greetings(id);
        self.note_ready(id, membership);
        self.mark(id, effects);
        Ok(())
    }

    /// Whether a member gets everything after a position if it stays where it is. It must then: what it is owed of
    /// the time before would be skipped.
    fn will_have(&self, at: Membership, position: Position) -> bool {
        let Some(room) = self.rooms.at(at.room) else { return false };
        let Some(member) = room.members.at(at.place) else { return false };
        match member.start.as_deref() {
            None => Some(room.history.epoch()) == position.epoch && member.next <= position.seq.next(),
            Some(pending) => {
                let own = pending.position.filter(|own| own.epoch == position.epoch);
                own.is_some_and(|own| own.seq <= position.seq)
            }
        }
    }

    /// A client names a channel that a pattern may have brought it already: from now on it stays for that, too.
    /// Returns whether one had.
    pub(super) fn take_by_name(&mut self, id: ConnId, room: RoomId) -> bool {
        let Some(service) = self.slots.find_mut(id).and_then(|conn| conn.service.as_mut()) else { return false };
        service.automatic.remove(&room).is_some() && service.doubly.insert(room)
    }

    /// A bound keeps a connection from a channel of its pattern. That is told, never silent.
    fn tell_kept_out(&mut self, now: Now, id: ConnId, channel: &str, effects: &mut Effects) {
        self.metrics.count(Metric::RefusedOverload);
        self.saw_refused(now, id, ErrorCode::Overloaded);
        let write = |stamp, out: &mut Vec<u8>| notice::write_unsubscribed(stamp, channel, Some("overloaded"), out);
        let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
        self.queue(now, id, Lane::Critical, frame, effects);
    }

    /// Somebody else gets a channel of the group.
    pub(super) fn on_dismiss(&mut self, now: Now, consumer: Consumer, channel: &str, effects: &mut Effects) {
        let id = consumer.conn;
        let Some(room) = self.rooms.find(channel) else { return };
        let Some(service) = self.slots.find_mut(id).and_then(|conn| conn.service.as_mut()) else { return };
        if service.automatic.remove(&room).is_some()
            && let Some(index) = self.membership_in(id, room)
        {
            self.leave_with_notice(now, id, index, Some("ack_deadline"), effects);
        }
    }

    /// A connection leaves a channel of one of its patterns, for whatever reason but the home's: the home is to
    /// bring it back when there is more.
    pub(super) fn tell_left(&mut self, id: ConnId, room_id: RoomId, next: Seq, effects: &mut Effects) {
        let Some(room) = self.rooms.at(room_id) else { return };
        let Some(service) = self.slots.find_mut(id).and_then(|conn| conn.service.as_mut()) else { return };
        service.acked.remove(&room_id);
        service.ready.retain(|membership| membership.room != room_id);
        let brought = service.automatic.remove(&room_id).is_some();
        if !service.doubly.remove(&room_id) && !brought {
            return;
        }
        let Some(number) = service.pattern_of(&room.name) else { return };
        let message = PatternMessage::Left(Consumer { conn: id, number }, Arc::clone(&room.name), Ok(next));
        let home = crate::route::home(&self.options.key, &room.name, self.options.shards);
        self.send_pattern(self.latest, home, message, effects);
    }

    /// Ends automatic memberships in which nothing has happened for long, some in each turn: a channel that only
    /// patterns are in can be forgotten then. Returns whether there are more to look at.
    pub(super) fn end_quiet_memberships(&mut self, now: Now, effects: &mut Effects) -> bool {
        for _ in 0..QUIET_LOOKS_PER_TURN {
            let Some(IdleLook { conn: id, room, .. }) = self.idle_looks.pop_front_if(|look| look.at <= now.millis())
            else {
                return false;
            };
            let Some(service) = self.slots.find(id).and_then(|conn| conn.service.as_deref()) else { continue };
            if !service.automatic.contains_key(&room) {
                continue;
            }
            let Some(index) = self.membership_in(id, room) else { continue };
            let Some(state) = self.rooms.at(room) else { continue };
            let membership = self.slots.find(id).and_then(|conn| conn.memberships.at(index));
            let member = membership.and_then(|membership| state.members.at(membership.place));
            let caught_up = member.is_some_and(|member| {
                member.start.is_none() && member.greeting.is_none() && member.next == state.history.next()
            });
            let fresh = state
                .history
                .latest()
                .is_some_and(|event| now.micros.saturating_sub(event.micros) < AUTOMATIC_IDLE_MS * 1000);
            if caught_up && !fresh {
                self.leave(now.millis(), id, index, effects);
            } else {
                let at = now.millis().after(AUTOMATIC_IDLE_MS);
                self.idle_looks.push_back(IdleLook { at, conn: id, room });
            }
        }
        true
    }
}
