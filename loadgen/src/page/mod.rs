//! A page for people: one file with everything in it, that asks nothing of the network.
//!
//! Whatever comes from outside (names, versions, answers of a server) passes `escaped` or, for plots that a script draws,
//! a JSON text in which no tag can begin. The page's own style, and its own scripts if it has any, are the only ones that
//! its policy lets through, each by its hash. `forest` draws figures beside one another without a script, `tables` are
//! the tables.

mod forest;
mod tables;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

pub(crate) use forest::{Axis, Forest, Shape, Spot, short};
pub(crate) use tables::{begin, begin_text, end, write_machine};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

/// Reasons that stand in the verdict; further ones are there when they are asked for.
const REASONS_COUNT_SHOWN: usize = 8;

/// What a page is made of. Texts are as they came, and escaped here; `sections` is markup.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    /// What the tab is called, behind the name.
    pub(crate) outcome: &'a str,
    /// The heading.
    pub(crate) name: &'a str,
    /// The line above it.
    pub(crate) kicker: &'a str,
    /// What it comes to.
    pub(crate) verdict: Verdict<'a>,
    /// All that follows.
    pub(crate) sections: &'a str,
    /// What it is made from, at its end.
    pub(crate) origin: &'a str,
    /// What draws plots in it.
    pub(crate) script: Option<Script<'a>>,
}

/// What it comes to.
#[derive(Debug)]
pub(crate) struct Verdict<'a> {
    /// The class: `good`, `bad` or `warn`.
    pub(crate) class: &'static str,
    /// One word.
    pub(crate) word: &'a str,
    /// One sentence.
    pub(crate) meaning: &'a str,
    /// Why.
    pub(crate) reasons: &'a [String],
}

/// Scripts, their style, and what they draw from, as JSON in which no tag can begin.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    pub(crate) style: &'a str,
    pub(crate) data: &'a str,
    pub(crate) code: &'a [&'a str],
}

impl Page<'_> {
    /// The whole page.
    pub(crate) fn html(&self) -> String {
        let style =
            self.script.as_ref().map_or_else(|| STYLE.to_owned(), |script| format!("{}\n{STYLE}", script.style));
        let code = self.script.as_ref().map_or(&[][..], |script| script.code);
        let data = self.script.as_ref().map_or_else(String::new, |script| {
            format!("<script type=\"application/json\" id=\"data\">{}</script>\n", script.data)
        });
        let scripts = code.iter().fold(data, |all, code| all + "<script>" + code + "</script>\n");
        let name = escaped(self.name);
        filled(&[
            ("csp", &policy(&style, code)),
            ("title", &format!("{name}: {}", escaped(self.outcome))),
            ("name", &name),
            ("kicker", &escaped(self.kicker)),
            ("verdict", &self.verdict.html()),
            ("sections", self.sections),
            ("style", &style),
            ("origin", &escaped(self.origin)),
            ("scripts", scripts.trim_end()),
        ])
    }
}

impl Verdict<'_> {
    fn html(&self) -> String {
        let Self { class, word, meaning, reasons } = self;
        let (word, meaning) = (escaped(word), escaped(meaning));
        let mut text = format!("<div class=\"verdict {class}\" role=\"status\"><strong>{word}</strong>{meaning}");
        let list = |reasons: &[String]| {
            let items: String = reasons.iter().map(|reason| format!("<li>{}</li>", escaped(reason))).collect();
            if items.is_empty() { items } else { format!("<ul>{items}</ul>") }
        };
        let (first, more) = reasons.split_at(reasons.len().min(REASONS_COUNT_SHOWN));
        text += &list(first);
        if !more.is_empty() {
            let _ = write!(text, "<details><summary>and {} more</summary>{}</details>", more.len(), list(more));
        }
        text + "</div>"
    }
}

/// The page with its places filled. What is filled in is not looked at again, so that no text can name a place.
fn filled(places: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(PAGE.len() + places.iter().map(|(_, text)| text.len()).sum::<usize>());
    let mut rest = PAGE;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(b, rest)| Some((b, rest.split_once("}}")?)))
    {
        out += before;
        out += places.iter().find(|(place, _)| *place == name).map_or("", |(_, text)| text);
        rest = after;
    }
    out + rest
}

/// Nothing from anywhere, and of what stands in the page only this style and these scripts.
fn policy(style: &str, code: &[&str]) -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    let scripts: Vec<String> = code.iter().map(|code| hash(code)).collect();
    let scripts = if scripts.is_empty() { String::new() } else { format!("script-src {}; ", scripts.join(" ")) };
    format!("default-src 'none'; {scripts}style-src {}; base-uri 'none'; form-action 'none'", hash(style))
}

/// Text as it may stand in XML and in HTML, in an attribute too; characters that XML 1.0 cannot have are left out.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What would be a script wherever it stood as it is.
    pub(crate) const EVIL: &str =
        "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' {{sections}}";

    /// Holds a page without scripts to what all of them keep: nothing of `EVIL` is markup, nothing is asked of the
    /// network, the policy fits, every drawing has a label, every `open` tag is closed.
    pub(crate) fn check(text: &str) {
        for word in [
            "<script",
            "</script",
            "<img",
            "onload='x'",
            "style=\"",
            "src=\"",
            "@import",
            "url(",
            "<link",
            "<iframe",
            "http://",
            "https://",
        ] {
            let found = text.find(word).map(|at| text[at.saturating_sub(80)..].chars().take(160).collect::<String>());
            assert_eq!(found, None, "{word}");
        }
        let between = |from: &str, to: &str| text.split(from).nth(1).unwrap().split(to).next().unwrap().to_owned();
        let style = Sha256::digest(between("<style>", "</style>").as_bytes());
        let expected = format!(
            "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
            STANDARD.encode(style)
        );
        assert_eq!(between("Content-Security-Policy\" content=\"", "\">"), expected);
        let count = |part: &str| text.matches(part).count();
        assert_eq!(count("<svg "), count("role=\"img\" aria-label=\"") + count("aria-hidden=\"true\""), "labels");
        for tag in ["div", "span", "svg", "table", "tbody", "tr", "th", "td", "figure", "ul", "li", "details"] {
            let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
            assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
        }
    }

    fn page<'a>(name: &'a str, reasons: &'a [String]) -> Page<'a> {
        let verdict = Verdict { class: "bad", word: name, meaning: name, reasons };
        Page { outcome: name, name, kicker: name, verdict, sections: "<p>all</p>", origin: name, script: None }
    }

    #[test]
    fn what_comes_from_outside_is_text_everywhere() {
        let reasons = [EVIL.to_owned()];
        let text = page(EVIL, &reasons).html();
        check(&text);
        assert!(text.contains("{{sections}}</h1>") && text.matches("<p>all</p>").count() == 1, "{text}");
    }

    #[test]
    fn the_first_reasons_are_shown_and_the_others_are_kept() {
        let check_at = |count: usize, more: Option<&str>| {
            let reasons: Vec<String> = (1..=count).map(|number| format!("reason {number}.")).collect();
            let text = page("x", &reasons).html();
            check(&text);
            assert!(reasons.iter().all(|reason| text.contains(&format!("<li>{reason}</li>"))), "{text}");
            assert_eq!(text.contains("<details>"), more.is_some(), "{text}");
            assert!(more.is_none_or(|more| text.contains(&format!("<summary>{more}</summary><ul><li>reason 9.</li>"))));
        };
        check_at(0, None);
        check_at(REASONS_COUNT_SHOWN, None);
        check_at(REASONS_COUNT_SHOWN + 2, Some("and 2 more"));
    }

    #[test]
    fn scripts_stand_in_the_policy_by_their_hashes() {
        let script = Script { style: "a {}", data: "{\"x\":1}", code: &["let a;", "let b;"] };
        let text = Page { script: Some(script), ..page("x", &[]) }.html();
        let hash = |part: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(part.as_bytes())));
        let expected = format!(
            "script-src {} {}; style-src {}",
            hash("let a;"),
            hash("let b;"),
            hash(&format!("a {{}}\n{STYLE}"))
        );
        assert!(text.contains(&expected), "{text}");
        assert!(text.contains("id=\"data\">{\"x\":1}</script>\n<script>let a;</script>\n<script>let b;</script>"));
    }
}
