//! `[history]`: what channels keep.

use serde::Deserialize;
use serde::de::Deserializer;

use super::values;

/// The section as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// Events of a channel.
    pub events: Option<usize>,
    /// Bytes of a channel's events.
    pub bytes: Option<usize>,
    /// Seconds, written as in `24h`.
    #[serde(deserialize_with = "age")]
    pub age: Option<u64>,
}

fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    values::duration_s(deserializer)
}
