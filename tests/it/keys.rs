//! Configured keys over the wire: each algorithm lets its own in, the development key counts for nothing, and a JWK
//! set that changes is in force while the server runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, until};

pub(crate) const SECRET: &[u8] = b"a secret of at least forty-eight bytes, as SHA-384 wants";

pub(crate) fn claims(user: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({ "sub": user, "exp": now + 600, "iss": "https://login.example.com", "aud": ["gateway", "other"] })
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn by_pair(pair: &Ed25519KeyPair, kid: &str, claims: &Value) -> String {
    let message = message(&json!({ "alg": "EdDSA", "kid": kid }), claims);
    format!("{message}.{}", BASE64URL_NOPAD.encode(pair.sign(message.as_bytes()).as_ref()))
}

pub(crate) fn by_secret(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
    let message = message(&json!({ "alg": format!("{algorithm:?}") }), claims);
    format!("{message}.{}", crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), algorithm).unwrap())
}

fn pem(pair: &Ed25519KeyPair) -> String {
    let der = pair.public_key().as_der().unwrap();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der.as_ref()))
}

fn jwks(pairs: &[(&str, &Ed25519KeyPair)]) -> String {
    let keys = pairs.iter().map(|(kid, pair)| {
        let x = BASE64URL_NOPAD.encode(pair.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": x })
    });
    json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
}

/// Puts a file into its place whole.
pub(crate) fn put(path: &Path, text: &[u8], mode: u32) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(&draft, path).unwrap();
}

pub(crate) fn is_let_in(gateway: &Gateway, token: &str) -> bool {
    match Client::try_open(gateway, &format!("/ws/chat/s?token={token}"), &[]) {
        Ok(_) => true,
        Err((status, _)) => {
            assert_eq!(status, 401);
            false
        }
    }
}

#[test]
fn configured_keys_let_their_own_tokens_in_and_nobody_elses() {
    let place = Directory::new();
    let [configured, foreign] = [0, 1].map(|_| Ed25519KeyPair::generate().unwrap());
    put(&place.path().join("secret.key"), &[SECRET, b"\n"].concat(), 0o600);
    put(&place.path().join("login.pem"), pem(&configured).as_bytes(), 0o644);
    let config = r#"
        [auth]
        issuer = "https://login.example.com"
        audience = "gateway"
        keys = [
            { algorithm = "HS384", secret_file = "secret.key" },
            { id = "k1", algorithm = "EdDSA", public_key_file = "login.pem" },
        ]
        [admin]
        loopback = true
    "#;
    let file = place.path().join("gateway.toml");
    put(&file, config.as_bytes(), 0o644);
    let gateway = Gateway::within(&place, &["--shards", "1", "--config", file.to_str().unwrap()]);
    assert!(gateway.greeting.contains("2 configured keys") && !gateway.greeting.contains("token="));
    assert!(!place.data().join("development.key").exists(), "it would count for nothing");

    let ada = claims("ada");
    assert!(is_let_in(&gateway, &by_pair(&configured, "k1", &ada)));
    assert!(is_let_in(&gateway, &by_secret(Algorithm::HS384, SECRET, &ada)));
    let mut other_audience = ada.clone();
    other_audience["aud"] = json!("another");
    for (name, token) in [
        ("another's key", by_pair(&foreign, "k1", &ada)),
        ("another algorithm of the secret", by_secret(Algorithm::HS256, SECRET, &ada)),
        ("the public key as a secret", by_secret(Algorithm::HS384, pem(&configured).as_bytes(), &ada)),
        ("the public key's bytes as a secret", by_secret(Algorithm::HS384, configured.public_key().as_ref(), &ada)),
        ("another audience", by_pair(&configured, "k1", &other_audience)),
        ("the development key", gateway.token("ada")),
    ] {
        assert!(!is_let_in(&gateway, &token), "{name}");
    }
}

#[test]
fn a_jwk_set_that_changes_is_in_force_without_a_restart_and_a_bad_one_is_not() {
    let place = Directory::new();
    let [first, second] = [0, 1].map(|_| Ed25519KeyPair::generate().unwrap());
    let (file, set) = (place.path().join("gateway.toml"), place.path().join("jwks.json"));
    put(&file, b"[auth]\njwks_file = \"jwks.json\"\n[admin]\nloopback = true\n", 0o644);
    put(&set, jwks(&[("1", &first)]).as_bytes(), 0o644);
    let gateway = Gateway::within(&place, &["--shards", "2", "--config", file.to_str().unwrap()]);
    let old = by_pair(&first, "1", &claims("ada"));
    let new = by_pair(&second, "2", &claims("ada"));
    assert!(is_let_in(&gateway, &old) && !is_let_in(&gateway, &new));
    let mut ada = Client::join(&gateway, "/ws/chat/s", &old);

    put(&set, jwks(&[("1", &first), ("2", &second)]).as_bytes(), 0o644);
    let generations = || gateway.metric("waystation_keys_generation", "");
    until("both shards have the new keys", SOON, || generations() == 4);
    assert!(is_let_in(&gateway, &old) && is_let_in(&gateway, &new));

    put(&set, b"{\"keys\":[{}]}", 0o644);
    until("the bad set is told", SOON, || gateway.log().contains("refused"));
    assert!(is_let_in(&gateway, &old) && is_let_in(&gateway, &new));

    put(&set, jwks(&[("2", &second)]).as_bytes(), 0o644);
    until("both shards have the second key only", SOON, || generations() == 6);
    assert!(!is_let_in(&gateway, &old) && is_let_in(&gateway, &new));
    ada.send(&json!({ "type": "chat_message", "payload": { "content": "still here" } }));
    assert_eq!(ada.event_of("chat_message")["payload"]["content"], "still here");
    ada.send(&json!({ "token": new }));
    assert_eq!(ada.event()["success"], true);
}
