//! A golden text of every notice; each is parsed back, and none holds a `null`.

use super::*;
use expect_test::{Expect, expect};

const STAMP: Stamp =
    Stamp { id: 0x019d_ff9f_cc63_7000_8000_0000_0000_0001, unix_ms: 1_795_271_185_123, encoding: Encoding::TRIPSAGE };
const PLACE: (Epoch, Seq) = (Epoch(7), Seq(42));

fn admitted<'a>(session_id: Option<&'a str>, channels: &'a [&'a str]) -> Admitted<'a> {
    Admitted {
        connection: ConnectionName(0xabc),
        user_id: "ad\"a",
        session_id,
        available_channels: channels,
        expires_at_ms: session_id.map(|_| 1_795_271_185_000),
        heartbeat_ms: 25_000,
        server_version: "0.1.0",
    }
}

fn without_null(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => false,
        serde_json::Value::Array(items) => items.iter().all(without_null),
        serde_json::Value::Object(members) => members.values().all(without_null),
        _ => true,
    }
}

/// The text, without the part of the envelope that all notices share.
fn check(write: impl FnOnce(&mut Vec<u8>), expected: &Expect) {
    let mut out = Vec::new();
    write(&mut out);
    let text = String::from_utf8(out).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(without_null(&value), "{text}");
    if value.get("success").is_none() {
        assert!(value["id"].is_string() && value["timestamp"].is_string() && value["payload"].is_object(), "{text}");
        assert!(value.get("channel").is_none() && value.get("seq").is_none() && value.get("epoch").is_none(), "{text}");
    }
    let shared = r#""id":"019dff9f-cc63-7000-8000-000000000001","#;
    expected.assert_eq(
        &text.replace(shared, "").replace(r#""timestamp":"2026-11-21T14:26:25.123Z","payload""#, r#""payload""#),
    );
}

#[test]
fn authentication_is_answered_in_both_casings() {
    check(
        |out| write_auth_success(&admitted(Some("s1"), &["user:ada", "x\"y"]), out),
        &expect![[
            r#"{"success":true,"connection_id":"00000000000000000000000000000abc","connectionId":"00000000000000000000000000000abc","user_id":"ad\"a","userId":"ad\"a","session_id":"s1","sessionId":"s1","available_channels":["user:ada","x\"y"],"availableChannels":["user:ada","x\"y"],"permissions":["read","write"],"expires_at":"2026-11-21T14:26:25.000Z","heartbeat_ms":25000,"protocol_version":1,"server_version":"0.1.0"}"#
        ]],
    );
    check(
        |out| write_auth_success(&admitted(None, &[]), out),
        &expect![[
            r#"{"success":true,"connection_id":"00000000000000000000000000000abc","connectionId":"00000000000000000000000000000abc","user_id":"ad\"a","userId":"ad\"a","available_channels":[],"availableChannels":[],"permissions":["read","write"],"heartbeat_ms":25000,"protocol_version":1,"server_version":"0.1.0"}"#
        ]],
    );
    check(
        |out| write_auth_failure(ErrorCode::TokenExpired, "token has \"expired\"", out),
        &expect![[r#"{"success":false,"connection_id":"","error":"token has \"expired\"","code":"TOKEN_EXPIRED"}"#]],
    );
}

#[test]
fn the_life_of_a_connection() {
    check(
        |out| write_connection_established(STAMP, &admitted(Some("s1"), &["user:ada"]), out),
        &expect![[
            r#"{"type":"connection_established","timestamp":"2026-11-21T14:26:25.123Z","user_id":"ad\"a","session_id":"s1","payload":{"status":"connected","connection_id":"00000000000000000000000000000abc","user_id":"ad\"a","session_id":"s1","available_channels":["user:ada"],"server_version":"0.1.0"}}"#
        ]],
    );
    check(
        |out| write_connection_established(STAMP, &admitted(None, &[]), out),
        &expect![[
            r#"{"type":"connection_established","timestamp":"2026-11-21T14:26:25.123Z","user_id":"ad\"a","payload":{"status":"connected","connection_id":"00000000000000000000000000000abc","user_id":"ad\"a","available_channels":[],"server_version":"0.1.0"}}"#
        ]],
    );
    check(
        |out| write_connection_heartbeat(STAMP, out),
        &expect![[r#"{"type":"connection_heartbeat","payload":{"timestamp":"2026-11-21T14:26:25.123Z"}}"#]],
    );
    check(
        |out| write_pong(STAMP, Some("\"2026\\u0041\""), out),
        &expect![[r#"{"type":"pong","payload":{"timestamp":"2026\u0041"}}"#]],
    );
    check(|out| write_pong(STAMP, None, out), &expect![[r#"{"type":"pong","payload":{}}"#]]);
    check(
        |out| write_connection_close(STAMP, CloseCode::IDLE, "idle", None, out),
        &expect![[r#"{"type":"connection_close","payload":{"reason":"idle","code":4010}}"#]],
    );
    check(
        |out| write_connection_close(STAMP, CloseCode::RESTART, "restart", Some(1500), out),
        &expect![[r#"{"type":"connection_close","payload":{"reason":"restart","code":1012,"reconnect_after":1500}}"#]],
    );
    check(
        |out| write_draining(STAMP, 2000, out),
        &expect![[r#"{"type":"draining","payload":{"reconnect_after_ms":2000}}"#]],
    );
    check(
        |out| write_token_expiring(STAMP, 60_000, out),
        &expect![[r#"{"type":"token_expiring","payload":{"expires_in_ms":60000}}"#]],
    );
}

#[test]
fn errors_name_their_code_twice() {
    check(
        |out| write_connection_error(STAMP, ErrorCode::UnknownType, "no such \"type\"", None, out),
        &expect![[
            r#"{"type":"connection_error","payload":{"code":"UNKNOWN_TYPE","message":"no such \"type\"","error_code":"UNKNOWN_TYPE","error_message":"no such \"type\"","details":{}}}"#
        ]],
    );
    let mut details = Vec::new();
    write_rate_details(120, 2, 60, &mut details);
    let details = String::from_utf8(details).unwrap();
    let code = ErrorCode::RateLimitExceeded;
    check(
        |out| write_connection_error(STAMP, code, "too many messages", Some(&details), out),
        &expect![[
            r#"{"type":"connection_error","payload":{"code":"RATE_LIMIT_EXCEEDED","message":"too many messages","error_code":"RATE_LIMIT_EXCEEDED","error_message":"too many messages","details":{"limit":120,"remaining":0,"retry_after":2,"window_seconds":60}}}"#
        ]],
    );
}

#[test]
fn joining_and_leaving() {
    let failed = [
        (Name::Plain("x\"y"), ErrorCode::ChannelNotFound),
        (Name::Plain("user:b"), ErrorCode::PermissionDenied),
        (Name::Raw(r#""\n\"""#), ErrorCode::ChannelNotFound),
    ];
    check(
        |out| write_subscribe_response(STAMP, &["chat:1", "trip:2"], &[], out),
        &expect![[
            r#"{"type":"subscribe_response","payload":{"success":true,"subscribed_channels":["chat:1","trip:2"],"failed_channels":[],"failures":[]}}"#
        ]],
    );
    check(
        |out| write_subscribe_response(STAMP, &[], &failed, out),
        &expect![[
            r#"{"type":"subscribe_response","payload":{"success":false,"subscribed_channels":[],"failed_channels":["x\"y","user:b","\n\""],"failures":[{"channel":"x\"y","code":"CHANNEL_NOT_FOUND"},{"channel":"user:b","code":"PERMISSION_DENIED"},{"channel":"\n\"","code":"CHANNEL_NOT_FOUND"}]}}"#
        ]],
    );
    check(
        |out| write_subscribed(STAMP, "chat:1", PLACE, Seq(1), None, out),
        &expect![[
            r#"{"type":"subscribed","payload":{"channel":"chat:1","epoch":"0000000000000007","seq":42,"oldest_seq":1}}"#
        ]],
    );
    check(
        |out| write_subscribed(STAMP, "chat:1", PLACE, Seq(1), Some(Recovery::Recovered), out),
        &expect![[
            r#"{"type":"subscribed","payload":{"channel":"chat:1","epoch":"0000000000000007","seq":42,"oldest_seq":1,"recovered":true}}"#
        ]],
    );
    let lost = Some(Recovery::Lost("trimmed"));
    check(
        |out| write_subscribed(STAMP, "chat:1", PLACE, Seq(1), lost, out),
        &expect![[
            r#"{"type":"subscribed","payload":{"channel":"chat:1","epoch":"0000000000000007","seq":42,"oldest_seq":1,"recovered":false,"reason":"trimmed"}}"#
        ]],
    );
    check(
        |out| write_unsubscribed(STAMP, "chat:1", None, out),
        &expect![[r#"{"type":"unsubscribed","payload":{"channel":"chat:1"}}"#]],
    );
    check(
        |out| write_unsubscribed(STAMP, "chat:1", Some("PERMISSION_DENIED"), out),
        &expect![[r#"{"type":"unsubscribed","payload":{"channel":"chat:1","reason":"PERMISSION_DENIED"}}"#]],
    );
}

#[test]
fn operations_are_answered() {
    check(
        |out| write_ack(STAMP, "op\"1", "chat:1", Some(PLACE), Answered::First, out),
        &expect![[r#"{"type":"ack","payload":{"id":"op\"1","channel":"chat:1","epoch":"0000000000000007","seq":42}}"#]],
    );
    check(
        |out| write_ack(STAMP, "op1", "chat:1", None, Answered::First, out),
        &expect![[r#"{"type":"ack","payload":{"id":"op1","channel":"chat:1"}}"#]],
    );
    check(
        |out| write_ack(STAMP, "op1", "chat:1", Some(PLACE), Answered::Duplicate, out),
        &expect![[
            r#"{"type":"ack","payload":{"id":"op1","channel":"chat:1","epoch":"0000000000000007","seq":42,"duplicate":true}}"#
        ]],
    );
    check(
        |out| write_nack(STAMP, "op1", ErrorCode::IdReused, "other payload", None, out),
        &expect![[
            r#"{"type":"nack","payload":{"id":"op1","code":"ID_REUSED","message":"other payload","retryable":false}}"#
        ]],
    );
    check(
        |out| write_nack(STAMP, "op1", ErrorCode::Overloaded, "busy", Some(250), out),
        &expect![[
            r#"{"type":"nack","payload":{"id":"op1","code":"OVERLOADED","message":"busy","retryable":true,"retry_after_ms":250}}"#
        ]],
    );
}

#[test]
fn gaps_are_told() {
    let span = (Seq(3), Seq(9));
    check(
        |out| write_gap(STAMP, "chat:1", span, "slow", Missed::Refilled, out),
        &expect![[r#"{"type":"gap","payload":{"channel":"chat:1","from_seq":3,"to_seq":9,"reason":"slow"}}"#]],
    );
    check(
        |out| write_gap(STAMP, "chat:1", span, "trimmed", Missed::Lost, out),
        &expect![[
            r#"{"type":"gap","payload":{"channel":"chat:1","from_seq":3,"to_seq":9,"reason":"trimmed","lost":true}}"#
        ]],
    );
}

#[test]
fn channels_go_by_the_clients_names() {
    let stamp = Stamp { encoding: Encoding::TRIPSAGE_ALIAS, ..STAMP };
    for write in [
        |stamp, out: &mut Vec<u8>| write_subscribed(stamp, "chat:1", PLACE, Seq(1), None, out),
        |stamp, out: &mut Vec<u8>| write_unsubscribed(stamp, "chat:1", None, out),
        |stamp, out: &mut Vec<u8>| write_ack(stamp, "op", "chat:1", Some(PLACE), Answered::First, out),
        |stamp, out: &mut Vec<u8>| write_ack(stamp, "op", "chat:1", None, Answered::First, out),
        |stamp, out: &mut Vec<u8>| write_gap(stamp, "chat:1", (Seq(1), Seq(2)), "slow", Missed::Lost, out),
    ] {
        let mut out = Vec::new();
        write(stamp, &mut out);
        assert!(String::from_utf8(out).unwrap().contains(r#""channel":"session:1""#));
    }
}
