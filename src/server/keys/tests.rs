//! Files that are keys.

mod wrong;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::auth::{Signature, TokenRequest, mint};
use crate::config::{KeyFile, NamedFile, Origin, Wanted};
use crate::server::doctor::scratch::Scratch;

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

fn write(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn secret_in(path: &Path) -> Auth {
    let key = KeyFile { id: None, algorithm: Signature::Hs256, file: named(path) };
    Auth { keys: vec![key], ..Auth::default() }
}

fn named(path: &Path) -> NamedFile {
    NamedFile::new(path.to_owned(), "auth.jwks_file", Origin::Flag("--set auth".to_owned()))
}

pub(in crate::server) fn token(secret: &[u8]) -> String {
    let request = TokenRequest { user: "ada", ttl_s: 60, role: None, caps: None };
    mint(&Key::hs256(None, secret), &request, 1000).unwrap()
}

pub(in crate::server) fn set_of(secrets: &[&[u8]]) -> String {
    let keys = secrets.iter().map(|secret| {
        let k = data_encoding::BASE64URL_NOPAD.encode(secret);
        serde_json::json!({ "kty": "oct", "alg": "HS256", "k": k })
    });
    serde_json::json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
}

#[test]
fn a_secret_is_the_bytes_of_its_file_without_the_line_end() {
    let scratch = Scratch::new();
    let path = scratch.path().join("key");
    for end in [&b""[..], b"\n", b"\r\n"] {
        write(&path, &[SECRET, end].concat(), 0o600);
        let verifier = KeyRing::read(&secret_in(&path)).unwrap().first().unwrap();
        assert!(verifier.verify(&token(SECRET), 1001).is_ok());
        assert!(verifier.verify(&token(b"another secret of at least thirty-two bytes"), 1001).is_err());
    }
}

#[test]
fn a_file_that_others_could_have_read_or_written_is_no_secret() {
    let scratch = Scratch::new();
    let path = scratch.path().join("key");
    for (mode, good) in [
        (0o600, true),
        (0o400, true),
        (0o440, true),
        (0o640, true),
        (0o660, false),
        (0o604, false),
        (0o644, false),
        (0o602, false),
    ] {
        write(&path, SECRET, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let read = KeyRing::read(&secret_in(&path));
        assert_eq!(read.is_ok(), good, "{mode:o}");
        let place = read.err().map(|faults| faults.0[0].place.clone());
        assert!(place.is_none_or(|place| place.starts_with(&format!("{}, as `", path.display()))));
        fs::remove_file(&path).unwrap();
    }
    write(&path, SECRET, 0o600);
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(KeyRing::read(&secret_in(&link)).is_ok(), "orchestrators mount secrets as links");
    for nothing in [scratch.path().join("none"), scratch.path().to_owned()] {
        assert!(KeyRing::read(&secret_in(&nothing)).is_err());
    }
    for (bytes, good) in [(KEY_FILE_BYTES_MAX - 1, true), (KEY_FILE_BYTES_MAX, true), (KEY_FILE_BYTES_MAX + 1, false)] {
        write(&path, &vec![b'k'; bytes], 0o600);
        assert_eq!(KeyRing::read(&secret_in(&path)).is_ok(), good, "{bytes}");
    }
}

#[test]
fn a_set_is_read_within_its_bound_and_with_a_secret_in_it_as_a_secret() {
    let scratch = Scratch::new();
    let path = scratch.path().join("jwks.json");
    let read = || KeyRing::read(&Auth { jwks: Some(named(&path)), ..Auth::default() }).unwrap().first();
    for (mode, good) in [(0o600, true), (0o644, false)] {
        write(&path, set_of(&[SECRET]).as_bytes(), mode);
        assert_eq!(read().is_ok(), good, "{mode:o}");
    }
    let set = set_of(&[SECRET]);
    for (bytes, good) in
        [(JWKS_FILE_BYTES_MAX - 1, true), (JWKS_FILE_BYTES_MAX, true), (JWKS_FILE_BYTES_MAX + 1, false)]
    {
        write(&path, [set.as_bytes(), &vec![b' '; bytes - set.len()]].concat().as_slice(), 0o600);
        assert_eq!(read().is_ok(), good, "{bytes}");
    }
    write(&path, b"{}", 0o600);
    assert!(read().unwrap_err().place.contains("jwks.json, as `auth.jwks_file` says: --set auth"));
}
