//! The users who are at home on one shard: their connections in the order of their coming, and the messages
//! that they may still send.
//!
//! Messages are lent in blocks to the connections, wherever those live, so that none needs a question. When a
//! user's messages are all lent out and one more is wanted, the other connections are asked for what they have
//! not used before anybody is refused: the limit holds over all connections to the message, and what lies idle
//! on one is not lost to another.

use std::collections::HashMap;

use super::limits::Limits;
use super::paces::Paces;
use crate::ids::ConnId;
use crate::limits::{
    LEASE_MESSAGES_MAX, LEASE_RECALL_COUNT_MAX, LEASE_RECALL_EVERY_MS, PROBES_MAX, USERS_ABSENT_PER_SHARD_MAX,
};
use crate::rate::{Pace, Rate};
use crate::time::Millis;

/// A user, as a hash of the name under the process's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserKey(pub [u64; 2]);

/// One connection of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Which.
    pub conn: ConnId,
    /// When it was counted, in seconds since the host started.
    pub since_s: u32,
    /// A hash of what its endpoint is about.
    pub resource: u64,
}

/// What becomes of a connection that checks in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckedIn {
    /// It is in.
    In,
    /// It is in, and this one, the oldest of the user on that resource, has to go.
    InPlaceOf(ConnId),
    /// The user has too many connections in all; it is not in.
    Full,
}

/// How a connection that asks for messages is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lent {
    /// It may send so many more.
    Messages(u16),
    /// None before so many milliseconds.
    Late(u32),
    /// It is answered later. These have to be asked for what they have not used.
    Recall(Vec<ConnId>),
}

/// An answer to a connection that waited.
pub type Answered = (ConnId, Lent);

/// What only a user with several connections needs.
#[derive(Debug, Default)]
struct More {
    /// All but the oldest.
    seats: Vec<Seat>,
    /// Who waits for messages until the recalled ones are in.
    waiting: Vec<ConnId>,
    /// Connections that were asked and have not answered.
    asked: usize,
    /// When they were last asked.
    recalled: Option<Millis>,
}

/// One user with connections.
#[derive(Debug)]
struct User {
    oldest: Seat,
    more: Option<Box<More>>,
    /// What is left of the user's rate, less what is lent.
    pace: Pace,
}

// A user with one connection in a table that is, on the average, two thirds full.
const _: () = assert!(size_of::<(UserKey, User)>() <= 56);

/// All users of a shard.
#[derive(Debug)]
pub struct Users {
    users: HashMap<UserKey, User>,
    /// What is left of the rates of those who went away, so that coming back does not renew it.
    absent: Paces<UserKey>,
    rate: Rate,
    seats_max: usize,
}

impl Users {
    /// Nobody yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            users: HashMap::new(),
            absent: Paces::new(limits.user_messages, USERS_ABSENT_PER_SHARD_MAX),
            rate: limits.user_messages,
            seats_max: usize::try_from(limits.connections_per_user).unwrap_or(usize::MAX),
        }
    }

    /// Other limits from now on. Who is in stays; what was taken of a user's messages stays taken.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.absent.set_rate(limits.user_messages);
        self.rate = limits.user_messages;
        self.seats_max = usize::try_from(limits.connections_per_user).unwrap_or(usize::MAX);
    }

    /// Takes in a connection of a user, who may have `on_resource_max` on its resource (0: any number). One too
    /// many there takes the place of the oldest, which may be dead without our knowing; the newer never loses.
    pub fn check_in(&mut self, key: UserKey, seat: Seat, on_resource_max: u32, now: Millis) -> CheckedIn {
        let Some(user) = self.users.get_mut(&key) else {
            self.enter(key, seat, now);
            return CheckedIn::In;
        };
        let there = user.seats().filter(|other| other.resource == seat.resource).count();
        let replaced = if on_resource_max > 0 && there >= on_resource_max as usize {
            user.seats().find(|other| other.resource == seat.resource).map(|oldest| oldest.conn)
        } else {
            None
        };
        if replaced.is_none() && self.seats_max > 0 && user.seats().count() >= self.seats_max {
            return CheckedIn::Full;
        }
        user.more.get_or_insert_default().seats.push(seat);
        match replaced {
            Some(oldest) => {
                user.remove(oldest);
                CheckedIn::InPlaceOf(oldest)
            }
            None => CheckedIn::In,
        }
    }

    /// Gives a connection a place that is not open yet, if there is one. Nobody has to go for it.
    ///
    /// # Errors
    /// The oldest of those that have the places, which may be dead without our knowing.
    pub fn reserve(&mut self, key: UserKey, seat: Seat, on_resource_max: u32, now: Millis) -> Result<(), Vec<ConnId>> {
        let Some(user) = self.users.get_mut(&key) else {
            self.enter(key, seat, now);
            return Ok(());
        };
        let there = || user.seats().filter(|other| other.resource == seat.resource);
        let oldest = |seats: &mut dyn Iterator<Item = &Seat>| seats.take(PROBES_MAX).map(|seat| seat.conn).collect();
        if on_resource_max > 0 && there().count() >= on_resource_max as usize {
            return Err(oldest(&mut there()));
        }
        if self.seats_max > 0 && user.seats().count() >= self.seats_max {
            return Err(oldest(&mut user.seats()));
        }
        user.more.get_or_insert_default().seats.push(seat);
        Ok(())
    }

    /// A connection that had a place before it was open lives elsewhere now.
    pub fn settle(&mut self, key: UserKey, from: ConnId, to: ConnId) {
        let Some(user) = self.users.get_mut(&key) else { return };
        let more = user.more.iter_mut().flat_map(|more| &mut more.seats);
        if let Some(seat) = std::iter::once(&mut user.oldest).chain(more).find(|seat| seat.conn == from) {
            seat.conn = to;
        }
    }

    /// A user who had no connection has one.
    fn enter(&mut self, key: UserKey, seat: Seat, now: Millis) {
        let pace = if self.rate.is_unlimited() { Pace::default() } else { self.absent.take_out(key, now) };
        self.users.insert(key, User { oldest: seat, more: None, pace });
    }

    /// A connection is gone; `unused` of what it was lent comes back.
    pub fn leave(&mut self, key: UserKey, conn: ConnId, unused: u16, now: Millis) {
        let Some(user) = self.users.get_mut(&key) else { return };
        user.pace.give_back(self.rate, unused.into());
        if let Some(more) = &mut user.more {
            more.waiting.retain(|waiting| *waiting != conn);
        }
        if user.seats().all(|seat| seat.conn == conn) {
            if let Some(user) = self.users.remove(&key)
                && !self.rate.is_unlimited()
            {
                self.absent.put(key, user.pace, now);
            }
            return;
        }
        user.remove(conn);
    }

    /// Lends messages to a connection.
    pub fn lend(&mut self, key: UserKey, conn: ConnId, now: Millis) -> Lent {
        let Some(user) = self.users.get_mut(&key) else { return Lent::Late(UNKNOWN_WAIT_MS) };
        let lent = user.take(self.rate, now);
        let (Lent::Late(_), Some(more)) = (&lent, &mut user.more) else { return lent };
        if more.asked == 0 {
            let rested = more.recalled.is_none_or(|at| now.since(at) >= LEASE_RECALL_EVERY_MS);
            if !rested {
                return lent;
            }
            let all = std::iter::once(&user.oldest).chain(&more.seats).map(|seat| seat.conn);
            let others: Vec<ConnId> = all.filter(|other| *other != conn).take(LEASE_RECALL_COUNT_MAX).collect();
            if others.is_empty() {
                return lent;
            }
            (more.asked, more.recalled) = (others.len(), Some(now));
            more.waiting.push(conn);
            return Lent::Recall(others);
        }
        more.waiting.push(conn);
        Lent::Recall(Vec::new())
    }

    /// A connection gives back what it has not used: because it was asked, or because it has been silent.
    /// Returns who is answered now.
    pub fn give_back(&mut self, key: UserKey, unused: u16, was_asked: bool, now: Millis) -> Vec<Answered> {
        let Some(user) = self.users.get_mut(&key) else { return Vec::new() };
        user.pace.give_back(self.rate, unused.into());
        let Some(more) = &mut user.more else { return Vec::new() };
        more.asked = more.asked.saturating_sub(usize::from(was_asked));
        if more.asked > 0 {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut more.waiting);
        waiting.into_iter().map(|conn| (conn, user.take(self.rate, now))).collect()
    }

    /// A user's connections, in the order of their coming.
    pub fn seats(&self, key: UserKey) -> impl Iterator<Item = &Seat> {
        self.users.get(&key).into_iter().flat_map(User::seats)
    }
}

/// The wait of one who is not checked in: it has been refused, and its end is on the way.
const UNKNOWN_WAIT_MS: u32 = 1000;

impl User {
    fn seats(&self) -> impl Iterator<Item = &Seat> {
        std::iter::once(&self.oldest).chain(self.more.iter().flat_map(|more| &more.seats))
    }

    /// Takes out a connection, which is not the only one.
    fn remove(&mut self, conn: ConnId) {
        let Some(more) = &mut self.more else { return };
        if self.oldest.conn == conn {
            if !more.seats.is_empty() {
                self.oldest = more.seats.remove(0);
            }
        } else {
            more.seats.retain(|seat| seat.conn != conn);
        }
    }

    /// A block, smaller as the end comes near, so that little has to be asked back. What was asked back just now
    /// goes out one at a time: nobody is to be refused for what lies with another again.
    fn take(&mut self, rate: Rate, now: Millis) -> Lent {
        let recalled = self.more.as_ref().and_then(|more| more.recalled);
        let scarce = recalled.is_some_and(|at| now.since(at) < LEASE_RECALL_EVERY_MS);
        let most = if scarce { 1 } else { LEASE_MESSAGES_MAX };
        let share = (self.pace.left(rate, now) / LEASE_SHARES).clamp(1, most.into());
        match self.pace.try_take(rate, now, share) {
            Ok(taken) => Lent::Messages(u16::try_from(taken).unwrap_or(LEASE_MESSAGES_MAX)),
            Err(wait_ms) => Lent::Late(u32::try_from(wait_ms).unwrap_or(u32::MAX)),
        }
    }
}

/// Parts into which what is left is cut.
const LEASE_SHARES: u32 = 4;

#[cfg(test)]
#[path = "users/tests.rs"]
mod tests;
