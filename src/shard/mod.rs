//! One core's whole state: its connections, its channels, its deadlines. Synchronous, without sockets.
//!
//! The host tells the shard what happened ([`Input`]), does what the shard asks for ([`effect::Effect`]),
//! and pulls the bytes that connections are owed ([`Shard::fill`]). Time is an argument, and whatever looks
//! random comes from a key, so the same inputs give the same trace, in production and in the simulator.
//!
//! `opening`, `gate` and `admission` let connections in, of which `arrivals` tells the host what is dear, `strangers`
//! bounds those that do not say who they are, `registry` counts them with the other shards, `expiry` watches their
//! tokens, `edge` reads them, `paying` makes them pay, `joining` and `publishing` act for them towards channels;
//! `home` owns channels, `mirror` follows those that are at home elsewhere; `fanout` and `fill` write what is owed;
//! `timers`, `ending` and `parting` do the rest.
//!
//! With [`Options::stores`] durable channels outlive the process: `keeping` has their events written, `replay` and
//! `browsing` read what lies behind a history. The host puts [`effect::Effect::Store`] and [`effect::Effect::Read`] to the
//! store, each kind in order, and brings every [`Notice`] as [`Input::Store`]; what it has no place for it keeps, since a
//! shard bounds what it asks for. Without it there is no store, and neither effect comes.

pub mod arrivals;
pub mod effect;
#[cfg(feature = "planted-faults")]
pub mod fault;
pub mod message;
pub mod recording;
pub mod retaining;
pub mod rules;

mod acking;
mod admission;
mod ahead;
mod announcing;
mod attendance;
mod backlog;
mod browsing;
mod bundle;
mod channel_rate;
mod cleaning;
mod connection;
mod consuming;
mod debts;
mod direct;
mod edge;
mod ending;
mod erasing;
mod event_stream;
mod expiry;
mod fanout;
mod fencing;
mod fill;
mod flat;
mod forgetting;
mod forms;
mod gate;
mod gestures;
mod home;
mod hot;
mod joining;
mod keeping;
mod mirror;
mod news;
mod opening;
mod outside;
mod parting;
mod patterns;
mod paying;
mod pen;
mod providing;
mod publishing;
mod registry;
mod replay;
mod requesting;
mod rollcall;
mod rooms;
mod roster;
mod service;
mod slots;
mod stalling;
mod strangers;
mod timers;
mod walks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::audit::Audit;
use crate::auth::caps::Policy;
use crate::auth::repeats::Repeats;
use crate::auth::token::Verifier;
use crate::census::limits::Limits;
use crate::census::strangers::Strangers;
use crate::envelope::Parser;
use crate::headcount::Population;
use crate::ids::{ConnId, ShardId};
use crate::ledger::Notice;
use crate::limits::{
    CHANNELS_PER_SHARD_MAX, CONNECTIONS_PER_SHARD_MAX, HISTORY_SHARD_BYTES_MAX, HOT_MEMBERS, RECORDER_BYTES_DEFAULT,
    REPLAY_BYTES_PER_TURN,
};
use crate::metrics::{Metric, Metrics};
use crate::payload::Payload;
use crate::recorder::{Recorder, Ring};
use crate::request::{Pending, Providers};
use crate::room::dedup::Dedup;
use crate::room::group::{Consumer, Patterns};
use crate::room::history::{Held, Retention};
use crate::route::HashKey;
use crate::time::{Millis, Now};
use crate::wheel::Wheel;
use crate::wire::proxy::Proxies;
use crate::wire::upgrade::Origins;
pub use announcing::STATS_CHANNEL;
pub use publishing::text_of;

use announcing::Busy;
use backlog::Backlog;
use consuming::IdleLook;
use direct::Spread;
use effect::Effects;
use fencing::Fences;
use hot::Hot;
use keeping::Keeping;
use message::MeshMessage;
use news::Rumour;
use parting::Left;
use pen::Pen;
use registry::Registry;
use retaining::Extents;
use rollcall::RollCall;
use rooms::{RoomId, Rooms};
use roster::Roster;
use slots::Slots;
use timers::Timer;
use walks::Walk;

/// What a shard is made of and bound by.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many shards there are.
    pub shards: u16,
    /// Keys the hashes that place channels and make ids. The same for all shards of a process.
    pub key: HashKey,
    /// Keys the hashes by which operations are known. With a store it is the store's, so that a retry is known after a
    /// stop; else the same as `key`.
    pub operations: HashKey,
    /// Who tokens belong to.
    pub verifier: Arc<Verifier>,
    /// Who may do what.
    pub policy: Arc<Policy>,
    /// Which web pages may connect.
    pub origins: Arc<Origins>,
    /// Whom to believe about where a connection comes from.
    pub proxies: Arc<Proxies>,
    /// Whether the listener is on a loopback address.
    pub loopback: bool,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// Whether those who speak flat frames are let in without a token, as the user that they name.
    pub globetrotter_open: bool,
    /// Whether who asks from this machine administers without a token.
    pub admin_loopback: bool,
    /// Limits of connections and rates.
    pub limits: Limits,
    /// Whether they are lifted, whatever they are.
    pub unlimited: bool,
    /// What the process counts over all shards. The same for all.
    pub population: Arc<Population>,
    /// Connections in the process; over it upgrades are held, then refused.
    pub connections_max: usize,
    /// Sockets in the process, those included that are held; over it a socket is closed at accept.
    pub sockets_max: usize,
    /// Channels that this shard knows; over it deserted ones are forgotten.
    pub channels_max: usize,
    /// What a channel's history keeps, where the policy says nothing else.
    pub retention: Retention,
    /// What of a channel that is stored is held in memory.
    pub held: Held,
    /// Whether there is a store. Which channels are durable the policy says.
    pub stores: bool,
    /// Bytes of history on this shard.
    pub history_bytes_max: usize,
    /// Members from which a channel is hot.
    pub hot_members: usize,
    /// Bytes that a turn spends on those who are behind.
    pub replay_bytes_per_turn: usize,
    /// Bytes of its recorder, unless it is given one; 0 for none.
    pub recorder_bytes: usize,
    /// Entries about who came and went that it makes in a turn; 0 for none.
    pub audit_max: usize,
}

impl Options {
    /// One shard with the shipped bounds and the policy of a gateway that nobody configured, on a loopback address.
    #[must_use]
    pub fn embedded(key: HashKey, verifier: Verifier) -> Self {
        Self {
            shards: 1,
            key,
            operations: key,
            verifier: Arc::new(verifier),
            policy: Arc::default(),
            origins: Arc::default(),
            proxies: Arc::default(),
            loopback: true,
            echo: false,
            globetrotter_open: false,
            admin_loopback: false,
            limits: Limits::default(),
            unlimited: false,
            population: Arc::default(),
            connections_max: CONNECTIONS_PER_SHARD_MAX,
            sockets_max: CONNECTIONS_PER_SHARD_MAX,
            channels_max: CHANNELS_PER_SHARD_MAX,
            retention: Retention::default(),
            held: Held::default(),
            stores: false,
            history_bytes_max: HISTORY_SHARD_BYTES_MAX,
            hot_members: HOT_MEMBERS,
            replay_bytes_per_turn: REPLAY_BYTES_PER_TURN,
            recorder_bytes: RECORDER_BYTES_DEFAULT / 16,
            audit_max: 0,
        }
    }
}

/// What the host tells a shard.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes came from the peer. The shard may overwrite them.
    Bytes(ConnId, &'a mut [u8]),
    /// The peer closed its side, or the socket failed.
    Gone(ConnId),
    /// After a short write, the socket takes bytes again.
    Writable(ConnId),
    /// Nothing of this slot's socket is in flight any more: the slot may be used again.
    Released(ConnId),
    /// The other shard's inbox is full; the socket is still here.
    HandOverRefused(ConnId),
    /// A message from another shard.
    Mesh(ShardId, MeshMessage),
    /// The store tells something.
    Store(Notice),
    /// Say good-bye to everybody within this many milliseconds.
    Drain(u64),
}

/// One core's whole state.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    options: Options,
    metrics: Arc<Metrics>,
    slots: Slots,
    rooms: Rooms,
    roster: Roster,
    registry: Registry,
    strangers: Strangers,
    hot: Hot,
    wheel: Wheel<Timer>,
    /// Channels whose members are to be visited.
    line: VecDeque<RoomId>,
    /// Who is behind, and waits for a turn with bytes left.
    backlog: Backlog,
    /// Channels whose next batch of who came and went is due, and when; in the order of time, since all wait
    /// equally long.
    soon: VecDeque<(Millis, RoomId)>,
    /// Answers about who is in a channel that wait for other shards, in the order of time.
    roll_calls: VecDeque<RollCall>,
    /// Channels that owe events to a shard whose inbox was full.
    behind: Vec<RoomId>,
    /// Counts attachments to other shards' channels.
    attachments: u32,
    draining: bool,
    /// How far connections had got in channels that they have left since; of those to which answers are under way.
    left: BTreeMap<ConnId, Left>,
    /// The last frames of connections that part.
    lasts: BTreeMap<ConnId, Payload>,
    /// Until when each that began to part in the last half second waits for its answers; in the order of time, since all
    /// wait equally long. Who was answered stays in it.
    partings: VecDeque<(Millis, ConnId)>,
    /// Counts the rules that held, from 1.
    rules: u32,
    /// The rules that brought the rates of channels which hold.
    rates: u32,
    /// Walks through many connections or channels, of which each turn does some steps.
    walks: VecDeque<Walk>,
    /// The numbers of all shards, for those who ask.
    peers: Vec<Arc<Metrics>>,
    /// What happened last.
    recorder: Recorder,
    /// Who came, was let in, refused and went, until the host takes it.
    audit: Audit,
    /// Requests of connections here that wait.
    pending: Pending,
    /// Who answers the methods that are at home here.
    providers: Providers,
    /// All subscriptions to patterns.
    patterns: Patterns,
    /// Of consumers of groups, the channels at home here that they have.
    holdings: BTreeMap<Consumer, BTreeSet<RoomId>>,
    /// Channels at home here whose subscribers by pattern are to be made members.
    unserved: Vec<RoomId>,
    /// Channels at home here for which a group has nobody.
    orphans: Vec<RoomId>,
    /// When to look at automatic memberships, in that order.
    idle_looks: VecDeque<IdleLook>,
    /// Events on their way to everybody here.
    spreads: VecDeque<Spread>,
    /// By name, what forgotten channels still owe to groups.
    debts: BTreeMap<Arc<str>, debts::Debt>,
    /// Where such events have their order: how many are under way on each shard. Empty before the first.
    spreading: Vec<usize>,
    /// News that the members of rooms here are told.
    rumours: VecDeque<Rumour>,
    /// Answers that wait for other shards.
    fences: Fences,
    /// Of the channels visited in this turn, when the oldest event was sequenced and how many deliveries there are. As
    /// many as a turn visits.
    timing: Vec<(u64, u64)>,
    /// Which channels are the busiest, while somebody watches.
    busy: Busy,
    /// How much is kept of which channel.
    extents: Extents,
    /// What is under way between durable channels here and the store, if there is one.
    keeping: Option<Box<Keeping>>,
    /// Which events without a channel were sent already.
    direct: Dedup,
    /// Who was refused lately.
    repeats: Repeats,
    /// The time of the latest call.
    latest: Now,
    pen: Pen,
    /// Away while what it read is acted on.
    parser: Option<Box<Parser>>,
    /// Scratch for payloads that are put together here.
    body: Vec<u8>,
    /// Echoes of the connection that is being read.
    echoes: Vec<u8>,
    /// What the wheel has fired and no turn had time for yet.
    due: VecDeque<Timer>,
    /// The latest heartbeat and its wall clock.
    beat: Option<(u64, Payload)>,
}

impl Shard {
    /// A shard without connections and channels, at time `now`.
    #[must_use]
    pub fn new(id: ShardId, mut options: Options, metrics: Arc<Metrics>, now: Now) -> Self {
        if options.unlimited {
            options.limits = Limits::UNLIMITED;
        }
        metrics.set(Metric::KeysGeneration, u64::from(options.verifier.generation));
        metrics.set(Metric::RulesGeneration, 1);
        metrics.set(Metric::ConnectionsLimit, u64::try_from(options.connections_max).unwrap_or(u64::MAX));
        let mut wheel = Wheel::default();
        wheel.insert(now.millis(), Timer::Sweep);
        Self {
            id,
            metrics,
            slots: Slots::new(id, options.sockets_max.min(CONNECTIONS_PER_SHARD_MAX)),
            rooms: Rooms::new(options.key),
            roster: Roster::default(),
            registry: Registry::new(&options.limits),
            strangers: Strangers::new(strangers::most(&options)),
            hot: Hot::default(),
            wheel,
            line: VecDeque::new(),
            backlog: Backlog::new(options.replay_bytes_per_turn),
            soon: VecDeque::new(),
            roll_calls: VecDeque::new(),
            behind: Vec::new(),
            attachments: 0,
            draining: false,
            left: BTreeMap::new(),
            lasts: BTreeMap::new(),
            partings: VecDeque::new(),
            rules: 1,
            rates: 1,
            walks: VecDeque::new(),
            peers: Vec::new(),
            audit: Audit::with_room(options.audit_max),
            recorder: Recorder::new(Ring::with_bytes(options.recorder_bytes)),
            pending: Pending::default(),
            providers: Providers::default(),
            patterns: Patterns::default(),
            holdings: BTreeMap::new(),
            unserved: Vec::new(),
            orphans: Vec::new(),
            idle_looks: VecDeque::new(),
            spreads: VecDeque::new(),
            debts: BTreeMap::new(),
            spreading: Vec::new(),
            rumours: VecDeque::new(),
            fences: Fences::default(),
            timing: Vec::new(),
            busy: Busy::default(),
            keeping: options.stores.then(Box::default),
            extents: Extents::new(&options),
            direct: Dedup::default(),
            repeats: Repeats::default(),
            latest: now,
            pen: Pen::new(options.key, id),
            parser: None,
            body: Vec::new(),
            echoes: Vec::new(),
            due: VecDeque::new(),
            beat: None,
            options,
        }
    }

    /// Anything that happened but accepts and adoptions.
    pub fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Effects) {
        self.latest = now;
        match input {
            Input::Bytes(id, bytes) => self.on_bytes(now, id, bytes, effects),
            Input::Gone(id) => self.on_gone(id, effects),
            Input::Writable(id) => self.on_writable(id, effects),
            Input::Released(id) => self.on_released(id),
            Input::HandOverRefused(id) => self.on_hand_over_refused(now, id, effects),
            Input::Mesh(from, message) => self.on_mesh(now, from, message, effects),
            Input::Store(notice) => self.on_notice(now, notice, effects),
            Input::Drain(window_ms) => self.on_drain(now, window_ms, effects),
        }
        if self.keeping.is_some() {
            self.ask_store(effects);
        }
    }

    fn on_mesh(&mut self, now: Now, from: ShardId, message: MeshMessage, effects: &mut Effects) {
        match message {
            MeshMessage::Adopt(_) => debug_assert!(false, "the host calls on_adopt, which needs the socket"),
            MeshMessage::Hot(channel, true) => self.hot.insert(channel),
            MeshMessage::Hot(channel, false) => self.hot.remove(&channel),
            MeshMessage::Publish(publication) => self.on_publication(now, &publication, effects),
            MeshMessage::Answer(answer) => self.on_answer_from_home(now, *answer, effects),
            MeshMessage::Attach { channel, attachment, encodings } => {
                self.on_attach(now, from, &channel, (attachment, encodings), effects);
            }
            MeshMessage::Interest { channel, attachment, encodings } => {
                self.on_interest(from, &channel, (attachment, encodings));
            }
            MeshMessage::Detach { channel, attachment } => self.on_detach(now, from, &channel, attachment, effects),
            MeshMessage::Tail(tail) => self.on_tail(now, *tail, effects),
            MeshMessage::Forget(erased) => self.on_forget(&erased.0, &erased.1),
            MeshMessage::Fence(fence) => Self::on_fence(from, fence, effects),
            MeshMessage::Fenced(fence) => self.on_fenced(fence, effects),
            MeshMessage::Keys(verifier) => self.on_keys(verifier),
            MeshMessage::Rules(rules) => self.on_rules(&rules),
            MeshMessage::NoPlace { channel, attachment, code } => {
                self.on_no_place(now, &channel, (attachment, code), effects);
            }
            MeshMessage::Request(message) => self.on_request_message(now, from, *message, effects),
            MeshMessage::Pattern(message) => self.on_pattern_message(now, from, *message, effects),
            MeshMessage::Direct(message) => self.on_direct_message(now, *message, effects),
            MeshMessage::Roster(message) => self.on_roster(now, from, *message, effects),
            MeshMessage::Census(message) => self.on_census(now, from, *message, effects),
            MeshMessage::Question(question) => self.on_outside(now, *question, effects),
            MeshMessage::Gesture(gesture) => self.on_gesture(now, &gesture, effects),
            MeshMessage::Parted(channel, author) => self.on_parted(now, &channel, author),
            MeshMessage::Notes(notes) => self.on_notes(now, *notes, effects),
            MeshMessage::CallRoll { channel, attachment, wanted } => {
                self.on_call_roll(now, &channel, attachment, wanted);
            }
            MeshMessage::Report(report) => self.on_attendance(now, from, *report, effects),
        }
    }

    /// Sockets that this shard holds or waits to be released.
    #[must_use]
    pub const fn sockets(&self) -> usize {
        self.slots.taken()
    }

    /// Gives the shard the numbers of all shards to read, its own included.
    pub fn set_peers(&mut self, peers: Vec<Arc<Metrics>>) {
        self.peers = peers;
    }

    /// What is kept of who came and went, to be taken after every turn.
    #[inline]
    pub const fn audit(&mut self) -> &mut Audit {
        &mut self.audit
    }

    /// The shard's numbers.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

#[cfg(test)]
mod tests;
