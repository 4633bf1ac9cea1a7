//! What a shard asks of its host. Effects carry no bytes for sockets: the host pulls those with
//! [`Shard::fill`](super::Shard::fill) and reports them with [`Shard::written`](super::Shard::written).

use crate::ids::{ConnId, ShardId};
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
    /// Give an answer to who asked from outside; dropped if there is no room.
    Answer(Box<Answered>),
}

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

    /// What is left of the write, divided between the lanes. A lane that needs less leaves it to the next ones.
    pub(super) const fn shares(&self) -> Portions {
        let [critical, high, normal, low] = LANE_SHARES;
        Portions {
            critical: self.portion(critical),
            high: self.portion(critical + high),
            normal: self.portion(critical + high + normal),
            low: self.portion(critical + high + normal + low),
        }
    }

    /// What is left of the write, for whoever comes first.
    pub(super) const fn whole(&self) -> Portions {
        let all = Portion { parts: BATCH_PARTS_MAX, bytes: BATCH_BYTES_MAX, first: None };
        Portions { critical: all, high: all, normal: all, low: all }
    }

    /// So many parts of the sum of shares.
    const fn portion(&self, shares: usize) -> Portion {
        let parts = self.parts.len();
        Portion {
            parts: parts + (BATCH_PARTS_MAX - parts) * shares / SHARES_SUM,
            bytes: self.bytes + (BATCH_BYTES_MAX - self.bytes) * shares / SHARES_SUM,
            first: Some(parts),
        }
    }

    /// Whether another part may join within a portion.
    #[must_use]
    pub(super) fn takes(&self, portion: Portion) -> bool {
        let parts = self.parts.len();
        parts < portion.parts && (self.bytes < portion.bytes || portion.first == Some(parts))
    }

    /// Adds a part, of which `skip` bytes were written before. Only the first part may have a `skip`.
    pub fn push(&mut self, part: Payload, skip: usize) {
        debug_assert!(skip == 0 || self.parts.is_empty(), "only the first part is begun");
        debug_assert!(skip < part.len(), "a part that was written whole is no part");
        self.bytes += part.len() - skip;
        self.skip += skip;
        self.parts.push(part);
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
    /// do not starve it.
    first: Option<usize>,
}

impl Portion {
    /// The portion of a lane that begins where the batch ends.
    pub(super) fn from(self, batch: &Batch) -> Self {
        Self { first: self.first.map(|_| batch.parts.len()), ..self }
    }
}

/// The portions of all lanes, in their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portions {
    pub(super) critical: Portion,
    pub(super) high: Portion,
    pub(super) normal: Portion,
    pub(super) low: Portion,
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
}
