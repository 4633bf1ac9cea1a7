//! `[store]`: what outlives the gateway, and where.

use std::path::PathBuf;

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Where it is kept, or `none`.
    pub directory: Option<PathBuf>,
    /// Milliseconds that writes are collected for.
    pub window_ms: Option<u64>,
    /// Memory for what was read.
    pub cache_bytes: Option<u64>,
    /// Threads that read.
    pub readers: Option<usize>,
}
