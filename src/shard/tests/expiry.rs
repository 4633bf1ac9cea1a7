//! The end of a token: told a minute before, in force at most a second late, and moved by a refresh.

use super::*;
use crate::limits::TOKEN_WARNING_MS;

/// A connection of a token that is good for so long, which says something often enough to be kept.
fn joined(world: &mut World, ttl_s: u64) -> Who {
    let who = world.upgrade("/ws/chat/s");
    world.say(who, &json!({ "token": token_with("ann", ttl_s, json!({})) }).to_string());
    world.heard(who);
    who
}

fn refresh(world: &mut World, who: Who, ends_s: u64) {
    world.say(who, &json!({ "token": token_with("ann", ends_s, json!({})) }).to_string());
}

/// Passes seconds and returns when what was heard that has to do with the token, in seconds from the start.
fn until(world: &mut World, who: Who, end_s: u64) -> Vec<(u64, String)> {
    let mut heard = Vec::new();
    loop {
        let at = world.now.unix_ms / 1000 - START_UNIX_S;
        let frames = world.heard(who);
        for frame in &frames {
            if frame["type"] == "token_expiring" {
                let left = frame["payload"]["expires_in_ms"].as_u64().unwrap();
                assert!(left <= TOKEN_WARNING_MS);
                heard.push((at, format!("told {}", left.div_ceil(1000))));
            }
        }
        heard.extend(words(&frames).into_iter().filter(|word| word.starts_with("close ")).map(|word| (at, word)));
        if at >= end_s || !world.is_open(who) {
            return heard;
        }
        if at.is_multiple_of(30) {
            world.say(who, r#"{"type":"pong"}"#);
        }
        world.wait(1000);
    }
}

#[test]
fn a_connection_is_told_a_minute_before_its_token_ends_and_closed_when_it_does() {
    let minute = TOKEN_WARNING_MS / 1000;
    for (ttl_s, told_s, left_s) in [
        (1000, 1000 - minute, minute),
        (minute + 1, 1, minute),
        (minute, 0, minute),
        (minute - 1, 0, minute - 1),
        (1, 0, 1),
    ] {
        for known in [false, true] {
            let mut world = World::new();
            let who = world.upgrade("/ws/chat/s");
            let mut auth = json!({ "token": token_with("ann", ttl_s, json!({})) });
            if known {
                auth["client"] = json!({ "name": "c", "version": "1" });
            }
            world.say(who, &auth.to_string());
            let heard = until(&mut world, who, 2000);
            let [(told, left), (closed, close)] = &heard[..] else { panic!("{ttl_s}: {heard:?}") };
            assert!(*told >= told_s && *told <= told_s + 1, "{ttl_s}: {heard:?}");
            let told_left: u64 = left.strip_prefix("told ").unwrap().parse().unwrap();
            assert!(told_left == left_s || told_left + 1 == left_s, "{ttl_s}: {heard:?}");
            assert!((ttl_s..=ttl_s + 1).contains(closed) && close == "close 4001", "{ttl_s}: {heard:?}");
        }
    }
}

#[test]
fn a_refresh_moves_the_end_and_is_told_again() {
    let mut world = World::new();
    let who = joined(&mut world, 100);
    let told = until(&mut world, who, 50);
    assert_eq!(told.len(), 1, "{told:?}");
    refresh(&mut world, who, 300);
    let heard = until(&mut world, who, 400);
    assert_eq!(heard.iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>(), ["told 60", "close 4001"]);
    assert!((240..=241).contains(&heard[0].0) && (300..=301).contains(&heard[1].0), "{heard:?}");
}

#[test]
fn a_token_that_ends_sooner_than_the_one_before_ends_the_connection_sooner() {
    for first_s in [1000, 95, 61, 50] {
        let mut world = World::new();
        let who = joined(&mut world, first_s);
        until(&mut world, who, 5);
        refresh(&mut world, who, 20);
        let heard = until(&mut world, who, 200);
        let (closed, close) = heard.last().unwrap();
        assert!((20..=21).contains(closed) && close == "close 4001", "{first_s}: {heard:?}");
    }
}
