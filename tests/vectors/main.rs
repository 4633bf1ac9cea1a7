//! The golden messages of clients: what each text asks for, by the library's own parser.
//!
//! `in.json` is read by clients' tests too. `UPDATE_EXPECT=1` writes what is expected anew, to be looked at.
//! The golden events of the server (`out.json`) are played through whole shards, in `src/shard/tests/vectors.rs`.
#![expect(clippy::expect_used, reason = "a test that cannot read its vectors should say so and stop")]

use serde_json::{Map, Value, json};
use waystation::auth::Verb;
use waystation::envelope::kinds::{self, Cost, Form, ROWS};
use waystation::envelope::{Command, Inbound, Parser, Priority, Rejected, Typing};
use waystation::session::duty;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/in.json");

/// Raw JSON, as a value if one can hold it.
fn raw(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!({ "raw": text }))
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut out = Vec::new();
    write(&mut out);
    raw(&String::from_utf8(out).expect("texts are UTF-8"))
}

/// What a text was understood as.
fn meaning(parsed: &Result<Inbound<'_>, Rejected<'_>>) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        let empty = value.is_null() || value == json!(false) || value == json!([]);
        if !empty {
            fields.insert(name.to_owned(), value);
        }
    };
    match parsed {
        Ok(inbound) => {
            put("id", json!(inbound.id));
            put("channel", json!(inbound.channel));
            put("ack", json!(inbound.ack));
            put("exclude_sender", json!(inbound.exclude_sender));
            let priority = inbound.priority.map(|priority| match priority {
                Priority::High => 1,
                Priority::Normal => 2,
                Priority::Low => 3,
            });
            put("priority", json!(priority));
            put("traceparent", json!(inbound.traceparent));
            put("tokens", json!(inbound.tokens));
            let (asks, body) = command(&inbound.command);
            put("asks", json!(asks));
            put("body", body);
        }
        Err(rejected) => {
            put("error", json!(rejected.code.name()));
            put("message", json!(rejected.message));
            put("id", json!(rejected.id));
            put("type", json!(rejected.kind));
        }
    }
    Value::Object(fields)
}

/// A command's name and what it holds.
fn command(command: &Command<'_>) -> (&'static str, Value) {
    let positions = |list: &[(&str, waystation::ids::Position)]| -> Vec<Value> {
        list.iter().map(|(channel, at)| json!([channel, at.epoch.map(|epoch| epoch.0), at.seq.0])).collect()
    };
    match command {
        Command::Auth(auth) => {
            let client = auth.client.map(|client| json!([client.name, client.version, client.batch]));
            let resume = positions(&auth.resume);
            let body = json!({
                "token": auth.token, "session_id": auth.session_id, "channels": auth.channels, "resume": resume,
                "client": client,
            });
            ("auth", body)
        }
        Command::Subscribe { channels, nameless, unsubscribe, since, group } => {
            let body = json!({
                "channels": channels, "nameless": nameless, "unsubscribe": unsubscribe, "since": positions(since),
                "group": group,
            });
            ("subscribe", body)
        }
        Command::Unsubscribe { channels } => ("unsubscribe", json!(channels)),
        Command::Chat(chat) => {
            let metadata: Vec<Value> =
                chat.metadata.members().map(|(name, value)| json!([raw(name), raw(value)])).collect();
            let attachments = chat.attachments.map(raw);
            let body = json!({ "content": raw(chat.content), "role": chat.role, "attachments": attachments, "metadata": metadata });
            ("chat", body)
        }
        Command::TripUpdate { changes } => {
            let all = changes.as_slice().iter().map(|change| json!([raw(change.field), raw(change.value)]));
            ("trip_update", all.collect())
        }
        Command::Publish(publish) => ("publish", json!([publish.kind, raw(publish.payload)])),
        Command::Typing(Typing::Start { field }) => ("typing", json!({ "field": field })),
        Command::Typing(Typing::Stop { field }) => ("typing_stop", json!({ "field": field })),
        Command::Cursor { fields } => ("cursor", written(|out| fields.write(out))),
        Command::Relay { kind, fields } => ("relay", json!([kind, written(|out| fields.write(out))])),
        Command::Report { kind, fields } => ("report", json!([kind, written(|out| fields.write(out))])),
        Command::Batch(batch) => ("batch", batch.0.iter().map(meaning).collect()),
        Command::Heartbeat => ("heartbeat", Value::Null),
        Command::Ping { timestamp } => ("ping", json!(timestamp.map(raw))),
        Command::Pong => ("pong", Value::Null),
        Command::Unknown { kind } => ("nothing known", json!(kind)),
        service => of_services(service),
    }
}

/// The same for what services and their callers say.
fn of_services(command: &Command<'_>) -> (&'static str, Value) {
    match command {
        Command::Request(request) => {
            let params = written(|out| request.params.write(out));
            (
                "request",
                json!({ "method": request.method, "params": params, "id": request.id, "optional": request.optional }),
            )
        }
        Command::Response(response) => {
            let outcome = match response.outcome {
                Ok(result) => json!({ "result": raw(result) }),
                Err(error) => json!({ "error": raw(error) }),
            };
            ("response", json!([response.id, outcome]))
        }
        Command::Register { methods, .. } => ("register", json!(methods)),
        Command::Cancel { id } => ("cancel", json!(id)),
        Command::Ack { position } => ("ack", json!([position.epoch.map(|epoch| epoch.0), position.seq.0])),
        other => unreachable!("{other:?} is no service's"),
    }
}

#[test]
fn clients_texts_mean_what_the_vectors_say() {
    let text = std::fs::read_to_string(PATH).expect("the vectors");
    let mut vectors: Vec<Value> = serde_json::from_str(&text).expect("an array");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut parser = Parser::default();
    let mut seen: Vec<String> = Vec::new();
    for vector in &mut vectors {
        let (name, input) = (vector["name"].to_string(), vector["input"].as_str().expect("a text").to_owned());
        assert_eq!(vector["direction"], "in", "{name}");
        let found = meaning(&parser.parse(&input));
        if update {
            vector["expected"] = found;
        } else {
            assert_eq!(vector["expected"], found, "{name}");
        }
        if let Ok(message) = serde_json::from_str::<Value>(&input) {
            seen.extend(message["type"].as_str().filter(|_| vector["expected"]["asks"].is_string()).map(str::to_owned));
        }
    }
    if update {
        let text = serde_json::to_string_pretty(&vectors).expect("values are JSON");
        std::fs::write(PATH, text + "\n").expect("the vectors can be written");
    }
    for kind in ROWS.iter().flat_map(|row| std::iter::once(&row.name).chain(row.aliases)) {
        assert!(seen.iter().any(|name| name == kind), "no vector shows {kind}");
        assert!(kinds::find(kind).is_some());
    }
}

/// The table of message types as PROTOCOL shows it.
fn messages_table() -> String {
    let mut table = "| type | also | needs the verb | costs | body |\n|---|---|---|---|---|\n".to_owned();
    for row in ROWS {
        let also: Vec<String> = row.aliases.iter().map(|name| format!("`{name}`")).collect();
        let verb = duty::verb(row.ask).and_then(|verb| Verb::ALL.iter().find(|(known, _)| *known == verb));
        let verb = verb.map_or_else(String::new, |(_, name)| format!("`{name}`"));
        let cost = match row.cost {
            Cost::Free => "nothing",
            Cost::One => "1",
            Cost::PerTen => "1 for ten",
        };
        let body = if row.form == Form::Wrapped { "wrapped" } else { "any" };
        table += &format!("| `{}` | {} | {verb} | {cost} | {body} |\n", row.name, also.join(" "));
    }
    table
}

#[test]
fn the_table_of_messages_is_what_the_code_has() {
    let (begin, end) = ("<!-- messages: begin -->\n", "<!-- messages: end -->");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let shown = text.split(begin).nth(1).and_then(|rest| rest.split(end).next()).expect("the markers");
    assert_eq!(shown, messages_table(), "put this between the markers:\n{}", messages_table());
}
