//! What is asked from outside the shards: the HTTP interface's questions, each with one answer.
//!
//! A question is judged here as a message of a connection would be, by the claims that it brings. What goes
//! through the table of connections does a portion and says where the next begins.

use std::hash::Hasher as _;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::Shard;
use super::browsing::Reader;
use super::connection::{Connection, Stage};
use super::direct::{is_direct, lane_of};
use super::effect::{Effect, Effects};
use super::home::Proposal;
use super::message::outside::{Act, Answered, Ask, Publishing, Question, Reply, Row, Tally, Whose};
use super::message::service::{Direct, DirectMessage, Stretch};
use super::rooms::{Role, Room, RoomId};
use crate::auth::{Claims, Verb};
use crate::code::{CloseCode, ErrorCode};
use crate::envelope::notice::service::Sent;
use crate::envelope::tripsage::is_reserved;
use crate::ids::{ConnId, ConnectionName, Epoch};
use crate::limits::{CHANNEL_NAME_BYTES_MAX, CHANNELS_LISTED_MAX, RECORD_NAMES_MAX, SWEEP_SLOTS_MAX};
use crate::metrics::Metric;
use crate::room::dedup::Operation;
use crate::route::HashKey;
use crate::time::Now;

/// Answers a question from outside.
pub(super) fn reply(ticket: u64, outcome: Result<Reply, ErrorCode>, effects: &mut Effects) {
    effects.list.push(Effect::Answer(Box::new(Answered { ticket, outcome })));
}

impl Shard {
    pub(super) fn on_outside(&mut self, now: Now, question: Question, effects: &mut Effects) {
        let Question { ticket, ask } = question;
        let outcome = match ask {
            Ask::Publish(publishing) if is_direct(&publishing.channel) => {
                match self.publish_direct(now, ticket, &publishing, effects) {
                    Ok(()) => return,
                    Err(code) => Err(code),
                }
            }
            Ask::Publish(publishing) => match self.publish_outside(now, ticket, &publishing, effects) {
                Ok(()) => return,
                Err(code) => Err(code),
            },
            Ask::History { claims, stretch, epoch } => {
                match self.history_outside(now, (ticket, &claims), (stretch, epoch), effects) {
                    Ok(()) => return,
                    Err(code) => Err(code),
                }
            }
            Ask::Erase(channel) => return self.erase(now, ticket, &channel, effects),
            Ask::Forget { user, from, round } => {
                return self.forget_user(now, ticket, (&user, from, round), effects);
            }
            Ask::ForgetStored { user, from } => return self.forget_stored(now, ticket, (user, from), effects),
            Ask::Members { claims, channel, limit } => self.members_outside(&claims, &channel, limit),
            Ask::Connections { from, limit } => Ok(self.list_connections(now, from, limit)),
            Ask::Tally { from } => Ok(self.take_tally(from)),
            Ask::Announce(payload) => self.announce(now, &payload, effects),
            Ask::Busiest => Ok(self.busiest(now)),
            Ask::Names { connections, channels } => Ok(self.names_outside(&connections, &channels)),
            Ask::Places { connection, channel } => Ok(self.places_outside(connection, channel.as_deref())),
            Ask::Sweep { from, whose, act } => Ok(self.sweep_connections(now, from, &whose, &act, effects)),
        };
        reply(ticket, outcome, effects);
    }

    fn permit_outside(&self, claims: &Claims, channel: &str, verb: Verb) -> Result<(), ErrorCode> {
        if channel.is_empty() || channel.len() > CHANNEL_NAME_BYTES_MAX {
            return Err(ErrorCode::ChannelNotFound);
        }
        if self.permits(claims, channel, verb) {
            return Ok(());
        }
        self.metrics.count(Metric::RefusedPermission);
        Err(ErrorCode::PermissionDenied)
    }

    /// An event for a channel at home here. Who asked is answered when it has its place.
    fn publish_outside(
        &mut self,
        now: Now,
        ticket: u64,
        publishing: &Publishing,
        effects: &mut Effects,
    ) -> Result<(), ErrorCode> {
        let Publishing { claims, channel, kind, payload, id, exclude, traceparent, .. } = publishing;
        self.permit_outside(claims, channel, Verb::Publish)?;
        self.judge_event(claims, channel, kind)?;
        let cleaned = self.clean_event(channel, &claims.user, (kind, payload))?;
        let id = id.as_deref();
        let operation = id.map(|id| Operation::new(&self.options.operations, &claims.user, id, kind, &[payload]));
        let proposal = Proposal {
            author: ConnId::outside(ticket),
            channel,
            user: &claims.user,
            kind,
            payload: cleaned.as_deref().map_or(payload, str::as_bytes),
            id,
            traceparent: traceparent.as_deref(),
            operation,
            wants_ack: true,
            excluded: exclude.map(|name| self.pen.holder_of(name)),
        };
        self.propose(now, &proposal, effects);
        Ok(())
    }

    /// An event for connections. Any shard can send it on.
    fn publish_direct(
        &mut self,
        now: Now,
        ticket: u64,
        publishing: &Publishing,
        effects: &mut Effects,
    ) -> Result<(), ErrorCode> {
        let Publishing { claims, channel, kind, payload, id, exclude, priority, traceparent } = publishing;
        self.permit_outside(claims, channel, Verb::Publish)?;
        if !claims.service {
            self.metrics.count(Metric::RefusedPermission);
            return Err(ErrorCode::PermissionDenied);
        }
        if is_reserved(kind) {
            return Err(ErrorCode::InvalidMessageFormat);
        }
        let (target, to) = self.direct_target(channel).ok_or(ErrorCode::ChannelNotFound)?;
        if effects.congested(to) {
            self.metrics.count(Metric::RefusedOverload);
            return Err(ErrorCode::Overloaded);
        }
        let id = id.as_deref();
        let traceparent = traceparent.as_deref();
        let frames = self.direct_forms(now, &Sent { kind, op_id: id, user_id: &claims.user, traceparent, payload });
        let parts = [channel.as_bytes(), payload];
        let direct = Direct {
            author: ConnId::outside(ticket),
            target,
            frames,
            channel: Arc::clone(channel),
            id: id.map(Box::from),
            operation: id.map(|id| Operation::new(&self.options.operations, &claims.user, id, kind, &parts)),
            wants_ack: true,
            excluded: exclude.map(|name| self.pen.holder_of(name)),
            lane: lane_of(*priority),
        };
        self.send_direct(now, to, DirectMessage::Send(Box::new(direct)), effects);
        Ok(())
    }

    /// A part of a channel's history. Where positions begin anew with an epoch, those of another say nothing.
    fn history_outside(
        &mut self,
        now: Now,
        (ticket, claims): (u64, &Claims),
        (stretch, epoch): (Stretch, Option<Epoch>),
        effects: &mut Effects,
    ) -> Result<(), ErrorCode> {
        self.permit_outside(claims, &stretch.channel, Verb::History)?;
        let room = self.rooms.find(&stretch.channel).and_then(|id| self.rooms.at(id));
        let fits = epoch.is_none_or(|epoch| room.is_some_and(|room| room.history.epoch() == epoch))
            || self.is_durable(&stretch.channel);
        let stretch = if fits { stretch } else { Stretch { since: None, until: None, ..stretch } };
        self.browse(now, Reader::Outside(ticket), stretch, effects);
        Ok(())
    }

    fn members_outside(&self, claims: &Claims, channel: &str, limit: usize) -> Result<Reply, ErrorCode> {
        self.permit_outside(claims, channel, Verb::Presence)?;
        let room = self.rooms.find(channel).and_then(|id| self.rooms.at(id));
        let count = room.map_or(0, |room| room.members.len());
        let slots = room.into_iter().flat_map(|room| room.members.iter()).map(|member| member.slot);
        let conns = slots.filter_map(|slot| self.slots.tenant(slot)).take(limit);
        let members = conns.filter_map(|conn| Some((Arc::clone(conn.user()?), conn.name))).collect();
        Ok(Reply::Members { members, count })
    }

    fn names_outside(&self, connections: &[(u32, u32)], channels: &[u32]) -> Reply {
        let shard = self.id;
        let connection = |&(slot, generation)| {
            let conn = self.slots.find(ConnId { shard, slot, generation })?;
            Some((conn.name, conn.user().cloned()))
        };
        let channel = |&number| self.rooms.at(RoomId::of(number)).map(|room| Arc::clone(&room.name));
        let connections = connections.iter().take(RECORD_NAMES_MAX).map(connection).collect();
        let channels = channels.iter().take(RECORD_NAMES_MAX).map(channel).collect();
        Reply::Names { connections, channels }
    }

    fn places_outside(&self, connection: Option<ConnectionName>, channel: Option<&str>) -> Reply {
        let channel = channel.and_then(|name| self.rooms.find(name)).map(RoomId::number);
        Reply::Places { connection: connection.map(|name| self.pen.holder_of(name)), channel }
    }

    /// The slots of a portion, and where the next begins.
    fn portion(&self, from: u32) -> (std::ops::Range<u32>, Option<u32>) {
        let end = from.saturating_add(SWEEP_SLOTS_MAX).min(self.slots.count());
        (from..end, (end < self.slots.count()).then_some(end))
    }

    fn list_connections(&self, now: Now, from: u32, limit: usize) -> Reply {
        let (slots, mut next) = self.portion(from);
        let mut rows = Vec::new();
        for slot in slots {
            let Some(conn) = self.slots.tenant(slot).filter(|conn| conn.upgraded) else { continue };
            if rows.len() >= limit {
                next = Some(slot);
                break;
            }
            rows.push(self.row(now, conn));
        }
        Reply::Connections { rows, next }
    }

    fn row(&self, now: Now, conn: &Connection) -> Row {
        let rooms = conn.memberships.iter().filter_map(|membership| self.rooms.at(membership.room));
        let wall = |then| now.unix_ms.saturating_sub(now.millis().since(then));
        Row {
            name: conn.name,
            user: conn.user().cloned(),
            own: conn.own.clone(),
            peer: conn.peer,
            connected_ms: wall(conn.accepted),
            heard_ms: wall(conn.live.heard()),
            round_trip_ms: conn.live.round_trip_ms(),
            quality: conn.live.quality().name(),
            state: state_of(conn.stage),
            channels: rooms.map(|room| Arc::clone(&room.name)).take(CHANNELS_LISTED_MAX).collect(),
        }
    }

    fn take_tally(&self, from: u32) -> Reply {
        let (slots, next_slot) = self.portion(from);
        let mut tally = Tally::default();
        let hash = |text: &str| hash(&self.options.key, text);
        for conn in slots.filter_map(|slot| self.slots.tenant(slot)).filter(|conn| conn.upgraded) {
            tally.qualities[conn.live.quality() as usize] += 1;
            tally.queued += conn.outbox.len() as u64;
            tally.users.extend(conn.user().map(|user| hash(user)));
            tally.sessions.extend(conn.own.as_deref().filter(|own| own.starts_with("chat:")).map(hash));
        }
        let end = from.saturating_add(SWEEP_SLOTS_MAX).min(self.rooms.places());
        let rooms = (from..end).filter_map(|place| self.rooms.at(RoomId::of(place)));
        let joined = |room: &Room| matches!(room.role, Role::Home { .. }) && !room.is_deserted();
        tally.channels = rooms.map(|room| u64::from(joined(room))).sum();
        let next_room = (end < self.rooms.places()).then_some(end);
        Reply::Tally(tally, next_slot.max(next_room))
    }

    fn sweep_connections(&mut self, now: Now, from: u32, whose: &Whose, act: &Act, effects: &mut Effects) -> Reply {
        let (found, next) = match whose {
            Whose::Connection(name) => (self.named(*name).into_iter().collect::<Vec<_>>(), None),
            Whose::User(user) => {
                let (slots, next) = self.portion(from);
                let mut found = Vec::new();
                for slot in slots {
                    let Some((id, conn)) = self.slots.tenant_mut(slot) else { continue };
                    if conn.is_upgraded() && conn.user() == Some(user) {
                        found.push(id);
                    }
                }
                (found, next)
            }
        };
        let count = found.into_iter().map(|id| usize::from(self.act_on(now, id, act, effects))).sum();
        Reply::Swept { count, next }
    }

    /// The connection of a name, if it lives here.
    fn named(&self, name: ConnectionName) -> Option<ConnId> {
        let id = self.pen.holder_of(name);
        let conn = if id.shard == self.id { self.slots.find(id) } else { None };
        conn.filter(|conn| conn.name == name && conn.is_upgraded()).map(|_| id)
    }

    /// Returns whether anything was done.
    fn act_on(&mut self, now: Now, id: ConnId, act: &Act, effects: &mut Effects) -> bool {
        match act {
            Act::Count => true,
            Act::Close(code) => {
                self.close_counted(now, id, (*code, Metric::ClosedAdmin), reason_of(*code), effects);
                true
            }
            Act::Leave(channels) => {
                let user = self.slots.find(id).and_then(|conn| conn.user()).cloned();
                let Some(user) = user else { return false };
                let mut left = false;
                for name in channels.iter() {
                    let channel = super::admission::full_name(name, &user);
                    let pattern = self.unsubscribe_pattern(now, id, &channel, None, effects);
                    if let (false, Some(index)) = (pattern, self.membership_index(id, &channel)) {
                        self.leave_with_notice(now, id, index, Some("removed"), effects);
                        left = true;
                    }
                    left |= pattern;
                }
                left
            }
        }
    }
}

const fn state_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Head | Stage::Asking | Stage::Gate | Stage::Auth => "authenticating",
        Stage::Open | Stage::Echo => "connected",
        Stage::Parting | Stage::Ending | Stage::Leaving => "disconnecting",
    }
}

/// A name as others may count it: shards have the same key.
fn hash(key: &HashKey, name: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// What is said of a close from outside.
const fn reason_of(code: CloseCode) -> &'static str {
    match code {
        CloseCode::RESTART => "closed by an administrator: connect again",
        _ => "closed by an administrator",
    }
}
