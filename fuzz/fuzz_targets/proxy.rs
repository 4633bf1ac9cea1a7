//! What trusted proxies write: however a header of the PROXY protocol is cut it says the same, it takes no more
//! than its bound, and of the hops in `X-Forwarded-For` nobody is believed whom no trusted one has named.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use tungstenite::http::{HeaderMap, HeaderValue};
use waystation::limits::{FORWARDED_HOPS_MAX, PROXY_HEADER_BYTES_MAX};
use waystation::wire::event_stream::{position, write_event};
use waystation::wire::peer::Peer;
use waystation::wire::proxy::{Proxies, read_proxy_header};

const PEER: Peer = Peer::Ip(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)));

fuzz_target!(|data: &[u8]| {
    // The first two bytes choose where the stream is cut.
    let Some(([low, high], stream)) = data.split_first_chunk() else { return };
    let cut = usize::from(u16::from_le_bytes([*low, *high])) % (stream.len() + 1);
    check_header(stream, cut);
    check_hops(stream);
    check_reader(stream);
});

fn check_header(stream: &[u8], cut: usize) {
    let early = read_proxy_header(&stream[..cut]);
    match read_proxy_header(stream) {
        Ok(Some((source, len))) => {
            assert!((1..=PROXY_HEADER_BYTES_MAX).contains(&len) && len <= stream.len());
            let expected = if cut < len { None } else { Some((source, len)) };
            assert_eq!(early, Ok(expected), "a header says the same however it comes");
        }
        Ok(None) => {
            assert!(stream.len() < PROXY_HEADER_BYTES_MAX, "what is not whole by then never will be");
            assert_eq!(early, Ok(None));
        }
        // What is bad may show late, but what was whole before does not become bad.
        Err(_) => assert!(!matches!(early, Ok(Some(_)))),
    }
}

fn check_hops(written: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in written.split(|byte| *byte == b'\n') {
        if let Ok(line) = HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", line);
        }
    }
    let nobody = Proxies::new(&[], false).expect("an empty list");
    assert_eq!(nobody.client(PEER, &headers), PEER);
    let trusted = Proxies::new(&["10.0.0.0/8".to_owned(), "::1".to_owned()], true).expect("a good list");
    let client = trusted.client(PEER, &headers);
    assert_eq!(client, client.to_canonical());
    let hops: Vec<&[u8]> = written.split(|byte| *byte == b'\n').flat_map(|line| line.split(|b| *b == b',')).collect();
    let named = |hop: &&[u8]| {
        let address = std::str::from_utf8(hop).ok().and_then(|hop| hop.trim_ascii().parse::<IpAddr>().ok());
        address.is_some_and(|address| Peer::Ip(address.to_canonical()) == client)
    };
    let is_hop = hops.iter().any(named);
    assert!(client == PEER || is_hop, "{client} is named by nobody");
    assert!(FORWARDED_HOPS_MAX > 0);
}

/// The reader's side of an event stream: its position, and the text that comes back from the lines.
fn check_reader(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let place = position(text);
    if let Some(epoch) = place.epoch {
        let again = position(&format!("{epoch}:{}", place.seq));
        assert_eq!((again.epoch, again.seq), (place.epoch, place.seq));
    }
    let mut event = Vec::new();
    write_event(None, bytes, &mut event);
    let event = std::str::from_utf8(&event).expect("text stays text");
    let body = event.strip_suffix("\n\n").expect("an event ends with an empty line");
    let lines: Vec<&str> =
        body.split('\n').map(|line| line.strip_prefix("data: ").expect("only lines of data")).collect();
    assert_eq!(lines.join("\n"), text.replace("\r\n", "\n").replace('\r', "\n"));
}
