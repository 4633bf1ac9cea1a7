//! Which material is a key, and for what.

use super::pairs::Pair;
use super::*;
use data_encoding::BASE64URL_NOPAD;

const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC/X1+Hz4Y+tkCSVuJdDKEvKzhA
RYrVAxAI5I+RD8lnJlK39t7R8hTC15kFbmZ8RoPJLz3bfVtHZ3IDm+zvFMB2DTHq
+y75oUsEM800kyTKiU+0fOsko1ydNnL73d9pqWqPVyQ59Qdj0X2sh29oC+6skr9Y
uNrxS5uStxb/sZWMtwIDAQAB
-----END PUBLIC KEY-----
";
const P_384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEJHHuDXTJ10saxTNfjllc4OfQYQiXJ16k
I4xG9Urme6gTJSNLqzI8cBeIgEHL/bRFUQScleMLzNL5AiGRRHjRTvwc3U9iAVcn
zRFtjJh61bJaf701okUAE3pLdpmaUGJg
-----END PUBLIC KEY-----
";
const X25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VuAyEAqwj7seksYDp/cxnkWngu2EpMW+MzF5uoVqxna6mCoGg=
-----END PUBLIC KEY-----
";
const P_256_COMPRESSED: &str = "-----BEGIN PUBLIC KEY-----
MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgACJ7zEJAcJ2vcfZzjQOJrSwKLlm7pb
lX7Z4ZsbD3EQ4jY=
-----END PUBLIC KEY-----
";

fn public() -> impl Iterator<Item = Signature> {
    Signature::ALL.into_iter().map(|(algorithm, _)| algorithm).filter(|algorithm| !algorithm.is_shared())
}

#[test]
fn a_public_key_is_good_for_its_algorithm_and_verifies_only_what_its_pair_signed() {
    let pairs = Pair::all();
    for pair in &pairs {
        for algorithm in public() {
            let read = Key::public_pem(None, algorithm, &pair.pem());
            assert_eq!(read.is_ok(), algorithm == pair.algorithm(), "{pair:?} {algorithm:?}");
        }
        let key = Key::public_pem(Some("k".to_owned()), pair.algorithm(), &pair.pem()).unwrap();
        assert_eq!((key.id(), key.algorithm(), key.is_weak()), (Some("k"), pair.algorithm(), false));
        assert!(key.sign("message").is_err(), "a public key signs nothing");
        for other in &pairs {
            let signature = BASE64URL_NOPAD.encode(&other.sign("message"));
            assert_eq!(key.verifies(&signature, "message"), std::ptr::eq(pair, other), "{pair:?} {other:?}");
            assert!(!key.verifies(&signature, "another message"));
        }
    }
}

#[test]
fn what_is_no_public_key_is_refused_when_it_is_read() {
    let good = Pair::ed().pem();
    for pem in [
        "",
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\n",
        RSA_1024,
        P_384,
        X25519,
        P_256_COMPRESSED,
        &good.repeat(2),
        &good.replace("PUBLIC", "PRIVATE"),
        &good.replace("PUBLIC KEY", "CERTIFICATE"),
        &good.replace("PUBLIC", "RSA PUBLIC"),
        &good.replace("PUBLIC KEY", "EC PRIVATE KEY"),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF9d ada",
    ] {
        for algorithm in public() {
            let error = Key::public_pem(None, algorithm, pem).unwrap_err();
            assert_eq!(error == KeyFault::Private, pem.contains("PRIVATE"), "{error}");
        }
    }
    assert!(Key::public_pem(None, Signature::Rs256, RSA_1024).unwrap_err() == KeyFault::RsaBits);
    for shared in [Signature::Hs256, Signature::Hs384, Signature::Hs512] {
        assert!(Key::public_pem(None, shared, &good).unwrap_err() == KeyFault::OtherKind(shared));
    }
}

#[test]
fn an_rsa_key_with_which_anything_would_verify_is_none() {
    let n = [&[0xc1][..], &[7; 255]].concat();
    for (exponent, good) in
        [(&[1, 0, 1][..], true), (&[3], true), (&[1], false), (&[0], false), (&[2], false), (&[], false)]
    {
        assert_eq!(Key::rsa(None, &n, exponent).is_ok(), good, "{exponent:?}");
    }
    for n in [&[][..], &[0], &[1], &[7; 128], &[0; 256], &[7; 1025]] {
        assert!(Key::rsa(None, n, &[1, 0, 1]).is_err(), "{} bytes", n.len());
    }
}

#[test]
fn a_secret_is_for_shared_algorithms_and_no_pem_file() {
    let secret = b"a secret of at least thirty-two bytes, and of sixty-four too, as here";
    for (algorithm, name) in Signature::ALL {
        assert_eq!(Key::secret(None, algorithm, secret).is_ok(), algorithm.is_shared(), "{name}");
        assert_eq!((Signature::parse(name), algorithm.name()), (Some(algorithm), name));
    }
    for pair in Pair::all() {
        for pem in [pair.pem(), format!("\n {}", pair.pem())] {
            assert!(Key::secret(None, Signature::Hs256, pem.as_bytes()).unwrap_err() == KeyFault::PemAsSecret);
        }
    }
    assert_eq!(Key::secret(None, Signature::Hs256, b"").unwrap_err(), KeyFault::Empty);
    let min = limits::HS256_SECRET_BYTES_MIN;
    for (algorithm, min) in [(Signature::Hs256, min), (Signature::Hs384, min * 3 / 2), (Signature::Hs512, min * 2)] {
        for (len, weak) in [(1, true), (min - 1, true), (min, false), (min + 1, false)] {
            assert_eq!(Key::secret(None, algorithm, &vec![7; len]).unwrap().is_weak(), weak, "{algorithm:?} {len}");
        }
    }
    for name in ["none", "None", "hs256", "RS384", "RS512", "PS256", "ES384", "EdDsa", "ES256K", ""] {
        assert_eq!(Signature::parse(name), None, "{name}");
    }
}

#[test]
fn a_key_that_is_read_once_more_is_the_same_and_any_other_is_not() {
    let secret =
        |id: Option<&str>, algorithm, secret: &[u8]| Key::secret(id.map(str::to_owned), algorithm, secret).unwrap();
    let pairs = Pair::all();
    let pem = |pair: &Pair| Key::public_pem(Some("k".to_owned()), pair.algorithm(), &pair.pem()).unwrap();
    let all = || {
        let mut all = vec![
            secret(None, Signature::Hs256, b"one secret of at least thirty-two bytes"),
            secret(None, Signature::Hs384, b"one secret of at least thirty-two bytes"),
            secret(None, Signature::Hs256, b"two secrets of at least thirty-two bytes"),
            secret(Some("k"), Signature::Hs256, b"one secret of at least thirty-two bytes"),
        ];
        all.extend(pairs.iter().map(pem));
        all.push(Key::rsa(None, &[0xff; 256], &[1, 0, 1]).unwrap());
        all.push(Key::rsa(None, &[0xfd; 256], &[1, 0, 1]).unwrap());
        all
    };
    for (index, key) in all().iter().enumerate() {
        for (other_index, other) in all().iter().enumerate() {
            assert_eq!(key.is_same(other), index == other_index, "{index} {other_index}");
        }
    }
    let keys = |count: usize| Keys::new(all().into_iter().take(count).collect()).unwrap();
    assert!(keys(2).are_same(&keys(2)) && !keys(2).are_same(&keys(3)) && !keys(3).are_same(&keys(2)));
}
