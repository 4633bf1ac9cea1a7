//! Looking ahead: what a group of messages will look at is read before the first of them is handled.
//!
//! With thousands of connections most of what a message touches has left the near caches, and one message after
//! another waits for memory some twenty times. Reads that do not depend on one another wait together: so each pass
//! here goes one step further from a connection to its room's events, for the whole group. Nothing is changed and
//! nothing decided; whoever comes later finds the lines near.

use std::hint::black_box;

use super::Shard;
use super::connection::Connection;
use super::rooms::Room;
use crate::limits::{LOOK_AHEAD_COUNT, LOOK_AHEAD_PLACES};
use crate::room::members::Member;

impl Shard {
    /// Reads ahead for messages of the connections in these slots, as many as [`LOOK_AHEAD_COUNT`].
    pub fn look_ahead(&self, slots: impl Iterator<Item = u32> + Clone) {
        let conns = || slots.clone().take(LOOK_AHEAD_COUNT).filter_map(|slot| self.slots.tenant(slot));
        let rooms = || conns().filter_map(|conn| self.rooms.at(conn.memberships.only()?.room));
        black_box(conns().count());
        conns().for_each(look_at_connection);
        for conn in conns() {
            black_box(conn.own.as_ref().and_then(|own| own.as_bytes().first().copied()));
            black_box(conn.user().and_then(|user| user.as_bytes().first().copied()));
        }
        black_box(rooms().count());
        rooms().for_each(look_at_room);
        rooms().for_each(look_at_events);
    }

    /// The same for visits of the channels that stand first in the line: their members' connections.
    pub(super) fn look_ahead_in_line(&self) {
        let mut next = [None; LOOK_AHEAD_COUNT];
        next.iter_mut().zip(&self.line).for_each(|(room, id)| *room = self.rooms.at(*id));
        let next = || next.iter().take(self.line.len()).flatten().copied();
        next().for_each(|room| _ = black_box((room.cursor, room.history.next())));
        next().for_each(|room| _ = black_box(next_members(room).count()));
        next().for_each(look_at_latest);
        let mut conns = [None; LOOK_AHEAD_COUNT * LOOK_AHEAD_PLACES];
        let mut free = conns.iter_mut();
        for room in next() {
            next_members(room).zip(free.by_ref()).for_each(|(member, conn)| *conn = self.slots.tenant(member.slot));
        }
        let found = LOOK_AHEAD_COUNT * LOOK_AHEAD_PLACES - free.len();
        conns.iter().take(found).flatten().for_each(|conn| _ = black_box(conn.due));
    }
}

/// Those whom the next visit of a room comes to.
fn next_members(room: &Room) -> impl Iterator<Item = &Member> {
    room.members.near(room.cursor, LOOK_AHEAD_PLACES)
}

/// One read in each cache line that a message looks at.
fn look_at_connection(conn: &Connection) {
    black_box(conn.stage);
    black_box(conn.outbox.bytes());
    black_box(conn.door);
    black_box(conn.own.is_some());
    black_box(conn.paused.is_some());
    black_box(conn.probe);
}

fn look_at_room(room: &Room) {
    black_box(room.history.next());
    black_box(room.joined.is_some());
    black_box(room.name.len());
    black_box(room.cursor);
}

/// What the members of a room will be written: its first and last line.
fn look_at_latest(room: &Room) {
    let frame = room.history.latest().map(|event| event.plain());
    black_box(frame.map(|frame| (frame.first().copied(), frame.last().copied())));
}

/// The event before the next one, and the one that it may drive out, with its frame.
fn look_at_events(room: &Room) {
    black_box(room.history.latest().map(|event| event.seq));
    black_box(room.history.event(room.history.oldest()).and_then(|event| event.plain().first().copied()));
    black_box(room.members.at(0).map(|member| member.slot));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::auth::token::Verifier;
    use crate::ids::ShardId;
    use crate::metrics::Metrics;
    use crate::shard::Options;
    use crate::time::Now;

    #[test]
    fn one_look_goes_so_far_and_takes_slots_that_nobody_has() {
        let options = Options::embedded([0; 16], Verifier::default());
        let shard = Shard::new(ShardId(0), options, Metrics::shared(), Now::default());
        let furthest = Cell::new(0);
        // Without an end: whoever looks on and on would not come back.
        shard.look_ahead((0..).inspect(|slot| furthest.set(*slot)));
        assert_eq!(furthest.get() as usize, LOOK_AHEAD_COUNT - 1);
        shard.look_ahead(std::iter::empty());
        shard.look_ahead(std::iter::once(u32::MAX));
        shard.look_ahead_in_line();
    }
}
