//! `[admin]`: who may ask for connections and numbers, and close connections.

use std::path::PathBuf;

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Who connects from this machine needs no token for it. Not behind a proxy on this machine, which makes
    /// everybody come from it.
    pub loopback: bool,
    /// Where the Unix socket is; `off` for none.
    pub socket: Option<PathBuf>,
}
