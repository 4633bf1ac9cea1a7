//! Station 9 for crowds: what many members are owed alike is put together once, and each is written to from one piece of
//! memory.

use crate::envelope::Encoding;
use crate::ids::Seq;
use crate::limits::BATCH_BYTES_MAX;
use crate::payload::Payload;
use crate::room::history::History;
use crate::shard::pen::Pen;
use crate::shard::rooms::{Joined, Stretch};

/// What a member is owed if nothing stands between it and the end of the history.
pub(super) struct Whole {
    pub(super) next: Seq,
    pub(super) encoding: Encoding,
    /// Whether it is a known client's, and that makes a difference.
    pub(super) known: bool,
    /// Whether others are likely to be owed the same.
    pub(super) crowd: bool,
}

/// All events from `first` on as one stretch of bytes, if it was put together for another member. Members of a busy room
/// are owed the same ones, and each is written to from one piece of memory.
#[inline]
pub(super) fn shared(joined: Option<&Joined>, first: Seq, whole: &Whole) -> Option<Payload> {
    let stretch = joined?.of(whole.known)?;
    let serves = (stretch.first, stretch.next, stretch.encoding) == (first, whole.next, whole.encoding);
    serves.then(|| stretch.frames.clone())
}

/// The same, put together now. `None` if somebody is not to get one of them. Once for a crowd, so its visits do not carry
/// it with them.
#[inline(never)]
pub(super) fn join(
    history: &History,
    joined: &mut Option<Box<Joined>>,
    first: Seq,
    whole: &Whole,
    pen: &mut Pen,
) -> Option<Payload> {
    let frames = pen.join(|out| {
        (first.0..whole.next.0).all(|seq| {
            let event = history.event(Seq(seq)).filter(|event| event.excluded.is_none());
            let frame = event.and_then(|event| event.frame_to(whole.known, whole.encoding));
            frame.is_some_and(|frame| {
                out.extend_from_slice(frame);
                out.len() <= BATCH_BYTES_MAX
            })
        })
    })?;
    let stretch = Stretch { first, next: whole.next, encoding: whole.encoding, frames: frames.clone() };
    *joined.get_or_insert_default().of_mut(whole.known) = Some(stretch);
    Some(frames)
}
