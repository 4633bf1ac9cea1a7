//! Who is in a channel on this shard, and how far each has got.
//!
//! A member keeps its place for as long as it is in: leaving makes a hole that a later member fills, and
//! nothing ever moves, so a cursor that stands among the members visits everybody exactly once a round
//! whatever joins and leaves meanwhile.

use std::collections::BTreeSet;

use crate::envelope::{Encoding, EncodingSet};
use crate::ids::{Position, Seq};
use crate::room::resume::Greeting;

/// A member's wish to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// After this position, or with what comes next.
    pub position: Option<Position>,
    /// How often the channel's home had been asked for its position by then; only a later answer can say
    /// that the position is none.
    pub after: u32,
}

/// What a member is told of who else is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// Nothing: it may not see members, or would not understand.
    #[default]
    Nothing,
    /// `presence`, to clients that know more than the seeds' do.
    Presence,
    /// `collaborator_joined` and its kin, to the seeds' clients in a trip.
    Collaborators,
    /// Nothing, nor is anybody told of it: a service that gets the events of a pattern.
    Apart,
}

impl Watch {
    /// Whether it is told who else is there.
    #[must_use]
    pub const fn watches(self) -> bool {
        matches!(self, Self::Presence | Self::Collaborators)
    }
}

/// One connection's membership.
#[derive(Debug)]
pub struct Member {
    /// The connection's slot on this shard.
    pub slot: u32,
    /// How events are encoded for it.
    pub encoding: Encoding,
    /// Whether it stands in its connection's list of those that may be owed something, if that has one.
    pub ready: bool,
    /// Whether it was sent events, and no ping yet that asks whether they have come.
    pub unasked: bool,
    /// What it is told of who else is there.
    pub watch: Watch,
    /// The next event that it is owed. Every event before it was written, skipped or announced as lost.
    pub next: Seq,
    /// Where it asked to start, until that is decided: a mirror decides when it is live.
    /// Boxed, since nearly every member has started.
    pub start: Option<Box<Pending>>,
    /// What has to be said before the first event.
    pub greeting: Option<Box<Greeting>>,
}

impl Member {
    /// A member that has not started.
    #[must_use]
    pub const fn new(slot: u32) -> Self {
        let encoding = Encoding::TRIPSAGE;
        Self {
            slot,
            encoding,
            ready: false,
            unasked: false,
            watch: Watch::Nothing,
            next: Seq(0),
            start: None,
            greeting: None,
        }
    }

    /// Whether it was sent everything up to an event.
    #[must_use]
    pub const fn has_passed(&self, seq: Seq) -> bool {
        self.start.is_none() && self.next.0 > seq.0
    }
}

/// The members of a channel on one shard.
#[derive(Debug, Default)]
pub struct Members {
    places: Vec<Option<Member>>,
    /// Places without a member, none of them the last.
    #[expect(clippy::box_collection, reason = "a word in every room instead of three, and most have none")]
    holes: Option<Box<BTreeSet<u32>>>,
    /// How many members use each encoding.
    encodings: [u32; Encoding::COUNT],
    /// How many are told who else is there.
    watchers: u32,
    /// Events since the last one that belonged to a trace, that one included; 0 if none did. Only who is owed that one
    /// is owed frames of its own. It stands where nothing grows for it.
    since_traced: u32,
}

impl Members {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.holes.as_ref().map_or(0, |holes| holes.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events since the last one that belonged to a trace, that one included; 0 if none did.
    #[must_use]
    pub const fn since_traced(&self) -> u32 {
        self.since_traced
    }

    /// Notes an event. After 4,294,967,295 without a trace it is as if there had been none.
    pub const fn note_trace(&mut self, traced: bool) {
        self.since_traced = match (traced, self.since_traced) {
            (true, _) => 1,
            (false, 0) => 0,
            (false, since) => since.wrapping_add(1),
        };
    }

    /// Places, holes included: the length of a cursor's round.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// The member at a place.
    #[must_use]
    pub fn at(&self, place: u32) -> Option<&Member> {
        self.places.get(place as usize)?.as_ref()
    }

    /// The member at a place, to be changed.
    pub fn at_mut(&mut self, place: u32) -> Option<&mut Member> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// Adds a member and returns its place.
    pub fn enter(&mut self, member: Member) -> u32 {
        self.encodings[member.encoding.index()] += 1;
        self.watchers += u32::from(member.watch.watches());
        // The lowest first, so that a room that has shrunk has its members close together.
        if let Some(place) = self.take_hole(BTreeSet::pop_first) {
            self.places[place as usize] = Some(member);
            return place;
        }
        let place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        if self.places.len() == self.places.capacity() && self.places.len() < GROWN_BY_ONE {
            self.places.reserve_exact(1);
        }
        self.places.push(Some(member));
        place
    }

    /// Takes a hole out; with the last one the set.
    fn take_hole(&mut self, which: fn(&mut BTreeSet<u32>) -> Option<u32>) -> Option<u32> {
        let hole = self.holes.as_mut().and_then(|holes| which(holes));
        self.holes.take_if(|holes| holes.is_empty());
        hole
    }

    /// All members.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.places.iter().flatten()
    }

    /// The members at so many places from one on, as far as there are any.
    pub fn near(&self, place: u32, places: usize) -> impl Iterator<Item = &Member> {
        self.places.get(place as usize..).unwrap_or_default().iter().take(places).flatten()
    }

    /// All members, with their places.
    pub fn placed(&self) -> impl Iterator<Item = (u32, &Member)> {
        (0..).zip(&self.places).filter_map(|(place, member)| Some((place, member.as_ref()?)))
    }

    /// All members, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.places.iter_mut().flatten()
    }

    /// Takes a member out.
    pub fn leave(&mut self, place: u32) -> Option<Member> {
        let member = self.places.get_mut(place as usize)?.take()?;
        self.encodings[member.encoding.index()] -= 1;
        self.watchers -= u32::from(member.watch.watches());
        self.holes.get_or_insert_default().insert(place);
        while self.places.last().is_some_and(Option::is_none) {
            self.places.pop();
            self.take_hole(BTreeSet::pop_last);
        }
        if self.places.len() < self.places.capacity() / 4 {
            self.places.shrink_to(self.places.len() * 2);
        }
        Some(member)
    }

    /// Changes how events are encoded for a member.
    pub fn set_encoding(&mut self, place: u32, encoding: Encoding) {
        if let Some(member) = self.places.get_mut(place as usize).and_then(Option::as_mut) {
            self.encodings[member.encoding.index()] -= 1;
            self.encodings[encoding.index()] += 1;
            member.encoding = encoding;
        }
    }

    /// How many use an encoding.
    #[must_use]
    pub fn count_of(&self, encoding: Encoding) -> u32 {
        self.encodings.get(encoding.index()).copied().unwrap_or(0)
    }

    /// How many are told who else is there.
    #[must_use]
    pub const fn watchers(&self) -> u32 {
        self.watchers
    }

    /// Changes what a member is told of who else is there. Returns whether it was something else before.
    pub fn set_watch(&mut self, place: u32, watch: Watch) -> bool {
        let Some(member) = self.places.get_mut(place as usize).and_then(Option::as_mut) else { return false };
        let before = std::mem::replace(&mut member.watch, watch);
        self.watchers += u32::from(watch.watches());
        self.watchers -= u32::from(before.watches());
        before != watch
    }

    /// The encodings in use.
    #[must_use]
    pub fn encodings(&self) -> EncodingSet {
        let mut set = EncodingSet::EMPTY;
        for encoding in &Encoding::ALL {
            if self.encodings[encoding.index()] > 0 {
                set.insert(*encoding);
            }
        }
        set
    }

    /// The earliest event that some member is still owed; `next` if nobody is owed any.
    #[must_use]
    pub fn needed(&self, next: Seq) -> Seq {
        let started = self.places.iter().flatten().filter(|member| member.start.is_none());
        started.map(|member| member.next).min().unwrap_or(next).min(next)
    }
}

/// Places up to which a room has no more than it has members: in most there are a few.
const GROWN_BY_ONE: usize = 4;

const _: () = assert!(size_of::<Option<Member>>() <= 32, "half a cache line for every subscription");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOOK_AHEAD_PLACES;

    fn member(slot: u32, next: u64) -> Member {
        Member { next: Seq(next), ..Member::new(slot) }
    }

    #[test]
    fn places_are_stable_and_holes_are_filled() {
        let mut members = Members::default();
        let places: Vec<u32> = (0..4).map(|slot| members.enter(member(slot, 1))).collect();
        assert_eq!(places, [0, 1, 2, 3]);
        assert_eq!(members.leave(1).map(|member| member.slot), Some(1));
        assert!(members.leave(1).is_none(), "a hole has nobody to leave");
        assert_eq!(members.at(2).map(|member| member.slot), Some(2));
        assert_eq!((members.len(), members.places()), (3, 4));
        assert_eq!(members.enter(member(9, 1)), 1);
        assert_eq!(members.at(1).map(|member| member.slot), Some(9));
    }

    #[test]
    fn an_emptied_room_gives_its_memory_back() {
        let mut members = Members::default();
        let places: Vec<u32> = (0..100).map(|slot| members.enter(member(slot, 1))).collect();
        places.into_iter().for_each(|place| assert!(members.leave(place).is_some()));
        assert_eq!((members.len(), members.places(), members.places.capacity()), (0, 0, 0));
    }

    #[test]
    fn a_room_that_shrinks_is_walked_as_far_as_its_last_member() {
        let mut members = Members::default();
        (0..100).for_each(|slot| assert_eq!(members.enter(member(slot, 1)), slot));
        (10..99).for_each(|place| assert!(members.leave(place).is_some()));
        assert_eq!((members.len(), members.places()), (11, 100));
        assert!(members.leave(99).is_some());
        assert_eq!((members.len(), members.places()), (10, 10));
        assert!(members.holes.is_none() && members.places.capacity() <= 50);
        assert!(members.leave(3).is_some() && members.leave(5).is_some());
        assert_eq!(
            (members.enter(member(200, 1)), members.enter(member(201, 1)), members.enter(member(202, 1))),
            (3, 5, 10)
        );
    }

    #[test]
    fn so_many_places_are_looked_at_whether_somebody_is_there_or_not() {
        let mut members = Members::default();
        (0..10_000).for_each(|slot| assert_eq!(members.enter(member(slot, 1)), slot));
        let near = |members: &Members, place| -> Vec<u32> {
            members.near(place, LOOK_AHEAD_PLACES).map(|member| member.slot).collect()
        };
        let most = u32::try_from(LOOK_AHEAD_PLACES).unwrap();
        assert_eq!(near(&members, 7), (7..7 + most).collect::<Vec<_>>());
        assert_eq!(
            (near(&members, 9_999), near(&members, 10_000), near(&members, u32::MAX)),
            (vec![9_999], vec![], vec![])
        );
        // Holes count, so that a room of which one is left is not gone through for it.
        (0..9_999).for_each(|place| assert!(members.leave(place).is_some()));
        assert!(near(&members, 0).is_empty() && near(&members, 9_999 - most).is_empty());
        assert_eq!(near(&members, 10_000 - most), [9_999]);
    }

    #[test]
    fn the_encodings_in_use_and_the_slowest_member_are_known() {
        let mut members = Members::default();
        assert_eq!((members.encodings(), members.needed(Seq(8))), (EncodingSet::EMPTY, Seq(8)));
        let place = members.enter(member(1, 5));
        members.enter(member(2, 7));
        members.set_encoding(place, Encoding::TRIPSAGE_ALIAS);
        assert!(members.encodings().contains(Encoding::TRIPSAGE_ALIAS));
        assert_eq!(members.needed(Seq(8)), Seq(5));
        members.leave(place);
        assert!(!members.encodings().contains(Encoding::TRIPSAGE_ALIAS));
    }
}
