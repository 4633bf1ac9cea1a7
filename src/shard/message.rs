//! What shards say to each other, and what travels with a socket that is handed over.

pub mod census;
pub mod outside;
pub mod service;

use std::fmt;
use std::sync::Arc;

use super::rules::Rules;
use crate::auth::token::{Claims, Verifier};
use crate::census::users::UserKey;
use crate::code::ErrorCode;
use crate::envelope::EncodingSet;
use crate::envelope::globetrotter::IdForm;
use crate::envelope::globetrotter::notice::News;
use crate::ids::{ConnId, Epoch, Position, Seq, ShardId};
use crate::ledger::{ChannelNumber, Line};
use crate::payload::Payload;
use crate::room::cursors::Cursors;
use crate::room::dedup::Operation;
use crate::room::fleeting::{Act, Note, Topic, Whole};
use crate::room::history::Event;
use crate::room::presence::{Arrival, Parting};
use crate::session::endpoint::Endpoint;
use crate::time::Millis;
use crate::wire::http::Request;
use crate::wire::peer::Peer;
use census::CensusMessage;
use outside::Question;
use service::{DirectMessage, PatternMessage, RequestMessage};

/// All that a shard learned of a connection before it handed the socket to the connection's home.
#[derive(Debug)]
pub struct Passport {
    /// The address that the socket came from.
    pub peer: Peer,
    /// When the socket was accepted. All shards of a process count from one start.
    pub accepted: Millis,
    /// Where the connection wants to go.
    pub endpoint: Endpoint,
    /// The 101 that the adopter sends once it has registered the connection.
    pub response: Payload,
    /// Who the connection is, if the request brought a good token.
    pub claims: Option<Claims>,
    /// That token, to be asked again if the keys change on the way.
    pub token: Option<Bearer>,
    /// The generation of the keys that said so.
    pub key_generation: u32,
    /// Bytes that came after the head.
    pub leftover: Vec<u8>,
    /// What it counts in.
    pub counted: Counted,
    /// Where a reader of an event stream was.
    pub since: Option<Position>,
}

/// A token as it came. What is written for us to read shows nothing of it.
pub struct Bearer(Box<str>);

impl Bearer {
    /// A token.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(Box::from(token))
    }

    /// Its text.
    #[must_use]
    pub const fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(…)")
    }
}

/// In which counts a connection is, from before its upgrade until its end, wherever it lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Among the process's connections.
    pub in_all: bool,
    /// Among those of its address.
    pub at_address: bool,
    /// Among those of its user, before it is open; afterwards it checks out as others do.
    pub at_user: Option<Box<Reserved>>,
}

/// A place among a user's connections that waits for one of them to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Whose.
    pub user: UserKey,
    /// What the connection was called when it got the place.
    pub conn: ConnId,
    /// The user's shard.
    pub home: ShardId,
}

/// An HTTP request that the administration executor answers.
#[derive(Debug)]
pub struct AdminRequest {
    /// The address that the socket came from.
    pub peer: Peer,
    /// The request without its body.
    pub request: Request,
    /// The page that may read the answer.
    pub allowed_origin: Option<Box<str>>,
    /// Who asks, if there is a token.
    pub bearer: Option<Arc<Claims>>,
    /// Bytes that came after the head.
    pub leftover: Vec<u8>,
}

/// Which of an inbox's two queues a message takes. Order holds per sender and lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Few and urgent: hand-overs, drain.
    Control,
    /// Everything that has an order with a channel's events.
    Data,
}

/// An event on its way to the channel's home.
#[derive(Debug)]
pub struct Publication {
    /// Whose it is, for the answer.
    pub author: ConnId,
    /// The channel.
    pub channel: Arc<str>,
    /// The authenticated sender.
    pub user: Arc<str>,
    /// The event's type.
    pub kind: Box<str>,
    /// Raw JSON object.
    pub payload: Box<[u8]>,
    /// The operation id.
    pub id: Option<Box<str>>,
    /// The trace that it belongs to.
    pub traceparent: Option<Box<str>>,
    /// What a retry with the same id is recognised by.
    pub operation: Option<Operation>,
    /// Whether the author wants to be answered.
    pub wants_ack: bool,
    /// The connection that should not get the event.
    pub excluded: Option<ConnId>,
}

/// What the home says to an author.
#[derive(Debug)]
pub struct Answer {
    /// Who is answered.
    pub to: ConnId,
    /// The channel.
    pub channel: Arc<str>,
    /// The operation.
    pub id: Option<Box<str>>,
    /// Whether an `ack` or `nack` was asked for; a refusal is told in any case.
    pub wants_ack: bool,
    /// What became of it.
    pub outcome: Result<Committed, ErrorCode>,
}

/// Where an operation stands in its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The run of positions.
    pub epoch: Epoch,
    /// The position.
    pub seq: Seq,
    /// Whether an earlier message with the same id put it there.
    pub duplicate: bool,
}

/// A stretch of a channel's events for a shard that follows it.
#[derive(Debug)]
pub struct Tail {
    /// Whether the channel delivers until it is acknowledged. Only its home says so: all shards hear of other rules, and
    /// none at the same moment.
    pub until_acked: bool,
    /// The channel.
    pub channel: Arc<str>,
    /// Which attachment of the receiver this belongs to.
    pub attachment: u32,
    /// The run of positions.
    pub epoch: Epoch,
    /// The position of the first event here. A jump means that those between are lost.
    pub first: Seq,
    /// The channel's last event when the attachment was made or asked about; only in the answer to it.
    pub goal: Option<Seq>,
    /// Without a hole.
    pub events: Vec<Event>,
    /// Of those before them that do not come: which of the receiver's connections are not to get which.
    pub excluded: Vec<(Seq, ConnId)>,
    /// Everything up to here is erased.
    pub erased: Option<Seq>,
    /// What the store has of the channel, where it outlives the process; only in an answer.
    pub past: Option<Box<Known>>,
    /// How far users have got; only in an answer, and in a channel that delivers until it is acknowledged.
    pub cursors: Option<Box<Cursors>>,
}

/// What a shard has to know of a channel to read what the store has of it.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its number there.
    pub channel: ChannelNumber,
    /// Its epochs, as they were when it was opened.
    pub line: Line,
    /// The first event of the present epoch, or where it will stand, as far as this process knows.
    pub first: Seq,
    /// The oldest event that is retained, or where it will stand.
    pub oldest: Seq,
}

/// A room is told of a member that speaks flat frames.
#[derive(Debug)]
pub struct Travel {
    /// The trip's channel.
    pub channel: Arc<str>,
    /// The member's connection.
    pub author: ConnId,
    /// The authenticated user.
    pub user: Arc<str>,
    /// What is told.
    pub news: News,
    /// How the trip's id is written.
    pub form: IdForm,
    /// By how many the room's sockets change: 1, 0 or -1.
    pub sockets: i8,
}

/// Somebody who speaks flat frames writes in a trip.
#[derive(Debug)]
pub struct FlatTyping {
    /// The trip's channel.
    pub channel: Arc<str>,
    /// The authenticated user.
    pub user: Arc<str>,
    /// How the trip's id is written.
    pub form: IdForm,
    /// In which field: raw JSON.
    pub field: Box<str>,
}

/// What shards tell each other of those who speak flat frames.
#[derive(Debug)]
pub enum RosterMessage {
    /// To the user's shard: a connection of the user is open.
    Came(Arc<str>),
    /// To the user's shard: a connection of the user has ended.
    Went(Arc<str>),
    /// To the home of a trip's channel.
    Travel(Travel),
    /// To the home of a trip's channel: somebody writes.
    Typing(FlatTyping),
    /// From there to a shard that follows: what its flat members are told.
    News {
        /// The channel.
        channel: Arc<str>,
        /// The whole frame.
        frame: Payload,
        /// Who is not told.
        but: Option<ConnId>,
    },
    /// To any shard: who is there?
    Ask {
        /// Whose answer waits for it.
        asker: ConnId,
        /// The last channel that was told already.
        after: Option<Arc<str>>,
    },
    /// The answer.
    Tell {
        /// Whose answer waits for it.
        asker: ConnId,
        /// Users that are counted there.
        users: u64,
        /// Trips at home there with a socket.
        rooms: u64,
        /// Some of these in the order of their names, with their sockets.
        page: Vec<(Arc<str>, u32)>,
    },
}

/// What somebody does in a channel, on its way to the channel's home.
#[derive(Debug)]
pub struct Gesture {
    /// The connection whose it is; `None` for one that speaks flat frames, whose likes have heard of it already.
    pub author: Option<ConnId>,
    /// The channel.
    pub channel: Arc<str>,
    /// The authenticated user.
    pub user: Arc<str>,
    /// What it is about.
    pub topic: Topic,
    /// What is done.
    pub act: Act,
    /// The field, or empty.
    pub field: Box<str>,
    /// A raw JSON object to be passed on, or empty.
    pub body: Box<[u8]>,
}

/// Notes of a channel for a shard that follows it.
#[derive(Debug)]
pub struct Notes {
    /// The channel.
    pub channel: Arc<str>,
    /// Which attachment of the receiver this belongs to.
    pub attachment: u32,
    /// In the order of their stamps.
    pub notes: Vec<Arc<Note>>,
    /// Changes of who is there up to this stamp are not among them, nor were they sent before; 0 if none is left out.
    pub left_out: u64,
    /// Who is there, if the receiver asked.
    pub whole: Option<Arc<Whole>>,
}

/// Who is in a channel on a shard that follows it.
#[derive(Debug)]
pub struct Report {
    /// The channel.
    pub channel: Arc<str>,
    /// Which attachment of the sender this belongs to.
    pub attachment: u32,
    /// Whether `joined` are all of them.
    pub whole: bool,
    /// Who came.
    pub joined: Vec<Arrival>,
    /// Who went, and how.
    pub left: Vec<(ConnId, Parting)>,
    /// Members there need to be told who is there.
    pub wanting: bool,
}

/// One message from a shard to another.
#[derive(Debug)]
pub enum MeshMessage {
    /// Take over a connection.
    Adopt(Box<Passport>),
    /// A channel became hot or cooled down: its new members stay where they were accepted, or gather.
    Hot(Arc<str>, bool),
    /// Sequence an event.
    Publish(Box<Publication>),
    /// Tell an author.
    Answer(Box<Answer>),
    /// Send this shard the channel's history and what follows; for an attachment that is known already: say
    /// where the channel is.
    Attach {
        /// The channel.
        channel: Arc<str>,
        /// To be named in the tails.
        attachment: u32,
        /// What members here use.
        encodings: EncodingSet,
    },
    /// Members here use other encodings now.
    Interest {
        /// The channel.
        channel: Arc<str>,
        /// Which attachment.
        attachment: u32,
        /// What members here use.
        encodings: EncodingSet,
    },
    /// Send no more of the channel.
    Detach {
        /// The channel.
        channel: Arc<str>,
        /// Which attachment.
        attachment: u32,
    },
    /// Events of a channel that this shard follows.
    Tail(Box<Tail>),
    /// In these channels, which this shard follows, what the user has left is erased.
    Forget(Box<(Arc<str>, Vec<Arc<str>>)>),
    /// Has everything come that was sent before?
    Fence(u64),
    /// It has.
    Fenced(u64),
    /// From now on tokens are held against these keys.
    Keys(Arc<Verifier>),
    /// From now on these rules hold.
    Rules(Arc<Rules>),
    /// Somebody does something that is told as it happens.
    Gesture(Box<Gesture>),
    /// A connection that had something going on in a channel has left it.
    Parted(Arc<str>, ConnId),
    /// What is told as it happens, of a channel that this shard follows.
    Notes(Box<Notes>),
    /// Whether the home wants to know who is in a channel here.
    CallRoll {
        /// The channel.
        channel: Arc<str>,
        /// Which attachment.
        attachment: u32,
        /// Whether from now on, or no more.
        wanted: bool,
    },
    /// Who is in a channel there.
    Report(Box<Report>),
    /// The channel cannot be followed: its home has no place for it, or cannot read what is stored of it.
    NoPlace {
        /// The channel.
        channel: Arc<str>,
        /// Which attachment.
        attachment: u32,
        /// Why not.
        code: ErrorCode,
    },
    /// About requests.
    Request(Box<RequestMessage>),
    /// About subscriptions to patterns.
    Pattern(Box<PatternMessage>),
    /// About events without a channel.
    Direct(Box<DirectMessage>),
    /// Who speaks flat frames, and where.
    Roster(Box<RosterMessage>),
    /// About who is connected.
    Census(Box<CensusMessage>),
    /// From outside the shards.
    Question(Box<Question>),
}

impl MeshMessage {
    /// The lane that this message takes.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Adopt(_) | Self::Hot(..) | Self::Keys(_) | Self::Rules(_) => Lane::Control,
            Self::Publish(_)
            | Self::Answer(_)
            | Self::Attach { .. }
            | Self::Interest { .. }
            | Self::Detach { .. }
            | Self::Tail(_)
            | Self::Forget(_)
            | Self::Fence(_)
            | Self::Fenced(_)
            | Self::NoPlace { .. }
            | Self::Request(_)
            | Self::Pattern(_)
            | Self::Direct(_)
            | Self::Roster(_)
            | Self::Census(_)
            | Self::Question(_)
            | Self::Gesture(_)
            | Self::Parted(..)
            | Self::Notes(_)
            | Self::CallRoll { .. }
            | Self::Report(_) => Lane::Data,
        }
    }
}
