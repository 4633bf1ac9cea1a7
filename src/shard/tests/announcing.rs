//! The gateway's own channel: who may be there, what it keeps, and which channels are found to be busy.

use std::sync::Arc;

use super::*;
use crate::code::ErrorCode;
use crate::limits::{
    BUSY_CHANNELS_MAX, BUSY_CHANNELS_TOLD, BUSY_LOOKS, HISTORY_COUNT_DEFAULT, SAMPLES_KEPT, SHARD_SILENT_MS,
    VISITS_PER_TURN_MAX,
};
use crate::metrics::Timing;
use crate::shard::STATS_CHANNEL;
use crate::shard::message::outside::{Ask, Busiest, Reply};

impl World {
    pub(super) fn announce(&mut self, payload: &str) -> Result<Reply, ErrorCode> {
        let shards = u16::try_from(self.hosts.len()).unwrap();
        let home = crate::route::home(&options().key, STATS_CHANNEL, shards);
        self.ask(home.index(), Ask::Announce(Box::from(payload.as_bytes())))
    }

    fn busiest(&mut self, host: usize) -> Vec<(String, u64, u64)> {
        match self.ask(host, Ask::Busiest) {
            Ok(Reply::Busiest(rows)) => rows
                .into_iter()
                .map(|Busiest { channel, members, per_s }| (channel.to_string(), members, per_s))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    /// A client with these verbs in these channels.
    fn with_caps(&mut self, caps: &Value) -> Who {
        let token = token_with("ops", LATER_S, json!({ "caps": caps }));
        let who = self.upgrade(&format!("/ws?token={token}"));
        self.heard(who);
        who
    }
}

/// A message to a trip that is no retry of another.
fn note(trip: usize) -> String {
    json!({ "type": "publish", "payload": { "channel": format!("trip:{trip}"), "type": "note", "payload": {} } })
        .to_string()
}

fn join(world: &mut World, who: Who, since: Option<Value>) -> Vec<Value> {
    let mut subscribe = json!({ "type": "subscribe", "channels": [STATS_CHANNEL] });
    if let Some(since) = since {
        subscribe["since"] = json!({ STATS_CHANNEL: since });
    }
    world.say(who, &subscribe.to_string());
    world.heard(who)
}

#[test]
fn what_the_gateway_says_of_itself_is_an_event_for_who_may_watch_on_whichever_shard() {
    for shards in [1, 2, 3] {
        let mut world = World::with(|options| options.shards = shards);
        assert_eq!(world.announce(r#"{"n":0}"#), Ok(Reply::Announced { watched: false }));
        let watchers: Vec<Who> = (0..2).map(|_| world.with_caps(&json!({ "*": ["admin"] }))).collect();
        for who in &watchers {
            assert_eq!(of_type(&join(&mut world, *who, None), "subscribed").len(), 1);
        }
        assert_eq!(world.announce(r#"{"n":1}"#), Ok(Reply::Announced { watched: true }));
        for who in watchers {
            let heard = world.heard(who);
            assert_eq!((heard.len(), seqs(&heard, "system_stats")), (1, vec![2]), "{heard:?}");
            assert_eq!((&heard[0]["payload"], &heard[0]["channel"]), (&json!({ "n": 1 }), &json!(STATS_CHANNEL)));
            world.say(who, &json!({ "type": "unsubscribe", "channels": [STATS_CHANNEL] }).to_string());
        }
        assert_eq!(world.announce("{}"), Ok(Reply::Announced { watched: false }));
    }
}

#[test]
fn who_may_not_watch_is_refused_and_nobody_else_sends_there() {
    let mut world = World::new();
    let stranger = world.legacy("/ws", "ann");
    let heard = join(&mut world, stranger, None);
    assert_eq!(heard[0]["payload"]["failures"][0]["code"], "PERMISSION_DENIED", "{heard:?}");
    let everything =
        json!({ "*": ["subscribe", "publish", "presence", "history", "edit", "stream", "register", "admin"] });
    let operator = world.with_caps(&everything);
    for channel in [STATS_CHANNEL, "system:other"] {
        for message in [
            publish(channel, "op", &json!({})),
            json!({ "type": "agent_status_update", "channel": channel, "id": "op", "ack": true, "status": "x" })
                .to_string(),
        ] {
            world.say(operator, &message);
            assert_eq!(world.heard_words(operator), ["nack PERMISSION_DENIED"], "{message}");
        }
    }
    assert_eq!(world.read(Metric::Published), 0);
}

#[test]
fn five_minutes_of_samples_are_kept_and_a_watcher_that_asks_for_them_gets_them() {
    let mut world = World::new();
    for sample in 0..=SAMPLES_KEPT {
        world.announce(&json!({ "n": sample }).to_string()).unwrap();
        world.wait(1000);
    }
    let who = world.with_caps(&json!({ STATS_CHANNEL: ["subscribe"] }));
    let place = join(&mut world, who, None)[1]["payload"].clone();
    assert_eq!((&place["oldest_seq"], &place["seq"]), (&json!(2), &json!(SAMPLES_KEPT + 1)), "{place}");
    // What was is given to who joins again from before the oldest: in as many writes as it takes, and then goes on.
    let heard = join(&mut world, who, Some(json!({ "epoch": place["epoch"], "seq": 1 })));
    let samples = of_type(&heard, "system_stats");
    assert_eq!(samples.len(), SAMPLES_KEPT, "the first is forgotten");
    assert_eq!(
        (&samples[0]["payload"], &samples[SAMPLES_KEPT - 1]["seq"]),
        (&json!({ "n": 1 }), &json!(SAMPLES_KEPT + 1))
    );
    let params = json!({ "channel": STATS_CHANNEL, "limit": 300 });
    world.say(
        who,
        &json!({ "type": "request", "payload": { "id": "h", "method": "history", "params": params } }).to_string(),
    );
    let page = &world.heard(who)[0]["payload"]["result"];
    assert_eq!(page["events"].as_array().unwrap().len(), 300);
}

#[test]
fn who_wants_every_channel_does_not_get_the_gateways_own() {
    let mut world = World::new();
    let token = token_with("svc", LATER_S, json!({ "role": "service", "caps": { "*": ["subscribe"] } }));
    let who = world.upgrade(&format!("/ws?token={token}"));
    world.say(who, &json!({ "type": "subscribe", "channels": ["*"] }).to_string());
    world.heard(who);
    world.announce("{}").unwrap();
    let ann = world.legacy("/ws/chat/1", "ann");
    world.say(ann, &publish("chat:1", "op", &json!({})));
    assert_eq!(seqs(&world.heard(who), "note"), [1]);
    world.announce("{}").unwrap();
    world.wait(3000);
    assert!(of_type(&world.heard(who), "system_stats").is_empty());
    assert_eq!(world.read(Metric::RefusedPermission), 0, "it was never asked for");
}

#[test]
fn the_busiest_channels_are_found_while_somebody_asks() {
    let mut world = World::new();
    for trip in 0..4 {
        for member in 0..=trip {
            world.legacy(&format!("/ws/trips/{trip}/collab"), &format!("user-{member}"));
        }
    }
    assert_eq!(world.busiest(0), [], "nobody has looked before");
    let say = |world: &mut World, trip: usize, times: usize| {
        for _ in 0..times {
            let who = trip * (trip + 1) / 2;
            world.say(who, &note(trip));
        }
    };
    say(&mut world, 0, 30);
    say(&mut world, 3, 5);
    world.wait(1000);
    assert_eq!(world.busiest(0), [("trip:0".to_owned(), 1, 30), ("trip:3".to_owned(), 4, 20)]);
    say(&mut world, 3, 10);
    world.wait(2000);
    assert_eq!(world.busiest(0), [("trip:3".to_owned(), 4, 20)], "over two seconds, and the other one is quiet");
    assert_eq!(world.busiest(0), []);
    // Nobody has asked for long: nothing is looked at, and what is asked then begins anew.
    world.wait(10_000);
    say(&mut world, 1, 5);
    assert_eq!(world.busiest(0), []);
}

#[test]
fn a_shard_has_so_many_channels_in_view_and_one_that_is_busy_is_among_them() {
    let mut world = World::new();
    let count = 2 * BUSY_CHANNELS_MAX;
    let members: Vec<Who> = (0..count).map(|trip| world.legacy(&format!("/ws/trips/{trip}/collab"), "ann")).collect();
    world.busiest(0);
    for round in 0..3 {
        for (trip, who) in members.iter().enumerate() {
            world.say(*who, &note(trip));
            if trip == count - 1 {
                (0..BUSY_LOOKS).for_each(|_| world.say(*who, &note(trip)));
            }
        }
        world.wait(1000);
        assert!(world.hosts[0].0.busy.in_view() <= BUSY_CHANNELS_MAX);
        let busiest = world.busiest(0);
        assert_eq!(busiest.len(), BUSY_CHANNELS_TOLD);
        assert_eq!(busiest[0], (format!("trip:{}", count - 1), 1, BUSY_LOOKS + 1), "{round}");
    }
}

#[test]
fn a_shard_that_has_not_ticked_for_two_seconds_is_named_to_who_asks_another() {
    let mut world = World::with(|options| options.shards = 3);
    let all: Vec<_> = world.hosts.iter().map(|(shard, _)| Arc::clone(shard.metrics())).collect();
    world.hosts.iter_mut().for_each(|(shard, _)| shard.set_peers(all.clone()));
    world.jump(60_000);
    let ask = |world: &mut World| {
        let who = world.upgrade_on(0, "/healthz");
        let text = String::from_utf8(std::mem::take(&mut world.sockets[who].taken)).unwrap();
        (text[9..12].parse::<u16>().unwrap(), text.split("\r\n\r\n").nth(1).unwrap().to_owned())
    };
    for (late_ms, silent) in [(0, None), (SHARD_SILENT_MS, None), (SHARD_SILENT_MS + 1, Some("[1,2]"))] {
        all[1..].iter().for_each(|metrics| metrics.set(Metric::TickedAt, (60_000 - late_ms) * 1000));
        let body = silent.map_or_else(
            || r#"{"status":"healthy","shards":3}"#.to_owned(),
            |silent| format!(r#"{{"status":"unhealthy","shards":3,"silent":{silent}}}"#),
        );
        assert_eq!(ask(&mut world), (if silent.is_none() { 200 } else { 503 }, body), "{late_ms}");
    }
}

#[test]
fn a_delivery_takes_until_the_end_of_the_turn_that_writes_it_and_counts_for_each_member() {
    let mut world = World::new();
    let members: Vec<Who> = ["ann", "bob", "eve"].map(|user| world.legacy("/ws/trips/1/collab", user)).into();
    let timing = |world: &World| {
        let metrics = Arc::clone(world.hosts[0].0.metrics());
        let histogram = metrics.timing(Timing::Delivery);
        (histogram.counts().sum::<u64>(), histogram.sum())
    };
    let end_turn = |world: &mut World, micros| {
        let now = Now { micros: world.now.micros + micros, ..world.now };
        world.hosts[0].0.flushed(now);
    };
    end_turn(&mut world, 0);
    let (before, _) = timing(&world);
    world.put(members[0], &text(&note(1)));
    world.hosts[0].0.fan_out(world.now, false, &mut Effects::new(1));
    end_turn(&mut world, 500);
    assert_eq!(timing(&world), (before + 3, 1500), "one event for three");
    // Two events in one write: both count, by the older.
    world.put(members[0], &text(&note(1)));
    world.now.micros += 100;
    world.put(members[0], &text(&note(1)));
    world.hosts[0].0.fan_out(world.now, false, &mut Effects::new(1));
    end_turn(&mut world, 300);
    assert_eq!(timing(&world), (before + 9, 1500 + 6 * 400));
    end_turn(&mut world, 9_000);
    assert_eq!(timing(&world).0, before + 9, "nothing twice");
}

#[test]
fn a_crowd_with_events_faster_than_its_rounds_has_the_times_of_its_deliveries() {
    let mut world = World::new();
    let ann = world.legacy("/ws", "ann");
    for _ in 0..3 * VISITS_PER_TURN_MAX + 10 {
        world.legacy("/ws/trips/1/collab", "bob");
    }
    let of = |world: &World| {
        let metrics = Arc::clone(world.hosts[0].0.metrics());
        let histogram = metrics.timing(Timing::Delivery);
        (histogram.counts().sum::<u64>(), histogram.sum(), metrics.read(Metric::Delivered))
    };
    // More events than are kept for who is slow, and each part of the run is as the others.
    world.busiest(0);
    for part in 0..6 {
        let before = of(&world);
        for _ in 0..HISTORY_COUNT_DEFAULT {
            world.put(ann, &text(&note(1)));
            world.now.micros += 1000;
            let (shard, effects) = &mut world.hosts[0];
            assert!(shard.fan_out(world.now, false, effects), "no round ends");
            world.apply(0);
        }
        let after = of(&world);
        let (count, sum, delivered) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
        assert!((delivered..delivered * 3 / 2).contains(&count), "part {part}: {count} times, {delivered} deliveries");
        // Everybody is visited in every fourth turn. The next one ends it, and those who are visited together were not
        // all visited together before.
        assert!(sum / count <= 6000, "part {part}: {} us", sum / count);
    }
    let rows = world.busiest(0);
    assert!(matches!(&rows[..], [(name, _, _)] if name == "trip:1"), "{rows:?}");
}

#[test]
fn what_was_is_no_delivery_however_old_it_is() {
    for shards in [1, 2] {
        let mut world = World::with(|options| options.shards = shards);
        let channel = at_home("trip:", 0, shards);
        let trip = channel.strip_prefix("trip:").unwrap().to_owned();
        let ann = world.legacy(&format!("/ws/trips/{trip}/collab"), "ann");
        (0..5).for_each(|_| world.say(ann, &note(trip.parse().unwrap())));
        world.hosts.iter_mut().for_each(|(shard, _)| shard.flushed(world.now));
        let all = |world: &World| -> u64 {
            world.hosts.iter().map(|(shard, _)| shard.metrics().timing(Timing::Delivery).sum()).sum()
        };
        let before = all(&world);
        world.wait(10_000);
        let late = world.client_on(usize::from(shards) - 1, true, "/ws", "bob");
        world.say(late, &json!({ "type": "subscribe", "channels": [channel] }).to_string());
        let place = of_type(&world.heard(late), "subscribed")[0]["payload"].clone();
        let since = json!({ &channel: { "epoch": place["epoch"], "seq": 0 } });
        world.say(late, &json!({ "type": "subscribe", "channels": [channel], "since": since }).to_string());
        assert_eq!(seqs(&world.heard(late), "note").len(), 5, "{shards}");
        world.hosts.iter_mut().for_each(|(shard, _)| shard.flushed(world.now));
        assert_eq!(all(&world) - before, 0, "{shards}");
    }
}

#[test]
fn messages_are_counted_by_what_they_are_and_events_too() {
    let mut world = World::new();
    let ann = world.known("/ws/trips/1/collab", "ann");
    let before: Vec<u64> = Metric::ALL.iter().map(|metric| world.read(*metric)).collect();
    world.say(ann, &note(1));
    world.say(ann, &json!({ "type": "trip_update", "payload": { "field": "a", "value": 1 } }).to_string());
    let two = [json!({ "type": "ping" }), json!({ "type": "nonsense" })];
    world.say(ann, &json!({ "type": "batch", "payload": { "messages": two } }).to_string());
    world.say(ann, "no JSON");
    let grown = |metric: Metric| world.read(metric) - before[metric as usize];
    for (metric, expected) in [
        (Metric::ReceivedPublish, 1),
        (Metric::ReceivedTripUpdate, 1),
        (Metric::ReceivedBatch, 1),
        (Metric::ReceivedPing, 1),
        (Metric::ReceivedOther, 2),
        (Metric::ReceivedAuth, 0),
        (Metric::PublishedOther, 1),
        (Metric::PublishedTripUpdateBroadcast, 1),
        (Metric::Published, 2),
        (Metric::MessagesIn, 4),
    ] {
        assert_eq!(grown(metric), expected, "{metric:?}");
    }
    assert!(grown(Metric::LaneLow) > 0 && grown(Metric::LaneCritical) > 0);
}

#[test]
fn a_socket_that_takes_nothing_is_counted_until_it_does_or_is_gone() {
    let mut world = World::new();
    let slow = [world.legacy("/ws/trips/1/collab", "ann"), world.legacy("/ws/trips/1/collab", "bob")];
    slow.iter().for_each(|who| world.sockets[*who].room = 0);
    let third = world.legacy("/ws/trips/1/collab", "eve");
    world.say(third, &note(1));
    assert_eq!(world.read(Metric::Blocked), 2);
    world.open(slow[0], usize::MAX);
    assert_eq!(world.read(Metric::Blocked), 1);
    let id = world.sockets[slow[1]].id;
    world.handle(0, Input::Gone(id));
    world.run();
    assert_eq!((world.read(Metric::Blocked), world.read(Metric::Closed1006)), (0, 1));
}
