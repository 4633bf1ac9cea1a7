//! Handshakes: the example of RFC 6455, and one change to it at a time.

use super::*;
use crate::wire::http::read_head;

/// A good request, each line of which a test may replace.
const GOOD: [&str; 6] = [
    "GET /ws HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn checked(lines: &[&str]) -> Result<Upgrade, HttpError> {
    let head = format!("{}\r\n\r\n", lines.join("\r\n"));
    check(&read_head(head.as_bytes())?.expect("a whole head").0)
}

/// The outcome of the good request with the line that begins like `line` replaced by it, or `line` added.
fn with(line: &str) -> Result<Upgrade, HttpError> {
    let name = line.split([':', ' ']).next().unwrap();
    let mut lines = GOOD.to_vec();
    match lines.iter_mut().find(|good| good.starts_with(name)) {
        Some(place) => *place = line,
        None => lines.push(line),
    }
    checked(&lines)
}

fn without(name: &str) -> Result<Upgrade, HttpError> {
    checked(&GOOD.into_iter().filter(|line| !line.starts_with(name)).collect::<Vec<_>>())
}

fn doubled(line: &str) -> Result<Upgrade, HttpError> {
    checked(&[GOOD.as_slice(), &[line]].concat())
}

#[track_caller]
fn check_status(outcome: Result<Upgrade, HttpError>, expected: u16) {
    assert_eq!(outcome.map(|_| 101).unwrap_or_else(|error| error.status), expected);
}

#[test]
fn the_example_of_rfc_6455_section_1_3_is_accepted() {
    let upgrade = checked(&GOOD).unwrap();
    let expected = Upgrade {
        accept_key: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(),
        protocols: Vec::new(),
        origin: None,
        host: "server.example.com".to_owned(),
    };
    assert_eq!(upgrade, expected);
    assert_eq!(
        String::from_utf8(accept_response(&upgrade, None)).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn what_a_client_may_vary_is_accepted() {
    for line in [
        "Upgrade: WebSocket",
        "Upgrade: h2c, websocket",
        "Connection: keep-alive, uPGRADE",
        "Connection: ,upgrade,",
        "Content-Length: 0",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Protocol:",
        "Origin: null",
    ] {
        check_status(with(line), 101);
    }
    let lines = ["Connection: keep-alive", "Connection: Upgrade"];
    check_status(checked(&[&GOOD[..3], &lines, &GOOD[4..]].concat()), 101);
}

#[test]
fn each_duty_of_section_4_2_1_is_refused_with_its_status() {
    for line in ["POST /ws HTTP/1.1", "HEAD /ws HTTP/1.1", "get /ws HTTP/1.1", "OPTIONS /ws HTTP/1.1"] {
        check_status(checked(&[&[line], &GOOD[1..]].concat()), 405);
    }
    check_status(checked(&[&["GET /ws HTTP/1.0"], &GOOD[1..]].concat()), 505);
    check_status(without("Host"), 400);
    check_status(doubled("Host: server.example.com"), 400);
    for line in ["Upgrade: h2c", "Upgrade:", "Upgrade: websockets", "Connection: close", "Connection: xupgrade"] {
        check_status(with(line), 426);
    }
    for (name, status) in
        [("Upgrade", 426), ("Connection", 426), ("Sec-WebSocket-Key", 400), ("Sec-WebSocket-Version", 400)]
    {
        check_status(without(name), status);
    }
    for version in ["8", "0", "14", "", "013", "13, 8", "+13", "13.0"] {
        check_status(with(&format!("Sec-WebSocket-Version: {version}")), 426);
    }
    check_status(doubled("Sec-WebSocket-Version: 13"), 400);
    check_status(doubled("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400);
    check_status(with("Content-Length: 1"), 400);
    check_status(with("Transfer-Encoding: chunked"), 400);
}

#[test]
fn a_key_must_decode_to_16_bytes() {
    for key in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZTE=",
        "dGhlIHNhbXBsZSBub25jZTEy",
        "dGhlIHNhbXBsZSBub25jZR==",
        "dGhlIHNhbXBsZSBub25j*Q==",
        "dGhl IHNhbXBsZSBub25jZQ==",
        "____________________==",
    ] {
        check_status(with(&format!("Sec-WebSocket-Key: {key}")), 400);
    }
}

#[test]
fn an_origin_that_cannot_be_read_does_not_pass_for_a_missing_one() {
    check_status(with("Origin: https://\u{e4}.com"), 400);
    check_status(doubled("Sec-WebSocket-Protocol: \u{e4}"), 400);
    let doubled: Vec<_> = GOOD.into_iter().chain(["Origin: https://a.com", "Origin: https://b.com"]).collect();
    check_status(checked(&doubled), 400);
    assert_eq!(with("Origin: https://a.com").unwrap().origin.as_deref(), Some("https://a.com"));
}

#[test]
fn sub_protocols_are_tokens_each_once_and_bounded() {
    let check = |lines: &[&str], expected: Option<&[&str]>| {
        let lines: Vec<_> = lines.iter().map(|line| format!("Sec-WebSocket-Protocol: {line}")).collect();
        let all: Vec<_> = GOOD.into_iter().chain(lines.iter().map(String::as_str)).collect();
        match expected {
            Some(names) => assert_eq!(checked(&all).unwrap().protocols, names),
            None => check_status(checked(&all), 400),
        }
    };
    check(&["a, b", ",c ,,"], Some(&["a", "b", "c"]));
    check(&["waystation.v1.json,bearer.a.b-_c"], Some(&["waystation.v1.json", "bearer.a.b-_c"]));
    check(&["a, a"], None);
    check(&["a", "a"], None);
    check(&["a b"], None);
    check(&["a/b"], None);
    check(&["\"a\""], None);
    for count in [SUB_PROTOCOLS_COUNT_MAX - 1, SUB_PROTOCOLS_COUNT_MAX, SUB_PROTOCOLS_COUNT_MAX + 1] {
        let names: Vec<_> = (0..count).map(|index| format!("p{index}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        check(&[&names.join(",")], (count <= SUB_PROTOCOLS_COUNT_MAX).then_some(&names));
    }
}

#[test]
fn ours_is_chosen_else_the_first_that_is_no_token() {
    let check = |offered: &str, expected: (Option<&str>, Option<&str>)| {
        let offered: Vec<_> = offered.split_whitespace().map(str::to_owned).collect();
        assert_eq!(choose_protocol(&offered), expected, "{offered:?}");
    };
    check("", (None, None));
    check("a b", (Some("a"), None));
    check("a waystation.v1.json", (Some("waystation.v1.json"), None));
    check("bearer.x.y.z", (None, Some("x.y.z")));
    check("bearer.x a bearer.y", (Some("a"), Some("x")));
    check("bearer. a", (Some("a"), Some("")));
    check("waystation.v1.msgpack bearer.x", (None, Some("x")));
    check("waystation.v2.json waystation.v1.msgpack b", (Some("b"), None));
    check("Waystation.V1.json waystation.v1.jsonx", (Some("Waystation.V1.json"), None));
}

#[test]
fn only_an_offered_sub_protocol_is_echoed() {
    let upgrade = with("Sec-WebSocket-Protocol: a, b").unwrap();
    let check = |chosen: Option<&str>, expected: bool| {
        let text = String::from_utf8(accept_response(&upgrade, chosen)).unwrap();
        assert_eq!(text.contains("Sec-WebSocket-Protocol: "), expected, "{text}");
        assert!(text.ends_with("\r\n\r\n") && text.matches("\r\n\r\n").count() == 1);
    };
    check(Some("b"), true);
    check(None, false);
    check(Some("c"), false);
    check(Some("b\r\nX: y"), false);
}
