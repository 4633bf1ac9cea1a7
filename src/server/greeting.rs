//! What `serve` prints once it listens: where it is, how to see it work, and what it will forget.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::key::DevelopmentKey;

/// The lines for the operator. Standard output only: the token in them belongs into no log.
#[derive(Debug)]
pub(super) struct Greeting<'a> {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Where each shard runs.
    pub(super) shards: &'a [Option<usize>],
    /// How many connections the descriptors allow.
    pub(super) connections: u64,
    /// The key, and whether it is new.
    pub(super) key: &'a DevelopmentKey,
    /// A token for everything.
    pub(super) token: &'a str,
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        let near = reachable(address);
        let pins: Vec<String> = self.shards.iter().flatten().map(ToString::to_string).collect();
        let pinned =
            if pins.is_empty() { "not pinned".to_owned() } else { format!("on processor {}", pins.join(", ")) };
        let made = if self.key.made { "made a development key" } else { "uses the development key" };
        writeln!(f, "Waystation {} listens on http://{address}", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "  {} shards, {pinned}; room for {} connections", self.shards.len(), self.connections)?;
        writeln!(f, "  {made} in {}", self.key.path.display())?;
        writeln!(f, "  history is in memory only: a restart forgets it")?;
        writeln!(f, "\nSee it work in a browser:\n  http://{near}/#token={}", self.token)?;
        writeln!(f, "\nOr join a room from a shell, with any WebSocket client:")?;
        writeln!(f, "  npx wscat -c 'ws://{near}/ws/chat/demo?token={}'", self.token)?;
        let directory = self.key.path.parent().unwrap_or(&self.key.path).display();
        writeln!(
            f,
            "\nThe token is good for a day. For another user:\n  waystation token --user NAME --data {directory}\n"
        )
    }
}

/// An address that a client on this machine can use: an unspecified one is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_shown_as_loopback() {
        for (listening, near) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:1", "192.0.2.1:1"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()).to_string(), near);
        }
    }
}
