//! Frames: what RFC 6455 asks of an endpoint that Autobahn does not see, because it happens on the endpoints
//! of text messages. Bytes are sent raw; what passes is compared, what fails is told by its close code.

use serde_json::{Value, json};

use crate::client::{Client, Seen};
use crate::gateway::Gateway;
use crate::raw::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Raw, TEXT, frame, text_frame, unmasked_frame};

/// A connection to `/ws/chat/s` whose welcome is read.
fn admitted(gateway: &Gateway) -> Raw {
    let mut raw = Raw::admitted(gateway, "/ws/chat/s", &gateway.token("ada"));
    for kind in ["connection_established", "subscribed"] {
        assert!(raw.text().contains(&format!(r#""type":"{kind}""#)));
    }
    raw
}

/// Sends bytes and expects the connection to be closed with a code, and then to end.
fn check(gateway: &Gateway, bytes: &[u8], code: u16) {
    let shown = bytes.get(..16.min(bytes.len()));
    let mut raw = admitted(gateway);
    raw.write(bytes);
    assert_eq!(raw.close_code(), code, "{shown:02x?}");
    assert!(raw.frame().is_none(), "{shown:02x?}: something follows the close frame");
}

#[test]
fn a_violation_is_closed_with_its_code() {
    let gateway = Gateway::start();
    let close = |payload: &[u8]| frame(FIN | CLOSE, payload);
    for (bytes, code) in [
        // RFC 6455 sections 5.1, 5.2, 5.4 and 5.5.
        (unmasked_frame(FIN | TEXT, b"{}"), 1002),
        (frame(FIN | 0x40 | TEXT, b"{}"), 1002),
        (frame(FIN | 0x20 | TEXT, b"{}"), 1002),
        (frame(FIN | 0x10 | TEXT, b"{}"), 1002),
        (frame(FIN | 0x3, b""), 1002),
        (frame(FIN | 0xB, b""), 1002),
        (frame(FIN | CONTINUATION, b"x"), 1002),
        ([frame(TEXT, b"{"), frame(FIN | TEXT, b"}")].concat(), 1002),
        (frame(PING, b"x"), 1002),
        (frame(FIN | PING, &[b'x'; 126]), 1002),
        // Section 5.5.1 and 7.4: bodies of close frames.
        (close(b"x"), 1002),
        (close(&1005u16.to_be_bytes()), 1002),
        (close(&1006u16.to_be_bytes()), 1002),
        (close(&999u16.to_be_bytes()), 1002),
        (close(&[0x03, 0xe8, 0xff]), 1007),
        // Section 8.1, as soon as it is seen, and in the middle of a message.
        (frame(FIN | TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xc0\x80"), 1007),
        ([frame(TEXT, b"\xf0\x9f"), frame(FIN | CONTINUATION, b"x")].concat(), 1007),
        (frame(FIN | TEXT, b"\xed\xa0\x80"), 1007),
        // The endpoints of text messages take no binary ones.
        (frame(FIN | BINARY, b"{}"), 1003),
        (frame(BINARY, b""), 1003),
        // A length that lies: refused from the head, nothing is waited for.
        ([&[FIN | TEXT, 0xff][..], &(1u64 << 62).to_be_bytes(), &[0; 4]].concat(), 1009),
        ([&[FIN | TEXT, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat(), 1002),
    ] {
        check(&gateway, &bytes, code);
    }
}

#[test]
fn a_close_frame_is_answered_with_its_code() {
    let gateway = Gateway::start();
    for code in [1000u16, 1001, 3000, 4999] {
        check(&gateway, &frame(FIN | CLOSE, &code.to_be_bytes()), code);
        check(&gateway, &frame(FIN | CLOSE, &[&code.to_be_bytes()[..], b"good bye"].concat()), code);
    }
    let mut raw = admitted(&gateway);
    raw.write(&frame(FIN | CLOSE, b""));
    assert_eq!(raw.frame(), Some((FIN | CLOSE, Vec::new())), "without a code it is answered without one");
    assert_eq!(raw.frame(), None);
}

#[test]
fn what_was_sent_before_a_close_frame_is_done() {
    let gateway = Gateway::start();
    let mut bob = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    let mut raw = admitted(&gateway);
    let last = text_frame(r#"{"type":"chat_message","payload":{"content":"last words"}}"#);
    let after = text_frame(r#"{"type":"chat_message","payload":{"content":"from beyond"}}"#);
    raw.write(&[last, frame(FIN | CLOSE, &1000u16.to_be_bytes()), after].concat());
    assert_eq!(raw.close_code(), 1000);
    assert_eq!(bob.event()["payload"]["content"], "last words");
    assert_eq!(bob.pending(), Vec::<Value>::new());
}

#[test]
fn a_fragmented_message_is_one_message_whatever_comes_between() {
    let gateway = Gateway::start();
    let mut raw = admitted(&gateway);
    let text = r#"{"type":"chat_message","payload":{"content":"grüße 😀"}}"#.as_bytes();
    for size in [1, 2, 3, 7, text.len()] {
        let mut bytes = Vec::new();
        for (index, part) in text.chunks(size).enumerate() {
            bytes.extend(frame(if index == 0 { TEXT } else { CONTINUATION }, part));
            if index % 3 == 0 {
                bytes.extend(frame(FIN | PING, &index.to_be_bytes()));
            }
        }
        bytes.extend(frame(FIN | CONTINUATION, b""));
        raw.write(&bytes);
        let pings = text.chunks(size).count().div_ceil(3);
        let mut pongs = 0;
        let event = loop {
            match raw.frame().unwrap() {
                (first, payload) if first == FIN | PONG => {
                    assert_eq!(payload, (3 * pongs as u64).to_be_bytes());
                    pongs += 1;
                }
                (_, payload) => break String::from_utf8(payload).unwrap(),
            }
        };
        assert!(event.contains("grüße 😀"), "{event}");
        assert_eq!(pongs, pings);
    }
}

#[test]
fn a_message_may_come_in_1024_frames_and_in_no_more() {
    let gateway = Gateway::start();
    let text = |count: usize| {
        let text = r#"{"type":"chat_message","payload":{"content":"x"}}"#;
        let mut bytes = frame(TEXT, text.as_bytes());
        bytes.extend(frame(CONTINUATION, b"").repeat(count - 2));
        bytes.extend(frame(FIN | CONTINUATION, b""));
        bytes
    };
    for count in [1023, 1024] {
        let mut raw = admitted(&gateway);
        raw.write(&text(count));
        assert!(raw.text().contains(r#""type":"chat_message""#), "{count}");
    }
    check(&gateway, &text(1025), 1002);
}

/// A chat message of exactly so many bytes.
fn sized(bytes: usize) -> String {
    let empty = json!({ "type": "chat_message", "payload": { "content": "" } }).to_string().len();
    json!({ "type": "chat_message", "payload": { "content": "x".repeat(bytes - empty) } }).to_string()
}

#[test]
fn a_message_of_65536_bytes_passes_and_one_byte_more_is_refused_and_closed_1009() {
    let gateway = Gateway::start();
    let mut bob = Client::join(&gateway, "/ws/chat/s", &gateway.token("bob"));
    for bytes in [65_535, 65_536] {
        let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
        let text = sized(bytes);
        assert_eq!(text.len(), bytes);
        ada.send_text(&text);
        let sent: Value = serde_json::from_str(&text).unwrap();
        for client in [&mut ada, &mut bob] {
            assert_eq!(client.event_of("chat_message")["payload"]["content"], sent["payload"]["content"], "{bytes}");
        }
    }
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    ada.send_text(&sized(65_537));
    let (events, code, _) = ada.closing();
    assert_eq!(code, 1009);
    assert_eq!(
        (&events[0]["type"], &events[0]["payload"]["code"]),
        (&json!("connection_error"), &json!("MESSAGE_TOO_LARGE"))
    );
    // The same in pieces: it is the message that counts.
    let text = sized(65_537);
    let (first, second) = text.as_bytes().split_at(40_000);
    check(&gateway, &[frame(TEXT, first), frame(FIN | CONTINUATION, second)].concat(), 1009);
    let (first, second) = text.as_bytes()[..65_536].split_at(40_000);
    let mut raw = admitted(&gateway);
    raw.write(&[frame(TEXT, first), frame(FIN | CONTINUATION, second)].concat());
    assert!(raw.text().contains("INVALID_JSON"), "a byte less is a message, if a bad one");
}

#[test]
fn a_ping_is_answered_with_its_payload_and_an_unasked_pong_is_not() {
    let gateway = Gateway::start();
    let mut raw = admitted(&gateway);
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        raw.write(&frame(FIN | PONG, b"nobody asked"));
        raw.write(&frame(FIN | PING, payload));
        assert_eq!(raw.frame(), Some((FIN | PONG, payload.to_vec())));
    }
}

#[test]
fn the_echo_endpoint_gives_back_text_and_binary_of_megabytes() {
    let gateway = Gateway::with(&["--shards", "1", "--echo"]);
    let mut client = Client::open(&gateway, "/echo");
    for bytes in [0, 1, 125, 126, 65_535, 65_536, 65_537, 4 * 1024 * 1024] {
        let sent: Vec<u8> = (0..bytes).map(|index: usize| (index % 251).to_le_bytes()[0]).collect();
        client.socket.send(tungstenite::Message::binary(sent.clone())).unwrap();
        assert!(matches!(client.next(), Seen::Binary(back) if back == sent), "{bytes}");
        client.send_text(&"é".repeat(bytes / 2));
        assert_eq!(client.text(), "é".repeat(bytes / 2), "{bytes}");
    }
}
