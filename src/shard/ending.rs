//! How connections end: by us, by the client, by force, and all of them in a drain.

use super::Shard;
use super::connection::{Due, Membership, Stage};
use super::effect::{Closing, Effect, Effects};
use super::keeping::Keeping;
use super::timers::Timer;
use super::walks::Walk;
use crate::code::CloseCode;
use crate::envelope::{Encoding, notice};
use crate::ids::ConnId;
use crate::limits::{CLOSE_DEADLINE_MS, DRAIN_SILENT_MS, DRAIN_WAVES};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::payload::Payload;
use crate::room::presence::Parting;
use crate::session::endpoint::Door;
use crate::time::{Millis, Now};
use crate::wire::encoder::close_frame;
use crate::wire::event_stream;
use crate::wire::http::HttpError;

impl Shard {
    /// Ends a connection from our side: says why in an event, then in the close frame.
    pub(super) fn close(&mut self, now: Now, id: ConnId, code: CloseCode, reason: &str, effects: &mut Effects) {
        self.close_counted(now, id, (code, metric_of(code)), reason, effects);
    }

    /// As [`Shard::close`], counted as the metric says: the code does not always tell the cause.
    pub(super) fn close_counted(
        &mut self,
        now: Now,
        id: ConnId,
        (code, metric): (CloseCode, Metric),
        reason: &str,
        effects: &mut Effects,
    ) {
        let Some(conn) = self.slots.find(id) else { return };
        match conn.stage {
            Stage::Auth | Stage::Open | Stage::Echo => {}
            Stage::Head | Stage::Asking | Stage::Gate => return self.forget(id, Closing::Abort, metric, effects),
            // Its last frame is on its way, and the first reason stands.
            Stage::Parting | Stage::Ending | Stage::Leaving => return,
        }
        if !matches!(conn.stage, Stage::Echo) && !conn.door.is_flat() {
            let back = (code == CloseCode::RESTART).then_some(RECONNECT_AFTER_MS / 1000);
            let write = |stamp, out: &mut Vec<u8>| notice::write_connection_close(stamp, code, reason, back, out);
            let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
            self.queue(now, id, Lane::Critical, frame, effects);
        }
        self.end(now, id, close_frame(code, reason), metric, effects);
    }

    /// Queues a connection's last frame. Answers go before it: those that waited for events, since what they say has
    /// happened, and those that are under way from other shards or from the disk, for which it waits a while. Events that
    /// are still owed do not: the client resumes from where it was, and no answer says that it was further.
    pub(super) fn end(&mut self, now: Now, id: ConnId, last: Payload, metric: Metric, effects: &mut Effects) {
        self.end_in(now, id, (Stage::Parting, last), metric, effects);
    }

    /// The same, and what is under way is not waited for: nobody reads it any more.
    pub(super) fn end_at_once(&mut self, now: Now, id: ConnId, last: Payload, metric: Metric, effects: &mut Effects) {
        self.end_in(now, id, (Stage::Ending, last), metric, effects);
    }

    fn end_in(&mut self, now: Now, id: ConnId, (stage, last): (Stage, Payload), metric: Metric, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id).filter(|conn| conn.is_upgraded()) else { return };
        conn.stage = Stage::Ending;
        conn.choked &= conn.paused.take().is_none();
        let waits = stage == Stage::Parting && conn.unanswered > 0;
        self.metrics.count(Metric::of_close(close_code_of(&last)));
        let stream = conn.door == Door::EventStream;
        let code = CloseCode(close_code_of(&last));
        let last = if stream { Payload::copy_of(event_stream::COMMENT) } else { last };
        let held = conn.answers.take().into_iter().flat_map(|held| *held);
        self.give_last_answers(id, held);
        self.metrics.count(metric);
        self.saw_end(id, code, metric);
        if waits {
            let at = |index| self.slots.find(id).and_then(|conn| conn.memberships.at(index));
            let all: Vec<Membership> = (0..).map_while(at).collect();
            all.into_iter().for_each(|at| self.note_reached(id, at));
        }
        self.leave_all(now.millis(), id, parting_of(metric), effects);
        // Its offers went with the rest, and were perhaps all that it waited for.
        match self.slots.find_mut(id).filter(|conn| waits && conn.unanswered > 0) {
            Some(conn) => {
                conn.stage = Stage::Parting;
                self.part_later(now, id, last, effects);
            }
            None => self.queue_last(now, id, last, effects),
        }
    }

    pub(super) fn queue_last(&mut self, now: Now, id: ConnId, last: Payload, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let before = conn.outbox.bytes();
        // RFC 6455 section 5.5.1: nothing follows the close frame, so what the low lane holds is dropped.
        conn.outbox.push_last(last);
        self.metrics.add(Metric::OutboxBytes, conn.outbox.bytes() as u64);
        self.metrics.subtract(Metric::OutboxBytes, before as u64);
        if conn.due == Due::Turn && !conn.waits_when_behind() {
            conn.due = Due::Nothing;
        }
        self.wheel.insert(now.millis().after(CLOSE_DEADLINE_MS), Timer::Close(id));
        self.mark(id, effects);
    }

    /// The client does not take what it is owed. What is queued is dropped; if it comes to read after all,
    /// it finds the close frame.
    pub(super) fn cut(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        if !conn.is_upgraded() {
            return self.forget(id, Closing::Abort, Metric::ClosedSlow, effects);
        }
        self.metrics.subtract(Metric::OutboxBytes, conn.outbox.bytes() as u64);
        conn.outbox.drop_queued();
        self.end_at_once(now, id, close_frame(CloseCode::SLOW, "slow consumer"), Metric::ClosedSlow, effects);
    }

    /// Takes a connection out of everything and tells the host how to end its socket.
    pub(super) fn forget(&mut self, id: ConnId, closing: Closing, metric: Metric, effects: &mut Effects) {
        self.leave_all(self.latest.millis(), id, parting_of(metric), effects);
        self.drop_inquiry(id);
        self.take_gate(id);
        self.know(id);
        if self.slots.find(id).is_some_and(|conn| conn.upgraded && conn.is_upgraded()) {
            self.saw_end(id, CloseCode::ABNORMAL, metric);
        }
        self.lasts.remove(&id);
        self.left.remove(&id);
        let Some(conn) = self.slots.remove(id) else { return };
        self.metrics.subtract(Metric::Blocked, u64::from(conn.blocked.is_some()));
        self.discount(conn.peer, conn.counted.clone(), effects);
        if conn.upgraded {
            self.metrics.subtract(Metric::Connections, 1);
            if conn.is_upgraded() {
                self.metrics.count(metric);
                // RFC 6455 section 7.1.5: without a close frame it is 1006.
                self.metrics.count(Metric::Closed1006);
            }
        }
        self.metrics.subtract(Metric::OutboxBytes, conn.outbox.bytes() as u64);
        effects.list.push(Effect::Close(id, closing));
    }

    fn leave_all(&mut self, now: Millis, id: ConnId, parting: Parting, effects: &mut Effects) {
        if self.slots.find(id).is_some_and(|conn| conn.service.is_some()) {
            self.end_service(id, effects);
        }
        self.check_out(id, effects);
        let Some(conn) = self.slots.find_mut(id) else { return };
        conn.highs = 0;
        let memberships = std::mem::take(&mut conn.memberships);
        self.stop_travelling(id, &memberships, effects);
        for membership in memberships.iter() {
            self.leave_room(now, id, membership, parting, effects);
        }
    }

    /// From now on nothing new is let in; everybody is told, and closed in waves over the window.
    pub(super) fn on_drain(&mut self, now: Now, window_ms: u64, effects: &mut Effects) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        self.metrics.set(Metric::Draining, 1);
        let frame = self.pen.notice(now, Encoding::TRIPSAGE, |stamp, out| {
            notice::write_draining(stamp, RECONNECT_AFTER_MS, out);
        });
        self.begin_walk(Walk::Tell(frame, 0));
        self.walk(now, effects);
        for wave in 0..DRAIN_WAVES {
            let at = now.millis().after(window_ms * wave / DRAIN_WAVES);
            self.wheel.insert(at, Timer::Wave(wave));
        }
    }

    /// Tells one connection that the server drains.
    pub(super) fn tell_draining(&mut self, now: Now, slot: u32, frame: &Payload, effects: &mut Effects) {
        let Some((id, conn)) = self.slots.tenant_mut(slot) else { return };
        match conn.stage {
            Stage::Open if conn.takes_notices() => self.queue(now, id, Lane::Critical, frame.clone(), effects),
            // A socket that has said nothing for so long is no probe on its way. What is in line was said.
            Stage::Head
                if !conn.in_line
                    && conn.opening.as_ref().is_none_or(|opening| opening.head.is_empty())
                    && now.millis().since(conn.accepted) >= DRAIN_SILENT_MS =>
            {
                self.forget(id, Closing::Abort, Metric::ClosedDrain, effects);
            }
            _ => {}
        }
    }

    /// A wave is a tenth of the connections; the last one is all that are left.
    pub(super) fn on_wave_reaches(&mut self, now: Now, slot: u32, wave: u64, effects: &mut Effects) {
        let last = wave + 1 == DRAIN_WAVES;
        let Some((id, conn)) = self.slots.tenant_mut(slot) else { return };
        if !last && u64::from(slot) % DRAIN_WAVES != wave {
            return;
        }
        match conn.stage {
            Stage::Auth | Stage::Open | Stage::Echo => {
                self.close(now, id, CloseCode::RESTART, "the server restarts", effects);
            }
            Stage::Gate => self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedDraining, effects),
            // Who stands in the host's line has asked, and is answered.
            Stage::Head | Stage::Asking if last && !conn.in_line => {
                self.forget(id, Closing::Abort, Metric::ClosedDrain, effects)
            }
            // What is asked in the meantime is still answered: a probe that is reset learns nothing.
            Stage::Head | Stage::Asking | Stage::Parting | Stage::Ending | Stage::Leaving => {}
        }
    }

    /// Whether a drain is over: no connection is left, and nobody outside waits for the store.
    #[must_use]
    pub fn drained(&self) -> bool {
        let owes = |keeping: &Keeping| keeping.owes_outside(&self.rooms);
        self.draining && self.slots.taken() == 0 && !self.keeping.as_deref().is_some_and(owes)
    }
}

/// How long a client is asked to wait before it comes back. It adds its own jitter.
const RECONNECT_AFTER_MS: u64 = 1000;

/// The code in a close frame of ours (RFC 6455 section 5.5.1); 1005 stands for none.
fn close_code_of(frame: &[u8]) -> u16 {
    frame.get(2..4).and_then(|code| code.try_into().ok()).map_or(1005, u16::from_be_bytes)
}

/// Whether others hear of it at once: who was cut off may come back.
const fn parting_of(metric: Metric) -> Parting {
    match metric {
        Metric::ClosedGone | Metric::ClosedIdle | Metric::ClosedSlow | Metric::ClosedDrain => Parting::Broken,
        _ => Parting::Clean,
    }
}

const fn metric_of(code: CloseCode) -> Metric {
    match code {
        CloseCode::RESTART | CloseCode::GOING_AWAY => Metric::ClosedDrain,
        CloseCode::TOKEN | CloseCode::BAD_AUTH | CloseCode::WRONG_USER => Metric::ClosedToken,
        CloseCode::IDLE => Metric::ClosedIdle,
        CloseCode::SLOW => Metric::ClosedSlow,
        CloseCode::NORMAL => Metric::ClosedNormal,
        CloseCode::POLICY | CloseCode::FLOODING | CloseCode::LIMIT | CloseCode::REPLACED => Metric::ClosedPolicy,
        _ => Metric::ClosedProtocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_is_sent_is_counted_under_its_number() {
        for (code, _) in CloseCode::TABLE {
            let metric = Metric::of_close(close_code_of(&close_frame(*code, "why")));
            assert_eq!(metric.describe().label_value(), code.0.to_string(), "{code:?}");
        }
        let empty = crate::wire::encoder::frame(crate::wire::encoder::Opcode::Close, &[]);
        assert_eq!(Metric::of_close(close_code_of(&empty)), Metric::Closed1005);
        assert_eq!(Metric::of_close(3000), Metric::ClosedOther, "what a client makes up");
    }

    #[test]
    fn a_close_is_counted_by_its_code() {
        for (codes, expected) in [
            (&[CloseCode::RESTART, CloseCode::GOING_AWAY][..], Metric::ClosedDrain),
            (&[CloseCode::TOKEN, CloseCode::BAD_AUTH, CloseCode::WRONG_USER], Metric::ClosedToken),
            (&[CloseCode::IDLE], Metric::ClosedIdle),
            (&[CloseCode::SLOW], Metric::ClosedSlow),
            (&[CloseCode::NORMAL], Metric::ClosedNormal),
            (&[CloseCode::POLICY, CloseCode::FLOODING, CloseCode::LIMIT, CloseCode::REPLACED], Metric::ClosedPolicy),
            (
                &[CloseCode::PROTOCOL, CloseCode::UNSUPPORTED, CloseCode::TOO_LARGE, CloseCode::INTERNAL],
                Metric::ClosedProtocol,
            ),
        ] {
            for code in codes {
                assert_eq!(metric_of(*code), expected, "{code:?}");
            }
        }
    }
}
