use super::*;
use tungstenite::http::HeaderValue;

fn proxies(trusted: &[&str], header: bool) -> Proxies {
    Proxies::new(&trusted.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), header).unwrap()
}

fn address(text: &str) -> Peer {
    if text == UNIX { Peer::Unix } else { Peer::Ip(text.parse().unwrap()) }
}

#[test]
fn the_rightmost_hop_that_is_not_trusted_is_the_client() {
    let proxies = proxies(&["10.0.0.0/8", "2001:db8::/32", "unix", "192.0.2.7"], false);
    for (peer, lines, expected) in [
        ("10.0.0.1", &[][..], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
        ("unix", &[][..], "unix"),
        ("unix", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("192.0.2.7", &["203.0.113.9"], "203.0.113.9"),
        ("192.0.2.8", &["203.0.113.9"], "192.0.2.8"),
        ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.2.3.4"], "203.0.113.9"),
        ("10.0.0.1", &["1.1.1.1,203.0.113.9", "10.2.3.4 ,\t2001:db8::5"], "203.0.113.9"),
        ("10.0.0.1", &["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        ("10.0.0.1", &["2001:db9::1"], "2001:db9::1"),
        ("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
        // What is no address ends the search at the hop that passed it on.
        ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.9, 10.2.3.4:443"], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.9,, 10.2.3.4"], "10.2.3.4"),
        ("10.0.0.1", &["203.0.113.9, 010.2.3.4"], "10.0.0.1"),
        ("10.0.0.1", &[""], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.9, \u{e4}"], "10.0.0.1"),
    ] {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        assert_eq!(proxies.client(address(peer), &headers), address(expected), "{peer} {lines:?}");
    }
}

#[test]
fn as_many_hops_are_looked_at_as_the_bound_says() {
    let proxies = proxies(&["10.0.0.0/8"], false);
    for (own, expected) in [
        (FORWARDED_HOPS_MAX - 1, "203.0.113.9"),
        (FORWARDED_HOPS_MAX, "10.2.3.4"),
        (FORWARDED_HOPS_MAX + 1, "10.2.3.4"),
    ] {
        let line = format!("203.0.113.9{}", ",10.2.3.4".repeat(own));
        let headers = HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), line.parse().unwrap())]);
        assert_eq!(proxies.client(address("10.0.0.1"), &headers), address(expected), "{own}");
    }
}

#[test]
fn only_trusted_peers_bring_a_header_and_only_if_that_is_configured() {
    for (header, peer, expected) in
        [(true, "10.1.1.1", true), (true, "11.1.1.1", false), (false, "10.1.1.1", false), (true, "unix", false)]
    {
        assert_eq!(proxies(&["10.0.0.0/8"], header).expect_header(address(peer)), expected);
        assert_eq!(proxies(&["unix"], header).expect_header(address(peer)), header && peer == "unix");
    }
    assert!(!Proxies::default().expect_header(address("127.0.0.1")));
}

#[test]
fn what_is_no_network_is_an_error_that_names_it() {
    for text in ["", "10.0.0.0/33", "10.0.0", "localhost", "10.0.0.0/8 ", "::/129"] {
        assert!(Proxies::new(&[text.to_owned()], false).unwrap_err().contains(&format!("{text:?}")), "{text}");
    }
    for (count, good) in [(PROXIES_COUNT_MAX - 1, true), (PROXIES_COUNT_MAX, true), (PROXIES_COUNT_MAX + 1, false)] {
        assert_eq!(Proxies::new(&vec!["10.0.0.0/8".to_owned(); count], false).is_ok(), good);
    }
}

/// A header of version 2 with `tlv` bytes after the addresses.
fn binary(command: u8, family: u8, addresses: &[u8], tlv: usize) -> Vec<u8> {
    let len = u16::try_from(addresses.len() + tlv).unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend(len.to_be_bytes());
    header.extend(addresses);
    header.extend(vec![0; tlv]);
    header
}

#[test]
fn headers_of_both_versions_are_read_however_they_are_cut() {
    let four = [203, 0, 113, 9, 10, 0, 0, 1, 0xc0, 0, 0, 80];
    let mut six = [0_u8; 36];
    six[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    let longest = PROXY_HEADER_BYTES_MAX - 16 - four.len();
    for (header, expected) in [
        (b"PROXY TCP4 203.0.113.9 10.0.0.1 49152 80\r\n".to_vec(), Some("203.0.113.9")),
        (b"PROXY TCP6 2001:db8:: ::1 49152 80\r\n".to_vec(), Some("2001:db8::")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (binary(0x21, 0x11, &four, 0), Some("203.0.113.9")),
        (binary(0x21, 0x11, &four, longest), Some("203.0.113.9")),
        (binary(0x21, 0x21, &six, 7), Some("2001:db8::")),
        (binary(0x20, 0x00, &[], 0), None),
        (binary(0x20, 0x11, &four, 0), None),
    ] {
        for cut in 0..header.len() {
            assert_eq!(read_proxy_header(&header[..cut]), Ok(None), "{cut} of {header:?}");
        }
        let with_more = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
        for bytes in [&header, &with_more] {
            assert_eq!(
                read_proxy_header(bytes),
                Ok(Some((expected.map(|text| text.parse().unwrap()), header.len()))),
                "{header:?}"
            );
        }
    }
}

#[test]
fn anything_else_is_bad_as_soon_as_it_shows() {
    let four = [203, 0, 113, 9, 10, 0, 0, 1, 0xc0, 0, 0, 80];
    let over = PROXY_HEADER_BYTES_MAX - 16 - four.len() + 1;
    for header in [
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"PROXY TCP4\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.9\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.999 10.0.0.1 1 2\r\n".to_vec(),
        b"PROXY TCP9 203.0.113.9 10.0.0.1 1 2\r\n".to_vec(),
        [&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(),
        binary(0x31, 0x11, &four, 0),
        binary(0x2f, 0x11, &four, 0),
        binary(0x21, 0x11, &four[..8], 0),
        binary(0x21, 0x11, &four, over),
        vec![0x16, 3, 1],
    ] {
        assert_eq!(read_proxy_header(&header), Err(BadHeader), "{:?}", String::from_utf8_lossy(&header));
    }
}
