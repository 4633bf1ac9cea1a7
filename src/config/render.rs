//! What is written from the table of keys: the default file, the documentation, and who set what.

use std::fmt::Write as _;

use super::key::{Effect, Fallback, Key, Kind, Rows};
use super::layers::Settings;
use super::table::{SECTIONS, keys};

/// A file with every key. A key without a default value stands there as `#key = value`, ready to be uncommented.
pub(super) fn default_file() -> String {
    let mut text = String::from(
        "# The configuration of waystation: every key with its default. A line that begins with # and a name is not\n\
         # set, and shows a value that it could have. The file is read again on SIGHUP and when it changes.\n",
    );
    let mut section = "";
    for key in keys() {
        if key.section() != section {
            section = key.section();
            let _ = if section.is_empty() { Ok(()) } else { write!(text, "\n[{section}]\n") };
        }
        let _ = match (key.kind, key.fallback) {
            (Kind::Rows(rows), _) if section.is_empty() => rows_example(&mut text, key, rows),
            (_, Fallback::Is(value)) => writeln!(text, "{}{} = {value}", comment(key), key.name()),
            (_, Fallback::Unset(what, example)) => {
                writeln!(text, "{}# without it: {what}\n#{} = {example}", comment(key), key.name())
            }
            (_, Fallback::Required(example)) => writeln!(text, "{}#{} = {example}", comment(key), key.name()),
        };
    }
    text
}

/// A row of a list that has its own heading.
fn rows_example(text: &mut String, key: &Key, rows: Rows) -> std::fmt::Result {
    write!(text, "\n{}#[[{}]]\n", comment(key), key.path)?;
    for key in rows.keys {
        let (Fallback::Is(example) | Fallback::Unset(_, example) | Fallback::Required(example)) = key.fallback;
        writeln!(text, "{}#{} = {example}", comment(key), key.path)?;
    }
    Ok(())
}

/// What a key means, on lines of its own.
fn comment(key: &Key) -> String {
    const WIDTH: usize = 110;
    let mut text = String::new();
    let mut line = String::new();
    for word in key.help.split_whitespace() {
        if line.chars().count() + word.chars().count() >= WIDTH {
            let _ = writeln!(text, "# {}", line.trim_end());
            line.clear();
        }
        line.push_str(word);
        line.push(' ');
    }
    let _ = writeln!(text, "# {}", line.trim_end());
    text
}

/// Each value, and who set it.
pub(super) fn show(settings: &Settings) -> String {
    let mut text = String::new();
    for key in keys() {
        let _ = writeln!(text, "{} = {}  # {}", key.path, settings.shown(key), settings.origin(key.path));
    }
    text
}

/// The documentation of every key.
pub(super) fn document() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         Every key, as `waystation config doc` prints it. Later beats earlier: the default, the file of `--config`, the\n\
         environment variable `WAYSTATION__SECTION__KEY`, the command line, where `--set KEY=VALUE` sets any key.\n\
         OPERATIONS says how to check, show and change a configuration.\n\n\
         \"reload\": a change takes effect when the file changes and on SIGHUP; \"start\": at the next start.\n",
    );
    for section in &SECTIONS {
        let _ = write!(text, "\n## `[{}]`: {}\n\n{HEAD}", section.name, section.help);
        let mut below = Vec::new();
        for key in section.keys {
            row(&mut text, key);
            if let Kind::Rows(rows) = key.kind {
                below.push((key.path, rows));
            }
        }
        for (path, rows) in below {
            let _ = write!(text, "\nEach of `{path}`:\n\n{HEAD}");
            rows.keys.iter().for_each(|key| row(&mut text, key));
        }
    }
    text
}

const HEAD: &str = "| key | value | default | change | meaning |\n|---|---|---|---|---|\n";

fn row(text: &mut String, key: &Key) {
    let default = match key.fallback {
        Fallback::Is(value) => format!("`{value}`"),
        Fallback::Unset(what, _) => what.to_owned(),
        Fallback::Required(_) => "required".to_owned(),
    };
    let effect = if key.effect == Effect::Reload { "reload" } else { "start" };
    let kind = match key.kind {
        Kind::Rows(rows) => format!("a list of at most {} tables", rows.max),
        kind => kind.to_string(),
    };
    let _ = writeln!(text, "| `{}` | {kind} | {default} | {effect} | {} |", key.path, key.help);
}

#[cfg(test)]
mod tests;
