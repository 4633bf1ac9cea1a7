//! Stations 5 and 6 for what a connection sends to a channel: may it, and where is the channel at home.

use std::sync::Arc;

use super::Shard;
use super::direct::is_direct;
use super::effect::{Effect, Effects};
use super::home::Proposal;
use super::message::{Answer, MeshMessage, Publication};
use super::rooms::{Role, RoomId};
use crate::auth::{Claims, Verb};
use crate::code::ErrorCode;
use crate::envelope::body::{Said, write_chat_message, write_trip_update};
use crate::envelope::event::uuid_text;
use crate::envelope::globetrotter::tells_fields;
use crate::envelope::notice::{self, Answered};
use crate::envelope::tripsage::{is_attributed, is_reserved};
use crate::envelope::{Change, Chat, Encoding, Fields, Inbound, Publish};
use crate::ids::ConnId;
use crate::limits::MEMBERSHIPS_PER_CONNECTION_MAX;
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::payload::Payload;
use crate::room::dedup::Operation;
use crate::route;
use crate::shard::connection::{HeldAnswer, Membership};
use crate::time::Now;

/// What a message is about to become.
pub(super) struct Draft<'a> {
    pub(super) channel: Arc<str>,
    pub(super) user: Arc<str>,
    pub(super) kind: &'a str,
    pub(super) payload: &'a [u8],
    /// What the client itself wrote: by it a retry is recognised.
    pub(super) written: &'a [&'a [u8]],
}

impl Shard {
    /// A chat message: to the whole session, its author included.
    pub(super) fn on_chat(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        chat: &Chat<'_>,
        effects: &mut Effects,
    ) {
        let Some((channel, user)) = self.target(now, id, inbound, Verb::Publish, effects) else { return };
        let Some(session) = channel.strip_prefix("chat:") else {
            return self.refuse_message(now, id, inbound, ErrorCode::ChannelNotFound, effects);
        };
        let may_pose = chat.role.is_some_and(|_| self.may(id, &channel, Verb::Stream));
        let role = if may_pose { chat.role.unwrap_or("user") } else { "user" };
        let cleaned = match self.clean_chat(&channel, &user, chat) {
            Ok(cleaned) => cleaned,
            Err(code) => return self.refuse_message(now, id, inbound, code, effects),
        };
        let mut payload = std::mem::take(&mut self.body);
        let message_id = uuid_text(self.pen.event_id(now));
        let said = Said { id: &message_id, role, session_id: session, user_id: &user, unix_ms: now.unix_ms };
        let clean = cleaned.as_ref().map_or(*chat, |cleaned| cleaned.of(chat));
        let metadata = write_chat_message(&said, &clean, &mut payload);
        let written = [
            chat.content.as_bytes(),
            chat.role.unwrap_or("").as_bytes(),
            chat.attachments.unwrap_or("").as_bytes(),
            payload.get(metadata.clone()).unwrap_or_default(),
        ];
        let finished = cleaned.map(|cleaned| cleaned.finish(&payload, metadata)).transpose();
        match &finished {
            Ok(finished) => {
                let payload = finished.as_deref().unwrap_or(&payload);
                let draft = Draft { channel, user, kind: "chat_message", payload, written: &written };
                self.send(now, id, inbound, &draft, effects);
            }
            Err(code) => self.refuse_message(now, id, inbound, *code, effects),
        }
        self.keep_scratch(payload);
    }

    /// What an agent does: to the channel, under the first name of its kind.
    pub(super) fn on_report(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        (kind, fields): (&str, &Fields<'_>),
        effects: &mut Effects,
    ) {
        let Some((channel, user)) = self.target(now, id, inbound, Verb::Stream, effects) else { return };
        let mut payload = std::mem::take(&mut self.body);
        fields.write(&mut payload);
        let draft = Draft { channel, user, kind, payload: &payload, written: &[&payload] };
        self.send(now, id, inbound, &draft, effects);
        self.keep_scratch(payload);
    }

    /// New values of a trip's fields: to everybody in the trip, their author included.
    pub(super) fn on_trip_update(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        changes: &[Change<'_>],
        effects: &mut Effects,
    ) {
        let Some((channel, user)) = self.target(now, id, inbound, Verb::Edit, effects) else { return };
        let Some(trip) = channel.strip_prefix("trip:") else {
            return self.refuse_message(now, id, inbound, ErrorCode::ChannelNotFound, effects);
        };
        let mut payload = std::mem::take(&mut self.body);
        write_trip_update(trip, &user, changes, &mut payload);
        let draft = Draft { channel, user, kind: "trip_update_broadcast", payload: &payload, written: &[&payload] };
        self.send(now, id, inbound, &draft, effects);
        self.keep_scratch(payload);
    }

    /// An event of any type.
    pub(super) fn on_publish(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        publish: &Publish<'_>,
        effects: &mut Effects,
    ) {
        if inbound.channel.is_some_and(is_direct) {
            return self.on_direct(now, id, inbound, publish, effects);
        }
        let Some((channel, user)) = self.target(now, id, inbound, Verb::Publish, effects) else { return };
        let claims = self.slots.find(id).and_then(|conn| conn.claims.as_ref());
        let judged =
            claims.map_or(Err(ErrorCode::AuthFailed), |claims| self.judge_event(claims, &channel, publish.kind));
        let cleaned =
            judged.and_then(|()| self.clean_event(&channel, &user, (publish.kind, publish.payload.as_bytes())));
        let cleaned = match cleaned {
            Ok(cleaned) => cleaned,
            Err(code) => return self.refuse_message(now, id, inbound, code, effects),
        };
        let payload = cleaned.as_deref().unwrap_or(publish.payload).as_bytes();
        let draft = Draft { channel, user, kind: publish.kind, payload, written: &[publish.payload.as_bytes()] };
        self.send(now, id, inbound, &draft, effects);
    }

    /// Whether somebody who may publish in a channel may publish events of this type.
    pub(super) fn judge_event(&self, claims: &Claims, channel: &str, kind: &str) -> Result<(), ErrorCode> {
        if is_reserved(kind) {
            return Err(ErrorCode::InvalidMessageFormat);
        }
        // The payload goes out as it came: in these it could name another user, the assistant's role, or
        // fields that the sender may not edit.
        let poses = is_attributed(kind) && !self.permits(claims, channel, Verb::Stream);
        let edits = channel.starts_with("trip:") && tells_fields(kind) && !self.permits(claims, channel, Verb::Edit);
        if poses || edits || !self.options.policy.allows_event(&claims.holder(), channel, kind) {
            self.metrics.count(Metric::RefusedPermission);
            return Err(ErrorCode::PermissionDenied);
        }
        Ok(())
    }

    /// The channel that a message goes to and who sends it, or a refusal.
    pub(super) fn target(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        verb: Verb,
        effects: &mut Effects,
    ) -> Option<(Arc<str>, Arc<str>)> {
        let conn = self.slots.find(id)?;
        let user = Arc::clone(conn.user()?);
        let named = inbound.channel.map(|name| super::admission::full_name(name, &user));
        let channel = match (named, &conn.own) {
            (Some(named), Some(own)) if named == **own => Arc::clone(own),
            (Some(named), _) => Arc::from(named),
            (None, Some(own)) => Arc::clone(own),
            (None, None) => {
                self.refuse_message(now, id, inbound, ErrorCode::ChannelNotFound, effects);
                return None;
            }
        };
        if !self.may(id, &channel, verb) || is_direct(&channel) {
            self.metrics.count(Metric::RefusedPermission);
            self.refuse_message(now, id, inbound, ErrorCode::PermissionDenied, effects);
            return None;
        }
        if let Err(over) = self.spend(now, id, &channel, &user) {
            self.metrics.count(Metric::RefusedRate);
            self.refuse_for_rate(now, id, Some(inbound), over, effects);
            return None;
        }
        Some((channel, user))
    }

    pub(super) fn may(&self, id: ConnId, channel: &str, verb: Verb) -> bool {
        let Some(conn) = self.slots.find(id) else { return false };
        conn.may_in_own(channel, verb)
            .unwrap_or_else(|| conn.claims.as_ref().is_some_and(|claims| self.permits(claims, channel, verb)))
    }

    /// Station 6: to the channel's home, here or over the mesh.
    pub(super) fn send(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        draft: &Draft<'_>,
        effects: &mut Effects,
    ) {
        let wants_ack = inbound.ack && inbound.id.is_some();
        let operation =
            inbound.id.map(|id| Operation::new(&self.options.operations, &draft.user, id, draft.kind, draft.written));
        let joined = self.joined_at_home(id, &draft.channel);
        let home =
            joined.map_or_else(|| route::home(&self.options.key, &draft.channel, self.options.shards), |_| self.id);
        if home == self.id {
            let proposal = Proposal {
                author: id,
                channel: &draft.channel,
                user: &draft.user,
                kind: draft.kind,
                payload: draft.payload,
                id: inbound.id,
                traceparent: inbound.traceparent,
                operation,
                wants_ack,
                excluded: inbound.exclude_sender.then_some(id),
            };
            match joined {
                Some(room) => self.propose_in(now, room, &proposal, effects),
                None => self.propose(now, &proposal, effects),
            }
        } else if effects.congested(home) {
            self.metrics.count(Metric::RefusedOverload);
            self.refuse_message(now, id, inbound, ErrorCode::Overloaded, effects);
        } else {
            let publication = Publication {
                author: id,
                channel: Arc::clone(&draft.channel),
                user: Arc::clone(&draft.user),
                kind: Box::from(draft.kind),
                payload: Box::from(draft.payload),
                id: inbound.id.map(Box::from),
                traceparent: inbound.traceparent.map(Box::from),
                operation,
                wants_ack,
                excluded: inbound.exclude_sender.then_some(id),
            };
            effects.list.push(Effect::Mesh(home, MeshMessage::Publish(Box::new(publication))));
            if wants_ack {
                self.await_answer(id);
            }
        }
    }

    /// The room of a channel that is at home here and that the connection has joined: the usual case, which
    /// needs no look into the table of names.
    fn joined_at_home(&self, id: ConnId, channel: &Arc<str>) -> Option<RoomId> {
        let memberships = &self.slots.find(id)?.memberships;
        if memberships.len() > MEMBERSHIPS_PER_CONNECTION_MAX {
            return None; // A consumer of patterns: the table of names is quicker.
        }
        let mut rooms = memberships.iter().map(|membership| membership.room);
        rooms.find(|room| {
            let room = self.rooms.at(*room);
            room.is_some_and(|room| Arc::ptr_eq(&room.name, channel) && matches!(room.role, Role::Home { .. }))
        })
    }

    pub(super) fn keep_scratch(&mut self, mut scratch: Vec<u8>) {
        scratch.clear();
        scratch.shrink_to(crate::limits::MESSAGE_BYTES_MAX);
        self.body = scratch;
    }

    /// Refuses a message: a `nack` if one was asked for, else an error.
    pub(super) fn refuse_message(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        code: ErrorCode,
        effects: &mut Effects,
    ) {
        if inbound.ack && inbound.id.is_some() {
            self.refuse_operation(now, id, inbound, code, None, effects);
        } else {
            self.error(now, id, code, text_of(code), None, effects);
        }
    }

    pub(super) fn refuse_operation(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        code: ErrorCode,
        retry_ms: Option<u64>,
        effects: &mut Effects,
    ) {
        self.saw_refused(now, id, code);
        let operation = inbound.id.unwrap_or("");
        let write = |stamp, out: &mut Vec<u8>| notice::write_nack(stamp, operation, code, text_of(code), retry_ms, out);
        let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
        self.queue(now, id, Lane::Critical, frame, effects);
    }

    /// An operation of a connection here is answered later: by another shard, or when it is on the disk.
    pub(super) fn await_answer(&mut self, author: ConnId) {
        if let Some(conn) = self.slots.find_mut(author).filter(|_| author.shard == self.id) {
            conn.unanswered = conn.unanswered.saturating_add(1);
        }
    }

    /// What was to be answered later is answered now, or begins anew.
    pub(super) fn end_await(&mut self, author: ConnId) {
        if let Some(conn) = self.slots.find_mut(author).filter(|_| author.shard == self.id) {
            debug_assert!(conn.unanswered > 0, "every operation is answered once");
            conn.unanswered = conn.unanswered.saturating_sub(1);
        }
    }

    /// Another shard has answered an operation that was sent there.
    pub(super) fn on_answer_from_home(&mut self, now: Now, answer: Answer, effects: &mut Effects) {
        if answer.wants_ack {
            self.end_await(answer.to);
        }
        self.on_answer(now, answer, effects);
    }

    /// The home has answered an operation of a connection here.
    pub(super) fn on_answer(&mut self, now: Now, answer: Answer, effects: &mut Effects) {
        let author = answer.to;
        self.tell_answer(now, answer, effects);
        self.part_if_answered(now, author, effects);
    }

    fn tell_answer(&mut self, now: Now, answer: Answer, effects: &mut Effects) {
        let index = self.membership_index(answer.to, &answer.channel);
        let Some(conn) = self.slots.find(answer.to) else { return };
        let membership = index.and_then(|index| conn.memberships.at(index));
        let member = membership.and_then(|at| self.rooms.at(at.room)?.members.at(at.place).map(|member| (at, member)));
        // Who is in the channel is told once it has the event, or is told where it is by then.
        let left = self.left.get(&answer.to).filter(|_| member.is_none());
        let known = || left.and_then(|left| left.of(&answer.channel)).map(|reached| reached.encoding);
        let encoding = member.map(|(_, member)| member.encoding).or_else(known);
        let encoding = encoding.unwrap_or(Encoding::TRIPSAGE);
        let operation = answer.id.as_deref().unwrap_or("");
        let committed = match (answer.outcome, answer.wants_ack) {
            (Ok(committed), true) => committed,
            (Ok(_), false) => return,
            (Err(code), true) => {
                self.saw_refused(now, answer.to, code);
                let write =
                    |stamp, out: &mut Vec<u8>| notice::write_nack(stamp, operation, code, text_of(code), None, out);
                let frame = self.pen.notice(now, encoding, write);
                return self.queue(now, answer.to, Lane::Critical, frame, effects);
            }
            (Err(code), false) => return self.error(now, answer.to, code, text_of(code), None, effects),
        };
        // The author hears of the commit once it was sent everything up to the event.
        let waits = member.filter(|(_, member)| !member.has_passed(committed.seq)).map(|(at, _)| at);
        let answered = if committed.duplicate { Answered::Duplicate } else { Answered::First };
        let place = (committed.epoch, committed.seq);
        let place = Some(place).filter(|_| !left.is_some_and(|left| left.lacks(&answer.channel, committed.seq)));
        let write =
            |stamp, out: &mut Vec<u8>| notice::write_ack(stamp, operation, &answer.channel, place, answered, out);
        let frame = self.pen.notice(now, encoding, write);
        match waits {
            Some(Membership { room, place, .. }) => {
                let held = HeldAnswer { room, place, seq: committed.seq, frame, id: answer.id, answered };
                self.hold_answer(answer.to, held, effects);
            }
            None => self.queue(now, answer.to, Lane::Critical, frame, effects),
        }
    }

    fn hold_answer(&mut self, id: ConnId, held: HeldAnswer, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let answers = conn.answers.get_or_insert_default();
        // Their number is bounded by what is read: a client that is owed so many is not read any further.
        answers.push_back(held);
        self.mark(id, effects);
    }

    /// Queues an acknowledgement that no longer waits for events.
    pub(super) fn queue_answer(&mut self, id: ConnId, frame: Payload, effects: &mut Effects) {
        self.queue(self.latest, id, Lane::Critical, frame, effects);
    }
}

/// What a code means, in words.
#[must_use]
pub const fn text_of(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidJson => "the text is not JSON",
        ErrorCode::InvalidMessageFormat => "the message is malformed, or its type may not be sent by clients",
        ErrorCode::UnknownType => "this message type is not known",
        ErrorCode::MessageTooLarge => "the message is over the limit",
        ErrorCode::AuthFailed => "the token is not acceptable",
        ErrorCode::TokenExpired => "the token has expired",
        ErrorCode::PermissionDenied => "the token does not permit this here",
        ErrorCode::ChannelNotFound => "no such channel can take this message",
        ErrorCode::RateLimitExceeded => "too many messages",
        ErrorCode::ConnectionLimitExceeded => "too many subscriptions",
        ErrorCode::IdReused => "this operation id was used before with another content",
        ErrorCode::Overloaded => "the channel cannot take more at the moment",
        ErrorCode::StoreUnavailable => "the store cannot write at the moment",
        ErrorCode::NotAMember => "the channel has to be joined first",
        ErrorCode::DeadlineExceeded => "nobody answered in time",
        ErrorCode::ServerError => "the server failed",
    }
}
