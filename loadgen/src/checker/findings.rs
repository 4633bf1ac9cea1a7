//! The first faults of each kind by name: which member, whose publish, which number.
//!
//! Counts say that something is wrong, and how much; these say where to look. A publish is named by its publisher, a
//! member of the room as the receiver is, and the publisher's own count from 1. Publishes that are missing in a row are
//! one finding. Only the first few of each kind are kept, so that one kind does not hide another.

use std::fmt;
use std::mem::discriminant;

use serde::{Deserialize, Serialize};

use crate::limits::FINDINGS_COUNT_MAX;

/// One publish of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The member that sent it.
    pub publisher: u32,
    /// Its count, from 1.
    pub number: u32,
}

/// What is wrong with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum What {
    /// Publishes that never came.
    Lost {
        /// The member that sent them.
        publisher: u32,
        /// The first.
        first: u32,
        /// The last in a row.
        last: u32,
    },
    /// One that the member had had.
    Duplicated(Publish),
    /// One that came after a later one of the same publisher.
    OutOfOrder {
        /// What came late.
        late: Publish,
        /// The highest number that the member had of this publisher.
        after: u32,
    },
    /// Two that this member got in one order and another member in the other. Which of them is right cannot be told.
    Disputed {
        /// What came second here.
        late: Publish,
        /// What came first here, and second elsewhere.
        after: Publish,
    },
    /// A body that is not what was published.
    Corrupted,
    /// A whole body of a publish that was never sent.
    NeverSent(Publish),
    /// A delivery of another room, or of somebody who does not publish here.
    WrongRoom {
        /// The publishing connection, by its number in the run.
        connection: u32,
        /// Its count.
        number: u32,
    },
    /// The server's own numbers did not rise by one.
    SeqGap {
        /// What was had before.
        before: u64,
        /// What came.
        came: u64,
    },
    /// A frame that is no JSON, or does not hold the body as a string.
    Json,
}

impl What {
    /// The same where all publishes are of one member, by whatever number they were booked.
    #[must_use]
    pub fn of_member(self, member: u32) -> Self {
        let of = |publish: Publish| Publish { publisher: member, ..publish };
        match self {
            Self::Lost { first, last, .. } => Self::Lost { publisher: member, first, last },
            Self::Duplicated(publish) => Self::Duplicated(of(publish)),
            Self::OutOfOrder { late, after } => Self::OutOfOrder { late: of(late), after },
            Self::Disputed { late, after } => Self::Disputed { late: of(late), after: of(after) },
            Self::NeverSent(publish) => Self::NeverSent(of(publish)),
            other @ (Self::Corrupted | Self::WrongRoom { .. } | Self::SeqGap { .. } | Self::Json) => other,
        }
    }
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The checker's number of the room.
    pub room: u32,
    /// Who got it, or did not.
    pub member: u32,
    /// What is wrong.
    #[serde(flatten)]
    pub what: What,
}

/// The first of each kind.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, room: u32, member: u32, what: What) {
        let same = self.kept.iter().filter(|kept| discriminant(&kept.what) == discriminant(&what)).count();
        if same < FINDINGS_COUNT_MAX {
            self.kept.push(Finding { room, member, what });
        }
    }

    /// Adds numbers of one publisher that never came, each row of them as one.
    pub(super) fn add_lost(&mut self, room: u32, member: u32, publisher: u32, mut numbers: Vec<u32>) {
        numbers.sort_unstable();
        for row in numbers.chunk_by(|one, next| one + 1 == *next) {
            if let [first, .., last] | [first @ last] = *row {
                self.add(room, member, What::Lost { publisher, first, last });
            }
        }
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.kept
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "publish {} of member {}", self.number, self.publisher)
    }
}

/// What a member did or got, to stand behind its name.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Lost { publisher, first: number, last } if number == last => {
                write!(f, "never got {}", Publish { publisher, number })
            }
            Self::Lost { publisher, first, last } => {
                write!(f, "never got publishes {first} to {last} of member {publisher}")
            }
            Self::Duplicated(publish) => write!(f, "got {publish} again"),
            Self::OutOfOrder { late, after } => write!(f, "got {late} after {after} of the same"),
            Self::Disputed { late, after } => {
                write!(f, "got {late} after {after}, which another member got the other way round")
            }
            Self::Corrupted => write!(f, "got a body that is not what was published"),
            Self::NeverSent(publish) => write!(f, "got {publish}, which was never sent"),
            Self::WrongRoom { connection, number } => {
                write!(f, "got publish {number} of connection {connection}, which does not publish in this room")
            }
            Self::SeqGap { before, came } => write!(f, "got the server's number {came} after {before}"),
            Self::Json => write!(f, "got a message that is no JSON with the body in it"),
        }
    }
}
