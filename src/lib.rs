//! Waystation, a real-time WebSocket gateway.
//!
//! Connections are hashed onto pinned per-core shards. Each shard owns its rooms and what is owed to
//! their members, and talks to the other shards through bounded lock-free queues. A message walks
//! ten stations: read, assemble, parse, admit, authorise, route, room, fan-out, owe, write.
//! `docs/ARCHITECTURE.md` begins with that walk.
//!
//! The modules are stacked on floors. A module imports from lower floors only, never from its own
//! and never from above; `tests/tidy.rs` reads the floors from the comments below and keeps the rule.
//! Floors 0 to 5 are synchronous and deterministic: no socket, no clock, no thread, no `async`.

// Floor 0: ground
pub mod ids;
pub mod limits;
pub mod time;

// Floor 1: tools
pub mod code;
pub mod headcount;
pub mod metrics;
pub mod payload;
pub mod rate;
pub mod recorder;
pub mod wheel;

// Floor 2: languages
pub mod envelope;
pub mod wire;

// Floor 3: rules
pub mod audit;
pub mod auth;
pub mod census;
pub mod ledger;
pub mod outbox;
pub mod request;
pub mod room;
pub mod route;

// Floor 4: session
pub mod session;

// Floor 5: shard
pub mod shard;

// Floor 6: mesh
pub mod mesh;

// Floor 7: hosts
pub mod admin;
pub mod runtime;
pub mod store;

// Floor 8: what was asked for, and what the machine should be
pub mod config;
pub mod tune;

// Floor 9: server
pub mod server;
