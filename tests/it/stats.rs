//! What the gateway says of itself in `system:stats`: that the numbers are right, over several shards and under
//! traffic, who may watch, and that nobody else sends there.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Seen};
use crate::fields::{described, fields};
use crate::gateway::{ALL_CAPS, Gateway, SOON, until};
use crate::raw::post;

const CHANNEL: &str = "system:stats";
const MESSAGES: u64 = 1000;

fn watcher(gateway: &Gateway) -> Client {
    Client::join(gateway, "/ws", &gateway.token_with("ops", &["--caps", r#"{"system:stats":["subscribe"]}"#]))
}

/// Joins, and gets the place at which the channel stands.
fn watch(watcher: &mut Client) -> Value {
    watcher.send(&json!({ "type": "subscribe", "channels": [CHANNEL] }));
    watcher.event_of("subscribed")["payload"].clone()
}

/// The next sample.
fn sample(watcher: &mut Client) -> Value {
    let event = watcher.event_of("system_stats");
    assert_eq!(event["channel"], CHANNEL);
    event["payload"].clone()
}

fn number(sample: &Value, path: &str) -> u64 {
    sample.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {sample}"))
}

/// What is counted of a sample and of everything else there is to count.
fn sum(sample: &Value, field: &str) -> f64 {
    sample["shards"].as_array().unwrap().iter().map(|shard| shard[field].as_f64().unwrap()).sum()
}

#[test]
fn a_thousand_messages_are_counted_as_a_thousand_whatever_the_number_of_shards() {
    for shards in [1, 3] {
        let gateway = Gateway::with(&["--shards", &shards.to_string(), "--limits", "unlimited"]);
        let mut watcher = watcher(&gateway);
        watch(&mut watcher);
        let names: Vec<String> = (0..8).map(|trip| format!("trip:{trip}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let tokens = gateway.token_row("user", 4);
        let mut clients: Vec<Client> = tokens.iter().map(|token| Client::join(&gateway, "/ws", token)).collect();
        for client in &mut clients {
            client.subscribe(&names);
        }
        let before = loop {
            let before = sample(&mut watcher);
            // The joins are behind us, and nothing is under way.
            if before["totals"]["received_per_s"] == 0.0 && number(&before, "/totals/memberships") == 33 {
                break before;
            }
        };
        let (mut received, mut rates) = (0, 0.0);
        for round in 0..MESSAGES / 4 {
            for (author, client) in clients.iter_mut().enumerate() {
                let name = names[usize::try_from(round).unwrap() % names.len()];
                client.publish(name, &format!("{author}-{round}"), &json!({ "round": round }));
            }
        }
        let after = loop {
            let after = sample(&mut watcher);
            received += 1;
            let seconds = after["interval_ms"].as_f64().unwrap() / 1000.0;
            rates += sum(&after, "received_per_s") * seconds;
            assert_eq!(after["shards"].as_array().unwrap().len(), shards);
            if after["totals"]["received_per_s"] == 0.0
                && number(&after, "/totals/received") > number(&before, "/totals/received")
            {
                break after;
            }
        };
        let grown = |path| number(&after, path) - number(&before, path);
        assert_eq!(grown("/totals/received"), MESSAGES, "{shards} shards");
        // Each to four members, and each sample to the one who watches.
        assert_eq!(grown("/totals/sent"), 4 * MESSAGES + received, "{shards} shards");
        assert!((rates - 1000.0).abs() < 10.0, "{rates} in rates of {shards} shards");
        assert_eq!(number(&after, "/totals/connections"), 5);
    }
}

/// A handshake, a refusal and an end.
fn come_and_go(gateway: &Gateway, token: &str) {
    let mut passer_by = Client::join(gateway, "/ws", token);
    passer_by.send_text("{");
    assert_eq!(passer_by.event()["payload"]["code"], "INVALID_JSON");
    passer_by.close();
    while !matches!(passer_by.next(), Seen::End) {}
}

#[test]
fn samples_of_the_running_server_keep_to_the_schema_and_lack_no_field_of_it() {
    let schema: Value = serde_json::from_str(include_str!("../../docs/schema/server.schema.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let mut lacking = BTreeSet::new();
    described(&schema["$defs"]["system_stats"]["properties"]["payload"], "", &mut lacking);
    // A machine where the doctor finds nothing has nothing there, and the golden sample shows them.
    lacking.retain(|path| !path.starts_with("/findings/"));
    assert!(lacking.len() > 50, "{lacking:?}");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let core = allowed.trim().split([',', '-']).next().unwrap();
    for place in [["--shards", "2"], ["--cpus", core]] {
        let gateway = Gateway::with(&[place[0], place[1], "--limits", "unlimited", "--set", "store.window_ms=2"]);
        let token = gateway.token("ada");
        let mut ada = Client::join(&gateway, "/ws", &token);
        ada.subscribe(&["trip:lisbon"]);
        let mut watcher = watcher(&gateway);
        watch(&mut watcher);
        let mut round = 0;
        until("samples have every field", SOON, || {
            round += 1;
            ada.publish("trip:lisbon", &round.to_string(), &json!({}));
            ada.pending();
            come_and_go(&gateway, &token);
            let event = watcher.event_of("system_stats");
            let faults: Vec<String> = validator.iter_errors(&event).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{event}\n{faults:?}");
            let mut there = BTreeSet::new();
            fields(&event["payload"], "", &mut there);
            lacking.retain(|path| !there.contains(path));
            lacking.is_empty() || place[0] == "--shards" && lacking.iter().eq(["/shards/cpu"])
        });
    }
}

#[test]
fn who_opens_the_printed_link_may_watch_and_gets_what_was() {
    let gateway = Gateway::start();
    let token = gateway.greeting.split("token=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let mut page = Client::join(&gateway, "/ws", token);
    let place = loop {
        let place = watch(&mut page);
        page.send(&json!({ "type": "unsubscribe", "channels": [CHANNEL] }));
        page.pending();
        if number(&place, "/seq") > 2 {
            break place;
        }
    };
    let params = json!({ "channel": CHANNEL, "limit": 300 });
    page.send(&json!({ "type": "request", "payload": { "id": "h", "method": "history", "params": params } }));
    let history = page.event_of("response")["payload"]["result"].clone();
    let events = history["events"].as_array().unwrap();
    assert!(events.len() > 2, "{history}");
    assert!(events.iter().all(|event| event["type"] == "system_stats" && event["payload"]["at_ms"].is_u64()));
    let position = json!({ CHANNEL: { "epoch": place["epoch"], "seq": 0 } });
    page.send(&json!({ "type": "subscribe", "channels": [CHANNEL], "since": position }));
    assert_eq!(page.event_of("subscribed")["payload"]["recovered"], true);
    for seq in 1..=number(&place, "/seq") + 2 {
        assert_eq!(page.event_of("system_stats")["seq"], seq, "what was, and then what comes");
    }
}

#[test]
fn strangers_do_not_watch_and_nobody_sends_there_by_whatever_way() {
    let gateway = Gateway::with(&["--shards", "2"]);
    let service = gateway.token_with("svc", &["--role", "service"]);
    let almighty = gateway.token_with("svc", &["--role", "service", "--caps", ALL_CAPS]);
    for token in [&gateway.token("ann"), &service] {
        let mut stranger = Client::join(&gateway, "/ws", token);
        stranger.send(&json!({ "type": "subscribe", "channels": [CHANNEL] }));
        let failure = &stranger.event_of("subscribe_response")["payload"]["failures"][0];
        assert_eq!(failure["code"], "PERMISSION_DENIED", "{failure}");
        let params = json!({ "channel": CHANNEL });
        stranger.send(&json!({ "type": "request", "payload": { "id": "h", "method": "history", "params": params } }));
        assert_eq!(stranger.event_of("response")["payload"]["error"]["code"], "PERMISSION_DENIED");
    }
    let mut operator = Client::join(&gateway, "/ws", &almighty);
    for channel in [CHANNEL, "system:anything"] {
        operator.publish(channel, "op", &json!({}));
        assert_eq!(operator.event_of("nack")["payload"]["code"], "PERMISSION_DENIED", "{channel}");
        let body = json!({ "channel": channel, "type": "system_stats", "payload": {} });
        for token in [&service, &almighty] {
            let refused = post(&gateway, "/api/publish", token, &body);
            assert_eq!(refused.status, 403, "{refused:?}");
            assert!(refused.body.contains("PERMISSION_DENIED"), "{refused:?}");
        }
        let all = json!({ "channels": [channel], "type": "system_stats", "payload": {} });
        let refused = post(&gateway, "/api/broadcast", &almighty, &all);
        assert!(refused.body.contains("PERMISSION_DENIED"), "{refused:?}");
    }
}

#[test]
fn a_server_that_drains_says_so_as_long_as_somebody_hears_it() {
    let mut gateway = Gateway::unlimited();
    // Connections are closed in waves, a tenth at a time: of twenty some stay for seconds.
    let mut watchers: Vec<Client> = (0..20).map(|_| watcher(&gateway)).collect();
    for watcher in &mut watchers {
        watch(watcher);
    }
    let told = sample(&mut watchers[0]);
    assert_eq!((&told["state"], &told["version"]), (&json!("serving"), &json!(env!("CARGO_PKG_VERSION"))));
    gateway.terminate();
    let told = watchers.iter_mut().any(|watcher| {
        let (events, code, _) = watcher.closing();
        assert_eq!(code, 1012);
        events.iter().any(|event| event["payload"]["state"] == "draining")
    });
    assert!(told, "{}", gateway.log());
    assert_eq!(gateway.wait(Duration::from_secs(30)).code(), Some(0), "{}", gateway.log());
}

/// A thread that is stopped alone, as one that hangs. It goes on when this is dropped, or its tracer ends.
struct Stopped(libc::pid_t);

impl Stopped {
    #[expect(unsafe_code, reason = "nothing else stops a single thread")]
    fn thread(gateway: &Gateway, name: &str) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap();
        let named = tasks
            .map(|task| task.unwrap().path())
            .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name));
        let thread: libc::pid_t = named.unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap();
        // SAFETY: these requests take no pointers, and nothing of this process is touched by them.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, 0, 0) };
        assert_eq!(seized, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: as above.
        let stopped = unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, thread, 0, 0) };
        assert_eq!(stopped, 0, "{}", std::io::Error::last_os_error());
        let mut status = 0;
        // SAFETY: the status is written to a number that is ours.
        let waited = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
        assert!(waited == thread && libc::WIFSTOPPED(status), "{waited} {status}");
        Self(thread)
    }
}

impl Drop for Stopped {
    #[expect(unsafe_code, reason = "as it was stopped")]
    fn drop(&mut self) {
        // SAFETY: takes no pointers. If the thread is gone there is nothing to be done.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) };
    }
}

/// What `/healthz` says, if a shard answers that turns.
fn health(gateway: &Gateway) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().unwrap(), serde_json::from_str(body).unwrap()))
}

#[test]
fn a_shard_that_hangs_is_named_and_the_others_go_on() {
    let gateway = Gateway::with(&["--shards", "2", "--limits", "unlimited"]);
    until("it is well", SOON, || health(&gateway) == Some((200, json!({ "status": "healthy", "shards": 2 }))));
    let published =
        |shard: u16| gateway.metric("waystation_events_total", &format!("shard=\"{shard}\",type=\"system_stats\""));
    until("a sample is published", SOON, || published(0) + published(1) > 0);
    let home = u16::from(published(1) > 0);
    // The kernel deals out connections by chance: one of these is on the shard that goes on.
    let mut watchers = Vec::new();
    let at_home = format!("shard=\"{home}\"");
    let mut watcher = loop {
        let before = gateway.metric("waystation_connections", &at_home);
        let watcher = watcher(&gateway);
        if gateway.metric("waystation_connections", &at_home) > before {
            break watcher;
        }
        watchers.push(watcher);
    };
    watch(&mut watcher);
    let hangs = 1 - home;
    let answering = |watcher: &mut Client, expected: [bool; 2]| {
        until("samples say so", SOON, || {
            let sample = sample(watcher);
            let shards = sample["shards"].as_array().unwrap();
            shards.iter().zip(expected).all(|(shard, expected)| shard["answering"] == expected)
        });
    };
    answering(&mut watcher, [true, true]);
    let stopped = Stopped::thread(&gateway, &format!("shard-{hangs}"));
    answering(&mut watcher, [home == 0, home == 1]);
    let unwell = json!({ "status": "unhealthy", "shards": 2, "silent": [hangs] });
    until("its health says so", SOON, || health(&gateway) == Some((503, unwell.clone())));
    drop(stopped);
    answering(&mut watcher, [true, true]);
    until("it is well again", SOON, || health(&gateway).is_some_and(|(status, _)| status == 200));
}
