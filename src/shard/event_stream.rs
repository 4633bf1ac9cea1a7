//! Readers of event streams: members like any other, who are only written to.
//!
//! A stream lives where its channel is at home, has its position in the history, its gap when it falls off, and is
//! cut when it is stuck. What tells a connection something goes to it as an event as well. Whoever was there before
//! says where by `Last-Event-ID`. It ends with its token, with a drain, or when it is closed.

use std::sync::Arc;

use super::Shard;
use super::admission::full_name;
use super::connection::Stage;
use super::direct::is_direct;
use super::effect::{Closing, Effect, Effects};
use super::message::{Counted, Passport};
use super::opening::Early;
use crate::auth::caps::Verb;
use crate::envelope::AuthFrame;
use crate::ids::ConnId;
use crate::limits::{EVENT_STREAM_RECEIVES_MAX, EVENT_STREAM_RETRY_MS, EVENT_STREAM_RETRY_SPREAD_MS};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::payload::Payload;
use crate::session::endpoint::{Door, Endpoint};
use crate::session::liveness::Liveness;
use crate::time::Now;
use crate::wire::cors;
use crate::wire::event_stream::{head, position, write_retry};
use crate::wire::http::{HttpError, Request, query_value};
use crate::wire::peer::Peer;

impl Shard {
    /// Everything that is checked before a stream begins. Who may read the answer of which page is for the page's
    /// browser to see; the token is the reader's own.
    pub(super) fn pass_stream(
        &self,
        now: Now,
        request: &Request,
        endpoint: Endpoint,
        page: Option<&str>,
    ) -> Result<Passport, (HttpError, Metric)> {
        // Not a token that was tried and found bad.
        let absent = (HttpError::UNAUTHORIZED, Metric::RefusedPermission);
        let Early { claims, token } = self.early_claims(now, request, None)?.ok_or(absent)?;
        let channel = full_name(endpoint.channel.as_deref().unwrap_or(""), &claims.user);
        if is_direct(&channel) || !self.permits(&claims, &channel, Verb::Subscribe) {
            return Err((HttpError::FORBIDDEN, Metric::RefusedPermission));
        }
        let asked = query_value(&request.query, "last_event_id").map_err(|error| (error, Metric::RefusedHead))?;
        // A reader that was cut off says the header, by which it knows better than the link that it began with.
        let since = request.header("last-event-id").map(position).or_else(|| asked.as_deref().map(position));
        Ok(Passport {
            peer: Peer::UNKNOWN,
            accepted: now.millis(),
            endpoint: Endpoint { channel: Some(Arc::from(channel)), ..endpoint },
            response: Payload::copy_of(&head(cors::headers(page))),
            claims: Some(claims),
            token,
            key_generation: self.options.verifier.generation,
            leftover: Vec::new(),
            counted: Counted::default(),
            since,
        })
    }

    /// The stream lives here from now on.
    pub(super) fn admit_stream(&mut self, now: Now, id: ConnId, passport: Passport, effects: &mut Effects) {
        let (Some(conn), Some(claims)) = (self.slots.find_mut(id), passport.claims) else { return };
        let mut opening = passport.response.to_vec();
        let spread = u64::try_from(conn.name.0 % u128::from(EVENT_STREAM_RETRY_SPREAD_MS)).unwrap_or(0);
        write_retry(EVENT_STREAM_RETRY_MS + spread, &mut opening);
        conn.own = passport.endpoint.channel;
        conn.live = Liveness::new(now.millis());
        // It understands all that goes to it, and answers nothing.
        conn.known = true;
        conn.upgraded = true;
        conn.door = Door::EventStream;
        let own = conn.own.clone();
        self.metrics.count(Metric::EventStreams);
        self.saw_opened(now, id);
        self.metrics.add(Metric::Connections, 1);
        self.queue_bytes(now, id, Lane::Critical, Payload::copy_of(&opening), effects);
        effects.list.push(Effect::Stream(id));
        let resume = own.as_deref().zip(passport.since).into_iter().collect();
        let auth = AuthFrame { resume, ..AuthFrame::default() };
        self.welcome_with(now, id, claims, &auth, effects);
    }

    pub(super) fn streams_events(&self, id: ConnId) -> bool {
        self.slots.find(id).is_some_and(|conn| conn.door == Door::EventStream)
    }

    /// A reader of events has sent something. It is not looked at, and has an end.
    pub(super) fn on_stray(&mut self, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id).filter(|conn| matches!(conn.stage, Stage::Open)) else { return };
        conn.invalid_in_a_row += 1;
        if conn.invalid_in_a_row >= EVENT_STREAM_RECEIVES_MAX {
            self.forget(id, Closing::Abort, Metric::ClosedProtocol, effects);
        }
    }
}
