//! `[log]`: what is logged, and how.

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Directives such as `info,waystation=debug`.
    pub filter: Option<String>,
    /// The form of a line.
    pub format: Option<Format>,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Time, level, place, then `key=value`.
    Text,
    /// One JSON object.
    Json,
    /// `key=value`, all of it.
    Logfmt,
}
