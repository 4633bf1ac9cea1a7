//! Whatever a client writes: no panic, the same verdict on validity as `serde_json`, spans that are the text's
//! own, payloads built from it that are JSON again, and the same meaning whichever of the three readers takes it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use waystation::code::ErrorCode;
use waystation::envelope::{Command, Inbound, Parser, body};
use waystation::limits::{AUTH_FRAME_BYTES_MAX, JSON_BLANKS_MAX, JSON_DEPTH_MAX, MESSAGE_BYTES_MAX};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A parser that has just refused something must judge like a new one.
    let mut parser = Parser::default();
    let _ = parser.parse("{\"type\":\"\\ud83d\",");
    let valid = serde_json::from_str::<&RawValue>(text).is_ok();
    match parser.parse(text) {
        Ok(_) => assert!(valid),
        Err(rejected) if rejected.code == ErrorCode::InvalidJson => assert!(!valid || depth(text) > JSON_DEPTH_MAX),
        Err(rejected) if rejected.code == ErrorCode::MessageTooLarge => assert!(text.len() > MESSAGE_BYTES_MAX),
        Err(_) => assert!(valid),
    }
    // The same message means the same with more blanks than the first reader takes, and with a number behind them that
    // only the last reader does.
    let Some(members) = text.strip_prefix('{') else { return };
    let Ok(inbound) = parser.parse(text) else { return };
    let plain = meaning(text, &inbound);
    // Further members of a flat message may go out with it; its time never does, and only a ping says it back.
    let name = if matches!(inbound.command, Command::Ping { .. }) { "big" } else { "timestamp" };
    let blanks = " ".repeat(JSON_BLANKS_MAX + 1);
    for other in [format!("{{{blanks}{members}"), format!("{{{blanks}\"{name}\":1e400,{members}")] {
        match parser.parse(&other) {
            Ok(inbound) => assert_eq!(meaning(&other, &inbound), plain),
            Err(_) => assert!(other.len() > AUTH_FRAME_BYTES_MAX),
        }
    }
});

/// What a message asks for, with the payload it leads to; checks on the way that spans are the text's own.
fn meaning(text: &str, inbound: &Inbound<'_>) -> String {
    let inside = |raw: &str| assert!(text.as_bytes().as_ptr_range().contains(&raw.as_ptr()), "{raw}");
    let mut out = Vec::new();
    let asked = match &inbound.command {
        Command::Publish(publish) => {
            inside(publish.payload);
            out.extend_from_slice(publish.payload.as_bytes());
            publish.kind.to_owned()
        }
        Command::Chat(chat) => {
            inside(chat.content);
            let said =
                body::Said { id: "m", role: chat.role.unwrap_or("user"), session_id: "s", user_id: "u", unix_ms: 0 };
            body::write_chat_message(&said, chat, &mut out);
            String::new()
        }
        Command::TripUpdate { changes } => {
            for change in changes.as_slice() {
                inside(change.value);
            }
            body::write_trip_update("t", "u", changes.as_slice(), &mut out);
            String::new()
        }
        Command::Cursor { fields } => {
            fields.write(&mut out);
            "cursor".to_owned()
        }
        Command::Relay { kind, fields } | Command::Report { kind, fields } => {
            fields.write(&mut out);
            (*kind).to_owned()
        }
        Command::Request(request) => {
            request.params.write(&mut out);
            format!("{} {:?} {}", request.method, request.id, request.optional)
        }
        other => format!("{other:?}"),
    };
    if !out.is_empty() {
        serde_json::from_slice::<&RawValue>(&out).expect("what goes out is JSON");
    }
    let out = String::from_utf8(out).expect("what goes out is UTF-8");
    format!("{asked} {out} {:?} {:?} {} {}", inbound.id, inbound.channel, inbound.ack, inbound.exclude_sender)
}

/// How deep a valid text nests.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
