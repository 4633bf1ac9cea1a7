//! The shard's way to the store: requests and reads that have no place there yet, and answers.
//!
//! What finds no place waits here in its order and is put before anything new. Appends are bounded by the shard, which
//! refuses what it could not have written (`UNCOMMITTED_WRITES_MAX`), channels by how many it knows; how far a user or a
//! group is may be forgotten when too much waits: whoever it is about gets some events again.

use std::collections::VecDeque;

use crate::ledger::{Notice, Read, Request, Ticket, Trouble};
use crate::limits::STORE_WAITING_MAX;
use crate::mesh::StoreLink;

/// A link, if there is a store, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Storing {
    link: Option<StoreLink>,
    requests: VecDeque<(Ticket, Request)>,
    reads: VecDeque<(Ticket, Read)>,
    /// Positions and cursors that were forgotten.
    forgotten: u64,
    /// The shard was told that the store has ended.
    told: bool,
}

impl Storing {
    pub(super) fn new(link: Option<StoreLink>) -> Self {
        let mut storing = Self::default();
        storing.link = link;
        storing
    }

    /// Puts a request, or keeps it.
    pub(super) fn put(&mut self, ticket: Ticket, request: Request) {
        let Some(link) = &mut self.link else {
            debug_assert!(false, "a shard without a store asks nothing of one");
            return;
        };
        let request = if self.requests.is_empty() {
            match link.try_put(ticket, request) {
                Ok(()) => return,
                Err(request) => request,
            }
        } else {
            request
        };
        let is_place = matches!(request, Request::Cursor { .. } | Request::Position { .. });
        if is_place && self.requests.len() >= STORE_WAITING_MAX {
            self.forgotten += 1;
            return;
        }
        self.requests.push_back((ticket, request));
    }

    /// Asks for events, or keeps the question.
    pub(super) fn read(&mut self, ticket: Ticket, read: Read) {
        let Some(link) = &mut self.link else {
            debug_assert!(false, "a shard without a store asks nothing of one");
            return;
        };
        if !self.reads.is_empty() || link.try_read(ticket, read).is_err() {
            self.reads.push_back((ticket, read));
        }
    }

    /// Puts what waits, as far as it has a place.
    pub(super) fn retry(&mut self) {
        let Some(link) = &mut self.link else { return };
        while let Some((ticket, request)) = self.requests.pop_front() {
            if let Err(request) = link.try_put(ticket, request) {
                self.requests.push_front((ticket, request));
                break;
            }
        }
        while let Some((ticket, read)) = self.reads.front() {
            if link.try_read(*ticket, *read).is_err() {
                break;
            }
            self.reads.pop_front();
        }
    }

    /// The next answer. When the store has ended, which it does by itself only if it lost something, that once.
    pub(super) fn try_take(&mut self) -> Option<Notice> {
        let link = self.link.as_mut()?;
        if let Some(notice) = link.try_take() {
            return Some(notice);
        }
        let ended = link.is_over() && !std::mem::replace(&mut self.told, true);
        ended.then_some(Notice::Trouble(Trouble::Failing))
    }

    /// Whether no answer waits.
    pub(super) fn is_empty(&self) -> bool {
        self.link.as_ref().is_none_or(StoreLink::is_empty)
    }

    /// Whether everything that was asked has been put.
    pub(super) fn is_settled(&self) -> bool {
        self.requests.is_empty() && self.reads.is_empty()
    }

    /// Wakes the store if something was put.
    pub(super) fn wake(&mut self) {
        if let Some(link) = &mut self.link {
            link.wake();
        }
    }

    /// Positions and cursors that were forgotten since the last call.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }
}

impl Drop for Storing {
    /// Numbers that were given out and are not handed over must not be used again.
    fn drop(&mut self) {
        if let Some(link) = &self.link
            && self.requests.iter().any(|(_, request)| matches!(request, Request::Append(_)))
        {
            link.leave_unfinished();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::{Epoch, Seq};
    use crate::ledger::disk::Order;
    use crate::ledger::{Append, ChannelNumber};
    use crate::limits::{STORE_QUEUE_ITEMS, STORE_READS_PER_SHARD_MAX};
    use crate::mesh::Bell;
    use crate::mesh::store::{StoreEnd, store_links};
    use crate::payload::Payload;

    const CHANNEL: ChannelNumber = ChannelNumber(1);

    fn storing() -> (Storing, StoreEnd) {
        let bell = Arc::new(Bell::new().unwrap());
        let (mut links, mut ends, _asked) = store_links(1, &bell);
        (Storing::new(links.pop()), ends.remove(0))
    }

    fn append(seq: u64) -> Request {
        let body = Payload::copy_of(b"body");
        Request::Append(Append { channel: CHANNEL, epoch: Epoch(1), seq: Seq(seq), unix_ms: 0, body })
    }

    fn cursor() -> Request {
        Request::Cursor { channel: CHANNEL, user: Arc::from("ann"), seq: Some(Seq(1)) }
    }

    #[test]
    fn what_has_no_place_follows_in_its_order() {
        let (mut storing, end) = storing();
        let all = STORE_QUEUE_ITEMS as u64 + 5;
        for ticket in 1..=all {
            storing.put(Ticket(ticket), append(ticket));
        }
        assert!(!storing.is_settled());
        let under_way = storing.link.as_ref().unwrap().unwritten().0 + storing.requests.len();
        assert_eq!(under_way as u64, all);
        let mut taken = Vec::new();
        while taken.len() < usize::try_from(all).unwrap() {
            taken.extend(end.requests.try_iter().map(|(ticket, _)| ticket.0));
            end.answers.send(Notice::Committed(Ticket(*taken.last().unwrap()))).unwrap();
            assert!(matches!(storing.try_take(), Some(Notice::Committed(_))));
            storing.retry();
        }
        assert_eq!(taken, (1..=all).collect::<Vec<_>>());
        assert!(storing.is_settled() && storing.is_empty());
        drop(storing);
        assert!(end.is_abandoned() && !end.is_unfinished());
    }

    #[test]
    fn how_far_users_are_is_forgotten_when_too_much_waits_and_events_never() {
        let (mut storing, end) = storing();
        let before = (STORE_QUEUE_ITEMS + STORE_WAITING_MAX) as u64;
        for ticket in 1..=before {
            storing.put(Ticket(ticket), cursor());
        }
        assert_eq!(storing.take_forgotten(), 0);
        storing.put(Ticket(before + 1), cursor());
        storing.put(Ticket(before + 2), append(1));
        assert_eq!((storing.take_forgotten(), storing.take_forgotten()), (1, 0));
        assert!(matches!(storing.requests.back(), Some((ticket, Request::Append(_))) if ticket.0 == before + 2));
        drop(storing);
        assert!(end.is_unfinished(), "its number was given out");
    }

    #[test]
    fn reads_wait_for_a_place_and_a_store_that_has_ended_is_told_once() {
        let bell = Arc::new(Bell::new().unwrap());
        let (mut links, mut ends, asked) = store_links(1, &bell);
        let mut storing = Storing::new(links.pop());
        let (after, through) = (Seq(0), Seq(1));
        let read = Read { channel: CHANNEL, after, through, order: Order::Forward, count: 1, bytes: 1 };
        let all = STORE_READS_PER_SHARD_MAX as u64 + 2;
        for ticket in 1..=all {
            storing.read(Ticket(ticket), read);
        }
        assert!(!storing.is_settled());
        for ticket in 1..=2 {
            asked.recv().unwrap();
            ends[0].answers.send(Notice::Page(Ticket(ticket), Ok(Box::default()))).unwrap();
            assert!(storing.try_take().is_some());
        }
        storing.retry();
        assert!(storing.is_settled());
        assert_eq!(asked.try_iter().last().unwrap().ticket, Ticket(all));
        ends.clear();
        assert_eq!(storing.try_take(), Some(Notice::Trouble(Trouble::Failing)));
        assert_eq!(storing.try_take(), None);
    }

    #[test]
    fn without_a_store_nothing_waits() {
        let mut storing = Storing::new(None);
        storing.retry();
        storing.wake();
        assert!(storing.is_empty() && storing.is_settled() && storing.try_take().is_none());
    }
}
