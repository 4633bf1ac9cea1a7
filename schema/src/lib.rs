//! JSON Schemas (draft 2020-12) of what goes over a socket, for those who write clients.
//!
//! They are generated from types that describe the messages, and lie under `docs/schema`; tests hold the files to
//! these types, and every golden vector to the files. A package of its own: what it depends on never reaches the
//! server. Absent: the limits that a schema cannot say, such as bytes where it counts characters.

pub mod client;
pub mod server;
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
