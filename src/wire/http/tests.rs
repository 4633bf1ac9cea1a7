//! Heads, good and bad, each read whole and byte by byte.

use super::*;

/// Reads a head that is offered in growing pieces, as a slow client sends it.
fn trickle(bytes: &[u8]) -> Result<Option<(Request, usize)>, HttpError> {
    for len in 0..bytes.len() {
        if let Some(found) = read_head(&bytes[..len])? {
            return Ok(Some(found));
        }
    }
    read_head(bytes)
}

/// What `bytes` is refused with, at once and byte by byte.
#[track_caller]
fn check_refused(bytes: impl AsRef<[u8]>, status: u16) {
    let bytes = bytes.as_ref();
    let shown = String::from_utf8_lossy(bytes);
    let whole = read_head(bytes).map(|found| found.map(|(request, _)| request.path));
    assert_eq!(whole.map_err(|error| error.status), Err(status), "{shown:?}");
    assert_eq!(trickle(bytes).map(|found| found.is_some()).map_err(|error| error.status), Err(status), "{shown:?}");
}

#[track_caller]
fn read(bytes: impl AsRef<[u8]>) -> Request {
    let bytes = bytes.as_ref();
    let (request, len) = read_head(bytes).unwrap().expect("the head is whole");
    let (slow, slow_len) = trickle(bytes).unwrap().expect("the head is whole");
    assert_eq!((&request.path, &request.headers, len), (&slow.path, &slow.headers, slow_len));
    request
}

#[test]
fn a_head_is_read_at_every_split_and_early_bytes_are_left() {
    let head = b"GET /ws/chat/a%20b?token=x&y HTTP/1.1\r\nHost: h:1\r\nX-A:  b \r\nX-A: c\r\n\r\n";
    for early in [b"".as_slice(), b"\x81\x85\x00\x00\x00\x00hello", b"\n\n"] {
        let bytes = [head.as_slice(), early].concat();
        for len in 0..head.len() {
            assert!(read_head(&bytes[..len]).unwrap().is_none(), "{len}");
        }
        let (request, len) = read_head(&bytes).unwrap().unwrap();
        assert_eq!(len, head.len());
        assert_eq!(
            (request.method.as_str(), request.path.as_str(), request.query.as_str()),
            ("GET", "/ws/chat/a%20b", "token=x&y")
        );
        assert_eq!((request.header("x-a"), request.header("none")), (Some("b"), None));
        assert_eq!(request.headers.get_all("x-a").iter().count(), 2);
    }
}

#[test]
fn empty_lines_before_the_request_line_are_ignored() {
    let bytes = b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(read_head(bytes).unwrap().unwrap().1, bytes.len());
}

#[test]
fn request_targets_are_taken_as_rfc_9112_section_3_2_says() {
    let check = |target: &str, expected: Option<(&str, &str, &str)>| {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: host\r\n\r\n");
        let Some(expected) = expected else { return check_refused(bytes, 400) };
        let request = read(bytes);
        assert_eq!(
            (request.path.as_str(), request.query.as_str(), request.header("host").unwrap()),
            expected,
            "{target}"
        );
    };
    check("/", Some(("/", "", "host")));
    check("/a?b?c", Some(("/a", "b?c", "host")));
    check("//a/../b", Some(("//a/../b", "", "host")));
    check("/?%zz", Some(("/", "%zz", "host")));
    check("http://Other:80/a?b", Some(("/a", "b", "Other:80")));
    check("WS://other?b", Some(("/", "b", "other")));
    check("wss://[::1]:9", Some(("/", "", "[::1]:9")));
    check("https://other/", Some(("/", "", "other")));
    for target in [
        "*",
        "host:80",
        "a",
        "http:/a",
        "http://",
        "http:///a",
        "http://u@h/",
        "http://h:x/",
        "ftp://h/",
        "/a#b",
        "/%",
        "/%4",
        "/%zz",
        "/a%2",
        "http://h/%",
        "/\u{e4}",
        "/\u{7f}",
        "/\u{1}",
        "http://h\\/",
    ] {
        check(target, None);
    }
}

#[test]
fn request_lines_other_than_http_1_1_are_refused() {
    let check = |line: &str, status: u16| check_refused(format!("{line}\r\nHost: h\r\n\r\n"), status);
    check("GET / HTTP/1.0", 505);
    check("GET / HTTP/0.9", 505);
    check("GET / HTTP/2.0", 505);
    check("GET / HTTP/1.2", 505);
    check("PRI * HTTP/2.0", 505);
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / a HTTP/1.1",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/11",
        "GET / HTTX/1.1",
        "G(T / HTTP/1.1",
        "/ HTTP/1.1",
        "GET",
    ] {
        check(line, 400);
    }
}

#[test]
fn header_lines_that_two_readers_could_read_differently_are_refused() {
    let check = |lines: &str| check_refused(format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n"), 400);
    for lines in [
        "X-A : b",
        "X-A\t: b",
        "X-A: b\r\n c",
        "X-A: b\r\n\tc",
        " X-A: b",
        ": b",
        "X-A",
        "X A: b",
        "X-\u{e4}: b",
        "X-A: b\u{0}c",
        "X-A: b\u{7}",
        "X-A: b\rc",
        "X-A: \u{7f}",
        "X-A: b\r\r",
        "X-A: b\nX-B: c",
        "(x): y",
        "Authorization: a\r\nAuthorization: b",
    ] {
        check(lines);
    }
    assert_eq!(read("GET / HTTP/1.1\r\nHost: h\r\nX-A: \u{e4}\tb\r\nX-B:\r\n\r\n").header("x-b"), Some(""));
}

#[test]
fn bare_line_feeds_and_what_is_not_http_are_refused_as_soon_as_they_come() {
    for bytes in ["\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: h\n", "GET / HTTP/1.1\r\n\n", "\r\n\n"] {
        check_refused(bytes, 400);
    }
    for first in [b"\x16\x03\x01".as_slice(), b"\x81", b"\0", b" ", b"\xff"] {
        check_refused(first, 400);
    }
}

#[test]
fn there_must_be_one_valid_host() {
    for host in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a,b\r\n",
        "Host: u@a\r\n",
        "Host: a:b\r\n",
        "Host: a/b\r\n",
        "Host: \u{e4}\r\n",
        "Host: a:99999\r\n",
    ] {
        check_refused(format!("GET / HTTP/1.1\r\n{host}\r\n"), 400);
        // RFC 9112 section 3.2: the duty holds for an absolute target too.
        check_refused(format!("GET http://x/ HTTP/1.1\r\n{host}\r\n"), 400);
    }
    assert_eq!(read("GET / HTTP/1.1\r\nhOsT: [::1]:80\r\n\r\n").header("host"), Some("[::1]:80"));
}

#[test]
fn an_announced_body_is_told_and_a_doubtful_length_is_refused() {
    let check = |lines: &str, expected: Result<Body, u16>| {
        let bytes = format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        match expected {
            Ok(body) => {
                let request = read(bytes);
                assert_eq!((request.body(), request.body_announced()), (Ok(body), body != Body::None), "{lines:?}");
            }
            Err(status) => check_refused(bytes, status),
        }
    };
    check("", Ok(Body::None));
    check("Content-Length: 0\r\n", Ok(Body::None));
    check("Content-Length: 05\r\n", Ok(Body::Bytes(5)));
    check("Content-Length: 18446744073709551615\r\n", Ok(Body::Bytes(u64::MAX)));
    check("Transfer-Encoding: Chunked\r\n", Ok(Body::Chunked));
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: \u{b2}\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: xchunke\r\n",
    ] {
        check(lines, Err(400));
    }
    check("Transfer-Encoding: gzip, chunked\r\n", Err(501));
    check("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(501));
    check("Transfer-Encoding: \u{b}chunked\r\n", Err(400));
}

#[test]
fn a_head_may_be_as_long_as_its_bound() {
    for (len, status) in [(HEAD_BYTES_MAX - 1, None), (HEAD_BYTES_MAX, None), (HEAD_BYTES_MAX + 1, Some(431))] {
        let fixed = "GET / HTTP/1.1\r\nHost: h\r\nX-A: \r\n\r\n".len();
        let bytes = format!("GET / HTTP/1.1\r\nHost: h\r\nX-A: {}\r\n\r\n", "a".repeat(len - fixed));
        assert_eq!(bytes.len(), len);
        match status {
            None => assert_eq!(read_head(bytes.as_bytes()).unwrap().unwrap().1, len),
            Some(status) => check_refused(bytes, status),
        }
    }
    assert!(read_head(&[b'a'; HEAD_BYTES_MAX - 1]).unwrap().is_none());
    check_refused([b'a'; HEAD_BYTES_MAX], 431);
}

#[test]
fn a_head_may_have_as_many_lines_as_its_bound() {
    for (count, allowed) in [(HEADERS_COUNT_MAX - 1, true), (HEADERS_COUNT_MAX, true), (HEADERS_COUNT_MAX + 1, false)] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a:b\r\n".repeat(count - 1));
        if allowed {
            assert_eq!(read(bytes).headers.len(), count);
        } else {
            check_refused(bytes, 431);
        }
    }
}

#[test]
fn a_request_of_this_machine_names_it_and_was_not_passed_on() {
    for (lines, expected) in [
        ("Host: localhost", true),
        ("Host: 127.0.0.1:9000", true),
        ("Host: [::1]:9000", true),
        ("Host: LOCALHOST:1", true),
        ("Host: evil.example:9000", false),
        ("Host: localhost.evil.example", false),
        ("Host: 192.0.2.1", false),
        ("Host: localhost\r\nX-Forwarded-For: 127.0.0.1", false),
        ("Host: localhost\r\nX-Real-IP: 127.0.0.1", false),
        ("Host: localhost\r\nForwarded: for=127.0.0.1", false),
        ("Host: localhost\r\nVia: 1.1 proxy", false),
    ] {
        let head = format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n");
        assert_eq!(read_head(head.as_bytes()).unwrap().unwrap().0.is_domestic(), expected, "{lines}");
    }
    let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(!read_head(absolute.as_bytes()).unwrap().unwrap().0.is_domestic());
}

#[test]
fn the_end_of_a_head_is_seen_wherever_it_is_cut() {
    let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nmore";
    let end = head.len() - 4;
    for first in 0..end {
        for second in first..=head.len() {
            let (before, bytes) = (&head[..first], &head[first..second]);
            assert_eq!(ends_head(before, bytes), second >= end, "{first} and {second}");
        }
    }
}
