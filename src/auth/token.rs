//! Who a bearer token says its holder is, if one of our keys signed it.
//!
//! A key fixes its algorithm: the header's `alg` can only agree or lose, and `kid` only picks among the keys
//! that are configured. The signature is checked before a claim is read, by `jsonwebtoken`; all that is around
//! it is checked here, strictly, and every fault but one has the same face, so a forger learns nothing.
//!
//! Invariants: work is bounded by the token's length and the number of keys; `Expired` is said only of a token
//! that is good in every other way. Deliberately absent: revocation, and reading keys from files.

use super::caps::{Caps, Holder};
use super::claims::{Header, Payload, Text};
use crate::limits;
use serde_json::value::RawValue;
use std::sync::Arc;

pub use super::key::{Key, Keys, Signature};

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It was good until it expired.
    Expired,
    /// Anything else.
    Invalid,
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user: 1 to 128 bytes without control characters.
    pub user: Arc<str>,
    /// Whether the holder is a backend.
    pub service: bool,
    /// What the token itself grants.
    pub caps: Option<Arc<Caps>>,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
    /// What it is tied to; boxed, since few are to anything.
    pub ties: Option<Box<Ties>>,
}

/// What some tokens say of themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// The only chat session that the token is good for.
    pub session: Option<Box<str>>,
    /// Its id, by which it can be revoked.
    pub token_id: Option<Box<str>>,
    /// What others may see of the user: a raw JSON object.
    pub info: Option<Arc<str>>,
}

impl Claims {
    /// Who asks, for [`super::caps::Policy::allows`].
    #[must_use]
    pub fn holder(&self) -> Holder<'_> {
        Holder { user: &self.user, service: self.service, caps: self.caps.as_deref() }
    }

    /// The only chat session that the token is good for.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.ties.as_ref()?.session.as_deref()
    }

    /// What others may see of the user.
    #[must_use]
    pub fn info(&self) -> Option<Arc<str>> {
        self.ties.as_ref()?.info.clone()
    }

    /// The claims of somebody who brings no token where none is asked for.
    #[must_use]
    pub const fn of_anybody(user: Arc<str>) -> Self {
        Self { user, service: false, caps: None, expires_at: u64::MAX, ties: None }
    }

    /// Whether a token said so, and not its bearer alone: only then does what the user does count against the user.
    #[must_use]
    pub const fn are_proven(&self) -> bool {
        self.expires_at < u64::MAX
    }
}

/// What a token is held against.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    /// The keys.
    pub keys: Keys,
    /// The `iss` that a token must have; without one any or none will do.
    pub issuer: Option<String>,
    /// The `aud` that a token must name; without one any or none will do.
    pub audience: Option<String>,
    /// Raised when keys change, so that a verdict of older keys is known as such.
    pub generation: u32,
}

impl Verifier {
    /// Whether another says the same of every token: the same keys, issuer and audience.
    #[must_use]
    pub fn judges_like(&self, other: &Self) -> bool {
        self.keys.are_same(&other.keys) && (&self.issuer, &self.audience) == (&other.issuer, &other.audience)
    }

    /// What the token says, if it is good at `now_unix_s`.
    ///
    /// # Errors
    ///
    /// The token is not ours, not for us, not good now, or malformed.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Claims, TokenError> {
        let claims = self.trusted(token, now_unix_s).ok_or(TokenError::Invalid)?;
        // RFC 7519 section 4.1.4: not accepted on or after the expiration.
        if claims.expires_at <= now_unix_s { Err(TokenError::Expired) } else { Ok(claims) }
    }

    /// The claims of a token that is good but for its expiry.
    fn trusted(&self, token: &str, now_unix_s: u64) -> Option<Claims> {
        if token.len() > limits::TOKEN_BYTES_MAX {
            return None;
        }
        // Two dots end the search, however many there are.
        let (header, rest) = token.split_once('.')?;
        let (payload, signature) = rest.split_once('.')?;
        if signature.contains('.') {
            return None;
        }
        self.check_signature(header, signature, token.get(..header.len() + 1 + payload.len())?)?;
        let payload = object(payload)?;
        let payload: Payload<'_> = serde_json::from_slice(&payload).ok()?;
        self.check_claims(&payload, now_unix_s)?;
        claims(payload)
    }

    fn check_signature(&self, header: &str, signature: &str, message: &str) -> Option<()> {
        let header = object(header)?;
        let header: Header<'_> = serde_json::from_slice(&header).ok()?;
        let algorithm = Signature::parse(&header.alg)?;
        // RFC 8725 section 3.11: a token of another kind is not taken for one of ours.
        if header.typ.is_some_and(|Text(typ)| !typ.eq_ignore_ascii_case("JWT")) {
            return None;
        }
        let kid = header.kid.as_ref().map(|Text(kid)| &**kid);
        if kid.is_some_and(|kid| kid.is_empty() || kid.len() > limits::KEY_ID_BYTES_MAX) {
            return None;
        }
        let mut keys = self.keys.candidates(kid).filter(|key| key.algorithm() == algorithm);
        let signed = keys.any(|key| key.verifies(signature, message));
        signed.then_some(())
    }

    fn check_claims(&self, payload: &Payload<'_>, now_unix_s: u64) -> Option<()> {
        let begun = payload.nbf.is_none_or(|nbf| nbf.0 <= now_unix_s.saturating_add(limits::NOT_BEFORE_LEEWAY_S));
        let issuer = self.issuer.as_ref().is_none_or(|ours| payload.iss.as_ref().is_some_and(|iss| iss.0 == *ours));
        let ours = |ours: &String| payload.aud.as_ref().is_some_and(|aud| aud.contains(ours));
        let audience = self.audience.as_ref().is_none_or(ours);
        (begun && issuer && audience).then_some(())
    }
}

/// The claims as the rest of the server wants them.
fn claims(payload: Payload<'_>) -> Option<Claims> {
    let user = named(&payload.sub)?;
    if payload.user_id.is_some_and(|other| other.0 != user) {
        return None;
    }
    let optional = |text: &Option<Text<'_>>| match text {
        Some(text) => named(text).map(|name| Some(Box::from(name))),
        None => Some(None),
    };
    let info = match payload.info {
        Some(raw) => Some(shown(raw)?),
        None => None,
    };
    let ties = Ties { session: optional(&payload.session_id)?, token_id: optional(&payload.jti)?, info };
    Some(Claims {
        user: Arc::from(user),
        service: payload.role.is_some_and(|role| role.0 == "service"),
        caps: payload.caps.map(Arc::new),
        expires_at: payload.exp.0,
        ties: (ties != Ties::default()).then(|| Box::new(ties)),
    })
}

/// What others may see: an object that is not long.
fn shown(raw: &RawValue) -> Option<Arc<str>> {
    let text = raw.get();
    let fits = text.starts_with('{') && text.len() <= limits::PRESENCE_INFO_BYTES_MAX;
    fits.then(|| Arc::from(text))
}

/// A claim that names something: 1 to 128 bytes without control characters.
fn named<'a>(text: &'a Text<'_>) -> Option<&'a str> {
    let fits = (1..=limits::USER_ID_BYTES_MAX).contains(&text.0.len());
    (fits && !text.0.chars().any(char::is_control)).then_some(&*text.0)
}

/// The bytes of a part that holds a JSON object. An array would do for `serde`, field by field.
fn object(part: &str) -> Option<Vec<u8>> {
    decode(part).filter(|bytes| bytes.trim_ascii_start().first() == Some(&b'{'))
}

/// Decodes base64url without padding (RFC 7515 section 2). Bits that stand for no byte must be zero, so that
/// a text has one spelling only.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
            bits &= (1 << count) - 1;
        }
    }
    (count < 6 && bits == 0).then_some(bytes)
}

/// Encodes base64url without padding.
fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0, |bits, (at, &byte)| bits | u32::from(byte) << (16 - 8 * at));
        for at in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}

/// What a minted token should say.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The user.
    pub user: &'a str,
    /// Seconds until it ends.
    pub ttl_s: u64,
    /// Its `role` claim.
    pub role: Option<&'a str>,
    /// Its `caps` claim, as JSON.
    pub caps: Option<&'a str>,
}

/// Makes a token that this server would accept.
///
/// # Errors
///
/// Says which part of the request no token can carry, or that the key cannot sign.
pub fn mint(key: &Key, request: &TokenRequest<'_>, now_unix_s: u64) -> Result<String, String> {
    named(&Text(request.user.into())).ok_or("the user must have 1 to 128 bytes without control characters")?;
    let mut header = serde_json::json!({ "alg": key.algorithm().name(), "typ": "JWT" });
    if let Some(id) = key.id() {
        header["kid"] = id.into();
    }
    let expires_at = now_unix_s.saturating_add(request.ttl_s).min(limits::SEQ_MAX);
    let mut payload = serde_json::json!({ "sub": request.user, "iat": now_unix_s, "exp": expires_at });
    if let Some(role) = request.role {
        payload["role"] = role.into();
    }
    if let Some(caps) = request.caps {
        serde_json::from_str::<Caps>(caps).map_err(|error| format!("caps: {error}"))?;
        payload["caps"] = serde_json::from_str(caps).map_err(|error| format!("caps: {error}"))?;
    }
    let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(payload.to_string().as_bytes()));
    let token = format!("{message}.{}", key.sign(&message)?);
    if token.len() > limits::TOKEN_BYTES_MAX {
        return Err(format!("the token has {} bytes, at most {}", token.len(), limits::TOKEN_BYTES_MAX));
    }
    Ok(token)
}

#[cfg(test)]
mod tests;
