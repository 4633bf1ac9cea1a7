//! What does not depend on shards' answers, the numbers as Prometheus reads them, and what every answer has in its head.

use std::sync::Arc;

use super::{exposition, process};
use crate::mesh::{Lost, Traffic};
use crate::metrics::Metrics;
use crate::metrics::store::StoreNumbers;
use crate::wire::http::Response;

/// What the page may load and where it may connect: its own origin and nothing else, and nobody frames it.
/// `'self'` covers the WebSocket too (Content Security Policy level 3, section 6.7.2.8). No text becomes markup or
/// script: with Trusted Types and no policy for them the browser itself refuses it.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// The media type of the Prometheus text format.
const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All numbers.
pub(super) fn metrics(all: &[Arc<Metrics>], lost: &Lost, beside: (&[Arc<Traffic>], Option<&StoreNumbers>)) -> Response {
    let process: Vec<_> = process::numbers().into_iter().chain(process::lost(lost)).collect();
    Response::new(200).body(EXPOSITION_TYPE, exposition::render(&process, all, beside))
}

/// The bytes of an answer to `method`.
pub(super) fn encode(response: Response, method: &str) -> Vec<u8> {
    let response = response
        .default_header("Cache-Control", "no-store")
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
        .header("Content-Security-Policy", PAGE_POLICY);
    // RFC 9110 section 9.3.2: HEAD is answered as GET is, without the content.
    response.encode(method == "HEAD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_the_policy_and_is_kept_by_nobody_unless_it_says_so() {
        let numbers = encode(metrics(&[Metrics::shared()], &Lost::default(), (&[], None)), "GET");
        let numbers = String::from_utf8(numbers).unwrap();
        for line in [
            &format!("Content-Type: {EXPOSITION_TYPE}"),
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: no-referrer",
            &format!("Content-Security-Policy: {PAGE_POLICY}"),
        ] {
            assert!(numbers.contains(&format!("\r\n{line}\r\n")), "{line}");
        }
        let kept = encode(Response::new(200).header("Cache-Control", "no-cache"), "HEAD");
        assert!(!String::from_utf8(kept).unwrap().contains("no-store"));
    }
}
