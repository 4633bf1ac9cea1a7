//! Stations 9 and 10: what a connection is owed, in the order in which it is written.
//!
//! First what a short write left over. Then the critical lane, the high lane with the cursors of high channels,
//! the other cursors, the acknowledgements that these events released, and the low lane, each as far as its share
//! of a write goes; what is left of the write is filled in the same order. So whatever one lane holds, none of
//! the others waits for more than a few writes.

mod behind;
mod crowd;
mod queue;

use self::crowd::{Whole, join, shared};
use super::Shard;
use super::acking::ping_payload;
use super::connection::{Connection, Due, HeldAnswer, Membership, Stage};
use super::effect::{Batch, Closing, Effect, Effects, Portion, Portions, Quota};
use super::forms::frame_for;
use super::keeping::Keeping;
use super::pen::Pen;
use super::rooms::{Room, RoomId, Rooms, Share};
use super::timers::Timer;
use crate::envelope::Encoding;
use crate::envelope::notice::{self, Missed, Recovery};
use crate::ids::{ConnId, Epoch, Seq};
use crate::limits::{JOIN_MEMBERS_MIN, STUCK_MS};
use crate::metrics::{Metric, Metrics};
use crate::outbox::Lane;
use crate::payload::Payload;
use crate::recorder::{Kind, Recorder};
use crate::room::history::History;
use crate::room::members::Member;
use crate::room::resume::Greeting;
use crate::time::{Moment, Now};
use crate::wire::encoder::ping_frame;
use crate::wire::event_stream;

impl Shard {
    /// Takes what is to be written to `id` next, as far as `batch` has room. Who is behind gets nothing before its turn.
    pub fn fill(&mut self, now: Now, id: ConnId, batch: &mut Batch) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        match conn.due {
            Due::Turn => return,
            Due::Missed => conn.owed |= self.backlog.serves_next(),
            Due::Nothing | Due::Write => {}
        }
        conn.due = Due::Nothing;
        if conn.blocked.is_some() {
            conn.owed = false;
            return;
        }
        let is_behind = conn.owed || conn.outbox.has_unsent();
        let has_turn = is_behind && self.backlog.is_turn_of(id);
        if is_behind {
            if !has_turn && conn.waits_when_behind() {
                return self.backlog.stand(id, conn);
            }
            take_unsent(conn, batch);
            if !batch.is_empty() && !batch.has_room_for_shares() {
                conn.owed = !conn.outbox.is_empty() || conn.memberships.len() > 0;
                if has_turn {
                    self.backlog.spend(batch.bytes());
                }
                return;
            }
        }
        let unsent = batch.parts();
        let (pen, recorder) = (&mut self.pen, &mut self.recorder);
        let metrics = &*self.metrics;
        let keeping = self.keeping.as_deref_mut();
        let known = conn.known;
        let mut tools = Tools { now, id, known, pen, recorder, metrics, fleeting: false, keeping, has_turn };
        tools.fill_lanes(conn, &mut self.rooms, batch.shares(), batch);
        if conn.owed && batch.has_room() {
            tools.fill_rest(conn, &mut self.rooms, batch);
        }
        if conn.bundles {
            super::bundle::bundle(batch, unsent, &mut self.pen);
        }
        if has_turn {
            self.backlog.spend(batch.bytes());
        } else if conn.owed && batch.is_empty() {
            // All that it is owed is what it has missed.
            self.backlog.stand(id, conn);
        }
    }

    /// The socket took `bytes` of `batch`; the rest is kept and goes first next time. If it took less than
    /// all, the host sends `Input::Writable` when it takes bytes again. An empty batch says nothing.
    pub fn written(&mut self, now: Now, id: ConnId, batch: &mut Batch, bytes: usize, effects: &mut Effects) {
        if batch.is_empty() {
            return;
        }
        self.metrics.count(Metric::Sends);
        self.metrics.add(Metric::BytesOut, bytes as u64);
        let short = bytes < batch.bytes();
        if short {
            let left = batch.bytes() - bytes;
            self.recorder.note(now.micros, Kind::Blocked, id, left as u64, bytes as u64);
        } else if self.recorder.is_watched() {
            self.recorder.note(now.micros, Kind::Written, id, batch.parts() as u64, bytes as u64);
        }
        let Some(conn) = self.slots.find_mut(id) else { return batch.clear() };
        if short {
            self.metrics.count(Metric::ShortWrites);
            let (rest, skip) = batch.take_rest(bytes);
            conn.outbox.put_back(rest, skip);
            conn.blocked = Some(Moment::of(now.millis()));
            self.metrics.add(Metric::Blocked, 1);
            if !conn.stuck_timer {
                conn.stuck_timer = true;
                self.wheel.insert(now.millis().after(STUCK_MS), Timer::Stuck(id));
            }
            return;
        }
        batch.clear();
        let goes_on = conn.may_go_on();
        if goes_on && conn.paused.is_none() {
            conn.choked = false;
            effects.list.push(Effect::Resume(id));
        }
        if conn.owed {
            super::fanout::mark_connection(id, conn, effects);
        } else if matches!(conn.stage, Stage::Ending) && conn.outbox.is_empty() {
            self.forget(id, Closing::Linger, Metric::ClosedNormal, effects);
        }
        if goes_on {
            self.on_resume(now, id, effects);
        }
    }

    /// The socket takes bytes again.
    pub(super) fn on_writable(&mut self, id: ConnId, effects: &mut Effects) {
        if let Some(conn) = self.slots.find_mut(id) {
            self.metrics.subtract(Metric::Blocked, u64::from(conn.blocked.take().is_some()));
            super::fanout::mark_connection(id, conn, effects);
        }
    }
}

/// What filling needs besides the connection and the rooms.
struct Tools<'a> {
    now: Now,
    id: ConnId,
    known: bool,
    pen: &'a mut Pen,
    recorder: &'a mut Recorder,
    metrics: &'a Metrics,
    /// A channel has something to tell this connection as it happens.
    fleeting: bool,
    /// What is kept of the store, if there is one: channels may have stretches to ask it for.
    keeping: Option<&'a mut Keeping>,
    /// Whether it is the turn of who is written to, if that is behind.
    has_turn: bool,
}

impl Tools<'_> {
    /// Another round, in which whoever comes first may have all that is left of the write.
    #[inline(never)]
    fn fill_rest(&mut self, conn: &mut Connection, rooms: &mut Rooms, batch: &mut Batch) {
        self.fill_lanes(conn, rooms, Portions::WHOLE, batch);
    }

    /// One round: every lane up to its portion. Notes in the connection whether anything is left. Put where it is called,
    /// since of the usual connection nothing but its first lines is needed.
    #[inline(always)]
    fn fill_lanes(&mut self, conn: &mut Connection, rooms: &mut Rooms, portions: Portions, batch: &mut Batch) {
        let queued = !conn.outbox.is_empty();
        let mut left = if !queued && let Some(at) = conn.only_channel() {
            // Nearly every connection: what it is owed stands in one history.
            self.take_events(rooms, at, (true, portions.of(Quota::Normal, batch)), batch)
        } else {
            self.fill_upper(conn, rooms, (portions, queued), batch)
        };
        #[cfg(feature = "planted-faults")]
        if left && super::fault::is(super::fault::Fault::LowStarved) {
            conn.owed = true;
            return;
        }
        if queued {
            take_lane(conn, Lane::Low, portions.of(Quota::Low, batch), batch, self.metrics);
            left |= !conn.outbox.is_empty();
        }
        if std::mem::take(&mut self.fleeting) {
            left |= self.tell_fleeting(conn, rooms, portions.of(Quota::Low, batch), batch);
        }
        conn.owed = left;
    }

    /// The lanes before the low one, and the channels. Returns whether any of these owes more.
    fn fill_upper(
        &mut self,
        conn: &mut Connection,
        rooms: &mut Rooms,
        (portions, queued): (Portions, bool),
        batch: &mut Batch,
    ) -> bool {
        let mut left = false;
        if conn.answers.is_some() {
            left |= release_answers(conn, rooms, portions.of(Quota::Critical, batch), batch);
        }
        if queued {
            take_lane(conn, Lane::Critical, portions.of(Quota::Critical, batch), batch, self.metrics);
        }
        if conn.highs > 0 || queued {
            take_lane(conn, Lane::High, portions.of(Quota::High, batch), batch, self.metrics);
            let high = (Share::High, portions.of(Quota::High, batch));
            left |= conn.highs > 0 && self.visit_cursors(conn, rooms, high, batch);
        }
        left |= self.visit_cursors(conn, rooms, (Share::Normal, portions.of(Quota::Normal, batch)), batch);
        if conn.answers.is_some() {
            // Of what was visited now; those whose place the low lane needs go first next time.
            left |= release_answers(conn, rooms, portions.of(Quota::Normal, batch), batch);
        }
        left
    }

    /// Tells what happens in the connection's channels, for each of them in one stretch. Returns whether there
    /// was no room for some.
    fn tell_fleeting(&mut self, conn: &mut Connection, rooms: &mut Rooms, portion: Portion, batch: &mut Batch) -> bool {
        let Some(user) = conn.claims.as_ref().map(|claims| &claims.user) else { return false };
        let count = conn.memberships.len();
        let mut next = usize::from(conn.turn);
        for _ in 0..count {
            let index = if next < count { next } else { 0 };
            next = index + 1;
            let Some(at) = conn.memberships.at(index) else { break };
            if !self.tell_channel(rooms, at, user, portion, batch) {
                conn.turn = u8::try_from(index).unwrap_or(0);
                return true;
            }
        }
        false
    }

    /// The same for one channel. Returns whether there was room.
    fn tell_channel(
        &mut self,
        rooms: &mut Rooms,
        at: Membership,
        user: &str,
        portion: Portion,
        batch: &mut Batch,
    ) -> bool {
        let Some(Room { fleeting: Some(fleeting), members, .. }) = rooms.at_mut(at.room) else { return true };
        let Some(member) = members.at(at.place) else { return true };
        if member.start.is_some() || member.greeting.is_some() || !fleeting.owes(at.place) {
            return true;
        }
        if !batch.takes(portion) {
            return false;
        }
        let encoding = member.encoding;
        let mut frames = fleeting.take(at.place, user, member.watch, encoding);
        if encoding == Encoding::EVENT_STREAM {
            frames = frames.iter().filter_map(|frames| event_stream::events_of(frames)).collect();
        }
        match frames.as_slice() {
            [] => {}
            [one] => batch.push(one.clone(), 0),
            many => batch.push(self.pen.stretch(many), 0),
        }
        true
    }

    /// Visits the channels of one share, each once, the one first that comes after the last one that had to stop.
    /// Returns whether any of them owes more.
    fn visit_cursors(
        &mut self,
        conn: &mut Connection,
        rooms: &mut Rooms,
        (share, portion): (Share, Portion),
        batch: &mut Batch,
    ) -> bool {
        let count = conn.memberships.len();
        let mixed = conn.highs > 0;
        if conn.service.as_ref().is_some_and(|service| service.is_crowded()) {
            return self.visit_ready(conn, rooms, (share, portion), batch);
        }
        let mut left = false;
        let mut next = usize::from(conn.turn);
        for _ in 0..count {
            let index = if next < count { next } else { 0 };
            next = index + 1;
            let Some(at) = conn.memberships.at(index) else { break };
            if mixed && rooms.at(at.room).is_some_and(|room| room.share != share) {
                continue;
            }
            if !batch.takes(portion) {
                return true;
            }
            if self.take_events(rooms, at, (conn.outbox.may_greet(), portion), batch) {
                left = true;
                if count > 1 && !batch.takes(portion) {
                    conn.turn = u8::try_from(next).unwrap_or(0);
                    return true;
                }
            }
        }
        left
    }

    /// Takes a channel's events from the member's position on. Returns whether more are owed.
    fn take_events(
        &mut self,
        rooms: &mut Rooms,
        at: Membership,
        (may_greet, portion): (bool, Portion),
        batch: &mut Batch,
    ) -> bool {
        let Some(room) = rooms.at_mut(at.room) else { return false };
        let Room { name, history, members, joined, until_acked, stored, .. } = room;
        let asks = *until_acked && !self.known;
        self.fleeting |= room.fleeting.as_ref().is_some_and(|fleeting| fleeting.owes(at.place));
        let (crowd, since_traced) = (members.len() >= JOIN_MEMBERS_MIN, members.since_traced());
        let Some(member) = members.at_mut(at.place).filter(|member| member.start.is_none()) else { return false };
        // The `unsubscribed` of an earlier membership and the `subscribe_response` of this one go before its greeting.
        if let Some(greeting) = &member.greeting
            && (!may_greet || member.next <= greeting.seq && !self.has_turn)
        {
            return true;
        }
        let (first, mut reason) = (member.next, "slow_consumer");
        if let Some(greeting) = member.greeting.take()
            && member.encoding.has_notices()
        {
            let greeted = self.greet(name, member, &greeting);
            batch.push(greeted, 0);
            reason = "trimmed";
        }
        if !batch.takes(portion) {
            return member.next < history.next() || member.unasked;
        }
        if member.next < history.oldest()
            && let Some(owed) = self.catch_up((stored, history), (at.room, name), member, (portion, reason), batch)
        {
            return owed;
        }
        // Whether the last event of a trace is among those that are owed.
        let is_owed = |since: u32| since > 0 && member.next.0 + u64::from(since) <= history.next().0;
        let known = self.known && is_owed(since_traced);
        let whole = Whole { next: history.next(), encoding: member.encoding, known, crowd };
        let mut grown = false;
        if whole.crowd
            && member.next.next() < whole.next
            && batch.takes(portion)
            && let Some(frames) = shared(joined.as_deref(), member.next, &whole).or_else(|| {
                grown = true;
                join(history, joined, member.next, &whole, self.pen)
            })
            && batch.try_push(frames)
        {
            self.metrics.add(Metric::Delivered, whole.next.0 - member.next.0);
            member.next = whole.next;
        }
        let parts = batch.parts();
        let (id, encoding, plain) = (self.id, member.encoding, member.encoding == Encoding::TRIPSAGE && !known);
        let frames = history.since(member.next).map(|event| {
            if event.excluded.is_some_and(|author| author == id) {
                return None;
            }
            if plain {
                return Some(event.plain().clone());
            }
            frame_for(event, (known, encoding), (name, history.epoch()))
        });
        member.next = Seq(member.next.0 + batch.extend(frames, portion) as u64);
        self.metrics.add(Metric::Delivered, (batch.parts() - parts) as u64);
        if asks {
            member.unasked |= member.next > first;
            if member.unasked && member.next == history.next() && batch.has_room() {
                member.unasked = false;
                batch.push(ping_frame(&ping_payload(at.room, history.epoch(), history.last())), 0);
            }
        }
        let owed = member.next < history.next() || member.unasked;
        if grown {
            room.count_bytes(self.metrics);
        }
        owed
    }

    /// The same for a connection with a crowd of memberships: only those that may be owed something.
    fn visit_ready(
        &mut self,
        conn: &mut Connection,
        rooms: &mut Rooms,
        (share, portion): (Share, Portion),
        batch: &mut Batch,
    ) -> bool {
        let mixed = conn.highs > 0;
        let may_greet = conn.outbox.may_greet();
        let user = conn.claims.as_ref().map(|claims| std::sync::Arc::clone(&claims.user));
        let Some(service) = &mut conn.service else { return false };
        let mut left = false;
        for _ in 0..service.ready.len() {
            let Some(at) = service.ready.pop_front() else { break };
            if mixed && rooms.at(at.room).is_some_and(|room| room.share != share) {
                service.ready.push_back(at);
                continue;
            }
            if !batch.takes(portion) {
                service.ready.push_front(at);
                return true;
            }
            let mut owed = self.take_events(rooms, at, (may_greet, portion), batch);
            if std::mem::take(&mut self.fleeting)
                && let Some(user) = &user
            {
                owed |= !self.tell_channel(rooms, at, user, portion, batch);
            }
            if let Some(member) = rooms.at_mut(at.room).and_then(|room| room.members.at_mut(at.place)) {
                member.ready = owed;
            }
            if owed {
                service.ready.push_back(at);
                left = true;
            }
        }
        left
    }

    fn greet(&mut self, channel: &str, member: &Member, greeting: &Greeting) -> Payload {
        let recovery = greeting.recovered.map(|recovered| match recovered {
            Ok(()) => Recovery::Recovered,
            Err(lost) => Recovery::Lost(lost.name()),
        });
        match greeting.recovered {
            Some(Ok(())) => self.metrics.count(Metric::Resumed),
            Some(Err(_)) => self.metrics.count(Metric::ResumeFailed),
            None => {}
        }
        let place = (greeting.epoch, greeting.seq);
        let write = |stamp, out: &mut Vec<u8>| {
            notice::write_subscribed(stamp, channel, place, greeting.oldest, recovery, out);
        };
        let got = Seq(member.next.0.saturating_sub(1));
        self.pen.notice_at(self.now, member.encoding, Some((greeting.epoch, got)), write)
    }

    /// What a member is owed is gone up to `oldest`: it is told so and goes on from there.
    fn skip_gone(
        &mut self,
        (id, name): (RoomId, &str),
        (history, oldest): (&History, Seq),
        member: &mut Member,
        reason: &str,
        batch: &mut Batch,
    ) {
        self.recorder.note_gap(self.now.micros, self.id, oldest.0 - member.next.0, id.number());
        let gap = self.tell_gap(name, member, (history.epoch(), oldest), reason);
        #[cfg(feature = "planted-faults")]
        let silent = super::fault::is(super::fault::Fault::GapSilent);
        #[cfg(not(feature = "planted-faults"))]
        let silent = false;
        if !silent && member.encoding.has_notices() {
            batch.push(gap, 0);
        }
    }

    /// Announces what the member did not get, and moves it to what it can get.
    fn tell_gap(&mut self, channel: &str, member: &mut Member, (epoch, oldest): (Epoch, Seq), reason: &str) -> Payload {
        self.metrics.count(Metric::Gaps);
        let span = (member.next, Seq(oldest.0 - 1));
        member.next = oldest;
        let write = |stamp, out: &mut Vec<u8>| notice::write_gap(stamp, channel, span, reason, Missed::Lost, out);
        self.pen.notice_at(self.now, member.encoding, Some((epoch, span.1)), write)
    }
}

/// Moves what a short write left over into the batch.
#[inline(never)]
fn take_unsent(conn: &mut Connection, batch: &mut Batch) {
    while conn.outbox.has_unsent()
        && batch.has_room()
        && let Some((rest, skip)) = conn.outbox.pop_unsent()
    {
        batch.push(rest, skip);
    }
}

/// Moves a lane's frames into the batch, as far as its portion goes.
fn take_lane(conn: &mut Connection, lane: Lane, portion: Portion, batch: &mut Batch, metrics: &Metrics) {
    let (before, parts) = (conn.outbox.bytes(), batch.parts());
    while batch.takes(portion)
        && let Some(frame) = conn.outbox.pop(lane)
    {
        batch.push(frame, 0);
    }
    let counted = match lane {
        Lane::Critical => Metric::LaneCritical,
        Lane::High => Metric::LaneHigh,
        Lane::Low => Metric::LaneLow,
    };
    metrics.add(counted, (batch.parts() - parts) as u64);
    metrics.subtract(Metric::OutboxBytes, (before - conn.outbox.bytes()) as u64);
}

/// Moves the acknowledgements into the batch whose events the author has been sent. Returns whether some of
/// these had no room.
fn release_answers(conn: &mut Connection, rooms: &Rooms, portion: Portion, batch: &mut Batch) -> bool {
    let Some(answers) = &mut conn.answers else { return false };
    let passed = |answer: &HeldAnswer| {
        let member = rooms.at(answer.room).and_then(|room| room.members.at(answer.place));
        member.is_none_or(|member| member.has_passed(answer.seq))
    };
    let mut index = 0;
    while batch.takes(portion)
        && let Some(answer) = answers.get(index)
    {
        if passed(answer) {
            if let Some(answer) = answers.remove(index) {
                batch.push(answer.frame, 0);
            }
        } else {
            index += 1;
        }
    }
    let left = !batch.takes(portion) && !answers.is_empty();
    if answers.is_empty() {
        conn.answers = None;
    }
    left
}
