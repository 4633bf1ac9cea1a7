//! The flight recorder: what happened last, in a ring of fixed size for each shard.
//!
//! A record has 32 bytes: when, what, to whom, and a number. Its shard alone writes, with plain stores and no allocation,
//! and overwrites the oldest; whoever reads, on another thread, copies without stopping it and can tell what was
//! overwritten meanwhile. So a shard that is stuck stays readable, and a dump costs no shard anything. Never content,
//! never a token: types, sizes, positions, codes.
//!
//! Invariants: a record that is read was written whole (`head` counts records; a place is written only between two counts,
//! with a fence that a reader's second look at the count pairs with). Absent: names; a reader asks the shards for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::ids::{ConnId, ShardId};

/// Declares the kinds with their names.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)+) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $variant,)+ }

        impl Kind {
            /// Every kind, by its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// As operators write and read it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

kinds! {
    /// A channel has its place in the shard's table. The number is a hash of its name.
    Channel = "channel";
    /// A connection is upgraded.
    Opened = "opened";
    /// It is known whose it is. The number is a hash of the user.
    Authenticated = "authenticated";
    /// It is in a channel. The number is the channel.
    Joined = "joined";
    /// It is not any more. The number is the channel.
    Left = "left";
    /// A message was read. The detail is its type, the number its bytes.
    Received = "received";
    /// Its reading is paused. The detail is what it waits for.
    Paused = "paused";
    /// A channel gave an event its place, which is the number. The detail and half of the place are its author.
    Sequenced = "sequenced";
    /// Bytes were written, which are the number. The detail is of how many frames. Only while somebody looks: a write is
    /// the most frequent of all, and a record of each would cost a delivery 3 %.
    Written = "written";
    /// The socket took fewer than that, which are the number. The detail is how many were left.
    Blocked = "blocked";
    /// Events were lost to it. The detail is how many, the number the channel.
    Gap = "gap";
    /// Something was refused. The detail is the code, or the HTTP status from 100 on.
    Refused = "refused";
    /// It ended. The detail is the close code, the number the reason.
    Closed = "closed";
}

impl Kind {
    /// The kind of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The same, or what the names are.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn named(name: &str) -> Result<Self, String> {
        let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
        Self::parse(name).ok_or_else(|| format!("{name:?} is no kind of record, which are {}", names.join(", ")))
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Microseconds since the process began.
    pub micros: u64,
    /// What happened.
    pub kind: Kind,
    /// What the kind says of it; 56 bits.
    pub detail: u64,
    /// To whom.
    pub place: u64,
    /// What the kind says of it.
    pub number: u64,
}

impl Record {
    /// The connection that it is about, on the shard whose ring this is, or elsewhere for an author.
    #[must_use]
    pub fn connection(&self, shard: ShardId) -> Option<ConnId> {
        let (high, low) = halves(self.place);
        match self.kind {
            Kind::Channel => None,
            Kind::Sequenced => {
                let (author, generation) = halves(self.detail);
                Some(ConnId { shard: ShardId(u16::try_from(author).ok()?), slot: low, generation })
            }
            _ => Some(ConnId { shard, slot: high, generation: low }),
        }
    }

    /// The channel that it is about, by its number on the shard whose ring this is.
    #[must_use]
    pub fn channel(&self) -> Option<u32> {
        match self.kind {
            Kind::Channel | Kind::Sequenced => Some(halves(self.place).0),
            Kind::Joined | Kind::Left | Kind::Gap => u32::try_from(self.number).ok(),
            _ => None,
        }
    }
}

fn halves(number: u64) -> (u32, u32) {
    let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
    (half(number >> 32), half(number))
}

/// What both sides share. Two cache lines of its own, as they are fetched in pairs: each shard writes its count with every
/// record, and rings that are made one after the other would lie in one line.
#[derive(Debug)]
#[repr(align(128))]
pub struct Ring {
    records: Box<[[AtomicU64; 4]]>,
    /// Records written so far.
    head: AtomicU64,
    /// How many look at what comes.
    watchers: AtomicU32,
}

/// Somebody looks at what comes, until this is dropped: then every write is recorded too.
#[derive(Debug)]
pub struct Watching(Arc<Ring>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a reader found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// In the order in which they were written.
    pub records: Vec<Record>,
    /// The count from which to go on.
    pub next: u64,
    /// How many were overwritten before they could be read.
    pub lost: u64,
}

impl Ring {
    /// A ring in so many bytes, rounded down to a power of two of records; `None` if not even two fit.
    #[must_use]
    pub fn with_bytes(bytes: usize) -> Option<Arc<Self>> {
        let count = bytes / size_of::<[AtomicU64; 4]>();
        let count = 1_usize.checked_shl(count.checked_ilog2()?).filter(|count| *count > 1)?;
        let empty = || [const { AtomicU64::new(0) }; 4];
        Some(Arc::new(Self {
            records: (0..count).map(|_| empty()).collect(),
            head: AtomicU64::new(0),
            watchers: AtomicU32::new(0),
        }))
    }

    /// Says that somebody looks at what comes.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Watching {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watching(Arc::clone(self))
    }

    /// How many records there have been.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// How many it holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.records.len()
    }

    /// Copies up to `count` records from a count on.
    #[must_use]
    pub fn copy(&self, from: u64, count: usize) -> Copied {
        let capacity = self.capacity() as u64;
        let head = self.head();
        // The oldest place may be half overwritten already.
        let oldest = |head: u64| (head + 1).saturating_sub(capacity);
        let first = from.max(oldest(head)).min(head);
        let end = head.min(first + count as u64);
        let words: Vec<[u64; 4]> = (first..end).map(|at| self.words(at)).collect();
        fence(Ordering::Acquire);
        // What was overwritten while it was copied is not looked at.
        let torn = oldest(self.head.load(Ordering::Relaxed)).max(first).min(end) - first;
        let whole = words.iter().skip(usize::try_from(torn).unwrap_or(usize::MAX));
        Copied { records: whole.filter_map(decode).collect(), next: end, lost: first + torn - from.min(first) }
    }

    fn words(&self, at: u64) -> [u64; 4] {
        let place = usize::try_from(at).unwrap_or(0) & (self.capacity() - 1);
        let record = &self.records[place];
        [0, 1, 2, 3].map(|word| record[word].load(Ordering::Relaxed))
    }
}

fn decode(&[micros, what, place, number]: &[u64; 4]) -> Option<Record> {
    let kind = *Kind::ALL.get(usize::from(what.to_le_bytes()[0]))?;
    Some(Record { micros, kind, detail: what >> 8, place, number })
}

/// The writing side. Without a ring it writes nothing.
#[derive(Debug, Default)]
pub struct Recorder {
    ring: Option<Arc<Ring>>,
    /// As in the ring, which only this writes.
    head: u64,
}

impl Recorder {
    /// Writes into a ring that nobody else writes into.
    #[must_use]
    pub fn new(ring: Option<Arc<Ring>>) -> Self {
        Self { head: ring.as_ref().map_or(0, |ring| ring.head()), ring }
    }

    /// Notes what happened to a connection.
    #[inline]
    pub fn note(&mut self, micros: u64, kind: Kind, id: ConnId, detail: u64, number: u64) {
        self.write(micros, kind, detail, u64::from(id.slot) << 32 | u64::from(id.generation), number);
    }

    /// Whether somebody looks, so that also what happens most often is noted.
    #[inline]
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.watchers.load(Ordering::Relaxed) > 0)
    }

    /// Notes that a channel's events were lost to a connection: out of the way of deliveries, to which none are.
    #[cold]
    #[inline(never)]
    pub fn note_gap(&mut self, micros: u64, id: ConnId, missed: u64, channel: u32) {
        self.note(micros, Kind::Gap, id, missed, u64::from(channel));
    }

    /// Notes that a channel has its place.
    pub fn note_channel(&mut self, micros: u64, channel: u32, hash: u64) {
        self.write(micros, Kind::Channel, 0, u64::from(channel) << 32, hash);
    }

    /// Notes that a channel gave an author's event a place in its order.
    #[inline]
    pub fn note_sequenced(&mut self, micros: u64, channel: u32, author: ConnId, seq: u64) {
        let detail = u64::from(author.shard.0) << 32 | u64::from(author.generation);
        self.write(micros, Kind::Sequenced, detail, u64::from(channel) << 32 | u64::from(author.slot), seq);
    }

    #[inline]
    fn write(&mut self, micros: u64, kind: Kind, detail: u64, place: u64, number: u64) {
        let Some(ring) = &self.ring else { return };
        let at = usize::try_from(self.head).unwrap_or(0) & (ring.records.len() - 1);
        let Some([first, second, third, fourth]) = ring.records.get(at) else { return };
        // What follows is not seen before the last count, which tells a reader that this place changes.
        fence(Ordering::Release);
        first.store(micros, Ordering::Relaxed);
        second.store(detail << 8 | kind as u64, Ordering::Relaxed);
        third.store(place, Ordering::Relaxed);
        fourth.store(number, Ordering::Relaxed);
        self.head += 1;
        ring.head.store(self.head, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ConnId = ConnId { shard: ShardId(3), slot: 7, generation: 9 };

    #[test]
    fn what_was_noted_is_read_back_in_order_and_the_oldest_is_overwritten() {
        let ring = Ring::with_bytes(5 * 32).unwrap();
        assert_eq!(ring.capacity(), 4);
        let mut recorder = Recorder::new(Some(Arc::clone(&ring)));
        let numbers = |from, count| {
            let Copied { records, next, lost } = ring.copy(from, count);
            (records.iter().map(|record| record.number).collect::<Vec<_>>(), next, lost)
        };
        assert_eq!(numbers(0, 9), (vec![], 0, 0));
        for number in 0..3 {
            recorder.note(number, Kind::Received, ID, 5, number);
        }
        assert_eq!(numbers(0, 9), (vec![0, 1, 2], 3, 0));
        assert_eq!(numbers(0, 2), (vec![0, 1], 2, 0), "in portions");
        assert_eq!(numbers(2, 2), (vec![2], 3, 0));
        assert_eq!(numbers(3, 2), (vec![], 3, 0));
        for number in 3..11 {
            recorder.note(number, Kind::Received, ID, 5, number);
        }
        // The place of the oldest of the four is the next to be written, perhaps just now.
        assert_eq!(numbers(2, 9), (vec![8, 9, 10], 11, 6));
        assert_eq!(numbers(99, 9), (vec![], 11, 0), "a count that was never reached");
        let again = Recorder::new(Some(Arc::clone(&ring)));
        assert_eq!(again.head, 11, "who goes on writes behind what is there");
    }

    #[test]
    fn a_record_says_what_happened_to_whom() {
        let ring = Ring::with_bytes(1024).unwrap();
        let mut recorder = Recorder::new(Some(Arc::clone(&ring)));
        let author = ConnId { shard: ShardId(1), slot: u32::MAX, generation: u32::MAX - 1 };
        recorder.note_channel(1, 40, u64::MAX);
        recorder.note(2, Kind::Joined, ID, 0, 40);
        recorder.note(3, Kind::Gap, ID, (1 << 56) - 1, 40);
        recorder.note_sequenced(4, 40, author, 12);
        recorder.note(5, Kind::Written, ID, 2, 300);
        let records = ring.copy(0, 9).records;
        let seen = |record: &Record| (record.micros, record.kind, record.connection(ID.shard), record.channel());
        assert_eq!(
            records.iter().map(seen).collect::<Vec<_>>(),
            [
                (1, Kind::Channel, None, Some(40)),
                (2, Kind::Joined, Some(ID), Some(40)),
                (3, Kind::Gap, Some(ID), Some(40)),
                (4, Kind::Sequenced, Some(author), Some(40)),
                (5, Kind::Written, Some(ID), None),
            ]
        );
        assert_eq!((records[0].number, records[2].detail, records[3].number), (u64::MAX, (1 << 56) - 1, 12));
        assert_eq!((records[4].detail, records[4].number), (2, 300));
        assert!(!recorder.is_watched());
        let (one, two) = (ring.watch(), ring.watch());
        drop(one);
        assert!(recorder.is_watched());
        drop(two);
        assert!(!recorder.is_watched() && !Recorder::default().is_watched());
        for (number, kind) in (0..).zip(Kind::ALL) {
            assert_eq!((*kind as u8, Kind::parse(kind.name())), (number, Some(*kind)));
        }
    }

    #[test]
    fn without_a_ring_nothing_is_written_and_a_ring_holds_two_at_least() {
        Recorder::default().note(1, Kind::Opened, ID, 0, 0);
        for (bytes, capacity) in [(0, None), (63, None), (64, Some(2)), (127, Some(2)), (128, Some(4))] {
            assert_eq!(Ring::with_bytes(bytes).map(|ring| ring.capacity()), capacity, "{bytes}");
        }
    }

    #[test]
    fn no_two_rings_share_a_cache_line() {
        let rings: Vec<_> = (0..8).filter_map(|_| Ring::with_bytes(64)).collect();
        let mut lines: Vec<usize> = rings.iter().map(|ring| (&raw const ring.head).addr() / 64).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 8);
        assert_eq!((align_of::<Ring>(), size_of::<Ring>()), (128, 128));
    }

    #[test]
    fn a_reader_beside_a_writer_sees_whole_records_only() {
        const COUNT: u64 = 200_000;
        let ring = Ring::with_bytes(16 * 32).unwrap();
        let mut recorder = Recorder::new(Some(Arc::clone(&ring)));
        let writer = std::thread::spawn(move || {
            for number in 0..COUNT {
                let id = ConnId { slot: u32::try_from(number).unwrap(), ..ID };
                recorder.note(number, Kind::Received, id, number, number);
            }
        });
        let (mut next, mut seen) = (0, 0);
        while next < COUNT {
            let copied = ring.copy(next, 8);
            assert_eq!(copied.next - next, copied.lost + copied.records.len() as u64, "each is read or lost");
            for record in &copied.records {
                let slot = record.connection(ID.shard).unwrap().slot;
                assert_eq!([record.micros, record.detail, u64::from(slot)], [record.number; 3], "torn");
            }
            seen += copied.records.len();
            next = copied.next;
        }
        assert!(seen > 0);
        writer.join().unwrap();
    }
}
