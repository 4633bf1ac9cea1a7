//! What the operator asked for as the rest of the program uses it: every default filled in, every value
//! possible on this machine as far as can be told without touching it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::file::{self, File};
use super::written::{LimitsWritten, RoleWritten, ServeArgs, TokenArgs, Verb, Written};
use super::{StartError, file::limits::Profile};
use crate::auth::{Policy, PolicyRow, Signature};
use crate::census::limits::Limits;
use crate::limits::{RESOURCE_ID_BYTES_MAX, SHARDS_COUNT_MAX};
use crate::room::history::Retention;
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
}

/// A gateway to run.
#[derive(Debug)]
pub struct Serve {
    /// Where to listen. Port 0: any free one.
    pub listen: SocketAddr,
    /// Where the key is kept.
    pub data: PathBuf,
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
    /// What a channel's history keeps.
    pub retention: Retention,
    /// Whether GlobeTrotter clients are let in without a token.
    pub globetrotter_open: bool,
    /// Whom to believe about where a connection comes from.
    pub proxies: Proxies,
    /// Limits of connections and rates, unless they are lifted.
    pub counts: Limits,
    /// Connections in all, if fewer than the descriptors allow.
    pub connections: Option<usize>,
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
    pub jwks: Option<PathBuf>,
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
    pub path: PathBuf,
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
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level, place, then `key=value`.
    Text,
    /// One JSON object.
    Json,
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
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
    /// `WAYSTATION_LOG`: log directives.
    pub log: Option<OsString>,
    /// `WAYSTATION_LOG_FORMAT`: `text` or `json`.
    pub log_format: Option<OsString>,
}

impl Environment {
    /// The process's own.
    #[must_use]
    pub fn here() -> Self {
        let read = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            state_directory: read("STATE_DIRECTORY"),
            xdg_state_home: read("XDG_STATE_HOME"),
            home: read("HOME"),
            log: read("WAYSTATION_LOG"),
            log_format: read("WAYSTATION_LOG_FORMAT"),
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

/// Makes the written usable.
pub(super) fn check(written: Written, environment: &Environment, machine: &Machine) -> Result<Wanted, StartError> {
    match written.verb {
        Verb::Serve(args) => serve(args, environment, machine).map(|serve| Wanted::Serve(Box::new(serve))),
        Verb::Token(args) => token(args, environment).map(Wanted::Token),
    }
}

fn serve(args: ServeArgs, environment: &Environment, machine: &Machine) -> Result<Serve, StartError> {
    let place = args.config.as_deref().map_or_else(String::new, |path| path.display().to_string());
    let file = args.config.as_deref().map_or_else(|| Ok(File::default()), file::read)?;
    let wrong = |section: &str, what: String| StartError::new(what, format!("{place}, {section}"), "mend the file");
    let mut origins = Origins::new(&file.origins.allowed).map_err(|what| wrong("[origins]", what))?;
    origins.require_origin = file.origins.required;
    let rows: Vec<PolicyRow> = file.policy.iter().map(file::policy::Row::usable).collect();
    let globetrotter_open = open(&file)?;
    let require_caps = file.auth.require_caps;
    let auth = auth(file.auth, args.config.as_deref().and_then(Path::parent));
    if !auth.has_keys() && (auth.issuer.is_some() || auth.audience.is_some()) {
        let what = "an issuer or audience is asked for, and the development key's tokens have none";
        return Err(StartError::new(what, format!("{place}, [auth]"), "configure keys or jwks_file, or take it out"));
    }
    let policy = Policy::with_rows(&rows).map_err(|what| wrong("[[policy]]", what))?;
    let retention = Retention::default();
    Ok(Serve {
        listen: args.listen,
        data: data_directory(args.data, environment)?,
        shards: placed(args.shards, args.cpus.map(|list| list.0), machine)?,
        limits: match (args.limits, file.limits.profile) {
            (Some(LimitsWritten::Unlimited), _) | (None, Some(Profile::Unlimited)) => LimitsProfile::Unlimited,
            (Some(LimitsWritten::Default), _) | (None, Some(Profile::Default) | None) => LimitsProfile::Default,
        },
        echo: args.echo,
        spin_us: args.spin_us,
        ring: RingSizes::default(),
        logs: logs(environment)?,
        auth,
        globetrotter_open,
        proxies: Proxies::new(&file.proxies.trusted, file.proxies.protocol).map_err(|what| wrong("[proxies]", what))?,
        counts: file.limits.usable(),
        connections: file.limits.connections,
        origins,
        policy: if require_caps { policy.requiring_caps() } else { policy },
        admin_loopback: file.admin.loopback,
        retention: Retention {
            count: file.history.events.unwrap_or(retention.count),
            bytes: file.history.bytes.unwrap_or(retention.bytes),
            age_ms: file.history.age.map_or(retention.age_ms, |seconds| seconds * 1000),
        },
    })
}

/// Paths in the file are relative to its directory, wherever the gateway is started.
fn auth(written: file::auth::Auth, directory: Option<&Path>) -> Auth {
    let absolute = |path: PathBuf| directory.map_or_else(|| path.clone(), |directory| directory.join(&path));
    let file::auth::Auth { issuer, audience, keys, jwks_file, require_caps: _ } = written;
    let keys = keys.into_iter().map(|key| KeyFile { id: key.id, algorithm: key.algorithm, path: absolute(key.file) });
    Auth { issuer, audience, keys: keys.collect(), jwks: jwks_file.map(absolute) }
}

/// Whether clients without a token are let in, which must not contradict what is asked of tokens.
fn open(file: &File) -> Result<bool, StartError> {
    if file.globetrotter.open && file.auth.require_caps {
        return Err(StartError::new(
            "who brings no token has no caps and could do nothing",
            "globetrotter.open and auth.require_caps",
            "leave one of the two out",
        ));
    }
    Ok(file.globetrotter.open)
}

fn token(args: TokenArgs, environment: &Environment) -> Result<Token, StartError> {
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
    Ok(Token {
        data: data_directory(args.data, environment)?,
        users,
        ttl_s: args.ttl,
        service: args.role == Some(RoleWritten::Service),
        caps: args.caps.map(|caps| caps.0),
    })
}

/// The data directory: as given, or where the platform keeps the state of a service or a user.
fn data_directory(given: Option<PathBuf>, environment: &Environment) -> Result<PathBuf, StartError> {
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

/// Which shard runs where. Without `--cpus` the shards are pinned only if there is one for each processor
/// and no quota: two gateways with fewer shards would otherwise sit on the same first processors.
fn placed(count: Option<u16>, cpus: Option<Vec<usize>>, machine: &Machine) -> Result<Vec<Option<usize>>, StartError> {
    if let Some(cpus) = cpus {
        if let Some(missing) = cpus.iter().find(|cpu| !machine.cpus.contains(cpu)) {
            return Err(StartError::new(
                format!("processor {missing} is not one that this process may use, which are {:?}", machine.cpus),
                "--cpus",
                "name others, or widen the affinity mask (taskset, AllowedCPUs=, cpuset)",
            ));
        }
        let count = count.map_or(cpus.len(), usize::from);
        if count != cpus.len() || count > usize::from(SHARDS_COUNT_MAX) {
            return Err(StartError::new(
                format!("{count} shards and {} processors to pin them to", cpus.len()),
                "--shards and --cpus",
                format!("give as many processors as shards, at most {SHARDS_COUNT_MAX}, or leave --shards out"),
            ));
        }
        return Ok(cpus.into_iter().map(Some).collect());
    }
    let count = count.map_or_else(|| machine.parallelism.min(usize::from(SHARDS_COUNT_MAX)), usize::from).max(1);
    if count == machine.cpus.len() && machine.parallelism == machine.cpus.len() {
        return Ok(machine.cpus.iter().copied().map(Some).collect());
    }
    Ok(vec![None; count])
}

fn logs(environment: &Environment) -> Result<Logs, StartError> {
    let format = match environment.log_format.as_deref().map(|value| value.to_string_lossy()).as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => {
            return Err(StartError::new(
                format!("{other:?} is no log format"),
                "WAYSTATION_LOG_FORMAT",
                "set it to text or json, or leave it out",
            ));
        }
    };
    let filter =
        environment.log.as_deref().map_or_else(|| "info".to_owned(), |value| value.to_string_lossy().into_owned());
    Ok(Logs { format, filter })
}

#[cfg(test)]
#[path = "checked/tests.rs"]
mod tests;
