//! Channels that a client names although a pattern has brought it there: it is in them like anybody who joined.

use super::consumers::{join, pattern, shards, user_on};
use super::service::service;
use super::*;
use crate::limits::{MEMBERSHIPS_PER_CONNECTION_MAX, PRESENCE_BATCH_MS};

#[test]
fn a_consumer_that_joins_by_name_is_there_for_everybody() {
    for home in 0..2 {
        let mut world = shards(2);
        let channel = at_home("chat:", home, 2);
        let ann = world.client_on(0, true, "/ws", "ann");
        join(&mut world, ann, &channel);
        let backend = service(&mut world, 1, "svc");
        world.say(backend, &pattern("chat:*", None));
        world.say(ann, &publish(&channel, "1", &json!({})));
        world.wait(4 * (PRESENCE_BATCH_MS + WHEEL_SLOT_MS));
        assert_eq!(of_type(&world.heard(backend), "note").len(), 1);
        let told = |world: &mut World, who| -> Option<u64> {
            of_type(&world.heard(who), "presence").last().and_then(|frame| frame["payload"]["count"].as_u64())
        };
        assert_eq!(told(&mut world, ann), Some(1), "home {home}: who gets a pattern's events is not told");
        join(&mut world, backend, &channel);
        world.wait(4 * (PRESENCE_BATCH_MS + WHEEL_SLOT_MS));
        assert_eq!(told(&mut world, ann), Some(2), "home {home}");
        world.say(backend, &json!({ "type": "unsubscribe", "channels": [channel] }).to_string());
        world.wait(4 * (PRESENCE_BATCH_MS + WHEEL_SLOT_MS));
        assert_eq!(told(&mut world, ann), Some(1), "home {home}");
    }
}

#[test]
fn others_are_told_what_a_token_says_of_its_user() {
    for home in 0..2 {
        let mut world = shards(2);
        let channel = at_home("chat:", home, 2);
        let ann = world.client_on(0, true, "/ws", "ann");
        join(&mut world, ann, &channel);
        world.wait(4 * (PRESENCE_BATCH_MS + WHEEL_SLOT_MS));
        world.heard(ann);
        let info = json!({ "name": "Bob \"the\" Builder", "color": [1, 2] });
        let bob = world.upgrade_on(1, &format!("/ws?token={}", token_with("bob", LATER_S, json!({ "info": info }))));
        join(&mut world, bob, &channel);
        world.wait(4 * (PRESENCE_BATCH_MS + WHEEL_SLOT_MS));
        let heard = world.heard(ann);
        let told =
            of_type(&heard, "presence").into_iter().flat_map(|frame| frame["payload"]["joined"].as_array().unwrap());
        let told: Vec<&Value> = told.filter(|one| one["user_id"] == "bob").collect();
        assert!(!told.is_empty() && told.iter().all(|one| one["info"] == info), "home {home}: {told:?}");
        let request = json!({ "type": "request", "id": "q", "payload": { "method": "presence", "params": { "channel": channel } } });
        world.say(ann, &request.to_string());
        world.wait(1000);
        let heard = world.heard(ann);
        let all = of_type(&heard, "response")[0]["payload"]["result"]["joined"].as_array().unwrap();
        let info_of = |user: &str| all.iter().find(|one| one["user_id"] == user).unwrap().get("info").cloned();
        assert_eq!((info_of("ann"), info_of("bob")), (None, Some(info)), "home {home}");
    }
}

#[test]
fn a_channel_of_a_pattern_is_joined_by_name_within_the_bound_and_not_over_it() {
    let mut world = World::new();
    let (author, backend) = (user_on(&mut world, 0, "ann"), service(&mut world, 0, "svc"));
    world.say(backend, &pattern("chat:*", None));
    world.say(author, &publish("chat:more", "1", &json!({})));
    for from in (0..MEMBERSHIPS_PER_CONNECTION_MAX).step_by(50) {
        let names: Vec<String> = (from..from + 50).map(|index| format!("trip:{index}")).collect();
        world.say(backend, &subscribe(&names));
    }
    world.heard(backend);
    world.say(backend, &subscribe(&["chat:more".into()]));
    let refused = world.heard(backend);
    assert_eq!(refused[0]["payload"]["failures"][0]["code"], "CONNECTION_LIMIT_EXCEEDED", "{refused:?}");
    world.say(backend, r#"{"type":"unsubscribe","channels":["trip:0"]}"#);
    world.heard(backend);
    world.say(backend, &subscribe(&["chat:more".into()]));
    assert_eq!(world.heard(backend)[0]["payload"]["success"], true);
}
