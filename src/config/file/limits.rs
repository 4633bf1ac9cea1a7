//! `[limits]`: how much is allowed. 0 is no limit.

use serde::Deserialize;

use crate::census::limits::{self as census, OfDoor};
use crate::rate::Rate;

/// The section as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Whether limits hold. `--limits` beats it.
    pub profile: Option<Profile>,
    /// Connections in all.
    pub connections: Option<usize>,
    /// Connections from one address.
    pub connections_per_address: Option<u32>,
    /// Sockets of one address from which nobody is known, on each shard.
    pub strangers_per_address: Option<u32>,
    /// Connections of one user.
    pub connections_per_user: Option<u32>,
    /// Connections to one resource, whoever's.
    pub connections_per_resource: Option<u32>,
    /// Messages a minute of one user over all connections.
    pub messages_per_user: Option<u32>,
    /// Upgrades a minute of one user from one address.
    pub upgrades: Option<u32>,
    /// Upgrades a minute without a token from one address.
    pub upgrades_without_token: Option<u32>,
    /// Bad tokens a minute from one address.
    pub bad_tokens: Option<u32>,
    /// `/ws/chat/…`
    pub chat: Door,
    /// `/ws/agent-status/…`
    pub agent_status: Door,
    /// `/ws/trips/…/collab`
    pub collab: Door,
    /// `/ws/notifications/…`
    pub notifications: Door,
    /// `/ws`
    pub open: Door,
    /// `/api/v1/ws/{user_id}`
    pub globetrotter: Door,
    /// `/api/v1/ws/trip/…`
    pub globetrotter_trip: Door,
}

/// What holds behind one kind of endpoint.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Door {
    /// Connections of one user to one resource.
    pub connections: Option<u32>,
    /// Messages a minute of one connection.
    pub messages: Option<u32>,
    /// How many of them at once.
    pub burst: Option<u32>,
}

/// The two sets of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// As documented.
    Default,
    /// Without any.
    Unlimited,
}

impl Limits {
    /// The limits, with the documented one for each that is missing.
    #[must_use]
    pub fn usable(&self) -> census::Limits {
        let default = census::Limits::default();
        let a_minute = |written: Option<u32>, default| written.map_or(default, Rate::a_minute);
        census::Limits {
            chat: self.chat.over(default.chat),
            agent_status: self.agent_status.over(default.agent_status),
            collab: self.collab.over(default.collab),
            notifications: self.notifications.over(default.notifications),
            open: self.open.over(default.open),
            globetrotter: self.globetrotter.over(default.globetrotter),
            globetrotter_trip: self.globetrotter_trip.over(default.globetrotter_trip),
            connections_per_resource: self.connections_per_resource.unwrap_or(default.connections_per_resource),
            connections_per_user: self.connections_per_user.unwrap_or(default.connections_per_user),
            connections_per_address: self.connections_per_address.unwrap_or(default.connections_per_address),
            strangers_per_address: self.strangers_per_address.unwrap_or(default.strangers_per_address),
            user_messages: a_minute(self.messages_per_user, default.user_messages),
            upgrades: a_minute(self.upgrades, default.upgrades),
            anonymous_upgrades: a_minute(self.upgrades_without_token, default.anonymous_upgrades),
            bad_tokens: a_minute(self.bad_tokens, default.bad_tokens),
        }
    }
}

impl Door {
    /// A rate without a burst lets a sixth of a minute's messages come at once, as the documented ones do.
    fn over(self, default: OfDoor) -> OfDoor {
        let per_minute = self.messages.unwrap_or(default.messages.per_minute);
        let usual = if self.messages.is_some() { (per_minute / 6).max(1) } else { default.messages.burst };
        let messages = Rate { per_minute, burst: self.burst.unwrap_or(usual) };
        OfDoor { connections: self.connections.unwrap_or(default.connections), messages }
    }
}
