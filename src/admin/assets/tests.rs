use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;
use crate::admin::answer::encode;
use crate::admin::route::{Access, Route};
use crate::wire::http::read_head;

/// What the page may weigh, all its files together and unpacked.
const PAGE_BYTES_MAX: usize = 120_000;

fn ask(path: &str, headers: &str, method: &str) -> (String, Vec<u8>) {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let (request, _) = read_head(head.as_bytes()).unwrap().unwrap();
    let bytes = encode(answer(&request).unwrap(), method);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end..].to_vec())
}

/// The text of every file that is ours.
fn ours() -> impl Iterator<Item = (&'static str, &'static str)> {
    let ours = ASSETS.iter().filter(|asset| asset.path != "/page/uplot.js");
    ours.map(|asset| (asset.path, std::str::from_utf8(asset.bytes).unwrap()))
}

#[test]
fn each_file_is_served_whole_packed_or_not_at_all_if_the_peer_has_it() {
    for asset in &ASSETS {
        let path = asset.path;
        let (head, body) = ask(path, "", "GET");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
        assert_eq!(body, asset.bytes, "{path}");
        for line in [
            &format!("Content-Type: {}", asset.media_type),
            &format!("Content-Length: {}", body.len()),
            &format!("ETag: {}", asset.tag()),
            "Vary: Accept-Encoding",
            "Cache-Control: no-cache",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{path}: {line} in {head}");
        }
        assert_eq!(ask(path, "", "HEAD"), (head, Vec::new()), "{path}");

        let (head, packed) = ask(path, "Accept-Encoding: br, gzip\r\n", "GET");
        assert!(head.contains("\r\nContent-Encoding: gzip\r\n"), "{path}: {head}");
        let mut unpacked = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, asset.bytes, "{path}");

        let (head, none) = ask(path, &format!("If-None-Match: {}\r\n", asset.tag()), "GET");
        assert!(head.starts_with("HTTP/1.1 304 ") && none.is_empty(), "{path}: {head}");
        assert!(head.contains("\r\nETag: ") && !head.contains("Content-Length"), "{path}: {head}");
    }
}

#[test]
fn tags_and_codings_are_read_as_the_standard_says() {
    let tag = "W/\"a\"";
    for (tags, expected) in [
        ("W/\"a\"", true),
        ("\"a\"", true),
        ("\"b\", W/\"a\"", true),
        ("*", true),
        ("\"b\"", false),
        ("a", false),
        ("", false),
    ] {
        assert_eq!(names(tags, tag), expected, "{tags}");
    }
    for (encodings, expected) in [
        ("gzip", true),
        ("br;q=1.0, GZIP;q=0.1", true),
        ("gzip;q=0", false),
        ("gzip; q=0.000", false),
        ("gzip;q=x", false),
        ("gzipped", false),
        ("br", false),
        ("*", false),
        ("", false),
    ] {
        assert_eq!(takes_gzip(encodings), expected, "{encodings}");
    }
    for (one, other) in ASSETS.iter().zip(&ASSETS[1..]) {
        assert!(one.tag() != other.tag() && one.path < other.path, "{}", other.path);
    }
}

#[test]
fn the_page_is_light() {
    let bytes: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
    assert!(bytes < PAGE_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn the_page_loads_only_what_is_served_and_has_nothing_inline() {
    let page = std::str::from_utf8(ASSETS[0].bytes).unwrap();
    let served = |target: &str| Route::find(target).is_ok_and(|route| route.access() == Access::Public);
    for rest in [" src=\"", " href=\"/"].into_iter().flat_map(|reference| page.split(reference).skip(1)) {
        let target = rest.split('"').next().unwrap().trim_start_matches('/');
        assert!(served(&format!("/{target}")), "{target}");
    }
    assert_eq!(
        page.matches("<script").count(),
        page.matches("<script src=").count() + page.matches("<script type=\"module\" src=").count()
    );
    for (path, text) in ours() {
        for rest in text.split(" from \"./").skip(1) {
            let target = rest.split('"').next().unwrap();
            assert!(served(&format!("/page/{target}")), "{path} imports {target}");
        }
        for inline in ["<style", " style=", " onclick=\"", " onload=", "javascript:", "https://", "url("] {
            assert!(!text.contains(inline), "{path}: {inline}");
        }
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("] {
            assert!(!text.contains(sink), "{path}: {sink}: text from the wire stays text");
        }
    }
}
