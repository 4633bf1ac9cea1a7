//! A copy of everything that was committed, as pages of bytes: from one disk to another, whatever lies between them.
//!
//! A record is copied as it is, broken or not. Only the store's own state changes: the copy goes on as after so many
//! unclean stops ([`COPY_GENERATIONS`]), since the store that it was taken from goes on too, and a channel of the copy may
//! give out no number that one there may have given out since.

use std::ops::ControlFlow;

use super::bytes::{Fields, Rest};
use super::disk::{Batch, Disk, DiskFault, Order, Place, Space};
use super::key;
use super::record::Kind;
use super::rows::{State, decode, put_state, read_state};
use crate::limits::{COPY_GENERATIONS, COPY_PAGE_BYTES};

/// Hands out everything in pages of about [`COPY_PAGE_BYTES`], each record whole. Returns how many records there were.
///
/// # Errors
/// The disk does not answer or cannot be read to its end, or as `put`.
pub fn pages<E: From<DiskFault>>(disk: &impl Disk, put: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<u64, E> {
    let (mut page, mut count, mut refused) = (Vec::new(), 0, None);
    for space in [Space::Rows, Space::Events] {
        // Behind every key that there can be.
        let last = [0xff; 17];
        disk.scan(space, &[0][..]..=&last[..], Order::Forward, &mut |place, value| {
            count += 1;
            Fields(&mut page).u8(space as u8).bytes(place).bytes(value);
            if page.len() < COPY_PAGE_BYTES {
                return ControlFlow::Continue(());
            }
            refused = put(&page).err();
            page.clear();
            if refused.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if let Some(refused) = refused {
            return Err(refused);
        }
    }
    put(&page)?;
    Ok(count)
}

/// What a page says is to be written; `None` if it is none.
#[must_use]
pub fn batch_of(page: &[u8]) -> Option<Batch> {
    let (mut rest, mut batch) = (Rest(page), Batch::new());
    while rest.end().is_none() {
        let space =
            [Space::Events, Space::Rows].into_iter().find(|space| Some(*space as u8) == rest.0.first().copied())?;
        rest.u8()?;
        let place: Place = (space, rest.bytes()?.into());
        batch.insert(place, Some(rest.bytes()?.into()));
    }
    let place: Place = (Space::Rows, key::STATE.into());
    if let Some(Some(value)) = batch.get(&place) {
        let state = decode(key::STATE, Kind::State, value, read_state).ok()?;
        let generation = state.generation.saturating_add(COPY_GENERATIONS);
        put_state(&mut batch, &State { generation, stopped: None, ..state });
    }
    Some(batch)
}
