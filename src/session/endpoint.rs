//! Which door a request comes through: the table of paths, and what holds behind each.

use std::sync::Arc;

use crate::census::limits::{Limits, OfDoor};
use crate::limits::CHANNEL_NAME_BYTES_MAX;
use crate::wire::http::HttpError;
use crate::wire::http::{decode_segment, decode_within};

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
    /// `/api/v1/ws/{user_id}`: flat frames, trips by message.
    GlobeTrotter,
    /// `/api/v1/ws/trip/{trip_id}?user_id=`: flat frames of one trip.
    GlobeTrotterTrip,
    /// `/api/sse/{channel}`: a stream of events to read, and no WebSocket.
    EventStream,
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
    /// Whether every shard ticks.
    Alive,
    /// To the report of who is in which trip, for the GlobeTrotter clients.
    Stats,
    /// Elsewhere: the administration's.
    Elsewhere,
}

/// Finds the place of a raw path. Every `/ws…` path is served under `/api` too; what is under `/api/v1` only there.
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
        (Some("v1"), Some("ws"), Some(id), rest, None) if prefixed => flat(id, rest)?,
        (Some("sse"), Some(name), None, ..) if prefixed => {
            let channel = Some(Arc::from(decode_within(name, CHANNEL_NAME_BYTES_MAX)?));
            Place::Endpoint(Endpoint { door: Door::EventStream, channel })
        }
        (Some("echo"), None, ..) => Place::Endpoint(Endpoint { door: Door::Echo, channel: None }),
        (Some("health"), None, ..) => Place::Health,
        (Some("readyz"), None, ..) if !prefixed => Place::Ready,
        (Some("healthz"), None, ..) if !prefixed => Place::Alive,
        _ => Place::Elsewhere,
    };
    Ok(place)
}

/// A place under `/api/v1/ws/`. Nobody can be called `stats` there.
fn flat(first: &str, second: Option<&str>) -> Result<Place, HttpError> {
    match (first, second) {
        ("stats", None) => Ok(Place::Stats),
        (user, None) => named(Door::GlobeTrotter, "user:", user),
        ("trip", Some(trip)) => named(Door::GlobeTrotterTrip, "trip:", trip),
        _ => Ok(Place::Elsewhere),
    }
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
            Self::GlobeTrotter => channel.strip_prefix("user:"),
            Self::Chat | Self::Collab | Self::Open | Self::GlobeTrotterTrip | Self::EventStream | Self::Echo => None,
        }
    }

    /// Whether flat frames are spoken behind this door: no authentication frame, no notices, no numbers.
    #[must_use]
    pub const fn is_flat(self) -> bool {
        matches!(self, Self::GlobeTrotter | Self::GlobeTrotterTrip)
    }

    /// What holds behind this door.
    #[must_use]
    pub const fn limits(self, limits: &Limits) -> OfDoor {
        match self {
            Self::Chat => limits.chat,
            Self::AgentStatus => limits.agent_status,
            Self::Collab => limits.collab,
            Self::GlobeTrotter => limits.globetrotter,
            Self::GlobeTrotterTrip => limits.globetrotter_trip,
            Self::Notifications => limits.notifications,
            Self::Open => limits.open,
            // Its readers come back after every end, so a replaced one would replace the next for ever.
            Self::EventStream | Self::Echo => OfDoor::UNLIMITED,
        }
    }

    /// Whether its clients come back after whatever ends a connection that was open. What they are refused for has to
    /// be known before.
    #[must_use]
    pub const fn is_refused_before(self) -> bool {
        matches!(self, Self::GlobeTrotter | Self::GlobeTrotterTrip | Self::EventStream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::Rate;

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
    fn flat_doors_open_under_their_own_prefix_only() {
        for (path, door, channel) in [
            ("/api/v1/ws/ada", Door::GlobeTrotter, "user:ada"),
            ("/api/v1/ws/a%20b%2Fc", Door::GlobeTrotter, "user:a b/c"),
            ("/api/v1/ws/trip", Door::GlobeTrotter, "user:trip"),
            ("/api/v1/ws/trip/7", Door::GlobeTrotterTrip, "trip:7"),
            ("/api/v1/ws/trip/stats", Door::GlobeTrotterTrip, "trip:stats"),
        ] {
            let expected = Endpoint { door, channel: Some(Arc::from(channel)) };
            assert_eq!(place(path).ok(), Some(Place::Endpoint(expected)), "{path}");
            assert!(door.is_flat() && door.owner(channel) == channel.strip_prefix("user:"));
            assert_eq!(place(path.strip_prefix("/api").unwrap()).ok(), Some(Place::Elsewhere), "{path}");
        }
        assert_eq!(place("/api/v1/ws/stats").ok(), Some(Place::Stats));
        for path in ["/api/v1/ws", "/api/v1/ws/a/b", "/api/v1/ws/trip/a/b", "/api/v1", "/api/v2/ws/ada"] {
            assert_eq!(place(path).ok(), Some(Place::Elsewhere), "{path}");
        }
        for path in ["/api/v1/ws/", "/api/v1/ws/trip/", "/api/v1/ws/%00"] {
            assert!(place(path).is_err(), "{path}");
        }
    }

    #[test]
    fn an_event_stream_is_of_a_channel_by_its_whole_name() {
        let longest = "x".repeat(CHANNEL_NAME_BYTES_MAX);
        for (name, expected) in [
            ("chat:1", Some("chat:1")),
            ("chat%3Aa%2Fb", Some("chat:a/b")),
            (&longest, Some(&*longest)),
            ("", None),
            ("chat:%00", None),
            (&format!("{longest}x"), None),
        ] {
            let found = place(&format!("/api/sse/{name}")).ok();
            let expected = expected.map(|name| Endpoint { door: Door::EventStream, channel: Some(Arc::from(name)) });
            assert_eq!(found, expected.map(Place::Endpoint), "{name}");
        }
    }

    #[test]
    fn reports_have_their_places_and_the_rest_is_elsewhere() {
        for (path, expected) in [
            ("/health", Place::Health),
            ("/api/health", Place::Health),
            ("/readyz", Place::Ready),
            ("/healthz", Place::Alive),
            ("/api/healthz", Place::Elsewhere),
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
            ("/sse/chat:1", Place::Elsewhere),
            ("/api/sse", Place::Elsewhere),
            ("/api/sse/chat:1/x", Place::Elsewhere),
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
            assert_eq!(door.limits(&Limits::default()).messages, expected, "{door:?}");
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
