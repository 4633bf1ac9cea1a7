//! What becomes of HTML in chat: escaped or found, where the operator asks for it.
//!
//! By default neither happens: a client that shows text as text needs none of it, and what is escaped twice
//! is spoilt. All of this reads raw JSON, string by string, so that `\u003c` is the `<` that the receiver will see.

/// Appends raw JSON with the five characters that mean something in HTML as references, in all its strings, the names
/// of members included.
pub fn write_escaped(raw: &str, out: &mut Vec<u8>) {
    for part in Parts(raw) {
        match part {
            Part::Text(inner) => write_escaped_text(inner, out),
            Part::Between(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

/// Appends a raw JSON object with the five characters as references in all that its members `texts` hold, wherever
/// in it they stand, and all that stands under a name with escapes, which may be one of these. Returns whether nothing
/// active was left in the rest of it, names included.
pub fn write_escaped_within(raw: &str, texts: &[&str], out: &mut Vec<u8>) -> bool {
    let mut passive = true;
    let (mut depth, mut text_at) = (0_usize, None);
    let mut parts = Parts(raw).peekable();
    while let Some(part) = parts.next() {
        match part {
            Part::Between(text) => {
                for byte in text.bytes() {
                    match byte {
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                }
                text_at = text_at.filter(|at| depth >= *at);
                out.extend_from_slice(text.as_bytes());
            }
            Part::Text(inner) => {
                let is_name = matches!(parts.peek(), Some(Part::Between(text)) if text.trim_start().starts_with(':'));
                if is_name && text_at.is_none_or(|at| at == depth) {
                    text_at = (texts.contains(&inner) || inner.contains('\\')).then_some(depth);
                }
                if text_at.is_some() {
                    write_escaped_text(inner, out);
                } else {
                    passive &= !is_active_text(inner);
                    out.extend_from_slice(b"\"");
                    out.extend_from_slice(inner.as_bytes());
                    out.extend_from_slice(b"\"");
                }
            }
        }
    }
    passive
}

/// Whether a string of raw JSON holds what a browser could take for a tag, or a script's address or attribute.
#[must_use]
pub fn is_active(raw: &str) -> bool {
    Parts(raw).any(|part| matches!(part, Part::Text(inner) if is_active_text(inner)))
}

fn write_escaped_text(inner: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for (written, meant) in Characters(inner) {
        let text = match meant {
            Some('&') => "&amp;",
            Some('<') => "&lt;",
            Some('>') => "&gt;",
            Some('"') => "&quot;",
            Some('\'') => "&#39;",
            _ => written,
        };
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

fn is_active_text(inner: &str) -> bool {
    const WORDS: [&str; 5] = ["javascript:", "vbscript:", "data:text/html", "onload=", "onerror="];
    let mut tight = String::new();
    let mut after_open = false;
    for (_, meant) in Characters(inner) {
        let meant = meant.unwrap_or(char::REPLACEMENT_CHARACTER);
        if after_open && (meant.is_ascii_alphabetic() || matches!(meant, '/' | '!' | '?')) {
            return true;
        }
        after_open = meant == '<';
        // Browsers leave out blanks and control characters within a scheme, and allow them before an equals sign.
        if !(meant.is_whitespace() || meant.is_control()) {
            tight.push(meant.to_ascii_lowercase());
        }
    }
    WORDS.iter().any(|word| tight.contains(word))
}

/// A piece of raw JSON.
enum Part<'a> {
    /// The inside of a string, a value or a name.
    Text(&'a str),
    /// What stands between two strings.
    Between(&'a str),
}

/// Valid JSON, cut at its strings.
struct Parts<'a>(&'a str);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some(inside) = self.0.strip_prefix('"') else {
            let (between, rest) = self.0.split_at(self.0.find('"').unwrap_or(self.0.len()));
            self.0 = rest;
            return Some(Part::Between(between));
        };
        let mut escaped = false;
        let end = inside.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let (inner, rest) = inside.split_at(end.unwrap_or(inside.len()));
        self.0 = rest.strip_prefix('"').unwrap_or(rest);
        Some(Part::Text(inner))
    }
}

/// The characters of a valid JSON string's inside: as written, and as meant. Half a surrogate pair means none
/// that concerns HTML.
struct Characters<'a>(&'a str);

impl<'a> Iterator for Characters<'a> {
    type Item = (&'a str, Option<char>);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.0.chars().next()?;
        let escape = self.0.as_bytes().get(1).filter(|_| first == '\\');
        let (len, meant) = match escape {
            None => (first.len_utf8(), Some(first)),
            Some(b'u') => {
                let number = self.0.get(2..6).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                (6, number.and_then(char::from_u32))
            }
            Some(b'b') => (2, Some('\u{8}')),
            Some(b'f') => (2, Some('\u{c}')),
            Some(b'n') => (2, Some('\n')),
            Some(b'r') => (2, Some('\r')),
            Some(b't') => (2, Some('\t')),
            Some(other) => (2, Some(char::from(*other))),
        };
        let (written, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some((written, meant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_html_is_escaped_however_it_is_written() {
        for (raw, expected) in [
            (r#""""#, r#""""#),
            (r#""plain é \ud83d\ude00 \ud83d\n\\""#, r#""plain é \ud83d\ude00 \ud83d\n\\""#),
            (r#""<b a=\"1\">'&'</b>""#, r#""&lt;b a=&quot;1&quot;&gt;&#39;&amp;&#39;&lt;/b&gt;""#),
            (r#""\u003cscript\u003E\u0026\u0027\u0022""#, r#""&lt;script&gt;&amp;&#39;&quot;""#),
            (r#""\\u003c \/ a\\\"""#, r#""\\u003c \/ a\\&quot;""#),
            (r#""\b\f\r\t<\b""#, r#""\b\f\r\t&lt;\b""#),
        ] {
            let mut out = Vec::new();
            write_escaped(raw, &mut out);
            assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
            serde_json::from_slice::<&serde_json::value::RawValue>(&out).unwrap();
        }
    }

    #[test]
    fn tags_and_scripts_are_found_and_plain_signs_are_not() {
        for raw in [
            r#""<script>""#,
            r#""a <b>""#,
            r#""</p>""#,
            r#""<!-- ""#,
            r#""<?x""#,
            r#""\u003Cimg src=x>""#,
            r#""\u003c\u0069mg""#,
            r#""[x](JaVaScript:alert(1))""#,
            r#""java\tscript:1""#,
            r#""java\u0000script\n:1""#,
            r#""vbscript:x""#,
            r#""data:text/html,x""#,
            r#""x onload =1""#,
            r#""ONERROR=1""#,
        ] {
            assert!(is_active(raw), "{raw}");
        }
        for raw in
            [r#""""#, r#""a < b && c > d""#, r#""1<2""#, r#""<""#, r#""<3 & 'x' \"y\"""#, r#""script""#, r#""<\ud83d""#]
        {
            assert!(!is_active(raw), "{raw}");
        }
    }

    #[test]
    fn all_strings_of_a_value_are_escaped_and_nothing_else_of_it() {
        for (raw, expected) in [
            ("[]", "[]"),
            (
                r#"[1, "<b>", {"<i>" : "\"\\", "n": [true, null, "a&b"]}]"#,
                r#"[1, "&lt;b&gt;", {"&lt;i&gt;" : "&quot;\\", "n": [true, null, "a&amp;b"]}]"#,
            ),
            (r#","metadata":{"a":"<"}"#, r#","metadata":{"a":"&lt;"}"#),
        ] {
            let mut out = Vec::new();
            write_escaped(raw, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        assert!(is_active(r#"{"a":[1,{"<b>":2}]}"#) && is_active(r#"[["javascript:x"]]"#));
        assert!(!is_active(r#"{"a":["<",">"],"b":"\"<"}"#), "each string for itself");
    }

    #[test]
    fn of_an_object_the_texts_are_escaped_and_the_rest_has_to_be_passive() {
        let check = |raw: &str, expected: &str, passive: bool| {
            let mut out = Vec::new();
            assert_eq!(write_escaped_within(raw, &["content", "metadata"], &mut out), passive, "{raw}");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(r#"{"id":"o'b&","content":"<b>"}"#, r#"{"id":"o'b&","content":"&lt;b&gt;"}"#, true);
        check(
            r#"{"message":{"content":"'","id":"'"},"metadata" : {"content":["&"],"x":{"'":"<"}},"user_id":"'"}"#,
            r#"{"message":{"content":"&#39;","id":"'"},"metadata" : {"content":["&amp;"],"x":{"&#39;":"&lt;"}},"user_id":"'"}"#,
            true,
        );
        check(r#"{"content":[["'"],"'"],"a":["'"]}"#, r#"{"content":[["&#39;"],"&#39;"],"a":["'"]}"#, true);
        check(r#"{"content":1,"a":"'"}"#, r#"{"content":1,"a":"'"}"#, true);
        check(r#"{"a":"content","b":"'"}"#, r#"{"a":"content","b":"'"}"#, true);
        check(r#"{"title":"<b>"}"#, r#"{"title":"<b>"}"#, false);
        check(r#"{"<b>":1}"#, r#"{"<b>":1}"#, false);
        // A name that is written otherwise may be the same to who reads it.
        check(r#"{"\u0063ontent":"\" onclick=1 '"}"#, r#"{"\u0063ontent":"&quot; onclick=1 &#39;"}"#, true);
        check(r#"{"\u0063ontent":"'","a":"'"}"#, r#"{"\u0063ontent":"&#39;","a":"'"}"#, true);
    }
}
