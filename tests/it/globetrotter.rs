//! The GlobeTrotter dialect as its clients live it: both endpoints over two shards, users of the other dialect in
//! the same trip, refusals that end nothing and begin nothing anew, and the mode without tokens.
//!
//! The client below is written from what the shipped one sends, expects and does when a socket ends.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::client::{Client, Seen};
use crate::gateway::{Directory, Gateway, SOON, until};
use crate::raw;

/// How often the shipped client tries to come back.
const TRIES: u32 = 5;
/// Stands for the two seconds by which each of its waits is longer than the one before.
const PACE: Duration = Duration::from_millis(20);

fn user_path(user: &str, token: &str) -> String {
    format!("/api/v1/ws/{user}?token={token}")
}

fn trip_path(trip: &str, user: &str, token: &str) -> String {
    format!("/api/v1/ws/trip/{trip}?user_id={user}&token={token}")
}

/// A gateway that lets clients in without a token.
fn open_gateway(args: &[&str]) -> Gateway {
    let directory = Directory::new();
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, "[globetrotter]\nopen = true\n").unwrap();
    let mut all = vec!["--config", file.to_str().unwrap()];
    all.extend(args);
    Gateway::within(&directory, &all)
}

/// A client on the endpoint of its user.
fn connect(gateway: &Gateway, user: &str) -> Client {
    let mut client = Client::open(gateway, &user_path(user, &gateway.token(user)));
    let first = client.event();
    assert_eq!((&first["type"], &first["status"]), (&json!("connection"), &json!("connected")));
    assert_eq!((&first["user_id"], first["timestamp"].is_string()), (&json!(user), true));
    client
}

/// The next event without its timestamp, which has to be there.
fn told(client: &mut Client) -> Value {
    let mut event = client.event();
    assert!(event.as_object_mut().unwrap().remove("timestamp").is_some_and(|at| at.is_string()), "{event}");
    event
}

#[test]
fn two_travellers_share_a_trip_on_both_endpoints_over_two_shards() {
    let gateway = Gateway::with(&["--shards", "2"]);
    let (mut ann, mut bob) = (connect(&gateway, "ann"), connect(&gateway, "bob"));
    ann.send(&json!({ "type": "join_trip", "trip_id": 7 }));
    assert_eq!(told(&mut ann), json!({ "type": "user_joined", "user_id": "ann", "trip_id": 7 }));
    bob.send(&json!({ "type": "join_trip", "trip_id": 7 }));
    for client in [&mut ann, &mut bob] {
        assert_eq!(told(client), json!({ "type": "user_joined", "user_id": "bob", "trip_id": 7 }));
    }
    let mut eve = Client::open(&gateway, &trip_path("7", "eve", &gateway.token("eve")));
    let first = told(&mut eve);
    assert_eq!((&first["type"], &first["active_users"]), (&json!("trip_connection"), &json!(3)));
    let joined = json!({ "type": "user_joined_trip", "user_id": "eve", "trip_id": "7" });
    for client in [&mut ann, &mut bob, &mut eve] {
        assert_eq!(told(client), joined);
    }
    ann.send(&json!({ "type": "budget_update", "trip_id": 7, "data": { "category": "x", "amount": 150.0 } }));
    let updated = json!({
        "type": "budget_updated", "trip_id": 7, "data": { "category": "x", "amount": 150.0 }, "updated_by": "ann",
    });
    for client in [&mut ann, &mut bob, &mut eve] {
        assert_eq!(told(client), updated);
    }
    bob.send(&json!({ "type": "typing", "trip_id": 7, "field": "itinerary_day1" }));
    let typing = json!({ "type": "user_typing", "trip_id": 7, "user_id": "bob", "field": "itinerary_day1" });
    for client in [&mut ann, &mut bob, &mut eve] {
        assert_eq!(told(client), typing);
    }
    eve.send(&json!({ "type": "cheer", "how": ["loud"], "user_id": "ann", "timestamp": "then" }));
    let cheer = json!({ "type": "cheer", "how": ["loud"], "user_id": "eve", "trip_id": "7" });
    for client in [&mut ann, &mut bob, &mut eve] {
        assert_eq!(told(client), cheer);
    }
    drop(bob);
    for client in [&mut ann, &mut eve] {
        assert_eq!(told(client), json!({ "type": "user_left", "user_id": "bob", "trip_id": 7 }));
    }
    drop(eve);
    assert_eq!(told(&mut ann), json!({ "type": "user_left_trip", "user_id": "eve", "trip_id": "7" }));
    ann.send(&json!({ "type": "ping", "timestamp": "2026-01-03T12:00:00Z" }));
    assert_eq!(ann.event(), json!({ "type": "pong", "timestamp": "2026-01-03T12:00:00Z" }));
}

#[test]
fn a_collaborator_and_a_traveller_see_each_others_changes() {
    let gateway = Gateway::with(&["--shards", "2"]);
    let mut cat = Client::join(&gateway, "/ws/trips/oslo/collab", &gateway.token("cat"));
    let mut ann = connect(&gateway, "ann");
    ann.send(&json!({ "type": "join_trip", "trip_id": "oslo" }));
    assert_eq!(told(&mut ann)["type"], "user_joined");
    ann.send(&json!({ "type": "itinerary_update", "trip_id": "oslo", "data": { "day": 1 } }));
    let seen = cat.event_of("trip_update_broadcast");
    assert_eq!((&seen["user_id"], &seen["seq"], &seen["channel"]), (&json!("ann"), &json!(1), &json!("trip:oslo")));
    assert_eq!(seen["payload"]["changes"], json!({ "itinerary.day": { "new_value": 1 } }));
    assert_eq!(told(&mut ann)["data"], json!({ "day": 1 }));
    cat.send(&json!({ "type": "trip_update", "payload": { "field": "title", "value": "Oslo" } }));
    let expected =
        json!({ "type": "trip_updated", "trip_id": "oslo", "data": { "title": "Oslo" }, "updated_by": "cat" });
    assert_eq!(told(&mut ann), expected);
    cat.publish("trip:oslo", "op", &json!({ "any": "thing" }));
    cat.send(&json!({ "type": "trip_update", "payload": { "field": "budget.sum", "value": 1 } }));
    assert_eq!(told(&mut ann)["type"], "budget_updated", "nothing between");
}

#[test]
fn what_cannot_be_read_is_answered_and_the_socket_serves_on() {
    let gateway = Gateway::start();
    let mut user = connect(&gateway, "ann");
    let mut trip = Client::open(&gateway, &trip_path("t", "ann", &gateway.token("ann")));
    for kind in ["trip_connection", "user_joined_trip"] {
        assert_eq!(trip.event()["type"], kind);
    }
    for client in [&mut user, &mut trip] {
        for text in ["{", "[1]", "not json", ""] {
            client.send_text(text);
            assert_eq!(told(client)["type"], "error", "{text}");
        }
        client.socket.send(Message::binary(vec![0, 255])).unwrap();
        assert_eq!(told(client)["type"], "error");
        client.send(&json!({ "type": "ping" }));
        let answer = client.event();
        assert!(answer["type"] == "pong" || answer["type"] == "ping", "{answer}");
    }
    user.send(&json!({ "type": "trip_update", "trip_id": "t", "data": {} }));
    assert_eq!(told(&mut user)["code"], "NOT_A_MEMBER");
    user.send(&json!({ "type": "join_trip" }));
    user.send(&json!({ "type": "unheard of", "trip_id": "t" }));
    assert_eq!(user.pending(), Vec::<Value>::new());
}

/// The shipped client: comes back after any close, each time a little later, and counts anew once a socket has
/// opened. Gives how many sockets it asked for and how many opened, when it has given up.
fn live(gateway: &Gateway, path: &str) -> (u32, u32) {
    let (mut asked, mut opened, mut tries) = (0, 0, 0);
    loop {
        asked += 1;
        assert!(asked < 100, "it goes on for ever");
        if let Ok(mut client) = Client::try_open(gateway, path, &[]) {
            opened += 1;
            tries = 0;
            while !matches!(client.next(), Seen::End) {}
        }
        if tries == TRIES {
            return (asked, opened);
        }
        tries += 1;
        thread::park_timeout(PACE * tries);
    }
}

#[test]
fn a_client_that_is_refused_gives_up_without_a_socket_having_opened() {
    let gateway = Gateway::start();
    let (ann, bad) = (gateway.token("ann"), "a.b.c");
    let bare = gateway.token_with("ann", &["--caps", "{}"]);
    for (path, status) in [
        ("/api/v1/ws/ann".to_owned(), 401),
        (user_path("ann", bad), 401),
        (user_path("bob", &ann), 403),
        (user_path("ann", &bare), 403),
        (trip_path("t", "bob", &ann), 403),
        (trip_path("t", "ann", bad), 401),
        (format!("/api/v1/ws/trip/t?token={ann}"), 403),
        (user_path("%00", &ann), 400),
    ] {
        let refusal = Client::try_open(&gateway, &path, &[]).err();
        assert_eq!(refusal.map(|(status, _)| status), Some(status), "{path}");
    }
    assert_eq!(live(&gateway, "/api/v1/ws/ann"), (1 + TRIES, 0));
    assert_eq!(live(&gateway, &user_path("bob", &ann)), (1 + TRIES, 0));
}

#[test]
fn a_client_whose_token_ends_comes_back_to_refusals_and_gives_up() {
    let gateway = Gateway::start();
    let token = gateway.token_with("ann", &["--ttl", "2s"]);
    assert_eq!(live(&gateway, &user_path("ann", &token)), (1 + TRIES, 1));
}

#[test]
fn a_token_may_come_in_the_header_or_the_sub_protocol() {
    let gateway = Gateway::start();
    let token = gateway.token("ann");
    let (header, protocol) = (format!("Bearer {token}"), format!("chat, bearer.{token}"));
    for (name, value) in [("Authorization", &header), ("Sec-WebSocket-Protocol", &protocol)] {
        let mut client = Client::try_open(&gateway, "/api/v1/ws/ann", &[(name, value)]).unwrap();
        assert_eq!(client.event()["type"], "connection", "{name}");
    }
}

#[test]
fn without_tokens_everybody_is_whom_they_say_and_may_write_and_count() {
    let gateway = open_gateway(&["--shards", "2"]);
    until("the warning is in the log", SOON, || gateway.log().contains("globetrotter.open"));
    let mut ann = Client::open(&gateway, "/api/v1/ws/ann");
    assert_eq!(ann.event()["user_id"], "ann");
    let mut guest = Client::open(&gateway, "/api/v1/ws/any%20one");
    assert_eq!(guest.event()["user_id"], "any one");
    ann.send(&json!({ "type": "join_trip", "trip_id": "t" }));
    assert_eq!(told(&mut ann)["type"], "user_joined");
    guest.send(&json!({ "type": "trip_update", "trip_id": "t", "data": { "a": 1 } }));
    assert_eq!(told(&mut ann)["updated_by"], "any one");
    let mut many: Vec<Client> = (0..30).map(|_| Client::open(&gateway, "/api/v1/ws/trip/t?user_id=ann")).collect();
    for client in &mut many {
        assert_eq!(client.event()["type"], "trip_connection");
    }
    let stats = || -> Value { serde_json::from_str(&raw::get(&gateway, "GET", "/api/v1/ws/stats").body).unwrap() };
    assert_eq!(stats(), json!({ "active_users": 2, "active_rooms": 1, "rooms": { "trip_t": 31 } }));
    drop(many);
    until("the sockets are gone", SOON, || stats()["rooms"] == json!({ "trip_t": 1 }));
    drop(ann);
    until("the room is gone", SOON, || stats() == json!({ "active_users": 1, "active_rooms": 0, "rooms": {} }));
    // The other endpoints ask for a token as ever.
    let mut collab = Client::open(&gateway, "/ws/trips/t/collab");
    collab.send(&json!({ "type": "subscribe", "channels": ["trip:t"] }));
    assert_eq!(collab.closing().1, 4000);
}

#[test]
fn the_report_is_not_for_everybody_where_tokens_are_asked_for() {
    let gateway = Gateway::start();
    let path = |token: &str| format!("/api/v1/ws/stats?token={token}");
    assert_eq!(raw::get(&gateway, "GET", "/api/v1/ws/stats").status, 401);
    assert_eq!(raw::get(&gateway, "GET", &path(&gateway.token("ann"))).status, 403);
    let answer = raw::get(&gateway, "GET", &path(&gateway.master_token("ann")));
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"active_users":0,"active_rooms":0,"rooms":{}}"#));
    assert_eq!(raw::get(&gateway, "HEAD", &path(&gateway.master_token("ann"))).status, 200);
    assert_eq!(raw::get(&gateway, "POST", &path(&gateway.master_token("ann"))).status, 405);
}
