//! Whatever is given for a token, and whatever stands in one that is signed: no panic, and nobody is let in
//! under an empty, oversized or unprintable name or after the token's end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use waystation::auth::{Key, Keys, Policy, TokenError, TokenRequest, Verb, Verifier, mint};

const NOW: u64 = 1_800_000_000;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let key = Key::hs256(None, b"a secret of at least thirty-two bytes");
    let keys = Keys::new(vec![key.clone()]).expect("one key");
    let verifier = Verifier { keys, ..Verifier::default() };
    // Nobody guesses a signature.
    assert_eq!(verifier.verify(text, NOW).err(), Some(TokenError::Invalid));
    // The text as claims of a token that is signed: as the caps, and as the user.
    let (user, caps) = text.split_once('\n').unwrap_or((text, "{}"));
    let request = TokenRequest { user, ttl_s: 60, role: None, caps: Some(caps) };
    if let Ok(token) = mint(&key, &request, NOW) {
        let claims = verifier.verify(&token, NOW + 59).expect("what was minted is accepted");
        assert_eq!(&*claims.user, user);
        assert!((1..=128).contains(&user.len()) && !user.chars().any(char::is_control));
        assert_eq!(verifier.verify(&token, NOW + 60), Err(TokenError::Expired));
        for channel in [user, text, "trip:1"] {
            let _ = Policy::default().allows(&claims.holder(), channel, Verb::Publish);
        }
        // Any other text with this signature is not ours.
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let forged = format!("{message}A.{signature}");
        assert_eq!(verifier.verify(&forged, NOW).err(), Some(TokenError::Invalid));
    }
});
