//! What a shard writes frames with: scratch memory, and the ids that go into them.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::envelope::Encoding;
use crate::envelope::event::event_id;
use crate::envelope::notice::Stamp;
use crate::ids::{ConnId, ConnectionName, Epoch, Seq, ShardId};
use crate::limits::FRAME_BUFFER_BYTES_KEPT_MAX;
use crate::payload::Payload;
use crate::route::HashKey;
use crate::time::{Calendar, Now, Rfc3339};
use crate::wire::encoder::{FrameBuffer, Opcode};
use crate::wire::event_stream::write_event;

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
    calendar: Calendar,
}

impl Pen {
    pub(super) fn new(key: HashKey, shard: ShardId) -> Self {
        let (frames, calendar) = (FrameBuffer::default(), Calendar::default());
        Self { frames, joining: Vec::new(), key, shard, count: 0, pool: 0, calendar }
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

    /// The time as events say it.
    pub(super) fn instant(&mut self, now: Now) -> Rfc3339 {
        self.calendar.rfc3339(now.unix_ms)
    }

    /// A connection's public name. It says where the connection lives, but only to those who have the key: the
    /// shard, the slot, the generation and 48 bits of entropy, permuted as a whole.
    pub(super) fn name_of(&mut self, id: ConnId) -> ConnectionName {
        let place = u128::from(id.shard.0) << 112 | u128::from(id.slot) << 80 | u128::from(id.generation) << 48;
        let plain = place | self.entropy() >> 80;
        let (mut left, mut right) = halves(plain);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.mix(round, right));
        }
        ConnectionName(u128::from(left) << 64 | u128::from(right))
    }

    /// The connection that has a name, if it is one of ours. Whoever made it up gets some connection or other,
    /// which does not have this name.
    pub(super) fn holder_of(&self, name: ConnectionName) -> ConnId {
        let (mut left, mut right) = halves(name.0);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.mix(round, left), left);
        }
        let shard = u16::try_from(left >> 48).unwrap_or(u16::MAX);
        let slot = u32::try_from(left >> 16 & 0xffff_ffff).unwrap_or(u32::MAX);
        let generation = u32::try_from((left & 0xffff) << 16 | right >> 48).unwrap_or(u32::MAX);
        ConnId { shard: ShardId(shard), slot, generation }
    }

    /// The round function: what makes four rounds of halves a permutation that nobody can tell from chance.
    fn mix(&self, round: u8, half: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u8(round);
        hasher.write_u64(half);
        hasher.finish128().h1
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

    /// A text frame, or none where `write` has nothing to say and has written nothing.
    pub(super) fn text_if(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Payload {
        if write(self.frames.body()) { self.frames.finish(Opcode::Text) } else { Payload::none() }
    }

    /// An event of a stream: the text that `write` writes, and the place after which a reader resumes.
    pub(super) fn streamed(&mut self, place: Option<(Epoch, Seq)>, write: impl FnOnce(&mut Vec<u8>)) -> Payload {
        write(self.frames.body());
        self.joining.clear();
        write_event(place, self.frames.written(), &mut self.joining);
        self.frames.clear();
        self.joining.shrink_to(FRAME_BUFFER_BYTES_KEPT_MAX);
        Payload::copy_of(&self.joining)
    }

    /// Frames that exist already, one after another, unless `write` says that they cannot be.
    pub(super) fn join(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<Payload> {
        self.joining.clear();
        let joined = write(&mut self.joining).then(|| Payload::copy_of(&self.joining));
        self.joining.shrink_to(FRAME_BUFFER_BYTES_KEPT_MAX);
        joined
    }

    /// Frames that exist already, one after another.
    pub(super) fn stretch(&mut self, frames: &[Payload]) -> Payload {
        self.joining.clear();
        frames.iter().for_each(|frame| self.joining.extend_from_slice(frame));
        let stretch = Payload::copy_of(&self.joining);
        self.joining.shrink_to(FRAME_BUFFER_BYTES_KEPT_MAX);
        stretch
    }

    /// A text frame that carries one event about the connection itself.
    pub(super) fn notice(&mut self, now: Now, encoding: Encoding, write: impl FnOnce(Stamp, &mut Vec<u8>)) -> Payload {
        self.notice_at(now, encoding, None, write)
    }

    /// The same, for a member that has got so far.
    pub(super) fn notice_at(
        &mut self,
        now: Now,
        encoding: Encoding,
        place: Option<(Epoch, Seq)>,
        write: impl FnOnce(Stamp, &mut Vec<u8>),
    ) -> Payload {
        let stamp = self.stamp(now, encoding);
        if encoding == Encoding::EVENT_STREAM {
            return self.streamed(place, |out| write(stamp, out));
        }
        self.text(|out| write(stamp, out))
    }
}

/// Rounds of the permutation of names.
const ROUNDS: u8 = 4;

fn halves(number: u128) -> (u64, u64) {
    ((number >> 64) as u64, u64::try_from(number & u128::from(u64::MAX)).unwrap_or(u64::MAX))
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
        let id = ConnId { shard: ShardId(3), slot: 0xdead_beef, generation: 0x0102_0304 };
        let name = |key| Pen::new([key; 16], ShardId(0)).name_of(id);
        assert_eq!(name(1), name(1));
        assert_ne!(name(1), name(2));
    }

    #[test]
    fn a_name_says_whose_it_is_to_who_has_the_key_and_is_never_given_again() {
        let mut pen = Pen::new([9; 16], ShardId(1));
        let other = Pen::new([8; 16], ShardId(1));
        let mut seen = HashSet::new();
        for slot in [0, 1, 77, u32::MAX] {
            for (shard, generation) in [(0, 0), (1, 5), (u16::MAX, u32::MAX)] {
                let id = ConnId { shard: ShardId(shard), slot, generation };
                let (first, second) = (pen.name_of(id), pen.name_of(id));
                assert!(seen.insert(first) && seen.insert(second));
                assert_eq!((pen.holder_of(first), pen.holder_of(second)), (id, id));
                assert_ne!(other.holder_of(first), id);
            }
        }
    }
}
