//! Bounds of the durable log.

// Floor 3: ledger

/// Events of one channel that are sequenced and not yet on the disk; over it `OVERLOADED`. A channel goes on so far
/// beyond its last stored event for each unclean stop, so that no number is used twice: at most so many can have been
/// given out. More than any channel sequences while a disk stalls for seconds.
pub const UNCOMMITTED_EVENTS_MAX: u64 = 65_536;
/// The largest number of an event, a channel or a commit, and the most bytes of a channel, that a record may say; one with
/// more is damaged, since nobody has counted so far. Twice that with room to go on fits 64 bits, so no sum overflows.
pub const STORED_NUMBER_MAX: u64 = 1 << 62;
/// Epochs that a channel's line remembers; over it the oldest is forgotten with its events, and who comes back with it is
/// told `epoch_changed`. One begins with each unclean stop after which the channel is used, and goes with its last event:
/// only a channel that keeps more than all of them can reach it. 24 KiB of a row.
pub const LINE_SPANS_MAX: usize = 1024;
/// Durable channels that are open at a time, on all shards together; over it one more is refused. Some 600 bytes each; as
/// many as one shard knows channels of any kind. Of as many that are closed behind an erasure of a user it is known what came
/// later, some 50 bytes each, until the next one; of more, the erasure that runs takes all.
pub const LINES_OPEN_MAX: usize = 1 << 18;
/// Records that are looked through for operations whose ids still count when a channel is opened; of those beyond the
/// ids are forgotten. Eight times as many as are remembered: a channel of which most events have no id.
pub const OPERATIONS_LOOKED_AT_MAX: usize = 4096;
/// Looks for the end of a damaged stretch; where none is found, everything up to the end of the range counts as damaged.
/// Twice the bits of a position with its channel: out in doubled steps, back in halves.
pub const DAMAGE_PROBES_MAX: usize = 256;
/// Events over a channel's bounds before looking at them is worth it, if a quarter of what it retains is fewer.
pub const TRIM_SLACK_EVENTS_MIN: u64 = 64;
/// Events of one channel that go in one batch where many are trimmed; the rest goes in the next.
pub const TRIM_EVENTS_MAX: usize = 256;
/// Events that go in one batch where few channels are trimmed, in equal shares. Four of the largest commits: what one adds
/// goes although a trimming takes a commit or two, and time to be planned.
pub const TRIM_EVENTS_PER_BATCH: usize = 4 * STORE_COMMIT_WRITES_MAX;
/// Bytes of events that are looked at for more than `TRIM_EVENTS_MAX` of them. As many as four of the largest commits add.
pub const TRIM_BYTES_MAX: usize = 4 * STORE_COMMIT_BYTES_MAX;
/// Groups of consumers of which a channel's positions are kept; over it the one that was told of longest ago is forgotten,
/// and begins with what comes next. As many as a shard knows.
pub const POSITIONS_PER_CHANNEL_MAX: usize = 256;
/// Writes of cursors and positions of a channel until those over their bounds are looked for. As many as stay: there are
/// never more than twice as many rows.
pub const PLACES_SLACK: usize = 256;
/// Records, or channels for their cursors, that one portion of a user's erasure looks at; the rest in the next ones. Some
/// milliseconds of a reader, in which nothing is opened and nothing trimmed.
pub const FORGET_RECORDS_MAX: usize = 4096;
/// Bytes of records after which these are enough.
pub const FORGET_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Events that are read at a time where everything is looked at.
pub const SURVEY_PAGE_EVENTS: usize = 256;
/// Bytes after which these are enough.
pub const SURVEY_PAGE_BYTES: usize = 1024 * 1024;
/// Bytes of records with which a page of a copy is handed on: what a backup holds in memory at a time, on either side. A
/// quarter of what a commit takes.
pub const COPY_PAGE_BYTES: usize = 2 * 1024 * 1024;
/// Unclean stops as after which a copy of a store goes on: 2^30 numbers of each channel further, since the store goes on
/// too, and what it gave out since must not come again for something else. At 100 events a second a channel gets there in
/// four months; over it only the epoch tells such numbers apart. A first copy's numbers still fit 31 bits.
pub const COPY_GENERATIONS: u64 = 1 << 14;
/// Channels whose numbers are held at a time where everything is looked at.
pub const SURVEY_PAGE_LINES: usize = 1024;
/// Lines that one look for old events goes through; the next one goes on from there. Some milliseconds of a reader.
pub const SWEEP_LINES_MAX: usize = 1024;

// Floor 7: runtime

/// Requests that wait at a shard for a place on their way to the store; over it how far users and groups are is forgotten,
/// who then get some events again. What a shard may have unwritten, and every channel's opening, come in whatever waits.
pub const STORE_WAITING_MAX: usize = 16_384;
/// Answers of the store that a shard takes in one turn; the rest follows in the next.
pub const TURN_STORE_ITEMS_MAX: usize = 256;

// Floor 7: store

/// Requests of one shard that wait for the store or for their commit; over it what is not yet sequenced is refused
/// `STORE_UNAVAILABLE` or `OVERLOADED`. Two seconds of a stalled disk at 8,000 durable events a second of one shard.
pub const STORE_QUEUE_ITEMS: usize = 16_384;
/// Bytes of events of one shard that wait so; over it the same. A thousand of the largest, far more of the usual.
pub const STORE_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Reads and openings of one shard that wait for an answer; over it they wait at the shard.
pub const STORE_READS_PER_SHARD_MAX: usize = 256;
/// Places for notices that answer no request: that commits have stopped, that they go on. Who takes none for so long is
/// told the latest when it does.
pub const STORE_NOTICES_SPARE: usize = 64;
/// Least window of a commit that can be configured: below it more commits are made and none is earlier, since each takes
/// about as long.
pub const STORE_WINDOW_MS_MIN: u64 = 1;
/// Longest window of a commit: acknowledgements wait for it, and nothing is gained beyond it.
pub const STORE_WINDOW_MS_MAX: u64 = 20;
/// Writes with which a commit does not wait for the end of its window.
pub const STORE_COMMIT_EARLY: usize = 256;
/// Writes of one commit, all shards together; the rest goes in the next. What came while the commit before took long.
pub const STORE_COMMIT_WRITES_MAX: usize = 4096;
/// Bytes of events after which a commit takes no further one. Half of what is kept in memory before it goes to a table.
pub const STORE_COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Look-ups of the writer that readers have at a time; the rest waits in the ledger.
pub const STORE_JOBS_MAX: usize = 256;
/// Least memory for blocks that were read: some of each tree.
pub const STORE_CACHE_BYTES_MIN: u64 = 1024 * 1024;
/// Most memory for these. Beyond it the system's own cache does as well.
pub const STORE_CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Memory for these unless told otherwise: the latest of some ten thousand channels; what is read is mostly new.
pub const STORE_CACHE_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// Window of a commit unless told otherwise.
pub const STORE_WINDOW_MS_DEFAULT: u64 = 5;
/// Threads that read unless told otherwise.
pub const STORE_READERS_DEFAULT: usize = 2;
/// Threads that read. More than a disk serves at a time are no use.
pub const STORE_READERS_MAX: usize = 8;
/// Pace of looking whether the log takes more, whether a window is over, and of a search for old events that goes on.
pub const STORE_LOOK_MS: u64 = 1;
/// Pause between two searches for old events.
pub const STORE_SWEEP_MS: u64 = 10_000;
/// How long the log may take nothing before shards are told that it does not keep up, and how long a shard waits for a
/// commit or an opening before it refuses what is new: a disk that hangs says nothing. Longer than a commit takes on a disk
/// that is only busy, and less than anybody waits for an answer.
pub const STORE_STALLED_MS: u64 = 5000;
/// First pause before a failed log is opened again; each further one is twice as long.
pub const STORE_BACKOFF_MS_MIN: u64 = 50;
/// Longest such pause.
pub const STORE_BACKOFF_MS_MAX: u64 = 2000;
/// How long a store that is stopped tries to write the last events to a disk that fails; then it is an unclean stop. What
/// is left of a drain behind the shards' end.
pub const STORE_FAREWELL_MS: u64 = 500;
/// Directories of the log; over it they are not those that this release makes. It makes eight.
pub const STORE_DIRECTORIES_MAX: usize = 64;
/// Bytes of the small files of the data directory that are read; over it they are not ours.
pub const STORE_FORMAT_BYTES_MAX: u64 = 4096;
/// Bytes of one journal of the log; over it damage is assumed. It is sealed at 64 MB as soon as a table is written, and
/// grows until then: with a disk that does not keep up by all that is kept in memory.
pub const STORE_JOURNAL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of journals after which tables are written so that the oldest can go. The least that the library takes beside
/// the one in use; replaying them is what a start after a crash takes.
pub const STORE_JOURNALS_BYTES: u64 = 128 * 1024 * 1024;
/// Bytes of a tree in memory before they go to a table.
pub const STORE_MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;
/// Trees in memory that wait to be written to tables; from so many on no commit is begun. One less than where the
/// library would wait inside of it.
pub const STORE_SEALED_MEMTABLES_MAX: usize = 3;
/// Tables of the first level that wait to be merged; from so many on no commit is begun. Below the 20 at which the library
/// slows down.
pub const STORE_L0_TABLES_MAX: usize = 18;
/// How long a backup waits for its reader to take anything, or for its server to send anything; then it ends. Until then
/// the log keeps what was removed meanwhile.
pub const BACKUP_STALLED_MS: u64 = 30_000;
/// Pace at which a backup that waits for its reader looks whether the log is to be let go of.
pub const BACKUP_LOOK_MS: u64 = 100;
/// Bytes of a backup after which it is told how far it is.
pub const BACKUP_TOLD_BYTES: u64 = 256 * 1024 * 1024;
/// Files of tables that the log keeps open; those that are not are opened again when they are read. With journals and
/// locks within what is kept back of the descriptors.
pub const STORE_FILES_OPEN_MAX: usize = 32;
/// How long `store compact` waits for the next table to be written; then the disk does not get on. A table is one tree in
/// memory, and a disk that takes a minute for these 16 MiB serves nobody.
pub const STORE_TABLE_MS_MAX: u64 = 60_000;
