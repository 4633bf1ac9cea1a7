//! Bounds of the first bytes and the frames: request heads, sub-protocols, messages.

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
