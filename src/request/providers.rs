//! Which connections answer a method, and whose turn it is.

use std::collections::HashMap;

use crate::ids::ConnId;
use crate::limits::{METHODS_PER_SHARD_MAX, PROVIDERS_PER_METHOD_MAX};

/// The providers of the methods that are at home on a shard.
#[derive(Debug, Default)]
pub struct Providers(HashMap<Box<str>, Row>);

/// One method's providers; never empty.
#[derive(Debug, Default)]
struct Row {
    providers: Vec<ConnId>,
    /// Whose turn it is, as an index that may be one past the end.
    next: usize,
}

/// A bound is reached: the method has no further provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Providers {
    /// A connection answers a method from now on. Saying so again changes nothing.
    ///
    /// # Errors
    /// There are too many methods, or too many providers of this one.
    pub fn register(&mut self, method: &str, provider: ConnId) -> Result<(), Full> {
        if self.0.get(method).is_some_and(|row| row.providers.contains(&provider)) {
            return Ok(());
        }
        if !self.0.contains_key(method) && self.0.len() >= METHODS_PER_SHARD_MAX {
            return Err(Full);
        }
        let row = self.0.entry(Box::from(method)).or_default();
        if row.providers.len() >= PROVIDERS_PER_METHOD_MAX {
            return Err(Full);
        }
        row.providers.push(provider);
        Ok(())
    }

    /// A connection no longer answers a method.
    pub fn remove(&mut self, method: &str, provider: ConnId) {
        let Some(row) = self.0.get_mut(method) else { return };
        if let Some(index) = row.providers.iter().position(|one| *one == provider) {
            row.providers.remove(index);
            row.next -= usize::from(index < row.next);
        }
        if row.providers.is_empty() {
            self.0.remove(method);
        }
    }

    /// The connection that is to answer this time: one after the other, but for those who were asked before.
    pub fn pick(&mut self, method: &str, asked: &[Option<ConnId>]) -> Option<ConnId> {
        let row = self.0.get_mut(method)?;
        let turn = row.next.min(row.providers.len());
        let mut order = (turn..row.providers.len()).chain(0..turn);
        let index = order.find(|index| !asked.contains(&Some(row.providers[*index])))?;
        row.next = index + 1;
        Some(row.providers[index])
    }

    /// Providers of a method.
    #[must_use]
    pub fn count(&self, method: &str) -> usize {
        self.0.get(method).map_or(0, |row| row.providers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    fn conn(slot: u32) -> ConnId {
        ConnId { shard: ShardId(0), slot, generation: 1 }
    }

    fn picks(providers: &mut Providers, count: usize) -> Vec<u32> {
        (0..count).filter_map(|_| providers.pick("m", &[])).map(|conn| conn.slot).collect()
    }

    #[test]
    fn providers_take_turns_whoever_comes_and_goes() {
        let mut providers = Providers::default();
        assert_eq!(providers.pick("m", &[]), None);
        for slot in [1, 2, 3, 2] {
            assert_eq!(providers.register("m", conn(slot)), Ok(()));
        }
        assert_eq!(picks(&mut providers, 4), [1, 2, 3, 1]);
        providers.remove("m", conn(1));
        assert_eq!(picks(&mut providers, 3), [2, 3, 2], "nobody is passed over");
        providers.remove("m", conn(3));
        providers.remove("m", conn(3));
        assert_eq!(picks(&mut providers, 2), [2, 2]);
        providers.remove("m", conn(2));
        assert_eq!((providers.pick("m", &[]), providers.count("m")), (None, 0));
        assert!(providers.0.is_empty(), "a method without providers is forgotten");
    }

    #[test]
    fn who_was_asked_before_is_passed_over_whoever_had_a_turn_meanwhile() {
        let mut providers = Providers::default();
        (1..=3).for_each(|slot| providers.register("m", conn(slot)).unwrap());
        let mut pick = |asked: &[u32]| {
            let asked: Vec<Option<ConnId>> = asked.iter().map(|slot| Some(conn(*slot))).chain([None]).collect();
            providers.pick("m", &asked).map(|conn| conn.slot)
        };
        assert_eq!(pick(&[]), Some(1));
        assert_eq!(pick(&[2]), Some(3), "the turn goes on from there");
        assert_eq!(pick(&[1]), Some(2));
        assert_eq!(pick(&[1, 3]), Some(2), "the only one who is left");
        assert_eq!((pick(&[3, 1, 2]), pick(&[])), (None, Some(3)), "nobody's turn is lost where nobody is left");
    }

    #[test]
    fn methods_and_their_providers_are_bounded() {
        let mut providers = Providers::default();
        let last = u32::try_from(PROVIDERS_PER_METHOD_MAX).unwrap();
        for slot in 0..=last {
            assert_eq!(providers.register("m", conn(slot)).is_ok(), slot < last, "{slot}");
        }
        assert_eq!(providers.register("m", conn(0)), Ok(()), "who is in stays in");
        for index in 1..=METHODS_PER_SHARD_MAX {
            let fits = providers.register(&index.to_string(), conn(0)).is_ok();
            assert_eq!(fits, index < METHODS_PER_SHARD_MAX, "{index}");
        }
    }
}
