//! Coming back: exactly what was missed, or an explicit "cannot" with the reason and what is still there;
//! and what an author is told of its operations.

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, IN_MEMORY};

fn speak(client: &mut Client, contents: std::ops::RangeInclusive<u64>) {
    for content in contents {
        client.send(&json!({ "type": "chat_message", "payload": { "content": content.to_string() } }));
    }
}

fn seqs(client: &mut Client, count: usize) -> Vec<u64> {
    (0..count).map(|_| client.event_of("chat_message")["seq"].as_u64().unwrap()).collect()
}

/// Comes back to `/ws/chat/s` at a position and gives the `subscribed` event.
fn back(gateway: &Gateway, token: &str, epoch: &Value, seq: u64) -> Client {
    let auth = json!({ "token": token, "resume": [{ "channel": "chat:s", "epoch": epoch, "seq": seq }] });
    Client::join_with(gateway, "/ws/chat/s", &auth)
}

#[test]
fn who_comes_back_gets_exactly_what_it_missed_its_own_events_included() {
    let gateway = Gateway::start();
    let (ada_token, bob_token) = (gateway.token("ada"), gateway.token("bob"));
    let mut ada = Client::join(&gateway, "/ws/chat/s", &ada_token);
    let mut bob = Client::join(&gateway, "/ws/chat/s", &bob_token);
    let epoch = ada.subscribed["payload"]["epoch"].clone();
    speak(&mut ada, 1..=3);
    speak(&mut bob, 4..=6);
    seqs(&mut bob, 6);
    for missed in 0..=6 {
        let mut again = back(&gateway, &ada_token, &epoch, 6 - missed);
        let told = &again.subscribed["payload"];
        assert_eq!((&told["recovered"], &told["seq"], &told["epoch"]), (&json!(true), &json!(6), &epoch), "{missed}");
        assert_eq!(told.get("reason"), None);
        let events = again.pending();
        let seen: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert_eq!(seen, (7 - missed..=6).collect::<Vec<_>>(), "{missed}");
    }
    // The other way in: a position in `subscribe`, by a client that has joined already.
    let since = json!({ "chat:s": { "epoch": epoch, "seq": 4 } });
    bob.send(&json!({ "type": "subscribe", "payload": { "channels": ["chat:s"], "since": since } }));
    assert_eq!(bob.event()["type"], "subscribe_response");
    assert_eq!(bob.event()["payload"]["recovered"], true);
    assert_eq!(seqs(&mut bob, 2), [5, 6]);
}

#[test]
fn what_was_missed_comes_before_what_is_new() {
    let gateway = Gateway::unlimited();
    let (ada_token, bob_token) = (gateway.token("ada"), gateway.token("bob"));
    let mut bob = Client::join(&gateway, "/ws/chat/s", &bob_token);
    let epoch = bob.subscribed["payload"]["epoch"].clone();
    speak(&mut bob, 1..=50);
    for round in 1..=10 {
        let mut ada = Client::open(&gateway, "/ws/chat/s");
        let resume = json!([{ "channel": "chat:s", "epoch": epoch, "seq": 10 }]);
        ada.send(&json!({ "token": ada_token, "resume": resume }));
        speak(&mut bob, 50 + round..=50 + round);
        let last = 50 + round;
        let mut expected = 11;
        while expected <= last {
            assert_eq!(ada.event_of("chat_message")["seq"], expected);
            expected += 1;
        }
    }
}

#[test]
fn who_cannot_resume_is_told_why_and_gets_what_is_retained() {
    // On a disk some more are kept.
    let gateway = Gateway::in_memory(&["--shards", "1", "--limits", "unlimited"]);
    let token = gateway.token("ada");
    let mut ada = Client::join(&gateway, "/ws/chat/s", &token);
    let epoch = ada.subscribed["payload"]["epoch"].clone();
    // 100 events are kept by default, and a few more while members have yet to get them.
    for seq in 1..=120 {
        speak(&mut ada, seq..=seq);
        assert_eq!(seqs(&mut ada, 1), [seq]);
    }
    let first = Client::join(&gateway, "/ws/chat/s", &token).subscribed["payload"]["oldest_seq"].as_u64().unwrap();
    assert!((15..=21).contains(&first), "the oldest of 120 is {first}");
    let other = json!("not-an-epoch-of-ours");
    for (epoch, seq, recovered, reason, begins) in [
        (&epoch, first - 1, true, None, first),
        (&epoch, first - 2, false, Some("trimmed"), first),
        (&epoch, 0, false, Some("trimmed"), first),
        (&epoch, 121, false, Some("too_far"), first),
        (&other, 120, false, Some("epoch_changed"), first),
        (&epoch, 120, true, None, 121),
    ] {
        let mut again = back(&gateway, &token, epoch, seq);
        let told = &again.subscribed["payload"];
        assert_eq!(told["recovered"], recovered, "{seq}: {told}");
        assert_eq!(told.get("reason").and_then(Value::as_str), reason, "{seq}");
        assert_eq!((&told["seq"], &told["oldest_seq"]), (&json!(120), &json!(first)));
        let seen: Vec<u64> = again.pending().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert_eq!(seen, (begins..=120).collect::<Vec<_>>(), "{seq}");
    }
    let fresh = Client::join(&gateway, "/ws/chat/s", &token);
    assert_eq!(fresh.subscribed["payload"].get("recovered"), None, "nobody asked");
}

#[test]
fn after_a_restart_the_epoch_has_changed_and_the_tokens_are_still_good() {
    let directory = Directory::new();
    let first = Gateway::within(&directory, &[&["--shards", "1"], &IN_MEMORY[..]].concat());
    let token = first.token("ada");
    let mut ada = Client::join(&first, "/ws/chat/s", &token);
    let epoch = ada.subscribed["payload"]["epoch"].clone();
    speak(&mut ada, 1..=2);
    seqs(&mut ada, 2);
    drop((ada, first));
    let second = Gateway::within(&directory, &[&["--shards", "1"], &IN_MEMORY[..]].concat());
    let again = back(&second, &token, &epoch, 2);
    let told = &again.subscribed["payload"];
    assert_eq!((&told["recovered"], &told["reason"]), (&json!(false), &json!("epoch_changed")), "{told}");
    assert_ne!(told["epoch"], epoch);
    assert_eq!(told["seq"], 0);
}

#[test]
fn an_operation_is_delivered_once_and_answered_each_time() {
    let gateway = Gateway::start();
    let token = gateway.token("ada");
    let mut ada = Client::join(&gateway, "/ws/chat/s", &token);
    ada.publish("chat:s", "op", &json!({ "v": 1 }));
    let event = ada.event();
    assert_eq!((&event["type"], &event["op_id"]), (&json!("note"), &json!("op")), "the event precedes its ack");
    let ack = ada.event();
    assert_eq!(ack["type"], "ack");
    let place = |ack: &Value| {
        (ack["payload"]["channel"].clone(), ack["payload"]["epoch"].clone(), ack["payload"]["seq"].clone())
    };
    assert_eq!(place(&ack), (json!("chat:s"), event["epoch"].clone(), json!(1)));
    assert_eq!(ack["payload"].get("duplicate"), None);
    ada.publish("chat:s", "op", &json!({ "v": 1 }));
    // Also on another connection of the same user.
    let mut other = Client::join(&gateway, "/ws/chat/s", &token);
    other.publish("chat:s", "op", &json!({ "v": 1 }));
    for client in [&mut ada, &mut other] {
        let events = client.pending();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!((place(&events[0]), &events[0]["payload"]["duplicate"]), (place(&ack), &json!(true)));
    }
    ada.publish("chat:s", "op", &json!({ "v": 2 }));
    let nack = ada.event();
    assert_eq!((&nack["type"], &nack["payload"]["code"]), (&json!("nack"), &json!("ID_REUSED")));
    assert_eq!(nack["payload"]["retryable"], false);
    // Another user's same id, and the same id in another channel, are other operations.
    let mut bob = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    bob.publish("chat:s", "op", &json!({ "v": 2 }));
    assert_eq!(bob.event_of("ack")["payload"]["seq"], 2);
    ada.publish("chat:t", "op", &json!({ "v": 2 }));
    assert_eq!(ada.event_of("ack")["payload"]["seq"], 1);
}

#[test]
fn a_chat_message_and_a_trip_update_are_recognised_too() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/trips/7/collab", &gateway.token("ada"));
    ada.subscribe(&["chat:s"]);
    for (message, kind) in [
        (json!({ "type": "chat_message", "channel": "chat:s", "payload": { "content": "x" } }), "chat_message"),
        (json!({ "type": "trip_update", "payload": { "field": "a", "value": 1 } }), "trip_update_broadcast"),
    ] {
        let mut message = message;
        (message["id"], message["ack"]) = (json!("op"), json!(true));
        ada.send(&message);
        assert_eq!(ada.event()["type"], kind);
        assert_eq!(ada.event()["type"], "ack");
        ada.send(&message);
        let events = ada.pending();
        assert_eq!((events.len(), &events[0]["payload"]["duplicate"]), (1, &json!(true)), "{events:?}");
    }
}
