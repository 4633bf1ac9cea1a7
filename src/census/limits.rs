//! The limits that hold across connections, and those of each kind of endpoint, as configured.

use crate::limits::{
    ANONYMOUS_UPGRADES_PER_MINUTE_DEFAULT, BAD_TOKENS_PER_MINUTE_DEFAULT, CONNECTIONS_ON_FLAT_DEFAULT,
    CONNECTIONS_ON_NAMED_DEFAULT, CONNECTIONS_ON_OPEN_DEFAULT, CONNECTIONS_PER_USER_DEFAULT,
    STRANGERS_PER_ADDRESS_DEFAULT, UPGRADES_PER_MINUTE_DEFAULT, USER_MESSAGES_PER_MINUTE_DEFAULT,
};
use crate::rate::Rate;

/// What holds behind one kind of endpoint. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfDoor {
    /// Connections of one user on one resource; one more takes the place of the oldest, or, where clients would come
    /// back after that, waits before its upgrade.
    pub connections: u32,
    /// Messages of one connection.
    pub messages: Rate,
}

impl OfDoor {
    /// No limit.
    pub const UNLIMITED: Self = Self { connections: 0, messages: Rate::UNLIMITED };

    const fn new(connections: u32, per_minute: u32, burst: u32) -> Self {
        Self { connections, messages: Rate { per_minute, burst } }
    }
}

/// All limits of connections and rates. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `/ws/chat/…`
    pub chat: OfDoor,
    /// `/ws/agent-status/…`
    pub agent_status: OfDoor,
    /// `/ws/trips/…/collab`
    pub collab: OfDoor,
    /// `/ws/notifications/…`
    pub notifications: OfDoor,
    /// `/ws`
    pub open: OfDoor,
    /// `/api/v1/ws/{user_id}`
    pub globetrotter: OfDoor,
    /// `/api/v1/ws/trip/…`
    pub globetrotter_trip: OfDoor,
    /// Connections on one resource, whoever's; over it the new one is refused.
    pub connections_per_resource: u32,
    /// Connections of one user on all resources; over it the new one is refused.
    pub connections_per_user: u32,
    /// Connections from one address; over it upgrades are held, then refused.
    pub connections_per_address: u32,
    /// Sockets of one address on one shard from which nobody is known; over it the oldest is closed.
    pub strangers_per_address: u32,
    /// Messages of one user over all connections.
    pub user_messages: Rate,
    /// Upgrades of one user from one address.
    pub upgrades: Rate,
    /// Upgrades without a token from one address.
    pub anonymous_upgrades: Rate,
    /// Tokens with a bad signature from one address.
    pub bad_tokens: Rate,
}

impl Limits {
    /// No limit at all.
    pub const UNLIMITED: Self = Self {
        chat: OfDoor::UNLIMITED,
        agent_status: OfDoor::UNLIMITED,
        collab: OfDoor::UNLIMITED,
        notifications: OfDoor::UNLIMITED,
        open: OfDoor::UNLIMITED,
        globetrotter: OfDoor::UNLIMITED,
        globetrotter_trip: OfDoor::UNLIMITED,
        connections_per_resource: 0,
        connections_per_user: 0,
        connections_per_address: 0,
        strangers_per_address: 0,
        user_messages: Rate::UNLIMITED,
        upgrades: Rate::UNLIMITED,
        anonymous_upgrades: Rate::UNLIMITED,
        bad_tokens: Rate::UNLIMITED,
    };
}

impl Default for Limits {
    /// As documented (protocol.md, sections 1 and 10).
    fn default() -> Self {
        Self {
            chat: OfDoor::new(CONNECTIONS_ON_NAMED_DEFAULT, 120, 20),
            agent_status: OfDoor::new(CONNECTIONS_ON_NAMED_DEFAULT, 60, 10),
            collab: OfDoor::new(CONNECTIONS_ON_NAMED_DEFAULT, 300, 50),
            notifications: OfDoor::new(CONNECTIONS_ON_NAMED_DEFAULT, 30, 5),
            open: OfDoor::new(CONNECTIONS_ON_OPEN_DEFAULT, 600, 100),
            globetrotter: OfDoor::new(CONNECTIONS_ON_FLAT_DEFAULT, 300, 50),
            globetrotter_trip: OfDoor::new(CONNECTIONS_ON_NAMED_DEFAULT, 300, 50),
            connections_per_resource: 0,
            connections_per_user: CONNECTIONS_PER_USER_DEFAULT,
            connections_per_address: 0,
            strangers_per_address: STRANGERS_PER_ADDRESS_DEFAULT,
            user_messages: Rate::a_minute(USER_MESSAGES_PER_MINUTE_DEFAULT),
            upgrades: Rate::a_minute(UPGRADES_PER_MINUTE_DEFAULT),
            anonymous_upgrades: Rate::a_minute(ANONYMOUS_UPGRADES_PER_MINUTE_DEFAULT),
            bad_tokens: Rate::a_minute(BAD_TOKENS_PER_MINUTE_DEFAULT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_that_are_documented() {
        let document = include_str!("../../docs/PROTOCOL.md");
        for (what, count) in [
            ("connections of one user to one resource", CONNECTIONS_ON_NAMED_DEFAULT),
            ("connections of one user to `/ws`", CONNECTIONS_ON_OPEN_DEFAULT),
            ("connections of one user to `/api/v1/ws/{user_id}`", CONNECTIONS_ON_FLAT_DEFAULT),
            ("connections of one user to one `/api/v1/ws/trip/…`", CONNECTIONS_ON_NAMED_DEFAULT),
            ("connections of one user in all", CONNECTIONS_PER_USER_DEFAULT),
            ("messages a minute of one user over all connections", USER_MESSAGES_PER_MINUTE_DEFAULT),
            ("upgrades a minute of one user from one address", UPGRADES_PER_MINUTE_DEFAULT),
            ("upgrades a minute without a token from one address", ANONYMOUS_UPGRADES_PER_MINUTE_DEFAULT),
            ("bad tokens a minute from one address", BAD_TOKENS_PER_MINUTE_DEFAULT),
        ] {
            let count = if count < 1000 { count.to_string() } else { format!("{},{:03}", count / 1000, count % 1000) };
            let row = format!("\n| {what} | {count} |");
            assert!(document.contains(&row), "{row}");
        }
    }
}
