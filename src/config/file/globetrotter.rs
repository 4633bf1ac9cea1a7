//! `[globetrotter]`: the GlobeTrotter dialect.

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobeTrotter {
    /// Whether its clients are let in without a token, as the user that they name.
    pub open: bool,
}
