//! The ring of a channel's latest events, gapless, with the bounds of what is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::envelope::{Encoding, EncodingSet};
use crate::ids::{ConnId, Epoch, Position, Seq};
use crate::limits::{
    HISTORY_AGE_MS_DEFAULT, HISTORY_BYTES_DEFAULT, HISTORY_COUNT_DEFAULT, HISTORY_FORGET_PER_EVENT,
    HISTORY_LIVE_BYTES_MAX, HISTORY_MEMORY_BYTES_DEFAULT, HISTORY_MEMORY_COUNT_DEFAULT,
};
use crate::payload::Payload;

/// One sequenced event: frozen, encoded once per encoding in use. All shards that deliver it share its frames; the
/// rest is as large as one cache line and stands in the ring itself, so that neither what is added nor what is
/// forgotten is another piece of memory to find.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the channel.
    pub seq: Seq,
    /// When it was sequenced, wall clock.
    pub unix_ms: u64,
    /// When it was sequenced, monotonic; comparable within one process.
    pub micros: u64,
    /// The author's connection if the author asked not to get it.
    pub excluded: Option<ConnId>,
    /// The plain frame, and after it those of further encodings.
    frame: Payload,
    others: Option<Arc<Vec<(Encoding, Payload)>>>,
}

const _: () = assert!(size_of::<Event>() <= 64, "one cache line");

impl Event {
    /// An event with its plain encoding and those that were in use when it was sequenced.
    #[must_use]
    pub fn new(
        seq: Seq,
        unix_ms: u64,
        micros: u64,
        excluded: Option<ConnId>,
        frame: Payload,
        others: Vec<(Encoding, Payload)>,
    ) -> Self {
        let others = if others.is_empty() { None } else { Some(Arc::new(others)) };
        Self { seq, unix_ms, micros, excluded, frame, others }
    }

    /// The plain frame.
    #[must_use]
    pub const fn plain(&self) -> &Payload {
        &self.frame
    }

    /// The frame in an encoding, if it was made; the plain one always was. Without bytes it says that the event
    /// does not exist in that encoding.
    #[must_use]
    pub fn frame(&self, encoding: Encoding) -> Option<&Payload> {
        if encoding == Encoding::TRIPSAGE {
            return Some(&self.frame);
        }
        self.others().iter().find(|(other, _)| *other == encoding).map(|(_, frame)| frame)
    }

    /// The frame in an encoding for a known client, or for a legacy one: they differ where the event belongs to a trace.
    #[must_use]
    pub fn frame_to(&self, known: bool, encoding: Encoding) -> Option<&Payload> {
        let traced = if known && self.others.is_some() { self.frame(encoding.traced()) } else { None };
        traced.or_else(|| self.frame(encoding))
    }

    /// Whether known clients get another frame than legacy ones.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.others().iter().any(|(encoding, _)| encoding.is_traced())
    }

    /// Memory that the event accounts for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let others: usize = self.others().iter().map(|(_, frame)| frame.len() + OTHER_OVERHEAD_BYTES).sum();
        self.frame.len() + others + EVENT_OVERHEAD_BYTES
    }

    /// How many older events may go when this one comes: always enough to give back what it takes, so that bytes do not
    /// pile up while a history that is far over its bounds forgets some events at a time.
    #[must_use]
    pub fn displaces(&self) -> usize {
        HISTORY_FORGET_PER_EVENT + self.bytes() / EVENT_OVERHEAD_BYTES
    }

    fn others(&self) -> &[(Encoding, Payload)] {
        self.others.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// What an event costs beside its frame: two counts, and its place in the ring, of which up to half are free.
const EVENT_OVERHEAD_BYTES: usize = 2 * size_of::<Event>() + 2 * size_of::<usize>();
/// What a further encoding costs beside its frame.
const OTHER_OVERHEAD_BYTES: usize = size_of::<(Encoding, Payload)>() + 2 * size_of::<usize>();

/// How much of a channel is kept. All three bounds hold; the oldest events go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events.
    pub count: usize,
    /// Bytes as [`Event::bytes`] counts them.
    pub bytes: usize,
    /// Milliseconds.
    pub age_ms: u64,
}

impl Retention {
    /// What of it is held in memory where the rest can be read elsewhere.
    #[must_use]
    pub fn held(self, held: &Held) -> Self {
        Self { count: self.count.min(held.count), bytes: self.bytes.min(held.bytes), ..self }
    }
}

/// How much of a channel that is stored is held in memory beside. Both bounds hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Events.
    pub count: usize,
    /// Bytes as [`Event::bytes`] counts them.
    pub bytes: usize,
}

impl Default for Held {
    fn default() -> Self {
        Self { count: HISTORY_MEMORY_COUNT_DEFAULT, bytes: HISTORY_MEMORY_BYTES_DEFAULT }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { count: HISTORY_COUNT_DEFAULT, bytes: HISTORY_BYTES_DEFAULT, age_ms: HISTORY_AGE_MS_DEFAULT }
    }
}

/// A channel's latest events: positions without a hole, from `oldest` to before `next`.
#[derive(Debug)]
pub struct History {
    events: VecDeque<Event>,
    epoch: Epoch,
    /// The position that the next event gets. `next - events.len()` is the oldest one kept.
    next: Seq,
    /// Sum of `Event::bytes` over `events`.
    bytes: usize,
}

impl History {
    /// An empty history whose first event will be `next`.
    #[must_use]
    pub const fn new(epoch: Epoch, next: Seq) -> Self {
        Self { events: VecDeque::new(), epoch, next, bytes: 0 }
    }

    /// The run of positions that this is a part of.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The position that the next event gets.
    #[must_use]
    pub const fn next(&self) -> Seq {
        self.next
    }

    /// The position of the last event; 0 before the first.
    #[must_use]
    pub const fn last(&self) -> Seq {
        Seq(self.next.0 - 1)
    }

    /// Whether a position of this run lies ahead of it.
    #[must_use]
    pub fn is_behind(&self, position: Position) -> bool {
        position.epoch == Some(self.epoch) && position.seq >= self.next
    }

    /// The oldest position kept; `next` if nothing is.
    #[must_use]
    pub fn oldest(&self) -> Seq {
        Seq(self.next.0 - self.events.len() as u64)
    }

    /// Bytes kept.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Events kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The event at a position, if it is kept.
    #[must_use]
    pub fn event(&self, seq: Seq) -> Option<&Event> {
        let index = seq.0.checked_sub(self.oldest().0)?;
        self.events.get(usize::try_from(index).ok()?)
    }

    /// The events from a position on, as far as they are kept.
    pub fn since(&self, seq: Seq) -> impl Iterator<Item = &Event> {
        let index = usize::try_from(seq.0.saturating_sub(self.oldest().0)).unwrap_or(usize::MAX);
        self.events.range(index.min(self.events.len())..)
    }

    /// The latest event.
    #[must_use]
    pub fn latest(&self) -> Option<&Event> {
        self.events.back()
    }

    /// Adds the next event.
    pub fn push(&mut self, event: Event) {
        debug_assert_eq!(event.seq, self.next, "a history has no hole");
        self.bytes += event.bytes();
        self.next = self.next.next();
        self.events.push_back(event);
    }

    /// Forgets what lies beyond the bounds, so many events at `most`. An event that a live cursor still needs (`needed` or later)
    /// stays beyond them, together at most [`HISTORY_LIVE_BYTES_MAX`]; what is not stored yet (`unstored` or later) stays
    /// in any case. Returns the bytes freed.
    pub fn trim(&mut self, keep: &Retention, (needed, unstored): (Seq, Seq), unix_ms: u64, most: usize) -> usize {
        let (before, mut left) = (self.bytes, most);
        while left > 0
            && let Some(front) = self.events.front().filter(|front| front.seq < unstored)
        {
            let too_old = unix_ms.saturating_sub(front.unix_ms) > keep.age_ms;
            if self.events.len() <= keep.count && self.bytes <= keep.bytes && !too_old {
                break;
            }
            // What is over the bounds is a prefix; the part of it that live cursors need may stay within its own.
            if front.seq >= needed && !too_old {
                let over = self.bytes.saturating_sub(keep.bytes).max(self.over_count_bytes(keep.count));
                if over <= HISTORY_LIVE_BYTES_MAX {
                    break;
                }
            }
            self.forget_oldest();
            left -= 1;
        }
        if self.events.len() < self.events.capacity() / 4 {
            // What a burst took is given back.
            self.events.shrink_to(self.events.len() * 2);
        }
        before - self.bytes
    }

    /// Forgets the older half, but no event from `needed` on. Returns the bytes freed.
    pub fn halve(&mut self, needed: Seq) -> usize {
        let before = self.bytes;
        for _ in 0..self.events.len().div_ceil(2) {
            if self.oldest() >= needed {
                break;
            }
            self.forget_oldest();
        }
        self.events.shrink_to_fit();
        before - self.bytes
    }

    /// Puts other events in the place of some, under the same positions. Returns how many.
    pub fn replace(&mut self, mut with: impl FnMut(&Event) -> Option<Event>) -> u64 {
        let mut count = 0;
        for event in &mut self.events {
            let Some(other) = with(event) else { continue };
            debug_assert_eq!(event.seq, other.seq, "a position stays");
            self.bytes = self.bytes - event.bytes() + other.bytes();
            *event = other;
            count += 1;
        }
        count
    }

    /// Starts over at another position, as a mirror does whose source has moved on. Returns the bytes freed.
    pub fn restart(&mut self, epoch: Epoch, next: Seq) -> usize {
        let freed = self.bytes;
        *self = Self::new(epoch, next);
        freed
    }

    /// An estimate of the bytes over a count bound: exact for equal sizes, never more than all.
    fn over_count_bytes(&self, count: usize) -> usize {
        let over = self.events.len().saturating_sub(count);
        if over == 0 { 0 } else { self.bytes / self.events.len() * over }
    }

    fn forget_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.bytes();
        }
    }
}

/// The encodings that a set of members asks for, beyond the plain one.
pub fn others(set: EncodingSet) -> impl Iterator<Item = Encoding> {
    set.iter().filter(|encoding| *encoding != Encoding::TRIPSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn event(seq: u64, unix_ms: u64, len: usize) -> Event {
        Event::new(Seq(seq), unix_ms, 0, None, Payload::copy_of(&vec![b'x'; len]), Vec::new())
    }

    fn history(count: u64, len: usize) -> History {
        let mut history = History::new(EPOCH, Seq(1));
        (1..=count).for_each(|seq| history.push(event(seq, seq * 1000, len)));
        history
    }

    fn check(keep: Retention, needed: u64, unix_ms: u64, oldest: u64) {
        let mut history = history(20, 100);
        let freed = history.trim(&keep, (Seq(needed), Seq(u64::MAX)), unix_ms, usize::MAX);
        assert_eq!(history.oldest(), Seq(oldest), "{keep:?} needed {needed}");
        let kept: usize = history.events.iter().map(|event| event.bytes()).sum();
        assert_eq!((history.bytes(), freed), (kept, 20 * event(1, 0, 100).bytes() - kept));
    }

    #[test]
    fn each_bound_forgets_the_oldest_first() {
        let all = Retention { count: 20, bytes: usize::MAX, age_ms: u64::MAX };
        let one = event(1, 0, 100).bytes();
        check(all, 21, 20_000, 1);
        check(Retention { count: 19, ..all }, 21, 20_000, 2);
        check(Retention { count: 0, ..all }, 21, 20_000, 21);
        check(Retention { bytes: 20 * one, ..all }, 21, 20_000, 1);
        check(Retention { bytes: 20 * one - 1, ..all }, 21, 20_000, 2);
        check(Retention { age_ms: 10_000, ..all }, 21, 20_000, 10);
        check(Retention { age_ms: 9_999, ..all }, 21, 20_000, 11);
    }

    #[test]
    fn what_live_cursors_need_stays_but_not_beyond_its_own_bound() {
        let keep = Retention { count: 5, bytes: usize::MAX, age_ms: u64::MAX };
        check(keep, 3, 20_000, 3);
        check(keep, 21, 20_000, 16);
        let mut big = history(20, HISTORY_LIVE_BYTES_MAX / 4);
        big.trim(&keep, (Seq(1), Seq(u64::MAX)), 20_000, usize::MAX);
        assert_eq!(big.oldest(), Seq(13), "three of a quarter beside the five that are history");
    }

    #[test]
    fn events_are_replaced_in_their_places_and_the_bytes_are_right() {
        let mut history = history(5, 100);
        let smaller = |old: &Event| event(old.seq.0, old.unix_ms, 10);
        assert_eq!(history.replace(|old| (old.seq.0 % 2 == 0).then(|| smaller(old))), 2);
        let lens: Vec<usize> = history.since(Seq(1)).map(|event| event.plain().len()).collect();
        assert_eq!((lens, history.oldest(), history.next()), (vec![100, 10, 100, 10, 100], Seq(1), Seq(6)));
        assert_eq!(history.bytes(), history.events.iter().map(Event::bytes).sum::<usize>());
    }

    #[test]
    fn a_history_far_over_its_bounds_forgets_some_events_at_a_time_and_never_fewer_bytes_than_come() {
        let keep = Retention { count: 5, bytes: 10_000, age_ms: u64::MAX };
        let mut history = history(1000, 1);
        for (seq, len) in (1001..).zip([1, 1, 5_000, 5_000, 1]) {
            let new = event(seq, 0, len);
            let (most, held, bytes) = (new.displaces(), history.len(), history.bytes());
            assert!((HISTORY_FORGET_PER_EVENT..HISTORY_FORGET_PER_EVENT + 50).contains(&most), "{most}");
            history.push(new);
            history.trim(&keep, (Seq(u64::MAX), Seq(u64::MAX)), 0, most);
            assert!(history.len() == held + 1 - most && history.bytes() <= bytes, "{seq}: {}", history.len());
        }
        assert_eq!(history.trim(&keep, (Seq(u64::MAX), Seq(u64::MAX)), 0, 0), 0);
        history.trim(&keep, (Seq(u64::MAX), Seq(u64::MAX)), 0, 1000);
        assert_eq!(history.oldest(), Seq(1004), "of the last five these three have too many bytes");
    }

    #[test]
    fn what_a_burst_took_is_given_back() {
        let mut history = history(1000, 1);
        history.trim(
            &Retention { count: 10, bytes: usize::MAX, age_ms: u64::MAX },
            (Seq(1001), Seq(u64::MAX)),
            1_000_000,
            usize::MAX,
        );
        assert_eq!(history.oldest(), Seq(991));
        assert!(history.events.capacity() < 100, "{}", history.events.capacity());
    }

    #[test]
    fn an_event_is_found_by_its_position_and_only_while_it_is_kept() {
        let mut history = history(3, 1);
        assert_eq!(history.event(Seq(1)).map(|event| event.seq), Some(Seq(1)));
        assert_eq!(history.event(Seq(3)).map(|event| event.seq), Some(Seq(3)));
        assert!(history.event(Seq(0)).is_none() && history.event(Seq(4)).is_none());
        for (from, expected) in [(0, &[1, 2, 3][..]), (1, &[1, 2, 3]), (2, &[2, 3]), (3, &[3]), (4, &[]), (5, &[])] {
            assert!(history.since(Seq(from)).map(|event| &event.seq.0).eq(expected), "{from}");
        }
        assert_eq!((history.halve(Seq(1)), history.oldest()), (0, Seq(1)));
        assert!(history.halve(Seq(2)) > 0);
        assert_eq!(history.oldest(), Seq(2), "what is needed stays, whatever half of all is");
        history.halve(Seq(u64::MAX));
        assert_eq!((history.oldest(), history.last(), history.next()), (Seq(3), Seq(3), Seq(4)));
        assert!(history.event(Seq(2)).is_none());
        history.halve(Seq(u64::MAX));
        assert!(history.is_empty() && history.bytes() == 0 && history.oldest() == history.next());
    }
}
