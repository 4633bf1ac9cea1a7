//! The opening handshake: every endpoint opens under both prefixes, every bad request gets its status and
//! no upgrade, and how the bytes are cut into segments does not matter. Bad requests are sent as bytes, since
//! no WebSocket library would write them.

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::Gateway;
use crate::raw::{self, Raw, text_frame, upgrade_head};

#[test]
fn every_endpoint_opens_under_both_prefixes() {
    let gateway = Gateway::with(&["--shards", "2", "--echo"]);
    let token = gateway.token("ada");
    for path in ["/ws", "/ws/chat/s-1", "/ws/chat/caf%C3%A9%2F1", "/ws/trips/7/collab"] {
        for prefix in ["", "/api"] {
            Client::join(&gateway, &format!("{prefix}{path}"), &token);
        }
    }
    for path in ["/echo", "/api/echo"] {
        let mut client = Client::open(&gateway, path);
        client.send_text("who?");
        assert_eq!(client.text(), "who?");
    }
    assert_eq!(gateway.metric("waystation_upgraded_total", ""), 10);
}

#[test]
fn the_echo_endpoint_is_not_there_unless_it_was_asked_for() {
    let gateway = Gateway::start();
    assert_eq!(Client::try_open(&gateway, "/echo", &[]).unwrap_err().0, 404);
}

#[test]
fn an_id_has_one_to_128_bytes_after_decoding() {
    let gateway = Gateway::start();
    let (longest, longer) = ("x".repeat(128), "x".repeat(129));
    let encoded = "%C3%A9".repeat(64);
    for (id, status) in [
        (longest.as_str(), 101),
        (&encoded, 101),
        (&longer, 400),
        ("", 400),
        ("%00", 400),
        ("%0a", 400),
        ("%ff", 400),
        ("%zz", 400),
        ("%4", 400),
    ] {
        for path in [format!("/ws/chat/{id}"), format!("/api/ws/trips/{id}/collab")] {
            let outcome = Client::try_open(&gateway, &path, &[]).map_or_else(|(status, _)| status, |_| 101);
            assert_eq!(outcome, status, "{path}");
        }
    }
}

/// Sends a proper request after one change, and expects a status.
fn check(gateway: &Gateway, from: &str, to: &str, status: u16) -> raw::Answer {
    let head = upgrade_head(gateway, "/ws/chat/s", "");
    let host = gateway.address.to_string();
    let changed = head.replacen(&from.replace("{host}", &host), &to.replace("{host}", &host), 1);
    assert_ne!(head, changed, "{from:?} is not in the request");
    let answer = raw::ask(gateway, &changed);
    assert_eq!(answer.status, status, "{from:?} -> {to:?}: {answer:?}");
    answer
}

#[test]
fn each_bad_request_has_its_status_and_is_not_upgraded() {
    let gateway = Gateway::start();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (from, to, status) in [
        // RFC 9110 section 15.5.5 and 15.5.6.
        ("/ws/chat/s", "/ws/chats/s", 404),
        ("/ws/chat/s", "/ws/chat", 404),
        ("GET ", "POST ", 405),
        // RFC 6455 section 4.2.1 and 4.2.2.
        ("Upgrade: websocket\r\n", "", 426),
        ("Upgrade: websocket\r\n", "Upgrade: h2c\r\n", 426),
        ("Connection: Upgrade\r\n", "", 426),
        ("Connection: Upgrade\r\n", "Connection: keep-alive\r\n", 426),
        ("Version: 13", "Version: 12", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 400),
        ("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n", 400),
        (key, "", 400),
        (key, &key.repeat(2), 400),
        (key, "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n", 400),
        (key, "Sec-WebSocket-Key: ???\r\n", 400),
        // RFC 9112 section 3.2.
        ("Host: {host}\r\n", "", 400),
        ("Host: {host}\r\n", "Host: {host}\r\nHost: {host}\r\n", 400),
        ("Host: {host}\r\n", "Host: a b\r\n", 400),
        // RFC 9112 sections 2.2, 2.3, 5.1 and 6.3.
        ("\r\nUpgrade", "\nUpgrade", 400),
        ("HTTP/1.1", "HTTP/1.0", 505),
        ("HTTP/1.1", "HTTP/2.0", 505),
        ("HTTP/1.1", "HTTP/x", 400),
        ("Upgrade: websocket", "Upgrade : websocket", 400),
        (key, &format!("{key}Content-Length: 5\r\n"), 400),
        (key, &format!("{key}Transfer-Encoding: chunked\r\n"), 400),
        (key, &format!("{key}Content-Length: 5\r\nContent-Length: 6\r\n"), 400),
        // The bounds of a head.
        (key, &format!("{key}X: {}\r\n", "x".repeat(8 * 1024)), 431),
        (key, &format!("{key}{}", "X: y\r\n".repeat(70)), 431),
        // Proper, in other words.
        ("Connection: Upgrade", "Connection: keep-alive, UPGRADE", 101),
        ("Upgrade: websocket", "upgrade: WebSocket", 101),
        ("/ws/chat/s", "http://{host}/ws/chat/s", 101),
    ] {
        check(&gateway, from, to, status);
    }
    assert_eq!(check(&gateway, "Version: 13", "Version: 8", 426).header("Sec-WebSocket-Version"), Some("13"));
    let refused = check(&gateway, "Upgrade: websocket\r\n", "", 426);
    assert!(refused.header("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")), "{refused:?}");
    let allowed = check(&gateway, "GET ", "POST ", 405);
    assert!(allowed.header("Allow").is_some_and(|value| value.contains("GET")), "{allowed:?}");
    assert_eq!(gateway.metric("waystation_connections", ""), 0);
}

#[test]
fn a_head_of_8_kib_passes_and_one_byte_more_does_not() {
    let gateway = Gateway::start();
    let empty = upgrade_head(&gateway, "/ws", "X: \r\n").len();
    for (bytes, status) in [(8191, 101), (8192, 101), (8193, 431)] {
        let head = upgrade_head(&gateway, "/ws", &format!("X: {}\r\n", "x".repeat(bytes - empty)));
        assert_eq!(head.len(), bytes);
        assert_eq!(raw::ask(&gateway, &head).status, status, "{bytes}");
    }
}

#[test]
fn a_bad_token_is_a_401_with_a_json_body_wherever_it_stands() {
    let gateway = Gateway::start();
    for (path, header) in [
        ("/ws/chat/s?token=no", None),
        ("/ws?token=", None),
        ("/ws", Some(("Authorization", "Bearer no.no.no"))),
        ("/ws", Some(("Authorization", "Basic YTpi"))),
        ("/ws", Some(("Sec-WebSocket-Protocol", "bearer.no, waystation.v1.json"))),
    ] {
        let headers: Vec<_> = header.into_iter().collect();
        let (status, _) = Client::try_open(&gateway, path, &headers).unwrap_err();
        assert_eq!(status, 401, "{path} {header:?}");
    }
    let refused = raw::ask(&gateway, &upgrade_head(&gateway, "/ws?token=no", ""));
    assert!(refused.header("Content-Type").is_some_and(|kind| kind.contains("json")), "{refused:?}");
    let body: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(body["status"], 401, "{body}");
    assert!(!refused.body.contains("token=no"), "a token is never repeated");
}

#[test]
fn only_pages_of_the_own_host_and_of_loopback_may_open_one() {
    let gateway = Gateway::start();
    let port = gateway.address.port();
    let own = format!("http://127.0.0.1:{port}");
    for (origin, good) in [
        (own.as_str(), true),
        ("http://localhost:3000", true),
        ("https://[::1]", true),
        ("http://127.0.0.1.example.com", false),
        ("http://localhost.example.com:3000", false),
        ("https://example.com", false),
        ("http://user@127.0.0.1", false),
        ("null", false),
        ("", false),
    ] {
        let outcome = Client::try_open(&gateway, "/ws", &[("Origin", origin)]);
        assert_eq!(outcome.map(|_| ()).map_err(|(status, _)| status), if good { Ok(()) } else { Err(403) }, "{origin}");
    }
    assert_eq!(gateway.metric("waystation_refused_total", "reason=\"origin\""), 6);
}

#[test]
fn a_sub_protocol_is_chosen_among_the_offered_and_never_one_with_a_token() {
    let gateway = Gateway::start();
    let token = gateway.token("ada");
    let bearer = format!("bearer.{token}");
    for (offered, chosen) in [
        (vec!["waystation.v1.json"], Some("waystation.v1.json")),
        (vec!["graphql", "waystation.v1.json"], Some("waystation.v1.json")),
        (vec!["graphql", "other"], Some("graphql")),
        (vec![bearer.as_str(), "waystation.v1.json"], Some("waystation.v1.json")),
        (vec![bearer.as_str(), "mine"], Some("mine")),
        (vec![], None),
    ] {
        let line = offered.join(", ");
        let headers: Vec<_> =
            (!line.is_empty()).then_some(("Sec-WebSocket-Protocol", line.as_str())).into_iter().collect();
        let mut client = Client::try_open(&gateway, "/ws", &headers).unwrap();
        assert_eq!(client.protocol.as_deref(), chosen, "{line}");
        if line.contains("bearer.") {
            assert_eq!(client.event()["type"], "connection_established");
        }
    }
}

#[test]
fn a_head_may_come_byte_by_byte_and_so_may_the_frames_after_it() {
    let gateway = Gateway::start();
    let token = gateway.token("ada");
    let mut bytes = upgrade_head(&gateway, "/ws/chat/s", "").into_bytes();
    bytes.extend(text_frame(&json!({ "token": token }).to_string()));
    let mut client = Raw::connect(&gateway);
    for byte in bytes {
        client.write(&[byte]);
    }
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert!(client.text().starts_with(r#"{"success":true"#));
}

#[test]
fn frames_that_come_with_the_head_are_kept_however_the_bytes_are_cut() {
    // Two shards: half of the sessions are handed over with the bytes that were read too much.
    let gateway = Gateway::with(&["--shards", "2"]);
    let token = gateway.token("ada");
    let auth = text_frame(&json!({ "token": token }).to_string());
    let chat = text_frame(&json!({ "type": "chat_message", "payload": { "content": "early" } }).to_string());
    for session in 0..8 {
        let head = upgrade_head(&gateway, &format!("/ws/chat/s-{session}"), "");
        let bytes = [head.as_bytes(), &auth, &chat].concat();
        for cut in [bytes.len(), head.len(), head.len() - 1, head.len() + 1, head.len() + auth.len() + 3] {
            let mut client = Raw::connect(&gateway);
            client.write(&bytes[..cut]);
            client.write(&bytes[cut..]);
            assert!(client.head().starts_with("HTTP/1.1 101 "));
            assert!(client.text().starts_with(r#"{"success":true"#));
            let told: Vec<Value> = (0..3).map(|_| serde_json::from_str(&client.text()).unwrap()).collect();
            assert_eq!(told[0]["type"], "connection_established");
            assert_eq!(told[1]["type"], "subscribed");
            assert_eq!(told[2]["payload"]["content"], "early");
        }
    }
    let handed_over = gateway.metric("waystation_handed_over_total", "");
    assert!(handed_over > 0, "no session was at home on the other shard");
}
