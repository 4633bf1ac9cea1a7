//! Channels that outlive the process: what is answered when, what comes after a stop, what is read from the store.

use super::*;
use crate::ledger::{Notice, Refusal, Ticket, Trouble};
use crate::limits::{
    ANSWERS_HELD_MAX, BROWSES_PER_SHARD_MAX, HISTORY_COUNT_DEFAULT, OPENING_BYTES_MAX, OPENING_EVENTS_MAX,
    OPERATION_ID_BYTES_MAX, REPLAY_PAGE_BYTES, REPLAY_PAGE_EVENTS, STORE_RETRY_MS, STORE_STALLED_MS,
    UNCOMMITTED_BYTES_MAX, UNCOMMITTED_RETRIES_MAX, UNCOMMITTED_WRITES_MAX,
};

pub(super) const KEEP: Keep = Keep { count: 100_000, bytes: 1 << 30, age_ms: 1_000_000_000 };

/// A process on what is left on a disk.
pub(super) fn start(disk: Memory, now: Option<Now>, change: impl FnOnce(&mut Options)) -> World {
    let fresh = State { generation: 0, stopped: None, key: [7; 16], id: 42 };
    let store = Model::start(disk, fresh, KEEP).unwrap();
    let key = store.key();
    let unix_ms = now.map_or(0, |now| now.unix_ms);
    let mut world = World::with(|options| {
        options.stores = true;
        options.operations = key;
        // No process has the key of another.
        options.key = [u8::try_from(unix_ms / 1000 % 251).unwrap(); 16];
        change(options);
    });
    world.now.unix_ms = now.map_or(world.now.unix_ms, |now| now.unix_ms + 1000);
    world.store = Some(store);
    world
}

pub(super) fn world() -> World {
    start(Memory::default(), None, |_| {})
}

/// The process ends at once, and another starts.
pub(super) fn crash(world: World, change: impl FnOnce(&mut Options)) -> World {
    let now = world.now;
    start(world.store.unwrap().crash(), Some(now), change)
}

/// A channel that is at home on a shard. Each process has a key of its own.
pub(super) fn at_home_in(world: &World, home: u16) -> String {
    let shards = u16::try_from(world.hosts.len()).unwrap();
    let key = world.hosts[0].0.options.key;
    let mut names = (0..).map(|index| format!("chat:{index}"));
    names.find(|name| crate::route::home(&key, name, shards) == ShardId(home)).unwrap()
}

/// Joins, with a position if there is one. What it hears is what comes after the `subscribe_response`.
pub(super) fn join(world: &mut World, who: Who, channel: &str, since: Option<(&str, u64)>) -> Vec<Value> {
    let mut subscribe = json!({ "type": "subscribe", "channels": [channel] });
    if let Some((epoch, seq)) = since {
        subscribe["since"] = json!({ channel: { "epoch": epoch, "seq": seq } });
    }
    world.say(who, &subscribe.to_string());
    world.heard(who).into_iter().filter(|frame| frame["type"] != "subscribe_response").collect()
}

pub(super) fn epoch_of(heard: &[Value]) -> String {
    of_type(heard, "subscribed")[0]["payload"]["epoch"].as_str().unwrap().to_owned()
}

pub(super) fn acks(frames: &[Value]) -> Vec<(String, u64, bool)> {
    let acks = of_type(frames, "ack").into_iter().map(|ack| &ack["payload"]);
    acks.map(|ack| (ack["id"].as_str().unwrap().to_owned(), ack["seq"].as_u64().unwrap(), ack["duplicate"] == true))
        .collect()
}

pub(super) fn nacks(frames: &[Value]) -> Vec<String> {
    of_type(frames, "nack").into_iter().map(|nack| nack["payload"]["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_event_is_delivered_at_once_and_answered_once_it_is_committed() {
    for shards in [1, 3] {
        let mut world = start(Memory::default(), None, |options| options.shards = shards);
        let (ann, bob) =
            (world.client_on(0, true, "/ws", "ann"), world.client_on(usize::from(shards) - 1, true, "/ws", "bob"));
        join(&mut world, ann, "chat:s", None);
        join(&mut world, bob, "chat:s", None);
        world.commits = false;
        world.say(ann, &publish("chat:s", "1", &json!({ "n": 1 })));
        world.say(ann, &publish("chat:s", "1", &json!({ "n": 1 })));
        let (first, other) = (world.heard(ann), world.heard(bob));
        assert_eq!((seqs(&first, "note"), acks(&first)), (vec![1], vec![]), "{shards}");
        assert_eq!(seqs(&other, "note"), [1]);
        world.commits = true;
        world.run();
        assert_eq!(acks(&world.heard(ann)), [("1".to_owned(), 1, false), ("1".to_owned(), 1, true)]);
        world.say(ann, &publish("chat:s", "1", &json!({ "n": 1 })));
        assert_eq!(acks(&world.heard(ann)), [("1".to_owned(), 1, true)]);
        world.say(ann, &publish("chat:s", "1", &json!({ "n": 2 })));
        assert_eq!(nacks(&world.heard(ann)), ["ID_REUSED"]);
    }
}

#[test]
fn what_is_not_durable_is_answered_at_once() {
    let mut world = world();
    world.commits = false;
    let ann = world.known("/ws", "ann");
    let service = world.upgrade("/ws");
    world.heard(service);
    world.say(ann, &publish("user:ann", "1", &json!({})));
    let heard = world.heard(ann);
    assert!(acks(&heard).len() + nacks(&heard).len() == 1, "{heard:?}");
}

#[test]
fn what_comes_while_a_channel_is_opened_waits_in_order_and_is_bounded() {
    let mut world = world();
    let (ann, bob) = (world.known("/ws", "ann"), world.known("/ws", "bob"));
    world.commits = false;
    assert_eq!(words(&join(&mut world, ann, "chat:s", None)), [""; 0]);
    for id in 0..OPENING_EVENTS_MAX {
        world.say(ann, &publish("chat:s", &id.to_string(), &json!({ "n": id })));
    }
    assert_eq!(nacks(&world.heard(ann)), [""; 0]);
    world.say(bob, &publish("chat:s", "more", &json!({})));
    assert_eq!(nacks(&world.heard(bob)), ["OVERLOADED"]);
    world.commits = true;
    world.run();
    let heard = world.heard(ann);
    assert_eq!(of_type(&heard, "subscribed").len(), 1);
    let expected: Vec<u64> = (1..=OPENING_EVENTS_MAX as u64).collect();
    assert_eq!(seqs(&heard, "note"), expected);
    assert_eq!(acks(&heard).len(), OPENING_EVENTS_MAX);
}

#[test]
fn what_was_acknowledged_is_there_after_a_stop_and_numbers_are_not_used_twice() {
    for shards in [1, 2] {
        let mut world = world();
        let ann = world.known("/ws", "ann");
        let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
        for id in 0..300 {
            world.say(ann, &publish("chat:s", &id.to_string(), &json!({ "n": id })));
        }
        assert_eq!(acks(&world.heard(ann)).len(), 300);
        world.commits = false;
        world.say(ann, &publish("chat:s", "lost", &json!({ "n": "lost" })));
        assert_eq!(seqs(&world.heard(ann), "note"), [301]);

        let mut world = crash(world, |options| options.shards = shards);
        let (ann, bob) = (world.known("/ws", "ann"), world.known("/ws", "bob"));
        // Whoever saw what was not stored is told; whoever saw what was resumes exactly.
        let heard = join(&mut world, ann, "chat:s", Some((&epoch, 301)));
        let told = &of_type(&heard, "subscribed")[0]["payload"];
        assert_eq!((&told["recovered"], &told["reason"]), (&json!(false), &json!("epoch_changed")), "{shards}");
        assert_eq!(seqs(&heard, "note"), (1..=300).collect::<Vec<_>>());
        let heard = join(&mut world, bob, "chat:s", Some((&epoch, 7)));
        assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["recovered"], true);
        assert_eq!(seqs(&heard, "note"), (8..=300).collect::<Vec<_>>());
        assert!(epoch_of(&heard) != epoch);
        // A retry of what was stored is answered with its first, and what was lost is sequenced far away.
        world.say(ann, &publish("chat:s", "299", &json!({ "n": 299 })));
        world.say(ann, &publish("chat:s", "lost", &json!({ "n": "lost" })));
        let heard = world.heard(ann);
        let [(_, 300, true), (_, later, false)] = acks(&heard)[..] else { panic!("{:?}", acks(&heard)) };
        assert!(later > 301);
        assert_eq!(seqs(&heard, "note"), [later]);
        assert_eq!(seqs(&world.heard(bob), "note"), [later]);
    }
}

/// The event of each position comes once, then a live one, wherever the reader is.
fn check_replay(world: &mut World, (ann, at): (Who, usize), epoch: &str, (seq, room): (u64, usize)) {
    let who = world.client_on(at, true, "/ws", "bob");
    world.heard(who);
    world.sockets[who].room = room;
    let mut heard = join(world, who, "chat:s", Some((epoch, seq)));
    world.say(ann, &publish("chat:s", &format!("{at} {seq} {room}"), &json!({ "live": seq })));
    world.open(who, usize::MAX);
    heard.extend(world.heard(who));
    let last = seqs(&world.heard(ann), "note")[0];
    assert_eq!(seqs(&heard, "note"), (seq + 1..=last).collect::<Vec<_>>(), "{at} {seq} {room}");
    assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["recovered"], true);
    let id = world.sockets[who].id;
    world.handle(id.shard.index(), Input::Gone(id));
    world.run();
}

#[test]
fn a_reader_behind_the_history_gets_everything_once_however_long_it_is_and_live_events_after_it() {
    for shards in [1, 2] {
        let mut world = start(Memory::default(), None, |options| options.shards = shards);
        let ann = world.client_on(0, true, "/ws", "ann");
        let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
        let count = 3 * REPLAY_PAGE_EVENTS + 17;
        for id in 0..count {
            world.say(ann, &publish("chat:s", &id.to_string(), &json!({ "n": id })));
        }
        world.heard(ann);
        let kept = count - HISTORY_COUNT_DEFAULT;
        for at in 0..usize::from(shards) {
            for seq in [0, 1, 100, REPLAY_PAGE_EVENTS, kept - 1, kept, count - 1, count] {
                for room in [usize::MAX, 1000] {
                    check_replay(&mut world, (ann, at), &epoch, (seq as u64, room));
                }
            }
        }
        assert_eq!(world.read(Metric::Gaps), 0);
    }
}

#[test]
fn a_store_in_trouble_refuses_what_is_new_and_answers_what_was_sequenced_when_it_is_over() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    join(&mut world, ann, "chat:s", None);
    world.commits = false;
    world.say(ann, &publish("chat:s", "1", &json!({})));
    world.handle(0, Input::Store(Notice::Trouble(Trouble::Full)));
    world.say(ann, &publish("chat:s", "2", &json!({})));
    world.say(ann, &publish("chat:s", "1", &json!({})));
    let heard = world.heard(ann);
    assert_eq!(
        (seqs(&heard, "note"), nacks(&heard), acks(&heard)),
        (vec![1], vec!["STORE_UNAVAILABLE".to_owned()], vec![])
    );
    assert_eq!(world.read(Metric::StoreTrouble), 1);
    world.handle(0, Input::Store(Notice::Working));
    world.commits = true;
    world.run();
    assert_eq!(acks(&world.heard(ann)), [("1".to_owned(), 1, false), ("1".to_owned(), 1, true)]);
    world.say(ann, &publish("chat:s", "2", &json!({})));
    assert_eq!(acks(&world.heard(ann)), [("2".to_owned(), 2, false)]);
}

#[test]
fn a_disk_that_takes_nothing_and_does_not_say_so_refuses_what_is_new_after_its_time() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    join(&mut world, ann, "chat:s", None);
    world.commits = false;
    world.say(ann, &publish("chat:s", "1", &json!({})));
    world.jump(STORE_STALLED_MS - 1);
    world.say(ann, &publish("chat:s", "2", &json!({})));
    assert_eq!(nacks(&world.heard(ann)), [""; 0]);
    assert_eq!(world.read(Metric::StoreTrouble), 0);
    world.jump(1);
    world.say(ann, &publish("chat:s", "3", &json!({})));
    // What was sequenced waits with its retry, what was not is no event.
    world.say(ann, &publish("chat:s", "1", &json!({})));
    let heard = world.heard(ann);
    assert_eq!(
        (nacks(&heard), acks(&heard), seqs(&heard, "note")),
        (vec!["STORE_UNAVAILABLE".to_owned()], vec![], vec![])
    );
    world.wait(1000);
    assert_eq!(world.read(Metric::StoreTrouble), 1);
    world.commits = true;
    world.run();
    let expected =
        [("1", 1, false), ("2", 2, false), ("1", 1, true)].map(|(id, seq, twice)| (id.to_owned(), seq, twice));
    assert_eq!(acks(&world.heard(ann)), expected);
    assert_eq!(world.read(Metric::StoreTrouble), 0);
    world.say(ann, &publish("chat:s", "3", &json!({})));
    assert_eq!(acks(&world.heard(ann)), [("3".to_owned(), 3, false)]);
}

#[test]
fn who_waits_for_a_channel_that_a_disk_does_not_open_in_time_is_refused() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    world.commits = false;
    join(&mut world, ann, "chat:s", None);
    world.say(ann, &publish("chat:s", "1", &json!({})));
    world.wait(STORE_STALLED_MS - 1);
    assert_eq!(nacks(&world.heard(ann)), [""; 0]);
    world.wait(2000);
    assert_eq!(nacks(&world.heard(ann)), ["STORE_UNAVAILABLE"]);
    world.commits = true;
    world.run();
    let heard = world.heard(ann);
    assert_eq!((of_type(&heard, "subscribed").len(), seqs(&heard, "note")), (1, vec![]));
    world.say(ann, &publish("chat:s", "1", &json!({})));
    assert_eq!(acks(&world.heard(ann)), [("1".to_owned(), 1, false)]);
}

/// Bytes of the payload of a large event.
const LARGE: usize = 60_000;

fn publish_large(world: &mut World, who: Who, id: usize) -> Vec<Value> {
    world.say(who, &publish("chat:s", &id.to_string(), &json!({ "pad": "x".repeat(LARGE) })));
    world.heard(who)
}

/// Connections of one user that may be owed so many answers together. Only the first is in the channel.
fn authors(world: &mut World, answers: usize) -> Vec<Who> {
    let count = answers.div_ceil(ANSWERS_HELD_MAX);
    let authors: Vec<Who> = (0..count).map(|_| world.known("/ws", "ann")).collect();
    join(world, authors[0], "chat:s", None);
    authors
}

#[test]
fn who_waits_for_the_disk_with_so_many_answers_is_read_later() {
    for (home, count, paused) in [
        (0, ANSWERS_HELD_MAX - 1, 0),
        (0, ANSWERS_HELD_MAX, 0),
        (0, ANSWERS_HELD_MAX + 1, 1),
        (1, ANSWERS_HELD_MAX, 0),
        (1, ANSWERS_HELD_MAX + 1, 1),
    ] {
        let mut world = start(Memory::default(), None, |options| options.shards = 2);
        let channel = at_home_in(&world, home);
        let ann = world.client_on(0, true, "/ws", "ann");
        join(&mut world, ann, &channel, None);
        world.commits = false;
        for id in 0..count {
            world.say(ann, &publish(&channel, &id.to_string(), &json!({})));
        }
        assert_eq!(
            (world.read(Metric::AnswersFull), world.sockets[ann].reads),
            (paused, paused == 0),
            "{home} {count}"
        );
        world.commits = true;
        world.run();
        let acked: Vec<u64> = acks(&world.heard(ann)).into_iter().map(|(_, seq, _)| seq).collect();
        assert_eq!(acked, (1..=count as u64).collect::<Vec<_>>(), "{home} {count}: every one, in order");
        assert!(world.sockets[ann].reads && world.is_open(ann));
    }
}

#[test]
fn who_sends_much_at_once_is_not_cut_for_answers_that_the_disk_gives_at_once() {
    for (home, opened) in [(0, true), (0, false), (1, true), (1, false)] {
        let mut world = start(Memory::default(), None, |options| options.shards = 2);
        let channel = at_home_in(&world, home);
        let ann = world.client_on(0, true, "/ws", "ann");
        if opened {
            join(&mut world, ann, &channel, None);
        }
        world.commits = false;
        // Its socket takes nothing for the moment; the first answer is taken up by a write.
        world.sockets[ann].room = 0;
        world.say(ann, r#"{"type":"ping"}"#);
        let count = 8 * ANSWERS_HELD_MAX;
        for id in 0..count {
            let id = format!("{id:0>OPERATION_ID_BYTES_MAX$}");
            world.put(ann, &text(&publish(&channel, &id, &json!({}))));
        }
        world.run();
        world.commits = true;
        world.run();
        assert!(world.is_open(ann), "{home} {opened}");
        world.open(ann, usize::MAX);
        assert_eq!(acks(&world.heard(ann)).len(), count, "{home} {opened}");
    }
}

#[test]
fn bytes_that_are_not_on_the_disk_are_bounded_and_what_follows_is_refused() {
    let mut world = world();
    let count = UNCOMMITTED_BYTES_MAX / LARGE;
    let authors = authors(&mut world, count + 2);
    world.commits = false;
    let author = |id: usize| authors[id / ANSWERS_HELD_MAX];
    let taken = (0..=count).take_while(|id| nacks(&publish_large(&mut world, author(*id), *id)).is_empty()).count();
    // Beside its payload an event has its user, its ids, its type and its time.
    assert!(taken <= count && taken >= UNCOMMITTED_BYTES_MAX / (LARGE + 300), "{taken}");
    assert_eq!(nacks(&publish_large(&mut world, author(count + 1), count + 1)), ["OVERLOADED"]);
    world.commits = true;
    world.run();
    assert_eq!(authors.iter().map(|who| acks(&world.heard(*who)).len()).sum::<usize>(), taken);
    assert_eq!(acks(&publish_large(&mut world, author(count + 1), count + 1)).len(), 1);
}

#[test]
fn events_that_are_not_on_the_disk_are_bounded_and_what_follows_is_refused() {
    let mut world = world();
    let authors = authors(&mut world, UNCOMMITTED_WRITES_MAX + 1);
    world.commits = false;
    for id in 0..=UNCOMMITTED_WRITES_MAX {
        let author = authors[id / ANSWERS_HELD_MAX];
        world.say(author, &publish("chat:s", &id.to_string(), &json!({})));
        let refused = nacks(&world.heard(author)).len();
        assert_eq!(refused, usize::from(id == UNCOMMITTED_WRITES_MAX), "{id}");
    }
    world.commits = true;
    world.run();
    let ann = authors[0];
    world.heard(ann);
    world.say(ann, &publish("chat:s", "more", &json!({})));
    assert_eq!(acks(&world.heard(ann)).len(), 1);
}

#[test]
fn bytes_that_wait_for_a_channel_to_be_opened_are_bounded() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    world.commits = false;
    join(&mut world, ann, "chat:s", None);
    let fits = OPENING_BYTES_MAX / LARGE;
    for id in 0..=fits {
        let refused = nacks(&publish_large(&mut world, ann, id));
        assert_eq!(refused.len(), usize::from(id == fits), "{id}");
    }
    world.commits = true;
    world.run();
    assert_eq!(acks(&world.heard(ann)).len(), fits);
}

#[test]
fn retries_of_what_is_not_on_the_disk_are_bounded() {
    let mut world = world();
    let authors = authors(&mut world, UNCOMMITTED_RETRIES_MAX + 2);
    world.commits = false;
    for retry in 0..=UNCOMMITTED_RETRIES_MAX + 1 {
        let author = authors[retry / ANSWERS_HELD_MAX];
        world.say(author, &publish("chat:s", "1", &json!({})));
        let refused = nacks(&world.heard(author)).len();
        assert_eq!(refused, usize::from(retry > UNCOMMITTED_RETRIES_MAX), "{retry}");
    }
    world.commits = true;
    world.run();
    let answered: Vec<_> = authors.iter().flat_map(|who| acks(&world.heard(*who))).collect();
    let again = answered.iter().filter(|(_, seq, duplicate)| (*seq, *duplicate) == (1, true)).count();
    assert_eq!((answered.len(), again), (UNCOMMITTED_RETRIES_MAX + 1, UNCOMMITTED_RETRIES_MAX));
}

#[test]
fn a_channel_that_the_store_did_not_open_is_asked_for_again_after_its_time() {
    let mut world = world();
    world.commits = false;
    let ann = world.known("/ws", "ann");
    join(&mut world, ann, "chat:s", None);
    world.say(ann, &publish("chat:s", "1", &json!({})));
    let refusal = Refusal::Failed("for this test".to_owned());
    // Nothing was asked for before it.
    world.handle(0, Input::Store(Notice::Opened(Ticket(1), Err(refusal))));
    world.run();
    world.say(ann, &publish("chat:s", "2", &json!({})));
    assert_eq!(nacks(&world.heard(ann)), ["STORE_UNAVAILABLE"; 2]);
    world.commits = true;
    world.wait(STORE_RETRY_MS - 1);
    assert_eq!(words(&world.heard(ann)), [""; 0]);
    world.wait(STORE_RETRY_MS + 1000);
    assert_eq!(of_type(&world.heard(ann), "subscribed").len(), 1);
    world.say(ann, &publish("chat:s", "2", &json!({})));
    assert_eq!(acks(&world.heard(ann)), [("2".to_owned(), 1, false)]);
}

#[test]
fn a_stretch_has_so_many_bytes_and_the_next_one_goes_on() {
    let mut world = start(Memory::default(), None, |options| options.retention.count = 1);
    let ann = world.known("/ws", "ann");
    let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
    let count = 5 * REPLAY_PAGE_BYTES / LARGE;
    (0..count).for_each(|id| assert_eq!(acks(&publish_large(&mut world, ann, id)).len(), 1));
    let bob = world.known("/ws", "bob");
    let heard = join(&mut world, bob, "chat:s", Some((&epoch, 0)));
    assert_eq!(seqs(&heard, "note"), (1..=count as u64).collect::<Vec<_>>());
    let pages = world.read(Metric::ReplayPages);
    assert!((5..=7).contains(&pages), "{pages}");
}

/// What a request for a part of the history is answered.
pub(super) fn history(world: &mut World, who: Who, params: &Value) -> Value {
    world.say(
        who,
        &json!({ "type": "request", "payload": { "id": "h", "method": "history", "params": params } }).to_string(),
    );
    let heard = world.heard(who);
    of_type(&heard, "response")[0]["payload"].clone()
}

/// Pages of 70 until there is no more: their positions in the order in which they came.
fn page_through(world: &mut World, who: Who, reverse: bool) -> Vec<u64> {
    let mut found: Vec<u64> = Vec::new();
    loop {
        let mut params = json!({ "channel": "chat:s", "limit": 70, "reverse": reverse });
        if let Some(last) = found.last() {
            params[if reverse { "until" } else { "since" }] = json!(if reverse { last - 1 } else { *last });
        }
        let page = history(world, who, &params)["result"].clone();
        let events = page["events"].as_array().unwrap();
        assert!(events.len() <= 70 && events.iter().all(|event| event["epoch"].is_string()), "{page}");
        found.extend(events.iter().map(|event| event["seq"].as_u64().unwrap()));
        if page["more"] == false {
            return found;
        }
    }
}

#[test]
fn a_history_is_paged_through_both_ways_from_the_store_and_what_is_not_on_the_disk_yet() {
    for shards in [1, 2] {
        let mut world = start(Memory::default(), None, |options| options.shards = shards);
        let ann = world.client_on(0, true, "/ws", "ann");
        let count = HISTORY_COUNT_DEFAULT as u64 * 3;
        for id in 0..count {
            world.say(ann, &publish("chat:s", &id.to_string(), &json!({ "n": id })));
        }
        world.commits = false;
        world.say(ann, &publish("chat:s", "late", &json!({ "n": "late" })));
        let (onwards, backwards) = (page_through(&mut world, ann, false), page_through(&mut world, ann, true));
        assert_eq!(onwards, (1..=count + 1).collect::<Vec<_>>(), "{shards}");
        assert_eq!(backwards, (1..=count + 1).rev().collect::<Vec<_>>(), "{shards}");

        // What was committed is there after a stop, although nobody has been in the channel since.
        let mut world = crash(world, |options| options.shards = shards);
        let bob = world.client_on(0, true, "/ws", "bob");
        assert_eq!(page_through(&mut world, bob, false), (1..=count).collect::<Vec<_>>(), "{shards}");
        assert_eq!(page_through(&mut world, bob, true), (1..=count).rev().collect::<Vec<_>>(), "{shards}");
    }
}

#[test]
fn parts_of_histories_that_wait_for_the_store_are_bounded() {
    let mut world = world();
    world.commits = false;
    let asks =
        json!({ "type": "request", "payload": { "id": "h", "method": "history", "params": { "channel": "chat:s" } } });
    let (mut waiting, mut refused) = (Vec::new(), 0);
    while waiting.len() < BROWSES_PER_SHARD_MAX + 1 {
        let who = world.known("/ws", &format!("u{}", waiting.len()));
        world.say(who, &asks.to_string());
        refused += of_type(&world.heard(who), "response").len();
        waiting.push(who);
        assert_eq!(refused, usize::from(waiting.len() > BROWSES_PER_SHARD_MAX), "{}", waiting.len());
    }
    world.commits = true;
    world.run();
    for who in waiting.iter().take(BROWSES_PER_SHARD_MAX) {
        assert_eq!(of_type(&world.heard(*who), "response")[0]["payload"]["result"]["events"], json!([]));
    }
}

#[test]
fn an_acknowledgement_of_an_event_from_before_a_stop_counts_and_outlives_the_next_one() {
    for shards in [1, 2] {
        let mut world = world();
        let service = world.upgrade("/ws");
        let token = token_with("service", LATER_S, json!({ "role": "service" }));
        let client = json!({ "name": "test", "version": "1" });
        world.say(service, &json!({ "type": "auth", "token": token, "client": client }).to_string());
        for id in 0..3 {
            world.say(service, &publish("notifications:ann", &id.to_string(), &json!({ "n": id })));
        }
        assert_eq!(acks(&world.heard(service)).len(), 3);
        for expected in [vec![1, 2, 3], vec![3]] {
            world = crash(world, |options| options.shards = shards);
            let ann = world.client_on(0, true, "/ws", "ann");
            let heard = join(&mut world, ann, "notifications:ann", None);
            assert_eq!(seqs(&heard, "note"), expected, "{shards}");
            let epoch = &of_type(&heard, "note")[0]["epoch"];
            let place = json!({ "channel": "notifications:ann", "epoch": epoch, "seq": 2 });
            world.say(ann, &json!({ "type": "ack", "payload": place }).to_string());
        }
    }
}

#[test]
fn who_publishes_to_a_channel_that_was_not_opened_has_it_asked_for_again() {
    let mut world = world();
    world.commits = false;
    let service = world.upgrade("/ws");
    let token = token_with("service", LATER_S, json!({ "role": "service" }));
    let client = json!({ "name": "test", "version": "1" });
    world.say(service, &json!({ "type": "auth", "token": token, "client": client }).to_string());
    world.say(service, &publish("notifications:ann", "1", &json!({})));
    let refusal = Refusal::Failed("for this test".to_owned());
    world.handle(0, Input::Store(Notice::Opened(Ticket(1), Err(refusal))));
    world.run();
    world.commits = true;
    world.say(service, &publish("notifications:ann", "1", &json!({})));
    assert_eq!(nacks(&world.heard(service)), ["STORE_UNAVAILABLE"; 2]);
    world.wait(STORE_RETRY_MS);
    world.say(service, &publish("notifications:ann", "1", &json!({})));
    assert_eq!(acks(&world.heard(service)), [("1".to_owned(), 1, false)]);
}
