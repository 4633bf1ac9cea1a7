//! Which operations of a channel were already sequenced, for a while and up to a number.
//!
//! An operation is known by user and id, through a keyed 128-bit hash: two of them meet with a
//! probability of 2^-118 at the bound, and a client cannot aim at it without the key.

use std::collections::{HashMap, VecDeque};
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::ids::Seq;
use crate::limits::{DEDUP_ENTRIES_MAX, DEDUP_WINDOW_MS};
use crate::time::Millis;

/// A key for hashes that clients must not be able to foresee.
pub type HashKey = [u8; 16];

/// An operation's identity and its content, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    identity: u128,
    content: u64,
}

impl Operation {
    /// The operation `id` of `user`, an event of type `kind` for which the client wrote `parts`.
    #[must_use]
    pub fn new(key: &HashKey, user: &str, id: &str, kind: &str, parts: &[&[u8]]) -> Self {
        let mut identity = SipHasher13::new_with_key(key);
        identity.write_usize(user.len());
        identity.write(user.as_bytes());
        identity.write(id.as_bytes());
        let mut content = SipHasher13::new_with_key(key);
        content.write_usize(kind.len());
        content.write(kind.as_bytes());
        for part in parts {
            content.write_usize(part.len());
            content.write(part);
        }
        Self { identity: identity.finish128().as_u128(), content: content.finish128().h1 }
    }
}

/// What is known of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It was not seen, or too long ago.
    New,
    /// It was sequenced at this position.
    Done(Seq),
    /// Its id was used for something else.
    Reused,
}

/// The operations of one channel.
#[derive(Debug, Default)]
pub struct Dedup {
    done: HashMap<u128, (u64, Seq)>,
    /// In the order of their time, so that the oldest go first.
    order: VecDeque<(Millis, u128)>,
}

impl Dedup {
    /// Looks an operation up, after forgetting what is older than the window.
    pub fn find(&mut self, now: Millis, operation: Operation) -> Known {
        self.expire(now);
        match self.done.get(&operation.identity) {
            Some((content, seq)) if *content == operation.content => Known::Done(*seq),
            Some(_) => Known::Reused,
            None => Known::New,
        }
    }

    /// Notes that an operation was sequenced.
    pub fn insert(&mut self, now: Millis, operation: Operation, seq: Seq) {
        while self.order.len() >= DEDUP_ENTRIES_MAX {
            self.forget_oldest();
        }
        self.done.insert(operation.identity, (operation.content, seq));
        self.order.push_back((now, operation.identity));
    }

    /// Forgets what is older than the window, and gives the memory back once nothing is left.
    pub fn expire(&mut self, now: Millis) {
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > DEDUP_WINDOW_MS) {
            self.forget_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    /// Operations known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Memory that they account for: their places in both tables.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.order.len() * ENTRY_BYTES
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, identity)) = self.order.pop_front() {
            self.done.remove(&identity);
        }
    }
}

/// What one operation takes, with the room that growing tables leave.
const ENTRY_BYTES: usize = 2 * (size_of::<(u128, (u64, Seq))>() + size_of::<(Millis, u128)>());

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(user: &str, id: &str, payload: &str) -> Operation {
        Operation::new(&[3; 16], user, id, "note", &[payload.as_bytes()])
    }

    #[test]
    fn an_operation_is_done_once_and_its_id_stands_for_its_content() {
        let mut dedup = Dedup::default();
        let (now, first) = (Millis(1000), operation("ann", "1", "{}"));
        assert_eq!(dedup.find(now, first), Known::New);
        dedup.insert(now, first, Seq(5));
        assert_eq!(dedup.find(now, first), Known::Done(Seq(5)));
        assert_eq!(dedup.find(now, operation("ann", "1", "{\"a\":1}")), Known::Reused);
        assert_eq!(dedup.find(now, operation("bob", "1", "{}")), Known::New);
        assert_eq!(dedup.find(now, operation("an", "n1", "{}")), Known::New, "user and id are told apart");
    }

    #[test]
    fn the_window_closes_on_time() {
        let mut dedup = Dedup::default();
        let first = operation("ann", "1", "{}");
        dedup.insert(Millis(1000), first, Seq(5));
        dedup.insert(Millis(2000), operation("ann", "2", "{}"), Seq(6));
        let edge = Millis(1000 + DEDUP_WINDOW_MS);
        assert_eq!(dedup.find(edge, first), Known::Done(Seq(5)));
        assert_eq!(dedup.find(edge.after(1), first), Known::New);
        assert_eq!(dedup.find(edge.after(1), operation("ann", "2", "{}")), Known::Done(Seq(6)));
        assert_eq!(dedup.len(), 1);
        dedup.expire(edge.after(1001));
        assert!(dedup.is_empty() && dedup.done.is_empty());
    }

    #[test]
    fn at_the_bound_the_oldest_is_forgotten() {
        for (inserted, oldest_known) in [(DEDUP_ENTRIES_MAX, true), (DEDUP_ENTRIES_MAX + 1, false)] {
            let mut dedup = Dedup::default();
            for index in 0..inserted {
                dedup.insert(Millis(1), operation("ann", &index.to_string(), "{}"), Seq(index as u64 + 1));
            }
            assert_eq!(dedup.len(), DEDUP_ENTRIES_MAX);
            let known = dedup.find(Millis(1), operation("ann", "0", "{}"));
            assert_eq!(known, if oldest_known { Known::Done(Seq(1)) } else { Known::New });
        }
    }
}
