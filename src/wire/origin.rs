//! Which web pages may open a connection.
//!
//! A page cannot choose its Origin header, so an exact list keeps foreign pages from using a visitor's
//! browser. Other programs write there what they like or nothing: this is no authentication.
//! Compared are scheme, host and port as parsed values, never as text or by suffix.

use crate::wire::host::{HostPort, is_loopback};

/// The rule for the Origin header.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Refuse requests without an Origin. Off by default: only browsers send one.
    pub require_origin: bool,
    /// `*` was configured.
    any: bool,
    /// Empty: the request's own host, and loopback hosts while listening on loopback.
    list: Vec<Origin>,
}

impl Origins {
    /// Makes the rule from a list of `scheme://host[:port]` and `*`; an empty list is the default rule.
    ///
    /// # Errors
    /// What is wrong with which entry, for the operator.
    pub fn new(list: &[String]) -> Result<Self, String> {
        let mut origins = Self::default();
        for entry in list {
            if entry == "*" {
                origins.any = true;
                continue;
            }
            let Some(origin) = Origin::parse(entry) else {
                return Err(format!(
                    "origin {entry:?} is not of the form scheme://host[:port] in ASCII, without a path"
                ));
            };
            origins.list.push(origin);
        }
        Ok(origins)
    }

    /// Whether a request with this Origin and this Host may be upgraded.
    #[must_use]
    pub fn allows(&self, origin: Option<&str>, host: &str, listening_on_loopback: bool) -> bool {
        let Some(origin) = origin else { return !self.require_origin };
        if self.any {
            return true;
        }
        let Some(origin) = Origin::parse(origin) else { return false };
        if !self.list.is_empty() {
            return self.list.contains(&origin);
        }
        origin.is_page_of(host) || (listening_on_loopback && origin.is_web() && is_loopback(&origin.host))
    }
}

/// RFC 6454 section 4: an origin as the triple that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    /// `None` for the default port of a scheme whose default is not known here.
    port: Option<u16>,
}

impl Origin {
    /// RFC 6454 section 6.2: one serialised origin. `null`, userinfo, paths and lists of origins are none.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(plain) {
            return None;
        }
        let HostPort { name, port } = HostPort::parse(authority).filter(|_| !authority.ends_with(':'))?;
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or_else(|| default_port(&scheme));
        Some(Self { scheme, host: name, port })
    }

    fn is_web(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }

    /// Whether the page came from the host that is asked now. Behind a proxy that ends TLS the scheme of
    /// the request is not known here, so a Host without a port stands for either scheme's default.
    fn is_page_of(&self, host: &str) -> bool {
        let same =
            |host: HostPort| host.name == self.host && host.port.or_else(|| default_port(&self.scheme)) == self.port;
        self.is_web() && HostPort::parse(host).is_some_and(same)
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &[&str]) -> Origins {
        Origins::new(&list.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_listed_origin_is_matched_exactly() {
        let list = origins(&[
            "https://app.example.com",
            "http://localhost:3000",
            "https://[::1]:8443",
            "capacitor://localhost",
        ]);
        let check = |origin: &str, expected: bool| {
            assert_eq!(list.allows(Some(origin), "gateway.example.com", true), expected, "{origin:?}");
        };
        check("https://app.example.com", true);
        check("https://app.example.com:443", true);
        check("HTTPS://App.Example.COM", true);
        check("http://localhost:3000", true);
        check("https://[::1]:8443", true);
        check("https://[0:0:0:0:0:0:0:1]:8443", true);
        check("capacitor://localhost", true);
        for refused in [
            "https://evil.app.example.com",
            "https://example.com",
            "https://app.example.com.evil.com",
            "https://evilapp.example.com",
            "https://app.example.community",
            "http://app.example.com",
            "wss://app.example.com",
            "https://app.example.com:80",
            "https://app.example.com:8443",
            "https://app.example.com:",
            "http://localhost",
            "http://127.0.0.1:3000",
            "https://app.example.com.",
            "https://app.example.com/",
            "https://app.example.com/a",
            "https://app.example.com?a",
            "https://app.example.com#a",
            "https://app.example.com@evil.com",
            "https://user@app.example.com",
            "https://app.example.com\\.evil.com",
            "https://app.example.com https://evil.com",
            "https://app.example.com,https://evil.com",
            " https://app.example.com",
            "https:///app.example.com",
            "https:app.example.com",
            "app.example.com",
            "https://[::1]",
            "https://[::2]:8443",
            "https://gateway.example.com",
            "capacitor://localhost:80",
            "https://\u{430}pp.example.com",
            "null",
            "file://",
            "*",
            "",
        ] {
            check(refused, false);
        }
    }

    #[test]
    fn without_a_list_a_page_may_call_its_own_host() {
        let check = |origin: &str, host: &str, expected: bool| {
            assert_eq!(origins(&[]).allows(Some(origin), host, false), expected, "{origin} {host}");
        };
        check("https://example.com", "example.com", true);
        check("http://example.com", "EXAMPLE.com", true);
        check("https://example.com", "example.com:443", true);
        check("http://example.com:8080", "example.com:8080", true);
        check("http://[::1]:8080", "[::1]:8080", true);
        check("http://example.com", "example.com:8080", false);
        check("http://example.com:8080", "example.com", false);
        check("https://example.com", "example.com:80", false);
        check("https://example.com.evil.com", "example.com", false);
        check("https://sub.example.com", "example.com", false);
        check("chrome-extension://example.com", "example.com", false);
        check("http://localhost:3000", "example.com", false);
        check("null", "example.com", false);
        check("https://example.com", "", false);
    }

    #[test]
    fn loopback_pages_are_allowed_only_while_listening_on_loopback() {
        for (origin, expected) in [
            ("http://localhost:3000", true),
            ("http://127.0.0.1:5173", true),
            ("https://[::1]", true),
            ("http://localhost.evil.com", false),
            ("http://127.0.0.1.evil.com", false),
            ("file://localhost", false),
        ] {
            assert_eq!(origins(&[]).allows(Some(origin), "127.0.0.1:9000", true), expected, "{origin}");
            assert!(!origins(&[]).allows(Some(origin), "10.0.0.1:9000", false), "{origin}");
        }
    }

    #[test]
    fn a_star_allows_all_and_a_missing_origin_passes_unless_it_is_required() {
        let mut any = origins(&["*"]);
        assert!(any.allows(Some("null"), "h", false) && any.allows(Some("https://evil.com"), "h", false));
        assert!(any.allows(None, "h", false));
        any.require_origin = true;
        assert!(!any.allows(None, "h", false));
        assert!(origins(&[]).allows(None, "h", false) && origins(&["https://a"]).allows(None, "h", false));
    }

    #[test]
    fn an_entry_that_could_never_match_is_an_error() {
        for entry in [
            "",
            "example.com",
            "https://example.com/",
            "https://*.example.com",
            "null",
            "https://münchen.de",
            "https://a:99999",
        ] {
            let error = Origins::new(&[entry.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("{entry:?}")), "{error}");
        }
    }
}
