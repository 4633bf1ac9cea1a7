//! Questions and their answers: what goes back to the publisher alone.
//!
//! A question has its body in it and the answer brings it back, so an answer is found, decoded and booked as a delivery
//! is: once, to who asked, and in order where the adapter says so. Each kind has a book of its own, since one kind of
//! question may overtake another. An answer may hold other publishes, as a page of history does: those are no
//! deliveries, but must be whole and of the room.

use crate::adapter::Order;
use crate::checker::{Checker, Faults, Finding, Promise, RoomShape, Verdict};
use crate::connection::Connection;
use crate::engine::traffic::is_json_with;
use crate::engine::{Engine, GroupTraffic, Room, index};
use crate::marker::{MARKER_BYTES, Marker, SENTINEL};

/// The books of answers: one for each kind of question in the group that has most of them, with a room for each
/// connection, whose one member is who asks and is answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    books: Vec<Checker>,
}

impl Answers {
    /// Books with nothing in them, for the connections of these rooms.
    pub(super) fn new(rooms: &[Room], groups: &[GroupTraffic<'_>]) -> Self {
        let asks = |group: &GroupTraffic<'_>| group.outgoing.iter().filter(|kind| kind.book.is_some()).count();
        let count = groups.iter().map(asks).max().unwrap_or(0);
        let book = |number: usize| {
            let promises = rooms.iter().flat_map(|room| {
                let kind = groups[room.group].outgoing.iter().find(|kind| kind.book == Some(number));
                let of = u32::from(kind.is_some());
                let order = if kind.is_some_and(|kind| kind.in_order) { Order::Publisher } else { Order::None };
                let shape = RoomShape { members: of, publishers: of };
                let promise = Promise { to_sender: true, order };
                std::iter::repeat_n((shape, promise), index(room.shape.members))
            });
            Checker::with_promises(&promises.collect::<Vec<_>>(), false)
        };
        Self { books: (0..count).map(book).collect() }
    }

    /// A connection asks; the number of its question.
    pub(super) fn ask(&mut self, book: usize, connection: usize) -> u32 {
        self.books.get_mut(book).map_or(0, |book| book.publish(room(connection), 0))
    }

    /// A connection gets the answer to its question of this number.
    fn deliver(&mut self, book: usize, connection: usize, number: u32) -> Verdict {
        self.books.get_mut(book).map_or(Verdict::Faulty, |book| book.deliver(room(connection), 0, 0, number))
    }

    /// A connection may ask from now on.
    pub(super) fn on_joined(&mut self, connection: usize) {
        self.books.iter_mut().filter(|book| book.has_members(room(connection))).for_each(|book| {
            book.on_joined(room(connection), 0);
        });
    }

    /// A connection ended: nothing more is owed to it.
    pub(super) fn on_closed(&mut self, connection: usize) {
        self.books.iter_mut().filter(|book| book.has_members(room(connection))).for_each(|book| {
            book.on_closed(room(connection), 0);
        });
    }

    /// A connection may miss answers, because it reads slowly on purpose.
    pub(super) fn exempt(&mut self, connection: usize) {
        self.books.iter_mut().filter(|book| book.has_members(room(connection))).for_each(|book| {
            book.exempt(room(connection), 0);
        });
    }

    /// Answers that are still expected.
    pub(super) fn pending(&self) -> u64 {
        self.books.iter().map(Checker::pending).sum()
    }

    /// What was found so far.
    pub(super) fn faults(&self) -> Faults {
        self.books.iter().fold(Faults::default(), |sum, book| sum.plus(book.faults()))
    }

    /// Closes the books; of what was found the room is the connection.
    pub(super) fn finish(&mut self) -> (Faults, Vec<Finding>) {
        let (mut faults, mut findings) = (Faults::default(), Vec::new());
        for book in std::mem::take(&mut self.books) {
            let (of_book, found) = book.finish();
            faults = faults.plus(of_book);
            findings.extend(found);
        }
        (faults, findings)
    }
}

fn room(connection: usize) -> u32 {
    u32::try_from(connection).unwrap_or(u32::MAX)
}

impl Engine<'_> {
    /// Books an answer whose body begins at `at`, if the message is one.
    pub(super) fn on_answer(&mut self, number: usize, text: &[u8], at: usize, now: u64) -> bool {
        let Ok((marker, bytes)) = Marker::decode(&text[at..]) else { return false };
        let Connection { room: own, member, .. } = self.connections[number];
        let (place, end) = (&self.rooms[index(own)], at + bytes);
        let (id, group) = (place.id, place.group);
        let GroupTraffic { adapter, outgoing, .. } = &self.groups[group];
        let (deliver, kind) = (&adapter.deliver, outgoing.get(usize::from(marker.kind)));
        let Some((kind, book)) = kind.and_then(|kind| Some((kind, kind.book?))) else { return false };
        if !deliver.is_end(text, at, end) {
            return false;
        }
        if marker.room != id || marker.publisher != self.global(number) {
            self.checker.on_wrong_room(own, member, marker.publisher, marker.seq);
            return true;
        }
        if kind.refused.is_some_and(|refused| refused.find(text).is_some()) {
            self.protocol_faults.add("answer refused");
            self.keep_refusal(text);
        }
        if self.is_sampled() && deliver.json && !is_json_with(text, &text[at..end]) {
            self.checker.on_bad_json(own, member);
        }
        self.look_into(number, text, end);
        if self.answers.deliver(book, number, marker.seq) == Verdict::Fresh {
            self.on_answered((group, usize::from(marker.kind)), &marker, now);
        }
        true
    }

    /// An answer came, in how long.
    fn on_answered(&mut self, (group, kind): (usize, usize), marker: &Marker, now: u64) {
        let latency_ns = now.saturating_sub(marker.intended_ns);
        let measured = self.phase_of(marker.intended_ns).is_some_and(|phase| phase.measured);
        let traffic = &mut self.groups[group];
        self.recorder.on_kind(traffic.kinds_at + kind, latency_ns);
        if let Some(kind) = traffic.kinds.get_mut(kind) {
            kind.delivered += 1;
            if measured {
                kind.corrected.record(latency_ns);
            }
        }
    }

    /// Publishes that stand in an answer are whole and of the room, those of each publisher in order.
    fn look_into(&mut self, number: usize, text: &[u8], from: usize) {
        let Connection { room: own, member, .. } = self.connections[number];
        let (id, mut from) = (self.rooms[index(own)].id, from);
        while text.len().saturating_sub(from) >= MARKER_BYTES
            && let Some(at) = self.finder.find(&text[from..]).map(|at| from + at)
        {
            match Marker::decode(&text[at..]) {
                Ok((marker, bytes)) => {
                    if marker.room != id {
                        self.checker.on_wrong_room(own, member, marker.publisher, marker.seq);
                    }
                    from = at + bytes;
                }
                Err(_) => {
                    self.checker.on_corrupt(own, member);
                    from = at + SENTINEL.len();
                }
            }
        }
    }
}
