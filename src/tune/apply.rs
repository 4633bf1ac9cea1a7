//! Files of this machine that `tune` writes and takes back.
//!
//! A file of ours begins with a line that says so and one with the sum of the rest, so that one that somebody has changed
//! since is told from it. What is not ours is never lost: it stays beside ours, the same file with its owner and mode, until
//! `revert` puts it back, and where a second one would have to be kept nothing is done at all. Directories may be links,
//! followed inside the root; in the place of a file a link is refused, since it masks the file or is another's.
//! Absent: any order in which an operator could lose a file, also if the machine stops in the middle (`place`).

mod place;

use std::io;

use super::render::{conntrack_rule, limits, sysctl};
use super::words::counted;
use super::{Host, Plan};
use place::{Kept, Place, Seen, Standing};

pub(super) use place::{MARK, SUM, marked};

const SYSCTL: Place = Place { directory: "etc/sysctl.d", name: "60-waystation.conf" };
const LIMITS: Place = Place { directory: "etc/security/limits.d", name: "60-waystation.conf" };
const RULES: Place = Place { directory: "etc/udev/rules.d", name: "60-waystation.rules" };

/// What becomes, or would become, of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is as it should be.
    Same,
    /// It is written, and nothing else was there.
    Written,
    /// It is written, and what was there is kept beside it.
    WrittenBeside,
    /// It is removed.
    Removed,
    /// What was there before is put back.
    Restored,
    /// It is not ours.
    NotOurs,
    /// It is not ours, and beside it is what was there before.
    NotOursBeside,
    /// It is ours, and somebody has changed it.
    Changed,
    /// It is not there.
    Absent,
}

impl Change {
    /// In words.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Same => "is as it should be",
            Self::Written => "written",
            Self::WrittenBeside => "written; what was there is kept beside it, .before-waystation",
            Self::Removed => "removed",
            Self::Restored => "what was there before is back",
            Self::NotOurs => "left alone: it is not ours",
            Self::NotOursBeside => "left alone: it is not ours; what was there before is still beside it",
            Self::Changed => "left alone: it has been changed since it was written",
            Self::Absent => "not there",
        }
    }

    /// Whether it is written.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Written | Self::WrittenBeside)
    }
}

/// A file and what becomes of it.
#[derive(Clone, Debug)]
pub struct Done {
    /// From the machine's root.
    pub path: String,
    /// What becomes of it.
    pub change: Change,
    /// Its new text, if it is written.
    pub text: String,
}

/// Why a file cannot be dealt with.
#[derive(Debug)]
pub struct Refused {
    /// What is wrong, with the file's path from the machine's root.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Refused {
    fn new(place: &Place, why: &str, remedy: &'static str) -> Self {
        Self { what: format!("{}: {why}", place.path()), remedy }
    }

    fn of(place: &Place, error: &io::Error) -> Self {
        Self::new(place, &error.to_string(), "run it as root, or give an image with --root")
    }
}

/// Whether to do it or only to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Do it.
    Really,
    /// Say what would be done.
    Dry,
}

/// The files for this plan on this machine.
pub(super) fn wanted(host: &Host, plan: &Plan) -> [(Place, String); 3] {
    // Of an image nothing is known; what some machines do not have may come with a module.
    let known = host.has("/proc/sys/kernel");
    let now = |setting: &super::Setting| {
        let value = host.sysctl(setting.key);
        if known && !setting.optional { value } else { Some(value.unwrap_or_default()) }
    };
    let of = if known { "" } else { ", on a kernel of which nothing is known" };
    let (connections, shards) = (counted(plan.connections, "connection"), counted(plan.shards, "shard"));
    let told = format!("{connections}, {shards}, {} bytes of memory{of}", plan.memory_bytes);
    let head = format!("For {told}. Do not change it here: put what is yours into a file that sorts behind it.");
    let sessions = "For sessions of the user waystation; systemd does not read it.";
    [
        (SYSCTL, marked(&sysctl(plan, &now, &head))),
        (LIMITS, marked(&limits(plan, sessions))),
        (RULES, marked(&conntrack_rule())),
    ]
}

/// Writes what this plan needs. Nothing is done if anything is in the way.
///
/// # Errors
/// Something is in the way, or a file cannot be written.
pub fn apply(host: &Host, plan: &Plan, how: How) -> Result<Vec<Done>, Refused> {
    let decided = wanted(host, plan).into_iter().map(|(place, text)| {
        let seen = place.look(host).map_err(|error| Refused::of(&place, &error))?;
        let change = written(&place, &seen, &text)?;
        Ok((place, Done { path: place.path(), change, text }))
    });
    let decided: Vec<(Place, Done)> = decided.collect::<Result<_, _>>()?;
    for (place, done) in decided.iter().filter(|(_, done)| how == How::Really && done.change.writes()) {
        let keep = done.change == Change::WrittenBeside;
        place.write(host, &done.text, keep).map_err(|error| Refused::of(place, &error))?;
    }
    Ok(decided.into_iter().map(|(_, done)| done).collect())
}

/// What `apply` makes of a place.
fn written(place: &Place, seen: &Seen, text: &str) -> Result<Change, Refused> {
    match (seen.standing, seen.kept) {
        (Standing::Ours, _) if seen.bytes == text.as_bytes() => Ok(Change::Same),
        (Standing::Ours | Standing::Absent, _) => Ok(Change::Written),
        (Standing::Changed | Standing::Foreign, Kept::Nothing | Kept::ThisOne) => Ok(Change::WrittenBeside),
        (Standing::Changed | Standing::Foreign, Kept::Another) => Err(Refused::new(
            place,
            "it is not ours, and beside it is what was there before it, .before-waystation: both would have to be kept",
            "move one of them away",
        )),
        (Standing::NoFile, _) => Err(Refused::new(
            place,
            "it is a link or no file: a link to /dev/null masks the file, another shares it",
            "remove it, or do what tune --script prints by hand",
        )),
    }
}

/// Takes back what was written.
///
/// # Errors
/// A file that cannot be removed or put back.
pub fn revert(host: &Host, how: How) -> Result<Vec<Done>, Refused> {
    let take_back = |place: Place| {
        let refused = |error: io::Error| Refused::of(&place, &error);
        let seen = place.look(host).map_err(refused)?;
        let change = match (seen.standing, seen.kept) {
            (Standing::Ours, Kept::Nothing) => Change::Removed,
            (Standing::Ours | Standing::Absent, Kept::ThisOne | Kept::Another) => Change::Restored,
            // An apply that was cut short after it had kept what is there.
            (Standing::Foreign | Standing::Changed, Kept::ThisOne) => Change::Restored,
            (Standing::Absent, Kept::Nothing) => Change::Absent,
            (Standing::Changed, Kept::Nothing | Kept::Another) => Change::Changed,
            (Standing::Foreign, Kept::Another) | (Standing::NoFile, Kept::ThisOne | Kept::Another) => {
                Change::NotOursBeside
            }
            (Standing::Foreign | Standing::NoFile, Kept::Nothing) => Change::NotOurs,
        };
        if how == How::Really {
            place.put_back(&seen, change).map_err(refused)?;
        }
        Ok(Done { path: place.path(), change, text: String::new() })
    };
    [SYSCTL, LIMITS, RULES].into_iter().map(take_back).collect()
}
