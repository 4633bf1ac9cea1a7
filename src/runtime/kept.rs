//! Messages that found another shard's inbox full, in their order.
//!
//! They are tried again at the start of each turn, before anything new, so that order holds. While
//! there is one, the shard is told that the way is congested and produces nothing it need not: what
//! is kept is bounded by what one turn can produce. A message is never dropped here.

use std::collections::VecDeque;

use crate::ids::ShardId;
use crate::limits::MESH_KEPT_ITEMS_MAX;
use crate::mesh::{Outbox, Parcel};
use crate::shard::effect::Effects;
use crate::shard::message::{Lane, MeshMessage};

/// One queue for each peer and lane.
#[derive(Debug)]
pub(super) struct Kept {
    peers: Vec<[VecDeque<MeshMessage>; 2]>,
    count: usize,
}

const LANES: [Lane; 2] = [Lane::Control, Lane::Data];

impl Kept {
    pub(super) fn new(shards: usize) -> Self {
        Self { peers: (0..shards).map(|_| Default::default()).collect(), count: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether something must go to `to` in the control lane before anything else may.
    pub(super) fn has_control(&self, to: ShardId) -> bool {
        !self.peers[to.index()][index_of(Lane::Control)].is_empty()
    }

    /// Puts a message behind those that are kept, or into the inbox if there are none. Returns whether it left.
    pub(super) fn put(
        &mut self,
        to: ShardId,
        message: MeshMessage,
        outbox: &mut Outbox<Parcel>,
        effects: &mut Effects,
    ) -> bool {
        let lane = message.lane();
        let queue = &mut self.peers[to.index()][index_of(lane)];
        let message = if queue.is_empty() {
            match outbox.try_put(to, lane, Parcel::Message(message)) {
                Ok(()) => return true,
                Err(Parcel::Message(message)) => message,
                Err(_) => return true,
            }
        } else {
            message
        };
        queue.push_back(message);
        self.count += 1;
        debug_assert!(queue.len() <= MESH_KEPT_ITEMS_MAX, "a congested shard did not hold back");
        effects.set_congested(to, true);
        false
    }

    /// Puts as many kept messages as there is room for. Returns how many.
    pub(super) fn retry(&mut self, outbox: &mut Outbox<Parcel>, effects: &mut Effects) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let before = self.count;
        for (to, queues) in (0..).map(ShardId).zip(&mut self.peers) {
            if queues.iter().all(VecDeque::is_empty) {
                continue;
            }
            for (lane, queue) in LANES.into_iter().zip(queues.iter_mut()) {
                while let Some(message) = queue.pop_front() {
                    if let Err(Parcel::Message(message)) = outbox.try_put(to, lane, Parcel::Message(message)) {
                        queue.push_front(message);
                        break;
                    }
                    self.count -= 1;
                }
            }
            effects.set_congested(to, !queues.iter().all(VecDeque::is_empty));
        }
        (before - self.count) as u64
    }
}

const fn index_of(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Data => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{Capacities, Mesh};
    use std::sync::Arc;

    fn message(tag: u32) -> MeshMessage {
        MeshMessage::Detach { channel: Arc::from("trip:1"), attachment: tag }
    }

    #[test]
    fn messages_that_found_no_room_follow_in_their_order_and_the_way_is_congested_meanwhile() {
        let mut mesh = Mesh::new(2, Capacities { control: 2, data: 2 }).unwrap();
        let mut near = mesh.take_end(ShardId(0)).unwrap();
        let far = mesh.take_end(ShardId(1)).unwrap();
        let (mut kept, mut effects, to) = (Kept::new(2), Effects::new(2), ShardId(1));
        let put: Vec<bool> = (0..5).map(|tag| kept.put(to, message(tag), &mut near.outbox, &mut effects)).collect();
        assert_eq!(put, [true, true, false, false, false]);
        assert!(effects.congested(to) && !effects.congested(ShardId(0)));
        let mut arrived = Vec::new();
        for left in [1, 0, 0] {
            while let Some((_, parcel)) = far.inbox.try_take(Lane::Data) {
                let Parcel::Message(MeshMessage::Detach { attachment, .. }) = parcel else { panic!("{parcel:?}") };
                arrived.push(attachment);
            }
            kept.retry(&mut near.outbox, &mut effects);
            assert_eq!((kept.count, effects.congested(to)), (left, left > 0));
        }
        assert_eq!(arrived, [0, 1, 2, 3, 4]);
    }

    /// Keeps `count` messages towards a shard that takes none.
    fn keep(count: usize) -> usize {
        let mut mesh = Mesh::new(2, Capacities { control: 1, data: 1 }).unwrap();
        let mut near = mesh.take_end(ShardId(0)).unwrap();
        let (mut kept, mut effects) = (Kept::new(2), Effects::new(2));
        for tag in (0..).take(count + 1) {
            kept.put(ShardId(1), message(tag), &mut near.outbox, &mut effects);
        }
        kept.count
    }

    #[test]
    fn what_one_turn_can_produce_is_kept() {
        for count in [MESH_KEPT_ITEMS_MAX - 1, MESH_KEPT_ITEMS_MAX] {
            assert_eq!(keep(count), count);
        }
    }

    #[test]
    #[should_panic(expected = "a congested shard did not hold back")]
    fn more_than_one_turn_can_produce_is_a_mistake_of_ours() {
        keep(MESH_KEPT_ITEMS_MAX + 1);
    }
}
