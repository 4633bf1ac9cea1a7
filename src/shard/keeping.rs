//! Station 7 and the disk: what channels at home here keep beyond this process, from the shard's side.
//!
//! A durable channel is opened in the store before anything is sequenced there; what comes meanwhile waits in the order
//! in which it came, bounded. What is sequenced is delivered at once and written behind; whoever asked for an answer gets
//! it when the store says that the write is committed, never before, and a retry of an event that is not committed waits
//! with it. While the store cannot write, nothing new is sequenced in such a channel; what was is written later under the
//! same number. Absent: bytes on a disk, threads, and when a commit happens (`ledger`, `store`).

mod cursors;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Shard;
use super::browsing::Browse;
use super::effect::{Effect, Effects};
use super::erasing::Erasure;
use super::forgetting::{Barrier, Late};
use super::home::Proposal;
use super::message::{Answer, Committed, Known, Publication};
use super::replay::{Past, Reading};
use super::rooms::{Role, Room, RoomId, Rooms};
use crate::code::ErrorCode;
use crate::ids::{Epoch, Seq};
use crate::ledger::{
    self, Append, ChannelNumber, Event, Notice, Open, Page, Refusal, Request, Ticket, Trouble, write_body,
};
use crate::limits::{
    COMMITS_TOLD_PER_TURN, OPENING_BYTES_MAX, OPENING_EVENTS_MAX, STORE_RETRY_MS, UNCOMMITTED_BYTES_MAX,
    UNCOMMITTED_EVENTS_MAX, UNCOMMITTED_RETRIES_MAX, UNCOMMITTED_WRITES_MAX,
};
use crate::metrics::Metric;
use crate::payload::Payload;
use crate::room::dedup::Operation;
use crate::time::{Millis, Now};

/// How a channel at home here stands with the store.
#[derive(Debug)]
pub(super) enum Stage {
    /// The store was asked for it.
    Opening,
    /// The store has refused, and is asked again at this time.
    Refused(Millis),
    /// It is open; the store knows it by this number.
    Open(ChannelNumber),
}

/// What a room knows of its channel in the store.
#[derive(Debug)]
pub(super) struct Stored {
    /// At home: what is written.
    pub(super) kept: Option<Kept>,
    /// What lies behind the history, once that is known.
    pub(super) past: Option<Past>,
    /// From the first to the last of operations whose ids still count, with their epochs, of which nothing else is left.
    forgotten: Vec<(Epoch, Seq, Seq)>,
}

impl Stored {
    /// At home, until the store has answered.
    pub(super) const fn opening() -> Self {
        Self { kept: Some(Kept::opening()), past: None, forgotten: Vec::new() }
    }

    /// At another shard's channel: only what can be read.
    pub(super) fn elsewhere(known: Known) -> Self {
        Self { kept: None, past: Some(Past::new(known)), forgotten: Vec::new() }
    }

    /// The epoch of an event before the present one.
    pub(super) fn epoch_of(&self, seq: Seq) -> Option<Epoch> {
        let forgotten = || self.forgotten.iter().find(|(_, first, last)| *first <= seq && seq <= *last);
        self.past.as_ref()?.epoch_of(seq).or_else(|| forgotten().map(|(epoch, ..)| *epoch))
    }

    /// Memory of what is held for readers.
    pub(super) fn bytes(&self) -> usize {
        self.past.as_ref().map_or(0, Past::bytes)
    }
}

/// What the home of a durable channel knows of its writes.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) stage: Stage,
    /// Events that are sequenced and not committed.
    uncommitted: u64,
    /// The last event that is committed.
    committed: Seq,
    /// What came before it was open, and how many bytes that is.
    pub(super) waiting: VecDeque<Publication>,
    pub(super) waiting_bytes: usize,
    /// Who wants its history and came before it was open.
    pub(super) readers: Vec<Browse>,
    /// Who wants it erased and came before it was open.
    pub(super) erasures: Vec<u64>,
    /// Whether the store was asked to erase it.
    pub(super) erasing: bool,
    /// Whether an erasure of a user has gone through the memory here while it was being opened.
    pub(super) overtaken: bool,
    /// Of what the store said when it was opened, a user's part up to here goes with an erasure that goes on.
    pub(super) passed: Seq,
    /// By their labels, how far groups have got that nobody has subscribed for yet.
    positions: Vec<(Box<str>, Seq)>,
}

impl Kept {
    const fn opening() -> Self {
        Self {
            stage: Stage::Opening,
            uncommitted: 0,
            committed: Seq(0),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            readers: Vec::new(),
            erasures: Vec::new(),
            erasing: false,
            overtaken: false,
            passed: Seq(0),
            positions: Vec::new(),
        }
    }

    /// Groups that nobody has subscribed for yet are owed nothing up to an event.
    pub(super) fn owe_nothing(&mut self, through: Seq) {
        for (_, seq) in &mut self.positions {
            *seq = through.max(*seq);
        }
    }

    /// Whether somebody outside waits for it to be open.
    fn is_awaited_outside(&self) -> bool {
        !self.erasures.is_empty()
            || self.readers.iter().any(Browse::is_outside)
            || self.waiting.iter().any(|publication| publication.author.ticket().is_some())
    }

    /// Whether events can be sequenced.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// The number by which the store knows it, while it is open.
    pub(super) const fn number(&self) -> Option<ChannelNumber> {
        if let Stage::Open(channel) = self.stage { Some(channel) } else { None }
    }

    /// The first event that is not committed.
    pub(super) const fn unstored(&self) -> Seq {
        if self.uncommitted > 0 { self.committed.next() } else { Seq(u64::MAX) }
    }

    /// Whether nothing of it is under way, so that the room may be forgotten.
    pub(super) fn is_settled(&self) -> bool {
        self.uncommitted == 0 && self.waiting.is_empty() && !self.erasing && !matches!(self.stage, Stage::Opening)
    }
}

/// A write whose commit is awaited.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) ticket: Ticket,
    /// When it was put.
    pub(super) at: Millis,
    /// The event's channel and number, and its bytes; none for a retry that waits for its first.
    event: Option<(RoomId, Seq, usize)>,
    /// What its author is told then.
    answer: Option<Box<Answer>>,
}

/// What a shard keeps of its store.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// The last ticket given.
    last: Ticket,
    /// Up to here everything is committed.
    pub(super) committed: Ticket,
    /// In the order of their tickets.
    pub(super) writes: VecDeque<Write>,
    /// Bytes of these events.
    bytes: usize,
    /// How many of these are retries.
    retries: usize,
    /// Why nothing is committed now.
    pub(super) trouble: Option<Trouble>,
    /// Which room an answer about a channel is for, and since when it is awaited.
    pub(super) opening: BTreeMap<Ticket, (RoomId, Millis)>,
    /// Who was erased for the last time while some of these were awaited.
    pub(super) late: Vec<Late>,
    /// Up to here these were looked through for late ones.
    pub(super) looked: Ticket,
    /// To be asked of the store at the end of this call.
    asks: Vec<(Ticket, Request)>,
    /// Rooms of which stretches are to be read.
    pub(super) replays: VecDeque<RoomId>,
    /// Stretches that are being read.
    pub(super) reads: BTreeMap<Ticket, Reading>,
    /// Those of them that have come and that no turn has had time for, in this order.
    pub(super) pages: VecDeque<(Ticket, Page)>,
    /// Stored events that this turn may still make frames of.
    pub(super) reads_left: usize,
    /// Stretches that are to be read again, since something of them was erased.
    pub(super) stale: BTreeSet<Ticket>,
    /// Parts of histories that are being read.
    pub(super) browses: BTreeMap<Ticket, Browse>,
    /// Erasures that are under way.
    pub(super) erasures: BTreeMap<Ticket, Erasure>,
    /// Portions of a user's erasure that the store was asked for, and by whom.
    pub(super) forgets: BTreeMap<Ticket, u64>,
    /// Who is answered once what is sequenced is committed.
    pub(super) barriers: VecDeque<Barrier>,
    /// The last write that is no event and has to be committed for that.
    last_other: Ticket,
    /// How many of these and those there are, with those that wait for their channel to be open.
    pub(super) browsing: usize,
}

impl Keeping {
    pub(super) fn ask(&mut self, request: Request) -> Ticket {
        self.last = Ticket(self.last.0 + 1);
        self.asks.push((self.last, request));
        self.last
    }

    /// A write that is no event has to be committed before barriers behind it are lifted.
    pub(super) const fn note_write(&mut self, ticket: Ticket) {
        self.last_other = ticket;
    }

    /// The last write of which the commit is told.
    pub(super) fn last_write(&self) -> Ticket {
        self.writes.back().map_or(self.committed, |write| write.ticket).max(self.last_other)
    }

    /// Up to here everything is committed.
    pub(super) const fn committed(&self) -> Ticket {
        self.committed
    }

    /// Whether somebody outside waits for a commit, for a part of a history, or for a channel to be opened.
    pub(super) fn owes_outside(&self, rooms: &Rooms) -> bool {
        let is_outside = |write: &Write| write.answer.as_ref().is_some_and(|answer| answer.to.ticket().is_some());
        let opens = |id: RoomId| rooms.at(id).and_then(Room::kept).is_some_and(Kept::is_awaited_outside);
        let erases = !self.erasures.is_empty() || !self.forgets.is_empty() || !self.barriers.is_empty();
        erases
            || self.browses.values().any(Browse::is_outside)
            || self.opening.values().any(|(id, _)| opens(*id))
            || self.writes.iter().any(is_outside)
    }

    /// A number for a question of another kind.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.last = Ticket(self.last.0 + 1);
        self.last
    }
}

impl Shard {
    /// Whether a channel at home here outlives the process.
    pub(super) fn is_durable(&self, channel: &str) -> bool {
        self.keeping.is_some() && self.options.policy.durable(channel)
    }

    /// Asks the store for a channel.
    pub(super) fn ask_to_open(&mut self, now: Now, id: RoomId) {
        let Some(room) = self.rooms.at(id) else { return };
        let channel = Arc::clone(&room.name);
        let open = Open { channel, fresh: self.pen.epoch(), tail_bytes: 0, tail_count: 0 };
        if let Some(keeping) = &mut self.keeping {
            let ticket = keeping.ask(Request::Open(open));
            keeping.opening.insert(ticket, (id, now.millis()));
        }
    }

    /// What a proposal for a durable channel meets: `Err` if it is refused, `Ok(false)` if it has to wait for the channel
    /// to be open.
    pub(super) fn admit_write(&self, now: Now, room: RoomId, bytes: usize) -> Result<bool, ErrorCode> {
        let Some(kept) = self.rooms.at(room).and_then(Room::kept) else { return Ok(true) };
        let Some(keeping) = &self.keeping else { return Ok(true) };
        if keeping.is_in_trouble(now) || matches!(kept.stage, Stage::Refused(_)) {
            return Err(ErrorCode::StoreUnavailable);
        }
        let full = if kept.is_open() {
            kept.uncommitted >= UNCOMMITTED_EVENTS_MAX - 1
                || keeping.bytes + bytes > UNCOMMITTED_BYTES_MAX
                || keeping.writes.len() - keeping.retries >= UNCOMMITTED_WRITES_MAX
        } else {
            kept.waiting.len() >= OPENING_EVENTS_MAX || kept.waiting_bytes + bytes > OPENING_BYTES_MAX
        };
        if full { Err(ErrorCode::Overloaded) } else { Ok(kept.is_open()) }
    }

    /// A proposal waits until its channel is open.
    pub(super) fn wait_to_open(&mut self, room: RoomId, publication: Publication) {
        let (author, wants_ack) = (publication.author, publication.wants_ack);
        let Some(kept) = self.rooms.at_mut(room).and_then(Room::kept_mut) else { return };
        kept.waiting_bytes += publication.payload.len();
        kept.waiting.push_back(publication);
        if wants_ack {
            self.await_answer(author);
        }
    }

    /// It waits no longer.
    pub(super) fn end_wait(&mut self, publication: &Publication) {
        if publication.wants_ack {
            self.end_await(publication.author);
        }
    }

    /// Writes an event that has its number. Its author is answered once it is committed.
    pub(super) fn store(
        &mut self,
        now: Now,
        id: RoomId,
        proposal: &Proposal<'_>,
        (event_id, committed): (u128, Committed),
        answer: Option<Answer>,
    ) {
        let Some(kept) = self.rooms.at_mut(id).and_then(Room::kept_mut) else { return };
        let (Stage::Open(channel), Some(keeping)) = (&kept.stage, &mut self.keeping) else { return };
        let event = Event {
            unix_ms: now.unix_ms,
            id: event_id,
            operation: proposal.operation.map(|operation| as_stored(operation.into())),
            user: proposal.user,
            op_id: proposal.id.unwrap_or(""),
            kind: proposal.kind,
            payload: proposal.payload,
        };
        write_body(&event, &mut self.body);
        let body = Payload::copy_of(&self.body);
        self.body.clear();
        let bytes = body.len();
        let Committed { epoch, seq, .. } = committed;
        let append = Append { channel: *channel, epoch, seq, unix_ms: now.unix_ms, body };
        let ticket = keeping.ask(Request::Append(append));
        kept.uncommitted += 1;
        keeping.bytes += bytes;
        let author = answer.as_ref().map(|answer| answer.to);
        let (at, event) = (now.millis(), Some((id, seq, bytes)));
        keeping.writes.push_back(Write { ticket, at, event, answer: answer.map(Box::new) });
        if let Some(author) = author {
            self.await_answer(author);
        }
    }

    /// A retry is answered with its first. Returns whether that is still to be committed.
    pub(super) fn waits_for_first(&self, id: RoomId, first: Seq) -> bool {
        let kept = self.rooms.at(id).and_then(Room::kept);
        kept.is_some_and(|kept| kept.uncommitted > 0 && first > kept.committed)
    }

    /// Whether one more retry may wait for its first.
    pub(super) fn may_retry(&self) -> bool {
        self.keeping.as_ref().is_some_and(|keeping| keeping.retries < UNCOMMITTED_RETRIES_MAX)
    }

    /// An answer that is true once everything written so far is committed.
    pub(super) fn answer_with_the_last(&mut self, now: Now, answer: Answer) {
        let Some(keeping) = &mut self.keeping else { return };
        keeping.retries += 1;
        let author = answer.to;
        let ticket = keeping.writes.back().map_or(keeping.committed, |write| write.ticket);
        keeping.writes.push_back(Write { ticket, at: now.millis(), event: None, answer: Some(Box::new(answer)) });
        self.await_answer(author);
    }

    /// The store tells something.
    pub fn on_notice(&mut self, now: Now, notice: Notice, effects: &mut Effects) {
        self.latest = now;
        let Some(keeping) = &mut self.keeping else { return };
        match notice {
            Notice::Committed(ticket) => {
                keeping.committed = keeping.committed.max(ticket);
                self.tell_committed(now, effects);
            }
            Notice::Opened(ticket, outcome) => {
                let Some((id, _)) = keeping.opening.remove(&ticket) else { return };
                match outcome {
                    Ok(past) => self.on_opened(now, (ticket, id), *past, effects),
                    Err(refusal) => self.on_not_opened(now, id, &refusal, effects),
                }
            }
            Notice::Page(ticket, outcome) => {
                let outcome = outcome.map(|page| *page);
                match keeping.browses.remove(&ticket) {
                    Some(browse) => self.on_browsed(now, browse, outcome, effects),
                    None => self.on_page(ticket, outcome, effects),
                }
            }
            Notice::Erased(ticket, outcome) => self.on_erased(ticket, &outcome, effects),
            Notice::Forgotten(ticket, outcome) => self.on_forgotten(ticket, outcome, effects),
            Notice::Trouble(trouble) => keeping.trouble = Some(trouble),
            Notice::Working => keeping.trouble = None,
        }
        self.show_trouble(now);
        self.ask_store(effects);
    }

    /// Answers whose event is committed by now, some in a turn. Returns whether there are more.
    pub(super) fn tell_committed(&mut self, now: Now, effects: &mut Effects) -> bool {
        self.lift_barriers(effects);
        for _ in 0..COMMITS_TOLD_PER_TURN {
            let Some(keeping) = &mut self.keeping else { return false };
            let committed = keeping.committed;
            let Some(write) = keeping.writes.pop_front_if(|write| write.ticket <= committed) else { return false };
            keeping.retries -= usize::from(write.event.is_none());
            if let Some((id, seq, bytes)) = write.event {
                keeping.bytes -= bytes;
                if let Some(kept) = self.rooms.at_mut(id).and_then(Room::kept_mut) {
                    kept.uncommitted -= 1;
                    kept.committed = seq;
                }
            }
            if let Some(answer) = write.answer {
                self.end_await(answer.to);
                self.give_answer(now, *answer, effects);
            }
        }
        true
    }

    /// The store has opened a channel: it goes on from there, and what waited has its turn.
    fn on_opened(&mut self, now: Now, (ticket, id): (Ticket, RoomId), past: ledger::Past, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else {
            return self.close_stored(past.channel);
        };
        let (Some(stored), Role::Home { dedup, .. }) = (&mut room.stored, &mut room.role) else { return };
        let Some(kept) = &mut stored.kept else { return };
        kept.stage = Stage::Open(past.channel);
        kept.committed = past.line.last();
        kept.passed = past.passed;
        if std::mem::take(&mut kept.overtaken)
            && let Some(keeping) = &mut self.keeping
        {
            // Everything that is stored was there before, and what waits comes later.
            kept.passed = past.line.last();
            keeping.ask(Request::Passed { begins: false, channels: Box::new([past.channel]) });
        }
        let waiting = std::mem::take(&mut kept.waiting);
        kept.waiting_bytes = 0;
        #[cfg(feature = "planted-faults")]
        let past = if super::fault::is(super::fault::Fault::NumberReused) { reused(past) } else { past };
        room.history.restart(past.start.epoch, past.start.next);
        let mut forgotten = Vec::new();
        for (seq, unix_ms, operation, epoch) in past.operations {
            if past.line.epoch_of(seq).is_none() {
                note_epoch(&mut forgotten, seq, epoch);
            }
            let age = now.unix_ms.saturating_sub(unix_ms);
            let at = Millis(now.millis().0.saturating_sub(age));
            dedup.get_or_insert_default().insert(
                at,
                Operation::from((operation.identity, operation.content, operation.author)),
                seq,
            );
        }
        if !past.cursors.is_empty() {
            let service = room.service.get_or_insert_default();
            for (user, seq, _) in past.cursors {
                if user.is_empty() {
                    service.cursors.begin_after(seq);
                } else {
                    service.cursors.advance(&Arc::from(user), seq);
                }
            }
        }
        kept.positions = past.positions;
        room.needed = room.history.next();
        room.needed_now = room.needed;
        let oldest = past.line.oldest.map_or(past.start.next, |oldest| oldest.seq);
        let known = Known { channel: past.channel, line: past.line, first: past.start.next, oldest };
        stored.past = Some(Past::new(known));
        stored.forgotten = forgotten;
        self.forget_late(ticket, id);
        self.answer_followers(id, effects);
        self.settle_members(id, effects);
        self.serve_claimants(id);
        self.line_up(id);
        for publication in waiting {
            self.end_wait(&publication);
            self.on_publication(now, &publication, effects);
        }
        self.let_in_readers(now, id, effects);
        self.let_in_erasers(now, id, effects);
    }

    fn on_not_opened(&mut self, now: Now, id: RoomId, refusal: &Refusal, effects: &mut Effects) {
        self.metrics.count(Metric::StoreRefused);
        let code = if matches!(refusal, Refusal::Full) { ErrorCode::Overloaded } else { ErrorCode::StoreUnavailable };
        let Some(kept) = self.rooms.at_mut(id).and_then(Room::kept_mut) else { return };
        kept.stage = Stage::Refused(now.millis().after(STORE_RETRY_MS));
        kept.waiting_bytes = 0;
        for publication in std::mem::take(&mut kept.waiting) {
            self.end_wait(&publication);
            self.answer(now, &Proposal::of(&publication), Err(code), effects);
        }
        self.let_in_readers(now, id, effects);
        self.let_in_erasers(now, id, effects);
        if matches!(refusal, Refusal::Damaged(_)) {
            self.turn_away(now, id, effects);
        }
    }

    /// Asks again for a channel that the store has refused, if it is time and somebody is in it.
    pub(super) fn open_again(&mut self, now: Now, id: RoomId) {
        if self.rooms.at(id).is_some_and(|room| !room.is_deserted()) {
            self.reopen(now, id);
        }
    }

    /// The same for who wants something of it now.
    pub(super) fn reopen(&mut self, now: Now, id: RoomId) {
        let Some(kept) = self.rooms.at_mut(id).and_then(Room::kept_mut) else { return };
        if matches!(kept.stage, Stage::Refused(at) if at <= now.millis()) {
            kept.stage = Stage::Opening;
            self.ask_to_open(now, id);
        }
    }

    /// A room is forgotten: the store may forget that it is open.
    pub(super) fn close_kept(&mut self, room: &Room) {
        if let Some(Stage::Open(channel)) = room.kept().map(|kept| &kept.stage) {
            self.close_stored(*channel);
        }
    }

    fn close_stored(&mut self, channel: ChannelNumber) {
        if let Some(keeping) = &mut self.keeping {
            keeping.ask(Request::Close(channel));
        }
    }

    /// Hands over what is to be asked of the store.
    pub(super) fn ask_store(&mut self, effects: &mut Effects) {
        if let Some(keeping) = &mut self.keeping {
            let asks = keeping.asks.drain(..);
            effects.list.extend(asks.map(|(ticket, request)| Effect::Store(ticket, Box::new(request))));
        }
    }
}

/// A channel that goes on behind what is stored, although more may have been given out.
#[cfg(feature = "planted-faults")]
fn reused(past: ledger::Past) -> ledger::Past {
    let start = ledger::Start { next: past.line.last().next(), ..past.start };
    ledger::Past { start, ..past }
}

/// Adds an operation, the next in order, to the stretches of epochs.
fn note_epoch(stretches: &mut Vec<(Epoch, Seq, Seq)>, seq: Seq, epoch: Epoch) {
    match stretches.last_mut() {
        Some((of, _, last)) if *of == epoch => *last = seq,
        _ => stretches.push((epoch, seq, seq)),
    }
}

const fn as_stored((identity, content, author): (u128, u64, u64)) -> ledger::Operation {
    ledger::Operation { identity, content, author }
}
