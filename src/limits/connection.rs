//! Bounds of one connection, from its socket to its end.

// Floor 3: outbox

/// Bytes queued in the critical and high lanes towards one client, with what each frame costs beside its own;
/// over it: close 4013. In the low lane the oldest is dropped.
pub const OUTBOX_BYTES_MAX: usize = 256 * 1024;

// Floor 4: session

/// Silence after which a client is pinged and sent a heartbeat. A shipped client gives up after 31 s.
pub const PING_AFTER_MS: u64 = 20_000;
/// Silence after which a client is given up: close 4010.
pub const IDLE_MS: u64 = 75_000;
/// Round trips of which a connection's mean is made.
pub const ROUND_TRIPS_KEPT: usize = 10;

// Floor 5: a shard's connections

/// Sockets on one shard; over it a socket is closed at accept. The process's own bound, from its descriptors, is
/// far below.
pub const CONNECTIONS_PER_SHARD_MAX: usize = 1 << 20;
/// How long an upgrade is held that finds all places taken; over it: HTTP 503 with `Retry-After`. Shipped clients
/// end for good on a refusal, and after a restart places come free within seconds.
pub const HOLD_MS: u64 = 8_000;
/// How often a held upgrade asks again for a place.
pub const HOLD_RETRY_MS: u64 = 500;
/// Upgrades held on one shard; over it: HTTP 503 at once. Each holds a socket and its head.
pub const HELD_COUNT_MAX: u64 = 1024;
/// Time from accept to a whole head; over it the socket is closed. Long enough for a slow phone,
/// short enough that 10,000 half-open sockets are gone within seconds.
pub const HEAD_DEADLINE_MS: u64 = 10_000;
/// Time from the upgrade to a good token; over it: close 4000.
pub const AUTH_DEADLINE_MS: u64 = 10_000;
/// How often one of these deadlines is looked at again that has passed while what its client sent waits for its turn: a
/// crowd must not make anybody late who spoke in time.
pub const LINE_LOOK_MS: u64 = 1000;
/// How long before its token's end a connection is told: time for a client to get a new one, and to try again.
pub const TOKEN_WARNING_MS: u64 = 60_000;
/// Channels that one connection may be in; over it `CONNECTION_LIMIT_EXCEEDED`.
pub const MEMBERSHIPS_PER_CONNECTION_MAX: usize = 100;
/// Invalid messages in a row after which a known client is closed 1008.
pub const INVALID_IN_A_ROW_MAX: u8 = 10;
/// Refusals for rate in a row after which a known client is closed 4029.
pub const FLOOD_IN_A_ROW_MAX: u8 = 10;
/// Bytes kept of a client whose rate is used up, while reading pauses; over it: close 4029. All receive buffers:
/// that much may be in flight when the pause begins, and a client is slowed for it, not cut.
pub const PAUSED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Acknowledgements that wait for their author to get the events before them, for another shard or for the disk; over it the
/// author is not read until half of them are taken. A batch is read whole, so its messages may be on top. All of them
/// together fit the outbox: who leaves a channel is given at once those that waited for it. Of as many channels that an
/// author leaves while it waits it is known how far it had got; what it sent to more is answered without a position.
pub const ANSWERS_HELD_MAX: usize = 256;
/// Bytes queued towards a client over which it is not read until half of them are taken: what it sends would be
/// answered, and who has sent much at once has had no time to read.
pub const ANSWERS_BYTES_MAX: usize = 64 * 1024;
/// How long a socket may take no byte of what it is owed; over it: close 4013.
pub const STUCK_MS: u64 = 30_000;
/// Time from our close frame until the socket is closed if the client says nothing.
pub const CLOSE_DEADLINE_MS: u64 = 5_000;
/// How long a connection that we close waits for answers to what it sent that are under way, mostly for the disk; then it
/// is closed without them, and its client does not know what became of it. A commit takes some milliseconds; a disk that
/// stalls must not hold up a drain, nor a token's end, which is noticed up to a slot of the wheel late, by a second.
pub const LAST_ANSWERS_MS: u64 = 500;
/// Age from which a drain closes a socket at once that has sent nothing; younger ones may be a probe whose request is
/// on its way.
pub const DRAIN_SILENT_MS: u64 = 1000;
/// Slots of connections that a walk looks at in one turn, to tell everybody of a drain or to close a wave, and connections
/// that are closed in one turn because the answers they wait for have had their time. About as much as a turn's fan-out.
pub const WALK_SLOTS_PER_TURN_MAX: u32 = 256;
/// Memberships that are held against a new policy in one turn; the walk goes on with the next one in the next turn. A
/// connection may have a hundred that end, and a backend thousands that are looked at.
pub const PERMIT_LOOKS_PER_TURN: u32 = 256;
/// Waves in which a drain closes them: a tenth of the clients comes back at a time.
pub const DRAIN_WAVES: u64 = 10;

// Floor 5: event streams

/// Silence on an event stream after which a comment is sent. Proxies often cut at 30 s, some at 20.
pub const EVENT_STREAM_BEAT_MS: u64 = 15_000;
/// Receives of an event stream's reader, who has nothing to say; over it the stream is cut.
pub const EVENT_STREAM_RECEIVES_MAX: u8 = 16;
/// Least time after which a reader whose stream has ended is asked to come back.
pub const EVENT_STREAM_RETRY_MS: u64 = 1000;
/// How much longer that may be, by chance: readers do not come back all at once.
pub const EVENT_STREAM_RETRY_SPREAD_MS: u64 = 2000;
