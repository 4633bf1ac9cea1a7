//! The table of a shard's connections. The host keeps its sockets under the same slots.

use crate::ids::{ConnId, ShardId};
use crate::shard::connection::Connection;

/// A place in the table.
#[derive(Debug, Default)]
struct Slot {
    /// Raised each time the slot is given out.
    generation: u32,
    connection: Option<Box<Connection>>,
    /// The connection is over, but the host has not yet released the socket.
    waits: bool,
}

/// A shard's connections by slot.
#[derive(Debug)]
pub(super) struct Slots {
    shard: ShardId,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots in use, those that wait for their release included.
    taken: usize,
    max: usize,
}

impl Slots {
    pub(super) const fn new(shard: ShardId, max: usize) -> Self {
        Self { shard, slots: Vec::new(), free: Vec::new(), taken: 0, max }
    }

    /// Slots in use, those included that wait for their release.
    pub(super) const fn taken(&self) -> usize {
        self.taken
    }

    /// Slots there are, in use or not.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Gives a connection a slot; `None` if all are taken.
    pub(super) fn insert(&mut self, connection: Connection) -> Option<ConnId> {
        if self.taken >= self.max {
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.count() - 1
        });
        self.taken += 1;
        let place = &mut self.slots[slot as usize];
        place.generation = place.generation.wrapping_add(1);
        place.connection = Some(Box::new(connection));
        Some(ConnId { shard: self.shard, slot, generation: place.generation })
    }

    /// The connection, unless it is over.
    pub(super) fn find(&self, id: ConnId) -> Option<&Connection> {
        let slot = self.slots.get(id.index())?;
        if slot.generation == id.generation { slot.connection.as_deref() } else { None }
    }

    /// The connection to be changed, unless it is over.
    pub(super) fn find_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.index())?;
        if slot.generation == id.generation { slot.connection.as_deref_mut() } else { None }
    }

    /// The connection that has a slot now.
    pub(super) fn tenant(&self, slot: u32) -> Option<&Connection> {
        self.slots.get(slot as usize)?.connection.as_deref()
    }

    /// The connection that has a slot now, with its id.
    pub(super) fn tenant_mut(&mut self, slot: u32) -> Option<(ConnId, &mut Connection)> {
        let place = self.slots.get_mut(slot as usize)?;
        let id = ConnId { shard: self.shard, slot, generation: place.generation };
        place.connection.as_deref_mut().map(|connection| (id, connection))
    }

    /// Ends a connection. Its slot waits for the release.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation)?;
        let connection = slot.connection.take()?;
        slot.waits = true;
        Some(connection)
    }

    /// The host is done with the socket of a connection that is over.
    pub(super) fn release(&mut self, id: ConnId) {
        let Some(slot) = self.slots.get_mut(id.index()) else { return };
        let expected = slot.generation == id.generation && slot.waits;
        debug_assert!(expected, "released once, after its end: {id:?}");
        if expected {
            slot.waits = false;
            self.taken -= 1;
            self.free.push(id.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    fn connection() -> Connection {
        Connection::new(Millis(0), crate::wire::peer::Peer::UNKNOWN)
    }

    #[test]
    fn a_slot_is_given_out_again_only_after_its_release_and_under_another_generation() {
        let mut slots = Slots::new(ShardId(0), 1);
        let first = slots.insert(connection()).unwrap();
        assert!(slots.insert(connection()).is_none(), "the bound holds");
        assert!(slots.remove(first).is_some() && slots.remove(first).is_none());
        assert!(slots.insert(connection()).is_none(), "the host still has the socket");
        slots.release(first);
        let second = slots.insert(connection()).unwrap();
        assert_eq!(first.slot, second.slot);
        assert!(slots.find(first).is_none() && slots.find(second).is_some());
        assert_eq!(slots.tenant_mut(second.slot).map(|(id, _)| id), Some(second));
        assert_eq!((slots.taken(), slots.count()), (1, 1));
    }
}
