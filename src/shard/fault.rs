//! Faults that are planted on purpose, so that the simulator can show that it finds them.
//!
//! Compiled only with the feature `planted-faults`; no build that serves has it.

use std::cell::Cell;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An operation that was sequenced before is sequenced again.
    DedupDropped,
    /// A resumed member misses the first event that it asked for.
    ResumeOffByOne,
    /// When a member leaves during a pass of the fan-out, the pass ends with it.
    CursorLost,
    /// A member that fell off the history is not told.
    GapSilent,
    /// A member that left is told so, and gets events all the same.
    DeliveryAfterLeave,
    /// The low lane is written only when nothing else is owed.
    LowStarved,
    /// A group goes on behind what its dead consumer was sent, not behind what it acknowledged.
    GroupCursorKept,
    /// A write is answered before it is committed.
    AckBeforeCommit,
    /// A retry is answered before its first is committed.
    DuplicateEarly,
    /// A channel goes on behind what is stored, whatever was given out before the process ended.
    NumberReused,
    /// Members are told of an end whose beginning they were not told.
    EndUnasked,
    /// A turn goes on with those who are behind until none is left.
    ReplayUnbounded,
    /// What an erased user has said stays where its channel is followed.
    ErasureUnfollowed,
    /// What was read from the store of an erased user before it was erased there stays.
    ErasureReadBefore,
    /// What an erased user has said stays in the store.
    ErasureUnstored,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 15] = [
        Self::DedupDropped,
        Self::ResumeOffByOne,
        Self::CursorLost,
        Self::GapSilent,
        Self::DeliveryAfterLeave,
        Self::LowStarved,
        Self::GroupCursorKept,
        Self::AckBeforeCommit,
        Self::DuplicateEarly,
        Self::NumberReused,
        Self::EndUnasked,
        Self::ReplayUnbounded,
        Self::ErasureUnfollowed,
        Self::ErasureReadBefore,
        Self::ErasureUnstored,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Plants a fault in the shards of this thread, or takes it out.
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this fault is planted.
pub(super) fn is(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}
