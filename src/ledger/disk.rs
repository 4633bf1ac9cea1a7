//! What the rules know of a disk: two sorted spaces that are read in order and written in batches, each whole or not.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};

/// A sorted space of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Events and stubs: large, written once, forgotten from the front.
    Events = 1,
    /// Everything else: small, written again and again.
    Rows = 2,
}

/// What is written together: what stands under each key from now on, `None` for nothing. Sorted, and of several writes to
/// one key the last one counts.
pub type Batch = BTreeMap<Place, Option<Box<[u8]>>>;

/// A key and the space it belongs to.
pub type Place = (Space, Box<[u8]>);

/// Is shown keys and their values until it breaks off.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Why a disk did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// What lies there is not what was written.
    Damaged(String),
    /// It could not be read now.
    Failed(String),
}

impl std::fmt::Display for DiskFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "damaged: {what}"),
            Self::Failed(what) => write!(f, "not readable: {what}"),
        }
    }
}

/// In which order keys are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The smallest first.
    Forward,
    /// The largest first.
    Backward,
}

/// Reads what was committed.
pub trait Disk {
    /// The value of a key, handed to `read` if there is one.
    ///
    /// # Errors
    /// The disk does not answer.
    fn get(&self, space: Space, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<(), DiskFault>;

    /// Visits the keys of a range with their values until the visitor breaks off.
    ///
    /// # Errors
    /// The disk does not answer. What was visited before was right.
    fn scan(&self, space: Space, range: RangeInclusive<&[u8]>, order: Order, visit: Visit<'_>)
    -> Result<(), DiskFault>;
}
