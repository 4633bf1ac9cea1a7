//! What the machine should be set to, and whether it is.
//!
//! One table ([`TABLE`]) has a row for everything that matters: where it is read, what is wanted for so many
//! connections, shards and so much memory, how bad it is otherwise, why, what it costs and how it is undone.
//! `doctor` and `tune check` are the table held against a machine, or against its files below another root; the files
//! in `tuning/` and `docs/TUNING.md` are the table written down. Absent: any change of a running system.
//! Only `apply` writes, and only files that it can take back.

pub mod apply;
mod check;
pub mod disk;
mod host;
mod parse;
mod plan;
pub mod render;
pub mod report;
pub mod script;
mod table;
mod words;

pub use check::{Examined, Finding, examine};
pub use host::{Host, Live};
pub use plan::Plan;
pub use table::{Answer, Row, Setting, Severity, TABLE, row};
pub(crate) use words::counted;
