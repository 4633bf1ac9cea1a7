//! What all clients together know of the channels, and what must hold between what they saw.
//!
//! The ledger knows every operation that was sent and learns from each client where in which channel it
//! stands. Two clients that disagree, an operation that stands in two places, an answer that names another
//! place than the one that was seen: each is a violation, and a violation is a panic.

use std::collections::BTreeMap;

use super::backend::Progress;
use super::rng::Trace;

/// A place in a channel: epoch and position.
pub(crate) type Place = (String, u64);

/// One message that a client sent to become an event. Its number is in the event's text.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) channel: String,
    pub(crate) user: String,
    pub(crate) id: Option<String>,
    /// The whole message, for a retry.
    pub(crate) message: String,
    pub(crate) exclude: bool,
    /// The connections that sent it.
    pub(crate) serials: Vec<u64>,
    pub(crate) sent_micros: u64,
    place: Option<Place>,
}

impl Op {
    pub(crate) fn new(user: &str, channel: &str, id: Option<String>, exclude: bool, serial: u64, micros: u64) -> Self {
        Self {
            channel: channel.to_owned(),
            user: user.to_owned(),
            id,
            message: String::new(),
            exclude,
            serials: vec![serial],
            sent_micros: micros,
            place: None,
        }
    }
}

/// The operations of one user with one id in one channel: at most one becomes an event.
#[derive(Debug, Default)]
struct Group {
    place: Option<Place>,
    first_answers: u32,
}

/// What is known of all channels.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) ops: Vec<Op>,
    groups: BTreeMap<(String, String, String), Group>,
    /// By channel, epoch and position: the event's id and the operation's number.
    seen: BTreeMap<(String, String), BTreeMap<u64, (String, usize)>>,
    /// Places that answers named, with the operation id they named it for.
    claims: BTreeMap<(String, String, u64), (String, String)>,
    /// Positions that a connection did not get: channel, epoch, position, connection.
    holes: Vec<(String, String, u64, u64)>,
    /// Operations with an id, by channel.
    ids: BTreeMap<String, usize>,
    /// By user, channel and epoch: nothing after this was acknowledged.
    user_acks: BTreeMap<(String, String, String), u64>,
    /// By group, channel and epoch.
    groups_of: BTreeMap<(String, String, String), Progress>,
}

/// An event as a client saw it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) channel: &'a str,
    pub(crate) epoch: &'a str,
    pub(crate) seq: u64,
    pub(crate) event_id: &'a str,
    pub(crate) op_id: Option<&'a str>,
    pub(crate) user: &'a str,
    pub(crate) text: &'a str,
    /// The connection that saw it.
    pub(crate) serial: u64,
}

impl Ledger {
    /// Notes an operation; its number goes into the event's text.
    pub(crate) fn add(&mut self, op: Op) -> usize {
        if op.id.is_some() {
            *self.ids.entry(op.channel.clone()).or_default() += 1;
        }
        self.ops.push(op);
        self.ops.len() - 1
    }

    /// The text that an operation carries: its number, padding, and the padding's hash.
    pub(crate) fn text(number: usize, pad: &str) -> String {
        format!("{number}:{pad}:{:x}", Trace::of(pad.as_bytes()))
    }

    /// Operations with an id in a channel: below the bound of what the gateway remembers.
    pub(crate) fn ids(&self, channel: &str) -> usize {
        self.ids.get(channel).copied().unwrap_or(0)
    }

    /// An event arrived somewhere.
    pub(crate) fn see(&mut self, seen: &Seen<'_>) -> usize {
        let mut parts = seen.text.split(':');
        let number = parts.next().and_then(|number| number.parse::<usize>().ok());
        let number = number.unwrap_or_else(|| panic!("an event that nobody sent: {seen:?}"));
        let pad = parts.next().unwrap_or("");
        let sum = parts.next().and_then(|sum| u64::from_str_radix(sum, 16).ok());
        assert_eq!(sum, Some(Trace::of(pad.as_bytes())), "the payload is intact: {seen:?}");
        let place = (seen.epoch.to_owned(), seen.seq);
        let op = &mut self.ops[number];
        assert_eq!((op.channel.as_str(), op.user.as_str()), (seen.channel, seen.user), "where and whose: {seen:?}");
        assert_eq!(op.id.as_deref(), seen.op_id, "the operation id: {seen:?}");
        let known = op.place.get_or_insert_with(|| place.clone());
        assert_eq!(*known, place, "an operation is one event: {seen:?}");
        assert!(!(op.exclude && op.serials == [seen.serial]), "an excluded author gets its event: {seen:?}");
        if let Some(id) = op.id.clone() {
            let group = self.groups.entry((op.channel.clone(), op.user.clone(), id)).or_default();
            let known = group.place.get_or_insert_with(|| place.clone());
            assert_eq!(*known, place, "an operation id is delivered once: {seen:?}");
        }
        let claim = self.claims.get(&(seen.channel.to_owned(), place.0.clone(), place.1));
        if let Some((user, id)) = claim {
            assert_eq!((user.as_str(), Some(id.as_str())), (seen.user, seen.op_id), "the ack named it: {seen:?}");
        }
        let run = self.seen.entry((seen.channel.to_owned(), seen.epoch.to_owned())).or_default();
        let here = run.entry(seen.seq).or_insert_with(|| (seen.event_id.to_owned(), number));
        assert_eq!((here.0.as_str(), here.1), (seen.event_id, number), "one order for all: {seen:?}");
        number
    }

    /// A user acknowledges on some connection.
    pub(crate) fn user_acked(&mut self, user: &str, channel: &str, epoch: &str, seq: u64) {
        let key = (user.to_owned(), channel.to_owned(), epoch.to_owned());
        let acked = self.user_acks.entry(key).or_default();
        *acked = seq.max(*acked);
    }

    pub(crate) fn acked_by(&self, user: &str, channel: &str, epoch: &str) -> u64 {
        let key = (user.to_owned(), channel.to_owned(), epoch.to_owned());
        self.user_acks.get(&key).copied().unwrap_or(0)
    }

    /// How far a group is in a channel.
    pub(crate) fn group(&mut self, group: &str, channel: &str, epoch: &str) -> &mut Progress {
        self.groups_of.entry((group.to_owned(), channel.to_owned(), epoch.to_owned())).or_default()
    }

    /// At the end: of the groups that have somebody, everything was sent to one.
    pub(crate) fn check_groups(&self, present: &[&str]) {
        for ((group, channel, epoch), progress) in &self.groups_of {
            if present.contains(&group.as_str()) {
                progress.check(&format!("{channel} {epoch} for {group}"), self.last(channel, epoch));
            }
        }
    }

    /// An operation was answered with a place.
    pub(crate) fn acked(&mut self, channel: &str, user: &str, id: &str, place: &Place, duplicate: bool) {
        let group = self.groups.entry((channel.to_owned(), user.to_owned(), id.to_owned())).or_default();
        let known = group.place.get_or_insert_with(|| place.clone());
        assert_eq!(known, place, "an operation has one place: {channel} {user} {id}");
        group.first_answers += u32::from(!duplicate);
        assert!(group.first_answers <= 1, "answered as the first twice: {channel} {user} {id}");
        let claim = (user.to_owned(), id.to_owned());
        let key = (channel.to_owned(), place.0.clone(), place.1);
        let known = self.claims.entry(key).or_insert_with(|| claim.clone());
        assert_eq!(*known, claim, "a place belongs to one operation: {channel} {place:?}");
        if let Some((_, number)) =
            self.seen.get(&(channel.to_owned(), place.0.clone())).and_then(|run| run.get(&place.1))
        {
            let op = &self.ops[*number];
            assert_eq!((op.user.as_str(), op.id.as_deref()), (user, Some(id)), "the ack names another's event");
        }
    }

    /// A connection was sent what follows `seq` without it.
    pub(crate) fn hole(&mut self, channel: &str, epoch: &str, seq: u64, serial: u64) {
        self.holes.push((channel.to_owned(), epoch.to_owned(), seq, serial));
    }

    /// The last position that anybody knows of.
    pub(crate) fn last(&self, channel: &str, epoch: &str) -> u64 {
        let seen = self.seen.get(&(channel.to_owned(), epoch.to_owned()));
        let seen = seen.and_then(|run| run.last_key_value()).map_or(0, |(seq, _)| *seq);
        let from = (channel.to_owned(), epoch.to_owned(), 0);
        let to = (channel.to_owned(), epoch.to_owned(), u64::MAX);
        let claimed = self.claims.range(from..=to).next_back().map_or(0, |((_, _, seq), _)| *seq);
        seen.max(claimed)
    }

    /// Whether a position may be a hole for a connection: what stands there is its own excluded event.
    pub(crate) fn may_lack(&self, channel: &str, epoch: &str, seq: u64, serial: u64) -> bool {
        let own = |op: &Op| op.exclude && op.serials.contains(&serial) && op.channel == channel;
        if let Some((_, number)) = self.seen.get(&(channel.to_owned(), epoch.to_owned())).and_then(|run| run.get(&seq))
        {
            return own(&self.ops[*number]);
        }
        match self.claims.get(&(channel.to_owned(), epoch.to_owned(), seq)) {
            Some((user, id)) => {
                self.ops.iter().any(|op| own(op) && op.user == *user && op.id.as_deref() == Some(id.as_str()))
            }
            None => self.ops.iter().any(|op| own(op) && op.place.is_none()),
        }
    }

    /// At the end: every hole is the connection's own excluded event.
    pub(crate) fn check_holes(&self) {
        for (channel, epoch, seq, serial) in &self.holes {
            assert!(self.may_lack(channel, epoch, *seq, *serial), "silent gap at {channel} {epoch} {seq} of {serial}");
        }
    }
}
