//! Everything that lies on a disk, looked at once: what there is, and what is not as it was written.

use std::ops::ControlFlow;

use crate::ids::Seq;
use crate::limits::{SURVEY_PAGE_BYTES, SURVEY_PAGE_EVENTS};
use crate::payload::Payload;

use super::contract::{ChannelNumber, Read};
use super::disk::{Disk, DiskFault, Order, Space};
use super::event::{Stored, read};
use super::key;
use super::line::Line;
use super::page::read_page;
use super::past::{find_line, line_of};
use super::record::Kind;
use super::rows::{decode, read_commit, read_line, read_number, read_place, read_state};

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
    let mut lines = Vec::new();
    channels(disk, &mut |channel, line| lines.push((channel, line)))?;
    for (channel, line) in lines {
        survey.channels += 1;
        events_of(disk, channel, &line, &mut |_, record| {
            survey.events += 1;
            survey.bytes += record.len() as u64;
        })?
        .into_iter()
        .for_each(|(first, last)| {
            survey.faults += 1;
            told(&format!("channel {:?}: events {first} to {last} cannot be read", line.name));
        });
    }
    leftovers(disk, &mut survey, told)?;
    Ok(survey)
}

/// Each channel's line, as of its last stored event. Those that cannot be read are left out.
///
/// # Errors
/// The disk does not answer.
pub fn channels(disk: &impl Disk, visit: &mut dyn FnMut(ChannelNumber, Line)) -> Result<(), DiskFault> {
    let (first, last) = (key::line(ChannelNumber(0)), key::line(ChannelNumber(u64::MAX)));
    let mut found = Vec::new();
    let scanned = disk.scan(Space::Rows, &first..=&last, Order::Forward, &mut |place, _| {
        found.extend(key::of_line(place));
        ControlFlow::Continue(())
    });
    unless_damaged(scanned)?;
    for channel in found {
        match line_of(disk, channel) {
            Ok(line) => visit(channel, line),
            Err(DiskFault::Damaged(_)) => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(())
}

/// Every event of a channel that is retained, in order. Returns those that cannot be read.
///
/// # Errors
/// The disk does not answer.
pub fn events_of(
    disk: &impl Disk,
    channel: ChannelNumber,
    line: &Line,
    visit: &mut dyn FnMut(Seq, &Payload),
) -> Result<Vec<(Seq, Seq)>, DiskFault> {
    let (mut after, mut damaged) = (Seq(0), Vec::new());
    loop {
        let through = line.last();
        let (count, bytes) = (SURVEY_PAGE_EVENTS, SURVEY_PAGE_BYTES);
        let page = read_page(disk, line, &Read { channel, after, through, order: Order::Forward, count, bytes })?;
        page.records.iter().for_each(|(seq, record)| visit(*seq, record));
        damaged.extend(page.damaged);
        match page.records.last() {
            Some((seq, _)) if page.more => after = *seq,
            _ => return Ok(damaged),
        }
    }
}

fn rows(disk: &impl Disk, survey: &mut Survey, told: Told<'_>) -> Result<(), DiskFault> {
    let (first, last) = (vec![0], vec![0xff; 2]);
    let scanned = disk.scan(Space::Rows, &first..=&last, Order::Forward, &mut |place, bytes| {
        let whole = match place.first() {
            Some(b'c') => name_is_right(disk, place, bytes),
            Some(b'l') => decode(place, Kind::Line, bytes, read_line).map(drop).map_err(|why| why.to_string()),
            Some(b'u') => {
                survey.cursors += 1;
                decode(place, Kind::Cursor, bytes, read_place).map(drop).map_err(|why| why.to_string())
            }
            Some(b'g') => {
                survey.positions += 1;
                decode(place, Kind::Position, bytes, read_place).map(drop).map_err(|why| why.to_string())
            }
            _ if place == key::STATE => {
                decode(place, Kind::State, bytes, read_state).map(drop).map_err(|why| why.to_string())
            }
            _ if place == key::COMMIT => {
                decode(place, Kind::Commit, bytes, read_commit).map(drop).map_err(|why| why.to_string())
            }
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

fn unless_damaged(scanned: Result<(), DiskFault>) -> Result<(), DiskFault> {
    match scanned {
        Err(DiskFault::Damaged(_)) => Ok(()),
        outcome => outcome,
    }
}
