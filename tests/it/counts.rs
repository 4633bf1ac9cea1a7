//! What is counted over several messages, connections or requests: one below each bound, at it, and one above, over
//! sockets, for clients that say their name and for those that do not.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, until};
use crate::raw::{self, Answer, Raw};

/// A server without message rates, with these lines in its file.
fn configured(text: &str) -> Gateway {
    let directory = Directory::new();
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    Gateway::within(&directory, &["--shards", "2", "--config", file.to_str().unwrap()])
}

fn unlimited() -> Gateway {
    configured("[limits]\nprofile = \"unlimited\"\n")
}

fn join(gateway: &Gateway, known: bool, path: &str, token: &str) -> Client {
    if known { Client::join_known(gateway, path, token) } else { Client::join(gateway, path, token) }
}

fn service(gateway: &Gateway, known: bool) -> Client {
    join(gateway, known, "/ws", &gateway.token_with("backend", &["--role", "service"]))
}

#[test]
fn sixty_four_requests_of_a_connection_wait_and_no_more() {
    for known in [false, true] {
        let gateway = unlimited();
        let mut provider = service(&gateway, true);
        provider.send(&json!({ "type": "register", "payload": { "methods": ["slow"] } }));
        provider.pending();
        let mut ada = join(&gateway, known, "/ws", &gateway.token("ada"));
        for number in 0..65 {
            ada.send(&json!({ "type": "request", "payload": { "id": format!("q{number}"), "method": "slow" } }));
        }
        let refused = ada.event();
        assert_eq!(refused["payload"]["id"], "q64", "known: {known}");
        assert_eq!(refused["payload"]["error"]["code"], "OVERLOADED");
        // One that is answered makes room for one more.
        let first = provider.event_of("request");
        provider.send(&json!({ "type": "response", "payload": { "id": first["payload"]["id"], "result": 1 } }));
        assert_eq!(ada.event()["payload"]["result"], 1);
        ada.send(&json!({ "type": "request", "payload": { "id": "again", "method": "slow" } }));
        assert!(ada.pending().is_empty());
    }
}

#[test]
fn a_connection_answers_256_methods_and_no_more() {
    let gateway = unlimited();
    for known in [false, true] {
        let mut backend = service(&gateway, known);
        let names = |from: usize, to: usize| -> Vec<String> { (from..to).map(|at| format!("m{at}")).collect() };
        let mut register = |methods: Vec<String>| -> Value {
            backend.send(&json!({ "type": "register", "methods": methods }));
            backend.event_of("register_response")["payload"].clone()
        };
        for from in (0..255).step_by(50) {
            assert_eq!(register(names(from, (from + 50).min(255)))["success"], true, "known: {known}");
        }
        assert_eq!(register(vec!["the 256th".to_owned()])["success"], true, "known: {known}");
        let refused = register(vec!["one more".to_owned()]);
        assert_eq!(refused["failures"][0]["code"], "CONNECTION_LIMIT_EXCEEDED", "known: {known}: {refused}");
    }
}

#[test]
fn a_connection_has_sixteen_patterns_and_no_more() {
    let gateway = unlimited();
    for known in [false, true] {
        let mut backend = service(&gateway, known);
        let subscribe = |client: &mut Client, name: String| -> Value {
            client.send(&json!({ "type": "subscribe", "channels": [name] }));
            client.event_of("subscribe_response")["payload"].clone()
        };
        for number in 0..16 {
            let answer = subscribe(&mut backend, format!("chat:{number:02}*"));
            assert_eq!(answer["success"], true, "{number}: {answer}");
        }
        let answer = subscribe(&mut backend, "chat:16*".to_owned());
        assert_eq!(answer["failures"][0]["code"], "CONNECTION_LIMIT_EXCEEDED", "known: {known}: {answer}");
    }
}

/// Says so many things in a chat, each with an id of its own.
fn say(client: &mut Client, count: usize) {
    for number in 0..count {
        client.publish("chat:s", &format!("op-{number}"), &json!({ "n": number }));
        client.event_of("ack");
    }
}

#[test]
fn a_page_of_history_has_500_events_and_no_more() {
    let gateway = configured("[limits]\nprofile = \"unlimited\"\n[history]\nevents = 600\n");
    let mut ada = Client::join_known(&gateway, "/ws/chat/s", &gateway.token("ada"));
    say(&mut ada, 501);
    for (limit, count, more) in
        [(Some(499), 499, true), (Some(500), 500, true), (Some(501), 500, true), (None, 100, true)]
    {
        let mut params = json!({ "channel": "chat:s" });
        if let Some(limit) = limit {
            params["limit"] = json!(limit);
        }
        ada.send(&json!({ "type": "request", "payload": { "id": "h", "method": "history", "params": params } }));
        let result = ada.event_of("response")["payload"]["result"].clone();
        assert_eq!(result["events"].as_array().unwrap().len(), count, "{limit:?}");
        assert_eq!(result["more"], more, "{limit:?}");
    }
}

#[test]
fn a_channel_keeps_a_hundred_events_for_those_who_come_back() {
    for (count, recovered) in [(99, true), (100, true), (101, false)] {
        // On a disk some more are kept.
        let gateway = Gateway::in_memory(&["--shards", "1", "--limits", "unlimited"]);
        let mut ada = Client::join_known(&gateway, "/ws/chat/s", &gateway.token("ada"));
        let epoch = ada.subscribed["payload"]["epoch"].clone();
        say(&mut ada, count);
        for known in [false, true] {
            let mut auth = json!({ "token": gateway.token("bob") });
            auth["resume"] = json!([{ "channel": "chat:s", "epoch": epoch, "seq": 0 }]);
            if known {
                auth["client"] = json!({ "name": "it", "version": "1" });
            }
            let mut bob = Client::join_with(&gateway, "/ws/chat/s", &auth);
            let payload = bob.subscribed["payload"].clone();
            assert_eq!(payload["recovered"], recovered, "{count}: {payload}");
            assert_eq!(payload.get("reason"), (!recovered).then_some(json!("trimmed")).as_ref());
            let notes = bob.pending().iter().filter(|event| event["type"] == "note").count();
            assert_eq!(notes, count.min(100), "known: {known}");
        }
    }
}

#[test]
fn a_channel_remembers_512_operations() {
    for (others, remembered) in [(510, true), (511, true), (512, false)] {
        let gateway = unlimited();
        let mut ada = Client::join_known(&gateway, "/ws/chat/s", &gateway.token("ada"));
        ada.publish("chat:s", "first", &json!({}));
        let first = ada.event_of("ack");
        say(&mut ada, others);
        ada.publish("chat:s", "first", &json!({}));
        let again = ada.event_of("ack");
        assert_eq!(again["payload"].get("duplicate"), remembered.then_some(json!(true)).as_ref(), "{others} others");
        assert_eq!(again["payload"]["seq"] == first["payload"]["seq"], remembered);
    }
}

/// How the server ends a connection that is one too many, for each kind of client.
fn one_too_many(gateway: &Gateway, places: usize, path: impl Fn(usize) -> String, token: &str, known: bool) -> u16 {
    let mut held: Vec<Client> = (0..places).map(|at| join(gateway, known, &path(at), token)).collect();
    let mut last = Client::open(gateway, &path(places));
    let mut auth = json!({ "token": token });
    if known {
        auth["client"] = json!({ "name": "it", "version": "1" });
    }
    last.send(&auth);
    let (_, code, _) = last.closing();
    for client in &mut held {
        assert!(client.pending().iter().all(|event| event["type"] != "connection_close"), "it keeps its place");
        client.close();
    }
    code
}

#[test]
fn so_many_connections_of_a_user_and_to_a_resource_and_no_more() {
    for (line, code) in [("connections_per_user = 3", 4008), ("connections_per_resource = 3", 4009)] {
        for known in [false, true] {
            let gateway = configured(&format!("[limits]\n{line}\n[limits.chat]\nconnections = 0\n"));
            let path = |at: usize| if code == 4008 { format!("/ws/chat/{at}") } else { "/ws/chat/s".to_owned() };
            let expected = if known { code } else { 1000 };
            assert_eq!(one_too_many(&gateway, 3, path, &gateway.token("ada"), known), expected, "{line}");
            assert_eq!(gateway.metric("waystation_closed_total", "reason=\"limit\""), 1);
        }
    }
}

/// Asks for a WebSocket without waiting for the answer.
fn knock(gateway: &Gateway, path: &str) -> Raw {
    let mut raw = Raw::connect(gateway);
    raw.write(raw::upgrade_head(gateway, path, "").as_bytes());
    raw
}

/// An upgrade that finds no place is held for eight seconds and then refused with a time to come back.
fn held_then_refused(line: &str) {
    let gateway = configured(&format!("[limits]\n{line}\n"));
    let mut inside: Vec<Raw> = (0..3).map(|_| knock(&gateway, "/ws")).collect();
    for raw in &mut inside {
        assert!(raw.head().starts_with("HTTP/1.1 101 "));
    }
    let start = Instant::now();
    let mut outside = knock(&gateway, "/ws");
    let head = outside.head();
    let took = start.elapsed();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: 5\r\n"), "{head}");
    assert!((Duration::from_millis(7900)..Duration::from_secs(20)).contains(&took), "held for {took:?}");
    assert_eq!(gateway.metric("waystation_refused_total", "reason=\"full\""), 1);
    // Who comes while it is full and is still there when a place becomes free gets it.
    let mut waiting = knock(&gateway, "/ws");
    until("it is held", SOON, || gateway.metric("waystation_held_upgrades", "") == 1);
    assert!(waiting.is_silent_for(Duration::from_millis(300)));
    drop(inside.pop());
    assert!(waiting.head().starts_with("HTTP/1.1 101 "));
}

#[test]
fn so_many_connections_of_an_address_and_the_next_is_held_and_then_refused() {
    held_then_refused("connections_per_address = 3");
}

#[test]
fn so_many_connections_in_all_and_the_next_is_held_and_then_refused() {
    held_then_refused("connections = 3");
}

#[test]
fn a_users_upgrades_are_counted_whenever_the_token_comes() {
    for known in [false, true] {
        let gateway = configured("[limits]\nupgrades = 3\n");
        let (ada, eve) = (gateway.token("ada"), gateway.token("eve"));
        let code = one_too_many(&gateway, 3, |_| "/ws".to_owned(), &ada, known);
        assert_eq!(code, if known { 4008 } else { 1000 });
        for (number, status) in [(1, 101), (2, 101), (3, 101), (4, 429)] {
            let answer = raw::ask(&gateway, &raw::upgrade_head(&gateway, &format!("/ws?token={eve}"), ""));
            assert_eq!(answer.status, status, "{number}");
        }
    }
}

#[test]
fn a_users_rate_and_an_endpoints_rate_are_what_the_file_says() {
    let ask = json!({ "type": "unsubscribe", "channels": ["chat:elsewhere"] });
    for (text, allowed) in [
        ("[limits]\nmessages_per_user = 7\n", 7),
        ("[limits.chat]\nmessages = 12\nburst = 5\n", 5),
        ("[limits.chat]\nmessages = 30\n", 5),
    ] {
        let gateway = configured(text);
        let token = gateway.token("ada");
        let mut known = join(&gateway, true, "/ws/chat/s", &token);
        for _ in 0..=allowed {
            known.send(&ask);
        }
        let kinds: Vec<Value> = (0..=allowed).map(|_| known.event()["type"].clone()).collect();
        assert!(kinds[..allowed].iter().all(|kind| kind == "subscribe_response"), "{text}: {kinds:?}");
        assert_eq!(kinds[allowed], "connection_error", "{text}");
    }
    // 0 is no limit.
    let gateway = configured("[limits]\nmessages_per_user = 0\n[limits.chat]\nmessages = 0\n");
    let mut ada = join(&gateway, true, "/ws/chat/s", &gateway.token("ada"));
    for _ in 0..700 {
        ada.send(&ask);
    }
    for _ in 0..700 {
        assert_eq!(ada.event()["type"], "subscribe_response");
    }
}

#[test]
fn a_head_has_64_lines_and_16_sub_protocols_and_no_more() {
    let gateway = unlimited();
    // Five of its own.
    for (lines, status) in [(63, 101), (64, 101), (65, 431)] {
        let extra = (5..lines).fold(String::new(), |mut all, at| {
            write!(all, "X-{at}: y\r\n").unwrap();
            all
        });
        let answer = raw::ask(&gateway, &raw::upgrade_head(&gateway, "/ws", &extra));
        assert_eq!(answer.status, status, "{lines}");
    }
    for (count, status) in [(15, 101), (16, 101), (17, 400)] {
        let names: Vec<String> = (0..count).map(|at| format!("p{at}")).collect();
        let extra = format!("Sec-WebSocket-Protocol: {}\r\n", names.join(", "));
        let answer = raw::ask(&gateway, &raw::upgrade_head(&gateway, "/ws", &extra));
        assert_eq!(answer.status, status, "{count}");
    }
}

fn post(gateway: &Gateway, path: &str, body: &str) -> Answer {
    let token = gateway.token_with("svc", &["--role", "service"]);
    raw::post(gateway, path, &token, body)
}

#[test]
fn a_request_of_a_backend_names_a_hundred_and_has_a_mebibyte_and_no_more() {
    let gateway = unlimited();
    for (count, status) in [(99, 200), (100, 200), (101, 400)] {
        let names: Vec<String> = (0..count).map(|at| format!("chat:{at}")).collect();
        let broadcast = json!({ "channels": names, "type": "note", "payload": {} }).to_string();
        assert_eq!(post(&gateway, "/api/broadcast", &broadcast).status, status, "{count} channels");
        let message = json!({ "channel": "chat:s", "type": "note", "payload": {} });
        let batch = json!({ "messages": vec![message; count] }).to_string();
        assert_eq!(post(&gateway, "/api/batch", &batch).status, status, "{count} messages");
        let leave = json!({ "user_id": "ada", "channels": names }).to_string();
        assert_eq!(post(&gateway, "/api/unsubscribe", &leave).status, status, "{count} to leave");
    }
    let bare = json!({ "channel": "chat:s", "type": "note", "payload": {} }).to_string();
    for (bytes, status) in [((1 << 20) - 1, 200), (1 << 20, 200), ((1 << 20) + 1, 413)] {
        let body = format!("{bare}{}", " ".repeat(bytes - bare.len()));
        assert_eq!(post(&gateway, "/api/publish", &body).status, status, "{bytes}");
    }
}
