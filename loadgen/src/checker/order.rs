//! The order of different publishers' messages, compared between the members of a room.
//!
//! A room has one log: its publishes in the order in which they were first delivered to anybody, each until every member
//! is past it. A member's delivery must be found where its place in the log says, or behind it; what it passes without
//! having had it stays until it comes. Two publishes that a member gets in another order than the log has them are
//! disputed if another member had both, and counted once. If nobody had both, the log was only guessing, as it must when
//! a member has lost something and nobody knows it yet: then the log is put right.

use std::collections::VecDeque;

use crate::checker::{Checker, Entry, Member, NONE_YET, Publish, Room, What, index, position};

impl Checker {
    /// Compares with what other members got. `late`: already counted as out of order; `early`: sent before it joined.
    pub(super) fn compare_order(&mut self, room: u32, member: u32, which: (u32, u32), late: bool, early: bool) {
        let room_number = room;
        let room = &mut self.rooms[index(room)];
        let members = &mut self.members[room.members_at..room.members_at + index(room.shape.members)];
        let publishers = room.published.len();
        let (cells, missing) = (&self.cells[room.cells_at..], &self.missing);
        let cells_at = room.cells_at;
        let owed = |member: usize, entry: (u32, u32)| {
            let cell = member * publishers + index(entry.0);
            owes(cells[cell], entry.1, missing.get(&(cells_at + cell)))
        };
        let same = |entry: &Entry| (entry.publisher, entry.seq) == which;
        let Member { cursor, joined_at, .. } = members[index(member)];
        let base = room.log_base;
        // From where the log is looked at, and the place where this delivery should stand.
        let (from, at) = match cursor {
            Some(cursor) if cursor >= base => (cursor, offset(cursor, base)),
            behind if !early && (behind.is_some() || joined_at < room.dropped) => {
                self.faults.order_unchecked += 1;
                (base, 0)
            }
            // Its first says where it stands.
            _ => match room.log.iter().position(same) {
                None if early => return members[index(member)].cursor = None,
                found => (joined_at.max(base), found.unwrap_or_else(|| offset(joined_at, base))),
            },
        };
        let found = match room.log.get(at) {
            Some(entry) if same(entry) => Some(at),
            _ => room.log.iter().position(same),
        };
        if let Some(found) = found {
            if base + position(found) >= joined_at {
                room.log[found].passed += 1;
            }
            // That this member had it late is counted already, whatever else it came behind.
            room.log[found].disputed |= late;
            let end = base + position(found) + 1;
            if found < at && !late {
                match settle(room, members, index(member), (found, at), owed) {
                    Dispute::New(after) => {
                        self.faults.out_of_order += 1;
                        let late = Publish { publisher: which.0, number: which.1 };
                        self.findings.add(room_number, member, What::Disputed { late, after });
                    }
                    Dispute::Known | Dispute::Settled => {}
                    Dispute::Unsure => self.faults.order_unchecked += 1,
                }
            }
            // What is skipped but owed stays in the log, so that it is known when it comes later.
            pass_unowed(&mut room.log, offset(from.max(joined_at), base)..found, |entry| owed(index(member), entry));
            members[index(member)].cursor = Some(end.max(base + position(at)));
        } else {
            // Nobody has had it: it stands before what this member has still to get, and behind what it need not get or
            // is known to have missed.
            let cell = |entry: &Entry| cells[index(member) * publishers + index(entry.publisher)];
            let lacks = |entry: &Entry| owes(cell(entry), entry.seq, None);
            let at = room.log.iter().skip(at).position(lacks).map_or(room.log.len(), |skipped| at + skipped);
            // A late one stands before the publisher's next, wherever that is: the fault is this member's alone.
            let next = |entry: &Entry| entry.publisher == which.0 && entry.seq > which.1;
            let at = room.log.iter().position(next).filter(|_| late).map_or(at, |next| next.min(at));
            pass_unowed(&mut room.log, offset(from.max(joined_at), base)..at, |entry| owed(index(member), entry));
            let here = base + position(at);
            let owed = |number: usize| owed(number, which);
            let passed = if at < room.log.len() { shift(members, index(member), here, owed) } else { 1 };
            room.log.insert(at, Entry { publisher: which.0, seq: which.1, passed, disputed: late });
            let own = &mut members[index(member)];
            own.cursor = Some(own.cursor.map_or(here, |cursor| cursor.max(here)) + 1);
            own.joined_at += u64::from(here < own.joined_at);
        }
        room.trim();
    }
}

/// Moves everybody's place by the entry that the member `own` puts in at `here`; returns how many are past it.
fn shift(members: &mut [Member], own: usize, here: u64, owed: impl Fn(usize) -> bool) -> u32 {
    let mut passed = 1;
    for (number, other) in members.iter_mut().enumerate().filter(|(_, other)| other.joined) {
        let behind = number == own || other.exempt;
        if !behind && other.cursor.is_some_and(|cursor| cursor > here) {
            // Past this point: unless it was sent before it joined, it lacks it.
            other.cursor = other.cursor.map(|cursor| cursor + 1);
            passed += u32::from(here < other.joined_at || !owed(number));
            other.joined_at += u64::from(here < other.joined_at);
        } else if !behind && here < other.joined_at {
            other.joined_at += 1;
            passed += 1;
        }
    }
    passed
}

/// What a delivery behind its place in the log is.
enum Dispute {
    /// Behind this one, which another member had after it.
    New(Publish),
    /// One of the two is known to have been had in two orders.
    Known,
    /// Nobody had both: the log is put right.
    Settled,
    /// It is not known for sure where it stands.
    Unsure,
}

/// Looks whether the delivery whose place in the log is `found` came behind something that stands between that and `at`.
fn settle(
    room: &mut Room,
    members: &mut [Member],
    own: usize,
    (mut found, at): (usize, usize),
    owed: impl Fn(usize, (u32, u32)) -> bool,
) -> Dispute {
    let which = |entry: &Entry| (entry.publisher, entry.seq);
    let sure = |room: &Room, entry: &Entry| entry.seq > room.settled[index(entry.publisher)];
    let had = |number: usize, entry: &Entry| !owed(number, which(entry));
    let own_had = |room: &Room, later: usize| sure(room, &room.log[later]) && had(own, &room.log[later]);
    let later: Vec<usize> = (found + 1..at).filter(|&later| own_had(room, later)).collect();
    if later.is_empty() || !sure(room, &room.log[found]) {
        return Dispute::Unsure;
    }
    let vouched = |members: &[Member], one: &Entry, other: &Entry| {
        let mut others = members.iter().enumerate().filter(|(number, of)| *number != own && of.joined && !of.exempt);
        others.any(|(number, _)| had(number, one) && had(number, other))
    };
    let known = room.log[found].disputed || later.iter().any(|&later| room.log[later].disputed);
    let turned = later.iter().rev().find(|&&later| vouched(members, &room.log[found], &room.log[later]));
    if known || turned.is_some() {
        room.log[found].disputed = true;
        let Some(&turned) = turned else { return Dispute::Known };
        room.log[turned].disputed = true;
        let Entry { publisher, seq: number, .. } = room.log[turned];
        return if known { Dispute::Known } else { Dispute::New(Publish { publisher, number }) };
    }
    let stays = |room: &Room, later: usize| {
        room.log.range(found + 1..later).all(|between| !vouched(members, between, &room.log[later]))
    };
    if later.iter().all(|&later| stays(room, later)) {
        for later in later {
            move_entry(room, members, later, found);
            found += 1;
        }
        return Dispute::Settled;
    }
    Dispute::Unsure
}

/// Moves an entry of the log to an earlier place, and with it everybody's place who is between: what stood before it there
/// stands behind it now.
fn move_entry(room: &mut Room, members: &mut [Member], from: usize, to: usize) {
    let Some(entry) = room.log.remove(from) else { return };
    room.log.insert(to, entry);
    let between = room.log_base + position(to) + 1..=room.log_base + position(from);
    for member in members.iter_mut().filter(|member| member.joined) {
        member.cursor = member.cursor.map(|cursor| cursor + u64::from(between.contains(&cursor)));
        member.joined_at += u64::from(between.contains(&member.joined_at));
    }
}

/// Whether a member whose cell is `cell` still has to get a publisher's number `seq`.
fn owes(cell: u32, seq: u32, missing: Option<&Vec<u32>>) -> bool {
    seq > cell & !NONE_YET || missing.is_some_and(|list| list.contains(&seq))
}

/// Entries that a member skips and need not get are behind it.
fn pass_unowed(log: &mut VecDeque<Entry>, range: std::ops::Range<usize>, owed: impl Fn((u32, u32)) -> bool) {
    for entry in log.range_mut(range.start.min(range.end)..range.end) {
        entry.passed += u32::from(!owed((entry.publisher, entry.seq)));
    }
}

fn offset(number: u64, base: u64) -> usize {
    usize::try_from(number.saturating_sub(base)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
