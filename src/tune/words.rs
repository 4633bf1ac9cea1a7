//! Numbers and sizes as people read them, and text in lines of a terminal.

use std::fmt::Display;

/// Columns of a terminal that everybody has.
pub(super) const COLUMNS: usize = 80;

/// A number of things in words: `1 shard`, `2 shards`.
pub(crate) fn counted(count: impl Display, thing: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} {thing}{ending}")
}

/// A number with commas.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number, or that there is no limit.
pub(super) fn limited(number: u64) -> String {
    if number == u64::MAX { "unlimited".to_owned() } else { grouped(number) }
}

/// Bytes in the largest unit that leaves at least one, with one decimal below ten.
pub(super) fn size(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return counted(bytes, "byte");
    };
    let (whole, tenth) = (bytes / unit, bytes % unit * 10 / unit);
    if whole < 10 && tenth > 0 { format!("{whole}.{tenth} {name}") } else { format!("{} {name}", grouped(whole)) }
}

/// Breaks `text` at spaces into lines of at most [`COLUMNS`], each with `indent` columns before it. A word that is
/// longer than a line stays whole.
pub(super) fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let room = COLUMNS.saturating_sub(indent);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_short() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (bytes, text) in
            [(1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (15 << 20, "15 MiB"), (5000 << 30, "5,000 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(limited(u64::MAX), "unlimited");
    }

    #[test]
    fn one_thing_is_one() {
        for (count, text) in [(0, "0 shards"), (1, "1 shard"), (2, "2 shards"), (11, "11 shards")] {
            assert_eq!(counted(count, "shard"), text);
        }
        assert_eq!(
            (counted(grouped(1), "byte"), counted(grouped(1001), "byte")),
            ("1 byte".into(), "1,001 bytes".into())
        );
    }

    #[test]
    fn lines_end_before_the_edge_and_only_a_long_word_goes_over() {
        let text = "word ".repeat(50);
        let lines = wrapped(&text, 10);
        assert!(lines.len() > 3 && lines.iter().all(|line| line.len() <= COLUMNS - 10), "{lines:?}");
        assert_eq!(wrapped(&"x".repeat(100), 10).len(), 1);
        assert_eq!(wrapped("a b", 79), ["a", "b"]);
    }
}
