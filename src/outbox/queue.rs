//! A queue of frames that is small while it holds one, as it nearly always does if it holds any.

use std::collections::VecDeque;

use crate::payload::Payload;

/// Frames in their order. The first stands in the queue itself.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// `None` exactly if the queue is empty.
    first: Option<Payload>,
    /// The others. Kept for the next while it is small, so that some answers at a time cost no allocation.
    #[expect(clippy::box_collection, reason = "a word in every connection instead of four")]
    more: Option<Box<VecDeque<Payload>>>,
}

/// Places that an emptied queue keeps.
const KEPT_FRAMES: usize = 4;

impl Queue {
    /// Frames in it.
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }

    /// Puts a frame behind the others.
    pub(super) fn push_back(&mut self, frame: Payload) {
        match self.first {
            None => self.first = Some(frame),
            Some(_) => self.more.get_or_insert_default().push_back(frame),
        }
    }

    /// Takes the first frame.
    pub(super) fn pop_front(&mut self) -> Option<Payload> {
        let frame = self.first.take()?;
        if let Some(more) = &mut self.more {
            self.first = more.pop_front();
            if self.first.is_none() && more.capacity() > KEPT_FRAMES {
                self.more = None;
            }
        }
        Some(frame)
    }

    /// Gives up what is kept for frames to come.
    pub(super) fn give_back(&mut self) {
        self.more.take_if(|more| more.is_empty());
    }

    #[cfg(test)]
    pub(super) const fn is_bare(&self) -> bool {
        self.more.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: usize) -> Payload {
        Payload::copy_of(&number.to_be_bytes())
    }

    #[test]
    fn frames_come_out_in_their_order_however_many_there_are() {
        for count in 0..12 {
            for taken_before in 0..=count {
                let mut queue = Queue::default();
                let mut out = Vec::new();
                (0..taken_before).for_each(|number| queue.push_back(frame(number)));
                out.extend((0..taken_before.div_ceil(2)).filter_map(|_| queue.pop_front()));
                (taken_before..count).for_each(|number| queue.push_back(frame(number)));
                assert_eq!(queue.len(), count - out.len());
                out.extend(std::iter::from_fn(|| queue.pop_front()));
                assert_eq!((out, queue.len()), ((0..count).map(frame).collect(), 0), "{count} {taken_before}");
            }
        }
    }

    #[test]
    fn an_empty_queue_keeps_little_and_nothing_once_it_is_told() {
        for (count, kept) in [(1, false), (2, true), (KEPT_FRAMES + 1, true), (2 * KEPT_FRAMES + 2, false)] {
            let mut queue = Queue::default();
            (0..count).for_each(|number| queue.push_back(frame(number)));
            queue.give_back();
            (0..count).for_each(|number| assert_eq!(queue.pop_front(), Some(frame(number))));
            assert_eq!(queue.more.is_some(), kept, "{count}");
            queue.give_back();
            assert!(queue.more.is_none());
        }
    }
}
