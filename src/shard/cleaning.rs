//! What becomes of HTML in chat, by the operator's row for the channel: it passes, is escaped, or is refused.
//!
//! A row is about everything that a message's author wrote and a page may show: content, attachments, metadata, and
//! the same in messages of chat that are published by who may speak for others. What names somebody or something
//! (ids, the role) is never escaped, since it would name another then; with HTML in it the message is refused.

use std::ops::Range;

use super::Shard;
use crate::auth::Html;
use crate::code::ErrorCode;
use crate::envelope::{Chat, html};
use crate::limits::MESSAGE_BYTES_MAX;

/// A chat message with HTML escaped.
pub(super) struct CleanChat {
    content: String,
    attachments: Option<String>,
}

impl CleanChat {
    /// The message with these in the place of what its author wrote.
    pub(super) fn of<'a>(&'a self, chat: &Chat<'a>) -> Chat<'a> {
        Chat { content: &self.content, attachments: self.attachments.as_deref(), ..*chat }
    }

    /// The payload that was made of it, with HTML escaped in the stretch that its metadata takes. All that its author
    /// wrote is still no more than a message may have.
    pub(super) fn finish(&self, payload: &[u8], metadata: Range<usize>) -> Result<Vec<u8>, ErrorCode> {
        let text = payload.get(metadata.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("");
        let others = self.content.len() + self.attachments.as_ref().map_or(0, String::len);
        let text = escaped(text, MESSAGE_BYTES_MAX.saturating_sub(others))?;
        let [before, after] =
            [payload.get(..metadata.start), payload.get(metadata.end..)].map(Option::unwrap_or_default);
        Ok([before, text.as_bytes(), after].concat())
    }
}

/// Members of a published message that a page shows as text.
const TEXTS: [&str; 5] = ["content", "attachments", "metadata", "tool_calls", "toolCalls"];

impl Shard {
    /// A chat message with HTML escaped in all but its metadata, which [`CleanChat::finish`] does; `None` where it passes
    /// as it is.
    pub(super) fn clean_chat(
        &self,
        channel: &str,
        user: &str,
        chat: &Chat<'_>,
    ) -> Result<Option<CleanChat>, ErrorCode> {
        let rule = self.options.policy.html(channel, user);
        if rule == Html::Off {
            return Ok(None);
        }
        if chat.role.is_some_and(|role| role.contains(['&', '<', '>', '"', '\''])) {
            return Err(ErrorCode::InvalidMessageFormat);
        }
        if rule == Html::Reject {
            let metadata = chat.metadata.members().flat_map(|(name, value)| [name, value]);
            let active = [chat.content].into_iter().chain(chat.attachments).chain(metadata).any(html::is_active);
            return if active { Err(ErrorCode::InvalidMessageFormat) } else { Ok(None) };
        }
        let content = escaped(chat.content, MESSAGE_BYTES_MAX)?;
        let left = MESSAGE_BYTES_MAX.saturating_sub(content.len());
        let attachments = chat.attachments.map(|attachments| escaped(attachments, left)).transpose()?;
        Ok(Some(CleanChat { content, attachments }))
    }

    /// The payload of an event that its sender put together, with HTML escaped where it is one of chat; `None` where it
    /// passes as it is.
    pub(super) fn clean_event(
        &self,
        channel: &str,
        user: &str,
        (kind, payload): (&str, &[u8]),
    ) -> Result<Option<String>, ErrorCode> {
        if !(kind.starts_with("chat_message") || kind == "user_message") {
            return Ok(None);
        }
        let rule = self.options.policy.html(channel, user);
        if rule == Html::Off {
            return Ok(None);
        }
        let payload = std::str::from_utf8(payload).map_err(|_| ErrorCode::InvalidMessageFormat)?;
        if rule == Html::Reject {
            return if html::is_active(payload) { Err(ErrorCode::InvalidMessageFormat) } else { Ok(None) };
        }
        let mut out = Vec::with_capacity(payload.len());
        if !html::write_escaped_within(payload, &TEXTS, &mut out) {
            return Err(ErrorCode::InvalidMessageFormat);
        }
        within(out, MESSAGE_BYTES_MAX).map(Some)
    }
}

/// Raw JSON with HTML escaped.
fn escaped(raw: &str, bytes_max: usize) -> Result<String, ErrorCode> {
    let mut out = Vec::with_capacity(raw.len());
    html::write_escaped(raw, &mut out);
    within(out, bytes_max)
}

fn within(out: Vec<u8>, bytes_max: usize) -> Result<String, ErrorCode> {
    if out.len() > bytes_max {
        return Err(ErrorCode::MessageTooLarge);
    }
    String::from_utf8(out).map_err(|_| ErrorCode::InvalidMessageFormat)
}
