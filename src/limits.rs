//! Every number that bounds memory, time or work, with what happens at it and why it is that number.
//!
//! A number elsewhere is a defect; protocol constants such as opcodes live with their protocol.
//! Units stand in the names. Relations between limits are asserted at compile time, at the end.

// Opening

/// Bytes of a request head (request line, headers, empty line); over it: HTTP 431. Room for a 4 KiB token
/// in a header and one in the query.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header lines in a request head; over it: HTTP 431. Browsers send about 15.
pub const HEADERS_COUNT_MAX: usize = 64;
/// Time from accept to a whole head; over it the socket is closed. Long enough for a slow phone,
/// short enough that 10,000 half-open sockets are gone within seconds.
pub const HEAD_DEADLINE_MS: u64 = 10_000;
/// Time from the upgrade to a good token; over it: close 4000.
pub const AUTH_DEADLINE_MS: u64 = 10_000;
/// Bytes of a resource id in a path after percent-decoding; over it: HTTP 400.
pub const RESOURCE_ID_BYTES_MAX: usize = 128;
/// Sub-protocols that one request may offer; over it: HTTP 400. Clients offer one or two; the bound keeps the
/// search for doubles from growing with the square of a head.
pub const SUB_PROTOCOLS_COUNT_MAX: usize = 16;
/// Seconds in the `Retry-After` of a 429 or 503 that names no other time: long enough to let a burst pass.
pub const RETRY_AFTER_S: u32 = 5;

// Messages in

/// Bytes of a message after reassembly; over it: `MESSAGE_TOO_LARGE` and close 1009.
pub const MESSAGE_BYTES_MAX: usize = 65_536;
/// Bytes of a message on `/echo`: what the conformance suite sends.
pub const ECHO_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Frames of one message; over it: close 1002. Lifted on `/echo`.
pub const FRAGMENTS_COUNT_MAX: u32 = 1024;
/// Nesting of a JSON text; deeper: `INVALID_JSON`.
pub const JSON_DEPTH_MAX: usize = 32;
/// Bytes of an authentication frame; over it: close 4000.
pub const AUTH_FRAME_BYTES_MAX: usize = 24 * 1024;
/// Bytes of a token; over it the token is refused. Also bounds the work of splitting it.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Channels in one authentication frame or `subscribe`; over it: `INVALID_MESSAGE_FORMAT`.
pub const CHANNELS_PER_MESSAGE_MAX: usize = 50;
/// Bytes of a channel name; over it: `CHANNEL_NOT_FOUND`. A prefix of 16 and the longest resource id.
pub const CHANNEL_NAME_BYTES_MAX: usize = 144;
/// Bytes of an operation id; over it: `INVALID_MESSAGE_FORMAT`.
pub const OPERATION_ID_BYTES_MAX: usize = 128;
/// Bytes of an event type in `publish`; over it: `INVALID_MESSAGE_FORMAT`.
pub const EVENT_TYPE_BYTES_MAX: usize = 64;

// Time

/// Width of a slot of the timing wheel. Everything timed is counted in seconds, so a quarter is near enough,
/// and the pings of a quarter second share one wake-up.
pub const WHEEL_SLOT_MS: u64 = 250;
/// Slots of the timing wheel: one turn is 128 s, longer than every timer of an idle connection.
pub const WHEEL_SLOTS: usize = 512;

// Writing

/// Frames in one write; the rest follows in the next turn. The kernel's bound on vectors is 1,024
/// (`UIO_MAXIOV`); 64 keeps one busy connection from holding up a turn.
pub const BATCH_PARTS_MAX: usize = 64;
/// Bytes after which a write takes no further frame. About what a socket's send buffer takes at once.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
// Wire

/// Bytes that a frame buffer keeps between two events; a larger one is given back after its event. One per shard
/// and encoding, so it may hold a whole message.
pub const FRAME_BUFFER_BYTES_KEPT_MAX: usize = 128 * 1024;

const _: () =
    assert!(FRAME_BUFFER_BYTES_KEPT_MAX >= MESSAGE_BYTES_MAX, "an ordinary event never gives the buffer back");
// Envelope

/// Largest position and largest whole number read from a client: what a JavaScript number holds exactly.
/// Over it: `INVALID_MESSAGE_FORMAT`.
pub const SEQ_MAX: u64 = (1 << 53) - 1;
/// Bytes of a client's name and of its version in an authentication frame; over it: close 4000.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;
/// Fields in one `trip_update`; over it: `INVALID_MESSAGE_FORMAT`. Each is compared with the others, so it is small.
pub const CHANGES_PER_UPDATE_MAX: usize = 64;
/// Bytes of a field's path; over it: `INVALID_MESSAGE_FORMAT`. Sixteen names of sixteen bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 256;
/// Bytes of a timestamp that a pong repeats; a longer one is left out. An RFC 3339 instant takes 26 to 40.
pub const ECHOED_TIMESTAMP_BYTES_MAX: usize = 64;

// Tokens and permissions

/// Bytes of a user id, a session claim and a token id; over it the token is refused.
pub const USER_ID_BYTES_MAX: usize = 128;
/// Bytes of a key id, in the configuration or in a token; over it the token is refused.
pub const KEY_ID_BYTES_MAX: usize = 128;
/// Keys that tokens are checked against; over it the configuration is refused. A token without a key id may
/// cost one signature check for each.
pub const KEYS_COUNT_MAX: usize = 16;
/// Bytes of an HS256 secret below which it is weak (RFC 7518 section 3.2); the operator is warned.
pub const HS256_SECRET_BYTES_MIN: usize = 32;
/// Seconds that an issuer's clock may be ahead when `nbf` is checked. `exp` has no allowance.
pub const NOT_BEFORE_LEEWAY_S: u64 = 10;
/// Patterns in a `caps` claim or in the policy; over it the token or the configuration is refused. All are
/// looked at for each message.
pub const CAPS_PATTERNS_MAX: usize = 64;

const _: () = assert!(AUTH_FRAME_BYTES_MAX <= MESSAGE_BYTES_MAX, "an authentication frame is a message");
const _: () = assert!(TOKEN_BYTES_MAX < AUTH_FRAME_BYTES_MAX, "a token fits its frame");
const _: () =
    assert!(CHANNELS_PER_MESSAGE_MAX * (CHANNEL_NAME_BYTES_MAX + 3) + TOKEN_BYTES_MAX <= AUTH_FRAME_BYTES_MAX);
const _: () = assert!(CHANNEL_NAME_BYTES_MAX >= USER_ID_BYTES_MAX + 16, "every user has channels");

// Channels

/// Events that a channel's history keeps by default; the oldest are forgotten.
pub const HISTORY_COUNT_DEFAULT: usize = 100;
/// Bytes that a channel's history keeps by default; the oldest are forgotten. Sixteen of the largest messages.
pub const HISTORY_BYTES_DEFAULT: usize = 1024 * 1024;
/// Age at which history is forgotten by default.
pub const HISTORY_AGE_MS_DEFAULT: u64 = 24 * 60 * 60 * 1000;
/// Bytes beyond history that a channel keeps while live members have yet to get them; a member that needs
/// more is told of the gap.
pub const HISTORY_LIVE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of history on one shard; over it the channels' older halves are forgotten, one after another.
pub const HISTORY_SHARD_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;
/// How long an operation id is remembered.
pub const DEDUP_WINDOW_MS: u64 = 5 * 60 * 1000;
/// Operation ids that a channel remembers; over it the oldest is forgotten. An hour of a busy chat, and at
/// most 50 KiB.
pub const DEDUP_ENTRIES_MAX: usize = 512;
/// Channels known to one shard; over it empty ones are forgotten, and if there is none the subscription or
/// publish is refused `OVERLOADED`.
pub const CHANNELS_PER_SHARD_MAX: usize = 1 << 18;
/// Channels looked at when one must be forgotten, and in each second's sweep: bounds the work of a turn.
pub const CHANNEL_SWEEP_COUNT: usize = 1024;
/// How long an empty channel without events is remembered, so that a client that comes back to it finds the
/// same epoch.
pub const CHANNEL_IDLE_MS: u64 = 5 * 60 * 1000;
/// Channels that one connection may be in; over it `CONNECTION_LIMIT_EXCEEDED`.
pub const MEMBERSHIPS_PER_CONNECTION_MAX: usize = 100;
/// Members from which a channel counts as hot: further members stay on the shard that accepted them. Below
/// three quarters of it the channel has cooled down; well below, so that it does not flicker.
pub const HOT_MEMBERS: usize = 2000;
/// Hot channels that a shard remembers; over it the oldest is forgotten, and its members gather at home again.
pub const HOT_CHANNELS_MAX: usize = 1024;

// Fan-out

/// Members visited in one turn.
pub const VISITS_PER_TURN_MAX: usize = 512;
/// Members visited in one turn while input or other channels wait.
pub const VISITS_PER_TURN_BUSY: usize = 64;
/// Members of one channel visited before the next channel's turn: a large room does not delay small ones.
pub const VISITS_PER_CHANNEL: usize = 32;
/// Events in one message to a shard that follows a channel; the rest goes in the next.
pub const TAIL_EVENTS_MAX: usize = 64;

// Connections

/// Connections on one shard; over it the socket is closed at accept.
pub const CONNECTIONS_PER_SHARD_MAX: usize = 1 << 20;
/// Bytes queued in the critical and high lanes towards one client; over it: close 4013.
/// In the low lane the oldest is dropped.
pub const OUTBOX_BYTES_MAX: usize = 256 * 1024;
/// Acknowledgements that wait for their author to get the events before them; over it they go at once.
pub const ANSWERS_HELD_MAX: usize = 1024;
/// Bytes kept of a client whose rate is used up, while reading pauses; over it: close 4029.
/// What may be in flight when the pause begins.
pub const PAUSED_BYTES_MAX: usize = 256 * 1024;
/// How long a socket may take no byte of what it is owed; over it: close 4013.
pub const STUCK_MS: u64 = 30_000;
/// Silence after which a client is pinged and sent a heartbeat. A shipped client gives up after 31 s.
pub const PING_AFTER_MS: u64 = 20_000;
/// Silence after which a client is given up: close 4010.
pub const IDLE_MS: u64 = 75_000;
/// Time from our close frame until the socket is closed if the client says nothing.
pub const CLOSE_DEADLINE_MS: u64 = 5_000;
/// Invalid messages in a row after which a known client is closed 1008.
pub const INVALID_IN_A_ROW_MAX: u8 = 10;
/// Refusals for rate in a row after which a known client is closed 4029.
pub const FLOOD_IN_A_ROW_MAX: u8 = 10;

// Draining

/// Time over which a drain closes its connections.
pub const DRAIN_WINDOW_MS_DEFAULT: u64 = 5_000;
/// Waves in which a drain closes them: a tenth of the clients comes back at a time.
pub const DRAIN_WAVES: u64 = 10;

const _: () = assert!(OUTBOX_BYTES_MAX >= 2 * MESSAGE_BYTES_MAX, "one answer in flight, one behind it");
const _: () =
    assert!(HISTORY_LIVE_BYTES_MAX >= 2 * MESSAGE_BYTES_MAX, "the largest event does not overrun live members");
const _: () = assert!(VISITS_PER_TURN_BUSY >= VISITS_PER_CHANNEL && VISITS_PER_TURN_MAX >= VISITS_PER_TURN_BUSY);
const _: () = assert!(IDLE_MS >= 3 * PING_AFTER_MS, "two pings may be lost");
const _: () = assert!(AUTH_FRAME_BYTES_MAX > TOKEN_BYTES_MAX);
const _: () = assert!(WHEEL_SLOT_MS * (WHEEL_SLOTS as u64) > IDLE_MS);
