//! `[auth]`: whose tokens are good.

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The `iss` that tokens must have.
    pub issuer: Option<String>,
    /// The `aud` that tokens must name.
    pub audience: Option<String>,
    /// Users may do what their token grants and nothing else.
    pub require_caps: bool,
}
