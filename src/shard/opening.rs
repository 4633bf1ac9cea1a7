//! From accept to the upgrade: the request head, who may pass, and on which shard the connection lives.
//!
//! A head that asks for nothing of ours is answered here or given to the administration. An upgrade is
//! checked whole (handshake, origin, an early token) before anything moves; then the connection goes to
//! the home of its endpoint's channel, unless that channel is hot. The 101 is sent by the shard that keeps
//! the connection, after it registered it.

use std::sync::Arc;

use super::Shard;
use super::connection::{Connection, Stage};
use super::effect::{Closing, Effect, Effects};
use super::message::{AdminRequest, Bearer, Counted, Passport};
use super::timers::Timer;
use crate::auth::caps::{Verb, Verbs};
use crate::auth::token::{Claims, TokenError};
use crate::ids::{ConnId, ShardId};
use crate::limits::{AUTH_DEADLINE_MS, CLOSE_DEADLINE_MS, HEAD_DEADLINE_MS};
use crate::metrics::{Metric, Timing};
use crate::outbox::Lane;
use crate::payload::Payload;
use crate::route;
use crate::session::admit::Bucket;
use crate::session::endpoint::{Door, Endpoint, Place, place};
use crate::session::liveness::Liveness;
use crate::time::Now;
use crate::wire::cors;
use crate::wire::http::{HttpError, Request, Response, query_value, read_head};
use crate::wire::peer::Peer;
use crate::wire::proxy::{BadHeader, read_proxy_header};
use crate::wire::upgrade::{Upgrade, accept_response, check, choose_protocol};

/// What a request leads to.
enum Decision {
    Respond(Response),
    /// The head of what has no end.
    RespondHead(Payload),
    Administer,
    /// Who is in which trip.
    Count,
    Admit(Box<Passport>),
}

/// Who sends a request.
pub(super) struct Early {
    pub(super) claims: Claims,
    /// The token that says so; `None` if nobody but the sender does.
    pub(super) token: Option<Bearer>,
}

impl Shard {
    /// A socket was accepted. `None`: no slot is free, close it.
    pub fn on_accept(&mut self, now: Now, peer: impl Into<Peer>, effects: &mut Effects) -> Option<ConnId> {
        self.metrics.count(Metric::Accepted);
        if !self.options.population.sockets.try_enter(self.options.sockets_max) {
            self.metrics.count(Metric::RefusedFull);
            return None;
        }
        let Some(id) = self.slots.insert(Connection::new(now.millis(), peer.into().to_canonical())) else {
            self.options.population.sockets.leave();
            self.metrics.count(Metric::RefusedFull);
            return None;
        };
        self.give_name(id);
        self.metrics.add(Metric::Sockets, 1);
        if let Some(conn) = self.slots.find_mut(id) {
            conn.proxied = self.options.proxies.expect_header(conn.peer);
        }
        self.meet(id, effects);
        self.wheel.insert(now.millis().after(HEAD_DEADLINE_MS), Timer::Head(id));
        Some(id)
    }

    /// A socket was handed over. The passport comes back if no slot is free.
    ///
    /// # Errors
    /// The passport, when the shard is full.
    pub fn on_adopt(
        &mut self,
        now: Now,
        passport: Box<Passport>,
        effects: &mut Effects,
    ) -> Result<ConnId, Box<Passport>> {
        let Some(id) = self.slots.insert(Connection::new(passport.accepted, passport.peer)) else {
            // Here it ends, wherever it came from.
            self.options.population.sockets.leave();
            self.discount(passport.peer, passport.counted.clone(), effects);
            self.metrics.count(Metric::RefusedFull);
            return Err(passport);
        };
        self.give_name(id);
        self.metrics.add(Metric::Sockets, 1);
        if let Some(conn) = self.slots.find_mut(id) {
            conn.counted = passport.counted.clone();
        }
        if passport.claims.is_none() {
            self.meet(id, effects);
        }
        // The keys may have changed while the socket was on its way. The other shard may also be the first to have
        // heard of new ones: then it judged by the better keys.
        match self.judged_again(now, passport) {
            Err((error, metric)) => self.refuse(now, id, error, metric, effects),
            Ok(_) if self.draining => {
                self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedDraining, effects);
            }
            Ok(passport) => self.admit(now, id, *passport, effects),
        }
        Ok(id)
    }

    /// The passport, if it is good under the keys that hold now. One without a token rests on no key: its bearer has
    /// yet to say who it is, or is believed whoever it says it is.
    fn judged_again(&self, now: Now, mut passport: Box<Passport>) -> Result<Box<Passport>, (HttpError, Metric)> {
        let verifier = &self.options.verifier;
        if passport.key_generation < verifier.generation
            && let Some(token) = &passport.token
        {
            passport.claims = Some(verifier.verify(token.text(), now.unix_seconds()).map_err(refused_token)?);
            passport.key_generation = verifier.generation;
        }
        Ok(passport)
    }

    fn give_name(&mut self, id: ConnId) {
        let name = self.pen.name_of(id);
        if let Some(conn) = self.slots.find_mut(id) {
            conn.name = name;
        }
    }

    /// The home's inbox had no room for the socket.
    pub(super) fn on_hand_over_refused(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedOverload, effects);
    }

    /// Station 1, before the upgrade.
    pub(super) fn on_head_bytes(&mut self, now: Now, id: ConnId, bytes: &[u8], effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let head = &mut conn.opening.get_or_insert_default().head;
        head.extend_from_slice(bytes);
        if conn.proxied {
            match read_proxy_header(head) {
                Ok(None) => return,
                Ok(Some((client, used))) => {
                    conn.proxied = false;
                    head.drain(..used);
                    let client = client.map_or(conn.peer, Peer::Ip);
                    self.on_client(id, client, effects);
                }
                Err(BadHeader) => {
                    // There is nobody to answer: what speaks here is a proxy, and not as it should.
                    self.metrics.count(Metric::RefusedHead);
                    return self.forget(id, Closing::Abort, Metric::ClosedProtocol, effects);
                }
            }
        }
        let Some(opening) = self.slots.find_mut(id).and_then(|conn| conn.opening.as_mut()) else { return };
        let head = &mut opening.head;
        match read_head(head) {
            Ok(None) => {}
            Ok(Some((request, used))) => {
                let leftover = std::mem::take(head).split_off(used);
                self.on_request(now, id, request, leftover, effects);
            }
            Err(error) => self.refuse(now, id, error, Metric::RefusedHead, effects),
        }
    }

    fn on_request(&mut self, now: Now, id: ConnId, request: Request, leftover: Vec<u8>, effects: &mut Effects) {
        let Some(conn) = self.slots.find(id) else { return };
        let (peer, accepted) = (self.options.proxies.client(conn.peer, &request.headers), conn.accepted);
        self.on_client(id, peer, effects);
        if self.slots.find(id).is_none() {
            // One too many of the address that a proxy has named.
            return;
        }
        let page = cors::allowed_origin(&self.options.origins, &request, self.options.loopback);
        match self.decide(now, &request, page, peer) {
            Ok(Decision::Respond(response)) => {
                self.metrics.count(Metric::HttpRequests);
                let response = shared(response, page);
                self.respond(now, id, &response, request.method == "HEAD", effects);
            }
            Ok(Decision::RespondHead(head)) => {
                self.metrics.count(Metric::HttpRequests);
                self.respond_with(now, id, head, effects);
            }
            Ok(Decision::Administer) => {
                self.metrics.count(Metric::HttpRequests);
                let Ok(bearer) = self.bearer(now, &request) else {
                    self.metrics.count(Metric::RefusedToken);
                    return self.knock(now, id, None, page.map(Box::from), effects);
                };
                self.know(id);
                conn_leaves(self.slots.find_mut(id));
                let allowed_origin = page.map(Box::from);
                let request = AdminRequest { peer, request, allowed_origin, bearer, leftover };
                effects.list.push(Effect::Admin(id, Box::new(request)));
            }
            Ok(Decision::Count) => {
                self.metrics.count(Metric::HttpRequests);
                self.count_travellers(now, id, request.method == "HEAD", page.map(Box::from), effects);
            }
            Ok(Decision::Admit(mut passport)) => {
                (passport.peer, passport.accepted, passport.leftover) = (peer, accepted, leftover);
                self.knock(now, id, Some(passport), page.map(Box::from), effects);
            }
            Err((_, Metric::RefusedToken)) => self.knock(now, id, None, page.map(Box::from), effects),
            Err((error, metric)) => {
                self.metrics.count(metric);
                self.saw_status(now, id, error.status, metric);
                let response = shared(error.response(), page);
                self.respond(now, id, &response, request.method == "HEAD", effects);
            }
        }
    }

    /// A connection that may come in goes where it will live.
    pub(super) fn settle_in(&mut self, now: Now, id: ConnId, passport: Box<Passport>, effects: &mut Effects) {
        if self.draining {
            return self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedDraining, effects);
        }
        // The keys may have changed while it was held.
        let passport = match self.judged_again(now, passport) {
            Ok(passport) => passport,
            Err((error, metric)) => return self.refuse(now, id, error, metric, effects),
        };
        let here = passport.endpoint.channel.as_ref().map_or(self.id, |channel| self.residence(channel));
        if here == self.id {
            self.admit(now, id, *passport, effects);
        } else {
            self.metrics.count(Metric::HandedOver);
            self.know(id);
            conn_leaves(self.slots.find_mut(id));
            if let Some(conn) = self.slots.find_mut(id) {
                conn.moved = true;
            }
            effects.list.push(Effect::HandOver(id, here, passport));
        }
    }

    /// The shard on which a connection to this channel lives.
    fn residence(&self, channel: &str) -> ShardId {
        if self.hot.contains(channel) { self.id } else { route::home(&self.options.key, channel, self.options.shards) }
    }

    fn decide(
        &self,
        now: Now,
        request: &Request,
        page: Option<&str>,
        peer: Peer,
    ) -> Result<Decision, (HttpError, Metric)> {
        let head = |error| (error, Metric::RefusedHead);
        if cors::is_preflight(request) {
            let answer = cors::preflight(page).map(Decision::Respond);
            return answer.map_err(|error| (error, Metric::RefusedOrigin));
        }
        let read_only = || match request.method.as_str() {
            "GET" | "HEAD" => Ok(()),
            _ => Err(head(HttpError::new(405, "this can only be read: use GET or HEAD"))),
        };
        match place(&request.path).map_err(head)? {
            Place::Health => read_only().map(|()| Decision::Respond(Response::json(200, r#"{"status":"healthy"}"#))),
            Place::Ready if self.draining => read_only().map(|()| Decision::Respond(HttpError::UNAVAILABLE.response())),
            Place::Ready => read_only().map(|()| Decision::Respond(Response::json(200, r#"{"status":"ready"}"#))),
            Place::Alive => read_only().map(|()| Decision::Respond(self.alive(now))),
            Place::Stats => read_only().and_then(|()| self.may_count(now, request, peer)).map(|()| Decision::Count),
            Place::Elsewhere => Ok(Decision::Administer),
            Place::Endpoint(Endpoint { door: Door::Echo, .. }) if !self.options.echo => Err(head(HttpError::NOT_FOUND)),
            Place::Endpoint(endpoint) => {
                if self.draining {
                    return Err((HttpError::UNAVAILABLE, Metric::RefusedDraining));
                }
                if endpoint.door == Door::EventStream {
                    read_only()?;
                    let passport = self.pass_stream(now, request, endpoint, page)?;
                    if request.method == "HEAD" {
                        return Ok(Decision::RespondHead(passport.response));
                    }
                    return Ok(Decision::Admit(Box::new(passport)));
                }
                self.pass(now, request, endpoint).map(|passport| Decision::Admit(Box::new(passport)))
            }
        }
    }

    /// Everything that is checked before the 101.
    fn pass(&self, now: Now, request: &Request, endpoint: Endpoint) -> Result<Passport, (HttpError, Metric)> {
        let upgrade = check(request).map_err(|error| (error, Metric::RefusedHead))?;
        let may_come = self.options.origins.allows(upgrade.origin.as_deref(), &upgrade.host, self.options.loopback);
        if !may_come && endpoint.door != Door::Echo {
            return Err((HttpError::ORIGIN_REFUSED, Metric::RefusedOrigin));
        }
        let (protocol, offered_token) = choose_protocol(&upgrade.protocols);
        let early = match endpoint.door {
            Door::Echo => None,
            door if door.is_flat() => Some(self.flat_claims(now, request, &endpoint, offered_token)?),
            _ => self.early_claims(now, request, offered_token)?,
        };
        let (claims, token) = early.map_or((None, None), |early| (Some(early.claims), early.token));
        if let (Some(claims), Some(channel)) = (&claims, &endpoint.channel)
            && !(endpoint.owner().is_none_or(|owner| owner == &*claims.user)
                && self.permits(claims, channel, Verb::Subscribe))
        {
            return Err((HttpError::FORBIDDEN, Metric::RefusedPermission));
        }
        Ok(Passport {
            peer: Peer::UNKNOWN,
            accepted: now.millis(),
            response: response(&upgrade, protocol),
            endpoint,
            claims,
            token,
            key_generation: self.options.verifier.generation,
            leftover: Vec::new(),
            counted: Counted::default(),
            since: None,
        })
    }

    /// Who asks something that is no business of a shard: here are the keys. A bad token is never passed over, even
    /// where none is needed.
    fn bearer(&self, now: Now, request: &Request) -> Result<Option<Arc<Claims>>, TokenError> {
        let Some(value) = request.headers.get("authorization") else { return Ok(None) };
        let token = bearer(value.as_bytes()).ok_or(TokenError::Invalid)?;
        self.options.verifier.verify(token, now.unix_seconds()).map(|claims| Some(Arc::new(claims)))
    }

    /// The claims of a token in the header, the query or the sub-protocols, if there is one.
    pub(super) fn early_claims(
        &self,
        now: Now,
        request: &Request,
        offered: Option<&str>,
    ) -> Result<Option<Early>, (HttpError, Metric)> {
        let refused = |()| (HttpError::UNAUTHORIZED, Metric::RefusedToken);
        let header = match request.headers.get("authorization") {
            None => None,
            Some(value) => Some(bearer(value.as_bytes()).ok_or(()).map_err(refused)?),
        };
        let query = query_value(&request.query, "token").map_err(|error| (error, Metric::RefusedHead))?;
        match header.or(query.as_deref()).or(offered) {
            None => Ok(None),
            Some(token) => {
                let claims = self.options.verifier.verify(token, now.unix_seconds()).map_err(refused_token)?;
                Ok(Some(Early { claims, token: Some(Bearer::new(token)) }))
            }
        }
    }

    /// Whether a user may do something in a channel: policy and token allow it, and a token that is bound to a
    /// chat session is good for no other.
    pub(super) fn permits(&self, claims: &Claims, channel: &str, verb: Verb) -> bool {
        self.verbs(claims, channel).contains(verb)
    }

    /// All that a user may do in a channel.
    pub(super) fn verbs(&self, claims: &Claims, channel: &str) -> Verbs {
        let bound = claims.session().zip(channel.strip_prefix("chat:"));
        let session_fits = bound.is_none_or(|(session, channel)| session == channel);
        if session_fits { self.options.policy.verbs(&claims.holder(), channel) } else { Verbs::NONE }
    }

    /// The connection lives here from now on: the 101 goes out first, then whatever its token earns it.
    fn admit(&mut self, now: Now, id: ConnId, passport: Passport, effects: &mut Effects) {
        if self.has_no_place(&passport) {
            return self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedFull, effects);
        }
        if passport.endpoint.door != Door::Echo {
            // Whoever passed the gate may not have heard yet that addresses have a limit.
            self.sit_late(now, id, effects);
        }
        if passport.endpoint.door == Door::EventStream {
            return self.admit_stream(now, id, passport, effects);
        }
        let Some(conn) = self.slots.find_mut(id) else { return };
        let rate = passport.endpoint.door.limits(&self.options.limits).messages;
        conn.door = passport.endpoint.door;
        conn.own = passport.endpoint.channel;
        conn.bucket = Bucket::full(rate, now.millis());
        conn.live = Liveness::new(now.millis());
        conn.stage = if conn.door == Door::Echo { Stage::Echo } else { Stage::Auth };
        conn.upgraded = true;
        let known = passport.claims.is_some() || conn.door == Door::Echo;
        let took = now.millis().since(passport.accepted);
        self.metrics.count(Metric::Upgraded);
        self.saw_opened(now, id);
        self.metrics.add(Metric::Connections, 1);
        self.metrics.timing(Timing::Handshake).record(took.saturating_mul(1000));
        self.queue(now, id, Lane::Critical, passport.response, effects);
        effects.list.push(Effect::Stream(id));
        if known {
            self.know(id);
        }
        match passport.claims {
            Some(claims) => self.welcome(now, id, claims, effects),
            None if passport.endpoint.door == Door::Echo => {}
            None => self.wheel.insert(now.millis().after(AUTH_DEADLINE_MS), Timer::Auth(id)),
        }
        if !passport.leftover.is_empty() {
            let mut leftover = passport.leftover;
            self.on_frames(now, id, &mut leftover, effects);
        }
    }

    /// Answers a request that leads nowhere, and closes.
    pub(super) fn refuse(&mut self, now: Now, id: ConnId, error: HttpError, metric: Metric, effects: &mut Effects) {
        self.metrics.count(metric);
        self.saw_status(now, id, error.status, metric);
        self.respond_at_gate(now, id, error.response(), effects);
    }

    /// As [`Shard::refuse`], with the time after which to try again.
    pub(super) fn refuse_until(
        &mut self,
        now: Now,
        id: ConnId,
        (wait_ms, metric): (u32, Metric),
        effects: &mut Effects,
    ) {
        self.metrics.count(metric);
        self.saw_status(now, id, HttpError::TOO_MANY_REQUESTS.status, metric);
        let seconds = wait_ms.div_ceil(1000).max(1).to_string();
        let response = HttpError::TOO_MANY_REQUESTS.response().header("Retry-After", &seconds);
        self.respond_at_gate(now, id, response, effects);
    }

    /// The page that sent an upgrade may read why it was refused.
    fn respond_at_gate(&mut self, now: Now, id: ConnId, response: Response, effects: &mut Effects) {
        let gate = self.take_gate(id);
        let response = match &gate {
            Some(gate) => shared(response, gate.page.as_deref()),
            None => response,
        };
        self.respond(now, id, &response, false, effects);
    }

    pub(super) fn respond(
        &mut self,
        now: Now,
        id: ConnId,
        response: &Response,
        head_only: bool,
        effects: &mut Effects,
    ) {
        self.respond_with(now, id, Payload::copy_of(&response.encode(head_only)), effects);
    }

    /// Writes what is the whole answer, and closes.
    fn respond_with(&mut self, now: Now, id: ConnId, answer: Payload, effects: &mut Effects) {
        self.queue(now, id, Lane::Critical, answer, effects);
        let Some(conn) = self.slots.find_mut(id) else { return };
        conn.stage = Stage::Ending;
        self.wheel.insert(now.millis().after(CLOSE_DEADLINE_MS), Timer::Close(id));
    }

    /// The host released the socket of a connection that is over or that has moved on.
    pub(super) fn on_released(&mut self, id: ConnId) {
        let leaving = self.slots.find(id).filter(|conn| matches!(conn.stage, Stage::Leaving)).map(|conn| conn.moved);
        if leaving.is_some() {
            self.slots.remove(id);
        }
        // A socket that another shard has goes on counting, as its connection does.
        if leaving != Some(true) {
            self.options.population.sockets.leave();
        }
        self.slots.release(id);
        self.metrics.subtract(Metric::Sockets, 1);
    }

    /// Head deadline: a request that does not come is no request.
    pub(super) fn on_head_deadline(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let late = self.slots.find(id).is_some_and(|conn| matches!(conn.stage, Stage::Head));
        if late && !self.waits_on(now, id, Timer::Head(id)) {
            self.metrics.count(Metric::RefusedLate);
            self.forget(id, Closing::Abort, Metric::ClosedIdle, effects);
        }
    }
}

fn conn_leaves(conn: Option<&mut Connection>) {
    if let Some(conn) = conn {
        conn.stage = Stage::Leaving;
    }
}

/// An answer with what lets a page read it.
pub(super) fn shared(response: Response, page: Option<&str>) -> Response {
    cors::headers(page).fold(response, |response, (name, value)| response.header(name, value))
}

/// How an upgrade with such a token is answered.
const fn refused_token(error: TokenError) -> (HttpError, Metric) {
    match error {
        TokenError::Expired => (HttpError::UNAUTHORIZED, Metric::RefusedExpired),
        TokenError::Invalid => (HttpError::UNAUTHORIZED, Metric::RefusedToken),
    }
}

/// The token of an `Authorization` header (RFC 6750 section 2.1); the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return None;
    }
    std::str::from_utf8(token).ok().map(str::trim_ascii)
}

fn response(upgrade: &Upgrade, protocol: Option<&str>) -> Payload {
    Payload::copy_of(&accept_response(upgrade, protocol))
}
