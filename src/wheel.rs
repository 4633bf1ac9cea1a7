//! The timing wheel: one per shard, for every deadline of every connection and channel.
//!
//! Deadlines are rounded up to slots of [`crate::limits::WHEEL_SLOT_MS`]; those further than one turn of the
//! wheel wait in their slot for the next turn. There is no cancelling: whoever fires an entry looks
//! whether it still applies, and an owner keeps at most one entry per purpose in the wheel. So pings of
//! ten thousand connections that joined over a second fire in four batches, not ten thousand times.

use crate::limits::{WHEEL_SLOT_MS, WHEEL_SLOTS};
use crate::time::Millis;

/// Entries of type `T` that become due.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Vec<Vec<(Millis, T)>>,
    /// The slot number (not index) that fires next; every entry lies at it or after it.
    next_slot: u64,
    len: usize,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self { slots: (0..WHEEL_SLOTS).map(|_| Vec::new()).collect(), next_slot: 0, len: 0 }
    }
}

impl<T> Wheel<T> {
    /// Entries that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts in `entry`, to fire at `deadline` or up to one slot later.
    pub fn insert(&mut self, deadline: Millis, entry: T) {
        let slot = deadline.0.div_ceil(WHEEL_SLOT_MS).max(self.next_slot);
        self.slots[Self::index(slot)].push((deadline, entry));
        self.len += 1;
    }

    /// Moves what is due by `now` into `due`, at most one turn of the wheel.
    pub fn expire(&mut self, now: Millis, due: &mut impl Extend<T>) {
        let current = now.0 / WHEEL_SLOT_MS;
        let last = current.min(self.next_slot + WHEEL_SLOTS as u64 - 1);
        for slot in self.next_slot..=last {
            if self.slots[Self::index(slot)].is_empty() {
                continue;
            }
            let waiting = &mut self.slots[Self::index(slot)];
            let before = waiting.len();
            due.extend(waiting.extract_if(.., |(deadline, _)| *deadline <= now).map(|(_, entry)| entry));
            self.len -= before - waiting.len();
            // A slot is filled once a turn of the wheel; what it keeps until then lies idle in every slot.
            waiting.shrink_to_fit();
        }
        self.next_slot = self.next_slot.max(current + 1);
    }

    /// When to look again: the end of the first slot that holds anything. It may turn out to hold only
    /// entries of a later turn; then looking costs one pass over that slot.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.is_empty() {
            return None;
        }
        (self.next_slot..self.next_slot + WHEEL_SLOTS as u64)
            .find(|slot| !self.slots[Self::index(*slot)].is_empty())
            .map(|slot| Millis(slot * WHEEL_SLOT_MS))
    }

    #[expect(clippy::cast_possible_truncation, reason = "reduced modulo a usize first")]
    const fn index(slot: u64) -> usize {
        (slot % WHEEL_SLOTS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(Millis(now), &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn entries_fire_in_their_slot_and_only_once() {
        let mut wheel = Wheel::default();
        wheel.insert(Millis(1), 1);
        wheel.insert(Millis(WHEEL_SLOT_MS), 2);
        wheel.insert(Millis(WHEEL_SLOT_MS + 1), 3);
        assert_eq!(expired(&mut wheel, WHEEL_SLOT_MS - 1), [0_u32; 0]);
        assert_eq!(expired(&mut wheel, WHEEL_SLOT_MS), [1, 2]);
        assert_eq!(wheel.next_deadline(), Some(Millis(2 * WHEEL_SLOT_MS)));
        assert_eq!(expired(&mut wheel, 2 * WHEEL_SLOT_MS), [3]);
        assert!(wheel.is_empty() && wheel.next_deadline().is_none());
    }

    #[test]
    fn a_deadline_beyond_one_turn_waits_for_its_turn() {
        let turn = WHEEL_SLOT_MS * WHEEL_SLOTS as u64;
        let mut wheel = Wheel::default();
        wheel.insert(Millis(2 * turn + 5), 1);
        for now in (0..2 * turn + WHEEL_SLOT_MS).step_by(usize::try_from(WHEEL_SLOT_MS).unwrap()) {
            assert_eq!(expired(&mut wheel, now), [0_u32; 0], "{now}");
        }
        assert_eq!(expired(&mut wheel, 2 * turn + 2 * WHEEL_SLOT_MS), [1]);
    }

    #[test]
    fn a_past_deadline_fires_at_the_next_look_and_a_late_look_misses_nothing() {
        let mut wheel = Wheel::default();
        expired(&mut wheel, 10 * WHEEL_SLOT_MS);
        wheel.insert(Millis(3), 1);
        wheel.insert(Millis(50 * WHEEL_SLOT_MS), 2);
        assert_eq!(expired(&mut wheel, 1000 * WHEEL_SLOT_MS), [1, 2]);
    }
}
