//! Which pages may connect, and which may read an answer, by a configured list.

use std::fs;

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway};
use crate::raw::{Answer, ask};

const LIST: &str = r#"allowed = ["https://app.example.com", "http://localhost:3000"]"#;

fn configured(origins: &str) -> Gateway {
    let place = Directory::new();
    let file = place.path().join("gateway.toml");
    fs::write(&file, format!("[origins]\n{origins}\n")).unwrap();
    Gateway::within(&place, &["--shards", "1", "--config", file.to_str().unwrap()])
}

fn asked(gateway: &Gateway, method: &str, path: &str, more: &str) -> Answer {
    ask(gateway, &format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", gateway.address))
}

#[test]
fn a_listed_page_connects_and_no_other_that_looks_like_it() {
    let gateway = configured(LIST);
    let mut refused = 0;
    for (origin, good) in [
        ("https://app.example.com", true),
        ("https://APP.example.com:443", true),
        ("http://localhost:3000", true),
        ("http://app.example.com", false),
        ("https://app.example.com:8443", false),
        ("https://evil.app.example.com", false),
        ("https://example.com", false),
        ("https://app.example.com.evil.com", false),
        ("https://evilapp.example.com", false),
        ("https://app.example.com@evil.com", false),
        ("http://localhost", false),
        ("http://127.0.0.1:3000", false),
        ("file://", false),
        ("null", false),
        ("*", false),
    ] {
        match Client::try_open(&gateway, "/ws", &[("Origin", origin)]) {
            Ok(_) => assert!(good, "{origin}"),
            Err((status, body)) => {
                let body: Value = serde_json::from_str(&body).unwrap();
                assert!(!good && status == 403 && body["status"] == 403, "{origin}: {body}");
                assert_eq!((&body["type"], &body["title"]), (&json!("about:blank"), &json!("Forbidden")));
                refused += 1;
            }
        }
    }
    assert_eq!(gateway.metric("waystation_refused_total", "reason=\"origin\""), refused);
    assert!(Client::try_open(&gateway, "/ws", &[]).is_ok(), "only browsers send an Origin");
}

#[test]
fn a_request_without_an_origin_is_refused_where_one_is_required() {
    let gateway = configured(&format!("{LIST}\nrequired = true"));
    assert_eq!(Client::try_open(&gateway, "/ws", &[]).unwrap_err().0, 403);
    assert!(Client::try_open(&gateway, "/ws", &[("Origin", "https://app.example.com")]).is_ok());
    assert_eq!(asked(&gateway, "GET", "/health", "").status, 200, "probes are no pages");
}

#[test]
fn a_star_that_is_configured_lets_every_page_in() {
    let gateway = configured(r#"allowed = ["*"]"#);
    for origin in ["https://anywhere.example", "null"] {
        assert!(Client::try_open(&gateway, "/ws", &[("Origin", origin)]).is_ok(), "{origin}");
    }
}

#[test]
fn a_listed_page_may_read_every_answer_and_another_none() {
    let gateway = configured(LIST);
    for (method, path, status) in [
        ("GET", "/health", 200),
        ("HEAD", "/api/health", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 401),
        ("GET", "/api/ws/health", 200),
        ("GET", "/nothing", 404),
        ("DELETE", "/health", 405),
        ("POST", "/metrics", 405),
        ("GET", "/ws/chat/s", 426),
    ] {
        for (more, readable) in [
            ("Origin: https://app.example.com\r\n", Some("https://app.example.com")),
            ("Origin: https://app.example.com.evil.com\r\n", None),
            ("", None),
        ] {
            let answer = asked(&gateway, method, path, more);
            assert_eq!(answer.status, status, "{method} {path}");
            assert_eq!(answer.header("Access-Control-Allow-Origin"), readable, "{method} {path} {more}");
            assert_eq!(answer.header("Vary"), Some("Origin"), "{method} {path}");
            assert_eq!(answer.header("Access-Control-Allow-Credentials"), None);
        }
    }
}

#[test]
fn a_preflight_is_answered_204_to_a_listed_page_and_403_to_another() {
    let gateway = configured(LIST);
    for path in ["/health", "/api/ws/connections/7", "/metrics", "/ws/chat/s"] {
        let from = |origin: &str| {
            let more = format!(
                "Origin: {origin}\r\nAccess-Control-Request-Method: DELETE\r\n\
                 Access-Control-Request-Headers: authorization\r\n"
            );
            asked(&gateway, "OPTIONS", path, &more)
        };
        let answer = from("https://app.example.com");
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("https://app.example.com"));
        assert!(answer.header("Access-Control-Allow-Methods").unwrap().contains("DELETE"));
        assert!(answer.header("Access-Control-Allow-Headers").unwrap().contains("Authorization"));
        let answer = from("https://evil.example.com");
        assert_eq!((answer.status, answer.header("Access-Control-Allow-Origin")), (403, None), "{path}");
    }
}
