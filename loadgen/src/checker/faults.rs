//! What the checker found, counted by name.

use serde::{Deserialize, Serialize};

/// What was found. All but `order_unchecked` and `owed_to_closed` should be 0.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// Publishes that never reached a member, counted per member.
    pub lost: u64,
    /// Deliveries that a member had already had.
    pub duplicated: u64,
    /// Deliveries that came after a later one of the publisher, and publishes whose place in the room's order members saw
    /// differently.
    pub out_of_order: u64,
    /// Bodies that are not what was published.
    pub corrupted: u64,
    /// Deliveries of another room, or of a connection that does not publish in this one.
    pub wrong_room: u64,
    /// Places where the server's own sequence number did not rise by one.
    pub seq_gaps: u64,
    /// Sampled frames that are no JSON, or do not hold the body as a string.
    pub json: u64,
    /// Deliveries whose place in the room's order had left the bounded log; no fault.
    pub order_unchecked: u64,
    /// Publishes owed to members whose connection ended; the end itself is the fault.
    pub owed_to_closed: u64,
}

impl Faults {
    /// Whether a run with these passes.
    #[must_use]
    pub fn none(&self) -> bool {
        self.sum() == 0
    }

    /// How many there are that a run must not have.
    #[must_use]
    pub fn sum(&self) -> u64 {
        let Self { lost, duplicated, out_of_order, corrupted, wrong_room, seq_gaps, json, .. } = *self;
        lost + duplicated + out_of_order + corrupted + wrong_room + seq_gaps + json
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost.saturating_add(other.lost),
            duplicated: self.duplicated.saturating_add(other.duplicated),
            out_of_order: self.out_of_order.saturating_add(other.out_of_order),
            corrupted: self.corrupted.saturating_add(other.corrupted),
            wrong_room: self.wrong_room.saturating_add(other.wrong_room),
            seq_gaps: self.seq_gaps.saturating_add(other.seq_gaps),
            json: self.json.saturating_add(other.json),
            order_unchecked: self.order_unchecked.saturating_add(other.order_unchecked),
            owed_to_closed: self.owed_to_closed.saturating_add(other.owed_to_closed),
        }
    }
}
