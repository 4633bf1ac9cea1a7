//! How often each kind of event occurred, so that a green run means something.

use std::fmt;

/// Declares the kinds and their list together.
macro_rules! kinds {
    ($($kind:ident),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum Kind { $($kind,)+ }

        impl Kind {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$kind,)+];
        }
    };
}

kinds! {
    // The opening.
    Accepted, HandedOver, HandOverRefused, EarlyToken, FirstFrame, BadToken, Refused, Admin, SpreadJoin,
    // Channels.
    Subscribed, Unsubscribed, LeaveAndJoin, JoinAgain, Alias, ResumedExactly, Trimmed, EpochChanged, TooFar,
    Replayed, ReplayLate, Gap, ChurnInPass, Attached,
    // Messages.
    Delivered, Chat, TripUpdate, Publish, Batch, Ack, AckUnplaced, CrossShardAck, Duplicate, IdReused, Excluded, Hole, Overloaded, MeshFull,
    PermissionDenied, Invalid, Unknown, RateRefused, ReadingPaused, Heartbeat, Pong, Fragmented, LargeEvent,
    // The others in a channel.
    Gesture, GestureTold, GestureEnded, PresenceTold, CollaboratorTold,
    // Sockets and the end.
    ShortWrite, NothingTaken, SlowReader, Dropped, PoliteClose, CutOff, TokenRefreshed, TokenNarrowed, ForbiddenLeft, TokenExpiring, TokenExpired, Pinged,
    Draining, ClosedInDrain, BurstOfErrors,
    // The store.
    Committed, Opened, Paged, StoreFailed, StoreRefused, Crashed, ResumedAcross, Reloaded, TrimmedOnDisk,
    // The operator.
    UserErased, ChannelErased, TombstoneRead,
    // Services.
    Consumed, Redelivered, ConsumerLate, PatternAck, Notified, PongAck, Asked, Answered, Unanswered, ProviderLost, Direct,
}

/// One number for each kind.
#[derive(Clone, Debug)]
pub(crate) struct Counts([u64; Kind::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Kind::ALL.len()])
    }
}

impl Counts {
    pub(crate) fn count(&mut self, kind: Kind) {
        self.add(kind, 1);
    }

    pub(crate) fn add(&mut self, kind: Kind, amount: u64) {
        self.0[kind as usize] += amount;
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine += others;
        }
    }

    pub(crate) fn rarer_than(&self, least: u64) -> Vec<(Kind, u64)> {
        Kind::ALL.iter().map(|kind| (*kind, self.0[*kind as usize])).filter(|(_, count)| *count < least).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in Kind::ALL {
            writeln!(f, "{:>10}  {kind:?}", self.0[*kind as usize])?;
        }
        Ok(())
    }
}
