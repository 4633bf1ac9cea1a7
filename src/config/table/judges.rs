//! What texts in the configuration must be. Each says why a text is none.

use std::slice;

use tracing_subscriber::EnvFilter;

use crate::auth::Pattern;
use crate::config::units::{self, CpuList};
use crate::limits::{EVENT_TYPE_BYTES_MAX, HISTORY_AGE_S_MAX, KEY_ID_BYTES_MAX};
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
    text(path)
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

pub(super) fn log_filter(text: &str) -> Result<(), String> {
    EnvFilter::try_new(text).map(drop).map_err(|error| format!("these are no log directives: {error}"))
}

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
