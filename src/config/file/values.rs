//! Values with bounds, read where they stand.

use std::fmt::Display;

use serde::de::{Deserialize, Deserializer, Error};

use crate::auth::Pattern;
use crate::config::units;

/// A whole number within bounds; the error names them.
pub(super) fn within<'de, D, T>(deserializer: D, min: T, max: T) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + PartialOrd + Display,
{
    let value = T::deserialize(deserializer)?;
    if (&min..=&max).contains(&&value) {
        return Ok(Some(value));
    }
    Err(D::Error::custom(format_args!("{value} is outside {min} to {max}")))
}

/// A duration such as `90s` or `1h30m`, from a second to `max_s` seconds.
pub(super) fn duration_s<'de, D: Deserializer<'de>>(deserializer: D, max_s: u64) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let seconds = units::duration_s(&text).map_err(D::Error::custom)?;
    if (1..=max_s).contains(&seconds) {
        return Ok(Some(seconds));
    }
    Err(D::Error::custom(format_args!("{text} is outside 1s to {}d", max_s / 86_400)))
}

/// A channel pattern.
pub(super) fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || {
        let what = "is no channel pattern: a channel's name, or its beginning and a `*`, with `{user}` at most once";
        D::Error::custom(format_args!("{text:?} {what}"))
    };
    Pattern::parse(&text).ok_or_else(wrong)
}
