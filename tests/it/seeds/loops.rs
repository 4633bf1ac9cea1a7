//! No client of the seeds is ever driven into a loop: for each way in which the server refuses or closes, the sockets
//! that each client opens in half a minute of its own time.
//!
//! A client that comes back after a close does so within its own budget: what is asserted is the whole number of sockets.
//! The guide's class forgets its attempts as long as it has never been connected, and so would never end by itself: what
//! stops it is that a legacy client which brings a refused frame for the third time is closed 1000.

use std::time::{Duration, Instant};

use serde_json::json;

use super::guide::{self, Guide, Priority};
use super::shipped::{Setup, Shipped};
use super::wire::{Turns as _, drive};
use crate::gateway::{Gateway, SOON};

const PACE: u32 = 15;
/// Half a minute of theirs.
const HALF_A_MINUTE: Duration = Duration::from_millis(30_000 / PACE as u64);

/// Where a client goes, and with what.
struct Visit {
    name: &'static str,
    path: &'static str,
    token: String,
    /// Sockets of the shipped client, and of the guide's class.
    expected: [u32; 2],
}

fn shipped(gateway: &Gateway, path: &str, token: &str) -> Shipped {
    let setup = Setup::chat(gateway.address, "s", token).paced(PACE);
    Shipped::connect(Setup { path: path.to_owned(), ..setup })
}

fn guide(gateway: &Gateway, path: &str, token: &str) -> Guide {
    let setup = guide::Setup::chat(gateway.address, "s", token).paced(PACE);
    Guide::connect(guide::Setup { path: path.to_owned(), ..setup })
}

#[test]
fn no_refusal_of_a_first_frame_drives_a_client_into_a_loop() {
    let gateway = Gateway::start();
    let other = Gateway::start();
    let ada = gateway.token("ada");
    let narrow = gateway.token_with("ada", &["--caps", r#"{"chat:mine":["subscribe"]}"#]);
    let visit = |name, path, token: &str| Visit { name, path, token: token.to_owned(), expected: [1, 3] };
    let expired = gateway.token_with("ada", &["--ttl", "1s"]);
    std::thread::park_timeout(Duration::from_millis(1100));
    for Visit { name, path, token, expected } in [
        visit("no token of anybody", "/ws/chat/a", "no"),
        visit("another server's token", "/ws/chat/b", &other.token("ada")),
        visit("an expired token", "/ws/chat/c", &expired),
        visit("an empty token", "/ws/chat/d", ""),
        visit("a token that is too long", "/ws/chat/e", &"x".repeat(5000)),
        visit("a session that the token does not permit", "/ws/chat/f", &narrow),
        visit("another user's agent status", "/ws/agent-status/bob", &ada),
        visit("another user's notifications", "/ws/notifications/bob", &ada),
    ] {
        let (mut one, mut two) = (shipped(&gateway, path, &token), guide(&gateway, path, &token));
        // Until both have stopped, or a loop is plain to see.
        let start = Instant::now();
        while start.elapsed() < SOON && two.sockets < 12 && !(one.has_stopped() && two.has_stopped()) {
            one.turn();
            two.turn();
        }
        assert_eq!([one.sockets, two.sockets], expected, "{name}: {:?}, {:?}", one.closes, two.closes);
        assert!(one.has_stopped() && two.has_stopped(), "{name}");
        assert_eq!(one.errors.len(), 1, "{name}: the shipped client says why");
        assert_eq!(two.closes.last(), Some(&1000), "{name}");
    }
}

/// Connects both, does something to each, and counts their sockets.
fn after(gateway: &Gateway, name: &str, tokens: [&str; 2], act: impl Fn(&mut Shipped, &mut Guide), expected: [u32; 2]) {
    let (mut one, mut two) = (shipped(gateway, "/ws/chat/s", tokens[0]), guide(gateway, "/ws/chat/s", tokens[1]));
    drive(&mut [&mut one], SOON, |all| all[0].is_connected());
    drive(&mut [&mut two], SOON, |all| all[0].is_connected());
    act(&mut one, &mut two);
    // Time enough to come to what is expected, and then half a minute more.
    let start = Instant::now();
    let mut came: Option<Instant> = None;
    while came.map_or_else(|| start.elapsed() < SOON, |at| at.elapsed() < HALF_A_MINUTE)
        && !(one.has_stopped() && two.has_stopped())
    {
        one.turn();
        two.turn();
        if [one.sockets, two.sockets] == expected {
            came.get_or_insert_with(Instant::now);
        }
    }
    assert_eq!([one.sockets, two.sockets], expected, "{name}: {:?}, {:?}", one.closes, two.closes);
}

#[test]
fn nothing_that_a_client_sends_drives_it_into_a_loop() {
    let gateway = Gateway::start();
    let (ada, bob) = (gateway.token("ada"), gateway.token("bob"));
    let both = [ada.as_str(), bob.as_str()];
    let say = |one: &mut Shipped, two: &mut Guide, kind: &str, content: &str, count: usize| {
        for number in 0..count {
            let payload = json!({ "content": content });
            one.send(kind, &payload);
            two.enqueue(
                &format!("{kind}-{number}-{}", content.len()),
                json!({ "type": kind, "payload": payload }),
                Priority::Normal,
            );
        }
    };
    after(&gateway, "over its rate", both, |one, two| say(one, two, "chat_message", "x", 40), [1, 1]);
    after(&gateway, "twenty messages that are none", both, |one, two| say(one, two, "nonsense", "x", 20), [1, 1]);
    after(&gateway, "twenty without a body", both, |one, two| say(one, two, "chat_message", "", 20), [1, 1]);
    let bytes = |one: &mut Shipped, two: &mut Guide| {
        one.send_bytes(b"{}");
        two.send_bytes(b"{}");
    };
    after(&gateway, "binary on an endpoint of texts", both, bytes, [2, 2]);
    let large = "x".repeat(70_000);
    after(&gateway, "too large", both, |one, two| say(one, two, "chat_message", &large, 1), [2, 2]);
}

#[test]
fn a_token_that_ends_costs_each_client_its_own_few_attempts() {
    let gateway = Gateway::start();
    let ada = gateway.token_with("ada", &["--ttl", "2s"]);
    let wait = |one: &mut Shipped, two: &mut Guide| {
        let ended = |closes: &[u16]| closes.first() == Some(&4001);
        drive(&mut [one], SOON, |all| ended(&all[0].closes));
        drive(&mut [two], SOON, |all| ended(&all[0].closes));
    };
    after(&gateway, "the token ends", [&ada, &ada], wait, [2, 4]);
}

#[test]
fn a_server_that_is_gone_is_asked_for_as_often_as_the_clients_documents_say() {
    let mut gateway = Gateway::start();
    let (ada, bob) = (gateway.token("ada"), gateway.token("bob"));
    let (mut one, mut two) = (shipped(&gateway, "/ws/chat/s", &ada), guide(&gateway, "/ws/chat/s", &bob));
    drive(&mut [&mut one], SOON, |all| all[0].is_connected());
    drive(&mut [&mut two], SOON, |all| all[0].is_connected());
    gateway.terminate();
    // Closed 1012 in waves, refused 503 meanwhile, and then nobody is there.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) + HALF_A_MINUTE && !(one.has_stopped() && two.has_stopped()) {
        one.turn();
        two.turn();
    }
    assert!(one.sockets <= 6 && two.sockets <= 4, "{} and {}", one.sockets, two.sockets);
    gateway.wait(SOON);
}
