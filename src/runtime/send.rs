//! The flush: one write for each connection that is owed something.

use rustix::io::Errno;

use super::turn::Host;
use crate::ids::ConnId;

impl Host {
    /// Writes once to every connection on the list. Whoever joins it meanwhile is next turn's.
    pub(super) fn flush(&mut self) {
        let mut flushing = std::mem::take(&mut self.flushing);
        std::mem::swap(&mut flushing, &mut self.sockets.dirty);
        for conn in flushing.drain(..) {
            if self.sockets.take_dirty(conn) {
                self.write(conn);
                self.apply();
            }
        }
        self.flushing = flushing;
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
            self.lose(conn);
        } else if taken < bytes {
            self.sockets.await_room(conn, &mut self.ring);
        } else if full {
            // There may be more than fits into one write.
            self.sockets.mark_dirty(conn);
        }
    }
}
