//! No client of the seeds is driven into a loop by a bound of connections, by an administrator, or by not reading: as
//! `loops`, for what the server does to connections that have done nothing wrong themselves.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::globetrotter::Reconnecting;
use super::guide::{self, Guide};
use super::shipped::{Setup, Shipped};
use super::wire::{Pace, Turns, drive, rest};
use crate::client::Client;
use crate::gateway::{Gateway, SOON};
use crate::raw::{self, Raw};
use crate::stalled::Ending;

const PACE: u32 = 15;
/// Half a minute of theirs.
const HALF_A_MINUTE: Duration = Duration::from_millis(30_000 / PACE as u64);

fn shipped(gateway: &Gateway, token: &str) -> Shipped {
    Shipped::connect(Setup::chat(gateway.address, "s", token).paced(PACE))
}

fn guide(gateway: &Gateway, token: &str) -> Guide {
    Guide::connect(guide::Setup::chat(gateway.address, "s", token).paced(PACE))
}

/// A page of flat frames that has been greeted.
fn flat(gateway: &Gateway, path: &str, user: &str) -> Reconnecting {
    let path = format!("{path}&token={}", gateway.token(user));
    let mut page = Reconnecting::connect(gateway.address, &path, Pace(PACE));
    drive(&mut [&mut page], SOON, |all| !all[0].messages.is_empty());
    page
}

fn half_a_minute<T: Turns>(clients: &mut [T]) {
    rest(&mut clients.iter_mut().collect::<Vec<_>>(), HALF_A_MINUTE);
}

#[test]
fn who_has_to_make_room_stays_away() {
    let gateway = Gateway::with(&["--shards", "2"]);
    let token = gateway.token("ada");
    let mut tabs: Vec<Shipped> = Vec::new();
    for _ in 0..5 {
        tabs.push(shipped(&gateway, &token));
        let last = tabs.len() - 1;
        drive(&mut [&mut tabs[last]], SOON, |all| all[0].is_connected());
    }
    for tab in &mut tabs[..2] {
        drive(&mut [tab], SOON, |all| all[0].has_stopped());
    }
    half_a_minute(&mut tabs);
    let sockets: Vec<u32> = tabs.iter().map(|tab| tab.sockets).collect();
    assert_eq!(sockets, [1; 5], "three places, and each came once");
    assert_eq!(tabs.iter().filter(|tab| tab.is_connected()).count(), 3);
    assert!(tabs[..2].iter().all(|tab| tab.closes == [1000] && tab.has_stopped()));

    let mut tabs: Vec<Guide> = Vec::new();
    for _ in 0..5 {
        tabs.push(guide(&gateway, &gateway.token("bob")));
        let last = tabs.len() - 1;
        drive(&mut [&mut tabs[last]], SOON, |all| all[0].is_connected());
    }
    for tab in &mut tabs[..2] {
        drive(&mut [tab], SOON, |all| all[0].has_stopped());
    }
    half_a_minute(&mut tabs);
    assert_eq!(tabs.iter().map(|tab| tab.sockets).collect::<Vec<_>>(), [1; 5]);
}

#[test]
fn who_connects_too_often_is_told_to_stop_in_the_way_that_each_understands() {
    let gateway = Gateway::with(&["--shards", "2"]);
    let token = gateway.token("ada");
    for _ in 0..60 {
        drop(Raw::admitted(&gateway, "/ws", &token));
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let ending = Ending(&done);
        // What the user may do again each second somebody else does.
        scope.spawn(|| {
            while !done.load(Relaxed) {
                drop(raw::ask(&gateway, &raw::upgrade_head(&gateway, &format!("/ws?token={token}"), "")));
            }
        });
        // Whose token comes after the upgrade is let in, and then closed as by a limit.
        let (mut one, mut two) = (shipped(&gateway, &token), guide(&gateway, &token));
        drive(&mut [&mut one], SOON, |all| all[0].has_stopped());
        drive(&mut [&mut two], SOON, |all| all[0].has_stopped());
        // Who shows it before is refused there, and its five tries are over within 30 s of its own.
        let mut page = Reconnecting::connect(gateway.address, &format!("/api/v1/ws/ada?token={token}"), Pace(100));
        drive(&mut [&mut page], SOON, |all| all[0].has_stopped());
        drop(ending);
        assert_eq!(((one.sockets, two.sockets), &one.closes[..], &two.closes[..]), ((1, 1), &[1000][..], &[1000][..]));
        assert_eq!((page.sockets, &page.refusals[..]), (6, &[429; 6][..]));
    });
}

#[test]
fn pages_of_flat_frames_never_take_each_others_place() {
    let gateway = Gateway::with(&["--shards", "2"]);
    // They come back after every close and forget how often: two that made room for each other would never end.
    let path = format!("/api/v1/ws/ann?token={}", gateway.token("ann"));
    let mut pages: Vec<Reconnecting> =
        (0..10).map(|_| Reconnecting::connect(gateway.address, &path, Pace(PACE))).collect();
    for page in &mut pages {
        drive(&mut [page], SOON, |all| all[0].is_open());
    }
    // Places for ten; one more is refused without having been open, so it counts its tries. It waits for each answer,
    // so the others have a thread of their own.
    let done = AtomicBool::new(false);
    let refused = thread::scope(|scope| {
        scope.spawn(|| drive(&mut pages.iter_mut().collect::<Vec<_>>(), 2 * SOON, |_| done.load(Relaxed)));
        let mut late = Reconnecting::connect(gateway.address, &path, Pace(PACE));
        drive(&mut [&mut late], SOON, |all| all[0].refusals.len() == 2);
        done.store(true, Relaxed);
        late.refusals
    });
    assert_eq!(refused, [503, 503]);
    assert!(pages.iter().all(|page| page.sockets == 1 && page.is_open()));
}

#[test]
fn who_is_disconnected_by_an_administrator_comes_back_once() {
    let gateway = Gateway::start();
    let (ada, bob) = (gateway.token("ada"), gateway.token("bob"));
    let (mut one, mut two) = (shipped(&gateway, &ada), guide(&gateway, &bob));
    drive(&mut [&mut one], SOON, |all| all[0].is_connected());
    drive(&mut [&mut two], SOON, |all| all[0].is_connected());
    let mut page = flat(&gateway, "/api/v1/ws/cat?", "cat");
    for user in ["ada", "bob", "cat"] {
        let body = json!({ "user_id": user });
        let answer = raw::post(&gateway, "/api/disconnect", &gateway.master_token("root"), body);
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"disconnected":1}"#));
    }
    drive(&mut [&mut one], SOON, |all| !all[0].closes.is_empty());
    drive(&mut [&mut two], SOON, |all| !all[0].closes.is_empty());
    drive(&mut [&mut one], SOON, |all| all[0].is_connected());
    drive(&mut [&mut two], SOON, |all| all[0].is_connected());
    drive(&mut [&mut page], SOON, |all| all[0].sockets > 1 && all[0].is_open());
    half_a_minute(std::slice::from_mut(&mut one));
    half_a_minute(std::slice::from_mut(&mut two));
    half_a_minute(std::slice::from_mut(&mut page));
    assert_eq!((one.sockets, two.sockets, page.sockets), (2, 2, 2));
    assert!(page.is_open());
    assert_eq!((&one.closes[..], &two.closes[..]), (&[1012][..], &[1012][..]));
    assert!(one.is_connected() && two.is_connected());
}

#[test]
fn who_does_not_read_is_cut_and_comes_back_once() {
    let gateway = Gateway::unlimited();
    let (mut one, mut two) = (shipped(&gateway, &gateway.token("ada")), guide(&gateway, &gateway.token("bob")));
    drive(&mut [&mut one], SOON, |all| all[0].is_connected());
    drive(&mut [&mut two], SOON, |all| all[0].is_connected());
    let mut page = flat(&gateway, "/api/v1/ws/trip/t?user_id=cat", "cat");
    let mut eve = Client::join(&gateway, "/ws/chat/s", &gateway.token("eve"));
    eve.subscribe(&["trip:t"]);
    let words = "x".repeat(60_000);
    let chat = json!({ "type": "chat_message", "payload": { "content": words } });
    let update = json!({ "type": "trip_update", "channel": "trip:t", "payload": { "field": "title", "value": words } });
    for message in [&chat, &update].into_iter().cycle().take(600) {
        eve.send(message);
        eve.event();
    }
    // 30 s after the sockets took nothing any more. Eve reads on, and answers pings.
    let start = Instant::now();
    while gateway.metric("waystation_closed_total", "reason=\"slow\"") < 3 {
        assert!(start.elapsed() < Duration::from_secs(60), "they are not cut");
        eve.pending();
        thread::park_timeout(Duration::from_millis(200));
    }
    drive(&mut [&mut one], 2 * SOON, |all| all[0].sockets == 2 && all[0].is_connected());
    drive(&mut [&mut two], 2 * SOON, |all| all[0].sockets == 2 && all[0].is_connected());
    drive(&mut [&mut page], 2 * SOON, |all| all[0].sockets == 2 && all[0].is_open());
    half_a_minute(std::slice::from_mut(&mut one));
    half_a_minute(std::slice::from_mut(&mut two));
    half_a_minute(std::slice::from_mut(&mut page));
    assert_eq!((one.sockets, two.sockets, page.sockets), (2, 2, 2));
}
