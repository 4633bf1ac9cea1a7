//! `[history]`: what channels keep.

use serde::Deserialize;

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
    #[serde(deserialize_with = "values::duration_s")]
    pub age: Option<u64>,
    /// Events of a stored channel that are held in memory.
    pub memory_events: Option<usize>,
    /// Bytes of these.
    pub memory_bytes: Option<usize>,
}
