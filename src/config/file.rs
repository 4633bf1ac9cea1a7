//! The configuration as it is written, with types: a section for each concern, nothing in it that is not known.
//!
//! Its keys stand in [`super::table`], which judges every value before it comes here, so what is read into these types
//! is good. A section is a file in `file/`; what they become is decided in [`super::load`]. Absent: defaults (a key
//! that is missing is `None`), and who set what.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod globetrotter;
pub mod history;
pub mod limits;
pub mod log;
pub mod origins;
pub mod policy;
pub mod proxies;
pub mod recorder;
pub mod server;
pub mod store;
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
    /// Where it listens and what it runs on.
    pub server: server::Server,
    /// What is logged, and how.
    pub log: log::Log,
    /// Who was let in.
    pub audit: audit::Audit,
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
    /// What happened last.
    pub recorder: recorder::Recorder,
    /// What channels keep.
    pub history: history::History,
    /// What outlives the gateway.
    pub store: store::Store,
    /// What holds in which channels.
    pub policy: Vec<policy::Row>,
}

/// The text of the file at `path`.
///
/// # Errors
/// The file cannot be read.
pub(super) fn text(path: &Path) -> Result<String, StartError> {
    let unreadable =
        |why: String| StartError::new(why, path.display().to_string(), "give a readable file with --config");
    let mut text = String::new();
    let file = OpenFile::open(path).map_err(|error| unreadable(format!("the file cannot be opened: {error}")))?;
    let read = file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| unreadable(format!("the file cannot be read: {error}")))?;
    if u64::try_from(bytes).unwrap_or(u64::MAX) > CONFIG_FILE_BYTES_MAX {
        return Err(unreadable(format!("the file has more than {CONFIG_FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}
