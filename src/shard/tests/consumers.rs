//! Acknowledgements of subscribers, and services that subscribe to patterns alone or in a group.

use super::service::{service, service_with};
use super::*;
use crate::limits::{
    AUTOMATIC_IDLE_MS, AUTOMATIC_PER_CONNECTION_MAX, ENLIST_ROOMS_PER_TURN, GROUP_ACK_MS, PATTERNS_PER_CONNECTION_MAX,
    PATTERNS_PER_SHARD_MAX, QUIET_LOOKS_PER_TURN,
};

pub(super) fn shards(count: u16) -> World {
    World::with(|options| options.shards = count)
}

pub(super) fn user_on(world: &mut World, host: usize, user: &str) -> Who {
    let who = world.upgrade_on(host, &format!("/ws?token={}", token(user)));
    world.heard(who);
    who
}

pub(super) fn join(world: &mut World, who: Who, channel: &str) -> Vec<Value> {
    world.say(who, &subscribe(&[channel.to_owned()]));
    world.heard(who)
}

pub(super) fn ack(world: &mut World, who: Who, event: &Value) {
    let message = json!({ "type": "ack", "payload": {
        "channel": event["channel"], "epoch": event["epoch"], "seq": event["seq"] } });
    world.say(who, &message.to_string());
}

pub(super) fn pattern(pattern: &str, group: Option<&str>) -> String {
    let mut payload = json!({ "channels": [pattern] });
    if let Some(group) = group {
        payload["group"] = json!(group);
    }
    json!({ "type": "subscribe", "payload": payload }).to_string()
}

fn gone(world: &mut World, who: Who) {
    let id = world.sockets[who].id;
    world.handle(id.shard.index(), Input::Gone(id));
    world.run();
}

/// Lets time pass while clients show that they are there.
fn wait_alive(world: &mut World, who: &[Who], ms: u64) {
    let step = crate::limits::PING_AFTER_MS;
    for _ in 0..ms.div_ceil(step) {
        world.wait(step);
        who.iter().for_each(|who| world.send(*who, &masked(10, b"")));
    }
}

/// The events that a client got, by channel and position.
fn notes(frames: &[Value]) -> Vec<(String, u64)> {
    let place = |event: &&Value| Some((event["channel"].as_str()?.to_owned(), event["seq"].as_u64()?));
    of_type(frames, "note").iter().filter_map(place).collect()
}

#[test]
fn notifications_come_until_they_are_acknowledged_on_any_device() {
    let mut world = shards(2);
    let backend = service(&mut world, 0, "svc");
    for user in ["ann", "bob", "cid"] {
        let channel = format!("notifications:{user}");
        for index in 1..=4 {
            world.say(backend, &publish(&channel, &format!("{user}{index}"), &json!({})));
        }
        // Once where the channel is at home, once where it is followed.
        let (first, second) = (user_on(&mut world, 0, user), user_on(&mut world, 1, user));
        let heard = join(&mut world, first, &channel);
        assert_eq!(seqs(&heard, "note"), [1, 2, 3, 4], "{user}: everything that is kept");
        assert!(of_type(&heard, "subscribed")[0]["payload"].get("recovered").is_none());
        ack(&mut world, first, of_type(&heard, "note")[1]);
        let heard = join(&mut world, second, &channel);
        assert_eq!(seqs(&heard, "note"), [3, 4], "{user}: what was not acknowledged");
        ack(&mut world, second, of_type(&heard, "note")[1]);
        ack(&mut world, first, &json!({ "channel": channel, "epoch": heard[1]["payload"]["epoch"], "seq": 1 }));
        for host in 0..2 {
            let third = user_on(&mut world, host, user);
            assert_eq!(seqs(&join(&mut world, third, &channel), "note").len(), 0, "{user}: acknowledged");
        }
        world.say(backend, &publish(&channel, &format!("{user}5"), &json!({})));
        let fourth = user_on(&mut world, 0, user);
        assert_eq!(seqs(&join(&mut world, fourth, &channel), "note"), [5], "{user}");
    }
}

#[test]
fn what_is_lost_before_it_was_acknowledged_is_told_first() {
    for home in 0..2 {
        let mut world = World::with(|options| {
            options.shards = 2;
            options.retention.count = 3;
        });
        let backend = service(&mut world, 0, "svc");
        let channel = at_home("notifications:u", home, 2);
        for index in 1..=5 {
            world.say(backend, &publish(&channel, &index.to_string(), &json!({})));
        }
        let user = channel.strip_prefix("notifications:").unwrap().to_owned();
        let who = user_on(&mut world, 0, &user);
        let heard = join(&mut world, who, &channel);
        let kinds: Vec<String> = words(&heard).into_iter().skip(1).filter(|word| word != "ping frame").collect();
        assert_eq!(kinds, ["subscribed", "gap", "note", "note", "note"], "home {home}");
        let gap = &of_type(&heard, "gap")[0]["payload"];
        let expected = json!({ "channel": channel, "from_seq": 1, "to_seq": 2, "reason": "trimmed", "lost": true });
        assert_eq!(gap, &expected);
    }
}

#[test]
fn a_legacy_client_acknowledges_by_its_pong_and_a_known_one_is_not_asked() {
    let mut world = shards(2);
    let backend = service(&mut world, 0, "svc");
    let channel = at_home("notifications:u", 1, 2);
    let user = channel.strip_prefix("notifications:").unwrap().to_owned();
    world.say(backend, &publish(&channel, "1", &json!({})));
    let legacy = user_on(&mut world, 0, &user);
    world.say(legacy, &subscribe(std::slice::from_ref(&channel)));
    let taken = std::mem::take(&mut world.sockets[legacy].taken);
    let at = taken.windows(6).position(|bytes| &bytes[2..] == b"ack:").expect("a ping follows the event");
    assert_eq!((taken[at], taken[at + 1], at + 26), (0x89, 24, taken.len()), "it is the last thing");
    let again = user_on(&mut world, 1, &user);
    assert_eq!(seqs(&join(&mut world, again, &channel), "note"), [1], "not acknowledged yet");
    world.send(legacy, &masked(10, b""));
    world.send(legacy, &masked(10, &taken[at + 2..at + 25]));
    assert_eq!(world.read(Metric::Acknowledged), 0, "another pong says nothing");
    world.send(legacy, &masked(10, &taken[at + 2..]));
    assert_eq!(world.read(Metric::Acknowledged), 1);
    let known = world.known("/ws", &user);
    assert_eq!(seqs(&join(&mut world, known, &channel), "note").len(), 0);
    world.say(backend, &publish(&channel, "2", &json!({})));
    assert_eq!(world.heard_words(known), ["note"]);
    assert_eq!(world.heard_words(legacy), ["note", "ping frame"]);
}

#[test]
fn an_acknowledgement_counts_only_for_what_was_sent_to_a_member() {
    let mut world = shards(2);
    let ann = user_on(&mut world, 0, "ann");
    let backend = service(&mut world, 0, "svc");
    let epoch = join(&mut world, ann, "chat:a")[1]["payload"]["epoch"].clone();
    world.say(backend, &publish("chat:a", "1", &json!({})));
    for (channel, epoch, seq) in
        [("chat:a", &epoch, 2), ("chat:a", &json!("0000000000000000"), 1), ("chat:b", &epoch, 1), ("x", &epoch, 1)]
    {
        ack(&mut world, ann, &json!({ "channel": channel, "epoch": epoch, "seq": seq }));
    }
    assert_eq!(world.read(Metric::Acknowledged), 0);
    for _ in 0..3 {
        ack(&mut world, ann, &json!({ "channel": "chat:a", "epoch": epoch, "seq": 1 }));
    }
    assert_eq!(world.read(Metric::Acknowledged), 1, "what says nothing new goes no further");
}

#[test]
fn a_pattern_brings_every_event_of_every_channel_from_then_on() {
    let mut world = shards(3);
    let (author, backend) = (user_on(&mut world, 0, "ann"), service(&mut world, 1, "svc"));
    world.say(author, &publish("chat:0", "before", &json!({})));
    world.say(backend, &pattern("chat:*", None));
    assert_eq!(world.heard_words(backend), ["subscribe_response"]);
    let mut expected = Vec::new();
    for round in 1..=3_u64 {
        for index in 0..12 {
            let channel = format!("chat:{index}");
            world.say(author, &publish(&channel, &format!("{round}"), &json!({})));
            expected.push((channel, round + u64::from(index == 0)));
        }
        world.say(author, &publish("trip:0", &format!("{round}"), &json!({})));
    }
    let heard = world.heard(backend);
    assert_eq!(notes(&heard), expected);
    assert_eq!(of_type(&heard, "subscribed").len(), 12);
    world.say(backend, r#"{"type":"unsubscribe","channels":["chat:*"]}"#);
    assert_eq!(world.heard_words(backend), ["unsubscribed", "subscribe_response"]);
    world.say(author, &publish("chat:0", "after", &json!({})));
    assert!(world.heard(backend).is_empty());
    assert_eq!(world.read(Metric::Memberships), 0);
}

#[test]
fn patterns_are_for_services_as_far_as_their_token_goes() {
    let mut world = shards(2);
    let (ann, backend) = (user_on(&mut world, 0, "ann"), service(&mut world, 0, "svc"));
    let narrow = service_with(&mut world, 0, "narrow", json!({ "caps": { "chat:a*": ["subscribe"] } }));
    let refusal = |world: &mut World, who, text: &str, group| {
        world.say(who, &pattern(text, group));
        world.heard(who)[0]["payload"]["failures"][0]["code"].as_str().map(str::to_owned)
    };
    let code = |code: &str| Some(code.to_owned());
    assert_eq!(refusal(&mut world, ann, "chat:*", None), code("PERMISSION_DENIED"));
    assert_eq!(refusal(&mut world, narrow, "chat:*", None), code("PERMISSION_DENIED"));
    assert_eq!(refusal(&mut world, narrow, "chat:a*", None), None);
    assert_eq!(refusal(&mut world, backend, "chat:x", Some("g")), code("INVALID_MESSAGE_FORMAT"));
    assert_eq!(refusal(&mut world, backend, "chat:**", None), code("CHANNEL_NOT_FOUND"));
    for index in 0..=PATTERNS_PER_CONNECTION_MAX {
        let expected = (index == PATTERNS_PER_CONNECTION_MAX).then(|| "CONNECTION_LIMIT_EXCEEDED".to_owned());
        assert_eq!(refusal(&mut world, backend, &format!("p{index:03}:*"), None), expected, "{index}");
    }
    let other = service(&mut world, 1, "svc");
    assert_eq!(refusal(&mut world, other, "chat:a*", None), None);
    for overlapping in ["chat:*", "chat:a*", "chat:ab*", "*"] {
        assert_eq!(refusal(&mut world, other, overlapping, None), code("INVALID_MESSAGE_FORMAT"), "{overlapping}");
    }
    world.say(ann, &publish("chat:b", "1", &json!({})));
    assert!(world.heard(narrow).is_empty() && world.heard(other).is_empty());
}

#[test]
fn a_subscription_that_some_shard_has_no_place_for_ends_and_is_told() {
    let mut world = World::new();
    let count = PATTERNS_PER_SHARD_MAX / PATTERNS_PER_CONNECTION_MAX;
    for _ in 0..count {
        let backend = service(&mut world, 0, "svc");
        for index in 0..PATTERNS_PER_CONNECTION_MAX {
            world.say(backend, &pattern(&format!("p{index:03}:*"), None));
        }
        assert_eq!(world.heard_words(backend), vec!["subscribe_response"; PATTERNS_PER_CONNECTION_MAX]);
    }
    let late = service(&mut world, 0, "svc");
    world.say(late, &pattern("chat:*", None));
    let heard = world.heard(late);
    let ended = of_type(&heard, "unsubscribed");
    assert_eq!(ended[0]["payload"], json!({ "channel": "chat:*", "reason": "overloaded" }), "{heard:?}");
}

#[test]
fn a_group_shares_channels_and_each_event_goes_to_one_consumer() {
    let mut world = shards(3);
    let author = user_on(&mut world, 0, "ann");
    let consumers: Vec<Who> = (0..4).map(|index| service(&mut world, index % 3, "svc")).collect();
    for (index, who) in consumers.iter().enumerate() {
        world.say(*who, &pattern("chat:*", Some(if index < 3 { "g" } else { "other" })));
        world.heard(*who);
    }
    for index in 0..30 {
        for round in 0..2 {
            world.say(author, &publish(&format!("chat:{}", index % 10), &format!("{index}-{round}"), &json!({})));
        }
    }
    let shares: Vec<Vec<(String, u64)>> = consumers.iter().map(|who| notes(&world.heard(*who))).collect();
    let mut together: Vec<_> = shares[..3].concat();
    together.sort();
    let mut expected: Vec<_> =
        (0..10).flat_map(|index| (1..=6).map(move |seq| (format!("chat:{index}"), seq))).collect();
    expected.sort();
    assert_eq!(together, expected, "each event once");
    let mut alone = shares[3].clone();
    alone.sort();
    assert_eq!(alone, expected, "another group gets all of its own");
    assert!(shares[..3].iter().all(|share| !share.is_empty()), "everybody has a share");
    for share in &shares[..3] {
        for (channel, _) in share {
            let seqs: Vec<u64> = share.iter().filter(|(name, _)| name == channel).map(|(_, seq)| *seq).collect();
            assert_eq!(seqs, [1, 2, 3, 4, 5, 6], "one consumer has {channel}, in order");
        }
    }
}

#[test]
fn when_a_consumer_goes_the_next_one_starts_after_what_was_acknowledged() {
    for home in 0..2 {
        let mut world = shards(2);
        let author = user_on(&mut world, 0, "ann");
        let channel = at_home("chat:", home, 2);
        let first = service(&mut world, 0, "svc");
        world.say(first, &pattern("chat:*", Some("g")));
        for index in 1..=4 {
            world.say(author, &publish(&channel, &index.to_string(), &json!({})));
        }
        let heard = world.heard(first);
        assert_eq!(seqs(&heard, "note"), [1, 2, 3, 4]);
        ack(&mut world, first, of_type(&heard, "note")[1]);
        let second = service(&mut world, 1, "svc");
        world.say(second, &pattern("chat:*", Some("g")));
        assert_eq!(world.heard_words(second), ["subscribe_response"], "the first still has it");
        gone(&mut world, first);
        let heard = world.heard(second);
        assert_eq!(seqs(&heard, "note"), [3, 4], "home {home}");
        assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["recovered"], true);
        gone(&mut world, second);
        world.say(author, &publish(&channel, "5", &json!({})));
        let third = service(&mut world, home.into(), "svc");
        world.say(third, &pattern("chat:*", Some("g")));
        world.jump(1000);
        world.jump(1000);
        assert_eq!(seqs(&world.heard(third), "note"), [3, 4, 5], "what came while nobody was there too");
    }
}

#[test]
fn a_consumer_that_does_not_acknowledge_in_time_loses_the_channel() {
    let mut world = shards(2);
    let author = user_on(&mut world, 0, "ann");
    let consumers = [service(&mut world, 0, "svc"), service(&mut world, 1, "svc")];
    for who in consumers {
        world.say(who, &pattern("chat:*", Some("g")));
        world.heard(who);
    }
    world.say(author, &publish("chat:a", "1", &json!({})));
    let first = world.heard(consumers[0]);
    let (one, other) = if notes(&first).is_empty() { (1, 0) } else { (0, 1) };
    let first = if one == 0 { first } else { world.heard(consumers[1]) };
    world.wait(GROUP_ACK_MS - 2 * WHEEL_SLOT_MS);
    assert!(notes(&world.heard(consumers[other])).is_empty(), "there is time left");
    world.wait(3 * WHEEL_SLOT_MS);
    let heard = world.heard(consumers[other]);
    assert_eq!(notes(&heard), [("chat:a".to_owned(), 1)]);
    let told = world.heard(consumers[one]);
    let told = &of_type(&told, "unsubscribed")[0]["payload"];
    assert_eq!(told, &json!({ "channel": "chat:a", "reason": "ack_deadline" }));
    ack(&mut world, consumers[one], of_type(&first, "note")[0]);
    assert_eq!(world.read(Metric::Acknowledged), 0, "it has lost the channel");
    ack(&mut world, consumers[other], of_type(&heard, "note")[0]);
    wait_alive(&mut world, &consumers, 2 * GROUP_ACK_MS);
    assert!(consumers.iter().all(|who| notes(&world.heard(*who)).is_empty()), "everything is acknowledged");
    assert_eq!(world.read(Metric::ConsumersLate), 1);
}

#[test]
fn a_quiet_channel_is_left_and_the_next_event_brings_it_back_without_a_hole() {
    let mut world = shards(2);
    let author = user_on(&mut world, 0, "ann");
    let single = service(&mut world, 1, "svc");
    let grouped = service(&mut world, 0, "svc");
    world.say(single, &pattern("chat:*", None));
    world.say(grouped, &pattern("chat:*", Some("g")));
    let channels = [at_home("chat:", 0, 2), at_home("chat:", 1, 2)];
    let mut round = 0;
    for _ in 0..3 {
        for channel in &channels {
            round += 1;
            world.say(author, &publish(channel, &round.to_string(), &json!({})));
        }
        let (one, two) = (world.heard(single), world.heard(grouped));
        assert_eq!((notes(&one).len(), notes(&two).len()), (2, 2));
        for event in of_type(&two, "note") {
            ack(&mut world, grouped, event);
        }
        assert_eq!(world.read(Metric::Memberships), 4);
        wait_alive(&mut world, &[author, single, grouped], 2 * AUTOMATIC_IDLE_MS + 2000);
        assert_eq!(world.read(Metric::Memberships), 0, "they are left silently");
        assert!(of_type(&world.heard(single), "unsubscribed").is_empty() && notes(&world.heard(grouped)).is_empty());
    }
}

#[test]
fn a_consumer_of_many_channels_gets_all_and_is_told_of_those_that_it_cannot_have() {
    let mut world = World::new();
    let (author, backend) = (world.legacy("/ws", "ann"), service(&mut world, 0, "svc"));
    world.say(backend, &pattern("chat:*", None));
    world.heard(backend);
    for index in 0..=AUTOMATIC_PER_CONNECTION_MAX {
        world.say(author, &publish(&format!("chat:{index}"), "1", &json!({})));
        if index % 500 == 0 {
            world.heard(author);
        }
    }
    let heard = world.heard(backend);
    assert_eq!(notes(&heard).len(), AUTOMATIC_PER_CONNECTION_MAX);
    let refused = of_type(&heard, "unsubscribed");
    let expected = json!({ "channel": format!("chat:{AUTOMATIC_PER_CONNECTION_MAX}"), "reason": "overloaded" });
    assert_eq!((refused.len(), &refused[0]["payload"]), (1, &expected));
    world.say(backend, &subscribe(&["general".to_owned()]));
    assert_eq!(world.heard_words(backend), ["subscribe_response", "subscribed"], "its own joins are counted apart");
    gone(&mut world, backend);
    assert_eq!(world.read(Metric::Memberships), 0);
}

#[test]
fn a_group_that_is_lost_with_many_channels_is_served_in_turns() {
    let mut world = World::new();
    let (author, first) = (world.legacy("/ws", "ann"), service(&mut world, 0, "svc"));
    world.say(first, &pattern("chat:*", Some("g")));
    let count = 3 * ENLIST_ROOMS_PER_TURN;
    for index in 0..count {
        world.say(author, &publish(&format!("chat:{index}"), "1", &json!({})));
    }
    let second = service(&mut world, 0, "svc");
    world.say(second, &pattern("chat:*", Some("g")));
    world.heard(second);
    let id = world.sockets[first].id;
    world.handle(0, Input::Gone(id));
    let (shard, effects) = &mut world.hosts[0];
    assert!(shard.fan_out(world.now, false, effects), "there is more to do");
    assert_eq!(shard.unserved.len(), count - ENLIST_ROOMS_PER_TURN);
    world.run();
    assert_eq!(notes(&world.heard(second)).len(), count);
}

#[test]
fn members_on_other_shards_hear_that_a_channel_has_no_place() {
    let mut world = World::with(|options| (options.shards, options.channels_max) = (2, 2));
    let ann = user_on(&mut world, 0, "ann");
    let bob = user_on(&mut world, 1, "bob");
    // Both places on the second shard are taken by channels with members.
    let mut there = (0..).map(|index| format!("trip:{index}"));
    let mut next = || {
        let home = |name: &String| crate::route::home(&options().key, name, 2) == ShardId(1);
        there.by_ref().find(home).unwrap()
    };
    for _ in 0..2 {
        let channel = next();
        assert_eq!(words(&join(&mut world, bob, &channel)), ["subscribe_response", "subscribed"]);
    }
    let channel = next();
    let heard = join(&mut world, ann, &channel);
    assert_eq!(words(&heard), ["subscribe_response", "unsubscribed"]);
    assert_eq!(heard[1]["payload"], json!({ "channel": channel, "reason": "overloaded" }));
    assert_eq!(world.read(Metric::Memberships), 2);
    world.say(bob, &json!({ "type": "unsubscribe", "channels": ["trip:0", "trip:1", "trip:2", "trip:3"] }).to_string());
    let heard = join(&mut world, ann, &channel);
    assert_eq!(words(&heard), ["subscribe_response", "subscribed"], "a later try succeeds");
}

#[test]
fn a_refreshed_token_ends_the_patterns_and_methods_that_it_does_not_permit() {
    for (claims, lost, answer) in [
        (json!({ "role": "service" }), &[][..], "request"),
        (json!({}), &["connection_error PERMISSION_DENIED"], "response UNKNOWN_TYPE"),
        (
            json!({ "role": "service", "caps": { "method:work": ["register"], "trip:*": ["subscribe"] } }),
            &[],
            "request",
        ),
        (
            json!({ "role": "service", "caps": { "chat:*": ["subscribe"] } }),
            &["connection_error PERMISSION_DENIED"],
            "response UNKNOWN_TYPE",
        ),
    ] {
        let kept = claims["role"] == "service" && claims["caps"].get("trip:*").is_none();
        let mut world = shards(2);
        let backend = service(&mut world, 0, "svc");
        let ann = user_on(&mut world, 1, "ann");
        world.say(backend, &pattern("chat:*", None));
        world.say(backend, r#"{"type":"register","payload":{"methods":["work"]}}"#);
        world.heard(backend);
        let token = token_with("svc", LATER_S, claims.clone());
        world.say(backend, &json!({ "type": "auth", "token": token }).to_string());
        let mut heard = world.heard_words(backend);
        heard.retain(|word| word != "welcome" && word != "unsubscribed");
        assert_eq!(heard, lost, "{claims}");
        let request = json!({ "type": "request", "payload": { "id": "1", "method": "work", "params": {} } });
        world.say(ann, &request.to_string());
        let asked = if answer == "request" { backend } else { ann };
        assert_eq!(world.heard_words(asked).len(), 1, "{claims}: {answer}");
        for channel in ["chat:a", "chat:b"] {
            world.say(ann, &publish(channel, channel, &json!({})));
        }
        let got = notes(&world.heard(backend)).len();
        assert_eq!(got, if kept { 2 } else { 0 }, "{claims}");
    }
}

#[test]
fn a_pattern_does_not_move_a_member_that_is_behind_past_what_it_is_owed() {
    for (home, group) in [(0, None), (1, None), (0, Some("g")), (1, Some("g"))] {
        let mut world = shards(2);
        let (author, backend) = (user_on(&mut world, 0, "ann"), service(&mut world, 0, "svc"));
        let channel = at_home("chat:", home, 2);
        join(&mut world, backend, &channel);
        world.say(backend, &pattern("chat:*", group));
        world.heard(backend);
        world.open(backend, 0);
        for index in 1..=5 {
            world.say(author, &publish(&channel, &index.to_string(), &json!({})));
        }
        world.open(backend, usize::MAX);
        let heard = world.heard(backend);
        assert_eq!(seqs(&heard, "note"), [1, 2, 3, 4, 5], "home {home}, group {group:?}");
        assert!(of_type(&heard, "subscribed").is_empty(), "it is where it was: {heard:?}");
        // The same if the subscription comes while it is behind.
        let other = service(&mut world, 0, "svc");
        join(&mut world, other, &channel);
        world.open(other, 0);
        for index in 6..=8 {
            world.say(author, &publish(&channel, &index.to_string(), &json!({})));
        }
        world.say(other, &pattern("chat:*", None));
        world.say(author, &publish(&channel, "9", &json!({})));
        world.open(other, usize::MAX);
        assert_eq!(seqs(&world.heard(other), "note"), [6, 7, 8, 9], "home {home}, group {group:?}");
    }
}

#[test]
fn a_channel_that_was_joined_by_name_as_well_is_left_without_losing_the_pattern_or_the_other_way_round() {
    for home in 0..2 {
        for by_name_first in [true, false] {
            let mut world = shards(2);
            let (author, backend) = (user_on(&mut world, 0, "ann"), service(&mut world, 0, "svc"));
            let channel = at_home("chat:", home, 2);
            if by_name_first {
                join(&mut world, backend, &channel);
            }
            world.say(backend, &pattern("chat:*", None));
            world.say(author, &publish(&channel, "1", &json!({})));
            if !by_name_first {
                join(&mut world, backend, &channel);
            }
            assert_eq!(seqs(&world.heard(backend), "note").len(), usize::from(by_name_first));
            wait_alive(&mut world, &[author, backend], 2 * AUTOMATIC_IDLE_MS + 2000);
            assert_eq!(world.read(Metric::Memberships), 1, "what was joined by name is not left for being quiet");
            world.say(backend, &json!({ "type": "unsubscribe", "channels": [channel] }).to_string());
            world.say(author, &publish(&channel, "2", &json!({})));
            assert_eq!(seqs(&world.heard(backend), "note"), [2], "home {home}: the pattern holds");
            join(&mut world, backend, &channel);
            world.say(backend, r#"{"type":"unsubscribe","channels":["chat:*"]}"#);
            world.say(author, &publish(&channel, "3", &json!({})));
            assert_eq!(seqs(&world.heard(backend), "note"), [3], "home {home}: it was joined by name");
        }
    }
}

#[test]
fn rooms_that_wait_are_served_to_the_last_without_another_input() {
    let mut world = World::new();
    let (author, first) = (world.legacy("/ws", "ann"), service(&mut world, 0, "svc"));
    world.say(first, &pattern("chat:*", Some("g")));
    for index in 0..=ENLIST_ROOMS_PER_TURN {
        world.say(author, &publish(&format!("chat:{index}"), "1", &json!({})));
    }
    let second = service(&mut world, 0, "svc");
    world.say(second, &pattern("chat:*", Some("g")));
    let id = world.sockets[first].id;
    world.handle(0, Input::Gone(id));
    let (shard, effects) = &mut world.hosts[0];
    assert!(shard.fan_out(world.now, false, effects), "one more is to be served");
    assert_eq!(shard.unserved.len(), 1);
}

#[test]
fn channels_that_have_become_quiet_together_are_left_in_turns() {
    let mut world = World::new();
    let (author, backend) = (world.legacy("/ws", "ann"), service(&mut world, 0, "svc"));
    world.say(backend, &pattern("chat:*", None));
    let count = 3 * QUIET_LOOKS_PER_TURN as u64 + 1;
    for index in 0..count {
        world.say(author, &publish(&format!("chat:{index}"), "1", &json!({})));
    }
    world.heard(author);
    assert_eq!(world.read(Metric::Memberships), count);
    world.jump(AUTOMATIC_IDLE_MS + 1000);
    world.send(author, &masked(10, b""));
    world.send(backend, &masked(10, b""));
    let mut before = world.read(Metric::Memberships);
    assert!(before >= count - QUIET_LOOKS_PER_TURN as u64, "{before}");
    for turn in 0..100 {
        world.jump(1);
        let after = world.read(Metric::Memberships);
        assert!(before - after <= QUIET_LOOKS_PER_TURN as u64, "turn {turn}: {before} to {after}");
        before = after;
    }
    assert_eq!(world.read(Metric::Memberships), 0);
    world.say(backend, r#"{"type":"unsubscribe","channels":["chat:*"]}"#);
    assert!(world.is_open(backend) && world.is_open(author));
}
