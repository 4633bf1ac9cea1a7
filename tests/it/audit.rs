//! Proves what is kept of who came and went: each with its time, connection, user, address and code, in a file that can be
//! moved away, and never a token or a word of a client, whatever they sent.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, command, until};
use crate::raw;

fn entries(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn find<'a>(entries: &'a [Value], act: &str, field: &str, value: &Value) -> Option<&'a Value> {
    entries.iter().find(|entry| entry["message"] == act && entry[field] == *value)
}

#[test]
fn who_came_was_let_in_refused_and_went_is_kept_in_a_file_without_tokens_and_words() {
    let place = Directory::new();
    let file = place.path().join("audit.jsonl");
    let to = format!("audit.to={}", file.display());
    let args = ["--shards", "2", "--set", &to, "--set", "proxies.trusted=[\"127.0.0.1\"]"];
    let mut gateway = Gateway::within(&place, &args);
    let token = gateway.token("ann");
    let mut ann = Client::join(&gateway, "/ws/chat/plans", &token);
    ann.send(&json!({ "type": "chat_message", "payload": { "content": "confidential" } }));
    ann.event_of("chat_message");
    ann.send(&json!({ "type": "publish", "channel": "trip:x", "payload": { "channel": "agent:bob", "type": "confidential", "payload": {} } }));
    ann.event_of("connection_error");
    let bad = Client::try_open(&gateway, &format!("/ws?token={token}x"), &[("X-Forwarded-For", "192.0.2.7")]);
    assert_eq!(bad.unwrap_err().0, 401);
    let mut late = Client::open(&gateway, "/ws/chat/plans");
    late.send(&json!({ "type": "auth", "token": format!("{token}x") }));
    assert_eq!(late.closing().1, 4001);
    let operator = gateway.master_token("ops");
    let body = json!({ "user_id": "ann", "code": 1012 });
    assert_eq!(raw::post(&gateway, "/api/disconnect", &operator, body).status, 200);
    assert!(command(&["stats", "--data"]).arg(place.data()).status().unwrap().success());
    gateway.signal(Signal::HUP);
    let is_kept = |act: &str, field: &str, value: Value| find(&entries(&file), act, field, &value).is_some();
    until("the end is kept", SOON, || is_kept("closed", "user", json!("ann")));
    until("the reload is kept", SOON, || is_kept("configured", "reason", json!("applied")));

    let all = entries(&file);
    let let_in = find(&all, "authenticated", "user", &json!("ann")).unwrap();
    assert_eq!(let_in["peer"], "127.0.0.1");
    assert!(let_in["timestamp"].is_string());
    let came = find(&all, "connected", "connection", &let_in["connection"]).unwrap();
    assert!(came["user"].is_null(), "nobody knows whose it is yet");
    let went = find(&all, "closed", "connection", &let_in["connection"]).unwrap();
    assert_eq!((&went["code"], &went["reason"], &went["user"]), (&json!(1012), &json!("admin"), &json!("ann")));
    let refused = find(&all, "refused", "code", &json!(401)).unwrap();
    assert_eq!((&refused["peer"], &refused["reason"]), (&json!("192.0.2.7"), &json!("token")), "as the proxy says");
    assert!(find(&all, "refused", "reason", &json!("AUTH_FAILED")).is_some(), "{all:?}");
    assert!(find(&all, "refused", "reason", &json!("PERMISSION_DENIED")).is_some(), "{all:?}");
    assert!(find(&all, "closed", "code", &json!(4001)).is_some());
    let administered = find(&all, "administered", "reason", &json!("POST /api/disconnect")).unwrap();
    assert_eq!((&administered["user"], &administered["code"]), (&json!("ops"), &json!(200)));
    assert!(find(&all, "administered", "reason", &json!("socket: stats")).is_some());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640 & !umask());

    let moved = place.path().join("audit.jsonl.1");
    fs::rename(&file, &moved).unwrap();
    gateway.signal(Signal::HUP);
    until("the file is opened again", SOON, || file.exists());
    drop(Client::join(&gateway, "/ws/chat/plans", &gateway.token("bob")));
    until("what comes is in the new one", SOON, || is_kept("authenticated", "user", json!("bob")));
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    for path in [&file, &moved] {
        let text = fs::read_to_string(path).unwrap();
        let secret = token.rsplit_once('.').unwrap().1;
        assert!(!text.contains(secret) && !text.contains("confidential"), "{text}");
    }
}

#[test]
fn what_is_refused_is_kept_however_its_author_hears_of_it() {
    let place = Directory::new();
    let file = place.path().join("audit.jsonl");
    let gateway = Gateway::within(&place, &["--shards", "2", "--set", &format!("audit.to={}", file.display())]);
    let mut ann = Client::join(&gateway, "/ws/chat/plans", &gateway.token("ann"));
    ann.publish("chat:plans", "1", &json!({}));
    assert_eq!(ann.event_of("ack")["payload"]["id"], "1");
    ann.publish("agent:bob", "2", &json!({}));
    ann.publish("chat:plans", "1", &json!({ "other": true }));
    ann.send(&json!({ "type": "publish", "id": "3", "ack": true, "payload": 3 }));
    (0..3).for_each(|_| drop(ann.event_of("nack")));
    ann.send(&json!({ "type": "subscribe", "payload": { "channels": ["agent:bob", "", "a\u{7}b"] } }));
    let failed = ann.event_of("subscribe_response")["payload"]["failures"].as_array().unwrap().len();
    assert_eq!(failed, 3);
    for (method, params) in [("history", json!({ "channel": "agent:bob" })), ("nobody", json!({}))] {
        ann.send(&json!({ "type": "request", "payload": { "id": method, "method": method, "params": params } }));
        assert_eq!(ann.event_of("response")["payload"]["id"], method);
    }
    ann.send(&json!({ "type": "register", "payload": { "methods": ["plan"] } }));
    ann.event_of("register_response");
    ann.send(&json!({ "type": "confidential" }));
    ann.event_of("connection_error");
    let expected = [
        "PERMISSION_DENIED",
        "ID_REUSED",
        "INVALID_MESSAGE_FORMAT",
        "PERMISSION_DENIED",
        "CHANNEL_NOT_FOUND",
        "CHANNEL_NOT_FOUND",
        "PERMISSION_DENIED",
        "UNKNOWN_TYPE",
        "PERMISSION_DENIED",
        "UNKNOWN_TYPE",
    ];
    let kept = || {
        let all = entries(&file);
        let refused = all.iter().filter(|entry| entry["message"] == "refused" && entry["user"] == "ann");
        refused.map(|entry| entry["reason"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    until("all are kept", SOON, || kept().len() >= expected.len());
    assert_eq!(kept(), expected);
    let dump = ["dump", "--user", "ann", "--kind", "refused", "--json", "--data"];
    let dump = command(&dump).arg(place.data()).output().unwrap().stdout;
    let recorded = String::from_utf8(dump).unwrap();
    let recorded = recorded.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let codes = recorded.filter_map(|record| Some(record["code"].as_str()?.to_owned()));
    assert_eq!(codes.collect::<Vec<_>>(), expected, "the recorder has them too");
}

/// What is taken from the permissions of a new file here, as the server inherits it.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(line.trim(), 8).unwrap()
}

#[test]
fn a_full_disk_holds_up_nobody_and_the_log_may_have_it_all() {
    let gateway = Gateway::with(&["--shards", "1", "--set", "audit.to=/dev/full"]);
    let mut ann = Client::join(&gateway, "/ws/chat/plans", &gateway.token("ann"));
    ann.send(&json!({ "type": "ping" }));
    ann.event_of("pong");
    until("what is lost is counted", SOON, || gateway.number("waystation_audit_lost_total") > 0.0);
    assert!(gateway.number("waystation_log_lost_total") < 1.0, "the log has lost nothing");
    let gateway = Gateway::with(&["--shards", "1", "--set", "audit.to=log"]);
    drop(Client::join(&gateway, "/ws/chat/plans", &gateway.token("ann")));
    gateway.until_logged("waystation::audit: authenticated connection=");
    gateway.until_logged("waystation::audit: closed connection=");
    let nowhere =
        command(&["serve", "--set", "audit.to=/proc/nothing", "--data"]).arg(gateway.directory.data()).output();
    assert_eq!(nowhere.unwrap().status.code(), Some(78));
}
