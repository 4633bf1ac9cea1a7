//! How many sockets a refusal costs: a client that reconnects by the rules of the seeds' shipped one, against every
//! refusal that it can meet. Its pauses are left out; they only spread the same sockets over time.
//!
//! The rules (wire facts 1.2 and 1.11): after `success:false` and a close it stops; after `success:false` without a
//! close it opens five more; a reply with a `null` in it is no reply; once it was connected it comes back after every
//! close code but 1000, at most five times between two successes.

use serde_json::{Value, json};

use crate::client::{Client, Seen, has_null};
use crate::gateway::{Gateway, SOON};

const ATTEMPTS_MAX: usize = 5;
/// More than any test here should see: a loop is told from a number.
const SOCKETS_MAX: usize = 12;

/// What became of one socket.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Connected, and closed later with this code.
    Connected(u16),
    /// Told `success:false` and closed.
    Refused(u16),
    /// Told `success:false` and left open, or told what it does not understand.
    Confused,
    /// No WebSocket.
    NotOpened(u16),
}

fn one_socket(gateway: &Gateway, path: &str, auth: &Value) -> Outcome {
    let mut client = match Client::try_open(gateway, path, &[]) {
        Ok(client) => client,
        Err((status, _)) => return Outcome::NotOpened(status),
    };
    client.set_patience(SOON);
    client.send(auth);
    let (mut connected, mut refused) = (false, false);
    loop {
        match client.next() {
            Seen::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                let Some(success) = frame.get("success") else { continue };
                if has_null(&frame) || !frame["connection_id"].is_string() {
                    return Outcome::Confused;
                }
                connected |= *success == json!(true);
                refused |= *success == json!(false);
            }
            Seen::Close(code, _) => {
                let code = code.unwrap_or(1005);
                return match (connected, refused) {
                    (true, false) => Outcome::Connected(code),
                    (_, true) => Outcome::Refused(code),
                    (false, false) => Outcome::Confused,
                };
            }
            Seen::End => return Outcome::Confused,
            _ => {}
        }
    }
}

/// The sockets of a client that is left to itself, by what became of each.
fn left_to_itself(gateway: &Gateway, path: &str, auth: &Value) -> Vec<Outcome> {
    let (mut sockets, mut attempts, mut was_connected) = (Vec::new(), 0, false);
    while sockets.len() < SOCKETS_MAX {
        let outcome = one_socket(gateway, path, auth);
        let again = match &outcome {
            Outcome::Connected(1000) | Outcome::Refused(_) => false,
            Outcome::Connected(_) => {
                (attempts, was_connected) = (0, true);
                true
            }
            Outcome::Confused => true,
            Outcome::NotOpened(_) => was_connected,
        };
        sockets.push(outcome);
        attempts += 1;
        if !again || attempts > ATTEMPTS_MAX {
            break;
        }
    }
    sockets
}

#[test]
fn a_refusal_costs_a_shipped_client_one_socket() {
    let gateway = Gateway::start();
    let (ada, other) = (gateway.token("ada"), Gateway::start().token("ada"));
    let narrow = gateway.token_with("ada", &["--caps", r#"{"chat:mine":["subscribe"]}"#]);
    for (name, path, auth, code) in [
        ("no token of anybody", "/api/ws/chat/s", json!({ "token": "no", "session_id": "s" }), 4001),
        ("another server's token", "/api/ws/chat/s", json!({ "token": other, "session_id": "s" }), 4001),
        ("a token that is no text", "/api/ws/chat/s", json!({ "token": 7 }), 4000),
        ("no token", "/api/ws/chat/s", json!({ "channels": ["session:s"] }), 4000),
        ("another frame", "/api/ws/chat/s", json!({ "type": "chat_message", "payload": { "content": "x" } }), 4000),
        (
            "another user's status",
            "/api/ws/agent-status/bob",
            json!({ "token": ada, "channels": ["agent_status:bob"] }),
            4003,
        ),
        ("another user's notifications", "/api/ws/notifications/bob", json!({ "token": ada }), 4003),
        ("a session that the token does not permit", "/api/ws/chat/other", json!({ "token": narrow }), 4003),
    ] {
        assert_eq!(left_to_itself(&gateway, path, &auth), [Outcome::Refused(code)], "{name}");
    }
    for (name, path, status) in [
        ("a bad token in the path", "/api/ws/chat/s?token=no", 401),
        ("another user's, before the upgrade", &format!("/api/ws/agent-status/bob?token={ada}"), 403),
        ("no such endpoint", "/api/ws/chat", 404),
        ("no such id", "/api/ws/chat/%00", 400),
    ] {
        assert_eq!(left_to_itself(&gateway, path, &json!({ "token": ada })), [Outcome::NotOpened(status)], "{name}");
    }
}

#[test]
fn a_token_that_ends_costs_one_socket_more_and_no_loop() {
    let gateway = Gateway::start();
    let short = gateway.token_with("ada", &["--ttl", "8s"]);
    let auth = json!({ "token": short, "session_id": "s", "channels": ["session:s"] });
    let sockets = left_to_itself(&gateway, "/api/ws/chat/s", &auth);
    assert_eq!(sockets, [Outcome::Connected(4001), Outcome::Refused(4001)]);
}

#[test]
fn a_token_that_comes_too_late_costs_one_socket() {
    let gateway = Gateway::start();
    let sockets = left_to_itself(&gateway, "/api/ws/chat/s", &json!({ "type": "heartbeat" }));
    assert_eq!(sockets, [Outcome::Refused(4000)]);
}
