//! Why a key or a set of keys cannot be used, and what to do about it.

use std::fmt;

use super::key::Signature;
use crate::limits::{JWKS_ENTRIES_MAX, KEYS_COUNT_MAX};

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// It is a secret, and the algorithm checks with a public key, or the other way round.
    OtherKind(Signature),
    /// A secret without a byte.
    Empty,
    /// A PEM text in a secret's place: a public key that serves as a secret is known to everybody.
    PemAsSecret,
    /// A private key in a public key's place.
    Private,
    /// No PEM block `PUBLIC KEY`, or not one alone.
    NoPublicPem,
    /// No public key that the algorithm can use.
    NotFor(Signature),
    /// An RSA key that is too short or too long.
    RsaBits,
    /// A member of a JWK that is missing.
    Missing(&'static str),
    /// A member of a JWK that is not written as RFC 7517 says.
    Garbled(&'static str),
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKind(algorithm) if algorithm.is_shared() => {
                write!(f, "{} is checked with a secret, not with a public key", algorithm.name())
            }
            Self::OtherKind(algorithm) => {
                write!(f, "{} is checked with a public key, not with a secret", algorithm.name())
            }
            Self::Empty => f.write_str("this is no shared secret: it is empty"),
            Self::PemAsSecret => f.write_str("this is no shared secret: it is a PEM file"),
            Self::Private => f.write_str("this is a private key: only its public half belongs here"),
            Self::NoPublicPem => f.write_str("this is not one PEM block of the kind PUBLIC KEY"),
            Self::NotFor(algorithm) => write!(f, "this is no public key for {}", algorithm.name()),
            Self::RsaBits => f.write_str("an RSA key must have 2,048 to 8,192 bits"),
            Self::Missing(name) => write!(f, "member {name} is missing"),
            Self::Garbled(name) => write!(f, "member {name} is not base64url without padding"),
        }
    }
}

impl KeyFault {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::OtherKind(_) => "name the algorithm that the key is for",
            Self::Empty => "put the issuer's secret into it, or make one with `openssl rand -base64 48`",
            Self::PemAsSecret => {
                "name a file with the secret itself, or, if tokens are signed with the private half of this key, write \
                 its algorithm (RS256, ES256 or EdDSA) and public_key_file"
            }
            Self::Private => {
                "keep that where tokens are signed, and put its public half here: `openssl pkey -pubout -in PRIVATE -out FILE`"
            }
            Self::NoPublicPem => {
                "write it with `openssl pkey -pubout -in PRIVATE -out FILE`, or, of a certificate, with `openssl x509 \
                 -pubkey -noout -in CERTIFICATE`"
            }
            Self::NotFor(_) => {
                "see what it is with `openssl pkey -pubin -text -noout -in FILE`: RS256 takes RSA, ES256 the curve P-256, \
                 EdDSA Ed25519; write the algorithm that it is for, or name another file"
            }
            Self::RsaBits => "make a longer one: `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072`",
            Self::Missing(_) | Self::Garbled(_) => "write the key as the issuer publishes it (RFC 7517)",
        }
    }
}

/// Why a JWK set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetFault {
    /// It is none.
    NoSet(String),
    /// It has so many keys that they are not looked at.
    TooMany(usize),
    /// The key of this number, from 1, should be usable and is not.
    Key(usize, KeyFault),
    /// It has none that can be used.
    NoneUsable,
    /// It has more that can be used than may be.
    TooManyUsable(usize),
}

impl fmt::Display for SetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSet(why) => write!(f, "this is no JWK set: {why}"),
            Self::TooMany(count) => write!(f, "{count} keys, at most {JWKS_ENTRIES_MAX} are read"),
            Self::Key(number, fault) => write!(f, "key {number}: {fault}"),
            Self::NoneUsable => f.write_str("there is no key for checking signatures of a kind that is supported"),
            Self::TooManyUsable(count) => {
                write!(f, "{count} keys that can be used, at most {KEYS_COUNT_MAX} are allowed")
            }
        }
    }
}

impl SetFault {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoSet(_) => "write the set as the issuer publishes it, as in {\"keys\":[{\"kty\":\"RSA\",…}]}",
            Self::TooMany(_) | Self::TooManyUsable(_) => "take out keys that no token is signed with any more",
            Self::Key(_, fault) => fault.remedy(),
            Self::NoneUsable => {
                "add one for signatures: kty RSA for RS256, EC with crv P-256 for ES256, OKP with crv Ed25519 for EdDSA, or \
                 oct with an alg of HS256, HS384 or HS512; no `use` but sig"
            }
        }
    }
}
