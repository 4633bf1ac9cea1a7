//! The socket as an AsyncAPI 3.0 document: its endpoints, and the messages of both directions by their JSON Schemas.

use serde_json::{Map, Value, json};

use super::{client, server};

/// The endpoints whose messages are those of the schemas: a name and the address.
const ENDPOINTS: [(&str, &str, &str); 5] = [
    ("open", "/ws", "No channel of its own: subscribe by message."),
    ("chat", "/ws/chat/{session_id}", "A chat session: chat:{session_id}."),
    ("agentStatus", "/ws/agent-status/{user_id}", "What agents do for the token's user: agent:{user_id}."),
    ("trip", "/ws/trips/{trip_id}/collab", "A trip that several people edit: trip:{trip_id}."),
    ("notifications", "/ws/notifications/{user_id}", "The token's user's own: notifications:{user_id}."),
];

/// The endpoints of flat frames, whose shapes docs/PROTOCOL.md tells.
const FLAT: [(&str, &str, &str); 2] = [
    ("flatUser", "/api/v1/ws/{user_id}", "Flat frames for a user: user:{user_id}."),
    ("flatTrip", "/api/v1/ws/trip/{trip_id}", "Flat frames in a trip: trip:{trip_id}."),
];

/// The document.
#[must_use]
pub fn schema() -> Value {
    let (said, heard) = (client::schema(), server::schema());
    let (mut schemas, mut messages) = (Map::new(), Map::new());
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    for (name, body) in said["$defs"].as_object().into_iter().flatten() {
        schemas.insert(format!("body.{name}"), moved(body, "body."));
    }
    for message in said["oneOf"].as_array().into_iter().flatten() {
        let Some(title) = message["title"].as_str() else { continue };
        let name = format!("say.{title}");
        schemas.insert(name.clone(), moved(message, "body."));
        messages.insert(name.clone(), described(&name, title));
        from_client.push(name);
    }
    for (kind, frame) in heard["$defs"].as_object().into_iter().flatten() {
        let name = format!("hear.{kind}");
        schemas.insert(name.clone(), moved(frame, "hear."));
        // The union of all events is there for what holds several.
        if kind != "event" {
            messages.insert(name.clone(), described(&name, kind));
            from_server.push(name);
        }
    }
    schemas.insert("flat".to_owned(), json!({ "type": "object" }));
    messages.insert("flat".to_owned(), described("flat", "flat"));
    let (mut channels, mut operations) = (Map::new(), Map::new());
    let flat = ["flat".to_owned()];
    for (endpoint, ours) in ENDPOINTS.iter().map(|one| (one, true)).chain(FLAT.iter().map(|one| (one, false))) {
        let (name, address, about) = endpoint;
        let said: &[String] = if ours { &from_client } else { &flat };
        let heard: &[String] = if ours { &from_server } else { &flat };
        channels.insert((*name).to_owned(), channel(address, about, said.iter().chain(heard)));
        for (action, messages) in [("receive", said), ("send", heard)] {
            let of = |message: &String| json!({ "$ref": format!("#/channels/{name}/messages/{message}") });
            let messages: Vec<Value> = messages.iter().map(of).collect();
            let operation =
                json!({ "action": action, "channel": { "$ref": format!("#/channels/{name}") }, "messages": messages });
            operations.insert(format!("{name}.{action}"), operation);
        }
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Waystation over WebSocket",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Text frames of JSON, as the gateway sends and receives them. docs/PROTOCOL.md says what is meant; this says the shapes. Every address below /ws is served below /api/ws too. A client may send and receive types of events that are none of these.",
        },
        "defaultContentType": "application/json",
        "servers": { "own": { "host": "127.0.0.1:8080", "protocol": "ws", "description": "A server of one's own" } },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    })
}

/// Addresses of all endpoints.
pub fn addresses() -> impl Iterator<Item = &'static str> {
    ENDPOINTS.iter().chain(&FLAT).map(|(_, address, _)| *address)
}

fn described(name: &str, title: &str) -> Value {
    json!({ "name": title, "title": title, "payload": { "$ref": format!("#/components/schemas/{name}") } })
}

fn channel<'a>(address: &str, about: &str, messages: impl Iterator<Item = &'a String>) -> Value {
    let messages: Map<String, Value> =
        messages.map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") }))).collect();
    let mut channel = json!({ "address": address, "description": about, "messages": messages });
    let names = address.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Map<String, Value> =
        names.map(|name| (name.to_owned(), json!({ "description": "1 to 128 bytes, percent-encoded" }))).collect();
    if !parameters.is_empty() {
        channel["parameters"] = json!(parameters);
    }
    channel
}

/// A schema whose references lead into the document.
fn moved(schema: &Value, prefix: &str) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(|item| moved(item, prefix)).collect(),
        Value::Object(members) => {
            let one = |(name, value): (&String, &Value)| {
                let local = value.as_str().and_then(|text| text.strip_prefix("#/$defs/")).filter(|_| name == "$ref");
                let value = local.map_or_else(
                    || moved(value, prefix),
                    |local| json!(format!("#/components/schemas/{prefix}{local}")),
                );
                (name.clone(), value)
            };
            Value::Object(members.iter().map(one).collect())
        }
        other => other.clone(),
    }
}
