//! Station 10: how many bytes a turn spends on those who are behind.
//!
//! Replay is the fan-out's cursor reading what is older. Whoever resumes, reads from the store, is owed more than one write
//! had room for, or takes bytes again after its socket was full may be owed a whole write, and a thousand of them in one
//! turn would keep everybody's live events waiting. So they stand in a line. Once a turn's live events are out the host
//! writes to those who stand first, until so many bytes or so many writes are spent; whoever is owed more stands at the end
//! again, in the next turn, and nobody goes past. One alone is served in the turn in which it comes, with one write: who
//! comes back and surely has its turn now is not answered before it. Who comes and goes is bounded elsewhere
//! (`runtime/crowd`): that is work for each of them, once, and says nothing of how much they have missed.
//!
//! Who is closed waits no longer: it is owed its last answers and a close frame, for which its client does not wait as long
//! as the line may be, and nothing of any history.
//!
//! Invariants: a connection waits here once, exactly while its `due` says so; nothing is written to it meanwhile. Absent:
//! what is written, which is for `fill` to know.

use std::collections::VecDeque;

use super::Shard;
use super::connection::{Connection, Due, Membership};
use crate::ids::{ConnId, Seq};
use crate::limits::{BATCH_BYTES_MAX, REPLAY_WRITES_PER_TURN};
use crate::metrics::Metric;
use crate::room::members::Member;

/// Those who are behind, and what this turn has left for them.
#[derive(Debug)]
pub(super) struct Backlog {
    /// In the order in which they are served. Who has gone, or is closed and waits no longer, keeps its place until it is
    /// the first, and costs nothing then.
    line: VecDeque<ConnId>,
    /// Whose turn it is.
    turn: Option<ConnId>,
    /// How many may stand in line without that this turn was late for them.
    stood: usize,
    /// Bytes of a turn after which no write to them begins.
    bytes_max: usize,
    /// Bytes of this turn's writes to them.
    bytes: usize,
    /// How many writes this turn may still begin.
    writes: usize,
}

impl Backlog {
    pub(super) const fn new(bytes_max: usize) -> Self {
        let line = VecDeque::new();
        Self { line, turn: None, stood: 0, bytes_max, bytes: 0, writes: REPLAY_WRITES_PER_TURN }
    }

    /// A new turn. Returns how many have waited for it since the one in which they came.
    pub(super) fn begin(&mut self) -> usize {
        let late = self.line.len().min(std::mem::take(&mut self.stood));
        (self.turn, self.bytes, self.writes) = (None, 0, REPLAY_WRITES_PER_TURN);
        late
    }

    /// A connection is behind: nothing is written to it before its turn.
    #[inline(never)]
    pub(super) fn stand(&mut self, id: ConnId, conn: &mut Connection) {
        if conn.due != Due::Turn && conn.blocked.is_none() {
            conn.due = Due::Turn;
            self.stood += 1;
            self.line.push_back(id);
        }
    }

    /// Whether it is this connection's turn.
    #[inline]
    pub(super) fn is_turn_of(&self, id: ConnId) -> bool {
        self.turn == Some(id)
    }

    /// Whether one that stands now is served in this turn, whatever those before it are owed. A write has fewer bytes than
    /// twice those after which it takes no further frame.
    pub(super) fn serves_next(&self) -> bool {
        let owed_before = self.line.len() * 2 * BATCH_BYTES_MAX;
        self.line.len() < self.writes && self.bytes + owed_before < self.bytes_max
    }

    /// So many bytes are written to the one whose turn it is, which is over.
    #[inline(never)]
    pub(super) const fn spend(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.turn = None;
    }

    /// The next one in line, if this turn has anything left for it.
    fn take_next(&mut self) -> Option<ConnId> {
        let left = self.writes > 0 && self.bytes < self.bytes_max;
        #[cfg(feature = "planted-faults")]
        let left = left || super::fault::is(super::fault::Fault::ReplayUnbounded);
        if left { self.line.pop_front() } else { None }
    }
}

/// Whether a member is owed what lies before the moment at which it joined, or behind the history.
#[inline]
pub(super) fn is_behind(member: &Member, oldest: Seq) -> bool {
    member.next < oldest || member.greeting.as_ref().is_some_and(|greeting| member.next <= greeting.seq)
}

impl Shard {
    /// Notes that one that has just joined a channel may be behind there, before anything is written to it.
    pub(super) fn note_missed(&mut self, id: ConnId, at: Membership) {
        let Some((room, conn)) = self.rooms.at(at.room).zip(self.slots.find_mut(id)) else { return };
        let has_started = |member: &&Member| member.start.is_none();
        let member = room.members.at(at.place).filter(has_started);
        if conn.due == Due::Write && member.is_some_and(|member| is_behind(member, room.history.oldest())) {
            conn.due = Due::Missed;
        }
    }

    /// A new turn of those who are behind.
    pub(super) fn begin_backlog(&mut self) {
        let late = self.backlog.begin();
        if late > 0 {
            self.metrics.add(Metric::ReplaysLate, late as u64);
        }
    }

    /// Who is behind and is to be filled and written to next, once all that [`Effect::Write`] named are: one write each,
    /// until there is nobody or the turn has spent what it has for them.
    ///
    /// [`Effect::Write`]: super::effect::Effect::Write
    pub fn next_behind(&mut self) -> Option<ConnId> {
        // Each step takes one out of the line.
        while let Some(id) = self.backlog.take_next() {
            if let Some(conn) = self.slots.find_mut(id).filter(|conn| conn.due == Due::Turn) {
                conn.due = Due::Write;
                self.backlog.turn = Some(id);
                self.backlog.writes = self.backlog.writes.saturating_sub(1);
                return Some(id);
            }
        }
        None
    }

    /// Whether anybody who is behind waits for a later turn.
    #[must_use]
    pub fn has_behind(&self) -> bool {
        !self.backlog.line.is_empty()
    }
}
