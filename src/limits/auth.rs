//! Bounds of tokens, keys and what they permit.

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
