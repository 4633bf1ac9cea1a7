//! What is kept of who came, who was let in, what was refused and who administered: an entry for each. Never a token,
//! never content.

use std::sync::Arc;

use crate::ids::ConnectionName;
use crate::wire::peer::Peer;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Wall clock.
    pub unix_ms: u64,
    /// What happened: `connected`, `authenticated`, `refused`, `closed`, `administered`, `configured`.
    pub act: &'static str,
    /// The connection's public name.
    pub connection: Option<ConnectionName>,
    /// The authenticated user.
    pub user: Option<Arc<str>>,
    /// Where it comes from, as far as trusted proxies say.
    pub peer: Option<Peer>,
    /// An HTTP status or a close code.
    pub code: Option<u16>,
    /// The name of an error's code, the reason of a close, what was administered.
    pub reason: Box<str>,
}

impl Entry {
    /// An entry about nobody's connection.
    #[must_use]
    pub fn new(unix_ms: u64, act: &'static str, reason: impl Into<Box<str>>) -> Self {
        Self { unix_ms, act, connection: None, user: None, peer: None, code: None, reason: reason.into() }
    }
}

/// Entries until the host takes them. Off, it takes none.
#[derive(Debug, Default)]
pub struct Audit {
    entries: Vec<Entry>,
    max: usize,
    lost: u64,
}

impl Audit {
    /// Room for so many entries between two takings; 0 turns it off.
    #[must_use]
    pub const fn with_room(max: usize) -> Self {
        Self { entries: Vec::new(), max, lost: 0 }
    }

    /// Whether entries are taken at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.max > 0
    }

    /// Whether there is something to take.
    #[must_use]
    #[inline]
    pub const fn has_some(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Keeps an entry, or counts it as lost.
    pub fn push(&mut self, entry: Entry) {
        if self.entries.len() < self.max {
            self.entries.push(entry);
        } else if self.is_on() {
            self.lost += 1;
        }
    }

    /// Takes all entries out; with them how many found no room.
    pub fn take(&mut self) -> (impl Iterator<Item = Entry> + '_, u64) {
        (self.entries.drain(..), std::mem::take(&mut self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::AUDIT_ENTRIES_PER_TURN_MAX;

    #[test]
    fn so_many_entries_are_kept_between_two_takings_and_the_others_counted() {
        for (max, kept, lost) in [(0, 0, 0), (1, 1, 2), (2, 2, 1), (3, 3, 0)] {
            let mut audit = Audit::with_room(max);
            for n in 0..3 {
                audit.push(Entry::new(n, "connected", ""));
            }
            assert_eq!((audit.is_on(), audit.has_some()), (max > 0, kept > 0));
            let (entries, missing) = audit.take();
            assert_eq!((entries.map(|entry| entry.unix_ms).collect::<Vec<_>>(), missing), ((0..kept).collect(), lost));
            assert_eq!(audit.take().1, 0, "told once");
        }
        let mut audit = Audit::with_room(AUDIT_ENTRIES_PER_TURN_MAX);
        (0..=AUDIT_ENTRIES_PER_TURN_MAX).for_each(|_| audit.push(Entry::new(0, "connected", "")));
        let (entries, lost) = audit.take();
        assert_eq!((entries.count(), lost), (AUDIT_ENTRIES_PER_TURN_MAX, 1));
    }
}
