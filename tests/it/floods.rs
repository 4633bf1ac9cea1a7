//! Floods of what costs nothing to send: pings, empty fragments, rubbish before the upgrade. The server's
//! anonymous memory grows by at most 4 MiB, and somebody else's connection is served meanwhile.

use serde_json::json;

use crate::backpressure::warm_up;
use crate::client::Client;
use crate::gateway::Gateway;
use crate::raw::{CONTINUATION, FIN, PING, Raw, TEXT, frame, upgrade_head};

const GROWTH_KIB: u64 = 4 * 1024;
/// Pings that may arrive in one turn of the server: their answers wait together, just within the outbox's bound.
const PINGS: usize = 1400;

/// Runs a flood beside a canary that keeps talking, and looks at the memory.
fn check(gateway: &Gateway, mut flood: impl FnMut(usize)) {
    let mut canary = Client::join(gateway, "/ws/chat/canary", &gateway.token("canary"));
    let mut speak = |round: usize| {
        canary.send(&json!({ "type": "chat_message", "payload": { "content": round.to_string() } }));
        assert_eq!(canary.event()["payload"]["content"], round.to_string());
    };
    // The first round pays for what is allocated once, and before it each receive buffer is used, which would else be so
    // now or later as the machine happens to be busy.
    warm_up(gateway);
    flood(0);
    speak(0);
    let before = gateway.anonymous_kib();
    for round in 1..=20 {
        flood(round);
        speak(round);
    }
    let grown = gateway.anonymous_kib().saturating_sub(before);
    assert!(grown <= GROWTH_KIB, "{grown} KiB more");
}

#[test]
fn a_flood_of_pings_is_answered_in_bounded_memory() {
    let gateway = Gateway::unlimited();
    let mut raw = Raw::admitted(&gateway, "/ws/chat/s", &gateway.token("ada"));
    while !raw.text().contains(r#""type":"subscribed""#) {}
    let pings = frame(FIN | PING, &[b'x'; 125]).repeat(PINGS);
    check(&gateway, |_| {
        let mut writer = raw.stream.try_clone().unwrap();
        let pings = pings.clone();
        let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &pings).unwrap());
        for _ in 0..PINGS {
            assert_eq!(raw.frame().unwrap().1.len(), 125);
        }
        sending.join().unwrap();
    });
}

#[test]
fn a_flood_of_fragments_ends_at_its_bound() {
    let gateway = Gateway::unlimited();
    let token = gateway.token("ada");
    let empty = [frame(TEXT, b""), frame(CONTINUATION, b"").repeat(2000)].concat();
    let tiny = [frame(TEXT, b"\""), frame(CONTINUATION, b"x").repeat(2000)].concat();
    check(&gateway, |round| {
        let mut raw = Raw::admitted(&gateway, "/ws/chat/s", &token);
        raw.write(if round % 2 == 0 { &empty } else { &tiny });
        assert_eq!(raw.close_code(), 1002, "{round}");
    });
}

#[test]
fn messages_that_are_begun_and_never_ended_are_bounded_by_the_largest() {
    let gateway = Gateway::unlimited();
    let token = gateway.token("ada");
    let part = [frame(TEXT, b"\""), frame(CONTINUATION, &[b'x'; 1000]).repeat(70)].concat();
    check(&gateway, |_| {
        let mut raw = Raw::admitted(&gateway, "/ws/chat/s", &token);
        raw.write(&part);
        assert_eq!(raw.close_code(), 1009);
    });
}

#[test]
fn connections_that_are_dropped_anywhere_leave_nothing() {
    let gateway = Gateway::unlimited();
    let token = gateway.token("ada");
    let head = upgrade_head(&gateway, "/ws/chat/s", "");
    let auth = frame(FIN | TEXT, json!({ "token": token }).to_string().as_bytes());
    let whole = [head.as_bytes(), &auth].concat();
    check(&gateway, |_| {
        for cut in (0..whole.len()).step_by(whole.len() / 16) {
            let mut raw = Raw::connect(&gateway);
            raw.write(&whole[..cut]);
        }
    });
    crate::gateway::until("all are gone but the canary", crate::gateway::SOON, || {
        // The canary has left by now, and the question itself is a socket.
        gateway.metric("waystation_sockets", "") == 1
    });
    assert_eq!(gateway.metric("waystation_connections", ""), 0);
    assert_eq!(gateway.metric("waystation_memberships", ""), 0);
}
