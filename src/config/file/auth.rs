//! `[auth]`: whose tokens are good.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::auth::Signature;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The `iss` that tokens must have.
    pub issuer: Option<String>,
    /// The `aud` that tokens must name.
    pub audience: Option<String>,
    /// Users may do what their token grants and nothing else.
    pub require_caps: bool,
    /// Keys, each in a file of its own.
    pub keys: Vec<Key>,
    /// A JWK set, which is read again when it changes.
    pub jwks_file: Option<PathBuf>,
}

/// A key as it is written. Its material is in a file: a secret belongs into no configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Written")]
pub struct Key {
    /// The `kid` by which tokens name it.
    pub id: Option<String>,
    /// What it is for.
    pub algorithm: Signature,
    /// Where it is: a secret's bytes, or a PEM text.
    pub file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Option<String>,
    #[serde(deserialize_with = "algorithm")]
    algorithm: Signature,
    secret_file: Option<PathBuf>,
    public_key_file: Option<PathBuf>,
}

impl TryFrom<Written> for Key {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { id, algorithm, secret_file, public_key_file } = written;
        let name = algorithm.name();
        match (algorithm.is_shared(), secret_file, public_key_file) {
            (true, Some(file), None) | (false, None, Some(file)) => Ok(Self { id, algorithm, file }),
            (true, ..) => Err(format!("a key for {name} has a `secret_file` and no `public_key_file`")),
            (false, ..) => Err(format!("a key for {name} has a `public_key_file` and no `secret_file`")),
        }
    }
}

fn algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Signature, D::Error> {
    const NAMES: [&str; 6] = ["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"];
    let name = String::deserialize(deserializer)?;
    Signature::parse(&name).ok_or_else(|| D::Error::unknown_variant(&name, &NAMES))
}
