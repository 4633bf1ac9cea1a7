//! SIGTERM under load: everybody is told, nobody new is let in, connections are closed 1012 in waves over
//! the window, what was acknowledged had been delivered, what was taken is acknowledged and kept, and the exit code is 0.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Seen};
use crate::gateway::{Directory, Gateway, SOON, until};
use crate::raw;

const CLIENTS: usize = 40;
/// Over this time a server sees its connections off.
const WINDOW: Duration = Duration::from_secs(10);

/// What a client saw of the drain.
struct Farewell {
    told: bool,
    code: u16,
    after: Duration,
    delivered: HashSet<String>,
    acked: Vec<String>,
}

/// Goes on publishing, one after the other, until the server closes the connection.
fn publish_to_the_end(mut client: Client, name: usize, start: Instant) -> Farewell {
    let mut farewell =
        Farewell { told: false, code: 0, after: Duration::ZERO, delivered: HashSet::new(), acked: Vec::new() };
    let mut next = 0;
    let mut open = true;
    loop {
        if open {
            let message = json!({
                "type": "chat_message", "id": format!("{name}-{next}"), "ack": true, "payload": { "content": "x" },
            });
            next += 1;
            open = client.socket.send(tungstenite::Message::text(message.to_string())).is_ok();
        }
        loop {
            match client.next() {
                Seen::Text(text) => {
                    let event: Value = serde_json::from_str(&text).unwrap();
                    match event["type"].as_str().unwrap() {
                        "draining" => {
                            assert!(event["payload"]["reconnect_after_ms"].is_number(), "{event}");
                            farewell.told = true;
                        }
                        "chat_message" => {
                            farewell.delivered.insert(event["op_id"].as_str().unwrap().to_owned());
                        }
                        "ack" => {
                            farewell.acked.push(event["payload"]["id"].as_str().unwrap().to_owned());
                            break;
                        }
                        "connection_close" => assert_eq!(event["payload"]["code"], 1012),
                        "presence" | "connection_heartbeat" => {}
                        other => panic!("unexpected: {other}"),
                    }
                }
                Seen::Close(code, _) => {
                    farewell.code = code.unwrap();
                    farewell.after = start.elapsed();
                }
                Seen::End => return farewell,
                Seen::Ping | Seen::Pong(_) => {}
                Seen::Binary(_) => panic!("a binary message"),
            }
        }
    }
}

#[test]
fn a_drain_under_load_tells_everybody_closes_in_waves_and_ends_with_0() {
    let mut gateway = Gateway::with(&["--shards", "2", "--limits", "unlimited"]);
    let tokens = gateway.token_row("user", CLIENTS);
    let clients: Vec<Client> = tokens
        .iter()
        .enumerate()
        .map(|(index, token)| Client::join_known(&gateway, &format!("/ws/chat/s-{}", index / 4), token))
        .collect();
    let start = Instant::now();
    let threads: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(name, client)| std::thread::spawn(move || publish_to_the_end(client, name, start)))
        .collect();
    until("the load runs", SOON, || gateway.metric("waystation_published_total", "") > 200);
    gateway.terminate();
    let asked = start.elapsed();
    until("it says that it is not ready", WINDOW / 2, || raw::get(&gateway, "GET", "/readyz").status == 503);
    assert_eq!(raw::get(&gateway, "GET", "/health").status, 200, "it is alive all the same");
    let refused = raw::ask(&gateway, &raw::upgrade_head(&gateway, "/ws", ""));
    assert_eq!(refused.status, 503);
    assert!(refused.header("Retry-After").is_some(), "{refused:?}");
    let status = gateway.wait(WINDOW + SOON);
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    let farewells: Vec<Farewell> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for (name, farewell) in farewells.iter().enumerate() {
        assert_eq!((farewell.told, farewell.code), (true, 1012), "client {name}");
        for id in &farewell.acked {
            assert!(farewell.delivered.contains(id), "client {name}: {id} was acknowledged and not delivered");
        }
    }
    let mut after: Vec<Duration> = farewells.iter().map(|farewell| farewell.after.saturating_sub(asked)).collect();
    after.sort_unstable();
    assert!(after[CLIENTS - 1] - after[0] > Duration::from_secs(2), "all at once: {after:?}");
    assert!(after[CLIENTS - 1] < WINDOW + Duration::from_secs(5), "{after:?}");
    let most_at_once =
        after.iter().map(|at| after.iter().filter(|other| other.abs_diff(*at).as_millis() < 150).count());
    assert!(most_at_once.max().unwrap() <= CLIENTS / 2, "no waves: {after:?}");
}

/// What became of the operations of a client that had several under way when it was closed.
struct Publisher {
    acked: HashSet<String>,
    /// From the event that says that it is closed to the close frame.
    waited: Duration,
    code: u16,
}

/// Keeps some operations under way until the server closes the connection.
fn publish_ahead(mut client: Client, name: usize) -> Publisher {
    const UNDER_WAY: usize = 8;
    let mut publisher = Publisher { acked: HashSet::new(), waited: Duration::ZERO, code: 0 };
    let (mut sent, mut told) = (0, None);
    loop {
        while told.is_none() && sent < publisher.acked.len() + UNDER_WAY {
            let body = json!({ "channel": channel_of(name), "type": "note", "payload": {} });
            let message = json!({ "type": "publish", "id": format!("{name}-{sent}"), "ack": true, "payload": body });
            let _may_be_closed = client.socket.send(tungstenite::Message::text(message.to_string()));
            sent += 1;
        }
        match client.next() {
            Seen::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                match event["type"].as_str().unwrap() {
                    "ack" => {
                        publisher.acked.insert(event["payload"]["id"].as_str().unwrap().to_owned());
                    }
                    "nack" => panic!("{event}"),
                    "connection_close" => told = Some(Instant::now()),
                    _ => {}
                }
            }
            Seen::Close(code, _) => {
                publisher.code = code.unwrap();
                publisher.waited = told.map_or(Duration::ZERO, |told| told.elapsed());
            }
            Seen::End => return publisher,
            Seen::Ping | Seen::Pong(_) | Seen::Binary(_) => {}
        }
    }
}

fn channel_of(name: usize) -> String {
    format!("chat:s-{}", name % 4)
}

#[test]
fn what_a_draining_server_has_taken_is_acknowledged_before_the_close_and_in_the_store_afterwards() {
    let directory = Directory::new();
    let kept = ["--set", "history.events=100000", "--set", "history.bytes=200000000", "--set", "store.window_ms=20"];
    let options = [&["--shards", "2", "--limits", "unlimited"][..], &kept].concat();
    let mut gateway = Gateway::within(&directory, &options);
    let (tokens, reader) = (gateway.token_row("user", 20), gateway.token("reader"));
    let clients: Vec<Client> = tokens.iter().map(|token| Client::join_known(&gateway, "/ws", token)).collect();
    let mut first = Client::join(&gateway, "/ws", &reader);
    let epochs: Vec<Value> =
        (0..4).map(|room| first.subscribe(&[&channel_of(room)])[0]["payload"]["epoch"].clone()).collect();
    drop(first);
    let threads: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(name, client)| std::thread::spawn(move || publish_ahead(client, name)))
        .collect();
    until("the load runs", SOON, || gateway.metric("waystation_published_total", "") > 200);
    gateway.terminate();
    assert_eq!(gateway.wait(WINDOW + SOON).code(), Some(0), "{}", gateway.log());
    let publishers: Vec<Publisher> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();

    let gateway = Gateway::within(&directory, &options);
    let mut stored = HashSet::new();
    for (room, epoch) in epochs.iter().enumerate() {
        let channel = channel_of(room);
        let resume = json!([{ "channel": channel, "epoch": epoch, "seq": 0 }]);
        let path = format!("/ws/chat/{}", channel.trim_start_matches("chat:"));
        let mut back = Client::join_with(&gateway, &path, &json!({ "token": reader, "resume": resume }));
        assert_eq!(back.subscribed["payload"]["recovered"], true, "{}", back.subscribed);
        let last = back.subscribed["payload"]["seq"].as_u64().unwrap();
        for _ in 0..last {
            stored.insert(back.event_of("note")["op_id"].as_str().unwrap().to_owned());
        }
    }
    for (name, publisher) in publishers.iter().enumerate() {
        assert_eq!(publisher.code, 1012, "client {name}");
        let lost: Vec<_> = publisher.acked.difference(&stored).collect();
        assert!(lost.is_empty(), "client {name}: acknowledged and not in the store: {lost:?}");
        let prefix = format!("{name}-");
        let silent: Vec<_> =
            stored.iter().filter(|id| id.starts_with(&prefix) && !publisher.acked.contains(*id)).collect();
        // A disk that stalls is waited for so long and no longer.
        assert!(silent.is_empty() || publisher.waited >= PATIENCE, "client {name}: taken, not answered: {silent:?}");
    }
}

/// How long answers that are under way are waited for, less what a busy machine may shorten it by for who looks.
const PATIENCE: Duration = Duration::from_millis(400);

/// Publishes to each of ten channels. Returns whether all was acknowledged before the connection ended.
fn is_served(client: &mut Client) -> bool {
    const CHANNELS: usize = 10;
    for index in 0..CHANNELS {
        let body = json!({ "channel": format!("chat:other-{index}"), "type": "note", "payload": {} });
        let message = json!({ "type": "publish", "id": index.to_string(), "ack": true, "payload": body });
        let _may_be_closed = client.socket.send(tungstenite::Message::text(message.to_string()));
    }
    let mut acked = 0;
    while acked < CHANNELS {
        match client.next() {
            Seen::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                assert_ne!(event["type"], "nack", "{event}");
                acked += usize::from(event["type"] == "ack");
            }
            Seen::Close(..) | Seen::End => return false,
            Seen::Ping | Seen::Pong(_) | Seen::Binary(_) => {}
        }
    }
    true
}

#[test]
fn channels_at_home_on_a_shard_without_connections_are_served_until_the_last_connection_elsewhere_is_gone() {
    let gateway = Gateway::with(&["--shards", "2", "--limits", "unlimited"]);
    let tokens = gateway.token_row("user", 20);
    // All live on the home of the one chat; half of the ten channels are at home on the other shard.
    let mut clients: Vec<Client> =
        tokens.iter().map(|token| Client::join_known(&gateway, "/ws/chat/s", token)).collect();
    gateway.terminate();
    until("it drains", SOON, || raw::get(&gateway, "GET", "/readyz").status == 503);
    std::thread::sleep(Duration::from_millis(300));
    // The one that has the latest wave; nobody is served any more if the other shard has ended with the first.
    assert!(clients.iter_mut().any(is_served), "nobody is served: {}", gateway.log());
}

#[test]
fn a_server_without_connections_ends_at_once_and_one_with_a_dead_one_within_the_window() {
    let mut idle = Gateway::start();
    idle.terminate();
    assert_eq!(idle.wait(Duration::from_secs(8)).code(), Some(0));
    // Clients that never answer the close: an upgraded one and a half-open one.
    let mut gateway = Gateway::start();
    let _silent = raw::Raw::admitted(&gateway, "/ws", &gateway.token("ada"));
    let _half_open = raw::Raw::connect(&gateway);
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(0), "{}", gateway.log());
}

#[test]
fn a_second_signal_ends_it_without_waiting() {
    let mut gateway = Gateway::start();
    // Enough that some are left for the later waves.
    let token = gateway.token("ada");
    let _clients: Vec<Client> = (0..20).map(|_| Client::join(&gateway, "/ws", &token)).collect();
    gateway.terminate();
    until("it drains", SOON, || raw::get(&gateway, "GET", "/readyz").status == 503);
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(128 + 15));
}
