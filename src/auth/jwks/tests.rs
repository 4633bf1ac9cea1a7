//! Sets that are taken, taken in part, and refused whole.

use super::*;
use crate::auth::key::pairs::Pair;
use serde_json::{Value, json};

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys, "note": "members that nobody knows are passed over" }).to_string()
}

fn with(mut jwk: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

fn secret() -> Value {
    json!({ "kty": "oct", "alg": "HS256", "k": "c".repeat(44) })
}

#[test]
fn the_keys_of_a_set_verify_what_their_pairs_sign() {
    let pairs = Pair::all();
    let jwks: Vec<Value> =
        pairs.iter().enumerate().map(|(n, pair)| with(pair.jwk(), json!({ "kid": n.to_string() }))).collect();
    let read = parse(&set(&jwks)).unwrap();
    assert_eq!((read.keys.len(), read.unused, read.has_secret()), (3, 0, false));
    for (n, (key, pair)) in read.keys.iter().zip(&pairs).enumerate() {
        assert_eq!((key.id(), key.algorithm()), (Some(n.to_string().as_str()), pair.algorithm()));
        assert!(key.verifies(&BASE64URL_NOPAD.encode(&pair.sign("message")), "message"));
        assert!(!key.verifies(&BASE64URL_NOPAD.encode(&pair.sign("messages")), "message"));
    }
    let read = parse(&set(&[secret()])).unwrap();
    assert!(read.has_secret() && read.keys[0].algorithm() == Signature::Hs256);
}

#[test]
fn a_key_of_no_use_is_passed_over() {
    let (rsa, ec, ed) = (Pair::rsa().jwk(), Pair::ec().jwk(), Pair::ed().jwk());
    for unused in [
        with(rsa.clone(), json!({ "use": "enc" })),
        with(rsa.clone(), json!({ "key_ops": ["encrypt"] })),
        with(rsa.clone(), json!({ "alg": "RS512" })),
        with(rsa.clone(), json!({ "alg": "PS256" })),
        with(rsa.clone(), json!({ "alg": "HS256" })),
        with(rsa.clone(), json!({ "alg": "none" })),
        with(ec.clone(), json!({ "crv": "P-384" })),
        with(ec.clone(), json!({ "alg": "ES256K" })),
        with(ec.clone(), json!({ "alg": "RS256" })),
        with(ed.clone(), json!({ "crv": "Ed448" })),
        with(ed.clone(), json!({ "crv": "X25519" })),
        json!({ "kty": "oct", "k": "AAAA" }),
        json!({ "kty": "AKP", "pub": "AAAA" }),
    ] {
        let read = parse(&set(&[unused.clone(), ed.clone()])).unwrap();
        assert_eq!((read.keys.len(), read.unused), (1, 1), "{unused}");
        assert!(parse(&set(&[unused])).is_err(), "a set without a key that can be used");
    }
    for used in [
        with(rsa, json!({ "use": "sig", "alg": "RS256", "key_ops": ["verify"], "x5c": ["AAAA"], "x5t": "AA" })),
        with(ed, json!({ "alg": "Ed25519" })),
    ] {
        assert_eq!(parse(&set(&[used])).unwrap().unused, 0);
    }
}

#[test]
fn a_key_that_should_be_usable_and_is_not_refuses_the_whole_set() {
    let (rsa, ec, ed) = (Pair::rsa().jwk(), Pair::ec().jwk(), Pair::ed().jwk());
    for bad in [
        with(rsa.clone(), json!({ "d": "AAAA" })),
        with(ec.clone(), json!({ "d": "AAAA" })),
        with(rsa.clone(), json!({ "e": "AQ" })),
        with(rsa.clone(), json!({ "n": "AAAA" })),
        with(rsa.clone(), json!({ "n": "A".repeat(342) })),
        with(rsa.clone(), json!({ "n": "not base64url!" })),
        with(rsa, json!({ "n": null })),
        with(ec.clone(), json!({ "x": "AAAA" })),
        with(ec.clone(), json!({ "y": ec["x"] })),
        with(ec.clone(), json!({ "x": "A".repeat(43), "y": "A".repeat(43) })),
        with(ec, json!({ "y": 1 })),
        with(ed.clone(), json!({ "x": "AAAA" })),
        with(ed.clone(), json!({ "x": format!("{}=", ed["x"].as_str().unwrap()) })),
        with(ed.clone(), json!({ "kid": 1 })),
        with(secret(), json!({ "k": "" })),
        with(secret(), json!({ "k": BASE64URL_NOPAD.encode(Pair::rsa().pem().as_bytes()) })),
        json!({ "kid": "without a kind" }),
    ] {
        let text = set(&[ed.clone(), bad.clone()]);
        assert!(parse(&text).is_err(), "{bad}");
    }
    for text in [
        "",
        "{}",
        "[]",
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[],"keys":[]}"#,
        &set(std::slice::from_ref(&ed))[1..],
        &set(&[ed]).replace(r#""kty":"OKP""#, r#""kty":"OKP","kty":"OKP""#),
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_set_is_bounded() {
    let (good, other) = (secret(), json!({ "kty": "oct", "k": "AAAA" }));
    for (used, unused, fine) in [
        (KEYS_COUNT_MAX - 1, 0, true),
        (KEYS_COUNT_MAX, 0, true),
        (KEYS_COUNT_MAX + 1, 0, false),
        (1, JWKS_ENTRIES_MAX - 2, true),
        (1, JWKS_ENTRIES_MAX - 1, true),
        (1, JWKS_ENTRIES_MAX, false),
    ] {
        let keys = [vec![good.clone(); used], vec![other.clone(); unused]].concat();
        assert_eq!(parse(&set(&keys)).is_ok(), fine, "{used} {unused}");
    }
}
