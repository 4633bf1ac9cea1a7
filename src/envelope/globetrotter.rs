//! The flat frames of the GlobeTrotter clients: texts to what they ask for, events to texts.
//!
//! The second dialect of the same channels. A trip's room is the channel `trip:{id}`; what its members send
//! becomes a numbered event like any other ([`outgoing`]), and every event is shown to them in their own words or
//! not at all ([`shown`]). Positions, ids and envelopes do not exist here. Absent: whatever needs a connection or a
//! permission, and the words of the other dialect, which are in [`super::notice`].

pub mod incoming;
pub mod notice;
pub mod outgoing;
pub mod shown;

pub use incoming::{FlatMessage, Relay, TripRef, Written};

/// How a client writes a trip's id. It is answered in the same form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdForm {
    /// As a JSON string.
    #[default]
    Text,
    /// As a JSON number, whose digits are the id.
    Number,
}

/// Whether clients take an event of this type for new values of a trip's fields, whoever made it: one that says so
/// itself, or one that holds an object as it came.
#[must_use]
pub fn tells_fields(kind: &str) -> bool {
    kind == outgoing::MESSAGE_KIND || Area::ALL.iter().any(|area| area.updated() == kind)
}

/// A part of a trip that has a message type of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The trip itself, and every field that belongs to no other part.
    Trip,
    /// Its days.
    Itinerary,
    /// Its money.
    Budget,
    /// What is done on it.
    Activities,
}

impl Area {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Trip, Self::Itinerary, Self::Budget, Self::Activities];

    /// The first name of the paths of its fields.
    #[must_use]
    pub const fn root(self) -> &'static str {
        match self {
            Self::Trip => "trip",
            Self::Itinerary => "itinerary",
            Self::Budget => "budget",
            Self::Activities => "activities",
        }
    }

    /// The type of a message that writes to it.
    #[must_use]
    pub const fn update(self) -> &'static str {
        match self {
            Self::Trip => "trip_update",
            Self::Itinerary => "itinerary_update",
            Self::Budget => "budget_update",
            Self::Activities => "activity_update",
        }
    }

    /// The type of the event that says so.
    #[must_use]
    pub const fn updated(self) -> &'static str {
        match self {
            Self::Trip => "trip_updated",
            Self::Itinerary => "itinerary_updated",
            Self::Budget => "budget_updated",
            Self::Activities => "activity_updated",
        }
    }
}
