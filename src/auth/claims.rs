//! The two JSON objects of a token, read strictly.
//!
//! A field of the wrong type is an error, never "absent", and `null` is a wrong type: a check that silently
//! does not take place is how forged tokens get in. A field that occurs twice is an error too, so nobody else
//! can have read another value under the same signature. Fields that nobody reads are skipped.

use super::caps::Caps;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The header of a token.
#[derive(Debug, Deserialize)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub(super) alg: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) kid: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) typ: Option<Text<'a>>,
    /// Parameters that name a key, wrap the content or change what is signed: none is honoured, so a token
    /// that relies on one is refused. RFC 7515 section 4.1.11 demands it of `crit`.
    #[serde(default, deserialize_with = "refused", rename = "crit")]
    #[serde(alias = "jwk", alias = "jku", alias = "x5u", alias = "x5c", alias = "x5t", alias = "x5t#S256")]
    #[serde(alias = "cty", alias = "b64", alias = "enc", alias = "zip")]
    _not_honoured: (),
}

/// The claims that are looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Payload<'a> {
    pub(super) exp: Instant,
    #[serde(default, deserialize_with = "present")]
    pub(super) nbf: Option<Instant>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) iss: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) aud: Option<Audience<'a>>,
    #[serde(borrow)]
    pub(super) sub: Text<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) user_id: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) session_id: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) role: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) jti: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) info: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "present")]
    pub(super) caps: Option<Caps>,
}

/// A string, borrowed where it has no escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A field that is there must be of its type; `Option` by itself would take `null` for absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A field that must not be there.
fn refused<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    IgnoredAny::deserialize(deserializer)?;
    Err(D::Error::custom("a header parameter that is not honoured"))
}

/// Seconds since 1970-01-01 UTC (RFC 7519 section 2, `NumericDate`), fractions cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instant(pub(super) u64);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Instant;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970")
            }
            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Instant, E> {
                if seconds <= crate::limits::SEQ_MAX { Ok(Instant(seconds)) } else { Err(E::custom("too far away")) }
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Instant, E> {
                const MAX: f64 = 9_007_199_254_740_991.0;
                if (0.0..=MAX).contains(&seconds) { Ok(Instant(seconds as u64)) } else { Err(E::custom("no instant")) }
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// Whom a token is for: one name or several.
#[derive(Debug)]
pub(super) struct Audience<'a>(Vec<Cow<'a, str>>);

impl Audience<'_> {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|one| one == name)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Audience<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Audience<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Audience(vec![Cow::Owned(name.to_owned())]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some(Text(name)) = seq.next_element()? {
                    names.push(name);
                }
                Ok(Audience(names))
            }
        }
        deserializer.deserialize_any(Names)
    }
}
