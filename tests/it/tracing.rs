//! Traces over two shards: from sockets and over HTTP, to clients that tell their name and to others.

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::Gateway;
use crate::raw::{ask, bearer, send};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// Posts a body with a header line or more.
fn post(gateway: &Gateway, path: &str, (token, lines): (&str, &str), body: &Value) -> Value {
    let answer = send(gateway, ("POST", path), &format!("{}{lines}", bearer(token)), body);
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

fn note(channel: &str) -> Value {
    json!({ "channel": channel, "type": "note", "payload": {} })
}

/// Clients on both shards, known and not, in all of some channels that are at home on both.
fn joined(gateway: &Gateway, channels: &[&str]) -> Vec<(bool, Client)> {
    let tokens = gateway.token_row("user", 8);
    loop {
        let mut clients: Vec<(bool, Client)> = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            let known = index % 2 == 0;
            let client =
                if known { Client::join_known(gateway, "/ws", token) } else { Client::join(gateway, "/ws", token) };
            clients.push((known, client));
        }
        // The kernel deals out connections by chance.
        if ["shard=\"0\"", "shard=\"1\""].iter().all(|shard| gateway.metric("waystation_connections", shard) > 0) {
            clients.iter_mut().for_each(|(_, client)| drop(client.subscribe(channels)));
            return clients;
        }
    }
}

/// What each of them gets next: the event, with that trace for those who told their name.
fn check(clients: &mut [(bool, Client)], channel: Option<&str>, expected: Option<&str>) {
    for (known, client) in clients {
        let event = client.event_of("note");
        assert_eq!(event.get("channel").and_then(Value::as_str), channel);
        let told = event.get("traceparent").and_then(Value::as_str);
        assert_eq!(told, expected.filter(|_| *known), "known: {known}: {event}");
    }
}

#[test]
fn a_trace_reaches_those_who_tell_their_name_and_no_others_on_every_shard() {
    let gateway = Gateway::with(&["--shards", "2", "--limits", "unlimited"]);
    let token = gateway.token_with("svc", &["--role", "service"]);
    let header = format!("Traceparent: {TRACE}\r\n");
    let names: Vec<String> = (0..8).map(|index| format!("chat:room-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut clients = joined(&gateway, &names);
    for name in &names {
        for (traceparent, expected) in [(json!(TRACE), Some(TRACE)), (json!("00-nonsense"), None)] {
            for author in 0..2 {
                let payload = note(name);
                let message = json!({ "type": "publish", "traceparent": traceparent, "payload": payload });
                clients[author].1.send(&message);
                check(&mut clients, Some(name), expected);
            }
        }
        for (lines, own, expected) in [
            (header.clone(), Value::Null, Some(TRACE)),
            (header.clone(), json!(OTHER), Some(OTHER)),
            (String::new(), json!(OTHER), Some(OTHER)),
            (header.clone(), json!("ff-nonsense"), Some(TRACE)),
            (header.repeat(2), Value::Null, None),
            (String::new(), Value::Null, None),
        ] {
            let mut body = note(name);
            body["traceparent"] = own;
            post(&gateway, "/api/publish", (&token, &lines), &body);
            check(&mut clients, Some(name), expected);
        }
    }
    let mut own = note(names[1]);
    own["traceparent"] = json!(OTHER);
    post(&gateway, "/api/batch", (&token, &header), &json!({ "messages": [note(names[0])] }));
    check(&mut clients, Some(names[0]), Some(TRACE));
    post(&gateway, "/api/batch", (&token, &header), &json!({ "messages": [own] }));
    check(&mut clients, Some(names[1]), Some(OTHER));
    for target in [names[2], "*"] {
        let body = json!({ "channels": [target], "type": "note", "payload": {} });
        post(&gateway, "/api/broadcast", (&token, &header), &body);
        check(&mut clients, Some(target).filter(|target| *target != "*"), Some(TRACE));
    }
    check_history(&gateway, &token, names[2]);
}

/// What is kept of a channel says the trace too: to a backend, and to who comes back.
fn check_history(gateway: &Gateway, token: &str, channel: &str) {
    let address = gateway.address;
    let head =
        format!("GET /api/history/{channel} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let page: Value = serde_json::from_str(&ask(gateway, &head).body).unwrap();
    let events = page["events"].as_array().unwrap();
    assert_eq!((events.len(), &events[0]["traceparent"]), (11, &json!(TRACE)), "{page}");
    let since = json!({ channel: { "epoch": events[0]["epoch"], "seq": 0 } });
    for known in [true, false] {
        let who = gateway.token(if known { "known" } else { "other" });
        let mut client =
            if known { Client::join_known(gateway, "/ws", &who) } else { Client::join(gateway, "/ws", &who) };
        client.send(&json!({ "type": "subscribe", "payload": { "channels": [channel], "since": since } }));
        for kept in events {
            let event = client.event_of("note");
            let expected = kept.get("traceparent").filter(|_| known);
            assert_eq!((&event["seq"], event.get("traceparent")), (&kept["seq"], expected));
        }
    }
}
