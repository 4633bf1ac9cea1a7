//! HTTP responses: what is sent instead of a 101, and what the HTTP surface answers.
//!
//! Every response closes the connection, so nothing here frames a second one. A header that could break
//! the response apart cannot be put in. Absent: Date, ranges, compression.

use serde::Serialize;
use tungstenite::http::{HeaderName, HeaderValue, StatusCode};

use crate::code::ErrorCode;
use crate::limits::RETRY_AFTER_S;

/// Why a request was refused. It becomes a problem document (RFC 9457).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpError {
    /// The status of the response.
    pub status: u16,
    /// The problem's `detail`: what is wrong, in one sentence without a full stop.
    pub reason: &'static str,
}

impl HttpError {
    /// No or a bad token.
    pub const UNAUTHORIZED: Self = Self::new(401, "a valid bearer token is required");
    /// The origin is not on the list.
    pub const ORIGIN_REFUSED: Self = Self::new(403, "this origin is not allowed");
    /// Not allowed to do that.
    pub const FORBIDDEN: Self = Self::new(403, "the token does not permit this");
    /// Nothing lives at this path.
    pub const NOT_FOUND: Self = Self::new(404, "there is nothing at this path");
    /// Over a rate of requests.
    pub const TOO_MANY_REQUESTS: Self = Self::new(429, "too many requests, try again later");
    /// Over a bound on the head.
    pub const HEADER_TOO_LARGE: Self = Self::new(431, "the request head is over 8192 bytes or 64 header lines");
    /// Our fault.
    pub const INTERNAL: Self = Self::new(500, "the server failed to answer this request");
    /// Full, or draining.
    pub const UNAVAILABLE: Self = Self::new(503, "the server takes no more work at the moment, try again later");

    /// A refusal with a text of its own.
    #[must_use]
    pub const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// The request is malformed.
    #[must_use]
    pub const fn bad_request(reason: &'static str) -> Self {
        Self::new(400, reason)
    }

    /// The response that says so, with the headers that its status calls for.
    #[must_use]
    pub fn response(&self) -> Response {
        let title = phrase(self.status);
        let problem =
            Problem { kind: "about:blank", title, status: self.status, detail: self.reason, code: code(self.status) };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let response = Response::new(self.status).body("application/problem+json", body);
        match self.status {
            // RFC 6750 section 3: a refused bearer token is answered with the scheme that is wanted.
            401 => response.header("WWW-Authenticate", "Bearer"),
            // RFC 9110 section 15.5.6: Allow is a must. WebSocket endpoints know GET; others name theirs.
            405 => response.header("Allow", "GET"),
            // RFC 9110 section 15.5.22 and RFC 6455 section 4.2.2: the protocol and the version that are wanted.
            426 => response.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13"),
            429 | 503 => response.header("Retry-After", &RETRY_AFTER_S.to_string()),
            _ => response,
        }
    }
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    content_type: &'static str,
    /// Each name once, in the order of their first mention.
    headers: Vec<(&'static str, HeaderValue)>,
    body: Vec<u8>,
}

impl Response {
    /// A response without a body.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self { status, content_type: "", headers: Vec::new(), body: Vec::new() }
    }

    /// A response with a JSON body.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status).body("application/json", body)
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.content_type = content_type;
        self.body = body.into();
        self
    }

    /// Sets a header, in place of an earlier one of that name. `Connection`, `Content-Length` and
    /// `Content-Type` are the encoder's own. A value or name that HTTP cannot carry is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let Ok(value) = HeaderValue::from_str(value) else { return self };
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return self;
        }
        match self.headers.iter_mut().find(|(set, _)| set.eq_ignore_ascii_case(name)) {
            Some(place) => place.1 = value,
            None => self.headers.push((name, value)),
        }
        self
    }

    /// Adds to a header that is a list, such as `Vary`.
    #[must_use]
    pub fn add(self, name: &'static str, value: &str) -> Self {
        let present = self.headers.iter().find(|(set, _)| set.eq_ignore_ascii_case(name));
        let joined = present.and_then(|(_, present)| Some(format!("{}, {value}", present.to_str().ok()?)));
        self.header(name, joined.as_deref().unwrap_or(value))
    }

    /// Sets a header unless it is set.
    #[must_use]
    pub fn default_header(self, name: &'static str, value: &str) -> Self {
        let is_set = self.headers.iter().any(|(set, _)| set.eq_ignore_ascii_case(name));
        if is_set { self } else { self.header(name, value) }
    }

    /// The bytes on the wire. With `head_only`, for HEAD, the head is the same and the body is left out.
    #[must_use]
    pub fn encode(&self, head_only: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status)).into_bytes();
        if !self.content_type.is_empty() {
            line(&mut head, "Content-Type", self.content_type.as_bytes());
        }
        // RFC 9110 section 8.6: no Content-Length in a 204, and in a 304 only that of the content that it spares.
        if !matches!(self.status, 204 | 304) {
            line(&mut head, "Content-Length", self.body.len().to_string().as_bytes());
        }
        for (name, value) in &self.headers {
            line(&mut head, name, value.as_bytes());
        }
        // RFC 9110 section 7.8: who sends Upgrade names it in Connection, so that proxies do not pass it on.
        let upgrades = self.headers.iter().any(|(name, _)| *name == "Upgrade");
        line(&mut head, "Connection", if upgrades { b"Upgrade, close" } else { b"close" });
        head.extend_from_slice(b"\r\n");
        if !head_only && !matches!(self.status, 204 | 304) {
            head.extend_from_slice(&self.body);
        }
        head
    }
}

/// The members of RFC 9457 section 3.1 that are in use.
#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    /// Ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

/// The code of ours that says what a status says.
fn code(status: u16) -> Option<&'static str> {
    let code = match status {
        401 => ErrorCode::AuthFailed,
        403 => ErrorCode::PermissionDenied,
        429 => ErrorCode::RateLimitExceeded,
        503 => ErrorCode::Overloaded,
        _ => return None,
    };
    Some(code.name())
}

/// The reason phrase of a status; empty if it has none.
#[must_use]
pub fn phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}

fn line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn text(response: &Response) -> String {
        String::from_utf8(response.encode(false)).unwrap().replace('\r', "")
    }

    #[test]
    fn a_refusal_is_a_problem_document() {
        expect![[r#"
            HTTP/1.1 400 Bad Request
            Content-Type: application/problem+json
            Content-Length: 80
            Connection: close

            {"type":"about:blank","title":"Bad Request","status":400,"detail":"no \"host\""}"#]]
        .assert_eq(&text(&HttpError::bad_request("no \"host\"").response()));
    }

    #[test]
    fn each_status_brings_the_headers_that_it_calls_for() {
        let check = |status: u16, lines: &[&str]| {
            let text = text(&HttpError::new(status, "x").response());
            for line in lines {
                assert!(text.contains(&format!("\n{line}\n")), "{status}: {line} in {text}");
            }
        };
        check(401, &["WWW-Authenticate: Bearer", "Connection: close"]);
        check(405, &["Allow: GET"]);
        check(426, &["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Connection: Upgrade, close"]);
        let retry_after = ["Retry-After: ", &RETRY_AFTER_S.to_string()].concat();
        check(429, &[&retry_after]);
        check(503, &[&retry_after]);
    }

    #[test]
    fn a_head_announces_the_body_that_it_leaves_out() {
        let response = Response::json(200, "{}");
        let (whole, head) = (response.encode(false), response.encode(true));
        assert_eq!(whole, [head.as_slice(), b"{}"].concat());
        for status in [204, 304] {
            assert!(!text(&Response::new(status)).contains("Content-Length"), "{status}");
        }
    }

    #[test]
    fn a_later_header_replaces_an_earlier_one_and_none_can_split_the_response() {
        let response = Response::new(200).header("Allow", "GET").header("allow", "POST").header("X-A", "a\r\nX-B: b");
        let text = text(&response.header("X:C", "c"));
        assert!(text.contains("Allow: POST\n") && !text.contains("GET") && !text.contains("X-"), "{text}");
        assert!(!text.contains("X:C"));
    }

    #[test]
    fn a_list_grows_and_a_default_gives_way() {
        let response = Response::new(200).add("Vary", "Origin").add("vary", "Accept-Encoding");
        let response = response.default_header("vary", "*").default_header("Allow", "GET");
        let text = text(&response);
        assert!(text.contains("Vary: Origin, Accept-Encoding\n"), "{text}");
        assert!(text.contains("Allow: GET\n") && !text.contains('*'), "{text}");
    }
}
