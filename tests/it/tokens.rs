//! Tokens over the wire: forgeries are all refused alike, an expired one is told from them, and a session
//! claim binds. They are made here from the server's own key, or from what a forger would have instead.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::Gateway;

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn key(gateway: &Gateway) -> Vec<u8> {
    let text = fs::read_to_string(gateway.directory.data().join("development.key")).unwrap();
    HEXLOWER.decode(text.trim().as_bytes()).unwrap()
}

fn sign(header: &str, claims: &str, secret: &[u8], algorithm: Algorithm) -> String {
    let message =
        format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(claims.as_bytes()));
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), algorithm).unwrap();
    format!("{message}.{signature}")
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A token with these claims, signed with the server's key.
fn token(gateway: &Gateway, claims: &Value) -> String {
    sign(HEADER, &claims.to_string(), &key(gateway), Algorithm::HS256)
}

/// The reply and close code that a first frame with `token` gets.
fn refused(gateway: &Gateway, token: &str) -> (Value, u16) {
    let mut client = Client::open(gateway, "/ws/chat/s");
    client.send(&json!({ "token": token }));
    let (mut events, code, _) = client.closing();
    assert_eq!(events.len(), 1, "{events:?}");
    (events.remove(0), code)
}

#[test]
fn every_forgery_gets_the_same_code_and_text() {
    let gateway = Gateway::start();
    let (secret, exp) = (key(&gateway), now_s() + 600);
    let good = json!({ "sub": "ada", "exp": exp }).to_string();
    let hs256 = |header: &str, claims: &str| sign(header, claims, &secret, Algorithm::HS256);
    let with_header = |header: &str| hs256(header, &good);
    let with_claims = |claims: &Value| hs256(HEADER, &claims.to_string());
    Client::join(&gateway, "/ws/chat/s", &with_header(HEADER));

    let proper = with_header(HEADER);
    let (unsigned, signature) = proper.rsplit_once('.').unwrap();
    let none = |alg: &str| {
        let header = BASE64URL_NOPAD.encode(json!({ "alg": alg }).to_string().as_bytes());
        format!("{header}.{}.", BASE64URL_NOPAD.encode(good.as_bytes()))
    };
    let forgeries = [
        ("alg none", none("none")),
        ("alg NONE", none("NONE")),
        ("no signature", format!("{unsigned}.")),
        ("cut signature", format!("{unsigned}.{}", &signature[..signature.len() - 4])),
        ("padded", format!("{proper}=")),
        ("another's key", sign(HEADER, &good, b"another secret that is long enough", Algorithm::HS256)),
        ("another algorithm", sign(r#"{"alg":"HS512"}"#, &good, &secret, Algorithm::HS512)),
        ("a public key's algorithm", with_header(r#"{"alg":"RS256"}"#)),
        ("crit", with_header(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#)),
        ("jwk", with_header(r#"{"alg":"HS256","jwk":{"kty":"oct","k":"eA"}}"#)),
        ("jku", with_header(r#"{"alg":"HS256","jku":"https://example.com/k"}"#)),
        ("another type", with_header(r#"{"alg":"HS256","typ":"at+jwt"}"#)),
        ("kid is no text", with_header(r#"{"alg":"HS256","kid":7}"#)),
        ("no sub", with_claims(&json!({ "exp": exp }))),
        ("empty sub", with_claims(&json!({ "sub": "", "exp": exp }))),
        ("sub is no text", with_claims(&json!({ "sub": 7, "exp": exp }))),
        ("control character in sub", with_claims(&json!({ "sub": "a\nb", "exp": exp }))),
        ("user_id differs", with_claims(&json!({ "sub": "ada", "user_id": "bob", "exp": exp }))),
        ("no exp", with_claims(&json!({ "sub": "ada" }))),
        ("exp is text", with_claims(&json!({ "sub": "ada", "exp": exp.to_string() }))),
        ("exp overflows", hs256(HEADER, r#"{"sub":"ada","exp":1e400}"#)),
        ("exp is null", with_claims(&json!({ "sub": "ada", "exp": null }))),
        ("not yet", with_claims(&json!({ "sub": "ada", "exp": exp, "nbf": exp }))),
        ("nbf is text", with_claims(&json!({ "sub": "ada", "exp": exp, "nbf": "0" }))),
        ("sub twice", hs256(HEADER, &format!(r#"{{"sub":"ada","sub":"bob","exp":{exp}}}"#))),
        ("claims are a list", hs256(HEADER, &format!(r#"["ada",{exp}]"#))),
        ("two parts", unsigned.to_owned()),
        ("four parts", format!("{proper}.x")),
        ("dots", ".".repeat(4000)),
    ];
    let (expected, close) = refused(&gateway, "no");
    assert_eq!((&expected["code"], close), (&json!("AUTH_FAILED"), 4001));
    for (name, forgery) in &forgeries {
        assert_eq!(refused(&gateway, forgery), (expected.clone(), 4001), "{name}");
        let path = format!("/ws/chat/s?token={forgery}");
        assert_eq!(Client::try_open(&gateway, &path, &[]).unwrap_err().0, 401, "{name}");
    }
    let forged = u64::try_from(forgeries.len()).unwrap();
    assert_eq!(gateway.metric("waystation_refused_total", "reason=\"token\""), 2 * forged + 1);
    assert_eq!(gateway.metric("waystation_authenticated_total", ""), 1);
}

#[test]
fn a_key_name_that_names_no_key_of_ours_is_only_looked_up() {
    let gateway = Gateway::start();
    let claims = json!({ "sub": "ada", "exp": now_s() + 600 }).to_string();
    for kid in ["../../../../dev/null", "' or 1=1 --", "http://127.0.0.1/"] {
        let header = json!({ "alg": "HS256", "kid": kid }).to_string();
        let forged = sign(&header, &claims, b"", Algorithm::HS256);
        assert_eq!(refused(&gateway, &forged).0["code"], "AUTH_FAILED", "{kid}");
    }
}

#[test]
fn an_expired_token_says_so_only_if_it_was_ours() {
    let gateway = Gateway::start();
    let claims = json!({ "sub": "ada", "exp": now_s() - 1 });
    let (reply, close) = refused(&gateway, &token(&gateway, &claims));
    assert_eq!((&reply["code"], close), (&json!("TOKEN_EXPIRED"), 4001));
    let forged = sign(HEADER, &claims.to_string(), b"another secret that is long enough", Algorithm::HS256);
    assert_eq!(refused(&gateway, &forged).0["code"], "AUTH_FAILED");
}

#[test]
fn a_session_claim_binds_the_token_to_that_session() {
    let gateway = Gateway::start();
    let bound = token(&gateway, &json!({ "sub": "ada", "session_id": "mine", "exp": now_s() + 600 }));
    Client::join(&gateway, "/ws/chat/mine", &bound);
    let mut other = Client::open(&gateway, "/ws/chat/other");
    other.send(&json!({ "token": bound, "session_id": "mine" }));
    let (events, code, _) = other.closing();
    assert_eq!((code, &events[0]["success"]), (4003, &json!(false)));
    assert_eq!(Client::try_open(&gateway, &format!("/ws/chat/other?token={bound}"), &[]).unwrap_err().0, 403);
}

#[test]
fn a_token_of_another_server_is_refused() {
    let (here, there) = (Gateway::start(), Gateway::start());
    assert_eq!(refused(&here, &there.token("ada")).1, 4001);
}
