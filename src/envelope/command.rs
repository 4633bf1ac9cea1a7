//! What a client can ask for, read from a valid JSON object.
//!
//! Field by field: the type decides which fields are looked for and where. The body is `payload` if that is
//! an object, else `data` if that is, else the message itself, except for `publish`. Both casings are read.
//! A `user_id` from a client is never read: who sends is known from the token.
//!
//! Raw spans are slices of the message and go out as they came in. Nothing is allocated for the frequent
//! types (chat, a trip update of one field, `publish`, heartbeats).

mod batch;
mod live;
mod service;

pub use batch::Batch;
pub use live::{Fields, Typing};
pub use service::{Params, Request, Response};

use super::field::{self, Fault, Strings, flag, malformed};
use super::kinds::{self, Ask, Cost, Form, Row};
use super::tree::{Kind, Object, Value};
use crate::code::ErrorCode;
use crate::ids::Position;
use crate::limits;
use crate::metrics::Metric;

/// A message from a client.
#[derive(Clone, Debug)]
pub struct Inbound<'a> {
    /// The operation id, under which the message is deduplicated and answered.
    pub id: Option<&'a str>,
    /// The channel that the message names; without one it is the endpoint's.
    pub channel: Option<&'a str>,
    /// Whether the client wants an `ack` or `nack`.
    pub ack: bool,
    /// Whether the event should not come back to its sender.
    pub exclude_sender: bool,
    /// How urgent an event without a number is, if the client says so.
    pub priority: Option<Priority>,
    /// The trace that the message belongs to, as [`super::trace::read`] gives it.
    pub traceparent: Option<&'a str>,
    /// What the message takes from its sender's rate.
    pub tokens: u32,
    /// Where it is counted.
    pub received: Metric,
    /// What it asks for.
    pub command: Command<'a>,
}

/// How urgent an event without a number is: 1, 2 and 3 of the seeds' clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// 1, `high`, `critical`.
    High,
    /// 2, `normal`, `medium`.
    Normal,
    /// 3, `low`.
    Low,
}

impl Priority {
    /// By its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "high" | "critical" => Some(Self::High),
            "normal" | "medium" => Some(Self::Normal),
            "low" => Some(Self::Low),
            _ => None,
        }
    }

    /// By its number.
    #[must_use]
    pub const fn of(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::High),
            2 => Some(Self::Normal),
            3 => Some(Self::Low),
            _ => None,
        }
    }
}

/// What a message asks for.
#[derive(Clone, Debug)]
pub enum Command<'a> {
    /// Authenticate, or refresh the token.
    Auth(AuthFrame<'a>),
    /// Join and leave channels.
    Subscribe {
        /// To join.
        channels: Vec<&'a str>,
        /// Names that no channel can have: raw JSON strings.
        nameless: Vec<&'a str>,
        /// To leave.
        unsubscribe: Vec<&'a str>,
        /// Where the client was in channels that it joins again.
        since: Vec<(&'a str, Position)>,
        /// The consumers that share the channels' events with this one.
        group: Option<&'a str>,
    },
    /// Leave channels.
    Unsubscribe {
        /// To leave.
        channels: Vec<&'a str>,
    },
    /// Say something in a chat.
    Chat(Chat<'a>),
    /// Write fields of a trip.
    TripUpdate {
        /// At least one.
        changes: Changes<'a>,
    },
    /// Send an event of any type.
    Publish(Publish<'a>),
    /// Asks for a `connection_heartbeat`.
    Heartbeat,
    /// Asks for a `pong`.
    Ping {
        /// To be repeated in the pong: a raw string or number.
        timestamp: Option<&'a str>,
    },
    /// A sign of life.
    Pong,
    /// Say that one writes, or writes no more.
    Typing(Typing<'a>),
    /// Show where the cursor is.
    Cursor {
        /// Where, in the client's words.
        fields: Fields<'a>,
    },
    /// Tell the others in a trip something as it is.
    Relay {
        /// The event's type.
        kind: &'static str,
        /// Its payload.
        fields: Fields<'a>,
    },
    /// Say what an agent does.
    Report {
        /// The event's type.
        kind: &'static str,
        /// Its payload.
        fields: Fields<'a>,
    },
    /// Ask the gateway or a service.
    Request(Request<'a>),
    /// Answer a request.
    Response(Response<'a>),
    /// Offer to answer requests.
    Register {
        /// For these methods.
        methods: Vec<&'a str>,
        /// Raw JSON strings that no method can be called.
        nameless: Vec<&'a str>,
    },
    /// Take a request back.
    Cancel {
        /// The request.
        id: &'a str,
    },
    /// Say how far the message's channel was read.
    Ack {
        /// The last event.
        position: Position,
    },
    /// Several messages.
    Batch(Batch<'a>),
    /// A type that this server does not know.
    Unknown {
        /// The type.
        kind: &'a str,
    },
}

/// The first frame of a client, or a refresh.
#[derive(Clone, Debug, Default)]
pub struct AuthFrame<'a> {
    /// The token; absent in a frame that follows an upgrade which was authenticated already.
    pub token: Option<&'a str>,
    /// The chat session that the client believes to be in.
    pub session_id: Option<&'a str>,
    /// Channels to join.
    pub channels: Vec<&'a str>,
    /// Where the client was in channels that it joins again.
    pub resume: Vec<(&'a str, Position)>,
    /// Who the client is, if it says so.
    pub client: Option<Client<'a>>,
}

/// What a known client says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// Its name; never empty.
    pub name: &'a str,
    /// Its version; may be empty.
    pub version: &'a str,
    /// Whether it wants several events in one frame.
    pub batch: bool,
}

/// A chat message.
#[derive(Clone, Copy, Debug)]
pub struct Chat<'a> {
    /// The text: a raw JSON string that is not empty.
    pub content: &'a str,
    /// In whose role it is said, if the client names one.
    pub role: Option<&'a str>,
    /// A raw JSON array.
    pub attachments: Option<&'a str>,
    /// Everything else that the client wrote.
    pub metadata: Metadata<'a>,
}

/// The members of a chat message that the gateway does not know. They go out under `metadata`, after those
/// of the client's own `metadata`.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    body: Object<'a>,
    flat: bool,
    own: Option<Object<'a>>,
}

impl<'a> Metadata<'a> {
    /// Raw names and raw values.
    pub fn members(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let flat = self.flat;
        let others = self.body.members().filter(move |(key, _)| {
            let mut scratch = [0; super::tree::KEY_BYTES_MAX];
            let name = key.name(&mut scratch);
            !(CHAT_FIELDS.contains(&name) || flat && ENVELOPE_FIELDS.contains(&name))
        });
        let own = self.own.into_iter().flat_map(|own| own.members());
        own.chain(others).map(|(key, value)| (key.raw(), value.raw()))
    }
}

/// Fields of a chat message that are not metadata: read, replaced by the server, or dropped.
const CHAT_FIELDS: [&str; 8] =
    ["content", "role", "attachments", "metadata", "session_id", "sessionId", "user_id", "userId"];
/// Fields of the envelope, which are no one's payload when a message is flat.
const ENVELOPE_FIELDS: [&str; 12] = [
    "type",
    "id",
    "channel",
    "ack",
    "priority",
    "exclude_sender",
    "excludeSender",
    "timestamp",
    "traceparent",
    "payload",
    "data",
    "token",
];
/// Fields of a trip update that name no field of the trip.
const TRIP_FIELDS: [&str; 4] = ["user_id", "userId", "trip_id", "tripId"];

/// One field of a trip and its new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The field's path: a raw JSON string.
    pub field: &'a str,
    /// The new value: raw JSON of any type.
    pub value: &'a str,
}

/// The fields that one update writes, each named once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes<'a> {
    /// The usual case, which allocates nothing.
    One(Change<'a>),
    /// Several, in the order in which the client wrote them.
    Many(Vec<Change<'a>>),
}

impl<'a> Changes<'a> {
    /// The changes in order; never empty.
    #[must_use]
    pub fn as_slice(&self) -> &[Change<'a>] {
        match self {
            Self::One(change) => std::slice::from_ref(change),
            Self::Many(changes) => changes,
        }
    }
}

/// An event of any type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The event's type. Whether it is reserved is for the session to say ([`super::tripsage::is_reserved`]).
    pub kind: &'a str,
    /// A raw JSON object.
    pub payload: &'a str,
}

/// Why a text is no message, with what of it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected<'a> {
    /// The code that goes to the client.
    pub code: ErrorCode,
    /// Names the field and its bound.
    pub message: &'static str,
    /// The operation id.
    pub id: Option<&'a str>,
    /// The type; `auth` for every spelling of an authentication frame.
    pub kind: Option<&'a str>,
    /// Whether the client wants an `ack` or `nack`.
    pub ack: bool,
}

impl Rejected<'_> {
    pub(super) const fn bare((code, message): Fault) -> Self {
        Self { code, message, id: None, kind: None, ack: false }
    }

    /// Whether this was meant to authenticate: then it is answered with a failure reply and close 4000.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        self.kind == Some("auth")
    }
}

/// Reads a message. `scratch` is as long as the text, which is enough for all its strings.
pub(super) fn read<'a>(
    root: Object<'a>,
    text_bytes: usize,
    scratch: &'a mut [u8],
) -> Result<Inbound<'a>, Rejected<'a>> {
    let [kind, id, channel, ack, exclude, payload, data, timestamp, priority, trace] =
        root.find_by(|name| match name {
            "type" => Some(0),
            "id" => Some(1),
            "channel" => Some(2),
            "ack" => Some(3),
            "exclude_sender" | "excludeSender" => Some(4),
            "payload" => Some(5),
            "data" => Some(6),
            "timestamp" => Some(7),
            "priority" => Some(8),
            "traceparent" => Some(9),
            _ => None,
        });
    let mut strings = Strings::new(scratch);
    let id = id.map(|value| strings.name(value, field::ID)).transpose().map_err(Rejected::bare)?;
    let wants_ack = ack.is_some_and(|value| value.raw() == "true");
    let reject = |kind| move |(code, message): Fault| Rejected { code, message, id, kind, ack: wants_ack };

    let nested = payload.and_then(Value::object).or_else(|| data.and_then(Value::object));
    let mut body = Body { fields: nested.unwrap_or(root), flat: nested.is_none(), timestamp, strings };
    let kind = match kind {
        Some(kind) => body.strings.name(kind, field::TYPE).map_err(reject(None))?,
        // The first frame of the seeds' clients has no type.
        None if has_token(body.fields) => "auth",
        None => return Err(reject(None)(malformed("type is missing"))),
    };
    let row = kinds::find(kind);
    let kind = if row.is_some_and(|row| row.ask == Ask::Auth) { "auth" } else { kind };
    let reject = reject(Some(kind));
    let channel = channel.map(|value| body.strings.name(value, field::CHANNEL)).transpose().map_err(&reject)?;
    let mut inbound = Inbound {
        id,
        channel,
        ack: flag(ack, "ack must be true or false").map_err(&reject)?,
        exclude_sender: flag(exclude, "exclude_sender must be true or false").map_err(&reject)?,
        priority: priority.map(|value| body.strings.priority(value)).transpose().map_err(&reject)?,
        traceparent: trace.and_then(|value| body.strings.trace(value)),
        tokens: 1,
        received: row.map_or(Metric::ReceivedOther, |row| row.received),
        command: Command::Unknown { kind },
    };
    if let Some(row) = row {
        body.ask(row, text_bytes, &mut inbound).map_err(&reject)?;
    }
    Ok(inbound)
}

fn has_token(fields: Object<'_>) -> bool {
    let [token] = fields.find([&["token", "access_token"]]);
    token.is_some()
}

/// Where the fields of a message are.
struct Body<'a> {
    fields: Object<'a>,
    /// Whether the fields stand beside those of the envelope.
    flat: bool,
    /// The envelope's timestamp.
    timestamp: Option<Value<'a>>,
    strings: Strings<'a>,
}

impl<'a> Body<'a> {
    /// Reads what a message of a known type asks for.
    fn ask(&mut self, row: &Row, text_bytes: usize, inbound: &mut Inbound<'a>) -> Result<(), Fault> {
        if row.form == Form::Wrapped && self.flat {
            return Err(malformed("payload must be an object, which holds all that this type is about"));
        }
        let named;
        (named, inbound.command) = match row.ask {
            Ask::Publish => self.publish().map(|(channel, publish)| (channel, Command::Publish(publish)))?,
            Ask::Ack => self.ack()?,
            _ => (None, self.command(row, text_bytes, inbound.id)?),
        };
        inbound.channel = named.or(inbound.channel);
        inbound.tokens = match (row.cost, &inbound.command) {
            (Cost::PerTen, Command::Batch(batch)) => batch.tokens(),
            (Cost::Free, _) => 0,
            (Cost::One | Cost::PerTen, _) => 1,
        };
        Ok(())
    }

    fn command(&mut self, row: &Row, text_bytes: usize, id: Option<&'a str>) -> Result<Command<'a>, Fault> {
        Ok(match row.ask {
            Ask::Auth if text_bytes > limits::AUTH_FRAME_BYTES_MAX => {
                return Err(malformed("an authentication frame may have 24576 bytes"));
            }
            Ask::Auth => Command::Auth(self.auth()?),
            Ask::Subscribe => self.subscribe()?,
            Ask::Unsubscribe => {
                let [channels] = self.fields.find([&["channels", "unsubscribe_channels", "unsubscribeChannels"]]);
                let channels = channels.ok_or(malformed("channels is missing"))?;
                Command::Unsubscribe { channels: self.strings.sorted_channels(Some(channels))?.0 }
            }
            Ask::Chat => Command::Chat(self.chat()?),
            Ask::TripUpdate => Command::TripUpdate { changes: self.changes()? },
            Ask::Publish => Command::Publish(self.publish()?.1),
            Ask::Typing => self.typing()?,
            Ask::TypingStop => self.typing_stop()?,
            Ask::Cursor => Command::Cursor { fields: self.whole() },
            Ask::Relay => self.relay(row),
            Ask::Report => self.report(row),
            Ask::Request => self.request(id)?,
            Ask::Call => self.call(row, id),
            Ask::Response => self.response(id)?,
            Ask::Register => self.register()?,
            Ask::Cancel => self.cancel(id)?,
            Ask::Ack => self.ack()?.1,
            Ask::Batch => Command::Batch(self.batch()?),
            Ask::Heartbeat => Command::Heartbeat,
            Ask::Ping => Command::Ping { timestamp: self.timestamp() },
            Ask::Pong => Command::Pong,
        })
    }

    fn auth(&mut self) -> Result<AuthFrame<'a>, Fault> {
        let [token, session, channels, resume, client] = self.fields.find([
            &["token", "access_token", "accessToken"],
            &["session_id", "sessionId"],
            &["channels"],
            &["resume"],
            &["client"],
        ]);
        Ok(AuthFrame {
            token: token.map(|value| self.strings.name(value, field::TOKEN)).transpose()?,
            session_id: session.map(|value| self.strings.name(value, field::SESSION)).transpose()?,
            // What no channel is called is left out like what the token does not permit.
            channels: self.strings.sorted_channels(channels)?.0,
            resume: resume.map(|value| self.strings.resume(value)).transpose()?.unwrap_or_default(),
            client: client.map(|value| self.strings.client(value)).transpose()?,
        })
    }

    fn subscribe(&mut self) -> Result<Command<'a>, Fault> {
        let [channels, unsubscribe, since, group] =
            self.fields.find([&["channels"], &["unsubscribe_channels", "unsubscribeChannels"], &["since"], &["group"]]);
        if channels.is_none() && unsubscribe.is_none() {
            return Err(malformed("channels is missing"));
        }
        let (channels, nameless) = self.strings.sorted_channels(channels)?;
        Ok(Command::Subscribe {
            channels,
            nameless,
            // Nobody is in a channel that cannot be.
            unsubscribe: self.strings.sorted_channels(unsubscribe)?.0,
            since: since.map(|value| self.strings.since(value)).transpose()?.unwrap_or_default(),
            group: group.map(|value| self.strings.name(value, field::GROUP)).transpose()?,
        })
    }

    fn chat(&mut self) -> Result<Chat<'a>, Fault> {
        let [content, role, attachments, own] = self.fields.find_by(|name| match name {
            "content" => Some(0),
            "role" => Some(1),
            "attachments" => Some(2),
            "metadata" => Some(3),
            _ => None,
        });
        let content = content.ok_or(malformed("content is missing"))?;
        if content.escaped().is_none_or(str::is_empty) {
            return Err(malformed("content must be a string that is not empty"));
        }
        if attachments.is_some_and(|value| value.kind() != Kind::Array) {
            return Err(malformed("attachments must be an array"));
        }
        let own = own.map(|value| value.object().ok_or(malformed("metadata must be an object"))).transpose()?;
        Ok(Chat {
            content: content.raw(),
            role: role.map(|value| self.strings.name(value, field::ROLE)).transpose()?,
            attachments: attachments.map(|value| value.raw()),
            metadata: Metadata { body: self.fields, flat: self.flat, own },
        })
    }

    fn changes(&mut self) -> Result<Changes<'a>, Fault> {
        let [field, value] = self.fields.find_by(|name| match name {
            "field" => Some(0),
            "value" => Some(1),
            _ => None,
        });
        if let Some(field) = field {
            self.strings.name(field, field::FIELD)?;
            // A value of null clears the field, so its absence is told apart from null.
            let value = match value {
                Some(value) => value.raw(),
                None if self.fields.has("value") => "null",
                None => return Err(malformed("value is missing")),
            };
            return Ok(Changes::One(Change { field: field.raw(), value }));
        }
        self.many_changes()
    }

    fn many_changes(&mut self) -> Result<Changes<'a>, Fault> {
        let mut changes: Vec<Change<'a>> = Vec::new();
        // The same field may be written with other escapes.
        let mut names: Vec<&str> = Vec::new();
        for (key, value) in self.fields.members() {
            let mut scratch = [0; super::tree::KEY_BYTES_MAX];
            let name = key.name(&mut scratch);
            if TRIP_FIELDS.contains(&name) || self.flat && ENVELOPE_FIELDS.contains(&name) {
                continue;
            }
            let raw = key.raw();
            let name = self.strings.check(raw.get(1..raw.len() - 1).unwrap_or(""), field::FIELD)?;
            let change = Change { field: raw, value: value.raw() };
            let count = changes.len();
            match names.iter().position(|earlier| *earlier == name).and_then(|at| changes.get_mut(at)) {
                Some(earlier) => *earlier = change,
                None if count == limits::CHANGES_PER_UPDATE_MAX => {
                    return Err(malformed("an update may write 64 fields"));
                }
                None => {
                    names.push(name);
                    changes.push(change);
                }
            }
        }
        match changes.as_slice() {
            [] => Err(malformed("field is missing")),
            [only] => Ok(Changes::One(*only)),
            _ => Ok(Changes::Many(changes)),
        }
    }

    /// The channel that the body names, and the event.
    fn publish(&mut self) -> Result<(Option<&'a str>, Publish<'a>), Fault> {
        let [channel, kind, payload, data] = self.fields.find_by(|name| match name {
            "channel" => Some(0),
            "type" => Some(1),
            "payload" => Some(2),
            "data" => Some(3),
            _ => None,
        });
        let payload = payload.or(data).and_then(Value::object);
        let payload = payload.ok_or(malformed("payload.payload must be an object"))?;
        let channel = channel.map(|value| self.strings.name(value, field::CHANNEL)).transpose()?;
        let kind = self.strings.name(kind.ok_or(malformed("payload.type is missing"))?, field::EVENT_TYPE)?;
        Ok((channel, Publish { kind, payload: payload.raw() }))
    }

    /// The timestamp to repeat: the body's, else the envelope's.
    fn timestamp(&self) -> Option<&'a str> {
        let [own] = self.fields.find([&["timestamp"]]);
        let value = own.or(self.timestamp)?;
        let plain = matches!(value.kind(), Kind::String | Kind::Number);
        (plain && value.raw().len() <= limits::ECHOED_TIMESTAMP_BYTES_MAX).then(|| value.raw())
    }
}

#[cfg(test)]
mod tests;
