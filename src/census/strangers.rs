//! The sockets of each address from which nobody is known yet: the request is not whole, no token has come, or only an
//! answer is left to be read.
//!
//! They cost nobody a token, so who opens many and says nothing could have all places of the process. One too many
//! of an address makes the oldest go. A client that speaks is known within a round trip or two, so what is oldest there
//! is what keeps silent; were the newer refused, whoever holds all places would keep them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::addresses::AddressKey;
use crate::ids::ConnId;
use crate::time::Millis;

/// The strangers on one shard.
#[derive(Debug)]
pub struct Strangers {
    /// How many of one address; 0 is no limit.
    max: usize,
    of: HashMap<AddressKey, BTreeSet<(Millis, ConnId)>>,
}

impl Strangers {
    /// Nobody yet.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, of: HashMap::new() }
    }

    /// Another bound from now on. Those who are over it go as others come.
    pub const fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Notes one that was accepted at `since`. Returns the one that has to go, which is never the new one.
    pub fn enter(&mut self, address: AddressKey, since: Millis, conn: ConnId) -> Option<ConnId> {
        if self.max == 0 {
            return None;
        }
        let strangers = self.of.entry(address).or_default();
        let oldest = if strangers.len() < self.max { None } else { strangers.pop_first() };
        strangers.insert((since, conn));
        oldest.map(|(_, conn)| conn)
    }

    /// Notes one that is here already; nobody goes for it.
    pub fn note(&mut self, address: AddressKey, since: Millis, conn: ConnId) {
        if self.max > 0 {
            self.of.entry(address).or_default().insert((since, conn));
        }
    }

    /// One is known now, or gone.
    pub fn leave(&mut self, address: AddressKey, since: Millis, conn: ConnId) {
        if let Entry::Occupied(mut strangers) = self.of.entry(address) {
            strangers.get_mut().remove(&(since, conn));
            if strangers.get().is_empty() {
                strangers.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    const HERE: AddressKey = AddressKey::V4(1);

    fn conn(slot: u32) -> ConnId {
        ConnId { shard: ShardId(0), slot, generation: 1 }
    }

    #[test]
    fn one_too_many_of_an_address_makes_its_oldest_go() {
        for (count, gone) in [(3, vec![]), (4, vec![]), (5, vec![0]), (7, vec![0, 1, 2])] {
            let mut strangers = Strangers::new(4);
            let left: Vec<ConnId> =
                (0..count).filter_map(|slot| strangers.enter(HERE, Millis(slot.into()), conn(slot))).collect();
            assert_eq!(left, gone.into_iter().map(conn).collect::<Vec<_>>(), "{count}");
            assert_eq!(strangers.enter(AddressKey::V6(1), Millis(9), conn(9)), None, "another address");
        }
    }

    #[test]
    fn who_was_here_before_the_limit_goes_as_others_come() {
        let mut strangers = Strangers::new(0);
        strangers.note(HERE, Millis(0), conn(0));
        assert!(strangers.of.is_empty());
        strangers.set_max(2);
        for _ in 0..2 {
            (0..3).for_each(|slot| strangers.note(HERE, Millis(slot.into()), conn(slot)));
        }
        let gone: Vec<_> = (3..6).filter_map(|slot| strangers.enter(HERE, Millis(slot.into()), conn(slot))).collect();
        assert_eq!(gone, [conn(0), conn(1), conn(2)]);
    }

    #[test]
    fn who_came_first_goes_first_whatever_its_slot_and_the_new_one_never() {
        let mut strangers = Strangers::new(2);
        assert_eq!(strangers.enter(HERE, Millis(5), conn(7)), None);
        assert_eq!(strangers.enter(HERE, Millis(6), conn(3)), None);
        // A connection that was handed over may be older than those that are here.
        assert_eq!(strangers.enter(HERE, Millis(1), conn(1)), Some(conn(7)));
        assert_eq!(strangers.enter(HERE, Millis(6), conn(0)), Some(conn(1)));
        let mut one = Strangers::new(1);
        assert_eq!(one.enter(HERE, Millis(5), conn(7)), None);
        assert_eq!(one.enter(HERE, Millis(5), conn(0)), Some(conn(7)), "in the same millisecond");
    }

    #[test]
    fn who_is_known_counts_no_more_and_nothing_is_kept_of_nobody() {
        let mut strangers = Strangers::new(2);
        for slot in 0..100 {
            assert_eq!(strangers.enter(HERE, Millis(slot.into()), conn(slot)), None);
            assert_eq!(strangers.enter(HERE, Millis(slot.into()), conn(slot + 1000)), None);
            strangers.leave(HERE, Millis(slot.into()), conn(slot));
            strangers.leave(HERE, Millis(slot.into()), conn(slot));
            strangers.leave(HERE, Millis(slot.into()), conn(slot + 1000));
        }
        assert!(strangers.of.is_empty());
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut strangers = Strangers::new(0);
        assert!((0..1000).all(|slot| strangers.enter(HERE, Millis(0), conn(slot)).is_none()));
        assert!(strangers.of.is_empty());
    }
}
