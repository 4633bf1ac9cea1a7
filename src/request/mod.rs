//! Requests that one connection answers for another: who is asked, and who still waits.
//!
//! Floor 3. The shard that is a method's home by the hash of its name keeps its [`Providers`]; the shard of
//! the connection that asks keeps its [`Pending`] requests. What goes between is `shard`'s.

pub mod pending;
pub mod providers;

pub use pending::{Asked, Pending, Ticket};
pub use providers::Providers;
