//! A shard's link to the store: what it asks, and what it is told.
//!
//! Requests go into a bounded queue of the shard's own, reads into one that all readers take from, answers come back
//! through a third. Whoever has too much unanswered is refused before it puts anything, so that every answer that is owed
//! has its place: the store never waits for a shard, and no shard for the store.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::ids::ShardId;
use crate::ledger::{Notice, Read, Request, Ticket};
use crate::limits::{STORE_NOTICES_SPARE, STORE_QUEUE_BYTES_MAX, STORE_QUEUE_ITEMS, STORE_READS_PER_SHARD_MAX};
use crate::mesh::Bell;

/// A shard's end.
#[derive(Debug)]
pub struct Link {
    shard: ShardId,
    requests: Sender<(Ticket, Request)>,
    reads: Sender<Asked>,
    answers: Receiver<Notice>,
    bell: Arc<Bell>,
    last: Ticket,
    /// Writes that are not on the disk, with their bytes: the oldest first.
    unwritten: VecDeque<(Ticket, usize)>,
    /// Sum of their bytes.
    bytes: usize,
    /// Openings, erasures and reads that are not answered.
    unanswered: usize,
    /// Something was put that the store has not been woken for.
    rings: bool,
    /// Tells the store that the link is there.
    open: Arc<()>,
}

/// The store's end of a link.
#[derive(Debug)]
pub(super) struct End {
    pub(super) requests: Receiver<(Ticket, Request)>,
    pub(super) answers: Sender<Notice>,
    /// Gone when the link is.
    open: Weak<()>,
}

impl End {
    /// Whether the shard has dropped its link. What it put may still lie there.
    pub(super) fn is_abandoned(&self) -> bool {
        self.open.strong_count() == 0
    }
}

/// A read and who asked for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) shard: ShardId,
    pub(super) ticket: Ticket,
    pub(super) read: Read,
}

/// Links for shards 0 to `shards - 1`, their other ends, and the queue of reads.
pub(super) fn links(shards: u16, bell: &Arc<Bell>) -> (Vec<Link>, Vec<End>, Receiver<Asked>) {
    let (reads, asked) = bounded(usize::from(shards.max(1)) * STORE_READS_PER_SHARD_MAX);
    let (mut links, mut ends) = (Vec::new(), Vec::new());
    for shard in (0..shards).map(ShardId) {
        let open = Arc::new(());
        let closed = Arc::downgrade(&open);
        let (requests, taken) = bounded(STORE_QUEUE_ITEMS);
        let (told, answers) = bounded(STORE_QUEUE_ITEMS + STORE_READS_PER_SHARD_MAX + STORE_NOTICES_SPARE);
        links.push(Link {
            shard,
            requests,
            reads: reads.clone(),
            answers,
            bell: Arc::clone(bell),
            last: Ticket(0),
            unwritten: VecDeque::new(),
            bytes: 0,
            unanswered: 0,
            rings: false,
            open,
        });
        ends.push(End { requests: taken, answers: told, open: closed });
    }
    (links, ends, asked)
}

impl Link {
    /// Whether a write of so many bytes has a place. Ask before an event is sequenced: what was sequenced must be stored.
    #[must_use]
    pub fn has_place(&self, bytes: usize) -> bool {
        self.unwritten.len() + self.unanswered < STORE_QUEUE_ITEMS
            && self.requests.len() < STORE_QUEUE_ITEMS
            && (self.bytes == 0 || self.bytes + bytes <= STORE_QUEUE_BYTES_MAX)
    }

    /// Puts a request, to be followed by [`Self::wake`] before the shard sleeps. The ticket is what answers name.
    ///
    /// # Errors
    /// The request, when too much is unanswered or the store has ended.
    pub fn try_put(&mut self, request: Request) -> Result<Ticket, Request> {
        let bytes = if let Request::Append(append) = &request { append.body.len() } else { 0 };
        if !self.has_place(bytes) {
            return Err(request);
        }
        let ticket = Ticket(self.last.0 + 1);
        let asks = matches!(request, Request::Open(_) | Request::Erase { .. });
        let writes = !asks && !matches!(request, Request::Close(_));
        match self.requests.try_send((ticket, request)) {
            Ok(()) => {}
            Err(TrySendError::Full((_, request)) | TrySendError::Disconnected((_, request))) => return Err(request),
        }
        self.last = ticket;
        self.rings = true;
        self.unanswered += usize::from(asks);
        if writes {
            self.unwritten.push_back((ticket, bytes));
            self.bytes += bytes;
        }
        Ok(ticket)
    }

    /// Asks for events. Readers are woken by themselves.
    ///
    /// # Errors
    /// Too many reads are unanswered, or the store has ended.
    pub fn try_read(&mut self, read: Read) -> Result<Ticket, Read> {
        if self.unanswered >= STORE_READS_PER_SHARD_MAX {
            return Err(read);
        }
        let ticket = Ticket(self.last.0 + 1);
        self.reads.try_send(Asked { shard: self.shard, ticket, read }).map_err(|_| read)?;
        self.last = ticket;
        self.unanswered += 1;
        Ok(ticket)
    }

    /// Wakes the store if something was put since the last call and it sleeps.
    pub fn wake(&mut self) {
        if std::mem::take(&mut self.rings) {
            self.bell.ring_if_asleep();
        }
    }

    /// The oldest answer that was not taken yet.
    pub fn try_take(&mut self) -> Option<Notice> {
        let notice = self.answers.try_recv().ok()?;
        match &notice {
            Notice::Committed(through) => {
                while let Some((_, bytes)) = self.unwritten.pop_front_if(|(ticket, _)| *ticket <= *through) {
                    self.bytes -= bytes;
                }
            }
            Notice::Opened(..) | Notice::Page(..) | Notice::Erased(..) => self.unanswered -= 1,
            Notice::Trouble(_) | Notice::Working => {}
        }
        Some(notice)
    }

    /// Whether no answer waits. To be looked at once more before the shard sleeps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Writes that are not on the disk yet, and their bytes.
    #[must_use]
    pub fn unwritten(&self) -> (usize, usize) {
        (self.unwritten.len(), self.bytes)
    }
}

impl Drop for Link {
    /// The store sees that nobody is left.
    fn drop(&mut self) {
        // Both before the bell: who is woken by it must find nobody here.
        let (nobody, _) = bounded(0);
        self.requests = nobody;
        self.open = Arc::new(());
        self.bell.ring_if_asleep();
    }
}
