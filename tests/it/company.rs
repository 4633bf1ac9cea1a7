//! Typing and presence over real sockets: the others hear who writes, known clients who is there, and the seeds'
//! clients who joins and leaves their trip; a broken connection is missed only after its grace.

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::Gateway;

fn users(people: &Value) -> Vec<&str> {
    let mut users: Vec<&str> = people.as_array().unwrap().iter().map(|one| one["user_id"].as_str().unwrap()).collect();
    users.sort_unstable();
    users
}

#[test]
fn the_others_in_a_chat_hear_who_writes_until_it_ends() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let mut bob = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    ada.send(&json!({ "type": "chat_typing_start" }));
    let start = bob.event();
    assert_eq!((&start["type"], &start["channel"]), (&json!("chat_typing_start"), &json!("chat:s")));
    assert_eq!(start["payload"], json!({ "session_id": "s", "user_id": "ada" }));
    ada.send(&json!({ "type": "chat_typing_stop" }));
    assert_eq!(bob.event()["type"], "chat_typing_stop");
    ada.send(&json!({ "type": "typing", "payload": { "is_typing": true } }));
    assert_eq!(bob.event()["type"], "chat_typing_start");
    ada.close();
    assert_eq!(bob.event()["type"], "chat_typing_stop", "it ends with the connection");
}

#[test]
fn in_a_trip_cursors_and_edited_fields_are_told_with_who_and_where() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/trips/7/collab", &gateway.token("ada"));
    let mut bob = Client::join(&gateway, "/ws/trips/7/collab", &gateway.token("bob"));
    for (message, kind, payload) in [
        (
            json!({ "type": "user_typing", "field": "a.b", "userId": "eve" }),
            "user_typing",
            json!({ "trip_id": "7", "user_id": "ada", "field": "a.b" }),
        ),
        (
            json!({ "type": "cursor_update", "payload": { "x": 1.50, "userId": "eve" } }),
            "cursor_update",
            json!({ "trip_id": "7", "user_id": "ada", "x": 1.5 }),
        ),
        (
            json!({ "type": "field_editing_start", "data": { "field_name": "a", "trip_id": "8" } }),
            "trip_field_editing_start",
            json!({ "trip_id": "7", "user_id": "ada", "field_name": "a" }),
        ),
        (
            json!({ "type": "trip_collaboration_join", "payload": { "user_name": "Ada" } }),
            "trip_collaboration_join",
            json!({ "trip_id": "7", "user_id": "ada", "user_name": "Ada" }),
        ),
    ] {
        ada.send(&message);
        let event = bob.event();
        assert_eq!((&event["type"], &event["payload"]), (&json!(kind), &payload), "{message}");
        assert!(event.get("seq").is_none() && event["user_id"] == "ada", "{event}");
    }
    assert_eq!(ada.pending(), Vec::<Value>::new());
}

#[test]
fn a_known_client_hears_who_is_there_and_the_seeds_client_does_not() {
    let gateway = Gateway::start();
    let mut ada = Client::join_known(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let mut bob = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    (ada.hears_company, bob.hears_company) = (true, true);
    let mut here: Vec<String> = Vec::new();
    while here != ["ada", "bob"] {
        let presence = ada.event_of("presence");
        let payload = &presence["payload"];
        if payload["full"] == true {
            here.clear();
        }
        here.extend(users(&payload["joined"]).iter().map(|user| (*user).to_owned()));
        here.sort();
        assert_eq!(payload["count"], here.len());
    }
    bob.close();
    let gone = ada.event_of("presence");
    assert_eq!((users(&gone["payload"]["left"]), &gone["payload"]["count"]), (vec!["bob"], &json!(1)));
    assert_eq!(gone["payload"]["left"][0]["last"], true);
}

#[test]
fn a_broken_connection_that_comes_back_was_never_away() {
    let gateway = Gateway::start();
    let mut ada = Client::join_known(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let bob = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    ada.hears_company = true;
    while ada.event_of("presence")["payload"]["count"] != 2 {}
    drop(bob);
    let bob = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    let eve = Client::join(&gateway, "/ws/chat/s", &gateway.token("eve"));
    let next = ada.event_of("presence");
    assert_eq!((users(&next["payload"]["joined"]), &next["payload"]["left"]), (vec!["eve"], &json!([])));
    drop((bob, eve));
}

#[test]
fn the_seeds_clients_hear_who_joins_and_leaves_their_trip() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/trips/7/collab", &gateway.token("ada"));
    ada.hears_company = true;
    let all = ada.event_of("trip_collaborator_presence");
    assert_eq!(users(&all["payload"]["collaborators"]), ["ada"]);
    let mut bob = Client::join(&gateway, "/ws/trips/7/collab", &gateway.token("bob"));
    let joined = ada.event_of("collaborator_joined");
    assert_eq!((&joined["data"], &joined["data"]["user"]["id"]), (&joined["payload"], &json!("bob")));
    bob.close();
    assert_eq!(ada.event_of("collaborator_left")["data"]["user"]["id"], "bob");
}
