//! What was set, by whom: defaults, then the file, then the environment, then the command line. Later beats earlier,
//! whole values at a time; a list is not added to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use toml::{Table, Value};

use super::key::{Effect, Fallback, Key};
use super::table;
use crate::limits::CONFIG_VALUE_SHOWN_MAX;

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// In a file.
    File {
        /// Its path.
        path: Arc<str>,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// By an environment variable.
    Variable(String),
    /// By a flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{path}, line {line}, column {column}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One value that was set.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which key's.
    pub key: &'static Key,
    /// The value, judged.
    pub value: Value,
    /// Where.
    pub origin: Origin,
    /// Of a list of tables, where each of them begins.
    pub rows: Vec<Origin>,
}

/// All values that were set, the last of each key.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<&'static str, Entry>);

/// A key whose value differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub path: &'static str,
    /// What held, as TOML.
    pub old: String,
    /// What is wanted now, as TOML.
    pub new: String,
    /// Where that is set.
    pub origin: Origin,
    /// When it takes effect.
    pub effect: Effect,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.effect == Effect::Restart { ", at the next start" } else { "" };
        write!(f, "{}: {} -> {} ({}){when}", self.path, cut(&self.old), cut(&self.new), self.origin)
    }
}

/// A value as a message shows it: not too long.
fn cut(shown: &str) -> String {
    match shown.char_indices().nth(CONFIG_VALUE_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default()),
        None => shown.to_owned(),
    }
}

impl Settings {
    /// Sets a value over whatever was set before.
    pub(super) fn set(&mut self, entry: Entry) {
        self.0.insert(entry.key.path, entry);
    }

    /// Where a key was set.
    #[must_use]
    pub fn origin(&self, path: &str) -> Origin {
        self.0.get(path).map_or(Origin::Default, |entry| entry.origin.clone())
    }

    /// Where a row of a list was set, by its number from 0.
    #[must_use]
    pub fn row(&self, path: &str, index: usize) -> Origin {
        let row = self.0.get(path).and_then(|entry| entry.rows.get(index)).cloned();
        row.unwrap_or_else(|| self.origin(path))
    }

    /// A key's value as it is written in TOML; the default's where none was set, and words where that has no value.
    #[must_use]
    pub fn shown(&self, key: &Key) -> String {
        match (self.0.get(key.path), key.fallback) {
            (Some(entry), _) => entry.value.to_string(),
            (None, Fallback::Is(text)) => text.to_owned(),
            (None, Fallback::Unset(text, _) | Fallback::Required(text)) => format!("({text})"),
        }
    }

    /// The document that these would be, without origins.
    #[must_use]
    pub fn document(&self) -> Table {
        let mut document = Table::new();
        for (path, entry) in &self.0 {
            insert(&mut document, path, entry.value.clone());
        }
        document
    }

    /// What holds in a gateway that was started with others and has heard of these: of what takes effect at a start,
    /// still theirs.
    #[must_use]
    pub fn until_restart(&self, started: &Self) -> Self {
        let of = |settings: &Self, effect: Effect| {
            let entries = settings.0.iter().filter(move |(_, entry)| entry.key.effect == effect);
            entries.map(|(path, entry)| (*path, entry.clone())).collect::<Vec<_>>()
        };
        let (ours, theirs) = (of(self, Effect::Reload), of(started, Effect::Restart));
        Self(ours.into_iter().chain(theirs).collect())
    }

    /// What is different in `newer`.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        let change = |key: &'static Key| {
            let (old, new) = (self.shown(key), newer.shown(key));
            let origin = newer.origin(key.path);
            (normal(&old) != normal(&new)).then_some(Change { path: key.path, old, new, origin, effect: key.effect })
        };
        table::keys().filter_map(change).collect()
    }
}

/// A value's text with its numbers written in one way: `1_000` is 1000.
fn normal(shown: &str) -> String {
    shown.parse::<Value>().map_or_else(|_| shown.to_owned(), |value| value.to_string())
}

/// Puts a value where its name says.
pub(super) fn insert(document: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            document.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let section = document.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                insert(section, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::find;

    fn settings(values: &[(&str, Value)]) -> Settings {
        let mut settings = Settings::default();
        for (path, value) in values {
            let entry = Entry {
                key: find(path).unwrap(),
                value: value.clone(),
                origin: Origin::Flag(format!("--set {path}")),
                rows: Vec::new(),
            };
            settings.set(entry);
        }
        settings
    }

    #[test]
    fn changes_say_what_held_what_is_wanted_where_and_when() {
        let old = settings(&[("limits.upgrades", Value::from(5)), ("history.bytes", Value::from(1_048_576))]);
        let new = settings(&[("limits.upgrades", Value::from(6)), ("server.shards", Value::from(4))]);
        let told: Vec<String> = old.changes(&new).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "server.shards: (one for each usable processor) -> 4 (--set server.shards), at the next start",
                "limits.upgrades: 5 -> 6 (--set limits.upgrades)",
            ],
            "a default that is written out, however, is no change"
        );
        assert!(old.changes(&old).is_empty());
    }

    #[test]
    fn until_the_next_start_what_waits_for_it_is_as_it_was() {
        let (listen, upgrades, path) = ("server.listen", "limits.upgrades", "globetrotter.open");
        let started = settings(&[(upgrades, Value::from(5)), (path, Value::from(true))]);
        let heard = settings(&[(upgrades, Value::from(6)), (listen, Value::from("[::]:1"))]);
        let holds = heard.until_restart(&started);
        assert_eq!(holds.document(), settings(&[(upgrades, Value::from(6)), (path, Value::from(true))]).document());
        assert_eq!(heard.until_restart(&heard).document(), heard.document());
    }

    #[test]
    fn the_last_value_counts_and_the_document_has_its_sections() {
        let set = settings(&[
            ("limits.chat.burst", Value::from(1)),
            ("limits.upgrades", Value::from(2)),
            ("limits.chat.burst", Value::from(3)),
        ]);
        assert_eq!(set.document().to_string(), "[limits]\nupgrades = 2\n\n[limits.chat]\nburst = 3\n");
        assert_eq!(set.origin("limits.upgrades").to_string(), "--set limits.upgrades");
        assert_eq!(set.origin("limits.bad_tokens"), Origin::Default);
    }
}
