//! The flush: one write for each connection that is owed something, live events before what is older; one more behind it
//! for who was let in since.

use rustix::io::Errno;

use super::turn::Host;
use crate::ids::ConnId;
use crate::limits::TURN_ARRIVALS_MAX;

impl Host {
    /// Writes once to every connection on the list, then to those who are behind, as far as a turn goes. Whoever joins the
    /// list meanwhile is next turn's. Returns whether more of those who are behind wait.
    pub(super) fn flush(&mut self) -> bool {
        let mut flushing = std::mem::take(&mut self.flushing);
        std::mem::swap(&mut flushing, &mut self.sockets.dirty);
        self.write_all(flushing);
        self.write_behind();
        self.shard.has_behind()
    }

    /// The same for those who have joined it since it had so many, as far as one who comes makes others be written to.
    pub(super) fn flush_since(&mut self, before: usize) {
        let mut flushing = std::mem::take(&mut self.flushing);
        let dirty = &mut self.sockets.dirty;
        let end = dirty.len().min(before + TURN_ARRIVALS_MAX);
        flushing.extend(dirty.drain(before.min(end)..end));
        self.write_all(flushing);
        self.write_behind();
    }

    fn write_all(&mut self, mut flushing: Vec<ConnId>) {
        for conn in flushing.drain(..) {
            if self.sockets.take_dirty(conn) {
                self.write(conn);
                self.apply();
            }
        }
        self.flushing = flushing;
    }

    /// Writes once to each of those who are behind, as far as the turn has something left for them.
    fn write_behind(&mut self) {
        while let Some(conn) = self.shard.next_behind() {
            if self.sockets.is_live(conn) {
                self.write(conn);
                self.apply();
            }
        }
    }

    fn write(&mut self, conn: ConnId) {
        self.shard.fill(self.now, conn, &mut self.batch);
        if self.batch.is_empty() {
            return;
        }
        let (bytes, full) = (self.batch.bytes(), !self.batch.has_room());
        let transport = self.sockets.transport(conn);
        let sent = transport.map_or(Err(Errno::NOTCONN), |to| to.send(&self.batch, &mut self.joined));
        let taken = sent.unwrap_or(0);
        self.shard.written(self.now, conn, &mut self.batch, taken, &mut self.effects);
        debug_assert!(self.batch.is_empty(), "the shard takes back what was not written");
        if sent.is_err() {
            self.part(conn);
        } else if taken < bytes {
            self.sockets.await_room(conn, &mut self.ring);
        } else if full {
            // There may be more than fits into one write.
            self.sockets.mark_dirty(conn);
        }
    }
}
