//! Who gets in: each form in which a client may show its token, what it is told, and how it is refused.
//! The forms are those of the seed systems' clients.

use serde_json::{Value, json};

use crate::client::{Client, Seen, has_null};
use crate::gateway::Gateway;

/// What a client is told that is let in.
fn check_reply(reply: &Value, user: &str, session: Option<&str>) {
    assert!(!has_null(reply), "{reply}");
    assert_eq!(reply["success"], true);
    assert_eq!(reply.get("type"), None, "the seeds' client knows the reply by its success alone");
    for (snake, camel) in [
        ("connection_id", "connectionId"),
        ("user_id", "userId"),
        ("available_channels", "availableChannels"),
        ("session_id", "sessionId"),
    ] {
        assert_eq!(reply.get(snake), reply.get(camel), "{snake}");
    }
    assert_eq!(reply["user_id"], user);
    assert_eq!(reply.get("session_id").and_then(Value::as_str), session);
    assert!(reply["connection_id"].as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!(reply["permissions"], json!(["read", "write"]));
    assert_eq!(reply["protocol_version"], 1);
    let channels = reply["available_channels"].as_array().unwrap();
    assert!(channels.contains(&json!(format!("user:{user}"))), "{reply}");
}

#[test]
fn every_form_of_the_first_frame_is_taken() {
    let gateway = Gateway::start();
    let token = gateway.token("ada");
    for frame in [
        json!({ "token": token }),
        json!({ "token": token, "session_id": "s", "channels": ["session:s"] }),
        json!({ "token": token, "sessionId": "s", "channels": ["chat:s", "agent:ada"] }),
        json!({ "token": token, "user_id": "mallory", "channels": ["agent_status:ada"] }),
        json!({ "type": "auth", "token": token, "session_id": "s", "channels": [] }),
        json!({ "type": "authentication", "token": token, "channels": ["chat:s"] }),
        json!({ "type": "authenticate", "payload": { "access_token": token } }),
        json!({ "type": "auth", "payload": { "token": token, "sessionId": "s" }, "timestamp": "2026-01-01T00:00:00.000Z" }),
        json!({ "type": "auth", "payload": { "token": token, "timestamp": 1, "clientVersion": "1.0.0" } }),
        json!({ "access_token": token }),
    ] {
        let mut client = Client::open(&gateway, "/api/ws/chat/s");
        client.send(&frame);
        let reply = client.event();
        check_reply(&reply, "ada", Some("s"));
        let welcome = client.event();
        assert!(!has_null(&welcome), "{welcome}");
        assert_eq!(welcome["type"], "connection_established", "{frame}");
        assert_eq!((&welcome["user_id"], &welcome["session_id"]), (&json!("ada"), &json!("s")));
        assert_eq!(welcome["payload"]["status"], "connected");
        assert_eq!(welcome["payload"]["connection_id"], reply["connection_id"]);
        assert!(welcome["id"].is_string() && welcome["timestamp"].is_string());
        let subscribed = client.event();
        assert_eq!(subscribed["type"], "subscribed", "{frame}");
    }
}

#[test]
fn without_a_session_the_reply_names_none() {
    let gateway = Gateway::start();
    let mut client = Client::open(&gateway, "/ws");
    client.send(&json!({ "token": gateway.token("ada") }));
    check_reply(&client.event(), "ada", None);
    assert_eq!(client.event().get("session_id"), None);
}

#[test]
fn channels_that_are_asked_for_are_joined_if_they_are_granted_and_left_out_if_not() {
    let gateway = Gateway::start();
    let nameless = ["", "chat:\u{1}", &"x".repeat(145)];
    let mut asked = json!(["chat:a", "session:b", "notifications", "chat:a", "user:bob", "nothing"]);
    asked.as_array_mut().unwrap().extend(nameless.map(Value::from));
    let mut client = Client::open(&gateway, "/ws");
    client.send(&json!({ "token": gateway.token("ada"), "channels": asked }));
    let reply = client.event();
    let available = reply["available_channels"].as_array().unwrap();
    for (name, listed) in [("chat:a", true), ("session:b", true), ("notifications", true), ("user:bob", false)] {
        assert_eq!(available.contains(&json!(name)), listed, "{name} in {reply}");
    }
    // A channel that is kept is entered when the disk has answered.
    let mut joined: Vec<String> =
        (0..3).map(|_| client.event_of("subscribed")["payload"]["channel"].as_str().unwrap().to_owned()).collect();
    joined.sort_unstable();
    assert_eq!(joined, ["chat:a", "notifications", "session:b"]);
    assert_eq!(client.pending(), Vec::<Value>::new());
}

#[test]
fn a_token_in_the_request_admits_at_once_and_a_first_frame_is_still_answered() {
    let gateway = Gateway::start();
    let token = gateway.token("ada");
    let (bearer, offer) = (format!("Bearer {token}"), format!("waystation.v1.json, bearer.{token}"));
    for (path, header) in [
        (format!("/ws/chat/s?token={token}"), None),
        (format!("/ws/chat/s?x=1&token={token}"), None),
        ("/ws/chat/s".to_owned(), Some(("Authorization", bearer.as_str()))),
        ("/ws/chat/s".to_owned(), Some(("Sec-WebSocket-Protocol", offer.as_str()))),
    ] {
        let headers: Vec<_> = header.into_iter().collect();
        let mut client = Client::try_open(&gateway, &path, &headers).unwrap();
        assert_eq!(client.event()["type"], "connection_established", "{header:?}");
        assert_eq!(client.event()["type"], "subscribed");
        client.send(&json!({ "token": token, "session_id": "s" }));
        check_reply(&client.event(), "ada", Some("s"));
    }
}

#[test]
fn of_several_tokens_the_first_place_counts_and_what_is_none_is_refused() {
    let gateway = Gateway::start();
    let (ada, bob) = (gateway.token("ada"), gateway.token("bob"));
    let bearer = |token: &str| Some(("Authorization", format!("Bearer {token}")));
    let offer = |token: &str| Some(("Sec-WebSocket-Protocol", format!("waystation.v1.json, bearer.{token}")));
    for (header, query, offered, expected) in [
        (bearer(&ada), None, None, Ok("ada")),
        (bearer(&ada), Some("no"), offer("no"), Ok("ada")),
        (None, Some(bob.as_str()), offer("no"), Ok("bob")),
        (None, None, offer(&bob), Ok("bob")),
        (bearer("no"), Some(ada.as_str()), offer(&ada), Err(401)),
        (None, Some("no"), offer(&ada), Err(401)),
        (None, Some(""), None, Err(401)),
        (None, None, offer("no"), Err(401)),
        (Some(("Authorization", format!("bearer {ada}"))), None, None, Ok("ada")),
        (Some(("Authorization", format!("Basic {ada}"))), None, None, Err(401)),
        (Some(("Authorization", "Bearer".to_owned())), None, None, Err(401)),
        (Some(("Authorization", ada.clone())), Some(ada.as_str()), None, Err(401)),
    ] {
        let path = query.map_or_else(|| "/ws".to_owned(), |token| format!("/ws?token={token}"));
        let headers: Vec<_> = header.iter().chain(&offered).map(|(name, value)| (*name, value.as_str())).collect();
        let seen = Client::try_open(&gateway, &path, &headers).map(|mut client| client.event()["user_id"].clone());
        assert_eq!(seen.map_err(|(status, _)| status), expected.map(|user| json!(user)), "{header:?} {query:?}");
    }
    let twice = [("Authorization", format!("Bearer {ada}")), ("Authorization", format!("Bearer {bob}"))];
    let twice: Vec<_> = twice.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(Client::try_open(&gateway, "/ws", &twice).unwrap_err().0, 400);
    // Who is in already and authenticates as somebody else is put out.
    let mut client = Client::try_open(&gateway, &format!("/ws?token={ada}"), &[]).unwrap();
    client.send(&json!({ "token": bob }));
    assert_eq!(client.closing().1, 4003);
}

#[test]
fn what_is_no_token_is_refused_with_a_reply_and_then_a_close() {
    let gateway = Gateway::start();
    let token = gateway.token("ada");
    let long = "x".repeat(5000);
    for (first, code, close) in [
        (json!({ "token": "no" }).to_string(), "AUTH_FAILED", 4001),
        (json!({ "token": "a.b.c" }).to_string(), "AUTH_FAILED", 4001),
        (json!({ "type": "auth" }).to_string(), "INVALID_MESSAGE_FORMAT", 4000),
        (json!({ "type": "auth", "token": 7 }).to_string(), "INVALID_MESSAGE_FORMAT", 4000),
        (json!({ "type": "auth", "token": "" }).to_string(), "INVALID_MESSAGE_FORMAT", 4000),
        (json!({ "token": long }).to_string(), "INVALID_MESSAGE_FORMAT", 4000),
        (json!({ "token": token, "channels": vec!["chat:a"; 51] }).to_string(), "INVALID_MESSAGE_FORMAT", 4000),
        (json!({ "token": token, "pad": "x".repeat(24 * 1024) }).to_string(), "INVALID_MESSAGE_FORMAT", 4000),
        (json!({ "type": "chat_message", "payload": { "content": "x" } }).to_string(), "INVALID_MESSAGE_FORMAT", 4000),
        (
            json!({ "type": "subscribe", "payload": { "channels": ["chat:s"] } }).to_string(),
            "INVALID_MESSAGE_FORMAT",
            4000,
        ),
        ("no JSON".to_owned(), "INVALID_MESSAGE_FORMAT", 4000),
        ("[]".to_owned(), "INVALID_MESSAGE_FORMAT", 4000),
        (String::new(), "INVALID_MESSAGE_FORMAT", 4000),
    ] {
        let mut client = Client::open(&gateway, "/ws/chat/s");
        client.send_text(&first);
        let (events, code_seen, _) = client.closing();
        let shown: String = first.chars().take(80).collect();
        assert_eq!(events.len(), 1, "{shown}: {events:?}");
        assert_eq!(code_seen, close, "{shown}");
        let reply = &events[0];
        assert_eq!((&reply["success"], &reply["code"]), (&json!(false), &json!(code)), "{shown}");
        assert_eq!(reply["connection_id"], "", "the seeds' client wants it to be there");
        assert!(reply["error"].as_str().is_some_and(|text| !text.is_empty()) && !has_null(reply));
    }
}

#[test]
fn signs_of_life_before_the_token_are_passed_over() {
    let gateway = Gateway::start();
    let mut client = Client::open(&gateway, "/ws");
    for kind in ["heartbeat", "ping", "pong", "connection_heartbeat"] {
        client.send(&json!({ "type": kind }));
    }
    client.socket.send(tungstenite::Message::Ping("x".into())).unwrap();
    assert!(matches!(client.next(), Seen::Pong(payload) if payload == b"x"));
    client.send(&json!({ "token": gateway.token("ada") }));
    assert_eq!(client.event()["success"], true);
}

#[test]
fn a_token_that_does_not_permit_the_endpoint_is_refused_4003_or_403() {
    let gateway = Gateway::start();
    let narrow = gateway.token_with("ada", &["--caps", r#"{"chat:mine":["subscribe"]}"#]);
    let mut client = Client::open(&gateway, "/ws/chat/other");
    client.send(&json!({ "token": narrow }));
    let (events, code, _) = client.closing();
    assert_eq!((code, &events[0]["code"]), (4003, &json!("PERMISSION_DENIED")));
    let path = format!("/ws/chat/other?token={narrow}");
    assert_eq!(Client::try_open(&gateway, &path, &[]).unwrap_err().0, 403);
    Client::join(&gateway, "/ws/chat/mine", &narrow);
}

#[test]
fn a_refresh_keeps_the_connection_and_its_subscriptions() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    ada.subscribe(&["chat:other"]);
    ada.send(&json!({ "type": "auth", "payload": { "token": gateway.token_with("ada", &["--ttl", "2h"]) } }));
    let events = ada.pending();
    check_reply(&events[0], "ada", Some("s"));
    assert_eq!(events.len(), 1, "no second welcome, and nothing is left: {events:?}");
    for channel in ["chat:s", "chat:other"] {
        ada.send(&json!({ "type": "chat_message", "channel": channel, "payload": { "content": "still here" } }));
        assert_eq!(ada.event_of("chat_message")["channel"], channel);
    }
}

#[test]
fn a_refresh_leaves_what_it_no_longer_permits() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    ada.subscribe(&["chat:other"]);
    let narrow = gateway.token_with("ada", &["--caps", r#"{"chat:s":["subscribe","publish"]}"#]);
    ada.send(&json!({ "token": narrow }));
    let events = ada.pending();
    let left = events.iter().find(|event| event["type"] == "unsubscribed").unwrap();
    assert_eq!(left["payload"]["channel"], "chat:other");
    assert!(left["payload"]["reason"].is_string(), "{left}");
    // Somebody else's words there do not come any more, and it cannot speak there itself.
    let mut bob = Client::join(&gateway, "/ws/chat/other", &gateway.token("bob"));
    bob.send(&json!({ "type": "chat_message", "payload": { "content": "secret" } }));
    bob.event_of("chat_message");
    ada.send(&json!({ "type": "chat_message", "channel": "chat:other", "payload": { "content": "x" } }));
    let events = ada.pending();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["payload"]["code"], "PERMISSION_DENIED");
}

#[test]
fn a_refresh_by_another_user_or_with_a_bad_token_ends_the_connection() {
    let gateway = Gateway::start();
    for (token, code) in [(gateway.token("bob"), 4003), ("no".to_owned(), 4001)] {
        let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
        ada.send(&json!({ "token": token }));
        let (events, seen, _) = ada.closing();
        assert_eq!((seen, &events[0]["success"]), (code, &json!(false)), "{events:?}");
    }
}
