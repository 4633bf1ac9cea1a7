//! The recorders written to a file: at SIGUSR1, and when the process panics.
//!
//! By number, since no shard is asked: `waystation dump` has the names.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::admin;
use crate::recorder::Ring;

/// What there is to be written, and where.
#[derive(Debug)]
pub(super) struct Flight {
    rings: Arc<[Arc<Ring>]>,
    path: PathBuf,
}

impl Flight {
    /// These recorders, in a file in the data directory.
    pub(super) fn new(rings: Arc<[Arc<Ring>]>, data: &Path) -> Self {
        Self { rings, path: data.join("recorder.jsonl") }
    }

    /// Writes the file, in the place of an earlier one, and says so in the log.
    pub(super) fn write(&self) {
        if self.rings.is_empty() {
            return tracing::warn!("the recorder is off: there is nothing to write");
        }
        match self.try_write() {
            Ok(()) => tracing::info!(path = %self.path.display(), "the recorder was written"),
            Err(error) => tracing::error!(path = %self.path.display(), %error, "the recorder cannot be written"),
        }
    }

    fn try_write(&self) -> io::Result<()> {
        let begun = self.path.with_extension("begun");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&begun)?;
        let mut out = BufWriter::new(file);
        admin::dump(&self.rings, &mut out)?;
        out.flush()?;
        fs::rename(begun, &self.path)
    }
}
