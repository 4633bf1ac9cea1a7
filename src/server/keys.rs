//! Configured keys, read from their files. Files that are not their owner's alone are refused.
//!
//! When they are read again is the concern of [`super::reload`]. Absent: fetching a set over the network, which is the
//! work of whoever writes the file.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::auth::{Key, Keys, Verifier, jwks};
use crate::config::{Auth, StartError};
use crate::limits::{JWKS_FILE_BYTES_MAX, KEY_FILE_BYTES_MAX};

/// What verifiers are made of.
#[derive(Debug)]
pub(super) struct KeyRing {
    /// Keys with files of their own.
    own: Vec<Key>,
    issuer: Option<String>,
    audience: Option<String>,
    set: Option<PathBuf>,
    /// What the set's file looked like when it was last read.
    seen: Option<Look>,
}

/// By what a changed file is told: its place on the disk, its size, and when it was written or given another mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look(u64, u64, u64, [(i64, i64); 2]);

impl KeyRing {
    /// A ring with one key, the development key.
    pub(super) fn of(key: Key, auth: &Auth) -> Self {
        Self { own: vec![key], issuer: auth.issuer.clone(), audience: auth.audience.clone(), set: None, seen: None }
    }

    /// Reads the configured keys.
    ///
    /// # Errors
    /// Which file is not as it should be, and why.
    pub(super) fn read(auth: &Auth) -> Result<Self, StartError> {
        let mut own = Vec::new();
        for file in &auth.keys {
            let wrong = |error| StartError::new(error, file.path.display().to_string(), REMEDY);
            let (bytes, meta) = read_file(&file.path, KEY_FILE_BYTES_MAX).map_err(wrong)?;
            let key = if file.algorithm.is_shared() {
                check_secret(&meta).map_err(wrong)?;
                Key::secret(file.id.clone(), file.algorithm, without_line_end(&bytes))
            } else {
                let text = String::from_utf8(bytes).map_err(|_| wrong("the file is no text".to_owned()))?;
                Key::public_pem(file.id.clone(), file.algorithm, &text)
            };
            own.push(key.map_err(wrong)?);
        }
        let (issuer, audience) = (auth.issuer.clone(), auth.audience.clone());
        Ok(Self { own, issuer, audience, set: auth.jwks.clone(), seen: None })
    }

    /// The first verifier.
    ///
    /// # Errors
    /// The set cannot be used, or the keys are no set together.
    pub(super) fn first(&mut self) -> Result<Verifier, StartError> {
        let place = self.set.as_ref().map_or_else(|| "[auth] keys".to_owned(), |path| path.display().to_string());
        let verifier = self.verifier(1).map_err(|error| StartError::new(error, place, REMEDY))?;
        warn_of_weak(&verifier);
        Ok(verifier)
    }

    /// A verifier of what the files hold now.
    ///
    /// # Errors
    /// As [`KeyRing::first`].
    pub(super) fn verifier(&mut self, generation: u32) -> Result<Verifier, String> {
        let mut keys = self.own.clone();
        if let Some(path) = &self.set {
            let (bytes, meta) = read_file(path, JWKS_FILE_BYTES_MAX)?;
            self.seen = Some(Look::of(&meta));
            let text = String::from_utf8(bytes).map_err(|_| "the file is no text".to_owned())?;
            let set = jwks::parse(&text)?;
            if set.has_secret() {
                check_secret(&meta)?;
            }
            keys.extend(set.keys);
        }
        let (issuer, audience) = (self.issuer.clone(), self.audience.clone());
        Ok(Verifier { keys: Keys::new(keys)?, issuer, audience, generation })
    }

    /// Whether the set's file is another than the one that was read. One that cannot be seen is not: it is being
    /// replaced, or a later look will tell.
    pub(super) fn set_has_changed(&self) -> bool {
        let look = self.set.as_deref().and_then(Look::at);
        look.is_some() && look != self.seen
    }

    /// Where the set is.
    pub(super) fn set(&self) -> Option<&Path> {
        self.set.as_deref()
    }
}

impl Look {
    /// How a file looks now, if it can be seen.
    pub(super) fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|meta| Self::of(&meta))
    }

    fn of(meta: &Metadata) -> Self {
        let (written, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        Self(meta.dev(), meta.ino(), meta.size(), [written, changed])
    }
}

/// Tells of keys that are easier to guess than their algorithm is to break.
pub(super) fn warn_of_weak(verifier: &Verifier) {
    for key in verifier.keys.iter().filter(|key| key.is_weak()) {
        tracing::warn!(id = key.id(), "a secret for tokens is shorter than its algorithm's hash");
    }
}

const REMEDY: &str = "see OPERATIONS.md, keys for tokens";

/// The bytes of a file that nobody but its owner can write to.
fn read_file(path: &Path, bytes_max: usize) -> Result<(Vec<u8>, Metadata), String> {
    let unreadable = |error: io::Error| format!("the file cannot be read: {error}");
    // Without waiting for the other end, should it be a pipe.
    let file: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    let us = rustix::process::geteuid().as_raw();
    if !meta.is_file() || (meta.uid() != us && meta.uid() != 0) {
        return Err(format!("this is no file of this user or root (owner {}, we are {us})", meta.uid()));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(format!("others than its owner can write to the file (mode {:04o})", meta.mode() & 0o7777));
    }
    let mut bytes = Vec::new();
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    file.take(bound.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > bytes_max {
        return Err(format!("the file has more than {bytes_max} bytes"));
    }
    Ok((bytes, meta))
}

fn check_secret(meta: &Metadata) -> Result<(), String> {
    if meta.mode() & 0o007 == 0 {
        return Ok(());
    }
    Err(format!("everybody can read the secret (mode {:04o}): chmod 600 it, and make a new one", meta.mode() & 0o7777))
}

/// What editors and `echo` put behind the last line is not meant to be part of a secret.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
pub(super) mod tests;
