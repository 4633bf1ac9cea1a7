//! The parser as a whole: what each text asks for, what is refused and why.

mod readers;

use super::*;
use crate::envelope::{Command, Publish};

/// What a text asks for, as text.
fn seen(parser: &mut Parser, text: &str) -> String {
    match parser.parse(text) {
        Ok(inbound) => {
            let command = match &inbound.command {
                Command::Chat(chat) => {
                    let metadata: Vec<_> = chat.metadata.members().collect();
                    format!("Chat({}, {:?}, {:?}, {metadata:?})", chat.content, chat.role, chat.attachments)
                }
                Command::TripUpdate { changes } => {
                    let all = changes.as_slice().iter().map(|c| format!("{}={}", c.field, c.value));
                    format!("TripUpdate({})", all.collect::<Vec<_>>().join(", "))
                }
                other => format!("{other:?}"),
            };
            let flags = [(inbound.ack, " ack"), (inbound.exclude_sender, " exclude")];
            let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
            let id = inbound.id.map(|id| format!(" id={id:?}")).unwrap_or_default();
            let channel = inbound.channel.map(|channel| format!(" channel={channel:?}")).unwrap_or_default();
            format!("{command}{id}{channel}{flags}")
        }
        Err(no) => format!("{} {:?} {:?}: {}", no.code.name(), no.kind, no.id, no.message),
    }
}

fn check(text: &str, expected: &str) {
    assert_eq!(seen(&mut Parser::default(), text), expected, "{text}");
}

#[test]
fn every_message_type_is_read() {
    for (text, expected) in [
        (r#"{"type":"heartbeat"}"#, "Heartbeat"),
        (r#"{"type":"connection_heartbeat","payload":{"timestamp":"x"}}"#, "Heartbeat"),
        (r#"{"type":"ping","timestamp":17}"#, r#"Ping { timestamp: Some("17") }"#),
        (
            r#"{"type":"ping","payload":{"timestamp":"a\u0041"},"timestamp":1}"#,
            r#"Ping { timestamp: Some("\"a\\u0041\"") }"#,
        ),
        (r#"{"type":"ping","payload":{},"timestamp":1}"#, r#"Ping { timestamp: Some("1") }"#),
        (r#"{"type":"ping","timestamp":[1]}"#, "Ping { timestamp: None }"),
        (r#"{"type":"pong"}"#, "Pong"),
        (r#"{"type":"wink"}"#, r#"Unknown { kind: "wink" }"#),
        (r#"{"type":"chat_message","content":"hi"}"#, r#"Chat("hi", None, None, [])"#),
    ] {
        check(text, expected);
    }
}

#[test]
fn a_body_is_found_under_payload_or_data_or_flat() {
    for (text, expected) in [
        (
            r#"{"type":"user_message","payload":{"content":"a"},"data":{"content":"b"},"content":"c"}"#,
            r#"Chat("a", None, None, [])"#,
        ),
        (
            r#"{"type":"user_message","payload":"x","data":{"content":"b"},"content":"c"}"#,
            r#"Chat("b", None, None, [])"#,
        ),
        (r#"{"type":"user_message","payload":null,"data":[],"content":"c"}"#, r#"Chat("c", None, None, [])"#),
        (
            r#"{"type":"chat_message","role":"assistant","content":"c","attachments":["a"],"mood":1,"user_id":"eve"}"#,
            r#"Chat("c", Some("assistant"), Some("[\"a\"]"), [("\"mood\"", "1")])"#,
        ),
        (r#"{"type":"trip_update","payload":{"field":"a","value":1}}"#, r#"TripUpdate("a"=1)"#),
        (r#"{"type":"trip_update","field":"a","value":{"b": [1, 2]}}"#, r#"TripUpdate("a"={"b": [1, 2]})"#),
        (r#"{"type":"trip_update","data":{"a": 1 ,"b":"x","tripId":"t"}}"#, r#"TripUpdate("a"=1, "b"="x")"#),
        (r#"{"type":"trip_update","id":"1","a":1,"timestamp":"t"}"#, r#"TripUpdate("a"=1) id="1""#),
        (r#"{"type":"trip_update","field":"a","value":null}"#, r#"TripUpdate("a"=null)"#),
        (
            r#"{"type":"publish","channel":"c","payload":{"type":"t","payload":{ "x" : [ ] }}}"#,
            r#"Publish(Publish { kind: "t", payload: "{ \"x\" : [ ] }" }) channel="c""#,
        ),
        (
            r#"{"type":"publish","channel":"c","data":{"channel":"d","type":"t","data":{}}}"#,
            r#"Publish(Publish { kind: "t", payload: "{}" }) channel="d""#,
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn the_envelope_is_read_in_either_casing() {
    for (text, expected) in [
        (
            r#"{"id":"1","type":"pong","channel":"c","ack":true,"exclude_sender":true}"#,
            r#"Pong id="1" channel="c" ack exclude"#,
        ),
        (r#"{"excludeSender":true,"ack":false,"type":"pong"}"#, "Pong exclude"),
        (r#"{"type":"pong","id":null,"channel":null,"ack":null,"exclude_sender":null}"#, "Pong"),
        (r#"{"t\u0079pe":"p\u006fng","i\u0064":"\ud83d\ude00\n"}"#, ""),
        ("\t{ \"type\" : \"pong\" , \"id\" : \"1\" }\r\n", r#"Pong id="1""#),
        (r#"{"type":"pong","a":{"id":"2","type":"x"},"b":[{"id":"3"}],"id":"1"}"#, r#"Pong id="1""#),
    ] {
        if expected.is_empty() {
            let no =
                "INVALID_MESSAGE_FORMAT None None: id must be a string of 1 to 128 bytes without control characters";
            check(text, no);
        } else {
            check(text, expected);
        }
    }
    check(r#"{"t\u0079pe":"p\u006fng","i\u0064":"\ud83d\ude00\"\\\/\u00e9"}"#, r#"Pong id="😀\"\\/é""#);
}

#[test]
fn of_a_name_that_occurs_twice_the_last_counts() {
    for (text, expected) in [
        (r#"{"type":"ping","type":"pong"}"#, "Pong"),
        (r#"{"type":"pong","id":"1","id":"2"}"#, r#"Pong id="2""#),
        (r#"{"type":"pong","id":"1","id":null}"#, "Pong"),
        (
            r#"{"type":"chat_message","payload":{"content":"a"},"payload":{"content":"b"}}"#,
            r#"Chat("b", None, None, [])"#,
        ),
        (r#"{"type":"trip_update","data":{"a":1,"b":2,"a":3}}"#, r#"TripUpdate("a"=3, "b"=2)"#),
        (r#"{"type":"trip_update","data":{"a":1,"b":2,"\u0061":3}}"#, r#"TripUpdate("\u0061"=3, "b"=2)"#),
        (r#"{"type":"pong","exclude_sender":true,"excludeSender":false}"#, "Pong"),
    ] {
        check(text, expected);
    }
}

#[test]
fn an_authentication_frame_is_known_with_and_without_a_type() {
    let frame = |rest: &str| format!("Auth(AuthFrame {{ token: Some(\"t.t.t\"), {rest} }})");
    let plain = frame("session_id: None, channels: [], resume: [], client: None");
    for text in [
        r#"{"token":"t.t.t"}"#,
        r#"{"access_token":"t.t.t"}"#,
        r#"{"payload":{"token":"t.t.t"}}"#,
        r#"{"type":"auth","token":"t.t.t"}"#,
        r#"{"type":"authentication","payload":{"access_token":"t.t.t"}}"#,
        r#"{"type":"authenticate","data":{"accessToken":"t.t.t","clientVersion":"1.0.0"},"timestamp":"x"}"#,
        r#"{"token":"t.t.t","user_id":"eve","session_id":null,"channels":[]}"#,
    ] {
        check(text, &plain);
    }
    check(
        r#"{"token":"t.t.t","sessionId":"s1","channels":["session:s1","a"],
        "resume":[{"channel":"a","epoch":"0000000000000007","seq":3},{"channel":"b","epoch":"other","seq":0},{"channel":"a","epoch":"x","seq":9007199254740991}],
        "client":{"name":"web","version":"1.2","batch":true}}"#,
        &frame(
            "session_id: Some(\"s1\"), channels: [\"session:s1\", \"a\"], resume: [(\"a\", Position { epoch: None, seq: Seq(9007199254740991) }), (\"b\", Position { epoch: None, seq: Seq(0) })], client: Some(Client { name: \"web\", version: \"1.2\", batch: true })",
        ),
    );
    let long = "x".repeat(limits::CHANNEL_NAME_BYTES_MAX + 1);
    check(
        &format!(
            r#"{{"token":"t.t.t","channels":["","a","b\u0000","{long}","{}"],
            "resume":[{{"channel":"{long}","epoch":"x","seq":1}},{{"channel":"a","epoch":"x","seq":1}}]}}"#,
            &long[1..]
        ),
        &frame(&format!(
            "session_id: None, channels: [\"a\", \"{}\"], resume: [(\"a\", Position {{ epoch: None, seq: Seq(1) }})], client: None",
            &long[1..]
        )),
    );
    check(
        r#"{"type":"auth"}"#,
        "Auth(AuthFrame { token: None, session_id: None, channels: [], resume: [], client: None })",
    );
}

#[test]
fn a_malformed_authentication_frame_is_told_from_other_messages() {
    let many = format!(r#"{{"token":"t","channels":[{}]}}"#, vec![r#""c""#; 51].join(","));
    for text in [
        r#"{"token":7}"#,
        r#"{"token":""}"#,
        r#"{"type":"auth","token":["t"]}"#,
        r#"{"type":"authenticate","channels":"c"}"#,
        r#"{"token":"t","channels":[7]}"#,
        r#"{"token":"t","session_id":7}"#,
        r#"{"token":"t","resume":{}}"#,
        r#"{"token":"t","resume":[{"channel":"a","seq":1}]}"#,
        r#"{"token":"t","resume":[{"channel":7,"epoch":"x","seq":1}]}"#,
        r#"{"token":"t","resume":[{"channel":"a","epoch":"x","seq":9007199254740992}]}"#,
        r#"{"token":"t","resume":[{"channel":"a","epoch":"x","seq":-1}]}"#,
        r#"{"token":"t","resume":[{"channel":"a","epoch":"x","seq":1.0}]}"#,
        r#"{"token":"t","client":"web"}"#,
        r#"{"token":"t","client":{"version":"1"}}"#,
        r#"{"token":"t\u0000"}"#,
        &many,
    ] {
        let mut parser = Parser::default();
        let rejected = parser.parse(text).unwrap_err();
        assert!(rejected.is_auth() && rejected.code != ErrorCode::InvalidJson, "{text}: {rejected:?}");
    }
    for text in ["{", "{}", "7", r#"{"type":"chat_message"}"#, r#"{"type":7,"token":"t"}"#] {
        assert!(!Parser::default().parse(text).unwrap_err().is_auth(), "{text}");
    }
}

#[test]
fn subscriptions_name_channels_and_positions() {
    for (text, expected) in [
        (
            r#"{"type":"subscribe","channels":["a"]}"#,
            r#"Subscribe { channels: ["a"], nameless: [], unsubscribe: [], since: [], group: None }"#,
        ),
        (
            r#"{"type":"subscribe","payload":{"channels":[],"unsubscribeChannels":["b"],"since":{"a":{"epoch":"00000000000000ff","seq":5}}}}"#,
            r#"Subscribe { channels: [], nameless: [], unsubscribe: ["b"], since: [("a", Position { epoch: Some(Epoch(255)), seq: Seq(5) })], group: None }"#,
        ),
        (r#"{"type":"unsubscribe","channels":["\u0061"," b"]}"#, r#"Unsubscribe { channels: ["a", " b"] }"#),
        (
            r#"{"type":"subscribe","payload":{}}"#,
            r#"INVALID_MESSAGE_FORMAT Some("subscribe") None: channels is missing"#,
        ),
        (
            r#"{"type":"unsubscribe","id":"1"}"#,
            r#"INVALID_MESSAGE_FORMAT Some("unsubscribe") Some("1"): channels is missing"#,
        ),
        (
            r#"{"type":"subscribe","channels":["a",["b"]]}"#,
            r#"INVALID_MESSAGE_FORMAT Some("subscribe") None: channels must be an array of strings"#,
        ),
        (
            r#"{"type":"subscribe","channels":["a"],"since":{"a":5}}"#,
            r#"INVALID_MESSAGE_FORMAT Some("subscribe") None: positions must be given as channel, epoch and seq"#,
        ),
        (
            r#"{"type":"subscribe","channels":["a"],"since":{"a":{"epoch":7,"seq":5}}}"#,
            r#"INVALID_MESSAGE_FORMAT Some("subscribe") None: epoch must be a string"#,
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (text, expected) in [
        ("", "INVALID_JSON None None: the text is not JSON as RFC 8259 defines it"),
        ("nul", "INVALID_JSON None None: the text is not JSON as RFC 8259 defines it"),
        ("[]", "INVALID_MESSAGE_FORMAT None None: a message must be a JSON object"),
        ("\"x\"", "INVALID_MESSAGE_FORMAT None None: a message must be a JSON object"),
        ("1e400", "INVALID_MESSAGE_FORMAT None None: a message must be a JSON object"),
        ("{}", "INVALID_MESSAGE_FORMAT None None: type is missing"),
        (r#"{"id":"1","type":null}"#, r#"INVALID_MESSAGE_FORMAT None Some("1"): type is missing"#),
        (
            r#"{"id":"1","type":"\ud83d"}"#,
            r#"INVALID_MESSAGE_FORMAT None Some("1"): type must be a string of 1 to 64 bytes without control characters"#,
        ),
        (r#"{"type":"pong","ack":1}"#, r#"INVALID_MESSAGE_FORMAT Some("pong") None: ack must be true or false"#),
        (
            r#"{"type":"pong","exclude_sender":"no"}"#,
            r#"INVALID_MESSAGE_FORMAT Some("pong") None: exclude_sender must be true or false"#,
        ),
        (
            r#"{"type":"pong","channel":7}"#,
            r#"CHANNEL_NOT_FOUND Some("pong") None: a channel name must be a string of 1 to 144 bytes without control characters"#,
        ),
        (r#"{"type":"chat_message"}"#, r#"INVALID_MESSAGE_FORMAT Some("chat_message") None: content is missing"#),
        (
            r#"{"type":"chat_message","content":""}"#,
            r#"INVALID_MESSAGE_FORMAT Some("chat_message") None: content must be a string that is not empty"#,
        ),
        (
            r#"{"type":"chat_message","content":["a"]}"#,
            r#"INVALID_MESSAGE_FORMAT Some("chat_message") None: content must be a string that is not empty"#,
        ),
        (
            r#"{"type":"chat_message","content":"a","attachments":"b"}"#,
            r#"INVALID_MESSAGE_FORMAT Some("chat_message") None: attachments must be an array"#,
        ),
        (
            r#"{"type":"chat_message","content":"a","metadata":"b"}"#,
            r#"INVALID_MESSAGE_FORMAT Some("chat_message") None: metadata must be an object"#,
        ),
        (r#"{"type":"trip_update"}"#, r#"INVALID_MESSAGE_FORMAT Some("trip_update") None: field is missing"#),
        (
            r#"{"type":"trip_update","field":"a"}"#,
            r#"INVALID_MESSAGE_FORMAT Some("trip_update") None: value is missing"#,
        ),
        (
            r#"{"type":"publish","channel":"c","payload":{"type":"t","payload":[]}}"#,
            r#"INVALID_MESSAGE_FORMAT Some("publish") None: payload.payload must be an object"#,
        ),
        (
            r#"{"type":"publish","channel":"c","payload":{"payload":{}}}"#,
            r#"INVALID_MESSAGE_FORMAT Some("publish") None: payload.type is missing"#,
        ),
        (
            r#"{"type":"publish","channel":"c","event":"t"}"#,
            r#"INVALID_MESSAGE_FORMAT Some("publish") None: payload must be an object, which holds all that this type is about"#,
        ),
    ] {
        check(text, expected);
    }
}

/// Whether the text that `make` builds is accepted at one below a bound and at it, and refused above.
fn bounded(bound: usize, make: impl Fn(usize) -> String) {
    for (size, good) in [(bound - 1, true), (bound, true), (bound + 1, false)] {
        let text = make(size);
        let mut parser = Parser::default();
        let parsed = parser.parse(&text);
        assert_eq!(parsed.is_ok(), good, "{size} of {bound}: {:?}", parsed.err());
        if let Err(rejected) = parsed {
            let named = rejected.message.contains(&bound.to_string());
            assert!(named, "{} does not name {bound}", rejected.message);
        }
    }
}

#[test]
fn every_bound_is_kept_and_named() {
    let of = |size: usize| "x".repeat(size);
    let list = |size: usize| (0..size).map(|n| format!(r#""c{n}""#)).collect::<Vec<_>>().join(",");
    bounded(limits::OPERATION_ID_BYTES_MAX, |n| format!(r#"{{"type":"pong","id":"{}"}}"#, of(n)));
    bounded(limits::OPERATION_ID_BYTES_MAX, |n| format!(r#"{{"type":"pong","id":"\u0078{}"}}"#, of(n - 1)));
    bounded(limits::EVENT_TYPE_BYTES_MAX, |n| format!(r#"{{"type":"{}"}}"#, of(n)));
    bounded(limits::EVENT_TYPE_BYTES_MAX, |n| {
        format!(r#"{{"type":"publish","payload":{{"type":"{}","payload":{{}}}}}}"#, of(n))
    });
    bounded(limits::EVENT_TYPE_BYTES_MAX, |n| format!(r#"{{"type":"chat_message","content":"a","role":"{}"}}"#, of(n)));
    bounded(limits::CHANNEL_NAME_BYTES_MAX, |n| format!(r#"{{"type":"pong","channel":"{}"}}"#, of(n)));
    bounded(limits::CHANNELS_PER_MESSAGE_MAX, |n| format!(r#"{{"type":"subscribe","channels":[{}]}}"#, list(n)));
    bounded(limits::CHANNELS_PER_MESSAGE_MAX, |n| format!(r#"{{"token":"t","channels":[{}]}}"#, list(n)));
    bounded(limits::TOKEN_BYTES_MAX, |n| format!(r#"{{"token":"{}"}}"#, of(n)));
    bounded(limits::RESOURCE_ID_BYTES_MAX, |n| format!(r#"{{"token":"t","session_id":"{}"}}"#, of(n)));
    bounded(limits::CLIENT_NAME_BYTES_MAX, |n| format!(r#"{{"token":"t","client":{{"name":"{}"}}}}"#, of(n)));
    bounded(limits::AUTH_FRAME_BYTES_MAX, |n| format!(r#"{{"token":"t","x":"{}"}}"#, of(n - 20)));
    bounded(limits::FIELD_NAME_BYTES_MAX, |n| format!(r#"{{"type":"trip_update","field":"{}","value":1}}"#, of(n)));
    bounded(limits::FIELD_NAME_BYTES_MAX, |n| format!(r#"{{"type":"trip_update","data":{{"{}":1}}}}"#, of(n)));
    bounded(limits::CHANGES_PER_UPDATE_MAX, |n| {
        let fields: Vec<String> = (0..n).map(|n| format!(r#""f{n}":{n}"#)).collect();
        format!(r#"{{"type":"trip_update","data":{{{}}}}}"#, fields.join(","))
    });
    bounded(limits::MESSAGE_BYTES_MAX, |n| format!(r#"{{"type":"pong","x":"{}"}}"#, of(n - 22)));
    // One level is the message itself; a number that only the second check accepts takes the other path.
    for inner in ["1", "1e400"] {
        bounded(limits::JSON_DEPTH_MAX, |n| {
            format!(r#"{{"type":"pong","x":{}{inner}{}}}"#, "[".repeat(n - 1), "]".repeat(n - 1))
        });
    }
    let positions = |n: usize| {
        let all: Vec<String> = (0..n).map(|n| format!(r#""c{n}":{{"epoch":"x","seq":1}}"#)).collect();
        format!(r#"{{"type":"subscribe","channels":[],"since":{{{}}}}}"#, all.join(","))
    };
    bounded(limits::CHANNELS_PER_MESSAGE_MAX, positions);
    for (size, kept) in [(61, true), (62, true), (63, false)] {
        let text = format!(r#"{{"type":"ping","timestamp":"{}"}}"#, of(size));
        let seen = seen(&mut Parser::default(), &text);
        assert_eq!(seen.contains("Some"), kept, "{size} of {}", limits::ECHOED_TIMESTAMP_BYTES_MAX);
    }
}

/// Texts on which parsers differ.
const TRICKY: &[&str] = &[
    "",
    " ",
    "{",
    "}",
    "[",
    "]",
    "{}",
    "[]",
    "{} {}",
    "{}x",
    "nul",
    "null",
    "true",
    "tru",
    "truefalse",
    "\"",
    "\"\"",
    "\"a",
    "-",
    "-0",
    "-0.0",
    "01",
    "-01",
    "1.",
    ".1",
    "1.5",
    "+1",
    "1e",
    "1e5",
    "1E+5",
    "1e-",
    "1e400",
    "-1e400",
    "1e-400",
    "0x1",
    "1_0",
    "NaN",
    "Infinity",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "0.123456789012345678901234567890",
    "[1,]",
    "[,1]",
    "[1,,2]",
    "[1 2]",
    "[1]2",
    "{\"a\":1,}",
    "{,}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\" 1}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1,\"a\":2}",
    "{\"\":1}",
    "\"\\u0041\"",
    "\"\\u004\"",
    "\"\\uD83D\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ude00\\ud83d\"",
    "\"\\ud83dx\"",
    "\"\\ud83d\\n\"",
    "\"\\ud83d\\u0041\"",
    "\"\\u+041\"",
    "\"\\x41\"",
    "\"\\'\"",
    "\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
    "\"\\\"",
    "\"\\\\\"",
    "\"\\\\\\\"",
    "\"\t\"",
    "\"\n\"",
    "\"\u{0}\"",
    "\"\u{1f}\"",
    "\"\u{7f}\"",
    "\"\u{2028}\"",
    "\"\u{1f600}\"",
    "\u{feff}{}",
    "{}\u{feff}",
    "\u{a0}{}",
    "{}\u{0}",
    "\u{b}1",
    "\u{c}1",
    "//x\n1",
    "/**/1",
    "[1]]",
    "[[1]",
    "{\"a\":[}",
    "[{]}",
    "\"a\" \"b\"",
    "[\"a\"\"b\"]",
    "[1\"a\"]",
    "{\"a\":1}\n",
    "\r\n\t 1 \r\n\t ",
    "[tru]",
    "[true]",
    "[truee]",
    "[nulll]",
    "[-]",
    "[- 1]",
    "[1-1]",
    "[1e5.5]",
    "[0e0]",
    "[00]",
    "[-00]",
    "[0.0.0]",
    "[\"\\ud800\\udc00\\udc00\"]",
];

#[test]
fn what_is_json_is_decided_as_serde_json_decides() {
    // One parser for all: a refused text must leave nothing behind.
    let mut parser = Parser::default();
    for text in TRICKY {
        for (before, after) in
            [("", ""), ("[", "]"), ("{\"a\":", "}"), ("{\"type\":\"pong\",\"x\":[", "],\"id\":\"1\"}")]
        {
            let text = format!("{before}{text}{after}");
            let valid = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            match parser.parse(&text) {
                Ok(inbound) => assert!(valid && inbound.id == Some("1"), "{text:?}"),
                Err(rejected) => assert_eq!(rejected.code != ErrorCode::InvalidJson, valid, "{text:?} {rejected:?}"),
            }
        }
        check("{\"type\":\"pong\"}", "Pong");
    }
}

#[test]
fn both_checks_find_the_same_marks() {
    let mut parser = Parser::default();
    for text in TRICKY {
        let text =
            format!("{{\"type\":\"trip_update\",\"data\":{{\"f\" : {text} , \"g\":\"{{[,]}}\\\"\" }} , \"id\":\"1\"}}");
        if !matches!(serde_json::from_str::<serde_json::Value>(&text), Ok(value) if value.is_object()) {
            continue;
        }
        let plain = seen(&mut parser, &text);
        // The same text with one more member that only the grammar accepts goes the other way.
        let other = text.replacen("{\"type\"", "{\"big\":1e400,\"type\"", 1);
        assert_eq!(seen(&mut parser, &other), plain, "{text}");
    }
}

#[test]
fn values_that_no_rust_number_or_string_holds_pass_byte_for_byte() {
    for value in ["1e400", "123456789012345678901234567890", r#""\ud83d""#, "-0", "1E+2", r#"[ 1e400 , {"\ud800":""}]"#]
    {
        let text = format!(r#"{{"type":"trip_update","payload":{{"field":"f","value":{value} }}}}"#);
        check(&text, &format!(r#"TripUpdate("f"={value})"#));
        let text = format!(r#"{{"type":"publish","payload":{{"type":"t","channel":"c","payload":{{"v":{value}}}}}}}"#);
        let expected = Publish { kind: "t", payload: &format!(r#"{{"v":{value}}}"#) };
        check(&text, &format!(r#"Publish({expected:?}) channel="c""#));
        check(
            &format!(r#"{{"type":"chat_message","content":"x","k":{value}}}"#),
            &format!(r#"Chat("x", None, None, {:?})"#, [("\"k\"", value)]),
        );
    }
    check(r#"{"type":"chat_message","content":"\ud83d"}"#, r#"Chat("\ud83d", None, None, [])"#);
}

#[test]
fn every_cut_of_a_message_is_refused() {
    let text = r#" {"id":"é\u00e9","type":"publish","payload":{"type":"t","payload":{"a":[1,{"b":null}],"c":"\"}"}}}"#;
    let mut parser = Parser::default();
    assert!(parser.parse(text).is_ok());
    for (at, _) in text.char_indices() {
        assert_eq!(parser.parse(&text[..at]).unwrap_err().code, ErrorCode::InvalidJson, "{at}");
    }
}
