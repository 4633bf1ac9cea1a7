//! What members are told of each other: typing, cursors, presence, over one shard and over two.

use super::*;
use crate::limits::{
    FLEETING_BODY_BYTES_MAX, PRESENCE_BATCH_MS, PRESENCE_GRACE_MS, PRESENCE_LISTED_MAX, PRESENCE_REPORT_MAX,
    ROLL_CALL_MS, ROLL_CALLS_MAX, TYPING_MS,
};

fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["type"].as_str()).collect()
}

/// Types, users and fields of what was heard, but heartbeats.
fn doings(world: &mut World, who: Who) -> Vec<String> {
    let heard = world.heard(who);
    let ours = heard.iter().filter(|frame| frame["type"] != "connection_heartbeat" && frame["type"] != "ping frame");
    ours.map(|frame| {
        let payload = &frame["payload"];
        assert!(frame.get("seq").is_none(), "{frame}");
        let field = payload["field"].as_str().or_else(|| payload["field_name"].as_str()).unwrap_or("");
        format!("{} {} {field}", frame["type"].as_str().unwrap(), payload["user_id"].as_str().unwrap_or("?"))
            .trim_end()
            .to_owned()
    })
    .collect()
}

/// One shard, or two with the second client away from the channel's home.
fn pair(shards: u16, prefix: &str, known: bool) -> (World, Who, Who, String) {
    let mut world = World::with(|options| options.shards = shards);
    let channel = at_home(prefix, 0, shards);
    let path = "/ws";
    let ann = world.client_on(0, known, path, "ann");
    let bob = world.client_on(usize::from(shards - 1), known, path, "bob");
    for who in [ann, bob] {
        world.say(who, &subscribe(std::slice::from_ref(&channel)));
    }
    world.wait(1000);
    world.heard(ann);
    world.heard(bob);
    (world, ann, bob, channel)
}

fn say(world: &mut World, who: Who, kind: &str, channel: &str, payload: Value) {
    world.say(who, &json!({ "type": kind, "channel": channel, "payload": payload }).to_string());
}

#[test]
fn who_edits_every_field_there_could_be_leaves_place_for_others() {
    for shards in [1, 2] {
        let (mut world, ann, bob, channel) = pair(shards, "trip:", true);
        for number in 0..300 {
            say(&mut world, bob, "trip_field_editing_start", &channel, json!({ "field_name": number.to_string() }));
        }
        world.heard(ann);
        say(&mut world, ann, "typing_start", &channel, json!({}));
        assert_eq!(doings(&mut world, bob), ["user_typing ann"], "{shards} shards");
    }
}

#[test]
fn others_hear_who_writes_and_who_has_stopped() {
    for shards in [1, 2] {
        for (prefix, start, stop) in
            [("chat:", "chat_typing_start", "chat_typing_stop"), ("trip:", "user_typing", "user_stop_typing")]
        {
            let (mut world, ann, bob, channel) = pair(shards, prefix, false);
            for (author, other, user) in [(ann, bob, "ann"), (bob, ann, "bob")] {
                say(&mut world, author, "typing_start", &channel, json!({ "user_id": "eve", "field": "a.b" }));
                assert_eq!(doings(&mut world, other), [format!("{start} {user} a.b")]);
                say(&mut world, author, "user_stop_typing", &channel, json!({ "field": "a.b" }));
                say(&mut world, author, "typing_stop", &channel, json!({ "field": "a.b" }));
                assert_eq!(doings(&mut world, other), [format!("{stop} {user} a.b")]);
                assert_eq!(doings(&mut world, author), [""; 0]);
            }
        }
    }
}

#[test]
fn who_says_no_more_has_stopped_after_a_time_or_when_the_connection_leaves() {
    for shards in [1, 2] {
        for leaves in [false, true] {
            let (mut world, ann, bob, channel) = pair(shards, "chat:", false);
            say(&mut world, bob, "typing", &channel, json!({}));
            assert_eq!(doings(&mut world, ann), ["chat_typing_start bob"]);
            if leaves {
                world.say(bob, &json!({ "type": "unsubscribe", "channels": [channel] }).to_string());
            } else {
                world.wait(TYPING_MS - 250);
                assert_eq!(doings(&mut world, ann), [""; 0]);
                world.wait(500);
            }
            assert_eq!(doings(&mut world, ann), ["chat_typing_stop bob"]);
        }
    }
}

#[test]
fn a_slow_member_hears_the_latest_and_no_end_without_its_beginning() {
    for shards in [1, 2] {
        let (mut world, ann, bob, channel) = pair(shards, "trip:", false);
        world.open(ann, 0);
        world.say(ann, r#"{"type":"ping"}"#);
        say(&mut world, bob, "typing", &channel, json!({ "field": "a" }));
        say(&mut world, bob, "typing", &channel, json!({ "field": "b" }));
        say(&mut world, bob, "typing_stop", &channel, json!({ "field": "a" }));
        for x in 0..50 {
            say(&mut world, bob, "cursor_update", &channel, json!({ "x": x, "user_id": "eve" }));
        }
        world.open(ann, usize::MAX);
        let heard = world.heard(ann);
        assert_eq!(kinds(&heard), ["pong", "user_typing", "cursor_update"]);
        assert_eq!(heard[2]["payload"], json!({ "trip_id": channel[5..], "user_id": "bob", "x": 49 }));
        assert_eq!(heard[1]["payload"], json!({ "trip_id": channel[5..], "user_id": "bob", "field": "b" }));
    }
}

#[test]
fn who_comes_later_hears_what_goes_on() {
    for shards in [1, 2] {
        let (mut world, ann, bob, channel) = pair(shards, "trip:", false);
        say(&mut world, ann, "trip_field_editing_start", &channel, json!({ "fieldName": "a", "field_value": 1 }));
        say(&mut world, ann, "typing", &channel, json!({}));
        world.heard(bob);
        let eve = world.client_on(usize::from(shards - 1), false, "/ws", "eve");
        world.say(eve, &subscribe(std::slice::from_ref(&channel)));
        let heard = world.heard(eve);
        let kinds = kinds(&heard);
        assert_eq!(kinds[..2], ["subscribe_response", "subscribed"], "{kinds:?}");
        assert!(kinds.contains(&"trip_field_editing_start") && kinds.contains(&"user_typing"), "{kinds:?}");
    }
}

#[test]
fn what_is_edited_ends_with_the_connection_however_late() {
    for shards in [1, 2] {
        let (mut world, ann, bob, channel) = pair(shards, "trip:", false);
        say(&mut world, bob, "trip_field_editing_start", &channel, json!({ "field_name": "a" }));
        assert_eq!(doings(&mut world, ann), ["trip_field_editing_start bob a"]);
        world.wait(15_000);
        world.heard(ann);
        let id = world.sockets[bob].id;
        world.handle(id.shard.index(), Input::Gone(id));
        world.run();
        assert_eq!(doings(&mut world, ann), ["trip_field_editing_stop bob a"]);
    }
}

#[test]
fn such_things_need_their_verb_and_a_channel_that_has_them() {
    let mut world = World::new();
    let who = world.legacy("/ws", "ann");
    let large = "x".repeat(FLEETING_BODY_BYTES_MAX - r#"{"pad":""}"#.len());
    for (kind, channel, payload, expected) in [
        ("typing", "general", json!({}), "connection_error PERMISSION_DENIED"),
        ("cursor_update", "chat:s", json!({}), "connection_error PERMISSION_DENIED"),
        ("cursor_update", "trip:s", json!({ "pad": large }), ""),
        ("cursor_update", "trip:s", json!({ "pad": large + "x" }), "connection_error INVALID_MESSAGE_FORMAT"),
    ] {
        say(&mut world, who, kind, channel, payload);
        assert_eq!(world.heard_words(who).join(" "), expected, "{kind} {channel}");
    }
}

/// The set of connections that a client knows of, by replaying what it was told.
fn replay(frames: &[Value], known: &mut Vec<String>) {
    for payload in of_type(frames, "presence").iter().map(|frame| &frame["payload"]) {
        let names = |key: &str| -> Vec<String> {
            let people = payload[key].as_array().cloned().unwrap_or_default();
            people.iter().map(|person| person["user_id"].as_str().unwrap().to_owned()).collect()
        };
        if payload["full"] == true {
            known.clear();
        }
        known.extend(names("joined"));
        for gone in names("left") {
            let at = known.iter().position(|name| *name == gone).unwrap_or_else(|| panic!("{gone} was not there"));
            known.remove(at);
        }
        known.sort();
        assert_eq!(payload["count"].as_u64(), Some(known.len() as u64), "{payload}");
    }
}

#[test]
fn who_is_first_to_want_to_know_is_in_the_first_set_wherever_it_is() {
    for (shards, others) in [(1, false), (2, false), (2, true), (3, true)] {
        let mut world = World::with(|options| options.shards = shards);
        let channel = at_home("chat:", 0, shards);
        let bob = world.client_on(0, false, "/ws", "bob");
        let ann = world.client_on(usize::from(shards - 1), true, "/ws", "ann");
        for who in others.then_some(bob).into_iter().chain([ann]) {
            world.say(who, &subscribe(std::slice::from_ref(&channel)));
        }
        world.wait(1000);
        let heard = world.heard(ann);
        let told = of_type(&heard, "presence");
        let count = 1 + usize::from(others);
        assert_eq!((told.len(), &told[0]["payload"]["full"]), (1, &json!(true)), "{shards} {told:?}");
        assert_eq!(told[0]["payload"]["joined"].as_array().map(Vec::len), Some(count), "{shards}");
    }
}

#[test]
fn known_clients_hear_who_is_there_and_who_comes_and_goes() {
    for shards in [1, 2] {
        let (mut world, ann, bob, channel) = pair(shards, "chat:", true);
        let mut known = Vec::new();
        world.say(ann, &json!({ "type": "unsubscribe", "channels": [channel] }).to_string());
        world.wait(1000);
        world.heard(ann);
        world.say(ann, &subscribe(std::slice::from_ref(&channel)));
        world.wait(2 * PRESENCE_BATCH_MS + 250);
        let heard = world.heard(ann);
        let presence = of_type(&heard, "presence");
        assert_eq!(presence[0]["payload"]["full"], true, "{presence:?}");
        replay(&heard, &mut known);
        assert_eq!(known, ["ann", "bob"], "{shards}");
        let eve = world.client_on(usize::from(shards - 1), false, "/ws", "eve");
        world.say(eve, &subscribe(std::slice::from_ref(&channel)));
        world.wait(500);
        replay(&world.heard(ann), &mut known);
        assert_eq!(known, ["ann", "bob", "eve"]);
        assert!(of_type(&world.heard(eve), "presence").is_empty(), "a legacy client would not know it");
        world.send(eve, &masked(8, &1000_u16.to_be_bytes()));
        world.wait(500);
        replay(&world.heard(ann), &mut known);
        assert_eq!(known, ["ann", "bob"], "a clean leave is told at once");
        let mut of_bob = vec!["ann".to_owned(), "bob".to_owned()];
        replay(&world.heard(bob), &mut of_bob);
    }
}

#[test]
fn a_broken_connection_is_gone_after_its_grace_unless_its_user_comes_back() {
    for shards in [1, 2] {
        for back in [false, true] {
            let (mut world, ann, bob, channel) = pair(shards, "chat:", true);
            let id = world.sockets[bob].id;
            world.handle(id.shard.index(), Input::Gone(id));
            world.run();
            world.wait(PRESENCE_GRACE_MS - 1000);
            assert_eq!(of_type(&world.heard(ann), "presence").len(), 0);
            if back {
                let bob = world.client_on(0, true, "/ws", "bob");
                world.say(bob, &subscribe(std::slice::from_ref(&channel)));
            }
            world.wait(3000);
            let heard = world.heard(ann);
            let told = of_type(&heard, "presence");
            if back {
                assert!(told.is_empty(), "{told:?}");
            } else {
                assert_eq!((told.len(), &told[0]["payload"]["left"][0]["last"]), (1, &json!(true)));
            }
        }
    }
}

#[test]
fn the_seeds_clients_hear_who_joins_and_leaves_their_trip() {
    for shards in [1, 2] {
        let (mut world, ann, _, channel) = pair(shards, "trip:", false);
        let eve = world.client_on(usize::from(shards - 1), false, "/ws", "eve");
        world.say(eve, &subscribe(std::slice::from_ref(&channel)));
        world.wait(1000);
        let heard = world.heard(ann);
        assert_eq!(kinds(&heard), ["collaborator_joined"]);
        assert_eq!((&heard[0]["data"], &heard[0]["data"]["user"]["id"]), (&heard[0]["payload"], &json!("eve")));
        let heard = world.heard(eve);
        let all = of_type(&heard, "trip_collaborator_presence");
        let users: Vec<&Value> = all.last().unwrap()["payload"]["collaborators"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["user_id"])
            .collect();
        assert_eq!(users, ["ann", "bob", "eve"]);
        world.say(eve, &json!({ "type": "unsubscribe", "channels": [channel] }).to_string());
        world.wait(1000);
        assert_eq!(kinds(&world.heard(ann)), ["collaborator_left"]);
    }
}

#[test]
fn in_a_crowd_only_the_number_is_told() {
    let mut world = World::new();
    let ann = world.known("/ws/chat/s", "ann");
    for _ in 1..PRESENCE_LISTED_MAX {
        world.legacy("/ws/chat/s", "bob");
    }
    world.wait(1000);
    assert!(of_type(&world.heard(ann), "presence").last().unwrap()["payload"]["joined"].is_array());
    let last = world.legacy("/ws/chat/s", "eve");
    world.wait(1000);
    let heard = world.heard(ann);
    let told = of_type(&heard, "presence");
    assert_eq!((told.len(), &told[0]["payload"]["count"]), (1, &json!(PRESENCE_LISTED_MAX + 1)));
    assert!(told[0]["payload"].get("joined").is_none() && told[0]["payload"].get("full").is_none());
    world.send(last, &masked(8, &1000_u16.to_be_bytes()));
    world.wait(1500);
    let heard = world.heard(ann);
    let told = of_type(&heard, "presence");
    assert_eq!((told.len(), &told[0]["payload"]["full"]), (1, &json!(true)), "{told:?}");
}

#[test]
fn who_asks_about_a_crowd_is_told_the_number_whether_somebody_keeps_a_roll_or_not() {
    for watched in [false, true] {
        let mut world = World::new();
        let ann = world.client(watched, "/ws/chat/s", "ann");
        for count in 2..=PRESENCE_LISTED_MAX + 1 {
            world.legacy("/ws/chat/s", "bob");
            if count.abs_diff(PRESENCE_LISTED_MAX) > 1 {
                continue;
            }
            let set: Value = serde_json::from_slice(&world.hosts[0].0.presence_of(world.now, "chat:s")).unwrap();
            let listed = (count <= PRESENCE_LISTED_MAX).then_some(count);
            assert_eq!((&set["count"], set["joined"].as_array().map(Vec::len)), (&json!(count), listed), "{watched}");
        }
        assert!(world.is_open(ann));
    }
}

#[test]
fn who_follows_from_afar_hears_the_whole_when_the_crowd_is_one_no_more() {
    let (mut world, ann, bob, channel) = pair(2, "chat:", true);
    let crowd: Vec<Who> = (1..PRESENCE_LISTED_MAX)
        .map(|_| {
            let who = world.client_on(0, false, "/ws", "eve");
            world.say(who, &subscribe(std::slice::from_ref(&channel)));
            who
        })
        .collect();
    world.wait(1500);
    for who in [ann, bob] {
        let heard = world.heard(who);
        let told = of_type(&heard, "presence");
        assert!(told.last().unwrap()["payload"].get("joined").is_none(), "{told:?}");
    }
    world.send(crowd[0], &masked(8, &1000_u16.to_be_bytes()));
    world.wait(1500);
    for who in [ann, bob] {
        let mut known = Vec::new();
        replay(&world.heard(who), &mut known);
        assert_eq!(known.len(), PRESENCE_LISTED_MAX);
    }
}

#[test]
fn a_shard_that_cannot_report_for_long_reports_everybody() {
    use crate::shard::rooms::Attendance;
    let mut world = World::with(|options| options.shards = 2);
    let channel = at_home("chat:", 0, 2);
    let ann = world.client_on(0, true, "/ws", "ann");
    world.say(ann, &subscribe(std::slice::from_ref(&channel)));
    let bob = world.client_on(1, false, "/ws", "bob");
    world.say(bob, &subscribe(std::slice::from_ref(&channel)));
    world.wait(1000);
    world.hosts[1].1.set_congested(ShardId(0), true);
    let waiting = |world: &World| {
        let rooms = &world.hosts[1].0.rooms;
        match rooms.at(rooms.find(&channel).unwrap()).unwrap().attendance.as_deref() {
            Some(Attendance::Report(report)) => (report.whole, report.joined.len()),
            _ => panic!("it reports"),
        }
    };
    for (count, expected) in [(PRESENCE_REPORT_MAX, (false, PRESENCE_REPORT_MAX)), (1, (true, 0))] {
        for _ in 0..count {
            let who = world.client_on(1, false, "/ws", "eve");
            world.say(who, &subscribe(std::slice::from_ref(&channel)));
        }
        world.wait(PRESENCE_BATCH_MS + 250);
        assert_eq!(waiting(&world), expected);
    }
    world.hosts[1].1.set_congested(ShardId(0), false);
    world.wait(1500);
    let heard = world.heard(ann);
    let told = of_type(&heard, "presence");
    assert_eq!(told.last().unwrap()["payload"]["count"], json!(PRESENCE_REPORT_MAX + 3));
}

#[test]
fn nothing_is_kept_of_who_is_there_while_nobody_wants_to_know() {
    let mut world = World::with(|options| options.shards = 2);
    let channel = at_home("chat:", 0, 2);
    for host in [0, 1] {
        let who = world.client_on(host, false, "/ws", "ann");
        world.say(who, &subscribe(std::slice::from_ref(&channel)));
    }
    let kept = |world: &World| -> Vec<bool> {
        let room = |host: usize| {
            let rooms = &world.hosts[host].0.rooms;
            let room = rooms.at(rooms.find(&channel).unwrap()).unwrap();
            room.attendance.is_some() || room.fleeting.is_some()
        };
        vec![room(0), room(1)]
    };
    assert_eq!(kept(&world), [false, false]);
    let bob = world.client_on(1, true, "/ws", "bob");
    world.say(bob, &subscribe(std::slice::from_ref(&channel)));
    world.wait(1000);
    assert_eq!(kept(&world), [true, true]);
    let set = world.hosts[0].0.presence_of(world.now, &channel);
    let set: Value = serde_json::from_slice(&set).unwrap();
    assert_eq!((&set["count"], set["joined"].as_array().map(Vec::len)), (&json!(3), Some(3)));
}

#[test]
fn both_dialects_hear_who_writes_in_their_trip_and_flat_frames_say_nothing_of_presence() {
    let mut world = World::new();
    let ann = world.legacy("/ws/trips/7/collab", "ann");
    let bob = world.upgrade(&format!("/api/v1/ws/bob?token={}", token("bob")));
    world.say(bob, r#"{"type":"join_trip","trip_id":"7"}"#);
    world.wait(1000);
    assert!(world.heard_words(bob).iter().all(|word| word != "trip_collaborator_presence"));
    world.heard(ann);
    world.say(bob, r#"{"type":"typing","trip_id":"7","field":"a\"b"}"#);
    assert_eq!(kinds(&world.heard(bob)), ["user_typing"]);
    assert_eq!(doings(&mut world, ann), [r#"user_typing bob a"b"#]);
    say(&mut world, ann, "typing", "trip:7", json!({ "field": "c" }));
    let heard = world.heard(bob);
    assert_eq!((heard.len(), &heard[0]["user_id"], &heard[0]["field"]), (1, &json!("ann"), &json!("c")));
    say(&mut world, ann, "typing_stop", "trip:7", json!({ "field": "c" }));
    say(&mut world, ann, "cursor_update", "trip:7", json!({ "x": 1 }));
    assert!(world.heard(bob).is_empty(), "flat frames have no word for it");
    world.wait(TYPING_MS + 250);
    assert_eq!(doings(&mut world, ann), [r#"user_stop_typing bob a"b"#]);
}

#[test]
fn a_round_trip_is_measured_from_our_pings_alone() {
    use crate::limits::PING_AFTER_MS;
    use crate::session::liveness::Quality;
    let mut world = World::new();
    let who = world.legacy("/ws", "ann");
    let id = world.sockets[who].id;
    world.send(who, &masked(10, b""));
    assert_eq!(world.hosts[0].0.quality(id), Some((None, Quality::Excellent)), "nobody asked for that pong");
    world.wait(PING_AFTER_MS);
    assert!(world.heard_words(who).contains(&"ping frame".to_owned()));
    world.jump(600);
    world.send(who, &masked(10, b""));
    assert_eq!(world.hosts[0].0.quality(id), Some((Some(600), Quality::Good)));
    let trips = world.hosts[0].0.metrics.timing(crate::metrics::Timing::RoundTrip);
    assert_eq!((trips.counts().sum::<u64>(), trips.sum()), (1, 600_000));
}

#[test]
fn who_is_not_in_a_trip_leaves_nothing_behind_there() {
    for shards in [1, 2] {
        let (mut world, ann, bob, channel) = pair(shards, "trip:", false);
        let eve = world.client_on(0, false, "/ws", "eve");
        for (kind, start, stop) in [
            ("trip_field_editing", "trip_field_editing_start eve a", "trip_field_editing_stop eve a"),
            ("trip_collaboration", "trip_collaboration_join eve", "trip_collaboration_leave eve"),
        ] {
            let begin = start.split(' ').next().unwrap();
            say(&mut world, eve, begin, &channel, json!({ "field_name": "a" }));
            assert_eq!(world.heard_words(eve), ["connection_error NOT_A_MEMBER"], "{kind}");
            for who in [ann, bob] {
                assert_eq!(doings(&mut world, who), [""; 0], "{kind}, {stop}: nobody could say when it ends");
            }
        }
        say(&mut world, eve, "typing_start", &channel, json!({}));
        assert_eq!(doings(&mut world, ann), ["user_typing eve"], "what ends by itself may be said");
    }
}

#[test]
fn an_end_is_told_although_the_mesh_is_full() {
    let (mut world, ann, bob, channel) = pair(2, "trip:", false);
    say(&mut world, bob, "trip_field_editing_start", &channel, json!({ "field_name": "a" }));
    assert_eq!(doings(&mut world, ann).len(), 1);
    world.hosts[1].1.set_congested(ShardId(0), true);
    say(&mut world, bob, "trip_field_editing_stop", &channel, json!({ "field_name": "a" }));
    world.hosts[1].1.set_congested(ShardId(0), false);
    world.run();
    assert_eq!(doings(&mut world, ann).len(), 1, "it has ended");
}

#[test]
fn who_asks_hears_who_is_in_a_channel_on_all_shards_whether_anybody_else_wants_to_know() {
    let ask = |id: &str, channel: &str| {
        let params = json!({ "channel": channel });
        json!({ "type": "request", "payload": { "id": id, "method": "presence", "params": params } }).to_string()
    };
    for (watched, home) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let mut world = World::with(|options| options.shards = 3);
        let channel = at_home("chat:", home, 3);
        let eve = world.client_on(2, false, "/ws", "eve");
        for (host, user) in ["ann", "bob", "cid"].into_iter().enumerate() {
            let who = world.client_on(host, watched, "/ws", user);
            world.say(who, &subscribe(std::slice::from_ref(&channel)));
        }
        world.wait(1000);
        for round in 0..2 {
            world.heard(eve);
            for id in ["1", "2"] {
                world.say(eve, &ask(id, &channel));
            }
            world.wait(ROLL_CALL_MS + 2 * WHEEL_SLOT_MS);
            let heard = world.heard(eve);
            let answers = of_type(&heard, "response");
            assert_eq!(answers.len(), 2, "{watched} {home} {round}: {heard:?}");
            for answer in answers {
                let set = &answer["payload"]["result"];
                let joined = set["joined"].as_array().unwrap();
                let mut users: Vec<&str> = joined.iter().map(|person| person["user_id"].as_str().unwrap()).collect();
                users.sort_unstable();
                assert_eq!(users, ["ann", "bob", "cid"], "{watched} {home} {round}");
                assert_eq!((&set["channel"], &set["count"]), (&json!(channel), &json!(3)));
            }
            let rooms = &world.hosts[usize::from(home)].0.rooms;
            let kept = rooms.at(rooms.find(&channel).unwrap()).unwrap().attendance.is_some();
            assert_eq!(kept, watched, "nothing is kept for who has been answered");
        }
        world.say(eve, &ask("3", "user:ann"));
        world.say(eve, &ask("4", "chat:nobody"));
        let heard = world.heard(eve);
        let codes: Vec<&Value> =
            of_type(&heard, "response").into_iter().map(|answer| &answer["payload"]["error"]["code"]).collect();
        assert_eq!(codes, [&json!("PERMISSION_DENIED"), &json!(null)]);
        assert_eq!(of_type(&heard, "response")[1]["payload"]["result"]["count"], json!(0));
    }
}

#[test]
fn so_many_who_ask_are_made_to_wait_for_the_shards_and_no_more() {
    let mut world = World::with(|options| options.shards = 2);
    let channel = at_home("chat:", 0, 2);
    let bob = world.client_on(1, false, "/ws", "bob");
    world.say(bob, &subscribe(std::slice::from_ref(&channel)));
    let mut effects = Effects::new(2);
    for number in 0..=ROLL_CALLS_MAX as u64 {
        let asked = (crate::request::Ticket(number), channel.as_str());
        world.hosts[0].0.on_presence_asked(world.now, ShardId(1), asked, &mut effects);
        let at_once = effects.list.iter().any(|effect| matches!(effect, Effect::Mesh(_, MeshMessage::Request(_))));
        assert_eq!(at_once, number == ROLL_CALLS_MAX as u64, "{number}");
    }
    effects.list.clear();
}
