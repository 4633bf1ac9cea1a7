//! A text with places for what differs from message to message, cut up once.

use std::io::Write as _;

use super::file;

/// What may stand in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The body with its marker.
    Body,
    /// Bytes of the body, decimal.
    Bytes,
    /// The publish's own id, 15 bytes.
    Id,
    /// The publish's number, decimal.
    Seq,
    /// The room's name.
    Room,
    /// The scenario's endpoint.
    Endpoint,
    /// The user that the token names.
    User,
    /// The token.
    Token,
    /// The scenario's channels as JSON strings, with commas between.
    Channels,
    /// What a connection says that comes back; nothing on its first way.
    Resume,
    /// What the server called the room when it was entered.
    Channel,
    /// The run of numbers that it was entered in.
    Epoch,
    /// The last of the server's own numbers that came, decimal.
    Last,
}

const PLACES: [(&str, Place); 13] = [
    ("body", Place::Body),
    ("bytes", Place::Bytes),
    ("id", Place::Id),
    ("seq", Place::Seq),
    ("room", Place::Room),
    ("endpoint", Place::Endpoint),
    ("user", Place::User),
    ("token", Place::Token),
    ("channels", Place::Channels),
    ("resume", Place::Resume),
    ("channel", Place::Channel),
    ("epoch", Place::Epoch),
    ("last", Place::Last),
];

/// Bytes of `PPPPPP-SSSSSSSS`.
const ID_BYTES: usize = 15;

#[derive(Debug)]
enum Part {
    Literal(Vec<u8>),
    Place(Place),
}

/// A text with places.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
}

/// What is put in the places.
#[derive(Debug, Default, Clone, Copy)]
pub struct Values<'a> {
    /// The room's name.
    pub room: &'a str,
    /// The scenario's endpoint.
    pub endpoint: &'a str,
    /// The user that the token names.
    pub user: &'a str,
    /// The token.
    pub token: &'a str,
    /// The scenario's channels as JSON strings, with commas between.
    pub channels: &'a str,
    /// What a connection says that comes back.
    pub resume: &'a str,
    /// What the server called the room when it was entered.
    pub channel: &'a str,
    /// The run of numbers that it was entered in.
    pub epoch: &'a str,
    /// The last of the server's own numbers that came.
    pub last: u64,
    /// The publishing connection.
    pub publisher: u32,
    /// The publish's number.
    pub seq: u32,
    /// Bytes of the body.
    pub body_bytes: usize,
}

impl Template {
    /// Cuts up `text`, in which only `allowed` places may stand.
    ///
    /// # Errors
    /// A word in braces is no place, or not one of these.
    pub(super) fn compile(text: &str, allowed: &[Place]) -> Result<Self, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find('{') {
            literal.push_str(&rest[..at]);
            let inside = &rest[at + 1..];
            let word = inside.split('}').next().unwrap_or("");
            // A brace of JSON is not followed by a bare word and the closing brace.
            let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if !is_word || word.len() == inside.len() {
                literal.push('{');
                rest = inside;
                continue;
            }
            let place = PLACES.iter().find(|(name, place)| *name == word && allowed.contains(place));
            let (_, place) = place.ok_or_else(|| unknown(word, allowed))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into_bytes()));
            }
            parts.push(Part::Place(*place));
            rest = &inside[word.len() + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into_bytes()));
        }
        Ok(Self { parts })
    }

    /// How often a place stands in it.
    pub(super) fn count(&self, wanted: Place) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Place(place) if *place == wanted)).count()
    }

    pub(crate) fn has_token(&self) -> bool {
        self.count(Place::Token) > 0
    }

    pub(crate) fn has_channel(&self) -> bool {
        self.count(Place::Channel) > 0
    }

    /// Bytes it has when filled.
    #[must_use]
    pub fn bytes(&self, values: &Values<'_>) -> usize {
        let bytes = self.parts.iter().map(|part| match part {
            Part::Literal(literal) => literal.len(),
            Part::Place(Place::Body) => values.body_bytes,
            Part::Place(Place::Bytes) => digits(values.body_bytes),
            Part::Place(Place::Id) => ID_BYTES,
            Part::Place(Place::Seq) => digits(usize::try_from(values.seq).unwrap_or(usize::MAX)),
            Part::Place(Place::Room) => values.room.len(),
            Part::Place(Place::Endpoint) => values.endpoint.len(),
            Part::Place(Place::User) => values.user.len(),
            Part::Place(Place::Token) => values.token.len(),
            Part::Place(Place::Channels) => values.channels.len(),
            Part::Place(Place::Resume) => values.resume.len(),
            Part::Place(Place::Channel) => values.channel.len(),
            Part::Place(Place::Epoch) => values.epoch.len(),
            Part::Place(Place::Last) => digits(usize::try_from(values.last).unwrap_or(usize::MAX)),
        });
        bytes.sum()
    }

    /// Appends it; `body` fills the body's bytes.
    pub fn fill(&self, values: &Values<'_>, out: &mut Vec<u8>, mut body: impl FnMut(&mut [u8])) {
        for part in &self.parts {
            match part {
                Part::Literal(literal) => out.extend_from_slice(literal),
                Part::Place(Place::Body) => {
                    let from = out.len();
                    out.resize(from + values.body_bytes, 0);
                    body(&mut out[from..]);
                }
                // Writing to a vector cannot fail.
                Part::Place(Place::Bytes) => drop(write!(out, "{}", values.body_bytes)),
                Part::Place(Place::Id) => drop(write!(out, "{:06x}-{:08x}", values.publisher, values.seq)),
                Part::Place(Place::Seq) => drop(write!(out, "{}", values.seq)),
                Part::Place(Place::Room) => out.extend_from_slice(values.room.as_bytes()),
                Part::Place(Place::Endpoint) => out.extend_from_slice(values.endpoint.as_bytes()),
                Part::Place(Place::User) => out.extend_from_slice(values.user.as_bytes()),
                Part::Place(Place::Token) => out.extend_from_slice(values.token.as_bytes()),
                Part::Place(Place::Channels) => out.extend_from_slice(values.channels.as_bytes()),
                Part::Place(Place::Resume) => out.extend_from_slice(values.resume.as_bytes()),
                Part::Place(Place::Channel) => out.extend_from_slice(values.channel.as_bytes()),
                Part::Place(Place::Epoch) => out.extend_from_slice(values.epoch.as_bytes()),
                Part::Place(Place::Last) => drop(write!(out, "{}", values.last)),
            }
        }
    }

    /// It as a text, where it has no body.
    #[must_use]
    pub fn text(&self, values: &Values<'_>) -> String {
        let mut out = Vec::new();
        self.fill(values, &mut out, |_| {});
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| usize::try_from(log).unwrap_or(0) + 1)
}

fn unknown(word: &str, allowed: &[Place]) -> String {
    let names: Vec<&str> = PLACES.iter().filter(|(_, place)| allowed.contains(place)).map(|(name, _)| *name).collect();
    let meant = file::nearest(word, &names).map_or_else(String::new, |meant| format!("; write {{{meant}}}?"));
    format!("{{{word}}}: must be one of {{{}}}{meant}", names.join("} {"))
}
