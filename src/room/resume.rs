//! What a member that joins is told, and where it starts to read.

use crate::ids::{Epoch, Position, Seq};
use crate::room::history::History;

/// Why a position could not be resumed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The channel's sequence began anew since.
    EpochChanged,
    /// History no longer reaches back that far.
    Trimmed,
    /// The position lies ahead of the channel.
    TooFar,
}

impl Lost {
    /// The name that goes over the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EpochChanged => "epoch_changed",
            Self::Trimmed => "trimmed",
            Self::TooFar => "too_far",
        }
    }
}

/// What is known of a position behind the history, in a channel that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The oldest event that can be read.
    pub oldest: Seq,
    /// Everything after the position can be read.
    pub resumes: bool,
    /// Something after it was there and is no longer retained.
    pub trimmed: bool,
}

/// What is said before a channel's first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The run of positions that the channel is in.
    pub epoch: Epoch,
    /// The channel's last event when the member joined.
    pub seq: Seq,
    /// The oldest event that can be read.
    pub oldest: Seq,
    /// Whether all since the given position follows; `None` if no position was given.
    pub recovered: Option<Result<(), Lost>>,
}

/// What a member sees that cannot get exactly what it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// All that is retained.
    Retained,
    /// The last event only: it replaces those before it.
    Latest,
}

/// Decides what a member is told that joined `history` with or without a position when `last` was its last
/// event, and the first event that it is owed. `behind` is what the store knows of a position that is not in the history.
#[must_use]
pub fn resume(
    history: &History,
    last: Seq,
    position: Option<Position>,
    fallback: Fallback,
    behind: Option<Behind>,
) -> (Greeting, Seq) {
    let oldest = behind.map_or_else(|| history.oldest(), |behind| behind.oldest);
    let recovered = position.map(|position| match position {
        Position { seq, epoch }
            if behind.is_some_and(|behind| behind.resumes) && (seq <= last || epoch != Some(history.epoch())) =>
        {
            Ok(())
        }
        Position { .. } if behind.is_some_and(|behind| behind.trimmed) => Err(Lost::Trimmed),
        Position { epoch, .. } if epoch != Some(history.epoch()) => Err(Lost::EpochChanged),
        Position { seq, .. } if seq > last => Err(Lost::TooFar),
        Position { seq, .. } if seq.next() < oldest => Err(Lost::Trimmed),
        Position { .. } => Ok(()),
    });
    let next = match (recovered, position) {
        (Some(Ok(())), Some(position)) => position.seq.next(),
        (Some(Err(_)), _) => match fallback {
            Fallback::Retained => oldest,
            Fallback::Latest => Seq(last.0.max(oldest.0)),
        },
        _ => last.next(),
    };
    (Greeting { epoch: history.epoch(), seq: last, oldest, recovered }, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;
    use crate::room::history::{Event, Retention};

    /// Events 1 to 10, of which 4 to 10 are kept.
    fn history() -> History {
        let mut history = History::new(Epoch(7), Seq(1));
        for seq in 1..=10 {
            history.push(Event::new(Seq(seq), 0, 0, None, Payload::copy_of(b"x"), Vec::new()));
        }
        history.trim(&Retention { count: 7, bytes: usize::MAX, age_ms: u64::MAX }, (Seq(11), Seq(u64::MAX)), 0, 100);
        history
    }

    fn check(position: Option<(u64, u64)>, recovered: Option<Result<(), Lost>>, next: u64) {
        let position = position.map(|(epoch, seq)| Position { epoch: Some(Epoch(epoch)), seq: Seq(seq) });
        let (greeting, first) = resume(&history(), Seq(10), position, Fallback::Retained, None);
        assert_eq!(greeting, Greeting { epoch: Epoch(7), seq: Seq(10), oldest: Seq(4), recovered });
        assert_eq!(first, Seq(next), "{position:?}");
    }

    #[test]
    fn a_position_is_resumed_from_exactly_or_refused_with_the_reason() {
        check(None, None, 11);
        check(Some((7, 10)), Some(Ok(())), 11);
        check(Some((7, 9)), Some(Ok(())), 10);
        check(Some((7, 3)), Some(Ok(())), 4);
        check(Some((7, 2)), Some(Err(Lost::Trimmed)), 4);
        check(Some((7, 0)), Some(Err(Lost::Trimmed)), 4);
        check(Some((7, 11)), Some(Err(Lost::TooFar)), 4);
        check(Some((7, u64::MAX)), Some(Err(Lost::TooFar)), 4);
        check(Some((8, 10)), Some(Err(Lost::EpochChanged)), 4);
    }

    #[test]
    fn events_that_came_after_the_join_are_live_ones() {
        let (greeting, next) = resume(&history(), Seq(8), None, Fallback::Retained, None);
        assert_eq!((greeting.seq, next), (Seq(8), Seq(9)));
        let ahead = Position { epoch: Some(Epoch(7)), seq: Seq(9) };
        let (greeting, _) = resume(&history(), Seq(8), Some(ahead), Fallback::Retained, None);
        assert_eq!(greeting.recovered, Some(Err(Lost::TooFar)));
    }

    #[test]
    fn an_epoch_that_was_never_ours_has_changed_and_an_empty_history_owes_nothing() {
        let unknown = Position { epoch: None, seq: Seq(0) };
        let empty = History::new(Epoch(7), Seq(1));
        let (greeting, next) = resume(&empty, Seq(0), Some(unknown), Fallback::Retained, None);
        assert_eq!((greeting.recovered, next), (Some(Err(Lost::EpochChanged)), Seq(1)));
        let start = Position { epoch: Some(Epoch(7)), seq: Seq(0) };
        let (greeting, next) = resume(&empty, Seq(0), Some(start), Fallback::Retained, None);
        assert_eq!((greeting.recovered, next), (Some(Ok(())), Seq(1)));
        let (_, next) = resume(&history(), Seq(10), Some(unknown), Fallback::Latest, None);
        assert_eq!(next, Seq(10));
    }
}
