//! What is said to operators: the log, the record of what was allowed, the recorder of what happened.

/// Lines that a thread may have said and the writer not written; over it they are dropped and counted. A burst of a start
/// or of a refused configuration is some hundred.
pub const LOG_QUEUE_ITEMS: usize = 2048;
/// Lines that are taken from one queue before the others have their turn.
pub const LOG_BATCH_ITEMS: usize = 64;
/// Bytes of one value in a line; a longer one is cut. A value that is told of the configuration is shorter.
pub const LOG_VALUE_BYTES_MAX: usize = 2048;
/// How long an end waits for what was said last to be written, to the log and the audit: nobody may be there to read it.
pub const LOG_FLUSH_MS: u64 = 1_000;
/// How often it looks meanwhile.
pub const LOG_FLUSH_LOOK_MS: u32 = 5;

// The recorder, and who looks at it

/// Bytes of each shard's recorder unless it is said otherwise: 32,768 records, some seconds of a busy shard and hours of an
/// idle one.
pub const RECORDER_BYTES_DEFAULT: usize = 1024 * 1024;
/// The smallest recorder: two records, of which one is the next to be written. What is less and not 0 is refused.
pub const RECORDER_BYTES_MIN: usize = 64;
/// The largest recorder that can be configured.
pub const RECORDER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Names that one question asks a shard for; more take several.
pub const RECORD_NAMES_MAX: usize = 256;
/// Names that who looks keeps for the next records; over it all are asked for again.
pub const RECORD_NAMES_KEPT: usize = 16 * 1024;
/// Looks for which a shard is not asked for names after it has not answered in time; it is shown by its numbers. A dump of
/// recorders of the usual size takes half as many, so it waits for a shard that is stuck once.
pub const RECORD_SILENT_LOOKS: u32 = 128;
/// Records of each shard that are looked at between two writes to who follows them.
pub const TAIL_RECORDS_MAX: usize = 512;
/// How long who follows waits for new records before the next look.
pub const TAIL_LOOK_MS: u64 = 100;
/// Programs at the administration's socket at a time; the next one is told so and sent away.
pub const DESK_CLIENTS_MAX: usize = 8;
/// Bytes of what such a program asks; over it: an error.
pub const DESK_ORDER_BYTES_MAX: usize = 8 * 1024;
/// Time for that to come; over it the socket is closed.
pub const DESK_ORDER_DEADLINE_MS: u64 = 5_000;
/// Users and connections that are debugged at a time; over it: an error.
pub const DEBUGGED_MAX: usize = 16;
/// How long one is debugged unless it is said otherwise.
pub const DEBUG_S_DEFAULT: u32 = 600;
/// The longest that can be asked for: debugging ends by itself.
pub const DEBUG_S_MAX: u32 = 24 * 3600;

// What is kept of who was let in

/// Entries that a shard may make in one turn; over it they are dropped and counted. More than a turn can let in.
pub const AUDIT_ENTRIES_PER_TURN_MAX: usize = 2048;
