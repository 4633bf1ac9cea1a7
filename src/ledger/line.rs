//! A channel's line: its epochs one after another, where it goes on, and which positions can be resumed.

use crate::ids::{Epoch, Seq};
use crate::limits::{LINE_SPANS_MAX, UNCOMMITTED_EVENTS_MAX};

use super::contract::Keep;

/// One epoch's events: seqs without a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The epoch.
    pub epoch: Epoch,
    /// Its first event.
    pub first: Seq,
    /// Its last stored event.
    pub last: Seq,
}

/// The oldest event retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// Its seq.
    pub seq: Seq,
    /// Bytes of everything before it.
    pub offset: u64,
    /// When it was sequenced.
    pub unix_ms: u64,
}

/// Where a channel goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The epoch of the next event.
    pub epoch: Epoch,
    /// Its seq.
    pub next: Seq,
}

/// What can be said of a position that a client names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything after it is retained: it resumes exactly, across epochs too.
    Resumes,
    /// Something after it is no longer retained.
    Trimmed,
    /// It was given out and not stored, or is none of this channel's: `epoch_changed`.
    Changed,
}

/// What outlives everything else of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The channel's full name.
    pub name: Box<str>,
    /// How often the store had stopped uncleanly when the last event was stored.
    pub generation: u64,
    /// Ascending in seq, the last one is the latest. Those of which nothing is retained are forgotten, but for the one
    /// before the oldest event.
    pub spans: Vec<Span>,
    /// `None` while nothing is retained.
    pub oldest: Option<Oldest>,
    /// Bytes of everything that was ever stored.
    pub end: u64,
    /// What is retained, as far as was known when the line was written.
    pub keep: Keep,
}

impl Line {
    /// A channel that was never stored.
    #[must_use]
    pub fn new(name: &str, keep: Keep) -> Self {
        Self { name: name.into(), generation: 0, spans: Vec::new(), oldest: None, end: 0, keep }
    }

    /// The last stored event; 0 if there was none.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.spans.last().map_or(Seq(0), |span| span.last)
    }

    /// Where the channel goes on when the store has stopped uncleanly `generation` times: behind everything that can have
    /// been given out since the last stored event.
    #[must_use]
    pub fn start(&self, generation: u64, fresh: Epoch) -> Start {
        let missed = generation.saturating_sub(self.generation);
        match self.spans.last() {
            Some(span) if missed == 0 => Start { epoch: span.epoch, next: span.last.next() },
            _ => Start { epoch: fresh, next: Seq(self.last().0 + UNCOMMITTED_EVENTS_MAX * missed + 1) },
        }
    }

    /// Notes an event of `bytes` that is stored. Returns its offset, and whether the line must be written with it; `None`
    /// if it does not follow.
    #[must_use]
    pub(super) fn append(
        &mut self,
        place: (Epoch, Seq),
        bytes: u64,
        unix_ms: u64,
        generation: u64,
    ) -> Option<(u64, bool)> {
        let (epoch, seq) = place;
        let (mut changed, last) = (self.oldest.is_none(), self.last());
        match self.spans.last_mut() {
            Some(span) if span.epoch == epoch => {
                if seq != span.last.next() {
                    return None;
                }
                span.last = seq;
            }
            _ if seq <= last => return None,
            _ => {
                self.spans.push(Span { epoch, first: seq, last: seq });
                changed = true;
            }
        }
        changed |= self.generation != generation;
        self.generation = generation;
        let offset = self.end;
        self.end += bytes;
        self.oldest.get_or_insert(Oldest { seq, offset, unix_ms });
        if self.spans.len() > LINE_SPANS_MAX {
            self.spans.remove(0);
        }
        Some((offset, changed))
    }

    /// Notes what is retained from now on.
    pub(super) fn retain_from(&mut self, oldest: Option<Oldest>) {
        self.oldest = oldest;
        let first = oldest.map_or_else(|| self.last().next(), |oldest| oldest.seq);
        // The one whose end a client may stand at without having missed anything stays.
        while self.spans.get(1).is_some_and(|second| second.first < first) {
            self.spans.remove(0);
        }
    }

    /// The event behind one; `None` if there is no later one.
    #[must_use]
    pub fn following(&self, seq: Seq) -> Option<Seq> {
        let span = self.spans.iter().find(|span| span.last > seq)?;
        Some(span.first.max(seq.next()))
    }

    /// The event before one; `None` if there is no earlier one.
    #[must_use]
    pub fn preceding(&self, seq: Seq) -> Option<Seq> {
        let span = self.spans.iter().rev().find(|span| span.first < seq)?;
        Some(span.last.min(Seq(seq.0 - 1)))
    }

    /// How many stored events lie between two, both included, those that are trimmed too.
    #[must_use]
    pub fn count(&self, first: Seq, last: Seq) -> u64 {
        let within = |span: &Span| (span.last.min(last).0 + 1).saturating_sub(span.first.max(first).0);
        self.spans.iter().map(within).sum()
    }

    /// The oldest event if only so many of the latest counted; behind the last one if that is none.
    #[must_use]
    pub fn oldest_of(&self, count: u64) -> Seq {
        let (mut left, mut oldest) = (count, self.last().next());
        for span in self.spans.iter().rev() {
            if left == 0 {
                break;
            }
            let taken = (span.last.0 + 1 - span.first.0).min(left);
            (left, oldest) = (left - taken, Seq(span.last.0 + 1 - taken));
        }
        oldest
    }

    /// How many events are retained.
    #[must_use]
    pub fn retained(&self) -> u64 {
        self.oldest.map_or(0, |oldest| self.count(oldest.seq, self.last()))
    }

    /// Bytes of these.
    #[must_use]
    pub fn retained_bytes(&self) -> u64 {
        self.oldest.map_or(0, |oldest| self.end.saturating_sub(oldest.offset))
    }

    /// What can be said of a position. One in the epoch that goes on and beyond its last stored event is judged by who
    /// knows what is not yet stored.
    #[must_use]
    pub fn judge(&self, epoch: Epoch, seq: Seq) -> Standing {
        let known = |span: &&Span| span.epoch == epoch && seq.next() >= span.first && seq <= span.last;
        if self.spans.iter().find(known).is_none() {
            return Standing::Changed;
        }
        let oldest = self.oldest.map_or_else(|| self.last().next(), |oldest| oldest.seq);
        match self.following(seq) {
            Some(next) if next < oldest => Standing::Trimmed,
            _ => Standing::Resumes,
        }
    }

    /// The epoch that an event was stored in.
    #[must_use]
    pub fn epoch_of(&self, seq: Seq) -> Option<Epoch> {
        self.spans.iter().find(|span| (span.first..=span.last).contains(&seq)).map(|span| span.epoch)
    }
}
