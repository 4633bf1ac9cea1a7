//! A file that a key of the configuration names, with who named it: what is wrong with the file is told with both.

use std::fmt;
use std::path::PathBuf;

use super::StartError;
use super::layers::Origin;

/// A file that a key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Where it is.
    pub path: PathBuf,
    /// The key, as in `auth.jwks_file`.
    key: &'static str,
    /// As it is written there, if that is by the name of a credential.
    credential: Option<PathBuf>,
    /// Where the key is set.
    origin: Origin,
}

impl NamedFile {
    /// The file at `path` that `key` names.
    #[must_use]
    pub const fn new(path: PathBuf, key: &'static str, origin: Origin) -> Self {
        Self { path, key, credential: None, origin }
    }

    /// The same, written by the name of a credential.
    #[must_use]
    pub fn written(self, credential: PathBuf) -> Self {
        Self { credential: Some(credential), ..self }
    }

    /// Something that is wrong with it.
    #[must_use]
    pub fn wrong(&self, what: impl Into<String>, remedy: impl Into<String>) -> StartError {
        StartError::new(what, self.to_string(), remedy)
    }
}

impl fmt::Display for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(credential) = &self.credential {
            write!(f, " ({})", credential.display())?;
        }
        write!(f, ", as `{}` says: {}", self.key, self.origin)
    }
}
