//! Which pages may read an HTTP answer: the headers of the Fetch standard (section 3.2), by the rule for origins.
//!
//! The rule is the one for upgrades. No answer depends on cookies, so credentials are never allowed; a bearer token in
//! a header is the page's own. A page that may not read an answer may still have caused it: this guards answers, the
//! token guards everything else.

use tungstenite::http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderName, ORIGIN};

use crate::limits::PREFLIGHT_AGE_S;
use crate::wire::http::{HttpError, Request, Response};
use crate::wire::origin::Origins;

/// The value of `Access-Control-Allow-Origin` for a request, if a page sent it that may read the answer.
#[must_use]
pub fn allowed_origin<'a>(origins: &Origins, request: &'a Request, listening_on_loopback: bool) -> Option<&'a str> {
    let origin = only(request, &ORIGIN)?;
    let host = only(request, &HOST).unwrap_or("");
    origins.allows(Some(origin), host, listening_on_loopback).then_some(origin)
}

/// Whether a page asks what it may send (Fetch section 3.2.2, CORS-preflight request).
#[must_use]
pub fn is_preflight(request: &Request) -> bool {
    request.method == "OPTIONS"
        && request.headers.contains_key(ORIGIN)
        && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight.
///
/// # Errors
/// 403, if the page may not read answers.
pub fn preflight(allowed: Option<&str>) -> Result<Response, HttpError> {
    if allowed.is_none() {
        return Err(HttpError::ORIGIN_REFUSED);
    }
    let response = Response::new(204).header("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE");
    let response = response.header("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID");
    Ok(response.header("Access-Control-Max-Age", &PREFLIGHT_AGE_S.to_string()))
}

/// The header lines that let a page read an answer, as names and values. `Vary` is there for every page: what one of
/// them gets is not what a cache should give another.
pub fn headers(allowed: Option<&str>) -> impl Iterator<Item = (&'static str, &str)> {
    let granted = [("Access-Control-Expose-Headers", "Retry-After")];
    let granted = allowed.map(|origin| ("Access-Control-Allow-Origin", origin)).into_iter().chain(granted);
    granted.filter(move |_| allowed.is_some()).chain([("Vary", "Origin")])
}

/// A header that stands once and can be read.
fn only<'a>(request: &'a Request, name: &HeaderName) -> Option<&'a str> {
    let mut values = request.headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::read_head;

    fn request(method: &str, more: &str) -> Request {
        let head = format!("{method} /health HTTP/1.1\r\nHost: gateway.example.com\r\n{more}\r\n");
        read_head(head.as_bytes()).unwrap().unwrap().0
    }

    fn origins(list: &[&str]) -> Origins {
        Origins::new(&list.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_page_reads_answers_by_the_rule_for_upgrades() {
        let listed = origins(&["https://app.example.com"]);
        for (rule, more, expected) in [
            (&listed, "Origin: https://app.example.com\r\n", Some("https://app.example.com")),
            (&listed, "Origin: https://evil.example.com\r\n", None),
            (&listed, "Origin: https://app.example.com.evil.com\r\n", None),
            (&listed, "Origin: null\r\n", None),
            (&listed, "Origin: https://app.example.com\r\nOrigin: https://evil.example.com\r\n", None),
            (&listed, "", None),
            (&origins(&["*"]), "Origin: https://anywhere.example\r\n", Some("https://anywhere.example")),
            (&origins(&[]), "Origin: https://gateway.example.com\r\n", Some("https://gateway.example.com")),
            (&origins(&[]), "Origin: https://app.example.com\r\n", None),
        ] {
            assert_eq!(allowed_origin(rule, &request("GET", more), false), expected, "{more}");
        }
    }

    #[test]
    fn a_preflight_is_answered_204_or_403() {
        let asks = "Origin: https://app.example.com\r\nAccess-Control-Request-Method: DELETE\r\n";
        for (method, more, expected) in [
            ("OPTIONS", asks, true),
            ("GET", asks, false),
            ("OPTIONS", "Origin: https://app.example.com\r\n", false),
            ("OPTIONS", "Access-Control-Request-Method: DELETE\r\n", false),
        ] {
            assert_eq!(is_preflight(&request(method, more)), expected, "{method} {more}");
        }
        assert_eq!(preflight(None).unwrap_err().status, 403);
        let text = String::from_utf8(preflight(Some("https://app.example.com")).unwrap().encode(false)).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 204 ")
                && text.contains("\r\nAccess-Control-Allow-Methods: GET, HEAD, POST, DELETE\r\n")
        );
        let age = PREFLIGHT_AGE_S;
        assert!(text.contains(&format!("\r\nAccess-Control-Max-Age: {age}\r\n")));
    }

    #[test]
    fn nobody_is_let_in_with_cookies_and_caches_are_told_of_pages() {
        assert_eq!(headers(None).collect::<Vec<_>>(), [("Vary", "Origin")]);
        let granted: Vec<_> = headers(Some("https://a.example")).collect();
        assert!(granted.contains(&("Access-Control-Allow-Origin", "https://a.example")));
        assert!(!granted.iter().any(|(name, _)| name.contains("Credentials")));
    }
}
