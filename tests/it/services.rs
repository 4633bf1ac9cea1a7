//! Backends over real sockets, on two shards: requests and their answers, events for connections, patterns,
//! groups, and notifications that come until they are acknowledged.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Seen};
use crate::gateway::{Gateway, SOON};

fn started() -> Gateway {
    Gateway::with(&["--shards", "2", "--limits", "unlimited"])
}

fn backend(gateway: &Gateway) -> Client {
    Client::join_known(gateway, "/ws", &gateway.token_with("backend", &["--role", "service"]))
}

fn ask(client: &mut Client, method: &str, id: &str, params: &Value) {
    client.send(&json!({ "type": "request", "payload": { "id": id, "method": method, "params": params } }));
}

fn ack(client: &mut Client, event: &Value) {
    let place = json!({ "channel": event["channel"], "epoch": event["epoch"], "seq": event["seq"] });
    client.send(&json!({ "type": "ack", "payload": place }));
}

fn subscribe_group(client: &mut Client, pattern: &str, group: &str) {
    client.send(&json!({ "type": "subscribe", "payload": { "channels": [pattern], "group": group } }));
    assert_eq!(client.event_of("subscribe_response")["payload"]["success"], true);
}

#[test]
fn a_method_is_answered_by_those_who_registered_it_and_by_nobody_once_they_are_gone() {
    let gateway = started();
    let (mut one, mut two) = (backend(&gateway), backend(&gateway));
    let mut askers: Vec<Client> =
        gateway.token_row("asker", 4).iter().map(|token| Client::join(&gateway, "/ws", token)).collect();
    for provider in [&mut one, &mut two] {
        provider.send(&json!({ "type": "register", "id": "r", "payload": { "methods": ["plan", "time"] } }));
        let answer = provider.event_of("register_response")["payload"].clone();
        assert_eq!((&answer["id"], &answer["registered_methods"]), (&json!("r"), &json!(["plan"])));
        assert_eq!(answer["failures"], json!([{ "method": "time", "code": "PERMISSION_DENIED" }]));
    }
    let (mut served, start) = ([0, 0], Instant::now());
    // What the mesh had not delivered when the providers looked comes in a later round.
    for round in 0.. {
        for (index, asker) in askers.iter_mut().enumerate().filter(|_| round < 10) {
            ask(asker, "plan", &format!("q{round}"), &json!({ "asker": index }));
        }
        for (count, provider) in served.iter_mut().zip([&mut one, &mut two]) {
            for event in provider.pending().into_iter().filter(|event| event["type"] == "request") {
                let payload = &event["payload"];
                let user = format!("asker-{}", payload["params"]["asker"].as_u64().unwrap() + 1);
                assert_eq!(payload["user_id"], user);
                *count += 1;
                provider.send(&json!({ "type": "response", "payload": { "id": payload["id"], "result": user } }));
            }
        }
        if round >= 9 && served.iter().all(|count| *count > 0) {
            break;
        }
        assert!(start.elapsed() < SOON, "{served:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    drop((one, two));
    for (index, asker) in askers.iter_mut().enumerate() {
        for _ in 0..10 {
            let payload = asker.event_of("response")["payload"].clone();
            // The last ones may have come to a provider that was gone by then, to none, or from one that was gone when
            // the other had just left too.
            let refused =
                ["SERVER_ERROR", "UNKNOWN_TYPE", "OVERLOADED"].iter().any(|code| payload["error"]["code"] == *code);
            assert!(payload["result"] == format!("asker-{}", index + 1) || refused, "{payload}");
        }
    }
}

#[test]
fn a_request_waits_ten_seconds_at_most() {
    let gateway = started();
    let (mut provider, mut asker) = (backend(&gateway), Client::join(&gateway, "/ws", &gateway.token("asker")));
    ask(&mut asker, "sleep", "early", &json!({}));
    assert_eq!(asker.event_of("response")["payload"]["error"]["code"], "UNKNOWN_TYPE");
    provider.send(&json!({ "type": "register", "payload": { "methods": ["sleep"] } }));
    until_taken(&mut asker, &mut provider);
    let answer = asker.event_of("response");
    assert_eq!(answer["payload"]["error"]["code"], "DEADLINE_EXCEEDED", "{answer}");
    assert_eq!(provider.event_of("cancel")["type"], "cancel");
}

/// Asks until the provider has a request, whose asker then waits for it alone.
fn until_taken(asker: &mut Client, provider: &mut Client) {
    for attempt in 0..1000 {
        ask(asker, "sleep", &format!("q{attempt}"), &json!({}));
        let events = asker.pending();
        if !events.iter().any(|event| event["payload"]["error"]["code"] == "UNKNOWN_TYPE") {
            provider.event_of("request");
            return;
        }
    }
    panic!("the method is never registered");
}

#[test]
fn an_event_reaches_one_connection_or_everybody() {
    let gateway = started();
    let mut backend = backend(&gateway);
    let mut users: Vec<(Client, String)> = Vec::new();
    for token in gateway.token_row("user", 6) {
        let mut client = Client::open(&gateway, "/ws");
        client.send(&json!({ "token": token }));
        let name = client.event()["connection_id"].as_str().unwrap().to_owned();
        assert_eq!(client.event()["type"], "connection_established");
        users.push((client, name));
    }
    for (index, (client, name)) in users.iter_mut().enumerate() {
        backend.publish(&format!("connection:{name}"), &format!("one-{index}"), &json!({ "for": index }));
        assert_eq!(backend.event_of("ack")["payload"]["id"], format!("one-{index}"));
        let event = client.event_of("note");
        assert_eq!((&event["payload"]["for"], &event["user_id"]), (&json!(index), &json!("backend")));
        assert!(event.get("seq").is_none());
        client.publish("*", "forged", &json!({}));
        assert_eq!(client.event()["payload"]["code"], "PERMISSION_DENIED");
    }
    backend.publish("*", "all", &json!({ "for": "all" }));
    for (client, _) in &mut users {
        assert_eq!(client.event()["payload"]["for"], "all");
    }
    let (gone, name) = users.remove(0);
    drop(gone);
    let target = format!("connection:{name}");
    for attempt in 0.. {
        assert!(attempt < 1000, "the connection never goes");
        backend.publish(&target, &format!("late-{attempt}"), &json!({}));
        let answer = loop {
            let event = backend.event();
            if event["type"] == "ack" || event["type"] == "nack" {
                break event;
            }
        };
        if answer["type"] == "nack" {
            assert_eq!(answer["payload"]["code"], "CHANNEL_NOT_FOUND");
            break;
        }
    }
}

#[test]
fn history_is_read_in_pages() {
    let gateway = started();
    let mut ada = Client::join(&gateway, "/ws", &gateway.token("ada"));
    for index in 0..8 {
        let channel = format!("chat:{index}");
        for id in 1..=5 {
            ada.publish(&channel, &format!("{channel}-{id}"), &json!({ "n": id }));
            ada.event_of("ack");
        }
        ask(&mut ada, "history", "h", &json!({ "channel": channel, "limit": 3, "reverse": true }));
        let result = ada.event_of("response")["payload"]["result"].clone();
        let found: Vec<&Value> = result["events"].as_array().unwrap().iter().map(|event| &event["seq"]).collect();
        assert_eq!((found, &result["more"]), (vec![&json!(5), &json!(4), &json!(3)], &json!(true)), "{channel}");
    }
}

#[test]
fn a_group_shares_the_channels_and_what_a_lost_consumer_did_not_acknowledge_comes_again() {
    let gateway = started();
    let (mut first, mut second) = (backend(&gateway), backend(&gateway));
    subscribe_group(&mut first, "chat:*", "workers");
    let mut author = Client::join(&gateway, "/ws", &gateway.token("author"));
    // A subscription needs no answer of the other shard to be acknowledged; the author's events prove it is there.
    let seen =
        |client: &mut Client, count: usize| -> Vec<Value> { (0..count).map(|_| client.event_of("note")).collect() };
    for round in 0..3 {
        for index in 0..10 {
            author.publish(&format!("chat:{index}"), &format!("{round}-{index}"), &json!({ "round": round }));
            author.event_of("ack");
        }
    }
    let events = seen(&mut first, 30);
    for event in events.iter().filter(|event| event["seq"] != 3) {
        ack(&mut first, event);
    }
    first.pending();
    subscribe_group(&mut second, "chat:*", "workers");
    second.pending();
    drop(first);
    let again = seen(&mut second, 10);
    assert!(again.iter().all(|event| event["seq"] == 3), "{again:?}");
    let mut channels: Vec<&str> = again.iter().map(|event| event["channel"].as_str().unwrap()).collect();
    channels.sort_unstable();
    channels.dedup();
    assert_eq!(channels.len(), 10, "one of each channel");
}

#[test]
fn notifications_come_on_every_device_until_one_acknowledges() {
    let gateway = started();
    let mut backend = backend(&gateway);
    for index in 0..6 {
        let user = format!("user-{index}");
        let channel = format!("notifications:{user}");
        let token = gateway.token(&user);
        for id in 1..=3 {
            backend.publish(&channel, &format!("{user}-{id}"), &json!({ "n": id }));
            backend.event_of("ack");
        }
        let mut phone = Client::join_known(&gateway, "/ws", &token);
        phone.subscribe(&[&channel]);
        let event = phone.event_of("note");
        assert_eq!(event["seq"], 1);
        phone.event_of("note");
        phone.event_of("note");
        ack(&mut phone, &event);
        phone.pending();
        // A client that says nothing of acknowledgements: its WebSocket library answers the ping.
        let mut browser = Client::join(&gateway, "/ws", &token);
        browser.subscribe(&[&channel]);
        let mut seqs = Vec::new();
        loop {
            match browser.next() {
                Seen::Text(text) => {
                    let event: Value = serde_json::from_str(&text).unwrap();
                    seqs.extend(event["seq"].as_u64());
                }
                Seen::Ping => break,
                other => panic!("{other:?}"),
            }
        }
        // The acknowledgement of the phone may still be on its way to the other shard.
        assert!(seqs == [2, 3] || seqs == [1, 2, 3], "{seqs:?}");
        browser.pending();
        let mut tablet = Client::join_known(&gateway, "/ws", &token);
        tablet.subscribe(&[&channel]);
        let left = tablet.pending();
        assert!(left.is_empty(), "{user}: everything is acknowledged: {left:?}");
    }
}
