//! `[recorder]`: what happened last.

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recorder {
    /// Bytes for each shard.
    pub bytes: Option<usize>,
}
