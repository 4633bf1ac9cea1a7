//! What lies behind a channel's history: stretches of events from the store, for members that read on from there.
//!
//! A member's debt is one position, whether the event behind it stands in the history or in the store. Where it stands in
//! the store, the stretch is asked for once, however many members are owed it, and each is served from the same frames;
//! until it comes the member waits and costs nothing. Live events come after it, by the same position. Absent: what is
//! still retained (the store says so with each stretch), and reading itself.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::Shard;
use super::effect::{Effect, Effects};
use super::keeping::Keeping;
use super::message::Known;
use super::pen::Pen;
use super::rooms::{Room, RoomId};
use crate::envelope::{Encoding, EventHead, write_event};
use crate::ids::{ConnId, Epoch, Position, Seq, ShardId};
use crate::ledger::{ChannelNumber, Page, Read, Refusal, Standing, Ticket, disk::Order, event::read_event};
use crate::limits::{
    EXCLUSIONS_PER_CHANNEL_MAX, REPLAY_PAGE_BYTES, REPLAY_PAGE_EVENTS, REPLAY_PAGES_PER_CHANNEL, REPLAY_READS_PER_TURN,
    REPLAYS_PER_SHARD_MAX, REPLAYS_WANTED_PER_CHANNEL_MAX,
};
use crate::metrics::Metric;
use crate::room::history::{Event, History};
use crate::room::resume::Behind;

/// Events that follow one another in the store: all behind `after` up to `through` that can be read.
#[derive(Debug)]
pub(super) struct Stretch {
    after: Seq,
    through: Seq,
    events: Vec<(Epoch, Event)>,
    /// What cannot be read of them: from the first to the last of each stretch.
    damaged: Vec<(Seq, Seq)>,
    bytes: usize,
}

/// What a room knows of its channel's events behind the history.
#[derive(Debug)]
pub(super) struct Past {
    known: Known,
    /// The latest stretches, the newest last.
    stretches: VecDeque<Stretch>,
    /// Stretches that were asked for: behind which event.
    asked: Vec<Seq>,
    /// Stretches that somebody waits for and that are not asked for yet. Who finds no place looks again after the next one.
    wanted: VecDeque<Seq>,
    /// Which connection was not to get which of the latest events: the store does not know connections.
    excluded: VecDeque<(Seq, ConnId)>,
    /// Whether it stands among those that have stretches to ask for.
    queued: bool,
    /// Whether members wait for a stretch to be told where they start.
    pub(super) unsettled: bool,
}

/// A stretch that the store was asked for.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) room: RoomId,
    /// Of which channel: the room may have been forgotten since, and its place be another's.
    channel: ChannelNumber,
    after: Seq,
    through: Seq,
}

/// What a member gets that stands behind the history.
pub(super) enum Served<'a> {
    /// These events, and where it stands after them.
    Events(&'a [(Epoch, Event)], Seq),
    /// Nothing now: the stretch is asked for.
    Waits,
    /// Nothing before this event: it is the oldest, or what lies before it cannot be read.
    Lost(Seq),
}

impl Past {
    pub(super) fn new(known: Known) -> Self {
        Self {
            known,
            stretches: VecDeque::new(),
            asked: Vec::new(),
            wanted: VecDeque::new(),
            excluded: VecDeque::new(),
            queued: false,
            unsettled: false,
        }
    }

    /// What other shards need to read for themselves.
    pub(super) fn known(&self) -> Box<Known> {
        Box::new(self.known.clone())
    }

    /// Its number there.
    pub(super) const fn channel(&self) -> ChannelNumber {
        self.known.channel
    }

    /// The first event since the channel was opened: everything before it lies in the store.
    pub(super) const fn first(&self) -> Seq {
        self.known.first
    }

    /// The store has said which event is the oldest; 0 for none.
    pub(super) fn note_oldest(&mut self, oldest: Seq) {
        self.known.oldest = self.known.oldest.max(oldest);
    }

    /// Everything up to an event is erased.
    pub(super) fn forget(&mut self, through: Seq) {
        self.note_oldest(through.next());
        self.stretches.clear();
    }

    /// Lets go of what was read if some of it is erased: whoever reads on asks for it again. Returns whether it was.
    pub(super) fn let_go_if(&mut self, is_erased: impl Fn(&Event) -> bool) -> bool {
        let mut events = self.stretches.iter().flat_map(|stretch| &stretch.events);
        let any = events.any(|(_, event)| is_erased(event));
        if any {
            self.stretches.clear();
        }
        any
    }

    /// Events that are held for readers.
    pub(super) fn held(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.events.len()).sum()
    }

    /// The oldest event that can be read, there or in the history.
    pub(super) fn oldest(&self, history: &History) -> Seq {
        self.known.oldest.min(history.oldest())
    }

    /// What can be said of a position that lies behind the history; `None` until the stretch behind it is there.
    pub(super) fn judge(&mut self, history: &History, position: Position) -> Option<Behind> {
        let oldest = self.oldest(history);
        let standing = match position.epoch {
            None => Standing::Changed,
            // Everything of the present epoch that is not in the history was committed before it went.
            Some(epoch) if epoch == history.epoch() && position.seq.next() >= oldest => Standing::Resumes,
            Some(epoch) if epoch == history.epoch() => Standing::Trimmed,
            Some(epoch) => match self.known.line.judge(epoch, position.seq) {
                Standing::Resumes if self.following(position.seq).unwrap_or(self.known.first) < oldest => {
                    Standing::Trimmed
                }
                standing => standing,
            },
        };
        if standing == Standing::Resumes
            && position.seq.next() < history.oldest()
            && self.find(position.seq.next()).is_none()
        {
            self.want(position.seq);
            return None;
        }
        Some(Behind { oldest, resumes: standing == Standing::Resumes, trimmed: standing == Standing::Trimmed })
    }

    /// The same for whoever names no position.
    pub(super) fn none(&self, history: &History) -> Behind {
        Behind { oldest: self.oldest(history), resumes: false, trimmed: false }
    }

    /// The epoch of an event that was stored when the channel was opened.
    pub(super) fn epoch_of(&self, seq: Seq) -> Option<Epoch> {
        self.known.line.epoch_of(seq)
    }

    /// Up to where a stretch says everything. In the present epoch there is no hole, so that what is missing at the end is
    /// not committed yet: its home still has it.
    pub(super) fn covered(&self, after: Seq, last: Option<Seq>, through: Seq) -> Seq {
        let first = self.known.first;
        if through < first || last == Some(through) {
            return through;
        }
        last.filter(|last| *last >= first).unwrap_or(Seq(first.0 - 1)).max(after)
    }

    /// A connection is not to get an event. They are told in the order of the events, some of them twice.
    pub(super) fn exclude(&mut self, seq: Seq, author: ConnId) {
        if self.excluded.back().is_some_and(|(last, _)| *last >= seq) {
            return;
        }
        if self.excluded.len() >= EXCLUSIONS_PER_CHANNEL_MAX {
            self.excluded.pop_front();
        }
        self.excluded.push_back((seq, author));
    }

    /// Which connections of a shard are not to get which events of a stretch.
    pub(super) fn excluded_within(&self, (stretch, shard): (Range<Seq>, ShardId)) -> Vec<(Seq, ConnId)> {
        let within = |(seq, author): &&(Seq, ConnId)| stretch.contains(seq) && author.shard == shard;
        if stretch.is_empty() { Vec::new() } else { self.excluded.iter().filter(within).copied().collect() }
    }

    fn excluded_from(&self, seq: Seq) -> Option<ConnId> {
        let index = self.excluded.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        self.excluded.get(index).map(|(_, author)| *author)
    }

    fn following(&self, seq: Seq) -> Option<Seq> {
        self.known.line.following(seq)
    }

    fn find(&self, next: Seq) -> Option<&Stretch> {
        self.stretches.iter().rev().find(|stretch| stretch.after < next && next <= stretch.through)
    }

    /// Somebody waits for what is behind an event. A stretch that begins shortly before it brings that, too; if its bytes end
    /// it earlier, whoever still waits then wants the next one.
    fn want(&mut self, after: Seq) {
        let brings = |from: &Seq| *from <= after && after.0 - from.0 < REPLAY_PAGE_EVENTS as u64;
        if self.wanted.len() < REPLAYS_WANTED_PER_CHANNEL_MAX && !self.wanted.iter().chain(&self.asked).any(brings) {
            self.wanted.push_back(after);
        }
    }

    /// Serves a member that is owed `next`, which is not in the history any more.
    pub(super) fn serve(&mut self, next: Seq, history: &History) -> Served<'_> {
        let oldest = self.oldest(history);
        // Between two epochs there are numbers that no event has, and the present one begins behind everything stored.
        let first = self.following(Seq(next.0.saturating_sub(1))).unwrap_or(self.known.first).max(next);
        if first < oldest {
            return Served::Lost(oldest);
        }
        if self.find(next).is_none() {
            self.want(Seq(next.0.saturating_sub(1)));
            return Served::Waits;
        }
        let Some(stretch) = self.stretches.iter().rev().find(|one| one.after < next && next <= one.through) else {
            return Served::Waits;
        };
        if let Some((_, last)) = stretch.damaged.iter().find(|(first, last)| *first <= next && next <= *last) {
            return Served::Lost(last.next());
        }
        let hole = stretch.damaged.iter().map(|(first, _)| *first).filter(|first| *first > next).min();
        let end = hole.unwrap_or_else(|| stretch.through.next());
        let from = stretch.events.partition_point(|(_, event)| event.seq < next);
        let to = stretch.events.partition_point(|(_, event)| event.seq < end);
        Served::Events(stretch.events.get(from..to).unwrap_or_default(), end)
    }

    /// Whether somebody waits for something that is to be asked for.
    fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether it is to stand among those that have stretches to ask for, and did not yet.
    pub(super) fn queue(&mut self) -> bool {
        self.is_wanted() && !std::mem::replace(&mut self.queued, true)
    }

    /// Memory of what it holds.
    pub(super) fn bytes(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.bytes).sum()
    }

    /// Lets go of what was read, unless somebody waits for more: whoever reads on asks for it again.
    pub(super) fn rest(&mut self) {
        if self.wanted.is_empty() && self.asked.is_empty() {
            self.stretches.clear();
        }
    }
}

impl Shard {
    /// Whether the store is to be asked for something, and may be.
    pub(super) fn wants_pages(&self) -> bool {
        let may_ask = |keeping: &Keeping| !keeping.replays.is_empty() && keeping.reads.len() < REPLAYS_PER_SHARD_MAX;
        self.keeping.as_deref().is_some_and(may_ask)
    }

    /// Asks the store for the stretches that members wait for, as many at a time as are allowed.
    pub(super) fn ask_pages(&mut self, effects: &mut Effects) {
        while let Some(keeping) = &mut self.keeping
            && keeping.reads.len() < REPLAYS_PER_SHARD_MAX
            && let Some(id) = keeping.replays.pop_front()
        {
            let Some(room) = self.rooms.at_mut(id) else { continue };
            let Room { history, stored: Some(stored), .. } = room else { continue };
            let Some(past) = &mut stored.past else { continue };
            past.queued = false;
            let (channel, through) = (past.known.channel, Seq(history.oldest().0.saturating_sub(1)));
            // More than are held would push each other out before they are looked at.
            while past.asked.len() < REPLAY_PAGES_PER_CHANNEL
                && keeping.reads.len() < REPLAYS_PER_SHARD_MAX
                && let Some(after) = past.wanted.pop_front()
            {
                let (count, bytes) = (REPLAY_PAGE_EVENTS, REPLAY_PAGE_BYTES);
                let read = Read { channel, after, through, order: Order::Forward, count, bytes };
                let ticket = keeping.ticket();
                keeping.reads.insert(ticket, Reading { room: id, channel, after, through });
                past.asked.push(after);
                effects.list.push(Effect::Read(ticket, Box::new(read)));
            }
            if past.is_wanted() && past.asked.len() < REPLAY_PAGES_PER_CHANNEL {
                past.queued = true;
                keeping.replays.push_back(id);
            }
        }
    }
}

impl Shard {
    /// A room has stretches to be asked for.
    pub(super) fn note_replay(&mut self, id: RoomId) {
        let Some(past) = self.rooms.at_mut(id).and_then(Room::past_mut) else { return };
        if past.queue()
            && let Some(keeping) = &mut self.keeping
        {
            keeping.replays.push_back(id);
        }
    }

    /// The store has read a stretch, or could not. What this turn has no time for waits.
    pub(super) fn on_page(&mut self, ticket: Ticket, outcome: Result<Page, Refusal>, effects: &mut Effects) {
        let Some(keeping) = &mut self.keeping else { return };
        match outcome {
            Ok(page) if keeping.reads_left == 0 || !keeping.pages.is_empty() => keeping.pages.push_back((ticket, page)),
            outcome => self.take_page(ticket, outcome, effects),
        }
    }

    /// A new turn, and stretches that earlier ones had no time for. Returns whether there are more.
    pub(super) fn take_pages(&mut self, effects: &mut Effects) -> bool {
        let Some(keeping) = &mut self.keeping else { return false };
        keeping.reads_left = REPLAY_READS_PER_TURN;
        while let Some(keeping) = &mut self.keeping
            && keeping.reads_left > 0
            && let Some((ticket, page)) = keeping.pages.pop_front()
        {
            self.take_page(ticket, Ok(page), effects);
        }
        self.keeping.as_deref().is_some_and(|keeping| !keeping.pages.is_empty())
    }

    fn take_page(&mut self, ticket: Ticket, outcome: Result<Page, Refusal>, effects: &mut Effects) {
        let Some(keeping) = &mut self.keeping else { return };
        let events = outcome.as_ref().map_or(1, |page| page.records.len().max(1));
        keeping.reads_left = keeping.reads_left.saturating_sub(events);
        let Some(Reading { room: id, channel, after, through }) = keeping.reads.remove(&ticket) else { return };
        let is_stale = keeping.stale.remove(&ticket);
        let Some(Room { name, stored: Some(stored), .. }) = self.rooms.at_mut(id) else { return };
        let Some(past) = stored.past.as_mut().filter(|past| past.known.channel == channel) else { return };
        past.asked.retain(|asked| *asked != after);
        if is_stale {
            past.want(after);
            return self.note_replay(id);
        }
        let page = match outcome {
            Ok(page) => page,
            // What is known of the channel cannot be read, and that stays so: whoever waits is told.
            Err(Refusal::Damaged(_)) => {
                Page { damaged: vec![(after.next(), through)], oldest: past.known.oldest, ..Page::default() }
            }
            Err(Refusal::Failed(_) | Refusal::Full) => {
                // Asked again with the next sweep: whoever waits goes on waiting.
                self.metrics.count(Metric::StoreRefused);
                past.want(after);
                return;
            }
        };
        self.metrics.add(Metric::StoreDamaged, page.damaged.len() as u64);
        past.note_oldest(page.oldest);
        let last = last_of(&page);
        let through = if page.more { last.unwrap_or(after) } else { past.covered(after, last, through) };
        if through <= after && past.known.oldest <= after.next() {
            // It is not committed yet: asked again with the next sweep.
            past.want(after);
            return;
        }
        let mut events = Vec::with_capacity(page.records.len());
        let (mut bytes, mut damaged) = (0, page.damaged);
        for (seq, record) in &page.records {
            let Ok((epoch, event)) = read_event(past.known.channel, *seq, record) else {
                damaged.push((*seq, *seq));
                continue;
            };
            let event = frozen(&mut self.pen, name, (epoch, *seq), (&event, past.excluded_from(*seq)));
            bytes += event.bytes();
            events.push((epoch, event));
        }
        // Where nothing of it is retained any more whoever waits is told so.
        if through > after {
            past.stretches.push_back(Stretch { after, through, events, damaged, bytes });
        }
        if past.stretches.len() > REPLAY_PAGES_PER_CHANNEL {
            past.stretches.pop_front();
        }
        let unsettled = std::mem::take(&mut past.unsettled);
        self.metrics.count(Metric::ReplayPages);
        if unsettled {
            self.settle_members(id, effects);
        }
        self.note_replay(id);
        self.line_up(id);
    }
}

/// The last event of which a page says something.
pub(super) fn last_of(page: &Page) -> Option<Seq> {
    let read = page.records.iter().map(|(seq, _)| *seq);
    read.chain(page.damaged.iter().map(|(first, last)| *first.max(last))).max()
}

/// A stored event as the history would hold it.
pub(super) fn frozen(
    pen: &mut Pen,
    channel: &Arc<str>,
    (epoch, seq): (Epoch, Seq),
    (event, excluded): (&crate::ledger::Event<'_>, Option<ConnId>),
) -> Event {
    let head = EventHead {
        id: event.id,
        kind: event.kind,
        unix_ms: event.unix_ms,
        instant: None,
        channel: Some(channel),
        seq: Some(seq),
        epoch: Some(epoch),
        op_id: (!event.op_id.is_empty()).then_some(event.op_id),
        user_id: Some(event.user).filter(|user| !user.is_empty()),
        session_id: channel.strip_prefix("chat:"),
        traceparent: None,
        encoding: Encoding::TRIPSAGE,
    };
    let frame = pen.text(|out| {
        write_event(&head, event.payload, out);
    });
    Event::new(seq, event.unix_ms, 0, excluded, frame, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Keep, Line};

    #[test]
    fn so_many_exclusions_are_remembered_and_the_oldest_are_forgotten() {
        let line = Line::new("chat:s", Keep { count: 1, bytes: 1, age_ms: 1 });
        let mut past = Past::new(Known { channel: ChannelNumber(1), line, first: Seq(1), oldest: Seq(1) });
        let author = ConnId { shard: ShardId(0), slot: 1, generation: 1 };
        let last = EXCLUSIONS_PER_CHANNEL_MAX as u64 + 1;
        (1..=last).for_each(|seq| past.exclude(Seq(seq), author));
        let excluded = [1, 2, last, last + 1].map(|seq| past.excluded_from(Seq(seq)));
        assert_eq!(excluded, [None, Some(author), Some(author), None]);
    }
}
