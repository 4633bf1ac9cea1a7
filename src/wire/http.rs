//! The head of a request: HTTP/1.1, read strictly.
//!
//! Stands before the walk: a head becomes a [`Request`], or the [`HttpError`] that refuses it. The same
//! bytes may be offered again and again as more arrive; what follows the head is the caller's. What two
//! readers could understand differently is refused, since a proxy in front may be the other reader.
//!
//! Absent: HTTP/1.0 and 2, the asterisk and authority forms of a target, reading of bodies (a body is
//! only announced, [`Request::body`]), `Expect` (the final response answers it), normalising of paths.

use memchr::{memchr_iter, memmem};
use tungstenite::http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use tungstenite::http::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::{HEAD_BYTES_MAX, HEADERS_COUNT_MAX};
use crate::wire::host::{HostPort, is_loopback};
use crate::wire::percent;

pub use crate::wire::percent::{check_resource_id, decode_segment, decode_within, query_value};
pub use crate::wire::response::{HttpError, Response, phrase};

/// A request without its body.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, as sent: methods are case-sensitive.
    pub method: String,
    /// The path, undecoded and without the query. Begins with `/`; each `%` in it has its two digits.
    pub path: String,
    /// The query, undecoded and without the `?`; empty if there is none.
    pub query: String,
    /// The header lines. There is exactly one valid Host, and at most one Authorization.
    pub headers: HeaderMap,
}

/// What a request announces after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    None,
    /// That many bytes, at least one.
    Bytes(u64),
    /// Chunks (RFC 9112 section 7.1), of unknown length.
    Chunked,
}

impl Request {
    /// The first value of a header, if it is plain ASCII. Where an unreadable value must not pass for a
    /// missing one, look into [`Request::headers`].
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the request may be one that this machine makes for itself: it names this machine as its host, which
    /// a page of another host does not even when that host's name leads here (DNS rebinding), and no proxy says that
    /// it passed it on.
    #[must_use]
    pub fn is_domestic(&self) -> bool {
        let host = self.header("host").and_then(HostPort::parse);
        let passed_on = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];
        host.is_some_and(|host| is_loopback(&host.name))
            && !passed_on.iter().any(|name| self.headers.contains_key(*name))
    }

    /// The body that the head announces.
    ///
    /// # Errors
    /// 400 or 501 where its length is in doubt; never for a request that [`read_head`] let through.
    pub fn body(&self) -> Result<Body, HttpError> {
        announced_body(&self.headers)
    }

    /// Whether a body follows the head.
    #[must_use]
    pub fn body_announced(&self) -> bool {
        self.body() != Ok(Body::None)
    }
}

/// Reads a request head from the bytes that have come so far: `None` while its end is not among them, else
/// the request and the bytes that its head took. Until the end is there each call costs one search for
/// line feeds in at most [`HEAD_BYTES_MAX`] bytes.
///
/// # Errors
/// 400 for what is malformed or ambiguous, 431 over a bound, 501 for an unknown transfer coding, 505 for a
/// version other than HTTP/1.1.
pub fn read_head(buf: &[u8]) -> Result<Option<(Request, usize)>, HttpError> {
    let Some(len) = find_end(buf)? else { return Ok(None) };
    parse(&buf[..len]).map(|request| Some((request, len)))
}

/// Whether the end of a head may be among `bytes` that came behind those `before`, which do not have it.
#[must_use]
pub fn ends_head(before: &[u8], bytes: &[u8]) -> bool {
    const SIDE: usize = END.len() - 1;
    // What begins before and ends here has at most so many bytes on either side.
    let (mut seam, mut len) = ([0; 2 * SIDE], 0);
    for byte in before[before.len().saturating_sub(SIDE)..].iter().chain(bytes.iter().take(SIDE)) {
        seam[len] = *byte;
        len += 1;
    }
    memmem::find(&seam[..len], END).is_some() || memmem::find(bytes, END).is_some()
}

/// A line's end and an empty line.
const END: &[u8] = b"\r\n\r\n";

/// The length of the head, once its empty line is there.
fn find_end(buf: &[u8]) -> Result<Option<usize>, HttpError> {
    // What does not even begin like a request (a TLS handshake, say) need not wait for the deadline.
    if buf.first().is_some_and(|first| !first.is_ascii_alphabetic() && *first != b'\r') {
        return Err(HttpError::bad_request("this is not an HTTP request"));
    }
    let window = &buf[..buf.len().min(HEAD_BYTES_MAX)];
    let mut line_start = 0;
    let mut lines_count = 0;
    for feed in memchr_iter(b'\n', window) {
        // RFC 9112 section 2.2 lets a recipient take a bare line feed for a line's end; two readers that differ
        // in this see two different heads, so it is refused.
        if feed == 0 || window[feed - 1] != b'\r' {
            return Err(HttpError::bad_request("a line must end with CR LF"));
        }
        let is_empty = feed - 1 == line_start;
        // RFC 9112 section 2.2: an empty line before the request line is ignored.
        if is_empty && lines_count > 0 {
            return Ok(Some(feed + 1));
        }
        lines_count += usize::from(!is_empty);
        if lines_count > HEADERS_COUNT_MAX + 1 {
            return Err(HttpError::HEADER_TOO_LARGE);
        }
        line_start = feed + 1;
    }
    if buf.len() >= HEAD_BYTES_MAX { Err(HttpError::HEADER_TOO_LARGE) } else { Ok(None) }
}

fn parse(head: &[u8]) -> Result<Request, HttpError> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_COUNT_MAX];
    let mut raw = httparse::Request::new(&mut lines);
    match raw.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err(HttpError::bad_request("the request head is malformed")),
        Err(error) => return Err(refusal(error, head)),
    }
    let (Some(method), Some(target), Some(version)) = (raw.method, raw.path, raw.version) else {
        return Err(HttpError::bad_request("the request line is malformed"));
    };
    // RFC 6455 section 4.2.1, 1: HTTP/1.1 or higher. RFC 9110 section 15.6.6: 505 refuses a version, and
    // says more than 400 to who forgot `proxy_http_version 1.1`.
    if version == 0 {
        return Err(VERSION);
    }
    let mut headers = HeaderMap::with_capacity(raw.headers.len());
    for line in raw.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_bytes(line.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(HttpError::bad_request("a header line is malformed"));
        };
        headers.append(name, value);
    }
    check_single(&headers)?;
    announced_body(&headers)?;
    let target = Target::read(target)?;
    if let Some(host) = target.host {
        // RFC 9112 section 3.2.2: with an absolute target the received Host is ignored in favour of it.
        headers.insert(HOST, host);
    }
    Ok(Request { method: method.to_owned(), path: target.path.to_owned(), query: target.query.to_owned(), headers })
}

const VERSION: HttpError = HttpError::new(505, "this server speaks HTTP/1.1");

/// The refusal behind a parser's error.
fn refusal(error: httparse::Error, head: &[u8]) -> HttpError {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => HttpError::HEADER_TOO_LARGE,
        Error::Version if names_a_version(head) => VERSION,
        Error::Version | Error::Token | Error::Status => HttpError::bad_request("the request line is malformed"),
        // RFC 9112 section 5.1: white space before the colon is answered with 400. Section 5.2: so is a
        // folded line, whose leading white space makes it a header without a name here.
        Error::HeaderName => HttpError::bad_request("a header name is malformed, or a header line is folded"),
        Error::HeaderValue => HttpError::bad_request("a header value is malformed"),
        Error::NewLine => HttpError::bad_request("a line must end with CR LF"),
    }
}

/// Whether the request line has three words of which the last is `HTTP/` digit `.` digit (RFC 9112 section 2.3).
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None) = (words.next(), words.next()) else {
        return false;
    };
    major.is_ascii_digit() && minor.is_ascii_digit()
}

/// Refuses doubles of what decides who is asked and who asks.
fn check_single(headers: &HeaderMap) -> Result<(), HttpError> {
    // RFC 9112 section 3.2: 400 for no Host, more than one, or an invalid one.
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(HttpError::bad_request("there must be one Host header"));
    };
    if !host.to_str().is_ok_and(|host| HostPort::parse(host).is_some()) {
        return Err(HttpError::bad_request("the Host header is malformed"));
    }
    // RFC 9110 section 5.3: a header that is no list comes once. Which of two tokens counts is anyone's guess.
    if headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(HttpError::bad_request("there may be one Authorization header"));
    }
    Ok(())
}

/// RFC 9112 section 6: how long the body is, refusing every way in which two readers could differ.
fn announced_body(headers: &HeaderMap) -> Result<Body, HttpError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Body::None),
        // RFC 9112 section 6.1: both together are what request smuggling looks like.
        (Some(_), Some(_)) => {
            Err(HttpError::bad_request("there may be a Content-Length or a Transfer-Encoding, not both"))
        }
        (Some(length), None) => {
            // RFC 9112 section 6.3, 5: a list of equal lengths may be taken for one; it is not here.
            let digits = length.as_bytes();
            let single = lengths.next().is_none() && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let length = length.to_str().ok().filter(|_| single).and_then(|text| text.parse().ok());
            match length.ok_or(HttpError::bad_request("the Content-Length is malformed or repeated"))? {
                0 => Ok(Body::None),
                length => Ok(Body::Bytes(length)),
            }
        }
        (None, Some(coding)) => {
            let coding = coding.as_bytes().trim_ascii();
            if codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked") {
                return Ok(Body::Chunked);
            }
            // RFC 9112 section 6.3, 4: if chunked is not the last coding, the length cannot be known.
            if !coding.to_ascii_lowercase().ends_with(b"chunked") {
                return Err(HttpError::bad_request("the last transfer coding must be chunked"));
            }
            // RFC 9112 section 6.1: 501 for a coding that is not understood.
            Err(HttpError::new(501, "chunked is the only transfer coding here"))
        }
    }
}

/// A request target in parts.
struct Target<'a> {
    path: &'a str,
    query: &'a str,
    /// The authority of an absolute target.
    host: Option<HeaderValue>,
}

impl<'a> Target<'a> {
    fn read(target: &'a str) -> Result<Self, HttpError> {
        let malformed = HttpError::bad_request("the request target is malformed");
        // RFC 3986 section 2: a URI is ASCII; RFC 9112 section 3.2: a target has no fragment.
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(malformed);
        }
        let (host, rest) = if target.starts_with('/') { (None, target) } else { split_absolute(target)? };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        // RFC 9110 section 4.2.3: an empty path of an http URI is the same as "/".
        let path = if path.is_empty() { "/" } else { path };
        if !percent::is_well_formed(path) {
            return Err(HttpError::bad_request("the path is not percent-encoded properly"));
        }
        Ok(Self { path, query, host })
    }
}

/// Splits an absolute target into its authority and the rest. RFC 9112 section 3.2.2: a server accepts the
/// absolute form, though only proxies get it as a rule. Of the other forms, `*` belongs to OPTIONS and
/// `host:port` to CONNECT; neither is served.
fn split_absolute(target: &str) -> Result<(Option<HeaderValue>, &str), HttpError> {
    let refused = HttpError::bad_request("the request target must be a path or an http or ws URI");
    let (scheme, rest) = target.split_once("://").ok_or(refused)?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(refused);
    }
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // RFC 9110 section 4.2: an http URI has a host; userinfo in it is treated as an error.
    if HostPort::parse(authority).is_none() {
        return Err(HttpError::bad_request("the authority of the request target is malformed"));
    }
    let host = HeaderValue::from_str(authority).map_err(|_| refused)?;
    Ok((Some(host), rest))
}

#[cfg(test)]
mod tests;
