//! What shards say to each other about who is connected.

use crate::census::addresses::{AddressKey, Question, Verdict};
use crate::census::users::UserKey;
use crate::ids::ConnId;

/// Why a connection that is in has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// A newer connection of the same user on the same resource has its place.
    Replaced,
    /// The resource has all its connections.
    ResourceFull,
    /// The user has too many connections.
    UserFull,
    /// The user connects too often from there.
    TooOften,
}

/// What shards ask and tell each other about who is connected.
#[derive(Debug)]
pub enum CensusMessage {
    /// To the user's shard: the user has one more connection.
    CheckIn {
        /// Which.
        conn: ConnId,
        /// Whose.
        user: UserKey,
        /// What its endpoint is about.
        resource: u64,
        /// How many the user may have there; 0 is no limit.
        at_most: u32,
    },
    /// To the user's shard: is there a place for a connection that is not open yet?
    Reserve {
        /// Which.
        conn: ConnId,
        /// Whose.
        user: UserKey,
        /// What its endpoint is about.
        resource: u64,
        /// How many the user may have there; 0 is no limit.
        at_most: u32,
        /// Whether those who have the places shall show that they live.
        probe: bool,
    },
    /// The answer.
    Reserved {
        /// Which.
        conn: ConnId,
        /// Whose.
        user: UserKey,
        /// Whether it has the place.
        granted: bool,
    },
    /// To the user's shard: a connection with such a place is open, under this name.
    Settle {
        /// What it was called.
        from: ConnId,
        /// What it is called.
        conn: ConnId,
        /// Whose.
        user: UserKey,
    },
    /// To the connection's shard: does it live?
    Probe {
        /// Which.
        conn: ConnId,
    },
    /// To the user's shard: the connection is gone.
    Leave {
        /// Which.
        conn: ConnId,
        /// Whose.
        user: UserKey,
        /// Messages that it was lent and did not use.
        unused: u16,
    },
    /// To the user's shard: may this connection send more?
    Lend {
        /// Which.
        conn: ConnId,
        /// Whose.
        user: UserKey,
    },
    /// The answer: so many messages, or none before so many milliseconds.
    Lent {
        /// Which.
        conn: ConnId,
        /// Whose.
        user: UserKey,
        /// Messages or milliseconds.
        lent: Result<u16, u32>,
    },
    /// From the user's shard: what has this connection not used?
    Recall {
        /// Which.
        conn: ConnId,
        /// Whose.
        user: UserKey,
    },
    /// To the user's shard: messages that were lent and are not used.
    GiveBack {
        /// Whose.
        user: UserKey,
        /// How many.
        unused: u16,
        /// Whether this answers a `Recall`.
        was_asked: bool,
    },
    /// To the resource's shard: one more connection is on it.
    Occupy {
        /// Which.
        conn: ConnId,
        /// What its endpoint is about.
        resource: u64,
    },
    /// To the resource's shard: one less.
    Vacate {
        /// What its endpoint was about.
        resource: u64,
    },
    /// To the address's shard: a connection from there is in already, over a limit as well.
    Sit {
        /// Where it comes from.
        address: AddressKey,
    },
    /// To the resource's shard: a connection is on it already, over a limit as well.
    Stay {
        /// What its endpoint is about.
        resource: u64,
    },
    /// To the connection's shard: it has to go.
    Dismiss {
        /// Which.
        conn: ConnId,
        /// Why.
        why: Dismissal,
    },
    /// To the address's shard: what about somebody from there?
    Ask {
        /// Who is answered.
        conn: ConnId,
        /// Where it comes from.
        address: AddressKey,
        /// What it is about.
        question: Question,
    },
    /// The answer.
    Tell {
        /// Who asked.
        conn: ConnId,
        /// Where it comes from.
        address: AddressKey,
        /// What was asked.
        question: Question,
        /// What holds.
        verdict: Verdict,
    },
    /// To the address's shard: a connection that had a place is gone.
    LeaveAddress {
        /// Where it came from.
        address: AddressKey,
    },
}
