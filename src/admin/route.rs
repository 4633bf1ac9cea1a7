//! Which answer a path leads to, by which methods, and who may ask for it.

use std::sync::Arc;

use super::assets;
use super::refusal::Refusal;
use crate::auth::{Claims, Policy, Verb};
use crate::limits::{CHANNEL_NAME_BYTES_MAX, USER_ID_BYTES_MAX};
use crate::wire::http::decode_within;
use crate::wire::peer::Peer;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The page and what it loads.
    Asset,
    /// Numbers as Prometheus reads them.
    Metrics,
    /// How many there are.
    Health,
    /// Numbers as the seeds name them.
    Numbers,
    /// All connections.
    Connections,
    /// One connection, by its name.
    Connection(String),
    Publish,
    Broadcast,
    Batch,
    Disconnect,
    Unsubscribe,
    /// What a channel had.
    History(String),
    /// The same, to be erased.
    Erase(String),
    /// Who is in a channel.
    Presence(String),
    /// A user, whose traces are erased.
    User(String),
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Public,
    /// Who has `admin` for all channels, and this machine if it is so configured.
    Admin,
    /// The same, and services whose token is not narrowed.
    Operator,
    /// Services, as far as their token lets them. What users send is held to their rates, which are the sockets'.
    Backend,
}

impl Route {
    /// The place of a raw path.
    pub(super) fn find(path: &str) -> Result<Self, Refusal> {
        if assets::find(path).is_some() {
            return Ok(Self::Asset);
        }
        let under_api = path.strip_prefix("/api").filter(|rest| rest.starts_with('/'));
        let (rest, api) = under_api.map_or((path, false), |rest| (rest, true));
        let mut segments = rest.split('/').skip(1);
        let route = match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("metrics"), None, ..) if !api => Self::Metrics,
            (Some("ws"), Some("health"), None, _) => Self::Health,
            (Some("ws"), Some("metrics"), None, _) => Self::Numbers,
            (Some("ws"), Some("connections"), None, _) => Self::Connections,
            (Some("ws"), Some("connections"), Some(name), None) => Self::Connection(channel(name)?),
            (Some("publish"), None, ..) if api => Self::Publish,
            (Some("broadcast"), None, ..) if api => Self::Broadcast,
            (Some("batch"), None, ..) if api => Self::Batch,
            (Some("disconnect"), None, ..) if api => Self::Disconnect,
            (Some("unsubscribe"), None, ..) if api => Self::Unsubscribe,
            (Some("history"), Some(name), None, _) if api => Self::History(channel(name)?),
            (Some("presence"), Some(name), None, _) if api => Self::Presence(channel(name)?),
            (Some("users"), Some(user), None, _) if api => Self::User(decode_within(user, USER_ID_BYTES_MAX)?),
            _ => return Err(Refusal::NOT_FOUND),
        };
        Ok(route)
    }

    /// What a method does there, where methods do different things.
    pub(super) fn by_method(self, method: &str) -> Self {
        match self {
            Self::History(channel) if method == "DELETE" => Self::Erase(channel),
            route => route,
        }
    }

    /// The methods that it knows, as `Allow` lists them.
    pub(super) const fn methods(&self) -> &'static str {
        match self {
            Self::Connection(_) | Self::User(_) => "DELETE",
            Self::Publish | Self::Broadcast | Self::Batch | Self::Disconnect | Self::Unsubscribe => "POST",
            Self::Asset | Self::Metrics | Self::Health | Self::Numbers | Self::Connections | Self::Presence(_) => {
                "GET, HEAD"
            }
            Self::History(_) | Self::Erase(_) => "GET, HEAD, DELETE",
        }
    }

    pub(super) const fn access(&self) -> Access {
        match self {
            Self::Asset | Self::Health => Access::Public,
            Self::Metrics | Self::Numbers | Self::Connections | Self::Connection(_) => Access::Admin,
            Self::Disconnect | Self::Unsubscribe | Self::Erase(_) | Self::User(_) => Access::Operator,
            Self::Publish | Self::Broadcast | Self::Batch | Self::History(_) | Self::Presence(_) => Access::Backend,
        }
    }
}

/// A segment that names a channel or a connection.
fn channel(raw: &str) -> Result<String, Refusal> {
    Ok(decode_within(raw, CHANNEL_NAME_BYTES_MAX)?)
}

impl Access {
    /// Whether somebody may ask. The claims are there where they are needed further on.
    pub(super) fn grant<'a>(
        self,
        bearer: Option<&'a Arc<Claims>>,
        (peer, open_to_loopback): (Peer, bool),
        policy: &Policy,
    ) -> Result<Option<&'a Arc<Claims>>, Refusal> {
        let at_hand = open_to_loopback && peer.is_loopback();
        let claims = match (self, bearer) {
            (Self::Public, _) => return Ok(None),
            (Self::Admin | Self::Operator, None) if at_hand => return Ok(None),
            (_, None) => return Err(Refusal::UNAUTHORIZED),
            (_, Some(claims)) => claims,
        };
        let admin = policy.allows(&claims.holder(), EVERYTHING, Verb::Admin);
        let may = match self {
            Self::Public => true,
            Self::Admin => admin,
            Self::Operator => admin || claims.service && claims.caps.is_none(),
            Self::Backend => claims.service,
        };
        if may { Ok(Some(claims)) } else { Err(Refusal::FORBIDDEN) }
    }
}

/// Only the pattern for all channels matches it.
const EVERYTHING: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn peer(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap())
    }

    #[test]
    fn every_path_has_its_place_methods_and_access() {
        use Access::{Admin, Backend, Operator, Public};
        let text = str::to_owned;
        for (path, route, methods, access) in [
            ("/", Route::Asset, "GET, HEAD", Public),
            ("/page/page.js", Route::Asset, "GET, HEAD", Public),
            ("/metrics", Route::Metrics, "GET, HEAD", Admin),
            ("/ws/health", Route::Health, "GET, HEAD", Public),
            ("/api/ws/health", Route::Health, "GET, HEAD", Public),
            ("/api/ws/metrics", Route::Numbers, "GET, HEAD", Admin),
            ("/ws/connections", Route::Connections, "GET, HEAD", Admin),
            ("/api/ws/connections/0a", Route::Connection(text("0a")), "DELETE", Admin),
            ("/api/publish", Route::Publish, "POST", Backend),
            ("/api/broadcast", Route::Broadcast, "POST", Backend),
            ("/api/batch", Route::Batch, "POST", Backend),
            ("/api/disconnect", Route::Disconnect, "POST", Operator),
            ("/api/unsubscribe", Route::Unsubscribe, "POST", Operator),
            ("/api/history/chat:1", Route::History(text("chat:1")), "GET, HEAD, DELETE", Backend),
            ("/api/users/ann%40example.org", Route::User(text("ann@example.org")), "DELETE", Operator),
            ("/api/presence/chat%3Aa%2Fb", Route::Presence(text("chat:a/b")), "GET, HEAD", Backend),
        ] {
            assert_eq!(Route::find(path), Ok(route.clone()), "{path}");
            assert_eq!((route.methods(), route.access()), (methods, access), "{path}");
        }
        for (path, status) in [
            ("/nothing", 404),
            ("/page/", 404),
            ("/page/index.html", 404),
            ("/page/../page/page.js", 404),
            ("/metrics/", 404),
            ("/api/metrics", 404),
            ("/publish", 404),
            ("/api/publish/", 404),
            ("/history/chat:1", 404),
            ("/api/history", 404),
            ("/api/history/a/b", 404),
            ("/api/users", 404),
            ("/users/ann", 404),
            ("/api/users/", 400),
            ("/api/users/%0a", 400),
            ("/api/history/", 400),
            ("/api/history/%00", 400),
            ("/..%2f", 404),
            ("", 404),
        ] {
            assert_eq!(Route::find(path).map_err(|refusal| refusal.status), Err(status), "{path}");
        }
        let long = |len: usize| Route::find(&format!("/api/history/{}", "x".repeat(len))).is_ok();
        assert!(long(CHANNEL_NAME_BYTES_MAX) && !long(CHANNEL_NAME_BYTES_MAX + 1));
        let user = |len: usize| Route::find(&format!("/api/users/{}", "x".repeat(len))).is_ok();
        assert!(user(USER_ID_BYTES_MAX) && !user(USER_ID_BYTES_MAX + 1));
    }

    /// What of the routes a document must have; a new one needs a word here, and in the test below.
    const fn word(route: &Route) -> &'static str {
        match route {
            Route::Asset => "asset",
            Route::Metrics => "metrics",
            Route::Health => "health",
            Route::Numbers => "numbers",
            Route::Connections => "connections",
            Route::Connection(_) => "connection",
            Route::Publish => "publish",
            Route::Broadcast => "broadcast",
            Route::Batch => "batch",
            Route::Disconnect => "disconnect",
            Route::Unsubscribe => "unsubscribe",
            Route::History(_) => "history",
            Route::Erase(_) => "erase",
            Route::Presence(_) => "presence",
            Route::User(_) => "user",
        }
    }

    #[test]
    fn the_document_has_exactly_the_routes_that_there_are_with_their_methods_and_access() {
        let document: serde_json::Value = serde_json::from_str(include_str!("../../docs/schema/openapi.json")).unwrap();
        let mut told = std::collections::BTreeSet::new();
        let mut methods = std::collections::BTreeMap::<String, Vec<String>>::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let concrete: Vec<&str> =
                path.split('/').map(|part| if part.starts_with('{') { "0a" } else { part }).collect();
            let concrete = concrete.join("/");
            // What a shard answers or takes over itself is no route of this executor.
            let place = crate::session::endpoint::place(&concrete).unwrap();
            for (method, operation) in operations.as_object().unwrap() {
                let method = method.to_uppercase();
                let is_public = operation["security"] == json!([]);
                if place != crate::session::endpoint::Place::Elsewhere {
                    assert_eq!(method, "GET", "{path}");
                    told.insert(format!("{place:?}").split([' ', '(']).next().unwrap().to_owned());
                    continue;
                }
                let route = Route::find(&concrete).unwrap().by_method(&method);
                assert!(route.methods().split(", ").any(|known| known == method), "{method} {path}");
                assert_eq!(is_public, route.access() == Access::Public, "{method} {path}");
                told.insert(word(&route).to_owned());
                methods.entry(route.methods().to_owned() + " " + path).or_default().push(method);
            }
        }
        for (known, told) in methods {
            let known =
                known.split(' ').filter(|word| word.trim_end_matches(',').chars().all(|c| c.is_ascii_uppercase()));
            let expected = known.map(|word| word.trim_end_matches(',')).filter(|word| *word != "HEAD");
            let mut expected: Vec<&str> = expected.filter(|word| !word.is_empty()).collect();
            expected.sort_unstable();
            assert_eq!(told, expected, "HEAD is GET without content");
        }
        let all = [
            "Alive",
            "Endpoint",
            "Health",
            "Ready",
            "Stats",
            "asset",
            "batch",
            "broadcast",
            "connection",
            "connections",
            "disconnect",
            "erase",
            "health",
            "history",
            "metrics",
            "numbers",
            "presence",
            "publish",
            "unsubscribe",
            "user",
        ];
        assert_eq!(told.iter().map(String::as_str).collect::<Vec<_>>(), all);
    }

    fn claims(service: bool, caps: Option<serde_json::Value>) -> Option<Arc<Claims>> {
        let caps = caps.map(|caps| Arc::new(serde_json::from_value(caps).unwrap()));
        let user = Arc::from("ann");
        Some(Arc::new(Claims { user, service, caps, expires_at: 0, ties: None }))
    }

    #[test]
    fn who_asks_decides_what_is_answered() {
        let admin = claims(false, Some(json!({ "*": ["admin"] })));
        let narrow = claims(true, Some(json!({ "chat:*": ["publish", "admin"] })));
        // For each: public, admin, operator, backend; 0 is yes.
        for (who, bearer, expected) in [
            ("nobody", None, [0, 401, 401, 401]),
            ("a user", claims(false, None), [0, 403, 403, 403]),
            ("a user with caps", claims(false, Some(json!({ "chat:*": ["publish"] }))), [0, 403, 403, 403]),
            ("a service", claims(true, None), [0, 403, 0, 0]),
            ("a narrow service", narrow, [0, 403, 403, 0]),
            ("an admin", admin, [0, 0, 0, 403]),
        ] {
            let found = [Access::Public, Access::Admin, Access::Operator, Access::Backend].map(|access| {
                let far = (peer("192.0.2.1"), true);
                access.grant(bearer.as_ref(), far, &Policy::default()).map_or_else(|refusal| refusal.status, |_| 0)
            });
            assert_eq!(found, expected, "{who}");
        }
    }

    #[test]
    fn this_machine_administers_only_if_it_is_so_configured_and_with_no_other_token() {
        let here = peer("127.0.0.1");
        for (bearer, peer, open, expected) in [
            (None, here, true, true),
            (None, peer("::ffff:127.0.0.1"), true, true),
            (None, here, false, false),
            (None, peer("10.0.0.1"), true, false),
            (None, Peer::Unix, true, false),
            (claims(false, None), here, true, false),
        ] {
            let granted = Access::Admin.grant(bearer.as_ref(), (peer, open), &Policy::default());
            assert_eq!(granted.is_ok(), expected, "{bearer:?} {peer} {open}");
            assert!(Access::Backend.grant(bearer.as_ref(), (peer, open), &Policy::default()).is_err());
        }
    }
}
