//! The TypeScript client that the seed system shipped, as it was seen on the wire: the first frame has no type, an
//! answer is told by its `success` before any type is looked at, an event passes only if the schema takes it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::wire::{Happened, Line, Pace, Turns};

/// What `WebSocketEventType` lists. Everything else is dropped without a word.
const TYPES: [&str; 21] = [
    "chat_message",
    "chat_message_chunk",
    "chat_message_complete",
    "chat_typing_start",
    "chat_typing_stop",
    "tool_call_start",
    "tool_call_progress",
    "tool_call_complete",
    "tool_call_error",
    "agent_status_update",
    "agent_task_start",
    "agent_task_progress",
    "agent_task_complete",
    "agent_error",
    "connection_established",
    "connection_error",
    "connection_heartbeat",
    "connection_close",
    "error",
    "notification",
    "system_message",
];
const HEARTBEAT_MS: u64 = 30_000;
const BATCH_MS: u64 = 10;
const BATCH_MAX: usize = 10;
const ATTEMPTS_MAX: u32 = 5;
const TIMESTAMP: &str = "2026-01-01T00:00:00.000Z";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Disconnected,
    Connecting,
    Authenticating,
    Connected,
    Reconnecting,
}

/// What a client is made with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) address: SocketAddr,
    pub(super) path: String,
    pub(super) token: String,
    /// Left out of the frame when undefined.
    pub(super) session: Option<String>,
    pub(super) channels: Vec<String>,
    /// `batchMessages`.
    pub(super) batches: bool,
    pub(super) pace: Pace,
}

impl Setup {
    /// The chat client's.
    pub(super) fn chat(address: SocketAddr, session: &str, token: &str) -> Self {
        Self {
            address,
            path: format!("/api/ws/chat/{session}"),
            token: token.to_owned(),
            session: Some(session.to_owned()),
            channels: vec![format!("session:{session}")],
            batches: false,
            pace: Pace::TRUE,
        }
    }

    /// The agent status client's.
    pub(super) fn agent(address: SocketAddr, user: &str, token: &str) -> Self {
        Self {
            path: format!("/api/ws/agent-status/{user}"),
            session: None,
            channels: vec![format!("agent_status:{user}")],
            ..Self::chat(address, user, token)
        }
    }

    pub(super) fn paced(self, pace: u32) -> Self {
        Self { pace: Pace(pace), ..self }
    }

    pub(super) fn batching(self) -> Self {
        Self { batches: true, ..self }
    }
}

/// The client.
#[derive(Debug)]
pub(super) struct Shipped {
    setup: Setup,
    line: Option<Line>,
    pub(super) status: Status,
    /// Told `success:false` on this socket, then.
    refused: Option<Instant>,
    attempts: u32,
    reconnect_at: Option<Instant>,
    heartbeat_at: Option<Instant>,
    flush_at: Option<Instant>,
    queue: Vec<Value>,
    /// Sockets opened in its life, refused ones too.
    pub(super) sockets: u32,
    /// The close codes that it saw.
    pub(super) closes: Vec<u16>,
    /// Events that the schema took.
    pub(super) events: Vec<Value>,
    /// Frames that it did not take.
    pub(super) dropped: Vec<Value>,
    /// What its `error` listeners were told.
    pub(super) errors: Vec<String>,
    /// The hook above it shows an error: an event of the type `error` collides with those listeners.
    pub(super) hook_fooled: bool,
    /// The accepted answer to the first frame.
    pub(super) reply: Value,
    heard: Instant,
    /// The longest time without anything from the server.
    pub(super) silence: Duration,
}

impl Shipped {
    /// `new WebSocketClient(…)` and `connect()`.
    pub(super) fn connect(setup: Setup) -> Self {
        let mut client = Self {
            setup,
            line: None,
            status: Status::Connecting,
            refused: None,
            attempts: 0,
            reconnect_at: None,
            heartbeat_at: None,
            flush_at: None,
            queue: Vec::new(),
            sockets: 0,
            closes: Vec::new(),
            events: Vec::new(),
            dropped: Vec::new(),
            errors: Vec::new(),
            hook_fooled: false,
            reply: Value::Null,
            heard: Instant::now(),
            silence: Duration::ZERO,
        };
        client.open();
        client
    }

    pub(super) fn is_connected(&self) -> bool {
        self.status == Status::Connected
    }

    /// Will open no further socket by itself.
    pub(super) fn has_stopped(&self) -> bool {
        self.status == Status::Disconnected && self.reconnect_at.is_none()
    }

    /// `send(type, payload)`.
    pub(super) fn send(&mut self, kind: &str, payload: &Value) {
        assert!(self.is_connected(), "WebSocket is not connected");
        let message = json!({ "type": kind, "payload": payload, "timestamp": TIMESTAMP });
        if !self.setup.batches || kind == "heartbeat" {
            return self.put(&message);
        }
        self.queue.push(message);
        if self.queue.len() >= BATCH_MAX {
            self.flush();
        } else {
            self.flush_at.get_or_insert_with(|| Instant::now() + Duration::from_millis(BATCH_MS));
        }
    }

    /// `disconnect()`.
    pub(super) fn disconnect(&mut self) {
        self.reconnect_at = None;
        if let Some(line) = &mut self.line {
            line.close(1000, "Client disconnect");
        }
    }

    /// What its code never sends: bytes.
    pub(super) fn send_bytes(&mut self, bytes: &'static [u8]) {
        if let Some(line) = self.line.as_mut() {
            line.send_bytes(bytes);
        }
    }

    /// The network goes, for this socket.
    pub(super) fn cut(&mut self) {
        if let Some(line) = &mut self.line {
            line.cut();
        }
    }

    /// Texts of the chat messages that arrived, in order.
    pub(super) fn contents(&self) -> Vec<&str> {
        let chats = self.events.iter().filter(|event| event["type"] == "chat_message");
        // `useChatMessages` reads `payload.message`.
        chats.map(|event| event["payload"]["message"]["content"].as_str().unwrap()).collect()
    }

    /// Accepted events of a type.
    pub(super) fn events_of(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["type"] == kind).collect()
    }

    /// Types of what it dropped, each once.
    pub(super) fn dropped_types(&self) -> Vec<&str> {
        let mut types: Vec<&str> = self.dropped.iter().filter_map(|event| event["type"].as_str()).collect();
        types.sort_unstable();
        types.dedup();
        types
    }

    fn put(&mut self, message: &Value) {
        if let Some(line) = &mut self.line {
            line.send(message);
        }
    }

    fn flush(&mut self) {
        self.flush_at = None;
        let messages = std::mem::take(&mut self.queue);
        if !messages.is_empty() {
            self.put(&json!({ "type": "batch", "payload": { "messages": messages }, "timestamp": TIMESTAMP }));
        }
    }

    fn open(&mut self) {
        self.sockets += 1;
        self.refused = None;
        self.reconnect_at = None;
        self.line = Some(Line::open(self.setup.address, &self.setup.path));
    }

    fn on_open(&mut self) {
        self.status = Status::Authenticating;
        self.heard = Instant::now();
        let mut first = Map::new();
        first.insert("token".to_owned(), json!(self.setup.token));
        if let Some(session) = &self.setup.session {
            first.insert("session_id".to_owned(), json!(session));
        }
        first.insert("channels".to_owned(), json!(self.setup.channels));
        self.put(&Value::Object(first));
    }

    fn on_text(&mut self, text: &str) {
        self.silence = self.silence.max(self.heard.elapsed());
        self.heard = Instant::now();
        let frame: Value = serde_json::from_str(text).unwrap();
        if frame.get("success").is_some() {
            self.on_reply(frame);
        } else if is_event(&frame) {
            self.hook_fooled |= frame["type"] == "error";
            self.events.push(frame);
        } else {
            self.dropped.push(frame);
        }
    }

    fn on_reply(&mut self, reply: Value) {
        if !is_reply(&reply) {
            self.errors.push(format!("no valid reply: {reply}"));
            self.line = None;
            self.retry();
        } else if reply["success"] == true {
            self.status = Status::Connected;
            self.attempts = 0;
            self.heartbeat_at = Some(Instant::now() + self.setup.pace.ms(HEARTBEAT_MS));
            self.reply = reply;
        } else {
            self.errors.push(reply["error"].as_str().unwrap_or_default().to_owned());
            self.refused = Some(Instant::now());
        }
    }

    fn on_close(&mut self, code: u16) {
        self.closes.push(code);
        self.line = None;
        self.heartbeat_at = None;
        self.flush_at = None;
        let was_connected = self.status == Status::Connected;
        if self.refused.is_some() {
            self.status = Status::Disconnected;
        } else if (was_connected && code != 1000) || (!was_connected && self.attempts > 0) {
            self.retry();
        } else {
            self.status = Status::Disconnected;
        }
    }

    /// 1000·2^(n-1) ms, five times between two successes, without jitter.
    fn retry(&mut self) {
        if self.attempts == ATTEMPTS_MAX {
            self.status = Status::Disconnected;
            return;
        }
        self.attempts += 1;
        self.status = Status::Reconnecting;
        self.reconnect_at = Some(Instant::now() + self.setup.pace.ms(1000 << (self.attempts - 1)));
    }
}

impl Turns for Shipped {
    fn turn(&mut self) {
        let now = Instant::now();
        if self.reconnect_at.is_some_and(|at| at <= now) {
            self.open();
        }
        if self.heartbeat_at.is_some_and(|at| at <= now) {
            self.heartbeat_at = Some(now + self.setup.pace.ms(HEARTBEAT_MS));
            self.send("heartbeat", &json!({ "timestamp": TIMESTAMP }));
        }
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush();
        }
        // Refused, but not closed: its `connect` fails, and it tries anew.
        if self.line.is_some() && self.refused.is_some_and(|at| now - at > self.setup.pace.ms(5000)) {
            self.line = None;
            self.retry();
        }
        match self.line.as_mut().and_then(Line::next) {
            Some(Happened::Open) => self.on_open(),
            Some(Happened::Text(text)) => self.on_text(&text),
            Some(Happened::Closed(code)) => self.on_close(code),
            Some(Happened::Error) | None => {}
        }
    }
}

/// `.optional()`: a string or nothing, and `null` is not nothing.
fn is_optional_string(frame: &Value, key: &str) -> bool {
    frame.get(key).is_none_or(Value::is_string)
}

/// `WebSocketAuthResponseSchema`.
fn is_reply(frame: &Value) -> bool {
    let channels = frame.get("available_channels");
    frame["success"].is_boolean()
        && frame["connection_id"].is_string()
        && ["user_id", "session_id", "error"].iter().all(|key| is_optional_string(frame, key))
        && channels.is_none_or(|all| all.as_array().is_some_and(|all| all.iter().all(Value::is_string)))
}

/// `WebSocketEventSchema`; further keys pass.
fn is_event(frame: &Value) -> bool {
    frame["id"].is_string()
        && frame["type"].as_str().is_some_and(|kind| TYPES.contains(&kind))
        && frame["timestamp"].is_string()
        && ["user_id", "session_id"].iter().all(|key| is_optional_string(frame, key))
        && frame["payload"].is_object()
}

#[test]
fn the_shipped_clients_schema_takes_and_drops_what_the_shipped_one_does() {
    let good = json!({ "id": "1", "type": "chat_message", "timestamp": "t", "payload": {}, "seq": 7 });
    assert!(is_event(&good));
    for (key, value) in [
        ("id", json!(1)),
        ("type", json!("subscribe_response")),
        ("timestamp", json!(1)),
        ("payload", json!([])),
        ("payload", json!(null)),
        ("user_id", json!(null)),
        ("session_id", json!(null)),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(!is_event(&bad), "{bad}");
    }
    let good = json!({ "success": true, "connection_id": "", "userId": 7 });
    assert!(is_reply(&good));
    for (key, value) in [
        ("success", json!("true")),
        ("connection_id", json!(null)),
        ("error", json!(null)),
        ("session_id", json!(null)),
        ("available_channels", json!([1])),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(!is_reply(&bad), "{bad}");
    }
}
