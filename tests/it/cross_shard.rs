//! Two shards. Connections to `/ws` live where they were accepted and channels where their name puts them,
//! so with many of both each of the four combinations occurs: order, acknowledgements and permissions hold
//! in all of them.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::Gateway;

const CHANNELS: usize = 24;
const ROUNDS: usize = 20;

fn channel(index: usize) -> String {
    format!("chat:room-{index}")
}

fn started() -> (Gateway, Vec<Client>) {
    let gateway = Gateway::with(&["--shards", "2", "--limits", "unlimited"]);
    let tokens = gateway.token_row("user", 6);
    loop {
        let clients: Vec<Client> = tokens.iter().map(|token| Client::join(&gateway, "/ws", token)).collect();
        // The kernel deals out connections by chance, once in thirty times all to one shard.
        if ["shard=\"0\"", "shard=\"1\""].iter().all(|shard| gateway.metric("waystation_connections", shard) > 0) {
            return (gateway, clients);
        }
    }
}

#[test]
fn order_and_acknowledgements_hold_wherever_a_channel_is_at_home() {
    let (gateway, mut clients) = started();
    let names: Vec<String> = (0..CHANNELS).map(channel).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for client in &mut clients {
        client.subscribe(&names);
    }
    for round in 0..ROUNDS {
        for (author, client) in clients.iter_mut().enumerate() {
            for name in names.iter().skip(author).step_by(6) {
                client.publish(name, &format!("{author}-{round}-{name}"), &json!({ "round": round }));
            }
        }
    }
    let mut views: Vec<HashMap<String, Vec<Value>>> = Vec::new();
    for (author, client) in clients.iter_mut().enumerate() {
        let (mut view, mut acked) = (HashMap::<String, Vec<Value>>::new(), 0);
        let owed = CHANNELS * ROUNDS;
        while view.values().map(Vec::len).sum::<usize>() < owed || acked < owed / 6 {
            let event = client.event();
            if event["type"] == "ack" {
                acked += 1;
                let payload = &event["payload"];
                let seen = view.get(payload["channel"].as_str().unwrap()).map_or(&[][..], Vec::as_slice);
                let delivered = seen.iter().any(|one| one["op_id"] == payload["id"] && one["seq"] == payload["seq"]);
                assert!(delivered, "client {author}: the acknowledgement precedes the event: {event}");
            } else {
                view.entry(event["channel"].as_str().unwrap().to_owned()).or_default().push(event);
            }
        }
        for (name, events) in &view {
            let seqs: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
            let all: Vec<u64> = (1..=u64::try_from(ROUNDS).unwrap()).collect();
            assert_eq!(seqs, all, "client {author}, {name}");
        }
        views.push(view);
    }
    assert!(views.windows(2).all(|two| two[0] == two[1]), "members saw different events");
    assert!(gateway.metric("waystation_mesh_sent_total", "") > 0, "nothing crossed from shard to shard");
    for shard in ["shard=\"0\"", "shard=\"1\""] {
        assert!(gateway.metric("waystation_published_total", shard) > 0, "no channel is at home on {shard}");
        assert!(gateway.metric("waystation_connections", shard) > 0, "no connection lives on {shard}");
    }
}

#[test]
fn endpoints_and_the_open_door_meet_in_one_room() {
    let (gateway, mut clients) = started();
    let token = gateway.token("guest");
    for index in 0..8 {
        let name = channel(index);
        let mut guest = Client::join(&gateway, &format!("/ws/chat/room-{index}"), &token);
        let open = &mut clients[index % 6];
        open.subscribe(&[&name]);
        guest.send(&json!({ "type": "chat_message", "payload": { "content": "from the endpoint" } }));
        open.send(&json!({ "type": "chat_message", "channel": name, "payload": { "content": "from the open door" } }));
        let at_guest: Vec<Value> = (0..2).map(|_| guest.event_of("chat_message")).collect();
        let at_open: Vec<Value> = (0..2).map(|_| open.event_of("chat_message")).collect();
        assert_eq!(at_guest, at_open, "{name}");
    }
}

#[test]
fn a_refusal_from_another_shard_comes_back_and_a_resend_is_recognised_there() {
    let (_gateway, mut clients) = started();
    for index in 0..CHANNELS {
        let name = channel(index);
        let client = &mut clients[index % 6];
        client.publish(&name, "op", &json!({ "v": 1 }));
        let first = client.event();
        assert_eq!((&first["type"], &first["payload"]["seq"]), (&json!("ack"), &json!(1)), "{name}");
        client.publish(&name, "op", &json!({ "v": 1 }));
        let again = client.event();
        assert_eq!((&again["payload"]["seq"], &again["payload"]["duplicate"]), (&json!(1), &json!(true)), "{name}");
        client.publish(&name, "op", &json!({ "v": 2 }));
        let reused = client.event();
        assert_eq!((&reused["type"], &reused["payload"]["code"]), (&json!("nack"), &json!("ID_REUSED")), "{name}");
    }
}

#[test]
fn a_member_that_leaves_one_shard_and_comes_back_on_another_resumes_exactly() {
    let (gateway, mut clients) = started();
    let token = gateway.token("ada");
    for index in 0..12 {
        let name = channel(index);
        let publisher = &mut clients[index % 6];
        let mut ada = Client::join(&gateway, "/ws", &token);
        let epoch = ada.subscribe(&[&name])[0]["payload"]["epoch"].clone();
        for id in 0..3 {
            publisher.publish(&name, &format!("a{id}"), &json!({ "id": id }));
        }
        assert_eq!((0..3).map(|_| ada.event()["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
        drop(ada);
        for id in 0..3 {
            publisher.publish(&name, &format!("b{id}"), &json!({ "id": id }));
        }
        for _ in 0..6 {
            publisher.event_of("ack");
        }
        let mut ada = Client::join(&gateway, "/ws", &token);
        let since = json!({ &name: { "epoch": epoch, "seq": 3 } });
        ada.send(&json!({ "type": "subscribe", "payload": { "channels": [name], "since": since } }));
        assert_eq!(ada.event()["type"], "subscribe_response");
        let subscribed = ada.event();
        assert_eq!(
            (&subscribed["type"], &subscribed["payload"]["recovered"]),
            (&json!("subscribed"), &json!(true)),
            "{name}"
        );
        assert_eq!((0..3).map(|_| ada.event()["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [4, 5, 6], "{name}");
    }
}
