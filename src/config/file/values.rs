//! Texts that stand for something else. Their bounds were judged before.

use serde::de::{Deserialize, Deserializer, Error};

use crate::auth::Pattern;
use crate::config::units;

/// A duration such as `90s` or `1h30m`.
pub(super) fn duration_s<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::duration_s(&text).map(Some).map_err(D::Error::custom)
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
