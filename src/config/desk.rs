//! The command line of what is asked of a running gateway: `dump`, `tail`, `debug`, `log`, `stats`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::StartError;
use super::checked::{Environment, data_directory};
use super::table::log_filter;
use crate::ids::ConnectionName;
use crate::limits::{CHANNEL_NAME_BYTES_MAX, DEBUG_S_MAX, USER_ID_BYTES_MAX};
use crate::recorder::Kind;

/// The socket's name in its directory.
const SOCKET: &str = "admin.sock";
/// Where a unit's runtime directory is, for who asks from outside of it.
const SERVICE: &str = "/run/waystation/admin.sock";

/// Where the gateway is that is asked.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// The gateway's Unix socket [default: /run/waystation/admin.sock if it is there, else admin.sock in the data directory]
    #[arg(long, value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// The gateway's data directory [default: the platform's state directory]
    #[arg(long, value_name = "DIR", conflicts_with = "socket")]
    pub data: Option<PathBuf>,
}

/// Of which records.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Only this connection, by its public name
    #[arg(long, value_name = "ID", value_parser = connection)]
    pub connection: Option<String>,
    /// Only this user's connections
    #[arg(long, value_name = "U", value_parser = user)]
    pub user: Option<String>,
    /// Only this channel
    #[arg(long, value_name = "C", value_parser = channel)]
    pub channel: Option<String>,
    /// Only this kind, as in received or gap
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub kind: Option<String>,
    /// One JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
    /// Where the gateway is.
    #[command(flatten)]
    pub at: Whereabouts,
}

/// Options of `debug`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(group = ArgGroup::new("whose").args(["connection", "user"]).required(true))]
pub struct Debug {
    /// The connection, by its public name
    #[arg(long, value_name = "ID", value_parser = connection)]
    pub connection: Option<String>,
    /// The user, with all connections
    #[arg(long, value_name = "U", value_parser = user)]
    pub user: Option<String>,
    /// Begin or end
    #[arg(value_enum)]
    pub switch: Switch,
    /// Seconds until it ends by itself [default: 600]
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=i64::from(DEBUG_S_MAX)))]
    pub seconds: Option<u32>,
    /// One JSON object instead of words
    #[arg(long)]
    pub json: bool,
    /// Where the gateway is.
    #[command(flatten)]
    pub at: Whereabouts,
}

/// Begin or end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Begin, or begin the time anew
    On,
    /// End
    Off,
}

/// Options of `log`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Levels and targets, as in info,waystation=debug
    #[arg(value_name = "FILTER", value_parser = filter)]
    pub filter: String,
    /// Where the gateway is.
    #[command(flatten)]
    pub at: Whereabouts,
}

/// A question to a running gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Its socket.
    pub socket: PathBuf,
    /// What is asked.
    pub order: Value,
    /// How the answer is shown.
    pub showing: Showing,
}

/// How an answer is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Showing {
    /// As it comes.
    Json,
    /// Each record as a line of text.
    Records,
    /// What became of debugging these, in words.
    Debugged(String),
}

/// Judged here too, so that what is no order at all is told as bad usage.
fn connection(text: &str) -> Result<String, String> {
    let name = ConnectionName::parse(text)
        .ok_or("a connection is named by 32 hexadecimal digits, as lists and records show it")?;
    Ok(name.to_string())
}

fn kind(text: &str) -> Result<String, String> {
    Kind::named(text).map(|kind| kind.name().to_owned())
}

fn user(text: &str) -> Result<String, String> {
    within("a user", text, USER_ID_BYTES_MAX)
}

fn channel(text: &str) -> Result<String, String> {
    within("a channel", text, CHANNEL_NAME_BYTES_MAX)
}

fn within(what: &str, text: &str, max: usize) -> Result<String, String> {
    let fits = (1..=max).contains(&text.len());
    if fits { Ok(text.to_owned()) } else { Err(format!("{what} has 1 to {max} bytes, this has {}", text.len())) }
}

/// Judged here too: one that lets nothing through would hide what the gateway says of it.
fn filter(text: &str) -> Result<String, String> {
    log_filter(text).map(|()| text.to_owned())
}

impl Records {
    pub(super) fn usable(self, command: &str, environment: &Environment) -> Result<Asked, StartError> {
        let mut order = Map::new();
        order.insert("command".to_owned(), command.into());
        for (name, value) in
            [("connection", self.connection), ("user", self.user), ("channel", self.channel), ("kind", self.kind)]
        {
            order.extend(value.map(|value| (name.to_owned(), value.into())));
        }
        let showing = if self.json { Showing::Json } else { Showing::Records };
        Ok(Asked { socket: self.at.socket(environment)?, order: order.into(), showing })
    }
}

impl Debug {
    pub(super) fn usable(self, environment: &Environment) -> Result<Asked, StartError> {
        let mut order = json!({ "command": "debug", "on": self.switch == Switch::On });
        let whom = match (&self.connection, &self.user) {
            (Some(connection), _) => format!("connection {connection}"),
            (None, user) => format!("user {}", user.as_deref().unwrap_or_default()),
        };
        for (name, value) in [("connection", self.connection), ("user", self.user)] {
            if let Some(value) = value {
                order[name] = value.into();
            }
        }
        if let Some(seconds) = self.seconds {
            order["seconds"] = seconds.into();
        }
        let showing = if self.json { Showing::Json } else { Showing::Debugged(whom) };
        Ok(Asked { socket: self.at.socket(environment)?, order, showing })
    }
}

impl Log {
    pub(super) fn usable(self, environment: &Environment) -> Result<Asked, StartError> {
        let order = json!({ "command": "log", "filter": self.filter });
        Ok(Asked { socket: self.at.socket(environment)?, order, showing: Showing::Json })
    }
}

impl Whereabouts {
    pub(super) fn stats(self, environment: &Environment) -> Result<Asked, StartError> {
        Ok(Asked { socket: self.socket(environment)?, order: json!({ "command": "stats" }), showing: Showing::Json })
    }

    fn socket(self, environment: &Environment) -> Result<PathBuf, StartError> {
        match self {
            Self { socket: Some(socket), .. } => Ok(socket),
            Self { data: None, .. } if Path::new(SERVICE).exists() => Ok(SERVICE.into()),
            Self { data, .. } => Ok(usual_socket(&data_directory(data, environment)?, environment)),
        }
    }
}

/// Where the socket is unless somebody says otherwise.
pub(super) fn usual_socket(data: &Path, environment: &Environment) -> PathBuf {
    let runtime = environment.runtime_directory.as_deref().and_then(|list| std::env::split_paths(list).next());
    let runtime = runtime.filter(|directory| directory.is_absolute());
    runtime.as_deref().unwrap_or(data).join(SOCKET)
}

/// Where a gateway with this configuration listens, for who asks from outside of its unit.
pub(super) fn socket_to_ask((path, was_set): (PathBuf, bool)) -> PathBuf {
    if !was_set && !path.exists() && Path::new(SERVICE).exists() { SERVICE.into() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_where_somebody_says_else_in_the_runtime_directory_else_with_the_data() {
        let environment = Environment { runtime_directory: Some("/run/a:/run/b".into()), ..Environment::default() };
        let data = Path::new("/var/lib/w");
        let empty = Environment { runtime_directory: Some("".into()), ..Environment::default() };
        assert_eq!(usual_socket(data, &empty), Path::new("/var/lib/w/admin.sock"));
        assert_eq!(usual_socket(data, &environment), Path::new("/run/a/admin.sock"));
        assert_eq!(usual_socket(data, &Environment::default()), Path::new("/var/lib/w/admin.sock"));
        let at = |socket: Option<&str>, data: Option<&str>| {
            let at = Whereabouts { socket: socket.map(Into::into), data: data.map(Into::into) };
            at.socket(&Environment::default()).unwrap()
        };
        assert_eq!(at(Some("/s"), None), Path::new("/s"));
        assert_eq!(at(None, Some("/d")), Path::new("/d/admin.sock"));
    }

    #[test]
    fn what_no_gateway_has_is_no_order() {
        assert_eq!(kind("gap").unwrap(), "gap");
        assert!(kind("gaps").unwrap_err().contains("sequenced, written"));
        assert_eq!(connection(&"0a".repeat(16)).unwrap(), "0a".repeat(16));
        assert!(connection("1-204-3").unwrap_err().contains("32 hexadecimal digits"));
        for (len, good) in [(0, false), (1, true), (USER_ID_BYTES_MAX, true), (USER_ID_BYTES_MAX + 1, false)] {
            assert_eq!(user(&"u".repeat(len)).is_ok(), good, "{len}");
        }
        for (len, good) in [(0, false), (1, true), (CHANNEL_NAME_BYTES_MAX, true), (CHANNEL_NAME_BYTES_MAX + 1, false)]
        {
            assert_eq!(channel(&"c".repeat(len)).is_ok(), good, "{len}");
        }
    }

    #[test]
    fn what_is_asked_for_becomes_an_order() {
        let at = Whereabouts { socket: Some("/s".into()), data: None };
        let records = Records {
            user: Some("ann".into()),
            kind: Some("gap".into()),
            json: true,
            at: at.clone(),
            ..Records::default()
        };
        let asked = records.usable("tail", &Environment::default()).unwrap();
        assert_eq!(asked.order, json!({ "command": "tail", "user": "ann", "kind": "gap" }));
        assert_eq!(asked.showing, Showing::Json);
        let (switch, seconds) = (Switch::On, Some(5));
        let debug = Debug { connection: None, user: Some("ann".into()), switch, seconds, json: false, at };
        let asked = debug.usable(&Environment::default()).unwrap();
        assert_eq!(asked.showing, Showing::Debugged("user ann".to_owned()));
        assert_eq!(asked.order, json!({ "command": "debug", "on": true, "user": "ann", "seconds": 5 }));
    }
}
