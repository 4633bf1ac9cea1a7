//! Station 9 for what waits in a connection's lanes: put there, within their bounds.

use crate::ids::ConnId;
use crate::limits::OUTBOX_BYTES_MAX;
use crate::metrics::Metric;
use crate::outbox::{Lane, Queued};
use crate::payload::Payload;
use crate::session::endpoint::Door;
use crate::shard::Shard;
use crate::shard::effect::{Effect, Effects};
use crate::time::Now;
use crate::wire::event_stream;

impl Shard {
    /// Queues a frame and marks the connection. A client for whom the critical lane is full is cut off.
    pub(in crate::shard) fn queue(&mut self, now: Now, id: ConnId, lane: Lane, frame: Payload, effects: &mut Effects) {
        if self.slots.find(id).is_some_and(|conn| conn.door == Door::EventStream) {
            if let Some(event) = event_stream::events_of(&frame) {
                self.queue_bytes(now, id, lane, event, effects);
            }
            return;
        }
        self.queue_bytes(now, id, lane, frame, effects);
    }

    /// Queues what is no frame, or one for a connection that takes frames.
    pub(in crate::shard) fn queue_bytes(
        &mut self,
        now: Now,
        id: ConnId,
        lane: Lane,
        bytes: Payload,
        effects: &mut Effects,
    ) {
        let Some(conn) = self.slots.find_mut(id).filter(|conn| conn.takes(lane)) else { return };
        let before = conn.outbox.bytes();
        let queued = conn.outbox.push(lane, bytes);
        let after = conn.outbox.bytes();
        self.metrics.add(Metric::OutboxBytes, after as u64);
        self.metrics.subtract(Metric::OutboxBytes, before as u64);
        match queued {
            Queued::Waits => self.mark(id, effects),
            Queued::Displaced(frames) => {
                self.metrics.add(Metric::OutboxDropped, frames as u64);
                self.mark(id, effects);
            }
            Queued::Full => self.cut(now, id, effects),
        }
    }

    /// Queues an echo, whatever is queued already: a client that does not read its echoes is not read any
    /// more until it does, so what is queued is what one receive can bring beyond the bound.
    pub(in crate::shard) fn queue_echo(&mut self, id: ConnId, frame: Payload, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let before = conn.outbox.bytes();
        conn.outbox.push_over(frame);
        self.metrics.add(Metric::OutboxBytes, (conn.outbox.bytes() - before) as u64);
        if conn.outbox.bytes() > OUTBOX_BYTES_MAX && !conn.choked {
            conn.choked = true;
            effects.list.push(Effect::Pause(id));
        }
        self.mark(id, effects);
    }
}
