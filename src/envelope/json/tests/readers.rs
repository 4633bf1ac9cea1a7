//! The scan against the two readers behind it: the same verdict, and the same values at the same places.

use crate::envelope::json::Parser;
use crate::envelope::scan::scan;
use crate::envelope::tree::Nodes;
use crate::limits::{JSON_BLANKS_MAX, JSON_DEPTH_MAX, MESSAGE_BYTES_MAX};

/// Whether the scan accepts a text; by its nodes it means what the others say.
fn agreed(parser: &mut Parser, text: &str) -> bool {
    let mut nodes = Nodes::default();
    let accepted = scan(text, JSON_DEPTH_MAX, &mut nodes);
    let otherwise = parser.read_otherwise(text).is_ok();
    assert!(otherwise || !accepted, "only the scan accepts {text:?}");
    assert!(accepted || !otherwise || blanks(text) > JSON_BLANKS_MAX, "only the scan refuses {text:?}");
    assert!(!accepted || nodes == parser.nodes, "{text:?}: {nodes:?}, otherwise {:?}", parser.nodes);
    accepted
}

/// The longest run of blanks, inside strings or outside.
fn blanks(text: &str) -> usize {
    text.split(|char| !matches!(char, ' ' | '\t' | '\n' | '\r')).map(str::len).max().unwrap_or(0)
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // Knuth's linear congruential generator, of which the upper bits are good.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// A valid text, which nests no deeper than so much.
    fn value(&mut self, depth: usize, out: &mut String) {
        out.push_str(self.one(BLANKS));
        match self.below(if depth == 0 { 4 } else { 7 }) {
            0 => out.push_str(self.one(&["true", "false", "null"])),
            1 => out.push_str(self.one(NUMBERS)),
            2 | 3 => self.string(out),
            4 => self.list(('[', ']'), out, |dice, out| dice.value(depth - 1, out)),
            _ => self.list(('{', '}'), out, |dice, out| {
                out.push_str(dice.one(BLANKS));
                dice.string(out);
                out.push_str(dice.one(BLANKS));
                out.push(':');
                dice.value(depth - 1, out);
            }),
        }
        out.push_str(self.one(BLANKS));
    }

    fn list(&mut self, brackets: (char, char), out: &mut String, each: impl Fn(&mut Self, &mut String)) {
        out.push(brackets.0);
        for index in 0..self.below(4) {
            if index > 0 {
                out.push(',');
            }
            each(self, out);
        }
        out.push(brackets.1);
    }

    fn string(&mut self, out: &mut String) {
        out.push('"');
        for _ in 0..self.below(4) {
            out.push_str(self.one(INSIDES));
        }
        out.push('"');
    }

    /// The text with a piece taken out, put in or written again, perhaps several times.
    fn spoil(&mut self, text: &mut String) {
        for _ in 0..1 + self.below(3) {
            let mut cut = |text: &str| {
                let at = self.below(text.len() + 1);
                (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
            };
            let (one, other) = (cut(text), cut(text));
            let (start, end) = (one.min(other), one.max(other).min(one.min(other) + 12));
            let end = (start..=end).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(start);
            match self.below(3) {
                0 => text.replace_range(start..end, ""),
                1 => text.insert_str(start, self.one(PIECES)),
                _ => {
                    let again = text[start..end].to_owned();
                    text.insert_str(start, &again);
                }
            }
        }
    }
}

const BLANKS: &[&str] = &["", "", "", "", "", " ", "\n  ", "\t\r"];
const NUMBERS: &[&str] =
    &["0", "-0", "17", "-1.5", "1e5", "0.25E-2", "1e400", "123456789012345678901234567890", "9E+9"];
const INSIDES: &[&str] = &[
    "",
    "a",
    "type",
    "payload",
    "twenty bytes or more, without a stop",
    "\\n",
    "\\\"",
    "\\\\",
    "\\u0041",
    "\\ud83d",
    "\\ud83d\\ude00",
    "é",
    "日本語",
    "😀",
    "\u{7f}",
    "{[,:]}",
];
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "u",
    "0",
    "1",
    "-",
    "+",
    ".",
    "e",
    "E5",
    "00",
    "tru",
    "null",
    "x",
    "\u{0}",
    "\u{1f}",
    "\n",
    " ",
    "\u{b}",
    "\u{a0}",
    "\u{feff}",
    "é",
    "//",
    "1e400",
    "{\"a\":",
    "[[[[",
    "]]]]",
    "\"\"",
    "                                  ",
];

#[test]
fn all_readers_find_the_same_in_a_hundred_thousand_texts() {
    let (mut dice, mut parser) = (Dice(7), Parser::default());
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..100_000 {
        let mut text = String::new();
        dice.value(number % 4, &mut text);
        if number % 3 > 0 {
            dice.spoil(&mut text);
        }
        let count = if agreed(&mut parser, &text) { &mut accepted } else { &mut refused };
        *count += 1;
    }
    assert!(accepted > 30_000 && refused > 30_000, "{accepted} accepted, {refused} refused");
}

/// A text alone, in an array and as a member's value.
fn check(text: &str, expected: bool) {
    let mut parser = Parser::default();
    for (before, after) in [("", ""), ("[", "]"), ("{\"a\" : ", " , \"b\":0}")] {
        let text = format!("{before}{text}{after}");
        assert_eq!(agreed(&mut parser, &text), expected, "{text:?}");
    }
}

#[test]
fn a_string_ends_wherever_it_ends() {
    // Words of eight and of thirty-two bytes, and what is left of them.
    for len in 0..=100 {
        check(&format!("\"{}\"", "x".repeat(len)), true);
        check(&format!("\"{}\"", "é".repeat(len)), true);
        check(&format!("\"{}", "x".repeat(len)), false);
        for at in 0..len {
            let (before, after) = ("~".repeat(at), "!".repeat(len - at));
            check(&format!("\"{before}\\\"{after}\""), true);
            check(&format!("\"{before}\\{after}\""), false);
            check(&format!("\"{before}\"{after}\""), false);
            check(&format!("\"{before}\u{1f}{after}\""), false);
        }
    }
}

#[test]
fn only_control_characters_must_be_escaped() {
    for char in ('\0'..='\u{17f}').chain(['\u{2028}', '\u{feff}', '\u{1f600}', '\u{10ffff}']) {
        let plain = char >= ' ' && char != '"' && char != '\\';
        for before in ["", "1234567", "12345678", "1234567812345678123456781234567812345678"] {
            check(&format!("\"{before}{char}12345678\""), plain);
        }
        let escape = matches!(char, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't');
        check(&format!("\"\\{char}12345678\""), escape || char == 'u');
        let digit = char.is_ascii_hexdigit();
        for escape in [format!("{char}041"), format!("0{char}41"), format!("00{char}1"), format!("004{char}")] {
            check(&format!("\"\\u{escape}\""), digit);
        }
    }
    for (text, expected) in [
        (r#""\u""#, false),
        (r#""\u004""#, false),
        (r#""\ud83d""#, true),
        (r#""\ude00\ud83d""#, true),
        (r#""\ud83d\u""#, false),
        (r#""\"#, false),
        (r#""\u0041"#, false),
    ] {
        check(text, expected);
    }
}

#[test]
fn a_number_is_what_the_grammar_says() {
    for sign in ["", "-"] {
        for (whole, good) in [("0", true), ("7", true), ("10", true), ("", false), ("00", false), ("01", false)] {
            for (fraction, fraction_good) in [("", true), (".0", true), (".", false), (".5.5", false), (".e", false)] {
                for (power, power_good) in [
                    ("", true),
                    ("e0", true),
                    ("E+01", true),
                    ("e-9", true),
                    ("e", false),
                    ("e+", false),
                    ("e1.5", false),
                ] {
                    // With nothing at all, an array is empty and good.
                    let number = format!("{sign}{whole}{fraction}{power}");
                    check(if number.is_empty() { "-" } else { &number }, good && fraction_good && power_good);
                }
            }
        }
    }
    for text in ["+1", "--1", "- 1", "0x1", "1_0", "NaN", "Infinity", "1a", "٣", "1 2", ".5"] {
        check(text, false);
    }
    for digits in [18, 19, 20, 21, 400] {
        check(&"9".repeat(digits), true);
    }
}

#[test]
fn nothing_but_blanks_stands_between_tokens() {
    let tokens = ["{", "\"a\"", ":", "[", "1", ",", "true", "]", ",", "\"a\"", ":", "{", "}", "}"];
    for at in 0..=tokens.len() {
        let with = |piece: &str| format!("{}{piece}{}", tokens[..at].concat(), tokens[at..].concat());
        for blank in [" ", "\t", "\n", "\r", "\r\n\t "] {
            check(&with(blank), true);
        }
        for other in ["\u{b}", "\u{c}", "\u{0}", "\u{a0}", "\u{feff}", "/**/", "x", "\\"] {
            check(&with(other), false);
        }
    }
    for missing in 0..tokens.len() {
        check(&[&tokens[..missing], &tokens[missing + 1..]].concat().concat(), false);
    }
}

#[test]
fn long_runs_of_blanks_go_to_another_reader() {
    for (count, scanned) in [(JSON_BLANKS_MAX - 1, true), (JSON_BLANKS_MAX, true), (JSON_BLANKS_MAX + 1, false)] {
        for text in ["_{\"a\":[1]}", "{_\"a\":[1]}", "{\"a\"_:[1]}", "{\"a\":[_1]}", "{\"a\":[1_]}", "{\"a\":[1]}_"] {
            let text = text.replace('_', &" ".repeat(count));
            let mut parser = Parser::default();
            assert_eq!(agreed(&mut parser, &text), scanned, "{text:?}");
            let (_, root) = parser.read(&text).unwrap();
            assert_eq!(root.raw(), text.trim());
        }
    }
}

#[test]
fn depth_and_length_are_bounded_whoever_reads() {
    for (depth, good) in [(JSON_DEPTH_MAX - 1, true), (JSON_DEPTH_MAX, true), (JSON_DEPTH_MAX + 1, false)] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |inner: &str| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            let mut parser = Parser::default();
            assert_eq!(agreed(&mut parser, &nested("0")), good, "{depth}");
            assert_eq!(parser.read(&nested("0")).is_ok(), good, "{depth}");
            assert!(!agreed(&mut parser, &nested("")[..open.len() * depth]));
        }
        // What has ended counts no more.
        let wide = format!("[{},{}]", "[".repeat(5) + &"]".repeat(5), "[".repeat(depth - 1) + &"]".repeat(depth - 1));
        assert_eq!(agreed(&mut Parser::default(), &wide), good, "{depth}");
    }
    for (len, good) in [(MESSAGE_BYTES_MAX - 1, true), (MESSAGE_BYTES_MAX, true), (MESSAGE_BYTES_MAX + 1, false)] {
        let mut parser = Parser::default();
        let list = |last: &str| format!("[{}{last}]", "1,".repeat((len - 2 - last.len()) / 2));
        for text in [list(if len % 2 == 0 { "12" } else { "1" }), format!("[{}]", "1".repeat(len - 2))] {
            assert_eq!(text.len(), len);
            assert!(agreed(&mut parser, &text));
            assert_eq!(parser.read(&text).is_ok(), good, "{len}");
        }
    }
}
