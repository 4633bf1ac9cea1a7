//! Several events in one frame, for clients that asked for it.
//!
//! A visit's frames are sealed already; their texts are put side by side, and nothing is encoded again.
//! What is owed at a visit is what is bundled: no event waits for others to come.

use super::effect::Batch;
use super::pen::Pen;
use crate::limits::{BUNDLE_BYTES_MAX, BUNDLE_EVENTS_MAX};
use crate::payload::Payload;

/// Puts the events among a batch's parts from `start` on into as few frames as they fit in. A single event
/// stays as it is, and so does what is no event: control frames, and the answer to an authentication frame.
pub(super) fn bundle(batch: &mut Batch, start: usize, pen: &mut Pen) {
    let parts = batch.split_off(start);
    if parts.iter().map(|part| Frames(part).count()).sum::<usize>() < 2 {
        return parts.into_iter().for_each(|part| batch.push(part, 0));
    }
    let mut pending: Vec<&[u8]> = Vec::new();
    let mut bytes = 0;
    for frame in parts.iter().flat_map(|part| Frames(part)) {
        let event = event_in(frame);
        let whole = pending.len() == BUNDLE_EVENTS_MAX || bytes + frame.len() > BUNDLE_BYTES_MAX;
        if whole || event.is_none() {
            seal(&mut pending, batch, pen);
            bytes = 0;
        }
        match event {
            Some(_) => {
                pending.push(frame);
                bytes += frame.len();
            }
            None => batch.push(Payload::copy_of(frame), 0),
        }
    }
    seal(&mut pending, batch, pen);
}

fn seal(pending: &mut Vec<&[u8]>, batch: &mut Batch, pen: &mut Pen) {
    match pending.as_slice() {
        [] => {}
        [alone] => batch.push(Payload::copy_of(alone), 0),
        events => {
            let bundle = pen.text(|out| {
                out.extend_from_slice(b"{\"type\":\"batch\",\"events\":");
                for (index, event) in events.iter().enumerate() {
                    out.push(if index == 0 { b'[' } else { b',' });
                    out.extend_from_slice(event_in(event).unwrap_or(b"{}"));
                }
                out.extend_from_slice(b"]}");
            });
            batch.push(bundle, 0);
        }
    }
    pending.clear();
}

/// The frames that stand one after another in a part. Ours are never masked.
struct Frames<'a>(&'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (start, len) = extent(self.0)?;
        let (frame, rest) = self.0.split_at_checked(start + len)?;
        self.0 = rest;
        Some(frame)
    }
}

/// How long a frame's header and its payload are (RFC 6455 section 5.2).
fn extent(frame: &[u8]) -> Option<(usize, usize)> {
    match *frame.get(1)? {
        126 => {
            let len: [u8; 2] = frame.get(2..4)?.try_into().ok()?;
            Some((4, u16::from_be_bytes(len).into()))
        }
        127 => {
            let len: [u8; 8] = frame.get(2..10)?.try_into().ok()?;
            Some((10, usize::try_from(u64::from_be_bytes(len)).ok()?))
        }
        len => Some((2, len.into())),
    }
}

/// The event's text, if the frame holds one: those have an id first, which the answers to authentication
/// frames have not.
fn event_in(frame: &[u8]) -> Option<&[u8]> {
    const WHOLE_TEXT: u8 = 0x81;
    let (start, _) = extent(frame)?;
    let text = frame.get(start..).filter(|_| frame.first() == Some(&WHOLE_TEXT))?;
    text.starts_with(b"{\"id\":").then_some(text)
}
