//! The table of channels that a shard knows, at home here or mirrored from their home.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::effect::{Effect, Effects};
use super::keeping::{Kept, Stored};
use super::message::MeshMessage;
use super::patterns::RoomService;
use super::replay::Past;
use super::retaining::Place;
use crate::envelope::{Encoding, EncodingSet};
use crate::ids::{ConnId, Epoch, Seq, ShardId};
use crate::limits::{LOOK_PLACES_MAX, VISITS_PER_CHANNEL};
use crate::metrics::{Metric, Metrics};
use crate::payload::Payload;
use crate::room::dedup::Dedup;
use crate::room::fleeting::Fleeting;
use crate::room::history::History;
use crate::room::members::{Member, Members};
use crate::room::presence::{Arrival, Parting, Presence};
use crate::route::HashKey;
use crate::time::{Millis, Now};

/// A channel's place in the shard's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RoomId(u32);

impl RoomId {
    /// The place with a number, which may be none of the table.
    pub(super) const fn of(number: u32) -> Self {
        Self(number)
    }

    pub(super) const fn number(self) -> u32 {
        self.0
    }
}

/// Another shard that has members of a channel at home here: a cursor like a member's.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) shard: ShardId,
    /// Tells this attachment from earlier ones of the same shard.
    pub(super) attachment: u32,
    /// The next event that it is owed.
    pub(super) next: Seq,
    pub(super) encodings: EncodingSet,
    /// Up to which of the channel's notes it was told.
    pub(super) told: u64,
    /// Whether members there want to know who is there.
    pub(super) watches: bool,
    /// Whether it needs the whole of who is there.
    pub(super) whole: bool,
}

/// Events put together for the members that are owed just these.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) first: Seq,
    /// The event after the last one here.
    pub(super) next: Seq,
    pub(super) encoding: Encoding,
    pub(super) frames: Payload,
}

/// The last stretch, and the last one for known clients where a trace makes a difference: a crowd may be of both.
#[derive(Debug, Default)]
pub(super) struct Joined {
    usual: Option<Stretch>,
    traced: Option<Stretch>,
}

impl Joined {
    pub(super) const fn of(&self, traced: bool) -> Option<&Stretch> {
        if traced { self.traced.as_ref() } else { self.usual.as_ref() }
    }

    pub(super) const fn of_mut(&mut self, traced: bool) -> &mut Option<Stretch> {
        if traced { &mut self.traced } else { &mut self.usual }
    }

    pub(super) fn bytes(&self) -> usize {
        [&self.usual, &self.traced].into_iter().flatten().map(|stretch| stretch.frames.len()).sum()
    }
}

/// What this shard is to a channel.
#[derive(Debug)]
pub(super) enum Role {
    /// Its home: the only one that sequences.
    Home {
        followers: Vec<Follower>,
        /// What was answered, so that a retry gets the same answer, if anything was lately.
        dedup: Option<Box<Dedup>>,
        /// Whether all shards were told that it is hot.
        hot: bool,
        /// Whether it stands among those that owe events to a shard whose inbox was full.
        behind: bool,
        /// The version of the pattern subscriptions that it has been compared with.
        patterns_seen: u32,
    },
    /// A mirror of its home's history, for the members here.
    Mirror {
        home: ShardId,
        attachment: u32,
        /// The encodings that the home knows to be used here; `None` before the attachment.
        told: Option<EncodingSet>,
        /// The channel's last event when its home last answered: the mirror is live from there on. [`NO_GOAL`]
        /// until the first answer.
        goal: Seq,
        /// The same at its first answer: what came since is a delivery here.
        first_goal: Seq,
        /// How often the home was asked where the channel is, the attachment included.
        asks: u32,
        /// How often it has answered.
        answers: u32,
        /// Whether members wait for the mirror to be live.
        unsettled: bool,
    },
}

/// A goal that no history reaches.
pub(super) const NO_GOAL: Seq = Seq(u64::MAX);

/// Which share of a connection's writes a channel's events have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// What is for one user: `agent:*` and `user:*`.
    High,
    /// Everything else.
    Normal,
}

impl Share {
    fn of(channel: &str) -> Self {
        let alone = channel.starts_with("agent:") || channel.starts_with("user:");
        if alone { Self::High } else { Self::Normal }
    }
}

/// What a shard keeps of who is in a channel while somebody wants to know.
#[derive(Debug)]
pub(super) enum Attendance {
    /// At the channel's home: all of them.
    Roll(Presence),
    /// At a mirror: what its home was not told yet.
    Report(Report),
}

/// Changes for a channel's home.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Whether the home keeps a roll and wants to be told.
    pub(super) wanted: bool,
    /// All members are to be told instead of changes.
    pub(super) whole: bool,
    pub(super) joined: Vec<Arrival>,
    pub(super) left: Vec<(ConnId, Parting)>,
}

/// A channel on this shard. The order of the fields is theirs in memory: what a delivery looks at first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Room {
    pub(super) history: History,
    pub(super) members: Members,
    /// The events that the latest member was owed, as one frame after another.
    pub(super) joined: Option<Box<Joined>>,
    /// What members are told as it happens, if anything is.
    pub(super) fleeting: Option<Box<Fleeting>>,
    /// Who is here, if anybody wants to know.
    pub(super) attendance: Option<Box<Attendance>>,
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    pub(super) share: Share,
    /// Whether the room stands in the line of the fan-out.
    pub(super) queued: bool,
    /// How much is kept of it.
    pub(super) extent: Place,
    /// Whether events are delivered until they are acknowledged.
    pub(super) until_acked: bool,
    /// Where among the members the next visit is.
    pub(super) cursor: u32,
    /// The last event that everybody was visited for.
    pub(super) timed: Seq,
    /// Visits until everybody was visited since the last event.
    pub(super) left: u32,
    /// What it counts for beside its history, as far as the shard's number knows.
    pub(super) counted_bytes: u32,
    /// The earliest event that a member was owed in the last whole round.
    pub(super) needed: Seq,
    /// The same, for the round under way.
    pub(super) needed_now: Seq,
    /// By how many events the last one was ahead of that when the cursor began with the first place.
    pub(super) ahead: u32,
    /// Since when nobody is in it, in seconds since the host started.
    idle_since_s: u32,
    /// What those need who acknowledge or subscribe by pattern.
    pub(super) service: Option<Box<RoomService>>,
    /// What is in the store of it, if it outlives the process.
    pub(super) stored: Option<Box<Stored>>,
}

impl Room {
    pub(super) fn new(name: Arc<str>, history: History, role: Role, (until_acked, now): (bool, Millis)) -> Self {
        let needed = history.next();
        Self {
            share: Share::of(&name),
            until_acked,
            counted_bytes: 0,
            service: None,
            stored: None,
            name,
            history,
            members: Members::default(),
            role,
            joined: None,
            fleeting: None,
            attendance: None,
            timed: Seq(0),
            ahead: 0,
            queued: false,
            cursor: 0,
            left: 0,
            needed,
            needed_now: needed,
            extent: Place::default(),
            idle_since_s: seconds(now),
        }
    }

    /// Whether events up to the time of attachment are here, so that members can be served.
    pub(super) fn is_live(&self) -> bool {
        match &self.role {
            Role::Home { .. } => self.kept().is_none_or(Kept::is_open),
            Role::Mirror { goal, .. } => self.history.next() > *goal,
        }
    }

    /// Delivers until it is acknowledged from now on, or no longer. What came before was delivered by the rule before:
    /// where nothing was owed, nothing of it is owed now, and what was owed then no longer is.
    pub(super) fn deliver(&mut self, until_acked: bool) {
        if std::mem::replace(&mut self.until_acked, until_acked) || !until_acked {
            return;
        }
        let last = self.history.last();
        if last > Seq(0) {
            self.service.get_or_insert_default().cursors.begin_after(last);
        }
    }

    /// Somebody has left. What counts is the last time.
    pub(super) fn note_idle(&mut self, now: Millis) {
        self.idle_since_s = seconds(now);
    }

    /// For how long nobody was in it, to the second.
    pub(super) fn idle_ms(&self, now: Millis) -> u64 {
        u64::from(seconds(now).saturating_sub(self.idle_since_s)) * 1000
    }

    /// Asks a mirror's home where the channel is, unless an answer is on its way already. The attachment
    /// itself is such a question, and is made by whoever brings the first member in.
    pub(super) fn ask_home(&mut self, effects: &mut Effects) {
        let encodings = self.members.encodings();
        let Role::Mirror { home, attachment, asks, answers, .. } = &mut self.role else { return };
        if *asks > 0 && asks == answers {
            *asks += 1;
            let message = MeshMessage::Attach { channel: Arc::clone(&self.name), attachment: *attachment, encodings };
            effects.list.push(Effect::Mesh(*home, message));
        }
    }

    /// What members are told as it happens, begun now if nothing was. Its stamps are the home's and grow with the
    /// time, so that nothing need be remembered of an earlier one.
    pub(super) fn fleeting(&mut self, now: Now) -> &mut Fleeting {
        let after = match self.role {
            Role::Home { .. } => now.micros,
            Role::Mirror { .. } => 0,
        };
        self.fleeting.get_or_insert_with(|| Box::new(Fleeting::after(after)))
    }

    /// Gives up what members are told as it happens once all of it was told, and nobody waits for the whole.
    pub(super) fn end_fleeting(&mut self, now: Millis) {
        let Some(fleeting) = &self.fleeting else { return };
        // In a crowd it is next to nothing, and to find out whether everybody knows is a long look.
        let crowd = self.members.places() > LOOK_PLACES_MAX;
        if !fleeting.is_empty() || fleeting.soon || fleeting.going_on > now || crowd {
            return;
        }
        let gone = match self.attendance.as_deref() {
            Some(Attendance::Roll(presence)) => presence.next_gone(),
            _ => None,
        };
        let lacks_here = |(place, member): (u32, &Member)| member.watch.watches() && fleeting.lacks(place);
        let lacks_there = match &self.role {
            Role::Home { followers, .. } => followers
                .iter()
                .any(|follower| follower.whole || follower.watches && fleeting.left_out_since(follower.told) > 0),
            Role::Mirror { .. } => false,
        };
        let waits = || fleeting.wanting || gone.is_some() || lacks_there || self.members.placed().any(lacks_here);
        if self.attendance.is_none() || !waits() {
            self.fleeting = None;
        }
    }

    /// Whether it held something beside its history when that was counted, or may hold something by now.
    pub(super) const fn holds_more(&self) -> bool {
        self.counted_bytes > 0 || self.stored.is_some()
    }

    /// Counts what it holds beside its history: operations that are remembered, and what is shared by a crowd.
    pub(super) fn count_bytes(&mut self, metrics: &Metrics) {
        let remembered = match &self.role {
            Role::Home { dedup, .. } => dedup.as_ref().map_or(0, |dedup| dedup.bytes()),
            Role::Mirror { .. } => 0,
        };
        let bytes = remembered
            + self.stored.as_ref().map_or(0, |stored| stored.bytes())
            + self.joined.as_ref().map_or(0, |joined| joined.bytes());
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut self.counted_bytes, bytes);
        if bytes > before {
            metrics.add(Metric::RoomBytes, u64::from(bytes - before));
        } else if bytes < before {
            metrics.subtract(Metric::RoomBytes, u64::from(before - bytes));
        }
    }

    /// The earliest event that somebody is still owed. Of a crowd it is what the last rounds noted, which is
    /// no later.
    pub(super) fn owed_from(&self) -> Seq {
        let here = if self.members.places() <= VISITS_PER_CHANNEL {
            self.members.needed(self.history.next())
        } else {
            self.needed.min(self.needed_now)
        };
        match &self.role {
            Role::Home { followers, .. } => followers.iter().map(|follower| follower.next).fold(here, Seq::min),
            Role::Mirror { .. } => here,
        }
    }

    /// Whether it is at home here and other shards have members of it.
    pub(super) fn is_followed(&self) -> bool {
        matches!(&self.role, Role::Home { followers, .. } if !followers.is_empty())
    }

    /// Whether nobody needs the room at this moment.
    pub(super) fn is_deserted(&self) -> bool {
        let settled = self.service.as_deref().is_none_or(RoomService::is_settled);
        let written = self.kept().is_none_or(Kept::is_settled);
        self.members.is_empty() && !self.is_followed() && settled && written
    }

    /// Whether an event of an epoch is one of the channel's: of the present one, or stored before it.
    pub(super) fn has_had(&self, epoch: Epoch, seq: Seq) -> bool {
        let before = || self.stored.as_ref().and_then(|stored| stored.epoch_of(seq));
        self.history.epoch() == epoch || before() == Some(epoch)
    }

    /// The first event that is not stored yet, of a channel that outlives the process.
    pub(super) fn unstored(&self) -> Seq {
        self.kept().map_or(Seq(u64::MAX), Kept::unstored)
    }

    /// What is written of it, if it is at home here and outlives the process.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.stored.as_deref()?.kept.as_ref()
    }

    /// The same to be changed.
    pub(super) fn kept_mut(&mut self) -> Option<&mut Kept> {
        self.stored.as_deref_mut()?.kept.as_mut()
    }

    /// What lies behind the history, if that is known.
    pub(super) fn past_mut(&mut self) -> Option<&mut Past> {
        self.stored.as_deref_mut()?.past.as_mut()
    }

    /// The encodings that members here and on following shards use.
    pub(super) fn encodings(&self) -> EncodingSet {
        let here = self.members.encodings();
        match &self.role {
            Role::Home { followers, .. } => followers.iter().fold(here, |set, follower| set.union(follower.encodings)),
            Role::Mirror { .. } => here,
        }
    }
}

/// Whole seconds since the host started, which are enough for a century.
fn seconds(at: Millis) -> u32 {
    u32::try_from(at.0 / 1000).unwrap_or(u32::MAX)
}

const _: () = assert!(size_of::<Attendance>() <= 64, "a box for each room in which somebody watches");
const _: () = assert!(size_of::<Room>() <= 256, "a size that the allocator has, shared by the members");

/// A shard's channels. Names are compared whole; the hash only finds the candidates.
#[derive(Debug)]
pub(super) struct Rooms {
    rooms: Vec<Option<Box<Room>>>,
    free: Vec<RoomId>,
    names: HashMap<Arc<str>, RoomId, Keyed>,
    /// Where the next sweep begins.
    hand: usize,
}

impl Rooms {
    pub(super) fn new(key: HashKey) -> Self {
        Self { rooms: Vec::new(), free: Vec::new(), names: HashMap::with_hasher(Keyed(key)), hand: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Places in the table, in use or not.
    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.rooms.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn find(&self, name: &str) -> Option<RoomId> {
        self.names.get(name).copied()
    }

    /// The room, unless it was forgotten.
    pub(super) fn at(&self, id: RoomId) -> Option<&Room> {
        self.rooms.get(id.0 as usize)?.as_deref()
    }

    /// The room to be changed, unless it was forgotten.
    pub(super) fn at_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        self.rooms.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(super) fn insert(&mut self, room: Room) -> RoomId {
        debug_assert!(!self.names.contains_key(&room.name), "a channel stands once in the table");
        let id = self.free.pop().unwrap_or_else(|| {
            self.rooms.push(None);
            RoomId(u32::try_from(self.rooms.len() - 1).unwrap_or(u32::MAX))
        });
        self.names.insert(Arc::clone(&room.name), id);
        self.rooms[id.0 as usize] = Some(Box::new(room));
        id
    }

    pub(super) fn remove(&mut self, id: RoomId) -> Option<Box<Room>> {
        let room = self.rooms.get_mut(id.0 as usize)?.take()?;
        self.names.remove(&room.name);
        self.free.push(id);
        Some(room)
    }

    /// The next `count` rooms of an endless round through the table.
    pub(super) fn sweep(&mut self, count: usize) -> Vec<RoomId> {
        let places = self.rooms.len();
        let looked_at = count.min(places);
        let found = (0..looked_at).map(|step| (self.hand + step) % places);
        let found: Vec<RoomId> = found
            .filter(|index| self.rooms[*index].is_some())
            .filter_map(|index| u32::try_from(index).ok().map(RoomId))
            .collect();
        self.hand = if places == 0 { 0 } else { (self.hand + looked_at) % places };
        found
    }

    /// The next sweep begins with the last place of this one.
    pub(super) fn sweep_again(&mut self) {
        self.hand = if self.hand == 0 { self.rooms.len().saturating_sub(1) } else { self.hand - 1 };
    }
}

/// Hashes names with a key, the same in every run with the same key.
#[derive(Clone, Copy, Debug)]
struct Keyed(HashKey);

impl BuildHasher for Keyed {
    type Hasher = Sip;

    fn build_hasher(&self) -> Sip {
        Sip(SipHasher13::new_with_key(&self.0))
    }
}

#[derive(Debug)]
struct Sip(SipHasher13);

impl Hasher for Sip {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}
