//! Golden payloads, built from what a client sent.

use super::*;
use crate::envelope::{Command, Parser};
use expect_test::{Expect, expect};

/// The payload that a client's text leads to.
fn payload(text: &str) -> String {
    let mut parser = Parser::default();
    let mut out = Vec::new();
    match parser.parse(text).unwrap().command {
        Command::Chat(chat) => {
            let said = Said {
                id: "m1",
                role: chat.role.unwrap_or("user"),
                session_id: "s\"1",
                user_id: "ada",
                unix_ms: 1_795_271_185_123,
            };
            write_chat_message(&said, &chat, &mut out);
        }
        Command::TripUpdate { changes } => write_trip_update("t\"1", "ada", changes.as_slice(), &mut out),
        other => panic!("{other:?}"),
    }
    String::from_utf8(out).unwrap()
}

fn check(text: &str, expected: &Expect) {
    let payload = payload(text);
    serde_json::from_str::<serde_json::Value>(&payload).unwrap();
    expected.assert_eq(&payload);
}

#[test]
fn a_chat_message_carries_the_message_and_the_older_fields() {
    check(
        r#"{"type":"chat_message","payload":{"content":"hi"}}"#,
        &expect![[
            r#"{"message":{"id":"m1","role":"user","content":"hi","session_id":"s\"1","user_id":"ada","timestamp":"2026-11-21T14:26:25.123Z"},"session_id":"s\"1","content":"hi","role":"user"}"#
        ]],
    );
}

#[test]
fn unknown_keys_go_under_metadata_and_the_servers_fields_are_its_own() {
    check(
        r#"{"type":"chat_message","payload":{"content":"a\u0041\n","attachments":["f", {"n":1}],"user_id":"eve","userId":"eve",
        "session_id":"x","sessionId":"x","metadata":{"a":1,"b":{}},"temperature":0.5e2,"to\u006fls" : [ 1 , "]" ]}}"#,
        &expect![[
            r#"{"message":{"id":"m1","role":"user","content":"a\u0041\n","session_id":"s\"1","user_id":"ada","timestamp":"2026-11-21T14:26:25.123Z","attachments":["f", {"n":1}],"metadata":{"a":1,"b":{},"temperature":0.5e2,"to\u006fls":[ 1 , "]" ]}},"session_id":"s\"1","content":"a\u0041\n","role":"user"}"#
        ]],
    );
}

#[test]
fn the_envelope_of_a_flat_chat_message_is_no_metadata() {
    check(
        r#"{"type":"chat_message","id":"1","channel":"chat:x","ack":true,"priority":1,"exclude_sender":false,"timestamp":"t",
        "content":"hi","user_id":"eve","mood":"good","payload":7}"#,
        &expect![[
            r#"{"message":{"id":"m1","role":"user","content":"hi","session_id":"s\"1","user_id":"ada","timestamp":"2026-11-21T14:26:25.123Z","metadata":{"mood":"good"}},"session_id":"s\"1","content":"hi","role":"user"}"#
        ]],
    );
}

#[test]
fn a_trip_update_carries_the_new_values() {
    check(
        r#"{"type":"trip_update","payload":{"field":"na\u006de \"x\"","value":{"a":[1,2]}}}"#,
        &expect![[
            r#"{"trip_id":"t\"1","updated_by":"ada","update_type":"field_change","changes":{"na\u006de \"x\"":{"new_value":{"a":[1,2]}}}}"#
        ]],
    );
    check(
        r#"{"type":"trip_update","data":{"a":1,"b.c":null,"a":"\u00e9","trip_id":"t9","user_id":"eve"}}"#,
        &expect![[
            r#"{"trip_id":"t\"1","updated_by":"ada","update_type":"field_change","changes":{"a":{"new_value":"\u00e9"},"b.c":{"new_value":null}}}"#
        ]],
    );
}

#[test]
fn what_serde_cannot_hold_goes_through_as_it_came() {
    let text = r#"{"type":"trip_update","data":{"field":"f","value":[1e400,"\ud83d",123456789012345678901234567890]}}"#;
    let expected = r#""changes":{"f":{"new_value":[1e400,"\ud83d",123456789012345678901234567890]}}}"#;
    assert!(payload(text).ends_with(expected));
}
