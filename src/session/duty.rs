//! Which verb a message needs in the channel that it is about.

use crate::auth::caps::Verb;
use crate::envelope::kinds::Ask;

/// The verb that a message of this kind needs; `None` if it is about no channel, or only about what its
/// sender already has.
#[must_use]
pub const fn verb(ask: Ask) -> Option<Verb> {
    match ask {
        Ask::Subscribe => Some(Verb::Subscribe),
        Ask::Chat | Ask::Publish | Ask::Typing | Ask::TypingStop => Some(Verb::Publish),
        Ask::TripUpdate | Ask::Cursor | Ask::Relay => Some(Verb::Edit),
        Ask::Report => Some(Verb::Stream),
        Ask::Register => Some(Verb::Register),
        // What a request needs depends on its method, and a batch on what it holds.
        Ask::Auth
        | Ask::Unsubscribe
        | Ask::Request
        | Ask::Call
        | Ask::Response
        | Ask::Cancel
        | Ask::Ack
        | Ask::Batch
        | Ask::Heartbeat
        | Ask::Ping
        | Ask::Pong => None,
    }
}
