//! The server's half of the opening handshake (RFC 6455 section 4.2).
//!
//! Turns a [`Request`] into what the 101 needs, or the refusal that fits. Who may connect is decided
//! elsewhere: [`Origins`] only says which web pages may. Absent: extensions; the header that offers them
//! is not read, which section 9.1 allows.

use data_encoding::BASE64;
use tungstenite::handshake::derive_accept_key;
use tungstenite::http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tungstenite::http::{HeaderMap, HeaderName};

use crate::limits::SUB_PROTOCOLS_COUNT_MAX;
use crate::wire::http::{Body, HttpError, Request};

pub use crate::wire::origin::Origins;

/// How all sub-protocols of ours begin.
const OURS_PREFIX: &str = "waystation.";

/// The sub-protocol of the JSON envelopes.
pub const PROTOCOL_JSON: &str = "waystation.v1.json";

/// What comes before a token that is offered as a sub-protocol.
const BEARER_PREFIX: &str = "bearer.";

/// A request that may be upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept_key: String,
    /// The sub-protocols on offer, in the client's order: tokens, each once.
    pub protocols: Vec<String>,
    /// The Origin header.
    pub origin: Option<String>,
    /// The host that was asked.
    pub host: String,
}

/// Checks the client's handshake.
///
/// # Errors
/// 405, 426 or 400, as the branch says.
pub fn check(request: &Request) -> Result<Upgrade, HttpError> {
    let headers = &request.headers;
    // RFC 6455 section 4.2.1, 1: a GET request.
    if request.method != "GET" {
        return Err(HttpError::new(405, "a WebSocket is opened with GET"));
    }
    // RFC 6455 section 4.2.1, 3 and 4. RFC 9110 section 15.5.22: 426 says what to upgrade to.
    if !lists(headers, &UPGRADE, "websocket") {
        return Err(HttpError::new(426, "this is a WebSocket endpoint: send Upgrade: websocket"));
    }
    if !lists(headers, &CONNECTION, "upgrade") {
        return Err(HttpError::new(426, "this is a WebSocket endpoint: send Connection: Upgrade"));
    }
    // RFC 9112 section 6.3: bytes after the head would be read as a body here and as frames there.
    if request.body()? != Body::None {
        return Err(HttpError::bad_request("an upgrade has no body"));
    }
    // RFC 6455 section 4.2.1, 2.
    let host = single(headers, &HOST)?.ok_or(HttpError::bad_request("there must be one Host header"))?;
    check_version(headers)?;
    let key = checked_key(headers)?;
    // RFC 6455 section 4.2.1, 7 and section 10.2.
    let origin = single(headers, &ORIGIN)?.map(str::to_owned);
    let protocols = offered_protocols(headers)?;
    Ok(Upgrade { accept_key: derive_accept_key(key.as_bytes()), protocols, origin, host: host.to_owned() })
}

/// The 101 (RFC 6455 section 4.2.2, 5), naming the sub-protocol if one was chosen from [`Upgrade::protocols`].
#[must_use]
pub fn accept_response(upgrade: &Upgrade, protocol: Option<&str>) -> Vec<u8> {
    let mut head = String::with_capacity(192);
    head.push_str("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    for part in ["Sec-WebSocket-Accept: ", &upgrade.accept_key, "\r\n"] {
        head.push_str(part);
    }
    // RFC 6455 section 4.1: a client fails on a sub-protocol that it did not offer, so none is invented here.
    if let Some(protocol) = protocol.filter(|chosen| upgrade.protocols.iter().any(|offered| offered == chosen)) {
        for part in ["Sec-WebSocket-Protocol: ", protocol, "\r\n"] {
            head.push_str(part);
        }
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// The sub-protocol to echo and the token that came as one: ours if offered, else the first of a stranger that
/// carries no token, since browsers fail a connection when none of their offers is echoed.
#[must_use]
pub fn choose_protocol(offered: &[String]) -> (Option<&str>, Option<&str>) {
    let mut others = offered.iter().map(String::as_str).filter(|name| !name.starts_with(BEARER_PREFIX));
    let ours = others.clone().find(|name| *name == PROTOCOL_JSON);
    // One of ours that is not spoken here must not be promised.
    let first = others.find(|name| !name.starts_with(OURS_PREFIX));
    let token = offered.iter().find_map(|name| name.strip_prefix(BEARER_PREFIX));
    (ours.or(first), token)
}

/// The one value of a header that is no list. A value that cannot be read must not pass for a missing one.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, HttpError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| HttpError::bad_request("a handshake header is not plain ASCII"))
        }
        // RFC 6455 sections 11.3.1 and 11.3.5 for Key and Version, RFC 6454 section 7.3 for Origin.
        (Some(_), Some(_)) => Err(HttpError::bad_request("a handshake header is repeated")),
    }
}

/// Whether a list header (RFC 9110 section 5.6.1) names `token`, in any case and any of its lines.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

fn check_version(headers: &HeaderMap) -> Result<(), HttpError> {
    // RFC 6455 section 4.2.1, 6: the header is a must.
    match single(headers, &SEC_WEBSOCKET_VERSION)? {
        None => Err(HttpError::bad_request("the Sec-WebSocket-Version header is missing")),
        Some("13") => Ok(()),
        // RFC 6455 section 4.2.2, 4 and section 4.4: another version is answered with 426 and the right one.
        Some(_) => Err(HttpError::new(426, "this server speaks version 13 of the WebSocket protocol")),
    }
}

fn checked_key(headers: &HeaderMap) -> Result<&str, HttpError> {
    // RFC 6455 section 4.2.1, 5: a base64-encoded value that decodes to 16 bytes.
    let key = single(headers, &SEC_WEBSOCKET_KEY)?;
    let key = key.ok_or(HttpError::bad_request("the Sec-WebSocket-Key header is missing"))?;
    match BASE64.decode(key.as_bytes()) {
        Ok(nonce) if nonce.len() == 16 => Ok(key),
        _ => Err(HttpError::bad_request("the Sec-WebSocket-Key is not 16 bytes in base64")),
    }
}

/// RFC 6455 section 4.1, 10: tokens, all different; section 11.3.4: in one line or several.
fn offered_protocols(headers: &HeaderMap) -> Result<Vec<String>, HttpError> {
    let mut offered: Vec<String> = Vec::new();
    for line in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let line = line.to_str().map_err(|_| HttpError::bad_request("a handshake header is not plain ASCII"))?;
        // RFC 9110 section 5.6.1.2: empty items of a list are ignored.
        for name in line.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if !name.bytes().all(is_token_byte) || offered.iter().any(|earlier| earlier == name) {
                return Err(HttpError::bad_request("the sub-protocols must be tokens, all different"));
            }
            if offered.len() == SUB_PROTOCOLS_COUNT_MAX {
                return Err(HttpError::bad_request("more than 16 sub-protocols are offered"));
            }
            offered.push(name.to_owned());
        }
    }
    Ok(offered)
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
