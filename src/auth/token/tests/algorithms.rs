//! The table of forgeries for every algorithm: each is refused with the same error.

use super::*;
use crate::auth::key::pairs::Pair;
use data_encoding::BASE64URL_NOPAD;

const PAYLOAD: &str = r#"{"sub":"ada","exp":1800000001}"#;
const SHARED: [(Signature, Algorithm); 3] =
    [(Signature::Hs256, Algorithm::HS256), (Signature::Hs384, Algorithm::HS384), (Signature::Hs512, Algorithm::HS512)];

fn message(header: &serde_json::Value, payload: &str) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(payload.as_bytes()))
}

fn by_pair(pair: &Pair, header: &serde_json::Value, payload: &str) -> String {
    let message = message(header, payload);
    format!("{message}.{}", BASE64URL_NOPAD.encode(&pair.sign(&message)))
}

fn by_secret(algorithm: Algorithm, secret: &[u8], header: &serde_json::Value) -> String {
    let message = message(header, PAYLOAD);
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A verifier that has every pair's key under its algorithm's name, and a secret for each of the shared ones.
fn verifier_of(pairs: &[Pair]) -> Verifier {
    let public = pairs.iter().map(|pair| {
        let id = pair.algorithm().name().to_owned();
        Key::public_pem(Some(id), pair.algorithm(), &pair.pem()).unwrap()
    });
    let secret =
        |(algorithm, _): (Signature, _)| Key::secret(Some(algorithm.name().to_owned()), algorithm, SECRET).unwrap();
    let keys = Keys::new(public.chain(SHARED.into_iter().map(secret)).collect()).unwrap();
    Verifier { keys, ..Verifier::default() }
}

#[test]
fn every_algorithm_lets_its_own_tokens_in_until_they_expire() {
    let pairs = Pair::all();
    let verifier = verifier_of(&pairs);
    let check = |name: &str, sign: &dyn Fn(&serde_json::Value) -> String| {
        for header in [json!({ "alg": name }), json!({ "alg": name, "kid": name, "typ": "JWT" })] {
            let token = sign(&header);
            assert_eq!(&*verifier.verify(&token, NOW).unwrap().user, "ada", "{header}");
            assert_eq!(verifier.verify(&token, NOW + 1), Err(TokenError::Expired), "{header}");
        }
        let unknown = sign(&json!({ "alg": name, "kid": "of a key that is not ours" }));
        refuse("a key id that no key has, where all have one", &verifier, &unknown);
    };
    for pair in &pairs {
        check(pair.algorithm().name(), &|header| by_pair(pair, header, PAYLOAD));
    }
    for (algorithm, library) in SHARED {
        check(algorithm.name(), &|header| by_secret(library, SECRET, header));
    }
}

#[test]
fn no_header_makes_a_key_serve_another_algorithm() {
    let pairs = Pair::all();
    let verifier = verifier_of(&pairs);
    let names = Signature::ALL.into_iter().map(|(_, name)| name);
    let names: Vec<&str> =
        names.chain(["none", "None", "RS384", "RS512", "PS256", "ES384", "ES256K", "Ed25519", ""]).collect();
    for name in &names {
        for kid in names.iter().copied().filter(|kid| !kid.is_empty()) {
            let header = json!({ "alg": name, "kid": kid });
            for pair in &pairs {
                let own = pair.algorithm().name();
                if (*name, kid) != (own, own) {
                    refuse(&header.to_string(), &verifier, &by_pair(pair, &header, PAYLOAD));
                }
            }
            for (algorithm, library) in SHARED {
                let own = algorithm.name();
                if (*name, kid) != (own, own) {
                    refuse(&header.to_string(), &verifier, &by_secret(library, SECRET, &header));
                }
            }
        }
    }
}

#[test]
fn a_public_key_is_no_secret_in_any_of_its_forms() {
    for pair in Pair::all() {
        let own = pair.algorithm().name();
        let key = |id: Option<&str>| Key::public_pem(id.map(str::to_owned), pair.algorithm(), &pair.pem()).unwrap();
        for id in [None, Some(own)] {
            let verifier = Verifier { keys: Keys::new(vec![key(id)]).unwrap(), ..Verifier::default() };
            assert!(verifier.verify(&by_pair(&pair, &json!({ "alg": own }), PAYLOAD), NOW).is_ok());
            let (pem, jwk) = (pair.pem(), pair.jwk().to_string());
            let inner: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let der = data_encoding::BASE64.decode(inner.as_bytes()).unwrap();
            let forms = [
                pem.as_bytes(),
                pem.trim_end().as_bytes(),
                inner.as_bytes(),
                &der,
                &pair.public(),
                jwk.as_bytes(),
                b"",
            ];
            for form in forms {
                for (algorithm, library) in SHARED {
                    for header in [
                        json!({ "alg": algorithm.name() }),
                        json!({ "alg": algorithm.name(), "kid": own }),
                        json!({ "alg": own }),
                    ] {
                        refuse(&header.to_string(), &verifier, &by_secret(library, form, &header));
                    }
                }
            }
        }
    }
}

#[test]
fn a_key_that_the_token_brings_or_names_counts_for_nothing() {
    for (pair, foreign) in Pair::all().iter().zip(&Pair::all()) {
        let verifier = verifier_of(std::slice::from_ref(pair));
        let name = pair.algorithm().name();
        refuse("another pair's", &verifier, &by_pair(foreign, &json!({ "alg": name }), PAYLOAD));
        refuse("another pair's", &verifier, &by_pair(foreign, &json!({ "alg": name, "kid": name }), PAYLOAD));
        for signer in [pair, foreign] {
            for (member, value) in [
                ("jwk", signer.jwk()),
                ("jku", json!("https://evil.example/jwks.json")),
                ("x5u", json!("https://evil.example/x.pem")),
                ("x5c", json!([BASE64URL_NOPAD.encode(&signer.public())])),
                ("x5t", json!("AAAA")),
                ("x5t#S256", json!("AAAA")),
                ("crit", json!(["exp"])),
                ("crit", json!([])),
                ("b64", json!(false)),
                ("zip", json!("DEF")),
                ("enc", json!("A256GCM")),
                ("cty", json!("JWT")),
                ("typ", json!("at+jwt+x")),
            ] {
                let mut header = json!({ "alg": name });
                header[member] = value;
                refuse(&header.to_string(), &verifier, &by_pair(signer, &header, PAYLOAD));
            }
        }
    }
}

/// An ECDSA signature as the structure that other protocols use (RFC 3279 section 2.2.3).
fn der_of(signature: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let pad: &[u8] = if bytes[0] > 127 { &[0] } else { &[] };
        [&[2, u8::try_from(pad.len() + bytes.len()).unwrap()], pad, bytes].concat()
    };
    let both = [number(&signature[..32]), number(&signature[32..])].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()], both.as_slice()].concat()
}

#[test]
fn a_signature_is_whole_or_nothing() {
    for pair in Pair::all() {
        let verifier = verifier_of(std::slice::from_ref(&pair));
        let message = message(&json!({ "alg": pair.algorithm().name() }), PAYLOAD);
        let good = pair.sign(&message);
        let mut bad: Vec<Vec<u8>> = (0..good.len()).map(|cut| good[..cut].to_vec()).collect();
        bad.extend([
            vec![0; good.len()],
            vec![0xff; good.len()],
            [&good[..], &[0]].concat(),
            [&[0], &good[..]].concat(),
        ]);
        // The psychic signature: r = s = 0 holds for every message where nobody looks.
        bad.extend([
            vec![0; 64],
            [&[0; 31][..], &[1], &[0; 31], &[1]].concat(),
            [vec![0; 32], good[..32].to_vec()].concat(),
        ]);
        if matches!(pair, Pair::Ec(_)) {
            bad.push(der_of(&good));
        }
        if matches!(pair, Pair::Ed(_)) {
            // RFC 8032 section 5.1.7: s is below the group's order, else the same message had two signatures.
            let order = [
                0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
            ];
            let mut twin = good.clone();
            let mut carry = 0;
            for (digit, add) in twin[32..].iter_mut().zip(order) {
                carry += u16::from(*digit) + add;
                [*digit, _] = carry.to_le_bytes();
                carry >>= 8;
            }
            bad.push(twin);
        }
        let token = |signature: &[u8]| format!("{message}.{}", BASE64URL_NOPAD.encode(signature));
        assert!(verifier.verify(&token(&good), NOW).is_ok());
        for signature in &bad {
            refuse(&format!("{:?} {} bytes", pair.algorithm(), signature.len()), &verifier, &token(signature));
        }
        for at in (0..good.len()).step_by(7) {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            refuse("one bit changed", &verifier, &token(&flipped));
        }
        for end in ["=", "==", ".", " ", "\n"] {
            refuse("something behind it", &verifier, &format!("{}{end}", token(&good)));
        }
    }
}

#[test]
fn claims_are_held_to_their_types_whoever_signed() {
    for pair in Pair::all() {
        let verifier = verifier_of(std::slice::from_ref(&pair));
        let header = json!({ "alg": pair.algorithm().name() });
        for payload in [
            r#"{"sub":"ada"}"#,
            r#"{"sub":"ada","exp":"1800000001"}"#,
            r#"{"sub":"ada","exp":1e400}"#,
            r#"{"exp":1800000001}"#,
            r#"{"sub":"ada","user_id":"bob","exp":1800000001}"#,
            r#"{"sub":"ada","exp":1800000001,"nbf":1800000011}"#,
        ] {
            refuse(payload, &verifier, &by_pair(&pair, &header, payload));
        }
        let aimed = Verifier { issuer: Some("us".into()), audience: Some("ws".into()), ..verifier };
        refuse("no iss, no aud", &aimed, &by_pair(&pair, &header, PAYLOAD));
    }
}
