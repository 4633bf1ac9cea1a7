//! `[limits]`, and below it a section for each kind of endpoint.

use crate::config::key::{Effect, Fallback, Key, Kind, Word};
use crate::limits::{CONFIGURED_CONNECTIONS_MAX, RATE_PER_MINUTE_MAX};

const COUNT: Kind = Kind::Count { min: 0, max: CONFIGURED_CONNECTIONS_MAX as u64 };
const MINUTELY: Kind = Kind::Count { min: 0, max: RATE_PER_MINUTE_MAX as u64 };

const fn key(path: &'static str, kind: Kind, fallback: &'static str, help: &'static str) -> Key {
    Key { path, kind, fallback: Fallback::Is(fallback), effect: Effect::Reload, help }
}

/// The three of a kind of endpoint.
macro_rules! doors {
    ([$($first:expr,)*] $($door:literal $connections:literal $messages:literal $burst:literal;)*) => {
        &[
            $($first,)*
            $(
                key(
                    concat!("limits.", $door, ".connections"),
                    COUNT,
                    $connections,
                    "connections of one user to one resource; one more takes the place of the oldest, or with flat \
                     frames is refused before its upgrade while the others live",
                ),
                key(
                    concat!("limits.", $door, ".messages"),
                    MINUTELY,
                    $messages,
                    "messages a minute of one connection",
                ),
                key(
                    concat!("limits.", $door, ".burst"),
                    MINUTELY,
                    $burst,
                    "how many of them at once; without it, and with `messages`, a sixth of these",
                ),
            )*
        ]
    };
}

/// The section and its sections.
pub(super) const KEYS: &[Key] = doors! {
    [
        key(
            "limits.profile",
            Kind::One(Word::Choice(&["default", "unlimited"])),
            "\"default\"",
            "`unlimited` takes all of these away, for measuring. `--limits`",
        ),
        Key {
            path: "limits.connections",
            kind: Kind::Count { min: 1, max: CONFIGURED_CONNECTIONS_MAX as u64 },
            fallback: Fallback::Unset("what the descriptors allow", "100_000"),
            effect: Effect::Reload,
            help: "connections in all; over it upgrades are held up to 8 s, then refused 503",
        },
        key("limits.connections_per_address", COUNT, "0", "the same for one address. IPv6 counts by /64"),
        key(
            "limits.strangers_per_address",
            COUNT,
            "16_384",
            "sockets of one address, on each thread, from which nobody is known yet; over it, or over half of all \
             sockets, the oldest of them is closed. Those of trusted proxies count as their clients'",
        ),
        key("limits.connections_per_user", COUNT, "100", "over it the new one is closed"),
        key(
            "limits.connections_per_resource",
            COUNT,
            "0",
            "connections to one room's endpoint, whoever's; over it the new one is closed",
        ),
        key("limits.messages_per_user", MINUTELY, "600", "messages a minute of one user over all connections"),
        key("limits.upgrades", MINUTELY, "60", "upgrades a minute of one user from one address"),
        key(
            "limits.upgrades_without_token",
            MINUTELY,
            "60_000",
            "upgrades a minute from one address whose token has yet to come in the first frame",
        ),
        key("limits.bad_tokens", MINUTELY, "60", "tokens with a bad signature a minute from one address"),
    ]
    "chat" "3" "120" "20";
    "agent_status" "3" "60" "10";
    "collab" "3" "300" "50";
    "notifications" "3" "30" "5";
    "open" "10" "600" "100";
    "globetrotter" "10" "300" "50";
    "globetrotter_trip" "3" "300" "50";
};
