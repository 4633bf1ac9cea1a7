//! How what a server sends is told apart: a delivery, an event, a refusal; and what else stands in it.
//!
//! All of it is search for fixed fragments: a load generator that parsed every message would measure its own parser.

use memchr::memmem::Finder;

use super::{Order, Template};
use crate::limits::{RESUME_BYTES_MAX, VERSION_BYTES_MAX};

/// How a delivery is told.
#[derive(Debug)]
pub(crate) struct Deliver {
    /// A message is nothing but the body.
    pub(crate) whole: bool,
    /// What stands behind the body.
    pub(crate) after: Vec<u8>,
    /// A message may have the same body in it again, which is no second delivery.
    pub(crate) repeats: bool,
    /// Messages are JSON, and some of them are parsed to see it.
    pub(crate) json: bool,
    /// Deliveries come in binary frames.
    pub(crate) binary: bool,
    /// What stands between the messages of one frame.
    pub(crate) separator: Option<Box<Finder<'static>>>,
    /// What order is promised.
    pub(crate) order: Order,
}

/// Where the server's own sequence number stands.
#[derive(Debug)]
pub(crate) struct SeqPattern {
    pub(super) key: Finder<'static>,
    pub(super) before: Option<Finder<'static>>,
    pub(super) start: Option<Finder<'static>>,
}

/// What a connection says that comes back, and what it needs for that of the message by which it entered the room.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) template: Template,
    pub(super) channel: Option<Finder<'static>>,
    pub(super) epoch: Option<Finder<'static>>,
    pub(super) resumed: Finder<'static>,
    pub(super) reason: Option<Finder<'static>>,
}

/// Where a connection is in a room, besides the number of the last event that it had.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    pub(crate) channel: String,
    pub(crate) epoch: String,
}

/// Where a server tells its version, in the upgrade's response or in a message of the hello.
#[derive(Debug)]
pub(crate) struct VersionPattern {
    pub(super) after: Finder<'static>,
    pub(super) until: Finder<'static>,
}

/// How messages that are no deliveries are named.
#[derive(Debug)]
pub(crate) struct Events {
    pub(super) kind: Option<Finder<'static>>,
    /// Names of events that are kept word for word.
    pub(crate) keep: Vec<String>,
    pub(super) refused: Vec<Finder<'static>>,
    pub(super) ignore: Vec<Finder<'static>>,
    /// Names of events that have none of their own.
    pub(super) named: Vec<(String, Finder<'static>)>,
}

/// A message that is no delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control<'a> {
    /// Nothing to be told.
    Ignored,
    /// The server refuses this connection.
    Refused,
    /// Anything else, by its name.
    Event(&'a str),
}

impl Events {
    /// What a message without a body says.
    pub(crate) fn name<'a>(&'a self, text: &'a [u8]) -> Control<'a> {
        let after = |finder: &Finder<'_>| finder.find(text).map(|at| &text[at + finder.needle().len()..]);
        let kind = self.kind.as_ref().and_then(after);
        if let Some(kind) = kind.and_then(|rest| std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()) {
            return Control::Event(kind);
        }
        if has_any(&self.refused, text) {
            Control::Refused
        } else if has_any(&self.ignore, text) {
            Control::Ignored
        } else {
            let named = self.named.iter().find(|(_, fragment)| fragment.find(text).is_some());
            Control::Event(named.map_or("(no type)", |(name, _)| name))
        }
    }
}

impl VersionPattern {
    /// The version, if this tells it.
    pub(crate) fn read(&self, text: &[u8]) -> Option<String> {
        let rest = &text[self.after.find(text)? + self.after.needle().len()..];
        let version = &rest[..self.until.find(rest)?];
        (version.len() <= VERSION_BYTES_MAX).then(|| String::from_utf8_lossy(version).into_owned())
    }
}

impl Deliver {
    /// Whether a body from `at` ends at `end`.
    pub(crate) fn is_end(&self, text: &[u8], at: usize, end: usize) -> bool {
        if self.whole {
            return at == 0 && end == text.len();
        }
        text.get(end..).is_some_and(|rest| rest.starts_with(&self.after))
    }
}

impl Resume {
    /// Where a room was entered, by the message that tells it.
    pub(crate) fn read(&self, text: &[u8]) -> Whereabouts {
        Whereabouts { channel: quoted(self.channel.as_ref(), text), epoch: quoted(self.epoch.as_ref(), text) }
    }

    /// Why what was missed does not follow, if the message tells it.
    pub(crate) fn why_not(&self, text: &[u8]) -> String {
        quoted(self.reason.as_ref(), text)
    }

    /// Whether the message by which a room is entered says that all that was missed follows.
    pub(crate) fn is_resumed(&self, text: &[u8]) -> bool {
        self.resumed.find(text).is_some()
    }
}

/// What stands behind a fragment, up to the next quote.
fn quoted(finder: Option<&Finder<'_>>, text: &[u8]) -> String {
    let Some(at) = finder.and_then(|finder| Some(finder.find(text)? + finder.needle().len())) else {
        return String::new();
    };
    let end = memchr::memchr(b'"', &text[at..]).filter(|&end| end <= RESUME_BYTES_MAX).unwrap_or(0);
    String::from_utf8_lossy(&text[at..at + end]).into_owned()
}

fn has_any(fragments: &[Finder<'_>], text: &[u8]) -> bool {
    fragments.iter().any(|fragment| fragment.find(text).is_some())
}

impl SeqPattern {
    /// The number in a message's head. `hint` is where its key stood last time: heads of a room's messages are alike,
    /// and a search costs more than all the rest of a delivery.
    pub(crate) fn read(&self, text: &[u8], hint: &mut usize) -> Option<u64> {
        let key = self.key.needle();
        if !text.get(*hint..).is_some_and(|rest| rest.starts_with(key)) {
            let end = self.before.as_ref().and_then(|before| before.find(text)).unwrap_or(text.len());
            *hint = self.key.find(&text[..end])?;
        }
        number_at(&text[*hint + key.len()..])
    }

    /// The number a room is entered at, if this message tells it; `Some(None)` if it enters without one.
    pub(crate) fn read_start(&self, text: &[u8]) -> Option<Option<u64>> {
        self.start.as_ref()?.find(text)?;
        Some(self.key.find(text).and_then(|at| number_at(&text[at + self.key.needle().len()..])))
    }
}

fn number_at(text: &[u8]) -> Option<u64> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut digits = text[..count].iter().map(|byte| u64::from(byte - b'0'));
    if count == 0 { None } else { digits.try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(digit)) }
}
