//! What is queued towards one connection: whole frames in lanes, and what a short write left over.
//!
//! Channel events are not here. They are owed by a position in the channel's history and pulled when the
//! socket is written, so a slow reader of a busy room queues nothing. What is here is bounded.

use std::collections::VecDeque;

use crate::limits::OUTBOX_BYTES_MAX;
use crate::payload::Payload;

/// Which queue a frame takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Acknowledgements, errors, close, authentication, drain.
    Critical,
    /// Heartbeats and whatever the latest of replaces.
    Low,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Queued {
    /// It waits.
    Waits,
    /// It waits; older frames of the low lane were dropped for it.
    Displaced(usize),
    /// The lane is full: the client is too slow to be served.
    Full,
}

/// One connection's queues.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Outbox {
    /// Frames in all queues. First, so that an idle outbox costs no further cache line than its owner's.
    count: usize,
    /// Frames that a write began or left over; they go before everything else.
    unsent: VecDeque<Payload>,
    /// Bytes of the first unsent frame that are written.
    skip: usize,
    critical: VecDeque<Payload>,
    low: VecDeque<Payload>,
    /// Memory that `critical` and `low` account for.
    bytes: usize,
}

impl Outbox {
    /// Memory that is queued, as far as frames account for it, without what a short write left over.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a frame was begun or left over.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Queues a frame.
    pub fn push(&mut self, lane: Lane, frame: Payload) -> Queued {
        let mut displaced = 0;
        while self.bytes + cost(&frame) > OUTBOX_BYTES_MAX {
            let Some(oldest) = self.low.pop_front() else {
                // A single frame may be larger than the bound; an empty queue takes it.
                if self.critical.is_empty() && lane == Lane::Critical {
                    break;
                }
                return if lane == Lane::Critical { Queued::Full } else { Queued::Displaced(displaced + 1) };
            };
            self.bytes -= cost(&oldest);
            self.count -= 1;
            displaced += 1;
        }
        self.bytes += cost(&frame);
        self.count += 1;
        match lane {
            Lane::Critical => self.critical.push_back(frame),
            Lane::Low => self.low.push_back(frame),
        }
        if displaced > 0 { Queued::Displaced(displaced) } else { Queued::Waits }
    }

    /// Queues a frame in the critical lane whatever it holds: the last frame of a connection, or one whose
    /// volume somebody else bounds.
    pub fn push_over(&mut self, frame: Payload) {
        self.bytes += cost(&frame);
        self.count += 1;
        self.critical.push_back(frame);
    }

    /// Drops what is queued in the low lane: nothing of it may follow the last frame of a connection.
    pub fn drop_low(&mut self) {
        self.count -= self.low.len();
        self.bytes -= self.low.drain(..).map(|frame| cost(&frame)).sum::<usize>();
        self.low = VecDeque::new();
    }

    /// Drops what is queued and not begun.
    pub fn drop_queued(&mut self) {
        self.critical = VecDeque::new();
        self.low = VecDeque::new();
        self.bytes = 0;
        self.count = self.unsent.len();
    }

    /// Keeps what a write did not take; it is written next.
    pub fn put_back(&mut self, rest: impl Iterator<Item = Payload>, skip: usize) {
        debug_assert!(self.unsent.is_empty(), "a write takes what is unsent first");
        self.unsent.extend(rest);
        self.count += self.unsent.len();
        self.skip = if self.unsent.is_empty() { 0 } else { skip };
    }

    /// The next frame that a short write left over, and how much of it is written.
    pub fn pop_unsent(&mut self) -> Option<(Payload, usize)> {
        let frame = self.unsent.pop_front();
        self.count -= usize::from(frame.is_some());
        if self.unsent.is_empty() {
            self.unsent = VecDeque::new();
        }
        frame.map(|frame| (frame, std::mem::take(&mut self.skip)))
    }

    /// The next frame of a lane.
    pub fn pop(&mut self, lane: Lane) -> Option<Payload> {
        let queue = match lane {
            Lane::Critical => &mut self.critical,
            Lane::Low => &mut self.low,
        };
        let frame = queue.pop_front();
        match &frame {
            Some(frame) => {
                self.bytes -= cost(frame);
                self.count -= 1;
            }
            None if queue.capacity() > KEPT_FRAMES => *queue = VecDeque::new(),
            None => {}
        }
        frame
    }
}

/// What a queued frame accounts for beside its bytes: its place in a queue that doubles, and its two counts.
/// Small frames, such as pongs to empty pings, would otherwise take many times the bound.
pub const FRAME_OVERHEAD_BYTES: usize = 2 * size_of::<Payload>() + 2 * size_of::<usize>();

/// Memory that a queued frame accounts for.
fn cost(frame: &Payload) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

/// Places that an emptied queue keeps, so that an answer at a time costs no allocation for its queue.
const KEPT_FRAMES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Payload {
        Payload::copy_of(&vec![b'x'; len])
    }

    /// What the bound leaves for a frame's own bytes.
    const ROOM: usize = OUTBOX_BYTES_MAX - FRAME_OVERHEAD_BYTES;

    #[test]
    fn the_critical_lane_is_full_at_its_bound() {
        for (len, queued) in [
            (ROOM - FRAME_OVERHEAD_BYTES - 101, Queued::Waits),
            (ROOM - FRAME_OVERHEAD_BYTES - 100, Queued::Waits),
            (ROOM - FRAME_OVERHEAD_BYTES - 99, Queued::Full),
        ] {
            let mut outbox = Outbox::default();
            assert_eq!(outbox.push(Lane::Critical, frame(100)), Queued::Waits);
            assert_eq!(outbox.push(Lane::Critical, frame(len)), queued, "{len}");
        }
        let mut outbox = Outbox::default();
        assert_eq!(
            outbox.push(Lane::Critical, frame(OUTBOX_BYTES_MAX + 1)),
            Queued::Waits,
            "an empty queue takes any frame"
        );
    }

    #[test]
    fn the_low_lane_gives_way_oldest_first() {
        let mut outbox = Outbox::default();
        for len in [10, 20, 30] {
            assert_eq!(outbox.push(Lane::Low, frame(len)), Queued::Waits);
        }
        let large = ROOM - 2 * FRAME_OVERHEAD_BYTES - 55;
        assert_eq!(outbox.push(Lane::Critical, frame(large)), Queued::Displaced(1));
        assert_eq!(outbox.push(Lane::Low, frame(10)), Queued::Displaced(1));
        assert_eq!(outbox.pop(Lane::Low).map(|frame| frame.len()), Some(30));
        assert_eq!(outbox.pop(Lane::Low).map(|frame| frame.len()), Some(10));
        assert_eq!(outbox.bytes(), large + FRAME_OVERHEAD_BYTES);
    }

    #[test]
    fn what_a_short_write_left_goes_first_and_is_begun_only_once() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(Lane::Critical, frame(1)), Queued::Waits);
        outbox.put_back([frame(5), frame(6)].into_iter(), 3);
        assert!(outbox.has_unsent() && !outbox.is_empty());
        assert_eq!(outbox.pop_unsent().map(|(frame, skip)| (frame.len(), skip)), Some((5, 3)));
        assert_eq!(outbox.pop_unsent().map(|(frame, skip)| (frame.len(), skip)), Some((6, 0)));
        assert!(outbox.pop_unsent().is_none());
    }

    #[test]
    fn the_low_lane_is_dropped_alone() {
        let mut outbox = Outbox::default();
        for (lane, len) in [(Lane::Low, 10), (Lane::Critical, 20), (Lane::Low, 30)] {
            assert_eq!(outbox.push(lane, frame(len)), Queued::Waits);
        }
        outbox.drop_low();
        assert_eq!((outbox.bytes(), outbox.pop(Lane::Low).is_none()), (20 + FRAME_OVERHEAD_BYTES, true));
        assert_eq!(outbox.pop(Lane::Critical).map(|frame| frame.len()), Some(20));
        assert!(outbox.is_empty(), "what was dropped does not count as waiting");
    }

    #[test]
    fn an_emptied_outbox_keeps_no_memory_of_a_crowd() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            assert_eq!(outbox.push(Lane::Critical, frame(1)), Queued::Waits);
        }
        while outbox.pop(Lane::Critical).is_some() {}
        assert!(outbox.critical.capacity() <= KEPT_FRAMES && outbox.bytes() == 0 && outbox.is_empty());
    }
}
