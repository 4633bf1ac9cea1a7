//! Every key of the configuration, by section, in the order in which they are documented.
//!
//! A new setting is a row here and a field in `file/`: a test holds the two together. What a text must be is judged in
//! `judges`; the rows of limits, which are many, stand in `limits`, those of lists in `rows`.

mod judges;
mod limits;
mod rows;

pub(super) use judges::log_filter;

use super::key::{Effect, Fallback, Key, Kind, Word};
use crate::limits::{
    HISTORY_BYTES_MAX, HISTORY_COUNT_MAX, KEYS_COUNT_MAX, LISTEN_COUNT_MAX, ORIGINS_COUNT_MAX, POLICY_ROWS_MAX,
    PROXIES_COUNT_MAX, RECORDER_BYTES_MAX, SHARDS_COUNT_MAX, SPIN_US_MAX, STORE_CACHE_BYTES_MAX, STORE_CACHE_BYTES_MIN,
    STORE_READERS_MAX, STORE_WINDOW_MS_MAX, STORE_WINDOW_MS_MIN,
};

/// Keys with one heading.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name in the file.
    pub name: &'static str,
    /// What it is about.
    pub help: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// All sections.
pub static SECTIONS: [Section; 13] = [
    Section { name: "server", help: "where it listens and what it runs on", keys: SERVER },
    Section { name: "log", help: "what is logged, and how", keys: LOG },
    Section { name: "audit", help: "who came, was let in, refused and went, and who administered", keys: AUDIT },
    Section { name: "auth", help: "whose tokens are good", keys: AUTH },
    Section { name: "origins", help: "which web pages may connect", keys: ORIGINS },
    Section { name: "limits", help: "how much is allowed; 0 is no limit", keys: limits::KEYS },
    Section { name: "proxies", help: "what stands in front of the gateway", keys: PROXIES },
    Section { name: "globetrotter", help: "the GlobeTrotter dialect", keys: GLOBETROTTER },
    Section { name: "admin", help: "who administers", keys: ADMIN },
    Section { name: "recorder", help: "what happened last, for `waystation dump` and `tail`", keys: RECORDER },
    Section { name: "history", help: "what channels keep", keys: HISTORY },
    Section { name: "store", help: "what outlives the gateway, and where", keys: STORE },
    Section { name: "policy", help: "what holds in which channels", keys: POLICY },
];

/// All keys.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The key of a whole name.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    keys().find(|key| key.path == path)
}

const fn key(path: &'static str, kind: Kind, fallback: Fallback, effect: Effect, help: &'static str) -> Key {
    Key { path, kind, fallback, effect, help }
}

const fn path(judge: fn(&str) -> Result<(), String>) -> Kind {
    Kind::One(Word::Text { what: "a path in quotes", judge })
}

const NO: Fallback = Fallback::Is("false");
const PATH: Kind = path(judges::path);
const AGE: &str = "a duration from 1s to 3660d in quotes, as in \"24h\"";
const TEXT: Kind = Kind::One(Word::Text { what: "a text in quotes, not empty", judge: judges::text });

const SERVER: &[Key] = &[
    key(
        "server.listen",
        Kind::Some(
            Word::Text {
                what: "an address and a port in quotes, as in \"127.0.0.1:8000\", or the path of a Unix socket, as in \"unix:/run/waystation/ws.sock\"",
                judge: judges::address,
            },
            LISTEN_COUNT_MAX,
        ),
        Fallback::Is("[\"127.0.0.1:8000\"]"),
        Effect::Restart,
        "where to listen. Port 0 takes a free one. An IPv6 address is for IPv6 alone: for both write `[\"0.0.0.0:8000\", \"[::]:8000\"]`. `--listen`",
    ),
    key(
        "server.socket_mode",
        Kind::One(Word::Text { what: "an octal mode in quotes, as in \"0660\"", judge: judges::socket_mode }),
        Fallback::Is("\"0660\""),
        Effect::Restart,
        "who may connect to the Unix sockets, as the mode of their files; connecting takes the right to write",
    ),
    key(
        "server.share",
        Kind::Flag,
        NO,
        Effect::Restart,
        "lets other servers of this user listen on the same addresses, for a change of servers in which nobody is refused; both must have it. Each has its own channels",
    ),
    key(
        "server.data",
        path(judges::directory_or_none),
        Fallback::Unset("the platform's state directory", "\"/var/lib/waystation\""),
        Effect::Restart,
        "where the development key and, unless `store.directory` says otherwise, the store are kept; made for its owner only. `\"none\"`: nothing is kept, and a restart forgets all history. `--data`",
    ),
    key(
        "server.shards",
        Kind::Count { min: 1, max: SHARDS_COUNT_MAX as u64 },
        Fallback::Unset("one for each usable processor", "4"),
        Effect::Restart,
        "threads; usable counts affinity mask and time quota. `--shards`",
    ),
    key(
        "server.cpus",
        Kind::One(Word::Text { what: "numbers and ranges in quotes, as in \"0,2-3\"", judge: judges::cpus }),
        Fallback::Unset("as the kernel places them", "\"0-3\""),
        Effect::Restart,
        "pins the shards, one processor each. `--cpus`",
    ),
    key(
        "server.echo",
        Kind::Flag,
        NO,
        Effect::Restart,
        "serves `/echo` without authentication and with raised limits: for measuring. `--echo`",
    ),
    key(
        "server.spin_us",
        Kind::Count { min: 0, max: SPIN_US_MAX as u64 },
        Fallback::Is("0"),
        Effect::Restart,
        "microseconds to look for work before sleeping; 20 to 50 on processors of one's own. `--spin-us`",
    ),
];

const LOG: &[Key] = &[
    key(
        "log.filter",
        Kind::One(Word::Text {
            what: "levels and targets in quotes, as in \"info,waystation=debug\"",
            judge: judges::log_filter,
        }),
        Fallback::Is("\"info\""),
        Effect::Reload,
        "what is logged. `WAYSTATION_LOG`",
    ),
    key(
        "log.format",
        Kind::One(Word::Choice(&["text", "json", "logfmt"])),
        Fallback::Is("\"text\""),
        Effect::Restart,
        "the form of a line. `WAYSTATION_LOG_FORMAT`",
    ),
];

const AUDIT: &[Key] = &[key(
    "audit.to",
    Kind::One(Word::Text { what: "\"off\", \"log\" or the path of a file in quotes", judge: judges::file_or_log }),
    Fallback::Is("\"off\""),
    Effect::Restart,
    "where an entry goes for each of these: nowhere, into the log, or as lines of JSON into a file of its own, which is opened again on SIGHUP",
)];

const AUTH: &[Key] = &[
    key(
        "auth.issuer",
        TEXT,
        Fallback::Unset("any", "\"https://login.example.com\""),
        Effect::Reload,
        "the `iss` that a token must have; not for the development key",
    ),
    key(
        "auth.audience",
        TEXT,
        Fallback::Unset("any", "\"gateway\""),
        Effect::Reload,
        "the `aud` that a token must name; not for the development key",
    ),
    key(
        "auth.require_caps",
        Kind::Flag,
        NO,
        Effect::Reload,
        "users may do what the `caps` of their token grant and nothing else; not with `globetrotter.open`",
    ),
    key(
        "auth.keys",
        Kind::Rows(rows::of(rows::AUTH_KEYS, KEYS_COUNT_MAX, rows::judge_key)),
        Fallback::Unset(
            "the development key, unless there is `auth.jwks_file`",
            "[{ id = \"2026-11\", algorithm = \"HS256\", secret_file = \"/run/secrets/token.key\" }]",
        ),
        Effect::Reload,
        "keys for tokens, each in a file of its own",
    ),
    key(
        "auth.jwks_file",
        PATH,
        Fallback::Unset("none", "\"/etc/waystation/jwks.json\""),
        Effect::Reload,
        "a JWK set (RFC 7517), read again within a second of a change",
    ),
];

const ORIGINS: &[Key] = &[
    key(
        "origins.allowed",
        Kind::Many(
            Word::Text {
                what: "an origin in quotes, as in \"https://app.example.com\", or \"*\"",
                judge: judges::origin,
            },
            ORIGINS_COUNT_MAX,
        ),
        Fallback::Is("[]"),
        Effect::Reload,
        "pages that may connect, by exact `scheme://host[:port]`, or `*` for all; empty: the request's own host, and loopback while listening on loopback",
    ),
    key("origins.required", Kind::Flag, NO, Effect::Reload, "refuses requests without an `Origin`"),
];

const PROXIES: &[Key] = &[
    key(
        "proxies.trusted",
        Kind::Many(
            Word::Text {
                what: "a network or an address in quotes, as in \"10.0.0.0/8\", or \"unix\"",
                judge: judges::network,
            },
            PROXIES_COUNT_MAX,
        ),
        Fallback::Is("[]"),
        Effect::Restart,
        "proxies: from these `X-Forwarded-For` is believed, and the rightmost hop that is not one of them is the client; `unix` is whoever connects to a Unix socket. Without it all clients behind a proxy share one address",
    ),
    key(
        "proxies.protocol",
        Kind::Flag,
        NO,
        Effect::Restart,
        "these proxies begin each connection with a header of the PROXY protocol, version 1 or 2; one that does not is closed",
    ),
];

const GLOBETROTTER: &[Key] = &[key(
    "globetrotter.open",
    Kind::Flag,
    NO,
    Effect::Restart,
    "lets clients of `/api/v1/ws/…` in without a token, as whatever user they name, to read and write every trip; not with `auth.require_caps`",
)];

const ADMIN: &[Key] = &[
    key(
        "admin.loopback",
        Kind::Flag,
        NO,
        Effect::Restart,
        "who connects from this machine, and asks for `localhost` or a loopback address, administers without a token; not behind a proxy here, which makes everybody come from it",
    ),
    key(
        "admin.socket",
        path(judges::socket_or_off),
        Fallback::Unset(
            "`admin.sock` in `$RUNTIME_DIRECTORY`, else in the data directory",
            "\"/run/waystation/admin.sock\"",
        ),
        Effect::Restart,
        "the Unix socket of `waystation dump`, `tail`, `debug`, `log` and `stats`, for the server's user and root; `\"off\"` for none",
    ),
];

const RECORDER: &[Key] = &[key(
    "recorder.bytes",
    Kind::Count { min: 0, max: RECORDER_BYTES_MAX as u64 },
    Fallback::Is("1_048_576"),
    Effect::Restart,
    "bytes of each shard's flight recorder, 32 for each record, rounded down to a power of two, at least 64; 0 for none",
)];

const HISTORY: &[Key] = &[
    key(
        "history.events",
        Kind::Count { min: 1, max: HISTORY_COUNT_MAX as u64 },
        Fallback::Is("100"),
        Effect::Reload,
        "events that a channel keeps, where no row of `policy` says otherwise; on the disk up to a quarter more, or 64, before the oldest go together, and these are shown",
    ),
    key(
        "history.bytes",
        Kind::Count { min: 1, max: HISTORY_BYTES_MAX as u64 },
        Fallback::Is("1_048_576"),
        Effect::Reload,
        "bytes that a channel keeps; on the disk up to a quarter more",
    ),
    key(
        "history.age",
        Kind::One(Word::Text { what: AGE, judge: judges::history_age }),
        Fallback::Is("\"24h\""),
        Effect::Reload,
        "how far back a channel reaches; on the disk up to an eighth further",
    ),
    key(
        "history.memory_events",
        Kind::Count { min: 1, max: HISTORY_COUNT_MAX as u64 },
        Fallback::Is("100"),
        Effect::Reload,
        "events of a channel in the store that are held in memory beside; who wants earlier ones has them read from there. Of a channel that is in no store all that it keeps is held",
    ),
    key(
        "history.memory_bytes",
        Kind::Count { min: 1, max: HISTORY_BYTES_MAX as u64 },
        Fallback::Is("1_048_576"),
        Effect::Reload,
        "bytes of these",
    ),
];

const STORE: &[Key] = &[
    key(
        "store.directory",
        path(judges::directory_or_none),
        Fallback::Unset("`store` in the data directory", "\"/var/lib/waystation/store\""),
        Effect::Restart,
        "where the history of durable channels is kept, by one gateway at a time; `\"none\"`: it is in memory only, and a restart forgets it",
    ),
    key(
        "store.window_ms",
        Kind::Count { min: STORE_WINDOW_MS_MIN, max: STORE_WINDOW_MS_MAX },
        Fallback::Is("5"),
        Effect::Restart,
        "milliseconds that events are collected for before they are written together; an acknowledgement waits for that",
    ),
    key(
        "store.cache_bytes",
        Kind::Count { min: STORE_CACHE_BYTES_MIN, max: STORE_CACHE_BYTES_MAX },
        Fallback::Is("16_777_216"),
        Effect::Restart,
        "memory for what was read from there",
    ),
    key(
        "store.readers",
        Kind::Count { min: 1, max: STORE_READERS_MAX as u64 },
        Fallback::Is("2"),
        Effect::Restart,
        "threads that read from there, for who comes back and for channels that are opened",
    ),
];

const POLICY: &[Key] = &[key(
    "policy",
    Kind::Rows(rows::of(rows::POLICY, POLICY_ROWS_MAX, rows::judge_policy)),
    Fallback::Unset("the default table alone", ""),
    Effect::Reload,
    "rows that are laid over the default table (PROTOCOL, Permissions)",
)];

#[cfg(test)]
mod tests;
