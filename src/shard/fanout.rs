//! Station 8: the fan-out, one cursor a channel.
//!
//! An event is not sent when it is sequenced. It makes its channel stand in line; the channel's cursor goes
//! round its members, and a visit owes a member everything that is pending, in one write. So eight events
//! in flight cost one visit, and large rooms, small rooms and other input share the turns fairly.

use super::Shard;
use super::backlog::is_behind;
use super::connection::{Connection, Due, Membership};
use super::effect::Effects;
use super::rooms::{Role, Room, RoomId};
use crate::envelope::globetrotter::IdForm;
use crate::ids::Seq;
use crate::limits::{LOOK_AHEAD_COUNT, SHED_SWEEPS_MAX, VISITS_PER_CHANNEL, VISITS_PER_TURN_BUSY, VISITS_PER_TURN_MAX};
use crate::metrics::{Metric, Timing};
use crate::room::members::Member;
use crate::time::Now;

impl Shard {
    /// One turn's visits; fewer while `others_wait`. Returns whether more are to be made.
    pub fn fan_out(&mut self, now: Now, others_wait: bool, effects: &mut Effects) -> bool {
        self.latest = now;
        self.flushed(now);
        self.begin_backlog();
        for id in std::mem::take(&mut self.behind) {
            if let Some(Room { role: Role::Home { behind, .. }, .. }) = self.rooms.at_mut(id) {
                *behind = false;
            }
            self.feed(id, effects);
        }
        let mut waiting = !self.unserved.is_empty() && self.serve_waiting(now, effects);
        if self.keeping.is_some() {
            waiting |= self.tell_committed(now, effects);
            waiting |= self.take_pages(effects);
            self.ask_pages(effects);
            self.ask_store(effects);
        }
        let mut budget = if others_wait { VISITS_PER_TURN_BUSY } else { VISITS_PER_TURN_MAX };
        if !self.spreads.is_empty() {
            budget -= self.spread(now, budget / 2, effects);
            waiting |= !self.spreads.is_empty();
        }
        // News of rooms are many and short where a crowd comes or goes.
        while budget > VISITS_PER_CHANNEL && !self.rumours.is_empty() {
            budget -= self.spread_news(now, VISITS_PER_CHANNEL / 2, effects).max(1);
        }
        waiting |= !self.rumours.is_empty();
        let mut ahead = 0;
        while budget > 0 && !self.line.is_empty() {
            if ahead == 0 {
                ahead = LOOK_AHEAD_COUNT;
                self.look_ahead_in_line();
            }
            ahead -= 1;
            let Some(id) = self.line.pop_front() else { break };
            let turns = budget.min(VISITS_PER_CHANNEL);
            budget -= self.visit(now, id, turns, effects).max(1);
        }
        !self.line.is_empty() || waiting
    }

    /// Whether anything has come up since the channels were visited that the next turn's visit is for.
    #[must_use]
    pub fn wants_turn(&self) -> bool {
        !(self.line.is_empty() && self.spreads.is_empty() && self.rumours.is_empty()) || self.has_behind()
    }

    /// Puts a channel in line: all its members are to be visited from where the cursor stands.
    pub(super) fn line_up(&mut self, id: RoomId) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        room.left = u32::try_from(room.members.places()).unwrap_or(u32::MAX);
        if !room.queued {
            room.queued = true;
            room.needed_now = room.history.next();
            self.line.push_back(id);
        }
    }

    /// Visits up to `turns` places of a channel. Returns how many were owed something, which is what costs: a join has a
    /// whole room looked at for the one who came.
    fn visit(&mut self, now: Now, id: RoomId, turns: usize, effects: &mut Effects) -> usize {
        self.feed(id, effects);
        // A room that was forgotten may have left its place in line to another that does not stand there.
        let Some(room) = self.rooms.at_mut(id).filter(|room| room.queued) else { return 0 };
        let places = u32::try_from(room.members.places()).unwrap_or(u32::MAX);
        room.left = room.left.min(places);
        let visits = room.left.min(u32::try_from(turns).unwrap_or(u32::MAX));
        let goes_round = room.cursor.saturating_add(visits) > places;
        let (oldest, next) = (room.history.oldest(), room.history.next());
        let mut needed = next;
        let fleeting = room.fleeting.as_deref();
        let mut owed = 0_u32;
        for _ in 0..visits {
            let place = if room.cursor >= places { 0 } else { room.cursor };
            room.cursor = place + 1;
            let Some(member) = room.members.at_mut(place) else { continue };
            if member.start.is_none() {
                needed = needed.min(member.next);
            }
            if member.start.is_none()
                && (member.greeting.is_some()
                    || member.next < next
                    || fleeting.is_some_and(|fleeting| fleeting.owes(place)))
                && let Some((conn_id, conn)) = self.slots.tenant_mut(member.slot)
            {
                if conn.service.is_some() {
                    list_as_ready(conn, member, Membership { room: id, place, form: IdForm::default() });
                }
                if is_behind(member, oldest) {
                    conn.owed = true;
                    self.backlog.stand(conn_id, conn);
                }
                // Who waits for its turn costs nothing before it.
                if conn.due != Due::Turn {
                    // At most one for each visit.
                    owed = owed.wrapping_add(1);
                    mark_connection(conn_id, conn, effects);
                }
            }
        }
        room.left -= visits;
        room.needed_now = room.needed_now.min(needed);
        // Whom something was told as it happens is owed no event; who resumes gets what others have had long since.
        let first = needed.max(room.timed.next());
        if owed > 0
            && first < next
            && !matches!(room.role, Role::Mirror { goal, .. } if first <= goal)
            && let Some(oldest) = room.history.event(first)
        {
            let owed = u64::from(owed);
            self.timing.push((oldest.micros, owed * (next.0 - first.0)));
            self.busy.note(owed, now, id, room);
        }
        if goes_round {
            // Events may come faster than a crowd is visited, so that no round ends: since the cursor stood here last it
            // has been everywhere.
            room.timed = Seq(room.timed.0 + u64::from(room.ahead));
            room.ahead = u32::try_from(room.history.last().0.saturating_sub(room.timed.0)).unwrap_or(u32::MAX);
        }
        if room.left > 0 {
            self.line.push_back(id);
        } else {
            room.queued = false;
            debug_assert!(
                room.members.iter().all(|member| {
                    let reads = room.stored.is_some() && member.next < room.history.oldest();
                    let (is_served, conn) =
                        (member.start.is_some() || member.next >= next || reads, self.slots.tenant(member.slot));
                    is_served || conn.is_none_or(|conn| conn.due != Due::Nothing || conn.owed || conn.blocked.is_some())
                }),
                "a round visits everybody"
            );
            room.needed = room.needed_now;
            (room.timed, room.ahead) = (room.history.last(), 0);
        }
        owed as usize
    }

    /// What was visited is written by now: one record for each visited channel and turn, as heavy as its deliveries.
    pub fn flushed(&mut self, now: Now) {
        let delivery = self.metrics.timing(Timing::Delivery);
        for (micros, deliveries) in &self.timing {
            delivery.record_many(now.micros.saturating_sub(*micros), *deliveries);
        }
        self.timing.clear();
    }

    /// Notes that a connection is owed something: it is written to once, in this turn's flush.
    pub(super) fn mark(&mut self, id: crate::ids::ConnId, effects: &mut Effects) {
        if let Some(conn) = self.slots.find_mut(id) {
            mark_connection(id, conn, effects);
        }
    }

    /// Notes that a membership may be owed something, if its connection goes by that.
    pub(super) fn note_ready(&mut self, id: crate::ids::ConnId, membership: Membership) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let member = self.rooms.at_mut(membership.room).and_then(|room| room.members.at_mut(membership.place));
        if let Some(member) = member {
            list_as_ready(conn, member, membership);
        }
    }

    /// Gives up half of some channels' history when the shard's bound is reached: what everybody has been sent
    /// first, and what somebody is still owed only where there is nothing else.
    pub(super) fn shed_history(&mut self) {
        let mut swept = Vec::new();
        for _ in 0..SHED_SWEEPS_MAX {
            swept = self.rooms.sweep(VISITS_PER_CHANNEL);
            if self.shed_of(&swept, Room::owed_from) > 0 {
                return;
            }
        }
        self.shed_of(&swept, |room| room.history.next());
    }

    /// Gives up half of these channels' history, but nothing from what `needed` says on. Returns the bytes freed.
    fn shed_of(&mut self, rooms: &[RoomId], needed: impl Fn(&Room) -> Seq) -> usize {
        let mut sum = 0;
        for id in rooms {
            if let Some(room) = self.rooms.at_mut(*id) {
                let freed = room.history.halve(needed(room).min(room.unstored()));
                room.joined = None;
                room.count_bytes(&self.metrics);
                self.metrics.subtract(Metric::HistoryBytes, freed as u64);
                sum += freed;
            }
        }
        sum
    }
}

/// A connection with a crowd of memberships is written to from its list of those that may be owed something.
fn list_as_ready(conn: &mut Connection, member: &mut Member, membership: Membership) {
    if let Some(service) = conn.service.as_mut().filter(|service| service.is_crowded())
        && !std::mem::replace(&mut member.ready, true)
    {
        service.ready.push_back(membership);
    }
}

/// A blocked connection is written to when its socket takes bytes again, a marked one soon, and one that is behind when its
/// turn comes.
pub(super) fn mark_connection(id: crate::ids::ConnId, conn: &mut Connection, effects: &mut Effects) {
    if conn.due == Due::Nothing && conn.blocked.is_none() {
        conn.due = Due::Write;
        effects.list.push(super::effect::Effect::Write(id));
    }
}
