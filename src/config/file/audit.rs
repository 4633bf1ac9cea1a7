//! `[audit]`: who came, was let in, refused and went, and who administered.

use std::path::PathBuf;

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// `off`, `log`, or a file.
    pub to: Option<PathBuf>,
}
