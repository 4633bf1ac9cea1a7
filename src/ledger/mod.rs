//! The rules of the durable log: what is written, under which key, and what follows from what is read.
//!
//! Synchronous and deterministic. [`Ledger`] turns the requests of shards into batches of puts and removes, and says
//! after a commit whom it answers; [`past`], [`page`], [`trim`] and [`forget`] read. All of them know a [`Disk`] only, of which there
//! are two: `store` has the real one, [`Memory`] forgets what was not committed and is for simulators and tests.
//!
//! What is kept, by kind of record:
//!
//! | record | key | says |
//! |---|---|---|
//! | event | channel's number, seq | what was published, and the operation that did it; or that it is erased |
//! | stub | channel's number, seq | only the operation, of an event that is trimmed while its id still counts |
//! | number | channel's name | the number, which stays the same over restarts and whatever the count of shards |
//! | line | channel's number | the epochs with their first and last seq, what is retained, how often the store had stopped uncleanly; outlives trimming and erasure |
//! | cursor | channel's number, user | up to where the user has acknowledged; with no user: up to where nobody is owed |
//! | position | channel's number, group | up to where the group of consumers has acknowledged |
//! | state, commit | fixed | how often the store stopped uncleanly and whether it is stopped; the number of the last commit |
//!
//! A notification until it is acknowledged is an event and a cursor behind it, and nothing else.
//!
//! Invariants: a seq never stands for two contents, since after an unclean stop a channel goes on beyond everything that
//! can have been given out; seqs within an epoch have no hole; a record that is not what was written is told, never left
//! out. Absent: files, threads, clocks, and which shard a channel lives on.

pub mod books;
mod bytes;
pub mod contract;
pub mod copy;
mod damage;
pub mod disk;
pub mod event;
pub mod forget;
mod key;
mod line;
mod memory;
pub mod model;
pub mod page;
pub mod past;
pub mod record;
mod rewritten;
mod rows;
pub mod survey;
pub mod trim;

pub use self::books::{Ledger, Opening, TrimJob};
pub use self::contract::{
    Append, Bounds, ChannelNumber, Forget, Forgotten, Keep, Notice, Open, Page, Past, Read, Refusal, Request, Spot,
    Ticket, Trouble,
};
pub use self::disk::{Batch, Disk, DiskFault, Space};
pub use self::event::{Event, Operation, write_body};
pub use self::key::COMMIT as COMMIT_KEY;
pub use self::line::{Line, Span, Standing, Start};
pub use self::memory::Memory;
pub use self::model::Model;
pub use self::record::Broken;
pub use self::rewritten::rewritten;
pub use self::rows::{State, commit_of};

#[cfg(test)]
mod tests;
