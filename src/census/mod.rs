//! Who is connected, counted across connections: by user, by address, by resource.
//!
//! Everything here belongs to one shard, the one that a keyed hash of the user, the address or the resource
//! names; the others ask it by message. Users and resources stand for themselves as hashes under a key that
//! clients do not know: 128 bits of it for users, which nobody can make collide. Pure tables and decisions.
//! Absent: who asks, how the answer travels, and what is done to a connection that is over a limit.

pub mod addresses;
pub mod limits;
mod paces;
pub mod strangers;
pub mod users;
