//! What an erased user leaves behind: numbers, and nothing that was said.

use super::consumers::{ack, pattern};
use super::keeping::{acks, at_home_in, crash, epoch_of, history, join, start, world};
use super::service::service;
use super::*;
use crate::code::ErrorCode;
use crate::ledger::{Notice, Refusal, Spot, Trouble};
use crate::limits::{BROWSES_PER_SHARD_MAX, FORGET_EVENTS_PER_TURN, SWEEP_SLOTS_MAX};
use crate::shard::message::outside::{Ask, Reply, Round, Traces};

/// Goes through all shards.
pub(super) fn in_memory(world: &mut World, user: &str, round: Round) -> Traces {
    let mut sum = Traces::default();
    for shard in 0..world.hosts.len() {
        let mut place = Some(0);
        while let Some(from) = place {
            let reply = world.ask(shard, Ask::Forget { user: Arc::from(user), from, round });
            let Ok(Reply::Forgotten { traces, next }) = reply else { panic!("{reply:?}") };
            sum.add(traces);
            place = next;
        }
    }
    sum
}

/// Goes through the store.
fn in_store(world: &mut World, user: &str) -> Traces {
    let (mut sum, mut spot) = (Traces::default(), Some(Spot::BEGIN));
    while let Some(from) = spot {
        let reply = world.ask(0, Ask::ForgetStored { user: Arc::from(user), from });
        let Ok(Reply::ForgottenStored(found)) = reply else { panic!("{reply:?}") };
        sum.add(Traces { events: found.events, operations: found.operations, cursors: found.cursors });
        spot = found.next;
    }
    sum
}

/// All of it.
fn forget(world: &mut World, user: &str) -> Traces {
    let mut sum = in_memory(world, user, Round::First);
    sum.add(in_store(world, user));
    sum.add(in_memory(world, user, Round::Last));
    sum
}

/// Ann and Bob take turns.
fn converse(world: &mut World, (ann, bob): (Who, Who), channel: &str, ids: std::ops::RangeInclusive<u64>) {
    for id in ids {
        let who = if id % 2 == 0 { ann } else { bob };
        world.say(who, &publish(channel, &id.to_string(), &json!({ "said": id })));
    }
}

/// Type, seq and whether something is said, of each event of a history.
fn told(page: &Value) -> Vec<(String, u64, bool)> {
    let events = page["events"].as_array().unwrap().iter();
    let one = |event: &Value| {
        let text = event.to_string();
        assert_eq!(event["type"] == "erased", !text.contains("said") && !text.contains("\"ann\""), "{event}");
        (event["type"].as_str().unwrap().to_owned(), event["seq"].as_u64().unwrap(), event.get("user_id").is_some())
    };
    events.map(one).collect()
}

fn expected(ids: std::ops::RangeInclusive<u64>) -> Vec<(String, u64, bool)> {
    ids.map(|id| if id % 2 == 0 { ("erased".to_owned(), id, false) } else { ("note".to_owned(), id, true) }).collect()
}

#[test]
fn readers_pass_over_an_erased_users_events_without_a_gap_on_every_shard_stored_or_not() {
    for (shards, stored) in [(1, false), (2, false), (1, true), (2, true)] {
        let case = format!("{shards} {stored}");
        let mut world = if stored {
            start(Memory::default(), None, |options| options.shards = shards)
        } else {
            World::with(|options| options.shards = shards)
        };
        let last = usize::from(shards) - 1;
        let (ann, bob) = (world.client_on(0, true, "/ws", "ann"), world.client_on(last, true, "/ws", "bob"));
        let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
        join(&mut world, bob, "chat:s", None);
        // More than the memory keeps, so that the oldest are read from the store.
        let count = if stored { 300 } else { 60 };
        converse(&mut world, (ann, bob), "chat:s", 1..=count);
        world.heard(ann);
        world.heard(bob);
        world.sockets[bob].room = 0;
        converse(&mut world, (ann, bob), "chat:s", count + 1..=count + 4);
        let sum = forget(&mut world, "ann");
        assert_eq!(sum.events, count / 2 + 2, "{case}");
        assert!(sum.operations > 0, "{case}");
        assert_eq!(forget(&mut world, "ann"), Traces::default(), "{case}: asked again");
        // Who was slow gets every number.
        world.open(bob, usize::MAX);
        let heard = world.heard(bob);
        assert!(of_type(&heard, "gap").is_empty(), "{case}: {:?}", words(&heard));
        for (who, at) in [("cid", 0), ("dora", last)] {
            let who = world.client_on(at, true, "/ws", who);
            let heard = join(&mut world, who, "chat:s", Some((&epoch, 0)));
            assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["recovered"], true, "{case}");
            assert!(of_type(&heard, "gap").is_empty(), "{case}");
            let mut seqs: Vec<u64> = seqs(&heard, "note");
            seqs.extend(super::seqs(&heard, "erased"));
            seqs.sort_unstable();
            assert_eq!(seqs, (1..=count + 4).collect::<Vec<_>>(), "{case}");
            let page = history(&mut world, who, &json!({ "channel": "chat:s", "limit": 50 }))["result"].clone();
            assert_eq!(told(&page), expected(1..=50), "{case}");
        }
        // Who flies flat is shown nothing, and what the user publishes from then on is an event like any other.
        world.say(ann, &publish("chat:s", "2", &json!({ "said": 2 })));
        assert_eq!(acks(&world.heard(ann)).last(), Some(&("2".to_owned(), count + 5, false)), "{case}");
    }
}

#[test]
fn what_is_erased_stays_so_after_a_stop_and_the_numbers_go_on() {
    let mut world = world();
    let (ann, bob) = (world.known("/ws", "ann"), world.known("/ws", "bob"));
    let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
    converse(&mut world, (ann, bob), "chat:s", 1..=10);
    converse(&mut world, (ann, bob), "chat:t", 1..=10);
    // A channel that nobody has open is found on the disk.
    let mut world = crash(world, |_| {});
    let bob = world.known("/ws", "bob");
    join(&mut world, bob, "chat:s", None);
    assert_eq!(forget(&mut world, "ann").events, 10);
    let mut world = crash(world, |_| {});
    let bob = world.known("/ws", "bob");
    let heard = join(&mut world, bob, "chat:s", Some((&epoch, 0)));
    assert_eq!((seqs(&heard, "note"), seqs(&heard, "erased")), (vec![1, 3, 5, 7, 9], vec![2, 4, 6, 8, 10]));
    let page = history(&mut world, bob, &json!({ "channel": "chat:t" }))["result"].clone();
    assert_eq!(told(&page), expected(1..=10));
}

#[test]
fn what_a_user_publishes_while_it_is_erased_stays_in_memory_and_on_the_disk() {
    for shards in [1, 2] {
        let last = usize::from(shards) - 1;
        let mut world = start(Memory::default(), None, |options| options.shards = shards);
        let (ann, bob) = (world.client_on(0, true, "/ws", "ann"), world.client_on(last, true, "/ws", "bob"));
        let say = |world: &mut World, id: &str| {
            world.say(ann, &publish("chat:s", id, &json!({ "said": id })));
            acks(&world.heard(ann)).last().cloned().unwrap()
        };
        let shown = |world: &mut World, who: Who| -> Vec<(u64, String)> {
            let page = history(world, who, &json!({ "channel": "chat:s" }))["result"].clone();
            let events = page["events"].as_array().unwrap().iter();
            events.map(|event| (event["seq"].as_u64().unwrap(), event["type"].to_string())).collect()
        };
        let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
        join(&mut world, bob, "chat:s", None);
        say(&mut world, "before");
        in_memory(&mut world, "ann", Round::First);
        assert_eq!(say(&mut world, "during"), ("during".to_owned(), 2, false));
        in_store(&mut world, "ann");
        assert_eq!(say(&mut world, "late"), ("late".to_owned(), 3, false));
        assert_eq!(in_memory(&mut world, "ann", Round::Last), Traces::default());
        // Whoever reads it, now and after a stop, is shown the same, and a retry does not double it.
        let expected = [(1, "\"erased\""), (2, "\"note\""), (3, "\"note\"")].map(|(seq, kind)| (seq, kind.to_owned()));
        for who in [ann, bob] {
            assert_eq!(shown(&mut world, who), expected, "{shards}");
        }
        for id in ["during", "late"] {
            assert!(say(&mut world, id).2, "{shards} {id}");
        }
        let mut world = crash(world, |options| options.shards = shards);
        let ann = world.client_on(0, true, "/ws", "ann");
        let heard = join(&mut world, ann, "chat:s", Some((&epoch, 0)));
        assert_eq!((seqs(&heard, "erased"), seqs(&heard, "note")), (vec![1], vec![2, 3]), "{shards}");
        assert_eq!(shown(&mut world, ann), expected, "{shards}");
        for (id, seq) in [("during", 2), ("late", 3)] {
            assert_eq!(say(&mut world, id), (id.to_owned(), seq, true), "{shards}");
        }
        // What was erased is not known any more.
        assert!(!say(&mut world, "before").2, "{shards}");
    }
}

#[test]
fn what_a_shard_that_follows_has_of_the_time_behind_its_homes_pass_stays_there_too() {
    for stored in [false, true] {
        let change = |options: &mut Options| options.shards = 2;
        let mut world = if stored { start(Memory::default(), None, change) } else { World::with(change) };
        let (ann, bob) = (world.client_on(0, true, "/ws", "ann"), world.client_on(1, true, "/ws", "bob"));
        let channel = at_home_in(&world, 0);
        for who in [ann, bob] {
            join(&mut world, who, &channel, None);
        }
        world.say(ann, &publish(&channel, "before", &json!({ "said": 1 })));
        world.heard(bob);
        world.sockets[bob].room = 0;
        world.say(bob, r#"{"type":"ping"}"#);
        // The shards are asked at the same time, and nothing says which of them is first.
        let ask = || Ask::Forget { user: Arc::from("ann"), from: 0, round: Round::First };
        assert!(world.ask(0, ask()).is_ok());
        world.say(ann, &publish(&channel, "during", &json!({ "said": 2 })));
        assert!(world.ask(1, ask()).is_ok());
        world.open(bob, usize::MAX);
        let heard = world.heard(bob);
        assert_eq!((seqs(&heard, "note"), seqs(&heard, "erased")), (vec![2], vec![]), "{stored}");
        // Whoever joins there reads the same as at home.
        for at in [0, 1] {
            let who = world.client_on(at, true, "/ws", "cid");
            let page = join(&mut world, who, &channel, Some(("00000000000000aa", 0)));
            assert_eq!((seqs(&page, "erased"), seqs(&page, "note")), (vec![1], vec![2]), "{stored} {at}");
        }
    }
}

#[test]
fn what_an_opening_has_read_before_the_store_erased_it_goes_and_what_comes_then_stays() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    join(&mut world, ann, "chat:s", None);
    world.say(ann, &publish("chat:s", "1", &json!({ "said": 1 })));
    let mut world = crash(world, |_| {});
    assert_eq!(in_memory(&mut world, "ann", Round::First), Traces::default(), "nothing is open");
    let ann = world.known("/ws", "ann");
    join(&mut world, ann, "chat:s", None);
    world.say(ann, &publish("chat:s", "1", &json!({ "said": 1 })));
    world.say(ann, &publish("chat:s", "2", &json!({ "said": 2 })));
    let told: Vec<(String, bool)> = acks(&world.heard(ann)).into_iter().map(|(id, _, again)| (id, again)).collect();
    assert_eq!(told, [("1".to_owned(), true), ("2".to_owned(), false)]);
    assert_eq!(in_store(&mut world, "ann"), Traces { events: 1, operations: 1, cursors: 0 });
    in_memory(&mut world, "ann", Round::Last);
    world.say(ann, &publish("chat:s", "2", &json!({ "said": 2 })));
    world.say(ann, &publish("chat:s", "1", &json!({ "said": 1 })));
    let told: Vec<(String, bool)> = acks(&world.heard(ann)).into_iter().map(|(id, _, again)| (id, again)).collect();
    assert_eq!(told, [("2".to_owned(), true), ("1".to_owned(), false)]);
}

/// Makes a shard that has place for two channels forget one of them.
fn crowd_out(world: &mut World, who: Who, channel: &str) {
    for id in 0..10 {
        if world.hosts[0].0.rooms.find(channel).is_none() {
            return;
        }
        let other = format!("chat:other-{id}");
        world.say(who, &publish(&other, &other, &json!({})));
    }
    panic!("{channel} is still there");
}

#[test]
fn what_comes_behind_the_first_round_stays_however_often_its_channel_is_forgotten_meanwhile() {
    // Whether the channel is opened again before the store goes through it, and forgotten once more.
    for (opened, forgotten) in [(false, false), (true, false), (true, true)] {
        let case = format!("{opened} {forgotten}");
        let mut world = start(Memory::default(), None, |options| options.channels_max = 2);
        let (ann, bob) = (world.known("/ws", "ann"), world.known("/ws", "bob"));
        let say = |world: &mut World, id: &str| {
            world.say(ann, &publish("chat:a", id, &json!({ "said": id })));
            acks(&world.heard(ann)).last().cloned().unwrap()
        };
        let during = ("during".to_owned(), 2, true);
        say(&mut world, "before");
        in_memory(&mut world, "ann", Round::First);
        assert!(!say(&mut world, "during").2);
        crowd_out(&mut world, bob, "chat:a");
        if opened {
            assert_eq!(say(&mut world, "during"), during, "{case}");
        }
        if forgotten {
            crowd_out(&mut world, bob, "chat:a");
        }
        assert_eq!(in_store(&mut world, "ann").events, 1, "{case}");
        assert_eq!(say(&mut world, "during"), during, "{case}");
        in_memory(&mut world, "ann", Round::Last);
        for _ in 0..2 {
            assert_eq!(say(&mut world, "during"), during, "{case}: the last round");
            crowd_out(&mut world, bob, "chat:a");
        }
        assert_eq!(say(&mut world, "before").1, 3, "{case}: it is not known any more");
        let page = history(&mut world, bob, &json!({ "channel": "chat:a" }))["result"].clone();
        assert_eq!(told_kinds(&page), ["erased", "note", "note"], "{case}");
        // Another erasure takes it.
        assert_eq!(forget(&mut world, "ann").events, 2, "{case}");
    }
}

#[test]
fn what_is_acknowledged_behind_the_first_round_stays_so_where_its_channel_is_forgotten_meanwhile() {
    let mut world = start(Memory::default(), None, |options| options.channels_max = 2);
    let (author, bob) = (service(&mut world, 0, "author"), world.known("/ws", "bob"));
    let owed = |world: &mut World, acknowledges: bool| {
        let who = service(world, 0, "svc");
        let heard = join(world, who, "notifications:zoe", None);
        if acknowledges {
            ack(world, who, of_type(&heard, "note").last().unwrap());
        }
        let gone = world.sockets[who].id;
        world.handle(0, Input::Gone(gone));
        world.run();
        seqs(&heard, "note")
    };
    owed(&mut world, false);
    world.say(author, &publish("notifications:zoe", "1", &json!({})));
    in_memory(&mut world, "svc", Round::First);
    world.say(author, &publish("notifications:zoe", "2", &json!({})));
    assert_eq!(owed(&mut world, true), [1, 2]);
    crowd_out(&mut world, bob, "notifications:zoe");
    assert_eq!(owed(&mut world, false), [0; 0]);
    assert_eq!(in_store(&mut world, "svc").cursors, 0);
    in_memory(&mut world, "svc", Round::Last);
    assert_eq!(owed(&mut world, false), [0; 0]);
    let mut world = crash(world, |_| {});
    assert_eq!(owed(&mut world, false), [0; 0]);
}

#[test]
fn what_an_opening_has_read_goes_also_if_it_is_told_behind_the_last_round() {
    let mut world = world();
    let (author, reader) = (service(&mut world, 0, "author"), service(&mut world, 0, "svc"));
    join(&mut world, reader, "notifications:zoe", None);
    for id in ["1", "2"] {
        world.say(author, &publish("notifications:zoe", id, &json!({})));
    }
    let heard = world.heard(reader);
    ack(&mut world, reader, of_type(&heard, "note")[0]);
    let mut world = crash(world, |_| {});
    for user in ["svc", "author"] {
        in_memory(&mut world, user, Round::First);
    }
    // The store has opened the channel, and the shard does not look what it says yet.
    let (author, reader) = (service(&mut world, 0, "author"), service(&mut world, 0, "svc"));
    world.commits = false;
    world.say(reader, &subscribe(&["notifications:zoe".to_owned()]));
    let unix_ms = world.now.unix_ms;
    let held = world.store.as_mut().unwrap().commit(usize::MAX, unix_ms);
    assert!(held.iter().any(|(_, notice)| matches!(notice, Notice::Opened(..))), "{held:?}");
    world.commits = true;
    assert_eq!(in_store(&mut world, "svc").cursors, 1);
    assert_eq!(in_store(&mut world, "author").operations, 2);
    for user in ["svc", "author"] {
        in_memory(&mut world, user, Round::Last);
        in_memory(&mut world, user, Round::Last);
    }
    assert_eq!(world.hosts[0].0.keeping.as_ref().unwrap().late.len(), 2);
    world.heard(reader);
    for (shard, notice) in held {
        world.handle(shard.index(), Input::Store(notice));
    }
    world.run();
    let heard = world.heard(reader);
    assert_eq!(seqs(&heard, "erased"), [1, 2], "nothing is known of what it had acknowledged");
    world.say(author, &publish("notifications:zoe", "1", &json!({})));
    let told: Vec<(String, bool)> = acks(&world.heard(author)).into_iter().map(|(id, _, again)| (id, again)).collect();
    assert_eq!(told, [("1".to_owned(), false)], "nor of what it had sent");
    assert!(world.hosts[0].0.keeping.as_ref().unwrap().late.is_empty());
}

#[test]
fn a_channel_that_is_being_opened_while_the_memory_is_gone_through_keeps_what_comes_then() {
    let mut world = start(Memory::default(), None, |options| options.channels_max = 2);
    let (ann, bob) = (world.known("/ws", "ann"), world.known("/ws", "bob"));
    world.say(ann, &publish("chat:a", "before", &json!({ "said": 1 })));
    crowd_out(&mut world, bob, "chat:a");
    world.commits = false;
    world.say(ann, &publish("chat:a", "during", &json!({ "said": 2 })));
    let unix_ms = world.now.unix_ms;
    let held = world.store.as_mut().unwrap().commit(usize::MAX, unix_ms);
    assert!(held.iter().any(|(_, notice)| matches!(notice, Notice::Opened(..))), "{held:?}");
    world.commits = true;
    in_memory(&mut world, "ann", Round::First);
    for (shard, notice) in held {
        world.handle(shard.index(), Input::Store(notice));
    }
    world.run();
    assert_eq!(acks(&world.heard(ann)).last(), Some(&("during".to_owned(), 2, false)));
    crowd_out(&mut world, bob, "chat:a");
    assert_eq!(in_store(&mut world, "ann").events, 1);
    in_memory(&mut world, "ann", Round::Last);
    world.say(ann, &publish("chat:a", "during", &json!({ "said": 2 })));
    assert_eq!(acks(&world.heard(ann)).last(), Some(&("during".to_owned(), 2, true)));
}

#[test]
fn a_users_cursors_go_and_other_users_keep_theirs() {
    let mut world = world();
    let author = service(&mut world, 0, "author");
    for user in ["svc", "ops"] {
        let who = service(&mut world, 0, user);
        join(&mut world, who, "notifications:zoe", None);
        world.say(author, &publish("notifications:zoe", user, &json!({})));
        let heard = world.heard(who);
        ack(&mut world, who, of_type(&heard, "note").last().unwrap());
    }
    let owed = |world: &mut World, user: &str| {
        let who = service(world, 0, user);
        seqs(&join(world, who, "notifications:zoe", None), "note")
    };
    assert_eq!((owed(&mut world, "svc"), owed(&mut world, "ops")), (vec![2], vec![]));
    assert_eq!(forget(&mut world, "svc").cursors, 1);
    for _ in 0..2 {
        assert_eq!((owed(&mut world, "svc"), owed(&mut world, "ops")), (vec![1, 2], vec![]));
        world = crash(world, |_| {});
    }
}

#[test]
fn who_follows_many_channels_is_told_once_and_only_where_the_user_spoke_anybody_is_stirred() {
    let mut world = World::with(|options| options.shards = 2);
    let (ann, bob) = (world.client_on(0, true, "/ws", "ann"), world.client_on(1, true, "/ws", "bob"));
    let names = (0..).map(|index| format!("chat:{index}"));
    let key = world.hosts[0].0.options.key;
    let names: Vec<String> = names.filter(|name| crate::route::home(&key, name, 2) == ShardId(0)).take(50).collect();
    for name in &names {
        join(&mut world, bob, name, None);
        world.say(bob, &publish(name, name, &json!({})));
    }
    world.say(ann, &publish(&names[7], "1", &json!({ "said": 1 })));
    world.heard(bob);
    let ask = Ask::Forget { user: Arc::from("ann"), from: 0, round: Round::First };
    world.handle(0, Input::Mesh(ShardId::OUTSIDE, super::outside::question(1, ask)));
    let told: Vec<&MeshMessage> = world.hosts[0]
        .1
        .list
        .iter()
        .filter_map(|effect| if let Effect::Mesh(_, message) = effect { Some(message) } else { None })
        .collect();
    assert!(
        matches!(told[..], [MeshMessage::Forget(all), MeshMessage::Fence(_)] if all.1.len() == 50),
        "{}",
        told.len()
    );
    assert_eq!(world.hosts[0].0.line.len(), 1, "nobody else is looked after");
    world.apply(0);
    assert_eq!(world.hosts[1].0.line.len(), 1);
    world.run();
    let dora = world.client_on(1, true, "/ws", "dora");
    join(&mut world, dora, &names[7], None);
    let page = history(&mut world, dora, &json!({ "channel": names[7] }))["result"].clone();
    assert_eq!(told_kinds(&page), ["note", "erased"]);
}

#[test]
fn an_erasure_is_answered_when_shards_that_follow_have_taken_it_too() {
    let mut world = World::with(|options| options.shards = 3);
    let (ann, bob) = (world.client_on(0, true, "/ws", "ann"), world.client_on(1, true, "/ws", "bob"));
    let key = world.hosts[0].0.options.key;
    let name = (0..).map(|index| format!("chat:{index}")).find(|name| crate::route::home(&key, name, 3) == ShardId(0));
    let name = name.unwrap();
    join(&mut world, bob, &name, None);
    world.say(ann, &publish(&name, "1", &json!({ "said": 1 })));
    world.heard(bob);
    let asks =
        [Ask::Forget { user: Arc::from("ann"), from: 0, round: Round::First }, Ask::Erase(Arc::from(name.as_str()))];
    for (ticket, ask) in (1..).zip(asks) {
        world.handle(0, Input::Mesh(ShardId::OUTSIDE, super::outside::question(ticket, ask)));
        let effects = &world.hosts[0].1.list;
        let is_fence = |effect: &&Effect| matches!(effect, Effect::Mesh(ShardId(1), MeshMessage::Fence(_)));
        assert_eq!(effects.iter().filter(is_fence).count(), 1, "who follows is asked, nobody else: {effects:?}");
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Answer(_))), "{effects:?}");
        world.apply(0);
        assert!(world.answered.is_empty(), "what has come there is not known here yet");
        world.run();
        let answered = world.answered.pop().unwrap();
        assert!(answered.ticket == ticket && answered.outcome.is_ok(), "{answered:?}");
        assert!(world.answered.is_empty());
    }
}

#[test]
fn so_many_answers_wait_for_other_shards_and_the_next_is_refused() {
    let mut world = World::with(|options| options.shards = 2);
    let bob = world.client_on(1, true, "/ws", "bob");
    let key = world.hosts[0].0.options.key;
    let name = (0..).map(|index| format!("chat:{index}")).find(|name| crate::route::home(&key, name, 2) == ShardId(0));
    join(&mut world, bob, &name.unwrap(), None);
    for ticket in 0..=BROWSES_PER_SHARD_MAX {
        let ask = Ask::Forget { user: Arc::from("ann"), from: 0, round: Round::First };
        world.handle(0, Input::Mesh(ShardId::OUTSIDE, super::outside::question(ticket as u64, ask)));
        let refused = world.hosts[0].1.list.iter().filter(|effect| matches!(effect, Effect::Answer(_))).count();
        assert_eq!(refused, usize::from(ticket == BROWSES_PER_SHARD_MAX));
    }
    world.run();
    let outcomes = world.answered.iter().map(|answered| answered.outcome.is_ok());
    assert_eq!(outcomes.filter(|is_ok| *is_ok).count(), BROWSES_PER_SHARD_MAX);
    world.answered.clear();
    let ask = Ask::Forget { user: Arc::from("ann"), from: 0, round: Round::First };
    assert!(world.ask(0, ask).is_ok(), "there is room again");
}

fn told_kinds(page: &Value) -> Vec<&str> {
    page["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn a_users_cursor_in_a_channel_that_was_forgotten_goes_too() {
    for stored in [false, true] {
        let change = |options: &mut Options| options.channels_max = 2;
        let mut world = if stored { start(Memory::default(), None, change) } else { World::with(change) };
        let author = world.client_on(0, true, "/ws", "author");
        let consumer = service(&mut world, 0, "svc");
        world.say(consumer, &pattern("chat:*", Some("g")));
        world.say(author, &publish("chat:a", "1", &json!({})));
        let heard = world.heard(consumer);
        ack(&mut world, consumer, of_type(&heard, "note")[0]);
        // What is not acknowledged any more is owed to the group.
        world.say(author, &publish("chat:a", "2", &json!({})));
        let gone = world.sockets[consumer].id;
        world.handle(0, Input::Gone(gone));
        world.run();
        for name in ["chat:b", "chat:c"] {
            world.say(author, &publish(name, name, &json!({})));
        }
        let known = |world: &World| world.hosts[0].0.debts["chat:a"].service.cursors.len();
        assert_eq!((world.read(Metric::ChannelsEvicted), known(&world)), (1, usize::from(!stored)));
        assert_eq!(forget(&mut world, "svc").cursors, u64::from(!stored), "{stored}");
        assert_eq!(known(&world), 0, "{stored}");
    }
}

#[test]
fn a_portion_in_memory_has_so_many_channels_or_events_and_waits_for_what_is_sequenced() {
    let mut world = World::with(|options| {
        options.retention.count = 2 * FORGET_EVENTS_PER_TURN;
        options.retention.bytes = usize::MAX;
    });
    let ann = world.known("/ws", "ann");
    for id in 0..=SWEEP_SLOTS_MAX {
        world.say(ann, &publish(&format!("chat:{id}"), "1", &json!({})));
    }
    let ask = |from| Ask::Forget { user: Arc::from("ann"), from, round: Round::First };
    let Ok(Reply::Forgotten { traces, next }) = world.ask(0, ask(0)) else { panic!("no portion") };
    assert_eq!((traces.events, next), (u64::from(SWEEP_SLOTS_MAX), Some(SWEEP_SLOTS_MAX)));
    for id in 0..FORGET_EVENTS_PER_TURN {
        world.say(ann, &publish("chat:0", &format!("more-{id}"), &json!({})));
    }
    let Ok(Reply::Forgotten { next, .. }) = world.ask(0, ask(0)) else { panic!("no portion") };
    assert_eq!(next, Some(1), "one channel is as much as there may be");

    let mut world = super::keeping::world();
    let ann = world.known("/ws", "ann");
    join(&mut world, ann, "chat:s", None);
    world.commits = false;
    world.say(ann, &publish("chat:s", "1", &json!({})));
    world.handle(0, Input::Mesh(ShardId::OUTSIDE, super::outside::question(1, ask(0))));
    world.run();
    assert!(world.answered.is_empty(), "the store has not got it");
    world.commits = true;
    world.run();
    assert!(matches!(world.answered.pop().unwrap().outcome, Ok(Reply::Forgotten { .. })));
    // Nothing is begun while the store is in trouble.
    world.handle(0, Input::Store(Notice::Trouble(Trouble::Failing)));
    assert_eq!(world.ask(0, ask(0)), Err(ErrorCode::StoreUnavailable));
    let stored = || Ask::ForgetStored { user: Arc::from("ann"), from: Spot::BEGIN };
    assert_eq!(world.ask(0, stored()), Err(ErrorCode::StoreUnavailable));
    world.handle(0, Input::Store(Notice::Working));
    // A portion that the store could not look through is told.
    world.commits = false;
    world.handle(0, Input::Mesh(ShardId::OUTSIDE, super::outside::question(2, stored())));
    let asked = *world.hosts[0].0.keeping.as_ref().unwrap().forgets.keys().next().unwrap();
    world.handle(0, Input::Store(Notice::Forgotten(asked, Err(Refusal::Failed("for this test".to_owned())))));
    world.run();
    assert_eq!(world.answered.pop().unwrap().outcome, Err(ErrorCode::StoreUnavailable));
}

#[test]
fn nothing_is_written_of_who_never_said_anything() {
    let mut world = world();
    let home = crate::route::home(&world.hosts[0].0.options.key, "notifications:ghost", 1);
    assert_eq!(world.ask(home.index(), Ask::Erase("notifications:ghost".into())), Ok(Reply::Erased));
    assert_eq!(forget(&mut world, "ghost"), Traces::default());
    world.run();
    let disk = world.store.unwrap().crash();
    let mut all = disk.records();
    assert!(all.all(|(_, key, value)| [key, value].iter().all(|text| memchr::memmem::find(text, b"ghost").is_none())));
}
