//! Rooms over one shard: who gets what, in which shape and order, under which name, and who may not.

use serde_json::{Value, json};

use crate::client::{Client, has_null};
use crate::gateway::Gateway;

fn chat(content: &str) -> Value {
    json!({ "type": "chat_message", "payload": { "content": content } })
}

#[test]
fn a_chat_message_goes_to_the_whole_session_in_the_shape_that_the_seeds_client_reads() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let mut bob = Client::join(&gateway, "/api/ws/chat/s", &gateway.token("bob"));
    let mut eve = Client::join(&gateway, "/ws/chat/other", &gateway.token("eve"));
    ada.send(&json!({
        "type": "chat_message", "timestamp": "2026-01-01T00:00:00.000Z",
        "payload": { "content": "héllo", "attachments": ["a.png"], "sessionId": "s", "temperature": 0.5, "tools": null },
    }));
    let (to_ada, to_bob) = (ada.event(), bob.event());
    assert_eq!(to_ada, to_bob);
    assert_eq!(to_ada["type"], "chat_message");
    assert_eq!((&to_ada["channel"], &to_ada["seq"]), (&json!("chat:s"), &json!(1)));
    assert_eq!((&to_ada["user_id"], &to_ada["session_id"]), (&json!("ada"), &json!("s")));
    for key in ["id", "timestamp", "epoch"] {
        assert!(to_ada[key].is_string(), "{key}: {to_ada}");
    }
    let (payload, message) = (&to_ada["payload"], &to_ada["payload"]["message"]);
    assert_eq!(
        (&payload["content"], &payload["role"], &payload["session_id"]),
        (&json!("héllo"), &json!("user"), &json!("s"))
    );
    assert_eq!(
        (&message["content"], &message["role"], &message["session_id"]),
        (&json!("héllo"), &json!("user"), &json!("s"))
    );
    assert_eq!((&message["user_id"], &message["attachments"]), (&json!("ada"), &json!(["a.png"])));
    assert!(message["id"].is_string() && message["timestamp"].is_string());
    assert_eq!(message["metadata"], json!({ "temperature": 0.5, "tools": null }));
    assert_eq!(eve.pending(), Vec::<Value>::new());
}

#[test]
fn every_spelling_of_a_chat_message_is_read() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    for message in [
        json!({ "type": "chat_message", "payload": { "content": "x" } }),
        json!({ "type": "user_message", "data": { "content": "x" } }),
        json!({ "type": "chat_message", "content": "x", "session_id": "s" }),
        json!({ "type": "chat_message", "channel": "session:s", "payload": { "content": "x" } }),
    ] {
        ada.send(&message);
        let event = ada.event();
        assert_eq!((&event["type"], &event["payload"]["content"]), (&json!("chat_message"), &json!("x")), "{message}");
        assert!(!has_null(&event), "{event}");
    }
}

#[test]
fn who_sends_is_known_from_the_token_whatever_the_message_says() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    ada.subscribe(&["trip:t"]);
    for text in [
        r#"{"type":"chat_message","user_id":"bob","userId":"bob","payload":{"content":"x","user_id":"bob","userId":"bob"}}"#,
        r#"{"type":"chat_message","user_id":"bob","user_id":"eve","content":"x","user_id":"bob"}"#,
        r#"{"type":"chat_message","payload":{"content":"x","role":"assistant","message":{"user_id":"bob"}}}"#,
        r#"{"user_id":"bob","type":"trip_update","channel":"trip:t","payload":{"field":"a","value":1,"user_id":"bob","updated_by":"bob"}}"#,
        r#"{"type":"publish","user_id":"bob","payload":{"channel":"chat:s","type":"note","user_id":"bob","payload":{}}}"#,
    ] {
        ada.send_text(text);
        let event = ada.event();
        assert_eq!(event["user_id"], "ada", "{text}: {event}");
        let payload = &event["payload"];
        for claimed in [&payload["message"]["user_id"], &payload["updated_by"]] {
            assert!(claimed.is_null() || claimed == "ada", "{text}: {event}");
        }
        for role in [&payload["role"], &payload["message"]["role"]] {
            assert!(role.is_null() || role == "user", "{text}: {event}");
        }
    }
}

#[test]
fn a_trip_update_goes_to_everybody_in_the_trip_its_author_included() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/trips/7/collab", &gateway.token("ada"));
    let mut bob = Client::join(&gateway, "/ws/trips/7/collab", &gateway.token("bob"));
    for (message, changes) in [
        (
            json!({ "type": "trip_update", "payload": { "field": "name", "value": "Oslo" } }),
            json!({ "name": { "new_value": "Oslo" } }),
        ),
        (
            json!({ "type": "trip_update", "data": { "field": "a.b", "value": null } }),
            json!({ "a.b": { "new_value": null } }),
        ),
        (
            json!({ "type": "trip_update", "payload": { "x": 1, "y": [2] } }),
            json!({ "x": { "new_value": 1 }, "y": { "new_value": [2] } }),
        ),
    ] {
        ada.send(&message);
        let (to_ada, to_bob) = (ada.event(), bob.event());
        assert_eq!(to_ada, to_bob);
        assert_eq!((&to_ada["type"], &to_ada["channel"]), (&json!("trip_update_broadcast"), &json!("trip:7")));
        let payload = &to_ada["payload"];
        assert_eq!((&payload["trip_id"], &payload["updated_by"]), (&json!("7"), &json!("ada")));
        assert_eq!((&payload["update_type"], &payload["changes"]), (&json!("field_change"), &changes));
    }
}

#[test]
fn a_published_event_has_the_type_and_payload_that_its_author_gave() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws", &gateway.token("ada"));
    let mut bob = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    // Not joined, and allowed to publish all the same.
    ada.publish("chat:s", "op-1", &json!({ "any": ["thing"] }));
    let event = bob.event();
    assert_eq!((&event["type"], &event["op_id"], &event["user_id"]), (&json!("note"), &json!("op-1"), &json!("ada")));
    assert_eq!(event["payload"], json!({ "any": ["thing"] }));
    let ack = ada.event();
    assert_eq!((&ack["type"], &ack["payload"]["id"]), (&json!("ack"), &json!("op-1")));
    assert_eq!((&ack["payload"]["seq"], &ack["payload"]["epoch"]), (&event["seq"], &event["epoch"]));
}

#[test]
fn an_author_that_excludes_itself_hears_nothing_but_the_acknowledgement() {
    let gateway = Gateway::start();
    let mut ada = Client::join_known(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let mut bob = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    ada.send(&json!({
        "type": "publish", "id": "op", "ack": true, "exclude_sender": true,
        "payload": { "channel": "chat:s", "type": "note", "payload": {} },
    }));
    assert_eq!(bob.event()["type"], "note");
    let first = ada.event();
    assert_eq!((&first["type"], &first["payload"]["seq"]), (&json!("ack"), &json!(1)));
    assert_eq!(ada.pending(), Vec::<Value>::new());
}

#[test]
fn what_only_the_gateway_says_cannot_be_published() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    for kind in ["ack", "gap", "error", "connection_close", "subscribed", "draining", "token_expiring"] {
        ada.send(&json!({ "type": "publish", "payload": { "channel": "chat:s", "type": kind, "payload": {} } }));
        let event = ada.event();
        assert_eq!(
            (&event["type"], &event["payload"]["code"]),
            (&json!("connection_error"), &json!("INVALID_MESSAGE_FORMAT")),
            "{kind}"
        );
    }
}

#[test]
fn a_channel_is_answered_under_the_name_that_each_client_used() {
    let gateway = Gateway::start();
    let mut old = Client::join(&gateway, "/ws", &gateway.token("ada"));
    let mut new = Client::join(&gateway, "/ws", &gateway.token("bob"));
    let subscribed = old.subscribe(&["session:x", "agent_status:ada", "notifications"]);
    for (event, name) in subscribed.iter().zip(["session:x", "agent_status:ada", "notifications"]) {
        assert_eq!(event["payload"]["channel"], name);
    }
    new.subscribe(&["chat:x"]);
    new.send(&json!({ "type": "chat_message", "channel": "chat:x", "payload": { "content": "hi" } }));
    let (to_old, to_new) = (old.event(), new.event());
    assert_eq!((&to_old["channel"], &to_new["channel"]), (&json!("session:x"), &json!("chat:x")));
    assert_eq!((&to_old["seq"], &to_old["payload"]), (&to_new["seq"], &to_new["payload"]));
    old.send(&json!({ "type": "chat_message", "channel": "session:x", "id": "o", "ack": true, "payload": { "content": "yo" } }));
    assert_eq!(old.event_of("ack")["payload"]["channel"], "session:x");
    assert_eq!(new.event()["channel"], "chat:x");
    old.send(&json!({ "type": "unsubscribe", "payload": { "channels": ["session:x"] } }));
    assert_eq!(old.event_of("unsubscribed")["payload"]["channel"], "session:x");
}

#[test]
fn a_subscription_is_answered_with_what_was_joined_and_what_was_not() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws", &gateway.token("ada"));
    ada.send(&json!({ "type": "subscribe", "payload": { "channels": ["chat:a", "user:bob", "nothing", "chat:a"] } }));
    let answer = ada.event();
    assert_eq!(answer["type"], "subscribe_response", "it precedes everything of the channels");
    assert!(!has_null(&answer));
    let payload = &answer["payload"];
    assert_eq!(payload["success"], false);
    assert!(payload["subscribed_channels"].as_array().unwrap().contains(&json!("chat:a")), "{payload}");
    assert_eq!(payload["failed_channels"], json!(["user:bob", "nothing"]));
    let codes: Vec<&str> =
        payload["failures"].as_array().unwrap().iter().filter_map(|one| one["code"].as_str()).collect();
    assert_eq!(codes, ["PERMISSION_DENIED", "PERMISSION_DENIED"]);
    let subscribed = ada.event();
    assert_eq!((&subscribed["type"], &subscribed["payload"]["channel"]), (&json!("subscribed"), &json!("chat:a")));
    assert_eq!((&subscribed["payload"]["seq"], &subscribed["payload"]["oldest_seq"]), (&json!(0), &json!(1)));
}

#[test]
fn what_can_be_no_name_of_a_channel_is_told_and_joins_nothing() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws", &gateway.token("ada"));
    ada.subscribe(&[&format!("chat:{}", "x".repeat(139))]);
    for name in [format!("chat:{}", "x".repeat(140)), String::new(), "chat:\n".to_owned()] {
        ada.send(&json!({ "type": "subscribe", "payload": { "channels": [name] } }));
        let answer = ada.event();
        assert_eq!((&answer["type"], &answer["payload"]["success"]), (&json!("subscribe_response"), &json!(false)));
        let failures = json!([{ "channel": name, "code": "CHANNEL_NOT_FOUND" }]);
        assert_eq!(answer["payload"]["failures"], failures, "{name:?}");
    }
    let many: Vec<String> = (0..51).map(|index| format!("chat:{index}")).collect();
    ada.send(&json!({ "type": "subscribe", "payload": { "channels": many } }));
    assert_eq!(ada.event()["payload"]["code"], "INVALID_MESSAGE_FORMAT");
    let most: Vec<&str> = many[..50].iter().map(String::as_str).collect();
    ada.subscribe(&most);
    assert_eq!(gateway.metric("waystation_memberships", ""), 51);
}

#[test]
fn a_connection_may_be_in_100_channels() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws", &gateway.token("ada"));
    let names: Vec<String> = (0..101).map(|index| format!("chat:{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    ada.subscribe(&names[..50]);
    ada.subscribe(&names[50..100]);
    ada.send(&json!({ "type": "subscribe", "payload": { "channels": [names[100], names[0]] } }));
    let answer = ada.event_of("subscribe_response");
    assert_eq!(answer["payload"]["failures"], json!([{ "channel": names[100], "code": "CONNECTION_LIMIT_EXCEEDED" }]));
    assert_eq!(answer["payload"]["subscribed_channels"], json!([names[0]]), "it is in there already");
}

#[test]
fn one_message_joins_and_leaves_and_nothing_comes_after_the_leave() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws", &gateway.token("ada"));
    let mut bob = Client::join(&gateway, "/ws", &gateway.token("bob"));
    ada.subscribe(&["chat:a"]);
    ada.send(
        &json!({ "type": "subscribe", "payload": { "channels": ["chat:b"], "unsubscribe_channels": ["chat:a"] } }),
    );
    let kinds = [(); 3].map(|()| ada.event()["type"].as_str().unwrap().to_owned());
    assert_eq!(kinds, ["unsubscribed", "subscribe_response", "subscribed"]);
    for channel in ["chat:a", "chat:b"] {
        bob.send(&json!({ "type": "chat_message", "channel": channel, "id": channel, "ack": true, "payload": { "content": "x" } }));
        bob.event_of("ack");
    }
    let events = ada.pending();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["channel"], "chat:b");
}

#[test]
fn what_is_not_permitted_is_refused_and_nobody_hears_of_it() {
    let gateway = Gateway::start();
    let listen = r#"{"chat:s":["subscribe"],"trip:t":["subscribe","publish"],"general":["publish"]}"#;
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token_with("ada", &["--caps", listen]));
    let mut bob = Client::join(&gateway, "/ws/chat/s", &gateway.master_token("bob"));
    bob.subscribe(&["trip:t", "user:bob", "general"]);
    for (message, code) in [
        (chat("x"), "PERMISSION_DENIED"),
        (
            json!({ "type": "trip_update", "channel": "trip:t", "payload": { "field": "a", "value": 1 } }),
            "PERMISSION_DENIED",
        ),
        (
            json!({ "type": "publish", "payload": { "channel": "user:bob", "type": "note", "payload": {} } }),
            "PERMISSION_DENIED",
        ),
        (
            json!({ "type": "publish", "payload": { "channel": "*", "type": "note", "payload": {} } }),
            "PERMISSION_DENIED",
        ),
        (json!({ "type": "chat_message", "channel": "trip:t", "payload": { "content": "x" } }), "CHANNEL_NOT_FOUND"),
    ] {
        ada.send(&message);
        let error = ada.event();
        assert_eq!(error["type"], "connection_error", "{message}");
        let payload = &error["payload"];
        assert_eq!((&payload["code"], &payload["error_code"]), (&json!(code), &json!(code)), "{message}");
        assert!(
            payload["message"].is_string() && payload["error_message"].is_string() && payload["details"].is_object()
        );
        let mut asked = message.clone();
        (asked["id"], asked["ack"]) = (json!("op"), json!(true));
        ada.send(&asked);
        let nack = ada.event();
        assert_eq!((&nack["type"], &nack["payload"]["code"]), (&json!("nack"), &json!(code)), "{message}");
        assert_eq!((&nack["payload"]["id"], &nack["payload"]["retryable"]), (&json!("op"), &json!(false)));
    }
    assert_eq!(bob.pending(), Vec::<Value>::new());
}

#[test]
fn the_default_policy_lets_a_user_into_its_own_channels_and_into_no_other_users() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws", &gateway.token("ada"));
    let own = ["user:ada", "agent:ada", "notifications:ada", "chat:any", "trip:any", "general", "system_messages"];
    ada.subscribe(&own);
    let foreign =
        ["user:bob", "agent:bob", "notifications:bob", "user:*", "*", "user:{user}", "user:ad", "user:adam", ""];
    ada.send(&json!({ "type": "subscribe", "payload": { "channels": foreign[..8] } }));
    let answer = ada.event_of("subscribe_response");
    assert_eq!(answer["payload"]["subscribed_channels"], json!([]), "{answer}");
    for channel in ["user:ada", "notifications:ada", "general", "system_messages"] {
        ada.publish(channel, "op", &json!({}));
        assert_eq!(ada.event()["payload"]["code"], "PERMISSION_DENIED", "{channel}");
    }
    let service = gateway.token_with("backend", &["--role", "service"]);
    let mut backend = Client::join(&gateway, "/ws", &service);
    backend.publish("notifications:ada", "n", &json!({ "text": "you have mail" }));
    assert_eq!(backend.event()["type"], "ack");
    assert_eq!(ada.event()["channel"], "notifications:ada");
}

#[test]
fn every_member_sees_one_order_without_a_hole() {
    let gateway = Gateway::unlimited();
    let tokens = gateway.token_row("user", 4);
    let mut clients: Vec<Client> = tokens.iter().map(|token| Client::join(&gateway, "/ws/chat/s", token)).collect();
    let (rounds, mut orders) = (100_usize, Vec::new());
    for round in 0..rounds {
        for (author, client) in clients.iter_mut().enumerate() {
            client.send(&chat(&format!("{author}-{round}")));
        }
    }
    for client in &mut clients {
        let events: Vec<Value> = (0..4 * rounds).map(|_| client.event()).collect();
        for (index, event) in events.iter().enumerate() {
            assert_eq!((&event["type"], &event["seq"]), (&json!("chat_message"), &json!(index + 1)));
        }
        orders.push(events);
    }
    assert!(orders.windows(2).all(|two| two[0] == two[1]), "members saw different orders");
    for author in 0..4 {
        let own = orders[0].iter().filter_map(|event| event["payload"]["content"].as_str());
        let own: Vec<&str> = own.filter(|content| content.starts_with(&format!("{author}-"))).collect();
        let sent: Vec<String> = (0..rounds).map(|round| format!("{author}-{round}")).collect();
        assert_eq!(own, sent, "what one author sends keeps its order");
    }
}

#[test]
fn a_bad_message_is_answered_and_the_connection_lives() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let deep = format!(
        "{}{}",
        r#"{"type":"chat_message","payload":{"content":"x","a":"#,
        "[".repeat(40) + &"]".repeat(40) + "}}"
    );
    for (text, code) in [
        ("", "INVALID_JSON"),
        ("hello", "INVALID_JSON"),
        ("{", "INVALID_JSON"),
        (r#"{"type":"ping"} x"#, "INVALID_JSON"),
        (r#"{"type":"chat_message","payload":{"content":"a","x":01}}"#, "INVALID_JSON"),
        (&deep, "INVALID_JSON"),
        ("[]", "INVALID_MESSAGE_FORMAT"),
        ("7", "INVALID_MESSAGE_FORMAT"),
        ("{}", "INVALID_MESSAGE_FORMAT"),
        (r#"{"type":7}"#, "INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"chat_message"}"#, "INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"chat_message","payload":{"content":7}}"#, "INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"subscribe","payload":{"channels":"chat:a"}}"#, "INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"publish","channel":"chat:s"}"#, "INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"trip_update","payload":{}}"#, "INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"unheard_of"}"#, "UNKNOWN_TYPE"),
        (r#"{"type":"chat.message"}"#, "UNKNOWN_TYPE"),
    ] {
        ada.send_text(text);
        let error = ada.event();
        assert_eq!((&error["type"], &error["payload"]["code"]), (&json!("connection_error"), &json!(code)), "{text}");
    }
    ada.send(&chat("still here"));
    assert_eq!(ada.event()["payload"]["content"], "still here");
}

#[test]
fn ten_invalid_messages_in_a_row_end_a_known_client_and_no_legacy_one() {
    let gateway = Gateway::start();
    let mut known = Client::join_known(&gateway, "/ws/chat/s", &gateway.token("ada"));
    for count in 0..9 {
        known.send_text("{");
        assert_eq!(known.event()["payload"]["code"], "INVALID_JSON", "{count}");
    }
    known.send(&json!({ "type": "unheard_of" }));
    assert_eq!(known.event()["payload"]["code"], "UNKNOWN_TYPE", "this counts as none, and breaks the row");
    for _ in 0..10 {
        known.send_text("{");
    }
    let (events, code, _) = known.closing();
    assert_eq!((events.len(), code), (11, 1008), "ten errors and the goodbye: {events:?}");
    let mut legacy = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    for _ in 0..30 {
        legacy.send_text("{");
    }
    assert_eq!(legacy.pending().len(), 30);
}

#[test]
fn heartbeats_and_pings_are_answered_and_a_timestamp_comes_back() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws", &gateway.token("ada"));
    for (message, kind, timestamp) in [
        (json!({ "type": "heartbeat" }), "connection_heartbeat", None),
        (
            json!({ "type": "heartbeat", "payload": { "timestamp": "2026-01-01T00:00:00.000Z" } }),
            "connection_heartbeat",
            None,
        ),
        (json!({ "type": "ping" }), "pong", None),
        (json!({ "type": "ping", "payload": { "timestamp": 1_234_567 } }), "pong", Some(json!(1_234_567))),
        (json!({ "type": "ping", "timestamp": "noon" }), "pong", Some(json!("noon"))),
    ] {
        ada.send(&message);
        let event = ada.event();
        assert_eq!(event["type"], kind, "{message}");
        assert!(event["payload"].is_object() && !has_null(&event));
        if timestamp.is_some() {
            assert_eq!(event["payload"].get("timestamp"), timestamp.as_ref(), "{message}");
        }
    }
}

#[test]
fn who_publishes_without_end_makes_nobody_elses_retry_come_twice() {
    let gateway = Gateway::unlimited();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let mut eve = Client::join(&gateway, "/ws/chat/s", &gateway.token("eve"));
    ada.publish("chat:s", "op-1", &json!({ "n": 1 }));
    assert_eq!(ada.event_of("ack")["payload"]["seq"], 1);
    for round in 0..6 {
        for id in 0..100 {
            eve.publish("chat:s", &format!("{round}-{id}"), &json!({}));
        }
        (0..100).for_each(|_| drop(eve.event_of("ack")));
    }
    ada.publish("chat:s", "op-1", &json!({ "n": 1 }));
    let again = ada.event_of("ack");
    assert_eq!((&again["payload"]["seq"], &again["payload"]["duplicate"]), (&json!(1), &json!(true)));
}
