//! Inboxes with two lanes, and the handles to put into them.
//!
//! One inbox per shard and not one queue per pair: slots are allocated up front, and pairs grow
//! squarely. Items carry their sender. The control lane exists so that a hand-over or the order to
//! drain does not queue behind events; there is no order between the lanes.

use std::fmt;
use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::ids::ShardId;
use crate::limits::{MESH_CONTROL_ITEMS, MESH_DATA_ITEMS_MAX, MESH_DATA_ITEMS_MIN, MESH_DATA_ITEMS_TOTAL};
use crate::mesh::traffic::Traffic;
use crate::mesh::wake::Bell;
use crate::shard::message::Lane;

/// Places in each lane of one inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Places in the control lane.
    pub control: usize,
    /// Places in the data lane.
    pub data: usize,
}

impl Capacities {
    /// What each of `shards` inboxes gets on this machine.
    #[must_use]
    pub fn for_shards(shards: usize) -> Self {
        let share = MESH_DATA_ITEMS_TOTAL / shards.max(1);
        Self { control: MESH_CONTROL_ITEMS, data: share.clamp(MESH_DATA_ITEMS_MIN, MESH_DATA_ITEMS_MAX) }
    }
}

/// All inboxes before their owners took them.
#[derive(Debug)]
pub struct Mesh<T> {
    doors: Arc<[Door<T>]>,
    ends: Vec<Option<Queues<T>>>,
    traffic: Vec<Arc<Traffic>>,
}

/// What one shard holds of the mesh.
#[derive(Debug)]
pub struct MeshEnd<T> {
    /// What others put for it.
    pub inbox: Inbox<T>,
    /// How it puts to others.
    pub outbox: Outbox<T>,
}

/// A shard's own inbox.
pub struct Inbox<T> {
    lanes: Queues<T>,
    bell: Arc<Bell>,
    traffic: Arc<Traffic>,
}

/// Puts items in one sender's name. Clones share the name, and the order among them is theirs to keep.
pub struct Post<T> {
    from: ShardId,
    doors: Arc<[Door<T>]>,
}

/// A [`Post`] that remembers whom it put something to, to wake each once at the end of a turn.
#[derive(Debug)]
pub struct Outbox<T> {
    post: Post<T>,
    /// Each peer at most once, since `told` says who is in it.
    to_wake: Vec<ShardId>,
    told: Vec<bool>,
    traffic: Arc<Traffic>,
}

/// The sending side of one inbox.
#[derive(Debug)]
struct Door<T> {
    lanes: Lanes<Sender<(ShardId, T)>>,
    bell: Arc<Bell>,
}

/// The receiving side of one inbox.
type Queues<T> = Lanes<Receiver<(ShardId, T)>>;

#[derive(Debug)]
struct Lanes<Q> {
    control: Q,
    data: Q,
}

impl<Q> Lanes<Q> {
    const fn of(&self, lane: Lane) -> &Q {
        match lane {
            Lane::Control => &self.control,
            Lane::Data => &self.data,
        }
    }
}

impl<T> Mesh<T> {
    /// Inboxes for shards 0 to `shards - 1`.
    ///
    /// # Errors
    /// No descriptor is left for a bell.
    pub fn new(shards: u16, capacities: Capacities) -> io::Result<Self> {
        let mut doors = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..shards {
            let (control_in, control) = bounded(capacities.control);
            let (data_in, data) = bounded(capacities.data);
            doors.push(Door { lanes: Lanes { control: control_in, data: data_in }, bell: Arc::new(Bell::new()?) });
            ends.push(Some(Lanes { control, data }));
        }
        let traffic = (0..shards).map(|_| Arc::new(Traffic::among(shards.into()))).collect();
        Ok(Self { doors: doors.into(), ends, traffic })
    }

    /// What goes between the shards, by the one that counts.
    #[must_use]
    pub fn traffic(&self) -> Vec<Arc<Traffic>> {
        self.traffic.clone()
    }

    /// A handle that puts in the name of `from`: a shard, or a number beyond the shards for a thread that is none.
    #[must_use]
    pub fn post(&self, from: ShardId) -> Post<T> {
        Post { from, doors: Arc::clone(&self.doors) }
    }

    /// Takes a shard's end out. `None` if it was taken, or there is no such shard.
    pub fn take_end(&mut self, shard: ShardId) -> Option<MeshEnd<T>> {
        let lanes = self.ends.get_mut(shard.index())?.take()?;
        let traffic = &self.traffic[shard.index()];
        let inbox = Inbox { lanes, bell: Arc::clone(&self.doors[shard.index()].bell), traffic: Arc::clone(traffic) };
        let told = vec![false; self.doors.len()];
        let outbox = Outbox { post: self.post(shard), to_wake: Vec::new(), told, traffic: Arc::clone(traffic) };
        Some(MeshEnd { inbox, outbox })
    }
}

impl<T> Inbox<T> {
    /// Takes the oldest item of a lane, with its sender.
    #[must_use]
    pub fn try_take(&self, lane: Lane) -> Option<(ShardId, T)> {
        let (from, item) = self.lanes.of(lane).try_recv().ok()?;
        self.traffic.note_taken(from);
        Some((from, item))
    }

    /// Whether both lanes are empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.control.is_empty() && self.lanes.data.is_empty()
    }

    /// The bell that senders ring.
    #[must_use]
    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

impl<T> Post<T> {
    /// Shards that can be put to.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.doors.len()
    }

    /// Puts an item without waking anybody; [`Self::wake`] must follow.
    ///
    /// # Errors
    /// The item, when the lane is full or the shard is gone.
    pub fn try_put(&self, to: ShardId, lane: Lane, item: T) -> Result<(), T> {
        self.doors[to.index()].lanes.of(lane).try_send((self.from, item)).map_err(|refused| match refused {
            TrySendError::Full((_, item)) | TrySendError::Disconnected((_, item)) => item,
        })
    }

    /// Wakes a shard after something was put for it. Returns whether it slept.
    pub fn wake(&self, to: ShardId) -> bool {
        self.doors[to.index()].bell.ring_if_asleep()
    }
}

impl<T> Outbox<T> {
    /// Shards that can be put to.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.post.shards()
    }

    /// Puts an item, to be followed by [`Self::wake_all`] before the shard sleeps.
    ///
    /// # Errors
    /// The item, when the lane is full or the shard is gone.
    pub fn try_put(&mut self, to: ShardId, lane: Lane, item: T) -> Result<(), T> {
        self.post.try_put(to, lane, item)?;
        self.traffic.note_put(to);
        if !std::mem::replace(&mut self.told[to.index()], true) {
            self.to_wake.push(to);
        }
        Ok(())
    }

    /// Wakes every peer that got something since the last call, once. Returns how many slept.
    pub fn wake_all(&mut self) -> u64 {
        let mut slept = 0;
        for to in self.to_wake.drain(..) {
            self.told[to.index()] = false;
            slept += u64::from(self.post.wake(to));
        }
        slept
    }
}

impl<T> Clone for Post<T> {
    fn clone(&self) -> Self {
        Self { from: self.from, doors: Arc::clone(&self.doors) }
    }
}

impl<T> fmt::Debug for Post<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("from", &self.from).field("shards", &self.doors.len()).finish()
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lanes { control, data } = &self.lanes;
        f.debug_struct("Inbox").field("control", &control.len()).field("data", &data.len()).finish()
    }
}

#[cfg(test)]
mod tests;
