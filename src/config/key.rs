//! What a key of the configuration is: its name, what its value must be, what holds without it, and when a change
//! takes effect. The keys themselves stand in [`super::table`]; checks, documentation, the default file and the list
//! of origins are all made from them, so none can say something else.

use std::fmt;

use toml::Table;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its whole name, as in `limits.chat.messages`; within the rows of a list, the name alone.
    pub path: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// What holds without it.
    pub fallback: Fallback,
    /// When a change takes effect.
    pub effect: Effect,
    /// What it means.
    pub help: &'static str,
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A text.
    One(Word),
    /// A list of texts, at most so many.
    Many(Word, usize),
    /// A text, or a list of them that is not empty, at most so many.
    Some(Word, usize),
    /// A list of tables.
    Rows(Rows),
}

/// A list of tables.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// What a row has.
    pub keys: &'static [Key],
    /// Rows at most.
    pub max: usize,
    /// What only a whole row can have wrong: what is wrong, and what to do.
    pub judge: fn(&Table) -> Result<(), (String, String)>,
}

/// What a text must be.
#[derive(Clone, Copy, Debug)]
pub enum Word {
    /// One of these.
    Choice(&'static [&'static str]),
    /// What a reader takes.
    Text {
        /// What to write, as in `a channel pattern`.
        what: &'static str,
        /// Why it is none.
        judge: fn(&str) -> Result<(), String>,
    },
}

/// What holds without a key.
#[derive(Clone, Copy, Debug)]
pub enum Fallback {
    /// This value, as TOML.
    Is(&'static str),
    /// Something that no value says; and a value that could be set, as TOML.
    Unset(&'static str, &'static str),
    /// Nothing: the row is wrong without it. A value that could be set, as TOML.
    Required(&'static str),
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// When the configuration is read again.
    Reload,
    /// When the gateway is started again.
    Restart,
}

impl Key {
    /// The section that it stands in; empty for one that stands in none.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within the section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.path.to_uppercase().replace('.', "__"))
    }
}

/// What the variables begin with that set a key.
pub const VARIABLE_PREFIX: &str = "WAYSTATION__";

impl fmt::Display for Kind {
    /// What to write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Count { min, max } => write!(f, "a whole number from {} to {}", thousands(*min), thousands(*max)),
            Self::One(word) => word.fmt(f),
            Self::Many(word, max) => write!(f, "a list of at most {max}, each {word}"),
            Self::Some(word, max) => write!(f, "{word}, or a list of at most {max} such"),
            Self::Rows(rows) => {
                let keys: Vec<&str> = rows.keys.iter().map(|key| key.path).collect();
                write!(f, "a list of at most {} tables with {}", rows.max, keys.join(", "))
            }
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choice(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
                f.write_str(&names.join(" or "))
            }
            Self::Text { what, .. } => f.write_str(what),
        }
    }
}

/// A number with commas.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The name that was probably meant.
#[must_use]
pub fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = names.map(|name| (strsim::jaro_winkler(written, name), name));
    let best = alike.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > LIKENESS_MIN).map(|(_, name)| name)
}

/// Likeness over which a name may have been meant.
const LIKENESS_MIN: f64 = 0.75;
