//! Readers that do not read: the others do not notice, and the memory that the slow ones hold is bounded.
//! Half of a room reads, half never does. Those that begin to read later find an announced gap; those that
//! never do are closed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Gateway, SOON, until};
use crate::raw::{FIN, PING, PONG, Raw, frame, text_frame};

const READERS: usize = 6;
const STUCK: usize = 12;
/// Few and large: those that do not read are cut after 30 seconds, and a slow machine has to be through with these by then.
const EVENTS: usize = 250;
const EVENT_BYTES: usize = 32 * 1024;

/// Makes the receive buffer small, so that the socket fills soon, and large enough for a segment of the loopback
/// device, so that it empties soon too. One that nobody has set grows with what comes, to what the kernel allows: 32 MiB
/// here, so that all that a test sends may lie in it.
fn narrow(raw: &Raw) {
    socket2::SockRef::from(&raw.stream).set_recv_buffer_size(128 * 1024).unwrap();
}

/// A member that will not read.
fn member(gateway: &Gateway, token: &str) -> Raw {
    let mut raw = Raw::connect(gateway);
    narrow(&raw);
    raw.write(crate::raw::upgrade_head(gateway, &format!("/ws/chat/s?token={token}"), "").as_bytes());
    assert!(raw.head().starts_with("HTTP/1.1 101 "));
    while !raw.text().contains(r#""type":"subscribed""#) {}
    raw
}

/// Publishes `EVENTS` events and has every reader read each at once. Gives the slowest step.
fn run(readers: &mut [Client], from: usize) -> Duration {
    let content = "x".repeat(EVENT_BYTES);
    let mut slowest = Duration::ZERO;
    for seq in from..from + EVENTS {
        let start = Instant::now();
        readers[0].send(&json!({ "type": "chat_message", "payload": { "content": content } }));
        for reader in &mut *readers {
            // Heartbeats come among them where this takes long.
            let mut text = reader.text();
            while text.contains(r#""type":"connection_heartbeat""#) {
                text = reader.text();
            }
            assert!(text.contains(&format!(r#""seq":{seq},"#)), "{}", &text[..200]);
        }
        slowest = slowest.max(start.elapsed());
    }
    slowest
}

/// Has the server use each of its receive buffers once: their memory is of no connection.
pub(crate) fn warm_up(gateway: &Gateway) {
    let mut raw = member(gateway, &gateway.token("warm"));
    let pongs = frame(FIN | PONG, &[b'x'; 125]).repeat(64);
    for _ in 0..1000 {
        raw.write(&pongs);
    }
    raw.write(&frame(FIN | PING, b"done"));
    assert_eq!(raw.frame(), Some((FIN | PONG, b"done".to_vec())));
}

#[test]
fn readers_that_never_read_hurt_nobody_and_are_bounded_told_and_cut() {
    // What a store holds in memory of what it wrote last is not what is measured.
    let gateway = Gateway::in_memory(&["--shards", "1", "--limits", "unlimited"]);
    let tokens = gateway.token_row("reader", READERS);
    let mut readers: Vec<Client> = tokens.iter().map(|token| Client::join(&gateway, "/ws/chat/s", token)).collect();
    let alone = run(&mut readers, 1);
    let before = gateway.anonymous_kib();
    let tokens = gateway.token_row("stuck", STUCK + 1);
    let mut stuck: Vec<Raw> = tokens.iter().map(|token| member(&gateway, token)).collect();
    let beside = run(&mut readers, 1 + EVENTS);
    // Wall clock of a shared machine, which may be away for seconds. Who waited for a stuck reader would wait for the 30
    // seconds after which it is cut.
    assert!(beside < alone * 10 + Duration::from_secs(10), "slowest step {alone:?} alone, {beside:?} beside them");
    // As much was published before, so history is at its bound already. Each stuck connection holds what a write left over:
    // one batch. Half of what was published for all of them together shows that nothing is kept for them.
    let grown = gateway.anonymous_kib().saturating_sub(before);
    let published = u64::try_from(EVENTS * EVENT_BYTES / 1024).unwrap();
    assert!(grown < published / 2, "{grown} KiB more, of {published}");
    assert_eq!(gateway.metric("waystation_connections", ""), u64::try_from(READERS + STUCK + 1).unwrap());

    // One begins to read: what it was sent before, then the gap, then everything from there on.
    let mut late = stuck.remove(0);
    let (mut last, mut gaps) = (EVENTS, Vec::new());
    while last < 2 * EVENTS {
        let event: Value = serde_json::from_str(&late.text()).unwrap();
        if event["type"] == "connection_heartbeat" {
            continue;
        }
        if event["type"] == "gap" {
            let (from, to) =
                (event["payload"]["from_seq"].as_u64().unwrap(), event["payload"]["to_seq"].as_u64().unwrap());
            assert_eq!(usize::try_from(from).unwrap(), last + 1, "{event}");
            assert_eq!(event["payload"]["lost"], true);
            last = usize::try_from(to).unwrap();
            gaps.push(to - from + 1);
        } else {
            last += 1;
            assert_eq!(event["seq"], last, "a hole that no gap announces");
        }
    }
    assert!(!gaps.is_empty(), "{EVENTS} events of {EVENT_BYTES} bytes fitted into buffers");
    // The others never do, and are cut after 30 seconds without a byte.
    let slow = u64::try_from(STUCK).unwrap();
    until("stuck readers are closed", 3 * SOON, || {
        gateway.metric("waystation_closed_total", "reason=\"slow\"") == slow
    });
    for raw in &mut stuck {
        raw.rest();
    }
    until("their connections are gone", SOON, || {
        gateway.metric("waystation_connections", "") == u64::try_from(READERS + 1).unwrap()
    });
    late.write(&text_frame(r#"{"type":"chat_message","payload":{"content":"I am here"}}"#));
    // Heartbeats have come meanwhile.
    while !late.text().contains("I am here") {}
    assert_eq!(readers[5].event_of("chat_message")["payload"]["content"], "I am here");
}

#[test]
fn answers_that_nobody_reads_end_the_connection() {
    let gateway = Gateway::unlimited();
    warm_up(&gateway);
    let mut raw = member(&gateway, &gateway.token("ada"));
    let pings = frame(FIN | PING, &[b'x'; 125]).repeat(512);
    let before = gateway.anonymous_kib();
    // The write fails once the server no longer reads and closes.
    let mut sent = 0;
    raw.stream.set_write_timeout(Some(SOON)).unwrap();
    while sent < 512 * 1024 * 1024 && std::io::Write::write_all(&mut raw.stream, &pings).is_ok() {
        sent += pings.len();
    }
    until("it is closed", 3 * SOON, || gateway.metric("waystation_closed_total", "reason=\"slow\"") == 1);
    let grown = gateway.anonymous_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB more after {sent} bytes of pings");
}

#[test]
fn an_echo_that_is_not_read_stops_the_reading_and_loses_nothing() {
    let gateway = Gateway::with(&["--shards", "1", "--echo"]);
    warm_up(&gateway);
    let mut writer = Raw::upgraded(&gateway, "/echo");
    narrow(&writer);
    let mut reader = Raw::beside(&writer);
    let before = gateway.anonymous_kib();
    let received = || gateway.metric("waystation_received_bytes_total", "");
    let at_first = received();
    let count = 1000_usize;
    let sending = std::thread::spawn(move || {
        for index in 0..count {
            writer.write(&frame(FIN | 0x2, &index.to_le_bytes().repeat(2048)));
        }
    });
    // What is queued stands anywhere below its bound once the socket takes nothing: the largest batch may be half sent.
    let mut last = at_first;
    until("the server has stopped reading", SOON, || {
        std::thread::park_timeout(Duration::from_millis(100));
        let before = std::mem::replace(&mut last, received());
        // Asking is received too.
        last - before < 4096 && gateway.metric("waystation_blocked_connections", "") == 1
    });
    // Two thirds: what a socket's buffer grows to, 4 MiB, and what is queued, is less by half.
    let (read, sent) = (last - at_first, u64::try_from(count * 16 * 1024).unwrap());
    assert!(read < sent * 2 / 3, "{read} bytes read of {sent}");
    let grown = gateway.anonymous_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB more");
    for index in 0..count {
        assert_eq!(reader.frame().unwrap().1, index.to_le_bytes().repeat(2048), "{index}");
    }
    sending.join().unwrap();
}
