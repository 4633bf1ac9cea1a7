//! Which of those who answer a method is asked, and when all of them are busy.

use super::service::{offer, only, request, service, shards, user_on};
use super::*;
use crate::limits::{PROVIDERS_TRIED_MAX, WORKING_PER_CONNECTION_MAX};

/// A connection that works on as many requests as it may.
fn occupy(world: &mut World, provider: Who) {
    let id = world.sockets[provider].id;
    let conn = world.hosts[id.shard.index()].0.slots.find_mut(id).unwrap();
    let others = (1..).map(|number| (ShardId(0), crate::request::Ticket(u64::MAX - number)));
    conn.service.as_mut().unwrap().working.extend(others.take(WORKING_PER_CONNECTION_MAX));
}

#[test]
fn nobody_is_said_to_be_busy_who_was_not_asked() {
    for gone in [false, true] {
        let mut world = shards(2);
        let home = crate::route::home(&options().key, "method:plan", 2).index();
        // The home hears of a refusal when it has given the next request to the other.
        let providers = [(); 2].map(|()| service(&mut world, 1 - home, "svc"));
        for provider in providers {
            offer(&mut world, provider, &["plan"]);
        }
        if gone {
            // It has left, and the method's home does not know yet.
            let id = world.sockets[providers[0]].id;
            let conn = world.hosts[1 - home].0.slots.find_mut(id).unwrap();
            conn.service.as_mut().unwrap().methods.clear();
        } else {
            occupy(&mut world, providers[0]);
        }
        let ann = user_on(&mut world, home, "ann");
        let asked = if gone { 1 } else { 2 };
        (0..asked).for_each(|number| world.put(ann, &text(&request("plan", &number.to_string(), &json!({})))));
        world.run();
        assert_eq!(world.heard(ann), [] as [Value; 0], "gone {gone}");
        assert_eq!(of_type(&world.heard(providers[1]), "request").len(), asked, "gone {gone}");
        // Now both are busy, or the only one.
        occupy(&mut world, providers[1]);
        world.say(ann, &request("plan", "last", &json!({})));
        assert_eq!(only(&mut world, ann, "response")["error"]["code"], "OVERLOADED", "gone {gone}");
    }
}

#[test]
fn a_request_is_passed_on_to_so_many_providers_and_no_more() {
    for (over, answered) in [(0, true), (1, false), (2, false)] {
        let busy = PROVIDERS_TRIED_MAX - 1 + over;
        let mut world = World::new();
        let providers: Vec<Who> = (0..=busy).map(|_| service(&mut world, 0, "svc")).collect();
        for provider in &providers {
            offer(&mut world, *provider, &["plan"]);
        }
        for provider in &providers[..busy] {
            occupy(&mut world, *provider);
        }
        let ann = world.legacy("/ws", "ann");
        world.say(ann, &request("plan", "q", &json!({})));
        assert_eq!((world.heard(providers[busy]).len(), world.heard(ann).len()), (answered.into(), (!answered).into()));
    }
}
