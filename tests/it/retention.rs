//! How much is kept of which channel, on the built program with its disk: proves that channels of two patterns keep what
//! their rows say in memory and in the store, that a reload trims what lies beyond, open or not, and nothing else, and
//! that it is so after a restart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, command, until};
use crate::keys::put;
use crate::raw;

const EVENTS: u64 = 300;
/// What is retained in the store beyond a bound before it goes.
const SLACK: u64 = 64;

fn config(long: u64, short: u64, memory: u64) -> String {
    format!(
        "[admin]\nloopback = true\n[history]\nmemory_events = {memory}\n\
         [[policy]]\npattern = \"chat:*\"\nevents = {short}\n[[policy]]\npattern = \"chat:long*\"\nevents = {long}\n"
    )
}

struct Kept {
    place: Arc<Directory>,
    file: PathBuf,
    backups: usize,
}

impl Kept {
    fn new(text: &str) -> Self {
        let place = Directory::new();
        let file = place.path().join("gateway.toml");
        put(&file, text.as_bytes(), 0o644);
        Self { place, file, backups: 0 }
    }

    fn start(&self) -> Gateway {
        let file = self.file.to_str().unwrap();
        let own = ["--shards", "2", "--limits", "unlimited", "--set", "store.window_ms=2"];
        Gateway::within(&self.place, &[&["--config", file], &own[..]].concat())
    }

    /// The first event and the last of each channel in the store, without a hole between, as a backup has them: nobody
    /// opens a channel for it.
    fn retained(&mut self) -> BTreeMap<String, (u64, u64)> {
        self.backups += 1;
        let copy = self.place.path().join(format!("copy-{}", self.backups));
        let store = |arguments: &[&str]| {
            let output = command(&[&["store"], arguments].concat()).arg("--data").arg(self.place.data()).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        store(&["backup", copy.to_str().unwrap()]);
        let text = store(&["export", "--set", &format!("store.directory={}", copy.display())]);
        std::fs::remove_dir_all(Path::new(&copy)).unwrap();
        let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let seq = row["seq"].as_u64().unwrap();
            let (_, last) = found.entry(row["channel"].as_str().unwrap().to_owned()).or_insert((seq, seq - 1));
            assert_eq!(*last + 1, seq, "{row}");
            *last = seq;
        }
        found
    }
}

fn fill(gateway: &Gateway, channel: &str) {
    let backend = raw::bearer(&gateway.token_with("svc", &["--role", "service"]));
    for first in (0..EVENTS).step_by(20) {
        let message = |n| json!({ "channel": channel, "type": "note", "payload": { "n": n, "pad": "x".repeat(2000) } });
        let messages: Vec<Value> = (first..first + 20).map(message).collect();
        let answer = raw::send(gateway, ("POST", "/api/batch"), &backend, json!({ "messages": messages }));
        assert!(answer.status == 200 && !answer.body.contains("\"code\""), "{answer:?}");
    }
}

/// Comes back behind an event of a channel's first epoch, and reads to the end.
fn read_from(gateway: &Gateway, channel: &str, epoch: &Value, seq: u64) -> Option<Vec<u64>> {
    let resume = json!([{ "channel": channel, "epoch": epoch, "seq": seq }]);
    let auth = json!({ "token": gateway.token("ada"), "resume": resume });
    let mut client = Client::join_with(gateway, &format!("/ws/chat/{}", channel.trim_start_matches("chat:")), &auth);
    if client.subscribed["payload"]["recovered"] == false {
        assert_eq!(client.subscribed["payload"]["reason"], "trimmed", "{}", client.subscribed);
        return None;
    }
    Some((seq..EVENTS).map(|_| client.event_of("note")["seq"].as_u64().unwrap()).collect())
}

#[test]
fn channels_keep_what_their_rows_say_over_reloads_and_restarts_whether_anybody_opens_them_or_not() {
    let mut kept = Kept::new(&config(10_000, 20, 10));
    let mut gateway = kept.start();
    let mut epochs = BTreeMap::new();
    for channel in ["chat:long-open", "chat:long-shut", "chat:short"] {
        let path = format!("/ws/chat/{}", channel.trim_start_matches("chat:"));
        let ada = Client::join(&gateway, &path, &gateway.token("ada"));
        epochs.insert(channel, ada.subscribed["payload"]["epoch"].clone());
        drop(ada);
        fill(&gateway, channel);
    }
    let bounded = |found: &BTreeMap<String, (u64, u64)>, channel: &str, least: u64, most: u64| {
        let (first, last) = found[channel];
        last == EVENTS && (least..=most).contains(&(last + 1 - first))
    };
    until("what is over the bounds has gone", SOON, || bounded(&kept.retained(), "chat:short", 20, 20 + SLACK));
    let found = kept.retained();
    assert!(["chat:long-open", "chat:long-shut"].iter().all(|name| found[*name] == (1, EVENTS)), "{found:?}");
    // Thirty events of two and a half KB each, and some samples of its own numbers; by default there would be 220.
    // What was not on the disk yet when the last of them came goes with the next sweep.
    until("memory has what it is to have", SOON, || {
        (60_000..250_000).contains(&gateway.metric("waystation_history_bytes", ""))
    });
    let all = Some((1..=EVENTS).collect::<Vec<_>>());
    assert_eq!(read_from(&gateway, "chat:long-open", &epochs["chat:long-open"], 0), all, "the rest is read");

    // A new process, in which nobody opens one of the two, is told of other bounds.
    gateway.terminate();
    assert!(gateway.wait(SOON).success(), "{}", gateway.log());
    gateway = kept.start();
    assert_eq!(read_from(&gateway, "chat:long-open", &epochs["chat:long-open"], 0), all);
    put(&kept.file, config(50, 20, 10).as_bytes(), 0o644);
    gateway.signal(Signal::HUP);
    gateway.until_logged("changed: policy: ");
    until("what lies beyond has gone, of the channel too that nobody has opened", SOON, || {
        let found = kept.retained();
        ["chat:long-open", "chat:long-shut"].iter().all(|name| bounded(&found, name, 50, 50))
    });
    for channel in ["chat:long-open", "chat:long-shut"] {
        // What lies in memory is shown until it is swept.
        until("what lies beyond is not shown any more", SOON, || {
            read_from(&gateway, channel, &epochs[channel], EVENTS - 51).is_none()
        });
        let rest = Some((EVENTS - 49..=EVENTS).collect::<Vec<_>>());
        assert_eq!(read_from(&gateway, channel, &epochs[channel], EVENTS - 50), rest, "{channel}");
    }

    // Narrower bounds of the next start reach what nobody opens then.
    gateway.terminate();
    assert!(gateway.wait(SOON).success(), "{}", gateway.log());
    put(&kept.file, config(7, 20, 10).as_bytes(), 0o644);
    let gateway = kept.start();
    until("the next start's bounds hold", SOON, || {
        let found = kept.retained();
        ["chat:long-open", "chat:long-shut"].iter().all(|name| bounded(&found, name, 7, 7))
    });
    let rest = Some((EVENTS - 6..=EVENTS).collect::<Vec<_>>());
    assert_eq!(read_from(&gateway, "chat:long-shut", &epochs["chat:long-shut"], EVENTS - 7), rest);
}
