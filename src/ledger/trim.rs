//! Which events go: by count, by bytes, by age, or all of them. Planned from the disk, done in a later batch.
//!
//! Events go from the front, some at a time, and only once so many are over the bounds that looking is worth it. Of an
//! event whose operation's id still counts a stub stays, of an erased one too: a retry must not bring it back.

use std::ops::ControlFlow;

use crate::ids::Seq;
use crate::limits::{
    CURSORS_PER_CHANNEL_MAX, DEDUP_ENTRIES_MAX, DEDUP_WINDOW_MS, POSITIONS_PER_CHANNEL_MAX, SWEEP_LINES_MAX,
    TRIM_BYTES_MAX, TRIM_EVENTS_MAX, TRIM_SLACK_EVENTS_MIN,
};

use super::books::TrimJob;
use super::contract::{Bounds, ChannelNumber, Keep};
use super::damage::end_of_damage;
use super::disk::{Disk, DiskFault, Order, Space};
use super::event::{Stored, read, seal_stub};
use super::key;
use super::line::{Line, Oldest};
use super::record::Kind;
use super::rows::{decode, read_line, read_place};

/// What goes of a channel in one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trimming {
    /// The channel.
    pub channel: ChannelNumber,
    /// Events that go, and stubs; of some a stub stays.
    pub(super) events: Vec<(Seq, Option<Box<[u8]>>)>,
    /// Cursors and positions that change with them.
    pub(super) rows: Vec<Row>,
    /// The oldest event retained from then on.
    pub(super) oldest: Option<Oldest>,
    /// Whether more has to go.
    pub more: bool,
}

/// A cursor's or a position's row, and what it says from then on: its kind, up to where, and when that was told. `None` if
/// it goes.
pub(super) type Row = (Vec<u8>, Option<(Kind, Seq, u64)>);

/// Whether so much is over the bounds that trimming is worth it. What is over them is shown until then.
#[must_use]
pub fn is_due(line: &Line, unix_ms: u64) -> bool {
    is_over(line) || is_too_old(line, unix_ms)
}

/// Whether there are so many events, or bytes.
pub(super) fn is_over(line: &Line) -> bool {
    let Keep { count, bytes, .. } = line.keep;
    let slack = (count / 4).max(TRIM_SLACK_EVENTS_MIN);
    line.retained() > count.saturating_add(slack) || line.retained_bytes() > bytes.saturating_add(bytes / 4)
}

/// Whether the oldest event is well over its age.
fn is_too_old(line: &Line, unix_ms: u64) -> bool {
    let age_ms = line.keep.age_ms;
    line.oldest.is_some_and(|oldest| unix_ms.saturating_sub(oldest.unix_ms) > age_ms.saturating_add(age_ms / 8))
}

/// What goes for a job of the ledger.
///
/// # Errors
/// As [`plan`].
pub fn plan_job(disk: &impl Disk, job: &TrimJob, unix_ms: u64) -> Result<Trimming, DiskFault> {
    let mut trimming = plan(disk, (job.channel, &job.line), (job.erase, job.events_max), unix_ms)?;
    if job.places && job.erase.is_none() {
        trimming.rows = excess_places(disk, job.channel)?.into_iter().map(|place| (place, None)).collect();
    }
    Ok(trimming)
}

/// What of a channel goes next: everything over its bounds, or with `erase` everything up to an event; so many events at
/// most.
///
/// # Errors
/// The disk does not answer, or is damaged where the oldest events stand: nothing goes then. What is erased need not be
/// read, so that damage stops nothing.
pub fn plan(
    disk: &impl Disk,
    (channel, line): (ChannelNumber, &Line),
    (erase, events_max): (Option<Seq>, usize),
    unix_ms: u64,
) -> Result<Trimming, DiskFault> {
    let mut plan = Plan {
        line,
        erase,
        events_max,
        bytes: 0,
        unix_ms,
        retained: line.retained(),
        next: Seq(0),
        stubs: Vec::new(),
        trimming: Trimming { channel, events: Vec::new(), rows: Vec::new(), oldest: None, more: false },
    };
    plan.go_through(disk)?;
    let mut trimming = plan.trimming;
    plan.stubs.truncate(plan.stubs.len().saturating_sub(DEDUP_ENTRIES_MAX));
    // A stub of this very plan is not written, an older one is removed. Both lists ascend.
    for (seq, stub) in &mut trimming.events {
        stub.take_if(|_| plan.stubs.binary_search(seq).is_ok());
    }
    let planned = trimming.events.len();
    for seq in plan.stubs {
        if trimming.events[..planned].binary_search_by_key(&seq, |(seq, _)| *seq).is_err() {
            trimming.events.push((seq, None));
        }
    }
    if let Some(through) = erase.filter(|_| !trimming.more) {
        trimming.rows = erased_places(disk, (channel, through), unix_ms)?;
    }
    Ok(trimming)
}

/// Nobody is owed what goes up to an event: groups go on behind it, and so does every user whose cursor is no farther.
/// Whoever is farther stays there.
fn erased_places(
    disk: &impl Disk,
    (channel, through): (ChannelNumber, Seq),
    unix_ms: u64,
) -> Result<Vec<Row>, DiskFault> {
    let (mut rows, nobody, mut owed_to_none) = (Vec::new(), key::cursor(channel, ""), Seq(0));
    for (kind, (first, last)) in [(Kind::Cursor, key::cursors(channel)), (Kind::Position, key::positions(channel))] {
        let scanned = disk.scan(Space::Rows, &first..=&last, Order::Forward, &mut |place, bytes| {
            match decode(place, kind, bytes, read_place) {
                Ok((seq, _)) if place == nobody => owed_to_none = seq,
                Ok((seq, _)) if seq > through => {}
                Ok((_, told)) if kind == Kind::Position => rows.push((place.to_vec(), Some((kind, through, told)))),
                // One that is broken goes, too.
                _ => rows.push((place.to_vec(), None)),
            }
            ControlFlow::Continue(())
        });
        match scanned {
            // Whose row cannot be read is not known, and nobody reads it.
            Ok(()) | Err(DiskFault::Damaged(_)) => {}
            Err(failed) => return Err(failed),
        }
    }
    if through > owed_to_none {
        rows.push((nobody, Some((Kind::Cursor, through, unix_ms))));
    }
    Ok(rows)
}

/// Cursors and positions over their bounds: those that were told of longest ago. Where nobody is owed stays.
fn excess_places(disk: &impl Disk, channel: ChannelNumber) -> Result<Vec<Vec<u8>>, DiskFault> {
    let mut excess = Vec::new();
    for (kind, (first, last), most) in [
        (Kind::Cursor, key::cursors(channel), CURSORS_PER_CHANNEL_MAX),
        (Kind::Position, key::positions(channel), POSITIONS_PER_CHANNEL_MAX),
    ] {
        let mut found = Vec::new();
        disk.scan(Space::Rows, &first..=&last, Order::Forward, &mut |place, bytes| {
            // One that is broken is told when the channel is opened.
            let told = decode(place, kind, bytes, read_place).ok();
            let who = key::suffix(place).filter(|who| kind == Kind::Position || !who.is_empty());
            found.extend(told.zip(who).map(|((_, unix_ms), _)| (unix_ms, place.to_vec())));
            ControlFlow::Continue(())
        })?;
        found.sort_unstable_by(|one, other| other.cmp(one));
        excess.extend(found.into_iter().skip(most).map(|(_, place)| place));
    }
    Ok(excess)
}

struct Plan<'a> {
    line: &'a Line,
    erase: Option<Seq>,
    events_max: usize,
    /// Bytes of events that were looked at.
    bytes: usize,
    unix_ms: u64,
    /// Events from the one that is looked at on.
    retained: u64,
    /// Behind the record that was looked at last.
    next: Seq,
    /// Stubs that stay, the oldest first.
    stubs: Vec<Seq>,
    trimming: Trimming,
}

impl Plan<'_> {
    fn go_through(&mut self, disk: &impl Disk) -> Result<(), DiskFault> {
        let (channel, last) = (self.trimming.channel, key::event(self.trimming.channel, self.line.last()));
        loop {
            let first = key::event(channel, self.next);
            let scanned = disk
                .scan(Space::Events, &first..=&last, Order::Forward, &mut |place, bytes| self.on_record(place, bytes));
            match scanned {
                Err(DiskFault::Damaged(_)) if self.erase.is_some() => {
                    if self.go_around(disk)?.is_break() {
                        return Ok(());
                    }
                }
                done => return done,
            }
        }
    }

    /// What stands where nothing can be read goes by its number, as far as it is erased. Breaks off where nothing more is
    /// to be looked at.
    fn go_around(&mut self, disk: &impl Disk) -> Result<ControlFlow<()>, DiskFault> {
        let (channel, line) = (self.trimming.channel, self.line);
        let probe = |at: u128| first_event(disk, (channel, Seq(u64::try_from(at).unwrap_or(u64::MAX))), line.last());
        let behind = end_of_damage(self.next.0.into(), line.last().0.into(), probe)?;
        let behind = behind.and_then(|at| u64::try_from(at).ok()).map(Seq);
        let end = behind.unwrap_or_else(|| line.last().next());
        // What is older is not shown any more, and no line counts it.
        let first = line.oldest.map_or(end, |oldest| oldest.seq.max(self.next));
        let mut at = if line.epoch_of(first).is_some() { Some(first) } else { line.following(first) };
        while let Some(seq) = at.filter(|seq| *seq < end) {
            let goes = self.is_erased(seq);
            if !goes || self.is_enough() {
                self.trimming.oldest = line.oldest.map(|oldest| Oldest { seq, ..oldest });
                self.trimming.more |= goes;
                return Ok(ControlFlow::Break(()));
            }
            self.trimming.events.push((seq, None));
            at = line.following(seq);
        }
        self.next = end;
        Ok(if behind.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    fn on_record(&mut self, place: &[u8], bytes: &[u8]) -> ControlFlow<()> {
        let Some((_, seq)) = key::of_event(place) else { return ControlFlow::Continue(()) };
        self.next = seq.next();
        let stored = read(place, bytes).ok();
        let of_old = self.line.oldest.is_none_or(|oldest| seq < oldest.seq);
        if of_old || matches!(stored, Some(Stored::Stub(..))) {
            self.on_leftover(seq, stored.as_ref());
            return ControlFlow::Continue(());
        }
        let known = stored.map(|stored| (stored.place().offset, stored.unix_ms()));
        let (offset, unix_ms) = known.unwrap_or_else(|| self.line.oldest.map_or((0, 0), |o| (o.offset, o.unix_ms)));
        let goes = self.goes(seq, offset, unix_ms);
        self.bytes += bytes.len();
        if !goes || self.is_enough() {
            self.trimming.oldest = Some(Oldest { seq, offset, unix_ms });
            self.trimming.more |= goes;
            return ControlFlow::Break(());
        }
        self.retained = self.retained.saturating_sub(u64::from(self.line.epoch_of(seq).is_some()));
        let stub = stored.and_then(|stored| self.stub(place, &stored));
        self.stubs.extend(stub.is_some().then_some(seq));
        self.trimming.events.push((seq, stub));
        ControlFlow::Continue(())
    }

    /// What an earlier trimming left behind.
    fn on_leftover(&mut self, seq: Seq, stored: Option<&Stored<'_>>) {
        if stored.is_some_and(|stored| self.counts(stored.unix_ms())) {
            self.stubs.push(seq);
        } else if !self.is_enough() {
            self.trimming.events.push((seq, None));
        } else {
            self.trimming.more = true;
        }
    }

    fn is_enough(&self) -> bool {
        let count = self.trimming.events.len();
        count >= self.events_max || count >= TRIM_EVENTS_MAX && self.bytes > TRIM_BYTES_MAX
    }

    fn goes(&self, seq: Seq, offset: u64, unix_ms: u64) -> bool {
        let Keep { count, bytes, age_ms } = self.line.keep;
        // What belongs to an epoch that the line has forgotten is not counted, and is not shown.
        self.is_erased(seq)
            || self.line.epoch_of(seq).is_none()
            || self.retained > count
            || self.line.end.saturating_sub(offset) > bytes
            || self.unix_ms.saturating_sub(unix_ms) > age_ms
    }

    fn is_erased(&self, seq: Seq) -> bool {
        self.erase.is_some_and(|through| seq <= through)
    }

    const fn counts(&self, unix_ms: u64) -> bool {
        self.unix_ms.saturating_sub(unix_ms) <= DEDUP_WINDOW_MS
    }

    fn stub(&self, place: &[u8], stored: &Stored<'_>) -> Option<Box<[u8]>> {
        let operation = stored.operation().filter(|_| self.counts(stored.unix_ms()))?;
        let mut bytes = Vec::new();
        seal_stub(place, stored.place(), stored.unix_ms(), operation, &mut bytes);
        Some(bytes.into())
    }
}

/// The first record of a channel at or behind an event.
fn first_event(disk: &impl Disk, (channel, seq): (ChannelNumber, Seq), last: Seq) -> Result<Option<u128>, DiskFault> {
    let (first, last, mut found) = (key::event(channel, seq), key::event(channel, last), None);
    disk.scan(Space::Events, &first..=&last, Order::Forward, &mut |place, _| {
        found = key::of_event(place).map(|(_, seq)| u128::from(seq.0));
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Channels that are over their bounds, among the next lines behind `after`; and where to go on, unless it was the end.
/// Of a closed channel events grow too old, and its bounds may have become narrower since its line was written: such a
/// one is looked at once, whatever is over them, since a line does not know the latest events, and it then says so.
///
/// # Errors
/// The disk does not answer.
pub fn sweep(
    disk: &impl Disk,
    after: ChannelNumber,
    bounds: &Bounds,
    unix_ms: u64,
) -> Result<(Vec<Box<str>>, Option<ChannelNumber>), DiskFault> {
    let (mut due, mut looked, mut next) = (Vec::new(), 0, None);
    let (first, last) = (key::line(ChannelNumber(after.0.saturating_add(1))), key::line(ChannelNumber(u64::MAX)));
    disk.scan(Space::Rows, &first..=&last, Order::Forward, &mut |place, bytes| {
        looked += 1;
        // A line that is broken is told when its channel is opened.
        if let Ok(line) = decode(place, Kind::Line, bytes, read_line) {
            let keep = bounds.of(&line.name);
            let narrower = keep.count < line.keep.count || keep.bytes < line.keep.bytes;
            let line = Line { keep, ..line };
            // One that is well over them without that was being trimmed when the process was ended.
            if narrower && line.oldest.is_some() || is_due(&line, unix_ms) {
                due.push(line.name);
            }
        }
        if looked >= SWEEP_LINES_MAX {
            next = key::of_line(place);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok((due, next))
}
