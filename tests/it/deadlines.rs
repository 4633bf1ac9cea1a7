//! What is begun must be brought to an end: a head within 10 seconds, a token within 10 seconds, and nothing
//! that a client sends meanwhile stretches it. All of them at once, so that the clock is waited for once.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Gateway, SOON};
use crate::raw::{CLOSE, FIN, PING, PONG, Raw, TEXT, frame, text_frame, upgrade_head};

const LIMIT: Duration = Duration::from_secs(10);
/// A second later at most, which tests on a clock of their own hold; here a busy machine has some more. What stretched a
/// deadline would stretch it to the 20 seconds for which it goes on.
const LATEST: Duration = Duration::from_secs(15);

/// What is sent at each of many steps.
type Parts = fn(usize) -> Vec<u8>;

/// Sends `parts` one each half second until the server ends the connection. Gives all that it sent, and
/// after how long it ended.
fn stretch(mut raw: Raw, start: Instant, parts: impl Fn(usize) -> Vec<u8> + Send + 'static) -> (Vec<u8>, Duration) {
    raw.stream.set_read_timeout(Some(SOON)).unwrap();
    let mut writer = raw.stream.try_clone().unwrap();
    let (ended, over) = std::sync::mpsc::channel::<()>();
    let writing = thread::spawn(move || {
        let mut part = 0;
        while over.recv_timeout(Duration::from_millis(500)).is_err() && part < 40 {
            let _it_may_have_ended = std::io::Write::write_all(&mut writer, &parts(part));
            part += 1;
        }
    });
    let bytes = raw.rest();
    let after = start.elapsed();
    ended.send(()).unwrap();
    writing.join().unwrap();
    (bytes, after)
}

fn is_in_time(name: &str, after: Duration) {
    assert!(after >= LIMIT - Duration::from_millis(300) && after <= LATEST, "{name}: ended after {after:?}");
}

#[test]
fn neither_a_slow_head_nor_a_missing_token_outlives_its_deadline() {
    let gateway = Gateway::start();
    let mut canary = Client::join(&gateway, "/ws/chat/s", &gateway.token("canary"));
    let slow_head = upgrade_head(&gateway, "/ws", &format!("X: {}\r\n", "x".repeat(200))).into_bytes();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let start = Instant::now();
                let (bytes, after) = stretch(Raw::connect(&gateway), start, |_| Vec::new());
                is_in_time("silent from the start", after);
                assert_eq!(bytes, b"");
            });
            scope.spawn(|| {
                let start = Instant::now();
                let head = slow_head.clone();
                let (_, after) = stretch(Raw::connect(&gateway), start, move |part| vec![head[part]]);
                is_in_time("byte by byte", after);
            });
        }
        let upgraded: [(&str, Parts); 5] = [
            ("silent", |_| Vec::new()),
            ("pings", |_| frame(FIN | PING, b"x")),
            ("pongs", |_| frame(FIN | PONG, b"x")),
            ("heartbeats", |_| text_frame(r#"{"type":"heartbeat"}"#)),
            ("a token that never ends", |part| frame(if part == 0 { TEXT } else { 0 }, b"\"")),
        ];
        for (name, parts) in upgraded {
            let gateway = &gateway;
            scope.spawn(move || {
                let start = Instant::now();
                let (bytes, after) = stretch(Raw::upgraded(gateway, "/ws/chat/s"), start, parts);
                is_in_time(name, after);
                let text = String::from_utf8_lossy(&bytes);
                assert!(text.contains(r#"{"success":false,"connection_id":"","#), "{name}: {text:?}");
                // The close frame is the last thing: code 4000, then the reason.
                let close =
                    bytes.windows(4).rposition(|four| four[0] == FIN | CLOSE && four[2..] == 4000u16.to_be_bytes());
                assert!(close.is_some(), "{name}: no close frame with 4000");
            });
        }
        scope.spawn(|| {
            // Somebody else notices nothing of it.
            let start = Instant::now();
            let mut slowest = Duration::ZERO;
            while start.elapsed() < LIMIT + Duration::from_secs(1) {
                let asked = Instant::now();
                canary.send(&json!({ "type": "ping" }));
                assert_eq!(canary.event()["type"], "pong");
                slowest = slowest.max(asked.elapsed());
                thread::park_timeout(Duration::from_millis(50));
            }
            assert!(slowest < LIMIT / 2, "the canary waited {slowest:?}");
        });
    });
    assert_eq!(gateway.metric("waystation_refused_total", "reason=\"late\""), 45);
    canary.send(&json!({ "type": "chat_message", "payload": { "content": "fine" } }));
    assert_eq!(canary.event()["payload"]["content"], Value::from("fine"));
}
