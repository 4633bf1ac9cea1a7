//! `[[policy]]`: what holds in which channels.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::values;
use crate::auth::{ChannelRate, Deliver, Extent, Html, Pattern, PolicyRow, Verb, Verbs};

/// A row as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Which channels.
    #[serde(deserialize_with = "values::pattern")]
    pub pattern: Pattern,
    /// What users may do there whose token does not say.
    #[serde(default, deserialize_with = "verbs")]
    pub verbs: Option<Verbs>,
    /// The only event types that users may `publish` there.
    #[serde(default)]
    pub allowed_events: Option<Vec<String>>,
    /// Messages a minute that a connection may send there.
    #[serde(default)]
    pub rate: Option<u32>,
    /// How many of them at once.
    #[serde(default)]
    pub burst: Option<u32>,
    /// What becomes of HTML in chat messages.
    #[serde(default, deserialize_with = "html")]
    pub html: Option<Html>,
    /// Where a member starts that names no position.
    #[serde(default, deserialize_with = "deliver")]
    pub deliver: Option<Deliver>,
    /// Whether the channels' history outlives the process.
    #[serde(default)]
    pub durable: Option<bool>,
    /// Events of a channel that are kept.
    #[serde(default)]
    pub events: Option<usize>,
    /// Bytes of these.
    #[serde(default)]
    pub bytes: Option<usize>,
    /// Seconds, written as in `24h`.
    #[serde(default, deserialize_with = "values::duration_s")]
    pub age: Option<u64>,
}

impl Row {
    /// The row as the rest of the program uses it. A burst that is not given is a sixth of the minute's messages.
    #[must_use]
    pub fn usable(&self) -> PolicyRow {
        let rate = self.rate.map(|per_minute| {
            let burst = self.burst.unwrap_or_else(|| (per_minute / 6).max(1));
            ChannelRate { per_minute, burst }
        });
        let row = PolicyRow::new(self.pattern.clone());
        let (verbs, allowed_events) = (self.verbs, self.allowed_events.clone());
        let (html, deliver, durable) = (self.html, self.deliver, self.durable);
        let extent = Extent { count: self.events, bytes: self.bytes, age_ms: self.age.map(|seconds| seconds * 1000) };
        PolicyRow { verbs, allowed_events, rate, html, deliver, durable, extent, ..row }
    }
}

fn verbs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Verbs>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Entry(#[serde(deserialize_with = "verb")] Verb);
    let entries = Vec::<Entry>::deserialize(deserializer)?;
    Ok(Some(entries.into_iter().fold(Verbs::NONE, |set, entry| set.with(entry.0))))
}

/// A claim may name verbs of a later version; a file that does is a mistake.
fn verb<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Verb, D::Error> {
    const NAMES: [&str; Verb::ALL.len()] = {
        let mut names = [""; Verb::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Verb::ALL[at].1;
            at += 1;
        }
        names
    };
    let name = String::deserialize(deserializer)?;
    Verb::parse(&name).ok_or_else(|| D::Error::unknown_variant(&name, &NAMES))
}

fn deliver<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Deliver>, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name.as_str() {
        "live" => Ok(Some(Deliver::Live)),
        "until_acked" => Ok(Some(Deliver::UntilAcked)),
        other => Err(D::Error::unknown_variant(other, &["live", "until_acked"])),
    }
}

fn html<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Html>, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name.as_str() {
        "off" => Ok(Some(Html::Off)),
        "escape" => Ok(Some(Html::Escape)),
        "reject" => Ok(Some(Html::Reject)),
        other => Err(D::Error::unknown_variant(other, &["off", "escape", "reject"])),
    }
}
