//! Bounds of a channel: its history, who is there, what goes on in it.

// Floor 3: rooms

/// Events that a channel's history keeps by default; the oldest are forgotten.
pub const HISTORY_COUNT_DEFAULT: usize = 100;
/// Bytes that a channel's history keeps by default; the oldest are forgotten. Sixteen of the largest messages.
pub const HISTORY_BYTES_DEFAULT: usize = 1024 * 1024;
/// Age at which history is forgotten by default.
pub const HISTORY_AGE_MS_DEFAULT: u64 = 24 * 60 * 60 * 1000;
/// Events of a stored channel that are held in memory by default; those before them are read from the store. As many as a
/// channel keeps by default: who was away for that long is served without a look at the disk.
pub const HISTORY_MEMORY_COUNT_DEFAULT: usize = 100;
/// Bytes of these by default.
pub const HISTORY_MEMORY_BYTES_DEFAULT: usize = 1024 * 1024;
/// Bytes beyond history that a channel keeps while live members have yet to get them; a member that needs
/// more is told of the gap.
pub const HISTORY_LIVE_BYTES_MAX: usize = 256 * 1024;
/// How long an operation id is remembered.
pub const DEDUP_WINDOW_MS: u64 = 5 * 60 * 1000;
/// Operation ids that a channel remembers; over it the oldest of who has most is forgotten. An hour of a busy chat, and
/// at most 80 KiB.
pub const DEDUP_ENTRIES_MAX: usize = 512;
/// How many of them one user has for sure: over the bound the oldest of whoever has most goes, as long as that is more
/// than this. More than a client has unanswered at one time as a rule, and so few that it takes more than fifty users
/// together to push out anybody else's.
pub const DEDUP_SHARE_MAX: u16 = 8;

// Floor 3: what goes on in a room, and who is there

/// Different things that may be going on in a channel at a time (who writes, whose cursor is where); over it what
/// begins anew is not told. More than a screen shows.
pub const FLEETING_NOTES_MAX: usize = 256;
/// Bytes of these; over it what begins anew is not told, and who was told least of who came and went gets the whole
/// again. The largest message.
pub const FLEETING_BYTES_MAX: usize = 64 * 1024;
/// How many of these may be one user's, who would else leave no place to the others: fields that are edited in all
/// of somebody's tabs.
pub const FLEETING_NOTES_PER_USER_MAX: usize = 32;
/// Bytes of these: three large cursors and all that is small. Over either bound what the user begins anew is not told.
pub const FLEETING_BYTES_PER_USER_MAX: usize = 16 * 1024;
/// Bytes of a cursor or of what else is passed on as it is; over it: `INVALID_MESSAGE_FORMAT`.
pub const FLEETING_BODY_BYTES_MAX: usize = 4 * 1024;
/// How long such a thing is kept for members that take nothing: twice the time after which they are given up.
pub const FLEETING_AGE_MS: u64 = 60_000;
/// Beginnings and ends of one thing that are told apart for slow members; over it the oldest are forgotten.
pub const FLEETING_TURNS_MAX: usize = 8;
/// Places of a channel's members that one look goes through for how far they were told; the rest is looked at in the
/// next ones. Some 30 microseconds.
pub const LOOK_PLACES_MAX: usize = 4096;
/// How long somebody is shown to write who says no more.
pub const TYPING_MS: u64 = 5_000;
/// How long changes of who is there are gathered into one event.
pub const PRESENCE_BATCH_MS: u64 = 100;
/// Bytes of what a token says of its user for others to see; over it the token is refused. A name and the address of a
/// picture, for all that are listed in one answer.
pub const PRESENCE_INFO_BYTES_MAX: usize = 256;
/// Members above which only their number is told.
pub const PRESENCE_LISTED_MAX: usize = 500;
/// Connections of a channel that stand in a list, which is moved for each that comes or goes; above it in a tree. Some
/// cache lines of entries.
pub const HERE_LISTED_MAX: usize = 32;
/// How often that number is told at most.
pub const PRESENCE_COUNT_EVERY_MS: u64 = 1000;
/// How long the leave of a connection that broke is kept back: it may come back.
pub const PRESENCE_GRACE_MS: u64 = 5_000;
/// Leaves of one channel that are kept back at a time; over it the oldest is told.
pub const PRESENCE_GRACE_COUNT_MAX: usize = 4096;
/// Changes that a following shard keeps for a home whose inbox is full; over it it tells all its members instead.
pub const PRESENCE_REPORT_MAX: usize = 1024;
/// How long somebody who asks who is in a channel waits for the shards that have to say so: twice the time of their
/// batch and more. A shard that is slower is missing in the answer.
pub const ROLL_CALL_MS: u64 = 300;
/// Answers of one shard that wait so; over it who asks is told of the members at the channel's home alone.
pub const ROLL_CALLS_MAX: usize = 256;

// Floor 5: a shard's channels

/// Channels known to one shard; over it empty ones are forgotten, and if there is none the subscription or
/// publish is refused `OVERLOADED`.
pub const CHANNELS_PER_SHARD_MAX: usize = 1 << 18;
/// Channels looked at when one must be forgotten, and in each second's sweep: bounds the work of a turn.
pub const CHANNEL_SWEEP_COUNT: usize = 1024;
/// Channels of a sweep looked at in one turn; the rest follows in the next ones: each is
/// looked at with its members and the events that it forgets.
pub const SWEEPS_PER_TURN_MAX: usize = 64;
/// Places of channels whose way of delivery is held against a new policy in one turn; the rest follows in the next ones.
/// Each is a look through the rows.
pub const DELIVER_LOOKS_PER_TURN: u32 = 256;
/// Events that one new event makes a history forget, beside those that give back its bytes. One goes for one as long as
/// bounds stay: where they have become narrower, or many have grown too old together, the rest goes with the next ones, and
/// [`RETAIN_EVENTS_PER_TURN`] at a time. Some ten microseconds.
pub const HISTORY_FORGET_PER_EVENT: usize = 64;
/// Events that are forgotten in one turn where nothing is published: for other bounds, or by their age. The rest, also of
/// one channel, goes in the next ones. Some hundred microseconds.
pub const RETAIN_EVENTS_PER_TURN: usize = 4096;
/// How long an empty channel without events is remembered, so that a client that comes back to it finds the
/// same epoch.
pub const CHANNEL_IDLE_MS: u64 = 5 * 60 * 1000;
/// Bytes of history on one shard; over it the channels' older halves are forgotten, one after another, and what a
/// member is still owed only if there is nothing else.
pub const HISTORY_SHARD_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;
/// Groups of channels looked through for history that everybody has been sent, when a shard's history is at its
/// bound; after so many the last group loses what is owed too. A quarter of a thousand channels: some 10
/// microseconds.
pub const SHED_SWEEPS_MAX: usize = 8;
/// Members from which a channel counts as hot: further members stay on the shard that accepted them. Below
/// three quarters of it the channel has cooled down; well below, so that it does not flicker.
pub const HOT_MEMBERS: usize = 2000;
/// Hot channels that a shard remembers; over it the oldest is forgotten, and its members gather at home again.
pub const HOT_CHANNELS_MAX: usize = 1024;

// Floor 5: who speaks flat frames

/// News of rooms (who comes, goes, writes) that wait to be told on a shard; over it they are dropped, and counted
/// with the low lane's. Some seconds of a crowd that comes at once.
pub const RUMOURS_PER_SHARD_MAX: usize = 4096;
/// Reports of who is in which trip that wait for other shards at a time; over it: HTTP 503. Each holds what it has
/// been told.
pub const STATS_ASKING_MAX: usize = 16;
/// Trips in one answer between shards; the next ones are asked for. Some 20 microseconds of a turn.
pub const STATS_PAGE_ROOMS: usize = 1024;
/// Trips that a report lists; further ones are only in its sum. A body of about 1 MiB.
pub const STATS_ROOMS_MAX: usize = 10 * STATS_PAGE_ROOMS;
/// Time in which all shards have to have answered; over it: HTTP 503.
pub const STATS_DEADLINE_MS: u64 = 5_000;
