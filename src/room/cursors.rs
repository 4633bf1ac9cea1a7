//! How far each user has got in a channel, as its connections have acknowledged.
//!
//! Cumulative: an acknowledgement covers everything before it, and one that goes back changes nothing. Bounded:
//! the user who has not acknowledged for longest is forgotten first, and then gets again what is retained.

use std::sync::Arc;

use crate::ids::Seq;
use crate::limits::CURSORS_PER_CHANNEL_MAX;

/// The positions of a channel's users, within the channel's present epoch.
#[derive(Clone, Debug, Default)]
pub struct Cursors {
    /// Up to here nobody is owed anything: it was delivered to whoever was there.
    floor: Seq,
    of: Vec<(Arc<str>, Seq)>,
}

impl Cursors {
    /// The channel delivers until it is acknowledged from now on, and has not since this event.
    pub fn begin_after(&mut self, last: Seq) {
        self.floor = self.floor.max(last);
    }

    /// A user has everything up to `seq`.
    pub fn advance(&mut self, user: &Arc<str>, seq: Seq) {
        let index = self.of.iter().position(|(name, _)| name == user);
        let before = index.map(|index| self.of.remove(index)).map_or(Seq(0), |(_, seq)| seq);
        if self.of.len() >= CURSORS_PER_CHANNEL_MAX {
            self.of.remove(0);
        }
        self.of.push((Arc::clone(user), before.max(seq)));
    }

    /// Forgets how far a user is, if that is before a position. Returns whether it was known.
    pub fn forget(&mut self, user: &str, before: Seq) -> bool {
        let count = self.of.len();
        self.of.retain(|(name, seq)| **name != *user || *seq >= before);
        self.of.len() < count
    }

    /// The last event that a user has acknowledged or is not owed; 0 if none.
    #[must_use]
    pub fn of(&self, user: &str) -> Seq {
        self.of.iter().find(|(name, _)| **name == *user).map_or(self.floor, |(_, seq)| self.floor.max(*seq))
    }

    /// Users known.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether nobody is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_covers_what_is_before_it_and_never_goes_back() {
        let (ann, bob): (Arc<str>, Arc<str>) = (Arc::from("ann"), Arc::from("bob"));
        let mut cursors = Cursors::default();
        assert!(cursors.is_empty());
        for (user, seq, expected) in [(&ann, 5, 5), (&ann, 3, 5), (&bob, 1, 1), (&ann, 9, 9)] {
            cursors.advance(user, Seq(seq));
            assert_eq!(cursors.of(user), Seq(expected));
        }
        assert_eq!((cursors.of("bob"), cursors.of("eve"), cursors.len()), (Seq(1), Seq(0), 2));
    }

    #[test]
    fn nobody_is_owed_what_came_before_the_channel_began_to_wait_for_acknowledgements() {
        let (ann, bob): (Arc<str>, Arc<str>) = (Arc::from("ann"), Arc::from("bob"));
        let mut cursors = Cursors::default();
        cursors.advance(&ann, Seq(3));
        for (begun, expected) in [(0, [3, 0]), (2, [3, 2]), (7, [7, 7]), (5, [7, 7])] {
            cursors.begin_after(Seq(begun));
            assert_eq!([cursors.of("ann"), cursors.of("bob")], expected.map(Seq), "{begun}");
        }
        cursors.advance(&bob, Seq(9));
        assert_eq!([cursors.of("ann"), cursors.of("bob")], [7, 9].map(Seq));
    }

    #[test]
    fn at_the_bound_the_one_that_was_silent_longest_is_forgotten() {
        let user = |index: usize| -> Arc<str> { Arc::from(index.to_string()) };
        let mut cursors = Cursors::default();
        for index in 0..CURSORS_PER_CHANNEL_MAX {
            cursors.advance(&user(index), Seq(7));
        }
        cursors.advance(&user(0), Seq(8));
        assert_eq!((cursors.len(), cursors.of("1")), (CURSORS_PER_CHANNEL_MAX, Seq(7)));
        cursors.advance(&user(CURSORS_PER_CHANNEL_MAX), Seq(1));
        assert_eq!((cursors.len(), cursors.of("0"), cursors.of("1")), (CURSORS_PER_CHANNEL_MAX, Seq(8), Seq(0)));
    }
}
