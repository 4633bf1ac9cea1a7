//! Waystation's load generator.
//!
//! One thread and one epoll drive up to 18,000 connections: `scenario` says what is wanted, `adapter` how the server is
//! spoken to, `plan` runs it on the `engine`, which sends by a `schedule`, finds each publish again by its `marker` and
//! books it in the `checker`; `report` says what came out. The server is only watched from outside, through `process`.
//!
//! `crash` is apart from all that: it kills the server that it started, and holds what is kept against what was promised.
//!
//! A run is trusted only if the generator kept its own times: too much lateness makes it invalid, not slow.

pub mod adapter;
pub mod against;
pub mod baton;
pub mod checker;
pub mod clock;
pub mod compare;
pub mod connection;
mod course;
pub mod crash;
pub mod deal;
pub mod engine;
pub mod frame;
pub mod gate;
pub mod interval;
pub mod launch;
pub mod limits;
pub mod live;
pub mod marker;
pub mod merge;
pub mod metrics;
mod page;
pub mod pair;
pub mod plan;
pub mod process;
pub mod prove;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod slo;
pub mod socket;
pub mod stats;
mod words;
