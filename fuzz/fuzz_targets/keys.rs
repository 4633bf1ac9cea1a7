//! Key sets, key files and patterns as an operator or an issuer writes them: no panic, nothing private is taken,
//! and no key lets in what was not signed with it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use waystation::auth::{Key, Keys, Pattern, Signature, TokenError, TokenRequest, Verifier, jwks, mint};
use waystation::limits::{CHANNEL_NAME_BYTES_MAX, KEYS_COUNT_MAX};

const NOW: u64 = 1_800_000_000;
const NAMES: [&str; 6] = ["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"];

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(set) = jwks::parse(text) {
        assert!((1..=KEYS_COUNT_MAX).contains(&set.keys.len()));
        let secret = set.keys.iter().any(|key| key.algorithm().is_shared());
        assert_eq!(set.has_secret(), secret);
        if let Ok(keys) = Keys::new(set.keys) {
            refuses_strangers(keys);
        }
    }
    for name in NAMES {
        let algorithm = Signature::parse(name).expect("a name of ours");
        if let Ok(key) = Key::public_pem(None, algorithm, text) {
            assert!(!algorithm.is_shared() && !text.contains("PRIVATE KEY"));
            refuses_strangers(Keys::new(vec![key]).expect("one key"));
        }
        if let Ok(key) = Key::secret(None, algorithm, bytes) {
            // RFC 7518 section 3.2 asks for as many bits as the hash has; a shorter one works, with a warning.
            assert!(algorithm.is_shared() && !bytes.is_empty());
            let bits: usize = name.trim_start_matches("HS").parse().expect("a hash's bits");
            assert_eq!(key.is_weak(), bytes.len() * 8 < bits);
            refuses_strangers(Keys::new(vec![key]).expect("one key"));
        }
    }
    if let Some(pattern) = Pattern::parse(text) {
        assert!((1..=CHANNEL_NAME_BYTES_MAX + 1).contains(&text.len()));
        assert_eq!(Some(pattern), Pattern::parse(text));
    }
});

/// A token that somebody else has signed opens nothing.
fn refuses_strangers(keys: Keys) {
    let stranger = Key::hs256(None, b"another secret, of thirty-two bytes or more");
    let request = TokenRequest { user: "ann", ttl_s: 60, role: None, caps: None };
    let token = mint(&stranger, &request, NOW).expect("a good request");
    let verifier = Verifier { keys, ..Verifier::default() };
    assert_eq!(verifier.verify(&token, NOW).err(), Some(TokenError::Invalid));
}
