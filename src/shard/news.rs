//! What rooms of those who speak flat frames hear that has no number: who comes and goes, who writes.
//!
//! It goes to the channel's home, which counts it and passes it on, here and to the shards that follow, to some members
//! in each turn. It waits in the low lane of each: what a slow one does not take in time it does not get, as if it had
//! come later.

use std::sync::Arc;

use super::Shard;
use super::connection::Membership;
use super::effect::{Effect, Effects};
use super::message::{FlatTyping, Gesture, MeshMessage, RosterMessage, Travel};
use super::rooms::Role;
use crate::envelope::Encoding;
use crate::envelope::globetrotter::notice::{self, News};
use crate::envelope::globetrotter::{IdForm, TripRef};
use crate::ids::ConnId;
use crate::limits::{RUMOURS_PER_SHARD_MAX, TYPING_MS};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::payload::Payload;
use crate::room::fleeting::{Act, Topic};
use crate::route;
use crate::session::endpoint::Door;
use crate::time::Now;

/// News on their way to the members of a room on this shard.
#[derive(Debug)]
pub(super) struct Rumour {
    channel: Arc<str>,
    frame: Payload,
    but: Option<ConnId>,
    /// The place among the members that is next.
    next: u32,
}

/// Whether a connection was in the room already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    No,
    Yes,
}

impl Shard {
    /// A room is told that a connection has joined it, however often it has.
    pub(super) fn tell_arrival(
        &mut self,
        id: ConnId,
        channel: &str,
        (news, again): (News, Again),
        effects: &mut Effects,
    ) {
        let index = self.membership_index(id, channel);
        let membership = index.and_then(|index| self.slots.find(id)?.memberships.at(index));
        if let Some(membership) = membership {
            let sockets = if again == Again::Yes { 0 } else { 1 };
            self.tell_travel(id, membership, (news, sockets), effects);
        }
    }

    /// A room is told that a connection that speaks flat frames leaves it.
    pub(super) fn tell_departure(&mut self, id: ConnId, membership: Membership, effects: &mut Effects) {
        let Some(conn) = self.slots.find(id).filter(|conn| conn.door.is_flat()) else { return };
        let news = if conn.door == Door::GlobeTrotterTrip { News::LeftTrip } else { News::Left };
        self.tell_travel(id, membership, (news, -1), effects);
    }

    fn tell_travel(&mut self, id: ConnId, membership: Membership, (news, sockets): (News, i8), effects: &mut Effects) {
        let user = self.slots.find(id).and_then(|conn| conn.user()).cloned();
        let Some((user, room)) = user.zip(self.rooms.at(membership.room)) else { return };
        if !room.name.starts_with("trip:") {
            return;
        }
        let channel = Arc::clone(&room.name);
        let travel = Travel { channel, author: id, user, news, form: membership.form, sockets };
        match room.role {
            Role::Home { .. } => self.on_travel(self.latest, &travel, effects),
            Role::Mirror { home, .. } => {
                let message = MeshMessage::Roster(Box::new(RosterMessage::Travel(travel)));
                effects.list.push(Effect::Mesh(home, message));
            }
        }
    }

    /// Somebody came into a trip at home here, or went.
    pub(super) fn on_travel(&mut self, now: Now, travel: &Travel, effects: &mut Effects) {
        self.roster.change_room(&travel.channel, travel.sockets);
        let Some(id) = travel.channel.strip_prefix("trip:") else { return };
        let trip = TripRef { id, form: travel.form };
        let frame = self.pen.text(|out| notice::write_news(travel.news, &travel.user, trip, now.unix_ms, out));
        // Who leaves is out already.
        let but = (!travel.news.is_arrival()).then_some(travel.author);
        self.tell_room(&travel.channel, &frame, but, effects);
    }

    /// Somebody writes in a trip.
    pub(super) fn tell_typing(
        &mut self,
        now: Now,
        (channel, user): (Arc<str>, Arc<str>),
        (form, field): (IdForm, &str),
        effects: &mut Effects,
    ) {
        let home = route::home(&self.options.key, &channel, self.options.shards);
        let typing = FlatTyping { channel, user, form, field: Box::from(field) };
        if home == self.id {
            self.on_flat_typing(now, &typing, effects);
        } else if effects.congested(home) {
            self.metrics.count(Metric::OutboxDropped);
        } else {
            let message = MeshMessage::Roster(Box::new(RosterMessage::Typing(typing)));
            effects.list.push(Effect::Mesh(home, message));
        }
    }

    /// Somebody writes in a trip at home here.
    pub(super) fn on_flat_typing(&mut self, now: Now, typing: &FlatTyping, effects: &mut Effects) {
        let Some(id) = typing.channel.strip_prefix("trip:") else { return };
        let trip = TripRef { id, form: typing.form };
        let frame = self.pen.text(|out| notice::write_typing(&typing.user, trip, &typing.field, now.unix_ms, out));
        self.tell_room(&typing.channel, &frame, None, effects);
        let gesture = Gesture {
            author: None,
            channel: Arc::clone(&typing.channel),
            user: Arc::clone(&typing.user),
            topic: Topic::Typing,
            act: Act::Begin(Some(TYPING_MS)),
            field: serde_json::from_str::<Box<str>>(&typing.field).unwrap_or_default(),
            body: Box::default(),
        };
        self.on_gesture(now, &gesture, effects);
    }

    /// Tells those in a room at home here who speak flat frames, here and on the shards that follow.
    fn tell_room(&mut self, channel: &Arc<str>, frame: &Payload, but: Option<ConnId>, effects: &mut Effects) {
        let Some(room) = self.rooms.find(channel).and_then(|id| self.rooms.at(id)) else { return };
        if let Role::Home { followers, .. } = &room.role {
            for follower in followers.iter().filter(|follower| follower.encodings.contains(Encoding::GLOBETROTTER)) {
                if effects.congested(follower.shard) {
                    self.metrics.count(Metric::OutboxDropped);
                    continue;
                }
                let news = RosterMessage::News { channel: Arc::clone(channel), frame: frame.clone(), but };
                effects.list.push(Effect::Mesh(follower.shard, MeshMessage::Roster(Box::new(news))));
            }
        }
        self.tell_here(channel, frame, but);
    }

    /// The same for the members here, in turns to come as far as they are many.
    pub(super) fn tell_here(&mut self, channel: &Arc<str>, frame: &Payload, but: Option<ConnId>) {
        if self.rumours.len() >= RUMOURS_PER_SHARD_MAX {
            return self.metrics.count(Metric::OutboxDropped);
        }
        self.rumours.push_back(Rumour { channel: Arc::clone(channel), frame: frame.clone(), but, next: 0 });
    }

    /// Tells up to `turns` members the oldest news. Returns how many were looked at.
    pub(super) fn spread_news(&mut self, now: Now, turns: usize, effects: &mut Effects) -> usize {
        let Some(Rumour { channel, frame, but, next }) = self.rumours.front_mut() else { return 0 };
        let (frame, but, first) = (frame.clone(), *but, *next);
        let room = self.rooms.find(channel).and_then(|id| self.rooms.at(id));
        let places = room.map_or(0, |room| u32::try_from(room.members.places()).unwrap_or(u32::MAX));
        let last = first.saturating_add(u32::try_from(turns).unwrap_or(u32::MAX)).min(places);
        *next = last;
        let members = (first..last).filter_map(|place| room.and_then(|room| room.members.at(place)));
        let flat = members.filter(|member| member.encoding == Encoding::GLOBETROTTER);
        let slots: Vec<u32> = flat.map(|member| member.slot).collect();
        if last >= places {
            self.rumours.pop_front();
        }
        for slot in slots {
            if let Some((id, _)) = self.slots.tenant_mut(slot)
                && but != Some(id)
            {
                self.queue(now, id, Lane::Low, frame.clone(), effects);
            }
        }
        last.saturating_sub(first) as usize
    }
}
