//! No client of the seeds is driven into a loop where there is no place for it, or where it was silent for too long: as `loops`,
//! for the refusals and closes that are left.
//!
//! An upgrade that is held takes eight seconds of the server's time, which no pace shortens: half a minute is one here.

use std::thread;
use std::time::{Duration, Instant};

use super::globetrotter::Reconnecting;
use super::guide::{self, Guide};
use super::shipped::{Setup, Shipped};
use super::wire::{Pace, Turns, drive};
use crate::gateway::{Directory, Gateway, SOON};
use crate::raw::Raw;

const HALF_A_MINUTE: Duration = Duration::from_secs(30);

fn configured(text: &str) -> Gateway {
    let directory = Directory::new();
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    Gateway::within(&directory, &["--shards", "2", "--config", file.to_str().unwrap()])
}

fn shipped(gateway: &Gateway, user: &str) -> Shipped {
    Shipped::connect(Setup::chat(gateway.address, "s", &gateway.token(user)))
}

fn guide(gateway: &Gateway, user: &str) -> Guide {
    Guide::connect(guide::Setup::chat(gateway.address, "s", &gateway.token(user)))
}

fn page(gateway: &Gateway, user: &str) -> Reconnecting {
    let path = format!("/api/v1/ws/{user}?token={}", gateway.token(user));
    Reconnecting::connect(gateway.address, &path, Pace::TRUE)
}

/// Gives turns to one client for a time. Opening a socket may take it the eight seconds that it is held.
fn turns(client: &mut impl Turns, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        client.turn();
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// One place, which somebody has.
fn no_place(line: &str) {
    let gateway = configured(&format!("[limits]\n{line}\n"));
    let inside = Raw::admitted(&gateway, "/ws", &gateway.token("eve"));
    // What they open first is held as well, which takes them eight seconds each.
    let (mut one, mut two, flat) = thread::scope(|scope| {
        let one = scope.spawn(|| {
            let mut one = shipped(&gateway, "ada");
            turns(&mut one, Duration::from_secs(22));
            one
        });
        let two = scope.spawn(|| {
            let mut two = guide(&gateway, "bob");
            turns(&mut two, Duration::from_secs(22));
            two
        });
        let mut flat = page(&gateway, "cat");
        turns(&mut flat, HALF_A_MINUTE);
        (one.join().unwrap(), two.join().unwrap(), flat)
    });
    // Each is held for eight seconds, then told 503: the shipped client ends there, as its document says.
    assert_eq!((one.sockets, one.has_stopped()), (1, true), "{line}");
    assert!((3..=4).contains(&two.sockets) && !two.has_stopped(), "{line}: {} sockets", two.sockets);
    assert!((2..=4).contains(&flat.sockets), "{line}: {} sockets", flat.sockets);
    assert_eq!(flat.refusals[..2], [503; 2], "{line}");
    drop(inside);
    turns(&mut one, Duration::from_millis(100));
    drive(&mut [&mut two], SOON, |all| all[0].is_connected());
    assert_eq!(one.sockets, 1, "{line}");
}

#[test]
fn who_finds_no_place_of_an_address_asks_for_few_sockets_and_gets_in_when_one_is_free() {
    no_place("connections_per_address = 1");
}

#[test]
fn who_finds_no_place_in_all_asks_for_few_sockets_and_gets_in_when_one_is_free() {
    no_place("connections = 1");
}

#[test]
fn who_loses_a_place_to_another_comes_back_within_its_budget() {
    let gateway = configured("[limits]\nconnections = 2\n");
    let (mut one, mut two) = (shipped(&gateway, "ada"), guide(&gateway, "bob"));
    drive(&mut [&mut one], SOON, |all| all[0].is_connected());
    drive(&mut [&mut two], SOON, |all| all[0].is_connected());
    let eve = gateway.token("eve");
    one.cut();
    two.cut();
    let inside = [Raw::admitted(&gateway, "/ws", &eve), Raw::admitted(&gateway, "/ws", &eve)];
    thread::scope(|scope| {
        scope.spawn(|| turns(&mut one, HALF_A_MINUTE));
        turns(&mut two, HALF_A_MINUTE);
    });
    assert!((3..=5).contains(&one.sockets), "{}", one.sockets);
    assert!((3..=4).contains(&two.sockets), "{}", two.sockets);
    drop(inside);
}

#[test]
fn one_connection_too_many_of_a_user_or_to_a_resource_costs_one_socket() {
    for line in ["connections_per_user = 1", "connections_per_resource = 1"] {
        let gateway = configured(&format!("[limits]\n{line}\n[limits.chat]\nconnections = 0\n"));
        let mut first = shipped(&gateway, "ada");
        drive(&mut [&mut first], SOON, |all| all[0].is_connected());
        let (mut one, mut two) = (shipped(&gateway, "ada"), guide(&gateway, "ada"));
        drive(&mut [&mut one], SOON, |all| all[0].has_stopped());
        drive(&mut [&mut two], SOON, |all| all[0].has_stopped());
        assert_eq!((one.sockets, &one.closes[..]), (1, &[1000][..]), "{line}");
        assert_eq!((two.sockets, &two.closes[..]), (1, &[1000][..]), "{line}");
        assert!(first.is_connected(), "{line}");
    }
}

#[test]
fn who_was_asleep_for_too_long_comes_back_once() {
    let gateway = Gateway::start();
    let (mut one, mut two, mut flat) = (shipped(&gateway, "ada"), guide(&gateway, "bob"), page(&gateway, "cat"));
    drive(&mut [&mut one], SOON, |all| all[0].is_connected());
    drive(&mut [&mut two], SOON, |all| all[0].is_connected());
    drive(&mut [&mut flat], SOON, |all| all[0].is_open());
    // Nobody gives them a turn, so that they answer nothing: a laptop that is shut.
    thread::park_timeout(Duration::from_secs(77));
    assert_eq!(gateway.metric("waystation_closed_total", "reason=\"idle\""), 3);
    drive(&mut [&mut one], SOON, |all| all[0].sockets == 2 && all[0].is_connected());
    drive(&mut [&mut two], SOON, |all| all[0].sockets == 2 && all[0].is_connected());
    drive(&mut [&mut flat], SOON, |all| all[0].sockets == 2 && all[0].is_open());
    for _ in 0..300 {
        one.turn();
        two.turn();
        flat.turn();
    }
    assert_eq!((one.sockets, two.sockets, flat.sockets), (2, 2, 2));
}
