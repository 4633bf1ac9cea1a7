//! What is served without a WebSocket: health, readiness, numbers, the page, and a refusal for the rest.
//! Asked for with bytes, so that a missing or doubled head would be seen.

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::Gateway;
use crate::raw::{Raw, ask, get};

#[test]
fn health_and_readiness_are_answered_to_get_and_head() {
    let gateway = Gateway::start();
    for (path, body) in [
        ("/health", r#"{"status":"healthy"}"#),
        ("/api/health", r#"{"status":"healthy"}"#),
        ("/readyz", r#"{"status":"ready"}"#),
    ] {
        let answer = get(&gateway, "GET", path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{path}");
        let head = get(&gateway, "HEAD", path);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("Content-Length"), Some(body.len().to_string().as_str()), "{path}");
        assert_eq!(get(&gateway, "DELETE", path).status, 405, "{path}");
    }
}

#[test]
fn the_page_is_served_with_what_it_loads_and_an_unknown_path_is_not() {
    let gateway = Gateway::start();
    for (path, kind, word) in [
        ("/", "text/html", "<html"),
        ("/page/link.js", "text/javascript", "WebSocket"),
        ("/page/page.css", "text/css", "{"),
    ] {
        let answer = get(&gateway, "GET", path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("Content-Type").is_some_and(|value| value.starts_with(kind)), "{path}");
        assert!(answer.body.contains(word), "{path}");
        assert_eq!(answer.header("Content-Length"), Some(answer.body.len().to_string().as_str()), "{path}");
    }
    for path in ["/nothing", "/ws/", "/api", "/../etc/passwd", "/metrics/x"] {
        let answer = get(&gateway, "GET", path);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &body["status"]), (404, &json!(404)), "{path}");
    }
    let port = gateway.address.port();
    let body_announced = format!("POST /nothing HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(ask(&gateway, &body_announced).status, 404);
}

#[test]
fn every_metric_has_a_proper_name_and_a_number() {
    // A store's numbers are the process's too.
    let gateway = Gateway::in_memory(&["--shards", "2"]);
    let answer = gateway.metrics();
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut families = std::collections::HashSet::new();
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').unwrap();
            assert!(families.insert(family.to_owned()), "{family} stands twice");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            // What the kernel says of the process is of no shard, under the names that everybody has; nor are the logs.
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let of_process = name.starts_with("process_")
                || name == "waystation_log_lost_total"
                || name == "waystation_audit_lost_total";
            assert!(name.starts_with("process_") || name.starts_with("waystation_"), "{line}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
            assert_eq!(labels.contains('='), !of_process, "{line}");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(families.contains(family) || families.contains(name), "{line} comes before its type");
        }
    }
    assert!(families.len() > 20, "{families:?}");
    let processes = families.iter().filter(|family| family.starts_with("process_"));
    assert_eq!(processes.count(), 7, "{families:?}");
}

#[test]
fn the_numbers_follow_what_happens() {
    let gateway = Gateway::start();
    assert_eq!(gateway.metric("waystation_connections", ""), 0);
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    ada.send(&json!({ "type": "chat_message", "payload": { "content": "hello" } }));
    ada.event_of("chat_message");
    ada.send_text("no JSON");
    ada.event_of("connection_error");
    for (name, labels, expected) in [
        ("waystation_connections", "", 1),
        ("waystation_memberships", "", 1),
        ("waystation_channels", "", 1),
        ("waystation_upgraded_total", "", 1),
        ("waystation_authenticated_total", "", 1),
        ("waystation_published_total", "", 1),
        ("waystation_delivered_total", "", 1),
        ("waystation_messages_received_total", "", 3),
        ("waystation_refused_total", "reason=\"invalid\"", 1),
        ("waystation_refused_total", "reason=\"token\"", 0),
        ("waystation_outbox_bytes", "", 0),
    ] {
        assert_eq!(gateway.metric(name, labels), expected, "{name} {labels}");
    }
    ada.close();
    ada.closing();
    assert_eq!(gateway.metric("waystation_connections", ""), 0);
    assert_eq!(gateway.metric("waystation_memberships", ""), 0);
    assert_eq!(gateway.metric("waystation_closed_total", "reason=\"normal\""), 1);
}

#[test]
fn an_answer_ends_the_connection_and_nothing_after_the_request_is_answered() {
    let gateway = Gateway::start();
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address);
    let mut client = Raw::connect(&gateway);
    client.write(request.repeat(3).as_bytes());
    let text = String::from_utf8(client.rest()).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 1, "{text}");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
}
