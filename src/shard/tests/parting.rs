//! Who is closed while answers to it are under way.

use super::ending::drain_now;
use super::keeping::{at_home_in, epoch_of, join, start};
use super::service::{name_of, register, send_to, service, shards, user_on};
use super::*;
use crate::limits::{ANSWERS_HELD_MAX, LAST_ANSWERS_MS, OPERATION_ID_BYTES_MAX, WALK_SLOTS_PER_TURN_MAX};

/// How a client that is behind comes to be out of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// It leaves by itself, and what it sent is answered already.
    Itself,
    /// It leaves by itself, and what it sent is answered later.
    ItselfLater,
    /// It leaves by itself and comes back to what happens now, and what it sent is answered later still.
    AndComesBack,
    /// The drain closes it, and what it sent is answered already.
    Answered,
    /// The drain closes it, and what it sent is answered later.
    Parting,
}

#[test]
fn an_acknowledgement_that_goes_ahead_of_events_names_no_position() {
    use Leaves::{AndComesBack, Answered, Itself, ItselfLater, Parting};
    for (home, leaves) in [0, 1]
        .into_iter()
        .flat_map(|home| [Itself, ItselfLater, AndComesBack, Answered, Parting].map(|leaves| (home, leaves)))
    {
        let mut world = start(Memory::default(), None, |options| options.shards = 2);
        let channel = at_home_in(&world, home);
        let (ada, bob) = (world.client_on(0, true, "/ws", "ada"), world.client_on(1, true, "/ws", "bob"));
        let epoch = epoch_of(&join(&mut world, ada, &channel, None));
        world.say(ada, &publish(&channel, "first", &json!({})));
        world.heard(ada);
        world.sockets[ada].room = 0;
        for id in ["2", "3"] {
            world.say(bob, &publish(&channel, id, &json!({})));
        }
        world.commits = matches!(leaves, Itself | Answered);
        let mut excluded: Value = serde_json::from_str(&publish(&channel, "last", &json!({}))).unwrap();
        excluded["exclude_sender"] = json!(true);
        world.say(ada, &excluded.to_string());
        world.say(ada, &publish(&channel, "first", &json!({})));
        let leave = json!({ "type": "unsubscribe", "channels": [channel] }).to_string();
        match leaves {
            Itself | ItselfLater => world.say(ada, &leave),
            AndComesBack => {
                world.say(ada, &leave);
                world.say(ada, &subscribe(std::slice::from_ref(&channel)));
                world.say(ada, &leave);
            }
            Answered | Parting => drain_now(&mut world),
        }
        world.commits = true;
        world.run();
        world.open(ada, usize::MAX);
        let heard = world.heard(ada);
        assert_eq!(seqs(&heard, "note"), [2], "{home} {leaves:?}: what was begun is ended");
        let mut told: Vec<_> = of_type(&heard, "ack").into_iter().map(|ack| &ack["payload"]).collect();
        told.sort_by_key(|ack| ack["id"].to_string());
        let first = json!({ "id": "first", "channel": channel, "epoch": epoch, "seq": 1, "duplicate": true });
        let last = json!({ "id": "last", "channel": channel });
        assert_eq!(told, [&first, &last], "{home} {leaves:?}: it has the first event, and not the third");
        assert_eq!(world.read(Metric::OutboxBytes), 0);
        assert!(world.hosts[0].0.left.is_empty(), "{home} {leaves:?}: all is answered");
    }
}

#[test]
fn of_so_many_channels_it_is_known_how_far_who_left_had_got_and_of_others_no_position_is_told() {
    for (others, expected) in [(ANSWERS_HELD_MAX - 2, json!(1)), (ANSWERS_HELD_MAX - 1, Value::Null)] {
        let mut world = start(Memory::default(), None, |_| {});
        let ada = world.known("/ws", "ada");
        let leave = |channel: &str| json!({ "type": "unsubscribe", "channels": [channel] }).to_string();
        join(&mut world, ada, "chat:first", None);
        join(&mut world, ada, "chat:last", None);
        world.commits = false;
        for channel in ["chat:first", "chat:last"] {
            world.say(ada, &publish(channel, channel, &json!({})));
        }
        world.say(ada, &leave("chat:first"));
        for index in 0..others {
            let channel = format!("chat:{index}");
            world.say(ada, &subscribe(std::slice::from_ref(&channel)));
            world.say(ada, &leave(&channel));
        }
        world.say(ada, &leave("chat:last"));
        world.commits = true;
        world.run();
        let heard = world.heard(ada);
        assert_eq!(seqs(&heard, "note"), [1, 1]);
        let told: Vec<_> = of_type(&heard, "ack").into_iter().map(|ack| ack["payload"]["seq"].clone()).collect();
        assert_eq!(told, [json!(1), expected], "{others}");
    }
}

#[test]
fn who_sends_much_at_once_to_a_connection_elsewhere_is_not_cut_for_the_answers() {
    let mut world = shards(2);
    let (backend, ann) = (service(&mut world, 0, "svc"), user_on(&mut world, 1, "ann"));
    let target = format!("connection:{}", name_of(&world, ann));
    // Its socket takes nothing for the moment; the first answer is taken up by a write.
    world.sockets[backend].room = 0;
    world.say(backend, r#"{"type":"ping"}"#);
    let count = 8 * ANSWERS_HELD_MAX;
    for id in 0..count {
        world.put(backend, &text(&send_to(&target, &format!("{id:0>OPERATION_ID_BYTES_MAX$}"), 1)));
    }
    world.run();
    assert!(world.is_open(backend) && !world.sockets[backend].reads);
    world.open(backend, usize::MAX);
    assert_eq!(of_type(&world.heard(backend), "ack").len(), count);
    assert_eq!(of_type(&world.heard(ann), "note").len(), count);
}

#[test]
fn an_offer_that_no_home_has_answered_does_not_hold_up_a_close() {
    for publishes in [false, true] {
        let mut world = shards(2);
        let backend = service(&mut world, 0, "svc");
        let there = at_home("method:a", 1, 2);
        world.put(backend, &text(&register(&[there.strip_prefix("method:").unwrap()])));
        if publishes {
            world.put(backend, &text(&publish(&at_home("chat:", 1, 2), "1", &json!({}))));
        }
        world.handle(0, Input::Drain(0));
        let (shard, effects) = &mut world.hosts[0];
        world.now.micros += WHEEL_SLOT_MS * 1000;
        shard.on_time(world.now, effects);
        world.run();
        let mut heard = world.heard_words(backend);
        heard.retain(|word| word != "ack");
        assert_eq!(heard, ["draining", "connection_close 1012", "close 1012"], "{publishes}");
        assert_eq!(world.sockets[backend].end, Some(Closing::Linger));
    }
}

#[test]
fn a_channel_keeps_the_name_that_it_was_joined_by_until_the_last_answer() {
    for home in [0, 1] {
        let mut world = start(Memory::default(), None, |options| options.shards = 2);
        let alias = at_home_in(&world, home).replacen("chat:", "session:", 1);
        let ann = world.client_on(0, false, "/ws", "ann");
        join(&mut world, ann, &alias, None);
        world.say(ann, &publish(&alias, "1", &json!({})));
        world.commits = false;
        world.say(ann, &publish(&alias, "2", &json!({})));
        drain_now(&mut world);
        world.commits = true;
        world.run();
        let heard = world.heard(ann);
        let acks: Vec<_> = of_type(&heard, "ack").into_iter().map(|ack| &ack["payload"]).collect();
        assert_eq!(acks.len(), 2, "{home}: {heard:?}");
        assert_eq!((&acks[0]["channel"], &acks[1]["channel"]), (&json!(alias), &json!(alias)), "{home}");
        assert_eq!((&acks[0]["seq"], &acks[1]["seq"]), (&json!(1), &json!(2)), "{home}: it has both");
    }
}

#[test]
fn a_wave_that_the_disk_does_not_answer_is_closed_some_a_turn() {
    let max = WALK_SLOTS_PER_TURN_MAX as usize;
    for count in [max - 1, max, max + 1] {
        let mut world = start(Memory::default(), None, |_| {});
        let all: Vec<Who> = (0..count).map(|_| world.legacy("/ws", "ann")).collect();
        join(&mut world, all[0], "chat:s", None);
        world.commits = false;
        for (id, who) in all.iter().enumerate() {
            world.say(*who, &publish("chat:s", &id.to_string(), &json!({})));
        }
        world.handle(0, Input::Drain(0));
        world.jump(WHEEL_SLOT_MS);
        while world.hosts[0].0.next_deadline() == Some(world.now.millis()) {
            world.jump(0);
        }
        assert_eq!((world.read(Metric::ClosedDrain), world.hosts[0].0.lasts.len()), (count as u64, count));
        let closed = |world: &mut World| {
            all.iter().filter(|who| world.heard_words(**who).contains(&"close 1012".to_owned())).count()
        };
        assert_eq!(closed(&mut world), 0);
        world.jump(LAST_ANSWERS_MS);
        assert_eq!(closed(&mut world), count.min(max), "{count}");
        assert_eq!(world.hosts[0].0.next_deadline() == Some(world.now.millis()), count > max, "{count}: the next turn");
        world.jump(0);
        assert_eq!(closed(&mut world), count.saturating_sub(max), "{count}");
        assert!(world.hosts[0].0.drained() && world.hosts[0].0.partings.is_empty());
    }
}

#[test]
fn a_token_that_ends_while_the_disk_stalls_is_closed_within_the_second() {
    let (mut world, ttl_s) = (start(Memory::default(), None, |_| {}), 60);
    // The wall clock's seconds are a little past the edges of the wheel's slots: what ends with one is noticed late.
    world.now.micros += 1000;
    let who = world.upgrade("/ws");
    world.say(who, &json!({ "type": "auth", "token": token_with("ann", ttl_s, json!({})) }).to_string());
    join(&mut world, who, "chat:s", None);
    world.commits = false;
    world.say(who, &publish("chat:s", "1", &json!({})));
    let latest = WHEEL_SLOT_MS + LAST_ANSWERS_MS;
    world.wait(ttl_s * 1000 + latest - 1);
    let heard = world.heard_words(who);
    assert!(heard.contains(&"connection_close 4001".to_owned()) && !heard.contains(&"close 4001".to_owned()));
    world.wait(1);
    assert_eq!(world.heard_words(who), ["close 4001"], "{latest} ms after its end");
}
