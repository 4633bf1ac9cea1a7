//! What becomes of HTML in chat: escaped or found, where the operator asks for it.
//!
//! By default neither happens: a client that shows text as text needs none of it, and what is escaped twice
//! is spoilt. Both functions read a raw JSON string, so that `\u003c` is the `<` that the receiver will see.

/// Appends a raw JSON string with the five characters that mean something in HTML as references.
pub fn write_escaped(raw: &str, out: &mut Vec<u8>) {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or("");
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

/// Whether a raw JSON string holds what a browser could take for a tag, or a script's address or attribute.
#[must_use]
pub fn is_active(raw: &str) -> bool {
    const WORDS: [&str; 5] = ["javascript:", "vbscript:", "data:text/html", "onload=", "onerror="];
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or("");
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
}
