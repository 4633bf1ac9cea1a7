//! Golden texts of the envelope, and what escapes must hold.

use super::*;
use expect_test::expect;

/// The time of every golden text.
const TIME: u64 = 1_795_271_185_123;

fn event(head: &EventHead<'_>, payload: &str) -> String {
    let mut out = b"before".to_vec();
    let range = write_event(head, payload.as_bytes(), &mut out);
    assert_eq!(&out[range], payload.as_bytes());
    let text = String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["channel", "op_id", "user_id", "session_id", "traceparent"] {
        assert!(value.get(key).is_none_or(serde_json::Value::is_string), "{key}");
    }
    text
}

fn whole() -> EventHead<'static> {
    EventHead {
        id: event_id(TIME, u128::MAX),
        kind: "chat_message",
        unix_ms: TIME,
        instant: None,
        channel: Some("chat:s1"),
        seq: Some(Seq(42)),
        epoch: Some(Epoch(0xdead_beef)),
        op_id: Some("op-1"),
        user_id: Some("ada"),
        session_id: Some("s1"),
        traceparent: None,
        encoding: Encoding::TRIPSAGE,
    }
}

#[test]
fn the_type_of_an_event_is_read_where_it_was_written() {
    for kind in ["chat_message", "n", &"x".repeat(100)] {
        assert_eq!(kind_of(event(&EventHead { kind, ..whole() }, "{}").as_bytes()), kind);
        let short = EventHead { kind, channel: None, op_id: None, user_id: None, session_id: None, ..whole() };
        assert_eq!(kind_of(event(&short, r#"{"type":"other"}"#).as_bytes()), kind);
    }
    assert_eq!(
        kind_of(event(&EventHead { kind: "a\"b", ..whole() }, "{}").as_bytes()),
        "a\\",
        "no name that is counted"
    );
    for cut in 0..=OPENING.len() {
        assert_eq!(kind_of(&event(&whole(), "{}").as_bytes()[..cut]), "", "{cut}");
    }
}

#[test]
fn an_instant_that_is_at_hand_is_taken() {
    let instant = rfc3339(TIME);
    let head = EventHead { unix_ms: 0, instant: Some(&instant), ..whole() };
    assert_eq!(event(&head, "{}"), event(&whole(), "{}"));
}

#[test]
fn an_event_has_its_keys_in_the_protocols_order() {
    expect![[r#"{"id":"01a1fe80-52e3-7fff-bfff-ffffffffffff","type":"chat_message","timestamp":"2026-11-21T14:26:25.123Z","channel":"chat:s1","seq":42,"epoch":"00000000deadbeef","op_id":"op-1","user_id":"ada","session_id":"s1","payload":{"a":1}}"#]]
    .assert_eq(&event(&whole(), r#"{"a":1}"#));
}

#[test]
fn an_event_says_its_trace_before_its_payload() {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let traced = event(&EventHead { traceparent: Some(traceparent), ..whole() }, r#"{"a":1}"#);
    let key = format!(r#""traceparent":"{traceparent}","payload""#);
    assert_eq!(traced, event(&whole(), r#"{"a":1}"#).replace("\"payload\"", &key));
}

#[test]
fn what_is_absent_is_left_out() {
    let head = EventHead { id: event_id(TIME, 0), kind: "pong", unix_ms: TIME, ..EventHead::default() };
    expect![[r#"{"id":"01a1fe80-52e3-7000-8000-000000000000","type":"pong","timestamp":"2026-11-21T14:26:25.123Z","payload":{}}"#]].assert_eq(&event(&head, "{}"));
}

#[test]
fn a_channel_is_named_as_the_encoding_asks() {
    for (channel, expected) in [
        ("chat:s1", "session:s1"),
        ("agent:u", "agent_status:u"),
        ("notifications:u", "notifications"),
        ("trip:1", "trip:1"),
    ] {
        let head = EventHead { channel: Some(channel), encoding: Encoding::TRIPSAGE_ALIAS, ..whole() };
        assert!(event(&head, "{}").contains(&format!(r#""channel":"{expected}","seq""#)));
        let head = EventHead { channel: Some(channel), ..whole() };
        assert!(event(&head, "{}").contains(&format!(r#""channel":"{channel}","seq""#)));
    }
}

#[test]
fn every_string_is_read_back_as_it_was() {
    let controls: String = (0..=0x7f_u8).map(char::from).collect();
    for text in ["", "\"", "\\", "a\"b\\c", "\n\r\t\u{8}\u{c}\u{0}", "\u{2028}\u{1f600}\u{e9}", "\\u0041", &controls] {
        let head = EventHead {
            kind: text,
            channel: Some(text),
            op_id: Some(text),
            user_id: Some(text),
            session_id: Some(text),
            ..whole()
        };
        let value: serde_json::Value = serde_json::from_str(&event(&head, "{}")).unwrap();
        for key in ["type", "channel", "op_id", "user_id", "session_id"] {
            assert_eq!(value[key], text, "{key}");
        }
    }
}

#[test]
fn an_event_id_is_a_uuid_of_version_7_that_sorts_by_time() {
    for (time, entropy) in [(0, 0), (TIME, u128::MAX), ((1 << 48) - 1, 0x1234_5678)] {
        let id = event_id(time, entropy);
        assert_eq!(id >> 80, u128::from(time));
        // RFC 9562 section 5.7: version 7, variant 10.
        assert_eq!((id >> 76 & 0xf, id >> 62 & 0b11), (7, 0b10));
    }
    assert!(event_id(TIME, u128::MAX) < event_id(TIME + 1, 0));
}

#[test]
fn numbers_are_written_in_decimal() {
    for number in [0, 1, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX] {
        let mut out = Vec::new();
        write_number(number, &mut out);
        assert_eq!(out, number.to_string().into_bytes());
    }
}

#[test]
fn hexadecimal_digits_are_those_of_the_standard_library() {
    for number in [0, 1, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, u128::MAX, 0x9a << 60] {
        let mut out = Vec::new();
        write_hex::<32>(number, &mut out);
        write_hex::<4>(number, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{number:032x}{:04x}", number & 0xffff));
    }
    assert!((0..=u16::MAX).all(|number| hex8(number.into()) == format!("{number:08x}").as_bytes()));
}

#[test]
fn an_event_tells_its_id_and_sender_whatever_stands_in_it() {
    for (user, op_id, payload, asked, expected) in [
        ("ann", "1", "{}", "ann", true),
        ("ann", "1", "{}", "an", false),
        ("an", "1", "{}", "ann", false),
        ("a\"n\\n", "1", "{}", "a\"n\\n", true),
        ("bob", ",\"user_id\":\"ann\"", "{}", "ann", false),
        ("bob", "1", r#"{"x":1,"user_id":"ann"}"#, "ann", false),
        ("bob", "1", r#"{"x":{},"payload":{"y":1,"user_id":"ann"}}"#, "ann", false),
    ] {
        let head = EventHead {
            id: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
            kind: "note",
            channel: Some("chat:s"),
            op_id: Some(op_id),
            user_id: Some(user),
            ..EventHead::default()
        };
        let mut out = Vec::new();
        write_event(&head, payload.as_bytes(), &mut out);
        assert_eq!(is_sent_by(&out, &sender_field(asked)), expected, "{}", String::from_utf8_lossy(&out));
        assert_eq!(id_of(&out), head.id);
    }
    let mut out = Vec::new();
    write_event(&EventHead { kind: "note", ..EventHead::default() }, br#"{"a":1,"user_id":"ann"}"#, &mut out);
    assert!(!is_sent_by(&out, &sender_field("ann")), "an event of nobody");
}
