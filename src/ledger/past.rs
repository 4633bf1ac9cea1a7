//! What is known of a channel when it is opened: a handful of reads, whatever the length of its history.

use std::ops::ControlFlow;

use crate::ids::{Epoch, Seq};
use crate::limits::{
    CURSORS_PER_CHANNEL_MAX, DEDUP_ENTRIES_MAX, DEDUP_WINDOW_MS, OPERATIONS_LOOKED_AT_MAX, POSITIONS_PER_CHANNEL_MAX,
};

use super::contract::{ChannelNumber, Page, Read};
use super::disk::{Disk, DiskFault, Order, Space};
use super::event::{Operation, read, record_bytes};
use super::key;
use super::line::Line;
use super::page;
use super::record::Kind;
use super::rows::{damaged, decode, find, read_line, read_number, read_place};

/// What was read of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub channel: ChannelNumber,
    /// Its line as of its last stored event.
    pub line: Line,
    pub(super) operations: Vec<(Seq, u64, Operation, Epoch)>,
    pub(super) cursors: Vec<(Box<str>, Seq, u64)>,
    pub(super) positions: Vec<(Box<str>, Seq)>,
    pub(super) tail: Page,
}

/// A channel's number and line by its name; `None` if nothing was ever stored there.
///
/// # Errors
/// The disk does not answer, or what it says is not what was written.
pub fn find_line(disk: &impl Disk, name: &str) -> Result<Option<(ChannelNumber, Line)>, DiskFault> {
    let Some(channel) = find(disk, &key::number(name), Kind::Number, read_number)? else { return Ok(None) };
    let line = line_of(disk, channel)?;
    if *line.name != *name {
        return Err(DiskFault::Damaged(format!("channel {name:?} has the number of {:?}", line.name)));
    }
    Ok(Some((channel, line)))
}

/// A channel's line by its number, as of its last stored event.
///
/// # Errors
/// The disk does not answer, or what it says is not what was written.
pub fn line_of(disk: &impl Disk, channel: ChannelNumber) -> Result<Line, DiskFault> {
    let line = find(disk, &key::line(channel), Kind::Line, read_line)?;
    let mut line = line.ok_or_else(|| DiskFault::Damaged(format!("channel number {} has no line", channel.0)))?;
    catch_up(disk, channel, &mut line)?;
    Ok(line)
}

/// A line is written when an epoch begins and when events go, not with every event: what came since says the last one.
fn catch_up(disk: &impl Disk, channel: ChannelNumber, line: &mut Line) -> Result<(), DiskFault> {
    let written = line.last();
    let mut last = None;
    let (first, end) = (key::event(channel, written.next()), key::event(channel, Seq(u64::MAX)));
    disk.scan(Space::Events, &first..=&end, Order::Backward, &mut |place, bytes| {
        let Some((_, seq)) = key::of_event(place) else { return ControlFlow::Continue(()) };
        let (newest, _) = *last.get_or_insert((seq, None));
        match read(place, bytes) {
            Ok(stored) => {
                let end = stored.place().offset + record_bytes(0) + body_bytes(bytes);
                last = Some((newest, Some((stored.place().epoch, end))));
                ControlFlow::Break(())
            }
            // Its place still counts; the bytes are those of the latest that can be read.
            Err(_) => ControlFlow::Continue(()),
        }
    })?;
    let Some((seq, known)) = last else { return Ok(()) };
    let beyond = || DiskFault::Damaged(format!("channel {:?} has event {seq} that its line does not know", line.name));
    let Some(span) = line.spans.last_mut() else { return Err(beyond()) };
    if known.is_some_and(|(epoch, _)| epoch != span.epoch) {
        return Err(beyond());
    }
    span.last = seq;
    line.end = known.map_or(line.end, |(_, end)| end);
    Ok(())
}

/// Bytes of a record behind its place.
fn body_bytes(record: &[u8]) -> u64 {
    (record.len() as u64 + size_of::<[u64; 2]>() as u64).saturating_sub(record_bytes(0))
}

/// Everything that is known of a channel by its name; `None` if nothing was ever stored there.
///
/// # Errors
/// The disk does not answer, or what it says is not what was written.
pub fn find_past(
    disk: &impl Disk,
    name: &str,
    (tail_count, tail_bytes): (usize, usize),
    unix_ms: u64,
) -> Result<Option<Found>, DiskFault> {
    let Some((channel, line)) = find_line(disk, name)? else { return Ok(None) };
    let latest = Read {
        channel,
        after: Seq(0),
        through: line.last(),
        order: Order::Backward,
        count: tail_count,
        bytes: tail_bytes,
    };
    let mut tail = page::read_page(disk, &line, &latest)?;
    tail.records.reverse();
    tail.damaged.reverse();
    Ok(Some(Found {
        channel,
        operations: operations(disk, channel, unix_ms)?,
        cursors: cursors(disk, channel)?,
        positions: positions(disk, channel)?,
        line,
        tail,
    }))
}

/// The operations whose ids still count, from events and from what is left of trimmed ones.
fn operations(
    disk: &impl Disk,
    channel: ChannelNumber,
    unix_ms: u64,
) -> Result<Vec<(Seq, u64, Operation, Epoch)>, DiskFault> {
    let (mut found, mut looked) = (Vec::new(), 0);
    let (first, last) = (key::event(channel, Seq(0)), key::event(channel, Seq(u64::MAX)));
    let scanned = disk.scan(Space::Events, &first..=&last, Order::Backward, &mut |place, bytes| {
        looked += 1;
        // What cannot be read is told by who reads it as an event.
        if let (Some((_, seq)), Ok(stored)) = (key::of_event(place), read(place, bytes)) {
            if unix_ms.saturating_sub(stored.unix_ms()) > DEDUP_WINDOW_MS {
                return ControlFlow::Break(());
            }
            let epoch = stored.place().epoch;
            found.extend(stored.operation().map(|operation| (seq, stored.unix_ms(), operation, epoch)));
        }
        if found.len() >= DEDUP_ENTRIES_MAX || looked >= OPERATIONS_LOOKED_AT_MAX {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    match scanned {
        Ok(()) | Err(DiskFault::Damaged(_)) => {}
        Err(failed) => return Err(failed),
    }
    found.reverse();
    Ok(found)
}

/// Those who acknowledged last, as many as a channel remembers, and the floor.
fn cursors(disk: &impl Disk, channel: ChannelNumber) -> Result<Vec<(Box<str>, Seq, u64)>, DiskFault> {
    let mut found = places(disk, key::cursors(channel), Kind::Cursor)?;
    found.sort_by_key(|(user, _, unix_ms)| (!user.is_empty(), std::cmp::Reverse(*unix_ms)));
    found.truncate(CURSORS_PER_CHANNEL_MAX + 1);
    found.reverse();
    Ok(found)
}

fn positions(disk: &impl Disk, channel: ChannelNumber) -> Result<Vec<(Box<str>, Seq)>, DiskFault> {
    let mut found = places(disk, key::positions(channel), Kind::Position)?;
    found.sort_by_key(|(_, _, unix_ms)| std::cmp::Reverse(*unix_ms));
    found.truncate(POSITIONS_PER_CHANNEL_MAX);
    found.sort();
    Ok(found.into_iter().map(|(group, seq, _)| (group, seq)).collect())
}

/// Users or groups with their places. A broken one ends the search: somebody would get again what was acknowledged, and
/// not know why.
fn places(
    disk: &impl Disk,
    (first, last): (Vec<u8>, Vec<u8>),
    kind: Kind,
) -> Result<Vec<(Box<str>, Seq, u64)>, DiskFault> {
    let (mut found, mut broken) = (Vec::new(), None);
    disk.scan(Space::Rows, &first..=&last, Order::Forward, &mut |place, bytes| {
        match (key::suffix(place), decode(place, kind, bytes, read_place)) {
            (Some(who), Ok((seq, unix_ms))) => found.push((Box::from(who), seq, unix_ms)),
            (None, Ok(_)) => {}
            (_, Err(why)) => {
                broken = Some(damaged(place, why));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    broken.map_or(Ok(found), Err)
}
