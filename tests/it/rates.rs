//! Message rates: a client that says its name is told, and closed if it goes on; the seeds' clients, which
//! know no such answer, lose nothing and are only read more slowly.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::Gateway;

fn chat(content: usize) -> Value {
    json!({ "type": "chat_message", "payload": { "content": content.to_string() } })
}

#[test]
fn a_known_client_is_told_and_closed_after_ten_refusals_in_a_row() {
    let gateway = Gateway::start();
    let mut ada = Client::join_known(&gateway, "/ws/chat/s", &gateway.token("ada"));
    // 20 at once on this endpoint, and two more at the same moment.
    let mut asked = chat(21);
    (asked["id"], asked["ack"]) = (json!("op"), json!(true));
    let mut messages: Vec<Value> = (0..=20).map(chat).collect();
    messages.push(asked);
    ada.send_at_once(&messages);
    let events: Vec<Value> = (0..22).map(|_| ada.event()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    let said: Vec<&Value> = of("chat_message").iter().map(|event| &event["payload"]["content"]).collect();
    assert_eq!(said, (0..20).map(|content| json!(content.to_string())).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    let ([error], [nack]) = (&of("connection_error")[..], &of("nack")[..]) else { panic!("{events:?}") };
    assert_eq!(error["payload"]["code"], "RATE_LIMIT_EXCEEDED");
    let details = &error["payload"]["details"];
    assert_eq!(
        (&details["limit"], &details["remaining"], &details["window_seconds"]),
        (&json!(120), &json!(0), &json!(60))
    );
    assert!(details["retry_after"].as_u64().is_some_and(|seconds| seconds >= 1), "{details}");
    assert_eq!(
        (&nack["payload"]["code"], &nack["payload"]["retryable"]),
        (&json!("RATE_LIMIT_EXCEEDED"), &json!(true))
    );
    let wait = nack["payload"]["retry_after_ms"].as_u64().unwrap();
    assert!((1..=500).contains(&wait), "{wait} ms at two a second");
    // What keeps a connection alive costs nothing.
    assert_eq!(ada.pending(), Vec::<Value>::new());
    // Twenty at the most have been earned meanwhile.
    ada.send_at_once(&(22..60).map(chat).collect::<Vec<_>>());
    let (events, code, _) = ada.closing();
    assert_eq!(code, 4029);
    assert_eq!(events.last().unwrap()["type"], "connection_close");
}

#[test]
fn a_legacy_clients_messages_are_delayed_and_none_is_lost() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let start = Instant::now();
    let (burst, more) = (20, 6);
    for content in 0..burst + more {
        ada.send(&chat(content));
    }
    for content in 0..burst + more {
        let event = ada.event();
        assert_eq!(
            (&event["type"], &event["payload"]["content"]),
            (&json!("chat_message"), &json!(content.to_string()))
        );
    }
    // Two a second after the burst.
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(2900), "{more} beyond the burst took {took:?}");
    assert_eq!(ada.pending(), Vec::<Value>::new(), "it was told nothing");
}

#[test]
fn a_paused_client_is_still_sent_what_others_say() {
    // One a minute beyond the burst: what waits for that comes later than this test waits.
    let gateway = Gateway::with(&["--set", "limits.chat.messages=1", "--set", "limits.chat.burst=20"]);
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let mut bob = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    ada.send_at_once(&(0..22).map(chat).collect::<Vec<_>>());
    for content in 0..20 {
        assert_eq!(ada.event()["payload"]["content"], content.to_string());
    }
    bob.send(&json!({ "type": "chat_message", "payload": { "content": "hurry" } }));
    assert_eq!(ada.event()["payload"]["content"], "hurry", "what it said too much of comes later");
}

#[test]
fn without_limits_a_thousand_messages_a_second_pass_on_one_connection() {
    let gateway = Gateway::unlimited();
    let mut ada = Client::join_known(&gateway, "/ws/chat/s", &gateway.token("ada"));
    for batch in 0..10 {
        for content in 0..200 {
            ada.send(&chat(content));
        }
        for content in 0..200 {
            let event = ada.event();
            assert_eq!(event["payload"]["content"], content.to_string());
            assert_eq!(event["seq"], batch * 200 + content + 1);
        }
    }
}
