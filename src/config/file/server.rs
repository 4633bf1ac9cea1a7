//! `[server]`: where it listens and what it runs on.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// Where the development key is kept.
    pub data: Option<PathBuf>,
    /// How many shards.
    pub shards: Option<u16>,
    /// Which processors they are pinned to, as in `0,2-3`.
    pub cpus: Option<String>,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// Microseconds to look for work before sleeping.
    pub spin_us: u32,
}
