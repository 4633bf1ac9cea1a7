//! What the operator asked for as the rest of the program uses it: every default filled in, every value
//! possible on this machine as far as can be told without touching it.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::StartError;
use super::desk::Asked;
use super::key::VARIABLE_PREFIX;
use super::layers::{Origin, Settings};
use super::load::Source;
use super::named::NamedFile;
use super::tuning::{Doctor, TuneVerb};
use super::written::{RoleWritten, TokenArgs};
use crate::auth::{Policy, Signature};
use crate::census::limits::Limits;
use crate::limits::RESOURCE_ID_BYTES_MAX;
use crate::room::history::{Held, Retention};
use crate::runtime::address::Address;
use crate::runtime::listen;
use crate::runtime::ring::RingSizes;
use crate::wire::proxy::Proxies;
use crate::wire::upgrade::Origins;

/// What to do, ready to be done.
#[derive(Debug)]
pub enum Wanted {
    /// Run the gateway.
    Serve(Box<Serve>),
    /// Print tokens.
    Token(Token),
    /// Say whether a gateway could be run so.
    Check(Box<Serve>),
    /// Ask whether one that runs so is ready.
    Health(Box<Serve>),
    /// Print this.
    Print(Vec<u8>),
    /// Say how the machine is set.
    Doctor(Doctor),
    /// Show, write and take back what a host should be set to.
    Tune(TuneVerb),
    /// Ask a running gateway.
    Ask(Asked),
    /// Do something with a store that no gateway runs.
    Store(StoreTask),
}

/// What to do with which store.
#[derive(Debug)]
pub struct StoreTask {
    /// What.
    pub verb: StoreVerb,
    /// Which; `None` if the configuration has none.
    pub store: Option<Store>,
    /// Where a gateway that runs on it is asked.
    pub socket: Option<PathBuf>,
}

/// What can be done with a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreVerb {
    /// Look at everything.
    Check,
    /// Count everything.
    Stats,
    /// Write everything anew.
    Compact,
    /// Print everything.
    Export,
    /// Copy everything to this directory, also while a gateway runs on it.
    Backup(PathBuf),
}

/// A gateway to run.
#[derive(Debug)]
pub struct Serve {
    /// Where to listen; no two overlap. Never empty. Port 0: any free one.
    pub listen: Vec<Address>,
    /// Who else may listen there, and who may connect to Unix sockets.
    pub listen_options: listen::Options,
    /// Where the key is kept, among other things; `None` if nothing is to be kept.
    pub data: Option<PathBuf>,
    /// Where durable history is kept; `None` if it is in memory only.
    pub store: Option<Store>,
    /// One entry a shard: the processor it is pinned to, or `None` to leave it to the kernel. Never empty.
    pub shards: Vec<Option<usize>>,
    /// Which limits hold.
    pub limits: LimitsProfile,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// Microseconds to look for work before sleeping.
    pub spin_us: u32,
    /// Sizes of each shard's ring. No option sets them: they are for a host that embeds the server and means to
    /// run it short of buffers.
    pub ring: RingSizes,
    /// How to log.
    pub logs: Logs,
    /// Whose tokens are good.
    pub auth: Auth,
    /// Which web pages may connect.
    pub origins: Origins,
    /// Who may do what.
    pub policy: Policy,
    /// Whether who connects from this machine may administer without a token.
    pub admin_loopback: bool,
    /// Where the administration's Unix socket is to be, and whether somebody has said so; `None` for none.
    pub admin_socket: Option<(PathBuf, bool)>,
    /// Bytes of each shard's recorder.
    pub recorder_bytes: usize,
    /// What a channel's history keeps, where the policy says nothing else.
    pub retention: Retention,
    /// What of a channel that is stored is held in memory.
    pub held: Held,
    /// Whether GlobeTrotter clients are let in without a token.
    pub globetrotter_open: bool,
    /// Whom to believe about where a connection comes from.
    pub proxies: Proxies,
    /// Limits of connections and rates, unless they are lifted.
    pub counts: Limits,
    /// Connections in all, if fewer than the descriptors allow.
    pub connections: Option<usize>,
    /// Where all this was read, to be read again.
    pub source: Source,
    /// What was set there, and by whom.
    pub settings: Settings,
}

impl Serve {
    /// A thing that a key names, such as a file, and where that key was set, if anybody has set it.
    #[must_use]
    pub fn place(&self, key: &str, thing: impl Display) -> String {
        match self.settings.origin(key) {
            Origin::Default => thing.to_string(),
            origin => format!("{thing}, as `{key}` says: {origin}"),
        }
    }
}

/// What outlives the gateway, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Where.
    pub directory: PathBuf,
    /// Milliseconds that writes are collected for.
    pub window_ms: u64,
    /// Memory for what was read.
    pub cache_bytes: u64,
    /// Threads that read.
    pub readers: usize,
}

/// Whose tokens are good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// The `iss` that they must have.
    pub issuer: Option<String>,
    /// The `aud` that they must name.
    pub audience: Option<String>,
    /// Keys and where they are.
    pub keys: Vec<KeyFile>,
    /// Where a JWK set is.
    pub jwks: Option<NamedFile>,
}

impl Auth {
    /// Whether any key is configured: then the development key counts for nothing.
    #[must_use]
    pub const fn has_keys(&self) -> bool {
        !self.keys.is_empty() || self.jwks.is_some()
    }
}

/// A key and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The `kid` by which tokens name it.
    pub id: Option<String>,
    /// What it is for.
    pub algorithm: Signature,
    /// A secret's bytes, or a PEM text.
    pub file: NamedFile,
}

/// Which limits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitsProfile {
    /// As documented.
    Default,
    /// Without message rates.
    Unlimited,
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    /// The form of a line.
    pub format: LogFormat,
    /// Directives such as `info,waystation=debug`, not yet parsed.
    pub filter: String,
    /// Where it is kept who came, was let in and went.
    pub audit: AuditTo,
}

/// Where it is kept who came, was let in and went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTo {
    /// It is not.
    Nowhere,
    /// In the log.
    Log,
    /// In a file of its own.
    File(PathBuf),
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level, place, then `key=value`.
    Text,
    /// One JSON object.
    Json,
    /// `key=value`, all of it.
    Logfmt,
}

/// Tokens to print.
#[derive(Debug)]
pub struct Token {
    /// Where the key is kept.
    pub data: PathBuf,
    /// One token is printed for each. Never empty.
    pub users: Users,
    /// Seconds until the tokens expire.
    pub ttl_s: u64,
    /// Whether they mark a backend.
    pub service: bool,
    /// What they permit, if that is said.
    pub caps: Option<Map<String, Value>>,
}

/// One user, or a numbered row of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// This one.
    One(String),
    /// `name-1` to `name-count`.
    Row(String, u32),
}

impl Users {
    /// The users in order.
    pub fn iter(&self) -> impl Iterator<Item = String> + '_ {
        let (name, count) = match self {
            Self::One(name) => (name, None),
            Self::Row(name, count) => (name, Some(*count)),
        };
        (1..=count.unwrap_or(1)).map(move |n| if count.is_some() { format!("{name}-{n}") } else { name.clone() })
    }
}

/// The variables that matter, taken once at the start.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `STATE_DIRECTORY`, as systemd sets it: one or more paths with colons between.
    pub state_directory: Option<OsString>,
    /// `RUNTIME_DIRECTORY`, in the same form.
    pub runtime_directory: Option<OsString>,
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
    /// `WAYSTATION_LOG`: log directives.
    pub log: Option<OsString>,
    /// `WAYSTATION_LOG_FORMAT`: `text`, `json` or `logfmt`.
    pub log_format: Option<OsString>,
    /// `CREDENTIALS_DIRECTORY`, where systemd puts what `LoadCredential=` names.
    pub credentials_directory: Option<OsString>,
    /// Those that begin with `WAYSTATION` and have two underscores in a row, by name.
    pub settings: Vec<(OsString, OsString)>,
}

impl Environment {
    /// The process's own.
    #[must_use]
    pub fn here() -> Self {
        let read = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        // One that lacks an underscore before its section is told, not passed over. Others', such as those that Kubernetes
        // makes of a service's name, have no two in a row.
        let ours = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with(VARIABLE_PREFIX.trim_end_matches("__")) && name.contains("__")
        };
        let mut settings: Vec<_> = std::env::vars_os().filter(|(name, _)| ours(name)).collect();
        settings.sort();
        Self {
            state_directory: read("STATE_DIRECTORY"),
            runtime_directory: read("RUNTIME_DIRECTORY"),
            xdg_state_home: read("XDG_STATE_HOME"),
            home: read("HOME"),
            log: read("WAYSTATION_LOG"),
            log_format: read("WAYSTATION_LOG_FORMAT"),
            credentials_directory: read("CREDENTIALS_DIRECTORY"),
            settings,
        }
    }
}

/// What the start needs to know of the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Processors in this process's affinity mask, ascending.
    pub cpus: Vec<usize>,
    /// How many of them its time quota is worth; at most `cpus.len()`.
    pub parallelism: usize,
}

impl Machine {
    /// This machine, as this process may use it.
    #[must_use]
    pub fn here() -> Self {
        let mask = rustix::thread::sched_getaffinity(None).ok();
        let cpus: Vec<usize> = mask
            .map(|mask| (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| mask.is_set(cpu)).collect())
            .unwrap_or_default();
        let cpus = if cpus.is_empty() { vec![0] } else { cpus };
        // The standard library reads the affinity mask and the control group's quota.
        let parallelism = std::thread::available_parallelism().map_or(1, usize::from).min(cpus.len());
        Self { cpus, parallelism }
    }
}

pub(super) fn token(args: TokenArgs, environment: &Environment) -> Result<Token, StartError> {
    let users = match args.count {
        None => Users::One(args.user),
        Some(count) => Users::Row(args.user, count),
    };
    let longest = match &users {
        Users::One(name) => name.len(),
        Users::Row(name, count) => name.len() + 1 + count.to_string().len(),
    };
    if longest > RESOURCE_ID_BYTES_MAX {
        return Err(StartError::new(
            format!("the last user has {longest} bytes, over {RESOURCE_ID_BYTES_MAX}"),
            "--user with --count",
            "give a shorter name",
        ));
    }
    if args.data.as_deref() == Some(Path::new(NOWHERE)) {
        let what = "the key of a gateway that keeps nothing is known to it alone";
        return Err(StartError::new(what, "--data", "give the gateway a data directory, or keys of your own"));
    }
    Ok(Token {
        data: data_directory(args.data, environment)?,
        users,
        ttl_s: args.ttl,
        service: args.role == Some(RoleWritten::Service),
        caps: args.caps.map(|caps| caps.0),
    })
}

/// What stands for no directory at all.
pub(super) const NOWHERE: &str = "none";

/// The data directory: as given, or where the platform keeps the state of a service or a user.
pub(super) fn data_directory(given: Option<PathBuf>, environment: &Environment) -> Result<PathBuf, StartError> {
    if let Some(directory) = given {
        return Ok(directory);
    }
    if let Some(first) = environment.state_directory.as_deref().and_then(|list| std::env::split_paths(list).next()) {
        return Ok(first);
    }
    // The XDG base directory specification: a path that is not absolute is invalid and is ignored.
    let absolute =
        |value: &Option<OsString>| value.as_deref().map(Path::new).filter(|p| p.is_absolute()).map(Path::to_owned);
    let state_home = absolute(&environment.xdg_state_home)
        .or_else(|| absolute(&environment.home).map(|home| home.join(".local").join("state")));
    state_home.map(|state| state.join("waystation")).ok_or_else(|| {
        StartError::new(
            "no place to keep the key",
            "STATE_DIRECTORY, XDG_STATE_HOME and HOME are unset",
            "give --data DIR",
        )
    })
}

#[cfg(test)]
#[path = "checked/tests.rs"]
mod tests;
