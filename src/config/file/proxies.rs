//! `[proxies]`: what stands in front of the gateway.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::wire::proxy;

/// The section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxies {
    /// Networks, or single addresses, whose word is taken for where a client comes from.
    #[serde(deserialize_with = "trusted")]
    pub trusted: Vec<String>,
    /// Whether they begin each connection with a header of the PROXY protocol.
    pub protocol: bool,
}

/// Each entry is judged where it stands.
fn trusted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Entry(#[serde(deserialize_with = "entry")] String);
    Ok(Vec::<Entry>::deserialize(deserializer)?.into_iter().map(|entry| entry.0).collect())
}

fn entry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    proxy::Proxies::new(std::slice::from_ref(&text), false).map_err(D::Error::custom)?;
    Ok(text)
}
