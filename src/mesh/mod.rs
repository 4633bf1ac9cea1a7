//! Where threads meet: bounded inboxes, and the bell that wakes their owner.
//!
//! A message to another shard, a socket that is handed over, the order to drain: each is a [`Parcel`]
//! that is put into the receiver's [`Inbox`] or refused, now. Nobody waits for room. Order holds per
//! sender and lane. What is said goes to the log's writer through queues of its own ([`log`]).
//!
//! Invariants: every queue has its full size from the start; a parcel that was put is taken without
//! another parcel having to come (see [`wake`]). Absent: locks, broadcast, and any knowledge of what
//! a message means.

pub mod hatch;
pub mod inbox;
pub mod log;
pub mod parcel;
pub mod store;
pub mod traffic;
pub mod wake;

pub use hatch::{Hatch, HatchPost, hatch};
pub use inbox::{Capacities, Inbox, Mesh, MeshEnd, Outbox, Post};
pub use log::{Level, Line, LogItem, LogPost, Losses, Lost, Value, log_queue};
pub use parcel::{AdminJob, Parcel, Transport};
pub use store::{StoreLink, store_links};
pub use traffic::{Traffic, depth};
pub use wake::Bell;
