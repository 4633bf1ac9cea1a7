//! Requests from the asker's side: to the gateway itself, or to whoever answers the method.

use std::sync::Arc;

use super::Shard;
use super::browsing::Reader;
use super::effect::{Effect, Effects};
use super::message::MeshMessage;
use super::message::service::{Call, Failure, RequestMessage, Stretch};
use super::publishing::text_of;
use super::timers::Timer;
use crate::auth::caps::Verb;
use crate::code::ErrorCode;
use crate::envelope::Encoding;
use crate::envelope::command::{Params, Request};
use crate::envelope::notice::service::{Unanswered, write_numbers, write_response, write_time};
use crate::envelope::tree::Value;
use crate::ids::{ConnId, Seq, ShardId};
use crate::limits::{
    CHANNEL_NAME_BYTES_MAX, HISTORY_PAGE_DEFAULT, HISTORY_PAGE_MAX, MESSAGE_BYTES_MAX, OUTBOX_BYTES_MAX,
    PROVIDERS_TRIED_MAX, REQUEST_DEADLINE_MS, REQUESTS_PER_CONNECTION_MAX,
};
use crate::metrics::Metric;
use crate::outbox::Lane;
use crate::request::pending::Withdrawn;
use crate::request::{Asked, Ticket};
use crate::route;
use crate::time::Now;

/// There is no provider.
const NO_METHOD: Failure = Failure::Code(ErrorCode::UnknownType, "nobody answers this method");

/// The answers to earlier requests are still to be written.
const CROWDED: Failure = Failure::Code(ErrorCode::Overloaded, "too many answers at once");

/// The channel whose home is a method's home, and in which `register` has to be permitted.
pub(super) fn method_channel(method: &str) -> String {
    ["method:", method].concat()
}

impl Shard {
    /// A connection asks for something.
    pub(super) fn on_question(
        &mut self,
        now: Now,
        id: ConnId,
        (request, traceparent): (&Request<'_>, Option<&str>),
        effects: &mut Effects,
    ) {
        let mut result = Vec::new();
        match request.method {
            "time" => write_time(now.unix_ms, &mut result),
            "stats" => self.write_stats(&mut result),
            "history" => return self.ask_history(now, id, request, effects),
            "presence" => return self.ask_presence(now, id, request, effects),
            _ => return self.ask_service(now, id, (request, traceparent), effects),
        }
        self.respond_to(now, id, request.id, Ok(&result), effects);
    }

    fn respond_to(
        &mut self,
        now: Now,
        id: ConnId,
        request: Option<&str>,
        outcome: Result<&[u8], &Failure>,
        effects: &mut Effects,
    ) {
        // Without an id nobody could know the answer again.
        let Some(request) = request else { return };
        let len = match outcome {
            Ok(result) => result.len(),
            Err(Failure::Told(error)) => error.len(),
            Err(Failure::Code(..)) => 0,
        };
        let queued = self.slots.find(id).map_or(0, |conn| conn.outbox.bytes());
        let outcome = if len > 0 && queued + len > OUTBOX_BYTES_MAX - MESSAGE_BYTES_MAX {
            // Its volume is what was asked for: no sign of a client that does not read.
            self.metrics.count(Metric::RefusedOverload);
            self.saw_refused(now, id, ErrorCode::Overloaded);
            Err(&CROWDED)
        } else {
            outcome
        };
        let outcome = outcome.map_err(|failure| match failure {
            Failure::Code(code, text) => Unanswered::Code(*code, text),
            Failure::Told(error) => Unanswered::Told(error),
        });
        let write = |stamp, out: &mut Vec<u8>| write_response(stamp, request, outcome, out);
        let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
        self.queue(now, id, Lane::Critical, frame, effects);
    }

    fn fail(&mut self, now: Now, id: ConnId, request: &Request<'_>, code: ErrorCode, effects: &mut Effects) {
        self.saw_refused(now, id, code);
        if !request.optional {
            self.respond_to(now, id, request.id, Err(&Failure::Code(code, text_of(code))), effects);
        }
    }

    fn write_stats(&self, out: &mut Vec<u8>) {
        const ROWS: [(&str, Metric); 8] = [
            ("connections", Metric::Connections),
            ("channels", Metric::Channels),
            ("memberships", Metric::Memberships),
            ("messages_received", Metric::MessagesIn),
            ("events_published", Metric::Published),
            ("events_delivered", Metric::Delivered),
            ("bytes_received", Metric::BytesIn),
            ("bytes_sent", Metric::BytesOut),
        ];
        let own = std::slice::from_ref(&self.metrics);
        let all = if self.peers.is_empty() { own } else { &self.peers[..] };
        let numbers = ROWS.map(|(name, metric)| (name, all.iter().map(|metrics| metrics.read(metric)).sum()));
        write_numbers(&numbers, out);
    }

    /// Opens a request, or refuses it.
    fn open_request(
        &mut self,
        now: Now,
        id: ConnId,
        request: &Request<'_>,
        home: ShardId,
        effects: &mut Effects,
    ) -> Option<Ticket> {
        let service = self.slots.find_mut(id)?.service.get_or_insert_default();
        let same = |ticket: &Ticket| self.pending.find(*ticket).is_some_and(|asked| asked.id.as_deref() == request.id);
        let code = if service.asked.len() >= REQUESTS_PER_CONNECTION_MAX || effects.congested(home) {
            ErrorCode::Overloaded
        } else if request.id.is_some() && service.asked.iter().any(same) {
            ErrorCode::IdReused
        } else if let Some(ticket) = self.pending.open(Asked::new(id, request.id, request.optional)) {
            service.asked.push(ticket);
            self.wheel.insert(now.millis().after(REQUEST_DEADLINE_MS), Timer::Request(ticket));
            return Some(ticket);
        } else {
            ErrorCode::Overloaded
        };
        self.metrics.count(Metric::RefusedOverload);
        self.fail(now, id, request, code, effects);
        None
    }

    fn ask_service(
        &mut self,
        now: Now,
        id: ConnId,
        (request, traceparent): (&Request<'_>, Option<&str>),
        effects: &mut Effects,
    ) {
        let home = route::home(&self.options.key, &method_channel(request.method), self.options.shards);
        let Some(ticket) = self.open_request(now, id, request, home, effects) else { return };
        let Some((name, user)) = self.slots.find(id).and_then(|conn| Some((conn.name, Arc::clone(conn.user()?))))
        else {
            return;
        };
        let mut params = Vec::new();
        request.params.write(&mut params);
        let call = Call {
            ticket,
            asker: id,
            asker_name: name,
            user,
            method: Box::from(request.method),
            params: params.into_boxed_slice(),
            asked: [None; PROVIDERS_TRIED_MAX],
            traceparent: traceparent.map(Box::from),
        };
        self.metrics.count(Metric::Requests);
        self.send_request(now, home, RequestMessage::Ask(Box::new(call)), effects);
    }

    fn ask_history(&mut self, now: Now, id: ConnId, request: &Request<'_>, effects: &mut Effects) {
        let Some(user) = self.slots.find(id).and_then(|conn| conn.user()).cloned() else { return };
        let Some(mut stretch) = stretch_of(&request.params) else {
            return self.fail(now, id, request, ErrorCode::InvalidMessageFormat, effects);
        };
        let channel = super::admission::full_name(&stretch.channel, &user);
        if !self.may(id, &channel, Verb::History) {
            self.metrics.count(Metric::RefusedPermission);
            return self.fail(now, id, request, ErrorCode::PermissionDenied, effects);
        }
        let home = route::home(&self.options.key, &channel, self.options.shards);
        stretch.channel = channel.into_boxed_str();
        stretch.known = self.slots.find(id).is_some_and(|conn| conn.known);
        let Some(ticket) = self.open_request(now, id, request, home, effects) else { return };
        self.metrics.count(Metric::Requests);
        self.send_request(now, home, RequestMessage::History(ticket, stretch), effects);
    }

    fn ask_presence(&mut self, now: Now, id: ConnId, request: &Request<'_>, effects: &mut Effects) {
        let Some(user) = self.slots.find(id).and_then(|conn| conn.user()).cloned() else { return };
        let named = request.params.object().and_then(|params| params.find([&["channel"]])[0]);
        let Some(channel) = named.and_then(channel_named) else {
            return self.fail(now, id, request, ErrorCode::InvalidMessageFormat, effects);
        };
        let channel = super::admission::full_name(&channel, &user);
        if !self.may(id, &channel, Verb::Presence) {
            self.metrics.count(Metric::RefusedPermission);
            return self.fail(now, id, request, ErrorCode::PermissionDenied, effects);
        }
        let home = route::home(&self.options.key, &channel, self.options.shards);
        let Some(ticket) = self.open_request(now, id, request, home, effects) else { return };
        self.metrics.count(Metric::Requests);
        self.send_request(now, home, RequestMessage::Presence(ticket, channel.into_boxed_str()), effects);
    }

    /// The end of a request of a connection here.
    pub(super) fn on_reply(
        &mut self,
        now: Now,
        ticket: Ticket,
        outcome: &Result<Box<[u8]>, Failure>,
        effects: &mut Effects,
    ) {
        let Some(asked) = self.close_request(ticket) else { return };
        if asked.optional && *outcome == Err(NO_METHOD) {
            return;
        }
        if let Err(Failure::Code(code, _)) = outcome {
            self.saw_refused(now, asked.asker, *code);
        }
        self.respond_to(now, asked.asker, asked.id.as_deref(), outcome.as_deref(), effects);
    }

    fn close_request(&mut self, ticket: Ticket) -> Option<Asked> {
        let asked = self.pending.close(ticket)?;
        if let Some(service) = self.slots.find_mut(asked.asker).and_then(|conn| conn.service.as_mut()) {
            service.asked.retain(|other| *other != ticket);
        }
        Some(asked)
    }

    /// A provider has got the request.
    pub(super) fn on_taken(&mut self, now: Now, ticket: Ticket, provider: ConnId, effects: &mut Effects) {
        match self.pending.take(ticket, provider) {
            Some(false) => {}
            Some(true) => self.send_request(now, provider.shard, RequestMessage::Cancel(ticket, provider), effects),
            None => self.send_request(now, provider.shard, RequestMessage::Withdraw(ticket, provider), effects),
        }
    }

    /// The asker withdraws a request. It still hears how it ends, from the provider or by its deadline.
    pub(super) fn on_cancel(&mut self, now: Now, id: ConnId, request: &str, effects: &mut Effects) {
        let Some(service) = self.slots.find(id).and_then(|conn| conn.service.as_deref()) else { return };
        let named =
            |ticket: &&Ticket| self.pending.find(**ticket).is_some_and(|asked| asked.id.as_deref() == Some(request));
        let Some(ticket) = service.asked.iter().find(named).copied() else { return };
        if let Withdrawn::From(provider) = self.pending.cancel(ticket) {
            self.send_request(now, provider.shard, RequestMessage::Cancel(ticket, provider), effects);
        }
    }

    /// Nobody has answered in time.
    pub(super) fn on_request_deadline(&mut self, now: Now, ticket: Ticket, effects: &mut Effects) {
        let Some(asked) = self.close_request(ticket) else { return };
        self.metrics.count(Metric::RequestsLate);
        if let Some(provider) = asked.provider {
            self.send_request(now, provider.shard, RequestMessage::Withdraw(ticket, provider), effects);
        }
        let code = ErrorCode::DeadlineExceeded;
        let failure = Failure::Code(code, text_of(code));
        self.saw_refused(now, asked.asker, code);
        self.respond_to(now, asked.asker, asked.id.as_deref(), Err(&failure), effects);
    }

    /// The asker is gone: its answers are dropped when they come, and providers need not go on.
    pub(super) fn drop_requests(&mut self, now: Now, asked: &[Ticket], effects: &mut Effects) {
        for ticket in asked {
            if let Some(provider) = self.pending.close(*ticket).and_then(|asked| asked.provider) {
                self.send_request(now, provider.shard, RequestMessage::Withdraw(*ticket, provider), effects);
            }
        }
    }

    /// To another shard, or done at once.
    pub(super) fn send_request(&mut self, now: Now, to: ShardId, message: RequestMessage, effects: &mut Effects) {
        if to == self.id {
            self.on_request_message(now, self.id, message, effects);
        } else {
            effects.list.push(Effect::Mesh(to, MeshMessage::Request(Box::new(message))));
        }
    }

    pub(super) fn on_request_message(
        &mut self,
        now: Now,
        from: ShardId,
        message: RequestMessage,
        effects: &mut Effects,
    ) {
        match message {
            RequestMessage::Ask(call) => self.find_provider(now, call, effects),
            RequestMessage::Call(call, provider) => self.on_call(now, call, provider, effects),
            RequestMessage::Passed(call, provider, gone) => {
                if gone {
                    self.providers.remove(&call.method, provider);
                }
                self.find_provider(now, call, effects);
            }
            RequestMessage::Taken(ticket, provider) => self.on_taken(now, ticket, provider, effects),
            RequestMessage::Cancel(ticket, provider) => self.on_cancelled(now, (from, ticket), provider, effects),
            RequestMessage::Withdraw(ticket, provider) => {
                self.on_cancelled(now, (from, ticket), provider, effects);
                if let Some(service) = self.slots.find_mut(provider).and_then(|conn| conn.service.as_mut()) {
                    service.working.remove(&(from, ticket));
                }
            }
            RequestMessage::Reply(ticket, outcome) => self.on_reply(now, ticket, &outcome, effects),
            RequestMessage::Register(method, provider) => self.on_register(now, method, provider, effects),
            RequestMessage::Unregister(method, provider) => self.providers.remove(&method, provider),
            RequestMessage::Registered(method, provider, outcome) => {
                self.on_registered(now, &method, (provider, outcome), effects);
            }
            RequestMessage::History(ticket, stretch) => {
                self.browse(now, Reader::Connection(from, ticket), stretch, effects);
            }
            RequestMessage::Presence(ticket, channel) => {
                self.on_presence_asked(now, from, (ticket, &channel), effects);
            }
        }
    }

    /// Has somebody answer a request whose method is at home here: one who was not asked before, whoever of those is
    /// gone, and whose turn other requests have made it meanwhile.
    fn find_provider(&mut self, now: Now, mut call: Box<Call>, effects: &mut Effects) {
        let asker = call.asker.shard;
        if let Some(free) = call.asked.iter().position(Option::is_none)
            && let Some(provider) = self.providers.pick(&call.method, &call.asked)
        {
            call.asked[free] = Some(provider);
            return self.send_request(now, provider.shard, RequestMessage::Call(call, provider), effects);
        }
        let failure = if self.providers.count(&call.method) > 0 {
            Failure::Code(ErrorCode::Overloaded, "everybody who answers this method is busy")
        } else {
            NO_METHOD
        };
        self.send_request(now, asker, RequestMessage::Reply(call.ticket, Err(failure)), effects);
    }
}

/// A channel's name that keeps the bounds of one. What a provider is asked is its own business; this is ours.
fn channel_named(value: Value<'_>) -> Option<String> {
    let name: String = serde_json::from_str(value.raw()).ok()?;
    let fits = (1..=CHANNEL_NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    fits.then_some(name)
}

/// What part of a history is asked for: positions are whole numbers, or objects with a `seq`.
fn stretch_of(params: &Params<'_>) -> Option<Stretch> {
    let [channel, since, until, limit, reverse] =
        params.object()?.find([&["channel"], &["since"], &["until"], &["limit"], &["reverse"]]);
    let position = |value: Option<Value<'_>>| match value {
        None => Some(None),
        Some(value) => {
            let seq = match value.object() {
                Some(object) => object.find([&["seq"]])[0]?.whole(),
                None => value.whole(),
            };
            seq.filter(|seq| *seq <= crate::limits::SEQ_MAX).map(|seq| Some(Seq(seq)))
        }
    };
    let limit = match limit {
        None => HISTORY_PAGE_DEFAULT,
        Some(limit) => usize::try_from(limit.whole()?).unwrap_or(usize::MAX).min(HISTORY_PAGE_MAX),
    };
    let channel = channel_named(channel?)?;
    let reverse = match reverse.map(|value| value.raw()) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return None,
    };
    Some(Stretch {
        channel: channel.into_boxed_str(),
        since: position(since)?,
        until: position(until)?,
        limit,
        reverse,
        known: false,
    })
}
