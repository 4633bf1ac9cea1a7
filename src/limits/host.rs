//! Bounds of the hosts: a shard's turn, its ring, the administration executor.

use super::CHANNELS_PER_MESSAGE_MAX;

// Floor 7: a shard's turn

/// Completions handled in one turn; the rest waits in the ring. Bounds how long mesh and fan-out wait, and keeps what a
/// turn goes through near: an echo costs a thirtieth more with 512.
pub const TURN_COMPLETIONS_MAX: usize = 64;
/// Completions whose connections are read ahead together: as many reads as a core has under way at a time, and few
/// enough that what was read first is still near when it is used.
pub const LOOK_AHEAD_COUNT: usize = 16;
/// Places of a channel's members that are read ahead before it is visited, holes included; what lies beyond is read as
/// it is visited. Most channels have no more.
pub const LOOK_AHEAD_PLACES: usize = 4;
/// Sockets that are let in or go in every turn; the others wait in line, and what came with them is kept. Half a
/// millisecond, which who is there waits a few times.
pub const TURN_ARRIVALS_MIN: usize = 8;
/// Sockets that are let in or go in one turn, which takes long anyway: a shard that has much to do turns seldom, and
/// with eight a turn ten thousand who come would wait for ten seconds. Some four milliseconds.
pub const TURN_ARRIVALS_MAX: usize = 64;
const _: () = assert!(TURN_ARRIVALS_MIN <= TURN_ARRIVALS_MAX, "what a turn always lets in is within what it lets in");
/// Beyond those of every turn they take at most the time of the rest of the turn divided by this.
pub const TURN_ARRIVALS_SHARE: u64 = 2;
/// Probes of the server's health that are answered in one turn, whoever else comes; more of them wait in a line of their
/// own. As much work as those who are let in in every turn.
pub const TURN_PROBES_MAX: usize = 4 * TURN_ARRIVALS_MIN;
/// Places of the line that are looked at in one turn, those included whose sockets were closed meanwhile or who sent
/// what decides nothing. As many as one turn puts there.
pub const TURN_LINE_LOOKS_MAX: usize = TURN_COMPLETIONS_MAX;
/// Sockets with a token that others handed over and that wait in line; over it one is let in at once, whatever else the
/// turn has to do. Some 16 MiB of requests and tokens.
pub const ADOPTIONS_HELD_MAX: usize = 16_384;
/// Bytes kept of a connection that waits in line, from which on it is not read any more. What a stranger has to say is
/// less; what is in flight by then is kept too, at most all receive buffers.
pub const HELD_BYTES: usize = RECEIVE_BUFFER_BYTES as usize;
/// Messages taken from each lane of the inbox in one turn; the rest waits in the inbox.
pub const TURN_MESH_ITEMS_MAX: usize = 256;
/// Messages that a host keeps towards one shard whose lane is full; the shard holds back as soon as there is
/// one. What one turn can produce: each input may carry commands for every channel a message may name, and what
/// the registry of connections is told of it.
/// Asserted, since a larger number is a mistake of ours.
pub const MESH_KEPT_ITEMS_MAX: usize =
    (TURN_COMPLETIONS_MAX + 2 * TURN_MESH_ITEMS_MAX) * (CHANNELS_PER_MESSAGE_MAX + 4);
/// How long a host that keeps messages sleeps before it tries the full lane again. The peer needs a fraction
/// of that for a turn.
pub const MESH_RETRY_MS: u64 = 1;
/// Longest sleep of a shard that has nothing to do. Keeps the time of its last turn fresh enough to tell an
/// idle shard from a stuck one.
pub const PARK_MS_MAX: u64 = 1000;
/// What a drain may take beyond its window, for the last sockets to linger.
pub const DRAIN_GRACE_MS: u64 = 1000;

// Floor 7: ring and sockets

/// Submission entries of a shard's ring; over it the ring is entered early. Steady traffic submits nothing,
/// since receives are multishot and sends are direct.
pub const RING_SUBMISSIONS: u32 = 256;
/// Completion entries of a shard's ring; over it the kernel keeps the rest and multishots end. 64 turns' worth.
pub const RING_COMPLETIONS: u32 = 4096;
/// Entries into the ring in one turn to collect completions; the rest waits for the next. Each makes about
/// twenty, so this is twice what a turn's worth takes.
pub const RING_ENTRIES_PER_TURN_MAX: usize = 8;
/// Receive buffers of a shard; a receive that finds none ends and is armed again in the next turn. A power of two, as
/// the kernel wants it. Older kernels make all
/// completions that are due at once, each with a buffer.
pub const RECEIVE_BUFFERS: u16 = 1024;
/// Those of them that the kernel usually has; twice as many each time that a receive finds none, until the shard has
/// nothing to do. Twice what one turn handles: it goes through them in a circle, and half a megabyte stays in a
/// second cache, where four do not.
pub const RECEIVE_BUFFERS_OFFERED: u16 = 128;
/// Bytes of one receive buffer; more takes several. Most frames are far smaller, and a page wastes nothing.
pub const RECEIVE_BUFFER_BYTES: u32 = 4096;
/// Connections that may wait in a listener's queue. The kernel cuts it to `net.core.somaxconn`.
pub const ACCEPT_BACKLOG: i32 = 4096;
/// Bytes of a Unix socket's path; over it: bad configuration. What the kernel's address holds with a zero
/// byte behind it, which most programs put there.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How long a taken port is tried before it counts as another server's: the kernel closes a dead process's ring late.
pub const PORT_WAIT_MS: u64 = 1000;
/// Pause after an accept failed for lack of descriptors or memory: trying at once would spin, since the
/// connection stays in the queue.
pub const ACCEPT_BACKOFF_MS: u64 = 100;
/// Lines of the log a minute about users who may not administer and tried to, at the administration's Unix socket; what is
/// over it is counted in the next line.
pub const FOREIGN_LINES_PER_MINUTE: u32 = 6;
/// How long the last bytes to a peer may take to be read before its socket is closed all the same. A round trip
/// and some losses; a close frame that is not answered by then will not be.
pub const LINGER_MS: u64 = 2000;
/// Memory for disk operations of a shard's executor, which does none. The least that the executor takes.
pub const EXECUTOR_IO_BYTES: usize = 64 * 1024;
/// Entries in each of the executor's own rings. It runs one task that never waits for them.
pub const EXECUTOR_RING_DEPTH: usize = 16;
/// Locked memory limit under which the executor library refuses to start, whoever runs it.
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// Locked memory that starting takes once, besides each shard's: rings that were only made to see whether they
/// can be, whose memory the kernel returns a little after they are closed. Measured, Linux 6.18: 1, 2 and 4
/// shards of a plain user start from 512, 684 and 1,076 KiB.
pub const MEMLOCK_START_BYTES: u64 = 320 * 1024;

// Floor 7: administration

/// Administration requests waiting for the executor; over it the shard answers 503 itself. A page load is three.
/// Backends may send bursts of hundreds.
pub const ADMIN_QUEUED_COUNT_MAX: usize = 1024;
/// Administration requests being answered at one time; the others wait in the queue.
pub const ADMIN_OPEN_COUNT_MAX: usize = 256;
/// Sockets whose answer is written and whose peer has not closed yet; over it they are closed at once, and an answer
/// to a peer that still sends may be lost with them. As many as can wait for an answer.
pub const ADMIN_LINGERING_COUNT_MAX: usize = 1024;
/// Time for a request's body to come; over it: HTTP 408.
pub const ADMIN_BODY_DEADLINE_MS: u64 = 5_000;
/// Bytes of a request's body; over it: HTTP 413. A batch of a hundred ordinary messages, or sixteen of the largest.
pub const ADMIN_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Time for shards to answer what a request asks them; over it: HTTP 504.
pub const ADMIN_ANSWER_DEADLINE_MS: u64 = 5_000;
/// Questions that wait for a shard's answer, and places for answers; over it a request waits for its turn.
pub const ADMIN_QUESTIONS_MAX: usize = 4096;
/// Messages of one `/api/batch` and channels of one `/api/broadcast` or `/api/unsubscribe`; over it: HTTP 400.
pub const ADMIN_BATCH_MAX: usize = 100;
/// Connections that a listing gives if the request names no number.
pub const ADMIN_LIST_DEFAULT: usize = 1000;
/// Connections that a listing gives at most: the answer says where the next begins. Some 400 KiB, and several times that
/// while it is put together, for each of [`ADMIN_OPEN_COUNT_MAX`] that may be at it.
pub const ADMIN_LIST_MAX: usize = 1000;
/// Connections that one question for a listing asks a shard for; more takes several.
pub const ADMIN_LIST_PORTION: usize = 256;
/// Members of a channel that are listed; of more the answer tells the number only beyond these.
pub const ADMIN_MEMBERS_MAX: usize = 500;
/// How long a count of users and sessions serves all who ask: anybody may, and a count goes through every connection.
pub const ADMIN_TALLY_MS: u64 = 5_000;
/// Time to write an answer; over it the socket is closed. An answer is some 100 KiB.
pub const ADMIN_WRITE_DEADLINE_MS: u64 = 5_000;
/// Time to wait for the peer's end after an answer, so that closing does not reset what is under way.
pub const ADMIN_LINGER_MS: u64 = 1_000;
/// Bytes read and dropped after an answer; over it the socket is closed at once.
pub const ADMIN_LINGER_BYTES_MAX: usize = 64 * 1024;
/// How often the gateway publishes its numbers in `system:stats`.
pub const SAMPLE_EVERY_MS: u64 = 1000;
/// Silence after which a shard counts as one that does not answer. An idle one turns twice as often.
pub const SHARD_SILENT_MS: u64 = 2 * PARK_MS_MAX;
/// Time for shards to say which channels are the busiest; over it a sample goes without what they would have said.
pub const BUSY_ANSWER_MS: u64 = 200;
/// Shards up to which a sample has what goes between every two of them; with more it is left out, since it grows with
/// the square. Some 8 KiB.
pub const MATRIX_SHARDS_MAX: usize = 32;
/// Channels that a sample tells of, the busiest first. What a screen shows.
pub const BUSY_CHANNELS_TOLD: usize = 10;
/// Reasons of refusals that a sample tells of, the most frequent first; the others are in `/metrics`.
pub const REASONS_TOLD_MAX: usize = 20;
/// What the doctor found at the start that a sample tells of, the worst first; `waystation doctor` says all.
pub const FINDINGS_TOLD_MAX: usize = 25;
/// Locked memory for the administration executor's buffers, of which it uses none.
pub const ADMIN_IO_MEMORY_BYTES: usize = 64 * 1024;
/// Entries of each of the administration executor's three rings.
pub const ADMIN_RING_ENTRIES: usize = 16;
