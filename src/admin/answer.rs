//! What does not depend on shards' answers: the page and what it loads, and the numbers as Prometheus reads them.
//! And what every answer has in its head.

use std::sync::Arc;

use super::{exposition, process};
use crate::metrics::Metrics;
use crate::wire::http::Response;

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

/// A file of the page.
pub(super) fn asset(path: &str) -> Response {
    let (media_type, body) = match path {
        "/app.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "/app.css" => ("text/css; charset=utf-8", STYLE),
        "/icon.svg" => ("image/svg+xml", ICON),
        _ => ("text/html; charset=utf-8", PAGE),
    };
    Response::new(200).body(media_type, body)
}

/// All numbers.
pub(super) fn metrics(all: &[Arc<Metrics>]) -> Response {
    Response::new(200).body(EXPOSITION_TYPE, exposition::render(&process::numbers(), all))
}

/// The bytes of an answer to `method`.
pub(super) fn encode(response: Response, method: &str) -> Vec<u8> {
    let response = response
        .header("Cache-Control", "no-store")
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
        .header("Content-Security-Policy", PAGE_POLICY);
    // RFC 9110 section 9.3.2: HEAD is answered as GET is, without the content.
    response.encode(method == "HEAD")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::route::{Access, Route};

    fn ask(path: &str) -> (String, String) {
        let text = String::from_utf8(encode(asset(path), "GET")).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn each_file_has_its_type_and_every_answer_its_policy() {
        for (path, media_type) in [
            ("/", "text/html; charset=utf-8"),
            ("/app.js", "text/javascript; charset=utf-8"),
            ("/app.css", "text/css; charset=utf-8"),
            ("/icon.svg", "image/svg+xml"),
        ] {
            let (head, body) = ask(path);
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
            assert!(head.contains(&format!("\r\nContent-Type: {media_type}\r\n")), "{path}: {head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{path}");
            assert!(head.contains("\r\nContent-Security-Policy: default-src 'none'"), "{path}");
            assert_eq!(encode(asset(path), "HEAD"), [head.as_bytes(), b"\r\n\r\n"].concat(), "{path}");
        }
        let numbers = encode(metrics(&[Metrics::shared()]), "GET");
        assert!(String::from_utf8_lossy(&numbers).contains(EXPOSITION_TYPE));
    }

    #[test]
    fn the_page_loads_only_what_is_served_and_has_nothing_inline() {
        for reference in ["src=\"", "href=\""] {
            for rest in PAGE.split(reference).skip(1) {
                let target = rest.split('"').next().unwrap();
                let served = Route::find(target).is_ok_and(|route| route.access() == Access::Public);
                assert!(served, "{target}");
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
