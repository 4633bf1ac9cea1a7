//! Seed 003's clients at what their page shows, in the mode that asks for no token, because they have none to send; and
//! how often its reconnecting class asks for a socket where it is refused.

use std::time::Duration;

use serde_json::{Value, json};

use super::globetrotter::{Hook, Reconnecting};
use super::wire::{Pace, drive, rest};
use crate::gateway::{Directory, Gateway, SOON};
use crate::raw;

const PACE: Pace = Pace(15);
/// Half a minute of theirs.
const HALF_A_MINUTE: Duration = Duration::from_secs(2);

fn configuration(directory: &Directory) -> String {
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, "[globetrotter]\nopen = true\n").unwrap();
    file.to_str().unwrap().to_owned()
}

fn open_gateway() -> Gateway {
    let directory = Directory::new();
    let file = configuration(&directory);
    Gateway::within(&directory, &["--shards", "1", "--config", &file])
}

/// A message without what differs from run to run.
fn plain(message: &Value) -> Value {
    let mut message = message.clone();
    assert!(message.as_object_mut().unwrap().remove("timestamp").is_some_and(|at| at.is_string()), "{message}");
    message
}

#[test]
fn two_pages_share_a_trip_as_seed_003_shows() {
    let gateway = open_gateway();
    let mut ann = Hook::mount(gateway.address, "/api/v1/ws/user123");
    let mut bob = Hook::mount(gateway.address, "/api/v1/ws/user456");
    let welcome = |all: &[&mut Hook]| all.iter().all(|page| !page.messages_of("connection").is_empty());
    drive(&mut [&mut ann, &mut bob], SOON, welcome);
    assert!(ann.is_connected && bob.is_connected);
    let first = json!({
        "type": "connection", "status": "connected", "user_id": "user123",
        "message": "WebSocket connection established",
    });
    assert_eq!(plain(&ann.messages[0]), first, "with the timestamp that the page shows");
    ann.join_trip("trip123");
    drive(&mut [&mut ann], SOON, |all| !all[0].messages_of("user_joined").is_empty());
    bob.join_trip("trip123");
    drive(&mut [&mut ann, &mut bob], SOON, |all| all[0].messages_of("user_joined").len() == 2);
    for (sent, received) in [
        ("trip_update", "trip_updated"),
        ("itinerary_update", "itinerary_updated"),
        ("budget_update", "budget_updated"),
        ("activity_update", "activity_updated"),
    ] {
        ann.send(&json!({ "type": sent, "trip_id": "trip123", "data": { "title": "New Title" } }));
        drive(&mut [&mut ann, &mut bob], SOON, |all| all.iter().all(|page| !page.messages_of(received).is_empty()));
        let expected = json!({ "type": received, "trip_id": "trip123", "data": { "title": "New Title" }, "updated_by": "user123" });
        for page in [&ann, &bob] {
            assert_eq!(plain(page.messages_of(received)[0]), expected);
        }
    }
    bob.send(&json!({ "type": "typing", "trip_id": "trip123", "field": "itinerary_day1" }));
    drive(&mut [&mut ann, &mut bob], SOON, |all| !all[0].messages_of("user_typing").is_empty());
    let stats: Value = serde_json::from_str(&raw::get(&gateway, "GET", "/api/v1/ws/stats").body).unwrap();
    assert_eq!(stats, json!({ "active_users": 2, "active_rooms": 1, "rooms": { "trip_trip123": 2 } }));
    bob.send(&json!({ "type": "ping", "timestamp": "2026-01-03T12:00:00Z" }));
    drive(&mut [&mut bob], SOON, |all| !all[0].messages_of("pong").is_empty());
    assert_eq!(*bob.messages_of("pong")[0], json!({ "type": "pong", "timestamp": "2026-01-03T12:00:00Z" }));
    bob.leave_trip("trip123");
    drive(&mut [&mut ann], SOON, |all| !all[0].messages_of("user_left").is_empty());
    let left = json!({ "type": "user_left", "user_id": "user456", "trip_id": "trip123" });
    assert_eq!(plain(ann.messages_of("user_left")[0]), left);
    ann.unmount();
    drive(&mut [&mut ann], SOON, |all| !all[0].is_connected);
}

#[test]
fn the_page_of_a_trip_hears_what_any_other_says_there() {
    let gateway = open_gateway();
    let mut ann = Hook::mount(gateway.address, "/api/v1/ws/trip/trip123?user_id=user123");
    drive(&mut [&mut ann], SOON, |all| !all[0].messages_of("user_joined_trip").is_empty());
    let mut bob = Hook::mount(gateway.address, "/api/v1/ws/trip/trip123?user_id=user456");
    drive(&mut [&mut ann, &mut bob], SOON, |all| {
        all[0].messages_of("user_joined_trip").len() == 2 && !all[1].messages_of("user_joined_trip").is_empty()
    });
    assert_eq!(plain(&bob.messages[0])["active_users"], 2);
    bob.send(&json!({ "type": "note", "text": "hello", "user_id": "user123" }));
    drive(&mut [&mut ann, &mut bob], SOON, |all| all.iter().all(|page| !page.messages_of("note").is_empty()));
    let expected = json!({ "type": "note", "text": "hello", "user_id": "user456", "trip_id": "trip123" });
    assert_eq!(plain(ann.messages_of("note")[0]), expected, "nobody speaks for another");
    bob.unmount();
    drive(&mut [&mut ann, &mut bob], SOON, |all| !all[0].messages_of("user_left_trip").is_empty());
}

#[test]
fn the_reconnecting_class_is_back_after_a_restart() {
    let (address, directory) = (Gateway::own_address(), Directory::new());
    let file = configuration(&directory);
    let mut gateway = Gateway::at(&address, &directory, &["--shards", "1", "--config", &file]);
    let mut ann = Reconnecting::connect(gateway.address, "/api/v1/ws/user123", PACE);
    drive(&mut [&mut ann], SOON, |all| !all[0].messages.is_empty());
    gateway.terminate();
    drive(&mut [&mut ann], 2 * SOON, |all| !all[0].is_open());
    gateway.wait(SOON);
    drop(gateway);
    let gateway = Gateway::at(&address, &directory, &["--shards", "1", "--config", &file]);
    drive(&mut [&mut ann], SOON, |all| all[0].messages.len() == 2);
    assert!((2..=6).contains(&ann.sockets), "{}", ann.sockets);
    ann.send(&json!({ "type": "join_trip", "trip_id": "t" }));
    drive(&mut [&mut ann], SOON, |all| all[0].messages.len() == 3);
    drop(gateway);
}

#[test]
fn a_refused_page_asks_six_times_and_nothing_that_it_sends_drives_it_into_a_loop() {
    let gateway = Gateway::start();
    let (ann, bad) = (gateway.token("ann"), "no");
    let narrow = gateway.token_with("ann", &["--caps", "{}"]);
    for (path, status) in [
        ("/api/v1/ws/ann".to_owned(), 401),
        (format!("/api/v1/ws/ann?token={bad}"), 401),
        (format!("/api/v1/ws/bob?token={ann}"), 403),
        (format!("/api/v1/ws/ann?token={narrow}"), 403),
        (format!("/api/v1/ws/trip/t?token={ann}"), 403),
    ] {
        // 2, 4, 6, 8 and 10 s after the first, which is its own and only budget.
        let mut page = Reconnecting::connect(gateway.address, &path, Pace(100));
        drive(&mut [&mut page], SOON, |all| all[0].has_stopped());
        assert_eq!((page.sockets, &page.refusals[..]), (6, &[status; 6][..]), "{path}");
    }
    let large = json!({ "type": "ping", "x": "x".repeat(70_000) }).to_string();
    let frames = [
        ("no JSON", "{", 1),
        ("no object", "[1]", 1),
        ("a trip that was not joined", r#"{"type":"typing","trip_id":"t"}"#, 1),
        ("over its rate", r#"{"type":"join_trip","trip_id":"t"}"#, 1),
        ("too large", &large, 2),
    ];
    for (name, frame, expected) in frames {
        let path = format!("/api/v1/ws/ann?token={ann}");
        let mut page = Reconnecting::connect(gateway.address, &path, PACE);
        drive(&mut [&mut page], SOON, |all| !all[0].messages.is_empty());
        let count = if expected == 1 { 60 } else { 1 };
        for _ in 0..count {
            page.send_text(frame);
        }
        drive(&mut [&mut page], SOON, |all| all[0].sockets == expected && all[0].is_open());
        rest(&mut [&mut page], HALF_A_MINUTE);
        assert_eq!(page.sockets, expected, "{name}");
        assert!(page.is_open(), "{name}");
    }
}

#[test]
fn a_token_that_ends_costs_a_page_its_five_tries() {
    let gateway = Gateway::start();
    let token = gateway.token_with("ann", &["--ttl", "2s"]);
    let mut page = Reconnecting::connect(gateway.address, &format!("/api/v1/ws/ann?token={token}"), Pace(100));
    drive(&mut [&mut page], SOON, |all| all[0].has_stopped());
    assert_eq!((page.sockets, &page.refusals[..]), (6, &[401; 5][..]));
    rest(&mut [&mut page], Duration::from_millis(300));
    assert_eq!(page.sockets, 6);
}
