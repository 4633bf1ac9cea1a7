//! The command line as it is written. Only what a text can be judged by alone is judged here; a wrong one
//! ends with exit code 2 and the usage.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::checked::StoreVerb;
use super::desk::{Debug, Log, Records, Whereabouts};
use super::tuning::{Doctor, TuneArgs};
use super::units::{self, CpuList};
use crate::auth::{Pattern, Verb as Permission};
use crate::limits::{RESOURCE_ID_BYTES_MAX, SHARDS_COUNT_MAX, SPIN_US_MAX, TOKEN_COUNT_MAX};
use crate::runtime::address::Address;

/// A real-time WebSocket gateway: rooms with order, history and resume.
#[derive(Clone, Debug, Parser)]
#[command(name = "waystation", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Written {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Run the gateway until SIGTERM or SIGINT, then drain and exit 0
    Serve(Box<ServeArgs>),
    /// Check, show and document the configuration
    #[command(subcommand, arg_required_else_help = true)]
    Config(ConfigVerb),
    /// Print tokens signed with the key in the data directory, one a line
    Token(TokenArgs),
    /// Ask the gateway of this configuration whether it is ready; exit code 75 if it is not
    Health(Box<ServeArgs>),
    /// Print the completions of a shell
    Completions {
        /// Which
        shell: Shell,
    },
    /// Print the manual page, or that of a command, as in `man serve` or `man config check`
    Man {
        /// The command
        #[arg(value_name = "COMMAND", conflicts_with = "list")]
        page: Vec<String>,
        /// Print the commands that have a page instead, one a line
        #[arg(long)]
        list: bool,
    },
    /// Say what keeps this machine from holding so many connections, and what to do; exits 2 on an error
    Doctor(Doctor),
    /// Show, write and take back what a host should be set to
    Tune(TuneArgs),
    /// Look at, compact and read out the store of a gateway that does not run, or back it up, also of one that runs
    #[command(subcommand, arg_required_else_help = true)]
    Store(StoreWritten),
    /// Show what happened last in a running gateway, in the order of time
    Dump(Records),
    /// Show what happens in a running gateway, until interrupted
    Tail(Records),
    /// Have a running gateway log what happens to a user or a connection, for a while
    Debug(Debug),
    /// Change what a running gateway logs, until its configuration is read again
    Log(Log),
    /// Print a running gateway's numbers as JSON: the sum over its shards, and of states and generations the highest
    Stats(Whereabouts),
}

/// What to do with the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigVerb {
    /// Say everything that is wrong, each with its place and what to do; exit code 78 if anything is
    Check(Box<ServeArgs>),
    /// Print a file with every key, its meaning and its default
    Default,
    /// Print each value and who set it: the default, file and line, an environment variable, a flag
    Show(Box<ServeArgs>),
    /// Print the documentation of every key
    Doc,
}

/// What to do with a store. It is found as `serve` with the same options would find it.
#[derive(Clone, Debug, Subcommand)]
pub enum StoreWritten {
    /// Look at every row and record, and say what is not as it was written; exit code 1 if anything is not
    Check(Box<ServeArgs>),
    /// Print how much there is
    Stats(Box<ServeArgs>),
    /// Write everything anew, without what was removed
    Compact(Box<ServeArgs>),
    /// Print every event that is retained, one JSON object a line; exit code 1 if some cannot be read
    Export(Box<ServeArgs>),
    /// Copy everything to a new directory, also while a gateway runs on it
    Backup(Box<BackupArgs>),
}

/// Options of `store backup`.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// The directory to make
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
    /// Which store.
    #[command(flatten)]
    pub serve: ServeArgs,
}

impl StoreWritten {
    /// What, and with which configuration.
    pub(super) fn usable(self) -> (StoreVerb, Box<ServeArgs>) {
        match self {
            Self::Check(args) => (StoreVerb::Check, args),
            Self::Stats(args) => (StoreVerb::Stats, args),
            Self::Compact(args) => (StoreVerb::Compact, args),
            Self::Export(args) => (StoreVerb::Export, args),
            Self::Backup(args) => (StoreVerb::Backup(args.to), Box::new(args.serve)),
        }
    }
}

/// Options of `serve`. What is not given here stands in the file, the environment, or the defaults.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Address and port to listen on, or unix: and a path; port 0 takes a free one; may be given again
    /// [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Vec<Address>,
    /// What is not on the command line, as in CONFIG.md; what is on it goes before
    #[arg(long, short = 'c', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the development key and the history of durable channels are kept; none for nowhere [default: the platform's
    /// state directory]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Shards, one thread each [default: one for each processor this process may use]
    #[arg(long, value_name = "N", value_parser = shards)]
    pub shards: Option<u16>,
    /// Pin the shards to these processors, as in 0,2-3
    #[arg(long, value_name = "LIST", value_parser = cpus)]
    pub cpus: Option<String>,
    /// Whether rate limits hold [default: default]
    #[arg(long, value_enum)]
    pub limits: Option<LimitsWritten>,
    /// Serve /echo without authentication and with raised limits: for conformance tests and comparisons
    #[arg(long)]
    pub echo: bool,
    /// Microseconds to look for work before sleeping: 0 on shared processors, 20 to 50 on own ones [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(SPIN_US_MAX)))]
    pub spin_us: Option<u32>,
    /// Set any other key, as in limits.upgrades=120; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// The two sets of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LimitsWritten {
    /// As documented
    Default,
    /// No message rates: for measuring
    Unlimited,
}

/// Options of `token`.
#[derive(Args, Clone, Debug)]
pub struct TokenArgs {
    /// The user that the token stands for
    #[arg(long, value_name = "U", value_parser = user)]
    pub user: String,
    /// How long the token is good, as in 90s or 1h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = units::token_ttl_s)]
    pub ttl: u64,
    /// `service` marks a backend
    #[arg(long, value_enum)]
    pub role: Option<RoleWritten>,
    /// What the token permits: a JSON object from channel patterns to lists of verbs
    #[arg(long, value_name = "JSON", value_parser = caps)]
    pub caps: Option<Caps>,
    /// Print tokens for the users U-1 to U-N instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(TOKEN_COUNT_MAX)))]
    pub count: Option<u32>,
    /// Where the development key is kept [default: the platform's state directory]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// The roles that a token can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleWritten {
    /// A backend
    Service,
}

/// A capability map, checked to be an object of lists of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps(pub serde_json::Map<String, serde_json::Value>);

fn shards(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(count) if (1..=SHARDS_COUNT_MAX).contains(&count) => Ok(count),
        _ => Err(format!("shards are 1 to {SHARDS_COUNT_MAX}")),
    }
}

/// The text stays as it is: it is read again with the file's.
fn cpus(text: &str) -> Result<String, String> {
    text.parse::<CpuList>().map(|_| text.to_owned())
}

fn user(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > RESOURCE_ID_BYTES_MAX {
        return Err(format!("a user has 1 to {RESOURCE_ID_BYTES_MAX} bytes, this has {}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("a user has no control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn caps(text: &str) -> Result<Caps, String> {
    let wrong = |why: &str| format!("{why}; write it as in '{{\"chat:*\":[\"subscribe\",\"publish\"]}}'");
    let value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let serde_json::Value::Object(map) = value else { return Err(wrong("not a JSON object")) };
    for (pattern, verbs) in &map {
        if Pattern::parse(pattern).is_none() {
            return Err(wrong(&format!("{pattern:?} is no channel pattern")));
        }
        let verbs = verbs.as_array().filter(|verbs| !verbs.is_empty());
        let Some(verbs) = verbs else { return Err(wrong("a pattern's value is not a list of verbs")) };
        for verb in verbs {
            // Such a token would be good and permit nothing.
            if verb.as_str().and_then(Permission::parse).is_none() {
                let known = Permission::ALL.map(|(_, name)| name).join(", ");
                return Err(wrong(&format!("{verb} is no verb, which are {known}")));
            }
        }
    }
    Ok(Caps(map))
}
