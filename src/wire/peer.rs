//! Who is at the other end of a socket, as far as it can be counted.
//!
//! A TCP peer has an address. A Unix socket's peer has none: whoever may connect there was let in by the file's mode,
//! and in front of clients it is a proxy. So all of them are one peer, unless a trusted proxy says whose socket it is
//! (`proxy`). Absent: who the process is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Somebody at an address.
    Ip(IpAddr),
    /// Somebody at the other end of a Unix socket.
    Unix,
}

impl Peer {
    /// Nobody yet.
    pub const UNKNOWN: Self = Self::Ip(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));

    /// An IPv4 address in IPv6's clothes is the IPv4 address.
    #[must_use]
    pub const fn to_canonical(self) -> Self {
        match self {
            Self::Ip(address) => Self::Ip(address.to_canonical()),
            Self::Unix => Self::Unix,
        }
    }

    /// Whether it comes from a loopback address. A Unix socket is none: what is behind it is most often a proxy.
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        match self.to_canonical() {
            Self::Ip(address) => address.is_loopback(),
            Self::Unix => false,
        }
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address.ip())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_address_is_loopback() {
        for (text, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(Peer::Ip(text.parse().unwrap()).is_loopback(), expected, "{text}");
        }
        assert!(!Peer::Unix.is_loopback());
    }

    #[test]
    fn a_peer_takes_no_more_room_than_its_address() {
        assert_eq!(size_of::<Peer>(), size_of::<IpAddr>());
        assert_eq!((Peer::Unix.to_string(), Peer::UNKNOWN.to_string()), ("unix".to_owned(), "0.0.0.0".to_owned()));
    }
}
