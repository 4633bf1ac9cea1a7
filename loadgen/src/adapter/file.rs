//! An adapter's file as it is written, and its one conversion into what is used.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::template::{Place, Template};
use super::{
    Adapter, Batch, Deliver, Delivered, Events, Keepalive, Open, Order, Publish, Resume, SeqPattern, Step,
    VersionPattern, finder,
};
use crate::frame::{OPCODE_BINARY, OPCODE_PING, OPCODE_TEXT};
use crate::limits::BATCH_COUNT_MAX;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    name: String,
    #[serde(default)]
    dialects: Vec<String>,
    open: WrittenOpen,
    #[serde(default)]
    token: WrittenToken,
    #[serde(default)]
    hello: Vec<WrittenStep>,
    #[serde(default)]
    keepalive: Vec<WrittenKeepalive>,
    publish: BTreeMap<String, WrittenPublish>,
    #[serde(default)]
    deliver: WrittenDeliver,
    seq: Option<WrittenSeq>,
    resume: Option<WrittenResume>,
    acknowledge: Option<String>,
    #[serde(default)]
    events: WrittenEvents,
    version: Option<WrittenVersion>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenOpen {
    path: String,
    query: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    subprotocol: Option<String>,
    ready: Option<String>,
    start: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenToken {
    query: Option<String>,
    header: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStep {
    send: Option<String>,
    send_binary: Option<String>,
    wait: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKeepalive {
    text: String,
    answer: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPublish {
    text: Option<String>,
    text_with_id: Option<String>,
    binary: Option<String>,
    #[serde(default)]
    ping: bool,
    #[serde(default)]
    delivered: Delivered,
    to_sender: Option<bool>,
    in_order: Option<bool>,
    refused: Option<String>,
    body_bytes_max: Option<usize>,
    batch: Option<WrittenBatch>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBatch {
    count: u32,
    before: String,
    between: String,
    after: String,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenDeliver {
    whole: bool,
    after: String,
    repeats: bool,
    json: bool,
    binary: bool,
    separator: String,
    to_sender: bool,
    order: Order,
}

impl Default for WrittenDeliver {
    fn default() -> Self {
        let (after, separator) = (String::new(), String::new());
        Self {
            whole: false,
            after,
            repeats: false,
            json: false,
            binary: false,
            separator,
            to_sender: true,
            order: Order::Room,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSeq {
    key: String,
    before: Option<String>,
    start: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenResume {
    text: String,
    channel: Option<String>,
    epoch: Option<String>,
    resumed: String,
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEvents {
    kind: Option<String>,
    #[serde(default)]
    keep: Vec<String>,
    #[serde(default)]
    refused: Vec<String>,
    #[serde(default)]
    ignore: Vec<String>,
    #[serde(default)]
    named: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVersion {
    after: String,
    until: String,
}

pub(super) fn parse(text: &str) -> Result<File, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let what = error.message().trim().replace('\n', ": ");
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or(text).matches('\n').count() + 1);
        // `serde` says in backticks what it found and then what it would have taken.
        let mut names = what.strip_prefix("unknown ").unwrap_or("").split('`').skip(1).step_by(2);
        let written = names.next().unwrap_or("");
        let known: Vec<&str> = names.collect();
        let meant = nearest(written, &known).map_or_else(String::new, |meant| format!("; write `{meant}`?"));
        format!("line {line}: {what}{meant}")
    })
}

/// The name that was probably meant.
pub(super) fn nearest<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    let likeness = |name: &&str| strsim::jaro_winkler(written, name);
    names.iter().copied().filter(|name| likeness(name) > 0.75).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

const OPENING: [Place; 3] = [Place::Endpoint, Place::Room, Place::User];
const OPENING_WITH_TOKEN: [Place; 4] = [Place::Endpoint, Place::Room, Place::User, Place::Token];
const HELLO: [Place; 6] = [Place::Endpoint, Place::Room, Place::User, Place::Token, Place::Channels, Place::Resume];
const RESUME: [Place; 4] = [Place::Room, Place::Channel, Place::Epoch, Place::Last];
const PUBLISH: [Place; 6] = [Place::Body, Place::Bytes, Place::Id, Place::Seq, Place::Room, Place::Channel];

impl File {
    /// Turns it into what is used, and the names of its dialects.
    pub(super) fn check(self) -> Result<(Adapter, Vec<String>), String> {
        let to_sender = self.deliver.to_sender;
        let kinds = self.publish.into_iter().map(|(kind, publish)| {
            let publish = publish.check(to_sender).map_err(|error| format!("publish.{kind}: {error}"))?;
            Ok((kind, publish))
        });
        let kinds = kinds.collect::<Result<Vec<_>, String>>()?;
        if kinds.is_empty() {
            return Err("publish: must have at least one kind".to_owned());
        }
        let hello = (1..)
            .zip(self.hello)
            .map(|(number, step)| step.check().map_err(|error| format!("hello, step {number}: {error}")));
        let hello = hello.collect::<Result<Vec<_>, String>>()?;
        if let Some(resume) = &self.resume {
            resume.check_company(self.seq.as_ref(), &hello)?;
        }
        let acknowledge = self.acknowledge.as_deref().map(|text| Template::compile(text, &RESUME));
        let acknowledge = acknowledge.transpose().map_err(|error| format!("acknowledge: {error}"))?;
        check_whereabouts(self.resume.as_ref(), acknowledge.as_ref(), &kinds)?;
        let adapter = Adapter {
            name: self.name,
            open: check_open(&self.open, &self.token)?,
            hello,
            keepalive: self.keepalive.into_iter().map(WrittenKeepalive::check).collect::<Result<_, _>>()?,
            deliver: self.deliver.check()?,
            seq: self.seq.map(WrittenSeq::check).transpose()?,
            resume: self.resume.map(WrittenResume::check).transpose()?,
            events: self.events.check()?,
            version: self.version.map(WrittenVersion::check).transpose()?,
            acknowledge,
            kinds,
            echo: None,
            dialects: Vec::new(),
        };
        Ok((adapter, self.dialects))
    }
}

/// Who names the channel or its epoch in what it says needs to know where they stand, which `resume` tells.
fn check_whereabouts(
    resume: Option<&WrittenResume>,
    acknowledge: Option<&Template>,
    kinds: &[(String, Publish)],
) -> Result<(), String> {
    let named = |place| {
        let publishes = kinds.iter().map(|(kind, publish)| (format!("publish.{kind}"), &publish.template));
        let mut all = publishes.chain(acknowledge.map(|text| ("acknowledge".to_owned(), text)));
        all.find(|(_, template)| template.count(place) > 0).map(|(key, _)| key)
    };
    let told = |of: fn(&WrittenResume) -> &Option<String>| resume.is_some_and(|resume| of(resume).is_some());
    for (place, name, told) in [
        (Place::Channel, "channel", told(|resume| &resume.channel)),
        (Place::Epoch, "epoch", told(|resume| &resume.epoch)),
    ] {
        if let Some(key) = named(place).filter(|_| !told) {
            return Err(format!("{key}: has {{{name}}}: must have resume.{name}, which says where it stands"));
        }
    }
    Ok(())
}

fn check_open(open: &WrittenOpen, token: &WrittenToken) -> Result<Open, String> {
    if !(open.path.starts_with('/') || open.path.starts_with("{endpoint}")) {
        return Err(format!("open.path: {} must start with / or {{endpoint}}", open.path));
    }
    let line = |key: &str, text: &str, places: &[Place]| {
        if text.chars().any(char::is_control) {
            return Err(format!("{key}: {text:?} must have no control characters"));
        }
        Template::compile(text, places).map_err(|error| format!("{key}: {error}"))
    };
    let some = |key: &str, text: &Option<String>, places: &[Place]| {
        text.as_deref().map(|text| line(key, text, places)).transpose()
    };
    let mut headers = Vec::new();
    for (name, value) in &open.headers {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(format!("open.headers: {name:?} must be letters, digits and -"));
        }
        headers.push(line("open.headers", &format!("{name}: {value}"), &OPENING)?);
    }
    if let Some(subprotocol) = &open.subprotocol {
        headers.push(line("open.subprotocol", &format!("Sec-WebSocket-Protocol: {subprotocol}"), &[])?);
    }
    if let Some(ready) = &open.ready
        && !(ready.starts_with('/') && ready.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(format!("open.ready: {ready:?} must be a path, as in \"/readyz\""));
    }
    if open.start.as_ref().is_some_and(|start| start.trim().is_empty()) {
        return Err("open.start: must not be empty".to_owned());
    }
    Ok(Open {
        ready: open.ready.clone(),
        start: open.start.clone(),
        path: line("open.path", &open.path, &OPENING)?,
        query: some("open.query", &open.query, &OPENING)?,
        headers,
        token_query: some("token.query", &token.query, &OPENING_WITH_TOKEN)?,
        token_header: some("token.header", &token.header, &OPENING_WITH_TOKEN)?,
    })
}

impl WrittenStep {
    fn check(self) -> Result<Step, String> {
        match (self.send, self.send_binary, self.wait) {
            (Some(text), None, None) => {
                Ok(Step::Send { opcode: OPCODE_TEXT, template: Template::compile(&text, &HELLO)? })
            }
            (None, Some(text), None) => {
                Ok(Step::Send { opcode: OPCODE_BINARY, template: Template::compile(&text, &HELLO)? })
            }
            (None, None, Some(fragment)) => Ok(Step::Wait(Box::new(fragment_of("wait", &fragment)?))),
            _ => Err("must have exactly one of send, send_binary, wait".to_owned()),
        }
    }
}

impl WrittenKeepalive {
    fn check(self) -> Result<Keepalive, String> {
        if self.text.is_empty() || self.answer.is_empty() {
            return Err("keepalive: text and answer must not be empty".to_owned());
        }
        Ok(Keepalive { text: self.text.into_bytes(), answer: self.answer.into_bytes() })
    }
}

impl WrittenPublish {
    fn check(self, to_sender: bool) -> Result<Publish, String> {
        let (opcode, text) = match (&self.text, &self.binary, self.ping) {
            (Some(text), None, false) => (OPCODE_TEXT, text.as_str()),
            (None, Some(text), false) => (OPCODE_BINARY, text.as_str()),
            (None, None, true) => (OPCODE_PING, ""),
            _ => return Err("must have exactly one of text, binary, ping".to_owned()),
        };
        if self.ping && self.delivered != Delivered::None {
            return Err("a ping is delivered to nobody: must have delivered = \"none\"".to_owned());
        }
        let compile = |text: &str| {
            let template = Template::compile(text, &PUBLISH)?;
            match (template.count(Place::Body), self.delivered) {
                (1, _) | (0, Delivered::None) => Ok(template),
                _ => Err("must have {body} once".to_owned()),
            }
        };
        let asks = self.delivered == Delivered::Sender;
        if !asks && (self.in_order.is_some() || self.refused.is_some()) {
            return Err("in_order and refused are of answers: must have delivered = \"sender\"".to_owned());
        }
        if asks && self.to_sender.is_some() {
            return Err("to_sender: must be left out where delivered = \"sender\"".to_owned());
        }
        Ok(Publish {
            template: compile(text)?,
            template_with_id: self.text_with_id.as_deref().map(compile).transpose()?,
            opcode,
            delivered: self.delivered,
            to_sender: self.to_sender.unwrap_or(to_sender),
            in_order: self.in_order.unwrap_or(true),
            refused: self.refused.as_deref().map(|text| fragment_of("refused", text)).transpose()?,
            body_bytes_max: self.body_bytes_max,
            batch: self.batch.map(WrittenBatch::check).transpose()?,
        })
    }
}

impl WrittenBatch {
    fn check(self) -> Result<Batch, String> {
        let Self { count, before, between, after } = self;
        if !(2..=BATCH_COUNT_MAX).contains(&count) {
            return Err(format!("batch: count {count}: must be 2 to {BATCH_COUNT_MAX}"));
        }
        Ok(Batch { count, before: before.into_bytes(), between: between.into_bytes(), after: after.into_bytes() })
    }
}

impl WrittenDeliver {
    fn check(self) -> Result<Deliver, String> {
        if self.whole && !self.after.is_empty() {
            return Err("deliver: nothing stands after a whole message: leave out whole or after".to_owned());
        }
        Ok(Deliver {
            whole: self.whole,
            after: self.after.into_bytes(),
            repeats: self.repeats,
            json: self.json,
            binary: self.binary,
            separator: (!self.separator.is_empty()).then(|| Box::new(finder(&self.separator))),
            order: self.order,
        })
    }
}

impl WrittenVersion {
    fn check(self) -> Result<VersionPattern, String> {
        let until = fragment_of("version.until", &self.until)?;
        Ok(VersionPattern { after: fragment_of("version.after", &self.after)?, until })
    }
}

impl WrittenSeq {
    fn check(self) -> Result<SeqPattern, String> {
        let some = |key: &str, text: Option<String>| text.map(|text| fragment_of(key, &text)).transpose();
        Ok(SeqPattern {
            key: fragment_of("seq.key", &self.key)?,
            before: some("seq.before", self.before)?,
            start: some("seq.start", self.start)?,
        })
    }
}

impl WrittenResume {
    /// Whether what it needs elsewhere is there.
    fn check_company(&self, seq: Option<&WrittenSeq>, hello: &[Step]) -> Result<(), String> {
        if seq.is_none_or(|seq| seq.start.is_none()) {
            return Err("resume: must have seq.start beside it, which tells where a room is entered".to_owned());
        }
        let says = |step: &Step| matches!(step, Step::Send { template, .. } if template.count(Place::Resume) > 0);
        match hello.iter().any(says) {
            true => Ok(()),
            false => Err("resume: a step of hello must have {resume} in it".to_owned()),
        }
    }

    fn check(self) -> Result<Resume, String> {
        let some = |key: &str, text: Option<String>| text.map(|text| fragment_of(key, &text)).transpose();
        let template = Template::compile(&self.text, &RESUME).map_err(|error| format!("resume.text: {error}"))?;
        for (place, key, given) in [(Place::Channel, "channel", &self.channel), (Place::Epoch, "epoch", &self.epoch)] {
            if template.count(place) > 0 && given.is_none() {
                return Err(format!("resume: text has {{{key}}}: must have {key}, which says where it stands"));
            }
        }
        Ok(Resume {
            template,
            channel: some("resume.channel", self.channel)?,
            epoch: some("resume.epoch", self.epoch)?,
            resumed: fragment_of("resume.resumed", &self.resumed)?,
            reason: some("resume.reason", self.reason)?,
        })
    }
}

impl WrittenEvents {
    fn check(self) -> Result<Events, String> {
        let all = |key: &str, texts: Vec<String>| {
            texts.iter().map(|text| fragment_of(key, text)).collect::<Result<Vec<_>, String>>()
        };
        let named = self.named.into_iter().map(|(name, text)| {
            let fragment = fragment_of(&format!("events.named.{name}"), &text)?;
            Ok((name, fragment))
        });
        Ok(Events {
            kind: self.kind.map(|text| fragment_of("events.kind", &text)).transpose()?,
            keep: self.keep,
            refused: all("events.refused", self.refused)?,
            ignore: all("events.ignore", self.ignore)?,
            named: named.collect::<Result<_, String>>()?,
        })
    }
}

fn fragment_of(key: &str, text: &str) -> Result<memchr::memmem::Finder<'static>, String> {
    // An empty fragment is in every message: surely a slip.
    if text.is_empty() { Err(format!("{key}: must not be empty")) } else { Ok(finder(text)) }
}
