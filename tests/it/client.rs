//! A well-behaved client: `tungstenite` over a blocking socket, with a deadline on every read.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::error::ProtocolError;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::gateway::{Gateway, SOON};

/// How long an event of a type is waited for while others come: longer than any deadline of the protocol.
const EVENT_WITHIN: Duration = Duration::from_secs(180);

/// What a connection brings.
#[derive(Debug)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    /// The close frame's code and reason.
    Close(Option<u16>, String),
    /// The end of the connection.
    End,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) socket: WebSocket<TcpStream>,
    /// The sub-protocol that the server chose.
    pub(crate) protocol: Option<String>,
    /// The `subscribed` event of the endpoint's own channel.
    pub(crate) subscribed: Value,
    /// Whether [`Client::event`] gives what is told of others in a channel.
    pub(crate) hears_company: bool,
    /// Heartbeats that it sent and that are not answered yet. Others come by themselves where a test takes long.
    heartbeats: usize,
}

impl Client {
    /// Opens a WebSocket with further headers.
    ///
    /// # Errors
    /// The HTTP status and body of a refusal.
    pub(crate) fn try_open(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Result<Self, (u16, String)> {
        let stream = TcpStream::connect(gateway.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("ws://{}{path}", gateway.address).into_client_request().unwrap();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        match tungstenite::client::client(request, stream) {
            Ok((socket, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol");
                let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
                Ok(Self { socket, protocol, subscribed: Value::Null, hears_company: false, heartbeats: 0 })
            }
            Err(HandshakeError::Failure(Error::Http(response))) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), String::from_utf8(body).unwrap()))
            }
            Err(other) => panic!("no HTTP answer: {other}"),
        }
    }

    /// Opens a WebSocket that is not authenticated yet.
    pub(crate) fn open(gateway: &Gateway, path: &str) -> Self {
        match Self::try_open(gateway, path, &[]) {
            Ok(client) => client,
            Err(refusal) => panic!("{path} is refused: {refusal:?}"),
        }
    }

    /// As the seeds' client: opens, sends the token, and reads up to the `subscribed` of the endpoint's
    /// channel, if it has one.
    pub(crate) fn join(gateway: &Gateway, path: &str, token: &str) -> Self {
        Self::join_with(gateway, path, &json!({ "token": token }))
    }

    /// As [`Client::join`], as a client that says its name.
    pub(crate) fn join_known(gateway: &Gateway, path: &str, token: &str) -> Self {
        Self::join_with(gateway, path, &json!({ "token": token, "client": { "name": "it", "version": "1" } }))
    }

    /// As [`Client::join`], with another first frame.
    pub(crate) fn join_with(gateway: &Gateway, path: &str, auth: &Value) -> Self {
        let mut client = Self::open(gateway, path);
        client.send(auth);
        let reply = client.event();
        assert_eq!(reply["success"], true, "{reply}");
        assert_eq!(client.event()["type"], "connection_established");
        if path.contains("/ws/") {
            client.subscribed = client.event();
            assert_eq!(client.subscribed["type"], "subscribed", "{}", client.subscribed);
        }
        client
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    /// Sends all of them in one write: the server reads them at one moment, however slow this client is.
    pub(crate) fn send_at_once(&mut self, messages: &[Value]) {
        for message in messages {
            self.socket.write(Message::text(message.to_string())).unwrap();
        }
        self.socket.flush().unwrap();
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.heartbeats += text.matches(r#""type":"heartbeat""#).count();
        self.socket.send(Message::text(text)).unwrap();
    }

    /// The next thing that comes.
    pub(crate) fn next(&mut self) -> Seen {
        let read = loop {
            match self.socket.read() {
                // signal(7): a read with a timeout is not restarted after the process was stopped.
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(Message::Text(text)) => Seen::Text(text.to_string()),
            Ok(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(Message::Ping(_)) => Seen::Ping,
            Ok(Message::Pong(bytes)) => Seen::Pong(bytes.to_vec()),
            Ok(Message::Close(None)) => Seen::Close(None, String::new()),
            Ok(Message::Close(Some(frame))) => Seen::Close(Some(frame.code.into()), frame.reason.to_string()),
            Ok(Message::Frame(_)) => unreachable!("reading gives no bare frames"),
            Err(Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Seen::End,
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => Seen::End,
            Err(other) => panic!("nothing more came in time: {other}"),
        }
    }

    /// The next text, as it came.
    pub(crate) fn text(&mut self) -> String {
        loop {
            match self.next() {
                Seen::Text(text) => return text,
                Seen::Ping | Seen::Pong(_) => {}
                other => panic!("a text was expected: {other:?}"),
            }
        }
    }

    /// The next text, which is JSON. What is told of others in a channel comes at times of its own and is passed
    /// over, unless the client listens to it.
    pub(crate) fn event(&mut self) -> Value {
        loop {
            let event: Value = serde_json::from_str(&self.text()).unwrap();
            if event["type"] == "connection_heartbeat" {
                if self.heartbeats == 0 {
                    continue;
                }
                self.heartbeats -= 1;
            }
            if self.hears_company || !event["type"].as_str().is_some_and(|kind| COMPANY.contains(&kind)) {
                return event;
            }
        }
    }

    /// The next event of a type; others on the way are passed over. Heartbeats alone would keep it waiting for ever.
    pub(crate) fn event_of(&mut self, kind: &str) -> Value {
        let (since, mut passed) = (Instant::now(), Vec::new());
        while since.elapsed() < EVENT_WITHIN {
            let event = self.event();
            if event["type"] == kind {
                return event;
            }
            passed.push(event["type"].to_string());
        }
        panic!("no {kind} within {EVENT_WITHIN:?}, only {}", passed.join(" "));
    }

    /// Everything that was on its way: what comes before the answer to a ping, which has the lowest lane.
    pub(crate) fn pending(&mut self) -> Vec<Value> {
        self.send(&json!({ "type": "ping" }));
        let mut events = Vec::new();
        loop {
            let event = self.event();
            if event["type"] == "pong" {
                return events;
            }
            events.push(event);
        }
    }

    /// Everything up to the close frame, its code, and its reason; then the connection ends.
    pub(crate) fn closing(&mut self) -> (Vec<Value>, u16, String) {
        let mut events = Vec::new();
        loop {
            match self.next() {
                Seen::Text(text) => events.push(serde_json::from_str(&text).unwrap()),
                Seen::Close(code, reason) => {
                    assert!(matches!(self.next(), Seen::End), "nothing follows a close frame");
                    return (events, code.unwrap(), reason);
                }
                Seen::Ping | Seen::Pong(_) => {}
                other => panic!("closed without a close frame: {other:?}"),
            }
        }
    }

    /// Begins the closing handshake.
    pub(crate) fn close(&mut self) {
        self.socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).unwrap();
    }

    /// How long a read may take from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.socket.get_ref().set_read_timeout(Some(patience)).unwrap();
    }

    /// Joins further channels and reads the answer and each `subscribed`, by channel in the order asked.
    pub(crate) fn subscribe(&mut self, channels: &[&str]) -> Vec<Value> {
        self.send(&json!({ "type": "subscribe", "payload": { "channels": channels } }));
        let answer = self.event_of("subscribe_response");
        assert_eq!(answer["payload"]["success"], true, "{answer}");
        let mut all: Vec<Value> = channels.iter().map(|_| self.event_of("subscribed")).collect();
        let place = |event: &Value| channels.iter().position(|name| event["payload"]["channel"] == *name);
        all.sort_by_key(place);
        all
    }

    /// Publishes with an operation id and asks for the acknowledgement.
    pub(crate) fn publish(&mut self, channel: &str, id: &str, payload: &Value) {
        self.send(&json!({
            "type": "publish", "id": id, "ack": true,
            "payload": { "channel": channel, "type": "note", "payload": payload },
        }));
    }
}

/// Events about who is in a channel.
pub(crate) const COMPANY: [&str; 4] =
    ["presence", "collaborator_joined", "collaborator_left", "trip_collaborator_presence"];

/// Whether a `null` is anywhere in it: the seeds' client drops such an event, or itself.
pub(crate) fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}
