//! Station 9 for members that stand behind a channel's history: from the stretches that the store has read (`replay`).

use super::Tools;
use crate::metrics::Metric;
use crate::room::history::History;
use crate::room::members::Member;
use crate::shard::effect::{Batch, Portion};
use crate::shard::forms::frame_for;
use crate::shard::keeping::Stored;
use crate::shard::replay::{Past, Served};
use crate::shard::rooms::RoomId;

impl Tools<'_> {
    /// Serves a member from the store where there is one, else tells it what it did not get; neither before its turn.
    /// `None` once the member stands within the history, else whether it is owed more now.
    #[inline(never)]
    pub(super) fn catch_up(
        &mut self,
        (stored, history): (&mut Option<Box<Stored>>, &History),
        at: (RoomId, &str),
        member: &mut Member,
        (portion, reason): (Portion, &str),
        batch: &mut Batch,
    ) -> Option<bool> {
        if !self.has_turn {
            return Some(true);
        }
        if let Some(past) = stored.as_mut().and_then(|stored| stored.past.as_mut()) {
            return self.replay((past, history), at, member, (portion, reason), batch);
        }
        self.skip_gone(at, (history, history.oldest()), member, reason, batch);
        None
    }

    /// Takes events that lie behind the history. `None` once the member stands within it, else whether it is owed more
    /// now: while it waits for the store it is not.
    fn replay(
        &mut self,
        (past, history): (&mut Past, &History),
        (id, name): (RoomId, &str),
        member: &mut Member,
        (portion, reason): (Portion, &str),
        batch: &mut Batch,
    ) -> Option<bool> {
        loop {
            if member.next >= history.oldest() {
                return None;
            }
            match past.serve(member.next, history) {
                Served::Waits => {
                    if let Some(keeping) = self.keeping.as_deref_mut().filter(|_| past.queue()) {
                        keeping.replays.push_back(id);
                    }
                    return Some(false);
                }
                Served::Lost(oldest) => self.skip_gone((id, name), (history, oldest), member, reason, batch),
                Served::Events(events, end) => {
                    let wanted = (self.known, member.encoding);
                    let parts = batch.parts();
                    let id = self.id;
                    let frames = events.iter().map(|(epoch, event)| {
                        let own = event.excluded.is_some_and(|author| author == id);
                        if own { None } else { frame_for(event, wanted, (name, *epoch)) }
                    });
                    let taken = batch.extend(frames, portion);
                    self.metrics.add(Metric::Delivered, (batch.parts() - parts) as u64);
                    member.next = events.get(taken).map_or(end, |(_, event)| event.seq);
                    if !batch.takes(portion) {
                        return Some(true);
                    }
                }
            }
        }
    }
}
