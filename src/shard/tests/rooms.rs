//! Channels: who is in, who may send, and how an operation is answered.

use super::*;
use crate::code::ErrorCode;
use crate::limits::{
    ANSWERS_BYTES_MAX, ANSWERS_HELD_MAX, CHANNEL_IDLE_MS, CHANNEL_SWEEP_COUNT, CHANNELS_PER_MESSAGE_MAX,
    DEDUP_ENTRIES_MAX, DEDUP_WINDOW_MS, MEMBERSHIPS_PER_CONNECTION_MAX, OPERATION_ID_BYTES_MAX,
};
use crate::outbox::FRAME_OVERHEAD_BYTES;

/// Joins `count` channels with numbers from `first` on.
fn join_many(world: &mut World, who: Who, first: usize, count: usize) {
    let names: Vec<String> = (first..first + count).map(|index| format!("trip:{index}")).collect();
    names.chunks(CHANNELS_PER_MESSAGE_MAX).for_each(|some| world.say(who, &subscribe(some)));
}

/// Joins a channel and says what came of it: `ok` or a code.
fn join(world: &mut World, who: Who, channel: &str) -> String {
    world.heard(who);
    world.say(who, &subscribe(&[channel.into()]));
    let heard = world.heard(who);
    assert_eq!(heard[0]["type"], "subscribe_response");
    heard[0]["payload"]["failures"][0]["code"].as_str().unwrap_or("ok").to_owned()
}

#[test]
fn a_connection_is_in_at_most_so_many_channels_and_may_join_one_again_at_the_bound() {
    for known in [false, true] {
        let mut world = World::new();
        let who = world.client(known, "/ws", "ann");
        join_many(&mut world, who, 0, MEMBERSHIPS_PER_CONNECTION_MAX - 1);
        assert_eq!(join(&mut world, who, "trip:last"), "ok");
        assert_eq!(join(&mut world, who, "trip:over"), "CONNECTION_LIMIT_EXCEEDED");
        assert_eq!(join(&mut world, who, "trip:0"), "ok");
        assert_eq!(world.read(Metric::Memberships), MEMBERSHIPS_PER_CONNECTION_MAX as u64);
        world.say(who, r#"{"type":"unsubscribe","channels":["trip:0"]}"#);
        assert_eq!(join(&mut world, who, "trip:over"), "ok");
    }
}

#[test]
fn a_shard_knows_channels_up_to_its_bound_and_forgets_deserted_ones_for_new_ones() {
    let mut world = World::with(|options| options.channels_max = 3);
    let who = world.legacy("/ws", "ann");
    for (channel, expected) in
        [("trip:1", "ok"), ("trip:2", "ok"), ("trip:3", "ok"), ("trip:4", "OVERLOADED"), ("trip:3", "ok")]
    {
        assert_eq!(join(&mut world, who, channel), expected, "{channel}");
    }
    world.say(who, &publish("trip:5", "1", &json!({})));
    let heard = world.heard(who);
    assert_eq!(words(&heard), ["nack OVERLOADED"]);
    assert_eq!(heard[0]["payload"]["retryable"], true);
    world.say(who, r#"{"type":"unsubscribe","channels":["trip:2"]}"#);
    assert_eq!(join(&mut world, who, "trip:4"), "ok");
    assert_eq!((world.read(Metric::Channels), world.read(Metric::ChannelsEvicted)), (3, 1));
}

#[test]
fn a_deserted_channel_without_events_goes_before_one_with_a_history() {
    let mut world = World::with(|options| options.channels_max = 3);
    let who = world.legacy("/ws", "ann");
    for channel in ["trip:talked", "trip:silent", "trip:held"] {
        assert_eq!(join(&mut world, who, channel), "ok");
    }
    world.say(who, &publish("trip:talked", "1", &json!({})));
    world.say(who, r#"{"type":"unsubscribe","channels":["trip:talked","trip:silent"]}"#);
    assert_eq!(join(&mut world, who, "trip:new"), "ok");
    world.heard(who);
    let position = json!({ "type": "subscribe", "channels": ["trip:talked"] });
    world.say(who, &position.to_string());
    let heard = world.heard(who);
    let subscribed = of_type(&heard, "subscribed");
    assert_eq!(subscribed.first().map(|frame| &frame["payload"]["seq"]), Some(&json!(1)), "{heard:?}");
}

#[test]
fn the_search_for_a_deserted_channel_looks_at_so_many_and_goes_on_from_there() {
    for (occupied, expected) in [
        (CHANNEL_SWEEP_COUNT - 1, ["ok", "OVERLOADED"]),
        (CHANNEL_SWEEP_COUNT, ["OVERLOADED", "ok"]),
        (CHANNEL_SWEEP_COUNT + 1, ["OVERLOADED", "ok"]),
    ] {
        let mut world = World::with(|options| options.channels_max = occupied + 1);
        for first in (0..occupied).step_by(MEMBERSHIPS_PER_CONNECTION_MAX) {
            let who = world.legacy("/ws", "ann");
            join_many(&mut world, who, first, MEMBERSHIPS_PER_CONNECTION_MAX.min(occupied - first));
        }
        let who = world.legacy("/ws", "bob");
        assert_eq!(join(&mut world, who, "trip:deserted"), "ok");
        world.say(who, r#"{"type":"unsubscribe","channels":["trip:deserted"]}"#);
        assert_eq!(expected, [join(&mut world, who, "trip:a"), join(&mut world, who, "trip:b")], "{occupied}");
    }
}

#[test]
fn an_empty_channel_without_events_is_forgotten_after_its_time() {
    let mut world = World::new();
    let who = world.legacy("/ws", "ann");
    world.say(who, &subscribe(&["trip:a".into(), "trip:b".into(), "trip:c".into()]));
    world.say(who, &publish("trip:b", "1", &json!({})));
    world.say(who, r#"{"type":"unsubscribe","channels":["trip:a","trip:b"]}"#);
    for _ in 0..CHANNEL_IDLE_MS / 20_000 {
        world.jump(20_000);
        world.put(who, &text(r#"{"type":"pong"}"#));
        if world.now.millis().0 < CHANNEL_IDLE_MS {
            assert_eq!(world.read(Metric::Channels), 3);
        }
    }
    assert_eq!(world.now.millis(), Millis(CHANNEL_IDLE_MS));
    world.wait(1000);
    assert_eq!(world.read(Metric::Channels), 2, "one has events, one a member");
}

#[test]
fn a_channel_is_named_as_its_member_named_it() {
    let mut world = World::new();
    let (old, new) = (world.legacy("/ws", "ann"), world.legacy("/ws", "ann"));
    world.say(old, &subscribe(&["session:s".into(), "notifications".into(), "agent_status:ann".into()]));
    world.say(new, &subscribe(&["chat:s".into(), "notifications:ann".into(), "agent:ann".into()]));
    world.say(new, &publish("session:s", "1", &json!({})));
    let names = |frames: &[Value], kind: &str| -> Vec<String> {
        let named = |frame: &&Value| {
            let name = [&frame["channel"], &frame["payload"]["channel"]].into_iter().find_map(Value::as_str);
            name.map(str::to_owned)
        };
        of_type(frames, kind).iter().filter_map(named).collect()
    };
    let heard = world.heard(old);
    let response = &heard[0]["payload"]["subscribed_channels"];
    assert_eq!(response, &json!(["session:s", "notifications", "agent_status:ann"]));
    assert_eq!(names(&heard, "subscribed"), ["agent_status:ann", "session:s", "notifications"]);
    assert_eq!(names(&heard, "note"), ["session:s"]);
    let heard = world.heard(new);
    assert_eq!(names(&heard, "subscribed"), ["agent:ann", "chat:s", "notifications:ann"]);
    assert_eq!(names(&heard, "note"), ["chat:s"]);
    world.say(old, r#"{"type":"unsubscribe","channels":["chat:s"]}"#);
    assert_eq!(names(&world.heard(old), "unsubscribed"), ["session:s"]);
}

#[test]
fn who_joins_again_keeps_its_place_and_loses_nothing() {
    let mut world = World::new();
    let (who, other) = (world.legacy("/ws/chat/s", "ann"), world.legacy("/ws/chat/s", "bob"));
    world.say(other, &publish("chat:s", "1", &json!({})));
    world.heard(who);
    world.put(other, &text(&publish("chat:s", "2", &json!({}))));
    world.put(other, &text(&publish("chat:s", "3", &json!({}))));
    world.put(who, &text(&subscribe(&["chat:s".into()])));
    world.run();
    let heard = world.heard(who);
    assert_eq!(words(&heard), ["subscribe_response", "subscribed", "note", "note"]);
    assert_eq!((heard[1]["payload"]["seq"].as_u64(), seqs(&heard, "note")), (Some(1), vec![2, 3]));
    assert_eq!(world.read(Metric::Memberships), 2);
}

#[test]
fn what_a_client_says_of_its_sender_is_dropped() {
    let mut world = World::new();
    let (who, other) = (world.legacy("/ws/chat/s", "ann"), world.legacy("/ws/chat/s", "bob"));
    let chat = r#"{"type":"chat_message","user_id":"eve","content":"hi","session_id":"x","payload":
        {"content":"hi","user_id":"eve","userId":"eve","session_id":"x"}}"#;
    let note = r#"{"type":"publish","user_id":"eve","payload":{"channel":"chat:s","type":"note","payload":{}}}"#;
    world.say(who, chat);
    world.say(who, note);
    let heard = world.heard(other);
    assert_eq!(words(&heard), ["chat_message", "note"]);
    for frame in &heard {
        assert_eq!((&frame["user_id"], &frame["session_id"]), (&json!("ann"), &json!("s")), "{frame}");
        assert!(!frame.to_string().contains("eve"), "{frame}");
    }
    assert_eq!(heard[0]["payload"]["message"]["user_id"], "ann");
}

#[test]
fn a_role_is_only_for_those_who_may_produce_streams() {
    let chat = r#"{"type":"chat_message","content":"hi","role":"assistant"}"#;
    for (more, role) in [(json!({}), "user"), (json!({ "role": "service" }), "assistant")] {
        let mut world = World::new();
        let who = world.upgrade(&format!("/ws/chat/s?token={}", token_with("ann", 60, more)));
        world.heard(who);
        world.say(who, chat);
        assert_eq!(world.heard(who)[0]["payload"]["role"], role);
    }
}

#[test]
fn an_event_that_names_its_doer_is_published_only_by_those_who_may_speak_for_others() {
    let claims = [json!({}), json!({ "caps": { "*": ["subscribe", "publish"] } }), json!({ "role": "service" })];
    for (more, may) in claims.into_iter().zip([false, false, true]) {
        let mut world = World::new();
        let who = world.upgrade(&format!("/ws?token={}", token_with("ann", 60, more)));
        world.heard(who);
        for (channel, kind) in [("chat:s", "chat_message"), ("trip:1", "trip_update_broadcast")] {
            let forged = json!({ "message": { "role": "assistant", "user_id": "bob" }, "updated_by": "bob" });
            let body = json!({ "channel": channel, "type": kind, "payload": forged });
            world.say(who, &json!({ "type": "publish", "id": "1", "ack": true, "payload": body }).to_string());
            assert_eq!(world.heard_words(who), [if may { "ack" } else { "nack PERMISSION_DENIED" }], "{kind}");
        }
    }
}

#[test]
fn what_may_not_be_sent_is_refused_and_the_connection_lives() {
    let mut world = World::new();
    let who = world.legacy("/ws", "ann");
    let reserved = r#"{"type":"publish","payload":{"channel":"chat:s","type":"ack","payload":{}}}"#;
    for (message, expected) in [
        (publish("general", "1", &json!({})), "nack PERMISSION_DENIED"),
        (publish("user:bob", "1", &json!({})), "nack PERMISSION_DENIED"),
        (reserved.to_owned(), "connection_error INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"chat_message","content":"x"}"#.to_owned(), "connection_error CHANNEL_NOT_FOUND"),
        (
            r#"{"type":"chat_message","content":"x","channel":"trip:1"}"#.to_owned(),
            "connection_error CHANNEL_NOT_FOUND",
        ),
        (
            r#"{"type":"trip_update","field":"a","value":1,"channel":"general"}"#.to_owned(),
            "connection_error PERMISSION_DENIED",
        ),
        (r#"{"type":"no such type"}"#.to_owned(), "connection_error UNKNOWN_TYPE"),
    ] {
        world.say(who, &message);
        assert_eq!(world.heard_words(who), [expected], "{message}");
    }
    assert_eq!(
        (join(&mut world, who, "user:bob"), join(&mut world, who, "user:ann")),
        ("PERMISSION_DENIED".into(), "ok".into())
    );
    assert!(world.is_open(who));
}

#[test]
fn an_author_that_excludes_itself_gets_the_answer_and_the_others_the_event() {
    let mut world = World::new();
    let (who, other) = (world.legacy("/ws/chat/s", "ann"), world.legacy("/ws/chat/s", "ann"));
    let excluding = publish("chat:s", "1", &json!({})).replacen('{', r#"{"exclude_sender":true,"#, 1);
    world.say(who, &excluding);
    world.say(other, &publish("chat:s", "2", &json!({})));
    let heard = world.heard(who);
    assert_eq!((words(&heard), seqs(&heard, "note")), (vec!["ack".into(), "note".into()], vec![2]));
    assert_eq!(seqs(&world.heard(other), "note"), [1, 2], "another connection of the same user is another member");
}

#[test]
fn an_answer_waits_until_its_author_got_everything_up_to_the_event() {
    let mut world = World::new();
    let (who, other) = (world.legacy("/ws/chat/s", "ann"), world.legacy("/ws/chat/s", "bob"));
    world.put(other, &text(&publish("chat:s", "1", &json!({}))));
    world.put(who, &text(&publish("chat:s", "2", &json!({}))));
    world.put(who, &text(&publish("chat:elsewhere", "3", &json!({}))));
    world.run();
    // In a channel that it is not in, there is nothing to wait for.
    assert_eq!(world.heard_words(who), ["ack", "note", "note", "ack"]);
    world.sockets[who].room = 0;
    world.say(who, r#"{"type":"ping"}"#);
    world.say(who, &publish("chat:s", "4", &json!({})));
    world.say(who, r#"{"type":"unsubscribe","channels":["chat:s"]}"#);
    world.open(who, usize::MAX);
    assert_eq!(
        world.heard_words(who),
        ["pong", "unsubscribed", "ack", "subscribe_response"],
        "who leaves waits for nothing, and is out before it is answered"
    );
}

#[test]
fn who_is_owed_so_many_answers_is_read_later_and_none_comes_before_its_event() {
    for (known, home) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        let channel = at_home("chat:", home, 2);
        for (count, paused) in [(ANSWERS_HELD_MAX - 1, 0), (ANSWERS_HELD_MAX, 0), (ANSWERS_HELD_MAX + 1, 1)] {
            let mut world = World::with(|options| options.shards = 2);
            let who = world.client_on(0, known, "/ws", "ann");
            world.say(who, &subscribe(std::slice::from_ref(&channel)));
            world.heard(who);
            world.sockets[who].room = 0;
            world.say(who, r#"{"type":"ping"}"#);
            for index in 0..count {
                world.put(who, &text(&publish(&channel, &index.to_string(), &json!({}))));
            }
            world.run();
            assert_eq!((world.read(Metric::AnswersFull), world.sockets[who].reads), (paused, paused == 0), "{count}");
            world.open(who, usize::MAX);
            let (mut told, mut acked) = (0, Vec::new());
            for frame in world.heard(who) {
                match frame["type"].as_str().unwrap() {
                    "gap" => told = frame["payload"]["to_seq"].as_u64().unwrap(),
                    "note" => told = frame["seq"].as_u64().unwrap(),
                    "ack" => acked.push(frame["payload"]["seq"].as_u64().unwrap()),
                    _ => continue,
                }
                assert!(acked.last().is_none_or(|acked| *acked <= told), "{acked:?} before {told}");
            }
            assert_eq!(acked, (1..=count as u64).collect::<Vec<_>>(), "{known} {home}: every one, in order");
            assert!(world.sockets[who].reads && world.is_open(who));
        }
    }
}

#[test]
fn who_has_so_many_bytes_of_answers_to_take_is_read_later() {
    for (bytes, paused) in [(ANSWERS_BYTES_MAX - 1, 0), (ANSWERS_BYTES_MAX, 0), (ANSWERS_BYTES_MAX + 1, 1)] {
        let mut world = World::new();
        let who = world.legacy("/ws", "ann");
        world.sockets[who].room = 0;
        // The first is taken up by a write; those after it are queued. A pong has two bytes more than its ping.
        world.send(who, &masked(9, b""));
        let pong = 127 + FRAME_OVERHEAD_BYTES;
        let full = bytes / pong - 1;
        let left = bytes - full * pong - 2 * (FRAME_OVERHEAD_BYTES + 2);
        world.send(who, &masked(9, &[7; 125]).repeat(full));
        for len in [left / 2, left - left / 2] {
            world.send(who, &masked(9, &vec![7; len]));
        }
        world.say(who, r#"{"type":"ping"}"#);
        assert_eq!((world.read(Metric::AnswersFull), world.sockets[who].reads), (paused, paused == 0), "{bytes}");
        world.open(who, usize::MAX);
        assert!(world.heard_words(who).iter().any(|word| word == "pong"), "{bytes}: read later, not lost");
        assert!(world.sockets[who].reads && world.is_open(who));
    }
}

#[test]
fn who_sends_much_at_once_and_reads_is_not_cut_for_its_acknowledgements() {
    for (home, joined, count) in [
        (0, false, 8 * ANSWERS_HELD_MAX),
        (1, false, 8 * ANSWERS_HELD_MAX),
        (0, true, 8 * ANSWERS_HELD_MAX),
        (1, true, 8 * ANSWERS_HELD_MAX),
        (0, true, ANSWERS_HELD_MAX - 1),
        (1, true, ANSWERS_HELD_MAX - 1),
    ] {
        let mut world = World::with(|options| options.shards = 2);
        let who = world.client_on(0, false, "/ws", "ann");
        let channel = at_home("chat:", home, 2);
        if joined {
            world.say(who, &subscribe(std::slice::from_ref(&channel)));
        }
        world.heard(who);
        // All of it before the first write.
        for index in 0..count {
            let id = format!("{index:0>OPERATION_ID_BYTES_MAX$}");
            world.put(who, &text(&publish(&channel, &id, &json!({}))));
        }
        // What waited for its events is given to who leaves.
        world.put(who, &text(&json!({ "type": "unsubscribe", "channels": [channel] }).to_string()));
        world.run();
        let acks = world.heard_words(who).iter().filter(|word| *word == "ack").count();
        assert_eq!((acks, world.is_open(who)), (count, true), "{home} {joined} {count}");
    }
}

#[test]
fn an_operation_that_comes_again_is_delivered_once_and_answered_alike() {
    let mut world = World::new();
    let who = world.legacy("/ws/chat/s", "ann");
    let answer = |world: &mut World, message: &str| -> (String, Value, Value) {
        world.say(who, message);
        let heard = world.heard(who);
        let last = heard.last().unwrap();
        (words(&heard).join(" "), last["payload"]["seq"].clone(), last["payload"]["duplicate"].clone())
    };
    let first = publish("chat:s", "1", &json!({ "a": 1 }));
    assert_eq!(answer(&mut world, &first), ("note ack".into(), json!(1), Value::Null));
    assert_eq!(answer(&mut world, &first), ("ack".into(), json!(1), json!(true)));
    let reused = publish("chat:s", "1", &json!({ "a": 2 }));
    assert_eq!(answer(&mut world, &reused).0, "nack ID_REUSED");
    assert_eq!(answer(&mut world, &publish("chat:t", "1", &json!({}))).0, "ack", "another channel");
    let other = world.legacy("/ws/chat/s", "bob");
    world.say(other, &first);
    assert_eq!(seqs(&world.heard(other), "note"), [2], "another user");
    assert_eq!(world.read(Metric::Duplicates), 1);
}

#[test]
fn an_operation_is_remembered_for_the_window_and_up_to_the_number() {
    for (ms, expected) in [(DEDUP_WINDOW_MS - 1, "ack"), (DEDUP_WINDOW_MS, "ack"), (DEDUP_WINDOW_MS + 1, "note ack")] {
        let mut world = World::new();
        let first = world.legacy("/ws/chat/s", "ann");
        world.say(first, &publish("chat:s", "1", &json!({})));
        // At once, so that no sweep but the look-up itself keeps the window.
        world.now.micros += ms * 1000;
        world.say(first, &publish("chat:s", "1", &json!({})));
        assert_eq!(world.heard_words(first)[2..].join(" "), expected, "{ms} ms");
    }
    for (others, expected) in [(DEDUP_ENTRIES_MAX - 1, "ack"), (DEDUP_ENTRIES_MAX, "note ack")] {
        let mut world = World::new();
        let who = world.legacy("/ws/chat/s", "ann");
        for index in 0..=others {
            world.say(who, &publish("chat:s", &index.to_string(), &json!({})));
        }
        world.heard(who);
        world.say(who, &publish("chat:s", "0", &json!({})));
        assert_eq!(world.heard_words(who).join(" "), expected, "{others} others");
    }
}

#[test]
fn an_update_of_a_trip_is_for_trips() {
    let mut world = World::new();
    let caps = json!({ "caps": { "*": ["subscribe", "publish", "edit"] } });
    let who = world.upgrade(&format!("/ws?token={}", token_with("ann", 60, caps)));
    world.say(who, &subscribe(&["chat:s".into(), "trip:1".into()]));
    world.heard(who);
    for (channel, expected) in [("trip:1", "trip_update_broadcast"), ("chat:s", "connection_error CHANNEL_NOT_FOUND")] {
        world.say(who, &json!({ "type": "trip_update", "field": "a", "value": 1, "channel": channel }).to_string());
        assert_eq!(world.heard_words(who), [expected], "{channel}");
    }
}

#[test]
fn who_comes_when_no_channel_is_left_is_let_in_and_told() {
    let mut world = World::with(|options| options.channels_max = 1);
    world.legacy("/ws/chat/a", "ann");
    for (path, channels, expected) in [
        ("/ws/chat/a", json!([]), 0),
        ("/ws/chat/b", json!([]), 1),
        ("/ws", json!(["chat:a"]), 0),
        ("/ws", json!(["chat:b", "chat:a"]), 1),
        ("/ws/chat/b", json!(["chat:c"]), 2),
    ] {
        let who = world.upgrade(path);
        world.say(who, &json!({ "type": "auth", "token": token("bob"), "channels": channels }).to_string());
        let heard = world.heard_words(who);
        let told = heard.iter().filter(|word| word.starts_with("connection_error"));
        assert_eq!((told.count(), world.is_open(who)), (expected, true), "{path} {channels}: {heard:?}");
    }
}

#[test]
fn every_refusal_has_words_of_its_own() {
    let texts: std::collections::HashSet<_> = ErrorCode::ALL.iter().map(|code| publishing::text_of(*code)).collect();
    assert_eq!(texts.len(), ErrorCode::ALL.len());
}
