//! The rows beside the events as bytes: number, line, cursor, position, state, commit.

use crate::ids::{Epoch, Seq};
use crate::limits::{STORED_NUMBER_MAX, UNCOMMITTED_EVENTS_MAX};

use super::bytes::{Fields, Rest};
use super::contract::{ChannelNumber, Keep};
use super::disk::{Batch, Disk, DiskFault, Space};
use super::key;
use super::line::{Line, Oldest, Span};
use super::record::{Broken, Kind, seal, unseal_as};

/// The store's own state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// How often the store has stopped uncleanly.
    pub generation: u64,
    /// The last commit before it stopped cleanly; `None` while it runs, and after an unclean stop.
    pub stopped: Option<u64>,
    /// The key that operations are hashed with.
    pub key: [u8; 16],
    /// Tells this store from all others.
    pub id: u128,
}

/// Reads a row and what is in it; `None` if there is none.
pub(super) fn find<T>(
    disk: &impl Disk,
    place: &[u8],
    kind: Kind,
    read: impl Fn(&mut Rest<'_>) -> Option<T>,
) -> Result<Option<T>, DiskFault> {
    let mut found = None;
    disk.get(Space::Rows, place, &mut |bytes| found = Some(decode(place, kind, bytes, &read)))?;
    found.transpose().map_err(|broken| damaged(place, broken))
}

/// What is in a row's bytes.
pub(super) fn decode<T>(
    place: &[u8],
    kind: Kind,
    bytes: &[u8],
    read: impl Fn(&mut Rest<'_>) -> Option<T>,
) -> Result<T, Broken> {
    let mut rest = Rest(unseal_as(Space::Rows, place, kind, bytes)?);
    let value = read(&mut rest).ok_or(Broken::Content)?;
    rest.end().ok_or(Broken::Content)?;
    Ok(value)
}

/// A row that is broken, named so that an operator finds it.
pub(super) fn damaged(place: &[u8], broken: Broken) -> DiskFault {
    DiskFault::Damaged(format!("row {}: {broken}", place.escape_ascii()))
}

/// Puts a row.
pub(super) fn put(batch: &mut Batch, place: &[u8], kind: Kind, write: impl FnOnce(&mut Fields<'_>)) {
    let mut bytes = Vec::new();
    seal(Space::Rows, place, kind, &mut bytes, |out| write(&mut Fields(out)));
    batch.insert((Space::Rows, place.into()), Some(bytes.into()));
}

/// Removes a row.
pub(super) fn remove(batch: &mut Batch, place: &[u8]) {
    batch.insert((Space::Rows, place.into()), None);
}

pub(super) fn put_number(batch: &mut Batch, name: &str, channel: ChannelNumber) {
    put(batch, &key::number(name), Kind::Number, |fields| {
        fields.u64(channel.0);
    });
}

pub(super) fn read_number(rest: &mut Rest<'_>) -> Option<ChannelNumber> {
    rest.number().map(ChannelNumber)
}

/// A user's or a group's place, and when it was told.
pub(super) fn put_place(batch: &mut Batch, place: &[u8], kind: Kind, seq: Seq, unix_ms: u64) {
    put(batch, place, kind, |fields| {
        fields.u64(seq.0).u64(unix_ms);
    });
}

pub(super) fn read_place(rest: &mut Rest<'_>) -> Option<(Seq, u64)> {
    Some((Seq(rest.number()?), rest.u64()?))
}

pub(super) fn put_line(batch: &mut Batch, channel: ChannelNumber, line: &Line) {
    put(batch, &key::line(channel), Kind::Line, |fields| {
        fields.text(&line.name).u64(line.generation).u64(line.end);
        fields.u64(line.keep.count).u64(line.keep.bytes).u64(line.keep.age_ms);
        fields.u8(u8::from(line.oldest.is_some()));
        if let Some(oldest) = line.oldest {
            fields.u64(oldest.seq.0).u64(oldest.offset).u64(oldest.unix_ms);
        }
        for span in &line.spans {
            fields.u64(span.epoch.0).u64(span.first.0).u64(span.last.0);
        }
    });
}

pub(super) fn read_line(rest: &mut Rest<'_>) -> Option<Line> {
    let (name, generation, end) = (rest.text()?.into(), read_generation(rest)?, rest.number()?);
    let keep = Keep { count: rest.u64()?, bytes: rest.u64()?, age_ms: rest.u64()? };
    let oldest = match rest.u8()? {
        0 => None,
        1 => Some(Oldest { seq: Seq(rest.number()?), offset: rest.number()?, unix_ms: rest.u64()? }),
        _ => return None,
    };
    let mut spans: Vec<Span> = Vec::new();
    while rest.end().is_none() {
        let span = Span { epoch: Epoch(rest.u64()?), first: Seq(rest.number()?), last: Seq(rest.number()?) };
        let follows = spans.last().is_none_or(|before| before.last < span.first);
        if !follows || span.last < span.first {
            return None;
        }
        spans.push(span);
    }
    Some(Line { name, generation, spans, oldest, end, keep })
}

pub(super) fn put_state(batch: &mut Batch, state: &State) {
    put(batch, key::STATE, Kind::State, |fields| {
        fields.u64(state.generation).u8(u8::from(state.stopped.is_some())).u64(state.stopped.unwrap_or(0));
        fields.u128(u128::from_le_bytes(state.key)).u128(state.id);
    });
}

pub(super) fn read_state(rest: &mut Rest<'_>) -> Option<State> {
    let (generation, stopped, commit) = (read_generation(rest)?, rest.u8()?, rest.number()?);
    let stopped = match stopped {
        0 if commit == 0 => None,
        1 => Some(commit),
        _ => return None,
    };
    Some(State { generation, stopped, key: rest.u128()?.to_le_bytes(), id: rest.u128()? })
}

/// How often the store has stopped uncleanly: each time channels go on so much further.
fn read_generation(rest: &mut Rest<'_>) -> Option<u64> {
    rest.u64().filter(|generation| *generation <= STORED_NUMBER_MAX / UNCOMMITTED_EVENTS_MAX)
}

pub(super) fn put_commit(batch: &mut Batch, id: u128, commit: u64) {
    put(batch, key::COMMIT, Kind::Commit, |fields| {
        fields.u128(id).u64(commit);
    });
}

pub(super) fn read_commit(rest: &mut Rest<'_>) -> Option<(u128, u64)> {
    Some((rest.u128()?, rest.number()?))
}

/// The number of the commit that a value says it is, if it is one of the store `id`. For who reads batches in the raw.
#[must_use]
pub fn commit_of(id: u128, place: &[u8], value: &[u8]) -> Option<u64> {
    let (of, commit) =
        (place == key::COMMIT).then(|| decode(place, Kind::Commit, value, read_commit).ok()).flatten()?;
    (of == id).then_some(commit)
}
