//! Places and rates that connections share: each at its bound, for both kinds of clients, on one shard and on
//! several.

use super::*;
use crate::limits::{
    CONNECTIONS_ON_NAMED_DEFAULT, CONNECTIONS_ON_OPEN_DEFAULT, HEAD_BYTES_MAX, HELD_COUNT_MAX, HOLD_MS, HOLD_RETRY_MS,
    LEASE_MESSAGES_LOW, LEASE_MESSAGES_MAX,
};
use crate::rate::Rate;

/// A world with limits, which `change` changes; those of single connections' rates are lifted.
fn limited(shards: u16, change: impl FnOnce(&mut Options)) -> World {
    World::with(|options| {
        (options.shards, options.unlimited) = (shards, false);
        for door in [&mut options.limits.chat, &mut options.limits.collab, &mut options.limits.open] {
            door.messages = Rate::UNLIMITED;
        }
        options.limits.upgrades = Rate::UNLIMITED;
        change(options);
    })
}

impl World {
    /// What a client hears until its socket ends.
    fn end_of(&mut self, who: Who) -> String {
        let heard = self.heard_words(who).join(" ");
        assert!(!self.is_open(who), "{heard}");
        heard
    }

    fn open_count(&self) -> usize {
        (0..self.sockets.len()).filter(|who| self.is_open(*who)).count()
    }

    fn count(&self, metric: Metric) -> usize {
        usize::try_from(self.read(metric)).unwrap()
    }

    /// Everybody leaves, and nobody is counted any more.
    fn empty(&mut self) {
        for who in 0..self.sockets.len() {
            if self.sockets[who].end.is_some() {
                continue;
            }
            let id = self.sockets[who].id;
            self.handle(id.shard.index(), Input::Gone(id));
            self.run();
        }
        let population = &self.hosts[0].0.options.population;
        assert_eq!((population.connections.count(), population.sockets.count()), (0, 0));
        assert_eq!(self.read(Metric::Held), 0);
    }
}

#[test]
fn one_connection_too_many_of_a_user_on_a_resource_takes_the_place_of_the_oldest() {
    let named = CONNECTIONS_ON_NAMED_DEFAULT as usize;
    let open = CONNECTIONS_ON_OPEN_DEFAULT as usize;
    for (path, max) in
        [("/ws/chat/s", named), ("/ws/trips/s/collab", named), ("/ws/notifications/ann", named), ("/ws", open)]
    {
        for known in [false, true] {
            for shards in [1, 4] {
                for count in [max - 1, max, max + 1, max + 2] {
                    let mut world = limited(shards, |_| {});
                    world.client(known, path, if path.ends_with("ann") { "ann" } else { "bob" });
                    let own: Vec<Who> = (0..count).map(|_| world.client(known, path, "ann")).collect();
                    let bobs = usize::from(!path.ends_with("ann"));
                    let open = max.min(count + 1 - bobs) + bobs;
                    assert_eq!(world.open_count(), open, "{path} {known} {shards} {count}");
                    assert_eq!(world.count(Metric::ClosedReplaced), count + 1 - open);
                    if let (true, Some(oldest)) = (count > max && bobs == 1, own.first()) {
                        let expected =
                            if known { "connection_close 4009 close 4009" } else { "connection_close 1000 close 1000" };
                        assert_eq!(world.end_of(*oldest), expected, "{path}");
                    }
                    world.empty();
                }
            }
        }
    }
}

#[test]
fn over_the_count_of_a_user_the_new_one_is_closed() {
    for (known, expected) in [(false, "connection_close 1000 close 1000"), (true, "connection_close 4008 close 4008")] {
        for count in [4, 5, 6] {
            let mut world = limited(3, |options| options.limits.connections_per_user = 5);
            for index in 0..count {
                let who = world.upgrade(&format!("/ws/chat/{index}"));
                let client = if known { json!({ "name": "test", "version": "1" }) } else { Value::Null };
                world.say(
                    who,
                    &json!({ "token": token("ann"), "client": client }).to_string().replace(r#""client":null,"#, ""),
                );
            }
            assert_eq!(world.open_count(), count.min(5), "{count}");
            if count > 5 {
                let heard = world.end_of(count - 1);
                assert!(heard.starts_with("welcome connection_established") && heard.ends_with(expected), "{heard}");
            }
            assert_eq!(world.count(Metric::ClosedLimit), count.saturating_sub(5));
            world.empty();
        }
    }
}

#[test]
fn over_the_count_of_a_resource_the_new_one_is_closed_whoever_it_is() {
    for known in [false, true] {
        for (shards, count) in [(1, 2), (1, 3), (1, 4), (4, 4)] {
            let mut world = limited(shards, |options| options.limits.connections_per_resource = 3);
            for index in 0..count {
                world.client(known, "/ws/chat/s", &format!("u{index}"));
            }
            world.client(known, "/ws/chat/other", "ann");
            assert_eq!(world.open_count(), count.min(3) + 1, "{count}");
            assert_eq!(world.count(Metric::ClosedLimit), count.saturating_sub(3));
            let id = world.sockets[0].id;
            world.handle(id.shard.index(), Input::Gone(id));
            world.run();
            world.client(known, "/ws/chat/s", "late");
            assert_eq!(world.open_count(), count.min(3) + 1, "a place is given out again");
            world.empty();
        }
    }
}

#[test]
fn upgrades_of_one_user_from_one_address_have_their_rate() {
    for (shards, count) in [(1, 59_usize), (1, 60), (1, 61), (3, 61)] {
        let mut world = limited(shards, |options| options.limits.upgrades = Rate::a_minute(60));
        let ask = |world: &mut World, user: &str| {
            let who = world.upgrade_on(0, &format!("/ws?token={}", token(user)));
            world.status(who)
        };
        let refused = (0..count).filter(|_| ask(&mut world, "ann") == 429).count();
        assert_eq!(refused, count.saturating_sub(60));
        assert_eq!(world.count(Metric::RefusedUpgradeRate), refused);
        assert_eq!(ask(&mut world, "bob"), 101, "another user");
        if refused > 0 {
            let head = String::from_utf8_lossy(&world.sockets[60].taken).into_owned();
            assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
            world.peer = SocketAddr::from(([192, 0, 2, 1], 1));
            assert_eq!(ask(&mut world, "ann"), 101, "another address");
            world.peer = SocketAddr::from(([127, 0, 0, 1], 1));
            world.wait(1000);
            assert_eq!((ask(&mut world, "ann"), ask(&mut world, "ann")), (101, 429), "a second earns one");
        }
        world.empty();
    }
}

#[test]
fn upgrades_without_a_token_from_one_address_have_their_rate() {
    for (shards, count) in [(1, 59_usize), (1, 60), (1, 61), (3, 61)] {
        // Whoever names a user without proof is nobody's user.
        for open in [false, true] {
            let mut world = limited(shards, |options| {
                (options.limits.anonymous_upgrades, options.globetrotter_open) = (Rate::a_minute(60), open);
            });
            let ask = |world: &mut World, path: &str| {
                let who = world.upgrade_on(0, path);
                world.status(who)
            };
            let path = |index: usize| if open { format!("/api/v1/ws/u{index}") } else { "/ws/chat/s".to_owned() };
            let refused = (0..count).filter(|index| ask(&mut world, &path(*index)) == 429).count();
            assert_eq!(refused, count.saturating_sub(60), "{open}");
            assert_eq!(world.count(Metric::RefusedUpgradeRate), refused);
            assert_eq!(ask(&mut world, &format!("/ws?token={}", token("ann"))), 101, "with a token");
            if refused > 0 {
                let head = String::from_utf8_lossy(&world.sockets[60].taken).into_owned();
                assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
                world.peer = SocketAddr::from(([192, 0, 2, 1], 1));
                assert_eq!(ask(&mut world, &path(99)), 101, "another address");
                world.peer = SocketAddr::from(([127, 0, 0, 1], 1));
                world.wait(1000);
                let after = [98, 97].map(|index| ask(&mut world, &path(index)));
                assert_eq!(after, [101, 429], "a second earns one");
            }
            world.empty();
        }
    }
}

#[test]
fn an_upgrade_whose_token_comes_later_counts_then() {
    for (known, expected) in [(false, "connection_close 1000 close 1000"), (true, "connection_close 4008 close 4008")] {
        for shards in [1, 3] {
            let mut world = limited(shards, |options| options.limits.upgrades = Rate::a_minute(2));
            let all: Vec<Who> = (0..3)
                .map(|_| {
                    let who = world.upgrade("/ws/chat/s");
                    let client = if known { r#","client":{"name":"t","version":"1"}"# } else { "" };
                    world.say(who, &format!(r#"{{"token":"{}"{client}}}"#, token("ann")));
                    who
                })
                .collect();
            assert!(world.is_open(all[0]) && world.is_open(all[1]));
            let heard = world.end_of(all[2]);
            assert!(heard.ends_with(expected), "{heard}");
            world.empty();
        }
    }
}

#[test]
fn after_too_many_bad_tokens_bad_ones_come_too_early_and_nobody_else_does() {
    for shards in [1, 3] {
        for early in [false, true] {
            let mut world = limited(shards, |_| {});
            for guess in 0..60 {
                if early {
                    let who = world.upgrade_on(0, "/ws?token=a.b.c");
                    assert_eq!(world.status(who), 401);
                } else {
                    let who = world.upgrade("/ws");
                    world.say(who, &json!({ "token": format!("a.b.{guess}") }).to_string());
                    assert_eq!(world.end_of(who), "unwelcome AUTH_FAILED close 4001");
                }
            }
            // An expired token was good once, and is no guess.
            let expired = token_with("ann", 0, json!({}));
            for (query, expected) in [
                (String::from("?token=a.b.c"), 429),
                (String::new(), 101),
                (format!("?token={expired}"), 401),
                (format!("?token={}", token("ann")), 101),
            ] {
                let who = world.upgrade_on(0, &format!("/ws{query}"));
                assert_eq!(world.status(who), expected, "{query}");
            }
            assert_eq!((world.read(Metric::RefusedTokenRate), world.read(Metric::RefusedUpgradeRate)), (1, 0));
            world.peer = "[2001:db8::1]:1".parse().unwrap();
            let who = world.upgrade_on(0, "/ws");
            assert_eq!(world.status(who), 101, "another address");
            world.empty();
        }
    }
}

#[test]
fn who_finds_all_places_taken_is_held_until_one_is_free_or_the_time_is_over() {
    for of_address in [false, true] {
        for shards in [1, 3] {
            let mut world = limited(shards, |options| {
                options.limits.connections_per_address = if of_address { 3 } else { 0 };
                options.connections_max = if of_address { 100 } else { 3 };
            });
            let first: Vec<Who> = (0..3).map(|user| world.legacy("/ws/chat/s", &format!("u{user}"))).collect();
            let held = world.upgrade_on(0, &format!("/ws/chat/s?token={}", token("ann")));
            let late = world.upgrade_on(shards as usize - 1, "/ws/chat/t");
            assert!(world.sockets[held].taken.is_empty() && !world.sockets[held].reads);
            assert_eq!(world.read(Metric::Held), 2);
            let healthy = world.try_accept(0).unwrap();
            world.send(healthy, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(world.status(healthy), 200, "what is no upgrade is answered");
            world.wait(HOLD_MS - HOLD_RETRY_MS - 500);
            let id = world.sockets[first[0]].id;
            world.handle(id.shard.index(), Input::Gone(id));
            world.wait(HOLD_RETRY_MS + 250);
            assert_eq!(world.status(held), 101);
            assert!(world.sockets[late].taken.is_empty());
            world.wait(500);
            assert_eq!(world.status(late), 503);
            let head = String::from_utf8_lossy(&world.sockets[late].taken).into_owned();
            assert!(head.contains("\r\nRetry-After: "), "{head}");
            assert_eq!((world.read(Metric::RefusedFull), world.open_count()), (1, 3));
            if of_address {
                world.peer = "[2001:db8:1::1]:1".parse().unwrap();
                world.upgrade("/ws/chat/s");
                world.peer = "[2001:db8:1::2]:1".parse().unwrap();
                world.upgrade("/ws/chat/s");
                world.upgrade("/ws/chat/s");
                let other = world.upgrade_on(0, "/ws/chat/s");
                assert!(world.sockets[other].taken.is_empty(), "a household is one address");
            }
            world.empty();
        }
    }
}

#[test]
fn a_drain_does_not_hold_anybody() {
    let mut world = limited(2, |options| options.connections_max = 1);
    world.legacy("/ws/chat/s", "ann");
    let held = world.upgrade_on(0, "/ws/chat/t");
    for host in 0..2 {
        world.handle(host, Input::Drain(1000));
    }
    world.wait(1000);
    assert_eq!(world.status(held), 503);
    world.empty();
}

#[test]
fn what_a_held_client_sends_early_is_kept_up_to_a_bound() {
    for (more, expected) in [(0, 101), (HEAD_BYTES_MAX, 101), (HEAD_BYTES_MAX + 1, 431)] {
        let mut world = limited(1, |options| options.connections_max = 1);
        let first = world.legacy("/ws/chat/s", "ann");
        let held = world.upgrade_on(0, &format!("/ws/chat/s?token={}", token("bob")));
        const HEADER_BYTES: usize = 8;
        if more > 0 {
            let early = text(&format!("{:<1$}", r#"{"type":"ping"}"#, more - HEADER_BYTES));
            assert_eq!(early.len(), more);
            world.send(held, &early);
        }
        let id = world.sockets[first].id;
        world.handle(0, Input::Gone(id));
        world.wait(HOLD_RETRY_MS + 250);
        assert_eq!(world.status(held), expected, "{more}");
        if more > 0 && expected == 101 {
            assert!(world.heard_words(held).contains(&"pong".to_owned()));
        }
    }
}

#[test]
fn so_many_upgrades_are_held_and_no_more() {
    let max = usize::try_from(HELD_COUNT_MAX).unwrap();
    let mut world = limited(1, |options| options.connections_max = 0);
    for index in 0..=max {
        let who = world.upgrade_on(0, "/ws");
        assert_eq!(world.sockets[who].taken.is_empty(), index < max, "{index}");
    }
    assert_eq!(world.status(max), 503);
    assert_eq!(world.read(Metric::Held), HELD_COUNT_MAX);
    world.empty();
}

const NOTE: &str = r#"{"type":"publish","channel":"chat:s","payload":{"channel":"chat:s","type":"note","payload":{}}}"#;

#[test]
fn a_users_messages_are_counted_over_all_connections() {
    for shards in [1, 4] {
        for (count, over) in [(599, 0), (600, 0), (601, 1)] {
            let mut world = limited(shards, |_| {});
            let all: Vec<Who> = (0..7)
                .map(|index| world.known(["/ws/chat/s", "/ws", "/ws/trips/t/collab"][index % 3], "ann"))
                .collect();
            // First on one after another, so that each keeps some of what it was lent, then on all in turn.
            for index in 0..count {
                world.say(all[if index < 560 { index / 80 } else { index % 7 }], NOTE);
            }
            let refused: usize = all
                .iter()
                .map(|who| {
                    let heard = world.heard(*who);
                    of_type(&heard, "connection_error").len()
                })
                .sum();
            assert_eq!(refused, over, "{count} on {shards}");
            assert_eq!(world.read(Metric::Published), count as u64 - over as u64);
            world.empty();
        }
    }
}

#[test]
fn a_known_client_is_told_the_users_rate_and_a_legacy_one_is_read_later() {
    for shards in [1, 4] {
        let mut world = limited(shards, |options| options.limits.user_messages = Rate { per_minute: 60, burst: 20 });
        let (known, legacy) = (world.known("/ws/chat/s", "ann"), world.legacy("/ws/trips/t/collab", "ann"));
        world.send(known, &text(NOTE).repeat(21));
        let heard = world.heard(known);
        assert_eq!(of_type(&heard, "note").len(), 20);
        let error = heard.iter().find(|frame| frame["type"] == "connection_error").unwrap();
        let expected = json!({ "limit": 60, "remaining": 0, "retry_after": 1, "window_seconds": 60 });
        assert_eq!(error["payload"]["details"], expected);
        world.send(legacy, &text(NOTE).repeat(3));
        assert!(!world.sockets[legacy].reads);
        assert_eq!(of_type(&world.heard(known), "note").len(), 0);
        world.wait(4000);
        assert_eq!(of_type(&world.heard(known), "note").len(), 3);
        assert!(world.sockets[legacy].reads && world.is_open(legacy));
        assert_eq!(world.heard_words(legacy), ["trip_collaborator_presence"], "it is told nothing of its rate");
        world.empty();
    }
}

#[test]
fn blocks_are_asked_for_ahead_of_need() {
    let mut world = limited(8, |_| {});
    let who = world.known("/ws/chat/s", "ann");
    let asked = |world: &World| {
        let id = world.sockets[who].id;
        world.hosts[id.shard.index()].0.slots.find(id).unwrap().lease
    };
    world.say(who, NOTE);
    let lease = asked(&world);
    assert_eq!((lease.left, lease.remote), (LEASE_MESSAGES_MAX - 1, true), "the key places them on two shards");
    for left in (LEASE_MESSAGES_LOW..LEASE_MESSAGES_MAX - 1).rev() {
        world.say(who, NOTE);
        assert_eq!(asked(&world).left, left);
    }
    world.say(who, NOTE);
    assert_eq!(asked(&world).left, LEASE_MESSAGES_LOW - 1 + LEASE_MESSAGES_MAX);
    // A silent connection keeps none.
    world.wait(25_000);
    assert_eq!(asked(&world).left, 0);
}

#[test]
fn without_limits_nobody_is_asked_about_anything() {
    let mut world = World::with(|options| options.shards = 4);
    for index in 0..12 {
        world.known("/ws", "ann");
        world.legacy("/ws/chat/s", "ann");
        let who = world.upgrade_on(index % 4, "/ws/chat/s?token=a.b.c");
        assert_eq!(world.status(who), 401);
    }
    for _ in 0..700 {
        world.say(0, NOTE);
    }
    assert_eq!((world.open_count(), world.read(Metric::Published)), (24, 700));
    world.empty();
}

fn behind_proxies(header: bool) -> World {
    limited(2, |options| {
        let trusted = ["10.0.0.0/8".to_owned()];
        options.proxies = Arc::new(crate::wire::proxy::Proxies::new(&trusted, header).unwrap());
        options.limits.connections_per_address = 1;
    })
}

impl World {
    /// Asks for an upgrade with a header line more, or after bytes of a proxy.
    fn upgrade_through(&mut self, peer: &str, before: &str, line: &str) -> Who {
        self.peer = peer.parse().unwrap();
        let who = self.try_accept(0).unwrap();
        let head = format!(
            "{before}GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{line}\r\n"
        );
        // A byte at a time: what belongs to the proxy and what to the request is told by what they say.
        for byte in head.as_bytes() {
            self.send(who, &[*byte]);
        }
        who
    }
}

#[test]
fn clients_behind_a_trusted_proxy_are_told_apart_by_what_it_forwards() {
    let mut world = behind_proxies(false);
    for (peer, forwarded, held) in [
        ("10.0.0.1:1", "203.0.113.1", false),
        ("10.0.0.2:1", "203.0.113.2", false),
        ("10.0.0.2:1", "1.1.1.1, 203.0.113.1", true),
        ("[::ffff:10.0.0.2]:1", "203.0.113.2, 10.9.9.9", true),
        // Anybody may say so, but is not believed.
        ("192.0.2.1:1", "203.0.113.3", false),
        ("192.0.2.1:2", "203.0.113.4", true),
    ] {
        let who = world.upgrade_through(peer, "", &format!("X-Forwarded-For: {forwarded}\r\n"));
        assert_eq!(world.sockets[who].taken.is_empty(), held, "{peer} {forwarded}");
    }
    world.empty();
}

#[test]
fn who_is_one_too_many_of_the_address_that_a_proxy_names_asks_for_nothing() {
    let mut world = limited(1, |options| {
        let trusted = ["10.0.0.0/8".to_owned()];
        options.proxies = Arc::new(crate::wire::proxy::Proxies::new(&trusted, false).unwrap());
        options.limits.strangers_per_address = 1;
    });
    let first = world.upgrade_through("10.0.0.1:1", "", "X-Forwarded-For: 203.0.113.1\r\n");
    let id = world.sockets[first].id;
    world.hosts[0].0.enter_line(id);
    world.wait(250);
    let second = world.try_accept(0).unwrap();
    let forwarded = format!("X-Forwarded-For: 203.0.113.1\r\nAuthorization: Bearer {}", token("ann"));
    // Of what the administration is asked it would hear even so.
    world.send(second, format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{forwarded}\r\n\r\n").as_bytes());
    assert_eq!((world.sockets[second].taken.len(), world.sockets[second].end), (0, Some(Closing::Abort)));
    assert!(world.is_open(first));
}

#[test]
fn clients_behind_a_proxy_of_the_protocol_are_told_apart_by_its_header() {
    let mut world = behind_proxies(true);
    for (peer, header, held) in [
        ("10.0.0.1:1", "PROXY TCP4 203.0.113.1 10.0.0.1 1 2\r\n", false),
        ("10.0.0.1:1", "PROXY TCP4 203.0.113.2 10.0.0.1 1 2\r\n", false),
        ("10.0.0.2:1", "PROXY TCP4 203.0.113.1 10.0.0.1 1 2\r\n", true),
        ("10.0.0.3:1", "PROXY UNKNOWN\r\n", false),
        ("192.0.2.1:1", "", false),
    ] {
        let who = world.upgrade_through(peer, header, "");
        assert_eq!(world.sockets[who].taken.is_empty(), held, "{peer} {header}");
        assert_eq!(world.sockets[who].end, None);
    }
    for (peer, header) in [("10.0.0.1:1", ""), ("10.0.0.1:1", "PROXY TCP4 x\r\n")] {
        world.peer = peer.parse().unwrap();
        let who = world.try_accept(0).unwrap();
        world.send(who, format!("{header}GET /health HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!((world.sockets[who].taken.len(), world.sockets[who].end), (0, Some(Closing::Abort)), "{header}");
    }
    // A stranger's header is no request.
    world.peer = "192.0.2.9:1".parse().unwrap();
    let who = world.try_accept(0).unwrap();
    world.send(who, b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(world.status(who), 400);
    // Half a header has the time of a head.
    world.peer = "10.0.0.9:1".parse().unwrap();
    let who = world.try_accept(0).unwrap();
    world.send(who, b"PROXY TCP4 203");
    world.wait(crate::limits::HEAD_DEADLINE_MS);
    assert_eq!(world.sockets[who].end, Some(Closing::Abort));
    world.empty();
}
