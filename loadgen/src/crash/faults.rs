//! What a server can do wrong with what it acknowledged: each kind is counted, and its first ones are named.
//!
//! A fault has one name. What follows from another one is counted only where it is a broken promise of its own: a
//! number given twice loses what stood under it, and both are true.

use std::fmt;
use std::mem::discriminant;

use serde::{Deserialize, Serialize};

use crate::limits::FINDINGS_COUNT_MAX;

/// Where an event stands in its channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The run of numbers.
    pub epoch: String,
    /// The number.
    pub seq: u64,
}

/// What is wrong. An operation is named by its number in the run, a publisher and a reader by theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum What {
    /// An acknowledged operation is not in the history.
    Lost {
        /// The operation.
        operation: u32,
        /// Where it was acknowledged, if the answer named a place.
        acked: Option<Place>,
        /// First and last number of the history, if it has any.
        history: Option<(u64, u64)>,
    },
    /// An operation is in the history twice.
    Doubled {
        /// The operation.
        operation: u32,
        /// Where it stands first, and again.
        places: [Place; 2],
    },
    /// An operation stands behind a later one of the same publisher, or an event behind a higher number.
    Reordered {
        /// The publisher, if it is one's order that is wrong.
        publisher: Option<u32>,
        /// What comes too late: an operation, or else a number.
        late: u64,
        /// What it comes after.
        after: u64,
    },
    /// A number was given to two contents.
    Reused {
        /// The number.
        seq: u64,
        /// What had it first; none for what is not of this run.
        first: Option<u32>,
        /// What has it now.
        then: Option<u32>,
    },
    /// An operation has another content than was sent.
    Altered {
        /// The operation.
        operation: u32,
        /// Where.
        at: Place,
    },
    /// An operation stands, or was answered, elsewhere than it was said to.
    Moved {
        /// The operation.
        operation: u32,
        /// Where it was said to be first.
        said: Place,
        /// Where it is now.
        found: Place,
    },
    /// An event that nobody of this run sent to this channel.
    Unknown {
        /// Where.
        at: Place,
    },
    /// Numbers of one epoch that do not follow one another, in a history or live.
    Hole {
        /// What was before.
        before: u64,
        /// What came.
        came: u64,
    },
    /// The history has what its publisher was told is refused.
    RefusedKept {
        /// The operation.
        operation: u32,
    },
    /// What is stored was sent again, and answered as if it came for the first time.
    DuplicateAsFirst {
        /// The operation.
        operation: u32,
        /// Where it is stored, as far as that is known.
        stored: Option<Place>,
        /// Where the answer says that it is, if it does.
        answered: Option<Place>,
    },
    /// What is stored was sent again, and refused for good.
    DuplicateRefused {
        /// The operation.
        operation: u32,
        /// Where it is stored.
        stored: Place,
    },
    /// What is not stored was answered as a duplicate.
    FirstAsDuplicate {
        /// The operation.
        operation: u32,
        /// Where the answer says that it is, if it does.
        answered: Option<Place>,
    },
    /// What was sent again got no answer in time.
    Unanswered {
        /// The operation.
        operation: u32,
    },
    /// An operation was answered more often than it was sent.
    AnsweredTwice {
        /// The operation.
        operation: u32,
    },
    /// Who was at a stored position was told that it cannot go on from there.
    NotRecovered {
        /// The reader.
        reader: u32,
        /// Its position.
        position: Place,
        /// What it was told.
        reason: String,
    },
    /// Who had seen what is not stored was told that it goes on without a gap.
    WronglyRecovered {
        /// The reader.
        reader: u32,
        /// Its position.
        position: Place,
    },
    /// A reader that came back got something else than the history has behind its position.
    ResumeDiffers {
        /// The reader.
        reader: u32,
        /// The first number at which they differ.
        seq: u64,
        /// Whether the history has it.
        stored: bool,
    },
    /// A reader that reads was told of a gap, or got what it had had.
    Live {
        /// The reader.
        reader: u32,
        /// The number that it had.
        before: u64,
        /// What came.
        came: u64,
    },
}

/// How many faults of each kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Acknowledged and gone.
    pub lost: u64,
    /// In the history twice.
    pub doubled: u64,
    /// Out of order.
    pub reordered: u64,
    /// Numbers with two contents.
    pub reused: u64,
    /// Other content than was sent.
    pub altered: u64,
    /// Elsewhere than was said.
    pub moved: u64,
    /// Sent by nobody.
    pub unknown: u64,
    /// Numbers missing within an epoch.
    pub holes: u64,
    /// Refused, and there.
    pub refused_kept: u64,
    /// Duplicates answered as first.
    pub duplicate_as_first: u64,
    /// Duplicates refused for good.
    pub duplicate_refused: u64,
    /// Firsts answered as duplicates.
    pub first_as_duplicate: u64,
    /// Sent again and not answered.
    pub unanswered: u64,
    /// Answered more often than sent.
    pub answered_twice: u64,
    /// Positions that should have been good.
    pub not_recovered: u64,
    /// Positions that should not have been.
    pub wrongly_recovered: u64,
    /// Returns that got something else than the history.
    pub resume_differs: u64,
    /// Gaps and repeats of those that read all the time.
    pub live: u64,
}

/// One fault, and when it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Kills so far.
    pub kills: u32,
    /// The channel.
    pub channel: String,
    /// The fault.
    #[serde(flatten)]
    pub what: What,
}

/// All faults of a run.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) counts: Counts,
    pub(super) findings: Vec<Finding>,
}

impl Faults {
    /// Counts one, and names it if it is among the first of its kind.
    pub(super) fn add(&mut self, kills: u32, channel: &str, what: What) {
        *self.counts.of(&what) += 1;
        let kind = discriminant(&what);
        if self.findings.iter().filter(|kept| discriminant(&kept.what) == kind).count() < FINDINGS_COUNT_MAX {
            self.findings.push(Finding { kills, channel: channel.to_owned(), what });
        }
    }
}

impl Counts {
    fn of(&mut self, what: &What) -> &mut u64 {
        match what {
            What::Lost { .. } => &mut self.lost,
            What::Doubled { .. } => &mut self.doubled,
            What::Reordered { .. } => &mut self.reordered,
            What::Reused { .. } => &mut self.reused,
            What::Altered { .. } => &mut self.altered,
            What::Moved { .. } => &mut self.moved,
            What::Unknown { .. } => &mut self.unknown,
            What::Hole { .. } => &mut self.holes,
            What::RefusedKept { .. } => &mut self.refused_kept,
            What::DuplicateAsFirst { .. } => &mut self.duplicate_as_first,
            What::DuplicateRefused { .. } => &mut self.duplicate_refused,
            What::FirstAsDuplicate { .. } => &mut self.first_as_duplicate,
            What::Unanswered { .. } => &mut self.unanswered,
            What::AnsweredTwice { .. } => &mut self.answered_twice,
            What::NotRecovered { .. } => &mut self.not_recovered,
            What::WronglyRecovered { .. } => &mut self.wrongly_recovered,
            What::ResumeDiffers { .. } => &mut self.resume_differs,
            What::Live { .. } => &mut self.live,
        }
    }

    /// All of them.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }

    /// Each kind by what it is called, with its count.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 18] {
        [
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("reordered", self.reordered),
            ("numbers reused", self.reused),
            ("altered", self.altered),
            ("moved", self.moved),
            ("sent by nobody", self.unknown),
            ("holes", self.holes),
            ("refused but kept", self.refused_kept),
            ("duplicates answered as first", self.duplicate_as_first),
            ("duplicates refused", self.duplicate_refused),
            ("firsts answered as duplicates", self.first_as_duplicate),
            ("sent again and unanswered", self.unanswered),
            ("answered twice", self.answered_twice),
            ("not recovered", self.not_recovered),
            ("wrongly recovered", self.wrongly_recovered),
            ("returns unlike the history", self.resume_differs),
            ("live gaps and repeats", self.live),
        ]
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, channel, what } = self;
        write!(f, "after kill {kills}: {channel}: {what}")
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { operation, acked, history } => {
                write!(f, "operation {operation}, acknowledged{}, is not in the history, which ", at(acked.as_ref()))?;
                match history {
                    Some((first, last)) => write!(f, "has {first} to {last}"),
                    None => write!(f, "is empty"),
                }
            }
            Self::Doubled { operation, places: [one, other] } => {
                write!(f, "operation {operation} is in the history twice, at {one} and {other}")
            }
            Self::Reordered { publisher: Some(publisher), late, after } => {
                write!(f, "operation {late} of publisher {publisher} stands behind its later one {after}")
            }
            Self::Reordered { publisher: None, late, after } => write!(f, "number {late} stands behind {after}"),
            Self::Reused { seq, first, then } => {
                write!(f, "number {seq} was given to {} and to {}", named(*first), named(*then))
            }
            Self::Altered { operation, at } => write!(f, "operation {operation} at {at} is not what was sent"),
            Self::Moved { operation, said, found } => {
                write!(f, "operation {operation} was said to be at {said} and is at {found}")
            }
            Self::Unknown { at } => write!(f, "the event at {at} was sent by nobody of this run"),
            Self::Hole { before, came } => write!(f, "number {came} follows {before} within one epoch"),
            Self::RefusedKept { operation } => write!(f, "operation {operation} was refused and is in the history"),
            Self::DuplicateAsFirst { operation, stored, answered } => {
                let (stored, answered) = (at(stored.as_ref()), at(answered.as_ref()));
                write!(f, "operation {operation}, stored{stored}, was sent again and answered as new{answered}")
            }
            Self::DuplicateRefused { operation, stored } => {
                write!(f, "operation {operation}, stored at {stored}, was sent again and refused for good")
            }
            Self::FirstAsDuplicate { operation, answered } => {
                let answered = at(answered.as_ref());
                write!(f, "operation {operation} was not stored and was answered as a duplicate{answered}")
            }
            Self::Unanswered { operation } => write!(f, "operation {operation} was sent again and not answered"),
            Self::AnsweredTwice { operation } => write!(f, "operation {operation} was answered again"),
            Self::NotRecovered { reader, position, reason } => {
                write!(f, "reader {reader} was at {position}, which is stored, and was told {reason}")
            }
            Self::WronglyRecovered { reader, position } => {
                write!(
                    f,
                    "reader {reader} was at {position}, which is not stored, and was told that nothing is missing"
                )
            }
            Self::ResumeDiffers { reader, seq, stored: true } => {
                write!(f, "reader {reader} came back and did not get {seq} in its place")
            }
            Self::ResumeDiffers { reader, seq, stored: false } => {
                write!(f, "reader {reader} came back and got {seq}, which the history has not")
            }
            Self::Live { reader, before, came } => write!(f, "reader {reader} had {before} and then got {came}"),
        }
    }
}

fn named(operation: Option<u32>) -> String {
    operation.map_or_else(|| "what nobody sent".to_owned(), |operation| format!("operation {operation}"))
}

fn at(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!(" at {place}"))
}
