//! The clients of the five seed documents against the built program. Each is written anew from its document and from
//! what the shipped TypeScript client was seen to do, and knows nothing of this server's own extensions.
//!
//! | client | from | comes back |
//! |---|---|---|
//! | [`shipped::Shipped`] | the shipped TypeScript client, which seed 001 describes | once connected, after every code but 1000: 1, 2, 4, 8, 16 s, counted anew from each success |
//! | [`guide::Guide`] | seed 002: connection, lifecycle, pool, queue, deduplication, network-aware back-off | after every code but 1000: min(1000·2ⁿ, 30000) ms with jitter |
//! | [`globetrotter::Hook`], [`globetrotter::Reconnecting`] | seed 003 | the hook never; the class after every close: 2 s·n, five times, counted anew from each open |
//!
//! Their pauses are divided by a [`wire::Pace`], so that half a minute of theirs passes in seconds; the server's clock is
//! never changed, and one test waits a whole minute. Absent: browsers, and the application above the client.

mod crowds;
mod full;
mod globetrotter;
mod guide;
mod loops;
mod minute;
mod restart;
mod shipped;
mod travelling;
mod wire;
mod working;
