//! What clients send.
#![expect(dead_code, reason = "the types describe messages; none is ever made of them")]

use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use waystation::envelope::kinds::{Ask, Form, ROWS, Row};
use waystation::limits;

use super::described;

/// Joins the gateway, or renews the token.
#[derive(JsonSchema)]
struct Auth {
    #[schemars(length(min = 1, max = limits::TOKEN_BYTES_MAX))]
    token: Option<String>,
    #[schemars(length(min = 1, max = limits::TOKEN_BYTES_MAX))]
    access_token: Option<String>,
    #[schemars(rename = "accessToken", length(min = 1, max = limits::TOKEN_BYTES_MAX))]
    access_token_camel: Option<String>,
    session_id: Option<String>,
    #[schemars(rename = "sessionId")]
    session_id_camel: Option<String>,
    /// Channels to join at once.
    #[schemars(length(max = limits::CHANNELS_PER_MESSAGE_MAX))]
    channels: Option<Vec<String>>,
    /// Where the client was in channels that it joins again.
    #[schemars(length(max = limits::CHANNELS_PER_MESSAGE_MAX))]
    resume: Option<Vec<Resume>>,
    client: Option<Client>,
}

#[derive(JsonSchema)]
struct Resume {
    channel: String,
    epoch: String,
    #[schemars(range(max = limits::SEQ_MAX))]
    seq: u64,
}

/// Who the client is. One that says so is known, and told more.
#[derive(JsonSchema)]
struct Client {
    #[schemars(length(min = 1, max = limits::CLIENT_NAME_BYTES_MAX))]
    name: String,
    #[schemars(length(max = limits::CLIENT_NAME_BYTES_MAX))]
    version: Option<String>,
    /// Several events in one frame, as `batch`.
    batch: Option<bool>,
}

/// Joins channels and leaves others. A name that no channel has fails alone.
#[derive(JsonSchema)]
#[schemars(extend("anyOf" = [
    { "required": ["channels"] }, { "required": ["unsubscribe_channels"] }, { "required": ["unsubscribeChannels"] }
]))]
struct Subscribe {
    #[schemars(length(max = limits::CHANNELS_PER_MESSAGE_MAX))]
    channels: Option<Vec<String>>,
    unsubscribe_channels: Option<Vec<String>>,
    #[schemars(rename = "unsubscribeChannels")]
    unsubscribe_channels_camel: Option<Vec<String>>,
    /// Where the client was, by channel.
    since: Option<std::collections::BTreeMap<String, Position>>,
    /// The consumers that share the events of a pattern's channels with this one; for services.
    #[schemars(length(min = 1, max = limits::EVENT_TYPE_BYTES_MAX))]
    group: Option<String>,
}

#[derive(JsonSchema)]
struct Position {
    epoch: String,
    #[schemars(range(max = limits::SEQ_MAX))]
    seq: u64,
}

/// Leaves channels.
#[derive(JsonSchema)]
#[schemars(extend("anyOf" = [
    { "required": ["channels"] }, { "required": ["unsubscribe_channels"] }, { "required": ["unsubscribeChannels"] }
]))]
struct Unsubscribe {
    #[schemars(length(max = limits::CHANNELS_PER_MESSAGE_MAX))]
    channels: Option<Vec<String>>,
    unsubscribe_channels: Option<Vec<String>>,
    #[schemars(rename = "unsubscribeChannels")]
    unsubscribe_channels_camel: Option<Vec<String>>,
}

/// Says something in a chat. Whatever else stands beside goes on under `metadata`.
#[derive(JsonSchema)]
struct Chat {
    #[schemars(length(min = 1))]
    content: String,
    /// For those who hold the verb `stream`; `user` for all others.
    role: Option<String>,
    attachments: Option<Vec<Value>>,
    metadata: Option<Map<String, Value>>,
}

/// Writes fields of a trip: one as `field` and `value`, or many by their names.
#[derive(JsonSchema)]
#[schemars(extend("minProperties" = 1, "dependentRequired" = { "field": ["value"] }))]
struct TripUpdate {
    #[schemars(length(min = 1, max = limits::FIELD_NAME_BYTES_MAX))]
    field: Option<String>,
    value: Option<Value>,
}

/// Sends an event of any type that is not the gateway's own.
#[derive(JsonSchema)]
#[schemars(extend("anyOf" = [{ "required": ["payload"] }, { "required": ["data"] }]))]
struct Publish {
    /// Without it the envelope's, else the endpoint's.
    channel: Option<String>,
    #[schemars(rename = "type", length(min = 1, max = limits::EVENT_TYPE_BYTES_MAX))]
    kind: String,
    payload: Option<Map<String, Value>>,
    data: Option<Map<String, Value>>,
}

/// Says that the sender writes, or writes no more.
#[derive(JsonSchema)]
struct Typing {
    is_typing: Option<bool>,
    #[schemars(rename = "isTyping")]
    is_typing_camel: Option<bool>,
    field: Option<String>,
    field_name: Option<String>,
    #[schemars(rename = "fieldName")]
    field_name_camel: Option<String>,
}

/// Goes on as it is.
#[derive(JsonSchema)]
struct Any {}

/// Asks the gateway or a service.
#[derive(JsonSchema)]
struct Request {
    #[schemars(length(min = 1, max = limits::EVENT_TYPE_BYTES_MAX))]
    method: String,
    params: Option<Value>,
    /// Without it the envelope's.
    #[schemars(length(min = 1, max = limits::OPERATION_ID_BYTES_MAX))]
    id: Option<String>,
}

/// Answers a request.
#[derive(JsonSchema)]
#[schemars(extend("anyOf" = [{ "required": ["result"] }, { "required": ["error"] }]))]
struct Response {
    id: Option<String>,
    result: Option<Value>,
    error: Option<Map<String, Value>>,
}

/// Offers to answer requests for these methods.
#[derive(JsonSchema)]
struct Register {
    #[schemars(length(max = limits::METHODS_PER_MESSAGE_MAX))]
    methods: Vec<String>,
}

/// Takes a request back.
#[derive(JsonSchema)]
struct Cancel {
    id: Option<String>,
}

/// Says how far a channel was read.
#[derive(JsonSchema)]
struct Ack {
    channel: Option<String>,
    epoch: String,
    #[schemars(range(max = limits::SEQ_MAX))]
    seq: u64,
}

/// Several messages, in order, each as if it had come alone; one that is malformed fails alone.
#[derive(JsonSchema)]
struct Batch {
    #[schemars(length(max = limits::BATCH_MESSAGES_MAX))]
    messages: Vec<Value>,
}

/// Keeps the connection alive.
#[derive(JsonSchema)]
struct Alive {
    /// Repeated in a `pong`.
    timestamp: Option<Value>,
}

fn body(ask: Ask) -> Value {
    match ask {
        Ask::Auth => described::<Auth>(),
        Ask::Subscribe => described::<Subscribe>(),
        Ask::Unsubscribe => described::<Unsubscribe>(),
        Ask::Chat => described::<Chat>(),
        Ask::TripUpdate => described::<TripUpdate>(),
        Ask::Publish => described::<Publish>(),
        Ask::Typing | Ask::TypingStop => described::<Typing>(),
        Ask::Cursor | Ask::Relay | Ask::Report | Ask::Call => described::<Any>(),
        Ask::Request => described::<Request>(),
        Ask::Response => described::<Response>(),
        Ask::Register => described::<Register>(),
        Ask::Cancel => described::<Cancel>(),
        Ask::Ack => described::<Ack>(),
        Ask::Batch => described::<Batch>(),
        Ask::Heartbeat | Ask::Ping | Ask::Pong => described::<Alive>(),
    }
}

/// Where one of these stands in the body, wherever that is.
fn somewhere(form: Form, names: &[&str]) -> Vec<Value> {
    let wrapped = ["payload", "data"].into_iter().flat_map(|place| {
        names.iter().map(move |name| json!({ "required": [place], "properties": { place: { "required": [name] } } }))
    });
    let beside = names.iter().filter(|_| form == Form::Any).map(|name| json!({ "required": [name] }));
    wrapped.chain(beside).collect()
}

/// One type of message, with its body in every place where it may stand.
fn message(row: &Row) -> Value {
    let names: Vec<&str> = std::iter::once(row.name).chain(row.aliases.iter().copied()).collect();
    let name =
        json!({ "type": ["string", "null"], "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", "maxLength": 128 });
    let channel =
        json!({ "type": ["string", "null"], "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", "maxLength": 144 });
    let none = json!({ "not": { "type": "object" } });
    let body = json!({ "$ref": format!("#/$defs/{:?}", row.ask) });
    let mut places = vec![
        json!({ "required": ["payload"], "properties": { "payload": body } }),
        json!({ "required": ["data"], "properties": { "data": body, "payload": none } }),
    ];
    if row.form == Form::Any {
        places.push(json!({ "allOf": [body], "properties": { "payload": none, "data": none } }));
    }
    let mut all = vec![json!({ "anyOf": places })];
    let mut required = vec!["type"];
    match row.ask {
        Ask::Auth => {
            // A frame without a type is one if it has a token.
            required.clear();
            let mut known = somewhere(row.form, &["token", "access_token"]);
            known.push(json!({ "required": ["type"] }));
            all.push(json!({ "anyOf": known }));
        }
        Ask::Request | Ask::Response | Ask::Cancel => {
            all.push(json!({ "anyOf": somewhere(row.form, &["id"]) }));
        }
        _ => {}
    }
    json!({
        "title": row.name,
        "type": "object",
        "required": required,
        "properties": {
            "type": { "enum": names },
            "id": name,
            "channel": channel,
            "ack": { "type": ["boolean", "null"] },
            "exclude_sender": { "type": ["boolean", "null"] },
            "excludeSender": { "type": ["boolean", "null"] },
            "priority": { "enum": [1, 2, 3, "critical", "high", "normal", "medium", "low", null] },
            // What is none is dropped, and the message is done all the same.
            "traceparent": { "description": "W3C Trace Context: version, trace, parent and flags; 55 characters" },
        },
        "allOf": all,
    })
}

/// The schema of everything that a client may send and that is understood.
#[must_use]
pub fn schema() -> Value {
    let defs: Map<String, Value> = ROWS.iter().map(|row| (format!("{:?}", row.ask), body(row.ask))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What a client sends",
        "description": "The body stands under payload, else under data, else beside the envelope's own fields; publish and batch are never flat. null is as good as absent.",
        "oneOf": ROWS.iter().map(message).collect::<Vec<_>>(),
        "$defs": defs,
    })
}
