//! Other rules while connections are open: what holds from then on, what ends, and what two shards count for each other
//! while only one of them has heard.

use super::consumers::{join, pattern, user_on};
use super::service::service;
use super::*;
use crate::auth::caps::Deliver;
use crate::auth::{ChannelRate, Pattern, PolicyRow, Verb, Verbs};
use crate::census::limits::Limits;
use crate::limits::{
    AUTOMATIC_PER_CONNECTION_MAX, DELIVER_LOOKS_PER_TURN, HOLD_RETRY_MS, MEMBERSHIPS_PER_CONNECTION_MAX,
    PERMIT_LOOKS_PER_TURN, WALK_SLOTS_PER_TURN_MAX,
};
use crate::shard::rules::Rules;
use crate::shard::walks::Walk;

impl World {
    pub(super) fn rules(&mut self, host: usize, generation: u32, change: impl FnOnce(&mut Rules)) {
        let now = &self.hosts[host].0.options;
        let mut rules = Rules {
            generation,
            policy: Arc::clone(&now.policy),
            origins: Arc::clone(&now.origins),
            limits: now.limits,
            unlimited: false,
            connections_max: now.connections_max,
            retention: now.retention,
            held: now.held,
        };
        change(&mut rules);
        self.handle(host, Input::Mesh(ShardId(9), MeshMessage::Rules(Arc::new(rules))));
        self.run();
    }
}

pub(super) fn row(pattern: &str) -> PolicyRow {
    PolicyRow::new(Pattern::parse(pattern).unwrap())
}

pub(super) fn policy(rows: &[PolicyRow]) -> Arc<Policy> {
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
fn the_bound_of_connections_is_told_and_follows_the_rules() {
    let mut world = World::with(|options| options.connections_max = 50);
    assert_eq!(world.read(Metric::ConnectionsLimit), 50);
    world.rules(0, 2, |rules| rules.connections_max = 20);
    assert_eq!(world.read(Metric::ConnectionsLimit), 20);
    world.rules(0, 2, |rules| rules.connections_max = 90);
    assert_eq!(world.read(Metric::ConnectionsLimit), 20, "rules with a number that was had before are passed over");
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
fn rates_of_channels_that_stay_are_not_given_anew() {
    for known in [true, false] {
        let mut world = World::with(|options| options.unlimited = false);
        let who = world.client(known, "/ws/chat/s", "ann");
        let rate = |pattern: &str| PolicyRow { rate: Some(ChannelRate { per_minute: 6, burst: 1 }), ..row(pattern) };
        let passed = |world: &mut World, ids| acks(world, who, ids).0;
        world.rules(0, 2, |rules| rules.policy = policy(&[rate("chat:s")]));
        assert_eq!(passed(&mut world, 0..1), 1);
        for generation in 3..6 {
            // The same again, other limits, and rows that say nothing of rates.
            let more = if generation == 5 { vec![rate("chat:s"), row("trip:*")] } else { vec![rate("chat:s")] };
            world.rules(0, generation, |rules| {
                rules.policy = policy(&more);
                rules.limits.connections_per_user = 7 + generation;
            });
            let id = generation + 10;
            assert_eq!(passed(&mut world, id..id + 1), 0, "known {known}, rules {generation}");
        }
        world.wait(10_500);
        // The legacy client's message waited, and comes with what time brings.
        assert_eq!(passed(&mut world, 30..31), 1, "known {known}");
    }
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

#[test]
fn so_many_memberships_are_held_against_a_new_policy_in_a_turn_and_no_more() {
    let max = u64::from(PERMIT_LOOKS_PER_TURN);
    let each = MEMBERSHIPS_PER_CONNECTION_MAX as u64;
    let mut world = World::new();
    // One with as many channels as a backend may have, and then users with as many as they may join.
    let (author, backend) = (world.legacy("/ws", "ann"), service(&mut world, 0, "svc"));
    world.say(backend, &pattern("chat:*", None));
    for index in 0..AUTOMATIC_PER_CONNECTION_MAX {
        world.say(author, &publish(&format!("chat:{index}"), "1", &json!({})));
    }
    world.heard(backend);
    world.heard(author);
    let users: Vec<Who> = (0..4).map(|index| world.known("/ws", &format!("u{index}"))).collect();
    for who in &users {
        let names: Vec<String> = (0..each).map(|index| format!("trip:{index}")).collect();
        names.chunks(50).for_each(|names| world.say(*who, &subscribe(names)));
        world.heard(*who);
    }
    let all = AUTOMATIC_PER_CONNECTION_MAX as u64 + 4 * each;
    assert_eq!(world.read(Metric::Memberships), all);
    let none = PolicyRow { verbs: Some(Verbs::NONE), ..row("trip:*") };
    world.rules(0, 2, |rules| rules.policy = policy(&[none]));
    let mut before = all;
    for turn in 1..=all.div_ceil(max) {
        world.jump(0);
        // What is joined and left in between is looked at once or twice, and never passed over.
        if turn == 33 {
            world.say(users[3], r#"{"type":"unsubscribe","channels":["trip:7","trip:99"]}"#);
            world.say(users[3], &subscribe(&["chat:7".to_owned()]));
            before -= 1;
        }
        let now = world.read(Metric::Memberships);
        assert!(before - now <= max, "turn {turn}: {before} to {now}");
        before = now;
    }
    assert_eq!(
        before,
        AUTOMATIC_PER_CONNECTION_MAX as u64 + 1,
        "a backend may all, and what was joined meanwhile is in"
    );
    assert!(!world.hosts[0].0.walks.iter().any(|walk| matches!(walk, Walk::Permit(..))));
    assert!(users.iter().all(|who| world.is_open(*who)) && world.is_open(backend));
    let heard = world.heard(users[0]);
    assert_eq!(of_type(&heard, "unsubscribed").len() as u64, each);
}

/// Two shards, of which the second hears of a limit before or after the first.
fn with_limit(world: &mut World, second_first: bool, generation: u32, change: fn(&mut Limits)) {
    let order = if second_first { [1, 0] } else { [0, 1] };
    for host in order {
        world.rules(host, generation, |rules| change(&mut rules.limits));
        world.jump(0);
    }
    world.wait(250);
}

fn leave(world: &mut World, who: Who) {
    let id = world.sockets[who].id;
    world.handle(id.shard.index(), Input::Gone(id));
    world.run();
}

#[test]
fn who_came_from_an_address_before_there_was_a_limit_counts_under_it() {
    for second_first in [false, true] {
        let mut world = World::with(|options| (options.shards, options.echo) = (2, true));
        let echo = world.upgrade_on(0, "/echo");
        let mut inside: Vec<Who> = (0..6).map(|n| world.known(&format!("/ws/chat/{n}"), &format!("u{n}"))).collect();
        let held = |world: &mut World, path: &str| {
            let who = world.upgrade_on(0, path);
            (who, world.sockets[who].taken.is_empty())
        };
        with_limit(&mut world, second_first, 2, |limits| limits.connections_per_address = 7);
        let (seventh, waits) = held(&mut world, "/ws/chat/x");
        assert!(!waits, "six are in, and who echoes is not counted");
        let (eighth, waits) = held(&mut world, &format!("/ws/chat/y?token={}", token("late")));
        assert!(waits, "seven are in");
        inside.extend([seventh, eighth]);
        leave(&mut world, inside[0]);
        world.wait(HOLD_RETRY_MS + 250);
        assert!(world.is_open(eighth) && world.is_open(echo));
        // Off, two more, and on again: everybody counts once.
        with_limit(&mut world, second_first, 3, |limits| limits.connections_per_address = 0);
        inside.extend((0..2).map(|n| world.known("/ws", &format!("v{n}"))));
        with_limit(&mut world, second_first, 4, |limits| limits.connections_per_address = 9);
        assert!(held(&mut world, "/ws/chat/z").1, "nine are in");
        assert!(inside[1..].iter().all(|who| world.is_open(*who)), "nobody is closed for it");
        for who in 0..world.sockets.len() {
            leave(&mut world, who);
        }
        let fresh = (0..10).filter(|_| !held(&mut world, "/ws/chat/z").1).count();
        assert_eq!(fresh, 9, "whoever was counted has given the place back");
    }
}

#[test]
fn who_is_handed_to_a_shard_that_knows_of_the_limit_counts_there() {
    for home in [0, 1] {
        let mut world = World::with(|options| options.shards = 2);
        let channel = at_home("chat:", 1, 2);
        let path = format!("/ws/{}", channel.replace(':', "/"));
        let limit = |rules: &mut Rules| rules.limits.connections_per_address = 1;
        world.rules(1, 2, limit);
        let first = world.upgrade_on(0, &path);
        assert_eq!(world.status(first), 101);
        world.rules(0, 2, limit);
        world.wait(250);
        let second = world.upgrade_on(home, &path);
        assert!(world.sockets[second].taken.is_empty(), "one is in");
        leave(&mut world, first);
        world.wait(HOLD_RETRY_MS + 250);
        assert_eq!(world.status(second), 101);
    }
}

#[test]
fn who_was_on_a_resource_before_there_was_a_limit_counts_under_it() {
    for second_first in [false, true] {
        let mut world = World::with(|options| options.shards = 2);
        let inside: Vec<Who> = (0..3).map(|n| world.known("/ws/chat/s", &format!("u{n}"))).collect();
        let open = world.known("/ws", "ann");
        with_limit(&mut world, second_first, 2, |limits| limits.connections_per_resource = 2);
        assert!(inside.iter().all(|who| world.is_open(*who)), "who is in stays in");
        for (left, who) in inside.iter().take(2).enumerate() {
            let late = world.known("/ws/chat/s", &format!("late{left}"));
            assert!(!world.is_open(late), "{left} have left");
            leave(&mut world, *who);
        }
        let late = world.known("/ws/chat/s", "last");
        assert!(world.is_open(late) && world.is_open(open));
    }
}

#[test]
fn who_was_unknown_before_there_was_a_limit_goes_as_others_come() {
    let mut world = World::with(|options| options.shards = 1);
    let silent: Vec<Who> = (0..4).filter_map(|_| world.try_accept(0)).collect();
    world.rules(0, 2, |rules| rules.limits.strangers_per_address = 4);
    world.wait(250);
    let late: Vec<Who> = (0..2).filter_map(|_| world.try_accept(0)).collect();
    world.run();
    let ended: Vec<bool> = silent.iter().chain(&late).map(|who| world.sockets[*who].end.is_some()).collect();
    assert_eq!(ended, [true, true, false, false, false, false]);
}

#[test]
fn who_has_spoken_and_stands_in_line_does_not_go_for_another() {
    let mut world = World::with(|options| options.shards = 1);
    world.rules(0, 2, |rules| rules.limits.strangers_per_address = 4);
    let here: Vec<Who> = (0..4).filter_map(|_| world.try_accept(0)).collect();
    let oldest = world.sockets[here[0]].id;
    world.hosts[0].0.enter_line(oldest);
    let come = |world: &mut World| {
        world.wait(250);
        let late = world.try_accept(0).unwrap();
        world.run();
        late
    };
    let late = come(&mut world);
    let is_gone = |world: &World, who: Who| world.sockets[who].end.is_some();
    assert!(is_gone(&world, late) && here.iter().all(|who| !is_gone(&world, *who)), "the newcomer goes");
    world.hosts[0].0.leave_line(oldest);
    let late = come(&mut world);
    assert!(!is_gone(&world, late) && is_gone(&world, here[0]), "who keeps silent goes");
    assert_eq!(world.read(Metric::RefusedCrowded), 2);
}

#[test]
fn so_many_connections_are_counted_late_in_a_turn_and_no_more() {
    let max = WALK_SLOTS_PER_TURN_MAX;
    let mut world = World::new();
    for n in 0..=max {
        world.known("/ws", &format!("u{n}"));
    }
    world.rules(0, 2, |rules| rules.limits.connections_per_address = 1);
    let at = |world: &World| {
        let count = |walk: &Walk| if let Walk::Count(at) = walk { Some(*at) } else { None };
        world.hosts[0].0.walks.iter().find_map(count)
    };
    world.jump(0);
    assert_eq!(at(&world), Some(max));
    world.jump(0);
    assert_eq!(at(&world), None);
}

fn come(world: &mut World, host: usize, user: &str) -> (Who, Vec<u64>) {
    let who = user_on(world, host, user);
    let heard = join(world, who, "chat:s");
    (who, seqs(&heard, "note"))
}

fn say(world: &mut World, who: Who, ids: std::ops::RangeInclusive<u32>) {
    for id in ids {
        world.say(who, &publish("chat:s", &id.to_string(), &json!({})));
    }
}

fn until_acked() -> Arc<Policy> {
    policy(&[PolicyRow { deliver: Some(Deliver::UntilAcked), ..row("chat:*") }])
}

/// The home of `chat:s` among two shards, and the other one.
fn home_and_other() -> [usize; 2] {
    let key = options().key;
    let home = crate::route::home(&key, "chat:s", 2).index();
    [home, 1 - home]
}

#[test]
fn an_open_channel_owes_from_the_change_of_its_delivery_on_and_nothing_from_before() {
    let [home, other] = home_and_other();
    for at in [home, other] {
        for order in [[home, other], [other, home]] {
            let mut world = World::with(|options| options.shards = 2);
            let bob = world.known("/ws/chat/s", "bob");
            let (ann, heard) = come(&mut world, at, "ann");
            assert!(heard.is_empty());
            say(&mut world, bob, 1..=2);
            leave(&mut world, ann);
            for host in order {
                world.rules(host, 2, |rules| rules.policy = until_acked());
                world.wait(250);
            }
            let (ann, heard) = come(&mut world, at, "ann");
            assert!(heard.is_empty(), "what was there live is not sent again: {heard:?}");
            leave(&mut world, ann);
            say(&mut world, bob, 3..=4);
            for _ in 0..2 {
                let (ann, heard) = come(&mut world, at, "ann");
                assert_eq!(heard, [3, 4], "until it is acknowledged");
                leave(&mut world, ann);
            }
            let ann = user_on(&mut world, at, "ann");
            let heard = join(&mut world, ann, "chat:s");
            let event = of_type(&heard, "note")[0].clone();
            let payload = json!({ "channel": "chat:s", "epoch": event["epoch"], "seq": 3 });
            world.say(ann, &json!({ "type": "ack", "payload": payload }).to_string());
            leave(&mut world, ann);
            assert_eq!(come(&mut world, at, "ann").1, [4]);
            assert_eq!(come(&mut world, other, "cat").1, [3, 4], "whoever it is");
            // Rules that say the same change nothing.
            for host in order {
                world.rules(host, 3, |rules| rules.policy = until_acked());
                world.wait(250);
            }
            assert_eq!(come(&mut world, at, "dan").1, [3, 4]);
            // Live again: nothing is owed any more, and not when it is asked for once more.
            for (generation, rows) in [(4, policy(&[])), (5, until_acked())] {
                for host in order {
                    world.rules(host, generation, |rules| rules.policy = Arc::clone(&rows));
                    world.wait(250);
                }
                assert!(come(&mut world, at, "eve").1.is_empty(), "generation {generation}");
            }
            say(&mut world, bob, 5..=5);
            assert_eq!(come(&mut world, at, "eve").1, [5]);
        }
    }
}

#[test]
fn while_one_shard_has_heard_of_another_delivery_the_home_alone_decides() {
    let [home, other] = home_and_other();
    for first in [home, other] {
        let mut world = World::with(|options| options.shards = 2);
        let bob = world.known("/ws/chat/s", "bob");
        // A member there keeps the follower at it.
        let (watcher, _) = come(&mut world, other, "eve");
        say(&mut world, bob, 1..=2);
        world.rules(first, 2, |rules| rules.policy = until_acked());
        world.wait(250);
        say(&mut world, bob, 3..=4);
        let owed: &[u64] = if first == home { &[3, 4] } else { &[] };
        for at in [home, other] {
            let (ann, heard) = come(&mut world, at, "ann");
            assert_eq!(heard, owed, "first {first}, at {at}");
            leave(&mut world, ann);
        }
        assert_eq!(seqs(&world.heard(watcher), "note"), [1, 2, 3, 4], "who is in gets everything once");
    }
}

#[test]
fn a_legacy_client_is_asked_what_it_has_once_its_open_channel_waits_for_that() {
    for at in home_and_other() {
        let mut world = World::with(|options| options.shards = 2);
        let bob = world.known("/ws/chat/s", "bob");
        let (legacy, _) = come(&mut world, at, "ann");
        let pings = |world: &mut World, id: u32| {
            say(world, bob, id..=id);
            let taken = std::mem::take(&mut world.sockets[legacy].taken);
            taken.windows(4).filter(|bytes| bytes == b"ack:").count()
        };
        assert_eq!(pings(&mut world, 1), 0);
        for host in 0..2 {
            world.rules(host, 2, |rules| rules.policy = until_acked());
        }
        world.wait(250);
        assert_eq!([2, 3].map(|id| pings(&mut world, id)), [1, 1]);
    }
}

#[test]
fn so_many_channels_are_held_against_a_new_policy_in_a_turn_and_no_more() {
    let max = DELIVER_LOOKS_PER_TURN as usize;
    for count in [max - 1, max, max + 1] {
        let mut world = World::new();
        let ann = world.known("/ws", "ann");
        for index in 0..count {
            world.say(ann, &publish(&format!("chat:{index}"), "1", &json!({})));
        }
        world.rules(0, 2, |rules| rules.policy = until_acked());
        let at = |world: &World| {
            let deliver = |walk: &Walk| if let Walk::Deliver(at) = walk { Some(*at as usize) } else { None };
            world.hosts[0].0.walks.iter().find_map(deliver)
        };
        world.jump(0);
        assert_eq!(at(&world), (count > max).then_some(max), "{count}");
        world.jump(0);
        assert_eq!(at(&world), None);
    }
}
