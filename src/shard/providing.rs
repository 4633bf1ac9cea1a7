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
use crate::envelope::notice::service::{Asked, write_cancel, write_request};
use crate::ids::{ConnId, ShardId};
use crate::limits::{METHODS_PER_CONNECTION_MAX, OUTBOX_BYTES_MAX, WORKING_PER_CONNECTION_MAX};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::request::Ticket;
use crate::route;
use crate::shard::service::Service;
use crate::time::Now;

impl Shard {
    /// A connection offers to answer methods. Each that it may not is refused with an error of its own.
    pub(super) fn register(&mut self, now: Now, id: ConnId, methods: &[&str], effects: &mut Effects) {
        for method in methods {
            if let Err(code) = self.register_one(now, id, method, effects) {
                let details = format!("{{\"method\":{}}}", serde_json::Value::from(*method));
                self.error(now, id, code, text_of(code), Some(&details), effects);
            }
        }
    }

    fn register_one(&mut self, now: Now, id: ConnId, method: &str, effects: &mut Effects) -> Result<(), ErrorCode> {
        let channel = method_channel(method);
        if !self.may(id, &channel, Verb::Register) || BUILT_IN.contains(&method) {
            self.metrics.count(Metric::RefusedPermission);
            return Err(ErrorCode::PermissionDenied);
        }
        let conn = self.slots.find_mut(id).ok_or(ErrorCode::ServerError)?;
        let service = conn.service.get_or_insert_default();
        if service.methods.iter().any(|one| **one == *method) {
            return Ok(());
        }
        if service.methods.len() >= METHODS_PER_CONNECTION_MAX {
            return Err(ErrorCode::ConnectionLimitExceeded);
        }
        service.methods.push(Box::from(method));
        let home = route::home(&self.options.key, &channel, self.options.shards);
        self.send_request(now, home, RequestMessage::Register(Box::from(method), id), effects);
        Ok(())
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
        if self.providers.register(&method, provider).is_err() {
            self.metrics.count(Metric::RefusedOverload);
            self.send_request(now, provider.shard, RequestMessage::Full(method, provider), effects);
        }
    }

    /// The method's home has no place for a provider here.
    pub(super) fn on_method_full(&mut self, now: Now, method: &str, provider: ConnId, effects: &mut Effects) {
        let service = self.slots.find_mut(provider).and_then(|conn| conn.service.as_mut());
        let Some(service) = service else { return };
        service.methods.retain(|one| **one != *method);
        let details = format!("{{\"method\":{}}}", serde_json::Value::from(method));
        let code = ErrorCode::Overloaded;
        self.error(now, provider, code, text_of(code), Some(&details), effects);
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
        let id = call_id(from, call.ticket);
        let asked = Asked {
            id: &id,
            method: &call.method,
            params: &call.params,
            user_id: &call.user,
            connection: call.asker_name,
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
        let Some(service) = self.slots.find_mut(id).and_then(|conn| conn.service.take()) else { return };
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
