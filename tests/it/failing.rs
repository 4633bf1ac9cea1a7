//! A disk that fails: proves on the built program, whose calls the power-cut shim fails, what it does meanwhile and what is
//! left afterwards. Nothing is acknowledged that is not on the disk, what is new is refused and may be tried again, and
//! everything else goes on; when the disk works again, so does the store, and what was acknowledged is there, once, in its
//! place, also after a cut of the power. A sync that fails loses what it was to keep, as under Linux: a second one that
//! succeeds says nothing of it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;

use powercut::{Call, Failing, Metadata};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, binary, command, until};
use crate::raw;
use crate::stalled::{KEEPING, watched};

/// Events before the disk fails.
const BEFORE: usize = 20;

/// What the author of a durable channel was told.
#[derive(Debug, Default)]
struct Told {
    /// By operation: epoch and number.
    acked: BTreeMap<String, (Value, u64)>,
    nacked: Vec<String>,
}

/// Somebody who publishes to `chat:s`.
struct Author {
    client: Client,
    told: Told,
}

impl Author {
    fn join(gateway: &Gateway) -> Self {
        Self { client: Client::join(gateway, "/ws/chat/s", &gateway.token("ada")), told: Told::default() }
    }

    fn publish(&mut self, id: &str) {
        self.client.publish("chat:s", id, &json!({ "text": id.repeat(50) }));
    }

    /// Takes what comes until it is so.
    fn until(&mut self, is_so: impl Fn(&Told, &Value) -> bool) {
        loop {
            let event = self.client.event();
            let payload = &event["payload"];
            let id = || payload["id"].as_str().unwrap().to_owned();
            if event["type"] == "ack" {
                let place = (payload["epoch"].clone(), payload["seq"].as_u64().unwrap());
                assert!(self.told.acked.insert(id(), place).is_none(), "answered twice: {event}");
            } else if event["type"] == "nack" {
                assert_eq!((&payload["code"], &payload["retryable"]), (&json!("STORE_UNAVAILABLE"), &json!(true)));
                assert!(payload["retry_after_ms"].as_u64() > Some(0), "{event}");
                self.told.nacked.push(id());
            }
            if is_so(&self.told, &event) {
                return;
            }
        }
    }

    fn until_acked(&mut self, id: &str) {
        self.until(|told, _| told.acked.contains_key(id));
    }
}

/// Events of before, two channels that are kept and one that is not.
fn begin(gateway: &Gateway) -> (Author, Client) {
    let mut other = Client::join(gateway, "/ws/chat/other", &gateway.token("bea"));
    other.publish("chat:other", "kept", &json!({}));
    other.event_of("ack");
    drop(other);
    let mut ada = Author::join(gateway);
    (0..BEFORE).for_each(|n| ada.publish(&format!("before-{n}")));
    ada.until(|told, _| told.acked.len() == BEFORE);
    let mut live = Client::join(gateway, "/ws", &gateway.master_token("cyd"));
    live.subscribe(&["live:a"]);
    (ada, live)
}

/// What holds while the disk fails: `met` says whether it has.
fn goes_on_without_the_disk(gateway: &Gateway, (ada, live): (&mut Author, &mut Client), met: impl Fn() -> bool) {
    // It is numbered before anybody knows, so it is delivered, and waits.
    ada.publish("during");
    ada.until(|_, event| event["type"] == "note" && event["op_id"] == "during");
    until("the disk fails", SOON, met);
    until("every shard knows", SOON, || gateway.metric("waystation_store_trouble", "") == 2);
    ada.publish("refused");
    ada.until(|told, _| told.nacked == ["refused"]);
    live.publish("live:a", "live", &json!({}));
    assert_eq!(live.event_of("ack")["payload"]["id"], "live");
    for path in ["/readyz", "/healthz"] {
        assert_eq!(raw::get(gateway, "GET", path).status, 200, "{path}: another gateway would have another disk");
    }
    assert!(gateway.number("waystation_store_failures_total") >= 1.0);
    gateway.until_logged("a commit failed; the log is opened again");
    // Its history is read as before.
    let mut reader = Client::join(gateway, "/ws/chat/other", &gateway.token("dan"));
    reader.send(&json!({ "type": "request", "id": "h", "payload": { "method": "history", "params": { "channel": "chat:other" } } }));
    let answer = reader.event_of("response");
    assert_eq!(answer["payload"]["result"]["events"][0]["op_id"], "kept", "{answer}");
    assert!(!ada.told.acked.contains_key("during"), "acknowledged before the disk has it: {:?}", ada.told);
}

/// What holds when it works again.
fn goes_on_with_the_disk(gateway: &Gateway, ada: &mut Author) {
    ada.until_acked("during");
    until("every shard knows", SOON, || gateway.metric("waystation_store_trouble", "") == 0);
    gateway.until_logged("the store works again");
    for id in ["refused", "after"] {
        ada.publish(id);
        ada.until_acked(id);
    }
    assert_eq!(ada.told.acked.len(), BEFORE + 3);
}

/// All that was acknowledged is there once and in its place; what else is there.
fn read_again(directory: &Arc<Directory>, told: &Told) -> Vec<String> {
    let mut gateway = Gateway::within(directory, &KEEPING);
    let epoch = &told.acked["before-0"].0;
    let resume = json!([{ "channel": "chat:s", "epoch": epoch, "seq": 0 }]);
    let mut reader =
        Client::join_with(&gateway, "/ws/chat/s", &json!({ "token": gateway.token("ada"), "resume": resume }));
    assert_eq!(reader.subscribed["payload"]["recovered"], true, "{}", reader.subscribed);
    reader.publish("chat:s", "marker", &json!({}));
    let (mut found, mut others, mut last) = (BTreeMap::new(), Vec::new(), 0);
    loop {
        let event = reader.event_of("note");
        let (id, seq) = (event["op_id"].as_str().unwrap().to_owned(), event["seq"].as_u64().unwrap());
        assert!(seq > last, "{event} behind {last}");
        last = seq;
        if id == "marker" {
            break;
        }
        assert_eq!(event["payload"]["text"], id.repeat(50));
        if !told.acked.contains_key(&id) {
            others.push(id.clone());
        }
        assert_eq!(found.insert(id, (event["epoch"].clone(), seq)), None, "{event} is there twice");
    }
    for (id, place) in &told.acked {
        assert_eq!(found.get(id), Some(place), "{id} was acknowledged");
    }
    reader.event_of("ack");
    gateway.terminate();
    assert!(gateway.wait(SOON).success());
    let check = command(&["store", "check", "--data"]).arg(directory.data()).output().unwrap();
    assert!(check.status.success(), "{check:?}");
    others
}

/// A disk that fails for a while, and a cut of the power when it works again.
fn fails_for_a_while(calls: &[Call], error: Errno, part: &str) {
    let directory = Directory::new();
    let gateway = watched(&directory, &[]);
    let (mut ada, mut live) = begin(&gateway);
    let failing = Failing::begin(&directory.data(), calls, error.raw_os_error(), part).unwrap();
    goes_on_without_the_disk(&gateway, (&mut ada, &mut live), || failing.count().unwrap() > 0);
    drop(failing);
    goes_on_with_the_disk(&gateway, &mut ada);
    drop(gateway);
    powercut::apply(&directory.data(), 0, Metadata::Strict).unwrap();
    assert_eq!(read_again(&directory, &ada.told), Vec::<String>::new());
}

#[test]
fn what_is_acknowledged_after_syncs_that_failed_is_on_the_disk() {
    fails_for_a_while(&[Call::Sync], Errno::IO, ".jnl");
}

#[test]
fn a_disk_that_takes_no_writes_refuses_what_is_new_and_loses_nothing() {
    fails_for_a_while(&[Call::Write], Errno::IO, "");
}

#[test]
fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    fails_for_a_while(&[Call::Write, Call::Create], Errno::NOSPC, "");
}

#[test]
fn what_no_sync_has_covered_when_the_power_is_cut_was_not_acknowledged() {
    for seed in [0, 1, 7] {
        let directory = Directory::new();
        let gateway = watched(&directory, &[]);
        let (mut ada, mut live) = begin(&gateway);
        let failing = Failing::begin(&directory.data(), &[Call::Sync], Errno::IO.raw_os_error(), "").unwrap();
        goes_on_without_the_disk(&gateway, (&mut ada, &mut live), || failing.count().unwrap() > 0);
        drop(gateway);
        drop(failing);
        powercut::apply(&directory.data(), seed, Metadata::Strict).unwrap();
        let others = read_again(&directory, &ada.told);
        assert!(others.is_empty() || others == ["during"], "{others:?}");
    }
}

#[test]
fn files_that_may_not_grow_are_a_full_disk_and_grow_again() {
    let directory = Directory::new();
    // Whoever writes beyond the bound is told so instead of killed.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(binary()).stdin(Stdio::null());
    let gateway = Gateway::launch(&directory, shell, &KEEPING);
    let (mut ada, mut live) = begin(&gateway);
    let maximum = getrlimit(Resource::Fsize).maximum;
    let limit = |current| {
        let pid = Pid::from_raw(gateway.id().cast_signed());
        prlimit(pid, Resource::Fsize, Rlimit { current, maximum }).unwrap();
    };
    // Less than the journal has already.
    limit(Some(4096));
    goes_on_without_the_disk(&gateway, (&mut ada, &mut live), || true);
    limit(maximum);
    goes_on_with_the_disk(&gateway, &mut ada);
    drop(gateway);
    assert_eq!(read_again(&directory, &ada.told), Vec::<String>::new());
}

#[test]
fn a_disk_that_cannot_be_read_makes_who_joins_wait_and_keeps_nobody_else() {
    let directory = Directory::new();
    let mut gateway = Gateway::within(&directory, &KEEPING);
    let (mut ada, _) = begin(&gateway);
    ada.publish("during");
    ada.until_acked("during");
    gateway.terminate();
    assert!(gateway.wait(SOON).success());
    drop(gateway);
    // Out of the journal, which a start reads, into tables, which are read when somebody asks.
    let compact = command(&["store", "compact", "--data"]).arg(directory.data()).output().unwrap();
    assert!(compact.status.success(), "{compact:?}");
    let gateway = watched(&directory, &[("POWERCUT_READS", "1")]);
    let failing = Failing::begin(&directory.data(), &[Call::Read], Errno::IO.raw_os_error(), "tables").unwrap();
    let token = gateway.token("ada");
    let mut waiting = Client::open(&gateway, "/ws/chat/s");
    waiting.send(
        &json!({ "token": token, "resume": [{ "channel": "chat:s", "epoch": ada.told.acked["during"].0, "seq": 0 }] }),
    );
    assert_eq!(waiting.event()["success"], true);
    assert_eq!(waiting.event()["type"], "connection_established");
    until("the disk is asked", SOON, || failing.count().unwrap() > 0);
    let mut live = Client::join(&gateway, "/ws", &gateway.master_token("cyd"));
    live.subscribe(&["live:a"]);
    live.publish("live:a", "live", &json!({}));
    assert_eq!(live.event_of("ack")["payload"]["id"], "live");
    live.publish("chat:s", "new", &json!({}));
    let refused = live.event_of("nack");
    assert_eq!((&refused["payload"]["id"], &refused["payload"]["code"]), (&json!("new"), &json!("STORE_UNAVAILABLE")));
    assert!(gateway.metric("waystation_store_refused_total", "") > 0);
    assert_eq!(raw::get(&gateway, "GET", "/readyz").status, 200);
    drop(failing);
    let subscribed = waiting.event_of("subscribed");
    assert_eq!(subscribed["payload"]["recovered"], true, "{subscribed}");
    for n in 0..=BEFORE {
        let (event, id) =
            (waiting.event_of("note"), if n < BEFORE { format!("before-{n}") } else { "during".to_owned() });
        assert_eq!((&event["op_id"], event["seq"].as_u64()), (&json!(id), Some(n as u64 + 1)), "{event}");
    }
    live.publish("chat:s", "new", &json!({}));
    assert_eq!(live.event_of("ack")["payload"]["id"], "new");
}
