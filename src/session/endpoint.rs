//! Which door a request comes through: the table of paths, and what holds behind each.

use std::sync::Arc;

use crate::session::admit::Rate;
use crate::wire::http::HttpError;
use crate::wire::http::decode_segment;

/// A WebSocket endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// `/ws/chat/{session_id}`
    Chat,
    /// `/ws/agent-status/{user_id}`
    AgentStatus,
    /// `/ws/trips/{trip_id}/collab`
    Collab,
    /// `/ws/notifications/{user_id}`
    Notifications,
    /// `/ws`: channels by message.
    Open,
    /// `/echo`: for conformance and comparison.
    Echo,
}

/// A WebSocket endpoint with what its path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Which kind.
    pub door: Door,
    /// The channel that it is about.
    pub channel: Option<Arc<str>>,
}

impl Endpoint {
    /// The one user whom the endpoint is for, if it is a user's own.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.door.owner(self.channel.as_deref()?)
    }
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To a WebSocket.
    Endpoint(Endpoint),
    /// To a health report: `{"status":"healthy"}`.
    Health,
    /// To the readiness report.
    Ready,
    /// Elsewhere: the administration's.
    Elsewhere,
}

/// Finds the place of a raw path. Every `/ws…` path is served under `/api` too.
///
/// # Errors
/// A resource id that is none.
pub fn place(path: &str) -> Result<Place, HttpError> {
    let under_api = path.strip_prefix("/api").filter(|rest| rest.starts_with('/'));
    let (path, prefixed) = under_api.map_or((path, false), |rest| (rest, true));
    let mut segments = path.split('/').skip(1);
    let place = match (segments.next(), segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some("ws"), None, ..) => Place::Endpoint(Endpoint { door: Door::Open, channel: None }),
        (Some("ws"), Some("chat"), Some(id), None, _) => named(Door::Chat, "chat:", id)?,
        (Some("ws"), Some("agent-status"), Some(id), None, _) => named(Door::AgentStatus, "agent:", id)?,
        (Some("ws"), Some("notifications"), Some(id), None, _) => named(Door::Notifications, "notifications:", id)?,
        (Some("ws"), Some("trips"), Some(id), Some("collab"), None) => named(Door::Collab, "trip:", id)?,
        (Some("echo"), None, ..) => Place::Endpoint(Endpoint { door: Door::Echo, channel: None }),
        (Some("health"), None, ..) => Place::Health,
        (Some("readyz"), None, ..) if !prefixed => Place::Ready,
        _ => Place::Elsewhere,
    };
    Ok(place)
}

fn named(door: Door, prefix: &str, id: &str) -> Result<Place, HttpError> {
    let id = decode_segment(id)?;
    Ok(Place::Endpoint(Endpoint { door, channel: Some(Arc::from([prefix, &id].concat())) }))
}

impl Door {
    /// The one user whom the endpoint of `channel` behind this door is for, if it is a user's own.
    #[must_use]
    pub fn owner(self, channel: &str) -> Option<&str> {
        match self {
            Self::AgentStatus => channel.strip_prefix("agent:"),
            Self::Notifications => channel.strip_prefix("notifications:"),
            Self::Chat | Self::Collab | Self::Open | Self::Echo => None,
        }
    }

    /// The default rate of a connection (protocol.md, section 10).
    #[must_use]
    pub const fn rate(self) -> Rate {
        match self {
            Self::Chat => Rate { per_minute: 120, burst: 20 },
            Self::AgentStatus => Rate { per_minute: 60, burst: 10 },
            Self::Collab => Rate { per_minute: 300, burst: 50 },
            Self::Notifications => Rate { per_minute: 30, burst: 5 },
            Self::Open => Rate { per_minute: 600, burst: 100 },
            Self::Echo => Rate::UNLIMITED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, door: Door, channel: Option<&str>) {
        let expected = Endpoint { door, channel: channel.map(Arc::from) };
        assert_eq!(place(path).ok(), Some(Place::Endpoint(expected.clone())), "{path}");
        assert_eq!(place(&format!("/api{path}")).ok(), Some(Place::Endpoint(expected)), "/api{path}");
    }

    #[test]
    fn every_door_opens_under_both_prefixes() {
        check("/ws", Door::Open, None);
        check("/echo", Door::Echo, None);
        check("/ws/chat/session-123", Door::Chat, Some("chat:session-123"));
        check("/ws/chat/caf%C3%A9%2F1", Door::Chat, Some("chat:café/1"));
        check("/ws/trips/7/collab", Door::Collab, Some("trip:7"));
        check("/ws/agent-status/ada%20b", Door::AgentStatus, Some("agent:ada b"));
        check("/ws/notifications/ada", Door::Notifications, Some("notifications:ada"));
        check(&format!("/ws/chat/{}", "x".repeat(128)), Door::Chat, Some(&format!("chat:{}", "x".repeat(128))));
    }

    #[test]
    fn only_a_users_own_endpoints_have_an_owner() {
        for (path, expected) in [
            ("/ws/agent-status/ada", Some("ada")),
            ("/api/ws/notifications/ada", Some("ada")),
            ("/ws/chat/ada", None),
            ("/ws/trips/ada/collab", None),
            ("/ws", None),
        ] {
            let Ok(Place::Endpoint(endpoint)) = place(path) else { panic!("{path}") };
            assert_eq!(endpoint.owner(), expected, "{path}");
        }
    }

    #[test]
    fn reports_have_their_places_and_the_rest_is_elsewhere() {
        for (path, expected) in [
            ("/health", Place::Health),
            ("/api/health", Place::Health),
            ("/readyz", Place::Ready),
            ("/", Place::Elsewhere),
            ("/api", Place::Elsewhere),
            ("/apiws", Place::Elsewhere),
            ("/ws/", Place::Elsewhere),
            ("/ws/chat", Place::Elsewhere),
            ("/ws/chat/a/b", Place::Elsewhere),
            ("/ws/trips/7", Place::Elsewhere),
            ("/ws/agent-status", Place::Elsewhere),
            ("/ws/notifications/a/b", Place::Elsewhere),
            ("/ws/trips/7/collab/x", Place::Elsewhere),
            ("/api/api/ws", Place::Elsewhere),
            ("/metrics", Place::Elsewhere),
        ] {
            assert_eq!(place(path).ok(), Some(expected), "{path}");
        }
    }

    #[test]
    fn every_door_has_its_rate_and_the_echo_none() {
        for (door, expected) in [
            (Door::Chat, Rate { per_minute: 120, burst: 20 }),
            (Door::Collab, Rate { per_minute: 300, burst: 50 }),
            (Door::Open, Rate { per_minute: 600, burst: 100 }),
            (Door::Echo, Rate::UNLIMITED),
        ] {
            assert_eq!(door.rate(), expected, "{door:?}");
        }
    }

    #[test]
    fn an_id_out_of_bounds_is_refused() {
        for path in [
            "/ws/chat/",
            "/ws/agent-status/",
            "/ws/notifications/%0a",
            "/ws/trips//collab",
            "/ws/chat/%00",
            "/ws/chat/%ff",
            "/ws/chat/%1",
        ] {
            assert_eq!(place(path).err().map(|error| error.status), Some(400), "{path}");
        }
        assert!(place(&format!("/ws/chat/{}", "x".repeat(129))).is_err());
    }
}
