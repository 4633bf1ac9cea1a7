//! `[origins]`: which web pages may connect.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::wire::upgrade;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Origins {
    /// `scheme://host[:port]`, or `*` for all. Empty: the request's own host.
    #[serde(deserialize_with = "allowed")]
    pub allowed: Vec<String>,
    /// Refuse requests without an Origin.
    pub required: bool,
}

/// Each entry is judged where it stands.
fn allowed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Entry(#[serde(deserialize_with = "entry")] String);
    Ok(Vec::<Entry>::deserialize(deserializer)?.into_iter().map(|entry| entry.0).collect())
}

fn entry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    upgrade::Origins::new(std::slice::from_ref(&text)).map_err(D::Error::custom)?;
    Ok(text)
}
