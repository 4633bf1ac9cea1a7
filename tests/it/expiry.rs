//! A connection ends with its token, at most a second late, unless the token is refreshed in time. On the
//! real clock with tokens of a few seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::Gateway;

/// The time now, and when the admission of `client` runs out: the server says it in the reply.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// The end of a token, read from the token itself.
fn expires_at(token: &str) -> Duration {
    let claims = data_encoding::BASE64URL_NOPAD.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    Duration::from_secs(claims["exp"].as_u64().unwrap())
}

#[test]
fn a_connection_ends_with_its_token_and_lives_on_with_a_new_one() {
    let gateway = Gateway::start();
    let short = gateway.token_with("ada", &["--ttl", "8s"]);
    let mut ending = Client::join(&gateway, "/ws/chat/s", &short);
    let mut refreshed = Client::join(&gateway, "/ws/chat/s", &short);
    let mut shortened = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    refreshed.send(&json!({ "token": gateway.token("ada") }));
    assert_eq!(refreshed.event()["success"], true);
    shortened.send(&json!({ "token": short }));
    assert_eq!(shortened.event()["success"], true);
    for (name, client) in [("ending", &mut ending), ("shortened", &mut shortened)] {
        let (events, code, _) = client.closing();
        let (now, end) = (since_epoch(), expires_at(&short));
        assert_eq!(code, 4001, "{name}");
        assert_eq!(events.last().unwrap()["type"], "connection_close", "{name}: {events:?}");
        assert_eq!(events.last().unwrap()["payload"]["code"], 4001, "{name}");
        // A second late at most, which tests on a clock of their own hold; here a busy machine has some more.
        assert!(now >= end && now <= end + Duration::from_secs(5), "{name}: at {now:?}, the token until {end:?}");
    }
    refreshed.send(&json!({ "type": "chat_message", "payload": { "content": "alive" } }));
    assert_eq!(refreshed.event_of("chat_message")["payload"]["content"], "alive");
}
