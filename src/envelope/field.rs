//! Single fields of a client's message: strings and flags, channels and positions, each with its bound.
//!
//! Strings without escapes are slices of the text; the others are undone once, in scratch that the parser
//! lends for as long as the message is looked at. What breaks a bound is told by naming the field and the bound.

use super::command::{Client, Priority};
use super::plain::is_plain;
use super::trace;
use super::tree::{Object, Value, has_escape, unescape};
use crate::code::ErrorCode;
use crate::ids::{Epoch, Position, Seq};
use crate::limits;

/// A code and what is wrong.
pub(super) type Fault = (ErrorCode, &'static str);

pub(super) const fn malformed(message: &'static str) -> Fault {
    (ErrorCode::InvalidMessageFormat, message)
}

/// A bound on a string, and what to say when it is not kept.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    bytes_max: usize,
    fault: Fault,
}

impl Bound {
    pub(super) const fn new(bytes_max: usize, fault: Fault) -> Self {
        Self { bytes_max, fault }
    }
}

pub(super) const ID: Bound = Bound {
    bytes_max: limits::OPERATION_ID_BYTES_MAX,
    fault: malformed("id must be a string of 1 to 128 bytes without control characters"),
};
pub(super) const TYPE: Bound = Bound {
    bytes_max: limits::EVENT_TYPE_BYTES_MAX,
    fault: malformed("type must be a string of 1 to 64 bytes without control characters"),
};
pub(super) const EVENT_TYPE: Bound = Bound {
    bytes_max: limits::EVENT_TYPE_BYTES_MAX,
    fault: malformed("payload.type must be a string of 1 to 64 bytes without control characters"),
};
pub(super) const ROLE: Bound = Bound {
    bytes_max: limits::EVENT_TYPE_BYTES_MAX,
    fault: malformed("role must be a string of 1 to 64 bytes without control characters"),
};
pub(super) const FIELD: Bound = Bound {
    bytes_max: limits::FIELD_NAME_BYTES_MAX,
    fault: malformed("a field name must be a string of 1 to 256 bytes without control characters"),
};
pub(super) const TOKEN: Bound = Bound {
    bytes_max: limits::TOKEN_BYTES_MAX,
    fault: malformed("token must be a string of 1 to 4096 bytes without control characters"),
};
pub(super) const SESSION: Bound = Bound {
    bytes_max: limits::RESOURCE_ID_BYTES_MAX,
    fault: malformed("session_id must be a string of 1 to 128 bytes without control characters"),
};
pub(super) const METHOD: Bound = Bound {
    bytes_max: limits::EVENT_TYPE_BYTES_MAX,
    fault: malformed("a method must be a string of 1 to 64 bytes without control characters"),
};
pub(super) const GROUP: Bound = Bound {
    bytes_max: limits::EVENT_TYPE_BYTES_MAX,
    fault: malformed("group must be a string of 1 to 64 bytes without control characters"),
};
const CLIENT: Bound = Bound {
    bytes_max: limits::CLIENT_NAME_BYTES_MAX,
    fault: malformed("client.name and client.version must be strings of 1 to 64 bytes without control characters"),
};
pub(super) const CHANNEL: Bound = Bound {
    bytes_max: limits::CHANNEL_NAME_BYTES_MAX,
    fault: (ErrorCode::ChannelNotFound, "a channel name must be a string of 1 to 144 bytes without control characters"),
};
const CHANNELS_NO_LIST: Fault = malformed("channels must be an array of strings");
const CHANNELS_TOO_MANY: Fault = malformed("a message may name 50 channels");
const POSITIONS_NO_LIST: Fault = malformed("positions must be given as channel, epoch and seq");

/// Gives out strings: slices of the text, or of scratch where escapes had to be undone.
pub(super) struct Strings<'a>(&'a mut [u8]);

impl<'a> Strings<'a> {
    /// `scratch` is as long as the text, which is enough for every string that is in it.
    pub(super) const fn new(scratch: &'a mut [u8]) -> Self {
        Self(scratch)
    }

    /// A string that keeps a bound.
    pub(super) fn name(&mut self, value: Value<'a>, bound: Bound) -> Result<&'a str, Fault> {
        self.check(value.escaped().ok_or(bound.fault)?, bound)
    }

    /// A string of which only the inside is at hand.
    pub(super) fn check(&mut self, escaped: &'a str, bound: Bound) -> Result<&'a str, Fault> {
        let sure = is_plain(escaped);
        let text = if sure || !has_escape(escaped) { escaped } else { self.unescaped(escaped).ok_or(bound.fault)? };
        let fits = (1..=bound.bytes_max).contains(&text.len());
        if fits && (sure || !text.chars().any(char::is_control)) { Ok(text) } else { Err(bound.fault) }
    }

    fn unescaped(&mut self, escaped: &str) -> Option<&'a str> {
        let room = std::mem::take(&mut self.0);
        let Some(len) = unescape(escaped, room) else {
            // Other strings of the text may be good, if this one is looked at in a batch.
            self.0 = room;
            return None;
        };
        let (plain, room) = room.split_at_mut_checked(len)?;
        self.0 = room;
        std::str::from_utf8(plain).ok()
    }

    /// Gives away the room for a part of the text.
    pub(super) fn split(&mut self, bytes: usize) -> &'a mut [u8] {
        let room = std::mem::take(&mut self.0);
        let (part, room) = room.split_at_mut(bytes.min(room.len()));
        self.0 = room;
        part
    }

    /// A number of the seeds' clients or a lane's name.
    pub(super) fn priority(&mut self, value: Value<'a>) -> Result<Priority, Fault> {
        let known = match value.escaped() {
            Some(name) => Priority::parse(name),
            None => value.whole().and_then(Priority::of),
        };
        known.ok_or(malformed("priority must be 1, 2, 3, high, normal or low"))
    }

    /// The trace that a message belongs to. What is none makes no message malformed.
    pub(super) fn trace(&mut self, value: Value<'a>) -> Option<&'a str> {
        let escaped = value.escaped()?;
        let known = if has_escape(escaped) {
            // Looked at and overwritten: none of the room is given away yet.
            let len = unescape(escaped, self.0)?;
            trace::read(std::str::from_utf8(self.0.get(..len)?).ok()?)?
        } else {
            trace::read(escaped)?
        };
        // What it was read from is at least as long, so that there is room left for all other strings.
        let room = self.split(known.len());
        if room.len() < known.len() {
            return None;
        }
        room.copy_from_slice(&known);
        std::str::from_utf8(room).ok()
    }

    /// The names in a list that a channel can have, and the raw JSON strings of those that none has.
    pub(super) fn sorted_channels(&mut self, list: Option<Value<'a>>) -> Result<(Vec<&'a str>, Vec<&'a str>), Fault> {
        let Some(list) = list else { return Ok((Vec::new(), Vec::new())) };
        let (mut channels, mut nameless) = (Vec::new(), Vec::new());
        for value in list.elements().ok_or(CHANNELS_NO_LIST)? {
            if channels.len() + nameless.len() == limits::CHANNELS_PER_MESSAGE_MAX {
                return Err(CHANNELS_TOO_MANY);
            }
            value.escaped().ok_or(CHANNELS_NO_LIST)?;
            match self.name(value, CHANNEL) {
                Ok(name) => channels.push(name),
                Err(_) => nameless.push(value.raw()),
            }
        }
        Ok((channels, nameless))
    }

    /// `{channel: {epoch, seq}}`; a name that no channel has is left out.
    pub(super) fn since(&mut self, value: Value<'a>) -> Result<Vec<(&'a str, Position)>, Fault> {
        let mut positions = Vec::new();
        for (key, value) in value.object().ok_or(POSITIONS_NO_LIST)?.members() {
            let raw = key.raw();
            let position = self.position(value.object().ok_or(POSITIONS_NO_LIST)?)?;
            if let Ok(channel) = self.check(raw.get(1..raw.len() - 1).unwrap_or(""), CHANNEL) {
                place(&mut positions, channel, position)?;
            }
        }
        Ok(positions)
    }

    /// `[{channel, epoch, seq}]`; a name that no channel has is left out.
    pub(super) fn resume(&mut self, value: Value<'a>) -> Result<Vec<(&'a str, Position)>, Fault> {
        let mut positions = Vec::new();
        for value in value.elements().ok_or(POSITIONS_NO_LIST)? {
            let fields = value.object().ok_or(POSITIONS_NO_LIST)?;
            let [channel] = fields.find([&["channel"]]);
            let channel = channel.ok_or(POSITIONS_NO_LIST)?;
            channel.escaped().ok_or(POSITIONS_NO_LIST)?;
            let position = self.position(fields)?;
            if let Ok(channel) = self.name(channel, CHANNEL) {
                place(&mut positions, channel, position)?;
            }
        }
        Ok(positions)
    }

    pub(super) fn position(&self, fields: Object<'a>) -> Result<Position, Fault> {
        let [epoch, seq] = fields.find([&["epoch"], &["seq"]]);
        let epoch = epoch.and_then(|value| value.escaped()).ok_or(malformed("epoch must be a string"))?;
        let seq = seq.and_then(|value| value.whole()).filter(|&seq| seq <= limits::SEQ_MAX);
        let seq = seq.ok_or(malformed("seq must be a whole number of 0 to 2^53 - 1"))?;
        // Our epochs have no escapes; one that has some was never given out.
        Ok(Position { epoch: Epoch::parse(epoch), seq: Seq(seq) })
    }

    pub(super) fn client(&mut self, value: Value<'a>) -> Result<Client<'a>, Fault> {
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

pub(super) fn flag(value: Option<Value<'_>>, fault: &'static str) -> Result<bool, Fault> {
    match value.map(|value| value.raw()) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(malformed(fault)),
    }
}
