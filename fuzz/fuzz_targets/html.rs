//! HTML in chat: what is escaped is JSON again, means the same text, and holds nothing that a browser acts on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use waystation::envelope::html::{is_active, write_escaped};

fuzz_target!(|bytes: &[u8]| {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    // The functions take what the parser has found to be a JSON string; others are made one.
    let quoted = serde_json::to_string(raw).expect("a string");
    check(&quoted, Some(raw));
    if raw.starts_with('"') && serde_json::from_str::<&serde_json::value::RawValue>(raw).is_ok() && raw.trim() == raw {
        check(raw, serde_json::from_str::<String>(raw).ok().as_deref());
    }
});

/// `meant` is what the string says; a lone half of a surrogate pair, which JSON allows, says nothing.
fn check(raw: &str, meant: Option<&str>) {
    let mut out = Vec::new();
    write_escaped(raw, &mut out);
    let out = String::from_utf8(out).expect("text stays text");
    serde_json::from_str::<&serde_json::value::RawValue>(&out).expect("a JSON string stays one");
    let _ = is_active(raw);
    let Some(meant) = meant else { return };
    let escaped: String = serde_json::from_str(&out).expect("what had a meaning has one");
    assert!(!escaped.contains(['<', '>', '"', '\'']));
    let back = escaped
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&");
    assert_eq!(back, meant);
    // A tag begins with < and a letter; whoever has one is found.
    let pairs = meant.as_bytes().windows(2);
    if pairs.into_iter().any(|pair| pair[0] == b'<' && pair[1].is_ascii_alphabetic()) {
        assert!(is_active(raw));
    }
}
