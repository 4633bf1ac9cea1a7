//! What goes between every two shards, as numbers that anybody may read.
//!
//! Each shard counts what it puts to the others and what it takes from them, and nobody else writes these numbers. What
//! was put and not yet taken is how deep a queue is: nobody has to look into one. They are written for every message, so
//! no two shards write to one cache line. Absent: what threads put that are no shards.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::ids::ShardId;

/// One shard's numbers, by the other shard.
#[derive(Debug)]
pub struct Traffic {
    with: Box<[Lines]>,
}

/// Numbers of some others. One thread writes them all, so only where they end matters: as large as what processors fetch at a
/// time, which are two lines of 64 bytes.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lines([Counts; PER_LINES]);

const PER_LINES: usize = 8;
const _: () = assert!(size_of::<Lines>() == 128);

/// One shard's numbers of another.
#[derive(Debug, Default)]
struct Counts {
    put: AtomicU64,
    taken: AtomicU64,
}

impl Traffic {
    /// Nothing yet, among so many shards.
    #[must_use]
    pub fn among(shards: usize) -> Self {
        Self { with: (0..shards.div_ceil(PER_LINES)).map(|_| Lines::default()).collect() }
    }

    /// Something was put to a shard. Only the owner calls this, as the next.
    pub(super) fn note_put(&self, to: ShardId) {
        if let Some(counts) = self.of(to) {
            add(&counts.put);
        }
    }

    /// Something was taken that a shard had put.
    pub(super) fn note_taken(&self, from: ShardId) {
        // A number beyond the shards stands for a thread that is none.
        if let Some(counts) = self.of(from) {
            add(&counts.taken);
        }
    }

    /// How much was put to a shard.
    #[must_use]
    pub fn put(&self, to: ShardId) -> u64 {
        self.of(to).map_or(0, |counts| counts.put.load(Relaxed))
    }

    /// How much was taken from a shard.
    #[must_use]
    pub fn taken(&self, from: ShardId) -> u64 {
        self.of(from).map_or(0, |counts| counts.taken.load(Relaxed))
    }

    #[inline]
    fn of(&self, shard: ShardId) -> Option<&Counts> {
        let index = shard.index();
        self.with.get(index / PER_LINES).map(|lines| &lines.0[index % PER_LINES])
    }
}

/// How much lies between two shards: what the first has put and the second not taken. Both go on meanwhile, so this is
/// about so.
#[must_use]
pub fn depth(all: &[impl AsRef<Traffic>], from: ShardId, to: ShardId) -> u64 {
    // Read first what grows last: else there would seem to be what was taken already.
    let taken = all.get(to.index()).map_or(0, |owner| owner.as_ref().taken(from));
    all.get(from.index()).map_or(0, |owner| owner.as_ref().put(to)).saturating_sub(taken)
}

fn add(count: &AtomicU64) {
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}
