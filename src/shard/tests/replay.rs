//! What lies behind a channel's history while it moves: it goes, is erased, is another's before it was read, or cannot be
//! read at all.

use super::erasing::{erase, publish_some};
use super::keeping::{KEEP, acks, epoch_of, history, join, nacks, start, world};
use super::*;
use crate::ledger::Space;
use crate::limits::{
    HISTORY_COUNT_DEFAULT, REPLAY_PAGES_PER_CHANNEL, REPLAY_READS_PER_TURN, REPLAYS_WANTED_PER_CHANNEL_MAX,
    STORE_RETRY_MS,
};
use crate::shard::message::outside::Reply;

fn gone(world: &mut World, who: Who) {
    let id = world.sockets[who].id;
    world.handle(id.shard.index(), Input::Gone(id));
    world.run();
}

#[test]
fn who_waits_for_a_stretch_of_which_nothing_is_retained_any_more_is_told_so() {
    // The store keeps less than the shards remember, so all that lies behind the history is gone.
    for shards in [1, 2] {
        let mut world = start(Memory::default(), None, |options| {
            options.shards = shards;
        });
        world.store.as_mut().unwrap().set_bounds(Keep { count: 1, ..KEEP });
        let ann = world.client_on(0, true, "/ws", "ann");
        let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
        let count = 3 * HISTORY_COUNT_DEFAULT as u64;
        publish_some(&mut world, ann, 1..=count);
        for at in 0..usize::from(shards) {
            let bob = world.client_on(at, true, "/ws", "bob");
            let heard = join(&mut world, bob, "chat:s", Some((&epoch, 5)));
            let told = &of_type(&heard, "subscribed")[0]["payload"];
            assert_eq!((&told["recovered"], &told["reason"]), (&json!(false), &json!("trimmed")), "{shards} {at}");
            let kept = count - HISTORY_COUNT_DEFAULT as u64;
            assert_eq!(seqs(&heard, "note"), (kept + 1..=count).collect::<Vec<_>>(), "{shards} {at}");
        }
    }
}

#[test]
fn a_stretch_of_a_channel_that_was_forgotten_is_nothing_to_the_one_in_its_place() {
    let mut world = start(Memory::default(), None, |options| options.shards = 2);
    let key = world.hosts[0].0.options.key;
    let home = crate::route::home(&key, "chat:s", 2).index();
    let mut others = (0..).map(|index| format!("chat:{index}"));
    let other = others.find(|name| crate::route::home(&key, name, 2).index() == home).unwrap();
    let ann = world.client_on(home, true, "/ws", "ann");
    let count = 2 * HISTORY_COUNT_DEFAULT as u64;
    let mut epochs = Vec::new();
    for channel in ["chat:s", &other] {
        epochs.push(epoch_of(&join(&mut world, ann, channel, None)));
        (0..count).for_each(|id| world.say(ann, &publish(channel, &id.to_string(), &json!({ "n": id }))));
        assert_eq!(acks(&world.heard(ann)).len() as u64, count);
    }
    world.reads = false;
    let bob = world.client_on(1 - home, true, "/ws", "bob");
    assert_eq!(words(&join(&mut world, bob, "chat:s", Some((&epochs[0], 0)))), [""; 0]);
    gone(&mut world, bob);
    let cid = world.client_on(1 - home, true, "/ws", "cid");
    assert_eq!(words(&join(&mut world, cid, &other, Some((&epochs[1], 0)))), [""; 0]);
    // One after the other, so that what the first brings is looked at before the second comes.
    for (shard, notice) in world.store.as_mut().unwrap().serve() {
        world.handle(shard.index(), Input::Store(notice));
        world.run();
    }
    world.reads = true;
    world.run();
    let heard = world.heard(cid);
    assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["recovered"], true);
    assert_eq!((seqs(&heard, "note"), of_type(&heard, "gap").len()), ((1..=count).collect::<Vec<_>>(), 0));
}

#[test]
fn readers_at_many_places_are_served_in_turn_and_what_is_asked_for_is_bounded() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
    let readers = REPLAYS_WANTED_PER_CHANNEL_MAX as u64 + REPLAY_PAGES_PER_CHANNEL as u64 + 3;
    let count = readers + HISTORY_COUNT_DEFAULT as u64;
    publish_some(&mut world, ann, 1..=count);
    world.heard(ann);
    world.reads = false;
    let mut bobs = Vec::new();
    // Each is behind those before it, so that no stretch that is wanted brings it what it waits for.
    for seq in (0..readers).rev() {
        let bob = world.known("/ws", &format!("u{seq}"));
        assert_eq!(words(&join(&mut world, bob, "chat:s", Some((&epoch, seq)))), [""; 0]);
        bobs.push((seq, bob));
    }
    let reads = world.hosts[0].0.keeping.as_ref().unwrap().reads.len();
    assert_eq!(reads, REPLAY_PAGES_PER_CHANNEL);
    world.reads = true;
    world.run();
    for (seq, bob) in bobs {
        let heard = world.heard(bob);
        assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["recovered"], true, "{seq}");
        assert_eq!(seqs(&heard, "note"), (seq + 1..=count).collect::<Vec<_>>(), "{seq}");
    }
}

#[test]
fn a_turn_makes_frames_of_so_many_stored_events_and_the_other_stretches_wait_in_their_order() {
    let mut world = start(Memory::default(), None, |options| options.held.count = 1);
    let ann = world.known("/ws", "ann");
    let channels: Vec<String> = (0..8).map(|index| format!("chat:{index}")).collect();
    let count = (REPLAY_READS_PER_TURN / 4 + 8) as u64;
    let mut epochs = Vec::new();
    for channel in &channels {
        epochs.push(epoch_of(&join(&mut world, ann, channel, None)));
        (0..count).for_each(|id| world.say(ann, &publish(channel, &id.to_string(), &json!({ "n": id }))));
        assert_eq!(acks(&world.heard(ann)).len() as u64, count);
    }
    world.reads = false;
    let mut bobs = Vec::new();
    for (channel, epoch) in channels.iter().zip(&epochs) {
        let bob = world.known("/ws", &format!("u{channel}"));
        assert_eq!(words(&join(&mut world, bob, channel, Some((epoch, 0)))), [""; 0]);
        bobs.push(bob);
    }
    for (shard, notice) in world.store.as_mut().unwrap().serve() {
        world.handle(shard.index(), Input::Store(notice));
    }
    // Each has a quarter of a turn's events, and some more.
    assert_eq!(world.read(Metric::ReplayPages), 4);
    let (shard, effects) = &mut world.hosts[0];
    assert!(!shard.fan_out(world.now, false, effects), "the rest is one turn's");
    world.run();
    assert_eq!(world.read(Metric::ReplayPages), channels.len() as u64);
    for bob in bobs {
        let heard = world.heard(bob);
        assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["recovered"], true);
        assert_eq!(seqs(&heard, "note"), (1..=count).collect::<Vec<_>>());
    }
}

#[test]
fn readers_that_are_close_to_each_other_share_their_stretches() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
    let count = 3 * HISTORY_COUNT_DEFAULT as u64;
    publish_some(&mut world, ann, 1..=count);
    world.reads = false;
    let bobs: Vec<Who> = (0..20).map(|index| world.known("/ws", &format!("u{index}"))).collect();
    for (seq, bob) in bobs.iter().enumerate() {
        join(&mut world, *bob, "chat:s", Some((&epoch, seq as u64)));
    }
    world.reads = true;
    world.run();
    for (seq, bob) in bobs.into_iter().enumerate() {
        assert_eq!(seqs(&world.heard(bob), "note"), (seq as u64 + 1..=count).collect::<Vec<_>>());
    }
    assert_eq!(world.read(Metric::ReplayPages), 1);
}

#[test]
fn what_was_read_before_an_erasure_and_comes_after_it_is_not_given_out() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    publish_some(&mut world, ann, 1..=2 * HISTORY_COUNT_DEFAULT as u64);
    world.heard(ann);
    world.reads = false;
    let params = json!({ "channel": "chat:s" });
    let request = json!({ "type": "request", "payload": { "id": "h", "method": "history", "params": params } });
    world.say(ann, &request.to_string());
    let read = world.store.as_mut().unwrap().serve();
    assert_eq!(read.len(), 1);
    assert_eq!(erase(&mut world, "chat:s"), Ok(Reply::Erased));
    for (shard, notice) in read {
        world.handle(shard.index(), Input::Store(notice));
    }
    world.reads = true;
    world.run();
    let heard = world.heard(ann);
    let page = of_type(&heard, "response")[0]["payload"]["result"].clone();
    assert_eq!(page["events"], json!([]), "{page}");
}

#[test]
fn what_was_read_before_an_erasure_is_lost_to_members_too() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
    let count = 2 * HISTORY_COUNT_DEFAULT as u64;
    publish_some(&mut world, ann, 1..=count);
    world.reads = false;
    let bob = world.known("/ws", "bob");
    join(&mut world, bob, "chat:s", Some((&epoch, 0)));
    let read = world.store.as_mut().unwrap().serve();
    assert_eq!((read.len(), erase(&mut world, "chat:s")), (1, Ok(Reply::Erased)));
    for (shard, notice) in read {
        world.handle(shard.index(), Input::Store(notice));
    }
    world.reads = true;
    world.run();
    let heard = world.heard(bob);
    assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["reason"], "trimmed");
    assert_eq!(seqs(&heard, "note"), [0; 0]);
}

#[test]
fn who_joins_again_is_told_the_oldest_event_that_can_be_read() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    join(&mut world, ann, "chat:s", None);
    publish_some(&mut world, ann, 1..=2 * HISTORY_COUNT_DEFAULT as u64);
    world.heard(ann);
    let heard = join(&mut world, ann, "chat:s", None);
    assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["oldest_seq"], 1);
    assert_eq!(history(&mut world, ann, &json!({ "channel": "chat:s" }))["result"]["oldest_seq"], 1);
}

/// Twice twenty events: an author's own, which it is not to get, and another's, too large for all of them to be kept.
fn exclude_and_publish(world: &mut World, (author, other): (Who, Who)) {
    for id in 0..20 {
        let mut own = serde_json::from_str::<Value>(&publish("chat:s", &id.to_string(), &json!({}))).unwrap();
        own["exclude_sender"] = json!(true);
        world.say(author, &own.to_string());
        world.say(other, &publish("chat:s", &id.to_string(), &json!({ "pad": "x".repeat(30_000) })));
    }
}

/// It has got all of the other's events, and none of its own.
fn check_excluded(world: &mut World, author: Who, more: &[u64]) {
    let heard = world.heard(author);
    let others: Vec<u64> = (1..=20).map(|index| index * 2).chain(more.iter().copied()).collect();
    assert_eq!((seqs(&heard, "note"), of_type(&heard, "gap").len()), (others, 0));
    assert!(world.read(Metric::ReplayPages) > 0);
}

#[test]
fn an_author_that_reads_from_the_store_does_not_get_what_it_excluded_itself_from() {
    for at in [0, 1] {
        let mut world = start(Memory::default(), None, |options| (options.shards, options.retention.count) = (2, 3));
        let home = crate::route::home(&world.hosts[0].0.options.key, "chat:s", 2).index();
        let ann = world.client_on((home + at) % 2, true, "/ws", "ann");
        let bob = world.client_on(home, true, "/ws", "bob");
        join(&mut world, ann, "chat:s", None);
        world.sockets[ann].room = 0;
        exclude_and_publish(&mut world, (ann, bob));
        world.open(ann, usize::MAX);
        check_excluded(&mut world, ann, &[]);
    }
}

#[test]
fn an_author_on_a_shard_that_fell_behind_the_history_does_not_get_what_it_excluded_itself_from() {
    let mut world = start(Memory::default(), None, |options| (options.shards, options.retention.count) = (2, 3));
    let home = crate::route::home(&world.hosts[0].0.options.key, "chat:s", 2).index();
    let (ann, bob) = (world.client_on(1 - home, true, "/ws", "ann"), world.client_on(home, true, "/ws", "bob"));
    join(&mut world, ann, "chat:s", None);
    let follower = ShardId(u16::try_from(1 - home).unwrap());
    world.hosts[home].1.set_congested(follower, true);
    exclude_and_publish(&mut world, (ann, bob));
    world.hosts[home].1.set_congested(follower, false);
    // What a follower is owed it is fed with the next thing that happens.
    publish_some(&mut world, bob, 20..=20);
    check_excluded(&mut world, ann, &[41]);
}

#[test]
fn an_author_that_comes_back_to_a_channel_does_not_get_what_it_excluded_itself_from() {
    for at in [0, 1] {
        let mut world = start(Memory::default(), None, |options| (options.shards, options.retention.count) = (2, 3));
        let home = crate::route::home(&world.hosts[0].0.options.key, "chat:s", 2).index();
        let ann = world.client_on((home + at) % 2, true, "/ws", "ann");
        let bob = world.client_on(home, true, "/ws", "bob");
        let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
        exclude_and_publish(&mut world, (ann, bob));
        world.say(ann, &json!({ "type": "unsubscribe", "channels": ["chat:s"] }).to_string());
        world.heard(ann);
        // Its shard has given the channel up, and follows it anew.
        let heard = join(&mut world, ann, "chat:s", Some((&epoch, 0)));
        let others: Vec<u64> = (1..=20).map(|index| index * 2).collect();
        assert_eq!((seqs(&heard, "note"), of_type(&heard, "gap").len()), (others, 0), "{at}");
    }
}

#[test]
fn who_joins_a_channel_of_which_the_store_cannot_read_where_it_stands_is_told_on_every_shard() {
    let two = |options: &mut Options| options.shards = 2;
    let mut world = start(Memory::default(), None, two);
    let ann = world.client_on(0, true, "/ws", "ann");
    world.say(ann, &publish("chat:s", "1", &json!({})));
    let mut disk = world.store.take().unwrap().crash();
    let is_line = |value: &[u8]| memchr::memmem::find(value, b"chat:s").is_some();
    let lines = disk.records().filter(|(space, _, value)| *space == Space::Rows && is_line(value));
    let lines: Vec<Vec<u8>> = lines.map(|(_, key, _)| key.to_vec()).collect();
    assert!(!lines.is_empty());
    for line in lines {
        disk.damage(Space::Rows, &line, |value| value[12] ^= 1);
    }
    let mut world = start(disk, Some(world.now), two);
    let people = [0, 1].map(|shard| world.client_on(shard, true, "/ws", "ann"));
    for _ in 0..2 {
        for who in people {
            world.say(who, &subscribe(&["chat:s".to_owned()]));
        }
        world.say(people[0], &publish("chat:s", "2", &json!({})));
        // Asked for again only after its time.
        world.wait(STORE_RETRY_MS + 2000);
        for who in people {
            let heard = world.heard(who);
            let told = of_type(&heard, "unsubscribed");
            assert_eq!(told.len(), 1, "{:?}", words(&heard));
            assert_eq!(told[0]["payload"], json!({ "channel": "chat:s", "reason": "store_unavailable" }));
            assert_eq!(nacks(&heard).len(), usize::from(who == people[0]));
        }
        assert_eq!(world.read(Metric::Memberships), 0);
    }
    // Other channels are what they were.
    assert_eq!(of_type(&join(&mut world, people[1], "chat:t", None), "subscribed").len(), 1);
}
