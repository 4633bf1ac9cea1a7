//! Who a connection comes from when it comes through a proxy.
//!
//! A proxy that is trusted tells the client's address in one of two ways: in a header of the PROXY protocol before
//! the first byte of the request, or in `X-Forwarded-For`. Anybody can write either, so they are read from trusted
//! peers only; of a chain of hops the rightmost that is not trusted is the client, since what stands left of it is
//! what the client says. A Unix socket is trusted by the word `unix` in the list. Absent: `Forwarded` (RFC 7239), which the proxies in use do not send by default.

use std::net::IpAddr;

use ipnet::IpNet;
use memchr::memchr;
use ppp::{PartialResult as _, v1, v2};
use tungstenite::http::HeaderMap;

use super::peer::Peer;
use crate::limits::{FORWARDED_HOPS_MAX, PROXIES_COUNT_MAX, PROXY_HEADER_BYTES_MAX};

/// The proxies that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    /// Whether who connects to a Unix socket is one of them.
    unix: bool,
    /// Whether they begin each connection with a header of the PROXY protocol.
    header: bool,
}

/// The bytes of a trusted peer are no header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHeader;

impl Proxies {
    /// Reads networks such as `10.0.0.0/8`, single addresses, and `unix` for whoever connects to a Unix socket.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub fn new(trusted: &[String], header: bool) -> Result<Self, String> {
        if trusted.len() > PROXIES_COUNT_MAX {
            return Err(format!("{} networks are over {PROXIES_COUNT_MAX}", trusted.len()));
        }
        let network = |text: &String| {
            let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
            text.parse::<IpNet>().ok().or_else(single).ok_or_else(|| {
                format!(
                    "{text:?} is no network: write an address, one with its prefix length as in 10.0.0.0/8, or unix"
                )
            })
        };
        let (unix, trusted): (Vec<&String>, Vec<&String>) = trusted.iter().partition(|text| *text == UNIX);
        let trusted = trusted.into_iter().map(network).collect::<Result<_, _>>()?;
        Ok(Self { trusted, unix: !unix.is_empty(), header })
    }

    /// Whether a peer is a proxy that is believed.
    #[must_use]
    pub fn trusts(&self, peer: impl Into<Peer>) -> bool {
        match peer.into() {
            Peer::Ip(address) => self.trusted.iter().any(|network| network.contains(&address)),
            Peer::Unix => self.unix,
        }
    }

    /// Whether a peer has to begin with a header of the PROXY protocol.
    #[must_use]
    pub fn expect_header(&self, peer: impl Into<Peer>) -> bool {
        self.header && self.trusts(peer)
    }

    /// The client's address, as far as trusted hops tell it.
    #[must_use]
    pub fn client(&self, peer: impl Into<Peer>, headers: &HeaderMap) -> Peer {
        let peer = peer.into();
        if !self.trusts(peer) {
            return peer;
        }
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut client = peer;
        for hop in hops.take(FORWARDED_HOPS_MAX) {
            // A hop that is no address was not written by a proxy of ours: the one that passed it on is the last known.
            let Some(address) = std::str::from_utf8(hop).ok().and_then(|hop| hop.trim_ascii().parse::<IpAddr>().ok())
            else {
                break;
            };
            client = Peer::Ip(address.to_canonical());
            if !self.trusts(client) {
                break;
            }
        }
        client
    }
}

/// Reads a header of the PROXY protocol, version 1 or 2, from the bytes that have come so far: `None` while it is not
/// whole, else the client's address, if it tells one (a proxy's own health check does not), and how many bytes it
/// took.
///
/// # Errors
/// The bytes do not begin with such a header, or it is too long.
pub fn read_proxy_header(buf: &[u8]) -> Result<Option<(Option<IpAddr>, usize)>, BadHeader> {
    if TEXT_MARK.starts_with(&buf[..buf.len().min(TEXT_MARK.len())]) {
        return match memchr(b'\n', &buf[..buf.len().min(TEXT_BYTES_MAX)]) {
            Some(end) => read_text(&buf[..=end]).map(|source| Some((source, end + 1))),
            None if buf.len() >= TEXT_BYTES_MAX => Err(BadHeader),
            None => Ok(None),
        };
    }
    let header = v2::Header::try_from(buf);
    if header.is_incomplete() {
        return if buf.len() >= PROXY_HEADER_BYTES_MAX { Err(BadHeader) } else { Ok(None) };
    }
    let header = header.map_err(|_| BadHeader)?;
    let source = match (header.command, header.addresses) {
        (v2::Command::Local, _) => None,
        (_, v2::Addresses::IPv4(addresses)) => Some(IpAddr::V4(addresses.source_address)),
        (_, v2::Addresses::IPv6(addresses)) => Some(IpAddr::V6(addresses.source_address)),
        (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    };
    let len = header.header.len();
    if len > PROXY_HEADER_BYTES_MAX {
        return Err(BadHeader);
    }
    Ok(Some((source.map(|address| address.to_canonical()), len)))
}

/// Reads a whole line of version 1.
fn read_text(line: &[u8]) -> Result<Option<IpAddr>, BadHeader> {
    match v1::Header::try_from(line).map_err(|_| BadHeader)?.addresses {
        v1::Addresses::Tcp4(addresses) => Ok(Some(IpAddr::V4(addresses.source_address))),
        v1::Addresses::Tcp6(addresses) => Ok(Some(IpAddr::V6(addresses.source_address).to_canonical())),
        v1::Addresses::Unknown => Ok(None),
    }
}

/// The word for Unix sockets.
const UNIX: &str = "unix";
/// What a line of version 1 begins with.
const TEXT_MARK: &[u8] = b"PROXY";
/// The longest line of version 1, its end included.
const TEXT_BYTES_MAX: usize = 107;

#[cfg(test)]
#[path = "proxy/tests.rs"]
mod tests;
