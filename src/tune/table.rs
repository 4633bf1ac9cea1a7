//! The table of everything that matters on a host.

mod memory;
mod network;
mod processor;
mod start;
mod store;

use std::fmt;

use super::{Host, Plan};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know; nothing has to be done.
    Note,
    /// It will run, and worse than it could.
    Warning,
    /// It would not start, or not hold what is planned.
    Error,
}

impl Severity {
    /// Its word in texts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What was seen of one row on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where it was read.
    pub place: String,
    /// What was read.
    pub seen: String,
    /// What is wanted.
    pub wanted: String,
    /// How bad it is and, in one line, what to do; nothing if all is well.
    pub fault: Option<(Severity, String)>,
}

impl Answer {
    fn new(place: impl Into<String>, seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { place: place.into(), seen: seen.into(), wanted: wanted.into(), fault: None }
    }

    /// The same with a fault, if `bad`.
    fn fault_if(mut self, bad: bool, severity: Severity, fix: impl FnOnce() -> String) -> Self {
        if bad {
            self.fault = Some((severity, fix()));
        }
        self
    }
}

/// How a row is held against a machine. `None`: it does not have that, or does not tell.
#[derive(Clone, Copy)]
pub(super) enum Check {
    /// Its setting is what it should be.
    Setting,
    /// As this says.
    Look(fn(&Host, &Plan) -> Option<Answer>),
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Setting) { "Setting" } else { "Look" })
    }
}

/// A kernel setting that can be written down for the next boot.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Its name, with dots.
    pub key: &'static str,
    /// What it should be, from what it is (nothing if that is unknown): never worse. `None`: as it is.
    pub value: fn(&Plan, &[u64]) -> Option<Vec<u64>>,
    /// Whether some machines do not have it.
    pub optional: bool,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Setting").field(&self.key).finish()
    }
}

/// One thing that matters.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called; a kernel setting by its own name.
    pub name: &'static str,
    /// Where it is read.
    pub reads: &'static str,
    /// What is wanted, in words.
    pub wanted: &'static str,
    /// How bad it is at worst.
    pub severity: Severity,
    /// Why it matters.
    pub why: &'static str,
    /// What the wanted value costs.
    pub cost: &'static str,
    /// How to go back.
    pub undo: &'static str,
    /// How it is held against a machine.
    pub(super) check: Check,
    /// What `tune apply` writes for it.
    pub setting: Option<Setting>,
}

/// Every row, in the order in which they are shown: first what a start needs.
pub const TABLE: &[&[Row]] = &[start::ROWS, processor::ROWS, memory::ROWS, network::ROWS, store::ROWS];

/// The row of this name.
#[must_use]
pub fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().copied().flatten().find(|row| row.name == name)
}

/// The value of a setting that should be at least so much.
fn at_least(current: &[u64], wanted: u64) -> Option<Vec<u64>> {
    Some(vec![current.first().map_or(wanted, |&current| current.max(wanted))])
}
