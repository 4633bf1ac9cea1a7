//! What the gateway sends.
#![expect(dead_code, reason = "the types describe events; none is ever made of them")]

use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use waystation::code::ErrorCode;
use waystation::envelope::kinds::{Ask, ROWS};

use super::stats::SystemStats;
use super::{described, without_null};

/// The answer to a good authentication frame. No other frame but its opposite has a `success` at the top.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Welcome {
    #[schemars(extend("const" = true))]
    success: bool,
    connection_id: String,
    #[schemars(rename = "connectionId")]
    connection_id_camel: String,
    user_id: String,
    #[schemars(rename = "userId")]
    user_id_camel: String,
    session_id: Option<String>,
    #[schemars(rename = "sessionId")]
    session_id_camel: Option<String>,
    available_channels: Vec<String>,
    #[schemars(rename = "availableChannels")]
    available_channels_camel: Vec<String>,
    permissions: Vec<String>,
    expires_at: Option<String>,
    heartbeat_ms: u64,
    protocol_version: u64,
    server_version: String,
}

/// The answer to a bad authentication frame; a close follows.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Unwelcome {
    #[schemars(extend("const" = false))]
    success: bool,
    connection_id: String,
    error: String,
    #[schemars(schema_with = "code")]
    code: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ConnectionEstablished {
    status: String,
    connection_id: String,
    user_id: String,
    session_id: Option<String>,
    available_channels: Vec<String>,
    server_version: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ConnectionHeartbeat {
    timestamp: String,
}

/// The timestamp of the `ping`, as it came.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Pong {
    #[schemars(extend("type" = ["string", "number"]))]
    timestamp: Option<Value>,
}

/// A message was refused; the connection lives on.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ConnectionError {
    #[schemars(schema_with = "code")]
    code: String,
    message: String,
    #[schemars(schema_with = "code")]
    error_code: String,
    error_message: String,
    details: Map<String, Value>,
}

/// Before a close frame.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ConnectionClose {
    reason: String,
    #[schemars(range(min = 1000, max = 4999))]
    code: u16,
    /// Seconds.
    reconnect_after: Option<u64>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SubscribeResponse {
    success: bool,
    subscribed_channels: Vec<String>,
    failed_channels: Vec<String>,
    failures: Vec<Failure>,
}

/// To a connection that offered to answer methods.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RegisterResponse {
    /// That of the `register`.
    id: Option<String>,
    success: bool,
    registered_methods: Vec<String>,
    failed_methods: Vec<String>,
    failures: Vec<FailedMethod>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct FailedMethod {
    method: String,
    #[schemars(schema_with = "code")]
    code: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Failure {
    channel: String,
    #[schemars(schema_with = "code")]
    code: String,
}

/// Before anything else of the channel.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Subscribed {
    channel: String,
    epoch: String,
    seq: u64,
    oldest_seq: u64,
    recovered: Option<bool>,
    #[schemars(extend("enum" = ["epoch_changed", "trimmed", "too_far"]))]
    reason: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Unsubscribed {
    channel: String,
    reason: Option<String>,
}

/// Of an event for connections, or to who was not sent everything up to the event, it has no position.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("dependentRequired" = { "epoch": ["seq"], "seq": ["epoch"] }))]
struct Ack {
    id: String,
    channel: String,
    epoch: Option<String>,
    seq: Option<u64>,
    duplicate: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Nack {
    id: String,
    #[schemars(schema_with = "code")]
    code: String,
    message: String,
    retryable: bool,
    retry_after_ms: Option<u64>,
}

/// These events were not sent in their place.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Gap {
    channel: String,
    from_seq: u64,
    to_seq: u64,
    reason: String,
    lost: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Draining {
    reconnect_after_ms: u64,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TokenExpiring {
    expires_in_ms: u64,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{ "required": ["result"] }, { "required": ["error"] }]))]
struct Response {
    id: String,
    result: Option<Value>,
    /// The gateway's own have `code`, `message` and `retryable`; a service's is in its own words.
    error: Option<Map<String, Value>>,
}

/// To a connection that registered the method.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Request {
    id: String,
    method: String,
    params: Value,
    user_id: String,
    connection_id: String,
}

/// To the connection that was asked: nobody waits for the answer any more.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Cancel {
    id: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ChatMessage {
    message: Message,
    session_id: String,
    content: String,
    role: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Message {
    id: String,
    role: String,
    content: String,
    session_id: String,
    user_id: String,
    timestamp: String,
    attachments: Option<Vec<Value>>,
    metadata: Option<Map<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TripUpdateBroadcast {
    trip_id: String,
    updated_by: String,
    #[schemars(extend("const" = "field_change"))]
    update_type: String,
    changes: std::collections::BTreeMap<String, Changed>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Changed {
    new_value: Value,
}

/// Who is in a channel: everybody, who came and who went, or only how many.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("dependentRequired" = { "full": ["joined"], "joined": ["left"], "left": ["joined"] }))]
struct Presence {
    channel: String,
    version: u64,
    after_seq: u64,
    #[schemars(extend("const" = true))]
    full: Option<bool>,
    joined: Option<Vec<Person>>,
    left: Option<Vec<Person>>,
    count: u64,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Person {
    user_id: String,
    connection_id: String,
    /// It is the user's first connection here.
    #[schemars(extend("const" = true))]
    first: Option<bool>,
    /// It was the user's last one here.
    #[schemars(extend("const" = true))]
    last: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ChatTyping {
    session_id: String,
    user_id: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct UserTyping {
    trip_id: String,
    user_id: String,
    field: Option<String>,
}

/// What the client wrote, with who and where.
#[derive(JsonSchema)]
struct Passed {
    trip_id: String,
    user_id: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Collaborators {
    trip_id: String,
    collaborators: Vec<Collaborator>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Collaborator {
    user_id: String,
    #[schemars(extend("const" = "active"))]
    status: String,
}

/// Under `data` as well, where the seeds' clients look for it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CollaboratorMoved {
    user: User,
    user_id: String,
    trip_id: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct User {
    id: String,
    user_id: String,
}

/// In the words of who sent it.
#[derive(JsonSchema)]
struct Any {}

/// Nothing of what was said is left.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Erased {}

fn code(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let names: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    schemars::json_schema!({ "enum": names })
}

/// Where an event belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// To the connection.
    Notice,
    /// To connections, from a service.
    Direct,
    /// To a channel, where it has a number.
    Channel,
    /// In a channel, in the place of an event whose user was erased.
    Erased,
    /// To a channel, of which nothing is kept.
    Passing,
    /// The same with its payload under `data` as well.
    Twice,
    /// To the connection that is to answer a request.
    Asked,
}

/// Every type of event that the gateway itself makes.
fn events() -> Vec<(&'static str, Place, Value)> {
    use Place::{Asked, Channel, Notice, Passing, Twice};
    let mut events = vec![
        ("connection_established", Notice, described::<ConnectionEstablished>()),
        ("connection_heartbeat", Notice, described::<ConnectionHeartbeat>()),
        ("pong", Notice, described::<Pong>()),
        ("connection_error", Notice, described::<ConnectionError>()),
        ("connection_close", Notice, described::<ConnectionClose>()),
        ("subscribe_response", Notice, described::<SubscribeResponse>()),
        ("register_response", Notice, described::<RegisterResponse>()),
        ("subscribed", Notice, described::<Subscribed>()),
        ("unsubscribed", Notice, described::<Unsubscribed>()),
        ("ack", Notice, described::<Ack>()),
        ("nack", Notice, described::<Nack>()),
        ("gap", Notice, described::<Gap>()),
        ("erased", Place::Erased, described::<Erased>()),
        ("draining", Notice, described::<Draining>()),
        ("token_expiring", Notice, described::<TokenExpiring>()),
        ("response", Notice, described::<Response>()),
        ("request", Asked, described::<Request>()),
        ("cancel", Notice, described::<Cancel>()),
        ("chat_message", Channel, described::<ChatMessage>()),
        ("trip_update_broadcast", Channel, described::<TripUpdateBroadcast>()),
        ("system_stats", Channel, described::<SystemStats>()),
        ("presence", Passing, described::<Presence>()),
        ("chat_typing_start", Passing, described::<ChatTyping>()),
        ("chat_typing_stop", Passing, described::<ChatTyping>()),
        ("user_typing", Passing, described::<UserTyping>()),
        ("user_stop_typing", Passing, described::<UserTyping>()),
        ("cursor_update", Passing, described::<Passed>()),
        ("trip_collaborator_presence", Passing, described::<Collaborators>()),
        ("collaborator_joined", Twice, described::<CollaboratorMoved>()),
        ("collaborator_left", Twice, described::<CollaboratorMoved>()),
    ];
    let relays = ROWS.iter().filter(|row| row.ask == Ask::Relay);
    events.extend(relays.map(|row| (row.name, Passing, described::<Passed>())));
    let reports = ROWS.iter().filter(|row| row.ask == Ask::Report);
    events.extend(reports.map(|row| (row.name, Channel, described::<Any>())));
    events
}

/// The envelope of an event.
fn envelope(kind: &Value, place: Place, payload: &Value) -> Value {
    let mut properties = json!({
        "id": {
            "type": "string",
            "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
        },
        "type": kind,
        "timestamp": {
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
        },
        "user_id": { "type": "string" },
        "session_id": { "type": "string" },
        "payload": payload,
    });
    let mut required = vec!["id", "type", "timestamp", "payload"];
    if matches!(place, Place::Passing | Place::Twice) {
        required.push("channel");
        properties["channel"] = json!({ "type": "string" });
    }
    if place == Place::Twice {
        required.push("data");
        properties["data"] = payload.clone();
    }
    if matches!(place, Place::Direct | Place::Channel) {
        required.push("user_id");
        properties["op_id"] = json!({ "type": "string" });
    }
    if matches!(place, Place::Direct | Place::Channel | Place::Asked) {
        // Of version 00 and in no other form, whatever form it came in.
        let pattern = "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$";
        properties["traceparent"] = json!({ "type": "string", "pattern": pattern });
    }
    if let (Place::Erased, Some(properties)) = (place, properties.as_object_mut()) {
        properties.remove("user_id");
    }
    if matches!(place, Place::Channel | Place::Erased) {
        required.extend(["channel", "seq", "epoch"]);
        properties["channel"] = json!({ "type": "string" });
        properties["seq"] = json!({ "type": "integer", "minimum": 1, "maximum": waystation::limits::SEQ_MAX });
        properties["epoch"] = json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" });
    }
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

/// The schema of everything that the gateway says to a client of `/ws…`.
#[must_use]
pub fn schema() -> Value {
    let events = events();
    let names: Vec<&str> = events.iter().map(|(name, ..)| *name).collect();
    let published = json!({ "type": "string", "not": { "enum": names } });
    let mut defs = Map::new();
    defs.insert("welcome".to_owned(), described::<Welcome>());
    defs.insert("unwelcome".to_owned(), described::<Unwelcome>());
    defs.insert("published".to_owned(), envelope(&published, Place::Channel, &json!({ "type": "object" })));
    defs.insert("direct".to_owned(), envelope(&published, Place::Direct, &json!({ "type": "object" })));
    for (name, place, payload) in &events {
        defs.insert((*name).to_owned(), envelope(&json!({ "const": name }), *place, payload));
    }
    let of = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let all: Vec<Value> = names.iter().map(|name| of(name)).chain([of("published"), of("direct")]).collect();
    defs.insert("event".to_owned(), json!({ "oneOf": all }));
    let batch = json!({
        "type": "object",
        "required": ["type", "events"],
        "properties": {
            "type": { "const": "batch" },
            "events": { "type": "array", "minItems": 2, "maxItems": waystation::limits::BUNDLE_EVENTS_MAX, "items": of("event") },
        },
        "additionalProperties": false,
    });
    defs.insert("batch".to_owned(), batch);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What the gateway sends",
        "description": "The answer to an authentication frame, an event, or several events for a client that asked for it. Further fields and further types of events may come; a client ignores what it does not know.",
        "oneOf": [of("welcome"), of("unwelcome"), of("event"), of("batch")],
        "$defs": defs,
    });
    without_null(&mut schema);
    schema
}

/// The types of events that the gateway itself makes.
#[must_use]
pub fn names() -> Vec<&'static str> {
    events().into_iter().map(|(name, ..)| name).collect()
}
