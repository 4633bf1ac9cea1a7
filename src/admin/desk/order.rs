//! What can be asked, as it is written.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::admin::trail::Wanted;
use crate::ids::ConnectionName;
use crate::limits::{CHANNEL_NAME_BYTES_MAX, DEBUG_S_DEFAULT, DEBUG_S_MAX, USER_ID_BYTES_MAX};
use crate::recorder::Kind;

/// Why an order is not followed.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) what: String,
    /// What to do about it.
    pub(super) remedy: &'static str,
    /// Whether it may pass by itself.
    pub(super) passing: bool,
}

impl From<String> for Refused {
    fn from(what: String) -> Self {
        Self { what, remedy: "ask for something else: `waystation --help` says what there is", passing: false }
    }
}

/// One order.
#[derive(Debug, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Order {
    Dump(Written),
    Tail(Written),
    Debug(DebugOrder),
    Log { filter: String },
    Stats {},
    Backup {},
}

impl fmt::Display for Order {
    /// What is asked, as it is kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dump(_) => f.write_str("dump"),
            Self::Tail(_) => f.write_str("tail"),
            Self::Debug(order) => {
                let whom = order.user.as_deref().or(order.connection.as_deref()).unwrap_or("");
                write!(f, "debug {whom} {}", if order.on { "on" } else { "off" })
            }
            Self::Log { filter } => write!(f, "log {filter}"),
            Self::Stats {} => f.write_str("stats"),
            Self::Backup {} => f.write_str("backup"),
        }
    }
}

/// What somebody wants to see, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    connection: Option<String>,
    user: Option<String>,
    channel: Option<String>,
    kind: Option<String>,
}

/// Have somebody's records logged, or no more.
#[derive(Debug, Deserialize)]
pub(super) struct DebugOrder {
    connection: Option<String>,
    user: Option<String>,
    pub(super) on: bool,
    seconds: Option<u32>,
}

impl Written {
    pub(super) fn usable(self) -> Result<Wanted, String> {
        let connection = self.connection.map(|text| {
            ConnectionName::parse(&text).ok_or_else(|| format!("{text:?} is no connection: 32 hexadecimal digits"))
        });
        let kind = self.kind.map(|text| Kind::named(&text));
        Ok(Wanted {
            connection: connection.transpose()?,
            user: self.user.map(|text| within("a user", text, USER_ID_BYTES_MAX)).transpose()?,
            channel: self.channel.map(|text| within("a channel", text, CHANNEL_NAME_BYTES_MAX)).transpose()?,
            kind: kind.transpose()?,
        })
    }
}

impl DebugOrder {
    /// Whom, and for how many seconds.
    pub(super) fn usable(self) -> Result<(Wanted, u64), String> {
        let seconds = self.seconds.unwrap_or(DEBUG_S_DEFAULT);
        if !(1..=DEBUG_S_MAX).contains(&seconds) {
            return Err(format!("{seconds} seconds are not 1 to {DEBUG_S_MAX}"));
        }
        if self.connection.is_some() == self.user.is_some() {
            return Err("either a connection or a user is debugged".to_owned());
        }
        let written = Written { connection: self.connection, user: self.user, ..Written::default() };
        Ok((written.usable()?, u64::from(seconds)))
    }
}

fn within(what: &str, text: String, max: usize) -> Result<Arc<str>, String> {
    if (1..=max).contains(&text.len()) {
        return Ok(text.into());
    }
    Err(format!("{what} has 1 to {max} bytes, this has {}", text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let order: Order = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match order {
            Order::Dump(wanted) | Order::Tail(wanted) => wanted.usable().map(|wanted| format!("{wanted:?}")),
            Order::Debug(order) => order.usable().map(|(wanted, seconds)| format!("{seconds} {wanted:?}")),
            Order::Log { filter } => Ok(filter),
            Order::Stats {} | Order::Backup {} => Ok(order.to_string()),
        }
    }

    #[test]
    fn orders_are_read_and_what_is_none_is_told() {
        let long = |len: usize| format!(r#"{{"command":"dump","channel":"{}"}}"#, "x".repeat(len));
        let seconds = |count: u32| format!(r#"{{"command":"debug","user":"ann","on":true,"seconds":{count}}}"#);
        for (text, expected) in [
            (r#"{"command":"stats"}"#, Ok("stats")),
            (r#"{"command":"backup"}"#, Ok("backup")),
            (r#"{"command":"log","filter":"debug"}"#, Ok("debug")),
            (r#"{"command":"dump"}"#, Ok("None")),
            (r#"{"command":"dump","kind":"gap","user":"ann"}"#, Ok("Gap")),
            (r#"{"command":"tail","connection":"0000000000000000000000000000000a"}"#, Ok("ConnectionName(10)")),
            (r#"{"command":"tail","connection":"a"}"#, Err("32 hexadecimal digits")),
            (r#"{"command":"dump","kind":"gaps"}"#, Err("sequenced, written")),
            (r#"{"command":"dump","user":""}"#, Err("this has 0")),
            (&*long(CHANNEL_NAME_BYTES_MAX - 1), Ok("xxx")),
            (&*long(CHANNEL_NAME_BYTES_MAX), Ok("xxx")),
            (&*long(CHANNEL_NAME_BYTES_MAX + 1), Err("a channel has")),
            (r#"{"command":"debug","user":"ann","on":true}"#, Ok("600 ")),
            (r#"{"command":"debug","on":true}"#, Err("either a connection or a user")),
            (&*seconds(DEBUG_S_MAX - 1), Ok("ann")),
            (&*seconds(DEBUG_S_MAX), Ok("ann")),
            (&*seconds(DEBUG_S_MAX + 1), Err("not 1 to")),
            (&*seconds(0), Err("not 1 to")),
            (r#"{"command":"stop"}"#, Err("unknown variant")),
            ("[]", Err("missing field")),
            ("", Err("EOF")),
        ] {
            match (read(text), expected) {
                (Ok(found), Ok(part)) | (Err(found), Err(part)) => assert!(found.contains(part), "{text}: {found}"),
                (found, expected) => panic!("{text}: {found:?}, not {expected:?}"),
            }
        }
        assert_eq!(DEBUG_S_DEFAULT, 600);
    }
}
