//! JSON Schemas (draft 2020-12) of what goes over a socket, for those who write clients; an AsyncAPI document that puts them
//! to their endpoints, and an OpenAPI document of what is asked over HTTP.
//!
//! They are generated from types that describe the messages, and lie under `docs/schema`; tests hold the files to
//! these types, and every golden vector to the files. A package of its own: what it depends on never reaches the
//! server. Absent: the limits that a schema cannot say, such as bytes where it counts characters.

pub mod client;
pub mod http;
pub mod server;
pub mod socket;
mod stats;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The schema of a type, whole in itself.
fn described<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(members) = schema.as_object_mut() {
        members.remove("title");
    }
    schema
}

/// Takes out that something may be `null`: what is absent is left out.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|kind| kind != "null");
            }
            if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
            }
            members.values_mut().for_each(without_null);
        }
        _ => {}
    }
}
