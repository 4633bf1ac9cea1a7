//! `summary.json`: the report as a file, with the number of its form.
//!
//! The form has a number, `SCHEMA`, that rises when an older reader would take a file wrongly. A new field that may be
//! missing does not raise it. What the figures amount to stands in the file too, for programs that only want to know
//! that; it is not read back, since it follows from the rest.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::limits::SUMMARY_BYTES_MAX;
use crate::report::Report;

/// The form of `summary.json` that is written, and the only one that is read.
pub const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    schema: u32,
    outcome: &'static str,
    objections: Vec<String>,
    #[serde(flatten)]
    report: &'a Report,
}

/// What is looked at first, so that a file of another form is not complained of for a missing field.
#[derive(Deserialize)]
struct Head {
    schema: Option<u32>,
    /// What results that are no run's say that they are.
    kind: Option<String>,
}

impl Report {
    /// The whole report as the text of a `summary.json`.
    ///
    /// # Errors
    /// A histogram cannot be written.
    pub fn to_json(&self) -> Result<String, String> {
        let objections = self.objections();
        let written = Written { schema: SCHEMA, outcome: self.outcome(), objections, report: self };
        serde_json::to_string_pretty(&written).map_err(|error| format!("summary.json: {error}"))
    }

    /// Reads a run directory's `summary.json`, or such a file by itself.
    ///
    /// # Errors
    /// There is none, it is too long, or it is of another form; the text names the file.
    pub fn load(path: &Path) -> Result<Self, String> {
        let path = if path.is_dir() { path.join("summary.json") } else { path.to_owned() };
        let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = File::open(&path).map_err(|error| fault(&error))?;
        let mut text = String::new();
        file.take(SUMMARY_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| fault(&error))?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > SUMMARY_BYTES_MAX {
            return Err(fault(&format!("longer than {SUMMARY_BYTES_MAX} bytes")));
        }
        Self::from_json(&text).map_err(|error| fault(&error))
    }

    /// Reads the text of a `summary.json`.
    ///
    /// # Errors
    /// It is none, or of another form; the text says which.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let head: Head = serde_json::from_str(text).map_err(|error| format!("summary.json: {error}"))?;
        if let Some(kind) = head.kind {
            return Err(format!("summary.json: the result of {kind}, which has no figures of a run"));
        }
        match head.schema {
            Some(SCHEMA) => serde_json::from_str(text).map_err(|error| format!("summary.json: {error}")),
            Some(other) => {
                Err(format!("summary.json: schema {other}: must be {SCHEMA}, read it with the loadgen that wrote it"))
            }
            None => Err("summary.json: no schema: not written by loadgen".to_owned()),
        }
    }

    /// In one word: `passed`, `failed`, `invalid` if the figures say nothing about the server, or `missed` if an
    /// objective was not met.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self.exit_code() {
            0 => "passed",
            3 => "invalid",
            99 => "missed",
            _ => "failed",
        }
    }
}
