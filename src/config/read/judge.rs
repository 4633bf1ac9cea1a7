//! One value against what its key wants. Whatever is wrong in a list is told, each where it stands.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::Fault;
use crate::config::key::{Fallback, Key, Kind, Rows, Word, nearest};
use crate::limits::CONFIG_VALUE_SHOWN_MAX;

/// A good value.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) value: Value,
    pub(super) at: Range<usize>,
    /// Where each row of a list of tables begins.
    pub(super) rows: Vec<usize>,
}

/// Judges the value of the key that is called `name` in messages.
pub(super) fn value(key: &Key, name: &str, value: &Spanned<DeValue<'_>>, text: &str) -> Result<Judged, Vec<Fault>> {
    let at = value.span();
    // What stands where keys for tokens belong may be one.
    let shown = shown(key, text, at.clone());
    let bad = |why: &str| vec![wrong(key, name, &shown, why, at.clone())];
    let judged = match (key.kind, value.get_ref()) {
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Boolean(*flag)),
        (Kind::Count { min, max }, DeValue::Integer(number)) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
            let within = number.filter(|number| u64::try_from(*number).is_ok_and(|n| (min..=max).contains(&n)));
            within.map(Value::Integer).ok_or_else(|| bad("this is out of bounds"))
        }
        (Kind::One(word), DeValue::String(written)) => match judge_word(word, written) {
            Ok(()) => Ok(Value::String(written.to_string())),
            Err(why) => Err(vec![with_meant(wrong(key, name, &shown, &why, at.clone()), word, written)]),
        },
        (Kind::Some(word, _), DeValue::String(written)) => match judge_word(word, written) {
            Ok(()) => Ok(Value::Array(vec![Value::String(written.to_string())])),
            Err(why) => Err(vec![with_meant(wrong(key, name, &shown, &why, at.clone()), word, written)]),
        },
        (Kind::Some(..), DeValue::Array(items)) if items.is_empty() => Err(bad("it is empty")),
        (Kind::Many(word, max) | Kind::Some(word, max), DeValue::Array(items)) if items.len() <= max => {
            many(key, name, word, items, text)
        }
        (Kind::Many(_, max) | Kind::Some(_, max), DeValue::Array(items)) => {
            Err(bad(&format!("{} are over {max}", items.len())))
        }
        (Kind::Rows(rows), DeValue::Array(items)) if items.len() <= rows.max => {
            return all_rows(key, name, rows, items, text).map(|(value, rows)| Judged { value, at, rows });
        }
        (Kind::Rows(rows), DeValue::Array(items)) => Err(bad(&format!("{} rows are over {}", items.len(), rows.max))),
        (Kind::Rows(_), DeValue::Table(_)) => {
            let what = format!("`{name}` is one table, and a list of them is wanted");
            return Err(vec![Fault {
                at,
                what,
                remedy: format!("write [[{name}]], with two brackets, before each row"),
            }]);
        }
        (_, other) => Err(bad(&format!("this is {}", kind_of(other)))),
    };
    judged.map(|value| Judged { value, at, rows: Vec::new() })
}

fn many(key: &Key, name: &str, word: Word, items: &[Spanned<DeValue<'_>>], text: &str) -> Result<Value, Vec<Fault>> {
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    for item in items {
        let (at, shown) = (item.span(), excerpt(text, item.span()));
        let why = match item.get_ref() {
            DeValue::String(written) => judge_word(word, written).map(|()| written.to_string()),
            other => Err(format!("this is {}", kind_of(other))),
        };
        match why {
            Ok(written) => good.push(Value::String(written)),
            Err(why) => {
                let fault = wrong(key, name, &shown, &why, at);
                faults.push(with_meant(fault, word, item.get_ref().as_str().unwrap_or_default()));
            }
        }
    }
    if faults.is_empty() { Ok(Value::Array(good)) } else { Err(faults) }
}

fn all_rows(
    key: &Key,
    name: &str,
    rows: Rows,
    items: &[Spanned<DeValue<'_>>],
    text: &str,
) -> Result<(Value, Vec<usize>), Vec<Fault>> {
    let (mut good, mut begins, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        match item.get_ref() {
            DeValue::Table(table) => match row(name, rows, table, item.span(), text) {
                Ok(row) => {
                    good.push(Value::Table(row));
                    begins.push(item.span().start);
                }
                Err(wrong) => faults.extend(wrong),
            },
            other => {
                faults.push(wrong(key, name, "…", &format!("this is {}", kind_of(other)), item.span()));
            }
        }
    }
    if faults.is_empty() { Ok((Value::Array(good), begins)) } else { Err(faults) }
}

fn row(name: &str, rows: Rows, table: &DeTable<'_>, at: Range<usize>, text: &str) -> Result<Table, Vec<Fault>> {
    let (mut good, mut faults) = (Table::new(), Vec::new());
    for (written, item) in table {
        let whole = format!("{name}.{}", written.get_ref());
        match rows.keys.iter().find(|key| key.path == written.get_ref().as_ref()) {
            Some(key) => match value(key, &whole, item, text) {
                Ok(judged) => {
                    good.insert(key.path.to_owned(), judged.value);
                }
                Err(wrong) => faults.extend(wrong),
            },
            None => faults.push(no_key_of_row(name, rows, written.get_ref(), written.span())),
        }
    }
    for key in rows.keys {
        if let Fallback::Required(example) = key.fallback
            && !table.iter().any(|(written, _)| written.get_ref().as_ref() == key.path)
        {
            let what = format!("this row of `{name}` has no `{}`", key.path);
            faults.push(Fault { at: at.clone(), what, remedy: format!("add {} = {example}", key.path) });
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    match (rows.judge)(&good) {
        Ok(()) => Ok(good),
        Err((what, remedy)) => Err(vec![Fault { at, what: format!("`{name}`: {what}"), remedy }]),
    }
}

fn no_key_of_row(name: &str, rows: Rows, written: &str, at: Range<usize>) -> Fault {
    let names = || rows.keys.iter().map(|key| key.path);
    let remedy = nearest(written, names()).map_or_else(
        || format!("take it out; known here are {}", names().collect::<Vec<_>>().join(", ")),
        |meant| format!("did you mean `{meant}`?"),
    );
    Fault { at, what: format!("`{name}.{written}` is no key"), remedy }
}

fn judge_word(word: Word, written: &str) -> Result<(), String> {
    match word {
        Word::Text { judge, .. } => judge(written),
        Word::Choice(names) if names.contains(&written) => Ok(()),
        Word::Choice(_) => Err("this is none of them".to_owned()),
    }
}

/// Asks for the nearest of a choice.
fn with_meant(fault: Fault, word: Word, written: &str) -> Fault {
    let meant = match word {
        Word::Choice(names) => nearest(written, names.iter().copied()),
        Word::Text { .. } => None,
    };
    match meant {
        Some(meant) => Fault { remedy: format!("did you mean \"{meant}\"? Else {}", fault.remedy), ..fault },
        None => fault,
    }
}

/// The fault of a value that its key does not take.
pub(super) fn wrong(key: &Key, name: &str, shown: &str, why: &str, at: Range<usize>) -> Fault {
    let remedy = match key.fallback {
        Fallback::Is(default) => format!("write {}; the default is {default}", key.kind),
        Fallback::Unset(_, example) | Fallback::Required(example) if !example.is_empty() => {
            format!("write {}; as in {example}", key.kind)
        }
        _ => format!("write {}", key.kind),
    };
    Fault { at, what: format!("`{name}` = {shown}: {why}"), remedy }
}

pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What stands at a place, on one line and not too long.
/// What is repeated of a value: nothing of one that may hold a secret.
pub(super) fn shown(key: &Key, text: &str, at: Range<usize>) -> String {
    if matches!(key.kind, Kind::Rows(_)) { "…".to_owned() } else { excerpt(text, at) }
}

fn excerpt(text: &str, at: Range<usize>) -> String {
    let written = text.get(at).unwrap_or_default();
    let line = written.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(CONFIG_VALUE_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
