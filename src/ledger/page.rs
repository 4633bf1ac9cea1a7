//! Ranges of events, from either end. What should be there and is not, or is not what was written, is told by its range.

use std::ops::ControlFlow;

use crate::ids::Seq;
use crate::limits::DAMAGE_PROBES_MAX;
use crate::payload::Payload;

use super::contract::{ChannelNumber, Page, Read};
use super::disk::{Disk, DiskFault, Order, Space};
use super::event::{self, Stored};
use super::key;
use super::line::Line;

/// Reads events of a line.
///
/// # Errors
/// The disk does not answer now. What is damaged is no error: it is in the page.
pub fn read_page(disk: &impl Disk, line: &Line, read: &Read) -> Result<Page, DiskFault> {
    let Some(oldest) = line.oldest else { return Ok(Page { oldest: line.last().next(), ..Page::default() }) };
    let mut walk = Walk::new(line, read, oldest.seq);
    walk.page.oldest = oldest.seq;
    while let Some(from) = walk.expected {
        let (first, last) = walk.ends(from);
        let (first, last) = (key::event(read.channel, first), key::event(read.channel, last));
        let scanned =
            disk.scan(Space::Events, &first..=&last, read.order, &mut |place, bytes| walk.on_record(place, bytes));
        match scanned {
            Ok(()) => {
                if !walk.page.more
                    && let Some(missing) = walk.expected.take()
                {
                    walk.damaged(missing, walk.end);
                }
                break;
            }
            Err(DiskFault::Damaged(_)) => walk.skip(disk, read.channel),
            Err(failed) => return Err(failed),
        }
    }
    Ok(walk.page)
}

/// Goes through what a line says must be there.
struct Walk<'a> {
    line: &'a Line,
    read: &'a Read,
    /// The event wanted next; `None` at the end.
    expected: Option<Seq>,
    /// The last event wanted.
    end: Seq,
    bytes: usize,
    page: Page,
}

impl<'a> Walk<'a> {
    fn new(line: &'a Line, read: &'a Read, oldest: Seq) -> Self {
        let lowest = line.following(read.after.max(Seq(oldest.0.saturating_sub(1))));
        let highest = line.preceding(Seq(read.through.0.saturating_add(1)));
        let (first, last) = match read.order {
            Order::Forward => (lowest, highest),
            Order::Backward => (highest, lowest),
        };
        let any = lowest.zip(highest).is_some_and(|(lowest, highest)| lowest <= highest);
        let mut page = Page::default();
        if any && read.count == 0 {
            page.more = true;
        }
        let expected = first.filter(|_| any && read.count > 0);
        Self { line, read, expected, end: last.unwrap_or(Seq(0)), bytes: 0, page }
    }

    /// The lower and the upper end of what is left, in the order of keys.
    const fn ends(&self, from: Seq) -> (Seq, Seq) {
        match self.read.order {
            Order::Forward => (from, self.end),
            Order::Backward => (self.end, from),
        }
    }

    /// The event that comes behind one on this way.
    fn next(&self, seq: Seq) -> Option<Seq> {
        match self.read.order {
            Order::Forward => self.line.following(seq).filter(|next| *next <= self.end),
            Order::Backward => self.line.preceding(seq).filter(|next| *next >= self.end),
        }
    }

    fn is_before(&self, one: Seq, other: Seq) -> bool {
        match self.read.order {
            Order::Forward => one < other,
            Order::Backward => one > other,
        }
    }

    fn on_record(&mut self, place: &[u8], bytes: &[u8]) -> ControlFlow<()> {
        let (Some((_, seq)), Some(expected)) = (key::of_event(place), self.expected) else {
            return ControlFlow::Break(());
        };
        let Some(epoch) = self.line.epoch_of(seq) else { return ControlFlow::Continue(()) };
        if self.is_before(expected, seq) {
            self.damaged_up_to(expected, seq);
        }
        let Read { count, bytes: most, .. } = *self.read;
        let some = !self.page.records.is_empty();
        if self.page.records.len() >= count || some && self.bytes + bytes.len() > most {
            self.expected = Some(seq);
            self.page.more = true;
            return ControlFlow::Break(());
        }
        match event::read(place, bytes) {
            Ok(Stored::Event(stands, _)) if stands.epoch == epoch => {
                self.bytes += bytes.len();
                self.page.records.push((seq, Payload::copy_of(bytes)));
            }
            _ => self.damaged(seq, seq),
        }
        self.expected = self.next(seq);
        if self.expected.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Everything from one event to before another cannot be read.
    fn damaged_up_to(&mut self, from: Seq, before: Seq) {
        let last = match self.read.order {
            Order::Forward => self.line.preceding(before),
            Order::Backward => self.line.following(before),
        };
        self.damaged(from, last.unwrap_or(from));
    }

    fn damaged(&mut self, one: Seq, other: Seq) {
        self.page.damaged.push((one.min(other), one.max(other)));
    }

    /// Finds where the disk can be read again: a damaged block holds many records.
    fn skip(&mut self, disk: &impl Disk, channel: ChannelNumber) {
        let Some(from) = self.expected else { return };
        let left = from.0.abs_diff(self.end.0);
        let (mut bad, mut step) = (0, 1_u64.min(left));
        let mut found = None;
        for _ in 0..DAMAGE_PROBES_MAX {
            match found {
                // Twice as far each time until something can be read, then between the last two.
                None if bad >= left => break,
                None => match self.probe(disk, channel, self.shifted(from, step)) {
                    Ok(next) => found = Some((step, next)),
                    Err(()) => (bad, step) = (step, (step * 2).min(left)),
                },
                Some((good, _)) if good - bad <= 1 => break,
                Some((good, _)) => {
                    let middle = bad + (good - bad) / 2;
                    match self.probe(disk, channel, self.shifted(from, middle)) {
                        Ok(next) => found = Some((middle, next)),
                        Err(()) => bad = middle,
                    }
                }
            }
        }
        match found.and_then(|(_, next)| next) {
            Some(next) => {
                self.damaged_up_to(from, next);
                self.expected = Some(next);
            }
            None => {
                self.damaged(from, self.end);
                self.expected = None;
            }
        }
    }

    const fn shifted(&self, from: Seq, by: u64) -> Seq {
        match self.read.order {
            Order::Forward => Seq(from.0 + by),
            Order::Backward => Seq(from.0 - by),
        }
    }

    /// The first event at or behind one that can be read; an error if there is damage before it.
    fn probe(&self, disk: &impl Disk, channel: ChannelNumber, from: Seq) -> Result<Option<Seq>, ()> {
        let (first, last) = self.ends(from);
        let (first, last) = (key::event(channel, first), key::event(channel, last));
        let mut found = None;
        let scanned = disk.scan(Space::Events, &first..=&last, self.read.order, &mut |place, _| {
            found = key::of_event(place).map(|(_, seq)| seq).filter(|seq| self.line.epoch_of(*seq).is_some());
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        scanned.map(|()| found).map_err(drop)
    }
}
