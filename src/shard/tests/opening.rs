//! From accept to the end of the token.

use super::*;
use crate::limits::{
    AUTH_DEADLINE_MS, CHANNELS_PER_SHARD_MAX, CLOSE_DEADLINE_MS, CONNECTIONS_PER_SHARD_MAX, HEAD_DEADLINE_MS,
    HISTORY_AGE_MS_DEFAULT, HISTORY_BYTES_DEFAULT, HISTORY_COUNT_DEFAULT, HISTORY_SHARD_BYTES_MAX, HOLD_RETRY_MS,
    HOT_MEMBERS, LINE_LOOK_MS, REFUSALS_ALIKE_MAX, REFUSALS_KEPT_MS,
};
use crate::session::endpoint::{Door, Endpoint};

#[test]
fn a_head_has_its_time_and_dribbling_does_not_stretch_it() {
    let mut world = World::new();
    let who = world.try_accept(0).unwrap();
    for byte in b"GET /ws H" {
        world.send(who, &[*byte]);
        world.wait(1000);
    }
    world.wait(HEAD_DEADLINE_MS - 9 * 1000 - 1);
    assert_eq!(world.sockets[who].end, None);
    world.wait(1);
    assert_eq!(world.sockets[who].end, Some(Closing::Abort));
    assert_eq!((world.read(Metric::RefusedLate), world.read(Metric::Sockets)), (1, 0));
}

#[test]
fn a_token_has_its_time_and_pings_do_not_stretch_it() {
    let mut world = World::new();
    let who = world.upgrade("/ws/chat/s");
    for _ in 0..9 {
        world.send(who, &masked(9, b"x"));
        world.say(who, r#"{"type":"ping"}"#);
        world.wait(1000);
    }
    world.wait(AUTH_DEADLINE_MS - 9 * 1000 - 1);
    assert_eq!(world.heard_words(who), ["pong frame"; 9]);
    world.wait(1);
    assert_eq!(world.heard_words(who), ["unwelcome INVALID_MESSAGE_FORMAT", "close 4000"]);
    assert_eq!(world.sockets[who].end, Some(Closing::Linger));
}

#[test]
fn no_deadline_passes_for_who_stands_in_line() {
    let mut world = World::new();
    let (opening, upgraded) = (world.try_accept(0).unwrap(), world.upgrade("/ws/chat/s"));
    let in_line = [opening, upgraded].map(|who| world.sockets[who].id);
    in_line.iter().for_each(|id| world.hosts[0].0.enter_line(*id));
    world.wait(HEAD_DEADLINE_MS.max(AUTH_DEADLINE_MS) + LINE_LOOK_MS);
    assert_eq!(world.read(Metric::RefusedLate), 0, "both have spoken");
    in_line.iter().for_each(|id| world.hosts[0].0.leave_line(*id));
    world.wait(LINE_LOOK_MS - 1);
    assert_eq!(world.read(Metric::RefusedLate), 0, "what was let in is on its way");
    world.wait(1);
    assert_eq!((world.read(Metric::RefusedLate), world.sockets[opening].end), (2, Some(Closing::Abort)));
    assert_eq!(world.heard_words(upgraded), ["unwelcome INVALID_MESSAGE_FORMAT", "close 4000"]);
}

#[test]
fn a_first_frame_lets_its_sender_in_or_says_why_not() {
    let auth = |token: &str| json!({ "token": token }).to_string();
    let none = json!({ "caps": {} });
    for (first, path, expected) in [
        (auth(&token("ann")), "/ws/chat/s", ["welcome", "connection_established"]),
        (
            r#"{"type":"subscribe","channels":[]}"#.into(),
            "/ws/chat/s",
            ["unwelcome INVALID_MESSAGE_FORMAT", "close 4000"],
        ),
        ("{".into(), "/ws/chat/s", ["unwelcome INVALID_MESSAGE_FORMAT", "close 4000"]),
        (auth("a.b.c"), "/ws/chat/s", ["unwelcome AUTH_FAILED", "close 4001"]),
        (auth(&token_with("ann", 0, json!({}))), "/ws/chat/s", ["unwelcome TOKEN_EXPIRED", "close 4001"]),
        (auth(&token_with("ann", 9, none.clone())), "/ws/chat/s", ["unwelcome PERMISSION_DENIED", "close 4003"]),
        (auth(&token_with("ann", 9, none)), "/ws", ["welcome", "connection_established"]),
        (
            auth(&token_with("ann", 9, json!({ "session_id": "s" }))),
            "/ws/chat/s",
            ["welcome", "connection_established"],
        ),
        (
            auth(&token_with("ann", 9, json!({ "session_id": "other" }))),
            "/ws/chat/s",
            ["unwelcome PERMISSION_DENIED", "close 4003"],
        ),
    ] {
        let mut world = World::new();
        let who = world.upgrade(path);
        world.say(who, &first);
        let heard = world.heard_words(who);
        assert_eq!(heard[..2], expected, "{first} at {path}");
    }
}

#[test]
fn a_legacy_client_that_brings_what_was_refused_again_and_again_is_closed_1000() {
    let mut world = World::new();
    let refused = |world: &mut World, path: &str, first: &str| {
        let who = world.upgrade(path);
        world.say(who, first);
        world.heard_words(who).last().unwrap().clone()
    };
    let legacy = r#"{"token":"no","sessionId":"s"}"#;
    for time in 1..=REFUSALS_ALIKE_MAX + 2 {
        let expected = if time <= REFUSALS_ALIKE_MAX { "close 4001" } else { "close 1000" };
        assert_eq!(refused(&mut world, "/ws/chat/s", legacy), expected, "for the {time}th time");
        assert_eq!(
            refused(&mut world, "/ws/chat/s", r#"{"token":"no","client":{"name":"n","version":"1"}}"#),
            "close 4001"
        );
    }
    assert_eq!(refused(&mut world, "/ws/chat/other", legacy), "close 4001", "another endpoint");
    assert_eq!(refused(&mut world, "/ws/chat/s", r#"{"token":"no"}"#), "close 4001", "another frame");
    for expected in ["close 4000", "close 4000", "close 1000"] {
        assert_eq!(refused(&mut world, "/ws/chat/s", "{"), expected, "what is no frame at all");
    }
    world.wait(REFUSALS_KEPT_MS);
    assert_eq!(refused(&mut world, "/ws/chat/s", legacy), "close 4001", "it is forgotten");
}

#[test]
fn a_token_of_the_request_admits_or_is_refused_before_the_upgrade() {
    for (token, expected) in [
        (token("ann"), 101),
        ("a.b.c".into(), 401),
        (token_with("ann", 0, json!({})), 401),
        (token_with("ann", 9, json!({ "caps": {} })), 403),
        (token_with("ann", 9, json!({ "session_id": "other" })), 403),
    ] {
        let mut world = World::new();
        let who = world.upgrade_on(0, &format!("/ws/chat/s?token={token}"));
        assert_eq!(world.status(who), expected, "{token}");
    }
}

#[test]
fn a_users_own_endpoints_are_for_nobody_else_whatever_the_token_permits() {
    let all = || json!({ "role": "service", "caps": { "*": ["subscribe", "publish"] } });
    for path in ["/ws/agent-status/ann", "/api/ws/notifications/ann"] {
        for (user, status, reply) in [
            ("ann", 101, "welcome connection_established subscribed"),
            ("bob", 403, "unwelcome PERMISSION_DENIED close 4003"),
        ] {
            let mut world = World::new();
            let token = token_with(user, 60, all());
            let who = world.upgrade_on(0, &format!("{path}?token={token}"));
            assert_eq!(world.status(who), status, "{path} {user}");
            let who = world.upgrade(path);
            world.say(who, &json!({ "token": token }).to_string());
            assert_eq!(world.heard_words(who).join(" "), reply, "{path} {user}");
        }
    }
}

#[test]
fn a_token_that_is_bound_to_a_session_opens_no_other_by_message_either() {
    let mut world = World::new();
    let bound = token_with("ann", 60, json!({ "session_id": "s" }));
    let who = world.upgrade(&format!("/ws?token={bound}"));
    world.heard(who);
    world.say(who, &subscribe(&["chat:s".into(), "chat:other".into(), "session:other".into(), "trip:1".into()]));
    let heard = world.heard(who);
    assert_eq!(heard[0]["payload"]["subscribed_channels"], json!(["chat:s", "trip:1"]));
    for (channel, expected) in
        [("chat:s", "note ack"), ("chat:other", "nack PERMISSION_DENIED"), ("session:other", "nack PERMISSION_DENIED")]
    {
        world.say(who, &publish(channel, channel, &json!({})));
        assert_eq!(world.heard_words(who).join(" "), expected, "{channel}");
    }
}

#[test]
fn a_process_takes_sockets_up_to_its_bound_and_again_when_one_is_released() {
    let mut world = World::with(|options| (options.shards, options.sockets_max) = (2, 3));
    let sockets: Vec<Option<Who>> = (0..4).map(|index| world.try_accept(index % 2)).collect();
    assert_eq!(sockets, [Some(0), Some(1), Some(2), None]);
    assert_eq!(world.read(Metric::RefusedFull), 1);
    let id = world.sockets[1].id;
    world.handle(1, Input::Gone(id));
    world.run();
    assert_eq!((world.try_accept(0), world.try_accept(0)), (Some(3), None));
}

#[test]
fn a_full_shard_gives_a_handed_over_connection_back() {
    let mut world = World::with(|options| (options.shards, options.sockets_max) = (2, 1));
    let channel = at_home("chat:", 1, 2);
    let who = world.upgrade_on(0, &format!("/ws/{}", channel.replace(':', "/")));
    assert_eq!((world.status(who), world.sockets[who].id.shard), (101, ShardId(1)));
    let passport = message::Passport {
        peer: std::net::IpAddr::from([127, 0, 0, 1]).into(),
        accepted: Millis(0),
        endpoint: Endpoint { door: Door::Open, channel: None },
        response: Payload::copy_of(b"HTTP/1.1 101"),
        claims: None,
        token: None,
        key_generation: 0,
        leftover: Vec::new(),
        counted: message::Counted::default(),
        since: None,
    };
    let (shard, effects) = &mut world.hosts[1];
    assert!(shard.on_adopt(world.now, Box::new(passport), effects).is_err());
}

#[test]
fn a_socket_that_is_handed_over_too_late_is_refused_by_its_new_shard() {
    let channel = at_home("chat:", 1, 2);
    let path = format!("/ws/{}", channel.replace(':', "/"));
    let with_token = format!("{path}?token={}", token("ann"));
    // What was checked before holds only as long as the keys do, and is then checked again; who has no token yet is
    // asked for one later.
    let (same, more, others) = (None, Some(true), Some(false));
    for (target, keys, draining, expected, counted) in [
        (&with_token, same, false, 101, None),
        (&with_token, more, false, 101, None),
        (&with_token, others, false, 401, Some(Metric::RefusedToken)),
        (&with_token, others, true, 401, Some(Metric::RefusedToken)),
        (&with_token, more, true, 503, Some(Metric::RefusedDraining)),
        (&with_token, same, true, 503, Some(Metric::RefusedDraining)),
        (&path, others, false, 101, None),
        (&path, same, true, 503, Some(Metric::RefusedDraining)),
    ] {
        let mut world = World::with(|options| options.shards = 2);
        let who = world.try_accept(0).unwrap();
        world.put(who, head_of(target).as_bytes());
        let Some(Effect::HandOver(old, to, passport)) = world.hosts[0].1.list.pop() else {
            panic!("{target} is handed over");
        };
        assert_eq!(to, ShardId(1));
        world.handle(0, Input::Released(old));
        if draining {
            world.handle(1, Input::Drain(600_000));
        }
        let (shard, effects) = &mut world.hosts[1];
        if let Some(still_good) = keys {
            shard.on_keys(newer_keys(&shard.options.verifier, still_good));
        }
        let id = shard.on_adopt(world.now, passport, effects).unwrap();
        world.owners.insert(id, who);
        world.sockets[who].id = id;
        world.run();
        assert_eq!(world.status(who), expected, "{target}, keys: {keys:?}, draining: {draining}");
        assert!(counted.is_none_or(|metric| world.read(metric) == 1), "{target}");
        assert_eq!(world.is_open(who), expected == 101, "{target}");
    }
}

/// Other keys, under which the tokens of these are good or are not.
fn newer_keys(verifier: &Verifier, still_good: bool) -> Arc<Verifier> {
    let issuer = (!still_good).then(|| "another".to_owned());
    Arc::new(Verifier { issuer, generation: verifier.generation + 1, ..verifier.clone() })
}

#[test]
fn an_upgrade_that_is_held_while_the_keys_change_is_judged_by_the_new_ones() {
    let token = token("ann");
    for (path, expected) in [
        (format!("/ws/chat/s?token={token}"), [101, 401]),
        (format!("/api/v1/ws/ann?token={token}"), [101, 401]),
        (format!("/api/sse/chat:s?token={token}"), [200, 401]),
        // Who has brought no token yet, or is let in without one, rests on no key.
        ("/ws/chat/s".to_owned(), [101, 101]),
        ("/api/v1/ws/ann".to_owned(), [101, 101]),
    ] {
        for (still_good, expected) in [true, false].into_iter().zip(expected) {
            for home in [0, 1] {
                let mut world = World::with(|options| {
                    (options.shards, options.connections_max, options.globetrotter_open) = (2, 1, true);
                });
                let first = world.upgrade_on(0, "/ws/chat/s");
                let held = world.upgrade_on(home, &path);
                assert!(world.sockets[held].taken.is_empty(), "{path} is held");
                for host in [0, 1] {
                    let newer = newer_keys(&world.hosts[host].0.options.verifier, still_good);
                    world.handle(host, Input::Mesh(ShardId(9), MeshMessage::Keys(newer)));
                }
                let id = world.sockets[first].id;
                world.handle(id.shard.index(), Input::Gone(id));
                world.wait(HOLD_RETRY_MS + 250);
                assert_eq!(world.status(held), expected, "{path} {still_good}");
                assert_eq!(world.is_open(held), expected != 401);
            }
        }
    }
}

#[test]
fn a_connection_ends_with_its_token_at_most_a_second_late() {
    for ttl_s in [1, 5, 39, 40, 41, 60, 61, 100] {
        let mut world = World::new();
        let who = world.upgrade(&format!("/ws?token={}", token_with("ann", ttl_s, json!({}))));
        for _ in 0..ttl_s * 4 - 1 {
            world.wait(250);
            world.put(who, &text(r#"{"type":"pong"}"#));
        }
        world.wait(249);
        assert!(world.is_open(who), "{ttl_s} s");
        world.heard(who);
        world.wait(1000);
        assert_eq!(world.heard_words(who).last().unwrap(), "close 4001", "{ttl_s} s");
    }
}

#[test]
fn a_refresh_prolongs_a_connection_and_keeps_its_place() {
    let mut world = World::new();
    let who = world.upgrade(&format!("/ws/chat/s?token={}", token_with("ann", 5, json!({}))));
    world.heard(who);
    world.wait(3000);
    world.heard(who);
    world.say(who, &json!({ "type": "auth", "token": token_with("ann", 90, json!({})) }).to_string());
    assert_eq!(world.heard_words(who), ["welcome"]);
    world.wait(5000);
    world.say(who, &publish("chat:s", "1", &json!({})));
    assert_eq!(world.heard_words(who), ["note", "ack"]);
}

#[test]
fn a_refresh_with_a_token_that_does_not_fit_ends_the_connection() {
    for (token, expected) in [
        (token("eve"), ["unwelcome AUTH_FAILED", "close 4003"]),
        (token_with("ann", 0, json!({})), ["unwelcome TOKEN_EXPIRED", "close 4001"]),
        ("a.b.c".into(), ["unwelcome AUTH_FAILED", "close 4001"]),
        (token_with("ann", 9, json!({ "session_id": "x" })), ["unwelcome PERMISSION_DENIED", "close 4003"]),
    ] {
        for known in [false, true] {
            let mut world = World::new();
            let who = world.client(known, "/ws/chat/s", "ann");
            world.say(who, &json!({ "type": "auth", "token": token }).to_string());
            assert_eq!(world.heard_words(who), expected, "{token}");
        }
    }
}

#[test]
fn what_a_refreshed_token_no_longer_permits_is_left_with_notice() {
    let mut world = World::new();
    let who = world.legacy("/ws", "ann");
    world.say(who, &subscribe(&["chat:a".into(), "trip:b".into()]));
    world.heard(who);
    let caps = json!({ "caps": { "trip:b": ["subscribe", "publish"] } });
    world.say(who, &json!({ "type": "auth", "token": token_with("ann", 60, caps) }).to_string());
    let heard = world.heard(who);
    assert_eq!(words(&heard), ["welcome", "unsubscribed"]);
    let left = &heard[1]["payload"];
    assert_eq!((left["channel"].as_str(), left["reason"].as_str()), (Some("chat:a"), Some("permission_denied")));
    let other = world.legacy("/ws/chat/a", "bob");
    for channel in ["chat:a", "trip:b"] {
        world.say(other, &publish(channel, channel, &json!({})));
    }
    let heard = world.heard(who);
    assert_eq!(of_type(&heard, "note").len(), 1);
    assert_eq!(heard[0]["channel"], "trip:b");
}

#[test]
fn what_a_refreshed_token_permits_in_the_endpoints_channel_is_in_force_at_once() {
    let mut world = World::new();
    let who = world.legacy("/ws/chat/s", "ann");
    let said = r#"{"type":"chat_message","payload":{"content":"a"}}"#;
    for (verbs, expected) in [
        (json!(["subscribe"]), "connection_error PERMISSION_DENIED"),
        (json!(["subscribe", "publish"]), "chat_message"),
        (json!(["subscribe", "history"]), "connection_error PERMISSION_DENIED"),
    ] {
        let caps = json!({ "caps": { "chat:s": verbs } });
        world.say(who, &json!({ "type": "auth", "token": token_with("ann", 60, caps) }).to_string());
        world.heard(who);
        world.say(who, said);
        assert_eq!(world.heard_words(who), [expected], "{verbs}");
    }
}

#[test]
fn a_head_is_refused_for_what_is_wrong_with_it() {
    let upgrade = |path: &str, more: &str| {
        let head = head_of(path);
        format!("{}{more}\r\n", &head[..head.len() - 2])
    };
    let listed = || Arc::new(Origins::new(&["https://example.com".into()]).unwrap());
    for (head, status, counted) in [
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n".into(), 505, Metric::RefusedHead),
        ("GET /\r\n\r\n".into(), 400, Metric::RefusedHead),
        (upgrade("/ws/chat/%00", ""), 400, Metric::RefusedHead),
        (upgrade("/echo", ""), 404, Metric::RefusedHead),
        (upgrade("/ws", "Origin: https://elsewhere.com\r\n"), 403, Metric::RefusedOrigin),
        (upgrade("/ws/chat/s", "Origin: null\r\n"), 403, Metric::RefusedOrigin),
    ] {
        let mut world =
            World::with(|options| (options.echo, options.loopback, options.origins) = (false, false, listed()));
        let who = world.try_accept(0).unwrap();
        world.send(who, head.as_bytes());
        assert_eq!((world.status(who), world.read(counted)), (status, 1), "{head}");
        world.wait(CLOSE_DEADLINE_MS);
        assert_eq!((world.sockets[who].end.is_some(), world.read(Metric::Sockets)), (true, 0), "{head}");
    }
}

#[test]
fn readiness_ends_with_the_drain_and_health_does_not() {
    let mut world = World::new();
    for (path, before, after) in [("/readyz", 200, 503), ("/health", 200, 200), ("/ws", 426, 503)] {
        for (draining, expected) in [(false, before), (true, after)] {
            if draining {
                world.handle(0, Input::Drain(600_000));
            } else {
                world = World::new();
            }
            let who = world.try_accept(0).unwrap();
            world.send(who, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            assert_eq!(world.status(who), expected, "{path}, draining: {draining}");
        }
    }
}

/// What the tests of these bounds lower is what a gateway has that nobody configured.
#[test]
fn an_unconfigured_shard_has_the_shipped_bounds_and_no_open_door() {
    let options = Options::embedded([0; 16], Verifier::default());
    let bounds = [
        (options.connections_max, CONNECTIONS_PER_SHARD_MAX),
        (options.sockets_max, CONNECTIONS_PER_SHARD_MAX),
        (options.channels_max, CHANNELS_PER_SHARD_MAX),
        (options.history_bytes_max, HISTORY_SHARD_BYTES_MAX),
        (options.hot_members, HOT_MEMBERS),
        (options.replay_bytes_per_turn, REPLAY_BYTES_PER_TURN),
        (options.retention.count, HISTORY_COUNT_DEFAULT),
        (options.retention.bytes, HISTORY_BYTES_DEFAULT),
    ];
    for (index, (has, shipped)) in bounds.into_iter().enumerate() {
        assert_eq!(has, shipped, "bound {index}");
    }
    assert_eq!(options.retention.age_ms, HISTORY_AGE_MS_DEFAULT);
    let doors = [options.echo, options.globetrotter_open, options.admin_loopback, options.unlimited];
    assert_eq!(doors, [false; 4]);
}
