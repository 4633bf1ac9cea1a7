//! Rates of channels by policy rows: at the bound, for each kind of client, and for nobody else.

use super::*;
use crate::auth::{ChannelRate, Pattern, PolicyRow};

/// Six messages a minute, two at once, in every chat; three a minute in one of them.
fn limited() -> World {
    let row = |pattern: &str, per_minute, burst| PolicyRow {
        rate: Some(ChannelRate { per_minute, burst }),
        ..PolicyRow::new(Pattern::parse(pattern).unwrap())
    };
    let policy = Policy::with_rows(&[row("chat:*", 6, 2), row("chat:slow", 3, 1)]).unwrap();
    World::with(|options| {
        options.policy = Arc::new(policy);
        options.unlimited = false;
    })
}

fn count(words: &[String], word: &str) -> usize {
    words.iter().filter(|heard| heard.starts_with(word)).count()
}

#[test]
fn a_known_client_is_refused_at_the_bound_and_may_again_when_it_is_told_to() {
    let mut world = limited();
    let who = world.known("/ws/chat/s", "ann");
    for n in 1..=3 {
        world.say(who, &publish("chat:s", &n.to_string(), &json!({})));
    }
    let heard = world.heard(who);
    assert_eq!((of_type(&heard, "ack").len(), of_type(&heard, "nack").len()), (2, 1));
    let nack = &of_type(&heard, "nack")[0]["payload"];
    assert_eq!(
        (&nack["id"], &nack["code"], &nack["retryable"]),
        (&json!("3"), &json!("RATE_LIMIT_EXCEEDED"), &json!(true))
    );
    assert_eq!(nack["retry_after_ms"], 10_000);
    world.wait(10_000);
    world.heard(who);
    world.say(who, &publish("chat:s", "3", &json!({})));
    world.say(who, &publish("chat:s", "4", &json!({})));
    let words = world.heard_words(who);
    assert_eq!((count(&words, "ack"), count(&words, "nack")), (1, 1), "{words:?}");
}

#[test]
fn channels_of_one_row_share_a_rate_and_a_better_row_has_its_own() {
    let mut world = limited();
    let who = world.known("/ws/chat/s", "ann");
    for (n, (channel, good)) in [
        ("chat:s", true),
        ("chat:t", true),
        ("chat:u", false),
        ("chat:slow", true),
        ("chat:slow", false),
        ("trip:1", true),
    ]
    .into_iter()
    .enumerate()
    {
        world.say(who, &publish(channel, &n.to_string(), &json!({})));
        let words = world.heard_words(who);
        assert_eq!(count(&words, "nack") == 0, good, "{channel}: {words:?}");
    }
    let other = world.known("/ws/chat/s", "ann");
    world.say(other, &publish("chat:s", "9", &json!({})));
    assert_eq!(count(&world.heard_words(other), "ack"), 1, "another connection has its own");
}

#[test]
fn a_legacy_client_is_slowed_and_loses_nothing() {
    let mut world = limited();
    let who = world.legacy("/ws/chat/s", "ann");
    for n in 1..=4 {
        world.say(who, &json!({ "type": "chat_message", "content": n.to_string() }).to_string());
    }
    let said = |heard: &[Value]| -> Vec<String> {
        of_type(heard, "chat_message").iter().map(|event| event["payload"]["content"].to_string()).collect()
    };
    let heard = world.heard(who);
    assert_eq!(said(&heard), [r#""1""#, r#""2""#]);
    assert!(of_type(&heard, "connection_error").is_empty());
    for (wait, expected) in [(9_000, 0), (1_250, 1), (8_500, 0), (1_500, 1)] {
        world.wait(wait);
        assert_eq!(said(&world.heard(who)).len(), expected, "after {wait} more");
    }
    assert!(world.is_open(who));
}

#[test]
fn a_service_has_no_rate_in_a_channel_and_the_unlimited_profile_lifts_them() {
    let burst = |world: &mut World, token: &str| {
        let who = world.upgrade(&format!("/ws/chat/s?token={token}"));
        world.say(who, &json!({ "token": token, "client": { "name": "c", "version": "1" } }).to_string());
        for n in 0..10 {
            world.say(who, &publish("chat:s", &n.to_string(), &json!({})));
        }
        count(&world.heard_words(who), "ack")
    };
    let mut world = limited();
    assert_eq!(burst(&mut world, &token_with("backend", LATER_S, json!({ "role": "service" }))), 10);
    assert_eq!(burst(&mut world, &token("ann")), 2);
    let mut world = limited();
    world.hosts[0].0.options.unlimited = true;
    assert_eq!(burst(&mut world, &token("ann")), 10);
}
