//! Requests from the side of the connections that answer them.

use super::Shard;
use super::connection::Stage;
use super::effect::Effects;
use super::message::service::{Call, Failure, RequestMessage};
use super::publishing::text_of;
use super::requesting::method_channel;
use crate::auth::caps::Verb;
use crate::code::ErrorCode;
use crate::envelope::Encoding;
use crate::envelope::command::Response;
use crate::envelope::notice::service::{Asked, write_cancel, write_register_response, write_request};
use crate::ids::{ConnId, ShardId};
use crate::limits::{METHODS_PER_CONNECTION_MAX, OUTBOX_BYTES_MAX, WORKING_PER_CONNECTION_MAX};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::request::Ticket;
use crate::route;
use crate::shard::service::{Offer, Service};
use crate::time::Now;

impl Shard {
    /// A connection offers to answer methods. It is told what became of each, once all of their homes have said so.
    pub(super) fn register(
        &mut self,
        now: Now,
        id: ConnId,
        request: Option<&str>,
        (methods, nameless): (&[&str], &[&str]),
        effects: &mut Effects,
    ) {
        let nameless = nameless.iter().map(|raw| (Box::from(*raw), ErrorCode::InvalidMessageFormat));
        let (waits, taken, failed) = (Vec::new(), Vec::new(), nameless.collect());
        let mut offer = Offer { id: request.map(Box::from), waits, taken, failed };
        let mut new: Vec<Box<str>> = Vec::new();
        for method in methods.iter().copied() {
            match self.register_one(id, method, &mut offer) {
                Ok(true) => new.push(Box::from(method)),
                Ok(false) => {}
                Err(code) => offer.fail(method, code),
            }
        }
        let Some(conn) = self.slots.find_mut(id) else { return };
        conn.unanswered = conn.unanswered.saturating_add(u16::try_from(offer.waits.len()).unwrap_or(u16::MAX));
        conn.service.get_or_insert_default().offers.push(offer);
        for method in new {
            let home = route::home(&self.options.key, &method_channel(&method), self.options.shards);
            self.send_request(now, home, RequestMessage::Register(method, id), effects);
        }
        self.answer_offers(now, id, effects);
    }

    /// Returns whether the method's home has to be asked.
    fn register_one(&mut self, id: ConnId, method: &str, offer: &mut Offer) -> Result<bool, ErrorCode> {
        let channel = method_channel(method);
        if !self.may(id, &channel, Verb::Register) || BUILT_IN.contains(&method) {
            self.metrics.count(Metric::RefusedPermission);
            return Err(ErrorCode::PermissionDenied);
        }
        let conn = self.slots.find_mut(id).ok_or(ErrorCode::ServerError)?;
        let service = conn.service.get_or_insert_default();
        let is_named = |list: &[Box<str>]| list.iter().any(|one| **one == *method);
        if is_named(&offer.waits) || is_named(&offer.taken) {
            return Ok(false);
        }
        if is_named(&service.methods) {
            let waits = service.offers.iter().any(|earlier| is_named(&earlier.waits));
            if waits { &mut offer.waits } else { &mut offer.taken }.push(Box::from(method));
            return Ok(false);
        }
        if service.methods.len() >= METHODS_PER_CONNECTION_MAX {
            return Err(ErrorCode::ConnectionLimitExceeded);
        }
        service.methods.push(Box::from(method));
        offer.waits.push(Box::from(method));
        Ok(true)
    }

    /// Answers the offers of which everything is known.
    fn answer_offers(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(service) = self.slots.find_mut(id).and_then(|conn| conn.service.as_mut()) else { return };
        let known: Vec<Offer> = service.offers.extract_if(.., |offer| offer.waits.is_empty()).collect();
        for offer in known {
            offer.failed.iter().for_each(|(_, code)| self.saw_refused(now, id, *code));
            let write = |stamp, out: &mut Vec<u8>| {
                write_register_response(stamp, offer.id.as_deref(), &offer.taken, &offer.failed, out);
            };
            let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
            self.queue(now, id, Lane::Critical, frame, effects);
        }
    }

    /// Takes back the offers that a refreshed token no longer permits. What is worked on may still be answered.
    pub(super) fn end_forbidden_methods(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let methods = self.slots.find(id).and_then(|conn| conn.service.as_deref()).map(|service| &service.methods);
        let may = |method: &str| self.may(id, &method_channel(method), Verb::Register);
        let forbidden: Vec<Box<str>> = methods.into_iter().flatten().filter(|method| !may(method)).cloned().collect();
        for method in forbidden {
            let Some(service) = self.slots.find_mut(id).and_then(|conn| conn.service.as_mut()) else { return };
            service.methods.retain(|one| *one != method);
            self.metrics.count(Metric::RefusedPermission);
            let details = format!("{{\"method\":{}}}", serde_json::Value::from(&*method));
            let code = ErrorCode::PermissionDenied;
            self.error(now, id, code, text_of(code), Some(&details), effects);
            let home = route::home(&self.options.key, &method_channel(&method), self.options.shards);
            self.send_request(now, home, RequestMessage::Unregister(method, id), effects);
        }
    }

    /// At the method's home.
    pub(super) fn on_register(&mut self, now: Now, method: Box<str>, provider: ConnId, effects: &mut Effects) {
        let outcome = self.providers.register(&method, provider).map_err(|_| ErrorCode::Overloaded);
        if outcome.is_err() {
            self.metrics.count(Metric::RefusedOverload);
        }
        let answer = RequestMessage::Registered(method, provider, outcome);
        self.send_request(now, provider.shard, answer, effects);
    }

    /// The method's home has said whether it takes a connection here for a provider.
    pub(super) fn on_registered(
        &mut self,
        now: Now,
        method: &str,
        (provider, outcome): (ConnId, Result<(), ErrorCode>),
        effects: &mut Effects,
    ) {
        let Some(conn) = self.slots.find_mut(provider) else { return };
        let Some(service) = conn.service.as_mut() else { return };
        // Its token may have been refreshed meanwhile by one that does not permit it.
        let kept = service.methods.iter().any(|one| **one == *method);
        let outcome = outcome.and(if kept { Ok(()) } else { Err(ErrorCode::PermissionDenied) });
        if outcome.is_err() {
            service.methods.retain(|one| **one != *method);
        }
        for offer in &mut service.offers {
            let Some(at) = offer.waits.iter().position(|one| **one == *method) else { continue };
            let waited = offer.waits.remove(at);
            conn.unanswered = conn.unanswered.saturating_sub(1);
            match outcome {
                Ok(()) => offer.taken.push(waited),
                Err(code) => offer.fail(method, code),
            }
        }
        self.answer_offers(now, provider, effects);
    }

    /// A request for a connection here. One that is gone, or that cannot take more, passes it on.
    pub(super) fn on_call(&mut self, now: Now, call: Box<Call>, provider: ConnId, effects: &mut Effects) {
        let from = call.asker.shard;
        let conn = self.slots.find_mut(provider).filter(|conn| matches!(conn.stage, Stage::Open));
        let serves = |service: &&mut Box<Service>| service.methods.contains(&call.method);
        let Some(conn) = conn else { return self.pass_on(now, call, provider, true, effects) };
        let room = conn.outbox.bytes() < OUTBOX_BYTES_MAX / 2;
        let Some(service) = conn.service.as_mut().filter(serves) else {
            return self.pass_on(now, call, provider, true, effects);
        };
        if !room || service.working.len() >= WORKING_PER_CONNECTION_MAX {
            return self.pass_on(now, call, provider, false, effects);
        }
        service.working.insert((from, call.ticket));
        let known = conn.known;
        let id = call_id(from, call.ticket);
        let asked = Asked {
            id: &id,
            method: &call.method,
            params: &call.params,
            user_id: &call.user,
            connection: call.asker_name,
            traceparent: call.traceparent.as_deref().filter(|_| known),
        };
        let frame = self.pen.notice(now, Encoding::TRIPSAGE, |stamp, out| write_request(stamp, &asked, out));
        self.queue(now, provider, Lane::Critical, frame, effects);
        self.send_request(now, from, RequestMessage::Taken(call.ticket, provider), effects);
    }

    fn pass_on(&mut self, now: Now, call: Box<Call>, provider: ConnId, gone: bool, effects: &mut Effects) {
        let home = route::home(&self.options.key, &method_channel(&call.method), self.options.shards);
        self.send_request(now, home, RequestMessage::Passed(call, provider, gone), effects);
    }

    /// A connection answers. Only who was asked can, and only once; anything else is dropped without a word,
    /// for the request may just have come to its deadline.
    pub(super) fn on_response(&mut self, now: Now, id: ConnId, response: &Response<'_>, effects: &mut Effects) {
        let Some((from, ticket)) = parse_call_id(response.id) else { return };
        let service = self.slots.find_mut(id).and_then(|conn| conn.service.as_mut());
        if service.is_some_and(|service| service.working.remove(&(from, ticket))) {
            let outcome = match response.outcome {
                Ok(result) => Ok(Box::from(result.as_bytes())),
                Err(error) => Err(Failure::Told(Box::from(error.as_bytes()))),
            };
            self.send_request(now, from, RequestMessage::Reply(ticket, outcome), effects);
        }
    }

    /// The asker does not need an answer any more.
    pub(super) fn on_cancelled(
        &mut self,
        now: Now,
        (from, ticket): (ShardId, Ticket),
        provider: ConnId,
        effects: &mut Effects,
    ) {
        let service = self.slots.find(provider).and_then(|conn| conn.service.as_deref());
        if service.is_some_and(|service| service.working.contains(&(from, ticket))) {
            let id = call_id(from, ticket);
            let frame = self.pen.notice(now, Encoding::TRIPSAGE, |stamp, out| write_cancel(stamp, &id, out));
            self.queue(now, provider, Lane::Critical, frame, effects);
        }
    }

    /// A connection ends: who waits for its answers is told, who would ask it asks others, and what it asked
    /// itself is forgotten.
    pub(super) fn end_service(&mut self, id: ConnId, effects: &mut Effects) {
        let now = self.latest;
        let Some(conn) = self.slots.find_mut(id) else { return };
        let Some(service) = conn.service.take() else { return };
        // What becomes of its offers is told to nobody any more.
        let offered: usize = service.offers.iter().map(|offer| offer.waits.len()).sum();
        conn.unanswered = conn.unanswered.saturating_sub(u16::try_from(offered).unwrap_or(u16::MAX));
        self.drop_requests(now, &service.asked, effects);
        for method in service.methods {
            let home = route::home(&self.options.key, &method_channel(&method), self.options.shards);
            self.send_request(now, home, RequestMessage::Unregister(method, id), effects);
        }
        for (from, ticket) in service.working {
            let failure = Failure::Code(ErrorCode::ServerError, "who worked on it is gone");
            self.send_request(now, from, RequestMessage::Reply(ticket, Err(failure)), effects);
        }
        for pattern in service.patterns {
            let consumer = crate::room::group::Consumer { conn: id, number: pattern.number };
            self.tell_unsubscribed(now, consumer, effects);
        }
    }
}

/// Methods that the gateway answers itself.
const BUILT_IN: [&str; 4] = ["history", "presence", "stats", "time"];

/// A request's id as its provider sees it.
fn call_id(from: ShardId, ticket: Ticket) -> String {
    format!("{}-{}", from.0, ticket.0)
}

fn parse_call_id(id: &str) -> Option<(ShardId, Ticket)> {
    let (from, ticket) = id.split_once('-')?;
    Some((ShardId(from.parse().ok()?), Ticket(ticket.parse().ok()?)))
}
