//! What the rows of lists have, and what only a whole row can have wrong.

use toml::{Table, Value};

use super::{AGE, PATH, judges};
use crate::auth::{Signature, is_system};
use crate::config::key::{Effect, Fallback, Key, Kind, Rows, Word};
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_COUNT_MAX, POLICY_EVENTS_MAX, RATE_PER_MINUTE_MAX};

pub(super) type Judge = fn(&Table) -> Result<(), (String, String)>;

pub(super) const fn of(keys: &'static [Key], max: usize, judge: Judge) -> Rows {
    Rows { keys, max, judge }
}

const fn key(path: &'static str, kind: Kind, fallback: Fallback, help: &'static str) -> Key {
    Key { path, kind, fallback, effect: Effect::Reload, help }
}

const MINUTELY: Kind = Kind::Count { min: 1, max: RATE_PER_MINUTE_MAX as u64 };
const VERBS: &[&str] = &["subscribe", "publish", "presence", "history", "edit", "stream", "register", "admin"];
const ALGORITHMS: &[&str] = &["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"];

/// A row of `auth.keys`.
pub(super) const AUTH_KEYS: &[Key] = &[
    key(
        "id",
        Kind::One(Word::Text { what: "a name in quotes, of 1 to 128 bytes", judge: judges::key_id }),
        Fallback::Unset("for tokens without a `kid`", "\"2026-11\""),
        "the `kid` by which tokens name it",
    ),
    key(
        "algorithm",
        Kind::One(Word::Choice(ALGORITHMS)),
        Fallback::Required("\"HS256\""),
        "what it signs with, and nothing else",
    ),
    key(
        "secret_file",
        PATH,
        Fallback::Unset("", "\"/run/secrets/token.key\""),
        "for HS256, HS384 and HS512: the file with the secret",
    ),
    key(
        "public_key_file",
        PATH,
        Fallback::Unset("", "\"/etc/waystation/login.pem\""),
        "for RS256, ES256 and EdDSA: the file with the public key",
    ),
];

/// A row of `policy`.
pub(super) const POLICY: &[Key] = &[
    key(
        "pattern",
        Kind::One(Word::Text {
            what: "a channel's name in quotes, or its beginning and a *, with {user} at most once",
            judge: judges::pattern,
        }),
        Fallback::Required("\"chat:*\""),
        "channels: a name, or its beginning and `*`; `{user}` is the own id",
    ),
    key(
        "verbs",
        Kind::Many(Word::Choice(VERBS), VERBS.len()),
        Fallback::Unset("as in the default table", "[\"subscribe\", \"publish\", \"presence\", \"history\"]"),
        "what users may do there whose token has no `caps`; `[]` denies all",
    ),
    key(
        "allowed_events",
        Kind::Many(Word::Text { what: "an event type in quotes", judge: judges::event_type }, POLICY_EVENTS_MAX),
        Fallback::Unset("all", "[\"note\", \"reaction\"]"),
        "the only event types that users may `publish` there; services may publish any",
    ),
    key(
        "rate",
        MINUTELY,
        Fallback::Unset("none", "60"),
        "messages a minute that a connection may send there, beside its own rate",
    ),
    key("burst", MINUTELY, Fallback::Unset("a sixth of `rate`", "10"), "how many of them at once; not without `rate`"),
    key(
        "html",
        Kind::One(Word::Choice(&["off", "escape", "reject"])),
        Fallback::Is("\"off\""),
        "HTML in chat messages, in content, attachments and metadata, also where a service publishes them",
    ),
    key(
        "deliver",
        Kind::One(Word::Choice(&["live", "until_acked"])),
        Fallback::Unset("`\"until_acked\"` for `notifications:*`, else `\"live\"`", "\"until_acked\""),
        "where a member starts that names no position: after what its user has acknowledged, or with what comes next; not for a pattern with `{user}` or for `system:…`",
    ),
    key(
        "durable",
        Kind::Flag,
        Fallback::Unset("`true` for `chat:*`, `trip:*` and `notifications:*`, else `false`", "false"),
        "whether events there outlive the gateway, where there is a store; a channel in use stays what it was when it was opened; not for a pattern with `{user}` or for `system:…`",
    ),
    key(
        "events",
        Kind::Count { min: 1, max: HISTORY_COUNT_MAX as u64 },
        Fallback::Unset("`history.events`", "1_000"),
        "events that a channel keeps; where a narrower row says nothing of them, those of a wider one hold; not for a pattern with `{user}`",
    ),
    key(
        "bytes",
        Kind::Count { min: 1, max: HISTORY_BYTES_MAX as u64 },
        Fallback::Unset("`history.bytes`", "8_388_608"),
        "bytes that a channel keeps, in the same way",
    ),
    key(
        "age",
        Kind::One(Word::Text { what: AGE, judge: judges::history_age }),
        Fallback::Unset("`history.age`", "\"30d\""),
        "how far back a channel reaches, in the same way",
    ),
];

/// A secret for the algorithms that share one, a public key for the others.
pub(super) fn judge_key(row: &Table) -> Result<(), (String, String)> {
    let Some(algorithm) = row.get("algorithm").and_then(Value::as_str).and_then(Signature::parse) else {
        return Ok(());
    };
    let (wanted, other) =
        if algorithm.is_shared() { ("secret_file", "public_key_file") } else { ("public_key_file", "secret_file") };
    if row.contains_key(wanted) && !row.contains_key(other) {
        return Ok(());
    }
    let name = algorithm.name();
    let what = format!("a key for {name} has a `{wanted}` and no `{other}`");
    Err((what, format!("give the key a {wanted}, as in {wanted} = \"/run/secrets/token.key\", and no {other}")))
}

pub(super) fn judge_policy(row: &Table) -> Result<(), (String, String)> {
    if row.contains_key("burst") && !row.contains_key("rate") {
        return Err(("the row has a `burst` and no `rate`".to_owned(), "add rate = 60, or take burst out".to_owned()));
    }
    let of_user = row.get("pattern").and_then(Value::as_str).is_some_and(|pattern| pattern.contains("{user}"));
    for name in ["deliver", "durable", "events", "bytes", "age"] {
        if row.contains_key(name) && of_user {
            let what =
                format!("the row has `{name}` and a pattern with {{user}}: it holds for all who are in a channel");
            return Err((what, format!("take {name} out, or write the pattern without {{user}}")));
        }
    }
    if row.get("pattern").and_then(Value::as_str).is_some_and(is_system) { judge_system(row) } else { Ok(()) }
}

/// A row of the gateway's own channels. What it cannot change there is told, or it would seem to hold.
fn judge_system(row: &Table) -> Result<(), (String, String)> {
    let is_text = |name: &str, wanted: &str| row.get(name).and_then(Value::as_str) == Some(wanted);
    let durable = row.get("durable").and_then(Value::as_bool) == Some(true);
    for (name, asked) in [("durable", durable), ("deliver", is_text("deliver", "until_acked"))] {
        if asked {
            let what =
                format!("the row has `{name}` for the gateway's own channels, which are in memory only and live");
            return Err((what, format!("take {name} out")));
        }
    }
    let verbs = row.get("verbs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !verbs.is_empty() && !verbs.iter().any(|verb| verb.as_str() == Some("admin")) {
        let what = "the row has `verbs` for the gateway's own channels and no \"admin\" among them: it lets nobody in";
        let remedy = "add \"admin\", or take the row out and give who is to watch a token with subscribe there";
        return Err((what.to_owned(), remedy.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Verb;

    #[test]
    fn verbs_and_algorithms_are_those_that_there_are() {
        assert_eq!(VERBS, Verb::ALL.map(|(_, name)| name));
        assert!(ALGORITHMS.iter().all(|name| Signature::parse(name).is_some()));
    }
}
