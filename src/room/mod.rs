//! A channel's state on one shard: its history, who is in it, what was already answered.
//!
//! The channel's home shard owns the sequence. A shard that merely has members of it keeps a mirror of
//! the home's history, fed in order; a member's debt is one position in that history either way. So a
//! slow reader, a gap, a resume and a late join are the same step: read on from a position.
//! Absent: sockets, queues per member, and anything that knows which shard is which.

pub mod cursors;
pub mod dedup;
pub mod fleeting;
pub mod group;
mod here;
pub mod history;
pub mod members;
pub mod presence;
pub mod resume;
