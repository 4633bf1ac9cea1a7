//! What is told to the others as it happens: who writes, where a cursor is, what an agent does.

use super::{Body, Command, ENVELOPE_FIELDS};
use crate::envelope::field::{self, Fault, flag};
use crate::envelope::kinds::Row;
use crate::envelope::tree::{KEY_BYTES_MAX, Object};

/// The body of a message that goes on as it is: without the envelope's fields, if it stands beside them.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    object: Object<'a>,
    flat: bool,
}

impl<'a> Fields<'a> {
    /// The object that the fields stand in, perhaps among those of the envelope.
    #[must_use]
    pub const fn object(&self) -> Object<'a> {
        self.object
    }

    /// Appends the fields as a JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.flat {
            self.write_but(&[], out);
        } else {
            out.extend_from_slice(self.object.raw().as_bytes());
        }
    }

    /// Appends the fields as a JSON object, less those with one of these names: what the gateway says itself.
    pub fn write_but(&self, names: &[&str], out: &mut Vec<u8>) {
        out.push(b'{');
        let start = out.len();
        for (key, value) in self.object.members() {
            let mut scratch = [0; KEY_BYTES_MAX];
            let name = key.name(&mut scratch);
            if names.contains(&name) || self.flat && ENVELOPE_FIELDS.contains(&name) {
                continue;
            }
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(key.raw().as_bytes());
            out.push(b':');
            out.extend_from_slice(value.raw().as_bytes());
        }
        out.push(b'}');
    }
}

/// Who writes, as a message says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing<'a> {
    /// The sender has begun to write, in a field if it is named.
    Start {
        /// The field's path.
        field: Option<&'a str>,
    },
    /// The sender writes no more.
    Stop {
        /// The field's path.
        field: Option<&'a str>,
    },
}

impl<'a> Body<'a> {
    pub(super) const fn whole(&self) -> Fields<'a> {
        Fields { object: self.fields, flat: self.flat }
    }

    /// A start, unless the body says that it is none.
    pub(super) fn typing(&mut self) -> Result<Command<'a>, Fault> {
        let [is_typing] = self.fields.find([&["is_typing", "isTyping"]]);
        let writes = is_typing.is_none() || flag(is_typing, "is_typing must be true or false")?;
        let field = self.typing_field()?;
        Ok(Command::Typing(if writes { Typing::Start { field } } else { Typing::Stop { field } }))
    }

    pub(super) fn typing_stop(&mut self) -> Result<Command<'a>, Fault> {
        Ok(Command::Typing(Typing::Stop { field: self.typing_field()? }))
    }

    fn typing_field(&mut self) -> Result<Option<&'a str>, Fault> {
        let [name] = self.fields.find([&["field", "field_name", "fieldName"]]);
        name.map(|value| self.strings.name(value, field::FIELD)).transpose()
    }

    pub(super) const fn relay(&self, row: &Row) -> Command<'a> {
        Command::Relay { kind: row.name, fields: self.whole() }
    }

    pub(super) const fn report(&self, row: &Row) -> Command<'a> {
        Command::Report { kind: row.name, fields: self.whole() }
    }
}
