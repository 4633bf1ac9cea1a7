//! Proves that nothing of what an operator reads of a gateway holds a token, a key or a word of a client: not the log with
//! everything said, not the audit, not what is dumped, followed and debugged, not the recorder's file, not the numbers.
//! Tokens, keys and words come in by every way that there is, good and bad, from the start to a drain.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;

use jsonwebtoken::Algorithm::HS384;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, command, until};
use crate::keys::{SECRET, by_secret, claims, put};
use crate::raw::{self, CLOSE, FIN, Raw, TEXT, bearer, send};

/// What stands in everything that a client says.
const WORD: &str = "Zq7confidential";

/// A gateway that tells as much as it can, with a configured key.
fn talkative(place: &Arc<Directory>) -> Gateway {
    put(&place.path().join("secret.key"), SECRET, 0o600);
    let audit = place.path().join("audit.jsonl");
    let config = format!(
        "[log]\nfilter = \"trace\"\n[audit]\nto = {audit:?}\n[admin]\nloopback = true\n\
         [limits]\nbad_tokens = 0\n\
         [auth]\nkeys = [{{ algorithm = \"HS384\", secret_file = \"secret.key\" }}]\n"
    );
    let file = place.path().join("gateway.toml");
    put(&file, config.as_bytes(), 0o644);
    Gateway::within(place, &["--shards", "2", "--config", file.to_str().unwrap()])
}

/// A token of a backend.
fn service_token() -> String {
    let mut claims = claims("backend");
    claims["role"] = json!("service");
    by_secret(HS384, SECRET, &claims)
}

fn post(gateway: &Gateway, path: &str, token: &str, body: &str) -> u16 {
    let lines = format!("{}Cookie: {WORD}\r\n", bearer(token));
    send(gateway, ("POST", &format!("{path}?note={WORD}")), &lines, body).status
}

/// Comes with tokens that are good, and with some that are not.
fn authenticate(gateway: &Gateway, good: &str) {
    let bad = [
        format!("{good}x"),
        format!("{WORD}.{WORD}.{WORD}"),
        WORD.to_owned(),
        by_secret(HS384, WORD.as_bytes(), &claims("ann")),
    ];
    for (token, is_good) in [(good, true)].into_iter().chain(bad.iter().map(|token| (&**token, false))) {
        let (bearer, offer) = (format!("Bearer {token}"), format!("waystation.v1.json, bearer.{token}"));
        for (path, header) in [
            (format!("/ws/chat/plans?token={token}&note={WORD}"), ("User-Agent", WORD)),
            ("/ws/chat/plans".to_owned(), ("Authorization", &*bearer)),
            ("/ws/chat/plans".to_owned(), ("Sec-WebSocket-Protocol", &*offer)),
        ] {
            let opened = Client::try_open(gateway, &path, &[header, ("Cookie", WORD)]);
            assert_eq!(
                opened.map(drop).map_err(|(status, _)| status),
                if is_good { Ok(()) } else { Err(401) },
                "{header:?}"
            );
        }
        if !is_good {
            let mut late = Client::open(gateway, "/ws/chat/plans");
            late.send(&json!({ "type": "auth", "token": token }));
            assert_eq!(late.closing().1, 4001);
        }
    }
    let elsewhere = Client::try_open(gateway, "/ws", &[("Origin", &format!("https://{WORD}.example"))]);
    assert_eq!(elsewhere.map(drop).unwrap_err().0, 403);
}

/// Says things, of which some are refused.
fn speak(gateway: &Gateway, token: &str) -> Client {
    let mut ann = Client::join_known(gateway, "/ws/chat/plans", token);
    ann.send(&json!({ "type": "chat_message", "payload": { "content": WORD } }));
    ann.event_of("chat_message");
    ann.publish("chat:plans", WORD, &json!({ "note": WORD }));
    ann.event_of("ack");
    let forbidden = json!({ "channel": "agent:bob", "type": WORD, "payload": { "note": WORD } });
    for refused in [
        json!({ "type": WORD, "payload": WORD }),
        json!({ "type": "publish", "channel": "agent:bob", "payload": forbidden }),
        json!({ "type": "subscribe", "payload": { "channels": ["agent:bob"] }, "traceparent": WORD }),
    ] {
        ann.send(&refused);
    }
    ann.send_text(&format!("{{\"type\":\"chat_message\",\"payload\":{WORD}"));
    ann.send(&json!({ "type": "ping" }));
    ann.event_of("pong");
    let mut rude = Raw::admitted(gateway, "/ws/chat/plans", token);
    rude.write(&raw::frame(FIN | CLOSE, &[&1000_u16.to_be_bytes(), WORD.as_bytes()].concat()));
    assert_eq!(rude.close_code(), 1000);
    let mut broken = Raw::admitted(gateway, "/ws/chat/plans", token);
    broken.write(&raw::frame(FIN | TEXT, &[WORD.as_bytes(), &[0xff]].concat()));
    assert_eq!(broken.close_code(), 1007);
    ann
}

fn administer(gateway: &Gateway, service: &str) {
    let note =
        json!({ "channel": "chat:plans", "type": "note", "payload": { "note": WORD }, "id": format!("{WORD}2") });
    assert_eq!(post(gateway, "/api/publish", service, &note.to_string()), 200);
    assert_eq!(post(gateway, "/api/publish", service, &format!("{{\"channel\":{WORD}")), 400);
    assert_eq!(post(gateway, "/api/publish", &format!("{service}x"), &note.to_string()), 401);
    assert_eq!(post(gateway, "/api/publish", WORD, "{}"), 401);
    assert_eq!(post(gateway, "/api/disconnect", service, r#"{"user_id":"nobody","code":1012}"#), 200);
}

/// Keys that are wrong, and then those from before.
fn reload(gateway: &Gateway) {
    let key = gateway.directory.path().join("secret.key");
    // Each is seen without a signal, which would have it told twice.
    let of_another_kind = [b"-----BEGIN ".as_slice(), WORD.as_bytes(), SECRET].concat();
    let for_others_to_read = [SECRET, b"\n", WORD.as_bytes(), b"\xff"].concat();
    for (times, wrong, mode) in [(1, of_another_kind, 0o600), (2, for_others_to_read, 0o644)] {
        put(&key, &wrong, mode);
        until("it is refused", SOON, || gateway.log().matches("the configuration is refused whole").count() >= times);
    }
    put(&key, SECRET, 0o600);
    gateway.until_logged("the configuration was read again");
}

/// What the command line prints of the gateway.
fn printed(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = command(arguments).arg("--data").arg(gateway.directory.data()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn nothing_that_an_operator_reads_holds_a_token_a_key_or_a_word_of_a_client() {
    let place = Directory::new();
    let mut gateway = talkative(&place);
    let (good, service) = (by_secret(HS384, SECRET, &claims("ann")), service_token());
    printed(&gateway, &["debug", "--user", "ann", "on"]);
    gateway.until_logged("debugging begins");
    let tail = command(&["tail", "--json", "--data"]).arg(place.data()).stdout(Stdio::piped()).spawn();
    let mut tail = tail.unwrap();
    let mut out = tail.stdout.take().unwrap();
    let followed = thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    let audit = place.path().join("audit.jsonl");
    until("it is followed", SOON, || read(&audit).contains("socket: tail"));
    let mut wrong = UnixStream::connect(place.data().join("admin.sock")).unwrap();
    wrong.write_all(format!("{{\"command\":\"{WORD}\"}}\n").as_bytes()).unwrap();

    authenticate(&gateway, &good);
    let mut ann = speak(&gateway, &good);
    administer(&gateway, &service);
    assert_eq!(ann.event_of("note")["payload"]["note"], WORD);
    reload(&gateway);
    gateway.until_logged("type=chat_message");

    let mut told = vec![("the greeting", gateway.greeting.clone(), "configured key")];
    told.push(("a dump for people", printed(&gateway, &["dump"]), "type=chat_message"));
    told.push(("a dump", printed(&gateway, &["dump", "--json"]), "\"AUTH_FAILED\""));
    told.push(("the numbers", printed(&gateway, &["stats"]), "waystation_connections"));
    told.push(("the metrics", gateway.metrics().body, "waystation_config_reloads_total"));
    let file = place.data().join("recorder.jsonl");
    gateway.signal(Signal::USR1);
    until("the recorder is written", SOON, || file.exists());
    told.push(("the recorder's file", read(&file), "\"received\""));

    gateway.terminate();
    assert_eq!(ann.closing().1, 1012);
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    tail.wait().unwrap();
    told.push(("a tail", followed.join().unwrap(), "\"sequenced\""));
    told.push(("the log", gateway.log(), "drained"));
    let audit = read(&audit);
    for act in ["connected", "authenticated", "refused", "closed", "administered", "configured"] {
        let is_kept = |line: &str| serde_json::from_str::<Value>(line).unwrap()["message"] == act;
        assert!(audit.lines().any(is_kept), "{act}: {audit}");
    }
    told.push(("the audit", audit, "POST /api/publish"));

    let secrets = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let mut hidden = [secrets(&good), secrets(&service)].concat();
    // The first part of every token says the algorithm.
    hidden.retain(|part| part.len() > 30);
    hidden.extend([WORD.to_owned(), String::from_utf8_lossy(&SECRET[..16]).into_owned()]);
    hidden.push(data_encoding::BASE64URL_NOPAD.encode(SECRET));
    for (what, text, known) in told {
        assert!(text.contains(known), "{what} has no {known}: {text}");
        for word in &hidden {
            let line = text.lines().find(|line| line.contains(word.as_str()));
            assert_eq!(line, None, "{what} holds {word}");
        }
    }
}
