//! The recorders written to a file: at SIGUSR1, and when the process panics.
//!
//! By number, since no shard is asked: `waystation dump` has the names. It is written under a name of this process's own
//! and then renamed: servers that share a data directory write whole files, of which the last stays.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::admin;
use crate::recorder::Ring;

/// What there is to be written, and where.
#[derive(Debug)]
pub(super) struct Flight {
    rings: Arc<[Arc<Ring>]>,
    path: Option<PathBuf>,
    /// Somebody is at it: a signal and a panic, or two panics, may come at a time.
    writing: AtomicBool,
}

impl Flight {
    /// These recorders, in a file in the data directory, if there is one.
    pub(super) fn new(rings: Arc<[Arc<Ring>]>, data: Option<&Path>) -> Self {
        Self { rings, path: data.map(|data| data.join("recorder.jsonl")), writing: AtomicBool::new(false) }
    }

    /// Writes the file, in the place of an earlier one, and says so in the log.
    pub(super) fn write(&self) {
        if self.rings.is_empty() {
            return tracing::warn!("the recorder is off: there is nothing to write");
        }
        let Some(path) = &self.path else {
            return tracing::warn!("there is no data directory to write the recorder to: `waystation dump` shows it");
        };
        if self.writing.swap(true, SeqCst) {
            return tracing::warn!("the recorder is being written already");
        }
        let written = self.try_write(path);
        self.writing.store(false, SeqCst);
        match written {
            Ok(()) => tracing::info!(path = %path.display(), "the recorder was written"),
            Err(error) => tracing::error!(path = %path.display(), %error, "the recorder cannot be written"),
        }
    }

    /// The file is made anew: what another has put under its name, where others may, is neither followed nor filled. Where
    /// processes of two containers have the same number, the file may be another's by the end, and is left to it.
    fn try_write(&self, path: &Path) -> io::Result<()> {
        let begun = begun(path);
        let _left_behind = fs::remove_file(&begun);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&begun)?;
        let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let own = identity(file.metadata()?);
        let is_own = || fs::symlink_metadata(&begun).is_ok_and(|found| identity(found) == own);
        let mut out = BufWriter::new(file);
        let written = admin::dump(&self.rings, &mut out).and_then(|()| out.flush()).and_then(|()| {
            if is_own() { fs::rename(&begun, path) } else { Err(io::Error::other("another process writes it too")) }
        });
        written.inspect_err(|_| {
            if is_own() {
                // A part of it is of no use, and the disk may be full.
                let _gone_already = fs::remove_file(&begun);
            }
        })
    }
}

/// What it is called until it is whole.
fn begun(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.begun", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConnId, ShardId};
    use crate::recorder::{Kind, Recorder};

    #[test]
    fn the_file_is_made_anew_whatever_stands_there_and_nothing_is_left_of_one_that_fails() {
        let data = std::env::temp_dir().join(format!("waystation-flight-{}", std::process::id()));
        fs::create_dir(&data).unwrap();
        let ring = Ring::with_bytes(1024).unwrap();
        let id = ConnId { shard: ShardId(0), slot: 1, generation: 2 };
        Recorder::new(Some(Arc::clone(&ring))).note(7, Kind::Opened, id, 0, 0);
        let flight = Flight::new(Arc::new([ring]), Some(&data));
        let path = data.join("recorder.jsonl");
        let (begun, other) = (begun(&path), data.join("other"));
        assert_eq!(begun, data.join(format!("recorder.{}.begun", std::process::id())));
        fs::write(&other, "another's").unwrap();
        std::os::unix::fs::symlink(&other, &begun).unwrap();
        flight.try_write(&path).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("\"opened\""));
        assert_eq!(fs::read_to_string(&other).unwrap(), "another's");
        assert!(std::process::Command::new("mkfifo").arg(&begun).status().unwrap().success());
        flight.try_write(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(flight.try_write(&path).is_err());
        assert!(!begun.exists());
        fs::remove_dir(&path).unwrap();
        flight.writing.store(true, SeqCst);
        flight.write();
        assert!(!path.exists(), "one at a time");
        flight.writing.store(false, SeqCst);
        flight.write();
        assert!(path.exists());
        fs::remove_dir_all(&data).unwrap();
    }
}
