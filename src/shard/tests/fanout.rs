//! Delivery: how much at a time, in which turn, and over two shards.

use super::*;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_PARTS_MAX, JOIN_MEMBERS_MIN, MESSAGE_BYTES_MAX, TAIL_EVENTS_MAX, VISITS_PER_CHANNEL,
    VISITS_PER_TURN_BUSY, VISITS_PER_TURN_MAX,
};

/// The connections that a turn would write to.
fn writes(world: &mut World, others_wait: bool) -> (Vec<Who>, bool) {
    let (shard, effects) = &mut world.hosts[0];
    let more = shard.fan_out(world.now, others_wait, effects);
    let written = effects.list.iter().filter_map(|effect| match effect {
        Effect::Write(id) => Some(world.owners[id]),
        _ => None,
    });
    (written.collect(), more)
}

/// Publishes without any turn, and does what the author itself is answered.
fn publish_quietly(world: &mut World, author: Who, channel: &str) {
    let message = json!({ "type": "publish", "payload": { "channel": channel, "type": "note", "payload": {} } });
    world.put(author, &text(&message.to_string()));
    assert!(world.hosts[0].1.list.is_empty(), "an event is owed, not sent");
}

#[test]
fn a_turn_visits_so_many_members_and_fewer_while_others_wait() {
    for (others_wait, max) in [(false, VISITS_PER_TURN_MAX), (true, VISITS_PER_TURN_BUSY)] {
        for (members, more) in [(max - 1, false), (max, false), (max + 1, true)] {
            let mut world = World::new();
            let author = world.legacy("/ws", "ann");
            for _ in 0..members {
                world.legacy("/ws/chat/s", "bob");
            }
            publish_quietly(&mut world, author, "chat:s");
            let (written, left) = writes(&mut world, others_wait);
            assert_eq!((written.len(), left), (members.min(max), more), "{members} members");
            world.run();
            assert_eq!(world.read(Metric::Delivered), members as u64);
        }
    }
}

#[test]
fn deliveries_are_counted_by_type_where_the_members_are() {
    let mut world = World::with(|options| options.shards = 2);
    let channel = at_home("trip:", 0, 2);
    let author = world.legacy(&format!("/ws/trips/{}/collab", channel.trim_start_matches("trip:")), "ann");
    // Members that stay on the shard that accepted them: two at the channel's home, three on the other.
    for host in [0, 0, 1, 1, 1] {
        let who = world.client_on(host, false, "/ws", "bob");
        world.say(who, &subscribe(std::slice::from_ref(&channel)));
    }
    let counts = |world: &World| {
        [Metric::OwedTripUpdateBroadcast, Metric::OwedOther]
            .map(|metric| [0, 1].map(|host: usize| world.hosts[host].0.metrics().read(metric)))
    };
    assert_eq!(counts(&world), [[0, 0]; 2]);
    // What was there before a shard had members was never delivered there.
    let other = at_home("chat:", 0, 2);
    world.say(author, &publish(&other, "before", &json!({})));
    let late = world.client_on(1, false, "/ws", "eve");
    world.say(late, &subscribe(&[other]));
    assert_eq!(counts(&world), [[0, 0]; 2]);
    world.say(author, r#"{"type":"trip_update","field":"title","value":"Lisbon"}"#);
    assert_eq!(counts(&world), [[3, 3], [0, 0]]);
    for number in 0..4 {
        world.say(author, &publish(&channel, &number.to_string(), &json!({})));
    }
    assert_eq!(counts(&world), [[3, 3], [12, 12]]);
    let payload = json!({ "channel": channel, "type": "note", "payload": {} });
    world.say(author, &json!({ "type": "publish", "exclude_sender": true, "payload": payload }).to_string());
    assert_eq!(counts(&world), [[3, 3], [14, 15]], "without the author");
    // An author that is no member takes nobody's place.
    let outsider = world.client_on(0, false, "/ws", "outsider");
    world.say(outsider, &json!({ "type": "publish", "exclude_sender": true, "payload": payload }).to_string());
    assert_eq!(counts(&world), [[3, 3], [17, 18]]);
    // All of them keep up, so what is counted ahead is what is written.
    assert_eq!(world.read(Metric::Delivered), 3 + 3 + 17 + 18);
    // Somebody says to have seen more than is here, so the home is asked again, just as the channel goes on.
    let ahead = world.client_on(1, false, "/ws", "zoe");
    let epoch = of_type(&world.heard(author), "note")[0]["epoch"].clone();
    let since = json!({ "channels": [channel], "since": { channel.clone(): { "epoch": epoch, "seq": 1000 } } });
    world.put(author, &text(&publish(&channel, "meanwhile", &json!({}))));
    world.put(ahead, &text(&json!({ "type": "subscribe", "payload": since }).to_string()));
    world.apply(1);
    world.run();
    assert_eq!(counts(&world), [[3, 3], [20, 22]], "what comes with the second answer is delivered too");
}

#[test]
fn whoever_joins_or_leaves_during_a_round_takes_nobody_elses_visit() {
    // The round may have begun anywhere, and some of it may be over.
    for members in [1, 2, 3, VISITS_PER_TURN_MAX + 5] {
        for (turns, change) in [(0, "join"), (1, "join"), (0, "leave"), (1, "leave"), (0, "both"), (1, "both")] {
            let mut world = World::new();
            let author = world.legacy("/ws", "ann");
            let others: Vec<Who> = (0..3).map(|_| world.legacy("/ws", "eve")).collect();
            let stay: Vec<Who> = (0..members).map(|_| world.legacy("/ws/chat/s", "bob")).collect();
            let leaver = world.legacy("/ws", "joe");
            world.say(leaver, &subscribe(&["chat:s".into()]));
            publish_quietly(&mut world, author, "chat:s");
            world.run();
            stay.iter().for_each(|who| drop(world.heard(*who)));
            publish_quietly(&mut world, author, "chat:s");
            (0..turns).for_each(|_| drop(writes(&mut world, false)));
            if change != "leave" {
                for other in others {
                    world.put(other, &text(&subscribe(&["chat:s".into()])));
                }
            }
            if change != "join" {
                world.put(leaver, &text(r#"{"type":"unsubscribe","channels":["chat:s"]}"#));
            }
            world.run();
            for who in stay {
                assert_eq!(world.heard_words(who), ["note"], "{members} members, {change} after {turns} turns");
            }
        }
    }
}

#[test]
fn who_joins_a_room_takes_the_turn_of_one_member_and_not_of_the_whole_room() {
    let mut world = World::new();
    let author = world.legacy("/ws", "ann");
    let live = world.legacy("/ws/chat/live", "bob");
    // In trips members are told who else is there, so whoever joins makes its room stand in line.
    let rooms: Vec<String> = (0..VISITS_PER_TURN_BUSY / 2).map(|room| format!("large{room}")).collect();
    for room in &rooms {
        for _ in 0..VISITS_PER_CHANNEL {
            world.legacy(&format!("/ws/trips/{room}/collab"), "bob");
        }
    }
    let joining: Vec<Who> = rooms.iter().map(|_| world.legacy("/ws", "eve")).collect();
    world.run();
    for (who, room) in joining.iter().zip(&rooms) {
        world.put(*who, &text(&subscribe(&[format!("trip:{room}")])));
        world.apply(0);
    }
    publish_quietly(&mut world, author, "chat:live");
    let (written, _) = writes(&mut world, true);
    assert!(written.contains(&live), "{} others were written to first", written.len());
    world.run();
    assert!(joining.into_iter().all(|who| !of_type(&world.heard(who), "subscribed").is_empty()));
}

#[test]
fn small_rooms_do_not_wait_for_a_room_of_ten_thousand() {
    let mut world = World::new();
    let author = world.legacy("/ws", "ann");
    for _ in 0..10_000 {
        world.legacy("/ws/chat/large", "bob");
    }
    let small: Vec<Who> = (0..10).map(|room| world.legacy(&format!("/ws/chat/small{room}"), "bob")).collect();
    publish_quietly(&mut world, author, "chat:large");
    (0..10).for_each(|room| publish_quietly(&mut world, author, &format!("chat:small{room}")));
    let (written, more) = writes(&mut world, true);
    assert!(more && small.iter().all(|who| written.contains(who)), "all in the first turn");
    assert_eq!(written.iter().position(|who| small.contains(who)), Some(VISITS_PER_CHANNEL));
    assert_eq!(written.len(), VISITS_PER_TURN_BUSY);
    world.run();
    assert_eq!(world.read(Metric::Delivered), 10_010);
}

#[test]
fn a_crowd_shares_one_stretch_of_bytes_and_every_member_reads_the_same_events() {
    for (members, parts) in [(JOIN_MEMBERS_MIN - 1, 3), (JOIN_MEMBERS_MIN, 1), (JOIN_MEMBERS_MIN + 1, 1)] {
        let mut world = World::new();
        let author = world.legacy("/ws", "ann");
        let crowd: Vec<Who> = (0..members).map(|_| world.legacy("/ws/chat/s", "bob")).collect();
        (0..3).for_each(|_| publish_quietly(&mut world, author, "chat:s"));
        world.writes.clear();
        world.run();
        assert!(world.writes.iter().all(|(_, written, _)| *written == parts), "{members} members");
        for who in crowd {
            assert_eq!(seqs(&world.heard(who), "note"), [1, 2, 3]);
        }
        assert_eq!(world.read(Metric::Delivered), 3 * members as u64);
    }
}

#[test]
fn one_write_takes_so_many_frames_and_the_rest_follows() {
    for (events, expected) in [
        (BATCH_PARTS_MAX - 1, &[BATCH_PARTS_MAX - 1][..]),
        (BATCH_PARTS_MAX, &[BATCH_PARTS_MAX]),
        (BATCH_PARTS_MAX + 1, &[BATCH_PARTS_MAX, 1]),
    ] {
        let mut world = World::new();
        let author = world.legacy("/ws", "ann");
        let who = world.legacy("/ws/chat/s", "bob");
        (0..events).for_each(|_| publish_quietly(&mut world, author, "chat:s"));
        world.writes.clear();
        world.run();
        let parts: Vec<usize> = world.writes.iter().map(|(_, parts, _)| *parts).collect();
        assert_eq!(parts, expected, "{events} events");
        assert_eq!(world.heard(who).len(), events);
    }
}

#[test]
fn writes_are_counted_once_and_a_write_of_nothing_is_none() {
    let mut world = World::new();
    let who = world.upgrade("/echo");
    world.sockets[who].room = 0;
    (0..3).for_each(|_| world.send(who, &text(&"x".repeat(MESSAGE_BYTES_MAX)).repeat(2)));
    assert!(!world.sockets[who].reads, "its echoes pile up");
    let (id, mut batch) = (world.sockets[who].id, Batch::default());
    let (shard, effects) = &mut world.hosts[0];
    shard.fill(world.now, id, &mut batch);
    shard.written(world.now, id, &mut batch, 0, effects);
    assert!(batch.is_empty() && effects.list.is_empty());
    world.open(who, usize::MAX);
    let bytes: usize = world.writes.iter().map(|(_, _, bytes)| bytes).sum();
    let (sends, short) = (world.writes.len() as u64, 1);
    assert_eq!((world.read(Metric::Sends), world.read(Metric::ShortWrites)), (sends, short));
    assert_eq!(world.read(Metric::BytesOut), (bytes - world.writes[1].2) as u64, "nothing of the second was taken");
}

#[test]
fn a_write_takes_no_further_frame_after_so_many_bytes() {
    let mut world = World::new();
    let author = world.legacy("/ws", "ann");
    let who = world.legacy("/ws/chat/s", "bob");
    (0..10).for_each(|_| world.put(author, &text(&publish_of("chat:s", 60_000))));
    world.writes.clear();
    world.run();
    for (_, parts, bytes) in &world.writes {
        assert!(bytes / parts * (parts - 1) < BATCH_BYTES_MAX, "the last frame found room");
    }
    assert!(world.writes.len() == 2 && world.writes[0].2 >= BATCH_BYTES_MAX, "{:?}", world.writes);
    assert_eq!(world.heard(who).len(), 10);
}

#[test]
fn a_channel_is_hot_from_so_many_members_and_its_new_members_stay_where_they_are() {
    let mut world = World::with(|options| (options.shards, options.hot_members) = (2, 4));
    let path = format!("/ws/{}", at_home("chat:", 0, 2).replace(':', "/"));
    let mut members: Vec<Who> = Vec::new();
    for (count, expected) in [(3, 0), (4, 0), (5, 1)] {
        while members.len() < count {
            let who = world.upgrade_on(1, &format!("{path}?token={}", token("ann")));
            assert_eq!(world.status(who), 101);
            members.push(who);
        }
        let last = *members.last().unwrap();
        assert_eq!(world.sockets[last].id.shard, ShardId(expected), "the member that makes {count}");
    }
    for (who, home) in [(0, 1), (1, 0)] {
        // Four members at home: three are three quarters of what makes it hot.
        let id = world.sockets[members[who]].id;
        if who == 1 {
            world.handle(0, Input::Gone(id));
            world.run();
        }
        let probe = world.upgrade_on(1, &format!("{path}?token={}", token("ann")));
        assert_eq!(world.sockets[probe].id.shard, ShardId(home));
    }
}

#[test]
fn a_mirror_is_fed_so_many_events_at_a_time() {
    for (events, expected) in [
        (TAIL_EVENTS_MAX - 1, vec![TAIL_EVENTS_MAX - 1]),
        (TAIL_EVENTS_MAX, vec![TAIL_EVENTS_MAX]),
        (TAIL_EVENTS_MAX + 1, vec![TAIL_EVENTS_MAX, 1]),
    ] {
        let mut world = World::with(|options| options.shards = 2);
        let channel = at_home("chat:", 0, 2);
        let (author, who) = (world.upgrade_on(0, "/ws"), world.upgrade_on(1, "/ws"));
        for client in [author, who] {
            world.say(client, &json!({ "token": token("ann") }).to_string());
            world.heard(client);
        }
        (0..events).for_each(|index| world.say(author, &publish(&channel, &index.to_string(), &json!({}))));
        let heard = world.heard(author);
        let since = json!({ &channel: { "epoch": heard[0]["payload"]["epoch"], "seq": 0 } });
        world.say(who, &json!({ "type": "subscribe", "channels": [channel], "since": since }).to_string());
        assert_eq!(world.tails.iter().copied().filter(|events| *events > 0).collect::<Vec<_>>(), expected);
        let heard = world.heard(who);
        assert_eq!(heard[1]["payload"]["recovered"], true);
        assert_eq!(seqs(&heard, "note"), (1..=events as u64).collect::<Vec<_>>());
        world.say(author, &publish(&channel, "live", &json!({})));
        assert_eq!(seqs(&world.heard(who), "note"), [events as u64 + 1]);
    }
}

#[test]
fn an_author_on_another_shard_is_answered_after_its_own_delivery() {
    let mut world = World::with(|options| options.shards = 2);
    let channel = at_home("chat:", 0, 2);
    let who = world.upgrade_on(1, &format!("/ws?token={}", token("ann")));
    world.say(who, &subscribe(std::slice::from_ref(&channel)));
    world.heard(who);
    world.say(who, &publish(&channel, "1", &json!({})));
    assert_eq!(world.heard_words(who), ["note", "ack"]);
    let excluding = publish(&channel, "2", &json!({})).replacen('{', r#"{"exclude_sender":true,"#, 1);
    world.say(who, &excluding);
    assert_eq!(world.heard_words(who), ["ack"]);
    world.say(who, &publish(&channel, "1", &json!({})));
    assert_eq!(world.heard(who)[0]["payload"]["duplicate"], true);
}

#[test]
fn a_message_to_a_shard_that_is_behind_is_refused_to_be_tried_again() {
    for known in [false, true] {
        let mut world = World::with(|options| options.shards = 2);
        let channel = at_home("chat:", 1, 2);
        let who = world.client(known, "/ws", "ann");
        world.hosts[0].1.set_congested(ShardId(1), true);
        world.say(who, &publish(&channel, "1", &json!({})));
        world.say(who, &publish_of(&channel, 200));
        let heard = world.heard(who);
        assert_eq!(words(&heard), ["nack OVERLOADED", "connection_error OVERLOADED"]);
        assert_eq!(heard[0]["payload"]["retryable"], true);
        world.hosts[0].1.set_congested(ShardId(1), false);
        world.say(who, &publish(&channel, "1", &json!({})));
        assert_eq!(world.heard_words(who), ["ack"], "what was refused was not done");
    }
}

#[test]
fn joining_and_leaving_puts_nothing_to_a_shard_that_is_behind() {
    let mut world = World::with(|options| options.shards = 2);
    let channel = at_home("chat:", 1, 2);
    let alias = channel.replace("chat:", "session:");
    let (member, who) = (world.legacy("/ws", "ann"), world.legacy("/ws", "bob"));
    world.say(member, &subscribe(std::slice::from_ref(&channel)));
    world.heard(member);
    world.hosts[0].1.set_congested(ShardId(1), true);
    let other = at_home("trip:", 1, 2);
    world.put(who, &text(&subscribe(std::slice::from_ref(&other))));
    for name in [&channel, &alias, &channel, &alias] {
        world.put(member, &text(&subscribe(std::slice::from_ref(name))));
    }
    let meshed = world.hosts[0].1.list.iter().filter(|effect| matches!(effect, Effect::Mesh(..))).count();
    assert_eq!(meshed, 0);
    world.run();
    let heard = world.heard(who);
    assert_eq!(heard[0]["payload"]["failures"][0]["code"], "OVERLOADED");
    world.heard(member);
    world.hosts[0].1.set_congested(ShardId(1), false);
    world.say(who, &subscribe(&[other.clone(), channel.clone()]));
    world.heard(who);
    world.say(who, &publish(&channel, "1", &json!({})));
    assert_eq!(world.heard_words(who), ["note", "ack"]);
    assert_eq!(world.heard(member)[0]["channel"], alias.as_str(), "under the name that was asked for last");
}

#[test]
fn a_follower_that_is_behind_is_owed_and_gets_all_in_order_later() {
    let mut world = World::with(|options| options.shards = 2);
    let channel = at_home("chat:", 0, 2);
    let author = world.legacy("/ws", "ann");
    let who = world.upgrade_on(1, &format!("/ws?token={}", token("bob")));
    world.say(who, &subscribe(std::slice::from_ref(&channel)));
    world.heard(who);
    world.hosts[0].1.set_congested(ShardId(1), true);
    for index in 0..3 {
        world.put(author, &text(&publish(&channel, &index.to_string(), &json!({}))));
    }
    let (shard, effects) = &mut world.hosts[0];
    shard.fan_out(world.now, false, effects);
    world.apply(0);
    assert!(world.heard(who).is_empty());
    world.hosts[0].1.set_congested(ShardId(1), false);
    world.run();
    assert_eq!(seqs(&world.heard(who), "note"), [1, 2, 3]);
}

#[test]
fn who_joins_while_a_round_is_under_way_takes_nobodys_turn() {
    let mut world = World::new();
    let (author, ann, bob) =
        (world.legacy("/ws", "eve"), world.legacy("/ws/chat/s", "ann"), world.legacy("/ws", "bob"));
    publish_quietly(&mut world, author, "chat:s");
    world.run();
    assert_eq!(seqs(&world.heard(ann), "note"), [1]);
    publish_quietly(&mut world, author, "chat:s");
    world.put(bob, &text(&subscribe(&["chat:s".into()])));
    world.run();
    assert_eq!(seqs(&world.heard(ann), "note"), [2]);
}
