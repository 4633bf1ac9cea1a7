//! What the operator asked for, made usable.
//!
//! [`written::Written`] is the command line as it was typed, [`file::File`] what `--config` names;
//! [`checked::Wanted`] is what the rest of the program uses. Both become that once, at the start; nothing below this
//! floor ever sees an option that was not checked. Environment and machine are arguments, so the tests need neither.
//! Absent: reading at run time, any default that depends on a clock.

pub mod checked;
pub mod file;
mod units;
pub mod written;

use std::ffi::OsString;
use std::fmt;

use clap::Parser;

pub use checked::{Auth, Environment, KeyFile, LimitsProfile, LogFormat, Logs, Machine, Serve, Token, Wanted};

/// Why the program did not start. Told to the operator once, then the exit code is 78.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// What is wrong, naming the value and the bound.
    pub what: String,
    /// Where it was found: a flag, a variable, a file, a limit of the system.
    pub place: String,
    /// What to do about it.
    pub remedy: String,
}

impl StartError {
    /// The process exit code: `EX_CONFIG` of sysexits, so that a supervisor can tell it from a crash.
    pub const EXIT_CODE: u8 = 78;

    /// Tells what is wrong, where, and what to do.
    #[must_use]
    pub fn new(what: impl Into<String>, place: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), place: place.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waystation: {}\n  where: {}\n  what to do: {}", self.what, self.place, self.remedy)
    }
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Refusal {
    /// The command line does not parse, or asked for help or the version.
    Usage(Box<clap::Error>),
    /// It parses and cannot be done here.
    Start(StartError),
}

/// Reads the command line and makes it usable.
///
/// # Errors
/// [`Refusal`], also when help or the version was asked for.
pub fn read(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    machine: &Machine,
) -> Result<Wanted, Refusal> {
    let written = written::Written::try_parse_from(args).map_err(|error| Refusal::Usage(Box::new(error)))?;
    checked::check(written, environment, machine).map_err(Refusal::Start)
}
