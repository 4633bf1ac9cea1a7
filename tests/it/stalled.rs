//! A disk that hangs for two seconds: proves on the built program, whose syncs the power-cut shim holds up, that nobody
//! waits for it but who asked for an acknowledgement of what outlives the gateway. Members get their events meanwhile, in
//! channels that are kept and in those that are not, no turn of a shard takes as long, and what is acknowledged afterwards
//! survives a cut of the power. Prints what it measured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use powercut::{Metadata, Stall};
use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, command, until};

/// How long the disk hangs, and how long is measured before it does.
const HANG: Duration = Duration::from_secs(2);
/// What nobody may wait who does not wait for the disk: half of that, since the machine may be busy.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Between two publishes of a channel that is not kept.
const LIVE_EVERY: Duration = Duration::from_millis(1);
/// Between two of one that is: what is published while the disk hangs is less than a connection may be owed answers for.
const KEPT_EVERY: Duration = Duration::from_millis(10);

/// An event on its way: when it left, and when it came.
#[derive(Clone, Copy, Debug)]
struct Way {
    left: Instant,
    came: Instant,
}

/// What one publisher of a channel that is kept saw.
#[derive(Debug, Default)]
struct Seen {
    ways: Vec<Way>,
    /// By operation: epoch and number, and when the answer came.
    acked: BTreeMap<String, (Value, u64, Instant)>,
}

/// A server whose syncs can be held up, and whose calls can be made to fail; with what else the shim is told.
pub(crate) fn watched(directory: &Arc<Directory>, further: &[(&str, &str)]) -> Gateway {
    let data = directory.data();
    // Makes the directory, with its key.
    let token = command(&["token", "--user", "ops", "--data"]).arg(&data).output().unwrap();
    assert!(token.status.success(), "{token:?}");
    powercut::begin(&data).unwrap();
    // The shim is built with this test.
    let shim = std::env::current_exe().unwrap().with_file_name("libpowercut.so");
    let mut command = command(&[]);
    command.env("LD_PRELOAD", shim).env("POWERCUT_DIR", &data).envs(further.iter().copied());
    Gateway::launch(directory, command, &[&KEEPING[..], &["--set", "admin.socket=off"]].concat())
}

/// All that is published is kept in reach of who resumes.
pub(crate) const KEEPING: [&str; 10] = [
    "--shards",
    "2",
    "--limits",
    "unlimited",
    "--set",
    "history.events=10000",
    "--set",
    "history.bytes=60000000",
    "--set",
    "store.window_ms=2",
];

/// Publishes in a channel that is not kept, one event after another, until it is over.
fn live(gateway: &Gateway, number: usize, over: &AtomicBool) -> Vec<Way> {
    let token = gateway.master_token(&format!("live-{number}"));
    let [mut author, mut member] = [(); 2].map(|()| Client::join(gateway, "/ws", &token));
    let channel = format!("live:{number}");
    member.subscribe(&[&channel]);
    let mut ways = Vec::new();
    while !over.load(Relaxed) {
        let left = Instant::now();
        author.send(&json!({ "type": "publish", "payload": { "channel": channel, "type": "note", "payload": {} } }));
        assert_eq!(member.event_of("note")["seq"], ways.len() + 1);
        ways.push(Way { left, came: Instant::now() });
        thread::park_timeout(LIVE_EVERY);
    }
    ways
}

/// Publishes in a channel that is kept, and waits for each event but for no acknowledgement; for those in the end.
fn kept(gateway: &Gateway, number: usize, over: &AtomicBool) -> Seen {
    let channel = format!("chat:kept-{number}");
    let mut author = Client::join(gateway, &format!("/ws/chat/kept-{number}"), &gateway.token("ada"));
    let mut seen = Seen::default();
    let note = |seen: &mut Seen, event: &Value| {
        assert_ne!(event["type"], "nack", "{event}");
        if event["type"] == "ack" {
            let told = &event["payload"];
            let place = (told["epoch"].clone(), told["seq"].as_u64().unwrap(), Instant::now());
            assert!(seen.acked.insert(told["id"].as_str().unwrap().to_owned(), place).is_none(), "{event}");
        }
    };
    while !over.load(Relaxed) {
        let left = Instant::now();
        author.publish(&channel, &operation(seen.ways.len()), &json!({ "text": "x".repeat(512) }));
        loop {
            let event = author.event();
            note(&mut seen, &event);
            if event["type"] == "note" {
                break;
            }
        }
        seen.ways.push(Way { left, came: Instant::now() });
        thread::park_timeout(KEPT_EVERY);
    }
    while seen.acked.len() < seen.ways.len() {
        let event = author.event();
        note(&mut seen, &event);
    }
    seen
}

fn operation(n: usize) -> String {
    format!("op-{n:06}")
}

/// How many turns of all shards took less than each of the bounds, in seconds.
fn turns(gateway: &Gateway) -> Vec<(f64, u64)> {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for line in gateway.metrics().body.lines() {
        let Some((_, rest)) =
            line.strip_prefix("waystation_turn_seconds_bucket{").and_then(|line| line.split_once("le=\""))
        else {
            continue;
        };
        let (bound, count) = rest.split_once("\"} ").unwrap();
        let (bound, count) = (bound.replace("+Inf", "inf").parse().unwrap(), count.parse::<u64>().unwrap());
        match buckets.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, sum)) => *sum += count,
            None => buckets.push((bound, count)),
        }
    }
    assert!(buckets.is_sorted_by(|one, other| one.0 < other.0) && buckets.len() > 10, "{buckets:?}");
    buckets
}

/// Under which bound 99 of 100 turns between two looks were, and all of them.
fn longest(before: &[(f64, u64)], after: &[(f64, u64)]) -> [f64; 2] {
    let counts: Vec<(f64, u64)> = before.iter().zip(after).map(|(one, other)| (other.0, other.1 - one.1)).collect();
    let all = counts.last().unwrap().1;
    assert!(all > 0, "there are turns");
    [all * 99 / 100, all].map(|count| counts.iter().find(|(_, so_far)| *so_far >= count).unwrap().0)
}

/// How many came meanwhile, in what time 99 of 100 of those that left meanwhile did, and the longest.
fn delivery(ways: &[Way], (from, to): (Instant, Instant)) -> (usize, Duration, Duration) {
    let mut took: Vec<Duration> = Vec::new();
    took.extend(ways.iter().filter(|way| from <= way.left && way.left < to).map(|way| way.came - way.left));
    took.sort();
    let came = ways.iter().filter(|way| from <= way.came && way.came < to).count();
    (came, took[(took.len() - 1) * 99 / 100], *took.last().unwrap())
}

/// What all of them saw.
struct Measured {
    lives: Vec<Vec<Way>>,
    keeps: Vec<Seen>,
    /// Of two seconds before the disk hung, and of those in which it did: from when to when.
    before: (Instant, Instant),
    during: (Instant, Instant),
    /// The longest turns of both.
    turns: [[f64; 2]; 2],
}

/// Ends the traffic, also when a test fails.
pub(crate) struct Ending<'a>(pub(crate) &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Lets everybody publish, and has the disk hang after a while.
fn measure(gateway: &Gateway, directory: &Directory) -> Measured {
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let ending = Ending(over);
        let lives = [0, 1, 2, 3].map(|number| scope.spawn(move || live(gateway, number, over)));
        let keeps = [0, 1, 2, 3].map(|number| scope.spawn(move || kept(gateway, number, over)));
        until("all publish", SOON, || gateway.metric("waystation_delivery_seconds_count", "") > 1000);
        let pass = |since: Instant| until("time passes", SOON, || since.elapsed() >= HANG);
        let (start, first) = (Instant::now(), turns(gateway));
        pass(start);
        let stall = Stall::begin(&directory.data()).unwrap();
        until("a sync hangs", SOON, || stall.count().unwrap() > 0);
        let (hangs, second) = (Instant::now(), turns(gateway));
        pass(hangs);
        let (third, ends) = (turns(gateway), Instant::now());
        drop(stall);
        drop(ending);
        Measured {
            lives: lives.into_iter().map(|thread| thread.join().unwrap()).collect(),
            keeps: keeps.into_iter().map(|thread| thread.join().unwrap()).collect(),
            before: (start, hangs),
            during: (hangs, ends),
            turns: [longest(&first, &second), longest(&second, &third)],
        }
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "what was measured stands in a table of the documents")]
fn nobody_waits_for_a_disk_that_hangs_but_who_asked_for_an_acknowledgement() {
    let directory = Directory::new();
    let gateway = watched(&directory, &[]);
    let Measured { lives, keeps, before, during, turns } = measure(&gateway, &directory);
    let kept_ways = keeps.iter().flat_map(|seen| seen.ways.iter().copied()).collect();
    for (what, ways) in [("not kept", lives.concat()), ("kept", kept_ways)] {
        let [before, during] = [before, during].map(|time| delivery(&ways, time));
        println!("delivery, {what}: {before:.3?} before, {during:.3?} while the disk hangs (came, p99, longest)");
    }
    println!("turns: {:?} s before, {:?} s while the disk hangs (p99, longest)", turns[0], turns[1]);
    assert!(turns[1][1] < 1.1, "a turn waited for the disk: {turns:?}");
    for ways in lives.iter().chain(keeps.iter().map(|seen| &seen.ways)) {
        let (came, _, longest) = delivery(ways, during);
        assert!(came > 1 && longest < WAIT_MAX, "{came} came while the disk hung, the slowest in {longest:?}");
    }
    let (hangs, ends) = during;
    for seen in &keeps {
        let meanwhile = seen.ways.iter().enumerate().filter(|(_, way)| hangs <= way.left && way.left < ends);
        for (n, _) in meanwhile {
            let acked = seen.acked[&operation(n)].2;
            assert!(acked >= ends, "acknowledged {:?} before the disk had it", ends - acked);
        }
    }
    drop(gateway);
    powercut::apply(&directory.data(), 0, Metadata::Strict).unwrap();
    let gateway = Gateway::within(&directory, &KEEPING);
    for (number, seen) in keeps.iter().enumerate() {
        read_again(&gateway, number, seen);
    }
}

/// All that was acknowledged is there, once, in its place.
fn read_again(gateway: &Gateway, number: usize, seen: &Seen) {
    let channel = format!("chat:kept-{number}");
    let epoch = &seen.acked[&operation(0)].0;
    let resume = json!([{ "channel": channel, "epoch": epoch, "seq": 0 }]);
    let auth = json!({ "token": gateway.token("ada"), "resume": resume });
    let mut reader = Client::join_with(gateway, &format!("/ws/chat/kept-{number}"), &auth);
    assert_eq!(reader.subscribed["payload"]["recovered"], true, "{}", reader.subscribed);
    for n in 0..seen.ways.len() {
        let (event, (epoch, seq, _)) = (reader.event_of("note"), &seen.acked[&operation(n)]);
        assert_eq!((&event["op_id"], &event["epoch"], &event["seq"]), (&json!(operation(n)), epoch, &json!(seq)));
    }
}
