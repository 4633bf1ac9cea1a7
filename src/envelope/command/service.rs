//! Requests and their answers, and how far a reader has come: what services and their callers say.

use super::{Body, Command, Fields};
use crate::envelope::field::{self, Fault, malformed};
use crate::envelope::kinds::Row;
use crate::envelope::tree::{Kind, Object, Value};
use crate::limits;

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub enum Params<'a> {
    /// It said nothing.
    Absent,
    /// A value of any type.
    Value(Value<'a>),
    /// The whole body of a message that has a name of its own.
    Body(Fields<'a>),
}

impl<'a> Params<'a> {
    /// The parameters by name, if they have names.
    #[must_use]
    pub fn object(&self) -> Option<Object<'a>> {
        match self {
            Self::Absent => None,
            Self::Value(value) => value.object(),
            Self::Body(fields) => Some(fields.object()),
        }
    }

    /// Appends them as JSON; an empty object if there are none.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Absent => out.extend_from_slice(b"{}"),
            Self::Value(value) => out.extend_from_slice(value.raw().as_bytes()),
            Self::Body(fields) => fields.write(out),
        }
    }
}

/// Something that is asked of the gateway or of a service.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is asked for.
    pub method: &'a str,
    /// About what.
    pub params: Params<'a>,
    /// Under which the answer is known. Absent only in messages that may go unanswered.
    pub id: Option<&'a str>,
    /// Whether it has a name of its own (`start_agent`, …): without a service nothing is answered.
    pub optional: bool,
}

/// An answer from a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The request.
    pub id: &'a str,
    /// A raw JSON value of any type, or a raw JSON object that says what went wrong.
    pub outcome: Result<&'a str, &'a str>,
}

impl<'a> Body<'a> {
    pub(super) fn request(&mut self, envelope_id: Option<&'a str>) -> Result<Command<'a>, Fault> {
        let [method, params, id] = self.fields.find([&["method"], &["params"], &["id"]]);
        let method = self.strings.name(method.ok_or(malformed("method is missing"))?, field::METHOD)?;
        let id = self.answer_id(id, envelope_id)?;
        let params = params.map_or(Params::Absent, Params::Value);
        Ok(Command::Request(Request { method, params, id: Some(id), optional: false }))
    }

    pub(super) const fn call(&self, row: &Row, envelope_id: Option<&'a str>) -> Command<'a> {
        let params = Params::Body(self.whole());
        Command::Request(Request { method: row.name, params, id: envelope_id, optional: true })
    }

    pub(super) fn response(&mut self, envelope_id: Option<&'a str>) -> Result<Command<'a>, Fault> {
        let [id, result, error] = self.fields.find([&["id"], &["result"], &["error"]]);
        let id = self.answer_id(id, envelope_id)?;
        let outcome = match (error, result) {
            (Some(error), _) if error.kind() == Kind::Object => Err(error.raw()),
            (Some(_), _) => return Err(malformed("error must be an object")),
            (None, Some(result)) => Ok(result.raw()),
            // A result of null is one.
            (None, None) if self.fields.has("result") => Ok("null"),
            (None, None) => return Err(malformed("result is missing")),
        };
        Ok(Command::Response(Response { id, outcome }))
    }

    pub(super) fn register(&mut self) -> Result<Command<'a>, Fault> {
        let [list] = self.fields.find([&["methods"]]);
        let list = list.and_then(Value::elements).ok_or(malformed("methods must be an array of strings"))?;
        let (mut methods, mut nameless) = (Vec::new(), Vec::new());
        for value in list {
            if methods.len() + nameless.len() == limits::METHODS_PER_MESSAGE_MAX {
                return Err(malformed("a message may name 50 methods"));
            }
            value.escaped().ok_or(malformed("methods must be an array of strings"))?;
            match self.strings.name(value, field::METHOD) {
                Ok(name) => methods.push(name),
                Err(_) => nameless.push(value.raw()),
            }
        }
        Ok(Command::Register { methods, nameless })
    }

    pub(super) fn cancel(&mut self, envelope_id: Option<&'a str>) -> Result<Command<'a>, Fault> {
        let [id] = self.fields.find([&["id"]]);
        Ok(Command::Cancel { id: self.answer_id(id, envelope_id)? })
    }

    /// How far a channel was read, and which if the body names it.
    pub(super) fn ack(&mut self) -> Result<(Option<&'a str>, Command<'a>), Fault> {
        let [channel] = self.fields.find([&["channel"]]);
        let channel = channel.map(|value| self.strings.name(value, field::CHANNEL)).transpose()?;
        Ok((channel, Command::Ack { position: self.strings.position(self.fields)? }))
    }

    /// The body's id, else the envelope's.
    fn answer_id(&mut self, own: Option<Value<'a>>, envelope: Option<&'a str>) -> Result<&'a str, Fault> {
        match own {
            // Beside the envelope it is the same, and was read.
            Some(own) if !self.flat => self.strings.name(own, field::ID),
            _ => envelope.ok_or(malformed("id is missing")),
        }
    }
}
