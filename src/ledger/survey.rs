//! Everything that lies on a disk, looked at once: what there is, and what is not as it was written.

use std::ops::ControlFlow;

use crate::ids::Seq;
use crate::limits::{SURVEY_PAGE_BYTES, SURVEY_PAGE_EVENTS, SURVEY_PAGE_LINES};
use crate::payload::Payload;

use super::contract::{ChannelNumber, Read};
use super::disk::{Disk, DiskFault, Order, Space};
use super::event::{Stored, read};
use super::key;
use super::line::Line;
use super::page::read_page;
use super::past::{find_line, line_of};
use super::record::{Broken, Kind};
use super::rewritten::rewritten;
use super::rows::{decode, read_number};

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Channels that ever had an event, a cursor or a position.
    pub channels: u64,
    /// Events that are retained.
    pub events: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Operations of events that are not.
    pub stubs: u64,
    /// Users' acknowledgements.
    pub cursors: u64,
    /// Groups' acknowledgements.
    pub positions: u64,
    /// What is not as it was written.
    pub faults: u64,
}

/// Is told each fault, with its place.
pub type Told<'a> = &'a mut dyn FnMut(&str);

/// Looks at every row and every record.
///
/// # Errors
/// The disk does not answer. What is damaged is no error: it is told.
pub fn survey(disk: &impl Disk, told: Told<'_>) -> Result<Survey, DiskFault> {
    let mut survey = Survey::default();
    rows(disk, &mut survey, told)?;
    channels(disk, &mut |found| {
        let mut fault = |what: &str| {
            survey.faults += 1;
            told(what);
        };
        let (channel, line) = match found {
            Ok(found) => found,
            Err(why) => {
                fault(&why);
                return Ok(());
            }
        };
        survey.channels += 1;
        events_of(disk, channel, &line, &mut |found| {
            match found {
                Ok((_, record)) => {
                    survey.events += 1;
                    survey.bytes += record.len() as u64;
                }
                Err(why) => fault(&why),
            }
            Ok::<(), DiskFault>(())
        })
    })?;
    leftovers(disk, &mut survey, told)?;
    Ok(survey)
}

/// Each channel's line, as of its last stored event; or why some cannot be read. However many there are, few are held.
///
/// # Errors
/// The disk does not answer, or as `visit`.
pub fn channels<E: From<DiskFault>>(
    disk: &impl Disk,
    visit: &mut dyn FnMut(Result<(ChannelNumber, Line), String>) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = Some(ChannelNumber(0));
    while let Some(first) = from {
        let (found, scanned) = numbers(disk, first);
        let last = found.last().copied();
        from =
            last.filter(|_| found.len() >= SURVEY_PAGE_LINES).and_then(|last| last.0.checked_add(1)).map(ChannelNumber);
        for channel in found {
            match line_of(disk, channel) {
                Ok(line) => visit(Ok((channel, line)))?,
                Err(DiskFault::Damaged(why)) => visit(Err(format!("channel number {}: {why}", channel.0)))?,
                Err(failed) => return Err(failed.into()),
            }
        }
        match scanned {
            Err(DiskFault::Damaged(why)) => {
                let behind = last.map_or_else(String::new, |last| format!(" behind number {}", last.0));
                visit(Err(format!("the channels{behind} cannot be read: {why}")))?;
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

/// The numbers of the next channels, and how looking for them went.
fn numbers(disk: &impl Disk, first: ChannelNumber) -> (Vec<ChannelNumber>, Result<(), DiskFault>) {
    let (first, last) = (key::line(first), key::line(ChannelNumber(u64::MAX)));
    let mut found = Vec::new();
    let scanned = disk.scan(Space::Rows, &first..=&last, Order::Forward, &mut |place, _| {
        found.extend(key::of_line(place));
        if found.len() < SURVEY_PAGE_LINES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    (found, scanned)
}

/// An event with its place, or why some cannot be read.
pub type EventFound<'a> = Result<(Seq, &'a Payload), String>;

/// Every event of a channel that is retained, in order; or which of them cannot be read.
///
/// # Errors
/// The disk does not answer, or as `visit`.
pub fn events_of<E: From<DiskFault>>(
    disk: &impl Disk,
    channel: ChannelNumber,
    line: &Line,
    visit: &mut dyn FnMut(EventFound<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut after = Seq(0);
    loop {
        let through = line.last();
        let (count, bytes) = (SURVEY_PAGE_EVENTS, SURVEY_PAGE_BYTES);
        let page = read_page(disk, line, &Read { channel, after, through, order: Order::Forward, count, bytes })?;
        for (seq, record) in &page.records {
            visit(Ok((*seq, record)))?;
        }
        for (first, last) in &page.damaged {
            visit(Err(format!("channel {:?}: events {first} to {last} cannot be read", line.name)))?;
        }
        match page.records.last() {
            Some((seq, _)) if page.more => after = *seq,
            _ => return Ok(()),
        }
    }
}

fn rows(disk: &impl Disk, survey: &mut Survey, told: Told<'_>) -> Result<(), DiskFault> {
    let (first, last) = (vec![0], vec![0xff; 2]);
    let scanned = disk.scan(Space::Rows, &first..=&last, Order::Forward, &mut |place, bytes| {
        let whole = match place.first() {
            Some(b'c') => name_is_right(disk, place, bytes),
            // What is in it, each channel's look says.
            Some(b'l') => key::of_line(place).map(drop).ok_or_else(|| "no channel's number".to_owned()),
            Some(b'u') => {
                survey.cursors += 1;
                is_as_written(place, bytes)
            }
            Some(b'g') => {
                survey.positions += 1;
                is_as_written(place, bytes)
            }
            _ if place == key::STATE || place == key::COMMIT => is_as_written(place, bytes),
            _ => Err("none of ours".to_owned()),
        };
        if let Err(why) = whole {
            survey.faults += 1;
            told(&format!("row {}: {why}", place.escape_ascii()));
        }
        ControlFlow::Continue(())
    });
    or_told(scanned, "the rows", survey, told)
}

/// A row is what would be written for what it says.
fn is_as_written(place: &[u8], bytes: &[u8]) -> Result<(), String> {
    match rewritten(Space::Rows, place, bytes) {
        Ok(again) if *again == *bytes => Ok(()),
        Ok(_) => Err(Broken::Content.to_string()),
        Err(why) => Err(why.to_string()),
    }
}

/// A name leads to the line of the channel with that name.
fn name_is_right(disk: &impl Disk, place: &[u8], bytes: &[u8]) -> Result<(), String> {
    decode(place, Kind::Number, bytes, read_number).map_err(|why| why.to_string())?;
    let name = place.get(1..).and_then(|name| std::str::from_utf8(name).ok()).ok_or("no name")?;
    find_line(disk, name).map(drop).map_err(|fault| fault.to_string())
}

/// What stands among the events and is none that is retained.
fn leftovers(disk: &impl Disk, survey: &mut Survey, told: Told<'_>) -> Result<(), DiskFault> {
    let (first, last) = (key::event(ChannelNumber(0), Seq(0)), key::event(ChannelNumber(u64::MAX), Seq(u64::MAX)));
    let mut known: Option<(ChannelNumber, bool)> = None;
    let scanned = disk.scan(Space::Events, &first..=&last, Order::Forward, &mut |place, bytes| {
        let Some((channel, _)) = key::of_event(place) else {
            survey.faults += 1;
            told(&format!("record {}: no event's place", place.escape_ascii()));
            return ControlFlow::Continue(());
        };
        if known.is_none_or(|(of, _)| of != channel) {
            let has_line = line_of(disk, channel).is_ok();
            known = Some((channel, has_line));
            if !has_line {
                survey.faults += 1;
                told(&format!("channel number {}: events without a line", channel.0));
            }
        }
        survey.stubs += u64::from(matches!(read(place, bytes), Ok(Stored::Stub(..))));
        ControlFlow::Continue(())
    });
    or_told(scanned, "the events", survey, told)
}

fn or_told(scanned: Result<(), DiskFault>, what: &str, survey: &mut Survey, told: Told<'_>) -> Result<(), DiskFault> {
    match scanned {
        Err(DiskFault::Damaged(why)) => {
            survey.faults += 1;
            told(&format!("{what} cannot be read to their end: {why}"));
            Ok(())
        }
        outcome => outcome,
    }
}
