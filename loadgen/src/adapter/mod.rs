//! What a server's messages look like: everything about one product's wire that the engine would else have to know.
//!
//! An adapter is a TOML file (`docs/LOADGEN.md`, Adapters): how a connection opens and joins its room, what a publish
//! is, how a delivery is told from anything else. It is read once and compiled: per message there is no lookup by name
//! and no allocation. `file` is the file as written, `template` fills in what differs from message to message, `outgoing`
//! has what a group publishes, `pattern` tells what came.
//!
//! A server may speak further dialects on other paths: each is an adapter of its own, named in `dialects`, that a group
//! asks for.
//!
//! What is absent: code of any kind. A server that needs an answer computed from what it sent is out of reach.

mod file;
mod outgoing;
mod pattern;
mod template;

use memchr::memmem::{self, Finder};
use serde::{Deserialize, Serialize};

use crate::limits::{ADAPTER_BYTES_MAX, DIALECTS_COUNT_MAX, HELLO_STEPS_MAX};
use crate::scenario::{Auth, Group};

pub(crate) use outgoing::{Outgoing, pick};
pub(crate) use pattern::{Control, Deliver, Events, Resume, SeqPattern, VersionPattern, Whereabouts};
pub use template::{Template, Values};

/// The adapters that come with the program, by name.
pub const SHIPPED: [(&str, &str); 9] = [
    ("waystation", include_str!("../../adapters/waystation.toml")),
    ("echo", include_str!("../../adapters/echo.toml")),
    ("ws", include_str!("../../adapters/ws.toml")),
    ("socketio", include_str!("../../adapters/socketio.toml")),
    ("centrifugo", include_str!("../../adapters/centrifugo.toml")),
    ("nats", include_str!("../../adapters/nats.toml")),
    ("nchan", include_str!("../../adapters/nchan.toml")),
    ("globetrotter", include_str!("../../adapters/globetrotter.toml")),
    ("globetrotter-user", include_str!("../../adapters/globetrotter-user.toml")),
];

/// What an adapter's kind is called that stands for all of the product's kinds it does not name.
const DEFAULT_KIND: &str = "default";

/// Waystation's own kinds of messages.
pub const KINDS: [&str; 13] = [
    "trip_update",
    "publish",
    "chat_message",
    "chat_batch",
    "agent_stream",
    "notification",
    "typing",
    "cursor",
    "editing",
    "ping",
    "history",
    "presence",
    "time",
];

/// One product's wire, ready to be spoken.
#[derive(Debug)]
pub struct Adapter {
    /// What reports call it.
    pub name: String,
    pub(crate) open: Open,
    pub(crate) hello: Vec<Step>,
    pub(crate) keepalive: Vec<Keepalive>,
    pub(crate) deliver: Deliver,
    pub(crate) seq: Option<SeqPattern>,
    pub(crate) resume: Option<Resume>,
    pub(crate) events: Events,
    pub(crate) version: Option<VersionPattern>,
    /// What a member says that has read so far.
    pub(crate) acknowledge: Option<Template>,
    kinds: Vec<(String, Publish)>,
    /// Who speaks `echo`, if not this one.
    echo: Option<Box<Self>>,
    /// What else the server speaks, on other paths.
    dialects: Vec<Self>,
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
    /// The path that is answered 200 once the server is ready.
    pub(crate) ready: Option<String>,
    /// The command that starts the server, for who has to start it.
    start: Option<String>,
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
    delivered: Delivered,
    to_sender: bool,
    /// The answers to one connection come in the order of what they answer.
    in_order: bool,
    /// What is in an answer that says no.
    refused: Option<Finder<'static>>,
    /// Longest body that the server takes, if it takes less than a message holds.
    body_bytes_max: Option<usize>,
    batch: Option<Batch>,
}

/// Several publishes of a kind in one frame.
#[derive(Debug)]
pub(crate) struct Batch {
    /// How many.
    pub(crate) count: u32,
    /// What the frame begins with, what stands between two of them, and its end.
    pub(crate) before: Vec<u8>,
    pub(crate) between: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

/// What a server asks now and then, and the answer without which it gives a connection up.
#[derive(Debug)]
pub(crate) struct Keepalive {
    /// The whole message.
    pub(crate) text: Vec<u8>,
    pub(crate) answer: Vec<u8>,
}

/// Which members get a publish.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivered {
    /// Every one, once.
    #[default]
    Every,
    /// Any of them, once: the server may leave out what a later one makes worthless.
    Some,
    /// The publisher alone, once: it is a question, and the body comes back in the answer.
    Sender,
    /// None, as far as can be told: nothing is delivered, or nothing that has the body in it.
    None,
}

/// What order a server promises.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// All members of a room get all publishes in the same order.
    #[default]
    Room,
    /// The publishes of each publisher keep their order.
    Publisher,
    /// None at all.
    None,
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

    /// The command that starts its server, if the file has one.
    #[must_use]
    pub fn start(&self) -> Option<&str> {
        self.open.start.as_deref()
    }

    /// Reads an adapter by the name of a shipped one, or by its file.
    ///
    /// # Errors
    /// There is none, or something in it is not as it must be.
    pub fn load(name: &str) -> Result<Self, String> {
        Self::parse(&text_of(name)?, name)
    }

    /// Reads an adapter's text; `place` is what errors call it.
    ///
    /// # Errors
    /// Says which key is wrong, and what it must be.
    pub fn parse(text: &str, place: &str) -> Result<Self, String> {
        let wrong = |error: String| format!("adapter {place}: {error}");
        let (mut adapter, names) = Self::parse_alone(text, place)?;
        if names.len() > DIALECTS_COUNT_MAX {
            return Err(wrong(format!("{} dialects: at most {DIALECTS_COUNT_MAX}", names.len())));
        }
        for name in &names {
            let text = text_of(name).map_err(|error| wrong(format!("dialects: {error}")))?;
            let (dialect, further) = Self::parse_alone(&text, name)?;
            if !further.is_empty() {
                return Err(wrong(format!("dialects: {name} must have none of its own")));
            }
            adapter.dialects.push(dialect);
        }
        Ok(adapter)
    }

    /// Reads it without its dialects, whose names are told.
    fn parse_alone(text: &str, place: &str) -> Result<(Self, Vec<String>), String> {
        let wrong = |error: String| format!("adapter {place}: {error}");
        if text.len() > ADAPTER_BYTES_MAX {
            return Err(wrong(format!("{} bytes: at most {ADAPTER_BYTES_MAX}", text.len())));
        }
        let (mut adapter, dialects) = file::parse(text).and_then(file::File::check).map_err(wrong)?;
        if adapter.hello.len() > HELLO_STEPS_MAX {
            return Err(wrong(format!("{} hello steps: at most {HELLO_STEPS_MAX}", adapter.hello.len())));
        }
        if !adapter.kinds.iter().any(|(kind, _)| kind == "echo") {
            let (name, text) = SHIPPED[1];
            adapter.echo = Some(Box::new(Self::parse_alone(text, name)?.0));
        }
        Ok((adapter, dialects))
    }

    /// Who speaks a kind, this adapter or for `echo` the shipped one, and what a publish of it is.
    fn spoken(&self, kind: &str) -> Result<(&Self, &Publish), String> {
        let own = |wanted: &str| self.kinds.iter().find(|(name, _)| name == wanted);
        if let Some((_, publish)) = own(kind) {
            return Ok((self, publish));
        }
        match (kind, &self.echo, own(DEFAULT_KIND)) {
            ("echo", Some(echo), _) => return echo.spoken(kind),
            (_, _, Some((_, publish))) if KINDS.contains(&kind) => return Ok((self, publish)),
            _ => {}
        }
        let mut names: Vec<&str> = self.kinds.iter().map(|(own, _)| own.as_str()).collect();
        if let Some(at) = names.iter().position(|name| *name == DEFAULT_KIND) {
            names.remove(at);
            names.extend(KINDS.iter().filter(|kind| own(kind).is_none()));
        }
        let meant = file::nearest(kind, &names).map_or_else(String::new, |meant| format!("; write {meant}?"));
        Err(format!("kind {kind}: adapter {} has {}{meant}", self.name, names.join(", ")))
    }

    /// Who speaks a group's kinds.
    ///
    /// # Errors
    /// Nobody speaks all of them; says who is spoken instead.
    pub(crate) fn of(&self, group: &Group) -> Result<&Self, String> {
        let wrong = |error: String| format!("group {}: {error}", group.name);
        let spoken = self.dialect(&group.dialect).map_err(wrong)?;
        if group.mix.is_empty() {
            return spoken.spoken(&group.kind).map(|(adapter, _)| adapter).map_err(wrong);
        }
        Ok(spoken)
    }

    /// The dialect of this name; the adapter itself for none.
    fn dialect(&self, name: &str) -> Result<&Self, String> {
        if name.is_empty() {
            return Ok(self);
        }
        let names: Vec<&str> = self.dialects.iter().map(|dialect| dialect.name.as_str()).collect();
        let found = self.dialects.iter().find(|dialect| dialect.name == name);
        found.ok_or_else(|| match names.is_empty() {
            true => format!("dialect {name}: adapter {} has none", self.name),
            false => format!("dialect {name}: adapter {} has {}", self.name, names.join(", ")),
        })
    }

    /// Where a connection's token goes if the scenario wants it there: who has no frame for it takes it in the path.
    pub(crate) fn auth(&self, wanted: Auth) -> Auth {
        let has_frame = self.hello.iter().any(Step::needs_token);
        if wanted == Auth::Frame && !has_frame && self.open.token_query.is_some() { Auth::Query } else { wanted }
    }
}

impl Step {
    /// Whether it goes out on a connection whose token goes elsewhere.
    pub(crate) fn needs_token(&self) -> bool {
        matches!(self, Self::Send { template, .. } if template.has_token())
    }
}

/// The text of a shipped adapter by its name, or of a file.
fn text_of(name: &str) -> Result<String, String> {
    if let Some((_, text)) = SHIPPED.iter().find(|shipped| shipped.0 == name) {
        return Ok((*text).to_owned());
    }
    if !name.ends_with(".toml") {
        let names = SHIPPED.map(|shipped| shipped.0);
        let meant = file::nearest(name, &names).map_or_else(String::new, |meant| format!("; write {meant}?"));
        return Err(format!("adapter {name}: must be one of {} or a .toml file{meant}", names.join(", ")));
    }
    std::fs::read_to_string(name).map_err(|error| format!("adapter {name}: {error}"))
}

fn finder(text: &str) -> Finder<'static> {
    memmem::Finder::new(text).into_owned()
}

#[cfg(test)]
mod tests;
