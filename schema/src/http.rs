//! The HTTP interface as an OpenAPI 3.1 document: its paths, who may ask, what is asked and what is answered.

mod bodies;

use serde_json::{Map, Value, json};
use waystation::limits::{
    ADMIN_LIST_DEFAULT, ADMIN_LIST_MAX, CHANNEL_NAME_BYTES_MAX, HISTORY_PAGE_DEFAULT, HISTORY_PAGE_MAX, SEQ_MAX,
    USER_ID_BYTES_MAX,
};

use super::{described, without_null};
use bodies::{
    Batch, Broadcast, Closed, Connections, Disconnect, Disconnected, Erased, ErasedUser, Health, History, Numbers,
    Presence, Problem, Publish, Published, Results, Status, Unsubscribe, Unsubscribed,
};

/// Who may ask.
#[derive(Clone, Copy)]
enum Access {
    Public,
    Admin,
    Operator,
    Backend,
    Subscriber,
}

impl Access {
    const fn told(self) -> &'static str {
        match self {
            Self::Public => "Anybody.",
            Self::Admin => "A token that grants admin for all channels, or this machine if admin.loopback is set.",
            Self::Operator => "An admin, or a service whose token has no caps.",
            Self::Backend => "A token with the role service, for what its caps let it do in the channel.",
            Self::Subscriber => "A token that may subscribe to the channel, also as ?token=.",
        }
    }
}

/// An operation: method and path, what it does, who may ask, its body and its good answer.
struct Operation {
    at: (&'static str, &'static str),
    does: &'static str,
    access: Access,
    parameters: Vec<Value>,
    body: Option<Value>,
    answer: Answer,
    /// Statuses of refusals beside those that access brings.
    refusals: &'static [u16],
}

enum Answer {
    Json(Value),
    Other(&'static str),
    /// No content of its own: a redirect to another protocol.
    Upgrade,
}

/// What is answered with 503 in the form of a good answer.
const DEGRADED: [&str; 2] = ["/healthz", "/api/ws/health"];

/// The document.
#[must_use]
pub fn schema() -> Value {
    let mut paths = Map::new();
    for operation in operations() {
        let (method, path) = operation.at;
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method.to_lowercase()] = written(&operation);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Waystation over HTTP",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "What backends, operators and programs without a socket ask.",
            "description": "docs/PROTOCOL.md says what is meant; this says the shapes. Every path /api/ws/… is served under /ws/… too. HEAD is answered as GET without content.",
        },
        "servers": [{ "url": "http://127.0.0.1:8080", "description": "A server of one's own" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": { "Problem": described::<Problem>() },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    });
    without_null(&mut document);
    document
}

/// Methods and paths of all operations.
#[must_use]
pub fn routes() -> Vec<(&'static str, &'static str)> {
    operations().into_iter().map(|operation| operation.at).collect()
}

fn written(operation: &Operation) -> Value {
    let Operation { at: (method, path), does, access, parameters, body, answer, refusals } = operation;
    let mut responses = Map::new();
    match answer {
        Answer::Json(schema) => {
            responses.insert(
                "200".to_owned(),
                json!({
                    "description": "Done.", "content": { "application/json": { "schema": schema } }
                }),
            );
        }
        Answer::Other(kind) => {
            let content = json!({ *kind: { "schema": { "type": "string" } } });
            responses.insert("200".to_owned(), json!({ "description": "As it is.", "content": content }));
        }
        Answer::Upgrade => {
            responses.insert("101".to_owned(), json!({ "description": "A WebSocket: see asyncapi.json." }));
        }
    }
    if DEGRADED.contains(path) {
        let well = responses["200"]["content"].clone();
        responses.insert("503".to_owned(), json!({ "description": "Not now, or not all of it.", "content": well }));
    }
    let of_access: &[u16] = if matches!(access, Access::Public) { &[] } else { &[401, 403] };
    let of_body: &[u16] = if body.is_some() { &[400, 408, 411, 413, 415] } else { &[] };
    for status in of_access.iter().chain(of_body).chain(*refusals) {
        let content = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        responses.insert(status.to_string(), json!({ "description": refusal(*status), "content": content }));
    }
    let id: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty()).map(|part| part.trim_matches(['{', '}'])).collect();
    let mut written = json!({
        "operationId": format!("{}_{}", method.to_lowercase(), if id.is_empty() { "page".to_owned() } else { id.join("_") }),
        "summary": does,
        "description": access.told(),
        "responses": responses,
    });
    let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(|name| {
        let most = if name == "channel" { CHANNEL_NAME_BYTES_MAX } else { USER_ID_BYTES_MAX };
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1, "maxLength": most } })
    });
    let parameters: Vec<Value> = in_path.chain(parameters.iter().cloned()).collect();
    if !parameters.is_empty() {
        written["parameters"] = json!(parameters);
    }
    if matches!(access, Access::Public) {
        written["security"] = json!([]);
    }
    if let Some(body) = body {
        written["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": body } } });
    }
    written
}

const fn refusal(status: u16) -> &'static str {
    match status {
        400 => "What was asked is malformed.",
        401 => "No token, or none that is good.",
        403 => "The token does not permit it.",
        404 => "It is not there.",
        408 => "The body did not come in time.",
        409 => "The id was used for something else.",
        411 => "The body has no Content-Length.",
        413 => "The body, or the event, is over its bound.",
        415 => "The body is not application/json.",
        426 => "Without an upgrade there is nothing here.",
        503 => "Not now; Retry-After says when.",
        504 => "Not in time: it may have been done.",
        _ => "Refused.",
    }
}

fn query(name: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "schema": schema })
}

fn operations() -> Vec<Operation> {
    let mut all = seen();
    all.extend(backends());
    all.extend(operators());
    all.extend(sockets());
    all
}

fn plain(at: (&'static str, &'static str), does: &'static str, access: Access, answer: Answer) -> Operation {
    Operation { at, does, access, parameters: Vec::new(), body: None, answer, refusals: &[] }
}

/// Health and numbers.
fn seen() -> Vec<Operation> {
    let status = || Answer::Json(described::<Status>());
    let mut all = vec![
        plain(("GET", "/health"), "Whether the server answers", Access::Public, status()),
        plain(("GET", "/api/health"), "Whether the server answers", Access::Public, status()),
        Operation {
            refusals: &[503],
            ..plain(("GET", "/readyz"), "Whether new clients are welcome", Access::Public, status())
        },
        plain(("GET", "/healthz"), "Whether every shard turns", Access::Public, status()),
        plain(("GET", "/"), "The status page", Access::Public, Answer::Other("text/html")),
        plain(("GET", "/metrics"), "Numbers for Prometheus", Access::Admin, Answer::Other("text/plain")),
        plain(
            ("GET", "/api/ws/health"),
            "Whether all shards answer, and counts",
            Access::Public,
            Answer::Json(described::<Health>()),
        ),
        plain(
            ("GET", "/api/ws/metrics"),
            "Numbers under the names of the seeds' servers",
            Access::Admin,
            Answer::Json(described::<Numbers>()),
        ),
        plain(
            ("GET", "/api/v1/ws/stats"),
            "Who is in which trip",
            Access::Admin,
            Answer::Json(json!({ "type": "object" })),
        ),
    ];
    let limit = json!({ "type": "integer", "minimum": 1, "default": ADMIN_LIST_DEFAULT, "description": format!("At most {ADMIN_LIST_MAX} are given.") });
    all.push(Operation {
        parameters: vec![
            query("limit", limit),
            query("cursor", json!({ "type": "string", "description": "next_cursor of the page before" })),
        ],
        refusals: &[400, 503, 504],
        ..plain(
            ("GET", "/api/ws/connections"),
            "Connections, page by page",
            Access::Admin,
            Answer::Json(described::<Connections>()),
        )
    });
    all
}

/// What backends ask.
fn backends() -> Vec<Operation> {
    let post = |path, does, body, answer, refusals| Operation {
        body: Some(body),
        refusals,
        ..plain(("POST", path), does, Access::Backend, Answer::Json(answer))
    };
    let number = || json!({ "type": "integer", "minimum": 0, "maximum": SEQ_MAX });
    let limit = json!({ "type": "integer", "minimum": 0, "default": HISTORY_PAGE_DEFAULT, "description": format!("At most {HISTORY_PAGE_MAX} are given.") });
    let epoch = json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" });
    vec![
        post(
            "/api/publish",
            "Publishes an event",
            described::<Publish>(),
            described::<Published>(),
            &[404, 409, 429, 503, 504],
        ),
        post(
            "/api/broadcast",
            "Publishes an event to several channels",
            described::<Broadcast>(),
            described::<Results>(),
            &[],
        ),
        post("/api/batch", "Publishes several events", described::<Batch>(), described::<Results>(), &[]),
        Operation {
            parameters: vec![
                query("since_epoch", epoch),
                query("since_seq", number()),
                query("until_seq", number()),
                query("limit", limit),
                query("reverse", json!({ "type": "boolean", "default": false })),
            ],
            refusals: &[400, 404, 503, 504],
            ..plain(
                ("GET", "/api/history/{channel}"),
                "What a channel had",
                Access::Backend,
                Answer::Json(described::<History>()),
            )
        },
        Operation {
            refusals: &[400, 503, 504],
            ..plain(
                ("GET", "/api/presence/{channel}"),
                "Who is in a channel",
                Access::Backend,
                Answer::Json(described::<Presence>()),
            )
        },
    ]
}

/// What operators ask.
fn operators() -> Vec<Operation> {
    let delete = |path, does, access, answer, refusals| Operation {
        refusals,
        ..plain(("DELETE", path), does, access, Answer::Json(answer))
    };
    let post = |path, does, body, answer| Operation {
        body: Some(body),
        refusals: &[404, 503, 504],
        ..plain(("POST", path), does, Access::Operator, Answer::Json(answer))
    };
    vec![
        delete(
            "/api/ws/connections/{connection_id}",
            "Closes a connection with 1012",
            Access::Admin,
            described::<Closed>(),
            &[404, 503, 504],
        ),
        delete(
            "/api/history/{channel}",
            "Erases a channel's events",
            Access::Operator,
            described::<Erased>(),
            &[400, 503, 504],
        ),
        delete(
            "/api/users/{user_id}",
            "Erases what a user has left",
            Access::Operator,
            described::<ErasedUser>(),
            &[400, 503, 504],
        ),
        post(
            "/api/disconnect",
            "Closes a user's connections, or one",
            described::<Disconnect>(),
            described::<Disconnected>(),
        ),
        post(
            "/api/unsubscribe",
            "Takes a user's connections, or one, out of channels",
            described::<Unsubscribe>(),
            described::<Unsubscribed>(),
        ),
    ]
}

/// What is no answer but a stream.
fn sockets() -> Vec<Operation> {
    let socket = |path| Operation {
        refusals: &[400, 426, 503],
        ..plain(("GET", path), "Opens a WebSocket: see asyncapi.json", Access::Subscriber, Answer::Upgrade)
    };
    let mut all: Vec<Operation> = [
        "/ws",
        "/ws/chat/{session_id}",
        "/ws/agent-status/{user_id}",
        "/ws/trips/{trip_id}/collab",
        "/ws/notifications/{user_id}",
        "/api/v1/ws/{user_id}",
        "/api/v1/ws/trip/{trip_id}",
    ]
    .into_iter()
    .map(socket)
    .collect();
    all.push(Operation {
        parameters: vec![query(
            "last_event_id",
            json!({ "type": "string", "description": "epoch:seq of the last event that was read" }),
        )],
        refusals: &[400, 404, 503],
        ..plain(
            ("GET", "/api/sse/{channel}"),
            "A channel's events as they come",
            Access::Subscriber,
            Answer::Other("text/event-stream"),
        )
    });
    all
}
