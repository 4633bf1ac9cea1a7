//! The schemas under `docs/schema` are those of the types, and the golden vectors keep to them.
//!
//! `UPDATE_EXPECT=1` writes the files anew.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation fails")]

#[path = "../../tests/it/fields.rs"]
mod fields;

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::Value;

use fields::{described, fields};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(format!("{ROOT}/{path}")).unwrap()).unwrap()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::meta::validate(schema).unwrap();
    jsonschema::draft202012::new(schema).unwrap()
}

#[test]
fn the_files_are_what_the_types_say() {
    for (name, schema) in [
        ("client.schema", schema::client::schema()),
        ("server.schema", schema::server::schema()),
        ("openapi", schema::http::schema()),
        ("asyncapi", schema::socket::schema()),
    ] {
        let path = format!("docs/schema/{name}.json");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::create_dir_all(format!("{ROOT}/docs/schema")).unwrap();
            std::fs::write(format!("{ROOT}/{path}"), serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
        }
        assert!(read(&path) == schema, "{path} is not what the types say");
    }
}

#[test]
fn what_is_understood_keeps_to_the_schema_and_what_is_refused_does_not() {
    let validator = validator(&schema::client::schema());
    let mut checked = 0;
    for vector in read("tests/vectors/in.json").as_array().unwrap() {
        // What is no JSON, or JSON that no value holds, is not for a schema.
        let Ok(message) = serde_json::from_str::<Value>(vector["input"].as_str().unwrap()) else { continue };
        let asks = vector["expected"]["asks"].as_str().unwrap_or("nothing known");
        assert_eq!(validator.is_valid(&message), asks != "nothing known", "{}: {message}", vector["name"]);
        checked += 1;
    }
    assert!(checked > 80, "{checked}");
}

#[test]
fn every_frame_of_the_server_keeps_to_the_schema_and_every_event_is_shown() {
    let validator = validator(&schema::server::schema());
    let mut seen: Vec<String> = Vec::new();
    for vector in read("tests/vectors/out.json").as_array().unwrap() {
        let heard = vector["expected"].as_object().unwrap().values();
        for frame in heard.flat_map(|frames| frames.as_array().unwrap()).filter(|frame| frame["close"].is_null()) {
            let faults: Vec<String> = validator.iter_errors(frame).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{}: {frame}\n{faults:?}", vector["name"]);
            seen.extend(frame["type"].as_str().map(str::to_owned));
        }
    }
    for name in schema::server::names() {
        assert!(seen.iter().any(|kind| kind == name), "no vector shows {name}");
    }
}

#[test]
fn a_sample_of_the_gateways_numbers_has_the_fields_of_the_schema_and_no_others() {
    let schema = schema::server::schema();
    let (mut said, mut shown) = (BTreeSet::new(), BTreeSet::new());
    described(&schema["$defs"]["system_stats"]["properties"]["payload"], "", &mut said);
    fields(&read("tests/vectors/stats.json"), "", &mut shown);
    assert!(said.len() > 50, "{said:?}");
    assert_eq!(said, shown);
}

#[test]
fn a_null_or_a_field_too_many_is_no_event() {
    let validator = validator(&schema::server::schema());
    let event = |payload: &str, more: &str| -> Value {
        let head = r#""id":"01a1fe80-0000-7000-8000-000000000000","timestamp":"2026-11-21T14:26:25.123Z""#;
        serde_json::from_str(&format!(r#"{{{head},"type":"unsubscribed"{more},"payload":{payload}}}"#)).unwrap()
    };
    for (payload, more, good) in [
        (r#"{"channel":"c"}"#, "", true),
        (r#"{"channel":"c","reason":"r"}"#, "", true),
        (r#"{"channel":"c","reason":null}"#, "", false),
        (r#"{"channel":"c","other":1}"#, "", false),
        (r#"{"channel":"c"}"#, r#","user_id":null"#, false),
        (r#"{"channel":"c"}"#, r#","seq":1"#, false),
        ("null", "", false),
    ] {
        let event = event(payload, more);
        assert_eq!(validator.is_valid(&event), good, "{event}");
    }
}

/// Every reference in a document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        _ => {}
    }
}

#[test]
fn every_reference_of_the_documents_leads_somewhere_and_every_schema_is_one() {
    for document in [schema::http::schema(), schema::socket::schema()] {
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let mut whole = schema.clone();
            whole["components"] = document["components"].clone();
            assert!(jsonschema::draft202012::new(&whole).is_ok(), "{name}");
        }
    }
}

#[test]
fn the_socket_document_has_every_message_of_both_directions_and_every_endpoint_of_the_http_one() {
    let document = schema::socket::schema();
    let messages = document["components"]["messages"].as_object().unwrap();
    let said = schema::client::schema()["oneOf"].as_array().unwrap().len();
    let heard = schema::server::schema()["$defs"].as_object().unwrap().len();
    assert_eq!(messages.len(), said + heard, "all but the union, and the flat one");
    for name in schema::server::names() {
        assert!(messages.contains_key(&format!("hear.{name}")), "{name}");
    }
    let upgrades: BTreeSet<&str> = schema::http::routes()
        .into_iter()
        .map(|(_, path)| path)
        .filter(|path| {
            path.starts_with("/ws") || path.starts_with("/api/v1/ws/{") || path.starts_with("/api/v1/ws/trip")
        })
        .collect();
    assert_eq!(upgrades, schema::socket::addresses().collect());
    let channels: BTreeSet<&str> = document["channels"]
        .as_object()
        .unwrap()
        .values()
        .map(|channel| channel["address"].as_str().unwrap())
        .collect();
    assert_eq!(upgrades, channels);
    // A vector is a message of the document.
    let mut whole = document["components"]["schemas"]["hear.event"].clone();
    whole["components"] = document["components"].clone();
    let validator = validator(&whole);
    for vector in read("tests/vectors/out.json").as_array().unwrap() {
        for frame in vector["expected"].as_object().unwrap().values().flat_map(|frames| frames.as_array().unwrap()) {
            if frame["type"].is_string() && frame["type"] != "batch" {
                assert!(validator.is_valid(frame), "{frame}");
            }
        }
    }
}
