//! What shards say to each other about requests, about subscriptions to patterns, and about events that go to
//! connections instead of channels.

use std::sync::Arc;

use crate::code::ErrorCode;
use crate::ids::{ConnId, ConnectionName, Epoch, Seq, ShardId};
use crate::limits::PROVIDERS_TRIED_MAX;
use crate::outbox::Lane;
use crate::payload::Payload;
use crate::request::Ticket;
use crate::room::dedup::Operation;
use crate::room::group::{Consumer, Subscription};

/// A request on its way to somebody who answers it.
#[derive(Debug)]
pub struct Call {
    /// Its number on the asker's shard.
    pub ticket: Ticket,
    /// Who asks.
    pub asker: ConnId,
    /// The asker's public name.
    pub asker_name: ConnectionName,
    /// The authenticated user.
    pub user: Arc<str>,
    /// What is asked for.
    pub method: Box<str>,
    /// Raw JSON.
    pub params: Box<[u8]>,
    /// Who was asked already.
    pub asked: [Option<ConnId>; PROVIDERS_TRIED_MAX],
    /// The trace that it belongs to.
    pub traceparent: Option<Box<str>>,
}

/// What part of a channel's history somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The channel.
    pub channel: Box<str>,
    /// Only events after this one.
    pub since: Option<Seq>,
    /// Only events up to this one.
    pub until: Option<Seq>,
    /// Not more than so many.
    pub limit: usize,
    /// Whether the latest come first.
    pub reverse: bool,
    /// Whether a known client asks.
    pub known: bool,
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What the gateway says.
    Code(ErrorCode, &'static str),
    /// What the provider says: a raw JSON object.
    Told(Box<[u8]>),
}

/// About requests.
#[derive(Debug)]
pub enum RequestMessage {
    /// To the method's home: find somebody who answers.
    Ask(Box<Call>),
    /// To the shard of the provider: have it answered.
    Call(Box<Call>, ConnId),
    /// To the method's home: not that one. `true` if it is gone for good.
    Passed(Box<Call>, ConnId, bool),
    /// To the asker's shard: this connection works on it.
    Taken(Ticket, ConnId),
    /// To the provider's shard: the asker would rather not have it.
    Cancel(Ticket, ConnId),
    /// To the provider's shard: nobody waits for it any more.
    Withdraw(Ticket, ConnId),
    /// To the asker's shard: the end of a request.
    Reply(Ticket, Result<Box<[u8]>, Failure>),
    /// To the method's home: this connection answers it.
    Register(Box<str>, ConnId),
    /// To the method's home: it no longer does.
    Unregister(Box<str>, ConnId),
    /// To the provider's shard: it is asked from now on, or the method takes no further provider.
    Registered(Box<str>, ConnId, Result<(), ErrorCode>),
    /// To the channel's home: send that part of its history.
    History(Ticket, Stretch),
    /// To the channel's home: say who is in it.
    Presence(Ticket, Box<str>),
}

/// About patterns.
#[derive(Debug)]
pub enum PatternMessage {
    /// To every shard: this connection wants the channels with this prefix.
    Subscribe(Subscription),
    /// To every shard: no longer.
    Unsubscribe(Consumer),
    /// To the consumer's shard: some shard has no place for the subscription.
    Full(Consumer),
    /// To the consumer's shard: become a member of a channel.
    Enlist {
        /// Who.
        consumer: Consumer,
        /// Of which channel.
        channel: Arc<str>,
        /// The run of positions.
        epoch: Epoch,
        /// The event before the first that it is to get.
        after: Seq,
        /// That this cannot be was told before.
        told: bool,
    },
    /// To the consumer's shard: leave the channel, somebody else gets it.
    Dismiss(Consumer, Arc<str>),
    /// To the channel's home: the consumer is no member any more, and had everything before this event; or it
    /// could not become one.
    Left(Consumer, Arc<str>, Result<Seq, Refused>),
    /// To the channel's home: a member has everything up to this event.
    Acked {
        /// Whose connection it is.
        user: Arc<str>,
        /// The connection.
        by: ConnId,
        /// The channel.
        channel: Arc<str>,
        /// The run of positions.
        epoch: Epoch,
        /// The event.
        seq: Seq,
    },
}

/// A consumer could not become a member after this event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub Seq);

/// Where an event goes that has no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To one connection.
    Connection(ConnId, ConnectionName),
    /// To everybody who is connected.
    Everybody,
}

/// The frame of an event without a channel.
#[derive(Clone, Debug)]
pub struct Forms {
    /// As every client gets it, or every legacy one.
    pub plain: Payload,
    /// As known clients get it, if it belongs to a trace.
    pub traced: Option<Payload>,
}

impl Forms {
    /// As a known or a legacy client gets it.
    #[must_use]
    pub fn to_client(&self, known: bool) -> &Payload {
        self.traced.as_ref().filter(|_| known).unwrap_or(&self.plain)
    }
}

/// An event without a channel.
#[derive(Debug)]
pub struct Direct {
    /// Whose it is, for the answer.
    pub author: ConnId,
    /// Where it goes.
    pub target: Target,
    /// The event.
    pub frames: Forms,
    /// What its target was called.
    pub channel: Arc<str>,
    /// The operation id.
    pub id: Option<Box<str>>,
    /// What a retry with the same id is recognised by.
    pub operation: Option<Operation>,
    /// Whether the author wants to be answered.
    pub wants_ack: bool,
    /// Who does not get it.
    pub excluded: Option<ConnId>,
    /// How it is queued.
    pub lane: Lane,
}

/// About events without a channel.
#[derive(Debug)]
pub enum DirectMessage {
    /// To the target's shard; for everybody to the shard at which these have their order.
    Send(Box<Direct>),
    /// To every shard: all connections get this, but one.
    Spread(Forms, Lane, Option<ConnId>),
    /// To the shard at which these have their order: all connections of this shard have got the oldest of them.
    Through(ShardId),
    /// To the author's shard: whether it was sent, and whether an earlier one with the same id was.
    Sent {
        /// The author.
        to: ConnId,
        /// The operation.
        id: Option<Box<str>>,
        /// What the target was called.
        channel: Arc<str>,
        /// Whether an answer was asked for.
        wants_ack: bool,
        /// Whether it is a duplicate.
        outcome: Result<bool, ErrorCode>,
    },
}
