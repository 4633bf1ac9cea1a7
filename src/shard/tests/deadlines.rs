//! Deadlines that many have at the same moment.

use super::*;
use crate::limits::{PING_AFTER_MS, TIMERS_PER_TURN_MAX};

#[test]
fn who_came_together_is_pinged_some_in_each_turn() {
    let mut world = World::new();
    let all: Vec<Who> = (0..=3 * TIMERS_PER_TURN_MAX).map(|_| world.known("/ws", "bob")).collect();
    let pinged_ms = PING_AFTER_MS + WHEEL_SLOT_MS;
    // Deadlines of their opening, of which nothing is left to do.
    world.jump(pinged_ms - 2 * WHEEL_SLOT_MS);
    assert!(all.iter().all(|who| world.heard(*who).is_empty()));
    (world.now.micros, world.now.unix_ms) = (world.now.micros + 500_000, world.now.unix_ms + 500);
    let mut turns = Vec::new();
    while world.hosts[0].0.next_deadline().is_some_and(|at| at <= world.now.millis()) {
        let (shard, effects) = &mut world.hosts[0];
        shard.on_time(world.now, effects);
        turns.push(effects.list.iter().filter(|effect| matches!(effect, Effect::Write(_))).count());
        world.apply(0);
    }
    assert!(turns.iter().all(|writes| *writes <= TIMERS_PER_TURN_MAX), "{turns:?}");
    assert_eq!(turns.iter().sum::<usize>(), all.len());
    assert!(all.iter().all(|who| world.heard_words(*who) == ["connection_heartbeat", "ping frame"]));
}

#[test]
fn who_came_together_is_told_of_in_some_rooms_in_each_turn() {
    let mut world = World::with(|options| options.shards = 1);
    let rooms = 2 * TIMERS_PER_TURN_MAX + 1;
    for room in 0..rooms {
        world.known(&format!("/ws/chat/s{room}"), "bob");
    }
    let due = |world: &World| world.hosts[0].0.soon.len();
    assert_eq!(due(&world), rooms);
    (world.now.micros, world.now.unix_ms) = (world.now.micros + 500_000, world.now.unix_ms + 500);
    let mut told = Vec::new();
    while world.hosts[0].0.next_deadline().is_some_and(|at| at <= world.now.millis()) {
        let before = due(&world);
        let (shard, effects) = &mut world.hosts[0];
        shard.on_time(world.now, effects);
        told.push(before - due(&world));
        world.apply(0);
    }
    assert_eq!((told.iter().max(), told.iter().sum()), (Some(&TIMERS_PER_TURN_MAX), rooms));
}
