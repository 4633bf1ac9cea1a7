//! Messages that are not chat, trips or subscriptions: what each asks for, in every form that is accepted.

use super::*;
use crate::envelope::Parser;
use crate::limits;

/// What a text asks for, as text; the bodies that go on as they are come as JSON.
fn seen(parsed: &Result<Inbound<'_>, Rejected<'_>>) -> String {
    let inbound = match parsed {
        Ok(inbound) => inbound,
        Err(no) => return format!("{} {:?} {:?}: {}", no.code.name(), no.kind, no.id, no.message),
    };
    let json = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        serde_json::from_slice::<&serde_json::value::RawValue>(&out).unwrap();
        String::from_utf8(out).unwrap()
    };
    match &inbound.command {
        Command::Cursor { fields } => format!("Cursor {}", json(&|out| fields.write(out))),
        Command::Relay { kind, fields } => format!("Relay {kind} {}", json(&|out| fields.write(out))),
        Command::Report { kind, fields } => format!("Report {kind} {}", json(&|out| fields.write(out))),
        Command::Request(request) => {
            let params = json(&|out| request.params.write(out));
            format!("Request {} {params} {:?} {}", request.method, request.id, request.optional)
        }
        Command::Batch(batch) => batch.0.iter().map(seen).collect::<Vec<_>>().join(" | "),
        other => format!("{other:?}"),
    }
}

fn check(text: &str, expected: &str) {
    assert_eq!(seen(&Parser::default().parse(text)), expected, "{text}");
}

/// The same message with its body under `payload`, under `data` and flat.
fn check_in_every_form(kind: &str, fields: &str, expected: &str) {
    let comma = if fields.is_empty() { "" } else { "," };
    for text in [
        format!(r#"{{"type":"{kind}","payload":{{{fields}}},"timestamp":"t"}}"#),
        format!(r#"{{"type":"{kind}","data":{{{fields}}}}}"#),
        format!(r#"{{"type":"{kind}"{comma}{fields}}}"#),
    ] {
        check(&text, expected);
    }
}

#[test]
fn writing_begins_and_ends_under_every_name() {
    for kind in ["chat_typing_start", "user_typing", "typing", "typing_start"] {
        check_in_every_form(kind, "", "Typing(Start { field: None })");
        check_in_every_form(kind, r#""isTyping":true,"field":"a.b""#, r#"Typing(Start { field: Some("a.b") })"#);
        check_in_every_form(kind, r#""is_typing":false,"fieldName":"a""#, r#"Typing(Stop { field: Some("a") })"#);
    }
    for kind in ["chat_typing_stop", "user_stop_typing", "typing_stop"] {
        check_in_every_form(kind, r#""field_name":"a","userId":"eve""#, r#"Typing(Stop { field: Some("a") })"#);
        check_in_every_form(kind, r#""field":null"#, "Typing(Stop { field: None })");
    }
    check_in_every_form(
        "typing",
        r#""is_typing":1"#,
        r#"INVALID_MESSAGE_FORMAT Some("typing") None: is_typing must be true or false"#,
    );
    check_in_every_form(
        "typing_stop",
        r#""field":7"#,
        r#"INVALID_MESSAGE_FORMAT Some("typing_stop") None: a field name must be a string of 1 to 256 bytes without control characters"#,
    );
}

#[test]
fn what_goes_on_as_it_is_has_its_first_name_and_none_of_the_envelopes_fields() {
    check_in_every_form("cursor_update", r#""x":1,"y":[ 2 ]"#, r#"Cursor {"x":1,"y":[ 2 ]}"#);
    check_in_every_form("cursor_update", "", "Cursor {}");
    for (kind, first) in [
        ("trip_field_editing_start", "trip_field_editing_start"),
        ("field_editing_stop", "trip_field_editing_stop"),
        ("trip_collaboration_join", "trip_collaboration_join"),
        ("collaboration_leave", "trip_collaboration_leave"),
    ] {
        check_in_every_form(kind, r#""field_name":"a\u0041""#, &format!(r#"Relay {first} {{"field_name":"a\u0041"}}"#));
    }
    for (kind, first) in [
        ("agent_status_update", "agent_status_update"),
        ("status_update", "agent_status_update"),
        ("task_start", "agent_task_start"),
        ("agent_task_progress", "agent_task_progress"),
        ("task_complete", "agent_task_complete"),
        ("tool_call_error", "tool_call_error"),
        ("agent_error", "agent_error"),
    ] {
        check_in_every_form(
            kind,
            r#""agentId":"a","n":1e400"#,
            &format!(r#"Report {first} {{"agentId":"a","n":1e400}}"#),
        );
    }
    check(
        r#"{"id":"1","x":1,"ty\u0070e":"status_update","channel":"c","payload":7,"data":[],"priority":3,"y":{}}"#,
        r#"Report agent_status_update {"x":1,"y":{}}"#,
    );
}

#[test]
fn fields_that_the_gateway_says_itself_are_left_out_on_demand() {
    for text in [
        r#"{"type":"cursor_update","payload":{"user_id":"eve","x":1,"us\u0065r_id":"eve","y":2,"user_id":"eve"}}"#,
        r#"{"user_id":"eve","x":1,"type":"cursor_update","user_id":"eve","y":2}"#,
    ] {
        let mut parser = Parser::default();
        let Ok(Inbound { command: Command::Cursor { fields }, .. }) = parser.parse(text) else { panic!("{text}") };
        let mut out = Vec::new();
        fields.write_but(&["user_id"], &mut out);
        assert_eq!(out, br#"{"x":1,"y":2}"#);
    }
}

#[test]
fn requests_and_answers_are_read() {
    check_in_every_form("request", r#""id":"7","method":"time""#, r#"Request time {} Some("7") false"#);
    check_in_every_form("request", r#""id":"7","method":"m","params":[1 ]"#, r#"Request m [1 ] Some("7") false"#);
    check(r#"{"type":"request","id":"7","payload":{"method":"m"}}"#, r#"Request m {} Some("7") false"#);
    check(r#"{"type":"request","id":"7","payload":{"method":"m","id":"8"}}"#, r#"Request m {} Some("8") false"#);
    check_in_every_form("request", r#""method":"m""#, r#"INVALID_MESSAGE_FORMAT Some("request") None: id is missing"#);
    check(r#"{"type":"request","id":"7"}"#, r#"INVALID_MESSAGE_FORMAT Some("request") Some("7"): method is missing"#);
    for kind in ["start_agent", "stop_agent", "resource_usage"] {
        check_in_every_form(kind, r#""agent_id":"a""#, &format!(r#"Request {kind} {{"agent_id":"a"}} None true"#));
    }
    check(r#"{"type":"stop_agent","id":"7","payload":{}}"#, r#"Request stop_agent {} Some("7") true"#);
    check_in_every_form(
        "response",
        r#""id":"7","result":{"a":1}"#,
        r#"Response(Response { id: "7", outcome: Ok("{\"a\":1}") })"#,
    );
    check_in_every_form(
        "response",
        r#""id":"7","result":null"#,
        r#"Response(Response { id: "7", outcome: Ok("null") })"#,
    );
    check_in_every_form(
        "response",
        r#""id":"7","result":1,"error":{"code":"X"}"#,
        r#"Response(Response { id: "7", outcome: Err("{\"code\":\"X\"}") })"#,
    );
    let no = r#"INVALID_MESSAGE_FORMAT Some("response")"#;
    check(r#"{"type":"response","result":1}"#, &format!("{no} None: id is missing"));
    check(r#"{"type":"response","id":"7"}"#, &format!("{no} Some(\"7\"): result is missing"));
    check(r#"{"type":"response","id":"7","error":"x"}"#, &format!("{no} Some(\"7\"): error must be an object"));
    check_in_every_form("cancel", r#""id":"7""#, r#"Cancel { id: "7" }"#);
    check_in_every_form("cancel", "", r#"INVALID_MESSAGE_FORMAT Some("cancel") None: id is missing"#);
    check_in_every_form("register", r#""methods":["a","\u0062"]"#, r#"Register { methods: ["a", "b"], nameless: [] }"#);
    for fields in ["", r#""methods":"a""#] {
        let no = r#"INVALID_MESSAGE_FORMAT Some("register") None: methods must be an array of strings"#;
        check_in_every_form("register", fields, no);
    }
}

#[test]
fn a_reader_says_how_far_it_is() {
    let ack = r#""channel":"c","epoch":"00000000000000ff","seq":5"#;
    check_in_every_form("ack", ack, "Ack { position: Position { epoch: Some(Epoch(255)), seq: Seq(5) } }");
    for text in [format!(r#"{{"type":"ack","channel":"d","payload":{{{ack}}}}}"#), format!(r#"{{"type":"ack",{ack}}}"#)]
    {
        let mut parser = Parser::default();
        assert_eq!(parser.parse(&text).unwrap().channel, Some("c"), "{text}");
    }
    check_in_every_form(
        "ack",
        r#""channel":"c","epoch":"x""#,
        r#"INVALID_MESSAGE_FORMAT Some("ack") None: seq must be a whole number of 0 to 2^53 - 1"#,
    );
}

#[test]
fn a_group_is_named_with_a_subscription() {
    check_in_every_form(
        "subscribe",
        r#""channels":["chat:*"],"group":"g""#,
        r#"Subscribe { channels: ["chat:*"], nameless: [], unsubscribe: [], since: [], group: Some("g") }"#,
    );
}

#[test]
fn a_priority_is_a_number_or_a_name() {
    for (written, expected) in [
        ("1", Some(Priority::High)),
        (r#""high""#, Some(Priority::High)),
        (r#""critical""#, Some(Priority::High)),
        ("2", Some(Priority::Normal)),
        (r#""medium""#, Some(Priority::Normal)),
        (r#""normal""#, Some(Priority::Normal)),
        ("3", Some(Priority::Low)),
        (r#""low""#, Some(Priority::Low)),
        ("null", None),
    ] {
        let text = format!(r#"{{"type":"pong","priority":{written}}}"#);
        assert_eq!(Parser::default().parse(&text).unwrap().priority, expected, "{written}");
    }
    for written in ["0", "4", "1.0", r#""urgent""#, "[]"] {
        let no = r#"INVALID_MESSAGE_FORMAT Some("pong") None: priority must be 1, 2, 3, high, normal or low"#;
        check(&format!(r#"{{"type":"pong","priority":{written}}}"#), no);
    }
}

#[test]
fn a_message_may_belong_to_a_trace_and_is_no_worse_for_one_that_is_none() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let later = TRACE.replacen("00-", "cc-", 1);
    for (written, expected) in [
        (format!(r#""{TRACE}""#), Some(TRACE)),
        (format!(r#""{}""#, TRACE.replacen('-', "\\u002d", 1)), Some(TRACE)),
        (format!(r#""{later}""#), Some(TRACE)),
        (format!(r#""{later}-more""#), Some(TRACE)),
        (format!(r#""{}-{}""#, later.replacen('c', "\\u0063", 1), "x".repeat(200)), Some(TRACE)),
        (format!(r#""{TRACE}-more""#), None),
        (format!(r#""{}""#, TRACE.to_uppercase()), None),
        (format!(r#""{TRACE}\ud800""#), None),
        (r#""""#.to_owned(), None),
        ("null".to_owned(), None),
        ("7".to_owned(), None),
        (format!(r#"["{TRACE}"]"#), None),
    ] {
        for (before, after) in [("", ""), (r#""id":"\u0061","#, r#","channel":"\u0063""#)] {
            let text = format!(r#"{{{before}"type":"\u0070ong","traceparent":{written}{after}}}"#);
            let mut parser = Parser::default();
            let inbound = parser.parse(&text).unwrap();
            assert_eq!(inbound.traceparent, expected, "{text}");
            let names = if before.is_empty() { (None, None) } else { (Some("a"), Some("c")) };
            assert_eq!((inbound.id, inbound.channel), names, "{text}");
        }
    }
    // It is the envelope's, wherever the body stands, and no field of a body that is flat.
    for text in [
        format!(r#"{{"type":"trip_update","traceparent":"{TRACE}","payload":{{"field":"a","value":1}}}}"#),
        format!(r#"{{"type":"trip_update","a":1,"traceparent":"{TRACE}"}}"#),
    ] {
        let mut parser = Parser::default();
        let inbound = parser.parse(&text).unwrap();
        let Command::TripUpdate { changes } = &inbound.command else { panic!("{text}") };
        assert_eq!((inbound.traceparent, changes.as_slice().len()), (Some(TRACE), 1), "{text}");
    }
}

#[test]
fn the_messages_of_a_batch_are_read_as_if_alone() {
    let batch = |messages: &str| format!(r#"{{"type":"batch","payload":{{"messages":[{messages}]}}}}"#);
    check(
        &batch(
            r#"{"type":"p\u006fng"}, 7,{"type":"ping","timestamp":1},{"id":"1","type":"chat_message"},
            {"type":"batch","id":"2","payload":{"messages":[]}},{"type":"register","methods":["\ud83d"]},
            {"type":"publish","channel":"\u0063","payload":{"type":"t\u0074","payload":{}}},{"token":"t"}"#,
        ),
        concat!(
            "Pong | INVALID_MESSAGE_FORMAT None None: a message must be a JSON object | ",
            "Ping { timestamp: Some(\"1\") } | ",
            "INVALID_MESSAGE_FORMAT Some(\"chat_message\") Some(\"1\"): content is missing | ",
            "INVALID_MESSAGE_FORMAT Some(\"batch\") Some(\"2\"): a batch may not hold a batch | ",
            r#"Register { methods: [], nameless: ["\"\\ud83d\""] } | "#,
            "Publish(Publish { kind: \"tt\", payload: \"{}\" }) | ",
            "Auth(AuthFrame { token: Some(\"t\"), session_id: None, channels: [], resume: [], client: None })",
        ),
    );
    for text in [r#"{"type":"batch","messages":[]}"#, r#"{"type":"batch"}"#] {
        let no = "payload must be an object, which holds all that this type is about";
        check(text, &format!(r#"INVALID_MESSAGE_FORMAT Some("batch") None: {no}"#));
    }
    let no = "payload.messages must be an array";
    for body in ["{}", r#"{"messages":{}}"#] {
        check(
            &format!(r#"{{"type":"batch","data":{body}}}"#),
            &format!(r#"INVALID_MESSAGE_FORMAT Some("batch") None: {no}"#),
        );
    }
}

#[test]
fn a_message_takes_tokens_by_its_kind() {
    let tokens = |text: &str| Parser::default().parse(text).unwrap().tokens;
    for (kind, expected) in [("heartbeat", 0), ("ping", 0), ("pong", 0), ("typing", 1), ("no_such_kind", 1)] {
        assert_eq!(tokens(&format!(r#"{{"type":"{kind}"}}"#)), expected, "{kind}");
    }
    assert_eq!(tokens(r#"{"type":"ack","epoch":"x","seq":1}"#), 0);
    let per_token = limits::BATCH_MESSAGES_PER_TOKEN;
    for (count, expected) in [
        (0, 1),
        (1, 1),
        (per_token - 1, 1),
        (per_token, 1),
        (per_token + 1, 2),
        (limits::BATCH_MESSAGES_MAX - 1, 10),
        (limits::BATCH_MESSAGES_MAX, 10),
    ] {
        let messages = vec![r#"{"type":"pong"}"#; count].join(",");
        let text = format!(r#"{{"type":"batch","payload":{{"messages":[{messages}]}}}}"#);
        assert_eq!(tokens(&text), expected, "{count}");
    }
}

#[test]
fn lists_are_bounded() {
    let list = |n: usize, item: &str| vec![item; n].join(",");
    for (bound, good) in [(-1, true), (0, true), (1, false)] {
        let batch = list(limits::BATCH_MESSAGES_MAX.checked_add_signed(bound).unwrap(), r#"{"type":"pong"}"#);
        let text = format!(r#"{{"type":"batch","payload":{{"messages":[{batch}]}}}}"#);
        assert_eq!(Parser::default().parse(&text).is_ok(), good);
        let methods = list(limits::METHODS_PER_MESSAGE_MAX.checked_add_signed(bound).unwrap(), r#""m""#);
        let text = format!(r#"{{"type":"register","methods":[{methods}]}}"#);
        assert_eq!(Parser::default().parse(&text).is_ok(), good);
    }
}
