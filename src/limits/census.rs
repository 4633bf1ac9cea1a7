//! Bounds of connections and rates of a user and of an address.

// Floor 3: who is connected

/// Connections that one user may have on one named resource by default; one more takes the place of the oldest.
/// Two tabs and the half-open connection of a phone that went through a tunnel.
pub const CONNECTIONS_ON_NAMED_DEFAULT: u32 = 3;
/// Connections that one user may have on `/ws` by default; one more takes the place of the oldest.
pub const CONNECTIONS_ON_OPEN_DEFAULT: u32 = 10;
/// Connections that one user may have on the endpoint of a user that speaks flat frames, by default; one more waits
/// until one of them is dead or gone, then: HTTP 503.
pub const CONNECTIONS_ON_FLAT_DEFAULT: u32 = 10;
/// Connections that one user may have in all by default; one more is closed: 4008, or 1000 to a client that
/// reconnects after every other code. Ten devices with ten rooms each.
pub const CONNECTIONS_PER_USER_DEFAULT: u32 = 100;
/// Sockets of one address on one shard from which nobody is known yet, by default and at most half of those that the
/// process may have; over it the oldest of them is closed. More than all of a large company's that come back at once
/// after a restart, and few beside the half million that a process may have.
pub const STRANGERS_PER_ADDRESS_DEFAULT: u32 = 16_384;
/// What an address may have of these however few sockets the process may have.
pub const STRANGERS_MIN: usize = 64;
/// Messages a minute of one user over all connections by default; over it they are refused or read later.
pub const USER_MESSAGES_PER_MINUTE_DEFAULT: u32 = 600;
/// Upgrades a minute of one user from one address by default; over it: HTTP 429. A client that reconnects every
/// second, which none should.
pub const UPGRADES_PER_MINUTE_DEFAULT: u32 = 60;
/// Upgrades without a token, which may bring one in the first frame, from one address a minute by default; over it:
/// HTTP 429. Behind one address there may be a whole company or some ten thousand phones of one carrier, who all come
/// back at once after a restart and may wait for nobody; a thousand a second that goes on for longer is none of these,
/// and costs a core a twentieth of its time.
pub const ANONYMOUS_UPGRADES_PER_MINUTE_DEFAULT: u32 = 60_000;
/// Tokens with a bad signature from one address a minute by default; over it: HTTP 429 for a further bad one in a
/// request. Good ones and upgrades without a token pass, or one neighbour could lock out all others.
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
/// Connections that are asked for a sign of life when a user who has all places wants one more; all that may be on
/// one resource, by default.
pub const PROBES_MAX: usize = 16;
/// Time for that sign; over it the connection is given up, and its place is free. Less than an upgrade is held.
pub const PROBE_MS: u64 = 5_000;
/// Addresses of which one shard remembers a rate that is used in part; over it the older half is forgotten. 3 MiB.
pub const ADDRESSES_PER_SHARD_MAX: usize = 32_768;
/// Users without a connection of which one shard remembers a rate that is used in part; over it the older half is
/// forgotten. 3 MiB.
pub const USERS_ABSENT_PER_SHARD_MAX: usize = 32_768;
