//! Services: events for connections, requests and their answers.

use super::*;
use crate::limits::{
    HISTORY_PAGE_BYTES_MAX, HISTORY_PAGE_DEFAULT, HISTORY_PAGE_MAX, METHODS_PER_CONNECTION_MAX, OUTBOX_BYTES_MAX,
    OVERLOADED_RETRY_MS, PROVIDERS_PER_METHOD_MAX, REQUEST_DEADLINE_MS, REQUESTS_PER_CONNECTION_MAX,
    SPREADS_PER_SHARD_MAX, WORKING_PER_CONNECTION_MAX,
};

/// A backend on the open door.
pub(super) fn service_with(world: &mut World, host: usize, user: &str, more: Value) -> Who {
    let mut claims = json!({ "role": "service" });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let who = world.upgrade_on(host, "/ws");
    let client = json!({ "name": "backend", "version": "1" });
    let token = token_with(user, LATER_S, claims);
    world.say(who, &json!({ "type": "auth", "token": token, "client": client }).to_string());
    world.heard(who);
    who
}

pub(super) fn service(world: &mut World, host: usize, user: &str) -> Who {
    service_with(world, host, user, json!({}))
}

/// A user on the open door of a host.
pub(super) fn user_on(world: &mut World, host: usize, user: &str) -> Who {
    let who = world.upgrade_on(host, &format!("/ws?token={}", token(user)));
    world.heard(who);
    who
}

pub(super) fn shards(count: u16) -> World {
    World::with(|options| options.shards = count)
}

pub(super) fn name_of(world: &World, who: Who) -> String {
    let id = world.sockets[who].id;
    world.hosts[id.shard.index()].0.slots.find(id).unwrap().name.to_string()
}

pub(super) fn send_to(target: &str, id: &str, note: u32) -> String {
    json!({ "type": "publish", "id": id, "ack": true, "channel": target,
        "payload": { "channel": target, "type": "note", "payload": { "note": note } } })
    .to_string()
}

pub(super) fn request(method: &str, id: &str, params: &Value) -> String {
    json!({ "type": "request", "payload": { "id": id, "method": method, "params": params } }).to_string()
}

pub(super) fn register(methods: &[&str]) -> String {
    json!({ "type": "register", "payload": { "methods": methods } }).to_string()
}

/// Offers to answer methods, and returns what is said to that.
pub(super) fn offer(world: &mut World, who: Who, methods: &[&str]) -> Value {
    world.say(who, &register(methods));
    only(world, who, "register_response")
}

fn respond(id: &Value, outcome: &Value) -> String {
    let mut payload = json!({ "id": id });
    payload.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
    json!({ "type": "response", "payload": payload }).to_string()
}

/// The payload of the only frame that came.
pub(super) fn only(world: &mut World, who: Who, kind: &str) -> Value {
    let frames = world.heard(who);
    assert_eq!((frames.len(), frames[0]["type"].as_str()), (1, Some(kind)), "{frames:?}");
    frames[0]["payload"].clone()
}

#[test]
fn a_service_reaches_one_connection_on_any_shard_and_everybody_but_itself() {
    let mut world = shards(3);
    let backend = service(&mut world, 0, "svc");
    let users: Vec<Who> = (0..6).map(|index| user_on(&mut world, index % 3, &format!("u{index}"))).collect();
    for (index, who) in users.iter().enumerate() {
        let target = format!("connection:{}", name_of(&world, *who));
        world.say(backend, &send_to(&target, &format!("one-{index}"), 1));
        assert_eq!(only(&mut world, backend, "ack"), json!({ "id": format!("one-{index}"), "channel": target }));
        let heard = world.heard(*who);
        assert_eq!((heard.len(), &heard[0]["type"], &heard[0]["user_id"]), (1, &json!("note"), &json!("svc")));
        assert!(heard[0].get("seq").is_none() && heard[0].get("channel").is_none(), "{heard:?}");
    }
    let text = json!({ "type": "publish", "id": "all", "ack": true, "exclude_sender": true,
        "payload": { "channel": "*", "type": "note", "payload": {} } });
    world.say(backend, &text.to_string());
    assert_eq!(world.heard_words(backend), ["ack"], "its author is left out");
    for who in &users {
        assert_eq!(world.heard_words(*who), ["note"]);
    }
    world.say(backend, &text.to_string());
    assert_eq!(only(&mut world, backend, "ack")["duplicate"], true);
    assert!(users.iter().all(|who| world.heard(*who).is_empty()), "the same operation is sent once");
}

#[test]
fn an_event_without_a_number_goes_in_the_lane_of_its_priority() {
    for (priority, kept) in [(json!(3), false), (json!("low"), false), (json!(2), true), (json!("high"), true)] {
        for target in ["one", "*"] {
            let mut world = shards(2);
            let (backend, ann) = (service(&mut world, 0, "svc"), user_on(&mut world, 1, "ann"));
            let one = format!("connection:{}", name_of(&world, ann));
            let channel = if target == "one" { &one } else { "*" };
            world.sockets[ann].room = 0;
            world.say(ann, r#"{"type":"ping"}"#);
            let pad = "x".repeat(50_000);
            for index in 0..4 {
                let message = json!({ "type": "publish", "id": index.to_string(), "ack": true, "priority": priority,
                    "exclude_sender": true, "payload": { "channel": channel, "type": "note", "payload": { "pad": pad } } });
                world.say(backend, &message.to_string());
            }
            assert_eq!(world.heard_words(backend), ["ack"; 4]);
            for _ in 0..4 {
                queue_critical(&mut world, ann, 50_000);
            }
            assert_eq!(world.is_open(ann), !kept, "{priority} {target}: what is kept counts, what is low makes place");
            assert_eq!(world.read(Metric::OutboxDropped) > 0, !kept);
        }
    }
}

/// Queues something that is never dropped.
fn queue_critical(world: &mut World, who: Who, bytes: usize) {
    let id = world.sockets[who].id;
    let (shard, effects) = &mut world.hosts[id.shard.index()];
    shard.queue_bytes(world.now, id, crate::outbox::Lane::Critical, Payload::copy_of(&vec![b'x'; bytes]), effects);
    world.run();
}

#[test]
fn only_services_name_connections_and_only_those_that_are_there() {
    let mut world = shards(2);
    let (backend, ann) = (service(&mut world, 0, "svc"), user_on(&mut world, 1, "ann"));
    let own = format!("connection:{}", name_of(&world, ann));
    for target in ["*", own.as_str(), "connection:x"] {
        world.say(ann, &send_to(target, "1", 1));
        assert_eq!(world.heard_words(ann), ["nack PERMISSION_DENIED"], "{target}");
        world.say(ann, &subscribe(&[target.to_owned()]));
        let answer = only(&mut world, ann, "subscribe_response");
        assert_eq!(answer["failures"][0]["code"], "PERMISSION_DENIED", "{target}");
        world.say(ann, &json!({ "type": "chat_message", "channel": target, "content": "x" }).to_string());
        assert_eq!(world.heard_words(ann), ["connection_error PERMISSION_DENIED"], "{target}");
    }
    for target in ["connection:", "connection:x", &format!("connection:{:032x}", 7)] {
        world.say(backend, &send_to(target, target, 1));
        assert_eq!(world.heard_words(backend), ["nack CHANNEL_NOT_FOUND"], "{target}");
    }
    world.say(backend, &send_to(&own, "1", 1));
    world.say(backend, &send_to(&own, "1", 2));
    assert_eq!(world.heard_words(backend), ["ack", "nack ID_REUSED"]);
    world.handle(1, Input::Gone(world.sockets[ann].id));
    world.run();
    world.say(backend, &send_to(&own, "2", 1));
    assert_eq!(world.heard_words(backend), ["nack CHANNEL_NOT_FOUND"]);
    let narrow = service_with(&mut world, 0, "narrow", json!({ "caps": { "chat:*": ["publish"] } }));
    world.say(narrow, &send_to("*", "3", 1));
    assert_eq!(world.heard_words(narrow), ["nack PERMISSION_DENIED"], "its token narrows it");
}

#[test]
fn an_event_for_everybody_takes_turns_and_their_number_is_bounded() {
    let mut world = World::new();
    let backend = service(&mut world, 0, "svc");
    let users: Vec<Who> = (0..100).map(|index| world.legacy("/ws", &format!("u{index}"))).collect();
    world.put(backend, &text(&send_to("*", "first", 1)));
    let (shard, effects) = &mut world.hosts[0];
    let before = effects.list.len();
    assert!(shard.fan_out(world.now, false, effects), "there is more to do");
    let written = effects.list[before..].iter().filter(|effect| matches!(effect, Effect::Write(_))).count();
    assert!((1..=crate::limits::VISITS_PER_TURN_MAX).contains(&written), "{written}");
    world.run();
    assert!(users.iter().all(|who| world.heard_words(*who) == ["note"]));
    world.heard(backend);
    for index in 0..=SPREADS_PER_SHARD_MAX {
        world.put(backend, &text(&send_to("*", &index.to_string(), 1)));
    }
    world.run();
    let heard = world.heard(backend);
    assert_eq!(of_type(&heard, "ack").len(), SPREADS_PER_SHARD_MAX);
    let nack = &of_type(&heard, "nack")[0]["payload"];
    assert_eq!((&nack["code"], &nack["retry_after_ms"]), (&json!("OVERLOADED"), &json!(OVERLOADED_RETRY_MS)));
    assert_eq!(world.heard(users[0]).len(), SPREADS_PER_SHARD_MAX);
}

#[test]
fn an_event_for_everybody_that_is_acknowledged_reaches_the_slowest_shard() {
    let mut world = shards(2);
    let order = crate::route::home(&options().key, "*", 2).index();
    let backend = service(&mut world, order, "svc");
    let user = world.client_on(1 - order, false, "/ws", "ann");
    let mut acked = 0;
    for number in 1..=3 * SPREADS_PER_SHARD_MAX {
        world.put(backend, &text(&send_to("*", &number.to_string(), 1)));
        // The shard with the order does all it has to do; the other one only listens.
        loop {
            let (shard, effects) = &mut world.hosts[order];
            let more = shard.fan_out(world.now, false, effects);
            world.apply(order);
            if !more {
                break;
            }
        }
        let heard = world.heard(backend);
        acked += of_type(&heard, "ack").len();
        assert_eq!(of_type(&heard, "nack").len(), usize::from(number > SPREADS_PER_SHARD_MAX), "{number}");
    }
    assert_eq!(acked, SPREADS_PER_SHARD_MAX);
    world.run();
    assert_eq!(world.heard(user).len(), acked, "all that was acknowledged");
    world.say(backend, &send_to("*", "later", 1));
    assert_eq!(world.heard_words(user), ["note"], "there is place again");
}

#[test]
fn a_request_goes_to_each_provider_in_turn_wherever_they_are() {
    let mut world = shards(3);
    let providers: Vec<Who> = (0..3).map(|host| service(&mut world, host, "svc")).collect();
    for provider in &providers {
        offer(&mut world, *provider, &["plan"]);
    }
    let ann = user_on(&mut world, 1, "ann");
    let name = name_of(&world, ann);
    let mut asked = Vec::new();
    for round in 0..6 {
        world.say(ann, &request("plan", &format!("q{round}"), &json!({ "city": "Rome" })));
        for (index, provider) in providers.iter().enumerate() {
            for frame in world.heard(*provider) {
                let payload = &frame["payload"];
                assert_eq!(payload["params"], json!({ "city": "Rome" }));
                assert_eq!((&payload["user_id"], &payload["connection_id"]), (&json!("ann"), &json!(name)));
                asked.push(index);
                world.say(*provider, &respond(&payload["id"], &json!({ "result": [round] })));
                world.say(*provider, &respond(&payload["id"], &json!({ "result": "again" })));
            }
        }
        assert_eq!(only(&mut world, ann, "response"), json!({ "id": format!("q{round}"), "result": [round] }));
    }
    assert_eq!(asked, [0, 1, 2, 0, 1, 2]);
    assert!(world.hosts.iter().all(|(shard, _)| shard.pending.is_empty()));
}

#[test]
fn only_who_was_asked_answers_and_errors_come_through() {
    let mut world = shards(2);
    let (first, other) = (service(&mut world, 0, "svc"), service(&mut world, 1, "svc"));
    let (ann, bob) = (user_on(&mut world, 1, "ann"), user_on(&mut world, 0, "bob"));
    offer(&mut world, first, &["plan", "plan"]);
    world.say(ann, &request("plan", "q", &json!(null)));
    let call = only(&mut world, first, "request");
    for (liar, id) in [(other, &call["id"]), (bob, &call["id"]), (first, &json!("9-9")), (first, &json!("x"))] {
        world.say(liar, &respond(id, &json!({ "result": "lie" })));
    }
    assert!(world.heard(ann).is_empty(), "nobody else can answer");
    world.say(first, &respond(&call["id"], &json!({ "error": { "code": "MINE", "message": "no" } })));
    assert_eq!(only(&mut world, ann, "response"), json!({ "id": "q", "error": { "code": "MINE", "message": "no" } }));
    let refused = |method| json!({ "method": method, "code": "PERMISSION_DENIED" });
    let failures = offer(&mut world, bob, &["plan", "time"])["failures"].clone();
    assert_eq!(failures, json!([refused("plan"), refused("time")]), "users register nothing");
    let failures = offer(&mut world, first, &["time"])["failures"].clone();
    assert_eq!(failures, json!([refused("time")]), "what the gateway answers itself");
    world.say(ann, &request("unheard of", "q", &json!({})));
    assert_eq!(only(&mut world, ann, "response")["error"]["code"], "UNKNOWN_TYPE");
    world.say(ann, r#"{"type":"start_agent","id":"s","agent":"x"}"#);
    assert!(world.heard(ann).is_empty(), "nobody is there, and that is not said");
    offer(&mut world, other, &["start_agent"]);
    world.say(ann, r#"{"type":"start_agent","id":"s","agent":"x"}"#);
    let call = only(&mut world, other, "request");
    assert_eq!((&call["method"], &call["params"]), (&json!("start_agent"), &json!({ "agent": "x" })));
    world.say(other, &respond(&call["id"], &json!({ "result": true })));
    assert_eq!(only(&mut world, ann, "response"), json!({ "id": "s", "result": true }));
}

#[test]
fn who_offers_methods_hears_of_each_whether_it_is_asked_from_now_on() {
    for home in 0..2 {
        let mut world = shards(2);
        let backend = service(&mut world, 0, "svc");
        let (free, full) = (at_home("method:a", home, 2), at_home("method:b", home, 2));
        let [free, full] = [&free, &full].map(|name| name.strip_prefix("method:").unwrap());
        for slot in 0..u32::try_from(PROVIDERS_PER_METHOD_MAX).unwrap() {
            let other = ConnId { shard: ShardId(1), slot: slot + 1000, generation: 1 };
            world.hosts[usize::from(home)].0.providers.register(full, other).unwrap();
        }
        let message = json!({ "type": "register", "id": "r", "payload": {
            "methods": [free, "", full, free, "time", "a\u{7}"] } });
        world.say(backend, &message.to_string());
        let answer = only(&mut world, backend, "register_response");
        assert_eq!((&answer["id"], &answer["success"]), (&json!("r"), &json!(false)));
        assert_eq!(answer["registered_methods"], json!([free]), "home {home}: {answer}");
        let mut failures: Vec<(&str, &str)> = answer["failures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|failure| (failure["method"].as_str().unwrap(), failure["code"].as_str().unwrap()))
            .collect();
        failures.sort_unstable();
        let malformed = "INVALID_MESSAGE_FORMAT";
        let mut expected =
            [("", malformed), ("a\u{7}", malformed), (full, "OVERLOADED"), ("time", "PERMISSION_DENIED")];
        expected.sort_unstable();
        assert_eq!(failures, expected, "home {home}");
        assert_eq!(answer["failed_methods"].as_array().unwrap().len(), 4);
        assert_eq!(offer(&mut world, backend, &[free])["registered_methods"], json!([free]), "again is no fault");
        let conn = world.hosts[0].0.slots.find(world.sockets[backend].id).unwrap();
        assert_eq!((conn.unanswered, conn.service.as_ref().unwrap().offers.len()), (0, 0));
    }
}

#[test]
fn offers_that_overlap_are_answered_one_by_one_and_a_lost_permission_in_between_is_told() {
    let mut world = shards(2);
    let backend = service(&mut world, 0, "svc");
    let there = at_home("method:a", 1, 2);
    let there = there.strip_prefix("method:").unwrap();
    for id in ["1", "2"] {
        let message = json!({ "type": "register", "id": id, "payload": { "methods": [there] } });
        world.put(backend, &text(&message.to_string()));
    }
    world.run();
    let answers: Vec<Value> = of_type(&world.heard(backend), "register_response")
        .iter()
        .map(|frame| json!([frame["payload"]["id"], frame["payload"]["registered_methods"]]))
        .collect();
    assert_eq!(answers, [json!(["1", [there]]), json!(["2", [there]])]);
    let backend = service(&mut world, 0, "svc");
    world.put(backend, &text(&register(&[there])));
    let less = token_with("svc", LATER_S, json!({ "role": "service", "caps": {} }));
    world.put(backend, &text(&json!({ "type": "auth", "token": less }).to_string()));
    world.run();
    let heard = world.heard(backend);
    let answer = &of_type(&heard, "register_response")[0]["payload"];
    assert_eq!(answer["failures"], json!([{ "method": there, "code": "PERMISSION_DENIED" }]), "{heard:?}");
    assert_eq!(world.hosts[1].0.providers.count(there), 1, "the first one is still asked");
}

#[test]
fn a_request_ends_at_its_deadline_and_its_provider_is_told() {
    let mut world = shards(2);
    let (backend, ann) = (service(&mut world, 0, "svc"), user_on(&mut world, 1, "ann"));
    offer(&mut world, backend, &["plan"]);
    world.say(ann, &request("plan", "q", &json!({})));
    let call = only(&mut world, backend, "request");
    world.say(ann, &request("plan", "q", &json!({})));
    assert_eq!(only(&mut world, ann, "response")["error"]["code"], "ID_REUSED", "one at a time under an id");
    world.wait(REQUEST_DEADLINE_MS - WHEEL_SLOT_MS);
    assert!(world.heard(ann).is_empty());
    world.wait(2 * WHEEL_SLOT_MS);
    assert_eq!(only(&mut world, ann, "response")["error"]["code"], "DEADLINE_EXCEEDED");
    assert_eq!(only(&mut world, backend, "cancel")["id"], call["id"]);
    world.say(backend, &respond(&call["id"], &json!({ "result": "late" })));
    assert!(world.heard(ann).is_empty(), "it is over");
    assert_eq!(world.read(Metric::RequestsLate), 1);
}

#[test]
fn a_withdrawn_request_is_ended_by_its_provider_and_one_of_a_lost_asker_is_dropped() {
    let mut world = shards(2);
    let (backend, ann) = (service(&mut world, 0, "svc"), user_on(&mut world, 1, "ann"));
    offer(&mut world, backend, &["plan"]);
    world.say(ann, &request("plan", "q", &json!({})));
    let call = only(&mut world, backend, "request");
    world.say(ann, r#"{"type":"cancel","payload":{"id":"other"}}"#);
    for _ in 0..3 {
        world.say(ann, r#"{"type":"cancel","payload":{"id":"q"}}"#);
    }
    assert_eq!(only(&mut world, backend, "cancel")["id"], call["id"], "it is told once");
    world.say(backend, &respond(&call["id"], &json!({ "error": { "code": "CANCELLED" } })));
    assert_eq!(only(&mut world, ann, "response")["error"]["code"], "CANCELLED");
    world.say(ann, &request("plan", "r", &json!({})));
    let call = only(&mut world, backend, "request");
    world.handle(1, Input::Gone(world.sockets[ann].id));
    world.run();
    assert_eq!(only(&mut world, backend, "cancel")["id"], call["id"]);
    world.say(backend, &respond(&call["id"], &json!({ "result": 1 })));
    assert!(world.is_open(backend) && world.heard(backend).is_empty());
}

#[test]
fn when_a_provider_goes_its_requests_fail_and_the_next_ones_go_to_another() {
    let mut world = shards(3);
    let (first, second) = (service(&mut world, 0, "svc"), service(&mut world, 1, "svc"));
    let ann = user_on(&mut world, 2, "ann");
    for provider in [first, second] {
        offer(&mut world, provider, &["plan"]);
    }
    world.say(ann, &request("plan", "q", &json!({})));
    assert_eq!(world.heard_words(first), ["request"]);
    world.handle(0, Input::Gone(world.sockets[first].id));
    world.run();
    let answer = only(&mut world, ann, "response");
    assert_eq!((&answer["error"]["code"], &answer["error"]["retryable"]), (&json!("SERVER_ERROR"), &json!(true)));
    for round in 0..2 {
        world.say(ann, &request("plan", &format!("r{round}"), &json!({})));
        assert_eq!(world.heard_words(second), ["request"]);
    }
    world.handle(1, Input::Gone(world.sockets[second].id));
    world.run();
    assert_eq!(world.heard(ann).len(), 2);
    world.say(ann, &request("plan", "s", &json!({})));
    assert_eq!(only(&mut world, ann, "response")["error"]["code"], "UNKNOWN_TYPE");
}

#[test]
fn requests_are_bounded_for_who_asks_and_for_who_answers() {
    let mut world = World::new();
    let backend = service(&mut world, 0, "svc");
    let methods: Vec<String> = (0..=METHODS_PER_CONNECTION_MAX).map(|index| format!("m{index}")).collect();
    for (index, method) in methods.iter().enumerate() {
        let answer = offer(&mut world, backend, &[method]);
        assert_eq!(answer["success"], index < METHODS_PER_CONNECTION_MAX, "{answer}");
        let refused = answer["failures"][0]["code"].as_str().unwrap_or("CONNECTION_LIMIT_EXCEEDED");
        assert_eq!(refused, "CONNECTION_LIMIT_EXCEEDED");
    }
    let ann = world.legacy("/ws", "ann");
    for index in 0..=REQUESTS_PER_CONNECTION_MAX {
        world.say(ann, &request("m0", &index.to_string(), &json!({})));
    }
    assert_eq!(only(&mut world, ann, "response")["error"]["code"], "OVERLOADED");
    assert_eq!(world.heard(backend).len(), REQUESTS_PER_CONNECTION_MAX);
    let others: Vec<Who> = (0..4).map(|index| world.legacy("/ws", &format!("u{index}"))).collect();
    let mut refused = 0;
    for who in others {
        for index in 0..REQUESTS_PER_CONNECTION_MAX {
            world.say(who, &request("m0", &index.to_string(), &json!({})));
        }
        refused += world.heard(who).len();
    }
    assert_eq!(refused, REQUESTS_PER_CONNECTION_MAX, "who works on {WORKING_PER_CONNECTION_MAX} takes no more");
}

#[test]
fn the_gateway_answers_what_it_knows_itself() {
    let mut world = shards(2);
    let ann = user_on(&mut world, 0, "ann");
    world.say(ann, &request("time", "t", &json!({})));
    let answer = only(&mut world, ann, "response");
    assert_eq!(answer["result"]["unix_ms"], START_UNIX_S * 1000);
    world.say(ann, &request("stats", "s", &json!({})));
    assert_eq!(only(&mut world, ann, "response")["result"]["connections"], 1);
    let metrics: Vec<_> = world.hosts.iter().map(|(shard, _)| Arc::clone(shard.metrics())).collect();
    world.hosts[0].0.set_peers(metrics);
    user_on(&mut world, 1, "bob");
    world.say(ann, &request("stats", "s", &json!({})));
    assert_eq!(only(&mut world, ann, "response")["result"]["connections"], 2, "of all shards");
}

#[test]
fn history_is_read_in_pages_from_either_end() {
    let mut world = shards(2);
    let ann = user_on(&mut world, 0, "ann");
    for channel in [at_home("chat:", 0, 2), at_home("chat:", 1, 2)] {
        for index in 1..=5 {
            world.say(ann, &publish(&channel, &format!("{channel}{index}"), &json!({ "n": index })));
        }
        world.heard(ann);
        for (params, expected, more) in [
            (json!({}), vec![1, 2, 3, 4, 5], false),
            (json!({ "limit": 2 }), vec![1, 2], true),
            (json!({ "limit": 2, "reverse": true }), vec![5, 4], true),
            (json!({ "since": 3 }), vec![4, 5], false),
            (json!({ "since": { "epoch": "x", "seq": 1 }, "until": 3 }), vec![2, 3], false),
            (json!({ "since": 5 }), vec![], false),
            (json!({ "since": 9, "until": 2 }), vec![], false),
            (json!({ "limit": 0 }), vec![], true),
        ] {
            let mut params = params;
            params["channel"] = json!(channel);
            world.say(ann, &request("history", "h", &params));
            let result = only(&mut world, ann, "response")["result"].clone();
            let events = result["events"].as_array().unwrap();
            let found: Vec<u64> = events.iter().map(|event| event["payload"]["n"].as_u64().unwrap()).collect();
            assert_eq!((found, result["more"].as_bool()), (expected, Some(more)), "{params}");
            assert_eq!((&result["seq"], &result["oldest_seq"]), (&json!(5), &json!(1)));
        }
    }
    for (params, code) in [
        (json!({ "channel": "user:bob" }), "PERMISSION_DENIED"),
        (json!({}), "INVALID_MESSAGE_FORMAT"),
        (json!({ "channel": 7 }), "INVALID_MESSAGE_FORMAT"),
        (json!({ "channel": "chat:x", "limit": -1 }), "INVALID_MESSAGE_FORMAT"),
        (json!({ "channel": "chat:x", "since": "1" }), "INVALID_MESSAGE_FORMAT"),
        (json!({ "channel": "chat:x", "reverse": 1 }), "INVALID_MESSAGE_FORMAT"),
    ] {
        world.say(ann, &request("history", "h", &params));
        assert_eq!(only(&mut world, ann, "response")["error"]["code"], code, "{params}");
    }
    let channels = world.read(Metric::Channels);
    world.say(ann, &request("history", "h", &json!({ "channel": "chat:nobody knows" })));
    assert_eq!(only(&mut world, ann, "response")["result"]["events"], json!([]));
    assert_eq!(world.read(Metric::Channels), channels, "a look makes no channel");
}

#[test]
fn a_page_of_history_is_bounded_by_number_and_bytes() {
    let keep = |options: &mut Options| (options.retention.count, options.retention.bytes) = (2000, 1 << 30);
    let mut world = World::with(keep);
    let ann = world.legacy("/ws", "ann");
    for index in 0..=HISTORY_PAGE_MAX {
        world.say(ann, &publish("chat:small", &index.to_string(), &json!({})));
    }
    let large = 30_000;
    for _ in 0..6 {
        world.say(ann, &publish_of("chat:large", large));
    }
    world.heard(ann);
    for (params, expected) in [
        (json!({ "channel": "chat:small" }), HISTORY_PAGE_DEFAULT),
        (json!({ "channel": "chat:small", "limit": HISTORY_PAGE_MAX }), HISTORY_PAGE_MAX),
        (json!({ "channel": "chat:small", "limit": HISTORY_PAGE_MAX + 1 }), HISTORY_PAGE_MAX),
        (json!({ "channel": "chat:large" }), HISTORY_PAGE_BYTES_MAX / large),
    ] {
        world.say(ann, &request("history", "h", &params));
        let result = only(&mut world, ann, "response")["result"].clone();
        assert_eq!(result["events"].as_array().map(Vec::len), Some(expected), "{params}");
        assert_eq!(result["more"], true, "{params}");
    }
}

#[test]
fn who_asks_for_more_at_once_than_can_wait_is_told_so_and_not_cut() {
    for home in 0..2 {
        let mut world = shards(2);
        let ann = user_on(&mut world, 0, "ann");
        let channel = at_home("chat:", home, 2);
        for _ in 0..6 {
            world.say(ann, &publish_of(&channel, 30_000));
        }
        world.heard(ann);
        let count = 2 * OUTBOX_BYTES_MAX / HISTORY_PAGE_BYTES_MAX;
        for index in 0..count {
            let params = json!({ "channel": channel });
            world.put(ann, &text(&request("history", &index.to_string(), &params)));
        }
        world.run();
        assert!(world.is_open(ann), "home {home}: it reads all that it gets");
        let heard = world.heard(ann);
        let answers = of_type(&heard, "response");
        assert_eq!(answers.len(), count, "home {home}: every request is answered");
        let (pages, refused): (Vec<&Value>, Vec<&Value>) =
            answers.into_iter().partition(|answer| answer["payload"].get("result").is_some());
        assert!(!pages.is_empty(), "home {home}");
        for answer in refused {
            let error = &answer["payload"]["error"];
            assert_eq!((&error["code"], &error["retryable"]), (&json!("OVERLOADED"), &json!(true)));
        }
    }
}

#[test]
fn history_and_presence_are_asked_of_names_that_a_channel_can_have() {
    use crate::limits::CHANNEL_NAME_BYTES_MAX;
    let longest = format!("chat:{}", "x".repeat(CHANNEL_NAME_BYTES_MAX - 5));
    for (channel, good) in [
        (longest.clone(), true),
        (format!("{longest}x"), false),
        (format!("chat:{}", "\u{1}".repeat(9000)), false),
        ("chat:a\nb".to_owned(), false),
        (String::new(), false),
    ] {
        for method in ["history", "presence"] {
            let mut world = World::new();
            let ann = user_on(&mut world, 0, "ann");
            world.say(ann, &request(method, "1", &json!({ "channel": channel })));
            let answer = only(&mut world, ann, "response");
            assert_eq!(answer.get("result").is_some(), good, "{method} {answer}");
            let code = if good { json!(null) } else { json!("INVALID_MESSAGE_FORMAT") };
            assert_eq!(answer["error"]["code"], code, "{method}");
        }
    }
}
