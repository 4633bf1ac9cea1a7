//! Did every member of a room get every publish of it, once, and in the order the others got them?
//!
//! Three independent looks at each delivery: per (member, publisher) the publisher's own count must rise by one; per
//! room the members' orders are compared with a shared log of what came first; per member the server's `seq` must be
//! gapless where the frame carries one. Each fault is counted once and under one name: what is missing until the end
//! is lost, what comes after a later one of the same publisher is out of order, what comes again is duplicated. Two
//! publishes of different publishers that one member got in one order and another in the other are out of order once,
//! however many members got them so: who is right cannot be told. `findings` names the first of each kind.
//!
//! A member is owed what is published while it is joined: from the moment the server said so until its connection ends.
//! What was sent before that and is still under way may come or not; once one of it came, all behind it must. A member
//! that goes and comes back to where it was is not closed meanwhile: it is owed all that it missed. Members
//! that read slowly on purpose are exempt: they may miss, but get nothing twice and nothing backwards.
//!
//! What a server does not promise is not asked of it (`Promise`): an order that it does not keep, its own publishes back
//! at the publisher, or kinds of messages that it may leave out. The last have a book of their own, `loose`, in which
//! every member is exempt.
//!
//! Memory is four bytes per (member, publisher), and bounded logs; sets of missing numbers exist only after a fault.

mod faults;
mod findings;
mod order;

use std::collections::{HashMap, VecDeque};

use crate::adapter::Order;
use crate::limits::{MISSING_COUNT_MAX, ORDER_LOG_COUNT_MAX};

pub use faults::Faults;
use findings::Findings;
pub use findings::{Finding, Publish, What};

/// Size of one room as the checker needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomShape {
    /// Members; all of them get every publish.
    pub members: u32,
    /// The first so many members publish.
    pub publishers: u32,
}

/// What a server promises of a room's publishes. The order of two publishers is compared only between members that get
/// everything, their own publishes too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// The publisher is among those who get a publish.
    pub to_sender: bool,
    /// What order is kept.
    pub order: Order,
}

impl Default for Promise {
    fn default() -> Self {
        Self { to_sender: true, order: Order::Room }
    }
}

/// What one delivery turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The first time this member gets this publish, in order or late.
    Fresh,
    /// Not for this member, or not for the first time: counted, to be ignored.
    Faulty,
}

/// The book of one run.
#[derive(Debug)]
pub struct Checker {
    rooms: Vec<Room>,
    members: Vec<Member>,
    /// Highest number had, per room, member and publisher; with `NONE_YET` where the member joined.
    cells: Vec<u32>,
    missing: HashMap<usize, Vec<u32>>,
    /// Cells of members that got something from before they joined: the number up to which it was under way then.
    catching_up: HashMap<usize, u32>,
    /// Deliveries expected so far minus those had.
    pending: u64,
    faults: Faults,
    findings: Findings,
    /// The same for kinds of messages that the server may leave out, if there are any.
    loose: Option<Box<Self>>,
}

#[derive(Debug)]
struct Room {
    shape: RoomShape,
    promise: Promise,
    members_at: usize,
    cells_at: usize,
    /// Highest number published, per publisher.
    published: Vec<u32>,
    /// The same when the last member came or went: what was sent by then may reach members of which nobody had all, so
    /// its order is not known for sure.
    settled: Vec<u32>,
    /// Events in the order they were first delivered in.
    log: VecDeque<Entry>,
    /// Number of the log's first entry.
    log_base: u64,
    /// End of what left the log because it was full.
    dropped: u64,
    members_open: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    publisher: u32,
    seq: u32,
    /// Joined members that are past this entry or need not pass it.
    passed: u32,
    /// Members had it in two orders, which was counted.
    disputed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Member {
    /// Number of the log entry this member should get next; `None` until it got its first.
    cursor: Option<u64>,
    /// End of the log when it joined: it need not pass what stands before.
    joined_at: u64,
    server_seq: Option<u64>,
    joined: bool,
    exempt: bool,
}

/// Bit of a cell whose number is what had been published when the member joined, not what it had.
const NONE_YET: u32 = 1 << 31;

impl Checker {
    /// A book with nothing in it, for a server that promises everything.
    #[must_use]
    pub fn new(shapes: &[RoomShape]) -> Self {
        let rooms: Vec<(RoomShape, Promise)> = shapes.iter().map(|&shape| (shape, Promise::default())).collect();
        Self::with_promises(&rooms, false)
    }

    /// A book with nothing in it. `loose`: there are kinds of messages that the server may leave out.
    #[must_use]
    pub fn with_promises(promises: &[(RoomShape, Promise)], loose: bool) -> Self {
        let (mut members_at, mut cells_at) = (0, 0);
        let rooms = promises.iter().map(|&(shape, promise)| {
            let room = Room {
                shape,
                promise,
                members_at,
                cells_at,
                published: vec![0; index(shape.publishers)],
                settled: vec![0; index(shape.publishers)],
                log: VecDeque::new(),
                log_base: 0,
                dropped: 0,
                members_open: 0,
            };
            members_at += index(shape.members);
            cells_at += index(shape.members) * index(shape.publishers);
            room
        });
        let rooms = rooms.collect();
        Self {
            rooms,
            members: vec![Member::default(); members_at],
            cells: vec![0; cells_at],
            missing: HashMap::new(),
            catching_up: HashMap::new(),
            pending: 0,
            faults: Faults::default(),
            findings: Findings::default(),
            loose: loose.then(|| Box::new(Self::of_exempt(promises))),
        }
    }

    fn of_exempt(promises: &[(RoomShape, Promise)]) -> Self {
        let mut checker = Self::with_promises(promises, false);
        checker.members.iter_mut().for_each(|member| member.exempt = true);
        checker
    }

    /// A publisher sent its next message; returns its number.
    pub fn publish(&mut self, room: u32, publisher: u32) -> u32 {
        self.pending += u64::from(self.receivers(room, publisher));
        let room = &mut self.rooms[index(room)];
        let published = &mut room.published[index(publisher)];
        *published += 1;
        if !room.promise.to_sender {
            // The publisher needs no delivery to know of it.
            let cell = room.cells_at + index(publisher) * index(room.shape.publishers) + index(publisher);
            self.cells[cell] = *published;
        }
        *published
    }

    /// What was found so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.loose.as_ref().map_or(self.faults, |loose| self.faults.plus(loose.faults))
    }

    /// The same for a message of a kind that the server may leave out; 0 if there is no such kind.
    pub fn publish_loose(&mut self, room: u32, publisher: u32) -> u32 {
        self.loose.as_mut().map_or(0, |loose| loose.publish(room, publisher))
    }

    /// Members that are owed what this publisher publishes now.
    #[must_use]
    pub fn receivers(&self, room: u32, publisher: u32) -> u32 {
        let place = &self.rooms[index(room)];
        let own = self.members[place.members_at + index(publisher)];
        place.members_open - u32::from(!place.promise.to_sender && own.joined && !own.exempt)
    }

    /// Deliveries still expected.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Highest number a publisher of the room sent.
    #[must_use]
    pub fn published(&self, room: u32, publisher: u32) -> u32 {
        self.rooms[index(room)].published.get(index(publisher)).copied().unwrap_or(0)
    }

    /// The body of a delivery was not readable.
    pub fn on_corrupt(&mut self, room: u32, member: u32) {
        self.faults.corrupted += 1;
        self.findings.add(room, member, What::Corrupted);
    }

    /// A delivery belongs to another room: the publish of so a number of a connection of the run.
    pub fn on_wrong_room(&mut self, room: u32, member: u32, connection: u32, number: u32) {
        self.faults.wrong_room += 1;
        self.findings.add(room, member, What::WrongRoom { connection, number });
    }

    /// A sampled frame was no JSON.
    pub fn on_bad_json(&mut self, room: u32, member: u32) {
        self.faults.json += 1;
        self.findings.add(room, member, What::Json);
    }

    /// A member may miss what it should get, because it reads slowly on purpose.
    pub fn exempt(&mut self, room: u32, member: u32) {
        self.member(room, member).exempt = true;
    }

    /// A member starts at the server's position `seq`.
    pub fn on_subscribed(&mut self, room: u32, member: u32, seq: u64) {
        self.member(room, member).server_seq = Some(seq);
    }

    /// The last of the server's numbers that a member had.
    #[must_use]
    pub fn server_seq(&self, room: u32, member: u32) -> Option<u64> {
        self.members[self.rooms[index(room)].members_at + index(member)].server_seq
    }

    /// The server's sequence number of a delivery or of any other event of the room.
    pub fn on_server_seq(&mut self, room: u32, member: u32, seq: u64) {
        let own = self.member(room, member);
        let had = own.server_seq.replace(seq);
        if let Some(before) = had.filter(|had| had + 1 != seq && !own.exempt) {
            self.faults.seq_gaps += 1;
            self.findings.add(room, member, What::SeqGap { before, came: seq });
        }
    }

    /// The server said that a member is in the room: what is published from now on is owed to it.
    pub fn on_joined(&mut self, room: u32, member: u32) {
        if let Some(loose) = &mut self.loose {
            loose.on_joined(room, member);
        }
        let place = &mut self.rooms[index(room)];
        let joined = &mut self.members[place.members_at + index(member)];
        if std::mem::replace(&mut joined.joined, true) {
            return;
        }
        let cells_at = place.cells_at + index(member) * place.published.len();
        for (cell, &published) in self.cells[cells_at..].iter_mut().zip(&place.published) {
            *cell = published | NONE_YET;
        }
        if joined.exempt {
            return;
        }
        place.members_open += 1;
        place.settled.clone_from(&place.published);
        joined.cursor = None;
        joined.joined_at = place.log_base + position(place.log.len());
        for entry in &mut place.log {
            entry.passed += 1;
        }
    }

    /// A member's connection ended: nothing more is expected of it.
    pub fn on_closed(&mut self, room: u32, member: u32) {
        if let Some(loose) = &mut self.loose {
            loose.on_closed(room, member);
        }
        let place = &mut self.rooms[index(room)];
        let closed = &mut self.members[place.members_at + index(member)];
        closed.server_seq = None;
        if !std::mem::replace(&mut closed.joined, false) || closed.exempt {
            return;
        }
        let Member { cursor, joined_at, .. } = *closed;
        place.members_open -= 1;
        place.settled.clone_from(&place.published);
        let counted = cursor.unwrap_or(0).max(joined_at).saturating_sub(place.log_base);
        for entry in place.log.iter_mut().take(usize::try_from(counted).unwrap_or(usize::MAX)) {
            entry.passed = entry.passed.saturating_sub(1);
        }
        place.trim();
        let owed = self.owed(index(room), member);
        self.pending = self.pending.saturating_sub(owed);
        self.faults.owed_to_closed += owed;
        if !self.missing.is_empty() || !self.catching_up.is_empty() {
            let place = &self.rooms[index(room)];
            let cells_at = place.cells_at + index(member) * place.published.len();
            for cell in cells_at..cells_at + place.published.len() {
                self.missing.remove(&cell);
                self.catching_up.remove(&cell);
            }
        }
    }

    /// Publishes of the room that a member is owed and has not had.
    #[must_use]
    pub fn lacks(&self, room: u32, member: u32) -> u64 {
        self.owed(index(room), member)
    }

    /// Whether a room has anybody at all.
    #[must_use]
    pub fn has_members(&self, room: u32) -> bool {
        self.rooms.get(index(room)).is_some_and(|room| room.shape.members > 0)
    }

    /// Members that get what is published now.
    #[must_use]
    pub fn members_open(&self, room: u32) -> u32 {
        self.rooms[index(room)].members_open
    }

    /// The highest number of a publisher that a member had; 0 before its first.
    #[must_use]
    pub fn had(&self, room: u32, member: u32, publisher: u32) -> u32 {
        let place = &self.rooms[index(room)];
        let cell = self.cells[place.cells_at + index(member) * place.published.len() + index(publisher)];
        if cell & NONE_YET == 0 { cell } else { 0 }
    }

    fn member(&mut self, room: u32, member: u32) -> &mut Member {
        let at = self.rooms[index(room)].members_at + index(member);
        &mut self.members[at]
    }

    /// A member got a message of a kind that the server may leave out.
    pub fn deliver_loose(&mut self, room: u32, member: u32, publisher: u32, seq: u32) -> Verdict {
        let loose = self.loose.as_mut();
        loose.map_or(Verdict::Faulty, |loose| loose.deliver(room, member, publisher, seq))
    }

    /// A member got a publish.
    pub fn deliver(&mut self, room: u32, member: u32, publisher: u32, seq: u32) -> Verdict {
        let place = &self.rooms[index(room)];
        if publisher >= place.shape.publishers || seq == 0 || seq > place.published[index(publisher)] {
            // The hash was right, so it is somebody's, but not of this run.
            self.faults.corrupted += 1;
            self.findings.add(room, member, What::NeverSent(Publish { publisher, number: seq }));
            return Verdict::Faulty;
        }
        let Member { joined, exempt, .. } = self.members[place.members_at + index(member)];
        let cell = place.cells_at + index(member) * place.published.len() + index(publisher);
        if !joined {
            // Nothing is owed to it yet.
            return Verdict::Fresh;
        }
        let (had, first) = (self.cells[cell] & !NONE_YET, self.cells[cell] & NONE_YET != 0);
        let (mut late, mut early) = (false, false);
        if first && seq <= had {
            // It was under way when the member joined; all behind it is owed from here.
            self.cells[cell] = seq;
            early = true;
            if !exempt {
                self.pending += u64::from(had - seq) + 1;
                self.catching_up.insert(cell, had);
            }
        } else if seq > had {
            self.cells[cell] = seq;
            if seq > had + 1 && !exempt {
                self.note_missing((room, member, publisher), cell, had + 1..seq);
            }
        } else {
            let missing = self.missing.get_mut(&cell);
            let Some((missing, at)) = missing.and_then(|list| {
                let at = list.iter().position(|&missing| missing == seq)?;
                Some((list, at))
            }) else {
                self.faults.duplicated += 1;
                self.findings.add(room, member, What::Duplicated(Publish { publisher, number: seq }));
                return Verdict::Faulty;
            };
            missing.swap_remove(at);
            if place.promise.order != Order::None {
                self.faults.out_of_order += 1;
                let late = Publish { publisher, number: seq };
                self.findings.add(room, member, What::OutOfOrder { late, after: had });
            }
            late = true;
        }
        if !exempt {
            self.pending = self.pending.saturating_sub(1);
            if let Some(&end) = self.catching_up.get(&cell) {
                early |= seq <= end;
                if seq >= end {
                    self.catching_up.remove(&cell);
                }
            }
            // Views that each lack something else do not make up one order to compare with.
            if self.rooms[index(room)].promise == Promise::default() {
                self.compare_order(room, member, (publisher, seq), late, early);
            }
        }
        Verdict::Fresh
    }

    /// Counts what is still missing as lost and closes the book. Returns what was found, and the first of each kind.
    #[must_use]
    pub fn finish(mut self) -> (Faults, Vec<Finding>) {
        for (number, room) in (0..).zip(0..self.rooms.len()) {
            for member in 0..self.rooms[room].shape.members {
                let Member { joined, exempt, .. } = self.members[self.rooms[room].members_at + index(member)];
                let owed = if joined && !exempt { self.owed(room, member) } else { 0 };
                self.faults.lost += owed;
                if owed > 0 {
                    self.name_lost(number, member);
                }
            }
        }
        let mut findings = self.findings.into_vec();
        let faults = self.loose.map_or(self.faults, |loose| {
            let (faults, others) = loose.finish();
            findings.extend(others);
            self.faults.plus(faults)
        });
        (faults, findings)
    }

    /// Names what a member lacks.
    fn name_lost(&mut self, room: u32, member: u32) {
        let place = &self.rooms[index(room)];
        let cells_at = place.cells_at + index(member) * place.published.len();
        for ((publisher, cell), &published) in (0..).zip(cells_at..).zip(&place.published) {
            let mut numbers = self.missing.get(&cell).cloned().unwrap_or_default();
            // All behind the last that came is one row.
            let (first, last) = ((self.cells[cell] & !NONE_YET) + 1, published);
            numbers.retain(|&number| number < first);
            self.findings.add_lost(room, member, publisher, numbers);
            if first <= last {
                self.findings.add(room, member, What::Lost { publisher, first, last });
            }
        }
    }

    /// Publishes of the room that the member has not had.
    fn owed(&self, room: usize, member: u32) -> u64 {
        let room = &self.rooms[room];
        let cells_at = room.cells_at + index(member) * room.published.len();
        let mut owed = 0;
        for (cell, &published) in (cells_at..).zip(&room.published) {
            owed += u64::from(published - (self.cells[cell] & !NONE_YET));
            owed += self.missing.get(&cell).map_or(0, |list| u64::try_from(list.len()).unwrap_or(u64::MAX));
        }
        owed
    }

    fn note_missing(&mut self, who: (u32, u32, u32), cell: usize, numbers: std::ops::Range<u32>) {
        let list = self.missing.entry(cell).or_default();
        let spare = u32::try_from(MISSING_COUNT_MAX.saturating_sub(list.len())).unwrap_or(u32::MAX);
        let kept = numbers.start..numbers.end.min(numbers.start.saturating_add(spare));
        let over = kept.end..numbers.end;
        list.extend(kept);
        if !over.is_empty() {
            let count = u64::from(over.end - over.start);
            self.faults.lost += count;
            self.pending = self.pending.saturating_sub(count);
            let (room, member, publisher) = who;
            self.findings.add(room, member, What::Lost { publisher, first: over.start, last: over.end - 1 });
        }
    }
}

impl Room {
    /// Forgets what every member passed, and what is over the bound.
    fn trim(&mut self) {
        while let Some(front) = self.log.front()
            && (front.passed >= self.members_open || self.log.len() > ORDER_LOG_COUNT_MAX)
        {
            self.log_base += 1;
            if front.passed < self.members_open {
                self.dropped = self.log_base;
            }
            self.log.pop_front();
        }
    }
}

fn position(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
