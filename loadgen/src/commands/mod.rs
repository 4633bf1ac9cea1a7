//! What each subcommand is asked on the command line, and what it does with it.

mod pair;

pub(crate) use pair::Pair;
