//! The names of the TripSage dialect: event types that are not for everybody, channels with their aliases.
//!
//! Inside, a channel has one name. A client that used an older one is answered in it
//! ([`Encoding::TRIPSAGE_ALIAS`]).

use super::encoding::Encoding;

/// Whether only the gateway itself may send events of this type: they tell a client about its own
/// connection, its own requests or a channel's continuity, and a forged one would mislead it.
#[must_use]
pub fn is_reserved(kind: &str) -> bool {
    const EXACT: [&str; 18] = [
        "ack",
        "nack",
        "gap",
        "error",
        "pong",
        "ping",
        "batch",
        "erased",
        "presence",
        "response",
        "subscribed",
        "unsubscribed",
        "subscribe_response",
        "register_response",
        "token_expiring",
        "draining",
        "degraded",
        "auth",
    ];
    EXACT.contains(&kind) || kind.starts_with("connection_")
}

/// Whether events of this type say in their payload who did something, in which role, or what state is in
/// force. Clients believe it, so only those may send them as they like who speak for others.
#[must_use]
pub fn is_attributed(kind: &str) -> bool {
    const EXACT: [&str; 11] = [
        "user_message",
        "user_typing",
        "user_stop_typing",
        "typing",
        "typing_start",
        "typing_stop",
        "cursor_update",
        "status_update",
        "task_start",
        "task_complete",
        "trip_update",
    ];
    const FAMILIES: [&str; 13] = [
        "chat_message",
        "chat_typing_",
        "agent_",
        "tool_call_",
        "stream_",
        "trip_update_",
        "trip_conflict_",
        "trip_collaborat",
        "trip_field_",
        "collaborat",
        "optimistic_update_",
        "conflict_resolution_",
        "field_lock_",
    ];
    EXACT.contains(&kind) || FAMILIES.iter().any(|family| kind.starts_with(family))
}

/// A channel's own name in two pieces, and the encoding that answers in the name the client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canonical<'a> {
    /// The first piece, up to and with the colon if there is one.
    pub prefix: &'a str,
    /// The second piece; may be empty.
    pub rest: &'a str,
    /// How to name the channel to this client.
    pub encoding: Encoding,
}

impl Canonical<'_> {
    /// Writes the name into `out`, which is cleared first.
    pub fn write(&self, out: &mut String) {
        out.clear();
        out.push_str(self.prefix);
        out.push_str(self.rest);
    }

    /// Bytes of the name.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.prefix.len() + self.rest.len()
    }

    /// Whether the name is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Prefixes of older names and of today's.
const ALIASES: [(&str, &str); 2] = [("session:", "chat:"), ("agent_status:", "agent:")];

/// The channel that a client means by `name`; `user` is its authenticated user.
#[must_use]
pub fn canonical<'a>(name: &'a str, user: &'a str) -> Canonical<'a> {
    let encoding = Encoding::TRIPSAGE_ALIAS;
    if name == "notifications" {
        return Canonical { prefix: "notifications:", rest: user, encoding };
    }
    for (alias, prefix) in ALIASES {
        if let Some(rest) = name.strip_prefix(alias) {
            return Canonical { prefix, rest, encoding };
        }
    }
    let colon = name.find(':').map_or(0, |at| at + 1);
    let (prefix, rest) = name.split_at(colon);
    Canonical { prefix, rest, encoding: Encoding::TRIPSAGE }
}

/// The older name of a channel in two pieces; `None` if it has none.
#[must_use]
pub fn alias_of(channel: &str) -> Option<(&'static str, &str)> {
    if channel.starts_with("notifications:") {
        return Some(("notifications", ""));
    }
    ALIASES.iter().find_map(|(alias, prefix)| channel.strip_prefix(prefix).map(|rest| (*alias, rest)))
}

/// The name of `channel` in an encoding, in two pieces.
#[must_use]
pub fn name_in(encoding: Encoding, channel: &str) -> (&str, &str) {
    let alias = if encoding == Encoding::TRIPSAGE_ALIAS { alias_of(channel) } else { None };
    alias.unwrap_or((channel, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_answered_in_the_name_that_the_client_used() {
        for (name, expected) in [
            ("chat:s1", "chat:s1"),
            ("session:s1", "chat:s1"),
            ("agent:u", "agent:u"),
            ("agent_status:u", "agent:u"),
            ("notifications", "notifications:me"),
            ("notifications:me", "notifications:me"),
            ("trip:a:b", "trip:a:b"),
            ("general", "general"),
            ("sessions:x", "sessions:x"),
            ("session:", "chat:"),
            ("", ""),
        ] {
            let found = canonical(name, "me");
            let mut own = String::from("old");
            found.write(&mut own);
            assert_eq!(own, expected);
            assert_eq!((found.len(), found.is_empty()), (expected.len(), expected.is_empty()));
            let (prefix, rest) = name_in(found.encoding, &own);
            assert_eq!(format!("{prefix}{rest}"), name);
        }
    }

    #[test]
    fn what_only_the_gateway_says_is_reserved() {
        for kind in ["ack", "gap", "connection_close", "connection_heartbeat", "subscribed", "error"] {
            assert!(is_reserved(kind), "{kind}");
        }
        for kind in ["chat_message", "notification", "itinerary", "connection", "acknowledged", "system_message"] {
            assert!(!is_reserved(kind), "{kind}");
        }
    }

    #[test]
    fn what_says_who_did_something_is_attributed() {
        for kind in [
            "chat_message",
            "chat_message_complete",
            "chat_typing_start",
            "trip_update_broadcast",
            "optimistic_update_confirmed",
            "collaborator_joined",
            "agent_status_update",
            "user_typing",
        ] {
            assert!(is_attributed(kind), "{kind}");
        }
        for kind in ["note", "itinerary", "notification", "chat", "trip_liked", "agents", "system_message"] {
            assert!(!is_attributed(kind), "{kind}");
        }
    }
}
