//! Who drives which rooms: every room belongs to one thread of one process, so nothing is shared while a run goes on.
//!
//! Rooms and connections are numbered over the whole run, whoever drives them: paths, tokens, source addresses and what
//! stands in a body do not depend on how the run is split.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::engine::index;
use crate::scenario::{Group, Scenario};

/// The share of a run that one process drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// Which one, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

impl Part {
    /// The whole run.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Reads `I/N`.
    ///
    /// # Errors
    /// It is not of that form, or the first is not 1 to the second.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pair = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match pair {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err(format!("part {text}: must be I/N, I from 1 to N")),
        }
    }
}

/// One room of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomPlace {
    /// Number over all groups, which stands in the bodies.
    pub id: u32,
    /// Number of its group.
    pub group: usize,
    /// Number in its group, which stands in its path.
    pub number: u32,
    /// Members.
    pub members: u32,
    /// Number of its first connection, over all groups; the members follow one another.
    pub first: u32,
    /// The same in its group.
    pub first_in_group: u32,
}

/// What one thread drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its rooms, in the run's order.
    pub rooms: Vec<RoomPlace>,
    /// Connections of all shares before this one, so that shares of a number add up to it.
    pub before: usize,
    /// Connections of the whole run.
    pub of: usize,
}

impl Share {
    /// Connections of this share.
    #[must_use]
    pub fn connections_count(&self) -> usize {
        self.rooms.iter().map(|room| index(room.members)).sum()
    }

    /// This share's part of so many connections; those of all shares add up.
    #[must_use]
    pub fn of_connections(&self, count: usize) -> usize {
        let upto = |connections: usize| connections * count.min(self.of) / self.of.max(1);
        upto(self.before + self.connections_count()) - upto(self.before)
    }

    /// The same of a number that every share needs one of.
    #[must_use]
    pub fn of_at_least_one(&self, count: usize) -> usize {
        (count * self.connections_count() / self.of.max(1)).max(1)
    }

    /// This share's part of a rate.
    #[must_use]
    pub fn of_rate(&self, per_s: f64) -> f64 {
        per_s * self.connections_count() as f64 / self.of.max(1) as f64
    }
}

/// All rooms of a run.
#[must_use]
pub fn rooms(scenario: &Scenario) -> Vec<RoomPlace> {
    let (mut rooms, mut first) = (Vec::new(), 0u32);
    for (group, of) in scenario.group.iter().enumerate() {
        let mut first_in_group = 0;
        for (number, members) in (0..).zip(Group::sizes(of)) {
            let id = u32::try_from(rooms.len()).unwrap_or(u32::MAX);
            rooms.push(RoomPlace { id, group, number, members, first, first_in_group });
            first = first.saturating_add(members);
            first_in_group += members;
        }
    }
    rooms
}

/// Deals a run's rooms to the threads of one of its parts.
#[must_use]
pub fn shares(scenario: &Scenario, part: Part, threads: usize) -> Vec<Share> {
    let all = rooms(scenario);
    let of = all.iter().map(|room| index(room.members)).sum();
    let count = |rooms: &[RoomPlace]| rooms.iter().map(|room| index(room.members)).sum::<usize>();
    let parts = deal(all, index(part.of));
    let number = index(part.number) - 1;
    let mut before = parts.iter().take(number).map(|rooms| count(rooms)).sum();
    let own = parts.into_iter().nth(number).unwrap_or_default();
    let shares = deal(own, threads).into_iter().map(|rooms| {
        let connections = count(&rooms);
        let share = Share { rooms, before, of };
        before += connections;
        share
    });
    shares.collect()
}

/// Deals rooms so that the shares are even, each group by itself as far as whole rooms allow: the largest first, each to
/// the share that has least.
fn deal(rooms: Vec<RoomPlace>, shares: usize) -> Vec<Vec<RoomPlace>> {
    let mut hands: Vec<Vec<RoomPlace>> = vec![Vec::new(); shares.max(1)];
    let mut all = vec![0u64; hands.len()];
    let mut sorted = rooms;
    sorted.sort_by_key(|room| (room.group, Reverse(room.members), room.number));
    let mut of_group = (usize::MAX, Vec::new());
    for room in sorted {
        if of_group.0 != room.group {
            of_group = (room.group, vec![0u64; hands.len()]);
        }
        let least = (0..hands.len()).min_by_key(|&hand| (of_group.1[hand], all[hand])).unwrap_or(0);
        of_group.1[least] += u64::from(room.members);
        all[least] += u64::from(room.members);
        hands[least].push(room);
    }
    for hand in &mut hands {
        hand.sort_by_key(|room| room.id);
    }
    hands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SHIPPED;

    fn scenario(changes: &[&str]) -> Scenario {
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == "one-room-10k").unwrap();
        Scenario::parse(text, &changes).unwrap()
    }

    #[test]
    fn every_room_is_dealt_once_and_whole() {
        let scenario = scenario(&["group.0.rooms=7", "group.0.members=50"]);
        let all = rooms(&scenario);
        for (parts, threads) in [(1, 1), (1, 3), (2, 2), (3, 1)] {
            let mut dealt = Vec::new();
            for number in 1..=parts {
                let shares = shares(&scenario, Part { number, of: parts }, threads);
                assert_eq!(shares.len(), threads);
                dealt.extend(shares.into_iter().flat_map(|share| share.rooms));
            }
            dealt.sort_by_key(|room| room.id);
            assert_eq!(dealt, all, "{parts} {threads}");
        }
    }

    #[test]
    fn shares_are_even_in_every_group() {
        let shares = shares(&scenario(&["group.0.rooms=8", "group.0.members=100"]), Part::WHOLE, 4);
        for share in &shares {
            assert_eq!(share.connections_count(), 2 * 100 + 75 * 3);
            assert_eq!(share.rooms.iter().filter(|room| room.group == 0).count(), 2);
        }
    }

    #[test]
    fn parts_of_a_number_add_up_to_it() {
        let scenario = scenario(&["group.0.members=1001"]);
        let shares: Vec<Share> = (1..=3).flat_map(|number| shares(&scenario, Part { number, of: 3 }, 2)).collect();
        for count in [0, 1, 2, 100, 1900, 1901, 5000] {
            let sum: usize = shares.iter().map(|share| share.of_connections(count)).sum();
            assert_eq!(sum, count.min(1901));
        }
        let rate: f64 = shares.iter().map(|share| share.of_rate(2000.0)).sum();
        assert!((rate - 2000.0).abs() < 1e-6);
        assert!(shares.iter().all(|share| share.of_connections(1901) == share.connections_count()));
    }

    #[test]
    fn numbers_do_not_depend_on_the_split() {
        let scenario = scenario(&["group.0.members=4"]);
        let all = rooms(&scenario);
        assert_eq!((all[1].id, all[1].number, all[1].first, all[1].first_in_group), (1, 0, 4, 0));
        assert_eq!((all[2].id, all[2].number, all[2].first, all[2].first_in_group), (2, 1, 7, 3));
    }

    #[test]
    fn a_part_is_a_number_of_a_number() {
        assert_eq!(Part::parse("2/3"), Ok(Part { number: 2, of: 3 }));
        for text in ["", "1", "0/2", "3/2", "a/b", "1/0", "-1/2"] {
            assert!(Part::parse(text).unwrap_err().contains("I/N"), "{text}");
        }
    }
}
