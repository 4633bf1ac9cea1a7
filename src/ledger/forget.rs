//! What a user has left in the log, in all channels: found a portion at a time, and what is to stand there instead.
//!
//! An event keeps its number and its time, and says nothing else any more: whoever reads over it is told that something
//! stood there, and nobody takes it for a gap. Stubs and cursors of the user go. Other users' events are not looked
//! into, and neither are the names of channels.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::ids::Seq;
use crate::limits::{FORGET_BYTES_MAX, FORGET_RECORDS_MAX, TRIM_EVENTS_MAX};

use super::contract::{ChannelNumber, Forget, Forgotten, Spot};
use super::damage::end_of_damage;
use super::disk::{Disk, DiskFault, Order, Place, Space};
use super::event::{self, Event, Stored, seal_event, write_body};
use super::key;
use super::record::Kind;
use super::rows::{decode, read_place};

/// The type of what stands in the place of an erased event.
pub const ERASED_KIND: &str = "erased";

/// What of a user goes in one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// Where something of the user stands.
    pub(super) changes: Vec<Change>,
    /// What cannot be read, and where the next one begins.
    pub forgotten: Forgotten,
}

/// Something of a user that was found, and goes unless it is newer than the erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) place: Place,
    /// What stands there from then on.
    pub(super) value: Option<Box<[u8]>>,
    /// The event, or the one up to which a cursor is.
    pub(super) at: (ChannelNumber, Seq),
    /// What it counts for.
    pub(super) counts: Forgotten,
}

/// Looks through a portion of the log. Only what is committed is seen.
///
/// # Errors
/// The disk does not answer now. What cannot be read is counted, and stepped over.
pub fn plan(disk: &impl Disk, forget: &Forget) -> Result<Portion, DiskFault> {
    match forget.from {
        Spot::Event(channel, seq) => {
            let at = key::whole((channel, seq));
            let mut plan = Plan { forget, looked: 0, bytes: 0, at, portion: Portion::default() };
            plan.go_through_events(disk)?;
            Ok(plan.portion)
        }
        Spot::Cursor(channel) => cursors(disk, &forget.user, channel),
    }
}

struct Plan<'a> {
    forget: &'a Forget,
    looked: usize,
    bytes: usize,
    /// Behind the record that was looked at last.
    at: u128,
    portion: Portion,
}

impl Plan<'_> {
    fn go_through_events(&mut self, disk: &impl Disk) -> Result<(), DiskFault> {
        let (first, last) = (key::of_whole(self.at), key::of_whole(u128::MAX));
        self.portion.forgotten.next = Some(Spot::Cursor(ChannelNumber(0)));
        let range = first.as_slice()..=last.as_slice();
        match disk.scan(Space::Events, range, Order::Forward, &mut |place, bytes| self.on_record(place, bytes)) {
            Ok(()) => {}
            Err(DiskFault::Damaged(_)) => {
                // What lies behind it is read by others, so it is looked at.
                self.portion.forgotten.unreadable += 1;
                let behind = end_of_damage(self.at, u128::MAX, |at| first_event(disk, at))?;
                if let Some((channel, seq)) = behind.and_then(|at| key::of_event(&key::of_whole(at))) {
                    self.portion.forgotten.next = Some(Spot::Event(channel, seq));
                }
            }
            Err(failed) => return Err(failed),
        }
        Ok(())
    }

    fn on_record(&mut self, place: &[u8], bytes: &[u8]) -> ControlFlow<()> {
        let Some((channel, seq)) = key::of_event(place) else { return ControlFlow::Continue(()) };
        let portion = &mut self.portion;
        if self.looked >= FORGET_RECORDS_MAX
            || self.bytes >= FORGET_BYTES_MAX
            || portion.changes.len() >= TRIM_EVENTS_MAX
        {
            portion.forgotten.next = Some(Spot::Event(channel, seq));
            return ControlFlow::Break(());
        }
        self.at = key::whole((channel, seq)).saturating_add(1);
        self.looked += 1;
        self.bytes += bytes.len();
        match event::read(place, bytes) {
            Ok(Stored::Event(stands, event)) if event.user == &*self.forget.user => {
                let operations = u64::from(event.operation.is_some());
                let mut sealed = Vec::new();
                seal_event(place, stands, &tombstone(&event), &mut sealed);
                portion.changes.push(Change {
                    place: (Space::Events, place.into()),
                    value: Some(sealed.into()),
                    at: (channel, seq),
                    counts: Forgotten { events: 1, operations, ..Forgotten::default() },
                });
            }
            Ok(Stored::Stub(_, _, operation)) if operation.author == self.forget.author => {
                portion.changes.push(Change {
                    place: (Space::Events, place.into()),
                    value: None,
                    at: (channel, seq),
                    counts: Forgotten { operations: 1, ..Forgotten::default() },
                });
            }
            Ok(_) => {}
            Err(_) => portion.forgotten.unreadable += 1,
        }
        ControlFlow::Continue(())
    }
}

/// The first record in the space of events at or behind a place.
fn first_event(disk: &impl Disk, at: u128) -> Result<Option<u128>, DiskFault> {
    let (first, last, mut found) = (key::of_whole(at), key::of_whole(u128::MAX), None);
    disk.scan(Space::Events, &first..=&last, Order::Forward, &mut |place, _| {
        found = key::of_event(place).map(key::whole);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// The first line of a channel at or behind a number.
fn first_line(disk: &impl Disk, at: u64) -> Result<Option<u128>, DiskFault> {
    let (first, last) = (key::line(ChannelNumber(at)), key::line(ChannelNumber(u64::MAX)));
    let mut found = None;
    disk.scan(Space::Rows, &first..=&last, Order::Forward, &mut |place, _| {
        found = key::of_line(place).map(|channel| u128::from(channel.0));
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// The body of what stays of an event: when it was, and its own id, by which somebody who has it knows it.
fn tombstone(event: &Event<'_>) -> Vec<u8> {
    let Event { unix_ms, id, .. } = *event;
    let mut body = Vec::new();
    let left = Event { unix_ms, id, operation: None, user: "", op_id: "", kind: ERASED_KIND, payload: b"{}" };
    write_body(&left, &mut body);
    body
}

/// The cursors that a user has in channels from one on.
fn cursors(disk: &impl Disk, user: &Arc<str>, from: ChannelNumber) -> Result<Portion, DiskFault> {
    let (mut channels, mut next) = (Vec::new(), None);
    let (first, last) = (key::line(from), key::line(ChannelNumber(u64::MAX)));
    let scanned = disk.scan(Space::Rows, &first..=&last, Order::Forward, &mut |place, _| {
        let Some(channel) = key::of_line(place) else { return ControlFlow::Continue(()) };
        if channels.len() >= FORGET_RECORDS_MAX {
            next = Some(Spot::Cursor(channel));
            return ControlFlow::Break(());
        }
        channels.push(channel);
        ControlFlow::Continue(())
    });
    let mut portion = Portion::default();
    match scanned {
        Ok(()) => {}
        Err(DiskFault::Damaged(_)) => {
            // A cursor stands by itself: channels are numbered one after another, whatever their lines say.
            portion.forgotten.unreadable += 1;
            let damaged = channels.last().map_or(from.0, |last| last.0 + 1);
            let probe = |at: u128| first_line(disk, u64::try_from(at).unwrap_or(u64::MAX));
            let behind = end_of_damage(damaged.into(), u64::MAX.into(), probe)?;
            let end = behind.and_then(|at| u64::try_from(at).ok());
            let left = FORGET_RECORDS_MAX - channels.len();
            channels.extend((damaged..end.unwrap_or(u64::MAX)).take(left).map(ChannelNumber));
            // Where no line is behind it, a damaged block holds no more of them than were looked at.
            next = end.zip(channels.last()).map(|(_, last)| Spot::Cursor(ChannelNumber(last.0 + 1)));
        }
        Err(failed) => return Err(failed),
    }
    for channel in channels {
        if portion.changes.len() >= TRIM_EVENTS_MAX {
            next = Some(Spot::Cursor(channel));
            break;
        }
        let place = key::cursor(channel, user);
        let mut found = None;
        // One that is broken goes like any other.
        let read = |bytes: &[u8]| decode(&place, Kind::Cursor, bytes, read_place).map_or(Seq(0), |(seq, _)| seq);
        match disk.get(Space::Rows, &place, &mut |bytes| found = Some(read(bytes))) {
            Ok(()) => {}
            Err(DiskFault::Damaged(_)) => portion.forgotten.unreadable += 1,
            Err(failed) => return Err(failed),
        }
        if let Some(seq) = found {
            portion.changes.push(Change {
                place: (Space::Rows, place.into()),
                value: None,
                at: (channel, seq),
                counts: Forgotten { cursors: 1, ..Forgotten::default() },
            });
        }
    }
    portion.forgotten.next = next;
    Ok(portion)
}
