//! What a shard keeps of the connections that ask, answer, acknowledge or subscribe to patterns. Few do, so it
//! is boxed beside the connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::code::ErrorCode;
use crate::ids::{Seq, ShardId};
use crate::request::Ticket;
use crate::shard::connection::Membership;
use crate::shard::rooms::RoomId;

/// A connection's part in requests, acknowledgements and patterns.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// Its requests that wait.
    pub(super) asked: Vec<Ticket>,
    /// Methods that it answers.
    pub(super) methods: Vec<Box<str>>,
    /// Offers of which some homes have not said yet whether they took them.
    pub(super) offers: Vec<Offer>,
    /// Requests that it works on, by the asker's shard.
    pub(super) working: BTreeSet<(ShardId, Ticket)>,
    /// What it last acknowledged, for what its channels' homes were told already.
    pub(super) acked: BTreeMap<RoomId, Seq>,
    /// Its subscriptions to patterns.
    pub(super) patterns: Vec<Pattern>,
    /// The number of its latest pattern.
    pub(super) last_number: u32,
    /// Channels that it is in because of a pattern.
    pub(super) automatic: BTreeMap<RoomId, u32>,
    /// Channels that it has joined by name and that one of its patterns brings as well.
    pub(super) doubly: BTreeSet<RoomId>,
    /// Memberships that may be owed something: one with thousands is not looked through for each event.
    pub(super) ready: VecDeque<Membership>,
}

/// One `register`, until it is known what became of each of its methods.
#[derive(Debug)]
pub(super) struct Offer {
    /// By which the client knows the answer again.
    pub(super) id: Option<Box<str>>,
    /// Methods whose homes have yet to answer.
    pub(super) waits: Vec<Box<str>>,
    /// Methods that it answers from now on.
    pub(super) taken: Vec<Box<str>>,
    /// Those that it does not, as raw JSON strings, and why.
    pub(super) failed: Vec<(Box<str>, ErrorCode)>,
}

impl Offer {
    /// Notes that a method was refused.
    pub(super) fn fail(&mut self, method: &str, code: ErrorCode) {
        self.failed.push((serde_json::Value::from(method).to_string().into(), code));
    }
}

/// A subscription to a pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) number: u32,
    pub(super) prefix: Box<str>,
}

impl Service {
    /// Whether fills go by `ready`. Once it is so it stays so.
    pub(super) const fn is_crowded(&self) -> bool {
        self.last_number > 0
    }

    /// The pattern that a channel belongs to; a connection's patterns do not overlap.
    pub(super) fn pattern_of(&self, channel: &str) -> Option<u32> {
        self.patterns.iter().find(|pattern| channel.starts_with(&*pattern.prefix)).map(|pattern| pattern.number)
    }
}
