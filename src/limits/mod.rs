//! Every number that bounds memory, time or work, with what happens at it and why it is that number.
//!
//! A number elsewhere is a defect; protocol constants such as opcodes live with their protocol.
//! Units stand in the names. A file for each subject, in it the numbers in the order of the floors that keep them; all
//! are named `limits::NAME`. Relations between them are asserted at compile time, at the end of this file.

mod auth;
mod census;
mod connection;
mod envelope;
mod host;
mod logs;
mod room;
mod server;
mod service;
mod shard;
mod store;
mod tune;
mod wire;

pub use self::auth::*;
pub use self::census::*;
pub use self::connection::*;
pub use self::envelope::*;
pub use self::host::*;
pub use self::logs::*;
pub use self::room::*;
pub use self::server::*;
pub use self::service::*;
pub use self::shard::*;
pub use self::store::*;
pub use self::tune::*;
pub use self::wire::*;

// Relations

const _: () = assert!(
    LISTEN_COUNT_MAX as u64 + 8 <= DESCRIPTORS_PER_SHARD,
    "a shard's rings, eventfds and listeners fit what is kept for it"
);
const _: () = assert!(
    PRESENCE_LISTED_MAX * (PRESENCE_INFO_BYTES_MAX + USER_ID_BYTES_MAX + 96) <= OUTBOX_BYTES_MAX,
    "who is in a channel fits an answer"
);
const _: () =
    assert!(FRAME_BUFFER_BYTES_KEPT_MAX >= MESSAGE_BYTES_MAX, "an ordinary event never gives the buffer back");
const _: () = assert!(AUTH_FRAME_BYTES_MAX <= MESSAGE_BYTES_MAX, "an authentication frame is a message");
const _: () = assert!(TOKEN_BYTES_MAX < AUTH_FRAME_BYTES_MAX, "a token fits its frame");
const _: () =
    assert!(CHANNELS_PER_MESSAGE_MAX * (CHANNEL_NAME_BYTES_MAX + 3) + TOKEN_BYTES_MAX <= AUTH_FRAME_BYTES_MAX);
const _: () = assert!(CHANNEL_NAME_BYTES_MAX >= USER_ID_BYTES_MAX + 16, "every user has channels");
const _: () = assert!(OUTBOX_BYTES_MAX >= 2 * MESSAGE_BYTES_MAX, "one answer in flight, one behind it");
const _: () = assert!(
    ANSWERS_BYTES_MAX
        + (ANSWERS_HELD_MAX + BATCH_MESSAGES_MAX) * (OPERATION_ID_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + 256)
        <= OUTBOX_BYTES_MAX,
    "who reads is not cut for acknowledgements, however much it sends at once"
);
const _: () = assert!(HISTORY_LIVE_BYTES_MAX >= 2 * MESSAGE_BYTES_MAX, "the largest event overruns no live member");
const _: () = assert!(VISITS_PER_TURN_BUSY >= VISITS_PER_CHANNEL && VISITS_PER_TURN_MAX >= VISITS_PER_TURN_BUSY);
const _: () = assert!(AUTOMATIC_IDLE_MS > GROUP_ACK_MS, "what is not acknowledged is late before it is idle");
const _: () =
    assert!(HISTORY_PAGE_BYTES_MAX + MESSAGE_BYTES_MAX < OUTBOX_BYTES_MAX, "an answer leaves room for others");
const _: () = assert!(FLEETING_AGE_MS >= 2 * STUCK_MS, "a member that is given up knows the end or is gone");
const _: () = assert!(IDLE_MS >= 3 * PING_AFTER_MS, "two pings may be lost");
const _: () = assert!(WHEEL_SLOT_MS * (WHEEL_SLOTS as u64) > IDLE_MS);
const _: () = assert!(MESH_DATA_ITEMS_MIN <= MESH_DATA_ITEMS_MAX && MESH_DATA_ITEMS_MAX <= MESH_DATA_ITEMS_TOTAL);
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS >= RECEIVE_BUFFERS_OFFERED);
const _: () = assert!(RECEIVE_BUFFERS_OFFERED as usize >= 2 * TURN_COMPLETIONS_MAX);
const _: () =
    assert!(RING_COMPLETIONS as usize >= 2 * TURN_COMPLETIONS_MAX, "a turn that is late by one loses nothing");
const _: () = assert!(PARK_MS_MAX <= WATCHDOG_MS_MIN / WATCHDOG_LOOKS as u64, "an idle shard turns between two looks");
const _: () = assert!(BUSY_CHANNELS_TOLD <= BUSY_CHANNELS_MAX && BUSY_ANSWER_MS < SAMPLE_EVERY_MS);
const _: () = assert!(SAMPLES_KEPT as u64 * SAMPLE_EVERY_MS >= 300_000, "a page that opens shows five minutes");
const _: () = assert!(LINGER_MS >= MESH_RETRY_MS && PARK_MS_MAX <= LINGER_MS);
const _: () = assert!(DRAIN_LATEST_MS > DRAIN_WINDOW_MS + DRAIN_GRACE_MS, "shards end by themselves before that");
const _: () =
    assert!(LAST_ANSWERS_MS + WHEEL_SLOT_MS < 1000, "a token is in force for less than a second after its end");
const _: () = assert!(
    LAST_ANSWERS_MS + 2 * WHEEL_SLOT_MS <= DRAIN_WINDOW_MS / DRAIN_WAVES,
    "the last wave is answered within the window"
);
const _: () = assert!(DRAIN_WINDOW_MS >= ADMIN_WRITE_DEADLINE_MS + ADMIN_LINGER_MS, "a drain waits for answers");
const _: () = assert!(
    ADMIN_QUESTIONS_MAX >= ADMIN_BATCH_MAX && ADMIN_QUESTIONS_MAX >= SHARDS_COUNT_MAX as usize,
    "every request can ask"
);
const _: () = assert!(TAIL_RECORDS_MAX > 0, "every look goes on");
const _: () = assert!(
    ADMIN_QUESTIONS_MAX >= SHARDS_COUNT_MAX as usize * (2 * TAIL_RECORDS_MAX / RECORD_NAMES_MAX + 1),
    "all names of a look are asked for at once"
);
const _: () = assert!(SHARDS_COUNT_MAX < u16::MAX, "the last number stands for outside");
const _: () = assert!(START_TOKEN_TTL_S <= TOKEN_TTL_S_MAX, "the printed token is one that could be asked for");
const _: () = assert!(LEASE_RECALL_COUNT_MAX <= CHANNELS_PER_MESSAGE_MAX);
const _: () = assert!(LEASE_MESSAGES_LOW < LEASE_MESSAGES_MAX, "a block outlasts the question for the next");
const _: () = assert!(PAUSED_BYTES_MAX >= RECEIVE_BUFFERS as usize * RECEIVE_BUFFER_BYTES as usize);
const _: () = assert!(
    STORE_QUEUE_ITEMS as u64 <= UNCOMMITTED_EVENTS_MAX,
    "what a shard has unwritten is within a channel's bound"
);
const _: () =
    assert!(DRAIN_LATEST_MS > DRAIN_WINDOW_MS + DRAIN_GRACE_MS + STORE_FAREWELL_MS, "the store ends behind the shards");
const _: () = assert!(STORE_FILES_OPEN_MAX as u64 + 16 <= DESCRIPTORS_RESERVED, "the store's files are kept back");
const _: () = assert!(STORED_NUMBER_MAX < u64::MAX / 3, "a channel's number and all that an unclean stop adds");
const _: () = assert!(UNCOMMITTED_WRITES_MAX <= STORE_QUEUE_ITEMS, "what a shard sequences has a place");
const _: () = assert!(STORE_COMMIT_EARLY <= STORE_COMMIT_WRITES_MAX && STORE_COMMIT_WRITES_MAX <= STORE_QUEUE_ITEMS);
const _: () = assert!(STORE_COMMIT_WRITES_MAX >= SHARDS_COUNT_MAX as usize, "every shard has a share of a commit");
const _: () = assert!(STORE_QUEUE_BYTES_MAX >= 2 * MESSAGE_BYTES_MAX && STORE_READS_PER_SHARD_MAX < STORE_QUEUE_ITEMS);
const _: () = assert!(STORE_MEMTABLE_BYTES >= 2 * STORE_COMMIT_BYTES_MAX as u64, "a commit fits the memory it goes to");
const _: () = assert!(COPY_PAGE_BYTES + MESSAGE_BYTES_MAX <= STORE_COMMIT_BYTES_MAX, "a page of a copy is one commit");
const _: () = assert!(UNCOMMITTED_EVENTS_MAX * COPY_GENERATIONS == 1 << 30 && BACKUP_LOOK_MS < BACKUP_STALLED_MS);
const _: () = assert!(STORE_WINDOW_MS_MIN <= STORE_WINDOW_MS_MAX && STORE_LOOK_MS <= STORE_WINDOW_MS_MIN);
const _: () = assert!(POSITIONS_PER_CHANNEL_MAX >= GROUPS_PER_SHARD_MAX, "no group in use makes another one forgotten");
const _: () = assert!(DAMAGE_PROBES_MAX >= 2 * 128, "a damaged stretch of any length is measured");
