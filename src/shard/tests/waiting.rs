//! Who waits before the upgrade for a place that its user has: clients that a close would not stop.

use super::*;
use crate::limits::{HOLD_RETRY_MS, PROBE_MS};

/// Waits as long as an upgrade may be held and a little more; `living` answer pings meanwhile.
fn wait_out(world: &mut World, living: &[Who]) {
    for _ in 0..9 {
        world.wait(1000);
        for who in living {
            if world.heard_words(*who).iter().any(|word| word == "ping frame") {
                world.send(*who, &masked(10, b""));
            }
        }
    }
}

#[test]
fn a_user_without_a_place_left_is_told_before_the_upgrade() {
    let (user, trip) = ("/api/v1/ws/ann?", "/api/v1/ws/trip/7?user_id=ann&");
    for (shards, path, max, in_all) in [
        (1, user, 2, 100),
        (3, user, 2, 100),
        (1, trip, 2, 100),
        (3, trip, 2, 100),
        (1, user, 0, 2),
        (3, trip, 0, 2),
        (3, "/api/sse/chat:s?", 5, 2),
    ] {
        let mut world = World::with(|options| {
            (options.shards, options.unlimited) = (shards, false);
            options.limits.connections_per_user = in_all;
            options.limits.globetrotter.connections = max;
            options.limits.globetrotter_trip.connections = max;
        });
        let ask = |world: &mut World, who: &str| {
            let path = format!("{path}token={}", token(who)).replace("ann", who);
            world.upgrade_on(0, &path)
        };
        let ok = if path.contains("sse") { 200 } else { 101 };
        let first: Vec<Who> = (0..2).map(|_| ask(&mut world, "ann")).collect();
        assert!(first.iter().all(|who| world.status(*who) == ok), "{path}");
        let held = ask(&mut world, "ann");
        assert!(world.sockets[held].taken.is_empty(), "{path}: it is held");
        let other = ask(&mut world, "bob");
        assert_eq!(world.status(other), ok, "another user");
        // Readers of events are not asked: they can say nothing.
        let living = |all: &[Who]| if ok == 101 { all.to_vec() } else { Vec::new() };
        wait_out(&mut world, &living(&first));
        assert_eq!(world.status(held), 503, "{path} {shards}");
        assert!(first.iter().all(|who| world.is_open(*who)), "who lives stays");
        // A place that becomes free in time is given out.
        let held = ask(&mut world, "ann");
        let id = world.sockets[first[0]].id;
        world.handle(id.shard.index(), Input::Gone(id));
        world.run();
        world.wait(600);
        assert_eq!(world.status(held), ok, "{path} {shards}");
        let late = ask(&mut world, "ann");
        wait_out(&mut world, &living(&[first[1], held]));
        assert_eq!(world.status(late), 503, "{path} {shards}: all are taken again");
    }
}

#[test]
fn who_gives_no_sign_of_life_makes_room_for_who_waits() {
    for shards in [1, 3] {
        let mut world = World::with(|options| {
            (options.shards, options.unlimited) = (shards, false);
            options.limits.globetrotter.connections = 2;
        });
        let path = format!("/api/v1/ws/ann?token={}", token("ann"));
        let (dead, living) = (world.upgrade_on(0, &path), world.upgrade_on(0, &path));
        world.heard(living);
        let held = world.upgrade_on(0, &path);
        assert_eq!(world.heard_words(living), ["ping frame"]);
        world.wait(PROBE_MS - 1);
        world.send(living, &masked(10, b""));
        assert!(world.is_open(dead) && world.is_open(living), "{shards}");
        world.wait(1);
        assert!(!world.is_open(dead) && world.is_open(living), "{shards}");
        world.wait(HOLD_RETRY_MS);
        assert_eq!(world.status(held), 101, "{shards}");
        assert_eq!(world.read(Metric::ClosedIdle), 1);
        assert_eq!(world.read(Metric::ClosedReplaced), 0);
    }
}

#[test]
fn a_place_that_was_waited_for_is_given_back_whatever_becomes_of_the_connection() {
    for shards in [1, 3] {
        let mut world = World::with(|options| {
            (options.shards, options.unlimited) = (shards, false);
            (options.connections_max, options.limits.globetrotter_trip.connections) = (1, 1);
        });
        let path = |user: &str| format!("/api/v1/ws/trip/7?user_id={user}&token={}", token(user));
        let first = world.upgrade_on(0, &path("bob"));
        assert_eq!(world.status(first), 101);
        // It has its user's place, waits for the process's, and goes away.
        let gone = world.upgrade_on(0, &path("ann"));
        assert!(world.sockets[gone].taken.is_empty());
        let id = world.sockets[gone].id;
        world.handle(id.shard.index(), Input::Gone(id));
        let id = world.sockets[first].id;
        world.handle(id.shard.index(), Input::Gone(id));
        world.run();
        let again = world.upgrade_on(0, &path("ann"));
        assert_eq!(world.status(again), 101, "{shards}");
    }
}

#[test]
fn a_trip_that_is_full_is_told_before_the_upgrade() {
    for shards in [1, 3] {
        let mut world = World::with(|options| {
            (options.shards, options.unlimited) = (shards, false);
            options.limits.connections_per_resource = 2;
        });
        for (user, expected) in [("ann", 101), ("bob", 101), ("cat", 503)] {
            let path = format!("/api/v1/ws/trip/7?user_id={user}&token={}", token(user));
            assert_eq!(world.status_of(&path), expected, "{user} {shards}");
        }
    }
}

#[test]
fn other_clients_on_a_trip_close_no_pages_of_flat_frames() {
    let mut world = World::with(|options| options.unlimited = false);
    let path = format!("/api/v1/ws/trip/7?user_id=ann&token={}", token("ann"));
    let pages: Vec<Who> = (0..3).map(|_| world.upgrade_on(0, &path)).collect();
    for _ in 0..5 {
        world.known("/ws/trips/7/collab", "ann");
    }
    assert!(pages.iter().all(|who| world.is_open(*who)));
    assert_eq!(world.read(Metric::ClosedReplaced), 2);
}
