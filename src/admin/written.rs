//! What is written in the bodies and queries of the server API, held to the bounds of a message.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::refusal::Refusal;
use crate::auth::Claims;
use crate::code::{CloseCode, ErrorCode};
use crate::envelope::tripsage::canonical;
use crate::envelope::{Priority, trace};
use crate::ids::{ConnectionName, Epoch, Seq};
use crate::limits::{
    ADMIN_BATCH_MAX, CHANNEL_NAME_BYTES_MAX, EVENT_TYPE_BYTES_MAX, HISTORY_PAGE_DEFAULT, HISTORY_PAGE_MAX,
    JSON_DEPTH_MAX, MESSAGE_BYTES_MAX, OPERATION_ID_BYTES_MAX, SEQ_MAX, USER_ID_BYTES_MAX,
};
use crate::shard::message::outside::{Act, Publishing, Whose};
use crate::shard::message::service::Stretch;
use crate::wire::http::{Request, query_value};

/// An event for one channel or several.
#[derive(Debug, Deserialize)]
struct Message<'a> {
    channel: Option<String>,
    channels: Option<Vec<String>>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
    id: Option<String>,
    exclude: Option<String>,
    /// 1 to 3 or a name, as on the socket. An event with a number has its channel's share, whatever is said here.
    priority: Option<serde_json::Value>,
    /// As on the socket: what is none is dropped.
    traceparent: Option<serde_json::Value>,
    /// An answer comes in any case.
    #[serde(rename = "ack")]
    _ack: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Several<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Selection {
    user_id: Option<String>,
    connection_id: Option<String>,
    code: Option<u16>,
    channels: Option<Vec<String>>,
}

/// A text that names something.
fn name(text: &str, bytes_max: usize, refusal: Refusal) -> Result<&str, Refusal> {
    let fits = (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(text) } else { Err(refusal) }
}

/// A channel by its own name.
pub(super) fn channel(written: &str, claims: &Claims) -> Result<Arc<str>, Refusal> {
    name(written, CHANNEL_NAME_BYTES_MAX, CHANNEL)?;
    let mut full = String::new();
    canonical(written, &claims.user).write(&mut full);
    Ok(Arc::from(full))
}

/// A channel for whoever administers, which need not be a user.
pub(super) fn named(written: &str) -> Result<Arc<str>, Refusal> {
    name(written, CHANNEL_NAME_BYTES_MAX, CHANNEL)?;
    let mut full = String::new();
    canonical(written, "").write(&mut full);
    Ok(Arc::from(full))
}

const CHANNEL: Refusal = Refusal::malformed("a channel must be a string of 1 to 144 bytes without control characters");

fn connection(written: &str) -> Result<ConnectionName, Refusal> {
    ConnectionName::parse(written).ok_or(Refusal::malformed("a connection is named by 32 hexadecimal digits"))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], shape: &'static str) -> Result<T, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| NO_JSON)?;
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::malformed(shape),
        _ => NO_JSON,
    })
}

const NO_JSON: Refusal = Refusal { code: ErrorCode::InvalidJson, ..Refusal::malformed("the body is not JSON") };

impl Message<'_> {
    /// The event, for the channel `written`.
    fn publishing(&self, written: &str, claims: &Arc<Claims>) -> Result<Publishing, Refusal> {
        let payload = self.payload.get();
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(Refusal::from(ErrorCode::MessageTooLarge));
        }
        if !payload.starts_with('{') || !is_shallow(payload) {
            return Err(Refusal::malformed("payload must be an object, nested at most 32 deep"));
        }
        let known = |written: &serde_json::Value| match written {
            serde_json::Value::String(name) => Priority::parse(name),
            other => other.as_u64().and_then(Priority::of),
        };
        let no_priority = Refusal::malformed("priority must be 1, 2, 3, high, normal or low");
        let priority = self.priority.as_ref().map(|written| known(written).ok_or(no_priority)).transpose()?;
        let trace = self.traceparent.as_ref().and_then(serde_json::Value::as_str);
        let kind = name(&self.kind, EVENT_TYPE_BYTES_MAX, KIND)?;
        let id = self.id.as_deref().map(|id| name(id, OPERATION_ID_BYTES_MAX, ID)).transpose()?;
        Ok(Publishing {
            claims: Arc::clone(claims),
            channel: channel(written, claims)?,
            kind: Arc::from(kind),
            payload: Arc::from(payload.as_bytes()),
            id: id.map(Arc::from),
            exclude: self.exclude.as_deref().map(connection).transpose()?,
            priority,
            traceparent: trace.and_then(traceparent),
        })
    }
}

/// The trace that a text names.
fn traceparent(text: &str) -> Option<Arc<str>> {
    trace::read(text).and_then(|known| std::str::from_utf8(&known).ok().map(Arc::from))
}

/// The trace that a request belongs to, and with it every message that names none of its own.
pub(super) fn trace_of(request: &Request) -> Option<Arc<str>> {
    // Two of them would be two callers, of which nobody knows which one it was.
    let mut headers = request.headers.get_all("traceparent").iter();
    let (Some(only), None) = (headers.next(), headers.next()) else { return None };
    traceparent(only.to_str().ok()?.trim())
}

const KIND: Refusal = Refusal::malformed("type must be a string of 1 to 64 bytes without control characters");
const ID: Refusal = Refusal::malformed("id must be a string of 1 to 128 bytes without control characters");

/// Whether a valid JSON text keeps the bound on nesting.
fn is_shallow(text: &str) -> bool {
    let (mut depth, mut within, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = within,
            b'"' => within = !within,
            b'{' | b'[' if !within => depth += 1,
            b'}' | b']' if !within => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH_MAX {
            return false;
        }
    }
    true
}

/// One message: the channel as it was written, and the event.
pub(super) type Addressed = (String, Result<Publishing, Refusal>);

/// The body of `/api/publish`.
pub(super) fn publish(body: &[u8], claims: &Arc<Claims>) -> Result<(String, Publishing), Refusal> {
    let message: Message<'_> = parse(body, PUBLISH)?;
    let channel = message.channel.as_deref().ok_or(Refusal::malformed(PUBLISH))?;
    Ok((channel.to_owned(), message.publishing(channel, claims)?))
}

const PUBLISH: &str = "channel and type must be strings, payload an object, id and exclude strings if there are any";

/// The body of `/api/broadcast`.
pub(super) fn broadcast(body: &[u8], claims: &Arc<Claims>) -> Result<Vec<Addressed>, Refusal> {
    const SHAPE: &str = "channels must be an array of strings, type a string, payload an object";
    let message: Message<'_> = parse(body, SHAPE)?;
    let channels = message.channels.as_deref().ok_or(Refusal::malformed(SHAPE))?;
    check_count(channels.len())?;
    Ok(channels.iter().map(|channel| (channel.clone(), message.publishing(channel, claims))).collect())
}

/// The body of `/api/batch`: a message that is malformed fails alone.
pub(super) fn batch(body: &[u8], claims: &Arc<Claims>) -> Result<Vec<Addressed>, Refusal> {
    let several: Several<'_> = parse(body, "messages must be an array of objects")?;
    check_count(several.messages.len())?;
    let messages = several.messages.iter().map(|message| match publish(message.get().as_bytes(), claims) {
        Ok((channel, publishing)) => (channel, Ok(publishing)),
        Err(refusal) => (String::new(), Err(refusal)),
    });
    Ok(messages.collect())
}

fn check_count(count: usize) -> Result<(), Refusal> {
    if (1..=ADMIN_BATCH_MAX).contains(&count) {
        return Ok(());
    }
    Err(Refusal::malformed("there must be 1 to 100 of them"))
}

impl Selection {
    fn whose(&self) -> Result<Whose, Refusal> {
        const ONE: Refusal = Refusal::malformed("either user_id or connection_id must be a string");
        match (&self.user_id, &self.connection_id) {
            (Some(user), None) => Ok(Whose::User(Arc::from(name(user, USER_ID_BYTES_MAX, ONE)?))),
            (None, Some(name)) => Ok(Whose::Connection(connection(name)?)),
            _ => Err(ONE),
        }
    }
}

/// The body of `/api/disconnect`.
pub(super) fn disconnect(body: &[u8]) -> Result<(Whose, Act), Refusal> {
    let selection: Selection = parse(body, "user_id or connection_id must be a string, code a number")?;
    let code = selection.code.unwrap_or(CloseCode::RESTART.0);
    // RFC 6455 section 7.4: what an endpoint may send, less what says that the client broke the protocol.
    if !matches!(code, 1000 | 1001 | 1008 | 1011 | 1012 | 1013 | 3000..=4999) {
        return Err(Refusal::malformed("code must be 1000, 1001, 1008, 1011, 1012, 1013 or 3000 to 4999"));
    }
    Ok((selection.whose()?, Act::Close(CloseCode(code))))
}

/// The body of `/api/unsubscribe`.
pub(super) fn unsubscribe(body: &[u8]) -> Result<(Whose, Act), Refusal> {
    const SHAPE: &str = "user_id or connection_id must be a string, channels an array of strings";
    let selection: Selection = parse(body, SHAPE)?;
    let channels = selection.channels.as_deref().ok_or(Refusal::malformed(SHAPE))?;
    check_count(channels.len())?;
    let names = channels.iter().map(|channel| name(channel, CHANNEL_NAME_BYTES_MAX, CHANNEL).map(Box::from));
    let names: Vec<Box<str>> = names.collect::<Result<_, _>>()?;
    Ok((selection.whose()?, Act::Leave(Arc::from(names))))
}

/// The query of `/api/history/{channel}`.
pub(super) fn history(channel: &str, query: &str) -> Result<(Stretch, Option<Epoch>), Refusal> {
    let whole = |name: &str, max: u64| -> Result<Option<u64>, Refusal> {
        let Some(text) = query_value(query, name)? else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && *number <= max);
        number.map(Some).ok_or(Refusal::malformed("since_seq, until_seq and limit must be whole numbers"))
    };
    let reverse = match query_value(query, "reverse")?.as_deref() {
        None | Some("false") => false,
        Some("true" | "") => true,
        Some(_) => return Err(Refusal::malformed("reverse must be true or false")),
    };
    let epoch = match query_value(query, "since_epoch")? {
        None => None,
        Some(text) => Some(Epoch::parse(&text).ok_or(Refusal::malformed("since_epoch must be 16 hexadecimal digits"))?),
    };
    let limit = whole("limit", u64::MAX)?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let stretch = Stretch {
        channel: Box::from(channel),
        since: whole("since_seq", SEQ_MAX)?.map(Seq),
        until: whole("until_seq", SEQ_MAX)?.map(Seq),
        limit: limit.unwrap_or(HISTORY_PAGE_DEFAULT).min(HISTORY_PAGE_MAX),
        reverse,
        known: true,
    };
    Ok((stretch, epoch))
}

#[cfg(test)]
mod tests;
