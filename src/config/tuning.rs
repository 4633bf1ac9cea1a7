//! The command line of `doctor` and `tune`. It is usable as it is written: nothing in it depends on the machine.

use std::path::PathBuf;

use clap::Args;

use crate::limits::{CONFIGURED_CONNECTIONS_MAX, PLANNED_CONNECTIONS, SHARDS_COUNT_MAX};

/// Which machine, and what it is to hold.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Connections to plan for
    #[arg(long, value_name = "N", default_value_t = PLANNED_CONNECTIONS, value_parser = clap::value_parser!(u32).range(1..=i64::from(CONFIGURED_CONNECTIONS_MAX)))]
    pub connections: u32,
    /// Shards to plan for [default: as many as serve would start]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_COUNT_MAX)))]
    pub shards: Option<u16>,
    /// Read /proc, /sys, /run and /etc below this directory: an image, or another machine's files
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// Options of `doctor`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Doctor {
    /// Which machine, and what it is to hold.
    #[command(flatten)]
    pub planned: Planned,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// End with 1 if there are warnings
    #[arg(long)]
    pub strict: bool,
}
