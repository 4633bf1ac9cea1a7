//! The ledger: requests become batches, commits become answers.
//!
//! One batch is under way at a time: requests join it until it is sealed, and it stays as it is until it is committed,
//! however often that has to be tried. Reads that must see what was written before them wait for the batch.

mod forgets;
mod trims;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ids::{Seq, ShardId};
use crate::limits::{LINES_OPEN_MAX, PLACES_SLACK};

use super::contract::{Append, Bounds, ChannelNumber, Keep, Notice, Open, Past, Refusal, Request, Ticket};
use super::disk::{Batch, Disk, DiskFault, Order, Space};
use super::event::{Place, record_bytes, seal_event};
use super::key;
use super::line::Line;
use super::past::Found;
use super::record::Kind;
use super::rows::{self, State, find, read_commit, read_state};
use super::trim::is_due;
use forgets::{Forgets, Pass};

/// A channel that is to be read before it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Who asked; nobody for a channel that is only to be trimmed.
    pub asked: Option<(ShardId, Ticket)>,
    /// What for.
    pub open: Open,
}

/// A channel of which something has to go: what to plan with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrimJob {
    /// The channel.
    pub channel: ChannelNumber,
    /// Its line.
    pub line: Line,
    /// Everything up to this event goes.
    pub erase: Option<Seq>,
    /// Cursors and positions over their bounds go.
    pub places: bool,
    /// Events that may go at once.
    pub events_max: usize,
}

/// Writes that are in the batch: up to which ticket of a shard.
type Unanswered = Vec<(ShardId, Ticket)>;

#[derive(Debug)]
struct Channel {
    line: Line,
    /// Whether its number stands on the disk, or in this batch.
    is_known: bool,
    /// Its line says on the disk that something else is retained: it is written with the next event, so that a sweep
    /// knows what the channel may have.
    rebound: bool,
    /// Shards that have it open; never more than one, but for moments.
    holders: u32,
    /// A trimming is planned or in the batch.
    trimming: bool,
    erase: Option<(ShardId, Ticket, Seq)>,
    /// Of what is stored up to here a user's part goes with an erasure. What comes later stays, in memory too.
    passed: Seq,
    /// In which pass of its shard that was.
    pass: Option<Pass>,
    /// Cursors and positions written since those over their bounds were looked for.
    places: usize,
    /// Those of them that were written since a trimming was planned: they stay.
    moved: Vec<Box<[u8]>>,
}

impl Channel {
    /// So much is retained from now on.
    fn rebind(&mut self, keep: Keep) {
        self.rebound |= std::mem::replace(&mut self.line.keep, keep) != keep;
    }
}

/// The state of the log while it runs.
#[derive(Debug)]
pub struct Ledger {
    state: State,
    bounds: Bounds,
    /// The number of the last commit that was sealed.
    commit: u64,
    last_number: u64,
    channels: HashMap<ChannelNumber, Channel>,
    names: HashMap<Arc<str>, ChannelNumber>,
    batch: Batch,
    /// Writes in the batch, and their bytes.
    writes: usize,
    bytes: usize,
    sealed: bool,
    unanswered: Unanswered,
    erased: Vec<(ShardId, Ticket)>,
    /// Those whose channel is being erased already.
    not_erased: Vec<(ShardId, Ticket)>,
    /// Channels of which something goes with this batch, and whether more has to.
    trimmed: Vec<(ChannelNumber, bool)>,
    openings: Vec<Opening>,
    /// Channels that have something in the batch.
    touched: HashSet<ChannelNumber>,
    /// Those of them that were forgotten since.
    left: HashSet<Arc<str>>,
    /// Channels whose trimming is to be planned.
    jobs: Vec<ChannelNumber>,
    forgets: Forgets,
    scratch: Vec<u8>,
}

impl Ledger {
    /// Reads where the log stands, and begins a batch that says it runs: it must be committed before anything is sequenced.
    /// `fresh` is the state of a store that has nothing yet, `bounds` what is retained until [`Self::set_bounds`].
    ///
    /// # Errors
    /// The disk does not answer, or lacks what was on it when it was stopped.
    pub fn start(disk: &impl Disk, fresh: State, bounds: Bounds) -> Result<Self, DiskFault> {
        let state = find(disk, key::STATE, Kind::State, read_state)?;
        let commit = find(disk, key::COMMIT, Kind::Commit, read_commit)?;
        let (state, commit) = match (state, commit) {
            (None, None) if is_empty(disk)? => (State { generation: 0, stopped: None, ..fresh }, 0),
            (Some(state), Some((id, commit))) if id == state.id => (state, commit),
            _ => return Err(DiskFault::Damaged("the store's own state is not there".to_owned())),
        };
        if let Some(stopped) = state.stopped.filter(|stopped| *stopped != commit) {
            let lost = format!("the last commit is number {commit}, but the store was stopped after number {stopped}");
            return Err(DiskFault::Damaged(lost));
        }
        let unclean = commit > 0 && state.stopped.is_none();
        let state = State { generation: state.generation + u64::from(unclean), stopped: None, ..state };
        let mut ledger = Self {
            state,
            bounds,
            commit,
            last_number: last_number(disk)?,
            channels: HashMap::new(),
            names: HashMap::new(),
            batch: Batch::new(),
            writes: 1,
            bytes: 0,
            sealed: false,
            unanswered: Vec::new(),
            erased: Vec::new(),
            not_erased: Vec::new(),
            trimmed: Vec::new(),
            openings: Vec::new(),
            touched: HashSet::new(),
            left: HashSet::new(),
            jobs: Vec::new(),
            forgets: Forgets::default(),
            scratch: Vec::new(),
        };
        rows::put_state(&mut ledger.batch, &state);
        Ok(ledger)
    }

    /// The store's state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What is retained from now on. A channel goes by it when it is opened next, when something of it is to go, or when
    /// a [`sweep`](super::trim::sweep) finds it to be over its bounds: one over all channels is due.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// What is retained.
    #[must_use]
    pub const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The number of the last commit that was sealed.
    #[must_use]
    pub const fn commit(&self) -> u64 {
        self.commit
    }

    /// Writes in the batch and their bytes.
    #[must_use]
    pub const fn weight(&self) -> (usize, usize) {
        (self.writes, self.bytes)
    }

    /// Channels that are open.
    #[must_use]
    pub fn open_channels(&self) -> usize {
        self.channels.len()
    }

    /// Takes a request of a shard, in the order of its tickets. While a sealed batch waits for its commit only what does not
    /// join it: channels are opened and closed.
    ///
    /// # Panics
    /// An event does not follow the one before it. To acknowledge it would be to promise what is not so; the process ends
    /// and starts again from what is on the disk.
    pub fn take(&mut self, from: ShardId, ticket: Ticket, request: Request, unix_ms: u64) {
        let joins = !matches!(request, Request::Open(_) | Request::Close(_));
        debug_assert!(!self.sealed || !joins, "a sealed batch stays as it is");
        match request {
            Request::Open(open) => return self.openings.push(Opening { asked: Some((from, ticket)), open }),
            Request::Append(append) => self.append(&append),
            Request::Cursor { channel, user, seq } => {
                self.place(channel, &key::cursor(channel, &user), (Kind::Cursor, seq), unix_ms);
            }
            Request::Position { channel, group, seq } => {
                self.place(channel, &key::position(channel, &group), (Kind::Position, seq), unix_ms);
            }
            Request::Passed { begins, channels } => self.pass(from, begins, &channels),
            Request::Erase { channel, through } => return self.erase((from, ticket), channel, through),
            Request::Forget(forget) => return self.forget((from, ticket), *forget),
            Request::Close(channel) => {
                if let Some(state) = self.channels.get_mut(&channel) {
                    state.holders = state.holders.saturating_sub(1);
                }
                return self.forget_unheld(channel);
            }
        }
        self.writes += 1;
        match self.unanswered.iter_mut().find(|(shard, _)| *shard == from) {
            Some((_, last)) => *last = ticket,
            None => self.unanswered.push((from, ticket)),
        }
    }

    fn append(&mut self, append: &Append) {
        let Append { channel, epoch, seq, unix_ms, body } = append;
        let bytes = record_bytes(body.len());
        let state = self.channels.get_mut(channel);
        let follows = state.and_then(|state| {
            let noted = state.line.append((*epoch, *seq), bytes, *unix_ms, self.state.generation)?;
            Some((noted, state))
        });
        let Some(((offset, changed), state)) = follows else {
            panic!("event {seq} of {channel:?} does not follow what is stored");
        };
        if !std::mem::replace(&mut state.is_known, true) {
            rows::put_number(&mut self.batch, &state.line.name, *channel);
        }
        if std::mem::take(&mut state.rebound) || changed {
            rows::put_line(&mut self.batch, *channel, &state.line);
        }
        self.touched.insert(*channel);
        let key = key::event(*channel, *seq);
        seal_event(&key, Place { epoch: *epoch, offset }, body, &mut self.scratch);
        self.bytes += self.scratch.len();
        self.batch.insert((Space::Events, key.into()), Some(self.scratch.as_slice().into()));
        if !state.trimming && is_due(&state.line, *unix_ms) {
            self.plan(*channel);
        }
    }

    /// Notes how far a user or a group is. A channel that has no event yet gets its name and its line with it, so that its
    /// number is never another channel's.
    fn place(&mut self, channel: ChannelNumber, place: &[u8], (kind, seq): (Kind, Option<Seq>), unix_ms: u64) {
        let Some(state) = self.channels.get_mut(&channel) else {
            debug_assert!(false, "{channel:?} is not open");
            return;
        };
        self.touched.insert(channel);
        match seq {
            Some(seq) => {
                // A group is owed nothing of what is being erased.
                let erased = state.erase.filter(|_| kind == Kind::Position).map_or(Seq(0), |(_, _, through)| through);
                let seq = seq.max(erased);
                if !std::mem::replace(&mut state.is_known, true) {
                    rows::put_number(&mut self.batch, &state.line.name, channel);
                    rows::put_line(&mut self.batch, channel, &state.line);
                }
                rows::put_place(&mut self.batch, place, kind, seq, unix_ms);
                state.places += 1;
                if kind == Kind::Cursor {
                    self.forgets.note_cursor(place);
                }
            }
            None => rows::remove(&mut self.batch, place),
        }
        if state.trimming {
            // Beyond that nothing goes, and is looked for again.
            if state.moved.len() <= PLACES_SLACK {
                state.moved.push(place.into());
            }
        } else if state.places > PLACES_SLACK {
            self.plan(channel);
        }
    }

    fn erase(&mut self, asked: (ShardId, Ticket), channel: ChannelNumber, through: Seq) {
        let Some(state) = self.channels.get_mut(&channel) else {
            // Nothing is there.
            self.writes += 1;
            return self.erased.push(asked);
        };
        if state.erase.is_some() {
            self.writes += 1;
            return self.not_erased.push(asked);
        }
        state.erase = Some((asked.0, asked.1, through));
        if !state.trimming {
            self.plan(channel);
        }
    }

    /// Has a trimming planned. Only what is committed is looked at, so the job waits for the batch.
    fn plan(&mut self, channel: ChannelNumber) {
        let Some(state) = self.channels.get_mut(&channel) else { return };
        state.trimming = true;
        self.jobs.push(channel);
    }

    /// Ends the batch: what it is from now on. `None` if there is nothing to write.
    pub fn seal(&mut self) -> Option<&Batch> {
        if self.batch.is_empty() && self.writes == 0 {
            return None;
        }
        if !std::mem::replace(&mut self.sealed, true) {
            self.commit += 1;
            rows::put_commit(&mut self.batch, self.state.id, self.commit);
        }
        Some(&self.batch)
    }

    /// Takes the sealed batch out, to be written while channels are opened.
    pub fn take_sealed(&mut self) -> Batch {
        debug_assert!(self.sealed, "a batch that is not sealed may still grow");
        std::mem::take(&mut self.batch)
    }

    /// The batch is on the disk. Says whom to tell what.
    pub fn on_committed(&mut self) -> Vec<(ShardId, Notice)> {
        debug_assert!(self.sealed, "what is committed was sealed");
        self.sealed = false;
        self.batch.clear();
        self.touched.clear();
        self.left.clear();
        (self.writes, self.bytes) = (0, 0);
        for (channel, more) in std::mem::take(&mut self.trimmed) {
            self.after_trimming(channel, more);
        }
        let committed = self.unanswered.drain(..).map(|(shard, ticket)| (shard, Notice::Committed(ticket)));
        let erased = self.erased.drain(..).map(|(shard, ticket)| (shard, Notice::Erased(ticket, Ok(()))));
        let busy = || Err(Refusal::Failed("the channel is being erased already".to_owned()));
        let not_erased = self.not_erased.drain(..).map(|(shard, ticket)| (shard, Notice::Erased(ticket, busy())));
        let forgotten = self.forgets.told.drain(..);
        committed.chain(erased).chain(not_erased).chain(forgotten).collect()
    }

    /// Channels to be read now, at most so many: not while something is written that they may have to see.
    pub fn take_openings(&mut self, count: usize) -> Vec<Opening> {
        if self.sealed || !self.batch.is_empty() || self.forgets.holds() {
            return Vec::new();
        }
        let count = count.min(self.openings.len());
        self.forgets.beside += count;
        self.openings.drain(..count).collect()
    }

    /// Of the channels to be read those of which nothing is in the batch, at most so many, while a sealed one is not
    /// committed. Whatever a channel may have in it, it is known here: it is open still, or was forgotten since. But for
    /// what of an erased user goes with it: who finds that on the disk is gone through once more when it is committed.
    pub fn take_openings_apart(&mut self, count: usize) -> Vec<Opening> {
        let (names, left) = (&self.names, &self.left);
        let is_known = |channel: &str| names.contains_key(channel) || left.contains(channel);
        let apart = |opening: &mut Opening| !is_known(&opening.open.channel);
        let count = if self.forgets.holds() { 0 } else { count };
        let openings: Vec<Opening> = self.openings.extract_if(.., apart).take(count).collect();
        self.forgets.beside += openings.len();
        openings
    }

    /// Whether a channel is open, or may have something in the batch.
    #[must_use]
    pub fn is_known(&self, channel: &str) -> bool {
        self.names.contains_key(channel) || self.left.contains(channel)
    }

    /// A channel was read. Says whom to tell what.
    pub fn on_opened(
        &mut self,
        opening: &Opening,
        found: Result<Option<Found>, DiskFault>,
    ) -> Option<(ShardId, Notice)> {
        if opening.asked.is_some() {
            self.forgets.beside = self.forgets.beside.saturating_sub(1);
        }
        let past = match found {
            Ok(found) => self.register(opening, found),
            Err(fault) => Err(fault.into()),
        };
        let (shard, ticket) = opening.asked?;
        Some((shard, Notice::Opened(ticket, past.map(Box::new))))
    }

    fn register(&mut self, opening: &Opening, found: Option<Found>) -> Result<Past, Refusal> {
        let Open { channel: name, fresh, .. } = &opening.open;
        let keep = self.bounds.of(name);
        let held = u32::from(opening.asked.is_some());
        if self.channels.len() >= LINES_OPEN_MAX && !self.names.contains_key(name) {
            return Err(Refusal::Full);
        }
        let is_known = found.is_some();
        let found = found.unwrap_or_else(|| Found {
            channel: ChannelNumber(self.last_number + 1),
            line: Line::new(name, keep),
            operations: Vec::new(),
            cursors: Vec::new(),
            positions: Vec::new(),
            tail: super::Page::default(),
        });
        let Found { channel, line, operations, cursors, positions, tail } = found;
        // Who opens a channel that was never stored gets the number that it was given before, if it was.
        let channel = self.names.get(name).copied().unwrap_or(channel);
        self.last_number = self.last_number.max(channel.0);
        self.names.insert(Arc::clone(name), channel);
        let (pass, passed) = self.forgets.take_closed(channel).unzip();
        let state = self.channels.entry(channel).or_insert_with(|| Channel {
            passed: passed.unwrap_or_else(|| line.last()),
            pass,
            line,
            is_known,
            rebound: false,
            holders: 0,
            trimming: false,
            erase: None,
            places: 0,
            moved: Vec::new(),
        });
        state.holders += held;
        state.rebind(keep);
        let idle = !state.trimming;
        if let Some((shard, _)) = opening.asked {
            self.forgets.note_opened(shard, state);
        }
        let (line, passed) = (state.line.clone(), state.passed);
        if opening.asked.is_none() && idle {
            self.plan(channel);
        }
        let start = line.start(self.state.generation, *fresh);
        Ok(Past { channel, start, line, passed, operations, cursors, positions, tail })
    }

    /// A channel that nobody has open and nothing is done to is forgotten.
    fn forget_unheld(&mut self, channel: ChannelNumber) {
        let idle = |state: &Channel| state.holders == 0 && !state.trimming && state.erase.is_none();
        if self.channels.get(&channel).is_some_and(idle)
            && let Some(state) = self.channels.remove(&channel)
        {
            self.forgets.note_closed(channel, &state);
            if let Some((name, _)) = self.names.remove_entry(&*state.line.name)
                && self.touched.contains(&channel)
            {
                self.left.insert(name);
            }
        }
    }

    /// The last batch: says that the log was stopped and that everything is there. Nothing may be taken after it.
    pub fn stop(&mut self) {
        self.state.stopped = Some(self.commit + 1);
        self.writes += 1;
        rows::put_state(&mut self.batch, &self.state);
    }
}

/// Whether nothing was ever written.
fn is_empty(disk: &impl Disk) -> Result<bool, DiskFault> {
    let mut any = false;
    for space in [Space::Events, Space::Rows] {
        disk.scan(space, &[][..]..=&[0xff; 32][..], Order::Forward, &mut |_, _| {
            any = true;
            std::ops::ControlFlow::Break(())
        })?;
    }
    Ok(!any)
}

/// The largest number that a channel has.
fn last_number(disk: &impl Disk) -> Result<u64, DiskFault> {
    let (first, last) = (key::line(ChannelNumber(0)), key::line(ChannelNumber(u64::MAX)));
    let mut found = 0;
    disk.scan(Space::Rows, &first..=&last, Order::Backward, &mut |place, _| {
        match key::of_line(place) {
            Some(channel) => {
                found = channel.0;
                std::ops::ControlFlow::Break(())
            }
            // None of ours, which whoever looks at everything tells.
            None => std::ops::ControlFlow::Continue(()),
        }
    })?;
    Ok(found)
}
