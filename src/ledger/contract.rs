//! What shards ask of the store and what it answers: the whole contract, known to shards, simulators and the host alike.
//!
//! A shard numbers its requests with tickets. Writes are done in the order of one shard's tickets, and
//! [`Notice::Committed`] says up to which ticket all of them are on the disk; nothing else may be taken as an
//! acknowledgement. What has an answer of its own names its ticket. A write is never dropped: while the disk fails it
//! waits in the store, is told with [`Notice::Trouble`], and is written under the same keys when the disk works again.

use std::fmt;
use std::sync::Arc;

use crate::ids::{Epoch, Seq};
use crate::payload::Payload;

use super::disk::{DiskFault, Order};
use super::event::Operation;
use super::line::{Line, Start};

/// A channel's number in this store, the same for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelNumber(pub u64);

/// The number of a request among those of one shard; each is larger than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// How much of a channel is retained. All three bounds hold; the oldest events go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Events.
    pub count: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Milliseconds.
    pub age_ms: u64,
}

/// How much is retained of which channel, by its full name. The ledger asks whenever it opens, looks for old events or
/// plans what goes, so that other bounds hold for channels that nobody opens as well.
#[derive(Clone)]
pub struct Bounds(Arc<dyn Fn(&str) -> Keep + Send + Sync>);

impl Bounds {
    /// What this says of a name. It must say the same each time.
    pub fn new(of: impl Fn(&str) -> Keep + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }

    /// What is retained of a channel.
    #[must_use]
    pub fn of(&self, channel: &str) -> Keep {
        (self.0)(channel)
    }
}

impl From<Keep> for Bounds {
    /// The same for all channels.
    fn from(keep: Keep) -> Self {
        Self::new(move |_| keep)
    }
}

impl fmt::Debug for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bounds(..)")
    }
}

/// Asks for a channel: what is known of it, and where it goes on. Until it is answered nothing may be sequenced there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its full name.
    pub channel: Arc<str>,
    /// The epoch to go on in if continuity cannot be proven: random.
    pub fresh: Epoch,
    /// Bytes of the latest events that come with the answer.
    pub tail_bytes: usize,
    /// How many of them.
    pub tail_count: usize,
}

/// Stores an event that was sequenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The channel, which this shard opened.
    pub channel: ChannelNumber,
    /// The epoch that it was opened with.
    pub epoch: Epoch,
    /// The next of the channel: without a hole behind the one before.
    pub seq: Seq,
    /// When it was sequenced.
    pub unix_ms: u64,
    /// What [`write_body`](super::write_body) wrote.
    pub body: Payload,
}

/// What a shard asks the store to write or to prepare, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Opens a channel; answered [`Notice::Opened`]. What was written before is part of the answer.
    Open(Open),
    /// Stores an event.
    Append(Append),
    /// A user has everything up to `seq`; with an empty user nobody is owed what is up to there. `None` forgets it.
    Cursor {
        /// The channel.
        channel: ChannelNumber,
        /// The user.
        user: Arc<str>,
        /// Up to here.
        seq: Option<Seq>,
    },
    /// A group of consumers has everything up to `seq`. `None` forgets it.
    Position {
        /// The channel.
        channel: ChannelNumber,
        /// The group and its pattern, as one text.
        group: Arc<str>,
        /// Up to here.
        seq: Option<Seq>,
    },
    /// Everything up to `through` goes, and nobody is owed it: cursors up to there go too, positions up to there move to
    /// it. Operations stay as long as they count. Answered [`Notice::Erased`]. The numbers are not used again.
    Erase {
        /// The channel.
        channel: ChannelNumber,
        /// The last event that goes.
        through: Seq,
    },
    /// What a user has left goes, a portion of the log at a time; answered [`Notice::Forgotten`]. Of an event its number and
    /// its time stay. What was written before must be committed. One is done at a time, another is refused.
    Forget(Box<Forget>),
    /// An erasure of a user has gone through these channels in the shard's memory: of what is stored of them, a
    /// [`Self::Forget`] takes what was put before this. Of channels that the shard opens while an erasure goes on it takes
    /// what was stored before, and of those that it has not opened since everything. So memory and disk take the same
    /// events, and neither asks a clock. What that is of a channel stays known when it is closed, until the next erasure.
    Passed {
        /// The shard has begun to go through its memory: another erasure than before.
        begins: bool,
        /// Channels that it has open.
        channels: Box<[ChannelNumber]>,
    },
    /// The shard forgets the channel. Everything it appended there must be committed. Not answered.
    Close(ChannelNumber),
}

impl Request {
    /// The channel that it is about, if that is open.
    #[must_use]
    pub const fn channel(&self) -> Option<ChannelNumber> {
        match self {
            Self::Open(_) | Self::Forget(_) | Self::Passed { .. } => None,
            Self::Append(Append { channel, .. })
            | Self::Cursor { channel, .. }
            | Self::Position { channel, .. }
            | Self::Erase { channel, .. }
            | Self::Close(channel) => Some(*channel),
        }
    }
}

/// Whose traces go, and from where on they are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forget {
    /// The user.
    pub user: Arc<str>,
    /// The same as the author of [`Operation`]s.
    pub author: u64,
    /// Where the portion begins.
    pub from: Spot,
}

/// A place in the log as one goes through all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// At an event, or where it would stand; everything behind it and the cursors are still to come.
    Event(ChannelNumber, Seq),
    /// At the cursors of a channel, which come last.
    Cursor(ChannelNumber),
}

impl Spot {
    /// Where one begins.
    pub const BEGIN: Self = Self::Event(ChannelNumber(0), Seq(0));
}

/// What of a user was found in a portion, and has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Events in whose place an empty one stands.
    pub events: u64,
    /// Operations that are not known any more.
    pub operations: u64,
    /// Cursors.
    pub cursors: u64,
    /// Places where something cannot be read that may be the user's.
    pub unreadable: u64,
    /// Where the next portion begins; `None` when all is done.
    pub next: Option<Spot>,
}

impl Forgotten {
    /// Counts what was found at another place.
    pub(super) const fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.operations += other.operations;
        self.cursors += other.cursors;
        self.unreadable += other.unreadable;
    }
}

/// Asks for events that lie behind the hot ring; answered [`Notice::Page`]. Not ordered with writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The channel.
    pub channel: ChannelNumber,
    /// The events behind this one.
    pub after: Seq,
    /// The last event wanted.
    pub through: Seq,
    /// From which end.
    pub order: Order,
    /// At most so many events.
    pub count: usize,
    /// After so many bytes no further event; at least one comes.
    pub bytes: usize,
}

/// What is known of a channel that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its number.
    pub channel: ChannelNumber,
    /// The epoch and seq of the next event.
    pub start: Start,
    /// Its epochs and what is retained.
    pub line: Line,
    /// Of what was read a user's part up to here goes with an erasure that goes on; what is behind it came later.
    pub passed: Seq,
    /// The operations within the dedup window, the oldest first: where, when, what, and in which epoch, which the line may
    /// have forgotten.
    pub operations: Vec<(Seq, u64, Operation, Epoch)>,
    /// How far each user has acknowledged, and when; with an empty user, where nobody is owed.
    pub cursors: Vec<(Box<str>, Seq, u64)>,
    /// How far each group has acknowledged.
    pub positions: Vec<(Box<str>, Seq)>,
    /// The latest events, as one asked for them.
    pub tail: Page,
}

/// Events of a channel in the order asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Whole records; [`read_event`](super::event::read_event) reads them.
    pub records: Vec<(Seq, Payload)>,
    /// The oldest event retained: what was asked for and lies before it is trimmed. Behind the last one if nothing
    /// is.
    pub oldest: Seq,
    /// Events that should be here and cannot be read, each range inclusive.
    pub damaged: Vec<(Seq, Seq)>,
    /// Whether the bounds left something out.
    pub more: bool,
}

/// Why a channel is not opened, or nothing is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More channels are open than the store keeps.
    Full,
    /// What lies on the disk is not what was written. Retrying does not help.
    Damaged(String),
    /// The disk does not answer now.
    Failed(String),
}

impl From<DiskFault> for Refusal {
    fn from(fault: DiskFault) -> Self {
        match fault {
            DiskFault::Damaged(what) => Self::Damaged(what),
            DiskFault::Failed(what) => Self::Failed(what),
        }
    }
}

/// What stops commits. Nothing is lost: what waits is written when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No space is left.
    Full,
    /// The disk fails.
    Failing,
    /// The disk does not keep up.
    Stalled,
}

/// What the store tells a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Every write up to this ticket is on the disk.
    Committed(Ticket),
    /// A channel is open, or not.
    Opened(Ticket, Result<Box<Past>, Refusal>),
    /// What was read.
    Page(Ticket, Result<Box<Page>, Refusal>),
    /// A channel's events are gone, or not.
    Erased(Ticket, Result<(), Refusal>),
    /// What was found of a user is gone, or the portion could not be looked through.
    Forgotten(Ticket, Result<Forgotten, Refusal>),
    /// Commits have stopped: refuse what is not yet sequenced.
    Trouble(Trouble),
    /// Commits go on.
    Working,
}
