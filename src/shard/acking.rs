//! How far members have got, as they say it: the acknowledgements of subscribers, kept at the channel's home.
//!
//! In a channel that delivers until it is acknowledged, who joins without a position starts after what its user
//! has acknowledged on any connection. A legacy client cannot say so; it is sent a ping after such events, and
//! its pong says it (RFC 6455 section 5.5.3: a pong answers the latest ping).

use std::sync::Arc;

use super::Shard;
use super::effect::{Effect, Effects};
use super::message::MeshMessage;
use super::message::service::PatternMessage;
use super::rooms::{Role, Room, RoomId};
use crate::ids::{ConnId, Epoch, Position, Seq, ShardId};
use crate::metrics::{Metric, Timing};
use crate::time::Now;

/// What the payload of a ping begins with that asks whether an event has come.
const PING_TAG: &[u8; 4] = b"ack:";

/// The payload of the ping that follows the event at a place.
pub(super) fn ping_payload(room: RoomId, epoch: Epoch, seq: Seq) -> [u8; 24] {
    let mut payload = [0; 24];
    payload[..4].copy_from_slice(PING_TAG);
    payload[4..8].copy_from_slice(&room.number().to_be_bytes());
    payload[8..16].copy_from_slice(&epoch.0.to_be_bytes());
    payload[16..].copy_from_slice(&seq.0.to_be_bytes());
    payload
}

fn read_ping(payload: &[u8]) -> Option<(RoomId, Epoch, Seq)> {
    let rest = payload.strip_prefix(PING_TAG)?;
    let (room, rest) = rest.split_first_chunk::<4>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let seq = u64::from_be_bytes(rest.try_into().ok()?);
    Some((RoomId::of(u32::from_be_bytes(*room)), Epoch(u64::from_be_bytes(*epoch)), Seq(seq)))
}

impl Shard {
    /// A client says how far it has read a channel; its endpoint's if it names none.
    pub(super) fn on_ack(
        &mut self,
        now: Now,
        id: ConnId,
        channel: Option<&str>,
        position: Position,
        effects: &mut Effects,
    ) {
        let Some(conn) = self.slots.find(id) else { return };
        let Some(user) = conn.user() else { return };
        let named = channel.map(|name| super::admission::full_name(name, user));
        let room = match (&named, &conn.own) {
            (Some(named), _) => self.rooms.find(named),
            (None, Some(own)) => self.rooms.find(own),
            (None, None) => None,
        };
        if let (Some(room), Some(epoch)) = (room, position.epoch) {
            self.acknowledge(now, id, (room, epoch, position.seq), effects);
        }
    }

    /// A pong may answer the ping that followed an event.
    pub(super) fn on_pong(&mut self, now: Now, id: ConnId, payload: &[u8], effects: &mut Effects) {
        if let Some(place) = read_ping(payload) {
            self.acknowledge(now, id, place, effects);
        } else if payload.is_empty()
            && let Some(trip) = self.slots.find_mut(id).and_then(|conn| conn.live.on_pong(now.millis()))
        {
            self.metrics.timing(Timing::RoundTrip).record(trip.saturating_mul(1000));
        }
    }

    /// Only what was sent to this very member counts, and only what goes further than before is passed on: so
    /// acknowledgements, which cost nothing, are no more than the events were.
    fn acknowledge(
        &mut self,
        now: Now,
        id: ConnId,
        (room_id, epoch, seq): (RoomId, Epoch, Seq),
        effects: &mut Effects,
    ) {
        let Some(index) = self.membership_in(id, room_id) else { return };
        let Some(room) = self.rooms.at(room_id) else { return };
        let Some(conn) = self.slots.find_mut(id) else { return };
        let member = conn.memberships.at(index).and_then(|membership| room.members.at(membership.place));
        let sent = member.is_some_and(|member| member.start.is_none() && seq < member.next);
        if !sent || !room.has_had(epoch, seq) {
            return;
        }
        let service = conn.service.get_or_insert_default();
        let before = service.acked.insert(room_id, seq);
        if before.is_some_and(|before| before >= seq) {
            service.acked.extend(before.map(|before| (room_id, before)));
            return;
        }
        let Some(user) = conn.user().map(Arc::clone) else { return };
        self.metrics.count(Metric::Acknowledged);
        let channel = Arc::clone(&room.name);
        let home = match &room.role {
            Role::Home { .. } => self.id,
            Role::Mirror { home, .. } => *home,
        };
        self.send_pattern(now, home, PatternMessage::Acked { user, by: id, channel, epoch, seq }, effects);
    }

    /// At the channel's home: a user has everything up to an event, and so has the group that this connection
    /// consumes for.
    pub(super) fn on_acked(
        &mut self,
        now: Now,
        (user, by): (&Arc<str>, ConnId),
        channel: &str,
        (epoch, seq): (Epoch, Seq),
    ) {
        let Some(id) = self.rooms.find(channel) else { return };
        let Some(room) = self.rooms.at_mut(id) else { return };
        if !room.has_had(epoch, seq) || seq > room.history.last() {
            return;
        }
        let is_kept = room.stored.is_some();
        let service = room.service.get_or_insert_default();
        service.cursors.advance(user, seq);
        let until_acked = room.until_acked;
        let mut moved = Vec::new();
        for (group, share) in &mut service.shares {
            if share.ack(now.millis(), by, seq) && is_kept {
                moved.push(*group);
            }
        }
        if until_acked {
            self.keep_cursor(id, user, seq);
        }
        for group in moved {
            self.keep_position(id, group, seq);
        }
    }

    /// Where a member starts that names no position: after what its user has acknowledged, in a channel that
    /// delivers until then.
    pub(super) fn cursor_of(&self, room: &Room, slot: u32) -> Option<Seq> {
        if !room.until_acked {
            return None;
        }
        let user = self.slots.tenant(slot).and_then(|conn| conn.user())?;
        let cursors = room.service.as_ref().map(|service| &service.cursors);
        Some(cursors.map_or(Seq(0), |cursors| cursors.of(user)))
    }

    /// To another shard, or done at once.
    pub(super) fn send_pattern(&mut self, now: Now, to: ShardId, message: PatternMessage, effects: &mut Effects) {
        if to == self.id {
            self.on_pattern_message(now, self.id, message, effects);
        } else {
            effects.list.push(Effect::Mesh(to, MeshMessage::Pattern(Box::new(message))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_is_an_acknowledgement_only_if_it_repeats_our_ping() {
        let place = (RoomId::of(7), Epoch(u64::MAX - 1), Seq(9));
        let payload = ping_payload(place.0, place.1, place.2);
        assert_eq!(read_ping(&payload), Some(place));
        for other in [&b""[..], b"ack:", &payload[..23], &payload[1..], &[payload.as_slice(), b"x"].concat()] {
            assert_eq!(read_ping(other), None, "{other:?}");
        }
    }
}
