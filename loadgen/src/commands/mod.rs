//! What each subcommand is asked on the command line, and what it does with it.

mod against;
mod compare;
mod crash;
mod gateway;
mod merge;
mod objectives;
mod pair;
mod prove;
mod run;

pub(crate) use against::Against;
pub(crate) use compare::Compare;
pub(crate) use crash::Crash;
pub(crate) use merge::Merge;
pub(crate) use objectives::{Slos, names};
pub(crate) use pair::Pair;
pub(crate) use prove::Prove;
pub(crate) use run::{Again, Run};
