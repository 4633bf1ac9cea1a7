//! The gateway's own channel: who may be there, what it keeps, and which channels are found to be busy.

use super::*;
use crate::code::ErrorCode;
use crate::limits::{BUSY_CHANNELS_MAX, BUSY_CHANNELS_TOLD, BUSY_LOOKS, SAMPLES_KEPT};
use crate::shard::STATS_CHANNEL;
use crate::shard::message::outside::{Ask, Busiest, Reply};

impl World {
    fn announce(&mut self, payload: &str) -> Result<Reply, ErrorCode> {
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
