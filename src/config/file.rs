//! The configuration file as it is written: TOML, a section for each concern, nothing in it that is not known.
//!
//! Every value is judged where it stands, so a refusal names the file, the line and the column. A section is a
//! file in `file/` with its types and the bounds of their values; what they become is decided in
//! [`super::checked`]. Absent: defaults (a key that is missing is `None`), the command line, which beats what is
//! written here.

pub mod admin;
pub mod auth;
pub mod globetrotter;
pub mod history;
pub mod limits;
pub mod origins;
pub mod policy;
pub mod proxies;
mod values;

use std::fs::File as OpenFile;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::StartError;
use crate::limits::CONFIG_FILE_BYTES_MAX;

/// A whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Who is let in.
    pub auth: auth::Auth,
    /// Which web pages may connect.
    pub origins: origins::Origins,
    /// How much is allowed.
    pub limits: limits::Limits,
    /// What stands in front of the gateway.
    pub proxies: proxies::Proxies,
    /// The GlobeTrotter dialect.
    pub globetrotter: globetrotter::GlobeTrotter,
    /// Who administers.
    pub admin: admin::Admin,
    /// What channels keep.
    pub history: history::History,
    /// What holds in which channels.
    pub policy: Vec<policy::Row>,
}

/// Reads the file at `path`.
///
/// # Errors
/// The file cannot be read, or something in it is not as it should be.
pub(super) fn read(path: &Path) -> Result<File, StartError> {
    let place = path.display().to_string();
    let unreadable = |why: String| StartError::new(why, place.clone(), "give a readable file with --config");
    let mut text = String::new();
    let file = OpenFile::open(path).map_err(|error| unreadable(format!("the file cannot be opened: {error}")))?;
    let read = file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| unreadable(format!("the file cannot be read: {error}")))?;
    if u64::try_from(bytes).unwrap_or(u64::MAX) > CONFIG_FILE_BYTES_MAX {
        return Err(unreadable(format!("the file has more than {CONFIG_FILE_BYTES_MAX} bytes")));
    }
    parse(&text, &place)
}

/// Reads the text of the file called `place`.
pub(super) fn parse(text: &str, place: &str) -> Result<File, StartError> {
    let file: File = toml::from_str(text).map_err(|error| refusal(&error, text, place))?;
    policy::check(&file.policy).map_err(|error| StartError::new(error, format!("{place}, [[policy]]"), REMEDY))?;
    Ok(file)
}

const REMEDY: &str = "see OPERATIONS.md, configuration file";

fn refusal(error: &toml::de::Error, text: &str, place: &str) -> StartError {
    let what = error.message().trim().replace('\n', ": ");
    let remedy = nearest(&what).map_or_else(|| REMEDY.to_owned(), |name| format!("write `{name}`? Else {REMEDY}"));
    let place = match error.span() {
        Some(span) => {
            let (line, column) = position(text, span.start);
            format!("{place}, line {line}, column {column}")
        }
        None => place.to_owned(),
    };
    StartError::new(what, place, remedy)
}

/// Line and column of a byte, both from 1; columns count characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}

/// The name that was probably meant: `serde` says in backticks what it found and then what it would have taken.
fn nearest(what: &str) -> Option<&str> {
    let rest = what.strip_prefix("unknown ")?;
    let mut names = rest.split('`').skip(1).step_by(2);
    let written = names.next()?;
    let likeness = |name: &&str| strsim::jaro_winkler(written, name);
    names.filter(|name| likeness(name) > 0.75).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

#[cfg(test)]
mod tests;
