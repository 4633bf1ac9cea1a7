//! `[server]`: where it listens and what it runs on.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::units;
use crate::runtime::listen::{Options, Sharing};

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where to listen.
    pub listen: Option<Vec<String>>,
    /// The mode of Unix sockets' files, in octal.
    pub socket_mode: Option<String>,
    /// Whether other servers may listen there too.
    pub share: bool,
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

impl Server {
    /// How listeners are made.
    #[must_use]
    pub fn listen_options(&self) -> Options {
        let written = self.socket_mode.as_deref().and_then(|text| units::socket_mode(text).ok());
        Options {
            sharing: if self.share { Sharing::WithOthers } else { Sharing::Alone },
            mode: written.unwrap_or(SOCKET_MODE_DEFAULT),
        }
    }
}

/// The server's user and group.
const SOCKET_MODE_DEFAULT: u32 = 0o660;
