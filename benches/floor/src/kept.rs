//! What a room keeps for those who come back: the frames of its latest events, one behind the other, so that whatever
//! somebody missed is one run of bytes.
//!
//! Invariants: `ends` has the end of each event that is kept, ascending; nothing in front of `from` is one's.

use std::collections::VecDeque;

/// Events that a room may be asked to keep; more are not kept.
pub(crate) const EVENTS_KEPT_MAX: usize = 1000;

/// The latest events of a room.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Events, at most.
    count_max: usize,
    bytes: Vec<u8>,
    from: usize,
    ends: VecDeque<usize>,
}

impl Kept {
    /// Keeps so many events, as far as [`EVENTS_KEPT_MAX`] allows.
    pub(crate) fn new(count: usize) -> Self {
        Self { count_max: count.min(EVENTS_KEPT_MAX), ..Self::default() }
    }

    /// Adds a frame, and forgets the oldest one that is too many.
    pub(crate) fn push(&mut self, frame: &[u8]) {
        if self.count_max == 0 {
            return;
        }
        self.bytes.extend_from_slice(frame);
        self.ends.push_back(self.bytes.len());
        if self.ends.len() > self.count_max {
            self.from = self.ends.pop_front().unwrap_or(self.from);
        }
        // What is forgotten is given back when it is half of all, so each byte is moved once.
        if self.from > self.bytes.len() / 2 {
            self.bytes.drain(..self.from);
            self.ends.iter_mut().for_each(|end| *end -= self.from);
            self.from = 0;
        }
    }

    /// The frames of the last `count` events; `None` if not so many are kept.
    pub(crate) fn last(&self, count: u64) -> Option<&[u8]> {
        let forgotten = self.ends.len().checked_sub(usize::try_from(count).ok()?)?;
        let from = if forgotten == 0 { self.from } else { *self.ends.get(forgotten - 1)? };
        self.bytes.get(from..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes frames of 1, 2, ... bytes, each full of its own number, and asks for the last ones.
    fn check(keep: usize, pushed: u8, count: u64, expected: Option<&[u8]>) {
        let mut kept = Kept::new(keep);
        for number in 1..=pushed {
            kept.push(&vec![number; usize::from(number)]);
        }
        assert_eq!(kept.last(count), expected, "{keep} {pushed} {count}");
    }

    #[test]
    fn the_last_events_are_one_run_of_bytes_as_far_as_they_are_kept() {
        check(3, 2, 0, Some(&[]));
        check(3, 2, 1, Some(&[2, 2]));
        check(3, 2, 2, Some(&[1, 2, 2]));
        check(3, 2, 3, None);
        check(3, 3, 3, Some(&[1, 2, 2, 3, 3, 3]));
        check(3, 4, 3, Some(&[2, 2, 3, 3, 3, 4, 4, 4, 4]));
        check(3, 4, 4, None);
        check(2, 40, 2, Some(&[vec![39; 39], vec![40; 40]].concat()));
        check(0, 4, 0, Some(&[]));
        check(0, 4, 1, None);
    }

    #[test]
    fn no_more_is_kept_than_the_bound_and_little_more_memory_is_used() {
        let mut kept = Kept::new(usize::MAX);
        for _ in 0..10 * EVENTS_KEPT_MAX {
            kept.push(b"0123456789");
        }
        let most = u64::try_from(EVENTS_KEPT_MAX).unwrap();
        assert_eq!(kept.last(most).map(<[u8]>::len), Some(10 * EVENTS_KEPT_MAX));
        assert_eq!(kept.last(most + 1), None);
        assert!(kept.bytes.len() <= 20 * EVENTS_KEPT_MAX + 10, "{}", kept.bytes.len());
    }
}
