//! The table against the types, the limits and the environment.

use std::collections::BTreeSet;

use serde::Deserialize as _;

use super::*;
use crate::config::file::File;
use crate::config::layers::insert;

#[test]
fn names_are_unique_and_stand_in_their_section() {
    let names: BTreeSet<&str> = keys().map(|key| key.path).collect();
    assert_eq!(names.len(), keys().count());
    for section in &SECTIONS {
        for key in section.keys {
            let inside = key.path == section.name || key.path.starts_with(&format!("{}.", section.name));
            assert!(inside && std::ptr::eq(find(key.path).unwrap(), key), "{}", key.path);
        }
    }
    let variables: BTreeSet<String> = keys().map(Key::variable).collect();
    assert_eq!(variables.len(), names.len());
    assert_eq!(find("limits.chat.burst").unwrap().variable(), "WAYSTATION__LIMITS__CHAT__BURST");
}

/// Every key with a value, and one for each that could be set.
fn filled() -> toml::Table {
    let mut document = toml::Table::new();
    for key in keys() {
        let example = match (key.kind, key.fallback) {
            (Kind::Rows(rows), Fallback::Unset(_, "")) => {
                let mut row = toml::Table::new();
                for key in rows.keys {
                    row.insert(key.path.to_owned(), example(key.fallback));
                }
                toml::Value::Array(vec![toml::Value::Table(row)])
            }
            (_, fallback) => example(fallback),
        };
        insert(&mut document, key.path, example);
    }
    document
}

fn example(fallback: Fallback) -> toml::Value {
    let (Fallback::Is(text) | Fallback::Unset(_, text) | Fallback::Required(text)) = fallback;
    let document: toml::Table = format!("x = {text}").parse().unwrap();
    document["x"].clone()
}

#[test]
fn the_types_have_a_field_for_every_key_and_none_besides() {
    let file = File::deserialize(filled()).unwrap();
    assert_eq!((file.auth.keys.len(), file.policy.len()), (1, 1));
    // A key that no type has is refused; a field that no key sets would have to be missing here.
    let mut more = filled();
    more.insert("more".to_owned(), toml::Value::Integer(1));
    assert!(File::deserialize(more).is_err());
    let fields = format!("{file:?}");
    let unset = fields.matches("None").count();
    // A pattern that ends with its wildcard has nothing behind it.
    assert_eq!(unset, fields.matches("tail: None").count(), "{fields}");
}
