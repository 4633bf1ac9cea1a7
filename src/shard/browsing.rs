//! Parts of a channel's history for who asks for them: from what the shard has, and from the store where that does not
//! reach.
//!
//! What the history has is answered at once. Else the store is read, and what it has is put together with what is not
//! on the disk yet: there is no hole between the two, or the store is read again. Absent: who may ask.

use super::Shard;
use super::effect::{Effect, Effects};
use super::keeping::Stage;
use super::message::outside::Reply;
use super::message::service::{Failure, RequestMessage, Stretch};
use super::outside::reply;
use super::publishing::text_of;
use super::replay::{frozen, last_of};
use super::rooms::{Room, RoomId};
use crate::code::ErrorCode;
use crate::envelope::Encoding;
use crate::envelope::notice::service::{Page, write_history};
use crate::ids::{Seq, ShardId};
use crate::ledger::{self, Read, Refusal, disk::Order, event::read_event};
use crate::limits::{BROWSE_READS_MAX, BROWSES_PER_SHARD_MAX, HISTORY_PAGE_BYTES_MAX};
use crate::metrics::Metric;
use crate::request;
use crate::room::history::{Event, History};
use crate::time::Now;
use crate::wire::encoder::payload_of;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reader {
    /// A connection of a shard, by a request.
    Connection(ShardId, request::Ticket),
    /// Somebody outside, by a question.
    Outside(u64),
}

/// What waits for the store.
#[derive(Debug)]
pub(super) struct Browse {
    pub(super) reader: Reader,
    stretch: Stretch,
    /// How often the store was read for it.
    reads: u8,
}

impl Browse {
    /// Whether somebody outside asks.
    pub(super) const fn is_outside(&self) -> bool {
        matches!(self.reader, Reader::Outside(_))
    }
}

impl Shard {
    /// Answers who wants a part of the history of a channel at home here, at once or when the store has read it.
    pub(super) fn browse(&mut self, now: Now, reader: Reader, stretch: Stretch, effects: &mut Effects) {
        self.go_on_browsing(now, Browse { reader, stretch, reads: 0 }, effects);
    }

    fn go_on_browsing(&mut self, now: Now, browse: Browse, effects: &mut Effects) {
        let reader = browse.reader;
        match self.look_up(now, browse, effects) {
            Ok(Some(page)) => self.give_page(now, reader, Ok(page), effects),
            Ok(None) => {}
            Err(code) => self.give_page(now, reader, Err(code), effects),
        }
    }

    /// A page from what is here; nothing if it waits for the store.
    fn look_up(&mut self, now: Now, mut browse: Browse, effects: &mut Effects) -> Result<Option<Vec<u8>>, ErrorCode> {
        let name = &browse.stretch.channel;
        let id = match self.rooms.find(name) {
            // A channel that nobody is in may have a past.
            None if self.is_durable(name) => Some(self.open_room(now, name)?),
            known => known,
        };
        if let Some(id) = id {
            self.reopen(now, id);
        }
        let Some(room) = id.and_then(|id| self.rooms.at_mut(id)) else {
            let mut out = Vec::new();
            write_history(&Page { channel: name, place: None, more: false, lost: &[] }, std::iter::empty(), &mut out);
            return Ok(Some(out));
        };
        let channel = match room.kept().map(|kept| &kept.stage) {
            Some(Stage::Refused(_)) => return Err(ErrorCode::StoreUnavailable),
            Some(Stage::Open(channel)) if reaches_behind(room, &browse.stretch) => Some(*channel),
            Some(Stage::Opening) => None,
            Some(Stage::Open(_)) | None => return Ok(Some(page_here(room, &browse.stretch))),
        };
        let Some(keeping) = &mut self.keeping else { return Err(ErrorCode::ServerError) };
        if keeping.browsing >= BROWSES_PER_SHARD_MAX || browse.reads >= BROWSE_READS_MAX {
            return Err(ErrorCode::Overloaded);
        }
        keeping.browsing += 1;
        let Some(channel) = channel else {
            if let Some(kept) = room.kept_mut() {
                kept.readers.push(browse);
            }
            return Ok(None);
        };
        browse.reads += 1;
        let Stretch { since, until, limit, reverse, .. } = browse.stretch;
        let read = Read {
            channel,
            after: since.unwrap_or_default(),
            through: until.unwrap_or(Seq(u64::MAX)),
            order: if reverse { Order::Backward } else { Order::Forward },
            count: limit,
            bytes: HISTORY_PAGE_BYTES_MAX,
        };
        let ticket = keeping.ticket();
        keeping.browses.insert(ticket, browse);
        effects.list.push(Effect::Read(ticket, Box::new(read)));
        Ok(None)
    }

    /// One more waits for the store.
    pub(super) fn count_reader(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            keeping.browsing += 1;
        }
    }

    /// The store has opened a channel, or has not: who waited for that has its turn.
    pub(super) fn let_in_readers(&mut self, now: Now, id: RoomId, effects: &mut Effects) {
        let Some(kept) = self.rooms.at_mut(id).and_then(Room::kept_mut) else { return };
        let readers = std::mem::take(&mut kept.readers);
        if let Some(keeping) = &mut self.keeping {
            keeping.browsing -= readers.len();
        }
        for browse in readers {
            self.go_on_browsing(now, browse, effects);
        }
    }

    /// The store has read a part of a history, or could not.
    pub(super) fn on_browsed(
        &mut self,
        now: Now,
        browse: Browse,
        outcome: Result<ledger::Page, Refusal>,
        effects: &mut Effects,
    ) {
        if let Some(keeping) = &mut self.keeping {
            keeping.browsing -= 1;
        }
        let Ok(page) = outcome else {
            self.metrics.count(Metric::StoreRefused);
            return self.give_page(now, browse.reader, Err(ErrorCode::StoreUnavailable), effects);
        };
        match self.put_together(&browse.stretch, &page) {
            Some(out) => self.give_page(now, browse.reader, Ok(out), effects),
            // It was forgotten meanwhile, or what is here begins behind what was read.
            None => self.go_on_browsing(now, browse, effects),
        }
    }

    /// What the store has read and what is here as one page; nothing if something lies between.
    fn put_together(&mut self, stretch: &Stretch, page: &ledger::Page) -> Option<Vec<u8>> {
        let id = self.rooms.find(&stretch.channel)?;
        let Room { name, history, stored, .. } = self.rooms.at_mut(id)?;
        let past = stored.as_mut()?.past.as_mut()?;
        past.note_oldest(page.oldest);
        self.metrics.add(Metric::StoreDamaged, page.damaged.len() as u64);
        let mut lost = page.damaged.clone();
        let mut stored_events = Vec::with_capacity(page.records.len());
        // What was erased while it was read is gone.
        let oldest = past.oldest(history);
        for (seq, record) in page.records.iter().filter(|(seq, _)| *seq >= oldest) {
            let Ok((epoch, event)) = read_event(past.channel(), *seq, record) else {
                lost.push((*seq, *seq));
                continue;
            };
            stored_events.push(frozen(&mut self.pen, name, (epoch, *seq), (&event, None)));
        }
        let (after, through) = (stretch.since.unwrap_or_default(), stretch.until.unwrap_or(Seq(u64::MAX)));
        let last = last_of(page);
        // What is read from behind begins with the latest; what is read from the front may end before them.
        let cut = page.more && !stretch.reverse;
        let mut here = Vec::new();
        if !cut {
            let next = past.covered(after, last, through).next();
            if next < history.oldest() && next <= through && next < history.next() {
                return None;
            }
            here.extend(history.since(next).take_while(|event| event.seq <= through).cloned());
        }
        let events: Vec<Event> = if stretch.reverse {
            here.into_iter().rev().chain(stored_events).collect()
        } else {
            stored_events.into_iter().chain(here).collect()
        };
        let place = (&*history, past.oldest(history));
        Some(write_page(place, stretch, (events.iter(), page.more), &lost))
    }

    /// The answer.
    pub(super) fn give_page(
        &mut self,
        now: Now,
        reader: Reader,
        outcome: Result<Vec<u8>, ErrorCode>,
        effects: &mut Effects,
    ) {
        let outcome = outcome.map(Vec::into_boxed_slice);
        match reader {
            Reader::Outside(ticket) => reply(ticket, outcome.map(Reply::History), effects),
            Reader::Connection(from, ticket) => {
                let outcome = outcome.map_err(|code| Failure::Code(code, text_of(code)));
                self.send_request(now, from, RequestMessage::Reply(ticket, outcome), effects);
            }
        }
    }
}

/// The oldest event that can be read, here or in the store.
fn oldest_of(room: &Room) -> Seq {
    let past = room.stored.as_ref().and_then(|stored| stored.past.as_ref());
    past.map_or_else(|| room.history.oldest(), |past| past.oldest(&room.history))
}

/// Positions from the first to before the last that are wanted and can be there.
fn wanted(room: &Room, stretch: &Stretch) -> std::ops::Range<u64> {
    let oldest = oldest_of(room);
    let first = stretch.since.map_or(oldest, |since| since.next().max(oldest));
    let end = stretch.until.map_or_else(|| room.history.next(), |until| until.next().min(room.history.next()));
    first.0..end.0
}

/// Whether a page has to have events that are not here.
fn reaches_behind(room: &Room, stretch: &Stretch) -> bool {
    let (wanted, oldest) = (wanted(room, stretch), room.history.oldest());
    if wanted.is_empty() || wanted.start >= oldest.0 {
        return false;
    }
    !stretch.reverse || wanted.end.saturating_sub(oldest.0) < u64::try_from(stretch.limit).unwrap_or(u64::MAX)
}

/// A page of what is here.
fn page_here(room: &Room, stretch: &Stretch) -> Vec<u8> {
    let (wanted, history) = (wanted(room, stretch), &room.history);
    let behind = wanted.start < history.oldest().0.min(wanted.end);
    let seqs = (wanted.start.max(history.oldest().0)..wanted.end).map(Seq);
    let event = |seq| history.event(seq);
    let place = (history, oldest_of(room));
    if stretch.reverse {
        write_page(place, stretch, (seqs.rev().filter_map(event), behind), &[])
    } else {
        write_page(place, stretch, (seqs.filter_map(event), behind), &[])
    }
}

/// So many events as fit, at least one. `more` says whether others follow them, `lost` what cannot be read.
fn write_page<'a>(
    (history, oldest): (&History, Seq),
    stretch: &Stretch,
    (events, more): (impl Iterator<Item = &'a Event>, bool),
    lost: &[(Seq, Seq)],
) -> Vec<u8> {
    let (mut texts, mut bytes, mut more) = (Vec::new(), 0, more);
    for event in events {
        let text = event.frame_to(stretch.known, Encoding::TRIPSAGE).map_or(&[][..], |frame| payload_of(frame));
        bytes += text.len() + 1;
        if texts.len() >= stretch.limit || bytes > HISTORY_PAGE_BYTES_MAX && !texts.is_empty() {
            more = true; // This one is left over at least.
            break;
        }
        texts.push(text);
    }
    let place = Some((history.epoch(), history.last(), oldest));
    let page = Page { channel: &stretch.channel, place, more, lost };
    let mut out = Vec::new();
    write_history(&page, texts.into_iter(), &mut out);
    out
}
