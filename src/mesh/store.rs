//! A shard's link to the store: what it asks, and what it is told.
//!
//! Requests go into a bounded queue of the shard's own, reads into one that all readers take from, answers come back
//! through a third. Whoever has too much unanswered is refused before it puts anything, so that every answer that is owed
//! has its place: the store never waits for a shard, and no shard for the store. The shard gives the tickets, one after
//! another for requests and reads together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::wake::Bell;
use crate::ids::ShardId;
use crate::ledger::{Notice, Read, Request, Ticket};
use crate::limits::{STORE_NOTICES_SPARE, STORE_QUEUE_BYTES_MAX, STORE_QUEUE_ITEMS, STORE_READS_PER_SHARD_MAX};

/// A shard's end.
#[derive(Debug)]
pub struct StoreLink {
    shard: ShardId,
    requests: Sender<(Ticket, Request)>,
    reads: Sender<Asked>,
    answers: Receiver<Notice>,
    bell: Arc<Bell>,
    /// The last ticket that was put.
    last: Ticket,
    /// Writes that are not on the disk, with their bytes: the oldest first.
    unwritten: VecDeque<(Ticket, usize)>,
    /// Sum of their bytes.
    bytes: usize,
    /// Openings, erasures and reads that are not answered.
    unanswered: usize,
    /// Something was put that the store has not been woken for.
    rings: bool,
    /// The store has ended, and everything that it told was taken.
    over: bool,
    held: Arc<Held>,
}

/// What both ends know of the shard's.
#[derive(Debug, Default)]
struct Held {
    /// The shard has dropped its end.
    dropped: AtomicBool,
    /// It had sequenced what it did not put.
    unfinished: AtomicBool,
}

/// The store's end of a link.
#[derive(Debug)]
pub struct StoreEnd {
    /// What the shard asks.
    pub requests: Receiver<(Ticket, Request)>,
    /// What it is told.
    pub answers: Sender<Notice>,
    held: Arc<Held>,
}

impl StoreEnd {
    /// Whether the shard has dropped its end. What it put may still lie there.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.held.dropped.load(SeqCst)
    }

    /// Whether it had sequenced what it did not put: numbers were given out that nobody else knows of.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.held.unfinished.load(SeqCst)
    }
}

/// A read and who asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Who asked.
    pub shard: ShardId,
    /// What the answer names.
    pub ticket: Ticket,
    /// What for.
    pub read: Read,
}

/// Links for shards 0 to `shards - 1`, their other ends, and the queue of reads. `bell` is the store's.
#[must_use]
pub fn store_links(shards: u16, bell: &Arc<Bell>) -> (Vec<StoreLink>, Vec<StoreEnd>, Receiver<Asked>) {
    let (reads, asked) = bounded(usize::from(shards.max(1)) * STORE_READS_PER_SHARD_MAX);
    let (mut links, mut ends) = (Vec::new(), Vec::new());
    for shard in (0..shards).map(ShardId) {
        let held = Arc::<Held>::default();
        let (requests, taken) = bounded(STORE_QUEUE_ITEMS);
        let (told, answers) = bounded(STORE_QUEUE_ITEMS + STORE_READS_PER_SHARD_MAX + STORE_NOTICES_SPARE);
        links.push(StoreLink {
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
            over: false,
            held: Arc::clone(&held),
        });
        ends.push(StoreEnd { requests: taken, answers: told, held });
    }
    (links, ends, asked)
}

impl StoreLink {
    /// Whether a write of so many bytes has a place.
    #[must_use]
    pub fn has_place(&self, bytes: usize) -> bool {
        self.unwritten.len() + self.unanswered < STORE_QUEUE_ITEMS
            && self.requests.len() < STORE_QUEUE_ITEMS
            && (self.bytes == 0 || self.bytes + bytes <= STORE_QUEUE_BYTES_MAX)
    }

    /// Puts a request, to be followed by [`Self::wake`] before the shard sleeps.
    ///
    /// # Errors
    /// The request, when too much is unanswered or the store has ended.
    pub fn try_put(&mut self, ticket: Ticket, request: Request) -> Result<(), Request> {
        let bytes = if let Request::Append(append) = &request { append.body.len() } else { 0 };
        if !self.has_place(bytes) {
            return Err(request);
        }
        let asks = matches!(request, Request::Open(_) | Request::Erase { .. } | Request::Forget(_));
        let writes = !asks && !matches!(request, Request::Close(_));
        match self.requests.try_send((ticket, request)) {
            Ok(()) => {}
            Err(TrySendError::Full((_, request)) | TrySendError::Disconnected((_, request))) => return Err(request),
        }
        debug_assert!(ticket > self.last, "tickets are put in their order");
        self.last = ticket;
        self.rings = true;
        self.unanswered += usize::from(asks);
        if writes {
            self.unwritten.push_back((ticket, bytes));
            self.bytes += bytes;
        }
        Ok(())
    }

    /// Asks for events. Readers are woken by themselves.
    ///
    /// # Errors
    /// Too many reads are unanswered, or the store has ended.
    pub fn try_read(&mut self, ticket: Ticket, read: Read) -> Result<(), Read> {
        if self.unanswered >= STORE_READS_PER_SHARD_MAX {
            return Err(read);
        }
        self.reads.try_send(Asked { shard: self.shard, ticket, read }).map_err(|_| read)?;
        self.unanswered += 1;
        Ok(())
    }

    /// Wakes the store if something was put since the last call and it sleeps.
    pub fn wake(&mut self) {
        if std::mem::take(&mut self.rings) {
            self.bell.ring_if_asleep();
        }
    }

    /// The oldest answer that was not taken yet.
    pub fn try_take(&mut self) -> Option<Notice> {
        let notice = match self.answers.try_recv() {
            Ok(notice) => notice,
            Err(error) => {
                self.over = error.is_disconnected();
                return None;
            }
        };
        match &notice {
            Notice::Committed(through) => {
                while let Some((_, bytes)) = self.unwritten.pop_front_if(|(ticket, _)| *ticket <= *through) {
                    self.bytes -= bytes;
                }
            }
            Notice::Opened(..) | Notice::Page(..) | Notice::Erased(..) | Notice::Forgotten(..) => {
                self.unanswered -= 1;
            }
            Notice::Trouble(_) | Notice::Working => {}
        }
        Some(notice)
    }

    /// Whether the store has ended and everything that it told was taken.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
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

    /// Says that the shard ends with something sequenced that it could not put: the store then stops uncleanly, so that
    /// those numbers are never used again.
    pub fn leave_unfinished(&self) {
        self.held.unfinished.store(true, SeqCst);
    }
}

impl Drop for StoreLink {
    /// The store sees that nobody is left.
    fn drop(&mut self) {
        // Both before the bell: who is woken by it must find nobody here.
        let (nobody, _) = bounded(0);
        self.requests = nobody;
        self.held.dropped.store(true, SeqCst);
        self.bell.ring_if_asleep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Seq};
    use crate::ledger::disk::Order;
    use crate::ledger::{Append, ChannelNumber};
    use crate::payload::Payload;

    const CHANNEL: ChannelNumber = ChannelNumber(1);

    fn one() -> (StoreLink, StoreEnd, Receiver<Asked>) {
        let bell = Arc::new(Bell::new().unwrap());
        let (mut links, mut ends, asked) = store_links(1, &bell);
        (links.remove(0), ends.remove(0), asked)
    }

    fn cursor() -> Request {
        Request::Cursor { channel: CHANNEL, user: Arc::from(""), seq: None }
    }

    #[test]
    fn a_link_refuses_what_has_no_place_and_takes_more_when_it_is_answered() {
        let (mut link, end, asked) = one();
        for count in 1..=STORE_QUEUE_ITEMS as u64 {
            assert_eq!(link.try_put(Ticket(count), cursor()), Ok(()));
        }
        let next = Ticket(STORE_QUEUE_ITEMS as u64 + 1);
        assert_eq!(link.try_put(next, cursor()), Err(cursor()));
        assert!(!link.has_place(0));
        end.answers.send(Notice::Committed(Ticket(2))).unwrap();
        assert_eq!((link.try_take(), link.unwritten().0), (Some(Notice::Committed(Ticket(2))), STORE_QUEUE_ITEMS - 2));
        assert_eq!(link.try_put(next, cursor()), Err(cursor()), "its place in the queue is not free yet");
        end.requests.recv().unwrap();
        assert_eq!(link.try_put(next, cursor()), Ok(()));
        let (after, through) = (Seq(0), Seq(1));
        let read = Read { channel: CHANNEL, after, through, order: Order::Forward, count: 1, bytes: 1 };
        for count in 0..STORE_READS_PER_SHARD_MAX as u64 {
            assert_eq!(link.try_read(Ticket(next.0 + 1 + count), read), Ok(()));
        }
        assert_eq!(link.try_read(Ticket(u64::MAX), read), Err(read));
        assert_eq!(asked.len(), STORE_READS_PER_SHARD_MAX);
    }

    #[test]
    fn a_link_has_place_for_so_many_bytes() {
        let (mut link, end, _asked) = one();
        assert!(link.has_place(STORE_QUEUE_BYTES_MAX + 1), "one event always has");
        let body = Payload::copy_of(&vec![0; STORE_QUEUE_BYTES_MAX / 2]);
        let append = |seq| {
            let (epoch, body) = (Epoch(1), body.clone());
            Request::Append(Append { channel: CHANNEL, epoch, seq: Seq(seq), unix_ms: 0, body })
        };
        assert!(link.try_put(Ticket(1), append(1)).is_ok() && link.try_put(Ticket(2), append(2)).is_ok());
        assert!(!link.has_place(1) && link.try_put(Ticket(3), append(3)).is_err());
        end.answers.send(Notice::Committed(Ticket(1))).unwrap();
        link.try_take();
        assert!(link.has_place(STORE_QUEUE_BYTES_MAX / 2) && !link.has_place(STORE_QUEUE_BYTES_MAX / 2 + 1));
    }

    #[test]
    fn each_end_sees_that_the_other_is_gone() {
        let (mut link, end, _asked) = one();
        assert_eq!(
            (link.try_take(), link.is_over(), end.is_abandoned(), end.is_unfinished()),
            (None, false, false, false)
        );
        link.leave_unfinished();
        drop(link);
        assert!(end.is_abandoned() && end.is_unfinished());
        let (mut link, end, _asked) = one();
        end.answers.send(Notice::Working).unwrap();
        drop(end);
        assert_eq!((link.try_take(), link.is_over()), (Some(Notice::Working), false));
        assert_eq!((link.try_take(), link.is_over()), (None, true));
        assert_eq!(link.try_put(Ticket(1), cursor()), Err(cursor()));
    }
}
