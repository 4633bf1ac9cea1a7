//! What is asked of shards from outside, by the HTTP interface, and what they answer.
//!
//! A question has a number, and one answer, from the shard that it was put to. Whoever asks waits for a while; an
//! answer that comes later finds nobody and is dropped. What goes through many connections is asked for in
//! portions: the answer says where the next one begins, so no turn has more than a portion to do.

use std::sync::Arc;

use super::Committed;
use super::service::Stretch;
use crate::auth::token::Claims;
use crate::code::{CloseCode, ErrorCode};
use crate::envelope::Priority;
use crate::ids::{ConnId, ConnectionName, Epoch};
use crate::ledger::{Forgotten, Spot};
use crate::session::liveness::Quality;
use crate::wire::peer::Peer;

/// A question to one shard.
#[derive(Debug)]
pub struct Question {
    /// Its number.
    pub ticket: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked.
#[derive(Debug)]
pub enum Ask {
    /// To the channel's home: publish an event.
    Publish(Publishing),
    /// To the channel's home: a part of its history, for somebody who may or may not see it.
    History {
        /// Who asks.
        claims: Arc<Claims>,
        /// Which part.
        stretch: Stretch,
        /// The run of positions that the part's bounds belong to; of another one they say nothing.
        epoch: Option<Epoch>,
    },
    /// To the channel's home: erase its history, for an operator.
    Erase(Arc<str>),
    /// To every shard: erase what it has in memory of a user, for an operator.
    Forget {
        /// The user.
        user: Arc<str>,
        /// The place of its table of channels to go on from.
        from: u32,
        /// Before the store's turn, or after it.
        round: Round,
    },
    /// To any shard: erase what the store has of a user, a portion of it.
    ForgetStored {
        /// The user.
        user: Arc<str>,
        /// Where the portion begins.
        from: Spot,
    },
    /// To every shard: who is in a channel there, up to so many.
    Members {
        /// Who asks.
        claims: Arc<Claims>,
        /// The channel.
        channel: Arc<str>,
        /// At most so many.
        limit: usize,
    },
    /// The connections from a place of the shard's table on, up to so many.
    Connections {
        /// The place.
        from: u32,
        /// At most so many.
        limit: usize,
    },
    /// Who and what is there, from a place of the shard's tables on.
    Tally {
        /// The place.
        from: u32,
    },
    /// To the home of `system:stats`: publish there what the gateway says of itself, a JSON object.
    Announce(Box<[u8]>),
    /// Which channels had the most deliveries there since this was asked before.
    Busiest,
    /// What those are called of which somebody knows the place.
    Names {
        /// Connections: slot and generation.
        connections: Vec<(u32, u32)>,
        /// Channels.
        channels: Vec<u32>,
    },
    /// The places of those of which somebody knows the name, also of a connection that is gone.
    Places {
        /// A connection.
        connection: Option<ConnectionName>,
        /// A channel.
        channel: Option<Arc<str>>,
    },
    /// Do something to connections, from a place of the shard's table on.
    Sweep {
        /// The place.
        from: u32,
        /// Whose.
        whose: Whose,
        /// What.
        act: Act,
    },
}

/// Memory is gone through twice for an erasure, before the store and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Everything that is there. What comes later is not of the erasure.
    First,
    /// What was read from the store meanwhile, of the time before.
    Last,
}

/// An event from outside.
#[derive(Clone, Debug)]
pub struct Publishing {
    /// Who sends it.
    pub claims: Arc<Claims>,
    /// The channel, or the name of what stands for connections.
    pub channel: Arc<str>,
    /// The event's type.
    pub kind: Arc<str>,
    /// Raw JSON object.
    pub payload: Arc<[u8]>,
    /// The operation id.
    pub id: Option<Arc<str>>,
    /// The connection that should not get it.
    pub exclude: Option<ConnectionName>,
    /// In which lane it goes if it has no number.
    pub priority: Option<Priority>,
    /// The trace that it belongs to.
    pub traceparent: Option<Arc<str>>,
}

/// Which connections something is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All of a user.
    User(Arc<str>),
    /// One.
    Connection(ConnectionName),
}

/// What is done to connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// They are closed.
    Close(CloseCode),
    /// They leave these channels.
    Leave(Arc<[Box<str>]>),
    /// Nothing: they are counted.
    Count,
}

/// An answer from one shard.
#[derive(Debug)]
pub struct Answered {
    /// The question's number.
    pub ticket: u64,
    /// The answer, or why there is none.
    pub outcome: Result<Reply, ErrorCode>,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// The event has its place.
    Sequenced(Committed),
    /// The event is on its way to connections; `true` if it was so before.
    Sent(bool),
    /// A part of a history as JSON.
    History(Box<[u8]>),
    /// A channel's history is gone.
    Erased,
    /// What there was of a user in a portion of the channels is gone, and what was sequenced there is with the store.
    Forgotten {
        /// How much.
        traces: Traces,
        /// Where the next portion begins, if there is one.
        next: Option<u32>,
    },
    /// The same of a portion of the store.
    ForgottenStored(Forgotten),
    /// Who is in a channel.
    Members {
        /// Users and connections, as many as were asked for.
        members: Vec<(Arc<str>, ConnectionName)>,
        /// How many there are.
        count: usize,
    },
    /// Connections.
    Connections {
        /// As many as were asked for, or as were in the portion.
        rows: Vec<Row>,
        /// Where the next portion begins, if there is one.
        next: Option<u32>,
    },
    /// Who and what is there.
    Tally(Tally, Option<u32>),
    /// It is published.
    Announced {
        /// Whether somebody is in the channel.
        watched: bool,
    },
    /// The busiest channels, the busiest first.
    Busiest(Vec<Busiest>),
    /// Names, in the order of the question; `None` for what is not there any more.
    Names {
        /// Of connections, with their users.
        connections: Vec<Option<(ConnectionName, Option<Arc<str>>)>>,
        /// Of channels.
        channels: Vec<Option<Arc<str>>>,
    },
    /// Places.
    Places {
        /// Where the connection is or was.
        connection: Option<ConnId>,
        /// The channel's, if this shard knows it.
        channel: Option<u32>,
    },
    /// To so many connections something was done.
    Swept {
        /// How many.
        count: usize,
        /// Where the next portion begins, if there is one.
        next: Option<u32>,
    },
}

/// What a user had left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Events in whose place an empty one stands.
    pub events: u64,
    /// Operations that are not known any more.
    pub operations: u64,
    /// Cursors.
    pub cursors: u64,
}

impl Traces {
    /// Counts more of them.
    pub const fn add(&mut self, more: Self) {
        self.events += more.events;
        self.operations += more.operations;
        self.cursors += more.cursors;
    }
}

/// What a channel delivers to its members on one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busiest {
    /// Its name.
    pub channel: Arc<str>,
    /// Members there.
    pub members: u64,
    /// Deliveries to them a second.
    pub per_s: u64,
}

/// One connection as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its public name.
    pub name: ConnectionName,
    /// Its user; `None` before it is known.
    pub user: Option<Arc<str>>,
    /// The channel of its endpoint.
    pub own: Option<Arc<str>>,
    /// Where it comes from.
    pub peer: Peer,
    /// When it came, wall clock.
    pub connected_ms: u64,
    /// When it last said something, wall clock.
    pub heard_ms: u64,
    /// The mean of its latest round trips, if any was measured.
    pub round_trip_ms: Option<u16>,
    /// How well it does.
    pub quality: &'static str,
    /// How far it has come.
    pub state: &'static str,
    /// The channels that it is in, as far as they are listed.
    pub channels: Vec<Arc<str>>,
}

/// Counts of a portion. Users and sessions may be on many shards, so they are told as keyed hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Users.
    pub users: Vec<u64>,
    /// Chat sessions.
    pub sessions: Vec<u64>,
    /// Channels at home there that somebody is in.
    pub channels: u64,
    /// Connections by how well they do, from the best.
    pub qualities: [u64; Quality::ALL.len()],
    /// Frames queued towards them.
    pub queued: u64,
}
