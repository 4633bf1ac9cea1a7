//! Events of services that go to connections and not to a channel: to one, or to everybody.
//!
//! They have no number. A connection's public name says where it lives, to those who have the key. An event
//! for everybody goes through one shard, so that all get such events in one order, and from there to the
//! connections of every shard, a few in each turn.

use std::sync::Arc;

use super::Shard;
use super::effect::{Effect, Effects};
use super::message::MeshMessage;
use super::message::outside::Reply;
use super::message::service::{Direct, DirectMessage, Forms, Target};
use super::outside::reply;
use super::publishing::text_of;
use crate::auth::caps::Verb;
use crate::code::ErrorCode;
use crate::envelope::notice::service::{Sent, write_direct, write_direct_ack};
use crate::envelope::notice::{self, Answered};
use crate::envelope::tripsage::is_reserved;
use crate::envelope::{Encoding, Inbound, Priority, Publish};
use crate::ids::{ConnId, ConnectionName, ShardId};
use crate::limits::SPREADS_PER_SHARD_MAX;
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::room::dedup::{Known, Operation};
use crate::route;
use crate::time::Now;

/// The name under which a service publishes to everybody.
const EVERYBODY: &str = "*";

/// An event on its way to all connections of a shard.
#[derive(Debug)]
pub(super) struct Spread {
    frames: Forms,
    lane: Lane,
    excluded: Option<ConnId>,
    /// The slot that is next.
    next: u32,
}

/// The lane of an event without a number. What is not said to be low is not dropped for a client that is slow; the
/// normal share of a write is what channels have, so normal ones go with the high.
pub(super) const fn lane_of(priority: Option<Priority>) -> Lane {
    match priority {
        Some(Priority::Low) => Lane::Low,
        Some(Priority::High | Priority::Normal) | None => Lane::High,
    }
}

/// Whether a name is none of a channel's, but stands for connections.
pub(super) fn is_direct(name: &str) -> bool {
    name == EVERYBODY || name.starts_with("connection:")
}

impl Shard {
    /// Publishes to connections. Only services can, as far as their token lets them.
    pub(super) fn on_direct(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        publish: &Publish<'_>,
        effects: &mut Effects,
    ) {
        let name = inbound.channel.unwrap_or("");
        let Some(conn) = self.slots.find(id) else { return };
        let Some(user) = conn.user().map(Arc::clone) else { return };
        let service = conn.claims.as_ref().is_some_and(|claims| claims.service);
        if !service || !self.may(id, name, Verb::Publish) {
            self.metrics.count(Metric::RefusedPermission);
            return self.refuse_message(now, id, inbound, ErrorCode::PermissionDenied, effects);
        }
        if is_reserved(publish.kind) {
            return self.refuse_message(now, id, inbound, ErrorCode::InvalidMessageFormat, effects);
        }
        let Some((target, to)) = self.direct_target(name) else {
            return self.refuse_message(now, id, inbound, ErrorCode::ChannelNotFound, effects);
        };
        if effects.congested(to) {
            self.metrics.count(Metric::RefusedOverload);
            return self.refuse_message(now, id, inbound, ErrorCode::Overloaded, effects);
        }
        let payload = publish.payload.as_bytes();
        let Inbound { id: op_id, traceparent, .. } = *inbound;
        let frames = self.direct_forms(now, &Sent { kind: publish.kind, op_id, user_id: &user, traceparent, payload });
        // The target belongs to the content: the same id for another target is another operation.
        let parts = [name.as_bytes(), payload];
        let operation = inbound.id.map(|id| Operation::new(&self.options.operations, &user, id, publish.kind, &parts));
        let direct = Direct {
            author: id,
            target,
            frames,
            channel: Arc::from(name),
            id: inbound.id.map(Box::from),
            operation,
            wants_ack: inbound.ack && inbound.id.is_some(),
            excluded: inbound.exclude_sender.then_some(id),
            lane: lane_of(inbound.priority),
        };
        if direct.wants_ack {
            self.await_answer(id);
        }
        self.send_direct(now, to, DirectMessage::Send(Box::new(direct)), effects);
    }

    /// An event without a channel, as all get it or, if it belongs to a trace, as legacy and as known clients do.
    pub(super) fn direct_forms(&mut self, now: Now, sent: &Sent<'_>) -> Forms {
        let stamp = self.pen.stamp(now, Encoding::TRIPSAGE);
        let plain = self.pen.text(|out| write_direct(stamp, &Sent { traceparent: None, ..*sent }, out));
        let traced = sent.traceparent.map(|_| self.pen.text(|out| write_direct(stamp, sent, out)));
        Forms { plain, traced }
    }

    /// Whom a name stands for, and which shard knows.
    pub(super) fn direct_target(&self, name: &str) -> Option<(Target, ShardId)> {
        if name == EVERYBODY {
            return Some((Target::Everybody, route::home(&self.options.key, EVERYBODY, self.options.shards)));
        }
        let name = ConnectionName::parse(name.strip_prefix("connection:")?)?;
        let id = self.pen.holder_of(name);
        (id.shard.0 < self.options.shards).then_some((Target::Connection(id, name), id.shard))
    }

    pub(super) fn send_direct(&mut self, now: Now, to: ShardId, message: DirectMessage, effects: &mut Effects) {
        if let DirectMessage::Sent { to: author, outcome, .. } = &message
            && let Some(ticket) = author.ticket()
        {
            reply(ticket, outcome.map(Reply::Sent), effects);
        } else if to == self.id {
            self.on_direct_message(now, message, effects);
        } else {
            effects.list.push(Effect::Mesh(to, MeshMessage::Direct(Box::new(message))));
        }
    }

    pub(super) fn on_direct_message(&mut self, now: Now, message: DirectMessage, effects: &mut Effects) {
        match message {
            DirectMessage::Send(direct) => {
                let outcome = self.deliver_direct(now, &direct, effects);
                let Direct { author, channel, id, wants_ack, .. } = *direct;
                let sent = DirectMessage::Sent { to: author, id, channel, wants_ack, outcome };
                self.send_direct(now, author.shard, sent, effects);
            }
            DirectMessage::Spread(frames, lane, excluded) => self.begin_spread(frames, lane, excluded),
            DirectMessage::Through(shard) => self.end_spread(shard),
            DirectMessage::Sent { to, id, channel, wants_ack, outcome } => {
                let id = id.as_deref().unwrap_or("");
                self.on_direct_sent(now, to, (id, &channel, wants_ack), outcome, effects);
            }
        }
    }

    /// Once for each operation. Returns whether it is a duplicate.
    fn deliver_direct(&mut self, now: Now, direct: &Direct, effects: &mut Effects) -> Result<bool, ErrorCode> {
        if let Some(operation) = direct.operation {
            match self.direct.find(now.millis(), operation) {
                Known::Done(_) => {
                    self.metrics.count(Metric::Duplicates);
                    return Ok(true);
                }
                Known::Reused => return Err(ErrorCode::IdReused),
                Known::New => {}
            }
        }
        match direct.target {
            Target::Connection(id, name) => {
                let conn = self.slots.find(id).filter(|conn| conn.name == name && conn.takes_notices());
                let known = conn.ok_or(ErrorCode::ChannelNotFound)?.known;
                if direct.excluded != Some(id) {
                    self.queue(now, id, direct.lane, direct.frames.to_client(known).clone(), effects);
                }
            }
            // What is taken is told by every shard, so the slowest of them decides.
            Target::Everybody if self.spreading.iter().any(|under_way| *under_way >= SPREADS_PER_SHARD_MAX) => {
                self.metrics.count(Metric::RefusedOverload);
                return Err(ErrorCode::Overloaded);
            }
            Target::Everybody => {
                self.spreading.resize(usize::from(self.options.shards), 0);
                for shard in (0..self.options.shards).map(ShardId) {
                    self.spreading[shard.index()] += 1;
                    let spread = DirectMessage::Spread(direct.frames.clone(), direct.lane, direct.excluded);
                    self.send_direct(now, shard, spread, effects);
                }
            }
        }
        if let Some(operation) = direct.operation {
            self.direct.insert(now.millis(), operation, crate::ids::Seq(0));
        }
        Ok(false)
    }

    /// The shard that gives these their order holds back while so many are under way here.
    fn begin_spread(&mut self, frames: Forms, lane: Lane, excluded: Option<ConnId>) {
        debug_assert!(self.spreads.len() < SPREADS_PER_SHARD_MAX, "no more are sent before these are through");
        self.spreads.push_back(Spread { frames, lane, excluded, next: 0 });
    }

    /// All connections of a shard have got an event for everybody.
    fn end_spread(&mut self, on: ShardId) {
        if let Some(under_way) = self.spreading.get_mut(on.index()) {
            *under_way -= 1;
        }
    }

    /// Gives up to `turns` connections the oldest event for everybody. Returns how many were looked at.
    pub(super) fn spread(&mut self, now: Now, turns: usize, effects: &mut Effects) -> usize {
        let Some(Spread { frames, lane, excluded, next }) = self.spreads.front_mut() else { return 0 };
        let (frames, lane, excluded, first) = (frames.clone(), *lane, *excluded, *next);
        let last = first.saturating_add(u32::try_from(turns).unwrap_or(u32::MAX)).min(self.slots.count());
        *next = last;
        if last == self.slots.count() {
            self.spreads.pop_front();
            let home = route::home(&self.options.key, EVERYBODY, self.options.shards);
            self.send_direct(now, home, DirectMessage::Through(self.id), effects);
        }
        for slot in first..last {
            let Some((id, conn)) = self.slots.tenant_mut(slot) else { continue };
            if conn.takes_notices() && excluded != Some(id) {
                let frame = frames.to_client(conn.known).clone();
                self.queue(now, id, lane, frame, effects);
            }
        }
        (last - first) as usize
    }

    /// The shard of whom an event was for has answered its author.
    fn on_direct_sent(
        &mut self,
        now: Now,
        to: ConnId,
        (id, channel, wants_ack): (&str, &str, bool),
        outcome: Result<bool, ErrorCode>,
        effects: &mut Effects,
    ) {
        if wants_ack {
            self.end_await(to);
        }
        self.tell_direct_sent(now, to, (id, channel, wants_ack), outcome, effects);
        self.part_if_answered(now, to, effects);
    }

    fn tell_direct_sent(
        &mut self,
        now: Now,
        to: ConnId,
        (id, channel, wants_ack): (&str, &str, bool),
        outcome: Result<bool, ErrorCode>,
        effects: &mut Effects,
    ) {
        let frame = match outcome {
            Ok(_) if !wants_ack => return,
            Ok(duplicate) => {
                let answered = if duplicate { Answered::Duplicate } else { Answered::First };
                self.pen.notice(now, Encoding::TRIPSAGE, |stamp, out| {
                    write_direct_ack(stamp, id, channel, answered, out);
                })
            }
            Err(code) if !wants_ack => return self.error(now, to, code, text_of(code), None, effects),
            Err(code) => {
                self.saw_refused(now, to, code);
                self.pen.notice(now, Encoding::TRIPSAGE, |stamp, out| {
                    notice::write_nack(stamp, id, code, text_of(code), None, out);
                })
            }
        };
        self.queue(now, to, Lane::Critical, frame, effects);
    }
}
