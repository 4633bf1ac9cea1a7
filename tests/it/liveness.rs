//! Signs of life. The shortest that can be shown on the real clock: after 20 seconds a silent client gets a
//! ping and a heartbeat, and one that speaks gets the heartbeat alone. What follows (4010 after 75 seconds)
//! is shown in simulated time.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gateway::{Gateway, SOON};
use crate::raw::{FIN, PING, PONG, Raw, TEXT, frame};

#[test]
fn after_twenty_seconds_a_silent_client_is_pinged_and_both_get_a_heartbeat() {
    let gateway = Gateway::start();
    let token = gateway.token("ada");
    let start = Instant::now();
    let mut silent = Raw::admitted(&gateway, "/ws", &token);
    let mut speaking = Raw::admitted(&gateway, "/ws", &token);
    for raw in [&mut silent, &mut speaking] {
        assert!(raw.text().contains("connection_established"));
        raw.stream.set_read_timeout(Some(2 * SOON)).unwrap();
    }
    assert!(speaking.is_silent_for(Duration::from_secs(10)), "nothing is said in the first seconds");
    speaking.stream.set_read_timeout(Some(2 * SOON)).unwrap();
    speaking.write(&frame(FIN | PONG, b""));
    let heartbeat = |raw: &mut Raw| {
        let (first, payload) = raw.frame().unwrap();
        assert_eq!(first, FIN | TEXT);
        let event: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(event["type"], "connection_heartbeat");
        assert!(event["payload"]["timestamp"].is_string(), "{event}");
    };
    heartbeat(&mut silent);
    assert_eq!(silent.frame(), Some((FIN | PING, Vec::new())));
    let after = start.elapsed();
    // After thirty the one that has spoken is pinged too.
    assert!(after >= Duration::from_secs(20) && after < Duration::from_secs(30), "{after:?}");
    heartbeat(&mut speaking);
    assert!(speaking.is_silent_for(Duration::from_millis(300)), "no ping to a client that has spoken");
    for raw in [&mut silent, &mut speaking] {
        raw.write(&frame(FIN | PING, b"alive"));
        assert_eq!(raw.frame(), Some((FIN | PONG, b"alive".to_vec())));
    }
}
