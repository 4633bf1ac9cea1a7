//! Did every member of a room get every publish of it, once, and in the order the others got them?
//!
//! Three independent looks at each delivery: per (member, publisher) the publisher's own count must rise by one; per
//! room the members' orders are compared with a shared log of what came first; per member the server's `seq` must be
//! gapless where the frame carries one. Each fault is counted once and under one name: what is missing until the end
//! is lost, what comes after something later is out of order, what comes again is duplicated.
//!
//! Memory is four bytes per (member, publisher), and bounded logs; sets of missing numbers exist only after a fault.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::limits::{MISSING_COUNT_MAX, ORDER_LOG_COUNT_MAX};

/// Size of one room as the checker needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomShape {
    /// Members; all of them get every publish.
    pub members: u32,
    /// The first so many members publish.
    pub publishers: u32,
}

/// What was found. All but `received` and `order_unchecked` should be 0.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// Publishes that never reached a member, counted per member.
    pub lost: u64,
    /// Deliveries that a member had already had.
    pub duplicated: u64,
    /// Deliveries that came after a later one, of the publisher or in the room's order.
    pub out_of_order: u64,
    /// Bodies that are not what was published.
    pub corrupted: u64,
    /// Deliveries to a connection that is not in the room.
    pub wrong_room: u64,
    /// Places where the server's own sequence number did not rise by one.
    pub seq_gaps: u64,
    /// Sampled frames that are no JSON, or do not hold the body as a string.
    pub json: u64,
    /// Deliveries whose place in the room's order had left the bounded log; no fault.
    pub order_unchecked: u64,
    /// Publishes owed to members whose connection ended; the end itself is the fault.
    pub owed_to_closed: u64,
}

impl Faults {
    /// Whether a run with these passes.
    #[must_use]
    pub fn none(&self) -> bool {
        let Self { lost, duplicated, out_of_order, corrupted, wrong_room, seq_gaps, json, .. } = *self;
        lost + duplicated + out_of_order + corrupted + wrong_room + seq_gaps + json == 0
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
    /// Highest number had, per room, member and publisher.
    cells: Vec<u32>,
    missing: HashMap<usize, Vec<u32>>,
    /// Deliveries expected so far minus those had.
    pending: u64,
    faults: Faults,
}

#[derive(Debug)]
struct Room {
    shape: RoomShape,
    members_at: usize,
    cells_at: usize,
    /// Highest number published, per publisher.
    published: Vec<u32>,
    /// Events in the order they were first delivered in.
    log: VecDeque<Entry>,
    /// Number of the log's first entry.
    log_base: u64,
    members_open: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    publisher: u32,
    seq: u32,
    /// Members past this entry.
    passed: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Member {
    /// Number of the log entry this member should get next.
    cursor: u64,
    server_seq: Option<u64>,
    closed: bool,
}

impl Checker {
    /// A book with nothing in it.
    #[must_use]
    pub fn new(shapes: &[RoomShape]) -> Self {
        let (mut members_at, mut cells_at) = (0, 0);
        let rooms = shapes.iter().map(|&shape| {
            let room = Room {
                shape,
                members_at,
                cells_at,
                published: vec![0; index(shape.publishers)],
                log: VecDeque::new(),
                log_base: 0,
                members_open: shape.members,
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
            pending: 0,
            faults: Faults::default(),
        }
    }

    /// A publisher sent its next message; returns its number.
    pub fn publish(&mut self, room: u32, publisher: u32) -> u32 {
        let room = &mut self.rooms[index(room)];
        self.pending += u64::from(room.members_open);
        let published = &mut room.published[index(publisher)];
        *published += 1;
        *published
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
    pub fn on_corrupt(&mut self) {
        self.faults.corrupted += 1;
    }

    /// A delivery belongs to another room.
    pub fn on_wrong_room(&mut self) {
        self.faults.wrong_room += 1;
    }

    /// A sampled frame was no JSON.
    pub fn on_bad_json(&mut self) {
        self.faults.json += 1;
    }

    /// A member starts at the server's position `seq`.
    pub fn on_subscribed(&mut self, room: u32, member: u32, seq: u64) {
        let at = self.rooms[index(room)].members_at + index(member);
        self.members[at].server_seq = Some(seq);
    }

    /// The server's sequence number of a delivery or of any other event of the room.
    pub fn on_server_seq(&mut self, room: u32, member: u32, seq: u64) {
        let at = self.rooms[index(room)].members_at + index(member);
        let had = self.members[at].server_seq.replace(seq);
        if had.is_some_and(|had| had + 1 != seq) {
            self.faults.seq_gaps += 1;
        }
    }

    /// A member's connection ended: nothing more is expected of it.
    pub fn on_closed(&mut self, room: u32, member: u32) {
        let place = &mut self.rooms[index(room)];
        let closed = &mut self.members[place.members_at + index(member)].closed;
        if std::mem::replace(closed, true) {
            return;
        }
        place.members_open -= 1;
        let owed = self.owed(index(room), member);
        self.pending = self.pending.saturating_sub(owed);
        self.faults.owed_to_closed += owed;
    }

    /// A member got a publish.
    pub fn deliver(&mut self, room: u32, member: u32, publisher: u32, seq: u32) -> Verdict {
        let place = &self.rooms[index(room)];
        if publisher >= place.shape.publishers || seq == 0 || seq > place.published[index(publisher)] {
            // The hash was right, so it is somebody's, but not of this run.
            self.faults.corrupted += 1;
            return Verdict::Faulty;
        }
        let cell = place.cells_at + index(member) * index(place.shape.publishers) + index(publisher);
        let had = self.cells[cell];
        let mut late = false;
        if seq > had {
            self.cells[cell] = seq;
            if seq > had + 1 {
                self.note_missing(cell, had + 1..seq);
            }
        } else {
            let missing = self.missing.get_mut(&cell);
            let Some((missing, at)) = missing.and_then(|list| {
                let at = list.iter().position(|&missing| missing == seq)?;
                Some((list, at))
            }) else {
                self.faults.duplicated += 1;
                return Verdict::Faulty;
            };
            missing.swap_remove(at);
            self.faults.out_of_order += 1;
            late = true;
        }
        self.pending = self.pending.saturating_sub(1);
        self.compare_order(room, member, publisher, seq, late);
        Verdict::Fresh
    }

    /// Counts what is still missing as lost and closes the book.
    #[must_use]
    pub fn finish(mut self) -> Faults {
        for room in 0..self.rooms.len() {
            for member in 0..self.rooms[room].shape.members {
                if !self.members[self.rooms[room].members_at + index(member)].closed {
                    self.faults.lost += self.owed(room, member);
                }
            }
        }
        self.faults
    }

    /// Publishes of the room that the member has not had.
    fn owed(&self, room: usize, member: u32) -> u64 {
        let room = &self.rooms[room];
        let cells_at = room.cells_at + index(member) * room.published.len();
        let mut owed = 0;
        for (cell, &published) in (cells_at..).zip(&room.published) {
            owed += u64::from(published - self.cells[cell]);
            owed += self.missing.get(&cell).map_or(0, |list| u64::try_from(list.len()).unwrap_or(u64::MAX));
        }
        owed
    }

    fn note_missing(&mut self, cell: usize, numbers: std::ops::Range<u32>) {
        let list = self.missing.entry(cell).or_default();
        for number in numbers {
            if list.len() < MISSING_COUNT_MAX {
                list.push(number);
            } else {
                self.faults.lost += 1;
                self.pending = self.pending.saturating_sub(1);
            }
        }
    }

    /// Compares with what other members got. `late` says that the delivery was already counted as out of order.
    fn compare_order(&mut self, room: u32, member: u32, publisher: u32, seq: u32, late: bool) {
        let room = &mut self.rooms[index(room)];
        let members = &mut self.members[room.members_at..room.members_at + index(room.shape.members)];
        let cursor = &mut members[index(member)].cursor;
        if *cursor < room.log_base {
            self.faults.order_unchecked += 1;
            *cursor = room.log_base;
        }
        let at = usize::try_from(*cursor - room.log_base).unwrap_or(usize::MAX);
        let same = |entry: &Entry| entry.publisher == publisher && entry.seq == seq;
        let found = match room.log.get(at) {
            Some(entry) if same(entry) => Some(at),
            _ => room.log.iter().position(same),
        };
        match found {
            Some(found) => {
                room.log[found].passed += 1;
                if found >= at {
                    // What is skipped stays in the log, so that it is known when it comes later.
                    *cursor += position(found - at) + 1;
                } else {
                    self.faults.out_of_order += u64::from(!late);
                }
            }
            None => {
                // Nobody has had it: it stands before what this member lacks, and members past that point lack it.
                room.log.insert(at, Entry { publisher, seq, passed: 1 });
                *cursor += 1;
                let end = room.log_base + position(at);
                if at + 1 < room.log.len() {
                    for (_, other) in
                        (0..).zip(members).filter(|(number, other)| *number != member && other.cursor > end)
                    {
                        other.cursor += 1;
                    }
                }
            }
        }
        room.trim();
    }
}

impl Room {
    /// Forgets what every member passed, and what is over the bound.
    fn trim(&mut self) {
        while let Some(front) = self.log.front()
            && (front.passed >= self.members_open || self.log.len() > ORDER_LOG_COUNT_MAX)
        {
            self.log.pop_front();
            self.log_base += 1;
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
mod tests {
    use super::*;

    const NONE: Faults = Faults {
        lost: 0,
        duplicated: 0,
        out_of_order: 0,
        corrupted: 0,
        wrong_room: 0,
        seq_gaps: 0,
        json: 0,
        order_unchecked: 0,
        owed_to_closed: 0,
    };

    /// One room of three, all publish; `sent` publishes in turn by publisher 0, 1, 2; then `(member, publisher, seq)`.
    fn check(sent: u32, deliveries: &[(u32, u32, u32)], expected: Faults) {
        let mut checker = Checker::new(&[RoomShape { members: 3, publishers: 3 }]);
        for number in 0..sent {
            checker.publish(0, number % 3);
        }
        for &(member, publisher, seq) in deliveries {
            checker.deliver(0, member, publisher, seq);
        }
        assert_eq!(checker.finish(), expected, "{deliveries:?}");
    }

    /// The same order for all three members.
    fn all(order: &[(u32, u32)]) -> Vec<(u32, u32, u32)> {
        (0..3).flat_map(|member| order.iter().map(move |&(publisher, seq)| (member, publisher, seq))).collect()
    }

    const ORDER: [(u32, u32); 6] = [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)];

    #[test]
    fn a_faultless_run_has_no_faults_whatever_the_order_of_publishers() {
        check(6, &all(&ORDER), NONE);
        check(6, &all(&[(2, 1), (0, 1), (1, 1), (1, 2), (0, 2), (2, 2)]), NONE);
    }

    #[test]
    fn a_faultless_run_in_step_has_no_faults() {
        let deliveries: Vec<_> = ORDER.iter().flat_map(|&(p, s)| (0..3).map(move |m| (m, p, s))).collect();
        check(6, &deliveries, NONE);
    }

    #[test]
    fn each_single_loss_is_found_with_its_count() {
        for lost in 0..18 {
            let mut deliveries = all(&ORDER);
            deliveries.remove(lost);
            check(6, &deliveries, Faults { lost: 1, ..NONE });
        }
        check(6, &[], Faults { lost: 18, ..NONE });
    }

    #[test]
    fn each_single_duplicate_is_found_wherever_it_comes() {
        for which in 0..18 {
            for place in which + 1..=18 {
                let mut deliveries = all(&ORDER);
                deliveries.insert(place, deliveries[which]);
                check(6, &deliveries, Faults { duplicated: 1, ..NONE });
            }
        }
    }

    #[test]
    fn a_publish_behind_the_same_publishers_next_is_out_of_order_once() {
        let mut deliveries = all(&[(0, 1), (0, 2), (0, 3)]);
        deliveries.swap(4, 5);
        let mut checker = Checker::new(&[RoomShape { members: 3, publishers: 1 }]);
        for _ in 0..3 {
            checker.publish(0, 0);
        }
        for (member, publisher, seq) in deliveries {
            assert_eq!(checker.deliver(0, member, publisher, seq), Verdict::Fresh);
        }
        assert_eq!(checker.pending(), 0);
        assert_eq!(checker.finish(), Faults { out_of_order: 1, ..NONE });
    }

    #[test]
    fn members_that_disagree_on_two_publishers_are_found() {
        for member in 1..3usize {
            for at in 0..5 {
                let mut deliveries = all(&ORDER);
                deliveries.swap(6 * member + at, 6 * member + at + 1);
                check(6, &deliveries, Faults { out_of_order: 1, ..NONE });
            }
        }
    }

    #[test]
    fn what_was_never_published_is_corruption() {
        let mut deliveries = all(&ORDER);
        deliveries.extend([(0, 0, 3), (0, 3, 1), (0, 0, 0)]);
        check(6, &deliveries, Faults { corrupted: 3, ..NONE });
    }

    #[test]
    fn a_gap_in_the_servers_numbers_is_found() {
        let mut checker = Checker::new(&[RoomShape { members: 1, publishers: 1 }]);
        checker.on_subscribed(0, 0, 41);
        for seq in [42, 43, 45, 46, 46] {
            checker.on_server_seq(0, 0, seq);
        }
        assert_eq!(checker.finish(), Faults { seq_gaps: 2, ..NONE });
    }

    #[test]
    fn a_closed_member_is_owed_but_nothing_is_lost() {
        let mut checker = Checker::new(&[RoomShape { members: 2, publishers: 1 }]);
        checker.publish(0, 0);
        checker.on_closed(0, 1);
        checker.on_closed(0, 1);
        checker.publish(0, 0);
        checker.deliver(0, 0, 0, 1);
        assert_eq!(checker.pending(), 1);
        checker.deliver(0, 0, 0, 2);
        assert_eq!(checker.pending(), 0);
        assert_eq!(checker.finish(), Faults { owed_to_closed: 1, ..NONE });
    }

    #[test]
    fn the_order_log_is_bounded_and_says_what_it_could_not_check() {
        let mut checker = Checker::new(&[RoomShape { members: 2, publishers: 1 }]);
        let count = u32::try_from(ORDER_LOG_COUNT_MAX).unwrap() + 1;
        for seq in 1..=count {
            checker.publish(0, 0);
            checker.deliver(0, 0, 0, seq);
        }
        for seq in 1..=count {
            checker.deliver(0, 1, 0, seq);
        }
        let faults = checker.finish();
        assert!(faults.none(), "{faults:?}");
        assert_eq!(faults.order_unchecked, 1);
    }
}
