//! How many connections the process has.
//!
//! The one number that several shards write. A limit on connections in all would otherwise have to be cut into
//! shares, and a shard that the kernel favours would refuse while others have room. It is touched when a
//! socket comes or goes, never for a message, and nothing else is ordered by it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A count that stays within a bound whoever enters at the same time.
#[derive(Debug, Default)]
pub struct Headcount(AtomicUsize);

impl Headcount {
    /// Counts one more, unless `max` are counted. Returns whether it did.
    pub fn try_enter(&self, max: usize) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1)).is_ok()
    }

    /// Counts one less.
    pub fn leave(&self) {
        let before = self.0.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "whoever leaves has entered");
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// What the process counts over all its shards.
#[derive(Debug, Default)]
pub struct Population {
    /// Accepted sockets, each of which is a descriptor.
    pub sockets: Headcount,
    /// Connections that were upgraded or are about to be.
    pub connections: Headcount,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_at_its_edge_and_a_place_is_given_out_again() {
        for max in 0..4 {
            let heads = Headcount::default();
            assert_eq!((0..5).filter(|_| heads.try_enter(max)).count(), max);
            if max > 0 {
                heads.leave();
                assert!(heads.try_enter(max) && !heads.try_enter(max));
            }
            assert_eq!(heads.count(), max);
        }
    }

    #[test]
    fn threads_that_enter_at_once_never_exceed_it() {
        let heads = Headcount::default();
        let entered: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1000).filter(|_| heads.try_enter(1500)).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((entered, heads.count()), (1500, 1500));
    }
}
