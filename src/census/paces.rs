//! Paces of many, forgotten when nothing is missing of them.
//!
//! Two tables: what is touched stands in the younger one. When all of a burst has been earned anew since the
//! younger one was begun, the older one holds nothing that differs from a fresh pace, and is dropped whole. So
//! nothing is swept but a table that is about to grow, and who stays away costs nothing after two refills.

use std::collections::HashMap;
use std::hash::Hash;

use crate::rate::{Pace, Rate};
use crate::time::Millis;

/// Paces by key, all of one rate.
#[derive(Debug)]
pub(super) struct Paces<K> {
    rate: Rate,
    /// Entries of the younger table at which it becomes the older one early.
    max: usize,
    younger: HashMap<K, Pace>,
    older: HashMap<K, Pace>,
    begun: Millis,
}

impl<K: Copy + Eq + Hash> Paces<K> {
    pub(super) fn new(rate: Rate, max: usize) -> Self {
        Self { rate, max, younger: HashMap::new(), older: HashMap::new(), begun: Millis(0) }
    }

    /// Another rate from now on. What was taken under the old one is still missing.
    pub(super) const fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Takes one.
    ///
    /// # Errors
    /// The milliseconds after which there is one.
    pub(super) fn try_take(&mut self, key: K, now: Millis) -> Result<(), u64> {
        if self.rate.is_unlimited() {
            return Ok(());
        }
        let mut pace = self.take_out(key, now);
        let taken = pace.try_take(self.rate, now, 1);
        self.put(key, pace, now);
        taken.map(|_| ())
    }

    /// Whether there is one to take.
    ///
    /// # Errors
    /// The milliseconds after which there is one.
    #[cfg(test)]
    fn look(&self, key: K, now: Millis) -> Result<(), u64> {
        let pace = self.younger.get(&key).or_else(|| self.older.get(&key)).copied().unwrap_or_default();
        // On a copy, so nothing is taken.
        { pace }.try_take(self.rate, now, 1).map(|_| ())
    }

    /// Keeps a pace, unless nothing is missing of it.
    pub(super) fn put(&mut self, key: K, pace: Pace, now: Millis) {
        if pace.is_whole(now) {
            return;
        }
        self.turn(now);
        if self.younger.len() == self.younger.capacity() {
            self.make_room(now);
        }
        self.younger.insert(key, pace);
    }

    /// The younger table is full, of what may be whole again for the most part. What is not gets a table with as much
    /// room again, so that this is done once for as many.
    fn make_room(&mut self, now: Millis) {
        let full = std::mem::take(&mut self.younger);
        let kept = full.values().filter(|pace| !pace.is_whole(now)).count();
        self.younger.reserve(2 * kept + 1);
        self.younger.extend(full.into_iter().filter(|(_, pace)| !pace.is_whole(now)));
    }

    /// What is left of a key's rate, which is no longer kept here.
    pub(super) fn take_out(&mut self, key: K, now: Millis) -> Pace {
        self.turn(now);
        self.younger.remove(&key).or_else(|| self.older.remove(&key)).unwrap_or_default()
    }

    fn turn(&mut self, now: Millis) {
        if now.since(self.begun) >= self.rate.refill_ms() || self.younger.len() >= self.max {
            self.older = std::mem::take(&mut self.younger);
            self.begun = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_minute: 60, burst: 3 };

    #[test]
    fn each_key_has_its_rate_and_time_gives_it_back() {
        let mut paces = Paces::new(RATE, 100);
        for key in 0..3 {
            let took: Vec<bool> = (0..4).map(|_| paces.try_take(key, Millis(0)).is_ok()).collect();
            assert_eq!(took, [true, true, true, false], "{key}");
            assert_eq!(paces.look(key, Millis(0)), Err(1000));
        }
        // Every second one is earned, across however many turns of the tables.
        for second in 1..20 {
            assert_eq!(paces.look(1, Millis(second * 1000 - 1)), Err(1), "{second}");
            assert_eq!(paces.try_take(1, Millis(second * 1000)), Ok(()), "{second}");
            assert_eq!(paces.try_take(1, Millis(second * 1000)), Err(1000), "{second}");
        }
        assert!(!paces.younger.contains_key(&2) && !paces.older.contains_key(&2), "who stayed away is forgotten");
    }

    #[test]
    fn at_the_bound_the_older_half_is_forgotten() {
        for (others, still_known) in [(3, true), (4, true), (7, true), (8, false)] {
            let mut paces = Paces::new(RATE, 4);
            (0..3).for_each(|_| paces.try_take(0, Millis(0)).unwrap());
            (1..=others).for_each(|key| paces.try_take(key, Millis(0)).unwrap());
            assert_eq!(paces.look(0, Millis(0)).is_err(), still_known, "{others} others");
            assert!(paces.younger.len() <= 4 && paces.older.len() <= 4);
        }
    }

    #[test]
    fn those_who_come_one_by_one_take_the_room_of_a_few() {
        let mut paces = Paces::new(Rate { per_minute: 60, burst: 60 }, usize::MAX);
        for key in 0..10_000 {
            // One a millisecond, each whole after a second, within the time that a table is kept.
            paces.try_take(key, Millis(key)).unwrap();
        }
        assert!(paces.younger.capacity() < 4096, "{}", paces.younger.capacity());
        assert!(paces.look(9_999, Millis(9_999)).is_ok() && paces.younger.contains_key(&9_999));
        assert_eq!((0..10_000).filter(|key| paces.younger.contains_key(key)).count(), paces.younger.len());
        assert!((9_000..10_000).all(|key| paces.younger.contains_key(&key)), "what is not whole is kept");
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut paces = Paces::new(Rate::UNLIMITED, 4);
        assert!((0..100).all(|key| paces.try_take(key, Millis(0)).is_ok()));
        assert!(paces.younger.is_empty() && paces.look(1, Millis(0)).is_ok());
    }
}
