//! Who comes back with what was refused already.
//!
//! Station 1. A client that knows our close codes stops or renews its token. Among the older ones is one that comes back
//! after every code but 1000, every second and for ever, as long as it was never let in. It cannot be told from the
//! others by what it sends, only by what it does: it brings the same again. What was brought is known by a hash that the
//! caller makes with a key. Absent: any limit of attempts; this only ends what cannot succeed.

use std::collections::VecDeque;

use crate::limits::{REFUSALS_KEPT_MAX, REFUSALS_KEPT_MS};
use crate::time::Millis;

/// The latest refusals, each for a while.
#[derive(Debug, Default)]
pub struct Repeats(VecDeque<(Millis, u64)>);

impl Repeats {
    /// Notes a refusal, and says how often the same was refused lately, this time included.
    pub fn note(&mut self, now: Millis, what: u64) -> usize {
        while self.0.front().is_some_and(|(at, _)| now.since(*at) >= REFUSALS_KEPT_MS)
            || self.0.len() >= REFUSALS_KEPT_MAX
        {
            self.0.pop_front();
        }
        self.0.push_back((now, what));
        self.0.iter().filter(|(_, other)| *other == what).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_for_its_time_and_while_there_is_room() {
        let mut repeats = Repeats::default();
        let late = |ms: u64| Millis(ms);
        assert_eq!([repeats.note(late(0), 7), repeats.note(late(1), 7), repeats.note(late(2), 8)], [1, 2, 1]);
        assert_eq!(repeats.note(late(REFUSALS_KEPT_MS - 1), 7), 3);
        assert_eq!(repeats.note(late(REFUSALS_KEPT_MS), 7), 3, "the first is forgotten");
        for other in 0..REFUSALS_KEPT_MAX as u64 {
            repeats.note(late(REFUSALS_KEPT_MS), 100 + other);
        }
        assert_eq!(repeats.0.len(), REFUSALS_KEPT_MAX);
        assert_eq!(repeats.note(late(REFUSALS_KEPT_MS), 7), 1, "there was no room for it");
    }
}
