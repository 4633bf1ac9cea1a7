//! Places that a user's connections share: the oldest goes, and nobody comes back for ever. The clients here do as
//! the seeds' do: they connect again after every close but one with 1000.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, until};
use crate::raw::{self, FIN, PING, PONG, Raw};

/// Opens more connections than there are places, each of which comes back as the seeds' client would, and looks
/// at how many sockets that took.
fn check(path: &str, known: bool, places: usize, expected: u16) {
    let gateway = Gateway::with(&["--shards", "2"]);
    let token = gateway.token("ada");
    let count = places + 3;
    let mut clients: Vec<Client> = Vec::new();
    for opened in 0..count {
        let join = if known { Client::join_known } else { Client::join };
        clients.push(join(&gateway, path, &token));
        if opened >= places {
            let (events, code, _) = clients[opened - places].closing();
            assert_eq!(code, expected, "{path}");
            let last = events.last().unwrap();
            assert_eq!((&last["type"], &last["payload"]["code"]), (&json!("connection_close"), &json!(expected)));
        }
    }
    // 1000 and 4009 both mean to stop: who had to go has not come back, so those with a place still have it.
    for client in &mut clients[count - places..] {
        assert_eq!(client.pending().iter().filter(|event| event["type"] == "connection_close").count(), 0);
    }
    assert_eq!(gateway.metric("waystation_upgraded_total", ""), count as u64);
    assert_eq!(gateway.metric("waystation_closed_total", "reason=\"replaced\""), 3);
    assert_eq!(gateway.metric("waystation_connections", ""), places as u64);
}

#[test]
fn the_oldest_of_a_users_connections_to_one_room_is_replaced_and_stays_away() {
    check("/ws/chat/s", false, 3, 1000);
    check("/ws/agent-status/ada", true, 3, 4009);
}

#[test]
fn the_oldest_of_a_users_open_connections_is_replaced_and_stays_away() {
    check("/ws", true, 10, 4009);
    check("/ws", false, 10, 1000);
}

/// Asks until it is told that this comes too often: after sixty, and one for each second that it takes. Returns what it
/// was told.
fn until_late(mut ask: impl FnMut() -> raw::Answer, before: u16) -> raw::Answer {
    let begun = Instant::now();
    for passed in 0..600 {
        // The clock of the server was read after this one before, and is read before this one after.
        let answer = ask();
        if answer.status == 429 {
            assert!(passed >= 60, "{passed} have passed");
            return answer;
        }
        assert_eq!(answer.status, before, "{}", answer.head);
        let earned = begun.elapsed().as_secs() + 1;
        assert!(passed < 60 + earned, "{} have passed in {earned} s", passed + 1);
    }
    panic!("it never came too often");
}

#[test]
fn a_user_who_connects_too_often_is_told_when_to_come_back() {
    let gateway = Gateway::with(&["--shards", "2"]);
    let token = gateway.token("ada");
    let answer =
        until_late(|| raw::ask(&gateway, &raw::upgrade_head(&gateway, &format!("/ws?token={token}"), "")), 101);
    assert!(answer.header("Retry-After").is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{}", answer.head);
    Raw::admitted(&gateway, "/ws", &gateway.token("bob"));
    assert_eq!(gateway.metric("waystation_refused_total", "reason=\"upgrade_rate\""), 1);
}

#[test]
fn an_address_that_opens_too_often_without_a_token_is_told_when_to_come_back() {
    let gateway = Gateway::with(&["--shards", "2", "--set", "limits.upgrades_without_token=3"]);
    for _ in 0..3 {
        drop(Raw::upgraded(&gateway, "/ws/chat/s"));
    }
    let answer = raw::ask(&gateway, &raw::upgrade_head(&gateway, "/ws/chat/s", ""));
    assert_eq!(answer.status, 429, "{}", answer.head);
    assert!(answer.header("Retry-After").is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{}", answer.head);
    Raw::admitted(&gateway, "/ws", &gateway.token("ada"));
    assert_eq!(gateway.metric("waystation_refused_total", "reason=\"upgrade_rate\""), 1);
    // The default is for thousands who share an address.
    let gateway = Gateway::with(&["--shards", "2"]);
    for _ in 0..200 {
        drop(Raw::upgraded(&gateway, "/ws/chat/s"));
    }
    assert_eq!(gateway.metric("waystation_refused_total", "reason=\"upgrade_rate\""), 0);
}

#[test]
fn an_address_that_guesses_tokens_is_stopped_and_its_neighbours_are_not() {
    let gateway = Gateway::with(&["--shards", "2"]);
    let ask = |query: &str| raw::ask(&gateway, &raw::upgrade_head(&gateway, &format!("/ws{query}"), ""));
    until_late(|| ask("?token=a.b.c"), 401);
    until_late_at_once(|| ask("?token=d.e.f"));
    assert!(gateway.metric("waystation_refused_total", "reason=\"token_rate\"") >= 2);
    // The same address, as behind one router: who brings the token in the first frame, and who brings a good one.
    for known in [false, true] {
        let join = if known { Client::join_known } else { Client::join };
        let mut ada = join(&gateway, "/ws/chat/s", &gateway.token("ada"));
        ada.send(&json!({ "type": "chat_message", "payload": { "content": "in" } }));
        assert_eq!(ada.event()["payload"]["content"], "in", "known: {known}");
        ada.close();
    }
    assert_eq!(ask(&format!("?token={}", gateway.token("ada"))).status, 101, "a good token is no guess");
}

/// The rate is used up: whatever a second earns, the next one is too early again.
fn until_late_at_once(mut ask: impl FnMut() -> raw::Answer) {
    let begun = Instant::now();
    let passed = (0..).take_while(|_| ask().status != 429).count() as u64;
    let earned = begun.elapsed().as_secs() + 1;
    assert!(passed <= earned, "{passed} have passed in {earned} s");
}

#[test]
fn bad_tokens_in_first_frames_are_each_refused_and_keep_nobody_out() {
    let gateway = Gateway::with(&["--shards", "2"]);
    let begun = Instant::now();
    for guess in 0..62 {
        let mut eve = Raw::upgraded(&gateway, "/ws/chat/s");
        let client = json!({ "name": "eve", "version": "1" });
        eve.write(&raw::text_frame(&json!({ "token": format!("a.b.{guess}"), "client": client }).to_string()));
        assert!(eve.text().contains(r#""code":"AUTH_FAILED""#), "{guess}");
        assert_eq!(eve.close_code(), 4001, "{guess}");
    }
    let guess = || raw::ask(&gateway, &raw::upgrade_head(&gateway, "/ws?token=a.b.c", "")).status;
    let passed = (0..).take_while(|_| guess() != 429).count() as u64;
    let earned = begun.elapsed().as_secs() + 1;
    assert!(passed <= earned, "they count like those in requests: {passed} have passed after {earned} s");
    Client::join(&gateway, "/ws/chat/s", &gateway.token("ada")).close();
}

#[test]
fn a_users_messages_are_counted_over_connections_and_shards() {
    let gateway = Gateway::with(&["--shards", "2"]);
    let token = gateway.token("ada");
    let mut clients: Vec<Client> = (0..7).map(|_| Client::join_known(&gateway, "/ws", &token)).collect();
    let note = json!({ "type": "publish", "payload": { "channel": "chat:s", "type": "note", "payload": {} } });
    let mut sent = 0;
    for client in &mut clients {
        // 100 at once on each connection, and 600 a minute over all.
        // In one write: what time earns meanwhile is not to make up for what is over.
        client.send_at_once(&vec![note.clone(); 95]);
        sent += 95;
        if sent <= 600 {
            assert!(client.pending().is_empty(), "refused within the rate");
        }
    }
    let (events, code, _) = clients.pop().unwrap().closing();
    assert!(events.iter().any(|event| event["payload"]["code"] == "RATE_LIMIT_EXCEEDED"));
    assert_eq!(code, 4029, "665 at once are over 600, and it went on");
}

#[test]
fn clients_behind_a_proxy_do_not_share_one_address_and_limits_are_configured() {
    let directory = Directory::new();
    let config = directory.path().join("gateway.toml");
    let text =
        "[limits]\nconnections_per_address = 1\n[limits.chat]\nconnections = 1\n[proxies]\ntrusted = [\"127.0.0.1\"]\n";
    std::fs::write(&config, text).unwrap();
    let gateway = Gateway::within(&directory, &["--shards", "2", "--config", config.to_str().unwrap()]);
    let knock = |from: &str| {
        let mut raw = Raw::connect(&gateway);
        let line = format!("X-Forwarded-For: 198.51.100.1, {from}\r\n");
        raw.write(raw::upgrade_head(&gateway, "/ws/chat/s", &line).as_bytes());
        raw
    };
    let mut first = knock("203.0.113.1");
    assert!(first.head().starts_with("HTTP/1.1 101 "));
    let (mut other, mut second) = (knock("203.0.113.2"), knock("203.0.113.1"));
    assert!(other.head().starts_with("HTTP/1.1 101 "));
    assert!(second.is_silent_for(Duration::from_millis(700)), "it is held");
    drop(first);
    assert!(second.head().starts_with("HTTP/1.1 101 "));
    let token = gateway.token("ada");
    other.write(&raw::text_frame(&json!({ "token": token }).to_string()));
    while !other.text().contains(r#""type":"subscribed""#) {}
    second.write(&raw::text_frame(&json!({ "token": token }).to_string()));
    assert_eq!(other.close_code(), 1000, "one place for each user");
}

/// A server of one thread on which an address may have four sockets that nobody is known on.
fn crowded(more: &str) -> Gateway {
    let directory = Directory::new();
    let config = directory.path().join("gateway.toml");
    std::fs::write(&config, format!("[limits]\nstrangers_per_address = 4\n{more}")).unwrap();
    Gateway::within(&directory, &["--shards", "1", "--config", config.to_str().unwrap()])
}

/// Long enough for a server that closes a socket to have closed it.
const A_WHILE: Duration = Duration::from_millis(300);

#[test]
fn silent_sockets_of_one_address_make_their_oldest_go_and_nobody_else() {
    for (count, gone) in [(3, 0), (4, 0), (5, 1), (9, 5)] {
        let gateway = crowded("");
        let mut known = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
        // Of each kind of those that say nothing further: no byte, half a head, upgraded without a token.
        let mut silent: Vec<Raw> = (0..count)
            .map(|index| {
                // The order of those that come in one millisecond is nobody's.
                std::thread::park_timeout(Duration::from_millis(3));
                index % 3
            })
            .map(|kind| match kind {
                0 => Raw::connect(&gateway),
                1 => {
                    let mut raw = Raw::connect(&gateway);
                    raw.write(b"GET /ws/chat/s HTTP/1.1\r\nHost:");
                    raw
                }
                _ => Raw::upgraded(&gateway, "/ws/chat/s"),
            })
            .collect();
        for (index, raw) in silent.iter_mut().enumerate() {
            assert_eq!(
                raw.is_silent_for(if index < gone { SOON } else { A_WHILE }),
                index >= gone,
                "{index} of {count}"
            );
        }
        // Who was known before them is served, and who comes after them comes in.
        Client::join(&gateway, "/ws/chat/s", &gateway.token("bob")).close();
        known.send(&json!({ "type": "chat_message", "payload": { "content": "here" } }));
        assert_eq!(known.event()["payload"]["content"], "here");
        let refused = gateway.metric("waystation_refused_total", "reason=\"crowded\"");
        assert!(refused >= gone as u64 && (gone > 0 || count < 4 || refused > 0), "{refused} of {count}");
    }
}

#[test]
fn a_flood_of_silent_sockets_keeps_out_nobody_who_speaks() {
    let gateway = crowded("");
    let mut flood = Vec::new();
    for round in 0..50 {
        flood.extend((0..4).map(|_| Raw::connect(&gateway)));
        let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
        ada.send(&json!({ "type": "chat_message", "payload": { "content": round.to_string() } }));
        assert_eq!(ada.event()["payload"]["content"], round.to_string());
        ada.close();
    }
    // None of those is left that had to go, and the last ones wait for their deadline.
    let mut silent = || flood.iter_mut().filter_map(|raw| raw.is_silent_for(A_WHILE / 10).then_some(())).count();
    until("those that had to go have gone", SOON, || silent() <= 3);
    assert_eq!(silent(), 3);
}

#[test]
fn strangers_behind_a_proxy_count_as_their_own_address_and_the_proxys_sockets_as_nobodys() {
    let gateway = crowded("[proxies]\ntrusted = [\"127.0.0.1\"]\n");
    let mut waiting: Vec<Raw> = (0..8).map(|_| Raw::connect(&gateway)).collect();
    let mut opened: Vec<Raw> = (0..10)
        .map(|index| {
            std::thread::park_timeout(Duration::from_millis(3));
            let mut raw = Raw::connect(&gateway);
            let line = format!("X-Forwarded-For: 203.0.113.{}\r\n", index / 5);
            raw.write(raw::upgrade_head(&gateway, "/ws/chat/s", &line).as_bytes());
            assert!(raw.head().starts_with("HTTP/1.1 101 "));
            raw
        })
        .collect();
    assert!(waiting.iter_mut().all(|raw| raw.is_silent_for(Duration::from_millis(20))), "the proxy's own");
    for (index, raw) in opened.iter_mut().enumerate() {
        assert_eq!(raw.is_silent_for(if index % 5 == 0 { SOON } else { A_WHILE }), index % 5 != 0, "{index}");
    }
}

#[test]
fn a_page_that_is_dead_makes_room_for_the_next_and_one_that_lives_does_not() {
    let directory = Directory::new();
    let config = directory.path().join("gateway.toml");
    std::fs::write(&config, "[limits.globetrotter]\nconnections = 1\n").unwrap();
    let gateway = Gateway::within(&directory, &["--shards", "2", "--config", config.to_str().unwrap()]);
    let open = |user: &str| {
        let mut raw = Raw::connect(&gateway);
        let path = format!("/api/v1/ws/{user}?token={}", gateway.token(user));
        raw.write(raw::upgrade_head(&gateway, &path, "").as_bytes());
        raw
    };
    let (mut dead, mut living) = (open("ada"), open("bob"));
    assert!(dead.head().starts_with("HTTP/1.1 101 ") && living.head().starts_with("HTTP/1.1 101 "));
    let (mut ada, mut bob) = (open("ada"), open("bob"));
    // Of the two that have the places one answers what it is asked, and the other does not.
    while living.frame().unwrap().0 != FIN | PING {}
    living.write(&raw::frame(FIN | PONG, b""));
    assert!(ada.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(dead.close_code(), 4010);
    assert!(bob.head().starts_with("HTTP/1.1 503 "));
    living.write(&raw::text_frame(r#"{"type":"ping"}"#));
    assert!(living.text().contains("pong"));
}
