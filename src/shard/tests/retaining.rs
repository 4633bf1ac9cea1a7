//! How much is kept of which channel: by rows, in memory and in the store, and after other rules came.

use super::keeping::{epoch_of, history, join, start};
use super::rules::{policy, row};
use super::*;
use crate::auth::{Extent, PolicyRow};
use crate::limits::{
    DELIVER_LOOKS_PER_TURN, HISTORY_COUNT_DEFAULT, HISTORY_FORGET_PER_EVENT, HISTORY_MEMORY_BYTES_DEFAULT,
    HISTORY_MEMORY_COUNT_DEFAULT, RETAIN_EVENTS_PER_TURN,
};
use crate::room::history::Retention;
use crate::shard::retaining::{bounds_of, retention_of};

fn keeps(pattern: &str, count: usize) -> PolicyRow {
    PolicyRow { extent: Extent { count: Some(count), ..Extent::default() }, ..row(pattern) }
}

/// Publishes so many events to a channel.
fn fill(world: &mut World, who: Who, channel: &str, count: usize) {
    for id in 0..count {
        world.say(who, &publish(channel, &format!("{channel} {} {id}", world.now.micros), &json!({ "n": id })));
    }
    world.heard(who);
}

/// Events of a channel in a shard's memory.
fn held(world: &World, host: usize, channel: &str) -> usize {
    let rooms = &world.hosts[host].0.rooms;
    rooms.at(rooms.find(channel).unwrap()).unwrap().history.len()
}

#[test]
fn each_channel_keeps_what_its_rows_say_and_the_others_the_usual() {
    for shards in [1, 2] {
        let mut world = World::with(|options| {
            options.shards = shards;
            options.policy = policy(&[keeps("chat:*", 5), keeps("chat:long*", 200), keeps("system:stats", 1)]);
            options.retention.count = 20;
        });
        let (ann, bob) =
            (world.client_on(0, true, "/ws", "ann"), world.client_on(usize::from(shards) - 1, true, "/ws", "bob"));
        for (channel, expected) in [("chat:a", 5), ("chat:long", 200), ("trip:a", 20)] {
            join(&mut world, ann, channel, None);
            join(&mut world, bob, channel, None);
            fill(&mut world, ann, channel, 250);
            world.heard(bob);
            // The home and whoever follows it.
            for host in 0..usize::from(shards) {
                assert_eq!(held(&world, host, channel), expected, "{channel} on {host} of {shards}");
            }
            let cid = world.client_on(0, true, "/ws", "cid");
            let page = history(&mut world, cid, &json!({ "channel": channel, "limit": 500 }))["result"].clone();
            assert_eq!(page["events"].as_array().unwrap().len(), expected, "{channel}");
        }
        let shard = &world.hosts[0].0;
        let usual = Retention { count: 20, ..Retention::default() };
        assert_eq!(retention_of(&shard.options.policy, usual, "chat:long"), Retention { count: 200, ..usual });
    }
}

#[test]
fn of_a_stored_channel_so_much_is_held_in_memory_and_the_rest_is_read() {
    for (count, bytes, expected) in [(7, usize::MAX, 7), (1000, 2000, 5), (1000, usize::MAX, 60)] {
        for shards in [1, 2] {
            let mut world = start(Memory::default(), None, |options| {
                options.shards = shards;
                (options.held.count, options.held.bytes) = (count, bytes);
                options.policy =
                    policy(&[keeps("chat:*", 60), PolicyRow { durable: Some(false), ..keeps("trip:*", 60) }]);
            });
            let ann = world.client_on(0, true, "/ws", "ann");
            let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
            fill(&mut world, ann, "chat:s", 80);
            let home = crate::route::home(&world.hosts[0].0.options.key, "chat:s", shards).index();
            let here = held(&world, home, "chat:s");
            assert!(here == expected || bytes == 2000 && (3..=8).contains(&here), "{here} of {count}, {bytes}");
            let bob = world.client_on(usize::from(shards) - 1, true, "/ws", "bob");
            let heard = join(&mut world, bob, "chat:s", Some((&epoch, 20)));
            assert_eq!(seqs(&heard, "note"), (21..=80).collect::<Vec<_>>(), "{count} {bytes} {shards}");
            // What is in no store is in memory, all that is kept of it.
            join(&mut world, ann, "trip:a", None);
            fill(&mut world, ann, "trip:a", 80);
            let home = crate::route::home(&world.hosts[0].0.options.key, "trip:a", shards).index();
            assert_eq!(held(&world, home, "trip:a"), 60);
        }
    }
    let held = Options::embedded([0; 16], crate::auth::Verifier::default()).held;
    assert_eq!((held.count, held.bytes), (HISTORY_MEMORY_COUNT_DEFAULT, HISTORY_MEMORY_BYTES_DEFAULT));
}

#[test]
fn other_rules_forget_what_lies_beyond_them_and_nothing_else() {
    let mut world = World::with(|options| options.policy = policy(&[keeps("chat:a*", 50)]));
    let ann = world.known("/ws", "ann");
    for channel in ["chat:a", "chat:b"] {
        join(&mut world, ann, channel, None);
        fill(&mut world, ann, channel, 90);
    }
    let kept = |world: &World| (held(world, 0, "chat:a"), held(world, 0, "chat:b"));
    assert_eq!(kept(&world), (50, 90));
    // Rows that say the same change nothing; where what they say is for others it does.
    world.rules(0, 2, |rules| rules.policy = policy(&[row("trip:*"), keeps("chat:a*", 50)]));
    world.wait(1000);
    assert_eq!(kept(&world), (50, 90));
    world.rules(0, 3, |rules| rules.policy = policy(&[keeps("chat:a", 60), keeps("chat:b", 40)]));
    world.wait(1000);
    assert_eq!(kept(&world), (50, 40), "though nothing happens there");
    fill(&mut world, ann, "chat:a", 30);
    assert_eq!(kept(&world), (60, 40));
    world.rules(0, 4, |rules| {
        rules.policy = policy(&[]);
        rules.retention.count = 10;
    });
    // At its next event, or when it is its turn.
    fill(&mut world, ann, "chat:b", 1);
    assert_eq!(kept(&world), (60, 10));
    world.wait(1000);
    assert_eq!(kept(&world), (10, 10));
    let bytes =
        world.hosts[0].0.rooms.find("chat:a").map_or(0, |id| world.hosts[0].0.rooms.at(id).unwrap().history.bytes());
    assert!(bytes > 0 && world.read(Metric::HistoryBytes) >= bytes as u64);
}

#[test]
fn rules_that_come_while_channels_are_settled_by_others_wait_for_the_end_of_that() {
    let mut world = World::new();
    let ann = world.known("/ws", "ann");
    let count = DELIVER_LOOKS_PER_TURN as usize + 10;
    for channel in (0..count).map(|n| format!("chat:{n}")) {
        world.say(ann, &publish(&channel, "1", &json!({})));
        world.say(ann, &publish(&channel, "2", &json!({})));
        world.say(ann, &publish(&channel, "3", &json!({})));
    }
    let keeping =
        |world: &World, most: usize| (0..count).filter(|n| held(world, 0, &format!("chat:{n}")) <= most).count();
    let set = |world: &mut World, generation, keep| {
        world.rules(0, generation, |rules| rules.retention = Retention { count: keep, ..rules.retention });
    };
    set(&mut world, 2, 2);
    world.jump(0);
    assert_eq!(keeping(&world, 2), DELIVER_LOOKS_PER_TURN as usize, "some in a turn");
    // Twice, so that a byte that only says which of two would take the last for the first.
    set(&mut world, 3, 3);
    set(&mut world, 4, 1);
    world.jump(0);
    assert_eq!((keeping(&world, 2), keeping(&world, 1)), (count, 0));
    world.wait(1000);
    assert_eq!(keeping(&world, 1), count);
}

#[test]
fn so_many_events_are_forgotten_for_other_bounds_in_a_turn_and_the_rest_in_the_next() {
    let all = Retention { count: 2 * RETAIN_EVENTS_PER_TURN, bytes: usize::MAX, ..Retention::default() };
    let mut world = World::with(|options| options.retention = all);
    let ann = world.known("/ws", "ann");
    fill(&mut world, ann, "chat:a", RETAIN_EVENTS_PER_TURN + 11);
    fill(&mut world, ann, "chat:b", 20);
    world.rules(0, 2, |rules| rules.retention.count = 1);
    let kept = |world: &World| (held(world, 0, "chat:a"), held(world, 0, "chat:b"));
    assert_eq!(kept(&world), (RETAIN_EVENTS_PER_TURN + 11, 20));
    world.jump(0);
    assert_eq!(kept(&world), (11, 20), "one channel has more than a turn forgets");
    world.jump(0);
    assert_eq!(kept(&world), (1, 1));
    // By its age as well.
    world.rules(0, 3, |rules| rules.retention = Retention { age_ms: 1000, ..all });
    world.now.micros += 1000;
    fill(&mut world, ann, "chat:a", RETAIN_EVENTS_PER_TURN + 11);
    let mut most = 0;
    let mut before = held(&world, 0, "chat:a");
    while before > 0 {
        world.jump(100);
        let now = held(&world, 0, "chat:a");
        (most, before) = (most.max(before - now), now);
    }
    assert_eq!(most, RETAIN_EVENTS_PER_TURN);
    world.wait(2000);
    assert_eq!(world.read(Metric::HistoryBytes), 0);
}

#[test]
fn an_event_makes_so_many_older_ones_go_and_the_rest_goes_with_the_next() {
    let mut world = World::with(|options| options.retention.count = 1000);
    let ann = world.known("/ws", "ann");
    fill(&mut world, ann, "chat:a", 3 * HISTORY_FORGET_PER_EVENT);
    world.rules(0, 2, |rules| rules.retention.count = 2);
    let mut expected = 3 * HISTORY_FORGET_PER_EVENT;
    while expected > 2 {
        // No turn in between, in which the rest would go.
        world.now.micros += 1000;
        fill(&mut world, ann, "chat:a", 1);
        let rooms = &world.hosts[0].0.rooms;
        let history = &rooms.at(rooms.find("chat:a").unwrap()).unwrap().history;
        let most = history.latest().unwrap().displaces();
        expected = (expected + 1).saturating_sub(most).max(2);
        assert_eq!(history.len(), expected);
    }
    world.wait(1000);
    assert_eq!(held(&world, 0, "chat:a"), 2);
}

#[test]
fn what_lies_in_the_store_within_other_bounds_stays_and_what_lies_beyond_goes_over_a_restart_too() {
    let mut world = start(Memory::default(), None, |_| {});
    let ann = world.known("/ws", "ann");
    let mut epochs = Vec::new();
    for channel in ["chat:a", "trip:a"] {
        epochs.push(epoch_of(&join(&mut world, ann, channel, None)));
        fill(&mut world, ann, channel, 3 * HISTORY_COUNT_DEFAULT);
    }
    let rows = [keeps("chat:*", 30), keeps("trip:*", 250)];
    let usual = world.hosts[0].0.options.retention;
    let store = world.store.as_mut().unwrap();
    store.set_bounds(bounds_of(policy(&rows), usual));
    store.sweep(world.now.unix_ms).unwrap();
    world.rules(0, 2, |rules| rules.policy = policy(&rows));
    world.wait(1000);
    let last = 3 * HISTORY_COUNT_DEFAULT as u64;
    let check = |world: &mut World, epochs: &[String]| {
        for (channel, epoch, kept) in [("chat:a", &epochs[0], 30), ("trip:a", &epochs[1], 250)] {
            let bob = world.known("/ws", "bob");
            let heard = join(world, bob, channel, Some((epoch, last - kept)));
            assert_eq!(seqs(&heard, "note"), (last - kept + 1..=last).collect::<Vec<_>>(), "{channel}");
            let cid = world.known("/ws", "cid");
            let heard = join(world, cid, channel, Some((epoch, last - kept - 1)));
            let told = &of_type(&heard, "subscribed")[0]["payload"];
            assert_eq!((&told["recovered"], &told["reason"]), (&json!(false), &json!("trimmed")), "{channel}");
        }
    };
    check(&mut world, &epochs);
    // Another process, with bounds that are wider again: what has gone does not come back, what there is stays.
    let mut world = super::keeping::crash(world, |_| {});
    world.store.as_mut().unwrap().sweep(world.now.unix_ms).unwrap();
    world.wait(1000);
    check(&mut world, &epochs);
}
