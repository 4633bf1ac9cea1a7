//! One connection's rules: which door it came through, what it may spend, whether it lives.
//!
//! Pure decisions over values that the shard keeps for each connection. Absent: the connection itself,
//! its queues, and everything that several connections share.

pub mod admit;
pub mod duty;
pub mod endpoint;
pub mod liveness;
