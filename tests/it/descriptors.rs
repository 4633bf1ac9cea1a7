//! Out of descriptors: who is connected is served, nothing spins, and accepting goes on when some return. And
//! before that, the bound on connections that a server draws from its limit of descriptors.

use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::gateway::{Gateway, SOON, until};
use crate::raw::{self, Raw, upgrade_head};

// One after the other: what the second inherits must not reach the first.
#[test]
fn without_room_or_descriptors_the_connected_are_served_and_accepting_goes_on_later() {
    connections_beyond_the_bound_are_held_and_sockets_beyond_that_are_closed();
    accepting_goes_on_when_descriptors_return();
}

fn accepting_goes_on_when_descriptors_return() {
    // More are in use than it reckons with, so that its own bound on connections does not come first.
    let gateway = Gateway::with_descriptors(160, 80, &["--shards", "1"]);
    let mut canary = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    // The kernel completes these whether the server can accept them or not.
    let mut held: Vec<Raw> = (0..100).map(|_| Raw::connect(&gateway)).collect();
    let speak = |canary: &mut Client, word: &str| {
        canary.send(&json!({ "type": "chat_message", "payload": { "content": word } }));
        assert_eq!(canary.event()["payload"]["content"], word);
    };
    speak(&mut canary, "full");
    let used = gateway.processor_time();
    canary.set_patience(Duration::from_millis(2000));
    let silence = canary.socket.read();
    assert!(silence.is_err(), "{silence:?}");
    canary.set_patience(SOON);
    let used = gateway.processor_time() - used;
    assert!(used <= Duration::from_millis(200), "{used:?} of processor time in two seconds of nothing");
    speak(&mut canary, "still full");
    held.clear();
    let token = gateway.token("bob");
    let mut bob = None;
    until("somebody is let in again", SOON, || {
        bob = Client::try_open(&gateway, &format!("/ws/chat/s?token={token}"), &[]).ok();
        bob.is_some()
    });
    let mut bob = bob.unwrap();
    bob.event_of("subscribed");
    speak(&mut canary, "room again");
    assert_eq!(bob.event()["payload"]["content"], "room again");
    assert!(gateway.metric("waystation_accept_failures_total", "") > 0, "the descriptors never ran out");
}

fn connections_beyond_the_bound_are_held_and_sockets_beyond_that_are_closed() {
    let gateway = Gateway::with_descriptors(160, 0, &["--shards", "1"]);
    let room = gateway.greeting.split("room for ").nth(1).unwrap().split(' ').next().unwrap();
    let room: usize = room.parse().unwrap();
    assert!((1..160).contains(&room), "{room} connections with 160 descriptors");
    let mut canary = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let mut connected: Vec<Raw> =
        gateway.token_row("u", room - 1).iter().map(|token| Raw::admitted(&gateway, "/ws", token)).collect();
    let knock = || {
        let mut raw = Raw::connect(&gateway);
        raw.write(upgrade_head(&gateway, "/ws", "").as_bytes());
        raw
    };
    // The operator's token is made before anybody waits.
    assert_eq!(gateway.metric("waystation_held_upgrades", ""), 0);
    let (mut first, mut second) = (knock(), knock());
    until("they are held", SOON, || gateway.metric("waystation_held_upgrades", "") == 2);
    assert!(first.is_silent_for(Duration::from_millis(200)), "it is held");
    assert_eq!(raw::get(&gateway, "GET", "/health").status, 200, "what is no upgrade is answered");
    connected.truncate(room - 2);
    assert!(first.head().starts_with("HTTP/1.1 101 "), "a place has become free");
    let refusal = second.head();
    assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("\r\nRetry-After: "), "{refusal}");
    // Some sockets are spare for that, and not more than there are descriptors for.
    let mut held: Vec<Raw> = (0..room / 2).map(|_| Raw::connect(&gateway)).collect();
    assert!((0..5).all(|_| Raw::connect(&gateway).rest().is_empty()), "it is closed without a word");
    canary.send(&json!({ "type": "chat_message", "payload": { "content": "full" } }));
    assert_eq!(canary.event()["payload"]["content"], "full");
    held.clear();
    until("there is room again", SOON, || {
        let mut raw = Raw::connect(&gateway);
        let asked = std::io::Write::write_all(&mut raw.stream, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        asked.is_ok() && raw.rest().starts_with(b"HTTP/1.1 200 ")
    });
    assert!(gateway.metric("waystation_refused_total", "reason=\"full\"") >= 6);
    assert_eq!(gateway.metric("waystation_held_upgrades", ""), 0);
    assert_eq!(gateway.metric("waystation_accept_failures_total", ""), 0);
}
