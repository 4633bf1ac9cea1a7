//! Who comes, as the host sees it: which bytes are dear to handle.
//!
//! The host lets so many in a turn and keeps what the others sent. Only the shard knows which bytes decide on somebody:
//! a whole head, or a token. Absent: how many, and in which order.

use super::Shard;
use super::connection::{Connection, Stage};
use crate::ids::ConnId;
use crate::wire::http::ends_head;

/// What the bytes of a connection weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Of somebody who was let in, or whom others judge.
    Live,
    /// A part of a head: it is kept until there is more.
    Part,
    /// What may decide on somebody: with it a head is whole, or it is from somebody who has yet to send a token.
    Dear,
}

/// What somebody who comes has still to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The request's head.
    Head,
    /// The token.
    Token,
}

impl Shard {
    /// What a connection has still to send before it is in. A change of it is what was dear.
    #[must_use]
    pub fn wanted(&self, id: ConnId) -> Option<Wanted> {
        match self.slots.find(id)?.stage {
            Stage::Head => Some(Wanted::Head),
            Stage::Auth => Some(Wanted::Token),
            _ => None,
        }
    }

    /// What bytes of a connection weigh that have not been handled yet.
    #[must_use]
    pub fn weigh(&self, id: ConnId, bytes: &[u8]) -> Weight {
        let Some(conn) = self.slots.find(id) else { return Weight::Live };
        match conn.stage {
            Stage::Head => weight_of_head(conn, bytes),
            Stage::Auth => Weight::Dear,
            _ => Weight::Live,
        }
    }
}

fn weight_of_head(conn: &Connection, bytes: &[u8]) -> Weight {
    let before = conn.opening.as_ref().map_or(&[][..], |opening| &opening.head);
    if ends_head(before, bytes) { Weight::Dear } else { Weight::Part }
}
