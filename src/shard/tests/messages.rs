//! What becomes of single kinds of messages: chat with HTML, agent status, names that no channel has, and
//! several events in one frame.

use super::*;
use crate::auth::{Html, Pattern, PolicyRow};
use crate::limits::{BUNDLE_BYTES_MAX, BUNDLE_EVENTS_MAX, CHANNEL_NAME_BYTES_MAX, MESSAGE_BYTES_MAX};

/// A world in which this becomes of HTML in chats.
fn with_html(html: Html) -> World {
    let row = PolicyRow { html: Some(html), ..PolicyRow::new(Pattern::parse("chat:*").unwrap()) };
    World::with(|options| options.policy = Arc::new(Policy::with_rows(&[row]).unwrap()))
}

fn chat(content: &str) -> String {
    json!({ "type": "chat_message", "payload": { "content": content } }).to_string()
}

/// A service at a chat.
fn service(world: &mut World, path: &str) -> Who {
    let who = world.upgrade(&format!("{path}?token={}", token_with("backend", LATER_S, json!({ "role": "service" }))));
    world.heard(who);
    who
}

#[test]
fn html_in_chats_passes_is_escaped_or_refused_as_the_operator_says() {
    let (bad, fine) = ("<b onclick=\"x\">hi</b>", "a < b & c");
    for (html, after_bad, after_fine) in [
        (Html::Off, Some(bad), fine),
        (Html::Escape, Some("&lt;b onclick=&quot;x&quot;&gt;hi&lt;/b&gt;"), "a &lt; b &amp; c"),
        (Html::Reject, None, fine),
    ] {
        let mut world = with_html(html);
        let who = world.legacy("/ws/chat/s", "ann");
        world.say(who, &chat(bad));
        let heard = world.heard(who);
        match after_bad {
            Some(text) => {
                assert_eq!(heard[0]["payload"]["content"], text, "{html:?}");
                assert_eq!(heard[0]["payload"]["message"]["content"], text, "{html:?}");
            }
            None => assert_eq!(words(&heard), ["connection_error INVALID_MESSAGE_FORMAT"]),
        }
        world.say(who, &chat(fine));
        assert_eq!(world.heard(who)[0]["payload"]["content"], after_fine, "{html:?}");
    }
}

#[test]
fn escaped_chat_is_no_longer_than_a_message_may_be() {
    // The quotes count, and an ampersand becomes five characters.
    for (ampersands, expected) in [
        ((MESSAGE_BYTES_MAX - 2) / 5 - 1, "chat_message"),
        ((MESSAGE_BYTES_MAX - 2) / 5, "chat_message"),
        ((MESSAGE_BYTES_MAX - 2) / 5 + 1, "connection_error MESSAGE_TOO_LARGE"),
    ] {
        let mut world = with_html(Html::Escape);
        let who = world.legacy("/ws/chat/s", "ann");
        world.say(who, &chat(&"&".repeat(ampersands)));
        assert_eq!(world.heard_words(who), [expected]);
        assert!(world.is_open(who));
    }
}

#[test]
fn agent_status_goes_to_the_channel_under_its_first_name_from_those_who_may() {
    let mut world = World::new();
    let (ann, backend) = (world.legacy("/ws/chat/s", "ann"), service(&mut world, "/ws/chat/s"));
    for (kind, first) in [
        ("agent_status_update", "agent_status_update"),
        ("status_update", "agent_status_update"),
        ("task_start", "agent_task_start"),
        ("task_complete", "agent_task_complete"),
        ("tool_call_progress", "tool_call_progress"),
        ("agent_error", "agent_error"),
    ] {
        world
            .say(backend, &json!({ "type": kind, "agentId": "a", "progress": 7, "id": kind, "ack": true }).to_string());
        let heard = world.heard(ann);
        assert_eq!(words(&heard), [first]);
        assert_eq!(heard[0]["payload"], json!({ "agentId": "a", "progress": 7 }));
        assert_eq!((&heard[0]["user_id"], &heard[0]["channel"]), (&json!("backend"), &json!("chat:s")));
        assert_eq!(world.heard_words(backend), [first, "ack"], "{kind}");
    }
    world.say(ann, r#"{"type":"agent_status_update","payload":{"is_active":true}}"#);
    assert_eq!(world.heard_words(ann), ["connection_error PERMISSION_DENIED"]);
    world.say(backend, r#"{"type":"task_start","channel":"agent:ann","payload":{}}"#);
    assert!(world.heard(ann).is_empty(), "it is another channel's");
}

#[test]
fn a_name_that_no_channel_has_fails_alone() {
    let mut world = World::new();
    let who = world.legacy("/ws", "ann");
    let long = "x".repeat(CHANNEL_NAME_BYTES_MAX + 1);
    let text = format!(
        r#"{{"type":"subscribe","channels":["chat:1","","\ud83d","a\u0000b","{long}","user:bob","chat:2"],
        "unsubscribe_channels":["\n"],"since":{{"\t":{{"epoch":"x","seq":1}}}}}}"#
    );
    // Half a surrogate pair is JSON, but no text that serde_json could hold.
    world.put(who, &super::text(&text));
    world.run();
    let taken = String::from_utf8_lossy(&world.sockets[who].taken).into_owned();
    let failed = format!(
        r#""failed_channels":["user:bob","","\ud83d","a\u0000b","{long}"],"failures":[{{"channel":"user:bob","#
    );
    assert!(taken.contains(r#""success":false,"subscribed_channels":["chat:1","chat:2"]"#), "{taken}");
    assert!(taken.contains(&failed), "{taken}");
    assert!(taken.contains(r#"{"channel":"a\u0000b","code":"CHANNEL_NOT_FOUND"}"#), "{taken}");
    assert_eq!(of_type(&world.heard(who), "subscribed").len(), 2);
    world.say(who, r#"{"type":"unsubscribe","channels":["","chat:1"]}"#);
    assert_eq!(world.heard_words(who), ["unsubscribed", "subscribe_response"]);
}

#[test]
fn a_chat_message_with_other_metadata_is_another_one() {
    let mut world = World::new();
    let who = world.legacy("/ws/chat/s", "ann");
    let say = |mood: &str| {
        let payload = json!({ "content": "hi", "mood": mood, "metadata": { "a": 1 } });
        json!({ "type": "chat_message", "id": "1", "ack": true, "payload": payload }).to_string()
    };
    for (mood, expected) in [("good", "ack"), ("good", "ack"), ("bad", "nack ID_REUSED")] {
        world.say(who, &say(mood));
        let heard = world.heard(who);
        assert_eq!(heard.last().map(word).unwrap(), expected, "{mood}");
    }
    assert_eq!(world.read(Metric::Published), 1);
}

/// A client that wants several events in one frame.
fn bundling(world: &mut World, path: &str) -> Who {
    let who = world.upgrade(path);
    let client = json!({ "name": "test", "version": "1", "batch": true });
    world.say(who, &json!({ "type": "auth", "token": token("ann"), "client": client }).to_string());
    who
}

fn note(channel: &str, len: usize) -> String {
    publish_of(channel, len)
}

/// How many events each frame has; 0 for a frame that is no bundle.
fn bundles(frames: &[Value]) -> Vec<usize> {
    frames.iter().map(|frame| frame["events"].as_array().map_or(0, Vec::len)).collect()
}

#[test]
fn a_client_that_asks_for_it_gets_what_it_is_owed_in_few_frames() {
    for (owed, expected) in [
        (1, vec![0]),
        (2, vec![2]),
        (BUNDLE_EVENTS_MAX - 1, vec![BUNDLE_EVENTS_MAX - 1]),
        (BUNDLE_EVENTS_MAX, vec![BUNDLE_EVENTS_MAX]),
        (BUNDLE_EVENTS_MAX + 1, vec![BUNDLE_EVENTS_MAX, 0]),
        (BUNDLE_EVENTS_MAX + 2, vec![BUNDLE_EVENTS_MAX, 2]),
    ] {
        let mut world = World::new();
        let (who, plain) = (bundling(&mut world, "/ws/chat/s"), world.known("/ws/chat/s", "eve"));
        world.heard(who);
        for _ in 0..owed {
            world.put(plain, &text(&note("chat:s", 200)));
        }
        world.run();
        let heard = world.heard(who);
        assert_eq!(bundles(&heard), expected, "{owed}");
        let events: Vec<Value> = heard
            .iter()
            .flat_map(|frame| frame["events"].as_array().cloned().unwrap_or_else(|| vec![frame.clone()]))
            .collect();
        let others = world.heard(plain);
        assert_eq!(events, others, "the same events in the same order");
        assert_eq!(others.len(), owed);
    }
}

#[test]
fn what_is_no_event_stands_alone_and_in_its_place() {
    let mut world = World::new();
    let who = bundling(&mut world, "/ws/chat/s");
    let heard = world.heard(who);
    assert_eq!((words(&heard), bundles(&heard)), (vec!["welcome".to_owned(), "batch".to_owned()], vec![0, 2]));
    let all = [text(CHAT), masked(9, b"x"), text(CHAT), text(r#"{"type":"ping"}"#)].concat();
    world.send(who, &all);
    let heard = world.heard(who);
    assert_eq!((words(&heard), bundles(&heard)), (vec!["pong frame".to_owned(), "batch".to_owned()], vec![0, 3]));
}

const CHAT: &str = r#"{"type":"chat_message","content":"hello"}"#;

#[test]
fn large_events_do_not_make_larger_frames() {
    let mut world = World::new();
    let (who, author) = (bundling(&mut world, "/ws/chat/s"), world.known("/ws/chat/s", "eve"));
    world.heard(who);
    for len in [MESSAGE_BYTES_MAX, BUNDLE_BYTES_MAX / 2, 20_000, 20_000, 200] {
        world.put(author, &text(&note("chat:s", len)));
    }
    world.run();
    let heard = world.heard(who);
    assert_eq!(bundles(&heard), [0, 2, 2]);
}

#[test]
fn a_short_write_splits_no_bundle_and_loses_nothing() {
    let mut whole = Vec::new();
    for room in (0..1500).step_by(7) {
        let mut world = World::new();
        let (who, author) = (bundling(&mut world, "/ws/chat/s"), world.known("/ws/chat/s", "eve"));
        world.heard(who);
        world.sockets[who].room = room;
        for _ in 0..4 {
            world.put(author, &text(&note("chat:s", 200)));
        }
        world.run();
        world.say(author, &note("chat:s", 200));
        world.open(who, usize::MAX);
        let seqs: Vec<Value> = world
            .heard(who)
            .iter()
            .flat_map(|frame| frame["events"].as_array().cloned().unwrap_or_else(|| vec![frame.clone()]))
            .map(|event| event["seq"].clone())
            .collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5], "{room}");
        whole.push(seqs);
    }
    assert!(whole.len() > 200);
}
