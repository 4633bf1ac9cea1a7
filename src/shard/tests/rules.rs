//! Other rules while connections are open: what holds from then on, what ends, and what two shards count for each other
//! while only one of them has heard.

use super::*;
use crate::auth::{ChannelRate, Pattern, PolicyRow, Verb, Verbs};
use crate::shard::rules::Rules;

impl World {
    fn rules(&mut self, host: usize, generation: u32, change: impl FnOnce(&mut Rules)) {
        let now = &self.hosts[host].0.options;
        let mut rules = Rules {
            generation,
            policy: Arc::clone(&now.policy),
            origins: Arc::clone(&now.origins),
            limits: now.limits,
            unlimited: false,
            connections_max: now.connections_max,
        };
        change(&mut rules);
        self.handle(host, Input::Mesh(ShardId(9), MeshMessage::Rules(Arc::new(rules))));
        self.run();
    }
}

fn row(pattern: &str) -> PolicyRow {
    PolicyRow::new(Pattern::parse(pattern).unwrap())
}

fn policy(rows: &[PolicyRow]) -> Arc<Policy> {
    Arc::new(Policy::with_rows(rows).unwrap())
}

fn acks(world: &mut World, who: Who, ids: std::ops::Range<u32>) -> (usize, usize) {
    for id in ids {
        world.say(who, &publish("chat:s", &id.to_string(), &json!({})));
    }
    let heard = world.heard(who);
    (of_type(&heard, "ack").len(), of_type(&heard, "nack").len())
}

#[test]
fn a_rate_holds_from_then_on_and_nobody_is_closed_for_it() {
    let mut world = World::with(|options| options.unlimited = false);
    let who = world.known("/ws/chat/s", "ann");
    assert_eq!(acks(&mut world, who, 0..5), (5, 0));
    world.rules(0, 2, |rules| rules.limits.chat.messages = crate::rate::Rate { per_minute: 60, burst: 2 });
    assert_eq!(acks(&mut world, who, 5..8), (2, 1), "what was left of more is cut to the burst");
    world.rules(0, 2, |rules| rules.limits.chat.messages = crate::rate::Rate { per_minute: 60, burst: 9 });
    assert_eq!(acks(&mut world, who, 8..9), (0, 1), "rules with a number that was had before are passed over");
    world.rules(0, 3, |rules| rules.unlimited = true);
    assert_eq!(acks(&mut world, who, 9..200), (191, 0));
    assert!(world.is_open(who));
    assert_eq!(world.read(Metric::RulesGeneration), 3);
}

#[test]
fn what_the_policy_no_longer_allows_ends_and_the_rest_goes_on() {
    let mut world = World::new();
    let (ann, ben) = (world.known("/ws/chat/s", "ann"), world.known("/ws/chat/s", "ben"));
    world.say(ann, &subscribe(&["chat:t".to_owned()]));
    world.heard(ann);
    let none = PolicyRow { verbs: Some(Verbs::NONE), ..row("chat:t") };
    world.rules(0, 2, |rules| rules.policy = policy(&[none]));
    world.wait(1000);
    let heard = world.heard(ann);
    let left = of_type(&heard, "unsubscribed");
    assert_eq!(left.len(), 1, "{heard:?}");
    assert_eq!(
        (left[0]["payload"]["channel"].as_str(), left[0]["payload"]["reason"].as_str()),
        (Some("chat:t"), Some("permission_denied"))
    );
    assert_eq!(acks(&mut world, ben, 0..3), (3, 0));
    assert!(world.is_open(ann) && world.is_open(ben));
    let silent = PolicyRow { verbs: Some(Verbs::of(&[Verb::Subscribe])), ..row("chat:s") };
    world.rules(0, 3, |rules| rules.policy = policy(&[silent]));
    world.wait(1000);
    assert_eq!(acks(&mut world, ben, 3..4), (0, 1), "what was known of the own channel is not known any more");
    world.rules(0, 4, |rules| rules.policy = policy(&[]));
    world.wait(1000);
    assert_eq!(acks(&mut world, ben, 4..5), (1, 0));
}

#[test]
fn rates_of_channels_begin_anew_with_other_rows() {
    let mut world = World::with(|options| options.unlimited = false);
    let who = world.known("/ws/chat/s", "ann");
    let rate = |pattern: &str, burst| PolicyRow { rate: Some(ChannelRate { per_minute: 6, burst }), ..row(pattern) };
    world.rules(0, 2, |rules| rules.policy = policy(&[rate("chat:s", 1)]));
    assert_eq!(acks(&mut world, who, 0..2), (1, 1));
    // The row of the same number is another's now.
    world.rules(0, 3, |rules| rules.policy = policy(&[rate("trip:*", 1), rate("chat:s", 3)]));
    assert_eq!(acks(&mut world, who, 2..6), (3, 1));
    world.rules(0, 4, |rules| rules.policy = policy(&[]));
    assert_eq!(acks(&mut world, who, 6..16), (10, 0));
}

#[test]
fn places_of_an_address_are_given_back_whichever_shard_hears_first() {
    for first in [0, 1] {
        let mut world = World::with(|options| options.shards = 2);
        let at = |world: &mut World, max: u32, generation| {
            for host in [first, 1 - first] {
                world.rules(host, generation, |rules| rules.limits.connections_per_address = max);
                // Between the two: somebody comes and goes.
                let who = world.client_on(0, true, "/ws/chat/between", &format!("u{generation}{host}{max}"));
                let id = world.sockets[who].id;
                world.handle(id.shard.index(), Input::Gone(id));
                world.run();
            }
        };
        at(&mut world, 2, 2);
        at(&mut world, 0, 3);
        at(&mut world, 2, 4);
        let open: Vec<Who> =
            (0..3).map(|n| world.upgrade_on(0, &format!("/ws/chat/x?token={}", token(&format!("u{n}"))))).collect();
        let statuses = world.sockets.len();
        assert!(statuses >= 9);
        let let_in = open.iter().filter(|who| world.is_open(**who) && !world.sockets[**who].taken.is_empty()).count();
        assert_eq!(let_in, 2, "two places, none lost and none too many; first {first}");
    }
}

#[test]
fn who_may_no_longer_see_who_is_there_is_not_told_any_more() {
    let mut world = World::new();
    let ann = world.known("/ws/chat/s", "ann");
    let told = |world: &mut World, user: &str| {
        let other = world.known("/ws/chat/s", user);
        world.wait(1000);
        let count = of_type(&world.heard(ann), "presence").len();
        world.say(other, r#"{"type":"unsubscribe","channels":["chat:s"]}"#);
        world.wait(1000);
        world.heard(ann);
        count
    };
    assert!(told(&mut world, "ben") > 0);
    let blind = PolicyRow { verbs: Some(Verbs::of(&[Verb::Subscribe, Verb::Publish])), ..row("chat:s") };
    world.rules(0, 2, |rules| rules.policy = policy(&[blind]));
    world.wait(1000);
    world.heard(ann);
    assert_eq!(told(&mut world, "cat"), 0);
    world.rules(0, 3, |rules| rules.policy = policy(&[]));
    world.wait(1000);
    world.heard(ann);
    assert!(told(&mut world, "dan") > 0, "and is again who may again");
}
