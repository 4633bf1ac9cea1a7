//! `[history]`: what channels keep.

use serde::Deserialize;
use serde::de::Deserializer;

use super::values;
use crate::limits::{HISTORY_AGE_S_MAX, HISTORY_BYTES_MAX, HISTORY_COUNT_MAX};

/// The section as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// Events of a channel.
    #[serde(deserialize_with = "events")]
    pub events: Option<usize>,
    /// Bytes of a channel's events.
    #[serde(deserialize_with = "bytes")]
    pub bytes: Option<usize>,
    /// Seconds, written as in `24h`.
    #[serde(deserialize_with = "age")]
    pub age: Option<u64>,
}

fn events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    values::within(deserializer, 1, HISTORY_COUNT_MAX)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    values::within(deserializer, 1, HISTORY_BYTES_MAX)
}

fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    values::duration_s(deserializer, HISTORY_AGE_S_MAX)
}
