//! What outlives the gateway: proves on the built program, with its disk, that what was acknowledged is there after a
//! kill, once and in order; that a stop in order leaves no seam; and what a directory that cannot be had is refused with.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::{Client, Seen};
use crate::gateway::{Directory, Gateway, SOON, command};
use crate::raw;

/// A server whose history is long enough that nothing is trimmed, and is kept.
fn keeping(directory: &Arc<Directory>) -> Gateway {
    let kept = ["--shards", "2", "--limits", "unlimited", "--set", "history.events=10000"];
    Gateway::within(directory, &[&kept[..], &["--set", "history.bytes=60000000", "--set", KEPT]].concat())
}

/// Where the tests' servers keep it: as by default, below the data directory.
const KEPT: &str = "store.window_ms=2";

fn back(gateway: &Gateway, token: &str, channel: &str, position: (&Value, u64)) -> Client {
    let auth = json!({ "token": token, "resume": [{ "channel": channel, "epoch": position.0, "seq": position.1 }] });
    Client::join_with(gateway, &format!("/ws/chat/{}", channel.trim_start_matches("chat:")), &auth)
}

/// Publishes operations until so many are acknowledged, then kills the server at once. Gives what each acknowledged
/// operation was told: epoch and seq.
fn publish_and_kill(
    gateway: Gateway,
    client: &mut Client,
    round: usize,
    acks: usize,
) -> BTreeMap<String, (Value, u64)> {
    let mut acked = BTreeMap::new();
    let mut gateway = Some(gateway);
    let mut sent = 0;
    loop {
        if gateway.is_some() {
            for _ in 0..20 {
                client.publish("chat:s", &format!("{round}-{sent:06}"), &json!({ "round": round, "n": sent }));
                sent += 1;
            }
        }
        for _ in 0..30 {
            let text = match client.next() {
                Seen::Text(text) => text,
                Seen::Ping => continue,
                _ => return acked,
            };
            let event: Value = serde_json::from_str(&text).unwrap();
            assert_ne!(event["type"], "nack", "{event}");
            if event["type"] == "ack" {
                let payload = &event["payload"];
                let place = (payload["epoch"].clone(), payload["seq"].as_u64().unwrap());
                acked.insert(payload["id"].as_str().unwrap().to_owned(), place);
            }
        }
        // What was written to the socket before the kill is read to its end.
        if acked.len() >= acks {
            drop(gateway.take());
        }
    }
}

#[test]
fn what_was_acked_is_there_after_each_kill_once_and_in_order() {
    let directory = Directory::new();
    let mut all: BTreeMap<String, (Value, u64)> = BTreeMap::new();
    for round in 0..4 {
        let gateway = keeping(&directory);
        let token = gateway.token("ada");
        let mut ada = Client::join(&gateway, "/ws/chat/s", &token);
        let acked = publish_and_kill(gateway, &mut ada, round, 60);
        assert!(acked.len() >= 60, "{}", acked.len());
        for (id, place) in acked {
            assert_eq!(all.insert(id, place), None);
        }
        let gateway = keeping(&directory);
        let first = all.values().min_by_key(|(_, seq)| *seq).unwrap().clone();
        let mut again = back(&gateway, &token, "chat:s", (&first.0, 0));
        assert_eq!(again.subscribed["payload"]["recovered"], true, "{}", again.subscribed);
        // What lies behind the memory is read from the disk: whatever comes now comes behind it.
        let marker = format!("marker-{round}");
        again.publish("chat:s", &marker, &json!({}));
        let mut events = Vec::new();
        while events.last().is_none_or(|event: &Value| event["op_id"] != marker.as_str()) {
            events.push(again.event_of("note"));
        }
        assert_eq!(again.event_of("ack")["payload"]["id"], marker.as_str());
        let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert!(seqs.is_sorted_by(|one, other| one < other), "{seqs:?}");
        let found: BTreeMap<String, (Value, u64)> = events
            .iter()
            .map(|event| {
                let id = event["op_id"].as_str().unwrap().to_owned();
                (id, (event["epoch"].clone(), event["seq"].as_u64().unwrap()))
            })
            .collect();
        assert_eq!(found.len(), events.len(), "an operation is there twice");
        for (id, place) in &all {
            assert_eq!(found.get(id), Some(place), "round {round}: {id} was acknowledged");
        }
        // A retry of what was stored has its first answer, across the kill.
        let (id, (epoch, seq)) = all.last_key_value().unwrap();
        let n: usize = id.split_once('-').unwrap().1.parse().unwrap();
        again.publish("chat:s", id, &json!({ "round": round, "n": n }));
        let told = again.event_of("ack")["payload"].clone();
        assert_eq!((&told["epoch"], &told["seq"], &told["duplicate"]), (epoch, &json!(seq), &json!(true)), "{told}");
    }
}

#[test]
fn after_a_stop_in_order_the_numbers_go_on_as_if_nothing_had_been() {
    let directory = Directory::new();
    let mut first = keeping(&directory);
    let token = first.token("ada");
    let mut ada = Client::join(&first, "/ws/chat/s", &token);
    let epoch = ada.subscribed["payload"]["epoch"].clone();
    for n in 1..=5 {
        ada.publish("chat:s", &n.to_string(), &json!({ "n": n }));
    }
    for seq in 1..=5 {
        assert_eq!(ada.event_of("ack")["payload"]["seq"], seq);
    }
    assert!(first.number("waystation_store_commits_total") >= 1.0);
    first.terminate();
    assert!(first.wait(SOON).success(), "{}", first.log());
    let second = keeping(&directory);
    assert!(second.greeting.contains("history of durable channels is kept in"), "{}", second.greeting);
    let mut again = back(&second, &token, "chat:s", (&epoch, 3));
    let told = &again.subscribed["payload"];
    assert_eq!((&told["recovered"], &told["epoch"], &told["seq"]), (&json!(true), &epoch, &json!(5)), "{told}");
    assert_eq!([again.event()["seq"].clone(), again.event()["seq"].clone()], [json!(4), json!(5)]);
    again.publish("chat:s", "6", &json!({}));
    assert_eq!(again.event_of("ack")["payload"]["seq"], 6);
}

/// How a server ends that cannot have its store.
fn refused(directory: &Directory) -> Output {
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--shards", "1", "--data"]);
    command.arg(directory.data()).output().unwrap()
}

#[test]
fn a_store_that_another_server_has_or_that_is_not_ours_is_refused_with_what_to_do() {
    let directory = Directory::new();
    let gateway = keeping(&directory);
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    ada.publish("chat:s", "op", &json!({}));
    ada.event_of("ack");
    let store = directory.data().join("store");
    let check = |code: i32, texts: &[&str]| {
        let output = refused(&directory);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{told}");
        let place = store.display().to_string();
        for text in texts.iter().chain(&[place.as_str(), "store.directory"]) {
            assert!(told.contains(text), "{text}: {told}");
        }
        assert!(output.stdout.is_empty());
    };
    check(75, &[&format!("in use by process {}", gateway.id())]);
    drop(gateway);
    let mode = |mode| std::fs::set_permissions(&store, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    check(78, &["others can look into the store (mode 0755)", "chmod 700"]);
    mode(0o700);
    let format = store.join("format");
    let text = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, text.replace("version 1", "version 7")).unwrap();
    check(78, &["version 7", "version 1"]);
    std::fs::write(&format, &text).unwrap();
    let journal = store.join("log").join("0.jnl");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&journal, &bytes).unwrap();
    check(78, &["damaged", "0.jnl"]);
    std::fs::remove_file(&format).unwrap();
    check(78, &["not the store's"]);
}

#[test]
fn where_nothing_is_kept_that_is_said_and_nothing_is_written() {
    let directory = Directory::new();
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--shards", "1", "--data", "none"]);
    let mut child = command.current_dir(directory.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut greeting = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        greeting += &(line + "\n");
        if greeting.contains("until the gateway ends") {
            break;
        }
    }
    assert!(greeting.contains("in memory only") && greeting.contains("kept nowhere"), "{greeting}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!directory.path().join("none").exists());
}

#[test]
fn a_store_is_looked_at_compacted_and_read_out_while_no_server_runs() {
    let directory = Directory::new();
    let run = |verb: &str| {
        let output = command(&["store", verb, "--data"]).arg(directory.data()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), told)
    };
    let (code, _, told) = run("check");
    assert_eq!((code, told.contains("there is no store")), (Some(78), true), "{told}");
    let mut gateway = keeping(&directory);
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    for n in 1..=3 {
        ada.publish("chat:s", &format!("op-{n}"), &json!({ "n": n, "large": 18_446_744_073_709_551_615_u64 }));
        ada.event_of("ack");
    }
    let (code, _, told) = run("check");
    assert_eq!((code, told.contains("in use by process")), (Some(75), true), "{told}");
    gateway.terminate();
    assert!(gateway.wait(SOON).success());
    assert_eq!(run("check"), (Some(0), "1 channel, 3 events: 0 faults\n".to_owned(), String::new()));
    let (code, text, _) = run("export");
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, rows.len()), (Some(0), 3), "{text}");
    for (row, n) in rows.iter().zip(1..) {
        assert_eq!((&row["channel"], &row["seq"], &row["type"]), (&json!("chat:s"), &json!(n), &json!("note")));
        assert_eq!((&row["user_id"], &row["op_id"]), (&json!("ada"), &json!(format!("op-{n}"))));
        assert_eq!(row["payload"], json!({ "n": n, "large": 18_446_744_073_709_551_615_u64 }));
    }
    for verb in ["check", "export"] {
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = command(&["store", verb, "--data"]).arg(directory.data()).stdout(full).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), told.contains("is not whole")), (Some(75), true), "{verb}: {told}");
    }
    let (code, text, _) = run("compact");
    assert!(code == Some(0) && text.contains("bytes before"), "{text}");
    let (code, text, _) = run("stats");
    let stats: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &stats["events"], &stats["channels"], &stats["faults"]),
        (Some(0), &json!(3), &json!(1), &json!(0))
    );
    // It goes on as if nobody had looked.
    let gateway = keeping(&directory);
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    ada.publish("chat:s", "op-4", &json!({}));
    assert_eq!(ada.event_of("ack")["payload"]["seq"], 4);
}

/// Has a backend publish so many events to a channel.
fn publish_many(gateway: &Gateway, token: &str, channel: &str, count: usize) {
    for batch in 0..count.div_ceil(100) {
        let message = |n| json!({ "channel": channel, "type": "note", "payload": { "word": format!("hidden-{n}") } });
        let messages: Vec<Value> = (batch * 100..count.min(batch * 100 + 100)).map(message).collect();
        let body = json!({ "messages": messages });
        let answer = raw::send(gateway, ("POST", "/api/batch"), &raw::bearer(token), &body);
        assert!(answer.status == 200 && !answer.body.contains("\"code\""), "{answer:?}");
    }
}

fn erase(gateway: &Gateway, user: &str) -> Value {
    let admin = gateway.token_with("ops", &["--caps", r#"{"*":["admin"]}"#]);
    let answer = raw::send(gateway, ("DELETE", &format!("/api/users/{user}")), &raw::bearer(&admin), "");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn an_erased_user_stays_erased_over_kills_also_in_the_middle_of_it() {
    let directory = Directory::new();
    let mut gateway = keeping(&directory);
    let svc = gateway.token_with("svc", &["--role", "service"]);
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let epoch = ada.subscribed["payload"]["epoch"].clone();
    publish_many(&gateway, &svc, "chat:s", 1500);
    ada.publish("chat:s", "op", &json!({ "word": "kept" }));
    while ada.event_of("note")["user_id"] != "ada" {}
    ada.event_of("ack");
    publish_many(&gateway, &svc, "chat:t", 1500);
    // Nobody has opened these channels when the second server is asked, and it dies soon after.
    drop(gateway);
    gateway = keeping(&directory);
    let admin = gateway.token_with("ops", &["--caps", r#"{"*":["admin"]}"#]);
    let mut asked = raw::Raw::connect(&gateway);
    let head =
        format!("DELETE /api/users/svc HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {admin}\r\n\r\n", gateway.address);
    asked.write(head.as_bytes());
    let store =
        || std::fs::metadata(directory.data().join("store").join("log").join("0.jnl")).map_or(0, |file| file.len());
    let begun = std::time::Instant::now();
    let before = store();
    // Some portions are on the disk, or all of them: each is some 25 KB of the journal.
    while store() < before + 60_000 && begun.elapsed() < SOON {
        std::thread::yield_now();
    }
    drop(gateway);
    gateway = keeping(&directory);
    let answer = erase(&gateway, "svc");
    assert_eq!((&answer["erased"], &answer["user_id"]), (&json!(true), &json!("svc")), "{answer}");
    assert!(answer["events"].as_u64().unwrap() < 3000, "a part had gone: {answer}");
    let again = erase(&gateway, "svc");
    assert_eq!((&again["events"], &again["operations"], &again["cursors"]), (&json!(0), &json!(0), &json!(0)));
    // Every number is there, and the other's word.
    let mut back = back(&gateway, &gateway.token("ada"), "chat:s", (&epoch, 0));
    assert_eq!(back.subscribed["payload"]["recovered"], true, "{}", back.subscribed);
    for seq in 1..=1500 {
        let event = back.event_of("erased");
        assert_eq!((&event["seq"], &event["payload"], event.get("user_id")), (&json!(seq), &json!({}), None));
    }
    assert_eq!(back.event_of("note")["payload"]["word"], "kept");
    gateway.terminate();
    assert!(gateway.wait(SOON).success());
    let run = |verb: &str| command(&["store", verb, "--data"]).arg(directory.data()).output().unwrap();
    assert!(run("check").status.success() && run("compact").status.success());
    let exported = String::from_utf8(run("export").stdout).unwrap();
    assert_eq!((exported.lines().count(), exported.contains("hidden")), (3001, false));
}

#[test]
fn a_notification_outlives_kills_until_a_device_has_acknowledged_it() {
    let directory = Directory::new();
    let start = || Gateway::within(&directory, &["--shards", "1", "--limits", "unlimited", "--set", KEPT]);
    let gateway = start();
    let backend = gateway.token_with("backend", &["--role", "service"]);
    let token = gateway.token("ada");
    let notify = |gateway: &Gateway, id: &str| {
        let mut service = Client::join_known(gateway, "/ws", &backend);
        service.publish("notifications:ada", id, &json!({ "title": id }));
        service.event_of("ack");
    };
    let device = |gateway: &Gateway| Client::join_known(gateway, "/ws/notifications/ada", &token);
    // Nobody is there.
    notify(&gateway, "first");
    drop(gateway);
    for told in ["to the phone", "again, since it did not acknowledge it"] {
        let gateway = start();
        assert_eq!(device(&gateway).event_of("note")["op_id"], "first", "{told}");
        drop(gateway);
    }
    let gateway = start();
    let mut phone = device(&gateway);
    let first = phone.event_of("note");
    assert_eq!(first["op_id"], "first");
    let place = json!({ "channel": "notifications:ada", "epoch": first["epoch"], "seq": first["seq"] });
    phone.send(&json!({ "type": "ack", "payload": place }));
    // Nothing answers it. What is put behind it and committed says that it is on the disk too.
    phone.publish("chat:s", "behind", &json!({}));
    phone.event_of("ack");
    drop(gateway);
    let gateway = start();
    let mut tablet = device(&gateway);
    notify(&gateway, "second");
    let next = tablet.event_of("note");
    assert_eq!(next["op_id"], "second", "what was acknowledged does not come again: {next}");
    assert!(next["seq"].as_u64() > first["seq"].as_u64(), "{next}");
}
