//! Several messages in one.

use super::{Body, Command, Inbound, Rejected, read};
use crate::envelope::field::{Fault, malformed};
use crate::envelope::tree::Value;
use crate::limits;

/// The messages of a batch in their order, each as if it had come alone.
#[derive(Clone, Debug)]
pub struct Batch<'a>(pub Vec<Result<Inbound<'a>, Rejected<'a>>>);

impl Batch<'_> {
    /// What they cost together: one for ten, begun ones included, and never nothing.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        let tokens = self.0.len().div_ceil(limits::BATCH_MESSAGES_PER_TOKEN);
        u32::try_from(tokens).unwrap_or(u32::MAX).max(1)
    }
}

impl<'a> Inbound<'a> {
    /// The operations in this message that have to be answered: its own, or those of the batch that it is.
    pub fn operations(&self) -> impl Iterator<Item = &Self> {
        let (alone, held) = match &self.command {
            Command::Batch(batch) => (None, batch.0.as_slice()),
            _ => (Some(self), &[][..]),
        };
        alone.into_iter().chain(held.iter().flatten()).filter(|inbound| inbound.ack && inbound.id.is_some())
    }
}

impl<'a> Body<'a> {
    pub(super) fn batch(&mut self) -> Result<Batch<'a>, Fault> {
        let [messages] = self.fields.find([&["messages"]]);
        let messages = messages.and_then(Value::elements).ok_or(malformed("payload.messages must be an array"))?;
        let mut batch = Vec::new();
        for message in messages {
            if batch.len() == limits::BATCH_MESSAGES_MAX {
                return Err(malformed("a batch may have 100 messages"));
            }
            batch.push(self.message(message));
        }
        Ok(Batch(batch))
    }

    fn message(&mut self, message: Value<'a>) -> Result<Inbound<'a>, Rejected<'a>> {
        let Some(root) = message.object() else {
            return Err(Rejected::bare(malformed("a message must be a JSON object")));
        };
        let text_bytes = root.raw().len();
        match read(root, text_bytes, self.strings.split(text_bytes)) {
            Ok(Inbound { id, ack, command: Command::Batch(_), .. }) => {
                let (code, message) = malformed("a batch may not hold a batch");
                Err(Rejected { code, message, id, kind: Some("batch"), ack })
            }
            other => other,
        }
    }
}
