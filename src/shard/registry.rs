//! Who is connected, over all shards: each user's connections are counted at one shard, each address's and each
//! resource's too, and the shards tell each other by message.
//!
//! A connection checks in once it is authenticated and is served meanwhile; if it proves one too many, it or an
//! older one is dismissed. Messages about one connection take one way and arrive in their order, so its end is
//! never counted before its beginning.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Shard;
use super::connection::Stage;
use super::effect::{Effect, Effects};
use super::message::census::{CensusMessage, Dismissal};
use super::message::{MeshMessage, Reserved};
use crate::census::addresses::{AddressKey, Addresses};
use crate::census::limits::Limits;
use crate::census::users::{Answered, CheckedIn, Lent, Seat, UserKey, Users};
use crate::code::CloseCode;
use crate::ids::{ConnId, ShardId};
use crate::metrics::Metric;
use crate::route;
use crate::session::endpoint::Door;
use crate::time::Now;

/// What this shard counts for all.
#[derive(Debug)]
pub(super) struct Registry {
    users: Users,
    pub(super) addresses: Addresses,
    /// Connections on each resource; empty unless there is a limit on them.
    resources: HashMap<u64, u32>,
}

impl Registry {
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.users.set_limits(limits);
        self.addresses.set_limits(limits);
    }

    pub(super) fn new(limits: &Limits) -> Self {
        Self { users: Users::new(limits), addresses: Addresses::new(limits), resources: HashMap::new() }
    }
}

/// What `/ws` is as a resource.
const OPEN_RESOURCE: &str = "/ws";

impl Shard {
    /// A connection is authenticated: it counts from now on.
    pub(super) fn check_in(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let Some(user) = conn.claims.as_ref().map(|claims| claims.user.clone()) else { return };
        let name = conn.own.clone();
        let name = name.as_deref().unwrap_or(OPEN_RESOURCE);
        let at_most = conn.door.limits(&self.options.limits).connections;
        let home = route::user_home(&self.options.key, &user, self.options.shards);
        (conn.checked_in, conn.lease.remote) = (true, home != self.id);
        let (door, reserved) = (conn.door, conn.counted.at_user.take());
        let resource = self.resource_key(name);
        if self.options.limits.connections_per_resource > 0 && name != OPEN_RESOURCE {
            let home = route::home(&self.options.key, name, self.options.shards);
            if let Some(conn) = self.slots.find_mut(id) {
                conn.occupies = true;
            }
            self.post_census(now, home, CensusMessage::Occupy { conn: id, resource }, effects);
        }
        let user = self.user_key(&user);
        let message = match reserved {
            Some(reserved) => CensusMessage::Settle { from: reserved.conn, conn: id, user },
            None => CensusMessage::CheckIn { conn: id, user, resource: self.seat_key(door, name), at_most },
        };
        self.post_census(now, home, message, effects);
    }

    /// A connection that came while there was no limit counts from now on in what there is one on. Nobody goes for it.
    /// Returns whether a shard that has to hear of it takes no more at the moment; then it is to be called again.
    pub(super) fn count_late(&mut self, now: Now, slot: u32, effects: &mut Effects) -> bool {
        let Some((id, conn)) = self.slots.tenant_mut(slot) else { return false };
        if matches!(conn.stage, Stage::Leaving) {
            return false; // Whoever takes it in counts it.
        }
        let address = AddressKey::of(conn.peer);
        let at_address = route::address_home(&self.options.key, address.bytes(), self.options.shards);
        let on_resource = conn.own.as_ref().map(|own| route::home(&self.options.key, own, self.options.shards));
        if effects.congested(at_address) || on_resource.is_some_and(|home| effects.congested(home)) {
            return true;
        }
        if conn.stranger {
            self.strangers.note(address, conn.accepted, id);
        }
        self.sit_late(now, id, effects);
        self.stay_late(now, id, effects);
        false
    }

    /// Counts a connection at its address, if it has passed the gate and does not yet.
    pub(super) fn sit_late(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let wanted = self.options.limits.connections_per_address > 0;
        let Some(conn) = self.slots.find_mut(id).filter(|_| wanted) else { return };
        if !conn.counted.in_all || conn.counted.at_address || conn.door == Door::Echo {
            return;
        }
        conn.counted.at_address = true;
        let address = AddressKey::of(conn.peer);
        let home = route::address_home(&self.options.key, address.bytes(), self.options.shards);
        self.post_census(now, home, CensusMessage::Sit { address }, effects);
    }

    /// Counts a connection on its resource, if it has checked in and does not yet.
    fn stay_late(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let wanted = self.options.limits.connections_per_resource > 0;
        let Some(conn) = self.slots.find_mut(id).filter(|_| wanted) else { return };
        let Some(name) = conn.own.clone().filter(|_| conn.checked_in && !conn.occupies) else { return };
        conn.occupies = true;
        let home = route::home(&self.options.key, &name, self.options.shards);
        let resource = self.resource_key(&name);
        self.post_census(now, home, CensusMessage::Stay { resource }, effects);
    }

    /// What a connection's place is about. Flat frames have places of their own: whoever opens another kind of client
    /// on the same trip closes none of these, which would come back.
    pub(super) fn seat_key(&self, door: Door, name: &str) -> u64 {
        let key = self.resource_key(name);
        if door.is_flat() { !key } else { key }
    }

    /// Whether a resource has all its connections, as far as that is counted here.
    pub(super) fn is_full(&self, name: &str) -> bool {
        let max = self.options.limits.connections_per_resource;
        let there = self.registry.resources.get(&self.resource_key(name));
        max > 0 && there.is_some_and(|there| *there >= max)
    }

    /// A connection is over: it counts no more.
    pub(super) fn check_out(&mut self, id: ConnId, effects: &mut Effects) {
        let now = self.latest;
        let Some(conn) = self.slots.find_mut(id) else { return };
        if !std::mem::take(&mut conn.checked_in) {
            return;
        }
        let Some(user) = conn.claims.as_ref().map(|claims| claims.user.clone()) else { return };
        let unused = std::mem::take(&mut conn.lease.left);
        let occupied = if std::mem::take(&mut conn.occupies) { conn.own.clone() } else { None };
        let home = route::user_home(&self.options.key, &user, self.options.shards);
        let user = self.user_key(&user);
        self.post_census(now, home, CensusMessage::Leave { conn: id, user, unused }, effects);
        if let Some(name) = occupied {
            let home = route::home(&self.options.key, &name, self.options.shards);
            let resource = self.resource_key(&name);
            self.post_census(now, home, CensusMessage::Vacate { resource }, effects);
        }
    }

    fn resource_key(&self, name: &str) -> u64 {
        (route::digest(&self.options.key, name) >> 64) as u64
    }

    /// Tells a shard, which may be this one.
    pub(super) fn post_census(&mut self, now: Now, to: ShardId, message: CensusMessage, effects: &mut Effects) {
        if to == self.id {
            self.on_census(now, to, message, effects);
        } else {
            effects.list.push(Effect::Mesh(to, MeshMessage::Census(Box::new(message))));
        }
    }

    /// What a shard was told, by another or by itself.
    pub(super) fn on_census(&mut self, now: Now, from: ShardId, message: CensusMessage, effects: &mut Effects) {
        match message {
            CensusMessage::CheckIn { conn, user, resource, at_most } => {
                self.on_check_in(now, conn, user, (resource, at_most), effects);
            }
            CensusMessage::Reserve { conn, user, resource, at_most, probe } => {
                self.on_reserve(now, (conn, user), (resource, at_most), probe, effects);
            }
            CensusMessage::Reserved { conn, user, granted } => {
                self.on_reserved(now, Reserved { user, conn, home: from }, granted, effects);
            }
            CensusMessage::Settle { from, conn, user } => self.registry.users.settle(user, from, conn),
            CensusMessage::Probe { conn } => self.on_probe(now, conn, effects),
            CensusMessage::Leave { conn, user, unused } => {
                self.registry.users.leave(user, conn, unused, now.millis());
            }
            CensusMessage::Lend { conn, user } => self.on_lend(now, conn, user, effects),
            CensusMessage::Lent { conn, user, lent } => self.on_lent(now, from, (conn, user), lent, effects),
            CensusMessage::Recall { conn, user } => self.on_recall(now, from, (conn, user), effects),
            CensusMessage::GiveBack { user, unused, was_asked } => {
                let answered = self.registry.users.give_back(user, unused, was_asked, now.millis());
                self.tell_lent(now, user, answered, effects);
            }
            CensusMessage::Occupy { conn, resource } => self.on_occupy(now, conn, resource, effects),
            CensusMessage::Vacate { resource } => self.on_vacate(resource),
            CensusMessage::Sit { address } => self.registry.addresses.sit(address),
            CensusMessage::Stay { resource } => *self.registry.resources.entry(resource).or_default() += 1,
            CensusMessage::Dismiss { conn, why } => self.dismiss(now, conn, why, effects),
            CensusMessage::Ask { conn, address, question } => {
                let verdict = self.registry.addresses.judge(address, question, now.millis());
                let answer = CensusMessage::Tell { conn, address, question, verdict };
                self.post_census(now, conn.shard, answer, effects);
            }
            CensusMessage::Tell { conn, address, question, verdict } => {
                self.on_verdict(now, conn, (address, question), verdict, effects);
            }
            CensusMessage::LeaveAddress { address } => self.registry.addresses.leave(address),
        }
    }

    fn on_check_in(
        &mut self,
        now: Now,
        conn: ConnId,
        user: UserKey,
        (resource, at_most): (u64, u32),
        effects: &mut Effects,
    ) {
        let since_s = u32::try_from(now.millis().0 / 1000).unwrap_or(u32::MAX);
        let seat = Seat { conn, since_s, resource };
        let (conn, why) = match self.registry.users.check_in(user, seat, at_most, now.millis()) {
            CheckedIn::In => return,
            CheckedIn::InPlaceOf(oldest) => (oldest, Dismissal::Replaced),
            CheckedIn::Full => (conn, Dismissal::UserFull),
        };
        self.post_census(now, conn.shard, CensusMessage::Dismiss { conn, why }, effects);
    }

    fn on_reserve(
        &mut self,
        now: Now,
        (conn, user): (ConnId, UserKey),
        (resource, at_most): (u64, u32),
        probe: bool,
        effects: &mut Effects,
    ) {
        let since_s = u32::try_from(now.millis().0 / 1000).unwrap_or(u32::MAX);
        let outcome = self.registry.users.reserve(user, Seat { conn, since_s, resource }, at_most, now.millis());
        let granted = outcome.is_ok();
        for oldest in outcome.err().filter(|_| probe).unwrap_or_default() {
            self.post_census(now, oldest.shard, CensusMessage::Probe { conn: oldest }, effects);
        }
        self.post_census(now, conn.shard, CensusMessage::Reserved { conn, user, granted }, effects);
    }

    fn on_lend(&mut self, now: Now, conn: ConnId, user: UserKey, effects: &mut Effects) {
        match self.registry.users.lend(user, conn, now.millis()) {
            Lent::Recall(others) => {
                for other in others {
                    self.post_census(now, other.shard, CensusMessage::Recall { conn: other, user }, effects);
                }
            }
            lent => self.tell_lent(now, user, vec![(conn, lent)], effects),
        }
    }

    fn tell_lent(&mut self, now: Now, user: UserKey, answered: Vec<Answered>, effects: &mut Effects) {
        for (conn, lent) in answered {
            let lent = match lent {
                Lent::Messages(count) => Ok(count),
                Lent::Late(wait_ms) => Err(wait_ms),
                Lent::Recall(_) => continue, // It goes on waiting.
            };
            self.post_census(now, conn.shard, CensusMessage::Lent { conn, user, lent }, effects);
        }
    }

    /// A resource's count holds for all users, so the newer is refused: who is in may stay.
    fn on_occupy(&mut self, now: Now, conn: ConnId, resource: u64, effects: &mut Effects) {
        let there = self.registry.resources.entry(resource).or_default();
        *there += 1;
        let max = self.options.limits.connections_per_resource;
        if max > 0 && *there > max {
            let why = Dismissal::ResourceFull;
            self.post_census(now, conn.shard, CensusMessage::Dismiss { conn, why }, effects);
        }
    }

    fn on_vacate(&mut self, resource: u64) {
        if let Entry::Occupied(mut there) = self.registry.resources.entry(resource) {
            match *there.get() {
                0 | 1 => drop(there.remove()),
                more => *there.get_mut() = more - 1,
            }
        }
    }

    /// Ends a connection that is one too many. A legacy client reconnects after every code but 1000, and two that
    /// replace each other for ever would be worse than one that is told to stop.
    pub(super) fn dismiss(&mut self, now: Now, id: ConnId, why: Dismissal, effects: &mut Effects) {
        let Some(conn) = self.slots.find(id).filter(|conn| matches!(conn.stage, Stage::Open)) else { return };
        let (code, metric, reason) = match why {
            Dismissal::Replaced => {
                (CloseCode::REPLACED, Metric::ClosedReplaced, "a newer connection took this one's place")
            }
            Dismissal::ResourceFull => {
                (CloseCode::REPLACED, Metric::ClosedLimit, "there are too many connections to this resource")
            }
            Dismissal::UserFull => (CloseCode::LIMIT, Metric::ClosedLimit, "the user has too many connections"),
            Dismissal::TooOften => (CloseCode::LIMIT, Metric::ClosedLimit, "the user connects too often"),
        };
        let code = if conn.known { code } else { CloseCode::NORMAL };
        self.close_counted(now, id, (code, metric), reason, effects);
    }
}
