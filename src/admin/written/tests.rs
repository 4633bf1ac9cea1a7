use serde_json::{Value, json};

use super::*;
use crate::limits::USER_ID_BYTES_MAX;

fn claims() -> Arc<Claims> {
    Arc::new(Claims { user: Arc::from("svc"), service: true, caps: None, expires_at: 0, ties: None })
}

fn message(change: &Value) -> String {
    let mut message = json!({ "channel": "chat:1", "type": "note", "payload": {} });
    message.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    message.to_string()
}

/// `None`: it is one. Else the status of the refusal.
fn check(body: &str, expected: Option<u16>) {
    let found = publish(body.as_bytes(), &claims()).err().map(|refusal| refusal.status);
    assert_eq!(found, expected, "{}", &body[..body.len().min(200)]);
}

#[test]
fn a_message_keeps_the_bounds_of_the_socket() {
    for (field, max) in
        [("channel", CHANNEL_NAME_BYTES_MAX), ("type", EVENT_TYPE_BYTES_MAX), ("id", OPERATION_ID_BYTES_MAX)]
    {
        for (len, expected) in [(0, Some(400)), (1, None), (max - 1, None), (max, None), (max + 1, Some(400))] {
            check(&message(&json!({ field: "x".repeat(len) })), expected);
        }
        check(&message(&json!({ field: "a\u{7}b" })), Some(400));
        check(&message(&json!({ field: 7 })), Some(400));
    }
    for (len, expected) in
        [(MESSAGE_BYTES_MAX - 1, None), (MESSAGE_BYTES_MAX, None), (MESSAGE_BYTES_MAX + 1, Some(413))]
    {
        check(&message(&json!({ "payload": { "p": "x".repeat(len - r#"{"p":""}"#.len()) } })), expected);
    }
    for (depth, expected) in [(JSON_DEPTH_MAX - 1, None), (JSON_DEPTH_MAX, None), (JSON_DEPTH_MAX + 1, Some(400))] {
        let nested = format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        check(&format!(r#"{{"channel":"c","type":"t","payload":{nested}}}"#), expected);
    }
    check(&message(&json!({ "payload": { "text": "[".repeat(100), "more": "\\\"[[" } })), None);
    for payload in [json!([]), json!("x"), json!(1), Value::Null] {
        check(&message(&json!({ "payload": payload })), Some(400));
    }
    for (priority, expected) in [
        (json!(1), None),
        (json!(3), None),
        (json!("low"), None),
        (Value::Null, None),
        (json!(0), Some(400)),
        (json!(4), Some(400)),
        (json!("now"), Some(400)),
        (json!([1]), Some(400)),
    ] {
        check(&message(&json!({ "priority": priority })), expected);
    }
    check(&message(&json!({ "id": null, "exclude": null, "ack": true, "more": 1 })), None);
    check(&message(&json!({ "exclude": "0".repeat(32) })), None);
    check(&message(&json!({ "exclude": "0".repeat(31) })), Some(400));
    for body in ["", "{", "[]", "7", "\u{feff}{}", "{\"channel\":\"c\",\"type\":\"t\"}", "{} {}"] {
        check(body, Some(400));
    }
    assert_eq!(publish(b"{\"channel\":\"\xff\"}", &claims()).unwrap_err().code, ErrorCode::InvalidJson);
    assert_eq!(publish(b"{}", &claims()).unwrap_err().code, ErrorCode::InvalidMessageFormat);
}

#[test]
fn payloads_pass_byte_for_byte_and_channels_have_their_own_names() {
    let payload = "{ \"n\": 12345678901234567890123, \"x\":1e400,\n\"s\":\"\\ud83d\" }";
    let body = format!(r#"{{"channel":"session:7","type":"note","payload": {payload} }}"#);
    let (written, publishing) = publish(body.as_bytes(), &claims()).unwrap();
    assert_eq!((&*written, &*publishing.channel), ("session:7", "chat:7"));
    assert_eq!(&*publishing.payload, payload.as_bytes());
    assert_eq!(&*channel("notifications", &claims()).unwrap(), "notifications:svc");
}

#[test]
fn a_hundred_at_a_time_and_a_bad_one_fails_alone() {
    for (count, good) in
        [(0, false), (1, true), (ADMIN_BATCH_MAX - 1, true), (ADMIN_BATCH_MAX, true), (ADMIN_BATCH_MAX + 1, false)]
    {
        let messages: Vec<Value> = (0..count).map(|_| json!({})).collect();
        assert_eq!(batch(json!({ "messages": messages }).to_string().as_bytes(), &claims()).is_ok(), good, "{count}");
        let channels: Vec<String> = (0..count).map(|index| format!("chat:{index}")).collect();
        let body = json!({ "channels": channels, "type": "note", "payload": {} }).to_string();
        assert_eq!(broadcast(body.as_bytes(), &claims()).is_ok(), good, "{count}");
        let body = json!({ "user_id": "u", "channels": channels }).to_string();
        assert_eq!(unsubscribe(body.as_bytes()).is_ok(), good, "{count}");
    }
    let good: Value = serde_json::from_str(&message(&json!({}))).unwrap();
    let body = json!({ "messages": [good, { "type": "note" }, "x", good] }).to_string();
    let outcomes: Vec<bool> =
        batch(body.as_bytes(), &claims()).unwrap().iter().map(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(outcomes, [true, false, false, true]);
    let body = json!({ "channels": ["chat:1", ""], "type": "note", "payload": {} }).to_string();
    let outcomes = broadcast(body.as_bytes(), &claims()).unwrap();
    assert!(outcomes[0].1.is_ok() && outcomes[1].1.is_err());
}

#[test]
fn connections_are_selected_one_way_and_closed_with_a_code_that_may_be_sent() {
    let name = "00000000000000000000000000000007";
    for (body, expected) in [
        (json!({ "user_id": "u" }), Ok(Whose::User(Arc::from("u")))),
        (json!({ "connection_id": name }), Ok(Whose::Connection(ConnectionName(7)))),
        (json!({ "user_id": "u", "connection_id": name }), Err(400)),
        (json!({}), Err(400)),
        (json!({ "user_id": "" }), Err(400)),
        (json!({ "user_id": "x".repeat(USER_ID_BYTES_MAX + 1) }), Err(400)),
        (json!({ "connection_id": "7" }), Err(400)),
    ] {
        let found = disconnect(body.to_string().as_bytes());
        assert_eq!(found.map(|(whose, _)| whose).map_err(|refusal| refusal.status), expected, "{body}");
    }
    for (code, good) in [
        (999, false),
        (1000, true),
        (1002, false),
        (1005, false),
        (1006, false),
        (1012, true),
        (1015, false),
        (2999, false),
        (3000, true),
        (4999, true),
        (5000, false),
    ] {
        let body = json!({ "user_id": "u", "code": code }).to_string();
        let expected = good.then_some(Act::Close(CloseCode(code)));
        assert_eq!(disconnect(body.as_bytes()).ok().map(|(_, act)| act), expected, "{code}");
    }
    let (_, act) = disconnect(br#"{"user_id":"u"}"#).unwrap();
    assert_eq!(act, Act::Close(CloseCode::RESTART));
}

#[test]
fn a_stretch_of_history_is_read_from_the_query() {
    let plain = Stretch {
        channel: Box::from("c"),
        since: None,
        until: None,
        limit: HISTORY_PAGE_DEFAULT,
        reverse: false,
        known: true,
    };
    let epoch = Epoch(0xab);
    for (query, expected) in [
        ("", Some((plain.clone(), None))),
        ("since_seq=5&limit=3", Some((Stretch { since: Some(Seq(5)), limit: 3, ..plain.clone() }, None))),
        ("until_seq=9&reverse=true", Some((Stretch { until: Some(Seq(9)), reverse: true, ..plain.clone() }, None))),
        ("since_epoch=00000000000000ab", Some((plain.clone(), Some(epoch)))),
        ("limit=99999999999", Some((Stretch { limit: HISTORY_PAGE_MAX, ..plain.clone() }, None))),
        ("limit=x", None),
        ("since_seq=-1", None),
        ("since_seq=+1", None),
        ("since_seq=9007199254740992", None),
        ("since_epoch=7", None),
        ("reverse=yes", None),
        ("since_seq=%ff", None),
    ] {
        assert_eq!(history("c", query).ok(), expected, "{query}");
    }
}

#[test]
fn a_message_belongs_to_the_trace_that_it_names_and_is_no_worse_for_one_that_is_none() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (written, expected) in [
        (json!(TRACE), Some(TRACE)),
        (json!(TRACE.replacen("00-", "01-", 1) + "-more"), Some(TRACE)),
        (json!(TRACE.to_uppercase()), None),
        (json!(""), None),
        (json!(7), None),
        (json!([TRACE]), None),
        (Value::Null, None),
    ] {
        let body = message(&json!({ "traceparent": written }));
        let (_, publishing) = publish(body.as_bytes(), &claims()).unwrap();
        assert_eq!(publishing.traceparent.as_deref(), expected, "{written}");
    }
}

#[test]
fn a_request_belongs_to_the_one_trace_that_it_names() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let later = TRACE.replacen("00-", "01-", 1);
    for (lines, expected) in [
        (String::new(), None),
        (format!("traceparent: {TRACE}\r\n"), Some(TRACE)),
        (format!("TraceParent:   {TRACE} \r\n"), Some(TRACE)),
        (format!("traceparent: {later}-more\r\n"), Some(TRACE)),
        (format!("traceparent: {TRACE}-more\r\n"), None),
        (format!("traceparent: {TRACE}, {TRACE}\r\n"), None),
        (format!("traceparent: {TRACE}\r\ntraceparent: {TRACE}\r\n"), None),
        (format!("traceparent: {TRACE}\u{e4}\r\n"), None),
        ("traceparent:\r\n".to_owned(), None),
    ] {
        let head = format!("POST /api/publish HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let (request, _) = crate::wire::http::read_head(head.as_bytes()).unwrap().unwrap();
        assert_eq!(trace_of(&request).as_deref(), expected, "{lines}");
    }
}
