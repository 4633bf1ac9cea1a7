//! What all clients together know of the channels, and what must hold between what they saw.
//!
//! The ledger knows every operation that was sent and learns from each client where in which channel it
//! stands. Two clients that disagree, an operation that stands in two places, an answer that names another
//! place than the one that was seen: each is a violation, and a violation is a panic.

use std::collections::{BTreeMap, BTreeSet};

use waystation::limits::UNCOMMITTED_EVENTS_MAX;

use super::backend::Progress;
use super::erasures::Erasures;
use super::rng::Trace;
use super::storage::{OnDisk, is_durable};

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

/// By position: an event's id and the operation's number, unless it was never seen but erased.
pub(super) type Run = BTreeMap<u64, (String, Option<usize>)>;

/// The operations of one user with one id in one channel: at most one becomes an event.
#[derive(Debug, Default)]
struct Group {
    place: Option<Place>,
    first_answers: u32,
    /// It was answered without a place.
    somewhere: bool,
}

/// What is known of all channels.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) ops: Vec<Op>,
    groups: BTreeMap<(String, String, String), Group>,
    /// By channel and epoch.
    pub(super) seen: BTreeMap<(String, String), Run>,
    /// Places that answers named, with the operation id they named it for.
    pub(super) claims: BTreeMap<(String, String, u64), (String, String)>,
    /// Positions that a connection did not get: channel, epoch, position, connection.
    holes: Vec<(String, String, u64, u64)>,
    /// Operations with an id, by channel.
    ids: BTreeMap<String, usize>,
    /// By channel, user and id: when an operation was first sent.
    pub(super) first_sent: BTreeMap<(String, String, String), u64>,
    pub(super) erasures: Erasures,
    /// By user, channel and epoch: nothing after this was acknowledged.
    user_acks: BTreeMap<(String, String, String), u64>,
    /// By group, channel and epoch.
    groups_of: BTreeMap<(String, String, String), Progress>,
    /// Channels may outlive the process.
    pub(crate) has_store: bool,
    /// By channel that outlives the process: what was on the disk at each crash.
    stored: BTreeMap<String, Vec<OnDisk>>,
    /// Channels that were opened in the store since the process began.
    opened: BTreeSet<String>,
    /// Positions of such channels whose event was lost: no other may have them.
    burnt: BTreeSet<(String, u64)>,
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
    /// What it says; `None` if it is erased.
    pub(crate) text: Option<&'a str>,
    /// The connection that saw it.
    pub(crate) serial: u64,
    /// It is a part of a history that was asked for, which leaves out nothing.
    pub(crate) asked: bool,
    /// It was given to the socket, or asked for, after the last erasure was answered.
    pub(crate) is_late: bool,
}

impl Ledger {
    /// Nothing is known yet.
    pub(crate) fn new(has_store: bool) -> Self {
        Self { has_store, ..Self::default() }
    }

    /// Notes an operation; its number goes into the event's text.
    pub(crate) fn add(&mut self, op: Op) -> usize {
        if let Some(id) = &op.id {
            let name = (op.channel.clone(), op.user.clone(), id.clone());
            self.first_sent.entry(name).or_insert(op.sent_micros);
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
    pub(crate) fn see(&mut self, seen: &Seen<'_>) {
        let burnt = self.burnt.contains(&(seen.channel.to_owned(), seen.seq));
        assert!(!burnt, "a number with two contents: {seen:?}");
        self.judge(seen);
        let Some(said) = seen.text else { return };
        let mut parts = said.split(':');
        let number = parts.next().and_then(|number| number.parse::<usize>().ok());
        let number = number.unwrap_or_else(|| panic!("an event that nobody sent: {seen:?}"));
        let pad = parts.next().unwrap_or("");
        let sum = parts.next().and_then(|sum| u64::from_str_radix(sum, 16).ok());
        assert_eq!(sum, Some(Trace::of(pad.as_bytes())), "the payload is intact: {seen:?}");
        let place = (seen.epoch.to_owned(), seen.seq);
        let is_loose = self.is_op_loose(&self.ops[number]);
        let op = &mut self.ops[number];
        assert_eq!((op.channel.as_str(), op.user.as_str()), (seen.channel, seen.user), "where and whose: {seen:?}");
        assert_eq!(op.id.as_deref(), seen.op_id, "the operation id: {seen:?}");
        let known = op.place.get_or_insert_with(|| place.clone());
        assert!(is_loose || *known == place, "an operation is one event: {known:?} {seen:?}");
        let excluded = op.exclude && op.serials == [seen.serial] && !seen.asked;
        assert!(!excluded, "an excluded author gets its event: {seen:?}");
        if let Some(id) = op.id.clone() {
            let group = self.groups.entry((op.channel.clone(), op.user.clone(), id)).or_default();
            let known = group.place.get_or_insert_with(|| place.clone());
            assert!(is_loose || *known == place, "an operation id is delivered once: {known:?} {seen:?}");
        }
        let claim = self.claims.get(&(seen.channel.to_owned(), place.0.clone(), place.1));
        if let Some((user, id)) = claim {
            assert_eq!((user.as_str(), Some(id.as_str())), (seen.user, seen.op_id), "the ack named it: {seen:?}");
        }
        let run = self.seen.entry((seen.channel.to_owned(), seen.epoch.to_owned())).or_default();
        let here = run.entry(seen.seq).or_insert_with(|| (seen.event_id.to_owned(), None));
        let known = *here.1.get_or_insert(number);
        assert_eq!((here.0.as_str(), known), (seen.event_id, number), "one order for all: {seen:?}");
    }

    /// A user acknowledges on some connection.
    pub(crate) fn user_acked(&mut self, user: &str, channel: &str, epoch: &str, seq: u64) {
        let key = (user.to_owned(), channel.to_owned(), epoch.to_owned());
        let acked = self.user_acks.entry(key).or_default();
        *acked = seq.max(*acked);
    }

    pub(crate) fn acked_by(&self, user: &str, channel: &str, epoch: &str) -> u64 {
        if self.has_store && is_durable(channel) {
            // Numbers of such a channel are in one order, whatever the epoch.
            let acks = self.user_acks.iter().filter(|((who, what, _), _)| who == user && what == channel);
            return acks.map(|(_, seq)| *seq).max().unwrap_or(0).max(self.erasures.gone(channel));
        }
        let key = (user.to_owned(), channel.to_owned(), epoch.to_owned());
        self.user_acks.get(&key).copied().unwrap_or(0).max(self.erasures.gone(channel))
    }

    /// How far a group is in a channel: whatever the epoch, if the channel outlives the process.
    pub(crate) fn group(&mut self, group: &str, channel: &str, epoch: &str) -> &mut Progress {
        let epoch = if self.has_store && is_durable(channel) { "" } else { epoch };
        self.groups_of.entry((group.to_owned(), channel.to_owned(), epoch.to_owned())).or_default()
    }

    /// At the end: of the groups that have somebody, everything was sent to one.
    pub(crate) fn check_groups(&self, present: &[&str]) {
        for ((group, channel, epoch), progress) in &self.groups_of {
            // A channel that nobody has touched since the process began is not known to it.
            let is_open = !epoch.is_empty() || self.opened.contains(channel);
            if present.contains(&group.as_str()) && is_open {
                let owed = progress.owed(self.last_of_group(channel, epoch));
                progress.check(&format!("{channel} {epoch} for {group}"), self.numbers_owed(channel, owed));
            }
        }
    }

    /// The last event of a run, or of a channel that outlives the process.
    fn last_of_group(&self, channel: &str, epoch: &str) -> u64 {
        let epochs = self.seen.keys().filter(|(name, _)| name == channel).map(|(_, epoch)| epoch.as_str());
        if epoch.is_empty() {
            epochs.map(|epoch| self.last(channel, epoch)).max().unwrap_or(0)
        } else {
            self.last(channel, epoch)
        }
    }

    /// The store has opened a channel.
    pub(crate) fn opened(&mut self, channel: &str) {
        self.opened.insert(channel.to_owned());
    }

    /// An operation was answered without a place.
    pub(crate) fn acked_somewhere(&mut self, channel: &str, user: &str, id: &str, duplicate: bool) {
        let is_loose = self.is_loose(channel, user, id);
        let group = self.groups.entry((channel.to_owned(), user.to_owned(), id.to_owned())).or_default();
        group.somewhere = true;
        group.first_answers += u32::from(!duplicate);
        assert!(is_loose || group.first_answers <= 1, "answered as the first twice: {channel} {user} {id}");
    }

    /// An operation was answered with a place.
    pub(crate) fn acked(&mut self, channel: &str, user: &str, id: &str, place: &Place, duplicate: bool) {
        let is_loose = self.is_loose(channel, user, id);
        let group = self.groups.entry((channel.to_owned(), user.to_owned(), id.to_owned())).or_default();
        let known = group.place.get_or_insert_with(|| place.clone());
        assert!(is_loose || known == place, "an operation has one place: {channel} {user} {id} {known:?} {place:?}");
        group.first_answers += u32::from(!duplicate);
        assert!(is_loose || group.first_answers <= 1, "answered as the first twice: {channel} {user} {id}");
        let claim = (user.to_owned(), id.to_owned());
        let key = (channel.to_owned(), place.0.clone(), place.1);
        let known = self.claims.entry(key).or_insert_with(|| claim.clone());
        assert_eq!(*known, claim, "a place belongs to one operation: {channel} {place:?}");
        match self.seen.get(&(channel.to_owned(), place.0.clone())).and_then(|run| run.get(&place.1)) {
            Some((_, Some(number))) => {
                let op = &self.ops[*number];
                assert_eq!((op.user.as_str(), op.id.as_deref()), (user, Some(id)), "the ack names another's event");
            }
            Some((_, None)) => assert!(is_loose, "{id} of {user} was erased, and nobody asked for it"),
            None => {}
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
        if self.jump_end(channel, seq).is_some() {
            return true;
        }
        let own = |op: &Op| op.exclude && op.serials.contains(&serial) && op.channel == channel;
        let here = self.seen.get(&(channel.to_owned(), epoch.to_owned())).and_then(|run| run.get(&seq));
        if let Some((_, Some(number))) = here {
            return own(&self.ops[*number]);
        }
        match self.claims.get(&(channel.to_owned(), epoch.to_owned(), seq)) {
            Some((user, id)) => {
                self.ops.iter().any(|op| own(op) && op.user == *user && op.id.as_deref() == Some(id.as_str()))
            }
            // What an erased user sends again under an id is another event.
            None => self.ops.iter().any(|op| own(op) && (op.place.is_none() || self.is_op_loose(op))),
        }
    }

    /// Operations of a channel that were answered with a number below one and were first sent at a time or later.
    pub(crate) fn acked_before(&self, channel: &str, oldest: u64, since_micros: u64) -> Vec<&Op> {
        let claims = self.claims.iter().filter(|((name, _, seq), _)| name == channel && *seq < oldest);
        let late = |(user, id): &(String, String)| {
            let is_it = |op: &&Op| op.channel == channel && op.user == *user && op.id.as_deref() == Some(id);
            self.ops.iter().find(is_it).filter(|op| op.sent_micros >= since_micros)
        };
        claims.filter_map(|(_, claim)| late(claim)).collect()
    }

    /// All channels that anybody sent to.
    pub(crate) fn channels(&self) -> BTreeSet<String> {
        self.ops.iter().map(|op| op.channel.clone()).collect()
    }

    /// The process has ended at once. What was answered is on the disk; what is not on it never happened, but its
    /// numbers are used up.
    pub(crate) fn forget_lost(&mut self, channel: &str, on_disk: OnDisk, durable: bool) {
        self.check_holes();
        self.check_erased(channel, &on_disk);
        self.holes.retain(|(other, ..)| other != channel);
        let is_lost = |(_, seq): &Place| !durable || *seq >= on_disk.oldest && !on_disk.events.contains_key(seq);
        for ((name, epoch, seq), (user, id)) in &self.claims {
            if name != channel || !durable || *seq < on_disk.oldest {
                continue;
            }
            let stored = on_disk.events.get(seq);
            let same = stored.is_some_and(|stored| *stored == (epoch.clone(), user.clone(), id.clone()));
            // Of an erased one nobody's name is left.
            let is_erased = stored.is_some_and(|(of, user, id)| of == epoch && user.is_empty() && id.is_empty());
            let same = same || is_erased && self.is_loose(name, user, id);
            assert!(same, "acknowledged and lost: {name} {epoch} {seq} of {user} {id}, on the disk {stored:?}");
        }
        self.claims.retain(|(name, epoch, seq), _| name != channel || !is_lost(&(epoch.clone(), *seq)));
        for ((name, _), run) in self.seen.iter_mut().filter(|((name, _), _)| name == channel) {
            let lost: Vec<u64> = run.keys().copied().filter(|seq| is_lost(&(String::new(), *seq))).collect();
            for seq in lost {
                run.remove(&seq);
                if durable {
                    self.burnt.insert((name.clone(), seq));
                }
            }
        }
        for op in self.ops.iter_mut().filter(|op| op.channel == channel) {
            op.place.take_if(|place| is_lost(place));
        }
        let is_loose = |user: &str, id: &str| {
            let first = self.first_sent.get(&(channel.to_owned(), user.to_owned(), id.to_owned()));
            self.erasures.may_have(user, first.copied().unwrap_or(0))
        };
        for ((_, user, id), group) in self.groups.iter_mut().filter(|((name, ..), _)| name == channel) {
            if is_loose(user, id) {
                *group = Group::default();
                continue;
            }
            if durable && group.somewhere && group.place.is_none() {
                let mut events = on_disk.events.iter();
                let found = events.find(|(_, (_, author, op))| (author, op) == (user, id));
                assert!(found.is_some() || on_disk.oldest > 1, "acknowledged and lost: {channel} {user} {id}");
                group.place = found.map(|(seq, (epoch, ..))| (epoch.clone(), *seq));
            }
            if group.place.as_ref().map_or(!durable, is_lost) {
                *group = Group::default();
            }
        }
        if durable {
            self.stored.entry(channel.to_owned()).or_default().push(on_disk);
        }
    }

    /// Groups begin anew with the process, but for channels that outlive it: there they go on behind what is on the disk,
    /// which is no later than what they acknowledged. Of an event that is on the disk it is, too, who was owed it.
    pub(crate) fn forget_progress(&mut self) {
        self.opened.clear();
        let stored = &self.stored;
        self.groups_of.retain(|(_, channel, epoch), progress| {
            let stop = stored.get(channel).and_then(|stops| stops.last()).filter(|_| epoch.is_empty());
            let spans = || stop.iter().flat_map(|stop| &stop.spans);
            progress.covered.retain(|seq| spans().any(|(_, first, last)| (first..=last).contains(&seq)));
            !progress.covered.is_empty()
        });
    }

    /// Stretches of numbers that no event has, up to `end`: behind each stop a channel goes on beyond everything that can
    /// have been given out.
    fn jumps(&self, channel: &str, end: u64) -> Vec<std::ops::Range<u64>> {
        if !(self.has_store && is_durable(channel)) {
            return Vec::new();
        }
        let stop = self.stored.get(channel).and_then(|stops| stops.last());
        let mut last = 0;
        let mut jumps = Vec::new();
        for (_, first, to) in stop.iter().flat_map(|stop| &stop.spans) {
            jumps.push(last + 1..*first);
            last = *to;
        }
        // Where the present epoch begins is known by what was seen of it.
        let runs = self.seen.iter().filter(|((name, _), _)| name == channel).map(|(_, run)| run);
        let seen = runs.filter_map(|run| run.range(last + 1..).next()).map(|(seq, _)| *seq).min();
        let witness = seen.map_or(end, |seen| seen.min(end)).max(last + 1);
        let steps = (witness - last - 1) / UNCOMMITTED_EVENTS_MAX;
        jumps.push(last + 1..last + steps * UNCOMMITTED_EVENTS_MAX + 1);
        jumps
    }

    fn jump_end(&self, channel: &str, seq: u64) -> Option<u64> {
        self.jumps(channel, seq + 1).into_iter().find(|jump| jump.contains(&seq)).map(|jump| jump.end)
    }

    /// Whether a position in an earlier epoch was on the disk when the process ended.
    pub(crate) fn was_stored(&self, channel: &str, epoch: &str, seq: u64) -> bool {
        let spans = self.stored.get(channel).into_iter().flatten().flat_map(|stop| &stop.spans);
        spans.into_iter().any(|(other, first, last)| other == epoch && seq + 1 >= *first && seq <= *last)
    }

    /// The numbers of a stretch but for those that no event has.
    pub(crate) fn numbers(&self, channel: &str, stretch: std::ops::Range<u64>) -> Vec<u64> {
        let jumps = self.jumps(channel, stretch.end);
        let (mut at, mut numbers) = (stretch.start, Vec::new());
        while at < stretch.end {
            if let Some(jump) = jumps.iter().find(|jump| jump.contains(&at)) {
                at = jump.end;
            } else {
                numbers.push(at);
                at += 1;
            }
        }
        numbers
    }

    /// The numbers of a stretch that somebody is owed who acknowledges: what an operator has erased is nobody's.
    pub(crate) fn numbers_owed(&self, channel: &str, stretch: std::ops::Range<u64>) -> Vec<u64> {
        let gone = self.erasures.gone(channel);
        self.numbers(channel, stretch.start.max(gone.saturating_add(1)).min(stretch.end)..stretch.end)
    }

    /// At the end: every hole is the connection's own excluded event.
    pub(crate) fn check_holes(&self) {
        for (channel, epoch, seq, serial) in &self.holes {
            assert!(self.may_lack(channel, epoch, *seq, *serial), "silent gap at {channel} {epoch} {seq} of {serial}");
        }
    }
}
