//! Bounds of requests, patterns and groups of consumers.

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

// Floor 5: requests, patterns and events without a channel

/// Requests of one connection that wait; over it `OVERLOADED`.
pub const REQUESTS_PER_CONNECTION_MAX: usize = 64;
/// Time in which a request has to be answered; over it `DEADLINE_EXCEEDED`, and the provider is told.
pub const REQUEST_DEADLINE_MS: u64 = 10_000;
/// Requests that one connection works on; over it another provider is asked. Fewer than what four of its askers may
/// have waiting, so that a provider that hangs is noticed.
pub const WORKING_PER_CONNECTION_MAX: usize = 256;
/// Providers of a method that are asked one after another; over it the request is refused `OVERLOADED`. Where so many
/// have no place the others hardly have, and a request that goes round costs a message between shards for each.
pub const PROVIDERS_TRIED_MAX: usize = 4;
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
/// Channels of which, when they are forgotten, it is kept how far a group had acknowledged them; over it that is
/// forgotten too, and counted. A group that nobody comes back to should not fill the memory.
pub const GROUP_DEBTS_MAX: usize = 1024;
/// Channels whose subscribers by pattern are served in one turn; the rest follows in the next.
pub const ENLIST_ROOMS_PER_TURN: usize = 64;
/// Automatic memberships that are looked at in a turn whether they are quiet; the others are in the coming turns. Each
/// may mean a leave, which costs a look through the memberships of its connection.
pub const QUIET_LOOKS_PER_TURN: usize = 64;
/// Events for everybody that are on their way at one time, on the slowest shard; over it `OVERLOADED`.
pub const SPREADS_PER_SHARD_MAX: usize = 64;
