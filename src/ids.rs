//! The names of things: shards, connections, channels' positions.
//!
//! Each is a type of its own, so that a slot is never taken for a sequence number. Parsing and
//! printing of the forms that go over the wire live here too.

use std::fmt;

/// One executor on one core. Shards are numbered from 0 without holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// No shard: whoever asks from outside is named by it. Far beyond the number of shards that there can be.
    pub const OUTSIDE: Self = Self(u16::MAX);

    /// The shard's place in tables that have one row a shard.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A connection while it lives on one shard. The slot is reused, the generation tells two tenants of
/// one slot apart; a hand-over gives the connection a new `ConnId` on its new shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// The shard that holds the socket.
    pub shard: ShardId,
    /// Index into that shard's tables.
    pub slot: u32,
    /// Raised each time the slot is given out.
    pub generation: u32,
}

impl ConnId {
    /// Who stands for a question from outside in the place of an author.
    #[must_use]
    pub fn outside(ticket: u64) -> Self {
        let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        Self { shard: ShardId::OUTSIDE, slot: half(ticket >> 32), generation: half(ticket) }
    }

    /// The number of the question that this stands for, if it stands for one.
    #[must_use]
    pub fn ticket(self) -> Option<u64> {
        (self.shard == ShardId::OUTSIDE).then_some(u64::from(self.slot) << 32 | u64::from(self.generation))
    }

    /// The slot as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.slot as usize
    }
}

/// Position of an event in its channel: gapless from 1 within an [`Epoch`], below 2^53.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One unbroken run of a channel's sequence. Opaque to clients: sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that a client names, or `None` if it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ours = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if ours { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A place in a channel's history, as clients give it when they resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The run that `seq` belongs to; `None` is an epoch that this server never gave out.
    pub epoch: Option<Epoch>,
    /// The last event that the client has.
    pub seq: Seq,
}

/// The public name of a connection: 32 hexadecimal digits, unguessable, unique over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionName(pub u128);

impl ConnectionName {
    /// The connection that a client names, or `None` if that is no name of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ours = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if ours { u128::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_from_outside_is_told_from_every_connection() {
        for ticket in [0, 1, 7 << 40, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(ConnId::outside(ticket).ticket(), Some(ticket));
        }
        assert_eq!(ConnId { shard: ShardId(0), slot: 1, generation: 1 }.ticket(), None);
    }

    #[test]
    fn an_epoch_is_read_back_as_it_was_printed_and_nothing_else_is_one() {
        for value in [0, 1, 0xdead_beef, u64::MAX] {
            assert_eq!(Epoch::parse(&Epoch(value).to_string()), Some(Epoch(value)));
        }
        for value in [0, 1, u128::MAX] {
            assert_eq!(ConnectionName::parse(&ConnectionName(value).to_string()), Some(ConnectionName(value)));
        }
        assert_eq!(ConnectionName::parse("0"), None);
        for text in ["", "0", "00000000000000000", "000000000000000g", "+00000000000000f", "000000000000000F"] {
            assert_eq!(Epoch::parse(text), None, "{text:?}");
        }
    }
}
