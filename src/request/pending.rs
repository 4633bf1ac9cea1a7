//! Requests of a shard's connections that are not answered yet.

use std::collections::HashMap;

use crate::ids::ConnId;
use crate::limits::REQUESTS_PER_SHARD_MAX;

/// A request's number on the shard of the connection that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A request that waits.
#[derive(Debug)]
pub struct Asked {
    /// Who asked.
    pub asker: ConnId,
    /// By which the asker knows its answer again.
    pub id: Option<Box<str>>,
    /// Who was asked; `None` until it took the request.
    pub provider: Option<ConnId>,
    /// The asker has withdrawn it before anybody took it.
    pub cancelled: bool,
    /// Who was told that it is withdrawn: a provider hears that once, however often it is said.
    told: Option<ConnId>,
    /// The asker does not mind if nobody answers the method.
    pub optional: bool,
}

impl Asked {
    /// A request of `asker` that nobody has taken yet.
    #[must_use]
    pub fn new(asker: ConnId, id: Option<&str>, optional: bool) -> Self {
        Self { asker, id: id.map(Box::from), provider: None, cancelled: false, told: None, optional }
    }
}

/// All requests that wait.
#[derive(Debug, Default)]
pub struct Pending {
    asked: HashMap<Ticket, Asked>,
    last: u64,
}

/// What became of a request that its asker withdraws, or that is over for another reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// This connection works on it and is to be told.
    From(ConnId),
    /// Nobody has taken it yet.
    Early,
    /// There is no such request, or its provider knows already.
    Unknown,
}

impl Pending {
    /// Notes a request; `None` at the bound.
    pub fn open(&mut self, asked: Asked) -> Option<Ticket> {
        if self.asked.len() >= REQUESTS_PER_SHARD_MAX {
            return None;
        }
        self.last += 1;
        self.asked.insert(Ticket(self.last), asked);
        Some(Ticket(self.last))
    }

    /// A request that waits.
    #[must_use]
    pub fn find(&self, ticket: Ticket) -> Option<&Asked> {
        self.asked.get(&ticket)
    }

    /// A provider took the request. Returns whether it was withdrawn meanwhile, so that the provider is to be
    /// told; `None` if it is over.
    pub fn take(&mut self, ticket: Ticket, provider: ConnId) -> Option<bool> {
        let asked = self.asked.get_mut(&ticket)?;
        asked.provider = Some(provider);
        let withdrawn = std::mem::take(&mut asked.cancelled);
        if withdrawn {
            asked.told = Some(provider);
        }
        Some(withdrawn)
    }

    /// The asker withdraws a request; it waits on, for the provider says how it ends.
    pub fn cancel(&mut self, ticket: Ticket) -> Withdrawn {
        let Some(asked) = self.asked.get_mut(&ticket) else { return Withdrawn::Unknown };
        asked.cancelled = asked.provider.is_none();
        match asked.provider {
            None => Withdrawn::Early,
            told if told == asked.told => Withdrawn::Unknown,
            Some(provider) => {
                asked.told = Some(provider);
                Withdrawn::From(provider)
            }
        }
    }

    /// A request is over.
    pub fn close(&mut self, ticket: Ticket) -> Option<Asked> {
        self.asked.remove(&ticket)
    }

    /// Requests that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.asked.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    fn conn(slot: u32) -> ConnId {
        ConnId { shard: ShardId(0), slot, generation: 1 }
    }

    #[test]
    fn a_request_is_taken_withdrawn_and_closed_once() {
        let mut pending = Pending::default();
        let ticket = pending.open(Asked::new(conn(1), Some("q"), false)).unwrap();
        assert_eq!(pending.cancel(ticket), Withdrawn::Early);
        assert_eq!(pending.take(ticket, conn(2)), Some(true), "who takes it is told that it was withdrawn");
        assert_eq!(pending.take(ticket, conn(3)), Some(false));
        assert_eq!(pending.cancel(ticket), Withdrawn::From(conn(3)));
        let asked = pending.close(ticket).unwrap();
        assert_eq!((asked.asker, asked.id.as_deref()), (conn(1), Some("q")));
        assert!(pending.close(ticket).is_none() && pending.is_empty());
        assert_eq!((pending.take(ticket, conn(2)), pending.cancel(ticket)), (None, Withdrawn::Unknown));
    }

    #[test]
    fn requests_are_bounded_and_numbers_are_never_used_again() {
        let mut pending = Pending::default();
        let first = pending.open(Asked::new(conn(1), None, true)).unwrap();
        for count in 2..=REQUESTS_PER_SHARD_MAX + 1 {
            assert_eq!(
                pending.open(Asked::new(conn(1), None, true)).is_some(),
                count <= REQUESTS_PER_SHARD_MAX,
                "{count}"
            );
        }
        assert_eq!(pending.len(), REQUESTS_PER_SHARD_MAX);
        assert!(pending.close(first).is_some() && pending.find(first).is_none());
        assert!(pending.open(Asked::new(conn(1), None, true)).unwrap() > first);
    }
}
