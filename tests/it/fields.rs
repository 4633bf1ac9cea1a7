//! The fields of a value beside those that a schema describes: neither may have one that the other lacks.
//!
//! Also a module of the schemas' own test, which holds a golden sample to them.

use std::collections::BTreeSet;

use serde_json::Value;

/// Every field of a value, with the fields above it; members of a list are one.
pub(crate) fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| fields(item, path, found)),
        Value::Object(members) => {
            for (name, value) in members {
                let path = format!("{path}/{name}");
                fields(value, &path, found);
                found.insert(path);
            }
        }
        _ => {}
    }
}

/// The same of what a schema describes.
pub(crate) fn described(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if schema["items"].is_object() {
        described(&schema["items"], path, found);
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        described(schema, &path, found);
        found.insert(path);
    }
}
