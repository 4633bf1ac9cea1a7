//! What an operator has erased: what must not be read any more, and what may be gone with it.
//!
//! An event that was known before an erasure began is erased once that is answered, for everybody and for ever. One that
//! came while it ran is erased for all or for none. What is of nobody who was erased stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::invariants::{Ledger, Op, Seen};
use super::storage::{OnDisk, is_durable};

/// A number of a channel: channel, epoch, position.
type Number = (String, String, u64);

/// What is known of erasures.
#[derive(Debug, Default)]
pub(crate) struct Erasures {
    /// By user: until when what it sent may be erased; `None` while an erasure runs.
    users: BTreeMap<String, Option<u64>>,
    /// By channel: all up to here may be gone; `None` while an erasure runs.
    channels: BTreeMap<String, Option<u64>>,
    /// How far channels are gone whose erasure is not answered yet.
    gone: BTreeMap<String, u64>,
    /// Numbers that are known to be erased or not, and whose they are.
    fates: BTreeMap<Number, (String, bool)>,
    /// Channels that ever were to be erased.
    ever: BTreeSet<String>,
    /// What was known when the running erasure began.
    before: BTreeSet<Number>,
    /// Connections and requests that were counted when an erasure was last answered.
    serials: u64,
}

impl Erasures {
    /// Whether what a user sent at a time may be erased, or was.
    pub(crate) fn may_have(&self, user: &str, sent_micros: u64) -> bool {
        self.users.get(user).is_some_and(|until| until.is_none_or(|until| sent_micros <= until))
    }

    /// Up to where a channel's events may be gone.
    pub(crate) fn gone(&self, channel: &str) -> u64 {
        self.channels.get(channel).map_or(0, |gone| gone.unwrap_or(u64::MAX))
    }

    fn runs(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(Option::is_none)
    }

    /// Whether something that is read there is what it must be.
    fn judge(&mut self, number: &Number, user: &str, seen: &Seen<'_>) {
        let is_erased = seen.text.is_none();
        let known = self.fates.get(number).map(|(_, is_erased)| *is_erased);
        if !seen.is_late {
            return;
        }
        assert!(known != Some(true) || is_erased, "erased, and read all the same: {seen:?}");
        assert!(known != Some(false) || !is_erased, "erased for one, not for another: {seen:?}");
        if !self.runs(user) && (is_erased || self.users.contains_key(user)) {
            self.fates.insert(number.clone(), (user.to_owned(), is_erased));
        }
    }
}

impl Ledger {
    /// An erasure begins.
    pub(crate) fn erasing(&mut self, user: Option<&str>, channels: &[Arc<str>]) {
        let is_of =
            |channel: &str, author: &str| Some(author) == user || channels.iter().any(|other| **other == *channel);
        let seen = self.seen.iter().flat_map(|((channel, epoch), run)| {
            let author = |number: &Option<usize>| number.map_or("", |number| self.ops[number].user.as_str());
            let of = run.iter().filter(move |(_, (_, number))| is_of(channel, author(number)));
            of.map(|(seq, _)| (channel.clone(), epoch.clone(), *seq))
        });
        let claims = self.claims.iter().filter(|((channel, ..), (author, _))| is_of(channel, author));
        let before = seen.chain(claims.map(|(number, _)| number.clone())).collect();
        let erasures = &mut self.erasures;
        erasures.before = before;
        for channel in channels {
            erasures.channels.insert(channel.to_string(), None);
            erasures.ever.insert(channel.to_string());
        }
        if let Some(user) = user {
            erasures.users.insert(user.to_owned(), None);
            erasures.fates.retain(|_, (author, is_erased)| *is_erased || author != user);
        }
    }

    /// Whether an operator has ever wanted a channel to have no past: how much of it is kept says nothing then.
    pub(crate) fn was_ever_erased(&self, channel: &str) -> bool {
        self.erasures.ever.contains(channel)
    }

    /// A channel has nothing left up to a position.
    pub(crate) fn erased_up_to(&mut self, channel: &str, seq: u64) {
        self.erasures.gone.insert(channel.to_owned(), seq);
    }

    /// An erasure is answered.
    pub(crate) fn erased(&mut self, user: Option<&str>, channels: &[Arc<str>], (micros, serials): (u64, u64)) {
        let owner = user.unwrap_or("");
        for number in std::mem::take(&mut self.erasures.before) {
            self.erasures.fates.insert(number, (owner.to_owned(), true));
        }
        self.erasures.serials = serials;
        self.end(user, channels, micros);
    }

    /// An erasure is not answered, and may have done a part.
    pub(crate) fn interrupted(&mut self, user: Option<&str>, micros: u64) {
        self.erasures.before.clear();
        // How far its channels are gone is read from the disk.
        self.end(user, &[], micros);
    }

    fn end(&mut self, user: Option<&str>, channels: &[Arc<str>], micros: u64) {
        if let Some(user) = user {
            self.erasures.users.insert(user.to_owned(), Some(micros));
        }
        for channel in channels {
            // One of which it is not known how far it is gone is gone as far as anybody knows it.
            let epochs = self.seen.keys().filter(|(name, _)| **name == **channel);
            let last = epochs.map(|(_, epoch)| self.last(channel, epoch)).max().unwrap_or(0);
            let gone = self.erasures.gone.remove(&**channel).unwrap_or(last);
            self.erasures.channels.insert(channel.to_string(), Some(gone));
        }
    }

    /// Whether a request with this number was made after the last erasure was answered.
    pub(crate) const fn is_after_erasures(&self, serial: u64) -> bool {
        serial > self.erasures.serials
    }

    /// An event is read, erased or not.
    pub(crate) fn judge(&mut self, seen: &Seen<'_>) {
        let number = (seen.channel.to_owned(), seen.epoch.to_owned(), seen.seq);
        if seen.text.is_some() {
            return self.erasures.judge(&number, seen.user, seen);
        }
        // Whose it was, as far as anybody knows.
        let run = self.seen.entry((number.0.clone(), number.1.clone())).or_default();
        let here = run.entry(seen.seq).or_insert_with(|| (seen.event_id.to_owned(), None));
        assert_eq!(here.0, seen.event_id, "an erased event keeps its id: {seen:?}");
        let op = here.1.map(|number| &self.ops[number]);
        let user = op.map(|op| op.user.as_str()).or_else(|| self.claims.get(&number).map(|(user, _)| user.as_str()));
        let user = user.map(str::to_owned);
        let may = |user: &String| self.erasures.may_have(user, op.map_or(0, |op| op.sent_micros));
        let may = user.as_ref().map_or(!self.erasures.users.is_empty(), may);
        assert!(may, "erased, and nobody asked for it: {user:?} {op:?} {seen:?}");
        match user {
            Some(user) => self.erasures.judge(&number, &user, seen),
            None => {
                let known = self.erasures.fates.get(&number).map(|(_, is_erased)| *is_erased);
                assert!(known != Some(false) || !seen.is_late, "erased for one, not for another: {seen:?}");
                if seen.is_late && self.erasures.users.values().all(Option::is_some) {
                    self.erasures.fates.insert(number, (String::new(), true));
                }
            }
        }
    }

    /// Whether operations of this name may have been forgotten, so that another event may come of one.
    pub(crate) fn is_loose(&self, channel: &str, user: &str, id: &str) -> bool {
        let first = self.first_sent.get(&(channel.to_owned(), user.to_owned(), id.to_owned()));
        self.erasures.may_have(user, first.copied().unwrap_or(0))
    }

    /// The same of one operation.
    pub(super) fn is_op_loose(&self, op: &Op) -> bool {
        op.id.as_ref().is_some_and(|id| self.is_loose(&op.channel, &op.user, id))
    }

    /// What was erased must not be on the disk.
    pub(super) fn check_erased(&mut self, channel: &str, on_disk: &OnDisk) {
        let gone = self.erasures.channels.get_mut(channel);
        if !is_durable(channel) {
            // Numbers begin anew.
            gone.into_iter().for_each(|gone| *gone = Some(0));
            return;
        }
        for (seq, (epoch, user, _)) in &on_disk.events {
            let fate = self.erasures.fates.get(&(channel.to_owned(), epoch.clone(), *seq));
            let is_erased = fate.is_some_and(|(_, is_erased)| *is_erased);
            assert!(!is_erased || user.is_empty(), "erased, and on the disk all the same: {channel} {epoch} {seq}");
            assert!(
                !user.is_empty() || fate.is_none_or(|(_, is_erased)| *is_erased),
                "erased behind it: {channel} {seq}"
            );
        }
        // An erasure that ended with the process is done or not.
        if let Some(gone) = gone.filter(|gone| gone.is_none()) {
            *gone = Some(on_disk.oldest.saturating_sub(1));
        }
    }
}
