//! Joining and leaving channels, from the connection's side.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Shard;
use super::admission::full_name;
use super::connection::{Membership, Stage};
use super::direct::is_direct;
use super::effect::{Effect, Effects};
use super::keeping::Stored;
use super::message::MeshMessage;
use super::rooms::{NO_GOAL, Role, Room, RoomId, Share};
use crate::auth::caps::Verb;
use crate::code::ErrorCode;
use crate::envelope::Encoding;
use crate::envelope::globetrotter::IdForm;
use crate::envelope::notice::{self, Name};
use crate::envelope::tripsage::canonical;
use crate::ids::{ConnId, Position, Seq};
use crate::limits::{CHANNEL_NAME_BYTES_MAX, MEMBERSHIPS_PER_CONNECTION_MAX};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::recorder::Kind;
use crate::room::history::History;
use crate::room::members::{Member, Pending, Watch};
use crate::room::presence::Parting;
use crate::room::resume::{Fallback, Greeting, resume};
use crate::route;
use crate::time::{Millis, Now};

impl Shard {
    /// Joins channels and answers with what became of each.
    pub(super) fn subscribe(
        &mut self,
        now: Now,
        id: ConnId,
        (names, nameless): (&[&str], &[&str]),
        (since, group): (&[(&str, Position)], Option<&str>),
        effects: &mut Effects,
    ) {
        let Some(user) = self.slots.find(id).and_then(|conn| conn.user()).cloned() else { return };
        let (mut joined, mut failed) = (Vec::new(), Vec::new());
        for name in names {
            let channel = full_name(name, &user);
            let position = since.iter().find(|(other, _)| full_name(other, &user) == channel).map(|(_, at)| *at);
            let outcome = if channel.ends_with('*') || group.is_some() {
                self.subscribe_pattern(now, id, &channel, group, effects)
            } else if self.is_out_of_reach(&channel, effects) {
                self.metrics.count(Metric::RefusedOverload);
                Err(ErrorCode::Overloaded)
            } else {
                self.join(now, id, &channel, canonical(name, &user).encoding, position, effects)
            };
            match outcome {
                Ok(()) => joined.push(*name),
                Err(code) => failed.push((Name::Plain(name), code)),
            }
        }
        failed.extend(nameless.iter().map(|name| (Name::Raw(name), ErrorCode::ChannelNotFound)));
        failed.iter().for_each(|(_, code)| self.saw_refused(now, id, *code));
        // A visit greets after what is critical now, so this precedes every `subscribed`.
        let write = |stamp, out: &mut Vec<u8>| notice::write_subscribe_response(stamp, &joined, &failed, out);
        let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
        self.queue(now, id, Lane::Critical, frame, effects);
        self.hold_greetings(id);
    }

    /// What is queued now goes before what the visits write that greet.
    pub(super) fn hold_greetings(&mut self, id: ConnId) {
        if let Some(conn) = self.slots.find_mut(id) {
            conn.outbox.hold_greetings();
        }
    }

    /// Makes a connection a member of a channel, or lets a member start again from a position.
    ///
    /// # Errors
    /// The channel is not permitted, or a bound is reached.
    pub(super) fn join(
        &mut self,
        now: Now,
        id: ConnId,
        channel: &str,
        encoding: Encoding,
        position: Option<Position>,
        effects: &mut Effects,
    ) -> Result<(), ErrorCode> {
        let conn = self.slots.find(id).ok_or(ErrorCode::ServerError)?;
        if !matches!(conn.stage, Stage::Open) {
            return Err(ErrorCode::ServerError); // An earlier part of the same message ended the connection.
        }
        let claims = conn.claims.as_ref().ok_or(ErrorCode::AuthFailed)?;
        if channel.is_empty() || channel.len() > CHANNEL_NAME_BYTES_MAX {
            return Err(ErrorCode::ChannelNotFound);
        }
        if !self.permits(claims, channel, Verb::Subscribe) || is_direct(channel) {
            self.metrics.count(Metric::RefusedPermission);
            return Err(ErrorCode::PermissionDenied);
        }
        let joined = self.membership_index(id, channel).and_then(|index| conn.memberships.at(index));
        let is_named = joined.is_some_and(|at| !conn.is_automatic(at.room));
        if !is_named && conn.manual_memberships() >= MEMBERSHIPS_PER_CONNECTION_MAX {
            return Err(ErrorCode::ConnectionLimitExceeded);
        }
        let room = self.open_room(now, channel)?;
        let (membership, start) = match (joined, position) {
            (Some(membership), None) => (membership, Start::Stay),
            (Some(membership), position) => (membership, Start::At(position)),
            (None, position) => (self.enter(id, room, self.watch_of(id, room)), Start::At(position)),
        };
        self.place(room, membership.place, encoding, start, effects);
        self.tell_interest(room, effects);
        if joined.is_none() {
            self.note_heat(room, effects);
            self.attend(now, id, membership, effects);
        } else {
            if self.take_by_name(id, room) {
                self.attend_by_name(now, id, membership, effects);
            }
            if position.is_some() {
                self.attend_again(now, membership);
            }
        }
        self.hold_greetings(id);
        self.note_ready(id, membership);
        self.mark(id, effects);
        self.note_missed(id, membership);
        Ok(())
    }

    /// Whether a channel is not mirrored here and its home takes no messages at the moment. An attachment
    /// would only pile up at the host, and one after another without a bound. What an authentication frame
    /// asks for is let through: its refusal would not be told.
    pub(super) fn is_out_of_reach(&self, channel: &str, effects: &Effects) -> bool {
        let home = route::home(&self.options.key, channel, self.options.shards);
        effects.congested(home) && self.rooms.find(channel).is_none()
    }

    pub(super) fn enter(&mut self, id: ConnId, room: RoomId, watch: Watch) -> Membership {
        let (mut place, mut high) = (0, false);
        if let Some(room) = self.rooms.at_mut(room) {
            place = room.members.enter(Member { watch, ..Member::new(id.slot) });
            // A round that is under way is one place longer: the new one takes nobody's turn.
            room.left += u32::from(room.queued);
            high = room.share == Share::High;
            if let Some(fleeting) = &mut room.fleeting {
                fleeting.enter(place, watch);
            }
        }
        let membership = Membership { room, place, form: IdForm::Text };
        if let Some(conn) = self.slots.find_mut(id) {
            conn.memberships.push(membership);
            conn.highs += u16::from(high);
        }
        self.metrics.add(Metric::Memberships, 1);
        self.saw_membership(Kind::Joined, id, room);
        membership
    }

    /// Decides where a member starts, or notes what it asked for until the mirror can tell.
    pub(super) fn place(&mut self, id: RoomId, place: u32, encoding: Encoding, start: Start, effects: &mut Effects) {
        let slot = self.rooms.at(id).and_then(|room| Some((room, room.members.at(place)?.slot)));
        let cursor = slot.and_then(|(room, slot)| self.cursor_of(room, slot));
        let Some(room) = self.rooms.at_mut(id) else { return };
        let live = room.is_live();
        room.members.set_encoding(place, encoding);
        let Room { history, members, name, role, stored, .. } = room;
        let Some(member) = members.at_mut(place) else { return };
        match (start, role) {
            (Start::At(position), Role::Home { .. }) if !live => {
                // Until the store has opened the channel.
                member.start = Some(Box::new(Pending { position, after: 0 }));
            }
            (Start::At(position), Role::Home { .. }) => {
                member.start = Some(Box::new(Pending { position, after: 0 }));
                settle(history, history.last(), fallback(name), (stored, member));
                if let (None, Some(cursor)) = (position, cursor) {
                    member.next = cursor.next().min(member.next);
                }
            }
            (Start::At(position), Role::Mirror { asks, unsettled, .. }) => {
                member.start = Some(Box::new(Pending { position, after: *asks }));
                // A client may have been elsewhere and have seen more of the channel than is here yet; and the
                // home knows best what its user has acknowledged.
                let by_cursor = position.is_none() && cursor.is_some();
                if live && !by_cursor && !position.is_some_and(|position| history.is_behind(position)) {
                    settle(history, history.last(), fallback(name), (stored, member));
                    *unsettled |= member.start.is_some();
                } else {
                    *unsettled = true;
                    room.ask_home(effects);
                }
            }
            // It has its place; it is told where that is.
            (Start::Stay, _) if member.start.is_none() => {
                let past = stored.as_ref().and_then(|stored| stored.past.as_ref());
                let oldest = past.map_or_else(|| history.oldest(), |past| past.oldest(history));
                let seq = Seq(member.next.0.saturating_sub(1));
                let greeting = Greeting { epoch: history.epoch(), seq, oldest, recovered: None };
                member.greeting.get_or_insert_with(|| Box::new(greeting));
            }
            (Start::Stay, _) => {}
        }
        self.note_replay(id);
    }

    /// The room of a channel, made if it is not there: at home here, or as a mirror that attaches itself.
    pub(super) fn open_room(&mut self, now: Now, channel: &str) -> Result<RoomId, ErrorCode> {
        if let Some(room) = self.rooms.find(channel) {
            return Ok(room);
        }
        if self.rooms.len() >= self.options.channels_max && !self.evict_one() {
            self.metrics.count(Metric::RefusedOverload);
            return Err(ErrorCode::Overloaded);
        }
        let home = route::home(&self.options.key, channel, self.options.shards);
        let name: Arc<str> = Arc::from(channel);
        let debt = self.debts.remove(channel);
        let history = match &debt {
            Some(debt) => History::new(debt.epoch, debt.last.next()),
            None => History::new(self.pen.epoch(), Seq(1)),
        };
        let role = if home == self.id {
            Role::Home { followers: Vec::new(), dedup: None, hot: false, behind: false, patterns_seen: 0 }
        } else {
            self.attachments = self.attachments.wrapping_add(1);
            Role::Mirror {
                home,
                attachment: self.attachments,
                told: None,
                goal: NO_GOAL,
                first_goal: NO_GOAL,
                asks: 0,
                answers: 0,
                unsettled: true,
            }
        };
        self.metrics.add(Metric::Channels, 1);
        // A mirror is told by its home.
        let until_acked = home == self.id && self.options.policy.until_acked(channel);
        let mut room = Room::new(name, history, role, (until_acked, now.millis()));
        if let Some(debt) = debt {
            room.until_acked = debt.until_acked;
            room.service = Some(debt.service);
            room.deliver(until_acked);
        }
        let is_kept = home == self.id && self.is_durable(channel);
        room.extent = self.extents.find(channel);
        room.stored = is_kept.then(|| Box::new(Stored::opening()));
        let id = self.rooms.insert(room);
        self.saw_channel(now, id, channel);
        if is_kept {
            self.ask_to_open(now, id);
        }
        Ok(id)
    }

    /// Tells a mirror's home which encodings the members here use: with the first of them it attaches.
    pub(super) fn tell_interest(&mut self, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let encodings = room.members.encodings();
        let Role::Mirror { home, attachment, told, asks, .. } = &mut room.role else { return };
        let (channel, attachment) = (Arc::clone(&room.name), *attachment);
        let message = match told {
            Some(told) if *told == encodings => return,
            // It only saves work: a frame in another encoding is made here if need be.
            Some(_) if effects.congested(*home) => return,
            Some(_) => MeshMessage::Interest { channel, attachment, encodings },
            None => {
                *asks += 1;
                MeshMessage::Attach { channel, attachment, encodings }
            }
        };
        *told = Some(encodings);
        effects.list.push(Effect::Mesh(*home, message));
    }

    /// Tells all shards when a channel at home here becomes hot.
    fn note_heat(&mut self, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let count = room.members.len();
        if let Role::Home { hot, .. } = &mut room.role
            && !*hot
            && count >= self.options.hot_members
        {
            *hot = true;
            let name = Arc::clone(&room.name);
            self.tell_heat(&name, true, effects);
        }
    }

    pub(super) fn tell_heat(&mut self, channel: &Arc<str>, hot: bool, effects: &mut Effects) {
        let others = (0..self.options.shards).map(crate::ids::ShardId).filter(|shard| *shard != self.id);
        for shard in others {
            effects.list.push(Effect::Mesh(shard, MeshMessage::Hot(Arc::clone(channel), hot)));
        }
    }

    /// Leaves channels that the client names.
    pub(super) fn unsubscribe(&mut self, now: Now, id: ConnId, names: &[&str], effects: &mut Effects) {
        let Some(user) = self.slots.find(id).and_then(|conn| conn.user()).cloned() else { return };
        for name in names {
            let channel = full_name(name, &user);
            if self.unsubscribe_pattern(now, id, &channel, None, effects) {
                continue;
            }
            if let Some(index) = self.membership_index(id, &channel) {
                self.leave_with_notice(now, id, index, None, effects);
            }
        }
    }

    /// Leaves what a refreshed token no longer permits.
    pub(super) fn leave_forbidden(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let mut index = 0;
        while let Some(conn) = self.slots.find(id) {
            let Some(membership) = conn.memberships.at(index) else { break };
            let room = self.rooms.at(membership.room);
            let allowed = room
                .zip(conn.claims.as_ref())
                .is_some_and(|(room, claims)| self.permits(claims, &room.name, Verb::Subscribe));
            if allowed {
                index += 1;
            } else {
                self.leave_with_notice(now, id, index, Some("permission_denied"), effects);
            }
        }
    }

    pub(super) fn membership_index(&self, id: ConnId, channel: &str) -> Option<usize> {
        self.membership_in(id, self.rooms.find(channel)?)
    }

    pub(super) fn membership_in(&self, id: ConnId, room: RoomId) -> Option<usize> {
        self.slots.find(id)?.memberships.iter().position(|membership| membership.room == room)
    }

    /// What the member is still owed of the channel is dropped: it asked for no more of it.
    pub(super) fn leave_with_notice(
        &mut self,
        now: Now,
        id: ConnId,
        index: usize,
        reason: Option<&str>,
        effects: &mut Effects,
    ) {
        let Some(conn) = self.slots.find(id) else { return };
        let Some(membership) = conn.memberships.at(index) else { return };
        let named = self.rooms.at(membership.room).map(|room| {
            let encoding = room.members.at(membership.place).map_or(Encoding::TRIPSAGE, |member| member.encoding);
            (Arc::clone(&room.name), encoding)
        });
        // Before the acknowledgements that the leave releases: who is still in takes one for the delivery of all that
        // came before it.
        if let Some((name, encoding)) = named.filter(|(_, encoding)| encoding.has_notices()) {
            let write = |stamp, out: &mut Vec<u8>| notice::write_unsubscribed(stamp, &name, reason, out);
            let frame = self.pen.notice(now, encoding, write);
            self.queue(now, id, Lane::Critical, frame, effects);
        }
        #[cfg(feature = "planted-faults")]
        if reason.is_none() && super::fault::is(super::fault::Fault::DeliveryAfterLeave) {
            return;
        }
        // If it was cut for what was queued, or moved, it is looked for anew.
        if let Some(index) = self.membership_in(id, membership.room) {
            self.leave(now.millis(), id, index, effects);
        }
    }

    /// Takes a connection out of one of its channels.
    pub(super) fn leave(&mut self, now: Millis, id: ConnId, index: usize, effects: &mut Effects) {
        let Some(membership) = self.slots.find(id).and_then(|conn| conn.memberships.at(index)) else { return };
        self.tell_departure(id, membership, effects);
        self.note_reached(id, membership);
        let Some(conn) = self.slots.find_mut(id) else { return };
        conn.memberships.remove(index);
        let share = self.rooms.at(membership.room).map(|room| room.share);
        conn.highs -= u16::from(share == Some(Share::High));
        let held = conn.answers.take().map_or_else(VecDeque::new, |answers| *answers);
        let (released, kept): (VecDeque<_>, VecDeque<_>) =
            held.into_iter().partition(|answer| answer.room == membership.room);
        conn.answers = (!kept.is_empty()).then(|| Box::new(kept));
        let service = conn.service.is_some();
        for answer in released {
            let frame = self.answer_to_leaver(answer);
            self.queue_answer(id, frame, effects);
        }
        if service {
            let room = self.rooms.at(membership.room);
            let member = room.and_then(|room| room.members.at(membership.place));
            let start = member.and_then(|member| member.start.as_deref()?.position);
            let next = member.map_or(Seq(0), |member| start.map_or(member.next, |position| position.seq.next()));
            self.tell_left(id, membership.room, next, effects);
        }
        self.leave_room(now, id, membership, Parting::Clean, effects);
    }

    pub(super) fn leave_room(
        &mut self,
        now: Millis,
        id: ConnId,
        membership: Membership,
        parting: Parting,
        effects: &mut Effects,
    ) {
        self.metrics.subtract(Metric::Memberships, 1);
        self.saw_membership(Kind::Left, id, membership.room);
        let Some(room) = self.rooms.at_mut(membership.room) else { return };
        room.members.leave(membership.place);
        #[cfg(feature = "planted-faults")]
        if super::fault::is(super::fault::Fault::CursorLost) {
            room.left = 0;
        }
        room.note_idle(now);
        if room.fleeting.is_some() || room.attendance.is_some() {
            self.part(self.latest, id, membership.room, parting, effects);
        }
        self.settle_room(membership.room, effects);
    }

    /// One member less: a mirror without any is given up, a channel at home cools down.
    fn settle_room(&mut self, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let count = room.members.len();
        match &mut room.role {
            Role::Home { hot, .. } => {
                if *hot && count <= self.options.hot_members * 3 / 4 {
                    *hot = false;
                    let name = Arc::clone(&room.name);
                    self.tell_heat(&name, false, effects);
                }
            }
            Role::Mirror { home, attachment, .. } if count == 0 => {
                let (home, attachment) = (*home, *attachment);
                let message = MeshMessage::Detach { channel: Arc::clone(&room.name), attachment };
                self.send_report_now(id, effects);
                effects.list.push(Effect::Mesh(home, message));
                self.drop_room(id);
            }
            Role::Mirror { .. } => self.tell_interest(id, effects),
        }
    }

    /// Forgets a channel.
    pub(super) fn drop_room(&mut self, id: RoomId) {
        if let Some(mut room) = self.rooms.remove(id) {
            self.close_kept(&room);
            self.keep_debt(&mut room);
            self.metrics.subtract(Metric::Channels, 1);
            self.metrics.subtract(Metric::HistoryBytes, room.history.bytes() as u64);
            self.metrics.subtract(Metric::RoomBytes, u64::from(room.counted_bytes));
        }
    }
}

/// Where a member that joins begins to read.
pub(super) enum Start {
    /// After a position, or with what comes next.
    At(Option<Position>),
    /// Where it is: it has joined before.
    Stay,
}

/// Decides where a member starts that has asked for it when `last` was the channel's last event, and what
/// it is told before.
pub(super) fn settle(
    history: &History,
    last: Seq,
    fallback: Fallback,
    (stored, member): (&mut Option<Box<Stored>>, &mut Member),
) {
    let position = member.start.as_ref().and_then(|pending| pending.position);
    let past = stored.as_mut().and_then(|stored| stored.past.as_mut());
    let behind = match (past, position) {
        (Some(past), Some(position)) => match past.judge(history, position) {
            Some(behind) => Some(behind),
            None => {
                past.unsettled = true;
                return; // Until the store has read what lies behind the position.
            }
        },
        (Some(past), None) => Some(past.none(history)),
        (None, _) => None,
    };
    if let Some(pending) = member.start.take() {
        let (greeting, next) = resume(history, last, pending.position, fallback, behind);
        member.next = next;
        #[cfg(feature = "planted-faults")]
        if greeting.recovered == Some(Ok(())) && super::fault::is(super::fault::Fault::ResumeOffByOne) {
            member.next = next.next().min(history.next());
        }
        member.greeting = Some(Box::new(greeting));
    }
}

/// What a member of a channel gets that cannot resume (protocol.md, section 6).
pub(super) fn fallback(channel: &str) -> Fallback {
    let kept = ["chat:", "notifications:", "trip:"];
    if kept.iter().any(|prefix| channel.starts_with(prefix)) { Fallback::Retained } else { Fallback::Latest }
}
