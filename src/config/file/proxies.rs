//! `[proxies]`: what stands in front of the gateway.

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxies {
    /// Networks, or single addresses, whose word is taken for where a client comes from.
    pub trusted: Vec<String>,
    /// Whether they begin each connection with a header of the PROXY protocol.
    pub protocol: bool,
}
