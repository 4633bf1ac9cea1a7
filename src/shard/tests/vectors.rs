//! The golden events of the server: short plays in `tests/vectors/out.json`, and in `flat.json` those of the dialect of flat
//! frames, each frame of them as expected.
//!
//! What cannot be foreseen (ids, epochs, names of connections) is put in one form on both sides. With
//! `UPDATE_EXPECT=1` the frames are written anew, to be looked at.

use super::*;
use crate::ledger::{Notice, Trouble};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::shard::message::outside::Round;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

/// Puts what differs from run to run in one form.
fn level(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(level),
        Value::Object(members) => {
            for (name, value) in members {
                let text = value.as_str().unwrap_or("");
                let known = match name.as_str() {
                    "id" if text.len() == 36 && text.matches('-').count() == 4 => {
                        Some("01a1fe80-0000-7000-8000-000000000000")
                    }
                    "epoch" if text.len() == 16 => Some("0000000000000001"),
                    "connection_id" | "connectionId" if text.len() == 32 => Some("0000000000000000000000000000c0de"),
                    "server_version" => Some("0.0.0"),
                    _ if text.len() > 200 => Some("(long)"),
                    _ => None,
                };
                match known {
                    Some(known) => *value = json!(known),
                    None => level(value),
                }
            }
        }
        _ => {}
    }
}

/// The clients of one play, by their names.
#[derive(Default)]
struct Cast(std::collections::BTreeMap<String, Who>);

impl Cast {
    fn who(&self, step: &Value, key: &str) -> Who {
        self.0[step[key].as_str().unwrap()]
    }

    /// Connects a client of flat frames, whose token is in its address.
    fn enter_flat(&mut self, world: &mut World, step: &Value) {
        let (user, path) = (step["open"].as_str().unwrap(), step["path"].as_str().unwrap());
        let mark = if path.contains('?') { '&' } else { '?' };
        let who = world.upgrade(&format!("{path}{mark}token={}", token(user)));
        self.0.insert(step["called"].as_str().unwrap_or(user).to_owned(), who);
        if step["told"] != true {
            world.heard(who);
        }
    }

    /// Connects a client and lets it authenticate.
    fn enter(&mut self, world: &mut World, step: &Value) {
        let name = step["open"].as_str().unwrap();
        let kind = step["as"].as_str().unwrap_or("legacy");
        let mut claims = if kind == "service" { json!({ "role": "service" }) } else { json!({}) };
        if step["caps"].is_object() {
            claims["caps"] = step["caps"].clone();
        }
        let ttl_s = step["ttl_s"].as_u64().unwrap_or(LATER_S);
        let mut frame = json!({ "token": token_with(name, ttl_s, claims) });
        if kind == "known" || kind == "bundling" {
            frame["client"] = json!({ "name": "vectors", "version": "1", "batch": kind == "bundling" });
        }
        if let Some(more) = step["auth"].as_object() {
            frame.as_object_mut().unwrap().extend(more.clone());
        }
        let who = world.upgrade(step["path"].as_str().unwrap());
        self.0.insert(step["called"].as_str().unwrap_or(name).to_owned(), who);
        world.say(who, &frame.to_string());
        if step["told"] != true {
            world.heard(who);
        }
    }

    /// Answers the request that came last.
    fn answer(&self, world: &mut World, step: &Value) {
        let who = self.who(step, "answer");
        let taken = world.sockets[who].taken.clone();
        let asked = of_type(&world.heard(who), "request").last().map(|frame| frame["payload"]["id"].clone()).unwrap();
        world.sockets[who].taken = taken;
        let mut payload = step["with"].clone();
        payload["id"] = asked;
        world.say(who, &json!({ "type": "response", "payload": payload }).to_string());
    }

    fn play(&mut self, world: &mut World, step: &Value) {
        if step["as"] == "flat" {
            self.enter_flat(world, step);
        } else if step["open"].is_string() {
            self.enter(world, step);
        } else if step["refresh"].is_string() {
            let frame = json!({ "type": "auth", "token": token(step["user"].as_str().unwrap()) });
            world.say(self.who(step, "refresh"), &frame.to_string());
        } else if let Some(bytes) = step["bytes"].as_u64() {
            let len = usize::try_from(bytes).unwrap();
            world.say(self.who(step, "say"), &publish_of(step["channel"].as_str().unwrap(), len));
        } else if step["say"].is_string() {
            let message = step["message"].as_str().map_or_else(|| step["message"].to_string(), str::to_owned);
            world.say(self.who(step, "say"), &message);
        } else if step["say_together"].is_string() {
            let who = self.who(step, "say_together");
            step["messages"].as_array().unwrap().iter().for_each(|message| world.put(who, &text(&message.to_string())));
            world.run();
        } else if let Some(times) = step["times"].as_u64() {
            let who = self.who(step, "flood");
            (0..times).for_each(|_| world.say(who, &publish_of(step["channel"].as_str().unwrap(), MESSAGE_BYTES_MAX)));
        } else if step["answer"].is_string() {
            self.answer(world, step);
        } else if step["asleep"].is_string() {
            let who = self.who(step, "asleep");
            world.sockets[who].room = 0;
        } else if step["close"].is_string() {
            world.send(self.who(step, "close"), &masked(8, &1000_u16.to_be_bytes()));
        } else if step["awake"].is_string() {
            let who = self.who(step, "awake");
            world.open(who, usize::MAX);
        } else if let Some(file) = step["announce"].as_str() {
            let sample: Value =
                serde_json::from_str(&std::fs::read_to_string(format!("{FOLDER}/{file}")).unwrap()).unwrap();
            world.announce(&sample.to_string()).unwrap();
        } else if let Some(ms) = step["drain_ms"].as_u64() {
            world.handle(0, Input::Drain(ms));
            world.run();
        } else if let Some(ms) = step["wait_ms"].as_u64() {
            world.wait(ms);
        } else if let Some(user) = step["erase"].as_str() {
            super::forgetting::in_memory(world, user, Round::First);
            super::forgetting::in_memory(world, user, Round::Last);
        } else if let Some(works) = step["disk_works"].as_bool() {
            world.commits = works;
            let notice = if works { Notice::Working } else { Notice::Trouble(Trouble::Failing) };
            world.handle(0, Input::Store(notice));
            world.run();
        } else {
            panic!("no such step: {step}");
        }
    }
}

/// What everybody in a play hears.
fn perform(vector: &Value) -> Value {
    let retention = vector["history_count"].as_u64();
    let change = |options: &mut Options| {
        options.unlimited = vector["unlimited"] != false;
        if let Some(count) = retention {
            options.retention.count = usize::try_from(count).unwrap();
        }
    };
    let mut world = if vector["durable"] == true {
        super::keeping::start(Memory::default(), None, change)
    } else {
        World::with(change)
    };
    let mut cast = Cast::default();
    vector["steps"].as_array().unwrap().iter().for_each(|step| cast.play(&mut world, step));
    let mut heard = serde_json::Map::new();
    for (name, who) in &cast.0 {
        let frames = world.heard(*who);
        let texts = frames.into_iter().filter(|frame| !word(frame).ends_with(" frame"));
        let mut frames: Vec<Value> = texts
            .map(|frame| if frame["type"] == "close" { json!({ "close": frame["code"] }) } else { frame })
            .collect();
        frames.iter_mut().for_each(level);
        heard.insert(name.clone(), Value::Array(frames));
    }
    Value::Object(heard)
}

/// Plays what is in a file, and says how many plays there are.
fn check(file: &str) -> usize {
    let path = format!("{FOLDER}/{file}");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    for vector in &mut vectors {
        assert_eq!(vector["direction"], "out", "{}", vector["name"]);
        let heard = perform(vector);
        if update {
            vector["expected"] = heard;
        } else {
            assert_eq!(vector["expected"], heard, "{}", vector["name"]);
        }
    }
    if update {
        std::fs::write(path, serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
    }
    vectors.len()
}

#[test]
fn the_server_says_what_the_vectors_say() {
    assert!(check("out.json") > 50);
}

#[test]
fn flat_frames_are_what_the_vectors_say() {
    assert!(check("flat.json") > 10);
}
