//! What a channel keeps, and what a member is told of what it no longer keeps.

use super::*;
use crate::ids::Seq;
use crate::limits::{
    HISTORY_AGE_MS_DEFAULT, HISTORY_BYTES_DEFAULT, HISTORY_COUNT_DEFAULT, HISTORY_LIVE_BYTES_MAX, LOOK_PLACES_MAX,
    MESSAGE_BYTES_MAX, SHED_SWEEPS_MAX, SWEEPS_PER_TURN_MAX, VISITS_PER_CHANNEL,
};

/// Publishes `count` events of the same size.
fn publish_many(world: &mut World, who: Who, channel: &str, count: usize, len: usize) {
    for _ in 0..count {
        world.say(who, &publish_of(channel, len));
    }
}

/// Joins a channel from a position on; the position's epoch is what a first join says.
fn join_from(world: &mut World, who: Who, channel: &str, seq: u64) -> Vec<Value> {
    world.say(who, &subscribe(&[channel.into()]));
    let epoch = world.heard(who)[1]["payload"]["epoch"].clone();
    world.say(who, &json!({ "type": "unsubscribe", "channels": [channel] }).to_string());
    world.heard(who);
    let since = json!({ channel: { "epoch": epoch, "seq": seq } });
    world.say(who, &json!({ "type": "subscribe", "channels": [channel], "since": since }).to_string());
    world.heard(who).split_off(1)
}

#[test]
fn a_member_that_falls_off_is_told_which_events_it_lost() {
    let len = MESSAGE_BYTES_MAX - 1000;
    let fits = HISTORY_LIVE_BYTES_MAX / len;
    for (count, lost) in [(fits - 1, None), (fits, None), (fits + 1, Some((2, 2))), (fits + 2, Some((2, 3)))] {
        for known in [false, true] {
            let mut world = World::with(|options| options.retention.count = 0);
            let author = world.legacy("/ws/chat/s", "ann");
            let slow = world.client(known, "/ws/chat/s", "bob");
            world.sockets[slow].room = 0;
            publish_many(&mut world, author, "chat:s", 1, 200);
            publish_many(&mut world, author, "chat:s", count, len);
            assert_eq!(seqs(&world.heard(author), "note").len(), count + 1, "nobody else is hurt");
            world.open(slow, usize::MAX);
            let heard = world.heard(slow);
            let gap = of_type(&heard, "gap").first().map(|gap| {
                assert_eq!((&gap["payload"]["lost"], &gap["payload"]["channel"]), (&json!(true), &json!("chat:s")));
                (gap["payload"]["from_seq"].as_u64().unwrap(), gap["payload"]["to_seq"].as_u64().unwrap())
            });
            assert_eq!(gap, lost, "{count} events of {len} bytes");
            let next = lost.map_or(2, |(_, to)| to + 1);
            let expected: Vec<u64> = std::iter::once(1).chain(next..=count as u64 + 1).collect();
            assert_eq!(seqs(&heard, "note"), expected);
            assert_eq!(world.read(Metric::Gaps), u64::from(lost.is_some()));
        }
    }
}

#[test]
fn history_holds_so_many_events_and_says_when_it_does_not_reach_back() {
    for (count, recovered, first) in
        [(HISTORY_COUNT_DEFAULT - 1, true, 1), (HISTORY_COUNT_DEFAULT, true, 1), (HISTORY_COUNT_DEFAULT + 1, false, 2)]
    {
        let mut world = World::new();
        let author = world.legacy("/ws", "ann");
        publish_many(&mut world, author, "chat:s", count, 200);
        let who = world.legacy("/ws", "bob");
        let heard = join_from(&mut world, who, "chat:s", 0);
        assert_eq!(heard[0]["payload"]["recovered"], recovered, "{count} events");
        assert_eq!(heard[0]["payload"].get("reason").and_then(Value::as_str), (!recovered).then_some("trimmed"));
        assert_eq!(seqs(&heard, "note"), (first..=count as u64).collect::<Vec<_>>());
    }
}

#[test]
fn history_holds_so_many_bytes() {
    let mut world = World::new();
    let author = world.legacy("/ws", "ann");
    publish_many(&mut world, author, "chat:s", 1, 60_000);
    let one = usize::try_from(world.read(Metric::HistoryBytes)).unwrap();
    let fits = HISTORY_BYTES_DEFAULT / one;
    // Positions up to 9 take a byte less than the others, once in each frame.
    assert!(fits * (one + 1) <= HISTORY_BYTES_DEFAULT && (fits + 1) * one > HISTORY_BYTES_DEFAULT);
    for (count, oldest) in [(fits - 1, 1), (fits, 1), (fits + 1, 2)] {
        let mut world = World::new();
        let author = world.legacy("/ws", "ann");
        publish_many(&mut world, author, "chat:s", count, 60_000);
        world.say(author, &subscribe(&["chat:s".into()]));
        assert_eq!(world.heard(author)[1]["payload"]["oldest_seq"], oldest, "{count} events");
        assert!(world.read(Metric::HistoryBytes) <= HISTORY_BYTES_DEFAULT as u64);
    }
}

#[test]
fn history_is_forgotten_at_its_age_though_nothing_happens_in_the_channel() {
    let mut world = World::new();
    let author = world.legacy("/ws", "ann");
    publish_many(&mut world, author, "chat:s", 1, 200);
    world.jump(HISTORY_AGE_MS_DEFAULT - 1000);
    world.jump(1000);
    assert_ne!(world.read(Metric::HistoryBytes), 0, "of that age it is kept");
    world.jump(1000);
    assert_eq!(world.read(Metric::HistoryBytes), 0);
}

#[test]
fn where_the_operator_says_so_a_channel_is_delivered_until_it_is_acknowledged_or_not() {
    use crate::auth::{Deliver, Pattern, PolicyRow};
    let row = |text, deliver| PolicyRow { deliver: Some(deliver), ..PolicyRow::new(Pattern::parse(text).unwrap()) };
    let rows = [row("trip:*", Deliver::UntilAcked), row("notifications:*", Deliver::Live)];
    for home in 0..2 {
        let mut world = World::with(|options| {
            options.shards = 2;
            options.policy = Arc::new(Policy::with_rows(&rows).unwrap());
        });
        for (channel, again) in [(at_home("trip:", home, 2), true), ("notifications:ann".to_owned(), false)] {
            let backend = super::service::service(&mut world, 0, "svc");
            (0..3).for_each(|_| world.say(backend, &publish_of(&channel, 200)));
            let ann = world.client_on(0, true, "/ws", "ann");
            world.say(ann, &subscribe(std::slice::from_ref(&channel)));
            let heard = world.heard(ann);
            let first = if again { vec![1, 2, 3] } else { Vec::new() };
            assert_eq!(seqs(&heard, "note"), first, "{channel} {home}");
            if let Some(second) = of_type(&heard, "note").get(1) {
                let place = json!({ "channel": channel, "epoch": second["epoch"], "seq": second["seq"] });
                world.say(ann, &json!({ "type": "ack", "payload": place }).to_string());
            }
            let other = world.client_on(1, true, "/ws", "ann");
            world.say(other, &subscribe(std::slice::from_ref(&channel)));
            assert_eq!(seqs(&world.heard(other), "note"), if again { vec![3] } else { Vec::new() }, "{channel} {home}");
        }
    }
}

#[test]
fn a_sweep_looks_at_so_many_members_in_a_turn_and_leaves_crowds_to_visits() {
    use crate::room::members::Member;
    let mut world = World::with(|options| options.retention.age_ms = 10_000);
    let who = world.legacy("/ws", "ann");
    let fill = |world: &mut World, channel: &str, count: usize| {
        let shard = &mut world.hosts[0].0;
        let id = shard.rooms.find(channel).unwrap();
        let room = shard.rooms.at_mut(id).unwrap();
        for _ in 0..count {
            room.members.enter(Member { next: room.history.next(), ..Member::new(who_is_nobody()) });
        }
        id
    };
    for channel in ["chat:a", "chat:b", "chat:c", "chat:crowd"] {
        publish_many(&mut world, who, channel, 3, 200);
    }
    for channel in ["chat:a", "chat:b", "chat:c"] {
        fill(&mut world, channel, LOOK_PLACES_MAX / 2);
    }
    let now = world.now;
    let swept = (0..2).map(|_| world.hosts[0].0.sweep(now, SWEEPS_PER_TURN_MAX)).collect::<Vec<_>>();
    assert!(swept.iter().all(|count| (2..=4).contains(count)), "{swept:?}");
    let crowd = fill(&mut world, "chat:crowd", LOOK_PLACES_MAX + 1);
    let room = world.hosts[0].0.rooms.at_mut(crowd).unwrap();
    room.needed = Seq(1);
    for _ in 0..15 {
        world.wait(1000);
        world.send(who, &masked(10, b""));
    }
    let room = world.hosts[0].0.rooms.at(crowd).unwrap();
    assert!(
        room.history.is_empty() && room.needed == room.history.next(),
        "what everybody has is forgotten at its age"
    );
}

/// A slot that no connection has.
const fn who_is_nobody() -> u32 {
    u32::MAX
}

#[test]
fn a_shard_over_its_bytes_of_history_forgets_older_halves_and_never_the_newest_event() {
    let one = {
        let mut world = World::new();
        let author = world.legacy("/ws", "ann");
        publish_many(&mut world, author, "chat:s", 1, 1000);
        usize::try_from(world.read(Metric::HistoryBytes)).unwrap()
    };
    for (max, kept) in [(4 * one - 1, [1, 2, 3, 2]), (4 * one, [1, 2, 3, 4]), (4 * one + 1, [1, 2, 3, 4]), (1, [1; 4])]
    {
        let mut world = World::with(|options| options.history_bytes_max = max);
        let who = world.legacy("/ws/chat/s", "ann");
        for (index, kept) in kept.into_iter().enumerate() {
            publish_many(&mut world, who, "chat:s", 1, 1000);
            assert_eq!(world.read(Metric::HistoryBytes), kept * one as u64, "{index} of {max} bytes");
            assert_eq!(world.heard_words(who), ["note"], "a member that keeps up gets every event");
        }
    }
}

#[test]
fn a_shard_over_its_bytes_of_history_keeps_what_somebody_is_owed_while_there_is_anything_else() {
    for (known, others, lost) in [(false, 1, false), (true, 1, false), (false, 0, true), (true, 0, true)] {
        let mut world = World::with(|options| options.history_bytes_max = 8_000);
        let author = world.legacy("/ws/chat/s", "ann");
        let slow = world.client(known, "/ws/chat/s", "bob");
        world.sockets[slow].room = 0;
        publish_many(&mut world, author, "chat:s", 2, 1000);
        for _ in 0..20 {
            publish_many(&mut world, author, if others > 0 { "chat:other" } else { "chat:s" }, 1, 1000);
        }
        world.open(slow, usize::MAX);
        let heard = world.heard(slow);
        assert_eq!(!of_type(&heard, "gap").is_empty(), lost, "{known} {others}");
        let seqs = seqs(&heard, "note");
        if lost {
            assert_eq!((seqs[0], seqs.last()), (1, Some(&22)), "what was in its socket, and the newest");
        } else {
            assert_eq!(seqs, [1, 2]);
        }
    }
}

#[test]
fn a_shard_over_its_bytes_of_history_looks_at_so_many_channels_for_what_nobody_is_owed() {
    let group = VISITS_PER_CHANNEL;
    for (groups, kept) in [(SHED_SWEEPS_MAX - 1, true), (SHED_SWEEPS_MAX, true), (SHED_SWEEPS_MAX + 1, false)] {
        let mut world = World::new();
        let author = world.legacy("/ws", "ann");
        // What somebody is owed stands in the last group that is looked at, what nobody is in the last of all.
        let (owed, free) = (group * groups.min(SHED_SWEEPS_MAX) - 2, group * groups - 1);
        for index in 0..group * groups {
            let name = format!("chat:c{index}");
            if index == owed {
                let slow = world.legacy(&format!("/ws/chat/c{index}"), "bob");
                world.sockets[slow].room = 0;
            }
            if [owed, free].contains(&index) {
                publish_many(&mut world, author, &name, 2, 200);
            } else {
                let now = world.now;
                world.hosts[0].0.open_room(now, &name).unwrap();
            }
        }
        let count = |world: &World, index: usize| {
            let shard = &world.hosts[0].0;
            shard.rooms.at(shard.rooms.find(&format!("chat:c{index}")).unwrap()).unwrap().history.since(Seq(1)).count()
        };
        // The first one is in the socket already.
        let shard = &mut world.hosts[0].0;
        let id = shard.rooms.find(&format!("chat:c{owed}")).unwrap();
        shard.rooms.at_mut(id).unwrap().history.halve(Seq(2));
        assert_eq!((count(&world, owed), count(&world, free)), (1, 2));
        world.hosts[0].0.shed_history();
        let expected = if kept { (1, 1) } else { (0, 2) };
        assert_eq!((count(&world, owed), count(&world, free)), expected, "{groups} groups");
    }
}

#[test]
fn what_a_channel_holds_beside_its_history_is_counted_and_given_back() {
    let mut world = World::new();
    let who: Vec<Who> =
        (0..crate::limits::JOIN_MEMBERS_MIN).map(|i| world.legacy("/ws/chat/s", &format!("u{i}"))).collect();
    assert_eq!(world.read(Metric::RoomBytes), 0);
    for id in ["1", "2"] {
        world.put(who[0], &text(&publish("chat:s", id, &json!({}))));
    }
    world.run();
    let room = world.hosts[0].0.rooms.find("chat:s").unwrap();
    let state = world.hosts[0].0.rooms.at(room).unwrap();
    let shared = state.joined.as_ref().map(|joined| joined.bytes()).unwrap();
    let remembered = world.read(Metric::RoomBytes) - shared as u64;
    assert!(remembered > 2 * 64, "{remembered}");
    world.put(who[0], &text(&publish("chat:s", "3", &json!({}))));
    assert_eq!(world.read(Metric::RoomBytes), remembered / 2 * 3, "the stretch is over with the next event");
    who.iter().for_each(|who| world.handle(0, Input::Gone(world.sockets[*who].id)));
    world.run();
    world.jump(crate::limits::DEDUP_WINDOW_MS + 1000);
    world.jump(1000);
    assert_eq!(world.read(Metric::RoomBytes), 0);
}
