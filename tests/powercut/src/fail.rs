//! A disk that fails calls for as long as somebody wants: those of some kinds, on files of some names, with one error.
//!
//! The shim finds what to fail in the file `fail` beside the directory: a line with the kinds, the number of the error and
//! a part of the path, and behind it a byte for each call that it has failed.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::beside;

/// Bytes of the line, with its end, at most.
pub(crate) const LINE_BYTES_MAX: usize = 256;

/// What a disk may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    /// fsync, fdatasync, sync and syncfs. What had been written is lost then, as the kernel forgets it: a later sync that
    /// succeeds does not bring it to the disk, though it can still be read.
    Sync = b's',
    /// All that writes bytes or asks for space for them. Nothing of it is written.
    Write = b'w',
    /// What makes a file or a directory.
    Create = b'c',
    /// read, pread and their kin; only where `POWERCUT_READS` was set when the program began.
    Read = b'r',
}

/// While it lives, calls of the watched program below its directory fail.
#[derive(Debug)]
pub struct Failing {
    path: PathBuf,
    line_bytes: u64,
}

impl Failing {
    /// Has calls of these kinds fail with the number of an error, on whatever has `part` in its path below the directory.
    ///
    /// # Errors
    /// If the directory was not prepared by [`crate::begin`], fails already, or the part is too long or has a line's end.
    pub fn begin(directory: &Path, calls: &[Call], error: i32, part: &str) -> io::Result<Self> {
        let kinds: String = calls.iter().map(|call| char::from(*call as u8)).collect();
        let line = format!("{kinds} {error} {part}\n");
        if line.len() > LINE_BYTES_MAX || part.contains('\n') {
            return Err(io::Error::other(format!("{part:?} is no part of a path that can be told to the shim")));
        }
        let path = beside(directory)?.join("fail");
        let unfinished = path.with_extension("new");
        let mut file = File::create(&unfinished)?;
        file.write_all(line.as_bytes())?;
        // The program may run as somebody else.
        file.set_permissions(Permissions::from_mode(0o666))?;
        // Whole or not there, and never in another's place.
        let linked = fs::hard_link(&unfinished, &path);
        fs::remove_file(&unfinished)?;
        linked?;
        Ok(Self { path, line_bytes: line.len() as u64 })
    }

    /// How many calls have failed so far.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn count(&self) -> io::Result<u64> {
        fs::metadata(&self.path).map(|metadata| metadata.len().saturating_sub(self.line_bytes))
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // Whoever took it away before has ended it.
        let _: io::Result<()> = fs::remove_file(&self.path);
    }
}

/// The error that a line has for a call on a path; nothing if it is not to fail.
pub(crate) fn verdict(line: &[u8], call: Call, path: &[u8]) -> Option<i32> {
    let line = &line[..line.iter().position(|&byte| byte == b'\n')?];
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (kinds, error, part) = (parts.next()?, parts.next()?, parts.next()?);
    let error = core::str::from_utf8(error).ok()?.parse().ok()?;
    let named = part.is_empty() || path.windows(part.len()).any(|window| window == part);
    (kinds.contains(&(call as u8)) && named).then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_its_kinds_of_calls_and_its_files_and_for_no_other() {
        let line = b"sw 5 .jnl\n****";
        assert_eq!(verdict(line, Call::Sync, b"store/log/0.jnl"), Some(5));
        assert_eq!(verdict(line, Call::Write, b"0.jnl"), Some(5));
        assert_eq!(verdict(line, Call::Read, b"0.jnl"), None);
        assert_eq!(verdict(line, Call::Sync, b"store/log/tables/7"), None);
        assert_eq!(verdict(b"c 28 \n", Call::Create, b"any"), Some(28));
        for none in [&b""[..], b"s 5 .jnl", b"s 5\n", b"s five .jnl\n"] {
            assert_eq!(verdict(none, Call::Sync, b"0.jnl"), None);
        }
    }
}
