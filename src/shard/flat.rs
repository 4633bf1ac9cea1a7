//! Connections that speak flat frames: what lets them in, and what their messages do.
//!
//! They differ from the others at the edge only: a token before the upgrade or none at all, another language, and
//! membership as what allows to write. From a channel's home on their events are events like any other. Their
//! clients come back after every close, and count their tries anew whenever a socket opens, so refusals come before
//! the upgrade and nothing here closes a socket.

use std::sync::Arc;

use super::Shard;
use super::edge::Go;
use super::effect::Effects;
use super::message::Passport;
use super::news::Again;
use super::opening::Early;
use super::paying::Fee;
use super::publishing::{Draft, text_of};
use crate::auth::caps::Verb;
use crate::auth::token::Claims;
use crate::code::ErrorCode;
use crate::envelope::globetrotter::notice::{self, News};
use crate::envelope::globetrotter::outgoing::{UPDATE_KIND, relay_kind, write_relay, write_update};
use crate::envelope::globetrotter::{Area, FlatMessage, Relay, TripRef, Written, tells_fields};
use crate::envelope::{Command, Encoding, Inbound, Parser};
use crate::ids::ConnId;
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::session::endpoint::{Door, Endpoint};
use crate::time::Now;
use crate::wire::http::{HttpError, Request, check_resource_id, query_value};

const NO_USER: HttpError = HttpError::new(403, "the query must name the user as user_id");

impl Shard {
    /// Whose connection it will be: the token's user, whom the address must name too, or, where no token is asked
    /// for, the one that it names.
    pub(super) fn flat_claims(
        &self,
        now: Now,
        request: &Request,
        endpoint: &Endpoint,
        offered: Option<&str>,
    ) -> Result<Early, (HttpError, Metric)> {
        let head = |error| (error, Metric::RefusedHead);
        let named = match endpoint.owner() {
            Some(owner) => Some(owner.to_owned()),
            None => query_value(&request.query, "user_id").map_err(head)?,
        };
        let named = named.ok_or((NO_USER, Metric::RefusedPermission))?;
        check_resource_id(&named).map_err(head)?;
        match self.early_claims(now, request, offered)? {
            Some(early) if *early.claims.user == *named => Ok(early),
            Some(_) => Err((HttpError::FORBIDDEN, Metric::RefusedPermission)),
            None if self.options.globetrotter_open => {
                Ok(Early { claims: Claims::of_anybody(Arc::from(named)), token: None })
            }
            // Not a token that was tried and found bad.
            None => Err((HttpError::UNAUTHORIZED, Metric::RefusedPermission)),
        }
    }

    /// Whether the resource has all its connections. A trip's endpoint opens where its connections are counted, so this
    /// is known before the upgrade, unless the trip is so large that they open everywhere.
    pub(super) fn has_no_place(&self, passport: &Passport) -> bool {
        let proven = passport.claims.as_ref().is_some_and(Claims::are_proven);
        let name = passport.endpoint.channel.as_ref().filter(|_| passport.endpoint.door.is_refused_before() && proven);
        name.is_some_and(|name| self.is_full(name))
    }

    /// The first frame of a connection, which the upgrade let in already.
    pub(super) fn welcome_flat(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find(id) else { return };
        let (Some(own), Some(user), door) = (conn.own.clone(), conn.user().cloned(), conn.door) else { return };
        self.start_travelling(id, effects);
        if let Err(code) = self.join(now, id, &own, Encoding::GLOBETROTTER, None, effects) {
            self.error(now, id, code, text_of(code), None, effects);
        }
        self.share_name(id, &own);
        let Some(trip) = own.strip_prefix("trip:").filter(|_| door == Door::GlobeTrotterTrip) else {
            let frame = self.pen.text(|out| notice::write_connection(&user, now.unix_ms, out));
            return self.queue(now, id, Lane::Critical, frame, effects);
        };
        let sockets = self.sockets_with(&own);
        let frame = self.pen.text(|out| notice::write_trip_connection(&user, trip, sockets, now.unix_ms, out));
        self.queue(now, id, Lane::Critical, frame, effects);
        self.tell_arrival(id, &own, (News::JoinedTrip, Again::No), effects);
    }

    /// A text on a flat endpoint. A message that cannot be paid for is kept, and reading pauses.
    pub(super) fn on_flat_text(
        &mut self,
        now: Now,
        id: ConnId,
        parser: &mut Parser,
        text: &str,
        effects: &mut Effects,
    ) -> Go {
        let Some(conn) = self.slots.find(id) else { return Go::Stop };
        if conn.door == Door::GlobeTrotterTrip {
            let relay = parser.parse_relay(text);
            if let Some(go) = self.charge_flat(now, id, text, effects) {
                return go;
            }
            self.metrics.count(Metric::ReceivedFlat);
            self.saw_flat(now, id, text.len());
            match relay {
                Ok(relay) => self.on_flat_relay(now, id, &relay, effects),
                Err((code, message)) => self.on_flat_fault(now, id, code, message, effects),
            }
        } else {
            let message = parser.parse_flat(text);
            let free = matches!(message, Ok(FlatMessage::Ping { .. }));
            if let Some(go) = (!free).then(|| self.charge_flat(now, id, text, effects)).flatten() {
                return go;
            }
            self.metrics.count(Metric::ReceivedFlat);
            self.saw_flat(now, id, text.len());
            match message {
                Ok(message) => self.on_flat_message(now, id, &message, effects),
                Err((code, message)) => self.on_flat_fault(now, id, code, message, effects),
            }
        }
        match self.slots.find(id) {
            Some(conn) if conn.is_upgraded() => Go::On,
            _ => Go::Stop,
        }
    }

    /// Takes a message's token, or keeps the message until there is one.
    fn charge_flat(&mut self, now: Now, id: ConnId, text: &str, effects: &mut Effects) -> Option<Go> {
        match self.charge(now, id, 1, effects) {
            Fee::Paid => None,
            fee => Some(self.pause(now, id, fee, text, effects)),
        }
    }

    fn on_flat_fault(&mut self, now: Now, id: ConnId, code: ErrorCode, message: &str, effects: &mut Effects) {
        self.metrics.count(Metric::RefusedInvalid);
        self.error(now, id, code, message, None, effects);
    }

    fn on_flat_message(&mut self, now: Now, id: ConnId, message: &FlatMessage<'_>, effects: &mut Effects) {
        match message {
            FlatMessage::Ping { timestamp } => {
                let frame = self.pen.text(|out| notice::write_pong(timestamp, out));
                self.queue(now, id, Lane::Low, frame, effects);
            }
            FlatMessage::Join(trip) => self.join_trip(now, id, *trip, effects),
            FlatMessage::Leave(trip) => self.leave_trip(now, id, *trip, effects),
            FlatMessage::Update { trip, area, data } => self.update_trip(now, id, *trip, (*area, data), effects),
            FlatMessage::Typing { trip, field } => {
                let channel = channel_of(*trip);
                if self.may_speak(now, id, &channel, effects)
                    && let Some(named) = self.target(now, id, &in_channel(&channel), Verb::Publish, effects)
                {
                    self.tell_typing(now, named, (trip.form, field), effects);
                }
            }
            // As their server does: not a word.
            FlatMessage::Nothing => self.metrics.count(Metric::Ignored),
        }
    }

    fn join_trip(&mut self, now: Now, id: ConnId, trip: TripRef<'_>, effects: &mut Effects) {
        let channel = channel_of(trip);
        let again = if self.membership_index(id, &channel).is_some() { Again::Yes } else { Again::No };
        let joined = if self.is_out_of_reach(&channel, effects) {
            self.metrics.count(Metric::RefusedOverload);
            Err(ErrorCode::Overloaded)
        } else {
            self.join(now, id, &channel, Encoding::GLOBETROTTER, None, effects)
        };
        if let Err(code) = joined {
            return self.error(now, id, code, text_of(code), None, effects);
        }
        self.note_form(id, &channel, trip.form);
        self.tell_arrival(id, &channel, (News::Joined, again), effects);
    }

    fn leave_trip(&mut self, now: Now, id: ConnId, trip: TripRef<'_>, effects: &mut Effects) {
        let channel = channel_of(trip);
        self.note_form(id, &channel, trip.form);
        if let Some(index) = self.membership_index(id, &channel) {
            self.leave(now.millis(), id, index, effects);
        }
    }

    fn update_trip(
        &mut self,
        now: Now,
        id: ConnId,
        trip: TripRef<'_>,
        (area, data): (Area, &Written<'_>),
        effects: &mut Effects,
    ) {
        let channel = channel_of(trip);
        if !self.may_speak(now, id, &channel, effects) {
            return;
        }
        let inbound = in_channel(&channel);
        let Some((channel, user)) = self.target(now, id, &inbound, Verb::Edit, effects) else { return };
        let mut payload = std::mem::take(&mut self.body);
        write_update(trip, &user, area, data, &mut payload);
        let draft = Draft { channel, user, kind: UPDATE_KIND, payload: &payload, written: &[] };
        self.send(now, id, &inbound, &draft, effects);
        self.keep_scratch(payload);
    }

    /// An object on a trip's endpoint: to the whole room, whatever it says.
    fn on_flat_relay(&mut self, now: Now, id: ConnId, relay: &Relay<'_>, effects: &mut Effects) {
        let Some(own) = self.slots.find(id).and_then(|conn| conn.own.clone()) else { return };
        if !self.may_speak(now, id, &own, effects) {
            return;
        }
        let inbound = in_channel(&own);
        let Some((channel, user)) = self.target(now, id, &inbound, Verb::Publish, effects) else { return };
        let kind = relay_kind(relay);
        // The others see the object under its own type.
        if relay.kind.is_some_and(tells_fields) && !self.may(id, &channel, Verb::Edit) {
            self.metrics.count(Metric::RefusedPermission);
            return self.refuse_message(now, id, &inbound, ErrorCode::PermissionDenied, effects);
        }
        let holder = self.slots.find(id).and_then(|conn| conn.claims.as_ref()).map(Claims::holder);
        if holder.is_none_or(|holder| !self.options.policy.allows_event(&holder, &channel, kind)) {
            self.metrics.count(Metric::RefusedPermission);
            return self.refuse_message(now, id, &inbound, ErrorCode::PermissionDenied, effects);
        }
        let mut payload = std::mem::take(&mut self.body);
        write_relay(relay, &mut payload);
        let draft = Draft { channel, user, kind, payload: &payload, written: &[] };
        self.send(now, id, &inbound, &draft, effects);
        self.keep_scratch(payload);
    }

    /// Whether a connection has joined a channel, or need not have.
    fn may_speak(&mut self, now: Now, id: ConnId, channel: &str, effects: &mut Effects) -> bool {
        if self.options.globetrotter_open || self.membership_index(id, channel).is_some() {
            return true;
        }
        self.metrics.count(Metric::RefusedPermission);
        self.error(now, id, ErrorCode::NotAMember, text_of(ErrorCode::NotAMember), None, effects);
        false
    }
}

fn channel_of(trip: TripRef<'_>) -> String {
    ["trip:", trip.id].concat()
}

/// What the walk needs of a message that is about a channel.
const fn in_channel(channel: &str) -> Inbound<'_> {
    Inbound {
        received: Metric::ReceivedFlat,
        id: None,
        channel: Some(channel),
        ack: false,
        exclude_sender: false,
        priority: None,
        traceparent: None,
        tokens: 1,
        command: Command::Pong,
    }
}
