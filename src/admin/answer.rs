//! From a request to the bytes of its answer. Pure: the executor around it owns the sockets.

use std::fmt::Write as _;

use super::{Options, exposition};
use crate::wire::cors;

/// The page and what it loads, carried in the binary: it must work from one file and without a network.
const PAGE: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/app.js");
const STYLE: &str = include_str!("page/app.css");
const ICON: &str = include_str!("page/icon.svg");

/// What the page may load and where it may connect: its own origin and nothing else, and nobody frames it.
/// `'self'` covers the WebSocket too (Content Security Policy level 3, section 6.7.2.8).
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The media type of the Prometheus text format.
const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole answer to `method` on `path` (undecoded, without the query), readable by a page of that origin.
pub(super) fn answer(method: &str, path: &str, allowed_origin: Option<&str>, options: &Options) -> Vec<u8> {
    let shared: String = cors::headers(allowed_origin).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let numbers;
    let (media_type, body) = match path {
        "/" => ("text/html; charset=utf-8", PAGE),
        "/app.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "/app.css" => ("text/css; charset=utf-8", STYLE),
        "/icon.svg" => ("image/svg+xml", ICON),
        "/metrics" => {
            numbers = exposition::render(&options.metrics);
            (EXPOSITION_TYPE, numbers.as_str())
        }
        _ => return problem(404, "Not Found", "nothing is served at this path", &shared, method),
    };
    match method {
        "GET" | "HEAD" => encode(200, "OK", media_type, &shared, body, method),
        // RFC 9110 section 15.5.6: a 405 lists what is allowed.
        _ => problem(
            405,
            "Method Not Allowed",
            "this can only be read",
            &format!("Allow: GET, HEAD\r\n{shared}"),
            method,
        ),
    }
}

/// A refusal as RFC 9457 problem JSON. The texts are ours and need no escaping.
fn problem(status: u16, title: &str, detail: &str, extra: &str, method: &str) -> Vec<u8> {
    let body = format!(r#"{{"type":"about:blank","title":"{title}","status":{status},"detail":"{detail}"}}"#);
    encode(status, title, "application/problem+json", extra, &body, method)
}

fn encode(status: u16, reason: &str, media_type: &str, extra: &str, body: &str, method: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} {reason}\r\nContent-Type: {media_type}\r\n");
    let _infallible = write!(head, "Content-Length: {}\r\nConnection: close\r\n{extra}", body.len());
    head.push_str("Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n");
    let _infallible = write!(head, "Content-Security-Policy: {PAGE_POLICY}\r\n\r\n");
    let mut bytes = head.into_bytes();
    // RFC 9110 section 9.3.2: HEAD is answered as GET is, without the content.
    if method != "HEAD" {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn ask(method: &str, path: &str) -> (String, String) {
        let bytes = answer(method, path, None, &Options { metrics: vec![Metrics::shared()] });
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn each_path_has_its_status_and_type() {
        for (method, path, status, media_type) in [
            ("GET", "/", "200 OK", "text/html; charset=utf-8"),
            ("GET", "/app.js", "200 OK", "text/javascript; charset=utf-8"),
            ("GET", "/app.css", "200 OK", "text/css; charset=utf-8"),
            ("GET", "/icon.svg", "200 OK", "image/svg+xml"),
            ("GET", "/metrics", "200 OK", EXPOSITION_TYPE),
            ("GET", "/metrics/", "404 Not Found", "application/problem+json"),
            ("GET", "", "404 Not Found", "application/problem+json"),
            ("GET", "/..%2f", "404 Not Found", "application/problem+json"),
            ("POST", "/metrics", "405 Method Not Allowed", "application/problem+json"),
            ("get", "/", "405 Method Not Allowed", "application/problem+json"),
        ] {
            let (head, body) = ask(method, path);
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{method} {path}: {head}");
            assert!(head.contains(&format!("\r\nContent-Type: {media_type}\r\n")), "{method} {path}: {head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{method} {path}");
            assert_eq!(head.contains("\r\nAllow: GET, HEAD\r\n"), status.starts_with("405"), "{method} {path}");
        }
    }

    #[test]
    fn a_problem_is_json_with_its_status() {
        let (_, body) = ask("GET", "/nothing");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((body["status"].as_u64(), body["type"].as_str()), (Some(404), Some("about:blank")));
    }

    #[test]
    fn head_is_get_without_the_content() {
        for path in ["/", "/metrics", "/nothing"] {
            let (head, body) = ask("HEAD", path);
            assert_eq!((head, body.as_str()), (ask("GET", path).0, ""), "{path}");
        }
    }

    #[test]
    fn the_page_loads_only_what_is_served_and_has_nothing_inline() {
        for reference in ["src=\"", "href=\""] {
            for rest in PAGE.split(reference).skip(1) {
                let target = rest.split('"').next().unwrap();
                assert!(ask("GET", target).0.starts_with("HTTP/1.1 200"), "{target}");
            }
        }
        assert_eq!(PAGE.matches("<script").count(), PAGE.matches("<script type=\"module\" src=").count());
        for inline in ["<style", " style=", " onclick=", " onload=", " onsubmit=", "javascript:", "http://", "https://"]
        {
            assert!(!PAGE.contains(inline), "{inline}");
        }
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("eval("), "text from the wire stays text");
    }
}
