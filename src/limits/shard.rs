//! Bounds of the work of a turn, and what shards hold for each other.

// Floor 1: timing wheel

/// Width of a slot of the timing wheel. Everything timed is counted in seconds, so a quarter is near enough,
/// and the pings of a quarter second share one wake-up.
pub const WHEEL_SLOT_MS: u64 = 250;
/// Slots of the timing wheel: one turn is 128 s, longer than every timer of an idle connection.
pub const WHEEL_SLOTS: usize = 512;
/// Timers that fire in a turn; the rest of a slot in the next ones. Those who came together are pinged together: four
/// thousand that came back within a quarter of a second would be one turn of 20 ms and more, every 20 s.
pub const TIMERS_PER_TURN_MAX: usize = 128;

// Floor 1: refusals

/// Milliseconds that who is refused `OVERLOADED` is asked to wait. Some turns of the busiest shard would do; a second
/// keeps those who are refused from making it worse.
pub const OVERLOADED_RETRY_MS: u64 = 1000;

// Floor 5: questions from outside

/// Places of a shard's tables that one question from outside looks at; the rest is asked for again. A tenth of a
/// millisecond.
pub const SWEEP_SLOTS_MAX: u32 = 1024;
/// Events in memory that one question about a user's erasure looks at, and those of one channel more; the rest is asked for
/// again. A tenth of a millisecond each thousand.
pub const FORGET_EVENTS_PER_TURN: usize = 4096;
/// Channels that are listed of one connection; a consumer of patterns may be in thousands.
pub const CHANNELS_LISTED_MAX: usize = 100;

// Floor 5: the gateway's own channel

/// Samples of its numbers that the gateway keeps in `system:stats`; the oldest are forgotten. Five minutes of one a
/// second, and a little more for who asks late.
pub const SAMPLES_KEPT: usize = 310;
/// Bytes of these; the oldest are forgotten. Enough for so many of the largest, which has 128 shards.
pub const SAMPLES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Channels that a shard has in view as its busiest while somebody watches; over it the one that was met least often
/// gives way. Six times as many as are told.
pub const BUSY_CHANNELS_MAX: usize = 64;
/// Looks a second at which channel was just visited, while somebody watches: enough that a channel with a hundredth of
/// the deliveries is seen, and few beside the deliveries.
pub const BUSY_LOOKS: u64 = 256;

// Floor 5: fan-out and writing

/// Members visited in one turn that are owed something. About 0.3 ms of sends, which is what a message that comes meanwhile waits: with 512 the
/// small rooms beside a room of 10,000 had their 99th percentile at 3.5 ms, with 128 at 1.2.
pub const VISITS_PER_TURN_MAX: usize = 64;
/// The same while input or other channels wait. A channel of which nobody is owed anything counts as one.
pub const VISITS_PER_TURN_BUSY: usize = 64;
/// Members of one channel visited before the next channel's turn: a large room does not delay small ones.
pub const VISITS_PER_CHANNEL: usize = 32;
/// Members from which the events of a channel are put together for all that are owed the same ones. Below it
/// the copy costs as much as it saves.
pub const JOIN_MEMBERS_MIN: usize = 16;
/// Events in one message to a shard that follows a channel; the rest goes in the next.
pub const TAIL_EVENTS_MAX: usize = 64;
/// Frames in one write; the rest follows in the next turn. The kernel's bound on vectors is 1,024
/// (`UIO_MAXIOV`); 64 keeps one busy connection from holding up a turn.
pub const BATCH_PARTS_MAX: usize = 64;
/// Bytes after which a write takes no further frame. About what a socket's send buffer takes at once.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Bytes that a turn spends on those who are behind: who resumes, reads from the store, or takes bytes again. Once they are
/// spent no further write to one of them begins, so that a turn has at most these and one write more, and they wait in line
/// for the next turn. Four of the largest writes, about 0.3 ms: what a turn's visits take.
pub const REPLAY_BYTES_PER_TURN: usize = 1024 * 1024;
/// Writes to them in a turn, whatever their size: as many as a turn's visits.
pub const REPLAY_WRITES_PER_TURN: usize = 64;
/// Bytes up to which the frames of a write are put together instead of being named to the kernel one by one: it copies
/// them anyway, and for a few small ones the vectors cost more than a second copy within the cache.
pub const BATCH_JOINED_BYTES_MAX: usize = 16 * 1024;

/// How many frames of the critical lane, the high one, the normal one and the low one go in a round while all of
/// them have some. What a lane does not need the others take.
pub const LANE_SHARES: [usize; 4] = [16, 4, 2, 1];

/// Bytes of events on a shard that are sequenced and not yet on the disk; over it `OVERLOADED`. A disk that stalls for a
/// second while a shard takes all that a core can.
pub const UNCOMMITTED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Events on a shard that are sequenced and not yet on the disk; over it `OVERLOADED`. Half of those that have a place
/// on their way to the store: there are openings and positions beside them.
pub const UNCOMMITTED_WRITES_MAX: usize = 8192;
/// Retries of events that are not on the disk yet, on a shard; over it `OVERLOADED`. Events are bounded by their bytes, and
/// nobody retries one more often than once in a while.
pub const UNCOMMITTED_RETRIES_MAX: usize = 4096;
/// Messages that wait for a channel to be opened in the store; over it `OVERLOADED`. Opening takes a few reads.
pub const OPENING_EVENTS_MAX: usize = 256;
/// Bytes of these; over it `OVERLOADED`. Four of the largest messages.
pub const OPENING_BYTES_MAX: usize = 256 * 1024;
/// How long a channel that the store did not open is left alone before the store is asked again.
pub const STORE_RETRY_MS: u64 = 1000;
/// Channels whose opening is late that are looked at in one second; over it the rest in the next. Whoever waits for one of
/// them is refused `STORE_UNAVAILABLE`.
pub const LATE_OPENINGS_PER_LOOK: usize = 1024;
/// Answers of committed writes in one turn; the rest follows in the next. A few dozen microseconds.
pub const COMMITS_TOLD_PER_TURN: usize = 256;
/// Stretches that a shard has the store read at a time; other readers wait. As many as keep a disk's queue busy.
pub const REPLAYS_PER_SHARD_MAX: usize = 32;
/// Events in a stretch that is read from the store; the rest follows in the next one.
pub const REPLAY_PAGE_EVENTS: usize = 256;
/// Bytes after which a stretch takes no further event.
pub const REPLAY_PAGE_BYTES: usize = 256 * 1024;
/// Stored events that a turn makes frames of; the stretches beyond wait for the next turn, in the order in which they came.
/// As many as one stretch has, so that a turn has at most one more than these: some 0.3 ms. Without it the
/// [`REPLAYS_PER_SHARD_MAX`] stretches that a store may bring together were one turn's work.
pub const REPLAY_READS_PER_TURN: usize = REPLAY_PAGE_EVENTS;
/// Stretches that a channel holds for its readers; over it the oldest is forgotten, and read again by whoever needs it.
pub const REPLAY_PAGES_PER_CHANNEL: usize = 4;
/// Stretches of a channel that readers wait for and that the store was not asked for yet; whoever finds no place among them
/// looks again after the next one. Stretches of readers that are close to each other are one.
pub const REPLAYS_WANTED_PER_CHANNEL_MAX: usize = 64;
/// Parts of histories that a shard has the store read for who asked for them, or that wait for their channel to be opened;
/// over it `OVERLOADED`. What a slow disk makes wait is so many answers of 128 KiB at most. Answers about erasures that
/// wait until other shards have taken what they were sent are as many.
pub const BROWSES_PER_SHARD_MAX: usize = 256;
/// How often the store is read for one of these, if events go from the history meanwhile; then `OVERLOADED`.
pub const BROWSE_READS_MAX: u8 = 3;
/// Events of a channel whose author did not want to get them and would, if it read so far back; over it the oldest are
/// forgotten, and the author knows its own event by its id.
pub const EXCLUSIONS_PER_CHANNEL_MAX: usize = 256;

// Floor 6: mesh

/// Places in the control lane of a shard's inbox; a hand-over that finds it full is answered 503. Slots are
/// allocated up front, and a thousand hand-overs a turn are more than a core accepts.
pub const MESH_CONTROL_ITEMS: usize = 1024;
/// Places in the data lanes of all inboxes of a machine together; each shard has an equal share within the two
/// bounds below. A full lane makes the sending host keep its messages and the sending shard hold back.
pub const MESH_DATA_ITEMS_TOTAL: usize = 65_536;
/// Least places in one data lane, however many shards there are: two turns' worth of one sender.
pub const MESH_DATA_ITEMS_MIN: usize = 1024;
/// Most places in one data lane: more only adds delay between two shards.
pub const MESH_DATA_ITEMS_MAX: usize = 16_384;
