//! What a shard asks of its host. Effects carry no bytes for sockets: the host pulls those with
//! [`Shard::fill`](super::Shard::fill) and reports them with [`Shard::written`](super::Shard::written).

use crate::ids::{ConnId, ShardId};
use crate::ledger::{Read, Request, Ticket};
use crate::limits::{BATCH_BYTES_MAX, BATCH_PARTS_MAX, LANE_SHARES};
use crate::payload::Payload;
use crate::shard::message::outside::Answered;
use crate::shard::message::{AdminRequest, MeshMessage, Passport};

/// One request to the host, to be done in the order given.
#[derive(Debug)]
pub enum Effect {
    /// Something is owed to this connection: fill and send once in this turn's flush.
    Write(ConnId),
    /// The opening is done and the connection stays here: receive continuously from now on. Before it,
    /// the host receives once at a time, so that nothing is in flight when the socket is handed over.
    Stream(ConnId),
    /// Stop receiving; what is in flight may still arrive.
    Pause(ConnId),
    /// Receive again after [`Effect::Pause`].
    Resume(ConnId),
    /// The connection is over; the shard has forgotten it and waits for the slot's release.
    Close(ConnId, Closing),
    /// Give the socket and the passport to another shard.
    HandOver(ConnId, ShardId, Box<Passport>),
    /// Give the socket and the request to the administration executor.
    Admin(ConnId, Box<AdminRequest>),
    /// Put a message to another shard.
    Mesh(ShardId, MeshMessage),
    /// Have the store write or prepare something. In the order of the tickets.
    Store(Ticket, Box<Request>),
    /// Have the store read something.
    Read(Ticket, Box<Read>),
    /// Give an answer to who asked from outside; dropped if there is no room.
    Answer(Box<Answered>),
}

const _: () = assert!(size_of::<Effect>() <= 40, "each write of each turn is one: what is seldom is boxed");

/// How a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// All was written: shut the write side down, read and drop what still comes until the peer closes
    /// too or the linger time is over. Closing at once could reset the connection and lose the last
    /// frame on its way.
    Linger,
    /// Close now.
    Abort,
}

/// Where a shard puts its effects, and what it must know of the host while it does.
#[derive(Debug)]
pub struct Effects {
    /// In the order they are to be done.
    pub list: Vec<Effect>,
    congested: Vec<bool>,
}

impl Effects {
    /// No effects yet, towards `shards` shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self { list: Vec::new(), congested: vec![false; shards] }
    }

    /// Tells whether messages to `to` have piled up at the host; kept until told otherwise.
    pub fn set_congested(&mut self, to: ShardId, congested: bool) {
        self.congested[to.index()] = congested;
    }

    /// Whether a shard should put nothing more to `to` than it must.
    #[must_use]
    pub fn congested(&self, to: ShardId) -> bool {
        self.congested[to.index()]
    }
}

/// What one write to a socket consists of: frozen frames in order, the first perhaps begun earlier.
#[derive(Debug, Default)]
pub struct Batch {
    parts: Vec<Payload>,
    /// Bytes of the first part that the socket already took. Less than its length.
    skip: usize,
    /// Bytes of all parts, less `skip`.
    bytes: usize,
}

impl Batch {
    /// Whether nothing is to be written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes to write.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether another part may join.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.parts.len() < BATCH_PARTS_MAX && self.bytes < BATCH_BYTES_MAX
    }

    /// Whether there is room enough that every lane gets a frame or more.
    #[must_use]
    pub(super) const fn has_room_for_shares(&self) -> bool {
        self.parts.len() + SHARES_SUM <= BATCH_PARTS_MAX && self.bytes <= BATCH_BYTES_MAX / 2
    }

    /// What is left of the write, to be divided between the lanes. A lane that needs less leaves it to the next ones.
    pub(super) const fn shares(&self) -> Portions {
        Portions { parts: self.parts.len(), bytes: self.bytes, whole: false }
    }

    /// Whether another part may join within a portion.
    #[must_use]
    #[inline]
    pub(super) fn takes(&self, portion: Portion) -> bool {
        portion.admits(self.parts.len(), self.bytes)
    }

    /// Adds a part that may be as large as a write, if the write does not go beyond that with it. Of one without bytes
    /// there is nothing to add.
    #[inline]
    pub(super) fn try_push(&mut self, part: Payload) -> bool {
        let fits = self.bytes + part.len() <= BATCH_BYTES_MAX;
        if fits && !part.is_empty() {
            self.push(part, 0);
        }
        fits
    }

    /// Adds a part, of which `skip` bytes were written before. Only the first part may have a `skip`.
    #[inline]
    pub fn push(&mut self, part: Payload, skip: usize) {
        debug_assert!(skip == 0 || self.parts.is_empty(), "only the first part is begun");
        debug_assert!(skip < part.len(), "a part that was written whole is no part");
        self.bytes += part.len() - skip;
        self.skip += skip;
        self.parts.push(part);
    }

    /// Adds parts as far as they fit within a portion; `None` stands for one that is not to be written. Returns how
    /// many were taken, those included.
    #[inline]
    pub(super) fn extend(&mut self, mut parts: impl Iterator<Item = Option<Payload>>, portion: Portion) -> usize {
        let (mut bytes, mut taken) = (self.bytes, 0);
        while portion.admits(self.parts.len(), bytes)
            && let Some(part) = parts.next()
        {
            taken += 1;
            if let Some(part) = part {
                bytes += part.len();
                self.parts.push(part);
            }
        }
        self.bytes = bytes;
        taken
    }

    /// How many parts there are.
    pub(super) const fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Takes out the parts from `start` on, of which none is begun.
    pub(super) fn split_off(&mut self, start: usize) -> Vec<Payload> {
        debug_assert!(start > 0 || self.skip == 0, "a part that is begun stays");
        let parts = self.parts.split_off(start.min(self.parts.len()));
        self.bytes -= parts.iter().map(|part| part.len()).sum::<usize>();
        parts
    }

    /// The slices to write, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().enumerate().map(|(index, part)| if index == 0 { &part[self.skip..] } else { &part[..] })
    }

    /// Drops all parts.
    pub fn clear(&mut self) {
        self.parts.clear();
        (self.skip, self.bytes) = (0, 0);
    }

    /// Takes out what remains after the socket took `written` bytes: the parts in order, and how much of
    /// the first is written. Leaves the batch empty.
    pub fn take_rest(&mut self, written: usize) -> (impl Iterator<Item = Payload> + '_, usize) {
        let mut done = self.skip + written;
        let whole = self.parts.iter().take_while(|part| {
            let whole = done >= part.len();
            done -= if whole { part.len() } else { 0 };
            whole
        });
        let whole = whole.count();
        (self.skip, self.bytes) = (0, 0);
        let mut rest = self.parts.drain(..);
        rest.by_ref().take(whole).for_each(drop);
        (rest, done)
    }
}

/// Of all shares together.
const SHARES_SUM: usize = LANE_SHARES[0] + LANE_SHARES[1] + LANE_SHARES[2] + LANE_SHARES[3];

/// How far a lane may fill a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portion {
    parts: usize,
    bytes: usize,
    /// Where the lane begins: its first frame may go beyond the bytes, so that large ones of the lanes before it
    /// do not starve it. The largest number where that is nowhere.
    first: usize,
}

impl Portion {
    /// Whether another part may join so many of so many bytes.
    #[inline]
    const fn admits(self, parts: usize, bytes: usize) -> bool {
        parts < self.parts && (bytes < self.bytes || parts == self.first)
    }
}

/// What one round divides between the lanes: as much as was left of the write when it began. A lane's portion is
/// worked out when its turn comes, since most connections have something in one lane alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portions {
    parts: usize,
    bytes: usize,
    /// Nothing is divided: whoever comes first may have all.
    whole: bool,
}

/// The lanes as they share a write, in their order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Quota {
    Critical,
    High,
    Normal,
    Low,
}

impl Portions {
    /// Of a round in which nothing is divided: whoever comes first may have all that is left.
    pub(super) const WHOLE: Self = Self { parts: 0, bytes: 0, whole: true };
    /// Of a round that begins with nothing in the batch.
    const FIRST: Self = Self { parts: 0, bytes: 0, whole: false };
    /// How far each lane goes in that. Nearly every round is such a one, so it is worked out once.
    const REACH_OF_FIRST: [(usize, usize); 4] = [
        Self::FIRST.reach(Quota::Critical),
        Self::FIRST.reach(Quota::High),
        Self::FIRST.reach(Quota::Normal),
        Self::FIRST.reach(Quota::Low),
    ];

    /// How far a lane may fill the batch if it begins where the batch ends now.
    #[inline]
    pub(super) const fn of(self, quota: Quota, batch: &Batch) -> Portion {
        if self.whole {
            return Portion { parts: BATCH_PARTS_MAX, bytes: BATCH_BYTES_MAX, first: usize::MAX };
        }
        let (parts, bytes) = if self.parts == 0 { Self::REACH_OF_FIRST[quota as usize] } else { self.reach(quota) };
        Portion { parts, bytes, first: batch.parts.len() }
    }

    /// Up to how many parts and bytes of the batch a lane's share goes.
    #[inline(never)]
    const fn reach(self, quota: Quota) -> (usize, usize) {
        let [critical, high, normal, low] = LANE_SHARES;
        let shares = match quota {
            Quota::Critical => critical,
            Quota::High => critical + high,
            Quota::Normal => critical + high + normal,
            Quota::Low => critical + high + normal + low,
        };
        let parts = self.parts + (BATCH_PARTS_MAX - self.parts) * shares / SHARES_SUM;
        (parts, self.bytes + (BATCH_BYTES_MAX - self.bytes) * shares / SHARES_SUM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_short_write_leaves_is_exactly_the_unwritten_bytes() {
        let parts = [&b"hello"[..], b"w", b"orld"];
        let all: Vec<u8> = b"lloworld".to_vec();
        for written in 0..=all.len() {
            let mut batch = Batch::default();
            for (index, part) in parts.iter().enumerate() {
                batch.push(Payload::copy_of(part), if index == 0 { 2 } else { 0 });
            }
            assert_eq!(batch.slices().collect::<Vec<_>>().concat(), all);
            assert_eq!(batch.bytes(), all.len());
            let (rest, skip) = batch.take_rest(written);
            let rest: Vec<u8> = rest.flat_map(|part| part.to_vec()).skip(skip).collect();
            assert_eq!(rest, all[written..], "after {written}");
            assert!(batch.is_empty() && batch.bytes() == 0);
        }
    }
    #[test]
    fn parts_are_added_as_far_as_a_portion_goes() {
        let check = |lens: &[Option<usize>], portion: Portion, expected: (usize, usize, usize)| {
            let mut batch = Batch::default();
            let parts = lens.iter().map(|len| len.map(|len| Payload::copy_of(&vec![b'x'; len])));
            let taken = batch.extend(parts, portion);
            assert_eq!((taken, batch.parts(), batch.bytes()), expected, "{lens:?} {portion:?}");
        };
        let portion = |parts, bytes, first| Portion { parts, bytes, first };
        let lens = [Some(5), None, Some(5), Some(5), None];
        check(&lens, portion(9, 99, 0), (5, 3, 15));
        check(&lens, portion(4, 99, 0), (5, 3, 15));
        check(&lens, portion(3, 99, 0), (4, 3, 15));
        check(&lens, portion(2, 99, 0), (3, 2, 10));
        check(&lens, portion(0, 99, 0), (0, 0, 0));
        check(&lens, portion(9, 11, 0), (4, 3, 15));
        check(&lens, portion(9, 10, 0), (3, 2, 10));
        check(&lens, portion(9, 9, 0), (3, 2, 10));
        check(&lens, portion(9, 0, 0), (1, 1, 5));
        check(&lens, portion(9, 0, usize::MAX), (0, 0, 0));
    }
}
