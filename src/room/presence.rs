//! Who is in a channel, as far as anybody wants to know: kept at the channel's home, told in batches.
//!
//! A connection that broke is still there for a while. If its user comes back meanwhile, the new connection
//! takes its place under its name, and nobody hears of either. Every change has a version of its own; what
//! came and went again within a batch is not told at all.
//! Absent: who is told, and how; see [`super::fleeting`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::envelope::company::Person;
use crate::ids::{ConnId, ConnectionName, ShardId};
use crate::limits::{PRESENCE_COUNT_EVERY_MS, PRESENCE_GRACE_COUNT_MAX, PRESENCE_GRACE_MS, PRESENCE_LISTED_MAX};
use crate::room::here::Here;
use crate::time::{Millis, Moment};

/// How a connection left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It said so, or was told to go: it is gone at once.
    Clean,
    /// It broke, and may come back.
    Broken,
}

/// A connection that is in the channel.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The connection.
    pub id: ConnId,
    /// Its user.
    pub user: Arc<str>,
    /// Its public name.
    pub name: ConnectionName,
    /// What its token says of the user.
    pub info: Option<Arc<str>>,
}

/// Who is told under which name.
type Card = (Arc<str>, ConnectionName);

/// What a batch says.
#[derive(Debug, Default)]
pub struct Change {
    /// Came.
    pub joined: Vec<Person>,
    /// Went.
    pub left: Vec<Person>,
}

/// What only a channel has in which somebody comes or goes, or in which a token says something of its user.
#[derive(Debug, Default)]
struct Moving {
    /// Broken ones, with the time at which they are gone.
    broken: VecDeque<(Millis, Card)>,
    /// Not told yet; empty while there are too many to be listed.
    joined: Vec<Card>,
    left: Vec<Card>,
    /// What is told of those whose token says something.
    infos: BTreeMap<ConnectionName, Arc<str>>,
}

/// Who is in a channel.
#[derive(Debug, Default)]
pub struct Presence {
    here: Here<Card>,
    /// Boxed, since nobody moves in most channels at most times; `None` then.
    moving: Option<Box<Moving>>,
    /// Something has changed since the last batch.
    changed: bool,
    /// Who is there is not known to those who watch: only the number was told, or not even that.
    crowded: bool,
    version: u64,
    /// When the number was told last.
    counted: Option<Moment>,
}

impl Presence {
    /// How many are there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.here.len() + self.broken().len()
    }

    fn broken(&self) -> &VecDeque<(Millis, Card)> {
        const NONE: &VecDeque<(Millis, Card)> = &VecDeque::new();
        self.moving.as_ref().map_or(NONE, |moving| &moving.broken)
    }

    /// Gives up what is kept for those who move once nobody does.
    fn settle(&mut self) {
        let is_idle = |moving: &mut Box<Moving>| {
            let Moving { broken, joined, left, infos } = &mut **moving;
            broken.is_empty() && joined.is_empty() && left.is_empty() && infos.is_empty()
        };
        self.moving.take_if(is_idle);
    }

    /// Counts the batches.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether there are too many to be listed.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.count() > PRESENCE_LISTED_MAX
    }

    /// A connection came in. One that is known already stays as it is.
    pub fn join(&mut self, arrival: Arrival) {
        let Arrival { id, user, name, info } = arrival;
        if self.here.contains(id) {
            return;
        }
        if let Some(at) = self.broken().iter().position(|(_, (other, _))| *other == user) {
            let back = self.moving.as_mut().and_then(|moving| moving.broken.remove(at));
            if let Some((_, card)) = back {
                self.here.insert(id, card);
            }
            return self.settle();
        }
        self.here.insert(id, (Arc::clone(&user), name));
        if let Some(info) = info {
            self.moving.get_or_insert_default().infos.insert(name, info);
        }
        self.changed = true;
        if self.is_crowded() {
            return self.forget_batch();
        }
        let moving = self.moving.get_or_insert_default();
        if let Some(at) = moving.left.iter().position(|(_, other)| *other == name) {
            moving.left.remove(at);
            self.settle();
        } else {
            moving.joined.push((user, name));
        }
    }

    /// A connection left.
    pub fn leave(&mut self, now: Millis, id: ConnId, parting: Parting) {
        let Some(card) = self.here.remove(id) else { return };
        if parting == Parting::Clean {
            return self.depart(card);
        }
        let broken = &mut self.moving.get_or_insert_default().broken;
        broken.push_back((now.after(PRESENCE_GRACE_MS), card));
        if broken.len() > PRESENCE_GRACE_COUNT_MAX
            && let Some((_, card)) = broken.pop_front()
        {
            self.depart(card);
        }
    }

    /// A shard says who is there on it, all of them; whom it does not name has broken.
    pub fn replace(&mut self, now: Millis, shard: ShardId, arrivals: Vec<Arrival>) {
        let named: BTreeSet<ConnId> = arrivals.iter().map(|arrival| arrival.id).collect();
        let gone: Vec<ConnId> =
            self.here.iter().map(|(id, _)| id).filter(|id| id.shard == shard && !named.contains(id)).collect();
        for id in gone {
            self.leave(now, id, Parting::Broken);
        }
        arrivals.into_iter().for_each(|arrival| self.join(arrival));
    }

    /// The broken ones whose time is over are gone.
    pub fn expire(&mut self, now: Millis) {
        let over = |moving: &mut Box<Moving>| moving.broken.pop_front_if(|(at, _)| *at <= now);
        while let Some((_, card)) = self.moving.as_mut().and_then(over) {
            self.depart(card);
        }
    }

    /// When the next broken one is gone.
    #[must_use]
    pub fn next_gone(&self) -> Option<Millis> {
        self.broken().front().map(|(at, _)| *at)
    }

    fn info(&self, name: ConnectionName) -> Option<Arc<str>> {
        self.moving.as_ref()?.infos.get(&name).cloned()
    }

    fn depart(&mut self, (user, name): Card) {
        self.changed = true;
        if let Some(moving) = &mut self.moving {
            moving.infos.remove(&name);
        }
        let is_crowded = self.is_crowded() || self.crowded;
        let moving = self.moving.get_or_insert_default();
        if let Some(at) = moving.joined.iter().position(|(_, other)| *other == name) {
            moving.joined.remove(at);
            self.settle();
        } else if is_crowded {
            self.forget_batch();
        } else {
            moving.left.push((user, name));
        }
    }

    /// From now on nobody knows who is there; the next list is a whole one.
    fn forget_batch(&mut self) {
        self.crowded = true;
        self.take_batch();
    }

    fn take_batch(&mut self) -> (Vec<Card>, Vec<Card>) {
        let batch = self.moving.as_mut().map(|moving| {
            let Moving { joined, left, .. } = &mut **moving;
            (std::mem::take(joined), std::mem::take(left))
        });
        self.settle();
        batch.unwrap_or_default()
    }

    /// Whether a batch is due, or when it will be.
    #[must_use]
    pub fn is_due(&self, now: Millis) -> bool {
        let held = self.is_crowded() && self.counted.is_some_and(|at| now.since(at.millis()) < PRESENCE_COUNT_EVERY_MS);
        self.changed && !held
    }

    /// Whether something has changed that was not told.
    #[must_use]
    pub const fn has_changed(&self) -> bool {
        self.changed
    }

    /// Takes the batch that is due.
    pub fn take(&mut self, now: Millis) -> Batch {
        if !self.is_due(now) {
            return Batch::Nothing;
        }
        self.changed = false;
        let is_crowded = self.is_crowded();
        let was_crowded = std::mem::replace(&mut self.crowded, is_crowded);
        let (joined, left) = self.take_batch();
        if self.crowded {
            self.version += 1;
            self.counted = Some(Moment::of(now));
            return Batch::Count;
        }
        if was_crowded {
            self.version += 1;
            return Batch::Whole;
        }
        if joined.is_empty() && left.is_empty() {
            return Batch::Nothing;
        }
        self.version += 1;
        Batch::Change(self.change(&joined, &left))
    }

    /// Marks the first connection of a user that came, and the last of one that is gone.
    fn change(&self, joined: &[Card], left: &[Card]) -> Change {
        let of = |list: &[Card], user: &Arc<str>| list.iter().filter(|(other, _)| other == user).count();
        let mut there = BTreeMap::<&str, usize>::new();
        self.cards().for_each(|(user, _)| *there.entry(user).or_default() += 1);
        let now = |user: &Arc<str>| there.get(&**user).copied().unwrap_or(0);
        let before = |user: &Arc<str>| now(user) + of(left, user) - of(joined, user);
        let person =
            |(user, name): &Card, edge| Person { user: Arc::clone(user), name: *name, edge, info: self.info(*name) };
        let is_first = |at: usize, user: &Arc<str>| of(&joined[..at], user) == 0 && before(user) == 0;
        let is_last = |at: usize, user: &Arc<str>| of(&left[at + 1..], user) == 0 && now(user) == 0;
        Change {
            joined: joined.iter().enumerate().map(|(at, card)| person(card, is_first(at, &card.0))).collect(),
            left: left.iter().enumerate().map(|(at, card)| person(card, is_last(at, &card.0))).collect(),
        }
    }

    /// Everybody, as far as it was told; one connection of each user is marked.
    #[must_use]
    pub fn everybody(&self) -> Vec<Person> {
        let mut seen = BTreeSet::new();
        self.cards()
            .map(|(user, name)| Person {
                user: Arc::clone(user),
                name: *name,
                edge: seen.insert(user),
                info: self.info(*name),
            })
            .collect()
    }

    /// The users, each once.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.cards().map(|(user, _)| &**user).collect::<BTreeSet<_>>().into_iter()
    }

    /// All of them, broken ones after the others.
    fn cards(&self) -> impl Iterator<Item = &Card> {
        self.here.iter().map(|(_, card)| card).chain(self.broken().iter().map(|(_, card)| card))
    }
}

/// What is to be told.
#[derive(Debug)]
pub enum Batch {
    /// Nothing.
    Nothing,
    /// Who came and went.
    Change(Change),
    /// Everybody, after a time in which only the number was told.
    Whole,
    /// The number.
    Count,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> ConnId {
        ConnId { shard: ShardId(0), slot, generation: 1 }
    }

    fn arrival(slot: u32, user: &str) -> Arrival {
        Arrival { id: id(slot), user: user.into(), name: ConnectionName(u128::from(slot)), info: None }
    }

    fn told(presence: &mut Presence, now: u64) -> String {
        let people = |people: &[Person]| -> String {
            people.iter().map(|one| format!(" {}{}{}", one.user, one.name.0, if one.edge { "!" } else { "" })).collect()
        };
        match presence.take(Millis(now)) {
            Batch::Nothing => "nothing".to_owned(),
            Batch::Change(change) => format!("+{} -{}", people(&change.joined), people(&change.left)),
            Batch::Whole => "whole".to_owned(),
            Batch::Count => format!("count {}", presence.count()),
        }
    }

    #[test]
    fn a_batch_says_who_came_and_went_and_which_was_the_first_and_the_last() {
        let mut presence = Presence::default();
        assert_eq!(told(&mut presence, 0), "nothing");
        for (slot, user) in [(1, "ann"), (2, "ann"), (3, "bob")] {
            presence.join(arrival(slot, user));
        }
        assert_eq!(told(&mut presence, 0), "+ ann1! ann2 bob3! -");
        presence.leave(Millis(0), id(1), Parting::Clean);
        assert_eq!((told(&mut presence, 0), presence.version()), ("+ - ann1".into(), 2));
        presence.leave(Millis(0), id(2), Parting::Clean);
        presence.join(arrival(4, "ann"));
        presence.leave(Millis(0), id(3), Parting::Clean);
        assert_eq!(told(&mut presence, 0), "+ ann4 - ann2 bob3!");
        presence.join(arrival(5, "eve"));
        presence.leave(Millis(0), id(5), Parting::Clean);
        presence.leave(Millis(0), id(4), Parting::Clean);
        presence.join(arrival(4, "ann"));
        assert_eq!((told(&mut presence, 0), presence.version(), presence.count()), ("nothing".into(), 3, 1));
    }

    #[test]
    fn what_a_token_says_of_its_user_is_told_with_who_comes_and_forgotten_with_who_goes() {
        let mut presence = Presence::default();
        let info = |text: &str| Some(Arc::<str>::from(text));
        presence.join(Arrival { info: info("{\"a\":1}"), ..arrival(1, "ann") });
        presence.join(arrival(2, "bob"));
        let Batch::Change(change) = presence.take(Millis(0)) else { panic!("nothing is told") };
        let told = |people: &[Person]| people.iter().map(|one| one.info.clone()).collect::<Vec<_>>();
        assert_eq!(told(&change.joined), [info("{\"a\":1}"), None]);
        presence.leave(Millis(0), id(1), Parting::Broken);
        presence.join(Arrival { info: info("{\"a\":2}"), ..arrival(3, "ann") });
        assert_eq!(told(&presence.everybody()), [None, info("{\"a\":1}")], "who was never away is who it was");
        presence.leave(Millis(0), id(3), Parting::Clean);
        presence.take(Millis(0));
        assert!(presence.moving.is_none_or(|moving| moving.infos.is_empty()));
    }

    #[test]
    fn who_comes_back_in_time_was_never_away() {
        for (back_ms, expected) in [
            (PRESENCE_GRACE_MS - 1, "nothing"),
            (PRESENCE_GRACE_MS, "+ ann2! - ann1!"),
            (PRESENCE_GRACE_MS + 1, "+ ann2! - ann1!"),
        ] {
            let mut presence = Presence::default();
            presence.join(arrival(1, "ann"));
            told(&mut presence, 0);
            presence.leave(Millis(0), id(1), Parting::Broken);
            assert_eq!((told(&mut presence, 0).as_str(), presence.count()), ("nothing", 1));
            presence.expire(Millis(back_ms));
            presence.join(arrival(2, "ann"));
            let told = told(&mut presence, back_ms);
            let expected = expected.replace("ann2! - ann1!", "ann2 - ann1");
            assert_eq!(told, expected, "{back_ms}");
            assert_eq!(presence.count(), 1);
        }
    }

    #[test]
    fn so_many_leaves_are_kept_back_and_no_more() {
        for (broken, kept) in [
            (PRESENCE_GRACE_COUNT_MAX - 1, PRESENCE_GRACE_COUNT_MAX - 1),
            (PRESENCE_GRACE_COUNT_MAX, PRESENCE_GRACE_COUNT_MAX),
            (PRESENCE_GRACE_COUNT_MAX + 1, PRESENCE_GRACE_COUNT_MAX),
        ] {
            let mut presence = Presence::default();
            for slot in 0..u32::try_from(broken).unwrap() {
                presence.join(arrival(slot, &format!("u{slot}")));
                presence.leave(Millis(0), id(slot), Parting::Broken);
            }
            assert_eq!(presence.count(), kept);
        }
    }

    #[test]
    fn above_so_many_only_the_number_is_told_and_once_a_second() {
        let mut presence = Presence::default();
        let max = u32::try_from(PRESENCE_LISTED_MAX).unwrap();
        (0..max).for_each(|slot| presence.join(arrival(slot, "u")));
        assert!(told(&mut presence, 0).starts_with("+ u0! u1 "));
        presence.join(arrival(max, "ann"));
        assert_eq!(told(&mut presence, 0), format!("count {}", max + 1));
        presence.join(arrival(max + 1, "ann"));
        assert_eq!(told(&mut presence, PRESENCE_COUNT_EVERY_MS - 1), "nothing");
        assert_eq!(told(&mut presence, PRESENCE_COUNT_EVERY_MS), format!("count {}", max + 2));
        presence.leave(Millis(0), id(0), Parting::Clean);
        presence.leave(Millis(0), id(1), Parting::Clean);
        assert_eq!(told(&mut presence, PRESENCE_COUNT_EVERY_MS), "whole");
        presence.leave(Millis(0), id(2), Parting::Clean);
        assert_eq!(told(&mut presence, PRESENCE_COUNT_EVERY_MS), "+ - u2");
        assert_eq!(presence.everybody().iter().filter(|person| person.edge).count(), 2);
    }

    #[test]
    fn a_shard_that_names_all_of_its_own_replaces_what_was_known_of_them() {
        let mut presence = Presence::default();
        let elsewhere = ConnId { shard: ShardId(1), slot: 1, generation: 1 };
        presence.join(arrival(1, "ann"));
        presence.join(Arrival { id: elsewhere, user: "bob".into(), name: ConnectionName(9), info: None });
        presence.replace(Millis(0), ShardId(0), vec![arrival(2, "ann"), arrival(3, "eve")]);
        assert_eq!(told(&mut presence, 0), "+ ann1! bob9! eve3! -");
        presence.replace(Millis(0), ShardId(1), Vec::new());
        presence.expire(Millis(PRESENCE_GRACE_MS));
        assert_eq!(told(&mut presence, 0), "+ - bob9!");
    }
}
