//! `host[:port]`, as the Host header and an origin carry it.
//!
//! One reading for both, so that the comparison behind the default origin rule cannot be fooled by two.
//! Absent: names outside ASCII and percent-encoded ones; browsers send neither.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A host in comparable form: lower case, an IPv6 address in its canonical spelling and in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    pub(super) name: String,
    /// `None` stands for the default port of a scheme that is not known here.
    pub(super) port: Option<u16>,
}

impl HostPort {
    /// Reads `uri-host [ ":" port ]` (RFC 9110 section 7.2); anything else, an empty host too, is `None`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, port) = if let Some(rest) = text.strip_prefix('[') {
            let (literal, port) = rest.split_once(']')?;
            let address: Ipv6Addr = literal.parse().ok()?;
            (format!("[{address}]"), if port.is_empty() { "" } else { port.strip_prefix(':')? })
        } else {
            let (name, port) = text.split_once(':').unwrap_or((text, ""));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            if name.is_empty() || !name.bytes().all(plain) {
                return None;
            }
            (name.to_ascii_lowercase(), port)
        };
        // RFC 3986 section 3.2.3: the port may be empty and then is the scheme's default.
        if port.is_empty() {
            return Some(Self { name, port: None });
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        if digits { port.parse().ok().map(|port| Self { name, port: Some(port) }) } else { None }
    }
}

/// Whether a host in comparable form names this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
pub(super) fn is_loopback(name: &str) -> bool {
    name == "localhost" || name == "[::1]" || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_in_one_comparable_form() {
        let check = |text: &str, expected: Option<(&str, Option<u16>)>| {
            let read = HostPort::parse(text);
            assert_eq!(read.as_ref().map(|host| (host.name.as_str(), host.port)), expected, "{text:?}");
        };
        check("example.com", Some(("example.com", None)));
        check("EXAMPLE.com:8443", Some(("example.com", Some(8443))));
        check("example.com:", Some(("example.com", None)));
        check("a_b.internal:1", Some(("a_b.internal", Some(1))));
        check("[0:0:0:0:0:0:0:1]:80", Some(("[::1]", Some(80))));
        check("[::1]", Some(("[::1]", None)));
        check("a:65535", Some(("a", Some(65535))));
        for text in [
            "", ":80", "a:65536", "a:+80", "a:8 0", "a b", "user@a", "a/b", "a,b", "[::1", "[::1]80", "[a]", "ä",
            "a:b:c",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn loopback_is_told_by_address_not_by_prefix() {
        for name in ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"] {
            assert!(is_loopback(name), "{name}");
        }
        for name in ["localhost.evil.com", "127.0.0.1.evil.com", "evil-localhost", "[::2]", "128.0.0.1", "127.1"] {
            assert!(!is_loopback(name), "{name}");
        }
    }
}
