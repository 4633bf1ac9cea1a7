//! What texts in the configuration must be. Each says why a text is none.

use std::slice;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::auth::Pattern;
use crate::config::units::{self, CpuList};
use crate::limits::{EVENT_TYPE_BYTES_MAX, HISTORY_AGE_S_MAX, KEY_ID_BYTES_MAX, SOCKET_PATH_BYTES_MAX};
use crate::runtime::address::Address;
use crate::wire::proxy::Proxies;
use crate::wire::upgrade::Origins;

pub(super) fn text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(()) }
}

pub(super) fn path(path: &str) -> Result<(), String> {
    if path.contains('\0') {
        return Err("no path has a zero byte".to_owned());
    }
    if path == "~" || path.starts_with("~/") {
        return Err("~ is a shell's, and no directory here: write the path out".to_owned());
    }
    if path.starts_with('$') && !path.starts_with("$CREDENTIALS_DIRECTORY/") {
        return Err(
            "no variable but $CREDENTIALS_DIRECTORY/ stands for a directory here: write the path out".to_owned()
        );
    }
    text(path)
}

/// A directory, or `none`.
pub(super) fn directory_or_none(written: &str) -> Result<(), String> {
    path_or(&["none"], written)
}

/// The path of a Unix socket, or `off`.
pub(super) fn socket_or_off(written: &str) -> Result<(), String> {
    path_or(&["off"], written)?;
    socket_path(written)
}

/// The path of a file, or `off`, or `log`.
pub(super) fn file_or_log(written: &str) -> Result<(), String> {
    path_or(&["off", "log"], written)
}

/// A path, or one of a key's own words. What is one of another key's, or a yes or no, is hardly the name of a file.
fn path_or(words: &[&str], written: &str) -> Result<(), String> {
    let meant = written.to_ascii_lowercase();
    if words.contains(&written) || !WORDS.contains(&meant.as_str()) {
        return path(written);
    }
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    Err(format!("the words here are {}, and a file of this name is \"./{written}\"", words.join(" and ")))
}

/// What somebody writes who wants none, one, or another place.
const WORDS: [&str; 15] = [
    "none", "off", "no", "false", "null", "disabled", "on", "yes", "true", "enabled", "log", "stdout", "stderr",
    "syslog", "journal",
];

/// As `unix:` and a path would be judged; a relative one is for the file's directory.
fn socket_path(path: &str) -> Result<(), String> {
    if path.ends_with('/') {
        return Err("this is no path of a file".to_owned());
    }
    if path.len() > SOCKET_PATH_BYTES_MAX {
        let bytes = path.len();
        return Err(format!("the path has {bytes} bytes, and the kernel takes {SOCKET_PATH_BYTES_MAX} for a socket's"));
    }
    Ok(())
}

pub(super) fn address(text: &str) -> Result<(), String> {
    text.parse::<Address>().map(drop)
}

pub(super) fn socket_mode(text: &str) -> Result<(), String> {
    units::socket_mode(text).map(drop)
}

pub(super) fn cpus(text: &str) -> Result<(), String> {
    text.parse::<CpuList>().map(drop)
}

pub(in crate::config) fn log_filter(text: &str) -> Result<(), String> {
    EnvFilter::try_new(text).map_err(|error| format!("these are no log directives: {error}"))?;
    // One word that is no level is taken for a target: a misspelt level would silence everything.
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let mut alone = words.filter(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !is_level(word));
    match alone.find(|word| *word != env!("CARGO_PKG_NAME")) {
        Some(word) => {
            Err(format!("{word:?} is no level, which are {LEVELS}; for a target of that name write {word}=trace"))
        }
        None => Ok(()),
    }
}

const LEVELS: &str = "off, error, warn, info, debug and trace";

pub(super) fn origin(text: &str) -> Result<(), String> {
    Origins::new(slice::from_ref(&text.to_owned())).map(drop)
}

pub(super) fn network(text: &str) -> Result<(), String> {
    Proxies::new(slice::from_ref(&text.to_owned()), false).map(drop)
}

pub(super) fn history_age(text: &str) -> Result<(), String> {
    let seconds = units::duration_s(text)?;
    if (1..=HISTORY_AGE_S_MAX).contains(&seconds) {
        return Ok(());
    }
    Err(format!("this is outside 1s to {}d", HISTORY_AGE_S_MAX / 86_400))
}

pub(super) fn pattern(text: &str) -> Result<(), String> {
    Pattern::parse(text).map(drop).ok_or_else(|| "this is no channel pattern".to_owned())
}

pub(super) fn key_id(text: &str) -> Result<(), String> {
    within(text, KEY_ID_BYTES_MAX)
}

pub(super) fn event_type(text: &str) -> Result<(), String> {
    within(text, EVENT_TYPE_BYTES_MAX)
}

fn within(text: &str, bytes_max: usize) -> Result<(), String> {
    if (1..=bytes_max).contains(&text.len()) {
        return Ok(());
    }
    Err(format!("it has {} bytes, not 1 to {bytes_max}", text.len()))
}
