//! Subscriptions to patterns, at the home of the channels that match them.
//!
//! A subscription is an automatic membership. With its first event after the subscription, a channel's home
//! has the subscriber made a member after the event before it; from then on it is a member like any other, with
//! a cursor, gaps and acknowledgements. Of a group one consumer at a time is a member; its time to acknowledge
//! is watched here, and when it is gone or late the next consumer is made a member after what was acknowledged.

use std::sync::Arc;

use super::Shard;
use super::effect::Effects;
use super::message::service::{PatternMessage, Refused};
use super::rooms::{Role, RoomId};
use super::timers::Timer;
use crate::auth::is_system;
use crate::ids::{Position, Seq, ShardId};
use crate::limits::ENLIST_ROOMS_PER_TURN;
use crate::metrics::Metric;
use crate::room::cursors::Cursors;
use crate::room::group::{Consumer, GroupId, Patterns, Share, Subscription};
use crate::time::Now;

/// What a channel's home keeps for those who acknowledge or subscribe by pattern; a mirror keeps the cursors.
#[derive(Debug, Default)]
pub(super) struct RoomService {
    pub(super) cursors: Cursors,
    pub(super) enlisted: Vec<Enlisted>,
    pub(super) shares: Vec<(GroupId, Share)>,
    /// Whether the wheel holds a look at the shares.
    pub(super) timer: bool,
    /// Whether the room stands among those to be served or those that wait for a consumer.
    pub(super) waits: bool,
}

/// A subscriber without a group.
#[derive(Debug)]
pub(super) struct Enlisted {
    consumer: Consumer,
    /// It is to be made a member, after this event; `None` while it is one.
    after: Option<Seq>,
    /// It could not become one, and was told so.
    refused: bool,
}

impl RoomService {
    /// Whether nobody is on the way to be a member.
    pub(super) fn is_settled(&self) -> bool {
        self.enlisted.iter().all(|one| one.after.is_none() || one.refused)
            && self.shares.iter().all(|(_, share)| share.consumer().is_none())
    }

    /// The channel is forgotten, with all that nobody is owed. Returns whether somebody is owed something.
    pub(super) fn settle_up(&mut self, last: Seq, patterns: &Patterns) -> bool {
        self.enlisted.retain(|one| one.after.is_some());
        self.shares.retain(|(group, share)| share.is_owed(last) && patterns.has_group(*group));
        for (_, share) in &mut self.shares {
            share.release();
        }
        (self.timer, self.waits) = (false, false);
        !self.shares.is_empty()
    }

    /// Whether it concerns a group that is still known.
    pub(super) fn owes(&self, patterns: &Patterns) -> bool {
        self.shares.iter().any(|(group, _)| patterns.has_group(*group))
    }

    /// Whether one of its groups has a consumer.
    pub(super) fn could_pay(&self, patterns: &Patterns) -> bool {
        self.shares.iter().any(|(group, _)| patterns.has_consumer(*group))
    }
}

impl Shard {
    pub(super) fn on_pattern_message(
        &mut self,
        now: Now,
        from: ShardId,
        message: PatternMessage,
        effects: &mut Effects,
    ) {
        match message {
            PatternMessage::Subscribe(subscription) => self.on_subscription(now, subscription, effects),
            PatternMessage::Unsubscribe(consumer) => self.on_unsubscription(consumer),
            PatternMessage::Full(consumer) => self.on_pattern_full(now, consumer, effects),
            PatternMessage::Enlist { consumer, channel, epoch, after, told } => {
                let position = Position { epoch: Some(epoch), seq: after };
                self.on_enlist(now, from, consumer, (&channel, position, told), effects);
            }
            PatternMessage::Dismiss(consumer, channel) => self.on_dismiss(now, consumer, &channel, effects),
            PatternMessage::Left(consumer, channel, next) => self.on_left(now, consumer, &channel, next, effects),
            PatternMessage::Acked { user, by, channel, epoch, seq } => {
                self.on_acked(now, (&user, by), &channel, (epoch, seq));
            }
        }
    }

    fn on_subscription(&mut self, now: Now, subscription: Subscription, effects: &mut Effects) {
        let (consumer, of_group) = (subscription.consumer, subscription.group.is_some());
        if self.patterns.add(subscription).is_ok() {
            self.unserved.append(&mut self.orphans);
            if of_group && self.keeping.is_some() {
                self.begin_to_claim();
            }
        } else {
            self.metrics.count(Metric::RefusedOverload);
            self.send_pattern(now, consumer.conn.shard, PatternMessage::Full(consumer), effects);
        }
    }

    /// A consumer is gone: what it had, others get.
    fn on_unsubscription(&mut self, consumer: Consumer) {
        self.patterns.remove(consumer);
        for id in self.holdings.remove(&consumer).unwrap_or_default() {
            let Some(room) = self.rooms.at_mut(id) else { continue };
            #[cfg(feature = "planted-faults")]
            let last = room.history.last();
            let Some(service) = room.service.as_mut() else { continue };
            for (_, share) in service.shares.iter_mut().filter(|(_, share)| share.consumer() == Some(consumer)) {
                share.release();
                #[cfg(feature = "planted-faults")]
                if super::fault::is(super::fault::Fault::GroupCursorKept) {
                    *share = Share::new(last);
                }
            }
            self.wait_for_consumer(id);
        }
    }

    /// Puts a room among those that are served in the coming turns.
    pub(super) fn wait_for_consumer(&mut self, id: RoomId) {
        let service = self.rooms.at_mut(id).and_then(|room| room.service.as_mut());
        if let Some(service) = service
            && !std::mem::replace(&mut service.waits, true)
        {
            self.unserved.push(id);
        }
    }

    /// A channel at home here has an event: those who want it by pattern are to be members.
    pub(super) fn serve_patterns(&mut self, now: Now, id: RoomId, effects: &mut Effects) {
        self.claim_positions(id);
        // Who wants everything does not mean the gateway's own channels.
        let Some(room) = self.rooms.at_mut(id).filter(|room| !is_system(&room.name)) else { return };
        let last = room.history.last();
        let before = Seq(last.0 - 1);
        let version = self.patterns.version();
        let Role::Home { patterns_seen, .. } = &mut room.role else { return };
        let mut begun = Vec::new();
        if std::mem::replace(patterns_seen, version) != version {
            let single: Vec<Consumer> = self.patterns.single(&room.name).collect();
            let groups: Vec<GroupId> = self.patterns.groups(&room.name).collect();
            if room.service.is_none() && single.is_empty() && groups.is_empty() {
                return;
            }
            let service = room.service.get_or_insert_default();
            service.enlisted.retain(|one| single.contains(&one.consumer));
            service.shares.retain(|(group, _)| groups.contains(group));
            for consumer in single {
                if !service.enlisted.iter().any(|one| one.consumer == consumer) {
                    service.enlisted.push(Enlisted { consumer, after: Some(before), refused: false });
                }
            }
            for group in groups {
                if !service.shares.iter().any(|(one, _)| *one == group) {
                    service.shares.push((group, Share::new(before)));
                    begun.push(group);
                }
            }
        }
        let Some(service) = &mut room.service else { return };
        for (_, share) in &mut service.shares {
            share.on_event(now.millis(), last);
        }
        // Before the event: whatever is stored of the channel, the group is owed it.
        for group in begun {
            self.keep_position(id, group, before);
        }
        self.enlist(now, id, None, effects);
    }

    /// Has members made of those who are to be and are not. Who was late is passed over if there is another.
    fn enlist(&mut self, now: Now, id: RoomId, late: Option<Consumer>, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let (name, epoch, last) = (Arc::clone(&room.name), room.history.epoch(), room.history.last());
        let Some(service) = &mut room.service else { return };
        let (mut wanted, mut alone, mut later) = (Vec::new(), false, false);
        // Who was refused is asked again with the rooms that wait, not with every event.
        let waits = service.waits;
        for one in service.enlisted.iter_mut().filter(|one| !(waits && one.refused)) {
            let to = one.consumer.conn.shard;
            if one.after.is_some() && to != self.id && effects.congested(to) {
                later = true;
            } else if let Some(after) = one.after.take() {
                wanted.push((one.consumer, after, one.refused));
            }
        }
        for (group, share) in &mut service.shares {
            if share.consumer().is_some() || !share.is_owed(last) || waits && share.was_refused() {
                continue;
            }
            match self.patterns.pick(*group, late) {
                None => alone = true,
                Some(consumer) if consumer.conn.shard != self.id && effects.congested(consumer.conn.shard) => {
                    later = true
                }
                Some(consumer) => {
                    wanted.push((consumer, share.assign(now.millis(), consumer), share.was_refused()));
                    self.holdings.entry(consumer).or_default().insert(id);
                }
            }
        }
        if (alone || later) && !std::mem::replace(&mut service.waits, true) {
            if later { self.unserved.push(id) } else { self.orphans.push(id) }
        }
        for (consumer, after, told) in wanted {
            let message = PatternMessage::Enlist { consumer, channel: Arc::clone(&name), epoch, after, told };
            self.send_pattern(now, consumer.conn.shard, message, effects);
        }
        self.watch_shares(id);
    }

    /// Serves the rooms that wait, some in each turn. Returns whether more are to be served.
    pub(super) fn serve_waiting(&mut self, now: Now, effects: &mut Effects) -> bool {
        let count = self.unserved.len().min(ENLIST_ROOMS_PER_TURN);
        let rooms: Vec<RoomId> = self.unserved.drain(..count).collect();
        // What waits again for lack of room in the mesh is tried again in the next turn, whatever brings it.
        let more = !self.unserved.is_empty();
        for id in rooms {
            if let Some(service) = self.rooms.at_mut(id).and_then(|room| room.service.as_mut()) {
                service.waits = false;
                self.enlist(now, id, None, effects);
            }
        }
        more
    }

    /// Rooms that found no consumer, or whose consumers refused, are tried again once a second.
    pub(super) fn retry_orphans(&mut self) {
        self.unserved.append(&mut self.orphans);
    }

    /// Has the wheel look at a room's shares when the first consumer of them is late.
    fn watch_shares(&mut self, id: RoomId) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let last = room.history.last();
        let Some(service) = &mut room.service else { return };
        let first = service.shares.iter().filter_map(|(_, share)| share.deadline(last)).min();
        if let Some(first) = first
            && !std::mem::replace(&mut service.timer, true)
        {
            self.wheel.insert(first, Timer::Shares(id));
        }
    }

    /// Consumers that have not acknowledged in time lose the channel.
    pub(super) fn on_shares_due(&mut self, now: Now, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let (name, last) = (Arc::clone(&room.name), room.history.last());
        let Some(service) = &mut room.service else { return };
        service.timer = false;
        let due = |share: &Share| share.deadline(last).is_some_and(|at| at <= now.millis());
        let late: Vec<Consumer> = service
            .shares
            .iter_mut()
            .filter(|(_, share)| due(share))
            .filter_map(|(_, share)| share.release())
            .collect();
        for consumer in &late {
            self.metrics.count(Metric::ConsumersLate);
            if let Some(rooms) = self.holdings.get_mut(consumer) {
                rooms.remove(&id);
            }
            let message = PatternMessage::Dismiss(*consumer, Arc::clone(&name));
            self.send_pattern(now, consumer.conn.shard, message, effects);
        }
        self.enlist(now, id, late.first().copied(), effects);
        self.watch_shares(id);
    }

    /// A consumer is no member any more: it was owed nothing for long, left by itself, or never could join.
    fn on_left(
        &mut self,
        now: Now,
        consumer: Consumer,
        channel: &str,
        next: Result<Seq, Refused>,
        effects: &mut Effects,
    ) {
        let Some(id) = self.rooms.find(channel) else { return };
        let Some(room) = self.rooms.at_mut(id) else { return };
        let last = room.history.last();
        let Some(service) = &mut room.service else { return };
        if let Some(index) = service.enlisted.iter().position(|one| one.consumer == consumer) {
            let one = &mut service.enlisted[index];
            match next {
                // The next event brings it back.
                Ok(next) if next > last => {
                    service.enlisted.remove(index);
                    if let Role::Home { patterns_seen, .. } = &mut room.role {
                        *patterns_seen = 0;
                    }
                }
                // One that was a member of nothing any more when it left has read nothing, and begins with the first.
                Ok(next) => (one.after, one.refused) = (Some(Seq(next.0.saturating_sub(1))), false),
                Err(Refused(after)) => (one.after, one.refused) = (Some(after), true),
            }
        }
        for (_, share) in service.shares.iter_mut().filter(|(_, share)| share.consumer() == Some(consumer)) {
            if next.is_ok() {
                share.release()
            } else {
                share.refuse()
            };
        }
        if let Some(rooms) = self.holdings.get_mut(&consumer) {
            rooms.remove(&id);
        }
        match next {
            Ok(_) => self.enlist(now, id, None, effects),
            Err(Refused(_)) => {
                let Some(service) = self.rooms.at_mut(id).and_then(|room| room.service.as_mut()) else { return };
                if !std::mem::replace(&mut service.waits, true) {
                    self.orphans.push(id);
                }
            }
        }
    }
}
