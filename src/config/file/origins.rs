//! `[origins]`: which web pages may connect.

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Origins {
    /// `scheme://host[:port]`, or `*` for all. Empty: the request's own host.
    pub allowed: Vec<String>,
    /// Refuse requests without an Origin.
    pub required: bool,
}
