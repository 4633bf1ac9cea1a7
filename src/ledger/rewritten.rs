//! A record as it would be written for what it says: the same bytes, or it was not written by these rules.

use super::disk::{Batch, Space};
use super::event::{self, Stored, seal_event, seal_stub, write_body};
use super::key;
use super::record::{Broken, Kind};
use super::rows::{
    decode, put_commit, put_line, put_number, put_place, put_state, read_commit, read_line, read_number, read_place,
    read_state,
};

/// What would be written under a key for what its bytes say.
///
/// # Errors
/// They are no record of this release, or none that belongs there.
pub fn rewritten(space: Space, place: &[u8], bytes: &[u8]) -> Result<Box<[u8]>, Broken> {
    match space {
        Space::Events => event_again(place, bytes),
        Space::Rows => row_again(place, bytes),
    }
}

fn event_again(place: &[u8], bytes: &[u8]) -> Result<Box<[u8]>, Broken> {
    let mut out = Vec::new();
    match event::read(place, bytes)? {
        Stored::Event(stands, event) => {
            let mut body = Vec::new();
            write_body(&event, &mut body);
            seal_event(place, stands, &body, &mut out);
        }
        Stored::Stub(stands, unix_ms, operation) => seal_stub(place, stands, unix_ms, operation, &mut out),
    }
    Ok(out.into())
}

fn row_again(place: &[u8], bytes: &[u8]) -> Result<Box<[u8]>, Broken> {
    let mut batch = Batch::new();
    match place {
        key::STATE => put_state(&mut batch, &decode(place, Kind::State, bytes, read_state)?),
        key::COMMIT => {
            let (id, commit) = decode(place, Kind::Commit, bytes, read_commit)?;
            put_commit(&mut batch, id, commit);
        }
        _ => match key::kind(place) {
            Some(Kind::Number) => {
                let number = decode(place, Kind::Number, bytes, read_number)?;
                put_number(&mut batch, key::name(place).ok_or(Broken::Content)?, number);
            }
            Some(Kind::Line) => {
                let line = decode(place, Kind::Line, bytes, read_line)?;
                put_line(&mut batch, key::of_line(place).ok_or(Broken::Content)?, &line);
            }
            Some(kind) => {
                let (seq, unix_ms) = decode(place, kind, bytes, read_place)?;
                put_place(&mut batch, place, kind, seq, unix_ms);
            }
            None => return Err(Broken::Content),
        },
    }
    batch.into_values().flatten().next().ok_or(Broken::Content)
}
