//! Pages: both ways, their bounds, and what is told of damage.

use std::cell::Cell;
use std::ops::{ControlFlow, RangeInclusive};

use super::*;
use crate::ledger::disk::Visit;
use crate::ledger::event::read_event;
use crate::limits::DAMAGE_PROBES_MAX;

/// Two epochs: 1 to 20, and 65,557 to 65,566.
fn two_epochs() -> (Log, Past) {
    let mut log = Log::new();
    let past = log.open("chat:a");
    log.append(&past, 1..=20);
    log.commit();
    let mut log = log.crash();
    let past = log.open("chat:a");
    assert_eq!(past.start.next, Seq(65_557));
    log.append(&past, 65_557..=65_566);
    log.commit();
    (log, past)
}

fn read(disk: &impl Disk, log: &Log, read: &Read) -> (Vec<u64>, Vec<(u64, u64)>, bool) {
    let line = line_of(&log.disk, read.channel).unwrap();
    let page = page::read_page(disk, &line, read).unwrap();
    for (seq, bytes) in &page.records {
        let (epoch, event) = read_event(read.channel, *seq, bytes).unwrap();
        assert_eq!((Some(epoch), event.id), (line.epoch_of(*seq), u128::from(seq.0)));
    }
    let damaged = page.damaged.iter().map(|(first, last)| (first.0, last.0)).collect();
    (page.records.iter().map(|(seq, _)| seq.0).collect(), damaged, page.more)
}

#[test]
fn a_page_goes_both_ways_across_epochs_within_its_bounds() {
    let (log, past) = two_epochs();
    let second: Vec<u64> = (65_557..=65_566).collect();
    for (after, through, count, order, expected, more) in [
        (0, 3, 10, Order::Forward, vec![1, 2, 3], false),
        (18, 65_558, 10, Order::Forward, vec![19, 20, 65_557, 65_558], false),
        (18, 65_558, 3, Order::Forward, vec![19, 20, 65_557], true),
        (18, 65_558, 4, Order::Forward, vec![19, 20, 65_557, 65_558], false),
        (18, 65_558, 10, Order::Backward, vec![65_558, 65_557, 20, 19], false),
        (18, 65_558, 1, Order::Backward, vec![65_558], true),
        (20, u64::MAX - 1, 100, Order::Forward, second, false),
        (65_566, u64::MAX - 1, 100, Order::Forward, vec![], false),
        (20, 65_556, 100, Order::Backward, vec![], false),
        (5, 5, 100, Order::Forward, vec![], false),
        (6, 5, 100, Order::Backward, vec![], false),
        (0, 5, 0, Order::Forward, vec![], true),
    ] {
        let wanted = Read { after: Seq(after), through: Seq(through), count, order, ..everything(past.channel) };
        assert_eq!(read(&log.disk, &log, &wanted), (expected, vec![], more), "{wanted:?}");
    }
}

#[test]
fn bytes_bound_a_page_that_has_at_least_one_event() {
    let (log, past) = two_epochs();
    let record = |seq| {
        let mut bytes = 0;
        log.disk.get(Space::Events, &key::event(past.channel, Seq(seq)), &mut |value| bytes = value.len()).unwrap();
        bytes
    };
    let two = record(1) + record(2);
    for (bytes, count) in [(0, 1), (two - 1, 1), (two, 2), (two + 1, 2)] {
        let wanted = Read { through: Seq(5), bytes, ..everything(past.channel) };
        let (seqs, _, more) = read(&log.disk, &log, &wanted);
        assert_eq!((seqs.len(), more), (count, true), "{bytes}");
    }
}

#[test]
fn what_is_missing_or_broken_is_told_and_the_rest_comes() {
    let (mut log, past) = two_epochs();
    let place = |seq| key::event(past.channel, Seq(seq));
    let flip = |value: &mut Box<[u8]>| value[30] ^= 1;
    log.disk.damage(Space::Events, &place(3), flip);
    let gone = [1, 7, 8, 20, 65_557, 65_566].map(|seq| ((Space::Events, Box::from(place(seq))), None));
    // The last event is known to have been there: its line was written with a later one.
    let (mut batch, line) = (Batch::from(gone), line_of(&log.disk, past.channel).unwrap());
    crate::ledger::rows::put_line(&mut batch, past.channel, &line);
    log.disk.commit(&batch);
    let kept = vec![2, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
    let kept: Vec<u64> = kept.into_iter().chain(65_558..=65_565).collect();
    let forward = read(&log.disk, &log, &everything(past.channel));
    let damaged = vec![(1, 1), (3, 3), (7, 8), (20, 65_557), (65_566, 65_566)];
    assert_eq!(forward, (kept.clone(), damaged.clone(), false));
    let (seqs, back, more) = read(&log.disk, &log, &Read { order: Order::Backward, ..everything(past.channel) });
    assert_eq!(seqs, kept.into_iter().rev().collect::<Vec<_>>());
    assert_eq!((back, more), (damaged.into_iter().rev().collect(), false));
}

/// A disk with a block of which nothing can be read by going through it.
pub(super) struct Holed<'a> {
    pub(super) disk: &'a Memory,
    pub(super) space: Space,
    pub(super) hole: RangeInclusive<Vec<u8>>,
    pub(super) scans: Cell<usize>,
}

impl<'a> Holed<'a> {
    /// Events of a channel that cannot be read.
    pub(super) fn of_events(disk: &'a Memory, channel: ChannelNumber, (from, to): (u64, u64)) -> Self {
        let hole = key::event(channel, Seq(from)).to_vec()..=key::event(channel, Seq(to)).to_vec();
        Self { disk, space: Space::Events, hole, scans: Cell::new(0) }
    }
}

impl Disk for Holed<'_> {
    fn get(&self, space: Space, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<(), DiskFault> {
        self.disk.get(space, key, read)
    }

    fn scan(
        &self,
        space: Space,
        range: RangeInclusive<&[u8]>,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), DiskFault> {
        self.scans.set(self.scans.get() + 1);
        let mut damaged = false;
        self.disk.scan(space, range, order, &mut |key, value| {
            let is_hit = self.hole.start().as_slice() <= key && key <= self.hole.end().as_slice();
            damaged = space == self.space && is_hit;
            if damaged { ControlFlow::Break(()) } else { visit(key, value) }
        })?;
        if damaged { Err(DiskFault::Damaged("a block".to_owned())) } else { Ok(()) }
    }
}

#[test]
fn a_damaged_block_is_stepped_over_and_told() {
    let (log, past) = two_epochs();
    let all: Vec<u64> = (1..=20).chain(65_557..=65_566).collect();
    for (from, to) in [(1, 1), (1, 4), (7, 7), (5, 19), (19, 65_557), (3, 65_560), (65_565, 65_566), (1, 65_566)] {
        let disk = Holed::of_events(&log.disk, past.channel, (from, to));
        let kept: Vec<u64> = all.iter().copied().filter(|seq| !(from..=to).contains(seq)).collect();
        assert_eq!(read(&disk, &log, &everything(past.channel)), (kept.clone(), vec![(from, to)], false));
        assert!(disk.scans.get() <= DAMAGE_PROBES_MAX + 2, "{}", disk.scans.get());
        let back = Read { order: Order::Backward, ..everything(past.channel) };
        let kept = kept.into_iter().rev().collect();
        assert_eq!(read(&disk, &log, &back), (kept, vec![(from, to)], false));
    }
}
