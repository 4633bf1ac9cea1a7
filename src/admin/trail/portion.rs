//! The rings copied in portions, so that neither memory nor the executor's turn grows with them, and cut so that portion
//! after portion all shards' records are in the order of time.

use std::sync::Arc;

use crate::ids::ShardId;
use crate::limits::TAIL_RECORDS_MAX;
use crate::recorder::{Copied, Record, Ring};

/// What comes next of all rings.
#[derive(Debug, Default)]
pub(super) struct Portion {
    /// Ring by ring, each in the order in which it was written; none is later than what the next portion begins with.
    pub(super) records: Vec<(ShardId, Record)>,
    /// Records that were overwritten before they were copied.
    pub(super) lost: u64,
    /// Whether there is more already.
    pub(super) more: bool,
}

impl Portion {
    /// Copies what comes from these counts on, at most a bound of each ring, and moves the counts. There is always some
    /// if there is more.
    pub(super) fn take(rings: &[Arc<Ring>], next: &mut [u64]) -> Self {
        let copy = |(ring, from): (&Arc<Ring>, &u64)| ring.copy(*from, TAIL_RECORDS_MAX);
        let copies: Vec<Copied> = rings.iter().zip(next.iter()).map(copy).collect();
        // A ring of which there is more may go on before another's portion ends: of that one the rest waits.
        let unread = rings.iter().zip(&copies).filter(|(ring, copied)| ring.head() > copied.next);
        let horizon = unread.filter_map(|(_, copied)| copied.records.iter().map(|record| record.micros).max()).min();
        let mut portion = Self::default();
        for (index, (copied, next)) in copies.into_iter().zip(next).enumerate() {
            let later = |horizon| copied.records.iter().position(|record| record.micros > horizon);
            let kept = horizon.and_then(later).unwrap_or(copied.records.len());
            *next = copied.next - (copied.records.len() - kept) as u64;
            portion.lost += copied.lost;
            portion.more |= rings[index].head() > *next;
            let shard = ShardId(u16::try_from(index).unwrap_or(u16::MAX));
            portion.records.extend(copied.records.into_iter().take(kept).map(|record| (shard, record)));
        }
        portion
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConnId;
    use crate::recorder::{Kind, Recorder};

    fn ring(times: impl Iterator<Item = u64>) -> Arc<Ring> {
        let ring = Ring::with_bytes(4 * TAIL_RECORDS_MAX * 32).unwrap();
        let mut recorder = Recorder::new(Some(Arc::clone(&ring)));
        let id = ConnId { shard: ShardId(0), slot: 1, generation: 2 };
        times.for_each(|micros| recorder.note(micros, Kind::Received, id, 0, 0));
        ring
    }

    #[test]
    fn a_portion_of_a_ring_has_a_bound() {
        for (count, taken, more) in [
            (0, 0, false),
            (TAIL_RECORDS_MAX - 1, TAIL_RECORDS_MAX - 1, false),
            (TAIL_RECORDS_MAX, TAIL_RECORDS_MAX, false),
            (TAIL_RECORDS_MAX + 1, TAIL_RECORDS_MAX, true),
        ] {
            let mut next = [0];
            let portion = Portion::take(&[ring(0..count as u64)], &mut next);
            assert_eq!((portion.records.len(), portion.more, next), (taken, more, [taken as u64]));
        }
    }

    #[test]
    fn portion_after_portion_every_record_comes_once_and_in_the_order_of_time() {
        let busy = TAIL_RECORDS_MAX as u64 * 3;
        // One is busy from the start on, one seldom and longer, one only late, one goes back by a little now and then.
        let back = (0..busy).map(|n| n * 2 + u64::from(n % 100 == 0) * 3);
        let rings = [ring((0..busy).map(|n| n * 2)), ring((0..40).map(|n| n * 200)), ring(9000..9010), ring(back)];
        let (mut next, mut all, mut portions) = ([0; 4], Vec::new(), 0);
        loop {
            let Portion { mut records, lost, more } = Portion::take(&rings, &mut next);
            assert!(lost == 0 && (!records.is_empty() || !more), "there is always some");
            records.sort_by_key(|(_, record)| record.micros);
            all.extend(records.iter().map(|(shard, record)| (record.micros, shard.0)));
            portions += 1;
            if !more {
                break;
            }
        }
        assert!(portions > 2);
        assert_eq!(next, [busy, 40, 10, busy]);
        assert_eq!(all.len(), 2 * TAIL_RECORDS_MAX * 3 + 50);
        // By as little as a ring itself goes back.
        assert!(all.windows(2).all(|pair| pair[0].0 <= pair[1].0 + 3), "{all:?}");
    }

    #[test]
    fn what_was_overwritten_is_counted_and_gone_past() {
        let ring = ring(0..TAIL_RECORDS_MAX as u64 * 5);
        let mut next = [0];
        let portion = Portion::take(&[ring], &mut next);
        // The place of the oldest is the next to be written.
        assert_eq!(portion.lost, TAIL_RECORDS_MAX as u64 + 1);
        assert_eq!(portion.records[0].1.micros, portion.lost);
    }
}
