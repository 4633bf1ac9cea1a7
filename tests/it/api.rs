//! The server API over HTTP: what a backend does without a socket, on two shards, and who may do it.

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway};
use crate::raw::{self, Answer, Raw, ask};

/// Sends a request with a JSON body.
fn send(gateway: &Gateway, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let lines = if token.is_empty() { String::new() } else { raw::bearer(token) };
    raw::send(gateway, (method, path), &lines, body)
}

fn read(gateway: &Gateway, path: &str, token: &str) -> Answer {
    ask(gateway, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", gateway.address))
}

fn parsed(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

fn good(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    parsed(answer)
}

fn service(gateway: &Gateway) -> String {
    gateway.token_with("svc", &["--role", "service"])
}

fn note(channel: &str, id: &str) -> Value {
    json!({ "channel": channel, "type": "note", "payload": { "from": id }, "id": id })
}

fn started() -> (Gateway, String) {
    let gateway = Gateway::with(&["--shards", "2", "--limits", "unlimited"]);
    let token = service(&gateway);
    (gateway, token)
}

#[test]
fn events_of_a_backend_are_sequenced_with_all_others_and_answered_with_their_place() {
    let (gateway, token) = started();
    for index in 0..8 {
        let name = format!("chat:room-{index}");
        let mut ann = Client::join(&gateway, &format!("/ws/chat/room-{index}"), &gateway.token("ann"));
        let first = good(&send(&gateway, "POST", "/api/publish", &token, &note(&name, "a")));
        assert_eq!((&first["channel"], &first["seq"], &first["id"]), (&json!(name), &json!(1), &json!("a")));
        assert_eq!(first["epoch"], ann.subscribed["payload"]["epoch"]);
        assert!(first.get("duplicate").is_none());
        let again = good(&send(&gateway, "POST", "/api/publish", &token, &note(&name, "a")));
        assert_eq!((&again["seq"], &again["duplicate"]), (&json!(1), &json!(true)));
        ann.publish(&name, "b", &json!({}));
        // Two sockets have no order between them: the backend waits until the member's event has its number.
        let mut seen = vec![ann.event_of("note"), ann.event_of("note")];
        let third = good(&send(&gateway, "POST", "/api/publish", &token, &note(&name, "c")));
        assert_eq!(third["seq"], 3);
        seen.push(ann.event_of("note"));
        let seqs: Vec<&Value> = seen.iter().map(|event| &event["seq"]).collect();
        assert_eq!((seqs, &seen[0]["user_id"]), (vec![&json!(1), &json!(2), &json!(3)], &json!("svc")));
        let reused = json!({ "channel": name, "type": "note", "payload": {}, "id": "a" });
        let reused = send(&gateway, "POST", "/api/publish", &token, &reused);
        assert_eq!((reused.status, &parsed(&reused)["code"]), (409, &json!("ID_REUSED")));
    }
}

#[test]
fn a_broadcast_and_a_batch_answer_for_each_message() {
    let (gateway, token) = started();
    let names: Vec<String> = (0..6).map(|index| format!("trip:{index}")).collect();
    let mut ann = Client::join(&gateway, "/ws", &gateway.token("ann"));
    ann.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut channels = names.clone();
    channels.push(String::new());
    let body = json!({ "channels": channels, "type": "note", "payload": { "all": true }, "id": "one" });
    let answer = good(&send(&gateway, "POST", "/api/broadcast", &token, &body));
    let results = answer["results"].as_array().unwrap();
    for (result, name) in results.iter().zip(&names) {
        assert_eq!((&result["status"], &result["channel"], &result["seq"]), (&json!(200), &json!(name), &json!(1)));
    }
    assert_eq!((&results[6]["status"], &results[6]["code"]), (&json!(400), &json!("INVALID_MESSAGE_FORMAT")));
    for _ in 0..names.len() {
        assert_eq!(ann.event_of("note")["payload"], json!({ "all": true }));
    }
    let mut messages: Vec<Value> = (0..50).map(|index| note(&names[index % 2], &format!("op-{index}"))).collect();
    messages.push(json!({ "channel": "trip:0", "type": "ack", "payload": {} }));
    messages.push(json!("no message"));
    let answer = good(&send(&gateway, "POST", "/api/batch", &token, &json!({ "messages": messages })));
    let results = answer["results"].as_array().unwrap();
    for (index, result) in results.iter().take(50).enumerate() {
        assert_eq!((&result["status"], &result["seq"]), (&json!(200), &json!(2 + index / 2)), "{result}");
        assert_eq!(result["id"], format!("op-{index}"));
    }
    assert_eq!((&results[50]["status"], &results[51]["status"]), (&json!(400), &json!(400)));
}

#[test]
fn history_and_members_are_read_wherever_they_are() {
    // In memory only, a position of another epoch says nothing.
    let gateway = Gateway::in_memory(&["--shards", "2", "--limits", "unlimited"]);
    let token = service(&gateway);
    for index in 0..4 {
        let name = format!("chat:room-{index}");
        let people: Vec<Client> =
            ["ann", "bob", "cyd"].map(|user| Client::join(&gateway, "/ws", &gateway.token(user))).into();
        let mut people = people;
        people.iter_mut().for_each(|client| drop(client.subscribe(&[&name])));
        for id in ["a", "b", "c"] {
            good(&send(&gateway, "POST", "/api/publish", &token, &note(&name, id)));
        }
        let seqs = |page: &Value| -> Vec<u64> {
            page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
        };
        let path = format!("/api/history/{name}");
        let whole = good(&read(&gateway, &path, &token));
        assert_eq!((seqs(&whole), &whole["seq"], &whole["more"]), (vec![1, 2, 3], &json!(3), &json!(false)));
        assert_eq!(people[0].event_of("note"), whole["events"][0]);
        let epoch = whole["epoch"].as_str().unwrap();
        for (query, expected) in [
            (format!("?since_epoch={epoch}&since_seq=1"), vec![2, 3]),
            ("?limit=2".to_owned(), vec![1, 2]),
            ("?limit=2&reverse=true".to_owned(), vec![3, 2]),
            ("?since_epoch=0000000000000000&since_seq=3".to_owned(), vec![1, 2, 3]),
        ] {
            assert_eq!(seqs(&good(&read(&gateway, &format!("{path}{query}"), &token))), expected, "{query}");
        }
        assert_eq!(read(&gateway, &format!("{path}?limit=x"), &token).status, 400);
        let found = good(&read(&gateway, &format!("/api/presence/{name}"), &token));
        let mut users: Vec<&str> =
            found["members"].as_array().unwrap().iter().map(|one| one["user_id"].as_str().unwrap()).collect();
        users.sort_unstable();
        assert_eq!((&found["count"], users), (&json!(3), vec!["ann", "bob", "cyd"]));
    }
    let nobody = good(&read(&gateway, "/api/presence/chat:nowhere", &token));
    assert_eq!(nobody, json!({ "channel": "chat:nowhere", "count": 0, "members": [] }));
}

#[test]
fn users_and_connections_are_closed_and_taken_out_of_channels() {
    let (gateway, token) = started();
    let mut all: Vec<Client> = (0..4).map(|_| Client::join(&gateway, "/ws", &gateway.token("ann"))).collect();
    let mut other = Client::join(&gateway, "/ws", &gateway.token("bob"));
    all.iter_mut().for_each(|client| drop(client.subscribe(&["chat:1", "chat:2"])));
    let body = json!({ "user_id": "ann", "channels": ["chat:1", "chat:9"] });
    let answer = good(&send(&gateway, "POST", "/api/unsubscribe", &token, &body));
    assert_eq!(answer, json!({ "unsubscribed": 4 }));
    for client in &mut all {
        assert_eq!(client.event_of("unsubscribed")["payload"], json!({ "channel": "chat:1", "reason": "removed" }));
    }
    let answer = good(&send(&gateway, "POST", "/api/disconnect", &token, &json!({ "user_id": "ann", "code": 4003 })));
    assert_eq!(answer, json!({ "disconnected": 4 }));
    for client in &mut all {
        let (events, code, _) = client.closing();
        assert_eq!((code, &events.last().unwrap()["type"]), (4003, &json!("connection_close")));
    }
    assert!(other.pending().is_empty(), "another user hears nothing");
    let unknown = json!({ "connection_id": "0".repeat(32) });
    assert_eq!(send(&gateway, "POST", "/api/disconnect", &token, &unknown).status, 404);
    assert_eq!(gateway.metric("waystation_closed_total", "reason=\"admin\""), 4);
}

#[test]
fn who_asks_decides_what_is_answered() {
    let (gateway, service) = started();
    let mut member = Client::join(&gateway, "/ws/chat/1", &gateway.token("ann"));
    let user = gateway.token("ann");
    let admin = gateway.token_with("ops", &["--caps", r#"{"*":["admin"]}"#]);
    let narrow = gateway.token_with("svc", &["--role", "service", "--caps", r#"{"chat:1":["publish"]}"#]);
    let body = json!({ "channel": "chat:1", "type": "note", "payload": {} });
    let elsewhere = json!({ "channel": "chat:2", "type": "note", "payload": {} });
    let gone = json!({ "user_id": "nobody" });
    let (get, post) = ("GET", "POST");
    // In the order of the tokens: none, a bad one, a user's, a service's, a narrow service's, an admin's.
    for (method, path, body, expected) in [
        (post, "/api/publish", &body, [401, 401, 403, 200, 200, 403]),
        (post, "/api/publish", &elsewhere, [401, 401, 403, 200, 403, 403]),
        (post, "/api/disconnect", &gone, [401, 401, 403, 200, 403, 200]),
        (get, "/api/history/chat:1", &body, [401, 401, 403, 200, 403, 403]),
        (get, "/api/presence/chat:1", &body, [401, 401, 403, 200, 403, 403]),
        (get, "/api/ws/connections", &body, [401, 401, 403, 403, 403, 200]),
        (get, "/api/ws/metrics", &body, [401, 401, 403, 403, 403, 200]),
        (get, "/metrics", &body, [401, 401, 403, 403, 403, 200]),
        (get, "/api/ws/health", &body, [200, 401, 200, 200, 200, 200]),
        (get, "/api/nothing", &body, [404, 401, 404, 404, 404, 404]),
        (get, "/api/publish", &body, [405, 401, 405, 405, 405, 405]),
        ("DELETE", "/api/ws/connections", &body, [405, 401, 405, 405, 405, 405]),
    ] {
        let tokens = ["", "x.y.z", &user, &service, &narrow, &admin];
        let found = tokens.map(|token| send(&gateway, method, path, token, body));
        assert_eq!(found.each_ref().map(|answer| answer.status), expected, "{method} {path}");
        for answer in found.iter().filter(|answer| answer.status != 200) {
            assert_eq!(answer.header("Content-Type"), Some("application/problem+json"));
            assert_eq!(parsed(answer)["status"], answer.status);
            assert!(parsed(answer)["code"].is_string());
        }
    }
    assert_eq!(send(&gateway, "GET", "/api/batch", &service, &body).header("Allow"), Some("POST"));
    member.event_of("note");
}

#[test]
fn this_machine_administers_where_the_file_says_so() {
    let place = Directory::new();
    let file = place.path().join("waystation.toml");
    std::fs::write(&file, "[admin]\nloopback = true\n").unwrap();
    let gateway = Gateway::within(&place, &["--shards", "1", "--config", file.to_str().unwrap()]);
    assert_eq!(raw::get(&gateway, "GET", "/api/ws/connections").status, 200);
    assert_eq!(read(&gateway, "/api/ws/connections", "x.y.z").status, 401, "a bad token is never passed over");
    for more in ["Host: evil.example", "Host: localhost\r\nX-Forwarded-For: 192.0.2.1"] {
        let answer = ask(&gateway, &format!("GET /api/ws/connections HTTP/1.1\r\n{more}\r\n\r\n"));
        assert_eq!(answer.status, 401, "{more}");
    }
    assert_eq!(raw::get(&gateway, "GET", "/api/history/chat:1").status, 401);
}

#[test]
fn a_body_comes_whole_in_pieces_or_after_it_was_asked_for() {
    let (gateway, token) = started();
    let body = note("chat:1", "a").to_string();
    let head = |more: &str| {
        let (address, len) = (gateway.address, body.len());
        format!(
            "POST /api/publish HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {len}\r\n{more}\r\n"
        )
    };
    let mut client = Raw::connect(&gateway);
    client.write(head("Expect: 100-continue\r\n").as_bytes());
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write(body.as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    let mut client = Raw::connect(&gateway);
    client.write(head("").as_bytes());
    for byte in body.as_bytes().chunks(7) {
        client.write(byte);
    }
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    let refused = |head: String| {
        let mut client = Raw::connect(&gateway);
        client.write(head.as_bytes());
        client.head()[9..12].to_owned()
    };
    let length = format!("Content-Length: {}\r\n", body.len());
    assert_eq!(refused(head("").replace(&length, "Content-Length: 1048577\r\n")), "413");
    assert_eq!(refused(head("").replace(&length, "Transfer-Encoding: chunked\r\n")), "411");
    assert_eq!(refused(head("").replace(&length, "")), "411");
    assert_eq!(refused(head("").replace("application/json", "text/plain")), "415");
    assert_eq!(refused(head("Expect: tea\r\n")), "417");
    assert_eq!(refused(head("").replace(&token, "x")), "401", "before the body is read");
    assert_eq!(refused(format!("{}{}", head(""), "x".repeat(body.len()))), "400");
}

#[test]
fn connections_are_listed_by_pages_and_closed_by_name() {
    let (gateway, service) = started();
    let admin = gateway.token_with("ops", &["--caps", r#"{"*":["admin"]}"#]);
    let mut all: Vec<Client> = gateway
        .token_row("user", 7)
        .iter()
        .enumerate()
        .map(|(index, token)| Client::join(&gateway, &format!("/ws/chat/{}", index % 3), token))
        .collect();
    let (mut rows, mut path) = (Vec::new(), "/api/ws/connections?limit=2".to_owned());
    for page in 1.. {
        let answer = good(&read(&gateway, &path, &admin));
        assert_eq!(answer["total_count"], 7);
        let found = answer["connections"].as_array().unwrap();
        assert!(found.len() <= 2 && page <= 8);
        rows.extend(found.clone());
        let Some(next) = answer["next_cursor"].as_str() else { break };
        path = format!("/ws/connections?limit=2&cursor={next}");
    }
    let mut users: Vec<&str> = rows.iter().map(|row| row["user_id"].as_str().unwrap()).collect();
    users.sort_unstable();
    assert_eq!(users, ["user-1", "user-2", "user-3", "user-4", "user-5", "user-6", "user-7"]);
    for row in &rows {
        assert_eq!((&row["status"], &row["client_ip"]), (&json!("connected"), &json!("127.0.0.1")));
        assert_eq!(row["quality"], "excellent");
        assert_eq!(row["subscribed_channels"], json!([format!("chat:{}", row["session_id"].as_str().unwrap())]));
        for time in ["connected_at", "last_heartbeat"] {
            assert!(row[time].as_str().unwrap().ends_with('Z'));
        }
    }
    let health = good(&raw::get(&gateway, "GET", "/api/ws/health"));
    assert_eq!((&health["status"], &health["websocket_manager_running"]), (&json!("healthy"), &json!(true)));
    let stats = json!({
        "total_connections": 7, "unique_users": 7, "active_sessions": 3, "subscribed_channels": 3,
        "health_distribution": { "excellent": 7, "good": 0, "poor": 0, "critical": 0 },
    });
    assert_eq!(health["connection_stats"], stats);
    let numbers = good(&read(&gateway, "/api/ws/metrics", &admin));
    assert_eq!(numbers["connections"], json!({ "total": 7, "users": 7, "sessions": 3 }));
    assert_eq!((&numbers["active_connections"], &numbers["message_queue_size"]), (&json!(7), &json!(0)));
    let first = rows.iter().find(|row| row["user_id"] == "user-1").unwrap()["connection_id"].as_str().unwrap();
    let path = format!("/api/ws/connections/{first}");
    assert_eq!(send(&gateway, "DELETE", &path, &service, &json!({})).status, 403);
    let answer = good(&send(&gateway, "DELETE", &path, &admin, &json!({})));
    let message = format!("Connection {first} disconnected successfully");
    assert_eq!(answer, json!({ "message": message, "connection_id": first }));
    assert_eq!(all[0].closing().1, 1012);
    assert_eq!(send(&gateway, "DELETE", &path, &admin, &json!({})).status, 404);
    assert_eq!(send(&gateway, "DELETE", "/api/ws/connections/x", &admin, &json!({})).status, 404);
}

#[test]
fn what_a_user_has_left_is_erased_on_every_shard_and_the_user_goes_on() {
    let (gateway, service) = started();
    let admin = gateway.token_with("ops", &["--caps", r#"{"*":["admin"]}"#]);
    let token = gateway.token("ann");
    let mut ann = Client::join(&gateway, "/ws", &token);
    let names: Vec<String> = (0..6).map(|index| format!("chat:room-{index}")).collect();
    for name in &names {
        good(&send(&gateway, "POST", "/api/publish", &service, &note(name, "1")));
        ann.publish(name, "op", &json!({ "word": "hidden" }));
        ann.event_of("ack");
        good(&send(&gateway, "POST", "/api/publish", &service, &note(name, "2")));
    }
    good(&send(&gateway, "POST", "/api/publish", &service, &note("notifications:ann", "1")));
    for (token, status) in [("", 401), (&*token, 403), (&*service, 200)] {
        assert_eq!(send(&gateway, "DELETE", "/api/users/nobody", token, &json!({})).status, status);
    }
    assert_eq!(read(&gateway, "/api/users/ann", &admin).status, 405);
    let answer = good(&send(&gateway, "DELETE", "/api/users/ann", &admin, &json!({})));
    let own = ["user:ann", "agent:ann", "notifications:ann"];
    let expected = json!({
        "user_id": "ann", "erased": true, "channels": own, "events": 6, "operations": 6, "cursors": 0
    });
    assert_eq!(answer, expected);
    for name in &names {
        let page = good(&read(&gateway, &format!("/api/history/{name}"), &service));
        let kinds: Vec<&Value> = page["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
        assert_eq!(kinds, ["note", "erased", "note"]);
        assert!(!page.to_string().contains("hidden") && !page.to_string().contains("\"ann\""), "{page}");
    }
    let own = good(&read(&gateway, "/api/history/notifications:ann", &service));
    assert_eq!((&own["events"], &own["seq"]), (&json!([]), &json!(1)));
    // The connection lives on, and an operation that was known is a new one.
    ann.publish(&names[0], "op", &json!({ "word": "hidden" }));
    assert_eq!(ann.event_of("ack")["payload"]["seq"], 4);
    let again = good(&send(&gateway, "DELETE", "/api/users/ann", &admin, &json!({})));
    assert_eq!((&again["events"], &again["operations"]), (&json!(1), &json!(1)));
    assert!(gateway.log().contains("a user was erased") && !gateway.log().contains("hidden"));
}
