//! `[limits]`: how much is allowed.

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Whether rate limits hold. `--limits` beats it.
    pub profile: Option<Profile>,
}

/// The two sets of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// As documented.
    Default,
    /// Without message rates.
    Unlimited,
}
