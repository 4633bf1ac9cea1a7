//! How far each user has got in a channel, as its connections have acknowledged.
//!
//! Cumulative: an acknowledgement covers everything before it, and one that goes back changes nothing. Bounded:
//! the user who has not acknowledged for longest is forgotten first, and then gets again what is retained.

use std::sync::Arc;

use crate::ids::Seq;
use crate::limits::CURSORS_PER_CHANNEL_MAX;

/// The positions of a channel's users, within the channel's present epoch.
#[derive(Clone, Debug, Default)]
pub struct Cursors(Vec<(Arc<str>, Seq)>);

impl Cursors {
    /// A user has everything up to `seq`.
    pub fn advance(&mut self, user: &Arc<str>, seq: Seq) {
        let index = self.0.iter().position(|(name, _)| name == user);
        let before = index.map(|index| self.0.remove(index)).map_or(Seq(0), |(_, seq)| seq);
        if self.0.len() >= CURSORS_PER_CHANNEL_MAX {
            self.0.remove(0);
        }
        self.0.push((Arc::clone(user), before.max(seq)));
    }

    /// The last event that a user has acknowledged; 0 if none.
    #[must_use]
    pub fn of(&self, user: &str) -> Seq {
        self.0.iter().find(|(name, _)| **name == *user).map_or(Seq(0), |(_, seq)| *seq)
    }

    /// Users known.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
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
