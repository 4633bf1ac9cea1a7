//! An event's frame in an encoding that nobody used when the event was sequenced, made from a frame that is there.
//!
//! Station 9, for those who come later. Nothing is kept of what is made here.

use crate::envelope::Encoding;
use crate::envelope::globetrotter::shown::write_shown_again;
use crate::ids::Epoch;
use crate::payload::Payload;
use crate::room::history::Event;
use crate::wire::encoder::{Opcode, frame, payload_of};
use crate::wire::event_stream;

/// The event's frame in an encoding, if it exists in that; made from the plain one if nobody used that encoding when
/// it was sequenced. Out of the way of deliveries in the usual one.
#[inline(never)]
pub(super) fn frame_for(
    event: &Event,
    (known, encoding): (bool, Encoding),
    (channel, epoch): (&str, Epoch),
) -> Option<Payload> {
    if let Some(frame) = event.frame_to(known, encoding) {
        return Some(frame.clone()).filter(|frame| !frame.is_empty());
    }
    let plain = event.frame_to(known, Encoding::TRIPSAGE).unwrap_or_else(|| event.plain());
    if encoding == Encoding::GLOBETROTTER {
        let mut flat = Vec::new();
        let shown = std::str::from_utf8(payload_of(plain))
            .is_ok_and(|text| write_shown_again(channel, event.unix_ms, text, &mut flat));
        return shown.then(|| frame(Opcode::Text, &flat));
    }
    if encoding == Encoding::EVENT_STREAM {
        let mut streamed = Vec::new();
        event_stream::write_event(Some((epoch, event.seq)), payload_of(plain), &mut streamed);
        return Some(Payload::copy_of(&streamed));
    }
    Some(rename(plain, channel, encoding).map_or_else(|| plain.clone(), |text| frame(Opcode::Text, &text)))
}

/// The text of a plain frame with the channel named in another form.
fn rename(plain: &[u8], channel: &str, encoding: Encoding) -> Option<Vec<u8>> {
    // Not from the first brace: one may stand in the header too, since a length can have its value.
    let text = std::str::from_utf8(payload_of(plain)).ok()?;
    let mut old = Vec::from(&b",\"channel\":"[..]);
    crate::envelope::event::write_channel(Encoding::TRIPSAGE, channel, &mut old);
    let mut new = Vec::from(&b",\"channel\":"[..]);
    crate::envelope::event::write_channel(encoding, channel, &mut new);
    // The first occurrence is the envelope's: before it stand only the id, the type and the time, and a
    // quote within a string would be escaped.
    let at = text.find(std::str::from_utf8(&old).ok()?)?;
    let (before, after) = (&text[..at], &text[at + old.len()..]);
    Some([before.as_bytes(), &new, after.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_any_length_is_renamed_and_stays_whole() {
        for len in 0..=700 {
            let pad = "x".repeat(len);
            let plain = format!(r#"{{"id":"1","type":"a","channel":"chat:s","payload":"{pad}"}}"#);
            let expected = plain.replace("chat:s", "session:s");
            let renamed = rename(&frame(Opcode::Text, plain.as_bytes()), "chat:s", Encoding::TRIPSAGE_ALIAS);
            assert_eq!(renamed.as_deref(), Some(expected.as_bytes()), "{len}");
        }
    }
}
