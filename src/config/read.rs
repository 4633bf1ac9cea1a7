//! Text becomes judged values: a file, an environment variable, `--set`. Every fault is found, not only the first, and
//! each says where it stands, what stands there and what to write instead.
//!
//! What stands behind a key that is not known is never repeated: it may be a secret in the wrong place.

mod judge;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::StartError;
use super::key::{Key, Kind, VARIABLE_PREFIX, nearest};
use super::layers::{Entry, Origin};
use super::table;
use judge::Judged;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) entries: Vec<Entry>,
    pub(super) faults: Vec<StartError>,
}

/// Something that is wrong: where in the text, what, what to do.
#[derive(Debug)]
struct Fault {
    at: Range<usize>,
    what: String,
    remedy: String,
}

/// Reads the text of the file called `path`.
pub(super) fn file(text: &str, path: &str) -> Read {
    let path: Arc<str> = path.into();
    let lines = Lines::of(text);
    let origin = |at: usize| {
        let (line, column) = lines.position(at);
        Origin::File { path: Arc::clone(&path), line, column }
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut faults: Vec<Fault> = errors.iter().map(|error| of_syntax(error, &lines)).collect();
    let broken: BTreeSet<usize> = faults.iter().map(|fault| lines.position(fault.at.start).0).collect();
    let mut found = Found { text, entries: Vec::new(), faults: Vec::new() };
    found.section("", document.get_ref());
    // What was made of a broken line is not what stands there.
    faults.extend(found.faults.into_iter().filter(|fault| !broken.contains(&lines.position(fault.at.start).0)));
    faults.sort_by_key(|fault| fault.at.start);
    let entry = |(key, judged): (&'static Key, Judged)| Entry {
        key,
        value: judged.value,
        origin: origin(judged.at.start),
        rows: judged.rows.into_iter().map(&origin).collect(),
    };
    Read {
        entries: found.entries.into_iter().map(entry).collect(),
        faults: faults.into_iter().map(|fault| told(fault, &origin)).collect(),
    }
}

fn told(fault: Fault, origin: &impl Fn(usize) -> Origin) -> StartError {
    StartError::new(fault.what, origin(fault.at.start).to_string(), fault.remedy)
}

/// Reads one value that stands outside a file, such as an environment variable's.
pub(super) fn value(key: &'static Key, text: &str, origin: &Origin) -> Read {
    let quoted = toml::Value::String(text.to_owned()).to_string();
    let listed = || {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        toml::Value::Array(words.map(|word| toml::Value::String(word.to_owned())).collect()).to_string()
    };
    let written = match key.kind {
        Kind::One(_) if !text.starts_with(['"', '\'']) => quoted,
        Kind::Many(..) if !text.trim_start().starts_with('[') => listed(),
        Kind::Some(..) if !is_list_of_texts(text) => listed(),
        _ => text.trim().to_owned(),
    };
    let fault = |fault: Fault| StartError::new(fault.what, origin.to_string(), fault.remedy);
    let outcome = match DeValue::parse(&written) {
        Ok(value) => judge::value(key, key.path, &value, &written),
        Err(_) => {
            let shown = judge::shown(key, text, 0..text.len());
            Err(vec![judge::wrong(key, key.path, &shown, "this is no value", 0..0)])
        }
    };
    match outcome {
        Ok(Judged { value, rows, .. }) => {
            let rows = rows.iter().map(|_| origin.clone()).collect();
            Read { entries: vec![Entry { key, value, origin: origin.clone(), rows }], faults: Vec::new() }
        }
        Err(faults) => Read { entries: Vec::new(), faults: faults.into_iter().map(fault).collect() },
    }
}

/// Whether a list is written as in TOML. An address of IPv6 begins with a bracket too.
fn is_list_of_texts(text: &str) -> bool {
    text.trim_start().strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['"', '\'', ']']))
}

/// Reads the variable of a name that begins as ours do.
pub(super) fn variable(name: &str, text: &str) -> Read {
    let origin = Origin::Variable(name.to_owned());
    match table::keys().find(|key| key.variable() == name) {
        Some(key) => value(key, text, &origin),
        None => {
            let before = VARIABLE_PREFIX.trim_end_matches('_');
            let bare = |name: &str| name.trim_start_matches(before).trim_start_matches('_').to_owned();
            let names: Vec<String> = table::keys().map(|key| bare(&key.variable())).collect();
            let section = format!("{}__", bare(name));
            let of_section: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix(&section)).collect();
            let remedy = match nearest(&bare(name), names.iter().map(String::as_str)) {
                _ if !of_section.is_empty() => {
                    format!("it is a section: write {VARIABLE_PREFIX}{section} and one of {}", of_section.join(", "))
                }
                Some(meant) => format!("did you mean {VARIABLE_PREFIX}{meant}?"),
                None => {
                    format!("unset it, or write {VARIABLE_PREFIX}SECTION__KEY for a key of `waystation config doc`")
                }
            };
            unknown(format!("the variable {name} sets no key"), &origin, remedy)
        }
    }
}

/// Reads what `--set` was given.
pub(super) fn assignment(text: &str) -> Read {
    let origin = |path: &str| Origin::Flag(format!("--set {path}"));
    let Some((path, text)) = text.split_once('=') else {
        // Not repeated unless it is a key: a value may stand where the key should.
        let named = table::find(text.trim()).map_or("", |key| key.path);
        let what = format!("--set {named} has no `=`");
        return unknown(what, &origin(named), "write --set KEY=VALUE, as in --set limits.upgrades=120".to_owned());
    };
    match table::find(path.trim()) {
        Some(key) => value(key, text.trim(), &origin(key.path)),
        None => {
            let remedy = match nearest(path, table::keys().map(|key| key.path)) {
                _ if is_section(path) => {
                    format!("it is a section: write one of its keys, {}", known_in(path).join(", "))
                }
                Some(meant) => format!("did you mean {meant}?"),
                None => "write a key of `waystation config doc`".to_owned(),
            };
            unknown(format!("`{path}` is no key"), &origin(path), remedy)
        }
    }
}

fn unknown(what: String, origin: &Origin, remedy: String) -> Read {
    Read { entries: Vec::new(), faults: vec![StartError::new(what, origin.to_string(), remedy)] }
}

/// What a document has.
struct Found<'a> {
    text: &'a str,
    entries: Vec<(&'static Key, Judged)>,
    faults: Vec<Fault>,
}

impl Found<'_> {
    /// A section and what is in it; the document itself has no name.
    fn section(&mut self, prefix: &str, section: &DeTable<'_>) {
        for (name, value) in section {
            let path =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            if let Some(key) = table::find(&path) {
                match judge::value(key, key.path, value, self.text) {
                    Ok(judged) => self.entries.push((key, judged)),
                    Err(faults) => self.faults.extend(faults),
                }
            } else if is_section(&path) {
                self.subsection(&path, value);
            } else {
                self.faults.push(no_key(&path, name.span()));
            }
        }
    }

    fn subsection(&mut self, path: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref().as_table() {
            Some(table) => self.section(path, table),
            None => self.faults.push(Fault {
                at: value.span(),
                what: format!("`{path}` is a section, and {} stands there", judge::kind_of(value.get_ref())),
                remedy: format!("write [{path}] on a line of its own, and its keys below"),
            }),
        }
    }
}

/// A name that is not known. A key of that name elsewhere was perhaps meant, else the one that looks most alike.
fn no_key(path: &str, at: Range<usize>) -> Fault {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let elsewhere = || table::keys().find(|key| key.name() == name).map(|key| key.path.to_owned());
    let known = known_in(section);
    let meant = nearest(name, known.iter().map(String::as_str));
    let meant = meant.map(|name| if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") });
    let remedy = meant.or_else(elsewhere).map_or_else(
        || format!("take it out; known here {} {}", if known.len() == 1 { "is" } else { "are" }, known.join(", ")),
        |meant| format!("did you mean `{meant}`?"),
    );
    Fault { at, what: format!("`{path}` is no key"), remedy }
}

/// Whether keys stand below this name.
fn is_section(path: &str) -> bool {
    table::keys().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The names that may stand in a section: its keys and its sections.
fn known_in(section: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for key in table::keys() {
        let rest = if section.is_empty() {
            Some(key.path)
        } else {
            key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.'))
        };
        let Some(name) = rest.and_then(|rest| rest.split('.').next()) else { continue };
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn of_syntax(error: &toml::de::Error, lines: &Lines) -> Fault {
    let at = error.span().unwrap_or(0..0);
    let (line, _) = lines.position(at.start);
    let what = error.message().trim().replace('\n', ": ");
    // The line is not shown: what stands in it is not known, and may be a secret.
    Fault {
        at,
        what: format!("this is no TOML: {what}"),
        remedy: format!("mend line {line}: write key = value, texts in quotes, [section] on a line of its own"),
    }
}

/// Where the lines and the characters of a text begin, looked up for each fault: a file may have as many as bytes.
struct Lines {
    lines: Vec<usize>,
    characters: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            lines: std::iter::once(0).chain(ends).collect(),
            characters: text.char_indices().map(|(at, _)| at).collect(),
        }
    }

    /// Line and column of a byte, both from 1; columns count characters.
    fn position(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|begin| *begin <= at);
        let begin = line.checked_sub(1).and_then(|last| self.lines.get(last)).copied().unwrap_or(0);
        let before = |at: usize| self.characters.partition_point(|begin| *begin < at);
        (line, before(at) - before(begin) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_has_a_line_and_a_column_of_characters() {
        let lines = Lines::of("a\nä€b\n\nx");
        for (at, expected) in [
            (0, (1, 1)),
            (1, (1, 2)),
            (2, (2, 1)),
            (4, (2, 2)),
            (7, (2, 3)),
            (8, (2, 4)),
            (9, (3, 1)),
            (10, (4, 1)),
            (11, (4, 2)),
            (99, (4, 2)),
        ] {
            assert_eq!(lines.position(at), expected, "{at}");
        }
        assert_eq!(Lines::of("").position(0), (1, 1));
    }

    #[test]
    fn a_file_of_nothing_but_faults_is_read_to_its_end() {
        let text: String = (0..40_000).map(|n| format!("a{n}=1\n")).collect();
        let read = file(&text, "gateway.toml");
        assert_eq!((read.faults.len(), read.entries.len()), (40_000, 0));
        assert!(read.faults[39_999].place.contains("line 40000, column 1"), "{}", read.faults[39_999]);
    }
}
