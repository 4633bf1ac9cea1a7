//! The shares of a write: what each lane gets while all of them hold more than fits.

use super::*;
use crate::limits::{BATCH_PARTS_MAX, LANE_SHARES, OUTBOX_BYTES_MAX};
use crate::outbox::Lane;

/// A service, which may publish wherever it likes.
fn service(world: &mut World) -> Who {
    let token = token_with("backend", LATER_S, json!({ "role": "service" }));
    let who = world.upgrade(&format!("/ws?token={token}"));
    world.heard(who);
    who
}

/// Queues a frame for one connection.
fn queue(world: &mut World, who: Who, lane: Lane, text: &str) {
    let id = world.sockets[who].id;
    let frame = crate::wire::encoder::frame(crate::wire::encoder::Opcode::Text, text.as_bytes());
    let (shard, effects) = &mut world.hosts[id.shard.index()];
    shard.queue(world.now, id, lane, frame, effects);
}

fn put_event(world: &mut World, author: Who, channel: &str) {
    let message = json!({ "type": "publish", "payload": { "channel": channel, "type": "note", "payload": {} } });
    world.put(author, &text(&message.to_string()));
}

/// What a write of 64 frames is made of: critical, high alone, high channel, normal channel, low.
fn census(frames: &[Value]) -> [usize; 5] {
    let lane = |frame: &Value| match (frame["type"].as_str(), frame["channel"].as_str()) {
        (Some("critical"), _) => 0,
        (Some("high"), _) => 1,
        (_, Some("agent:ann")) => 2,
        (_, Some(_)) => 3,
        _ => 4,
    };
    frames.iter().fold([0; 5], |mut sums, frame| {
        sums[lane(frame)] += 1;
        sums
    })
}

#[test]
fn every_lane_gets_its_share_of_a_write_while_all_have_more() {
    let mut world = World::new();
    let author = service(&mut world);
    let who = world.legacy("/ws/chat/s", "ann");
    world.say(who, &subscribe(&["agent:ann".into()]));
    world.heard(who);
    world.writes.clear();
    for _ in 0..BATCH_PARTS_MAX {
        put_event(&mut world, author, "chat:s");
        put_event(&mut world, author, "agent:ann");
        queue(&mut world, who, Lane::Critical, r#"{"type":"critical"}"#);
        queue(&mut world, who, Lane::Low, r#"{"type":"low"}"#);
    }
    (0..6).for_each(|_| queue(&mut world, who, Lane::High, r#"{"type":"high"}"#));
    world.run();
    let sizes: Vec<usize> = world.writes.iter().filter(|write| write.0 == who).map(|write| write.1).collect();
    assert_eq!((sizes[0], sizes.iter().sum::<usize>()), (BATCH_PARTS_MAX, 4 * BATCH_PARTS_MAX + 6));
    let frames = world.heard(who);
    let [critical, direct, agent, chat, low] = census(&frames[..BATCH_PARTS_MAX]);
    let sum: usize = LANE_SHARES.iter().sum();
    for (share, frames) in LANE_SHARES.iter().zip([critical, direct + agent, chat, low]) {
        assert!(frames.abs_diff(BATCH_PARTS_MAX * share / sum) <= 1, "{share}: {frames}");
    }
    assert_eq!(direct, 6, "what is for this connection alone goes before its channels");
    assert_eq!(seqs(&frames, "note").len(), 2 * BATCH_PARTS_MAX);
    for channel in ["chat:s", "agent:ann"] {
        let seqs: Vec<u64> = frames
            .iter()
            .filter(|frame| frame["channel"] == channel)
            .filter_map(|frame| frame["seq"].as_u64())
            .collect();
        assert!(seqs.iter().copied().eq(1..=BATCH_PARTS_MAX as u64), "in order: {seqs:?}");
    }
}

#[test]
fn a_busy_channel_leaves_the_others_their_part() {
    let mut world = World::new();
    let author = service(&mut world);
    let who = world.legacy("/ws/chat/busy", "ann");
    world.say(who, &subscribe(&["chat:calm".into()]));
    world.heard(who);
    (0..3 * BATCH_PARTS_MAX).for_each(|_| put_event(&mut world, author, "chat:busy"));
    put_event(&mut world, author, "chat:calm");
    world.run();
    let frames = world.heard(who);
    let calm = frames.iter().position(|frame| frame["channel"] == "chat:calm");
    assert!(calm.is_some_and(|at| at <= BATCH_PARTS_MAX), "{calm:?}");
}

#[test]
fn large_frames_of_one_lane_do_not_shut_out_another() {
    let mut world = World::new();
    let who = world.legacy("/ws/chat/s", "ann");
    world.writes.clear();
    for _ in 0..3 {
        let large = json!({ "type": "critical", "pad": "x".repeat(OUTBOX_BYTES_MAX / 4) });
        queue(&mut world, who, Lane::Critical, &large.to_string());
    }
    queue(&mut world, who, Lane::Low, r#"{"type":"low"}"#);
    world.run();
    assert_eq!(world.writes.len(), 1, "{:?}", world.writes);
    assert_eq!(world.heard_words(who), ["critical", "critical", "critical", "low"]);
}

#[test]
fn a_greeting_follows_the_answer_to_the_subscription_however_much_is_before_it() {
    let mut world = World::new();
    let who = world.legacy("/ws", "ann");
    (0..3 * BATCH_PARTS_MAX).for_each(|_| queue(&mut world, who, Lane::Critical, r#"{"type":"critical"}"#));
    let leave_and_join = json!({ "type": "subscribe", "channels": ["chat:s"], "unsubscribe_channels": ["chat:s"] });
    for _ in 0..2 {
        world.put(who, &text(&leave_and_join.to_string()));
    }
    put_event(&mut world, who, "chat:s");
    world.run();
    let heard = world.heard_words(who);
    let ours: Vec<&str> = heard.iter().map(String::as_str).filter(|word| *word != "critical").collect();
    assert_eq!(ours, ["subscribe_response", "unsubscribed", "subscribe_response", "subscribed", "note"]);
}

#[test]
fn acknowledgements_leave_the_lowest_lane_its_share() {
    let mut world = World::new();
    let who = world.legacy("/ws/chat/s", "ann");
    world.open(who, 0);
    world.say(who, r#"{"type":"ping"}"#);
    for number in 0..50 {
        world.put(who, &text(&publish("chat:s", &number.to_string(), &json!({}))));
    }
    (0..400).for_each(|_| queue(&mut world, who, Lane::Critical, r#"{"type":"critical"}"#));
    world.say(who, r#"{"type":"ping","timestamp":7}"#);
    world.open(who, usize::MAX);
    let heard = world.heard(who);
    let pong = heard.iter().rposition(|frame| frame["type"] == "pong").unwrap();
    assert_eq!(of_type(&heard, "ack").len(), 50);
    assert!(pong < 2 * crate::limits::BATCH_PARTS_MAX, "it comes as number {pong}");
}
