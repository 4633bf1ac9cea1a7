//! What is queued towards one connection: whole frames in lanes, and what a short write left over.
//!
//! Channel events are not here. They are owed by a position in the channel's history and pulled when the
//! socket is written, so a slow reader of a busy room queues nothing. What is here is bounded.

mod queue;

use std::collections::VecDeque;

use crate::limits::OUTBOX_BYTES_MAX;
use crate::payload::Payload;
use queue::Queue;

/// Which queue a frame takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Acknowledgements, errors, close, authentication, drain.
    Critical,
    /// What somebody sends to this connection or to its user alone.
    High,
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
    critical: Queue,
    /// Boxed, since it is nearly always empty.
    #[expect(clippy::box_collection, reason = "a word in every connection instead of four")]
    low: Option<Box<VecDeque<Payload>>>,
    /// Boxed, since few connections are ever sent anything alone.
    #[expect(clippy::box_collection, reason = "a word in every connection instead of four")]
    high: Option<Box<VecDeque<Payload>>>,
    /// What a short write left over; boxed, since most sockets take everything.
    rest: Option<Box<Rest>>,
    /// Memory that the three lanes account for.
    bytes: usize,
    /// How many critical frames go before the next greeting of a channel.
    ahead: usize,
}

/// Frames that a write began or left over; they go before everything else.
#[derive(Debug)]
struct Rest {
    frames: VecDeque<Payload>,
    /// Bytes of the first frame that are written.
    skip: usize,
}

impl Outbox {
    /// Memory that is queued, as far as frames account for it, without what a short write left over.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames that are queued, without what a short write left over.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a frame was begun or left over.
    #[must_use]
    pub const fn has_unsent(&self) -> bool {
        // What nearly every connection is asked in vain is told by what is at hand.
        self.count > 0 && self.rest.is_some()
    }

    /// Queues a frame.
    pub fn push(&mut self, lane: Lane, frame: Payload) -> Queued {
        let mut displaced = 0;
        while self.bytes + cost(&frame) > OUTBOX_BYTES_MAX {
            let Some(oldest) = self.low.as_mut().and_then(|low| low.pop_front()) else {
                // A single frame may be larger than the bound; an empty queue takes it.
                if self.bytes == 0 && lane != Lane::Low {
                    break;
                }
                return if lane == Lane::Low { Queued::Displaced(displaced + 1) } else { Queued::Full };
            };
            self.bytes -= cost(&oldest);
            self.count -= 1;
            displaced += 1;
        }
        self.bytes += cost(&frame);
        self.count += 1;
        match lane {
            Lane::Critical => self.critical.push_back(frame),
            Lane::High => self.high.get_or_insert_default().push_back(frame),
            Lane::Low => self.low.get_or_insert_default().push_back(frame),
        }
        if displaced > 0 { Queued::Displaced(displaced) } else { Queued::Waits }
    }

    /// Queues a frame in the critical lane whatever it holds: one whose volume somebody else bounds.
    pub fn push_over(&mut self, frame: Payload) {
        self.bytes += cost(&frame);
        self.count += 1;
        self.critical.push_back(frame);
    }

    /// Queues the last frame of a connection. What the critical and high lanes hold goes before it, and what
    /// the low lane holds is dropped: nothing may follow.
    pub fn push_last(&mut self, frame: Payload) {
        let low = self.low.take().unwrap_or_default();
        self.count -= low.len();
        self.bytes -= low.iter().map(cost).sum::<usize>();
        let high = self.high.take().into_iter().flat_map(|high| *high);
        high.for_each(|frame| self.critical.push_back(frame));
        self.push_over(frame);
    }

    /// Notes that what is in the critical lane now has to be taken before a channel's greeting: an answer that
    /// precedes it, or the end of an earlier membership.
    pub fn hold_greetings(&mut self) {
        self.ahead = self.critical.len();
    }

    /// Whether a channel's greeting may be written.
    #[must_use]
    pub const fn may_greet(&self) -> bool {
        self.count == 0 || self.ahead == 0
    }

    /// Drops what is queued and not begun.
    pub fn drop_queued(&mut self) {
        self.critical = Queue::default();
        (self.low, self.high) = (None, None);
        (self.bytes, self.ahead) = (0, 0);
        self.count = self.rest.as_ref().map_or(0, |rest| rest.frames.len());
    }

    /// Keeps what a write did not take; it is written next. Each lane may put a frame over the size of a write, so
    /// what an earlier write left over need not have fitted whole: the remainder comes after this.
    pub fn put_back(&mut self, rest: impl Iterator<Item = Payload>, skip: usize) {
        let mut frames: VecDeque<Payload> = rest.collect();
        if frames.is_empty() {
            return;
        }
        self.count += frames.len();
        if let Some(later) = self.rest.take() {
            debug_assert_eq!(later.skip, 0, "what was begun is taken first");
            frames.extend(later.frames);
        }
        self.rest = Some(Box::new(Rest { frames, skip }));
    }

    /// The next frame that a short write left over, and how much of it is written.
    pub fn pop_unsent(&mut self) -> Option<(Payload, usize)> {
        let rest = self.rest.as_mut()?;
        let frame = rest.frames.pop_front();
        let skip = std::mem::take(&mut rest.skip);
        if rest.frames.is_empty() {
            self.rest = None;
        }
        self.count -= usize::from(frame.is_some());
        frame.map(|frame| (frame, skip))
    }

    /// The next frame of a lane.
    pub fn pop(&mut self, lane: Lane) -> Option<Payload> {
        let frame = match lane {
            Lane::Critical => {
                self.ahead = self.ahead.saturating_sub(1);
                self.critical.pop_front()
            }
            Lane::High => pop_boxed(&mut self.high),
            Lane::Low => pop_boxed(&mut self.low),
        }?;
        self.bytes -= cost(&frame);
        self.count -= 1;
        Some(frame)
    }

    /// Gives up what is kept for frames to come: nothing much happens here.
    pub fn give_back(&mut self) {
        self.critical.give_back();
    }
}

/// The next frame of a lane that is there only while it holds any.
#[expect(clippy::box_collection, reason = "as the field is")]
fn pop_boxed(lane: &mut Option<Box<VecDeque<Payload>>>) -> Option<Payload> {
    let frame = lane.as_mut()?.pop_front();
    lane.take_if(|lane| lane.is_empty());
    frame
}

/// What a queued frame accounts for beside its bytes: its place in a queue that doubles, and its two counts.
/// Small frames, such as pongs to empty pings, would otherwise take many times the bound.
pub const FRAME_OVERHEAD_BYTES: usize = 2 * size_of::<Payload>() + 2 * size_of::<usize>();

/// Memory that a queued frame accounts for.
fn cost(frame: &Payload) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

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
    fn what_two_writes_left_over_is_written_in_its_order() {
        let mut outbox = Outbox::default();
        outbox.put_back([frame(1), frame(2), frame(3), frame(4)].into_iter(), 0);
        // The next write had room for two of them, and the socket took one and a half.
        assert_eq!(outbox.pop_unsent().map(|(frame, skip)| (frame.len(), skip)), Some((1, 0)));
        let second = outbox.pop_unsent().map(|(frame, _)| frame);
        outbox.put_back(second.into_iter(), 1);
        outbox.put_back(std::iter::empty(), 0);
        let mut left = Vec::new();
        while let Some((frame, skip)) = outbox.pop_unsent() {
            left.push((frame.len(), skip));
        }
        assert_eq!(left, [(2, 1), (3, 0), (4, 0)]);
        assert!(outbox.is_empty() && !outbox.has_unsent());
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
    fn critical_and_high_share_one_bound() {
        for (lane, other) in [(Lane::Critical, Lane::High), (Lane::High, Lane::Critical)] {
            for (len, queued) in
                [(ROOM - FRAME_OVERHEAD_BYTES - 100, Queued::Waits), (ROOM - FRAME_OVERHEAD_BYTES - 99, Queued::Full)]
            {
                let mut outbox = Outbox::default();
                assert_eq!(outbox.push(other, frame(100)), Queued::Waits);
                assert_eq!(outbox.push(lane, frame(len)), queued, "{lane:?} {len}");
            }
        }
    }

    #[test]
    fn nothing_follows_the_last_frame_and_what_was_sent_to_one_alone_goes_before_it() {
        let mut outbox = Outbox::default();
        for (lane, len) in [(Lane::Low, 10), (Lane::High, 15), (Lane::Critical, 20), (Lane::Low, 30)] {
            assert_eq!(outbox.push(lane, frame(len)), Queued::Waits);
        }
        outbox.push_last(frame(7));
        assert!(outbox.pop(Lane::Low).is_none() && outbox.pop(Lane::High).is_none());
        let lens: Vec<usize> = std::iter::from_fn(|| outbox.pop(Lane::Critical)).map(|frame| frame.len()).collect();
        assert_eq!(lens, [20, 15, 7]);
        assert!(outbox.is_empty() && outbox.bytes() == 0, "what was dropped does not count as waiting");
    }

    #[test]
    fn a_greeting_waits_for_what_was_critical_before_it() {
        let mut outbox = Outbox::default();
        outbox.hold_greetings();
        assert!(outbox.may_greet(), "nothing was before it");
        for len in [1, 2] {
            assert_eq!(outbox.push(Lane::Critical, frame(len)), Queued::Waits);
        }
        outbox.hold_greetings();
        assert_eq!(outbox.push(Lane::Critical, frame(3)), Queued::Waits);
        for may in [false, true, true] {
            assert!(outbox.pop(Lane::Critical).is_some());
            assert_eq!(outbox.may_greet(), may);
        }
    }

    #[test]
    fn an_emptied_outbox_keeps_no_memory_of_a_crowd() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            assert_eq!(outbox.push(Lane::Critical, frame(1)), Queued::Waits);
        }
        while outbox.pop(Lane::Critical).is_some() {}
        assert!(outbox.critical.is_bare() && outbox.bytes() == 0 && outbox.is_empty());
        assert_eq!(outbox.push(Lane::High, frame(1)), Queued::Waits);
        while outbox.pop(Lane::High).is_some() {}
        assert!(outbox.high.is_none() && outbox.rest.is_none());
        assert!(size_of::<Outbox>() <= 9 * size_of::<usize>(), "a part of every connection");
    }
}
