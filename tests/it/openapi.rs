//! The OpenAPI document against the built program: every operation is asked once at least, and what it answers, good or
//! refused, keeps to the schema that the document has for that status.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::Gateway;
use crate::raw::{self, Answer};

fn document() -> Value {
    serde_json::from_str(include_str!("../../docs/schema/openapi.json")).unwrap()
}

/// Holds an answer to what the document says of its status.
fn check(document: &Value, (method, path): (&str, &str), answer: &Answer) {
    let responses = &document["paths"][path][method.to_lowercase()]["responses"];
    let response = &responses[answer.status.to_string()];
    assert!(response.is_object(), "{method} {path}: {} is not told: {answer:?}", answer.status);
    let (kind, content) = response["content"].as_object().unwrap().iter().next().unwrap();
    let is = answer.header("Content-Type").unwrap_or_default();
    assert_eq!(is.split(';').next(), Some(kind.as_str()), "{method} {path}: {answer:?}");
    if !kind.ends_with("json") {
        return;
    }
    let mut schema = content["schema"].clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let faults: Vec<String> = validator.iter_errors(&body).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{method} {path}: {body}\n{faults:?}");
}

/// Requests with the path that the document has for them, and the status that each is answered with.
type Asked<'a> = (&'a str, &'a str, &'a str, &'a str, Value, u16);

fn requests<'a>((admin, service, bobs): (&'a str, &'a str, &'a str)) -> Vec<Asked<'a>> {
    let note = json!({ "channel": "chat:7", "type": "note", "payload": { "n": 1 }, "id": "op" });
    let both = json!({ "channels": ["chat:7", ""], "type": "note", "payload": {} });
    let batch = json!({ "messages": [{ "channel": "user:ann", "type": "note", "payload": {} }, {}] });
    let (anns, bad) = (json!({ "user_id": "ann", "channels": ["chat:7"] }), json!({ "type": 1 }));
    vec![
        ("GET", "/health", "/health", "", Value::Null, 200),
        ("GET", "/api/health", "/api/health", "", Value::Null, 200),
        ("GET", "/readyz", "/readyz", "", Value::Null, 200),
        ("GET", "/healthz", "/healthz", "", Value::Null, 200),
        ("GET", "/", "/", "", Value::Null, 200),
        ("GET", "/metrics", "/metrics", admin, Value::Null, 200),
        ("GET", "/metrics", "/metrics", "", Value::Null, 401),
        ("GET", "/api/ws/health", "/api/ws/health", "", Value::Null, 200),
        ("GET", "/api/ws/metrics", "/api/ws/metrics", admin, Value::Null, 200),
        ("GET", "/api/v1/ws/stats", "/api/v1/ws/stats", admin, Value::Null, 200),
        ("GET", "/api/ws/connections", "/api/ws/connections?limit=1", admin, Value::Null, 200),
        ("GET", "/api/ws/connections", "/api/ws/connections?limit=x", admin, Value::Null, 400),
        ("POST", "/api/publish", "/api/publish", service, note.clone(), 200),
        ("POST", "/api/publish", "/api/publish", service, note.clone(), 200),
        ("POST", "/api/publish", "/api/publish", service, bad, 400),
        ("POST", "/api/publish", "/api/publish", admin, note, 403),
        ("POST", "/api/broadcast", "/api/broadcast", service, both, 200),
        ("POST", "/api/batch", "/api/batch", service, batch, 200),
        ("GET", "/api/history/{channel}", "/api/history/chat:7", service, Value::Null, 200),
        ("GET", "/api/history/{channel}", "/api/history/chat:7?limit=x", service, Value::Null, 400),
        ("GET", "/api/presence/{channel}", "/api/presence/chat:7", service, Value::Null, 200),
        ("POST", "/api/unsubscribe", "/api/unsubscribe", service, anns, 200),
        ("POST", "/api/disconnect", "/api/disconnect", service, json!({ "user_id": "ann" }), 200),
        ("POST", "/api/disconnect", "/api/disconnect", service, json!({ "connection_id": "0".repeat(32) }), 404),
        ("DELETE", "/api/ws/connections/{connection_id}", bobs, admin, Value::Null, 200),
        ("DELETE", "/api/ws/connections/{connection_id}", bobs, service, Value::Null, 403),
        ("DELETE", "/api/users/{user_id}", "/api/users/ann", admin, Value::Null, 200),
        ("DELETE", "/api/users/{user_id}", "/api/users/%00", admin, Value::Null, 400),
        ("DELETE", "/api/history/{channel}", "/api/history/chat:7", service, Value::Null, 200),
        ("GET", "/ws", "/ws", "", Value::Null, 426),
        ("GET", "/ws/chat/{session_id}", "/ws/chat/7", "", Value::Null, 426),
        ("GET", "/ws/agent-status/{user_id}", "/ws/agent-status/ann", "", Value::Null, 426),
        ("GET", "/ws/trips/{trip_id}/collab", "/ws/trips/7/collab", "", Value::Null, 426),
        ("GET", "/ws/notifications/{user_id}", "/ws/notifications/ann", "", Value::Null, 426),
        ("GET", "/api/v1/ws/{user_id}", "/api/v1/ws/ann", "", Value::Null, 426),
        ("GET", "/api/v1/ws/trip/{trip_id}", "/api/v1/ws/trip/7", "", Value::Null, 426),
        ("GET", "/api/sse/{channel}", "/api/sse/chat:7", "", Value::Null, 401),
    ]
}

#[test]
fn what_the_server_answers_keeps_to_the_document_and_no_operation_is_left_out() {
    let gateway = Gateway::with(&["--shards", "2", "--limits", "unlimited"]);
    let document = document();
    let admin = gateway.token_with("ops", &["--caps", r#"{"*":["admin"]}"#]);
    let service = gateway.token_with("svc", &["--role", "service"]);
    let ann = Client::join(&gateway, "/ws/chat/7", &gateway.token("ann"));
    let bob = Client::join(&gateway, "/ws/chat/7", &gateway.token("bob"));
    let listed = raw::send(&gateway, ("GET", "/api/ws/connections"), &raw::bearer(&admin), "");
    let listed: Value = serde_json::from_str(&listed.body).unwrap();
    let bobs = listed["connections"].as_array().unwrap().iter().find(|row| row["user_id"] == "bob").unwrap();
    let bobs = format!("/api/ws/connections/{}", bobs["connection_id"].as_str().unwrap());
    let mut asked = BTreeSet::new();
    for (method, told, path, token, body, status) in requests((&admin, &service, &bobs)) {
        let lines = if token.is_empty() { String::new() } else { raw::bearer(token) };
        let answer = if body.is_null() {
            let address = gateway.address;
            raw::ask(&gateway, &format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{lines}\r\n"))
        } else {
            raw::send(&gateway, (method, path), &lines, body)
        };
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        check(&document, (method, told), &answer);
        asked.insert((method.to_lowercase(), told.to_owned()));
    }
    let mut all = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        all.extend(operations.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())));
    }
    assert_eq!(asked, all);
    drop((ann, bob));
}
