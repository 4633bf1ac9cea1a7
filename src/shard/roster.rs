//! Who speaks flat frames, and in which trips: counted, for who asks.
//!
//! A trip's home counts the sockets in it and a user's shard the user's, so every number is kept once, by small
//! messages when something changes. The report asks one shard after another, a page at a time, while the request
//! waits; nobody stands still for it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::Shard;
use super::connection::{Memberships, Stage};
use super::effect::{Effect, Effects};
use super::message::{MeshMessage, RosterMessage};
use super::opening::{Early, shared};
use super::rooms::Role;
use super::timers::Timer;
use crate::auth::caps::Verb;
use crate::auth::token::Claims;
use crate::envelope::Encoding;
use crate::envelope::globetrotter::IdForm;
use crate::envelope::globetrotter::outgoing::{Stats, write_stats};
use crate::ids::{ConnId, ShardId};
use crate::limits::{STATS_ASKING_MAX, STATS_DEADLINE_MS, STATS_PAGE_ROOMS, STATS_ROOMS_MAX};
use crate::metrics::Metric;
use crate::route;
use crate::time::Now;
use crate::wire::http::{HttpError, Request, Response};
use crate::wire::peer::Peer;

/// What a shard counts, and the reports that wait for other shards.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// Users at home here, with their connections on all shards.
    users: HashMap<Arc<str>, u32>,
    /// Trips at home here with a socket, by channel.
    rooms: BTreeMap<Arc<str>, u32>,
    inquiries: HashMap<ConnId, Inquiry>,
}

/// A report under way.
#[derive(Debug)]
struct Inquiry {
    stats: Stats,
    /// The shard that is asked.
    asked: ShardId,
    head_only: bool,
    /// The page that may read the answer.
    page: Option<Box<str>>,
}

impl Roster {
    fn change_user(&mut self, user: &Arc<str>, by: i8) {
        let before = self.users.get(user).copied().unwrap_or(0);
        match before.saturating_add_signed(by.into()) {
            0 => self.users.remove(user),
            after => self.users.insert(Arc::clone(user), after),
        };
    }

    /// A trip at home here has gained or lost a socket.
    pub(super) fn change_room(&mut self, channel: &Arc<str>, by: i8) {
        let before = self.rooms.get(channel).copied().unwrap_or(0);
        match before.saturating_add_signed(by.into()) {
            0 => self.rooms.remove(channel),
            after => self.rooms.insert(Arc::clone(channel), after),
        };
    }

    #[cfg(test)]
    pub(super) fn put_room(&mut self, channel: &str) {
        self.change_room(&Arc::from(channel), 1);
    }

    /// What is counted here, from after a channel on.
    fn page(&self, asker: ConnId, after: Option<&Arc<str>>) -> RosterMessage {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(Arc::clone(after)));
        let rooms = self.rooms.range((from, Bound::Unbounded)).take(STATS_PAGE_ROOMS);
        RosterMessage::Tell {
            asker,
            users: self.users.len() as u64,
            rooms: self.rooms.len() as u64,
            page: rooms.map(|(channel, sockets)| (Arc::clone(channel), *sockets)).collect(),
        }
    }
}

impl Shard {
    /// A connection that speaks flat frames is open: its user is counted at the user's shard.
    pub(super) fn start_travelling(&mut self, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        conn.travels = true;
        if let Some(user) = conn.user().cloned() {
            self.count_user(user, 1, effects);
        }
    }

    /// Such a connection ends: its rooms are told at once, and its user is counted no more for it.
    pub(super) fn stop_travelling(&mut self, id: ConnId, memberships: &Memberships, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        if !std::mem::take(&mut conn.travels) {
            return;
        }
        let user = conn.user().cloned();
        for membership in memberships.iter() {
            self.tell_departure(id, membership, effects);
        }
        if let Some(user) = user {
            self.count_user(user, -1, effects);
        }
    }

    fn count_user(&mut self, user: Arc<str>, by: i8, effects: &mut Effects) {
        let home = route::home(&self.options.key, &["user:", &user].concat(), self.options.shards);
        if home == self.id {
            return self.roster.change_user(&user, by);
        }
        let message = if by > 0 { RosterMessage::Came(user) } else { RosterMessage::Went(user) };
        effects.list.push(Effect::Mesh(home, MeshMessage::Roster(Box::new(message))));
    }

    /// How the client writes the id of a trip that it has joined.
    pub(super) fn note_form(&mut self, id: ConnId, channel: &str, form: IdForm) {
        let room = self.rooms.find(channel);
        if let Some((room, conn)) = room.zip(self.slots.find_mut(id)) {
            conn.memberships.set_form(room, form);
        }
    }

    /// The sockets in a trip, as far as this shard knows: all of them at home, elsewhere those that are here.
    pub(super) fn sockets_with(&self, channel: &str) -> u64 {
        let Some(room) = self.rooms.find(channel).and_then(|room| self.rooms.at(room)) else { return 1 };
        match room.role {
            Role::Home { .. } => u64::from(self.roster.rooms.get(channel).copied().unwrap_or(0)) + 1,
            Role::Mirror { .. } => u64::from(room.members.count_of(Encoding::GLOBETROTTER)),
        }
    }

    /// What other shards say.
    pub(super) fn on_roster(&mut self, now: Now, from: ShardId, message: RosterMessage, effects: &mut Effects) {
        match message {
            RosterMessage::Came(user) => self.roster.change_user(&user, 1),
            RosterMessage::Went(user) => self.roster.change_user(&user, -1),
            RosterMessage::Travel(travel) => self.on_travel(now, &travel, effects),
            RosterMessage::Typing(typing) => self.on_flat_typing(now, &typing, effects),
            RosterMessage::News { channel, frame, but } => self.tell_here(&channel, &frame, but),
            RosterMessage::Ask { asker, after } => {
                let page = Box::new(self.roster.page(asker, after.as_ref()));
                effects.list.push(Effect::Mesh(from, MeshMessage::Roster(page)));
            }
            RosterMessage::Tell { asker, users, rooms, page } => {
                self.on_told(now, asker, (users, rooms, page), effects);
            }
        }
    }

    /// Whether who asks may know who is in which trip: anybody where anybody is let in, else who may administer.
    pub(super) fn may_count(&self, now: Now, request: &Request, peer: Peer) -> Result<(), (HttpError, Metric)> {
        let at_hand = self.options.admin_loopback && peer.is_loopback() && request.is_domestic();
        if self.options.globetrotter_open || at_hand {
            return Ok(());
        }
        let claims = self.early_claims(now, request, None)?;
        let Early { claims, .. } = claims.ok_or((HttpError::UNAUTHORIZED, Metric::RefusedPermission))?;
        if self.administers(&claims) { Ok(()) } else { Err((HttpError::FORBIDDEN, Metric::RefusedPermission)) }
    }

    /// Whether a token grants the administration of everything.
    fn administers(&self, claims: &Claims) -> bool {
        self.options.policy.allows(&claims.holder(), "*", Verb::Admin)
    }

    /// Begins to ask the shards, this one first.
    pub(super) fn count_travellers(
        &mut self,
        now: Now,
        id: ConnId,
        head_only: bool,
        page: Option<Box<str>>,
        effects: &mut Effects,
    ) {
        if self.roster.inquiries.len() >= STATS_ASKING_MAX {
            return self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedOverload, effects);
        }
        let Some(conn) = self.slots.find_mut(id) else { return };
        conn.stage = Stage::Asking;
        self.wheel.insert(now.millis().after(STATS_DEADLINE_MS), Timer::Asking(id));
        self.roster.inquiries.insert(id, Inquiry { stats: Stats::default(), asked: ShardId(0), head_only, page });
        self.ask(now, id, ShardId(0), None, effects);
    }

    fn ask(&mut self, now: Now, id: ConnId, shard: ShardId, after: Option<Arc<str>>, effects: &mut Effects) {
        if shard == self.id {
            let page = self.roster.page(id, after.as_ref());
            self.on_roster(now, shard, page, effects);
        } else if effects.congested(shard) {
            self.drop_inquiry(id);
            self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedOverload, effects);
        } else {
            let message = MeshMessage::Roster(Box::new(RosterMessage::Ask { asker: id, after }));
            effects.list.push(Effect::Mesh(shard, message));
        }
    }

    fn on_told(
        &mut self,
        now: Now,
        id: ConnId,
        (users, rooms, page): (u64, u64, Vec<(Arc<str>, u32)>),
        effects: &mut Effects,
    ) {
        let Some(inquiry) = self.roster.inquiries.get_mut(&id) else { return };
        let Inquiry { stats, asked, .. } = inquiry;
        let last = page.last().map(|(channel, _)| Arc::clone(channel));
        let full = page.len() == STATS_PAGE_ROOMS;
        for (channel, sockets) in page {
            let trip = channel.strip_prefix("trip:").unwrap_or(&channel);
            stats.rooms.push((Box::from(trip), sockets.into()));
        }
        let shard = *asked;
        if full && stats.rooms.len() < STATS_ROOMS_MAX {
            return self.ask(now, id, shard, last, effects);
        }
        stats.active_users += users;
        stats.active_rooms += rooms;
        let next = ShardId(shard.0 + 1);
        if next.0 < self.options.shards {
            *asked = next;
            return self.ask(now, id, next, None, effects);
        }
        let Some(mut inquiry) = self.roster.inquiries.remove(&id) else { return };
        inquiry.stats.rooms.truncate(STATS_ROOMS_MAX);
        let mut body = Vec::new();
        write_stats(&inquiry.stats, &mut body);
        let response = Response::new(200).body("application/json", body).header("Cache-Control", "no-store");
        let response = shared(response, inquiry.page.as_deref());
        self.respond(now, id, &response, inquiry.head_only, effects);
    }

    /// A shard did not answer in time.
    pub(super) fn on_asking_deadline(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        self.drop_inquiry(id);
        if self.slots.find(id).is_some_and(|conn| matches!(conn.stage, Stage::Asking)) {
            self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedOverload, effects);
        }
    }

    /// Nobody waits for the report any more.
    pub(super) fn drop_inquiry(&mut self, id: ConnId) {
        self.roster.inquiries.remove(&id);
    }
}
