//! Kinds of messages over real sockets, on two shards: batches in and out, agent status, HTML by policy, and what
//! is malformed.

use std::fs;

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway};

fn chat(content: &str) -> Value {
    json!({ "type": "chat_message", "payload": { "content": content } })
}

fn started() -> Gateway {
    Gateway::with(&["--shards", "2", "--limits", "unlimited"])
}

#[test]
fn a_batch_of_the_seeds_client_is_done_message_by_message() {
    let gateway = started();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let usage = json!({ "type": "resource_usage", "payload": { "agent_id": "a", "cpu": 1, "memory": 2, "tokens": 3 } });
    let messages = json!([chat("one"), usage, 7, chat("two"), { "type": "heartbeat" }]);
    ada.send(&json!({ "type": "batch", "payload": { "messages": messages }, "timestamp": "2026-11-21T14:26:25.123Z" }));
    let mut kinds: Vec<(String, Value)> = (0..4)
        .map(|_| ada.event())
        .map(|event| (event["type"].as_str().unwrap().to_owned(), event["payload"]["content"].clone()))
        .collect();
    // The lanes differ, so only the order of the chat is fixed.
    let said: Vec<Value> = kinds.iter().filter(|(kind, _)| kind == "chat_message").map(|kind| kind.1.clone()).collect();
    assert_eq!(said, ["one", "two"]);
    kinds.sort_by(|one, other| one.0.cmp(&other.0));
    let names: Vec<&str> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(names, ["chat_message", "chat_message", "connection_error", "connection_heartbeat"]);
    assert_eq!(ada.pending(), Vec::<Value>::new(), "nobody answers for agents, and nobody is told");
}

#[test]
fn a_client_that_asks_gets_the_same_events_in_fewer_frames() {
    let gateway = started();
    let mut author = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let mut reader = Client::open(&gateway, "/ws/chat/s");
    let client = json!({ "name": "it", "version": "1", "batch": true });
    reader.send(&json!({ "token": gateway.token("bob"), "client": client }));
    assert_eq!(reader.event()["success"], true);
    let messages: Vec<Value> = (0..25).map(|number| chat(&number.to_string())).collect();
    let mut events = Vec::new();
    while !events.iter().any(|event: &Value| event["type"] == "subscribed") {
        events.extend(unwrapped(reader.event()));
    }
    author.send(&json!({ "type": "batch", "payload": { "messages": messages } }));
    let (mut said, mut frames) = (Vec::new(), 0);
    while said.len() < 25 {
        said.extend(unwrapped(reader.event()));
        frames += 1;
    }
    assert!(frames <= 15, "{frames} frames");
    let others: Vec<Value> = (0..25).map(|_| author.event()).collect();
    assert_eq!(said, others);
}

/// The events of a frame.
fn unwrapped(frame: Value) -> Vec<Value> {
    match frame["events"].as_array() {
        Some(events) => {
            assert!((2..=10).contains(&events.len()) && frame["type"] == "batch", "{frame}");
            events.clone()
        }
        None => vec![frame],
    }
}

#[test]
fn agent_status_reaches_its_user_on_another_shard_under_its_first_name() {
    let gateway = started();
    let mut ada = Client::join(&gateway, "/ws/agent-status/ada", &gateway.token("ada"));
    let mut backend = Client::join(&gateway, "/ws/trips/t/collab", &gateway.master_token("backend"));
    for (kind, first) in [("status_update", "agent_status_update"), ("tool_call_start", "tool_call_start")] {
        backend.send_text(&format!(r#"{{"type":"{kind}","channel":"agent_status:ada","payload":{{"n":1e400}}}}"#));
        let text = ada.text();
        assert!(
            text.contains(&format!(r#""type":"{first}""#)) && text.ends_with(r#""payload":{"n":1e400}}"#),
            "{text}"
        );
    }
    ada.send(&json!({ "type": "task_start", "payload": {} }));
    assert_eq!(ada.event()["payload"]["code"], "PERMISSION_DENIED");
}

#[test]
fn the_operator_decides_what_becomes_of_html() {
    let place = Directory::new();
    let file = place.path().join("gateway.toml");
    let rows =
        "[[policy]]\npattern = \"chat:e*\"\nhtml = \"escape\"\n[[policy]]\npattern = \"chat:r*\"\nhtml = \"reject\"\n";
    fs::write(&file, rows).unwrap();
    let gateway = Gateway::within(&place, &["--shards", "2", "--config", file.to_str().unwrap()]);
    for (session, expected) in [("e", json!("&lt;b&gt;hi")), ("r", Value::Null), ("s", json!("<b>hi"))] {
        let mut ada = Client::join(&gateway, &format!("/ws/chat/{session}"), &gateway.token("ada"));
        ada.send(&chat("<b>hi"));
        let heard = ada.event();
        assert_eq!(heard["payload"]["content"], expected, "{session}: {heard}");
    }
}

#[test]
fn no_part_of_a_chat_message_goes_round_what_the_operator_decided_about_html() {
    let place = Directory::new();
    let file = place.path().join("gateway.toml");
    let rows =
        "[[policy]]\npattern = \"chat:e*\"\nhtml = \"escape\"\n[[policy]]\npattern = \"chat:r*\"\nhtml = \"reject\"\n";
    fs::write(&file, rows).unwrap();
    let gateway = Gateway::within(&place, &["--shards", "2", "--config", file.to_str().unwrap()]);
    let token = gateway.token_with("bot", &["--role", "service"]);
    let evil = "<img src=x onerror=alert(1)>";
    let bodies = [
        json!({ "content": "x", "attachments": [{ "name": evil, "parts": [evil] }] }),
        json!({ "content": "x", "metadata": { "html": evil } }),
        json!({ "content": "x", "preview": { "title": [evil] } }),
        json!({ "content": "x", "preview": { evil: 1 } }),
        json!({ "content": "x", "role": evil }),
    ];
    for session in ["e", "r"] {
        let mut bot = Client::join(&gateway, &format!("/ws/chat/{session}"), &token);
        let mut check = |message: &Value, refused: bool| {
            bot.send(message);
            let heard = bot.event();
            assert_eq!(heard["type"] == "connection_error", refused, "{session}: {message}: {heard}");
            assert!(!heard.to_string().contains("<img"), "{heard}");
        };
        for (index, body) in bodies.iter().enumerate() {
            check(&json!({ "type": "chat_message", "payload": body }), session == "r" || index == 4);
            check(
                &json!({ "type": "publish", "payload": { "channel": format!("chat:{session}"), "type": "chat_message",
                         "payload": { "message": body } } }),
                session == "r" || index >= 2,
            );
        }
        for kind in ["chat_message_chunk", "chat_message_complete"] {
            check(
                &json!({ "type": "publish", "payload": { "channel": format!("chat:{session}"), "type": kind,
                         "payload": { "content": evil, "message_id": "o'b" } } }),
                session == "r",
            );
        }
        let plain = json!({ "content": "a < b & c", "attachments": ["f.png?a=1&b=2"] });
        check(&json!({ "type": "chat_message", "payload": plain }), false);
    }
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    ada.send(&json!({ "type": "chat_message", "payload": bodies[0] }));
    assert_eq!(ada.event()["payload"]["message"]["attachments"], bodies[0]["attachments"], "off, as by default");
}

#[test]
fn malformed_messages_neither_end_a_legacy_connection_nor_go_round_its_rate() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    // 20 at once, then two a second.
    let start = std::time::Instant::now();
    (0..22).for_each(|_| ada.send_text("{"));
    for _ in 0..22 {
        assert_eq!(ada.event()["payload"]["code"], "INVALID_JSON");
    }
    assert!(start.elapsed().as_millis() >= 900, "{:?}", start.elapsed());
    ada.send(&chat("still here"));
    assert_eq!(ada.event()["payload"]["content"], "still here");
}
