//! Who was to get a channel by its pattern and could not: nothing of it is lost in silence.

use super::consumers::{join, pattern, shards, user_on};
use super::service::service;
use super::*;
use crate::limits::{GROUP_ACK_MS, GROUP_DEBTS_MAX};

/// How often rooms that wait are tried again.
const SWEEP_EVERY_MS: u64 = 1000;

fn ack(world: &mut World, who: Who, event: &Value) {
    let payload = json!({ "channel": event["channel"], "epoch": event["epoch"], "seq": event["seq"] });
    world.say(who, &json!({ "type": "ack", "payload": payload }).to_string());
}

#[test]
fn who_is_kept_out_of_a_channel_is_told_once_and_gets_all_of_it_when_there_is_place() {
    for group in [None, Some("g")] {
        let mut world = shards(2);
        world.hosts[0].0.options.channels_max = 1;
        let (author, backend) = (user_on(&mut world, 1, "ann"), service(&mut world, 0, "svc"));
        let bob = user_on(&mut world, 0, "bob");
        join(&mut world, bob, &at_home("trip:", 0, 2));
        world.say(backend, &pattern("chat:*", group));
        world.heard(backend);
        let channel = at_home("chat:", 1, 2);
        for number in 1..=3 {
            world.say(author, &publish(&channel, &number.to_string(), &json!({})));
            world.wait(SWEEP_EVERY_MS);
        }
        let heard = world.heard(backend);
        let told = of_type(&heard, "unsubscribed");
        assert_eq!(told.len(), 1, "{heard:?}");
        assert_eq!(told[0]["payload"], json!({ "channel": channel, "reason": "overloaded" }));
        world.hosts[0].0.options.channels_max = 2;
        world.wait(2 * SWEEP_EVERY_MS);
        let heard = world.heard(backend);
        assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["recovered"], true, "{group:?}");
        assert_eq!(seqs(&heard, "note"), [1, 2, 3], "{group:?}");
        world.say(author, &publish(&channel, "4", &json!({})));
        assert_eq!(seqs(&world.heard(backend), "note"), [4]);
    }
}

#[test]
fn a_group_hears_of_a_channel_that_was_forgotten_while_nobody_consumed_for_it() {
    for event_first in [false, true] {
        let mut world = World::with(|options| options.channels_max = 2);
        let (author, first) = (user_on(&mut world, 0, "ann"), service(&mut world, 0, "svc"));
        world.say(first, &pattern("chat:*", Some("g")));
        let gone = world.sockets[first].id;
        world.handle(0, Input::Gone(gone));
        world.run();
        for (index, name) in ["chat:a", "chat:a", "chat:b", "chat:c"].into_iter().enumerate() {
            world.say(author, &publish(name, &index.to_string(), &json!({})));
        }
        assert_eq!(world.read(Metric::ChannelsEvicted), 1);
        world.hosts[0].0.options.channels_max = 10;
        if event_first {
            world.say(author, &publish("chat:a", "4", &json!({})));
        }
        let second = service(&mut world, 0, "svc");
        world.say(second, &pattern("chat:*", Some("g")));
        world.wait(2 * SWEEP_EVERY_MS);
        let heard = world.heard(second);
        let of_a = |event: &&&Value| event["channel"] == "chat:a" || event["payload"]["channel"] == "chat:a";
        let (told, notes) = (of_type(&heard, "subscribed"), of_type(&heard, "note"));
        let told = &told.iter().find(of_a).unwrap()["payload"];
        assert_eq!((&told["recovered"], &told["reason"]), (&json!(false), &json!("trimmed")), "{told}");
        assert_eq!(told["seq"], 2 + u64::from(event_first));
        assert_eq!(notes.iter().filter(of_a).count(), usize::from(event_first));
        assert_eq!(notes.len(), 2 + usize::from(event_first));
        notes.iter().for_each(|event| ack(&mut world, second, event));
        ack(&mut world, second, &json!({ "channel": "chat:a", "epoch": told["epoch"], "seq": told["seq"] }));
        for _ in 0..GROUP_ACK_MS / 5_000 + 1 {
            world.wait(5_000);
            world.send(second, &masked(10, b""));
            world.send(author, &masked(10, b""));
        }
        assert_eq!(world.read(Metric::ConsumersLate), 0, "the loss is acknowledged");
        world.heard(second);
        world.say(author, &publish("chat:a", "5", &json!({})));
        assert_eq!(seqs(&world.heard(second), "note"), [3 + u64::from(event_first)]);
    }
}

#[test]
fn of_so_many_forgotten_channels_it_is_known_what_they_owe() {
    let mut world = World::with(|options| options.channels_max = 1);
    let (author, first) = (user_on(&mut world, 0, "ann"), service(&mut world, 0, "svc"));
    world.say(first, &pattern("chat:*", Some("g")));
    let gone = world.sockets[first].id;
    world.handle(0, Input::Gone(gone));
    world.run();
    for index in 0..GROUP_DEBTS_MAX + 2 {
        assert_eq!(world.read(Metric::GroupDebtsForgotten), 0, "{index}");
        assert_eq!(world.hosts[0].0.debts.len(), index.saturating_sub(1));
        world.say(author, &publish(&format!("chat:{index}"), &index.to_string(), &json!({})));
    }
    assert_eq!(world.read(Metric::GroupDebtsForgotten), 1);
    assert_eq!(world.hosts[0].0.debts.len(), GROUP_DEBTS_MAX);
}
