//! What a shard writes frames with: scratch memory, and the ids that go into them.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::envelope::Encoding;
use crate::envelope::event::event_id;
use crate::envelope::notice::Stamp;
use crate::ids::{ConnectionName, Epoch, ShardId};
use crate::limits::FRAME_BUFFER_BYTES_KEPT_MAX;
use crate::payload::Payload;
use crate::route::HashKey;
use crate::time::Now;
use crate::wire::encoder::{FrameBuffer, Opcode};

/// Frames and ids. Ids are a keyed hash of a count, so that nobody can foresee them and the same key gives
/// the same ones.
#[derive(Debug)]
pub(super) struct Pen {
    frames: FrameBuffer,
    joining: Vec<u8>,
    key: HashKey,
    shard: ShardId,
    /// Ids made. Never reset, and no two shards share a number.
    count: u64,
    /// Entropy of the latest block, used up from the low end.
    pool: u128,
}

impl Pen {
    pub(super) fn new(key: HashKey, shard: ShardId) -> Self {
        Self { frames: FrameBuffer::default(), joining: Vec::new(), key, shard, count: 0, pool: 0 }
    }

    /// 128 bits that nobody can foresee.
    fn entropy(&mut self) -> u128 {
        self.count += 1;
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u16(self.shard.0);
        hasher.write_u64(self.count);
        hasher.finish128().as_u128()
    }

    /// The id of an event that is made now. Ids of one block differ by a count, as RFC 9562 section 6.2
    /// describes; a block is begun anew before its count runs over.
    pub(super) fn event_id(&mut self, now: Now) -> u128 {
        if self.pool & 0xffff == 0 {
            self.pool = self.entropy() & !0xffff;
        }
        self.pool += 1;
        event_id(now.unix_ms, self.pool)
    }

    pub(super) fn connection_name(&mut self) -> ConnectionName {
        ConnectionName(self.entropy())
    }

    pub(super) fn epoch(&mut self) -> Epoch {
        Epoch((self.entropy() >> 64) as u64)
    }

    pub(super) fn stamp(&mut self, now: Now, encoding: Encoding) -> Stamp {
        Stamp { id: self.event_id(now), unix_ms: now.unix_ms, encoding }
    }

    /// A text frame with what `write` puts into it.
    pub(super) fn text(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Payload {
        write(self.frames.body());
        self.frames.finish(Opcode::Text)
    }

    /// Frames that exist already, one after another, unless `write` says that they cannot be.
    pub(super) fn join(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<Payload> {
        self.joining.clear();
        let joined = write(&mut self.joining).then(|| Payload::copy_of(&self.joining));
        self.joining.shrink_to(FRAME_BUFFER_BYTES_KEPT_MAX);
        joined
    }

    /// A text frame that carries one event about the connection itself.
    pub(super) fn notice(&mut self, now: Now, encoding: Encoding, write: impl FnOnce(Stamp, &mut Vec<u8>)) -> Payload {
        let stamp = self.stamp(now, encoding);
        self.text(|out| write(stamp, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_do_not_repeat_on_a_shard_or_between_shards() {
        let mut seen = HashSet::new();
        for shard in [0, 1] {
            let mut pen = Pen::new([9; 16], ShardId(shard));
            assert!((0..200_000).all(|_| seen.insert(pen.event_id(Now { micros: 0, unix_ms: 1 }))));
        }
    }

    #[test]
    fn the_same_key_gives_the_same_ids_and_another_key_others() {
        let name = |key| Pen::new([key; 16], ShardId(0)).connection_name();
        assert_eq!(name(1), name(1));
        assert_ne!(name(1), name(2));
    }
}
