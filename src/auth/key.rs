//! The keys that tokens are checked against, each for one algorithm.
//!
//! Key material is checked when a key is made, so that what could verify nothing, or everything, is refused by name
//! and not found out by the tokens. Reading files is not done here.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, crypto};

use super::fault::KeyFault;
use crate::limits;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signature {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA, PKCS #1 version 1.5, with SHA-256.
    Rs256,
    /// ECDSA on the curve P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Signature {
    /// Every algorithm with its name in headers and configuration (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Hs256, "HS256"),
        (Self::Hs384, "HS384"),
        (Self::Hs512, "HS512"),
        (Self::Rs256, "RS256"),
        (Self::Es256, "ES256"),
        (Self::EdDsa, "EdDSA"),
    ];

    /// The algorithm of that name; case counts.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(algorithm, _)| *algorithm)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(algorithm, _)| *algorithm == self).map_or("", |(_, name)| *name)
    }

    /// Whether signing and checking take the same secret.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    /// Bytes of a secret below which it is weaker than its hash (RFC 7518 section 3.2).
    const fn secret_bytes_min(self) -> usize {
        match self {
            Self::Hs384 => limits::HS256_SECRET_BYTES_MIN / 2 * 3,
            Self::Hs512 => limits::HS256_SECRET_BYTES_MIN * 2,
            _ => limits::HS256_SECRET_BYTES_MIN,
        }
    }

    const fn of_library(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Hs384 => Algorithm::HS384,
            Self::Hs512 => Algorithm::HS512,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A key and the one algorithm it is for.
#[derive(Clone)]
pub struct Key {
    id: Option<Box<str>>,
    algorithm: Signature,
    verifying: DecodingKey,
    /// Only secrets can sign here; public keys cannot.
    signing: Option<EncodingKey>,
    weak: bool,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Key {
    /// A shared secret.
    ///
    /// # Errors
    ///
    /// The algorithm takes none, or the bytes are none: empty, or a key file of another kind.
    pub fn secret(id: Option<String>, algorithm: Signature, secret: &[u8]) -> Result<Self, KeyFault> {
        if !algorithm.is_shared() {
            return Err(KeyFault::OtherKind(algorithm));
        }
        if secret.is_empty() {
            return Err(KeyFault::Empty);
        }
        if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
            return Err(KeyFault::PemAsSecret);
        }
        Ok(Self {
            id: id.map(String::into_boxed_str),
            algorithm,
            verifying: DecodingKey::from_secret(secret),
            signing: Some(EncodingKey::from_secret(secret)),
            weak: secret.len() < algorithm.secret_bytes_min(),
        })
    }

    /// A shared secret for HS256, as the development key is one.
    #[must_use]
    pub fn hs256(id: Option<String>, secret: &[u8]) -> Self {
        Self {
            id: id.map(String::into_boxed_str),
            algorithm: Signature::Hs256,
            verifying: DecodingKey::from_secret(secret),
            signing: Some(EncodingKey::from_secret(secret)),
            weak: secret.len() < Signature::Hs256.secret_bytes_min(),
        }
    }

    /// A public key from a PEM text (RFC 7468 section 13, `PUBLIC KEY`).
    ///
    /// # Errors
    ///
    /// The text holds something else, or a key that is not for the algorithm.
    pub fn public_pem(id: Option<String>, algorithm: Signature, pem: &str) -> Result<Self, KeyFault> {
        if pem.contains("PRIVATE KEY") {
            return Err(KeyFault::Private);
        }
        let blocks = pem.matches("-----BEGIN ").count();
        if blocks != 1 || !pem.contains("-----BEGIN PUBLIC KEY-----") {
            return Err(KeyFault::NoPublicPem);
        }
        let read = match algorithm {
            Signature::Rs256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
            Signature::Es256 => DecodingKey::from_ec_pem(pem.as_bytes()),
            Signature::EdDsa => DecodingKey::from_ed_pem(pem.as_bytes()),
            shared => return Err(KeyFault::OtherKind(shared)),
        };
        let verifying = read.map_err(|_| KeyFault::NotFor(algorithm))?;
        Self::public(id, algorithm, verifying)
    }

    /// A public key whose bytes are as its algorithm has them: for RSA a DER structure, else a point.
    pub(super) fn public(id: Option<String>, algorithm: Signature, verifying: DecodingKey) -> Result<Self, KeyFault> {
        let bytes = verifying.try_get_as_bytes().map_err(|_| KeyFault::NotFor(algorithm))?;
        check_material(algorithm, bytes)?;
        Ok(Self { id: id.map(String::into_boxed_str), algorithm, verifying, signing: None, weak: false })
    }

    /// An RSA public key of modulus and exponent.
    pub(super) fn rsa(id: Option<String>, n: &[u8], e: &[u8]) -> Result<Self, KeyFault> {
        let parsed = RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        check_rsa(&parsed.map_err(|_| KeyFault::NotFor(Signature::Rs256))?)?;
        let verifying = DecodingKey::from_rsa_raw_components(n, e);
        let (id, algorithm) = (id.map(String::into_boxed_str), Signature::Rs256);
        Ok(Self { id, algorithm, verifying, signing: None, weak: false })
    }

    /// Whether it is the same key under the same id, read once more. Both are the operator's, so the time that this
    /// takes tells nobody anything.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_material = match (self.verifying.kind(), other.verifying.kind()) {
            (DecodingKeyKind::SecretOrDer(ours), DecodingKeyKind::SecretOrDer(theirs)) => ours == theirs,
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: their_n, e: their_e },
            ) => (n, e) == (their_n, their_e),
            _ => false,
        };
        self.id == other.id && self.algorithm == other.algorithm && same_material
    }

    /// Whether the secret is shorter than RFC 7518 section 3.2 asks for.
    #[must_use]
    pub const fn is_weak(&self) -> bool {
        self.weak
    }

    /// The id by which tokens name it.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Signature {
        self.algorithm
    }

    pub(super) fn verifies(&self, signature: &str, message: &str) -> bool {
        let algorithm = self.algorithm.of_library();
        matches!(crypto::verify(signature, message.as_bytes(), &self.verifying, algorithm), Ok(true))
    }

    pub(super) fn sign(&self, message: &str) -> Result<String, String> {
        let signing = self.signing.as_ref().ok_or("the key cannot sign: it is public")?;
        let signature = crypto::sign(message.as_bytes(), signing, self.algorithm.of_library());
        signature.map_err(|error| error.to_string())
    }
}

/// Whether the bytes are a key that the algorithm can use.
fn check_material(algorithm: Signature, bytes: &[u8]) -> Result<(), KeyFault> {
    let sound = match algorithm {
        Signature::Rs256 => {
            let parsed = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, bytes);
            return check_rsa(&parsed.map_err(|_| KeyFault::NotFor(algorithm))?);
        }
        // RFC 7518 section 6.2.1: both coordinates in full. The compressed form is another spelling.
        Signature::Es256 => {
            let whole = bytes.len() == 65 && bytes.first() == Some(&4);
            whole && ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).is_ok()
        }
        Signature::EdDsa => bytes.len() == 32 && ParsedPublicKey::new(&ED25519, bytes).is_ok(),
        Signature::Hs256 | Signature::Hs384 | Signature::Hs512 => false,
    };
    if sound { Ok(()) } else { Err(KeyFault::NotFor(algorithm)) }
}

/// That an exponent of one is none, the cryptographic library knows; how long a modulus must be, it only asks of
/// keys for encryption.
fn check_rsa(parsed: &ParsedPublicKey) -> Result<(), KeyFault> {
    let der = parsed.as_der().map_err(|_| KeyFault::NotFor(Signature::Rs256))?;
    let sized = PublicEncryptingKey::from_der(der.as_ref());
    sized.map(|_| ()).map_err(|_| KeyFault::RsaBits)
}

/// The keys that tokens are checked against.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// A set of keys.
    ///
    /// # Errors
    ///
    /// There are too many, or an id is too long, empty or given twice.
    pub fn new(keys: Vec<Key>) -> Result<Self, String> {
        if keys.len() > limits::KEYS_COUNT_MAX {
            return Err(format!("{} keys, at most {} are allowed", keys.len(), limits::KEYS_COUNT_MAX));
        }
        for (index, id) in keys.iter().enumerate().filter_map(|(index, key)| Some((index, key.id.as_deref()?))) {
            if id.is_empty() || id.len() > limits::KEY_ID_BYTES_MAX {
                return Err(format!("key id {id:?} must have 1 to {} bytes", limits::KEY_ID_BYTES_MAX));
            }
            if keys.iter().take(index).any(|earlier| earlier.id.as_deref() == Some(id)) {
                return Err(format!("key id {id:?} is given twice"));
            }
        }
        Ok(Self(keys))
    }

    /// Whether these are the same keys in the same order.
    #[must_use]
    pub fn are_same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(ours, theirs)| ours.is_same(theirs))
    }

    /// The keys in order.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The keys that may have signed a token with this key id. An id that no key has falls back to the keys
    /// without one: an issuer may name a secret that its operator configured without a name.
    pub(super) fn candidates<'a>(&'a self, kid: Option<&str>) -> impl Iterator<Item = &'a Key> {
        let named = kid.and_then(|kid| self.0.iter().find(|key| key.id.as_deref() == Some(kid)));
        let any = kid.is_none();
        let others = self.0.iter().filter(move |key| named.is_none() && (any || key.id.is_none()));
        named.into_iter().chain(others)
    }
}

#[cfg(test)]
pub(super) mod pairs;
#[cfg(test)]
mod tests;
