//! In which of its encodings an event goes to a member.
//!
//! An event is encoded once for every encoding that some member of the shard needs; a membership holds
//! one [`Encoding`], a channel's interest the set of them. Format and compression will take further
//! numbers; a number means the same as long as a process lives and is never stored.

/// One way to put an event into bytes: dialect, form of the channel's name, format, compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Encoding(u8);

impl Encoding {
    /// JSON for the TripSage clients, channels under their own names.
    pub const TRIPSAGE: Self = Self(0);
    /// The same with channels under their older names: `session:x` for `chat:x`, `agent_status:x` for
    /// `agent:x`, `notifications` for the user's own.
    pub const TRIPSAGE_ALIAS: Self = Self(1);
    /// Flat JSON for the GlobeTrotter clients: only some events exist in it, and no notices.
    pub const GLOBETROTTER: Self = Self(2);
    /// Events of a stream of server-sent events.
    pub const EVENT_STREAM: Self = Self(3);
    /// The bit that tells an encoding from [`Self::traced`].
    const TRACED_BIT: u8 = 0x80;
    /// How many encodings there are.
    pub const COUNT: usize = 4;
    /// Every encoding.
    pub const ALL: [Self; Self::COUNT] = [Self::TRIPSAGE, Self::TRIPSAGE_ALIAS, Self::GLOBETROTTER, Self::EVENT_STREAM];

    /// The encoding's place in tables that have one row for each.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The same with the trace that an event belongs to. Only frames of such events are kept under it, for known clients;
    /// no membership has it, and it has no place in a table or a set.
    #[must_use]
    pub const fn traced(self) -> Self {
        Self(self.0 | Self::TRACED_BIT)
    }

    /// Whether it is one with the trace.
    #[must_use]
    pub const fn is_traced(self) -> bool {
        self.0 & Self::TRACED_BIT != 0
    }

    /// Whether members are told of positions, gaps and their own joining and leaving.
    #[must_use]
    pub const fn has_notices(self) -> bool {
        self.0 != Self::GLOBETROTTER.0
    }
}

const _: () = assert!(Encoding::COUNT <= 32, "a set is a word");

/// Which encodings are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodingSet(u32);

impl EncodingSet {
    /// No encoding.
    pub const EMPTY: Self = Self(0);

    /// The set with one more.
    #[must_use]
    pub const fn with(self, encoding: Encoding) -> Self {
        Self(self.0 | 1 << encoding.0)
    }

    /// Adds one.
    pub const fn insert(&mut self, encoding: Encoding) {
        *self = self.with(encoding);
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the encoding is in the set.
    #[must_use]
    pub const fn contains(self, encoding: Encoding) -> bool {
        self.0 & 1 << encoding.0 != 0
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether there are encodings beside the plain one.
    #[must_use]
    pub const fn has_others(self) -> bool {
        self.0 & !(1 << Encoding::TRIPSAGE.0) != 0
    }

    /// The encodings in the set, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Encoding> {
        Encoding::ALL.into_iter().filter(move |&encoding| self.contains(encoding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_no_more() {
        let mut set = EncodingSet::EMPTY;
        assert!(set.is_empty());
        assert!(!set.has_others() && !set.with(Encoding::TRIPSAGE).has_others());
        set.insert(Encoding::TRIPSAGE_ALIAS);
        assert!(set.has_others() && set.with(Encoding::TRIPSAGE).has_others());
        assert!(set.contains(Encoding::TRIPSAGE_ALIAS) && !set.contains(Encoding::TRIPSAGE));
        let both = set.union(EncodingSet::EMPTY.with(Encoding::TRIPSAGE));
        assert_eq!(both.iter().collect::<Vec<_>>(), [Encoding::TRIPSAGE, Encoding::TRIPSAGE_ALIAS]);
        assert!(!both.contains(Encoding::GLOBETROTTER) && both.iter().all(Encoding::has_notices));
        assert!(both.iter().all(|encoding| encoding.index() < Encoding::COUNT));
    }

    #[test]
    fn an_encoding_with_the_trace_is_another_than_all_without() {
        for encoding in Encoding::ALL {
            let traced = encoding.traced();
            assert!(traced.is_traced() && !encoding.is_traced() && !Encoding::ALL.contains(&traced));
            assert_eq!(traced.traced(), traced);
        }
    }
}
