//! What `serve` prints once it listens: where it is, how to see it work, and what it will forget.

use std::fmt;
use std::path::Path;

use super::health::reachable;
use super::key::DevelopmentKey;
use crate::runtime::address::Address;
use crate::tune::counted;

/// The lines for the operator. Standard output only: the token in them belongs into no log.
#[derive(Debug)]
pub(super) struct Greeting<'a> {
    /// Where it listens.
    pub(super) addresses: &'a [Address],
    /// Where each shard runs.
    pub(super) shards: &'a [Option<usize>],
    /// How many connections the descriptors and the configuration allow.
    pub(super) connections: u64,
    /// Where durable history is kept, if anywhere.
    pub(super) store: Option<&'a Path>,
    /// Whose tokens are good.
    pub(super) keys: Keys<'a>,
}

/// Whose tokens are good.
#[derive(Debug)]
pub(super) enum Keys<'a> {
    /// Those of the development key, such as this one for everything.
    Development(&'a DevelopmentKey, &'a str),
    /// Those of so many configured keys. None of them is signed here.
    Configured(usize),
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins: Vec<String> = self.shards.iter().flatten().map(ToString::to_string).collect();
        let pinned =
            if pins.is_empty() { "not pinned".to_owned() } else { format!("on processor {}", pins.join(", ")) };
        // What a browser can open comes first.
        let (tcp, unix): (Vec<&Address>, Vec<&Address>) =
            self.addresses.iter().partition(|address| address.tcp().is_some());
        let mut places =
            tcp.iter().map(|address| format!("http://{address}")).chain(unix.iter().map(|at| at.to_string()));
        let first = places.next().unwrap_or_default();
        writeln!(f, "Waystation {} listens on {first}", env!("CARGO_PKG_VERSION"))?;
        places.try_for_each(|place| writeln!(f, "  and on {place}"))?;
        let shards = counted(self.shards.len(), "shard");
        writeln!(f, "  {shards}, {pinned}; room for {}", counted(self.connections, "connection"))?;
        match self.store {
            Some(directory) => writeln!(f, "  history of durable channels is kept in {}", directory.display())?,
            None => writeln!(f, "  history is in memory only: a restart forgets it")?,
        }
        match self.keys {
            Keys::Configured(1) => writeln!(f, "  one configured key for tokens"),
            Keys::Configured(count) => writeln!(f, "  {count} configured keys for tokens"),
            Keys::Development(key, token) => development(f, tcp.iter().chain(&unix).next().copied(), key, token),
        }
    }
}

fn development(f: &mut fmt::Formatter<'_>, at: Option<&Address>, key: &DevelopmentKey, token: &str) -> fmt::Result {
    let made = if key.made { "made a development key" } else { "uses the development key" };
    match &key.path {
        Some(path) => writeln!(f, "  {made} in {}", path.display())?,
        None => writeln!(f, "  {made} that is kept nowhere: a restart makes another")?,
    }
    match at {
        Some(Address::Tcp(address)) => {
            let near = reachable(*address);
            writeln!(f, "\nSee it work in a browser:\n  http://{near}/#token={token}")?;
            writeln!(f, "\nOr join a room from a shell, with any WebSocket client:")?;
            writeln!(f, "  npx wscat -c 'ws://{near}/ws/chat/demo?token={token}'")?;
        }
        Some(Address::Unix(path)) => {
            writeln!(f, "\nNo browser opens a Unix socket. Join a room from a shell:")?;
            writeln!(f, "  npx wscat -c 'ws+unix:{}:/ws/chat/demo?token={token}'", path.display())?;
        }
        None => {}
    }
    let Some(directory) = key.path.as_deref().and_then(Path::parent) else {
        return writeln!(f, "\nThe token is good for a day, and until the gateway ends.\n");
    };
    let directory = directory.display();
    writeln!(f, "\nThe token is good for a day. For another user:\n  waystation token --user NAME --data {directory}\n")
}
