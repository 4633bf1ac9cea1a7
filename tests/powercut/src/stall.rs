//! A disk that hangs for as long as somebody wants.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::beside;

/// While it lives, what the watched program syncs below its directory does not come back.
#[derive(Debug)]
pub struct Stall(PathBuf);

impl Stall {
    /// Has the disk below a directory hang from now on.
    ///
    /// # Errors
    /// If the directory was not prepared by [`crate::begin`], or hangs already.
    pub fn begin(directory: &Path) -> io::Result<Self> {
        let path = beside(directory)?.join("stall");
        let file = File::create_new(&path)?;
        // The program may run as somebody else.
        file.set_permissions(Permissions::from_mode(0o666))?;
        Ok(Self(path))
    }

    /// How many calls have come to hang so far.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn count(&self) -> io::Result<u64> {
        fs::metadata(&self.0).map(|metadata| metadata.len())
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        // Whoever took it away before has ended it.
        let _: io::Result<()> = fs::remove_file(&self.0);
    }
}
