//! Good tokens, and the table of forgeries: each is refused with the same error.

use super::*;
use crate::auth::{Policy, Verb};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::json;

mod algorithms;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

fn verifier() -> Verifier {
    let keys = vec![Key::hs256(None, SECRET), Key::hs256(Some("k2".into()), b"another secret, also thirty-two bytes")];
    Verifier { keys: Keys::new(keys).unwrap(), ..Verifier::default() }
}

/// A token of these two texts, signed with `secret`.
fn signed(header: &str, payload: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn with_payload(payload: &str) -> String {
    signed(HEADER, payload, SECRET)
}

fn with_header(header: &str) -> String {
    signed(header, r#"{"sub":"ada","exp":1800000001}"#, SECRET)
}

#[test]
fn a_good_token_gives_its_claims() {
    let token = with_payload(
        r#"{"sub":"ada","user_id":"ada","exp":1800000001.5,"nbf":1800000010,"iat":"any","aud":["x"],"iss":"y",
        "session_id":"s1","jti":"t1","role":"authenticated","caps":{"trip:{user}*":["subscribe","later"]},"more":null}"#,
    );
    let claims = verifier().verify(&token, NOW).unwrap();
    assert_eq!((&*claims.user, claims.service, claims.expires_at), ("ada", false, NOW + 1));
    let token_id = claims.ties.as_ref().and_then(|ties| ties.token_id.as_deref());
    assert_eq!((claims.session(), token_id), (Some("s1"), Some("t1")));
    let policy = Policy::default();
    assert!(policy.allows(&claims.holder(), "trip:ada-1", Verb::Subscribe));
    assert!(!policy.allows(&claims.holder(), "trip:bob-1", Verb::Subscribe));
}

#[test]
fn what_others_may_see_is_an_object_of_so_many_bytes() {
    let of = |info: &str| {
        let token = with_payload(&format!(r#"{{"sub":"ada","exp":1800000001,"info":{info}}}"#));
        verifier().verify(&token, NOW).map(|claims| claims.info().unwrap().to_string())
    };
    for (bytes, good) in [
        (limits::PRESENCE_INFO_BYTES_MAX - 1, true),
        (limits::PRESENCE_INFO_BYTES_MAX, true),
        (limits::PRESENCE_INFO_BYTES_MAX + 1, false),
    ] {
        let info = format!(r#"{{"name":"{}"}}"#, "x".repeat(bytes - 11));
        assert_eq!(info.len(), bytes);
        assert_eq!(of(&info), if good { Ok(info) } else { Err(TokenError::Invalid) });
    }
    for info in ["7", "null", "[]", "\"{}\"", "true"] {
        assert_eq!(of(info), Err(TokenError::Invalid), "{info}");
    }
}

#[test]
fn a_minted_token_is_accepted_until_it_expires() {
    for (id, secret) in [(None, SECRET), (Some("k2".to_owned()), b"another secret, also thirty-two bytes".as_slice())] {
        let key = Key::hs256(id, secret);
        let request = TokenRequest {
            user: "ada \"\u{e9}\"",
            ttl_s: 60,
            role: Some("service"),
            caps: Some(r#"{"*":["publish"]}"#),
        };
        let token = mint(&key, &request, NOW).unwrap();
        let claims = verifier().verify(&token, NOW + 59).unwrap();
        assert_eq!((&*claims.user, claims.service, claims.expires_at), ("ada \"\u{e9}\"", true, NOW + 60));
        assert!(claims.caps.is_some());
        for late in [60, 61, 1_000_000] {
            assert_eq!(verifier().verify(&token, NOW + late), Err(TokenError::Expired));
        }
    }
}

#[test]
fn nothing_is_minted_that_no_one_would_accept() {
    let key = Key::hs256(None, SECRET);
    let good = TokenRequest { user: "ada", ttl_s: 60, role: None, caps: None };
    let (long, wide) = ("u".repeat(129), format!(r#"{{"{}":[]}}"#, "c".repeat(144)));
    let caps = format!("{{{}}}", (0..65).map(|n| format!(r#""c{n}":[]"#)).collect::<Vec<_>>().join(","));
    assert!(mint(&key, &good, NOW).is_ok());
    assert!(mint(&key, &TokenRequest { caps: Some(&wide), ..good }, NOW).is_ok());
    for bad in [
        TokenRequest { user: "", ..good },
        TokenRequest { user: &long, ..good },
        TokenRequest { user: "a\nb", ..good },
        TokenRequest { caps: Some("["), ..good },
        TokenRequest { caps: Some(r#"{"a*b":[]}"#), ..good },
        TokenRequest { caps: Some(&caps), ..good },
    ] {
        mint(&key, &bad, NOW).unwrap_err();
    }
}

#[test]
fn a_key_id_only_picks_among_the_keys() {
    let payload = r#"{"sub":"ada","exp":1800000001}"#;
    let second = b"another secret, also thirty-two bytes";
    for (kid, secret, good) in [
        (None, SECRET, true),
        (None, second.as_slice(), true),
        (Some("k2"), second.as_slice(), true),
        (Some("k2"), SECRET, false),
        (Some("unknown"), SECRET, true),
        (Some("unknown"), second.as_slice(), false),
        (Some("../../dev/null"), b"".as_slice(), false),
        (Some("' or 1=1 --"), b"".as_slice(), false),
        (Some("../../dev/null"), second.as_slice(), false),
    ] {
        let header = match kid {
            Some(kid) => json!({ "alg": "HS256", "kid": kid }),
            None => json!({ "alg": "HS256" }),
        };
        let token = signed(&header.to_string(), payload, secret);
        assert_eq!(verifier().verify(&token, NOW).is_ok(), good, "{kid:?}");
    }
}

fn refuse(name: &str, verifier: &Verifier, token: &str) {
    assert_eq!(verifier.verify(token, NOW), Err(TokenError::Invalid), "{name}");
}

#[test]
fn every_forged_header_is_refused() {
    let verifier = verifier();
    assert!(verifier.verify(&with_header(HEADER), NOW).is_ok());
    let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(limits::KEY_ID_BYTES_MAX + 1));
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AA"}}"#,
        r#"{"alg":"HS256","jku":"https://evil.example/jwks.json"}"#,
        r#"{"alg":"HS256","x5u":"https://evil.example/x"}"#,
        r#"{"alg":"HS256","x5c":["AA"]}"#,
        r#"{"alg":"HS256","zip":"DEF"}"#,
        r#"{"alg":"HS256","cty":"JWT"}"#,
        r#"{"alg":"HS256","typ":"dpop+jwt"}"#,
        r#"{"alg":"HS256","typ":1}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":null}"#,
        r#"{"alg":"HS256","kid":""}"#,
        r#"{"alg":"HS256","kid":"k2"}"#,
        r#"["HS256"]"#,
        r#""HS256""#,
        r#"{"alg":"HS256"} x"#,
        "",
        &long,
    ] {
        refuse(header, &verifier, &with_header(header));
    }
    let no_keys = Verifier::default();
    refuse("no keys", &no_keys, &with_header(HEADER));
}

#[test]
fn every_forged_claim_is_refused() {
    let verifier = verifier();
    let long = format!(r#"{{"exp":1800000001,"sub":"{}"}}"#, "u".repeat(limits::USER_ID_BYTES_MAX + 1));
    for payload in [
        r#"{"sub":"ada"}"#,
        r#"{"sub":"ada","exp":"1800000001"}"#,
        r#"{"sub":"ada","exp":null}"#,
        r#"{"sub":"ada","exp":true}"#,
        r#"{"sub":"ada","exp":-1}"#,
        r#"{"sub":"ada","exp":-1.5}"#,
        r#"{"sub":"ada","exp":1e400}"#,
        r#"{"sub":"ada","exp":1e300}"#,
        r#"{"sub":"ada","exp":9007199254740992}"#,
        r#"{"sub":"ada","exp":99999999999999999999999}"#,
        r#"{"sub":"ada","exp":[1800000001]}"#,
        r#"{"sub":"ada","exp":1,"exp":1800000001}"#,
        r#"{"sub":"ada","exp":1800000001,"nbf":1800000011}"#,
        r#"{"sub":"ada","exp":1800000001,"nbf":"0"}"#,
        r#"{"sub":"ada","exp":1800000001,"nbf":null}"#,
        r#"{"exp":1800000001}"#,
        r#"{"sub":"","exp":1800000001}"#,
        r#"{"sub":7,"exp":1800000001}"#,
        r#"{"sub":null,"exp":1800000001}"#,
        r#"{"sub":"a\u0000da","exp":1800000001}"#,
        r#"{"sub":"a\u0085da","exp":1800000001}"#,
        r#"{"sub":"\ud800","exp":1800000001}"#,
        r#"{"sub":"bob","sub":"ada","exp":1800000001}"#,
        r#"{"sub":"ada","user_id":"bob","exp":1800000001}"#,
        r#"{"sub":"ada","user_id":7,"exp":1800000001}"#,
        r#"{"sub":"ada","user_id":null,"exp":1800000001}"#,
        r#"{"sub":"ada","role":["service"],"exp":1800000001}"#,
        r#"{"sub":"ada","session_id":1,"exp":1800000001}"#,
        r#"{"sub":"ada","session_id":"","exp":1800000001}"#,
        r#"{"sub":"ada","jti":1,"exp":1800000001}"#,
        r#"{"sub":"ada","aud":1,"exp":1800000001}"#,
        r#"{"sub":"ada","aud":[1],"exp":1800000001}"#,
        r#"{"sub":"ada","iss":["x"],"exp":1800000001}"#,
        r#"{"sub":"ada","caps":null,"exp":1800000001}"#,
        r#"{"sub":"ada","caps":["*"],"exp":1800000001}"#,
        r#"{"sub":"ada","caps":{"*":"admin"},"exp":1800000001}"#,
        r#"{"sub":"ada","caps":{"*":[1]},"exp":1800000001}"#,
        r#"{"sub":"ada","caps":{"a*b":[]},"exp":1800000001}"#,
        r#"{"sub":"ada","caps":{"a":[],"a":["admin"]},"exp":1800000001}"#,
        r#"["1800000001"]"#,
        r#"{"sub":"ada","exp":1800000001"#,
        "",
        &long,
    ] {
        refuse(payload, &verifier, &with_payload(payload));
        // An expired token says so only if it was good: every other fault hides it.
        let expired = payload.replace("1800000001", "1700000001").replace("1800000011", "1900000011");
        refuse(&expired, &verifier, &with_payload(&expired));
    }
}

#[test]
fn issuer_and_audience_count_when_they_are_configured() {
    let verifier = Verifier { issuer: Some("us".into()), audience: Some("ws".into()), ..verifier() };
    let payload = |more: &str| with_payload(&format!(r#"{{"sub":"ada","exp":1800000001{more}}}"#));
    for good in
        [r#","iss":"us","aud":"ws""#, r#","iss":"us","aud":["api","ws"]"#, r#","iss":"\u0075s","aud":"w\u0073""#]
    {
        assert!(verifier.verify(&payload(good), NOW).is_ok(), "{good}");
    }
    for bad in [
        "",
        r#","iss":"us""#,
        r#","aud":"ws""#,
        r#","iss":"us","aud":"api""#,
        r#","iss":"us","aud":[]"#,
        r#","iss":"them","aud":"ws""#,
        r#","iss":"us ","aud":"ws""#,
    ] {
        refuse(bad, &verifier, &payload(bad));
    }
}

#[test]
fn every_malformed_token_is_refused() {
    let verifier = verifier();
    let good = with_header(HEADER);
    let parts: Vec<&str> = good.split('.').collect();
    let (message, signature) = good.rsplit_once('.').unwrap();
    for bad in [
        String::new(),
        ".".repeat(60_000),
        "..".to_owned(),
        ".".repeat(4096),
        good.repeat(30),
        message.to_owned(),
        format!("{message}."),
        format!("{good}."),
        format!("{good}.x"),
        format!(".{good}"),
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}.{}.{}", parts[1], parts[0], parts[2]),
        signed(HEADER, r#"{"sub":"ada","exp":1800000001}"#, b"wrong"),
        signed(HEADER, r#"{"sub":"ada","exp":1800000001}"#, b""),
        format!("{message}.{}", encode(&[0; 32])),
        format!("{message}.{}", encode(&[0; 64])),
        good.replace('e', "\u{e9}"),
    ] {
        refuse(&bad, &verifier, &bad);
    }
    for cut in 0..good.len() {
        refuse("cut short", &verifier, &good[..cut]);
    }
    for (at, _) in message.char_indices() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        refuse("one bit changed", &verifier, &String::from_utf8(bytes).unwrap());
    }
    // The last digit of 32 bytes carries two bits that stand for nothing: only zeros are the signature.
    let last = signature.bytes().last().unwrap();
    for other in (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').filter(|&other| other != last) {
        refuse("another last digit", &verifier, &format!("{}{}", &good[..good.len() - 1], char::from(other)));
    }
}

#[test]
fn a_token_may_have_4096_bytes() {
    let verifier = verifier();
    let padded = |pad: usize| with_payload(&format!(r#"{{"sub":"ada","exp":1800000001,"pad":"{}"}}"#, "p".repeat(pad)));
    let fits = (0..4096).map(padded).find(|token| token.len() == limits::TOKEN_BYTES_MAX).unwrap();
    assert!(verifier.verify(&fits, NOW).is_ok());
    let over = (0..4096).map(padded).find(|token| token.len() > limits::TOKEN_BYTES_MAX).unwrap();
    refuse("too long", &verifier, &over);
}

#[test]
fn a_token_is_minted_up_to_4096_bytes() {
    let key = Key::hs256(None, SECRET);
    let minted = |pad: usize| {
        let rows = (0..32).map(|row| format!(r#""c{row:02}{}":[]"#, "p".repeat(if row == 0 { pad } else { 85 })));
        let caps = format!("{{{}}}", rows.collect::<Vec<_>>().join(","));
        mint(&key, &TokenRequest { user: "ada", ttl_s: 60, role: None, caps: Some(&caps) }, NOW)
    };
    // Base64 has no length of 1 modulo 4, so the bound itself may be stepped over.
    let first_over = (0..140).find(|pad| minted(*pad).is_err()).unwrap();
    let longest = minted(first_over - 1).unwrap();
    assert!((limits::TOKEN_BYTES_MAX - 1..=limits::TOKEN_BYTES_MAX).contains(&longest.len()), "{}", longest.len());
    assert!(verifier().verify(&longest, NOW).is_ok());
    let told = minted(first_over).unwrap_err();
    assert!(["4097", "4098"].iter().any(|len| told == format!("the token has {len} bytes, at most 4096")), "{told}");
}

#[test]
fn names_have_1_to_128_bytes() {
    for (len, good) in [(127, true), (128, true), (129, false)] {
        let token = with_payload(&json!({ "sub": "u".repeat(len), "exp": NOW + 1 }).to_string());
        assert_eq!(verifier().verify(&token, NOW).is_ok(), good, "{len}");
    }
}

#[test]
fn a_token_may_begin_a_little_later_and_end_no_later_than_a_number_holds() {
    let (leeway, max) = (limits::NOT_BEFORE_LEEWAY_S, limits::SEQ_MAX);
    for (nbf, exp, good) in [
        (NOW + leeway - 1, NOW + 1, true),
        (NOW + leeway, NOW + 1, true),
        (NOW + leeway + 1, NOW + 1, false),
        (NOW, max - 1, true),
        (NOW, max, true),
        (NOW, max + 1, false),
    ] {
        let token = with_payload(&json!({ "sub": "ada", "nbf": nbf, "exp": exp }).to_string());
        assert_eq!(verifier().verify(&token, NOW).is_ok(), good, "{nbf} {exp}");
    }
}

#[test]
fn a_set_of_keys_is_bounded_and_its_ids_are_unique() {
    let key = |id: Option<&str>| Key::hs256(id.map(str::to_owned), SECRET);
    let max = limits::KEYS_COUNT_MAX;
    for (count, good) in [(max - 1, true), (max, true), (max + 1, false)] {
        assert_eq!(Keys::new(vec![key(None); count]).is_ok(), good, "{count}");
    }
    for (len, good) in [(0, false), (1, true), (128, true), (129, false)] {
        assert_eq!(Keys::new(vec![key(Some(&"k".repeat(len)))]).is_ok(), good, "{len}");
    }
    assert!(Keys::new(vec![key(Some("a")), key(Some("b")), key(Some("a"))]).is_err());
    let min = limits::HS256_SECRET_BYTES_MIN;
    for (len, weak) in [(min - 1, true), (min, false), (min + 1, false)] {
        assert_eq!(Key::hs256(None, &vec![7; len]).is_weak(), weak, "{len}");
    }
    assert!(!format!("{:?}", key(None)).contains("secret"));
}

#[test]
fn base64url_is_read_back_as_it_was_written() {
    for len in 0..70_u8 {
        let bytes: Vec<u8> = (0..len).map(|n| n.wrapping_mul(37)).collect();
        let text = encode(&bytes);
        assert_eq!(decode(&text), Some(bytes), "{text}");
    }
    for bad in ["A", "AB", "AAB", "AA==", "A+", "A/", "A A", "AAAAA", "\u{e9}"] {
        assert_eq!(decode(bad), None, "{bad}");
    }
}
