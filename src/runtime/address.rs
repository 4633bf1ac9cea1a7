//! Where a server listens: an address and a port, or the path of a Unix socket.
//!
//! An IPv6 address is for IPv6 alone, `[::]` too: what the system sets for others (`net.ipv6.bindv6only`) decides
//! nothing here, and both families are two addresses. Absent: names, which a resolver could answer with anything, and
//! abstract Unix sockets, which have no permissions.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::limits::SOCKET_PATH_BYTES_MAX;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port; with port 0 the kernel chooses one.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// The address and the port, if it has them.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether it can be reached from this machine only and by anybody on it: by pages of a developer's browser.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.tcp().is_some_and(|address| address.ip().is_loopback())
    }

    /// Whether a connection could be for either of the two.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => {
                let all = one.ip().is_unspecified() || other.ip().is_unspecified() || one.ip() == other.ip();
                one.is_ipv4() == other.is_ipv4() && one.port() == other.port() && one.port() != 0 && all
            }
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix(UNIX) else {
            let wrong = || {
                "this is no address and port, as in 127.0.0.1:8000 or [::]:8000, and no unix: with a path; names are not looked up".to_owned()
            };
            return text.parse().map(Self::Tcp).map_err(|_| wrong());
        };
        if !Path::new(path).is_absolute() {
            return Err("the path of a Unix socket begins with /".to_owned());
        }
        if path.contains('\0') || path.ends_with('/') {
            return Err("this is no path of a file".to_owned());
        }
        if path.len() > SOCKET_PATH_BYTES_MAX {
            return Err(format!(
                "the path has {} bytes, and the kernel takes {SOCKET_PATH_BYTES_MAX} for a socket's",
                path.len()
            ));
        }
        Ok(Self::Unix(path.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// What stands before a path.
const UNIX: &str = "unix:";

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_and_paths_are_read_and_shown_as_they_are_written() {
        for text in ["127.0.0.1:8000", "[::1]:0", "[::]:8000", "[fe80::1%2]:80", "unix:/run/ws.sock", "unix:/a b/é"] {
            assert_eq!(address(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for (text, why) in [
            ("", "no address and port"),
            ("8000", "no address and port"),
            ("localhost:8000", "no address and port"),
            ("::1:8000", "no address and port"),
            ("/run/ws.sock", "no address and port"),
            ("unix:", "begins with /"),
            ("unix:ws.sock", "begins with /"),
            ("unix:@ws", "begins with /"),
            ("unix:/run/", "no path of a file"),
            ("unix:/run/\0", "no path of a file"),
        ] {
            assert!(text.parse::<Address>().unwrap_err().contains(why), "{text:?}");
        }
    }

    #[test]
    fn a_path_is_as_long_as_every_program_can_name_it() {
        for (bytes, good) in
            [(SOCKET_PATH_BYTES_MAX - 1, true), (SOCKET_PATH_BYTES_MAX, true), (SOCKET_PATH_BYTES_MAX + 1, false)]
        {
            let path = format!("/{}", "a".repeat(bytes - 1));
            assert_eq!(format!("unix:{path}").parse::<Address>().is_ok(), good, "{bytes}");
        }
    }

    #[test]
    fn two_addresses_overlap_where_a_connection_could_be_for_both() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "[::]:1", false),
            ("[::]:1", "[::1]:1", true),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
            ("unix:/a", "0.0.0.0:1", false),
        ] {
            let (one, other) = (address(one), address(other));
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn only_loopback_addresses_are_loopback() {
        for (text, expected) in [("127.9.0.1:1", true), ("[::1]:1", true), ("[::]:1", false), ("unix:/a", false)] {
            assert_eq!(address(text).is_loopback(), expected, "{text}");
        }
    }
}
