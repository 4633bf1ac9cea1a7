//! Events and their stubs as bytes.
//!
//! The shard that sequences an event writes the body, once; the ledger puts before it where the event stands: its epoch,
//! and the bytes of everything the channel ever stored before it, so that what is retained is a difference of two.

use crate::ids::{Epoch, Seq};

use super::bytes::{Fields, Rest};
use super::contract::ChannelNumber;
use super::disk::Space;
use super::key;
use super::record::{Broken, Kind, seal, unseal};

/// An operation, hashed by `room::dedup` with the key that the store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its user and id.
    pub identity: u128,
    /// What it was about.
    pub content: u64,
    /// Its user.
    pub author: u64,
}

/// What is stored of an event, beside where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When it was sequenced, wall clock.
    pub unix_ms: u64,
    /// The event's own id, a UUID.
    pub id: u128,
    /// The operation that published it, if it had an id.
    pub operation: Option<Operation>,
    /// Who published it.
    pub user: &'a str,
    /// The id that the user gave it; empty if none.
    pub op_id: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// Its payload as it came.
    pub payload: &'a [u8],
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: Epoch,
    /// Bytes of all records of the channel before this one.
    pub(super) offset: u64,
}

/// What a record in the space of events says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    Event(Place, Event<'a>),
    /// When it was sequenced, and by which operation.
    Stub(Place, u64, Operation),
}

impl Stored<'_> {
    pub(super) const fn place(&self) -> Place {
        match self {
            Self::Event(place, _) | Self::Stub(place, ..) => *place,
        }
    }

    pub(super) const fn unix_ms(&self) -> u64 {
        match self {
            Self::Event(_, event) => event.unix_ms,
            Self::Stub(_, unix_ms, _) => *unix_ms,
        }
    }

    pub(super) const fn operation(&self) -> Option<Operation> {
        match self {
            Self::Event(_, event) => event.operation,
            Self::Stub(_, _, operation) => Some(*operation),
        }
    }
}

/// Writes the body of an event behind what `out` has.
pub fn write_body(event: &Event<'_>, out: &mut Vec<u8>) {
    let mut fields = Fields(out);
    fields.u64(event.unix_ms).u128(event.id).u8(u8::from(event.operation.is_some()));
    if let Some(operation) = event.operation {
        write_operation(&mut fields, operation);
    }
    fields.text(event.user).text(event.op_id).text(event.kind);
    out.extend_from_slice(event.payload);
}

/// Reads an event out of its whole record, which was checked when it was read from the disk.
///
/// # Errors
/// The record is not an event of this release.
pub fn read_event(channel: ChannelNumber, seq: Seq, record: &[u8]) -> Result<(Epoch, Event<'_>), Broken> {
    match read(&key::event(channel, seq), record)? {
        Stored::Event(place, event) => Ok((place.epoch, event)),
        Stored::Stub(..) => Err(Broken::Kind(Kind::Stub as u8)),
    }
}

/// Writes the record of an event whose body is written already.
pub(super) fn seal_event(key: &[u8], place: Place, body: &[u8], out: &mut Vec<u8>) {
    seal(Space::Events, key, Kind::Event, out, |out| {
        write_place(place, out);
        out.extend_from_slice(body);
    });
}

/// Writes what is left of a trimmed event.
pub(super) fn seal_stub(key: &[u8], place: Place, unix_ms: u64, operation: Operation, out: &mut Vec<u8>) {
    seal(Space::Events, key, Kind::Stub, out, |out| {
        write_place(place, out);
        let mut fields = Fields(out);
        fields.u64(unix_ms);
        write_operation(&mut fields, operation);
    });
}

/// Reads a record of the space of events.
pub(super) fn read<'a>(key: &[u8], record: &'a [u8]) -> Result<Stored<'a>, Broken> {
    let (kind, body) = unseal(Space::Events, key, record)?;
    let mut rest = Rest(body);
    if kind == Kind::Event as u8 {
        read_body(&mut rest).ok_or(Broken::Content)
    } else if kind == Kind::Stub as u8 {
        read_stub(&mut rest).ok_or(Broken::Content)
    } else {
        Err(Broken::Kind(kind))
    }
}

fn read_body<'a>(rest: &mut Rest<'a>) -> Option<Stored<'a>> {
    let place = read_place(rest)?;
    let (unix_ms, id) = (rest.u64()?, rest.u128()?);
    let operation = match rest.u8()? {
        0 => None,
        1 => Some(read_operation(rest)?),
        _ => return None,
    };
    let (user, op_id, kind) = (rest.text()?, rest.text()?, rest.text()?);
    Some(Stored::Event(place, Event { unix_ms, id, operation, user, op_id, kind, payload: rest.0 }))
}

fn read_stub<'a>(rest: &mut Rest<'_>) -> Option<Stored<'a>> {
    let place = read_place(rest)?;
    let stub = Stored::Stub(place, rest.u64()?, read_operation(rest)?);
    rest.end()?;
    Some(stub)
}

fn write_place(place: Place, out: &mut Vec<u8>) {
    Fields(out).u64(place.epoch.0).u64(place.offset);
}

fn read_place(rest: &mut Rest<'_>) -> Option<Place> {
    Some(Place { epoch: Epoch(rest.u64()?), offset: rest.number()? })
}

fn write_operation(fields: &mut Fields<'_>, operation: Operation) {
    fields.u128(operation.identity).u64(operation.content).u64(operation.author);
}

fn read_operation(rest: &mut Rest<'_>) -> Option<Operation> {
    Some(Operation { identity: rest.u128()?, content: rest.u64()?, author: rest.u64()? })
}

/// Bytes that an event's record takes, with its key.
pub(super) const fn record_bytes(body_bytes: usize) -> u64 {
    (EVENT_OVERHEAD_BYTES + body_bytes) as u64
}

/// The key, the envelope and the place.
const EVENT_OVERHEAD_BYTES: usize = size_of::<[u64; 2]>() + super::record::ENVELOPE_BYTES + size_of::<[u64; 2]>();
