//! Tokens for development, signed with the development key.

use serde_json::{Map, Value};

use super::key::DevelopmentKey;
use crate::auth::token::{self, Key};
use crate::config::StartError;

/// What a token is to say.
#[derive(Clone, Debug)]
pub(super) struct TokenRequest<'a> {
    /// Whom it stands for.
    pub(super) user: &'a str,
    /// Seconds until it expires.
    pub(super) ttl_s: u64,
    /// Whether it marks a backend.
    pub(super) service: bool,
    /// What it permits; without it the policy decides.
    pub(super) caps: Option<Map<String, Value>>,
}

/// The token that `request` asks for, good from `now_s`.
pub(super) fn mint(key: &DevelopmentKey, request: &TokenRequest<'_>, now_s: u64) -> Result<String, StartError> {
    let caps = request.caps.as_ref().map(|caps| Value::Object(caps.clone()).to_string());
    let role = request.service.then_some("service");
    let asked = token::TokenRequest { user: request.user, ttl_s: request.ttl_s, role, caps: caps.as_deref() };
    token::mint(&Key::hs256(None, key.secret()), &asked, now_s)
        .map_err(|error| StartError::new(format!("no such token can be made: {error}"), "the token", "ask for less"))
}

/// Every verb on every channel.
pub(super) fn caps_for_everything() -> Map<String, Value> {
    let verbs = ["subscribe", "publish", "presence", "history", "edit", "stream", "register", "admin"];
    Map::from_iter([("*".to_owned(), Value::from(verbs.as_slice()))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::caps::{Policy, Verb};
    use crate::auth::token::{Keys, Verifier};
    use crate::server::doctor::scratch::Scratch;
    use crate::server::key;

    #[test]
    fn a_token_says_what_was_asked_and_the_key_proves_it() {
        let scratch = Scratch::new();
        let key = key::obtain(Some(scratch.path())).unwrap();
        let keys = Keys::new(vec![Key::hs256(None, key.secret())]).unwrap();
        let verifier = Verifier { keys, issuer: None, audience: None, generation: 1 };
        for (service, caps) in [(false, None), (true, Some(caps_for_everything()))] {
            let token =
                mint(&key, &TokenRequest { user: "ada", ttl_s: 90, service, caps: caps.clone() }, 1000).unwrap();
            let claims = verifier.verify(&token, 1089).unwrap();
            assert_eq!((&*claims.user, claims.service, claims.expires_at), ("ada", service, 1090));
            assert_eq!(claims.caps.is_some(), caps.is_some());
            let may_all =
                Verb::ALL.iter().all(|(verb, _)| Policy::default().allows(&claims.holder(), "any:channel", *verb));
            assert_eq!(may_all, caps.is_some());
            assert!(verifier.verify(&token, 1090).is_err(), "it ends");
        }
    }
}
