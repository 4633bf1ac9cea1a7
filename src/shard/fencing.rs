//! Answers that are true on other shards, too: who asked is told once those have taken all that was sent to them before.
//!
//! What a home tells the shards that follow its channels is on its way when the home is done, and behind it the question
//! whether it has come, in the same lane. So no event that is erased is read anywhere once its erasure is answered.

use std::collections::BTreeMap;

use super::Shard;
use super::effect::{Effect, Effects};
use super::message::MeshMessage;
use super::message::outside::Reply;
use super::outside::reply;
use crate::code::ErrorCode;
use crate::ids::ShardId;
use crate::limits::BROWSES_PER_SHARD_MAX;

/// Answers that wait for other shards.
#[derive(Debug, Default)]
pub(super) struct Fences {
    /// Counts them.
    count: u64,
    waiting: BTreeMap<u64, Fence>,
}

#[derive(Debug)]
struct Fence {
    /// Shards that have not said that they have come so far.
    left: usize,
    /// Who asked.
    ticket: u64,
    answer: Reply,
}

impl Shard {
    /// Answers once these shards have taken what was sent to them until now.
    pub(super) fn reply_behind(&mut self, shards: &[ShardId], ticket: u64, answer: Reply, effects: &mut Effects) {
        if shards.is_empty() {
            return reply(ticket, Ok(answer), effects);
        }
        if self.fences.waiting.len() >= BROWSES_PER_SHARD_MAX {
            return reply(ticket, Err(ErrorCode::Overloaded), effects);
        }
        self.fences.count += 1;
        let fence = self.fences.count;
        self.fences.waiting.insert(fence, Fence { left: shards.len(), ticket, answer });
        effects.list.extend(shards.iter().map(|shard| Effect::Mesh(*shard, MeshMessage::Fence(fence))));
    }

    /// Another shard asks whether all that it has sent has come.
    pub(super) fn on_fence(from: ShardId, fence: u64, effects: &mut Effects) {
        effects.list.push(Effect::Mesh(from, MeshMessage::Fenced(fence)));
    }

    /// It has.
    pub(super) fn on_fenced(&mut self, fence: u64, effects: &mut Effects) {
        let Some(waiting) = self.fences.waiting.get_mut(&fence) else { return };
        waiting.left = waiting.left.saturating_sub(1);
        if waiting.left > 0 {
            return;
        }
        if let Some(Fence { ticket, answer, .. }) = self.fences.waiting.remove(&fence) {
            reply(ticket, Ok(answer), effects);
        }
    }
}
