//! The page and what it loads, carried in the binary: it must work from one file and without a network.
//!
//! Each file has a tag, the hash of its bytes, by which a browser that has it already is spared it; and a packed form,
//! made when it is first asked for and kept. Absent: names that carry a version; a file is asked about each time, which
//! costs a short answer, and is never stale after an upgrade.

use std::io::Write as _;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::wire::http::{Request, Response};

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    path: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    tag: OnceLock<String>,
    /// Empty where packing failed.
    packed: OnceLock<Vec<u8>>,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

static ASSETS: [Asset; 16] = [
    Asset::new("/", HTML, include_bytes!("page/index.html")),
    Asset::new("/page/demo.js", SCRIPT, include_bytes!("page/demo.js")),
    Asset::new("/page/dom.js", SCRIPT, include_bytes!("page/dom.js")),
    Asset::new("/page/figures.js", SCRIPT, include_bytes!("page/figures.js")),
    Asset::new("/page/icon.svg", IMAGE, include_bytes!("page/icon.svg")),
    Asset::new("/page/limits.js", SCRIPT, include_bytes!("page/limits.js")),
    Asset::new("/page/link.js", SCRIPT, include_bytes!("page/link.js")),
    Asset::new("/page/page.css", STYLE, include_bytes!("page/page.css")),
    Asset::new("/page/page.js", SCRIPT, include_bytes!("page/page.js")),
    Asset::new("/page/plots.js", SCRIPT, include_bytes!("page/plots.js")),
    Asset::new("/page/series.js", SCRIPT, include_bytes!("page/series.js")),
    Asset::new("/page/shards.js", SCRIPT, include_bytes!("page/shards.js")),
    Asset::new("/page/tail.js", SCRIPT, include_bytes!("page/tail.js")),
    Asset::new("/page/theme.js", SCRIPT, include_bytes!("page/theme.js")),
    Asset::new("/page/uplot.js", SCRIPT, include_bytes!("page/uplot/uPlot.iife.min.js")),
    Asset::new("/page/words.js", SCRIPT, include_bytes!("page/words.js")),
];

impl Asset {
    const fn new(path: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        Self { path, media_type, bytes, tag: OnceLock::new(), packed: OnceLock::new() }
    }

    /// RFC 9110 section 8.8.1: weak, as one tag stands for both forms of the same content.
    fn tag(&self) -> &str {
        self.tag.get_or_init(|| format!("W/\"{}\"", HEXLOWER.encode(&digest(&SHA256, self.bytes).as_ref()[..16])))
    }

    fn packed(&self) -> &[u8] {
        self.packed.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(self.bytes).and_then(|()| encoder.finish()).unwrap_or_default()
        })
    }
}

/// The file at a raw path.
pub(super) fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// The file that a request asks for, unless the peer has it.
pub(super) fn answer(request: &Request) -> Option<Response> {
    let asset = find(&request.path)?;
    let has = request.header("if-none-match").is_some_and(|tags| names(tags, asset.tag()));
    let response = if has {
        Response::new(304)
    } else if request.header("accept-encoding").is_some_and(takes_gzip) && !asset.packed().is_empty() {
        Response::new(200).body(asset.media_type, asset.packed()).header("Content-Encoding", "gzip")
    } else {
        Response::new(200).body(asset.media_type, asset.bytes)
    };
    let response = response.header("ETag", asset.tag()).header("Vary", "Accept-Encoding");
    Some(response.header("Cache-Control", "no-cache"))
}

/// RFC 9110 section 13.1.2: any of a list, compared weakly, or any at all.
fn names(tags: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    tags.trim() == "*" || tags.split(',').any(|each| opaque(each) == opaque(tag))
}

/// RFC 9110 section 12.5.3: `gzip` is listed, and not with a weight of nothing.
fn takes_gzip(encodings: &str) -> bool {
    encodings.split(',').any(|encoding| {
        let mut parts = encoding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        is_gzip && weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0))
    })
}

#[cfg(test)]
mod tests;
