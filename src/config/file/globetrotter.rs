//! `[globetrotter]`: the GlobeTrotter dialect. It has no key yet.

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobeTrotter {}
