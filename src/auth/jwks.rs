//! A set of keys as an issuer publishes it (RFC 7517).
//!
//! A key that this server has no use for (of another kind, curve or algorithm, or for encryption) is passed over, as
//! RFC 7517 section 5 asks for. A key that it would use and that is malformed refuses the whole set: half a set is a
//! mistake that only shows when a token comes.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::fault::{KeyFault, SetFault};
use super::key::{Key, Signature};
use crate::limits::{JWKS_ENTRIES_MAX, KEYS_COUNT_MAX};

/// What a set holds for us.
#[derive(Debug)]
pub struct Jwks {
    /// The keys, in their order.
    pub keys: Vec<Key>,
    /// How many were passed over.
    pub unused: usize,
}

impl Jwks {
    /// Whether a shared secret is among the keys, so that nobody else may read the file.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.keys.iter().any(|key| key.algorithm().is_shared())
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Entry>,
}

/// The members of a key that are looked at. One that occurs twice is an error of the derived reader.
#[derive(Deserialize)]
struct Entry {
    kty: String,
    alg: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

/// Reads a set.
///
/// # Errors
///
/// It is none, it has no key that can be used, or one that should be usable is not; which, and why.
pub fn parse(text: &str) -> Result<Jwks, SetFault> {
    let set: Set = serde_json::from_str(text).map_err(|error| SetFault::NoSet(error.to_string()))?;
    if set.keys.len() > JWKS_ENTRIES_MAX {
        return Err(SetFault::TooMany(set.keys.len()));
    }
    let mut jwks = Jwks { keys: Vec::new(), unused: 0 };
    for (index, entry) in set.keys.iter().enumerate() {
        match entry.algorithm() {
            Some(algorithm) => {
                let key = entry.key(algorithm).map_err(|fault| SetFault::Key(index + 1, fault))?;
                jwks.keys.push(key);
            }
            None => jwks.unused += 1,
        }
    }
    match jwks.keys.len() {
        0 => Err(SetFault::NoneUsable),
        1..=KEYS_COUNT_MAX => Ok(jwks),
        count => Err(SetFault::TooManyUsable(count)),
    }
}

impl Entry {
    /// What the key is for, if that is of use here. A key without `alg` is for the one algorithm of its kind; a
    /// secret has several, so it must say.
    fn algorithm(&self) -> Option<Signature> {
        let signs = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !signs || !verifies {
            return None;
        }
        let kinds: &[Signature] = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => &[Signature::Rs256],
            ("EC", Some("P-256")) => &[Signature::Es256],
            ("OKP", Some("Ed25519")) => &[Signature::EdDsa],
            ("oct", None) => &[Signature::Hs256, Signature::Hs384, Signature::Hs512],
            _ => return None,
        };
        match (self.alg.as_deref(), kinds) {
            (None, [only]) => Some(*only),
            (None, _) => None,
            // RFC 9864 gives EdDSA with this curve a name of its own.
            (Some("Ed25519"), [Signature::EdDsa]) => Some(Signature::EdDsa),
            (Some(name), kinds) => Signature::parse(name).filter(|algorithm| kinds.contains(algorithm)),
        }
    }

    fn key(&self, algorithm: Signature) -> Result<Key, KeyFault> {
        if self.d.is_some() {
            return Err(KeyFault::Private);
        }
        let id = self.kid.clone();
        match algorithm {
            Signature::Rs256 => Key::rsa(id, &bytes("n", &self.n)?, &bytes("e", &self.e)?),
            Signature::Es256 => {
                let (x, y) = (bytes("x", &self.x)?, bytes("y", &self.y)?);
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                Key::public(id, algorithm, DecodingKey::from_ec_der(&point))
            }
            Signature::EdDsa => Key::public(id, algorithm, DecodingKey::from_ed_der(&bytes("x", &self.x)?)),
            Signature::Hs256 | Signature::Hs384 | Signature::Hs512 => Key::secret(id, algorithm, &bytes("k", &self.k)?),
        }
    }
}

fn bytes(name: &'static str, value: &Option<String>) -> Result<Vec<u8>, KeyFault> {
    let text = value.as_deref().ok_or(KeyFault::Missing(name))?;
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| KeyFault::Garbled(name))
}

#[cfg(test)]
mod tests;
