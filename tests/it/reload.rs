//! Proves that the configuration can be changed under load: everything is delivered once and in order, no connection is
//! closed, what is good is in force whole, and what is not is refused whole and told.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use jsonwebtoken::Algorithm;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, until};
use crate::keys::{SECRET, by_secret, claims, is_let_in, put};
use crate::raw::{self, Raw};

const SECOND: &[u8] = b"another secret of at least forty-eight bytes, for SHA-384";
const RELOADS: u64 = 20;
const ROOMS: usize = 4;
const AT_ONCE: u64 = 8;

/// A gateway whose file is in a directory with two secrets.
struct Configured {
    gateway: Gateway,
    file: PathBuf,
}

impl Configured {
    fn new(text: &str, args: &[&str]) -> Self {
        let place = Directory::new();
        put(&place.path().join("a.key"), SECRET, 0o600);
        put(&place.path().join("b.key"), SECOND, 0o600);
        let file = place.path().join("gateway.toml");
        put(&file, text.as_bytes(), 0o644);
        let args = [&["--config", file.to_str().unwrap()], args].concat();
        Self { gateway: Gateway::within(&place, &args), file }
    }

    fn put(&self, text: &str) {
        put(&self.file, text.as_bytes(), 0o644);
    }

    fn count(&self, outcome: &str) -> u64 {
        self.gateway.metric("waystation_config_reloads_total", &format!("outcome=\"{outcome}\""))
    }
}

/// The configuration of a round: other limits, another policy, other keys, and all that the load needs.
fn round(number: u64) -> String {
    let mut text =
        String::from("[admin]\nloopback = true\n[auth]\nkeys = [{ algorithm = \"HS384\", secret_file = \"a.key\" }");
    if number % 2 == 1 {
        text += ", { algorithm = \"HS384\", secret_file = \"b.key\" }";
    }
    writeln!(text, "]\n[limits]\nmessages_per_user = {}", [0, 600_000, 300_000][(number % 3) as usize]).unwrap();
    writeln!(text, "connections_per_address = {}\nconnections_per_resource = {}", number % 2 * 500, number % 4 * 100)
        .unwrap();
    if number % 5 == 4 {
        text += "profile = \"unlimited\"\n";
    }
    writeln!(text, "upgrades = 0\n[limits.chat]\nmessages = {}\nburst = 600000", 500_000 + number).unwrap();
    writeln!(text, "[[policy]]\npattern = \"chat:other-{number}\"\nverbs = []").unwrap();
    writeln!(text, "[[policy]]\npattern = \"chat:*\"\nallowed_events = [\"note\", \"n{number}\"]\nrate = 600000")
        .unwrap();
    text
}

/// Publishes into a room and reads at three members until it is told to stop. Returns how many were published.
fn flow(mut members: [Client; 3], room: usize, stop: &AtomicBool) -> u64 {
    let channel = format!("chat:room-{room}");
    let mut sent = 0;
    while !stop.load(Relaxed) {
        for n in sent..sent + AT_ONCE {
            let payload = json!({ "channel": channel, "type": "note", "payload": { "n": n } });
            members[0].send(&json!({ "type": "publish", "id": n.to_string(), "ack": true, "payload": payload }));
        }
        for (member, client) in members.iter_mut().enumerate() {
            let mut next = sent;
            while next < sent + AT_ONCE {
                let event = client.event();
                match event["type"].as_str() {
                    Some("note") => {
                        assert_eq!(event["payload"]["n"], next, "room {room}, member {member}");
                        next += 1;
                    }
                    Some("ack") => {}
                    other => panic!("room {room}, member {member}: {other:?} {event}"),
                }
            }
        }
        sent += AT_ONCE;
    }
    for client in &mut members {
        let rest = client.pending();
        let only_acks = rest.iter().all(|event: &Value| event["type"] == "ack");
        assert!(only_acks, "room {room}: nothing comes twice: {rest:?}");
    }
    sent
}

#[test]
fn twenty_reloads_under_load_lose_nothing_and_close_nobody() {
    let configured = Configured::new(&round(0), &["--shards", "2"]);
    let gateway = &configured.gateway;
    let token = |user: &str| by_secret(Algorithm::HS384, SECRET, &claims_of(user));
    let stop = Arc::new(AtomicBool::new(false));
    let flows: Vec<_> = (0..ROOMS)
        .map(|room| {
            let path = format!("/ws/chat/room-{room}");
            let members = [0, 1, 2].map(|n| Client::join_known(gateway, &path, &token(&format!("u{room}-{n}"))));
            let stop = Arc::clone(&stop);
            thread::spawn(move || flow(members, room, &stop))
        })
        .collect();
    let generations = || gateway.metric("waystation_config_generation", "");
    for number in 1..=RELOADS {
        let before = generations();
        let published = gateway.metric("waystation_published_total", "");
        configured.put(&round(number));
        gateway.signal(Signal::HUP);
        until("both shards have other rules", SOON, || generations() >= before + 2);
        let second = by_secret(Algorithm::HS384, SECOND, &claims_of("guest"));
        until("the keys are those of the round", SOON, || is_let_in(gateway, &second) == (number % 2 == 1));
        until("messages flow on", SOON, || gateway.metric("waystation_published_total", "") > published);
    }
    stop.store(true, Relaxed);
    let sent: Vec<u64> = flows.into_iter().map(|flow| flow.join().unwrap()).collect();
    assert!(sent.iter().all(|sent| *sent >= RELOADS), "{sent:?}");
    assert_eq!((configured.count("applied") >= RELOADS, configured.count("refused")), (true, 0));
    let closed = raw::get(gateway, "GET", "/metrics").body;
    let closed = closed.lines().filter(|line| line.starts_with("waystation_closed_total") && !line.ends_with(" 0"));
    let closed: Vec<&str> = closed.filter(|line| !["normal", "gone"].iter().any(|by| line.contains(by))).collect();
    assert_eq!(closed, Vec::<&str>::new(), "nobody was closed by the gateway");
    gateway.until_logged("changed: limits.chat.messages: 500001 -> 500002");
}

fn claims_of(user: &str) -> Value {
    let mut claims = claims(user);
    claims["caps"] = json!({ "*": ["subscribe", "publish", "presence", "history"] });
    claims
}

#[test]
fn a_bad_file_is_refused_whole_and_told_and_the_mended_one_holds_without_a_signal() {
    let configured = Configured::new("[limits]\nupgrades = 100\n", &["--shards", "1"]);
    let gateway = &configured.gateway;
    let mut ann = Client::join_known(gateway, "/ws/chat/s", &gateway.token("ann"));
    configured.put("[limits.chat]\nmessages = 1\nburst = 1\n[limits]\nupgrades = \"many\"\nbad_token = 1\n");
    gateway.signal(Signal::HUP);
    until("it is refused", SOON, || configured.count("refused") >= 1);
    assert_eq!(gateway.metric("waystation_config_bad", ""), 1);
    for part in
        ["refused whole", "gateway.toml, line 5, column 12", "gateway.toml, line 6, column 1", "limits.bad_tokens"]
    {
        gateway.until_logged(part);
    }
    for n in 0..5 {
        ann.publish("chat:s", &n.to_string(), &json!({}));
    }
    let mut acks = 0;
    while acks < 5 {
        let event = ann.event();
        assert_ne!(event["type"], "nack", "what is good in a bad file does not hold either");
        acks += u32::from(event["type"] == "ack");
    }
    configured.put("[limits.chat]\nmessages = 1\nburst = 1\n[server]\nspin_us = 7\n");
    until("the mended file is seen", SOON, || gateway.metric("waystation_config_bad", "") == 0);
    until("it is in force", SOON, || gateway.metric("waystation_config_generation", "") == 2);
    for n in 5..7 {
        ann.publish("chat:s", &n.to_string(), &json!({}));
    }
    ann.event_of("nack");
    let place = configured.file.display();
    gateway.until_logged(&format!("changed: limits.chat.messages: 120 -> 1 ({place}, line 2, column 12)"));
    gateway.until_logged("changed: limits.upgrades: 100 -> 60 (default)");
    gateway
        .until_logged(&format!("not changed: server.spin_us: 0 -> 7 ({place}, line 5, column 11), at the next start"));
    assert_eq!(gateway.metric("waystation_connections", ""), 1);
}

#[test]
fn what_administrators_may_is_changed_too() {
    let policy = |verbs: &str| format!("[[policy]]\npattern = \"*\"\nverbs = [{verbs}]\n");
    let configured = Configured::new(&policy("\"subscribe\""), &["--shards", "1"]);
    let gateway = &configured.gateway;
    let bearer = format!("Authorization: Bearer {}\r\n", gateway.token("ann"));
    let status =
        || raw::ask(gateway, &format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n{bearer}\r\n", gateway.address)).status;
    assert_eq!(status(), 403);
    configured.put(&policy("\"subscribe\", \"admin\""));
    gateway.signal(Signal::HUP);
    until("the administration has the new policy", SOON, || status() == 200);
}

#[test]
fn a_file_that_is_emptied_or_no_longer_names_keys_changes_nothing() {
    let keys = "[auth]\nkeys = [{ algorithm = \"HS384\", secret_file = \"a.key\" }]\n[admin]\nloopback = true\n";
    let configured = Configured::new(keys, &["--shards", "1"]);
    let gateway = &configured.gateway;
    let token = by_secret(Algorithm::HS384, SECRET, &claims_of("guest"));
    assert!(is_let_in(gateway, &token));
    for (refused, text, why) in
        [(1, "", "the file is empty"), (2, "[limits]\nupgrades = 100\n", "no keys are configured")]
    {
        configured.put(text);
        gateway.signal(Signal::HUP);
        until("it is refused", SOON, || configured.count("refused") >= refused);
        gateway.until_logged(why);
        assert!(is_let_in(gateway, &token), "{why}");
    }
    std::fs::remove_file(&configured.file).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &configured.file,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    gateway.signal(Signal::HUP);
    until("a pipe is refused, not waited for", SOON, || gateway.log().contains("this is no regular file"));
    assert!(is_let_in(gateway, &token));
    assert_eq!(configured.count("applied"), 0);
}

#[test]
fn who_is_held_while_the_keys_change_comes_in_if_the_new_ones_know_its_token() {
    let key = |name: &str| format!("{{ algorithm = \"HS384\", secret_file = \"{name}.key\" }}");
    let text = |keys: &str| format!("[admin]\nloopback = true\n[limits]\nconnections = 1\n[auth]\nkeys = [{keys}]\n");
    let [a, both, b] = [key("a"), [key("a"), key("b")].join(", "), key("b")].map(|keys| text(&keys));
    let configured = Configured::new(&a, &["--shards", "1"]);
    let gateway = &configured.gateway;
    let head = |secret: &[u8]| {
        let token = by_secret(Algorithm::HS384, secret, &claims_of("ann"));
        raw::upgrade_head(gateway, &format!("/ws/chat/s?token={token}"), "")
    };
    let [keys, held] = ["waystation_keys_generation", "waystation_held_upgrades"];
    let number = |name| gateway.metric(name, "");
    for (text, generation, expected) in [(&a, 1, "101"), (&both, 2, "101"), (&a, 3, "101"), (&b, 4, "401")] {
        let [mut inside, mut waiting] = [0, 1].map(|_| Raw::connect(gateway));
        inside.write(head(SECRET).as_bytes());
        assert!(inside.head().starts_with("HTTP/1.1 101 "));
        waiting.write(head(SECRET).as_bytes());
        until("it is held", SOON, || number(held) == 1);
        let rules = number("waystation_config_generation");
        configured.put(text);
        gateway.signal(Signal::HUP);
        until("the configuration is in force", SOON, || number("waystation_config_generation") > rules);
        until("the keys are those of the file", SOON, || number(keys) == generation);
        drop(inside);
        let head = waiting.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")), "{head}");
        drop(waiting);
        until("nobody is in", SOON, || number("waystation_connections") == 0);
    }
}

#[test]
fn a_refused_file_is_said_once_and_holds_when_the_key_that_it_names_has_come() {
    let config = |name: &str| {
        format!(
            "[auth]\nkeys = [{{ algorithm = \"HS384\", secret_file = \"{name}.key\" }}]\n[admin]\nloopback = true\n"
        )
    };
    let configured = Configured::new(&config("a"), &["--shards", "1"]);
    let gateway = &configured.gateway;
    let late = configured.file.with_file_name("late.key");
    let said = || gateway.log().matches("refused whole").count();
    let token = by_secret(Algorithm::HS384, SECOND, &claims_of("guest"));
    configured.put(&config("late"));
    until("it is refused", SOON, || configured.count("refused") >= 1);
    // As wrong as before, again and again.
    for tries in 2..=3 {
        put(&late, SECOND, 0o644);
        until("it is refused again", SOON, || configured.count("refused") >= tries);
        std::fs::remove_file(&late).unwrap();
    }
    assert_eq!(said(), 2, "that it is not there, and that everybody can read it: {}", gateway.log());
    put(&late, SECOND, 0o600);
    until("it is in force without a signal", SOON, || configured.count("applied") == 1);
    assert_eq!(gateway.metric("waystation_config_bad", ""), 0);
    until("the key is the new one", SOON, || is_let_in(gateway, &token));
}

#[test]
fn what_would_end_a_start_ends_a_reload_too_also_against_what_still_holds() {
    let admin = "[admin]\nloopback = true\n";
    let configured = Configured::new(&format!("{admin}[globetrotter]\nopen = true\n"), &["--shards", "1"]);
    let gateway = &configured.gateway;
    configured.put(&format!("{admin}[auth]\nrequire_caps = true\n"));
    gateway.signal(Signal::HUP);
    until("it is refused", SOON, || configured.count("refused") >= 1);
    let log = gateway.log();
    for part in ["`globetrotter.open` = true", "line 4, column 8", "line 4, column 16", "until the next"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let answer = raw::ask(gateway, &raw::upgrade_head(gateway, "/api/v1/ws/ann", ""));
    assert_eq!(answer.status, 101, "who brings no token is let in as before");
}
