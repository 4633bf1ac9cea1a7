//! Files of keys that cannot be used: each is told with what is wrong, who named it and what to do.

use super::*;

/// What stands in the file, or that there is none; its mode; the row that names it; what is told of it; what its remedy
/// has.
type Row = (Option<&'static [u8]>, u32, &'static str, &'static str, &'static str);

const HS256: &str = "keys = [{ algorithm = \"HS256\", secret_file = \"key\" }]";
const RS256: &str = "keys = [{ algorithm = \"RS256\", public_key_file = \"key\" }]";
const EDDSA: &str = "keys = [{ algorithm = \"EdDSA\", public_key_file = \"key\" }]";
const JWKS: &str = "jwks_file = \"key\"";

/// An Ed25519 key that is nobody's.
const ED25519: &[u8] = b"-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const PRIVATE: &[u8] = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
const OCT: &[u8] = br#"{"keys":[{"kty":"oct","alg":"HS256","k":"AAAA"}]}"#;
const PRIVATE_JWK: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}]}"#;
const NO_X: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519"}]}"#;

const WRONG: [Row; 20] = [
    (None, 0o600, HS256, "the file cannot be read: No such file", "make the file, or name another"),
    (None, 0o600, RS256, "the file cannot be read: No such file", "make the file, or name another"),
    (None, 0o600, JWKS, "the file cannot be read: No such file", "make the file, or name another"),
    (Some(SECRET), 0o644, HS256, "everybody can read the secret (mode 0644)", "chmod 600"),
    (Some(SECRET), 0o660, HS256, "others than its owner can write to the file (mode 0660)", "chmod go-w"),
    (Some(ED25519), 0o666, EDDSA, "others than its owner can write", "chmod go-w"),
    (Some(b""), 0o600, HS256, "no shared secret: it is empty", "openssl rand"),
    (Some(b"\r\n"), 0o600, HS256, "no shared secret: it is empty", "openssl rand"),
    (Some(ED25519), 0o600, HS256, "no shared secret: it is a PEM file", "public_key_file"),
    (Some(ED25519), 0o644, RS256, "this is no public key for RS256", "EdDSA Ed25519"),
    (Some(PRIVATE), 0o600, RS256, "this is a private key", "openssl pkey -pubout"),
    (Some(CERTIFICATE), 0o644, RS256, "not one PEM block of the kind PUBLIC KEY", "openssl x509 -pubkey"),
    (Some(b"\xff"), 0o644, RS256, "the file is no text", "a PEM block"),
    (Some(b"{"), 0o644, JWKS, "this is no JWK set: EOF", "as the issuer publishes it"),
    (Some(br#"{"keys":[]}"#), 0o644, JWKS, "there is no key for checking signatures", "EC with crv P-256 for ES256"),
    (Some(NO_X), 0o644, JWKS, "key 1: member x is missing", "RFC 7517"),
    (Some(PRIVATE_JWK), 0o600, JWKS, "key 1: this is a private key", "public half"),
    (Some(OCT), 0o644, JWKS, "everybody can read the secret", "chmod 600"),
    (Some(&[b' '; JWKS_FILE_BYTES_MAX + 1]), 0o644, JWKS, "more than 524288 bytes", "nothing else in it"),
    (Some(&[b'k'; KEY_FILE_BYTES_MAX + 1]), 0o600, HS256, "more than 4096 bytes", "nothing else in it"),
];

/// What is wrong with the files of a configuration whose first line is `[auth]`.
fn faults(place: &Path, rows: &str) -> Vec<StartError> {
    let config = place.join("gateway.toml");
    fs::write(&config, format!("[auth]\n{rows}\n")).unwrap();
    let line = ["waystation", "serve", "--config"].map(Into::into).into_iter().chain([config.into_os_string()]);
    let line = line.chain(["--data", "none"].map(Into::into));
    let machine = crate::config::Machine { cpus: vec![0], parallelism: 1 };
    let Ok(Wanted::Serve(serve)) = crate::config::read(line, &crate::config::Environment::default(), &machine) else {
        panic!("{rows} is good as it is written");
    };
    match KeyRing::read(&serve.auth) {
        Ok(mut ring) => ring.first().err().into_iter().collect(),
        Err(faults) => faults.0,
    }
}

#[test]
fn each_wrong_file_of_a_key_is_told_with_cause_file_line_key_and_remedy() {
    let scratch = Scratch::new();
    let (path, mut complaints) = (scratch.path().join("key"), Vec::new());
    for (bytes, mode, row, what, remedy) in WRONG {
        if let Some(bytes) = bytes {
            write(&path, bytes, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let told = faults(scratch.path(), row);
        let (key, column) = match row {
            HS256 => ("auth.keys.secret_file", 9),
            JWKS => ("auth.jwks_file", 13),
            _ => ("auth.keys.public_key_file", 9),
        };
        let config = scratch.path().join("gateway.toml");
        let place = format!("{}, as `{key}` says: {}, line 2, column {column}", path.display(), config.display());
        let as_said =
            told.len() == 1 && told[0].place == place && told[0].what.contains(what) && told[0].remedy.contains(remedy);
        if !as_said {
            complaints.push(format!("{what}: {told:?}"));
        }
        let _was_not_made = fs::remove_file(&path);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn what_is_no_file_is_told_as_what_it_is() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path().join("directory")).unwrap();
    for (name, what) in [("directory", "this is a directory"), ("/dev/null", "this is no regular file")] {
        let told = faults(scratch.path(), &format!("jwks_file = \"{name}\""));
        assert_eq!((told[0].what.as_str(), told[0].remedy.as_str()), (what, "name a regular file"), "{told:?}");
    }
    if rustix::process::geteuid().is_root() {
        let path = scratch.path().join("key");
        write(&path, SECRET, 0o600);
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let told = faults(scratch.path(), HS256);
        assert!(told[0].what.contains("(owner 65534, this is user 0)") && told[0].remedy.contains("chown"), "{told:?}");
    }
}

#[test]
fn all_files_that_are_wrong_are_told_at_once_and_keys_that_are_no_set_with_who_named_them() {
    let scratch = Scratch::new();
    let key = |id: &str, file: &str| format!("{{ id = \"{id}\", algorithm = \"HS256\", secret_file = \"{file}\" }}");
    write(&scratch.path().join("good"), SECRET, 0o600);
    write(&scratch.path().join("set"), set_of(&[SECRET]).replace("\"kty\"", "\"kid\":\"a\",\"kty\"").as_bytes(), 0o600);
    let keys = format!("keys = [{}, {}, {}]", key("a", "one"), key("b", "good"), key("c", "two"));
    let told = faults(scratch.path(), &format!("{keys}\njwks_file = \"three\""));
    assert_eq!(told.len(), 3, "{told:?}");
    for (fault, name) in told.iter().zip(["/one, as `", "/two, as `", "/three, as `auth.jwks_file`"]) {
        assert!(fault.place.contains(name), "{fault}");
    }
    let told = faults(scratch.path(), &format!("keys = [{}]\njwks_file = \"set\"", key("a", "good")));
    assert!(told[0].what.contains("\"a\" is given twice") && told[0].remedy.contains("an id of its own"), "{told:?}");
    assert!(told[0].place.contains("/set, as `auth.jwks_file` says: ") && told[0].place.contains("line 3"), "{told:?}");
}
