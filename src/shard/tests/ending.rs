//! How connections end, and what still goes out before they do.

use super::keeping::{at_home_in, join, start};
use super::*;
use crate::limits::{
    CLOSE_DEADLINE_MS, DRAIN_SILENT_MS, DRAIN_WAVES, IDLE_MS, LAST_ANSWERS_MS, OUTBOX_BYTES_MAX, PING_AFTER_MS,
    STUCK_MS,
};
use crate::outbox::FRAME_OVERHEAD_BYTES;

#[test]
fn a_silent_client_is_pinged_and_then_given_up() {
    for known in [false, true] {
        let mut world = World::new();
        let who = world.client(known, "/ws", "ann");
        world.wait(PING_AFTER_MS - 1);
        assert!(world.heard(who).is_empty());
        world.wait(1);
        assert_eq!(world.heard_words(who), ["connection_heartbeat", "ping frame"]);
        world.wait(IDLE_MS - PING_AFTER_MS - 1);
        assert!(world.is_open(who));
        world.heard(who);
        world.wait(1);
        assert_eq!(world.heard_words(who), ["connection_close 4010", "close 4010"]);
    }
}

#[test]
fn any_frame_is_life() {
    let frames =
        [masked(10, b""), masked(9, b""), text(r#"{"type":"pong"}"#), text("{"), masked(1, b"x")[..3].to_vec()];
    for life in frames {
        let mut world = World::new();
        let who = world.legacy("/ws", "ann");
        world.wait(IDLE_MS - 1);
        world.send(who, &life);
        world.wait(IDLE_MS - 1);
        assert!(world.is_open(who), "{life:?}");
        world.wait(WHEEL_SLOT_MS);
        assert!(!world.is_open(who));
    }
}

#[test]
fn a_close_is_answered_in_kind_and_the_socket_ends_once_it_is_written() {
    for (payload, expected) in [(&b"\x03\xe8bye"[..], "close 1000"), (b"\x0f\xa5", "close 4005")] {
        let mut world = World::new();
        let who = world.legacy("/ws/chat/s", "ann");
        world.send(who, &masked(8, payload));
        assert_eq!(world.heard_words(who), [expected]);
        assert_eq!(world.sockets[who].end, Some(Closing::Linger));
        assert_eq!((world.read(Metric::Memberships), world.read(Metric::Connections)), (0, 0));
    }
}

#[test]
fn an_answer_that_a_close_drops_does_not_keep_the_socket_open() {
    let ping = text(r#"{"type":"ping"}"#);
    let mut world = World::new();
    let who = world.legacy("/ws/chat/s", "ann");
    world.send(who, &[ping, masked(8, b"\x03\xe8")].concat());
    assert_eq!(world.heard_words(who), ["close 1000"]);
    assert_eq!(world.sockets[who].end, Some(Closing::Linger));
}

#[test]
fn a_last_frame_has_its_time() {
    let mut world = World::new();
    let who = world.legacy("/ws/chat/s", "ann");
    world.sockets[who].room = 0;
    world.send(who, &masked(8, b"\x03\xe8"));
    world.wait(CLOSE_DEADLINE_MS - 1);
    assert_eq!(world.sockets[who].end, None);
    world.wait(1);
    assert_eq!(world.sockets[who].end, Some(Closing::Abort));
    assert_eq!(world.read(Metric::Sockets), 0);
}

#[test]
fn a_socket_that_takes_nothing_for_too_long_is_cut() {
    let mut world = World::new();
    let (who, author) = (world.legacy("/ws/chat/s", "ann"), world.legacy("/ws", "bob"));
    world.sockets[who].room = 0;
    world.say(author, &publish("chat:s", "1", &json!({})));
    world.wait(STUCK_MS - 1);
    assert!(world.is_open(who));
    world.wait(1);
    assert!(!world.is_open(who));
    assert_eq!((world.read(Metric::ClosedSlow), world.sockets[who].end), (1, None));
    world.wait(1000);
    world.open(who, usize::MAX);
    assert_eq!(world.heard_words(who), ["note", "close 4013"], "what was begun is ended, then it is told");
}

#[test]
fn a_socket_that_takes_a_byte_has_its_time_anew() {
    let mut world = World::new();
    let (who, author) = (world.legacy("/ws/chat/s", "ann"), world.legacy("/ws", "bob"));
    world.sockets[who].room = 0;
    world.say(author, &publish("chat:s", "1", &json!({})));
    world.wait(STUCK_MS - 1000);
    world.open(who, 1);
    world.wait(STUCK_MS - 1);
    assert!(world.is_open(who));
    world.wait(WHEEL_SLOT_MS);
    assert!(!world.is_open(who));
}

#[test]
fn what_waits_for_a_client_that_does_not_read_is_bounded() {
    // A pong to a ping of 125 bytes has 127.
    let pong = 127 + FRAME_OVERHEAD_BYTES;
    let full = OUTBOX_BYTES_MAX / pong;
    let rest = OUTBOX_BYTES_MAX - full * pong - FRAME_OVERHEAD_BYTES;
    for (last, cut) in [(rest - 1, false), (rest, false), (rest + 1, true)] {
        for known in [false, true] {
            let mut world = World::new();
            let who = world.client(known, "/ws", "ann");
            world.sockets[who].room = 0;
            // The first is taken up by a write; those after it are queued.
            world.send(who, &masked(9, b""));
            world.send(who, &masked(9, &[7; 125]).repeat(full));
            assert!(world.is_open(who));
            world.send(who, &masked(9, &vec![7; last - 2]));
            assert_eq!(world.is_open(who), !cut, "{last} bytes more");
            world.open(who, usize::MAX);
            let heard = world.heard(who);
            assert_eq!(heard.len(), if cut { 2 } else { full + 2 });
            assert_eq!(heard.last().map(word).unwrap(), if cut { "close 4013" } else { "pong frame" });
            assert_eq!(world.read(Metric::OutboxBytes), 0);
        }
    }
}

#[test]
fn small_frames_that_wait_are_counted_with_what_they_cost() {
    let held = OUTBOX_BYTES_MAX / (2 + FRAME_OVERHEAD_BYTES);
    for (count, cut) in [(held, false), (held + 1, true)] {
        let mut world = World::new();
        // Nobody needs a token to send pings.
        let who = world.upgrade("/ws");
        world.sockets[who].room = 0;
        world.send(who, &masked(9, b""));
        world.send(who, &masked(9, b"").repeat(count));
        assert_eq!(world.is_open(who), !cut, "{count} pongs");
    }
}

#[test]
fn a_drain_tells_everybody_and_closes_them_in_waves() {
    let mut world = World::new();
    let clients: Vec<Who> =
        (0..20).map(|index| world.client(index % 2 == 0, &format!("/ws/chat/{index}"), "ann")).collect();
    let head = world.try_accept(0).unwrap();
    world.handle(0, Input::Drain(10_000));
    world.run();
    assert!(clients.iter().all(|who| world.heard_words(*who) == ["draining"]));
    let late = world.upgrade_on(0, "/ws");
    assert_eq!(world.status(late), 503);
    world.wait(WHEEL_SLOT_MS);
    for wave in 1..=DRAIN_WAVES {
        let open = clients.iter().filter(|who| world.is_open(**who)).count();
        assert_eq!(open as u64, 20 - 20 * wave / DRAIN_WAVES, "after wave {wave}");
        assert_eq!(world.hosts[0].0.drained(), wave == DRAIN_WAVES);
        world.wait(10_000 / DRAIN_WAVES);
    }
    assert_eq!(world.sockets[head].end, Some(Closing::Abort));
    for who in clients {
        let mut heard = world.heard_words(who);
        heard.retain(|word| word != "presence");
        assert_eq!(heard, ["connection_close 1012", "close 1012"]);
    }
}

#[test]
fn a_second_drain_neither_says_it_again_nor_moves_the_waves() {
    let mut world = World::new();
    let who = world.legacy("/ws/chat/s", "ann");
    world.handle(0, Input::Drain(10_000));
    world.wait(5000);
    world.handle(0, Input::Drain(100_000));
    world.run();
    world.wait(5000 + WHEEL_SLOT_MS);
    assert_eq!(world.heard_words(who), ["draining", "connection_close 1012", "close 1012"]);
    assert!(world.hosts[0].0.drained());
}

#[test]
fn a_drain_does_not_wait_for_sockets_that_have_said_nothing_for_a_while() {
    for (age, waits) in [(DRAIN_SILENT_MS - 1, true), (DRAIN_SILENT_MS, false), (DRAIN_SILENT_MS + 1, false)] {
        let mut world = World::new();
        let silent = world.try_accept(0).unwrap();
        let begun = world.try_accept(0).unwrap();
        world.send(begun, b"GET /readyz HTTP/1.1\r\n");
        let in_line = world.try_accept(0).unwrap();
        let id = world.sockets[in_line].id;
        world.hosts[0].0.enter_line(id);
        world.jump(age);
        world.handle(0, Input::Drain(10_000));
        world.run();
        assert_eq!(world.sockets[silent].end.is_none(), waits, "{age} ms old");
        assert!(world.sockets[begun].end.is_none(), "a request that has begun is still answered");
        assert!(world.sockets[in_line].end.is_none(), "and so is one that waits for its turn");
    }
}

#[test]
fn what_has_happened_is_acknowledged_before_a_drain_closes() {
    let mut world = World::new();
    let who = world.legacy("/ws/chat/s", "ann");
    world.put(who, &text(&publish("chat:s", "1", &json!({}))));
    world.handle(0, Input::Drain(0));
    world.now.micros += WHEEL_SLOT_MS * 1000;
    let (shard, effects) = &mut world.hosts[0];
    shard.on_time(world.now, effects);
    world.run();
    assert_eq!(world.heard_words(who), ["draining", "connection_close 1012", "ack", "close 1012"]);
}

/// A client on the first of two shards that has sent two operations to a channel at home on one of them, of which none is
/// on the disk yet. What it heard until then is dropped.
fn waiting_for_the_disk(home: u16, ttl_s: u64) -> (World, Who, String) {
    let mut world = start(Memory::default(), None, |options| options.shards = 2);
    let channel = at_home_in(&world, home);
    let who = world.upgrade_on(0, "/ws");
    world.say(who, &json!({ "type": "auth", "token": token_with("ann", ttl_s, json!({})) }).to_string());
    join(&mut world, who, &channel, None);
    world.commits = false;
    for id in ["1", "2"] {
        world.say(who, &publish(&channel, id, &json!({})));
    }
    assert_eq!(world.heard_words(who), ["note", "note"]);
    (world, who, channel)
}

pub(super) fn drain_now(world: &mut World) {
    for host in 0..world.hosts.len() {
        world.handle(host, Input::Drain(0));
    }
    world.wait(WHEEL_SLOT_MS);
}

#[test]
fn a_drain_reads_no_further_and_waits_for_the_disk_before_it_closes() {
    for home in [0, 1] {
        let (mut world, who, channel) = waiting_for_the_disk(home, LATER_S);
        drain_now(&mut world);
        assert_eq!(world.heard_words(who), ["draining", "connection_close 1012"], "{home}");
        world.say(who, &publish(&channel, "3", &json!({})));
        assert!(world.read(Metric::Published) == 2 && !world.is_open(who), "{home}: it is not read any more");
        assert_eq!((world.read(Metric::Memberships), world.sockets[who].end), (0, None));
        world.commits = true;
        world.run();
        assert_eq!(world.heard_words(who), ["ack", "ack", "close 1012"], "{home}");
        assert_eq!(world.sockets[who].end, Some(Closing::Linger));
        assert!(world.hosts.iter().all(|(shard, _)| shard.drained() && shard.lasts.is_empty()));
    }
}

#[test]
fn a_disk_that_stalls_holds_up_a_close_for_so_long_and_no_longer() {
    for (ms, closed) in [(LAST_ANSWERS_MS - 1, false), (LAST_ANSWERS_MS, true), (LAST_ANSWERS_MS + 1, true)] {
        let (mut world, who, _) = waiting_for_the_disk(0, LATER_S);
        drain_now(&mut world);
        world.heard(who);
        world.wait(ms);
        assert_eq!(world.heard_words(who), if closed { vec!["close 1012"] } else { vec![] }, "{ms}");
        assert_eq!(world.hosts[0].0.drained(), closed, "{ms}");
        world.commits = true;
        world.run();
        assert_eq!(world.heard_words(who), if closed { vec![] } else { vec!["ack", "ack", "close 1012"] }, "{ms}");
    }
}

#[test]
fn whoever_is_closed_is_answered_first_and_who_closes_by_itself_is_not_kept() {
    type Deed = fn(&mut World, Who);
    let cases: [(Deed, &[&str], &[&str]); 4] = [
        (|world, _| world.wait(60_000), &["token_expiring", "connection_close 4001"], &["ack", "ack", "close 4001"]),
        (|world, who| world.send(who, &[0x81, 1, b'x']), &[], &["ack", "ack", "close 1002"]),
        (|world, who| world.send(who, &masked(8, b"\x03\xe8")), &["close 1000"], &[]),
        (
            |world, who| {
                let id = world.sockets[who].id;
                world.handle(0, Input::Gone(id));
                world.run();
            },
            &[],
            &[],
        ),
    ];
    for home in [0, 1] {
        for (index, (deed, at_once, later)) in cases.iter().enumerate() {
            let (mut world, who, _) = waiting_for_the_disk(home, 60);
            deed(&mut world, who);
            let mut heard = world.heard_words(who);
            heard.retain(|word| word != "ping frame" && word != "connection_heartbeat");
            assert_eq!(heard, *at_once, "{home} {index}");
            world.commits = true;
            world.run();
            assert_eq!(world.heard_words(who), *later, "{home} {index}");
            assert!(world.hosts[0].0.lasts.is_empty() && world.sockets[who].end.is_some(), "{home} {index}");
        }
    }
}

#[test]
fn what_another_shard_answers_is_waited_for_too() {
    for direct in [false, true] {
        let mut world = service::shards(2);
        let (who, there) = (service::service(&mut world, 0, "svc"), service::user_on(&mut world, 1, "ann"));
        let message = if direct {
            service::send_to(&format!("connection:{}", service::name_of(&world, there)), "1", 1)
        } else {
            publish(&at_home("chat:", 1, 2), "1", &json!({}))
        };
        world.put(who, &text(&message));
        world.handle(0, Input::Drain(0));
        world.now.micros += WHEEL_SLOT_MS * 1000;
        let (shard, effects) = &mut world.hosts[0];
        shard.on_time(world.now, effects);
        world.run();
        assert_eq!(world.heard_words(who), ["draining", "connection_close 1012", "ack", "close 1012"], "{direct}");
    }
}

#[test]
fn a_request_that_is_no_upgrade_is_answered_and_ends() {
    for (head, status) in [
        ("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("POST /health HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", 426),
    ] {
        let mut world = World::new();
        let who = world.try_accept(0).unwrap();
        world.send(who, head.as_bytes());
        assert_eq!((world.status(who), world.sockets[who].end), (status, Some(Closing::Linger)), "{head}");
    }
}

#[test]
fn a_drain_tells_and_closes_so_many_connections_a_turn_and_no_more() {
    let max = crate::limits::WALK_SLOTS_PER_TURN_MAX as usize;
    for count in [max - 1, max, max + 1] {
        let mut world = World::new();
        let all: Vec<Who> = (0..count).map(|_| world.legacy("/ws", "ann")).collect();
        world.handle(0, Input::Drain(5000));
        world.run();
        let told = all.iter().filter(|who| world.heard_words(**who).contains(&"draining".to_owned())).count();
        assert_eq!(told, count.min(max), "{count}");
        world.wait(6000);
        assert_eq!(world.read(Metric::ClosedDrain), count as u64);
    }
}

#[test]
fn a_sweep_looks_at_so_many_channels_a_turn_and_no_more() {
    let max = crate::limits::SWEEPS_PER_TURN_MAX;
    for count in [max - 1, max, max + 1] {
        let mut world = World::new();
        let who = world.legacy("/ws", "ann");
        for index in 0..count {
            let channel = format!("chat:{index}");
            world.say(who, &subscribe(std::slice::from_ref(&channel)));
            world.say(who, &json!({ "type": "unsubscribe", "channels": [channel] }).to_string());
        }
        assert_eq!(world.read(Metric::Channels), count as u64);
        world.now.micros += (crate::limits::CHANNEL_IDLE_MS + 1000) * 1000;
        let (shard, effects) = &mut world.hosts[0];
        shard.on_time(world.now, effects);
        assert_eq!(world.read(Metric::Channels), count.saturating_sub(max) as u64, "{count}");
        world.jump(0);
        assert_eq!(world.read(Metric::Channels), 0);
    }
}
