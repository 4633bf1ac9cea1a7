//! What a server's messages look like: everything about one product's wire that the engine would else have to know.
//!
//! An adapter is a TOML file (`docs/LOADGEN.md`, Adapters): how a connection opens and joins its room, what a publish
//! is, how a delivery is told from anything else. It is read once and compiled: per message there is no lookup by name
//! and no allocation. `file` is the file as written, `template` fills in what differs from message to message.
//!
//! What is absent: code of any kind. A server that needs an answer computed from what it sent is out of reach.

mod file;
mod template;

use memchr::memmem::{self, Finder};

use crate::limits::{ADAPTER_BYTES_MAX, HELLO_STEPS_MAX};
use crate::scenario::Group;

pub use template::{Template, Values};

/// The adapters that come with the program, by name.
pub const SHIPPED: [(&str, &str); 2] = [
    ("waystation", include_str!("../../adapters/waystation.toml")),
    ("echo", include_str!("../../adapters/echo.toml")),
];

/// One product's wire, ready to be spoken.
#[derive(Debug)]
pub struct Adapter {
    /// What reports call it.
    pub name: String,
    pub(crate) open: Open,
    pub(crate) hello: Vec<Step>,
    pub(crate) deliver: Deliver,
    pub(crate) seq: Option<SeqPattern>,
    pub(crate) events: Events,
    kinds: Vec<(String, Publish)>,
    /// Who speaks `echo`, if not this one.
    echo: Option<Box<Self>>,
}

/// The upgrade request.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) path: Template,
    pub(crate) query: Option<Template>,
    /// Whole lines without their ends.
    pub(crate) headers: Vec<Template>,
    pub(crate) token_query: Option<Template>,
    pub(crate) token_header: Option<Template>,
}

/// One step between the upgrade and the first publish.
#[derive(Debug)]
pub(crate) enum Step {
    /// Sent at once; left out where it names a token that goes elsewhere.
    Send { opcode: u8, template: Template },
    /// Goes on at the first message that holds this.
    Wait(Box<Finder<'static>>),
}

/// What a publish of one kind is.
#[derive(Debug)]
struct Publish {
    template: Template,
    template_with_id: Option<Template>,
    opcode: u8,
}

/// How a delivery is told.
#[derive(Debug)]
pub(crate) struct Deliver {
    /// A message is nothing but the body.
    pub(crate) whole: bool,
    /// What stands behind the body.
    pub(crate) after: Vec<u8>,
    /// Messages are JSON, and some of them are parsed to see it.
    pub(crate) json: bool,
}

/// Where the server's own sequence number stands.
#[derive(Debug)]
pub(crate) struct SeqPattern {
    key: Finder<'static>,
    before: Option<Finder<'static>>,
    start: Option<Finder<'static>>,
}

/// How messages that are no deliveries are named.
#[derive(Debug)]
pub(crate) struct Events {
    kind: Option<Finder<'static>>,
    /// Names of events that are kept word for word.
    pub(crate) keep: Vec<String>,
    refused: Vec<Finder<'static>>,
    ignore: Vec<Finder<'static>>,
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

/// Publishes of one group, compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) template: &'a Template,
    pub(crate) opcode: u8,
    pub(crate) body_bytes: usize,
}

impl Adapter {
    /// The shipped adapter of the gateway itself.
    ///
    /// # Panics
    /// Never: its text is part of the program, and a test reads it.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a text that is part of the program, and a test reads it")]
    pub fn waystation() -> Self {
        let (name, text) = SHIPPED[0];
        Self::parse(text, name).expect("the shipped adapter")
    }

    /// Reads an adapter by the name of a shipped one, or by its file.
    ///
    /// # Errors
    /// There is none, or something in it is not as it must be.
    pub fn load(name: &str) -> Result<Self, String> {
        if let Some((_, text)) = SHIPPED.iter().find(|shipped| shipped.0 == name) {
            return Self::parse(text, name);
        }
        if !name.ends_with(".toml") {
            let names = SHIPPED.map(|shipped| shipped.0);
            let meant = file::nearest(name, &names).map_or_else(String::new, |meant| format!("; write {meant}?"));
            return Err(format!("adapter {name}: must be one of {} or a .toml file{meant}", names.join(", ")));
        }
        let text = std::fs::read_to_string(name).map_err(|error| format!("adapter {name}: {error}"))?;
        Self::parse(&text, name)
    }

    /// Reads an adapter's text; `place` is what errors call it.
    ///
    /// # Errors
    /// Says which key is wrong, and what it must be.
    pub fn parse(text: &str, place: &str) -> Result<Self, String> {
        let wrong = |error: String| format!("adapter {place}: {error}");
        if text.len() > ADAPTER_BYTES_MAX {
            return Err(wrong(format!("{} bytes: at most {ADAPTER_BYTES_MAX}", text.len())));
        }
        let mut adapter = file::parse(text).and_then(file::File::check).map_err(wrong)?;
        if adapter.hello.len() > HELLO_STEPS_MAX {
            return Err(wrong(format!("{} hello steps: at most {HELLO_STEPS_MAX}", adapter.hello.len())));
        }
        if !adapter.kinds.iter().any(|(kind, _)| kind == "echo") {
            let (name, text) = SHIPPED[1];
            adapter.echo = Some(Box::new(Self::parse(text, name)?));
        }
        Ok(adapter)
    }

    /// Who speaks this kind: this adapter, or for `echo` the shipped one.
    ///
    /// # Errors
    /// Nobody does; says who is spoken instead.
    pub(crate) fn of(&self, kind: &str) -> Result<&Self, String> {
        if self.kinds.iter().any(|(own, _)| own == kind) {
            return Ok(self);
        }
        if let Some(echo) = self.echo.as_deref().filter(|_| kind == "echo") {
            return Ok(echo);
        }
        let names: Vec<&str> = self.kinds.iter().map(|(own, _)| own.as_str()).collect();
        let meant = file::nearest(kind, &names).map_or_else(String::new, |meant| format!("; write {meant}?"));
        Err(format!("kind {kind}: adapter {} has {}{meant}", self.name, names.join(", ")))
    }

    /// Compiles what a group publishes.
    ///
    /// # Errors
    /// The adapter has no such kind, or the message is too small for its body.
    pub(crate) fn outgoing(&self, group: &Group) -> Result<Outgoing<'_>, String> {
        let wrong = |error: String| format!("group {}: {error}", group.name);
        let spoken = self.of(&group.kind).map_err(wrong)?;
        let publish = spoken.kinds.iter().find(|(kind, _)| *kind == group.kind).map(|(_, publish)| publish);
        let publish = publish.ok_or_else(|| wrong(format!("kind {} is missing", group.kind)))?;
        let template = publish.template_with_id.as_ref().filter(|_| group.ids).unwrap_or(&publish.template);
        let around = template.bytes(&Values::default());
        let body_bytes = group.total_bytes.map_or(group.payload_bytes, |total| total.saturating_sub(around));
        crate::scenario::check_body(body_bytes).map_err(wrong)?;
        Ok(Outgoing { template, opcode: publish.opcode, body_bytes })
    }
}

impl Step {
    /// Whether it goes out on a connection whose token goes elsewhere.
    pub(crate) fn needs_token(&self) -> bool {
        matches!(self, Self::Send { template, .. } if template.has_token())
    }
}

impl Events {
    /// What a message without a body says.
    pub(crate) fn name<'a>(&self, text: &'a [u8]) -> Control<'a> {
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
            Control::Event("(no type)")
        }
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

fn finder(text: &str) -> Finder<'static> {
    memmem::Finder::new(text).into_owned()
}

#[cfg(test)]
mod tests;
