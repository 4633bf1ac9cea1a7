//! What was sent, what was answered, what readers saw, and what must therefore be in the history.
//!
//! The book knows no socket and no clock. An operation is one publish under one id, sent once or again after a kill.
//! The checks are on whole histories, read while nobody publishes: `reading` has them, `readers` those of members that
//! read all the time and come back. A number belongs to what was first seen under it, wherever that was: in an answer,
//! by a reader, in a history.
//!
//! Each fault is counted once, at the first reading that shows it.

mod readers;
mod reading;

use std::collections::{HashMap, HashSet};
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use super::faults::{Faults, Place, What};
use crate::limits::{CRASH_EPOCHS_COUNT_MAX, CRASH_SENT_AGAIN_COUNT};

use readers::Position;
pub(super) use readers::Return;

/// An event as the wire tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) epoch: &'a str,
    pub(super) seq: u64,
    /// The author's id of it.
    pub(super) id: Option<&'a str>,
    /// Its content.
    pub(super) content: &'a str,
}

/// The same as the book keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    spot: Spot,
    /// Whose it is, if it is one of this run.
    operation: Option<u32>,
    hash: u64,
}

/// A place, its epoch by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spot {
    epoch: u32,
    seq: u64,
}

/// What an acknowledgement says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack<'a> {
    /// The epoch and the number; none where the author's own delivery will not come.
    pub(super) place: Option<(&'a str, u64)>,
    pub(super) duplicate: bool,
}

/// Whether an operation was acknowledged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Acked {
    #[default]
    Not,
    /// No answer and no reading so far says where it is.
    Somewhere,
    At(Spot),
}

impl Acked {
    fn is_so(self) -> bool {
        self != Self::Not
    }

    const fn spot(self) -> Option<Spot> {
        match self {
            Self::At(spot) => Some(spot),
            Self::Not | Self::Somewhere => None,
        }
    }

    /// What is known where a place is told, or found; the first one stays.
    const fn at(self, spot: Option<Spot>) -> Self {
        match (self, spot) {
            (Self::At(first), _) => Self::At(first),
            (_, Some(spot)) => Self::At(spot),
            (_, None) => Self::Somewhere,
        }
    }
}

#[derive(Debug, Default)]
struct Operation {
    publisher: u32,
    channel: usize,
    hash: u64,
    /// How often it was sent.
    sent: u32,
    /// Sends on the connections of now that have no answer yet.
    awaited: u32,
    acked: Acked,
    /// Where the last reading found it.
    stored: Option<Spot>,
    /// The last reading that found it.
    read: u32,
    /// Sent once, and refused.
    refused: bool,
    /// Counted under these already.
    counted: Counted,
}

#[derive(Debug, Default)]
struct Counted {
    lost: bool,
    doubled: bool,
    reordered: bool,
    altered: bool,
    moved: bool,
    refused_kept: bool,
    kept: bool,
}

#[derive(Debug, Default)]
struct Channel {
    name: String,
    operations: Vec<u32>,
    /// What stands under each number that was seen.
    numbers: HashMap<u64, Claim>,
    /// Numbers at which an order was found wrong.
    wrong: HashSet<u64>,
    /// The last reading.
    history: Vec<Event>,
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    operation: Option<u32>,
    hash: u64,
    disputed: bool,
}

/// Counts of a run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    /// Operations.
    pub(super) sent: u64,
    /// Those of them that were acknowledged.
    pub(super) acked: u64,
    /// Those that a kill left without an answer, however often.
    pub(super) unanswered: u64,
    /// Those that were not acknowledged when a history had them.
    pub(super) kept: u64,
    /// Those that were refused.
    pub(super) refused: u64,
    /// Sends after a kill, of what had been sent before it.
    pub(super) again: u64,
    /// Answers to those that said `duplicate`.
    pub(super) duplicates: u64,
    /// Events of all readings.
    pub(super) read: u64,
}

/// The book of one run.
#[derive(Debug)]
pub(super) struct Book {
    run: u64,
    kills: u32,
    publishers: usize,
    channels: Vec<Channel>,
    operations: Vec<Operation>,
    epochs: Vec<String>,
    readings: u32,
    /// By reader, then channel.
    positions: Vec<Vec<Option<Position>>>,
    pub(super) faults: Faults,
    pub(super) sums: Sums,
}

impl Book {
    pub(super) fn new(run: u64, publishers: usize, readers: usize, channels: &[String]) -> Self {
        let named = channels.iter().map(|name| Channel { name: name.clone(), ..Channel::default() });
        Self {
            run,
            kills: 0,
            publishers,
            channels: named.collect(),
            operations: Vec::new(),
            epochs: Vec::new(),
            readings: 0,
            positions: vec![vec![None; channels.len()]; readers],
            faults: Faults::default(),
            sums: Sums::default(),
        }
    }

    /// A publisher's next operation; its number. What it says follows from that.
    pub(super) fn begin(&mut self, publisher: usize, channel: usize, content_bytes: usize) -> u32 {
        let number = u32::try_from(self.operations.len()).unwrap_or(u32::MAX);
        let hash = hash(&self.content(number, content_bytes));
        let publisher = u32::try_from(publisher).unwrap_or(u32::MAX);
        self.operations.push(Operation { publisher, channel, hash, ..Operation::default() });
        self.channels[channel].operations.push(number);
        self.sums.sent += 1;
        number
    }

    /// It leaves, for the first time or again.
    pub(super) fn send(&mut self, number: u32) {
        let Some(operation) = self.operations.get_mut(index(number)) else { return };
        self.sums.again += u64::from(operation.sent > 0);
        operation.sent += 1;
        operation.awaited += 1;
    }

    /// The id under which it is sent.
    pub(super) fn id(&self, number: u32) -> String {
        format!("{:016x}-{number:08x}", self.run)
    }

    /// What it says: letters and digits that no other operation of any run has.
    pub(super) fn content(&self, number: u32, bytes: usize) -> String {
        let mut text = self.id(number);
        let mut chance = fastrand::Rng::with_seed(self.run ^ u64::from(number).rotate_left(32));
        while text.len() < bytes {
            text.push(chance.alphanumeric());
        }
        text
    }

    /// The operation of this id, if it is one of this run.
    pub(super) fn operation(&self, id: &str) -> Option<u32> {
        let (run, number) = id.split_once('-')?;
        let ours = u64::from_str_radix(run, 16).is_ok_and(|run| run == self.run);
        let number = u32::from_str_radix(number, 16).ok()?;
        (ours && index(number) < self.operations.len()).then_some(number)
    }

    /// The channel it went to, which is that of its answers.
    pub(super) fn channel_of(&self, number: u32) -> Option<usize> {
        self.operations.get(index(number)).map(|operation| operation.channel)
    }

    /// An event as the book keeps it.
    pub(super) fn event(&mut self, told: &Told<'_>) -> Event {
        let spot = Spot { epoch: self.epoch(told.epoch), seq: told.seq };
        Event { spot, operation: told.id.and_then(|id| self.operation(id)), hash: hash(told.content) }
    }

    /// An operation was acknowledged.
    pub(super) fn on_ack(&mut self, number: u32, ack: &Ack<'_>) {
        let spot = ack.place.map(|(epoch, seq)| Spot { epoch: self.epoch(epoch), seq });
        let Some(operation) = self.operations.get_mut(index(number)) else { return };
        let Operation { channel, hash, sent, acked, stored, .. } = *operation;
        if operation.awaited == 0 {
            return self.found(channel, What::AnsweredTwice { operation: number });
        }
        operation.awaited -= 1;
        // Where a reading found it, or else where it was acknowledged in vain.
        let holds = acked.is_so() && !operation.counted.lost;
        let known = stored.or_else(|| acked.spot().filter(|_| holds));
        let is_first = known.is_none() && !holds;
        operation.acked = acked.at(spot);
        self.sums.acked += u64::from(!acked.is_so());
        self.sums.duplicates += u64::from(ack.duplicate && sent > 1);
        if let Some(spot) = spot {
            self.claim(channel, Event { spot, operation: Some(number), hash });
        }
        if is_first == ack.duplicate {
            let (stored, answered) = (known.map(|spot| self.place(spot)), spot.map(|spot| self.place(spot)));
            let first = What::FirstAsDuplicate { operation: number, answered: answered.clone() };
            let again = What::DuplicateAsFirst { operation: number, stored, answered };
            self.found(channel, if is_first { first } else { again });
        } else if let (Some(known), Some(spot)) = (known, spot) {
            self.check_moved(number, known, spot);
        }
    }

    /// An operation was refused. That it is not kept is asked for only if it was sent once: the refusal of a second
    /// send says nothing of the first.
    pub(super) fn on_nack(&mut self, number: u32, retryable: bool) {
        let Some(operation) = self.operations.get_mut(index(number)) else { return };
        let channel = operation.channel;
        if operation.awaited == 0 {
            return self.found(channel, What::AnsweredTwice { operation: number });
        }
        operation.awaited -= 1;
        operation.refused = operation.sent == 1;
        let stored = operation.stored;
        self.sums.refused += 1;
        if let Some(stored) = stored.filter(|_| !retryable) {
            let stored = self.place(stored);
            self.found(channel, What::DuplicateRefused { operation: number, stored });
        }
    }

    /// The server is gone: nothing is answered any more. By publisher, what is to be sent again, in the order in which
    /// it was first sent: what has no answer, and the last that has one.
    pub(super) fn on_kill(&mut self) -> Vec<Vec<u32>> {
        self.kills += 1;
        let mut again = vec![Vec::new(); self.publishers];
        let mut acked = vec![0; self.publishers];
        for (number, operation) in (0..self.operations.len()).zip(&mut self.operations).rev() {
            let publisher = index(operation.publisher);
            let awaited = std::mem::take(&mut operation.awaited) > 0;
            let last = operation.acked.is_so() && !operation.counted.lost;
            if awaited && !operation.acked.is_so() {
                self.sums.unanswered += 1;
            } else if last && acked[publisher] < CRASH_SENT_AGAIN_COUNT {
                acked[publisher] += 1;
            } else {
                continue;
            }
            again[publisher].push(u32::try_from(number).unwrap_or(u32::MAX));
        }
        again.iter_mut().for_each(|numbers| numbers.reverse());
        again
    }

    /// What a reading made known to be lost is not sent again: it would only come back elsewhere.
    pub(super) fn is_lost(&self, number: u32) -> bool {
        self.operations.get(index(number)).is_some_and(|operation| operation.counted.lost)
    }

    /// The time for answers to what was sent again is over.
    pub(super) fn end_of_patience(&mut self) {
        let late = self.operations.iter_mut().enumerate().filter(|(_, operation)| operation.awaited > 0);
        let late = late.map(|(number, operation)| {
            operation.awaited = 0;
            (operation.channel, u32::try_from(number).unwrap_or(u32::MAX))
        });
        for (channel, operation) in late.collect::<Vec<_>>() {
            self.found(channel, What::Unanswered { operation });
        }
    }

    fn found(&mut self, channel: usize, what: What) {
        self.faults.add(self.kills, &self.channels[channel].name, what);
    }

    /// The number of an epoch's name. A server that has more of them than a run can have starts is not told apart.
    fn epoch(&mut self, name: &str) -> u32 {
        // The latest is asked for most.
        let known = self.epochs.iter().rposition(|epoch| epoch == name);
        let number = known.unwrap_or_else(|| {
            if self.epochs.len() < CRASH_EPOCHS_COUNT_MAX {
                self.epochs.push(name.to_owned());
            }
            self.epochs.len() - 1
        });
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    fn place(&self, spot: Spot) -> Place {
        Place { epoch: self.epochs.get(index(spot.epoch)).cloned().unwrap_or_default(), seq: spot.seq }
    }

    /// A number belongs to what was first seen under it. Whether it was free.
    fn claim(&mut self, channel: usize, event: Event) -> bool {
        let Event { spot: Spot { seq, .. }, operation, hash } = event;
        let fresh = Claim { operation, hash, disputed: false };
        let mut is_fresh = false;
        let claim = self.channels[channel].numbers.entry(seq).or_insert_with(|| {
            is_fresh = true;
            fresh
        });
        // The same operation with another content is told by another name.
        let same = claim.operation == operation && (operation.is_some() || claim.hash == hash);
        if !same && !std::mem::replace(&mut claim.disputed, true) {
            let first = claim.operation;
            self.found(channel, What::Reused { seq, first, then: operation });
        }
        is_fresh
    }

    /// What can be said of an event wherever it is seen: whose it is, whether it is what was sent, whose number it has.
    fn look(&mut self, channel: usize, event: Event) -> Option<u32> {
        let is_fresh = self.claim(channel, event);
        let own = event.operation.filter(|&number| self.channel_of(number) == Some(channel));
        let Some(number) = own else {
            if is_fresh {
                let at = self.place(event.spot);
                self.found(channel, What::Unknown { at });
            }
            return None;
        };
        let operation = &mut self.operations[index(number)];
        if operation.hash != event.hash && !std::mem::replace(&mut operation.counted.altered, true) {
            let at = self.place(event.spot);
            self.found(channel, What::Altered { operation: number, at });
        }
        Some(number)
    }

    fn check_moved(&mut self, number: u32, said: Spot, found: Spot) {
        let operation = &mut self.operations[index(number)];
        if said != found && !std::mem::replace(&mut operation.counted.moved, true) {
            let channel = operation.channel;
            let (said, found) = (self.place(said), self.place(found));
            self.found(channel, What::Moved { operation: number, said, found });
        }
    }
}

/// The hash of a content.
fn hash(content: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(content.as_bytes());
    hasher.finish()
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
