//! What each subcommand is asked on the command line, and what it does with it.

mod objectives;
mod pair;

pub(crate) use objectives::{Slos, names};
pub(crate) use pair::Pair;
