//! Every number that bounds memory, time or work, with what happens at it and why it is that number.
//!
//! A number elsewhere is a defect; protocol constants such as opcodes live with their protocol.
//! Units stand in the names. They stand in the order of the floors that keep them; relations between them are
//! asserted at compile time, at the end.

// Floor 1: timing wheel

/// Width of a slot of the timing wheel. Everything timed is counted in seconds, so a quarter is near enough,
/// and the pings of a quarter second share one wake-up.
pub const WHEEL_SLOT_MS: u64 = 250;
/// Slots of the timing wheel: one turn is 128 s, longer than every timer of an idle connection.
pub const WHEEL_SLOTS: usize = 512;

// Floor 2: wire

/// Bytes of a request head (request line, headers, empty line); over it: HTTP 431. Room for a 4 KiB token
/// in a header and one in the query.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header lines in a request head; over it: HTTP 431. Browsers send about 15.
pub const HEADERS_COUNT_MAX: usize = 64;
/// Bytes of a resource id in a path after percent-decoding; over it: HTTP 400.
pub const RESOURCE_ID_BYTES_MAX: usize = 128;
/// Networks of trusted proxies; over it the start is refused. All are looked at for each request.
pub const PROXIES_COUNT_MAX: usize = 64;
/// Hops of `X-Forwarded-For` that are looked at, from the right; the last one of them counts as the client then. Longer
/// chains of trusted proxies are a loop.
pub const FORWARDED_HOPS_MAX: usize = 16;
/// Bytes of a header of the PROXY protocol; over it the socket is closed. What load balancers add to the 52 bytes of
/// addresses are identifiers of some ten bytes each.
pub const PROXY_HEADER_BYTES_MAX: usize = 1024;
/// Sub-protocols that one request may offer; over it: HTTP 400. Clients offer one or two; the bound keeps the
/// search for doubles from growing with the square of a head.
pub const SUB_PROTOCOLS_COUNT_MAX: usize = 16;
/// Seconds for which a page may remember what a preflight allowed. Browsers cut it to two hours or less.
pub const PREFLIGHT_AGE_S: u32 = 600;
/// Seconds in the `Retry-After` of a 429 or 503 that names no other time: long enough to let a burst pass.
pub const RETRY_AFTER_S: u32 = 5;
/// Bytes of a message after reassembly; over it: `MESSAGE_TOO_LARGE` and close 1009.
pub const MESSAGE_BYTES_MAX: usize = 65_536;
/// Bytes of a message on `/echo`: what the conformance suite sends.
pub const ECHO_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Frames of one message; over it: close 1002. Lifted on `/echo`.
pub const FRAGMENTS_COUNT_MAX: u32 = 1024;
/// Bytes that a frame buffer keeps between two events; a larger one is given back after its event. One per shard
/// and encoding, so it may hold a whole message.
pub const FRAME_BUFFER_BYTES_KEPT_MAX: usize = 128 * 1024;

// Floor 2: envelope

/// Nesting of a JSON text; deeper: `INVALID_JSON`.
pub const JSON_DEPTH_MAX: usize = 32;
/// Bytes of an authentication frame; over it: close 4000.
pub const AUTH_FRAME_BYTES_MAX: usize = 24 * 1024;
/// Channels in one authentication frame or `subscribe`; over it: `INVALID_MESSAGE_FORMAT`.
pub const CHANNELS_PER_MESSAGE_MAX: usize = 50;
/// Bytes of a channel name; over it: `CHANNEL_NOT_FOUND`. A prefix of 16 and the longest resource id.
pub const CHANNEL_NAME_BYTES_MAX: usize = 144;
/// Bytes of an operation id; over it: `INVALID_MESSAGE_FORMAT`.
pub const OPERATION_ID_BYTES_MAX: usize = 128;
/// Bytes of a message's or event's type, of a role, and of a method's or group's name; over it:
/// `INVALID_MESSAGE_FORMAT`.
pub const EVENT_TYPE_BYTES_MAX: usize = 64;
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

/// Messages in one `batch`; over it: `INVALID_MESSAGE_FORMAT`. The seeds' client sends 10 at a time.
pub const BATCH_MESSAGES_MAX: usize = 100;
/// Messages of a `batch` that one token of the sender's rate pays for: a batch saves the server work.
pub const BATCH_MESSAGES_PER_TOKEN: usize = 10;
/// Events in one `batch` towards a client that asked for it; over it another frame begins.
pub const BUNDLE_EVENTS_MAX: usize = 10;
/// Bytes of the events in one such frame; over it another frame begins. An event that is larger goes alone.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024;
/// Methods in one `register`; over it: `INVALID_MESSAGE_FORMAT`. As many as channels in a `subscribe`.
pub const METHODS_PER_MESSAGE_MAX: usize = 50;

// Floor 3: tokens and permissions

/// Bytes of a token; over it the token is refused. Also bounds the work of splitting it.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Bytes of a user id, a session claim and a token id; over it the token is refused.
pub const USER_ID_BYTES_MAX: usize = 128;
/// Bytes of a key id, in the configuration or in a token; over it the token is refused.
pub const KEY_ID_BYTES_MAX: usize = 128;
/// Keys that tokens are checked against; over it the configuration is refused. A token without a key id may
/// cost one signature check for each.
pub const KEYS_COUNT_MAX: usize = 16;
/// Keys in a JWK set, of use here or not; over it the set is refused.
pub const JWKS_ENTRIES_MAX: usize = 64;
/// Bytes of an HS256 secret below which it is weak (RFC 7518 section 3.2); the operator is warned. Half as much again
/// for HS384, twice as much for HS512.
pub const HS256_SECRET_BYTES_MIN: usize = 32;
/// Seconds that an issuer's clock may be ahead when `nbf` is checked. `exp` has no allowance.
pub const NOT_BEFORE_LEEWAY_S: u64 = 10;
/// Patterns in a `caps` claim or in the policy; over it the token or the configuration is refused. All are
/// looked at for each message.
pub const CAPS_PATTERNS_MAX: usize = 64;

/// Refused first frames that a shard remembers, by a hash each; over it the oldest is forgotten, and a client that loops
/// is found out later. Looked through at each refusal.
pub const REFUSALS_KEPT_MAX: usize = 256;
/// Milliseconds for which a refused first frame is remembered. A client that comes back more seldom is no loop.
pub const REFUSALS_KEPT_MS: u64 = 60_000;
/// How often one legacy client is refused the same first frame with the code that says why; from then on it is closed
/// 1000, which is the one code that ends every client. Twice, so that a single refusal and a retry are told the truth.
pub const REFUSALS_ALIKE_MAX: usize = 2;
/// Rows of the policy in the configuration; over it the start is refused. All are looked at for each message.
pub const POLICY_ROWS_MAX: usize = 64;

// Floor 3: who is connected

/// Connections that one user may have on one named resource by default; one more takes the place of the oldest.
/// Two tabs and the half-open connection of a phone that went through a tunnel.
pub const CONNECTIONS_ON_NAMED_DEFAULT: u32 = 3;
/// Connections that one user may have on `/ws` by default; one more takes the place of the oldest.
pub const CONNECTIONS_ON_OPEN_DEFAULT: u32 = 10;
/// Connections that one user may have in all by default; one more is closed: 4008, or 1000 to a client that
/// reconnects after every other code. Ten devices with ten rooms each.
pub const CONNECTIONS_PER_USER_DEFAULT: u32 = 100;
/// Messages a minute of one user over all connections by default; over it they are refused or read later.
pub const USER_MESSAGES_PER_MINUTE_DEFAULT: u32 = 600;
/// Upgrades a minute of one user from one address by default; over it: HTTP 429. A client that reconnects every
/// second, which none should.
pub const UPGRADES_PER_MINUTE_DEFAULT: u32 = 60;
/// Tokens with a bad signature from one address a minute by default; over it: HTTP 429, also for who brings no
/// token with the request.
pub const BAD_TOKENS_PER_MINUTE_DEFAULT: u32 = 60;
/// Messages that a user's shard lends to one connection at a time; a question for each would be a hop for each.
pub const LEASE_MESSAGES_MAX: u16 = 32;
/// Messages of what it was lent below which a connection asks for more ahead of need: what comes in during a hop.
pub const LEASE_MESSAGES_LOW: u16 = 8;
/// Least time between two rounds in which a user's connections are asked for what they have not used; meanwhile
/// the answer is that there is none. Bounds the questions that somebody over the limit can cause.
pub const LEASE_RECALL_EVERY_MS: u64 = 1000;
/// Connections of a user that are asked in such a round; those beyond keep what they have until they are silent.
/// Less than what one message of a client may cause for its channels.
pub const LEASE_RECALL_COUNT_MAX: usize = 32;
/// Addresses of which one shard remembers a rate that is used in part; over it the older half is forgotten. 3 MiB.
pub const ADDRESSES_PER_SHARD_MAX: usize = 32_768;
/// Users without a connection of which one shard remembers a rate that is used in part; over it the older half is
/// forgotten. 3 MiB.
pub const USERS_ABSENT_PER_SHARD_MAX: usize = 32_768;

// Floor 3: rooms

/// Events that a channel's history keeps by default; the oldest are forgotten.
pub const HISTORY_COUNT_DEFAULT: usize = 100;
/// Bytes that a channel's history keeps by default; the oldest are forgotten. Sixteen of the largest messages.
pub const HISTORY_BYTES_DEFAULT: usize = 1024 * 1024;
/// Age at which history is forgotten by default.
pub const HISTORY_AGE_MS_DEFAULT: u64 = 24 * 60 * 60 * 1000;
/// Bytes beyond history that a channel keeps while live members have yet to get them; a member that needs
/// more is told of the gap.
pub const HISTORY_LIVE_BYTES_MAX: usize = 256 * 1024;
/// How long an operation id is remembered.
pub const DEDUP_WINDOW_MS: u64 = 5 * 60 * 1000;
/// Operation ids that a channel remembers; over it the oldest is forgotten. An hour of a busy chat, and at
/// most 50 KiB.
pub const DEDUP_ENTRIES_MAX: usize = 512;

// Floor 3: subscriber acknowledgements and groups

/// Users whose acknowledgements a channel remembers; over it the one that was silent longest is forgotten, and gets
/// again what is retained. Nearly every such channel has one user; looked through for each acknowledgement.
pub const CURSORS_PER_CHANNEL_MAX: usize = 256;
/// Subscriptions to patterns without a group; over it `OVERLOADED`. Every shard knows all, and every new channel is
/// compared with them.
pub const PATTERNS_PER_SHARD_MAX: usize = 256;
/// Groups of consumers; over it the oldest that nobody is in is forgotten, and if there is none `OVERLOADED`.
pub const GROUPS_PER_SHARD_MAX: usize = 256;
/// Consumers of one group; over it `OVERLOADED`. More than a backend has processes.
pub const CONSUMERS_PER_GROUP_MAX: usize = 256;
/// How long a consumer of a group may take to acknowledge an event; over it another one gets the channel. Three
/// times what a request may take.
pub const GROUP_ACK_MS: u64 = 30_000;

// Floor 3: requests

/// Methods that are at home on one shard; over it a registration is refused `OVERLOADED`.
pub const METHODS_PER_SHARD_MAX: usize = 4096;
/// Connections that answer one method; over it a registration is refused `OVERLOADED`.
pub const PROVIDERS_PER_METHOD_MAX: usize = 256;
/// Requests of one shard's connections that wait; over it `OVERLOADED`. A few hundred bytes each.
pub const REQUESTS_PER_SHARD_MAX: usize = 16_384;

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
/// How long somebody is shown to write who says no more.
pub const TYPING_MS: u64 = 5_000;
/// How long changes of who is there are gathered into one event.
pub const PRESENCE_BATCH_MS: u64 = 100;
/// Members above which only their number is told.
pub const PRESENCE_LISTED_MAX: usize = 500;
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
/// Acknowledgements that wait for their author to get the events before them; over it they go at once.
pub const ANSWERS_HELD_MAX: usize = 1024;
/// How long a socket may take no byte of what it is owed; over it: close 4013.
pub const STUCK_MS: u64 = 30_000;
/// Time from our close frame until the socket is closed if the client says nothing.
pub const CLOSE_DEADLINE_MS: u64 = 5_000;
/// Age from which a drain closes a socket at once that has sent nothing; younger ones may be a probe whose request is
/// on its way.
pub const DRAIN_SILENT_MS: u64 = 1000;
/// Slots of connections that a walk looks at in one turn, to tell everybody of a drain or to close a wave. About as
/// much as a turn's fan-out.
pub const WALK_SLOTS_PER_TURN_MAX: u32 = 256;
/// Waves in which a drain closes them: a tenth of the clients comes back at a time.
pub const DRAIN_WAVES: u64 = 10;

// Floor 5: requests, patterns and events without a channel

/// Requests of one connection that wait; over it `OVERLOADED`.
pub const REQUESTS_PER_CONNECTION_MAX: usize = 64;
/// Time in which a request has to be answered; over it `DEADLINE_EXCEEDED`, and the provider is told.
pub const REQUEST_DEADLINE_MS: u64 = 10_000;
/// Requests that one connection works on; over it another provider is asked. Fewer than what four of its askers may
/// have waiting, so that a provider that hangs is noticed.
pub const WORKING_PER_CONNECTION_MAX: usize = 256;
/// Methods that one connection answers; over it `CONNECTION_LIMIT_EXCEEDED`.
pub const METHODS_PER_CONNECTION_MAX: usize = 256;
/// Events that `history` gives if the request names no number.
pub const HISTORY_PAGE_DEFAULT: usize = 100;
/// Events that `history` gives at most: the answer says that there are more.
pub const HISTORY_PAGE_MAX: usize = 500;
/// Bytes of events that `history` gives at most; the answer says that there are more. It has to fit the outbox beside
/// other answers.
pub const HISTORY_PAGE_BYTES_MAX: usize = 128 * 1024;
/// Patterns of one connection; over it `CONNECTION_LIMIT_EXCEEDED`.
pub const PATTERNS_PER_CONNECTION_MAX: usize = 16;
/// Channels that one connection is in, those that its patterns bring included; over it the connection is told which
/// one it does not get. All leave at once when it ends, each with a message between shards.
pub const AUTOMATIC_PER_CONNECTION_MAX: usize = 8192;
/// How long a membership that a pattern brought may be without an event; over it the connection leaves, and the next
/// event brings it back. Longer than a group may take to acknowledge.
pub const AUTOMATIC_IDLE_MS: u64 = 60_000;
/// Channels whose subscribers by pattern are served in one turn; the rest follows in the next.
pub const ENLIST_ROOMS_PER_TURN: usize = 64;
/// Automatic memberships that are looked at in a turn whether they are quiet; the others are in the coming turns. Each
/// may mean a leave, which costs a look through the memberships of its connection.
pub const QUIET_LOOKS_PER_TURN: usize = 64;
/// Events for everybody that are on their way at one time; over it `OVERLOADED`.
pub const SPREADS_PER_SHARD_MAX: usize = 64;

// Floor 5: event streams

/// Silence on an event stream after which a comment is sent. Proxies often cut at 30 s, some at 20.
pub const EVENT_STREAM_BEAT_MS: u64 = 15_000;
/// Receives of an event stream's reader, who has nothing to say; over it the stream is cut.
pub const EVENT_STREAM_RECEIVES_MAX: u8 = 16;
/// Least time after which a reader whose stream has ended is asked to come back.
pub const EVENT_STREAM_RETRY_MS: u64 = 1000;
/// How much longer that may be, by chance: readers do not come back all at once.
pub const EVENT_STREAM_RETRY_SPREAD_MS: u64 = 2000;

// Floor 5: questions from outside

/// Places of a shard's tables that one question from outside looks at; the rest is asked for again. A tenth of a
/// millisecond.
pub const SWEEP_SLOTS_MAX: u32 = 1024;
/// Channels that are listed of one connection; a consumer of patterns may be in thousands.
pub const CHANNELS_LISTED_MAX: usize = 100;

// Floor 5: a shard's channels

/// Channels known to one shard; over it empty ones are forgotten, and if there is none the subscription or
/// publish is refused `OVERLOADED`.
pub const CHANNELS_PER_SHARD_MAX: usize = 1 << 18;
/// Channels looked at when one must be forgotten, and in each second's sweep: bounds the work of a turn.
pub const CHANNEL_SWEEP_COUNT: usize = 1024;
/// Channels of a sweep looked at in one turn; the rest follows in the next ones: each is
/// looked at with its members and the events that it forgets.
pub const SWEEPS_PER_TURN_MAX: usize = 64;
/// How long an empty channel without events is remembered, so that a client that comes back to it finds the
/// same epoch.
pub const CHANNEL_IDLE_MS: u64 = 5 * 60 * 1000;
/// Bytes of history on one shard; over it the channels' older halves are forgotten, one after another.
pub const HISTORY_SHARD_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;
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

// Floor 5: fan-out and writing

/// Members visited in one turn. About 0.3 ms of sends, which is what a message that comes meanwhile waits: with 512 the
/// small rooms beside a room of 10,000 had their 99th percentile at 3.5 ms, with 128 at 1.2.
pub const VISITS_PER_TURN_MAX: usize = 64;
/// Members visited in one turn while input or other channels wait.
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

/// How many frames of the critical lane, the high one, the normal one and the low one go in a round while all of
/// them have some. What a lane does not need the others take.
pub const LANE_SHARES: [usize; 4] = [16, 4, 2, 1];

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

// Floor 7: a shard's turn

/// Completions handled in one turn; the rest waits in the ring. Bounds how long mesh and fan-out wait.
pub const TURN_COMPLETIONS_MAX: usize = 512;
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
/// Completion entries of a shard's ring; over it the kernel keeps the rest and multishots end. Eight turns' worth.
pub const RING_COMPLETIONS: u32 = 4096;
/// Entries into the ring in one turn to collect completions; the rest waits for the next. Each makes about
/// twenty, so this is twice what a turn's worth takes.
pub const RING_ENTRIES_PER_TURN_MAX: usize = 64;
/// Receive buffers of a shard; a receive that finds none ends and is armed again in the next turn. Twice what
/// one turn handles; a power of two, as the kernel wants it.
pub const RECEIVE_BUFFERS: u16 = 1024;
/// Bytes of one receive buffer; more takes several. Most frames are far smaller, and a page wastes nothing.
pub const RECEIVE_BUFFER_BYTES: u32 = 4096;
/// Connections that may wait in a listener's queue. The kernel cuts it to `net.core.somaxconn`.
pub const ACCEPT_BACKLOG: i32 = 4096;
/// How long a taken port is tried before it counts as another server's: the kernel closes a dead process's ring late.
pub const PORT_WAIT_MS: u64 = 1000;
/// Pause after an accept failed for lack of descriptors or memory: trying at once would spin, since the
/// connection stays in the queue.
pub const ACCEPT_BACKOFF_MS: u64 = 100;
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
/// Connections that a listing gives at most: the answer says where the next begins.
pub const ADMIN_LIST_MAX: usize = 10_000;
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
/// Locked memory for the administration executor's buffers, of which it uses none.
pub const ADMIN_IO_MEMORY_BYTES: usize = 64 * 1024;
/// Entries of each of the administration executor's three rings.
pub const ADMIN_RING_ENTRIES: usize = 16;

// Floor 8: configuration

/// Largest limit of connections that can be configured; over it the start is refused.
pub const CONFIGURED_CONNECTIONS_MAX: u32 = 1 << 20;
/// Shards of one process; over it: bad usage. Inboxes and per-peer tables grow with the square of it.
pub const SHARDS_COUNT_MAX: u16 = 128;
/// Highest processor number in `--cpus`; over it: bad usage. What the kernel's affinity mask of 1,024 bits holds.
pub const CPU_INDEX_MAX: usize = 1023;
/// Microseconds a shard may look for work before it sleeps; over it: bad usage. Longer only burns the core.
pub const SPIN_US_MAX: u32 = 1000;
/// Seconds that a token of the `token` command is good; over it: bad usage. A year: nothing development needs lasts longer.
pub const TOKEN_TTL_S_MAX: u64 = 366 * 86_400;
/// Tokens of one `token` command; over it: bad usage. Ten times the largest load that one machine is tested with.
pub const TOKEN_COUNT_MAX: u32 = 1_000_000;

/// Bytes of the configuration file; over it the start is refused. A thousand times the documented example.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Event types that one policy row allows; over it the start is refused. Compared one by one with each publish.
pub const POLICY_EVENTS_MAX: usize = 64;
/// Messages a minute that a rate in the configuration may have; over it the start is refused. Ten thousand a
/// second is more than a connection can send.
pub const RATE_PER_MINUTE_MAX: u32 = 600_000;
/// Events that a channel's history may be configured to keep; over it the start is refused. A resume that long is
/// a page's worth of work for each of its members.
pub const HISTORY_COUNT_MAX: usize = 100_000;
/// Bytes that a channel's history may be configured to keep; over it the start is refused.
pub const HISTORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Seconds that a channel's history may be configured to reach back; over it the start is refused. Ten years.
pub const HISTORY_AGE_S_MAX: u64 = 3660 * 86_400;

// Floor 9: server

/// Seconds that the token which `serve` prints is good. A working day and a night.
pub const START_TOKEN_TTL_S: u64 = 86_400;
/// Bytes of a key file; over it the start is refused. Ours has 65, an RSA key of 8,192 bits about 1,500.
pub const KEY_FILE_BYTES_MAX: usize = 4096;
/// Bytes of a JWK set's file; over it the set is refused. Sixty-four keys with their certificates.
pub const JWKS_FILE_BYTES_MAX: usize = 512 * 1024;
/// Pause between two looks at a JWK set's file. A look is one system call.
pub const JWKS_LOOK_MS: u64 = 500;
/// Descriptors kept back for logs, keys, rings and the administration executor.
pub const DESCRIPTORS_RESERVED: u64 = 64;
/// Descriptors of a shard: its two rings, its listener, its eventfds, with room to spare.
pub const DESCRIPTORS_PER_SHARD: u64 = 16;
/// Connections that the descriptor limit must allow at least; under it the start is refused.
pub const CONNECTIONS_COUNT_MIN: u64 = 16;
/// Of so many sockets one is spare: it is there to be held until a connection's place is free, or to be told that
/// none is.
pub const SOCKETS_SPARE_SHARE: u64 = 8;
/// Spare sockets at most.
pub const SOCKETS_SPARE_MAX: u64 = 1024;
/// Time that a drain may take; at its end what is still open is cut.
pub const DRAIN_WINDOW_MS: u64 = 10_000;
/// Tries to tell a shard to drain whose control lane is full; over it the fault is logged and the others drain.
pub const DRAIN_PUT_TRIES: u32 = 1_000_000;

// Relations

const _: () =
    assert!(FRAME_BUFFER_BYTES_KEPT_MAX >= MESSAGE_BYTES_MAX, "an ordinary event never gives the buffer back");
const _: () = assert!(AUTH_FRAME_BYTES_MAX <= MESSAGE_BYTES_MAX, "an authentication frame is a message");
const _: () = assert!(TOKEN_BYTES_MAX < AUTH_FRAME_BYTES_MAX, "a token fits its frame");
const _: () =
    assert!(CHANNELS_PER_MESSAGE_MAX * (CHANNEL_NAME_BYTES_MAX + 3) + TOKEN_BYTES_MAX <= AUTH_FRAME_BYTES_MAX);
const _: () = assert!(CHANNEL_NAME_BYTES_MAX >= USER_ID_BYTES_MAX + 16, "every user has channels");
const _: () = assert!(OUTBOX_BYTES_MAX >= 2 * MESSAGE_BYTES_MAX, "one answer in flight, one behind it");
const _: () = assert!(HISTORY_LIVE_BYTES_MAX >= 2 * MESSAGE_BYTES_MAX, "the largest event overruns no live member");
const _: () = assert!(VISITS_PER_TURN_BUSY >= VISITS_PER_CHANNEL && VISITS_PER_TURN_MAX >= VISITS_PER_TURN_BUSY);
const _: () = assert!(AUTOMATIC_IDLE_MS > GROUP_ACK_MS, "what is not acknowledged is late before it is idle");
const _: () =
    assert!(HISTORY_PAGE_BYTES_MAX + MESSAGE_BYTES_MAX < OUTBOX_BYTES_MAX, "an answer leaves room for others");
const _: () = assert!(FLEETING_AGE_MS >= 2 * STUCK_MS, "a member that is given up knows the end or is gone");
const _: () = assert!(IDLE_MS >= 3 * PING_AFTER_MS, "two pings may be lost");
const _: () = assert!(WHEEL_SLOT_MS * (WHEEL_SLOTS as u64) > IDLE_MS);
const _: () = assert!(MESH_DATA_ITEMS_MIN <= MESH_DATA_ITEMS_MAX && MESH_DATA_ITEMS_MAX <= MESH_DATA_ITEMS_TOTAL);
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS as usize >= 2 * TURN_COMPLETIONS_MAX);
const _: () =
    assert!(RING_COMPLETIONS as usize >= 2 * TURN_COMPLETIONS_MAX, "a turn that is late by one loses nothing");
const _: () = assert!(LINGER_MS >= MESH_RETRY_MS && PARK_MS_MAX <= LINGER_MS);
const _: () = assert!(DRAIN_WINDOW_MS >= ADMIN_WRITE_DEADLINE_MS + ADMIN_LINGER_MS, "a drain waits for answers");
const _: () = assert!(
    ADMIN_QUESTIONS_MAX >= ADMIN_BATCH_MAX && ADMIN_QUESTIONS_MAX >= SHARDS_COUNT_MAX as usize,
    "every request can ask"
);
const _: () = assert!(SHARDS_COUNT_MAX < u16::MAX, "the last number stands for outside");
const _: () = assert!(START_TOKEN_TTL_S <= TOKEN_TTL_S_MAX, "the printed token is one that could be asked for");
const _: () = assert!(LEASE_RECALL_COUNT_MAX <= CHANNELS_PER_MESSAGE_MAX);
const _: () = assert!(LEASE_MESSAGES_LOW < LEASE_MESSAGES_MAX, "a block outlasts the question for the next");
const _: () = assert!(PAUSED_BYTES_MAX >= RECEIVE_BUFFERS as usize * RECEIVE_BUFFER_BYTES as usize);
