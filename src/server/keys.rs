//! Configured keys, read from their files. Files that are not their owner's alone are refused.
//!
//! When they are read again is the concern of [`super::reload`]. Absent: fetching a set over the network, which is the
//! work of whoever writes the file.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::auth::{Key, Keys, Verifier, jwks};
use crate::config::{Auth, Faults, KeyFile, NamedFile, StartError};
use crate::limits::{JWKS_FILE_BYTES_MAX, KEY_FILE_BYTES_MAX, KEYS_COUNT_MAX};

/// What verifiers are made of.
#[derive(Debug)]
pub(super) struct KeyRing {
    /// Keys with files of their own.
    own: Vec<Key>,
    issuer: Option<String>,
    audience: Option<String>,
    set: Option<NamedFile>,
    /// What the set's file looked like when it was last read.
    seen: Option<Look>,
    /// Who named the last of the files: where it is told that they are no set together.
    named: Option<String>,
}

/// By what a changed file is told: its place on the disk, its size, and when it was written or given another mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look(u64, u64, u64, [(i64, i64); 2]);

impl KeyRing {
    /// A ring with one key, the development key.
    pub(super) fn of(key: Key, auth: &Auth) -> Self {
        let (issuer, audience) = (auth.issuer.clone(), auth.audience.clone());
        Self { own: vec![key], issuer, audience, set: None, seen: None, named: None }
    }

    /// Reads the configured keys.
    ///
    /// # Errors
    /// Every file that is not as it should be, why, and who named it.
    pub(super) fn read(auth: &Auth) -> Result<Self, Faults> {
        let (mut own, mut faults) = (Vec::new(), Vec::new());
        for key in &auth.keys {
            match read_key(key) {
                Ok(key) => own.push(key),
                Err(fault) => faults.push(fault),
            }
        }
        // What is refused already is refused with all that is wrong.
        if let Some(file) = auth.jwks.as_ref().filter(|_| !faults.is_empty()) {
            let read = read_file(file, JWKS_FILE_BYTES_MAX).and_then(|(bytes, meta)| set_of(file, bytes, &meta));
            faults.extend(read.err());
        }
        let (issuer, audience) = (auth.issuer.clone(), auth.audience.clone());
        let named = auth.jwks.as_ref().or_else(|| auth.keys.last().map(|key| &key.file)).map(ToString::to_string);
        let ring = Self { own, issuer, audience, set: auth.jwks.clone(), seen: None, named };
        if faults.is_empty() { Ok(ring) } else { Err(Faults(faults)) }
    }

    /// The first verifier.
    ///
    /// # Errors
    /// The set cannot be used, or the keys are no set together.
    pub(super) fn first(&mut self) -> Result<Verifier, StartError> {
        let verifier = self.verifier(1)?;
        warn_of_weak(&verifier);
        Ok(verifier)
    }

    /// A verifier of what the files hold now.
    ///
    /// # Errors
    /// As [`KeyRing::first`].
    pub(super) fn verifier(&mut self, generation: u32) -> Result<Verifier, StartError> {
        let mut keys = self.own.clone();
        if let Some(file) = &self.set {
            let (bytes, meta) = read_file(file, JWKS_FILE_BYTES_MAX)?;
            // Also of one that is no good: it is looked at again when it is another.
            self.seen = Some(Look::of(&meta));
            keys.extend(set_of(file, bytes, &meta)?);
        }
        let (issuer, audience) = (self.issuer.clone(), self.audience.clone());
        let keys = Keys::new(keys).map_err(|what| {
            let remedy = format!("give each key an id of its own, and have at most {KEYS_COUNT_MAX} of them");
            StartError::new(what, self.named.clone().unwrap_or_default(), remedy)
        })?;
        Ok(Verifier { keys, issuer, audience, generation })
    }

    /// Whether the set's file is another than the one that was read. One that cannot be seen is not: it is being
    /// replaced, or a later look will tell.
    pub(super) fn set_has_changed(&self) -> bool {
        let look = self.set.as_ref().and_then(|file| Look::at(&file.path));
        look.is_some() && look != self.seen
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

/// A configured key of its file.
fn read_key(KeyFile { id, algorithm, file }: &KeyFile) -> Result<Key, StartError> {
    let (bytes, meta) = read_file(file, KEY_FILE_BYTES_MAX)?;
    let key = if algorithm.is_shared() {
        check_secret(file, &meta)?;
        Key::secret(id.clone(), *algorithm, without_line_end(&bytes))
    } else {
        Key::public_pem(id.clone(), *algorithm, &text_of(file, bytes)?)
    };
    key.map_err(|fault| file.wrong(fault.to_string(), fault.remedy()))
}

/// The keys of a set. With a secret among them the file is one.
fn set_of(file: &NamedFile, bytes: Vec<u8>, meta: &Metadata) -> Result<Vec<Key>, StartError> {
    let text = text_of(file, bytes)?;
    let set = jwks::parse(&text).map_err(|fault| file.wrong(fault.to_string(), fault.remedy()))?;
    if set.has_secret() {
        check_secret(file, meta)?;
    }
    Ok(set.keys)
}

/// The bytes of a file that nobody but its owner can write to.
fn read_file(file: &NamedFile, bytes_max: usize) -> Result<(Vec<u8>, Metadata), StartError> {
    let unreadable = |error: io::Error| file.wrong(format!("the file cannot be read: {error}"), remedy_of(&error));
    // Without waiting for the other end, should it be a pipe.
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&file.path);
    let open: File = open.map_err(unreadable)?;
    let meta = open.metadata().map_err(unreadable)?;
    check_file(file, &meta)?;
    let mut bytes = Vec::new();
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    open.take(bound.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > bytes_max {
        let what = format!("the file has more than {bytes_max} bytes");
        return Err(file.wrong(what, "name the file with the key, and nothing else in it"));
    }
    Ok((bytes, meta))
}

fn remedy_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "make the file, or name another",
        io::ErrorKind::PermissionDenied => {
            "let this user read it: chown it, or hand it over as a credential (LoadCredential= in the unit)"
        }
        _ => "name a file that can be read",
    }
}

/// Whether it is a file that this user or root owns, and nobody else can write to.
fn check_file(file: &NamedFile, meta: &Metadata) -> Result<(), StartError> {
    if !meta.is_file() {
        let what = if meta.is_dir() { "this is a directory" } else { "this is no regular file" };
        return Err(file.wrong(what, "name a regular file"));
    }
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us && meta.uid() != 0 {
        let what = format!("the file is neither this user's nor root's (owner {}, this is user {us})", meta.uid());
        return Err(file
            .wrong(what, "chown it to one of the two, or hand it over as a credential (LoadCredential= in the unit)"));
    }
    if meta.mode() & 0o022 != 0 {
        let what = format!("others than its owner can write to the file (mode {:04o})", meta.mode() & 0o7777);
        return Err(file.wrong(what, "chmod go-w it, once it is sure that nobody has changed it"));
    }
    Ok(())
}

fn check_secret(file: &NamedFile, meta: &Metadata) -> Result<(), StartError> {
    if meta.mode() & 0o007 == 0 {
        return Ok(());
    }
    let what = format!("everybody can read the secret (mode {:04o})", meta.mode() & 0o7777);
    Err(file.wrong(what, "chmod 600 it, and make a new one"))
}

fn text_of(file: &NamedFile, bytes: Vec<u8>) -> Result<String, StartError> {
    let binary = "write it as text: a PEM block for public_key_file, JSON for jwks_file";
    String::from_utf8(bytes).map_err(|_| file.wrong("the file is no text", binary))
}

/// What editors and `echo` put behind the last line is not meant to be part of a secret.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
pub(super) mod tests;
