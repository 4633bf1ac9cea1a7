//! The command line of `doctor` and `tune`. It is usable as it is written, but for where the gateway's data is.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::checked::{Environment, data_directory};
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
    /// Where the gateway's data is or will be, to look at its disk; none for nowhere [default: /var/lib/waystation if it is
    /// there, else as serve takes it]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// End with 1 if there are warnings
    #[arg(long)]
    pub strict: bool,
}

/// The command line of `tune`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, arg_required_else_help = true)]
pub struct TuneArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<TuneVerb>,
    /// Print a shell script that writes the files of apply and sets the running kernel
    #[arg(long, required = true)]
    pub script: bool,
    /// Which machine, and what it is to hold.
    #[command(flatten)]
    pub planned: Planned,
}

/// What `tune` does.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TuneVerb {
    /// Print the names of everything that matters on a host
    List,
    /// Print where it is read, what is wanted, why, what it costs and how to go back
    Explain {
        /// A name of the list
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Say what keeps this machine from holding so many connections, and what to do, as doctor does; exits 2 on an error
    Check(Doctor),
    /// Write files in /etc/sysctl.d, /etc/security/limits.d and /etc/udev/rules.d, keeping what was there
    Apply(Changing),
    /// Take back what apply has written
    Revert(Changing),
    /// Write docs/TUNING.md and the files of tuning/ below a directory
    Render {
        /// The directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print a script.
    #[command(skip)]
    Script(Planned),
}

/// Options of what changes files.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Changing {
    /// Which machine, and what it is to hold.
    #[command(flatten)]
    pub planned: Planned,
    /// Say what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Where the unit keeps the gateway's data.
const SERVICE: &str = "/var/lib/waystation";

impl Doctor {
    /// With the directory whose disk is looked at. Of an image it is the unit's; here the unit's if it was ever started.
    pub(super) fn usable(self, environment: &Environment) -> Self {
        let service = || PathBuf::from(SERVICE);
        let is_here = self.planned.root == Path::new("/");
        let data = match self.data {
            Some(data) => data,
            None if !is_here || Path::new(SERVICE).symlink_metadata().is_ok() => service(),
            None => data_directory(None, environment).unwrap_or_else(|_| service()),
        };
        Self { data: Some(data), ..self }
    }
}

impl TuneArgs {
    /// What is to be done: the script, if nothing else is said.
    pub(super) fn usable(self, environment: &Environment) -> TuneVerb {
        match self.verb {
            Some(TuneVerb::Check(doctor)) => TuneVerb::Check(doctor.usable(environment)),
            Some(verb) => verb,
            None => TuneVerb::Script(self.planned),
        }
    }
}
