//! The trace that a message belongs to: who is told of it, and with which events.

use super::consumers::{join, shards};
use super::service::service;
use super::*;
use crate::envelope::Encoding;
use crate::ids::Seq;
use crate::limits::JOIN_MEMBERS_MIN;
use crate::room::history::Event;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A note that belongs to a trace, or says so in vain.
fn traced(channel: &str, id: &str, traceparent: &Value) -> String {
    json!({ "type": "publish", "id": id, "traceparent": traceparent,
        "payload": { "channel": channel, "type": "note", "payload": {} } })
    .to_string()
}

/// The traces of the notes that somebody got, and the notes without them.
fn split(frames: &[Value]) -> (Vec<Option<String>>, Vec<Value>) {
    let notes = of_type(frames, "note").into_iter().cloned();
    let parts = notes.map(|mut note| {
        let trace = note.as_object_mut().unwrap().remove("traceparent");
        (trace.map(|trace| trace.as_str().unwrap().to_owned()), note)
    });
    parts.unzip()
}

/// As many notes as `expected` has; those of a trace are told to known clients only.
fn check(frames: &[Value], known: bool, expected: &[bool]) -> Vec<Value> {
    let (traces, notes) = split(frames);
    let told: Vec<Option<&str>> = expected.iter().map(|told| (*told && known).then_some(TRACE)).collect();
    assert_eq!(traces.iter().map(Option::as_deref).collect::<Vec<_>>(), told, "known: {known}");
    notes
}

#[test]
fn known_clients_are_told_of_a_trace_and_older_ones_get_what_they_always_got() {
    for home in 0..2 {
        let mut world = shards(2);
        let channel = at_home("chat:", home, 2);
        let mut clients = Vec::new();
        for (host, known) in [(0, true), (0, false), (1, true), (1, false)] {
            for name in [channel.clone(), channel.replacen("chat:", "session:", 1)] {
                let who = world.client_on(host, known, "/ws", &format!("u{}", clients.len()));
                join(&mut world, who, &name);
                clients.push((known, who, name));
            }
        }
        let reader = world.reader(0, &channel, "reader", "");
        let ways = [json!(TRACE), Value::Null, json!("nonsense"), json!(7), json!(TRACE)];
        for (index, traceparent) in ways.iter().enumerate() {
            world.say(clients[index % 2 * 2].1, &traced(&channel, &index.to_string(), traceparent));
        }
        let expected = [true, false, false, false, true];
        let shard = &world.hosts[usize::from(home)].0;
        let history = &shard.rooms.at(shard.rooms.find(&channel).unwrap()).unwrap().history;
        let streamed = |event: &Event| {
            [Encoding::EVENT_STREAM, Encoding::EVENT_STREAM.traced()].map(|encoding| event.frame(encoding).is_some())
        };
        let forms: Vec<_> = history.since(Seq(1)).map(streamed).collect();
        assert_eq!(forms, expected.map(|traced| [!traced, traced]), "a form that nobody reads is not made");
        let mut all = Vec::new();
        for (known, who, name) in clients {
            let mut notes = check(&world.heard(who), known, &expected);
            for note in &mut notes {
                assert_eq!(note["channel"], json!(name));
                note["channel"] = json!(channel);
            }
            all.push(notes);
        }
        let events: Vec<Value> = world.read_events(reader).into_iter().map(|(_, event)| event).collect();
        all.push(check(&events, true, &expected));
        assert!(all.iter().all(|notes| *notes == all[0]), "but for the trace all get the same");
    }
}

#[test]
fn a_trace_comes_again_with_what_was_missed_and_with_what_is_asked_for() {
    for home in 0..2 {
        let mut world = shards(2);
        let channel = at_home("chat:", home, 2);
        let author = world.client_on(0, false, "/ws", "author");
        join(&mut world, author, &channel);
        for (id, traceparent) in [("1", json!(TRACE)), ("2", Value::Null), ("3", json!(TRACE))] {
            world.say(author, &traced(&channel, id, &traceparent));
        }
        let heard = world.heard(author);
        check(&heard, false, &[true, false, true]);
        let epoch = of_type(&heard, "note")[0]["epoch"].as_str().unwrap().to_owned();
        for (index, (host, known)) in [(0, true), (0, false), (1, true), (1, false)].into_iter().enumerate() {
            for name in [channel.clone(), channel.replacen("chat:", "session:", 1)] {
                let who = world.client_on(host, known, "/ws", &format!("{index}{name}"));
                let since = json!({ "channels": [name], "since": { name.clone(): { "epoch": epoch, "seq": 0 } } });
                world.say(who, &json!({ "type": "subscribe", "payload": since }).to_string());
                check(&world.heard(who), known, &[true, false, true]);
                let asked = json!({ "id": "h", "method": "history", "params": { "channel": name } });
                world.say(who, &json!({ "type": "request", "payload": asked }).to_string());
                let heard = world.heard(who);
                let page = &of_type(&heard, "response")[0]["payload"]["result"]["events"];
                check(page.as_array().unwrap(), known, &[true, false, true]);
            }
        }
        for host in 0..2 {
            let reader = world.reader(host, &channel, "reader", &format!("Last-Event-ID: {epoch}:0\r\n"));
            let events: Vec<Value> = world.read_events(reader).into_iter().map(|(_, event)| event).collect();
            check(&events, true, &[true, false, true]);
        }
    }
}

#[test]
fn in_a_crowd_everybody_is_told_as_much_as_it_should_be() {
    let mut world = World::new();
    let user = |index: usize| format!("u{index}");
    let crowd: Vec<(bool, Who)> = (0..2 * JOIN_MEMBERS_MIN)
        .map(|index| (index % 2 == 0, world.client(index % 2 == 0, "/ws/chat/s", &user(index))))
        .collect();
    crowd.iter().for_each(|(_, who)| drop(world.heard(*who)));
    for (round, expected) in [[false; 3], [true, false, true], [false, true, false], [false; 3]].iter().enumerate() {
        for (index, told) in expected.iter().enumerate() {
            let traceparent = if *told { json!(TRACE) } else { Value::Null };
            world.put(crowd[0].1, &text(&traced("chat:s", &format!("{round}-{index}"), &traceparent)));
        }
        world.run();
        let id = world.hosts[0].0.rooms.find("chat:s").unwrap();
        let room = world.hosts[0].0.rooms.at(id).unwrap();
        let joined = room.joined.as_ref().unwrap();
        let forms = [false, true].map(|known| joined.of(known).is_some());
        assert_eq!(
            forms,
            [true, expected.contains(&true)],
            "{round}: one for each kind, and without a trace one for all"
        );
        for (known, who) in &crowd {
            check(&world.heard(*who), *known, expected);
        }
    }
}

#[test]
fn a_trace_goes_with_events_to_connections_and_with_requests_to_those_who_answer() {
    for (host, known) in [(0, true), (0, false), (1, true), (1, false)] {
        let mut world = shards(2);
        let backend = service(&mut world, 0, "svc");
        let who = world.client_on(host, known, "/ws", "ann");
        let id = world.sockets[who].id;
        let name = world.hosts[id.shard.index()].0.slots.find(id).unwrap().name.to_string();
        for target in ["*".to_owned(), format!("connection:{name}")] {
            for (op, traceparent) in [("a", json!(TRACE)), ("b", json!("nonsense")), ("c", Value::Null)] {
                world.say(backend, &traced(&target, &format!("{target}{op}"), &traceparent));
            }
            check(&world.heard(who), known, &[true, false, false]);
        }
        world.say(backend, r#"{"type":"register","payload":{"methods":["plan"]}}"#);
        world.heard(backend);
        for traceparent in [json!(TRACE), Value::Null] {
            let asked = json!({ "id": "r", "method": "plan", "params": {} });
            let message = json!({ "type": "request", "traceparent": traceparent, "payload": asked });
            world.say(who, &message.to_string());
            let heard = world.heard(backend);
            let request = of_type(&heard, "request")[0];
            assert_eq!(request["traceparent"], traceparent, "who answers tells its name here");
            let answer = json!({ "id": request["payload"]["id"], "result": {} });
            world.say(backend, &json!({ "type": "response", "payload": answer }).to_string());
            assert!(world.heard(who)[0].get("traceparent").is_none(), "who asks knows its trace");
        }
    }
}

#[test]
fn a_provider_that_does_not_tell_its_name_is_asked_as_ever() {
    let mut world = World::new();
    let token = token_with("svc", LATER_S, json!({ "role": "service" }));
    let backend = world.upgrade(&format!("/ws?token={token}"));
    world.say(backend, r#"{"type":"register","payload":{"methods":["plan"]}}"#);
    world.heard(backend);
    let ann = world.known("/ws", "ann");
    let asked = json!({ "id": "r", "method": "plan", "params": {} });
    world.say(ann, &json!({ "type": "request", "traceparent": TRACE, "payload": asked }).to_string());
    let heard = world.heard(backend);
    assert!(of_type(&heard, "request")[0].get("traceparent").is_none(), "{heard:?}");
}

#[test]
fn those_who_speak_flat_frames_see_nothing_of_a_trace() {
    let mut world = World::new();
    let flat = world.upgrade(&format!("/api/v1/ws/trip/t?user_id=bob&token={}", token("bob")));
    world.heard(flat);
    let ann = world.known("/ws/trips/t/collab", "ann");
    world.heard(flat);
    for traceparent in [Value::Null, json!(TRACE)] {
        let message = json!({ "type": "trip_update", "traceparent": traceparent,
            "payload": { "field": "title", "value": "x" } });
        world.say(ann, &message.to_string());
    }
    let heard = world.heard(flat);
    assert!(heard.len() >= 2 && !format!("{heard:?}").contains("0af7651916cd43dd"), "{heard:?}");
    let own = world.heard(ann);
    let updates = of_type(&own, "trip_update_broadcast");
    assert_eq!((updates[0].get("traceparent"), &updates[1]["traceparent"]), (None, &json!(TRACE)));
}

#[test]
fn an_operation_in_another_trace_is_the_same_operation() {
    let mut world = World::new();
    let ann = world.known("/ws/chat/s", "ann");
    world.say(ann, &traced("chat:s", "op", &json!(TRACE)));
    world.say(ann, &traced("chat:s", "op", &json!(TRACE.replacen("b7", "c8", 1))));
    check(&world.heard(ann), true, &[true]);
}
