//! Readers of event streams: what they get byte for byte, where they begin, and how they end.

use super::*;
use crate::limits::{
    EVENT_STREAM_BEAT_MS, EVENT_STREAM_RECEIVES_MAX, EVENT_STREAM_RETRY_MS, EVENT_STREAM_RETRY_SPREAD_MS, STUCK_MS,
};

/// An event as a reader takes it: its id, and its data.
pub(super) type Taken = (Option<String>, Value);

fn request(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n")
}

impl World {
    fn ask_stream(&mut self, host: usize, target: &str, more: &str) -> Who {
        let who = self.try_accept(host).unwrap();
        self.send(who, request("GET", target, more).as_bytes());
        who
    }

    pub(super) fn reader(&mut self, host: usize, channel: &str, user: &str, more: &str) -> Who {
        let who = self.ask_stream(host, &format!("/api/sse/{channel}?token={}", token(user)), more);
        assert_eq!(self.status(who), 200);
        who
    }

    /// What a reader got since it was last asked. Comments and the time to wait are no events.
    pub(super) fn read_events(&mut self, who: Who) -> Vec<Taken> {
        let text = String::from_utf8(std::mem::take(&mut self.sockets[who].taken)).unwrap();
        let body = if text.starts_with("HTTP/") { text.split_once("\r\n\r\n").unwrap().1 } else { &text };
        assert!(body.is_empty() || body.ends_with("\n\n"), "{body:?}");
        let blocks = body.split("\n\n").filter(|block| block.contains("data: "));
        let taken = blocks.map(|block| {
            let of = |field: &'static str| block.lines().filter_map(move |line| line.strip_prefix(field));
            let data: Vec<&str> = of("data: ").collect();
            (of("id: ").next().map(str::to_owned), serde_json::from_str(&data.join("\n")).unwrap())
        });
        taken.collect()
    }

    /// Their words, but for who comes and goes.
    fn read_words(&mut self, who: Who) -> Vec<String> {
        let taken = self.read_events(who);
        taken.iter().map(|(_, event)| word(event)).filter(|word| word != "presence").collect()
    }
}

#[test]
fn a_reader_gets_what_members_get_with_the_place_after_which_to_resume() {
    for shards in [1, 2] {
        let mut world = World::with(|options| options.shards = shards);
        let ann = world.legacy("/ws/chat/1", "ann");
        for host in 0..usize::from(shards) {
            let reader = world.reader(host, "session:1", "bob", "");
            world.say(ann, &json!({ "type": "chat_message", "payload": { "content": "a\nb" } }).to_string());
            world.say(ann, "{\"type\":\"publish\",\"payload\":{\"channel\":\"chat:1\",\"type\":\"note\",\"payload\":{\n\"v\":\r\n1}}}");
            let taken = world.read_events(reader);
            let heard = world.heard(ann);
            let epoch = heard[0]["epoch"].as_str().unwrap();
            let first = heard[0]["seq"].as_u64().unwrap();
            let words: Vec<String> = taken.iter().map(|(_, event)| word(event)).collect();
            assert_eq!(words, ["connection_established", "subscribed", "chat_message", "note"]);
            let ids: Vec<Option<String>> = taken.iter().map(|(id, _)| id.clone()).collect();
            let id = |seq: u64| Some(format!("{epoch}:{seq}"));
            assert_eq!(ids, [None, id(first - 1), id(first), id(first + 1)]);
            assert_eq!(taken[2..].iter().map(|(_, event)| event).collect::<Vec<_>>(), heard.iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_reader_resumes_after_the_event_that_it_names_and_hears_of_what_is_lost() {
    let mut world = World::with(|options| options.retention.count = 3);
    let ann = world.legacy("/ws/chat/1", "ann");
    for index in 0..5 {
        world.say(ann, &publish("chat:1", &format!("op-{index}"), &json!({})));
    }
    let events = world.heard(ann);
    let epoch = of_type(&events, "note")[0]["epoch"].as_str().unwrap().to_owned();
    let good = |seq: u64| format!("{epoch}:{seq}");
    // What the reader names; the `subscribed`'s verdict and place; the events.
    for (named, recovered, reason, place, expected) in [
        (good(5), json!(true), Value::Null, 5, vec![]),
        (good(3), json!(true), Value::Null, 3, vec![4, 5]),
        (good(2), json!(true), Value::Null, 2, vec![3, 4, 5]),
        (good(1), json!(false), json!("trimmed"), 2, vec![3, 4, 5]),
        (good(6), json!(false), json!("too_far"), 2, vec![3, 4, 5]),
        ("0000000000000001:4".to_owned(), json!(false), json!("epoch_changed"), 2, vec![3, 4, 5]),
        ("what?".to_owned(), json!(false), json!("epoch_changed"), 2, vec![3, 4, 5]),
    ] {
        for by_query in [false, true] {
            let reader = if by_query {
                let target = format!("/api/sse/chat:1?token={}&last_event_id={named}", token("bob"));
                world.ask_stream(0, &target, "")
            } else {
                world.reader(0, "chat:1", "bob", &format!("Last-Event-ID: {named}\r\n"))
            };
            let taken = world.read_events(reader);
            let (id, subscribed) = &taken[1];
            assert_eq!((&subscribed["payload"]["recovered"], id), (&recovered, &Some(good(place))), "{named}");
            assert_eq!(subscribed["payload"]["reason"], reason, "{named}");
            let seqs: Vec<u64> = taken[2..].iter().map(|(_, event)| event["seq"].as_u64().unwrap()).collect();
            assert_eq!(seqs, expected, "{named}");
        }
    }
}

#[test]
fn a_reader_that_falls_behind_is_told_of_the_gap_and_one_that_is_stuck_is_cut() {
    let mut world = World::with(|options| options.retention.count = 1);
    let ann = world.legacy("/ws/chat/1", "ann");
    let reader = world.reader(0, "chat:1", "bob", "");
    world.read_events(reader);
    world.open(reader, 0);
    for index in 0..8 {
        world.say(ann, &publish_of("chat:1", 60_000 + index));
    }
    world.heard(ann);
    world.open(reader, usize::MAX);
    let taken = world.read_events(reader);
    let at = taken.iter().position(|(_, event)| event["type"] == "gap").unwrap();
    let (id, gap) = &taken[at];
    let (from, to) = (gap["payload"]["from_seq"].as_u64().unwrap(), gap["payload"]["to_seq"].as_u64().unwrap());
    assert!(id.as_ref().unwrap().ends_with(&format!(":{to}")));
    let seqs: Vec<u64> = taken.iter().filter_map(|(_, event)| event["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..from).chain(to + 1..=8).collect::<Vec<_>>());
    world.open(reader, 0);
    world.say(ann, &publish("chat:1", "op", &json!({})));
    world.wait(STUCK_MS + WHEEL_SLOT_MS);
    assert!(!world.is_open(reader) && world.is_open(ann));
}

#[test]
fn who_may_not_read_gets_an_answer_and_no_stream() {
    let mut world = World::new();
    let good = token("ann");
    for (method, target, more, status) in [
        ("GET", "/api/sse/chat:1", String::new(), 401),
        ("GET", "/api/sse/chat:1?token=x.y.z", String::new(), 401),
        ("GET", "/api/sse/chat:1", format!("Authorization: Bearer {good}\r\n"), 200),
        ("HEAD", "/api/sse/chat:1", format!("Authorization: Bearer {good}\r\n"), 200),
        ("GET", "/api/sse/user:bob", format!("Authorization: Bearer {good}\r\n"), 403),
        ("GET", "/api/sse/notifications", format!("Authorization: Bearer {good}\r\n"), 200),
        ("GET", "/api/sse/*", format!("Authorization: Bearer {good}\r\n"), 403),
        ("POST", "/api/sse/chat:1", format!("Authorization: Bearer {good}\r\n"), 405),
        ("GET", "/api/sse/", format!("Authorization: Bearer {good}\r\n"), 400),
    ] {
        let who = world.try_accept(0).unwrap();
        world.send(who, request(method, target, &more).as_bytes());
        assert_eq!(world.status(who), status, "{method} {target}");
        let streams = status == 200 && method == "GET";
        assert_eq!(world.is_open(who), streams, "{method} {target}");
        let text = String::from_utf8(world.sockets[who].taken.clone()).unwrap();
        assert_eq!(text.contains("\r\nContent-Type: text/event-stream\r\n"), status == 200, "{text}");
        assert_eq!(text.contains("data: "), streams);
    }
}

#[test]
fn a_silent_reader_gets_comments_and_is_asked_to_come_back_at_a_time_of_its_own() {
    let mut world = World::new();
    let readers: Vec<Who> = (0..20).map(|_| world.reader(0, "chat:1", "ann", "")).collect();
    let mut times = std::collections::HashSet::new();
    for who in &readers {
        let text = String::from_utf8(std::mem::take(&mut world.sockets[*who].taken)).unwrap();
        let retry = text.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap();
        let retry: u64 = retry.parse().unwrap();
        assert!((EVENT_STREAM_RETRY_MS..EVENT_STREAM_RETRY_MS + EVENT_STREAM_RETRY_SPREAD_MS).contains(&retry));
        times.insert(retry);
    }
    assert!(times.len() > 10);
    world.wait(1000);
    for who in &readers {
        let events = world.read_events(*who);
        assert_eq!(events.last().map(|(_, event)| &event["payload"]["count"]), Some(&json!(20)));
    }
    world.wait(2 * crate::limits::IDLE_MS);
    let text = String::from_utf8(world.sockets[readers[0]].taken.clone()).unwrap();
    let least = usize::try_from(2 * crate::limits::IDLE_MS / EVENT_STREAM_BEAT_MS).unwrap() - 2;
    assert!(text.matches(":\n\n").count() >= least && text.replace(":\n\n", "").is_empty(), "{text:?}");
    assert!(world.is_open(readers[0]));
}

#[test]
fn what_a_reader_sends_is_dropped_and_has_an_end() {
    let mut world = World::new();
    let reader = world.reader(0, "chat:1", "ann", "");
    let message = text(&publish("chat:1", "op", &json!({})));
    for index in 1..=EVENT_STREAM_RECEIVES_MAX {
        assert!(world.is_open(reader), "after {}", index - 1);
        world.send(reader, &message);
    }
    assert!(!world.is_open(reader));
    assert_eq!(world.read(Metric::Published), 0);
}

#[test]
fn a_stream_ends_with_its_token_or_when_it_is_closed_and_says_why() {
    let mut world = World::new();
    let token = token_with("ann", 5, json!({}));
    let short = world.ask_stream(0, &format!("/api/sse/chat:1?token={token}"), "");
    let closed = world.reader(0, "chat:1", "bob", "");
    let drained = world.reader(0, "chat:1", "cyd", "");
    for who in [short, closed, drained] {
        world.read_events(who);
    }
    world.wait(6000);
    assert_eq!(world.read_words(short), ["token_expiring", "connection_close 4001"]);
    let id = world.sockets[closed].id;
    let (shard, effects) = &mut world.hosts[0];
    shard.close(world.now, id, crate::code::CloseCode::NORMAL, "enough", effects);
    world.run();
    assert_eq!(world.read_words(closed), ["connection_close 1000"]);
    world.handle(0, Input::Drain(1000));
    world.run();
    world.wait(2000);
    assert_eq!(world.read_words(drained), ["draining", "connection_close 1012"]);
    for who in [short, closed, drained] {
        assert!(!world.is_open(who) && world.sockets[who].end == Some(Closing::Linger));
    }
    assert_eq!(world.read(Metric::Connections), 0);
}

#[test]
fn a_reader_hears_who_writes_and_who_comes_and_goes() {
    for shards in [1, 2] {
        let mut world = World::with(|options| options.shards = shards);
        let reader = world.reader(0, "chat:1", "bob", "");
        world.wait(1000);
        world.read_events(reader);
        let ann = world.legacy("/ws/chat/1", "ann");
        world.say(ann, &json!({ "type": "typing_start" }).to_string());
        world.wait(1000);
        let taken = world.read_events(reader);
        let mut words: Vec<String> = taken.iter().map(|(_, event)| word(event)).collect();
        words.sort();
        assert_eq!(words, ["chat_typing_start", "presence"]);
        assert!(taken.iter().all(|(id, event)| id.is_none() && event["channel"] == "chat:1"), "{taken:?}");
    }
}
