//! Those who speak flat frames: who is let in, what rooms hear, and what both dialects see of each other.

use super::*;
use crate::limits::{
    PING_AFTER_MS, RESOURCE_ID_BYTES_MAX, RUMOURS_PER_SHARD_MAX, STATS_ASKING_MAX, STATS_DEADLINE_MS, STATS_PAGE_ROOMS,
    STATS_ROOMS_MAX,
};

/// The frames without what differs from run to run.
fn plain(mut frames: Vec<Value>) -> Vec<Value> {
    for frame in &mut frames {
        frame.as_object_mut().unwrap().remove("timestamp");
    }
    frames
}

impl World {
    /// A client on the endpoint of its user.
    fn flat(&mut self, user: &str) -> Who {
        let who = self.upgrade(&format!("/api/v1/ws/{user}?token={}", token(user)));
        assert_eq!(self.heard_words(who), ["connection"]);
        who
    }

    /// A client on the endpoint of its user that is in a trip.
    fn in_trip(&mut self, user: &str, trip: &Value) -> Who {
        let who = self.flat(user);
        self.say(who, &json!({ "type": "join_trip", "trip_id": trip }).to_string());
        self.heard(who);
        who
    }

    pub(super) fn status_of(&mut self, target: &str) -> u16 {
        let who = self.upgrade_on(0, target);
        self.status(who)
    }

    fn stats(&mut self, host: usize, query: &str) -> (u16, Value) {
        let who = self.try_accept(host).unwrap();
        self.send(who, format!("GET /api/v1/ws/stats{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let taken = std::mem::take(&mut self.sockets[who].taken);
        let text = String::from_utf8(taken).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
    }
}

#[test]
fn a_token_is_asked_for_before_the_upgrade_and_must_be_of_the_user_in_the_address() {
    let (ann, bob) = (token("ann"), token("bob"));
    let bare = token_with("ann", 9, json!({ "caps": {} }));
    let ended = token_with("ann", 0, json!({}));
    let long = "u".repeat(RESOURCE_ID_BYTES_MAX + 1);
    for (target, closed, open) in [
        (format!("/api/v1/ws/ann?token={ann}"), 101, 101),
        (format!("/api/v1/ws/ann?token={bob}"), 403, 403),
        (format!("/api/v1/ws/ann?token={bare}"), 403, 403),
        (format!("/api/v1/ws/ann?token={ended}"), 401, 401),
        ("/api/v1/ws/ann?token=a.b.c".to_owned(), 401, 401),
        ("/api/v1/ws/ann".to_owned(), 401, 101),
        (format!("/api/v1/ws/trip/t?user_id=ann&token={ann}"), 101, 101),
        (format!("/api/v1/ws/trip/t?user_id=bob&token={ann}"), 403, 403),
        (format!("/api/v1/ws/trip/t?token={ann}"), 403, 403),
        ("/api/v1/ws/trip/t?user_id=ann".to_owned(), 401, 101),
        ("/api/v1/ws/trip/t".to_owned(), 403, 403),
        ("/api/v1/ws/trip/t?user_id=".to_owned(), 400, 400),
        (format!("/api/v1/ws/trip/t?user_id={long}"), 400, 400),
        (format!("/api/v1/ws/{long}"), 400, 400),
    ] {
        for (globetrotter_open, expected) in [(false, closed), (true, open)] {
            let mut world = World::with(|options| options.globetrotter_open = globetrotter_open);
            assert_eq!(world.status_of(&target), expected, "open: {globetrotter_open}, {target}");
        }
    }
}

#[test]
fn the_first_frame_says_that_it_is_connected_and_nothing_else_does() {
    let mut world = World::new();
    let user = world.upgrade(&format!("/api/v1/ws/ann?token={}", token("ann")));
    let first = world.heard(user);
    assert!(first[0]["timestamp"].is_string());
    let expected = json!({
        "type": "connection", "status": "connected", "user_id": "ann", "message": "WebSocket connection established",
    });
    assert_eq!(plain(first), [expected]);
    let trip = world.upgrade(&format!("/api/v1/ws/trip/7?user_id=ann&token={}", token("ann")));
    let heard = world.heard(trip);
    assert!(heard.iter().all(|frame| frame["timestamp"].is_string()));
    let connected = json!({ "type": "trip_connection", "status": "connected", "trip_id": "7", "user_id": "ann", "active_users": 1 });
    let joined = json!({ "type": "user_joined_trip", "user_id": "ann", "trip_id": "7" });
    assert_eq!(plain(heard), [connected, joined.clone()]);
    let second = world.upgrade(&format!("/api/v1/ws/trip/7?user_id=bob&token={}", token("bob")));
    assert_eq!(world.heard(second)[0]["active_users"], 2);
    assert_eq!(plain(world.heard(trip))[0]["user_id"], "bob");
}

#[test]
fn a_room_hears_who_joins_leaves_and_drops() {
    let mut world = World::new();
    let (ann, bob) = (world.flat("ann"), world.flat("bob"));
    let joined = |user: &str, trip: &Value| json!({ "type": "user_joined", "user_id": user, "trip_id": trip });
    let left = |user: &str, trip: &Value| json!({ "type": "user_left", "user_id": user, "trip_id": trip });
    let (number, name) = (json!(7), json!("7"));
    world.say(ann, r#"{"type":"join_trip","trip_id":7}"#);
    assert_eq!(plain(world.heard(ann)), [joined("ann", &number)]);
    world.say(bob, r#"{"type":"join_trip","trip_id":"7"}"#);
    assert_eq!(plain(world.heard(ann)), [joined("bob", &name)]);
    assert_eq!(plain(world.heard(bob)), [joined("bob", &name)]);
    world.say(bob, r#"{"type":"join_trip","trip_id":7}"#);
    assert_eq!(plain(world.heard(ann)), [joined("bob", &number)], "again on a repeated join");
    world.heard(bob);
    world.say(ann, r#"{"type":"leave_trip","trip_id":7}"#);
    assert_eq!(plain(world.heard(bob)), [left("ann", &number)]);
    assert_eq!(world.heard(ann), Vec::<Value>::new(), "who left is out already");
    world.say(ann, r#"{"type":"leave_trip","trip_id":7}"#);
    assert_eq!(world.heard(bob), Vec::<Value>::new(), "who is not there cannot leave");
    world.say(ann, r#"{"type":"join_trip","trip_id":"7"}"#);
    world.heard(ann);
    let id = world.sockets[bob].id;
    world.handle(0, Input::Gone(id));
    world.run();
    assert_eq!(plain(world.heard(ann)), [left("bob", &number)], "at once, in the form of the join");
    let trip = world.upgrade(&format!("/api/v1/ws/trip/7?user_id=bob&token={}", token("bob")));
    world.heard(ann);
    world.send(trip, &masked(8, &1000_u16.to_be_bytes()));
    assert_eq!(plain(world.heard(ann)), [json!({ "type": "user_left_trip", "user_id": "bob", "trip_id": "7" })]);
}

#[test]
fn updates_and_typing_go_to_the_whole_room_their_sender_included() {
    let mut world = World::new();
    let (ann, bob) = (world.in_trip("ann", &json!(7)), world.in_trip("bob", &json!("7")));
    let eve = world.in_trip("eve", &json!(8));
    world.heard(ann);
    for (say, hear) in [
        ("trip_update", "trip_updated"),
        ("itinerary_update", "itinerary_updated"),
        ("budget_update", "budget_updated"),
        ("activity_update", "activity_updated"),
    ] {
        for data in [json!({ "a": 1, "b.c": [null] }), json!({}), Value::Null, json!([1]), json!("x")] {
            let said = json!({
                "type": say, "trip_id": 7, "data": data, "user_id": "eve", "updated_by": "eve", "timestamp": 0,
            });
            world.say(bob, &said.to_string());
            let expected = json!({ "type": hear, "trip_id": 7, "data": data, "updated_by": "bob" });
            for who in [ann, bob] {
                let heard = world.heard(who);
                assert!(heard[0]["timestamp"].is_string());
                assert_eq!(plain(heard), std::slice::from_ref(&expected), "{said}");
            }
        }
    }
    world.say(ann, r#"{"type":"typing","trip_id":7,"field":"day 1"}"#);
    let expected = json!({ "type": "user_typing", "trip_id": 7, "user_id": "ann", "field": "day 1" });
    assert_eq!(plain(world.heard(ann)), std::slice::from_ref(&expected));
    assert_eq!(plain(world.heard(bob)), [expected]);
    assert_eq!(world.heard(eve), Vec::<Value>::new());
}

#[test]
fn a_trips_endpoint_passes_every_object_on_with_what_is_known_better() {
    let mut world = World::new();
    let ann = world.upgrade(&format!("/api/v1/ws/trip/t?user_id=ann&token={}", token("ann")));
    let bob = world.in_trip("bob", &json!("t"));
    world.heard(ann);
    for (said, heard) in [
        (json!({ "type": "note", "x": [1] }), json!({ "type": "note", "x": [1] })),
        (json!({ "x": null }), json!({ "x": null })),
        (json!({}), json!({})),
        (json!({ "type": "ping" }), json!({ "type": "ping" })),
        (json!({ "type": 7, "user_id": "bob", "trip_id": 9, "timestamp": 0 }), json!({ "type": 7 })),
        (json!({ "type": "chat_message", "content": "x" }), json!({ "type": "chat_message", "content": "x" })),
    ] {
        world.say(ann, &said.to_string());
        let mut expected = heard;
        expected["user_id"] = json!("ann");
        expected["trip_id"] = json!("t");
        for who in [ann, bob] {
            let frames = world.heard(who);
            assert!(frames[0]["timestamp"].is_string(), "{said}");
            assert_eq!(plain(frames), [expected.clone()], "{said}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_socket_stays() {
    let mut world = World::new();
    let user = world.flat("ann");
    let trip = world.upgrade(&format!("/api/v1/ws/trip/t?user_id=ann&token={}", token("ann")));
    world.heard(trip);
    for who in [user, trip] {
        for (frame, code) in [
            (text("{"), "INVALID_JSON"),
            (text(""), "INVALID_JSON"),
            (text("[]"), "INVALID_MESSAGE_FORMAT"),
            (text("7"), "INVALID_MESSAGE_FORMAT"),
            (masked(2, b"\xff\x00"), "INVALID_JSON"),
        ] {
            for _ in 0..20 {
                world.send(who, &frame);
                let heard = world.heard(who);
                assert_eq!(words(&heard), [format!("error {code}")]);
                assert!(heard[0]["message"].is_string() && heard[0]["timestamp"].is_string());
                assert_eq!(heard[0].as_object().unwrap().len(), 4);
            }
        }
        assert!(world.is_open(who));
    }
    for silent in [r#"{"type":"join_trip"}"#, r#"{"type":"no such type"}"#, "{}", r#"{"token":"x"}"#] {
        world.say(user, silent);
    }
    assert_eq!(world.heard(user), Vec::<Value>::new());
    assert_eq!(world.read(Metric::Ignored), 4);
}

#[test]
fn who_has_not_joined_may_not_write_unless_the_dialect_is_open() {
    for open in [false, true] {
        let mut world = World::with(|options| options.globetrotter_open = open);
        let (ann, bob) = (world.in_trip("ann", &json!("t")), world.flat("bob"));
        for said in [r#"{"type":"trip_update","trip_id":"t","data":{"a":1}}"#, r#"{"type":"typing","trip_id":"t"}"#] {
            world.say(bob, said);
            let (to_ann, to_bob) = (world.heard(ann), world.heard_words(bob));
            assert_eq!(to_ann.len(), usize::from(open), "{said}");
            assert_eq!(to_bob, if open { vec![] } else { vec!["error NOT_A_MEMBER"] }, "{said}");
        }
    }
}

#[test]
fn what_a_token_does_not_permit_is_refused_in_every_trip() {
    let mut world = World::new();
    let caps = json!({ "caps": { "user:ann": ["subscribe"], "trip:read": ["subscribe"], "trip:all": ["subscribe", "publish", "edit"] } });
    let who = world.upgrade(&format!("/api/v1/ws/ann?token={}", token_with("ann", 99, caps)));
    world.heard(who);
    for (said, expected) in [
        (r#"{"type":"join_trip","trip_id":"other"}"#, "error PERMISSION_DENIED"),
        (r#"{"type":"join_trip","trip_id":"read"}"#, "user_joined"),
        (r#"{"type":"budget_update","trip_id":"read"}"#, "error PERMISSION_DENIED"),
        (r#"{"type":"typing","trip_id":"read"}"#, "error PERMISSION_DENIED"),
        (r#"{"type":"join_trip","trip_id":"all"}"#, "user_joined"),
        (r#"{"type":"budget_update","trip_id":"all"}"#, "budget_updated"),
        (r#"{"type":"typing","trip_id":"all"}"#, "user_typing"),
    ] {
        world.say(who, said);
        assert_eq!(world.heard_words(who), [expected], "{said}");
    }
}

#[test]
fn new_values_of_fields_are_told_by_those_only_who_may_edit() {
    for (verbs, edits) in [(&["subscribe", "publish"][..], false), (&["subscribe", "publish", "edit"], true)] {
        let mut world = World::new();
        let reader = world.in_trip("bob", &json!("7"));
        let token = token_with("ann", 99, json!({ "caps": { "trip:7": verbs } }));
        let flat = world.upgrade(&format!("/api/v1/ws/trip/7?user_id=ann&token={token}"));
        let other = world.upgrade(&format!("/ws?token={token}"));
        world.heard(reader);
        world.heard(flat);
        world.heard(other);
        for kind in ["trip_updated", "itinerary_updated", "budget_updated", "activity_updated"] {
            for object in [json!({ "type": kind, "data": 1 }), json!({ "type": kind, "data": 1, "via": 1 })] {
                world.say(flat, &object.to_string());
                let (heard, told) = (words(&world.heard(reader)), world.heard_words(flat));
                assert_eq!(heard, if edits { vec![kind] } else { vec![] }, "{object}");
                assert_eq!(told, [if edits { kind } else { "error PERMISSION_DENIED" }], "{object}");
            }
            let inner = json!({ "via": "globetrotter", "message": { "type": kind, "data": 1 } });
            for (kind, payload) in [(kind, json!({ "data": 1 })), ("trip_message", inner)] {
                let body = json!({ "channel": "trip:7", "type": kind, "payload": payload });
                world.say(other, &json!({ "type": "publish", "payload": body }).to_string());
                assert_eq!(world.heard(reader).len(), usize::from(edits), "{body}");
            }
            world.heard(flat);
        }
        world.say(flat, r#"{"type":"note"}"#);
        assert_eq!(world.heard_words(reader), ["note"], "everything else may be said");
    }
}

#[test]
fn both_dialects_meet_in_a_trip() {
    for shards in [1, 2] {
        let mut world = World::with(|options| options.shards = shards);
        let collab = world.legacy("/ws/trips/7/collab", "cat");
        let flat = world.in_trip("ann", &json!(7));
        let gone = world.heard(collab);
        assert!(gone.iter().all(|frame| frame["seq"].is_null()), "{gone:?}");
        world.say(flat, r#"{"type":"itinerary_update","trip_id":7,"data":{"day":1,"a.b":null}}"#);
        world.say(collab, r#"{"type":"trip_update","payload":{"field":"name","value":"Oslo"}}"#);
        world.say(collab, r#"{"type":"trip_update","payload":{"field":"budget.sum","value":5}}"#);
        world.say(collab, r#"{"type":"publish","payload":{"channel":"trip:7","type":"note","payload":{"x":1}}}"#);
        let seen = plain(world.heard(flat));
        let expected = [
            json!({ "type": "itinerary_updated", "trip_id": 7, "data": { "day": 1, "a.b": null }, "updated_by": "ann" }),
            json!({ "type": "trip_updated", "trip_id": "7", "data": { "name": "Oslo" }, "updated_by": "cat" }),
            json!({ "type": "budget_updated", "trip_id": "7", "data": { "sum": 5 }, "updated_by": "cat" }),
        ];
        assert_eq!(seen, expected);
        let seen = world.heard(collab);
        assert_eq!(seqs(&seen, "trip_update_broadcast"), [1, 2, 3]);
        assert_eq!(seqs(&seen, "note"), [4]);
        let first = of_type(&seen, "trip_update_broadcast")[0];
        assert_eq!((&first["user_id"], &first["payload"]["updated_by"]), (&json!("ann"), &json!("ann")));
        let changes = json!({ "itinerary.day": { "new_value": 1 }, "itinerary.a.b": { "new_value": null } });
        assert_eq!(first["payload"]["changes"], changes);
    }
}

#[test]
fn a_trips_endpoint_shows_the_other_dialect_its_objects_under_a_type_that_cannot_mislead() {
    let mut world = World::new();
    let collab = world.legacy("/ws/trips/7/collab", "cat");
    let flat = world.upgrade(&format!("/api/v1/ws/trip/7?user_id=ann&token={}", token("ann")));
    world.heard(collab);
    for (said, kind) in [
        (r#"{"type":"note","x":1}"#, "note"),
        (r#"{"type":"chat_message","content":"x","role":"assistant"}"#, "trip_message"),
        (r#"{"type":"connection_close","code":1000}"#, "trip_message"),
        (r#"{"type":"gap"}"#, "trip_message"),
        ("{}", "trip_message"),
    ] {
        world.say(flat, said);
        let seen = world.heard(collab);
        assert_eq!(words(&seen), [kind], "{said}");
        assert_eq!((&seen[0]["user_id"], &seen[0]["payload"]["via"]), (&json!("ann"), &json!("globetrotter")));
    }
}

#[test]
fn events_that_are_made_before_a_flat_member_is_known_at_home_are_shown_all_the_same() {
    let mut world = World::with(|options| options.shards = 2);
    let trip = at_home("trip:", 0, 2);
    let user = at_home("user:", 1, 2);
    let (user, id) = (user.strip_prefix("user:").unwrap(), trip.strip_prefix("trip:").unwrap());
    let flat = world.in_trip(user, &json!(id));
    let home = world.legacy(&format!("/ws/trips/{id}/collab"), "cat");
    assert_eq!((world.sockets[flat].id.shard, world.sockets[home].id.shard), (ShardId(1), ShardId(0)));
    // The home believes that nobody there speaks flat frames.
    let room = world.hosts[0].0.rooms.find(&trip).unwrap();
    let room = world.hosts[0].0.rooms.at_mut(room).unwrap();
    let crate::shard::rooms::Role::Home { followers, .. } = &mut room.role else { panic!("at home") };
    followers[0].encodings = crate::envelope::EncodingSet::EMPTY;
    world.say(home, r#"{"type":"trip_update","payload":{"field":"name","value":"Oslo"}}"#);
    world.say(home, r#"{"type":"publish","payload":{"channel":"CHANNEL","type":"note","payload":{}}}"#.replace("CHANNEL", &trip).as_str());
    assert_eq!(words(&world.heard(flat)), ["trip_updated"]);
}

#[test]
fn heartbeats_gaps_and_drains_are_silent_and_pings_are_not() {
    let mut world = World::new();
    let who = world.in_trip("ann", &json!("t"));
    world.wait(PING_AFTER_MS + WHEEL_SLOT_MS);
    assert_eq!(world.heard_words(who), ["ping frame"]);
    world.send(who, &masked(10, b""));
    world.say(who, r#"{"type":"ping","timestamp":5}"#);
    assert_eq!(world.heard(who), [json!({ "type": "pong", "timestamp": 5 })]);
    let writer = world.in_trip("bob", &json!("t"));
    world.open(who, 0);
    world.heard(who);
    let data = "x".repeat(60_000);
    for _ in 0..40 {
        world.say(writer, &json!({ "type": "trip_update", "trip_id": "t", "data": data }).to_string());
    }
    world.open(who, usize::MAX);
    assert!(world.read(Metric::Gaps) > 0);
    let heard = world.heard_words(who);
    assert!(heard.iter().all(|word| word == "trip_updated" || word == "user_joined"), "{heard:?}");
    world.handle(0, Input::Drain(1000));
    world.run();
    world.wait(1000);
    assert_eq!(world.heard_words(who), ["close 1012"]);
}

#[test]
fn over_its_rate_a_message_is_kept_and_pings_are_free() {
    let mut world = World::with(|options| options.unlimited = false);
    let who = world.in_trip("ann", &json!("t"));
    for _ in 0..49 {
        world.say(who, r#"{"type":"typing","trip_id":"t"}"#);
        world.say(who, r#"{"type":"ping"}"#);
    }
    assert!(world.sockets[who].reads);
    world.heard(who);
    world.say(who, r#"{"type":"trip_update","trip_id":"t"}"#);
    assert!(!world.sockets[who].reads && world.heard(who).is_empty());
    world.wait(500);
    assert_eq!(world.heard_words(who), ["trip_updated"]);
    assert!(world.sockets[who].reads && world.is_open(who));
}

#[test]
fn a_report_counts_users_and_sockets_over_all_shards() {
    for shards in [1, 2, 3] {
        let mut world = World::with(|options| (options.shards, options.globetrotter_open) = (shards, true));
        assert_eq!(world.stats(0, "").1, json!({ "active_users": 0, "active_rooms": 0, "rooms": {} }));
        let ann = world.in_trip("ann", &json!("t"));
        world.say(ann, r#"{"type":"join_trip","trip_id":"t"}"#);
        world.say(ann, r#"{"type":"join_trip","trip_id":8}"#);
        let bob = world.upgrade("/api/v1/ws/trip/t?user_id=bob");
        let again = world.upgrade("/api/v1/ws/trip/t?user_id=bob");
        assert_eq!(world.heard(again)[0]["active_users"], 3);
        let expected = json!({ "active_users": 2, "active_rooms": 2, "rooms": { "trip_t": 3, "trip_8": 1 } });
        for host in 0..usize::from(shards) {
            assert_eq!(world.stats(host, ""), (200, expected.clone()), "{shards} shards");
        }
        for who in [ann, bob] {
            let id = world.sockets[who].id;
            world.handle(id.shard.index(), Input::Gone(id));
        }
        world.run();
        let expected = json!({ "active_users": 1, "active_rooms": 1, "rooms": { "trip_t": 1 } });
        assert_eq!(world.stats(0, ""), (200, expected));
    }
}

#[test]
fn a_report_is_for_those_who_administer_unless_the_dialect_is_open() {
    let mut world = World::new();
    let admin = |pattern: &str| token_with("ann", 99, json!({ "caps": { pattern: ["admin"] } }));
    let service = token_with("ann", 99, json!({ "role": "service" }));
    for (query, status) in [
        (String::new(), 401),
        ("?token=a.b.c".to_owned(), 401),
        (format!("?token={}", token("ann")), 403),
        (format!("?token={service}"), 403),
        (format!("?token={}", admin("trip:*")), 403),
        (format!("?token={}", admin("*")), 200),
    ] {
        assert_eq!(world.stats(0, &query).0, status, "{query}");
    }
    let mut world = World::with(|options| options.admin_loopback = true);
    assert_eq!(world.stats(0, "").0, 200, "from this machine");
    for more in ["Host: evil.example", "Host: localhost\r\nX-Forwarded-For: 192.0.2.1"] {
        let who = world.try_accept(0).unwrap();
        world.send(who, format!("GET /api/v1/ws/stats HTTP/1.1\r\n{more}\r\n\r\n").as_bytes());
        assert_eq!(world.status(who), 401, "{more}");
    }
}

#[test]
fn a_long_report_comes_in_pages_and_ends_at_its_bound() {
    for count in [STATS_PAGE_ROOMS - 1, STATS_PAGE_ROOMS, STATS_PAGE_ROOMS + 1, STATS_ROOMS_MAX, STATS_ROOMS_MAX + 1] {
        let mut world = World::with(|options| (options.shards, options.globetrotter_open) = (2, true));
        for trip in 0..count {
            world.hosts[trip % 2].0.roster.put_room(&format!("trip:{trip}"));
        }
        let (_, report) = world.stats(0, "");
        assert_eq!(report["active_rooms"], count);
        assert_eq!(report["rooms"].as_object().unwrap().len(), count.min(STATS_ROOMS_MAX));
    }
}

#[test]
fn reports_that_wait_are_bounded_in_number_and_time() {
    let mut world = World::with(|options| (options.shards, options.globetrotter_open) = (2, true));
    let request = b"GET /api/v1/ws/stats HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let asking: Vec<Who> = (0..=STATS_ASKING_MAX)
        .map(|_| {
            let who = world.try_accept(0).unwrap();
            world.put(who, request);
            who
        })
        .collect();
    // The other shard never hears of it.
    world.hosts[0].1.list.retain(|effect| !matches!(effect, Effect::Mesh(..)));
    world.run();
    let (last, waiting) = asking.split_last().unwrap();
    assert_eq!(world.status(*last), 503);
    assert!(waiting.iter().all(|who| world.sockets[*who].taken.is_empty()));
    world.wait(STATS_DEADLINE_MS + WHEEL_SLOT_MS);
    assert!(waiting.iter().all(|who| world.status(*who) == 503));
    assert_eq!(world.stats(0, "").0, 200, "there is room again");
}

#[test]
fn who_names_a_user_without_a_token_takes_none_of_the_users_places_and_messages() {
    let mut world = World::with(|options| {
        options.shards = 2;
        options.unlimited = false;
        options.globetrotter_open = true;
        options.limits.connections_per_user = 1;
        options.limits.connections_per_resource = 1;
        options.limits.user_messages = crate::rate::Rate { per_minute: 1, burst: 1 };
    });
    let strangers: Vec<Who> = (0..3).map(|_| world.upgrade("/api/v1/ws/ann")).collect();
    for who in &strangers {
        for trip in 0..5 {
            world.say(*who, &json!({ "type": "join_trip", "trip_id": trip }).to_string());
        }
        assert!(world.is_open(*who) && world.sockets[*who].reads);
    }
    let ann = world.legacy("/ws/chat/s", "ann");
    world.say(ann, r#"{"type":"chat_message","content":"hello"}"#);
    assert_eq!(world.heard_words(ann), ["chat_message"]);
    assert!(strangers.iter().all(|who| world.is_open(*who)));
}

#[test]
fn news_reach_a_crowd_some_members_a_turn_and_are_bounded() {
    let mut world = World::new();
    let crowd: Vec<Who> = (0..200).map(|n| world.in_trip(&format!("u{n}"), &json!("t"))).collect();
    crowd.iter().for_each(|who| drop(world.heard(*who)));
    world.put(crowd[0], &text(r#"{"type":"typing","trip_id":"t"}"#));
    let (shard, effects) = &mut world.hosts[0];
    assert!(shard.fan_out(world.now, false, effects), "not all in one turn");
    let told = effects.list.iter().filter(|effect| matches!(effect, Effect::Write(_))).count();
    assert!((1..100).contains(&told), "{told}");
    world.run();
    assert!(crowd.iter().all(|who| world.heard_words(*who) == ["user_typing"]));
    for _ in 0..=RUMOURS_PER_SHARD_MAX {
        world.put(crowd[0], &text(r#"{"type":"typing","trip_id":"t"}"#));
    }
    assert_eq!(world.read(Metric::OutboxDropped), 1);
}
