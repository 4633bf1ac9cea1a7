//! A disk in memory, for simulators and tests: what was not committed is gone after a crash.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::disk::{Batch, Disk, DiskFault, Order, Place, Space, Visit};

/// Both spaces, as they were committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    committed: BTreeMap<Place, Box<[u8]>>,
}

impl Memory {
    /// Writes a batch. A crash before this call loses all of it, a crash behind it nothing.
    pub fn commit(&mut self, batch: &Batch) {
        for (place, value) in batch {
            match value {
                Some(value) => drop(self.committed.insert(place.clone(), value.clone())),
                None => drop(self.committed.remove(place)),
            }
        }
    }

    /// Everything that is there, in order.
    pub fn records(&self) -> impl Iterator<Item = (Space, &[u8], &[u8])> {
        self.committed.iter().map(|((space, key), value)| (*space, &**key, &**value))
    }

    /// Changes what lies under a key, as a failing disk would.
    pub fn damage(&mut self, space: Space, key: &[u8], change: impl FnOnce(&mut Box<[u8]>)) {
        if let Some(value) = self.committed.get_mut(&(space, key.into())) {
            change(value);
        }
    }
}

impl Disk for Memory {
    fn get(&self, space: Space, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<(), DiskFault> {
        if let Some(value) = self.committed.get(&(space, key.into())) {
            read(value);
        }
        Ok(())
    }

    fn scan(
        &self,
        space: Space,
        range: RangeInclusive<&[u8]>,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), DiskFault> {
        if range.start() > range.end() {
            return Ok(());
        }
        let bounds = (space, Box::from(*range.start()))..=(space, Box::from(*range.end()));
        let mut found = self.committed.range(bounds);
        while let Some(((_, key), value)) = match order {
            Order::Forward => found.next(),
            Order::Backward => found.next_back(),
        } {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
