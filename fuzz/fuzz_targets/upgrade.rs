//! The opening handshake: any bytes are a head, not yet one, or refused, and a byte at a time changes nothing.
//!
//! What is let through must hold what `wire::http` promises of it, and the accept key must be the one that
//! tungstenite's own handshake gives.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server;
use waystation::wire::http::{Request, decode_segment, query_value, read_head};
use waystation::wire::upgrade::{Origins, Upgrade, accept_response, check, choose_protocol};

fuzz_target!(|data: &[u8]| {
    // The first two bytes choose where the stream is cut.
    let Some(([low, high], stream)) = data.split_first_chunk() else { return };
    let cut = usize::from(u16::from_le_bytes([*low, *high])) % (stream.len() + 1);
    match read_head(stream) {
        Ok(None) => assert!(matches!(read_head(&stream[..cut]), Ok(None))),
        Ok(Some((request, len))) => {
            let early = read_head(&stream[..cut]).expect("the beginning of a good head is good");
            assert_eq!(early.is_some(), cut >= len);
            check_request(&request, &stream[..len]);
        }
        Err(refused) => {
            assert!(matches!(refused.status, 400 | 431 | 501 | 505));
            assert!(matches!(read_head(&stream[..cut]), Ok(None) | Err(_)));
            assert!(!refused.response().encode(false).is_empty());
        }
    }
});

fn check_request(request: &Request, head: &[u8]) {
    assert!(request.path.starts_with('/') && !request.path.contains('?'));
    assert!(request.header("host").is_some_and(|host| !host.is_empty()));
    assert!(request.body().is_ok());
    for segment in request.path.split('/') {
        if let Ok(id) = decode_segment(segment) {
            assert!((1..=128).contains(&id.len()) && !id.chars().any(char::is_control));
        }
    }
    let _ = query_value(&request.query, "token");
    match check(request) {
        Ok(upgrade) => check_upgrade(&upgrade, head),
        Err(refused) => assert!(matches!(refused.status, 400 | 405 | 426)),
    }
}

fn check_upgrade(upgrade: &Upgrade, head: &[u8]) {
    let (protocol, _) = choose_protocol(&upgrade.protocols);
    let response = accept_response(upgrade, protocol);
    assert_eq!(response.windows(4).filter(|window| window == b"\r\n\r\n").count(), 1);
    let rule = Origins::new(&["https://example.com".to_owned()]).expect("a good list");
    if rule.allows(upgrade.origin.as_deref(), &upgrade.host, false) {
        let origin = upgrade.origin.as_deref().map(str::to_ascii_lowercase);
        let port = origin.as_deref().map(|origin| origin.strip_prefix("https://example.com").expect("the listed host"));
        assert!(
            port.is_none_or(|port| port.is_empty() || port.trim_start_matches(":").trim_start_matches('0') == "443")
        );
    }
    // Tungstenite takes less in some places (lists in Upgrade); where it takes the request, it is the judge.
    if let Ok(Some((_, theirs))) = server::Request::try_parse(head)
        && let Ok(theirs) = server::create_response(&theirs)
    {
        assert_eq!(theirs.headers()["Sec-WebSocket-Accept"], upgrade.accept_key.as_str());
    }
}
