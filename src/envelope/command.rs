//! What a client can ask for, read from a valid JSON object.
//!
//! Field by field: the type decides which fields are looked for and where. The body is `payload` if that is
//! an object, else `data` if that is, else the message itself, except for `publish`. Both casings are read.
//! A `user_id` from a client is never read: who sends is known from the token.
//!
//! Raw spans are slices of the message and go out as they came in. Nothing is allocated for the frequent
//! types (chat, a trip update of one field, `publish`, heartbeats).

use super::tree::{Kind, Object, Value, unescape};
use super::tripsage::{self, Request};
use crate::code::ErrorCode;
use crate::ids::{Epoch, Position, Seq};
use crate::limits;

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
    /// What it asks for.
    pub command: Command<'a>,
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
        /// To leave.
        unsubscribe: Vec<&'a str>,
        /// Where the client was in channels that it joins again.
        since: Vec<(&'a str, Position)>,
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
const ENVELOPE_FIELDS: [&str; 11] = [
    "type",
    "id",
    "channel",
    "ack",
    "priority",
    "exclude_sender",
    "excludeSender",
    "timestamp",
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
    /// The event's type. Whether it is reserved is for the session to say ([`tripsage::is_reserved`]).
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
}

impl Rejected<'_> {
    pub(super) const fn bare((code, message): Fault) -> Self {
        Self { code, message, id: None, kind: None }
    }

    /// Whether this was meant to authenticate: then it is answered with a failure reply and close 4000.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        self.kind == Some("auth")
    }
}

/// A code and what is wrong.
pub(super) type Fault = (ErrorCode, &'static str);

const fn malformed(message: &'static str) -> Fault {
    (ErrorCode::InvalidMessageFormat, message)
}

/// Reads a message. `scratch` is as long as the text, which is enough for all its strings.
pub(super) fn read<'a>(
    root: Object<'a>,
    text_bytes: usize,
    scratch: &'a mut [u8],
) -> Result<Inbound<'a>, Rejected<'a>> {
    let [kind, id, channel, ack, exclude, payload, data, timestamp] = root.find([
        &["type"],
        &["id"],
        &["channel"],
        &["ack"],
        &["exclude_sender", "excludeSender"],
        &["payload"],
        &["data"],
        &["timestamp"],
    ]);
    let mut strings = Strings(scratch);
    let id = id.map(|value| strings.name(value, ID)).transpose().map_err(Rejected::bare)?;
    let reject = |kind| move |(code, message): Fault| Rejected { code, message, id, kind };

    let nested = payload.and_then(Value::object).or_else(|| data.and_then(Value::object));
    let mut body = Body { fields: nested.unwrap_or(root), flat: nested.is_none(), timestamp, strings };
    let kind = match kind {
        Some(kind) => body.strings.name(kind, TYPE).map_err(reject(None))?,
        // The first frame of the seeds' clients has no type.
        None if has_token(body.fields) => "auth",
        None => return Err(reject(None)(malformed("type is missing"))),
    };
    let asked = tripsage::request(kind);
    let kind = if asked == Some(Request::Auth) { "auth" } else { kind };
    let reject = reject(Some(kind));
    let channel = channel.map(|value| body.strings.name(value, CHANNEL)).transpose().map_err(&reject)?;
    let mut inbound = Inbound {
        id,
        channel,
        ack: flag(ack, "ack must be true or false").map_err(&reject)?,
        exclude_sender: flag(exclude, "exclude_sender must be true or false").map_err(&reject)?,
        command: Command::Unknown { kind },
    };
    let Some(asked) = asked else { return Ok(inbound) };
    if asked == Request::Publish {
        let (channel, publish) = body.publish().map_err(&reject)?;
        inbound.channel = channel.or(inbound.channel);
        inbound.command = Command::Publish(publish);
    } else {
        inbound.command = body.command(asked, text_bytes).map_err(&reject)?;
    }
    Ok(inbound)
}

fn has_token(fields: Object<'_>) -> bool {
    let [token] = fields.find([&["token", "access_token"]]);
    token.is_some()
}

fn flag(value: Option<Value<'_>>, fault: &'static str) -> Result<bool, Fault> {
    match value.map(|value| value.raw()) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(malformed(fault)),
    }
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
    fn command(&mut self, asked: Request, text_bytes: usize) -> Result<Command<'a>, Fault> {
        Ok(match asked {
            Request::Auth if text_bytes > limits::AUTH_FRAME_BYTES_MAX => {
                return Err(malformed("an authentication frame may have 24576 bytes"));
            }
            Request::Auth => Command::Auth(self.auth()?),
            Request::Subscribe => self.subscribe()?,
            Request::Unsubscribe => {
                let [channels] = self.fields.find([&["channels", "unsubscribe_channels", "unsubscribeChannels"]]);
                let channels = channels.ok_or(malformed("channels is missing"))?;
                Command::Unsubscribe { channels: self.strings.channels(Some(channels))? }
            }
            Request::Chat => Command::Chat(self.chat()?),
            Request::TripUpdate => Command::TripUpdate { changes: self.changes()? },
            Request::Heartbeat => Command::Heartbeat,
            Request::Ping => Command::Ping { timestamp: self.timestamp() },
            Request::Pong => Command::Pong,
            Request::Publish => Command::Publish(self.publish()?.1),
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
            token: token.map(|value| self.strings.name(value, TOKEN)).transpose()?,
            session_id: session.map(|value| self.strings.name(value, SESSION)).transpose()?,
            channels: self.strings.channels(channels)?,
            resume: resume.map(|value| self.strings.resume(value)).transpose()?.unwrap_or_default(),
            client: client.map(|value| self.strings.client(value)).transpose()?,
        })
    }

    fn subscribe(&mut self) -> Result<Command<'a>, Fault> {
        let [channels, unsubscribe, since] =
            self.fields.find([&["channels"], &["unsubscribe_channels", "unsubscribeChannels"], &["since"]]);
        if channels.is_none() && unsubscribe.is_none() {
            return Err(malformed("channels is missing"));
        }
        Ok(Command::Subscribe {
            channels: self.strings.channels(channels)?,
            unsubscribe: self.strings.channels(unsubscribe)?,
            since: since.map(|value| self.strings.since(value)).transpose()?.unwrap_or_default(),
        })
    }

    fn chat(&mut self) -> Result<Chat<'a>, Fault> {
        let [content, role, attachments, own] =
            self.fields.find([&["content"], &["role"], &["attachments"], &["metadata"]]);
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
            role: role.map(|value| self.strings.name(value, ROLE)).transpose()?,
            attachments: attachments.map(|value| value.raw()),
            metadata: Metadata { body: self.fields, flat: self.flat, own },
        })
    }

    fn changes(&mut self) -> Result<Changes<'a>, Fault> {
        let [field, value] = self.fields.find([&["field"], &["value"]]);
        if let Some(field) = field {
            self.strings.name(field, FIELD)?;
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
        for (key, value) in self.fields.members() {
            let mut scratch = [0; super::tree::KEY_BYTES_MAX];
            let name = key.name(&mut scratch);
            if TRIP_FIELDS.contains(&name) || self.flat && ENVELOPE_FIELDS.contains(&name) {
                continue;
            }
            let raw = key.raw();
            self.strings.check(raw.get(1..raw.len() - 1).unwrap_or(""), FIELD)?;
            let change = Change { field: raw, value: value.raw() };
            let count = changes.len();
            match changes.iter_mut().find(|earlier| earlier.field == raw) {
                Some(earlier) => *earlier = change,
                None if count == limits::CHANGES_PER_UPDATE_MAX => {
                    return Err(malformed("an update may write 64 fields"));
                }
                None => changes.push(change),
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
        if self.flat {
            return Err(malformed("payload must be an object with channel, type and payload"));
        }
        let [channel, kind, payload, data] = self.fields.find([&["channel"], &["type"], &["payload"], &["data"]]);
        let payload = payload.or(data).and_then(Value::object);
        let payload = payload.ok_or(malformed("payload.payload must be an object"))?;
        let channel = channel.map(|value| self.strings.name(value, CHANNEL)).transpose()?;
        let kind = self.strings.name(kind.ok_or(malformed("payload.type is missing"))?, EVENT_TYPE)?;
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

/// A bound on a string, and what to say when it is not kept.
#[derive(Clone, Copy)]
struct Bound {
    bytes_max: usize,
    fault: Fault,
}

const ID: Bound = Bound {
    bytes_max: limits::OPERATION_ID_BYTES_MAX,
    fault: malformed("id must be a string of 1 to 128 bytes without control characters"),
};
const TYPE: Bound = Bound {
    bytes_max: limits::EVENT_TYPE_BYTES_MAX,
    fault: malformed("type must be a string of 1 to 64 bytes without control characters"),
};
const EVENT_TYPE: Bound = Bound {
    bytes_max: limits::EVENT_TYPE_BYTES_MAX,
    fault: malformed("payload.type must be a string of 1 to 64 bytes without control characters"),
};
const ROLE: Bound = Bound {
    bytes_max: limits::EVENT_TYPE_BYTES_MAX,
    fault: malformed("role must be a string of 1 to 64 bytes without control characters"),
};
const FIELD: Bound = Bound {
    bytes_max: limits::FIELD_NAME_BYTES_MAX,
    fault: malformed("a field name must be a string of 1 to 256 bytes without control characters"),
};
const TOKEN: Bound = Bound {
    bytes_max: limits::TOKEN_BYTES_MAX,
    fault: malformed("token must be a string of 1 to 4096 bytes without control characters"),
};
const SESSION: Bound = Bound {
    bytes_max: limits::RESOURCE_ID_BYTES_MAX,
    fault: malformed("session_id must be a string of 1 to 128 bytes without control characters"),
};
const CLIENT: Bound = Bound {
    bytes_max: limits::CLIENT_NAME_BYTES_MAX,
    fault: malformed("client.name and client.version must be strings of 1 to 64 bytes without control characters"),
};
const CHANNEL: Bound = Bound {
    bytes_max: limits::CHANNEL_NAME_BYTES_MAX,
    fault: (ErrorCode::ChannelNotFound, "a channel name must be a string of 1 to 144 bytes without control characters"),
};
const CHANNELS_NO_LIST: Fault = malformed("channels must be an array of strings");
const CHANNELS_TOO_MANY: Fault = malformed("a message may name 50 channels");
const POSITIONS_NO_LIST: Fault = malformed("positions must be given as channel, epoch and seq");

/// Gives out strings: slices of the text, or of scratch where escapes had to be undone.
struct Strings<'a>(&'a mut [u8]);

impl<'a> Strings<'a> {
    /// A string that keeps a bound.
    fn name(&mut self, value: Value<'a>, bound: Bound) -> Result<&'a str, Fault> {
        self.check(value.escaped().ok_or(bound.fault)?, bound)
    }

    /// A string of which only the inside is at hand.
    fn check(&mut self, escaped: &'a str, bound: Bound) -> Result<&'a str, Fault> {
        let plain = if escaped.contains('\\') { self.unescaped(escaped).ok_or(bound.fault)? } else { escaped };
        let fits = (1..=bound.bytes_max).contains(&plain.len());
        if fits && !plain.chars().any(char::is_control) { Ok(plain) } else { Err(bound.fault) }
    }

    fn unescaped(&mut self, escaped: &str) -> Option<&'a str> {
        let room = std::mem::take(&mut self.0);
        let len = unescape(escaped, room)?;
        let (plain, room) = room.split_at_mut_checked(len)?;
        self.0 = room;
        std::str::from_utf8(plain).ok()
    }

    fn channels(&mut self, list: Option<Value<'a>>) -> Result<Vec<&'a str>, Fault> {
        let Some(list) = list else { return Ok(Vec::new()) };
        let mut channels = Vec::new();
        for value in list.elements().ok_or(CHANNELS_NO_LIST)? {
            if channels.len() == limits::CHANNELS_PER_MESSAGE_MAX {
                return Err(CHANNELS_TOO_MANY);
            }
            value.escaped().ok_or(CHANNELS_NO_LIST)?;
            channels.push(self.name(value, CHANNEL)?);
        }
        Ok(channels)
    }

    /// `{channel: {epoch, seq}}`
    fn since(&mut self, value: Value<'a>) -> Result<Vec<(&'a str, Position)>, Fault> {
        let mut positions = Vec::new();
        for (key, value) in value.object().ok_or(POSITIONS_NO_LIST)?.members() {
            let raw = key.raw();
            let channel = self.check(raw.get(1..raw.len() - 1).unwrap_or(""), CHANNEL)?;
            let position = self.position(value.object().ok_or(POSITIONS_NO_LIST)?)?;
            place(&mut positions, channel, position)?;
        }
        Ok(positions)
    }

    /// `[{channel, epoch, seq}]`
    fn resume(&mut self, value: Value<'a>) -> Result<Vec<(&'a str, Position)>, Fault> {
        let mut positions = Vec::new();
        for value in value.elements().ok_or(POSITIONS_NO_LIST)? {
            let fields = value.object().ok_or(POSITIONS_NO_LIST)?;
            let [channel] = fields.find([&["channel"]]);
            let channel = self.name(channel.ok_or(POSITIONS_NO_LIST)?, CHANNEL)?;
            let position = self.position(fields)?;
            place(&mut positions, channel, position)?;
        }
        Ok(positions)
    }

    fn position(&mut self, fields: Object<'a>) -> Result<Position, Fault> {
        let [epoch, seq] = fields.find([&["epoch"], &["seq"]]);
        let epoch = epoch.and_then(|value| value.escaped()).ok_or(malformed("epoch must be a string"))?;
        let seq = seq.and_then(|value| value.whole()).filter(|&seq| seq <= limits::SEQ_MAX);
        let seq = seq.ok_or(malformed("seq must be a whole number of 0 to 2^53 - 1"))?;
        // Our epochs have no escapes; one that has some was never given out.
        Ok(Position { epoch: Epoch::parse(epoch), seq: Seq(seq) })
    }

    fn client(&mut self, value: Value<'a>) -> Result<Client<'a>, Fault> {
        let fields = value.object().ok_or(malformed("client must be an object"))?;
        let [name, version, batch] = fields.find([&["name"], &["version"], &["batch"]]);
        Ok(Client {
            name: self.name(name.ok_or(CLIENT.fault)?, CLIENT)?,
            version: version.map(|value| self.name(value, CLIENT)).transpose()?.unwrap_or(""),
            batch: flag(batch, "client.batch must be true or false")?,
        })
    }
}

/// Keeps the position of a channel; the last one given counts.
fn place<'a>(positions: &mut Vec<(&'a str, Position)>, channel: &'a str, position: Position) -> Result<(), Fault> {
    if let Some((_, earlier)) = positions.iter_mut().find(|(name, _)| *name == channel) {
        *earlier = position;
    } else if positions.len() == limits::CHANNELS_PER_MESSAGE_MAX {
        return Err(CHANNELS_TOO_MANY);
    } else {
        positions.push((channel, position));
    }
    Ok(())
}
