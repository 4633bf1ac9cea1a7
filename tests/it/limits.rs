//! Limits of messages at one below, at, and one above, over sockets, for clients that say their name and for those that
//! do not: the same is taken from both, and what is refused ends neither.
//!
//! Beside the tables that show each bound next to its code, this shows that nothing between the socket and that code is
//! narrower. What ends a connection (sizes, fragments) is in `frames`, places are in `places`, and what is counted over
//! several messages, connections or requests is in `counts`.

use serde_json::{Map, Value, json};
use tungstenite::Message;

use crate::client::Client;
use crate::gateway::Gateway;

/// A client of either kind on an endpoint.
fn join(gateway: &Gateway, known: bool, path: &str) -> Client {
    join_as(gateway, known, path, &[])
}

/// The same with a token of its own kind.
fn join_as(gateway: &Gateway, known: bool, path: &str, token: &[&str]) -> Client {
    let token = gateway.token_with("ada", token);
    if known { Client::join_known(gateway, path, &token) } else { Client::join(gateway, path, &token) }
}

/// Whether a message of each size is taken, or how it is refused: `make` makes one of `count`.
fn check(name: &str, limit: usize, code: &str, make: impl Fn(usize) -> Value) {
    check_on("/ws/chat/s", &[], name, limit, code, make);
}

/// The same on an endpoint of its own, with a token of its own.
fn check_on(path: &str, token: &[&str], name: &str, limit: usize, code: &str, make: impl Fn(usize) -> Value) {
    let gateway = Gateway::unlimited();
    for known in [false, true] {
        for count in [limit - 1, limit, limit + 1] {
            let mut ada = join_as(&gateway, known, path, token);
            ada.send(&make(count));
            let answers = ada.pending();
            let errors: Vec<&Value> = answers.iter().filter(|event| event["type"] == "connection_error").collect();
            let expected: &[&str] = if count > limit { &[code] } else { &[] };
            let codes: Vec<&str> = errors.iter().map(|event| event["payload"]["code"].as_str().unwrap()).collect();
            assert_eq!(codes, expected, "{name}: {count} of {limit}, known: {known}");
        }
    }
}

fn chat(content: &str) -> Value {
    json!({ "type": "chat_message", "payload": { "content": content } })
}

/// Fails for its format alone.
const FORMAT: &str = "INVALID_MESSAGE_FORMAT";

#[test]
fn a_message_names_so_many_channels_methods_and_fields_and_no_more() {
    let names = |count: usize| -> Vec<String> { (0..count).map(|at| format!("chat:{at}")).collect() };
    check("channels of a subscribe", 50, FORMAT, |count| json!({ "type": "subscribe", "channels": names(count) }));
    check("channels of an unsubscribe", 50, FORMAT, |count| json!({ "type": "unsubscribe", "channels": names(count) }));
    check(
        "messages of a batch",
        100,
        FORMAT,
        |count| json!({ "type": "batch", "payload": { "messages": vec![json!({ "type": "pong" }); count] } }),
    );
    let methods = |count| json!({ "type": "register", "methods": names(count) });
    check_on("/ws", &["--role", "service"], "methods of a register", 50, FORMAT, methods);
    check_on("/ws/trips/t/collab", &[], "fields of a trip", 64, FORMAT, |count| {
        let fields: Map<String, Value> = (0..count).map(|at| (format!("f{at}"), json!(at))).collect();
        json!({ "type": "trip_update", "payload": fields })
    });
}

#[test]
fn what_a_trip_is_told_may_be_so_long_and_no_longer() {
    let collab = |name, limit, make: &dyn Fn(usize) -> Value| {
        check_on("/ws/trips/t/collab", &[], name, limit, FORMAT, make);
    };
    let path = |count: usize| "x".repeat(count);
    collab("a field's path", 256, &|count| json!({ "type": "trip_update", "field": path(count), "value": 1 }));
    collab("a path among many", 256, &|count| json!({ "type": "trip_update", "data": { path(count): 1, "b": 2 } }));
    // What is passed on as it is, with its braces.
    let bare = r#"{"pad":""}"#.len();
    let cursor = |count: usize| json!({ "type": "cursor_update", "payload": { "pad": "x".repeat(count - bare) } });
    collab("a cursor", 4096, &cursor);
}

#[test]
fn a_position_is_one_that_a_number_of_javascript_holds() {
    let gateway = Gateway::unlimited();
    let largest = (1_u64 << 53) - 1;
    for known in [false, true] {
        for (seq, taken) in [(largest - 1, true), (largest, true), (largest + 1, false)] {
            let mut ada = join(&gateway, known, "/ws/chat/s");
            let epoch = ada.subscribed["payload"]["epoch"].clone();
            let place = json!({ "epoch": epoch, "seq": seq });
            ada.send(&json!({ "type": "subscribe", "channels": ["chat:s"], "since": { "chat:s": place } }));
            let answers = ada.pending();
            let refused = answers.iter().any(|event| event["payload"]["code"] == FORMAT);
            assert_eq!(!refused, taken, "{seq}, known: {known}: {answers:?}");
        }
    }
}

#[test]
fn a_timestamp_of_up_to_64_bytes_comes_back_and_a_longer_one_does_not() {
    let gateway = Gateway::unlimited();
    for known in [false, true] {
        // With its quotes.
        for (bytes, repeated) in [(63, true), (64, true), (65, false)] {
            let mut ada = join(&gateway, known, "/ws/chat/s");
            let stamp = "7".repeat(bytes - 2);
            ada.send(&json!({ "type": "ping", "timestamp": stamp }));
            let pong = ada.event();
            assert_eq!(pong["payload"].get("timestamp"), repeated.then(|| json!(stamp)).as_ref(), "{bytes}: {pong}");
        }
    }
    let mut ann = flat(&gateway);
    for (bytes, repeated) in [(63, true), (64, true), (65, false)] {
        let stamp = "7".repeat(bytes - 2);
        ann.send(&json!({ "type": "ping", "timestamp": stamp }));
        let expected = if repeated { json!(stamp) } else { Value::Null };
        assert_eq!(ann.event(), json!({ "type": "pong", "timestamp": expected }), "{bytes}");
    }
}

/// A client of flat frames that has been greeted.
fn flat(gateway: &Gateway) -> Client {
    let mut ann = Client::open(gateway, &format!("/api/v1/ws/ann?token={}", gateway.token("ann")));
    assert_eq!(ann.event()["type"], "connection");
    ann
}

#[test]
fn flat_frames_have_the_same_bounds_and_none_ends_the_socket() {
    let gateway = Gateway::unlimited();
    let mut ann = flat(&gateway);
    for (bytes, taken) in [(127, true), (128, true), (129, false)] {
        ann.send(&json!({ "type": "join_trip", "trip_id": "x".repeat(bytes) }));
        let answer = ann.event();
        assert_eq!(answer["type"], if taken { "user_joined" } else { "error" }, "a trip of {bytes}: {answer}");
    }
    ann.send(&json!({ "type": "join_trip", "trip_id": "t" }));
    ann.event();
    for (bytes, taken) in [(255, true), (256, true), (257, false)] {
        ann.send(&json!({ "type": "typing", "trip_id": "t", "field": "x".repeat(bytes) }));
        let answer = ann.event();
        assert_eq!(answer["type"], if taken { "user_typing" } else { "error" }, "a field of {bytes}: {answer}");
    }
    for (depth, taken) in [(31, true), (32, true), (33, false)] {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        ann.send_text(&format!(r#"{{"type":"trip_update","trip_id":"t","data":{open}{close}}}"#));
        let answer = ann.event();
        assert_eq!(answer["type"], if taken { "trip_updated" } else { "error" }, "{depth}: {answer}");
    }
    // In the other dialect it is fields up to so many, and beyond them data as it came.
    let mut bob = join(&gateway, true, "/ws/trips/t/collab");
    for (count, fields) in [(63, true), (64, true), (65, false)] {
        let data: Map<String, Value> = (0..count).map(|at| (format!("f{at}"), json!(at))).collect();
        ann.send(&json!({ "type": "budget_update", "trip_id": "t", "data": data }));
        let event = bob.event_of("trip_update_broadcast");
        assert_eq!(event["payload"]["changes"].as_object().is_some_and(|all| all.len() == count), fields, "{event}");
        assert_eq!(event["payload"].get("data").is_some(), !fields, "{count}");
    }
}

#[test]
fn names_and_ids_may_be_so_long_and_no_longer() {
    check("an operation id", 128, FORMAT, |count| {
        json!({ "type": "publish", "id": "x".repeat(count),
                "payload": { "channel": "chat:s", "type": "note", "payload": {} } })
    });
    check(
        "an event type",
        64,
        FORMAT,
        |count| json!({ "type": "publish", "payload": { "channel": "chat:s", "type": "x".repeat(count), "payload": {} } }),
    );
    let gateway = Gateway::unlimited();
    for known in [false, true] {
        for (count, taken) in [(143, true), (144, true), (145, false)] {
            let mut ada = join(&gateway, known, "/ws");
            let name = format!("chat:{}", "x".repeat(count - "chat:".len()));
            ada.send(&json!({ "type": "subscribe", "channels": [name] }));
            assert_eq!(ada.event_of("subscribe_response")["payload"]["success"], taken, "{count}, known: {known}");
        }
    }
}

#[test]
fn json_may_be_nested_so_deep_and_no_deeper() {
    let gateway = Gateway::unlimited();
    for known in [false, true] {
        // The message and its payload are two levels.
        for (depth, error) in [(31, None), (32, None), (33, Some("INVALID_JSON"))] {
            let mut ada = join(&gateway, known, "/ws/chat/s");
            let (open, close) = ("[".repeat(depth - 2), "]".repeat(depth - 2));
            ada.send_text(&format!(
                r#"{{"type":"chat_message","payload":{{"content":"x","attachments":{open}{close}}}}}"#
            ));
            let answers = ada.pending();
            let refused = answers.iter().find(|event| event["type"] == "connection_error");
            assert_eq!(refused.map(|event| &event["payload"]["code"]), error.map(Value::from).as_ref(), "{depth}");
        }
    }
}

#[test]
fn a_connection_is_in_a_hundred_channels_and_no_more() {
    let gateway = Gateway::unlimited();
    for known in [false, true] {
        let mut ada = join(&gateway, known, "/ws");
        for half in 0..2 {
            let names: Vec<String> = (0..50).map(|at| format!("chat:{half}-{at}")).collect();
            ada.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>());
        }
        ada.send(&json!({ "type": "subscribe", "channels": ["chat:one-more"] }));
        let answer = ada.event_of("subscribe_response");
        assert_eq!(answer["payload"]["failures"][0]["code"], "CONNECTION_LIMIT_EXCEEDED", "known: {known}");
        ada.send(&json!({ "type": "unsubscribe", "channels": ["chat:0-0"] }));
        ada.subscribe(&["chat:one-more"]);
    }
}

#[test]
fn a_message_may_have_so_many_bytes_for_either_kind_of_client() {
    let gateway = Gateway::unlimited();
    for known in [false, true] {
        for (bytes, taken) in [(65_535, true), (65_536, true), (65_537, false)] {
            let mut ada = join(&gateway, known, "/ws/chat/s");
            let empty = chat("").to_string().len();
            ada.send(&chat(&"x".repeat(bytes - empty)));
            if taken {
                assert_eq!(ada.event()["type"], "chat_message");
            } else {
                let (events, code, _) = ada.closing();
                let codes: Vec<&Value> = events.iter().map(|event| &event["payload"]["code"]).collect();
                assert_eq!((codes, code), (vec![&json!("MESSAGE_TOO_LARGE")], 1009));
            }
        }
    }
}

#[test]
fn the_first_frame_may_have_so_many_bytes_and_channels() {
    let gateway = Gateway::start();
    let token = gateway.token("ada");
    for known in [false, true] {
        let client = known.then(|| json!({ "name": "it", "version": "1" }));
        let frame = |pad: usize, channels: usize| {
            let mut frame = json!({ "token": token, "channels": vec!["chat:s"; channels], "pad": "x".repeat(pad) });
            if let Some(client) = &client {
                frame["client"] = client.clone();
            }
            frame
        };
        let bare = frame(0, 1).to_string().len();
        let limit = 24 * 1024;
        for (pad, channels, taken) in [
            (limit - 1 - bare, 1, true),
            (limit - bare, 1, true),
            (limit + 1 - bare, 1, false),
            (0, 49, true),
            (0, 50, true),
            (0, 51, false),
        ] {
            let mut ada = Client::open(&gateway, "/ws/chat/s");
            ada.socket.send(Message::text(frame(pad, channels).to_string())).unwrap();
            assert_eq!(ada.event()["success"], taken, "{pad} more bytes, {channels} channels, known: {known}");
        }
    }
    for (bytes, taken) in [(63, true), (64, true), (65, false)] {
        for (name, version) in [("x".repeat(bytes), "1".to_owned()), ("web".to_owned(), "1".repeat(bytes))] {
            let mut ada = Client::open(&gateway, "/ws/chat/s");
            ada.send(&json!({ "token": token, "client": { "name": name, "version": version } }));
            assert_eq!(ada.event()["success"], taken, "a name or version of {bytes}");
        }
    }
}

#[test]
fn each_endpoint_takes_its_burst_at_once_and_one_more_is_refused_or_read_later() {
    let gateway = Gateway::start();
    for (path, burst) in [
        ("/ws/chat/s", 20),
        ("/ws/agent-status/ada", 10),
        ("/ws/trips/t/collab", 50),
        ("/ws/notifications/ada", 5),
        ("/ws", 100),
    ] {
        // Free of what others must be told, and answered: it asks to leave what it never joined.
        let ask = json!({ "type": "unsubscribe", "channels": ["chat:elsewhere"] });
        let mut known = join(&gateway, true, path);
        known.send_at_once(&vec![ask.clone(); burst + 1]);
        for _ in 0..burst {
            assert_eq!(known.event()["type"], "subscribe_response", "{path}");
        }
        let refused = known.event();
        assert_eq!(refused["payload"]["code"], "RATE_LIMIT_EXCEEDED", "{path}: {refused}");
        known.close();
        let mut legacy = join(&gateway, false, path);
        legacy.send_at_once(&vec![ask; burst + 1]);
        for _ in 0..=burst {
            assert_eq!(legacy.event()["type"], "subscribe_response", "{path}");
        }
        legacy.close();
    }
    // Who speaks flat frames knows no refusal: the one beyond the burst of 50 is read some 200 ms later.
    let mut ann = flat(&gateway);
    ann.send(&json!({ "type": "join_trip", "trip_id": "t" }));
    ann.event();
    for count in 0..50 {
        ann.send(&json!({ "type": "typing", "trip_id": "t", "field": count.to_string() }));
    }
    let fields: Vec<Value> = (0..50).map(|_| ann.event()["field"].clone()).collect();
    assert_eq!(fields, (0..50).map(|count| json!(count.to_string())).collect::<Vec<_>>());
}

#[test]
fn a_known_client_is_closed_for_ten_invalid_messages_in_a_row_and_a_legacy_one_never() {
    for (known, count) in [(true, 9), (true, 10), (false, 9), (false, 10), (false, 11)] {
        let gateway = Gateway::unlimited();
        let mut ada = join(&gateway, known, "/ws/chat/s");
        for _ in 0..count {
            ada.send_text("{");
        }
        if known && count == 10 {
            let (events, code, _) = ada.closing();
            assert_eq!((events.len(), code), (count + 1, 1008), "each is told, and then the close");
        } else {
            assert_eq!(ada.pending().len(), count, "known: {known}");
        }
    }
}
